// SPDX-License-Identifier: Apache-2.0

import CApus

/// The Ethernet header of a frame from the provider network, with at most one tag.
struct LinkHeader {
    var length = Ethernet.headerLength
    /// 0 when the frame ends inside the tag: `length` is more than it has then.
    var etherType: UInt16
    /// The VLAN, a bit for a tag (which may have VLAN 0), and one more, so that it is never 0.
    var identity = Self.untagged
    static var untagged: UInt64 { 0x8000 }

    @inline(__always)
    init(_ frame: Frame) {
        let bytes = frame.bytes
        etherType = bytes.u16(Ethernet.etherType)
        guard Ethernet.isTag(etherType) else { return }
        length = Ethernet.headerLength &+ Ethernet.tagLength
        guard frame.length >= length.u32 else {
            etherType = 0
            return
        }
        identity = (bytes.u16(14) & 0x0FFF).u64 | 0xC000
        etherType = bytes.u16(16)
    }

    /// 0 if there is no tag.
    var vlan: UInt16 { identity.u16 & 0x0FFF }
}

/// Where the parts of a frame from the provider network are.
struct OuterPacket {
    /// Outer Ethernet header with its tag.
    var linkLength: Int
    /// The inner frame: offset and length, without padding behind the outer packet.
    var innerOffset: Int
    var innerLength: Int
    /// The upper 24 bits of the key, or the VNI.
    var vsid: UInt32
    /// Of GRE.
    var key: UInt32
    /// The VSID was taken from the lower 24 bits.
    var hasDraftKey = false
    /// Outer destination MAC (memory order) in the upper 48 bits, ``LinkHeader/identity``, and ``vxlanBit``.
    var identity: UInt64
    var isIPv6: Bool
    var isVXLAN: Bool { identity & Self.vxlanBit != 0 }

    private static var vxlanBit: UInt64 { 0x2000 }
    /// A packet that is no tunnel's, but rewritten.
    static var rewriteBit: UInt64 { 0x1000 }

    /// The common case - at most one tag, no IP options, nothing wrong - or nil. Says nothing about *what* is wrong:
    /// `processFromProvider` does, check by check.
    @inline(__always)
    init?(fast frame: Frame, vxlanPort: UInt16) {
        let link = LinkHeader(frame)
        if let nvgre = OuterPacket(ipv4: frame, link) ?? OuterPacket(ipv6: frame, link) {
            self = nvgre
        } else {
            self.init(vxlan: frame, link, vxlanPort)
        }
    }

    /// IPv4 without options, GRE, inner Ethernet.
    @inline(__always)
    init?(ipv4 frame: Frame, _ link: LinkHeader) {
        let bytes = frame.bytes
        let ip = IPv4Header(bytes.advanced(by: link.length))
        guard link.etherType == Ethernet.ipv4, frame.length.int >= link.length &+ 42,
            Self.isPlain(ip, GREHeader.ipProtocol)
        else { return nil }
        let total = ip.totalLength
        guard total >= 42, total <= frame.length.int &- link.length, Self.hasGoodChecksum(frame, ip) else { return nil }
        let gre = GREHeader(ip.ip.advanced(by: 20))
        guard gre.isPlain else { return nil }
        self.init(link, inner: link.length &+ 28, length: total &- 28, key: gre.key, bytes, isIPv6: false)
    }

    /// IPv6, GRE, inner Ethernet.
    @inline(__always)
    init?(ipv6 frame: Frame, _ link: LinkHeader) {
        let bytes = frame.bytes
        let ip = IPv6Header(bytes.advanced(by: link.length))
        guard link.etherType == Ethernet.ipv6, frame.length.int >= link.length &+ 62, ip.version == 6,
            ip.nextHeader == GREHeader.ipProtocol
        else { return nil }
        let total = ip.totalLength
        guard total >= 62, total <= frame.length.int &- link.length else { return nil }
        let gre = GREHeader(ip.ip.advanced(by: IPv6Header.length))
        guard gre.isPlain else { return nil }
        self.init(link, inner: link.length &+ 48, length: total &- 48, key: gre.key, bytes, isIPv6: true)
    }

