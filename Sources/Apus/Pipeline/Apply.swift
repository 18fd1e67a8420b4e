// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// What is done to each packet of a flow, on the hit path and for first packets alike: the checks that depend on the packet
// and not on the flow, then the change. A function that returns a reason has changed nothing.

// On `Ref`, so that none of its 128 bytes is copied.
extension Ref where Value == Transposition {
    /// docs/pipeline.md 2.3. All in IPv4 is the common case, and has no choices to make.
    @inline(__always)
    func encapsulate(_ frame: inout Frame, _ flowID: UInt8) -> DropReason? {
        value.families.areIPv4
            ? encapsulate(&frame, flowID, isIPv6: false, isOuterIPv6: false) : encapsulateWide(&frame, flowID)
    }

    @inline(never)
    private func encapsulateWide(_ frame: inout Frame, _ flowID: UInt8) -> DropReason? {
        encapsulate(&frame, flowID, isIPv6: value.families.isIPv6, isOuterIPv6: value.families.isOuterIPv6)
    }

    @inline(__always)
    private func encapsulate(
        _ frame: inout Frame, _ flowID: UInt8, isIPv6: Bool, isOuterIPv6: Bool
    ) -> DropReason? {
        let bytes = frame.bytes
        let ip = bytes.advanced(by: Ethernet.headerLength)
        if value.isRouted != 0, ttl(of: ip, isIPv6) <= 1 { return .ttlExpired }
        let length = isIPv6 ? IPv6Header(ip).totalLength : IPv4Header(ip).totalLength
        if length > value.maximum.int { return .mtuExceeded }
        let headroom = frame.headroom
        if headroom < Value.headerRoom.u16, headroom < value.headerLength.u16 { return .noHeadroom }
        if value.isRouted != 0 { route(bytes, isIPv6) }
        frame.length = (Ethernet.headerLength &+ length).u32
        let tos = isIPv6 ? IPv6Header(ip).trafficClass : IPv4Header(ip).typeOfService
        if !isOuterIPv6 {
            writeIPv4Header(before: bytes, headroom: headroom, length.u32, tos, flowID)
        } else {
            writeIPv6Header(before: bytes, headroom: headroom, length, tos, flowID)
        }
        frame.push(value.headerLength.int)
        frame.flags = APUS_FRAME_ENCAPSULATED
        frame.port = value.egress
        return nil
    }

    /// The template, then the four fields that differ from packet to packet: total length, TOS, checksum, FlowID.
    @inline(__always)
    private func writeIPv4Header(
        before bytes: Bytes, headroom: UInt16, _ length: UInt32, _ tos: UInt8, _ flowID: UInt8
    ) {
        let room = Value.headerRoomIPv4
        if headroom >= room.u16 {
            unsafe apus_copy48(bytes.base - room, raw + (Value.headerRoom &- room))
        } else {
            copyHeader(before: bytes)
        }
        // The last 28 bytes are IPv4 and GRE.
        bytes[-27] = tos
        bytes.store((length &+ NVGRE.overheadIPv4).u16, at: -26)
        bytes.store(~Checksum.fold(value.headerSum &+ length &+ tos.u32), at: -18)
        bytes[-1] = flowID
    }

    /// Here: traffic class and flow label, payload length, FlowID.
    @inline(__always)
    private func writeIPv6Header(
        before bytes: Bytes, headroom: UInt16, _ length: Int, _ trafficClass: UInt8, _ flowID: UInt8
    ) {
        let room = Value.headerRoom
        if headroom >= room.u16 {
            unsafe apus_copy80(bytes.base - room, raw)
        } else {
            copyHeader(before: bytes)
        }
        // The last 48 bytes are IPv6 and GRE. The flow label lets routers that look no further tell flows apart (RFC 6438).
        bytes.store(0x6000_0000 | trafficClass.u32 &<< 20 | flowID.u32, at: -48)
        bytes.store((length &+ Ethernet.headerLength &+ GREHeader.length).u16, at: -44)
        bytes[-1] = flowID
    }

    /// Little headroom: exactly the header.
    private func copyHeader(before bytes: Bytes) {
        let length = value.headerLength.int
        unsafe apus_copy(bytes.base - length, raw + (Value.headerRoom &- length), length)
    }

