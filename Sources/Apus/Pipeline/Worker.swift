// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

/// Settings of the dataplane that workers use; fixed at creation.
struct Settings {
    var flags: UInt32
    var gatewayMAC: MACAddress
    var outerTTL: UInt8
    var vxlanPort: UInt16
    var reachable: UInt64
    var retry: UInt64
    var retries: UInt32
    /// Between two ICMP errors to one port, nanoseconds.
    var errorInterval: UInt64
    /// Between two addresses that are learned through one port, nanoseconds.
    var learnInterval: UInt64

    var acceptsReservedVSIDs: Bool { flags & APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS != 0 }
    var sendsFlowID: Bool { flags & APUS_DATAPLANE_FLOW_ID_ZERO == 0 }
    var validatesSource: Bool { flags & APUS_DATAPLANE_NO_SOURCE_VALIDATION == 0 }
    var sendsUnreachable: Bool { flags & APUS_DATAPLANE_SEND_UNREACHABLE != 0 }
    var sendsErrors: Bool { flags & APUS_DATAPLANE_NO_ICMP_ERRORS == 0 }
    var usesExternalRouter: Bool { flags & APUS_DATAPLANE_USE_EXTERNAL_ROUTER != 0 }
    var acceptsIPOptions: Bool { flags & APUS_DATAPLANE_ACCEPT_IP_OPTIONS != 0 }
}

/// What one thread needs to process packets. Nothing here is shared but the counters, which others may read.
///
/// A burst is in `Burst.swift`, its stages in `Parse.swift` and `Hit.swift`; how a first packet of a flow is decided in
/// `VMSide.swift` and `ProviderSide.swift`; how decisions are applied in `Apply.swift`.
struct Worker: ~Copyable {
    /// An atomic has an address, and so has what contains one: calls pass the worker's address on. Without it each call of
    /// a function that does not change the worker copies all of it, some 1300 bytes.
    private let anchor = Atomic<UInt8>(0)

    let tables: Tables
    let settings: Settings
    let grace: Grace
    let index: Int
    let counters: Counters
    let portCounters: PortCounters
    let buffers: Buffers
    /// Flows of IPv4 inside IPv4, or not encapsulated.
    var cache: FlowCache<FlowKey>
    /// All others.
    var wideCache: FlowCache<WideFlowKey>
    var transpositions: TranspositionTable
    let tunnels: TunnelCache
    var held: HeldQueue
    /// What the following are parts of.
    private let workspace: Ref<UInt8>
    /// The packets of a chunk, and one that is looked at by itself.
    let staged: Ref<Staged>
    /// Where their keys are if those are wide ones: elsewhere, so that what is common is close together.
    let wideKeys: Ref<StagedWideKey>
    /// The flow of a packet that is in no cache.
    let noFlow: Ref<FlowState>
    let newcomers: Newcomers
    /// Of the records of a chunk's new flows: source, destination. First the hashes, then the numbers of what has them.
    let probableRecords: Ref<UInt64>
    /// Buffers to give back.
    let releases: Ref<UInt>
    /// By port slot: when the next ICMP error is due there, if they are sent at no more than their rate.
    let errorTimes: Ref<UInt64>
    /// By port slot: the same for copies to other hosts.
    let copyTimes: Ref<UInt64>
    /// The same for new flows.
    let flowTimes: Ref<UInt64>
    /// The same for addresses that are learned: by port slot, then by the lower bits of the virtual subnet.
    let learnTimes: Ref<UInt64>
    let events: EventRing
    /// The ports that a frame is being copied to.
    let members: Ref<UInt32>
    let recent: Ref<Recent>
    /// By outer source.
    let arrivals: Ref<Recent.Arrival>
    /// By prefix.
    let origins: Ref<Recent.Origin>
    /// Where a decision is put together before it is interned.
    let scratch: Ref<Transposition>

    /// Set in a worker that only explains: it says what it looks at, and changes nothing that others see.
    var trace: Ref<Trace>?

    // The burst in progress.

    var releaseCount = 0

    /// The policy version that this burst applies, and the last change that concerned everything.
    var version: UInt64 = 0
    var floor: UInt32 = 0
    /// The floor for which the waiting packets were decided.
    var heldFloor: UInt32 = 0
    /// Some peers have the VSID elsewhere in the key: whose packet it is has to be known before it is read.
    var hasDraftPeers = false
    /// Some machines have a provider address for themselves.
    var hasRewrites = false
    /// Some ports may not begin as many flows as they like.
    var hasFlowLimits = false
    /// Some ports lead out of their VM network.
    var hasExternalPorts = false
    var now: UInt64 = 0
    var output: Ref<Frame>
    var outputCount = 0
    var outputCapacity = 0
    /// Input frames that may still need a place in the output.
    var remaining = 0
    /// A bit for each packet of the chunk that has a wide key, or none.
    var widePackets: UInt64 = 0
    var keylessPackets: UInt64 = 0
    /// The frame being processed did not come with this burst: it may not take the place of one that did.
    var isExtra = false
    /// Packets of the chunk that have probable records, and those of the packet that is decided.
    var prefetchedPackets: UInt64 = 0
    var expected = (source: none, destination: none)
    /// The next hop for which the frame being processed has waited until now.
    var waitedFor: UInt32 = none
    /// Who sent the frame being processed, if that came from an external port; zero: not known any more.
    var outsideSender = MACAddress(0)
    /// Flows of the chunk for which it was asked whether changes of records concerned them.
    var confirmations = 0
    /// Chunks whose flows are all asked, at once.
    var restlessChunks = 0
    /// Grows whenever a flow entry is given to another flow, or may be.
    var replacements: UInt32 = 0

