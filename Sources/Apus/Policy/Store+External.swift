// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// What external ports have beside what every port has: a domain that they bind, a device that carries them, next hops outside.

extension Store {
    /// The id of the external port that has this VLAN of a device.
    @inline(never)
    func externalPort(on device: UInt32, _ vlan: UInt16) -> UInt32? {
        let number = tables.ports.findInChain(
            Port.hash(tables.key, device: device, vlan), at: next, { tables.ports[$0].isAt(device, vlan) }, { _ in true })
        return number.map { tables.ports[$0].id }
    }

    /// May a new port, or one in the place of `old`, be as it is?
    func checkExternal(_ port: Port, _ domainID: GUID, over old: Port?) -> Failure? {
        guard port.kind == Port.external else { return nil }
        if let old, tables.domains[old.domain].value.id != domainID {
            return Failure(APUS_ERR_IMMUTABLE, Self.portName, "routing_domain_id", .guid(domainID), "differs from the port's")
        }
        if let number = subnet(port.vsid), tables.subnets[number].domain != none {
            let bound = tables.domains[tables.subnets[number].domain].value.id
            if bound != domainID {
                return Failure(
                    APUS_ERR_CONFLICT, Self.portName, "virtual_subnet_id", .number(port.vsid.u64), "is bound to routing domain",
                    .guid(bound))
            }
        }
        return checkDevice(port, except: old?.id)
    }

    private func checkDevice(_ port: Port, except id: UInt32?) -> Failure? {
        // `device` is the parent here, or none.
        guard port.device != none else {
            guard let id, let other = externalPort(on: id, port.vlan), other != id else { return nil }
            return vlanTaken(port, by: other)
        }
        if let id, let child = child(of: id) {
            return Failure(APUS_ERR_IN_USE, Self.portName, "parent_port", .number(port.device.u64), "for a port that is the parent of", .number(child.u64))
        }
        guard let parent = self.port(port.device) else {
            return Failure(APUS_ERR_STALE, Self.portName, "parent_port", .number(port.device.u64), "is no port")
        }
        let isExternal = tables.ports[parent].kind == Port.external
        if tables.ports[parent].kind == Port.vm || port.device == id || (isExternal && tables.ports[parent].device != port.device) {
            return Failure(
                APUS_ERR_PORT_KIND, Self.portName, "parent_port", .number(port.device.u64),
                "is neither a provider port nor an external port without a parent")
        }
        if let other = externalPort(on: port.device, port.vlan), other != id { return vlanTaken(port, by: other) }
        let address = tables.addresses.findSecondary(ProviderAddress.hash(tables.key, port: port.device), at: next) {
            tables.addresses[$0].port == port.device && tables.addresses[$0].vlan == port.vlan
        }
        guard let address else { return nil }
        return Failure(
            APUS_ERR_CONFLICT, Self.portName, "vlan", .number(port.vlan.u64), "is that of provider address",
            .address(tables.addresses[address].address))
    }

    /// The id of a port that this one carries. Rare enough to look through all of them.
    func child(of id: UInt32) -> UInt32? {
        var number: UInt32 = 0
        while number < tables.ports.numbers {
            let port = tables.ports[number]
            if tables.ports.exists(number, at: next), port.device == id, port.id != id { return port.id }
            number &+= 1
        }
        return nil
    }

    private func vlanTaken(_ port: Port, by other: UInt32) -> Failure {
        Failure(APUS_ERR_DUPLICATE, Self.portName, "vlan", .number(port.vlan.u64), "belongs to external port", .number(other.u64))
    }

    /// The parts of an external port that have numbers. False: no memory.
    mutating func complete(_ port: inout Port, _ domainID: GUID) -> Bool {
        guard port.kind == Port.external else { return true }
        if port.device == none { port.device = port.id }
        guard let domain = tables.domains.findOrAdd(memory, domainID) else { return false }
        port.domain = domain
        return true
    }

    mutating func joinOutside(_ port: Port) -> Bool {
        bind(port.vsid, to: port.domain) && retain(port.ipv4, port.id) && retain(port.ipv6, port.id)
    }

    mutating func leaveOutside(_ port: Port) -> Bool {
        release(port.ipv4, port.id)
        release(port.ipv6, port.id)
        return unbind(port.vsid)
    }

    private mutating func retain(_ side: ExternalSide, _ port: UInt32) -> Bool {
        side.nextHop.isUnspecified || retainNeighbor(side.nextHop, port)
    }

    private mutating func release(_ side: ExternalSide, _ port: UInt32) {
        if !side.nextHop.isUnspecified { releaseNeighbor(side.nextHop, port) }
    }

    // MARK: - Next hops that nobody named

    /// A worker has a packet for this address, which is on the network behind an external port.
    mutating func meetNeighbor(_ address: IPAddress, behind id: UInt32) -> Failure? {
        change(Self.neighborName) { store in
            guard let number = store.port(id), store.tables.ports[number].kind == Port.external,
                store.neighbor(address, id) == nil
            else { return nil }
            let port = store.tables.ports[number]
            let side = port.side(isIPv6: !address.isV4)
            // The policy may have changed since.
            guard side.isPresent, side.nextHop(to: address) == address else { return nil }
            if store.makeRoom(behind: port) { return nil }
            let new = Neighbor(references: 0, cell: none, address: address, port: id, mac: MACAddress(0), isStatic: 0)
            return store.insertNeighbor(new) ? nil : .memory(Self.neighborName)
        }
    }

    /// Of those whose MAC is not known - the failed ones before others, which perhaps nobody waits for any more - the one that was asked for
    /// longest ago goes. True: there is none.
    private mutating func makeRoom(behind port: Port) -> Bool {
        var count: UInt32 = 0
        var oldest = none
        var time = UInt64.max
        var hasFailed = false
        _ = findNeighbor(behind: port.id) { number in
            count &+= 1
            let cell = tables.cells[tables.neighbors[number].cell]
            if cell.value.mac != nil { return false }
            let requested = cell.value.requested.load(ordering: .relaxed)
            let isFailed = cell.value.failed.load(ordering: .relaxed) != 0
            // Of equals the one that was entered first, which is the last one here.
            if isFailed == hasFailed ? requested <= time : isFailed { (oldest, time, hasFailed) = (number, requested, isFailed) }
            return false
        }
        if count < APUS_EXTERNAL_NEIGHBORS_MAX { return false }
        if oldest == none { return true }
        kill(oldest, .neighbors, tables.neighbors)
        invalidate(scope: Scopes.of(domain: port.domain))
        return false
    }

    /// One of those that nobody named.
    @inline(never)
    private func findNeighbor(behind port: UInt32, _ matches: (UInt32) -> Bool) -> UInt32? {
        tables.neighbors.findInChain(
            Neighbor.hash(tables.key, behind: port), at: next, { tables.neighbors[$0].port == port },
            { tables.neighbors[$0].references == 0 && matches($0) })
    }

    /// An external port is elsewhere now, or goes.
    mutating func forgetNeighbors(behind port: Port) {
        guard port.kind == Port.external else { return }
        while let number = findNeighbor(behind: port.id, { _ in true }) { kill(number, .neighbors, tables.neighbors) }
    }
}
