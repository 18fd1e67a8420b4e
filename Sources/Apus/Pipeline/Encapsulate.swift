// SPDX-License-Identifier: Apache-2.0

import CApus

// Building the outer header of a flow: docs/pipeline.md 2.3 and 5.

extension Worker {
    /// How packets get to a provider address.
    struct Way {
        var route: ProviderRoute
        /// Number of the egress port.
        var port: UInt32
        var source: ProviderAddress
        /// Number of the next hop.
        var neighbor: UInt32
        var isStatic: Bool
        var mac: MACAddress?
    }

    /// `source`: who sends, if it is possible.
    func way(to pa: IPAddress, from source: IPAddress) -> (reason: DropReason, way: Way?) {
        guard let routeNumber = providerRoute(pa) else { return (.providerRouteMissing, nil) }
        let route = tables.providerRoutes[routeNumber]
        let nextHop = route.nextHop.isUnspecified ? pa : route.nextHop
        guard let source = sourceAddress(port: route.port, nextHop: nextHop, preferred: source), let port = findPort(route.port) else {
            return (.providerAddressMissing, nil)
        }
        if pa.isMulticast {
            // Nobody is asked for the MAC of a group.
            let way = Way(
                route: route, port: port, source: tables.addresses[source], neighbor: none, isStatic: true,
                mac: pa.multicastMAC)
            return (.providerRouteMissing, way)
        }
        guard let number = neighbor(nextHop) else { return (.neighborFailed, nil) }
        let neighbor = tables.neighbors[number]
        let isStatic = neighbor.isStatic != 0
        let mac = isStatic ? neighbor.mac : tables.cells[neighbor.cell].value.mac
        let way = Way(
            route: route, port: port, source: tables.addresses[source], neighbor: number, isStatic: isStatic, mac: mac)
        return (.providerRouteMissing, way)
    }

    /// Complete `scratch`, an encapsulation whose inner side is decided, with the way to the provider address.
    @_optimize(speed)
    func decideEncapsulation(to pa: IPAddress, vsid: UInt32, from source: IPAddress) -> Decision {
        let key = TunnelCache.Key(
            pa: pa, source: source, vsid: vsid, isIPv6: scratch.value.variant.has(Transposition.Variant.ipv6),
            era: (version &>> 32).u32, floor: floor, neighborEpoch: neighborEpoch)
        // The floor may be that of a version which is not published yet: what is decided now is not what that one says. And who wants
        // to know why looks at everything.
        let mayRemember = trace == nil && floor <= version.u32
        if mayRemember, tunnels.fill(scratch, key) {
            limitToPath(scratch)
            return .flow
        }
        let (reason, found) = way(to: pa, from: source)
        guard let way = found else { return failEncapsulation(reason) }
        writeTemplate(way, pa, vsid)
        if way.mac == nil { return .unresolved(way.neighbor) }
        if mayRemember {
            scratch.value.prepare(portCounters)
            tunnels.remember(scratch, key)
        }
        return .flow
    }

    /// Where `scratch` leaves, and how large packets may be: `overhead` is what of `mtu` the customer's packet does not get.
    func take(_ way: Way, mtu: UInt16, overhead: Int, pa: IPAddress) {
        scratch.value.egress = way.route.port
        scratch.value.neighbor = way.isStatic ? none : way.neighbor
        scratch.value.mtu = mtu
        scratch.value.overhead = overhead.u16
        scratch.value.pathCell = pathCell(pa) ?? none
        limitToPath(scratch)
        if let trace { note(trace, mtu: scratch.value.maximum) }
    }

    /// What comes before in the order of checks - the TTL of a routed packet - still comes before.
    func failEncapsulation(_ reason: DropReason) -> Decision {
        scratch.value = Transposition(drop: reason, scope: scratch.value.scope, isRouted: scratch.value.isRouted != 0)
        return .flow
    }

