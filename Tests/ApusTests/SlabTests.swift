// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct SlabTests {
    @Test func numbersAndPlaces() throws {
        let memory = TestMemory()
        let slab = try #require(Slab<UInt64>(memory.ref))
        var places: [UInt] = []
        // Beyond one leaf of 65,536.
        for number in 0..<70_000 {
            let given = try #require(slab.append(memory.ref))
            #expect(given == UInt32(number))
            #expect(slab[given].value == 0)
            slab[given].value = UInt64(number) &* 3
            places.append(slab[given].address)
        }
        #expect(slab.count == 70_000)
        #expect(Set(places).count == 70_000)
        for number in 0..<70_000 {
            #expect(slab[UInt32(number)].address == places[number])
            #expect(slab[UInt32(number)].value == UInt64(number) &* 3)
        }
        slab.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// A failed allocation gives no number and loses none.
    @Test func withoutMemory() throws {
        let memory = TestMemory()
        memory.allocator.credit = 0
        #expect(Slab<UInt64>(memory.ref) == nil)
        memory.allocator.credit = 1
        let slab = try #require(Slab<UInt64>(memory.ref))
        #expect(slab.append(memory.ref) == nil)
        memory.allocator.credit = 1
        #expect(slab.append(memory.ref) == nil)
        memory.allocator.credit = 1
        for number in 0..<256 { #expect(slab.append(memory.ref) == UInt32(number)) }
        #expect(slab.append(memory.ref) == nil)
        #expect(slab.count == 256)
        memory.allocator.credit = .max
        #expect(slab.append(memory.ref) == 256)
        slab.destroy(memory.ref)
        #expect(memory.isClean)
    }
}
