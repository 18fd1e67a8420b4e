// SPDX-License-Identifier: Apache-2.0

/// Numbered values whose addresses never change. Grows chunk by chunk, up to `capacity` values.
///
/// One writer. A reader may use number `n` once it has learned it through an acquiring load that follows the
/// writer's releasing store of `n` (an ``IndexTable`` does both). The two directory levels are small enough to stay
/// in the nearest caches: 512 leaves of 256 chunks of 256 values.
struct Slab<Value: ~Copyable>: BitwiseCopyable {
    private struct State {
        /// First: what the writer alone reads. See ``IndexTable``.
        var count: Int
        var leaves: InlineArray<512, UInt>
    }

    private let state: Ref<State>

    static var capacity: Int { 512 &* 256 &* chunkSize }
    private static var chunkSize: Int { 256 }

    init?(_ memory: Ref<Memory>) {
        guard let state = memory.value.allocateZeroed(State.self, count: 1) else { return nil }
        self.state = state
    }

    func destroy(_ memory: Ref<Memory>) {
        var leaf = 0
        while leaf < 512 {
            if let chunks = Ref<UInt>(address: unsafe state.value.leaves[unchecked: leaf]) {
                var chunk = 0
                while chunk < 256 {
                    if let values = Ref<Value>(address: chunks[chunk]) {
                        memory.value.release(values, count: Self.chunkSize)
                    }
                    chunk &+= 1
                }
                memory.value.release(chunks, count: 256)
            }
            leaf &+= 1
        }
        memory.value.release(state, count: 1)
    }

    /// Numbers given so far: 0 ..< count.
    var count: Int { state.value.count }

    /// The place of value `number`, which has been given by `append`.
    @inline(__always)
    subscript(number: UInt32) -> Ref<Value> {
        let n = number.int
        let chunks = unsafe UnsafeMutablePointer<UInt>(bitPattern: state.value.leaves[unchecked: n &>> 16 & 511])
            .unsafelyUnwrapped
        let chunk = unsafe UnsafeMutablePointer<Value>(bitPattern: chunks[n &>> 8 & 255]).unsafelyUnwrapped
        return unsafe Ref(chunk + (n & 255))
    }

    /// The next number, its place uninitialized (zero on first use). nil: no memory, or full. Writer only.
    func append(_ memory: Ref<Memory>) -> UInt32? {
        let n = state.value.count
        if n >= Self.capacity { return nil }
        if unsafe state.value.leaves[unchecked: n &>> 16] == 0 {
            guard let chunks = memory.value.allocateZeroed(UInt.self, count: 256) else { return nil }
            unsafe state.value.leaves[unchecked: n &>> 16] = chunks.address
        }
        guard let chunks = Ref<UInt>(address: unsafe state.value.leaves[unchecked: n &>> 16]) else { return nil }
        if chunks[n &>> 8 & 255] == 0 {
            guard let chunk = memory.value.allocateZeroed(Value.self, count: Self.chunkSize) else { return nil }
            chunks[n &>> 8 & 255] = chunk.address
        }
        state.value.count &+= 1
        return n.u32
    }
}
