// SPDX-License-Identifier: Apache-2.0

import CApus

@testable import Apus

/// Everything that the writer sees of a policy, object by object, including what users do not see: virtual subnets,
/// remote addresses, dynamic neighbours and all reference counts. Sorted, so that two dumps are equal when the
/// policies are.
///
/// With `ports`, a dump to compare with that of another dataplane: a port is named by its place in `ports`, and the
/// numbers of the table entries are left out.
func dump(_ dataplane: TestDataplane, ports: [UInt32]? = nil) -> [String] {
    dataplane.withStore { store in
        let tables = store.tables
        let version = store.next
        func each<Value>(_ table: VersionedTable<Value>, _ describe: (Value) -> String) -> [String] {
            (0..<table.numbers).filter { table.exists($0, at: version) }.map { number in
                describe(table[number]) + (ports == nil ? " #\(number)" : "")
            }
        }
        func text(_ address: IPAddress) -> String {
            String(address.high, radix: 16) + "." + String(address.low, radix: 16)
        }
        func text(_ guid: GUID) -> String { "\(guid.high)-\(guid.low)" }
        func domain(_ number: UInt32) -> String { number == none ? "-" : text(tables.domains[number].value.id) }
        func name(_ port: UInt32) -> String { "\(ports?.firstIndex(of: port) ?? Int(port))" }
        var lines: [String] = []
        lines += each(tables.ports) { port in
            let text = (0..<32).map { String(port.name[$0]) }.joined(separator: ",")
            return "port \(name(port.id)) \(port.vsid) \(port.mac.value) \(port.flags) \(port.mtu) \(port.kind) \(text)"
        }
        lines += each(tables.members) { member in "member \(member.vsid) \(name(member.port))" }
        lines += each(tables.records) { record in
            "record \(record.vsid) \(text(record.ca)) \(record.mac.value) \(text(record.pa)) "
                + "\(record.rule) \(record.type) "
                + (record.texts == 0 ? "-" : "\(tables.texts[record.texts - 1].value.vmName[0])")
        }
        lines += each(tables.routes) { route in
            "route \(domain(route.domain)) \(route.vsid) \(text(route.prefix))/\(route.length) \(text(route.nextHop)) "
                + "\(route.metric)"
        }
        lines += each(tables.gateways) { gateway in
            "gateway \(domain(gateway.domain)) \(gateway.vsid) \(text(gateway.address))"
        }
        lines += each(tables.subnets) { subnet in
            "subnet \(subnet.vsid) \(domain(subnet.domain)) \(subnet.references) \(subnet.bindings)"
        }
        lines += each(tables.remotes) { remote in "remote \(remote.vsid) \(text(remote.pa)) \(remote.references)" }
        lines += each(tables.addresses) { address in
            "address \(text(address.address)) \(address.mac.value) \(name(address.port)) "
                + "\(address.vlan) \(address.length)"
        }
        lines += each(tables.providerRoutes) { route in
            "provider-route \(text(route.prefix))/\(route.length) \(text(route.nextHop)) "
                + "\(name(route.port)) \(route.metric) \(route.isConnected)"
        }
        lines += each(tables.neighbors) { neighbor in
            "neighbor \(text(neighbor.address)) \(neighbor.mac.value) \(neighbor.references) \(neighbor.isStatic)"
        }
        return lines.sorted()
    } ?? []
}

/// One random change of a policy with few keys, so that adds, duplicates, changes and removals of the same objects are
/// all frequent. The same generator makes the same changes.
struct RandomChange {
    var random: SeededGenerator
    /// Ports that were added, present or not.
    var ports: [UInt32] = []

    init(_ seed: UInt64) { random = SeededGenerator(seed) }

