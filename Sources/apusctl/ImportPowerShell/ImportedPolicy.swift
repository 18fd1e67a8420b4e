// SPDX-License-Identifier: Apache-2.0

/// What an operator says on the command line because PowerShell does not.
struct HostFacts {
    /// The addresses that are this host's; empty when the script's own decide.
    var providerAddresses: [String] = []
    var uplink = "uplink"
    /// The MAC address of each uplink, by port; "" is the first.
    var uplinkMACs: [String: String] = [:]
    var prefixLength: Int?
    /// What ports are connected to.
    var devices: [(port: String, device: String)] = []
}

/// The policy of one host, made of what a script did.
struct ImportedPolicy {
    struct Port {
        var name: String
        let isProvider: Bool
        /// What the script calls it.
        let meaning: String
        var subnet = ""
        /// Nil when it is not known.
        var mac: String?
        /// What to choose the address from.
        var candidates: [String] = []
        var hasDHCPGuard = false
        var dynamicAddressLimit: String?
    }

    struct Address {
        /// Nil when the script makes none.
        let address: String?
        let prefixLength: String?
        let port: String
        let mac: String?
        /// The address of the script, when no adapter can have it.
        let unusableMAC: String?
        let vlan: String?
    }

    let usesExternalRouter: Bool
    private(set) var ports: [Port] = []
    private(set) var addresses: [Address] = []
    private(set) var providerRoutes: [(route: PolicyObject, port: String)] = []
    let customerRoutes: [PolicyObject]
    let records: [PolicyObject]
    private(set) var devices: [String: String] = [:]

    private let findings: Findings
    private let facts: HostFacts
    private var interfaces: [String: String] = [:]
    /// This host's provider addresses.
    private let local: Set<String>
    /// The lookup records of each virtual subnet.
    private let recordsOfSubnet: [String: [PolicyObject]]
    /// The lookup records of each machine, by its name in small letters.
    private let recordsOfMachine: [String: [PolicyObject]]
    /// The addresses in each virtual subnet that lookup records put on this host.
    private var localMACs: [String: Set<String>] = [:]
    private var names: Set<String> = []

    init(_ script: ScriptInterpreter, _ facts: HostFacts) throws {
        findings = script.findings
        usesExternalRouter = script.usesExternalRouter
        self.facts = facts
        names = [facts.uplink]
        customerRoutes = script.objects["CustomerRoute"]?.all ?? []
        records = script.objects["LookupRecord"]?.all ?? []
        recordsOfSubnet = Dictionary(grouping: records) { $0["VirtualSubnetID"] ?? "" }
        recordsOfMachine = Dictionary(grouping: records) { $0["VMName"]?.lowercased() ?? "" }
        let made = script.objects["ProviderAddress"]?.all ?? []
        local = Set(
            facts.providerAddresses.isEmpty ? made.compactMap { $0["ProviderAddress"] } : facts.providerAddresses)
        for record in records where isLocal(record) {
            localMACs[record["VirtualSubnetID"] ?? "", default: []].insert(record["MACAddress"] ?? "")
        }
        addAddresses(made)
        for route in script.objects["ProviderRoute"]?.all ?? [] {
            providerRoutes.append((route, uplink(route["InterfaceIndex"] ?? "", route.interfaceSource)))
        }
        for machine in script.machines.machines {
            for adapter in machine.virtualized { addPorts(machine, adapter) }
        }
        if local.isEmpty && !(records.isEmpty && ports.isEmpty) {
            findings.gap("the script makes no provider address: give this host's with --provider-address ADDR")
            let port = ports.first { $0.isProvider }?.name ?? uplink("", "the uplink")
            let mac = facts.uplinkMACs[port] ?? facts.uplinkMACs[""]
            addresses.append(
                Address(
                    address: nil, prefixLength: facts.prefixLength.map(String.init), port: port, mac: mac,
                    unusableMAC: nil,
                    vlan: nil))
        }
        try assignFacts()
        warnAboutGateways()
    }

