// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

/// Where each worker is: inside a burst or between two.
///
/// A worker's word is odd while it is inside a burst and grows by one at both ends. The writer publishes, and then waits
/// until every word is even or has changed: after that no worker uses what was replaced. Idle workers cost no waiting
/// and need not report anything.
struct Grace: BitwiseCopyable {
    /// One cache line for each worker: the words are written at every burst.
    private struct Line: ~Copyable {
        let sequence: Atomic<UInt64>
        var padding: InlineArray<7, UInt64>
    }

    /// Behind the workers' lines one that says how many of them are to be looked at.
    private let lines: Ref<Line>

    static var workers: Int { APUS_WORKERS_MAX.int }
    init?(_ memory: Ref<Memory>) {
        guard let lines = memory.value.allocateZeroed(Line.self, count: Self.workers &+ 1, alignment: 64) else { return nil }
        self.lines = lines
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(lines, count: Self.workers &+ 1) }

    /// There is a worker with this number, which has entered no burst yet. Control.
    func enroll(_ worker: Int) {
        let used = lines[Self.workers].sequence.load(ordering: .relaxed)
        lines[Self.workers].sequence.store(max(used, worker.u64 &+ 1), ordering: .relaxed)
    }

    /// The worker enters a burst. The fence orders this before every load of the burst, against the writer's fence
    /// between publishing and looking: either the writer sees the worker inside, or the worker sees the new version.
    @inline(__always)
    func enter(_ worker: Int) {
        let word = lines[worker].sequence.load(ordering: .relaxed)
        lines[worker].sequence.store(word &+ 1, ordering: .relaxed)
        apus_fence()
    }

    @inline(__always)
    func leave(_ worker: Int) {
        let word = lines[worker].sequence.load(ordering: .relaxed)
        lines[worker].sequence.store(word &+ 1, ordering: .releasing)
    }

    /// Wait until every worker has been between two bursts since the call began. False: one stayed inside for so many calls
    /// of `wait`.
    func wait(patience: Int = 2_000_000, _ wait: () -> Void) -> Bool {
        apus_fence()
        let used = lines[Self.workers].sequence.load(ordering: .relaxed).int
        var worker = 0
        while worker < used {
            let seen = lines[worker].sequence.load(ordering: .acquiring)
            if seen & 1 != 0 {
                var tries = 0
                while lines[worker].sequence.load(ordering: .acquiring) == seen {
                    if tries >= patience { return false }
                    tries &+= 1
                    if tries < 64 { apus_spin_pause() } else { wait() }
                }
            }
            worker &+= 1
        }
        return true
    }
}
