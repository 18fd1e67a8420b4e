// SPDX-License-Identifier: Apache-2.0

public import CApus

extension apus_stats {
    /// Every counter but `drops`, by its name in stats.h and in its order.
    public var counters: [(name: String, value: UInt64)] {
        [
            ("received", received), ("transmitted", transmitted), ("generated", generated), ("consumed", consumed),
            ("dropped", dropped), ("held", held), ("received_bytes", received_bytes),
            ("transmitted_bytes", transmitted_bytes), ("encapsulated", encapsulated), ("decapsulated", decapsulated),
            ("switched", switched), ("rewritten", rewritten), ("routed", routed), ("flow_hits", flow_hits),
            ("flow_misses", flow_misses), ("flow_inserts", flow_inserts), ("flow_evictions", flow_evictions),
            ("flow_suppressed", flow_suppressed), ("flow_entries", flow_entries), ("arp_replies", arp_replies),
            ("arp_requests", arp_requests), ("echo_replies", echo_replies),
            ("router_advertisements", router_advertisements), ("icmp_errors", icmp_errors),
            ("path_mtu_updates", path_mtu_updates), ("icmp_suppressed", icmp_suppressed), ("fragmented", fragmented),
            ("replicated", replicated), ("learned", learned), ("learn_throttled", learn_throttled),
            ("events_lost", events_lost), ("address_probes", address_probes),
            ("address_conflicts", address_conflicts), ("control_messages", control_messages),
            ("unreachable_sent", unreachable_sent), ("bursts", bursts),
        ]
    }

    /// The equation that must hold, and all other counters below it, a few on each line, for people.
    public var table: String {
        let equation =
            "received \(received) + generated \(generated) = transmitted \(transmitted) + consumed \(consumed) "
            + "+ dropped \(dropped) + held \(held)\n"
        // The equation has the first six.
        let words = counters.dropFirst(6).map { counter in
            counter.name.split(separator: "_").joined(separator: " ") + " \(counter.value)"
        }
        var text = equation
        var width = 0
        for (index, word) in words.enumerated() {
            text += word
            width += word.utf8.count + 2
            let isFull = width + (index + 1 < words.count ? words[index + 1].utf8.count : 0) > 110
            text += index + 1 == words.count ? "\n" : isFull ? ",\n" : ", "
            if isFull { width = 0 }
        }
        return text
    }
}
