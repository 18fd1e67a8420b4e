// SPDX-License-Identifier: Apache-2.0

/// Numbered values whose addresses never change. Grows chunk by chunk, up to `capacity` values.
///
/// One writer. A reader may use number `n` once it has learned it through an acquiring load that follows the
/// writer's releasing store of `n` (an ``IndexTable`` does both). The two directory levels are small enough to stay
/// in the nearest caches: 512 leaves of 256 chunks of 256 values.
struct Slab<Value: ~Copyable>: BitwiseCopyable {
    /// Word 0: numbers given so far, for the writer alone. Then the addresses of the leaves. Plain words and not a struct:
    /// a store into a struct is to the thread sanitizer a change of the whole, which readers would be in the middle of.
    private let words: Ref<UInt>

    private static var leafCount: Int { 512 }
    static var capacity: Int { leafCount &* 256 &* chunkSize }
    private static var chunkSize: Int { 256 }

    init?(_ memory: Ref<Memory>) {
        guard let words = memory.value.allocateZeroed(UInt.self, count: 1 &+ Self.leafCount) else { return nil }
        self.words = words
    }

    func destroy(_ memory: Ref<Memory>) {
        var leaf = 0
        while leaf < Self.leafCount {
            if let chunks = Ref<UInt>(address: words[1 &+ leaf]) {
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
        memory.value.release(words, count: 1 &+ Self.leafCount)
    }

    /// Numbers given so far: 0 ..< count.
    var count: Int { words[0].int }

    /// The place of value `number`, which has been given by `append`.
    @inline(__always)
    subscript(number: UInt32) -> Ref<Value> {
        let n = number.int
        let chunks = unsafe UnsafeMutablePointer<UInt>(bitPattern: words[1 &+ (n &>> 16 & 511)]).unsafelyUnwrapped
        let chunk = unsafe UnsafeMutablePointer<Value>(bitPattern: chunks[n &>> 8 & 255]).unsafelyUnwrapped
        return unsafe Ref(chunk + (n & 255))
    }

    /// The next number, its place uninitialized (zero on first use). nil: no memory, or full. Writer only.
    func append(_ memory: Ref<Memory>) -> UInt32? {
        let n = count
        if n >= Self.capacity { return nil }
        if words[1 &+ (n &>> 16)] == 0 {
            guard let chunks = memory.value.allocateZeroed(UInt.self, count: 256) else { return nil }
            words[1 &+ (n &>> 16)] = chunks.address
        }
        guard let chunks = Ref<UInt>(address: words[1 &+ (n &>> 16)]) else { return nil }
        if chunks[n &>> 8 & 255] == 0 {
            guard let chunk = memory.value.allocateZeroed(Value.self, count: Self.chunkSize) else { return nil }
            chunks[n &>> 8 & 255] = chunk.address
        }
        words[0] &+= 1
        return n.u32
    }
}
