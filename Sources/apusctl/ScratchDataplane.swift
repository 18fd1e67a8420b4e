// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// A dataplane of one policy file, for as long as the command runs. It hashes with a fixed key, so that every run of
/// the same input gives the same result.
@safe
final class ScratchDataplane {
    let pointer: OpaquePointer
    /// The number of each port.
    let ports: [String: UInt32]

    init(_ file: PolicyFile) throws {
        var options = unsafe apus_dataplane_opts()
        unsafe options.size = MemoryLayout<apus_dataplane_opts>.size
        unsafe file.fill(&options)
        unsafe options.hash_key = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)

        var created: OpaquePointer?
        let reason = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
            unsafe options.error_text = text.baseAddress
            unsafe options.error_text_size = text.count
            return unsafe apus_dataplane_create(&options, &created) == 0 ? nil : String(cString: text.baseAddress!)
        }
        guard let created = unsafe created else { throw Refusal("\(file.name): settings: \(reason ?? "")") }
        unsafe pointer = unsafe created
        do {
            ports = unsafe try file.apply(to: created)
        } catch {
            unsafe apus_dataplane_destroy(created)
            throw error
        }
    }

    deinit {
        unsafe apus_dataplane_destroy(pointer)
    }
}
