// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

extension Host {
    /// Read the policy file again and replace the whole policy in one transaction: a burst sees the old one or the new
    /// one, and if anything is refused nothing changes.
    ///
    /// Ports keep their numbers, counters and devices, so the file must have the same ports on the same devices; MAC
    /// address, virtual subnet and MTU of a port may change. `settings` are read at the start only.
    func reload(policy path: String) throws {
        let file = try PolicyFile.load(path: path)
        let devices = Dictionary(uniqueKeysWithValues: ports.map { ($0.name, $0.deviceName) })
        guard file.ports.count == ports.count, file.ports.allSatisfy({ devices[$0.name] == $0.device }) else {
            throw HostError("\(path): ports or their devices have changed; that needs a restart")
        }
        let ids = Dictionary(uniqueKeysWithValues: ports.map { ($0.name, $0.id) })
        try check(unsafe apus_transaction_begin(dataplane))
        do {
            try removeAll()
            try unsafe file.addObjects(to: dataplane, ports: ids) { try check($0, "\(path):\($1)") }
        } catch {
            _ = unsafe apus_transaction_abort(dataplane)
            throw error
        }
        try check(unsafe apus_transaction_commit(dataplane))
    }

    private func check(_ result: Int32, _ place: String = "reload") throws {
        if result < 0 {
            throw HostError("\(place): \(unsafe String(cString: apus_dataplane_error_text(dataplane)))", result)
        }
    }

    /// Remove all objects but the ports.
    private func removeAll() throws {
        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        unsafe try removeEach(
            { unsafe apus_lookup_record_iterate(dataplane, $0, &record) },
            { unsafe apus_lookup_record_remove(dataplane, &record) })
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
