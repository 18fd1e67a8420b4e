// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// The machine behind a vm port, as far as it makes packets: what it knows of itself and of its virtual subnet.
struct Sender {
    private let port: Port
    private let file: PolicyFile
    private let address: Octets

    /// `from`: its address, if it is not that of its lookup record. `destination`: what it wants to send to.
    init(_ port: Port, _ file: PolicyFile, _ from: String?, to destination: Octets) throws {
        guard port.kind == APUS_PORT_VM else {
            throw Refusal("--port '\(port.name)' is no vm port; give a frame of a provider port with --frame")
        }
        self.port = port
        self.file = file
        let own = file.lookupRecords.first {
            $0.virtualSubnetID == port.virtualSubnetID && Self.text($0.mac) == Self.text(port.mac)
                && Octets($0.customerAddress).isIPv4 == destination.isIPv4
                // Records of type GatewayWildcard and L2Only have no address.
                && !Octets($0.customerAddress).isUnspecified
        }
        if let from {
            address = try Octets(from, "--from")
            if address.isIPv4 != destination.isIPv4 {
                throw Refusal(
                    "--from '\(from)' is an \(address.familyName) address, but --to \(destination.text) an "
                        + "\(destination.familyName) address")
            }
        } else if let own {
            address = Octets(own.customerAddress)
        } else {
            throw Refusal(
                "port '\(port.name)' has no lookup record with an \(destination.familyName) address; say with --from "
                    + "what its address is")
        }
    }

    // MARK: - Where to

    /// The address itself if it is in the machine's own prefix, else its gateway.
    func nextHop(to destination: Octets) -> Octets {
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
        let own = Self.bytes(port.mac)
        if target.isIPv4 {
            let broadcast = [UInt8](repeating: 0xFF, count: 6)
            return broadcast + own + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] + own + address.bytes
                + [UInt8](repeating: 0, count: 6) + target.bytes
        }
        // The solicited-node multicast address (RFC 4291 section 2.7.1), and its MAC address (RFC 2464 section 7).
        let group = Octets([0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF] + target.bytes.suffix(3))
        var message: [UInt8] = [135, 0, 0, 0, 0, 0, 0, 0] + target.bytes + [1, 1] + own
        fillChecksum(of: &message, to: group)
        return [0x33, 0x33] + group.bytes.suffix(4) + own + header(to: group, 58, message.count, ttl: 255) + message
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
            fillChecksum(of: &payload, to: destination)
        } else if number == 6 || number == 17 {
            payload.replaceSubrange(0..<4, with: Self.bytes(ports.0) + Self.bytes(ports.1))
        }
        let header = header(to: destination, number, payload.count, ttl: ttl)
        return Self.bytes(mac) + Self.bytes(port.mac) + header + payload
    }

    /// The EtherType and an IP header.
    private func header(to destination: Octets, _ number: UInt8, _ size: Int, ttl: UInt8) -> [UInt8] {
        if !destination.isIPv4 {
            let fixed: [UInt8] = [0x86, 0xDD, 0x60, 0, 0, 0]
            return fixed + Self.bytes(UInt16(size)) + [number, ttl] + address.bytes + destination.bytes
        }
        var header: [UInt8] = [0x45, 0] + Self.bytes(UInt16(size + 20)) + [0, 0, 0x40, 0, ttl, number, 0, 0]
        header += address.bytes + destination.bytes
        header.replaceSubrange(10..<12, with: Self.bytes(Self.checksum(header)))
        return [8, 0] + header
    }

    /// ICMPv6's checksum covers the pseudo-header too (RFC 8200 section 8.1).
    private func fillChecksum(of message: inout [UInt8], to destination: Octets) {
        let size = Self.bytes(UInt16(message.count))
        let pseudo = address.bytes + destination.bytes + [0, 0] + size + [0, 0, 0, 58]
        message.replaceSubrange(2..<4, with: Self.bytes(Self.checksum(pseudo + message)))
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
    private static func bytes(_ mac: apus_mac) -> [UInt8] {
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
