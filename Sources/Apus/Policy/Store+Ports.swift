// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

extension Store {
    static var portName: Words { "port" }

    @inline(never)
    func port(_ id: UInt32) -> UInt32? {
        tables.ports.find(Port.hash(tables.key, id: id), at: next) { tables.ports[$0].id == id }
    }

    @inline(never)
    private func machine(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        tables.ports.findSecondary(Port.hash(tables.key, vsid, mac), at: next) {
            tables.ports[$0].vsid == vsid && tables.ports[$0].mac == mac && tables.ports[$0].hasMachine
        }
    }

    /// `domainID`: the VM network of an external port.
    mutating func addPort(_ port: Port, _ domainID: GUID) -> (failure: Failure?, id: UInt32) {
        var id: UInt32 = 0
        let failure = change(Self.portName) { store in
            if let failure = store.checkUnique(port, except: nil) ?? store.checkExternal(port, domainID, over: nil) {
                return failure
            }
            guard let taken = store.tables.portSlots.take() else {
                return Failure(
                    APUS_ERR_LIMIT, Self.portName, "id", .number(APUS_PORTS_MAX.u64), "ports exist, which is the most")
            }
            var copy = port
            copy.id = taken
            guard store.complete(&copy, domainID) else {
                store.tables.portSlots.giveBack(taken)
                return .memory(Self.portName)
            }
            guard let number = store.insert(copy, .ports, store.tables.ports) else {
                store.tables.portSlots.giveBack(taken)
                if copy.domain != none { store.tables.domains.releaseIfUnused(copy.domain) }
                return .memory(Self.portName)
            }
            store.count(number, 1)
            guard store.join(copy) else { return .memory(Self.portName) }
            store.tables.portSlots.open(taken, kind: copy.kind)
            store.invalidateEverything()
            id = taken
            return nil
        }
        return (failure, id)
    }

    mutating func setPort(_ id: UInt32, _ port: Port, _ domainID: GUID) -> Failure? {
        change(Self.portName, steps: APUS_EXTERNAL_NEIGHBORS_MAX.int) { store in
            guard let number = store.port(id) else { return Self.portMissing(id) }
            let old = store.tables.ports[number]
            if old.kind != port.kind {
                return Failure(
                    APUS_ERR_IMMUTABLE, Self.portName, "kind", .number(port.kind.u64), "differs from the port's")
            }
            if let failure = store.checkUnique(port, except: id) ?? store.checkExternal(port, domainID, over: old) {
                return failure
            }
            var copy = port
            copy.id = id
            guard store.complete(&copy, domainID) else { return .memory(Self.portName) }
            guard let new = store.replace(number, with: copy, .ports, store.tables.ports) else {
                if copy.domain != none { store.tables.domains.releaseIfUnused(copy.domain) }
                return .memory(Self.portName)
            }
            store.count(new, 1)
            // What is known of next hops outside is not true of another network: they go, and come back unknown.
            let isElsewhere = old.kind == Port.external && !old.isAt(copy.device, copy.vlan)
            if isElsewhere, !store.leave(old) { return .memory(Self.portName) }
            if isElsewhere { store.forgetNeighbors(behind: old) }
            guard store.join(copy), isElsewhere || store.leave(old) else { return .memory(Self.portName) }
            store.invalidateEverything()
            return nil
        }
    }

    mutating func removePort(_ id: UInt32) -> Failure? {
        change(Self.portName, steps: APUS_EXTERNAL_NEIGHBORS_MAX.int) { store in
            guard let number = store.port(id) else { return Self.portMissing(id) }
            if let failure = store.checkUnused(id) { return failure }
            let old = store.tables.ports[number]
            store.kill(number, .ports, store.tables.ports)
            guard store.leave(old) else { return .memory(Self.portName) }
            store.forgetNeighbors(behind: old)
            store.invalidateEverything()
            return nil
        }
    }

    static func portMissing(_ id: UInt32) -> Failure {
        Failure(APUS_ERR_STALE, portName, "id", .number(id.u64), "is no port")
    }

