// SPDX-License-Identifier: Apache-2.0

// What the policy says, in this burst's version. All of these are for the first packet of a flow.

extension Worker {
    func subnet(_ vsid: UInt32) -> UInt32? {
        tables.subnets.find(VirtualSubnet.hash(tables.key, vsid), at: version) { tables.subnets[$0].vsid == vsid }
    }

    func record(_ vsid: UInt32, _ ca: IPAddress) -> UInt32? {
        let number = tables.records.find(LookupRecord.hash(tables.key, vsid, ca), at: version) {
            tables.records[$0].ca == ca && tables.records[$0].vsid == vsid
        }
        if let trace { note(trace, record: number, vsid, ca) }
        return number
    }

    /// The id of the vm port with this MAC in this virtual subnet.
    func vmPort(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        let number = tables.ports.findSecondary(Port.hash(tables.key, vsid, mac), at: version) {
            tables.ports[$0].vsid == vsid && tables.ports[$0].mac == mac && tables.ports[$0].kind == Port.vm
        }
        if let trace { note(trace, machine: number, vsid, mac) }
        return number.map { tables.ports[$0].id }
    }

    func providerAddress(_ address: IPAddress) -> UInt32? {
        tables.addresses.find(ProviderAddress.hash(tables.key, address), at: version) {
            tables.addresses[$0].address == address
        }
    }

    /// Is this provider address one of ours: does a record that has it describe a local machine?
    func isLocal(_ pa: IPAddress) -> Bool { providerAddress(pa) != nil }

    func hosts(_ pa: IPAddress, vsid: UInt32) -> Bool {
        let number = tables.remotes.find(RemoteAddress.hash(tables.key, vsid, pa), at: version) {
            tables.remotes[$0].pa == pa && tables.remotes[$0].vsid == vsid
        }
        if let trace { note(trace, source: pa, hosts: vsid, number != nil) }
        return number != nil
    }

    func isGateway(_ address: IPAddress, vsid: UInt32) -> Bool {
        tables.gateways.find(Gateway.hash(tables.key, vsid: vsid, address), at: version) {
            tables.gateways[$0].vsid == vsid && tables.gateways[$0].address == address
        } != nil
    }

    /// The virtual subnet of the domain whose gateway this is.
    func gatewaySubnet(_ address: IPAddress, domain: UInt32) -> UInt32? {
        let number = tables.gateways.findSecondary(Gateway.hash(tables.key, domain: domain, address), at: version) {
            tables.gateways[$0].domain == domain && tables.gateways[$0].address == address
        }
        return number.map { tables.gateways[$0].vsid }
    }

    /// The MAC with which the router of this virtual subnet answers for this gateway address.
    func gatewayMAC(_ address: IPAddress, vsid: UInt32) -> MACAddress {
        record(vsid, address).map { tables.records[$0].mac } ?? settings.gatewayMAC
    }

    /// Is this the MAC of a gateway of the virtual subnet? A subnet may have several on-link prefixes.
    func isGatewayMAC(_ mac: MACAddress, vsid: UInt32) -> Bool {
        let number = tables.routes.findSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            return route.vsid == vsid && route.isOnLink
                && gatewayMAC(route.prefix.gateway(prefixLength: route.length), vsid: vsid) == mac
        }
        return number != nil
    }

    /// The customer route to an address: longest prefix, then lowest metric.
    func customerRoute(_ address: IPAddress, domain: UInt32, onLinkOnly: Bool) -> UInt32? {
        var best: UInt32?
        tables.domains[domain].value.lengths.searchLongestFirst { length in
            let prefix = address.masked(length)
            _ = tables.routes.find(CustomerRoute.hash(tables.key, domain, prefix, length), at: version) {
                let route = tables.routes[$0]
                if route.domain == domain, route.prefix == prefix, route.length == length,
                    route.isOnLink || !onLinkOnly
                {
                    if best.map({ route.isBetter(than: tables.routes[$0]) }) ?? true { best = $0 }
                }
                return false
            }
            return best != nil
        }
        if let trace { note(trace, customerRoute: best, to: address) }
        return best
    }

    /// The provider route to an address.
    func providerRoute(_ address: IPAddress) -> UInt32? {
        var best: UInt32?
        tables.shared.value.providerLengths.searchLongestFirst { length in
            let prefix = address.masked(length)
            _ = tables.providerRoutes.find(ProviderRoute.hash(tables.key, prefix, length), at: version) {
                let route = tables.providerRoutes[$0]
                if route.prefix == prefix, route.length == length,
                    best.map({ route.isBetter(than: tables.providerRoutes[$0]) }) ?? true
                {
                    best = $0
                }
                return false
            }
            return best != nil
        }
        if let trace { note(trace, providerRoute: best, to: address) }
        return best
    }

    /// The provider address that packets through `port` to `nextHop` come from.
    func sourceAddress(port: UInt32, nextHop: IPAddress) -> UInt32? {
        var best: UInt32?
        var bestContains = false
        _ = tables.addresses.findSecondary(ProviderAddress.hash(tables.key, port: port), at: version) {
            let candidate = tables.addresses[$0]
            guard candidate.port == port else { return false }
            let contains = candidate.address.masked(candidate.length) == nextHop.masked(candidate.length)
            let isBetter =
                best.map {
                    contains != bestContains ? contains : candidate.address < tables.addresses[$0].address
                } ?? true
            if isBetter { (best, bestContains) = ($0, contains) }
            return false
        }
        if let trace { note(trace, source: best, port: port) }
        return best
    }

    func neighbor(_ address: IPAddress) -> UInt32? {
        let number = tables.neighbors.find(Neighbor.hash(tables.key, address), at: version) {
            tables.neighbors[$0].address == address
        }
        if let trace { note(trace, neighbor: number, address) }
        return number
    }
}
