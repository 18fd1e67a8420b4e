// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Apus

@Suite struct NewcomersTests {
    /// Never fewer than there are, nothing when there are none, and few of others.
    @Test func againstASet() {
        let words = Ref<InlineArray<8, UInt64>>(.allocate(capacity: 1))
        defer { words.pointer.deallocate() }
        let newcomers = Newcomers(words)
        var random = SeededGenerator(9)
        var mistaken = 0
        for _ in 0..<200 {
            newcomers.clear()
            var hashes: [UInt64] = []
            for _ in 0..<64 {
                let hash = random.next()
                if newcomers.mayContain(hash) { mistaken += 1 }
                newcomers.add(hash)
                hashes.append(hash)
                #expect(hashes.allSatisfy { newcomers.mayContain($0) })
            }
            newcomers.clear()
            #expect(!hashes.contains { newcomers.mayContain($0) })
        }
        #expect(mistaken < 200 * 64 / 12)
    }
}
