// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

/// Text into a buffer of fixed size: what fits is written, the rest is counted. Always NUL-terminated.
@safe
struct TextWriter {
    private let buffer: UnsafeMutablePointer<UInt8>
    private let size: Int
    /// The length that the whole text has.
    private(set) var length = 0

    init(_ buffer: UnsafeMutablePointer<UInt8>, size: Int) {
        unsafe self.buffer = buffer
        // A size_t beyond Int.max is as good as endless.
        self.size = size < 0 ? .max : size
        if size != 0 { unsafe buffer[0] = 0 }
    }

    var isComplete: Bool { length < size }

    @inline(never)
    mutating func put(_ byte: UInt8) {
        if length &+ 1 < size {
            unsafe buffer[length] = byte
            unsafe buffer[length &+ 1] = 0
        }
        length &+= 1
    }

    @inline(never)
    mutating func put(_ text: Words) {
        var pointer = unsafe text.start
        while unsafe pointer.pointee != 0 {
            put(unsafe pointer.pointee)
            unsafe pointer += 1
        }
    }

    @inline(never)
    mutating func put(c text: UnsafePointer<CChar>) {
        var pointer = unsafe text
        while unsafe pointer.pointee != 0 {
            put(UInt8(bitPattern: unsafe pointer.pointee))
            unsafe pointer += 1
        }
    }

    @inline(never)
    mutating func put(decimal value: UInt64) {
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var count = 0
        var rest = value
        repeat {
            let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: 10)
            unsafe digits[unchecked: count] = 0x30 &+ remainder.u8
            count &+= 1
            rest = quotient
        } while rest != 0
        while count > 0 {
            count &-= 1
            put(unsafe digits[unchecked: count])
        }
    }

    @inline(never)
    mutating func put(hex value: UInt64, digits: Int) {
        var i = digits
        while i > 0 {
            i &-= 1
            let nibble = (value &>> (4 &* i).u64).u8 & 15
            put(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble)
        }
    }

    /// IPv4 in dotted form, IPv6 as RFC 5952 wants it: the longest run of zero groups, of at least two, as "::".
    mutating func put(_ address: IPAddress) { put(address, asV4: address.isV4) }

    /// The same for an address whose family is known: an IPv6 address may have the mapped form too.
    @inline(never)
    mutating func put(_ address: IPAddress, asV4: Bool) {
        if asV4 {
            var shift: UInt32 = 32
            while shift > 0 {
                shift &-= 8
                put(decimal: (address.v4 &>> shift & 255).u64)
                if shift > 0 { put(0x2E) }
            }
            return
        }
        let gap = Self.longestZeroRun(address)
        var group = 0
        while group < 8 {
            if group == gap.start {
                put("::")
                group &+= gap.count
                continue
            }
            if group > 0, group != gap.start &+ gap.count { put(0x3A) }
            let value = Self.group(address, group).u64
            put(hex: value, digits: value > 0xFFF ? 4 : value > 0xFF ? 3 : value > 0xF ? 2 : 1)
            group &+= 1
        }
    }

    private static func group(_ address: IPAddress, _ index: Int) -> UInt16 {
        let word = index < 4 ? address.high : address.low
        return (word &>> (48 &- 16 &* (index & 3)).u64).u16
    }

    private static func longestZeroRun(_ address: IPAddress) -> (start: Int, count: Int) {
        var best = (start: -2, count: 1)
        var start = 0
        while start < 8 {
            var count = 0
            while start &+ count < 8, group(address, start &+ count) == 0 { count &+= 1 }
            if count > best.count { best = (start, count) }
            start &+= max(count, 1)
        }
        return best
    }

    @inline(never)
    mutating func put(_ address: IPAddress, prefix length: UInt8) {
        put(address)
        put(0x2F)
        put(decimal: (address.isV4 ? length &- IPAddress.v4PrefixOffset : length).u64)
    }

    @inline(never)
    mutating func put(_ mac: MACAddress) {
        var shift: UInt64 = 48
        while shift > 0 {
            shift &-= 8
            put(hex: mac.value &>> shift & 255, digits: 2)
            if shift > 0 { put(0x3A) }
        }
    }

    @inline(never)
    mutating func put(_ value: Failure.Value) {
        switch value {
        case .none: break
        case .number(let number): put(decimal: number)
        case .address(let address): put(address)
        case .prefix(let address, let length): put(address, prefix: length)
        case .mac(let mac): put(mac)
        case .guid(let guid): put(guid)
        }
    }

    @inline(never)
    mutating func put(_ guid: GUID) {
        put(0x7B)
        put(hex: guid.high &>> 32, digits: 8)
        put(0x2D)
        put(hex: guid.high &>> 16 & 0xFFFF, digits: 4)
        put(0x2D)
        put(hex: guid.high & 0xFFFF, digits: 4)
        put(0x2D)
        put(hex: guid.low &>> 48, digits: 4)
        put(0x2D)
        put(hex: guid.low & 0xFFFF_FFFF_FFFF, digits: 12)
        put(0x7D)
    }
}

/// "lookup record: virtual_subnet_id: 17 is outside 4096-16777214", or "" when nothing failed.
func write(_ failure: Failure?, to text: Ref<UInt8>, size: Int) {
    var writer = unsafe TextWriter(text.pointer, size: size)
    guard let failure else { return }
    writer.put(failure.object)
    writer.put(": ")
    if !failure.field.isEmpty {
        writer.put(failure.field)
        writer.put(": ")
    }
    writer.put(failure.value)
    if case .none = failure.value {} else { writer.put(0x20) }
    writer.put(failure.problem)
    if case .none = failure.other {} else { writer.put(0x20) }
    writer.put(failure.other)
}

