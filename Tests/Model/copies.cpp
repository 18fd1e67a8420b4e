// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md 2.6, 3.2 and 3.7: a frame that several machines get, on this host and on others.
#include <algorithm>

#include "burst.hpp"
#include "tunnel.hpp"

namespace model {

/// The limit of 3.2.
bool Model::may_copy(Burst &burst, std::uint32_t port, std::uint64_t copies, std::uint64_t rate)
{
	std::uint64_t &next = burst.worker.next_copy_[port % APUS_PORTS_MAX];
	const std::uint64_t due = std::max(next, burst.now);
	if (due - burst.now > 100'000'000)
		return false;
	next = due + copies * (1'000'000'000 / rate);
	return true;
}

void Model::flood(Burst &burst, const Frame &frame, const Verdict &verdict)
{
	const bool decapsulated = verdict.work == Verdict::Work::decapsulated;
	std::vector<std::uint32_t> targets;  // lowest number first
	for (const auto &[id, port] : policy_.ports)
		if (port.vm && port.vsid == verdict.vsid && id != frame.port)
			targets.push_back(id);
	const std::size_t copies = verdict.hosts.empty() ? 0 : verdict.group ? 1 : verdict.hosts.size();
	const std::size_t length = decapsulated ? verdict.outer + verdict.bytes.size() : frame.length();
	if (verdict.whole && (copies != 0 || targets.size() > 1) && frame.contiguous < length)
		return drop(burst, frame, APUS_DROP_FRAME_INVALID);
	if (copies != 0 && !may_copy(burst, frame.port, copies, verdict.copy_rate))
		return drop(burst, frame, APUS_DROP_REPLICATION_LIMIT);

	burst.result.ordered = burst.result.ordered && copies == 0;
	const auto sender = copies == 0 ? std::nullopt : policy_.sender_of(verdict.vsid, get_mac(verdict.copy, 6));
	if (copies != 0 && verdict.group)
		send_copy(burst, {*verdict.group, verdict.vsid, verdict.copy, true, false, sender});
	else
		for (const Ip &host : verdict.hosts)
			send_copy(burst, {host, verdict.vsid, verdict.copy, false, false, sender});

	if (targets.empty()) {
		if (copies == 0 && !(verdict.whole && !decapsulated))
			return drop(burst, frame, verdict.reason);
		burst.stats().consumed++;
		burst.result.released.push_back(frame.id);
		return;
	}
	// A copy has what is contiguous of the frame; anything beyond is Ethernet padding of an ARP packet.
	const std::size_t removed = decapsulated ? verdict.outer : frame.bytes.size() - verdict.bytes.size();
	Bytes copy = verdict.bytes;
	copy.resize(std::min(copy.size(), frame.contiguous - removed));
	for (std::size_t i = 0; i + 1 < targets.size(); i++) {
		burst.stats().generated++;
		(decapsulated ? burst.stats().decapsulated : burst.stats().switched)++;
		transmit(burst, new_buffer, targets[i], APUS_FRAME_GENERATED, copy);
	}
	(decapsulated ? burst.stats().decapsulated : burst.stats().switched)++;
	transmit(burst, frame.id, targets.back(), 0, verdict.bytes);
}

/// A drop of a copy counts beside its `generated`; no frame that was received is dropped.
void Model::drop_copy(Burst &burst, Reason reason)
{
	burst.stats().dropped++;
	burst.stats().drops[reason]++;
}

void Model::send_copy(Burst &burst, const Copy &copy)
{
	burst.stats().generated++;
	pass_copy(burst, copy);
}

void Model::pass_copy(Burst &burst, const Copy &copy)
{
	const auto path = policy_.path_to(copy.remote, copy.sender);
	if (!path)
		return drop_copy(burst, APUS_DROP_PROVIDER_ROUTE_MISSING);
	if (!path->has_source)
		return drop_copy(burst, APUS_DROP_PROVIDER_ADDRESS_MISSING);
	// Whoever it is for may be gone while it waited.
	if (copy.is_control && policy_.static_neighbours.count(path->next_hop) == 0 && policy_.needed_neighbours().count(path->next_hop) == 0)
		return drop_copy(burst, APUS_DROP_NEIGHBOR_FAILED);
	const Peer peer = policy_.peer(copy.remote);
	const std::size_t path_mtu = path_mtus_.mtu(policy_, path->port, copy.remote, burst.now), overhead = tunnel_overhead(copy.remote, peer);
	const std::size_t mtu = path_mtu > overhead ? path_mtu - overhead : 0;
	has_way(burst, mtu);
	Mac next_hop = mac_of_group(copy.remote);
	if (!copy.to_group) {
		const Arrival arrival = reach(burst, *path);
		if (arrival.refused)
			return drop_copy(burst, *arrival.refused);
		if (arrival.waits) {
			burst.worker.waiting_.push_back({{}, *path, copy, 0});
			return;
		}
		next_hop = arrival.mac;
	}
	if (copy.bytes.size() - ethernet_size > mtu)
		return drop_copy(burst, APUS_DROP_MTU_EXCEEDED);
	burst.stats().encapsulated++;
	(copy.is_control ? burst.stats().unreachable_sent : burst.stats().replicated)++;
	const ProviderAddress &source = policy_.provider_addresses.at(path->source);
	transmit(burst, new_buffer, path->port, APUS_FRAME_ENCAPSULATED,
		 encapsulated(copy.bytes, settings_, source, path->source, copy.remote, next_hop, copy.vsid, 0, false, peer));
}

/// The copy has waited.
void Model::pass_copy_again(Burst &burst, const Copy &copy)
{
	if (!copy.is_control && !policy_.vsid_is_at(copy.vsid, copy.remote))
		return drop_copy(burst, APUS_DROP_DESTINATION_RECORD_MISSING);
	pass_copy(burst, copy);
}

/// Section 4.4: UNREACHABLE.
void Model::complain(Burst &burst, const Frame &frame, const Complaint &about)
{
	const auto path = policy_.path_to(about.to, about.ours);
	if (!path || !path->has_source || policy_.peer(about.to).is_vxlan())
		return;
	if (!may_tell(burst, frame.port)) {
		burst.stats().icmp_suppressed++;
		return;
	}
	const bool v6 = about.to.is_v6();
	Bytes quoted = about.packet;
	quoted.resize(std::min({quoted.size(), std::size_t{v6 ? 1232u : 548u}, frame.contiguous - about.at}));
	Bytes bytes = ethernet_header(about.to_mac, about.from_mac, 0, v6 ? type_ipv6 : type_ipv4);
	const Bytes message = icmp_error_message(path->source, about.to, v6 ? 1 : 3, v6 ? 1 : 10, 0, quoted);
	bytes.insert(bytes.end(), message.begin(), message.end());
	burst.result.ordered = false;
	send_copy(burst, {about.to, about.vsid, std::move(bytes), false, true, about.ours});
}

// ---- learning ------------------------------------------------------------------------------------------------------

void Model::learn(Burst &burst, std::uint32_t port, const std::vector<Seen> &seen)
{
	for (const Seen &one : seen) {
		const auto counts = burst.worker.notes_.see(policy_, settings_, port, one, burst.now);
		burst.stats().learn_throttled += counts.throttled;
		burst.stats().events_lost += counts.lost;
	}
}

std::vector<Event> Model::poll(const std::vector<Worker *> &workers)
{
	std::vector<Event> events;
	std::uint64_t lost = lost_;
	lost_ = 0;
	for (Worker *worker : workers)
		lost += worker->notes_.take_lost();
	if (lost != 0) {
		Event event;
		event.kind = APUS_EVENT_LOST;
		event.count = static_cast<std::uint32_t>(lost);
		events.push_back(event);
	}
	for (Worker *worker : workers)
		for (const Notes::Note &note : worker->notes_.take())
			if (note.told == Notes::Note::wanted) {
				if (policy_.enter({note.port, note.seen.ip}))
					saw(Outside::entered);
			} else
				learned_ += make_record(policy_, note, events);
	return events;
}

}  // namespace model
