// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

extension Host {
    /// Read the policy file again and replace the whole policy in one transaction: a burst sees the old one or the new
    /// one, and if anything is refused nothing changes.
    ///
    /// Ports with devices keep their numbers, counters and devices, so the file must have the same ones on the same devices; MAC
    /// address, virtual subnet and MTU of a port may change. External ports that another one carries come, change and go; one whose
    /// place, VM network or MAC address changes is another one. `settings` are read at the start only. Customer addresses that
    /// were learned stay known where the file still has the machine's L2Only record, and says nothing else of the address.
    func reload(policy path: String) throws {
        let file = try PolicyFile.load(path: path)
        let devices = Dictionary(uniqueKeysWithValues: ports.map { ($0.name, $0.deviceName) })
        let attached = file.ports.filter { $0.parent == nil }
        guard attached.count == ports.count, attached.allSatisfy({ devices[$0.name] == $0.device }) else {
            throw HostError("\(path): ports or their devices have changed; that needs a restart")
        }
        var ids = Dictionary(uniqueKeysWithValues: ports.map { ($0.name, $0.id) })
        try check(unsafe apus_transaction_begin(dataplane))
        do {
            try removeAll(except: LearnedRecords(file))
            for port in carriedPorts {
                if try isStill(port, in: file) {
                    ids[port.name] = port.id
                } else {
                    try check(unsafe apus_port_remove(dataplane, port.id))
                }
            }
            try unsafe file.addObjects(to: dataplane, ports: &ids) { try check($0, "\(path):\($1)") }
        } catch {
            _ = unsafe apus_transaction_abort(dataplane)
            throw error
        }
        let result = unsafe apus_transaction_commit(dataplane)
        // Also after this error the policy is in place.
        if result == 0 || result == APUS_ERR_STALLED.rawValue { carriedPorts = file.ports.compactMap { CarriedPort($0, ids) } }
        try check(result)
    }

    /// Does the file have a port in all that no two may have, and that cannot change?
    private func isStill(_ port: CarriedPort, in file: PolicyFile) throws -> Bool {
        guard let new = file.ports.first(where: { $0.name == port.name }), new.parent == port.parent, new.vlan == port.vlan
        else { return false }
        var old = apus_port_params()
        old.size = MemoryLayout<apus_port_params>.size
        try check(unsafe apus_port_get(dataplane, port.id, &old))
        let object = new.object(parent: old.parent_port)
        return object.virtual_subnet_id == old.virtual_subnet_id && object.mac.text == old.mac.text
            && object.routing_domain_id.text == old.routing_domain_id.text
    }

    private func check(_ result: Int32, _ place: String = "reload") throws {
        if result < 0 {
            throw HostError("\(place): \(unsafe String(cString: apus_dataplane_error_text(dataplane)))", result)
        }
    }

    /// Remove all objects but the ports, and what was learned and is still true.
    private func removeAll(except learned: LearnedRecords) throws {
        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        unsafe try removeEach(
            { unsafe apus_lookup_record_iterate(dataplane, $0, &record) },
            { learned.keep(record) ? 0 : unsafe apus_lookup_record_remove(dataplane, &record) })
        var subnet = apus_virtual_subnet()
        subnet.size = MemoryLayout<apus_virtual_subnet>.size
        unsafe try removeEach(
            { unsafe apus_virtual_subnet_iterate(dataplane, $0, &subnet) },
            { unsafe apus_virtual_subnet_remove(dataplane, &subnet) })
        var peer = apus_provider_peer()
        peer.size = MemoryLayout<apus_provider_peer>.size
        unsafe try removeEach(
            { unsafe apus_provider_peer_iterate(dataplane, $0, &peer) },
            { unsafe apus_provider_peer_remove(dataplane, &peer) })
        var customerRoute = apus_customer_route()
        customerRoute.size = MemoryLayout<apus_customer_route>.size
        unsafe try removeEach(
            { unsafe apus_customer_route_iterate(dataplane, $0, &customerRoute) },
            { unsafe apus_customer_route_remove(dataplane, &customerRoute) })
        var neighbor = apus_provider_neighbor()
        neighbor.size = MemoryLayout<apus_provider_neighbor>.size
        unsafe try removeEach(
            { unsafe apus_provider_neighbor_iterate(dataplane, $0, &neighbor) },
            {
                // The others come and go by themselves.
                guard UInt32(neighbor.state) == APUS_NEIGHBOR_STATIC.rawValue else { return 0 }
                return unsafe apus_provider_neighbor_remove(dataplane, &neighbor)
            })
        var route = apus_provider_route()
        route.size = MemoryLayout<apus_provider_route>.size
        unsafe try removeEach(
            { unsafe apus_provider_route_iterate(dataplane, $0, &route) },
            { unsafe apus_provider_route_remove(dataplane, &route) })
        var address = apus_provider_address()
        address.size = MemoryLayout<apus_provider_address>.size
        unsafe try removeEach(
            { unsafe apus_provider_address_iterate(dataplane, $0, &address) },
            { unsafe apus_provider_address_remove(dataplane, &address) })
    }

    private func removeEach(_ iterate: (UnsafeMutablePointer<UInt64>) -> Int32, _ remove: () -> Int32) throws {
        var cursor: UInt64 = 0
        while true {
            let found = unsafe iterate(&cursor)
            try check(found)
            if found == 0 { return }
            try check(remove())
        }
    }
}

/// Which records that were learned stay when a file takes the place of another.
private struct LearnedRecords {
    /// A machine as its L2Only record describes it, or a customer address that the file has a record of.
    private struct Key: Hashable {
        let subnet: UInt32
        let mac: String
        let address: String
    }

    private var machines: Set<Key> = []
    private var addresses: Set<Key> = []

    init(_ file: PolicyFile) {
        for record in file.lookupRecords where record.type == APUS_RECORD_L2_ONLY { machines.insert(Self.machine(record.object)) }
        // Without such machines nothing can stay, and nothing need be looked up.
        if machines.isEmpty { return }
        for record in file.lookupRecords { addresses.insert(Self.address(record.object)) }
    }

    func keep(_ record: apus_lookup_record) -> Bool {
        record.flags & APUS_RECORD_UNSYNCHRONIZED != 0 && machines.contains(Self.machine(record))
            && !addresses.contains(Self.address(record))
    }

    private static func machine(_ record: apus_lookup_record) -> Key {
        Key(subnet: record.virtual_subnet_id, mac: record.mac.text, address: record.provider_address.text)
    }

    private static func address(_ record: apus_lookup_record) -> Key {
        Key(subnet: record.virtual_subnet_id, mac: "", address: record.customer_address.text)
    }
}
