// SPDX-License-Identifier: Apache-2.0

import CApus

/// Why a control call is refused: an error code, and the words for its text: object, field, value, what is accepted.
///
/// Swift's `throws` calls into the runtime; this is a plain value that is returned.
struct Failure {
    enum Value {
        case none
        case number(UInt64)
        case address(IPAddress)
        case prefix(IPAddress, UInt8)
        case mac(MACAddress)
        case guid(GUID)
    }

    var code: Int32
    var object: Words
    var field: Words
    var value: Value
    /// "is outside 4096-16777214", "exists already", ...
    var problem: Words
    /// The other object that the problem speaks of.
    var other: Value

    init(
        _ code: apus_error, _ object: Words, _ field: Words, _ value: Value, _ problem: Words, _ other: Value = .none
    ) {
        self.code = code.rawValue
        self.object = object
        self.field = field
        self.value = value
        self.problem = problem
        self.other = other
    }
}

extension Failure {
    static func memory(_ object: Words) -> Failure {
        Failure(APUS_ERR_MEMORY, object, "", .none, "the allocator gave no memory; nothing changed")
    }
}
