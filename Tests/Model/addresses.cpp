// SPDX-License-Identifier: Apache-2.0
// Our own provider addresses in all their states, and what other hosts tell us. docs/pipeline.md 4.4 and 5.4; include/apus/event.h.
#include "hosts.hpp"

namespace {

using namespace hosts;

constexpr std::uint32_t preferred = APUS_ADDRESS_PREFERRED, tentative = APUS_ADDRESS_TENTATIVE, duplicate = APUS_ADDRESS_DUPLICATE,
			invalid = APUS_ADDRESS_INVALID, deprecated = APUS_ADDRESS_DEPRECATED;

/// What a machine in the tunnel to `pa` gets is sent from this address of ours.
void sent_from(Trial &t, const Ip &want, const char *what)
{
	const auto sent = t.send(t.vm1, vm1_to_remote1());
	t.check(sent.size() == 1 && model::get_ip(sent[0].bytes, model::ethernet_size + 12, 4) == want, what);
}
bool answers(Trial &t, const Bytes &request)
{
	const auto before = t.totals().arp_replies;
	t.send(t.uplink, request);
	return t.totals().arp_replies == before + 1;
}
std::vector<Bytes> bytes(const std::vector<Sent> &sent)
{
	std::vector<Bytes> out;
	for (const Sent &one : sent)
		out.push_back(one.bytes);
	return out;
}
int set_result(Trial &t, std::uint32_t state, std::uint32_t flags = 0)
{
	const auto object = address(t, our_pa, our_pa_mac, state, flags);
	return apus_provider_address_set(t.dataplane, &object);
}

// ---- given states ----------------------------------------------------------------------------------------------------

void given(Trial &t)
{
	t.check(state(t, our_pa) == preferred, "the default");
	for (const std::uint32_t one : {invalid, deprecated, preferred}) {
		set(t, our_pa, one);
		t.check(state(t, our_pa) == one, "it is read as it was given");
	}
	set(t, our_pa, deprecated);
	set(t, our_pa, 0);
	t.check(state(t, our_pa) == preferred, "0 is PREFERRED");
	for (const std::uint32_t one : {tentative, duplicate, 6u, 255u})
		t.check(set_result(t, one) == APUS_ERR_RANGE, "a state that cannot be given");
	t.check(set_result(t, 0, 2) == APUS_ERR_UNKNOWN_FIELD, "an unknown flag");
	t.check(state(t, our_pa) == preferred, "nothing changed");
	// Nothing is watched: nothing is sent, nothing is told.
	t.mark();
	t.check(after(t, retry).empty() && after(t, retry).empty(), "something was sent");
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
	t.check(t.totals().address_conflicts == 0 && poll(t).empty(), "a conflict was seen");
}
void given_iterate(Trial &t)
{
	set(t, our_pa, deprecated, detect);
	struct apus_provider_address object;
	APUS_INIT(&object);
	std::uint64_t cursor = 0;
	t.check(apus_provider_address_iterate(t.dataplane, &cursor, &object) == 1 && object.state == tentative && object.flags == detect, "state and flags");
}
/// vm1 may send, but no record says from which address of ours.
void without_record(Trial &t)
{
	const auto trusted = objects::port({true, true, subnet1, vm1_mac, 1500});
	MUST(apus_port_set(t.dataplane, t.vm1, &trusted));
	t.remove_record(subnet1, vm1_ip);
}
void senders_address(Trial &t)
{
	const auto at = [&](const Ip &pa) {
		const auto record = objects::record({subnet1, vm1_ip}, {vm1_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, pa});
		MUST(apus_lookup_record_set(t.dataplane, &record));
	};
	add(t, second_pa, second_pa_mac, 0);
	sent_from(t, our_pa, "its record's");
	at(second_pa);
	sent_from(t, second_pa, "its record's, which is not the lowest");
	set(t, second_pa, deprecated, 0, second_pa_mac);
	sent_from(t, second_pa, "its record's, though deprecated: that is where others expect it");
	set(t, second_pa, invalid, 0, second_pa_mac);
	sent_from(t, our_pa, "its record's is invalid");
	set(t, second_pa, preferred, 0, second_pa_mac);
	const auto vm2_sent = t.send(t.vm2, udp(remote1_mac, vm2_mac, vm2_ip, remote1_ip));
	t.check(vm2_sent.size() == 1 && model::get_ip(vm2_sent[0].bytes, 26, 4) == our_pa, "another machine's is another one");
	// Copies come from where the machine is, too.
	const auto record = objects::record({subnet1, ip(10, 0, 1, 9)}, {remote1_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, remote_pa});
	MUST(apus_lookup_record_add(t.dataplane, &record));
	const auto reply = t.send(t.vm1, build::arp({remote1_mac, vm1_mac, 0, model::type_arp}, {2, vm1_mac, vm1_ip, remote1_mac, remote1_ip}));
	t.check(reply.size() == 1 && model::get_ip(reply[0].bytes, 26, 4) == second_pa, "an ARP reply");
}
void deprecated_is_last(Trial &t)
{
	without_record(t);
	add(t, second_pa, second_pa_mac, 0);
	sent_from(t, our_pa, "the lowest");
	set(t, our_pa, deprecated);
	sent_from(t, second_pa, "the one that is not deprecated");
	t.check(t.send(t.uplink, tunnelled(udp(vm2_mac, remote1_mac, remote1_ip, vm2_ip))).size() == 1, "it receives");
	t.check(answers(t, arp(remote_pa_mac, remote_pa, our_pa)), "it answers");
	set(t, second_pa, deprecated, 0, second_pa_mac);
	sent_from(t, our_pa, "both are deprecated: the lowest");
	set(t, second_pa, invalid, 0, second_pa_mac);
	sent_from(t, our_pa, "a deprecated one before an invalid one");
}
void deprecated_against_prefix(Trial &t)
{
	without_record(t);
	auto other = objects::provider_address(ip(192, 168, 1, 1), {t.uplink, 24, 0, second_pa_mac});
	MUST(apus_provider_address_add(t.dataplane, &other));
	sent_from(t, our_pa, "the one whose prefix contains the next hop");
	set(t, our_pa, deprecated);
	sent_from(t, ip(192, 168, 1, 1), "the one that is not deprecated");
}
void invalid_does_not_answer(Trial &t)
{
	t.check(answers(t, arp(remote_pa_mac, remote_pa, our_pa)), "while it is preferred");
	set(t, our_pa, invalid, detect);
	t.check(state(t, our_pa) == invalid, "an invalid address is not looked for");
	t.check(after(t, 0).empty() && after(t, retry).empty(), "a probe");
	t.check(!answers(t, arp(remote_pa_mac, remote_pa, our_pa)), "it answers");
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
	t.check(t.totals().address_conflicts == 0, "a conflict of an invalid address");
	set(t, our_pa, preferred, detect);
	t.check(state(t, our_pa) == tentative, "in use again: looked for");
}
void invalid_does_not_answer_ip6(Trial &t)
{
	const Bytes request = discovery(remote_pa_mac, model::nd_neighbour_solicitation, 0, remote_pa6, model::solicited_node(our_pa6), our_pa6,
					build::mac_option(model::nd_source_option, remote_pa_mac));
	t.check(answers(t, request), "while it is preferred");
	set(t, our_pa6, invalid);
	t.check(!answers(t, request), "it answers");
}
void invalid_learns_nothing(Trial &t)
{
	t.remove_neighbor(remote_pa);
	t.send(t.vm1, vm1_to_remote1());
	t.check(t.totals().held == 1, "it waits");
	set(t, our_pa, invalid);
	t.process({});
	t.check(t.totals().held == 0 && t.totals().drops[APUS_DROP_PROVIDER_ADDRESS_MISSING] == 1, "what waits is decided anew");
	t.send(t.uplink, remote_answer());
	set(t, our_pa, 0);
	t.send(t.vm1, vm1_to_remote1());
	t.check(t.totals().held == 1, "a reply to an invalid address was learned from");
}

// ---- duplicate address detection -------------------------------------------------------------------------------------

void passes_detection(Trial &t, const Ip &pa, std::uint16_t vlan, std::uint32_t given_state)
{
	set(t, pa, given_state, detect, our_pa_mac, vlan);
	t.check(state(t, pa) == tentative, "it is TENTATIVE");
	const std::vector<Bytes> probes = {vlan_tagged(probe(pa, our_pa_mac), vlan)};
	t.check(bytes(t.process({})) == probes, "the first probe");
	t.check(after(t, retry - 1).empty(), "too early");
	t.check(bytes(after(t, 1)) == probes, "the second probe");
	t.check(after(t, retry - 1).empty(), "too early");
	t.check(bytes(after(t, retry)) == probes, "the third probe");
	t.check(state(t, pa) == tentative && poll(t).empty(), "it is TENTATIVE");
	t.check(after(t, retry - 1).empty(), "too early");
	const auto sent = after(t, 1);
	t.check(bytes(sent) == std::vector<Bytes>{vlan_tagged(announcement(pa, our_pa_mac), vlan)}, "the announcement");
	t.check(sent.size() == 1 && sent[0].port == t.uplink && sent[0].flags == APUS_FRAME_GENERATED, "where it leaves");
	t.check(state(t, pa) == (given_state == 0 ? preferred : given_state), "it has its state");
	tells(t, APUS_EVENT_ADDRESS_PREFERRED, pa, our_pa_mac);
	t.check(after(t, retry).empty() && after(t, 60 * second).empty() && poll(t).empty(), "that is all");
}
void passes_ip4(Trial &t) { passes_detection(t, our_pa, 0, 0); }
void passes_ip4_tagged(Trial &t) { passes_detection(t, our_pa, 7, deprecated); }
void passes_ip6(Trial &t) { passes_detection(t, our_pa6, 0, 0); }
void passes_ip6_tagged(Trial &t) { passes_detection(t, our_pa6, 7, preferred); }

void optimistic(Trial &t)
{
	set(t, our_pa, 0, detect);
	t.process({});
	t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	t.passes(t.uplink, tunnel(), t.vm1);
	t.check(answers(t, arp(remote_pa_mac, remote_pa, our_pa)), "it answers");
	t.check(state(t, our_pa) == tentative, "TENTATIVE");
}
void override_flag(Trial &t)
{
	const Bytes request = discovery(remote_pa_mac, model::nd_neighbour_solicitation, 0, remote_pa6, model::solicited_node(our_pa6), our_pa6,
					build::mac_option(model::nd_source_option, remote_pa_mac));
	const auto flags = [&] {
		for (const Sent &one : t.send(t.uplink, request))
			if (one.bytes.size() == 86)
				return static_cast<int>(model::get8(one.bytes, model::ethernet_size + 44));
		return -1;
	};
	t.check(flags() == (model::nd_solicited | model::nd_override), "preferred");
	set(t, our_pa6, 0, detect);
	t.process({});
	t.check(flags() == model::nd_solicited, "tentative: no O");
	for (unsigned i = 0; i < 3; i++)
		after(t, retry);
	t.check(state(t, our_pa6) == preferred && flags() == (model::nd_solicited | model::nd_override), "preferred again");
}
void order_of_probes(Trial &t)
{
	MUST(apus_transaction_begin(t.dataplane));
	add(t, ip(192, 168, 0, 24), 0x324455667700, 0, detect);
	add(t, second_pa, second_pa_mac, 0, detect);
	MUST(apus_transaction_commit(t.dataplane));
	t.check(bytes(t.process({})) == std::vector<Bytes>{probe(second_pa, second_pa_mac), probe(ip(192, 168, 0, 24), 0x324455667700)}, "lowest first");
}
void no_room_for_a_probe(Trial &t)
{
	set(t, our_pa, 0, detect);
	const auto sent = t.process({t.frame(t.vm1, vm1_to_vm2())}, 0);
	t.check(sent.size() == 1 && sent[0].port == t.vm2, "the customer's packet comes first");
	t.check(t.process({}).size() == 1, "then the probe");
	t.check(after(t, retry - 1).empty(), "a retry interval from then on");
}

void conflict_while_tentative(Trial &t, const Ip &pa, const Bytes &claim, std::uint16_t vlan = 0)
{
	for (const unsigned probes : {0u, 1u, 3u}) {
		set(t, pa, 0, 0, our_pa_mac, vlan);
		set(t, pa, 0, detect, our_pa_mac, vlan);
		for (unsigned i = 0; i < probes; i++) {
			t.process({});
			t.now += retry / 2 + (i + 1 < probes ? retry / 2 : 0);
		}
		const auto before = t.totals();
		t.send(t.uplink, vlan_tagged(claim, vlan));
		t.check(t.totals().address_conflicts == before.address_conflicts + 1, "it is counted");
		t.check(t.totals().arp_replies == before.arp_replies, "it is not answered");
		t.check(state(t, pa) == duplicate, "DUPLICATE");
		tells(t, APUS_EVENT_ADDRESS_DUPLICATE, pa, stranger_pa_mac);
		t.send(t.uplink, vlan_tagged(claim, vlan));
		t.check(t.totals().address_conflicts == before.address_conflicts + 1 && poll(t).empty(), "once");
		t.check(after(t, retry).empty() && after(t, retry).empty() && after(t, retry).empty(), "nothing is sent any more");
		t.check(state(t, pa) == duplicate, "it stays");
	}
}
void conflict_arp_request(Trial &t) { conflict_while_tentative(t, our_pa, arp(stranger_pa_mac, our_pa, remote_pa)); }
void conflict_arp_reply(Trial &t) { conflict_while_tentative(t, our_pa, arp(stranger_pa_mac, our_pa, remote_pa, 2)); }
void conflict_arp_probe(Trial &t) { conflict_while_tentative(t, our_pa, probe(our_pa, stranger_pa_mac)); }
void conflict_arp_announcement(Trial &t) { conflict_while_tentative(t, our_pa, announcement(our_pa, stranger_pa_mac)); }
void conflict_arp_tagged(Trial &t) { conflict_while_tentative(t, our_pa, arp(stranger_pa_mac, our_pa, remote_pa), 9); }
void conflict_nd_probe(Trial &t) { conflict_while_tentative(t, our_pa6, probe(our_pa6, stranger_pa_mac)); }
void conflict_nd_advertisement(Trial &t) { conflict_while_tentative(t, our_pa6, announcement(our_pa6, stranger_pa_mac)); }
void conflict_nd_advertisement_tagged(Trial &t) { conflict_while_tentative(t, our_pa6, announcement(our_pa6, stranger_pa_mac), 9); }

void no_conflict(Trial &t)
{
	set(t, our_pa, 0, detect, our_pa_mac, 9);
	set(t, our_pa6, 0, detect);
	t.process({});
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));                                // untagged
	t.send(t.uplink, vlan_tagged(arp(our_pa_mac, our_pa, remote_pa), 9));                     // our own, heard again
	t.send(t.uplink, vlan_tagged(probe(our_pa, our_pa_mac), 9));
	t.send(t.uplink, vlan_tagged(arp(stranger_pa_mac, remote_pa, our_pa), 9));                // somebody asks for it
	t.send(t.uplink, vlan_tagged(arp(stranger_pa_mac, Ip(0), remote_pa), 9));                 // somebody looks for another one
	t.send(t.uplink, vlan_tagged(arp(stranger_pa_mac, Ip(0), our_pa, 2), 9));                 // a reply to it
	t.send(t.uplink, probe(our_pa6, our_pa_mac));
	t.send(t.uplink, announcement(our_pa6, our_pa_mac));
	t.send(t.uplink, announcement(moved_pa6, stranger_pa_mac));
	t.send(t.uplink, probe(moved_pa6, stranger_pa_mac));
	t.send(t.uplink, discovery(stranger_pa_mac, model::nd_neighbour_solicitation, 0, remote_pa6, model::solicited_node(our_pa6), our_pa6));
	t.check(t.totals().address_conflicts == 0 && state(t, our_pa) == tentative && state(t, our_pa6) == tentative, "something was taken for a conflict");
	const std::uint32_t other_port = t.add_uplink();
	t.send(other_port, vlan_tagged(arp(stranger_pa_mac, our_pa, remote_pa), 9));
	t.check(t.totals().address_conflicts == 0, "on another port");
}
void conflict_later(Trial &t, const Ip &pa, const Bytes &claim, const Bytes &foreign_probe)
{
	set(t, pa, 0, detect);
	t.process({});
	for (unsigned i = 0; i < 3; i++)
		after(t, retry);
	poll(t);
	t.check(answers(t, foreign_probe) && t.totals().address_conflicts == 0, "who looks for it is told that it is ours");
	t.send(t.uplink, claim);
	tells(t, APUS_EVENT_ADDRESS_CONFLICT, pa, stranger_pa_mac);
	t.check(state(t, pa) == preferred, "it stays ours");
	t.now += second - 1;
	t.send(t.uplink, claim);
	t.check(t.totals().address_conflicts == 2 && poll(t).empty(), "counted, but not told again so soon");
	t.now += 1;
	t.send(t.uplink, claim);
	tells(t, APUS_EVENT_ADDRESS_CONFLICT, pa, stranger_pa_mac);
	t.check(t.totals().address_conflicts == 3 && state(t, pa) == preferred, "counted");
}
void conflict_later_arp(Trial &t) { conflict_later(t, our_pa, arp(stranger_pa_mac, our_pa, remote_pa), probe(our_pa, stranger_pa_mac)); }
void conflict_later_nd(Trial &t) { conflict_later(t, our_pa6, announcement(our_pa6, stranger_pa_mac), probe(our_pa6, stranger_pa_mac)); }

