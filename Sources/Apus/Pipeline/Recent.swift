// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What the policy said of late, so that the first packets of many flows do not ask the same again. What is of another version
/// of the policy says nothing.
struct Recent {
    /// Where frames come from: a vm or external port, and what follows from it.
    struct Ingress {
        var version: UInt64
        var id: UInt32
        /// Numbers.
        var port: UInt32
        var domain: UInt32
        /// Gateways of the virtual subnet have no MAC, have this one, or have several.
        var hasGateways: Bool
        var hasOneGateway: Bool
        var gatewayMAC: MACAddress
    }

    struct Host {
        var pa: IPAddress
        var version: UInt64
        var isLocal: Bool
    }

    /// How packets of a tunnel arrive, against which docs/pipeline.md 4 has nothing to say up to step 9, and what follows from it.
    struct Arrival {
        var version: UInt64
        /// ``OuterPacket/identity``.
        var identity: UInt64
        var pa: IPAddress
        var ourPA: IPAddress
        var port: UInt32
        var vsid: UInt32
        /// An address of ours may turn out to be somebody else's.
        var neighborEpoch: UInt32
        /// A number.
        var domain: UInt32
        var isIPv6: Bool
        /// The inner DSCP becomes the outer one.
        var isUniform: Bool
    }

    /// The virtual subnet of the on-link customer route to an address, of which the first bits decide.
    struct Origin {
        var version: UInt64
        var prefix: IPAddress
        var domain: UInt32
        /// `none`: there is no such route.
        var vsid: UInt32
    }

    struct Subnet {
        var version: UInt64
        var vsid: UInt32
        var number: UInt32
    }

    struct FlowLimit {
        var version: UInt64
        /// Of the port that new flows are from.
        var id: UInt32
        /// Between two of them, nanoseconds; 0 = there is no limit.
        var interval: UInt64
    }

    var ingress: Ingress
    var subnet: Subnet
    var flowLimit: FlowLimit
    var hosts: InlineArray<256, Host>

    static var hostBits: UInt64 { 8 }
    static var originBits: UInt64 { 6 }
    static var arrivalBits: UInt64 { 10 }

    /// Where something of an address is, of 2^`bits` places.
    @inline(__always)
    static func place(of address: IPAddress, _ bits: UInt64) -> Int {
        (((address.low ^ address.high) &* 0x9E37_79B9_7F4A_7C15) &>> (64 &- bits)).int
    }
}

extension Worker {
    /// nil: there is no such port any more.
    @inline(__always)
    func ingress(_ id: UInt32) -> Ref<Recent>? {
        recent.value.ingress.id == id && recent.value.ingress.version == version ? recent : findIngress(id)
    }

    @inline(never)
    private func findIngress(_ id: UInt32) -> Ref<Recent>? {
        guard let number = findPort(id) else { return nil }
        let vsid = tables.ports[number].vsid
        guard let subnet = subnet(vsid) else { return nil }
        var gateways = (has: false, hasOne: true, mac: MACAddress(0))
        if !settings.usesExternalRouter, trace == nil {
            tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
                guard tables.routes[$0].vsid == vsid, tables.routes[$0].isOnLink else { return }
                let mac = gatewayMAC(tables.routes[$0].gateway, vsid: vsid)
                if gateways.has, mac != gateways.mac { gateways.hasOne = false }
                (gateways.has, gateways.mac) = (true, mac)
            }
        }
        recent.value.ingress = Recent.Ingress(
            version: version, id: id, port: number, domain: tables.subnets[subnet].domain, hasGateways: gateways.has,
            hasOneGateway: gateways.hasOne, gatewayMAC: gateways.mac)
        return recent
    }

    @_optimize(speed)
    func subnet(_ vsid: UInt32) -> UInt32? {
        if recent.value.subnet.vsid == vsid, recent.value.subnet.version == version { return recent.value.subnet.number }
        let found = tables.subnets.find(VirtualSubnet.hash(tables.key, vsid), at: version) { tables.subnets[$0].vsid == vsid }
        if let found { recent.value.subnet = Recent.Subnet(version: version, vsid: vsid, number: found) }
        return found
    }

    /// Nanoseconds between two new flows from a port, 0 = no limit.
    @_optimize(speed)
    func flowInterval(of id: UInt32) -> UInt64 {
        if recent.value.flowLimit.id == id, recent.value.flowLimit.version == version { return recent.value.flowLimit.interval }
        let rate = findPort(id).map { tables.ports[$0].newFlowRate.u64 } ?? 0
        let interval = rate == 0 ? 0 : 1_000_000_000 / rate
        recent.value.flowLimit = Recent.FlowLimit(version: version, id: id, interval: interval)
        return interval
    }

    /// Is this the MAC of a gateway of the virtual subnet, which is that of `ingress`?
    @inline(__always)
    func isGatewayMAC(_ mac: MACAddress, _ vsid: UInt32, _ ingress: Recent.Ingress) -> Bool {
        if trace != nil || !ingress.hasOneGateway { return isGatewayMAC(mac, vsid: vsid) }
        return ingress.hasGateways && ingress.gatewayMAC == mac
    }

    /// Is this provider address one of ours, usable or not: does a record that has it describe a local machine?
    @_optimize(speed)
    func isLocal(_ pa: IPAddress) -> Bool {
        let place = Recent.place(of: pa, Recent.hostBits)
        if recent.value.hosts[place].pa == pa, recent.value.hosts[place].version == version {
            return recent.value.hosts[place].isLocal
        }
        let isLocal = providerAddress(pa) != nil
        recent.value.hosts[place] = Recent.Host(pa: pa, version: version, isLocal: isLocal)
        return isLocal
    }
}
