// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct IndexTableTests {
    private func spread(_ value: Int) -> UInt64 {
        var generator = SeededGenerator(UInt64(value))
        return generator.next()
    }

    private func insert(_ table: IndexTable, _ memory: TestMemory, _ value: Int, hash: UInt64? = nil) -> Bool {
        guard table.reserve(memory.ref) else { return false }
        table.insert(hash ?? spread(value), UInt32(value))
        return true
    }

    private func find(_ table: IndexTable, _ value: Int, hash: UInt64? = nil) -> Bool {
        table.find(hash ?? spread(value)) { $0 == UInt32(value) } == UInt32(value)
    }

    @Test func findsWhatWasInserted() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        // Through many rebuilds: 64 slots grow beyond 16,384.
        for value in 0..<10_000 {
            #expect(insert(table, memory, value))
            if value & 0xFF == 0 { memory.ref.value.releaseRetired() }
        }
        #expect(table.count == 10_000)
        #expect((0..<10_000).allSatisfy { find(table, $0) })
        #expect((10_000..<20_000).allSatisfy { !find(table, $0) })
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func againstASet() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        var random = SeededGenerator(2)
        var present: Set<Int> = []
        for _ in 0..<50_000 {
            let value = random.below(500)
            if present.contains(value) {
                table.remove(spread(value), UInt32(value))
                present.remove(value)
            } else {
                #expect(insert(table, memory, value))
                present.insert(value)
            }
            memory.ref.value.releaseRetired()
        }
        #expect(table.count == present.count)
        for value in 0..<500 { #expect(find(table, value) == present.contains(value)) }
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Entries with one hash are told apart by the caller, and each can be removed.
    @Test func equalHashes() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        // All ones is also the mark of a removed entry in its upper half.
        for hash in [UInt64(0), .max, 0xFFFF_FFFF_0000_0000, 77] {
            for value in 0..<100 { #expect(insert(table, memory, value, hash: hash)) }
            #expect((0..<100).allSatisfy { find(table, $0, hash: hash) })
            var seen: [UInt32] = []
            _ = table.find(hash) {
                seen.append($0)
                return false
            }
            #expect(seen.sorted() == (0..<100).map { UInt32($0) })
            for value in stride(from: 0, to: 100, by: 2) { table.remove(hash, UInt32(value)) }
            for value in 0..<100 { #expect(find(table, value, hash: hash) == (value & 1 == 1)) }
            for value in stride(from: 1, to: 100, by: 2) { table.remove(hash, UInt32(value)) }
            #expect(table.count == 0)
        }
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// A table of constant size does not grow, however much comes and goes: removed marks are reused or cleaned up.
    @Test func removedMarksAreReused() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 32))
        for value in 0..<20 { #expect(insert(table, memory, value)) }
        let held = memory.ref.value.held
        for value in 20..<100_000 {
            table.remove(spread(value - 20), UInt32(value - 20))
            #expect(insert(table, memory, value))
            memory.ref.value.releaseRetired()
        }
        #expect(memory.ref.value.held == held)
        #expect((99_980..<100_000).allSatisfy { find(table, $0) })
        #expect(!find(table, 5))
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func removingWhatIsNotThere() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        #expect(insert(table, memory, 1))
        table.remove(spread(2), 2)
        table.remove(spread(1), 2)
        #expect(table.count == 1)
        #expect(find(table, 1))
        table.destroy(memory.ref)
    }

    /// Without memory `reserve` refuses and nothing changes; with memory again it goes on.
    @Test func reserveWithoutMemory() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        memory.allocator.credit = 0
        var value = 0
        while insert(table, memory, value) { value += 1 }
        #expect(value == 48)  // three quarters of 64
        #expect((0..<48).allSatisfy { find(table, $0) })
        #expect(table.count == 48)
        memory.allocator.credit = .max
        #expect(insert(table, memory, value))
        #expect((0...48).allSatisfy { find(table, $0) })
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func creationWithoutMemory() {
        for credit in 0..<2 {
            let memory = TestMemory()
            memory.allocator.credit = credit
            #expect(IndexTable(memory.ref, capacity: 0) == nil)
            #expect(memory.isClean)
        }
    }

    /// A replaced array stays readable until what is retired is released.
    @Test func retiredArraysAreHeld() throws {
        let memory = TestMemory()
        let table = try #require(IndexTable(memory.ref, capacity: 0))
        let before = memory.allocator.liveBlocks
        for value in 0..<1000 { #expect(insert(table, memory, value)) }
        #expect(memory.allocator.liveBlocks > before)
        memory.ref.value.releaseRetired()
        #expect(memory.allocator.liveBlocks == before)
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }
}
