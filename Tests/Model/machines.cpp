// SPDX-License-Identifier: Apache-2.0
// Machines whose addresses nobody told us: gateways for everything, machines that say themselves what they are called, and
// what the control plane hears of it. docs/pipeline.md sections 2, 3, 4.1 and 8; include/apus/event.h.
#include "machines.hpp"

namespace {

using namespace machines;

// ---- GatewayWildcard -------------------------------------------------------------------------------------------------

void wildcard_switched(Machines &host)
{
	const Bytes packet = udp(away_mac, vm1_mac, vm1_ip, outside_ip);
	host.refuse(host.vm1, packet, APUS_DROP_DESTINATION_RECORD_MISSING);
	host.wildcard(away_mac, remote_pa);
	expect(host.tunnel(host.vm1, packet, remote_pa) == packet, "the packet changed");
	// Who has a record is not behind the gateway.
	host.refuse(host.vm1, udp(away_mac, vm1_mac, vm1_ip, remote1_ip), APUS_DROP_DESTINATION_CA_MAC);
	host.set(subnet1, any, away_mac, remote_pa, APUS_RECORD_GATEWAY_WILDCARD, APUS_RECORD_UNUSABLE);
	host.refuse(host.vm1, packet, APUS_DROP_RECORD_UNUSABLE);
}
void wildcard_of_other_family(Machines &host)
{
	struct apus_lookup_record record = objects::record({subnet1, any}, {away_mac, APUS_RULE_ENCAP, APUS_RECORD_GATEWAY_WILDCARD, remote_pa});
	record.customer_address.family = APUS_IPV6;
	MUST(apus_lookup_record_add(host.dataplane, &record));
	host.refuse(host.vm1, udp(away_mac, vm1_mac, vm1_ip, outside_ip), APUS_DROP_DESTINATION_RECORD_MISSING);
}
void wildcard_routed(Machines &host)
{
	const Bytes packet = udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 99));
	host.refuse(host.vm1, packet, APUS_DROP_DESTINATION_RECORD_MISSING);
	host.add_neighbor(other_pa, other_pa_mac);
	host.wildcard(away_mac, remote_pa, subnet2);
	host.wildcard(away_mac - 1, other_pa, subnet2);
	const Bytes inner = host.tunnel(host.vm1, packet, other_pa, subnet2);
	expect(model::get_mac(inner, 0) == away_mac - 1, "the lowest MAC is the gateway");
}
void wildcard_of_this_host(Machines &host)
{
	host.wildcard(vm3_mac, our_pa, subnet2);
	expect(model::get_mac(host.pass(host.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 99)), host.vm3), 0) == vm3_mac, "its MAC");
	host.wildcard(dynamic_mac, our_pa);
	// It forwards what others send.
	host.refuse(host.vm2, udp(remote1_mac, vm2_mac, outside_ip, remote1_ip), APUS_DROP_SOURCE_RECORD_MISSING);
	host.tunnel(host.dynamic_port, udp(remote1_mac, dynamic_mac, outside_ip, remote1_ip), remote_pa);
	host.tunnel(host.dynamic_port, udp(remote1_mac, dynamic_mac, vm1_ip, remote1_ip), remote_pa);
	// What arrives for addresses without a record.
	const Bytes inwards = udp(dynamic_mac, remote1_mac, remote1_ip, outside_ip);
	host.pass(host.uplink, tunnelled(inwards), host.dynamic_port);
	host.refuse(host.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, outside_ip)), APUS_DROP_INNER_DESTINATION_MISSING);
	host.set(subnet1, any, dynamic_mac, our_pa, APUS_RECORD_GATEWAY_WILDCARD, APUS_RECORD_UNUSABLE);
	host.refuse(host.uplink, tunnelled(inwards), APUS_DROP_RECORD_UNUSABLE);
}
void wildcard_elsewhere_sends(Machines &host)
{
	const Bytes packet = tunnelled(udp(vm1_mac, away_mac, outside_ip, vm1_ip));
	host.refuse(host.uplink, packet, APUS_DROP_INNER_SOURCE_MISSING);
	host.wildcard(away_mac, remote_pa);
	host.pass(host.uplink, packet, host.vm1);
	host.refuse(host.uplink, tunnelled(udp(vm1_mac, stranger_mac, outside_ip, vm1_ip)), APUS_DROP_INNER_SOURCE_MISSING);
	// A machine with a record of its own is not behind the gateway.
	host.refuse(host.uplink, tunnelled(udp(vm1_mac, away_mac, remote1_ip, vm1_ip)), APUS_DROP_INNER_SOURCE_CA_MAC);
}
void wildcard_in_its_own_subnet(Machines &host)
{
	// As HNV wants it: the gateway in a virtual subnet of its own, and a route to everything through it.
	constexpr Vsid gateway_subnet = 6002;
	const Ip gateway_ip = ip(10, 0, 254, 2);
	host.add_neighbor(other_pa, other_pa_mac);
	host.add_route(gateway_subnet, {ip(10, 0, 254, 0), 24});
	host.add_route(gateway_subnet, {any, 0}, gateway_ip);
	host.add_record(gateway_subnet, gateway_ip, away_mac, other_pa);
	// The machine that the route names, and another one with a wildcard record.
	host.pass(host.uplink, tunnelled_from(other_pa, udp(vm1_mac, away_mac, outside_ip, vm1_ip)), host.vm1);
	const Bytes packet = udp(vm1_mac, stranger_mac, outside_ip, vm1_ip);
	host.refuse(host.uplink, tunnelled_from(other_pa, packet), APUS_DROP_VSID_PA_MISMATCH);
	host.wildcard(stranger_mac, other_pa, gateway_subnet);
	host.pass(host.uplink, tunnelled_from(other_pa, packet), host.vm1);
	host.refuse(host.uplink, tunnelled_from(remote_pa, packet), APUS_DROP_INNER_SOURCE_MISSING);
	host.refuse(host.uplink, tunnelled_from(other_pa, udp(vm1_mac, stranger_mac, ip(10, 0, 2, 77), vm1_ip)), APUS_DROP_VSID_PA_MISMATCH);
}