/// Text that is being read. Every step either consumes a byte or fails.
@safe
struct TextReader {
    private let text: UnsafePointer<CChar>
    private(set) var position = 0
    /// The address that was read last stood in IPv6 form.
    private(set) var isV6 = false

    init(_ text: UnsafePointer<CChar>) { unsafe self.text = text }

    var next: UInt8 { unsafe UInt8(bitPattern: text[position]) }
    var isAtEnd: Bool { next == 0 }

    mutating func skip(_ byte: UInt8) -> Bool {
        if next != byte { return false }
        position &+= 1
        return true
    }

    /// A decimal number of at most `digits` digits, without leading zeros.
    @inline(never)
    mutating func decimal(digits: Int, max: UInt32) -> UInt32? {
        let start = position
        var value: UInt32 = 0
        while next >= 0x30, next <= 0x39, position &- start < digits {
            if position > start, value == 0 { return nil }
            value = value &* 10 &+ (next &- 0x30).u32
            position &+= 1
        }
        return position == start || value > max ? nil : value
    }

    @inline(never)
    mutating func hexDigit() -> UInt8? {
        let byte = next
        let value: UInt8
        switch byte {
        case 0x30...0x39: value = byte &- 0x30
        case 0x41...0x46: value = byte &- 0x37
        case 0x61...0x66: value = byte &- 0x57
        default: return nil
        }
        position &+= 1
        return value
    }

    @inline(never)
    mutating func hex(digits: Int) -> UInt64? {
        var value: UInt64 = 0
        var i = 0
        while i < digits {
            guard let digit = hexDigit() else { return nil }
            value = value &<< 4 | digit.u64
            i &+= 1
        }
        return value
    }

    mutating func rewind(to position: Int) { self.position = position }

    // MARK: - Addresses

    @inline(never)
    mutating func address() -> IPAddress? {
        let start = position
        if let v4 = dotted() { return IPAddress(v4: v4) }
        rewind(to: start)
        isV6 = true
        return colons()
    }

    @inline(never)
    private mutating func dotted() -> UInt32? {
        var value: UInt32 = 0
        var i = 0
        while i < 4 {
            if i > 0, !skip(0x2E) { return nil }
            guard let part = decimal(digits: 3, max: 255) else { return nil }
            value = value &<< 8 | part
            i &+= 1
        }
        return value
    }

    /// RFC 4291 section 2.2: eight groups, at most one "::", the last two perhaps dotted.
    @inline(never)
    private mutating func colons() -> IPAddress? {
        var groups = InlineArray<8, UInt16>(repeating: 0)
        var count = 0
        var gap = -1
        if next == 0x3A {
            position &+= 1
            if !skip(0x3A) { return nil }
            gap = 0
        }
        while count < 8 {
            let start = position
            if count <= 6, let v4 = dotted() {
                unsafe groups[unchecked: count] = (v4 &>> 16).u16
                unsafe groups[unchecked: count &+ 1] = v4.u16
                count &+= 2
                break
            }
            rewind(to: start)
            guard let group = group() else {
                // Only a "::" may stand at the end.
                if gap == count { break }
                return nil
            }
            unsafe groups[unchecked: count] = group
            count &+= 1
            if next != 0x3A || count == 8 { break }
            position &+= 1
            if next == 0x3A {
                if gap >= 0 { return nil }
                position &+= 1
                gap = count
            }
        }
        if gap < 0 ? count != 8 : count >= 8 { return nil }
        return assemble(groups, count, gap)
    }

    @inline(never)
    private mutating func group() -> UInt16? {
        var value: UInt16 = 0
        var digits = 0
        while digits < 4, let digit = hexDigit() {
            value = value &<< 4 | digit.u16
            digits &+= 1
        }
        return digits == 0 ? nil : value
    }

    private func assemble(_ groups: InlineArray<8, UInt16>, _ count: Int, _ gap: Int) -> IPAddress {
        var address = IPAddress(high: 0, low: 0)
        var i = 0
        while i < count {
            let place = gap >= 0 && i >= gap ? i &+ 8 &- count : i
            let word = unsafe groups[unchecked: i].u64 &<< (48 &- 16 &* (place & 3)).u64
            if place < 4 { address.high |= word } else { address.low |= word }
            i &+= 1
        }
        return address
    }

    // MARK: - MAC and GUID

    /// Six bytes, all separated by the same ":" or "-", or not at all.
    @inline(never)
    mutating func mac() -> MACAddress? {
        var value: UInt64 = 0
        var separator: UInt8 = 0
        var i = 0
        while i < 6 {
            if i == 1, next == 0x3A || next == 0x2D { separator = next }
            if i > 0, separator != 0, !skip(separator) { return nil }
            guard let byte = hex(digits: 2) else { return nil }
            value = value &<< 8 | byte
            i &+= 1
        }
        return MACAddress(value)
    }

    @inline(never)
    mutating func guid() -> GUID? {
        let isBraced = skip(0x7B)
        guard let a = hex(digits: 8), skip(0x2D), let b = hex(digits: 4), skip(0x2D), let c = hex(digits: 4),
            skip(0x2D), let d = hex(digits: 4), skip(0x2D), let e = hex(digits: 12)
        else { return nil }
        if isBraced, !skip(0x7D) { return nil }
        return GUID(high: a &<< 32 | b &<< 16 | c, low: d &<< 48 | e)
    }
}
