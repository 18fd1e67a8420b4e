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
        // Ethernet and its tag do not count for the MTU.
        let mtu = tables.ports[portNumber].mtu.u32
        scratch.value.maximum = mtu > Transposition.overhead ? mtu &- Transposition.overhead : 0
        scratch.value.neighbor = isStatic ? none : neighborNumber
        writeTemplate(from: tables.addresses[sourceNumber], to: pa, mac ?? .broadcast, vsid)
        return mac == nil ? .unresolved(neighborNumber) : .flow
    }

    /// What comes before in the order of checks - the TTL of a routed packet - still comes before.
    private func failEncapsulation(_ reason: DropReason) -> Decision {
        scratch.value = Transposition(drop: reason, scope: scratch.value.scope, isRouted: scratch.value.isRouted != 0)
        return .flow
    }

    /// Outer Ethernet, IPv4 and GRE, right-aligned, with TOS, total length, checksum and FlowID 0.
    private func writeTemplate(from source: ProviderAddress, to pa: IPAddress, _ nextHop: MACAddress, _ vsid: UInt32) {
        let isTagged = source.vlan != 0
        let length = Ethernet.headerLength &+ (isTagged ? Ethernet.tagLength : 0) &+ 28
        scratch.value.headerLength = length.u8
        let start = scratchHeader.advanced(by: Transposition.headerRoom &- length)
        start.store(nextHop, at: Ethernet.destination)
        start.store(source.mac, at: Ethernet.source)
        if isTagged {
            start.store(UInt16(0x8100), at: 12)
            start.store(source.vlan, at: 14)
        }
        start.store(Ethernet.ipv4, at: length &- 30)

        let ip = start.advanced(by: length &- 28)
        ip[0] = 0x45
        ip.store(UInt16(0x4000), at: 6)  // DF: NVGRE is never fragmented (RFC 7637 section 4.4)
        ip[8] = settings.outerTTL
        ip[9] = GREHeader.ipProtocol
        ip.store(source.address.v4, at: 12)
        ip.store(pa.v4, at: 16)
        scratch.value.headerSum = Checksum.sum(ip, 20) &+ Transposition.overhead

        ip.store(GREHeader.keyPresent, at: 20)
        ip.store(GREHeader.transparentEthernet, at: 22)
        ip.store(vsid &<< 8, at: 24)
    }

    /// The header of `scratch` as bytes. It is the first field.
    private var scratchHeader: Bytes { unsafe Bytes(scratch.raw.assumingMemoryBound(to: UInt8.self)) }
}
