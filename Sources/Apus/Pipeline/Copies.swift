// SPDX-License-Identifier: Apache-2.0

// Frames for machines that nobody knows yet: they are asked for on this host. docs/pipeline.md 3.7.

extension Worker {
    mutating func emitSwitched(_ frame: Frame, to egress: UInt32) {
        var sent = frame
        sent.flags = 0
        if emit(sent, to: egress, from: frame.port) { counters.add(.switched) }
    }

    /// Nobody knows the machine that is asked for: ask the hosts of machines whose addresses are unknown, with the first `length`
    /// bytes, and every other vm port of the virtual subnet, in the order of their numbers; the frame itself goes to the last.
    mutating func ask(_ frame: Frame, _ length: Int, of port: Port, orDrop reason: DropReason) {
        let remotes = countRemotes(port.vsid, .l2Only)
        if remotes > 0 {
            if !mayCopy(remotes, from: port.id, interval: Self.copyInterval) { return drop(frame, .replicationLimit) }
            copyToRemotes(frame, length, port.vsid, .l2Only)
        }
        let count = findMembers(of: port.vsid, except: port.id)
        if count == 0 { return remotes > 0 ? consume(frame) : drop(frame, reason) }
        var i = 0
        while i < count &- 1 {
            if let copy = makeCopy(of: frame), emitMade(copy, to: members[i]) { counters.add(.switched) }
            i &+= 1
        }
        emitSwitched(frame, to: members[count &- 1])
    }

    /// Put the vm ports of a virtual subnet but one into `members`, in the order of their numbers.
    func findMembers(of vsid: UInt32, except port: UInt32) -> Int {
        var count = 0
        tables.members.visit(Member.hash(tables.key, vsid), at: version) {
            let member = tables.members[$0]
            if member.vsid == vsid, member.port != port, count < PortSlots.count {
                members[count] = member.port
                count &+= 1
            }
        }
        sortMembers(count)
        return count
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

    /// A copy of what is contiguous, which is enough: the rest of an ARP or ND packet is padding. nil: none was possible,
    /// and it is counted.
    mutating func makeCopy(of frame: Frame) -> Frame? {
        counters.add(.generated)
        if outputCount &+ remaining >= outputCapacity {
            counters.addDrop(.outputFull)
            return nil
        }
        let length = min(frame.length.int, frame.contiguous.int)
        guard var copy = buffers.allocate(length) else {
            counters.addDrop(.noBuffer)
            return nil
        }
        copy.bytes.copy(length, from: frame.bytes)
        copy.port = frame.port
        return copy
    }
}
