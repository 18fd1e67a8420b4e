// SPDX-License-Identifier: Apache-2.0

/// A part of a word of a script. Parts that touch each other make one word.
enum Piece {
    /// Text without quotes.
    case bare(String)
    /// Text in quotes, as it is meant.
    case quoted(String)
    /// Text in double quotes in which variables stand.
    case expandable([Piece])
    /// `$name`, `${name}`, `$env:name`; in small letters.
    case variable(String)
    /// `( )`, `$( )`, `@( )`, `@{ }`, or a here-string: where its inside stands.
    case group(opening: String, inside: Range<Int>)
    /// `{ }`
    case block(inside: Range<Int>)
}

/// A word, or what stands between words.
struct Token {
    enum Kind {
        case word([Piece])
        case newline, semicolon, pipe, comma
        /// A character that straight-line scripts do not need, or that stands where it cannot.
        case stray(String)
    }

    let kind: Kind
    let line: Int
    /// Where it stands in the script.
    let range: Range<Int>

    var pieces: [Piece]? {
        if case .word(let pieces) = kind { pieces } else { nil }
    }

    /// The text of a word that is nothing but unquoted text.
    var bareText: String? {
        if case .word(let pieces) = kind, pieces.count == 1, case .bare(let text) = pieces[0] { text } else { nil }
    }

    /// The word that it begins with, in small letters, if that is one of those that are no commands: `if`, `if(`.
    var keyword: String? {
        guard case .word(let pieces) = kind, case .bare(let text) = pieces.first else { return nil }
        let word = text.lowercased()
        guard Statement.keywords.contains(word) else { return nil }
        switch pieces.dropFirst().first {
        case nil, .group, .block: return word
        default: return nil
        }
    }

    /// Is it `-Name`, or the beginning of `-Name:value`? Numbers may begin with a dash too.
    var isParameter: Bool {
        guard case .word(let pieces) = kind, case .bare(let text) = pieces.first else { return false }
        var scalars = text.unicodeScalars.makeIterator()
        guard let dash = scalars.next(), dash.isDash, let letter = scalars.next() else { return false }
        return letter.properties.isAlphabetic || letter == "_"
    }
}

/// Cuts a script into tokens as PowerShell does when it reads commands.
///
/// Nothing here recurses, and no character is looked at more than a few times, so that no input can exhaust anything.
struct Lexer {
    /// The script cannot be read beyond this place.
    struct Failure: Error {
        let line: Int
        let position: Int
        let reason: String
    }

    /// What a script may have, so that memory has a limit too: enough for a hundred thousand lookup records.
    private static let maximalTokens = 2_000_000
    private static let maximalPieces = 10_000

    private let scalars: [Unicode.Scalar]
    private let end: Int
    private var position: Int
    private var line: Int
    private(set) var tokens: [Token] = []

    /// - Parameter range: the part of the script to read, which begins on `line`
    init(_ scalars: [Unicode.Scalar], _ range: Range<Int>, line: Int) {
        self.scalars = scalars
        end = range.upperBound
        position = range.lowerBound
        self.line = line
    }

    /// Read to the end. After a failure ``tokens`` holds what came before.
    mutating func run() throws(Failure) {
        while let scalar = current {
            let start = position
            if tokens.count == Self.maximalTokens {
                throw failure("a script of more than \(Self.maximalTokens) words is not accepted")
            }
            switch scalar {
            case "\n", "\r":
                append(.newline, from: start) { $0.skipNewline() }
            case _ where scalar.isBlank:
                position += 1
            case "#":
                skipLine()
            case "<" where at(1) == "#":
                try skipBlockComment()
            case "`" where isLineContinuation():
                skipContinuation()
            case ";": append(.semicolon, from: start) { $0.position += 1 }
            case "|":
                if at(1) == "|" {
                    append(.stray("||"), from: start) { $0.position += 2 }
                } else {
                    append(.pipe, from: start) { $0.position += 1 }
                }
            case ",": append(.comma, from: start) { $0.position += 1 }
            case ")", "}", "&", ">", "<":
                append(.stray(String(scalar)), from: start) { $0.position += 1 }
            default:
                try word()
            }
        }
    }

