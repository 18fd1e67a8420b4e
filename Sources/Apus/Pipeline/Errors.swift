// SPDX-License-Identifier: Apache-2.0

// ICMP errors to customers, from the gateway address of their virtual subnet: docs/pipeline.md section 7.

extension Worker {
    /// Drop a packet, and tell its sender where that helps: when it expired, and when it is too big for the tunnel, which
    /// takes customer packets of up to `maximum` bytes.
    mutating func refuse(_ frame: Frame, _ reason: DropReason, maximum: UInt32) {
        if reason == .ttlExpired {
            sendError(to: frame, type: 11, code: 0, mtu: 0)
        } else if reason == .mtuExceeded {
            sendError(to: frame, type: 3, code: 4, mtu: min(maximum, 0xFFFF).u16)
        }
        drop(frame, reason)
    }

    /// RFC 792; when not to: RFC 1812 section 4.3.2.7.
    private mutating func sendError(to frame: Frame, type: UInt8, code: UInt8, mtu: UInt16) {
        let bytes = frame.bytes
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        let sender = bytes.mac(Ethernet.source)
        guard settings.sendsErrors, let number = findPort(frame.port), tables.ports[number].kind == Port.vm,
            ip.fragmentOffset == 0, !isError(ip, readable: frame.readable &- Ethernet.headerLength),
            ip.hasCorrectChecksum, sender.isUsable,
            let gateway = gateway(of: IPAddress(v4: ip.source), vsid: tables.ports[number].vsid)
        else { return }
        if !mayTell(frame.port) { return counters.add(.icmpSuppressed) }

        counters.add(.generated)
        let quoted = min(ip.totalLength, Self.quotedMaximum, frame.contiguous.int &- Ethernet.headerLength)
        let length = Ethernet.headerLength &+ 28 &+ quoted
        guard let error = buffers.allocate(length) else { return counters.addDrop(.noBuffer) }
        let start = error.bytes
        start.store(sender, at: Ethernet.destination)
        start.store(gatewayMAC(gateway, vsid: tables.ports[number].vsid), at: Ethernet.source)
        start.store(Ethernet.ipv4, at: Ethernet.etherType)

        let header = start.advanced(by: Ethernet.headerLength)
        header.store(UInt32(0x45C0_0000) | (28 &+ quoted).u32, at: 0)  // precedence 6: RFC 1812 section 4.3.2.5
        header.store(UInt32(0x0000_4000), at: 4)
        header.store(UInt32(0x8001_0000), at: 8)
        header.store(gateway.v4, at: 12)
        header.store(ip.source, at: 16)
        header.store(~Checksum.fold(Checksum.sum(header, 20)), at: 10)

        let icmp = start.advanced(by: Ethernet.headerLength &+ 20)
        icmp.store(type.u32 &<< 24 | code.u32 &<< 16, at: 0)
        icmp.store(mtu.u32, at: 4)  // RFC 1191 section 4
        icmp.advanced(by: 8).copy(quoted, from: ip.ip)
        icmp.store(~Checksum.fold(Checksum.sum(icmp, 8 &+ quoted)), at: 2)

        if emitMade(error, to: frame.port) { counters.add(.icmpErrors) }
    }

    /// Of the packet that could not be delivered: the error has 576 bytes then (RFC 1812 section 4.3.2.3).
    private static var quotedMaximum: Int { 548 }
    /// Errors that may follow each other at once.
    private static var errorBurst: UInt64 { 10 }

    /// No error is sent for an ICMP message that is no query, or is cut off before its type.
    private func isError(_ ip: IPv4Header, readable: Int) -> Bool {
        guard ip.proto == 1 else { return false }
        let header = ip.headerLength
        guard header < ip.totalLength, header < readable else { return true }
        let type = ip.ip[header]
        return !(type == 0 || type == 8 || (type >= 13 && type <= 18))
    }

    /// A token bucket, kept as the time at which it would be full again.
    private func mayTell(_ port: UInt32) -> Bool {
        let slot = PortSlots.slot(of: port)
        let due = max(errorTimes[slot], now)
        if due &- now > (Self.errorBurst &- 1) &* settings.errorInterval { return false }
        errorTimes[slot] = due &+ settings.errorInterval
        return true
    }

    /// The gateway of the on-link prefix of the virtual subnet that has this address: of the longest, if several have.
    private func gateway(of address: IPAddress, vsid: UInt32) -> IPAddress? {
        var best: CustomerRoute?
        _ = tables.routes.findSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            if route.vsid == vsid, route.isOnLink, address.masked(route.length) == route.prefix,
                route.length > best?.length ?? 0
            {
                best = route
            }
            return false
        }
        return best?.prefix.gateway(prefixLength: best?.length ?? 0)
    }
}
