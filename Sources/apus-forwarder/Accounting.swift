// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

/// Where every frame went, from the devices through the dataplane to the devices.
struct Accounting {
    struct PortLine {
        let name: String
        let device: String
        let core: apus_port_stats
        let ethdev: apus_dpdk_stats

        /// Received, but not given to the dataplane.
        var rxLost: UInt64 { ethdev.rx_no_buffer + ethdev.rx_malformed + ethdev.rx_refused }
        /// Sent by the dataplane, but not taken by the device.
        var txLost: UInt64 { ethdev.tx_full + ethdev.tx_too_long + ethdev.tx_segmented }

        var isBalanced: Bool {
            ethdev.received == rxLost + core.received && core.transmitted == txLost + ethdev.transmitted
        }

        /// The columns of the table.
        var columns: [UInt64] {
            [ethdev.received, rxLost, core.received, core.dropped, core.transmitted, txLost, ethdev.transmitted]
        }
    }

    /// What of the lines above went through an external port that another one carries.
    struct CarriedLine {
        let port: CarriedPort
        let core: apus_port_stats
    }

    struct Drop {
        let name: String
        let text: String
        let count: UInt64
    }

    let ports: [PortLine]
    let carried: [CarriedLine]
    let totals: apus_stats
    let events: EventCounts
    /// Sent to ports that have no device.
    let lost: UInt64

    init(_ host: Host) throws {
        var totals = apus_stats()
        totals.size = MemoryLayout<apus_stats>.size
        let result = unsafe apus_stats_get(host.dataplane, &totals)
        if result != 0 { throw HostError("the counters cannot be read", result) }
        ports = try host.ports.map { port in
            var core = apus_port_stats()
            core.size = MemoryLayout<apus_port_stats>.size
            var ethdev = apus_dpdk_stats()
            ethdev.size = MemoryLayout<apus_dpdk_stats>.size
            let results = unsafe (
                apus_port_stats_get(host.dataplane, port.id, &core), apus_dpdk_device_stats_get(port.device, &ethdev)
            )
            if results != (0, 0) { throw HostError("port \(port.name): its counters cannot be read", results.0) }
            return PortLine(name: port.name, device: port.deviceName, core: core, ethdev: ethdev)
        }
        carried = try host.carriedPorts.map { port in
            var core = apus_port_stats()
            core.size = MemoryLayout<apus_port_stats>.size
            let result = unsafe apus_port_stats_get(host.dataplane, port.id, &core)
            if result != 0 { throw HostError("port \(port.name): its counters cannot be read", result) }
            return CarriedLine(port: port, core: core)
        }
        self.totals = totals
        events = host.events.counts
        lost = host.lostWithoutDevice
    }

    /// The reasons for which frames were dropped.
    var drops: [Drop] {
        let counts = unsafe withUnsafeBytes(of: totals.drops) { unsafe Array($0.bindMemory(to: UInt64.self)) }
        return counts.enumerated().filter { $0.element > 0 }.map { reason, count in
            unsafe Drop(
                name: String(cString: apus_drop_reason_name(UInt32(reason))),
                text: String(cString: apus_drop_reason_text(UInt32(reason))), count: count)
        }
    }

    /// Every row and the totals add up.
    var isBalanced: Bool {
        totals.received + totals.generated == totals.transmitted + totals.consumed + totals.dropped + totals.held
            && totals.dropped == drops.reduce(0) { $0 + $1.count }
            && totals.received == ports.reduce(0) { $0 + $1.core.received }
            && totals.transmitted == ports.reduce(lost) { $0 + $1.core.transmitted }
            && ports.allSatisfy(\.isBalanced)
    }

    // MARK: - For people

