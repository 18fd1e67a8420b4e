// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics

@inline(__always)
func copyBytes(_ to: UnsafeMutablePointer<UInt8>, _ from: UnsafePointer<UInt8>, _ count: Int) {
    unsafe apus_copy(to, from, count)
}

/// What a received mbuf became.
enum Received {
    /// Its head is contiguous and belongs to it alone.
    case ready(Mbuf)
    /// Also, but this is a new head.
    case copied(Mbuf)
    /// It was freed: there was no mbuf for a new head.
    case noBuffer
    /// It was freed: it contradicts itself.
    case malformed
}

/// The dataplane writes into the first bytes of a frame and before them. This is where it is made sure that these
/// bytes are in one piece, that there is room, and that nobody else looks at them.
@safe
struct Heads {
    /// Where new heads come from.
    let pool: OpaquePointer

    init(pool: OpaquePointer) { unsafe self.pool = unsafe pool }

    /// Bytes before a frame: what the library asks for, and two tags that a device may have taken out.
    private static var headroom: Int { Int(APUS_HEADROOM) &+ 8 }
    private static var contiguous: Int { Int(APUS_CONTIGUOUS) }
    /// Up to this length a packet that needs a new head is copied whole: cheaper than a chain.
    private static var wholeLimit: Int { 512 }

    /// True for nearly every mbuf: one segment, its own memory, enough room, no tag taken out.
    @inline(__always)
    static func isReady(_ mbuf: Mbuf) -> Bool {
        let stripped = apus_rx_vlan_stripped() | apus_rx_qinq_stripped()
        return mbuf.isAlone && mbuf.isDirect && mbuf.flags & stripped == 0 && mbuf.offset >= Int(APUS_HEADROOM)
            && mbuf.packetLength == mbuf.length && mbuf.offset &+ mbuf.length <= mbuf.bufferLength
    }

    /// The same for every other mbuf.
    @inline(never)
    func prepare(_ mbuf: Mbuf) -> Received {
        guard mbuf.isConsistent else {
            mbuf.free()
            return .malformed
        }
        let flags = mbuf.flags
        let tags = unsafe (outer: apus_mbuf_outer_vlan(mbuf.pointer), inner: apus_mbuf_vlan(mbuf.pointer))
        let needed = min(mbuf.packetLength, Self.contiguous)
        var head = mbuf
        let isPrivate = mbuf.references == 1 && mbuf.isDirect && (mbuf.segments == 1 || mbuf.isOwnedAlone)
        let isCopied = !isPrivate || mbuf.offset < Self.headroom || mbuf.length < needed
        if isCopied {
            guard let made = newHead(for: mbuf) else {
                mbuf.free()
                return .noBuffer
            }
            head = made
        }
        if flags & apus_rx_qinq_stripped() != 0 {
            insertTag(head, 0x8100, tags.inner)
            insertTag(head, 0x88A8, tags.outer)
        } else if flags & apus_rx_vlan_stripped() != 0 {
            insertTag(head, 0x8100, tags.inner)
        }
        return isCopied ? .copied(head) : .ready(head)
    }

    /// A new mbuf with the first bytes of the packet; what is left of the packet follows it in the chain and is only
    /// read from now on. `mbuf` is used up, unless the answer is nil.
    private func newHead(for mbuf: Mbuf) -> Mbuf? {
        guard let head = unsafe Mbuf(pool: pool) else { return nil }
        let total = mbuf.packetLength
        let count = min(total, total <= min(Self.wholeLimit, head.tailroom) ? total : Self.contiguous)
        var rest = mbuf
        if count < total, !mbuf.isOwnedAlone {
            // Another holder sees the fields of these mbufs. Refer to their memory with mbufs of our own.
            guard let clone = unsafe Mbuf(rte_pktmbuf_clone(mbuf.pointer, pool)) else {
                head.free()
                return nil
            }
            rest = clone
        }
        unsafe mbuf.copyFront(count, to: head.data)
        head.length = count
        head.packetLength = total
        unsafe apus_mbuf_set_flags(head.pointer, mbuf.flags & apus_rx_ip_checksum_mask())
        if count == total {
            mbuf.free()
            return head
        }
        if unsafe rest.pointer != mbuf.pointer { mbuf.free() }
        rest = rest.dropFront(count)
        head.next = rest
        head.segments = rest.segments &+ 1
        return head
    }

    /// Put a tag back that the device has taken out. There is headroom.
    private func insertTag(_ head: Mbuf, _ type: UInt16, _ tag: UInt16) {
        guard head.length >= 12, head.offset >= 4 else { return }
        head.offset = head.offset &- 4
        head.length = head.length &+ 4
        head.packetLength = head.packetLength &+ 4
        unsafe apus_move(head.data, head.data + 4, 12)
        unsafe apus_store16(head.data + 12, type.bigEndian)
        unsafe apus_store16(head.data + 14, tag.bigEndian)
    }
}
