// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// How large outer packets may be: docs/pipeline.md 5.3. Soft state for each remote provider address (RFC 2003 section 5.1), in its
// ``NeighborCell``.

extension Worker {
    /// Forgotten after ten minutes (RFC 1191 section 6.3).
    private static var lifetime: UInt64 { 600_000_000_000 }
    private static var minimumIPv4: UInt32 { 576 }
    private static var minimumIPv6: UInt32 { 1280 }

    /// Let an encapsulation obey the present path MTU.
    func limitToPath(_ transposition: Ref<Transposition>) {
        let mtu = pathMTU(transposition.value.pathCell, otherwise: transposition.value.mtu.u32)
        let overhead = transposition.value.overhead.u32
        transposition.value.maximum = mtu > overhead ? (mtu &- overhead).u16 : 0
    }

    /// The same for one that a packet did not fit: what was learned may be forgotten since. False: it is as it was.
    func widen(_ transposition: Ref<Transposition>) -> Bool {
        if transposition.value.pathCell == none { return false }
        let before = transposition.value.maximum
        limitToPath(transposition)
        return transposition.value.maximum > before
    }

    private func pathMTU(_ cell: UInt32, otherwise mtu: UInt32) -> UInt32 {
        if cell == none { return mtu }
        let learned = tables.cells[cell].value.pathMTU.load(ordering: .relaxed)
        if learned == 0 || elapsed(since: tables.cells[cell].value.pathMTULearned.load(ordering: .relaxed)) >= Self.lifetime {
            return mtu
        }
        return min(mtu, learned)
    }

    /// An ICMP message from the provider network that says that a packet was too big.
    mutating func processTooBig(_ frame: Frame, _ header: OuterHeader, _ icmp: Bytes) {
        guard let pa = quotedDestination(frame, header), let port = findPort(frame.port), let number = pathCell(pa)
        else { return drop(frame, .pathMTUUnmatched) }
        let told = header.isIPv6 ? max(icmp.u32(4), Self.minimumIPv6) : max(icmp.u16(6).u32, Self.minimumIPv4)
        consume(frame)
        let peerMTU = peer(pa)?.limit ?? .max
        guard trace == nil, told < pathMTU(number, otherwise: min(tables.ports[port].mtu, peerMTU).u32) else { return }
        tables.cells[number].value.pathMTU.store(told, ordering: .relaxed)
        tables.cells[number].value.pathMTULearned.store(now, ordering: .relaxed)
        counters.add(.pathMTUUpdates)
        announceNeighborChange()
        neighborEpoch &+= 1
    }

    /// Where the quoted packet was going, if it is one that this host sends.
    private func quotedDestination(_ frame: Frame, _ header: OuterHeader) -> IPAddress? {
        let start = header.link.length &+ header.length &+ 8
        let end = min(header.link.length &+ header.total, frame.readable)
        let quoted = frame.bytes.advanced(by: start)
        let available = end &- start
        let (length, proto, source, destination): (Int, UInt8, IPAddress, IPAddress)
        if header.isIPv6 {
            let ip = IPv6Header(quoted)
            guard available >= IPv6Header.length, ip.version == 6, !ip.destination.isV4 else { return nil }
            (length, proto, source, destination) = (IPv6Header.length, ip.nextHeader, ip.source, ip.destination)
        } else {
            let ip = IPv4Header(quoted)
            guard available >= IPv4Header.minimumLength, ip.version == 4, ip.headerLength >= IPv4Header.minimumLength
            else { return nil }
            (length, proto) = (ip.headerLength, ip.proto)
            (source, destination) = (IPAddress(v4: ip.source), IPAddress(v4: ip.destination))
        }
        guard available >= length &+ 8, source == header.destination, hosts(destination, vsid: 0) else { return nil }
        if proto == VXLANHeader.ipProtocol {
            let isOurs = VXLANHeader(quoted.advanced(by: length)).destinationPort == settings.vxlanPort
            return isOurs ? destination : nil
        }
        let gre = GREHeader(quoted.advanced(by: length))
        guard proto == GREHeader.ipProtocol, gre.isPlain else { return nil }
        let vsid = peer(destination)?.hasDraftKeys ?? false ? gre.key & 0xFF_FFFF : gre.vsid
        return vsid != 0 && hosts(destination, vsid: vsid) ? destination : nil
    }
}
