// SPDX-License-Identifier: Apache-2.0

/// What is known about a value of a script.
enum Value {
    case text(String)
    case flag(Bool)
    case null
    case list([Value])
    /// Something that only the Windows host knows, such as `(Get-NetAdapter "Ethernet").InterfaceIndex`: its source
    /// text, with the variables in it replaced as far as they are known.
    case symbolic(String)
    /// The name of a host, from New-CimSession.
    case session(host: String)

    /// The value as a text that a command gets; nil if it is not known.
    var text: String? {
        switch self {
        case .text(let text): text
        case .flag(let flag): flag ? "True" : "False"
        case .null: ""
        case .list, .symbolic, .session: nil
        }
    }

    /// The value as it stands in a message, or in the source of another.
    var source: String {
        switch self {
        case .text(let text): text
        case .flag(let flag): flag ? "$true" : "$false"
        case .null: "$null"
        case .list(let values): values.prefix(8).map(\.source).joined(separator: ",")
        case .symbolic(let source): source
        case .session(let host): "New-CimSession \(host)"
        }
    }

    /// What a parameter that takes several values gets.
    var elements: [Value] {
        if case .list(let values) = self { values } else { [self] }
    }
}

/// The variables of a script.
struct Variables {
    private var values: [String: Value] = ["true": .flag(true), "false": .flag(false), "null": .null]
    /// Those that were given on the command line; the script cannot change them.
    private var fixed: Set<String> = []

    /// - Parameter given: names and values from the command line
    init(_ given: [(name: String, value: String)]) {
        for (name, value) in given {
            values[variableName(name)] = .text(value)
            fixed.insert(variableName(name))
        }
    }

    subscript(name: String) -> Value? { values[name] }

    mutating func assign(_ name: String, _ value: Value) {
        if !fixed.contains(name) && !["true", "false", "null"].contains(name) { values[name] = value }
    }
}
