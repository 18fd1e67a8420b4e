// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

/// All tables of one dataplane, as handles. Workers read them; the ``Store`` changes them.
struct Tables {
    let ports: VersionedTable<Port>
    let members: VersionedTable<Member>
    let records: VersionedTable<LookupRecord>
    let routes: VersionedTable<CustomerRoute>
    let gateways: VersionedTable<Gateway>
    let subnets: VersionedTable<VirtualSubnet>
    let remotes: VersionedTable<RemoteAddress>
    let addresses: VersionedTable<ProviderAddress>
    let providerRoutes: VersionedTable<ProviderRoute>
    let neighbors: VersionedTable<Neighbor>
    let peers: VersionedTable<ProviderPeer>
    let rewrites: VersionedTable<Rewrite>
    let subnetOptions: VersionedTable<SubnetOptions>
    let domains: Domains
    let cells: Slab<NeighborCell>
    let addressCells: Slab<AddressCell>
    let texts: Slab<RecordTexts>
    let portSlots: PortSlots
    let scopes: Scopes
    let shared: Ref<Shared>
    let key: Ref<apus_hash_key>

    /// Words that workers and the writer share.
    struct Shared: ~Copyable {
        /// Prefix lengths of the provider routes. First, because it begins with what the writer alone reads.
        var providerLengths = PrefixLengths()
        /// The published version of the policy.
        let version = Atomic<UInt64>(1)
        /// The last version that invalidated every flow: a change on the provider side, or of ports. Low 32 bits.
        let floor = Atomic<UInt32>(0)
        /// Peers of any version whose keys have the layout of the first draft: while there are none, nobody looks for them.
        let draftPeers = Atomic<UInt32>(0)
        /// Entries of `rewrites` of any version: while there are none, nobody looks for them.
        let rewrites = Atomic<UInt32>(0)
        /// Ports of any version whose new flows are limited: while there are none, nobody looks for them.
        let flowLimits = Atomic<UInt32>(0)
        /// External ports of any version: while there are none, nobody looks for them.
        let externalPorts = Atomic<UInt32>(0)
        /// Provider addresses of any version that are watched for duplicates: while there are none, nobody looks for them.
        let watchedAddresses = Atomic<UInt32>(0)
        /// Grows when a neighbour's MAC changed or was lost, and when a provider address turned out to be somebody else's.
        let neighborEpoch = Atomic<UInt32>(0)
    }
}

extension Tables {
    /// Create all tables; nil when there is no memory. What was created before the failure is released.
    init?(_ memory: Ref<Memory>, key: Ref<apus_hash_key>, records expected: Int) {
        guard let shared = memory.value.allocate(Shared.self, count: 1, alignment: 64) else { return nil }
        shared.initialize(to: Shared())
        let ports = VersionedTable<Port>(memory, key: key)
        let members = VersionedTable<Member>(memory, key: key)
        let records = VersionedTable<LookupRecord>(memory, key: key, capacity: expected)
        let routes = VersionedTable<CustomerRoute>(memory, key: key)
        let gateways = VersionedTable<Gateway>(memory, key: key)
        let subnets = VersionedTable<VirtualSubnet>(memory, key: key)
        let remotes = VersionedTable<RemoteAddress>(memory, key: key)
        let addresses = VersionedTable<ProviderAddress>(memory, key: key)
        let providerRoutes = VersionedTable<ProviderRoute>(memory, key: key)
        let neighbors = VersionedTable<Neighbor>(memory, key: key)
        let peers = VersionedTable<ProviderPeer>(memory, key: key)
        let rewrites = VersionedTable<Rewrite>(memory, key: key)
        let subnetOptions = VersionedTable<SubnetOptions>(memory, key: key)
        let domains = Domains(memory, key: key)
        let cells = Slab<NeighborCell>(memory)
        let addressCells = Slab<AddressCell>(memory)
        let texts = Slab<RecordTexts>(memory)
        let portSlots = PortSlots(memory)
        let scopes = Scopes(memory)
        guard let ports, let members, let records, let routes, let gateways, let subnets, let remotes, let addresses,
            let providerRoutes, let neighbors, let peers, let rewrites, let subnetOptions, let domains, let cells,
            let addressCells, let texts, let portSlots, let scopes
        else {
            ports?.destroy(memory)
            members?.destroy(memory)
            records?.destroy(memory)
            routes?.destroy(memory)
            gateways?.destroy(memory)
            subnets?.destroy(memory)
            remotes?.destroy(memory)
            addresses?.destroy(memory)
            providerRoutes?.destroy(memory)
            neighbors?.destroy(memory)
            peers?.destroy(memory)
            rewrites?.destroy(memory)
            subnetOptions?.destroy(memory)
            domains?.destroy(memory)
            cells?.destroy(memory)
            addressCells?.destroy(memory)
            texts?.destroy(memory)
            portSlots?.destroy(memory)
            scopes?.destroy(memory)
            memory.value.release(shared, count: 1)
            return nil
        }
        self.ports = ports
        self.members = members
        self.records = records
        self.routes = routes
        self.gateways = gateways
        self.subnets = subnets
        self.remotes = remotes
        self.addresses = addresses
        self.providerRoutes = providerRoutes
        self.neighbors = neighbors
        self.peers = peers
        self.rewrites = rewrites
        self.subnetOptions = subnetOptions
        self.domains = domains
        self.cells = cells
        self.addressCells = addressCells
        self.texts = texts
        self.portSlots = portSlots
        self.scopes = scopes
        self.shared = shared
        self.key = key
    }

    func destroy(_ memory: Ref<Memory>) {
        ports.destroy(memory)
        members.destroy(memory)
        records.destroy(memory)
        routes.destroy(memory)
        gateways.destroy(memory)
        subnets.destroy(memory)
        remotes.destroy(memory)
        addresses.destroy(memory)
        providerRoutes.destroy(memory)
        neighbors.destroy(memory)
        peers.destroy(memory)
        rewrites.destroy(memory)
        subnetOptions.destroy(memory)
        domains.destroy(memory)
        cells.destroy(memory)
        addressCells.destroy(memory)
        texts.destroy(memory)
        portSlots.destroy(memory)
        scopes.destroy(memory)
        memory.value.release(shared, count: 1)
    }
}
