// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 9, what is done after the decision: waiting for next hops outside, leaving, and what the
// library itself sends from an external port.
#include <algorithm>

#include "burst.hpp"
#include "outside.hpp"
#include "vm_side.hpp"

namespace model {

bool Model::is_valid(const Frame &frame) const
{
	return !frame.null_data && frame.length() >= ethernet_size && frame.length() <= APUS_FRAME_MAX &&
	       frame.contiguous >= std::min(frame.length(), APUS_CONTIGUOUS);
}

/// The external port that the frame came to, if it is one.
std::optional<std::uint32_t> Model::external_of(const Frame &frame) const
{
	if (frame.inside != 0 || policy_.ports.count(frame.port) == 0 || !is_valid(frame))
		return std::nullopt;
	return policy_.external_on(frame.port, OuterEthernet::parse(frame.bytes).vlan);
}

static Bytes without_tag(Bytes frame)
{
	frame.erase(frame.begin() + 12, frame.begin() + static_cast<std::ptrdiff_t>(OuterEthernet::parse(frame).size - 2));
	return frame;
}

/// Who sent the packet is not known any more, or it was not sent.
Verdict Model::go_on_inside(const Frame &frame) const
{
	Verdict verdict = go_inside(policy_, settings_, frame.inside, frame.bytes);
	if (verdict.kind != Verdict::Kind::answer)
		return verdict;
	verdict = Verdict::drop(APUS_DROP_GATEWAY_UNSERVED);
	verdict.entered = frame.inside;
	return verdict;
}

/// Section 9.2.
Verdict Model::decide_outside(Burst &burst, const Frame &frame, const OuterEthernet &ethernet, std::uint32_t external)
{
	if (!ethernet.complete)
		return Verdict::drop(APUS_DROP_OUTER_TRUNCATED);
	if (ethernet.type == type_arp)
		return neighbours_.arp_outside(policy_, external, ethernet, frame.bytes, burst.now);
	const Bytes plain = without_tag(frame.bytes);
	if (ethernet.type == type_ipv6)
		if (const auto ip = IpPacket::parse(type_ipv6, plain, ethernet_size, readable); ip && is_discovery(plain, *ip))
			return neighbours_.discovery_outside(policy_, external, ethernet, frame.bytes, plain, *ip, burst.now);
	return from_outside(policy_, settings_, external, plain);
}

void Model::wait(Burst &burst, Frame frame, const Path &path, std::uint32_t entered)
{
	if (entered != 0 && frame.inside == 0) {  // it came in
		Bytes plain = without_tag(frame.bytes);
		put_mac(plain, 6, policy_.ports.at(entered).mac);
		const auto tag = static_cast<std::uint32_t>(frame.bytes.size() - plain.size());
		frame.headroom += tag;
		frame.contiguous -= tag;
		frame.port = frame.inside = entered;
		frame.bytes = std::move(plain);
	}
	burst.worker.waiting_.push_back({std::move(frame), path, std::nullopt, entered});
}

// ---- next hops that nobody named -----------------------------------------------------------------------------------------

void Model::want(Burst &burst, const NextHop &hop)
{
	const auto counts = burst.worker.notes_.want(settings_, hop, burst.now);
	burst.stats().learn_throttled += counts.throttled;
	burst.stats().events_lost += counts.lost;
}

/// At the begin of a burst.
void Model::want_again(Burst &burst)
{
	Worker &worker = burst.worker;
	std::vector<NextHop> hops;  // in the order in which packets began to wait
	for (const Worker::Waiting &one : worker.waiting_)
		if (worker.wanted_.count(one.path.hop()) != 0 && std::find(hops.begin(), hops.end(), one.path.hop()) == hops.end())
			hops.push_back(one.path.hop());
	for (const NextHop &hop : hops) {
		Worker::Wanted &wanted = worker.wanted_[hop];
		if (burst.now - wanted.last < settings_.retry_ns)
			continue;
		saw(wanted.notes < settings_.retries ? Outside::wanted_again : Outside::never_entered);
		if (wanted.notes < settings_.retries) {
			want(burst, hop);
			wanted = {wanted.notes + 1, burst.now};
			continue;
		}
		std::deque<Worker::Waiting> rest;
		for (Worker::Waiting &packet : worker.waiting_)
			if (packet.path.hop() == hop)
				drop(burst, packet.frame, APUS_DROP_NEIGHBOR_FAILED, packet.entered);
			else
				rest.push_back(std::move(packet));
		worker.waiting_ = std::move(rest);
	}
	for (auto one = worker.wanted_.begin(); one != worker.wanted_.end();)
		one = worker.held_for(one->first) == 0 ? worker.wanted_.erase(one) : std::next(one);
}

/// The next hop is not entered.
Model::Arrival Model::reach_unknown(Burst &burst, const Path &path)
{
	Worker &worker = burst.worker;
	const NextHop hop = path.hop();
	const std::size_t queued = worker.held_for(hop);
	Arrival arrival;
	if (queued == 0)
		want(burst, hop);
	if (queued >= 8 || worker.held() >= worker.held_capacity_) {
		arrival.refused = APUS_DROP_NEIGHBOR_QUEUE_FULL;
		return arrival;
	}
	if (queued == 0)
		worker.wanted_[hop] = {1, burst.now};
	arrival.waits = true;
	return arrival;
}

// ---- out -----------------------------------------------------------------------------------------------------------------

/// Section 9.1, from step 3 on.
void Model::leave(Burst &burst, const Frame &frame, const Verdict &verdict)
{
	const Port &port = policy_.ports.at(verdict.gateway);
	Bytes bytes = verdict.bytes;
	const IpPacket ip = *IpPacket::parse(get16(bytes, 12), bytes, ethernet_size);
	Path path;
	path.behind = verdict.gateway;
	path.port = policy_.device_of(verdict.gateway);
	path.next_hop = verdict.remote;
	path.has_source = true;
	path.source = port.side(ip.source.family)->address;

	if (ip.ttl <= 1 && !neighbours_.is_known(policy_, path.hop()))
		return refuse(burst, frame, verdict, APUS_DROP_TTL_EXPIRED, 0);
	const Arrival arrival = reach(burst, path);
	if (arrival.refused)
		return drop(burst, frame, *arrival.refused, verdict.entered);
	if (arrival.waits)
		return wait(burst, frame, path, verdict.entered);

	if (verdict.tunnel && !take_over_tos(bytes, ip, *verdict.tunnel))
		return drop(burst, frame, APUS_DROP_ECN, verdict.entered);
	Verdict marked = verdict;
	marked.bytes = bytes;
	if (ip.ttl <= 1)
		return refuse(burst, frame, marked, APUS_DROP_TTL_EXPIRED, 0);
	const std::size_t front = verdict.tunnel ? verdict.tunnel->outer : frame.bytes.size() - bytes.size();
	const auto send = [&](std::uint64_t id, const Bytes &inner) {
		const IpPacket packet = *IpPacket::parse(get16(inner, 12), inner, ethernet_size);
		Bytes out = ethernet_header(arrival.mac, port.mac, port.vlan, get16(inner, 12));
		const std::size_t at = out.size();
		out.insert(out.end(), inner.begin() + ethernet_size, inner.begin() + static_cast<std::ptrdiff_t>(packet.end()));
		put8(out, at + (ip.is_v6() ? 7 : 8), static_cast<std::uint8_t>(packet.ttl - 1));
		if (!ip.is_v6())
			put16(out, at + 10, updated_checksum(get16(inner, packet.at + 10), get16(inner, packet.at + 8), get16(out, at + 8)));
		burst.leaves = true;
		saw(verdict.tunnel ? Outside::from_tunnel : verdict.entered != 0 ? Outside::from_other : Outside::from_vm);
		burst.stats().routed++;
		burst.stats().decapsulated += verdict.tunnel.has_value();
		transmit(burst, id, path.port, 0, std::move(out), verdict.gateway);
	};
	if (ip.total_length > port.mtu) {
		const std::vector<Bytes> fragments = fragments_of(bytes, frame.contiguous - front, port.mtu);
		if (fragments.empty())
			return refuse(burst, frame, marked, APUS_DROP_MTU_EXCEEDED, port.mtu);
		for (const Bytes &fragment : fragments) {
			burst.stats().generated++;
			send(new_buffer, fragment);
		}
		burst.result.ordered = false;
		saw(Outside::as_fragments);
		burst.stats().fragmented++;
		burst.stats().consumed++;
		if (frame.id != new_buffer)
			burst.result.released.push_back(frame.id);
		return;
	}
	if (frame.headroom + front < (port.vlan != 0 ? 4 : 0))
		return drop(burst, frame, APUS_DROP_NO_HEADROOM, verdict.entered);
	send(frame.id, bytes);
}

// ---- what the library sends ------------------------------------------------------------------------------------------------

/// `bytes` of ours from the external port go on at 9.2.5.
void Model::send_inside(Burst &burst, std::uint32_t external, std::uint64_t id, Bytes bytes, std::size_t contiguous, std::size_t headroom)
{
	burst.result.ordered = false;
	Frame frame;
	frame.id = id;
	frame.port = external;
	frame.inside = external;
	frame.headroom = static_cast<std::uint32_t>(headroom);
	frame.bytes = std::move(bytes);
	frame.contiguous = static_cast<std::uint32_t>(std::min(contiguous, frame.bytes.size()));
	carry_out(burst, frame, decide(burst, frame));
}

/// ICMP errors about packets from outside, and about those out of tunnels.
void Model::tell_outside(Burst &burst, const Frame &frame, const Verdict &verdict, Reason reason, std::size_t mtu)
{
	if (frame.inside != 0 || (reason != APUS_DROP_TTL_EXPIRED && reason != APUS_DROP_MTU_EXCEEDED))
		return;
	const bool inwards = verdict.tunnel.has_value();
	const std::uint32_t external = inwards ? verdict.gateway : verdict.entered;
	const Port &port = policy_.ports.at(external);
	Bytes packet;
	std::size_t contiguous = frame.contiguous, visible = readable;
	if (inwards) {
		packet = verdict.bytes;
		contiguous -= verdict.tunnel->outer;
		visible -= verdict.tunnel->outer;
	} else {
		packet = without_tag(frame.bytes);
		contiguous -= frame.bytes.size() - packet.size();
	}
	const Mac sender = get_mac(packet, 6);
	const auto message = icmp_error_outside(policy_, settings_, external, packet, visible, contiguous, reason, mtu);
	if (!message || (!inwards && (sender == 0 || is_group(sender))))
		return;
	if (!may_tell(burst, external)) {
		burst.stats().icmp_suppressed++;
		return;
	}
	burst.stats().generated++;
	burst.stats().icmp_errors++;
	saw(inwards ? Outside::error_in : Outside::error_out);
	Bytes error = ethernet_header(sender, port.mac, inwards ? 0 : port.vlan, get16(packet, 12));
	error.insert(error.end(), message->begin(), message->end());
	if (!inwards)
		return transmit(burst, new_buffer, frame.port, APUS_FRAME_GENERATED, std::move(error), external);
	const std::size_t size = error.size();
	const std::size_t mtu_of_packet = burst.result.mtu;
	send_inside(burst, external, new_buffer, std::move(error), size, APUS_HEADROOM);
	burst.result.mtu = mtu_of_packet;  // that of the error is not what was asked for
}

}  // namespace model
