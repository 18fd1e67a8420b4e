// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// What is done to each packet of a flow, on the hit path and for first packets alike: the checks that depend on the packet
// and not on the flow, then the change. A function that returns a reason has changed nothing.

/// What was done to a packet.
enum Outcome {
    /// The length of the customer's frame.
    case done(UInt32)
    case refused(DropReason)
}

// On `Ref`, so that none of its 192 bytes is copied.
extension Ref where Value == Transposition {
    /// docs/pipeline.md 2.3.
    @inline(never)
    func encapsulate(_ frame: inout Frame, _ flowID: UInt8) -> DropReason? {
        if !value.variant.isCommonTunnel { return encapsulateVariant(&frame, flowID) }
        let outcome = encapsulate(
            frame.bytes, headroom: frame.headroom, isRouted: value.isRouted != 0, isIPv6: !value.variant.isCommon)
        guard case .done(let length) = outcome else { return outcome.reason }
        frame.bytes[-1] = flowID
        frame.length = length
        finishEncapsulation(&frame)
        return nil
    }

    /// NVGRE over IPv4: write the outer header but for its last byte, the FlowID.
    @inline(__always)
    func encapsulate(_ bytes: Bytes, headroom: UInt16, isRouted: Bool, isIPv6: Bool) -> Outcome {
        let ip = bytes.advanced(by: Ethernet.headerLength)
        if isRouted, ttl(of: ip, isIPv6: isIPv6) <= 1 { return .refused(.ttlExpired) }
        let length = isIPv6 ? IPv6Header(ip).totalLength : IPv4Header(ip).totalLength
        if length > value.maximum.int { return .refused(.mtuExceeded) }
        let tos = isIPv6 ? IPv6Header(ip).trafficClass : IPv4Header(ip).typeOfService

        // The template, then what differs from packet to packet.
        let room = Value.headerRoomIPv4
        if _fastPath(headroom >= room.u16) {
            unsafe apus_copy48(bytes.base - room, header.base + (Value.headerRoom &- room))
        } else {
            if headroom < value.headerLength.u16 { return .refused(.noHeadroom) }
            copyHeader(before: bytes)
        }
        if isRouted { route(bytes, isIPv6: isIPv6) }
        // The last 28 bytes are IPv4 and GRE.
        bytes[-27] = tos
        bytes.store((length.u32 &+ NVGRE.overheadIPv4).u16, at: -26)
        bytes.store(~Checksum.fold(value.headerSum &+ length.u32 &+ tos.u32), at: -18)
        return .done((Ethernet.headerLength &+ length).u32)
    }

    /// Everything else that encapsulation can be.
    @_optimize(speed)
    private func encapsulateVariant(_ frame: inout Frame, _ flowID: UInt8) -> DropReason? {
        let variant = value.variant
        let isIPv6 = variant.has(Value.Variant.ipv6)
        let bytes = frame.bytes
        let ip = bytes.advanced(by: Ethernet.headerLength)
        if value.isRouted != 0, ttl(of: ip, isIPv6: isIPv6) <= 1 { return .ttlExpired }
        let length = isIPv6 ? IPv6Header(ip).totalLength : IPv4Header(ip).totalLength
        if length > value.maximum.int { return .mtuExceeded }
        let headroom = frame.headroom
        if headroom < Value.headerRoom.u16, headroom < value.headerLength.u16 { return .noHeadroom }
        if value.isRouted != 0 { route(bytes, isIPv6: isIPv6) }
        frame.length = (Ethernet.headerLength &+ length).u32
        let tos = isIPv6 ? IPv6Header(ip).trafficClass : IPv4Header(ip).typeOfService
        // RFC 6864: what may be fragmented has an identification.
        let copiesDF = variant.has(Value.Variant.copiesDF) && !isIPv6 && IPv4Header(ip).mayBeFragmented
        writeHeader(before: frame, tos, flowID, identification: copiesDF ? ip.u16(4) : nil)
        finishEncapsulation(&frame)
        return nil
    }

