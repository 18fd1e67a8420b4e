// SPDX-License-Identifier: Apache-2.0
#include "traffic.hpp"

#include <algorithm>

namespace traffic {

void Traffic::look_at(const Policy &policy)
{
	vm_ports_.clear();
	provider_ports_.clear();
	external_ports_.clear();
	records_.clear();
	records_of_.clear();
	pas_.clear();
	gateways_of_.clear();
	domain_peers_.clear();
	gateway_mac_of_.clear();
	peers_ = policy.peers;
	for (const auto &[id, port] : policy.ports) {
		if (port.vm)
			vm_ports_.push_back({id, port});
		else if (port.external)
			external_ports_.emplace(id, port);
		else
			provider_ports_.push_back(id);
	}
	for (const auto &[key, record] : policy.records) {
		const Entry entry{key, record, policy.is_local(record)};
		records_.push_back(entry);
		records_of_[key.first].push_back(entry);
	}
	groups_.clear();
	for (const auto &[vsid, options] : policy.subnets)
		if (options.group)
			groups_.push_back(*options.group);
	// Machines without an address have one of the moment.
	l2_only_.clear();
	for (const auto &[key, record] : policy.machines) {
		if (record.type == APUS_RECORD_L2_ONLY)
			l2_only_.insert({key.vsid, record.mac});
		const Entry entry{{key.vsid, world_.some_ca(random_, key.family)}, record, policy.is_local(record)};
		records_.push_back(entry);
		records_of_[key.vsid].push_back(entry);
	}
	for (const auto &[ip, address] : policy.provider_addresses)
		pas_.push_back({ip, address});
	for (const auto &subnet : world_.subnets) {
		const auto domain = policy.domain_of(subnet.vsid);
		if (!domain)
			continue;
		for (const auto &[router, mac] : policy.router_addresses(settings_, subnet.vsid)) {
			gateways_of_[subnet.vsid].push_back(router);
			if (gateway_mac_of_.count(subnet.vsid) == 0 || random_.chance(30))
				gateway_mac_of_[subnet.vsid] = mac;
		}
		for (const auto &other : world_.subnets)
			if (policy.domain_of(other.vsid) == domain)
				domain_peers_[subnet.vsid].push_back(other.vsid);
	}
}

void Traffic::asked(const Asked &request)
{
	if (asked_.size() < 8)
		asked_.push_back(request);
}

const Traffic::Entry *Traffic::some_record(Vsid vsid)
{
	const auto found = records_of_.find(vsid);
	return found == records_of_.end() ? nullptr : &random_.pick(found->second);
}

const Traffic::Entry *Traffic::some_record(Vsid vsid, const std::function<bool(const Entry &)> &fits)
{
	std::vector<const Entry *> fitting;
	const auto found = records_of_.find(vsid);
	if (found != records_of_.end())
		for (const Entry &entry : found->second)
			if (fits(entry))
				fitting.push_back(&entry);
	return fitting.empty() ? nullptr : random_.pick(fitting);
}

void Traffic::pad(Bytes &frame)
{
	const std::size_t count = random_.one_in(8) ? random_.below(256) : random_.below(47);
	for (std::size_t i = 0; i < count; i++)
		frame.push_back(static_cast<std::uint8_t>(random_.next()));
}

void Traffic::insert_tags(Bytes &frame)
{
	std::size_t count = random_.between(1, 3);
	if (random_.one_in(20))
		count = random_.between(1, 30);
	for (std::size_t i = 0; i < count; i++) {
		Bytes tag(4);
		put16(tag, 0, random_.pick<std::uint16_t>({0x8100, 0x88A8}));
		put16(tag, 2, static_cast<std::uint16_t>(random_.next()));
		frame.insert(frame.begin() + 12, tag.begin(), tag.end());
	}
}

// ---- the customer's packet ---------------------------------------------------------------------------------------

std::uint8_t Traffic::some_ttl()
{
	return random_.one_in(6) ? static_cast<std::uint8_t>(random_.below(3)) : random_.pick<std::uint8_t>({64, 128, 255});
}

/// Of an upper layer.
std::size_t Traffic::some_size()
{
	if (random_.one_in(8))
		return random_.pick<std::size_t>({60, 80, 120, 160, 200, 520, 600, 1380, 1398, 1400, 1416 - 1, 1418 + 14, 1420 + 14, 1472, random_.below(1600)});
	return random_.one_in(12) ? random_.below(8) : random_.between(8, 40);
}

Bytes Traffic::customer_packet(Mac destination, Mac source, const Ip &from, const Ip &to, bool ping)
{
	Bytes frame = to.is_v6() ? customer_ipv6(destination, source, from, to, ping) : customer_ipv4(destination, source, from, to, ping);
	choose_kind(frame);
	if (random_.one_in(8))
		pad(frame);
	return frame;
}

void Traffic::choose_kind(Bytes &frame)
{
	const Mac others = random_.pick<Mac>({0xFFFFFFFFFFFF, 0xFFFFFFFFFFFF, 0x01005E000009, 0x333300000009, 0x0180C2000000});
	if (random_.one_in(25)) {
		put16(frame, 12, random_.pick<std::uint16_t>({0x88B5, 0x0027, 0x8847}));
		if (random_.one_in(3))
			put_mac(frame, 0, others);
		return;
	}
	if (!random_.one_in(20))
		return;
	put_mac(frame, 0, others);
	const bool v6 = get16(frame, 12) == type_ipv6;
	// What group addresses go to, and what the source of DHCP's first packet is.
	if (random_.chance(70))
		put_ip(frame, v6 ? 38 : 30, v6 ? Ip::v6(0xFF02000000000000, 9) : random_.pick<Ip>({Ip(0xFFFFFFFF), Ip(0xE0000009)}));
	if (random_.one_in(4))
		put_ip(frame, v6 ? 22 : 26, Ip::unspecified(v6 ? 6 : 4));
	if (!v6) {
		const std::size_t header = (frame[14] & 15u) * 4;
		put16(frame, 24, 0);
		put16(frame, 24, internet_checksum(frame, ethernet_size, header));
	}
}

/// Sometimes the packet is from a DHCP server, or nearly.
void Traffic::choose_dhcp(std::uint8_t protocol, Bytes &payload, std::uint16_t port)
{
	if (protocol == protocol_udp && payload.size() >= 2 && random_.one_in(4))
		put16(payload, 0, random_.one_in(4) ? static_cast<std::uint16_t>(random_.pick<unsigned>({67, 547, 68, 546})) : port);
}

void Traffic::choose_checksum(std::uint8_t protocol, Bytes &payload, const Ip &from, const Ip &to)
{
	const std::size_t at = protocol == protocol_tcp ? 16 : 6;
	if (payload.size() < at + 2)
		return;
	put16(payload, at, random_.pick<std::uint16_t>({0, 0, 0xFFFF, 1, 0xFFFE, static_cast<std::uint16_t>(random_.next())}));
	if (!translation_ || translation_->first.family != from.family || random_.chance(30))
		return;
	// One that becomes 0 when the addresses change.
	std::uint16_t checksum = 0;
	for (const auto &[now, then] : {std::pair(from, translation_->first), std::pair(to, translation_->second)}) {
		Bytes old_bytes(now.bits() / 8), new_bytes(now.bits() / 8);
		put_ip(old_bytes, 0, now);
		put_ip(new_bytes, 0, then);
		for (std::size_t i = 0; i < old_bytes.size(); i += 2)
			checksum = updated_checksum(checksum, get16(new_bytes, i), get16(old_bytes, i));
	}
	put16(payload, at, checksum);
}

Bytes Traffic::quoted_packet(const Ip &from, const Ip &to)
{
	const auto protocol = random_.pick<std::uint8_t>({6, 17, 17, 17, 33, 136, 1, 58, 47});
	Bytes payload = build::transport(static_cast<std::uint16_t>(random_.below(4)), 7, random_.one_in(6) ? random_.below(8) : random_.below(40));
	if (random_.chance(30))
		choose_checksum(protocol, payload, from, to);
	Bytes frame;
	if (from.is_v6()) {
		build::Ip6 ip;
		ip.source = from;
		ip.destination = to;
		ip.next_header = protocol;
		if (random_.one_in(5))
			payload = put_extension_headers(ip.next_header, std::move(payload));
		frame = build::ipv6({0, 0, 0, type_ipv6}, ip, payload);
	} else {
		build::Ip4 ip;
		ip.source = from;
		ip.destination = to;
		ip.protocol = protocol;
		ip.identification = static_cast<std::uint16_t>(random_.next());
		if (random_.one_in(8))
			ip.fragment = random_.pick<std::uint16_t>({0x2000, 0x0001, 0x1FFF, 0});
		if (random_.one_in(8))
			ip.options = static_cast<unsigned>(random_.between(1, 10));
		frame = build::ipv4({0, 0, 0, type_ipv4}, ip, payload);
	}
	Bytes packet(frame.begin() + ethernet_size, frame.end());
	if (random_.one_in(20))
		put8(packet, 0, static_cast<std::uint8_t>(random_.next()));
	if (random_.one_in(10))  // total length, payload length
		put16(packet, from.is_v6() ? 4 : 2, static_cast<std::uint16_t>(random_.one_in(4) ? random_.next() : random_.below(70)));
	if (random_.one_in(5))
		packet.resize(random_.below(packet.size() + 1));
	return packet;
}

Bytes Traffic::icmp_error(const Ip &from, const Ip &to)
{
	const Ip other = world_.some_ca(random_, from.family);
	const Bytes quoted = quoted_packet(random_.one_in(10) ? other : to, random_.one_in(10) ? other : from);
	Bytes body(4);
	put32(body, 0, static_cast<std::uint32_t>(random_.next()));
	body.insert(body.end(), quoted.begin(), quoted.end());
	const auto code = static_cast<std::uint8_t>(random_.below(5));
	Bytes message;
	if (from.is_v6()) {
		message = build::icmpv6(static_cast<std::uint8_t>(random_.between(1, 5)), code, body, from, to);
	} else {
		message.resize(4);
		message[0] = random_.pick<std::uint8_t>({3, 3, 3, 4, 5, 11, 12, 13});
		message[1] = code;
		message.insert(message.end(), body.begin(), body.end());
		put16(message, 2, internet_checksum(message, 0, message.size()));
	}
	if (random_.one_in(10))
		put16(message, 2, random_.pick<std::uint16_t>({0, 0xFFFF, 1}));
	return message;
}

Bytes Traffic::customer_ipv4(Mac destination, Mac source, const Ip &from, const Ip &to, bool ping)
{
	build::Ip4 ip;
	ip.source = from.is_v6() ? world_.some_ca(random_, 4) : from;
	ip.destination = to;
	ip.tos = static_cast<std::uint8_t>(random_.chance(50) ? random_.next() : 0);
	ip.ttl = some_ttl();
	ip.identification = static_cast<std::uint16_t>(random_.next());
	ip.protocol = random_.pick<std::uint8_t>({6, 17, 17, 1, 47, 0, 132, 33, 136, 58});
	if (ping && random_.chance(60))
		ip.protocol = 1;
	if (random_.one_in(20))
		ip.fragment = random_.pick<std::uint16_t>({0x2000, 0x0001, 0x1FFF, 0x6000, 0x8000, 0});
	else if (random_.one_in(2))
		ip.fragment = 0;
	if (random_.one_in(30))
		ip.options = static_cast<unsigned>(random_.between(1, 10));
	const std::size_t size = some_size();
	Bytes payload;
	if (ip.protocol == 1 && random_.chance(ping ? 5 : 50)) {
		payload = icmp_error(ip.source, to);
	} else if (ip.protocol == 1) {
		payload = build::icmp(random_.one_in(4) ? 0 : 8, random_.one_in(10), static_cast<std::uint16_t>(random_.below(4)),
				      static_cast<std::uint16_t>(random_.below(4)), random_.one_in(6) ? 0 : size);
		if (random_.one_in(12))
			payload[2] ^= 0x10;
		if (random_.one_in(12))
			payload.resize(random_.below(8));
	} else if (size < 4) {
		payload.resize(size, 0x11);
	} else {
		payload = build::transport(static_cast<std::uint16_t>(random_.below(4)), static_cast<std::uint16_t>(random_.below(4)), size - 4);
		if (random_.chance(20))
			choose_checksum(ip.protocol, payload, ip.source, to);
	}
	choose_dhcp(ip.protocol, payload, 67);
	Bytes frame = build::ipv4({destination, source, 0, type_ipv4}, ip, payload);
	// Options of every kind, copied into fragments and not.
	if (ip.options != 0 && random_.chance(60)) {
		const std::size_t header = 20 + ip.options * 4;
		for (std::size_t at = ethernet_size + 20; at < ethernet_size + header; at++)
			put8(frame, at, random_.pick<std::uint8_t>({0, 1, 2, 3, 4, 7, 0x82, 0x83, 0x94}));
		put16(frame, ethernet_size + 10, 0);
		put16(frame, ethernet_size + 10, internet_checksum(frame, ethernet_size, header));
	}
	return frame;
}

Bytes Traffic::customer_ipv6(Mac destination, Mac source, Ip from, const Ip &to, bool ping)
{
	build::Ip6 ip;
	ip.source = from = from.is_v6() ? from : world_.some_ca(random_, 6);
	ip.destination = to;
	ip.tos = static_cast<std::uint8_t>(random_.chance(50) ? random_.next() : 0);
	ip.flow_label = static_cast<std::uint32_t>(random_.chance(50) ? random_.next() : 0);
	ip.hop_limit = some_ttl();
	ip.next_header = random_.pick<std::uint8_t>({6, 17, 17, 58, 58, 47, 59, 50, 1, 132, 33, 136});
	if (ping && random_.chance(60))
		ip.next_header = 58;
	const std::size_t size = some_size();
	Bytes payload;
	if (ip.next_header == 58 && random_.chance(ping ? 5 : 30)) {
		payload = icmp_error(from, to);
	} else if (ip.next_header == 58) {
		const std::uint8_t type = ping && random_.chance(80)
						  ? 128
						  : random_.pick<std::uint8_t>({128, 128, 128, 129, 1, 2, 3, 127, 130, 132, 138, 143, 255});
		payload = build::icmpv6(type, random_.one_in(10), build::echo(static_cast<std::uint16_t>(random_.below(4)), 1, size), from, to);
		if (random_.one_in(12))
			payload[2] ^= 0x10;
		if (random_.one_in(12))
			payload.resize(random_.below(10));
		// A checksum that is, or becomes, one of the two zeros.
		if (random_.one_in(20) && payload.size() >= 8)
			put16(payload, 2, random_.pick<std::uint16_t>({0, 0xFFFF, 0xFEFF, 0x00FF, 0x0100, 1}));
	} else if (size < 4) {
		payload.resize(size, 0x11);
	} else {
		payload = build::transport(static_cast<std::uint16_t>(random_.below(4)), static_cast<std::uint16_t>(random_.below(4)), size - 4);
		if (random_.chance(20))
			choose_checksum(ip.next_header, payload, from, to);
	}
	choose_dhcp(ip.next_header, payload, 547);
	if (random_.one_in(5))
		payload = put_extension_headers(ip.next_header, std::move(payload));
	return build::ipv6({destination, source, 0, type_ipv6}, ip, payload);
}

/// Extension headers before `payload`, of protocol `next_header`; that becomes the first of them.
Bytes Traffic::put_extension_headers(std::uint8_t &next_header, Bytes payload)
{
	std::size_t count = random_.between(1, 3);
	if (random_.one_in(5))
		count = random_.between(4, 12);
	for (std::size_t i = 0; i < count; i++) {
		const std::uint8_t protocol = random_.pick<std::uint8_t>({0, 43, 44, 44, 60, 60, 51});
		Bytes header;
		if (protocol == 44) {
			header = build::fragment_header(next_header, random_.pick<std::uint16_t>({0, 0, 1, 6, 7, 8, 9, 0xFFF8, 0xFFF9}));
			if (random_.one_in(4))
				header[1] = static_cast<std::uint8_t>(random_.next());  // reserved
		} else if (protocol == 51) {
			header = build::extension(protocol, next_header, random_.one_in(8) ? 2 + random_.below(12) : 6);
		} else {
			header = build::extension(protocol, next_header, random_.one_in(4) ? random_.between(1, 20) : 1);
		}
		if (random_.one_in(20))
			header[1] = static_cast<std::uint8_t>(random_.one_in(2) ? random_.next() : random_.below(24));
		payload.insert(payload.begin(), header.begin(), header.end());
		next_header = protocol;
	}
	// The packet ends inside, or right behind, an extension header.
	if (random_.one_in(10))
		payload.resize(random_.below(std::min<std::size_t>(payload.size(), 24) + 1));
	return payload;
}

std::uint16_t Traffic::some_type()
{
	const auto type = random_.pick<std::uint16_t>({0x86DD, 0x0800, 0x0806, 0x8100, 0x88A8, 0x0801, 0x9100, 0});
	return type == 0x86DD && !world_.families.v6 ? 0x0026 : type;
}

/// One thing about a customer's frame becomes wrong.
void Traffic::spoil_customer(Bytes &frame)
{
	if (frame.size() < 34)
		return;
	const bool v6 = get16(frame, 12) == type_ipv6;
	const unsigned family = v6 ? 6 : 4;
	const std::size_t source = v6 ? 22 : 26, destination = v6 ? 38 : 30, length = v6 ? 18 : 16, ttl = v6 ? 21 : 22;
	if (frame.size() < destination + (v6 ? 16 : 4))
		return;
	switch (random_.below(15)) {
	case 0:
		put_mac(frame, 6, world_.some_mac(random_));
		break;
	case 1:
		put_mac(frame, 0, world_.some_mac(random_));
		break;
	case 2: {
		const Mac mac = get_mac(frame, 0);
		put_mac(frame, 0, get_mac(frame, 6));
		put_mac(frame, 6, mac);
		break;
	}
	case 3: {
		const Ip ip = get_ip(frame, source, family);
		put_ip(frame, source, get_ip(frame, destination, family));
		put_ip(frame, destination, ip);
		break;
	}
	case 4:
		put_ip(frame, source, world_.some_ca(random_, family));
		break;
	case 5:
		put_ip(frame, destination, world_.some_ca(random_, family));
		break;
	case 6:
		frame.resize(random_.below(frame.size() + 1));
		break;
	case 7:
		put16(frame, 12, some_type());
		break;
	case 8:
		put8(frame, 14, static_cast<std::uint8_t>(random_.next()));
		break;
	case 9:
		put16(frame, length, some_length(get16(frame, length)));
		break;
	case 10:  // fragment offset, next header
		if (v6)
			put8(frame, 20, random_.pick<std::uint8_t>({0, 43, 44, 51, 60, 58, 59, 6, 17, 135, 255}));
		else
			put16(frame, 24, static_cast<std::uint16_t>(random_.next()));
		break;
	case 11:
		put8(frame, ttl, static_cast<std::uint8_t>(random_.below(3)));
		break;
	case 12:
		pad(frame);
		break;
	case 13:
		if (v6 && frame.size() > 54)
			put8(frame, 54, static_cast<std::uint8_t>(random_.between(127, 138)));  // ICMPv6 types
		break;
	default:
		frame[random_.below(std::min<std::size_t>(frame.size(), v6 ? 100 : 60))] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		break;
	}
}

/// A total or payload length that is wrong, perhaps by little.
std::uint16_t Traffic::some_length(std::uint16_t right)
{
	return static_cast<std::uint16_t>(random_.one_in(3) ? random_.next() : right + random_.below(9) - 4);
}

// ---- from vm ports -------------------------------------------------------------------------------------------------

Ip Traffic::own_ca(const Port &port, unsigned family)
{
	const Entry *own = random_.one_in(20) ? nullptr : some_record(port.vsid, [&](const Entry &one) {
		return one.local && one.record.mac == port.mac && one.key.second.family == family;
	});
	if (own != nullptr)
		return own->key.second;
	return world_.some_ca(random_, family);
}

/// A machine that says itself which addresses it has names another one.
bool Traffic::says_more(Vsid vsid, Mac mac) { return l2_only_.count({vsid, mac}) != 0 && random_.one_in(2); }

Bytes Traffic::vm_ip(const Port &port)
{
	const auto send = [&](Mac destination, const Ip &to, bool ping = false) {
		return customer_packet(destination, port.mac, own_ca(port, to.family), to, ping);
	};
	// Whose packets are rewritten talk to their like, mostly.
	const Entry *own = some_record(port.vsid, [&](const Entry &one) { return one.local && one.record.mac == port.mac; });
	const bool is_nat = own != nullptr && own->record.is_nat();
	std::set<unsigned> families;
	some_record(port.vsid, [&](const Entry &one) {
		if (one.local && one.record.mac == port.mac)
			families.insert(one.key.second.family);
		return false;
	});
	const auto some_target = [&](Vsid vsid) -> const Entry * {
		if (random_.one_in(8))
			return some_record(vsid);
		const Entry *target = some_record(vsid, [&](const Entry &one) {
			return one.record.is_nat() == is_nat && !(is_nat && one.local) && one.record.mac != port.mac &&
			       (families.empty() || families.count(one.key.second.family) != 0);
		});
		if (is_nat && target != nullptr)
			translation_ = std::pair(own->record.provider_address, target->record.provider_address);
		return target;
	};
	const auto gateway_mac = gateway_mac_of_.find(port.vsid);
	const Mac router = gateway_mac != gateway_mac_of_.end() ? gateway_mac->second : settings_.gateway_mac;
	const auto peers = domain_peers_.find(port.vsid);
	std::uint64_t dice = random_.below(100);
	if (const auto gateway = random_.chance(20) ? gateway_of(port.vsid) : std::nullopt) {
		const unsigned family = families.size() == 1 ? *families.begin() : world_.some_family(random_);
		const Entry *own_address = random_.one_in(6) ? some_record(port.vsid, [&](const Entry &one) { return one.record.mac == *gateway; }) : nullptr;
		const Ip to = own_address != nullptr ? own_address->key.second : random_.chance(70) ? world_.outside(random_, family) : world_.some_ca(random_, family);
		return send(random_.chance(50) ? *gateway : router, to, random_.one_in(5));
	}
	if (dice < 40) {
		if (const Entry *target = some_target(port.vsid))
			return send(target->record.mac, target->key.second);
	} else if (dice < 80) {
		if (peers != domain_peers_.end())
			if (const Entry *target = some_target(random_.pick(peers->second)))
				return send(router, target->key.second);
	} else if (dice < 88) {
		if (peers != domain_peers_.end()) {
			const auto gateways = gateways_of_.find(random_.chance(70) ? port.vsid : random_.pick(peers->second));
			if (gateways != gateways_of_.end())
				return send(router, random_.pick(gateways->second), true);
		}
	}
	return send(random_.chance(70) ? router : world_.some_mac(random_), world_.some_ca(random_));
}

Bytes Traffic::vm_arp(const Port &port)
{
	Arp arp;
	arp.operation = random_.one_in(5) ? 2 : 1;
	arp.sender_mac = port.mac;
	arp.sender = says_more(port.vsid, port.mac) ? world_.some_ca(random_, 4) : own_ca(port, 4);
	if (random_.one_in(8))
		arp.sender = 0;
	arp.target = world_.some_ca(random_, 4);
	if (random_.one_in(10))
		arp.target = arp.sender;
	Mac destination = 0xFFFFFFFFFFFF;
	if (arp.operation == 2 || random_.one_in(6)) {
		destination = world_.some_mac(random_);
		arp.target_mac = destination;
	}
	if (random_.one_in(12))
		arp.sender_mac = world_.some_mac(random_);
	Bytes frame = build::arp({destination, port.mac, 0, type_arp}, arp);
	if (random_.one_in(8))
		frame[14 + random_.below(8)] ^= static_cast<std::uint8_t>(1u << random_.below(8));
	if (random_.one_in(12))
		put_mac(frame, 6, world_.some_mac(random_));
	if (random_.one_in(12))
		frame.resize(random_.below(frame.size()));
	if (random_.one_in(4))
		pad(frame);
	return frame;
}

// ---- from provider ports -----------------------------------------------------------------------------------------

/// One thing about GRE becomes wrong. @return false: nothing was done
bool Traffic::spoil_gre(Bytes &frame, std::size_t gre)
{
	switch (random_.below(12)) {
	case 0:
		put16(frame, gre, static_cast<std::uint16_t>(0x2000 ^ 1u << random_.below(16)));
		return true;
	case 1:
		put16(frame, gre, static_cast<std::uint16_t>(random_.next()));
		return true;
	case 2:
		put16(frame, gre + 2, random_.pick<std::uint16_t>({0x0800, 0x6559, 0x880B, 0}));
		return true;
	case 3:
		put32(frame, gre + 4, random_.pick(world_.subnets).vsid << 8 | static_cast<std::uint32_t>(random_.below(256)));
		return true;
	case 4:
		put32(frame, gre + 4, random_.pick<std::uint32_t>({0, 4095, 4096, 16777214, 16777215, 5000}) << 8);
		return true;
	default:
		return false;
	}
}

/// One thing about the outer headers becomes wrong. `ethernet`: bytes of the outer Ethernet header.
void Traffic::spoil_outer(Bytes &frame, std::size_t ethernet)
{
	const bool v6 = get16(frame, ethernet - 2) == type_ipv6;
	const std::size_t ip = ethernet, gre = ethernet + (v6 ? 40 : 20), length = ip + (v6 ? 4 : 2);
	if (frame.size() < gre + 8 || spoil_gre(frame, gre))
		return;
	const auto some_pa = [&] {
		const auto &some = random_.chance(50) ? world_.local_pas : world_.remote_pas;
		if (v6 && random_.one_in(5))  // IPv4-mapped
			return Ip::v6(0, 0xFFFF00000000 | random_.pick(some).low() % (1ull << 32));
		const Ip pa = world::World::of_family(random_, some, v6 ? 6 : 4);
		return pa.is_v6() == v6 ? pa : world_.some_ca(random_, v6 ? 6 : 4);
	};
	bool new_checksum = true;
	switch (random_.below(11)) {
	case 0:
		put_mac(frame, 0, random_.chance(50) ? world_.some_mac(random_) : world_.uplink_mac(static_cast<unsigned>(random_.below(5))));
		break;
	case 1:
		put_ip(frame, ip + (v6 ? 24 : 16), some_pa());
		break;
	case 2:
		put_ip(frame, ip + (v6 ? 8 : 12), some_pa());
		break;
	case 3:
		if (!v6)
			put16(frame, ip + 6, random_.pick<std::uint16_t>({0x2000, 0x0001, 0x1FFF, 0x8000, 0}));
		break;
	case 4:
		put8(frame, ip + (v6 ? 6 : 9), random_.pick<std::uint8_t>({0, 6, 17, 1, 46, 48, 43, 44, 51, 58, 60, 59, 135}));
		if (v6 && random_.one_in(2))
			put8(frame, gre, static_cast<std::uint8_t>(random_.between(132, 138)));
		break;
	case 5:
		if (!v6)
			put16(frame, ip + 10, static_cast<std::uint16_t>(random_.next()));
		new_checksum = false;
		break;
	case 6:
		put8(frame, ip, static_cast<std::uint8_t>(random_.next()));
		break;
	case 7:
		put16(frame, length, some_length(get16(frame, length)));
		break;
	case 8:
		frame.resize(random_.below(frame.size() + 1));
		new_checksum = false;
		break;
	case 9:
		put16(frame, ethernet - 2, some_type());
		break;
	default:
		frame[random_.below(frame.size())] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		new_checksum = random_.chance(50);
		break;
	}
	const std::size_t header = frame.size() > ip ? (frame[ip] & 15u) * 4 : 0;
	if (!v6 && new_checksum && header >= 20 && ip + header <= frame.size()) {
		put16(frame, ip + 10, 0);
		put16(frame, ip + 10, internet_checksum(frame, ip, header));
	}
}

Bytes Traffic::inner_question(const Entry &source, const Entry &target)
{
	const Mac mac = source.record.mac;
	Ip sender = source.key.second;
	Ip asked = random_.one_in(3) ? world_.some_ca(random_, sender.family) : target.key.second;
	if (random_.one_in(8) || says_more(source.key.first, mac))
		sender = world_.some_ca(random_, sender.family);
	if (random_.one_in(10))
		asked = sender;
	const bool is_reply = random_.one_in(3);
	if (!sender.is_v6()) {
		asked = asked.is_v6() ? world_.some_ca(random_, 4) : asked;
		const Mac named = random_.one_in(12) ? world_.some_mac(random_) : mac;
		Bytes frame = build::arp({is_reply ? target.record.mac : 0xFFFFFFFFFFFF, mac, 0, type_arp},
					 {static_cast<std::uint16_t>(is_reply ? 2 : 1), named, sender, 0, asked});
		if (random_.one_in(12))
			frame[14 + random_.below(8)] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		return frame;
	}
	asked = asked.is_v6() ? asked : world_.some_ca(random_, 6);
	const std::uint8_t type = is_reply ? nd_neighbour_advertisement : nd_neighbour_solicitation;
	const Ip about = is_reply && random_.chance(80) ? sender : asked;
	build::Ip6 ip;
	ip.source = sender;
	ip.destination = is_reply ? asked : solicited_node(asked);
	return discovery({is_reply ? target.record.mac : multicast_mac(ip.destination), mac, 0, type_ipv6}, ip, type,
			 static_cast<std::uint8_t>(random_.next()), about, discovery_options(type, mac));
}

/// `inner` in NVGRE, or in VXLAN, from the provider address `source` to ours.
Bytes Traffic::outer_headers(const Pa &pa, const Ip &source, Vsid vsid, const Bytes &inner)
{
	build::Ethernet ethernet;
	ethernet.destination = pa.address.mac;
	ethernet.source = 0x0A0000000001;
	ethernet.vlan = pa.address.vlan;
	ethernet.type = pa.ip.is_v6() ? type_ipv6 : type_ipv4;
	if (random_.one_in(25))
		ethernet.vlan = random_.pick<std::uint16_t>({0, 1, 100, 4094});
	const auto tos = static_cast<std::uint8_t>(random_.chance(60) ? random_.next() : 0);
	const auto ttl = static_cast<std::uint8_t>(random_.next());
	const auto flow_id = static_cast<std::uint8_t>(random_.next());
	bool may_spoil = true;
	Bytes frame;
	const auto peer = peers_.find(source);
	const bool vxlan = random_.one_in(15) || (peer != peers_.end() && peer->second.is_vxlan() && random_.chance(80));
	const bool draft00 = random_.one_in(25) != (peer != peers_.end() && peer->second.is_draft00());
	const std::uint32_t key = !draft00 ? vsid << 8 | flow_id : random_.one_in(12) ? vsid | random_.pick<std::uint32_t>({1, 128}) << 24 : vsid;
	Bytes datagram(16);
	put16(datagram, 0, 0xC000);
	put16(datagram, 2, random_.one_in(12) ? 4789 : settings_.vxlan_port);
	put16(datagram, 4, static_cast<std::uint16_t>(16 + inner.size() - (random_.one_in(12) ? random_.below(4) : 0)));
	put8(datagram, 8, random_.one_in(12) ? 0xF7 : static_cast<std::uint8_t>(random_.next() | 8));
	put32(datagram, 12, vsid << 8);
	datagram.insert(datagram.end(), inner.begin(), inner.end());
	if (pa.ip.is_v6()) {
		build::Ip6 outer{source, pa.ip, tos, static_cast<std::uint32_t>(random_.next()), ttl, 47};
		outer.next_header = vxlan ? protocol_udp : protocol_gre;
		frame = build::ipv6(ethernet, outer, vxlan ? datagram : build::gre(0x2000, type_bridging, key, inner));
	} else {
		build::Ip4 outer;
		outer.source = source;
		outer.destination = pa.ip;
		outer.tos = tos;
		outer.ttl = ttl;
		outer.identification = static_cast<std::uint16_t>(random_.next());
		if (random_.one_in(25))
			outer.options = static_cast<unsigned>(random_.between(1, 10));
		may_spoil = outer.options == 0;
		outer.protocol = vxlan ? protocol_udp : protocol_gre;
		frame = build::ipv4(ethernet, outer, vxlan ? datagram : build::gre(0x2000, type_bridging, key, inner));
	}
	const std::size_t header = ethernet.vlan != 0 ? 18 : 14;
	if (ethernet.vlan != 0) {
		if (random_.one_in(4))
			put16(frame, 12, 0x88A8);
		put16(frame, 14, static_cast<std::uint16_t>(ethernet.vlan | random_.below(16) << 12));
	} else if (random_.one_in(20)) {
		Bytes tag(4);  // VID 0: a priority tag
		put16(tag, 0, 0x8100);
		put16(tag, 2, static_cast<std::uint16_t>(random_.below(16) << 12));
		frame.insert(frame.begin() + 12, tag.begin(), tag.end());
		return frame;
	}
	if (may_spoil && random_.chance(25))
		spoil_outer(frame, header);
	if (random_.one_in(8))
		pad(frame);
	return frame;
}

Bytes Traffic::provider_ip()
{
	// To a machine here, at its provider address; or to any address of ours.
	const Entry *target = &random_.pick(records_);
	const auto address_of = [&](const Entry &entry) {
		return std::find_if(pas_.begin(), pas_.end(), [&](const Pa &one) { return one.ip == entry.record.provider_address; });
	};
	for (int attempt = 0; attempt < 16 && (address_of(*target) == pas_.end() || (target->record.is_nat() && !random_.one_in(2))); attempt++)
		target = &random_.pick(records_);
	// To what is behind a gateway here.
	Entry outside_target;
	if (!external_ports_.empty() && random_.one_in(4)) {
		auto at = external_ports_.begin();
		std::advance(at, random_.below(external_ports_.size()));
		const Port &gateway = at->second;
		const Entry *record = some_record(gateway.vsid, [&](const Entry &one) { return one.record.mac == gateway.mac && address_of(one) != pas_.end(); });
		if (record != nullptr) {
			outside_target = *record;
			if (random_.chance(85))
				outside_target.key.second = random_.chance(80) ? world_.outside(random_, record->key.second.family) : world_.some_ca(random_);
			target = &outside_target;
		}
	}
	const auto its = address_of(*target);
	const Pa &pa = its == pas_.end() || random_.one_in(12) ? random_.pick(pas_) : *its;
	if (const auto rewritten = random_.one_in(20) ? std::nullopt : provider_rewritten(pa))
		return *rewritten;
	Vsid source_vsid = target->key.first;
	const auto peers = domain_peers_.find(target->key.first);
	if (peers != domain_peers_.end() && random_.chance(40))
		source_vsid = random_.pick(peers->second);
	const Entry *source = random_.one_in(12) ? some_record(source_vsid) : some_record(source_vsid, [&](const Entry &one) {
		return !one.local && one.key.second.family == target->key.second.family && one.record.provider_address.family == pa.ip.family;
	});
	if (source == nullptr)
		source = target;

	Bytes inner = random_.one_in(10) ? inner_question(*source, *target)
					 : customer_packet(target->record.mac, source->record.mac, source->key.second, target->key.second);
	if (random_.chance(15))
		spoil_customer(inner);
	if (random_.one_in(30) && inner.size() >= ethernet_size)
		insert_tags(inner);

	// Mostly from where the source is; always of the family of our own address.
	const Ip from = source->record.provider_address.family == pa.ip.family
				? source->record.provider_address
				: world::World::of_family(random_, world_.remote_pas, pa.ip.family);
	if (random_.one_in(25))
		inner = control_message(random_.one_in(6) ? source->key.second : from, *target);
	std::vector<Ip> groups;
	for (const Ip &group : groups_)
		if (group.family == pa.ip.family)
			groups.push_back(group);
	if (groups.empty() || inner.size() < ethernet_size || !random_.one_in(is_group(get_mac(inner, 0)) ? 2 : 40))
		return outer_headers(pa, from, target->key.first, inner);
	// To a multicast group of the provider network, mostly to its MAC.
	Pa group = pa;
	group.ip = random_.pick(groups);
	if (random_.chance(95))
		group.address.mac = mac_of_group(group.ip);
	return outer_headers(group, random_.one_in(12) ? pa.ip : from, target->key.first, inner);
}

/// [MS-NVGREE]; sometimes its type and code are others, which belong to the customer or to nobody.
Bytes Traffic::control_message(const Ip &teller, const Entry &about)
{
	const bool v6 = teller.is_v6();
	Ip to = random_.one_in(20) ? world_.some_ca(random_, teller.family) : world::World::of_family(random_, world_.remote_pas, teller.family);
	if (to.family != teller.family || random_.one_in(4))
		to = about.key.second.family == teller.family ? about.key.second : teller;
	const bool redirects = random_.one_in(2);
	const auto type = static_cast<std::uint8_t>(v6 ? (redirects ? 137 : 1) : redirects ? 5 : 3);
	const auto code = static_cast<std::uint8_t>(random_.one_in(6) ? random_.below(12) : v6 ? 1 : 10);
	Bytes rest(random_.one_in(8) ? random_.below(6) : 4 + random_.below(80));
	for (auto &byte : rest)
		byte = static_cast<std::uint8_t>(random_.next());
	// Mostly with the packet that it is about.
	if (rest.size() >= 4 && random_.chance(70)) {
		rest.resize(4);
		const Bytes packet = customer_packet(about.record.mac, world_.some_mac(random_), world_.some_ca(random_, about.key.second.family), about.key.second);
		Bytes quoted = build::gre(random_.one_in(10) ? static_cast<std::uint16_t>(random_.next()) : 0x2000, type_bridging, about.key.first << 8, packet);
		if (random_.one_in(3)) {
			build::Ip4 header4;
			header4.protocol = random_.one_in(8) ? 17 : protocol_gre;
			header4.options = random_.one_in(4) ? static_cast<unsigned>(random_.between(1, 10)) : 0;
			build::Ip6 header6;
			header6.next_header = header4.protocol;
			const Bytes whole = random_.chance(v6 ? 80 : 20) ? build::ipv6({0, 0, 0, type_ipv6}, header6, quoted) : build::ipv4({0, 0, 0, type_ipv4}, header4, quoted);
			quoted.assign(whole.begin() + ethernet_size, whole.end());
		}
		quoted.resize(random_.one_in(8) ? random_.below(quoted.size() + 1) : quoted.size());
		rest.insert(rest.end(), quoted.begin(), quoted.end());
	}
	const build::Ethernet ethernet{about.record.mac, random_.one_in(4) ? about.record.mac : world_.some_mac(random_), 0, v6 ? type_ipv6 : type_ipv4};
	if (v6) {
		build::Ip6 ip;
		ip.source = teller;
		ip.destination = to;
		ip.next_header = random_.one_in(20) ? 60 : protocol_icmpv6;
		return build::ipv6(ethernet, ip, build::icmpv6(type, code, rest, teller, to));
	}
	build::Ip4 ip;
	ip.source = teller;
	ip.destination = to;
	ip.protocol = random_.one_in(20) ? 17 : 1;
	ip.fragment = random_.pick<std::uint16_t>({0x4000, 0x4000, 0x4000, 0, 0, 0x2000, 7});
	Bytes message(4 + rest.size());
	put8(message, 0, type);
	put8(message, 1, code);
	std::copy(rest.begin(), rest.end(), message.begin() + 4);
	return build::ipv4(ethernet, ip, message);
}

std::optional<Bytes> Traffic::provider_rewritten(const Pa &pa)
{
	const Entry *target = nullptr, *source = nullptr;
	for (const Entry &one : records_)
		if (one.record.is_nat() && one.record.provider_address == pa.ip)
			target = &one;
	if (target == nullptr)
		return std::nullopt;
	for (int attempt = 0; attempt < 32; attempt++) {
		source = &random_.pick(records_);
		const bool fits = source->record.is_nat() && source->key.second.family == target->key.second.family;
		if (fits && (source->key.first == target->key.first || random_.chance(50)) && (!source->local || random_.one_in(12)))
			break;
	}
	const Ip from = source->record.provider_address.family == pa.ip.family && !random_.one_in(30) ? source->record.provider_address
												       : world_.some_ca(random_, pa.ip.family);
	translation_ = std::pair(source->key.second, target->key.second);
	Bytes frame = customer_packet(pa.address.mac, 0x0A0000000001, from, pa.ip);
	if (random_.chance(15))
		spoil_customer(frame);
	const std::uint16_t vlan = random_.one_in(25) ? random_.pick<std::uint16_t>({0, 1, 100, 4094}) : pa.address.vlan;
	if (frame.size() >= ethernet_size && (vlan != 0 || random_.one_in(30))) {
		Bytes tag(4);
		put16(tag, 0, random_.one_in(4) ? 0x88A8 : 0x8100);
		put16(tag, 2, static_cast<std::uint16_t>(vlan | random_.below(16) << 12));
		frame.insert(frame.begin() + 12, tag.begin(), tag.end());
	}
	return frame;
}

bool Traffic::may_teach_mtu(const Frame &frame)
{
	const Bytes &bytes = frame.bytes;
	if (bytes.size() < ethernet_size + 4)
		return false;
	const std::size_t at = is_tag(get16(bytes, 12)) ? 18 : 14;
	if (bytes.size() < at + 41)
		return bytes.size() >= at + 10 && get8(bytes, at + 9) == protocol_icmp;
	return get16(bytes, at - 2) == type_ipv6 ? get8(bytes, at + 6) == protocol_icmpv6 && get8(bytes, at + 40) == 2
						 : get8(bytes, at + 9) == protocol_icmp;
}

/// A router says that a packet of ours was too big; or somebody else does, or of another packet.
Bytes Traffic::provider_too_big(std::uint32_t &port)
{
	const Pa &pa = random_.pick(pas_);
	port = pa.address.port;
	const unsigned family = pa.ip.family;
	const Entry *to = &random_.pick(records_);
	for (int attempt = 0; attempt < 16 && (to->local || to->record.provider_address.family != family); attempt++)
		to = &random_.pick(records_);
	Ip remote = to->record.provider_address, ours = pa.ip;
	if (remote.family != family || random_.one_in(15))
		remote = world::World::of_family(random_, world_.routers, family);
	if (remote.family != family)
		remote = ours;
	if (random_.one_in(15))
		ours = world::World::of_family(random_, world_.local_pas, family);
	const Vsid vsid = random_.one_in(12) ? random_.pick(world_.subnets).vsid : to->key.first;
	const auto found = peers_.find(remote);
	const Peer peer = found == peers_.end() ? Peer() : found->second;

	// What we sent.
	const bool vxlan = peer.is_vxlan() != random_.one_in(10);
	const bool draft00 = peer.is_draft00() != random_.one_in(10);
	Bytes payload = build::gre(0x2000, type_bridging, draft00 ? vsid : vsid << 8 | static_cast<std::uint32_t>(random_.below(256)), {});
	if (draft00 && random_.one_in(6))
		payload[4] = 1;
	if (vxlan) {
		put16(payload, 0, 0xC123);
		put16(payload, 2, random_.one_in(10) ? 4789 : settings_.vxlan_port);
	} else if (random_.one_in(10)) {
		spoil_gre(payload, 0);
	}
	payload.resize(8 + random_.below(24), 0x33);
	const std::uint8_t protocol = random_.one_in(15) ? random_.pick<std::uint8_t>({6, 17, 47, 1}) : vxlan ? protocol_udp : protocol_gre;
	Bytes sent;
	if (family == 6) {
		sent = build::ipv6({0, 0, 0, type_ipv6}, {ours, remote, 0, 0, 64, protocol}, payload);
	} else {
		build::Ip4 ip;
		ip.source = ours;
		ip.destination = remote;
		ip.protocol = protocol;
		ip.options = random_.one_in(10) ? static_cast<unsigned>(random_.between(1, 10)) : 0;
		sent = build::ipv4({0, 0, 0, type_ipv4}, ip, payload);
	}
	sent.erase(sent.begin(), sent.begin() + ethernet_size);
	if (random_.one_in(20))
		put8(sent, 0, static_cast<std::uint8_t>(random_.next()));
	if (random_.one_in(10))
		sent.resize(random_.below(sent.size() + 1));

	const auto mtu = random_.pick<std::uint32_t>({0, 68, 575, 576, 577, 1000, 1279, 1280, 1281, 1400, 1450, 1499, 1500, 9000, 65535, 65536, 0xFFFFFFFF});
	Bytes body(4);
	put32(body, 0, family == 6 ? mtu : static_cast<std::uint32_t>(random_.below(65536) << 16 | (mtu & 0xFFFF)));
	body.insert(body.end(), sent.begin(), sent.end());
	const Ip router = world::World::of_family(random_, random_.chance(50) ? world_.routers : world_.remote_pas, family);
	const std::uint16_t vlan = random_.one_in(25) ? 7 : pa.address.vlan;
	const auto code = static_cast<std::uint8_t>(random_.one_in(20) ? random_.below(6) : 4);
	Bytes frame;
	if (family == 6) {
		const Bytes message = build::icmpv6(2, random_.one_in(5) ? code : 0, body, router, pa.ip);
		frame = build::ipv6({pa.address.mac, 0x0A0000000002, vlan, type_ipv6}, {router, pa.ip, 0, 0, 64, protocol_icmpv6}, message);
	} else {
		Bytes message(4);
		message[0] = 3;
		message[1] = code;
		message.insert(message.end(), body.begin(), body.end());
		put16(message, 2, random_.one_in(4) ? 0 : internet_checksum(message, 0, message.size()));  // nobody looks at it
		build::Ip4 ip;
		ip.source = router;
		ip.destination = pa.ip;
		ip.protocol = protocol_icmp;
		frame = build::ipv4({pa.address.mac, 0x0A0000000002, vlan, type_ipv4}, ip, message);
	}
	if (random_.one_in(30))
		frame.resize(random_.below(frame.size() + 1));
	if (random_.one_in(8))
		pad(frame);
	return frame;
}

std::optional<Asked> Traffic::take_request(unsigned family)
{
	std::vector<std::size_t> some;
	for (std::size_t i = 0; i < asked_.size(); i++)
		if (asked_[i].neighbour.family == family)
			some.push_back(i);
	if (some.empty())
		return std::nullopt;
	const auto at = asked_.begin() + static_cast<std::ptrdiff_t>(random_.pick(some));
	const Asked request = *at;
	asked_.erase(at);
	return request;
}

/// Who sends the frame with an ARP packet: its sender, but for some.
Mac Traffic::frame_source(Arp &arp)
{
	Mac source = arp.sender_mac;
	if (random_.one_in(20))
		source = world_.some_mac(random_);
	if (random_.one_in(40))
		source = arp.sender_mac = random_.pick<Mac>({0, 0xFFFFFFFFFFFF, 0x010000000001});
	return source;
}

Bytes Traffic::provider_arp(std::uint32_t &port)
{
	Arp arp;
	std::uint16_t vlan = 0;
	Mac destination = 0xFFFFFFFFFFFF;
	if (const auto request = random_.chance(80) ? take_request(4) : std::nullopt) {
		port = request->port;
		vlan = request->vlan;
		arp = {2, world_.remote_mac(request->neighbour), request->neighbour, request->by_mac, request->by};
		destination = request->by_mac;
		if (random_.one_in(10))
			arp.sender_mac ^= 0x10;
	} else {
		const bool known_host = random_.chance(70);
		const Ip sender = world::World::of_family(random_, random_.chance(60) ? world_.remote_pas : world_.routers, 4);
		arp.operation = random_.one_in(4) ? 2 : 1;
		arp.sender = known_host && !sender.is_v6() ? sender : world_.some_ca(random_, 4);
		arp.sender_mac = world_.remote_mac(sender) ^ (random_.one_in(6) ? 0x20 : 0);
		arp.target = random_.chance(70) ? world::World::of_family(random_, world_.local_pas, 4) : arp.sender;
		if (!pas_.empty()) {
			const Pa &pa = random_.pick(pas_);
			if (random_.chance(80)) {
				port = pa.address.port;
				vlan = pa.address.vlan;
				arp.target = pa.ip;
			}
			if (arp.operation == 2 || random_.chance(20)) {
				destination = pa.address.mac;
				arp.target_mac = pa.address.mac;
			}
			if (random_.one_in(6) && !pa.ip.is_v6())  // somebody else has our address, or looks for it
				arp.sender = random_.one_in(2) ? pa.ip : Ip(0);
		}
	}
	if (arp.target.is_v6())
		arp.target = arp.sender;
	const Mac source = frame_source(arp);
	if (random_.one_in(20))
		vlan = random_.pick<std::uint16_t>({0, 1, 100, 4094});
	Bytes frame = build::arp({destination, source, vlan, type_arp}, arp);
	if (vlan != 0)
		put16(frame, 14, static_cast<std::uint16_t>(vlan | random_.below(8) << 13));
	if (random_.one_in(15))
		frame[(vlan != 0 ? 18 : 14) + random_.below(8)] ^= static_cast<std::uint8_t>(1u << random_.below(8));
	if (random_.one_in(20))
		frame.resize(random_.below(frame.size()));
	if (random_.one_in(3))
		pad(frame);
	return frame;
}

// ---- any frame -----------------------------------------------------------------------------------------------------

std::optional<Mac> Traffic::gateway_of(Vsid vsid)
{
	std::vector<Mac> gateways;
	for (const auto &[id, port] : external_ports_)
		if (port.vsid == vsid)
			gateways.push_back(port.mac);
	return gateways.empty() ? std::nullopt : std::optional<Mac>(random_.pick(gateways));
}

std::optional<Asked> Traffic::take_request_outside(std::uint32_t device, std::uint16_t vlan)
{
	for (auto at = asked_.begin(); at != asked_.end(); ++at)
		if (at->port == device && at->vlan == vlan) {
			const Asked request = *at;
			asked_.erase(at);
			return request;
		}
	return std::nullopt;
}

Bytes Traffic::outside_arp(const Port &port, const std::optional<Asked> &request)
{
	Arp arp;
	Mac destination = port.mac;
	if (request) {
		arp = {2, world_.remote_mac(request->neighbour), request->neighbour, request->by_mac, request->by};
		arp.sender_mac ^= random_.one_in(10) ? 0x10 : 0;
	} else {
		arp.operation = random_.one_in(3) ? 2 : 1;
		arp.sender = random_.one_in(10) ? world_.some_ca(random_, 4) : world_.outside(random_, 4);
		arp.sender_mac = world_.remote_mac(arp.sender) ^ (random_.one_in(6) ? 0x20 : 0);
		arp.target = port.v4 && random_.chance(70) ? port.v4->address : world_.outside(random_, 4);
		destination = random_.chance(50) ? 0xFFFFFFFFFFFF : port.mac;
	}
	const Mac source = frame_source(arp);
	if (random_.one_in(20))
		destination = world_.some_mac(random_);
	Bytes frame = build::arp({destination, source, 0, type_arp}, arp);
	if (random_.one_in(15))
		frame[14 + random_.below(8)] ^= static_cast<std::uint8_t>(1u << random_.below(8));
	return frame;
}

Bytes Traffic::outside_discovery(const Port &port, const std::optional<Asked> &request)
{
	std::uint8_t type = nd_neighbour_advertisement, flags = nd_solicited | nd_override;
	build::Ip6 ip;
	Mac destination = port.mac, mac = 0;
	Ip target;
	if (request) {
		target = ip.source = request->neighbour;
		ip.destination = request->by;
		mac = world_.remote_mac(request->neighbour) ^ (random_.one_in(10) ? 0x10 : 0);
	} else {
		ip.source = target = world_.outside(random_, 6);
		mac = world_.remote_mac(ip.source) ^ (random_.one_in(6) ? 0x20 : 0);
		ip.destination = all_nodes();
		flags = random_.pick<std::uint8_t>({nd_override, 0, nd_solicited, nd_router | nd_override});
		type = random_.pick<std::uint8_t>({nd_neighbour_solicitation, nd_neighbour_solicitation, nd_neighbour_solicitation, nd_neighbour_advertisement,
						   nd_router_solicitation, nd_router_advertisement, nd_redirect});
		if (type == nd_neighbour_solicitation) {
			target = port.v6 && random_.chance(80) ? port.v6->address : world_.outside(random_, 6);
			ip.destination = random_.chance(80) ? solicited_node(target) : target;
			if (random_.one_in(8)) {
				ip.source = Ip::unspecified(6);
				ip.destination = solicited_node(target);
			}
		}
		destination = ip.destination == target || random_.one_in(4) ? port.mac : multicast_mac(ip.destination);
	}
	if (random_.one_in(10))
		flags = static_cast<std::uint8_t>(random_.next());
	Bytes options = discovery_options(type, mac);
	if (type == nd_neighbour_solicitation && ip.source.is_unspecified() && random_.chance(80))
		options.clear();
	Mac source = random_.one_in(20) ? world_.some_mac(random_) : mac;
	return discovery({destination, source, 0, type_ipv6}, ip, type, flags, target, options);
}

Bytes Traffic::outside(std::uint32_t &port_id)
{
	auto at = external_ports_.begin();
	std::advance(at, random_.below(external_ports_.size()));
	const auto &[id, port] = *at;
	port_id = port.parent != 0 ? port.parent : id;
	std::uint16_t vlan = port.vlan;
	Bytes frame;
	const auto request = random_.chance(70) ? take_request_outside(port_id, vlan) : std::nullopt;
	const unsigned family = request ? request->neighbour.family : port.v4 && (!port.v6 || random_.one_in(2)) ? 4 : 6;
	if (request || random_.one_in(8)) {
		frame = family == 4 ? outside_arp(port, request) : outside_discovery(port, request);
	} else {
		const Ip from = random_.one_in(6) ? world_.some_ca(random_, family) : world_.outside(random_, family);
		// A machine of the VM network, mostly; the gateway's own addresses; what is outside.
		Ip to = world_.some_ca(random_, family);
		const auto peers = domain_peers_.find(port.vsid);
		const Entry *target = some_record(peers != domain_peers_.end() ? random_.pick(peers->second) : port.vsid,
						  [&](const Entry &one) { return one.key.second.family == family; });
		if (target != nullptr && random_.chance(80))
			to = target->key.second;
		const bool ping = random_.one_in(8);
		if (ping && port.side(family) && random_.chance(70))
			to = port.side(family)->address;
		const auto routers = gateways_of_.find(port.vsid);
		if (ping && routers != gateways_of_.end() && random_.one_in(4) && random_.pick(routers->second).family == family)
			to = random_.pick(routers->second);
		to = to.family == family ? to : world_.some_ca(random_, family);
		frame = customer_packet(port.mac, world_.remote_mac(from), from, to, ping);
		if (random_.chance(10))
			spoil_customer(frame);
	}
	if (random_.one_in(30))
		vlan = random_.pick<std::uint16_t>({0, 1, 2, 3, 7, 100, 4094});
	if ((vlan != 0 || random_.one_in(30)) && frame.size() >= 12) {
		Bytes tag(4);
		put16(tag, 0, random_.one_in(4) ? 0x88A8 : 0x8100);
		put16(tag, 2, static_cast<std::uint16_t>(vlan | random_.below(16) << 12));
		frame.insert(frame.begin() + 12, tag.begin(), tag.end());
	}
	if (random_.one_in(60))
		frame.resize(random_.below(std::min<std::size_t>(frame.size(), 60) + 1));
	if (random_.one_in(60))
		port_id = id;  // with a parent: no device
	return frame;
}

Frame Traffic::frame()
{
	Frame frame;
	translation_.reset();
	if (!external_ports_.empty() && random_.one_in(vm_ports_.empty() ? 2 : 5)) {
		frame.bytes = outside(frame.port);
		frame.headroom = random_.one_in(20) ? random_.pick<std::uint32_t>({0, 37, 38, 41, 42, 45, 46, 50, 57, 58, 61, 62, 65, 66, 70}) : APUS_HEADROOM;
		frame.contiguous = static_cast<std::uint32_t>(frame.bytes.size());
		if (frame.contiguous > APUS_CONTIGUOUS && random_.chance(30))
			frame.contiguous = static_cast<std::uint32_t>(random_.between(APUS_CONTIGUOUS, frame.contiguous));
		return frame;
	}
	frame.headroom = random_.one_in(20) ? random_.pick<std::uint32_t>({0, 3, 4, 41, 42, 45, 46, 49, 50, 53, 54, 61, 62, 65, 66, 69, 70, 73, 74, 200}) : APUS_HEADROOM;
	const bool from_provider = !provider_ports_.empty() && !records_.empty() && (vm_ports_.empty() || random_.chance(50));
	if (from_provider) {
		frame.port = random_.pick(provider_ports_);
		if (pas_.empty() || random_.one_in(asked_.empty() ? 14 : 4)) {
			const bool is_arp = asked_.empty() ? world_.some_family(random_) == 4 : !random_.pick(asked_).neighbour.is_v6();
			frame.bytes = is_arp ? provider_arp(frame.port) : provider_discovery(frame.port);
		} else if (random_.one_in(25)) {
			frame.bytes = provider_too_big(frame.port);
		} else {
			frame.bytes = provider_ip();
			// To the port of the provider address that it is for, mostly.
			if (frame.bytes.size() >= 38 && !random_.one_in(25)) {
				const std::size_t at = is_tag(get16(frame.bytes, 12)) ? 18 : 14;
				const bool v6 = get16(frame.bytes, at - 2) == type_ipv6 && frame.bytes.size() >= at + 40;
				const Ip to = v6 ? get_ip(frame.bytes, at + 24, 6) : get_ip(frame.bytes, at + 16, 4);
				for (const Pa &pa : pas_)
					if (pa.ip == to || (std::find(groups_.begin(), groups_.end(), to) != groups_.end() && pa.ip.family == to.family && random_.chance(60)))
						frame.port = pa.address.port;
			}
		}
		if (random_.one_in(6))
			frame.flags = random_.pick<std::uint32_t>({APUS_FRAME_IP_CHECKSUM_GOOD, APUS_FRAME_IP_CHECKSUM_GOOD, APUS_FRAME_IP_CHECKSUM_BAD});
	} else if (!vm_ports_.empty()) {
		const auto &[id, port] = random_.pick(vm_ports_);
		frame.port = id;
		if (random_.one_in(l2_only_.count({port.vsid, port.mac}) != 0 ? 3 : world_.families.v6 ? 6 : 8)) {
			frame.bytes = world_.some_family(random_) == 4 ? vm_arp(port) : vm_discovery(port);
		} else {
			frame.bytes = vm_ip(port);
			if (random_.chance(20))
				spoil_customer(frame.bytes);
		}
		if (random_.one_in(20) && frame.bytes.size() >= 14)
			insert_tags(frame.bytes);
	} else {
		frame.bytes.resize(random_.below(100), 0x42);
	}
	if (random_.one_in(100))
		frame.port = static_cast<std::uint32_t>(random_.one_in(4) ? random_.next() : random_.below(20));
	frame.contiguous = static_cast<std::uint32_t>(frame.bytes.size());
	if (frame.contiguous > APUS_CONTIGUOUS && random_.chance(30))
		frame.contiguous = static_cast<std::uint32_t>(random_.between(APUS_CONTIGUOUS, frame.contiguous));
	if (random_.one_in(300)) {
		switch (random_.below(4)) {
		case 0:
			frame.null_data = true;
			break;
		case 1:
			frame.claimed = static_cast<std::uint32_t>(random_.one_in(2) ? 0xFFFFFFFF : 65536 + random_.below(9));
			break;
		case 2:
			frame.contiguous = static_cast<std::uint32_t>(random_.below(std::min<std::size_t>(frame.bytes.size(), APUS_CONTIGUOUS) + 1));
			break;
		default:
			frame.claimed = static_cast<std::uint32_t>(random_.below(14));
			break;
		}
	}
	return frame;
}

}  // namespace traffic
