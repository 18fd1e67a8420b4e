// SPDX-License-Identifier: Apache-2.0

// What the policy says, in this burst's version. All of these are for the first packet of a flow.

extension Worker {
    @inline(never)
    @_optimize(speed)
    func record(_ vsid: UInt32, _ ca: IPAddress) -> UInt32? {
        // Records of machines without an address are found by their MAC only.
        if ca.isUnspecified { return nil }
        let number = tables.records.find(LookupRecord.hash(tables.key, vsid, ca), at: version) {
            tables.records[$0].ca == ca && tables.records[$0].vsid == vsid
        }
        if let trace { note(trace, record: number, vsid, ca) }
        return number
    }

    /// The same, where one is expected: a number that was found in this burst, or `none`.
    @inline(__always)
    func record(_ vsid: UInt32, _ ca: IPAddress, expected number: UInt32) -> UInt32? {
        let isIt =
            number != none && trace == nil && tables.records[number].ca == ca && tables.records[number].vsid == vsid
            && tables.records.exists(number, at: version) && !ca.isUnspecified
        return isIt ? number : record(vsid, ca)
    }

    /// The id of the vm port with this MAC in this virtual subnet.
    @inline(never)
    @_optimize(speed)
    func vmPort(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        let number = tables.ports.findSecondary(Port.hash(tables.key, vsid, mac), at: version) {
            tables.ports[$0].vsid == vsid && tables.ports[$0].mac == mac && tables.ports[$0].kind == Port.vm
        }
        if let trace { note(trace, machine: number, vsid, mac) }
        return number.map { tables.ports[$0].id }
    }

    /// The external port that is the machine with this MAC in this virtual subnet.
    @inline(__always)
    func externalPort(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        hasExternalPorts ? findExternalPort(vsid, mac) : nil
    }

    private func findExternalPort(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        let number = tables.ports.findSecondary(Port.hash(tables.key, vsid, mac), at: version) {
            tables.ports[$0].vsid == vsid && tables.ports[$0].mac == mac && tables.ports[$0].kind == Port.external
        }
        if let trace, let number { note(trace, port: number, tables.ports[number].id) }
        return number
    }

    @inline(never)
    @_optimize(speed)
    func providerAddress(_ address: IPAddress) -> UInt32? {
        tables.addresses.find(ProviderAddress.hash(tables.key, address), at: version) {
            tables.addresses[$0].address == address
        }
    }

    @_optimize(speed)
    func hosts(_ pa: IPAddress, vsid: UInt32) -> Bool {
        let number = tables.remotes.find(RemoteAddress.hash(tables.key, vsid, pa, .any), at: version) {
            tables.remotes[$0].pa == pa && tables.remotes[$0].vsid == vsid && tables.remotes[$0].kind == .any
        }
        if let trace { note(trace, source: pa, hosts: vsid, number != nil) }
        return number != nil
    }

    @inline(never)
    @_optimize(speed)
    func isGateway(_ address: IPAddress, vsid: UInt32) -> Bool {
        !settings.usesExternalRouter && tables.gateways.find(Gateway.hash(tables.key, vsid: vsid, address), at: version) {
            tables.gateways[$0].vsid == vsid && tables.gateways[$0].address == address
        } != nil
    }

    /// The same of any virtual subnet of the domain.
    @_optimize(speed)
    func isGateway(_ address: IPAddress, domain: UInt32) -> Bool {
        !settings.usesExternalRouter && tables.gateways.findSecondary(Gateway.hash(tables.key, domain: domain, address), at: version) {
            tables.gateways[$0].domain == domain && tables.gateways[$0].address == address
        } != nil
    }

    /// The MAC with which the router of this virtual subnet answers for this gateway address.
    func gatewayMAC(_ address: IPAddress, vsid: UInt32) -> MACAddress {
        record(vsid, address).map { tables.records[$0].mac } ?? settings.gatewayMAC
    }

