// SPDX-License-Identifier: Apache-2.0

/// The cmdlets of module Hyper-V that say which virtual subnet a machine is in.
extension ScriptInterpreter {
    /// Set-VMNetworkAdapter
    mutating func setAdapter(_ command: Command) throws {
        let subnet = try virtualSubnet(command)
        let mac = try staticMAC(command)
        let guardsDHCP = try onOrOff("DhcpGuard", command)
        let limit = try addressLimit(command)
        let selected = try selectedAdapters(command)
        let settings = Cmdlet.adapterSettings.map(\.name).filter { command.arguments[$0] != nil }
        if !settings.isEmpty {
            let names = settings.map { "-\($0)" }.joined(separator: ", ")
            findings.note(command.place, "no counterpart in a policy file, left out: \(names)")
        }
        if subnet == nil && mac == nil && guardsDHCP == nil && limit == nil
            && command.arguments["DynamicMacAddress"] == nil
        {
            if settings.isEmpty { throw Refused(reason: "it changes nothing") }
            return
        }
        for machine in selected.machines {
            machines.change(machine, command.place) { machine in
                machine.change(selected.adapter, command.place) { adapter in
                    if let known = selected.mac { adapter.macs = [known] }
                    if let guardsDHCP { adapter.hasDHCPGuard = guardsDHCP }
                    if let limit { adapter.dynamicAddressLimit = limit }
                    if let subnet {
                        adapter.subnet = subnet
                        adapter.place = command.place
                    }
                    if let mac {
                        adapter.macs.removeAll { $0 == mac }
                        adapter.macs.append(mac)
                    }
                    if command.arguments.isOn("DynamicMacAddress") { adapter.macs = [] }
                }
            }
        }
    }

    /// Add-VMNetworkAdapter
    mutating func addAdapter(_ command: Command) throws {
        let mac = try staticMAC(command)
        let name = try optionalText("Name", command)
        for machine in try machineNames(command.arguments) {
            machines.change(machine, command.place) { machine in
                machine.hasSeveralAdapters = true
                guard let mac, let name else { return }
                machine.change(name, command.place) { $0.macs = [mac] }
            }
        }
        if mac != nil && name == nil {
            throw Refused(reason: "an adapter with an address, but without -Name, is not understood")
        }
        findings.leaveOut(command.name, command.place)
    }

    /// Set-VMNetworkAdapterIsolation: only the mode of network virtualization has a counterpart, and needs none.
    func setIsolation(_ command: Command) throws {
        _ = try machineNames(command.arguments)
        if let mode = command.arguments["IsolationMode"], mode.text?.lowercased() != "nativevirtualsubnet" {
            throw Refused(reason: "-IsolationMode \(oneLine(mode.source)) has no counterpart in a policy file")
        }
        if command.arguments["DefaultIsolationID"] != nil {
            throw Refused(reason: "-DefaultIsolationID has no counterpart in a policy file")
        }
        findings.leaveOut(command.name, command.place)
    }

    /// Add-VMNetworkAdapterRoutingDomainMapping
    mutating func mapRoutingDomain(_ command: Command) throws {
        guard let subnet = command.arguments["IsolationID"] else { throw Refused(reason: "-IsolationID is missing") }
        guard let domain = command.arguments["RoutingDomainID"] else {
            throw Refused(reason: "-RoutingDomainID is missing")
        }
        let subnetField = PolicyNoun.Field("IsolationID", .virtualSubnet, .required, set: nil)
        let domainField = PolicyNoun.Field("RoutingDomainID", .guid, .required, set: nil)
        let canonicalSubnet = try PolicyNoun.canonical(subnet, subnetField)
        let canonicalDomain = try PolicyNoun.canonical(domain, domainField)
        for machine in try machineNames(command.arguments) {
            mappings.append((machine, canonicalSubnet, canonicalDomain, command.place, command.source))
        }
    }

    /// Judge the mappings: a port is in one virtual subnet. One that gives it a second cannot be had.
    func judgeMappings() {
        for mapping in mappings {
            let machine = machines[mapping.machine]
            guard machine?.virtualized.contains(where: { $0.subnet == mapping.subnet }) == true else {
                findings.refuse(
                    mapping.place, mapping.source,
                    "a port of a policy file is in one virtual subnet, and \(mapping.machine) is not put into "
                        + "\(mapping.subnet) with Set-VMNetworkAdapter")
                continue
            }
            let routes = (objects["CustomerRoute"]?.all ?? []).filter { $0["VirtualSubnetID"] == mapping.subnet }
            let domains = Set(routes.compactMap { $0["RoutingDomainID"] })
            if !domains.isEmpty && !domains.contains(mapping.domain) {
                findings.note(
                    mapping.place,
                    "virtual subnet \(mapping.subnet) is in routing domain \(domains.sorted().joined(separator: ", "))"
                        + " by its customer routes, not in \(mapping.domain); the customer routes count")
            } else {
                findings.leaveOut("Add-VMNetworkAdapterRoutingDomainMapping", mapping.place)
            }
        }
    }

