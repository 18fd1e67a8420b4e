// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// The machine behind a vm port, as far as it makes packets: what it knows of itself and of its virtual subnet. Or a router, or
/// any other machine, on the network outside an external port.
struct Sender {
    private let port: Port
    private let file: PolicyFile
    private let address: Octets

    /// `from`: its address, if it is not that of its lookup record. `destination`: what it wants to send to.
    init(_ port: Port, _ file: PolicyFile, _ from: String?, to destination: Octets) throws {
        guard port.kind != APUS_PORT_PROVIDER else {
            throw Refusal("--port '\(port.name)' is a provider port; give a frame of it with --frame")
        }
        self.port = port
        self.file = file
        if port.kind == APUS_PORT_EXTERNAL {
            guard let from else { throw Refusal("--port '\(port.name)' is an external port; say with --from who sends to it") }
            guard (destination.isIPv4 ? port.ipv4 : port.ipv6) != nil else {
                throw Refusal("--port '\(port.name)' has no \(destination.familyName) address")
            }
            address = try Self.source(from, to: destination)
            return
        }
        let own = file.lookupRecords.first {
            $0.virtualSubnetID == port.virtualSubnetID && Self.text($0.mac) == Self.text(port.mac)
                && Octets($0.customerAddress).isIPv4 == destination.isIPv4
                // Records of type GatewayWildcard and L2Only have no address.
                && !Octets($0.customerAddress).isUnspecified
        }
        if let from {
            address = try Self.source(from, to: destination)
        } else if let own {
            address = Octets(own.customerAddress)
        } else {
            throw Refusal(
                "port '\(port.name)' has no lookup record with an \(destination.familyName) address; say with --from "
                    + "what its address is")
        }
    }

    private static func source(_ from: String, to destination: Octets) throws -> Octets {
        let address = try Octets(from, "--from")
        if address.isIPv4 == destination.isIPv4 { return address }
        throw Refusal(
            "--from '\(from)' is an \(address.familyName) address, but --to \(destination.text) an "
                + "\(destination.familyName) address")
    }

    private var isOutside: Bool { port.kind == APUS_PORT_EXTERNAL }

    /// What its frames come with.
    private var mac: apus_mac { isOutside ? AnsweringNeighbor.mac : port.mac }
    private var tag: [UInt8] { isOutside && port.vlan != 0 ? [0x81, 0] + Self.bytes(port.vlan) : [] }

    /// Who asks for a next hop: the machine, or outside, if that is behind a router, the router.
    private var asker: Octets {
        guard isOutside, let side = address.isIPv4 ? port.ipv4 : port.ipv6, side.nextHop.family != 0 else { return address }
        return address.isIn(side.prefix) ? address : Octets(side.nextHop)
    }

    // MARK: - Where to

    /// The address itself if it is in the machine's own prefix, else its gateway, which outside is the external port.
    func nextHop(to destination: Octets) -> Octets {
        if isOutside, let side = destination.isIPv4 ? port.ipv4 : port.ipv6 { return Octets(side.address) }
        guard let prefix, !destination.isIn(prefix), !destination.isLinkLocal else { return destination }
        return Octets.gateway(of: prefix)
    }

    /// The on-link prefix that the machine is in: the longest, for a default route may be on-link too.
    private var prefix: apus_prefix? {
        onLinkPrefixes.filter { address.isIn($0) }.max { $0.length < $1.length }
    }

    private var onLinkPrefixes: [apus_prefix] {
        file.customerRoutes
            .filter { $0.virtualSubnetID == port.virtualSubnetID && Octets($0.nextHop).isUnspecified }
            .map(\.destinationPrefix)
    }

    /// What ARP or neighbour discovery would find; nil when nobody would answer.
    func mac(of target: Octets) -> apus_mac? {
        if isOutside { return port.mac }
        if let mac = recordedMAC(of: target) { return mac }
        // An external router has a record.
        if file.settings.usesExternalRouter == true { return nil }
        for prefix in onLinkPrefixes {
            let gateway = Octets.gateway(of: prefix)
            let mac = recordedMAC(of: gateway) ?? file.settings.gatewayMAC ?? Self.defaultGatewayMAC
            if target == gateway || !gateway.isIPv4 && target == Octets.linkLocal(mac) { return mac }
        }
        return nil
    }

