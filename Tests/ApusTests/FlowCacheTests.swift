// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

extension FlowCache {
    fileprivate func found(_ hash: UInt64, _ key: Key) -> Int? { flow(hash, key).map { index(of: $0) } }
}

@Suite struct FlowCacheTests {
    private let memory = TestMemory()

    /// The key of some packet.
    private func makeKey(_ seed: UInt16 = 0) -> FlowKey {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        defer { bytes.deallocate() }
        let length = writeUDP(
            Bytes(bytes), to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0001, 0x0A00_0002, sourcePort: seed)
        return FlowKey(
            Bytes(bytes), readable: length - 14, port: 0x1005, vsid: 0x1005, outer: 0x1122_3344_5566_7788)
    }

    private func remember(_ cache: FlowCache<FlowKey>, _ index: Int, _ hash: UInt64, _ key: FlowKey, scope: UInt32) {
        cache.put(key, hash, at: index, FlowState(stamp: 1, result: scope &+ 1, bytes: 60))
        cache.gained(scope)
    }

    /// In these tests the transposition of an entry is the number of its tenant.
    private func scope(_ cache: FlowCache<FlowKey>, _ index: Int) -> UInt32 { cache.entries[index].state.transposition &- 1 }

    private func place(
        _ cache: FlowCache<FlowKey>, _ hash: UInt64, scope: UInt32, stale: Set<Int> = []
    ) -> FlowCache<FlowKey>.Placement {
        cache.place(hash, scope: scope) { flow in
            let index = (0...cache.mask).first { cache.state($0).address == flow.address } ?? 0
            return stale.contains(index) ? nil : self.scope(cache, index)
        }
    }

    @Test func aKeyIsFortyBytes() {
        #expect(MemoryLayout<FlowKey>.size == 40)
        #expect(MemoryLayout<FlowEntry<FlowKey>>.stride == 64)
        #expect(MemoryLayout<WideFlowKey>.size == 104)
        #expect(MemoryLayout<FlowEntry<WideFlowKey>>.stride == 128)
    }