    // MARK: - Values

    private func virtualSubnet(_ command: Command) throws -> String? {
        guard let value = command.arguments["VirtualSubnetId"] else { return nil }
        if value.text.flatMap(Canonical.number) == 0 { return "0" }
        return try PolicyNoun.canonical(value, .init("VirtualSubnetId", .virtualSubnet, .required, set: nil))
    }

    private func staticMAC(_ command: Command) throws -> String? {
        guard let value = command.arguments["StaticMacAddress"] else { return nil }
        return try PolicyNoun.canonical(value, .init("StaticMacAddress", .mac, .required, set: nil))
    }

    private func onOrOff(_ name: String, _ command: Command) throws -> Bool? {
        guard let value = command.arguments[name] else { return nil }
        switch value.text?.lowercased() {
        case "on": return true
        case "off": return false
        case nil: throw Refused(reason: "-\(name): \(PolicyNoun.unknown(value))")
        case .some: throw Refused(reason: "-\(name): \"\(oneLine(value.source))\" is neither On nor Off")
        }
    }

    private func addressLimit(_ command: Command) throws -> String? {
        guard let value = command.arguments["DynamicIPAddressLimit"] else { return nil }
        return try PolicyNoun.canonical(
            value, .init("DynamicIPAddressLimit", .number(1...65536), .required, set: nil))
    }

    private func optionalText(_ name: String, _ command: Command) throws -> String? {
        guard let value = command.arguments[name] else { return nil }
        guard let text = value.text else { throw Refused(reason: "-\(name): \(PolicyNoun.unknown(value))") }
        if text.contains(where: "*?[".contains) { throw Refused(reason: Self.wildcard(text)) }
        return text
    }

    private static func wildcard(_ text: String) -> String {
        "which machines or adapters \"\(oneLine(text))\" stands for is known only on the host; name them one by one"
    }

    private func machineNames(_ arguments: Arguments) throws -> [String] {
        for name in ["VM", "VMNetworkAdapter", "ManagementOS", "All"] where arguments[name] != nil {
            throw Refused(reason: "-\(name) is not understood; name the machine with -VMName")
        }
        guard let value = arguments["VMName"] else { throw Refused(reason: "-VMName is missing") }
        return try value.elements.map { element in
            guard let name = element.text, !name.isEmpty else {
                throw Refused(reason: "-VMName: \(PolicyNoun.unknown(element))")
            }
            if name.contains(where: "*?[".contains) { throw Refused(reason: Self.wildcard(name)) }
            return name
        }
    }

    /// The adapters that a command is about: by its own parameters, or by Get-VM, Get-VMNetworkAdapter and Where-Object
    /// before it.
    private func selectedAdapters(_ command: Command) throws -> (machines: [String], adapter: String?, mac: String?) {
        if command.sources.isEmpty {
            return (try machineNames(command.arguments), try optionalText("Name", command), nil)
        }
        var names: [String]?
        var adapter: String?
        var mac: String?
        for stage in command.sources {
            guard let cmdlet = stage.cmdlet else { throw Refused(reason: "this pipeline is not understood") }
            switch cmdlet.action {
            case .getAdapter:
                let arguments = try Arguments(stage.arguments, of: cmdlet, evaluator)
                if names == nil { names = try machineNames(arguments) }
                if let value = arguments["Name"] {
                    guard let text = value.text, !text.contains(where: "*?[".contains) else {
                        throw Refused(reason: Self.wildcard(value.source))
                    }
                    adapter = text
                }
            case .filter where names != nil:
                let (name, value) = try condition(stage)
                guard let text = value.text else { throw Refused(reason: PolicyNoun.unknown(value)) }
                switch name.lowercased() {
                case "macaddress":
                    mac = try PolicyNoun.canonical(value, .init("MacAddress", .mac, .required, set: nil))
                case "name": adapter = text
                default: throw Refused(reason: "a condition on \(oneLine(name)) is not understood")
                }
            default: throw Refused(reason: "this pipeline is not understood")
            }
        }
        guard let names else { throw Refused(reason: "this pipeline is not understood") }
        return (names, adapter ?? mac, mac)
    }
}
