// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

/// Which decisions that depend on the records of two addresses are still true, while other versions come.
@Suite struct ScopesTests {
    private let scope: UInt32 = 17
    private let a: UInt32 = 0, b: UInt32 = 4711, c: UInt32 = 8191

    private func withScopes(_ body: (Scopes) -> Void) throws {
        let memory = TestMemory()
        let scopes = try #require(Scopes(memory.ref))
        body(scopes)
        scopes.destroy(memory.ref)
        #expect(memory.isClean)
    }

    /// What changed before a decision, and with its own version, is in it; what changed after it is not.
    @Test func beforeAfterAndWithItsOwnVersion() throws {
        try withScopes { scopes in
            #expect(scopes.confirms(0, scope, a, b))
            scopes.touch(address: a, 5)
            scopes.touchRecord(in: scope, 5)
            #expect(scopes.lastChange(scope) == 5)
            for (source, destination) in [(a, b), (b, a), (a, a)] {
                #expect(!scopes.confirms(4, scope, source, destination))
                #expect(scopes.confirms(5, scope, source, destination))
                #expect(scopes.confirms(5, scope, source, destination))
            }
            for stamp: UInt32 in 0...5 { #expect(scopes.confirms(stamp, scope, b, c)) }
            // Another scope's record had the address: no reason to believe that it was not this one's.
            #expect(!scopes.confirms(4, scope + 1, a, b))
            #expect(scopes.confirms(4, scope + 1, b, c))
            // Something that is no record of an address.
            scopes.touch(scope, 7)
            #expect(!scopes.confirms(6, scope, b, c))
            #expect(scopes.confirms(7, scope, a, b))
            #expect(scopes.confirms(6, scope + 1, b, c))
            // The address of a record changes later than the rest.
            scopes.touch(address: b, 8)
            scopes.touchRecord(in: scope, 8)
            #expect(scopes.confirms(7, scope, a, c))
            #expect(!scopes.confirms(7, scope, a, b))
        }
    }

    private enum Step: CaseIterable { case record, source, destination, other, frame }

    /// Version 6 is being stored, and a worker in version 5 sees any part of it: it may confirm nothing by it, and nothing that it confirmed
    /// hides version 6 from it afterwards.
    @Test(arguments: [false, true])
    func whatANewerVersionStored(_ changesFrame: Bool) throws {
        let other: UInt32 = 99
        let steps = Step.allCases.filter { changesFrame || $0 != .frame }
        for choice in 0..<(1 << steps.count) {
            let chosen = steps.indices.filter { choice >> $0 & 1 != 0 }.map { steps[$0] }
            for order in orders(chosen) {
                try withScopes { scopes in
                    scopes.touch(scope, 2)
                    scopes.touch(address: b, 4)
                    scopes.touchRecord(in: scope, 5)
                    var stamps: [UInt32] = [2, 3, 4, 5]
                    // Whatever is stored, the scope's own word is too in the end.
                    let all = order.contains(.record) ? order : order + [.record]
                    var stored: [Step] = []
                    for step in [nil] + all.map(Optional.some) {
                        switch step {
                        case nil: break
                        case .record: scopes.touchRecord(in: scope, 6)
                        case .source: scopes.touch(address: a, 6)
                        case .destination: scopes.touch(address: b, 6)
                        case .other: scopes.touch(address: other, 6)
                        case .frame: scopes.touch(scope, 6)
                        }
                        if let step { stored.append(step) }
                        for index in stamps.indices {
                            let isCurrent = stamps[index] >= scopes.lastChange(scope)
                            #expect(isCurrent == (stamps[index] == 5 && !stored.contains { $0 == .record || $0 == .frame }))
                            let isHidden = stored.contains { $0 == .source || $0 == .destination || $0 == .frame }
                            let isTrue = scopes.confirms(stamps[index], scope, a, b)
                            #expect(isTrue == (!isHidden && stamps[index] >= 4), "\(stored), \(stamps[index])")
                            // As a worker in version 5 does.
                            if isCurrent || isTrue { stamps[index] = 5 }
                        }
                    }
                    // Published.
                    let isOld = all.contains { $0 == .source || $0 == .destination || $0 == .frame }
                    for stamp in stamps {
                        #expect(stamp < scopes.lastChange(scope))
                        #expect(scopes.confirms(stamp, scope, a, b) == (!isOld && stamp >= 4), "\(all), \(stamp)")
                    }
                    #expect(scopes.confirms(6, scope, a, b))
                }
            }
        }
    }

    private func orders(_ steps: [Step]) -> [[Step]] {
        if steps.isEmpty { return [[]] }
        return steps.indices.flatMap { first in
            var rest = steps
            rest.remove(at: first)
            return orders(rest).map { [steps[first]] + $0 }
        }
    }

    /// The lower half of the version has started over, and flows have been forgotten: the words are those of the old era.
    @Test func wordsOfAnOldEra() throws {
        try withScopes { scopes in
            scopes.touch(address: a, 0xFFFF_FFFF)
            scopes.touchRecord(in: scope, 0xFFFF_FFFF)
            for stamp: UInt32 in [0, 1, 0xFFFF_FFFE] {
                #expect(stamp < scopes.lastChange(scope))
                #expect(!scopes.confirms(stamp, scope, a, b))
                #expect(!scopes.confirms(stamp, scope, b, a))
                #expect(scopes.confirms(stamp, scope, b, c))
            }
            scopes.touch(scope, 0xFFFF_FFFF)
            #expect(!scopes.confirms(1, scope, b, c))
        }
    }

    /// The same with what the store stores: nothing before a commit and nothing by an abort, whose version the next commit gets.
    @Test func transactions() {
        let dataplane = TestDataplane()
        let vsid: UInt32 = 6000
        func number(_ ca: UInt32) -> UInt32 { Scopes.of(address: IPAddress(v4: ca).foldedAsInPackets) }
        /// The machine with this address, on this host.
        func machine(_ ca: UInt32, on host: UInt32) -> apus_lookup_record { record(vsid, ca, 0x6000_6000_0000 + UInt64(ca & 0xFF), 0xC0A8_0000 + host) }
        let (first, second, third, fourth): (UInt32, UInt32, UInt32, UInt32) = (0x0A00_0102, 0x0A00_0103, 0x0A00_0104, 0x0A00_0105)
        let all = [first, second, third, fourth]
        for ca in all { dataplane.add(machine(ca, on: 1)) }

        func version() -> UInt32 { (dataplane.withStore { $0.next } ?? 0).u32 &- 1 }
        func lastChange() -> UInt32? { dataplane.withStore { $0.tables.scopes.lastChange(Scopes.unbound(vsid)) } }
        func confirms(_ stamp: UInt32, _ source: UInt32, _ destination: UInt32) -> Bool? {
            dataplane.withStore {
                $0.tables.scopes.confirms(stamp, Scopes.unbound(vsid), number(source), number(destination))
            }
        }
        let decided = version()
        #expect(lastChange() == decided)

        for isCommitted in [false, true] {
            dataplane.begin()
            dataplane.set(machine(second, on: 2))
            dataplane.set(machine(third, on: 2))
            #expect(version() == decided)
            for other in all { #expect(confirms(decided, first, other) == true, "open") }
            if isCommitted { dataplane.commit() } else { dataplane.abort() }
            #expect(version() == decided + (isCommitted ? 1 : 0))
            for other in [second, third] {
                #expect(confirms(decided, first, other) == !isCommitted)
                #expect(confirms(decided, other, first) == !isCommitted)
            }
            #expect(confirms(decided, first, fourth) == true)
        }
        // A change in an aborted transaction is not in the version that the next one gets.
        let before = version()
        dataplane.begin()
        dataplane.set(machine(first, on: 3))
        dataplane.abort()
        dataplane.set(machine(fourth, on: 3))
        #expect(version() == before + 1)
        #expect(confirms(before, first, second) == true)
        #expect(confirms(before, first, fourth) == false)
        #expect(confirms(before + 1, first, fourth) == true)
        // A record of no address, beside one that concerns nobody here: nothing of the scope is confirmed.
        var special = record(vsid, 0, 0x6000_6000_01FF, 0xC0A8_0001)
        special.type = UInt8(APUS_RECORD_L2_ONLY.rawValue)
        dataplane.begin()
        dataplane.set(machine(third, on: 3))
        dataplane.add(special)
        dataplane.commit()
        #expect(confirms(before + 1, first, second) == false)
        #expect(confirms(before + 2, first, second) == true)
        dataplane.destroy()
    }
}
