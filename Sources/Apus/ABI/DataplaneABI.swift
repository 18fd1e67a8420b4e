// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

// dataplane.h

private let object: Words = "dataplane"

@c @implementation
public func apus_dataplane_create(
    _ opts: UnsafePointer<apus_dataplane_opts>?, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    var copy = unsafe apus_dataplane_opts()
    var failure: Failure?
    if unsafe opts != nil {
        failure = unsafe readStruct(opts, into: &copy, minimum: MemoryLayout<apus_dataplane_opts>.size, object)
    }
    if failure == nil, unsafe out == nil { failure = nullFailure(object, "out") }
    if failure == nil { failure = unsafe checkOptions(copy) }
    if failure == nil, apus_cpu_suffices() == 0 {
        failure = Failure(
            APUS_ERR_CPU, object, "cpu", .none, "lacks an instruction set that this library was built for")
    }
    if failure == nil {
        let (made, handle) = unsafe make(copy)
        failure = made
        if let handle { unsafe out?.pointee = handle.pointer }
    }
    if let text = unsafe copy.error_text, unsafe copy.error_text_size != 0 {
        let bytes = unsafe Ref(UnsafeMutableRawPointer(text).assumingMemoryBound(to: UInt8.self))
        write(failure, to: bytes, size: unsafe copy.error_text_size)
    }
    return failure?.code ?? APUS_OK.rawValue
}

private func checkOptions(_ opts: apus_dataplane_opts) -> Failure? {
    let known =
        APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS | APUS_DATAPLANE_FLOW_ID_ZERO | APUS_DATAPLANE_NO_ICMP_ERRORS
        | APUS_DATAPLANE_NO_SOURCE_VALIDATION | APUS_DATAPLANE_ACCEPT_IP_OPTIONS
        | APUS_DATAPLANE_SEND_UNREACHABLE | APUS_DATAPLANE_USE_EXTERNAL_ROUTER | APUS_DATAPLANE_ONE_CUSTOMER_FAMILY
    if let failure = unsafe checkFlags(opts.flags, known, object) { return failure }
    if let failure = unsafe checkZero(opts.reserved0.u64, object, "reserved0") { return failure }
    if let failure = unsafe checkZero(opts.reserved1.u64, object, "reserved1") { return failure }
    if unsafe (opts.allocator.allocate == nil) != (opts.allocator.release == nil) {
        return Failure(APUS_ERR_NULL, object, "allocator", .none, "has only one of allocate and release")
    }
    if unsafe opts.expected_records > 33_554_432 {
        return Failure(
            APUS_ERR_RANGE, object, "expected_records", .number(unsafe opts.expected_records.u64),
            "is outside 0-33554432")
    }
    let gateway = unsafe MACAddress(opts.gateway_mac)
    if gateway.value != 0, let failure = checkMAC(gateway, object, "gateway_mac") { return failure }
    if let failure = unsafe checkOptional(opts.neighbor_reachable_ms, 1000, 3_600_000) {
        return Failure(APUS_ERR_RANGE, object, "neighbor_reachable_ms", failure, "is outside 1000-3600000")
    }
    if let failure = unsafe checkOptional(opts.neighbor_retry_ms, 10, 60_000) {
        return Failure(APUS_ERR_RANGE, object, "neighbor_retry_ms", failure, "is outside 10-60000")
    }
    if let failure = unsafe checkOptional(opts.neighbor_retries, 1, 16) {
        return Failure(APUS_ERR_RANGE, object, "neighbor_retries", failure, "is outside 1-16")
    }
    if let failure = unsafe checkOptional(opts.icmp_error_rate, 1, 1_000_000) {
        return Failure(APUS_ERR_RANGE, object, "icmp_error_rate", failure, "is outside 1-1000000")
    }
    if let failure = unsafe checkOptional(opts.learn_rate, 1, 1_000_000) {
        return Failure(APUS_ERR_RANGE, object, "learn_rate", failure, "is outside 1-1000000")
    }
    return nil
}