void duplicate_within_a_burst(Trial &t)
{
	set(t, our_pa, 0, detect);
	t.process({});
	t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.uplink, tunnel())});
	const auto before = t.totals();
	const auto sent = t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.uplink, tunnel()), t.frame(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa)),
				     t.frame(t.vm1, vm1_to_remote1()), t.frame(t.uplink, tunnel()), t.frame(t.vm1, vm1_to_vm2())});
	t.check(sent.size() == 3 && sent[0].port == t.uplink && sent[1].port == t.vm1 && sent[2].port == t.vm2, "what leaves");
	t.check(t.totals().drops[APUS_DROP_PROVIDER_ADDRESS_MISSING] == before.drops[APUS_DROP_PROVIDER_ADDRESS_MISSING] + 1, "a known flow behind it");
	t.check(t.totals().drops[APUS_DROP_OUTER_NOT_OURS] == before.drops[APUS_DROP_OUTER_NOT_OURS] + 1, "a known flow to it");
}
void duplicate_on_other_workers(Trial &t)
{
	set(t, our_pa, 0, detect);
	add(t, second_pa, second_pa_mac, 0, detect);
	struct apus_worker *const first = t.worker;
	struct apus_worker *second_worker = nullptr;
	MUST(apus_worker_create(t.dataplane, &t.worker_opts, &second_worker));
	t.process({});
	const Bytes to_second = [] {
		build::Ethernet ethernet = outer_ethernet();
		ethernet.destination = second_pa_mac;
		build::Ip4 outer = outer_ip();
		outer.destination = second_pa;
		return build::nvgre(ethernet, outer, subnet2, 0, udp(vm3_mac, remote2_mac, remote2_ip, vm3_ip));
	}();
	t.worker = second_worker;
	sent_from(t, our_pa, "the other worker knows the flow");
	t.send(t.uplink, tunnel());
	t.worker = first;
	t.Host::send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
	t.worker = second_worker;
	sent_from(t, second_pa, "it takes the other address with its next burst");
	t.check(t.send(t.uplink, tunnel()).empty(), "it receives nothing for it any more");
	// The second one: it has to be seen that there is one more.
	t.worker = first;
	t.Host::send(t.uplink, arp(stranger_pa_mac, second_pa, remote_pa));
	t.worker = second_worker;
	t.check(t.send(t.vm1, vm1_to_remote1()).empty(), "no address is left");
	(void)to_second;
	MUST(apus_worker_destroy(second_worker));
	t.worker = first;
}
void duplicate_and_waiting(Trial &t)
{
	add(t, second_pa, second_pa_mac, deprecated);
	set(t, our_pa, 0, detect);
	t.process({});
	t.remove_neighbor(remote_pa);
	t.send(t.vm1, vm1_to_remote1());
	t.check(t.totals().held == 1, "it waits");
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, ip(192, 168, 0, 1)));
	bool asked = false;
	for (const Sent &one : after(t, retry))
		if (model::get16(one.bytes, 12) == model::type_arp)
			asked = model::get_ip(one.bytes, model::ethernet_size + 14, 4) == second_pa;
	t.check(asked, "the next hop is asked for from the other address");
}
void set_again(Trial &t)
{
	set(t, our_pa, 0, detect);
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
	t.check(state(t, our_pa) == duplicate, "DUPLICATE");
	poll(t);
	set(t, our_pa, 0, detect);
	t.check(state(t, our_pa) == tentative, "set again: TENTATIVE");
	for (unsigned i = 0; i < 4; i++)
		after(t, i == 0 ? 0 : retry);
	tells(t, APUS_EVENT_ADDRESS_PREFERRED, our_pa, our_pa_mac);
	// What does not matter to others changes nothing.
	set(t, our_pa, deprecated, detect);
	t.check(state(t, our_pa) == deprecated && after(t, 0).empty(), "a state");
	auto object = address(t, our_pa, our_pa_mac, 0, detect);
	object.prefix_length = 25;
	MUST(apus_provider_address_set(t.dataplane, &object));
	t.check(state(t, our_pa) == preferred && after(t, 0).empty(), "a prefix length");
	// As a reload of a policy file does it.
	MUST(apus_transaction_begin(t.dataplane));
	MUST(apus_provider_address_remove(t.dataplane, &object));
	MUST(apus_provider_address_add(t.dataplane, &object));
	MUST(apus_transaction_commit(t.dataplane));
	t.check(state(t, our_pa) == preferred && after(t, 0).empty(), "removed and added at once");
	set(t, our_pa, 0, detect, our_pa_mac, 5);
	t.check(state(t, our_pa) == tentative && after(t, 0).size() == 1, "another VLAN");
	set(t, our_pa, 0, detect, second_pa_mac, 5);
	t.check(state(t, our_pa) == tentative && after(t, 0).size() == 1, "another MAC");
	set(t, our_pa, 0, 0, second_pa_mac, 5);
	t.check(state(t, our_pa) == preferred && after(t, retry).empty(), "without the flag");
}
void set_and_aborted(Trial &t)
{
	set(t, our_pa, 0, detect);
	for (unsigned i = 0; i < 4; i++)
		after(t, i == 0 ? 0 : retry);
	poll(t);
	for (unsigned i = 0; i < 3; i++) {
		MUST(apus_transaction_begin(t.dataplane));
		set(t, our_pa, 0, detect, second_pa_mac);
		t.check(state(t, our_pa) == tentative, "inside the transaction");
		set(t, our_pa, invalid, detect);
		MUST(apus_transaction_abort(t.dataplane));
		t.check(state(t, our_pa) == preferred && after(t, retry).empty(), "nothing happened");
	}
	const auto object = address(t, our_pa);
	MUST(apus_provider_address_remove(t.dataplane, &object));
	t.process({});
	add(t, our_pa, our_pa_mac, 0, detect);
	t.check(state(t, our_pa) == tentative && after(t, 0).size() == 1, "removed and added: anew");
}
void stale_notes(Trial &t)
{
	set(t, our_pa, 0, detect);
	t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
	set(t, our_pa, 0, detect);
	t.check(poll(t).empty(), "it is not DUPLICATE any more");
	for (unsigned i = 0; i < 4; i++)
		after(t, i == 0 ? 0 : retry);
	set(t, our_pa, 0);
	t.check(poll(t).empty(), "it is not watched any more");
}
void explain_does_not_probe(Trial &t)
{
	set(t, our_pa, 0, detect);
	Bytes packet = arp(stranger_pa_mac, our_pa, remote_pa);
	packet.resize(256);
	const auto explanation = hosts::explain(t, t.uplink, packet);
	t.check(explanation.verdict == APUS_VERDICT_CONSUME && state(t, our_pa) == tentative && poll(t).empty(), "only asked");
	t.check(t.process({}).size() == 1, "the first probe is still to come");
}

