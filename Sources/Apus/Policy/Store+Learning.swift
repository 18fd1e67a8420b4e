// SPDX-License-Identifier: Apache-2.0

import CApus

/// What became of a note that a machine has an address.
struct Learning {
    var kind: apus_event_kind
    /// Of the record that there was.
    var previousMAC = MACAddress(0)
    var previousPA = IPAddress(v4: 0)
    /// Dynamic records of the machine now.
    var count: UInt32 = 0
    /// It has now, and had not before, four fifths of what it may have.
    var crossesThreshold = false
}

extension Store {
    /// docs/pipeline.md section 8. No learning: there is nothing new in the note.
    mutating func learn(_ note: Note, limit: UInt32) -> (failure: Failure?, learning: Learning?) {
        var learning: Learning?
        let failure = change(Self.recordName) { store in
            var found: UInt32?
            _ = store.findInChain(note.vsid, note.mac, special: true) {
                let machine = store.tables.records[$0]
                // IPv4's before IPv6's; there is at most one of each.
                if machine.type == LookupRecord.l2Only, machine.pa == note.pa, found == nil || machine.ca.isV4 { found = $0 }
                return false
            }
            guard let l2Only = found else { return nil }
            let record = LookupRecord(
                vsid: note.vsid, ca: note.ca, mac: note.mac, pa: note.pa, rule: store.tables.records[l2Only].rule,
                type: LookupRecord.dynamic, texts: 0, flags: LookupRecord.unsynchronized)
            let known = store.record(note.vsid, note.ca, note.mac)
            let (refusal, made) = store.learn(record, over: known, limit)
            learning = made
            return refusal
        }
        // The change that a stalled worker does not see yet is made all the same.
        return failure?.code == APUS_ERR_STALLED.rawValue ? (nil, learning) : (failure, failure == nil ? learning : nil)
    }

    private mutating func learn(
        _ record: LookupRecord, over known: UInt32?, _ limit: UInt32
    ) -> (failure: Failure?, learning: Learning?) {
        var result = Learning(kind: APUS_EVENT_RECORD_LEARNED)
        var isNew = true
        if let known {
            let old = tables.records[known]
            if old.mac == record.mac, old.pa == record.pa { return (nil, nil) }
            result.kind = old.isDynamic ? APUS_EVENT_RECORD_MOVED : APUS_EVENT_RECORD_CONFLICT
            (result.previousMAC, result.previousPA) = (old.mac, old.pa)
            if !old.isDynamic { return (nil, result) }
            isNew = old.mac != record.mac
        }
        result.count = countDynamic(record.vsid, record.mac)
        if isNew {
            if result.count >= limit {
                result.kind = APUS_EVENT_LEARN_LIMIT
                return (nil, result)
            }
            result.count &+= 1
            result.crossesThreshold =
                result.count.u64 &* 5 >= limit.u64 &* 4 && (result.count &- 1).u64 &* 5 < limit.u64 &* 4
        }
        let failure = known.map { replaceRecord($0, with: record, nil) } ?? put(record, nil)
        return (failure, result)
    }

    private func countDynamic(_ vsid: UInt32, _ mac: MACAddress) -> UInt32 {
        var count: UInt32 = 0
        _ = findInChain(vsid, mac, special: false) {
            if tables.records[$0].isDynamic { count &+= 1 }
            return false
        }
        return count
    }
}
