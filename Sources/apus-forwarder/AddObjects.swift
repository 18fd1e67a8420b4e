// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

extension PolicyFile {
    /// Set the ports and add everything else to a dataplane in which a transaction is open. Ports that have no number yet,
    /// which only ports with a parent may be, are added, and get one. `check` gets what each call returned and the line of its
    /// object, and throws if it failed.
    func addObjects(
        to dataplane: OpaquePointer, ports ids: inout [String: UInt32], check: (Int32, Int) throws -> Void
    ) throws {
        // Parents first: what they were may forbid what a child is to be.
        for port in ports.filter({ $0.parent == nil }) + ports.filter({ $0.parent != nil }) {
            var object = port.object(parent: port.parent.flatMap { ids[$0] } ?? 0)
            if let id = ids[port.name] {
                try check(unsafe apus_port_set(dataplane, id, &object), port.lines.first)
            } else {
                var id: UInt32 = 0
                try check(unsafe apus_port_add(dataplane, &object, &id), port.lines.first)
                ids[port.name] = id
            }
        }
        for address in providerAddresses {
            var object = address.object(port: ids[address.port] ?? 0)
            try check(unsafe apus_provider_address_add(dataplane, &object), address.lines.first)
        }
        for route in providerRoutes {
            var object = route.object(port: ids[route.port] ?? 0)
            try check(unsafe apus_provider_route_add(dataplane, &object), route.lines.first)
        }
        for neighbor in providerNeighbors {
            var object = neighbor.object
            try check(unsafe apus_provider_neighbor_add(dataplane, &object), neighbor.lines.first)
        }
        for peer in providerPeers {
            var object = peer.object
            try check(unsafe apus_provider_peer_add(dataplane, &object), peer.lines.first)
        }
        for subnet in virtualSubnets {
            var object = subnet.object
            try check(unsafe apus_virtual_subnet_add(dataplane, &object), subnet.lines.first)
        }
        for route in customerRoutes {
            var object = route.object
            try check(unsafe apus_customer_route_add(dataplane, &object), route.lines.first)
        }
        for record in lookupRecords {
            var object = record.object
            try check(unsafe apus_lookup_record_add(dataplane, &object), record.lines.first)
        }
    }
}
