// SPDX-License-Identifier: Apache-2.0
// Every drop reason and every counter, each by name: a frame that is wrong in one way is counted in one place, and its
// corrected twin passes. docs/pipeline.md says what is wrong; include/apus/stats.h what is counted. What IPv6 adds is in
// drop_reasons_ipv6.cpp.
#include "drop_reasons.hpp"
#include "drop_reasons_peers.hpp"
#include "external.hpp"
#include "hosts.hpp"
#include "machines.hpp"

namespace {

using namespace trial;

// ---- one case or more for each drop reason ---------------------------------------------------------------------------

const DropCase drop_cases[] = {
	// any port
	{APUS_DROP_PORT_UNKNOWN, "numbers that were never given", [](Trial &t) {
		for (const std::uint32_t port : {0u, 999u, 1u << 20, UINT32_MAX})
			t.drops("number", port, vm1_to_vm2());
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_PORT_UNKNOWN, "a port that was removed", [](Trial &t) {
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
		MUST(apus_port_remove(t.dataplane, t.vm1));
		t.drops(t.vm1, vm1_to_vm2());
	}},
	{APUS_DROP_PORT_UNKNOWN, "comes before FRAME_INVALID", [](Trial &t) { t.drops(999, Bytes(3)); }},

	{APUS_DROP_FRAME_INVALID, "too short", [](Trial &t) {
		for (const std::uint32_t port : {t.vm1, t.uplink}) {
			t.drops("0 bytes", port, {});
			t.drops("1 byte", port, Bytes(1));
			t.drops("13 bytes", port, cut(vm1_to_vm2(), 13));
		}
	}},
	{APUS_DROP_FRAME_INVALID, "too long", [](Trial &t) {
		Frame frame = t.frame(t.vm1, with16(cut(vm1_to_vm2(), 200), ip_at + 2, 65521));
		for (const std::uint32_t length : {65536u, 65792u, UINT32_MAX}) {
			frame.claimed = length;
			t.drops("length", frame);
		}
		frame.claimed = 65535;
		t.passes(frame, t.vm2);
	}},
	{APUS_DROP_FRAME_INVALID, "too little is contiguous", [](Trial &t) {
		Frame frame = t.frame(t.vm1, udp(vm2_mac, vm1_mac, vm1_ip, vm2_ip, 64, 0, 400));
		frame.contiguous = 191;
		t.drops("191 of 438", frame);
		frame.contiguous = 0;
		t.drops("none of 438", frame);
		frame.contiguous = 192;
		t.passes(frame, t.vm2);
		Frame small = t.frame(t.uplink, tunnel());
		small.contiguous--;
		t.drops("all but one byte", small);
		small.contiguous++;
		t.passes(small, t.vm1);
	}},
	{APUS_DROP_FRAME_INVALID, "NULL data", [](Trial &t) {
		Frame frame = t.frame(t.vm1, vm1_to_vm2());
		frame.null_data = true;
		t.drops("data", frame);
		frame.null_data = false;
		t.passes(frame, t.vm2);
	}},
	{APUS_DROP_FRAME_INVALID, "ends inside a customer's tag", [](Trial &t) {
		for (const std::uint16_t type : {std::uint16_t{0x8100}, std::uint16_t{0x88A8}}) {
			t.drops("14 bytes", t.vm1, cut(tagged(vm1_to_vm2(), 1, type), 14));
			t.drops("17 bytes", t.vm1, cut(tagged(vm1_to_vm2(), 1, type), 17));
			t.drops("21 bytes, two tags", t.vm1, cut(tagged(vm1_to_vm2(), 2, type), 21));
			t.passes(t.vm1, tagged(vm1_to_vm2(), 2, type), t.vm2);
		}
		t.passes(t.vm1, tagged(vm1_to_vm2(), 8), t.vm2);
		t.drops("nine tags", t.vm1, tagged(vm1_to_vm2(), 9));
		Frame frame = t.frame(t.vm1, tagged(vm1_to_vm2(), 45));
		frame.contiguous = APUS_CONTIGUOUS;
		t.drops("tags beyond the first 192 bytes", frame);
	}},

	{APUS_DROP_NEW_FLOW_LIMIT, "too many new flows; known ones go on, and so do those of others", [](Trial &t) {
		auto limited = objects::port({true, false, subnet1, vm1_mac, 1500});
		limited.new_flow_rate = 10;
		MUST(apus_port_set(t.dataplane, t.vm1, &limited));
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
		const auto flow = [](unsigned i) { return with16(vm1_to_vm2(), ip_at + 20, static_cast<std::uint16_t>(i)); };
		for (unsigned i = 1; i < 1024; i++)
			t.check(t.send(t.vm1, flow(i)).size() == 1, "one of 1024 at once");
		t.drops("one too many", t.vm1, flow(2000));
		t.drops("tagged", t.vm1, tagged(flow(2000)));
		t.check(t.send(t.vm1, flow(1023)).size() == 1, "a known flow");
		t.passes(t.vm2, udp(vm1_mac, vm2_mac, vm2_ip, vm1_ip), t.vm1);
		t.now += second / 10;
		t.passes(t.vm1, flow(2000), t.vm2);
		t.drops("and another", t.vm1, flow(2001));
		limited.new_flow_rate = 0;
		MUST(apus_port_set(t.dataplane, t.vm1, &limited));
		t.passes(t.vm1, flow(2001), t.vm2);
	}, [](Trial &t) { t.worker_opts.flow_capacity = 4096; }},

	{APUS_DROP_NEW_FLOW_LIMIT, "a port owes nothing by the lower rate that it had", [](Trial &t) {
		auto limited = objects::port({true, false, subnet1, vm1_mac, 1500});
		const auto flow = [](unsigned i) { return with16(vm1_to_vm2(), ip_at + 20, static_cast<std::uint16_t>(i)); };
		for (const std::uint32_t rate : {1u, 1'000'000u}) {
			const unsigned first = rate == 1 ? 1 : 2000;
			limited.new_flow_rate = rate;
			MUST(apus_port_set(t.dataplane, t.vm1, &limited));
			for (unsigned i = 0; i < 1024; i++)
				t.check(t.send(t.vm1, flow(first + i)).size() == 1, "one of 1024 at once");
			t.drops("one too many", t.vm1, flow(first + 1024));
		}
	}, [](Trial &t) { t.worker_opts.flow_capacity = 8192; }},

	{APUS_DROP_DHCP_GUARD, "a DHCP server, also if the port is trusted", [](Trial &t) {
		const auto from = [](std::uint16_t port) { return with16(vm1_to_vm2(), ip_at + 20, port); };
		t.passes(t.vm1, from(67), t.vm2);
		for (const bool trusted : {false, true}) {
			const auto guarded = objects::port({true, trusted, subnet1, vm1_mac, 1500, true});
			MUST(apus_port_set(t.dataplane, t.vm1, &guarded));
			t.drops("port 67", t.vm1, from(67));
			t.drops("tagged", t.vm1, tagged(from(67)));
			t.drops("to nobody", t.vm1, with16(from(67), ip_at + 16, 0xE000));
			t.passes(t.vm1, from(68), t.vm2);
			t.passes(t.vm1, from(547), t.vm2);
			t.passes(t.vm1, with16(from(67), ip_at + 6, 0x2000), t.vm2);
		}
		t.passes(t.vm2, udp(vm1_mac, vm2_mac, vm2_ip, vm1_ip), t.vm1);
	}},

	{APUS_DROP_NO_HEADROOM, "untagged", [](Trial &t) {
		Frame frame = t.frame(t.vm1, vm1_to_remote1());
		for (const std::uint32_t headroom : {0u, 41u}) {
			frame.headroom = headroom;
			t.drops("headroom", frame);
		}
		frame.headroom = 42;
		t.passes(frame, t.uplink);
		frame.headroom = 41;
		t.drops("41, flow is known", frame);
		frame = t.frame(t.vm1, vm1_to_vm2());
		frame.headroom = 0;
		t.passes(frame, t.vm2);
	}},
	{APUS_DROP_NO_HEADROOM, "tagged, routed", [](Trial &t) {
		const auto vlan = objects::provider_address(our_pa, {t.uplink, 24, 7, our_pa_mac});
		MUST(apus_provider_address_set(t.dataplane, &vlan));
		Frame frame = t.frame(t.vm1, vm1_to_remote2());
		frame.headroom = 45;
		t.drops("45", frame);
		frame.headroom = 46;
		t.passes(frame, t.uplink);
	}},

	{APUS_DROP_NO_BUFFER, "for a request", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.buffers.refuse = true;
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.moved(burst(1, 58, 0, 0) + Moves{{&Stats::generated, 1}, {&Stats::held, 1}}, 1, flow_counters);
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 58}}}});
		t.check(t.buffers.released.empty(), "the waiting packet was released");
		t.buffers.refuse = false;
		t.now += second;
		t.mark();
		t.idle();
		t.moved(burst(0, 0, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::arp_requests, 1}});
	}},
	{APUS_DROP_NO_BUFFER, "for a copy", [](Trial &t) {
		const std::uint32_t vm4 = t.add_vm(subnet1, stranger_mac);
		t.buffers.refuse = true;
		t.mark();
		const auto sent = t.send(t.vm1, vm1_arp(stranger_ip));
		t.check(sent.size() == 1 && sent[0].port == vm4, "the frame itself did not go to the last port");
		t.moved(burst(1, 42, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::switched, 1}}, 1);
		t.buffers.refuse = false;
		t.mark();
		t.check(t.send(t.vm1, vm1_arp(stranger_ip)).size() == 2, "frame and copy did not pass");
		t.moved(burst(1, 42, 2, 84) + Moves{{&Stats::generated, 1}, {&Stats::switched, 2}});
	}},
	{APUS_DROP_NO_BUFFER, "without an allocate callback", [](Trial &t) {
		t.add_vm(subnet1, stranger_mac);
		t.mark();
		t.send(t.vm1, vm1_arp(stranger_ip));
		t.moved(burst(1, 42, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::switched, 1}}, 1);
		gateway_answers(t);  // in place, needs none
	}, [](Trial &t) { t.worker_opts.buffers = t.buffers.callbacks(false); }},

	// What finds no room is not switched, encapsulated or asked, and only a frame that was received is dropped at its port.
	{APUS_DROP_OUTPUT_FULL, "a copy", [](Trial &t) {
		const std::uint32_t vm4 = t.add_vm(subnet1, stranger_mac);
		t.mark();
		const auto sent = t.process({t.frame(t.vm1, vm1_arp(stranger_ip))}, 0);
		t.check(sent.size() == 1 && sent[0].port == vm4, "the frame itself did not go to the last port");
		t.moved(burst(1, 42, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::switched, 1}}, 1);
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 42}}},
			       {vm4, {{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 42}}}});
		t.check(t.buffers.released.empty(), "a buffer was taken for a copy that finds no room");
		t.mark();
		t.check(t.process({t.frame(t.vm1, vm1_arp(stranger_ip))}, 1).size() == 2, "frame and copy did not pass");
		t.moved(burst(1, 42, 2, 84) + Moves{{&Stats::generated, 1}, {&Stats::switched, 2}});
	}},
	{APUS_DROP_OUTPUT_FULL, "a request", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_remote1())}, 0);
		t.moved(burst(1, 58, 0, 0) + Moves{{&Stats::generated, 1}, {&Stats::held, 1}, {&Stats::flow_misses, 1}}, 1);
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 58}}}});
		t.now += second;
		t.mark();
		t.idle();
		t.moved(burst(0, 0, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::arp_requests, 1}});
	}},
	{APUS_DROP_OUTPUT_FULL, "packets that waited", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.vm1, vm1_to_remote1()),
			   t.frame(t.vm2, udp(remote1_mac, vm2_mac, vm2_ip, remote1_ip))});
		t.mark();
		t.check(t.process({t.frame(t.uplink, remote_answer())}, 1).size() == 1, "there was room for one");
		t.moved(burst(1, 42, 1, 100) + Moves{{&Stats::consumed, 1}, {&Stats::held, -3}, {&Stats::encapsulated, 1}}, 2, flow_counters);
		t.ports_moved({{t.vm1, {{&PortStats::dropped, 1}}},
			       {t.vm2, {{&PortStats::dropped, 1}}},
			       {t.uplink, {{&PortStats::received, 1}, {&PortStats::received_bytes, 42},
					   {&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 100}}}});
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},

	{APUS_DROP_WORKER_DESTROYED, "packets that wait", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.vm1, vm1_to_remote2())});
		t.mark();
		t.destroy_worker();
		t.moved({{&Stats::held, -2}}, 2);
		t.ports_moved({{t.vm1, {{&PortStats::dropped, 2}}}});
		t.check(t.buffers.released.size() == 2, "their buffers did not come back");
	}},

	// from a virtual machine
	{APUS_DROP_SOURCE_MAC, "of somebody else", [](Trial &t) {
		for (const Mac mac : {vm2_mac, stranger_mac, router_mac, Mac{0}})
			t.drops("MAC", t.vm1, udp(vm2_mac, mac, vm1_ip, vm2_ip));
		t.drops("ARP", t.vm1, build::arp({broadcast, vm2_mac, 0, model::type_arp}, {1, vm1_mac, vm1_ip, 0, gateway1}));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
		t.passes(t.add_vm(subnet1, stranger_mac, true), vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_SOURCE_MAC, "a group address", [](Trial &t) {
		for (const Mac mac : {broadcast, group_mac, vm1_mac | Mac{1} << 40})
			t.drops("MAC", t.vm1, udp(vm2_mac, mac, vm1_ip, vm2_ip));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_SOURCE_MAC, "comes before what else is wrong", [](Trial &t) {
		t.drops("EtherType", t.vm1, with16(udp(vm2_mac, stranger_mac, vm1_ip, vm2_ip), 12, 0x88B5));
		t.drops("tag", t.vm1, cut(tagged(udp(vm2_mac, stranger_mac, vm1_ip, vm2_ip)), 17));
		t.drops("IP version", t.vm1, with8(udp(vm2_mac, stranger_mac, vm1_ip, vm2_ip), ip_at, 0x65));
	}},

	{APUS_DROP_SOURCE_RECORD_MISSING, "switched", [](Trial &t) {
		t.drops(t.vm1, udp(remote1_mac, vm1_mac, stranger_ip, remote1_ip));
		t.passes(t.vm1, udp(vm2_mac, vm1_mac, stranger_ip, vm2_ip), t.vm2);  // the switch needs no record
		t.add_record(subnet1, stranger_ip, vm1_mac, our_pa);
		t.passes(t.vm1, udp(remote1_mac, vm1_mac, stranger_ip, remote1_ip), t.uplink);
	}},
	{APUS_DROP_SOURCE_RECORD_MISSING, "routed", [](Trial &t) {
		t.remove_record(subnet1, vm1_ip);
		t.drops("local", t.vm1, vm1_to_vm3());
		t.drops("remote", t.vm1, vm1_to_remote2());
		t.drops("gateway", t.vm1, vm1_ping(gateway1));
		t.add_record(subnet1, vm1_ip, vm1_mac, our_pa);
		t.passes(t.vm1, vm1_to_vm3(), t.vm3);
	}},
	{APUS_DROP_SOURCE_CA_MAC, "another machine's address", [](Trial &t) {
		t.drops("local", t.vm1, udp(vm2_mac, vm1_mac, vm2_ip, vm2_ip));
		t.drops("remote", t.vm1, udp(vm2_mac, vm1_mac, remote1_ip, vm2_ip));
		t.drops("routed", t.vm1, udp(router_mac, vm1_mac, vm2_ip, vm3_ip));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
		t.passes(t.add_vm(subnet1, stranger_mac, true), udp(vm2_mac, stranger_mac, remote1_ip, vm2_ip), t.vm2);
	}},
	{APUS_DROP_SOURCE_CA_REMOTE, "the record moved away", [](Trial &t) {
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
		t.remove_record(subnet1, vm1_ip);
		t.add_record(subnet1, vm1_ip, vm1_mac, remote_pa);
		t.drops("switched", t.vm1, vm1_to_vm2());
		t.drops("routed", t.vm1, vm1_to_vm3());
	}},

	{APUS_DROP_ETHERTYPE, "neither IP nor ARP", [](Trial &t) {
		for (const std::uint16_t type : {0x88B5, 0x0026, 0x0801, 0x8847, 0x9100})
			t.drops("EtherType", t.vm1, with16(vm1_to_vm2(), 12, type));
		t.drops("behind a tag", t.vm1, tagged(with16(vm1_to_vm2(), 12, 0x88B5)));
		t.drops("14 bytes", t.vm1, cut(with16(vm1_to_vm2(), 12, 0x88B5), 14));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_IP_MALFORMED, "header", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_ip(vm1_to_vm2())) {
			t.drops(what, t.vm1, bytes);
			t.drops(what, t.vm1, tagged(bytes));
		}
		t.passes(t.vm1, padded(vm1_to_vm2()), t.vm2);
	}},
	{APUS_DROP_IP_MALFORMED, "source address", [](Trial &t) {
		for (const Ip from : special_ips)
			t.drops("address", t.vm1, udp(vm2_mac, vm1_mac, from, vm2_ip));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_NOT_UNICAST, "MAC", [](Trial &t) {
		for (const Mac to : {broadcast, group_mac, vm2_mac | Mac{1} << 40})
			t.drops("MAC", t.vm1, udp(to, vm1_mac, vm1_ip, vm2_ip));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_NOT_UNICAST, "customer address", [](Trial &t) {
		for (const Ip to : special_ips) {
			t.drops("address", t.vm1, udp(vm2_mac, vm1_mac, vm1_ip, to));
			t.drops("before the source's", t.vm1, udp(vm2_mac, vm1_mac, 0, to));
		}
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},

	{APUS_DROP_DESTINATION_RECORD_MISSING, "switched", [](Trial &t) {
		t.drops(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip));
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa);
		t.passes(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip), t.uplink);
	}},
	{APUS_DROP_DESTINATION_RECORD_MISSING, "routed, on-link", [](Trial &t) {
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 77));
		t.drops(t.vm1, frame);
		t.add_record(subnet2, ip(10, 0, 2, 77), stranger_mac, remote_pa);
		t.passes(t.vm1, frame, t.uplink);
	}},
	{APUS_DROP_DESTINATION_CA_MAC, "switched", [](Trial &t) {
		t.drops(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, remote1_ip));
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_CUSTOMER_ROUTE_MISSING, "routed", [](Trial &t) {
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, ip(172, 16, 0, 9));
		t.drops(t.vm1, frame);
		t.add_route(subnet2, {ip(172, 16, 0, 0), 16}, remote2_ip);
		t.passes(t.vm1, frame, t.uplink);
	}},
	{APUS_DROP_NEXT_HOP_RECORD_MISSING, "routed", [](Trial &t) {
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, ip(172, 16, 0, 9));
		t.add_route(subnet1, {ip(172, 16, 0, 0), 16}, stranger_ip);
		t.drops(t.vm1, frame);
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa);
		t.passes(t.vm1, frame, t.uplink);
	}},
	{APUS_DROP_RULE_NONE, "switched", [](Trial &t) {
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa, APUS_RULE_NONE);
		t.drops(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip));
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_RULE_NONE, "routed", [](Trial &t) {
		t.add_record(subnet2, ip(10, 0, 2, 77), stranger_mac, remote_pa, APUS_RULE_NONE);
		t.drops(t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 77)));
		t.remove_record(subnet2, vm3_ip);
		t.add_record(subnet2, vm3_ip, vm3_mac, our_pa, APUS_RULE_NONE);
		t.passes(t.vm1, vm1_to_vm3(), t.vm3);  // on this host
	}},
	{APUS_DROP_TTL_EXPIRED, "to this host", [](Trial &t) {
		for (const std::uint8_t ttl : {0, 1})
			t.drops("first packet", t.vm1, udp(router_mac, vm1_mac, vm1_ip, vm3_ip, ttl));
		t.passes(t.vm1, udp(router_mac, vm1_mac, vm1_ip, vm3_ip, 2), t.vm3);
		t.drops("flow is known", t.vm1, udp(router_mac, vm1_mac, vm1_ip, vm3_ip, 1));
		t.passes(t.vm1, udp(vm2_mac, vm1_mac, vm1_ip, vm2_ip, 0), t.vm2);  // switched
	}, without_icmp_errors},
	{APUS_DROP_TTL_EXPIRED, "to another host", [](Trial &t) {
		t.passes(t.vm1, udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 2), t.uplink);
		t.drops("flow is known", t.vm1, udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1));
		t.passes(t.vm1, udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip, 1), t.uplink);  // switched
		t.remove_neighbor(remote_pa);
		t.drops("before waiting for a next hop", t.vm1, udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1));
	}, without_icmp_errors},
	{APUS_DROP_MTU_EXCEEDED, "switched and routed", [](Trial &t) {
		const auto sized = [](Mac to, Ip ca, std::size_t total) { return udp(to, vm1_mac, vm1_ip, ca, 64, 0, total - 24); };
		t.drops("switched", t.vm1, sized(remote1_mac, remote1_ip, 1501));
		t.passes(t.vm1, padded(sized(remote1_mac, remote1_ip, 1500)), t.uplink);
		t.drops("switched, flow is known", t.vm1, sized(remote1_mac, remote1_ip, 1501));
		t.drops("routed", t.vm1, sized(router_mac, remote2_ip, 1501));
		t.passes(t.vm1, sized(router_mac, remote2_ip, 1500), t.uplink);
		t.passes(t.vm1, sized(vm2_mac, vm2_ip, 9000), t.vm2);  // no tunnel
	}, without_icmp_errors},
	{APUS_DROP_NO_LOCAL_PORT, "from a virtual machine", [](Trial &t) {
		t.add_record(subnet1, stranger_ip, stranger_mac, our_pa);
		t.add_record(subnet2, ip(10, 0, 2, 77), stranger_mac, our_pa);
		t.drops("switched", t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip));
		t.drops("routed", t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 77)));
		const std::uint32_t vm4 = t.add_vm(subnet1, stranger_mac), vm5 = t.add_vm(subnet2, stranger_mac);
		t.passes(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip), vm4);
		t.passes(t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 77)), vm5);
	}},
	{APUS_DROP_NO_LOCAL_PORT, "from the provider network", [](Trial &t) {
		t.passes(t.uplink, tunnel(), t.vm1);
		MUST(apus_port_remove(t.dataplane, t.vm1));
		t.drops(t.uplink, tunnel());
	}},
	{APUS_DROP_GATEWAY_UNSERVED, "no echo request", [](Trial &t) {
		t.drops("UDP", t.vm1, udp(router_mac, vm1_mac, vm1_ip, gateway1));
		t.drops("UDP to another subnet's gateway", t.vm1, udp(router_mac, vm1_mac, vm1_ip, gateway2));
		t.drops("echo reply", t.vm1, ping_edited([](auto &, auto &message) { message[0] = 0; }));
		t.drops("code 1", t.vm1, ping_edited([](auto &, auto &message) { message[1] = 1; }));
		t.drops("7 bytes", t.vm1, ping_edited([](auto &, auto &message) { message.resize(7); }));
		t.drops("more fragments", t.vm1, ping_edited([](auto &header, auto &) { header.fragment = 0x2000; }));
		t.drops("later fragment", t.vm1, ping_edited([](auto &header, auto &) { header.fragment = 1; }));
		t.drops("header checksum", t.vm1, with16(vm1_ping(gateway1), ip_at + 10, 0x1234));
		gateway_answers(t);
		t.passes(t.vm1, vm1_ping(gateway2), t.vm1);
		t.passes(t.vm1, ping_edited([](auto &header, auto &) { header.ttl = 0; }), t.vm1);
	}},
	{APUS_DROP_HAIRPIN, "switched", [](Trial &t) {
		t.drops("to itself", t.vm1, udp(vm1_mac, vm1_mac, vm1_ip, vm1_ip));
		t.drops("to its own MAC", t.vm1, udp(vm1_mac, vm1_mac, vm1_ip, vm2_ip));
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
	}},
	{APUS_DROP_HAIRPIN, "routed", [](Trial &t) {
		t.drops(t.vm1, udp(router_mac, vm1_mac, vm1_ip, vm1_ip));
		t.passes(t.vm1, udp(router_mac, vm1_mac, vm1_ip, vm2_ip), t.vm2);
	}},

	{APUS_DROP_ARP_MALFORMED, "each field", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_arp(vm1_arp(gateway1))) {
			t.drops(what, t.vm1, bytes);
			t.drops(what, t.vm1, tagged(bytes));
		}
		t.passes(t.vm1, vm1_arp(gateway1), t.vm1);
		t.passes(t.vm1, padded(vm1_arp(gateway1), 18), t.vm1);
	}},
	{APUS_DROP_ARP_SPOOFED, "sender MAC", [](Trial &t) {
		for (const std::uint16_t operation : {1, 2})
			t.drops("operation", t.vm1, vm_arp(vm2_mac, vm1_ip, gateway1, operation));
		t.passes(t.vm1, vm_arp(vm1_mac, vm1_ip, gateway1), t.vm1);
	}},
	{APUS_DROP_ARP_SPOOFED, "sender address", [](Trial &t) {
		t.drops("gateway", t.vm1, vm_arp(vm1_mac, gateway1, vm2_ip));
		t.drops("announced gateway", t.vm1, vm_arp(vm1_mac, gateway1, gateway1));
		t.drops("another machine's", t.vm1, vm_arp(vm1_mac, vm2_ip, gateway1));
		t.drops("a remote machine's", t.vm1, vm_arp(vm1_mac, remote1_ip, gateway1));
		t.passes(t.vm1, vm_arp(vm1_mac, 0, gateway1), t.vm1);
		t.passes(t.vm1, vm_arp(vm1_mac, stranger_ip, gateway1), t.vm1);
		t.consumes(t.vm1, vm_arp(vm1_mac, vm1_ip, vm1_ip));
		t.remove_record(subnet1, vm1_ip);
		t.add_record(subnet1, vm1_ip, vm1_mac, remote_pa);
		t.drops("its own, but on another host", t.vm1, vm_arp(vm1_mac, vm1_ip, gateway1));
		const std::uint32_t trusted = t.add_vm(subnet1, stranger_mac, true);
		t.passes(trusted, vm_arp(vm2_mac, remote1_ip, gateway1), trusted);
	}},
	{APUS_DROP_ARP_UNANSWERED, "alone in its subnet", [](Trial &t) {
		const Bytes question = build::arp({broadcast, vm3_mac, 0, model::type_arp}, {1, vm3_mac, vm3_ip, 0, ip(10, 0, 2, 77)});
		t.drops(t.vm3, question);
		const std::uint32_t vm4 = t.add_vm(subnet2, stranger_mac);
		t.passes(t.vm3, question, vm4);
	}},

	// towards the provider network
	{APUS_DROP_PROVIDER_ROUTE_MISSING, "no route", [](Trial &t) {
		t.add_record(subnet1, stranger_ip, stranger_mac, far_pa);
		t.add_record(subnet2, ip(10, 0, 2, 77), stranger_mac, far_pa);
		t.drops("switched", t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip));
		t.drops("routed", t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 77)));
		t.add_provider_route({ip(10, 99, 0, 0), 16}, t.uplink, remote_pa);
		t.passes(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip), t.uplink);
	}},
	{APUS_DROP_PROVIDER_ADDRESS_MISSING, "a second uplink without one", [](Trial &t) {
		const std::uint32_t uplink2 = t.add_uplink();
		t.add_record(subnet1, stranger_ip, stranger_mac, far_pa);
		t.add_provider_route({ip(10, 99, 0, 0), 16}, uplink2, 0);
		t.add_neighbor(far_pa, remote_pa_mac);
		t.drops(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip));
		t.add_pa(ip(192, 168, 7, 22), uplink2, our_pa_mac);
		t.passes(t.vm1, udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip), uplink2);
	}},
	{APUS_DROP_NEIGHBOR_FAILED, "waited, then while failed", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.send(t.vm1, vm1_to_remote1());
		for (int retry = 1; retry < 3; retry++) {
			t.now += second;
			t.idle();
		}
		t.now += second - 1;
		t.mark();
		t.idle();
		t.moved(burst(0, 0, 0, 0));
		t.now += 1;
		t.mark();
		t.idle();
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1, flow_counters);
		t.ports_moved({{t.vm1, {{&PortStats::dropped, 1}}}});
		t.check(t.buffers.released.size() == 1, "its buffer did not come back");
		t.drops("while failed", t.vm1, vm1_to_remote1());
		t.now += 4 * second - 1;
		t.drops("at the end of it", t.vm1, vm1_to_remote1());
		t.now += 1;
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.moved(burst(1, 58, 1, 42) + Moves{{&Stats::held, 1}, {&Stats::generated, 1}, {&Stats::arp_requests, 1}}, 0, flow_counters);
		t.check(t.send(t.uplink, remote_answer()).size() == 1, "an answer did not let it go");
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_NEIGHBOR_QUEUE_FULL, "the ninth for a next hop", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.process(std::vector<Frame>(8, t.frame(t.vm1, vm1_to_remote1())));
		t.drops("same flow", t.vm1, vm1_to_remote1());
		t.drops("routed", t.vm1, vm1_to_remote2());
		t.check(t.send(t.uplink, remote_answer()).size() == 8, "eight did not go on");
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_NEIGHBOR_QUEUE_FULL, "more than held_capacity", [](Trial &t) {
		t.add_record(subnet1, stranger_ip, stranger_mac, other_pa);
		t.remove_neighbor(remote_pa);
		t.process(std::vector<Frame>(2, t.frame(t.vm1, vm1_to_remote1())));
		t.drops("same next hop", t.vm1, vm1_to_remote1());
		// The queue is that of everybody: what others fill does not keep a next hop from being asked for.
		const Bytes other = udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip);
		t.mark();
		t.send(t.vm1, other);
		t.moved(burst(1, other.size(), 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::arp_requests, 1}}, 1, flow_counters);
		t.drops("another next hop", t.vm1, other);
		t.check(t.send(t.uplink, remote_answer()).size() == 2, "two did not go on");
	}, [](Trial &t) { t.worker_opts.held_capacity = 2; }},

	// from the provider network
	{APUS_DROP_OUTER_MAC, "not ours", [](Trial &t) {
		for (const Mac mac : {stranger_mac, broadcast, remote_pa_mac, Mac{0}})
			t.drops("MAC", t.uplink, outer_edited([mac](auto &ethernet, auto &) { ethernet.destination = mac; }));
		t.passes(t.uplink, tunnel(), t.vm1);
		t.drops("flow is known", t.uplink, outer_edited([](auto &ethernet, auto &) { ethernet.destination = stranger_mac; }));
	}},
	{APUS_DROP_OUTER_VLAN, "address without a VLAN", [](Trial &t) {
		t.drops("first packet", t.uplink, tagged(tunnel()));
		t.passes(t.uplink, tunnel(), t.vm1);
		t.drops("flow is known", t.uplink, tagged(tunnel()));
		t.passes(t.uplink, tagged(tunnel(), 1, 0x8100, 0), t.vm1);  // priority tag
	}},
	{APUS_DROP_OUTER_VLAN, "address with a VLAN", [](Trial &t) {
		const auto vlan = objects::provider_address(our_pa, {t.uplink, 24, 7, our_pa_mac});
		MUST(apus_provider_address_set(t.dataplane, &vlan));
		t.drops("untagged", t.uplink, tunnel());
		t.drops("priority tag", t.uplink, tagged(tunnel(), 1, 0x8100, 0));
		t.drops("another", t.uplink, tagged(tunnel(), 1, 0x8100, 8));
		t.passes(t.uplink, tagged(tunnel()), t.vm1);
		t.passes(t.uplink, tagged(tunnel(), 1, 0x88A8, 0xE007), t.vm1);  // PCP does not matter
		t.drops("flow is known", t.uplink, tagged(tunnel(), 1, 0x8100, 8));
	}},
	{APUS_DROP_OUTER_ETHERTYPE, "neither IP nor ARP", [](Trial &t) {
		for (const std::uint16_t type : {0x88B5, 0x0026, 0x0801, 0x9100})
			t.drops("EtherType", t.uplink, with16(tunnel(), 12, type));
		t.drops("14 bytes", t.uplink, cut(with16(tunnel(), 12, 0x88B5), 14));
		t.drops("behind a tag", t.uplink, tagged(with16(tunnel(), 12, 0x88B5)));
		t.drops("two tags", t.uplink, tagged(tunnel(), 2));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_OUTER_TRUNCATED, "tag", [](Trial &t) {
		t.drops("14 bytes", t.uplink, cut(tagged(tunnel()), 14));
		t.drops("17 bytes", t.uplink, cut(tagged(tunnel(), 1, 0x88A8), 17));
	}},
	{APUS_DROP_OUTER_TRUNCATED, "IPv4 header", [](Trial &t) {
		t.drops("no byte", t.uplink, cut(tunnel(), ip_at));
		t.drops("19 bytes", t.uplink, cut(tunnel(), ip_at + 19));
		t.drops("header beyond the frame", t.uplink, with8(cut(tunnel(), ip_at + 20), ip_at, 0x46));
		t.drops("tagged, 19 bytes", t.uplink, cut(tagged(tunnel()), ip_at + 4 + 19));
	}},
	{APUS_DROP_OUTER_TRUNCATED, "GRE header", [](Trial &t) {
		const Bytes header = build::gre(0x2000, model::type_bridging, subnet1 << 8, {});
		for (const std::size_t length : {0, 3, 4, 7}) {
			t.drops("frame", t.uplink, outer_with(cut(header, length)));
			t.drops("padded", t.uplink, padded(outer_with(cut(header, length)), 60));
		}
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_VERSION, "version and IHL", [](Trial &t) {
		for (const std::uint8_t byte : {0x65, 0x05, 0x44, 0x40})
			t.drops("first byte", t.uplink, with8(tunnel(), ip_at, byte));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_OPTIONS, "not accepted", [](Trial &t) {
		for (const unsigned words : {1u, 10u}) {
			const Bytes frame = outer_edited([words](auto &, auto &outer) { outer.options = words; });
			t.drops("words", t.uplink, frame);
			passes_with(t, APUS_DATAPLANE_ACCEPT_IP_OPTIONS, frame);
		}
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_LENGTH, "total length", [](Trial &t) {
		t.drops("0", t.uplink, with16(tunnel(), ip_at + 2, 0));
		t.drops("below the header's", t.uplink, with16(tunnel(), ip_at + 2, 19));
		t.drops("beyond the frame", t.uplink, with16(tunnel(), ip_at + 2, static_cast<std::uint16_t>(tunnel().size() - ip_at + 1)));
		t.drops("frame was cut", t.uplink, cut(tunnel(), tunnel().size() - 1));
		t.passes(t.uplink, padded(tunnel()), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_CHECKSUM, "by computation and by the device's word", [](Trial &t) {
		const Bytes wrong = with16(tunnel(), ip_at + 10, static_cast<std::uint16_t>(model::get16(tunnel(), ip_at + 10) ^ 1));
		t.drops("computed", t.uplink, wrong);
		Frame frame = t.frame(t.uplink, tunnel());
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD;
		t.drops("device: bad", frame);
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD | APUS_FRAME_IP_CHECKSUM_GOOD;
		t.drops("device: both", frame);
		t.passes(t.uplink, tunnel(), t.vm1);
		t.drops("computed, flow is known", t.uplink, wrong);
		frame = t.frame(t.uplink, wrong);
		frame.flags = APUS_FRAME_IP_CHECKSUM_GOOD;
		t.passes(frame, t.vm1);
	}},
	{APUS_DROP_OUTER_NOT_OURS, "destination", [](Trial &t) {
		for (const Ip pa : {other_pa, remote_pa, vm1_ip, ip(255, 255, 255, 255), ip(224, 0, 0, 5)})
			t.drops("address", t.uplink, tunnel_to(pa));
		t.passes(t.uplink, tunnel(), t.vm1);
		const std::uint32_t uplink2 = t.add_uplink();
		t.drops("another port's address", uplink2, tunnel());
	}},
	{APUS_DROP_OUTER_FRAGMENT, "MF and offset", [](Trial &t) {
		for (const std::uint16_t fragment : {0x2000, 0x0001, 0x1FFF, 0x6000})
			t.drops("field", t.uplink, outer_edited([fragment](auto &, auto &outer) { outer.fragment = fragment; }));
		for (const std::uint16_t fragment : {0x0000, 0x4000, 0x8000})
			t.passes(t.uplink, outer_edited([fragment](auto &, auto &outer) { outer.fragment = fragment; }), t.vm1);
	}},
	{APUS_DROP_OUTER_PROTOCOL, "not GRE", [](Trial &t) {
		for (const std::uint8_t protocol : {0, 1, 6, 17, 46, 48})
			t.drops("protocol", t.uplink, outer_edited([protocol](auto &, auto &outer) { outer.protocol = protocol; }));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_GRE_FLAGS, "each bit", [](Trial &t) {
		for (const std::uint16_t bit : {0x8000, 0x4000, 0x1000, 0x0800, 0x0400}) {
			t.drops("with key", t.uplink, gre_with(static_cast<std::uint16_t>(0x2000 | bit)));
			t.drops("without key", t.uplink, gre_with(bit));
		}
		t.passes(t.uplink, gre_with(0x23F8), t.vm1);  // ignored
	}},
	{APUS_DROP_GRE_VERSION, "each bit", [](Trial &t) {
		for (const std::uint16_t version : {1, 2, 4, 7}) {
			t.drops("version", t.uplink, gre_with(static_cast<std::uint16_t>(0x2000 | version)));
			t.drops("before flags", t.uplink, gre_with(static_cast<std::uint16_t>(0x8000 | version)));
		}
		t.passes(t.uplink, gre_with(0x2000), t.vm1);
	}},
	{APUS_DROP_GRE_NO_KEY, "no key", [](Trial &t) {
		t.drops("no bit", t.uplink, gre_with(0));
		t.drops("ignored bits", t.uplink, gre_with(0x03F8));
		t.passes(t.uplink, gre_with(0x2000), t.vm1);
	}},
	{APUS_DROP_GRE_PROTOCOL, "not transparent Ethernet", [](Trial &t) {
		for (const std::uint16_t type : {0x0800, 0x6559, 0x88BE})
			t.drops("type", t.uplink, gre_with(0x2000, type));
		t.passes(t.uplink, gre_with(0x2000), t.vm1);
	}},
	{APUS_DROP_SOURCE_PA_UNKNOWN, "no record has it", [](Trial &t) {
		t.drops("first", t.uplink, tunnel_from(other_pa, remote1_to_vm1()));
		t.drops("before VSID_RESERVED", t.uplink, tunnel_from(other_pa, remote1_to_vm1(), 1));
		t.drops("before INNER_ETHERTYPE", t.uplink, tunnel_from(other_pa, with16(remote1_to_vm1(), 12, 0x88B5)));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_VSID_RESERVED, "both ranges", [](Trial &t) {
		for (const Vsid vsid : {0u, 1u, 4095u, 0xFFFFFFu})
			t.drops("VSID", t.uplink, tunnelled(remote1_to_vm1(), vsid));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_VSID_UNKNOWN, "nothing here has it", [](Trial &t) {
		for (const Vsid vsid : {4096u, 7000u, 0xFFFFFEu})
			t.drops("VSID", t.uplink, tunnelled(remote1_to_vm1(), vsid));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_VSID_UNKNOWN, "reserved ones where they are accepted", [](Trial &t) {
		for (const Vsid vsid : {1u, 4095u, 0xFFFFFFu})
			t.drops("VSID", t.uplink, tunnelled(remote1_to_vm1(), vsid));
	}, [](Trial &t) { t.opts.flags = APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS; }},
	{APUS_DROP_INNER_TRUNCATED, "Ethernet header", [](Trial &t) {
		for (const std::size_t length : {0, 1, 13}) {
			t.drops("frame", t.uplink, tunnelled(cut(remote1_to_vm1(), length)));
			t.drops("padded", t.uplink, padded(tunnelled(cut(remote1_to_vm1(), length)), 60));
		}
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_INNER_VLAN, "tagged", [](Trial &t) {
		for (const std::uint16_t type : {0x8100, 0x88A8})
			for (const std::uint16_t vlan : {0, 7})
				t.drops("tag", t.uplink, tunnelled(tagged(remote1_to_vm1(), 1, type, vlan)));
		t.drops("before SOURCE_PA_UNKNOWN", t.uplink, tunnel_from(other_pa, tagged(remote1_to_vm1())));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_INNER_ETHERTYPE, "not IP", [](Trial &t) {
		for (const std::uint16_t type : {0x88B5, 0x0026})
			t.drops("EtherType", t.uplink, tunnelled(with16(remote1_to_vm1(), 12, type)));
		t.drops("14 bytes", t.uplink, tunnelled(cut(with16(remote1_to_vm1(), 12, 0x88B5), 14)));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_INNER_IP_MALFORMED, "header", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_ip(remote1_to_vm1())) {
			t.drops(what, t.uplink, tunnelled(bytes));
			t.drops(what, t.uplink, padded(tunnelled(bytes), 60));  // padding of the outer frame is no help
		}
		t.passes(t.uplink, tunnelled(padded(remote1_to_vm1())), t.vm1);
	}},
	{APUS_DROP_INNER_IP_MALFORMED, "source address", [](Trial &t) {
		for (const Ip from : special_ips)
			t.drops("address", t.uplink, tunnelled(udp(vm1_mac, remote1_mac, from, vm1_ip)));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_INNER_NOT_UNICAST, "MAC and address", [](Trial &t) {
		for (const Mac to : {broadcast, group_mac, vm1_mac | Mac{1} << 40})
			t.drops("MAC", t.uplink, tunnelled(udp(to, remote1_mac, remote1_ip, vm1_ip)));
		for (const Ip to : special_ips)
			t.drops("address", t.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, to)));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_VSID_PA_MISMATCH, "a host of another virtual subnet", [](Trial &t) {
		t.add_record(subnet2, ip(10, 0, 2, 44), stranger_mac, other_pa);
		const Bytes inner = udp(vm1_mac, stranger_mac, ip(10, 0, 1, 44), vm1_ip);
		t.drops("in subnet 1", t.uplink, tunnel_from(other_pa, inner));
		t.drops("before INNER_SOURCE_CA_PA", t.uplink, tunnel_from(other_pa, remote1_to_vm1()));
		t.drops("routed from subnet 1", t.uplink, tunnel_from(other_pa, udp(vm3_mac, remote1_mac, remote1_ip, vm3_ip), subnet2));
		t.add_record(subnet1, ip(10, 0, 1, 44), stranger_mac, other_pa);
		t.passes(t.uplink, tunnel_from(other_pa, inner), t.vm1);
	}},
	{APUS_DROP_VSID_PA_MISMATCH, "also without source validation", [](Trial &t) {
		t.add_record(subnet2, ip(10, 0, 2, 44), stranger_mac, other_pa);
		t.drops(t.uplink, tunnel_from(other_pa, remote1_to_vm1()));
		t.passes(t.uplink, tunnel(), t.vm1);
	}, [](Trial &t) { t.opts.flags = APUS_DATAPLANE_NO_SOURCE_VALIDATION; }},
	{APUS_DROP_INNER_SOURCE_MISSING, "no record", [](Trial &t) {
		const Bytes switched = tunnelled(udp(vm1_mac, remote1_mac, stranger_ip, vm1_ip));
		const Bytes routed = tunnelled(udp(vm3_mac, remote1_mac, stranger_ip, vm3_ip), subnet2);
		t.drops("switched", t.uplink, switched);
		t.drops("routed", t.uplink, routed);
		passes_with(t, APUS_DATAPLANE_NO_SOURCE_VALIDATION, switched);
		t.add_record(subnet1, stranger_ip, remote1_mac, remote_pa);
		t.passes(t.uplink, switched, t.vm1);
		t.passes(t.uplink, routed, t.vm3);
	}},
	{APUS_DROP_INNER_SOURCE_CA_PA, "of another host", [](Trial &t) {
		const Bytes wrong = tunnelled(udp(vm1_mac, vm2_mac, vm2_ip, vm1_ip));
		t.drops("ours", t.uplink, wrong);
		t.add_record(subnet1, stranger_ip, stranger_mac, other_pa);
		t.drops("another remote host's", t.uplink, tunnelled(udp(vm1_mac, stranger_mac, stranger_ip, vm1_ip)));
		t.passes(t.uplink, tunnel_from(other_pa, udp(vm1_mac, stranger_mac, stranger_ip, vm1_ip)), t.vm1);
		passes_with(t, APUS_DATAPLANE_NO_SOURCE_VALIDATION, wrong);
	}},
	{APUS_DROP_INNER_SOURCE_CA_MAC, "of another machine", [](Trial &t) {
		const Bytes wrong = tunnelled(udp(vm1_mac, stranger_mac, remote1_ip, vm1_ip));
		t.drops("switched", t.uplink, wrong);
		t.drops("routed", t.uplink, tunnelled(udp(vm3_mac, stranger_mac, remote1_ip, vm3_ip), subnet2));
		t.passes(t.uplink, tunnel(), t.vm1);
		t.passes(t.uplink, tunnelled(udp(vm3_mac, remote1_mac, remote1_ip, vm3_ip), subnet2), t.vm3);
		passes_with(t, APUS_DATAPLANE_NO_SOURCE_VALIDATION, wrong);
	}},
	{APUS_DROP_INNER_DESTINATION_MISSING, "no record", [](Trial &t) {
		t.drops("unknown", t.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip)));
		t.drops("of another subnet", t.uplink, tunnelled(udp(vm3_mac, remote1_mac, remote1_ip, vm3_ip)));
		t.add_record(subnet1, stranger_ip, vm1_mac, our_pa);
		t.passes(t.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip)), t.vm1);
	}},
	{APUS_DROP_INNER_DESTINATION_CA_PA, "on another host, or another address of this one", [](Trial &t) {
		t.drops("remote", t.uplink, tunnelled(udp(remote1_mac, remote1_mac, remote1_ip, remote1_ip)));
		t.add_pa(other_pa, t.uplink, our_pa_mac);
		t.drops("another address", t.uplink, tunnel_to(other_pa));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_INNER_DESTINATION_CA_MAC, "of another machine", [](Trial &t) {
		for (const Mac to : {vm2_mac, stranger_mac, router_mac})
			t.drops("MAC", t.uplink, tunnelled(udp(to, remote1_mac, remote1_ip, vm1_ip)));
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_ECN, "CE outside, Not-ECT inside", [](Trial &t) {
		const auto marked = [](std::uint8_t outer_tos, std::uint8_t inner_tos) {
			build::Ip4 outer = outer_ip();
			outer.tos = outer_tos;
			return build::nvgre(outer_ethernet(), outer, subnet1, 0x42, remote1_to_vm1(inner_tos));
		};
		t.drops("first packet", t.uplink, marked(3, 0));
		t.drops("with DSCP", t.uplink, marked(0xB8 | 3, 0xB8));
		for (const std::uint8_t inner : {1, 2, 3})
			t.passes(t.uplink, marked(3, inner), t.vm1);
		for (const std::uint8_t outer : {0, 1, 2})
			t.passes(t.uplink, marked(outer, 0), t.vm1);
		t.drops("flow is known", t.uplink, marked(3, 0));
	}},
	{APUS_DROP_PROVIDER_ARP_MALFORMED, "each field", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_arp(remote_arp(1))) {
			t.drops(what, t.uplink, bytes);
			t.drops(what, t.uplink, tagged(bytes, 1, 0x8100, 0));
		}
		t.passes(t.uplink, remote_arp(1), t.uplink);
		t.consumes(t.uplink, remote_arp(2));
	}},
	{APUS_DROP_PROVIDER_ARP_MALFORMED, "sender MAC", [](Trial &t) {
		const auto from = [](Mac ethernet, Mac sender) {
			return build::arp({our_pa_mac, ethernet, 0, model::type_arp}, {1, sender, remote_pa, 0, our_pa});
		};
		t.drops("zero", t.uplink, from(0, 0));
		t.drops("broadcast", t.uplink, from(broadcast, broadcast));
		t.drops("group", t.uplink, from(group_mac, group_mac));
		t.drops("not the Ethernet source", t.uplink, from(remote_pa_mac, stranger_mac));
		t.passes(t.uplink, from(stranger_mac, stranger_mac), t.uplink);
	}},
};

// ---- one case or more for each counter -------------------------------------------------------------------------------

/// RFC 792, from the gateway: it quotes the packet as it was sent.
void check_error(Trial &t, const std::vector<Sent> &sent, std::uint8_t type, std::uint8_t code, std::uint16_t mtu, const Bytes &packet)
{
	const bool is_sent = sent.size() == 1 && sent[0].port == t.vm1 && sent[0].flags == APUS_FRAME_GENERATED;
	t.check(is_sent, "no error went to the sender");
	if (!is_sent)
		return;
	const Bytes &error = sent[0].bytes;
	const auto ip = model::IpPacket::parse(model::type_ipv4, error, 14);
	t.check(model::get_mac(error, 0) == vm1_mac && model::get_mac(error, 6) == router_mac, "its MAC addresses are wrong");
	t.check(ip && ip->source == gateway1 && ip->destination == vm1_ip && ip->protocol == 1 && ip->end() == error.size() &&
			model::internet_checksum(error, 14, 20) == 0, "its IP header is wrong");
	t.check(error[34] == type && error[35] == code && model::get16(error, 38) == 0 && model::get16(error, 40) == mtu &&
			model::internet_checksum(error, 34, error.size() - 34) == 0, "its ICMP header is wrong");
	t.check(std::equal(error.begin() + 42, error.end(), packet.begin() + 14), "what it quotes is not the packet");
}

Bytes spoofed() { return udp(vm2_mac, stranger_mac, vm1_ip, vm2_ip); }
/// A flow of vm1's of its own.
Bytes flow(std::uint32_t number, Mac to = vm2_mac)
{
	Bytes frame = udp(to, vm1_mac, vm1_ip, vm2_ip);
	model::put32(frame, gre_at, number);  // ports
	return frame;
}

const CounterCase counter_cases[] = {
	{"received", "sent, dropped and consumed alike", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, spoofed()), t.frame(t.vm1, vm1_arp(vm1_ip))});
		t.moved(burst(3, 58 + 58 + 42, 1, 58) + new_flow + new_flow + Moves{{&Stats::consumed, 1}, {&Stats::switched, 1}}, 1);
	}},
	{"received", "more than a chunk of the pipeline", [](Trial &t) {
		t.mark();
		t.process(std::vector<Frame>(200, t.frame(t.vm1, vm1_to_vm2())));
		t.moved(burst(200, 200 * 58, 200, 200 * 58) + new_flow + Moves{{&Stats::flow_hits, 199}, {&Stats::switched, 200}});
	}},
	{"received", "sum over workers, living and destroyed", [](Trial &t) {
		struct apus_worker *other = nullptr;
		MUST(apus_worker_create(t.dataplane, &t.worker_opts, &other));
		t.mark();
		t.send(t.vm1, vm1_to_vm2());
		std::swap(t.worker, other);
		t.send(t.vm1, vm1_to_vm2());
		const auto both = burst(2, 116, 2, 116) + Moves{{&Stats::bursts, 1}, {&Stats::switched, 2},
								{&Stats::flow_misses, 2}, {&Stats::flow_inserts, 2}};
		const PortMoves ports = {{t.vm1, {{&PortStats::received, 2}, {&PortStats::received_bytes, 116}}},
					 {t.vm2, {{&PortStats::transmitted, 2}, {&PortStats::transmitted_bytes, 116}}}};
		t.moved(both + Moves{{&Stats::flow_entries, 2}});
		t.check(t.stats().received == 1, "of one worker");
		t.destroy_worker();
		t.moved(both + Moves{{&Stats::flow_entries, 1}});
		t.ports_moved(ports);
		std::swap(t.worker, other);
		t.destroy_worker();
		t.moved(both);
		t.ports_moved(ports);
	}},
	{"transmitted", "to a port and into the tunnel", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, vm1_to_remote1())});
		t.moved(burst(2, 116, 2, 58 + 100) + new_flow + new_flow + Moves{{&Stats::switched, 1}, {&Stats::encapsulated, 1}});
	}},
	{"generated", "copies", [](Trial &t) {
		t.add_vm(subnet1, stranger_mac);
		t.add_vm(subnet1, stranger_mac + 1);
		t.mark();
		t.send(t.vm1, vm1_arp(stranger_ip));
		t.moved(burst(1, 42, 3, 126) + Moves{{&Stats::generated, 2}, {&Stats::switched, 3}});
	}},
	{"consumed", "announcement, question for itself, reply to nobody", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, vm1_arp(vm1_ip)), t.frame(t.vm1, vm_arp(vm1_mac, 0, vm1_ip)),
			   t.frame(t.vm1, vm_arp(vm1_mac, vm1_ip, vm2_ip, 2)), t.frame(t.uplink, remote_answer())});
		t.moved(burst(4, 4 * 42, 0, 0) + Moves{{&Stats::consumed, 4}});
	}},
	{"dropped", "sum of drops", [](Trial &t) {
		t.mark();
		t.process(std::vector<Frame>(3, t.frame(t.vm1, spoofed())));
		t.moved(burst(3, 174, 0, 0) + new_flow + Moves{{&Stats::flow_hits, 2}}, 3);
	}},
	{"held", "up while a next hop is asked for, down when it answers", [](Trial &t) {
		t.remove_neighbor(remote_pa);
		t.mark();
		t.process(std::vector<Frame>(3, t.frame(t.vm1, vm1_to_remote1())));
		t.moved(burst(3, 174, 1, 42) + Moves{{&Stats::held, 3}, {&Stats::generated, 1}, {&Stats::arp_requests, 1}, {&Stats::flow_misses, 3}});
		t.mark();
		t.send(t.uplink, remote_answer());
		t.moved(burst(1, 42, 3, 300) + Moves{{&Stats::held, -3}, {&Stats::consumed, 1}, {&Stats::encapsulated, 3}}, 0, flow_counters);
	}},
	{"received_bytes", "with tag and padding", [](Trial &t) {
		t.mark();
		t.send(t.vm1, padded(tagged(vm1_to_remote1())));
		t.moved(burst(1, 58 + 4 + 10, 1, 58 + 42) + Moves{{&Stats::encapsulated, 1}}, 0, flow_counters);
	}},
	{"received_bytes", "beyond what is contiguous", [](Trial &t) {
		Frame frame = t.frame(t.vm1, udp(vm2_mac, vm1_mac, vm1_ip, vm2_ip, 64, 0, 1400));
		frame.contiguous = APUS_CONTIGUOUS;
		t.mark();
		t.process({frame});
		t.moved(burst(1, 1438, 1, 1438) + new_flow + Moves{{&Stats::switched, 1}});
	}},
	{"transmitted_bytes", "padding stays between ports, not in tunnels", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, padded(vm1_to_vm2())), t.frame(t.vm1, padded(vm1_to_remote1()))});
		t.moved(burst(2, 136, 2, 68 + 100) + new_flow + new_flow + Moves{{&Stats::switched, 1}, {&Stats::encapsulated, 1}});
	}},
	{"transmitted_bytes", "with an outer tag", [](Trial &t) {
		const auto vlan = objects::provider_address(our_pa, {t.uplink, 24, 7, our_pa_mac});
		MUST(apus_provider_address_set(t.dataplane, &vlan));
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.moved(burst(1, 58, 1, 104) + new_flow + Moves{{&Stats::encapsulated, 1}});
	}},
	{"encapsulated", "switched and routed", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.vm1, vm1_to_remote2()), t.frame(t.vm1, vm1_to_remote2())});
		t.moved(burst(3, 174, 3, 300) + new_flow + new_flow + Moves{{&Stats::encapsulated, 3}, {&Stats::routed, 2}, {&Stats::flow_hits, 1}});
	}},
	{"encapsulated", "routed, on a way that others are switched on", [](Trial &t) {
		// In bursts of their own: the second packet of a flow in its first burst is looked at step by step.
		const auto twice = [&t](std::uint32_t port, const Bytes &bytes, std::int64_t routed) {
			t.mark();
			const auto first = t.send(port, bytes);
			t.moved(burst(1, 58, 1, 100) + new_flow + Moves{{&Stats::encapsulated, 1}, {&Stats::routed, routed}});
			t.mark();
			const auto second = t.send(port, bytes);
			t.moved(burst(1, 58, 1, 100) + Moves{{&Stats::encapsulated, 1}, {&Stats::routed, routed}, {&Stats::flow_hits, 1}});
			t.check(first.size() == 1 && second.size() == 1 && first[0].bytes == second[0].bytes, "the second packet differs");
		};
		const Bytes switched = udp(remote2_mac, vm3_mac, vm3_ip, remote2_ip);
		twice(t.vm3, switched, 0);
		twice(t.vm1, vm1_to_remote2(), 1);
		twice(t.vm3, with16(switched, ip_at + 20, 77), 0);
	}},
	{"decapsulated", "VM networks that use the same addresses", [](Trial &t) {
		std::vector<std::uint32_t> machines;
		for (unsigned i = 0; i < 100; i++) {
			const Vsid vsid = 8000 + i;
			t.add_route(vsid, {ip(10, 0, 1, 0), 24}, {}, static_cast<std::uint8_t>(100 + i));
			t.add_record(vsid, vm1_ip, vm1_mac, our_pa);
			t.add_record(vsid, remote1_ip, remote1_mac + (i << 8), remote_pa);
			machines.push_back(t.add_vm(vsid, vm1_mac));
		}
		std::vector<Frame> frames;
		for (unsigned i = 0; i < 100; i++)
			frames.push_back(t.frame(t.uplink, tunnelled(udp(vm1_mac, remote1_mac + (i << 8), remote1_ip, vm1_ip), 8000 + i)));
		t.mark();
		const auto sent = t.process(frames);
		t.moved(burst(100, 10000, 100, 5800) + Moves{{&Stats::flow_misses, 100}, {&Stats::flow_inserts, 100}, {&Stats::flow_entries, 100}, {&Stats::decapsulated, 100}});
		for (std::size_t i = 0; i < sent.size(); i++)
			t.check(sent[i].port == machines[i], "another one's machine has it");
	}},
	{"decapsulated", "first and second packet", [](Trial &t) {
		t.mark();
		t.process(std::vector<Frame>(2, t.frame(t.uplink, tunnel())));
		t.moved(burst(2, 200, 2, 116) + new_flow + Moves{{&Stats::decapsulated, 2}, {&Stats::flow_hits, 1}});
	}},
	{"switched", "first and second packet, ARP reply", [](Trial &t) {
		const Bytes reply = build::arp({vm2_mac, vm1_mac, 0, model::type_arp}, {2, vm1_mac, vm1_ip, vm2_mac, vm2_ip});
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, reply)});
		t.moved(burst(3, 158, 3, 158) + new_flow + Moves{{&Stats::switched, 3}, {&Stats::flow_hits, 1}});
	}},
	{"routed", "on this host", [](Trial &t) {
		t.mark();
		t.process(std::vector<Frame>(2, t.frame(t.vm1, vm1_to_vm3())));
		t.moved(burst(2, 116, 2, 116) + new_flow + Moves{{&Stats::routed, 2}, {&Stats::flow_hits, 1}});
	}},
	{"flow_hits", "within a burst and in the next", [](Trial &t) {
		t.send(t.vm1, vm1_to_vm2());
		t.mark();
		t.process(std::vector<Frame>(5, t.frame(t.vm1, vm1_to_vm2())));
		t.moved(burst(5, 290, 5, 290) + Moves{{&Stats::flow_hits, 5}, {&Stats::switched, 5}});
	}},
	{"flow_misses", "not found", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, flow(1)), t.frame(t.vm1, flow(2)), t.frame(t.vm1, flow(1))});
		t.moved(burst(3, 174, 3, 174) + new_flow + new_flow + Moves{{&Stats::flow_hits, 1}, {&Stats::switched, 3}});
	}},
	{"flow_misses", "no longer valid; other tenants' are", [](Trial &t) {
		constexpr Vsid subnet3 = 7000;
		const std::uint32_t vm4 = t.add_vm(subnet3, vm1_mac);
		t.add_vm(subnet3, vm2_mac);
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(vm4, vm1_to_vm2())});
		t.add_route(subnet1, {ip(10, 0, 9, 0), 24}, remote1_ip);
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(vm4, vm1_to_vm2())});
		t.moved(burst(2, 116, 2, 116) + Moves{{&Stats::flow_misses, 1}, {&Stats::flow_inserts, 1}, {&Stats::flow_hits, 1}, {&Stats::switched, 2}});
	}},
	{"flow_misses", "records of other addresses make no difference, those of both addresses and of gateways do", [](Trial &t) {
		const Bytes switched = vm1_to_remote1(), route = vm1_to_remote2(), in = tunnelled(remote1_to_vm1());
		const auto misses = [&](std::int64_t count, const char *what) {
			t.mark();
			t.process({t.frame(t.vm1, switched), t.frame(t.vm1, route), t.frame(t.uplink, in)});
			t.moved({{&Stats::flow_misses, count}, {&Stats::flow_inserts, count}, {&Stats::flow_hits, 3 - count}}, 0,
				{"received", "received_bytes", "transmitted", "transmitted_bytes", "encapsulated", "decapsulated", "routed", "bursts", "flow_entries"});
			t.check(true, what);
		};
		const auto set = [&](Vsid vsid, const Ip &ca, Mac mac, const Ip &pa) {
			const auto object = objects::record({vsid, ca}, {mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, pa});
			MUST(apus_lookup_record_set(t.dataplane, &object));
		};
		misses(3, "first packets");
		misses(0, "known");
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa);
		misses(0, "another machine came");
		set(subnet1, stranger_ip, stranger_mac, our_pa);
		misses(0, "and moved");
		t.remove_record(subnet1, stranger_ip);
		misses(0, "and went");
		set(subnet1, remote1_ip, remote1_mac, remote_pa);
		misses(2, "the record of remote1: out and in");
		set(subnet2, remote2_ip, remote2_mac, remote_pa);
		misses(1, "the record of remote2");
		set(subnet1, vm1_ip, vm1_mac, our_pa);
		misses(3, "the record of vm1");
		t.add_record(subnet1, gateway1, router_mac, our_pa);
		misses(3, "the record of a gateway");
		t.remove_record(subnet1, gateway1);
		misses(3, "the record of a gateway goes");
	}},
	{"flow_inserts", "one for each flow, dropped ones too; none for ARP", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, flow(1)), t.frame(t.vm1, flow(2)), t.frame(t.vm1, spoofed()), t.frame(t.vm1, vm1_arp(vm1_ip))});
		t.moved(burst(4, 3 * 58 + 42, 2, 116) + new_flow + new_flow + new_flow + Moves{{&Stats::consumed, 1}, {&Stats::switched, 2}}, 1);
	}},
	{"flow_evictions", "a tenant displaces its own flows", [](Trial &t) {
		constexpr std::int64_t flows = 4096, capacity = 64;
		t.mark();
		for (std::uint32_t i = 0; i < flows; i++)
			t.send(t.vm1, flow(i));
		t.moved({{&Stats::received, flows}, {&Stats::received_bytes, flows * 58},
			 {&Stats::transmitted, flows}, {&Stats::transmitted_bytes, flows * 58},
			 {&Stats::bursts, flows}, {&Stats::switched, flows}, {&Stats::flow_misses, flows}, {&Stats::flow_inserts, flows},
			 {&Stats::flow_evictions, flows - capacity}, {&Stats::flow_entries, capacity}});
	}, [](Trial &t) { t.worker_opts.flow_capacity = 64; }},
	{"flow_evictions", "a flow whose place was taken in this burst is not sent to where the newcomer goes", [](Trial &t) {
		constexpr int capacity = 256;
		const auto numbered = [](Bytes frame, int number) { return with16(frame, ip_at + 20, static_cast<std::uint16_t>(number)); };
		for (int i = 0; i < 4 * capacity; i++)
			t.send(t.vm1, numbered(vm1_to_vm2(), i));
		for (int round = 0; round < 32; round++) {
			std::vector<Frame> frames;
			for (int i = 0; i < 32; i++)
				frames.push_back(t.frame(t.vm1, numbered(vm1_to_vm3(), 5000 + 32 * round + i)));
			for (int i = 0; i < 32; i++)
				frames.push_back(t.frame(t.vm1, numbered(vm1_to_vm2(), 3 * capacity + 8 * round % capacity + i)));
			const auto sent = t.process(frames);
			t.check(sent.size() == frames.size(), "not all were sent");
			for (std::size_t i = 0; i < sent.size(); i++)
				t.check(sent[i].port == (i < 32 ? t.vm3 : t.vm2), "it went to another machine");
		}
		t.mark();
		t.send(t.vm1, numbered(vm1_to_vm3(), 4000));
		t.moved(burst(1, 58, 1, 58) + Moves{{&Stats::flow_misses, 1}, {&Stats::flow_inserts, 1}, {&Stats::flow_evictions, 1}, {&Stats::routed, 1}});
	}},
	{"flow_suppressed", "a tenant does not displace those of smaller ones", [](Trial &t) {
		// Sixteen other tenants fill the cache evenly; vm1's tenant then gets its share, and no more.
		std::vector<std::uint32_t> others;
		for (Vsid vsid = 7000; vsid < 7016; vsid++) {
			others.push_back(t.add_vm(vsid, vm1_mac));
			t.add_vm(vsid, vm2_mac);
		}
		for (std::uint32_t i = 0; i < 64; i++)
			for (const std::uint32_t port : others)
				t.send(port, flow(i));
		t.check(t.totals().flow_entries == 64, "the cache is not full");
		const std::uint64_t before = t.totals().flow_suppressed;
		std::uint32_t number = 0;
		while (number < 10000 && t.totals().flow_suppressed == before)
			t.send(t.vm1, flow(++number));
		t.check(t.totals().flow_suppressed == before + 1, "no flow was suppressed");
		t.mark();
		t.process(std::vector<Frame>(5, t.frame(t.vm1, flow(number))));
		t.moved(burst(5, 290, 5, 290) + Moves{{&Stats::flow_misses, 5}, {&Stats::flow_suppressed, 5}, {&Stats::switched, 5}});
	}, [](Trial &t) { t.worker_opts.flow_capacity = 64; }},
	{"flow_entries", "up with new flows, unchanged by old ones", [](Trial &t) {
		t.mark();
		for (int round = 0; round < 2; round++)
			t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, vm1_to_vm3()), t.frame(t.uplink, tunnel())});
		t.check(t.totals().flow_entries == 3, "three flows");
		t.moved(burst(3, 216, 3, 174) + burst(3, 216, 3, 174) + new_flow + new_flow + new_flow +
			Moves{{&Stats::flow_hits, 3}, {&Stats::switched, 2}, {&Stats::routed, 2}, {&Stats::decapsulated, 2}});
	}},
	{"arp_replies", "both sides", [](Trial &t) {
		const Moves answered = {{&Stats::consumed, 1}, {&Stats::generated, 1}, {&Stats::arp_replies, 1}};
		t.mark();
		const auto sent = t.process({t.frame(t.vm1, vm1_arp(gateway1)), t.frame(t.vm1, padded(vm1_arp(remote1_ip), 18)),
					     t.frame(t.uplink, remote_arp(1))});
		t.moved(burst(3, 42 + 60 + 42, 3, 126) + answered + answered + answered);
		t.check(std::all_of(sent.begin(), sent.end(), [](const Sent &one) { return one.flags == APUS_FRAME_GENERATED; }), "flags");
	}},
	{"arp_requests", "one at once, then one for each retry interval", [](Trial &t) {
		const Moves asked = {{&Stats::generated, 1}, {&Stats::arp_requests, 1}};
		t.remove_neighbor(remote_pa);
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.moved(burst(1, 58, 1, 42) + asked + Moves{{&Stats::held, 1}, {&Stats::flow_misses, 1}});
		using Step = std::pair<std::uint64_t, bool>;
		for (const auto &[wait, asks] : {Step{second - 1, false}, Step{1, true}, Step{second, true}}) {
			t.now += wait;
			t.mark();
			t.idle();
			t.moved(burst(0, 0, asks ? 1 : 0, asks ? 42 : 0) + (asks ? asked : Moves{}));
		}
	}},
	{"echo_replies", "each gateway of the routing domain", [](Trial &t) {
		const Moves answered = {{&Stats::consumed, 1}, {&Stats::generated, 1}, {&Stats::echo_replies, 1}};
		const std::size_t size = vm1_ping(gateway1).size();
		t.mark();
		t.process({t.frame(t.vm1, vm1_ping(gateway1)), t.frame(t.vm1, vm1_ping(gateway2)), t.frame(t.vm1, vm1_ping(gateway1))});
		t.moved(burst(3, 3 * size, 3, 3 * size) + new_flow + new_flow + answered + answered + answered + Moves{{&Stats::flow_hits, 1}});
	}},
	{"icmp_errors", "time exceeded from the gateway", [](Trial &t) {
		const Bytes wrong = udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1, 0, 2000);
		t.mark();
		const auto sent = t.send(t.vm1, wrong);
		t.moved(burst(1, wrong.size(), 1, 14 + 576) + new_flow + told, 1);
		check_error(t, sent, 11, 0, 0, wrong);
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"icmp_errors", "fragmentation needed, also within a virtual subnet", [](Trial &t) {
		for (const auto &[mac, ca] : {std::pair(remote1_mac, remote1_ip), std::pair(router_mac, remote2_ip)}) {
			const Bytes wrong = udp(mac, vm1_mac, vm1_ip, ca, 64, 0, 1501 - 24);
			t.mark();
			const auto sent = t.send(t.vm1, wrong);
			t.moved(burst(1, wrong.size(), 1, 14 + 576) + new_flow + told, 1);
			check_error(t, sent, 3, 4, 1500, wrong);
		}
	}, nullptr, APUS_DROP_MTU_EXCEEDED},
	{"icmp_errors", "not about errors, later fragments and damaged packets", [](Trial &t) {
		build::Ip4 header;
		header.source = vm1_ip;
		header.destination = remote2_ip;
		header.ttl = 1;
		header.protocol = 1;
		const auto silent = [&](const Bytes &frame) {
			t.mark();
			t.check(t.send(t.vm1, frame).empty(), "an error was sent");
			t.moved(burst(1, frame.size(), 0, 0), 1, flow_counters);
		};
		for (const std::uint8_t type : {3, 4, 5, 9, 10, 11, 12, 19, 255})
			silent(build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, build::icmp(type, 0, 1, 1, 24)));
		silent(build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, {}));
		header.protocol = 17;
		header.fragment = 1;
		silent(build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, build::transport(1, 2, 20)));
		Bytes damaged = udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1);
		damaged[24] ^= 1;
		silent(damaged);
		header.protocol = 1;
		header.fragment = 0x2000;  // the first of several
		const Bytes ping = build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, build::icmp(8, 0, 1, 1, 24));
		t.mark();
		check_error(t, t.send(t.vm1, ping), 11, 0, 0, ping);
		t.moved(burst(1, ping.size(), 1, ping.size() + 28) + told, 1, flow_counters);
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"icmp_suppressed", "a burst of ten, then a hundred in a second", [](Trial &t) {
		const Bytes wrong = udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1);
		t.mark();
		for (int i = 0; i < 25; i++)
			t.send(t.vm1, wrong);
		t.check(t.totals().icmp_errors == 10, "not ten at once");
		t.send(t.vm2, udp(router_mac, vm2_mac, vm2_ip, remote2_ip, 1));  // another machine's errors are its own
		t.check(t.totals().icmp_errors == 11, "one port's errors suppress those of another");
		t.now += second / 100;
		t.send(t.vm1, wrong);
		t.send(t.vm1, wrong);
		Moves moves = burst(28, 28 * wrong.size(), 12, 12 * (wrong.size() + 28)) + Moves{{&Stats::bursts, 27}, {&Stats::icmp_suppressed, 16}};
		for (int i = 0; i < 12; i++)
			moves = moves + told;
		t.moved(moves, 28, flow_counters);
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"fragmented", "a packet of three", [](Trial &t) {
		build::Ip4 header;
		header.source = vm1_ip;
		header.destination = remote2_ip;
		header.fragment = 0;
		const Bytes packet = build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, build::transport(1, 2, 3000));
		t.mark();
		const auto sent = t.send(t.vm1, packet);
		t.check(sent.size() == 3, "not three fragments");
		std::size_t at = 0;
		for (const Sent &one : sent) {
			const auto ip = model::IpPacket::parse(model::type_ipv4, one.bytes, 42 + 14);
			t.check(one.port == t.uplink && ip && ip->total_length <= 1500 && ip->ttl == 63, "not a fragment in a tunnel");
			t.check((model::get16(one.bytes, ip->at + 6) & 0x1FFF) * 8u == at, "the offset is wrong");
			t.check(std::equal(one.bytes.begin() + static_cast<std::ptrdiff_t>(ip->payload()), one.bytes.end(),
					   packet.begin() + static_cast<std::ptrdiff_t>(34 + at)), "the payload is wrong");
			at += ip->total_length - 20;
		}
		t.check(at == 3004, "something is missing");
		t.moved(burst(1, packet.size(), 3, packet.size() + 2 * 34 + 3 * 42) + new_flow +
			Moves{{&Stats::consumed, 1}, {&Stats::generated, 3}, {&Stats::encapsulated, 3}, {&Stats::routed, 3}, {&Stats::fragmented, 1}});
	}},
	{"bursts", "with and without frames", [](Trial &t) {
		t.mark();
		t.idle();
		t.idle();
		t.idle();
		t.moved({{&Stats::bursts, 3}});
		t.ports_moved({});
	}},

	{"port received", "and its bytes, dropped or not", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, vm1_to_vm2()), t.frame(t.vm1, Bytes(3)), t.frame(t.vm2, padded(vm_arp(vm1_mac, 0, vm2_ip)))});
		t.ports_moved({{t.vm1, {{&PortStats::received, 2}, {&PortStats::received_bytes, 61}, {&PortStats::dropped, 1}}},
			       {t.vm2, {{&PortStats::received, 1}, {&PortStats::received_bytes, 52}, {&PortStats::dropped, 1},
					{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 58}}}});
	}},
	{"port received_bytes", "beyond what is contiguous", [](Trial &t) {
		Frame frame = t.frame(t.uplink, tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, vm1_ip, 64, 0, 1000)));
		frame.contiguous = APUS_CONTIGUOUS;
		t.mark();
		t.process({frame});
		t.ports_moved({{t.uplink, {{&PortStats::received, 1}, {&PortStats::received_bytes, 1080}}},
			       {t.vm1, {{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 1038}}}});
	}},
	{"port transmitted", "answers go back to where the question came from", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, padded(vm1_arp(gateway1))), t.frame(t.uplink, remote_arp(1))});
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 52},
					{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 42}}},
			       {t.uplink, {{&PortStats::received, 1}, {&PortStats::received_bytes, 42},
					   {&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 42}}}});
	}},
	{"port transmitted_bytes", "outer header, requests", [](Trial &t) {
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 58}}},
			       {t.uplink, {{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 100}}}});
		t.remove_neighbor(remote_pa);
		t.mark();
		t.send(t.vm1, vm1_to_remote1());
		t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, 58}}},
			       {t.uplink, {{&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, 42}}}});
	}},
	{"port dropped", "of the ingress port only", [](Trial &t) {
		t.mark();
		t.process({t.frame(t.vm1, spoofed()), t.frame(t.vm1, spoofed()),
			   t.frame(t.uplink, with16(tunnel(), 12, 0x88B5)), t.frame(999, vm1_to_vm2())});
		t.ports_moved({{t.vm1, {{&PortStats::received, 2}, {&PortStats::received_bytes, 116}, {&PortStats::dropped, 2}}},
			       {t.uplink, {{&PortStats::received, 1}, {&PortStats::received_bytes, 100}, {&PortStats::dropped, 1}}}});
	}},
	{"port dropped", "a new port starts at zero", [](Trial &t) {
		t.process(std::vector<Frame>(3, t.frame(t.vm1, spoofed())));
		t.mark();
		t.add_vm(subnet1, stranger_mac);
		MUST(apus_port_remove(t.dataplane, t.vm1));
		t.add_vm(subnet1, vm1_mac);
		t.ports_moved({});
		const std::uint32_t vm5 = t.add_vm(subnet1, stranger_mac + 1);
		t.mark();
		t.send(vm5, spoofed());
		t.ports_moved({{vm5, {{&PortStats::received, 1}, {&PortStats::received_bytes, 58}, {&PortStats::dropped, 1}}}});
	}},
};

