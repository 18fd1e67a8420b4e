// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

// How to talk to tunnel endpoints. A change concerns every flow that goes there or comes from there: all, for simplicity;
// peers hardly ever change.

extension Store {
    static var peerName: Words { "provider peer" }

    @inline(never)
    func peer(_ address: IPAddress) -> UInt32? {
        tables.peers.find(ProviderPeer.hash(tables.key, address), at: next) {
            tables.peers[$0].address == address
        }
    }

    mutating func addPeer(_ peer: ProviderPeer) -> Failure? {
        change(Self.peerName) { store in
            if store.peer(peer.address) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.peerName, "provider_address", .address(peer.address), "exists already")
            }
            guard let number = store.insert(peer, .peers, store.tables.peers) else { return .memory(Self.peerName) }
            store.countPeer(number, 1)
            store.invalidateEverything()
            return nil
        }
    }

    mutating func setPeer(_ peer: ProviderPeer) -> Failure? {
        change(Self.peerName) { store in
            guard let number = store.peer(peer.address) else { return Self.peerMissing(peer.address) }
            guard let new = store.replace(number, with: peer, .peers, store.tables.peers) else {
                return .memory(Self.peerName)
            }
            store.countPeer(new, 1)
            store.invalidateEverything()
            return nil
        }
    }

    mutating func removePeer(_ address: IPAddress) -> Failure? {
        change(Self.peerName) { store in
            guard let number = store.peer(address) else { return Self.peerMissing(address) }
            store.kill(number, .peers, store.tables.peers)
            store.invalidateEverything()
            return nil
        }
    }

    static func peerMissing(_ address: IPAddress) -> Failure {
        Failure(APUS_ERR_NOT_FOUND, peerName, "provider_address", .address(address), "is no provider peer")
    }

    /// A peer counts from its first version to the recycling of its last.
    private func countPeer(_ number: UInt32, _ by: Int32) {
        guard tables.peers[number].hasDraftKeys else { return }
        let count = tables.shared.value.draftPeers.load(ordering: .relaxed)
        tables.shared.value.draftPeers.store(count &+ UInt32(bitPattern: by), ordering: .relaxed)
    }

    mutating func recyclePeer(_ number: UInt32) {
        countPeer(number, -1)
        tables.peers.recycle(number)
    }
}
