// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

extension PolicyFile {
    /// Set the ports and add everything else to a dataplane in which a transaction is open. `check` gets what each call
    /// returned and the line of its object, and throws if it failed.
    func addObjects(
        to dataplane: OpaquePointer, ports ids: [String: UInt32], check: (Int32, Int) throws -> Void
    ) throws {
        for port in ports {
            guard let id = ids[port.name] else { continue }
            var params = apus_port_params()
            params.size = MemoryLayout<apus_port_params>.size
            params.kind = port.kind.rawValue
            params.flags = port.isTrusted ? APUS_PORT_TRUSTED : 0
            params.virtual_subnet_id = port.virtualSubnetID
            params.mac = port.mac
            params.mtu = port.mtu
            params.routing_domain_id = port.routingDomainID
            fill(&params.name, port.name)
            try check(unsafe apus_port_set(dataplane, id, &params), port.lines.first)
        }
        try unsafe addProviderSide(dataplane, ids, check)
        for route in customerRoutes {
            var object = apus_customer_route()
            object.size = MemoryLayout<apus_customer_route>.size
            object.routing_domain_id = route.routingDomainID
            object.virtual_subnet_id = route.virtualSubnetID
            object.destination_prefix = route.destinationPrefix
            object.next_hop = route.nextHop
            object.metric = route.metric
            try check(unsafe apus_customer_route_add(dataplane, &object), route.lines.first)
        }
        for record in lookupRecords {
            var object = apus_lookup_record()
            object.size = MemoryLayout<apus_lookup_record>.size
            object.customer_address = record.customerAddress
            object.virtual_subnet_id = record.virtualSubnetID
            object.mac = record.mac
            object.rule = UInt8(truncatingIfNeeded: record.rule.rawValue)
            object.type = UInt8(truncatingIfNeeded: record.type.rawValue)
            object.provider_address = record.providerAddress
            fill(&object.customer_id, record.customerID)
            fill(&object.context, record.context)
            fill(&object.vm_name, record.vmName)
            try check(unsafe apus_lookup_record_add(dataplane, &object), record.lines.first)
        }
    }

    private func addProviderSide(
        _ dataplane: OpaquePointer, _ ids: [String: UInt32], _ check: (Int32, Int) throws -> Void
    ) throws {
        for address in providerAddresses {
            var object = apus_provider_address()
            object.size = MemoryLayout<apus_provider_address>.size
            object.provider_address = address.providerAddress
            object.port = ids[address.port] ?? 0
            object.prefix_length = address.prefixLength
            object.vlan = address.vlan
            object.mac = address.mac
            try check(unsafe apus_provider_address_add(dataplane, &object), address.lines.first)
        }
        for route in providerRoutes {
            var object = apus_provider_route()
            object.size = MemoryLayout<apus_provider_route>.size
            object.destination_prefix = route.destinationPrefix
            object.next_hop = route.nextHop
            object.port = ids[route.port] ?? 0
            object.metric = route.metric
            try check(unsafe apus_provider_route_add(dataplane, &object), route.lines.first)
        }
        for neighbor in providerNeighbors {
            var object = apus_provider_neighbor()
            object.size = MemoryLayout<apus_provider_neighbor>.size
            object.address = neighbor.address
            object.mac = neighbor.mac
            try check(unsafe apus_provider_neighbor_add(dataplane, &object), neighbor.lines.first)
        }
    }

    /// Copy a text into a field of fixed size; the file has been checked, so it fits.
    private func fill<Characters>(_ field: inout Characters, _ text: String) {
        unsafe withUnsafeMutableBytes(of: &field) { unsafe $0.copyBytes(from: text.utf8.prefix($0.count - 1)) }
    }
}
