// SPDX-License-Identifier: Apache-2.0

/// A place in a script.
struct ScriptPlace: Equatable {
    let file: String
    /// Counted from 1.
    let line: Int

    var text: String { "\(file):\(line)" }
}

/// What a person has to know about an import: collected in the order of the script, reported at its end.
///
/// A class, because the lexer, the interpreter and what makes the ports all add to the same list.
final class Findings {
    /// Something that could not be understood. One of them is enough for not writing a policy.
    struct Problem {
        let place: ScriptPlace
        let source: String
        let reason: String

        var text: String { "\(place.text): not understood: \(source): \(reason)" }
    }

    /// Nobody reads more; the rest is counted.
    private static let limit = 200

    private(set) var problems: [Problem] = []
    private(set) var omitted = 0
    /// What was understood, but an operator may want to know.
    private(set) var notes: [String] = []
    /// What a person has to put into the policy.
    private(set) var gaps: [String] = []
    /// Commands that concern the host and not the policy.
    private(set) var leftOut: [(name: String, place: ScriptPlace)] = []

    var isComplete: Bool { problems.isEmpty }

    func refuse(_ place: ScriptPlace, _ source: @autoclosure () -> String, _ reason: @autoclosure () -> String) {
        if problems.count == Self.limit {
            omitted += 1
        } else {
            problems.append(.init(place: place, source: oneLine(source()), reason: oneLine(reason(), limit: 400)))
        }
    }

    func note(_ place: ScriptPlace?, _ text: String) {
        if notes.count < Self.limit {
            notes.append((place.map { "\($0.text): " } ?? "") + "note: " + oneLine(text, limit: 400))
        }
    }

    func gap(_ text: String) {
        if gaps.count < Self.limit { gaps.append(oneLine(text, limit: 400)) }
    }

    func leaveOut(_ name: String, _ place: ScriptPlace) {
        if leftOut.count < Self.limit { leftOut.append((oneLine(name), place)) }
    }

    /// Problems for people, one a line.
    var problemLines: [String] {
        let lines = problems.map(\.text)
        return omitted == 0 ? lines : lines + ["and \(omitted) more"]
    }

    /// Notes for people, one a line.
    var noteLines: [String] {
        var lines = notes
        if !leftOut.isEmpty {
            let names = leftOut.prefix(20).map { "\($0.name) (line \($0.place.line))" }.joined(separator: ", ")
            let more = leftOut.count > 20 ? ", ..." : ""
            lines.append("note: without effect on a policy, left out: \(names)\(more)")
        }
        return lines
    }
}

/// Text from a script as one line of bounded length, without anything that could end a comment or confuse a terminal.
func oneLine(_ text: String, limit: Int = 100) -> String {
    var result = ""
    var count = 0
    var wasSpace = true
    for scalar in text.unicodeScalars {
        if count == limit { return result + "..." }
        let isSpace = scalar.properties.isWhitespace
        if isSpace && wasSpace { continue }
        wasSpace = isSpace
        count += 1
        switch scalar.properties.generalCategory {
        case _ where isSpace: result += " "
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    if result.last == " " { result.removeLast() }
    return result
}
