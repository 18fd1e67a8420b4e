// SPDX-License-Identifier: Apache-2.0

/// Packets that wait for the MAC address of their next hop, first in, first out for each next hop.
///
/// Bounded twice: so many for one next hop, so many in all. One ``Waiting`` for each next hop, in the order in which they
/// began to wait; usually there are few, so they are searched one by one.
struct HeldQueue {
    /// A next hop that packets wait for.
    struct Waiting {
        /// Number of its ``Neighbor``; `none`: it has none yet.
        var neighbor: UInt32
        var address: IPAddress
        /// The external port behind which it is, or 0.
        var port: UInt32
        /// While it has no ``Neighbor``: how often one was wanted, and when last.
        var wants: UInt32 = 0
        var wanted: UInt64 = 0
        var count: UInt32
        /// Frames: number + 1, 0 = none.
        fileprivate var first: UInt32
        fileprivate var last: UInt32
        /// Where and as whom to ask: the result of the packet that began to wait.
        var transposition: Transposition
    }

    private struct Slot {
        var frame: Frame
        var next: UInt32
        /// Grows from frame to frame.
        var arrival: UInt64
        /// Number of the ``Neighbor`` that it waits for.
        var neighbor: UInt32
        var target: CopyTarget
    }

    private let slots: Ref<Slot>
    private let waitings: Ref<Waiting>
    private let capacity: Int
    private var firstFree: UInt32 = 0
    private var used = 0
    private var arrivals: UInt64 = 0
    /// Next hops that are waited for.
    private(set) var waitingCount = 0
    /// Packets that wait.
    private(set) var count = 0

    static var perNeighbor: UInt32 { 8 }

    init?(_ memory: Ref<Memory>, capacity: Int) {
        guard let slots = memory.value.allocateZeroed(Slot.self, count: capacity) else { return nil }
        guard let waitings = memory.value.allocateZeroed(Waiting.self, count: capacity) else {
            memory.value.release(slots, count: capacity)
            return nil
        }
        self.slots = slots
        self.waitings = waitings
        self.capacity = capacity
    }

    func destroy(_ memory: Ref<Memory>) {
        memory.value.release(slots, count: capacity)
        memory.value.release(waitings, count: capacity)
    }

    var isFull: Bool { count == capacity }

    func waiting(at index: Int) -> Ref<Waiting> { waitings.advanced(by: index) }

    func find(_ neighbor: UInt32) -> Int? { first { $0.value.neighbor == neighbor } }

    /// The same for one that has no ``Neighbor``.
    func findUnknown(_ address: IPAddress, behind port: UInt32) -> Int? {
        first { $0.value.neighbor == none && $0.value.address == address && $0.value.port == port }
    }

    @inline(__always)
    private func first(_ matches: (Ref<Waiting>) -> Bool) -> Int? {
        var i = 0
        while i < waitingCount {
            if matches(waiting(at: i)) { return i }
            i &+= 1
        }
        return nil
    }

    /// Begin to wait for a next hop; there is room, because the queue is not full.
    mutating func begin(
        _ neighbor: UInt32, _ address: IPAddress, behind port: UInt32, _ transposition: Ref<Transposition>
    ) -> Int {
        waitings[waitingCount] = Waiting(
            neighbor: neighbor, address: address, port: port, count: 0, first: 0, last: 0,
            transposition: transposition.value)
        waitingCount &+= 1
        return waitingCount &- 1
    }

    mutating func append(_ frame: Frame, to index: Int, _ target: CopyTarget = .nowhere) {
        let number: UInt32
        if firstFree != 0 {
            number = firstFree &- 1
            firstFree = slots[number.int].next
        } else {
            number = used.u32
            used &+= 1
        }
        arrivals &+= 1
        slots[number.int] = Slot(
            frame: frame, next: 0, arrival: arrivals, neighbor: waitings[index].neighbor, target: target)
        if waitings[index].last != 0 {
            slots[waitings[index].last.int &- 1].next = number &+ 1
        } else {
            waitings[index].first = number &+ 1
        }
        waitings[index].last = number &+ 1
        waitings[index].count &+= 1
        count &+= 1
    }

    /// Stop waiting for a next hop: the first of its frames, to be passed to `next` until there is none.
    mutating func end(_ index: Int) -> UInt32 {
        let first = waitings[index].first
        var i = index
        while i &+ 1 < waitingCount {
            waitings[i] = waitings[i &+ 1]
            i &+= 1
        }
        waitingCount &-= 1
        return first
    }

    /// Stop waiting for anything: the first of all frames, in the order in which they came, to be passed to `next`. Frames
    /// of one flow may have waited for different next hops, and must not overtake each other.
    mutating func endAll() -> UInt32 {
        var first: UInt32 = 0
        var last: UInt32 = 0
        while let index = oldest() {
            let link = waitings[index].first
            if last == 0 { first = link } else { slots[last.int &- 1].next = link }
            last = link
            waitings[index].first = slots[link.int &- 1].next
        }
        if last != 0 { slots[last.int &- 1].next = 0 }
        waitingCount = 0
        return first
    }

    /// The next hop whose first frame came before those of all others.
    private func oldest() -> Int? {
        var best: Int?
        var arrival = UInt64.max
        var i = 0
        while i < waitingCount {
            let link = waitings[i].first
            if link != 0, slots[link.int &- 1].arrival < arrival { (best, arrival) = (i, slots[link.int &- 1].arrival) }
            i &+= 1
        }
        return best
    }

    /// Take a frame out of a chain that `end` or `endAll` returned, with what it waited for, and step to the one behind it.
    mutating func next(_ link: inout UInt32) -> (frame: Frame, neighbor: UInt32, target: CopyTarget)? {
        if link == 0 { return nil }
        let number = link &- 1
        let slot = slots[number.int]
        link = slot.next
        slots[number.int].next = firstFree
        firstFree = number &+ 1
        count &-= 1
        return (slot.frame, slot.neighbor, slot.target)
    }
}