    /// IPv4 without options or IPv6, UDP, VXLAN, inner Ethernet.
    @inline(__always)
    init?(vxlan frame: Frame, _ link: LinkHeader, _ port: UInt16) {
        let bytes = frame.bytes
        let start = bytes.advanced(by: link.length)
        let available = frame.length.int &- link.length
        let ipLength: Int
        let total: Int
        if link.etherType == Ethernet.ipv4 {
            let ip = IPv4Header(start)
            ipLength = IPv4Header.minimumLength
            guard available >= ipLength &+ 30, Self.isPlain(ip, VXLANHeader.ipProtocol),
                Self.hasGoodChecksum(frame, ip)
            else { return nil }
            total = ip.totalLength
        } else {
            let ip = IPv6Header(start)
            ipLength = IPv6Header.length
            guard link.etherType == Ethernet.ipv6, available >= ipLength &+ 30, ip.version == 6,
                ip.nextHeader == VXLANHeader.ipProtocol
            else { return nil }
            total = ip.totalLength
        }
        let vxlan = VXLANHeader(start.advanced(by: ipLength))
        let length = vxlan.datagramLength
        guard total <= available, vxlan.destinationPort == port, length >= 30, length <= total &- ipLength,
            vxlan.hasVNI
        else { return nil }
        self.init(
            link, inner: link.length &+ ipLength &+ VXLANHeader.length, length: length &- VXLANHeader.length, bytes,
            vxlan, isIPv6: ipLength == IPv6Header.length)
    }

    @inline(__always)
    init(_ link: LinkHeader, inner: Int, length: Int, key: UInt32, _ bytes: Bytes, isIPv6: Bool) {
        linkLength = link.length
        innerOffset = inner
        innerLength = length
        vsid = key &>> 8
        self.key = key
        self.isIPv6 = isIPv6
        identity = Self.identity(bytes, link.identity)
    }

    init(_ link: LinkHeader, inner: Int, length: Int, _ bytes: Bytes, _ vxlan: VXLANHeader, isIPv6: Bool) {
        self.init(link, inner: inner, length: length, key: vxlan.vni &<< 8, bytes, isIPv6: isIPv6)
        identity |= Self.vxlanBit
    }

    /// The length of the inner frame in NVGRE over IPv4, if there is no tag, and nothing else that is unusual: then that begins at byte 42,
    /// and may hold a plain IPv4 packet.
    @inline(__always)
    static func plainInnerLength(_ frame: Ref<Frame>) -> Int? {
        let leastTotal = NVGRE.overheadIPv4 &+ IPv4Header.plainMinimum
        let least = Ethernet.headerLength.u32 &+ leastTotal
        guard frame.value.isValid(ofAtLeast: least) else { return nil }
        let bytes = frame.value.bytes
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        guard IPv4Header.isWithoutOptions(bytes), ip.isWhole(GREHeader.ipProtocol) else { return nil }
        let total = bytes.u16(16).u32
        guard total &- leastTotal <= frame.value.length &- least, GREHeader(bytes.advanced(by: 34)).isPlain,
            hasGoodChecksum(frame.value, ip)
        else { return nil }
        return total.int &- 28
    }

    @inline(__always)
    static func identity(_ bytes: Bytes, _ marks: UInt64) -> UInt64 { UInt64(littleEndian: bytes.raw64(0)) &<< 16 | marks }

    /// No options, not a fragment, this protocol.
    @inline(__always)
    private static func isPlain(_ ip: IPv4Header, _ proto: UInt8) -> Bool {
        ip.ip[0] == 0x45 && ip.isWhole(proto)
    }

    @inline(__always)
    static func hasGoodChecksum(_ frame: Frame, _ ip: IPv4Header) -> Bool {
        let checked = frame.flags & (APUS_FRAME_IP_CHECKSUM_GOOD | APUS_FRAME_IP_CHECKSUM_BAD)
        if _fastPath(checked == 0) { return ip.hasCorrectChecksumWithoutOptions }
        return checked == APUS_FRAME_IP_CHECKSUM_GOOD
    }
}

