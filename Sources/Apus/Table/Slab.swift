// SPDX-License-Identifier: Apache-2.0

/// Numbered values whose addresses never change. Grows chunk by chunk, up to `capacity` values.
///
/// One writer. A reader may use number `n` once it has learned it through an acquiring load that follows the
/// writer's releasing store of `n` (an ``IndexTable`` does both). The two directory levels are small enough to stay
/// in the nearest caches: 512 leaves of 256 chunks of 256 values.
struct Slab<Value: ~Copyable>: BitwiseCopyable {
    private struct Leaf { var chunks: InlineArray<256, UInt> }

    private struct State {
        var leaves: InlineArray<512, UInt>
        var count: Int
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
            if let table = Ref<Leaf>(address: unsafe state.value.leaves[unchecked: leaf]) {
                var chunk = 0
                while chunk < 256 {
                    if let values = Ref<Value>(address: unsafe table.value.chunks[unchecked: chunk]) {
                        memory.value.release(values, count: Self.chunkSize)
                    }
                    chunk &+= 1
                }
                memory.value.release(table, count: 1)
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
        let leaf = unsafe Ref<Leaf>(UnsafeMutablePointer(bitPattern: state.value.leaves[unchecked: n &>> 16 & 511]).unsafelyUnwrapped)
        let chunk = unsafe UnsafeMutablePointer<Value>(bitPattern: leaf.value.chunks[unchecked: n &>> 8 & 255]).unsafelyUnwrapped
        return unsafe Ref(chunk + (n & 255))
    }

    /// The next number, its place uninitialized (zero on first use). nil: no memory, or full. Writer only.
    func append(_ memory: Ref<Memory>) -> UInt32? {
        let n = state.value.count
        if n >= Self.capacity { return nil }
        if unsafe state.value.leaves[unchecked: n &>> 16] == 0 {
            guard let leaf = memory.value.allocateZeroed(Leaf.self, count: 1) else { return nil }
            unsafe state.value.leaves[unchecked: n &>> 16] = leaf.address
        }
        guard let leaf = Ref<Leaf>(address: unsafe state.value.leaves[unchecked: n &>> 16]) else { return nil }
        if unsafe leaf.value.chunks[unchecked: n &>> 8 & 255] == 0 {
            guard let chunk = memory.value.allocateZeroed(Value.self, count: Self.chunkSize) else { return nil }
            unsafe leaf.value.chunks[unchecked: n &>> 8 & 255] = chunk.address
        }
        state.value.count &+= 1
        return n.u32
    }
}
