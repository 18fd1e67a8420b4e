// SPDX-License-Identifier: Apache-2.0

import CApus

/// Where the parts of a frame from the provider network are.
struct OuterPacket {
    /// Outer Ethernet header with its tag.
    var linkLength: Int
    /// Outer IP header with options.
    var ipLength: Int
    /// The inner frame: offset and length, without padding behind the outer packet.
    var innerOffset: Int
    var innerLength: Int
    var vsid: UInt32
    /// Outer destination MAC (memory order), VLAN << 48, bit 62 for a tag (which may have VLAN 0), and bit 63, so that it is
    /// never 0.
    var identity: UInt64

    /// The common case - at most one tag, no IP options, nothing wrong - or nil. Says nothing about *what* is wrong:
    /// `processFromProvider` does, check by check.
    @inline(__always)
    init?(fast frame: Frame) {
        let bytes = frame.bytes
        var link = Ethernet.headerLength
        var etherType = bytes.u16(Ethernet.etherType)
        var vlan: UInt64 = 0
        if Ethernet.isTag(etherType) {
            link = Ethernet.headerLength &+ Ethernet.tagLength
            guard frame.length >= link.u32 else { return nil }
            vlan = (bytes.u16(14) & 0x0FFF).u64
            etherType = bytes.u16(16)
        }
        // Outer IPv4 without options, GRE, inner Ethernet.
        guard etherType == Ethernet.ipv4, frame.length.int >= link &+ 42 else { return nil }
        let ip = IPv4Header(bytes.advanced(by: link))
        // Not a fragment, GRE.
        guard ip.ip[0] == 0x45, ip.ip.raw32(6) & UInt32(0x3FFF_00FF).bigEndian == UInt32(0x0000_002F).bigEndian
        else { return nil }
        let total = ip.totalLength
        guard total >= 42, total <= frame.length.int &- link else { return nil }
        let checked = frame.flags & (APUS_FRAME_IP_CHECKSUM_GOOD | APUS_FRAME_IP_CHECKSUM_BAD)
        guard checked == APUS_FRAME_IP_CHECKSUM_GOOD || (checked == 0 && ip.hasCorrectChecksumWithoutOptions)
        else { return nil }
        let gre = GREHeader(bytes.advanced(by: link &+ 20))
        // Flags but for those that are ignored, and protocol type.
        guard gre.gre.raw32(0) & UInt32(0xFC07_FFFF).bigEndian == UInt32(0x2000_6558).bigEndian else { return nil }
        self.init(link: link, ip: 20, total: total, vsid: gre.vsid, vlan: vlan, bytes)
    }

    @inline(__always)
    init(link: Int, ip: Int, total: Int, vsid: UInt32, vlan: UInt64, _ bytes: Bytes) {
        linkLength = link
        ipLength = ip
        innerOffset = link &+ ip &+ GREHeader.length
        innerLength = total &- ip &- GREHeader.length
        self.vsid = vsid
        let isTagged: UInt64 = link == Ethernet.headerLength ? 0 : 1
        identity = bytes.raw64(0) & 0xFFFF_FFFF_FFFF | vlan &<< 48 | isTagged &<< 62 | 1 &<< 63
    }
}

// Frames from provider ports: docs/pipeline.md section 4.

extension Worker {
    /// The key of a packet whose inner frame is an untagged, well-formed IPv4 packet.
    func providerKey(_ frame: Frame, _ outer: OuterPacket) -> FlowKey? {
        let inner = frame.bytes.advanced(by: outer.innerOffset)
        guard inner.u16(Ethernet.etherType) == Ethernet.ipv4 else { return nil }
        let ip = IPv4Header(inner.advanced(by: Ethernet.headerLength))
        guard ip.isWellFormed(available: outer.innerLength &- Ethernet.headerLength) else { return nil }
        return FlowKey(
            frame: inner, readable: frame.readable &- outer.innerOffset &- Ethernet.headerLength, port: frame.port,
            vsid: outer.vsid, outer: frame.bytes.raw64(outer.linkLength &+ IPv4Header.addressesOffset))
    }

