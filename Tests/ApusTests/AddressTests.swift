// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

/// Duplicate address detection, docs/pipeline.md 5.4, with a clock of its own: what one address goes through, and what several workers
/// that look for it at once do to it.
@Suite struct AddressTests {
    static let ours: UInt64 = 0x3244_5566_7788
    static let stranger: UInt64 = 0x4455_6677_88EE
    static let pa: UInt32 = 0xC0A8_0016
    static let retry: UInt64 = 1_000_000_000

    /// A dataplane with one provider port and one address that is watched.
    final class Bench: @unchecked Sendable {
        let dataplane = TestDataplane()
        let port: UInt32
        var workers: [TestWorker] = []

        init(workers count: Int = 1) {
            port = dataplane.add(providerPort())
            workers = (0..<count).map { _ in TestWorker(dataplane) }
            dataplane.add(address())
        }

        func address(_ state: apus_address_state = APUS_ADDRESS_PREFERRED, mac: UInt64 = ours) -> apus_provider_address {
            var address = providerAddress(pa, port, mac)
            address.state = UInt8(state.rawValue)
            address.flags = APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES
            return address
        }

        func set(_ state: apus_address_state = APUS_ADDRESS_PREFERRED, mac: UInt64 = ours) {
            #expect(dataplane.change(address(state, mac: mac), apus_provider_address_set) == 0)
        }

        var state: apus_address_state {
            var address = address()
            #expect(apus_provider_address_get(dataplane.handle, &address) == 0)
            return apus_address_state(rawValue: UInt32(address.state))
        }

        /// An empty burst of a worker after some time: frames sent.
        func pass(_ nanoseconds: UInt64, _ worker: Int = 0) -> Int {
            for one in workers { one.now += nanoseconds }
            return workers[worker].process().count
        }

        /// Somebody else says that the address is his.
        func claim(_ worker: Int = 0, mac: UInt64 = stranger) {
            workers[worker].add(port: port) { bytes in
                bytes.store(MACAddress.broadcast, at: 0)
                bytes.store(MACAddress(mac), at: 6)
                bytes.store(Ethernet.arp, at: 12)
                ARPPacket(bytes.advanced(by: 14)).write(
                    operation: ARPPacket.reply, sender: (MACAddress(mac), pa), target: (MACAddress(0), pa))
                return 42
            }
            workers[worker].process()
        }

        func events() -> [apus_event_kind] {
            var events = [apus_event](repeating: apus_event(), count: 16)
            events[0].size = MemoryLayout<apus_event>.size
            let count = apus_event_poll(dataplane.handle, &events, UInt32(events.count))
            #expect(count >= 0)
            return events.prefix(Int(max(count, 0))).map { apus_event_kind(rawValue: $0.kind) }
        }

        var stats: apus_stats {
            var stats = apus_stats()
            stats.size = MemoryLayout<apus_stats>.size
            #expect(apus_stats_get(dataplane.handle, &stats) == 0)
            return stats
        }

        func finish() {
            for worker in workers { worker.destroy() }
            dataplane.destroy()
        }
    }

    @Test func threeProbesAndAnAnnouncement() {
        let bench = Bench()
        for _ in 0..<3 {
            #expect(bench.pass(0) == 1)
            #expect(bench.pass(Self.retry - 1) == 0)
            #expect(bench.state == APUS_ADDRESS_TENTATIVE)
            for worker in bench.workers { worker.now += 1 }
        }
        #expect(bench.pass(0) == 1)
        #expect(bench.state == APUS_ADDRESS_PREFERRED)
        #expect(bench.events() == [APUS_EVENT_ADDRESS_PREFERRED])
        #expect(bench.pass(100 * Self.retry) == 0)
        #expect(bench.stats.address_probes == 4)
        bench.finish()
    }

    /// One worker does what another has begun.
    @Test func workersTakeTurns() {
        let bench = Bench(workers: 3)
        #expect(bench.pass(0, 0) == 1)
        #expect(bench.pass(0, 1) == 0)
        #expect(bench.pass(0, 2) == 0)
        #expect(bench.pass(Self.retry, 1) == 1)
        #expect(bench.pass(0, 0) == 0)
        #expect(bench.pass(Self.retry, 2) == 1)
        #expect(bench.pass(Self.retry, 0) == 1)
        #expect(bench.state == APUS_ADDRESS_PREFERRED)
        #expect(bench.pass(0, 1) == 0)
        #expect(bench.pass(0, 2) == 0)
        bench.finish()
    }

