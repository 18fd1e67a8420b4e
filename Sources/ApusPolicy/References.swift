// SPDX-License-Identifier: Apache-2.0

internal import CApus

/// What can be judged only when the whole file is known: names of ports, and VSIDs that a setting may allow.
///
/// Sections come in any order, so these are noted while reading and resolved at the end.
struct References {
    private struct Reference {
        let line: Int
        let path: String
        let value: String
    }

    /// Every port whose name could be read. The kind is nil if that is wrong: reported once, not at each use.
    private var ports: [String: (kind: apus_port_kind?, path: String, line: Int)] = [:]
    private var order: [String] = []
    private var uses: [Reference] = []
    private var parents: [Reference] = []
    /// External ports that have a parent.
    private var children: Set<String> = []
    private var unusualSubnets: [Reference] = []

    mutating func define(port name: String, kind: apus_port_kind?, _ fields: FieldReader) {
        if let other = ports[name] {
            fields.refuse("name", "\(quoted(name)) is already the name of \(other.path) on line \(other.line)")
            return
        }
        ports[name] = (kind, objectPath(fields.section, fields.index), fields.line)
        order.append(name)
    }

    /// A VSID. Those that RFC 7637 reserves are set aside until the settings are known.
    mutating func virtualSubnet(
        _ key: String, _ presence: FieldReader.Presence, _ fields: inout FieldReader
    ) -> UInt32? {
        let accepted = APUS_VSID_MIN...APUS_VSID_MAX
        let range = "\(accepted.lowerBound)-\(accepted.upperBound)"
        guard let text = fields.digits(key, presence, accepted: range) else { return nil }
        let value = UInt32(text)
        if let value, accepted.contains(value) { return value }
        unusualSubnets.append(.init(line: fields.lines[key], path: fields.path(key), value: text))
        return value ?? 0
    }

    /// The name of a provider port, perhaps one further down in the file.
    mutating func providerPort(_ key: String, _ fields: inout FieldReader) -> String? {
        guard let name = fields.text(key, .required, limit: 31) else { return nil }
        uses.append(.init(line: fields.lines[key], path: fields.path(key), value: name))
        return name
    }

    /// The name of the port that carries this one, perhaps one further down in the file.
    mutating func parentPort(_ key: String, _ child: String?, _ fields: inout FieldReader) -> String? {
        guard let name = fields.text(key, .optional, limit: 31) else { return nil }
        parents.append(.init(line: fields.lines[key], path: fields.path(key), value: name))
        if let child { children.insert(child) }
        return name
    }

    /// Judge what was set aside.
    func resolve(settings: Settings, problems: Problems) {
        let accepted = settings.acceptsReservedVSIDs == true ? 0...0xFF_FFFF : APUS_VSID_MIN...APUS_VSID_MAX
        for subnet in unusualSubnets {
            if let value = UInt32(subnet.value), accepted.contains(value) { continue }
            problems.add(
                subnet.line, subnet.path,
                "\(shortened(subnet.value)) is outside \(accepted.lowerBound)-\(accepted.upperBound)")
        }
        for use in uses {
            guard let port = ports[use.value] else {
                problems.add(use.line, use.path, missing(use.value, "provider", order.filter(isProvider)))
                continue
            }
            if let kind = port.kind, kind != APUS_PORT_PROVIDER {
                problems.add(
                    use.line, use.path,
                    "\(quoted(use.value)) (\(port.path), line \(port.line)) is not a port of kind provider")
            }
        }
        for use in parents {
            guard let port = ports[use.value] else {
                problems.add(use.line, use.path, missing(use.value, "provider or external", order.filter(isCarrier)))
                continue
            }
            if port.kind == APUS_PORT_VM || children.contains(use.value) {
                problems.add(
                    use.line, use.path,
                    "\(quoted(use.value)) (\(port.path), line \(port.line)) is "
                        + (port.kind == APUS_PORT_VM ? "a port of kind vm" : "a port with a parent itself")
                        + "; accepted: a provider port, or an external one without a parent")
            }
        }
    }

    private func isProvider(_ name: String) -> Bool { ports[name]?.kind == APUS_PORT_PROVIDER }

    /// May this port be the parent of others?
    private func isCarrier(_ name: String) -> Bool {
        isProvider(name) || (ports[name]?.kind == APUS_PORT_EXTERNAL && !children.contains(name))
    }

    private func missing(_ name: String, _ kind: String, _ candidates: [String]) -> String {
        if candidates.isEmpty { return "no port is named \(quoted(name)), and there is no port of kind \(kind)" }
        let listed = candidates.prefix(8).joined(separator: ", ") + (candidates.count > 8 ? ", ..." : "")
        return "no port is named \(quoted(name))\(suggestion(for: name, among: candidates)); \(kind) ports: \(listed)"
    }
}
