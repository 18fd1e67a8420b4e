// SPDX-License-Identifier: Apache-2.0

import CApus

/// Values in the one form in which policy files have them; nil for what is none.
enum Canonical {
    static func address(_ text: String) -> String? {
        var address = apus_address()
        guard !text.utf8.contains(0), unsafe apus_address_parse(text, &address) == 0, !isMapped(address)
        else { return nil }
        return unsafe format { unsafe apus_address_format(&address, $0, $1) }
    }

    static func prefix(_ text: String) -> String? {
        var prefix = apus_prefix()
        guard !text.utf8.contains(0), unsafe apus_prefix_parse(text, &prefix) == 0, !isMapped(prefix.address)
        else { return nil }
        return unsafe format { unsafe apus_prefix_format(&prefix, $0, $1) }
    }

    static func mac(_ text: String) -> String? {
        var mac = apus_mac()
        guard !text.utf8.contains(0), unsafe apus_mac_parse(text, &mac) == 0 else { return nil }
        return unsafe format { unsafe apus_mac_format(&mac, $0, $1) }
    }

    /// Can an adapter have this address?
    static func isUnicast(mac text: String) -> Bool {
        var mac = apus_mac()
        return unsafe apus_mac_parse(text, &mac) == 0 && mac.bytes.0 & 1 == 0
            && mac.bytes.0 | mac.bytes.1 | mac.bytes.2 | mac.bytes.3 | mac.bytes.4 | mac.bytes.5 != 0
    }

    static func guid(_ text: String) -> String? {
        var guid = apus_guid()
        guard !text.utf8.contains(0), unsafe apus_guid_parse(text, &guid) == 0 else { return nil }
        return unsafe format { unsafe apus_guid_format(&guid, $0, $1) }
    }

    /// A whole number, decimal or 0x.
    static func number(_ text: String) -> UInt64? {
        let isHexadecimal = text.hasPrefix("0x") || text.hasPrefix("0X")
        let digits = isHexadecimal ? text.dropFirst(2) : text[...]
        guard let first = digits.first, first != "+", first != "-" else { return nil }
        return UInt64(digits, radix: isHexadecimal ? 16 : 10)
    }

    /// Is it an IPv4 address in the form of an IPv6 address, which policy files do not have?
    private static func isMapped(_ address: apus_address) -> Bool {
        let bytes = Octets(address).bytes
        return bytes.count == 16 && bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
    }

    /// Is an address in canonical form, or a prefix, IPv4?
    static func isIPv4(_ text: String) -> Bool { !text.contains(":") }

    /// Is an address in canonical form 0.0.0.0 or ::?
    static func isUnspecified(_ text: String) -> Bool { text == "0.0.0.0" || text == "::" }

    /// Does a prefix hold an address, and is this the first of it, the gateway?
    static func isFirstAddress(_ address: String, of prefix: String) -> Bool {
        var parsedAddress = apus_address()
        var parsedPrefix = apus_prefix()
        guard unsafe apus_address_parse(address, &parsedAddress) == 0,
            unsafe apus_prefix_parse(prefix, &parsedPrefix) == 0, parsedPrefix.length > 0
        else { return false }
        let gateway = Octets.gateway(of: parsedPrefix)
        return gateway != Octets(parsedPrefix.address) && Octets(parsedAddress) == gateway
    }

    private static func format(_ body: (UnsafeMutablePointer<CChar>?, Int) -> Int32) -> String? {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            guard unsafe body(buffer.baseAddress, buffer.count) >= 0 else { return nil }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}
