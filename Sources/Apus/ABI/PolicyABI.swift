// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// policy.h

// MARK: - Lookup records

private let recordObject: Words = "lookup record"
private let recordMinimum = MemoryLayout<apus_lookup_record>.size

/// The key fields of a record; the MAC belongs to them where the address is unspecified.
private func readKey(_ record: apus_lookup_record, _ settings: Settings) -> (Failure?, UInt32, IPAddress, MACAddress) {
    let vsid = record.virtual_subnet_id
    let mac = MACAddress(record.mac)
    var (failure, ca) = readAddress(record.customer_address, recordObject, "customer_address")
    if failure == nil {
        failure = ca.isUnspecified ? checkMAC(mac, recordObject) : checkUnicast(ca, recordObject, "customer_address")
    }
    return (checkVSID(vsid, settings, recordObject) ?? failure, vsid, ca, mac)
}

/// Check a record and hand it on, with its texts if it has any.
private func withRecord(
    _ pointer: UnsafePointer<apus_lookup_record>?, _ dataplane: Ref<Dataplane>,
    _ body: (LookupRecord, Ref<RecordTexts>?) -> Failure?
) -> Failure? {
    var copy = apus_lookup_record()
    if let failure = unsafe readStruct(pointer, into: &copy, minimum: recordMinimum, recordObject) { return failure }
    let (keyFailure, vsid, ca, mac) = readKey(copy, dataplane.value.settings)
    dataplane.value.store.prefetch(vsid, ca, mac)
    let (addressFailure, pa) = readUnicast(copy.provider_address, recordObject, "provider_address")
    let rule = copy.rule == 0 ? APUS_RULE_ENCAP.rawValue : copy.rule.u32
    let type = copy.type == 0 ? APUS_RECORD_STATIC.rawValue : copy.type.u32
    let failure =
        keyFailure ?? checkMAC(mac, recordObject) ?? checkRule(rule) ?? checkType(type, ca) ?? addressFailure
        ?? checkFlags(copy.flags, LookupRecord.unusable | LookupRecord.unsynchronized | APUS_RECORD_USE_VM_MAC, recordObject)
    if let failure { return failure }
    let record = LookupRecord(
        vsid: vsid, ca: ca, mac: mac, pa: pa, rule: rule.u8, type: type.u8, texts: 0, flags: copy.flags)
    if let failure = checkRewrite(record) { return failure }
    if copy.customer_id.0 | copy.context.0 | copy.vm_name.0 == 0 { return body(record, nil) }
    var texts = RecordTexts(
        customerID: .init(repeating: 0), context: .init(repeating: 0), vmName: .init(repeating: 0), nextFree: 0)
    if let failure = readTexts(copy, &texts) { return failure }
    return unsafe withUnsafeMutablePointer(to: &texts) { body(record, unsafe Ref($0)) }
}

private func checkRule(_ rule: UInt32) -> Failure? {
    if rule >= APUS_RULE_ENCAP.rawValue, rule <= APUS_RULE_NONE.rawValue { return nil }
    return Failure(APUS_ERR_RULE, recordObject, "rule", .number(rule.u64), "is outside 1-3")
}

/// What the rule TranslationMethodNat needs, and what needs it.
private func checkRewrite(_ record: LookupRecord) -> Failure? {
    if !record.isRewritten {
        return record.usesVMMAC
            ? Failure(
                APUS_ERR_CONFLICT, recordObject, "flags", .number(record.flags.u64),
                "have APUS_RECORD_USE_VM_MAC, which is for the rule TranslationMethodNat")
            : nil
    }
    if record.isSpecial {
        return Failure(
            APUS_ERR_CONFLICT, recordObject, "rule", .number(record.rule.u64),
            "(TranslationMethodNat) needs a customer address")
    }
    if record.ca.isV4 != record.pa.isV4 {
        return Failure(
            APUS_ERR_FAMILY, recordObject, "provider_address", .address(record.pa),
            "is not of the customer address's family, which the rule TranslationMethodNat needs")
    }
    return nil
}

private func checkType(_ type: UInt32, _ ca: IPAddress) -> Failure? {
    guard type >= APUS_RECORD_STATIC.rawValue, type <= APUS_RECORD_L2_ONLY.rawValue else {
        return Failure(APUS_ERR_RULE, recordObject, "type", .number(type.u64), "is outside 1-4")
    }
    let isSpecial = type.u8 == LookupRecord.wildcard || type.u8 == LookupRecord.l2Only
    if isSpecial == ca.isUnspecified { return nil }
    return Failure(
        APUS_ERR_ADDRESS, recordObject, "customer_address", .address(ca),
        isSpecial ? "must be 0.0.0.0 or :: for this type" : "is not a unicast address")
}

