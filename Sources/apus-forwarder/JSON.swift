// SPDX-License-Identifier: Apache-2.0

/// A JSON document of what the control socket answers; objects keep their order.
indirect enum JSON: CustomStringConvertible {
    case text(String)
    case number(UInt64)
    case flag(Bool)
    case array([JSON])
    case object([(String, JSON)])

    static func numbers(_ fields: [(String, UInt64)]) -> JSON { .object(fields.map { ($0.0, .number($0.1)) }) }
    static func error(_ text: String) -> JSON { .object([("error", .text(text))]) }

    /// On one line.
    var description: String {
        switch self {
        case .text(let text): Self.quoted(text)
        case .number(let number): String(number)
        case .flag(let flag): flag ? "true" : "false"
        case .array(let elements): "[" + elements.map(\.description).joined(separator: ", ") + "]"
        case .object(let fields):
            "{" + fields.map { "\(Self.quoted($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
