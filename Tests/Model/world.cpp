// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

namespace world {

constexpr Ip net(unsigned a, unsigned b, unsigned c, unsigned d) { return Ip(a << 24 | b << 16 | c << 8 | d); }

constexpr unsigned hosts_of_a_subnet = 6;  // .2 to .7
constexpr unsigned nat_machines = 6;       // on this host, and as many on others

constexpr Ip net6(std::uint64_t high, std::uint64_t low) { return Ip::v6(high, low); }
constexpr std::uint64_t documentation = 0x20010DB800000000;  // 2001:db8::/32
constexpr std::uint64_t link_local = 0xFE80000000000000;

World::World(Random &random, const Settings &settings, Families its_families) : families(its_families)
{
	const std::size_t tenants = random.between(2, 3);
	for (std::size_t i = 0; i < tenants; i++) {
		Guid guid{};
		guid[15] = static_cast<std::uint8_t>(i + 1);
		guid[random.below(16)] = 0x77;
		domains.push_back(guid);
	}
	Vsid next = random.pick<Vsid>({4096, 6000, 0x123456, 16777214 - 16});
	if (settings.accept_reserved_vsids)
		next = random.pick<Vsid>({1, 17, 4090, 16777215 - 13});
	const auto add_subnet = [&](int tenant, unsigned number) {
		const std::uint64_t dice = random.below(100);
		std::vector<Ip> bases;
		if (families.v4 && (!families.v6 || dice < 65))
			bases.push_back(net(10, 0, number, 0));
		if (families.v6 && (!families.v4 || dice >= 35))
			bases.push_back(net6(documentation + number, 0));
		subnets.push_back({next++, tenant, bases});
	};
	for (std::size_t tenant = 0; tenant < tenants; tenant++) {
		const std::size_t count = random.between(1, 3);
		for (unsigned k = 0; k < count; k++)
			add_subnet(static_cast<int>(tenant), k);
	}
	const std::size_t unbound = random.between(0, 2);
	for (unsigned k = 0; k < unbound; k++)
		add_subnet(-1, k);

	const auto some_of = [&random](std::vector<Ip> &out, const std::vector<Ip> &ips, bool all) {
		out.insert(out.end(), ips.begin(), ips.begin() + static_cast<std::ptrdiff_t>(all ? ips.size() : random.between(1, ips.size())));
	};
	constexpr std::uint64_t site = documentation + 0xF0000;  // 2001:db8:f::/48
	if (families.v4) {
		some_of(local_pas, {net(192, 168, 0, 22), net(192, 168, 1, 22), net(192, 168, 0, 23), net(172, 31, 0, 1)}, false);
		some_of(remote_pas, {net(192, 168, 0, 33), net(192, 168, 0, 34), net(192, 168, 1, 33), net(198, 51, 100, 7), net(203, 0, 113, 9)},
			true);
		some_of(routers, {net(192, 168, 0, 254), net(192, 168, 1, 254)}, true);
		groups.push_back(net(239, 1, 2, 3));
		groups.push_back(net(239, 129, 2, 4));
	}
	for (unsigned i = 0; i < nat_machines; i++) {
		if (families.v4)
			local_nat_pas.push_back(net(192, 168, 0, 100 + i)), remote_nat_pas.push_back(net(192, 168, i % 2, 120 + i));
		if (families.v6)
			local_nat_pas.push_back(net6(site, 0x100 + i)), remote_nat_pas.push_back(net6(site + i % 2, 0x120 + i));
	}
	if (families.v6) {
		some_of(local_pas, {net6(site, 0x22), net6(site + 1, 0x22), net6(site, 0x23), net6(link_local, 0x22)}, false);
		some_of(remote_pas, {net6(site, 0x33), net6(site, 0x34), net6(site + 1, 0x33), net6(documentation + 0x77770000, 7), net6(link_local, 0x39)},
			true);
		some_of(routers, {net6(site, 0x254), net6(link_local, 0x254)}, true);
		groups.push_back(net6(0xFF0E000000000000, 0x12345678));
	}
}

Mac World::some_mac(Random &random) const
{
	switch (random.below(8)) {
	case 0:
		return 0xFFFFFFFFFFFF;
	case 1:
		return 0;
	case 2:
		return 0x01005E000001 + random.below(4);
	case 3:
		return uplink_mac(static_cast<unsigned>(random.below(5)));
	case 4:
		return 0x026170757301;
	default:
		return vm_mac(static_cast<unsigned>(random.below(hosts_of_a_subnet + 4)));
	}
}

Ip World::of_family(Random &random, const std::vector<Ip> &ips, unsigned family)
{
	std::vector<Ip> some;
	for (const Ip &ip : ips)
		if (ip.family == family)
			some.push_back(ip);
	return random.pick(some.empty() ? ips : some);
}

Ip World::some_base(Random &random, unsigned family) const
{
	for (int attempt = 0; attempt < 8; attempt++)
		for (const Ip &base : some_subnet(random).bases)
			if (base.family == family)
				return base;
	return family == 6 ? net6(documentation, 0) : net(10, 0, 0, 0);
}

Ip World::some_v4(Random &random) const
{
	switch (random.below(26)) {
	case 24:
	case 25:
		return outside(random, 4);
	case 0:
		return net(8, 8, 8, 8);
	case 1:
		return net(172, 16, 3, 4);
	case 2:
		return random.pick<Ip>({Ip(0), net(127, 0, 0, 1), net(224, 0, 0, 1), net(255, 255, 255, 255), net(240, 0, 0, 1), net(255, 255, 255, 254)});
	case 3:
		return some_base(random, 4) + 200 + random.below(4);
	case 4:
		return some_base(random, 4) + 255;
	case 5:
	case 6:
		return some_base(random, 4) + 1;
	default:
		return some_base(random, 4) + 2 + random.below(hosts_of_a_subnet + 1);
	}
}

Ip World::some_v6(Random &random) const
{
	const unsigned host = static_cast<unsigned>(2 + random.below(hosts_of_a_subnet + 1));
	switch (random.below(28)) {
	case 26:
	case 27:
		return outside(random, 6);
	case 0:
		return net6(0x2620000000000000, 0x8888);
	case 1:
		return net6(documentation + 0xFFFF0000, 0x304);
	case 2:
		return random.pick<Ip>({net6(0, 0), net6(0, 1), net6(0, 2), net6(0xFF02000000000000, 1), net6(0xFF0E000000000000, 0x101), net6(~0ull, ~0ull)});
	case 3:  // IPv4-mapped, IPv4-compatible and nearly mapped
		return random.pick<Ip>({net6(0, 0xFFFF0A000002), net6(0, 0xFFFF0A000102), net6(0, 0x0A000002), net6(0, 0x1FFFF0A000002)});
	case 4:
		return some_base(random, 6) + 200 + random.below(4);
	case 5:
		return some_base(random, 6);
	case 6:
	case 7:
		return some_base(random, 6) + 1;
	case 8:
		return net6(link_local, host);
	case 9:
		return link_local_of(vm_mac(host));
	case 10:
		return net6(random.pick<std::uint64_t>({0xFEBF000000000000, 0xFEC0000000000000, 0xFE80000100000000, 0xFE7F000000000000}), host);
	default:
		return some_base(random, 6) + host;
	}
}

Ip World::some_ca(Random &random, unsigned family) const { return family == 6 ? some_v6(random) : some_v4(random); }

RecordKey World::record_key(Random &random) const
{
	const Subnet &subnet = some_subnet(random);
	const Ip base = random.pick(subnet.bases);
	const unsigned host = static_cast<unsigned>(2 + random.below(hosts_of_a_subnet));
	if (random.one_in(12))
		return {subnet.vsid, base + 1};  // the gateway's own record
	if (random.one_in(12))
		return {subnet.vsid, base + 200 + random.below(4)};
	if (base.is_v6() && random.one_in(60))
		return {subnet.vsid, net6(0, 0xFFFF0A000000 + host)};  // IPv4-mapped: refused
	if (base.is_v6() && random.one_in(6))
		return {subnet.vsid, random.one_in(3) ? net6(link_local, host) : link_local_of(vm_mac(host))};
	return {subnet.vsid, base + host};
}

Record World::record(Random &random, const RecordKey &key) const
{
	Record record;
	const auto host = static_cast<unsigned>(key.second.low() & 0xFF);
	record.mac = random.one_in(10) ? vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet))) : vm_mac(host);
	record.rule = random.one_in(10) ? APUS_RULE_NONE : APUS_RULE_ENCAP;
	record.type = random.one_in(4) ? APUS_RECORD_DYNAMIC : APUS_RECORD_STATIC;
	record.provider_address = random.chance(45) ? random.pick(local_pas) : random.pick(remote_pas);
	if (random.one_in(12))
		record.flags |= APUS_RECORD_UNUSABLE;
	if (random.one_in(20))
		record.flags |= APUS_RECORD_UNSYNCHRONIZED;
	if (families.v6 && random.one_in(80))
		record.provider_address = net6(0, 0xFFFFC0A80021);  // IPv4-mapped: refused
	if (random.one_in(30))
		record.flags |= APUS_RECORD_UNUSABLE;
	if (random.one_in(40))
		record.flags |= APUS_RECORD_UNSYNCHRONIZED;
	if (random.one_in(80))
		record.flags |= APUS_RECORD_USE_VM_MAC;  // mostly without rewriting: refused
	// Often the provider address is taken, or of the wrong family: refused.
	if (random.one_in(6)) {
		record.rule = APUS_RULE_NAT;
		record.flags |= random.one_in(2) ? APUS_RECORD_USE_VM_MAC : 0;
	}
	if (random.one_in(record.is_nat() ? 1 : 40))
		record.provider_address = of_family(random, random.chance(50) ? local_nat_pas : remote_nat_pas, random.one_in(20) ? 4 : key.second.family);
	return record;
}

