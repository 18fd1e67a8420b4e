// SPDX-License-Identifier: Apache-2.0
#include "path_mtu.hpp"

#include <algorithm>

namespace model {

constexpr std::uint64_t remembered_ns = 600'000'000'000;

/// GRE flags and protocol that 4.6 has nothing against.
static bool is_our_gre(const Bytes &frame, std::size_t at)
{
	const std::uint16_t flags = get16(frame, at);
	return (flags & 0x0007) == 0 && (flags & 0xDC00) == 0 && (flags & 0x2000) != 0 && get16(frame, at + 2) == type_bridging;
}

std::optional<TooBig> TooBig::parse(const Policy &policy, const Settings &settings, const Bytes &frame, const IpPacket &ip)
{
	const auto quoted = IpPacket::parse_quoted(ip.version, frame, ip.payload() + 8, ip.limit);
	if (!quoted || quoted->source != ip.destination || !policy.any_record_at(quoted->destination))
		return std::nullopt;
	// What we send has no extension headers.
	const std::size_t at = quoted->payload();
	const std::uint8_t protocol = get8(frame, quoted->at + (ip.is_v6() ? 6 : 9));
	if (at + 8 > ip.limit)
		return std::nullopt;
	if (protocol == protocol_gre) {
		const std::uint32_t key = get32(frame, at + 4);
		const Vsid vsid = policy.peer(quoted->destination).is_draft00() ? key & 0xFFFFFF : key >> 8;
		if (!is_our_gre(frame, at) || !policy.vsid_is_at(vsid, quoted->destination))
			return std::nullopt;
	} else if (protocol != protocol_udp || get16(frame, at + 2) != settings.vxlan_port) {
		return std::nullopt;
	}
	const std::size_t icmp = ip.payload();
	const std::size_t said = ip.is_v6() ? get32(frame, icmp + 4) : get16(frame, icmp + 6);
	return TooBig{quoted->destination, std::max<std::size_t>(said, ip.is_v6() ? 1280 : 576)};
}

std::size_t PathMtus::mtu(const Policy &policy, std::uint32_t port, Ip provider_address, std::uint64_t now) const
{
	const std::size_t known = policy.mtu(port, provider_address);
	const auto entry = entries_.find(provider_address);
	if (entry == entries_.end() || (now > entry->second.learned && now - entry->second.learned >= remembered_ns))
		return known;
	return std::min(known, entry->second.mtu);
}

bool PathMtus::learn(const Policy &policy, std::uint32_t port, const TooBig &message, std::uint64_t now)
{
	if (message.mtu >= mtu(policy, port, message.provider_address, now))
		return false;
	entries_[message.provider_address] = {message.mtu, now};
	return true;
}

void PathMtus::policy_changed(const Policy &policy)
{
	const std::set<Ip> needed = policy.needed_neighbours();
	const auto changes = [](const std::map<Ip, std::uint64_t> &of, const Ip &ip) { return of.count(ip) != 0 ? of.at(ip) : 0; };
	for (auto entry = entries_.begin(); entry != entries_.end();) {
		const Ip ip = entry->first;
		const bool is_gone = needed.count(ip) == 0 && policy.static_neighbours.count(ip) == 0;
		const bool is_anew = static_.count(ip) != 0 && changes(neighbour_changes_, ip) != changes(policy.neighbour_changes, ip);
		entry = is_gone || is_anew ? entries_.erase(entry) : std::next(entry);
	}
	static_.clear();
	for (const auto &[ip, mac] : policy.static_neighbours)
		static_.insert(ip);
	neighbour_changes_ = policy.neighbour_changes;
}

}  // namespace model