// ---- what other hosts tell -------------------------------------------------------------------------------------------

void told_by_host(Trial &t, std::uint32_t kind, const Ip &teller, const Ip *moved, const Ip *ca, Mac mac, Vsid vsid = subnet1)
{
	const auto events = poll(t);
	t.check(events.size() == 1 && events[0].kind == kind, std::string("the event ") + apus_event_name(kind));
	if (events.size() != 1)
		return;
	const Event &event = events[0];
	t.check(event.port == t.uplink && event.virtual_subnet_id == vsid && is(event.previous_provider_address, teller) && is(event.mac, mac), "what it says");
	t.check(moved == nullptr ? is_none(event.provider_address) : is(event.provider_address, *moved), "where it is now");
	t.check(ca == nullptr ? is_none(event.customer_address) : is(event.customer_address, *ca), "which customer address");
}
void redirect_is_told(Trial &t)
{
	t.consumes_control(t.uplink, tunnelled(redirect()));
	told_by_host(t, APUS_EVENT_NVE_REDIRECT, remote_pa, &moved_pa, &remote1_ip, remote1_mac);
	// Nothing changed.
	sent_from(t, our_pa, "it goes where it went");
	t.consumes_control(t.uplink, tunnelled(unreachable()));
	told_by_host(t, APUS_EVENT_NVE_UNREACHABLE, remote_pa, nullptr, &remote1_ip, remote1_mac);
}
void redirect_is_told_ip6(Trial &t)
{
	t.consumes_control(t.uplink, tunnelled6(control(true, remote_pa6, moved_pa6, quoted(vm1_to_remote1_ip6()))));
	told_by_host(t, APUS_EVENT_NVE_REDIRECT, remote_pa6, &moved_pa6, &remote1_ip6, remote1_mac);
	t.consumes_control(t.uplink, tunnelled6(control(false, remote_pa6, our_pa6, quoted(vm1_to_remote1()))));
	told_by_host(t, APUS_EVENT_NVE_UNREACHABLE, remote_pa6, nullptr, &remote1_ip, remote1_mac);
	// Between families nobody has the other's address.
	const auto before = t.totals().control_messages;
	t.send(t.uplink, tunnelled(control(true, remote_pa6, moved_pa6, quoted(vm1_to_remote1_ip6()))));
	t.check(t.totals().control_messages == before && t.totals().drops[APUS_DROP_INNER_IP_MALFORMED] == 1, "ICMPv6 from an IPv4 host");
}
void quotes(Trial &t)
{
	const auto told_with = [&](const Bytes &quoted_bytes, const Ip *ca, Mac mac, const char *what) {
		t.check(t.send(t.uplink, tunnelled(control(false, remote_pa, our_pa, quoted_bytes))).empty(), what);
		told_by_host(t, APUS_EVENT_NVE_UNREACHABLE, remote_pa, nullptr, ca, mac);
		t.now += second;
	};
	const Bytes whole = quoted(vm1_to_remote1());
	told_with({}, nullptr, 0, "nothing");
	for (const std::size_t length : {7u, 8u, 21u, 22u, 41u})
		told_with(cut(whole, length), nullptr, 0, "too little");
	told_with(cut(whole, 42), &remote1_ip, remote1_mac, "just enough");
	told_with(cut(quoted(vm1_to_remote1_ip6()), 61), nullptr, 0, "IPv6: too little");
	told_with(cut(quoted(vm1_to_remote1_ip6()), 62), &remote1_ip6, remote1_mac, "IPv6: just enough");
	told_with(build::gre(0x2000, 0x0800, 0, vm1_to_remote1()), nullptr, 0, "another GRE");
	told_with(build::gre(0x3000, model::type_bridging, 0, vm1_to_remote1()), nullptr, 0, "GRE with a sequence number");
	told_with(quoted(arp(vm1_mac, vm1_ip, remote1_ip)), nullptr, 0, "no IP packet");
	build::Ip4 outer;
	outer.source = our_pa;
	outer.destination = remote_pa;
	outer.protocol = 47;
	const Bytes with_outer = build::ipv4({}, outer, whole);
	told_with(Bytes(with_outer.begin() + model::ethernet_size, with_outer.end()), &remote1_ip, remote1_mac, "from the outer IP header on");
	build::Ip6 outer6;
	outer6.source = our_pa6;
	outer6.destination = remote_pa6;
	outer6.next_header = 47;
	const Bytes with_outer6 = build::ipv6({}, outer6, whole);
	told_with(Bytes(with_outer6.begin() + model::ethernet_size, with_outer6.end()), &remote1_ip, remote1_mac, "from the outer IPv6 header on");
}
void customers_have_such_errors_too(Trial &t)
{
	// "Administratively prohibited", from a machine and from a router behind it.
	build::Ip4 header;
	header.source = remote1_ip;
	header.destination = vm1_ip;
	header.protocol = 1;
	const Bytes error = build::ipv4({vm1_mac, remote1_mac, 0, model::type_ipv4}, header, build::icmp(3, 10, 0, 0, 28));
	t.passes(t.uplink, tunnelled(error), t.vm1);
	// A machine whose customer address is the host's provider address.
	t.add_route(subnet1, {ip(192, 168, 0, 0), 24});
	t.add_record(subnet1, remote_pa, 0x600060000199, remote_pa);
	header.source = remote_pa;
	const auto from = [&](Mac mac, std::uint8_t type, std::uint8_t code) {
		return tunnelled(build::ipv4({vm1_mac, mac, 0, model::type_ipv4}, header, build::icmp(type, code, 0, 0, 28)));
	};
	for (unsigned i = 0; i < 2; i++) {
		t.passes(t.uplink, from(0x600060000199, 8, 0), t.vm1);
		t.passes(t.uplink, from(0x600060000199, 3, 10), t.vm1);
		t.consumes_control(t.uplink, from(0x600060000198, 3, 10));
	}
}
void not_mistaken_for_a_known_flow(Trial &t)
{
	// Without source validation a packet with any source passes, and would be a flow.
	build::Ip4 header;
	header.source = remote_pa;
	header.destination = vm1_ip;
	header.protocol = 1;
	const auto message = [&](std::uint8_t type, std::uint8_t code) {
		return tunnelled(build::ipv4({vm1_mac, remote1_mac, 0, model::type_ipv4}, header, build::icmp(type, code, 0, 0, 28)));
	};
	for (unsigned i = 0; i < 3; i++) {
		t.passes(t.uplink, message(8, 0), t.vm1);
		t.consumes_control(t.uplink, message(3, 10));
		t.passes(t.uplink, message(3, 9), t.vm1);
		t.passes(t.uplink, message(5, 1), t.vm1);
	}
}
void not_in_vxlan_and_not_in_fragments(Trial &t)
{
	Bytes fragment = redirect();
	model::put16(fragment, ip_at + 6, 0x2000);
	model::put16(fragment, ip_at + 10, 0);
	model::put16(fragment, ip_at + 10, model::internet_checksum(fragment, ip_at, 20));
	t.send(t.uplink, tunnelled(fragment));
	t.send(t.uplink, tunnelled(cut(control(true, remote_pa, moved_pa, {}), ip_at + 28)));
	t.check(t.totals().control_messages == 1, "eight bytes of ICMP are enough, a fragment is none");
	Bytes vxlan(16);
	model::put16(vxlan, 2, 4789);
	model::put16(vxlan, 4, static_cast<std::uint16_t>(16 + redirect().size()));
	model::put8(vxlan, 8, 8);
	model::put32(vxlan, 12, subnet1 << 8);
	for (const std::uint8_t one : redirect())
		vxlan.push_back(one);
	build::Ip4 outer = outer_ip();
	outer.protocol = 17;
	t.send(t.uplink, build::ipv4(outer_ethernet(), outer, vxlan));
	t.check(t.totals().control_messages == 1, "VXLAN");
	poll(t);
}
void with_outer_options(Trial &t)
{
	build::Ip4 outer = outer_ip();
	outer.options = 2;
	t.consumes_control(t.uplink, build::nvgre(outer_ethernet(), outer, subnet1, 0, redirect()));
	told_by_host(t, APUS_EVENT_NVE_REDIRECT, remote_pa, &moved_pa, &remote1_ip, remote1_mac);
	build::Ip4 header;
	header.source = remote_pa;
	header.destination = vm1_ip;
	header.protocol = 1;
	const Bytes ping = build::ipv4({vm1_mac, remote1_mac, 0, model::type_ipv4}, header, build::icmp(8, 0, 0, 0, 28));
	const auto sent = t.send(t.uplink, build::nvgre(outer_ethernet(), outer, subnet1, 0, ping));
	t.check(sent.size() == 1 && sent[0].bytes == ping, "a packet of a customer with this address");
}
void repeated_and_too_many(Trial &t)
{
	for (unsigned i = 0; i < 3; i++)
		t.send(t.uplink, tunnelled(redirect()));
	t.check(t.totals().control_messages == 3 && poll(t).size() == 1, "the same is told once");
	t.now += 100 * second;
	for (unsigned i = 0; i < 15; i++)
		t.send(t.uplink, tunnelled(control(true, remote_pa, moved_pa + i, {})));
	t.check(t.totals().events_lost == 5, "more than a burst of ten");
	const auto events = poll(t);
	t.check(events.size() == 11 && events[0].kind == APUS_EVENT_LOST && events[0].count == 5, "ten, and that there were more");
}