    /// Outer Ethernet, IP and GRE or VXLAN, right-aligned, with 0 for what differs from packet to packet.
    private func writeTemplate(_ way: Way, _ pa: IPAddress, _ vsid: UInt32) {
        let peer = peer(pa)
        let source = way.source
        let isVXLAN = peer?.isVXLAN ?? false
        let link = Ethernet.headerLength(vlan: source.vlan)
        let ipLength = pa.isV4 ? IPv4Header.minimumLength : IPv6Header.length
        let tunnelLength = isVXLAN ? VXLANHeader.length : GREHeader.length
        let length = link &+ ipLength &+ tunnelLength
        scratch.value.headerLength = length.u8
        // Between the customer's IP packet and the outer one: the outer Ethernet header does not count for the MTU.
        let overhead = ipLength &+ tunnelLength &+ Ethernet.headerLength
        take(way, mtu: min(tables.ports[way.port].mtu, peer?.limit ?? .max), overhead: overhead, pa: pa)
        setVariant(peer, isIPv6: !pa.isV4)

        let start = scratch.header.advanced(by: Transposition.headerRoom &- length)
        Ethernet.write(
            start, to: way.mac ?? .broadcast, from: source.mac, vlan: source.vlan,
            pa.isV4 ? Ethernet.ipv4 : Ethernet.ipv6)

        let ip = start.advanced(by: link)
        let ttl = peer.map { $0.ttl == 0 ? settings.outerTTL : $0.ttl } ?? settings.outerTTL
        let proto = isVXLAN ? VXLANHeader.ipProtocol : GREHeader.ipProtocol
        let trafficClass = (peer?.dscp ?? 0) &<< 2
        if pa.isV4 {
            ip[0] = 0x45
            ip.store(UInt16(0x4000), at: 6)  // DF: NVGRE is never fragmented (RFC 7637 section 4.4)
            ip[8] = ttl
            ip[9] = proto
            ip.store(source.address.v4, at: 12)
            ip.store(pa.v4, at: 16)
            scratch.value.headerSum = Checksum.sum(ip, 20)
            if scratch.value.variant.isCommonTunnel { scratch.value.headerSum &+= NVGRE.overheadIPv4 }
            ip[1] = trafficClass
        } else {
            IPv6Header(ip).write(payload: 0, nextHeader: proto, hopLimit: ttl, from: source.address, to: pa)
            IPv6Header(ip).setTrafficClass(trafficClass)
        }
        writeTunnel(ip.advanced(by: ipLength), vsid)
    }

    private func writeTunnel(_ start: Bytes, _ vsid: UInt32) {
        if scratch.value.variant.has(Transposition.Variant.vxlan) {
            return VXLANHeader(start).write(port: settings.vxlanPort, vni: vsid)
        }
        start.store(GREHeader.keyPresent, at: 0)
        start.store(GREHeader.transparentEthernet, at: 2)
        start.store(scratch.value.variant.has(Transposition.Variant.draftKey) ? vsid : vsid &<< 8, at: 4)
    }

    /// The customer's family is known already.
    private func setVariant(_ peer: ProviderPeer?, isIPv6: Bool) {
        typealias Variant = Transposition.Variant
        scratch.value.variant.set(Variant.outerIPv6, isIPv6)
        scratch.value.sendsFlowID = settings.sendsFlowID ? 1 : 0
        guard let peer else { return }
        if peer.flowID != 0 { scratch.value.sendsFlowID = peer.flowID.u32 == APUS_FLOW_ID_HASH.rawValue ? 1 : 0 }
        scratch.value.variant.set(Variant.vxlan, peer.isVXLAN)
        scratch.value.variant.set(Variant.draftKey, peer.hasDraftKeys)
        scratch.value.variant.set(Variant.pipe, peer.dscpMode.u32 == APUS_DSCP_PIPE.rawValue)
        scratch.value.variant.set(Variant.hidesECN, peer.ecnMode.u32 == APUS_ECN_COMPATIBILITY.rawValue)
        scratch.value.variant.set(Variant.copiesDF, peer.dfMode.u32 == APUS_DF_COPY.rawValue && !isIPv6)
    }
}
