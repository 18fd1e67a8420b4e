// SPDX-License-Identifier: Apache-2.0

/// Does what a script does, to a policy that is nothing but lists of objects.
///
/// A statement either has exactly the effect that it has on Windows, or is reported as not understood and has none.
struct ScriptInterpreter {
    /// Why a statement is not understood.
    struct Refused: Error {
        let reason: String
    }

    let findings: Findings
    var variables: Variables
    var hosts: Hosts
    /// The objects of each noun.
    var objects: [String: PolicyObjects] = [:]
    var machines = VirtualMachines()
    /// Set-NetVirtualizationGlobal -UseExternalRouter
    var usesExternalRouter = false
    /// -IsolationId and -RoutingDomainID of each Add-VMNetworkAdapterRoutingDomainMapping, judged when all is known.
    var mappings: [(machine: String, subnet: String, domain: String, place: ScriptPlace, source: String)] = []

    private var file = ""
    private(set) var scalars: [Unicode.Scalar] = []

    init(findings: Findings, variables: [(name: String, value: String)], host: String?) {
        self.findings = findings
        self.variables = Variables(variables)
        hosts = Hosts(chosen: host)
    }

    var evaluator: Evaluator { Evaluator(scalars: scalars, variables: variables) }

    func place(_ line: Int) -> ScriptPlace { ScriptPlace(file: file, line: line) }

    /// Run a script to its end.
    mutating func run(_ script: ScriptFile) {
        file = script.name
        scalars = script.scalars
        var lexer = Lexer(scalars, scalars.indices, line: 1)
        var failure: Lexer.Failure?
        do throws(Lexer.Failure) { try lexer.run() } catch { failure = error }
        for statement in Statement.split(lexer.tokens) {
            do {
                try run(statement)
            } catch {
                let reason =
                    switch error {
                    case let error as Refused: error.reason
                    case let error as Arguments.Refused: error.reason
                    case let error as PolicyNoun.Refused: error.reason
                    default: "\(error)"
                    }
                findings.refuse(place(statement.line), evaluator.source(statement.range), reason)
            }
        }
        if let failure {
            let end = scalars[failure.position...].firstIndex { $0 == "\n" || $0 == "\r" } ?? scalars.count
            findings.refuse(
                place(failure.line), evaluator.source(failure.position..<end),
                "\(failure.reason); nothing from here on was read")
        }
    }

    private mutating func run(_ statement: Statement) throws {
        let tokens = statement.tokens
        if let word = tokens[0].keyword {
            throw Refused(reason: Self.reason(keyword: word))
        }
        for token in tokens {
            if case .stray(let text) = token.kind { throw Refused(reason: Self.reason(stray: text)) }
        }
        try refuseHiddenCommands(tokens)
        if tokens.count > 1, let sign = tokens[1].bareText, sign == "=" || sign == "+=",
            let name = Self.assigned(tokens[0])
        {
            return try assign(name, sign, tokens.dropFirst(2))
        }
        guard let first = tokens[0].pieces?.first else { throw Refused(reason: "a command is wanted here") }
        switch first {
        case .bare(let text) where text.first?.isLetter == true || text == "?":
            try run(pipeline: tokens[...])
        case .quoted where tokens.count == 1 && tokens[0].pieces?.count == 1:
            break  // A text alone is printed.
        case .bare, .quoted, .expandable, .variable, .group, .block:
            throw Refused(reason: "only commands and assignments are understood")
        }
    }

    /// What stands in brackets is not run. That must not hide anything that would change the policy.
    private func refuseHiddenCommands(_ tokens: [Token]) throws {
        for piece in tokens.lazy.compactMap(\.pieces).joined() {
            let parts = if case .expandable(let parts) = piece { parts } else { [piece] }
            for part in parts {
                switch part {
                case .group(_, let inside), .block(let inside):
                    var view = String.UnicodeScalarView()
                    view.append(contentsOf: scalars[inside])
                    let text = String(view).lowercased()
                    if let command = Self.effective.first(where: text.contains) {
                        throw Refused(
                            reason: "\(command)... in brackets is not understood; write it on a line of its own")
                    }
                default: break
                }
            }
        }
    }

    private static let effective = [
        "new-netvirtualization", "set-netvirtualization", "remove-netvirtualization", "set-vmnetworkadapter",
        "invoke-command", "invoke-expression",
    ]

    private static func reason(keyword: String) -> String {
        switch keyword {
        case "foreach", "for", "while", "do": "loops are not understood; write out what they do"
        case "if", "else", "elseif", "switch": "conditions are not understood; keep only what applies to this host"
        case "function", "filter", "workflow", "class", "configuration":
            "definitions are not understood; write out what they do"
        case "param": "parameters of a script are not understood; delete this and give them with --variable NAME=VALUE"
        case "exit", "return", "break", "continue", "throw": "where the script ends here, the rest must be deleted"
        default: "\(keyword) is not understood"
        }
    }

    private static func reason(stray: String) -> String {
        switch stray {
        case ")", "}": "there is a \(stray) too many"
        case "&": "& is not understood; only commands by their names are"
        case ">", "<": "redirection is not understood"
        default: "\(stray) is not understood"
        }
    }

    // MARK: - Assignments

    /// The variable that a word left of = names, perhaps with a type before it.
    private static func assigned(_ token: Token) -> String? {
        guard let pieces = token.pieces, case .variable(let name) = pieces.last else { return nil }
        if pieces.count == 1 { return name }
        if pieces.count == 2, case .bare(let type) = pieces[0], type.hasPrefix("["), type.hasSuffix("]") { return name }
        return nil
    }