    /// Steps 1 to 7 and 10, each with its reason; then the decision as for every other packet.
    mutating func processFromProvider(_ frame: Frame) {
        let bytes = frame.bytes
        let length = frame.length.int
        var link = Ethernet.headerLength
        var etherType = bytes.u16(Ethernet.etherType)
        var vlan: UInt16 = 0
        if Ethernet.isTag(etherType) {
            link = Ethernet.headerLength &+ Ethernet.tagLength
            guard length >= link else { return drop(frame, .outerTruncated) }
            vlan = bytes.u16(14) & 0x0FFF
            etherType = bytes.u16(16)
        }
        if etherType == Ethernet.arp { return processProviderARP(frame, link, vlan) }
        guard etherType == Ethernet.ipv4 else { return drop(frame, .outerEtherType) }

        guard length >= link &+ IPv4Header.minimumLength else { return drop(frame, .outerTruncated) }
        let ip = IPv4Header(bytes.advanced(by: link))
        let header = ip.headerLength
        guard ip.version == 4, header >= IPv4Header.minimumLength else { return drop(frame, .outerIPVersion) }
        guard length >= link &+ header else { return drop(frame, .outerTruncated) }
        let total = ip.totalLength
        guard total >= header, total <= length &- link else { return drop(frame, .outerIPLength) }
        if header > IPv4Header.minimumLength, !settings.acceptsIPOptions { return drop(frame, .outerIPOptions) }
        guard hasGoodChecksum(frame, ip) else { return drop(frame, .outerIPChecksum) }

        if let reason = outerRefusal(frame, IPAddress(v4: ip.destination), vlan) { return drop(frame, reason) }
        if ip.isFragment { return drop(frame, .outerFragment) }
        guard ip.proto == GREHeader.ipProtocol else { return drop(frame, .outerProtocol) }

        let available = total &- header
        guard available >= 4 else { return drop(frame, .outerTruncated) }
        let gre = GREHeader(bytes.advanced(by: link &+ header))
        if let reason = GREHeader.refusal(flags: gre.flags) { return drop(frame, reason) }
        guard gre.proto == GREHeader.transparentEthernet else { return drop(frame, .greProtocol) }
        guard available >= GREHeader.length else { return drop(frame, .outerTruncated) }

        let outer = OuterPacket(link: link, ip: header, total: total, vsid: gre.vsid, vlan: vlan.u64, bytes)
        guard outer.innerLength >= Ethernet.headerLength else { return drop(frame, .innerTruncated) }
        let inner = bytes.advanced(by: outer.innerOffset)
        if Ethernet.isTag(inner.u16(Ethernet.etherType)) { return drop(frame, .innerVLAN) }

        guard let key = providerKey(frame, outer) else {
            // Steps 8 and 9 come before what is wrong with the inner packet.
            if let reason = tunnelRefusal(IPAddress(v4: ip.source), outer.vsid) { return drop(frame, reason) }
            let isIPv4 = inner.u16(Ethernet.etherType) == Ethernet.ipv4
            return drop(frame, isIPv4 ? .innerIPMalformed : .innerEtherType)
        }
        let decision = decideProvider(frame, outer)
        if header > IPv4Header.minimumLength, case .flow = decision {
            // The flow's result counts on an outer header without options: it is not remembered.
            applyDecapsulation(frame, outer)
        } else {
            carryOut(decision, frame, key, key.hash(tables.key))
        }
    }

    private func hasGoodChecksum(_ frame: Frame, _ ip: IPv4Header) -> Bool {
        if frame.flags & APUS_FRAME_IP_CHECKSUM_BAD != 0 { return false }
        return frame.flags & APUS_FRAME_IP_CHECKSUM_GOOD != 0 || ip.hasCorrectChecksum
    }

