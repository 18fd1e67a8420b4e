// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct PrefixLengthsTests {
    /// The lengths in the order in which they are searched.
    private func all(
        _ lengths: borrowing PrefixLengths, for address: IPAddress = IPAddress(high: 1, low: 0)
    ) -> [Int] {
        var found: [Int] = []
        lengths.searchLongestFirst(for: address) {
            found.append(Int($0))
            return false
        }
        return found
    }

    @Test func eachLengthAlone() {
        for length in 0...128 {
            var lengths = PrefixLengths()
            #expect(all(lengths) == [])
            lengths.add(UInt8(length))
            #expect(all(lengths) == [length])
            lengths.add(UInt8(length))
            lengths.remove(UInt8(length))
            #expect(all(lengths) == [length])
            lengths.remove(UInt8(length))
            #expect(all(lengths) == [])
        }
    }

    @Test func againstCounts() {
        var lengths = PrefixLengths()
        var counts = [Int](repeating: 0, count: 129)
        var random = SeededGenerator(3)
        for _ in 0..<5000 {
            let length = random.below(129)
            if counts[length] > 0, random.below(2) == 0 {
                counts[length] -= 1
                lengths.remove(UInt8(length))
            } else {
                counts[length] += 1
                lengths.add(UInt8(length))
            }
            if random.below(20) == 0 {
                #expect(all(lengths) == counts.indices.reversed().filter { counts[$0] > 0 })
            }
        }
    }

    @Test func searchStopsWhereToldTo() {
        var lengths = PrefixLengths()
        for length in [0, 24, 63, 64, 96, 127, 128] { lengths.add(UInt8(length)) }
        for last in [128, 127, 96, 64, 63, 24, 0] {
            var seen: [Int] = []
            lengths.searchLongestFirst(for: IPAddress(high: 1, low: 0)) {
                seen.append(Int($0))
                return $0 == UInt8(last)
            }
            #expect(seen == [128, 127, 96, 64, 63, 24, 0].filter { $0 >= last })
        }
    }

    /// IPv4 addresses are in no IPv6 prefix: ::/0 is not their default route.
    @Test func prefixesOfTheOtherFamily() {
        let address = IPAddress(v4: 0x0A00_0001)
        var lengths = PrefixLengths()
        for length in [0, 1, 63, 64, 95, 96, 97, 120, 128] { lengths.add(UInt8(length)) }
        #expect(all(lengths, for: address) == [128, 120, 97, 96])
        #expect(!address.isIn(IPAddress(high: 0, low: 0), 0))
        #expect(address.isIn(IPAddress(v4: 0), 96))
    }

    /// Addresses that agree in their deciding bits have the same prefixes of every length there is, and the same family.
    @Test func decidingBits() {
        var random = SeededGenerator(8)
        for _ in 0..<2000 {
            var lengths = PrefixLengths()
            for _ in 0..<random.below(4) { lengths.add(UInt8(random.below(129))) }
            let low = UInt64(random.below(1 << 32))
            for address in [IPAddress(v4: UInt32(low)), IPAddress(high: 0, low: low), IPAddress(high: low << 31, low: low << 40)] {
                let bits = lengths.deciding(for: address)
                for length in all(lengths, for: address) { #expect(length <= bits) }
                // What differs as little as it can.
                if bits < 128 {
                    let other = bits >= 64
                        ? IPAddress(high: address.high, low: address.low ^ 1 << UInt64(127 - bits))
                        : IPAddress(high: address.high ^ 1 << UInt64(63 - bits), low: address.low)
                    #expect(other.masked(bits) == address.masked(bits))
                    for length in all(lengths, for: address) {
                        #expect(other.masked(UInt8(length)) == address.masked(UInt8(length)))
                    }
                }
            }
            let v4 = IPAddress(v4: 0), v6 = IPAddress(high: 0, low: 2)
            #expect(v4.masked(lengths.deciding(for: v4)) != v6.masked(lengths.deciding(for: v6)))
        }
    }

    /// The mask of every length, bit by bit.
    @Test func masks() {
        let ones = IPAddress(high: .max, low: .max)
        for length in 0...128 {
            let masked = ones.masked(UInt8(length))
            #expect(masked.high.nonzeroBitCount + masked.low.nonzeroBitCount == length)
            #expect((~masked.high).leadingZeroBitCount == min(length, 64))
            if length > 64 { #expect((~masked.low).leadingZeroBitCount == length - 64) }
        }
    }
}
