// SPDX-License-Identifier: Apache-2.0

// Customers' packets that are too big for the tunnel and may be fragmented are, before they are encapsulated (RFC 2003
// section 5.1). NVGRE packets themselves never are (RFC 7637 section 4.4). docs/pipeline.md 2.4.

extension Worker {
    /// Send a packet as fragments. False: it cannot be fragmented; nothing has been done.
    mutating func fragment(_ frame: Frame, _ result: Ref<Transposition>, _ flowID: UInt8) -> Bool {
        if result.value.variant.has(Transposition.Variant.ipv6) { return false }
        let ip = IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength))
        let header = ip.headerLength
        let payload = ip.totalLength &- header
        let maximum = result.value.maximum.int
        guard ip.mayBeFragmented, ip.hasCorrectChecksum, maximum >= header &+ 8,
            frame.contiguous.int >= Ethernet.headerLength &+ ip.totalLength
        else { return false }
        // Every fragment but the last carries a multiple of eight bytes.
        let step = (maximum &- header) & ~7
        guard payload <= step &* Self.fragmentsMaximum, ip.fragmentOffset &+ payload &>> 3 <= 0x1FFF else {
            return false
        }

        counters.add(.fragmented)
        // Its place in the output is free now.
        if !isExtra { remaining &-= 1 }
        var offset = 0
        while offset < payload {
            sendFragment(of: frame, offset, min(step, payload &- offset), result, flowID)
            offset &+= step
        }
        consume(frame)
        return true
    }

    /// A frame of 65,535 bytes on a network of 1500 makes 46.
    private static var fragmentsMaximum: Int { 64 }

    private mutating func sendFragment(
        of frame: Frame, _ offset: Int, _ length: Int, _ result: Ref<Transposition>, _ flowID: UInt8
    ) {
        counters.add(.generated)
        let ip = IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength))
        guard var fragment = buffers.allocate(Ethernet.headerLength &+ ip.headerLength &+ length) else {
            return counters.addDrop(.noBuffer)
        }
        fragment.bytes.copy(Ethernet.headerLength &+ IPv4Header.minimumLength, from: frame.bytes)
        let own = IPv4Header(fragment.bytes.advanced(by: Ethernet.headerLength))
        let header = copyOptions(of: ip, to: own, isFirst: offset == 0)
        own.ip.advanced(by: header).copy(length, from: ip.ip.advanced(by: ip.headerLength &+ offset))
        fragment.length = (Ethernet.headerLength &+ header &+ length).u32

        let isLast = ip.headerLength &+ offset &+ length == ip.totalLength && !ip.hasMoreFragments
        own.ip[0] = 0x40 | (header &>> 2).u8
        own.ip.store((header &+ length).u16, at: 2)
        own.ip.store((ip.fragmentOffset &+ offset &>> 3).u16 | (isLast ? 0 : 0x2000), at: 6)
        own.ip.store(UInt16(0), at: 10)
        own.ip.store(~Checksum.fold(Checksum.sum(own.ip, header)), at: 10)

        fragment.port = none
        let reason =
            switch result.value.kind {
            case .rewrite: result.rewrite(&fragment)
            case .leave: result.leave(&fragment)
            default: result.encapsulate(&fragment, flowID)
            }
        if let reason { return drop(fragment, reason, ingress: none) }
        if emitMade(fragment, to: result.value.egress) { countSent(fragment, result) }
    }

    /// The first fragment has all options, the others those that say so (RFC 791 section 3.1, "copied flag"). Returns the
    /// length of the fragment's header.
    private func copyOptions(of ip: IPv4Header, to own: IPv4Header, isFirst: Bool) -> Int {
        let end = ip.headerLength
        var from = IPv4Header.minimumLength
        var to = from
        if isFirst {
            own.ip.advanced(by: to).copy(end &- from, from: ip.ip.advanced(by: from))
            return end
        }
        while from < end {
            let kind = ip.ip[from]
            if kind == 0 { break }
            let length = kind == 1 ? 1 : from &+ 1 < end ? ip.ip[from &+ 1].int : 0
            // A malformed option ends them.
            if length < (kind == 1 ? 1 : 2) || from &+ length > end { break }
            if kind & 0x80 != 0 {
                own.ip.advanced(by: to).copy(length, from: ip.ip.advanced(by: from))
                to &+= length
            }
            from &+= length
        }
        while to & 3 != 0 {
            own.ip[to] = 0
            to &+= 1
        }
        return to
    }
}