/// What the header before the inner frame says about the way it came.
struct OuterHeader {
    var link: LinkHeader
    /// With options.
    var length: Int
    var total: Int
    var isIPv6: Bool
    var isFragment: Bool
    var proto: UInt8
    var source: IPAddress
    var destination: IPAddress

    init(_ ip: IPv4Header, _ link: LinkHeader) {
        self.link = link
        length = ip.headerLength
        total = ip.totalLength
        isIPv6 = false
        isFragment = ip.isFragment
        proto = ip.proto
        source = IPAddress(v4: ip.source)
        destination = IPAddress(v4: ip.destination)
    }

    init(_ ip: IPv6Header, _ link: LinkHeader) {
        self.link = link
        length = IPv6Header.length
        total = ip.totalLength
        isIPv6 = true
        isFragment = ip.nextHeader == IPv6Header.fragment
        proto = ip.nextHeader
        source = ip.source
        destination = ip.destination
    }

    /// An IPv6 header with addresses in the form that IPv4 has in the tables.
    var isMapped: (source: Bool, destination: Bool) { (isIPv6 && source.isV4, isIPv6 && destination.isV4) }
}

// Frames from provider ports: docs/pipeline.md section 4.

extension Worker {
    /// Steps 1 to 7 and 10, each with its reason; then the decision as for every other packet.
    mutating func processFromProvider(_ frame: Frame) {
        let link = LinkHeader(frame)
        guard frame.length.int >= link.length else { return drop(frame, .outerTruncated) }
        switch link.etherType {
        case Ethernet.arp: processProviderARP(frame, link)
        case Ethernet.ipv4: processOuterIPv4(frame, link)
        case Ethernet.ipv6: processOuterIPv6(frame, link)
        default: drop(frame, .outerEtherType)
        }
    }

    /// Step 3.
    private mutating func processOuterIPv4(_ frame: Frame, _ link: LinkHeader) {
        let available = frame.length.int &- link.length
        guard available >= IPv4Header.minimumLength else { return drop(frame, .outerTruncated) }
        let ip = IPv4Header(frame.bytes.advanced(by: link.length))
        let header = ip.headerLength
        guard ip.version == 4, header >= IPv4Header.minimumLength else { return drop(frame, .outerIPVersion) }
        guard available >= header else { return drop(frame, .outerTruncated) }
        guard ip.totalLength >= header, ip.totalLength <= available else { return drop(frame, .outerIPLength) }
        if header > IPv4Header.minimumLength, !settings.acceptsIPOptions { return drop(frame, .outerIPOptions) }
        guard hasGoodChecksum(frame, ip) else { return drop(frame, .outerIPChecksum) }
        processTunnel(frame, OuterHeader(ip, link))
    }

    private mutating func processOuterIPv6(_ frame: Frame, _ link: LinkHeader) {
        let available = frame.length.int &- link.length
        guard available >= IPv6Header.length else { return drop(frame, .outerTruncated) }
        let ip = IPv6Header(frame.bytes.advanced(by: link.length))
        guard ip.version == 6 else { return drop(frame, .outerIPVersion) }
        guard ip.totalLength <= available else { return drop(frame, .outerIPLength) }
        if ip.nextHeader == ICMPv6Message.proto, ip.payloadLength >= 1 {
            let type = ICMPv6Message(ip).type
            if type == NeighborDiscovery.solicitation || type == NeighborDiscovery.advertisement {
                return processProviderDiscovery(frame, link)
            }
        }
        processTunnel(frame, OuterHeader(ip, link))
    }