// ---- what we tell them ----------------------------------------------------------------------------------------------

void answer_is_right(Trial &t, const Bytes &packet, const Bytes &inner, Vsid vsid)
{
	const auto sent = t.send(t.uplink, packet);
	t.check(sent.size() == 1 && sent[0].port == t.uplink && sent[0].flags == APUS_FRAME_ENCAPSULATED, "it leaves");
	if (sent.size() != 1)
		return;
	Bytes quote = build::gre(0x2000, model::type_bridging, vsid << 8 | 0x42, inner);
	quote.resize(std::min<std::size_t>(quote.size(), 548));
	Bytes message = control(false, our_pa, remote_pa, quote, our_pa_mac);
	model::put_mac(message, 0, remote_pa_mac);
	build::Ip4 outer = outer_ip();
	std::swap(outer.source, outer.destination);
	outer.ttl = 128;
	t.check(sent[0].bytes == build::nvgre({remote_pa_mac, our_pa_mac, 0, model::type_ipv4}, outer, vsid, 0, message), "it is what it should be");
}
void unreachable_ip4(Trial &t)
{
	answer_is_right(t, tunnelled(remote1_to_vm1(), 7777), remote1_to_vm1(), 7777);
	const Bytes nobody = udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip);
	answer_is_right(t, tunnelled(nobody), nobody, subnet1);
	const Bytes elsewhere = udp(vm1_mac, remote1_mac, remote1_ip, ip(10, 0, 1, 5));
	t.add_record(subnet1, ip(10, 0, 1, 5), vm1_mac, other_pa);
	answer_is_right(t, tunnelled(elsewhere), elsewhere, subnet1);
	const Bytes large = udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip, 64, 0, 1000);
	answer_is_right(t, tunnelled(large), large, subnet1);
	t.check(t.totals().drops[APUS_DROP_VSID_UNKNOWN] == 1 && t.totals().drops[APUS_DROP_INNER_DESTINATION_MISSING] == 2 &&
			t.totals().drops[APUS_DROP_INNER_DESTINATION_CA_PA] == 1,
		"the reasons");
	t.check(t.totals().unreachable_sent == 4, "unreachable_sent");
	// Not for other reasons.
	t.check(t.send(t.uplink, tunnelled(udp(vm1_mac, stranger_pa_mac, remote1_ip, vm1_ip))).empty(), "INNER_SOURCE_CA_MAC");
	t.check(t.send(t.uplink, tunnel_from(other_pa + 1, remote1_to_vm1(), 7777)).empty(), "SOURCE_PA_UNKNOWN");
}
void unreachable_ip6(Trial &t)
{
	const Bytes inner = remote1_to_vm1_ip6();
	const auto sent = t.send(t.uplink, tunnelled6(inner, 7777));
	t.check(sent.size() == 1, "it leaves");
	if (sent.size() != 1)
		return;
	Bytes message = control(false, our_pa6, remote_pa6, build::gre(0x2000, model::type_bridging, 7777 << 8 | 0x42, inner), our_pa_mac);
	model::put_mac(message, 0, remote_pa_mac);
	build::Ip6 outer = outer_ip6();
	std::swap(outer.source, outer.destination);
	outer.hop_limit = 128;
	t.check(sent[0].bytes == build::nvgre({remote_pa_mac, our_pa_mac, 0, model::type_ipv6}, outer, 7777, 0, message), "it is what it should be");
}
void unreachable_is_understood(Trial &t)
{
	// The other host is one of ours: what this one sends, that one takes.
	const auto sent = t.send(t.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip)));
	Trial other(t.name + " (the other host)", t.reason);
	other.open();
	other.uplink = other.add_uplink();
	other.add_pa(remote_pa, other.uplink, remote_pa_mac);
	other.add_record(subnet1, remote1_ip, remote1_mac, remote_pa);
	other.add_record(subnet1, stranger_ip, vm1_mac, our_pa);
	other.consumes_control(other.uplink, sent.empty() ? Bytes(60) : sent[0].bytes);
	told_by_host(other, APUS_EVENT_NVE_UNREACHABLE, our_pa, nullptr, &stranger_ip, vm1_mac);
}
void unreachable_is_not_answered(Trial &t)
{
	for (const bool is_redirect : {false, true})
		t.check(t.send(t.uplink, tunnelled(control(is_redirect, remote_pa, our_pa, quoted(vm1_to_remote1(), 7777)), 7777)).empty(), "a control message");
	t.check(t.totals().drops[APUS_DROP_VSID_UNKNOWN] == 2, "they are dropped");
	t.check(t.send(t.uplink, tunnelled(arp(remote1_mac, remote1_ip, vm1_ip), 7777)).empty(), "no IP packet");
	t.check(t.send(t.uplink, tunnel_from(our_pa, remote1_to_vm1(), 7777)).empty(), "from an address of ours");
	build::Ip4 outer = outer_ip();
	outer.options = 1;
	t.check(t.send(t.uplink, build::nvgre(outer_ethernet(), outer, 7777, 0, remote1_to_vm1())).empty(), "outer options");
	set(t, our_pa, deprecated);
	t.check(t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777)).size() == 1, "from a deprecated address");
	struct apus_provider_peer peer;
	APUS_INIT(&peer);
	peer.provider_address = objects::address(remote_pa);
	peer.encapsulation = APUS_ENCAPSULATION_VXLAN;
	MUST(apus_provider_peer_add(t.dataplane, &peer));
	t.check(t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777)).empty(), "a VXLAN peer");
	MUST(apus_provider_peer_remove(t.dataplane, &peer));
	t.buffers.refuse = true;
	t.check(t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777)).empty() && t.totals().drops[APUS_DROP_NO_BUFFER] == 1, "no buffer");
	t.buffers.refuse = false;
}
void unreachable_waits(Trial &t)
{
	t.remove_neighbor(remote_pa);
	const auto asked = t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777));
	t.check(asked.size() == 1 && model::get16(asked[0].bytes, 12) == model::type_arp && t.totals().held == 1, "the next hop is asked for");
	const auto sent = t.send(t.uplink, remote_answer());
	t.check(sent.size() == 1 && sent[0].flags == APUS_FRAME_ENCAPSULATED && t.totals().unreachable_sent == 1 && t.totals().held == 0 &&
			t.totals().replicated == 0,
		"then it leaves");
}
void unreachable_waits_in_vain(Trial &t)
{
	t.remove_neighbor(remote_pa);
	t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777));
	t.check(t.totals().held == 1, "it waits");
	t.remove_record(subnet1, remote1_ip);
	t.remove_record(subnet2, remote2_ip);
	for (unsigned i = 0; i < 8; i++) {
		t.process({});
		t.now += second;
	}
	t.check(t.totals().held == 0 && t.totals().drops[APUS_DROP_NEIGHBOR_FAILED] == 1 && t.totals().unreachable_sent == 0, "whoever it is for is gone");
}
void silent_by_default(Trial &t)
{
	t.check(t.send(t.uplink, tunnelled(remote1_to_vm1(), 7777)).empty() && t.totals().generated == 0, "VSID_UNKNOWN");
}