    private mutating func vsid() -> UInt32 { 5001 + UInt32(random.below(4)) }
    private mutating func customer() -> UInt32 {
        0x0A00_0000 + UInt32(random.below(4)) << 8 + UInt32(1 + random.below(5))
    }
    private mutating func pa() -> UInt32 { 0xC0A8_0000 + UInt32(1 + random.below(6)) }
    private mutating func anyPort() -> UInt32 { ports.isEmpty ? 0 : ports[random.below(ports.count)] }

    private mutating func anyRecord() -> apus_lookup_record {
        var record = record(vsid(), customer(), 0x0060_0000_0001 + UInt64(random.below(2)), pa())
        if random.below(3) == 0 { record.vm_name.0 = CChar(65 + random.below(26)) }
        return record
    }

    private mutating func anyRoute() -> apus_customer_route {
        let lengths: [UInt8] = [0, 8, 16, 24, 32]
        let length = lengths[random.below(5)]
        let target = IPAddress(v4: customer()).masked(length + 96).v4
        return customerRoute(
            UInt64(1 + random.below(3)), vsid(), prefix(target, length), via: random.below(2) == 0 ? 0 : customer(),
            metric: UInt32(random.below(3)))
    }

    private mutating func anyProviderRoute() -> apus_provider_route {
        let length = UInt8([8, 16, 32][random.below(3)])
        return providerRoute(
            prefix(IPAddress(v4: pa()).masked(length + 96).v4, length), anyPort(), via: random.below(2) == 0 ? 0 : pa(),
            metric: UInt32(random.below(3)))
    }

    private mutating func anyPortParams() -> apus_port_params {
        random.below(3) == 0 ? providerPort() : vmPort(vsid(), 0x0060_0000_0001 + UInt64(random.below(4)))
    }

    /// Make the next change; its code.
    mutating func make(on dataplane: TestDataplane) -> Int32 { next()(dataplane, &ports) }

    /// The next change, to be made any number of times.
    mutating func next() -> (TestDataplane, inout [UInt32]) -> Int32 {
        let verb = random.below(4)
        switch random.below(10) {
        case 0:
            let (port, id) = (anyPortParams(), anyPort())
            return { dataplane, ports in
                if verb == 2 { return withUnsafePointer(to: port) { apus_port_set(dataplane.handle, id, $0) } }
                if verb == 3 { return apus_port_remove(dataplane.handle, id) }
                var given: UInt32 = 0
                let code = withUnsafePointer(to: port) { apus_port_add(dataplane.handle, $0, &given) }
                if code == 0 { ports.append(given) }
                return code
            }
        case 1...3:
            let record = anyRecord()
            let functions = [
                apus_lookup_record_add, apus_lookup_record_add, apus_lookup_record_set, apus_lookup_record_remove,
            ]
            return { dataplane, _ in dataplane.change(record, functions[verb]) }
        case 4...6:
            let route = anyRoute()
            let functions = [
                apus_customer_route_add, apus_customer_route_add, apus_customer_route_set, apus_customer_route_remove,
            ]
            return { dataplane, _ in dataplane.change(route, functions[verb]) }
        case 7:
            let address = providerAddress(
                pa(), anyPort(), 0x02BB_0000_0001 + UInt64(random.below(2)), length: random.below(2) == 0 ? 16 : 24)
            let functions = [
                apus_provider_address_add, apus_provider_address_add, apus_provider_address_set,
                apus_provider_address_remove,
            ]
            return { dataplane, _ in dataplane.change(address, functions[verb]) }
        case 8:
            let route = anyProviderRoute()
            let functions = [
                apus_provider_route_add, apus_provider_route_add, apus_provider_route_set, apus_provider_route_remove,
            ]
            return { dataplane, _ in dataplane.change(route, functions[verb]) }
        default:
            let neighbor = neighbor(pa(), 0x02AA_0000_0001 + UInt64(random.below(2)))
            let functions = [
                apus_provider_neighbor_add, apus_provider_neighbor_add, apus_provider_neighbor_set,
                apus_provider_neighbor_remove,
            ]
            return { dataplane, _ in dataplane.change(neighbor, functions[verb]) }
        }
    }
}