// ---- running them ----------------------------------------------------------------------------------------------------

void open(Trial &t, void (*prepare)(Trial &), bool with_ipv6)
{
	if (prepare != nullptr)
		prepare(t);
	t.open_with_policy();
	if (with_ipv6)
		t.add_ipv6();
}

void run(const DropCase &one, bool with_ipv6, std::set<Reason> &covered)
{
	Trial t(std::string(apus_drop_reason_name(one.reason)) + ", " + one.name, one.reason);
	open(t, one.prepare, with_ipv6);
	one.run(t);
	if (t.totals().drops[one.reason] != 0)
		covered.insert(one.reason);
	t.finish();
}

void run(const CounterCase &one, bool with_ipv6, std::set<std::string> &covered)
{
	Trial t(std::string(one.counter) + ", " + one.name, one.reason);
	open(t, one.prepare, with_ipv6);
	one.run(t);
	t.check(t.has_moved(one.counter), "the case does not move its counter");
	covered.insert(one.counter);
	t.finish();
}

constexpr std::size_t field(std::string_view name)
{
	std::size_t i = 0;
	while (counters[i].name != name)
		i++;
	return i;
}

/// `of_machines`: what the cases of machines.cpp and broadcast.cpp counted.
void run_drop_cases(const Stats &of_machines)
{
	std::set<Reason> covered;
	for (const DropCase &one : drop_cases)
		run(one, false, covered);
	for (const auto *cases : {&ipv6_drop_cases, &peer_drop_cases})
		for (const DropCase &one : *cases)
			run(one, true, covered);
	for (const auto *cases : {&hosts::drop_cases, &external::drop_cases})
		for (const DropCase &one : *cases)
			run(one, false, covered);
	for (const Reason reason : {APUS_DROP_RECORD_UNUSABLE, APUS_DROP_REPLICATION_LIMIT, APUS_DROP_INNER_ARP_MALFORMED})
		if (of_machines.drops[reason] != 0)
			covered.insert(reason);
#define COVERED(name, value, windows, text) report::check(covered.count(APUS_DROP_##name) != 0, #name ": no case saw this drop reason");
	APUS_DROP_REASONS(COVERED)
#undef COVERED
}