    // MARK: - Characters

    private var current: Unicode.Scalar? { position < end ? scalars[position] : nil }

    private func at(_ offset: Int) -> Unicode.Scalar? {
        position + offset < end ? scalars[position + offset] : nil
    }

    private mutating func append(_ kind: Token.Kind, from start: Int, _ skip: (inout Lexer) -> Void) {
        let startLine = line
        skip(&self)
        tokens.append(Token(kind: kind, line: startLine, range: start..<position))
    }

    private mutating func skipNewline() {
        position += current == "\r" && at(1) == "\n" ? 2 : 1
        line += 1
    }

    private mutating func skipLine() {
        while let scalar = current, scalar != "\n", scalar != "\r" { position += 1 }
    }

    private mutating func skipBlockComment() throws(Failure) {
        let failure = failure("the comment that begins here with <# does not end")
        position += 2
        while let scalar = current {
            if scalar == "#" && at(1) == ">" {
                position += 2
                return
            }
            if scalar == "\n" || scalar == "\r" { skipNewline() } else { position += 1 }
        }
        throw failure
    }

    /// A backtick at the end of a line. PowerShell wants the line to end right behind it; blanks after it cannot be
    /// seen, and nothing else can be meant.
    private func isLineContinuation() -> Bool {
        var offset = 1
        while let scalar = at(offset), scalar.isBlank { offset += 1 }
        return at(offset) == nil || at(offset) == "\n" || at(offset) == "\r"
    }

    private mutating func skipContinuation() {
        position += 1
        while let scalar = current, scalar.isBlank { position += 1 }
        if current != nil { skipNewline() }
    }

    private static let tooManyPieces = "a word of more than \(maximalPieces) parts is not accepted"

    private func failure(_ reason: String) -> Failure { Failure(line: line, position: position, reason: reason) }

    // MARK: - Words

    private mutating func word() throws(Failure) {
        let start = position
        let startLine = line
        var pieces: [Piece] = []
        var bare = ""
        func flush() {
            if !bare.isEmpty { pieces.append(.bare(bare)) }
            bare = ""
        }
        loop: while let scalar = current {
            if pieces.count == Self.maximalPieces { throw failure(Self.tooManyPieces) }
            switch scalar {
            case "\n", "\r", ";", "|", ",", ")", "}", "&", ">", "<":
                break loop
            case _ where scalar.isBlank:
                break loop
            case "`":
                if isLineContinuation() { break loop }
                position += 1
                if let escaped = current { bare.unicodeScalars.append(escape(escaped)) }
                position += 1
            case _ where scalar.isSingleQuote:
                flush()
                pieces.append(.quoted(try singleQuoted()))
            case _ where scalar.isDoubleQuote:
                flush()
                pieces.append(try doubleQuoted())
            case "@" where at(1).map { $0.isDoubleQuote || $0.isSingleQuote } == true:
                flush()
                pieces.append(try hereString())
            case "@" where at(1) == "(" || at(1) == "{", "$" where at(1) == "(":
                flush()
                pieces.append(.group(opening: "\(scalar)(", inside: try balanced(skipping: 1)))
            case "(":
                flush()
                pieces.append(.group(opening: "(", inside: try balanced(skipping: 0)))
            case "{":
                flush()
                pieces.append(.block(inside: try balanced(skipping: 0)))
            case "$":
                if let name = variable() {
                    flush()
                    pieces.append(.variable(name))
                } else {
                    bare += "$"
                    position += 1
                }
            case "=",
                "+" where bare.isEmpty && assigns(after: pieces):
                // $x="y" has no spaces that would part its words.
                if !pieces.isEmpty { break loop }
                bare = scalar == "+" ? "+=" : "="
                position += scalar == "+" ? 2 : 1
                break loop
            default:
                bare.unicodeScalars.append(scalar)
                position += 1
            }
        }
        flush()
        tokens.append(Token(kind: .word(pieces), line: startLine, range: start..<position))
    }