void external_router(Machines &host)
{
	// A machine on another host has both gateways of the virtual subnet; its records are about to be changed one by one.
	host.add_neighbor(other_pa, other_pa_mac);
	host.add_route(subnet1, {ip(10, 0, 9, 0), 24});
	const Bytes out = udp(away_mac, vm1_mac, vm1_ip, outside_ip), in = udp(vm1_mac, away_mac, outside_ip, vm1_ip);
	host.refuse(host.vm1, out, APUS_DROP_DESTINATION_RECORD_MISSING);
	host.refuse(host.uplink, tunnelled(in), APUS_DROP_INNER_SOURCE_MISSING);
	host.add_record(subnet1, ip(10, 0, 9, 1), away_mac, other_pa);
	host.tunnel(host.vm1, out, other_pa);
	host.pass(host.uplink, tunnelled_from(other_pa, in), host.vm1);
	// The lowest gateway counts, whichever was added last.
	host.add_record(subnet1, gateway1, away_mac, remote_pa);
	host.tunnel(host.vm1, out, remote_pa);
	host.pass(host.uplink, tunnelled(in), host.vm1);
	host.refuse(host.uplink, tunnelled_from(other_pa, in), APUS_DROP_INNER_SOURCE_MISSING);
	host.remove_record(subnet1, ip(10, 0, 9, 1));
	host.add_record(subnet1, ip(10, 0, 9, 1), away_mac, other_pa);
	host.tunnel(host.vm1, out, remote_pa);
	// Of another machine: that of its own MAC.
	host.remove_record(subnet1, gateway1);
	host.add_record(subnet1, gateway1, stranger_mac, remote_pa);
	host.tunnel(host.vm1, out, other_pa);
	host.tunnel(host.vm1, udp(stranger_mac, vm1_mac, vm1_ip, outside_ip), remote_pa);
	// What is on-link is not behind it.
	host.refuse(host.vm1, udp(away_mac, vm1_mac, vm1_ip, ip(10, 0, 9, 9)), APUS_DROP_DESTINATION_RECORD_MISSING);
}

// ---- records ---------------------------------------------------------------------------------------------------------

