// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import Testing

/// Run every body on a thread of its own, all begun at the same moment, and wait for them.
func runTogether(_ bodies: [@Sendable () -> Void]) {
    let gate = StartGate(bodies.count)
    var threads: [pthread_t] = []
    for body in bodies {
        let work = Unmanaged.passRetained(
            ThreadBody {
                gate.enter()
                body()
            })
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        #expect(code == 0)
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Nobody passes before all have come.
private final class StartGate: Sendable {
    private let missing: Atomic<Int>
    init(_ count: Int) { missing = Atomic(count) }

    func enter() {
        missing.subtract(1, ordering: .acquiringAndReleasing)
        while missing.load(ordering: .acquiring) > 0 { sched_yield() }
    }
}

/// A word that threads share.
final class Shared: Sendable {
    private let word: Atomic<Int>
    init(_ value: Int = 0) { word = Atomic(value) }
    var value: Int {
        get { word.load(ordering: .sequentiallyConsistent) }
        set { word.store(newValue, ordering: .sequentiallyConsistent) }
    }
    func add(_ count: Int = 1) { word.add(count, ordering: .relaxed) }
}
