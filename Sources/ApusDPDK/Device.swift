// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import Synchronization

/// An ethdev port that was opened. Lives in DPDK's memory; control calls change it, workers read it.
@safe
struct Device: ~Copyable {
    let ethdev: UInt16
    let slot: Int
    /// The port of the dataplane; workers look at it in each round.
    let port = Atomic<UInt32>(APUS_DPDK_NO_PORT)

    let rxQueues: UInt16
    let txQueues: UInt16
    let rxDescriptors: UInt16
    let txDescriptors: UInt16
    let isRSS: Bool
    let hasChecksum: Bool
    /// Whether it sends chains.
    let sendsChains: Bool
    /// The longest frame that it sends.
    let frameLimit: UInt32
    let closesPort: Bool

    let pool: OpaquePointer
    /// Whether the pool was made here.
    let ownsPool: Bool

    /// Lanes of workers that use it.
    var users = 0
    /// What the lanes of destroyed workers have counted.
    let retired = DeviceCounters()

    init(_ setup: borrowing DeviceSetup, slot: Int) {
        ethdev = setup.ethdev
        self.slot = slot
        rxQueues = setup.rxQueues
        txQueues = setup.txQueues
        rxDescriptors = setup.rxDescriptors
        txDescriptors = setup.txDescriptors
        isRSS = setup.isRSS
        hasChecksum = setup.hasChecksum
        sendsChains = setup.sendsChains
        frameLimit = setup.mtu.u32 &+ Self.overhead
        closesPort = setup.closesPort
        unsafe pool = unsafe setup.pool.unsafelyUnwrapped
        ownsPool = setup.ownsPool
    }

    /// Ethernet header and two tags; frames have no FCS here.
    private static var overhead: UInt32 { 22 }
}

/// Find an ethdev by its name, or by "port:N".
func findEthdev(_ name: UnsafePointer<CChar>) -> UInt16? {
    if let number = unsafe portNumber(name) {
        return rte_eth_dev_is_valid_port(number) != 0 ? number : nil
    }
    var ethdev: UInt16 = 0
    return unsafe rte_eth_dev_get_port_by_name(name, &ethdev) == 0 ? ethdev : nil
}

/// 7 for "port:7".
private func portNumber(_ name: UnsafePointer<CChar>) -> UInt16? {
    let prefix: Words = "port:"
    var i = 0
    while unsafe prefix.c[i] != 0 {
        guard unsafe name[i] == prefix.c[i] else { return nil }
        i = i &+ 1
    }
    var number = 0
    let start = i
    while unsafe name[i] != 0, i < start &+ 5 {
        let digit = unsafe name[i].int &- 0x30
        guard digit >= 0, digit <= 9 else { return nil }
        number = number &* 10 &+ digit
        i = i &+ 1
    }
    return unsafe i > start && number < Int(RTE_MAX_ETHPORTS) && name[i] == 0 ? number.u16 : nil
}

/// The ethdevs that there are: "available: net_tap0, net_ring0".
func listEthdevs(_ text: inout ErrorText) {
    var ethdev: UInt16 = 0
    var count = 0
    while ethdev < RTE_MAX_ETHPORTS {
        ethdev = rte_eth_find_next(ethdev).u16
        if ethdev >= RTE_MAX_ETHPORTS { break }
        var name = InlineArray<64, CChar>(repeating: 0)
        unsafe withUnsafeMutablePointer(to: &name) {
            let start = unsafe UnsafeMutableRawPointer($0).assumingMemoryBound(to: CChar.self)
            if unsafe rte_eth_dev_get_name_by_port(ethdev, start) == 0 {
                text.put(count == 0 ? "; available: " : ", ")
                unsafe text.put(cString: start)
                count = count &+ 1
            }
        }
        ethdev = ethdev &+ 1
    }
    if count == 0 { text.put("; the EAL has none: give it --vdev=... or a PCI device bound to vfio-pci") }
}
