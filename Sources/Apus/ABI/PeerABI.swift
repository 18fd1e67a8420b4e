// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// provider.h: provider peers

private let object: Words = "provider peer"
private let minimum = MemoryLayout<apus_provider_peer>.size

private func readPeer(_ pointer: UnsafePointer<apus_provider_peer>?) -> (Failure?, ProviderPeer) {
    var copy = apus_provider_peer()
    let sizeFailure = unsafe readStruct(pointer, into: &copy, minimum: minimum, object)
    let (addressFailure, address) = readUnicast(copy.provider_address, object, "provider_address")
    let peer = ProviderPeer(
        address: address, mtu: copy.mtu, encapsulation: orFirst(copy.encapsulation), keyLayout: orFirst(copy.key_layout),
        flowID: copy.flow_id, dscpMode: orFirst(copy.dscp_mode), dscp: copy.dscp, ecnMode: orFirst(copy.ecn_mode),
        dfMode: orFirst(copy.df_mode), ttl: copy.ttl)
    let failure =
        sizeFailure ?? addressFailure ?? checkModes(copy) ?? checkTogether(peer)
        ?? checkZero(copy.reserved.u64, object, "reserved") ?? checkFlags(copy.flags, 0, object)
    return (failure, peer)
}

/// 0 stands for the first value of each enumeration.
private func orFirst(_ value: UInt8) -> UInt8 { value == 0 ? 1 : value }

private func checkModes(_ peer: apus_provider_peer) -> Failure? {
    func check(_ value: UInt8, _ maximum: UInt8, _ field: Words, _ words: Words) -> Failure? {
        value <= maximum ? nil : Failure(APUS_ERR_RANGE, object, field, .number(value.u64), words)
    }
    if peer.mtu != 0, peer.mtu < 128 {
        return Failure(APUS_ERR_RANGE, object, "mtu", .number(peer.mtu.u64), "is outside 128-65535")
    }
    return check(peer.encapsulation, 2, "encapsulation", "is outside 1-2")
        ?? check(peer.key_layout, 2, "key_layout", "is outside 1-2") ?? check(peer.flow_id, 2, "flow_id", "is outside 1-2")
        ?? check(peer.dscp_mode, 3, "dscp_mode", "is outside 1-3") ?? check(peer.dscp, 63, "dscp", "is outside 0-63")
        ?? check(peer.ecn_mode, 2, "ecn_mode", "is outside 1-2") ?? check(peer.df_mode, 2, "df_mode", "is outside 1-2")
}

private func checkTogether(_ peer: ProviderPeer) -> Failure? {
    if peer.isVXLAN, peer.hasDraftKeys {
        return Failure(
            APUS_ERR_CONFLICT, object, "key_layout", .number(peer.keyLayout.u64), "is for NVGRE; VXLAN has no key")
    }
    if peer.dscp != 0, peer.dscpMode.u32 != APUS_DSCP_PIPE.rawValue {
        return Failure(
            APUS_ERR_CONFLICT, object, "dscp", .number(peer.dscp.u64), "is for dscp_mode 3 (pipe) only")
    }
    return nil
}

private func fill(_ peer: ProviderPeer, _ out: UnsafeMutablePointer<apus_provider_peer>, size: Int) {
    var c = apus_provider_peer()
    c.provider_address = peer.address.c
    c.encapsulation = peer.encapsulation
    c.key_layout = peer.keyLayout
    c.flow_id = peer.flowID
    c.dscp_mode = peer.dscpMode
    c.dscp = peer.dscp
    c.ecn_mode = peer.ecnMode
    c.df_mode = peer.dfMode
    c.ttl = peer.ttl
    c.mtu = peer.mtu
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_provider_peer_add(_ dataplane: OpaquePointer?, _ peer: UnsafePointer<apus_provider_peer>?) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readPeer(peer)
        return failure ?? dataplane.value.store.addPeer(value)
    }
}

@c @implementation
public func apus_provider_peer_set(_ dataplane: OpaquePointer?, _ peer: UnsafePointer<apus_provider_peer>?) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readPeer(peer)
        return failure ?? dataplane.value.store.setPeer(value)
    }
}

@c @implementation
public func apus_provider_peer_get(
    _ dataplane: OpaquePointer?, _ peer: UnsafeMutablePointer<apus_provider_peer>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(peer, minimum: minimum, object)
        guard sizeFailure == nil, let peer = unsafe peer else { return sizeFailure }
        let (failure, key) = unsafe readUnicast(peer.pointee.provider_address, object, "provider_address")
        if let failure { return failure }
        guard let number = dataplane.value.store.peer(key) else { return Store.peerMissing(key) }
        unsafe fill(dataplane.value.store.tables.peers[number], peer, size: size)
        return nil
    }
}

@c @implementation
public func apus_provider_peer_remove(
    _ dataplane: OpaquePointer?, _ peer: UnsafePointer<apus_provider_peer>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_provider_peer()
        if let failure = unsafe readStruct(peer, into: &copy, minimum: minimum, object) { return failure }
        let (failure, key) = readUnicast(copy.provider_address, object, "provider_address")
        return failure ?? dataplane.value.store.removePeer(key)
    }
}

@c @implementation
public func apus_provider_peer_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_provider_peer>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, minimum, object, { $0.peers }) { tables, number, out, size in
        unsafe fill(tables.peers[number], out, size: size)
    }
}
