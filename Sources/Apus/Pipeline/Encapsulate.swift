// SPDX-License-Identifier: Apache-2.0

import CApus

// Building the outer header of a flow: docs/pipeline.md 2.3 and 5.

extension Worker {
    /// Complete `scratch`, an encapsulation whose inner side is decided, with the way to the provider address.
    func decideEncapsulation(to pa: IPAddress, vsid: UInt32) -> Decision {
        guard let routeNumber = providerRoute(pa) else { return failEncapsulation(.providerRouteMissing) }
        let route = tables.providerRoutes[routeNumber]
        let nextHop = route.nextHop.isUnspecified ? pa : route.nextHop
        guard let sourceNumber = sourceAddress(port: route.port, nextHop: nextHop),
            let portNumber = findPort(route.port)
        else { return failEncapsulation(.providerAddressMissing) }
        guard let neighborNumber = neighbor(nextHop) else { return failEncapsulation(.neighborFailed) }

        let isStatic = tables.neighbors[neighborNumber].isStatic != 0
        let mac =
            isStatic
            ? tables.neighbors[neighborNumber].mac : tables.cells[tables.neighbors[neighborNumber].cell].value.mac
        scratch.value.egress = route.port
        let mtu = tables.ports[portNumber].mtu.u32
        let overhead = pa.isV4 ? NVGRE.overheadIPv4 : NVGRE.overheadIPv6
        scratch.value.maximum = mtu > overhead ? (mtu &- overhead).u16 : 0
        scratch.value.neighbor = isStatic ? none : neighborNumber
        writeTemplate(tables.addresses[sourceNumber], pa, mac ?? .broadcast, vsid)
        return mac == nil ? .unresolved(neighborNumber) : .flow
    }

    /// What comes before in the order of checks - the TTL of a routed packet - still comes before.
    private func failEncapsulation(_ reason: DropReason) -> Decision {
        scratch.value = Transposition(drop: reason, scope: scratch.value.scope, isRouted: scratch.value.isRouted != 0)
        return .flow
    }

    /// Outer Ethernet, IP and GRE, right-aligned, with 0 for what differs from packet to packet.
    private func writeTemplate(
        _ source: ProviderAddress, _ pa: IPAddress, _ nextHop: MACAddress, _ vsid: UInt32
    ) {
        let isTagged = source.vlan != 0
        let link = Ethernet.headerLength &+ (isTagged ? Ethernet.tagLength : 0)
        let length = link &+ (pa.isV4 ? IPv4Header.minimumLength : IPv6Header.length) &+ GREHeader.length
        scratch.value.headerLength = length.u8
        scratch.value.families.isOuterIPv6 = !pa.isV4
        let start = scratchHeader.advanced(by: Transposition.headerRoom &- length)
        start.store(nextHop, at: Ethernet.destination)
        start.store(source.mac, at: Ethernet.source)
        if isTagged {
            start.store(UInt16(0x8100), at: 12)
            start.store(source.vlan, at: 14)
        }
        start.store(pa.isV4 ? Ethernet.ipv4 : Ethernet.ipv6, at: link &- 2)

        let ip = start.advanced(by: link)
        if pa.isV4 {
            ip[0] = 0x45
            ip.store(UInt16(0x4000), at: 6)  // DF: NVGRE is never fragmented (RFC 7637 section 4.4)
            ip[8] = settings.outerTTL
            ip[9] = GREHeader.ipProtocol
            ip.store(source.address.v4, at: 12)
            ip.store(pa.v4, at: 16)
            scratch.value.headerSum = Checksum.sum(ip, 20) &+ NVGRE.overheadIPv4
        } else {
            IPv6Header(ip).write(
                payload: 0, nextHeader: GREHeader.ipProtocol, hopLimit: settings.outerTTL, from: source.address,
                to: pa)
        }

        let gre = start.advanced(by: length &- GREHeader.length)
        gre.store(GREHeader.keyPresent, at: 0)
        gre.store(GREHeader.transparentEthernet, at: 2)
        gre.store(vsid &<< 8, at: 4)
    }

    /// The header of `scratch` as bytes. It is the first field.
    private var scratchHeader: Bytes { unsafe Bytes(scratch.raw.assumingMemoryBound(to: UInt8.self)) }
}
