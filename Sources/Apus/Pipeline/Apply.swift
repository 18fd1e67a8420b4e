// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// What is done to each packet of a flow, on the hit path and for first packets alike: the checks that depend on the packet
// and not on the flow, then the change. A function that returns a reason has changed nothing.

// On `Ref`, so that none of its 128 bytes is copied.
extension Ref where Value == Transposition {
    /// docs/pipeline.md 2.3.
    @inline(__always)
    func encapsulate(_ frame: inout Frame, _ flowID: UInt8) -> DropReason? {
        let bytes = frame.bytes
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        if value.isRouted != 0, ip.ttl <= 1 { return .ttlExpired }
        let length = ip.totalLength
        if length.u32 > value.maximum { return .mtuExceeded }
        let headroom = frame.headroom
        if headroom < Value.headerRoom.u16, headroom < value.headerLength.u16 { return .noHeadroom }
        if value.isRouted != 0 { route(bytes) }
        frame.length = (Ethernet.headerLength &+ length).u32
        writeHeader(before: bytes, headroom: headroom, length.u32, ip.typeOfService, flowID)
        frame.push(value.headerLength.int)
        frame.flags = APUS_FRAME_ENCAPSULATED
        frame.port = value.egress
        return nil
    }

    /// The template, then the four fields that differ from packet to packet: total length, TOS, checksum, FlowID.
    @inline(__always)
    private func writeHeader(
        before bytes: Bytes, headroom: UInt16, _ length: UInt32, _ tos: UInt8, _ flowID: UInt8
    ) {
        let room = Value.headerRoom
        if headroom >= room.u16 {
            unsafe apus_copy48(bytes.base - room, raw)
        } else {
            let length = value.headerLength.int
            unsafe apus_copy(bytes.base - length, raw + (room &- length), length)
        }
        // The last 28 bytes are IPv4 and GRE.
        bytes[-27] = tos
        bytes.store((length &+ Value.overhead).u16, at: -26)
        bytes.store(~Checksum.fold(value.headerSum &+ length &+ tos.u32), at: -18)
        bytes[-1] = flowID
    }

    @inline(__always)
    func deliver(_ frame: inout Frame) -> DropReason? {
        if value.isRouted != 0 {
            if IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength)).ttl <= 1 { return .ttlExpired }
            route(frame.bytes)
        }
        frame.flags = 0
        frame.port = value.egress
        return nil
    }

    /// TTL and destination MAC of a routed packet.
    @inline(__always)
    private func route(_ bytes: Bytes) {
        IPv4Header(bytes.advanced(by: Ethernet.headerLength)).decrementTTL()
        bytes.storeRaw(value.destinationMAC.u32, at: 0)
        bytes.storeRaw((value.destinationMAC &>> 32).u16, at: 4)
    }

    /// docs/pipeline.md 4, steps 15 and 16.
    @inline(__always)
    func decapsulate(_ frame: inout Frame) -> DropReason? {
        let outerLength = value.headerLength.int
        let outer = IPv4Header(frame.bytes.advanced(by: outerLength &- 28))  // IPv4 and GRE
        return decapsulate(&frame, outer, offset: outerLength, length: outer.totalLength &- 28)
    }

    @inline(__always)
    func decapsulate(_ frame: inout Frame, _ outer: IPv4Header, offset: Int, length: Int) -> DropReason? {
        let inner = IPv4Header(frame.bytes.advanced(by: offset &+ Ethernet.headerLength))
        let (outerECN, innerECN) = (outer.typeOfService & 3, inner.typeOfService & 3)
        if outerECN != innerECN, outerECN != 0 {
            // RFC 6040 section 4.2, figure 4.
            if outerECN == 3 {
                if innerECN == 0 { return .ecn }
                inner.setECN(3)
            } else if outerECN == 1, innerECN == 2 {
                inner.setECN(1)
            }
        }
        frame.pop(offset)
        frame.length = length.u32
        frame.flags = 0
        frame.port = value.egress
        return nil
    }

    /// What comes before in the order of checks comes before here too.
    func refusal(of frame: Frame) -> DropReason {
        let isExpired = value.isRouted != 0 && IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength)).ttl <= 1
        return isExpired ? .ttlExpired : DropReason(value: value.reason)
    }
}

extension Worker {
    mutating func apply(_ transposition: Ref<Transposition>, _ flowID: UInt8, to frame: Frame) {
        var sent = frame
        let reason: DropReason?
        switch transposition.value.kind {
        case .encapsulate:
            reason = transposition.encapsulate(&sent, flowID)
            if reason == .mtuExceeded, fragment(frame, transposition, flowID) { return }
        case .decapsulate: reason = transposition.decapsulate(&sent)
        case .deliver: reason = transposition.deliver(&sent)
        case .drop: reason = transposition.refusal(of: frame)
        case .gateway: return processForGateway(frame)
        }
        finish(transposition, frame, sent, reason)
    }

    /// Decapsulate a packet whose outer header has options; the decision is in `scratch`.
    mutating func applyDecapsulation(_ frame: Frame, _ outer: OuterPacket) {
        if scratch.value.kind == .drop { return drop(frame, scratch.refusal(of: frame)) }
        var sent = frame
        let reason = scratch.decapsulate(
            &sent, IPv4Header(frame.bytes.advanced(by: outer.linkLength)), offset: outer.innerOffset,
            length: outer.innerLength)
        finish(scratch, frame, sent, reason)
    }

    private mutating func finish(
        _ transposition: Ref<Transposition>, _ frame: Frame, _ sent: Frame, _ reason: DropReason?
    ) {
        if let reason { return refuse(frame, reason, maximum: transposition.value.maximum) }
        guard emit(sent, to: transposition.value.egress, from: frame.port) else { return }
        switch transposition.value.kind {
        case .encapsulate: counters.add(.encapsulated)
        case .decapsulate: counters.add(.decapsulated)
        default: if transposition.value.isRouted == 0 { counters.add(.switched) }
        }
        if transposition.value.isRouted != 0 { counters.add(.routed) }
    }
}

extension Bytes {
    @inline(__always) func storeRaw(_ value: UInt32, at offset: Int) { unsafe apus_store32(base + offset, value) }
    @inline(__always) func storeRaw(_ value: UInt16, at offset: Int) { unsafe apus_store16(base + offset, value) }
}