    /// The id of the last version of a port is closed when nothing can refer to it any more.
    mutating func recyclePort(_ number: UInt32) {
        let id = tables.ports[number].id
        let domain = tables.ports[number].domain
        count(number, -1)
        if domain != none { tables.domains.releaseIfUnused(domain) }
        tables.ports.recycle(number)
        // `next` has not been published: a port that still exists, or will, is found.
        let isPublished =
            tables.ports.find(Port.hash(tables.key, id: id), at: next &- 1) { tables.ports[$0].id == id } != nil
        if port(id) == nil, !isPublished {
            tables.portSlots.close(id)
            tables.portSlots.giveBack(id)
        }
    }

    // A port counts, alone and in its domain, from its first version to the recycling of its last.

    private func count(_ number: UInt32, _ by: Int32) {
        let port = tables.ports[number]
        let difference = UInt32(bitPattern: by)
        func add(to counter: borrowing Atomic<UInt32>) {
            counter.store(counter.load(ordering: .relaxed) &+ difference, ordering: .relaxed)
        }
        if port.newFlowRate != 0 { add(to: tables.shared.value.flowLimits) }
        guard port.domain != none else { return }
        add(to: tables.shared.value.externalPorts)
        tables.domains[port.domain].value.users &+= difference
    }

    private mutating func join(_ port: Port) -> Bool {
        guard port.hasMachine else { return true }
        guard retainSubnet(port.vsid) != nil else { return false }
        if port.kind == Port.external { return joinOutside(port) }
        return insert(Member(vsid: port.vsid, port: port.id), .members, tables.members) != nil
    }

    /// False: no memory.
    private mutating func leave(_ port: Port) -> Bool {
        guard port.hasMachine else { return true }
        if port.kind == Port.external, !leaveOutside(port) { return false }
        let number = tables.members.find(Member.hash(tables.key, port.vsid), at: next) {
            tables.members[$0].vsid == port.vsid && tables.members[$0].port == port.id
        }
        if let number { kill(number, .members, tables.members) }
        releaseSubnet(port.vsid)
        return true
    }

    private func checkUnique(_ port: Port, except id: UInt32?) -> Failure? {
        guard port.hasMachine, let other = machine(port.vsid, port.mac), tables.ports[other].id != id else {
            return nil
        }
        return Failure(
            APUS_ERR_DUPLICATE, Self.portName, "mac", .mac(port.mac), "belongs to another port of this virtual subnet")
    }

    private func checkUnused(_ id: UInt32) -> Failure? {
        let hash = ProviderAddress.hash(tables.key, port: id)
        if let user = tables.addresses.findSecondary(hash, at: next, { tables.addresses[$0].port == id }) {
            return Failure(
                APUS_ERR_IN_USE, Self.portName, "id", .address(tables.addresses[user].address),
                "is a provider address on this port")
        }
        if let child = child(of: id) {
            return Failure(
                APUS_ERR_IN_USE, Self.portName, "id", .number(id.u64), "is the parent of port", .number(child.u64))
        }
        // Rare enough to look through all of them.
        var number: UInt32 = 0
        while number < tables.providerRoutes.numbers {
            if tables.providerRoutes.exists(number, at: next), tables.providerRoutes[number].port == id {
                let route = tables.providerRoutes[number]
                return Failure(
                    APUS_ERR_IN_USE, Self.portName, "id", .prefix(route.prefix, route.length),
                    "has a provider route through this port")
            }
            number &+= 1
        }
        return nil
    }

    func checkProviderPort(_ id: UInt32, _ object: Words) -> Failure? {
        guard let number = port(id) else {
            return Failure(APUS_ERR_STALE, object, "port", .number(id.u64), "is no port")
        }
        if tables.ports[number].kind == Port.provider { return nil }
        return Failure(APUS_ERR_PORT_KIND, object, "port", .number(id.u64), "is not a provider port")
    }
}
