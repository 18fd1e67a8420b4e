// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// The machine behind a vm port, as far as it makes packets: what it knows of itself and of its virtual subnet.
struct Sender {
    private let port: Port
    private let file: PolicyFile
    private let address: UInt32

    /// `from`: its address, if it is not that of its lookup record.
    init(_ port: Port, _ file: PolicyFile, _ from: String?) throws {
        guard port.kind == APUS_PORT_VM else {
            throw Refusal("--port '\(port.name)' is no vm port; give a frame of a provider port with --frame")
        }
        self.port = port
        self.file = file
        let own = file.lookupRecords.first {
            $0.virtualSubnetID == port.virtualSubnetID && Self.text($0.mac) == Self.text(port.mac)
        }
        if let from {
            address = try Self.address(from, "--from")
        } else if let own {
            address = Self.number(own.customerAddress)
        } else {
            throw Refusal("port '\(port.name)' has no lookup record; say with --from what its address is")
        }
    }

    // MARK: - Where to

    /// The address itself if it is in the machine's own prefix, else its gateway.
    func nextHop(to destination: UInt32) -> UInt32 {
        guard let (base, mask) = prefix, destination & mask != base else { return destination }
        return mask >= 0xFFFF_FFFE ? base : base + 1
    }

    /// The on-link prefix that the machine is in.
    private var prefix: (base: UInt32, mask: UInt32)? {
        for route in file.customerRoutes
        where route.virtualSubnetID == port.virtualSubnetID && Self.number(route.nextHop) == 0 {
            let mask: UInt32 =
                route.destinationPrefix.length == 0 ? 0 : ~0 << (32 - UInt32(route.destinationPrefix.length))
            let base = Self.number(route.destinationPrefix.address)
            if address & mask == base { return (base, mask) }
        }
        return nil
    }

    /// What ARP would find; nil when nobody would answer.
    func mac(of target: UInt32) -> apus_mac? {
        let record = file.lookupRecords.first {
            $0.virtualSubnetID == port.virtualSubnetID && Self.number($0.customerAddress) == target
        }
        if let record { return record.mac }
        guard let (base, mask) = prefix, target == (mask >= 0xFFFF_FFFE ? base : base + 1) else { return nil }
        return file.settings.gatewayMAC ?? apus_mac(bytes: (0x02, 0x61, 0x70, 0x75, 0x73, 0x01))
    }

    // MARK: - What

    /// An ARP request (RFC 826).
    func question(_ target: UInt32) -> [UInt8] {
        let broadcast = [UInt8](repeating: 0xFF, count: 6)
        return broadcast + Self.bytes(port.mac) + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] + Self.bytes(port.mac)
            + Self.bytes(address) + [UInt8](repeating: 0, count: 6) + Self.bytes(target)
    }

    /// An IPv4 packet with DF, of zeros but for what the protocol needs.
    func packet(
        to destination: UInt32, _ mac: apus_mac, protocol number: UInt8, ports: (UInt16, UInt16), length: UInt16,
        ttl: UInt8
    ) -> [UInt8] {
        var header: [UInt8] = [0x45, 0] + Self.bytes(length) + [0, 0, 0x40, 0, ttl, number, 0, 0]
        header += Self.bytes(address) + Self.bytes(destination)
        header.replaceSubrange(10..<12, with: Self.bytes(Self.checksum(header)))
        var payload = [UInt8](repeating: 0, count: Int(length) - header.count)
        if number == 1 {
            payload[0] = 8
            payload.replaceSubrange(2..<4, with: Self.bytes(Self.checksum(payload)))
        } else if number == 6 || number == 17 {
            payload.replaceSubrange(0..<4, with: Self.bytes(ports.0) + Self.bytes(ports.1))
        }
        return Self.bytes(mac) + Self.bytes(port.mac) + [8, 0] + header + payload
    }

    // MARK: - Numbers and bytes

    static func address(_ text: String, _ option: String) throws -> UInt32 {
        var address = apus_address()
        guard unsafe apus_address_parse(text, &address) == 0, address.family == UInt8(APUS_IPV4) else {
            throw Refusal("\(option) '\(text)' is no IPv4 address")
        }
        return number(address)
    }

    static func text(_ address: UInt32) -> String { bytes(address).map(String.init).joined(separator: ".") }

    static func text(_ mac: apus_mac) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(APUS_TEXT_SIZE)) { text in
            var mac = mac
            unsafe apus_mac_format(&mac, text.baseAddress, text.count)
            return unsafe String(cString: text.baseAddress!)
        }
    }

    private static func number(_ address: apus_address) -> UInt32 {
        let b = address.bytes
        return UInt32(b.0) << 24 | UInt32(b.1) << 16 | UInt32(b.2) << 8 | UInt32(b.3)
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
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