    /// A key that differs in a single bit is another flow: nothing is compared by fingerprint.
    @Test func everyBitCounts() throws {
        let cache = try #require(FlowCache<FlowKey>(memory.ref, capacity: 64))
        let key = makeKey()
        let hash: UInt64 = 0x0123_4567_89AB_CDEF
        remember(cache, Int(hash) & cache.mask, hash, key, scope: 1)
        #expect(cache.found(hash, key) != nil)
        for bit in 0..<320 {
            var other = key
            withUnsafeMutableBytes(of: &other) { $0[bit / 8] ^= 1 << UInt8(bit & 7) }
            // Even when the hash is the same.
            #expect(cache.found(hash, other) == nil)
            #expect(!(other == key))
        }
        cache.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// What is in the packet, byte for byte: a change in any byte of the headers that a decision may depend on
    /// changes the key.
    @Test func everyHeaderFieldIsInTheKey() {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        defer { bytes.deallocate() }
        let frame = Bytes(bytes)
        _ = writeUDP(frame, to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0001, 0x0A00_0002)
        func key(port: UInt32 = 5, vsid: UInt32 = 5, outer: UInt64 = 0) -> FlowKey {
            FlowKey(frame, readable: 46, port: port, vsid: vsid, outer: outer)
        }
        let original = key()
        // MAC addresses; protocol; addresses; ports.
        for offset in Array(0..<12) + [23] + Array(26..<38) {
            frame[offset] ^= 0x40
            #expect(!(key() == original), "byte \(offset)")
            frame[offset] ^= 0x40
        }
        // A first fragment is not the unfragmented packet, a later one has no ports.
        frame[20] = 0x20
        let first = key()
        #expect(!(first == original))
        frame[36] ^= 1
        #expect(key() == first)
        frame[36] ^= 1
        frame[20] = 0
        // TTL, identification, checksum and payload are not part of a flow.
        for offset in [15, 18, 22, 24, 40] {
            frame[offset] ^= 1
            #expect(key() == original, "byte \(offset)")
            frame[offset] ^= 1
        }
        #expect(!(key(port: 6) == original))
        for bit in 0..<24 as Range<UInt32> { #expect(!(key(vsid: 5 ^ 1 << bit) == original), "VSID bit \(bit)") }
        #expect(!(key(outer: 1) == original))
    }

    /// The common packet's key is loaded as a whole; it is the key that is put together field by field.
    @Test func plainKeysAreTheSame() {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 128)
        defer { bytes.deallocate() }
        let (frame, tunnel) = (Bytes(bytes), Bytes(bytes + 64))
        var random = SeededGenerator(11)
        for _ in 0..<1000 {
            let length = writeUDP(
                frame, to: random.next() >> 16, from: random.next() >> 16, UInt32(random.below(1 << 32)),
                UInt32(random.below(1 << 32)), sourcePort: UInt16(random.below(65536)))
            frame[22] = UInt8(random.below(256))
            frame[23] = random.below(2) == 0 ? 6 : 17
            frame.store(UInt16(random.below(65536)), at: 24)
            #expect(IPv4Header.isPlain(frame, available: length - 14))
            let port = UInt32(random.below(1 << 31))
            let plain = FlowKey(plain: frame, port: port, tunnel: nil)
            let general = FlowKey(frame, readable: length - 14, port: port, vsid: 0, outer: 0)
            #expect(plain == general)
            // In a tunnel: addresses at 12, and behind the header GRE with VSID and FlowID at 24.
            for offset in 0..<28 { tunnel[offset] = UInt8(random.below(256)) }
            let inside = FlowKey(plain: frame, port: port, tunnel: tunnel)
            let (vsid, outer) = (tunnel.u32(24) >> 8, tunnel.raw64(12))
            #expect(inside == FlowKey(frame, readable: length - 14, port: port, vsid: vsid, outer: outer))
            #expect(!(inside == general))
            #expect(plain.flowID == general.flowID)
        }
    }

    /// A free line first; then a stale one of four; then of the four the tenant that holds most makes room.
    @Test func placement() throws {
        let cache = try #require(FlowCache<FlowKey>(memory.ref, capacity: 64))
        // Both homes of this hash are different groups of four lines.
        let hash: UInt64 = 0x0000_0014_0000_0008
        var lines: [Int] = []
        for number in 0..<8 as Range<UInt16> {
            guard case .free(let index) = place(cache, hash, scope: 1) else {
                Issue.record("no free line")
                return
            }
            lines.append(index)
            remember(cache, index, hash, makeKey(number), scope: UInt32(number < 6 ? 1 : 2))
        }
        #expect(Set(lines) == Set([8, 9, 10, 11, 20, 21, 22, 23]))
        for number in 0..<8 as Range<UInt16> { #expect(cache.found(hash, makeKey(number)) == lines[Int(number)]) }
        #expect(cache.found(hash, makeKey(99)) == nil)

        // Four are looked at, from the one on that the upper bits of the hash say.
        for (first, expected) in [(0, 3), (2, 5), (4, 5), (5, 5), (7, 1)] {
            guard case .stale(let stale) = place(cache, hash | UInt64(first) << 60, scope: 1, stale: [lines[expected]]) else {
                Issue.record("not the stale line")
                return
            }
            #expect(stale == lines[expected])
        }
        guard case .evict = place(cache, hash, scope: 1, stale: [lines[5]]) else {
            Issue.record("the stale line")
            return
        }

        // Tenant 1 holds six, tenant 2 two: whoever comes, tenant 1 makes room.
        for newcomer in [1, 2, 3] as [UInt32] {
            guard case .evict(let victim) = place(cache, hash, scope: newcomer) else {
                Issue.record("no victim")
                return
            }
            #expect(scope(cache, victim) == 1)
        }
        // A tenant that holds more than any in the set is not remembered here.
        for _ in 0..<7 { cache.gained(3) }
        guard case .suppressed = place(cache, hash, scope: 3) else {
            Issue.record("not suppressed")
            return
        }
        // With as many as the largest it is.
        cache.lost(3)
        guard case .evict = place(cache, hash, scope: 3) else {
            Issue.record("suppressed with an equal share")
            return
        }
        cache.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Flows come and go, many of them with the same first line: each is found as long as it is there, wherever it stands, and a
    /// line says nothing of flows that are gone.
    @Test(arguments: [UInt64(1), 2, 3])
    func displacedFlows(_ seed: UInt64) throws {
        let cache = try #require(FlowCache<FlowKey>(memory.ref, capacity: 64))
        var random = SeededGenerator(seed)
        // Four first lines, and as many others: far more flows than fit, and counts that reach their end.
        let hashes = (0..<2000).map { _ in UInt64(random.below(4) * 9) | UInt64(random.below(64)) << 32 | UInt64(random.below(16)) << 60 }
        let keys = (0..<2000).map { makeKey(UInt16($0)) }
        var lines: [Int: Int] = [:]
        for _ in 0..<20000 {
            let number = Int(random.below(2000))
            if let index = lines[number] {
                cache.lost(1)
                cache.clear(index, hashes[number])
                lines[number] = nil
            } else if case .free(let index) = place(cache, hashes[number], scope: 1) {
                remember(cache, index, hashes[number], keys[number], scope: 1)
                lines[number] = index
            }
            let other = Int(random.below(2000))
            #expect(cache.found(hashes[other], keys[other]) == lines[other])
            #expect(cache.found(hashes[number], keys[number]) == lines[number])
        }
        #expect(lines.count > 8)
        for (number, index) in lines { cache.clear(index, hashes[number]) }
        // What was counted too often to be known is not forgotten, and costs a look.
        for index in 0...cache.mask {
            let displaced = cache.state(index).value.displaced
            #expect(displaced == 0 || displaced == 31 << 3)
            #expect(cache.state(index).value.isFree)
        }
        cache.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// What a flow counts is its own, and what a line knows the line's.
    @Test func packetsAndBytes() throws {
        let cache = try #require(FlowCache<FlowKey>(memory.ref, capacity: 64))
        let hash: UInt64 = 5
        remember(cache, 5, hash, makeKey(1), scope: 1)
        remember(cache, 4, hash, makeKey(2), scope: 1)
        cache.state(5).value.countPacket()
        cache.state(5).value.countBytes(1500)
        #expect(cache.state(5).value.packets == 2)
        #expect(cache.state(5).value.bytes == 1560)
        #expect(cache.state(5).value.displaced == 1)
        cache.clear(5, hash)
        remember(cache, 5, hash, makeKey(3), scope: 1)
        #expect(cache.state(5).value.packets == 1)
        #expect(cache.found(hash, makeKey(2)) == 4)
        cache.clear(4, hash)
        #expect(cache.state(5).value.displaced == 0)
        cache.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// An entry that was given up is not found, and is free.
    @Test func freeEntriesAreNotFound() throws {
        let cache = try #require(FlowCache<FlowKey>(memory.ref, capacity: 64))
        let hash: UInt64 = 5
        remember(cache, 5, hash, makeKey(), scope: 1)
        cache.clear(5, hash)
        #expect(cache.found(hash, makeKey()) == nil)
        guard case .free(5) = place(cache, hash, scope: 1) else {
            Issue.record("not free")
            return
        }
        cache.destroy(memory.ref)
    }

    @Test func withoutMemory() {
        for credit in 0..<2 {
            memory.allocator.credit = credit
            #expect(FlowCache<FlowKey>(memory.ref, capacity: 64) == nil)
            #expect(memory.isClean)
        }
    }

    // MARK: - In a worker

    /// A tenant that sends nothing but new flows displaces its own: the other tenant's flows stay.
    @Test func aFloodDisplacesItsOwn() {
        let dataplane = TestDataplane()
        var ports: [UInt32] = []
        for vsid in [5001, 5002] as [UInt32] {
            ports.append(dataplane.add(vmPort(vsid, 0x0060_0000_0001)))
            _ = dataplane.add(vmPort(vsid, 0x0060_0000_0002))
        }
        let worker = TestWorker(dataplane, flows: 256)
        func send(_ tenant: Int, _ flow: Int) {
            worker.add(port: ports[tenant]) {
                writeUDP(
                    $0, to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0001, 0x0A00_0002, sourcePort: UInt16(flow)
                )
            }
        }
        func victims() {
            for first in stride(from: 0, to: 64, by: 32) {
                for flow in first..<first + 32 { send(0, flow) }
                worker.process()
            }
        }
        victims()
        for round in 0..<40 {
            for flow in 0..<50 { send(1, 100 + round * 50 + flow) }
            worker.process()
        }
        let before = dataplane.stats
        victims()
        let after = dataplane.stats
        // All but those that were in a full set while their own tenant still held most.
        #expect(after.flow_hits - before.flow_hits >= 60)
        #expect(after.flow_entries <= 256)
        #expect(after.flow_evictions + after.flow_suppressed > 1000)
        #expect(after.dropped == 0)
        worker.destroy()
        #expect(dataplane.stats.flow_entries == 0)
        dataplane.destroy()
    }

    /// Hits and misses are what they should be, and a change of one VM network costs another nothing.
    @Test func changesInvalidateTheirScopeAlone() {
        let dataplane = TestDataplane()
        var ports: [UInt32] = []
        for vsid in [5001, 5002] as [UInt32] {
            ports.append(dataplane.add(vmPort(vsid, 0x0060_0000_0001)))
            _ = dataplane.add(vmPort(vsid, 0x0060_0000_0002))
        }
        let worker = TestWorker(dataplane)
        func burst() -> (hits: UInt64, misses: UInt64) {
            let before = dataplane.stats
            for port in ports {
                worker.add(port: port) {
                    writeUDP($0, to: 0x0060_0000_0002, from: 0x0060_0000_0001, 0x0A00_0001, 0x0A00_0002)
                }
            }
            #expect(worker.process().count == 2)
            let after = dataplane.stats
            return (after.flow_hits - before.flow_hits, after.flow_misses - before.flow_misses)
        }
        #expect(burst() == (0, 2))
        #expect(burst() == (2, 0))
        dataplane.add(record(5001, 0x0A00_0009, 0x0060_0000_0009, 0xC0A8_0009))
        // The first record of a provider address concerns everyone, the second only its virtual subnet.
        #expect(burst() == (0, 2))
        dataplane.add(record(5001, 0x0A00_000A, 0x0060_0000_000A, 0xC0A8_0009))
        #expect(burst() == (1, 1))
        dataplane.add(customerRoute(7, 5002, prefix(0x0B00_0000, 8)))
        #expect(burst() == (1, 1))
        _ = dataplane.add(providerPort())
        #expect(burst() == (0, 2))
        #expect(burst() == (2, 0))
        worker.destroy()
        dataplane.destroy()
    }
}
