// SPDX-License-Identifier: Apache-2.0

/// Writes an imported policy as a policy file.
struct PolicyEmitter {
    /// What stands where a person has to write something. No value of a policy file is like it, so that a file with it
    /// in is refused.
    private static let blank = "FILL IN"

    let policy: ImportedPolicy
    let findings: Findings
    let scripts: [String]

    var text: String {
        var lines = ["# Made by apusctl import-ps from \(scripts.map { oneLine($0) }.joined(separator: ", ")).", "#"]
        if !findings.isComplete {
            lines += ["# PARTIAL: what the following lines of the script do is NOT in this policy.", "#"]
            lines += findings.problemLines.map { "#   \($0)" } + ["#"]
        }
        if !findings.gaps.isEmpty {
            lines += ["# TO DO: replace every \"\(Self.blank): ...\"; apusctl check refuses them.", "#"]
            lines += findings.gaps.map { "#   \($0)" } + ["#"]
        }
        let withoutDevice = policy.ports.map(\.name).filter { policy.devices[$0] == nil }
        if !withoutDevice.isEmpty {
            lines += [
                "# What the ports are connected to is not in the script: a forwarder needs \"device\" for each port.",
                "# Check and replay do not.", "#",
            ]
        }
        lines.removeLast()
        lines += ["apus: 1"]
        if policy.usesExternalRouter { lines += ["", "settings:", "  use_external_router: true"] }
        lines += section("ports", policy.ports.map(port))
        lines += section("provider_addresses", policy.addresses.map(address))
        lines += section("provider_routes", policy.providerRoutes.map(providerRoute))
        lines += section("customer_routes", policy.customerRoutes.map(customerRoute))
        lines += section("lookup_records", policy.records.map(record))
        return lines.joined(separator: "\n") + "\n"
    }

    private func section(_ name: String, _ entries: [(text: String, comment: String?)]) -> [String] {
        if entries.isEmpty { return [] }
        return ["", "\(name):"] + entries.map { "  - {\($0.text)}" + ($0.comment.map { "  # \($0)" } ?? "") }
    }

    // MARK: - Objects

    private func port(_ port: ImportedPolicy.Port) -> (String, String?) {
        var text = "name: \(port.name), kind: \(port.isProvider ? "provider" : "vm")"
        var comment = oneLine(port.meaning)
        if let device = policy.devices[port.name] {
            text += ", device: \(Self.quoted(device))"
        } else {
            comment += "; \(Self.blank): device"
        }
        if !port.isProvider {
            text += ", virtual_subnet_id: \(port.subnet), mac: "
            text += Self.quoted(port.mac ?? "\(Self.blank): the MAC address of \(port.meaning)")
            if !port.candidates.isEmpty {
                comment += "; mac is one of \(port.candidates.prefix(8).joined(separator: ", "))"
            }
            if port.hasDHCPGuard { text += ", dhcp_guard: true" }
            if let limit = port.dynamicAddressLimit { text += ", dynamic_address_limit: \(limit)" }
        }
        return (text, comment)
    }

    private func address(_ address: ImportedPolicy.Address) -> (String, String?) {
        let length = address.prefixLength ?? Self.quoted("\(Self.blank): the length of the provider network's prefix")
        let own = address.address.map(Self.plain) ?? Self.quoted("\(Self.blank): a provider address of this host")
        var text =
            "provider_address: \(own), prefix_length: \(length), port: \(address.port), mac: "
        text += Self.quoted(address.mac ?? "\(Self.blank): the MAC address of \(address.port)")
        if let vlan = address.vlan, vlan != "0" { text += ", vlan: \(vlan)" }
        return (text, address.mac == nil ? address.unusableMAC.map { "not \($0): a group address" } : nil)
    }

    private func providerRoute(_ entry: (route: PolicyObject, port: String)) -> (String, String?) {
        let fields = Self.fields(entry.route, [("destination_prefix", "DestinationPrefix"), ("next_hop", "NextHop")])
        return (fields + ", port: \(entry.port)" + Self.metric(entry.route), nil)
    }

    private func customerRoute(_ route: PolicyObject) -> (String, String?) {
        let domain = Self.quoted(route["RoutingDomainID"] ?? "")
        let fields = Self.fields(
            route,
            [
                ("virtual_subnet_id", "VirtualSubnetID"), ("destination_prefix", "DestinationPrefix"),
                ("next_hop", "NextHop"),
            ])
        return ("routing_domain_id: \(domain), \(fields)" + Self.metric(route), nil)
    }

    private func record(_ record: PolicyObject) -> (String, String?) {
        var text = Self.fields(
            record, [("customer_address", "CustomerAddress"), ("virtual_subnet_id", "VirtualSubnetID")])
        text += ", mac: \(Self.quoted(record["MACAddress"] ?? "")), "
        text += Self.fields(record, [("provider_address", "ProviderAddress"), ("rule", "Rule")])
        if let type = record["Type"] { text += ", type: \(type)" }
        if record["UseVmMACAddress"] == "true" { text += ", use_vm_mac_address: true" }
        for (key, name) in [("vm_name", "VMName"), ("customer_id", "CustomerID"), ("context", "Context")] {
            if let value = record[name], !value.isEmpty { text += ", \(key): \(Self.quoted(value))" }
        }
        return (text, nil)
    }

    // MARK: - YAML

    private static func fields(_ object: PolicyObject, _ names: [(key: String, name: String)]) -> String {
        names.map { "\($0.key): \(plain(object[$0.name] ?? ""))" }.joined(separator: ", ")
    }

    private static func metric(_ object: PolicyObject) -> String {
        object["Metric"].map { $0 == "0" ? "" : ", metric: \($0)" } ?? ""
    }

    /// Text that YAML could not take for anything else needs no quotes; an IPv6 address in braces does.
    private static func plain(_ text: String) -> String {
        text.contains(":") ? quoted(text) : text
    }

    /// Text in double quotes.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _
            where scalar.properties.generalCategory == .control || scalar.value == 0x2028 || scalar.value == 0x2029
                || scalar.value == 0xFEFF || (0xFFFE...0xFFFF).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