    /// Steps 4 to 7.
    private mutating func processTunnel(_ frame: Frame, _ header: OuterHeader) {
        let bytes = frame.bytes
        if let reason = outerRefusal(frame, header) { return drop(frame, reason) }
        if let target = rewrittenRecord(header.destination) { return processRewritten(frame, header, for: target) }
        if header.isFragment { return drop(frame, .outerFragment) }
        if header.isIPv6, IPv6Header.isExtension(header.proto) { return drop(frame, .outerIPOptions) }
        let available = header.total &- header.length
        let start = bytes.advanced(by: header.link.length &+ header.length)
        switch header.proto {
        case GREHeader.ipProtocol: processGRE(frame, header, GREHeader(start), available)
        case VXLANHeader.ipProtocol: processUDP(frame, header, VXLANHeader(start), available)
        case 1 where !header.isIPv6 && available >= 8 && start.u16(0) == 0x0304: processTooBig(frame, header, start)
        case ICMPv6Message.proto where header.isIPv6 && available >= 8 && start[0] == ICMPv6Message.packetTooBig:
            processTooBig(frame, header, start)
        default: drop(frame, .outerProtocol)
        }
    }

    private mutating func processGRE(_ frame: Frame, _ header: OuterHeader, _ gre: GREHeader, _ available: Int) {
        guard available >= 4 else { return drop(frame, .outerTruncated) }
        if let reason = GREHeader.refusal(flags: gre.flags) { return drop(frame, reason) }
        guard gre.proto == GREHeader.transparentEthernet else { return drop(frame, .greProtocol) }
        guard available >= GREHeader.length else { return drop(frame, .outerTruncated) }
        let offset = header.link.length &+ header.length &+ GREHeader.length
        var outer = OuterPacket(
            header.link, inner: offset, length: available &- GREHeader.length, key: gre.key, frame.bytes,
            isIPv6: header.isIPv6)
        readKey(&outer, from: header.source)
        processInner(frame, header, outer)
    }

    private mutating func processUDP(_ frame: Frame, _ header: OuterHeader, _ vxlan: VXLANHeader, _ available: Int) {
        guard available >= VXLANHeader.udpLength else { return drop(frame, .outerTruncated) }
        guard vxlan.destinationPort == settings.vxlanPort else { return drop(frame, .outerProtocol) }
        let length = vxlan.datagramLength
        guard available >= VXLANHeader.length, length >= VXLANHeader.length, length <= available else {
            return drop(frame, .outerTruncated)
        }
        guard vxlan.hasVNI else { return drop(frame, .vxlanFlags) }
        let offset = header.link.length &+ header.length &+ VXLANHeader.length
        let outer = OuterPacket(
            header.link, inner: offset, length: length &- VXLANHeader.length, frame.bytes, vxlan,
            isIPv6: header.isIPv6)
        processInner(frame, header, outer)
    }

    /// Steps 7 and 10, then the decision as for every other packet.
    private mutating func processInner(_ frame: Frame, _ header: OuterHeader, _ outer: OuterPacket) {
        guard outer.innerLength >= Ethernet.headerLength else { return drop(frame, .innerTruncated) }
        let inner = frame.bytes.advanced(by: outer.innerOffset)
        let etherType = inner.u16(Ethernet.etherType)
        if Ethernet.isTag(etherType) { return drop(frame, .innerVLAN) }

        guard stageProvider(frame, outer, single) else {
            // Steps 8 and 9 come before what is wrong with the inner packet.
            if let reason = tunnelRefusal(header, outer) { return drop(frame, reason) }
            let isIP = etherType == Ethernet.ipv4 || etherType == Ethernet.ipv6
            if etherType == Ethernet.arp { return processTunnelledARP(frame, outer, from: header.source) }
            if isIP, IPPacket.isWellFormed(in: inner, available: outer.innerLength &- Ethernet.headerLength) {
                if isControlMessage(frame, outer, from: header.source) { return processControlMessage(frame) }
                return processTunnelledDiscovery(frame, outer, from: header.source)
            }
            if isIP { return drop(frame, .innerIPMalformed) }
            return processTunnelledOther(frame, outer, from: header.source, to: header.destination)
        }
        let decision = decideProvider(frame, outer)
        if case .control = decision { return processControlMessage(frame) }
        if header.length > IPv4Header.minimumLength, !header.isIPv6, decision.isComplete, scratch.value.removesHeader {
            // The flow's result counts on an outer header without options: it is not remembered.
            applyDecapsulation(frame, outer)
        } else {
            carryOut(decision, frame)
        }
    }

