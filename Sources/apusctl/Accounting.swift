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
    let events: EventCounts

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
              "events": \(object(events.named)),
              "totals": \(object(totals.counters)),
              "balanced": \(isBalanced)
            }

            """
    }

    /// Port names and counters need no escapes: policy files accept only harmless characters in them.
    private func object(_ fields: [(name: String, value: UInt64)]) -> String {
        "{" + fields.map { "\"\($0.name)\": \($0.value)" }.joined(separator: ", ") + "}"
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

        text += "\n" + totals.table + (isBalanced ? "" : "DOES NOT ADD UP\n")
        let events = events.named.filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }
        if !events.isEmpty { text += "events: \(events.joined(separator: ", "))\n" }
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