    /// Any outer header, before a frame of which its template is not common. `identification`: the packet may be fragmented.
    @_optimize(speed)
    private func writeHeader(
        before frame: Frame, _ innerTOS: UInt8, _ flowID: UInt8, identification: UInt16? = nil
    ) {
        let variant = value.variant
        let bytes = frame.bytes
        if frame.headroom >= Value.headerRoom.u16 {
            unsafe apus_copy80(bytes.base - Value.headerRoom, header.base)
        } else {
            copyHeader(before: bytes)
        }
        // Behind the outer IP header: the tunnel's own and the inner frame.
        let isVXLAN = variant.has(Value.Variant.vxlan)
        let tunnel = isVXLAN ? VXLANHeader.length : GREHeader.length
        let payload = tunnel &+ frame.length.int
        if isVXLAN {
            bytes.store(VXLANHeader.sourcePort(flowID), at: -16)
            bytes.store(payload.u16, at: -12)
        } else if !variant.has(Value.Variant.draftKey) {
            bytes[-1] = value.sendsFlowID != 0 ? flowID : 0
        }
        var tos = innerTOS
        if variant.has(Value.Variant.hidesECN) { tos &= 0xFC }
        if variant.has(Value.Variant.outerIPv6) {
            let outer = bytes.advanced(by: -tunnel &- IPv6Header.length)
            if variant.has(Value.Variant.pipe) { tos = tos & 3 | IPv6Header(outer).trafficClass }
            // The flow label lets routers that look no further tell flows apart (RFC 6438).
            outer.store(0x6000_0000 | tos.u32 &<< 20 | flowID.u32, at: 0)
            outer.store(payload.u16, at: 4)
        } else {
            let outer = bytes.advanced(by: -tunnel &- IPv4Header.minimumLength)
            if variant.has(Value.Variant.pipe) { tos = tos & 3 | outer[1] }
            outer[1] = tos
            let total = (IPv4Header.minimumLength &+ payload).u32
            outer.store(total.u16, at: 2)
            // The common template's sum has all but the customer's packet.
            var sum = value.headerSum &+ tos.u32 &+ total
            if variant.isCommonTunnel { sum &-= NVGRE.overheadIPv4 }
            if let identification {
                outer.store(identification.u32 &<< 16, at: 4)
                sum = sum &- 0x4000 &+ identification.u32
            }
            outer.store(~Checksum.fold(sum), at: 10)
        }
    }

    /// Encapsulate a frame whatever is in it: FlowID and TOS are 0.
    func encapsulateWhole(_ frame: inout Frame) -> DropReason? {
        if frame.length.int &- Ethernet.headerLength > value.maximum.int { return .mtuExceeded }
        let headroom = frame.headroom
        if headroom < Value.headerRoom.u16, headroom < value.headerLength.u16 { return .noHeadroom }
        writeHeader(before: frame, 0, 0)
        finishEncapsulation(&frame)
        return nil
    }

    @inline(__always)
    private func finishEncapsulation(_ frame: inout Frame) {
        frame.push(value.headerLength.int)
        frame.flags = APUS_FRAME_ENCAPSULATED
        frame.port = value.egress
    }

    /// Little headroom: exactly the header.
    @inline(never)
    private func copyHeader(before bytes: Bytes) {
        let length = value.headerLength.int
        unsafe apus_copy(bytes.base - length, header.base + (Value.headerRoom &- length), length)
    }

    /// To another machine here.
    func deliver(_ frame: inout Frame) -> DropReason? {
        let isIPv6 = value.variant.has(Value.Variant.ipv6)
        if value.isRouted != 0, !deliverRouted(frame.bytes, isIPv6: isIPv6) { return .ttlExpired }
        frame.flags = 0
        frame.port = value.egress
        return nil
    }

    /// To one in another virtual subnet. False: its TTL has expired.
    @inline(__always)
    func deliverRouted(_ bytes: Bytes, isIPv6: Bool) -> Bool {
        if ttl(of: bytes.advanced(by: Ethernet.headerLength), isIPv6: isIPv6) <= 1 { return false }
        route(bytes, isIPv6: isIPv6)
        return true
    }

