// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// Provider addresses and provider routes. A change of either may concern every flow.

extension Store {
    static var addressName: Words { "provider address" }
    static var providerRouteName: Words { "provider route" }

    func address(_ address: IPAddress) -> UInt32? {
        tables.addresses.find(ProviderAddress.hash(tables.key, address), at: next) {
            tables.addresses[$0].address == address
        }
    }

    mutating func addAddress(_ address: ProviderAddress) -> Failure? {
        change(Self.addressName) { store in
            if store.address(address.address) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.addressName, "provider_address", .address(address.address),
                    "exists already")
            }
            if let failure = store.checkProviderPort(address.port, Self.addressName) { return failure }
            guard store.insert(address, .addresses, store.tables.addresses) != nil, store.addConnected(address) else {
                return .memory(Self.addressName)
            }
            store.invalidateEverything()
            return nil
        }
    }

    mutating func setAddress(_ address: ProviderAddress) -> Failure? {
        change(Self.addressName) { store in
            guard let number = store.address(address.address) else { return Self.addressMissing(address.address) }
            if let failure = store.checkProviderPort(address.port, Self.addressName) { return failure }
            store.removeConnected(store.tables.addresses[number])
            guard store.replace(number, with: address, .addresses, store.tables.addresses) != nil,
                store.addConnected(address)
            else { return .memory(Self.addressName) }
            store.invalidateEverything()
            return nil
        }
    }

    mutating func removeAddress(_ address: IPAddress) -> Failure? {
        change(Self.addressName) { store in
            guard let number = store.address(address) else { return Self.addressMissing(address) }
            store.removeConnected(store.tables.addresses[number])
            store.kill(number, .addresses, store.tables.addresses)
            store.invalidateEverything()
            return nil
        }
    }

    static func addressMissing(_ address: IPAddress) -> Failure {
        Failure(APUS_ERR_NOT_FOUND, addressName, "provider_address", .address(address), "does not exist")
    }

    // The prefix of a provider address is a route whose destinations are neighbours. Two addresses of one prefix and
    // port are two equal entries.

    private mutating func addConnected(_ address: ProviderAddress) -> Bool {
        guard let number = insert(Self.connected(address), .providerRoutes, tables.providerRoutes) else { return false }
        countProviderRoute(number)
        return true
    }

    private mutating func removeConnected(_ address: ProviderAddress) {
        let route = Self.connected(address)
        if let number = providerRoute(route, connected: 1) { kill(number, .providerRoutes, tables.providerRoutes) }
    }

    private static func connected(_ address: ProviderAddress) -> ProviderRoute {
        ProviderRoute(
            prefix: address.address.masked(address.length), nextHop: IPAddress(v4: 0), port: address.port, metric: 0,
            length: address.length, isConnected: 1)
    }

    // MARK: - Routes

    func providerRoute(_ key: ProviderRoute, connected: UInt8 = 0) -> UInt32? {
        tables.providerRoutes.find(ProviderRoute.hash(tables.key, key.prefix, key.length), at: next) {
            let route = tables.providerRoutes[$0]
            return route.prefix == key.prefix && route.length == key.length && route.port == key.port
                && route.nextHop == key.nextHop && route.isConnected == connected
        }
    }

    mutating func addProviderRoute(_ route: ProviderRoute) -> Failure? {
        change(Self.providerRouteName) { store in
            if store.providerRoute(route) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.providerRouteName, "destination_prefix",
                    .prefix(route.prefix, route.length), "has this route already")
            }
            if let failure = store.checkProviderPort(route.port, Self.providerRouteName) { return failure }
            guard let number = store.insert(route, .providerRoutes, store.tables.providerRoutes) else {
                return .memory(Self.providerRouteName)
            }
            store.countProviderRoute(number)
            if !route.nextHop.isUnspecified, !store.retainNeighbor(route.nextHop) {
                return .memory(Self.providerRouteName)
            }
            store.invalidateEverything()
            return nil
        }
    }

    mutating func setProviderRoute(_ route: ProviderRoute) -> Failure? {
        change(Self.providerRouteName) { store in
            guard let number = store.providerRoute(route) else { return Self.providerRouteMissing(route) }
            var copy = store.tables.providerRoutes[number]
            copy.metric = route.metric
            guard let new = store.replace(number, with: copy, .providerRoutes, store.tables.providerRoutes) else {
                return .memory(Self.providerRouteName)
            }
            store.countProviderRoute(new)
            store.invalidateEverything()
            return nil
        }
    }

    mutating func removeProviderRoute(_ key: ProviderRoute) -> Failure? {
        change(Self.providerRouteName) { store in
            guard let number = store.providerRoute(key) else { return Self.providerRouteMissing(key) }
            store.kill(number, .providerRoutes, store.tables.providerRoutes)
            if !key.nextHop.isUnspecified { store.releaseNeighbor(key.nextHop) }
            store.invalidateEverything()
            return nil
        }
    }

    static func providerRouteMissing(_ route: ProviderRoute) -> Failure {
        Failure(
            APUS_ERR_NOT_FOUND, providerRouteName, "destination_prefix", .prefix(route.prefix, route.length),
            "has no such route")
    }

    private mutating func countProviderRoute(_ number: UInt32) {
        tables.shared.value.providerLengths.add(tables.providerRoutes[number].length)
    }

    mutating func recycleProviderRoute(_ number: UInt32) {
        tables.shared.value.providerLengths.remove(tables.providerRoutes[number].length)
        tables.providerRoutes.recycle(number)
    }
}
