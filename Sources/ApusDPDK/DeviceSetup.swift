// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK

/// Configures and starts an ethdev, step by step; what was granted is in its properties.
@safe
struct DeviceSetup: ~Copyable {
    let ethdev: UInt16
    private let opts: apus_dpdk_device_opts
    private var info = unsafe rte_eth_dev_info()
    private var conf = unsafe rte_eth_conf()

    private(set) var rxQueues: UInt16 = 1
    private(set) var txQueues: UInt16 = 1
    private(set) var rxDescriptors: UInt16 = 0
    private(set) var txDescriptors: UInt16 = 0
    private(set) var mtu: UInt16 = 0
    private(set) var isRSS = false
    private(set) var hasChecksum = false
    private(set) var sendsChains = false
    private(set) var pool: OpaquePointer?
    private(set) var ownsPool = false

    var closesPort: Bool { unsafe opts.flags & APUS_DPDK_DEVICE_STOP_ONLY == 0 }

    init(_ ethdev: UInt16, _ opts: apus_dpdk_device_opts) {
        self.ethdev = ethdev
        unsafe self.opts = unsafe opts
    }

    /// Fields that are wrong whatever the device is.
    static func check(_ opts: apus_dpdk_device_opts) -> Failure? {
        let known = APUS_DPDK_DEVICE_NO_PROMISCUOUS | APUS_DPDK_DEVICE_NO_CHECKSUM_OFFLOAD | APUS_DPDK_DEVICE_STOP_ONLY
        if unsafe opts.flags & ~known != 0 {
            return Failure(APUS_ERR_UNKNOWN_FIELD, "flags has bits that mean nothing here")
        }
        if unsafe opts.reserved != 0 { return Failure(APUS_ERR_UNKNOWN_FIELD, "reserved is not 0") }
        if unsafe opts.mtu != 0 && opts.mtu < 68 {
            return Failure(APUS_ERR_RANGE, "mtu is outside 68-65535", number: unsafe Int64(opts.mtu))
        }
        if unsafe opts.buffer_size != 0 && (opts.buffer_size < 512 || opts.buffer_size > 32768) {
            return Failure(APUS_ERR_RANGE, "buffer_size is outside 512-32768", number: unsafe Int64(opts.buffer_size))
        }
        if unsafe opts.pool_size > 16_777_216 {
            return Failure(APUS_ERR_RANGE, "pool_size is more than 16777216", number: unsafe Int64(opts.pool_size))
        }
        return nil
    }

    // MARK: - Steps

    /// Everything up to a running device. A failure leaves it stopped.
    mutating func run(poolNumber: UInt64) -> Failure? {
        if let failure = read() { return failure }
        if let failure = makePool(poolNumber) { return failure }
        if let failure = configure() ?? setUpQueues() ?? start() {
            if ownsPool, let pool = unsafe pool { unsafe Pool.abandon(pool) }
            return failure
        }
        return nil
    }

    /// What the device can, and what of it is wanted.
    private mutating func read() -> Failure? {
        var result = unsafe rte_eth_dev_info_get(ethdev, &info)
        if result != 0 { return Failure(device: "cannot be asked what it can", errno: result) }
        rxQueues = unsafe min(max(opts.rx_queues, 1), max(info.max_rx_queues, 1))
        txQueues = unsafe min(max(opts.tx_queues, 1), max(info.max_tx_queues, 1))
        let recommended = unsafe (rx: info.default_rxportconf.ring_size, tx: info.default_txportconf.ring_size)
        rxDescriptors =
            unsafe opts.rx_descriptors != 0 ? opts.rx_descriptors : recommended.rx != 0 ? recommended.rx : 1024
        txDescriptors =
            unsafe opts.tx_descriptors != 0 ? opts.tx_descriptors : recommended.tx != 0 ? recommended.tx : 1024
        mtu = unsafe opts.mtu
        if mtu == 0 {
            result = unsafe rte_eth_dev_get_mtu(ethdev, &mtu)
            if result != 0 || mtu == 0 { mtu = 1500 }
        }
        return nil
    }

    private mutating func makePool(_ number: UInt64) -> Failure? {
        if let given = unsafe opts.pool {
            guard unsafe Pool.isUsable(given) else {
                return Failure(APUS_ERR_RANGE, "mbufs of the pool have less than 256 bytes beyond their headroom")
            }
            unsafe pool = unsafe given
            return nil
        }
        let descriptors = rxQueues.u32 &* rxDescriptors.u32 &+ txQueues.u32 &* txDescriptors.u32
        let count = unsafe opts.pool_size != 0 ? opts.pool_size : descriptors &+ 2047
        let room = unsafe opts.buffer_size != 0 ? opts.buffer_size.int : 2048
        unsafe pool = unsafe Pool.create(0x64, number, count: count, room: room, socket: rte_eth_dev_socket_id(ethdev))
        if unsafe pool == nil {
            return Failure(
                APUS_ERR_MEMORY.rawValue, "no memory for a pool of mbufs", number: Int64(count), errno: apus_rte_errno()
            )
        }
        ownsPool = true
        return nil
    }

