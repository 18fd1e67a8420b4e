// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK

/// `struct rte_mbuf *`. It is aligned to a cache line, which Swift has no type for; the fields are behind functions.
@safe
struct Mbuf: BitwiseCopyable {
    @unsafe let pointer: OpaquePointer

    @inline(__always)
    init(_ pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    @inline(__always)
    init?(_ pointer: OpaquePointer?) {
        guard let pointer = unsafe pointer else { return nil }
        unsafe self.pointer = unsafe pointer
    }

    /// An empty mbuf, or nil.
    @inline(__always)
    init?(pool: OpaquePointer) {
        guard let pointer = unsafe rte_pktmbuf_alloc(pool) else { return nil }
        unsafe self.pointer = unsafe pointer
    }

    @inline(__always) var data: UnsafeMutablePointer<UInt8> { unsafe apus_mbuf_data(pointer) }
    @inline(__always) var flags: UInt64 { unsafe apus_mbuf_flags(pointer) }
    @inline(__always) var references: UInt16 { unsafe apus_mbuf_references(pointer) }
    /// One segment, one holder.
    @inline(__always) var isAlone: Bool { unsafe apus_mbuf_is_alone(pointer) != 0 }
    @inline(__always) var isDirect: Bool { unsafe apus_mbuf_is_direct(pointer) != 0 }
    @inline(__always) var bufferLength: Int { unsafe apus_mbuf_buffer_length(pointer).int }

    /// Bytes before the data.
    @inline(__always) var offset: Int {
        get { unsafe apus_mbuf_offset(pointer).int }
        nonmutating set { unsafe apus_mbuf_set_offset(pointer, newValue.u16) }
    }
    /// Bytes of this segment.
    @inline(__always) var length: Int {
        get { unsafe apus_mbuf_length(pointer).int }
        nonmutating set { unsafe apus_mbuf_set_length(pointer, newValue.u16) }
    }
    /// Bytes of the packet.
    @inline(__always) var packetLength: Int {
        get { unsafe apus_mbuf_packet_length(pointer).int }
        nonmutating set { unsafe apus_mbuf_set_packet_length(pointer, newValue.u32) }
    }
    @inline(__always) var segments: Int {
        get { unsafe apus_mbuf_segments(pointer).int }
        nonmutating set { unsafe apus_mbuf_set_segments(pointer, newValue.u16) }
    }
    @inline(__always) var next: Mbuf? {
        get { unsafe Mbuf(apus_mbuf_next(pointer)) }
        nonmutating set { unsafe apus_mbuf_set_next(pointer, newValue?.pointer) }
    }
    /// Bytes behind the data of this segment.
    @inline(__always) var tailroom: Int { bufferLength &- offset &- length }

    /// Free the packet.
    @inline(__always)
    func free() { unsafe rte_pktmbuf_free(pointer) }

    /// Free this segment only.
    @inline(__always)
    func freeSegment() { unsafe rte_pktmbuf_free_seg(pointer) }

    // MARK: - Chains

    /// Whether segments, lengths and counts agree. What comes from outside the process (a guest's descriptors, a peer's
    /// memory) is not to be believed.
    var isConsistent: Bool {
        var left = segments
        var sum = 0
        var segment: Mbuf? = self
        while let current = segment {
            if left == 0 || current.offset &+ current.length > current.bufferLength { return false }
            sum = sum &+ current.length
            left = left &- 1
            segment = current.next
        }
        return left == 0 && sum == packetLength
    }

    /// Whether no other holder has a reference to one of the segments, so that their fields may be changed.
    var isOwnedAlone: Bool {
        var segment: Mbuf? = self
        while let current = segment {
            if current.references != 1 { return false }
            segment = current.next
        }
        return true
    }

    /// Make a chain, whose head begins `shift` bytes earlier (later if negative) than it did, `newLength` bytes long:
    /// the segments that are too much at the end are freed or shortened. The head keeps at least what is left.
    func reshape(shift: Int, newLength: Int) {
        offset = offset &- shift
        length = length &+ shift
        packetLength = newLength
        var left = newLength
        var count = 1
        var segment = self
        while let next = segment.next, left > segment.length {
            left = left &- segment.length
            segment = next
            count = count &+ 1
        }
        if left < segment.length { segment.length = left }
        segments = count
        guard let rest = segment.next else { return }
        segment.next = nil
        // A chain that is freed from its middle: the first mbuf of it needs no valid count for that.
        rest.free()
    }

    /// Take `count` bytes away at the front, with the segments that are empty then. The packet is longer than that.
    func dropFront(_ count: Int) -> Mbuf {
        var left = count
        var segment = self
        var segments = self.segments
        let packetLength = self.packetLength &- count
        while left >= segment.length, let next = segment.next {
            left = left &- segment.length
            segments = segments &- 1
            segment.next = nil
            segment.freeSegment()
            segment = next
        }
        segment.offset = segment.offset &+ left
        segment.length = segment.length &- left
        segment.packetLength = packetLength
        segment.segments = segments
        return segment
    }

    /// Copy the first `count` bytes of the packet, which is at least that long.
    func copyFront(_ count: Int, to target: UnsafeMutablePointer<UInt8>) {
        var done = 0
        var segment: Mbuf? = self
        while done < count, let current = segment {
            let part = min(current.length, count &- done)
            unsafe copyBytes(target + done, current.data, part)
            done = done &+ part
            segment = current.next
        }
    }
}
