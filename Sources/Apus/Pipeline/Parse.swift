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
        // Hosts read their ports one after the other: frames from one come in runs, and each kind of port has its own loop.
        var run = Run(frames, count, staged)
        while run.next < count {
            run.begin()
            let first = run.next
            let kind = tables.portSlots.kind(of: run.port)
            if kind == Port.vm {
                parseVM(&run)
            } else if kind == Port.provider, !hasDraftPeers {
                parseTunnels(&run)
            } else {
                parseRest(&run, kind)
            }
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

        @inline(__always)
        mutating func stageEach(_ stage: (Ref<Frame>, Ref<Staged>) -> Void) {
            let fetching = count &- ahead
            var (i, bytes) = (next, UInt64(0))
            repeat {
                if i < fetching { prefetch(frames[i &+ ahead].address) }
                bytes &+= frames[i].length.u64
                stage(frames.advanced(by: i), staged.advanced(by: i))
                i &+= 1
            } while i < count && frames[i].port == port
            (next, self.bytes) = (i, bytes)
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func account(_ port: UInt32, _ kind: UInt8, _ frames: Int, _ bytes: UInt64) {
        counters.add(.receivedBytes, bytes)
        if kind != 0 { portCounters.add(port, .received, frames.u64, bytes: bytes) }
    }

    /// From a vm port. Plain IPv4 stays in the loop; the rest leaves it, so that it keeps its registers.
    @inline(never)
    @_optimize(speed)
    private mutating func parseVM(_ run: inout Run) {
        let (cache, hashKey, port) = (cache, HashKey(tables.key), run.port)
        let least = Ethernet.headerLength.u32 &+ IPv4Header.plainMinimum
        run.stageEach { frame, packet in
            let (bytes, available) = (frame.value.bytes, frame.value.length.int &- Ethernet.headerLength)
            guard frame.value.isValid(ofAtLeast: least) else { return stageRest(fromVM: frame, packet) }
            packet.value.outerIdentity = 0
            if _fastPath(IPv4Header.isPlain(bytes, available: available)) {
                packet.value.set(FlowKey(plain: bytes, port: port, tunnel: nil), cache, hashKey)
            } else if IPv6Header.isPlain(bytes, available: available) {
                stagePlainIPv6(fromVM: bytes, port, packet)
            } else {
                stageRest(fromVM: frame, packet)
            }
        }
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

    /// From a provider port, of tunnels whose keys all have one layout: IPv4 in NVGRE over IPv4 without a tag stays in the loop.
    @inline(never)
    @_optimize(speed)
    private mutating func parseTunnels(_ run: inout Run) {
        let (cache, hashKey, port) = (cache, HashKey(tables.key), run.port)
        run.stageEach { frame, packet in
            guard let innerLength = OuterPacket.plainInnerLength(frame) else { return stageRest(fromTunnel: frame, packet) }
            let tunnel = frame.value.bytes.advanced(by: Ethernet.headerLength)
            let inner = tunnel.advanced(by: 28)
            packet.value.outerIdentity = OuterPacket.identity(frame.value.bytes, LinkHeader.untagged)
            if _fastPath(IPv4Header.isPlain(inner, available: innerLength &- Ethernet.headerLength)) {
                packet.value.set(FlowKey(plain: inner, port: port, tunnel: tunnel), cache, hashKey)
            } else if IPv6Header.isPlain(inner, available: innerLength &- Ethernet.headerLength) {
                stagePlainIPv6(inner, port, tunnel, packet)
            } else {
                stageRest(fromTunnel: frame, packet)
            }
        }
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
        run.stageEach { frame, packet in
            stageNothing(packet)
            if kind == Port.provider, frame.value.isValid { stageTunnel(frame.value, packet) }
            noteForm(of: packet)
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func stagePlainIPv6(fromVM frame: Bytes, _ port: UInt32, _ packet: Ref<Staged>) {
        stage(WideFlowKey(plainIPv6: frame, port: port, vsid: 0), packet)
        noteForm(of: packet)
    }

    /// `tunnel` is the IPv4 header around it.
    @inline(never)
    @_optimize(speed)
    private mutating func stagePlainIPv6(_ inner: Bytes, _ port: UInt32, _ tunnel: Bytes, _ packet: Ref<Staged>) {
        var key = WideFlowKey(plainIPv6: inner, port: port, vsid: GREHeader(tunnel.advanced(by: IPv4Header.minimumLength)).vsid)
        key.setOuter(tunnel, isIPv6: false)
        stage(key, packet)
        noteForm(of: packet)
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