    private mutating func assign(_ name: String, _ sign: String, _ tokens: ArraySlice<Token>) throws {
        guard let first = tokens.first, let last = tokens.last else { throw Refused(reason: "the value is missing") }
        let source = Value.symbolic(evaluator.source(first.range.lowerBound..<last.range.upperBound))
        guard sign == "=" else {
            variables.assign(name, source)
            throw Refused(reason: "\(sign) is not understood")
        }
        if case .bare(let word) = first.pieces?.first, word.first?.isLetter == true {
            variables.assign(name, source)
            if let keyword = first.keyword { throw Refused(reason: Self.reason(keyword: keyword)) }
            if let session = try run(pipeline: tokens) { variables.assign(name, session) }
        } else {
            let evaluator = evaluator
            variables.assign(name, evaluator.expression(Array(tokens)) ?? evaluator.symbolic(Array(tokens)))
        }
    }

    // MARK: - Pipelines

    /// A command of a pipeline.
    struct Stage {
        let name: String
        let cmdlet: Cmdlet?
        let arguments: ArraySlice<Token>
    }

    /// - Returns: what it gives, if a variable can hold it
    @discardableResult
    private mutating func run(pipeline tokens: ArraySlice<Token>) throws -> Value? {
        var stages: [Stage] = []
        for part in tokens.split(
            omittingEmptySubsequences: false, whereSeparator: { if case .pipe = $0.kind { true } else { false } })
        {
            guard let name = part.first?.bareText else {
                throw Refused(reason: "a command's name is wanted at its beginning and after each |")
            }
            let bare = String(name[(name.lastIndex(of: "\\").map(name.index(after:)) ?? name.startIndex)...])
            stages.append(Stage(name: bare, cmdlet: Cmdlet.known[bare.lowercased()], arguments: part.dropFirst()))
        }
        // What only prints or looks at what comes out changes nothing.
        while stages.count > 1, let last = stages.last, last.cmdlet == nil, Cmdlet.isLooking(last.name) {
            stages.removeLast()
        }

        let place = place(tokens[tokens.startIndex].line)
        let last = stages[stages.count - 1]
        guard let cmdlet = last.cmdlet else {
            guard stages.dropLast().allSatisfy({ $0.cmdlet?.isLooking == true || Cmdlet.isLooking($0.name) }) else {
                throw Refused(reason: "this pipeline is not understood")
            }
            if Cmdlet.isLooking(last.name) { return nil }
            guard Cmdlet.isHarmless(last.name) else { throw Refused(reason: "\(oneLine(last.name)) is not understood") }
            findings.leaveOut(last.name, place)
            return nil
        }
        if cmdlet.isLooking {
            if stages.allSatisfy({ $0.cmdlet?.isLooking == true || Cmdlet.isLooking($0.name) }) { return nil }
            throw Refused(reason: "this pipeline is not understood")
        }
        let command = Command(
            name: cmdlet.name, arguments: try Arguments(last.arguments, of: cmdlet, evaluator), place: place,
            source: evaluator.source(
                tokens[tokens.startIndex].range.lowerBound..<tokens[tokens.endIndex - 1].range.upperBound),
            sources: stages.dropLast())
        if command.arguments.isOn("WhatIf") { throw Refused(reason: "-WhatIf changes nothing") }
        return try perform(cmdlet.action, command)
    }

    /// A command whose parameters are known.
    struct Command {
        let name: String
        let arguments: Arguments
        let place: ScriptPlace
        let source: String
        /// The commands of the pipeline before it.
        let sources: ArraySlice<Stage>
    }

    private mutating func perform(_ action: Cmdlet.Action, _ command: Command) throws -> Value? {
        if case .newSession = action { return try session(command) }
        switch action {
        case .set, .remove, .setAdapter: break
        default: if !command.sources.isEmpty { throw Refused(reason: "\(command.name) cannot be given objects with |") }
        }
        var target = command.arguments["CimSession"] ?? command.arguments["ComputerName"]
        for stage in command.sources where target == nil {
            guard let cmdlet = stage.cmdlet, !cmdlet.isFilter else { continue }
            let arguments = try Arguments(stage.arguments, of: cmdlet, evaluator)
            target = arguments["CimSession"] ?? arguments["ComputerName"]
        }
        guard let isWanted = hosts.isForChosen(target, command.place) else {
            throw Refused(
                reason: "which host is meant by \(oneLine(target?.source ?? "")) is known only when the script runs")
        }
        if !isWanted { return nil }

        switch action {
        case .new(let noun): try create(noun, command)
        case .set(let noun): try change(noun, command)
        case .remove(let noun): try remove(noun, command)
        case .setGlobal: try setGlobal(command)
        case .setAdapter: try setAdapter(command)
        case .addAdapter: try addAdapter(command)
        case .setIsolation: try setIsolation(command)
        case .mapRoutingDomain: try mapRoutingDomain(command)
        case .get, .getAdapter, .filter, .newSession: break
        }
        return nil
    }

    /// New-CimSession: the host that it is to.
    private func session(_ command: Command) throws -> Value? {
        guard let name = command.arguments["ComputerName"] else { return .session(host: "localhost") }
        guard let host = name.text else { return nil }
        return .session(host: host)
    }
}