SubnetOptions World::subnet_options(Random &random) const
{
	SubnetOptions options;
	options.flags = random.pick<std::uint32_t>({0, APUS_SUBNET_BROADCAST, APUS_SUBNET_BROADCAST, APUS_SUBNET_ALLOW_NON_IP,
						    APUS_SUBNET_BROADCAST | APUS_SUBNET_ALLOW_NON_IP, APUS_SUBNET_BROADCAST | APUS_SUBNET_ALLOW_NON_IP});
	if ((options.flags & APUS_SUBNET_BROADCAST) != 0 && random.one_in(3))
		options.group = random.pick(groups);
	options.rate = random.pick<std::uint32_t>({10'000, 10'000, 1, 100, 10'000'000});
	return options;
}

MachineKey World::machine_key(Random &random) const
{
	return {some_subnet(random).vsid, vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet))), some_family(random)};
}

Record World::machine(Random &random, const MachineKey &key) const
{
	Record out = record(random, {key.vsid, 0});
	out.mac = key.mac;
	out.type = random.chance(65) ? APUS_RECORD_L2_ONLY : APUS_RECORD_GATEWAY_WILDCARD;
	return out;
}

CustomerRouteKey World::customer_route(Random &random) const
{
	const Subnet &subnet = some_subnet(random);
	CustomerRouteKey key;
	key.vsid = subnet.vsid;
	key.domain = domains[subnet.domain >= 0 ? static_cast<std::size_t>(subnet.domain) : random.below(domains.size())];
	if (random.one_in(40))
		key.domain = random.pick(domains);
	const Ip base = random.pick(subnet.bases);
	key.next_hop = Ip::unspecified(base.family);
	if (subnet.domain >= 0 && random.chance(60)) {
		const unsigned length = base.is_v6() ? random.pick<unsigned>({64, 64, 64, 64, 125, 126, 127, 128, 48, 32, 0})
						     : random.pick<unsigned>({24, 24, 24, 29, 30, 31, 32, 16, 8});
		const bool is_short = length < base.bits() - 3;
		key.prefix = {(base + (is_short ? 0 : random.below(8))).network(length), length};
		if (base.is_v6() && random.one_in(12))
			key.prefix = random.one_in(2) ? Prefix{net6(link_local, 0), 64} : Prefix{net6(0xFD00000000000000, 0), 64};
		return key;
	}
	key.next_hop = base + 2 + random.below(hosts_of_a_subnet);
	if (base.is_v6() && random.one_in(6))
		key.next_hop = link_local_of(vm_mac(static_cast<unsigned>(2 + random.below(hosts_of_a_subnet))));
	switch (random.below(6)) {
	case 0:
		key.prefix = {Ip::unspecified(base.family), 0};
		break;
	case 5: {
		const unsigned length = base.is_v6() ? 64 : 24;
		key.prefix = {outside_router(base.family, 0).network(length), length};
		break;
	}
	case 1:
		key.prefix = base.is_v6() ? Prefix{net6(documentation, 0), 32} : Prefix{net(10, 0, 0, 0), 8};
		break;
	case 2:
		key.prefix = base.is_v6() ? Prefix{net6(documentation + 0xFFFF0000, 0), 48} : Prefix{net(172, 16, 0, 0), 12};
		break;
	case 3:
		key.prefix = {base + 192, base.bits() - 6};
		break;
	default:
		key.prefix = {some_ca(random, base.family), base.bits()};
		if (is_mapped(key.prefix.address))
			key.prefix.address = base;
		break;
	}
	return key;
}

