// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus

/// What became of every frame of a replay.
struct Accounting {
    struct PortLine {
        let name: String
        let kind: apus_port_kind
        /// The port whose frames those of this one are, and their VLAN; nil: it has frames of its own.
        let place: (parent: String, vlan: UInt16)?
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
        func lines(_ ports: [PortLine]) -> String {
            let lines = ports.map { port in
                let partial = port.place == nil ? [("partial_frames", UInt64(port.partialFrames))] : []
                let fields = [
                    ("received", port.counters.received), ("received_bytes", port.counters.received_bytes),
                    ("transmitted", port.counters.transmitted), ("transmitted_bytes", port.counters.transmitted_bytes),
                    ("dropped", port.counters.dropped),
                ]
                return "    \"\(port.name)\": \(object(fields + partial))"
            }
            return lines.joined(separator: ",\n")
        }
        let carried = lines(ports.filter { $0.place != nil })
        return """
            {
              "ports": {
            \(lines(ports.filter { $0.place == nil }))
              },
              "carried": {\(carried.isEmpty ? "" : "\n\(carried)\n  ")},
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
        func row(_ port: PortLine, _ words: String) -> [String] {
            [port.name, words] + [port.counters.received, port.counters.transmitted, port.counters.dropped].map(String.init)
        }
        let kinds = [APUS_PORT_VM.rawValue: "vm", APUS_PORT_PROVIDER.rawValue: "provider", APUS_PORT_EXTERNAL.rawValue: "external"]
        for port in ports where port.place == nil { rows.append(row(port, kinds[port.kind.rawValue] ?? "")) }
        rows.append(["total", "", String(totals.received), String(totals.transmitted), String(totals.dropped)])
        // Their frames are among those above.
        for port in ports {
            if let place = port.place { rows.append(row(port, "external, VLAN \(place.vlan) of \(place.parent)")) }
        }
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
