// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics
import Synchronization

// The device functions of apus_dpdk.h.

@c @implementation
public func apus_dpdk_strerror(_ error: Int32) -> UnsafePointer<CChar>! {
    guard error == APUS_DPDK_ERR_DEVICE else { return unsafe apus_strerror(error) }
    let text: Words = "the device or its driver refused"
    return unsafe text.c
}

private func device(_ pointer: OpaquePointer?) -> Ref<Device>? {
    unsafe Ref<Device>(address: Registry.find(.device, pointer))
}

@c @implementation
public func apus_dpdk_device_open(
    _ name: UnsafePointer<CChar>!, _ opts: UnsafePointer<apus_dpdk_device_opts>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> Int32 {
    guard let name = unsafe name, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var copy = unsafe apus_dpdk_device_opts()
    let wrong = unsafe readStruct(opts, into: &copy)
    if wrong != 0 { return wrong }
    return control {
        var text = unsafe ErrorText(copy.error_text, size: copy.error_text_size)
        Pool.freeOrphans()
        if let failure = unsafe DeviceSetup.check(copy) {
            unsafe text.put(failure, device: nil)
            return failure.code
        }
        guard let ethdev = unsafe findEthdev(name) else {
            text.put("there is no device ")
            unsafe text.put(cString: name)
            listEthdevs(&text)
            return APUS_ERR_NOT_FOUND.rawValue
        }
        var made: OpaquePointer?
        let failure = unsafe open(ethdev, copy, &made)
        if let failure {
            unsafe text.put(failure, device: name)
            return failure.code
        }
        unsafe out.pointee = unsafe made
        return 0
    }
}

/// Open an ethdev and give it a handle.
private func open(_ ethdev: UInt16, _ opts: apus_dpdk_device_opts, _ handle: inout OpaquePointer?) -> Failure? {
    var slot = 0
    while slot < Registry.slots {
        if let other = Ref<Device>(address: Registry.object(.device, slot)), other.value.ethdev == ethdev {
            return Failure(APUS_ERR_IN_USE, "is open already")
        }
        slot = slot &+ 1
    }
    guard let slot = Registry.freeSlot(.device) else {
        return Failure(APUS_ERR_LIMIT, "256 devices are open, which is the most")
    }
    let socket = rte_eth_dev_socket_id(ethdev)
    guard let memory = unsafe rte_zmalloc_socket(nil, MemoryLayout<Device>.size, 64, socket) else {
        return Failure(APUS_ERR_MEMORY, "no memory for the device")
    }
    var setup = unsafe DeviceSetup(ethdev, opts)
    if let failure = setup.run(poolNumber: Registry.nextNumber()) {
        unsafe rte_free(memory)
        return failure
    }
    let device = unsafe memory.assumingMemoryBound(to: Device.self)
    unsafe device.initialize(to: Device(setup, slot: slot))
    unsafe handle = unsafe Registry.publish(.device, slot, UInt(bitPattern: memory))
    return nil
}

@c @implementation
public func apus_dpdk_device_close(_ pointer: OpaquePointer!) -> Int32 {
    if unsafe pointer == nil { return 0 }
    return control {
        guard let device = unsafe device(pointer) else { return APUS_ERR_STALE.rawValue }
        if device.value.users != 0 { return APUS_ERR_IN_USE.rawValue }
        Registry.forget(.device, device.value.slot)
        _ = rte_eth_dev_stop(device.value.ethdev)
        if device.value.closesPort { _ = rte_eth_dev_close(device.value.ethdev) }
        if device.value.ownsPool { unsafe Pool.abandon(device.value.pool) }
        Pool.freeOrphans()
        unsafe rte_free(device.pointer)
        return 0
    }
}

@c @implementation
public func apus_dpdk_device_bind(_ pointer: OpaquePointer!, _ port: UInt32) -> Int32 {
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    guard let device = unsafe device(pointer) else { return APUS_ERR_STALE.rawValue }
    device.value.port.store(port, ordering: .relaxed)
    return 0
}

@c @implementation
public func apus_dpdk_device_info_get(
    _ pointer: OpaquePointer!, _ out: UnsafeMutablePointer<apus_dpdk_device_info>!
) -> Int32 {
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    return control {
        guard let device = unsafe device(pointer) else { return APUS_ERR_STALE.rawValue }
        var info = unsafe apus_dpdk_device_info()
        unsafe describe(device.value.ethdev, &info)
        unsafe info.port = device.value.port.load(ordering: .relaxed)
        unsafe info.rx_queues = device.value.rxQueues
        unsafe info.tx_queues = device.value.txQueues
        unsafe info.rx_descriptors = device.value.rxDescriptors
        unsafe info.tx_descriptors = device.value.txDescriptors
        unsafe info.rss = device.value.isRSS ? 1 : 0
        unsafe info.checksum = device.value.hasChecksum ? 1 : 0
        unsafe info.multi_segment = device.value.sendsChains ? 1 : 0
        unsafe info.pool = unsafe device.value.pool
        var link = rte_eth_link()
        if unsafe rte_eth_link_get_nowait(device.value.ethdev, &link) == 0 {
            unsafe info.link_up = link.link_status != 0 ? 1 : 0
        }
        return unsafe writeStruct(info, to: out)
    }
}

@c @implementation
public func apus_dpdk_device_probe(
    _ name: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<apus_dpdk_device_info>!
) -> Int32 {
    guard let name = unsafe name else { return APUS_ERR_NULL.rawValue }
    return control {
        guard let ethdev = unsafe findEthdev(name) else { return APUS_ERR_NOT_FOUND.rawValue }
        var able = unsafe rte_eth_dev_info()
        if unsafe rte_eth_dev_info_get(ethdev, &able) != 0 { return APUS_DPDK_ERR_DEVICE }
        var info = unsafe apus_dpdk_device_info()
        unsafe describe(ethdev, &info)
        unsafe info.port = APUS_DPDK_NO_PORT
        unsafe info.rx_queues = unsafe able.max_rx_queues
        unsafe info.tx_queues = unsafe able.max_tx_queues
        return unsafe writeStruct(info, to: out)
    }
}

/// What is known of an ethdev, open or not.
private func describe(_ ethdev: UInt16, _ info: inout apus_dpdk_device_info) {
    unsafe info.ethdev = ethdev
    unsafe info.socket = rte_eth_dev_socket_id(ethdev)
    _ = unsafe rte_eth_dev_get_mtu(ethdev, &info.mtu)
    var mac = rte_ether_addr()
    if unsafe rte_eth_macaddr_get(ethdev, &mac) == 0 { unsafe info.mac.bytes = mac.addr_bytes }
    unsafe withUnsafeMutablePointer(to: &info.name) {
        _ = unsafe rte_eth_dev_get_name_by_port(ethdev, UnsafeMutableRawPointer($0).assumingMemoryBound(to: CChar.self))
    }
}

@c @implementation
public func apus_dpdk_device_stats_get(
    _ pointer: OpaquePointer!, _ out: UnsafeMutablePointer<apus_dpdk_stats>!
) -> Int32 {
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    return control {
        guard let device = unsafe device(pointer) else { return APUS_ERR_STALE.rawValue }
        var stats = apus_dpdk_stats()
        device.value.retired.add(to: &stats)
        var slot = 0
        while slot < Registry.slots {
            if let worker = Ref<Worker>(address: Registry.object(.worker, slot)),
                let lane = worker.value.lane(of: device)
            {
                worker.value.lanes[lane].counters.add(to: &stats)
            }
            slot = slot &+ 1
        }
        return unsafe writeStruct(stats, to: out)
    }
}
