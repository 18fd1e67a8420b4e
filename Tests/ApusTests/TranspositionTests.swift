// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct TranspositionTests {
    private let memory = TestMemory()

    private func candidate(_ egress: UInt32) -> Ref<Transposition> {
        let place = Ref<Transposition>(.allocate(capacity: 1))
        place.initialize(to: Transposition(.deliver, scope: 1))
        place.value.egress = egress
        return place
    }

    private func intern(_ table: inout TranspositionTable, _ egress: UInt32) -> Int? {
        let place = candidate(egress)
        defer { place.pointer.deallocate() }
        return table.intern(place)
    }

    @Test func layout() {
        #expect(MemoryLayout<Transposition>.stride == 192)
        #expect(MemoryLayout<Transposition>.offset(of: \.header) == 0)
        #expect(MemoryLayout<Transposition>.offset(of: \.neighborEpoch) == Transposition.comparedBytes)
        // What the hit path reads is in two cache lines.
        #expect(MemoryLayout<Transposition>.offset(of: \.operation) == 124)
    }

    /// What flows remember of a transposition fits 24 bits, is never 0, and leads back to it.
    @Test func offsets() throws {
        let table = try #require(TranspositionTable(memory.ref, capacity: 65536, key: memory.key))
        for number in [0, 1, 2, 4095, 65534, 65535] {
            let offset = TranspositionTable.offset(of: number)
            #expect(offset > 0 && offset <= 0xFF_FFFF)
            #expect(TranspositionTable.number(of: offset) == number)
            #expect(table.place(at: offset).address == table.place(of: number).address)
        }
        table.destroy(memory.ref)
    }

    /// Each packet's way through the hit path, in one byte: what is common by itself, everything else together.
    @Test func operations() {
        typealias Variant = Transposition.Variant
        func operation(_ kind: Transposition.Kind, isRouted: Bool = false, _ bits: UInt8...) -> Transposition.Operation {
            var transposition = Transposition(kind, scope: 1)
            transposition.isRouted = isRouted ? 1 : 0
            for bit in bits { transposition.variant.set(bit) }
            return Transposition.Operation(transposition)
        }
        #expect(operation(.encapsulate) == .encapsulate)
        #expect(operation(.encapsulate, isRouted: true) == .encapsulateRouted)
        #expect(operation(.encapsulate, Variant.ipv6) == .encapsulateIPv6)
        #expect(operation(.encapsulate, isRouted: true, Variant.ipv6) == .other)
        #expect(operation(.decapsulate) == .decapsulate)
        #expect(operation(.decapsulate, Variant.ipv6) == .decapsulateIPv6)
        #expect(operation(.deliver) == .deliver)
        #expect(operation(.deliver, Variant.ipv6) == .deliver)
        #expect(operation(.deliver, isRouted: true) == .other)
        for bit in [Variant.outerIPv6, Variant.vxlan, Variant.draftKey, Variant.pipe, Variant.hidesECN, Variant.copiesDF, Variant.uniform] {
            for kind in [Transposition.Kind.encapsulate, .decapsulate] {
                #expect(operation(kind, bit) == .other)
                #expect(operation(kind, Variant.ipv6, bit) == .other)
            }
        }
        for kind in [Transposition.Kind.drop, .rewrite, .gateway, .copyOut, .copyIn, .leave] { #expect(operation(kind) == .other) }
    }

    /// Every byte of the result counts, the bookkeeping behind it does not.
    @Test func equality() throws {
        var table = try #require(TranspositionTable(memory.ref, capacity: 128, key: memory.key))
        let place = candidate(7)
        defer { place.pointer.deallocate() }
        place.value.outerIdentity = 0x1234
        func add() throws -> Int {
            let number = table.intern(place)
            return try #require(number)
        }
        let number = try add()
        #expect(try add() == number)
        let bytes = place.raw.assumingMemoryBound(to: UInt8.self)
        var others: Set<Int> = []
        // The kind is an enumeration: its byte is changed through its cases.
        let kind = try #require(MemoryLayout<Transposition>.offset(of: \.kind))
        for offset in 0..<Transposition.comparedBytes where offset != kind {
            bytes[offset] ^= 0x80
            others.insert(try add())
            bytes[offset] ^= 0x80
        }
        place.value.kind = .gateway
        others.insert(try add())
        place.value.kind = .deliver
        #expect(others.count == Transposition.comparedBytes)
        #expect(!others.contains(number))
        place.value.neighborEpoch = 99
        place.value.references = 77
        place.value.hash = 5
        place.value.operation = .deliver
        #expect(try add() == number)
        #expect(table[number].references == 3)
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// Random use against a dictionary, through many rebuilds of the index.
    @Test func againstADictionary() throws {
        var table = try #require(TranspositionTable(memory.ref, capacity: 64, key: memory.key))
        var counts: [UInt32: (number: Int, references: Int)] = [:]
        var random = SeededGenerator(6)
        for _ in 0..<60_000 {
            let egress = UInt32(random.below(100))
            if random.below(2) == 0 {
                let number = intern(&table, egress)
                if let known = counts[egress] {
                    #expect(number == known.number)
                    counts[egress]?.references += 1
                } else if counts.count < 64 {
                    let number = try #require(number)
                    #expect(!counts.values.contains { $0.number == number })
                    #expect(table[number].egress == egress)
                    counts[egress] = (number, 1)
                } else {
                    #expect(number == nil)
                }
            } else if let known = counts[egress] {
                table.release(known.number)
                counts[egress]?.references -= 1
                if known.references == 1 { counts[egress] = nil }
            }
        }
        for (egress, known) in counts {
            #expect(table[known.number].egress == egress)
            #expect(Int(table[known.number].references) == known.references)
        }
        table.destroy(memory.ref)
        #expect(memory.isClean)
    }

    @Test func full() throws {
        var table = try #require(TranspositionTable(memory.ref, capacity: 64, key: memory.key))
        func add(_ egress: UInt32) -> Int? { intern(&table, egress) }
        for egress in 0..<64 as Range<UInt32> { #expect(add(egress) != nil) }
        #expect(add(64) == nil)
        // What is there is still found, and one that goes makes room for one.
        let number = try #require(add(5))
        table.release(number)
        #expect(add(64) == nil)
        table.release(number)
        #expect(add(64) == number)
        #expect(add(65) == nil)
        table.destroy(memory.ref)
    }

    @Test func withoutMemory() {
        for credit in 0..<2 {
            memory.allocator.credit = credit
            #expect(TranspositionTable(memory.ref, capacity: 64, key: memory.key) == nil)
            #expect(memory.isClean)
        }
    }
}
