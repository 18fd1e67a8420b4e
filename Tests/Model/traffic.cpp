// SPDX-License-Identifier: Apache-2.0
#include "traffic.hpp"

#include <algorithm>

#include "build_frame.hpp"

namespace traffic {

void Traffic::look_at(const Policy &policy)
{
	vm_ports_.clear();
	provider_ports_.clear();
	records_.clear();
	records_of_.clear();
	pas_.clear();
	gateways_of_.clear();
	domain_peers_.clear();
	gateway_mac_of_.clear();
	for (const auto &[id, port] : policy.ports) {
		if (port.vm)
			vm_ports_.push_back({id, port});
		else
			provider_ports_.push_back(id);
	}
	for (const auto &[key, record] : policy.records) {
		const Entry entry{key, record, policy.is_local(record)};
		records_.push_back(entry);
		records_of_[key.first].push_back(entry);
	}
	for (const auto &[ip, address] : policy.provider_addresses)
		pas_.push_back({ip, address});
	for (const auto &subnet : world_.subnets) {
		const auto domain = policy.domain_of(subnet.vsid);
		if (!domain)
			continue;
		for (const Ip gateway : policy.gateways_of(subnet.vsid)) {
			gateways_of_[subnet.vsid].push_back(gateway);
			gateway_mac_of_[subnet.vsid] = policy.gateway_mac(settings_, subnet.vsid, gateway);
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

Bytes Traffic::customer_packet(Mac destination, Mac source, Ip from, Ip to)
{
	build::Ip4 ip;
	ip.source = from;
	ip.destination = to;
	ip.tos = static_cast<std::uint8_t>(random_.chance(50) ? random_.next() : 0);
	ip.ttl = random_.one_in(10) ? static_cast<std::uint8_t>(random_.below(3)) : random_.pick<std::uint8_t>({64, 128, 255});
	ip.identification = static_cast<std::uint16_t>(random_.next());
	ip.protocol = random_.pick<std::uint8_t>({6, 17, 17, 1, 47, 0, 132});
	if (random_.one_in(20))
		ip.fragment = random_.pick<std::uint16_t>({0x2000, 0x0001, 0x1FFF, 0x6000, 0x8000, 0});
	if (random_.one_in(30))
		ip.options = static_cast<unsigned>(random_.between(1, 10));
	std::size_t size = random_.one_in(12) ? random_.below(8) : random_.between(8, 40);
	if (random_.one_in(25))
		size = random_.pick<std::size_t>({60, 200, 1416 - 1, 1418 + 14, 1420 + 14, 1472, random_.below(1600)});
	Bytes payload;
	if (ip.protocol == 1) {
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
	}
	Bytes frame = build::ipv4({destination, source, 0, type_ipv4}, ip, payload);
	if (random_.one_in(8))
		pad(frame);
	return frame;
}

/// One thing about a customer's IPv4 frame becomes wrong.
void Traffic::spoil_customer(Bytes &frame)
{
	if (frame.size() < 34)
		return;
	switch (random_.below(14)) {
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
		const std::uint32_t ip = get32(frame, 26);
		put32(frame, 26, get32(frame, 30));
		put32(frame, 30, ip);
		break;
	}
	case 4:
		put_ip(frame, 26, world_.some_ca(random_));
		break;
	case 5:
		put_ip(frame, 30, world_.some_ca(random_));
		break;
	case 6:
		frame.resize(random_.below(frame.size() + 1));
		break;
	case 7:
		put16(frame, 12, random_.pick<std::uint16_t>({0x86DD, 0x0806, 0x8100, 0x88A8, 0x0801, 0x9100, 0}));
		break;
	case 8:
		put8(frame, 14, static_cast<std::uint8_t>(random_.next()));
		break;
	case 9:
		put16(frame, 16, static_cast<std::uint16_t>(random_.one_in(3) ? random_.next() : get16(frame, 16) + random_.below(9) - 4));
		break;
	case 10:
		put16(frame, 24, static_cast<std::uint16_t>(random_.next()));
		break;
	case 11:
		put8(frame, 22, static_cast<std::uint8_t>(random_.below(3)));
		break;
	case 12:
		pad(frame);
		break;
	default:
		frame[random_.below(std::min<std::size_t>(frame.size(), 60))] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		break;
	}
}

// ---- from vm ports -------------------------------------------------------------------------------------------------

Bytes Traffic::vm_ip(const Port &port)
{
	Ip from = world_.some_ca(random_);
	for (int attempt = 0; attempt < 6; attempt++) {
		const Entry *source = some_record(port.vsid);
		if (source != nullptr && source->local && source->record.mac == port.mac) {
			from = source->key.second;
			break;
		}
	}
	const auto gateway_mac = gateway_mac_of_.find(port.vsid);
	const Mac router = gateway_mac != gateway_mac_of_.end() ? gateway_mac->second : settings_.gateway_mac;
	const auto peers = domain_peers_.find(port.vsid);
	const std::uint64_t dice = random_.below(100);
	if (dice < 40) {
		if (const Entry *target = some_record(port.vsid))
			return customer_packet(target->record.mac, port.mac, from, target->key.second);
	} else if (dice < 80) {
		if (peers != domain_peers_.end())
			if (const Entry *target = some_record(random_.pick(peers->second)))
				return customer_packet(router, port.mac, from, target->key.second);
	} else if (dice < 88) {
		if (peers != domain_peers_.end()) {
			const auto gateways = gateways_of_.find(random_.chance(70) ? port.vsid : random_.pick(peers->second));
			if (gateways != gateways_of_.end())
				return customer_packet(router, port.mac, from, random_.pick(gateways->second));
		}
	}
	return customer_packet(random_.chance(70) ? router : world_.some_mac(random_), port.mac, from, world_.some_ca(random_));
}

Bytes Traffic::vm_arp(const Port &port)
{
	Arp arp;
	arp.operation = random_.one_in(5) ? 2 : 1;
	arp.sender_mac = port.mac;
	arp.sender = world_.some_ca(random_);
	for (int attempt = 0; attempt < 6; attempt++) {
		const Entry *source = some_record(port.vsid);
		if (source != nullptr && source->local && source->record.mac == port.mac)
			arp.sender = source->key.second;
	}
	if (random_.one_in(8))
		arp.sender = 0;
	arp.target = world_.some_ca(random_);
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

/// One thing about the outer headers becomes wrong. `ethernet`: bytes of the outer Ethernet header.
void Traffic::spoil_outer(Bytes &frame, std::size_t ethernet)
{
	const std::size_t ip = ethernet, gre = ethernet + 20;
	if (frame.size() < gre + 8)
		return;
	bool new_checksum = true;
	switch (random_.below(16)) {
	case 0:
		put_mac(frame, 0, random_.chance(50) ? world_.some_mac(random_) : world_.uplink_mac(static_cast<unsigned>(random_.below(5))));
		break;
	case 1:
		put_ip(frame, ip + 16, random_.chance(50) ? random_.pick(world_.local_pas) : random_.pick(world_.remote_pas));
		break;
	case 2:
		put_ip(frame, ip + 12, random_.chance(50) ? random_.pick(world_.local_pas) : random_.pick(world_.remote_pas));
		break;
	case 3:
		put16(frame, ip + 6, random_.pick<std::uint16_t>({0x2000, 0x0001, 0x1FFF, 0x8000, 0}));
		break;
	case 4:
		put8(frame, ip + 9, random_.pick<std::uint8_t>({0, 6, 17, 1, 46, 48}));
		break;
	case 5:
		put16(frame, ip + 10, static_cast<std::uint16_t>(random_.next()));
		new_checksum = false;
		break;
	case 6:
		put8(frame, ip, static_cast<std::uint8_t>(random_.next()));
		break;
	case 7:
		put16(frame, ip + 2, static_cast<std::uint16_t>(random_.one_in(3) ? random_.next() : get16(frame, ip + 2) + random_.below(9) - 4));
		break;
	case 8:
		put16(frame, gre, static_cast<std::uint16_t>(0x2000 ^ 1u << random_.below(16)));
		break;
	case 9:
		put16(frame, gre, static_cast<std::uint16_t>(random_.next()));
		break;
	case 10:
		put16(frame, gre + 2, random_.pick<std::uint16_t>({0x0800, 0x6559, 0x880B, 0}));
		break;
	case 11:
		put32(frame, gre + 4, random_.pick(world_.subnets).vsid << 8 | static_cast<std::uint32_t>(random_.below(256)));
		break;
	case 12:
		put32(frame, gre + 4, random_.pick<std::uint32_t>({0, 4095, 4096, 16777214, 16777215, 5000}) << 8);
		break;
	case 13:
		frame.resize(random_.below(frame.size() + 1));
		new_checksum = false;
		break;
	case 14:
		put16(frame, ethernet - 2, random_.pick<std::uint16_t>({0x86DD, 0x8100, 0x88A8, 0x9100, 0}));
		break;
	default:
		frame[random_.below(frame.size())] ^= static_cast<std::uint8_t>(1u << random_.below(8));
		new_checksum = random_.chance(50);
		break;
	}
	const std::size_t header = frame.size() > ip ? (frame[ip] & 15u) * 4 : 0;
	if (new_checksum && header >= 20 && ip + header <= frame.size()) {
		put16(frame, ip + 10, 0);
		put16(frame, ip + 10, internet_checksum(frame, ip, header));
	}
}

Bytes Traffic::provider_ip()
{
	const Pa &pa = random_.pick(pas_);
	const Entry *target = &random_.pick(records_);
	for (int attempt = 0; attempt < 8 && target->record.provider_address != pa.ip; attempt++)
		target = &random_.pick(records_);
	Vsid source_vsid = target->key.first;
	const auto peers = domain_peers_.find(target->key.first);
	if (peers != domain_peers_.end() && random_.chance(40))
		source_vsid = random_.pick(peers->second);
	const Entry *source = some_record(source_vsid);
	for (int attempt = 0; attempt < 6 && source != nullptr && source->local; attempt++)
		source = some_record(source_vsid);
	if (source == nullptr)
		source = target;

	Bytes inner = customer_packet(target->record.mac, source->record.mac, source->key.second, target->key.second);
	if (random_.chance(15))
		spoil_customer(inner);
	if (random_.one_in(30) && inner.size() >= ethernet_size)
		insert_tags(inner);

	build::Ethernet ethernet;
	ethernet.destination = pa.address.mac;
	ethernet.source = 0x0A0000000001;
	ethernet.vlan = pa.address.vlan;
	if (random_.one_in(25))
		ethernet.vlan = random_.pick<std::uint16_t>({0, 1, 100, 4094});
	build::Ip4 outer;
	outer.source = source->record.provider_address;
	outer.destination = pa.ip;
	outer.tos = static_cast<std::uint8_t>(random_.chance(60) ? random_.next() : 0);
	outer.ttl = static_cast<std::uint8_t>(random_.next());
	outer.identification = static_cast<std::uint16_t>(random_.next());
	if (random_.one_in(25))
		outer.options = static_cast<unsigned>(random_.between(1, 10));
	Bytes frame = build::nvgre(ethernet, outer, target->key.first, static_cast<std::uint8_t>(random_.next()), inner);
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
	if (outer.options == 0 && random_.chance(25))
		spoil_outer(frame, header);
	if (random_.one_in(8))
		pad(frame);
	return frame;
}

Bytes Traffic::provider_arp(std::uint32_t &port)
{
	Arp arp;
	std::uint16_t vlan = 0;
	Mac destination = 0xFFFFFFFFFFFF;
	if (!asked_.empty() && random_.chance(80)) {
		const std::size_t i = random_.below(asked_.size());
		const Asked request = asked_[i];
		asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(i));
		port = request.port;
		vlan = request.vlan;
		arp = {2, world_.remote_mac(request.neighbour), request.neighbour, request.by_mac, request.by};
		destination = request.by_mac;
		if (random_.one_in(10))
			arp.sender_mac ^= 0x10;
	} else {
		const bool known_host = random_.chance(70);
		const Ip sender = random_.chance(60) ? random_.pick(world_.remote_pas) : random_.pick(world_.routers);
		arp.operation = random_.one_in(4) ? 2 : 1;
		arp.sender = known_host ? sender : world_.some_ca(random_);
		arp.sender_mac = world_.remote_mac(sender) ^ (random_.one_in(6) ? 0x20 : 0);
		arp.target = random_.chance(70) ? random_.pick(world_.local_pas) : arp.sender;
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
		}
	}
	Mac source = arp.sender_mac;
	if (random_.one_in(20))
		source = world_.some_mac(random_);
	if (random_.one_in(40))
		source = arp.sender_mac = random_.pick<Mac>({0, 0xFFFFFFFFFFFF, 0x010000000001});
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

Frame Traffic::frame()
{
	Frame frame;
	frame.headroom = random_.one_in(20) ? random_.pick<std::uint32_t>({0, 41, 42, 45, 46, 200}) : APUS_HEADROOM;
	const bool from_provider = !provider_ports_.empty() && !records_.empty() && (vm_ports_.empty() || random_.chance(50));
	if (from_provider) {
		frame.port = random_.pick(provider_ports_);
		if (pas_.empty() || random_.one_in(asked_.empty() ? 14 : 4)) {
			frame.bytes = provider_arp(frame.port);
		} else {
			frame.bytes = provider_ip();
			// To the port of the provider address that it is for, mostly.
			if (frame.bytes.size() >= 38 && !random_.one_in(25)) {
				const std::size_t at = is_tag(get16(frame.bytes, 12)) ? 18 : 14;
				for (const Pa &pa : pas_)
					if (pa.ip == get32(frame.bytes, at + 16))
						frame.port = pa.address.port;
			}
		}
		if (random_.one_in(6))
			frame.flags = random_.pick<std::uint32_t>({APUS_FRAME_IP_CHECKSUM_GOOD, APUS_FRAME_IP_CHECKSUM_GOOD, APUS_FRAME_IP_CHECKSUM_BAD});
	} else if (!vm_ports_.empty()) {
		const auto &[id, port] = random_.pick(vm_ports_);
		frame.port = id;
		if (random_.one_in(8)) {
			frame.bytes = vm_arp(port);
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