    /// The common case of a frame from the provider network, with the VSID where its sender has it.
    func outerPacket(_ frame: Frame) -> OuterPacket? {
        guard var outer = OuterPacket(fast: frame, vxlanPort: settings.vxlanPort) else { return nil }
        if hasDraftPeers {
            let ip = frame.bytes.advanced(by: outer.linkLength)
            readKey(&outer, from: outer.isIPv6 ? IPv6Header(ip).source : IPAddress(v4: IPv4Header(ip).source))
            // The key of the flow has only the VSID: what is wrong with the other byte would not be seen in it.
            if outer.hasDraftKey, outer.key &>> 24 != 0 { return nil }
        }
        return outer
    }

    /// The layout of a GRE key cannot be seen: who sent it decides (docs/pipeline.md 4, step 9).
    func readKey(_ outer: inout OuterPacket, from source: IPAddress) {
        guard hasDraftPeers, !outer.isVXLAN, let peer = peer(source), peer.hasDraftKeys else { return }
        outer.vsid = outer.key & 0xFF_FFFF
        outer.hasDraftKey = true
    }

    private func hasGoodChecksum(_ frame: Frame, _ ip: IPv4Header) -> Bool {
        if frame.flags & APUS_FRAME_IP_CHECKSUM_BAD != 0 { return false }
        return frame.flags & APUS_FRAME_IP_CHECKSUM_GOOD != 0 || ip.hasCorrectChecksum
    }

    /// Step 4.
    private func outerRefusal(_ frame: Frame, _ header: OuterHeader) -> DropReason? {
        guard !header.isMapped.destination, let number = usableAddress(header.destination),
            tables.addresses[number].port == frame.port
        else { return strangerRefusal(frame, header) }
        if tables.addresses[number].vlan != header.link.vlan { return .outerVLAN }
        return tables.addresses[number].mac == frame.bytes.mac(Ethernet.destination) ? nil : .outerMAC
    }

    /// The same for a destination that is not ours: a multicast group, perhaps. On a trunk the VLAN says more than the address.
    private func strangerRefusal(_ frame: Frame, _ header: OuterHeader) -> DropReason? {
        let (destination, vlan) = (header.destination, header.link.vlan)
        let isGroup = !header.isMapped.destination && isGroup(destination)
        let number = tables.addresses.findSecondary(ProviderAddress.hash(tables.key, port: frame.port), at: version) {
            let address = tables.addresses[$0]
            return address.port == frame.port && address.vlan == vlan
                && (!isGroup || (address.address.isV4 == destination.isV4 && isUsable($0)))
        }
        if number == nil, isGroup || vlan != 0 { return .outerVLAN }
        if !isGroup { return .outerNotOurs }
        return destination.multicastMAC == frame.bytes.mac(Ethernet.destination) ? nil : .outerMAC
    }

    /// Steps 8 and 9.
    private func tunnelRefusal(_ header: OuterHeader, _ outer: OuterPacket) -> DropReason? {
        if header.isMapped.source || !hosts(header.source, vsid: 0) { return .sourcePAUnknown }
        if outer.hasDraftKey, outer.key &>> 24 != 0 { return .keyLayout }
        let isReserved =
            !settings.acceptsReservedVSIDs && (outer.vsid < APUS_VSID_MIN || outer.vsid > APUS_VSID_MAX)
        if !isReserved, subnet(outer.vsid) != nil {
            if !header.destination.isMulticast { return nil }
            return subnetOptions(outer.vsid)?.group == header.destination ? nil : .outerNotOurs
        }
        let other = outer.hasDraftKey ? outer.key &>> 8 : outer.key & 0xFF_FFFF
        if !outer.isVXLAN, other != 0, hosts(header.source, vsid: other) { return .keyLayout }
        return isReserved ? .vsidReserved : .vsidUnknown
    }