std::uint32_t World::customer_route_flags(Random &random, const CustomerRouteKey &key) const
{
	constexpr std::uint32_t advertise = APUS_CUSTOMER_ROUTE_ADVERTISE, both = advertise | APUS_CUSTOMER_ROUTE_AUTOCONFIGURE;
	if (key.on_link() && key.prefix.address.is_v6())
		return random.pick<std::uint32_t>({0, advertise, advertise, key.prefix.length == 64 || random.one_in(20) ? both : advertise});
	return families.v6 && random.one_in(30) ? advertise : 0;  // not on this kind of route: refused
}

Ip World::some_peer(Random &random) const
{
	switch (random.below(20)) {
	case 0:
		return random.pick(local_pas);
	case 1:
		return random.pick(routers);
	case 2:
		return families.v6 ? net6(0, 0xFFFFC0A80021) : random.pick(remote_pas);  // IPv4-mapped: refused
	case 3:
	case 4:
		return random.pick(remote_nat_pas);
	default:
		return random.pick(remote_pas);
	}
}

Peer World::peer(Random &random) const
{
	Peer peer;
	peer.encapsulation = random.pick<std::uint8_t>({0, APUS_ENCAPSULATION_NVGRE, APUS_ENCAPSULATION_VXLAN, APUS_ENCAPSULATION_VXLAN});
	if (!peer.is_vxlan() || random.one_in(10))  // with VXLAN: draft-00 is refused
		peer.key_layout = random.pick<std::uint8_t>({0, APUS_KEY_RFC7637, APUS_KEY_DRAFT00, APUS_KEY_DRAFT00});
	peer.flow_id = random.pick<std::uint8_t>({0, APUS_FLOW_ID_HASH, APUS_FLOW_ID_ZERO});
	peer.dscp_mode = random.pick<std::uint8_t>({0, APUS_DSCP_COPY, APUS_DSCP_UNIFORM, APUS_DSCP_UNIFORM, APUS_DSCP_PIPE, APUS_DSCP_PIPE});
	if (peer.dscp_mode == APUS_DSCP_PIPE || random.one_in(20))  // without pipe: refused
		peer.dscp = static_cast<std::uint8_t>(random.below(64));
	peer.ecn_mode = random.pick<std::uint8_t>({0, APUS_ECN_NORMAL, APUS_ECN_COMPATIBILITY});
	peer.df_mode = random.pick<std::uint8_t>({0, APUS_DF_ALWAYS, APUS_DF_COPY});
	peer.ttl = random.pick<std::uint8_t>({0, 0, 1, 64, 255});
	peer.mtu = random.pick<std::uint16_t>({0, 0, 0, 128, 576, 600, 1280, 1450, 1500, 9000, 65535});
	return peer;
}

