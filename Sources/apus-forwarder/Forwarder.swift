// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import ArgumentParser
import CApus
import CApusDPDK

/// The part of the command line after `--`; what stands before it is the EAL's.
@main
struct Forwarder: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus-forwarder",
        abstract: "Forward frames between devices as a Hyper-V Network Virtualization policy says.",
        usage: "apus-forwarder [EAL options] -- --policy FILE [--stats SECONDS] [--control SOCKET]",
        discussion: """
            With one lcore it does everything; with more, the main one serves --stats and --control and each other \
            one forwards. Without huge pages, NIC or kernel module:

              apus-forwarder -l 0 --no-huge -m 256 --no-pci --vdev=net_tap0 \\
                --vdev=net_tap1 -- --policy host.yaml

            SIGINT and SIGTERM stop it; it then prints where every frame went, and exits with 0 if that adds up.
            """)

    @Option(
        help: ArgumentHelp(
            "The policy, YAML; `device:` of a port is the name of an ethdev, or port:N.", valueName: "file"))
    var policy: String

    @Option(help: ArgumentHelp("Print rates and drops every so many seconds (1-86400).", valueName: "seconds"))
    var stats: UInt32?

    @Option(
        help: ArgumentHelp(
            "Answer stats, ports, neighbours, records, reload, help and quit on a UNIX socket, one line each, in JSON.",
            valueName: "socket"))
    var control: String?

    @Option(
        help: ArgumentHelp(
            """
            Sleep so many microseconds (1-10000) when nothing arrives: gives the CPU back where cores are shared, \
            costs latency; without it a core is always busy.
            """,
            valueName: "microseconds"))
    var idleSleep: UInt32?

    @Option(
        help: ArgumentHelp(
            "Flows that each worker remembers, 64 bytes each (64-16777216): 65536 without it.", valueName: "count"))
    var flows: UInt32?

    func validate() throws {
        if let flows, !(64...1 << 24).contains(flows) {
            throw ValidationError("--flows: \(flows) is outside 64-16777216")
        }
        if let stats, !(1...86400).contains(stats) {
            throw ValidationError("--stats: \(stats) is outside 1-86400 seconds")
        }
        // A worker must look after its neighbours at least every 100 ms.
        if let idleSleep, !(1...10000).contains(idleSleep) {
            throw ValidationError("--idle-sleep: \(idleSleep) is outside 1-10000 microseconds")
        }
    }

    static func main() {
        let arguments = CommandLine.arguments
        let split = arguments.firstIndex(of: "--") ?? arguments.count
        if arguments.contains("--help") || arguments.contains("-h") {
            exit(withError: CleanExit.helpRequest(Self.self))
        }
        if arguments.contains("--version") {
            exit(withError: CleanExit.message("apus-forwarder: \(unsafe String(cString: apus_build_info()))"))
        }
        for option in ["--policy", "--stats", "--control", "--idle-sleep", "--flows"]
        where arguments[..<split].contains(option) {
            Console.error("apus-forwarder: \(option) belongs behind --, which separates the EAL's options from these")
            exit(withError: ExitCode.validationFailure)
        }
        let options = parseOrExit(Array(arguments.dropFirst(split + 1)))
        do {
            try options.forward(eal: Array(arguments[..<split]))
        } catch {
            Console.error("apus-forwarder: \(error)")
            exit(withError: ExitCode.failure)
        }
    }

    private func forward(eal arguments: [String]) throws {
        // A wrong policy is a quick answer: it needs no EAL.
        let host = try Host(policy: policy)
        try EAL.start(arguments)
        let result = Result { try forward(host) }
        EAL.stop()
        try host.close()
        try result.get()
    }

    private func forward(_ host: Host) throws {
        StopRequest.installSignalHandlers()
        defer { host.closeDevices() }
        try host.openDevices()
        defer { host.destroyWorkers() }
        try host.makeWorkers(flows: flows ?? 0)
        let control = try control.map { try ControlSocket(path: $0, commands: Commands(host: host, policy: policy)) }
        defer { control?.close() }
        let service = Service(events: host.events, control: control, rates: stats.map { Rates(host: host, seconds: $0) })
        Console.print(
            unsafe "apus-forwarder: ports: \(host.ports.count), workers: \(host.workers.count), \(host.buildInfo)")
        unsafe try Rounds.run(workers: host.workers, idleSleep: idleSleep ?? 0, service: service)

        control?.close()
        // What a worker leaves behind is lost, and told as lost.
        host.events.poll()
        host.destroyWorkers()
        host.events.poll()
        let accounting = try Accounting(host)
        Console.print("\n" + accounting.table)
        guard accounting.isBalanced else { throw HostError("the counters do not add up") }
    }
}
