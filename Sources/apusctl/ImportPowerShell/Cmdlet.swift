// SPDX-License-Identifier: Apache-2.0

/// A command that is understood, with its parameters.
struct Cmdlet {
    struct Parameter {
        let name: String
        let aliases: [String]
        /// A switch takes no value.
        let isSwitch: Bool

        init(_ name: String, _ aliases: String..., isSwitch: Bool = false) {
            self.name = name
            self.aliases = aliases
            self.isSwitch = isSwitch
        }
    }

    enum Action {
        case new(PolicyNoun)
        case set(PolicyNoun)
        case remove(PolicyNoun)
        case get(PolicyNoun)
        case setGlobal
        case setAdapter, getAdapter, addAdapter, setIsolation, mapRoutingDomain
        case newSession
        case filter
    }

    let name: String
    let action: Action
    let parameters: [Parameter]
    /// The parameters that values without a name are for.
    let positional: [String]

    /// Parameters that every command has. They do not change what it does.
    private static let common: [Parameter] = [
        .init("Verbose", "vb", isSwitch: true), .init("Debug", "db", isSwitch: true), .init("ErrorAction", "ea"),
        .init("WarningAction", "wa"), .init("InformationAction", "infa"), .init("ErrorVariable", "ev"),
        .init("WarningVariable", "wv"), .init("InformationVariable", "iv"), .init("OutVariable", "ov"),
        .init("OutBuffer", "ob"), .init("PipelineVariable", "pv"),
    ]
    private static let remote: [Parameter] = [
        .init("CimSession", "Session"), .init("ThrottleLimit"), .init("AsJob", isSwitch: true),
    ]
    private static let passThru = [Parameter("PassThru", isSwitch: true)]
    private static let shouldProcess: [Parameter] = [
        .init("WhatIf", "wi", isSwitch: true), .init("Confirm", "cf", isSwitch: true),
    ]
    private static let virtualMachine: [Parameter] = [
        .init("VMName"), .init("ComputerName"), .init("CimSession"), .init("Credential"),
    ]

    /// Settings of an adapter that a port has too.
    static let portSettings: [Parameter] = [.init("DhcpGuard"), .init("DynamicIPAddressLimit")]

    /// Settings of an adapter that have nothing to do with network virtualization.
    static let adapterSettings: [Parameter] = [
        .init("MacAddressSpoofing"), .init("RouterGuard"), .init("PortMirroring"),
        .init("IeeePriorityTag"), .init("VmqWeight"), .init("IovQueuePairsRequested"), .init("IovInterruptModeration"),
        .init("IovWeight"), .init("IPsecOffloadMaximumSecurityAssociation"), .init("MaximumBandwidth"),
        .init("MinimumBandwidthAbsolute"), .init("MinimumBandwidthWeight"), .init("MandatoryFeatureId"),
        .init("ResourcePoolName"), .init("TestReplicaPoolName"), .init("TestReplicaSwitchName"), .init("AllowTeaming"),
        .init("NotMonitoredInCluster"), .init("StormLimit"), .init("DeviceNaming"),
        .init("FixSpeed10G"), .init("PacketDirectNumProcs"), .init("PacketDirectModerationCount"),
        .init("PacketDirectModerationInterval"), .init("VrssEnabled"), .init("VmmqEnabled"), .init("VmmqQueuePairs"),
    ]

    init(_ name: String, _ action: Action, _ parameters: [Parameter], positional: [String] = []) {
        self.name = name
        self.action = action
        self.parameters = parameters + Self.common
        self.positional = positional
    }

