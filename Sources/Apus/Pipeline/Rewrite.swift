// SPDX-License-Identifier: Apache-2.0

import CApus

// IP rewrite, HNV's TranslationMethodNat: docs/pipeline.md 2.7 and 4.2.

extension Worker {
    // MARK: - Towards the provider network

    /// Complete `scratch`, whose inner side is decided, as a rewriting from the machine of `source` to that of `target`.
    func decideRewrite(_ packet: IPPacket, from source: LookupRecord, to target: LookupRecord) -> Decision {
        let (reason, found) = way(to: target.pa, from: source.pa)
        guard let way = found else { return failEncapsulation(reason) }
        guard let number = usableAddress(source.pa), tables.addresses[number].port == way.route.port else {
            return failEncapsulation(.providerAddressMissing)
        }
        let own = tables.addresses[number]
        scratch.value.kind = .rewrite
        take(way, mtu: min(tables.ports[way.port].mtu, peer(target.pa)?.limit ?? .max), overhead: 0, pa: target.pa)
        setRewrite(packet, from: source.pa, to: target.pa)

        let length = Ethernet.headerLength(vlan: own.vlan)
        scratch.value.headerLength = length.u8
        Ethernet.write(
            AddressRewrite(scratch).link(length), to: way.mac ?? .broadcast,
            from: source.usesVMMAC ? source.mac : own.mac, vlan: own.vlan,
            packet.isIPv6 ? Ethernet.ipv6 : Ethernet.ipv4)
        return way.mac == nil ? .unresolved(way.neighbor) : .flow
    }

    private func setRewrite(_ packet: IPPacket, from source: IPAddress, to destination: IPAddress) {
        let rewrite = AddressRewrite(scratch)
        rewrite.source = source
        rewrite.destination = destination
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        let delta = AddressDelta(packet.source, source) + AddressDelta(packet.destination, destination)
        scratch.value.headerSum = delta.folded.u32
    }

    // MARK: - From the provider network

    /// The record whose machine has this provider address for itself.
    func rewrittenRecord(_ pa: IPAddress) -> LookupRecord? {
        guard hasRewrites,
            let number = tables.rewrites.find(
                Rewrite.hash(tables.key, pa), at: version, { tables.rewrites[$0].pa == pa })
        else { return nil }
        let rewrite = tables.rewrites[number]
        return record(rewrite.vsid, rewrite.ca).map { tables.records[$0] }
    }

    /// Is this frame, which looks like a tunnel's, for a machine that has its provider address for itself?
    func isForRewriting(_ frame: Frame) -> Bool {
        guard hasRewrites else { return false }
        let link = LinkHeader(frame)
        let ip = frame.bytes.advanced(by: link.length)
        let destination =
            link.etherType == Ethernet.ipv6 ? IPv6Header(ip).destination : IPAddress(v4: IPv4Header(ip).destination)
        return rewrittenRecord(destination) != nil
    }

    /// A packet for the machine of `target`; its outer header is all right.
    mutating func processRewritten(_ frame: Frame, _ header: OuterHeader, for target: LookupRecord) {
        var plain = frame
        removeTag(&plain, header.link)
        let readable = plain.readable &- Ethernet.headerLength
        let packet = IPPacket(in: plain.bytes)
        if packet.isNeighborDiscovery(readable: readable) { return drop(frame, .outerProtocol) }
        let decision = decideRewritten(plain, packet, header, for: target)
        // The tag is gone, and with it what the next packet would be recognized by.
        if header.link.length == Ethernet.headerLength, stageRewritten(plain, single) {
            scratch.value.outerIdentity = single.value.outerIdentity
            carryOut(decision, plain)
        } else {
            apply(scratch, 0, to: plain)
        }
    }

    /// The MAC addresses move over the tag.
    func removeTag(_ frame: inout Frame, _ link: LinkHeader) {
        let tag = link.length &- Ethernet.headerLength
        if tag == 0 { return }
        frame.bytes.move(Ethernet.etherType, from: 0, to: tag)
        frame.pop(tag)
    }

