// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

namespace world {

constexpr Ip net(unsigned a, unsigned b, unsigned c, unsigned d) { return Ip(a << 24 | b << 16 | c << 8 | d); }

constexpr unsigned hosts_of_a_subnet = 6;  // .2 to .7

World::World(Random &random, const Settings &settings)
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
	for (std::size_t tenant = 0; tenant < tenants; tenant++) {
		const std::size_t count = random.between(1, 3);
		for (std::size_t k = 0; k < count; k++)
			subnets.push_back({next++, static_cast<int>(tenant), net(10, 0, static_cast<unsigned>(k), 0)});
	}
	const std::size_t unbound = random.between(0, 2);
	for (std::size_t k = 0; k < unbound; k++)
		subnets.push_back({next++, -1, net(10, 0, static_cast<unsigned>(k), 0)});

	local_pas = {net(192, 168, 0, 22), net(192, 168, 1, 22), net(192, 168, 0, 23), net(172, 31, 0, 1)};
	local_pas.resize(random.between(1, local_pas.size()));
	remote_pas = {net(192, 168, 0, 33), net(192, 168, 0, 34), net(192, 168, 1, 33), net(198, 51, 100, 7), net(203, 0, 113, 9)};
	routers = {net(192, 168, 0, 254), net(192, 168, 1, 254)};
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

Ip World::some_ca(Random &random) const
{
	switch (random.below(24)) {
	case 0:
		return net(8, 8, 8, 8);
	case 1:
		return net(172, 16, 3, 4);
	case 2:
		return random.pick<Ip>({Ip(0), net(127, 0, 0, 1), net(224, 0, 0, 1), net(255, 255, 255, 255), net(240, 0, 0, 1), net(255, 255, 255, 254)});
	case 3:
		return random.pick(subnets).base + 200 + static_cast<unsigned>(random.below(4));
	case 4:
		return random.pick(subnets).base + 255;
	case 5:
	case 6:
		return random.pick(subnets).base + 1;
	default:
		return random.pick(subnets).base + 2 + static_cast<unsigned>(random.below(hosts_of_a_subnet + 1));
	}
}

RecordKey World::record_key(Random &random) const
{
	const Subnet &subnet = some_subnet(random);
	if (random.one_in(12))
		return {subnet.vsid, subnet.base + 1};  // the gateway's own record
	if (random.one_in(12))
		return {subnet.vsid, subnet.base + 200 + static_cast<unsigned>(random.below(4))};
	return {subnet.vsid, subnet.base + 2 + static_cast<unsigned>(random.below(hosts_of_a_subnet))};
}

Record World::record(Random &random, const RecordKey &key) const
{
	Record record;
	const unsigned host = key.second.low() & 0xFF;
	record.mac = random.one_in(10) ? vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet))) : vm_mac(host);
	record.rule = random.one_in(10) ? APUS_RULE_NONE : APUS_RULE_ENCAP;
	record.type = random.one_in(4) ? APUS_RECORD_DYNAMIC : APUS_RECORD_STATIC;
	record.provider_address = random.chance(45) ? random.pick(local_pas) : random.pick(remote_pas);
	return record;
}

CustomerRouteKey World::customer_route(Random &random) const
{
	const Subnet &subnet = some_subnet(random);
	CustomerRouteKey key;
	key.vsid = subnet.vsid;
	key.domain = domains[subnet.domain >= 0 ? static_cast<std::size_t>(subnet.domain) : random.below(domains.size())];
	if (random.one_in(40))
		key.domain = random.pick(domains);
	if (subnet.domain >= 0 && random.chance(60)) {
		const unsigned length = random.pick<unsigned>({24, 24, 24, 29, 30, 31, 32, 16, 8});
		key.prefix = {(subnet.base + (length > 29 ? random.below(8) : 0)).network(length), length};
		return key;
	}
	key.next_hop = subnet.base + 2 + static_cast<unsigned>(random.below(hosts_of_a_subnet));
	switch (random.below(5)) {
	case 0:
		key.prefix = {0, 0};
		break;
	case 1:
		key.prefix = {net(10, 0, 0, 0), 8};
		break;
	case 2:
		key.prefix = {net(172, 16, 0, 0), 12};
		break;
	case 3:
		key.prefix = {subnet.base + 192, 26};
		break;
	default:
		key.prefix = {some_ca(random), 32};
		break;
	}
	return key;
}

ProviderAddress World::provider_address(Random &random, const std::vector<std::uint32_t> &provider_ports) const
{
	ProviderAddress address;
	address.port = random.pick(provider_ports);
	address.prefix_length = random.pick<unsigned>({24, 24, 24, 25, 16, 32, 1});
	address.vlan = random.pick<std::uint16_t>({0, 0, 0, 1, 100, 4094});
	address.mac = uplink_mac(static_cast<unsigned>(random.below(4)));
	return address;
}

ProviderRouteKey World::provider_route(Random &random, const std::vector<std::uint32_t> &provider_ports) const
{
	ProviderRouteKey key;
	const unsigned length = random.pick<unsigned>({0, 8, 24, 24, 25, 32});
	key.prefix = {random.pick(remote_pas).network(length), length};
	key.port = random.pick(provider_ports);
	key.next_hop = random.one_in(4) ? Ip(0) : random.pick(routers);
	return key;
}

Port World::vm_port(Random &random) const
{
	Port port;
	port.vm = true;
	port.trusted = random.one_in(8);
	port.vsid = some_subnet(random).vsid;
	port.mac = vm_mac(2 + static_cast<unsigned>(random.below(hosts_of_a_subnet)));
	port.mtu = random.pick<std::uint16_t>({1500, 576, 65535});
	return port;
}

Port World::provider_port(Random &random) const
{
	Port port;
	port.mtu = random.pick<std::uint16_t>({1500, 1500, 1542, 128, 65535, 200});
	return port;
}

}  // namespace world
