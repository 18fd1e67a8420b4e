// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

// Next hops on the provider network: docs/pipeline.md section 5.

extension Worker {
    // MARK: - In use

    /// Check the way of a transposition: called for its first packet in every neighbour epoch. Corrects the MAC in the
    /// template and the largest packet, asks again for a next hop that has grown old. False: the MAC is unknown now.
    mutating func refresh(_ number: Int) -> Bool {
        let neighborNumber = transpositions[number].neighbor
        if neighborNumber != none {
            guard let mac = keepAlive(neighborNumber, transpositions.place(of: number)) else { return false }
            transpositions.place(of: number).header.store(mac, at: Transposition.headerRoom &- transpositions[number].headerLength.int)
        }
        if transpositions[number].pathCell != none { limitToPath(transpositions.place(of: number)) }
        transpositions[number].neighborEpoch = neighborEpoch
        return true
    }

    /// The MAC of a next hop that is about to be used; asks for it again when it has grown old. nil: it is unknown, or has
    /// just been given up.
    mutating func keepAlive(_ neighborNumber: UInt32, _ transposition: Ref<Transposition>) -> MACAddress? {
        let cell = tables.cells[tables.neighbors[neighborNumber].cell]
        guard let mac = cell.value.mac else { return nil }
        if elapsed(since: cell.value.confirmed.load(ordering: .relaxed)) >= settings.reachable,
            elapsed(since: cell.value.requested.load(ordering: .relaxed)) >= settings.retry
        {
            if cell.value.requests.load(ordering: .relaxed) >= settings.retries {
                // It answered once and does not any more: the next packet starts from nothing.
                if trace != nil { return nil }
                cell.value.requests.store(0, ordering: .relaxed)
                cell.value.resolution.store(0, ordering: .relaxed)
                announceNeighborChange()
                return nil
            }
            if trace == nil { ask(neighborNumber, as: transposition.value, to: mac) }
        }
        return mac
    }

    /// Workers' clocks differ a little. One that is far ahead was wrong: what it noted counts as long ago.
    func elapsed(since time: UInt64) -> UInt64 {
        if now >= time { return now &- time }
        return time &- now > 60_000_000_000 ? .max : 0
    }

    /// Every worker checks its headers at its next burst.
    func announceNeighborChange() {
        let epoch = tables.shared.value.neighborEpoch.load(ordering: .relaxed)
        tables.shared.value.neighborEpoch.store(epoch &+ 1, ordering: .releasing)
    }

    // MARK: - Waiting

    /// The packet waits for the MAC of its next hop; `scratch` has the rest of its result.
    mutating func hold(_ frame: Frame, for neighborNumber: UInt32, _ target: CopyTarget = .nowhere) {
        if neighborNumber == none { return holdForEntry(frame) }
        let cell = tables.cells[tables.neighbors[neighborNumber].cell]
        if cell.value.failed.load(ordering: .relaxed) != 0 {
            if elapsed(since: cell.value.requested.load(ordering: .relaxed)) < settings.retry &* 4 {
                return drop(frame, .neighborFailed)
            }
            if trace == nil {
                cell.value.failed.store(0, ordering: .relaxed)
                cell.value.requests.store(0, ordering: .relaxed)
            }
        }
        if trace != nil { return counters.add(.held) }
        let present = held.find(neighborNumber)
        if held.isFull || present.map({ held.waiting(at: $0).value.count >= HeldQueue.perNeighbor }) ?? false {
            // Others may fill the queue; the next hop is asked for all the same.
            if present == nil,
                cell.value.requests.load(ordering: .relaxed) == 0
                    || elapsed(since: cell.value.requested.load(ordering: .relaxed)) >= settings.retry
            {
                cell.value.requests.store(0, ordering: .relaxed)
                ask(neighborNumber, as: scratch.value, to: .broadcast)
            }
            return drop(frame, .neighborQueueFull)
        }
        let (address, port) = (tables.neighbors[neighborNumber].address, tables.neighbors[neighborNumber].port)
        let index = present ?? held.begin(neighborNumber, address, behind: port, scratch)
        held.append(frame, to: index, target)
        counters.add(.held)
        if present != nil { return }
        // The first packet begins an attempt, unless another worker has just asked. A packet that has waited for this next
        // hop already goes on with the attempt that there was.
        if neighborNumber != waitedFor, elapsed(since: cell.value.requested.load(ordering: .relaxed)) >= settings.retry
        {
            cell.value.requests.store(0, ordering: .relaxed)
        }
        if cell.value.requests.load(ordering: .relaxed) == 0 {
            ask(neighborNumber, as: held.waiting(at: index).value.transposition, to: .broadcast)
        }
    }