    // Neighbours.

    /// Grows when a header may have to be checked: when some neighbour changed, and once every retry interval.
    var neighborEpoch: UInt32 = 1
    var seenNeighborEpoch: UInt32 = 0
    /// The same for the packets that wait.
    var heldNeighborEpoch: UInt32 = 0
    var nextRefresh: UInt64 = 0
    /// Provider addresses of ours that had turned out to be somebody else's when it was last looked.
    var duplicateAddresses: UInt32 = 0

    /// Where a packet is staged that is looked at by itself.
    var single: Ref<Staged> { staged.advanced(by: Self.chunk) }

    /// Packets that go through the stages together.
    static var chunk: Int { 64 }
    static var releaseBatch: Int { 256 }
}

/// What the stages of a burst hand on for each packet: one cache line.
struct Staged {
    /// Which of the keys the packet has.
    enum Form: UInt32 {
        /// None: the flow cache is not for it.
        case none
        case wide
        case narrow
    }

    /// If it has another, or none, its form is here, in the place of a MAC address, and the port is 0.
    var key: FlowKey
    var hash: UInt64
    /// Outer destination MAC and VLAN; see ``Transposition/outerIdentity``.
    var outerIdentity: UInt64
    /// Its flow; a free one if it has none. Until it was looked up, what stands in the first line of it.
    var flow: Ref<FlowState>

    @inline(__always)
    var form: Form { key.link[3] != 0 ? .narrow : key.link[0] == Form.wide.rawValue ? .wide : .none }

    @inline(__always)
    mutating func set(_ key: FlowKey, _ cache: FlowCache<FlowKey>, _ hashKey: HashKey) {
        self.key = key
        hash = key.hash(hashKey)
        flow = cache.fetch(hash)
    }

    /// It has a wide key with this hash.
    @inline(__always)
    mutating func setWide(_ hash: UInt64, _ cache: FlowCache<WideFlowKey>) {
        setForm(.wide)
        self.hash = hash
        flow = cache.fetch(hash)
    }

    @inline(__always)
    mutating func setForm(_ form: Form) { key.link = SIMD4(form.rawValue, 0, 0, 0) }
}

/// As large as two staged packets, so that it is easily found.
struct StagedWideKey {
    private var key: WideFlowKey
    private var padding: (UInt64, UInt64, UInt64)
}

extension Ref where Value == StagedWideKey {
    var key: Ref<WideFlowKey> { unsafe Ref<WideFlowKey>(raw.assumingMemoryBound(to: WideFlowKey.self)) }
}

extension Worker {
    @inline(__always)
    func wideKey(of packet: Ref<Staged>) -> Ref<WideFlowKey> { wideKeys.advanced(by: packet.index(in: staged)).key }

    func stage(_ key: WideFlowKey, _ packet: Ref<Staged>) {
        wideKey(of: packet).value = key
        packet.value.setWide(key.hash(HashKey(tables.key)), wideCache)
    }

    /// Not for the flow cache, unless it turns out to be.
    func stageNothing(_ packet: Ref<Staged>) {
        packet.value.setForm(.none)
        packet.value.flow = noFlow
    }

    func flowID(of packet: Ref<Staged>) -> UInt8 {
        packet.value.form == .wide ? wideKey(of: packet).value.flowID : packet.value.key.flowID
    }

    /// By what its records are found: from a tunnel the VSID, else the port says it.
    func recordKey(of packet: Ref<Staged>) -> (port: UInt32, vsid: UInt32, source: IPAddress, destination: IPAddress) {
        packet.value.form == .wide ? wideKey(of: packet).value.recordKey : packet.value.key.recordKey
    }

    @inline(__always)
    func addresses(of packet: Ref<Staged>) -> (source: UInt32, destination: UInt32) {
        packet.value.form == .wide ? wideKey(of: packet).value.addresses : packet.value.key.addresses
    }
}