    /// Step 4.
    private func outerRefusal(_ frame: Frame, _ destination: IPAddress, _ vlan: UInt16) -> DropReason? {
        guard let number = providerAddress(destination), tables.addresses[number].port == frame.port else {
            return .outerNotOurs
        }
        if tables.addresses[number].vlan != vlan { return .outerVLAN }
        return tables.addresses[number].mac == frame.bytes.mac(Ethernet.destination) ? nil : .outerMAC
    }

    /// Steps 8 and 9.
    private func tunnelRefusal(_ source: IPAddress, _ vsid: UInt32) -> DropReason? {
        if !hosts(source, vsid: 0) { return .sourcePAUnknown }
        if !settings.acceptsReservedVSIDs, vsid < APUS_VSID_MIN || vsid > APUS_VSID_MAX { return .vsidReserved }
        return subnet(vsid) == nil ? .vsidUnknown : nil
    }

    /// Steps 4 and 8 to 14 for a packet in which everything before has been checked. The result goes to `scratch`.
    func decideProvider(_ frame: Frame, _ outer: OuterPacket) -> Decision {
        guard findPort(frame.port) != nil else { return dropPacket(.portUnknown) }
        let ip = IPv4Header(frame.bytes.advanced(by: outer.linkLength))
        let (pa, ourPA) = (IPAddress(v4: ip.source), IPAddress(v4: ip.destination))
        // What the key does not contain: not remembered.
        if let reason = outerRefusal(frame, ourPA, (outer.identity &>> 48).u16 & 0x0FFF) { return dropPacket(reason) }
        let decision = decideInner(frame, outer, pa, ourPA)
        scratch.value.outerIdentity = outer.identity
        return decision
    }

    /// What is dropped here is not remembered: whoever can send to this host would choose whose flows make room.
    private func decideInner(_ frame: Frame, _ outer: OuterPacket, _ pa: IPAddress, _ ourPA: IPAddress) -> Decision {
        let number = subnet(outer.vsid)
        let domain = number.map { tables.subnets[$0].domain } ?? none
        let scope = Scopes.of(vsid: outer.vsid, domain: domain)
        if let reason = tunnelRefusal(pa, outer.vsid) { return dropPacket(reason) }

        let bytes = frame.bytes.advanced(by: outer.innerOffset)
        let header = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        let destinationMAC = bytes.mac(Ethernet.destination)
        if destinationMAC.isGroup || !header.destination.isUnicastIPv4 { return dropPacket(.innerNotUnicast) }
        if !header.source.isUnicastIPv4 { return dropPacket(.innerIPMalformed) }

        let source = IPAddress(v4: header.source)
        let sourceVSID = sourceSubnet(of: source, arrivedIn: outer.vsid, domain: domain)
        if !hosts(pa, vsid: sourceVSID) { return dropPacket(.vsidPAMismatch) }
        if settings.validatesSource {
            guard let known = record(sourceVSID, source) else { return dropPacket(.innerSourceMissing) }
            if tables.records[known].pa != pa { return dropPacket(.innerSourceCAPA) }
            if tables.records[known].mac != bytes.mac(Ethernet.source) { return dropPacket(.innerSourceCAMAC) }
        }
        guard let target = record(outer.vsid, IPAddress(v4: header.destination)) else {
            return dropPacket(.innerDestinationMissing)
        }
        if tables.records[target].pa != ourPA { return dropPacket(.innerDestinationCAPA) }
        if tables.records[target].mac != destinationMAC { return dropPacket(.innerDestinationCAMAC) }
        guard let egress = vmPort(outer.vsid, destinationMAC) else { return dropPacket(.noLocalPort) }

        scratch.value = Transposition(.decapsulate, scope: scope)
        scratch.value.egress = egress
        scratch.value.headerLength = (outer.innerOffset).u8
        return .flow
    }

    /// Step 11: the wire carries the destination's VSID; the sender's follows from its address.
    private func sourceSubnet(of source: IPAddress, arrivedIn vsid: UInt32, domain: UInt32) -> UInt32 {
        if domain == none { return vsid }
        return customerRoute(source, domain: domain, onLinkOnly: true).map { tables.routes[$0].vsid } ?? vsid
    }
}