    /// Another worker has learned something within this burst: what waits must not be overtaken by what comes now.
    mutating func releaseResolved() {
        let epoch = tables.shared.value.neighborEpoch.load(ordering: .acquiring)
        if epoch == heldNeighborEpoch { return }
        heldNeighborEpoch = epoch
        isExtra = true
        var index = 0
        while index < held.waitingCount {
            let waiting = held.waiting(at: index)
            let isKnown = isThere(waiting) && tables.cells[tables.neighbors[waiting.value.neighbor].cell].value.mac != nil
            if isKnown { releaseHeld(index) } else { index &+= 1 }
        }
    }

    /// Is what packets wait for still the next hop that it was? Behind external ports they come and go.
    @inline(never)
    private func isThere(_ waiting: Ref<HeldQueue.Waiting>) -> Bool {
        let number = waiting.value.neighbor
        return number != none && tables.neighbors.exists(number, at: version)
            && tables.neighbors[number].isAt(waiting.value.address, waiting.value.port)
    }

    /// At the begin of a burst: release what can go, ask again, give up.
    mutating func serveHeld() {
        isExtra = true
        // First, because what is noted twice in a row is noted once: then it matters nothing what the others have to say.
        var index = 0
        while index < held.waitingCount {
            if !givesUpEntry(index) { index &+= 1 }
        }
        index = 0
        while index < held.waitingCount {
            let waiting = held.waiting(at: index)
            if waiting.value.neighbor == none, !isEntered(waiting) {
                index &+= 1
                continue
            }
            guard isThere(waiting) else {
                releaseHeld(index)
                continue
            }
            let number = waiting.value.neighbor
            let cell = tables.cells[tables.neighbors[number].cell]
            if cell.value.mac != nil {
                releaseHeld(index)
                continue
            }
            var isFailed = cell.value.failed.load(ordering: .relaxed) != 0
            if !isFailed, elapsed(since: cell.value.requested.load(ordering: .relaxed)) >= settings.retry {
                if cell.value.requests.load(ordering: .relaxed) >= settings.retries {
                    cell.value.failed.store(1, ordering: .relaxed)
                    cell.value.requested.store(now, ordering: .relaxed)
                    isFailed = true
                } else {
                    ask(number, as: waiting.value.transposition, to: .broadcast)
                }
            }
            if isFailed { releaseHeld(index) } else { index &+= 1 }
        }
        isExtra = false
    }

    /// The policy changed on the provider side: every waiting packet is decided again.
    mutating func reconsiderHeld() {
        isExtra = true
        decideAnew(held.endAll())
        isExtra = false
        serveHeld()
    }

    /// Decide the packets that wait for a next hop anew: it is known now, or has failed, which is then their reason.
    @inline(never)
    private mutating func releaseHeld(_ index: Int) { decideAnew(held.end(index)) }

    // MARK: - Waiting for a next hop that no entry is about yet

    /// Only the control plane makes entries: a packet for somebody new behind an external port waits until it has.
    private mutating func holdForEntry(_ frame: Frame) {
        if trace != nil { return counters.add(.held) }
        let (address, port) = (AddressRewrite(scratch).destination, scratch.value.externalPort)
        let present = held.findUnknown(address, behind: port)
        if held.isFull || present.map({ held.waiting(at: $0).value.count >= HeldQueue.perNeighbor }) ?? false {
            if present == nil { want(address, behind: port) }
            return drop(frame, .neighborQueueFull)
        }
        let index = present ?? held.begin(none, address, behind: port, scratch)
        held.append(frame, to: index)
        counters.add(.held)
        if present == nil { wantEntry(index) }
    }

    private mutating func wantEntry(_ index: Int) {
        let waiting = held.waiting(at: index)
        waiting.value.wants &+= 1
        waiting.value.wanted = now
        want(waiting.value.address, behind: waiting.value.port)
    }

    private func isEntered(_ waiting: Ref<HeldQueue.Waiting>) -> Bool {
        neighbor(waiting.value.address, waiting.value.port) != nil
    }

