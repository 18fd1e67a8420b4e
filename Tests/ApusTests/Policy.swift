// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

// The C structs of the policy with what a test wants to say about them, everything else at its default.

func address(_ v4: UInt32) -> apus_address { IPAddress(v4: v4).c }

func prefix(_ v4: UInt32, _ length: UInt8) -> apus_prefix {
    apus_prefix(address: address(v4), length: length, reserved: (0, 0, 0))
}

func mac(_ value: UInt64) -> apus_mac { MACAddress(value).c }

func record(_ vsid: UInt32, _ ca: UInt32, _ macValue: UInt64, _ pa: UInt32) -> apus_lookup_record {
    var record = apus_lookup_record()
    record.size = MemoryLayout<apus_lookup_record>.size
    record.virtual_subnet_id = vsid
    record.customer_address = address(ca)
    record.mac = mac(macValue)
    record.provider_address = address(pa)
    return record
}

func customerRoute(
    _ domain: UInt64, _ vsid: UInt32, _ destination: apus_prefix, via nextHop: UInt32 = 0, metric: UInt32 = 0
) -> apus_customer_route {
    var route = apus_customer_route()
    route.size = MemoryLayout<apus_customer_route>.size
    route.routing_domain_id = GUID(high: 0x1000, low: domain).c
    route.virtual_subnet_id = vsid
    route.destination_prefix = destination
    route.next_hop = address(nextHop)
    route.metric = metric
    return route
}

func providerAddress(
    _ pa: UInt32, _ port: UInt32, _ macValue: UInt64, length: UInt8 = 16, vlan: UInt16 = 0
) -> apus_provider_address {
    var address = apus_provider_address()
    address.size = MemoryLayout<apus_provider_address>.size
    address.provider_address = Apus.IPAddress(v4: pa).c
    address.port = port
    address.prefix_length = length
    address.vlan = vlan
    address.mac = mac(macValue)
    return address
}

func providerRoute(
    _ destination: apus_prefix, _ port: UInt32, via nextHop: UInt32 = 0, metric: UInt32 = 0
) -> apus_provider_route {
    var route = apus_provider_route()
    route.size = MemoryLayout<apus_provider_route>.size
    route.destination_prefix = destination
    route.next_hop = address(nextHop)
    route.port = port
    route.metric = metric
    return route
}

func neighbor(_ pa: UInt32, _ macValue: UInt64) -> apus_provider_neighbor {
    var neighbor = apus_provider_neighbor()
    neighbor.size = MemoryLayout<apus_provider_neighbor>.size
    neighbor.address = address(pa)
    neighbor.mac = mac(macValue)
    return neighbor
}

func vmPort(_ vsid: UInt32, _ macValue: UInt64) -> apus_port_params {
    var port = apus_port_params()
    port.size = MemoryLayout<apus_port_params>.size
    port.kind = APUS_PORT_VM.rawValue
    port.virtual_subnet_id = vsid
    port.mac = mac(macValue)
    return port
}

func providerPort(mtu: UInt16 = 1600) -> apus_port_params {
    var port = apus_port_params()
    port.size = MemoryLayout<apus_port_params>.size
    port.kind = APUS_PORT_PROVIDER.rawValue
    port.mtu = mtu
    return port
}

/// A dataplane on a test allocator, with a fixed hash key.
final class TestDataplane: @unchecked Sendable {
    let allocator = TestAllocator()
    let handle: OpaquePointer?

    init(flags: UInt32 = 0, expectedRecords: UInt32 = 0, retryMilliseconds: UInt32 = 0) {
        var opts = apus_dataplane_opts()
        opts.size = MemoryLayout<apus_dataplane_opts>.size
        opts.allocator = allocator.c
        opts.flags = flags
        opts.expected_records = expectedRecords
        opts.neighbor_retry_ms = retryMilliseconds
        opts.hash_key.0 = 7
        opts.hash_key.15 = 9
        var made: OpaquePointer?
        #expect(apus_dataplane_create(&opts, &made) == 0)
        handle = made
    }

    /// Destroy it; nothing may be left.
    func destroy() {
        #expect(apus_dataplane_destroy(handle) == 0)
        #expect(allocator.liveBlocks == 0)
        #expect(allocator.mistakes == 0)
    }

    func add(_ port: apus_port_params) -> UInt32 {
        var id: UInt32 = 0
        expectSuccess(withUnsafePointer(to: port) { apus_port_add(handle, $0, &id) })
        return id
    }

    func add(_ record: apus_lookup_record) { expectSuccess(change(record, apus_lookup_record_add)) }
    func set(_ record: apus_lookup_record) { expectSuccess(change(record, apus_lookup_record_set)) }
    func remove(_ record: apus_lookup_record) { expectSuccess(change(record, apus_lookup_record_remove)) }
    func add(_ route: apus_customer_route) { expectSuccess(change(route, apus_customer_route_add)) }
    func remove(_ route: apus_customer_route) { expectSuccess(change(route, apus_customer_route_remove)) }
    func add(_ address: apus_provider_address) { expectSuccess(change(address, apus_provider_address_add)) }
    func add(_ route: apus_provider_route) { expectSuccess(change(route, apus_provider_route_add)) }
    func add(_ neighbor: apus_provider_neighbor) { expectSuccess(change(neighbor, apus_provider_neighbor_add)) }
    func begin() { expectSuccess(apus_transaction_begin(handle)) }
    func commit() { expectSuccess(apus_transaction_commit(handle)) }
    func abort() { expectSuccess(apus_transaction_abort(handle)) }

    /// Make one change and return its code.
    func change<Value>(
        _ value: Value, _ function: (OpaquePointer?, UnsafePointer<Value>?) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: value) { function(handle, $0) }
    }

    private func expectSuccess(_ code: Int32) {
        if code != 0 {
            Issue.record(
                "\(String(cString: apus_error_name(code))): \(String(cString: apus_dataplane_error_text(handle)))")
        }
    }

    var stats: apus_stats {
        var stats = apus_stats()
        stats.size = MemoryLayout<apus_stats>.size
        #expect(apus_stats_get(handle, &stats) == 0)
        return stats
    }

    /// stats.h: every frame is counted exactly once where it ends.
    func expectAccounted() {
        let stats = stats
        #expect(stats.isBalanced)
        #expect(stats.dropped == stats.sumOfDrops)
    }

    /// Run `body` on the writer's side of the policy.
    func withStore<Result>(_ body: (inout Store) -> Result) -> Result? {
        guard let dataplane = Apus.dataplane(of: handle) else { return nil }
        return body(&dataplane.value.store)
    }
}

extension apus_stats {
    var sumOfDrops: UInt64 {
        withUnsafeBytes(of: drops) { $0.bindMemory(to: UInt64.self).reduce(0, &+) }
    }

    func drops(_ reason: apus_drop_reason) -> UInt64 {
        withUnsafeBytes(of: drops) { $0.bindMemory(to: UInt64.self)[Int(reason.rawValue)] }
    }

    var isBalanced: Bool { received + generated == transmitted + consumed + dropped + held }
}