void run_counter_cases(const Stats &of_machines)
{
	std::set<std::string> covered;
	for (const CounterCase &one : counter_cases)
		run(one, false, covered);
	for (const auto *cases : {&ipv6_counter_cases, &peer_counter_cases})
		for (const CounterCase &one : *cases)
			run(one, true, covered);
	for (const auto *cases : {&hosts::counter_cases, &external::counter_cases})
		for (const CounterCase &one : *cases)
			run(one, false, covered);
	for (const auto &[counter, value] : {counters[field("replicated")], counters[field("learned")], counters[field("learn_throttled")],
					     counters[field("events_lost")]})
		if (of_machines.*value != 0)
			covered.insert(counter);
	// The lists are the structs, field by field.
	const auto walk = [&](const auto &fields, const auto &object, const std::string &prefix, std::size_t offset) {
		for (const auto &[name, value] : fields) {
			const auto at = reinterpret_cast<const char *>(&(object.*value)) - reinterpret_cast<const char *>(&object);
			report::equal(at, static_cast<std::int64_t>(offset), prefix + name + ": place in its struct");
			report::check(covered.erase(prefix + name) != 0, prefix + name + ": no case for this counter");
			offset += sizeof(std::uint64_t);
		}
	};
	walk(counters, Stats{}, "", offsetof(Stats, received));
	walk(port_counters, PortStats{}, "port ", offsetof(PortStats, received));
	for (const std::string &name : covered)
		report::check(false, name + ": a case for a counter that does not exist");
}

