// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import Testing

@testable import Apus

@Suite struct GraceTests {
    @Test func idleWorkersCostNothing() throws {
        let memory = TestMemory()
        let grace = try #require(Grace(memory.ref))
        var waits = 0
        #expect(grace.wait { waits += 1 })
        grace.enroll(255)
        grace.enroll(0)
        grace.enter(0)
        grace.leave(0)
        grace.enter(255)
        grace.leave(255)
        #expect(grace.wait { waits += 1 })
        #expect(waits == 0)
        grace.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// A worker inside a burst is waited for: until it leaves, also when it enters the next burst at once.
    @Test func aBurstIsWaitedFor() throws {
        let memory = TestMemory()
        let grace = try #require(Grace(memory.ref))
        grace.enroll(7)
        for isBackAtOnce in [false, true] {
            grace.enter(7)
            var waits = 0
            let isSettled = grace.wait {
                waits += 1
                if waits == 5 {
                    grace.leave(7)
                    if isBackAtOnce { grace.enter(7) }
                }
            }
            #expect(isSettled)
            #expect(waits == 5)
            if isBackAtOnce { grace.leave(7) }
        }
        grace.destroy(memory.ref)
    }

    /// A worker that does not leave is reported, and only that: waiting again succeeds when it has left.
    @Test func aStalledWorkerIsReported() throws {
        let memory = TestMemory()
        let grace = try #require(Grace(memory.ref))
        grace.enroll(3)
        grace.enter(3)
        #expect(!grace.wait {})
        #expect(!grace.wait(patience: 10) {})
        // Others that come and go do not hide it.
        grace.enroll(1)
        #expect(!grace.wait(patience: 10) {})
        grace.leave(3)
        #expect(grace.wait {})
        grace.destroy(memory.ref)
    }

    /// What was unpublished before `wait` is not read by a burst after it.
    @Test func unpublishedMemoryIsFree() throws {
        let memory = TestMemory()
        let grace = try #require(Grace(memory.ref))
        grace.enroll(255)
        let box = GraceBox(grace)
        let deadline = Deadline()
        runTogether([
            {
                // The writer: a value, its complement; overwritten as soon as the grace period allows.
                var step: UInt = 0
                while !deadline.isOver {
                    step += 1
                    let old = box.current.load(ordering: .relaxed)
                    let new = 1 - old
                    box.pair(new).pointee = (step, ~step)
                    box.current.store(new, ordering: .releasing)
                    while !box.grace.wait({ sched_yield() }) {}
                    box.pair(old).pointee = (0xDEAD, 0xDEAD)
                }
                box.isOver.value = 1
            },
            { box.read(0) }, { box.read(255) },
        ])
        box.errors.expectNone("a reader saw memory that was given back")
        #expect(box.reads.value > 100)
        grace.destroy(memory.ref)
    }
}

/// Two places of which one is published.
private final class GraceBox: @unchecked Sendable {
    let grace: Grace
    let current = Atomic<Int>(0)
    let isOver = Shared()
    let reads = Shared()
    let errors = Complaints()
    private let places: UnsafeMutablePointer<(UInt, UInt)>

    init(_ grace: Grace) {
        self.grace = grace
        places = .allocate(capacity: 2)
        places.initialize(repeating: (0, .max), count: 2)
    }

    deinit { places.deallocate() }

    func pair(_ index: Int) -> UnsafeMutablePointer<(UInt, UInt)> { places + index }

    func read(_ worker: Int) {
        while isOver.value == 0 {
            grace.enter(worker)
            for _ in 0..<10 {
                let place = pair(current.load(ordering: .acquiring))
                if place.pointee.0 != ~place.pointee.1 { errors.add() }
            }
            grace.leave(worker)
            reads.add()
        }
    }
}