    private static let defaultGatewayMAC = apus_mac(bytes: (0x02, 0x61, 0x70, 0x75, 0x73, 0x01))

    private func recordedMAC(of target: Octets) -> apus_mac? {
        file.lookupRecords.first {
            $0.virtualSubnetID == port.virtualSubnetID && Octets($0.customerAddress) == target
        }?.mac
    }

    // MARK: - What

    /// An ARP request (RFC 826), or a neighbour solicitation (RFC 4861).
    func question(_ target: Octets) -> [UInt8] {
        let own = Self.bytes(mac)
        if target.isIPv4 {
            let broadcast = [UInt8](repeating: 0xFF, count: 6)
            return broadcast + own + tag + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] + own + asker.bytes
                + [UInt8](repeating: 0, count: 6) + target.bytes
        }
        // The solicited-node multicast address (RFC 4291 section 2.7.1), and its MAC address (RFC 2464 section 7).
        let group = Octets([0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF] + target.bytes.suffix(3))
        var message: [UInt8] = [135, 0, 0, 0, 0, 0, 0, 0] + target.bytes + [1, 1] + own
        Self.fillChecksum(of: &message, from: asker, to: group)
        return [0x33, 0x33] + group.bytes.suffix(4) + own + tag
            + Self.header(from: asker, to: group, 58, message.count, ttl: 255) + message
    }

    /// A packet of zeros, in IPv4 with DF, but for what the protocol needs.
    func packet(
        to destination: Octets, _ mac: apus_mac, protocol number: UInt8, ports: (UInt16, UInt16), length: UInt16,
        ttl: UInt8
    ) -> [UInt8] {
        var payload = [UInt8](repeating: 0, count: Int(length) - (destination.isIPv4 ? 20 : 40))
        if number == 1, destination.isIPv4 {
            payload[0] = 8
            payload.replaceSubrange(2..<4, with: Self.bytes(Self.checksum(payload)))
        } else if number == 58, !destination.isIPv4 {
            payload[0] = 128
            Self.fillChecksum(of: &payload, from: address, to: destination)
        } else if number == 6 || number == 17 {
            payload.replaceSubrange(0..<4, with: Self.bytes(ports.0) + Self.bytes(ports.1))
        }
        let header = Self.header(from: address, to: destination, number, payload.count, ttl: ttl)
        return Self.bytes(mac) + Self.bytes(self.mac) + tag + header + payload
    }

    /// The EtherType and an IP header.
    static func header(from source: Octets, to destination: Octets, _ number: UInt8, _ size: Int, ttl: UInt8) -> [UInt8] {
        if !destination.isIPv4 {
            let fixed: [UInt8] = [0x86, 0xDD, 0x60, 0, 0, 0]
            return fixed + bytes(UInt16(size)) + [number, ttl] + source.bytes + destination.bytes
        }
        var header: [UInt8] = [0x45, 0] + bytes(UInt16(size + 20)) + [0, 0, 0x40, 0, ttl, number, 0, 0]
        header += source.bytes + destination.bytes
        header.replaceSubrange(10..<12, with: bytes(checksum(header)))
        return [8, 0] + header
    }

    /// ICMPv6's checksum covers the pseudo-header too (RFC 8200 section 8.1).
    static func fillChecksum(of message: inout [UInt8], from source: Octets, to destination: Octets) {
        let pseudo = source.bytes + destination.bytes + [0, 0] + bytes(UInt16(message.count)) + [0, 0, 0, 58]
        message.replaceSubrange(2..<4, with: bytes(checksum(pseudo + message)))
    }

    // MARK: - Numbers and bytes

    static func text(_ mac: apus_mac) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { text in
            var mac = mac
            unsafe apus_mac_format(&mac, text.baseAddress, text.count)
            return unsafe String(cString: text.baseAddress!)
        }
    }

    private static func bytes(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }
    static func bytes(_ mac: apus_mac) -> [UInt8] {
        let b = mac.bytes
        return [b.0, b.1, b.2, b.3, b.4, b.5]
    }

    /// RFC 1071.
    private static func checksum(_ data: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in data.enumerated() { sum += UInt32(byte) << (index % 2 == 0 ? 8 : 0) }
        while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
        return ~UInt16(sum)
    }
}

extension ExternalSide {
    fileprivate var prefix: apus_prefix {
        var prefix = apus_prefix()
        prefix.address = address
        prefix.length = prefixLength
        return prefix
    }
}
