// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stage 1 of a burst.

extension Worker {
    /// Count what came in. Make the key of every packet that the flow cache is for and have its cache line fetched; leave
    /// every other one to the slow path, which looks at it step by step and names what is wrong. Returns a bit for each packet
    /// that has no narrow key.
    @inline(__always)
    mutating func parse(_ frames: Ref<Frame>, _ count: Int) -> UInt64 {
        var others: UInt64 = 0
        let (staged, cache, hashKey) = (staged, cache, tables.key)
        var source = Source(frames[0].port, tables.portSlots, at: 0, hasDraftPeers)
        var i = 0
        while i < min(Self.ahead, count) {
            prefetch(frames[i].address)
            i &+= 1
        }
        i = 0
        while i < count {
            if i &+ Self.ahead < count { prefetch(frames[i &+ Self.ahead].address) }
            let frame = frames[i]
            if frame.port != source.port { change(&source, to: frame.port, at: i) }
            source.bytes &+= frame.length.u64
            let packet = staged.advanced(by: i)
            if !stage(frame, source, packet, cache, hashKey) { others |= 1 &<< i.u64 }
            i &+= 1
        }
        change(&source, to: none, at: count)
        return others
    }

    /// Packets that are being fetched while one is parsed.
    private static var ahead: Int { 4 }

    /// Consecutive frames from one port; hosts read them port by port.
    private struct Source {
        var port: UInt32
        /// 0 = there is no such port.
        var kind: UInt8
        /// Its frames may be tunnels' whose keys all have one layout.
        var mayBePlain: Bool
        var first: Int
        var bytes: UInt64 = 0

