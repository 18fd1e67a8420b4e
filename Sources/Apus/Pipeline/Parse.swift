// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stage 1 of a burst.

extension Worker {
    /// Count what came in. Make the key of every packet that the flow cache is for and have its cache line fetched; leave
    /// every other one to the slow path, which looks at it step by step and names what is wrong. Returns a bit for each packet
    /// that has no narrow key.
    @inline(__always)
    mutating func parse(_ frames: Ref<Frame>, _ count: Int) -> UInt64 {
        var i = 0
        while i < min(Self.ahead, count) {
            Self.prefetch(frames[i].address)
            i &+= 1
        }
        var others: UInt64 = 0
        i = 0
        // Hosts read their ports one after the other: frames from one come in runs, and each kind of port has its own loop.
        while i < count {
            var run = Run(at: i, from: frames[i].port)
            let kind = tables.portSlots.kind(of: run.port)
            if kind == Port.vm {
                others |= parseVM(&run, frames, count)
            } else {
                others |= parseOutside(&run, frames, count, kind)
            }
            i = run.end
            account(run, kind)
        }
        return others
    }

    /// Packets that are being fetched while one is parsed.
    private static var ahead: Int { 4 }

    /// Consecutive frames from one port.
    private struct Run {
        let port: UInt32
        let first: Int
        var end: Int
        var bytes: UInt64 = 0

        @inline(__always)
        init(at index: Int, from port: UInt32) {
            self.port = port
            first = index
            end = index
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func account(_ run: Run, _ kind: UInt8) {
        counters.add(.receivedBytes, run.bytes)
        if kind == 0 { return }
        portCounters.add(run.port, .received, (run.end &- run.first).u64, bytes: run.bytes)
    }

    /// The first bytes, and the room before them that an outer header is written to.
    @inline(__always)
    private static func prefetch(_ address: UInt) {
        apus_prefetch_address(address)
        apus_prefetch_address(address &- 64)
    }

    /// The run that begins there: `stage` says of each frame whether it has a narrow key. Returns a bit for each that has not.
    @inline(__always)
    private static func parse(
        _ run: inout Run, _ frames: Ref<Frame>, _ count: Int, _ staged: Ref<Staged>, stage: (Frame, Ref<Staged>) -> Bool
    ) -> UInt64 {
        let port = run.port
        var (i, bytes, others) = (run.end, run.bytes, UInt64(0))
        repeat {
            if i &+ ahead < count { prefetch(frames[i &+ ahead].address) }
            let frame = frames[i]
            bytes &+= frame.length.u64
            if !stage(frame, staged.advanced(by: i)) { others |= 1 &<< i.u64 }
            i &+= 1
        } while i < count && frames[i].port == port
        (run.end, run.bytes) = (i, bytes)
        return others
    }

    /// From a vm port. Plain IPv4 stays in the loop; the rest leaves it, so that it keeps its registers.
    @inline(__always)
    private mutating func parseVM(_ run: inout Run, _ frames: Ref<Frame>, _ count: Int) -> UInt64 {
        let (cache, hashKey, port) = (cache, tables.key, run.port)
        return Self.parse(&run, frames, count, staged) { frame, packet in
            guard frame.isValid, IPv4Header.isPlain(frame.bytes, available: frame.length.int &- Ethernet.headerLength) else {
                return stageRest(fromVM: frame, packet)
            }
            packet.value.outerIdentity = 0
            packet.value.set(FlowKey(plain: frame.bytes, port: port, vsid: 0, outer: 0), cache, hashKey)
            return true
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stageRest(fromVM frame: Frame, _ packet: Ref<Staged>) -> Bool {
        packet.value.form = .none
        if frame.isValid { stageVM(frame, packet) }
        return packet.value.form == .narrow
    }

    /// From any other port, or none: of provider ports, IPv4 in NVGRE over IPv4 without a tag stays in the loop.
    @inline(__always)
    private mutating func parseOutside(_ run: inout Run, _ frames: Ref<Frame>, _ count: Int, _ kind: UInt8) -> UInt64 {
        let (cache, hashKey, port) = (cache, tables.key, run.port)
        // They may be tunnels' whose keys all have one layout.
        let mayBePlain = kind == Port.provider && !hasDraftPeers
        return Self.parse(&run, frames, count, staged) { frame, packet in
            guard mayBePlain, frame.isValid, let innerLength = OuterPacket.plainInnerLength(frame) else {
                return stageRest(fromOutside: frame, packet, kind, mayBePlain)
            }
            let inner = frame.bytes.advanced(by: 42)
            let vsid = GREHeader(frame.bytes.advanced(by: 34)).vsid
            packet.value.outerIdentity = OuterPacket.identity(ofUntagged: frame.bytes)
            if IPv4Header.isPlain(inner, available: innerLength &- Ethernet.headerLength) {
                let addresses = frame.bytes.raw64(Ethernet.headerLength &+ IPv4Header.addressesOffset)
                packet.value.set(FlowKey(plain: inner, port: port, vsid: vsid, outer: addresses), cache, hashKey)
                return true
            }
            if IPv6Header.isPlain(inner, available: innerLength &- Ethernet.headerLength) {
                stagePlainIPv6(inner, port, vsid, frame.bytes.advanced(by: Ethernet.headerLength), packet)
                return false
            }
            return stageRest(fromOutside: frame, packet, kind, mayBePlain)
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stageRest(fromOutside frame: Frame, _ packet: Ref<Staged>, _ kind: UInt8, _ mayBePlain: Bool) -> Bool {
        packet.value.form = .none
        if kind == 0 || !frame.isValid { return false }
        let link = LinkHeader(frame)
        if mayBePlain, let outer = OuterPacket(ipv4: frame, link) {
            let inner = frame.bytes.advanced(by: outer.innerOffset)
            let available = outer.innerLength &- Ethernet.headerLength
            if IPv4Header.isPlain(inner, available: available) {
                packet.value.outerIdentity = outer.identity
                let addresses = frame.bytes.raw64(link.length &+ IPv4Header.addressesOffset)
                packet.value.set(FlowKey(plain: inner, port: frame.port, vsid: outer.vsid, outer: addresses), cache, tables.key)
                return true
            }
        }
        // Frames of external ports have to be made ready first.
        if kind == Port.provider { stageTunnel(frame, packet) }
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