    /// True: nobody waits for it any more, and another one is at `index`.
    private mutating func givesUpEntry(_ index: Int) -> Bool {
        let waiting = held.waiting(at: index)
        if waiting.value.neighbor != none || isEntered(waiting) || elapsed(since: waiting.value.wanted) < settings.retry { return false }
        if waiting.value.wants < settings.retries {
            wantEntry(index)
            return false
        }
        var link = held.end(index)
        while let (frame, _, _) = held.next(&link) {
            counters.subtract(.held)
            drop(frame, .neighborFailed)
        }
        return true
    }

    private mutating func decideAnew(_ first: UInt32) {
        var link = first
        while let (frame, neighbor, target) = held.next(&link) {
            counters.subtract(.held)
            waitedFor = neighbor
            if target.vsid != 0 { sendCopyAnew(frame, target) } else { processAnew(frame) }
        }
        waitedFor = none
    }

    // MARK: - Asking

    /// Ask for a next hop, by ARP or neighbour discovery, from the provider address of a transposition: everybody
    /// (`broadcast`) or the machine that it was until now.
    private mutating func ask(_ neighborNumber: UInt32, as transposition: Transposition, to mac: MACAddress) {
        let address = tables.neighbors[neighborNumber].address
        let cell = tables.cells[tables.neighbors[neighborNumber].cell]
        cell.value.requests.store(cell.value.requests.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        cell.value.requested.store(now, ordering: .relaxed)
        let template = HeaderTemplate(transposition)
        cell.value.place.store(NeighborCell.place(transposition.egress, template.vlan), ordering: .relaxed)
        counters.add(.generated)

        let link = template.linkLength
        let length = address.isV4 ? ARPPacket.length : NeighborDiscovery.length
        guard var frame = buffers.allocate(link &+ length) else { return counters.addDrop(.noBuffer) }
        let bytes = frame.bytes
        template.copyLink(to: bytes)
        // Rewritten frames may have the machine's MAC; who answers needs ours (APUS_RECORD_USE_VM_MAC).
        var sender = bytes.mac(Ethernet.source)
        if transposition.kind == .rewrite, let own = providerAddress(template.source) { sender = tables.addresses[own].mac }
        bytes.store(sender, at: Ethernet.source)
        if address.isV4 {
            bytes.store(mac, at: Ethernet.destination)
            bytes.store(Ethernet.arp, at: link &- 2)
            ARPPacket(bytes.advanced(by: link)).write(
                operation: ARPPacket.request, sender: (sender, template.source.v4),
                target: (MACAddress(0), address.v4))
        } else {
            let destination = mac == .broadcast ? address.solicitedNode : address
            bytes.store(mac == .broadcast ? destination.multicastMAC : mac, at: Ethernet.destination)
            bytes.store(Ethernet.ipv6, at: link &- 2)
            NeighborDiscovery.write(
                IPv6Header(bytes.advanced(by: link)), NeighborDiscovery.solicitation, flags: 0, target: address,
                sender, from: template.source, to: destination)
        }
        frame.port = none
        if emitMade(frame, to: transposition.egress) { counters.add(.arpRequests) }
    }

    // MARK: - ARP from a provider port (section 5.1)

    /// An ARP packet whose sender is who sent the frame; nil: it is malformed.
    func arpPacket(in frame: Frame, _ header: LinkHeader) -> ARPPacket? {
        let arp = ARPPacket(frame.bytes.advanced(by: header.length))
        guard arp.isWellFormed(available: frame.length.int &- header.length), arp.senderMAC.isUsable,
            arp.senderMAC == frame.bytes.mac(Ethernet.source)
        else { return nil }
        return arp
    }

    mutating func processProviderARP(_ frame: Frame, _ header: LinkHeader) {
        let (link, vlan) = (header.length, header.vlan)
        guard let arp = arpPacket(in: frame, header) else { return drop(frame, .providerARPMalformed) }
        let (sender, senderMAC) = (IPAddress(v4: arp.senderIP), arp.senderMAC)
        let isReplyToUs =
            arp.operation == ARPPacket.reply && isOurs(frame.bytes.mac(Ethernet.destination), on: frame.port, vlan)

        let targetIP = IPAddress(v4: arp.targetIP)
        if arp.senderIP != 0 {
            noticeClaim(sender, senderMAC, on: frame.port, vlan, isProbe: false)
        } else if arp.operation == ARPPacket.request {
            noticeClaim(targetIP, senderMAC, on: frame.port, vlan, isProbe: true)
        }
        if arp.operation == ARPPacket.request, let target = usableAddress(targetIP, on: frame.port, vlan) {
            answerARP(frame, link, with: tables.addresses[target].mac)
        } else {
            consume(frame)
        }
        learn(sender, senderMAC, on: NeighborCell.place(frame.port, vlan), isReplyToUs)
    }

    // MARK: - Neighbour discovery from a provider port (section 5.2)

    /// The same of neighbour discovery.
    func discoveryPacket(in frame: Frame, _ header: LinkHeader, readable: Int) -> NeighborDiscovery? {
        let sender = frame.bytes.mac(Ethernet.source)
        let packet = NeighborDiscovery(IPv6Header(frame.bytes.advanced(by: header.length)))
        return packet.isWellFormed(readable: readable) && sender.isUsable && packet.names(only: sender) ? packet : nil
    }

    mutating func processProviderDiscovery(_ frame: Frame, _ header: LinkHeader) {
        let (link, vlan) = (header.length, header.vlan)
        let sender = frame.bytes.mac(Ethernet.source)
        guard let packet = discoveryPacket(in: frame, header, readable: frame.readable &- link) else {
            return drop(frame, .providerNDMalformed)
        }
        let place = NeighborCell.place(frame.port, vlan)
        if packet.type == NeighborDiscovery.advertisement {
            let isReplyToUs = packet.isSolicited && isOurs(frame.bytes.mac(Ethernet.destination), on: frame.port, vlan)
            let target = packet.target
            noticeClaim(target, sender, on: frame.port, vlan, isProbe: false)
            consume(frame)
            if isReplyToUs || packet.isSolicited || packet.isOverride { learn(target, sender, on: place, isReplyToUs) }
            return
        }
        let asker = packet.linkLayer(.source) == nil ? nil : packet.ip.source
        if packet.ip.source.isUnspecified {
            noticeClaim(packet.target, sender, on: frame.port, vlan, isProbe: true)
        }
        if let target = usableAddress(packet.target, on: frame.port, vlan) {
            let mac = tables.addresses[target].mac
            advertise(mac, isRouter: false, isOverride: !isTentative(target), to: frame, link: link)
        } else {
            consume(frame)
        }
        if let asker { learn(asker, sender, on: place, false) }
    }

    private func isOurs(_ mac: MACAddress, on port: UInt32, _ vlan: UInt16) -> Bool {
        tables.addresses.findSecondary(ProviderAddress.hash(tables.key, port: port), at: version) {
            tables.addresses[$0].port == port && tables.addresses[$0].mac == mac
                && tables.addresses[$0].vlan == vlan && isUsable($0)
        } != nil
    }

    /// `port`: the external port behind which it is, or 0.
    mutating func learn(
        _ address: IPAddress, _ mac: MACAddress, on place: UInt64, _ isReplyToUs: Bool, behind port: UInt32 = 0
    ) {
        guard let number = neighbor(address, port), tables.neighbors[number].isStatic == 0, trace == nil else { return }
        let cell = tables.cells[tables.neighbors[number].cell]
        let known = cell.value.mac
        let wasAsked = cell.value.requests.load(ordering: .relaxed) != 0
        guard cell.value.place.load(ordering: .relaxed) == place, (wasAsked && isReplyToUs) || known != nil else {
            return
        }
        if let known, known != mac {
            // Two machines that claim one address may not turn every burst into a check of every header.
            if elapsed(since: cell.value.changed.load(ordering: .relaxed)) < 1_000_000_000 { return }
        }
        cell.value.confirmed.store(now, ordering: .relaxed)
        cell.value.requests.store(0, ordering: .relaxed)
        cell.value.failed.store(0, ordering: .relaxed)
        cell.value.resolution.store(mac.value &<< 1 | 1, ordering: .releasing)
        if known != mac {
            cell.value.changed.store(now, ordering: .relaxed)
            announceNeighborChange()
            neighborEpoch &+= 1
        }
        if let index = held.find(number) {
            let wasExtra = isExtra
            isExtra = true
            releaseHeld(index)
            isExtra = wasExtra
        }
    }
}
