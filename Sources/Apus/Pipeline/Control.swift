// SPDX-License-Identifier: Apache-2.0

import CApus

// The control messages of [MS-NVGREE], from one host to another inside the tunnel: docs/pipeline.md 4.4. They are reported and never
// acted upon: nothing says that they are true.

extension Worker {
    // MARK: - From other hosts

    /// Is this, whose inner IP header is well formed, a control message of the host at `pa` and not a customer's packet?
    func isControlMessage(_ frame: Frame, _ outer: OuterPacket, from pa: IPAddress) -> Bool {
        guard controlKind(frame, outer, from: pa) != nil else { return false }
        let inner = frame.bytes.advanced(by: outer.innerOffset)
        let domain = subnet(outer.vsid).map { tables.subnets[$0].domain } ?? none
        let vsid = sourceSubnet(of: pa, arrivedIn: outer.vsid, domain: domain)
        return record(vsid, pa).map { tables.records[$0].mac != inner.mac(Ethernet.source) } ?? true
    }

    /// What the type and code of an ICMP message say whose source is the host that sent it.
    private func controlKind(_ frame: Frame, _ outer: OuterPacket, from pa: IPAddress) -> Note.Kind? {
        let packet = IPPacket(in: frame.bytes.advanced(by: outer.innerOffset))
        guard !outer.isVXLAN, packet.isIPv6 == outer.isIPv6, packet.source == pa,
            packet.isIPv6 ? packet.v6.nextHeader == ICMPv6Message.proto : packet.v4.proto == 1 && !packet.v4.isFragment
        else { return nil }
        let end = min(packet.totalLength, frame.readable &- outer.innerOffset &- Ethernet.headerLength)
        let offset = packet.headerLength
        guard offset &+ 8 <= end else { return nil }
        switch (packet.isIPv6, packet.ip.u16(offset)) {
        case (false, 0x050A), (true, 0x8901): return .redirect
        case (false, 0x030A), (true, 0x0101): return .unreachable
        default: return nil
        }
    }

    /// May a flow of this packet be one of control messages too? The key of a flow does not have their type and code.
    func mayBeControlled(_ frame: Frame, _ outer: OuterPacket, _ packet: IPPacket, from pa: IPAddress) -> Bool {
        guard packet.source == pa, packet.isIPv6 == outer.isIPv6 else { return false }
        let readable = frame.readable &- outer.innerOffset &- Ethernet.headerLength
        let transport = Transport(packet.ip, isIPv6: packet.isIPv6, readable: readable)
        return transport.proto == (packet.isIPv6 ? ICMPv6Message.proto : 1)
    }

    mutating func processControlMessage(_ frame: Frame) {
        let (outer, header) = tunnel(of: frame)
        let packet = IPPacket(in: frame.bytes.advanced(by: outer.innerOffset))
        guard hosts(header.source, vsid: outer.vsid), let kind = controlKind(frame, outer, from: header.source) else {
            return drop(frame, .controlUntrusted)
        }
        if !packet.hasUnicastDestination { return drop(frame, .innerNotUnicast) }
        let none = IPAddress(high: 0, low: 0)
        let (ca, mac) = quotedMachine(frame, outer, packet) ?? (none, MACAddress(0))
        let note = Note(
            kind: kind, port: frame.port, vsid: outer.vsid, ca: ca, mac: mac,
            pa: kind == .redirect ? packet.destination : none, teller: header.source)
        consume(frame)
        counters.add(.controlMessages)
        self.note(control: note)
    }

    /// The headers of an NVGRE packet in which they have been checked.
    private func tunnel(of frame: Frame) -> (OuterPacket, OuterHeader) {
        let link = LinkHeader(frame)
        let ip = frame.bytes.advanced(by: link.length)
        let isIPv6 = link.etherType == Ethernet.ipv6
        let header = isIPv6 ? OuterHeader(IPv6Header(ip), link) : OuterHeader(IPv4Header(ip), link)
        let length = header.length &+ GREHeader.length
        var outer = OuterPacket(
            link, inner: link.length &+ length, length: header.total &- length,
            key: GREHeader(ip.advanced(by: header.length)).key, frame.bytes, isIPv6: isIPv6)
        readKey(&outer, from: header.source)
        return (outer, header)
    }

