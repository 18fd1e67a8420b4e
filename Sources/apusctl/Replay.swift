// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import ArgumentParser
import CApus

/// `apusctl replay`
struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a policy would do to recorded traffic.",
        discussion: """
            Each capture is fed into a port of the policy, all of them in the order of
            their times, through the same dataplane that the forwarders use. What leaves
            is written to DIR/PORT.pcap, one file for each port of the policy, and a table
            says where every frame went. The same input always gives the same output.

            The clock is that of the captures: between two frames the dataplane lives
            through the time from one to the other (of long silences, the first seconds),
            so that ARP requests are repeated when a host would repeat them. A frame in an
            output has the time of what made it leave. Customer addresses are learned as a
            host learns them; what was learned is told on standard error.

            Frames of an external port with a parent are those of the parent, tagged: they
            come in and leave there.

            Captures are pcap or pcapng files with Ethernet frames. Frames of which a
            capture has only the beginning (tcpdump -s) are counted and left out.

            EXAMPLES
              What contoso1 sent, and what came from the wire, into host 1:
                apusctl replay --policy host1.yaml --in contoso1=vm.pcap \\
                  --in uplink=wire.pcap --out-dir out

              Only why frames are dropped:
                apusctl replay --policy host1.yaml --in uplink=wire.pcap \\
                  --out-dir out --json - 2>/dev/null | jq .drops

              What host 1 sent, into host 2:
                apusctl replay --policy host2.yaml --in uplink=out/uplink.pcap \\
                  --out-dir out2
            """)

    @Option(help: ArgumentHelp("The policy file (YAML).", valueName: "file"))
    var policy: String

    @Option(
        name: .customLong("in"),
        help: ArgumentHelp("A capture, and the port that it enters. Repeatable.", valueName: "port=file"))
    var inputs: [Input] = []

    @Option(
        help: ArgumentHelp("Where to write PORT.pcap and counters.json; made if it does not exist.", valueName: "dir"))
    var outDir: String

    @Option(
        help: ArgumentHelp(
            "Where to write the counters instead of DIR/counters.json; - is standard output.", valueName: "file"))
    var json: String?

    /// PORT=FILE
    struct Input: ExpressibleByArgument {
        let port: String
        let path: String

        init?(argument: String) {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
            port = String(parts[0])
            path = String(parts[1])
        }
    }

    func validate() throws {
        if inputs.isEmpty { throw ValidationError("There is nothing to replay: give at least one --in PORT=FILE.") }
        if outDir.isEmpty { throw ValidationError("--out-dir is empty.") }
        var seen: Set<String> = []
        for input in inputs where !seen.insert(input.port).inserted {
            throw ValidationError(
                "--in names the port \(input.port) twice. Merge the captures: mergecap -w both.pcap a.pcap b.pcap")
        }
    }

    func run() throws {
        try reportingRefusals {
            let file = try PolicyFile.load(path: policy)
            try checkPortNames(file)
            let isComplete = try replay(file)
            if !isComplete { throw ExitCode.failure }
        }
    }

    private func checkPortNames(_ file: PolicyFile) throws {
        for input in inputs {
            let place = "--in \(input.port)=\(input.path)"
            guard let port = file.ports.first(where: { $0.name == input.port }) else {
                let known = file.ports.map(\.name).joined(separator: ", ")
                throw Refusal(
                    "\(place): \(policy) has no port of this name; "
                        + (known.isEmpty ? "it has no ports" : "its ports: \(known)"))
            }
            if let parent = port.parent {
                throw Refusal("\(place): frames of this port come in through \(parent), with the tag of VLAN \(port.vlan)")
            }
        }
    }

    /// - Returns: whether all captures could be read to their ends
    private func replay(_ file: PolicyFile) throws -> Bool {
        var writers: [UInt32: CaptureWriter] = [:]
        let engine = unsafe try ReplayEngine(file) { port, bytes, time in
            unsafe writers[port]?.write(bytes, time: time)
        } report: { event in
            StandardError.print("apusctl: \(event.text)")
        }
        var readers: [CaptureReader] = []
        for input in inputs { readers.append(try CaptureReader(path: input.path, port: engine.port(input.port) ?? 0)) }

        let output = OutputDirectory(path: outDir)
        let counters = json ?? output.path(of: "counters.json")
        // Nothing is created or emptied before it is known that nothing is an input.
        let ports = file.ports.filter { $0.parent == nil }
        let outputs = ports.map { output.path(of: "\($0.name).pcap") } + (counters == "-" ? [] : [counters])
        try output.refuse(overwriting: inputs.map(\.path), by: outputs)
        try output.create(forFiles: ports.count)
        for port in ports {
            guard let id = engine.port(port.name) else { continue }
            writers[id] = try CaptureWriter(path: output.path(of: "\(port.name).pcap"))
        }

        try feed(readers, to: engine)
        engine.drain()
        for writer in writers.values { try writer.flush() }

        let partialFrames = Dictionary(uniqueKeysWithValues: readers.map { ($0.port, $0.partialFrames) })
        let accounting = Accounting(
            ports: file.ports.map { port in
                let id = engine.port(port.name) ?? 0
                return .init(
                    name: port.name, kind: port.kind, place: port.parent.map { ($0, port.vlan) },
                    counters: engine.statistics(port: id), partialFrames: partialFrames[id] ?? 0)
            },
            totals: engine.statistics(), events: engine.events)
        try report(accounting, to: counters)
        return remark(on: readers)
    }

    /// Feed all captures, oldest frame first. Frames of the same time keep the order of the arguments.
    private func feed(_ readers: [CaptureReader], to engine: ReplayEngine) throws {
        let showsProgress = StandardError.isTerminal
        var count = 0
        while let (reader, time) = oldest(readers) {
            unsafe try engine.feed(reader.nextBytes, port: reader.port, time: time)
            reader.advance()
            count += 1
            if showsProgress && count % 100_000 == 0 { StandardError.print("\r\(count) frames", terminator: "") }
        }
        if showsProgress && count >= 100_000 { StandardError.print("\r\u{1B}[K", terminator: "") }
    }

    private func oldest(_ readers: [CaptureReader]) -> (CaptureReader, UInt64)? {
        var oldest: (CaptureReader, UInt64)?
        for reader in readers {
            guard let time = reader.nextTime else { continue }
            if let (_, other) = oldest, other <= time { continue }
            oldest = (reader, time)
        }
        return oldest
    }

    private func report(_ accounting: Accounting, to path: String) throws {
        if path == "-" {
            // Standard output is for a program now, which leaves the other one for people.
            StandardError.print(accounting.table, terminator: "")
            StandardOutput.print(accounting.json, terminator: "")
        } else {
            try OutputDirectory.write(accounting.json, to: path)
            StandardOutput.print(accounting.table, terminator: "")
        }
    }

    /// Say what was odd about the captures.
    private func remark(on readers: [CaptureReader]) -> Bool {
        for reader in readers {
            if reader.partialFrames > 0 {
                StandardError.print(
                    "apusctl: \(reader.path): left out \(counted(reader.partialFrames, "frame")) captured only in part")
            }
            if reader.backwardSteps > 0 {
                StandardError.print(
                    "apusctl: \(reader.path): time goes backwards at \(counted(reader.backwardSteps, "frame")); "
                        + "the order of the file was kept (reordercap puts it right)")
            }
            if let damage = reader.damage {
                StandardError.print("apusctl: \(reader.path): replayed only up to where it is damaged: \(damage)")
            }
        }
        return readers.allSatisfy { $0.damage == nil }
    }
}
