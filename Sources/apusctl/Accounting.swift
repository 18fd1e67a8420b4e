// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// What became of every frame of a replay.
struct Accounting {
    struct PortLine {
        let name: String
        let kind: apus_port_kind
        let counters: apus_port_stats
        /// Frames of the capture that were left out because it has only a part of them.
        let partialFrames: Int
    }

    struct Drop {
        let name: String
        let text: String
        let count: UInt64
    }

    let ports: [PortLine]
    let totals: apus_stats

    /// The reasons for which frames were dropped, most frequent first.
    var drops: [Drop] {
        let counts = unsafe withUnsafeBytes(of: totals.drops) { unsafe Array($0.bindMemory(to: UInt64.self)) }
        let drops = counts.enumerated().filter { $0.element > 0 }.map { reason, count in
            unsafe Drop(
                name: String(cString: apus_drop_reason_name(UInt32(reason))),
                text: String(cString: apus_drop_reason_text(UInt32(reason))), count: count)
        }
        let sorted = drops.enumerated().sorted { ($1.element.count, $0.offset) < ($0.element.count, $1.offset) }
        return sorted.map(\.element)
    }

    /// Every frame that came in or was made has ended somewhere.
    var isBalanced: Bool {
        totals.received + totals.generated == totals.transmitted + totals.consumed + totals.dropped + totals.held
            && totals.dropped == drops.reduce(0) { $0 + $1.count }
    }

    /// The counters of `struct apus_stats`, by their names.
    private static let counters: [(name: String, value: @Sendable (apus_stats) -> UInt64)] = [
        ("received", { $0.received }), ("transmitted", { $0.transmitted }), ("generated", { $0.generated }),
        ("consumed", { $0.consumed }), ("dropped", { $0.dropped }), ("held", { $0.held }),
        ("received_bytes", { $0.received_bytes }), ("transmitted_bytes", { $0.transmitted_bytes }),
        ("encapsulated", { $0.encapsulated }), ("decapsulated", { $0.decapsulated }),
        ("switched", { $0.switched }), ("routed", { $0.routed }),
        ("flow_hits", { $0.flow_hits }), ("flow_misses", { $0.flow_misses }), ("flow_inserts", { $0.flow_inserts }),
        ("flow_evictions", { $0.flow_evictions }), ("flow_suppressed", { $0.flow_suppressed }),
        ("flow_entries", { $0.flow_entries }), ("arp_replies", { $0.arp_replies }),
        ("arp_requests", { $0.arp_requests }), ("echo_replies", { $0.echo_replies }),
        ("router_advertisements", { $0.router_advertisements }),
        ("icmp_errors", { $0.icmp_errors }), ("icmp_suppressed", { $0.icmp_suppressed }),
        ("fragmented", { $0.fragmented }), ("replicated", { $0.replicated }), ("learned", { $0.learned }),
        ("learn_throttled", { $0.learn_throttled }), ("events_lost", { $0.events_lost }),
        ("address_probes", { $0.address_probes }), ("address_conflicts", { $0.address_conflicts }),
        ("control_messages", { $0.control_messages }), ("unreachable_sent", { $0.unreachable_sent }), ("bursts", { $0.bursts }),
    ]

    // MARK: - For programs

    var json: String {
        let ports = ports.map { port in
            let fields = object([
                ("received", port.counters.received), ("received_bytes", port.counters.received_bytes),
                ("transmitted", port.counters.transmitted), ("transmitted_bytes", port.counters.transmitted_bytes),
                ("dropped", port.counters.dropped), ("partial_frames", UInt64(port.partialFrames)),
            ])
            return "    \"\(port.name)\": \(fields)"
        }
        return """
            {
              "ports": {
            \(ports.joined(separator: ",\n"))
              },
              "drops": \(object(drops.map { ($0.name, $0.count) })),
              "totals": \(object(Self.counters.map { ($0.name, $0.value(totals)) })),
              "balanced": \(isBalanced)
            }

            """
    }

    /// Port names and counters need no escapes: policy files accept only harmless characters in them.
    private func object(_ fields: [(String, UInt64)]) -> String {
        "{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
    }

    // MARK: - For people

    var table: String {
        var rows = [["port", "kind", "received", "transmitted", "dropped"]]
        for port in ports {
            rows.append([
                port.name, port.kind == APUS_PORT_VM ? "vm" : port.kind == APUS_PORT_PROVIDER ? "provider" : "external",
                String(port.counters.received), String(port.counters.transmitted), String(port.counters.dropped),
            ])
        }
        rows.append(["total", "", String(totals.received), String(totals.transmitted), String(totals.dropped)])
        var text = aligned(rows, left: 2)

        text += """

            received \(totals.received) + generated \(totals.generated) = transmitted \(totals.transmitted) \
            + consumed \(totals.consumed) + dropped \(totals.dropped) + held \(totals.held)\
            \(isBalanced ? "" : "   DOES NOT ADD UP")
            encapsulated \(totals.encapsulated), decapsulated \(totals.decapsulated), switched \(totals.switched), \
            routed \(totals.routed), ARP and ND answered \(totals.arp_replies), echo answered \(totals.echo_replies), \
            routers advertised \(totals.router_advertisements), fragmented \(totals.fragmented), \
            ICMP errors \(totals.icmp_errors)

            """
        if !drops.isEmpty {
            let rows = drops.map { [String($0.count), $0.name, $0.text] }
            text += "\ndropped because\n" + aligned(rows, left: 0, text: 1)
        }
        return text
    }

    /// Lines of columns; the first `left` columns and those from `text` on are words, the others numbers.
    private func aligned(_ rows: [[String]], left: Int, text: Int = .max) -> String {
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                if column == row.count - 1 && column >= text { return cell }
                return column < left || column >= text ? cell + padding : padding + cell
            }
            return cells.joined(separator: "  ") + "\n"
        }.joined()
    }
}
