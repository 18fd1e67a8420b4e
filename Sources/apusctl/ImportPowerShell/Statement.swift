// SPDX-License-Identifier: Apache-2.0

/// A statement of a script: a pipeline, an assignment, or something that is not understood.
struct Statement {
    let tokens: [Token]

    var line: Int { tokens[0].line }
    var range: Range<Int> { tokens[0].range.lowerBound..<tokens[tokens.count - 1].range.upperBound }

    /// Words that begin what is more than one command, or that leave the straight line.
    static let keywords: Set<String> = [
        "begin", "break", "catch", "class", "configuration", "continue", "data", "do", "dynamicparam", "else", "elseif",
        "end", "enum", "exit", "filter", "finally", "for", "foreach", "function", "if", "in", "param", "process",
        "return", "switch", "throw", "trap", "try", "until", "using", "while", "workflow", "parallel", "sequence",
    ]
    /// Words that go on with the block before them.
    private static let furtherParts: Set<String> = ["else", "elseif", "catch", "finally", "until", "while"]

    /// Put tokens together to statements.
    static func split(_ tokens: [Token]) -> [Statement] {
        var statements: [Statement] = []
        var current: [Token] = []
        var index = 0
        func finish() {
            if !current.isEmpty { statements.append(Statement(tokens: current)) }
            current = []
        }
        while index < tokens.count {
            let token = tokens[index]
            switch token.kind {
            case .semicolon:
                finish()
            case .newline:
                let next = tokens[index...].firstIndex { if case .newline = $0.kind { false } else { true } }
                guard let next else {
                    index = tokens.count
                    continue
                }
                if !continues(current, with: tokens[next]) { finish() }
                index = next
                continue
            default:
                current.append(token)
            }
            index += 1
        }
        finish()
        return statements
    }

    /// Does a line that begins with `next` go on with the statement before it?
    private static func continues(_ current: [Token], with next: Token) -> Bool {
        guard let last = current.last else { return false }
        switch last.kind {
        case .pipe, .comma: return true
        case .word where last.bareText == "=" || last.bareText == "+=" || last.bareText == "+": return true
        default: break
        }
        if current[0].keyword != nil {
            if case .block = next.pieces?.first { return true }
            return next.keyword.map(furtherParts.contains) ?? false
        }
        if case .pipe = next.kind { return true }
        // A command printed in a book has its parameters on lines of their own, without backticks. A line cannot begin
        // with a parameter otherwise, so nothing else can be meant.
        let isCommand = current[0].bareText != nil || current.count > 2 && current[1].bareText == "="
        return next.isParameter && isCommand
    }
}
