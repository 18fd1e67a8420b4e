// SPDX-License-Identifier: Apache-2.0
// Random frames that are almost valid: made to fit the policy of the moment, then often spoiled in one or two places.
#pragma once

#include "model.hpp"
#include "random.hpp"
#include "world.hpp"

namespace traffic {

using namespace model;

/// A request that the library sent for a provider neighbour; the traffic answers most of them.
struct Asked {
	Ip neighbour;
	std::uint32_t port;
	std::uint16_t vlan;
	Mac by_mac;
	Ip by;
};

class Traffic {
public:
	Traffic(Random &random, const world::World &world, const Settings &settings)
		: random_(random), world_(world), settings_(settings) {}

	/// The policy that is in force changed.
	void look_at(const Policy &policy);
	Frame frame();
	void asked(const Asked &request);

private:
	Random &random_;
	const world::World &world_;
	const Settings &settings_;

	struct Entry {
		RecordKey key;
		Record record;
		bool local;
	};
	struct Pa {
		Ip ip;
		ProviderAddress address;
	};
	std::vector<std::pair<std::uint32_t, Port>> vm_ports_;
	std::vector<std::uint32_t> provider_ports_;
	std::vector<Entry> records_;
	std::map<Vsid, std::vector<Entry>> records_of_;
	std::vector<Pa> pas_;
	std::map<Vsid, std::vector<Ip>> gateways_of_;
	std::map<Vsid, std::vector<Vsid>> domain_peers_;  // virtual subnets of the same routing domain
	std::map<Vsid, Mac> gateway_mac_of_;
	std::vector<Asked> asked_;

	const Entry *some_record(Vsid vsid);
	Bytes customer_packet(Mac destination, Mac source, Ip from, Ip to);
	Bytes vm_ip(const Port &port);
	Bytes vm_arp(const Port &port);
	Bytes provider_ip();
	Bytes provider_arp(std::uint32_t &port);
	void spoil_customer(Bytes &frame);
	void spoil_outer(Bytes &frame, std::size_t ethernet);
	void pad(Bytes &frame);
	void insert_tags(Bytes &frame);
};

}  // namespace traffic
