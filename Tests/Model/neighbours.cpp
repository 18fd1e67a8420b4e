// SPDX-License-Identifier: Apache-2.0
#include "neighbours.hpp"

namespace model {

/// Workers' clocks differ: what another one did may lie ahead.
static std::uint64_t since(std::uint64_t then, std::uint64_t now)
{
	return now > then ? now - then : 0;
}

/// From `path.source`, which has `mac`.
static Bytes request(const Neighbour &neighbour, const Path &path, Mac mac, std::uint16_t vlan)
{
	const bool unicast = neighbour.known();
	if (path.next_hop.is_v6()) {
		const Ip to = unicast ? path.next_hop : solicited_node(path.next_hop);
		const Bytes header = ethernet_header(unicast ? neighbour.mac : multicast_mac(to), mac, vlan, type_ipv6);
		return neighbour_solicitation(header, path.source, mac, to, path.next_hop);
	}
	Bytes frame = ethernet_header(unicast ? neighbour.mac : 0xFFFFFFFFFFFF, mac, vlan, type_arp);
	Arp{1, mac, path.source, 0, path.next_hop}.append_to(frame);
	return frame;
}

void Neighbours::ask(const Policy &policy, Neighbour &neighbour, const Path &path, std::uint64_t now, const Send &send)
{
	neighbour.unanswered++;
	neighbour.last_request = now;
	neighbour.asked_through = path.port;
	if (path.behind != 0) {
		const Port &port = policy.ports.at(path.behind);
		neighbour.asked_vlan = port.vlan;
		return send(request(neighbour, path, port.mac, port.vlan), path.port);
	}
	const auto source = policy.provider_addresses.find(path.source);
	if (source == policy.provider_addresses.end())
		return;
	neighbour.asked_vlan = source->second.vlan;
	send(request(neighbour, path, source->second.mac, source->second.vlan), path.port);
}

Neighbours::Resolution Neighbours::resolve(const Policy &policy, const Settings &settings, const Path &path, Queue queue,
					   std::uint64_t now, const Send &send)
{
	const auto fixed = policy.static_neighbours.find(path.next_hop);
	if (path.behind == 0 && fixed != policy.static_neighbours.end())
		return {Resolution::Kind::known, fixed->second};

	Neighbour &neighbour = entries_[path.hop()];
	if (const auto forgotten = policy.forgotten.find(path.hop()); forgotten != policy.forgotten.end())
		neighbour.forgotten = forgotten->second;
	if (neighbour.state == Neighbour::State::reachable && since(neighbour.confirmed, now) >= settings.reachable_ns) {
		neighbour.state = Neighbour::State::probe;
		neighbour.unanswered = 0;
	}
	if (neighbour.state == Neighbour::State::probe) {
		// It is asked again only by packets: an old neighbour that nobody uses is left alone.
		const bool due = neighbour.unanswered == 0 || since(neighbour.last_request, now) >= settings.retry_ns;
		if (due && neighbour.unanswered < settings.retries) {
			ask(policy, neighbour, path, now, send);
		} else if (due) {
			neighbour.state = Neighbour::State::incomplete;
			neighbour.unanswered = 0;
		}
	}
	if (neighbour.known())
		return {Resolution::Kind::known, neighbour.mac};
	if (neighbour.state == Neighbour::State::failed) {
		if (since(neighbour.failed, now) < 4 * settings.retry_ns)
			return {Resolution::Kind::failed, 0};
		neighbour.state = Neighbour::State::incomplete;
		neighbour.unanswered = 0;
	}
	// The first packet that waits begins an attempt, unless a request is still young (packets that are gone sent it).
	if ((queue == Queue::empty || queue == Queue::shut) && since(neighbour.last_request, now) >= settings.retry_ns)
		neighbour.unanswered = 0;
	if ((queue == Queue::empty || queue == Queue::again || queue == Queue::shut) && neighbour.unanswered == 0)
		ask(policy, neighbour, path, now, send);
	return {Resolution::Kind::wait, 0};
}

void Neighbours::tick(const Policy &policy, const Settings &settings, const std::function<const Path *(const NextHop &)> &waits,
		      std::uint64_t now, const Send &send)
{
	for (auto &[hop, neighbour] : entries_) {
		if (hop.behind == 0 && policy.static_neighbours.count(hop.ip) != 0)
			continue;
		const Path *path = waits(hop);
		if (neighbour.state != Neighbour::State::incomplete || path == nullptr || since(neighbour.last_request, now) < settings.retry_ns)
			continue;
		if (neighbour.unanswered < settings.retries) {
			ask(policy, neighbour, *path, now, send);
		} else {
			neighbour.state = Neighbour::State::failed;
			neighbour.failed = now;
		}
	}
}

/// One of our provider addresses on this port and in this VLAN has the MAC.
static bool is_ours(const Policy &policy, std::uint32_t port, std::uint16_t vlan, Mac mac)
{
	for (const auto &[ip, address] : policy.provider_addresses)
		if (address.port == port && address.vlan == vlan && address.mac == mac && address.is_usable())
			return true;
	return false;
}

void Neighbours::learn(const Policy &policy, const NextHop &hop, Mac mac, std::uint32_t port, std::uint16_t vlan, bool answers, bool renews,
		       std::uint64_t now)
{
	const auto entry = entries_.find(hop);
	if (entry == entries_.end() || (hop.behind == 0 && policy.static_neighbours.count(hop.ip) != 0))
		return;
	Neighbour &neighbour = entry->second;
	const bool asked_here = (neighbour.unanswered != 0 || neighbour.known()) && neighbour.asked_through == port &&
				neighbour.asked_vlan == vlan;
	if (!asked_here || !(answers || (renews && neighbour.known())))
		return;
	if (neighbour.known() && neighbour.mac != mac && since(neighbour.mac_changed, now) < 1'000'000'000)
		return;
	if (neighbour.mac != mac)
		neighbour.mac_changed = now;
	neighbour.mac = mac;
	neighbour.state = Neighbour::State::reachable;
	neighbour.confirmed = now;
	neighbour.unanswered = 0;
}

std::optional<Claim> Claim::parse(const OuterEthernet &ethernet, const Bytes &frame)
{
	const Mac mac = get_mac(frame, 6);
	if (mac == 0 || is_group(mac))
		return std::nullopt;
	if (ethernet.type == type_arp) {
		const auto arp = Arp::parse(frame, ethernet.size);
		if (!arp || arp->sender_mac != mac)
			return std::nullopt;
		if (!arp->sender.is_unspecified())
			return Claim{arp->sender, mac, false};
		return arp->operation == 1 ? std::optional<Claim>({arp->target, mac, true}) : std::nullopt;
	}
	const IpPacket ip = *IpPacket::parse(type_ipv6, frame, ethernet.size);
	const auto message = Discovery::parse(frame, ip);
	if (!message || !message->names_only(mac))
		return std::nullopt;
	if (message->type == nd_neighbour_advertisement)
		return Claim{message->target, mac, false};
	return ip.source.is_unspecified() ? std::optional<Claim>({message->target, mac, true}) : std::nullopt;
}

Verdict Neighbours::arp(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame,
			std::uint64_t now)
{
	const auto arp = Arp::parse(frame, ethernet.size);
	if (!arp || arp->sender_mac == 0 || is_group(arp->sender_mac) || arp->sender_mac != get_mac(frame, 6))
		return Verdict::drop(APUS_DROP_PROVIDER_ARP_MALFORMED);

	// Step 3 before step 2: a request can be both learned from and answered.
	const bool to_us = is_ours(policy, port, ethernet.vlan, get_mac(frame, 0));
	learn(policy, {0, arp->sender}, arp->sender_mac, port, ethernet.vlan, arp->operation == 2 && to_us, true, now);

	const ProviderAddress *ours = policy.usable_address(arp->target);
	if (arp->operation == 1 && ours != nullptr && ours->port == port && ours->vlan == ethernet.vlan) {
		Bytes answer(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(ethernet.size));
		put_mac(answer, 0, arp->sender_mac);
		put_mac(answer, 6, ours->mac);
		Arp{2, ours->mac, arp->target, arp->sender_mac, arp->sender}.append_to(answer);
		return Verdict::answer(std::move(answer), Verdict::Work::arp_reply);
	}
	return Verdict::consume();
}

Verdict Neighbours::discovery(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame,
			      std::uint64_t now)
{
	const IpPacket ip = *IpPacket::parse(type_ipv6, frame, ethernet.size);
	const auto message = Discovery::parse(frame, ip);
	const Mac sender = get_mac(frame, 6);
	if (!message || sender == 0 || is_group(sender) || !message->names_only(sender))
		return Verdict::drop(APUS_DROP_PROVIDER_ND_MALFORMED);

	const bool is_solicitation = message->type == nd_neighbour_solicitation;
	const bool solicited = (message->flags & nd_solicited) != 0, overrides = (message->flags & nd_override) != 0;
	if (!is_solicitation) {
		const bool to_us = is_ours(policy, port, ethernet.vlan, get_mac(frame, 0));
		learn(policy, {0, message->target}, sender, port, ethernet.vlan, solicited && to_us, solicited || overrides, now);
		return Verdict::consume();
	}
	if (!message->source_macs.empty())
		learn(policy, {0, ip.source}, sender, port, ethernet.vlan, false, true, now);

	const ProviderAddress *ours = policy.usable_address(message->target);
	if (ours == nullptr || ours->port != port || ours->vlan != ethernet.vlan)
		return Verdict::consume();
	Bytes header(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(ethernet.size));
	put_mac(header, 0, sender);
	put_mac(header, 6, ours->mac);
	return Verdict::reply(neighbour_advertisement(header, message->target, ours->mac, ip.source, false, !ours->is_tentative()),
			      Verdict::Work::arp_reply);
}

/// Section 9.3.
Verdict Neighbours::arp_outside(const Policy &policy, std::uint32_t external, const OuterEthernet &ethernet, const Bytes &frame, std::uint64_t now)
{
	const Port &port = policy.ports.at(external);
	const auto arp = Arp::parse(frame, ethernet.size);
	if (!arp || arp->sender_mac == 0 || is_group(arp->sender_mac) || arp->sender_mac != get_mac(frame, 6))
		return Verdict::drop(APUS_DROP_PROVIDER_ARP_MALFORMED);
	learn(policy, {external, arp->sender}, arp->sender_mac, policy.device_of(external), port.vlan,
	      arp->operation == 2 && get_mac(frame, 0) == port.mac, true, now);
	if (arp->operation != 1 || !port.v4 || port.v4->address != arp->target)
		return Verdict::consume();
	Bytes answer(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(ethernet.size));
	put_mac(answer, 0, arp->sender_mac);
	put_mac(answer, 6, port.mac);
	Arp{2, port.mac, arp->target, arp->sender_mac, arp->sender}.append_to(answer);
	return Verdict::answer(std::move(answer), Verdict::Work::arp_reply);
}

Verdict Neighbours::discovery_outside(const Policy &policy, std::uint32_t external, const OuterEthernet &ethernet, const Bytes &frame, const Bytes &plain,
				      const IpPacket &ip, std::uint64_t now)
{
	const Port &port = policy.ports.at(external);
	const auto message = Discovery::parse(plain, ip);
	const Mac sender = get_mac(plain, 6);
	if (!message || sender == 0 || is_group(sender) || !message->names_only(sender))
		return Verdict::drop(APUS_DROP_PROVIDER_ND_MALFORMED);
	const std::uint32_t device = policy.device_of(external);
	if (message->type == nd_neighbour_advertisement) {
		const bool solicited = (message->flags & nd_solicited) != 0, overrides = (message->flags & nd_override) != 0;
		learn(policy, {external, message->target}, sender, device, port.vlan, solicited && get_mac(plain, 0) == port.mac, solicited || overrides, now);
	}
	if (message->type != nd_neighbour_solicitation)
		return Verdict::consume();
	if (!message->source_macs.empty())
		learn(policy, {external, ip.source}, sender, device, port.vlan, false, true, now);
	if (!port.v6 || port.v6->address != message->target)
		return Verdict::consume();
	Bytes header(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(ethernet.size));
	put_mac(header, 0, sender);
	put_mac(header, 6, port.mac);
	return Verdict::reply(neighbour_advertisement(header, message->target, port.mac, ip.source, true), Verdict::Work::arp_reply);
}

bool Neighbours::is_known(const Policy &policy, const NextHop &hop) const
{
	if (hop.behind == 0 && policy.static_neighbours.count(hop.ip) != 0)
		return true;
	const auto entry = entries_.find(hop);
	return entry != entries_.end() && entry->second.known();
}

bool Neighbours::is_settled(const Policy &policy, const NextHop &hop) const
{
	if (hop.behind == 0)
		return state(policy, hop.ip) != APUS_NEIGHBOR_INCOMPLETE;
	const auto entry = entries_.find(hop);
	return entry != entries_.end() && entry->second.state != Neighbour::State::incomplete;
}

std::optional<enum apus_neighbor_state> Neighbours::state(const Policy &policy, Ip ip) const
{
	if (policy.static_neighbours.count(ip) != 0)
		return APUS_NEIGHBOR_STATIC;
	if (policy.needed_neighbours().count(ip) == 0)
		return std::nullopt;
	const auto entry = entries_.find({0, ip});
	if (entry == entries_.end())
		return APUS_NEIGHBOR_INCOMPLETE;
	switch (entry->second.state) {
	case Neighbour::State::incomplete:
		return APUS_NEIGHBOR_INCOMPLETE;
	case Neighbour::State::reachable:
		return APUS_NEIGHBOR_REACHABLE;
	case Neighbour::State::probe:
		return APUS_NEIGHBOR_PROBE;
	case Neighbour::State::failed:
		return APUS_NEIGHBOR_FAILED;
	}
	return std::nullopt;
}

Mac Neighbours::known_mac(const Policy &policy, Ip ip) const
{
	const auto fixed = policy.static_neighbours.find(ip);
	if (fixed != policy.static_neighbours.end())
		return fixed->second;
	const auto entry = entries_.find({0, ip});
	return entry != entries_.end() && entry->second.known() ? entry->second.mac : 0;
}

void Neighbours::policy_changed(const Policy &policy)
{
	const std::set<Ip> needed = policy.needed_neighbours();
	for (auto entry = entries_.begin(); entry != entries_.end();) {
		// A static entry has no dynamic state: when it is removed, a new dynamic one begins.
		const NextHop &hop = entry->first;
		const auto forgotten = policy.forgotten.find(hop);
		const bool keep = hop.behind == 0 ? needed.count(hop.ip) != 0 && policy.static_neighbours.count(hop.ip) == 0
						  : policy.has_entry(hop) && (forgotten == policy.forgotten.end() || forgotten->second == entry->second.forgotten);
		entry = keep ? std::next(entry) : entries_.erase(entry);
	}
}

}  // namespace model
