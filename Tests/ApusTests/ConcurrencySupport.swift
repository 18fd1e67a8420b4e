// SPDX-License-Identifier: Apache-2.0

import CApus
import Glibc
import Testing

@testable import Apus

/// When a concurrency test has run long enough: `APUS_CONCURRENCY_MS` milliseconds each, 500 if not given.
struct Deadline: Sendable {
    private let end: UInt64

    /// `factor`: how much longer it may take on a busy machine.
    init(times factor: UInt64 = 1) {
        let given = getenv("APUS_CONCURRENCY_MS").flatMap { UInt64(String(cString: $0)) }
        end = Self.now + (given ?? 500) * 1_000_000 * factor
    }

    var isOver: Bool { Self.now >= end }

    private static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// One virtual subnet with one machine here and, behind a static next hop, any number of provider addresses: the policy
/// of every concurrency test. A record's provider address is its *tag*: it says under which policy a frame was handled.
final class TaggedPolicy: Sendable {
    static let vsid: UInt32 = 5001
    static let machineMAC: UInt64 = 0x0060_0000_0001
    static let machineCA: UInt32 = 0x0A00_0001
    static let remoteMAC: UInt64 = 0x0060_0000_1000
    static let ourPA: UInt32 = 0xC0A8_0001
    static let ourMAC: UInt64 = 0x02BB_0000_0001
    static let nextHop: UInt32 = 0xC0A8_00FE
    static let nextHopMAC: UInt64 = 0x02AA_0000_00FE
    private static let tagBase: UInt32 = 0xAC10_0000

    let dataplane: TestDataplane
    let machine: UInt32
    let provider: UInt32

    init(expectedRecords: UInt32 = 0) {
        dataplane = TestDataplane(expectedRecords: expectedRecords)
        machine = dataplane.add(vmPort(Self.vsid, Self.machineMAC))
        provider = dataplane.add(providerPort())
        dataplane.add(providerAddress(Self.ourPA, provider, Self.ourMAC))
        dataplane.add(providerRoute(prefix(Self.tagBase, 12), provider, via: Self.nextHop))
        dataplane.add(neighbor(Self.nextHop, Self.nextHopMAC))
        dataplane.add(record(Self.vsid, Self.machineCA, Self.machineMAC, Self.ourPA))
    }

    /// The customer address of remote machine `index`.
    static func customerAddress(_ index: Int) -> UInt32 { 0x0A01_0000 + UInt32(index) }
    static func index(of customerAddress: UInt32) -> Int { Int(customerAddress) - 0x0A01_0000 }
    static func mac(_ index: Int) -> UInt64 { remoteMAC + UInt64(index) }

    /// Remote machine `index`, at the provider address that means `tag`.
    static func remote(_ index: Int, tag: Int) -> apus_lookup_record {
        record(vsid, customerAddress(index), mac(index), tagBase + UInt32(tag))
    }

    static func tag(of providerAddress: UInt32) -> Int { Int(providerAddress) - Int(tagBase) }

    /// Put a packet to remote machine `index` into the worker's next burst.
    func send(_ worker: TestWorker, to index: Int, sourcePort: UInt16 = 1000) {
        worker.add(port: machine) {
            writeUDP(
                $0, to: Self.mac(index), from: Self.machineMAC, Self.machineCA, Self.customerAddress(index),
                sourcePort: sourcePort)
        }
    }

    /// What an output frame says: to which remote machine, under which tag. nil when anything in it is wrong.
    func read(_ frame: apus_frame) -> (index: Int, tag: Int)? {
        guard frame.port == provider, let packet = Encapsulated(frame), packet.source == Self.ourPA,
            packet.vsid == Self.vsid, packet.innerSource == Self.machineCA,
            Bytes(frame.data).mac(0).value == Self.nextHopMAC
        else { return nil }
        let index = Self.index(of: packet.innerDestination)
        guard packet.innerDestinationMAC == Self.mac(index) else { return nil }
        return (index, Self.tag(of: packet.destination))
    }

    /// The end of every test: all frames accounted for, all buffers and all memory back.
    func finish(_ workers: [TestWorker]) {
        for worker in workers { worker.giveBackOutput() }
        dataplane.expectAccounted()
        for worker in workers { worker.destroy() }
        dataplane.expectAccounted()
        dataplane.destroy()
    }
}

/// Between which two states of one record a burst may find it. State `s` is: removed if `s % 4 == 3`, else present with
/// tag `s`. The writer raises `begun` before a change and `done` after it.
struct StateWindow: Sendable {
    let begun = Shared()
    let done = Shared()

    static func isRemoved(_ state: Int) -> Bool { state & 3 == 3 }

    /// A packet of a burst that began after `low` was read and ended before `high` was: may it have found `tag`?
    static func explains(_ low: Int, _ high: Int, tag: Int) -> Bool { tag >= low && tag <= high && !isRemoved(tag) }

    /// May it have found nothing?
    static func explainsMissing(_ low: Int, _ high: Int) -> Bool {
        high - low >= 3 || (low...max(low, high)).contains { isRemoved($0) }
    }
}

/// Codes and complaints that threads collect; expectations are checked when they have ended.
final class Complaints: Sendable {
    private let count = Shared()
    private let first = Shared(-1)

    func add(_ what: Int = 0) {
        count.add()
        if first.value < 0 { first.value = what }
    }

    func expectNone(_ what: Comment) { #expect(count.value == 0, "\(what); the first: \(first.value)") }
}
