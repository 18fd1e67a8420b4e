// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stage 1 of a burst.

extension Worker {
    /// Count what came in. Make the key of every packet that the flow cache is for and have its cache line fetched; leave
    /// every other one to the slow path, which looks at it step by step and names what is wrong.
    @inline(__always)
    mutating func parse(_ frames: Ref<Frame>, _ count: Int) {
        (widePackets, keylessPackets) = (0, 0)
        var i = 0
        while i < min(Self.ahead, count) {
            Self.prefetch(frames[i].address)
            i &+= 1
        }
        // Hosts read their ports one after the other: frames from one come in runs, and each kind of port has its own loops.
        var run = Run(frames, count, staged)
        while run.next < count {
            run.begin()
            let first = run.next
            let kind = tables.portSlots.kind(of: run.port)
            let isTunnel = kind == Port.provider && !hasDraftPeers
            if kind == Port.vm || isTunnel { parseCommon(&run, isTunnel: isTunnel) } else { parseRest(&run, kind) }
            account(run.port, kind, run.next &- first, run.bytes)
        }
    }

    /// Packets that are being fetched while one is parsed.
    private static var ahead: Int { 4 }

    /// The first bytes, and the room before them that an outer header is written to.
    @inline(__always)
    private static func prefetch(_ address: UInt) {
        apus_prefetch_address(address)
        apus_prefetch_address(address &- 64)
    }

    /// Consecutive frames from one port, in a chunk.
    private struct Run {
        private let frames: Ref<Frame>
        private let staged: Ref<Staged>
        private let count: Int
        private(set) var next = 0
        private(set) var port: UInt32 = 0
        private(set) var bytes: UInt64 = 0

        @inline(__always)
        init(_ frames: Ref<Frame>, _ count: Int, _ staged: Ref<Staged>) {
            (self.frames, self.staged, self.count) = (frames, staged, count)
        }

        @inline(__always)
        mutating func begin() { (port, bytes) = (frames[next].port, 0) }

        /// Another port's frame is next, or none.
        @inline(__always)
        var isOver: Bool { next == count || frames[next].port != port }

        /// Stage packets until `stage` says that one is not of the kind it is for; that one is next then.
        @inline(__always)
        mutating func stageEach(_ stage: (Ref<Frame>, Ref<Staged>, Int) -> Bool) {
            let fetching = count &- ahead
            var (i, bytes) = (next, bytes)
            repeat {
                if i < fetching { prefetch(frames[i &+ ahead].address) }
                let length = frames[i].length.u64
                if !stage(frames.advanced(by: i), staged.advanced(by: i), i) { break }
                bytes &+= length
                i &+= 1
            } while i < count && frames[i].port == port
            (next, self.bytes) = (i, bytes)
        }

