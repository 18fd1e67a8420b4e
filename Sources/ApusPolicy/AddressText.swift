// SPDX-License-Identifier: Apache-2.0

internal import CApus

/// Small additions to the address types of address.h.
extension apus_prefix {
    /// The same prefix with the bits after its length cleared.
    var masked: apus_prefix {
        var result = self
        unsafe withUnsafeMutableBytes(of: &result.address.bytes) { bytes in
            for index in bytes.indices {
                let kept = max(0, min(8, Int(length) - 8 * index))
                unsafe bytes[index] &= UInt8(truncatingIfNeeded: 0xFF00 >> kept)
            }
        }
        return result
    }

    /// "10.0.1.0/24"
    var text: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { buffer in
            var prefix = self
            guard unsafe apus_prefix_format(&prefix, buffer.baseAddress, buffer.count) >= 0 else { return "?" }
            return unsafe String(cString: buffer.baseAddress!)
        }
    }

    func hasSameBytes(as other: apus_prefix) -> Bool {
        let mine = address.bytes, theirs = other.address.bytes
        return unsafe withUnsafeBytes(of: mine) { mine in
            unsafe withUnsafeBytes(of: theirs) { unsafe mine.elementsEqual($0) }
        }
    }
}

extension apus_address {
    /// 0.0.0.0 or ::, of a given family.
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
