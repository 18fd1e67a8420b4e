// SPDX-License-Identifier: Apache-2.0
// The random world of one round: which addresses, MACs, subnets and tenants exist, and random policy objects from it.
// Tenants share customer addresses and MACs on purpose. Both families are everywhere, often in one virtual subnet.
#pragma once

#include "policy.hpp"
#include "random.hpp"

namespace world {

using namespace model;

struct Families {
	bool v4 = true;
	bool v6 = true;
};

struct Subnet {
	Vsid vsid = 0;
	int domain = -1;        // index; -1 = never bound
	std::vector<Ip> bases;  // a /24, a /64 or both
};

class World {
public:
	World(Random &random, const Settings &settings, Families its_families);

	Families families;
	std::vector<Guid> domains;
	std::vector<Subnet> subnets;
	std::vector<Ip> local_pas;
	std::vector<Ip> remote_pas;
	std::vector<Ip> routers;
	std::vector<Ip> groups;  // multicast addresses of the provider network
	// Of machines whose packets are rewritten: each has one of its own.
	std::vector<Ip> local_nat_pas;
	std::vector<Ip> remote_nat_pas;

	Mac vm_mac(unsigned host) const { return 0x600060000100 + host; }
	Mac uplink_mac(unsigned i) const { return 0x324455667700 + i; }
	Mac remote_mac(const Ip &ip) const { return 0x445566000000 + (ip.low() & 0xFFFFFF); }
	Mac some_mac(Random &random) const;
	unsigned some_family(Random &random) const { return families.v6 && (!families.v4 || random.chance(50)) ? 6 : 4; }
	Ip some_ca(Random &random, unsigned family) const;
	Ip some_ca(Random &random) const { return some_ca(random, some_family(random)); }
	/// One of the list, of this family if it has any.
	static Ip of_family(Random &random, const std::vector<Ip> &ips, unsigned family);

	RecordKey record_key(Random &random) const;
	Record record(Random &random, const RecordKey &key) const;
	SubnetOptions subnet_options(Random &random) const;
	MachineKey machine_key(Random &random) const;
	Record machine(Random &random, const MachineKey &key) const;
	CustomerRouteKey customer_route(Random &random) const;
	std::uint32_t customer_route_flags(Random &random, const CustomerRouteKey &key) const;
	Ip some_peer(Random &random) const;
	Peer peer(Random &random) const;
	ProviderAddress provider_address(Random &random, const Ip &ip, const std::vector<std::uint32_t> &provider_ports) const;
	ProviderRouteKey provider_route(Random &random, const std::vector<std::uint32_t> &provider_ports) const;
	std::uint32_t metric(Random &random) const { return random.pick<std::uint32_t>({0, 0, 0, 1, 5, 0xFFFFFFFF}); }
	Port vm_port(Random &random) const;
	Port provider_port(Random &random) const;
	/// Each on a device of its own, or on one of `devices`: provider ports and external ones without a parent.
	Port external_port(Random &random, const std::vector<std::uint32_t> &devices) const;
	/// On a network behind an external port. The networks of several tenants have the same addresses.
	Ip outside(Random &random, unsigned family) const;
	Ip outside_router(unsigned family, unsigned i) const;

private:
	const Subnet &some_subnet(Random &random) const { return random.pick(subnets); }
	Ip some_base(Random &random, unsigned family) const;
	Ip some_v4(Random &random) const;
	Ip some_v6(Random &random) const;
};

}  // namespace world
