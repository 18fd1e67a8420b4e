// SPDX-License-Identifier: Apache-2.0
// Random frames that are almost valid: made to fit the policy of the moment, then often spoiled in one or two places.
#pragma once

#include "build_frame.hpp"
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
	/// A frame of the provider network from which a path MTU may be learned.
	static bool may_teach_mtu(const Frame &frame);

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
	std::map<std::uint32_t, Port> external_ports_;
	std::vector<Entry> records_;
	std::map<Vsid, std::vector<Entry>> records_of_;
	std::vector<Pa> pas_;
	std::map<Vsid, std::vector<Ip>> gateways_of_;
	std::map<Vsid, std::vector<Vsid>> domain_peers_;  // virtual subnets of the same routing domain
	std::map<Vsid, Mac> gateway_mac_of_;
	std::vector<Asked> asked_;
	std::map<Ip, Peer> peers_;
	std::set<std::pair<Vsid, Mac>> l2_only_;
	/// The addresses that the packet that is being made is going to get, if it is rewritten.
	std::optional<std::pair<Ip, Ip>> translation_;

	const Entry *some_record(Vsid vsid);
	/// One of the virtual subnet's records that fit; nullptr when none does.
	const Entry *some_record(Vsid vsid, const std::function<bool(const Entry &)> &fits);
	/// An address that the machine behind the port may use, if it has one of the family.
	Ip own_ca(const Port &port, unsigned family);
	std::uint16_t some_type();
	std::uint8_t some_ttl();
	std::size_t some_size();
	/// `ping`: most probably an echo request.
	Bytes customer_packet(Mac destination, Mac source, const Ip &from, const Ip &to, bool ping = false);
	Bytes customer_ipv4(Mac destination, Mac source, const Ip &from, const Ip &to, bool ping);
	Bytes customer_ipv6(Mac destination, Mac source, Ip from, const Ip &to, bool ping);
	/// It becomes broadcast, multicast or of another protocol, sometimes.
	void choose_kind(Bytes &frame);
	std::vector<Ip> groups_;  // of virtual subnets
	void choose_dhcp(std::uint8_t protocol, Bytes &payload, std::uint16_t port);
	Bytes put_extension_headers(std::uint8_t &next_header, Bytes payload);
	/// An ICMP error about a packet that went the other way.
	Bytes icmp_error(const Ip &from, const Ip &to);
	/// The start of a packet, without Ethernet header.
	Bytes quoted_packet(const Ip &from, const Ip &to);
	/// The transport checksum becomes one of those that need care.
	void choose_checksum(std::uint8_t protocol, Bytes &payload, const Ip &from, const Ip &to);
	bool says_more(Vsid vsid, Mac mac);
	Bytes vm_ip(const Port &port);
	Bytes vm_arp(const Port &port);
	Bytes vm_discovery(const Port &port);
	Bytes provider_ip();
	/// To a machine whose packets are rewritten; nothing when there is none at this address.
	std::optional<Bytes> provider_rewritten(const Pa &pa);
	Bytes provider_too_big(std::uint32_t &port);
	/// What the host at `teller` says of a machine.
	Bytes control_message(const Ip &teller, const Entry &about);
	/// ARP or neighbour discovery of a machine on another host.
	Bytes inner_question(const Entry &source, const Entry &target);
	Bytes outer_headers(const Pa &pa, const Ip &source, Vsid vsid, const Bytes &inner);
	Bytes provider_arp(std::uint32_t &port);
	/// From the network behind an external port.
	Bytes outside(std::uint32_t &port);
	Mac frame_source(Arp &arp);
	Bytes outside_arp(const Port &port, const std::optional<Asked> &request);
	Bytes outside_discovery(const Port &port, const std::optional<Asked> &request);
	/// A request of an external port's that nobody has answered.
	std::optional<Asked> take_request_outside(std::uint32_t device, std::uint16_t vlan);
	/// Of the machine that an external port of the virtual subnet is; nothing where there is none.
	std::optional<Mac> gateway_of(Vsid vsid);
	Bytes provider_discovery(std::uint32_t &port);
	/// A request of this family that the library sent. It is answered only once.
	std::optional<Asked> take_request(unsigned family);
	/// Neighbour discovery, its message right, or wrong in one place.
	Bytes discovery(const build::Ethernet &ethernet, build::Ip6 ip, std::uint8_t type, std::uint8_t flags, const Ip &target, Bytes options);
	Bytes discovery_options(std::uint8_t type, Mac mac);
	void spoil_discovery(Bytes &frame, std::size_t at);
	void spoil_customer(Bytes &frame);
	std::uint16_t some_length(std::uint16_t right);
	bool spoil_gre(Bytes &frame, std::size_t gre);
	void spoil_outer(Bytes &frame, std::size_t ethernet);
	void pad(Bytes &frame);
	void insert_tags(Bytes &frame);
};

}  // namespace traffic