ProviderAddress World::provider_address(Random &random, const Ip &ip, const std::vector<std::uint32_t> &provider_ports) const
{
	ProviderAddress address;
	address.port = random.pick(provider_ports);
	address.prefix_length = ip.is_v6() ? random.pick<unsigned>({64, 64, 64, 120, 48, 127, 128, 1})
					   : random.pick<unsigned>({24, 24, 24, 25, 16, 32, 1});
	address.vlan = random.pick<std::uint16_t>({0, 0, 0, 1, 100, 4094});
	address.mac = uplink_mac(static_cast<unsigned>(random.below(4)));
	address.state = random.one_in(6) ? random.pick<std::uint8_t>({APUS_ADDRESS_DEPRECATED, APUS_ADDRESS_DEPRECATED, APUS_ADDRESS_INVALID})
					 : static_cast<std::uint8_t>(APUS_ADDRESS_PREFERRED);
	address.detects = random.one_in(3);
	return address;
}

ProviderRouteKey World::provider_route(Random &random, const std::vector<std::uint32_t> &provider_ports) const
{
	ProviderRouteKey key;
	const Ip to = random.pick(remote_pas);
	const unsigned length = to.is_v6() ? random.pick<unsigned>({0, 16, 64, 64, 120, 128}) : random.pick<unsigned>({0, 8, 24, 24, 25, 32});
	key.prefix = {to.network(length), length};
	key.port = random.pick(provider_ports);
	key.next_hop = random.one_in(4) ? Ip::unspecified(to.family) : of_family(random, routers, to.family);
	return key;
}

