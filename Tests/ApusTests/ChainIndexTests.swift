// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct ChainIndexTests {
    /// A chain with the key `number / 100`, in the order of numbers when `sorted`, else the newest first.
    private func insert(_ index: ChainIndex, _ memory: TestMemory, _ number: Int, sorted: Bool) -> Bool {
        guard index.reserve(memory.ref, UInt32(number)) else { return false }
        index.insert(
            hash(number), UInt32(number), { Int($0) / 100 == number / 100 }, { sorted && Int($0) < number })
        return true
    }

    private func hash(_ number: Int) -> UInt64 {
        var generator = SeededGenerator(UInt64(number / 100))
        return generator.next()
    }

    private func chain(_ index: ChainIndex, _ key: Int) -> [Int] {
        var numbers: [Int] = []
        _ = index.find(hash(key * 100), { Int($0) / 100 == key }) {
            numbers.append(Int($0))
            return false
        }
        return numbers
    }

    /// Random use against arrays, in both orders.
    @Test(arguments: [false, true]) func againstArrays(sorted: Bool) throws {
        let memory = TestMemory()
        let index = try #require(ChainIndex(memory.ref, capacity: 0))
        var random = SeededGenerator(sorted ? 3 : 4)
        var chains: [Int: [Int]] = [:]
        for step in 0..<20_000 {
            let number = random.below(3_000)
            let key = number / 100
            var expected = chains[key] ?? []
            if let place = expected.firstIndex(of: number) {
                index.remove(hash(number), UInt32(number))
                expected.remove(at: place)
            } else {
                #expect(insert(index, memory, number, sorted: sorted))
                expected.insert(number, at: sorted ? expected.firstIndex { $0 > number } ?? expected.count : 0)
            }
            chains[key] = expected
            #expect(chain(index, key) == expected)
            if step & 0xFF == 0 { memory.ref.value.releaseRetired() }
        }
        for key in 0..<30 { #expect(chain(index, key) == chains[key] ?? []) }
        index.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Who stands on an entry that is removed still finds the end.
    @Test func removedEntriesLeadOn() throws {
        let memory = TestMemory()
        let index = try #require(ChainIndex(memory.ref, capacity: 0))
        for number in 0..<4 { #expect(insert(index, memory, number, sorted: true)) }
        var seen: [UInt32] = []
        _ = index.find(hash(0), { $0 < 100 }) {
            seen.append($0)
            if $0 == 1 { index.remove(hash(0), 1) }
            return false
        }
        #expect(seen == [0, 1, 2, 3])
        #expect(chain(index, 0) == [0, 2, 3])
        index.destroy(memory.ref)
        #expect(memory.isClean)
    }
}

@Suite struct EventRingTests {
    private func note(_ number: Int) -> Note {
        Note(
            kind: .seen, port: 1, vsid: UInt32(number), ca: IPAddress(v4: 1), mac: MACAddress(2), pa: IPAddress(v4: 3))
    }

    @Test func firstInFirstOutAndBounded() throws {
        let memory = TestMemory()
        let ring = try #require(EventRing(memory.ref))
        for round in 0..<5 {
            for number in 0..<256 {
                #expect(ring.put(note(round * 1000 + number)))
                #expect(ring.endsWith(note(round * 1000 + number)))
                #expect(!ring.endsWith(note(round * 1000 + number + 1)))
            }
            #expect(!ring.put(note(0)))
            #expect(ring.count == 256)
            for number in 0..<256 {
                #expect(ring.first.map { $0 == note(round * 1000 + number) } ?? false)
                ring.removeFirst()
            }
            #expect(ring.count == 0)
            // What has been taken is not the last thing any more.
            #expect(!ring.endsWith(note(round * 1000 + 255)))
        }
        ring.destroy(memory.ref)
        #expect(memory.isClean)
    }
}
