// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

extension Store {
    static var neighborName: Words { "provider neighbour" }

    /// On the provider network, or behind an external port.
    @inline(never)
    func neighbor(_ address: IPAddress, _ port: UInt32 = 0) -> UInt32? {
        tables.neighbors.find(Neighbor.hash(tables.key, address, port), at: next) {
            tables.neighbors[$0].isAt(address, port)
        }
    }

    /// A route, a lookup record or an external port may need this neighbour. False: no memory.
    mutating func retainNeighbor(_ address: IPAddress, _ port: UInt32 = 0) -> Bool {
        if let number = neighbor(address, port) {
            tables.neighbors[number].references &+= 1
            log(.referenced, .neighbors, number)
            return true
        }
        return insertNeighbor(
            Neighbor(references: 1, cell: none, address: address, port: port, mac: MACAddress(0), isStatic: 0))
    }

    mutating func releaseNeighbor(_ address: IPAddress, _ port: UInt32 = 0) {
        guard let number = neighbor(address, port) else { return }
        if tables.neighbors[number].references == 1, tables.neighbors[number].isStatic == 0 {
            kill(number, .neighbors, tables.neighbors)
        } else {
            tables.neighbors[number].references &-= 1
            log(.dereferenced, .neighbors, number)
        }
    }

    mutating func addNeighbor(_ address: IPAddress, _ mac: MACAddress) -> Failure? {
        change(Self.neighborName) { store in
            let old = store.neighbor(address)
            if let old, store.tables.neighbors[old].isStatic != 0 {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.neighborName, "address", .address(address),
                    "has a static neighbour already")
            }
            let references = old.map { store.tables.neighbors[$0].references } ?? 0
            return store.put(
                Neighbor(references: references, cell: none, address: address, mac: mac, isStatic: 1), over: old)
        }
    }

    mutating func setNeighbor(_ address: IPAddress, _ mac: MACAddress) -> Failure? {
        change(Self.neighborName) { store in
            guard let old = store.neighbor(address), store.tables.neighbors[old].isStatic != 0 else {
                return Self.neighborMissing(address)
            }
            var copy = store.tables.neighbors[old]
            copy.mac = mac
            return store.put(copy, over: old)
        }
    }

    mutating func removeNeighbor(_ address: IPAddress) -> Failure? {
        change(Self.neighborName) { store in
            guard let old = store.neighbor(address), store.tables.neighbors[old].isStatic != 0 else {
                return Self.neighborMissing(address)
            }
            var copy = store.tables.neighbors[old]
            if copy.references == 0 {
                store.kill(old, .neighbors, store.tables.neighbors)
                store.invalidateEverything()
                return nil
            }
            copy.isStatic = 0
            copy.mac = MACAddress(0)
            return store.put(copy, over: old)
        }
    }

    static func neighborMissing(_ address: IPAddress) -> Failure {
        Failure(APUS_ERR_NOT_FOUND, neighborName, "address", .address(address), "is no static neighbour")
    }

    private mutating func put(_ neighbor: Neighbor, over old: UInt32?) -> Failure? {
        guard insertNeighbor(neighbor) else { return .memory(Self.neighborName) }
        if let old { kill(old, .neighbors, tables.neighbors) }
        invalidateEverything()
        return nil
    }

    mutating func insertNeighbor(_ neighbor: Neighbor) -> Bool {
        guard let cell = takeCell(for: neighbor.address, neighbor.port) else { return false }
        var copy = neighbor
        copy.cell = cell
        if insert(copy, .neighbors, tables.neighbors) != nil { return true }
        giveBackCell(cell)
        return false
    }

    mutating func recycleNeighbor(_ number: UInt32) {
        giveBackCell(tables.neighbors[number].cell)
        tables.neighbors.recycle(number)
    }

    /// What ARP knows of a neighbour outlives a transaction that removes and adds it; being static for a while it does not. Behind an external
    /// port, which may be elsewhere now, nothing does.
    private mutating func takeCell(for address: IPAddress, _ port: UInt32) -> UInt32? {
        let published = tables.neighbors.find(Neighbor.hash(tables.key, address, port), at: next &- 1) {
            port == 0 && tables.neighbors[$0].isAt(address, 0) && tables.neighbors[$0].isStatic == 0
        }
        if let published {
            let number = tables.neighbors[published].cell
            tables.cells[number].value.addUser(1)
            return number
        }
        let number: UInt32
        if firstFreeCell == 0 {
            guard let new = tables.cells.append(memory) else { return nil }
            number = new
        } else {
            number = firstFreeCell &- 1
            firstFreeCell = tables.cells[number].value.nextFree
        }
        tables.cells[number].initialize(to: NeighborCell())
        return number
    }

    private mutating func giveBackCell(_ number: UInt32) {
        if tables.cells[number].value.addUser(-1) != 0 { return }
        tables.cells[number].value.nextFree = firstFreeCell
        firstFreeCell = number &+ 1
    }
}
