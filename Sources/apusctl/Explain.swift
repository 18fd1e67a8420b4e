// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import ArgumentParser
import CApus

/// `apusctl explain`
struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say why a packet goes where it goes, or why it is dropped.",
        discussion: """
            The packet takes the way of every packet through the dataplane, and every
            object of the policy that decides about it is printed, up to the verdict. A
            machine's packet can be described: it then asks by ARP or neighbour discovery
            first, as the machine would. Any frame of any port can be given in hexadecimal.

            Next hops that the policy does not name, on the provider network and outside,
            are taken to answer with 02:00:00:00:00:01. A packet that comes in through an
            external port is described by --from and --to, and sent by that next hop.

            EXAMPLES
              apusctl explain --policy host1.yaml --port contoso1 --to 10.0.2.104
              apusctl explain --policy host1.yaml --port contoso1 --to 10.0.1.103 \\
                --protocol tcp --destination-port 443 --length 1500
              apusctl explain --policy host1.yaml --port contoso1 --to 2001:db8:2::104
              apusctl explain --policy host1.yaml --port uplink --frame 324455667788...
              apusctl explain --policy gateway.yaml --port contoso-outside \\
                --from 10.9.0.50 --to 10.0.1.101

            The exit status is 0 when the packet gets through, 2 when it is dropped.
            """)

    @Option(help: ArgumentHelp("The policy file (YAML).", valueName: "file"))
    var policy: String

    @Option(help: ArgumentHelp("The port that the frame comes in through.", valueName: "name"))
    var port: String

    @Option(help: ArgumentHelp("Destination address, IPv4 or IPv6.", valueName: "address"))
    var to: String?

    @Option(
        help: ArgumentHelp(
            "Source address, of the same family; by default that of the port's lookup record.", valueName: "address"))
    var from: String?

    @Option(help: ArgumentHelp("icmp (ICMPv6 to an IPv6 address), tcp, udp or a number.", valueName: "protocol"))
    var `protocol` = "icmp"

    @Option(help: ArgumentHelp("Source port of TCP and UDP.", valueName: "number"))
    var sourcePort: UInt16 = 49152

    @Option(help: ArgumentHelp("Destination port of TCP and UDP.", valueName: "number"))
    var destinationPort: UInt16 = 80

    @Option(help: ArgumentHelp("Length of the IP packet in bytes, 28-65535; IPv6: 48-65535.", valueName: "bytes"))
    var length: UInt16 = 84

    @Option(help: ArgumentHelp("Time to live, or hop limit.", valueName: "hops"))
    var ttl: UInt8 = 64

    @Option(help: ArgumentHelp("A whole Ethernet frame, instead of a description.", valueName: "hex"))
    var frame: String?

    func validate() throws {
        if (to == nil) == (frame == nil) { throw ValidationError("Give either --to or --frame.") }
        let least = to?.contains(":") == true ? 48 : 28
        if length < least { throw ValidationError("--length \(length) is outside \(least)-65535.") }
        if Self.number(of: `protocol`, isIPv4: true) == nil {
            throw ValidationError("--protocol '\(`protocol`)' is neither icmp, tcp, udp nor a number of 0-255.")
        }
    }

    func run() throws {
        var isDropped = false
        try reportingRefusals {
            let file = try PolicyFile.load(path: policy)
            let dataplane = try Bench(file)
            guard let port = file.ports.first(where: { $0.name == port }), let id = dataplane.entrance(of: port) else {
                let known = file.ports.map(\.name).joined(separator: ", ")
                throw Refusal("--port '\(self.port)' is no port of \(policy); its ports: \(known)")
            }
            if let frame {
                isDropped = try dataplane.explain(try Self.bytes(frame), from: id)
            } else {
                let destination = try Octets(to ?? "", "--to")
                let sender = try Sender(port, file, from, to: destination)
                isDropped = try explainPacket(of: sender, to: destination, id, dataplane)
            }
        }
        if isDropped { throw ExitCode(2) }
    }

    /// What the machine does: ask who has the address, or its gateway, then send.
    private func explainPacket(
        of sender: Sender, to destination: Octets, _ id: UInt32, _ dataplane: Bench
    ) throws -> Bool {
        let target = sender.nextHop(to: destination)
        StandardOutput.print("who has \(target.text)?")
        _ = try dataplane.explain(sender.question(target), from: id)
        guard let mac = sender.mac(of: target) else {
            StandardOutput.print("\nThe policy has no lookup record for \(target.text): nothing is sent.")
            return true
        }
        StandardOutput.print("\nthe packet, to \(Sender.text(mac)):")
        return try dataplane.explain(
            sender.packet(
                to: destination, mac, protocol: Self.number(of: `protocol`, isIPv4: destination.isIPv4) ?? 1,
                ports: (sourcePort, destinationPort), length: length, ttl: ttl),
            from: id)
    }

    private static func number(of name: String, isIPv4: Bool) -> UInt8? {
        ["icmp": isIPv4 ? 1 : 58, "tcp": 6, "udp": 17][name] ?? UInt8(name)
    }

    /// The bytes of "60 00:60..." or "600060...".
    private static func bytes(_ text: String) throws -> [UInt8] {
        let digits = text.filter { !" :-\n\t".contains($0) }
        guard digits.count >= 2, digits.count % 2 == 0, digits.allSatisfy(\.isHexDigit), digits.count <= 2 * 65_535
        else {
            throw Refusal("--frame: expected an even number of hexadecimal digits, at most 131070")
        }
        var bytes: [UInt8] = []
        var rest = digits[...]
        while let byte = UInt8(rest.prefix(2), radix: 16) {
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}

/// A dataplane in which frames are explained, with a worker for what has to happen before: next hops answer.
private final class Bench {
    private let engine: ReplayEngine
    private let sent: Sent
    private var dataplane: ScratchDataplane { engine.dataplane }

    /// What left, and through which port.
    private final class Sent {
        var frames: [(port: UInt32, bytes: [UInt8])] = []
    }

    init(_ file: PolicyFile) throws {
        let sent = Sent()
        self.sent = sent
        engine = unsafe try ReplayEngine(file) { port, bytes, _ in
            unsafe sent.frames.append((port, Array(bytes)))
        } report: { _ in
        }
        resolveNextHops()
    }

    /// The port through which the frames of a port come in.
    func entrance(of port: Port) -> UInt32? { dataplane.ports[port.parent ?? port.name] }

    /// Let every next hop on the provider network that would be asked for be known.
    private func resolveNextHops() {
        var missing: [apus_address] = []
        var cursor: UInt64 = 0
        var neighbor = apus_provider_neighbor()
        neighbor.size = MemoryLayout<apus_provider_neighbor>.size
        while unsafe apus_provider_neighbor_iterate(dataplane.pointer, &cursor, &neighbor) == 1 {
            let isUnknown = neighbor.port == 0 && neighbor.state == UInt8(APUS_NEIGHBOR_INCOMPLETE.rawValue)
            if isUnknown { missing.append(neighbor.address) }
        }
        for address in missing {
            var known = apus_provider_neighbor()
            known.size = MemoryLayout<apus_provider_neighbor>.size
            known.address = address
            known.mac = AnsweringNeighbor.mac
            unsafe apus_provider_neighbor_add(dataplane.pointer, &known)
        }
    }

    /// Print what would happen to a frame. True: it is dropped.
    func explain(_ frame: [UInt8], from port: UInt32) throws -> Bool {
        var (verdict, lines) = try outcome(of: frame, from: port)
        if verdict == APUS_VERDICT_WAIT.rawValue {
            try answer(whatIsAskedBy: frame, from: port)
            (verdict, lines) = try outcome(of: frame, from: port)
        }
        for line in lines { StandardOutput.print("  \(line)") }
        return verdict == APUS_VERDICT_DROP.rawValue
    }

    /// Let a frame that waits ask for its next hop, and that answer. A next hop outside is entered first, then asked for.
    private func answer(whatIsAskedBy frame: [UInt8], from port: UInt32) throws {
        try feed(frame, from: port)
        for _ in 0..<4 {
            let questions = sent.frames
            sent.frames = []
            for question in questions {
                guard let answer = AnsweringNeighbor.answer(to: question.bytes) else { continue }
                try feed(answer, from: question.port)
            }
            engine.pass()
        }
    }

    private func feed(_ frame: [UInt8], from port: UInt32) throws {
        unsafe try frame.withUnsafeBytes { unsafe try engine.feed($0, port: port, time: engine.now ?? 1_000_000_000) }
    }

    private func outcome(of frame: [UInt8], from port: UInt32) throws -> (verdict: UInt32, lines: [Substring]) {
        let headroom = Int(APUS_HEADROOM)
        var memory = [UInt8](repeating: 0, count: headroom) + frame
        var explanation = apus_explanation()
        explanation.size = MemoryLayout<apus_explanation>.size
        let text = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 16_384)
        defer { unsafe text.deallocate() }
        let error = unsafe memory.withUnsafeMutableBufferPointer { memory in
            var given = unsafe apus_frame(
                data: memory.baseAddress! + headroom, buffer: nil, length: UInt32(frame.count),
                contiguous: UInt16(frame.count), headroom: UInt16(headroom), port: port, flags: 0)
            return unsafe apus_explain(dataplane.pointer, &given, engine.now ?? 0, &explanation, text.baseAddress, text.count)
        }
        guard error == 0 else { throw Refusal(unsafe String(cString: apus_dataplane_error_text(dataplane.pointer))) }
        return unsafe (explanation.verdict, String(cString: text.baseAddress!).split(separator: "\n"))
    }
}
