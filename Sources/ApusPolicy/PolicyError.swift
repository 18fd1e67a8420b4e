// SPDX-License-Identifier: Apache-2.0

internal import CApus
internal import CApusPolicyFile

/// What is wrong with a policy file, or what a dataplane refused of it: everything that was found, in file order.
public struct PolicyError: Error, Sendable, CustomStringConvertible {
    /// One thing that is wrong.
    public struct Problem: Sendable, Equatable {
        /// The line, counted from 1; 0 when the file as a whole is meant.
        public let line: Int
        /// The object or field: "lookup_records[3].mac"; "" when the file as a whole is meant.
        public let path: String
        /// What is wrong, and what would be accepted.
        public let message: String
    }

    /// The file's name, as given.
    public let file: String
    /// At most ``limit`` problems, ordered by line.
    public let problems: [Problem]
    /// How many more were found.
    public let omitted: Int
    /// The `enum apus_error` value that a C caller gets.
    public let code: Int32

    /// The number of problems that are kept: more than a screen of them helps nobody.
    public static let limit = Int(APUS_POLICY_FILE_ERRORS_MAX)

    /// One line for each problem, "FILE:LINE: PATH: MESSAGE".
    public var description: String {
        var lines = problems.map { problem in
            var text = file
            if problem.line > 0 { text += ":\(problem.line)" }
            if !problem.path.isEmpty { text += ": \(problem.path)" }
            return "\(text): \(problem.message)"
        }
        if omitted > 0 { lines.append("\(file): and \(omitted) more") }
        return lines.joined(separator: "\n")
    }
}

/// Collects problems while a file is read or applied. A class, because the many small readers of one file share it.
final class Problems {
    private var kept: [PolicyError.Problem] = []
    private var count = 0
    /// The code of the first problem.
    private var code: Int32 = 0

    var isEmpty: Bool { count == 0 }
    /// Further problems will only be counted; their text need not be made.
    var isFull: Bool { kept.count == PolicyError.limit }

    func add(
        _ line: Int, _ path: @autoclosure () -> String, _ message: @autoclosure () -> String,
        code: Int32 = APUS_ERR_SYNTAX.rawValue
    ) {
        if count == 0 { self.code = code }
        count += 1
        if !isFull { kept.append(.init(line: line, path: path(), message: message())) }
    }

    func error(file: String) -> PolicyError {
        // The sort must be stable: problems of one line stay in the order of their fields.
        let sorted = kept.enumerated().sorted { ($0.element.line, $0.offset) < ($1.element.line, $1.offset) }
        return PolicyError(file: file, problems: sorted.map { $0.element }, omitted: count - kept.count, code: code)
    }
}

/// Text from the file as it stands in a message: quoted, one line, of bounded length.
func quoted(_ text: String) -> String {
    var result = "\""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        if index == 60 { return result + "...\"" }
        switch scalar {
        case "\"", "\\": result += "\\\(scalar)"
        // Control characters, also those that reverse or hide text on a terminal.
        case _ where scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}

/// ", did you mean X?" when one of `candidates` is close to `word`, else "".
func suggestion(for word: String, among candidates: [String]) -> String {
    let nearest = candidates.map { (name: $0, distance: editDistance(word, $0)) }.min { $0.distance < $1.distance }
    guard let nearest, nearest.distance <= max(1, nearest.name.utf8.count / 3) else { return "" }
    return "; did you mean \(nearest.name)?"
}

/// The number of single-byte edits, case aside, between two names (Levenshtein).
private func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first.lowercased().utf8), b = Array(second.lowercased().utf8)
    // Nothing that long is a misspelt key; the work below is quadratic.
    if abs(a.count - b.count) > 16 { return .max }
    var row = Array(0...b.count)
    for i in a.indices {
        var diagonal = row[0]
        row[0] = i + 1
        for j in b.indices {
            let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[b.count]
}
