// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Glibc
import Testing

@testable import Apus

/// Deliberate errors, made through the C inlines of the core: a sanitizer that does not report them reports nothing.
/// They run only when `run-sanitizers.sh` asks for them.
@Suite struct CanaryTests {
    private static func isWanted(_ name: String) -> Bool {
        getenv("APUS_CANARY").map { String(cString: $0) == name } ?? false
    }

    /// Four bytes are read behind the end of a heap block.
    @Test(.enabled(if: isWanted("asan")))
    func overRead() throws {
        let block = try #require(malloc(4))
        defer { free(block) }
        memset(block, 1, 4)
        let value = apus_load64(block)
        #expect(value & 0xFFFF_FFFF == 0x0101_0101)
    }

    /// Two threads write the same word of plain memory.
    @Test(.enabled(if: isWanted("tsan")))
    func dataRace() throws {
        // On a busy machine one may be done before the other begins.
        for _ in 0..<20 {
            let box = RaceBox()
            runTogether([{ box.race(1) }, { box.race(2) }])
            #expect(box.value == 1 || box.value == 2)
        }
    }
}

private final class RaceBox: @unchecked Sendable {
    private let word = UnsafeMutableRawPointer.allocate(byteCount: 4, alignment: 4)
    deinit { word.deallocate() }

    var value: UInt32 { apus_load32(word) }

    func race(_ value: UInt32) {
        for _ in 0..<1_000_000 { apus_store32(word, value) }
    }
}
