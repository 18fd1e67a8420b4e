// SPDX-License-Identifier: Apache-2.0
// A small dataplane for hand-written cases: one tenant with two virtual subnets on this host and one remote host.
//
//     subnet 6000, 10.0.1.0/24, gateway .1      subnet 6001, 10.0.2.0/24, gateway .1
//       .2  vm1  local                            .2  vm3  local
//       .3  vm2  local                            .3       at 192.168.0.33
//       .4       at 192.168.0.33
//     provider address 192.168.0.22/24 on port uplink, neighbour 192.168.0.33 static
//
// And in IPv6, where add_ipv6() is called: the same machines in 2001:db8:1::/64, which is advertised, and 2001:db8:2::/64,
// those of subnet 6000 with link-local addresses too; provider address 2001:db8:f::22/64, neighbour 2001:db8:f::33 static.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "buffers.hpp"
#include "build_frame.hpp"
#include "objects.hpp"

namespace fixture {

using model::Bytes;
using model::Ip;
using model::Mac;
using model::Vsid;

constexpr Ip ip(unsigned a, unsigned b, unsigned c, unsigned d) { return Ip(a << 24 | b << 16 | c << 8 | d); }

constexpr Vsid subnet1 = 6000, subnet2 = 6001;
constexpr Ip vm1_ip = ip(10, 0, 1, 2), vm2_ip = ip(10, 0, 1, 3), vm3_ip = ip(10, 0, 2, 2);
constexpr Ip remote1_ip = ip(10, 0, 1, 4), remote2_ip = ip(10, 0, 2, 3);
constexpr Ip gateway1 = ip(10, 0, 1, 1), gateway2 = ip(10, 0, 2, 1);
constexpr Mac vm1_mac = 0x600060000101, vm2_mac = 0x600060000102, vm3_mac = 0x600060000201;
constexpr Mac remote1_mac = 0x600060000104, remote2_mac = 0x600060000203;
constexpr Mac router_mac = 0x026170757301;
constexpr Ip our_pa = ip(192, 168, 0, 22), remote_pa = ip(192, 168, 0, 33);
constexpr Ip ip6(std::uint64_t high, std::uint64_t low) { return Ip::v6(high, low); }
constexpr std::uint64_t net1 = 0x20010DB800010000, net2 = 0x20010DB800020000, site = 0x20010DB8000F0000, link_local = 0xFE80000000000000;
constexpr Ip vm1_ip6 = ip6(net1, 2), vm2_ip6 = ip6(net1, 3), vm3_ip6 = ip6(net2, 2);
constexpr Ip remote1_ip6 = ip6(net1, 4), remote2_ip6 = ip6(net2, 3);
constexpr Ip gateway1_ip6 = ip6(net1, 1), gateway2_ip6 = ip6(net2, 1);
constexpr Ip our_pa6 = ip6(site, 0x22), remote_pa6 = ip6(site, 0x33);
constexpr Mac our_pa_mac = 0x324455667788, remote_pa_mac = 0x445566778899;
constexpr Mac broadcast = 0xFFFFFFFFFFFF;
constexpr std::uint64_t second = 1'000'000'000;

inline model::Guid tenant(std::uint8_t number)
{
	model::Guid guid{};
	guid[0] = 0x12;
	guid[15] = number;
	return guid;
}

/// Setting up must work; a test has nothing to say when it does not.
inline void must(int result, const char *what)
{
	if (result >= 0)
		return;
	std::printf("set-up failed: %s answered %s\n", what, apus_error_name(result));
	std::exit(1);
}
#define MUST(call) fixture::must((call), #call)

struct Sent {
	std::uint64_t id;
	std::uint32_t port;
	std::uint32_t flags;
	Bytes bytes;
};

class Host {
public:
	struct apus_dataplane_opts opts;
	struct apus_worker_opts worker_opts;
	struct apus_dataplane *dataplane = nullptr;
	struct apus_worker *worker = nullptr;
	host::Buffers buffers;
	std::uint32_t vm1 = 0, vm2 = 0, vm3 = 0, uplink = 0;
	std::uint64_t now = second;
	int last_result = 0;

	Host()
	{
		APUS_INIT(&opts);
		APUS_INIT(&worker_opts);
		worker_opts.buffers = buffers.callbacks();
		worker_opts.flow_capacity = 256;
		for (auto &byte : opts.hash_key)
			byte = 0x5A;
	}
	Host(const Host &) = delete;
	Host &operator=(const Host &) = delete;
	~Host()
	{
		apus_worker_destroy(worker);
		apus_dataplane_destroy(dataplane);
	}

	/// Create the dataplane and the worker, without any policy.
	void open()
	{
		MUST(apus_dataplane_create(&opts, &dataplane));
		MUST(apus_worker_create(dataplane, &worker_opts, &worker));
	}

