// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// Provider addresses and provider routes. A change of either may concern every flow.

extension Store {
    static var addressName: Words { "provider address" }
    static var providerRouteName: Words { "provider route" }

    @inline(never)
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
            if let failure = store.checkPlace(of: address) { return failure }
            guard store.insertAddress(address), store.addConnected(address) else {
                return .memory(Self.addressName)
            }
            store.invalidateEverything()
            return nil
        }
    }

    mutating func setAddress(_ address: ProviderAddress) -> Failure? {
        change(Self.addressName) { store in
            guard let number = store.address(address.address) else { return Self.addressMissing(address.address) }
            if let failure = store.checkPlace(of: address) { return failure }
            store.removeConnected(store.tables.addresses[number])
            guard store.insertAddress(address) else { return .memory(Self.addressName) }
            store.kill(number, .addresses, store.tables.addresses)
            guard store.addConnected(address) else { return .memory(Self.addressName) }
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

    private func checkPlace(of address: ProviderAddress) -> Failure? {
        if let failure = checkProviderPort(address.port, Self.addressName) { return failure }
        guard let other = externalPort(on: address.port, address.vlan) else { return nil }
        return Failure(
            APUS_ERR_CONFLICT, Self.addressName, "vlan", .number(address.vlan.u64), "belongs to external port", .number(other.u64))
    }

    // MARK: - What duplicate address detection finds

    /// Remember that the result of this address is told. False: it was, or it has another result now than the one `isDuplicate` says.
    func tellResult(of address: IPAddress, isDuplicate: Bool) -> Bool {
        guard let number = self.address(address), tables.addresses[number].cell != none else { return false }
        let cell = tables.addressCells[tables.addresses[number].cell]
        if cell.value.isTold || cell.value.isDuplicate != isDuplicate || cell.value.isTentative { return false }
        cell.value.isTold = true
        return true
    }

    private mutating func insertAddress(_ address: ProviderAddress) -> Bool {
        var copy = address
        if address.isWatched {
            guard let cell = takeAddressCell(for: address) else { return false }
            copy.cell = cell
        }
        if insert(copy, .addresses, tables.addresses) != nil {
            countWatched(copy, 1)
            return true
        }
        giveBackAddressCell(copy.cell)
        return false
    }

    /// What was found stays true in a transaction that removes an address and adds it, and when something else of it is changed; it is looked for
    /// again if it was not in use, or not of use.
    private mutating func takeAddressCell(for address: ProviderAddress) -> UInt32? {
        let published = tables.addresses.find(ProviderAddress.hash(tables.key, address.address), at: next &- 1) {
            let old = tables.addresses[$0]
            return old.address == address.address && old.cell != none && old.hasPlace(of: address)
                && !tables.addressCells[old.cell].value.isDuplicate
        }
        if let published {
            let number = tables.addresses[published].cell
            tables.addressCells[number].value.addUser(1)
            return number
        }
        let number: UInt32
        if firstFreeAddressCell == 0 {
            guard let new = tables.addressCells.append(memory) else { return nil }
            number = new
        } else {
            number = firstFreeAddressCell &- 1
            firstFreeAddressCell = tables.addressCells[number].value.nextFree
        }
        tables.addressCells[number].initialize(to: AddressCell())
        return number
    }

    private mutating func giveBackAddressCell(_ number: UInt32) {
        if number == none || tables.addressCells[number].value.addUser(-1) != 0 { return }
        tables.addressCells[number].value.nextFree = firstFreeAddressCell
        firstFreeAddressCell = number &+ 1
    }

    /// An address counts from its first version to the recycling of its last.
    private func countWatched(_ address: ProviderAddress, _ by: Int32) {
        guard address.isWatched else { return }
        let count = tables.shared.value.watchedAddresses.load(ordering: .relaxed)
        tables.shared.value.watchedAddresses.store(count &+ UInt32(bitPattern: by), ordering: .relaxed)
    }

    mutating func recycleAddress(_ number: UInt32) {
        countWatched(tables.addresses[number], -1)
        giveBackAddressCell(tables.addresses[number].cell)
        tables.addresses.recycle(number)
    }

    // MARK: - Its prefix

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

extension ProviderAddress {
    /// The state as the operator sees it.
    func shownState(_ tables: Tables) -> UInt8 {
        if cell == none { return state }
        let found = tables.addressCells[cell]
        if found.value.isDuplicate { return APUS_ADDRESS_DUPLICATE.rawValue.u8 }
        return found.value.isTentative ? APUS_ADDRESS_TENTATIVE.rawValue.u8 : state
    }
}
