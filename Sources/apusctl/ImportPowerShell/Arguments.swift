// SPDX-License-Identifier: Apache-2.0

/// The arguments of a command, found for its parameters as PowerShell finds them.
struct Arguments {
    struct Refused: Error {
        let reason: String
    }

    private var values: [String: Value] = [:]

    /// - Parameter tokens: what stands behind the name of the command
    init(_ tokens: ArraySlice<Token>, of cmdlet: Cmdlet, _ evaluator: Evaluator) throws(Refused) {
        var positional = cmdlet.positional[...]
        var unnamed: [Value] = []
        var index = tokens.startIndex
        while index < tokens.endIndex {
            let token = tokens[index]
            if token.isParameter {
                let (name, attached) = Self.split(token, evaluator)
                let parameter = try Self.find(name, in: cmdlet)
                if values[parameter.name] != nil { throw Refused(reason: "-\(parameter.name) is given twice") }
                index += 1
                if parameter.isSwitch {
                    values[parameter.name] = attached ?? .flag(true)
                } else if let attached, !Self.isComma(tokens, index) {
                    values[parameter.name] = attached
                } else {
                    guard let value = Self.list(tokens, &index, evaluator) else {
                        throw Refused(reason: "-\(parameter.name) has no value")
                    }
                    values[parameter.name] = value
                }
            } else {
                guard let value = Self.list(tokens, &index, evaluator) else {
                    throw Refused(reason: "a comma stands where a value is wanted")
                }
                unnamed.append(value)
            }
        }
        // PowerShell gives them out after all named ones.
        for value in unnamed {
            positional = positional.drop { values[$0] != nil }
            guard let name = positional.popFirst() else {
                throw Refused(reason: "\"\(oneLine(value.source))\" is no parameter's value")
            }
            values[name] = value
        }
        for (name, value) in values {
            if case .text(let text) = value, text.hasPrefix("@") {
                throw Refused(reason: "-\(name): parameters from a table (@name) are not understood")
            }
        }
    }

    /// The value of a parameter.
    subscript(name: String) -> Value? { values[name] }

    /// The parameters that are given.
    var names: [String] { values.keys.sorted() }

    /// Is a switch on?
    func isOn(_ name: String) -> Bool {
        if case .flag(let flag) = values[name] { flag } else { values[name] != nil }
    }

    /// -Name:value
    private static func split(_ token: Token, _ evaluator: Evaluator) -> (name: String, value: Value?) {
        guard case .word(var pieces) = token.kind, case .bare(let text) = pieces[0] else { return ("", nil) }
        let name = text.dropFirst().prefix { $0 != ":" }
        guard name.endIndex < text.endIndex else {
            // -Name"value" is nothing; it will not be found.
            return (pieces.count == 1 ? String(name) : String(name) + "...", nil)
        }
        let rest = String(text[text.index(after: name.endIndex)...])
        pieces.removeFirst()
        if !rest.isEmpty { pieces.insert(.bare(rest), at: 0) }
        if pieces.isEmpty { return (String(name), nil) }
        let value = Token(kind: .word(pieces), line: token.line, range: token.range)
        return (String(name), evaluator.value(of: value))
    }

    /// The parameter that a name or its beginning stands for.
    private static func find(_ name: String, in cmdlet: Cmdlet) throws(Refused) -> Cmdlet.Parameter {
        let wanted = name.lowercased()
        for parameter in cmdlet.parameters
        where ([parameter.name] + parameter.aliases).contains(where: { $0.lowercased() == wanted }) {
            return parameter
        }
        let candidates = cmdlet.parameters.filter { parameter in
            ([parameter.name] + parameter.aliases).contains { $0.lowercased().hasPrefix(wanted) }
        }
        switch candidates.count {
        case 1: return candidates[0]
        case 0: throw Refused(reason: "\(cmdlet.name) has no parameter -\(oneLine(name))")
        default:
            let names = candidates.map { "-\($0.name)" }.joined(separator: ", ")
            throw Refused(reason: "-\(oneLine(name)) could be \(names)")
        }
    }

    private static func isComma(_ tokens: ArraySlice<Token>, _ index: Int) -> Bool {
        if index < tokens.endIndex, case .comma = tokens[index].kind { true } else { false }
    }

    /// A value, or several with commas between them.
    private static func list(_ tokens: ArraySlice<Token>, _ index: inout Int, _ evaluator: Evaluator) -> Value? {
        var values: [Value] = []
        while index < tokens.endIndex, case .word = tokens[index].kind, !tokens[index].isParameter {
            values.append(evaluator.value(of: tokens[index]))
            index += 1
            guard isComma(tokens, index) else { return values.count == 1 ? values[0] : .list(values) }
            index += 1
        }
        return nil
    }
}
