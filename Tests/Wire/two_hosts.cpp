// SPDX-License-Identifier: Apache-2.0
// Two hosts that foreign_peers.py feeds with frames, one a line, and whose frames it takes apart:
//
//     in     a vm 600060000104...          host, port, frame
//     out    uplink 445566778899...        each frame that left: port, frame
//            drop OUTER_VLAN               each frame that did not
//            .
//
// Host a is the fixture's with more remote hosts, one for each way to talk to a peer, and a machine `nat` that is
// rewritten; host b has the machine that `nat` talks to.
#include <iostream>
#include <sstream>

#include "fixture.hpp"

using namespace fixture;

namespace {

struct Remote {
	std::uint8_t number;  // of its provider addresses, 192.168.0.n and 2001:db8:f::n, and of its machine
	model::Peer peer;
};

std::vector<Remote> remotes()
{
	std::vector<Remote> all(5);
	for (std::size_t i = 0; i < all.size(); i++)
		all[i].number = static_cast<std::uint8_t>(0x40 + i);
	all[0].peer.encapsulation = APUS_ENCAPSULATION_VXLAN;
	all[1].peer.key_layout = APUS_KEY_DRAFT00;
	all[2].peer.flow_id = APUS_FLOW_ID_ZERO;
	all[3].peer.dscp_mode = APUS_DSCP_PIPE;
	all[3].peer.dscp = 46;
	all[3].peer.ecn_mode = APUS_ECN_COMPATIBILITY;
	all[3].peer.ttl = 7;
	all[4].peer.df_mode = APUS_DF_COPY;
	return all;
}

/// PROTOCOL.md 1.2
constexpr Vsid vsids[] = {0x123456, 445566, 7788990, 4096, 16777214};

constexpr Ip ca(unsigned n, bool v6) { return v6 ? ip6(net1, n) : ip(10, 0, 1, n); }
constexpr Ip pa(unsigned n, bool v6) { return v6 ? ip6(site, n) : ip(192, 168, 0, n); }
constexpr Mac machine(unsigned n) { return 0x600060000100 + n; }
constexpr Mac host_mac(unsigned n) { return 0x445566770000 + n; }
constexpr Mac nat_pa_mac(unsigned n) { return 0x324455660000 + n; }
constexpr unsigned here = 0x60, there = 0x61;  // the machines that are rewritten

class Named : public Host {
public:
	std::map<std::string, std::uint32_t> ports;

	std::string name(std::uint32_t port) const
	{
		for (const auto &[text, id] : ports)
			if (id == port)
				return text;
		return "?";
	}
	/// Machine `own` here is rewritten, and talks to `other`.
	void add_nat(unsigned own, unsigned other)
	{
		ports["nat"] = add_vm(subnet1, machine(own));
		for (const bool v6 : {false, true}) {
			add_pa(pa(own, v6), uplink, nat_pa_mac(own), 0, v6 ? 64 : 24);
			add_record(subnet1, ca(own, v6), machine(own), pa(own, v6), APUS_RULE_NAT);
			add_record(subnet1, ca(other, v6), machine(other), pa(other, v6), APUS_RULE_NAT);
			add_neighbor(pa(other, v6), nat_pa_mac(other));
		}
	}
};

void fill_a(Named &host)
{
	host.open_with_policy();
	host.add_ipv6();
	host.ports = {{"vm", host.vm1}, {"uplink", host.uplink}};
	for (const Remote &remote : remotes())
		for (const bool v6 : {false, true}) {
			host.add_record(subnet1, ca(remote.number, v6), machine(remote.number), pa(remote.number, v6));
			host.add_neighbor(pa(remote.number, v6), host_mac(remote.number));
			const auto peer = objects::peer(pa(remote.number, v6), remote.peer);
			MUST(apus_provider_peer_add(host.dataplane, &peer));
		}
	for (const Vsid vsid : vsids) {
		host.ports["vm" + std::to_string(vsid)] = host.add_vm(vsid, vm1_mac);
		host.add_record(vsid, vm1_ip, vm1_mac, our_pa);
		for (const unsigned number : {0x41, 0x42})
			host.add_record(vsid, ca(number, false), machine(number), pa(number, false));
	}
	host.add_nat(here, there);
}

void fill_b(Named &host)
{
	host.open();
	host.uplink = host.add_uplink();
	host.ports = {{"uplink", host.uplink}};
	host.add_nat(there, here);
}

Bytes from_hex(const std::string &text)
{
	Bytes out;
	for (std::size_t i = 0; i + 1 < text.size(); i += 2)
		out.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
	return out;
}

void answer(Named &host, const std::string &port, const Bytes &frame)
{
	const struct apus_stats before = host.stats();
	for (const Sent &sent : host.send(host.ports.at(port), frame)) {
		std::cout << host.name(sent.port) << ' ';
		for (const std::uint8_t byte : sent.bytes) {
			static const char digits[] = "0123456789abcdef";
			std::cout << digits[byte >> 4] << digits[byte & 15];
		}
		std::cout << '\n';
	}
	const struct apus_stats after = host.stats();
	for (std::uint32_t reason = 0; reason < APUS_DROP_REASON_COUNT; reason++)
		if (after.drops[reason] != before.drops[reason])
			std::cout << "drop " << apus_drop_reason_name(reason) << '\n';
	std::cout << "." << std::endl;
}

}  // namespace

int main()
{
	Named a, b;
	fill_a(a);
	fill_b(b);
	std::string line;
	while (std::getline(std::cin, line)) {
		std::istringstream words(line);
		std::string host, port, frame;
		words >> host >> port >> frame;
		answer(host == "b" ? b : a, port, from_hex(frame));
	}
}
