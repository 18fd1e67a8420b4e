// SPDX-License-Identifier: Apache-2.0

import CApus
import Glibc
import Testing

@testable import Apus

/// The packet buffers of one test worker: a fixed number, each of which is outside at most once.
final class TestBuffers: @unchecked Sendable {
    static let size = 2048
    static let headroom = 128

    private let memory: UnsafeMutablePointer<UInt8>
    private let isOut: UnsafeMutablePointer<Bool>
    private let free: UnsafeMutablePointer<Int>
    private var freeCount: Int
    let count: Int
    /// Buffers that came back without being outside.
    private(set) var mistakes = 0

    init(count: Int) {
        self.count = count
        memory = .allocate(capacity: count * Self.size)
        memory.initialize(repeating: 0, count: count * Self.size)
        isOut = .allocate(capacity: count)
        isOut.initialize(repeating: false, count: count)
        free = .allocate(capacity: count)
        for index in 0..<count { free[index] = index }
        freeCount = count
    }

    deinit {
        memory.deallocate()
        isOut.deallocate()
        free.deallocate()
    }

    var outside: Int { count - freeCount }

    func take() -> apus_frame? {
        if freeCount == 0 { return nil }
        freeCount -= 1
        let index = free[freeCount]
        isOut[index] = true
        var frame = apus_frame()
        frame.data = memory + index * Self.size + Self.headroom
        frame.buffer = UnsafeMutableRawPointer(bitPattern: index + 1)
        frame.contiguous = UInt16(Self.size - Self.headroom)
        frame.headroom = UInt16(Self.headroom)
        return frame
    }

    func giveBack(_ buffer: UnsafeMutableRawPointer?) {
        let index = Int(bitPattern: buffer) - 1
        guard index >= 0, index < count, isOut[index] else {
            mistakes += 1
            return
        }
        isOut[index] = false
        free[freeCount] = index
        freeCount += 1
    }

    var c: apus_buffers {
        apus_buffers(
            allocate: { context, _, frame in
                guard let context, let frame else { return 1 }
                let buffers = Unmanaged<TestBuffers>.fromOpaque(context).takeUnretainedValue()
                guard let taken = buffers.take() else { return 1 }
                frame.pointee = taken
                return 0
            },
            release: { context, list, count in
                guard let context, let list else { return }
                let buffers = Unmanaged<TestBuffers>.fromOpaque(context).takeUnretainedValue()
                for index in 0..<Int(count) { buffers.giveBack(list[index]) }
            },
            context: Unmanaged.passUnretained(self).toOpaque())
    }
}

/// A worker with its buffers and burst arrays.
final class TestWorker: @unchecked Sendable {
    private(set) var handle: OpaquePointer?
    let buffers = TestBuffers(count: 512)
    private let input: UnsafeMutablePointer<apus_frame>
    private var inputCount = 0
    private let output: UnsafeMutablePointer<apus_frame>
    private var outputCount = 0
    static let capacity = 256
    /// The host's clock, in nanoseconds.
    var now: UInt64 = 1_000_000_000

    init(_ dataplane: TestDataplane, flows: UInt32 = 1024) {
        input = .allocate(capacity: Self.capacity)
        output = .allocate(capacity: Self.capacity)
        var opts = apus_worker_opts()
        opts.size = MemoryLayout<apus_worker_opts>.size
        opts.buffers = buffers.c
        opts.flow_capacity = flows
        #expect(apus_worker_create(dataplane.handle, &opts, &handle) == 0)
    }

    deinit {
        input.deallocate()
        output.deallocate()
    }

    /// Destroy it; every buffer is back.
    func destroy() {
        giveBackOutput()
        #expect(apus_worker_destroy(handle) == 0)
        #expect(buffers.outside == 0)
        #expect(buffers.mistakes == 0)
    }

    /// Put a frame into the next burst; `fill` writes it and returns its length.
    func add(port: UInt32, _ fill: (Bytes) -> Int) {
        guard inputCount < 64, var frame = buffers.take() else { return }
        frame.port = port
        frame.length = UInt32(fill(Bytes(frame.data)))
        input[inputCount] = frame
        inputCount += 1
    }

