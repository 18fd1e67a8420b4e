// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// explain.h

private let object: Words = "explanation"

@c @implementation
public func apus_verdict_name(_ verdict: UInt32) -> UnsafePointer<CChar>? { unsafe name(verdict).c }

private func name(_ verdict: UInt32) -> Words {
    switch verdict {
    case APUS_VERDICT_DROP.rawValue: "DROP"
    case APUS_VERDICT_DELIVER.rawValue: "DELIVER"
    case APUS_VERDICT_ENCAPSULATE.rawValue: "ENCAPSULATE"
    case APUS_VERDICT_DECAPSULATE.rawValue: "DECAPSULATE"
    case APUS_VERDICT_FRAGMENT.rawValue: "FRAGMENT"
    case APUS_VERDICT_ANSWER.rawValue: "ANSWER"
    case APUS_VERDICT_CONSUME.rawValue: "CONSUME"
    case APUS_VERDICT_COPY.rawValue: "COPY"
    case APUS_VERDICT_WAIT.rawValue: "WAIT"
    case APUS_VERDICT_REWRITE.rawValue: "REWRITE"
    case APUS_VERDICT_LEAVE.rawValue: "LEAVE"
    default: ""
    }
}

@c @implementation
public func apus_explain(
    _ dataplane: OpaquePointer?, _ frame: UnsafePointer<apus_frame>?, _ now: UInt64,
    _ out: UnsafeMutablePointer<apus_explanation>?, _ text: UnsafeMutablePointer<CChar>?, _ textSize: Int
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        guard let frame = unsafe frame else { return nullFailure(object, "frame") }
        var size = 0
        if unsafe out != nil {
            let (failure, outSize) = unsafe sizeOfStruct(out, minimum: MemoryLayout<apus_explanation>.size, object)
            if let failure { return failure }
            size = outSize
        }
        let memory = dataplane.value.memory
        guard let bench = Bench(memory) else { return .memory(object) }
        defer { bench.destroy(memory) }
        let worker = Worker(
            memory, tables: dataplane.value.store.tables, settings: dataplane.value.settings,
            grace: dataplane.value.store.grace, index: 0, buffers: bench.buffers, flowCapacity: 64,
            wideFlowCapacity: 64, heldCapacity: 1)
        guard var worker else { return .memory(object) }
        defer { worker.destroy(memory) }

        var nothing: UInt8 = 0
        var explanation = apus_explanation()
        unsafe withUnsafeMutablePointer(to: &nothing) { nothing in
            let given = unsafe text.map { unsafe UnsafeMutableRawPointer($0).assumingMemoryBound(to: UInt8.self) }
            var trace = Trace(text: unsafe TextWriter(given ?? nothing, size: given == nil ? 0 : textSize))
            unsafe withUnsafeMutablePointer(to: &trace) { trace in
                worker.trace = unsafe Ref(trace)
                let copy = bench.take(unsafe UnsafeRawPointer(frame).load(as: Frame.self))
                let count = worker.explain(copy, bench.output, Bench.outputs, now)
                explanation = conclude(worker, bench.output, count)
                explanation.mtu = unsafe trace.pointee.mtu
                write(explanation, worker, bench.output, to: unsafe Ref(trace))
            }
        }
        if let out = unsafe out { unsafe writeStruct(explanation, to: out, size: size) }
        return nil
    }
}

/// What became of the frame, as the counters of the worker that had nothing else to do tell it.
private func conclude(_ worker: borrowing Worker, _ output: Ref<Frame>, _ count: Int) -> apus_explanation {
    let counters = worker.counters
    func has(_ counter: Counter) -> Bool { counters.read(counter.rawValue) != 0 }
    var explanation = apus_explanation()
    let verdict: apus_verdict =
        if has(.icmpErrors) {
            // Whatever becomes of the error.
            APUS_VERDICT_DROP
        } else if has(.replicated) {
            APUS_VERDICT_COPY
        } else if has(.held) {
            APUS_VERDICT_WAIT
        } else if has(.arpReplies) || has(.echoReplies) || has(.routerAdvertisements) {
            // Also if the answer leaves as fragments.
            APUS_VERDICT_ANSWER
        } else if has(.fragmented) {
            APUS_VERDICT_FRAGMENT
        } else if has(.routed), worker.scratch.value.kind == .leave {
            APUS_VERDICT_LEAVE
        } else if has(.rewritten) {
            APUS_VERDICT_REWRITE
        } else if has(.encapsulated) {
            APUS_VERDICT_ENCAPSULATE
        } else if has(.decapsulated) {
            APUS_VERDICT_DECAPSULATE
        } else if has(.switched) || has(.routed) {
            has(.generated) ? APUS_VERDICT_COPY : APUS_VERDICT_DELIVER
        } else {
            has(.consumed) ? APUS_VERDICT_CONSUME : APUS_VERDICT_DROP
        }
    explanation.verdict = verdict.rawValue
    if verdict == APUS_VERDICT_DROP {
        if has(.icmpErrors) { explanation.drop_reason = APUS_DROP_TTL_EXPIRED.rawValue }
        while explanation.drop_reason < APUS_DROP_REASON_COUNT.rawValue,
            counters.read(Counters.dropsOffset &+ explanation.drop_reason.int) == 0
        { explanation.drop_reason &+= 1 }
    }
    explanation.frames = count.u32
    explanation.port = count > 0 ? output[0].port : 0
    return explanation
}

