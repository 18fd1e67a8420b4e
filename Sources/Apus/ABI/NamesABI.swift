// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// version.h and error.h

@c @implementation
public func apus_version_number() -> UInt32 { apus_header_version() }

@c @implementation
public func apus_version_string() -> UnsafePointer<CChar>? { unsafe apus_version_text() }

@c @implementation
public func apus_build_info() -> UnsafePointer<CChar>? { unsafe apus_build_text() }

@c @implementation
public func apus_strerror(_ error: Int32) -> UnsafePointer<CChar>? { unsafe names(error).text.c }

@c @implementation
public func apus_error_name(_ error: Int32) -> UnsafePointer<CChar>? { unsafe names(error).name.c }

private func names(_ error: Int32) -> (name: Words, text: Words) {
    switch error {
    case APUS_OK.rawValue: ("APUS_OK", "success")
    case APUS_ERR_NULL.rawValue: ("APUS_ERR_NULL", "a required pointer is NULL")
    case APUS_ERR_SIZE.rawValue: ("APUS_ERR_SIZE", "a struct's size field is wrong")
    case APUS_ERR_UNKNOWN_FIELD.rawValue:
        ("APUS_ERR_UNKNOWN_FIELD", "a field or flag is set that this version does not know")
    case APUS_ERR_STALE.rawValue: ("APUS_ERR_STALE", "the handle was destroyed or never valid")
    case APUS_ERR_BUSY.rawValue: ("APUS_ERR_BUSY", "another call is inside this object")
    case APUS_ERR_MEMORY.rawValue: ("APUS_ERR_MEMORY", "out of memory")
    case APUS_ERR_LIMIT.rawValue: ("APUS_ERR_LIMIT", "a documented limit is reached")
    case APUS_ERR_CPU.rawValue: ("APUS_ERR_CPU", "the CPU lacks an instruction set that the library needs")
    case APUS_ERR_FAMILY.rawValue: ("APUS_ERR_FAMILY", "unknown or unsuitable address family")
    case APUS_ERR_PREFIX.rawValue: ("APUS_ERR_PREFIX", "invalid prefix length")
    case APUS_ERR_CONFLICT.rawValue: ("APUS_ERR_CONFLICT", "the object contradicts another one")
    case APUS_ERR_ADDRESS.rawValue: ("APUS_ERR_ADDRESS", "an address of this kind cannot stand here")
    case APUS_ERR_PORT_KIND.rawValue: ("APUS_ERR_PORT_KIND", "the port is of the wrong kind")
    case APUS_ERR_IMMUTABLE.rawValue: ("APUS_ERR_IMMUTABLE", "the field cannot be changed")
    case APUS_ERR_VSID.rawValue: ("APUS_ERR_VSID", "the virtual subnet ID is reserved or too large")
    case APUS_ERR_RULE.rawValue: ("APUS_ERR_RULE", "invalid rule or record type")
    case APUS_ERR_DUPLICATE.rawValue: ("APUS_ERR_DUPLICATE", "an object with this key exists already")
    case APUS_ERR_NOT_FOUND.rawValue: ("APUS_ERR_NOT_FOUND", "no object with this key exists")
    case APUS_ERR_RANGE.rawValue: ("APUS_ERR_RANGE", "a number is outside its accepted range")
    case APUS_ERR_MAC.rawValue: ("APUS_ERR_MAC", "the MAC address is zero or a group address")
    case APUS_ERR_TRANSACTION.rawValue: ("APUS_ERR_TRANSACTION", "no transaction is open, or one is already")
    case APUS_ERR_STALLED.rawValue: ("APUS_ERR_STALLED", "a worker did not leave its burst")
    case APUS_ERR_IN_USE.rawValue: ("APUS_ERR_IN_USE", "the object is used by another one")
    case APUS_ERR_SYNTAX.rawValue: ("APUS_ERR_SYNTAX", "the text cannot be read")
    default: ("APUS_ERR_?", "unknown error")
    }
}
