// SPDX-License-Identifier: Apache-2.0

/// Explicit congestion notification through tunnels (RFC 6040).
enum ECN {
    private static var ect1: UInt8 { 1 }
    private static var ect0: UInt8 { 2 }
    private static var ce: UInt8 { 3 }

    /// What the inner header says after decapsulation (section 4.2, figure 4); nil: the packet has to be dropped.
    static func decapsulated(inner: UInt8, outer: UInt8) -> UInt8? {
        if outer == ce { return inner == 0 ? nil : ce }
        return outer == ect1 && inner == ect0 ? ect1 : inner
    }
}
