// SPDX-License-Identifier: Apache-2.0

/// The policy file of the manual, with every kind of object. Lines matter: tests name them.
let example = """
    apus: 1
    settings: {flow_id_zero: true, outer_ttl: 64, gateway_mac: "02:00:00:00:00:01", neighbour_retries: 5}
    ports:
      - {name: uplink, kind: provider, device: net_af_packet0}
      - {name: contoso1, kind: vm, device: net_tap0, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, mtu: 1400}
      - name: contoso2
        kind: vm
        virtual_subnet_id: 6000
        mac: 60-00-60-00-01-02
        trusted: true
    provider_addresses:
      - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: "32:44:55:66:77:88", vlan: 7}
    provider_routes:
      - {destination_prefix: 0.0.0.0/0, port: uplink, next_hop: 192.168.0.1, metric: 10}
    provider_neighbours:            # optional, static; otherwise resolved
      - {address: 192.168.0.33, mac: "44:55:66:77:88:99"}
    customer_routes:
      - routing_domain_id: "{12345678-1000-2000-3000-123456780001}"
        virtual_subnet_id: 6000
        destination_prefix: 10.0.1.0/24
    lookup_records:
      - {customer_address: 10.0.1.101, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, provider_address: 192.168.0.22}
      - customer_address: 10.0.1.103
        virtual_subnet_id: 6000
        mac: "600060000203"
        provider_address: 192.168.0.33
        rule: TranslationMethodEncap
        type: Dynamic
        vm_name: Contoso3
        customer_id: "{12345678-1000-2000-3000-123456780000}"
        context: rack 12
    """

/// The same with IPv6, over IPv6; one machine's record leads over IPv4, and one IPv4 record over IPv6.
let exampleIPv6 = """
    apus: 1
    ports:
      - {name: uplink, kind: provider}
      - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01}
    provider_addresses:
      - {provider_address: 2001:db8:0:a::22, prefix_length: 64, port: uplink, mac: "32:44:55:66:77:88"}
      - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: "32:44:55:66:77:88"}
    provider_routes:
      - {destination_prefix: "::/0", port: uplink, next_hop: 2001:db8:0:a::1, metric: 10}
      - {destination_prefix: 2001:db8:0:b::/64, port: uplink, next_hop: "::"}
    provider_neighbours:
      - {address: 2001:db8:0:a::33, mac: "44:55:66:77:88:99"}
    customer_routes:
      - routing_domain_id: "{12345678-1000-2000-3000-123456780001}"
        virtual_subnet_id: 6000
        destination_prefix: 2001:db8:1::/64
        advertise: true
        autoconfigure: true
      - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000,
         destination_prefix: "fd00::/8", next_hop: 2001:db8:1::fe}
      - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000,
         destination_prefix: 2001:db8:2::/120, next_hop: "::", advertise: true, autoconfigure: false}
    lookup_records:
      - {customer_address: 2001:db8:1::101, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01,
         provider_address: 2001:db8:0:a::22}
      - {customer_address: "fd00::", virtual_subnet_id: 6000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
      - {customer_address: 10.0.1.103, virtual_subnet_id: 6000, mac: 60:00:60:00:02:03,
         provider_address: 2001:DB8:0:A:0:0:0:33}
    """

/// What the others leave out.
let exampleOfOptions = """
    apus: 1
    settings: {vxlan_port: 8472, learn_rate: 7, use_external_router: true, one_customer_family: true}
    ports:
      - {name: up, kind: provider}
      - {name: a, kind: vm, virtual_subnet_id: 6000, mac: 600060000001, dhcp_guard: true, dynamic_address_limit: 65536}
      - {name: b, kind: vm, virtual_subnet_id: 6000, mac: 600060000002, dhcp_guard: false}
    provider_peers:
      - provider_address: 192.168.0.33
        encapsulation: vxlan
        key_layout: rfc7637
        flow_id: zero
        dscp_mode: pipe
        dscp: 46
        ecn_mode: compatibility
        df_mode: copy
        ttl: 64
        mtu: 1400
      - {provider_address: 2001:db8::44, encapsulation: nvgre, key_layout: draft00, flow_id: hash, dscp_mode: uniform,
         ecn_mode: normal, df_mode: always}
      - {provider_address: 192.168.0.55}
    virtual_subnets:
      - {virtual_subnet_id: 6000, broadcast: true, allow_non_ip: true, multicast_group: 239.0.0.1, replication_rate: 500}
      - {virtual_subnet_id: 6001, broadcast: true}
      - {virtual_subnet_id: 6002}
    lookup_records:
      - {virtual_subnet_id: 6000, mac: 600060000011, provider_address: 192.168.0.33, type: GatewayWildcard}
      - {customer_address: "::", virtual_subnet_id: 6000, mac: 600060000012, provider_address: 192.168.0.33,
         type: GatewayWildcard}
      - {virtual_subnet_id: 6000, mac: 600060000013, provider_address: 192.168.0.33, type: L2Only}
      - {customer_address: 0.0.0.0, virtual_subnet_id: 6000, mac: 600060000014, provider_address: 192.168.0.33,
         type: L2Only}
      - {customer_address: 10.0.1.5, virtual_subnet_id: 6000, mac: 600060000005, provider_address: 192.168.0.44,
         rule: TranslationMethodNat, use_vm_mac_address: true}
      - {customer_address: 10.0.1.6, virtual_subnet_id: 6000, mac: 600060000006, provider_address: 192.168.0.55,
         unusable: true}
    """

/// A gateway: two tenants' networks outside with the same addresses, in two VLANs of one device, and one with a device of its own.
/// The first port stands before the one that carries it.
let exampleOfGateway = """
    apus: 1
    ports:
      - name: contoso
        kind: external
        parent: trunk
        vlan: 101
        routing_domain_id: "{12345678-1000-2000-3000-123456780001}"
        virtual_subnet_id: 6009
        mac: 60:00:60:00:0f:01
        mtu: 9000
        new_flow_rate: 50000
        ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.1}
        ipv6: {address: 2001:db8:9::2/64}
      - {name: trunk, kind: provider, device: net_af_packet1}
      - {name: woodgrove, kind: external, parent: trunk, vlan: 4094, routing_domain_id: 12345678-1000-2000-3000-123456780002,
         virtual_subnet_id: 7009, mac: 60:00:60:00:0f:01, ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.1}}
      - name: alone
        kind: external
        device: net_tap0
        routing_domain_id: 12345678-1000-2000-3000-123456780003
        virtual_subnet_id: 8009
        mac: 60:00:60:00:0f:01
        ipv6:
          address: 2001:db8:9::2/127
          next_hop: 2001:db8:9::3
      - {name: beside, kind: external, parent: alone, vlan: 1, routing_domain_id: 12345678-1000-2000-3000-123456780003,
         virtual_subnet_id: 8009, mac: 60:00:60:00:0f:02, ipv4: {address: 10.9.0.2/32}}
    """
