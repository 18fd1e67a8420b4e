// SPDX-License-Identifier: Apache-2.0

/// A literal text, as the address of its NUL-terminated bytes. What `StaticString` would be, were it only ever that: its
/// accessors trap for the other forms that it can have.
@safe
struct Words: ExpressibleByStringLiteral, BitwiseCopyable, @unchecked Sendable {
    let start: UnsafePointer<UInt8>

    @inline(__always)
    init(stringLiteral text: StaticString) { unsafe start = text.utf8Start }

    var isEmpty: Bool { unsafe start.pointee == 0 }

    /// For C.
    var c: UnsafePointer<CChar> { unsafe UnsafeRawPointer(start).assumingMemoryBound(to: CChar.self) }
}
