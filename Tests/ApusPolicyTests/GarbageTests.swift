// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import Testing

/// Small texts that make careless parsers use the whole stack, all memory or all day.
private let explosives: [String] = {
    var texts = ["[", "{", "- ", "? ", "[1,", "{a: ", "e\u{301}", "a\n"].map { String(repeating: $0, count: 300_000) }
    let keys = (0..<100_000).map { "k\($0): 1" }
    texts.append(keys.joined(separator: "\n"))
    texts.append("apus: 1\nsettings: {" + keys.joined(separator: ", ") + "}")
    texts.append("apus: 1\nports: [" + String(repeating: "{},", count: 200_000) + "]")
    texts.append("apus: \"" + String(repeating: "x", count: 1_000_000) + "\"")
    // Eight to the power of thirty nodes, for a parser that follows aliases.
    let aliases = (1...30).map { "b\($0): &b\($0) [" + String(repeating: "*b\($0 - 1),", count: 8) + "]" }
    texts.append("b0: &b0 [x]\n" + aliases.joined(separator: "\n"))
    return texts
}()

/// Files that are no policy must be refused, or be one by accident, but never bring the reader down.
@Suite struct GarbageTests {
    @Test func everyTruncation() {
        for text in [example, exampleIPv6].map({ Array($0.utf8) }) {
            for length in text.indices { survives(text[..<length]) }
        }
    }

    @Test(arguments: Array("\0\u{1B}\t\n\"'[{*&!|>%@:-?,#~".utf8) + [0x80, 0xC0, 0xFF])
    func everyByteReplaced(by byte: UInt8) {
        var text = Array(example.utf8)
        for index in text.indices {
            let original = text[index]
            text[index] = byte
            survives(text[...])
            text[index] = original
        }
    }

    @Test func randomBytes() {
        // A fixed seed: what fails here must fail again.
        var state: UInt64 = 7637
        for length in 0..<512 {
            let bytes = (0..<length).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            }
            survives(bytes[...])
        }
    }

    @Test(arguments: explosives)
    func explosions(_ text: String) {
        let start = ContinuousClock.now
        #expect(throws: PolicyError.self) { try PolicyFile.parse(text: text, name: "garbage") }
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    private func survives(_ text: ArraySlice<UInt8>) {
        do throws(PolicyError) {
            _ = try PolicyFile.parse(text: String(decoding: text, as: UTF8.self), name: "garbage")
        } catch {
            #expect(!error.problems.isEmpty)
            #expect(!error.description.utf8.contains(0))
        }
    }
}
