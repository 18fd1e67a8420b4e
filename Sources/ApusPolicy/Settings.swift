// SPDX-License-Identifier: Apache-2.0

public import CApus

/// The `settings` of a policy file: options of the dataplane. Nil where the file says nothing.
public struct Settings: Sendable {
    public var acceptsReservedVSIDs: Bool?
    public var hasZeroFlowID: Bool?
    public var validatesSource: Bool?
    public var acceptsIPOptions: Bool?
    public var gatewayMAC: apus_mac?
    public var outerTTL: UInt8?
    public var neighborReachableMilliseconds: UInt32?
    public var neighborRetryMilliseconds: UInt32?
    public var neighborRetries: UInt32?
    public var sendsICMPErrors: Bool?
    public var icmpErrorRate: UInt32?
    public var sendsUnreachable: Bool?
    public var vxlanPort: UInt16?
    public var learnRate: UInt32?
    public var usesExternalRouter: Bool?
    public var hasOneCustomerFamily: Bool?

    init() {}

    init(_ fields: inout FieldReader) {
        acceptsReservedVSIDs = fields.flag("accept_reserved_vsids")
        hasZeroFlowID = fields.flag("flow_id_zero")
        validatesSource = fields.flag("source_validation")
        acceptsIPOptions = fields.flag("accept_ip_options")
        gatewayMAC = fields.mac("gateway_mac", .optional)
        outerTTL = fields.number("outer_ttl", .optional, in: 1...UInt8.max)
        neighborReachableMilliseconds = fields.number("neighbour_reachable_ms", .optional, in: 1000...UInt32(3_600_000))
        neighborRetryMilliseconds = fields.number("neighbour_retry_ms", .optional, in: 10...UInt32(60_000))
        neighborRetries = fields.number("neighbour_retries", .optional, in: 1...UInt32(16))
        sendsICMPErrors = fields.flag("icmp_errors")
        icmpErrorRate = fields.number("icmp_error_rate", .optional, in: 1...UInt32(1_000_000))
        sendsUnreachable = fields.flag("send_unreachable")
        vxlanPort = fields.number("vxlan_port", .optional, in: 1...UInt16.max)
        learnRate = fields.number("learn_rate", .optional, in: 1...UInt32(1_000_000))
        usesExternalRouter = fields.flag("use_external_router")
        hasOneCustomerFamily = fields.flag("one_customer_family")
    }

    /// The `APUS_DATAPLANE_*` flags that the settings ask for.
    var flags: UInt32 {
        var flags: UInt32 = 0
        if acceptsReservedVSIDs == true { flags |= APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS }
        if hasZeroFlowID == true { flags |= APUS_DATAPLANE_FLOW_ID_ZERO }
        if validatesSource == false { flags |= APUS_DATAPLANE_NO_SOURCE_VALIDATION }
        if acceptsIPOptions == true { flags |= APUS_DATAPLANE_ACCEPT_IP_OPTIONS }
        if sendsUnreachable == true { flags |= APUS_DATAPLANE_SEND_UNREACHABLE }
        if sendsICMPErrors == false { flags |= APUS_DATAPLANE_NO_ICMP_ERRORS }
        if usesExternalRouter == true { flags |= APUS_DATAPLANE_USE_EXTERNAL_ROUTER }
        if hasOneCustomerFamily == true { flags |= APUS_DATAPLANE_ONE_CUSTOMER_FAMILY }
        return flags
    }
}

extension PolicyFile {
    /// Put the settings, and the number of lookup records, into options: only what the file says is changed.
    public func fill(_ options: inout apus_dataplane_opts) {
        unsafe options.flags |= settings.flags
        if let mac = settings.gatewayMAC { unsafe options.gateway_mac = mac }
        if let ttl = settings.outerTTL { unsafe options.outer_ttl = ttl }
        if let reachable = settings.neighborReachableMilliseconds { unsafe options.neighbor_reachable_ms = reachable }
        if let retry = settings.neighborRetryMilliseconds { unsafe options.neighbor_retry_ms = retry }
        if let retries = settings.neighborRetries { unsafe options.neighbor_retries = retries }
        if let rate = settings.icmpErrorRate { unsafe options.icmp_error_rate = rate }
        if let port = settings.vxlanPort { unsafe options.vxlan_port = port }
        if let rate = settings.learnRate { unsafe options.learn_rate = rate }
        // Below 1024 the default is larger; above 2^25 the dataplane would refuse it, and the tables grow anyway.
        if lookupRecords.count > 1024 { unsafe options.expected_records = UInt32(min(lookupRecords.count, 1 << 25)) }
    }
}