	/// open() and the policy above.
	void open_with_policy()
	{
		open();
		uplink = add_uplink();
		vm1 = add_vm(subnet1, vm1_mac);
		vm2 = add_vm(subnet1, vm2_mac);
		vm3 = add_vm(subnet2, vm3_mac);
		add_pa(our_pa, uplink, our_pa_mac);
		add_route(subnet1, {ip(10, 0, 1, 0), 24});
		add_route(subnet2, {ip(10, 0, 2, 0), 24});
		add_record(subnet1, vm1_ip, vm1_mac, our_pa);
		add_record(subnet1, vm2_ip, vm2_mac, our_pa);
		add_record(subnet1, remote1_ip, remote1_mac, remote_pa);
		add_record(subnet2, vm3_ip, vm3_mac, our_pa);
		add_record(subnet2, remote2_ip, remote2_mac, remote_pa);
		add_neighbor(remote_pa, remote_pa_mac);
	}

	/// The IPv6 part of the policy above.
	void add_ipv6()
	{
		add_pa(our_pa6, uplink, our_pa_mac, 0, 64);
		add_route(subnet1, {ip6(net1, 0), 64}, {}, 1, APUS_CUSTOMER_ROUTE_ADVERTISE | APUS_CUSTOMER_ROUTE_AUTOCONFIGURE);
		add_route(subnet2, {ip6(net2, 0), 64});
		add_record(subnet1, vm1_ip6, vm1_mac, our_pa6);
		add_record(subnet1, vm2_ip6, vm2_mac, our_pa6);
		add_record(subnet1, remote1_ip6, remote1_mac, remote_pa6);
		add_record(subnet2, vm3_ip6, vm3_mac, our_pa6);
		add_record(subnet2, remote2_ip6, remote2_mac, remote_pa6);
		add_record(subnet1, model::link_local_of(vm1_mac), vm1_mac, our_pa6);
		add_record(subnet1, model::link_local_of(vm2_mac), vm2_mac, our_pa6);
		add_record(subnet1, model::link_local_of(remote1_mac), remote1_mac, remote_pa6);
		add_neighbor(remote_pa6, remote_pa_mac);
	}

	std::uint32_t add_port(const model::Port &port)
	{
		const auto params = objects::port(port);
		std::uint32_t id = 0;
		MUST(apus_port_add(dataplane, &params, &id));
		return id;
	}
	std::uint32_t add_vm(Vsid vsid, Mac mac, bool trusted = false) { return add_port({true, trusted, vsid, mac, 1500}); }
	std::uint32_t add_uplink(std::uint16_t mtu = 1542) { return add_port({false, false, 0, 0, mtu}); }
	void add_record(Vsid vsid, Ip ca, Mac mac, Ip pa, std::uint8_t rule = APUS_RULE_ENCAP)
	{
		const auto object = objects::record({vsid, ca}, {mac, rule, APUS_RECORD_STATIC, pa});
		MUST(apus_lookup_record_add(dataplane, &object));
	}
	void remove_record(Vsid vsid, Ip ca)
	{
		const auto object = objects::record({vsid, ca}, {});
		MUST(apus_lookup_record_remove(dataplane, &object));
	}
	/// On-link, unless there is a next hop.
	void add_route(Vsid vsid, const model::Prefix &prefix, std::optional<Ip> next_hop = {}, std::uint8_t domain = 1, std::uint32_t flags = 0)
	{
		const Ip via = next_hop ? *next_hop : Ip::unspecified(prefix.address.family);
		const auto object = objects::customer_route({tenant(domain), vsid, prefix, via}, {0, flags});
		MUST(apus_customer_route_add(dataplane, &object));
	}
	void add_pa(Ip pa, std::uint32_t port, Mac mac, std::uint16_t vlan = 0, unsigned length = 24)
	{
		const auto object = objects::provider_address(pa, {port, length, vlan, mac});
		MUST(apus_provider_address_add(dataplane, &object));
	}
	void add_provider_route(const model::Prefix &prefix, std::uint32_t port, Ip next_hop)
	{
		const auto object = objects::provider_route({prefix, port, next_hop}, 0);
		MUST(apus_provider_route_add(dataplane, &object));
	}
	void add_neighbor(Ip address, Mac mac)
	{
		const auto object = objects::neighbor(address, mac);
		MUST(apus_provider_neighbor_add(dataplane, &object));
	}
	void remove_neighbor(Ip address)
	{
		const auto object = objects::neighbor(address, 0);
		MUST(apus_provider_neighbor_remove(dataplane, &object));
	}

	/// A frame from `port` in a buffer of its own.
	model::Frame frame(std::uint32_t port, const Bytes &bytes)
	{
		model::Frame out;
		out.id = next_id_++;
		out.port = port;
		out.bytes = bytes;
		out.contiguous = static_cast<std::uint32_t>(bytes.size());
		return out;
	}

