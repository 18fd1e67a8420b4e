// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// Records with the rule TranslationMethodNat: their provider address is that of one machine, which is found by it.

extension Store {
    /// Within a change, after a record was added: it may be rewritten, or shares its provider address with none that is.
    mutating func addRewrite(of record: LookupRecord) -> Failure? {
        if !record.isRewritten, tables.shared.value.rewrites.load(ordering: .relaxed) == 0 { return nil }
        let isShared = isShared(record.pa, vsid: record.vsid)
        if record.isRewritten ? isShared : rewrite(record.pa) != nil {
            return Failure(
                APUS_ERR_CONFLICT, Self.recordName, "provider_address", .address(record.pa),
                "is another record's, and one of them has the rule TranslationMethodNat")
        }
        if !record.isRewritten { return nil }
        guard insert(Rewrite(pa: record.pa, ca: record.ca, vsid: record.vsid), .rewrites, tables.rewrites) != nil else {
            return .memory(Self.recordName)
        }
        countRewrites(1)
        invalidateEverything()
        return nil
    }

    /// Within a change, before a record goes.
    mutating func removeRewrite(of record: LookupRecord) {
        guard record.isRewritten, let number = rewrite(record.pa) else { return }
        kill(number, .rewrites, tables.rewrites)
        invalidateEverything()
    }

    private func rewrite(_ pa: IPAddress) -> UInt32? {
        tables.rewrites.find(Rewrite.hash(tables.key, pa), at: next) { tables.rewrites[$0].pa == pa }
    }

    private func countRewrites(_ by: Int32) {
        let count = tables.shared.value.rewrites.load(ordering: .relaxed)
        tables.shared.value.rewrites.store(count &+ UInt32(bitPattern: by), ordering: .relaxed)
    }

    /// An entry counts from its first version to the recycling of its last.
    mutating func recycleRewrite(_ number: UInt32) {
        countRewrites(-1)
        tables.rewrites.recycle(number)
    }
}
