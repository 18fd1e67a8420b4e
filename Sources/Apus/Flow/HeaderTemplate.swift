// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// The outer header of an encapsulation, read again: whoever asks for the next hop does so as the one who sends the packets.
struct HeaderTemplate {
    private let transposition: Transposition

    init(_ transposition: Transposition) { self.transposition = transposition }

    private var isIPv6: Bool { transposition.variant.has(Transposition.Variant.outerIPv6) }
    /// It keeps addresses, and no outer header.
    private var isRewrite: Bool { transposition.kind == .rewrite || transposition.kind == .leave }
    /// IP and what is behind it.
    private var innerLength: Int {
        if isRewrite { return 0 }
        return (isIPv6 ? IPv6Header.length : IPv4Header.minimumLength)
            &+ (transposition.variant.has(Transposition.Variant.vxlan) ? VXLANHeader.length : GREHeader.length)
    }
    private var ipOffset: Int { Transposition.headerRoom &- innerLength }

    /// Ethernet with its tag.
    var linkLength: Int { transposition.headerLength.int &- innerLength }

    /// 0 if there is no tag.
    var vlan: UInt16 {
        if linkLength == Ethernet.headerLength { return 0 }
        return unsafe read { unsafe UInt16(bigEndian: apus_load16($0 + (ipOffset &- 4))) & 0x0FFF }
    }

    var source: IPAddress {
        if isRewrite {
            return unsafe read {
                unsafe IPAddress(
                    high: UInt64(bigEndian: apus_load64($0)), low: UInt64(bigEndian: apus_load64($0 + 8)))
            }
        }
        if !isIPv6 {
            return unsafe read { unsafe IPAddress(v4: UInt32(bigEndian: apus_load32($0 + (ipOffset &+ 12)))) }
        }
        return unsafe read {
            unsafe IPAddress(
                high: UInt64(bigEndian: apus_load64($0 + (ipOffset &+ 8))),
                low: UInt64(bigEndian: apus_load64($0 + (ipOffset &+ 16))))
        }
    }

    func copyLink(to bytes: Bytes) {
        unsafe read { unsafe apus_copy(bytes.base, $0 + (ipOffset &- linkLength), linkLength) }
    }

    private func read<Value>(_ body: (UnsafeRawPointer) -> Value) -> Value {
        unsafe withUnsafePointer(to: transposition.header) { unsafe body(UnsafeRawPointer($0)) }
    }
}
