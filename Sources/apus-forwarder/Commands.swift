// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

/// The commands of the control socket.
struct Commands {
    let host: Host
    let policy: String

    /// Lines longer than this many objects are cut off, and say so.
    private static let objectsMax = 1000

    func answer(_ line: String) -> JSON {
        switch line {
        case "stats": (try? Accounting(host).json) ?? .error("busy")
        case "ports": ports
        case "neighbours", "neighbors": neighbors
        case "records": records
        case "reload": reload()
        case "quit": quit()
        case "help":
            .object([
                (
                    "commands",
                    .array(["stats", "ports", "neighbours", "records", "reload", "help", "quit"].map { .text($0) })
                )
            ])
        default: .error("unknown command; try help")
        }
    }

    private func quit() -> JSON {
        StopRequest.set()
        return .object([("ok", .flag(true))])
    }

    private func reload() -> JSON {
        do {
            try host.reload(policy: policy)
            return .object([("ok", .flag(true))])
        } catch {
            return .error("\(error)")
        }
    }

    // MARK: - Lists

    private var ports: JSON {
        let words = [APUS_PORT_VM.rawValue: "vm", APUS_PORT_PROVIDER.rawValue: "provider", APUS_PORT_EXTERNAL.rawValue: "external"]
        let list = host.ports.map { port in
            var fields: [(String, JSON)] = [
                ("name", .text(port.name)), ("id", .number(UInt64(port.id))),
                ("kind", .text(words[port.kind.rawValue] ?? "?")), ("device", .text(port.deviceName)),
            ]
            if let info = unsafe host.info(of: port) {
                fields += unsafe [
                    ("rx_queues", .number(UInt64(info.rx_queues))), ("tx_queues", .number(UInt64(info.tx_queues))),
                    ("mtu", .number(UInt64(info.mtu))), ("rss", .flag(info.rss != 0)),
                    ("link_up", .flag(info.link_up != 0)),
                ]
            }
            return JSON.object(fields)
        }
        let carried = host.carriedPorts.map { port in
            JSON.object([
                ("name", .text(port.name)), ("id", .number(UInt64(port.id))), ("kind", .text("external")),
                ("parent", .text(port.parent)), ("vlan", .number(UInt64(port.vlan))),
            ])
        }
        return .object([("ports", .array(list + carried))])
    }

    private var neighbors: JSON {
        var neighbor = apus_provider_neighbor()
        neighbor.size = MemoryLayout<apus_provider_neighbor>.size
        let states = [1: "static", 2: "incomplete", 3: "reachable", 4: "probe", 5: "failed"]
        let all = host.ports.map { ($0.id, $0.name) } + host.carriedPorts.map { ($0.id, $0.name) }
        let names = Dictionary(uniqueKeysWithValues: all)
        return unsafe list("neighbours", { unsafe apus_provider_neighbor_iterate(host.dataplane, $0, &neighbor) }) {
            var fields: [(String, JSON)] = [
                ("address", .text(neighbor.address.text)), ("mac", .text(neighbor.mac.text)),
                ("state", .text(states[Int(neighbor.state)] ?? "?")),
            ]
            // Else it is on the provider network.
            if neighbor.port != 0 { fields.append(("port", .text(names[neighbor.port] ?? "?"))) }
            return .object(fields)
        }
    }

    private var records: JSON {
        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        let rules = [1: "TranslationMethodEncap", 2: "TranslationMethodNat", 3: "TranslationMethodNone"]
        let types = [1: "Static", 2: "Dynamic", 3: "GatewayWildcard", 4: "L2Only"]
        return unsafe list("records", { unsafe apus_lookup_record_iterate(host.dataplane, $0, &record) }) {
            .object([
                ("virtual_subnet_id", .number(UInt64(record.virtual_subnet_id))),
                ("customer_address", .text(record.customer_address.text)), ("mac", .text(record.mac.text)),
                ("provider_address", .text(record.provider_address.text)),
                ("rule", .text(rules[Int(record.rule)] ?? "?")), ("type", .text(types[Int(record.type)] ?? "?")),
                ("unusable", .flag(record.flags & APUS_RECORD_UNUSABLE != 0)),
                ("learned", .flag(record.flags & APUS_RECORD_UNSYNCHRONIZED != 0)),
                (
                    "vm_name",
                    .text(
                        unsafe withUnsafeBytes(of: record.vm_name) { bytes in
                            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                        })
                ),
            ])
        }
    }

    /// Walk over objects of the dataplane.
    private func list(
        _ name: String, _ iterate: (UnsafeMutablePointer<UInt64>) -> Int32, _ object: () -> JSON
    ) -> JSON {
        var cursor: UInt64 = 0
        var objects: [JSON] = []
        while objects.count < Self.objectsMax, unsafe iterate(&cursor) == 1 { objects.append(object()) }
        return .object([(name, .array(objects)), ("complete", .flag(objects.count < Self.objectsMax))])
    }
}
