// SPDX-License-Identifier: Apache-2.0

import CApus

/// The operator's texts as they come from and go to the C structs.
typealias Text64 = InlineArray<64, UInt8>

extension Store {
    static var recordName: Words { "lookup record" }

    func record(_ vsid: UInt32, _ ca: IPAddress) -> UInt32? {
        tables.records.find(LookupRecord.hash(tables.key, vsid, ca), at: next) {
            tables.records[$0].ca == ca && tables.records[$0].vsid == vsid
        }
    }

    /// Add a record; its `texts` are replaced by a copy of `texts`, if given.
    mutating func addRecord(_ record: LookupRecord, texts: RecordTexts?) -> Failure? {
        change(Self.recordName) { store in
            if store.record(record.vsid, record.ca) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.recordName, "customer_address", .address(record.ca),
                    "has a record in this virtual subnet already")
            }
            guard store.retainSubnet(record.vsid) != nil, store.retainRemote(record.vsid, record.pa),
                store.insertRecord(record, texts)
            else { return .memory(Self.recordName) }
            store.invalidate(scope: store.scope(record.vsid))
            return nil
        }
    }

    mutating func setRecord(_ record: LookupRecord, texts: RecordTexts?) -> Failure? {
        change(Self.recordName) { store in
            guard let number = store.record(record.vsid, record.ca) else { return Self.recordMissing(record.ca) }
            let old = store.tables.records[number]
            if old.mac != record.mac {
                return Failure(
                    APUS_ERR_IMMUTABLE, Self.recordName, "mac", .mac(record.mac),
                    "differs from the record's; remove and add it instead")
            }
            if old.type != record.type {
                return Failure(
                    APUS_ERR_IMMUTABLE, Self.recordName, "type", .number(record.type.u64),
                    "differs from the record's; remove and add it instead")
            }
            guard store.retainRemote(record.vsid, record.pa), store.insertRecord(record, texts) else {
                return .memory(Self.recordName)
            }
            store.kill(number, .records, store.tables.records)
            store.releaseRemote(record.vsid, old.pa)
            store.invalidate(scope: store.scope(record.vsid))
            return nil
        }
    }

    mutating func removeRecord(_ vsid: UInt32, _ ca: IPAddress) -> Failure? {
        change(Self.recordName) { store in
            guard let number = store.record(vsid, ca) else { return Self.recordMissing(ca) }
            let old = store.tables.records[number]
            store.invalidate(scope: store.scope(vsid))
            store.kill(number, .records, store.tables.records)
            store.releaseRemote(vsid, old.pa)
            store.releaseSubnet(vsid)
            return nil
        }
    }

    static func recordMissing(_ ca: IPAddress) -> Failure {
        Failure(
            APUS_ERR_NOT_FOUND, recordName, "customer_address", .address(ca), "has no record in this virtual subnet")
    }

    private mutating func insertRecord(_ record: LookupRecord, _ texts: RecordTexts?) -> Bool {
        var copy = record
        if let texts {
            guard let number = takeTexts() else { return false }
            tables.texts[number].value = texts
            copy.texts = number &+ 1
        }
        if insert(copy, .records, tables.records) != nil { return true }
        giveBackTexts(copy.texts)
        return false
    }

    mutating func recycleRecord(_ number: UInt32) {
        giveBackTexts(tables.records[number].texts)
        tables.records.recycle(number)
    }

    private mutating func takeTexts() -> UInt32? {
        if firstFreeTexts == 0 { return tables.texts.append(memory) }
        let number = firstFreeTexts &- 1
        firstFreeTexts = tables.texts[number].value.nextFree
        return number
    }

    private mutating func giveBackTexts(_ link: UInt32) {
        if link == 0 { return }
        tables.texts[link &- 1].value.nextFree = firstFreeTexts
        firstFreeTexts = link
    }
}