void names(Trial &t)
{
	const std::pair<std::uint32_t, const char *> kinds[] = {{APUS_EVENT_ADDRESS_PREFERRED, "ADDRESS_PREFERRED"},
								 {APUS_EVENT_ADDRESS_DUPLICATE, "ADDRESS_DUPLICATE"},
								 {APUS_EVENT_ADDRESS_CONFLICT, "ADDRESS_CONFLICT"},
								 {APUS_EVENT_NVE_REDIRECT, "NVE_REDIRECT"},
								 {APUS_EVENT_NVE_UNREACHABLE, "NVE_UNREACHABLE"},
								 {13, ""}};
	for (const auto &[kind, name] : kinds)
		t.check(std::strcmp(apus_event_name(kind), name) == 0, name);
}

// ---- all of them ----------------------------------------------------------------------------------------------------

struct Case {
	const char *name;
	void (*run)(Trial &);
	bool with_ipv6 = false;
	std::uint32_t flags = 0;
};

constexpr std::uint32_t sends = APUS_DATAPLANE_SEND_UNREACHABLE;

const Case cases[] = {
	{"states that are given", given},
	{"states and flags in an iteration", given_iterate},
	{"the sender's address", senders_address},
	{"DEPRECATED is the last choice", deprecated_is_last},
	{"DEPRECATED counts more than the prefix", deprecated_against_prefix},
	{"INVALID does not answer ARP", invalid_does_not_answer},
	{"INVALID does not answer neighbour discovery", invalid_does_not_answer_ip6, true},
	{"INVALID, and what waits", invalid_learns_nothing},
	{"detection, IPv4", passes_ip4},
	{"detection, IPv4, tagged", passes_ip4_tagged},
	{"detection, IPv6", passes_ip6, true},
	{"detection, IPv6, tagged", passes_ip6_tagged, true},
	{"TENTATIVE is used", optimistic},
	{"TENTATIVE does not override", override_flag, true},
	{"order of probes", order_of_probes},
	{"no room for a probe", no_room_for_a_probe},
	{"conflict: ARP request", conflict_arp_request},
	{"conflict: ARP reply", conflict_arp_reply},
	{"conflict: ARP probe", conflict_arp_probe},
	{"conflict: ARP announcement", conflict_arp_announcement},
	{"conflict: ARP, tagged", conflict_arp_tagged},
	{"conflict: neighbour solicitation from ::", conflict_nd_probe, true},
	{"conflict: neighbour advertisement", conflict_nd_advertisement, true},
	{"conflict: neighbour advertisement, tagged", conflict_nd_advertisement_tagged, true},
	{"what is no conflict", no_conflict, true},
	{"a later conflict, ARP", conflict_later_arp},
	{"a later conflict, neighbour discovery", conflict_later_nd, true},
	{"DUPLICATE within a burst", duplicate_within_a_burst},
	{"DUPLICATE on other workers", duplicate_on_other_workers},
	{"DUPLICATE, and what waits", duplicate_and_waiting},
	{"set again", set_again},
	{"set and aborted", set_and_aborted},
	{"old notes", stale_notes},
	{"explaining changes nothing", explain_does_not_probe},
	{"REDIRECT and UNREACHABLE, IPv4", redirect_is_told, true},
	{"REDIRECT and UNREACHABLE, IPv6", redirect_is_told_ip6, true},
	{"quoted packets", quotes, true},
	{"customers' own errors", customers_have_such_errors_too},
	{"no known flow", not_mistaken_for_a_known_flow, false, APUS_DATAPLANE_NO_SOURCE_VALIDATION},
	{"no control message", not_in_vxlan_and_not_in_fragments},
	{"behind outer options", with_outer_options, false, APUS_DATAPLANE_ACCEPT_IP_OPTIONS | APUS_DATAPLANE_NO_SOURCE_VALIDATION},
	{"repeated, and too many", repeated_and_too_many},
	{"UNREACHABLE is sent, IPv4", unreachable_ip4, false, sends},
	{"UNREACHABLE is sent, IPv6", unreachable_ip6, true, sends},
	{"UNREACHABLE is understood", unreachable_is_understood, false, sends},
	{"what is not answered", unreachable_is_not_answered, false, sends | APUS_DATAPLANE_ACCEPT_IP_OPTIONS},
	{"UNREACHABLE waits", unreachable_waits, false, sends},
	{"UNREACHABLE waits in vain", unreachable_waits_in_vain, false, sends},
	{"silent by default", silent_by_default},
	{"names of events", names},
};

}  // namespace

int main()
{
	for (const Case &one : cases) {
		Trial t(one.name, APUS_DROP_NO_BUFFER);
		t.opts.flags = one.flags;
		t.open_with_policy();
		if (one.with_ipv6)
			t.add_ipv6();
		one.run(t);
		t.finish();
	}
	std::printf("%zu cases\n", std::size(cases));
	return report::finish();
}
