// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics

/// A literal text, as the address of its NUL-terminated bytes, as in the core: accessors of `StaticString` can trap.
@safe
struct Words: ExpressibleByStringLiteral, BitwiseCopyable, @unchecked Sendable {
    private let start: UnsafePointer<UInt8>

    @inline(__always)
    init(stringLiteral text: StaticString) { unsafe start = text.utf8Start }

    /// For C.
    var c: UnsafePointer<CChar> { unsafe UnsafeRawPointer(start).assumingMemoryBound(to: CChar.self) }
}

/// Why a control call failed: a code, and a text for the caller's `error_text`.
struct Failure {
    let code: Int32
    let text: Words
    /// The errno that DPDK gave, or 0.
    let errno: Int32
    /// The number that the text is about; written when it is not negative.
    let number: Int64

    init(_ code: apus_error, _ text: Words = "", number: Int64 = -1) {
        self.init(code.rawValue, text, number: number, errno: 0)
    }

    /// The device or its driver refused.
    init(device text: Words, errno: Int32) {
        self.init(APUS_DPDK_ERR_DEVICE, text, number: -1, errno: errno < 0 ? 0 &- errno : errno)
    }

    init(_ code: Int32, _ text: Words, number: Int64, errno: Int32) {
        self.code = code
        self.text = text
        self.number = number
        self.errno = errno
    }
}

/// Where a caller wants to read why a call failed. What does not fit is cut off; always NUL-terminated.
@safe
struct ErrorText {
    private let buffer: UnsafeMutablePointer<CChar>?
    private let size: Int
    private var length = 0

    init(_ buffer: UnsafeMutablePointer<CChar>?, size: Int) {
        unsafe self.buffer = unsafe buffer
        self.size = unsafe buffer == nil ? 0 : size
        if self.size > 0 { unsafe self.buffer.unsafelyUnwrapped[0] = 0 }
    }

    mutating func put(_ byte: UInt8) {
        // The comparison as unsigned numbers: an absurd size is no negative one.
        guard UInt(bitPattern: length) &+ 1 < UInt(bitPattern: size), let buffer = unsafe buffer else { return }
        unsafe buffer[length] = CChar(bitPattern: byte)
        unsafe buffer[length &+ 1] = 0
        length &+= 1
    }

    mutating func put(_ text: Words) {
        unsafe put(cString: text.c)
    }

    mutating func put(cString text: UnsafePointer<CChar>) {
        var i = 0
        while unsafe text[i] != 0 {
            put(UInt8(bitPattern: unsafe text[i]))
            i &+= 1
        }
    }

    mutating func put(number: UInt64) {
        let (rest, digit) = number.quotientAndRemainder(dividingBy: 10)
        if rest != 0 { put(number: rest) }
        put(0x30 &+ digit.u8)
    }

    /// "device net_tap0: cannot be started: errno 22 (Invalid argument)"
    mutating func put(_ failure: Failure, device name: UnsafePointer<CChar>?) {
        if let name = unsafe name {
            put("device ")
            unsafe put(cString: name)
            put(": ")
        }
        put(failure.text)
        if failure.number >= 0 {
            put(" (")
            put(number: failure.number.u64)
            put(0x29)
        }
        if failure.errno != 0 {
            put(": errno ")
            put(number: failure.errno.u64)
            put(" (")
            if let words = unsafe rte_strerror(failure.errno) { unsafe put(cString: words) }
            put(0x29)
        }
    }
}
