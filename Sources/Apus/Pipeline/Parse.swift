// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stage 1 of a burst.

extension Worker {
    /// Count what came in. Make the key of every packet that the flow cache is for and have its cache line fetched; leave
    /// every other one to the slow path, which looks at it step by step and names what is wrong.
    @inline(__always)
    func parse(_ frames: Ref<Frame>, _ count: Int) {
        let (staged, cache, hashKey) = (staged, cache, tables.key)
        var source = Source(frames[0].port, tables.portSlots, at: 0)
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
            packet.value.hasKey = false
            if source.kind != 0, frame.isValid, let (key, identity) = key(frame, source.kind) {
                let hash = key.hash(hashKey)
                packet.value.key = key
                packet.value.hash = hash
                packet.value.outerIdentity = identity
                packet.value.hasKey = true
                cache.prefetch(hash)
            }
            i &+= 1
        }
        change(&source, to: none, at: count)
    }

    /// Packets that are being fetched while one is parsed.
    private static var ahead: Int { 4 }

    /// Consecutive frames from one port; hosts read them port by port.
    private struct Source {
        var port: UInt32
        /// 0 = there is no such port.
        var kind: UInt8
        var first: Int
        var bytes: UInt64 = 0

        init(_ port: UInt32, _ slots: PortSlots, at index: Int) {
            self.port = port
            kind = slots.kind(of: port)
            first = index
        }
    }

    @inline(never)
    private func change(_ source: inout Source, to port: UInt32, at index: Int) {
        counters.add(.receivedBytes, source.bytes)
        if source.kind != 0 {
            portCounters.add(source.port, .received, (index &- source.first).u64)
            portCounters.add(source.port, .receivedBytes, source.bytes)
        }
        source = Source(port, tables.portSlots, at: index)
    }

    /// The first bytes, and the room before them that an outer header is written to.
    @inline(__always)
    private func prefetch(_ address: UInt) {
        apus_prefetch_address(address)
        apus_prefetch_address(address &- 64)
    }

    /// The key, and the identity of the outer header.
    @inline(__always)
    private func key(_ frame: Frame, _ kind: UInt8) -> (FlowKey, UInt64)? {
        let bytes = frame.bytes
        if kind == Port.vm {
            if IPv4Header.isPlain(bytes, available: frame.length.int &- Ethernet.headerLength) {
                return (FlowKey(plain: bytes, port: frame.port, vsid: 0, outer: 0), 0)
            }
            return vmKey(frame).map { ($0, 0) }
        }
        guard let outer = OuterPacket(fast: frame) else { return nil }
        let inner = bytes.advanced(by: outer.innerOffset)
        if IPv4Header.isPlain(inner, available: outer.innerLength &- Ethernet.headerLength) {
            let addresses = bytes.raw64(outer.linkLength &+ IPv4Header.addressesOffset)
            return (FlowKey(plain: inner, port: frame.port, vsid: outer.vsid, outer: addresses), outer.identity)
        }
        return providerKey(frame, outer).map { ($0, outer.identity) }
    }

    /// The key of an untagged, well-formed IPv4 packet from a vm port.
    func vmKey(_ frame: Frame) -> FlowKey? {
        let bytes = frame.bytes
        guard bytes.u16(Ethernet.etherType) == Ethernet.ipv4 else { return nil }
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        guard ip.isWellFormed(available: frame.length.int &- Ethernet.headerLength) else { return nil }
        return FlowKey(
            frame: bytes, readable: frame.readable &- Ethernet.headerLength, port: frame.port, vsid: 0, outer: 0)
    }
}
