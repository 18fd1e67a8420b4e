// SPDX-License-Identifier: Apache-2.0

/// Finds the values of words, as far as the script alone determines them.
struct Evaluator {
    /// Brackets around brackets; deeper ones stay what they are.
    private static let maximalDepth = 16
    /// Symbolic text longer than this is cut off: it is only shown and compared.
    private static let maximalText = 4096

    let scalars: [Unicode.Scalar]
    let variables: Variables

    /// The text of a part of the script, its blanks made one.
    func source(_ range: Range<Int>, limit: Int = 200) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars[range].prefix(limit * 4))
        return oneLine(String(view), limit: limit)
    }

    // MARK: - Words of commands

    /// The value of a word that stands as an argument.
    func value(of token: Token, depth: Int = 0) -> Value {
        guard let pieces = token.pieces else { return .symbolic(source(token.range)) }
        if pieces.count == 1 { return value(of: pieces[0], token, depth: depth) }
        var text = ""
        for (index, piece) in pieces.enumerated() {
            if index > 0, case .bare(let bare) = piece, let first = bare.first, ".[:".contains(first) {
                // $iface.InterfaceIndex; a text before a dot is a text.
                switch pieces[index - 1] {
                case .variable, .group, .block: return .symbolic(symbolic(pieces, token, depth: depth))
                default: break
                }
            }
            switch piece {
            case .group, .block: return .symbolic(symbolic(pieces, token, depth: depth))
            default: break
            }
            guard let part = value(of: piece, token, depth: depth).text, text.utf8.count < 1 << 20 else {
                return .symbolic(symbolic(pieces, token, depth: depth))
            }
            text += part
        }
        return .text(text)
    }

    private func value(of piece: Piece, _ token: Token, depth: Int) -> Value {
        switch piece {
        case .bare(let text), .quoted(let text): return .text(text)
        case .expandable(let pieces):
            var text = ""
            for piece in pieces {
                guard let part = value(of: piece, token, depth: depth).text, text.utf8.count < 1 << 20 else {
                    return .symbolic(symbolic(pieces, token, depth: depth))
                }
                text += part
            }
            return .text(text)
        case .variable(let name):
            return variables[name] ?? .symbolic("$\(name)")
        case .group(let opening, let inside):
            guard depth < Self.maximalDepth, opening != "@\"" else { return .symbolic(source(token.range)) }
            var lexer = Lexer(scalars, inside, line: token.line)
            guard (try? lexer.run()) != nil else { return .symbolic(source(token.range)) }
            let tokens = lexer.tokens.filter { if case .newline = $0.kind { false } else { true } }
            return expression(tokens, depth: depth + 1) ?? .symbolic(symbolic([piece], token, depth: depth))
        case .block(let inside):
            // PowerShell makes the text of a block of it where a text is wanted: {12345678-1000-...} without quotes.
            let text = source(inside)
            return Canonical.guid(text) == nil ? .symbolic("{\(text)}") : .text(text)
        }
    }

    // MARK: - Expressions

    /// The value of what stands right of `=` or in brackets; nil if it is not an expression that can be computed here.
    func expression(_ tokens: [Token], depth: Int = 0) -> Value? {
        if tokens.contains(where: { if case .comma = $0.kind { true } else { false } }) {
            var values: [Value] = []
            for part in tokens.split(whereSeparator: { if case .comma = $0.kind { true } else { false } }) {
                guard let value = sum(Array(part), depth: depth) else { return nil }
                values.append(value)
            }
            return .list(values)
        }
        return sum(tokens, depth: depth)
    }

    /// Texts that are joined with +.
    private func sum(_ tokens: [Token], depth: Int) -> Value? {
        if tokens.count == 1 { return operand(tokens[0].pieces, tokens[0], depth: depth) }
        guard !tokens.isEmpty, !tokens.count.isMultiple(of: 2) else { return nil }
        var text = ""
        for (index, token) in tokens.enumerated() {
            if index.isMultiple(of: 2) {
                // Numbers would be added.
                guard let part = operand(token.pieces, token, depth: depth)?.text,
                    index > 0 || Canonical.number(part) == nil
                else { return nil }
                text += part
            } else if token.bareText != "+" {
                return nil
            }
            if text.utf8.count > 1 << 20 { return nil }
        }
        return .text(text)
    }

    private func operand(_ pieces: [Piece]?, _ token: Token, depth: Int) -> Value? {
        guard var pieces else { return nil }
        // [string]$x
        if case .bare(let cast) = pieces.first, pieces.count > 1,
            ["[string]", "[uint32]", "[int]"].contains(cast.lowercased())
        {
            pieces.removeFirst()
        }
        switch pieces[0] {
        case .bare(let text):
            // Without quotes only numbers are values, without zeros before them; words are commands.
            guard pieces.count == 1, let number = Canonical.number(text) else { return nil }
            return .text(String(number))
        case .expandable, .quoted:
            return pieces.count == 1 ? value(of: pieces[0], token, depth: depth) : nil
        case .variable, .group, .block:
            if pieces.count == 1 { return value(of: pieces[0], token, depth: depth) }
            return .symbolic(symbolic(pieces, token, depth: depth))
        }
    }

    /// Words that are no expression, as a value of which nothing but the source is known.
    func symbolic(_ tokens: [Token]) -> Value {
        var text = ""
        for token in tokens where text.utf8.count < Self.maximalText {
            if !text.isEmpty { text += " " }
            text += token.pieces.map { symbolic($0, token, depth: 0) } ?? source(token.range)
        }
        return .symbolic(oneLine(text, limit: Self.maximalText))
    }

    /// The source text of something that is not known, with what is known of it put in.
    private func symbolic(_ pieces: [Piece], _ token: Token, depth: Int) -> String {
        var text = ""
        for piece in pieces where text.utf8.count < Self.maximalText {
            switch piece {
            case .bare(let bare): text += bare
            case .quoted(let quoted): text += "\"\(quoted)\""
            case .expandable(let parts):
                text += depth < Self.maximalDepth ? symbolic(parts, token, depth: depth + 1) : ""
            case .variable(let name): text += variables[name].map { "(\($0.source))" } ?? "$\(name)"
            case .group(let opening, let inside):
                text += opening + expand(inside, token, depth: depth) + ")"
            case .block(let inside): text += "{\(source(inside))}"
            }
        }
        return oneLine(text, limit: Self.maximalText)
    }

    /// The text of brackets, with the variables in it replaced.
    private func expand(_ inside: Range<Int>, _ token: Token, depth: Int) -> String {
        var lexer = Lexer(scalars, inside, line: token.line)
        guard depth < Self.maximalDepth, (try? lexer.run()) != nil else { return source(inside) }
        var text = ""
        for token in lexer.tokens where text.utf8.count < Self.maximalText {
            if !text.isEmpty { text += " " }
            text += token.pieces.map { symbolic($0, token, depth: depth + 1) } ?? source(token.range)
        }
        return text
    }

    /// The same interface has the same name, however it is written.
    static func interfaceName(_ source: String) -> String {
        var name = source.lowercased().replacing(".interfaceindex", with: "").replacing(".ifindex", with: "")
        name.removeAll { "()\"' \t".contains($0) }
        return name
    }
}