/// The value when it is given and outside the range.
private func checkOptional(_ value: UInt32, _ minimum: UInt32, _ maximum: UInt32) -> Failure.Value? {
    value == 0 || (value >= minimum && value <= maximum) ? nil : .number(value.u64)
}

private func settings(_ opts: apus_dataplane_opts) -> Settings {
    let gateway = unsafe MACAddress(opts.gateway_mac)
    let milliseconds: UInt64 = 1_000_000
    return unsafe Settings(
        flags: opts.flags,
        gatewayMAC: gateway.value == 0 ? MACAddress(0x0261_7075_7301) : gateway,
        outerTTL: opts.outer_ttl == 0 ? 128 : opts.outer_ttl,
        vxlanPort: opts.vxlan_port == 0 ? VXLANHeader.port : opts.vxlan_port,
        reachable: (opts.neighbor_reachable_ms == 0 ? 30_000 : opts.neighbor_reachable_ms).u64 &* milliseconds,
        retry: (opts.neighbor_retry_ms == 0 ? 1000 : opts.neighbor_retry_ms).u64 &* milliseconds,
        retries: opts.neighbor_retries == 0 ? 3 : opts.neighbor_retries,
        errorInterval: 1_000_000_000 / (opts.icmp_error_rate == 0 ? 100 : opts.icmp_error_rate).u64,
        learnInterval: 1_000_000_000 / (opts.learn_rate == 0 ? 100 : opts.learn_rate).u64)
}

private func hashKey(_ opts: apus_dataplane_opts) -> apus_hash_key? {
    var key = apus_hash_key()
    let (given, rest) = unsafe withUnsafePointer(to: opts.hash_key) {
        unsafe (apus_load64($0), apus_load64(UnsafeRawPointer($0) + 8))
    }
    if given | rest == 0 {
        let size = MemoryLayout<apus_hash_key>.size
        return unsafe apus_libc_random(&key, size) == 0 ? nil : key
    }
    key.k.0 = given
    key.k.1 = rest
    key.k.2 = given ^ 0x9E37_79B9_7F4A_7C15
    key.k.3 = rest ^ 0xD1B5_4A32_D192_ED03
    return key
}

/// Everything that a dataplane is made of, or nothing.
private func make(_ opts: apus_dataplane_opts) -> (Failure?, Handle?) {
    guard let slot = Registry.take() else {
        return (
            Failure(APUS_ERR_LIMIT, object, "", .none, "64 dataplanes exist in this process, which is the most"), nil
        )
    }
    guard let keyValue = unsafe hashKey(opts) else {
        Registry.publish(slot, 0)
        return (Failure(APUS_ERR_MEMORY, object, "hash_key", .none, "is zero and the system gave no randomness"), nil)
    }
    var first = unsafe Memory(opts.allocator)
    guard let memory = first.allocate(Memory.self, count: 1) else {
        Registry.publish(slot, 0)
        return (.memory(object), nil)
    }
    memory.initialize(to: first)
    let handle = unsafe build(opts, memory, keyValue, slot)
    if handle == nil {
        Registry.publish(slot, 0)
        releaseMemory(memory)
        return (.memory(object), nil)
    }
    return (nil, handle)
}

/// `Memory` lives in what it allocated first, so it goes last.
private func releaseMemory(_ memory: Ref<Memory>) {
    var last = memory.value
    last.release(memory, count: 1)
}

