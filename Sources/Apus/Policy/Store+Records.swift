// SPDX-License-Identifier: Apache-2.0

import CApus

/// The operator's texts as they come from and go to the C structs.
typealias Text64 = InlineArray<64, UInt8>

extension Store {
    static var recordName: Words { "lookup record" }

    /// The record with this key; the MAC is a part of it where the address is unspecified.
    @inline(never)
    func record(_ vsid: UInt32, _ ca: IPAddress, _ mac: MACAddress) -> UInt32? {
        if ca.isUnspecified {
            return findInChain(vsid, mac, special: true) { tables.records[$0].ca == ca }
        }
        return tables.records.find(LookupRecord.hash(tables.key, vsid, ca), at: next) {
            tables.records[$0].ca == ca && tables.records[$0].vsid == vsid
        }
    }

    func findInChain(_ vsid: UInt32, _ mac: MACAddress, special: Bool, _ matches: (UInt32) -> Bool) -> UInt32? {
        tables.records.findInChain(
            LookupRecord.hash(tables.key, vsid, mac, special: special), at: next,
            { tables.records[$0].isIn(vsid, mac, special: special) }, matches)
    }

    /// Ask for what adding a record will look at, which is in four places far from each other, before the rest of the record is checked.
    @_optimize(speed)
    func prefetch(_ vsid: UInt32, _ ca: IPAddress, _ mac: MACAddress) {
        tables.records.prefetchForInsertion(
            LookupRecord.hash(tables.key, vsid, ca),
            chain: LookupRecord.hash(tables.key, vsid, mac, special: ca.isUnspecified))
    }

    /// Add a record; its `texts` are replaced by a copy of `texts`, if given.
    mutating func addRecord(_ record: LookupRecord, texts: Ref<RecordTexts>?) -> Failure? {
        change(Self.recordName) { store in store.put(record, texts) }
    }

    /// Within a change: add a record.
    @_optimize(speed)
    mutating func put(_ record: LookupRecord, _ texts: Ref<RecordTexts>?) -> Failure? {
        guard let subnet = retainSubnet(record.vsid), retainRemote(of: record) else { return .memory(Self.recordName) }
        // Not before: where it would be may still be on its way from memory.
        if self.record(record.vsid, record.ca, record.mac) != nil {
            return Failure(
                APUS_ERR_DUPLICATE, Self.recordName, "customer_address", .address(record.ca),
                record.isSpecial
                    ? "has a record with this MAC in this virtual subnet already"
                    : "has a record in this virtual subnet already")
        }
        guard insertRecord(record, texts) else { return .memory(Self.recordName) }
        invalidate(record, in: tables.subnets[subnet].scope)
        return addRewrite(of: record)
    }

    /// What was decided by this record, whose virtual subnet has this scope, has to be decided again.
    private mutating func invalidate(_ record: LookupRecord, in scope: UInt32) {
        let gateway = tables.gateways.find(Gateway.hash(tables.key, vsid: record.vsid, record.ca), at: next) {
            tables.gateways[$0].vsid == record.vsid && tables.gateways[$0].address == record.ca
        }
        // A gateway's MAC decides about packets to other addresses; what has no address is found by others.
        if record.isSpecial || gateway != nil { return invalidate(scope: scope) }
        log(.touched, .recordAddresses, Scopes.of(address: record.ca.foldedAsInPackets))
        log(.touched, .recordScopes, scope)
    }

    /// Within a change: another record of the same virtual subnet takes this one's place.
    mutating func replaceRecord(_ number: UInt32, with record: LookupRecord, _ texts: Ref<RecordTexts>?) -> Failure? {
        let old = tables.records[number]
        guard retainRemote(of: record), insertRecord(record, texts) else { return .memory(Self.recordName) }
        removeRewrite(of: old)
        kill(number, .records, tables.records)
        releaseRemote(of: old)
        invalidate(record, in: scope(record.vsid))
        return addRewrite(of: record)
    }

    mutating func setRecord(_ record: LookupRecord, texts: Ref<RecordTexts>?) -> Failure? {
        change(Self.recordName) { store in
            guard let number = store.record(record.vsid, record.ca, record.mac) else {
                return Self.recordMissing(record.ca)
            }
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
            return store.replaceRecord(number, with: record, texts)
        }
    }

    mutating func removeRecord(_ vsid: UInt32, _ ca: IPAddress, _ mac: MACAddress) -> Failure? {
        change(Self.recordName) { store in
            guard let number = store.record(vsid, ca, mac) else { return Self.recordMissing(ca) }
            let old = store.tables.records[number]
            store.invalidate(old, in: store.scope(vsid))
            store.removeRewrite(of: old)
            store.kill(number, .records, store.tables.records)
            store.releaseRemote(of: old)
            store.releaseSubnet(vsid)
            return nil
        }
    }

    static func recordMissing(_ ca: IPAddress) -> Failure {
        Failure(
            APUS_ERR_NOT_FOUND, recordName, "customer_address", .address(ca),
            ca.isUnspecified
                ? "has no record with this MAC in this virtual subnet" : "has no record in this virtual subnet")
    }

    private mutating func insertRecord(_ record: LookupRecord, _ texts: Ref<RecordTexts>?) -> Bool {
        var copy = record
        if let texts {
            guard let number = takeTexts() else { return false }
            tables.texts[number].value = texts.value
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