    @inline(__always)
    private func ttl(of ip: Bytes, isIPv6: Bool) -> UInt8 { isIPv6 ? IPv6Header(ip).hopLimit : IPv4Header(ip).ttl }

    /// TTL and destination MAC of a routed packet.
    @inline(__always)
    private func route(_ bytes: Bytes, isIPv6: Bool) {
        let ip = bytes.advanced(by: Ethernet.headerLength)
        if isIPv6 { ip[7] &-= 1 } else { IPv4Header(ip).decrementTTL() }
        bytes.storeRaw(value.destinationMAC.u32, at: 0)
        bytes.storeRaw((value.destinationMAC &>> 32).u16, at: 4)
    }

    /// docs/pipeline.md 4, steps 15 and 16.
    @inline(never)
    func decapsulate(_ frame: inout Frame) -> DropReason? {
        let offset = value.headerLength.int
        if !value.variant.isCommonTunnel { return decapsulate(&frame, offset: offset) }
        let outcome = decapsulate(frame.bytes.advanced(by: offset), isIPv6: !value.variant.isCommon)
        guard case .done(let length) = outcome else { return outcome.reason }
        finishDecapsulation(&frame, offset: offset, length: length.int)
        return nil
    }

    /// NVGRE over IPv4; `bytes` is the customer's frame.
    @inline(__always)
    func decapsulate(_ bytes: Bytes, isIPv6: Bool) -> Outcome {
        let outer = IPv4Header(bytes.advanced(by: -28))  // IPv4 and GRE
        let inner = bytes.advanced(by: Ethernet.headerLength)
        let tos = isIPv6 ? IPv6Header(inner).trafficClass : IPv4Header(inner).typeOfService
        let (outerECN, innerECN) = (outer.typeOfService & 3, tos & 3)
        if outerECN != innerECN, outerECN != 0 {
            guard let ecn = ECN.decapsulated(inner: innerECN, outer: outerECN) else { return .refused(.ecn) }
            if ecn != innerECN { setTOS(of: inner, tos & 0xFC | ecn, isIPv6: isIPv6) }
        }
        return .done((outer.totalLength &- 28).u32)
    }

    @inline(__always)
    private func setTOS(of ip: Bytes, _ tos: UInt8, isIPv6: Bool) {
        if isIPv6 { IPv6Header(ip).setTrafficClass(tos) } else { IPv4Header(ip).setTypeOfService(tos) }
    }

    /// Remove the outer headers, `offset` bytes without IP options.
    @_optimize(speed)
    func decapsulate(_ frame: inout Frame, offset: Int) -> DropReason? {
        let variant = value.variant
        let isVXLAN = variant.has(Value.Variant.vxlan)
        let tunnel = frame.bytes.advanced(by: offset &- (isVXLAN ? VXLANHeader.length : GREHeader.length))
        let outerTOS: UInt8
        var length: Int
        if variant.has(Value.Variant.outerIPv6) {
            let outer = IPv6Header(tunnel.advanced(by: -IPv6Header.length))
            (outerTOS, length) = (outer.trafficClass, outer.payloadLength &- GREHeader.length)
        } else {
            let outer = IPv4Header(tunnel.advanced(by: -IPv4Header.minimumLength))
            outerTOS = outer.typeOfService
            length = outer.totalLength &- IPv4Header.minimumLength &- GREHeader.length
        }
        if isVXLAN { length = VXLANHeader(tunnel).datagramLength &- VXLANHeader.length }
        return decapsulate(&frame, outerTOS, offset: offset, length: length)
    }

    /// The same, when the outer header has been read already.
    @_optimize(speed)
    func decapsulate(_ frame: inout Frame, _ outerTOS: UInt8, offset: Int, length: Int) -> DropReason? {
        let inner = frame.bytes.advanced(by: offset &+ Ethernet.headerLength)
        let isIPv6 = value.variant.has(Value.Variant.ipv6)
        let tos = isIPv6 ? IPv6Header(inner).trafficClass : IPv4Header(inner).typeOfService
        guard let ecn = ECN.decapsulated(inner: tos & 3, outer: outerTOS & 3) else { return .ecn }
        let dscp = (value.variant.has(Value.Variant.uniform) ? outerTOS : tos) & 0xFC
        if dscp | ecn != tos { setTOS(of: inner, dscp | ecn, isIPv6: isIPv6) }
        finishDecapsulation(&frame, offset: offset, length: length)
        return nil
    }