        @_optimize(speed)
        init(_ port: UInt32, _ slots: PortSlots, at index: Int, _ hasDraftPeers: Bool) {
            self.port = port
            kind = slots.kind(of: port)
            mayBePlain = kind == Port.provider && !hasDraftPeers
            first = index
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func change(_ source: inout Source, to port: UInt32, at index: Int) {
        counters.add(.receivedBytes, source.bytes)
        if source.kind != 0 {
            portCounters.add(source.port, .received, (index &- source.first).u64)
            portCounters.add(source.port, .receivedBytes, source.bytes)
        }
        source = Source(port, tables.portSlots, at: index, hasDraftPeers)
    }

    /// The first bytes, and the room before them that an outer header is written to.
    @inline(__always)
    private func prefetch(_ address: UInt) {
        apus_prefetch_address(address)
        apus_prefetch_address(address &- 64)
    }

    /// Make the key of a packet that the flow cache is for. True: it is a narrow one. IPv4 in NVGRE over IPv4 stays in the loop; the rest leaves it, so
    /// that the loop keeps its registers.
    @inline(__always)
    private mutating func stage(
        _ frame: Frame, _ source: Source, _ packet: Ref<Staged>, _ cache: FlowCache<FlowKey>,
        _ hashKey: Ref<apus_hash_key>
    ) -> Bool {
        let bytes = frame.bytes
        guard source.kind != 0, frame.isValid else {
            packet.value.form = .none
            return false
        }
        if source.kind == Port.vm {
            if IPv4Header.isPlain(bytes, available: frame.length.int &- Ethernet.headerLength) {
                packet.value.outerIdentity = 0
                packet.value.set(FlowKey(plain: bytes, port: frame.port, vsid: 0, outer: 0), cache, hashKey)
                return true
            }
            packet.value.form = .none
            stageVM(frame, packet)
            return packet.value.form == .narrow
        }
        packet.value.form = .none
        let link = LinkHeader(frame)
        if source.mayBePlain, let outer = OuterPacket(ipv4: frame, link) {
            let inner = bytes.advanced(by: outer.innerOffset)
            let available = outer.innerLength &- Ethernet.headerLength
            packet.value.outerIdentity = outer.identity
            if IPv4Header.isPlain(inner, available: available) {
                let addresses = bytes.raw64(link.length &+ IPv4Header.addressesOffset)
                packet.value.set(
                    FlowKey(plain: inner, port: frame.port, vsid: outer.vsid, outer: addresses), cache, hashKey)
                return true
            }
            if IPv6Header.isPlain(inner, available: available) {
                stagePlainIPv6(inner, frame.port, outer.vsid, bytes.advanced(by: link.length), packet)
                return false
            }
        }
        // Frames of external ports have to be made ready first.
        if source.kind == Port.provider { stageTunnel(frame, packet) }
        return packet.value.form == .narrow
    }

    /// `outer` is the IPv4 header around it.
    @inline(never)
    @_optimize(speed)
    private func stagePlainIPv6(_ inner: Bytes, _ port: UInt32, _ vsid: UInt32, _ outer: Bytes, _ packet: Ref<Staged>) {
        var key = WideFlowKey(plainIPv6: inner, port: port, vsid: vsid)
        key.setOuter(outer, isIPv6: false)
        packet.value.set(key, wideCache, tables.key)
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stageTunnel(_ frame: Frame, _ packet: Ref<Staged>) {
        if let outer = outerPacket(frame) {
            stageProvider(frame, outer, packet)
        } else if hasRewrites {
            _ = stageRewritten(frame, packet)
        }
    }

    /// The key of an untagged, well-formed IP packet from a vm port that is not for the library itself.
    @inline(never) @discardableResult
    @_optimize(speed)
    mutating func stageVM(_ frame: Frame, _ packet: Ref<Staged>) -> Bool {
        let bytes = frame.bytes
        packet.value.outerIdentity = 0
        if IPv6Header.isPlain(bytes, available: frame.length.int &- Ethernet.headerLength) {
            packet.value.set(WideFlowKey(plainIPv6: bytes, port: frame.port, vsid: 0), wideCache, tables.key)
            return true
        }
        return stageUncommonVM(frame, packet)
    }

    @inline(never)
    private mutating func stageUncommonVM(_ frame: Frame, _ packet: Ref<Staged>) -> Bool {
        let bytes = frame.bytes
        guard IPPacket.isWellFormed(in: bytes, available: frame.length.int &- Ethernet.headerLength) else { return false }
        let readable = frame.readable &- Ethernet.headerLength
        let ip = IPPacket(in: bytes)
        if !ip.isIPv6 {
            packet.value.set(
                FlowKey(bytes, readable: readable, port: frame.port, vsid: 0, outer: 0), cache, tables.key)
            return true
        }
        if ip.isNeighborDiscovery(readable: readable) { return false }
        packet.value.set(WideFlowKey(bytes, readable: readable, port: frame.port, vsid: 0), wideCache, tables.key)
        return true
    }

    /// The key of a packet whose inner frame is an untagged, well-formed IP packet that may come through a tunnel.
    @discardableResult
    @_optimize(speed)
    mutating func stageProvider(_ frame: Frame, _ outer: OuterPacket, _ packet: Ref<Staged>) -> Bool {
        let inner = frame.bytes.advanced(by: outer.innerOffset)
        let available = outer.innerLength &- Ethernet.headerLength
        let ip = frame.bytes.advanced(by: outer.linkLength)
        packet.value.outerIdentity = outer.identity
        if IPv6Header.isPlain(inner, available: available) {
            var key = WideFlowKey(plainIPv6: inner, port: frame.port, vsid: outer.vsid)
            key.setOuter(ip, isIPv6: outer.isIPv6)
            packet.value.set(key, wideCache, tables.key)
            return true
        }
        guard IPPacket.isWellFormed(in: inner, available: available) else { return false }
        let readable = frame.readable &- outer.innerOffset &- Ethernet.headerLength
        let packetInside = IPPacket(in: inner)
        if !outer.isIPv6, !packetInside.isIPv6 {
            let addresses = ip.raw64(IPv4Header.addressesOffset)
            packet.value.set(
                FlowKey(inner, readable: readable, port: frame.port, vsid: outer.vsid, outer: addresses), cache,
                tables.key)
            return true
        }
        if packetInside.isNeighborDiscovery(readable: readable) { return false }
        var key = WideFlowKey(inner, readable: readable, port: frame.port, vsid: outer.vsid)
        key.setOuter(ip, isIPv6: outer.isIPv6)
        packet.value.set(key, wideCache, tables.key)
        return true
    }
}