    /// Steps 4 and 8 to 14 for a packet in which everything before has been checked. The result goes to `scratch`.
    func decideProvider(_ frame: Frame, _ outer: OuterPacket) -> Decision {
        let link = LinkHeader(frame)
        let ip = frame.bytes.advanced(by: link.length)
        let header = outer.isIPv6 ? OuterHeader(IPv6Header(ip), link) : OuterHeader(IPv4Header(ip), link)
        let arrival = arrivals.advanced(by: Recent.place(of: header.source, Recent.arrivalBits))
        if outer.hasDraftKey || !isKnown(arrival, frame, outer, header), let reason = look(arrival, frame, outer, header) {
            return dropPacket(reason)
        }
        let packet = IPPacket(in: frame.bytes.advanced(by: outer.innerOffset))
        let decision = decideInner(frame, outer, arrival, packet)
        scratch.value.outerIdentity = outer.identity
        typealias Variant = Transposition.Variant
        scratch.value.variant.set(Variant.ipv6, packet.isIPv6)
        scratch.value.variant.set(Variant.outerIPv6, outer.isIPv6)
        scratch.value.variant.set(Variant.vxlan, outer.isVXLAN)
        return decision
    }

    @inline(__always)
    private func isKnown(_ arrival: Ref<Recent.Arrival>, _ frame: Frame, _ outer: OuterPacket, _ header: OuterHeader) -> Bool {
        arrival.value.version == version && arrival.value.neighborEpoch == neighborEpoch
            && arrival.value.pa == header.source && arrival.value.ourPA == header.destination
            && arrival.value.identity == outer.identity && arrival.value.vsid == outer.vsid
            && arrival.value.port == frame.port && arrival.value.isIPv6 == outer.isIPv6 && trace == nil
    }

    /// Steps 4, 8 and 9. The key of a flow does not contain what they look at: that something is wrong is not remembered.
    @inline(never)
    private func look(
        _ arrival: Ref<Recent.Arrival>, _ frame: Frame, _ outer: OuterPacket, _ header: OuterHeader
    ) -> DropReason? {
        guard findPort(frame.port) != nil else { return .portUnknown }
        if let reason = outerRefusal(frame, header) ?? tunnelRefusal(header, outer) { return reason }
        let peer = peer(header.source)
        arrival.value = Recent.Arrival(
            version: version, identity: outer.identity, pa: header.source, ourPA: header.destination, port: frame.port,
            vsid: outer.vsid, neighborEpoch: neighborEpoch, domain: subnet(outer.vsid).map { tables.subnets[$0].domain } ?? none,
            isIPv6: outer.isIPv6, isUniform: peer.map { $0.dscpMode.u32 == APUS_DSCP_UNIFORM.rawValue } ?? false)
        return nil
    }