    var table: String {
        var rows = [
            ["port", "device", "device in", "rx lost", "received", "dropped", "transmitted", "tx lost", "device out"]
        ]
        rows += ports.map { [$0.name, $0.device] + $0.columns.map(String.init) }
        let sums = ports.reduce(into: [UInt64](repeating: 0, count: 7)) { sums, port in
            for (index, value) in port.columns.enumerated() { sums[index] += value }
        }
        rows.append(["total", ""] + sums.map(String.init))
        var text = aligned(rows, words: 2)
        if !carried.isEmpty {
            let lines = carried.map { line in
                [line.port.name, "VLAN \(line.port.vlan) of \(line.port.parent)"]
                    + [line.core.received, line.core.dropped, line.core.transmitted].map(String.init)
            }
            text += "\n" + aligned([["in it", "", "received", "dropped", "transmitted"]] + lines, words: 2)
        }
        text += "\n" + totals.table
        let events = events.named.filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }
        if !events.isEmpty { text += "events: \(events.joined(separator: ", "))\n" }
        for drop in drops { text += "  dropped \(drop.count)  \(drop.name): \(drop.text)\n" }
        if lost > 0 { text += "  lost \(lost)  to ports without a device\n" }
        return text + (isBalanced ? "Every frame is accounted for." : "THIS DOES NOT ADD UP")
    }

    // MARK: - For programs

    var json: JSON {
        .object([
            (
                "ports",
                .object(
                    ports.map { port in
                        (
                            port.name,
                            .numbers([
                                ("received", port.core.received), ("received_bytes", port.core.received_bytes),
                                ("transmitted", port.core.transmitted),
                                ("transmitted_bytes", port.core.transmitted_bytes), ("dropped", port.core.dropped),
                                ("device_received", port.ethdev.received),
                                ("device_transmitted", port.ethdev.transmitted), ("rx_dropped", port.rxLost),
                                ("tx_dropped", port.txLost),
                            ])
                        )
                    })
            ),
            (
                "carried",
                .object(
                    carried.map { line in
                        (
                            line.port.name,
                            .numbers([
                                ("received", line.core.received), ("received_bytes", line.core.received_bytes),
                                ("transmitted", line.core.transmitted),
                                ("transmitted_bytes", line.core.transmitted_bytes), ("dropped", line.core.dropped),
                            ])
                        )
                    })
            ),
            ("drops", .numbers(drops.map { ($0.name, $0.count) })),
            ("events", .numbers(events.named)),
            ("totals", .numbers(totals.counters)),
        ])
    }
}

/// Lines of columns; the first `words` columns are words, the others numbers.
func aligned(_ rows: [[String]], words: Int) -> String {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        row.enumerated().map { column, cell in
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            return column < words ? cell + padding : padding + cell
        }.joined(separator: "  ") + "\n"
    }.joined()
}

/// The lines of --stats.
final class Rates {
    private let host: Host
    private let seconds: UInt32
    private var last: Accounting?
    private var lastTime: UInt64

    init(host: Host, seconds: UInt32) {
        self.host = host
        self.seconds = seconds
        lastTime = rte_get_timer_cycles()
    }

    func printIfDue() {
        let now = rte_get_timer_cycles()
        guard now - lastTime >= UInt64(seconds) * rte_get_timer_hz(), let account = try? Accounting(host) else {
            return
        }
        let elapsed = Double(now - lastTime) / Double(rte_get_timer_hz())
        func rate(_ value: UInt64, _ before: UInt64?) -> String {
            // After a reload that put a port anew its counters begin at 0.
            String(Int((Double(value >= before ?? 0 ? value - (before ?? 0) : value) / elapsed).rounded()))
        }
        var rows = [["port", "rx/s", "tx/s", "dropped/s", "tx lost/s"]]
        for (index, port) in account.ports.enumerated() {
            let before = last?.ports[index]
            rows.append([
                port.name, rate(port.core.received, before?.core.received),
                rate(port.core.transmitted, before?.core.transmitted), rate(port.core.dropped, before?.core.dropped),
                rate(port.txLost, before?.txLost),
            ])
        }
        for line in account.carried {
            let before = last?.carried.first { $0.port.id == line.port.id }?.core
            rows.append([
                line.port.name, rate(line.core.received, before?.received), rate(line.core.transmitted, before?.transmitted),
                rate(line.core.dropped, before?.dropped), "",
            ])
        }
        let before = Dictionary(uniqueKeysWithValues: (last?.drops ?? []).map { ($0.name, $0.count) })
        let drops = account.drops.filter { $0.count > before[$0.name] ?? 0 }
            .map { "  \($0.count - (before[$0.name] ?? 0)) \($0.name)\n" }
        Console.print(aligned(rows, words: 1) + drops.joined())
        last = account
        lastTime = now
    }
}
