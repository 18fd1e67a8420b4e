// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics

// Structs that begin with `size`. The first version is the present one, so its size is the least that is accepted.

/// Copy the caller's struct, or what is left of it in this version; 0 or why it is refused. NULL = all defaults.
func readStruct<Value: BitwiseCopyable>(_ pointer: UnsafePointer<Value>?, into copy: inout Value) -> Int32 {
    guard let pointer = unsafe pointer else { return 0 }
    let size = unsafe apus_load64(pointer).int
    let known = MemoryLayout<Value>.size
    guard size >= known, size <= 65536 else { return APUS_ERR_SIZE.rawValue }
    let bytes = unsafe UnsafeRawPointer(pointer)
    var offset = known
    while offset < size {
        if unsafe bytes.load(fromByteOffset: offset, as: UInt8.self) != 0 { return APUS_ERR_UNKNOWN_FIELD.rawValue }
        offset = offset &+ 1
    }
    unsafe withUnsafeMutablePointer(to: &copy) { unsafe apus_copy($0, bytes, known) }
    return 0
}

/// Fill the caller's struct, but for its `size`; 0 or why not.
func writeStruct<Value: BitwiseCopyable>(_ value: Value, to pointer: UnsafeMutablePointer<Value>?) -> Int32 {
    guard let pointer = unsafe pointer else { return APUS_ERR_NULL.rawValue }
    let size = unsafe apus_load64(pointer).int
    let known = MemoryLayout<Value>.size
    guard size >= known, size <= 65536 else { return APUS_ERR_SIZE.rawValue }
    let bytes = UnsafeMutableRawPointer(pointer)
    unsafe withUnsafePointer(to: value) { unsafe apus_copy(bytes + 8, UnsafeRawPointer($0) + 8, known &- 8) }
    if size > known { unsafe apus_zero(bytes + known, size &- known) }
    return 0
}