    // MARK: - The provider's side

    private mutating func addAddresses(_ made: [PolicyObject]) {
        for object in made {
            guard let address = object["ProviderAddress"] else { continue }
            guard local.contains(address) else {
                findings.note(object.place, "provider address \(address) is another host's, left out")
                continue
            }
            add(address, object)
        }
        for address in facts.providerAddresses where !made.contains(where: { $0["ProviderAddress"] == address }) {
            add(address, nil)
        }
    }

    private mutating func add(_ address: String, _ object: PolicyObject?) {
        let first = ports.first { $0.isProvider }?.name
        let port =
            object.map { uplink($0["InterfaceIndex"] ?? "", $0.interfaceSource) } ?? first ?? uplink("", "the uplink")
        let isFirst = ports.first { $0.isProvider }?.name == port
        let given = facts.uplinkMACs[port] ?? (isFirst ? facts.uplinkMACs[""] : nil)
        let scripted = object?["MACAddress"]
        let usable = scripted.flatMap { Canonical.isUnicast(mac: $0) ? $0 : nil }
        let length = object?["PrefixLength"] ?? facts.prefixLength.map(String.init)
        let entry = Address(
            address: address, prefixLength: length, port: port, mac: given ?? usable,
            unusableMAC: usable == nil ? scripted : nil, vlan: object?["VlanID"])
        addresses.append(entry)
        let start = (object.map { "\($0.place.text): " } ?? "") + "provider address \(address): "
        if entry.mac == nil {
            let why =
                entry.unusableMAC.map { "\($0) is no address that an adapter can have" }
                ?? "the script does not say its MAC address"
            findings.gap("\(start)\(why): give it with --uplink-mac MAC")
        } else if let given, let scripted, given != scripted {
            findings.note(
                object?.place, "provider address \(address) has MAC address \(given) by --uplink-mac, not \(scripted)")
        }
        if length == nil { findings.gap("\(start)its prefix length is missing: give it with --prefix-length N") }
    }

    /// The port of an interface. Each interface that the script names is one.
    private mutating func uplink(_ interface: String, _ source: String) -> String {
        if let name = interfaces[interface] { return name }
        let name = interfaces.isEmpty ? facts.uplink : uniqueName(facts.uplink)
        interfaces[interface] = name
        ports.append(Port(name: name, isProvider: true, meaning: source))
        return name
    }

    // MARK: - The machines

    private mutating func addPorts(_ machine: VirtualMachines.Machine, _ adapter: VirtualMachines.Adapter) {
        let subnet = adapter.subnet ?? ""
        let named = (recordsOfMachine[machine.name.lowercased()] ?? []).filter { $0["VirtualSubnetID"] == subnet }
        let here = named.filter { isLocal($0) }
        if here.isEmpty && !named.isEmpty {
            findings.note(
                adapter.place,
                "\(machine.name) is on another host by its lookup records (\(named[0]["ProviderAddress"] ?? "")); "
                    + "no port made"
            )
            return
        }
        // The records say what the machine may send, the static address says what it does send.
        let recorded = unique(here.compactMap { $0["MACAddress"] })
        let fixed = machine.hasSeveralAdapters || adapter.macs.isEmpty ? adapter.macs : Array(adapter.macs.suffix(1))
        let localMACs = localMACs[subnet] ?? []
        var chosen: [String]
        if !recorded.isEmpty {
            chosen = fixed.isEmpty ? recorded : recorded.filter(fixed.contains)
        } else {
            chosen = fixed.filter(localMACs.contains)
            if chosen.isEmpty && fixed.count == 1 {
                chosen = fixed
                findings.note(
                    adapter.place,
                    "no lookup record in \(subnet) has the address of \(machine.name), \(fixed[0]); "
                        + "what it sends will be dropped"
                )
            }
        }
        if fixed.count > 1, let first = chosen.first, chosen.count == 1 {
            findings.note(
                adapter.place,
                "\(machine.name) has several adapters and addresses (\(fixed.joined(separator: ", "))); its port has "
                    + "\(first), which a lookup record in \(subnet) has too")
        }
        let meaning = machine.name + (adapter.name.map { ", adapter \($0)" } ?? "")
        for mac in chosen {
            ports.append(
                Port(
                    name: portName(machine.name), isProvider: false, meaning: meaning, subnet: subnet, mac: mac,
                    hasDHCPGuard: adapter.hasDHCPGuard, dynamicAddressLimit: adapter.dynamicAddressLimit))
        }
        if chosen.isEmpty {
            let candidates = unique(recorded + fixed + (recorded.isEmpty && fixed.isEmpty ? localMACs.sorted() : []))
            let name = portName(machine.name)
            ports.append(
                Port(
                    name: name, isProvider: false, meaning: meaning, subnet: subnet, candidates: candidates,
                    hasDHCPGuard: adapter.hasDHCPGuard, dynamicAddressLimit: adapter.dynamicAddressLimit))
            findings.gap(
                "\(adapter.place.text): port \(name): the MAC address of \(meaning) is not certain"
                    + (candidates.isEmpty ? "" : " (\(candidates.prefix(8).joined(separator: ", "))?)")
                    + ": neither -StaticMacAddress nor a lookup record with -VMName \(machine.name) settles it")
        }
    }