    private mutating func configure() -> Failure? {
        let can = unsafe (rx: info.rx_offload_capa, tx: info.tx_offload_capa)
        hasChecksum =
            unsafe opts.flags & APUS_DPDK_DEVICE_NO_CHECKSUM_OFFLOAD == 0 && can.rx & apus_rx_offload_ip_checksum() != 0
        sendsChains = can.tx & apus_tx_offload_multi_segment() != 0
        // Buffers of different pools and with references go out, so never MBUF_FAST_FREE. No VLAN stripping, no LRO.
        unsafe conf.txmode.offloads = sendsChains ? apus_tx_offload_multi_segment() : 0
        unsafe conf.rxmode.offloads = hasChecksum ? apus_rx_offload_ip_checksum() : 0
        unsafe conf.rxmode.mtu = mtu.u32
        // A frame that fills more than one mbuf.
        let room = unsafe rte_pktmbuf_data_room_size(pool.unsafelyUnwrapped).int &- Pool.headroom
        if mtu.int &+ 26 > room, can.rx & apus_rx_offload_scatter() != 0 {
            unsafe conf.rxmode.offloads |= apus_rx_offload_scatter()
        }
        let fields = unsafe info.flow_type_rss_offloads & apus_rss_fields()
        isRSS = rxQueues > 1 && fields != 0
        if isRSS {
            let hasLevels = unsafe info.flow_type_rss_offloads & apus_rss_level_mask() == apus_rss_level_mask()
            unsafe apus_rss_set(&conf, fields | (hasLevels ? apus_rss_level_innermost() : 0))
        }
        var result = unsafe rte_eth_dev_configure(ethdev, rxQueues, txQueues, &conf)
        // Vdevs without an MTU of their own do not know every value; they carry anything.
        if result != 0, unsafe opts.mtu == 0 {
            unsafe conf.rxmode.mtu = 0
            result = unsafe rte_eth_dev_configure(ethdev, rxQueues, txQueues, &conf)
        }
        if result == 0 &- EBUSY { return Failure(APUS_ERR_IN_USE, "has been started by the host already") }
        if result != 0 { return Failure(device: "cannot be configured", errno: result) }
        result = unsafe rte_eth_dev_adjust_nb_rx_tx_desc(ethdev, &rxDescriptors, &txDescriptors)
        if result != 0, result != 0 &- ENOTSUP {
            return Failure(device: "does not accept the numbers of descriptors", errno: result)
        }
        return nil
    }

    private mutating func setUpQueues() -> Failure? {
        let socket = UInt32(bitPattern: rte_eth_dev_socket_id(ethdev))
        var rx = unsafe info.default_rxconf
        var tx = unsafe info.default_txconf
        unsafe rx.offloads = unsafe conf.rxmode.offloads
        tx.offloads = unsafe conf.txmode.offloads
        var queue: UInt16 = 0
        while queue < rxQueues {
            let result = unsafe rte_eth_rx_queue_setup(ethdev, queue, rxDescriptors, socket, &rx, pool)
            if result != 0 { return Failure(device: "cannot set up a receive queue", errno: result) }
            queue = queue &+ 1
        }
        queue = 0
        while queue < txQueues {
            let result = unsafe rte_eth_tx_queue_setup(ethdev, queue, txDescriptors, socket, &tx)
            if result != 0 { return Failure(device: "cannot set up a transmit queue", errno: result) }
            queue = queue &+ 1
        }
        return nil
    }

    private func start() -> Failure? {
        var result: Int32
        if unsafe opts.mtu != 0 {
            result = rte_eth_dev_set_mtu(ethdev, mtu)
            if result != 0, result != 0 &- ENOTSUP { return Failure(device: "does not accept the MTU", errno: result) }
        }
        result = rte_eth_dev_start(ethdev)
        if result != 0 { return Failure(device: "cannot be started", errno: result) }
        if unsafe opts.flags & APUS_DPDK_DEVICE_NO_PROMISCUOUS == 0 {
            // A device that has no such mode takes every frame.
            result = rte_eth_promiscuous_enable(ethdev)
            if result != 0, result != 0 &- ENOTSUP {
                _ = rte_eth_dev_stop(ethdev)
                return Failure(device: "cannot be made promiscuous", errno: result)
            }
        }
        return nil
    }
}