void check_reason_texts()
{
	struct Row {
		const char *name, *text;
		std::uint32_t windows;
	};
	std::map<std::uint32_t, Row> rows;
	std::set<std::string> names, texts;
#define ROW(name, value, windows, text) \
	report::check(rows.emplace(value, Row{#name, text, windows}).second, #name ": another reason has its number"); \
	report::check(names.insert(#name).second && texts.insert(text).second, #name ": name or text is not its own"); \
	report::check(value > 0 && value < APUS_DROP_REASON_COUNT, #name ": number outside drops[]");
	APUS_DROP_REASONS(ROW)
#undef ROW
	const auto look = [&](std::uint32_t number) {
		const auto found = rows.find(number);
		const Row expected = found == rows.end() ? Row{"", "", 0} : found->second;
		const std::string what = "drop reason " + std::to_string(number);
		const char *name = apus_drop_reason_name(number), *text = apus_drop_reason_text(number);
		report::check(name != nullptr && std::strcmp(name, expected.name) == 0, what + ": name");
		report::check(text != nullptr && std::strcmp(text, expected.text) == 0, what + ": text");
		report::equal(apus_drop_reason_windows(number), expected.windows, what + ": windows");
	};
	for (std::uint32_t number = 0; number < 1024; number++)
		look(number);
	for (std::uint32_t bit = 10; bit < 32; bit++)
		for (const std::uint32_t low : {0u, 1u, 16u, 95u})  // a reason's number must not be looked at modulo something
			look(1u << bit | low);
	look(UINT32_MAX);
}

}  // namespace

int main()
{
	check_reason_texts();
	Stats of_machines = machines::run(machines::machine_cases);
	const Stats of_broadcast = machines::run(machines::broadcast_cases);
	for (std::size_t i = 0; i < (sizeof(Stats) - offsetof(Stats, received)) / sizeof(std::uint64_t); i++)
		(&of_machines.received)[i] += (&of_broadcast.received)[i];
	run_drop_cases(of_machines);
	run_counter_cases(of_machines);
	std::printf("%zu cases of machines, %zu of broadcast\n", machines::machine_cases.size(), machines::broadcast_cases.size());
	std::printf("%zu cases for drop reasons, %zu for counters\n",
		    std::size(drop_cases) + ipv6_drop_cases.size() + peer_drop_cases.size() + hosts::drop_cases.size() +
			    external::drop_cases.size(),
		    std::size(counter_cases) + ipv6_counter_cases.size() + peer_counter_cases.size() + hosts::counter_cases.size() +
			    external::counter_cases.size());
	return report::finish();
}