    /// The key of an untagged packet that may be rewritten; its header has to be all right already, or is here.
    func stageRewritten(_ frame: Frame, _ packet: Ref<Staged>) -> Bool {
        let link = LinkHeader(frame)
        let available = frame.length.int &- link.length
        guard link.length == Ethernet.headerLength, IPPacket.isWellFormed(in: frame.bytes, available: available) else {
            return false
        }
        let ip = IPPacket(in: frame.bytes)
        let readable = frame.readable &- Ethernet.headerLength
        if ip.isIPv6 {
            if ip.isNeighborDiscovery(readable: readable) { return false }
            stage(WideFlowKey(frame.bytes, readable: readable, port: frame.port, vsid: 0), packet)
        } else {
            guard ip.v4.headerLength == IPv4Header.minimumLength, OuterPacket.hasGoodChecksum(frame, ip.v4) else {
                return false
            }
            packet.value.set(
                FlowKey(frame.bytes, readable: readable, port: frame.port, vsid: 0, outer: 0), cache, HashKey(tables.key))
        }
        packet.value.outerIdentity = OuterPacket.identity(frame.bytes, link.identity | OuterPacket.rewriteBit)
        return true
    }

    private func decideRewritten(
        _ frame: Frame, _ packet: IPPacket, _ header: OuterHeader, for target: LookupRecord
    ) -> Decision {
        guard !header.isMapped.source, let source = rewrittenRecord(header.source) else {
            return dropPacket(.sourcePAUnknown)
        }
        let domain = subnet(target.vsid).map { tables.subnets[$0].domain } ?? none
        if source.vsid != target.vsid {
            let other = subnet(source.vsid).map { tables.subnets[$0].domain } ?? none
            if domain == none || domain != other { return dropPacket(.vsidPAMismatch) }
        }
        if target.isUnusable { return dropPacket(.recordUnusable) }
        guard let egress = vmPort(target.vsid, target.mac) else { return dropPacket(.noLocalPort) }
        scratch.value = Transposition(.rewrite, scope: Scopes.of(vsid: target.vsid, domain: domain))
        scratch.value.egress = egress
        setRewrite(packet, from: source.ca, to: target.ca)
        scratch.value.headerLength = Ethernet.headerLength.u8
        let link = AddressRewrite(scratch).link(Ethernet.headerLength)
        link.store(target.mac, at: Ethernet.destination)
        link.store(source.mac, at: Ethernet.source)
        link.store(packet.isIPv6 ? Ethernet.ipv6 : Ethernet.ipv4, at: Ethernet.etherType)
        return .flow
    }
}

// MARK: - Each packet

extension Ref where Value == Transposition {
    /// An untagged frame gets other addresses and another Ethernet header.
    func rewrite(_ frame: inout Frame) -> DropReason? {
        let ip = frame.bytes.advanced(by: Ethernet.headerLength)
        let isIPv6 = value.variant.has(Value.Variant.ipv6)
        let packet = IPPacket(in: frame.bytes)
        if value.isRouted != 0, packet.ttl <= 1 { return .ttlExpired }
        let length = packet.totalLength
        if length > value.maximum.int { return .mtuExceeded }
        let link = value.headerLength.int
        let room = link &- Ethernet.headerLength
        if room > frame.headroom.int { return .noHeadroom }
        let transport = Transport(ip, isIPv6: isIPv6, readable: frame.readable &- Ethernet.headerLength)
        let checksum = transport.checksum
        if let checksum, !transport.contains(checksum, 2) { return .transportTruncated }
        if transport.isHidden { return .transportTruncated }

        let rewrite = AddressRewrite(self)
        let delta = value.headerSum.u16
        let old = (source: packet.source, destination: packet.destination)
        rewriteQuoted(in: transport, old, (rewrite.source, rewrite.destination))
        if let checksum { transport.correct(checksum, by: delta) }
        if isIPv6 {
            ip.store(ipv6: rewrite.source, at: 8)
            ip.store(ipv6: rewrite.destination, at: 24)
            if value.isRouted != 0 { ip[7] &-= 1 }
        } else {
            ip.store(rewrite.source.v4, at: 12)
            ip.store(rewrite.destination.v4, at: 16)
            ip.store(~Checksum.fold((~IPv4Header(ip).checksum).u32 &+ delta.u32), at: 10)
            if value.isRouted != 0 { IPv4Header(ip).decrementTTL() }
        }
        replaceLink(&frame, length)
        return nil
    }

    /// Put the kept Ethernet header in the place of that of an untagged frame, whose IP packet has `length` bytes. There is headroom for a tag.
    func replaceLink(_ frame: inout Frame, _ length: Int) {
        let link = value.headerLength.int
        if link > Ethernet.headerLength { frame.push(link &- Ethernet.headerLength) }
        frame.bytes.copy(link, from: AddressRewrite(self).link(link))
        frame.length = (link &+ length).u32
        frame.flags = 0
        frame.port = value.egress
    }

