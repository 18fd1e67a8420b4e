// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusDPDK

/// Why the program ends.
struct HostError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// A call that failed.
    init(_ what: String, _ result: Int32) {
        description = unsafe "\(what): \(String(cString: apus_dpdk_strerror(result)))"
    }
}

/// A port of the policy and the device that it is.
@safe
struct HostPort {
    let id: UInt32
    let name: String
    let kind: apus_port_kind
    let deviceName: String
    let mtu: UInt16
    var device: OpaquePointer?
}

/// An external port whose frames another one's device brings, tagged. Only the dataplane knows it.
struct CarriedPort {
    let id: UInt32
    let name: String
    let parent: String
    let vlan: UInt16

    init?(_ port: Port, _ ids: [String: UInt32]) {
        guard let parent = port.parent, let id = ids[port.name] else { return nil }
        self.id = id
        name = port.name
        self.parent = parent
        vlan = port.vlan
    }
}

/// What this program makes of the library: a dataplane with a policy, devices, workers.
@safe
final class Host {
    let dataplane: OpaquePointer
    let events: EventLog
    private(set) var ports: [HostPort] = []
    /// Set by reloads too.
    var carriedPorts: [CarriedPort] = []
    private(set) var workers: [OpaquePointer] = unsafe []
    private var workersWanted = 1
    /// Frames to ports without a device, counted by workers that were destroyed.
    private var lostByDestroyed: UInt64 = 0

    var buildInfo: String { unsafe String(cString: apus_build_info()) }

    // MARK: - Policy

    /// Read a policy and put it into a dataplane. Needs no EAL.
    init(policy path: String) throws {
        let file = try PolicyFile.load(path: path)
        var options = unsafe apus_dataplane_opts()
        unsafe options.size = MemoryLayout<apus_dataplane_opts>.size
        unsafe file.fill(&options)
        var made: OpaquePointer?
        let result = unsafe apus_dataplane_create(&options, &made)
        guard let made = unsafe made else { throw HostError("the dataplane cannot be created", result) }
        unsafe dataplane = unsafe made
        events = unsafe EventLog(made)
        let ids = unsafe try file.apply(to: made)
        carriedPorts = file.ports.compactMap { CarriedPort($0, ids) }
        for (index, port) in file.ports.enumerated() where port.parent == nil {
            let place = "\(path):\(port.lines.first): ports[\(index)].device"
            guard let device = port.device else { throw HostError("\(place) is missing: which ethdev is \(port.name)?") }
            if let other = ports.first(where: { $0.deviceName == device }) {
                throw HostError("\(place): \(device) is already that of \(other.name)")
            }
            unsafe ports.append(
                HostPort(
                    id: ids[port.name] ?? 0, name: port.name, kind: port.kind, deviceName: device, mtu: file.deviceMTU(of: port)))
        }
        if ports.isEmpty { throw HostError("\(path): there are no ports") }
    }

    func close() throws {
        let result = unsafe apus_dataplane_destroy(dataplane)
        if result != 0 { throw HostError("the dataplane cannot be destroyed", result) }
    }

    // MARK: - Devices

    /// Open each port's device with a queue pair for each worker there can be.
    func openDevices() throws {
        let count = workerCount()
        for index in ports.indices {
            let port = ports[index]
            var options = unsafe apus_dpdk_device_opts()
            unsafe options.size = MemoryLayout<apus_dpdk_device_opts>.size
            unsafe options.rx_queues = UInt16(count)
            unsafe options.tx_queues = UInt16(count)
            unsafe options.mtu = port.mtu
            var text = [CChar](repeating: 0, count: 1024)
            var device: OpaquePointer?
            let result = unsafe text.withUnsafeMutableBufferPointer { text in
                unsafe options.error_text = text.baseAddress
                unsafe options.error_text_size = text.count
                return unsafe apus_dpdk_device_open(port.deviceName, &options, &device)
            }
            guard result == 0 else {
                let why = unsafe text.withUnsafeBufferPointer { unsafe String(cString: $0.baseAddress!) }
                throw HostError(
                    """
                    port \(port.name): \(unsafe why.isEmpty ? String(cString: apus_dpdk_strerror(result)) : why)
                    Devices come from the EAL: a PCI NIC, or --vdev=NAME,... before the --
                    """)
            }
            unsafe ports[index].device = device
            let bound = unsafe apus_dpdk_device_bind(device, port.id)
            if bound != 0 { throw HostError("port \(port.name)", bound) }
        }
    }

