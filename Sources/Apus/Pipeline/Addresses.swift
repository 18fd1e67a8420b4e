// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// Our own provider addresses and what duplicate address detection finds out about them: docs/pipeline.md 5.4.

extension Worker {
    /// The address of ours with this number is neither INVALID nor DUPLICATE.
    func isUsable(_ number: UInt32) -> Bool {
        if tables.addresses[number].isInvalid { return false }
        let cell = tables.addresses[number].cell
        return cell == none || !tables.addressCells[cell].value.isDuplicate
    }

    func usableAddress(_ address: IPAddress) -> UInt32? {
        guard let number = providerAddress(address), isUsable(number) else { return nil }
        return number
    }

    /// The same on one port and in one VLAN.
    func usableAddress(_ address: IPAddress, on port: UInt32, _ vlan: UInt16) -> UInt32? {
        guard let number = usableAddress(address), tables.addresses[number].port == port,
            tables.addresses[number].vlan == vlan
        else { return nil }
        return number
    }

    func isTentative(_ number: UInt32) -> Bool {
        let cell = tables.addresses[number].cell
        return cell != none && tables.addressCells[cell].value.isTentative
    }

    // MARK: - Looking for others

    /// At the begin of a burst: probe, or stop probing. If an address turned out to be somebody else's since the last time, what was decided
    /// before is forgotten. While the policy stays the same there are only ever more of them, so it is enough to count.
    mutating func watchAddresses() {
        if trace != nil { return }
        let count = duplicateAddresses
        duplicateAddresses = 0
        let addresses = tables.addresses
        _ = addresses.findInChain(
            ProviderAddress.watchedHash(tables.key), at: version, { addresses[$0].isWatched }
        ) {
            watch(addresses[$0])
            return false
        }
        if duplicateAddresses > count { forgetDecisions() }
    }

    /// Of flows at once, of what waits with the next burst.
    private mutating func forgetDecisions() {
        forgetAllFlows()
        replacements &+= 1
        neighborEpoch &+= 1  // and the tunnels
        heldFloor = ~floor
    }

    private mutating func watch(_ address: ProviderAddress) {
        let cell = tables.addressCells[address.cell]
        if cell.value.isDuplicate { duplicateAddresses &+= 1 }
        if !cell.value.isTentative { return }
        let probes = cell.value.probes.load(ordering: .relaxed)
        let probed = cell.value.probed.load(ordering: .relaxed)
        if probes != 0, elapsed(since: probed) < settings.retry {
            nextRefresh = min(nextRefresh, probed &+ settings.retry)
        } else if outputCount &+ remaining >= outputCapacity {
            nextRefresh = now
        } else if probes < AddressCell.probeCount {
            cell.value.probes.store(probes &+ 1, ordering: .relaxed)
            cell.value.probed.store(now, ordering: .relaxed)
            nextRefresh = min(nextRefresh, now &+ settings.retry)
            sendProbe(address, isAnnouncement: false)
        } else {
            cell.value.passed.store(1, ordering: .relaxed)
            sendProbe(address, isAnnouncement: true)
            put(address.note(.addressPassed, address.mac))
        }
    }

    /// RFC 5227 sections 2.1 and 2.3; RFC 4862 section 5.4.2, RFC 4861 section 7.2.6.
    private mutating func sendProbe(_ address: ProviderAddress, isAnnouncement: Bool) {
        counters.add(.generated)
        let isIPv4 = address.address.isV4
        let link = Ethernet.headerLength(vlan: address.vlan)
        let length =
            isIPv4 ? ARPPacket.length : isAnnouncement ? NeighborDiscovery.length : NeighborDiscovery.probeLength
        guard var frame = buffers.allocate(link &+ length) else { return counters.addDrop(.noBuffer) }
        let group = isAnnouncement ? IPAddress.allNodes : address.address.solicitedNode
        Ethernet.write(
            frame.bytes, to: isIPv4 ? .broadcast : group.multicastMAC, from: address.mac, vlan: address.vlan,
            isIPv4 ? Ethernet.arp : Ethernet.ipv6)
        let start = frame.bytes.advanced(by: link)
        if isIPv4 {
            ARPPacket(start).write(
                operation: ARPPacket.request, sender: (address.mac, isAnnouncement ? address.address.v4 : 0),
                target: (MACAddress(0), address.address.v4))
        } else if isAnnouncement {
            NeighborDiscovery.write(
                IPv6Header(start), NeighborDiscovery.advertisement, flags: NeighborDiscovery.override,
                target: address.address, address.mac, from: address.address, to: group)
        } else {
            NeighborDiscovery.writeProbe(IPv6Header(start), for: address.address)
        }
        frame.port = none
        if emitMade(frame, to: address.port) { counters.add(.addressProbes) }
    }

    // MARK: - Finding them

    /// The machine with this MAC says that it has this address, or (`isProbe`) looks for others that have it, on a port and in a VLAN.
    mutating func noticeClaim(
        _ address: IPAddress, _ mac: MACAddress, on port: UInt32, _ vlan: UInt16, isProbe: Bool
    ) {
        guard trace == nil, let number = usableAddress(address, on: port, vlan), tables.addresses[number].isWatched,
            tables.addresses[number].mac != mac, !isProbe || isTentative(number)
        else { return }
        counters.add(.addressConflicts)
        let cell = tables.addressCells[tables.addresses[number].cell]
        if !cell.value.isTentative {
            // It was ours before: nobody who says so may take it away.
            let noted = cell.value.conflictNoted.load(ordering: .relaxed)
            if noted != 0, elapsed(since: noted) < 1_000_000_000 { return }
            cell.value.conflictNoted.store(now, ordering: .relaxed)
            return put(tables.addresses[number].note(.addressConflict, mac))
        }
        cell.value.duplicate.store(1, ordering: .relaxed)
        announceNeighborChange()
        // Here at once, elsewhere with the next burst.
        duplicateAddresses &+= 1
        forgetDecisions()
        put(tables.addresses[number].note(.addressDuplicate, mac))
    }
}

extension ProviderAddress {
    fileprivate func note(_ kind: Note.Kind, _ mac: MACAddress) -> Note {
        Note(kind: kind, port: port, vsid: 0, ca: IPAddress(high: 0, low: 0), mac: mac, pa: address)
    }
}
