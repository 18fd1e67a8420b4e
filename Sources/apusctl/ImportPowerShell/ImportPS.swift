// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `apusctl import-ps`
struct ImportPS: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-ps",
        abstract: "Turn PowerShell scripts for Hyper-V Network Virtualization into a policy file.",
        discussion: """
            Understood are straight-line scripts of these commands, as they are typed or
            printed in books:

              New-, Set-, Remove-NetVirtualizationLookupRecord, ...CustomerRoute,
              ...ProviderAddress, ...ProviderRoute; Set-NetVirtualizationGlobal
              Set-VMNetworkAdapter -VirtualSubnetId, -StaticMacAddress
              Get-... | Where-Object { $_.NAME -eq VALUE } | Set-... or Remove-...
              $name = a text, a number, "texts with $variables", text + text

            with abbreviated parameters, aliases, line continuations and comments. Later
            commands change and remove what earlier ones made. Commands that only look, or
            that set up the host, are left out; the latter are listed.

            Everything else is reported with its line and is never guessed: then nothing
            is written and the exit status is 1. With --allow-partial the policy is
            written all the same, and says in a comment at its top what is not in it.

            WHAT THE SCRIPT DOES NOT SAY
              An uplink for every interface that provider addresses name, called
              --uplink, and numbered from the second on. Its MAC address is that of
              --uplink-mac, else the script's -MACAddress. Each virtual machine with a
              virtual subnet becomes a port if its lookup records (-VMName) have a
              provider address of this host; its MAC address is theirs, or its
              -StaticMacAddress. Without records of its name the machine is taken for
              one of this host: Set-VMNetworkAdapter works on no other. What is still
              missing is listed, and stands in the policy as "FILL IN: ...", which
              apusctl check refuses. Devices are not checked: they are comments until
              --device gives them.

            WHICH HOST
              Commands with -CimSession or -ComputerName are for other hosts than the
              one the script runs on: choose one with --host. Of a script that makes the
              provider addresses of several hosts, --provider-address chooses those of
              this one; it also gives those that the script does not make.

            EXAMPLES
              apusctl import-ps host1.ps1 --out host1.yaml --uplink-mac 32:44:55:66:77:88
              apusctl check --policy host1.yaml

              A tenant's ID that the script makes up when it runs:
                apusctl import-ps red.ps1 --out red.yaml \\
                  --variable redGUID={11111111-2222-3333-4444-000000005001}
            """)

    @Argument(help: ArgumentHelp("The scripts, run one after the other; - is standard input.", valueName: "file.ps1"))
    var scripts: [String]

    @Option(help: ArgumentHelp("The policy file to write, instead of standard output.", valueName: "policy.yaml"))
    var out: String?

    @Option(help: ArgumentHelp("The host, of those that the script names, whose policy is wanted.", valueName: "name"))
    var host: String?

    @Option(help: ArgumentHelp("A provider address of this host. Repeatable.", valueName: "addr"))
    var providerAddress: [String] = []

    @Option(help: ArgumentHelp("The name of the port to the provider network.", valueName: "name"))
    var uplink = "uplink"

    @Option(
        help: ArgumentHelp("The MAC address of the uplink, or of one of several. Repeatable.", valueName: "[port=]mac"))
    var uplinkMac: [String] = []

    @Option(help: ArgumentHelp("The prefix length of provider addresses without one.", valueName: "n"))
    var prefixLength: Int?

    @Option(help: ArgumentHelp("What a port is connected to. Repeatable.", valueName: "port=device"))
    var device: [String] = []

    @Option(
        help: ArgumentHelp(
            "The value of a variable, whatever the script assigns to it. Repeatable.", valueName: "name=value"))
    var variable: [String] = []

    @Flag(help: "Write the policy even if a part of the script was not understood.")
    var allowPartial = false

    func validate() throws { _ = try facts() }

    func run() throws {
        try reportingRefusals {
            let facts = try facts()
            let findings = Findings()
            let variables = try variable.map { try Self.pair($0, "--variable") }
            var interpreter = ScriptInterpreter(findings: findings, variables: variables, host: host)
            for script in scripts { interpreter.run(try ScriptFile(path: script)) }
            try interpreter.hosts.report(to: findings)
            interpreter.judgeMappings()
            let policy = try ImportedPolicy(interpreter, facts)

            for line in findings.problemLines + findings.noteLines { StandardError.print(line) }
            for line in findings.gaps { StandardError.print("to fill in: \(line)") }
            guard findings.isComplete || allowPartial else {
                let count = findings.problems.count + findings.omitted
                throw Refusal(
                    "nothing written: \(counted(count, "part")) of the script not understood "
                        + "(--allow-partial writes the rest)"
                )
            }
            try write(PolicyEmitter(policy: policy, findings: findings, scripts: scripts).text)
        }
    }

    private func write(_ text: String) throws {
        guard let out, out != "-" else { return StandardOutput.print(text, terminator: "") }
        try OutputDirectory(path: ".").refuse(overwriting: scripts, by: [out])
        try OutputDirectory.write(text, to: out)
    }

    // MARK: - The command line

    private func facts() throws -> HostFacts {
        var facts = HostFacts()
        for text in providerAddress {
            guard let address = Canonical.address(text) else {
                throw ValidationError("--provider-address \(text) is not an IP address.")
            }
            facts.providerAddresses.append(address)
        }
        guard let first = uplink.first, first.isLetter || first.isNumber, uplink.utf8.count <= 24,
            uplink.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) })
        else {
            throw ValidationError(
                "--uplink \(uplink) is not a port name: letters, digits, '-', '_' and '.', at most 24.")
        }
        facts.uplink = uplink
        for text in uplinkMac {
            let (port, address) = text.contains("=") ? try Self.pair(text, "--uplink-mac") : ("", text)
            guard let mac = Canonical.mac(address), Canonical.isUnicast(mac: mac) else {
                throw ValidationError("--uplink-mac \(text) is not an adapter's MAC address such as 32:44:55:66:77:88.")
            }
            facts.uplinkMACs[port] = mac
        }
        if let prefixLength, !(1...128).contains(prefixLength) {
            throw ValidationError("--prefix-length \(prefixLength) is not a prefix length.")
        }
        facts.prefixLength = prefixLength
        facts.devices = try device.map { try Self.pair($0, "--device") }.map { ($0.name, $0.value) }
        _ = try variable.map { try Self.pair($0, "--variable") }
        return facts
    }

    private static func pair(_ text: String, _ option: String) throws -> (name: String, value: String) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { throw ValidationError("\(option) \(text) is not NAME=VALUE.") }
        return (String(parts[0]), String(parts[1]))
    }
}
