// SPDX-License-Identifier: Apache-2.0
// Broadcast, multicast and protocols other than IP. docs/pipeline.md 2.5, 2.6 and 4.3; include/apus/subnet.h.
#include "machines.hpp"

namespace {

using namespace machines;

constexpr Ip group = ip(239, 1, 2, 3);
constexpr Mac group_mac = 0x01005E010203;
constexpr std::uint16_t other_type = 0x88B5;  // IEEE 802 local experimental

struct apus_virtual_subnet subnet(std::uint32_t flags, std::uint32_t rate = 0, Ip multicast_group = any)
{
	struct apus_virtual_subnet out;
	APUS_INIT(&out);
	out.virtual_subnet_id = subnet1;
	out.flags = flags;
	out.replication_rate = rate;
	if (!(multicast_group == any))
		out.multicast_group = objects::address(multicast_group);
	return out;
}
void open(Machines &host, std::uint32_t flags, std::uint32_t rate = 0, Ip multicast_group = any)
{
	const auto object = subnet(flags, rate, multicast_group);
	MUST(apus_virtual_subnet_add(host.dataplane, &object));
}
Bytes other(Mac destination, Mac source, std::size_t size = 40)
{
	Bytes frame = model::ethernet_header(destination, source, 0, other_type);
	for (std::size_t i = 0; i < size; i++)
		frame.push_back(static_cast<std::uint8_t>(i));
	return frame;
}
Bytes discover(Mac source) { return udp(broadcast, source, any, ip(255, 255, 255, 255)); }
Bytes multicast(Mac source, Ip from) { return udp(0x01005E000009, source, from, ip(224, 0, 0, 9)); }

void objects_of_subnets(Machines &host)
{
	auto object = subnet(APUS_SUBNET_BROADCAST, 5, group);
	expect(apus_virtual_subnet_get(host.dataplane, &object) == APUS_ERR_NOT_FOUND, "get nothing");
	expect(apus_virtual_subnet_set(host.dataplane, &object) == APUS_ERR_NOT_FOUND, "set nothing");
	expect(apus_virtual_subnet_remove(host.dataplane, &object) == APUS_ERR_NOT_FOUND, "remove nothing");
	MUST(apus_virtual_subnet_add(host.dataplane, &object));
	expect(apus_virtual_subnet_add(host.dataplane, &object) == APUS_ERR_DUPLICATE, "add twice");
	auto read = subnet(0);
	MUST(apus_virtual_subnet_get(host.dataplane, &read));
	expect(std::memcmp(&read, &object, sizeof(read)) == 0, "what was added is there");
	std::uint64_t cursor = 0;
	expect(apus_virtual_subnet_iterate(host.dataplane, &cursor, &read) == 1 && apus_virtual_subnet_iterate(host.dataplane, &cursor, &read) == 0, "one");
	object = subnet(0);
	MUST(apus_virtual_subnet_set(host.dataplane, &object));
	MUST(apus_virtual_subnet_get(host.dataplane, &read));
	expect(read.flags == 0 && read.replication_rate == 10000 && read.multicast_group.family == 0, "what was set is there");
	struct Wrong {
		struct apus_virtual_subnet object;
		int error;
	};
	auto no_vsid = subnet(0);
	no_vsid.virtual_subnet_id = 17;
	auto no_family = subnet(APUS_SUBNET_BROADCAST, 0, group);
	no_family.multicast_group.family = 7;
	const Wrong wrong[] = {
		{no_vsid, APUS_ERR_VSID}, {no_family, APUS_ERR_FAMILY}, {subnet(4), APUS_ERR_UNKNOWN_FIELD},
		{subnet(APUS_SUBNET_BROADCAST, 10000001), APUS_ERR_RANGE}, {subnet(APUS_SUBNET_BROADCAST, 0, remote_pa), APUS_ERR_ADDRESS},
		{subnet(APUS_SUBNET_ALLOW_NON_IP, 0, group), APUS_ERR_CONFLICT},
	};
	for (const auto &one : wrong)
		expect_equal(static_cast<std::uint64_t>(-apus_virtual_subnet_set(host.dataplane, &one.object)), static_cast<std::uint64_t>(-one.error), "error");
	MUST(apus_virtual_subnet_remove(host.dataplane, &object));
}
void as_before(Machines &host)
{
	host.refuse(host.vm1, discover(vm1_mac), APUS_DROP_NOT_UNICAST);
	host.refuse(host.vm1, other(vm2_mac, vm1_mac), APUS_DROP_ETHERTYPE);
	host.refuse(host.uplink, tunnelled(multicast(remote1_mac, remote1_ip)), APUS_DROP_INNER_NOT_UNICAST);
	host.refuse(host.uplink, tunnelled(other(vm1_mac, remote1_mac)), APUS_DROP_INNER_ETHERTYPE);
	open(host, APUS_SUBNET_ALLOW_NON_IP);
	host.refuse(host.vm1, discover(vm1_mac), APUS_DROP_NOT_UNICAST);
	host.refuse(host.vm1, other(broadcast, vm1_mac), APUS_DROP_NOT_UNICAST);
	host.refuse(host.uplink, tunnelled(other(broadcast, remote1_mac)), APUS_DROP_INNER_NOT_UNICAST);
	host.refuse(host.vm3, other(vm1_mac, vm3_mac), APUS_DROP_ETHERTYPE);
	const auto object = subnet(APUS_SUBNET_BROADCAST);
	MUST(apus_virtual_subnet_set(host.dataplane, &object));
	host.refuse(host.vm1, other(vm2_mac, vm1_mac), APUS_DROP_ETHERTYPE);
	host.refuse(host.vm1, udp(vm2_mac, vm1_mac, vm1_ip, ip(224, 0, 0, 9)), APUS_DROP_NOT_UNICAST);
}
void to_each_host(Machines &host)
{
	host.add_neighbor(other_pa, other_pa_mac);
	host.add_record(subnet1, nobody_ip, stranger_mac, other_pa);
	host.add_record(subnet1, away_ip, away_mac, other_pa);
	open(host, APUS_SUBNET_BROADCAST);
	for (int i = 0; i < 2; i++) {  // first packet of a flow, and one of a known flow
		Bytes packet = i == 0 ? multicast(vm1_mac, vm1_ip) : discover(vm1_mac);
		const Bytes bare = packet;
		packet.resize(packet.size() + 7);
		for (int again = 0; again < 2; again++) {
			const auto sent = host.offer(host.vm1, packet);
			expect_equal(sent.size(), 4, "frames");
			if (sent.size() != 4)
				continue;
			expect(host.inside(sent[0].bytes, remote_pa) == bare && host.inside(sent[1].bytes, other_pa) == bare, "copies for hosts");
			expect(sent[2].port == host.vm2 && sent[3].port == host.dynamic_port && sent[2].bytes == packet && sent[3].bytes == packet, "copies for machines");
		}
	}
	expect_equal(host.totals().replicated, 8, "replicated");
	expect_equal(host.totals().switched, 8, "switched");
	expect(host.totals().flow_hits == 2, "flow hits");
	// A machine that nobody knows is heard on this host only.
	expect_equal(host.offer(host.dynamic_port, discover(dynamic_mac)).size(), 2, "copies for machines");
	host.l2_only(dynamic_mac, our_pa);
	expect_equal(host.offer(host.dynamic_port, discover(dynamic_mac)).size(), 4, "copies for all");
	// What its sender may not say.
	host.refuse(host.vm1, multicast(vm1_mac, vm2_ip), APUS_DROP_SOURCE_CA_MAC);
	host.refuse(host.vm1, multicast(vm1_mac, ip(127, 0, 0, 1)), APUS_DROP_IP_MALFORMED);
	// Larger than the tunnel: every copy is dropped by itself.
	const auto before = host.totals();
	host.process({host.frame(host.vm1, udp(broadcast, vm1_mac, vm1_ip, ip(255, 255, 255, 255), 64, 0, 1480))});
	expect_equal(host.totals().drops[APUS_DROP_MTU_EXCEEDED] - before.drops[APUS_DROP_MTU_EXCEEDED], 2, "MTU_EXCEEDED");
	expect_equal(host.totals().icmp_errors, 0, "icmp_errors");
	// Nobody is there.
	const auto alone = host.add_vm(7000, 0x600060000999);
	auto object = subnet(APUS_SUBNET_BROADCAST);
	object.virtual_subnet_id = 7000;
	MUST(apus_virtual_subnet_add(host.dataplane, &object));
	expect_equal(host.offer(alone, discover(0x600060000999)).size(), 0, "frames when nobody is there");
}
void to_a_group(Machines &host)
{
	open(host, APUS_SUBNET_BROADCAST, 0, group);
	const Bytes packet = discover(vm1_mac);
	host.refuse_copy(host.vm1, packet, APUS_DROP_PROVIDER_ROUTE_MISSING, 2);
	host.add_provider_route({ip(224, 0, 0, 0), 4}, host.uplink, any);
	const auto sent = host.offer(host.vm1, packet);
	expect_equal(sent.size(), 3, "frames");
	if (sent.empty())
		return;
	expect(host.inside(sent[0].bytes, group) == packet, "the copy for the group");
	expect(model::get_mac(sent[0].bytes, 0) == group_mac && model::get_mac(sent[0].bytes, 6) == our_pa_mac, "MACs");
	expect_equal(host.totals().replicated, 1, "replicated");
}
void from_a_group(Machines &host)
{
	open(host, APUS_SUBNET_BROADCAST, 0, group);
	const Bytes packet = multicast(remote1_mac, remote1_ip);
	auto outer = outer_ip();
	outer.destination = group;
	const build::Ethernet link = {group_mac, remote_pa_mac, 0, model::type_ipv4};
	expect_equal(host.offer(host.uplink, build::nvgre(link, outer, subnet1, 0, packet)).size(), 3, "frames");
	host.refuse(host.uplink, build::nvgre(outer_ethernet(), outer, subnet1, 0, packet), APUS_DROP_OUTER_MAC);
	host.refuse(host.uplink, build::nvgre({group_mac, remote_pa_mac, 5, model::type_ipv4}, outer, subnet1, 0, packet), APUS_DROP_OUTER_VLAN);
	host.refuse(host.uplink, build::nvgre(link, outer, subnet2, 0, packet), APUS_DROP_OUTER_NOT_OURS);
	outer.destination = ip(239, 1, 2, 4);
	host.refuse(host.uplink, build::nvgre({group_mac + 1, remote_pa_mac, 0, model::type_ipv4}, outer, subnet1, 0, packet), APUS_DROP_OUTER_NOT_OURS);
	// Our own, heard again.
	outer.destination = group;
	outer.source = our_pa;
	const auto before = host.totals();
	host.offer(host.uplink, build::nvgre({group_mac, our_pa_mac, 0, model::type_ipv4}, outer, subnet1, 0, multicast(vm1_mac, vm1_ip)));
	expect_equal(host.totals().consumed - before.consumed, 1, "consumed");
}
void from_a_host(Machines &host)
{
	open(host, APUS_SUBNET_BROADCAST);
	for (const Bytes &packet : {multicast(remote1_mac, remote1_ip), discover(remote1_mac)}) {
		const auto before = host.totals();
		const auto sent = host.offer(host.uplink, tunnelled(packet));
		expect_equal(sent.size(), 3, "frames");
		for (const auto &one : sent)
			expect(one.bytes == packet && one.port != host.uplink, "a copy");
		expect_equal(host.totals().decapsulated - before.decapsulated, 3, "decapsulated");
		expect_equal(host.totals().flow_inserts - before.flow_inserts, 0, "flow_inserts");
	}
	host.refuse(host.uplink, tunnelled(multicast(stranger_mac, nobody_ip)), APUS_DROP_INNER_SOURCE_MISSING);
	host.refuse(host.uplink, tunnelled(multicast(vm1_mac, any)), APUS_DROP_INNER_SOURCE_CA_PA);
	host.refuse(host.uplink, tunnelled(multicast(remote1_mac, vm1_ip)), APUS_DROP_INNER_SOURCE_CA_PA);
	host.refuse(host.uplink, tunnelled(multicast(remote1_mac, ip(240, 0, 0, 1))), APUS_DROP_INNER_IP_MALFORMED);
	host.add_record(subnet1, nobody_ip, stranger_mac, remote_pa);
	host.refuse(host.uplink, tunnelled(multicast(stranger_mac, remote1_ip)), APUS_DROP_INNER_SOURCE_CA_MAC);
	host.add_record(7000, away_ip, away_mac, other_pa);
	host.refuse(host.uplink, tunnelled_from(other_pa, multicast(remote1_mac, remote1_ip)), APUS_DROP_VSID_PA_MISMATCH);
	auto object = subnet(APUS_SUBNET_BROADCAST);
	object.virtual_subnet_id = 7000;
	MUST(apus_virtual_subnet_add(host.dataplane, &object));
	host.refuse(host.uplink, tunnelled_from(other_pa, multicast(away_mac, away_ip), 7000), APUS_DROP_NO_LOCAL_PORT);
}
void not_contiguous(Machines &host)
{
	open(host, APUS_SUBNET_BROADCAST);
	auto frame = host.frame(host.vm1, udp(broadcast, vm1_mac, vm1_ip, ip(255, 255, 255, 255), 64, 0, 600));
	frame.contiguous = 300;
	host.process({frame});
	expect_equal(host.totals().drops[APUS_DROP_FRAME_INVALID], 1, "FRAME_INVALID");
	frame = host.frame(host.uplink, tunnelled(udp(broadcast, remote1_mac, remote1_ip, ip(255, 255, 255, 255), 64, 0, 600)));
	frame.contiguous = 300;
	host.process({frame});
	expect_equal(host.totals().drops[APUS_DROP_FRAME_INVALID], 2, "FRAME_INVALID");
}
void rate(Machines &host)
{
	open(host, APUS_SUBNET_BROADCAST, 100);
	std::vector<Frame> burst;
	for (int i = 0; i < 20; i++)
		burst.push_back(host.frame(host.vm1, discover(vm1_mac)));
	host.process(burst, 200);
	expect_equal(host.totals().replicated, 11, "copies in a moment");
	expect_equal(host.totals().drops[APUS_DROP_REPLICATION_LIMIT], 9, "REPLICATION_LIMIT");
}
void other_protocols(Machines &host)
{
	open(host, APUS_SUBNET_ALLOW_NON_IP | APUS_SUBNET_BROADCAST);
	host.pass(host.vm1, other(vm2_mac, vm1_mac), host.vm2);
	host.refuse(host.vm1, other(vm1_mac, vm1_mac), APUS_DROP_HAIRPIN);
	const Bytes frame = other(remote1_mac, vm1_mac);
	expect(host.tunnel(host.vm1, frame, remote_pa) == frame, "the frame");
	expect_equal(host.totals().replicated, 0, "replicated");
	host.refuse(host.vm1, other(stranger_mac, vm1_mac), APUS_DROP_DESTINATION_RECORD_MISSING);
	host.refuse(host.dynamic_port, other(remote1_mac, dynamic_mac), APUS_DROP_SOURCE_RECORD_MISSING);
	host.add_record(subnet1, nobody_ip, stranger_mac, our_pa);
	host.refuse(host.vm1, other(stranger_mac, vm1_mac), APUS_DROP_NO_LOCAL_PORT);
	host.add(subnet1, away_ip, away_mac, remote_pa, APUS_RECORD_STATIC, 0, APUS_RULE_NONE);
	host.refuse(host.vm1, other(away_mac, vm1_mac), APUS_DROP_RULE_NONE);
	host.refuse(host.vm1, other(remote1_mac, vm1_mac, 1501), APUS_DROP_MTU_EXCEEDED);
	expect_equal(host.offer(host.vm1, other(0x0180C2000000, vm1_mac, 3)).size(), 3, "copies");
	// From another host.
	const Bytes inwards = other(vm1_mac, remote1_mac);
	expect(host.pass(host.uplink, tunnelled(inwards), host.vm1) == inwards, "the frame");
	host.refuse(host.uplink, tunnelled(other(dynamic_mac, remote1_mac)), APUS_DROP_INNER_DESTINATION_MISSING);
	host.refuse(host.uplink, tunnelled(other(away_mac, remote1_mac)), APUS_DROP_INNER_DESTINATION_CA_PA);
	host.refuse(host.uplink, tunnelled(other(stranger_mac, remote1_mac)), APUS_DROP_NO_LOCAL_PORT);
	host.refuse(host.uplink, tunnelled(other(vm1_mac, vm2_mac)), APUS_DROP_INNER_SOURCE_CA_PA);
	host.refuse(host.uplink, tunnelled(other(vm1_mac, 0x600060000999)), APUS_DROP_INNER_SOURCE_MISSING);
	expect_equal(host.offer(host.uplink, tunnelled(other(broadcast, remote1_mac))).size(), 3, "copies");
	host.set(subnet1, vm1_ip, vm1_mac, our_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.refuse(host.uplink, tunnelled(inwards), APUS_DROP_RECORD_UNUSABLE);
	host.set(subnet1, remote1_ip, remote1_mac, remote_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.refuse(host.vm1, frame, APUS_DROP_RECORD_UNUSABLE);
}

}  // namespace

const std::vector<machines::Case> machines::broadcast_cases = {
	{"virtual subnets", objects_of_subnets, 0, 0}, {"as before", as_before, 0, 0},
	{"to each host", to_each_host, 0, 0},          {"to a group", to_a_group, 0, 0},
	{"from a group", from_a_group, 0, 0},          {"from a host", from_a_host, 0, 0},
	{"not contiguous", not_contiguous, 0, 0},      {"rate", rate, 0, 0},
	{"other protocols", other_protocols, 0, 0},
};
