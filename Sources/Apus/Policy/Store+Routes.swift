// SPDX-License-Identifier: Apache-2.0

import CApus

extension Store {
    static var routeName: Words { "customer route" }

    @inline(never)
    func route(_ id: GUID, _ key: CustomerRoute) -> UInt32? {
        guard let domain = tables.domains.find(id) else { return nil }
        return tables.routes.find(CustomerRoute.hash(tables.key, domain, key.prefix, key.length), at: next) {
            let route = tables.routes[$0]
            return route.domain == domain && route.prefix == key.prefix && route.length == key.length
                && route.vsid == key.vsid && route.nextHop == key.nextHop
        }
    }

    /// Add a route; `route.domain` is found or made from `id`.
    /// `hasOneFamily`: all routes of a domain are of one address family.
    mutating func addRoute(_ id: GUID, _ route: CustomerRoute, hasOneFamily: Bool) -> Failure? {
        change(Self.routeName) { store in
            if store.route(id, route) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.routeName, "destination_prefix", .prefix(route.prefix, route.length),
                    "has this route already")
            }
            guard let domain = store.tables.domains.findOrAdd(store.memory, id) else { return .memory(Self.routeName) }
            if let number = store.subnet(route.vsid), store.tables.subnets[number].domain != none,
                store.tables.subnets[number].domain != domain
            {
                store.tables.domains.releaseIfUnused(domain)
                let other = store.tables.domains[store.tables.subnets[number].domain].value.id
                return Failure(
                    APUS_ERR_CONFLICT, Self.routeName, "virtual_subnet_id", .number(route.vsid.u64),
                    "is bound to routing domain", .guid(other))
            }
            if hasOneFamily, store.hasRoute(in: domain, isIPv4: !route.prefix.isV4) {
                return Failure(
                    APUS_ERR_FAMILY, Self.routeName, "destination_prefix", .prefix(route.prefix, route.length),
                    "is not of the address family of the routing domain's other routes")
            }
            var copy = route
            copy.domain = domain
            guard store.retainSubnet(route.vsid) != nil else {
                store.tables.domains.releaseIfUnused(domain)
                return .memory(Self.routeName)
            }
            guard let number = store.insert(copy, .routes, store.tables.routes) else {
                store.tables.domains.releaseIfUnused(domain)
                return .memory(Self.routeName)
            }
            store.countRoute(number)
            guard store.bind(copy.vsid, to: domain), !copy.isOnLink || store.insertGateway(copy) else {
                return .memory(Self.routeName)
            }
            store.invalidate(scope: Scopes.of(domain: domain))
            return nil
        }
    }

    mutating func setRoute(_ id: GUID, _ route: CustomerRoute) -> Failure? {
        change(Self.routeName) { store in
            guard let number = store.route(id, route) else { return Self.routeMissing(route) }
            var copy = store.tables.routes[number]
            copy.metric = route.metric
            copy.flags = route.flags
            guard let new = store.replace(number, with: copy, .routes, store.tables.routes) else {
                return .memory(Self.routeName)
            }
            store.countRoute(new)
            store.invalidate(scope: Scopes.of(domain: copy.domain))
            return nil
        }
    }

    mutating func removeRoute(_ id: GUID, _ key: CustomerRoute) -> Failure? {
        change(Self.routeName) { store in
            guard let number = store.route(id, key) else { return Self.routeMissing(key) }
            let route = store.tables.routes[number]
            store.invalidate(scope: Scopes.of(domain: route.domain))
            store.kill(number, .routes, store.tables.routes)
            if route.isOnLink { store.killGateway(route) }
            guard store.unbind(route.vsid) else { return .memory(Self.routeName) }
            store.releaseSubnet(route.vsid)
            return nil
        }
    }

    /// Looks at all routes: for a check that few want, of an object of which there are few.
    private func hasRoute(in domain: UInt32, isIPv4: Bool) -> Bool {
        var number: UInt32 = 0
        while number < tables.routes.numbers {
            if tables.routes.exists(number, at: next), tables.routes[number].domain == domain,
                tables.routes[number].prefix.isV4 == isIPv4
            {
                return true
            }
            number &+= 1
        }
        return false
    }

    static func routeMissing(_ route: CustomerRoute) -> Failure {
        Failure(
            APUS_ERR_NOT_FOUND, routeName, "destination_prefix", .prefix(route.prefix, route.length),
            "has no such route in this routing domain and virtual subnet")
    }

    // A route counts in its domain from its first version to the recycling of its last.

    private func countRoute(_ number: UInt32) {
        let route = tables.routes[number]
        let domain = tables.domains[route.domain]
        domain.value.users &+= 1
        domain.value.lengths.add(route.length)
    }

    func recycleRoute(_ number: UInt32) {
        let route = tables.routes[number]
        let domain = tables.domains[route.domain]
        domain.value.users &-= 1
        domain.value.lengths.remove(route.length)
        tables.domains.releaseIfUnused(route.domain)
        tables.routes.recycle(number)
    }

    // MARK: - Gateways

    private mutating func insertGateway(_ route: CustomerRoute) -> Bool {
        insert(
            Gateway(
                address: route.prefix.gateway(prefixLength: route.length), vsid: route.vsid, domain: route.domain),
            .gateways, tables.gateways) != nil
    }

    /// Two on-link prefixes may share their lowest address: then there are two equal entries, and one of them goes.
    private mutating func killGateway(_ route: CustomerRoute) {
        let address = route.prefix.gateway(prefixLength: route.length)
        let number = tables.gateways.find(Gateway.hash(tables.key, vsid: route.vsid, address), at: next) {
            tables.gateways[$0].vsid == route.vsid && tables.gateways[$0].address == address
        }
        if let number { kill(number, .gateways, tables.gateways) }
    }
}