        /// One packet of any kind.
        @inline(__always)
        mutating func stageOne(_ stage: (Ref<Frame>, Ref<Staged>) -> Void) {
            bytes &+= frames[next].length.u64
            stage(frames.advanced(by: next), staged.advanced(by: next))
            next &+= 1
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func account(_ port: UInt32, _ kind: UInt8, _ frames: Int, _ bytes: UInt64) {
        counters.add(.receivedBytes, bytes)
        if kind != 0 { portCounters.add(port, .received, frames.u64, bytes: bytes) }
    }

    /// From a vm port, or of tunnels whose keys all have one layout. What is plain has loops without a call, which keep everything in
    /// registers: both families inside NVGRE over IPv4 without a tag, or not encapsulated.
    @_optimize(speed)
    private mutating func parseCommon(_ run: inout Run, isTunnel: Bool) {
        while true {
            if isTunnel { stagePlainIPv4(fromTunnel: &run) } else { stagePlainIPv4(fromVM: &run) }
            if run.isOver { return }
            let first = run.next
            if isTunnel { stagePlainIPv6(fromTunnel: &run) } else { stagePlainIPv6(fromVM: &run) }
            if run.isOver { return }
            if run.next == first { run.stageOne { isTunnel ? stageRest(fromTunnel: $0, $1) : stageRest(fromVM: $0, $1) } }
            if run.isOver { return }
        }
    }

    private static var least: UInt32 { Ethernet.headerLength.u32 &+ IPv4Header.plainMinimum }

    @inline(never)
    @_optimize(speed)
    private func stagePlainIPv4(fromVM run: inout Run) {
        let (cache, hashKey, port) = (cache, HashKey(tables.key), run.port)
        run.stageEach { frame, packet, _ in
            let (bytes, available) = (frame.value.bytes, frame.value.length.int &- Ethernet.headerLength)
            guard frame.value.isValid(ofAtLeast: Self.least), IPv4Header.isPlain(bytes, available: available) else { return false }
            packet.value.outerIdentity = 0
            packet.value.set(FlowKey(plain: bytes, port: port, tunnel: nil), cache, hashKey)
            return true
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stagePlainIPv6(fromVM run: inout Run) {
        let (cache, hashKey, keys, port) = (wideCache, HashKey(tables.key), wideKeys, run.port)
        let first = run.next
        run.stageEach { frame, packet, i in
            let (bytes, available) = (frame.value.bytes, frame.value.length.int &- Ethernet.headerLength)
            guard frame.value.isValid(ofAtLeast: Self.least), IPv6Header.isPlain(bytes, available: available) else { return false }
            let key = WideFlowKey(plainIPv6: bytes, port: port, vsid: 0)
            keys.advanced(by: i).key.value = key
            packet.value.outerIdentity = 0
            packet.value.setWide(key.hash(hashKey), cache)
            return true
        }
        noteWide(first, run.next)
    }

    /// The packets from the first to the one before the second have wide keys.
    @inline(__always)
    private mutating func noteWide(_ first: Int, _ end: Int) {
        if end != first { widePackets |= (UInt64.max &>> (Self.chunk &- (end &- first)).u64) &<< first.u64 }
    }

    @inline(never)
    private mutating func stageRest(fromVM frame: Ref<Frame>, _ packet: Ref<Staged>) {
        let frame = frame.value
        stageNothing(packet)
        if frame.isValid { stageVM(frame, packet) }
        noteForm(of: packet)
    }

    @inline(__always)
    private mutating func noteForm(of packet: Ref<Staged>) {
        let bit: UInt64 = 1 &<< packet.index(in: staged).u64
        switch packet.value.form {
        case .narrow: break
        case .wide: widePackets |= bit
        case .none: keylessPackets |= bit
        }
    }

    @inline(never)
    @_optimize(speed)
    private func stagePlainIPv4(fromTunnel run: inout Run) {
        let (cache, hashKey, port) = (cache, HashKey(tables.key), run.port)
        run.stageEach { frame, packet, _ in
            guard let innerLength = OuterPacket.plainInnerLength(frame) else { return false }
            let tunnel = frame.value.bytes.advanced(by: Ethernet.headerLength)
            let inner = tunnel.advanced(by: 28)
            guard IPv4Header.isPlain(inner, available: innerLength &- Ethernet.headerLength) else { return false }
            packet.value.outerIdentity = OuterPacket.identity(frame.value.bytes, LinkHeader.untagged)
            packet.value.set(FlowKey(plain: inner, port: port, tunnel: tunnel), cache, hashKey)
            return true
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stagePlainIPv6(fromTunnel run: inout Run) {
        let (cache, hashKey, keys, port) = (wideCache, HashKey(tables.key), wideKeys, run.port)
        let first = run.next
        run.stageEach { frame, packet, i in
            guard let innerLength = OuterPacket.plainInnerLength(frame) else { return false }
            let tunnel = frame.value.bytes.advanced(by: Ethernet.headerLength)
            let inner = tunnel.advanced(by: 28)
            guard IPv6Header.isPlain(inner, available: innerLength &- Ethernet.headerLength) else { return false }
            let gre = GREHeader(tunnel.advanced(by: IPv4Header.minimumLength))
            var key = WideFlowKey(plainIPv6: inner, port: port, vsid: gre.vsid)
            key.setOuter(tunnel, isIPv6: false)
            keys.advanced(by: i).key.value = key
            packet.value.outerIdentity = OuterPacket.identity(frame.value.bytes, LinkHeader.untagged)
            packet.value.setWide(key.hash(hashKey), cache)
            return true
        }
        noteWide(first, run.next)
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stageRest(fromTunnel frame: Ref<Frame>, _ packet: Ref<Staged>) {
        let frame = frame.value
        stageNothing(packet)
        defer { noteForm(of: packet) }
        if !frame.isValid { return }
        let link = LinkHeader(frame)
        if let outer = OuterPacket(ipv4: frame, link) {
            let inner = frame.bytes.advanced(by: outer.innerOffset)
            let available = outer.innerLength &- Ethernet.headerLength
            if available >= IPv4Header.plainMinimum.int, IPv4Header.isPlain(inner, available: available) {
                packet.value.outerIdentity = outer.identity
                let tunnel = frame.bytes.advanced(by: link.length)
                return packet.value.set(FlowKey(plain: inner, port: frame.port, tunnel: tunnel), cache, HashKey(tables.key))
            }
        }
        stageTunnel(frame, packet)
    }

    /// From any other port, or none. Frames of external ports have to be made ready first.
    @inline(never)
    private mutating func parseRest(_ run: inout Run, _ kind: UInt8) {
        while !run.isOver {
            run.stageOne { frame, packet in
                stageNothing(packet)
                if kind == Port.provider, frame.value.isValid { stageTunnel(frame.value, packet) }
                noteForm(of: packet)
            }
        }
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
    mutating func stageVM(_ frame: Frame, _ packet: Ref<Staged>) -> Bool {
        let bytes = frame.bytes
        packet.value.outerIdentity = 0
        guard IPPacket.isWellFormed(in: bytes, available: frame.length.int &- Ethernet.headerLength) else { return false }
        let readable = frame.readable &- Ethernet.headerLength
        let ip = IPPacket(in: bytes)
        if !ip.isIPv6 {
            let key = FlowKey(bytes, readable: readable, port: frame.port, vsid: 0, outer: 0)
            packet.value.set(key, cache, HashKey(tables.key))
            return true
        }
        if ip.isNeighborDiscovery(readable: readable) { return false }
        stage(WideFlowKey(bytes, readable: readable, port: frame.port, vsid: 0), packet)
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
            stage(key, packet)
            return true
        }
        guard IPPacket.isWellFormed(in: inner, available: available) else { return false }
        let readable = frame.readable &- outer.innerOffset &- Ethernet.headerLength
        let packetInside = IPPacket(in: inner)
        if !outer.isIPv6, !packetInside.isIPv6 {
            let addresses = ip.raw64(IPv4Header.addressesOffset)
            packet.value.set(
                FlowKey(inner, readable: readable, port: frame.port, vsid: outer.vsid, outer: addresses), cache, HashKey(tables.key))
            return true
        }
        if packetInside.isNeighborDiscovery(readable: readable) { return false }
        var key = WideFlowKey(inner, readable: readable, port: frame.port, vsid: outer.vsid)
        key.setOuter(ip, isIPv6: outer.isIPv6)
        stage(key, packet)
        return true
    }
}
