// SPDX-License-Identifier: Apache-2.0

import CApusDPDK
import Glibc
import Synchronization

/// Set by signals, by `quit` and by a worker that failed.
private let stopRequested = Atomic<Bool>(false)

enum StopRequest {
    static var isSet: Bool { stopRequested.load(ordering: .relaxed) }

    static func set() { stopRequested.store(true, ordering: .relaxed) }

    static func installSignalHandlers() {
        _ = isSet  // initializes the global now, and not in a handler
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in StopRequest.set() }
        }
    }
}

/// What the main lcore does besides forwarding.
final class Service {
    private let control: ControlSocket?
    private let rates: Rates?
    private let events: EventLog
    private var next: UInt64 = 0

    /// Between two looks at the events and the control socket.
    static let interval: UInt32 = 10_000

    init(events: EventLog, control: ControlSocket?, rates: Rates?) {
        self.events = events
        self.control = control
        self.rates = rates
    }

    /// Cheap enough for every round.
    func serve() {
        let now = rte_get_timer_cycles()
        guard now >= next else { return }
        next = now + rte_get_timer_hz() / 1_000_000 * UInt64(Self.interval)
        events.poll()
        control?.serve()
        rates?.printIfDue()
    }
}

/// Polls workers until somebody wants to stop.
enum Rounds {
    /// What a worker's lcore is told.
    @safe
    struct Job {
        let worker: OpaquePointer
        let idleSleep: UInt32
    }

    static func run(workers: [OpaquePointer], idleSleep: UInt32, service: Service) throws {
        let jobs = unsafe workers.map { unsafe Job(worker: $0, idleSleep: idleSleep) }
        if rte_lcore_count() == 1 {
            while !StopRequest.isSet {
                poll(jobs[0])
                service.serve()
            }
            return
        }
        let list = UnsafeMutableBufferPointer<Job>.allocate(capacity: jobs.count)
        _ = unsafe list.initialize(from: jobs)
        defer { unsafe list.deallocate() }
        var lcore = rte_get_next_lcore(UInt32.max, 1, 0)
        for index in list.indices where lcore < RTE_MAX_LCORE {
            let result = unsafe rte_eal_remote_launch(
                { job in
                    unsafe Rounds.run(job!.assumingMemoryBound(to: Job.self).pointee)
                    return 0
                }, list.baseAddress! + index, lcore)
            if result != 0 {
                StopRequest.set()
                rte_eal_mp_wait_lcore()
                throw HostError("lcore \(lcore) cannot be started: errno \(-result)")
            }
            lcore = rte_get_next_lcore(lcore, 1, 0)
        }
        while !StopRequest.isSet {
            service.serve()
            usleep(Service.interval)
        }
        rte_eal_mp_wait_lcore()
    }

    private static func run(_ job: Job) {
        while !StopRequest.isSet { poll(job) }
    }

    /// One round. A worker that is refused is a mistake in this program: stop.
    @inline(__always)
    private static func poll(_ job: Job) {
        let count = unsafe apus_dpdk_worker_poll(job.worker)
        if count < 0 {
            Console.error("apus-forwarder: \(HostError("poll", count))")
            StopRequest.set()
        } else if count == 0, job.idleSleep != 0 {
            usleep(job.idleSleep)
        }
    }
}
