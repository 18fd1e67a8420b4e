// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

/// What a `struct apus_dataplane *` stands for.
struct Dataplane: ~Copyable {
    var store: Store
    let memory: Ref<Memory>
    let key: Ref<apus_hash_key>
    let settings: Settings
    /// Tells this dataplane's handles from those of others that had the same slot.
    let generation: UInt32
    /// 1 while a control call is inside.
    let busy = Atomic<UInt32>(0)
    /// Workers by index; their addresses, 0 = free.
    let workers: Ref<WorkerSlot>
    /// The counters of workers that were destroyed.
    let retired: Counters
    let retiredPorts: PortCounters
    /// What the counters of a port's slot were when the port was added.
    let portBaselines: PortCounters
    let errorText: Ref<UInt8>
    /// An event that found no room in the last call of apus_event_poll().
    var pendingEvent: apus_event?
    /// Lost events that have been told.
    var lostEvents: UInt64 = 0

    static var errorTextSize: Int { 256 }
}

/// One worker of a dataplane, as others see it.
struct WorkerSlot: ~Copyable {
    /// Address of the ``Worker``, 0 = none.
    let worker: Atomic<UInt>
    let generation: Atomic<UInt32>
    /// 1 while its thread is inside. Only a check for misuse: a plain load and store, no locked instruction.
    let busy: Atomic<UInt32>
}

extension Dataplane {
    /// The sum of a counter over all workers, living and destroyed.
    func total(_ index: Int) -> UInt64 {
        var sum = retired.read(index)
        forEachWorker { sum &+= $0.value.counters.read(index) }
        return sum
    }

    func portTotal(_ id: UInt32, _ field: Int) -> UInt64 {
        var sum = retiredPorts.read(id, field)
        forEachWorker { sum &+= $0.value.portCounters.read(id, field) }
        return sum
    }

    func forEachWorker(_ body: (Ref<Worker>) -> Void) {
        var index = 0
        while index < Grace.workers {
            if let worker = Ref<Worker>(address: workers[index].worker.load(ordering: .acquiring)) { body(worker) }
            index &+= 1
        }
    }
}