    @inline(__always)
    private func finishDecapsulation(_ frame: inout Frame, offset: Int, length: Int) {
        frame.pop(offset)
        frame.length = length.u32
        frame.flags = 0
        frame.port = value.egress
    }

    /// Put any other outer header before the packet, or remove one. False: it is as it was.
    @inline(never)
    @_optimize(speed)
    func change(_ frame: inout Frame, _ flowID: UInt8) -> Bool {
        switch value.kind {
        case .encapsulate: encapsulate(&frame, flowID) == nil
        case .decapsulate: decapsulate(&frame) == nil
        default: false
        }
    }

    /// What comes before in the order of checks comes before here too.
    func refusal(of frame: Frame) -> DropReason {
        let isExpired = value.isRouted != 0 && IPPacket(in: frame.bytes).ttl <= 1
        return isExpired ? .ttlExpired : DropReason(value: value.reason)
    }
}

extension Outcome {
    fileprivate var reason: DropReason? { if case .refused(let reason) = self { reason } else { nil } }
}

extension Worker {
    @_optimize(speed)
    mutating func apply(_ transposition: Ref<Transposition>, _ flowID: UInt8, to frame: Frame) {
        var sent = frame
        let reason: DropReason?
        switch transposition.value.kind {
        case .encapsulate:
            let first = transposition.encapsulate(&sent, flowID)
            reason = first == .mtuExceeded && widen(transposition) ? transposition.encapsulate(&sent, flowID) : first
            if reason == .mtuExceeded, fragment(frame, transposition, flowID) { return }
        case .rewrite:
            let first = transposition.rewrite(&sent)
            reason = first == .mtuExceeded && widen(transposition) ? transposition.rewrite(&sent) : first
            if reason == .mtuExceeded, fragment(frame, transposition, flowID) { return }
        case .decapsulate: reason = transposition.decapsulate(&sent)
        case .deliver: reason = transposition.deliver(&sent)
        case .drop: reason = transposition.refusal(of: frame)
        case .gateway, .leave: return leave(frame, transposition)
        case .copyOut: return copyOut(frame)
        case .copyIn: return copyIn(frame, transposition)
        }
        finish(transposition, frame, sent, reason)
    }

    /// Decapsulate a packet whose outer header has options; the decision is in `scratch`.
    mutating func applyDecapsulation(_ frame: Frame, _ outer: OuterPacket) {
        var sent = frame
        let reason = scratch.decapsulate(
            &sent, IPv4Header(frame.bytes.advanced(by: outer.linkLength)).typeOfService, offset: outer.innerOffset,
            length: outer.innerLength)
        if scratch.value.kind == .decapsulate { return finish(scratch, frame, sent, reason) }
        sent.port = frame.port
        leave(frame, sent, reason, scratch)
    }

    @_optimize(speed)
    mutating func finish(
        _ transposition: Ref<Transposition>, _ frame: Frame, _ sent: Frame, _ reason: DropReason?
    ) {
        if let reason {
            return refuse(frame, reason, transposition)
        }
        if emit(sent, to: transposition.value.egress, from: frame.port) { countSent(sent, transposition) }
    }

    /// A frame that was transmitted, or a fragment.
    @_optimize(speed)
    func countSent(_ sent: Frame, _ transposition: Ref<Transposition>) {
        switch transposition.value.kind {
        case .encapsulate: counters.add(.encapsulated)
        case .decapsulate: counters.add(.decapsulated)
        case .rewrite: counters.add(.rewritten)
        case .leave:
            if transposition.value.innerOffset != 0 { counters.add(.decapsulated) }
            countOutside(transposition.value.externalPort, on: transposition.value.egress, .transmitted, sent.length)
        default: if transposition.value.isRouted == 0 { counters.add(.switched) }
        }
        if transposition.value.isRouted != 0 { counters.add(.routed) }
    }
}