    /// Process the burst. The output is valid until the next one.
    @discardableResult
    func process() -> UnsafeBufferPointer<apus_frame> {
        giveBackOutput()
        let made = apus_worker_process(handle, input, UInt32(inputCount), output, UInt32(Self.capacity), now)
        if made < 0 { Issue.record("apus_worker_process: \(made)") }
        inputCount = 0
        outputCount = max(0, Int(made))
        // More threads than processors: let the others run as well.
        sched_yield()
        return UnsafeBufferPointer(start: output, count: outputCount)
    }

    func giveBackOutput() {
        for index in 0..<outputCount { buffers.giveBack(output[index].buffer) }
        outputCount = 0
    }
}

// MARK: - Frames

/// A customer's UDP packet of 60 bytes.
func writeUDP(
    _ bytes: Bytes, to destinationMAC: UInt64, from sourceMAC: UInt64, _ source: UInt32, _ destination: UInt32,
    sourcePort: UInt16 = 1000, ttl: UInt8 = 64
) -> Int {
    bytes.zero(60)
    bytes.store(MACAddress(destinationMAC), at: 0)
    bytes.store(MACAddress(sourceMAC), at: 6)
    bytes.store(UInt16(0x0800), at: 12)
    let ip = bytes.advanced(by: 14)
    ip[0] = 0x45
    ip.store(UInt16(46), at: 2)
    ip[8] = ttl
    ip[9] = 17
    ip.store(source, at: 12)
    ip.store(destination, at: 16)
    ip.store(~Checksum.fold(Checksum.sum(ip, 20)), at: 10)
    ip.store(sourcePort, at: 20)
    ip.store(UInt16(53), at: 22)
    ip.store(UInt16(26), at: 24)
    return 60
}

/// An NVGRE frame around the customer's packet that `inner` writes.
func writeNVGRE(
    _ bytes: Bytes, to destinationMAC: UInt64, from source: UInt32, _ destination: UInt32, vsid: UInt32,
    _ inner: (Bytes) -> Int
) -> Int {
    let innerLength = inner(bytes.advanced(by: 42))
    bytes.zero(42)
    bytes.store(MACAddress(destinationMAC), at: 0)
    bytes.store(MACAddress(0x02AA_0000_0001), at: 6)
    bytes.store(UInt16(0x0800), at: 12)
    let ip = bytes.advanced(by: 14)
    ip[0] = 0x45
    ip.store(UInt16(28 + innerLength), at: 2)
    ip[8] = 64
    ip[9] = 47
    ip.store(source, at: 12)
    ip.store(destination, at: 16)
    ip.store(~Checksum.fold(Checksum.sum(ip, 20)), at: 10)
    ip.store(UInt32(0x2000_6558), at: 20)
    ip.store(vsid << 8, at: 24)
    return 42 + innerLength
}

/// An ARP packet.
func writeARP(
    _ bytes: Bytes, operation: UInt16, to destinationMAC: UInt64, sender: (mac: UInt64, ip: UInt32),
    target: (mac: UInt64, ip: UInt32)
) -> Int {
    bytes.store(MACAddress(destinationMAC), at: 0)
    bytes.store(MACAddress(sender.mac), at: 6)
    bytes.store(UInt16(0x0806), at: 12)
    ARPPacket(bytes.advanced(by: 14)).write(
        operation: operation, sender: (MACAddress(sender.mac), sender.ip),
        target: (MACAddress(target.mac), target.ip))
    return 42
}

/// What an encapsulated output frame says.
struct Encapsulated {
    let source: UInt32
    let destination: UInt32
    let vsid: UInt32
    let innerDestinationMAC: UInt64
    let innerSource: UInt32
    let innerDestination: UInt32

    init?(_ frame: apus_frame) {
        guard frame.flags & APUS_FRAME_ENCAPSULATED != 0, frame.length >= 42 + 34 else { return nil }
        let bytes = Bytes(frame.data)
        let outer = IPv4Header(bytes.advanced(by: 14))
        guard outer.hasCorrectChecksum, outer.proto == 47, bytes.u32(34) == 0x2000_6558 else { return nil }
        source = outer.source
        destination = outer.destination
        vsid = bytes.u32(38) >> 8
        let inner = bytes.advanced(by: 42)
        innerDestinationMAC = inner.mac(0).value
        innerSource = inner.u32(26)
        innerDestination = inner.u32(30)
    }
}