void keys(Machines &host)
{
	host.l2_only(away_mac, remote_pa);
	host.l2_only(stranger_mac, remote_pa);
	expect(host.put(apus_lookup_record_add, subnet1, any, away_mac, remote_pa, APUS_RECORD_GATEWAY_WILDCARD) == APUS_ERR_DUPLICATE, "the MAC is the key");
	expect(host.put(apus_lookup_record_add, subnet1, any, vm1_mac, our_pa, APUS_RECORD_STATIC) == APUS_ERR_ADDRESS, "a static record has an address");
	expect(host.put(apus_lookup_record_add, subnet1, nobody_ip, vm1_mac, our_pa, APUS_RECORD_L2_ONLY) == APUS_ERR_ADDRESS, "an L2Only record has none");
	expect(host.put(apus_lookup_record_add, subnet1, nobody_ip, vm1_mac, our_pa, APUS_RECORD_GATEWAY_WILDCARD) == APUS_ERR_ADDRESS, "nor has a wildcard");
	expect(host.put(apus_lookup_record_add, subnet1, nobody_ip, vm1_mac, our_pa, APUS_RECORD_STATIC, 8) == APUS_ERR_UNKNOWN_FIELD, "flag 8");
	expect(host.put(apus_lookup_record_set, subnet1, any, away_mac, remote_pa, APUS_RECORD_GATEWAY_WILDCARD) == APUS_ERR_IMMUTABLE, "the type");
	struct apus_lookup_record record;
	expect(host.get(subnet1, any, away_mac, &record) == APUS_OK && record.type == APUS_RECORD_L2_ONLY, "get by MAC");
	expect(host.get(subnet1, any, dynamic_mac, &record) == APUS_ERR_NOT_FOUND, "get by another MAC");
	expect(host.get(subnet1, any, 0, &record) == APUS_ERR_MAC, "get without a MAC");
	host.set(subnet1, any, away_mac, our_pa, APUS_RECORD_L2_ONLY, APUS_RECORD_UNUSABLE | APUS_RECORD_UNSYNCHRONIZED);
	expect(host.get(subnet1, any, away_mac, &record) == APUS_OK && record.flags == 3, "flags");
	expect(host.put(apus_lookup_record_remove, subnet1, any, away_mac, any, 0) == APUS_OK, "remove");
	expect(host.get(subnet1, any, away_mac, &record) == APUS_ERR_NOT_FOUND, "get a removed one");
	expect(host.get(subnet1, any, stranger_mac, &record) == APUS_OK, "get the other");
	MUST(apus_transaction_begin(host.dataplane));
	host.l2_only(away_mac, remote_pa);
	MUST(host.put(apus_lookup_record_remove, subnet1, any, stranger_mac, any, 0));
	MUST(apus_transaction_abort(host.dataplane));
	expect(host.get(subnet1, any, away_mac, &record) == APUS_ERR_NOT_FOUND, "added and aborted");
	expect(host.get(subnet1, any, stranger_mac, &record) == APUS_OK, "removed and aborted");
}
void unusable(Machines &host)
{
	host.tunnel(host.vm1, vm1_to_remote1(), remote_pa);
	host.set(subnet1, remote1_ip, remote1_mac, remote_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.set(subnet2, remote2_ip, remote2_mac, remote_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.set(subnet1, vm1_ip, vm1_mac, our_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.refuse(host.vm1, vm1_to_remote1(), APUS_DROP_RECORD_UNUSABLE);
	host.refuse(host.vm1, vm1_to_remote2(), APUS_DROP_RECORD_UNUSABLE);
	host.refuse(host.uplink, tunnelled(remote1_to_vm1()), APUS_DROP_RECORD_UNUSABLE);
	host.set(subnet1, remote1_ip, remote1_mac, remote_pa, APUS_RECORD_STATIC, APUS_RECORD_UNSYNCHRONIZED);
	host.tunnel(host.vm1, vm1_to_remote1(), remote_pa);
}
void many_addresses_of_one_machine(Machines &host)
{
	// What would take minutes if equal keys stood one behind the other.
	MUST(apus_transaction_begin(host.dataplane));
	for (unsigned i = 0; i < 200000; i++)
		host.add_record(7000, ip(11, i >> 16, i >> 8 & 255, i & 255), away_mac, remote_pa);
	MUST(apus_transaction_commit(host.dataplane));
	for (unsigned i = 0; i < 200000; i += 2)
		host.remove_record(7000, ip(11, i >> 16, i >> 8 & 255, i & 255));
	struct apus_lookup_record record;
	expect(host.get(7000, ip(11, 0, 0, 1), 0, &record) == APUS_OK, "one that stayed");
}

// ---- ARP for machines nobody knows -----------------------------------------------------------------------------------

void ask_hosts(Machines &host)
{
	host.add_neighbor(other_pa, other_pa_mac);
	host.add_neighbor(third_pa, third_pa_mac);
	host.l2_only(away_mac, other_pa);
	host.l2_only(away_mac + 1, other_pa);
	host.l2_only(away_mac + 2, third_pa);
	host.l2_only(dynamic_mac, our_pa);
	Bytes question = arp_request(vm1_mac, vm1_ip, nobody_ip);
	question.resize(60);
	const auto sent = host.offer(host.vm1, question);
	// One for each host in the order of addresses, then the machines of this host.
	expect_equal(sent.size(), 4, "frames");
	if (sent.size() == 4) {
		expect(host.inside(sent[0].bytes, third_pa) == arp_request(vm1_mac, vm1_ip, nobody_ip), "the first copy");
		expect(host.inside(sent[1].bytes, other_pa) == arp_request(vm1_mac, vm1_ip, nobody_ip), "the second copy");
		expect(sent[2].port == host.vm2 && sent[3].port == host.dynamic_port && sent[3].bytes == question, "local copies");
		expect((sent[0].flags & (APUS_FRAME_ENCAPSULATED)) != 0, "flag of a copy");
		expect(sent[0].bytes[40] == 0x70 && sent[0].bytes[41] == 0, "FlowID 0");
	}
	expect_equal(host.totals().replicated, 2, "replicated");
	expect_equal(host.totals().encapsulated, 2, "encapsulated");
	// Static machines are not asked, and known ones neither.
	expect_equal(host.offer(host.vm1, arp_request(vm1_mac, vm1_ip, vm2_ip)).size(), 1, "answers for a known machine");
}
void ask_hosts_only(Machines &host)
{
	host.l2_only(away_mac, remote_pa);
	MUST(apus_port_remove(host.dataplane, host.vm2));
	MUST(apus_port_remove(host.dataplane, host.dynamic_port));
	const auto before = host.totals();
	host.tunnel(host.vm1, arp_request(vm1_mac, vm1_ip, nobody_ip), remote_pa);
	expect_equal(host.totals().consumed - before.consumed, 1, "the original");
	MUST(host.put(apus_lookup_record_remove, subnet1, any, away_mac, any, 0));
	host.refuse(host.vm1, arp_request(vm1_mac, vm1_ip, nobody_ip), APUS_DROP_ARP_UNANSWERED);
}
void copies_wait(Machines &host)
{
	host.l2_only(away_mac, other_pa);
	MUST(apus_port_remove(host.dataplane, host.vm2));
	MUST(apus_port_remove(host.dataplane, host.dynamic_port));
	auto sent = host.offer(host.vm1, arp_request(vm1_mac, vm1_ip, nobody_ip));
	expect_equal(sent.size(), 1, "a request for the next hop");
	expect_equal(host.totals().held, 1, "held");
	sent = host.offer(host.uplink, build::arp({our_pa_mac, other_pa_mac, 0, model::type_arp}, {2, other_pa_mac, other_pa, our_pa_mac, our_pa}));
	expect_equal(sent.size(), 1, "frames when the next hop is known");
	if (!sent.empty())
		expect(host.inside(sent[0].bytes, other_pa) == arp_request(vm1_mac, vm1_ip, nobody_ip), "the copy that waited");
	expect_equal(host.totals().held, 0, "held");
	// The machine goes while a copy waits.
	host.l2_only(away_mac, third_pa, subnet2);
	host.offer(host.vm3, arp_request(vm3_mac, vm3_ip, ip(10, 0, 2, 77)));
	expect_equal(host.totals().held, 1, "held");
	MUST(host.put(apus_lookup_record_remove, subnet2, any, away_mac, any, 0));
	const auto before = host.totals();
	host.process({});
	expect_equal(host.totals().drops[APUS_DROP_DESTINATION_RECORD_MISSING] - before.drops[APUS_DROP_DESTINATION_RECORD_MISSING], 1, "dropped copies");
	host.balance();
}
void copies_are_limited(Machines &host)
{
	host.l2_only(away_mac, remote_pa);
	unsigned copied = 0;
	std::vector<Frame> burst;
	for (unsigned i = 0; i < 1500; i++)
		burst.push_back(host.frame(host.vm1, arp_request(vm1_mac, vm1_ip, nobody_ip)));
	host.process(burst, 4000);
	copied = static_cast<unsigned>(host.totals().replicated);
	expect_equal(copied, 1001, "copies in a moment");
	expect_equal(host.totals().drops[APUS_DROP_REPLICATION_LIMIT], 499, "REPLICATION_LIMIT");
	host.now += second;
	host.tunnel(host.vm1, arp_reply(vm1_mac, vm1_ip, away_mac, away_ip), remote_pa);
	expect_equal(host.offer(host.vm1, arp_request(vm1_mac, vm1_ip, nobody_ip)).size(), 3, "copies a second later");
}
void answer_to_a_host(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	const Bytes question = arp_request(remote1_mac, remote1_ip, dynamic_ip);
	const auto sent = host.offer(host.uplink, tunnelled(question));
	expect_equal(sent.size(), 3, "every machine of the subnet is asked");
	if (sent.size() == 3)
		expect(sent[2].port == host.dynamic_port && sent[2].bytes == question, "the question");
	expect_equal(host.totals().decapsulated, 3, "decapsulated");
	Bytes answer = arp_reply(dynamic_mac, dynamic_ip, remote1_mac, remote1_ip);
	const Bytes bare = answer;
	answer.resize(60);
	expect(host.tunnel(host.dynamic_port, answer, remote_pa) == bare, "the answer");
	expect_equal(host.totals().replicated, 0, "replicated");
	host.offer(host.dynamic_port, arp_reply(dynamic_mac, dynamic_ip, stranger_mac, nobody_ip));
	expect_equal(host.totals().consumed, 1, "an answer to nobody");
	host.set(subnet1, remote1_ip, remote1_mac, remote_pa, APUS_RECORD_STATIC, APUS_RECORD_UNUSABLE);
	host.refuse(host.dynamic_port, answer, APUS_DROP_RECORD_UNUSABLE);
}
void arp_from_a_host(Machines &host)
{
	host.l2_only(away_mac, remote_pa);
	const Bytes good = arp_reply(away_mac, away_ip, vm1_mac, vm1_ip);
	host.pass(host.uplink, tunnelled(good), host.vm1);
	Bytes wrong = good;
	wrong[21] = 3;
	host.refuse(host.uplink, tunnelled(wrong), APUS_DROP_INNER_ARP_MALFORMED);
	host.refuse(host.uplink, tunnelled(Bytes(good.begin(), good.begin() + 41)), APUS_DROP_INNER_ARP_MALFORMED);
	host.add_record(7000, nobody_ip, stranger_mac, other_pa);
	host.refuse(host.uplink, tunnelled_from(other_pa, good), APUS_DROP_VSID_PA_MISMATCH);
	host.add_record(subnet1, nobody_ip, stranger_mac, other_pa);
	host.refuse(host.uplink, tunnelled_from(other_pa, good), APUS_DROP_INNER_SOURCE_CA_PA);
	wrong = good;
	wrong[27] ^= 1;
	host.refuse(host.uplink, tunnelled(wrong), APUS_DROP_INNER_SOURCE_CA_MAC);
	host.refuse(host.uplink, tunnelled(arp_reply(away_mac + 9, away_ip, vm1_mac, vm1_ip)), APUS_DROP_INNER_SOURCE_MISSING);
	host.refuse(host.uplink, tunnelled(arp_reply(away_mac, gateway1, vm1_mac, vm1_ip)), APUS_DROP_INNER_SOURCE_CA_MAC);
	host.refuse(host.uplink, tunnelled(arp_reply(away_mac, remote1_ip, vm1_mac, vm1_ip)), APUS_DROP_INNER_SOURCE_CA_MAC);
	host.refuse(host.uplink, tunnelled(arp_reply(away_mac, away_ip, stranger_mac, vm1_ip)), APUS_DROP_NO_LOCAL_PORT);
	host.pass(host.uplink, tunnelled(arp_request(away_mac, away_ip, vm1_ip)), host.vm1);
	auto before = host.totals();
	host.offer(host.uplink, tunnelled(arp_request(away_mac, away_ip, remote1_ip)));
	host.offer(host.uplink, tunnelled(arp_request(away_mac, away_ip, away_ip)));
	expect_equal(host.totals().consumed - before.consumed, 2, "questions for others, announcements");
	expect_equal(host.offer(host.uplink, tunnelled(arp_request(away_mac, any, nobody_ip))).size(), 0, "questions for a machine elsewhere");
	host.add_record(7001, away_ip, away_mac, remote_pa);
	host.refuse(host.uplink, tunnelled(arp_request(away_mac, away_ip, nobody_ip), 7001), APUS_DROP_ARP_UNANSWERED);
}

// ---- learning --------------------------------------------------------------------------------------------------------

void expect_event(const struct apus_event &event, unsigned kind, std::uint32_t port, Ip ca, Mac mac, Ip pa, std::uint32_t count, std::uint32_t limit)
{
	const auto want = objects::record({subnet1, ca}, {mac, 0, 0, pa});
	expect(event.kind == kind, std::string("event ") + apus_event_name(event.kind) + " instead of " + apus_event_name(kind));
	expect(event.port == port && event.virtual_subnet_id == subnet1, "port and virtual subnet of an event");
	expect(std::memcmp(&event.customer_address, &want.customer_address, sizeof(want.customer_address)) == 0, "CA of an event");
	expect(std::memcmp(&event.provider_address, &want.provider_address, sizeof(want.provider_address)) == 0, "PA of an event");
	expect(std::memcmp(&event.mac, &want.mac, sizeof(want.mac)) == 0, "MAC of an event");
	expect_equal(event.count, count, "count of an event");
	expect_equal(event.limit, limit, "limit of an event");
}

void learn_here(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	const Bytes hello = arp_request(dynamic_mac, dynamic_ip, gateway1);
	const Bytes data = udp(remote1_mac, dynamic_mac, dynamic_ip, remote1_ip);
	host.offer(host.dynamic_port, hello);
	host.offer(host.dynamic_port, hello);
	host.refuse(host.dynamic_port, data, APUS_DROP_SOURCE_RECORD_MISSING);
	auto events = host.poll();
	expect_equal(events.size(), 1, "events");
	if (!events.empty())
		expect_event(events[0], APUS_EVENT_RECORD_LEARNED, host.dynamic_port, dynamic_ip, dynamic_mac, our_pa, 1, 16);
	struct apus_lookup_record record;
	expect(host.get(subnet1, dynamic_ip, 0, &record) == APUS_OK && record.type == APUS_RECORD_DYNAMIC &&
		       record.flags == APUS_RECORD_UNSYNCHRONIZED && record.rule == APUS_RULE_ENCAP, "the record");
	expect_equal(host.totals().learned, 1, "learned");
	host.tunnel(host.dynamic_port, data, remote_pa);
	host.offer(host.dynamic_port, hello);
	expect_equal(host.poll().size(), 0, "events for what is known");
	// Nobody asks any more: the record answers.
	expect_equal(host.offer(host.vm1, arp_request(vm1_mac, vm1_ip, dynamic_ip)).size(), 1, "an answer");
	// Probes and machines without an L2Only record teach nothing.
	host.offer(host.dynamic_port, arp_request(dynamic_mac, any, nobody_ip));
	host.offer(host.vm1, arp_request(vm1_mac, nobody_ip, gateway1));
	host.offer(host.dynamic_port, arp_request(dynamic_mac, ip(127, 0, 0, 1), gateway1));
	expect_equal(host.poll().size(), 0, "events for nothing");
	host.refuse(host.dynamic_port, arp_request(dynamic_mac, gateway1, vm1_ip), APUS_DROP_ARP_SPOOFED);
	expect_equal(host.poll().size(), 0, "events for the gateway's address");
}
void learn_with_two_records(Machines &host)
{
	// L2Only records of both families say where the machine is; IPv4's says which rule it has, whichever was added last.
	for (const bool first : {false, true}) {
		const Mac mac = away_mac + first;
		const Ip address = ip(10, 0, 1, 60 + first);
		for (const bool v6 : {first, !first}) {
			const std::uint8_t rule = v6 ? APUS_RULE_NONE : APUS_RULE_ENCAP;
			const auto record = objects::machine({subnet1, mac, v6 ? 6u : 4u}, {mac, rule, APUS_RECORD_L2_ONLY, remote_pa});
			MUST(apus_lookup_record_add(host.dataplane, &record));
		}
		host.offer(host.uplink, tunnelled(arp_reply(mac, address, vm1_mac, vm1_ip)));
		expect_equal(host.poll().size(), 1, "events");
		host.tunnel(host.vm1, udp(mac, vm1_mac, vm1_ip, address), remote_pa);
	}
}
void learn_from_a_host(Machines &host)
{
	host.l2_only(away_mac, remote_pa);
	host.offer(host.uplink, tunnelled(arp_reply(away_mac, away_ip, vm1_mac, vm1_ip)));
	auto events = host.poll();
	expect_equal(events.size(), 1, "events");
	if (!events.empty())
		expect_event(events[0], APUS_EVENT_RECORD_LEARNED, host.uplink, away_ip, away_mac, remote_pa, 1, APUS_REMOTE_ADDRESS_LIMIT);
	host.tunnel(host.vm1, udp(away_mac, vm1_mac, vm1_ip, away_ip), remote_pa);
	host.pass(host.uplink, tunnelled(udp(vm1_mac, away_mac, away_ip, vm1_ip)), host.vm1);
	// The machine goes between what was seen and the poll.
	host.offer(host.uplink, tunnelled(arp_reply(away_mac, nobody_ip, vm1_mac, vm1_ip)));
	MUST(host.put(apus_lookup_record_remove, subnet1, any, away_mac, any, 0));
	expect_equal(host.poll().size(), 0, "events for a machine that is gone");
}
void move(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	host.l2_only(away_mac, remote_pa);
	host.offer(host.dynamic_port, arp_request(dynamic_mac, dynamic_ip, gateway1));
	host.poll();
	host.set(subnet1, dynamic_ip, dynamic_mac, our_pa, APUS_RECORD_DYNAMIC);
	// Another machine on another host has the address now.
	host.offer(host.uplink, tunnelled(arp_request(away_mac, dynamic_ip, vm1_ip)));
	auto events = host.poll();
	expect_equal(events.size(), 1, "events");
	if (!events.empty()) {
		expect_event(events[0], APUS_EVENT_RECORD_MOVED, host.uplink, dynamic_ip, away_mac, remote_pa, 1, APUS_REMOTE_ADDRESS_LIMIT);
		expect(objects::record({subnet1, any}, {dynamic_mac, 0, 0, any}).mac.bytes[5] == events[0].previous_mac.bytes[5], "the machine before");
	}
	host.tunnel(host.vm1, udp(away_mac, vm1_mac, vm1_ip, dynamic_ip), remote_pa);
	// And that machine moves here.
	MUST(apus_port_remove(host.dataplane, host.dynamic_port));
	const auto port = host.add_vm(subnet1, away_mac);
	host.set(subnet1, any, away_mac, our_pa, APUS_RECORD_L2_ONLY);
	host.offer(port, arp_request(away_mac, dynamic_ip, dynamic_ip));
	events = host.poll();
	expect_equal(events.size(), 1, "events");
	if (!events.empty())
		expect_event(events[0], APUS_EVENT_RECORD_MOVED, port, dynamic_ip, away_mac, our_pa, 1, 16);
	expect_equal(host.totals().learned, 3, "learned");
	host.pass(host.vm1, udp(away_mac, vm1_mac, vm1_ip, dynamic_ip), port);
}
void conflict(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	host.l2_only(away_mac, remote_pa);
	host.refuse(host.dynamic_port, arp_request(dynamic_mac, vm1_ip, gateway1), APUS_DROP_ARP_SPOOFED);
	host.refuse(host.uplink, tunnelled(arp_request(away_mac, vm1_ip, vm2_ip)), APUS_DROP_INNER_SOURCE_CA_MAC);
	const auto events = host.poll();
	expect_equal(events.size(), 2, "events");
	if (events.size() == 2) {
		expect_event(events[0], APUS_EVENT_RECORD_CONFLICT, host.dynamic_port, vm1_ip, dynamic_mac, our_pa, 0, 0);
		expect_event(events[1], APUS_EVENT_RECORD_CONFLICT, host.uplink, vm1_ip, away_mac, remote_pa, 0, 0);
	}
	expect_equal(host.totals().learned, 0, "learned");
	host.pass(host.vm1, vm1_to_vm2(), host.vm2);
}
void limit(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	for (unsigned i = 0; i < 6; i++)
		host.offer(host.dynamic_port, arp_request(dynamic_mac, ip(10, 0, 1, 200 + i), gateway1));
	// One at a time, so that the second event of one address has to wait.
	std::vector<unsigned> kinds;
	for (unsigned i = 0; i < 8; i++) {
		const auto events = host.poll(1);
		if (events.empty())
			break;
		kinds.push_back(events[0].kind);
		expect_equal(events[0].limit, 5, "limit");
	}
	const std::vector<unsigned> want = {APUS_EVENT_RECORD_LEARNED, APUS_EVENT_RECORD_LEARNED, APUS_EVENT_RECORD_LEARNED, APUS_EVENT_RECORD_LEARNED,
					    APUS_EVENT_LEARN_THRESHOLD, APUS_EVENT_RECORD_LEARNED, APUS_EVENT_LEARN_LIMIT};
	expect(kinds == want, "the events");
	expect_equal(host.totals().learned, 5, "learned");
}
void throttle(Machines &host)
{
	host.l2_only(dynamic_mac, our_pa);
	for (unsigned i = 0; i < 15; i++)
		host.offer(host.dynamic_port, arp_request(dynamic_mac, ip(10, 0, 1, 200 + i), gateway1));
	expect_equal(host.totals().learn_throttled, 5, "learn_throttled");
	auto events = host.poll();
	expect_equal(events.size(), 10 + 1, "events");
	if (events.size() == 11)
		expect(events.back().kind == APUS_EVENT_LEARN_THROTTLED && events.back().port == host.dynamic_port, "the last event");
	// One more each tenth of a second.
	host.now += second / 10;
	host.offer(host.dynamic_port, arp_request(dynamic_mac, ip(10, 0, 1, 220), gateway1));
	host.offer(host.dynamic_port, arp_request(dynamic_mac, ip(10, 0, 1, 221), gateway1));
	events = host.poll();
	expect_equal(events.size(), 2, "events");
}
void throttle_advertisements(Machines &host)
{
	// Source and target are one address: it is seen once.
	host.l2_only(dynamic_mac, our_pa);
	host.l2_only(away_mac, remote_pa);
	for (unsigned i = 0; i < 15; i++) {
		const auto says = [&](Mac mac, std::uint64_t address) {
			return model::neighbour_advertisement(model::ethernet_header(vm1_mac, mac, 0, model::type_ipv6), ip6(link_local, address), mac,
							      vm1_ip6, false);
		};
		host.offer(host.dynamic_port, says(dynamic_mac, 0x100 + i));
		host.offer(host.uplink, tunnelled(says(away_mac, 0x200 + i)));
	}
	expect_equal(host.totals().learn_throttled, 5 + 5, "learn_throttled");
}
void lose(Machines &host)
{
	MUST(apus_transaction_begin(host.dataplane));
	std::vector<Frame> burst;
	for (unsigned i = 0; i < 300; i++) {
		host.l2_only(away_mac + i, remote_pa, 7000 + i);
		burst.push_back(host.frame(host.uplink, tunnelled(arp_reply(away_mac + i, away_ip, vm1_mac, vm1_ip), 7000 + i)));
	}
	MUST(apus_transaction_commit(host.dataplane));
	host.process(burst);
	expect_equal(host.totals().events_lost, 300 - APUS_EVENTS_MAX, "events_lost");
	auto events = host.poll(10);
	expect_equal(events.size(), 10, "events");
	expect(!events.empty() && events[0].kind == APUS_EVENT_LOST && events[0].count == 300 - APUS_EVENTS_MAX, "the first event");
	MUST(apus_worker_destroy(host.worker));
	host.worker = nullptr;
	events = host.poll();
	expect(events.size() == 1 && events[0].kind == APUS_EVENT_LOST && events[0].count == APUS_EVENTS_MAX - 9, "what the worker had");
	expect_equal(host.totals().learned, 9, "learned");
}
void poll_misuse(Machines &host)
{
	struct apus_event event;
	APUS_INIT(&event);
	expect(apus_event_poll(nullptr, &event, 1) == APUS_ERR_NULL, "no dataplane");
	expect(apus_event_poll(host.dataplane, nullptr, 1) == APUS_ERR_NULL, "no events");
	expect(apus_event_poll(host.dataplane, &event, 0) == APUS_ERR_RANGE, "none");
	event.size = 8;
	expect(apus_event_poll(host.dataplane, &event, 1) == APUS_ERR_SIZE, "size");
	APUS_INIT(&event);
	MUST(apus_transaction_begin(host.dataplane));
	expect(apus_event_poll(host.dataplane, &event, 1) == APUS_ERR_TRANSACTION, "a transaction");
	MUST(apus_transaction_abort(host.dataplane));
	expect(std::string(apus_event_name(0)).empty() && std::string(apus_event_name(13)).empty(), "names of no kind");
	expect(std::string(apus_event_name(APUS_EVENT_LOST)) == "LOST", "name");
}

}  // namespace

const std::vector<machines::Case> machines::machine_cases = {
	{"wildcard, switched", wildcard_switched, 0, 0},
	{"wildcard of the other family", wildcard_of_other_family, 0, 0},
	{"wildcard, routed", wildcard_routed, 0, 0},
	{"wildcard of this host", wildcard_of_this_host, 0, 0},
	{"wildcard of another host sends", wildcard_elsewhere_sends, 0, 0},
	{"wildcard in a subnet of its own", wildcard_in_its_own_subnet, 0, 0},
	{"external router", external_router, 0, 0, APUS_DATAPLANE_USE_EXTERNAL_ROUTER},
	{"keys of records", keys, 0, 0},
	{"unusable records", unusable, 0, 0},
	{"many addresses of one machine", many_addresses_of_one_machine, 0, 0},
	{"ARP to hosts", ask_hosts, 0, 0},
	{"ARP to hosts only", ask_hosts_only, 0, 0},
	{"ARP to hosts waits", copies_wait, 0, 0},
	{"ARP to hosts is limited", copies_are_limited, 0, 0},
	{"an answer to a host", answer_to_a_host, 0, 0},
	{"ARP from a host", arp_from_a_host, 0, 0},
	{"learned here", learn_here, 0, 0},
	{"learned with two records", learn_with_two_records, 0, 0},
	{"learned from a host", learn_from_a_host, 0, 0},
	{"moved", move, 0, 0},
	{"conflict", conflict, 0, 0},
	{"limit", limit, 0, 5},
	{"throttled", throttle, 10, 1000},
	{"throttled advertisements", throttle_advertisements, 10, 1000},
	{"lost", lose, 0, 0},
	{"misuse of apus_event_poll()", poll_misuse, 0, 0},
};
