// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Testing

@testable import Apus

/// Something to store: found by `id`, and by `group`, which many may share.
private struct Item: Versionable {
    var id: UInt32
    var group: UInt32
    var text: UInt64

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { apus_hash_words(UInt64(id), 0, 1, 0, key.pointer) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { apus_hash_words(UInt64(group), 0, 2, 0, key.pointer) }
}

@Suite struct VersionedTableTests {
    private let memory = TestMemory()

    private func makeTable() throws -> VersionedTable<Item> {
        try #require(VersionedTable<Item>(memory.ref, key: memory.key))
    }

    private func find(_ table: VersionedTable<Item>, _ id: UInt32, at version: UInt64) -> UInt64? {
        let hash = Item(id: id, group: 0, text: 0).primaryHash(memory.key)
        return table.find(hash, at: version) { table[$0].id == id }.map { table[$0].text }
    }

    private func members(_ table: VersionedTable<Item>, of group: UInt32, at version: UInt64) -> [UInt32] {
        var found: [UInt32] = []
        let hash = Item(id: 0, group: group, text: 0).secondaryHash(memory.key)
        table.visitSecondary(hash, at: version) {
            if table[$0].group == group { found.append(table[$0].id) }
        }
        return found.sorted()
    }

    @Test func visibilityByVersion() throws {
        let table = try makeTable()
        let first = try #require(table.insert(memory.ref, Item(id: 1, group: 9, text: 10), from: 5))
        table.kill(first, at: 7)
        let second = try #require(table.insert(memory.ref, Item(id: 1, group: 9, text: 20), from: 7))
        for (version, expected) in [(4, nil), (5, 10), (6, 10), (7, 20), (8, 20), (1000, 20)] as [(UInt64, UInt64?)] {
            #expect(find(table, 1, at: version) == expected)
            #expect(members(table, of: 9, at: version) == (expected == nil ? [] : [1]))
        }
        #expect(first != second)
        #expect(table.count == 2)
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func killAndRevive() throws {
        let table = try makeTable()
        let number = try #require(table.insert(memory.ref, Item(id: 1, group: 9, text: 10), from: 2))
        table.kill(number, at: 3)
        #expect(find(table, 1, at: 3) == nil)
        table.revive(number)
        #expect(find(table, 1, at: 3) == 10)
        #expect(find(table, 1, at: 1) == nil)
        table.destroy(memory.ref)
    }

    /// Born and dead in one version: never seen.
    @Test func neverSeen() throws {
        let table = try makeTable()
        let number = try #require(table.insert(memory.ref, Item(id: 1, group: 9, text: 10), from: 5))
        table.kill(number, at: 5)
        for version in 0..<10 as Range<UInt64> { #expect(find(table, 1, at: version) == nil) }
        table.destroy(memory.ref)
    }

    /// A number is given again after `recycle`, not after `unlink`.
    @Test func numbersAreReusedOnlyAfterRecycling() throws {
        let table = try makeTable()
        let old = try #require(table.insert(memory.ref, Item(id: 1, group: 9, text: 10), from: 1))
        table.kill(old, at: 2)
        table.unlink(old)
        #expect(table.count == 0)
        #expect(find(table, 1, at: 1) == nil)
        // A reader that still holds the number sees its old content.
        #expect(table[old].text == 10)
        #expect(!table.exists(old, at: 1))
        let other = try #require(table.insert(memory.ref, Item(id: 2, group: 9, text: 20), from: 3))
        #expect(other != old)
        #expect(table[old].text == 10)
        table.recycle(old)
        #expect(!table.exists(old, at: 0))
        #expect(!table.exists(old, at: 1))
        let reused = try #require(table.insert(memory.ref, Item(id: 3, group: 8, text: 30), from: 4))
        #expect(reused == old)
        #expect(find(table, 3, at: 4) == 30)
        #expect(find(table, 1, at: 4) == nil)
        #expect(members(table, of: 9, at: 4) == [2])
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// A free number does not exist in any version, whatever the free list keeps in it.
    @Test func freeNumbersDoNotExist() throws {
        let table = try makeTable()
        var numbers: [UInt32] = []
        for id in 0..<600 as Range<UInt32> {
            numbers.append(try #require(table.insert(memory.ref, Item(id: id, group: 0, text: 0), from: 1)))
        }
        for number in numbers {
            table.unlink(number)
            table.recycle(number)
        }
        for number in numbers {
            for version in [0, 1, 2, 300, 1 << 40, .max - 1] as [UInt64] { #expect(!table.exists(number, at: version)) }
        }
        // All come back, each once.
        var again: Set<UInt32> = []
        for id in 0..<600 as Range<UInt32> {
            again.insert(try #require(table.insert(memory.ref, Item(id: id, group: 0, text: 0), from: 2)))
        }
        #expect(again == Set(numbers))
        #expect(table.numbers == 600)
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Random changes against a list of (id, birth, death, text).
    @Test func againstAList() throws {
        struct Life {
            var number: UInt32
            var item: Item
            var birth: UInt64
            var death: UInt64
        }
        let table = try makeTable()
        var lives: [Life] = []
        var random = SeededGenerator(4)
        var version: UInt64 = 1
        for step in 0..<4000 {
            if random.below(4) == 0 { version += 1 }
            let id = UInt32(random.below(60))
            if let index = lives.firstIndex(where: { $0.item.id == id && $0.death == .max }) {
                table.kill(lives[index].number, at: version)
                lives[index].death = version
            } else {
                let item = Item(id: id, group: id % 7, text: UInt64(step))
                let number = try #require(table.insert(memory.ref, item, from: version))
                lives.append(Life(number: number, item: item, birth: version, death: .max))
            }
            if random.below(10) == 0 {
                for life in lives where life.death < version {
                    table.unlink(life.number)
                    table.recycle(life.number)
                }
                lives.removeAll { $0.death < version }
                memory.ref.value.releaseRetired()
            }
            if random.below(20) == 0 {
                for id in 0..<60 as Range<UInt32> {
                    let expected = lives.first { $0.item.id == id && $0.birth <= version && version < $0.death }
                    #expect(find(table, id, at: version) == expected?.item.text)
                }
                for group in 0..<7 as Range<UInt32> {
                    let expected = lives.filter {
                        $0.item.group == group && $0.birth <= version && version < $0.death
                    }
                    #expect(members(table, of: group, at: version) == expected.map(\.item.id).sorted())
                }
            }
        }
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Creation and insertion that fail at any allocation leave everything as it was.
    @Test func withoutMemory() throws {
        var credit = 0
        var table: VersionedTable<Item>?
        while table == nil {
            memory.allocator.credit = credit
            table = VersionedTable<Item>(memory.ref, key: memory.key)
            if table == nil { #expect(memory.isClean) }
            credit += 1
        }
        #expect(credit > 3)
        let made = try #require(table)
        var refusals = 0
        for id in 0..<2000 as Range<UInt32> {
            credit = 0
            while true {
                memory.allocator.credit = credit
                let before = made.count
                if made.insert(memory.ref, Item(id: id, group: id & 15, text: UInt64(id)), from: 1) != nil { break }
                #expect(made.count == before)
                #expect(find(made, id, at: 1) == nil)
                refusals += 1
                credit += 1
            }
        }
        #expect(refusals > 10)
        #expect((0..<2000 as Range<UInt32>).allSatisfy { find(made, $0, at: 1) == UInt64($0) })
        made.destroy(memory.ref)
        #expect(memory.isClean)
    }
}
