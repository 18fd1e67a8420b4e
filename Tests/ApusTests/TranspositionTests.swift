// SPDX-License-Identifier: Apache-2.0

import CApus
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
        #expect(MemoryLayout<Transposition>.size == 192)
        #expect(MemoryLayout<Transposition>.offset(of: \.gained) == Transposition.gainedOffset)
        #expect(MemoryLayout<Transposition>.offset(of: \.lost) == Transposition.lostOffset)
        #expect(MemoryLayout<Transposition>.offset(of: \.header) == Transposition.headerOffset)
        #expect(MemoryLayout<Transposition>.offset(of: \.hash) == Transposition.resultOffset + Transposition.resultSize)
        #expect(Transposition.resultSize % 16 == 8)
        // What packets need that get no header is in one cache line, and so is the header of IPv4.
        #expect(MemoryLayout<Transposition>.offset(of: \.neighbor) == 64)
        #expect(Transposition.headerOffset + Transposition.headerRoom - Transposition.headerRoomIPv4 == 128)
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

    private func transposition(
        _ kind: Transposition.Kind, isRouted: Bool = false, _ bits: UInt8..., headerLength: UInt8 = 0
    ) -> Transposition {
        var transposition = Transposition(kind, scope: 1)
        transposition.isRouted = isRouted ? 1 : 0
        transposition.headerLength = headerLength
        transposition.egress = 4098
        for bit in bits { transposition.variant.set(bit) }
        return transposition
    }

    /// Each packet's way through the hit path, in one byte: what is common by itself, everything else together.
    @Test func operations() {
        typealias Variant = Transposition.Variant
        typealias Operation = Transposition.Operation
        func operation(_ kind: Transposition.Kind, isRouted: Bool = false, _ bit: UInt8 = 0, _ other: UInt8 = 0) -> Operation {
            Operation(kind, transposition(kind, bit, other).variant, isRouted: isRouted)
        }
        #expect(operation(.encapsulate) == .encapsulate)
        #expect(operation(.decapsulate) == .decapsulate)
        for isRouted in [false, true] {
            for isIPv6 in [false, true] {
                for kind in [Transposition.Kind.encapsulate, .decapsulate, .deliver] {
                    let operation = operation(kind, isRouted: isRouted, isIPv6 ? Variant.ipv6 : 0)
                    #expect(operation.encapsulates == (kind == .encapsulate))
                    #expect(operation.decapsulates == (kind == .decapsulate))
                    #expect(operation.delivers == (kind == .deliver))
                    #expect(operation.isRouted == (isRouted && kind != .decapsulate))
                    #expect(operation.isIPv6 == isIPv6)
                }
            }
        }
        for bit in [Variant.outerIPv6, Variant.vxlan, Variant.draftKey, Variant.pipe, Variant.hidesECN, Variant.copiesDF, Variant.uniform] {
            for kind in [Transposition.Kind.encapsulate, .decapsulate] {
                #expect(operation(kind, bit) == .other)
                #expect(operation(kind, Variant.ipv6, bit) == .other)
            }
        }
        for kind in [Transposition.Kind.drop, .rewrite, .gateway, .copyOut, .copyIn, .leave] { #expect(operation(kind) == .other) }
    }

    /// What the hit path would have to put together for each packet.
    @Test func preparation() throws {
        let counters = try #require(PortCounters(memory.ref))
        func prepared(_ kind: Transposition.Kind, isRouted: Bool = false) -> Transposition {
            var transposition = transposition(kind, isRouted: isRouted, headerLength: 42)
            transposition.prepare(counters)
            return transposition
        }
        for kind in [Transposition.Kind.encapsulate, .decapsulate, .deliver] {
            for isRouted in [false, true] {
                let result = prepared(kind, isRouted: isRouted)
                #expect(result.transmitted == counters.address(of: 4098, .transmitted))
                #expect(result.way.port == 4098)
                #expect(result.way.flags == (kind == .encapsulate ? UInt32(APUS_FRAME_ENCAPSULATED) : 0))
                #expect(result.counts.encapsulated == (kind == .encapsulate ? 1 : 0))
                #expect(result.counts.decapsulated == (kind == .decapsulate ? 1 : 0))
                #expect(result.counts.routed == (kind != .decapsulate && isRouted ? 1 : 0))
                #expect(result.counts.switched == (kind == .deliver && !isRouted ? 1 : 0))
                #expect(!transposition(kind, isRouted: isRouted).isPrepared)
                if kind != .decapsulate {
                    var other = result
                    #expect(other.isPrepared)
                    other.isRouted = isRouted ? 0 : 1
                    #expect(!other.isPrepared)
                }
                // The same as of a frame that is moved by itself.
                for (contiguous, headroom) in [(64, 100), (0xFFFF, 48), (0xFFF0, 42), (192, 0xFFFF), (60, 0xFFE0)] as [(UInt16, UInt16)] {
                    var frame = Frame(
                        address: 4096, buffer: 0, length: 60, contiguous: contiguous, headroom: headroom, port: 1, flags: 0)
                    let place = Ref<Transposition>(.allocate(capacity: 1))
                    defer { place.pointer.deallocate() }
                    place.initialize(to: result)
                    let moved = place.moved(frame.space)
                    if kind == .encapsulate { frame.push(42) }
                    if kind == .decapsulate { frame.pop(42) }
                    #expect(moved.contiguous == frame.contiguous && moved.headroom == frame.headroom)
                }
            }
        }
        var sum = Transposition.PacketCounts()
        for _ in 0..<64 { sum += prepared(.encapsulate, isRouted: true).counts }
        #expect((sum.encapsulated, sum.decapsulated, sum.routed, sum.switched) == (64, 0, 64, 0))
        counters.destroy(memory.ref)
    }

    /// Every byte of the result counts, the bookkeeping behind it does not.
    @Test func equality() throws {
        var table = try #require(TranspositionTable(memory.ref, capacity: 256, key: memory.key))
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
        let result = Transposition.resultOffset..<Transposition.resultOffset + Transposition.resultSize
        for offset in result where offset != kind {
            bytes[offset] ^= 0x80
            others.insert(try add())
            bytes[offset] ^= 0x80
        }
        place.value.kind = .gateway
        others.insert(try add())
        place.value.kind = .deliver
        #expect(others.count == result.count)
        #expect(!others.contains(number))
        place.value.neighborEpoch = 99
        place.value.references = 77
        place.value.hash = 5
        (place.value.mtu, place.value.overhead) = (1400, 42)
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
