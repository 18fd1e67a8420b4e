// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct HeldQueueTests {
    private func frame(_ number: Int) -> Frame {
        Frame(address: 0, buffer: UInt(number), length: 60, contiguous: 60, headroom: 96, port: 1, flags: 0)
    }

    /// Take a whole chain.
    private func drain(_ queue: inout HeldQueue, _ index: Int) -> [Int] {
        var link = queue.end(index)
        var numbers: [Int] = []
        while let next = queue.next(&link) { numbers.append(Int(next.frame.buffer)) }
        return numbers
    }

    /// Random use against arrays: first in, first out for each next hop; bounded in all.
    @Test func againstArrays() throws {
        let memory = TestMemory()
        var queue = try #require(HeldQueue(memory.ref, capacity: 20))
        let transposition = Ref<Transposition>(.allocate(capacity: 1))
        transposition.initialize(to: Transposition(.encapsulate, scope: 0))
        defer { transposition.pointer.deallocate() }
        var expected: [(neighbor: UInt32, frames: [Int])] = []
        var random = SeededGenerator(5)
        for step in 1..<20_000 {
            let neighbor = UInt32(random.below(6))
            if random.below(3) != 0, !queue.isFull {
                let index = queue.find(neighbor) ?? queue.begin(neighbor, IPAddress(v4: 0), behind: 0, transposition)
                queue.append(frame(step), to: index)
                if let known = expected.firstIndex(where: { $0.neighbor == neighbor }) {
                    expected[known].frames.append(step)
                } else {
                    expected.append((neighbor, [step]))
                }
            } else if let index = queue.find(neighbor) {
                let known = try #require(expected.firstIndex { $0.neighbor == neighbor })
                #expect(drain(&queue, index) == expected[known].frames)
                expected.remove(at: known)
            }
            #expect(queue.waitingCount == expected.count)
            #expect(queue.count == expected.reduce(0) { $0 + $1.frames.count })
            for (index, waiting) in expected.enumerated() {
                #expect(queue.waiting(at: index).value.neighbor == waiting.neighbor)
                #expect(Int(queue.waiting(at: index).value.count) == waiting.frames.count)
            }
        }
        var left: Set<Int> = []
        var link = queue.endAll()
        while let next = queue.next(&link) { left.insert(Int(next.frame.buffer)) }
        #expect(left == Set(expected.flatMap(\.frames)))
        #expect(queue.count == 0)
        #expect(queue.waitingCount == 0)
        queue.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func fullAtCapacity() throws {
        let memory = TestMemory()
        var queue = try #require(HeldQueue(memory.ref, capacity: 3))
        let transposition = Ref<Transposition>(.allocate(capacity: 1))
        transposition.initialize(to: Transposition(.encapsulate, scope: 0))
        defer { transposition.pointer.deallocate() }
        // One packet for each of as many next hops as there are places.
        for number in 0..<3 {
            #expect(!queue.isFull)
            queue.append(frame(number), to: queue.begin(UInt32(number), IPAddress(v4: 0), behind: 0, transposition))
        }
        #expect(queue.isFull)
        #expect(drain(&queue, 1) == [1])
        #expect(!queue.isFull)
        #expect(queue.find(2) == 1)
        #expect(queue.find(1) == nil)
        queue.destroy(memory.ref)
    }

    @Test func withoutMemory() {
        for credit in 0..<2 {
            let memory = TestMemory()
            memory.allocator.credit = credit
            #expect(HeldQueue(memory.ref, capacity: 8) == nil)
            #expect(memory.isClean)
        }
    }
}