/// "verdict: ENCAPSULATE to 192.168.0.33, virtual subnet 6001, through port 4096 (uplink)"
private func write(_ explanation: apus_explanation, _ worker: borrowing Worker, _ output: Ref<Frame>, to trace: Ref<Trace>) {
    trace.value.begin("verdict: ")
    trace.value.text.put(name(explanation.verdict))
    switch explanation.verdict {
    case APUS_VERDICT_DROP.rawValue:
        trace.value.text.put(0x20)
        unsafe trace.value.text.put(c: apus_drop_name(explanation.drop_reason))
        trace.value.text.put(": ")
        unsafe trace.value.text.put(c: apus_drop_text(explanation.drop_reason))
    case APUS_VERDICT_ENCAPSULATE.rawValue:
        let bytes = output[0].bytes
        let link = Ethernet.headerLength &+ (Ethernet.isTag(bytes.u16(Ethernet.etherType)) ? Ethernet.tagLength : 0)
        trace.value.text.put(" to ")
        let packet = IPPacket(in: bytes.advanced(by: link &- Ethernet.headerLength))
        trace.value.text.put(packet.destination)
        trace.value.text.put(", virtual subnet ")
        let ipLength = packet.isIPv6 ? IPv6Header.length : packet.v4.headerLength
        trace.value.text.put(decimal: GREHeader(packet.ip.advanced(by: ipLength)).vsid.u64)
        trace.value.text.put(0x2C)
    default: break
    }
    if explanation.frames == 0 { return }
    if explanation.verdict == APUS_VERDICT_DROP.rawValue { trace.value.text.put("; an ICMP error goes back") }
    trace.value.text.put(" through port ")
    worker.put(port: explanation.port, to: trace)
    if explanation.mtu != 0 {
        trace.value.text.put(", packets of up to ")
        trace.value.text.put(decimal: explanation.mtu.u64)
        trace.value.text.put(" bytes")
    }
    if explanation.frames > 1 {
        trace.value.text.put(", ")
        trace.value.text.put(decimal: explanation.frames.u64)
        trace.value.text.put(" frames")
    }
}

/// Memory for one frame and all that it may become. The frames that the pipeline makes lie one over the other: their
/// bytes are of no interest.
private struct Bench {
    private let block: Ref<UInt8>

    private static var headroom: Int { 128 }
    private static var room: Int { 65_792 }
    private static var size: Int { 2 &* room &+ outputs &* MemoryLayout<Frame>.stride }
    /// A copy for every port, or the most fragments there can be.
    static var outputs: Int { APUS_PORTS_MAX.int &+ 64 }

    init?(_ memory: Ref<Memory>) {
        guard let block = memory.value.allocate(UInt8.self, count: Self.size) else { return nil }
        self.block = block
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(block, count: Self.size) }

    var output: Ref<Frame> {
        unsafe Ref((block.raw + 2 * Self.room).assumingMemoryBound(to: Frame.self))
    }

    /// A copy of the caller's frame.
    func take(_ frame: Frame) -> Frame {
        let place = unsafe Bytes(block.pointer + Self.headroom)
        if frame.address != 0 { place.copy(frame.contiguous.int, from: frame.bytes) }
        return Frame(
            address: frame.address == 0 ? 0 : block.address &+ UInt(bitPattern: Self.headroom), buffer: 0,
            length: frame.length, contiguous: frame.contiguous, headroom: min(frame.headroom, Self.headroom.u16),
            port: frame.port,
            flags: frame.flags)
    }

    var buffers: Buffers {
        unsafe Buffers(
            apus_buffers(
                allocate: { context, capacity, frame in
                    guard let context = unsafe context, let frame = unsafe frame, capacity <= 65_535 else { return 1 }
                    let start = unsafe context + (Bench.room + Bench.headroom)
                    unsafe frame.pointee.data = unsafe start.assumingMemoryBound(to: UInt8.self)
                    unsafe frame.pointee.contiguous = capacity.u16
                    unsafe frame.pointee.headroom = Bench.headroom.u16
                    return 0
                },
                release: { _, _, _ in },
                context: block.raw))
    }
}
