// SPDX-License-Identifier: Apache-2.0

import CApusDPDK

/// The environment abstraction layer: started and stopped here, and nowhere in the libraries.
enum EAL {
    static func start(_ arguments: [String]) throws {
        // The EAL keeps pointers into its arguments, and changes their order: they live as long as the process.
        let list = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: arguments.count + 1)
        for (index, argument) in arguments.enumerated() {
            unsafe list[index] = duplicate(argument)
        }
        unsafe list[arguments.count] = nil
        guard unsafe rte_eal_init(Int32(arguments.count), list) >= 0 else {
            throw HostError("rte_eal_init: \(unsafe String(cString: rte_strerror(apus_rte_errno())))")
        }
    }

    static func stop() { _ = rte_eal_cleanup() }

    private static func duplicate(_ text: String) -> UnsafeMutablePointer<CChar> {
        let bytes = text.utf8CString
        let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
        _ = unsafe copy.initialize(from: bytes)
        return copy.baseAddress!
    }
}
