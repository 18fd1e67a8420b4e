// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

/// What a worker saw and the control plane should know: docs/pipeline.md section 8.
struct Note: BitwiseCopyable {
    enum Kind: UInt32 {
        /// A machine says that it has an address.
        case seen
        /// It says so too often.
        case throttled
        /// A provider address of ours is nobody else's, or is, or turned out to be later.
        case addressPassed
        case addressDuplicate
        case addressConflict
        /// A host says that a machine is elsewhere, or that it knows nothing of it.
        case redirect
        case unreachable
        /// A next hop behind an external port has no entry yet.
        case wanted
    }

    var kind: Kind
    /// Where it was seen.
    var port: UInt32
    var vsid: UInt32
    var ca: IPAddress
    var mac: MACAddress
    var pa: IPAddress
    /// Who says it, of `redirect` and `unreachable`.
    var teller = IPAddress(high: 0, low: 0)

    @inline(__always)
    static func == (a: Note, b: Note) -> Bool {
        a.kind == b.kind && a.port == b.port && a.vsid == b.vsid && a.ca == b.ca && a.mac == b.mac && a.pa == b.pa
            && a.teller == b.teller
    }
}

/// The notes of one worker: it writes them, a control call takes them. Bounded; what finds no room is lost.
struct EventRing: BitwiseCopyable {
    /// The two sides write different cache lines.
    private struct State: ~Copyable {
        /// Notes ever written.
        let written = Atomic<UInt64>(0)
        private var padding = InlineArray<7, UInt64>(repeating: 0)
        /// Notes ever taken.
        let taken = Atomic<UInt64>(0)
    }

    private let state: Ref<State>
    private let notes: Ref<Note>

    private static var capacity: Int { APUS_EVENTS_MAX.int }

    init?(_ memory: Ref<Memory>) {
        guard let state = memory.value.allocate(State.self, count: 1, alignment: 64) else { return nil }
        guard let notes = memory.value.allocateZeroed(Note.self, count: Self.capacity) else {
            memory.value.release(state, count: 1)
            return nil
        }
        state.initialize(to: State())
        self.state = state
        self.notes = notes
    }

    func destroy(_ memory: Ref<Memory>) {
        memory.value.release(notes, count: Self.capacity)
        memory.value.release(state, count: 1)
    }

    /// Notes that wait.
    var count: UInt64 {
        state.value.written.load(ordering: .acquiring) &- state.value.taken.load(ordering: .acquiring)
    }

    // MARK: - The worker

    /// False: there is no room.
    func put(_ note: Note) -> Bool {
        let written = state.value.written.load(ordering: .relaxed)
        if written &- state.value.taken.load(ordering: .acquiring) >= Self.capacity.u64 { return false }
        notes[place(written)] = note
        state.value.written.store(written &+ 1, ordering: .releasing)
        return true
    }

    /// Is this what was noted last, and does it still wait?
    func endsWith(_ note: Note) -> Bool {
        let written = state.value.written.load(ordering: .relaxed)
        return written != state.value.taken.load(ordering: .acquiring) && notes[place(written &- 1)] == note
    }

    // MARK: - The control plane

    /// The oldest note.
    var first: Note? {
        let taken = state.value.taken.load(ordering: .relaxed)
        return taken == state.value.written.load(ordering: .acquiring) ? nil : notes[place(taken)]
    }

    func removeFirst() {
        state.value.taken.store(state.value.taken.load(ordering: .relaxed) &+ 1, ordering: .releasing)
    }

    private func place(_ number: UInt64) -> Int { number.int & (Self.capacity &- 1) }
}
