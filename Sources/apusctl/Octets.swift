// SPDX-License-Identifier: Apache-2.0

import CApus

/// An IP address as the four or sixteen bytes that packets have of it.
struct Octets: Equatable {
    var bytes: [UInt8]

    var isIPv4: Bool { bytes.count == 4 }
    var familyName: String { isIPv4 ? "IPv4" : "IPv6" }
    var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
    /// fe80::/10 (RFC 4291 section 2.5.6)
    var isLinkLocal: Bool { !isIPv4 && bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    init(_ address: apus_address) {
        let all = unsafe withUnsafeBytes(of: address.bytes) { unsafe Array($0) }
        bytes = address.family == UInt8(APUS_IPV4) ? Array(all.prefix(4)) : all
    }

    /// An address of the command line.
    init(_ text: String, _ option: String) throws {
        var address = apus_address()
        guard unsafe apus_address_parse(text, &address) == 0 else {
            throw Refusal("\(option) '\(text)' is no IP address such as 10.0.1.5 or 2001:db8::5")
        }
        self.init(address)
    }

    var text: String {
        var address = apus_address()
        address.family = UInt8(isIPv4 ? APUS_IPV4 : APUS_IPV6)
        unsafe withUnsafeMutableBytes(of: &address.bytes) { unsafe $0.copyBytes(from: bytes) }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { text in
            unsafe apus_address_format(&address, text.baseAddress, text.count)
            return unsafe String(cString: text.baseAddress!)
        }
    }

    /// Is it in a prefix?
    func isIn(_ prefix: apus_prefix) -> Bool {
        let base = Octets(prefix.address)
        if base.isIPv4 != isIPv4 { return false }
        return bytes.indices.allSatisfy { index in
            let kept = max(0, min(8, Int(prefix.length) - 8 * index))
            return (bytes[index] ^ base.bytes[index]) & UInt8(truncatingIfNeeded: 0xFF00 >> kept) == 0
        }
    }

    /// The gateway of an on-link prefix: its first address behind the one of the prefix itself, if it has one.
    static func gateway(of prefix: apus_prefix) -> Octets {
        var gateway = Octets(prefix.address)
        if Int(prefix.length) < 8 * gateway.bytes.count - 1 { gateway.bytes[gateway.bytes.count - 1] |= 1 }
        return gateway
    }

    /// The link-local address that is made of a MAC address (RFC 4291 appendix A).
    static func linkLocal(_ mac: apus_mac) -> Octets {
        let b = mac.bytes
        return Octets([0xFE, 0x80, 0, 0, 0, 0, 0, 0, b.0 ^ 2, b.1, b.2, 0xFF, 0xFE, b.3, b.4, b.5])
    }
}
