// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What a `rewrite` transposition keeps where others have the outer header: the new addresses, 16 bytes each, at the front, and the
/// new Ethernet header, right-aligned as everywhere. A `leave` has the port's address and the next hop there.
struct AddressRewrite: BitwiseCopyable {
    private let header: Bytes

    init(_ transposition: Ref<Transposition>) {
        header = transposition.header
    }

    var source: IPAddress {
        get { header.ipv6(0) }
        nonmutating set { header.store(ipv6: newValue, at: 0) }
    }
    var destination: IPAddress {
        get { header.ipv6(16) }
        nonmutating set { header.store(ipv6: newValue, at: 16) }
    }

    /// The Ethernet header of `length` bytes.
    func link(_ length: Int) -> Bytes { header.advanced(by: Transposition.headerRoom &- length) }
}