    /// Is what comes the sign of an assignment to the variable before it?
    private func assigns(after pieces: [Piece]) -> Bool {
        if current == "+" && at(1) != "=" { return false }
        let last = pieces.last ?? (pieces.isEmpty ? tokens.last?.pieces?.last : nil)
        if case .variable = last { return true }
        return false
    }

    private func escape(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        switch scalar {
        case "n": "\n"
        case "r": "\r"
        case "t": "\t"
        case "0": "\0"
        default: scalar
        }
    }

    /// 'text', in which '' is a quote
    private mutating func singleQuoted() throws(Failure) -> String {
        let failure = failure("the quote that begins here does not end")
        var text = String.UnicodeScalarView()
        position += 1
        while let scalar = current {
            if scalar.isSingleQuote {
                position += 1
                guard current?.isSingleQuote == true else { return String(text) }
            }
            text.append(scalar)
            if scalar == "\n" { line += 1 }
            position += 1
        }
        throw failure
    }

    /// "text", in which variables are replaced, "" is a quote and a backtick takes the meaning from what follows
    private mutating func doubleQuoted() throws(Failure) -> Piece {
        let failure = failure("the quote that begins here does not end")
        var pieces: [Piece] = []
        var text = String.UnicodeScalarView()
        position += 1
        while let scalar = current {
            if pieces.count == Self.maximalPieces { throw self.failure(Self.tooManyPieces) }
            switch scalar {
            case _ where scalar.isDoubleQuote:
                position += 1
                if current?.isDoubleQuote == true {
                    text.append("\"")
                    position += 1
                    continue
                }
                if pieces.isEmpty { return .quoted(String(text)) }
                if !text.isEmpty { pieces.append(.quoted(String(text))) }
                return .expandable(pieces)
            case "`":
                position += 1
                guard let escaped = current else { continue }
                if escaped == "\n" { line += 1 }
                text.append(escape(escaped))
                position += 1
            case "$" where at(1) == "(":
                if !text.isEmpty { pieces.append(.quoted(String(text))) }
                text = .init()
                pieces.append(.group(opening: "$(", inside: try balanced(skipping: 1)))
            case "$":
                if let name = variable() {
                    if !text.isEmpty { pieces.append(.quoted(String(text))) }
                    text = .init()
                    pieces.append(.variable(name))
                } else {
                    text.append(scalar)
                    position += 1
                }
            default:
                if scalar == "\n" { line += 1 }
                text.append(scalar)
                position += 1
            }
        }
        throw failure
    }

    /// @" and "@ on lines of their own. What is inside is never looked at.
    private mutating func hereString() throws(Failure) -> Piece {
        let failure = failure("the text that begins here with @\" or @' does not end")
        let isDouble = at(1)?.isDoubleQuote == true
        position += 2
        let start = position
        var isLineStart = false
        while let scalar = current {
            let closes = isDouble ? scalar.isDoubleQuote : scalar.isSingleQuote
            if isLineStart && closes && at(1) == "@" {
                position += 2
                return .group(opening: "@\"", inside: start..<position - 2)
            }
            isLineStart = scalar == "\n"
            if isLineStart { line += 1 }
            position += 1
        }
        throw failure
    }

    /// The name of the variable that begins here, if one does.
    private mutating func variable() -> String? {
        if at(1) == "{" {
            var offset = 2
            while let scalar = at(offset), scalar != "}", scalar != "\n" { offset += 1 }
            guard at(offset) == "}", offset > 2 else { return nil }
            let name = text(position + 2..<position + offset)
            position += offset + 1
            return variableName(name)
        }
        var offset = 1
        while let scalar = at(offset) {
            // "$x: " is a variable and a colon, $env:x is not.
            let isColon = scalar == ":" && offset > 1 && at(offset + 1)?.isNameCharacter == true
            guard scalar.isNameCharacter || isColon else { break }
            offset += 1
        }
        if offset == 1 { return nil }
        let name = text(position + 1..<position + offset)
        position += offset
        return variableName(name)
    }

