// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct ChecksumTests {
    /// The definition: one's-complement sum of big-endian words, folded until it fits (RFC 1071).
    private func reference(_ bytes: [UInt8]) -> UInt16 {
        var sum = 0
        for (index, byte) in bytes.enumerated() { sum += index & 1 == 0 ? Int(byte) << 8 : Int(byte) }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return UInt16(sum)
    }

    private func sum(_ bytes: [UInt8]) -> UInt16 {
        var copy = bytes
        return copy.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return Checksum.fold(Checksum.sum(Bytes(base), buffer.count))
        }
    }

    @Test func sumsOfAllLengths() {
        var random = SeededGenerator(1)
        for length in 1...300 {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            #expect(sum(bytes) == reference(bytes))
        }
        // The largest sum there can be: nothing may overflow.
        let full = [UInt8](repeating: 0xFF, count: 65535)
        #expect(sum(full) == reference(full))
    }

    /// The example of RFC 1071 section 3.
    @Test func exampleOfTheStandard() {
        #expect(sum([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == 0xDDF2)
    }

    /// RFC 1624: the update equals the full computation for every value of a word, including those around zero where
    /// the older equation of RFC 1141 fails. A header is never all zero, so 0x0000 and 0xFFFF cannot be confused.
    @Test func updatesOfEveryWord() {
        for (old, rest) in [(0x4011, 0x1234), (0x0000, 0x4500), (0xFFFF, 0x0001), (0x4000, 0xBFFF), (0x5555, 0xDD2F)] {
            var differences = 0
            let before = ~Checksum.fold(UInt32(old + rest))
            for new in 0...0xFFFF {
                let after = ~Checksum.fold(UInt32(new + rest))
                let updated = Checksum.updated(before, from: UInt16(old), to: UInt16(new))
                if updated != after { differences += 1 }
            }
            #expect(differences == 0)
        }
    }

    /// TTL and TOS changes keep a right header right and a wrong one wrong.
    @Test func headerFieldsOfEveryValue() {
        var memory = [UInt8](repeating: 0, count: 60)
        memory.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let bytes = Bytes(base)
            var wrong = 0
            for ttl in 2...255 {
                for ecn in 1...3 {
                    _ = writeUDP(bytes, to: 1, from: 2, 0x0A00_0001, 0x0A00_0002, ttl: UInt8(ttl))
                    let header = IPv4Header(bytes.advanced(by: 14))
                    header.decrementTTL()
                    if !header.hasCorrectChecksum || header.ttl != UInt8(ttl - 1) { wrong += 1 }
                    header.setTypeOfService(UInt8(ecn))
                    if !header.hasCorrectChecksum || header.typeOfService != UInt8(ecn) { wrong += 1 }
                    header.ip.store(header.checksum ^ 0x0100, at: 10)
                    header.decrementTTL()
                    if header.hasCorrectChecksum { wrong += 1 }
                }
            }
            #expect(wrong == 0)
        }
    }
}
