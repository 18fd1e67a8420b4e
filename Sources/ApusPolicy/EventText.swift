// SPDX-License-Identifier: Apache-2.0

public import CApus

// What programs that embed a dataplane say of what it learned.

extension apus_event {
    /// An event to be filled by `apus_event_poll()`.
    public static var empty: apus_event {
        var event = apus_event()
        event.size = MemoryLayout<apus_event>.size
        return event
    }

    /// "RECORD_LEARNED"
    public var name: String { unsafe String(cString: apus_event_name(kind)) }

    /// "learned 10.0.1.105: 60:00:60:00:02:05 in virtual subnet 6000, on the host 192.168.0.33 (1 of 256)"
    public var text: String {
        let machine = "\(mac.text) in virtual subnet \(virtual_subnet_id), on the host \(provider_address.text)"
        let previous = "\(previous_mac.text) on the host \(previous_provider_address.text)"
        let number = "(\(count) of \(limit))"
        switch kind {
        case APUS_EVENT_RECORD_LEARNED.rawValue: return "learned \(customer_address.text): \(machine) \(number)"
        case APUS_EVENT_RECORD_MOVED.rawValue:
            return "moved \(customer_address.text): now \(machine), before \(previous) \(number)"
        case APUS_EVENT_RECORD_CONFLICT.rawValue:
            return "conflict \(customer_address.text): claimed by \(machine), but its record says \(previous)"
        case APUS_EVENT_LEARN_LIMIT.rawValue:
            return "limit \(customer_address.text) was not learned: \(machine) has as many addresses as it may \(number)"
        case APUS_EVENT_LEARN_THRESHOLD.rawValue:
            return "limit near: \(machine) has 80 % of the addresses that it may have \(number)"
        case APUS_EVENT_LEARN_THROTTLED.rawValue:
            return "throttled: addresses were not learned, because there were too many in a second: \(machine)"
        case APUS_EVENT_LOST.rawValue: return "lost \(count) events"
        case APUS_EVENT_ADDRESS_PREFERRED.rawValue: return "provider address \(provider_address.text) is nobody else's"
        case APUS_EVENT_ADDRESS_DUPLICATE.rawValue:
            return "provider address \(provider_address.text) is not used: \(mac.text) has it too"
        case APUS_EVENT_ADDRESS_CONFLICT.rawValue:
            return "provider address \(provider_address.text) is claimed by \(mac.text)"
        case APUS_EVENT_NVE_REDIRECT.rawValue:
            return "host \(previous_provider_address.text) says that \(customer_address.text) in virtual subnet "
                + "\(virtual_subnet_id) is now on the host \(provider_address.text)"
        case APUS_EVENT_NVE_UNREACHABLE.rawValue:
            return "host \(previous_provider_address.text) has no policy for \(customer_address.text) in virtual subnet "
                + "\(virtual_subnet_id)"
        default: return "event \(kind)"
        }
    }
}

/// How many events of each kind there were.
public struct EventCounts: Sendable {
    private var counts = [UInt64](repeating: 0, count: Int(APUS_EVENT_KIND_COUNT.rawValue))

    public init() {}

    public mutating func count(_ event: apus_event) {
        if event.kind < counts.count { counts[Int(event.kind)] += 1 }
    }

    /// "RECORD_LEARNED": 3
    public var named: [(String, UInt64)] {
        counts.indices
            .map { kind in (unsafe String(cString: apus_event_name(UInt32(kind))), counts[kind]) }
            .filter { !$0.0.isEmpty }
    }

    public var total: UInt64 { counts.reduce(0, +) }
}
