// SPDX-License-Identifier: Apache-2.0

/// The cmdlets of module NetWNV.
extension ScriptInterpreter {
    /// New-NetVirtualization...
    mutating func create(_ noun: PolicyNoun, _ command: Command) throws {
        var object = PolicyObject(values: [:], place: command.place)
        for field in noun.fields {
            guard let value = command.arguments[field.name] else {
                if case .required = field.presence { throw Refused(reason: "-\(field.name) is missing") }
                continue
            }
            object.values[field.name] = try PolicyNoun.canonical(value, field)
            if case .interface = field.kind { object.interfaceSource = value.source }
        }
        try checkFamilies(of: object)
        if noun.name == PolicyNoun.lookupRecord.name { try checkRecord(object) }
        if let other = objects[noun.name, default: PolicyObjects()].add(object, noun) {
            throw Refused(reason: "Windows would refuse it: this \(noun.words) was already made at \(other.text)")
        }
    }

    /// Do a prefix and its next hop, an address and its prefix length go together?
    private func checkFamilies(of object: PolicyObject) throws {
        if let prefix = object["DestinationPrefix"], let nextHop = object["NextHop"],
            Canonical.isIPv4(prefix) != Canonical.isIPv4(nextHop)
        {
            let families = Canonical.isIPv4(prefix) ? ("IPv4", "0.0.0.0") : ("IPv6", "::")
            throw Refused(
                reason: "-NextHop: \(nextHop) is no \(families.0) address, as the prefix \(prefix) needs; "
                    + "\(families.1) is on-link")
        }
        if let address = object["ProviderAddress"], let length = object["PrefixLength"].flatMap(UInt8.init),
            Canonical.isIPv4(address), length > 32
        {
            throw Refused(reason: "-PrefixLength: \(length) is not a number in 1-32, as \(address) needs")
        }
    }

    /// Records of two types are about a machine and not about an address.
    private func checkRecord(_ record: PolicyObject) throws {
        let address = record["CustomerAddress"] ?? "", type = record["Type"] ?? "Static"
        let isOfMachine = type == "GatewayWildcard" || type == "L2Only"
        if isOfMachine && !Canonical.isUnspecified(address) {
            throw Refused(reason: "-CustomerAddress: \(address) cannot be with -Type \(type); 0.0.0.0 or :: can")
        }
        if !isOfMachine && Canonical.isUnspecified(address) {
            throw Refused(reason: "-CustomerAddress: \(address) needs -Type GatewayWildcard or L2Only")
        }
        if record["UseVmMACAddress"] == "true", record["Rule"] != "TranslationMethodNat" {
            throw Refused(reason: "-UseVmMACAddress $true needs -Rule TranslationMethodNat")
        }
    }

    /// Set-NetVirtualization...
    mutating func change(_ noun: PolicyNoun, _ command: Command) throws {
        var filters = try piped(noun, command)
        var changes: [String: String] = [:]
        for field in noun.fields {
            guard let role = field.set, let value = command.arguments[field.name] else { continue }
            switch role {
            case .filter: try add(value, field, to: &filters)
            case .value: changes[field.name] = try PolicyNoun.canonical(value, field)
            }
        }
        if changes.isEmpty { throw Refused(reason: "it changes nothing") }
        let count = objects[noun.name]?.change(filters, changes) ?? 0
        if count == 0 { throw Refused(reason: "there is no such \(noun.words) to change") }
    }

    /// Remove-NetVirtualization...: without parameters, all of them.
    mutating func remove(_ noun: PolicyNoun, _ command: Command) throws {
        var filters = try piped(noun, command)
        for field in noun.fields {
            if let value = command.arguments[field.name] { try add(value, field, to: &filters) }
        }
        let count = objects[noun.name]?.remove(filters, noun) ?? 0
        if count == 0 && !filters.isEmpty {
            findings.note(command.place, "there is no such \(noun.words) to remove")
        }
    }

    /// Set-NetVirtualizationGlobal
    mutating func setGlobal(_ command: Command) throws {
        switch command.arguments["UseExternalRouter"] {
        case .flag(let flag): usesExternalRouter = flag
        case nil: throw Refused(reason: "it changes nothing")
        case .some(let value):
            throw Refused(reason: "-UseExternalRouter: \(oneLine(value.source)) is neither $true nor $false")
        }
    }

    // MARK: - Filters

    /// What Get-NetVirtualization... and Where-Object before this command let through.
    private func piped(_ noun: PolicyNoun, _ command: Command) throws -> [String: [String]] {
        if command.arguments["InputObject"] != nil { throw Refused(reason: "-InputObject is not understood; use |") }
        var filters: [String: [String]] = [:]
        for (index, stage) in command.sources.enumerated() {
            switch stage.cmdlet?.action {
            case .get(let source) where index == 0 && source.name == noun.name:
                guard let cmdlet = stage.cmdlet else { continue }
                let arguments = try Arguments(stage.arguments, of: cmdlet, evaluator)
                for field in noun.fields {
                    if let value = arguments[field.name] { try add(value, field, to: &filters) }
                }
            case .filter where index > 0:
                let (name, value) = try condition(stage)
                guard let field = noun.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
                    throw Refused(reason: "a \(noun.words) has no \(oneLine(name))")
                }
                try add(value, field, to: &filters)
            default: throw Refused(reason: "this pipeline is not understood")
            }
        }
        return filters
    }

    private func add(_ value: Value, _ field: PolicyNoun.Field, to filters: inout [String: [String]]) throws {
        if filters[field.name] != nil { throw Refused(reason: "-\(field.name) is asked for twice") }
        var accepted: [String] = []
        for element in value.elements { accepted.append(try PolicyNoun.canonical(element, field)) }
        filters[field.name] = accepted
    }

    /// `{ $_.Name -eq VALUE }`, or `Name -eq VALUE`
    func condition(_ stage: Stage) throws -> (name: String, value: Value) {
        let refused = Refused(reason: "of conditions, only { $_.NAME -eq VALUE } is understood")
        var tokens = Array(stage.arguments)
        if tokens.count == 1, case .block(let inside) = tokens[0].pieces?.first {
            var lexer = Lexer(scalars, inside, line: tokens[0].line)
            guard (try? lexer.run()) != nil else { throw refused }
            tokens = lexer.tokens.filter { if case .newline = $0.kind { false } else { true } }
        }
        guard tokens.count == 3, let word = tokens[1].bareText?.lowercased(), ["-eq", "-ieq"].contains(word),
            let pieces = tokens[0].pieces
        else { throw refused }
        let value = evaluator.value(of: tokens[2])
        if pieces.count == 2, case .variable("_") = pieces[0], case .bare(let name) = pieces[1], name.hasPrefix(".") {
            return (String(name.dropFirst()), value)
        }
        if pieces.count == 1, case .bare(let name) = pieces[0], name.first?.isLetter == true { return (name, value) }
        throw refused
    }
}
