// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

/// Lets the dataplane learn from what its workers saw, and says what it learned.
@safe
final class EventLog {
    /// Lines in a second; more tell nobody anything, and a tenant can cause them.
    private static let linesPerSecond = 20

    private(set) var counts = EventCounts()
    private let dataplane: OpaquePointer
    private var events = [apus_event](repeating: .empty, count: Int(APUS_EVENTS_MAX))
    private var second: UInt64 = 0
    private var lines = 0
    private var unprinted: UInt64 = 0

    init(_ dataplane: OpaquePointer) {
        unsafe self.dataplane = unsafe dataplane
    }

    /// Take what there is. To be called often, or what is in the rings of the workers is lost; packets to a new next hop outside
    /// wait for it.
    func poll() {
        let now = rte_get_timer_cycles() / rte_get_timer_hz()
        if now != second {
            if unprinted > 0 { Console.error("apus-forwarder: \(unprinted) more events in this second") }
            (second, lines, unprinted) = (now, 0, 0)
        }
        let count = unsafe events.withUnsafeMutableBufferPointer { events in
            unsafe apus_event_poll(dataplane, events.baseAddress, UInt32(events.count))
        }
        if count < 0 {
            Console.error("apus-forwarder: \(HostError("events", count))")
            return
        }
        for event in events.prefix(Int(count)) {
            counts.count(event)
            lines += 1
            if lines <= Self.linesPerSecond { Console.error("apus-forwarder: \(event.text)") } else { unprinted += 1 }
        }
    }
}