    /// All that are understood, by name in small letters.
    static let known: [String: Cmdlet] = {
        var cmdlets: [Cmdlet] = []
        for noun in PolicyNoun.all {
            let all = noun.fields.map { Parameter($0.name) }
            let ofSet = noun.fields.filter { $0.set != nil }.map { Parameter($0.name) }
            let name = "NetVirtualization\(noun.name)"
            cmdlets += [
                Cmdlet("New-\(name)", .new(noun), all + remote),
                Cmdlet("Set-\(name)", .set(noun), ofSet + remote + passThru + [.init("InputObject")]),
                Cmdlet("Remove-\(name)", .remove(noun), all + remote + passThru + [.init("InputObject")]),
                Cmdlet("Get-\(name)", .get(noun), all + remote),
            ]
        }
        let adapter: [Parameter] = [
            .init("Name", "VMNetworkAdapterName"), .init("VM"), .init("VMNetworkAdapter"),
            .init("ManagementOS", isSwitch: true),
        ]
        let settings: [Parameter] = [
            .init("VirtualSubnetId"), .init("StaticMacAddress"), .init("DynamicMacAddress", isSwitch: true),
        ]
        let isolation: [Parameter] = [
            .init("VMNetworkAdapterName"), .init("VMNetworkAdapter"), .init("ManagementOS", isSwitch: true),
        ]
        cmdlets += [
            Cmdlet(
                "Set-NetVirtualizationGlobal", .setGlobal,
                [.init("UseExternalRouter"), .init("InputObject")] + remote + passThru),
            Cmdlet(
                "Set-VMNetworkAdapter", .setAdapter,
                virtualMachine + adapter + settings + portSettings + adapterSettings + passThru + shouldProcess, positional: ["VMName"]
            ),
            Cmdlet(
                "Get-VMNetworkAdapter", .getAdapter, virtualMachine + adapter + [.init("All", isSwitch: true)],
                positional: ["VMName"]),
            Cmdlet(
                "Add-VMNetworkAdapter", .addAdapter,
                virtualMachine + adapter + settings + passThru + shouldProcess + [
                    .init("SwitchName"), .init("IsLegacy"), .init("ResourcePoolName"), .init("DeviceNaming"),
                ], positional: ["VMName"]),
            Cmdlet(
                "Get-VM", .getAdapter, [.init("VMName", "Name"), .init("ComputerName"), .init("CimSession")],
                positional: ["VMName"]),
            Cmdlet(
                "Set-VMNetworkAdapterIsolation", .setIsolation,
                virtualMachine + isolation + [
                    .init("IsolationMode"), .init("AllowUntaggedTraffic"), .init("DefaultIsolationID"),
                    .init("MultiTenantStack"),
                ] + passThru + shouldProcess, positional: ["VMName"]),
            Cmdlet(
                "Add-VMNetworkAdapterRoutingDomainMapping", .mapRoutingDomain,
                virtualMachine + isolation + [
                    .init("RoutingDomainID"), .init("RoutingDomainName"), .init("IsolationID"), .init("IsolationName"),
                ] + passThru + shouldProcess, positional: ["VMName"]),
            Cmdlet(
                "New-CimSession", .newSession,
                [.init("ComputerName"), .init("Name"), .init("Credential"), .init("SessionOption")],
                positional: ["ComputerName"]),
            Cmdlet("Where-Object", .filter, []),
        ]
        var known = Dictionary(uniqueKeysWithValues: cmdlets.map { ($0.name.lowercased(), $0) })
        known["where"] = known["where-object"]
        known["?"] = known["where-object"]
        return known
    }()

    /// Does it change nothing?
    var isLooking: Bool {
        switch action {
        case .get, .getAdapter, .filter: true
        default: false
        }
    }

    var isFilter: Bool { if case .filter = action { true } else { false } }

    // MARK: - Commands without effect on a policy

    /// Commands that change the host, but nothing that a policy file says.
    private static let harmless: Set<String> = [
        "add-windowsfeature", "checkpoint-vm", "clear-host", "cls", "connect-vmnetworkadapter",
        "disable-netadapterbinding", "disconnect-vmnetworkadapter", "enable-netadapterbinding",
        "enable-netfirewallrule",
        "import-module", "install-windowsfeature", "netsh", "new-netfirewallrule", "new-netipaddress",
        "new-netlbfoteam",
        "new-vhd", "new-vm", "new-vmswitch", "ping", "rename-netadapter", "restart-computer", "restart-vm",
        "set-executionpolicy", "set-netfirewallrule", "set-netipinterface", "set-strictmode", "set-vm", "set-vmmemory",
        "set-vmprocessor", "set-vmswitch", "set-vmswitchextension", "enable-vmswitchextension", "start-sleep",
        "start-vm", "stop-vm", "vmconnect",
    ]
    /// Commands that only look or print.
    private static let looking: Set<String> = [
        "echo", "fl", "format-list", "format-table", "ft", "fw", "measure-object", "out-default", "out-file",
        "out-host",
        "out-null", "out-string", "select", "select-netvirtualizationnexthop", "select-object", "sort", "sort-object",
        "tee-object", "ipconfig", "export-csv", "convertto-json",
    ]
    private static let lookingVerbs = ["get-", "write-", "test-", "format-", "show-", "measure-"]

    static func isHarmless(_ name: String) -> Bool { harmless.contains(name.lowercased()) }

    static func isLooking(_ name: String) -> Bool {
        let name = name.lowercased()
        return looking.contains(name) || lookingVerbs.contains(where: name.hasPrefix)
    }
}