private func build(
    _ opts: apus_dataplane_opts, _ memory: Ref<Memory>, _ keyValue: apus_hash_key, _ slot: Int
) -> Handle? {
    guard let key = memory.value.allocate(apus_hash_key.self, count: 1) else { return nil }
    key.initialize(to: keyValue)
    let expected = unsafe opts.expected_records == 0 ? 1024 : opts.expected_records.int
    let tables = Tables(memory, key: key, records: expected)
    let grace = Grace(memory)
    let workers = memory.value.allocateZeroed(WorkerSlot.self, count: Grace.workers)
    let retired = Counters(memory)
    let retiredPorts = PortCounters(memory)
    let portBaselines = PortCounters(memory)
    let errorText = memory.value.allocateZeroed(UInt8.self, count: Dataplane.errorTextSize)
    let dataplane = memory.value.allocate(Dataplane.self, count: 1)
    guard let tables, let grace, let workers, let retired, let retiredPorts, let portBaselines, let errorText,
        let dataplane
    else {
        tables?.destroy(memory)
        grace?.destroy(memory)
        if let workers { memory.value.release(workers, count: Grace.workers) }
        retired?.destroy(memory)
        retiredPorts?.destroy(memory)
        portBaselines?.destroy(memory)
        if let errorText { memory.value.release(errorText, count: Dataplane.errorTextSize) }
        if let dataplane { memory.value.release(dataplane, count: 1) }
        memory.value.release(key, count: 1)
        return nil
    }
    let generation = Registry.nextGeneration()
    dataplane.initialize(
        to: Dataplane(
            store: unsafe Store(
                memory: memory, tables: tables, grace: grace, wait: opts.wait, waitContext: opts.wait_context),
            memory: memory, key: key, settings: unsafe settings(opts), generation: generation, workers: workers,
            retired: retired, retiredPorts: retiredPorts, portBaselines: portBaselines, errorText: errorText))
    Registry.publish(slot, dataplane.address)
    return Handle(slot: slot, worker: nil, generation: generation)
}

@c @implementation
public func apus_dataplane_destroy(_ dataplane: OpaquePointer?) -> Int32 {
    guard let handle = unsafe Handle(dataplane) else {
        return unsafe dataplane == nil ? APUS_OK.rawValue : APUS_ERR_STALE.rawValue
    }
    var doomed: Ref<Dataplane>?
    let code = unsafe control(dataplane) { dataplane in
        var hasWorkers = false
        dataplane.value.forEachWorker { _ in hasWorkers = true }
        if hasWorkers { return Failure(APUS_ERR_IN_USE, object, "", .none, "a worker is alive; destroy it first") }
        Registry.publish(handle.slot, 1)
        doomed = dataplane
        return nil
    }
    guard let doomed else { return code }
    let memory = doomed.value.memory
    doomed.value.store.destroy()
    memory.value.release(doomed.value.workers, count: Grace.workers)
    doomed.value.retired.destroy(memory)
    doomed.value.retiredPorts.destroy(memory)
    doomed.value.portBaselines.destroy(memory)
    memory.value.release(doomed.value.errorText, count: Dataplane.errorTextSize)
    memory.value.release(doomed.value.key, count: 1)
    memory.value.release(doomed, count: 1)
    releaseMemory(memory)
    Registry.publish(handle.slot, 0)
    return APUS_OK.rawValue
}

@c @implementation
public func apus_dataplane_error_text(_ dataplane: OpaquePointer?) -> UnsafePointer<CChar>? {
    guard let dataplane = unsafe Apus.dataplane(of: dataplane) else { return unsafe Words(stringLiteral: "").c }
    return unsafe UnsafePointer(
        UnsafeMutableRawPointer(dataplane.value.errorText.pointer).assumingMemoryBound(to: CChar.self))
}

@c @implementation
public func apus_transaction_begin(_ dataplane: OpaquePointer?) -> Int32 {
    unsafe control(dataplane) { $0.value.store.begin() }
}

@c @implementation
public func apus_transaction_commit(_ dataplane: OpaquePointer?) -> Int32 {
    unsafe control(dataplane) { $0.value.store.commit() }
}

@c @implementation
public func apus_transaction_abort(_ dataplane: OpaquePointer?) -> Int32 {
    unsafe control(dataplane) { $0.value.store.abort() }
}

@c @implementation
public func apus_dataplane_synchronize(_ dataplane: OpaquePointer?) -> Int32 {
    unsafe control(dataplane) { $0.value.store.synchronize() }
}

@c @implementation
public func apus_dataplane_memory(_ dataplane: OpaquePointer?) -> UInt64 {
    guard let dataplane = unsafe Apus.dataplane(of: dataplane) else { return 0 }
    return dataplane.value.memory.value.held
}