    private func text(_ range: Range<Int>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars[range])
        return String(view)
    }

    /// Skip from an opening bracket to behind the closing one, over quotes and comments.
    ///
    /// - Returns: where the inside stands
    private mutating func balanced(skipping prefix: Int) throws(Failure) -> Range<Int> {
        position += prefix
        let opening = current ?? "("
        let unclosed = failure("the \(opening) that begins here is not closed")
        var closers: [Unicode.Scalar] = []
        let start = position + 1
        while let scalar = current {
            switch scalar {
            case "(": closers.append(")")
            case "{": closers.append("}")
            case "[": closers.append("]")
            case ")", "}", "]":
                // Text without quotes may hold a lone ].
                if scalar == "]" && closers.last != "]" { break }
                while closers.last == "]" && scalar != "]" { closers.removeLast() }
                guard closers.last == scalar else { throw failure("\(scalar) does not match the bracket before it") }
                closers.removeLast()
                if closers.isEmpty {
                    position += 1
                    return start..<position - 1
                }
            case _ where scalar.isSingleQuote:
                _ = try singleQuoted()
                continue
            case _ where scalar.isDoubleQuote:
                try skipDoubleQuoted()
                continue
            case "#" where isTokenStart:
                skipLine()
                continue
            case "<" where at(1) == "#":
                try skipBlockComment()
                continue
            case "`":
                position += 1
                if current == nil { throw unclosed }
                if current == "\n" { line += 1 }
            case "\n": line += 1
            case "\r" where at(1) != "\n": line += 1
            default: break
            }
            position += 1
        }
        throw unclosed
    }

    /// Does a # here begin a comment?
    private var isTokenStart: Bool {
        guard position > 0 else { return true }
        let before = scalars[position - 1]
        return before.isBlank || "\n\r(){};|,".unicodeScalars.contains(before)
    }

    /// As ``doubleQuoted()``, without a result and without regard to $( ), which would make it recursive.
    private mutating func skipDoubleQuoted() throws(Failure) {
        let failure = failure("the quote that begins here does not end")
        position += 1
        while let scalar = current {
            if scalar == "\n" { line += 1 }
            position += scalar == "`" ? 2 : 1
            if scalar.isDoubleQuote { return }
        }
        throw failure
    }
}

/// A variable's name as a key: PowerShell does not tell capitals from small letters, nor these scopes in a script.
func variableName(_ name: String) -> String {
    let name = name.lowercased()
    for scope in ["script:", "global:", "local:", "private:", "variable:"] where name.hasPrefix(scope) {
        return String(name.dropFirst(scope.count))
    }
    return name
}

extension Unicode.Scalar {
    /// A space that does not end a line.
    fileprivate var isBlank: Bool {
        switch self {
        case " ", "\t", "\u{B}", "\u{C}", "\u{85}", "\u{A0}", "\u{FEFF}": true
        default: value > 0xFF && properties.generalCategory == .spaceSeparator
        }
    }

    /// PowerShell takes what word processors make of quotes and dashes for the real ones.
    fileprivate var isDoubleQuote: Bool { self == "\"" || ("\u{201C}"..."\u{201E}").contains(self) }
    fileprivate var isSingleQuote: Bool { self == "'" || ("\u{2018}"..."\u{201B}").contains(self) }
    var isDash: Bool { self == "-" || ("\u{2013}"..."\u{2015}").contains(self) }

    fileprivate var isNameCharacter: Bool {
        self == "_" || self == "?" || properties.isAlphabetic || ("0"..."9").contains(self)
    }
}
