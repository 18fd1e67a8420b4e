// SPDX-License-Identifier: Apache-2.0

public import CApus

// Small additions to the types of address.h.

extension apus_prefix {
    /// Read "10.0.1.5/24" as 10.0.1.0/24; nil if not even this makes it a prefix.
    init?(clearing text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        self.init()
        guard parts.count == 2, let length = UInt8(parts[1]),
            unsafe apus_address_parse(String(parts[0]), &address) == 0,
            length <= address.bitCount
        else { return nil }
        self = address.network(length)
    }

    /// "10.0.1.0/24"
    var text: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            var prefix = self
            guard unsafe apus_prefix_format(&prefix, buffer.baseAddress, buffer.count) >= 0 else { return "?" }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}

extension apus_address {
    /// 0.0.0.0 or ::
    static func unspecified(_ family: UInt8) -> apus_address {
        var address = apus_address()
        address.family = family
        return address
    }

    /// 10.0.1.0/24 of 10.0.1.5
    func network(_ length: UInt8) -> apus_prefix {
        var network = apus_prefix()
        network.address = self
        network.length = length
        unsafe withUnsafeMutableBytes(of: &network.address.bytes) { bytes in
            for index in bytes.indices {
                let kept = max(0, min(8, Int(length) - 8 * index))
                unsafe bytes[index] &= UInt8(truncatingIfNeeded: 0xFF00 >> kept)
            }
        }
        return network
    }

    var isUnspecified: Bool {
        unsafe withUnsafeBytes(of: bytes) { unsafe $0.allSatisfy { $0 == 0 } }
    }

    var isMulticast: Bool { isIPv4 ? bytes.0 & 0xF0 == 0xE0 : bytes.0 == 0xFF }

    var isIPv4: Bool { family == UInt8(APUS_IPV4) }

    /// 32 or 128
    var bitCount: UInt8 { isIPv4 ? 32 : 128 }

    /// "IPv4" or "IPv6"
    var familyName: String { isIPv4 ? "IPv4" : "IPv6" }

    /// ::ffff:10.0.1.5, in which form a dataplane takes no IPv4 address
    var isMapped: Bool {
        if isIPv4 { return false }
        return unsafe withUnsafeBytes(of: bytes) { bytes in
            unsafe bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        }
    }

    /// The IPv4 address of an address that is mapped.
    var unmapped: apus_address {
        var address = apus_address.unspecified(UInt8(APUS_IPV4))
        (address.bytes.0, address.bytes.1, address.bytes.2, address.bytes.3) = (bytes.12, bytes.13, bytes.14, bytes.15)
        return address
    }

    /// "10.0.1.5"
    public var text: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            var address = self
            guard unsafe apus_address_format(&address, buffer.baseAddress, buffer.count) >= 0 else { return "?" }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}

extension apus_guid {
    /// "{12345678-1000-2000-3000-123456780001}"
    public var text: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            var guid = self
            guard unsafe apus_guid_format(&guid, buffer.baseAddress, buffer.count) >= 0 else { return "?" }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}

extension apus_mac {
    var isZero: Bool {
        bytes.0 | bytes.1 | bytes.2 | bytes.3 | bytes.4 | bytes.5 == 0
    }

    /// "60:00:60:00:01:01"
    public var text: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            var mac = self
            guard unsafe apus_mac_format(&mac, buffer.baseAddress, buffer.count) >= 0 else { return "?" }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}
