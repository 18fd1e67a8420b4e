// SPDX-License-Identifier: Apache-2.0

// An ordinary Swift program around the installed C library: classes, arrays, strings and dictionaries before, between
// and after its calls. Were the archive's Embedded runtime visible to the linker, the first release of an object
// would crash.

import CApus

final class Machine {
    let name: String
    let address: String
    var neighbours: [String: Machine] = [:]

    init(name: String, address: String) {
        self.name = name
        self.address = address
    }
}

func objects(_ round: Int) -> Int {
    var machines: [Machine] = []
    for i in 0..<200 { machines.append(Machine(name: "vm\(round)-\(i)", address: "10.0.\(round).\(i)")) }
    for (a, b) in zip(machines, machines.reversed()) { a.neighbours[b.name] = b }
    defer { machines.forEach { $0.neighbours.removeAll() } }
    return machines.map { $0.neighbours.keys.joined().count }.reduce(0, +)
}

var total = objects(1)
var dataplane: OpaquePointer?
guard apus_dataplane_create(nil, &dataplane) == 0 else { fatalError("create") }
for i in 0..<200 {
    let machine = Machine(name: "vm\(i)", address: "10.0.1.\(i % 250 + 1)")
    var record = apus_lookup_record()
    record.size = MemoryLayout<apus_lookup_record>.size
    record.virtual_subnet_id = 5000 + UInt32(i)
    guard apus_address_parse(machine.address, &record.customer_address) == 0,
        apus_address_parse("192.168.0.\(i % 200 + 1)", &record.provider_address) == 0,
        apus_mac_parse("60:00:60:00:00:01", &record.mac) == 0,
        apus_lookup_record_add(dataplane, &record) == 0
    else { fatalError(String(cString: apus_dataplane_error_text(dataplane))) }
    total += objects(i % 7)
}
guard apus_dataplane_destroy(dataplane) == 0, apus_dataplane_destroy(dataplane) == APUS_ERR_STALE.rawValue else {
    fatalError("destroy")
}
total += objects(2)
print(total > 0 ? "ok" : "nothing")
