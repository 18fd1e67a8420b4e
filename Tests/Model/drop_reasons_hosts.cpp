// SPDX-License-Identifier: Apache-2.0
// Drop reasons and counters of messages between hosts and of duplicate address detection. docs/pipeline.md 4.4 and 5.4.
#include "hosts.hpp"

namespace hosts {

namespace {

Moves consumed(const Bytes &bytes) { return burst(1, bytes.size(), 0, 0) + Moves{{&Stats::consumed, 1}}; }

void sends_unreachable(Trial &t) { t.opts.flags |= APUS_DATAPLANE_SEND_UNREACHABLE; }
void tells_once(Trial &t)
{
	sends_unreachable(t);
	t.opts.icmp_error_rate = 1;
}

}  // namespace

const std::vector<DropCase> drop_cases = {
	{APUS_DROP_CONTROL_UNTRUSTED, "from a host of another virtual subnet", [](Trial &t) {
		t.add_record(subnet2, ip(10, 0, 2, 44), 0x600060000244, other_pa);
		const auto from = [](Ip pa, bool is_redirect) { return tunnel_from(pa, control(is_redirect, pa, moved_pa, quoted(vm1_to_remote1()))); };
		t.drops("redirect", t.uplink, from(other_pa, true));
		t.drops("unreachable", t.uplink, from(other_pa, false));
		t.consumes_control(t.uplink, from(remote_pa, true));
		t.consumes_control(t.uplink, from(remote_pa, false));
	}},
	{APUS_DROP_INNER_NOT_UNICAST, "a machine has moved to a multicast address", [](Trial &t) {
		t.drops(t.uplink, tunnelled(control(true, remote_pa, ip(224, 0, 0, 9), quoted(vm1_to_remote1()))));
		t.consumes_control(t.uplink, tunnelled(redirect()));
	}},
	{APUS_DROP_OUTER_NOT_OURS, "an INVALID address does not receive", [](Trial &t) {
		t.passes(t.uplink, tunnel(), t.vm1);
		set(t, our_pa, APUS_ADDRESS_INVALID);
		t.drops(t.uplink, tunnel());
		set(t, our_pa, APUS_ADDRESS_DEPRECATED);
		t.passes(t.uplink, tunnel(), t.vm1);
		set(t, our_pa, APUS_ADDRESS_PREFERRED);
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_PROVIDER_ADDRESS_MISSING, "an INVALID address does not send", [](Trial &t) {
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
		set(t, our_pa, APUS_ADDRESS_INVALID);
		t.drops(t.vm1, vm1_to_remote1());
		// Its records stay local.
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);
		set(t, our_pa, 0);
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_OUTER_NOT_OURS, "a DUPLICATE address does not receive, known flows included", [](Trial &t) {
		set(t, our_pa, 0, detect);
		t.idle();  // a probe
		t.passes(t.uplink, tunnel(), t.vm1);
		t.passes(t.uplink, tunnel(), t.vm1);
		t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
		t.drops(t.uplink, tunnel());
		set(t, our_pa, 0, detect);
		t.idle();  // a probe
		t.passes(t.uplink, tunnel(), t.vm1);
	}},
	{APUS_DROP_PROVIDER_ADDRESS_MISSING, "a DUPLICATE address does not send, known flows and known tunnels included", [](Trial &t) {
		set(t, our_pa, 0, detect);
		t.idle();  // a probe
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
		t.send(t.uplink, arp(stranger_pa_mac, our_pa, remote_pa));
		t.drops("a known flow", t.vm1, vm1_to_remote1());
		t.drops("a new flow", t.vm1, udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip, 64, 0, 0));
		set(t, our_pa, 0);
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
};

const std::vector<CounterCase> counter_cases = {
	{"address_probes", "three probes and an announcement", [](Trial &t) {
		set(t, our_pa, 0, detect);
		for (unsigned i = 0; i < 4; i++) {
			t.mark();
			t.process({});
			t.moved(burst(0, 0, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::address_probes, 1}});
			t.now += retry;
		}
		t.mark();
		t.process({});
		t.moved(burst(0, 0, 0, 0));
	}},
	{"address_probes", "there is no buffer for one", [](Trial &t) {
		set(t, our_pa, 0, detect);
		t.buffers.refuse = true;
		t.mark();
		t.process({});
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::generated, 1}}, 1);
		t.buffers.refuse = false;
		t.now += retry;
		t.mark();
		t.process({});
		t.moved(burst(0, 0, 1, 42) + Moves{{&Stats::generated, 1}, {&Stats::address_probes, 1}});
	}, nullptr, APUS_DROP_NO_BUFFER},
	{"address_conflicts", "before and after detection", [](Trial &t) {
		set(t, our_pa, 0, detect);
		t.process({});
		const Bytes claim = arp(stranger_pa_mac, our_pa, remote_pa);
		t.mark();
		t.send(t.uplink, claim);
		t.moved(consumed(claim) + Moves{{&Stats::address_conflicts, 1}});
		t.mark();
		t.send(t.uplink, claim);
		t.moved(consumed(claim));
	}},
	{"control_messages", "both", [](Trial &t) {
		t.consumes_control(t.uplink, tunnelled(redirect()));
		t.consumes_control(t.uplink, tunnelled(unreachable()));
	}},
	{"unreachable_sent", "VSID_UNKNOWN", [](Trial &t) {
		const Bytes packet = tunnelled(remote1_to_vm1(), 7777);
		t.mark();
		const auto sent = t.send(t.uplink, packet);
		t.check(sent.size() == 1 && sent[0].port == t.uplink, "it is answered");
		const std::size_t size = 42 + 14 + 28 + 8 + remote1_to_vm1().size();
		t.moved(burst(1, packet.size(), 1, size) + Moves{{&Stats::generated, 1}, {&Stats::encapsulated, 1}, {&Stats::unreachable_sent, 1}}, 1, flow_counters);
	}, sends_unreachable, APUS_DROP_VSID_UNKNOWN},
	{"icmp_suppressed", "UNREACHABLE messages too", [](Trial &t) {
		const Bytes packet = tunnelled(udp(vm1_mac, remote1_mac, remote1_ip, stranger_ip));
		for (unsigned i = 0; i < 10; i++)
			t.check(t.send(t.uplink, packet).size() == 1, "of a burst of ten");
		t.mark();
		t.check(t.send(t.uplink, packet).empty(), "one too many");
		t.moved(burst(1, packet.size(), 0, 0) + Moves{{&Stats::icmp_suppressed, 1}}, 1, flow_counters);
		t.now += second;
		t.check(t.send(t.uplink, packet).size() == 1, "a second later");
	}, tells_once, APUS_DROP_INNER_DESTINATION_MISSING},
};

}  // namespace hosts