private func readTexts(_ record: apus_lookup_record, _ texts: inout RecordTexts) -> Failure? {
    func failure(_ field: Words) -> Failure {
        Failure(APUS_ERR_RANGE, recordObject, field, .none, "is not NUL-terminated within 64 bytes")
    }
    let hasID = unsafe withUnsafePointer(to: record.customer_id) { unsafe readText($0, &texts.customerID) }
    if !hasID { return failure("customer_id") }
    let hasContext = unsafe withUnsafePointer(to: record.context) { unsafe readText($0, &texts.context) }
    if !hasContext { return failure("context") }
    let hasName = unsafe withUnsafePointer(to: record.vm_name) { unsafe readText($0, &texts.vmName) }
    if !hasName { return failure("vm_name") }
    return nil
}

private func fill(_ record: LookupRecord, _ tables: Tables, _ out: UnsafeMutablePointer<apus_lookup_record>, size: Int)
{
    var c = apus_lookup_record()
    c.customer_address = record.ca.c
    c.virtual_subnet_id = record.vsid
    c.mac = record.mac.c
    c.rule = record.rule
    c.type = record.type
    c.flags = record.flags
    c.provider_address = record.pa.c
    if record.texts != 0 {
        let texts = tables.texts[record.texts &- 1].value
        unsafe withUnsafeMutablePointer(to: &c.customer_id) { to in
            unsafe withUnsafePointer(to: texts.customerID) { unsafe apus_copy(to, $0, 64) }
        }
        unsafe withUnsafeMutablePointer(to: &c.context) { to in
            unsafe withUnsafePointer(to: texts.context) { unsafe apus_copy(to, $0, 64) }
        }
        unsafe withUnsafeMutablePointer(to: &c.vm_name) { to in
            unsafe withUnsafePointer(to: texts.vmName) { unsafe apus_copy(to, $0, 64) }
        }
    }
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_lookup_record_add(_ dataplane: OpaquePointer?, _ record: UnsafePointer<apus_lookup_record>?) -> Int32 {
    unsafe control(dataplane) { dataplane in
        unsafe withRecord(record, dataplane) { dataplane.value.store.addRecord($0, texts: $1) }
    }
}

@c @implementation
public func apus_lookup_record_set(_ dataplane: OpaquePointer?, _ record: UnsafePointer<apus_lookup_record>?) -> Int32 {
    unsafe control(dataplane) { dataplane in
        unsafe withRecord(record, dataplane) { dataplane.value.store.setRecord($0, texts: $1) }
    }
}

@c @implementation
public func apus_lookup_record_get(
    _ dataplane: OpaquePointer?, _ record: UnsafeMutablePointer<apus_lookup_record>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(record, minimum: recordMinimum, recordObject)
        guard sizeFailure == nil, let record = unsafe record else { return sizeFailure }
        let (failure, vsid, ca, mac) = unsafe readKey(record.pointee, dataplane.value.settings)
        if let failure { return failure }
        guard let number = dataplane.value.store.record(vsid, ca, mac) else { return Store.recordMissing(ca) }
        let tables = dataplane.value.store.tables
        unsafe fill(tables.records[number], tables, record, size: size)
        return nil
    }
}

@c @implementation
public func apus_lookup_record_remove(
    _ dataplane: OpaquePointer?, _ record: UnsafePointer<apus_lookup_record>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_lookup_record()
        if let failure = unsafe readStruct(record, into: &copy, minimum: recordMinimum, recordObject) { return failure }
        let (failure, vsid, ca, mac) = readKey(copy, dataplane.value.settings)
        return failure ?? dataplane.value.store.removeRecord(vsid, ca, mac)
    }
}

@c @implementation
public func apus_lookup_record_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_lookup_record>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, recordMinimum, recordObject, { $0.records }) { tables, number, out, size in
        unsafe fill(tables.records[number], tables, out, size: size)
    }
}

// MARK: - Customer routes

private let routeObject: Words = "customer route"
private let routeMinimum = MemoryLayout<apus_customer_route>.size