    /// Their clocks differ a little; one that was far ahead does not keep the others waiting.
    @Test func clocksDiffer() {
        let bench = Bench(workers: 2)
        bench.workers[1].now += Self.retry / 4
        #expect(bench.pass(0, 1) == 1)
        #expect(bench.pass(0, 0) == 0)
        #expect(bench.pass(Self.retry, 0) == 0)
        #expect(bench.pass(Self.retry / 4, 0) == 1)
        bench.workers[1].now += 1000 * Self.retry
        #expect(bench.pass(0, 1) == 1)
        #expect(bench.pass(Self.retry, 0) == 1)
        #expect(bench.state == APUS_ADDRESS_PREFERRED)
        bench.finish()
    }

    @Test(arguments: 0..<4)
    func duplicateBeforeProbe(_ probes: Int) {
        let bench = Bench(workers: 2)
        for index in 0..<probes { #expect(bench.pass(index == 0 ? 0 : Self.retry) == 1) }
        // The worker that is told has not looked around yet; nothing is due.
        bench.claim(1)
        #expect(bench.state == APUS_ADDRESS_DUPLICATE)
        #expect(bench.events() == [APUS_EVENT_ADDRESS_DUPLICATE])
        for worker in 0..<2 { #expect(bench.pass(Self.retry, worker) == 0) }
        bench.claim(0)
        #expect(bench.stats.address_conflicts == 1)
        #expect(bench.events().isEmpty)
        bench.set()
        #expect(bench.state == APUS_ADDRESS_TENTATIVE)
        #expect(bench.pass(0) == 1)
        bench.finish()
    }

    @Test func invalidIsNotLookedFor() {
        let bench = Bench()
        bench.set(APUS_ADDRESS_INVALID)
        #expect(bench.state == APUS_ADDRESS_INVALID)
        #expect(bench.pass(0) == 0)
        bench.claim()
        #expect(bench.stats.address_conflicts == 0)
        bench.set(APUS_ADDRESS_DEPRECATED)
        #expect(bench.state == APUS_ADDRESS_TENTATIVE)
        for index in 0..<4 { #expect(bench.pass(index == 0 ? 0 : Self.retry) == 1) }
        #expect(bench.state == APUS_ADDRESS_DEPRECATED)
        bench.finish()
    }

    /// Cells are used again, and given back with what shares them: in transactions that are aborted, in those that remove and add.
    @Test func cells() {
        let bench = Bench()
        for index in 0..<4 { _ = bench.pass(index == 0 ? 0 : Self.retry) }
        for round in 0..<200 {
            bench.dataplane.begin()
            switch round % 4 {
            case 0: bench.set(mac: 0x3244_5566_0000 + UInt64(round))
            case 1: bench.set(APUS_ADDRESS_INVALID)
            case 2: #expect(bench.dataplane.change(bench.address(), apus_provider_address_remove) == 0)
            default: bench.set(APUS_ADDRESS_DEPRECATED)
            }
            if round % 4 == 2 { bench.dataplane.add(bench.address()) }
            if round % 8 < 4 { bench.dataplane.abort() } else { bench.dataplane.commit() }
            bench.set()
            _ = bench.pass(Self.retry)
        }
        bench.set(mac: 1 << 33)
        #expect(bench.state == APUS_ADDRESS_TENTATIVE)
        for index in 0..<4 { #expect(bench.pass(index == 0 ? 0 : Self.retry) == 1) }
        #expect(bench.state == APUS_ADDRESS_PREFERRED)
        bench.finish()
    }

    /// Workers that look, are told, and an operator who sets it again, all at once. For the thread sanitizer, and that nothing is lost: a conflict
    /// while it is TENTATIVE always ends in DUPLICATE.
    @Test func allAtOnce() {
        let bench = Bench(workers: 2)
        let isOver = Shared()
        let deadline = Deadline()
        let rounds = Shared()
        @Sendable func look(_ worker: Int) {
            while isOver.value == 0 {
                for _ in 0..<8 {
                    bench.workers[worker].now += Self.retry / 4
                    bench.workers[worker].process()
                }
                bench.claim(worker)
            }
        }
        @Sendable func operate() {
            while !deadline.isOver {
                bench.set(rounds.value & 1 == 0 ? APUS_ADDRESS_PREFERRED : APUS_ADDRESS_DEPRECATED)
                _ = bench.events()
                _ = bench.state
                rounds.add()
            }
            isOver.value = 1
        }
        runTogether([{ operate() }, { look(0) }, { look(1) }])
        #expect(rounds.value > 100)
        bench.set()
        bench.claim(0)
        if bench.state == APUS_ADDRESS_TENTATIVE { Issue.record("a conflict was lost") }
        let stats = bench.stats
        #expect(stats.received + stats.generated == stats.transmitted + stats.consumed + stats.dropped + stats.held)
        bench.finish()
    }
}