    private func isLocal(_ record: PolicyObject) -> Bool {
        local.isEmpty || record["ProviderAddress"].map(local.contains) == true
    }

    private func unique(_ texts: [String]) -> [String] {
        var seen: Set<String> = []
        return texts.filter { seen.insert($0).inserted }
    }

    // MARK: - Names

    /// A port's name is the name of a file too.
    private mutating func portName(_ machine: String) -> String {
        var name = String(
            machine.lowercased().unicodeScalars.map { scalar in
                let fits =
                    scalar.isASCII
                    && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                        || "-_.".unicodeScalars.contains(scalar))
                return fits ? Character(scalar) : "-"
            }.prefix(28))
        if name.first == "." || name.first == "-" || name.isEmpty { name = "vm" + name.prefix(26) }
        return uniqueName(name)
    }

    private mutating func uniqueName(_ name: String) -> String {
        var candidate = name
        var number = 1
        while !names.insert(candidate).inserted {
            number += 1
            candidate = "\(name.prefix(24))\(name.last?.isNumber == true ? "-" : "")\(number)"
        }
        return candidate
    }

    /// Give the ports what the command line says about them.
    private mutating func assignFacts() throws {
        let names = ports.map(\.name)
        for (port, device) in facts.devices {
            guard names.contains(port) else {
                throw Refusal(
                    "--device \(port)=\(device): the policy has no port of this name; its ports: "
                        + "\(names.joined(separator: ", "))"
                )
            }
            devices[port] = device
        }
        let uplinks = ports.filter(\.isProvider).map(\.name)
        for port in facts.uplinkMACs.keys.sorted() where !port.isEmpty && !uplinks.contains(port) {
            throw Refusal(
                "--uplink-mac \(port)=...: the policy has no uplink of this name; its uplinks: "
                    + "\(uplinks.joined(separator: ", "))"
            )
        }
    }

    /// Every host is the gateway of its own machines. A gateway's record with another host's address is a slip that is
    /// hard to find later.
    private func warnAboutGateways() {
        let subnets = Set(ports.map(\.subnet))
        for route in customerRoutes {
            guard let subnet = route["VirtualSubnetID"], let prefix = route["DestinationPrefix"],
                subnets.contains(subnet)
            else { continue }
            for record in recordsOfSubnet[subnet] ?? [] where !isLocal(record) {
                guard let address = record["CustomerAddress"], Canonical.isFirstAddress(address, of: prefix) else {
                    continue
                }
                findings.note(
                    record.place,
                    "\(address) is the gateway of virtual subnet \(subnet), which has machines on this host, but its "
                        + "provider address \(record["ProviderAddress"] ?? "") is not this host's")
            }
        }
    }
}