/// Check a route's fields; only metric and flags are not part of its key.
private func readRoute(_ route: apus_customer_route, _ settings: Settings) -> (Failure?, GUID, CustomerRoute) {
    let id = GUID(route.routing_domain_id)
    let (prefixFailure, prefix, length) = readPrefix(route.destination_prefix, routeObject, "destination_prefix")
    let (hopFailure, nextHop) = readNextHop(route.next_hop, towards: route.destination_prefix, routeObject)
    let value = CustomerRoute(
        prefix: prefix, nextHop: nextHop, domain: none, vsid: route.virtual_subnet_id, metric: route.metric,
        length: length, flags: route.flags.u8)
    var failure: Failure?
    if id.isZero {
        failure = Failure(APUS_ERR_CONFLICT, routeObject, "routing_domain_id", .guid(id), "is all zero")
    }
    failure =
        failure ?? checkVSID(value.vsid, settings, routeObject) ?? prefixFailure ?? hopFailure
        ?? checkFlags(route.flags, CustomerRoute.advertise | CustomerRoute.autoconfigure, routeObject)
        ?? checkAdvertisement(value)
    return (failure, id, value)
}

private func checkAdvertisement(_ route: CustomerRoute) -> Failure? {
    let flags = route.flags.u32
    if flags == 0 { return nil }
    func failure(_ words: Words) -> Failure {
        Failure(APUS_ERR_CONFLICT, routeObject, "flags", .number(flags.u64), words)
    }
    if route.prefix.isV4 || !route.isOnLink { return failure("are for on-link IPv6 routes only") }
    if flags == CustomerRoute.autoconfigure { return failure("lack APUS_CUSTOMER_ROUTE_ADVERTISE") }
    if flags & CustomerRoute.autoconfigure != 0, route.length != 64 {
        return failure("need a prefix length of 64 for APUS_CUSTOMER_ROUTE_AUTOCONFIGURE")
    }
    return nil
}

private func readRoute(
    _ pointer: UnsafePointer<apus_customer_route>?, _ settings: Settings
) -> (Failure?, GUID, CustomerRoute) {
    var copy = apus_customer_route()
    let failure = unsafe readStruct(pointer, into: &copy, minimum: routeMinimum, routeObject)
    let (fieldFailure, id, route) = readRoute(copy, settings)
    return (failure ?? fieldFailure, id, route)
}

private func fill(_ route: CustomerRoute, _ tables: Tables, _ out: UnsafeMutablePointer<apus_customer_route>, size: Int)
{
    var c = apus_customer_route()
    c.routing_domain_id = tables.domains[route.domain].value.id.c
    c.virtual_subnet_id = route.vsid
    c.destination_prefix = route.prefix.prefix(route.length)
    c.next_hop = route.nextHop.c
    c.metric = route.metric
    c.flags = route.flags.u32
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_customer_route_add(_ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_customer_route>?) -> Int32
{
    unsafe control(dataplane) { dataplane in
        let (failure, id, value) = unsafe readRoute(route, dataplane.value.settings)
        let hasOneFamily = dataplane.value.settings.flags & APUS_DATAPLANE_ONE_CUSTOMER_FAMILY != 0
        return failure ?? dataplane.value.store.addRoute(id, value, hasOneFamily: hasOneFamily)
    }
}

@c @implementation
public func apus_customer_route_set(_ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_customer_route>?) -> Int32
{
    unsafe control(dataplane) { dataplane in
        let (failure, id, value) = unsafe readRoute(route, dataplane.value.settings)
        return failure ?? dataplane.value.store.setRoute(id, value)
    }
}

@c @implementation
public func apus_customer_route_get(
    _ dataplane: OpaquePointer?, _ route: UnsafeMutablePointer<apus_customer_route>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(route, minimum: routeMinimum, routeObject)
        guard sizeFailure == nil, let route = unsafe route else { return sizeFailure }
        var key = unsafe route.pointee
        key.flags = 0
        let (failure, id, value) = readRoute(key, dataplane.value.settings)
        if let failure { return failure }
        guard let number = dataplane.value.store.route(id, value) else { return Store.routeMissing(value) }
        let tables = dataplane.value.store.tables
        unsafe fill(tables.routes[number], tables, route, size: size)
        return nil
    }
}

@c @implementation
public func apus_customer_route_remove(
    _ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_customer_route>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_customer_route()
        if let failure = unsafe readStruct(route, into: &copy, minimum: routeMinimum, routeObject) { return failure }
        copy.flags = 0
        let (failure, id, value) = readRoute(copy, dataplane.value.settings)
        return failure ?? dataplane.value.store.removeRoute(id, value)
    }
}

@c @implementation
public func apus_customer_route_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_customer_route>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, routeMinimum, routeObject, { $0.routes }) { tables, number, out, size in
        unsafe fill(tables.routes[number], tables, out, size: size)
    }
}