extension Worker {
    /// Create a worker's parts; nil when there is no memory, and then nothing is held.
    @inline(never)
    init?(
        _ memory: Ref<Memory>, tables: Tables, settings: Settings, grace: Grace, index: Int, buffers: Buffers,
        flowCapacity: Int, wideFlowCapacity: Int, heldCapacity: Int
    ) {
        let counters = Counters(memory)
        let portCounters = PortCounters(memory)
        let cache = FlowCache<FlowKey>(memory, capacity: flowCapacity)
        let wideCache = FlowCache<WideFlowKey>(memory, capacity: wideFlowCapacity)
        let transpositions = TranspositionTable(memory, capacity: max(64, min(max(flowCapacity, wideFlowCapacity), 65536)), key: tables.key)
        let tunnels = TunnelCache(memory)
        let held = HeldQueue(memory, capacity: heldCapacity)
        let events = EventRing(memory)
        let workspace = memory.value.allocateZeroed(UInt8.self, count: Self.workspaceSize, alignment: 64)
        let nowhere = Ref<Frame>(address: 64)
        guard let counters, let portCounters, let cache, let wideCache, let transpositions, let tunnels, let held, let events,
            let workspace, let nowhere
        else {
            counters?.destroy(memory)
            portCounters?.destroy(memory)
            cache?.destroy(memory)
            wideCache?.destroy(memory)
            transpositions?.destroy(memory)
            tunnels?.destroy(memory)
            held?.destroy(memory)
            events?.destroy(memory)
            if let workspace { memory.value.release(workspace, count: Self.workspaceSize) }
            return nil
        }
        self.tables = tables
        self.settings = settings
        self.grace = grace
        self.index = index
        self.counters = counters
        self.portCounters = portCounters
        self.buffers = buffers
        self.cache = cache
        self.wideCache = wideCache
        self.transpositions = transpositions
        self.tunnels = tunnels
        self.held = held
        self.events = events
        self.workspace = workspace
        var offset = 0
        staged = Self.cut(workspace, at: &offset, count: Self.chunk &+ 1)
        wideKeys = Self.cut(workspace, at: &offset, count: Self.chunk &+ 1)
        noFlow = FlowCache.state(of: Self.cut(workspace, at: &offset, count: 1) as Ref<FlowEntry<WideFlowKey>>)
        newcomers = Newcomers(Self.cut(workspace, at: &offset, count: 1))
        probableRecords = Self.cut(workspace, at: &offset, count: 2 &* Self.chunk)
        releases = Self.cut(workspace, at: &offset, count: Self.releaseBatch)
        errorTimes = Self.cut(workspace, at: &offset, count: PortSlots.count)
        copyTimes = Self.cut(workspace, at: &offset, count: PortSlots.count)
        flowTimes = Self.cut(workspace, at: &offset, count: PortSlots.count)
        learnTimes = Self.cut(workspace, at: &offset, count: Self.learnBuckets)
        members = Self.cut(workspace, at: &offset, count: PortSlots.count)
        recent = Self.cut(workspace, at: &offset, count: 1)
        arrivals = Self.cut(workspace, at: &offset, count: 1 &<< Recent.arrivalBits.int)
        origins = Self.cut(workspace, at: &offset, count: 1 &<< Recent.originBits.int)
        scratch = Self.cut(workspace, at: &offset, count: 1)
        output = nowhere
        (recent.value.ingress.version, recent.value.subnet.version, recent.value.flowLimit.version) = (.max, .max, .max)
    }

    /// Release everything; packets that wait are dropped and counted, so read the counters after `dropHeld`.
    @inline(never)
    mutating func destroy(_ memory: Ref<Memory>) {
        counters.destroy(memory)
        portCounters.destroy(memory)
        cache.destroy(memory)
        wideCache.destroy(memory)
        transpositions.destroy(memory)
        tunnels.destroy(memory)
        held.destroy(memory)
        events.destroy(memory)
        memory.value.release(workspace, count: Self.workspaceSize)
    }

    /// Room for the arrays of fixed size, each on cache lines of its own.
    private static var workspaceSize: Int {
        let perPacket = (MemoryLayout<Staged>.stride &+ MemoryLayout<StagedWideKey>.stride) &* (chunk &+ 1)
        let times = 8 &* (3 &* PortSlots.count &+ learnBuckets)
        let rest = MemoryLayout<Recent>.stride &+ MemoryLayout<Transposition>.stride &+ MemoryLayout<FlowEntry<WideFlowKey>>.stride &+ 16 &* 64
        let arrivals = MemoryLayout<Recent.Arrival>.stride &<< Recent.arrivalBits.int
        let origins = MemoryLayout<Recent.Origin>.stride &<< Recent.originBits.int
        return perPacket &+ arrivals &+ origins &+ times &+ 8 &* (2 &* chunk &+ releaseBatch) &+ 4 &* PortSlots.count &+ rest
    }

    private static func cut<Value>(_ block: Ref<UInt8>, at offset: inout Int, count: Int) -> Ref<Value> {
        let start = block.advanced(by: offset)
        offset = offset &+ (MemoryLayout<Value>.stride &* count &+ 63) & ~63
        return unsafe Ref(start.raw.assumingMemoryBound(to: Value.self))
    }

    mutating func dropHeld() {
        var link = held.endAll()
        while let (frame, _, _) = held.next(&link) {
            counters.subtract(.held)
            drop(frame, .workerDestroyed)
        }
        flushReleases()
    }
}
