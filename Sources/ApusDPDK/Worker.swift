// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import Synchronization

/// A device as one worker uses it.
@safe
struct Lane: ~Copyable {
    let device: Ref<Device>
    let ethdev: UInt16
    let txQueue: UInt16
    let sendsChains: Bool
    let frameLimit: Int
    /// The port of the dataplane, as this worker has seen it last.
    var port: UInt32
    /// Mbufs in `waiting`.
    var count = 0
    /// What goes to the device with the next burst.
    let waiting: Ref<OpaquePointer?>
    let counters = DeviceCounters()

    static var capacity: Int { 64 }

    init(_ device: Ref<Device>, txQueue: UInt16, waiting: Ref<OpaquePointer?>) {
        self.device = device
        unsafe self.waiting = unsafe waiting
        ethdev = device.value.ethdev
        self.txQueue = txQueue
        sendsChains = device.value.sendsChains
        frameLimit = device.value.frameLimit.int
        port = device.value.port.load(ordering: .relaxed)
    }
}

/// A receive queue that a worker polls.
struct ReceiveQueue: BitwiseCopyable {
    let lane: UInt16
    let queue: UInt16
}

/// A worker: `struct apus_worker` and the devices that feed it. Belongs to one thread at a time; lives in DPDK's
/// memory, with its arrays.
@safe
struct Worker: ~Copyable {
    /// `struct apus_worker *`.
    let core: OpaquePointer
    let heads: Heads
    let clock = Clock()
    let slot: Int
    let burst: Int
    let ownsPool: Bool

    let lanes: Ref<Lane>
    var laneCount = 0
    let queues: Ref<ReceiveQueue>
    var queueCount = 0
    /// Ports to lanes: open addressing, at most half full; rebuilt when a port changes.
    let portMap: Ref<PortEntry>

    /// What the dataplane is given, and what it gives back.
    let input: Ref<apus_frame>
    let output: Ref<apus_frame>
    /// One burst of a device.
    let burstRoom: Ref<OpaquePointer?>

    /// Nonzero while a thread is inside.
    let busy = Atomic<UInt32>(0)
    /// Mbufs of apus_dpdk_worker_process(), which come from no device and go to none.
    let direct = DeviceCounters()
    let unknownPort = Counter(0)
    let noAnswer = Counter(0)
    let rounds = Counter(0)
    let idleRounds = Counter(0)

    struct PortEntry: BitwiseCopyable {
        var port: UInt32
        /// Lane + 1; 0 = empty.
        var lane: UInt32
    }

    static var laneCapacity: Int { Int(RTE_MAX_ETHPORTS) }
    static var queueCapacity: Int { Int(APUS_DPDK_WORKER_QUEUES_MAX) }
    static var inputCapacity: Int { Int(APUS_DPDK_BURST_MAX) }
    /// Answers, copies and waiting packets go out too.
    static var outputCapacity: Int { inputCapacity &+ 128 }
    /// A power of two, at least twice `laneCapacity`.
    static var portMapCapacity: Int { 1 &<< (Int.bitWidth &- (2 &* laneCapacity &- 1).leadingZeroBitCount) }

    /// The lane of a device, if it is attached.
    func lane(of device: Ref<Device>) -> Int? {
        var i = 0
        while i < laneCount {
            if lanes[i].device.address == device.address { return i }
            i = i &+ 1
        }
        return nil
    }

    /// The lane of a port, or -1.
    @inline(__always)
    func lane(ofPort port: UInt32) -> Int {
        var i = Self.portHash(port)
        while true {
            let entry = portMap[i]
            if entry.lane == 0 { return -1 }
            if entry.port == port { return entry.lane.int &- 1 }
            i = (i &+ 1) & (Self.portMapCapacity &- 1)
        }
    }

    /// See whether a device has been bound to another port.
    @inline(__always)
    mutating func refreshPorts() {
        var changed = false
        var i = 0
        while i < laneCount {
            let port = lanes[i].device.value.port.load(ordering: .relaxed)
            if port != lanes[i].port {
                lanes[i].port = port
                changed = true
            }
            i = i &+ 1
        }
        if changed { rebuildPortMap() }
    }

    @inline(never)
    func rebuildPortMap() {
        var i = 0
        while i < Self.portMapCapacity {
            portMap[i].lane = 0
            i = i &+ 1
        }
        i = 0
        while i < laneCount {
            let port = lanes[i].port
            if port != APUS_DPDK_NO_PORT {
                var at = Self.portHash(port)
                while portMap[at].lane != 0 { at = (at &+ 1) & (Self.portMapCapacity &- 1) }
                portMap[at] = PortEntry(port: port, lane: i.u32 &+ 1)
            }
            i = i &+ 1
        }
    }

    @inline(__always)
    private static func portHash(_ port: UInt32) -> Int {
        // Neighbouring port ids, which is what there is, do not collide.
        (port ^ port &>> 12).int & (portMapCapacity &- 1)
    }
}
