// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What ARP, neighbour discovery and ICMP know of one provider neighbour. Any worker may write it: every field is one word that is replaced as a
/// whole, and a lost race costs one superfluous request. Times are the host's `now_ns`.
struct NeighborCell: ~Copyable {
    /// MAC << 1 | 1 when it is known, 0 when not.
    let resolution = Atomic<UInt64>(0)
    /// When the MAC was last confirmed.
    let confirmed = Atomic<UInt64>(0)
    /// When the MAC was last set to another one.
    let changed = Atomic<UInt64>(0)
    /// When a request was last sent, by any worker.
    let requested = Atomic<UInt64>(0)
    /// Requests since it was last confirmed; 0 = never asked.
    let requests = Atomic<UInt32>(0)
    /// The port and the VLAN in which it was last asked; answers count only there.
    let place = Atomic<UInt64>(.max)
    /// 1 = did not answer.
    let failed = Atomic<UInt32>(0)
    /// Largest outer packet that reaches it, if less than what its port takes; 0 = nothing was learned.
    let pathMTU = Atomic<UInt32>(0)
    /// When that was learned.
    let pathMTULearned = Atomic<UInt64>(0)
    /// Of the writer: versions of ``Neighbor`` that have this cell.
    let users = Atomic<UInt32>(1)
    /// Free list of the writer: number + 1.
    var nextFree: UInt32 = 0

    static func place(_ port: UInt32, _ vlan: UInt16) -> UInt64 { vlan.u64 &<< 32 | port.u64 }

    /// How many there are then.
    @discardableResult
    func addUser(_ difference: Int32) -> UInt32 {
        let count = users.load(ordering: .relaxed) &+ UInt32(bitPattern: difference)
        users.store(count, ordering: .relaxed)
        return count
    }

    @inline(__always)
    var mac: MACAddress? {
        let word = resolution.load(ordering: .relaxed)
        return word == 0 ? nil : MACAddress(word &>> 1)
    }
}