    /// What is dropped here is not remembered: whoever can send to this host would choose whose flows make room.
    private func decideInner(
        _ frame: Frame, _ outer: OuterPacket, _ arrival: Ref<Recent.Arrival>, _ packet: IPPacket
    ) -> Decision {
        let domain = arrival.value.domain
        let scope = Scopes.of(vsid: outer.vsid, domain: domain)
        let (pa, ourPA, source) = (arrival.value.pa, arrival.value.ourPA, packet.source)
        // Only hosts send those, as themselves.
        if source == pa, isControlMessage(frame, outer, from: pa) { return .control }

        let bytes = frame.bytes.advanced(by: outer.innerOffset)
        let destinationMAC = bytes.mac(Ethernet.destination)
        if destinationMAC.isGroup,
            let decision = decideGroup(packet, bytes.mac(Ethernet.source), at: pa, outer, scope)
        {
            return decision
        }
        if destinationMAC.isGroup || !packet.hasUnicastDestination { return dropPacket(.innerNotUnicast) }
        if !packet.hasUnicastSource { return dropPacket(.innerIPMalformed) }

        let sourceVSID = sourceSubnet(of: source, arrivedIn: outer.vsid, domain: domain)
        let known = record(sourceVSID, source, expected: expected.source)
        let sourceMAC = bytes.mac(Ethernet.source)
        let isRouter =
            settings.usesExternalRouter
            && forwardingRecord(outer.vsid, sourceMAC, for: source).map { tables.records[$0].pa == pa } ?? false
        if !isRouter,
            known != nil
                || !isForwarder(sourceMAC, at: pa, for: source, sourceVSID, arrivedIn: outer.vsid, domain: domain)
        {
            // A record of the sender's says so already.
            let isThere = trace == nil && known.map { tables.records[$0].pa == pa } ?? false
            if !isThere, !hosts(pa, vsid: sourceVSID) { return dropPacket(.vsidPAMismatch) }
            if settings.validatesSource {
                guard let known else { return dropPacket(.innerSourceMissing) }
                if tables.records[known].pa != pa { return dropPacket(.innerSourceCAPA) }
                if tables.records[known].mac != sourceMAC { return dropPacket(.innerSourceCAMAC) }
            }
        }
        let own = record(outer.vsid, packet.destination, expected: expected.destination)
        if let reason = innerRefusal(own, packet.destination, destinationMAC, ourPA, outer.vsid) {
            return dropPacket(reason)
        }
        let decision: Decision
        if let egress = vmPort(outer.vsid, destinationMAC) {
            scratch.value = Transposition(.decapsulate, scope: scope)
            scratch.value.egress = egress
            scratch.value.headerLength = outer.innerOffset.u8
            scratch.value.dependsOnTwoRecords =
                settings.validatesSource && !isRouter && known != nil && own != nil
            decision = .flow
        } else if let external = externalPort(outer.vsid, destinationMAC) {
            decision = decideLeaving(packet, through: external, scope)
            if scratch.value.kind == .drop { return .packet }
            scratch.value.innerOffset = outer.innerOffset
        } else {
            return dropPacket(.noLocalPort)
        }
        scratch.value.variant.set(Transposition.Variant.uniform, arrival.value.isUniform)
        if case .flow = decision, source == pa, mayBeControlled(frame, outer, packet, from: pa) { return .packet }
        return decision
    }

    /// Step 13; `record` is that of the destination.
    private func innerRefusal(
        _ record: UInt32?, _ destination: IPAddress, _ mac: MACAddress, _ ourPA: IPAddress, _ vsid: UInt32
    ) -> DropReason? {
        guard let number = record else {
            guard let gateway = forwardingRecord(vsid, mac, for: destination), tables.records[gateway].pa == ourPA else {
                return .innerDestinationMissing
            }
            return tables.records[gateway].isUnusable ? .recordUnusable : nil
        }
        if tables.records[number].pa != ourPA { return .innerDestinationCAPA }
        if tables.records[number].mac != mac { return .innerDestinationCAMAC }
        return tables.records[number].isUnusable ? .recordUnusable : nil
    }

    /// Step 11: the wire carries the destination's VSID; the sender's follows from its address.
    @_optimize(speed)
    func sourceSubnet(of source: IPAddress, arrivedIn vsid: UInt32, domain: UInt32) -> UInt32 {
        if domain == none { return vsid }
        let prefix = source.masked(tables.domains[domain].value.lengths.deciding(for: source))
        let place = Recent.place(of: IPAddress(high: prefix.high ^ domain.u64, low: prefix.low), Recent.originBits)
        let origin = origins.advanced(by: place)
        if origin.value.version != version || origin.value.prefix != prefix || origin.value.domain != domain || trace != nil {
            let route = customerRoute(source, domain: domain, onLinkOnly: true)
            origin.value = Recent.Origin(
                version: version, prefix: prefix, domain: domain, vsid: route.map { tables.routes[$0].vsid } ?? none)
        }
        return origin.value.vsid == none ? vsid : origin.value.vsid
    }
}