Port World::vm_port(Random &random) const
{
	Port port;
	port.vm = true;
	port.trusted = random.one_in(8);
	port.dhcp_guard = random.one_in(4);
	port.address_limit = random.pick<std::uint32_t>({0, 1, 2, 5, 65536});
	port.vsid = some_subnet(random).vsid;
	port.mac = vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet)));
	port.mtu = random.pick<std::uint16_t>({1500, 576, 65535});
	return port;
}

Ip World::outside(Random &random, unsigned family) const
{
	const unsigned host = static_cast<unsigned>(random.one_in(6) ? random.below(256) : random.pick<unsigned>({1, 2, 10, 10, 11, 12, 254}));
	if (family == 6)
		return net6(documentation + 0xE0000, host);
	return net(192, 0, 2, host);
}

Ip World::outside_router(unsigned family, unsigned i) const { return family == 6 ? net6(documentation + 0xE0000, 254 - i) : net(192, 0, 2, 254 - i); }

Port World::external_port(Random &random, const std::vector<std::uint32_t> &devices) const
{
	Port port;
	port.external = true;
	const Subnet &subnet = some_subnet(random);
	port.vsid = subnet.vsid;
	port.domain = domains[subnet.domain >= 0 && !random.one_in(30) ? static_cast<std::size_t>(subnet.domain) : random.below(domains.size())];
	port.mac = vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet)));
	port.mtu = random.pick<std::uint16_t>({1500, 1500, 576, 1280, 9000, 65535});
	if (!devices.empty() && random.chance(75)) {
		port.parent = random.pick(devices);
		port.vlan = random.pick<std::uint16_t>({1, 2, 3, 7, 100, 4094});
	} else {
		port.vlan = random.pick<std::uint16_t>({0, 0, 0, 1, 7});
	}
	for (const unsigned family : {4u, 6u}) {
		if ((family == 4 && !families.v4) || (family == 6 && !families.v6))
			continue;
		if (random.one_in(6) && (family == 4 || port.v4))
			continue;
		Side side;
		side.address = family == 6 ? net6(documentation + 0xE0000, 1 + random.below(2)) : net(192, 0, 2, 1 + static_cast<unsigned>(random.below(2)));
		side.length = family == 6 ? random.pick<unsigned>({64, 64, 64, 120, 48, 127, 1}) : random.pick<unsigned>({24, 24, 24, 25, 30, 8, 1});
		const Prefix prefix{side.address.network(side.length), side.length};
		if (family == 4 && random.one_in(20))  // nobody's
			side.address = prefix.address;
		const Ip router = outside_router(family, static_cast<unsigned>(random.below(2)));
		if (random.chance(75) && prefix.contains(router))
			side.next_hop = router;
		(family == 6 ? port.v6 : port.v4) = side;
	}
	if (!port.v4 && !port.v6) {
		Side side;
		side.address = families.v4 ? net(192, 0, 2, 1) : net6(documentation + 0xE0000, 1);
		side.length = families.v4 ? 24 : 64;
		(families.v4 ? port.v4 : port.v6) = side;
	}
	return port;
}

Port World::provider_port(Random &random) const
{
	Port port;
	port.mtu = random.pick<std::uint16_t>({1500, 1500, 1542, 128, 65535, 200});
	return port;
}

}  // namespace world
