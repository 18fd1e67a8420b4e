// SPDX-License-Identifier: Apache-2.0

import CApus

/// The host's packet buffers, `struct apus_buffers` of worker.h.
@safe
struct Buffers {
    private let callbacks: apus_buffers

    init(_ callbacks: apus_buffers) { unsafe self.callbacks = callbacks }

    /// A buffer for a frame of `length` bytes, at its start; nil when the host has none.
    @inline(never)
    func allocate(_ length: Int) -> Frame? {
        guard let allocate = unsafe callbacks.allocate else { return nil }
        var frame: apus_frame = unsafe apus_frame()
        guard unsafe allocate(callbacks.context, length.u32, &frame) == 0 else { return nil }
        guard length <= 0xFFFF, let data = unsafe frame.data, unsafe frame.contiguous >= length.u16 else { return nil }
        return unsafe Frame(
            address: UInt(bitPattern: data), buffer: UInt(bitPattern: frame.buffer), length: length.u32,
            contiguous: frame.contiguous, headroom: frame.headroom, port: 0, flags: APUS_FRAME_GENERATED)
    }

    /// Give back `count` buffers.
    @inline(__always)
    func release(_ buffers: Ref<UInt>, _ count: Int) {
        if let release = unsafe callbacks.release {
            let list = unsafe UnsafeRawPointer(buffers.raw).assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
            unsafe release(callbacks.context, list, count.u32)
        }
    }
}
