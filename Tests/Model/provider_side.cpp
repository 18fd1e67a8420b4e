// SPDX-License-Identifier: Apache-2.0
#include "provider_side.hpp"

#include "packet.hpp"

namespace model {

OuterEthernet OuterEthernet::parse(const Bytes &frame)
{
	OuterEthernet outer;
	outer.type = get16(frame, 12);
	outer.size = ethernet_size;
	if (is_tag(outer.type)) {
		if (frame.size() < ethernet_size + 4)
			return outer;
		outer.vlan = get16(frame, 14) & 0x0FFF;
		outer.type = get16(frame, 16);
		outer.size += 4;
	}
	outer.complete = true;
	return outer;
}

namespace {

constexpr unsigned not_ect = 0, ect1 = 1, ect0 = 2, ce = 3;

/// Step 15, RFC 6040 section 4.2: the outgoing codepoint; nothing = drop.
std::optional<unsigned> combine_ecn(unsigned inner, unsigned outer)
{
	if (inner == not_ect)
		return outer == ce ? std::nullopt : std::optional<unsigned>(not_ect);
	if (inner == ce || outer == ce)
		return ce;
	if (inner == ect0 && outer == ect1)
		return ect1;
	return inner;
}

/// Step 3, IPv4. Nothing when the header is good.
std::optional<Reason> check_outer_ipv4(const Settings &settings, const Bytes &frame, std::size_t at, std::uint32_t flags)
{
	if (at + 20 > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	const std::size_t header_length = (get8(frame, at) & 15) * std::size_t{4};
	if (get8(frame, at) >> 4 != 4 || header_length < 20)
		return APUS_DROP_OUTER_IP_VERSION;
	if (at + header_length > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	const std::size_t total_length = get16(frame, at + 2);
	if (total_length < header_length || at + total_length > frame.size())
		return APUS_DROP_OUTER_IP_LENGTH;
	if (header_length > 20 && !settings.accept_ip_options)
		return APUS_DROP_OUTER_IP_OPTIONS;
	if ((flags & APUS_FRAME_IP_CHECKSUM_BAD) != 0)
		return APUS_DROP_OUTER_IP_CHECKSUM;
	if ((flags & APUS_FRAME_IP_CHECKSUM_GOOD) == 0 && internet_checksum(frame, at, header_length) != 0)
		return APUS_DROP_OUTER_IP_CHECKSUM;
	return std::nullopt;
}

/// Step 3, IPv6.
std::optional<Reason> check_outer_ipv6(const Bytes &frame, std::size_t at)
{
	if (at + 40 > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	if (get8(frame, at) >> 4 != 6)
		return APUS_DROP_OUTER_IP_VERSION;
	if (at + 40 + get16(frame, at + 4) > frame.size())
		return APUS_DROP_OUTER_IP_LENGTH;
	return std::nullopt;
}

/// What the outer IP header says that matters from step 4 on.
struct OuterIp {
	Ip source, destination;
	unsigned ecn = 0;
	std::uint8_t protocol = 0;  // or the IPv6 header's next header
	bool fragment = false;
	std::size_t payload = 0, end = 0;  // of what it carries, in the frame

	OuterIp(const OuterEthernet &ethernet, const Bytes &frame)
	{
		const std::size_t at = ethernet.size;
		if (ethernet.type == type_ipv6) {
			source = get_ip(frame, at + 8, 6);
			destination = get_ip(frame, at + 24, 6);
			ecn = get16(frame, at) >> 4 & 3u;
			protocol = get8(frame, at + 6);
			fragment = protocol == 44;
			payload = at + 40;
			end = payload + get16(frame, at + 4);
		} else {
			source = get_ip(frame, at + 12, 4);
			destination = get_ip(frame, at + 16, 4);
			ecn = get8(frame, at + 1) & 3u;
			protocol = get8(frame, at + 9);
			fragment = (get16(frame, at + 6) & 0x3FFF) != 0;
			payload = at + (get8(frame, at) & 15) * std::size_t{4};
			end = at + get16(frame, at + 2);
		}
	}
};

/// Steps 4 and 5: the outer packet is for us and whole.
std::optional<Reason> check_outer_ip(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const OuterIp &ip,
				     const Bytes &frame)
{
	const auto ours = policy.provider_addresses.find(ip.destination);
	if (ours == policy.provider_addresses.end() || ours->second.port != port)
		return APUS_DROP_OUTER_NOT_OURS;
	if (ours->second.vlan != ethernet.vlan)
		return APUS_DROP_OUTER_VLAN;
	if (ours->second.mac != get_mac(frame, 0))
		return APUS_DROP_OUTER_MAC;
	if (ip.fragment)
		return APUS_DROP_OUTER_FRAGMENT;
	const std::set<unsigned> extension_headers{0, 43, 51, 60};
	if (ip.destination.is_v6() && extension_headers.count(ip.protocol) != 0)
		return APUS_DROP_OUTER_IP_OPTIONS;
	if (ip.protocol != protocol_gre)
		return APUS_DROP_OUTER_PROTOCOL;
	return std::nullopt;
}

/// Step 15 for an inner packet whose codepoint changes.
void set_ecn(Bytes &inner, const IpPacket &ip, unsigned ecn)
{
	const auto tos = static_cast<std::uint8_t>((ip.tos & 0xFC) | ecn);
	const std::uint16_t old_word = get16(inner, ip.at);
	if (ip.is_v6()) {
		put16(inner, ip.at, static_cast<std::uint16_t>((old_word & 0xF00F) | tos << 4));
		return;
	}
	put8(inner, ip.at + 1, tos);
	put16(inner, ip.at + 10, updated_checksum(get16(inner, ip.at + 10), old_word, get16(inner, ip.at)));
}

/// Step 6. `payload` is what the outer IP header carries.
std::optional<Reason> check_gre(const Bytes &payload)
{
	if (payload.size() < 4)
		return APUS_DROP_OUTER_TRUNCATED;
	const std::uint16_t flags = get16(payload, 0);
	if ((flags & 0x0007) != 0)
		return APUS_DROP_GRE_VERSION;
	if ((flags & 0xDC00) != 0)
		return APUS_DROP_GRE_FLAGS;
	if ((flags & 0x2000) == 0)
		return APUS_DROP_GRE_NO_KEY;
	if (get16(payload, 2) != type_bridging)
		return APUS_DROP_GRE_PROTOCOL;
	if (payload.size() < 8)
		return APUS_DROP_OUTER_TRUNCATED;
	return std::nullopt;
}

}  // namespace

bool is_provider_discovery(const OuterEthernet &ethernet, const Bytes &frame)
{
	if (check_outer_ipv6(frame, ethernet.size))
		return false;
	const OuterIp ip(ethernet, frame);
	if (ip.protocol != protocol_icmpv6 || ip.payload == ip.end)
		return false;
	const std::uint8_t type = get8(frame, ip.payload);
	return type == nd_neighbour_solicitation || type == nd_neighbour_advertisement;
}

Verdict from_provider(const Policy &policy, const Settings &settings, std::uint32_t port, const OuterEthernet &ethernet,
		      const Bytes &frame, std::uint32_t flags)
{
	const auto malformed = ethernet.type == type_ipv6 ? check_outer_ipv6(frame, ethernet.size)
							  : check_outer_ipv4(settings, frame, ethernet.size, flags);
	if (malformed)
		return Verdict::drop(*malformed);
	const OuterIp outer(ethernet, frame);
	if (const auto reason = check_outer_ip(policy, port, ethernet, outer, frame))
		return Verdict::drop(*reason);
	const Ip remote = outer.source;
	const Ip ours = outer.destination;

	const auto begin = frame.begin();
	const Bytes gre(begin + static_cast<std::ptrdiff_t>(outer.payload), begin + static_cast<std::ptrdiff_t>(outer.end));
	if (const auto reason = check_gre(gre))
		return Verdict::drop(*reason);

	Bytes inner(gre.begin() + 8, gre.end());
	if (inner.size() < ethernet_size)
		return Verdict::drop(APUS_DROP_INNER_TRUNCATED);
	if (is_tag(get16(inner, 12)))
		return Verdict::drop(APUS_DROP_INNER_VLAN);
	if (!policy.any_record_at(remote))
		return Verdict::drop(APUS_DROP_SOURCE_PA_UNKNOWN);
	const Vsid vsid = get32(gre, 4) >> 8;
	if ((vsid < APUS_VSID_MIN || vsid > APUS_VSID_MAX) && !settings.accept_reserved_vsids)
		return Verdict::drop(APUS_DROP_VSID_RESERVED);
	if (!policy.is_known_vsid(vsid))
		return Verdict::drop(APUS_DROP_VSID_UNKNOWN);

	const std::uint16_t type = get16(inner, 12);
	if (type != type_ipv4 && type != type_ipv6)
		return Verdict::drop(APUS_DROP_INNER_ETHERTYPE);
	const auto ip = IpPacket::parse(type, inner, ethernet_size, readable - outer.payload - 8);
	if (!ip || is_discovery(inner, *ip))
		return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);
	if (is_group(get_mac(inner, 0)) || is_special(ip->destination))
		return Verdict::drop(APUS_DROP_INNER_NOT_UNICAST);
	if (is_special(ip->source))
		return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);

	Vsid source_vsid = vsid;
	if (const auto domain = policy.domain_of(vsid))
		if (const CustomerRouteKey *route = policy.best_route(*domain, ip->source, true))
			source_vsid = route->vsid;
	if (!policy.vsid_is_at(source_vsid, remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);

	if (!settings.no_source_validation) {
		const Record *source = policy.record(source_vsid, ip->source);
		if (source == nullptr)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_MISSING);
		if (source->provider_address != remote)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_PA);
		if (source->mac != get_mac(inner, 6))
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_MAC);
	}

	const Record *target = policy.record(vsid, ip->destination);
	if (target == nullptr)
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_MISSING);
	if (target->provider_address != ours)
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_CA_PA);
	if (target->mac != get_mac(inner, 0))
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_CA_MAC);
	const auto to = policy.vm_port(vsid, get_mac(inner, 0));
	if (!to)
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);

	const auto ecn = combine_ecn(ip->tos & 3u, outer.ecn);
	if (!ecn)
		return Verdict::drop(APUS_DROP_ECN);
	if (*ecn != (ip->tos & 3u))
		set_ecn(inner, *ip, *ecn);
	return Verdict::deliver(std::move(inner), *to, Verdict::Work::decapsulated);
}

}  // namespace model