    /// Is this the MAC of a gateway of the virtual subnet? A subnet may have several on-link prefixes.
    func isGatewayMAC(_ mac: MACAddress, vsid: UInt32) -> Bool {
        if settings.usesExternalRouter { return false }
        var isOne = false
        tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            if !isOne, route.vsid == vsid, route.isOnLink { isOne = gatewayMAC(route.gateway, vsid: vsid) == mac }
        }
        return isOne
    }

    /// The MAC with which the router of this virtual subnet answers for this address: a gateway, or the link-local address
    /// that belongs to an IPv6 gateway. nil: it is none of these.
    func routerMAC(_ address: IPAddress, vsid: UInt32) -> MACAddress? {
        if isGateway(address, vsid: vsid) { return gatewayMAC(address, vsid: vsid) }
        guard address.isLinkLocal, !settings.usesExternalRouter else { return nil }
        var found: MACAddress?
        tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            guard found == nil, route.vsid == vsid, route.isOnLink, !route.prefix.isV4 else { return }
            let mac = gatewayMAC(route.gateway, vsid: vsid)
            if IPAddress.linkLocal(mac) == address { found = mac }
        }
        return found
    }

    /// The first IPv6 on-link route of a virtual subnet that has all these flags and is behind `previous`, in the order of
    /// prefixes and lengths.
    func nextIPv6Route(vsid: UInt32, flags: UInt32, after previous: CustomerRoute?) -> CustomerRoute? {
        var best: CustomerRoute?
        tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            if route.vsid == vsid, route.isOnLink, !route.prefix.isV4, route.flags.u32 & flags == flags,
                previous?.comesBefore(route) ?? true, !(best?.comesBefore(route) ?? false)
            {
                best = route
            }
        }
        return best
    }

    /// The customer route to an address: longest prefix, then lowest metric.
    @_optimize(speed)
    func customerRoute(_ address: IPAddress, domain: UInt32, onLinkOnly: Bool) -> UInt32? {
        var best: UInt32?
        tables.domains[domain].value.lengths.searchLongestFirst(for: address) {
            best = customerRoute(to: address.masked($0), $0, domain: domain, onLinkOnly: onLinkOnly)
            return best != nil
        }
        if let trace { note(trace, customerRoute: best, to: address) }
        return best
    }

    /// The best one to a prefix. By itself, because the search for a length has several places that ask.
    @inline(never)
    @_optimize(speed)
    private func customerRoute(to prefix: IPAddress, _ length: UInt8, domain: UInt32, onLinkOnly: Bool) -> UInt32? {
        var best: UInt32?
        tables.routes.visit(CustomerRoute.hash(tables.key, domain, prefix, length), at: version) {
            let route = tables.routes.place(of: $0)
            if route.value.domain == domain, route.value.prefix == prefix, route.value.length == length,
                route.value.isOnLink || !onLinkOnly, best.map({ route.value.isBetter(than: tables.routes[$0]) }) ?? true
            {
                best = $0
            }
        }
        return best
    }

    /// The provider route to an address.
    func providerRoute(_ address: IPAddress) -> UInt32? {
        var best: UInt32?
        tables.shared.value.providerLengths.searchLongestFirst(for: address) {
            best = providerRoute(to: address.masked($0), $0)
            return best != nil
        }
        if let trace { note(trace, providerRoute: best, to: address) }
        return best
    }

    @inline(never)
    private func providerRoute(to prefix: IPAddress, _ length: UInt8) -> UInt32? {
        var best: UInt32?
        tables.providerRoutes.visit(ProviderRoute.hash(tables.key, prefix, length), at: version) {
            let route = tables.providerRoutes[$0]
            if route.prefix == prefix, route.length == length,
                best.map({ route.isBetter(than: tables.providerRoutes[$0]) }) ?? true
            {
                best = $0
            }
        }
        return best
    }

    /// The provider address that packets through `port` to `nextHop` come from, of its family: `preferred` if that is possible.
    func sourceAddress(port: UInt32, nextHop: IPAddress, preferred: IPAddress) -> UInt32? {
        if let number = usableAddress(preferred), tables.addresses[number].port == port, preferred.isV4 == nextHop.isV4 {
            if let trace { note(trace, source: number, port: port) }
            return number
        }
        var best: UInt32?
        var bestRank = 0
        tables.addresses.visitSecondary(ProviderAddress.hash(tables.key, port: port), at: version) {
            let candidate = tables.addresses[$0]
            guard candidate.port == port, candidate.address.isV4 == nextHop.isV4, isUsable($0),
                rewrittenRecord(candidate.address) == nil
            else { return }
            let contains = nextHop.isIn(candidate.address.masked(candidate.length), candidate.length)
            let rank = (candidate.isDeprecated ? 0 : 2) &+ (contains ? 1 : 0)
            let isBetter =
                best.map { rank != bestRank ? rank > bestRank : candidate.address < tables.addresses[$0].address } ?? true
            if isBetter { (best, bestRank) = ($0, rank) }
        }
        if let trace { note(trace, source: best, port: port) }
        return best
    }

    /// What is known of the tunnel endpoint at this provider address.
    @inline(never)
    @_optimize(speed)
    func peer(_ address: IPAddress) -> ProviderPeer? {
        let number = tables.peers.find(ProviderPeer.hash(tables.key, address), at: version) {
            tables.peers[$0].address == address
        }
        if let trace, let number { note(trace, peer: tables.peers[number]) }
        return number.map { tables.peers[$0] }
    }

    @inline(never)
    @_optimize(speed)
    private func findNeighbor(_ address: IPAddress, _ port: UInt32 = 0) -> UInt32? {
        tables.neighbors.find(Neighbor.hash(tables.key, address, port), at: version) {
            tables.neighbors[$0].isAt(address, port)
        }
    }

    /// The cell that knows the path MTU to a remote provider address.
    func pathCell(_ pa: IPAddress) -> UInt32? { findNeighbor(pa).map { tables.neighbors[$0].cell } }

    /// A next hop on the provider network, or behind an external port.
    @_optimize(speed)
    func neighbor(_ address: IPAddress, _ port: UInt32 = 0) -> UInt32? {
        let number = findNeighbor(address, port)
        if let trace { note(trace, neighbor: number, address, port) }
        return number
    }
}