    /// The packet that an ICMP error is about went the other way.
    private func rewriteQuoted(
        in transport: Transport, _ old: (source: IPAddress, destination: IPAddress),
        _ new: (source: IPAddress, destination: IPAddress)
    ) {
        guard let errorChecksum = transport.errorChecksum else { return }
        let at = transport.quoted
        let isIPv6 = transport.isIPv6
        let minimum = isIPv6 ? IPv6Header.length : IPv4Header.minimumLength
        let quoted = transport.ip.advanced(by: at)
        guard transport.contains(at, minimum) else { return }
        if isIPv6 {
            guard IPv6Header(quoted).version == 6 else { return }
        } else {
            guard IPv4Header(quoted).version == 4, IPv4Header(quoted).headerLength >= minimum,
                transport.contains(at, IPv4Header(quoted).headerLength)
            else { return }
        }
        let error = QuotedWords(ip: transport.ip, checksum: errorChecksum)
        let was = (source: address(quoted, isIPv6, isSource: true), destination: address(quoted, isIPv6, isSource: false))
        let source = was.source == old.destination ? new.destination : was.source
        let destination = was.destination == old.source ? new.source : was.destination
        // Nothing of it changes, not even the zero of a checksum.
        if source == was.source, destination == was.destination { return }
        let delta = (AddressDelta(was.source, source) + AddressDelta(was.destination, destination)).folded
        let offset = isIPv6 ? IPv6Header.addressesOffset : IPv4Header.addressesOffset
        let size = isIPv6 ? 16 : 4
        error.store(source, at: at &+ offset, size)
        error.store(destination, at: at &+ offset &+ size, size)
        if !isIPv6 {
            let header = IPv4Header(quoted).checksum
            error.store(~Checksum.fold((~header).u32 &+ delta.u32), at: at &+ 10)
        }
        let inner = Transport(quoted, isIPv6: isIPv6, readable: transport.readableEnd &- at)
        guard let checksum = inner.checksum, inner.contains(checksum, 2) else { return }
        let before = quoted.u16(checksum)
        inner.correct(checksum, by: delta)
        error.changed(from: before, to: quoted.u16(checksum))
    }

    private func address(_ ip: Bytes, _ isIPv6: Bool, isSource: Bool) -> IPAddress {
        if isIPv6 { return isSource ? IPv6Header(ip).source : IPv6Header(ip).destination }
        return IPAddress(v4: isSource ? IPv4Header(ip).source : IPv4Header(ip).destination)
    }
}

/// Words inside an ICMP message, whose checksum follows their changes.
private struct QuotedWords {
    let ip: Bytes
    let checksum: Int

    func changed(from old: UInt16, to new: UInt16) {
        ip.store(Checksum.updated(ip.u16(checksum), from: old, to: new), at: checksum)
    }

    func store(_ value: UInt16, at offset: Int) {
        changed(from: ip.u16(offset), to: value)
        ip.store(value, at: offset)
    }

    /// The last `size` bytes of the address.
    func store(_ address: IPAddress, at offset: Int, _ size: Int) {
        var i = 0
        while i < size {
            let shift = (size &- 2 &- i) &* 8
            let word = shift >= 64 ? (address.high &>> (shift &- 64).u64).u16 : (address.low &>> shift.u64).u16
            store(word, at: offset &+ i)
            i &+= 2
        }
    }
}

/// What a change of an address adds to one's-complement sums that contain it.
struct AddressDelta {
    private var sum: UInt32

    init(_ old: IPAddress, _ new: IPAddress) { sum = Self.words(new, complement: false) &+ Self.words(old, complement: true) }

    static func + (a: AddressDelta, b: AddressDelta) -> AddressDelta {
        var both = a
        both.sum = a.sum &+ b.sum
        return both
    }

    var folded: UInt16 { Checksum.fold(sum) }

    private static func words(_ address: IPAddress, complement: Bool) -> UInt32 {
        // Of IPv4 the last four bytes: the rest is the same in every address.
        var sum: UInt32 = 0
        var shift: UInt64 = 0
        while shift < (address.isV4 ? 32 : 64) {
            sum = sum &+ word((address.low &>> shift).u16, complement)
            if !address.isV4 { sum = sum &+ word((address.high &>> shift).u16, complement) }
            shift &+= 16
        }
        return sum
    }

    private static func word(_ word: UInt16, _ complement: Bool) -> UInt32 { (complement ? ~word : word).u32 }
}
