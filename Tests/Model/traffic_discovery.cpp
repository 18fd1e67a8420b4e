// SPDX-License-Identifier: Apache-2.0
// Neighbour discovery of virtual machines and of the provider network.
#include <algorithm>

#include "traffic.hpp"

namespace traffic {

/// Options that a message of this type may have; most of them name `mac`.
Bytes Traffic::discovery_options(std::uint8_t type, Mac mac)
{
	Bytes options;
	const auto append = [&options](const Bytes &option) { options.insert(options.end(), option.begin(), option.end()); };
	const bool of_target = type == nd_neighbour_advertisement || type == nd_redirect;
	if (random_.chance(75))
		append(build::mac_option(of_target ? nd_target_option : nd_source_option, mac));
	if (random_.one_in(12))
		append(build::mac_option(of_target ? nd_source_option : nd_target_option, mac));
	if (random_.one_in(12))
		append(build::mac_option(random_.chance(50) ? nd_target_option : nd_source_option, world_.some_mac(random_)));
	if (random_.one_in(10)) {
		// Any other option: a nonce, a prefix, what nobody knows, a link-layer address that is not Ethernet's.
		Bytes option(random_.pick<std::size_t>({8, 8, 16, 32, 64, 72}), 0x33);
		option[0] = random_.pick<std::uint8_t>({3, 5, 14, 25, 255, 0, nd_source_option, nd_target_option});
		option[1] = static_cast<std::uint8_t>(option.size() / 8);
		append(option);
	}
	// As long as what is looked at, or a little longer.
	while (random_.one_in(25) || (options.size() > 56 && options.size() < 80)) {
		Bytes option(8, 0x44);
		option[0] = 14;
		option[1] = 1;
		append(option);
	}
	return options;
}

/// One thing becomes wrong in the IPv6 packet at `at`; the checksum is made right again, mostly.
void Traffic::spoil_discovery(Bytes &frame, std::size_t at)
{
	bool new_checksum = !random_.one_in(12);
	const std::size_t message = at + 40;
	switch (random_.below(9)) {
	case 0:
		put8(frame, at + 7, random_.pick<std::uint8_t>({254, 64, 1, 0}));
		break;
	case 1:
		put8(frame, message + 1, static_cast<std::uint8_t>(random_.between(1, 255)));
		break;
	case 2:
		put16(frame, message + 2, static_cast<std::uint16_t>(random_.next()));
		new_checksum = false;
		break;
	case 3: {  // the message is cut short
		const std::size_t length = random_.one_in(3) ? random_.pick<std::size_t>({0, 1, 4, 7, 8, 15, 16, 23, 24, 25, 39, 40})
							     : random_.below(frame.size() - message + 1);
		frame.resize(std::min(frame.size(), message + length));
		put16(frame, at + 4, static_cast<std::uint16_t>(frame.size() - message));
		break;
	}
	case 4:  // an option's length
		if (frame.size() >= message + 32)
			put8(frame, message + 25, static_cast<std::uint8_t>(random_.below(4)));
		break;
	case 5:  // the target
		if (frame.size() >= message + 24)
			put_ip(frame, message + 8, world_.some_ca(random_, 6));
		break;
	case 6:
		put_ip(frame, at + (random_.chance(50) ? 8 : 24), world_.some_ca(random_, 6));
		break;
	case 7: {  // behind extension headers
		std::uint8_t next_header = frame[at + 6];
		const Bytes payload = put_extension_headers(next_header, Bytes(frame.begin() + static_cast<std::ptrdiff_t>(message), frame.end()));
		frame.resize(message);
		frame.insert(frame.end(), payload.begin(), payload.end());
		put8(frame, at + 6, next_header);
		put16(frame, at + 4, static_cast<std::uint16_t>(payload.size()));
		return;
	}
	default:
		frame[random_.below(frame.size())] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		break;
	}
	const std::size_t length = get16(frame, at + 4);
	if (new_checksum && length >= 4 && message + length <= frame.size()) {
		put16(frame, message + 2, 0);
		put16(frame, message + 2, icmpv6_checksum(frame, message, length, get_ip(frame, at + 8, 6), get_ip(frame, at + 24, 6)));
	}
}

Bytes Traffic::discovery(const build::Ethernet &ethernet, build::Ip6 ip, std::uint8_t type, std::uint8_t flags, const Ip &target, Bytes options)
{
	ip.hop_limit = 255;
	ip.next_header = protocol_icmpv6;
	Bytes frame = build::ipv6(ethernet, ip, build::icmpv6(type, 0, build::discovery_body(type, flags, target, options), ip.source, ip.destination));
	if (random_.one_in(5))
		spoil_discovery(frame, ethernet.vlan != 0 ? 18 : 14);
	if (random_.one_in(5))
		pad(frame);
	return frame;
}

Bytes Traffic::vm_discovery(const Port &port)
{
	const auto type = random_.pick<std::uint8_t>({nd_neighbour_solicitation, nd_neighbour_solicitation, nd_neighbour_solicitation,
						      nd_neighbour_solicitation, nd_neighbour_advertisement, nd_neighbour_advertisement,
						      nd_router_solicitation, nd_router_solicitation, nd_router_advertisement, nd_redirect});
	build::Ip6 ip;
	ip.source = says_more(port.vsid, port.mac) ? world_.some_ca(random_, 6) : own_ca(port, 6);
	if (random_.one_in(5))
		ip.source = link_local_of(port.mac);
	if (random_.one_in(6))
		ip.source = Ip::unspecified(6);
	ip.tos = static_cast<std::uint8_t>(random_.one_in(6) ? random_.next() : 0);

	Ip target = world_.some_ca(random_, 6);
	const auto routers = gateways_of_.find(port.vsid);
	if (routers != gateways_of_.end() && random_.one_in(4))
		target = random_.pick(routers->second);
	if (random_.one_in(4))
		if (const Entry *record = some_record(port.vsid); record != nullptr && record->key.second.is_v6())
			target = record->key.second;
	if (type == nd_neighbour_advertisement && random_.chance(80))
		target = ip.source;
	if (target.family != 6)
		target = link_local_of(settings_.gateway_mac);

	const bool asks_router = type == nd_router_solicitation;
	ip.destination = asks_router ? Ip::v6(0xFF02000000000000, 2) : type == nd_neighbour_solicitation ? solicited_node(target) : all_nodes();
	if (random_.one_in(6))
		ip.destination = world_.some_ca(random_, 6);
	Mac destination = multicast_mac(ip.destination);
	if (type == nd_neighbour_advertisement || random_.one_in(5))
		destination = world_.some_mac(random_);
	if (random_.one_in(10))
		ip.destination = target;

	Bytes options = discovery_options(type, port.mac);
	// A question of :: has no link-layer option (duplicate address detection), mostly.
	if (type == nd_neighbour_solicitation && ip.source.is_unspecified() && random_.chance(80))
		options.clear();
	Bytes frame = discovery({destination, port.mac, 0, type_ipv6}, ip, type, static_cast<std::uint8_t>(random_.next()), target, options);
	if (random_.one_in(20))
		put_mac(frame, 6, world_.some_mac(random_));
	return frame;
}

Bytes Traffic::provider_discovery(std::uint32_t &port)
{
	std::uint8_t type = nd_neighbour_advertisement, flags = nd_solicited | nd_override;
	std::uint16_t vlan = 0;
	Ip target;
	build::Ip6 ip;
	Mac destination = 0, mac = 0;
	if (const auto request = random_.chance(80) ? take_request(6) : std::nullopt) {
		port = request->port;
		vlan = request->vlan;
		target = ip.source = request->neighbour;
		ip.destination = request->by;
		destination = request->by_mac;
		mac = world_.remote_mac(request->neighbour) ^ (random_.one_in(10) ? 0x10 : 0);
	} else {
		const Ip sender = world::World::of_family(random_, random_.chance(60) ? world_.remote_pas : world_.routers, 6);
		ip.source = sender.is_v6() && random_.chance(70) ? sender : world_.some_ca(random_, 6);
		mac = world_.remote_mac(sender) ^ (random_.one_in(6) ? 0x20 : 0);
		target = ip.source;
		ip.destination = all_nodes();
		destination = multicast_mac(ip.destination);
		flags = random_.pick<std::uint8_t>({nd_override, 0, nd_solicited, nd_router | nd_override});
		if (random_.one_in(4)) {
			type = random_.pick<std::uint8_t>({nd_router_solicitation, nd_router_advertisement, nd_redirect, nd_neighbour_advertisement});
		} else if (random_.chance(70)) {
			type = nd_neighbour_solicitation;
			target = world::World::of_family(random_, world_.local_pas, 6);
			if (random_.one_in(8))
				ip.source = Ip::unspecified(6);
		}
		if (!pas_.empty()) {
			const Pa &pa = random_.pick(pas_);
			if (random_.chance(80)) {
				port = pa.address.port;
				vlan = pa.address.vlan;
				if (type == nd_neighbour_solicitation)
					target = pa.ip;
			}
			if (type == nd_neighbour_solicitation && target.is_v6()) {
				ip.destination = solicited_node(target);
				destination = multicast_mac(ip.destination);
			}
			if (random_.chance(25)) {
				destination = pa.address.mac;
				if (pa.ip.is_v6())
					ip.destination = pa.ip;
			}
		}
		if (!target.is_v6())
			target = world_.some_ca(random_, 6);
		if (!pas_.empty() && random_.one_in(8)) {  // somebody else has our address
			const Pa &pa = random_.pick(pas_);
			type = nd_neighbour_advertisement;
			port = pa.address.port;
			vlan = pa.address.vlan;
			if (pa.ip.is_v6())
				target = pa.ip;
		}
	}
	if (random_.one_in(10))
		flags = static_cast<std::uint8_t>(random_.next());
	Mac source = mac;
	if (random_.one_in(20))
		source = world_.some_mac(random_);
	if (random_.one_in(40))
		source = mac = random_.pick<Mac>({0, 0xFFFFFFFFFFFF, 0x333300000001});
	if (random_.one_in(20))
		vlan = random_.pick<std::uint16_t>({0, 1, 100, 4094});
	Bytes options = discovery_options(type, mac);
	if (type == nd_neighbour_solicitation && ip.source.is_unspecified() && random_.chance(80))
		options.clear();
	Bytes frame = discovery({destination, source, vlan, type_ipv6}, ip, type, flags, target, options);
	if (vlan != 0 && frame.size() >= 16)
		put16(frame, 14, static_cast<std::uint16_t>(vlan | random_.below(8) << 13));
	return frame;
}

}  // namespace traffic
