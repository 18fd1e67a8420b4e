// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

/// Transactions, failures in the middle, and what is left afterwards.
@Suite struct StoreTests {
    /// Changes that are aborted leave the policy exactly as it was: every object, every count, every number.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func abortRestoresEverything(_ seed: UInt64) {
        let dataplane = TestDataplane()
        var changes = RandomChange(seed)
        for _ in 0..<120 { _ = changes.make(on: dataplane) }
        for length in [1, 2, 5, 20, 150] {
            let before = dump(dataplane)
            let ports = changes.ports
            dataplane.begin()
            var made = 0
            for _ in 0..<length where changes.make(on: dataplane) == 0 { made += 1 }
            dataplane.abort()
            #expect(dump(dataplane) == before, "after \(made) of \(length) changes")
            changes.ports = ports
            // Also after what followed has been settled.
            for _ in 0..<3 { _ = changes.make(on: dataplane) }
        }
        dataplane.destroy()
    }

    /// One transaction or one by one: the same policy in the end, and the same answers on the way.
    @Test(arguments: 21...40 as ClosedRange<UInt64>)
    func committedAsOneByOne(_ seed: UInt64) {
        let (one, other) = (TestDataplane(), TestDataplane())
        var (changes, same) = (RandomChange(seed), RandomChange(seed))
        for length in [1, 7, 30, 100, 100] {
            one.begin()
            for _ in 0..<length {
                let code = changes.make(on: one)
                #expect(same.make(on: other) == code)
            }
            one.commit()
            #expect(dump(one, ports: changes.ports) == dump(other, ports: same.ports))
        }
        one.destroy()
        other.destroy()
    }

    /// A change that fails for want of memory, at any of its allocations, changes nothing, and then succeeds.
    @Test(arguments: [false, true])
    func failureAtEveryAllocation(_ isTransaction: Bool) {
        let dataplane = TestDataplane()
        var changes = RandomChange(isTransaction ? 77 : 78)
        var failures = 0
        if isTransaction { dataplane.begin() }
        for step in 0..<700 {
            let change = changes.next()
            var credit = 0
            while true {
                let before = step.isMultiple(of: 7) || credit > 0 ? dump(dataplane) : nil
                dataplane.allocator.credit = credit
                let code = change(dataplane, &changes.ports)
                dataplane.allocator.credit = .max
                if code != APUS_ERR_MEMORY.rawValue { break }
                failures += 1
                if let before { #expect(dump(dataplane) == before) }
                credit += 1
            }
            if isTransaction, step % 50 == 49 {
                if step % 100 == 99 { dataplane.abort() } else { dataplane.commit() }
                dataplane.begin()
            }
        }
        if isTransaction { dataplane.commit() }
        #expect(failures > 10)
        dataplane.destroy()
    }

    /// Every allocation of creating a dataplane and a worker may fail; nothing is left then.
    @Test func creationWithoutMemory() {
        let allocator = TestAllocator()
        var opts = apus_dataplane_opts()
        opts.size = MemoryLayout<apus_dataplane_opts>.size
        opts.allocator = allocator.c
        opts.hash_key.0 = 1
        var handle: OpaquePointer?
        var credit = 0
        while true {
            allocator.credit = credit
            let code = apus_dataplane_create(&opts, &handle)
            if code == 0 { break }
            #expect(code == APUS_ERR_MEMORY.rawValue)
            #expect(allocator.liveBlocks == 0)
            credit += 1
        }
        #expect(credit > 20)
        #expect(apus_dataplane_memory(handle) == UInt64(allocator.liveBytes))

        let buffers = TestBuffers(count: 1)
        var worker: OpaquePointer?
        var workerOpts = apus_worker_opts()
        workerOpts.size = MemoryLayout<apus_worker_opts>.size
        workerOpts.buffers = buffers.c
        let before = allocator.liveBytes
        credit = 0
        while true {
            allocator.credit = credit
            let code = apus_worker_create(handle, &workerOpts, &worker)
            if code == 0 { break }
            #expect(code == APUS_ERR_MEMORY.rawValue)
            #expect(allocator.liveBytes == before)
            credit += 1
        }
        #expect(credit > 5)
        #expect(apus_worker_destroy(worker) == 0)
        #expect(allocator.liveBytes == before)
        #expect(apus_dataplane_destroy(handle) == 0)
        #expect(allocator.liveBlocks == 0)
        #expect(allocator.mistakes == 0)
    }

    /// What comes and goes costs no memory in the long run: numbers of every kind of object are used again.
    @Test func everythingIsRecycled() {
        let dataplane = TestDataplane()
        let provider = dataplane.add(providerPort())
        func cycle(_ step: Int) {
            let port = dataplane.add(vmPort(5001, 0x0060_0000_0001))
            let route = customerRoute(UInt64(step), 5001, prefix(0x0A00_0000, 8))
            let far = customerRoute(UInt64(step), 5001, prefix(0, 0), via: 0x0A00_0002)
            let address = providerAddress(0xC0A8_0001, provider, 0x02BB_0000_0001)
            let away = providerRoute(prefix(0xAC10_0000, 12), provider, via: 0xC0A8_0000 + UInt32(step & 0xFF) + 2)
            var entry = record(
                5001, 0x0A00_0000 + UInt32(step & 0xFFFF) + 1, 0x0060_0000_0001, 0xAC10_0000 + UInt32(step))
            entry.vm_name.0 = 65
            dataplane.add(route)
            dataplane.add(far)
            dataplane.add(address)
            dataplane.add(away)
            dataplane.add(entry)
            dataplane.set(entry)
            dataplane.add(neighbor(0xAC10_0000 + UInt32(step), 0x02AA_0000_0001))
            let codes = [
                dataplane.change(neighbor(0xAC10_0000 + UInt32(step), 0x02AA_0000_0001), apus_provider_neighbor_remove),
                dataplane.change(entry, apus_lookup_record_remove),
                dataplane.change(away, apus_provider_route_remove),
                dataplane.change(address, apus_provider_address_remove),
                dataplane.change(far, apus_customer_route_remove),
                dataplane.change(route, apus_customer_route_remove),
                apus_port_remove(dataplane.handle, port),
            ]
            #expect(codes == [0, 0, 0, 0, 0, 0, 0])
        }
        for step in 1...100 { cycle(step) }
        let held = apus_dataplane_memory(dataplane.handle)
        let numbers = dataplane.withStore { $0.tables.domains.findOrAdd($0.memory, GUID(high: 1, low: 1)) }
        for step in 101...3000 { cycle(step) }
        #expect(apus_dataplane_memory(dataplane.handle) == held)
        // Domains too: the lowest numbers are still the ones in use.
        #expect((numbers ?? nil) ?? .max < 8)
        #expect(dump(dataplane).count == 1)
        dataplane.destroy()
    }

    /// Transactions that are aborted cost no memory in the long run either.
    @Test func abortedTransactionsAreRecycled() {
        let dataplane = TestDataplane()
        func cycle() {
            dataplane.begin()
            for key in 0..<20 as Range<UInt32> {
                dataplane.add(record(5001, 0x0A00_0001 + key, 0x0060_0000_0001, 0xAC10_0000 + key))
                dataplane.add(customerRoute(UInt64(key), 6000 + key, prefix(0x0A00_0000, 8)))
            }
            dataplane.abort()
        }
        for _ in 0..<20 { cycle() }
        let held = apus_dataplane_memory(dataplane.handle)
        for _ in 0..<300 { cycle() }
        #expect(apus_dataplane_memory(dataplane.handle) == held)
        #expect(dump(dataplane).isEmpty)
        dataplane.destroy()
    }

    /// What a transaction added or killed waits for workers, all of it, whichever way it ends: none of it is forgotten.
    @Test func largeTransactionsAreRecycled() {
        let dataplane = TestDataplane()
        let records = (0..<1500 as Range<UInt32>).map { record(5001, 0x0A00_0001 + $0, 0x0060_0000_0001, 0xAC10_0000 + $0) }
        func cycle() {
            dataplane.begin()
            for record in records { dataplane.add(record) }
            dataplane.abort()
            for record in records { dataplane.add(record) }
            dataplane.begin()
            for record in records { #expect(dataplane.change(record, apus_lookup_record_remove) == 0) }
            dataplane.commit()
        }
        for _ in 0..<2 { cycle() }
        let held = apus_dataplane_memory(dataplane.handle)
        for _ in 0..<3 { cycle() }
        #expect(apus_dataplane_memory(dataplane.handle) == held)
        #expect(dump(dataplane).isEmpty)
        dataplane.destroy()
    }

    /// Port ids: a removed one is not accepted again, its slot is, with another id.
    @Test func portNumbers() {
        let dataplane = TestDataplane()
        var seen: Set<UInt32> = []
        for _ in 0..<300 {
            let id = dataplane.add(vmPort(5001, 0x0060_0000_0001))
            #expect(id != 0)
            #expect(seen.insert(id).inserted)
            #expect(apus_port_remove(dataplane.handle, id) == 0)
            #expect(apus_port_remove(dataplane.handle, id) == APUS_ERR_STALE.rawValue)
        }
        // A number is free when no worker can know it any more: at the latest two changes later.
        func settle() {
            for _ in 0..<3 {
                dataplane.add(neighbor(0xC0A8_0001, 0x02AA_0000_0001))
                #expect(dataplane.change(neighbor(0xC0A8_0001, 0x02AA_0000_0001), apus_provider_neighbor_remove) == 0)
            }
        }
        settle()
        // All 4,096 at once, and no more; abort gives them back.
        dataplane.begin()
        for index in 0..<UInt64(APUS_PORTS_MAX) { _ = dataplane.add(vmPort(5001, 0x0060_0000_0001 + index)) }
        var id: UInt32 = 0
        var port = vmPort(5002, 0x0060_0000_0001)
        #expect(apus_port_add(dataplane.handle, &port, &id) == APUS_ERR_LIMIT.rawValue)
        dataplane.abort()
        #expect(dump(dataplane).isEmpty)
        settle()
        #expect(apus_port_add(dataplane.handle, &port, &id) == 0)
        dataplane.destroy()
    }

    /// A host with a machine, 10.0.0.5 in virtual subnet 5001, that knows the MAC addresses of other hosts. Returns the machine's port.
    private func addHost(_ dataplane: TestDataplane, beside others: [UInt32]) -> UInt32 {
        let machine = dataplane.add(vmPort(5001, 0x0060_0000_0001))
        let provider = dataplane.add(providerPort())
        dataplane.add(providerAddress(0xC0A8_0001, provider, 0x02BB_0000_0001))
        for pa in others { dataplane.add(neighbor(pa, 0x02AA_0000_0000 + UInt64(pa & 3))) }
        dataplane.add(record(5001, 0x0A00_0005, 0x0060_0000_0001, 0xC0A8_0001))
        return machine
    }

    /// A change in a virtual subnet that a route leads to reaches the flows that use the route.
    @Test func flowsThroughAnotherSubnetSeeItsChanges() {
        let dataplane = TestDataplane()
        let machine = addHost(dataplane, beside: [0xC0A8_0002, 0xC0A8_0003])
        dataplane.add(customerRoute(1, 5001, prefix(0x0A00_0000, 24)))
        // The next hop is in a virtual subnet without an on-link route. Both provider addresses are known beforehand.
        dataplane.add(record(5009, 0x0A09_0002, 0x0060_0000_0002, 0xC0A8_0002))
        dataplane.add(record(5009, 0x0A09_0003, 0x0060_0000_0003, 0xC0A8_0003))
        dataplane.add(record(5001, 0x0A00_0077, 0x0060_0000_0077, 0xC0A8_0002))
        dataplane.add(customerRoute(1, 5009, prefix(0, 0), via: 0x0A09_0002))
        let worker = TestWorker(dataplane)
        func providerAddresses() -> [UInt32] {
            worker.add(port: machine) {
                writeUDP($0, to: 0x0261_7075_7301, from: 0x0060_0000_0001, 0x0A00_0005, 0x0808_0808)
            }
            return worker.process().compactMap { Encapsulated($0)?.destination }
        }
        #expect(providerAddresses() == [0xC0A8_0002])
        dataplane.set(record(5009, 0x0A09_0002, 0x0060_0000_0002, 0xC0A8_0003))
        #expect(providerAddresses() == [0xC0A8_0003])
        dataplane.remove(record(5009, 0x0A09_0002, 0x0060_0000_0002, 0xC0A8_0003))
        #expect(providerAddresses() == [])
        worker.destroy()
        dataplane.destroy()
    }

    /// A burst between the two stores of a publication, the floor and the version: its new flows are decided by the old policy, and what it
    /// remembers of their tunnels says nothing of the new one.
    @Test func tunnelsOfTheVersionBefore() {
        let dataplane = TestDataplane()
        let machine = addHost(dataplane, beside: [0xC0A8_0002])
        dataplane.add(record(5001, 0x0A00_0006, 0x0060_0000_0002, 0xC0A8_0002))
        let worker = TestWorker(dataplane)
        var flow: UInt16 = 1000
        func macOfANewFlow() -> [UInt64] {
            flow += 1
            worker.add(port: machine) {
                writeUDP($0, to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0005, 0x0A00_0006, sourcePort: flow)
            }
            return worker.process().map { Bytes($0.data).mac(0).value }
        }
        #expect(macOfANewFlow() == [0x02AA_0000_0002])
        dataplane.withStore { $0.tables.shared.value.floor.store($0.next.u32, ordering: .relaxed) }
        for _ in 0..<2 { #expect(macOfANewFlow() == [0x02AA_0000_0002]) }
        #expect(dataplane.change(neighbor(0xC0A8_0002, 0x02AA_0000_0003), apus_provider_neighbor_set) == 0)
        for _ in 0..<2 { #expect(macOfANewFlow() == [0x02AA_0000_0003]) }
        worker.destroy()
        dataplane.destroy()
    }

    /// The low half of the version starts over while a worker does not leave its burst, and goes on so far that what was changed long ago,
    /// before it started over, has lower numbers: nobody takes that for what did not change since.
    @Test func aNewEraWithAStalledWorker() {
        let dataplane = TestDataplane()
        let machine = addHost(dataplane, beside: [0xC0A8_0002, 0xC0A8_0003])
        dataplane.add(record(5001, 0x0A00_0006, 0x0060_0000_0002, 0xC0A8_0002))
        dataplane.add(record(5001, 0x0A00_0077, 0x0060_0000_0077, 0xC0A8_0003))
        let worker = TestWorker(dataplane)
        func providerAddresses() -> [UInt32] {
            worker.add(port: machine) { writeUDP($0, to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0005, 0x0A00_0006) }
            return worker.process().compactMap { Encapsulated($0)?.destination }
        }
        dataplane.withStore {
            $0.tables.shared.value.version.store(0xFFFF_FFFF, ordering: .relaxed)
            $0.grace.enroll(200)
        }
        #expect(providerAddresses() == [0xC0A8_0002])
        dataplane.withStore { $0.grace.enter(200) }
        let another = record(5002, 0x0A00_0001, 0x0060_0000_0001, 0xC0A8_0003)
        #expect(dataplane.change(another, apus_lookup_record_add) == APUS_ERR_STALLED.rawValue)
        dataplane.withStore {
            #expect($0.tables.shared.value.version.load(ordering: .relaxed) == 0x1_0000_0000)
            $0.tables.shared.value.version.store(0x1_0000_0040, ordering: .relaxed)
        }
        for _ in 0..<2 { #expect(providerAddresses() == [0xC0A8_0002]) }
        let moved = record(5001, 0x0A00_0006, 0x0060_0000_0002, 0xC0A8_0003)
        #expect(dataplane.change(moved, apus_lookup_record_set) == APUS_ERR_STALLED.rawValue)
        for _ in 0..<2 { #expect(providerAddresses() == [0xC0A8_0003]) }
        dataplane.withStore { $0.grace.leave(200) }
        #expect(apus_dataplane_synchronize(dataplane.handle) == 0)
        for _ in 0..<2 { #expect(providerAddresses() == [0xC0A8_0003]) }
        dataplane.set(record(5001, 0x0A00_0006, 0x0060_0000_0002, 0xC0A8_0002))
        #expect(providerAddresses() == [0xC0A8_0002])
        worker.destroy()
        dataplane.destroy()
    }

    /// A worker that does not leave its burst: the change is published and reported, nothing that it may use is given
    /// to others, and all goes on when it has left.
    @Test func stalledWorker() {
        let dataplane = TestDataplane()
        dataplane.add(record(5001, 0x0A00_0001, 0x0060_0000_0001, 0xC0A8_0001))
        dataplane.withStore {
            $0.grace.enroll(200)
            $0.grace.enter(200)
        }
        let removed = record(5001, 0x0A00_0001, 0x0060_0000_0001, 0xC0A8_0001)
        #expect(dataplane.change(removed, apus_lookup_record_remove) == APUS_ERR_STALLED.rawValue)
        #expect(dump(dataplane).isEmpty)
        let another = record(5002, 0x0A00_0002, 0x0060_0000_0002, 0xC0A8_0002)
        #expect(dataplane.change(another, apus_lookup_record_add) == APUS_ERR_STALLED.rawValue)
        #expect(dump(dataplane).contains { $0.hasPrefix("record 5002 ") })
        // The number of what was removed has not been given to it.
        #expect(dataplane.withStore { $0.tables.records.numbers } == 2)
        #expect(apus_dataplane_synchronize(dataplane.handle) == APUS_ERR_STALLED.rawValue)
        #expect(apus_transaction_begin(dataplane.handle) == 0)
        #expect(apus_transaction_abort(dataplane.handle) == 0)
        dataplane.withStore { $0.grace.leave(200) }
        #expect(apus_dataplane_synchronize(dataplane.handle) == 0)
        dataplane.destroy()
    }

    @Test func transactionsOutOfPlace() {
        let dataplane = TestDataplane()
        #expect(apus_transaction_commit(dataplane.handle) == APUS_ERR_TRANSACTION.rawValue)
        #expect(apus_transaction_abort(dataplane.handle) == APUS_ERR_TRANSACTION.rawValue)
        dataplane.begin()
        #expect(apus_transaction_begin(dataplane.handle) == APUS_ERR_TRANSACTION.rawValue)
        dataplane.commit()
        #expect(apus_dataplane_synchronize(dataplane.handle) == 0)
        dataplane.begin()
        dataplane.add(record(5001, 0x0A00_0001, 0x0060_0000_0001, 0xC0A8_0001))
        // Destroyed with an open transaction: nothing is left.
        dataplane.destroy()
    }
}
