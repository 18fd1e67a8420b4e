// SPDX-License-Identifier: Apache-2.0

import CApus
import Glibc
import Testing

@testable import Apus

/// Control calls while workers process. Every output frame has to be explained by a policy that was in force between
/// the last change that had returned before its burst and the last one that had begun when it ended.
///
/// Run them under the thread and address sanitizers with `run-sanitizers.sh`.
@Suite(.serialized)
struct ConcurrencyTests {
    /// Records that are being hit are set, removed and added.
    @Test func churnOfRecordsInUse() {
        let policy = TaggedPolicy()
        let keys = 8
        let windows = (0..<keys).map { _ in StateWindow() }
        for key in 0..<keys { policy.dataplane.add(TaggedPolicy.remote(key, tag: 0)) }
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let isOver = Shared()
        let unexplained = Complaints()
        let changes = Shared()
        let forwarded = Shared()

        @Sendable func churn() {
            var state = 0
            while !deadline.isOver {
                state += 1
                for key in 0..<keys {
                    windows[key].begun.value = state
                    let remote = TaggedPolicy.remote(key, tag: state)
                    switch state & 3 {
                    case 3: policy.dataplane.remove(remote)
                    case 0: policy.dataplane.add(remote)
                    default: policy.dataplane.set(remote)
                    }
                    windows[key].done.value = state
                    changes.add()
                }
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker) {
            var last = [Int](repeating: 0, count: keys)
            var port: UInt16 = 0
            while isOver.value == 0 {
                let low = windows.map { $0.done.value }
                port &+= 1
                for key in 0..<keys { policy.send(worker, to: key, sourcePort: port & 15) }
                var isSeen = [Bool](repeating: false, count: keys)
                let output = worker.process()
                let high = windows.map { $0.begun.value }
                for frame in output {
                    guard let (key, tag) = policy.read(frame), key >= 0, key < keys, !isSeen[key] else {
                        unexplained.add()
                        continue
                    }
                    isSeen[key] = true
                    if !StateWindow.explains(low[key], high[key], tag: tag) || tag < last[key] { unexplained.add(tag) }
                    last[key] = tag
                    forwarded.add()
                }
                for key in 0..<keys where !isSeen[key] {
                    if !StateWindow.explainsMissing(low[key], high[key]) { unexplained.add(-key) }
                }
            }
        }
        runTogether([{ churn() }, { forward(workers[0]) }, { forward(workers[1]) }])
        unexplained.expectNone("a frame was handled by a policy that was not in force")
        #expect(changes.value > 100)
        #expect(forwarded.value > 100)
        policy.finish(workers)
    }

    /// When `set` has returned, no burst that begins later uses the old provider address.
    @Test func staleAfterReturn() {
        let policy = TaggedPolicy()
        policy.dataplane.add(TaggedPolicy.remote(0, tag: 0))
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let (isOver, done, bursts) = (Shared(), Shared(), Shared())
        let stale = Complaints()

        @Sendable func change() {
            var tag = 0
            while !deadline.isOver {
                tag = (tag + 1) & 0xFFFFF
                let isTransaction = tag & 1 == 0
                if isTransaction { policy.dataplane.begin() }
                policy.dataplane.set(TaggedPolicy.remote(0, tag: tag))
                if isTransaction { policy.dataplane.commit() }
                done.value = tag
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker) {
            while isOver.value == 0 {
                let low = done.value
                policy.send(worker, to: 0)
                for frame in worker.process() {
                    guard let (_, tag) = policy.read(frame), tag >= low else {
                        stale.add(low)
                        continue
                    }
                }
                bursts.add()
            }
        }
        runTogether([{ change() }, { forward(workers[0]) }, { forward(workers[1]) }])
        stale.expectNone("an old provider address was used after the change had returned")
        #expect(policy.dataplane.stats.dropped == 0)
        #expect(policy.dataplane.stats.transmitted == UInt64(bursts.value))
        policy.finish(workers)
    }

    /// Two records that are always changed together are always seen together; what is aborted is never seen.
    @Test func transactionsAreAtomic() {
        let policy = TaggedPolicy()
        for key in 0..<2 { policy.dataplane.add(TaggedPolicy.remote(key, tag: 0)) }
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let (isOver, transactions) = (Shared(), Shared())
        let torn = Complaints()

        @Sendable func change() {
            var tag = 0
            while !deadline.isOver {
                // Even tags are committed, odd ones aborted.
                tag = (tag + 1) & 0xFFFFF
                policy.dataplane.begin()
                policy.dataplane.set(TaggedPolicy.remote(0, tag: tag))
                policy.dataplane.set(TaggedPolicy.remote(1, tag: tag ^ 1))
                policy.dataplane.set(TaggedPolicy.remote(1, tag: tag))
                if tag & 1 == 0 { policy.dataplane.commit() } else { policy.dataplane.abort() }
                transactions.add()
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker) {
            var port: UInt16 = 0
            while isOver.value == 0 {
                port &+= 1
                for _ in 0..<8 {
                    policy.send(worker, to: 0, sourcePort: port & 63)
                    policy.send(worker, to: 1, sourcePort: port & 63)
                }
                let tags = worker.process().map { policy.read($0)?.tag ?? -1 }
                if tags.count != 16 || tags.contains(where: { $0 != tags[0] || $0 & 1 != 0 }) { torn.add(tags[0]) }
            }
        }
        runTogether([{ change() }, { forward(workers[0]) }, { forward(workers[1]) }])
        torn.expectNone("a burst saw half of a transaction")
        #expect(transactions.value > 100)
        policy.finish(workers)
    }

    /// The indexes grow by a factor of hundreds while readers search them.
    @Test func growthWhileReading() {
        let policy = TaggedPolicy()
        let fixed = 16
        for key in 0..<fixed { policy.dataplane.add(TaggedPolicy.remote(key, tag: key)) }
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let (deadline, patience) = (Deadline(), Deadline(times: 60))
        let (isOver, added) = (Shared(), Shared(fixed))
        let wrong = Complaints()

        @Sendable func grow() {
            while added.value < 200_000, !deadline.isOver || (added.value <= 1000 && !patience.isOver) {
                policy.dataplane.begin()
                let first = added.value
                for key in first..<first + 100 { policy.dataplane.add(TaggedPolicy.remote(key, tag: key)) }
                policy.dataplane.commit()
                added.value = first + 100
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker, _ seed: UInt64) {
            var random = SeededGenerator(seed)
            while isOver.value == 0 {
                let present = added.value
                for key in 0..<fixed { policy.send(worker, to: key, sourcePort: UInt16(random.below(1000))) }
                for _ in 0..<16 { policy.send(worker, to: random.below(present)) }
                let output = worker.process()
                if output.count != 32 { wrong.add(output.count) }
                for frame in output {
                    guard let (key, tag) = policy.read(frame), key == tag else {
                        wrong.add(-1)
                        continue
                    }
                }
            }
        }
        runTogether([{ grow() }, { forward(workers[0], 1) }, { forward(workers[1], 2) }])
        wrong.expectNone("a record was not found, or a foreign one was")
        #expect(added.value > 1000)
        policy.finish(workers)
    }

    /// Entries are freed and reused all the time; a packet finds its own record or none.
    @Test func reclaimedEntriesAreNotRead() {
        let policy = TaggedPolicy()
        let other: UInt32 = 5002
        let second = policy.dataplane.add(vmPort(other, TaggedPolicy.machineMAC))
        policy.dataplane.add(record(other, TaggedPolicy.machineCA, TaggedPolicy.machineMAC, TaggedPolicy.ourPA))
        let keys = 64
        let workers = [TestWorker(policy.dataplane, flows: 64), TestWorker(policy.dataplane, flows: 64)]
        let deadline = Deadline()
        let (isOver, forwarded) = (Shared(), Shared())
        let foreign = Complaints()

        /// What is at (VSID, key): the tag tells one virtual subnet from the other, though the addresses overlap.
        @Sendable func remote(_ key: Int, in vsid: UInt32) -> apus_lookup_record {
            var remote = TaggedPolicy.remote(key, tag: Int(vsid) * 128 + key)
            remote.virtual_subnet_id = vsid
            return remote
        }
        @Sendable func churn() {
            var random = SeededGenerator(3)
            var isPresent = [Bool](repeating: false, count: 2 * keys)
            while !deadline.isOver {
                let slot = random.below(2 * keys)
                let remote = remote(slot / 2, in: slot & 1 == 0 ? TaggedPolicy.vsid : other)
                if isPresent[slot] { policy.dataplane.remove(remote) } else { policy.dataplane.add(remote) }
                isPresent[slot].toggle()
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker, _ seed: UInt64) {
            var random = SeededGenerator(seed)
            while isOver.value == 0 {
                for _ in 0..<32 {
                    let (key, port) = (random.below(keys), random.below(2) == 0 ? policy.machine : second)
                    worker.add(port: port) {
                        writeUDP(
                            $0, to: TaggedPolicy.mac(key), from: TaggedPolicy.machineMAC, TaggedPolicy.machineCA,
                            TaggedPolicy.customerAddress(key))
                    }
                }
                for frame in worker.process() {
                    guard let packet = Encapsulated(frame) else {
                        foreign.add(-1)
                        continue
                    }
                    let key = TaggedPolicy.index(of: packet.innerDestination)
                    if TaggedPolicy.tag(of: packet.destination) != Int(packet.vsid) * 128 + key { foreign.add(key) }
                    forwarded.add()
                }
            }
        }
        runTogether([{ churn() }, { forward(workers[0], 4) }, { forward(workers[1], 5) }])
        foreign.expectNone("a packet left by another machine's record")
        #expect(forwarded.value > 100)
        policy.finish(workers)
    }

    /// From the provider side: what decapsulates changes while it is used. A frame is delivered to its machine or
    /// dropped.
    @Test func decapsulationUnderChurn() {
        let policy = TaggedPolicy()
        policy.dataplane.add(TaggedPolicy.remote(0, tag: 0))
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let (isOver, state, delivered) = (Shared(), StateWindow(), Shared())
        let unexplained = Complaints()

        // The remote machine is at tag 0, at tag 1, at tag 2 or nowhere.
        @Sendable func churn() {
            var step = 0
            while !deadline.isOver {
                step += 1
                state.begun.value = step
                let remote = TaggedPolicy.remote(0, tag: step & 3)
                switch step & 3 {
                case 3: policy.dataplane.remove(remote)
                case 0: policy.dataplane.add(remote)
                default: policy.dataplane.set(remote)
                }
                state.done.value = step
            }
            isOver.value = 1
        }
        @Sendable func receive(_ worker: TestWorker) {
            while isOver.value == 0 {
                let low = state.done.value
                for tag in 0..<3 {
                    worker.add(port: policy.provider) { bytes in
                        let sender = TaggedPolicy.remote(0, tag: tag).provider_address
                        return writeNVGRE(
                            bytes, to: TaggedPolicy.ourMAC, from: IPAddress(sender).v4, TaggedPolicy.ourPA,
                            vsid: TaggedPolicy.vsid
                        ) {
                            writeUDP(
                                $0, to: TaggedPolicy.machineMAC, from: TaggedPolicy.mac(0),
                                TaggedPolicy.customerAddress(0), TaggedPolicy.machineCA, sourcePort: UInt16(tag))
                        }
                    }
                }
                let output = worker.process()
                let high = state.begun.value
                for frame in output {
                    let tag = Int(Bytes(frame.data).u16(34))
                    let isExplained = (low...max(low, high)).contains { $0 & 3 == tag }
                    if frame.port != policy.machine || frame.length != 60 || !isExplained { unexplained.add(tag) }
                    delivered.add()
                }
                // All three claim to be the same machine: the policy allows one of them.
                if output.count > 1 || (output.isEmpty && !StateWindow.explainsMissing(low, high)) {
                    unexplained.add(-output.count)
                }
            }
        }
        runTogether([{ churn() }, { receive(workers[0]) }, { receive(workers[1]) }])
        unexplained.expectNone("a frame of a provider address that is not the sender's was delivered")
        #expect(delivered.value > 100)
        policy.finish(workers)
    }

    /// Ports, routes and provider objects change as well: nothing is checked but that every frame ends somewhere.
    @Test func everythingChanges() {
        let policy = TaggedPolicy()
        for key in 0..<4 { policy.dataplane.add(TaggedPolicy.remote(key, tag: key)) }
        let workers = [TestWorker(policy.dataplane, flows: 64), TestWorker(policy.dataplane, flows: 64)]
        let deadline = Deadline()
        let (isOver, extraPort, changes) = (Shared(), Shared(), Shared())
        let failed = Complaints()

        @Sendable func churn() {
            let dataplane = policy.dataplane
            let onLink = customerRoute(1, TaggedPolicy.vsid, prefix(0x0A00_0000, 8))
            let toTheWorld = customerRoute(1, TaggedPolicy.vsid, prefix(0, 0), via: TaggedPolicy.customerAddress(0))
            let host = providerRoute(prefix(0xAC10_0001, 32), policy.provider, via: 0xC0A8_00FD)
            while !deadline.isOver {
                let port = dataplane.add(vmPort(TaggedPolicy.vsid, 0x0060_0000_0002))
                extraPort.value = Int(port)
                dataplane.add(onLink)
                dataplane.add(toTheWorld)
                dataplane.add(host)
                dataplane.add(neighbor(0xC0A8_00FD, 0x02AA_0000_00FD))
                dataplane.add(providerAddress(0xC0A8_0002, policy.provider, 0x02BB_0000_0002, vlan: 7))
                var moved = vmPort(TaggedPolicy.vsid, 0x0060_0000_0003)
                moved.mtu = 9000
                let codes = [
                    withUnsafePointer(to: moved) { apus_port_set(dataplane.handle, port, $0) },
                    dataplane.change(
                        providerAddress(0xC0A8_0002, policy.provider, 0x02BB_0000_0003),
                        apus_provider_address_set),
                    dataplane.change(
                        providerAddress(0xC0A8_0002, policy.provider, 0x02BB_0000_0003),
                        apus_provider_address_remove),
                    dataplane.change(neighbor(0xC0A8_00FD, 0x02AA_0000_00FD), apus_provider_neighbor_remove),
                    dataplane.change(host, apus_provider_route_remove),
                    dataplane.change(toTheWorld, apus_customer_route_remove),
                    dataplane.change(onLink, apus_customer_route_remove),
                    apus_port_remove(dataplane.handle, port),
                ]
                for code in codes where code != 0 { failed.add(Int(code)) }
                changes.add()
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker, _ seed: UInt64) {
            var random = SeededGenerator(seed)
            while isOver.value == 0 {
                for key in 0..<4 { policy.send(worker, to: key, sourcePort: UInt16(random.below(8))) }
                let port = UInt32(extraPort.value)
                worker.add(port: port) {
                    writeUDP(
                        $0, to: TaggedPolicy.mac(0), from: 0x0060_0000_0002, TaggedPolicy.machineCA + 1,
                        TaggedPolicy.customerAddress(0))
                }
                worker.add(port: policy.machine) {
                    writeUDP(
                        $0, to: 0x0261_7075_7301, from: TaggedPolicy.machineMAC, TaggedPolicy.machineCA, 0x0B00_0001)
                }
                worker.add(port: policy.machine) {
                    writeARP(
                        $0, operation: 1, to: 0xFFFF_FFFF_FFFF,
                        sender: (TaggedPolicy.machineMAC, TaggedPolicy.machineCA),
                        target: (0, 0x0A00_0001 + UInt32(random.below(4))))
                }
                worker.add(port: policy.provider) {
                    writeARP(
                        $0, operation: 2, to: TaggedPolicy.ourMAC,
                        sender: (0x02AA_0000_0000 + random.next() % 4, 0xC0A8_00FD),
                        target: (TaggedPolicy.ourMAC, TaggedPolicy.ourPA))
                }
                worker.now += 20_000_000
                worker.process()
            }
        }
        runTogether([{ churn() }, { forward(workers[0], 6) }, { forward(workers[1], 7) }])
        failed.expectNone("a control call failed")
        #expect(changes.value > 10)
        policy.finish(workers)
    }

    /// Counters are read while they are written: each only grows, and afterwards they balance.
    @Test func statisticsWhileRunning() {
        let policy = TaggedPolicy()
        for key in 0..<4 { policy.dataplane.add(TaggedPolicy.remote(key, tag: key)) }
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let (isOver, readings) = (Shared(), Shared())
        let wrong = Complaints()

        @Sendable func watch() {
            var last: (received: UInt64, transmitted: UInt64, port: UInt64) = (0, 0, 0)
            while !deadline.isOver {
                let total = policy.dataplane.stats
                var one = apus_stats()
                one.size = MemoryLayout<apus_stats>.size
                if apus_worker_stats_get(workers[0].handle, &one) != 0 { wrong.add() }
                var port = apus_port_stats()
                port.size = MemoryLayout<apus_port_stats>.size
                if apus_port_stats_get(policy.dataplane.handle, policy.machine, &port) != 0 { wrong.add() }
                if total.received < last.received || total.transmitted < last.transmitted || port.received < last.port {
                    wrong.add()
                }
                last = (total.received, total.transmitted, port.received)
                readings.add()
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker) {
            while isOver.value == 0 {
                for key in 0..<5 { policy.send(worker, to: key) }
                worker.process()
            }
        }
        runTogether([{ watch() }, { forward(workers[0]) }, { forward(workers[1]) }])
        wrong.expectNone("a counter shrank, or could not be read")
        #expect(readings.value > 10)
        let stats = policy.dataplane.stats
        #expect(stats.transmitted * 5 == stats.received * 4)
        #expect(stats.drops(APUS_DROP_DESTINATION_RECORD_MISSING) * 5 == stats.received)
        policy.finish(workers)
    }

    /// Workers come and go while others run; their counts stay.
    @Test func workersComeAndGo() {
        let policy = TaggedPolicy()
        policy.dataplane.add(TaggedPolicy.remote(0, tag: 0))
        let worker = TestWorker(policy.dataplane)
        let deadline = Deadline()
        let (isOver, sent, lives) = (Shared(), Shared(), Shared())

        @Sendable func comeAndGo() {
            while !deadline.isOver {
                let guest = TestWorker(policy.dataplane, flows: 64)
                for _ in 0..<3 {
                    policy.send(guest, to: 0)
                    sent.add(guest.process().count)
                }
                policy.dataplane.set(TaggedPolicy.remote(0, tag: lives.value & 1))
                guest.destroy()
                lives.add()
            }
            isOver.value = 1
        }
        @Sendable func forward() {
            while isOver.value == 0 {
                policy.send(worker, to: 0)
                sent.add(worker.process().count)
            }
        }
        runTogether([{ comeAndGo() }, { forward() }])
        #expect(lives.value > 5)
        #expect(policy.dataplane.stats.transmitted == UInt64(sent.value))
        #expect(policy.dataplane.stats.dropped == 0)
        policy.finish([worker])
    }

    /// Two threads make control calls at once: each call is made or refused with APUS_ERR_BUSY.
    @Test func twoControlThreads() {
        let policy = TaggedPolicy()
        let worker = TestWorker(policy.dataplane)
        let deadline = Deadline()
        let (isOver, busy) = (Shared(), Shared())
        let made = [Shared(), Shared()]
        let wrong = Complaints()

        @Sendable func control(_ me: Int) {
            // Each has keys of its own, so nothing but the other's presence can refuse a call.
            func insist(_ call: () -> Int32) {
                while true {
                    let code = call()
                    if code == 0 { break }
                    if code != APUS_ERR_BUSY.rawValue {
                        wrong.add(Int(code))
                        break
                    }
                    busy.add()
                    sched_yield()
                }
                made[me].add()
            }
            let dataplane = policy.dataplane
            while !deadline.isOver {
                for key in 0..<4 {
                    insist { dataplane.change(TaggedPolicy.remote(2 * key + me, tag: me), apus_lookup_record_add) }
                }
                for key in 0..<4 {
                    insist { dataplane.change(TaggedPolicy.remote(2 * key + me, tag: 2 + me), apus_lookup_record_set) }
                    var copy = TaggedPolicy.remote(2 * key + me, tag: 0)
                    insist { apus_lookup_record_get(dataplane.handle, &copy) }
                    if TaggedPolicy.tag(of: IPAddress(copy.provider_address).v4) != 2 + me { wrong.add(1) }
                }
                for key in 0..<4 {
                    insist { dataplane.change(TaggedPolicy.remote(2 * key + me, tag: 0), apus_lookup_record_remove) }
                }
            }
            isOver.value += 1
        }
        @Sendable func forward() {
            while isOver.value < 1 {
                for key in 0..<8 { policy.send(worker, to: key) }
                for frame in worker.process() {
                    guard let (key, tag) = policy.read(frame), tag & 1 == key & 1 else {
                        wrong.add(2)
                        continue
                    }
                }
            }
        }
        runTogether([{ control(0) }, { control(1) }, { forward() }])
        wrong.expectNone("a control call failed with something else than BUSY, or a record was mixed up")
        #expect(made[0].value > 10)
        #expect(made[1].value > 10)
        policy.finish([worker])
    }

    /// What one worker learns by ARP releases what waits in another, and moves its headers.
    @Test func neighborsLearnedElsewhere() {
        let policy = TaggedPolicy()
        let remotePA: UInt32 = 0xC0A8_1234
        policy.dataplane.add(record(TaggedPolicy.vsid, TaggedPolicy.customerAddress(0), TaggedPolicy.mac(0), remotePA))
        let workers = [TestWorker(policy.dataplane), TestWorker(policy.dataplane)]
        let deadline = Deadline()
        let (isOver, forwarded) = (Shared(), Shared())
        let wrong = Complaints()
        let macs: UInt64 = 0x02CC_0000_0000

        // The neighbour answers, each time from another adapter.
        @Sendable func answer(_ worker: TestWorker) {
            var step: UInt64 = 0
            while !deadline.isOver {
                step += 1
                worker.now += 1_500_000_000
                worker.add(port: policy.provider) {
                    writeARP(
                        $0, operation: 2, to: TaggedPolicy.ourMAC, sender: (macs + (step & 7), remotePA),
                        target: (TaggedPolicy.ourMAC, TaggedPolicy.ourPA))
                }
                worker.process()
            }
            isOver.value = 1
        }
        @Sendable func forward(_ worker: TestWorker) {
            while isOver.value == 0 {
                worker.now += 1_000_000
                policy.send(worker, to: 0)
                for frame in worker.process() where frame.flags & APUS_FRAME_GENERATED == 0 {
                    if Bytes(frame.data).mac(0).value & ~7 != macs { wrong.add() }
                    forwarded.add()
                }
            }
        }
        runTogether([{ answer(workers[1]) }, { forward(workers[0]) }])
        wrong.expectNone("a frame left with a MAC that the neighbour never had")
        #expect(forwarded.value > 0)
        policy.finish(workers)
    }
}