    /// A worker sends on a transmit queue of its own on each device: no more workers than the poorest device has.
    private func workerCount() -> Int {
        let lcores = Int(rte_lcore_count())
        var count = lcores > 1 ? lcores - 1 : 1
        for port in ports {
            var info = unsafe apus_dpdk_device_info()
            unsafe info.size = MemoryLayout<apus_dpdk_device_info>.size
            guard unsafe apus_dpdk_device_probe(port.deviceName, &info) == 0 else { continue }
            let queues = unsafe Int(info.tx_queues)
            if queues > 0, queues < count {
                Console.error(
                    "apus-forwarder: \(port.deviceName) has \(queues) transmit queues: "
                        + "\(queues) of \(count) lcores forward"
                )
                count = queues
            }
        }
        workersWanted = count
        return count
    }

    func closeDevices() {
        for index in ports.indices {
            let result = unsafe apus_dpdk_device_close(ports[index].device)
            if result != 0 { Console.error("apus-forwarder: \(HostError("port \(ports[index].name)", result))") }
            unsafe ports[index].device = nil
        }
    }

    // MARK: - Workers

    /// Every worker can send to every device; receive queues are dealt out. Each remembers so many flows (0: the default).
    func makeWorkers(flows: UInt32) throws {
        var options = unsafe apus_dpdk_worker_opts()
        unsafe options.size = MemoryLayout<apus_dpdk_worker_opts>.size
        unsafe options.flow_capacity = flows
        for index in 0..<workersWanted {
            var worker: OpaquePointer?
            let result = unsafe apus_dpdk_worker_create(dataplane, &options, &worker)
            guard result == 0, let worker = unsafe worker else { throw HostError("a worker cannot be created", result) }
            unsafe workers.append(worker)
            for port in ports { try attach(port, worker: index, rxQueue: UInt16(APUS_DPDK_NO_QUEUE)) }
        }
        for (index, port) in ports.enumerated() {
            guard let info = unsafe info(of: port) else { continue }
            for queue in unsafe 0..<info.rx_queues {
                unsafe try attach(port, worker: (index + Int(queue)) % workers.count, rxQueue: queue)
            }
        }
    }

    private func attach(_ port: HostPort, worker: Int, rxQueue: UInt16) throws {
        let result = unsafe apus_dpdk_worker_attach(workers[worker], port.device, rxQueue, UInt16(worker))
        if result != 0 { throw HostError("port \(port.name)", result) }
    }

    /// Counters of devices outlive the workers.
    func destroyWorkers() {
        lostByDestroyed = lostWithoutDevice
        for index in unsafe workers.indices {
            let result = unsafe apus_dpdk_worker_destroy(workers[index])
            if result != 0 { Console.error("apus-forwarder: \(HostError("a worker cannot be destroyed", result))") }
        }
        unsafe workers.removeAll()
    }

    // MARK: - Counters

    /// What a device is.
    func info(of port: HostPort) -> apus_dpdk_device_info? {
        var info = unsafe apus_dpdk_device_info()
        unsafe info.size = MemoryLayout<apus_dpdk_device_info>.size
        return unsafe apus_dpdk_device_info_get(port.device, &info) == 0 ? info : nil
    }

    /// Frames that the dataplane sent to ports which have no device.
    var lostWithoutDevice: UInt64 {
        var sum = lostByDestroyed
        for index in unsafe workers.indices {
            var stats = apus_dpdk_stats()
            stats.size = MemoryLayout<apus_dpdk_stats>.size
            if unsafe apus_dpdk_worker_stats_get(workers[index], &stats) == 0 { sum += stats.tx_no_device }
        }
        return sum
    }
}

extension PolicyFile {
    /// A device carries what its port and those in its VLANs want to send. 0: whatever it carries.
    fileprivate func deviceMTU(of port: Port) -> UInt16 {
        let all = ([port] + ports.filter { $0.parent == port.name }).map { $0.mtu == 0 ? 1500 : $0.mtu }
        let largest = all.max() ?? 1500
        return port.mtu == 0 && largest == 1500 ? 0 : largest
    }
}
