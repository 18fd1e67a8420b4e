// SPDX-License-Identifier: Apache-2.0

// Frames for machines that nobody knows yet: they are asked for on this host. docs/pipeline.md 3.7.

extension Worker {
    mutating func emitSwitched(_ frame: Frame, to egress: UInt32) {
        var sent = frame
        sent.flags = 0
        if emit(sent, to: egress, from: frame.port) { counters.add(.switched) }
    }

    /// To every other vm port of the virtual subnet, in the order of their numbers; the frame itself goes to the last.
    mutating func copyToMembers(_ frame: Frame, of port: Port, orDrop reason: DropReason) {
        var count = 0
        _ = tables.members.find(Member.hash(tables.key, port.vsid), at: version) {
            let member = tables.members[$0]
            if member.vsid == port.vsid, member.port != port.id, count < PortSlots.count {
                members[count] = member.port
                count &+= 1
            }
            return false
        }
        if count == 0 { return drop(frame, reason) }
        sortMembers(count)
        var i = 0
        while i < count &- 1 {
            emitCopy(of: frame, to: members[i])
            i &+= 1
        }
        emitSwitched(frame, to: members[count &- 1])
    }

    /// Heapsort: n log n whatever the order is that tenants brought about.
    private func sortMembers(_ count: Int) {
        var root = count / 2
        while root > 0 {
            root &-= 1
            siftDown(root, count)
        }
        var end = count
        while end > 1 {
            end &-= 1
            (members[0], members[end]) = (members[end], members[0])
            siftDown(0, end)
        }
    }

    private func siftDown(_ start: Int, _ end: Int) {
        var root = start
        while 2 &* root &+ 1 < end {
            var child = 2 &* root &+ 1
            if child &+ 1 < end, members[child] < members[child &+ 1] { child &+= 1 }
            if members[root] >= members[child] { return }
            (members[root], members[child]) = (members[child], members[root])
            root = child
        }
    }

    private mutating func emitCopy(of frame: Frame, to egress: UInt32) {
        counters.add(.generated)
        if outputCount &+ remaining >= outputCapacity { return counters.addDrop(.outputFull) }
        // An ARP or ND packet: what is contiguous is enough, the rest is padding.
        let length = min(frame.length.int, frame.contiguous.int)
        guard var copy = buffers.allocate(length) else { return counters.addDrop(.noBuffer) }
        copy.bytes.copy(length, from: frame.bytes)
        copy.port = frame.port
        if emitMade(copy, to: egress) { counters.add(.switched) }
    }
}