	std::vector<Sent> process(const std::vector<model::Frame> &frames, std::uint32_t room = 64)
	{
		std::vector<struct apus_frame> in;
		for (const model::Frame &one : frames)
			in.push_back(buffers.give(one));
		std::vector<struct apus_frame> out(frames.size() + room);
		last_result = apus_worker_process(worker, in.data(), static_cast<std::uint32_t>(in.size()), out.data(),
						  static_cast<std::uint32_t>(out.size()), now);
		std::vector<Sent> sent;
		for (int i = 0; i < last_result; i++) {
			const struct apus_frame &one = out[static_cast<std::size_t>(i)];
			host::Buffer *buffer = buffers.take_back(one.buffer);
			if (buffer == nullptr)
				continue;
			sent.push_back({buffer->id, one.port, one.flags, Bytes(one.data, one.data + std::min<std::uint32_t>(one.length, one.contiguous))});
			buffers.recycle(buffer);
		}
		return sent;
	}
	std::vector<Sent> send(std::uint32_t port, const Bytes &bytes) { return process({frame(port, bytes)}); }

	struct apus_stats stats() const
	{
		struct apus_stats out;
		APUS_INIT(&out);
		must(apus_worker_stats_get(worker, &out), "apus_worker_stats_get");
		return out;
	}

private:
	std::uint64_t next_id_ = 1;
};

// ---- frames of the small policy --------------------------------------------------------------------------------------

inline Bytes udp(Mac destination, Mac source, Ip from, Ip to, std::uint8_t ttl = 64, std::uint8_t tos = 0, std::size_t size = 20)
{
	build::Ip4 header;
	header.source = from;
	header.destination = to;
	header.ttl = ttl;
	header.tos = tos;
	return build::ipv4({destination, source, 0, model::type_ipv4}, header, build::transport(1000, 2000, size));
}

inline Bytes vm1_to_vm2() { return udp(vm2_mac, vm1_mac, vm1_ip, vm2_ip); }
inline Bytes vm1_to_remote1() { return udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip); }
inline Bytes vm1_to_vm3() { return udp(router_mac, vm1_mac, vm1_ip, vm3_ip); }
inline Bytes vm1_to_remote2() { return udp(router_mac, vm1_mac, vm1_ip, remote2_ip); }
inline Bytes remote1_to_vm1(std::uint8_t tos = 0) { return udp(vm1_mac, remote1_mac, remote1_ip, vm1_ip, 64, tos); }
inline Bytes vm1_arp(Ip target) { return build::arp({broadcast, vm1_mac, 0, model::type_arp}, {1, vm1_mac, vm1_ip, 0, target}); }
inline Bytes vm1_ping(Ip target)
{
	build::Ip4 header;
	header.source = vm1_ip;
	header.destination = target;
	header.protocol = 1;
	return build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, build::icmp(8, 0, 7, 1, 24));
}

// ---- the same in IPv6

inline Bytes udp6(Mac destination, Mac source, const Ip &from, const Ip &to, std::uint8_t hop_limit = 64, std::uint8_t tos = 0,
		  std::size_t size = 20)
{
	build::Ip6 header;
	header.source = from;
	header.destination = to;
	header.hop_limit = hop_limit;
	header.tos = tos;
	return build::ipv6({destination, source, 0, model::type_ipv6}, header, build::transport(1000, 2000, size));
}

inline Bytes vm1_to_vm2_ip6() { return udp6(vm2_mac, vm1_mac, vm1_ip6, vm2_ip6); }
inline Bytes vm1_to_remote1_ip6() { return udp6(remote1_mac, vm1_mac, vm1_ip6, remote1_ip6); }
inline Bytes vm1_to_vm3_ip6() { return udp6(router_mac, vm1_mac, vm1_ip6, vm3_ip6); }
inline Bytes vm1_to_remote2_ip6() { return udp6(router_mac, vm1_mac, vm1_ip6, remote2_ip6); }
inline Bytes remote1_to_vm1_ip6(std::uint8_t tos = 0) { return udp6(vm1_mac, remote1_mac, remote1_ip6, vm1_ip6, 64, tos); }

inline build::Ethernet outer_ethernet6() { return {our_pa_mac, remote_pa_mac, 0, model::type_ipv6}; }
inline build::Ip6 outer_ip6()
{
	build::Ip6 outer;
	outer.source = remote_pa6;
	outer.destination = our_pa6;
	outer.next_header = 47;
	return outer;
}
/// `inner` in NVGRE over IPv6 from the remote host to this one.
inline Bytes tunnelled6(const Bytes &inner, Vsid vsid = subnet1) { return build::nvgre(outer_ethernet6(), outer_ip6(), vsid, 0x42, inner); }

inline build::Ethernet outer_ethernet() { return {our_pa_mac, remote_pa_mac, 0, model::type_ipv4}; }
inline build::Ip4 outer_ip()
{
	build::Ip4 outer;
	outer.source = remote_pa;
	outer.destination = our_pa;
	outer.protocol = 47;
	outer.identification = 0;
	return outer;
}
/// `inner` in NVGRE from the remote host to this one.
inline Bytes tunnelled(const Bytes &inner, Vsid vsid = subnet1) { return build::nvgre(outer_ethernet(), outer_ip(), vsid, 0x42, inner); }

}  // namespace fixture