    @inline(__always)
    func deliver(_ frame: inout Frame) -> DropReason? {
        if value.isRouted != 0 {
            let isIPv6 = value.families.isIPv6
            if ttl(of: frame.bytes.advanced(by: Ethernet.headerLength), isIPv6) <= 1 { return .ttlExpired }
            route(frame.bytes, isIPv6)
        }
        frame.flags = 0
        frame.port = value.egress
        return nil
    }

    @inline(__always)
    private func ttl(of ip: Bytes, _ isIPv6: Bool) -> UInt8 {
        isIPv6 ? IPv6Header(ip).hopLimit : IPv4Header(ip).ttl
    }

    /// TTL and destination MAC of a routed packet.
    @inline(__always)
    private func route(_ bytes: Bytes, _ isIPv6: Bool) {
        let ip = bytes.advanced(by: Ethernet.headerLength)
        if isIPv6 { ip[7] &-= 1 } else { IPv4Header(ip).decrementTTL() }
        bytes.storeRaw(value.destinationMAC.u32, at: 0)
        bytes.storeRaw((value.destinationMAC &>> 32).u16, at: 4)
    }

    /// docs/pipeline.md 4, steps 15 and 16.
    @inline(__always)
    func decapsulate(_ frame: inout Frame) -> DropReason? {
        if !value.families.areIPv4 { return decapsulateWide(&frame) }
        let outerLength = value.headerLength.int
        let outer = IPv4Header(frame.bytes.advanced(by: outerLength &- 28))  // IPv4 and GRE
        return decapsulate(
            &frame, outer.typeOfService, offset: outerLength, length: outer.totalLength &- 28, isIPv6: false)
    }

    @inline(never)
    private func decapsulateWide(_ frame: inout Frame) -> DropReason? {
        let (outerLength, isIPv6) = (value.headerLength.int, value.families.isIPv6)
        let end = frame.bytes.advanced(by: outerLength &- GREHeader.length)
        let tos: UInt8
        let length: Int
        if value.families.isOuterIPv6 {
            let outer = IPv6Header(end.advanced(by: -IPv6Header.length))
            (tos, length) = (outer.trafficClass, outer.payloadLength)
        } else {
            let outer = IPv4Header(end.advanced(by: -IPv4Header.minimumLength))
            (tos, length) = (outer.typeOfService, outer.totalLength &- IPv4Header.minimumLength)
        }
        return decapsulate(
            &frame, tos, offset: outerLength, length: length &- GREHeader.length, isIPv6: isIPv6)
    }

    @inline(__always)
    func decapsulate(_ frame: inout Frame, _ outerTOS: UInt8, offset: Int, length: Int, isIPv6: Bool) -> DropReason? {
        let inner = frame.bytes.advanced(by: offset &+ Ethernet.headerLength)
        let innerTOS = isIPv6 ? IPv6Header(inner).trafficClass : IPv4Header(inner).typeOfService
        let (outerECN, innerECN) = (outerTOS & 3, innerTOS & 3)
        if outerECN != innerECN, outerECN != 0 {
            // RFC 6040 section 4.2, figure 4.
            if outerECN == 3 {
                if innerECN == 0 { return .ecn }
                setECN(3, of: inner, isIPv6)
            } else if outerECN == 1, innerECN == 2 {
                setECN(1, of: inner, isIPv6)
            }
        }
        frame.pop(offset)
        frame.length = length.u32
        frame.flags = 0
        frame.port = value.egress
        return nil
    }

    @inline(never)
    private func setECN(_ ecn: UInt8, of ip: Bytes, _ isIPv6: Bool) {
        if isIPv6 { IPv6Header(ip).setECN(ecn) } else { IPv4Header(ip).setECN(ecn) }
    }

    /// What comes before in the order of checks comes before here too.
    func refusal(of frame: Frame) -> DropReason {
        let isExpired = value.isRouted != 0 && IPPacket(in: frame.bytes).ttl <= 1
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
            &sent, IPv4Header(frame.bytes.advanced(by: outer.linkLength)).typeOfService, offset: outer.innerOffset,
            length: outer.innerLength, isIPv6: scratch.value.families.isIPv6)
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
