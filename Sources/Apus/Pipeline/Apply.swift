// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// What is done to each packet of a flow, on the hit path and for first packets alike: the checks that depend on the packet
// and not on the flow, then the change.

extension Worker {
    @inline(__always)
    mutating func apply(_ transposition: Ref<Transposition>, _ flowID: UInt8, to frame: Frame) {
        switch transposition.value.kind {
        case .encapsulate: applyEncapsulation(transposition, flowID, to: frame)
        case .decapsulate: applyDecapsulation(transposition, to: frame)
        case .deliver: applyDelivery(transposition, to: frame)
        case .drop: applyDrop(transposition, to: frame)
        case .gateway: processForGateway(frame)
        }
    }

    /// TTL and destination MAC of a routed packet. False: its TTL has expired.
    @inline(__always)
    private func route(_ transposition: Ref<Transposition>, _ bytes: Bytes) -> Bool {
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        if ip.ttl <= 1 { return false }
        ip.decrementTTL()
        bytes.storeRaw(transposition.value.destinationMAC.u32, at: 0)
        bytes.storeRaw((transposition.value.destinationMAC &>> 32).u16, at: 4)
        return true
    }

    private mutating func applyDrop(_ transposition: Ref<Transposition>, to frame: Frame) {
        let isExpired =
            transposition.value.isRouted != 0 && IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength)).ttl <= 1
        drop(frame, isExpired ? .ttlExpired : DropReason(value: transposition.value.reason))
    }

    @inline(__always)
    private mutating func applyDelivery(_ transposition: Ref<Transposition>, to frame: Frame) {
        if transposition.value.isRouted != 0 {
            guard route(transposition, frame.bytes) else { return drop(frame, .ttlExpired) }
            counters.add(.routed)
        } else {
            counters.add(.switched)
        }
        var sent = frame
        sent.flags = 0
        emit(sent, to: transposition.value.egress, from: frame.port)
    }

    // MARK: - Encapsulation (docs/pipeline.md 2.3)

    @inline(__always)
    private mutating func applyEncapsulation(_ transposition: Ref<Transposition>, _ flowID: UInt8, to frame: Frame) {
        let bytes = frame.bytes
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        if transposition.value.isRouted != 0, ip.ttl <= 1 { return drop(frame, .ttlExpired) }
        let length = ip.totalLength
        if length.u32 > transposition.value.maximum { return drop(frame, .mtuExceeded) }
        let headerLength = transposition.value.headerLength.int
        if frame.headroom < headerLength.u16 { return drop(frame, .noHeadroom) }
        if transposition.value.isRouted != 0 {
            _ = route(transposition, bytes)
            counters.add(.routed)
        }
        var sent = frame
        sent.trim(to: Ethernet.headerLength &+ length)
        let innerLength = sent.length
        sent.push(headerLength)
        writeOuterHeader(transposition, flowID, before: bytes, headroom: frame.headroom, innerLength, ip.typeOfService)
        sent.flags = APUS_FRAME_ENCAPSULATED
        counters.add(.encapsulated)
        emit(sent, to: transposition.value.egress, from: frame.port)
    }

    /// The template, then the four fields that differ from packet to packet: total length, TOS, checksum, FlowID.
    @inline(__always)
    private func writeOuterHeader(
        _ transposition: Ref<Transposition>, _ flowID: UInt8, before bytes: Bytes, headroom: UInt16,
        _ innerLength: UInt32,
        _ tos: UInt8
    ) {
        let room = Transposition.headerRoom
        if headroom >= room.u16 {
            unsafe apus_copy48(bytes.base - room, transposition.raw)
        } else {
            let length = transposition.value.headerLength.int
            unsafe apus_copy(bytes.base - length, transposition.raw + (room &- length), length)
        }
        // The last 28 bytes are IPv4 and GRE.
        let total = innerLength &+ 28
        bytes[-27] = tos
        bytes.store(total.u16, at: -26)
        bytes.store(~Checksum.fold(transposition.value.headerSum &+ total &+ tos.u32), at: -18)
        bytes[-1] = flowID
    }

    // MARK: - Decapsulation (docs/pipeline.md 4, steps 15 and 16)

    @inline(__always)
    private mutating func applyDecapsulation(_ transposition: Ref<Transposition>, to frame: Frame) {
        let bytes = frame.bytes
        let outerLength = transposition.value.headerLength.int
        let outer = IPv4Header(bytes.advanced(by: outerLength &- 28))
        decapsulate(
            frame, outer, offset: outerLength, length: outer.totalLength &- 28, to: transposition.value.egress)
    }

    /// The same where the outer header has options; the decision is in `scratch`.
    mutating func applyDecapsulation(_ frame: Frame, _ outer: OuterPacket) {
        if scratch.value.kind == .drop { return drop(frame, DropReason(value: scratch.value.reason)) }
        let ip = IPv4Header(frame.bytes.advanced(by: outer.linkLength))
        decapsulate(frame, ip, offset: outer.innerOffset, length: outer.innerLength, to: scratch.value.egress)
    }

    @inline(__always)
    private mutating func decapsulate(
        _ frame: Frame, _ outer: IPv4Header, offset: Int, length: Int, to egress: UInt32
    ) {
        let inner = IPv4Header(frame.bytes.advanced(by: offset &+ Ethernet.headerLength))
        let (outerECN, innerECN) = (outer.typeOfService & 3, inner.typeOfService & 3)
        if outerECN != innerECN, outerECN != 0 {
            // RFC 6040 section 4.2, figure 4.
            if outerECN == 3 {
                if innerECN == 0 { return drop(frame, .ecn) }
                inner.setECN(3)
            } else if outerECN == 1, innerECN == 2 {
                inner.setECN(1)
            }
        }
        var sent = frame
        sent.pop(offset)
        sent.trim(to: length)
        sent.flags = 0
        counters.add(.decapsulated)
        emit(sent, to: egress, from: frame.port)
    }
}

extension Bytes {
    @inline(__always) func storeRaw(_ value: UInt32, at offset: Int) { unsafe apus_store32(base + offset, value) }
    @inline(__always) func storeRaw(_ value: UInt16, at offset: Int) { unsafe apus_store16(base + offset, value) }
}
