// SPDX-License-Identifier: Apache-2.0

import CApus

/// One step of an iteration over a table: what every `apus_..._iterate` does.
///
/// The cursor is the number of the next entry; entries never move, so objects that come or go meanwhile disturb
/// nothing. `isWanted` leaves out entries that are not the caller's; `fill` writes the one that was found.
func iterate<Value, Out>(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?, _ out: UnsafeMutablePointer<Out>?,
    _ minimum: Int, _ object: Words, _ table: (Tables) -> VersionedTable<Value>,
    where isWanted: (Value) -> Bool = { _ in true },
    fill: (Tables, UInt32, UnsafeMutablePointer<Out>, Int) -> Void
) -> Int32 {
    unsafe iteration(dataplane) { dataplane in
        let (failure, size) = unsafe sizeOfStruct(out, minimum: minimum, object)
        if let failure { return (failure, false) }
        guard let out = unsafe out, let cursor = unsafe cursor else { return (nullFailure(object, "cursor"), false) }
        let tables = dataplane.value.store.tables
        let entries = table(tables)
        while unsafe cursor.pointee < entries.numbers.u64 {
            let number = unsafe cursor.pointee.u32
            unsafe cursor.pointee &+= 1
            if entries.exists(number, at: dataplane.value.store.next), isWanted(entries[number]) {
                unsafe fill(tables, number, out, size)
                return (nil, true)
            }
        }
        return (nil, false)
    }
}
