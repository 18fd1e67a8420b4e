// SPDX-License-Identifier: Apache-2.0

internal import CApus

// Small additions to the types of address.h.

extension apus_prefix {
    /// Read "10.0.1.5/24" as 10.0.1.0/24; nil if not even this makes it a prefix.
    init?(clearing text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        self.init()
        guard parts.count == 2, let length = UInt8(parts[1]),
            unsafe apus_address_parse(String(parts[0]), &address) == 0,
            length <= (address.family == UInt8(APUS_IPV4) ? 32 : 128)
        else { return nil }
        self.length = length
        unsafe withUnsafeMutableBytes(of: &address.bytes) { bytes in
            for index in bytes.indices {
                let kept = max(0, min(8, Int(length) - 8 * index))
                unsafe bytes[index] &= UInt8(truncatingIfNeeded: 0xFF00 >> kept)
            }
        }
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
}

extension apus_mac {
    var isZero: Bool {
        bytes.0 | bytes.1 | bytes.2 | bytes.3 | bytes.4 | bytes.5 == 0
    }
}
