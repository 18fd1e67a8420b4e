// SPDX-License-Identifier: Apache-2.0

/// Which of a script's commands are for the host whose policy is wanted. A command is for another host when it has
/// -CimSession or -ComputerName.
struct Hosts {
    /// The host that was chosen; nil is the one on which the script runs.
    private let chosen: String?
    /// The hosts that commands name, with the first place of each.
    private(set) var named: [(name: String, place: ScriptPlace, count: Int)] = []
    /// Commands without a host, when another was chosen.
    private(set) var skipped = 0

    init(chosen: String?) {
        self.chosen = chosen.flatMap { Self.isLocal($0) ? nil : $0 }
        isChosen = chosen != nil
    }

    private let isChosen: Bool

    private static func isLocal(_ name: String) -> Bool {
        ["", ".", "localhost", "127.0.0.1", "::1", "$env:computername", "($env:computername)"].contains(
            name.lowercased())
    }

    /// Is a command for the chosen host?
    ///
    /// - Parameter target: the value of -CimSession or -ComputerName
    /// - Returns: nil when it is not known which host is meant
    mutating func isForChosen(_ target: Value?, _ place: ScriptPlace) -> Bool? {
        guard let target else { return takeLocal() }
        var isTaken = false
        for element in target.elements {
            switch element {
            case .text(let name) where Self.isLocal(name), .symbolic(let name) where Self.isLocal(name),
                .session(let name) where Self.isLocal(name):
                if takeLocal() { isTaken = true }
            case .text(let name), .session(let name):
                note(name, place)
                if name.lowercased() == chosen?.lowercased() { isTaken = true }
            default: return nil
            }
        }
        return isTaken
    }

    private mutating func takeLocal() -> Bool {
        if chosen == nil { return true }
        skipped += 1
        return false
    }

    private mutating func note(_ name: String, _ place: ScriptPlace) {
        if let index = named.firstIndex(where: { $0.name.lowercased() == name.lowercased() }) {
            named[index].count += 1
        } else {
            named.append((name, place, 1))
        }
    }

    /// Say what the choice left out.
    func report(to findings: Findings) throws {
        if let chosen, !named.contains(where: { $0.name.lowercased() == chosen.lowercased() }) {
            let names = named.map { oneLine($0.name) }.joined(separator: ", ")
            throw Refusal(
                "--host \(chosen): no command is for this host; "
                    + (names.isEmpty ? "no command names a host at all" : "named are: \(names)"))
        }
        if !isChosen {
            for host in named {
                findings.refuse(
                    host.place, "host \(host.name)",
                    "\(counted(host.count, "command")) from here on for this host; choose it with --host "
                        + "\(host.name), or those without a host with --host localhost")
            }
        }
        if skipped > 0 {
            findings.note(nil, "\(counted(skipped, "command")) without a host left out (--host localhost takes them)")
        }
    }
}