    /// To whom the packet went that the message in `packet` is about.
    private func quotedMachine(_ frame: Frame, _ outer: OuterPacket, _ packet: IPPacket) -> (IPAddress, MACAddress)? {
        let begin = outer.innerOffset &+ Ethernet.headerLength
        let end = min(begin &+ packet.totalLength, min(frame.length, Frame.contiguousMinimum).int)
        let bytes = frame.bytes
        var at = begin &+ packet.headerLength &+ 8
        // Some quote the outer IP header too. GRE begins with another digit than either.
        if at &+ 20 <= end, bytes[at] &>> 4 == 4, bytes[at &+ 9] == GREHeader.ipProtocol {
            at &+= IPv4Header(bytes.advanced(by: at)).headerLength
        } else if at &+ 40 <= end, bytes[at] &>> 4 == 6, bytes[at &+ 6] == GREHeader.ipProtocol {
            at &+= IPv6Header.length
        }
        let inner = at &+ GREHeader.length
        let ip = inner &+ Ethernet.headerLength
        guard ip &+ IPv4Header.minimumLength <= end, GREHeader(bytes.advanced(by: at)).isPlain else { return nil }
        let quoted = IPPacket(in: bytes.advanced(by: inner))
        switch (bytes.u16(ip &- 2), bytes[ip] &>> 4) {
        case (Ethernet.ipv4, 4): break
        case (Ethernet.ipv6, 6):
            if ip &+ IPv6Header.length > end || quoted.destination.isV4 { return nil }
        default: return nil
        }
        return (quoted.destination, bytes.mac(inner))
    }

    // MARK: - To other hosts

    /// Tell the host that sent this packet, which is dropped, that there is no policy for it here.
    mutating func sendUnreachable(about frame: Frame) {
        guard trace == nil, let outer = outerPacket(frame), !outer.isVXLAN, outer.vsid != 0 else { return }
        let header = tunnel(of: frame).1
        if header.destination.isMulticast || isLocal(header.source) { return }
        if controlKind(frame, outer, from: header.source) != nil { return }
        let target = CopyTarget(pa: header.source, vsid: outer.vsid, source: header.destination, isControl: true)
        guard let source = tunnelSource(to: target) else { return }
        if !mayTell(frame.port) { return counters.add(.icmpSuppressed) }

        counters.add(.generated)
        let isIPv6 = outer.isIPv6
        let headers = Ethernet.headerLength &+ (isIPv6 ? Self.headersIPv6 : Self.headersIPv4)
        let offset = outer.innerOffset &- GREHeader.length
        let length = GREHeader.length &+ outer.innerLength
        let maximum = isIPv6 ? Self.quotedMaximumIPv6 : Self.quotedMaximumIPv4
        let quoted = min(length, maximum, frame.contiguous.int &- offset)
        guard let made = buffers.allocate(headers &+ quoted) else { return counters.addDrop(.noBuffer) }
        made.bytes.store(frame.bytes.mac(Ethernet.source), at: Ethernet.destination)
        made.bytes.store(frame.bytes.mac(Ethernet.destination), at: Ethernet.source)
        made.bytes.store(isIPv6 ? Ethernet.ipv6 : Ethernet.ipv4, at: Ethernet.etherType)
        made.bytes.advanced(by: headers).copy(quoted, from: frame.bytes.advanced(by: offset))
        let ip = made.bytes.advanced(by: Ethernet.headerLength)
        if isIPv6 {
            writeIPv6(.unreachable, 0, quoted, IPv6Header(ip), from: source, to: header.source)
        } else {
            writeIPv4(.unreachable, 0, quoted, ip, from: source.v4, to: header.source.v4)
        }
        sendCopy(made, target)
    }

    /// The provider address that NVGRE packets come from there. nil: none can be sent.
    private mutating func tunnelSource(to target: CopyTarget) -> IPAddress? {
        _ = decideTunnel(to: target)
        guard scratch.value.kind == .encapsulate, !scratch.value.variant.has(Transposition.Variant.vxlan) else {
            return nil
        }
        return HeaderTemplate(scratch.value).source
    }
}
