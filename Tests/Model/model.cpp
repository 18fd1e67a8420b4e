// SPDX-License-Identifier: Apache-2.0
#include "burst.hpp"

#include <algorithm>

#include "outside.hpp"
#include "rewrite.hpp"
#include "tunnel.hpp"
#include "vm_side.hpp"

namespace model {

constexpr std::size_t waiting_for_one_next_hop = 8;

/// Bytes of the tags that a customer's frame has.
static std::size_t tag_bytes(const Bytes &frame)
{
	std::size_t bytes = 0;
	while (is_tag(get16(frame, 12 + bytes)))
		bytes += 4;
	return bytes;
}

std::size_t Worker::held_for(const NextHop &hop) const
{
	return static_cast<std::size_t>(std::count_if(waiting_.begin(), waiting_.end(), [&](const Waiting &one) { return one.path.hop() == hop; }));
}

const Path *Worker::first_path(const NextHop &hop) const
{
	for (const Waiting &one : waiting_)
		if (one.path.hop() == hop)
			return &one.path;
	return nullptr;
}

void Model::changed()
{
	if (transaction_)
		return;
	neighbours_.policy_changed(policy_);
	path_mtus_.policy_changed(policy_);
}

void Model::commit()
{
	for (auto &[ip, address] : transaction_->provider_addresses) {
		const auto old = policy_.provider_addresses.find(ip);
		const bool is_old = old != policy_.provider_addresses.end();
		if (is_old && old->second.given == address.given)
			address.found = old->second.found;
		else
			address.continue_from(is_old ? &old->second : nullptr);
	}
	transaction_->provider_version = policy_.provider_version + (transaction_->provider_version != begun_at_);
	policy_ = std::move(*transaction_);
	transaction_.reset();
	neighbours_.policy_changed(policy_);
	path_mtus_.policy_changed(policy_);
}

Result Model::process(Worker &worker, const std::vector<Frame> &frames, std::uint64_t now)
{
	worker.now_ = std::max(worker.now_, now);
	Burst burst{worker, worker.now_, {}, {}};
	burst.send_request = [&](const Bytes &bytes, std::uint32_t port) {
		burst.stats().generated++;
		burst.stats().arp_requests++;
		const auto ethernet = OuterEthernet::parse(bytes);
		transmit(burst, new_buffer, port, APUS_FRAME_GENERATED, bytes, policy_.external_on(port, ethernet.vlan).value_or(0));
	};
	burst.stats().bursts++;
	watch_addresses(burst);

	// Packets that wait do so for a next hop that may no longer be theirs when the provider side has changed. Other
	// changes of the policy are seen when they go on.
	if (worker.provider_version_ != policy_.provider_version) {
		worker.provider_version_ = policy_.provider_version;
		decide_again(burst, [](const NextHop &) { return true; });
	}
	decide_again(burst, [&](const NextHop &hop) { return worker.wanted_.count(hop) != 0 && policy_.has_entry(hop); });
	want_again(burst);
	neighbours_.tick(policy_, settings_, [&](const NextHop &hop) { return worker.first_path(hop); }, burst.now, burst.send_request);
	release_waiting(burst);
	for (const Frame &frame : frames) {
		receive(burst, frame);
		release_waiting(burst);
	}
	burst.stats().held = worker.held();
	return std::move(burst.result);
}

Model::Explanation Model::explain(const Frame &frame, std::uint64_t now) const
{
	Model scratch = *this;
	Worker worker(SIZE_MAX);
	Burst burst{worker, now, {}, [](const Bytes &, std::uint32_t) {}};
	burst.explains = true;
	scratch.receive(burst, frame);
	burst.stats().held = worker.held();
	return {std::move(burst.result), burst.stats(), burst.leaves, burst.dropped};
}

bool Model::teaches_mtu(const Frame &frame) const
{
	Model scratch = *this;
	Worker worker(0);
	Burst burst{worker, 0, {}, {}};
	burst.explains = true;
	return scratch.decide(burst, frame).too_big.has_value();
}

std::vector<std::uint64_t> Model::destroy(Worker &worker)
{
	std::vector<std::uint64_t> released;
	lost_ += worker.notes_.size() + worker.notes_.take_lost();
	worker.stats_.events_lost += worker.notes_.size();
	for (const auto &[frame, path, copy, entered] : worker.waiting_) {
		worker.stats_.dropped++;
		worker.stats_.drops[APUS_DROP_WORKER_DESTROYED]++;
		if (copy)
			continue;
		if (frame.id != new_buffer)
			released.push_back(frame.id);
		const std::uint32_t port = entered != 0 ? entered : frame.port;
		if (policy_.ports.count(port) != 0)
			port_stats_[port].dropped++;
	}
	worker.wanted_.clear();
	worker.waiting_.clear();
	worker.stats_.held = 0;
	return released;
}

// ---- our own addresses (section 5.4) ---------------------------------------------------------------------------------

void Model::watch_addresses(Burst &burst)
{
	for (auto &[ip, address] : policy_.provider_addresses) {
		auto &found = address.found;
		const bool due = found.probes == 0 || (burst.now > found.probed && burst.now - found.probed >= settings_.retry_ns);
		if (!address.is_tentative() || !due)
			continue;
		found.passed = found.probes == 3;
		found.probes += !found.passed;
		found.probed = burst.now;
		Bytes frame;
		if (ip.is_v6()) {
			const Ip group = found.passed ? all_nodes() : solicited_node(ip);
			const Bytes header = ethernet_header(multicast_mac(group), address.mac, address.vlan, type_ipv6);
			frame = found.passed ? neighbour_advertisement(header, ip, address.mac, Ip::unspecified(6), false) : address_probe(header, ip);
		} else {
			frame = ethernet_header(0xFFFFFFFFFFFF, address.mac, address.vlan, type_arp);
			Arp{1, address.mac, found.passed ? ip : Ip(0), 0, ip}.append_to(frame);
		}
		burst.stats().generated++;
		burst.stats().address_probes++;
		transmit(burst, new_buffer, address.port, APUS_FRAME_GENERATED, std::move(frame));
		if (found.passed)
			burst.stats().events_lost += burst.worker.notes_.tell({address.port, {0, 0, address.mac, ip}, false, APUS_EVENT_ADDRESS_PREFERRED, 0});
	}
}

void Model::notice(Burst &burst, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame)
{
	const auto claim = Claim::parse(ethernet, frame);
	const auto found = claim ? policy_.provider_addresses.find(claim->address) : policy_.provider_addresses.end();
	if (found == policy_.provider_addresses.end())
		return;
	ProviderAddress &address = found->second;
	if (!address.is_usable() || !address.is_watched() || address.port != port || address.vlan != ethernet.vlan || address.mac == claim->mac ||
	    (claim->is_probe && !address.is_tentative()))
		return;
	burst.stats().address_conflicts++;
	if (!address.is_tentative()) {
		std::uint64_t &noted = address.found.conflict_noted;
		if (noted != 0 && (burst.now <= noted || burst.now - noted < 1'000'000'000))
			return;
		noted = burst.now;
		burst.stats().events_lost += burst.worker.notes_.tell({port, {0, 0, claim->mac, claim->address}, false, APUS_EVENT_ADDRESS_CONFLICT, 0});
		return;
	}
	address.found.duplicate = true;
	policy_.provider_version++;
	burst.stats().events_lost += burst.worker.notes_.tell({port, {0, 0, claim->mac, claim->address}, false, APUS_EVENT_ADDRESS_DUPLICATE, 0});
}

// ---- one frame -----------------------------------------------------------------------------------------------------

void Model::receive(Burst &burst, const Frame &frame)
{
	burst.stats().received++;
	burst.stats().received_bytes += frame.length();
	std::set<std::uint32_t> ports{frame.port};
	if (const auto external = external_of(frame))
		ports.insert(*external);
	for (const std::uint32_t port : ports)
		if (policy_.ports.count(port) != 0) {
			port_stats_[port].received++;
			port_stats_[port].received_bytes += frame.length();
		}
	carry_out(burst, frame, decide(burst, frame));
}

/// Section 1.
Verdict Model::decide(Burst &burst, const Frame &frame)
{
	const auto port = policy_.ports.find(frame.port);
	if (port == policy_.ports.end())
		return Verdict::drop(APUS_DROP_PORT_UNKNOWN);
	if (frame.inside != 0)
		return go_on_inside(frame);
	if (!is_valid(frame))
		return Verdict::drop(APUS_DROP_FRAME_INVALID);
	if (port->second.vm)
		return from_vm(policy_, settings_, frame.port, frame.bytes);

	const OuterEthernet ethernet = OuterEthernet::parse(frame.bytes);
	if (const auto external = policy_.external_on(frame.port, ethernet.vlan))
		return decide_outside(burst, frame, ethernet, *external);
	if (port->second.external)
		return Verdict::drop(APUS_DROP_OUTER_VLAN);
	if (!ethernet.complete)
		return Verdict::drop(APUS_DROP_OUTER_TRUNCATED);
	if (!burst.explains && (ethernet.type == type_arp || (ethernet.type == type_ipv6 && is_provider_discovery(ethernet, frame.bytes))))
		notice(burst, frame.port, ethernet, frame.bytes);
	if (ethernet.type == type_arp)
		return neighbours_.arp(policy_, frame.port, ethernet, frame.bytes, burst.now);
	if (ethernet.type != type_ipv4 && ethernet.type != type_ipv6)
		return Verdict::drop(APUS_DROP_OUTER_ETHERTYPE);
	if (ethernet.type == type_ipv6 && is_provider_discovery(ethernet, frame.bytes))
		return neighbours_.discovery(policy_, frame.port, ethernet, frame.bytes, burst.now);
	return from_provider(policy_, settings_, frame.port, ethernet, frame.bytes, frame.flags);
}

void Model::carry_out(Burst &burst, const Frame &frame, Verdict verdict)
{
	struct apus_stats &stats = burst.stats();
	learn(burst, frame.port, verdict.seen);
	switch (verdict.kind) {
	case Verdict::Kind::drop:
		if (verdict.complaint && !burst.explains)
			complain(burst, frame, *verdict.complaint);
		return refuse(burst, frame, verdict, verdict.reason, 0);
	case Verdict::Kind::leave:
		return leave(burst, frame, verdict);
	case Verdict::Kind::consume:
		stats.consumed++;
		stats.control_messages += verdict.control != 0;
		if (verdict.control != 0)
			stats.events_lost += burst.worker.notes_.control(
				settings_, {frame.port, {verdict.vsid, Ip(0), 0, verdict.told}, false, verdict.control, verdict.remote, verdict.about}, burst.now);
		stats.path_mtu_updates += verdict.too_big && path_mtus_.learn(policy_, frame.port, *verdict.too_big, burst.now);
		burst.result.released.push_back(frame.id);
		return;
	case Verdict::Kind::answer:
	case Verdict::Kind::reply: {
		const bool in_place = verdict.kind == Verdict::Kind::answer;
		stats.consumed++;
		stats.generated++;
		stats.arp_replies += verdict.work == Verdict::Work::arp_reply;
		if (verdict.work == Verdict::Work::echo_reply && (verdict.gateway != 0 || verdict.entered != 0))
			saw(verdict.tunnel ? Outside::echo_tunnel : verdict.entered != 0 ? Outside::echo_outside : Outside::echo_vm);
		stats.echo_replies += verdict.work == Verdict::Work::echo_reply;
		stats.router_advertisements += verdict.work == Verdict::Work::router_advertisement;
		if (verdict.tunnel)
			return send_inside(burst, verdict.gateway, frame.id, std::move(verdict.bytes), frame.contiguous - verdict.tunnel->outer,
					   frame.headroom + verdict.tunnel->outer);
		if (!in_place)
			burst.result.released.push_back(frame.id);
		return transmit(burst, in_place ? frame.id : new_buffer, frame.port, APUS_FRAME_GENERATED, std::move(verdict.bytes),
				external_of(frame).value_or(0));
	}
	case Verdict::Kind::deliver:
		stats.switched += verdict.work == Verdict::Work::switched;
		stats.decapsulated += verdict.work == Verdict::Work::decapsulated;
		stats.rewritten += verdict.work == Verdict::Work::rewritten;
		stats.routed += verdict.routed;
		return transmit(burst, frame.id, verdict.port, 0, std::move(verdict.bytes));
	case Verdict::Kind::encapsulate:
	case Verdict::Kind::rewrite:
		return send_to_provider_network(burst, frame, verdict);
	case Verdict::Kind::flood:
		return flood(burst, frame, verdict);
	}
}

/// Section 2.3, step 2.
Model::Arrival Model::reach(Burst &burst, const Path &path)
{
	Worker &worker = burst.worker;
	if (!policy_.has_entry(path.hop()))
		return reach_unknown(burst, path);
	worker.wanted_.erase(path.hop());
	const std::size_t queued = worker.held_for(path.hop());
	const bool full = queued >= waiting_for_one_next_hop || worker.held() >= worker.held_capacity_;
	const auto queue = full && queued != 0                 ? Neighbours::Queue::full
			   : full                              ? Neighbours::Queue::shut
			   : queued != 0                       ? Neighbours::Queue::waiting
			   : burst.waited_for == path.hop()      ? Neighbours::Queue::again
							       : Neighbours::Queue::empty;
	const auto resolution = neighbours_.resolve(policy_, settings_, path, queue, burst.now, burst.send_request);
	Arrival arrival;
	arrival.mac = resolution.mac;
	if (resolution.kind == Neighbours::Resolution::Kind::failed)
		arrival.refused = APUS_DROP_NEIGHBOR_FAILED;
	else if (resolution.kind == Neighbours::Resolution::Kind::wait && full)
		arrival.refused = APUS_DROP_NEIGHBOR_QUEUE_FULL;
	else
		arrival.waits = resolution.kind == Neighbours::Resolution::Kind::wait;
	return arrival;
}

/// Section 2.7, steps 3 to 5. Nothing: the transport checksum is not there.
static std::optional<Bytes> rewritten(const Bytes &frame, const Verdict &verdict, const ProviderAddress &source, Mac next_hop)
{
	const std::uint16_t type = get16(frame, 12);
	const IpPacket ip = *IpPacket::parse(type, frame, ethernet_size, readable);
	Bytes whole = frame;
	if (!translate(whole, ip, {verdict.source_pa, verdict.remote}))
		return std::nullopt;
	Bytes out = ethernet_header(next_hop, verdict.source_mac.value_or(source.mac), source.vlan, type);
	out.insert(out.end(), whole.begin() + ethernet_size, whole.begin() + static_cast<std::ptrdiff_t>(ip.end()));
	return out;
}

/// To a provider address that takes customers' packets of this size.
void Model::has_way(Burst &burst, std::size_t mtu)
{
	burst.result.mtu = burst.result.mtu == 0 ? mtu : std::min(burst.result.mtu, mtu);
}

/// Sections 2.3 and 2.7.
void Model::send_to_provider_network(Burst &burst, const Frame &frame, const Verdict &verdict)
{
	const bool rewrites = verdict.kind == Verdict::Kind::rewrite;
	auto path = policy_.path_to(verdict.remote, verdict.sender);
	if (!path)
		return drop(burst, frame, APUS_DROP_PROVIDER_ROUTE_MISSING, verdict.entered);
	if (rewrites) {
		const ProviderAddress *own = policy_.usable_address(verdict.source_pa);
		path->has_source = own != nullptr && own->port == path->port;
		path->source = verdict.source_pa;
	}
	if (!path->has_source)
		return drop(burst, frame, APUS_DROP_PROVIDER_ADDRESS_MISSING, verdict.entered);

	const Peer peer = policy_.peer(verdict.remote);
	const std::size_t path_mtu = path_mtus_.mtu(policy_, path->port, verdict.remote, burst.now);
	const std::size_t overhead = rewrites ? 0 : tunnel_overhead(verdict.remote, peer);
	const std::size_t mtu = path_mtu > overhead ? path_mtu - overhead : 0;
	has_way(burst, mtu);

	const Arrival resolution = reach(burst, *path);
	if (resolution.refused)
		return drop(burst, frame, *resolution.refused, verdict.entered);
	if (resolution.waits) {
		Frame kept = frame;
		if (!verdict.is_ip) {  // its padding is gone
			kept.bytes.resize(tag_bytes(frame.bytes) + verdict.bytes.size());
			kept.contiguous = std::min(kept.contiguous, kept.length());
		}
		return wait(burst, std::move(kept), *path, verdict.entered);
	}

	const ProviderAddress &source = policy_.provider_addresses.at(path->source);
	const std::size_t total_length = verdict.is_ip ? IpPacket::parse(get16(verdict.bytes, 12), verdict.bytes, ethernet_size)->total_length
						       : verdict.bytes.size() - ethernet_size;
	// Tags that were taken out of the customer's frame leave their room as headroom.
	const std::size_t removed = verdict.is_ip ? frame.bytes.size() - verdict.bytes.size() : tag_bytes(frame.bytes);
	const auto outside = [&](const Bytes &inside) {
		return rewrites ? rewritten(inside, verdict, source, resolution.mac)
				: std::optional<Bytes>(encapsulated(inside, settings_, source, path->source, verdict.remote, resolution.mac,
								    verdict.vsid, verdict.flow_id, verdict.is_ip, peer));
	};
	const auto count = [&] {
		(rewrites ? burst.stats().rewritten : burst.stats().encapsulated)++;
		burst.stats().routed += verdict.routed;
	};
	const std::uint32_t flags = rewrites ? 0 : APUS_FRAME_ENCAPSULATED;
	if (total_length > mtu && !verdict.is_ip)
		return drop(burst, frame, APUS_DROP_MTU_EXCEEDED, verdict.entered);
	if (total_length > mtu) {
		const std::vector<Bytes> fragments = fragments_of(verdict.bytes, frame.contiguous - removed, mtu);
		if (fragments.empty())
			return refuse(burst, frame, verdict, APUS_DROP_MTU_EXCEEDED, mtu);
		for (const Bytes &fragment : fragments) {
			burst.stats().generated++;
			count();
			transmit(burst, new_buffer, path->port, flags, *outside(fragment));
		}
		burst.result.ordered = false;
		burst.stats().fragmented++;
		burst.stats().consumed++;
		if (frame.id != new_buffer)
			burst.result.released.push_back(frame.id);
		return;
	}
	if (frame.headroom + removed < overhead + (source.vlan != 0 ? 4 : 0))
		return drop(burst, frame, APUS_DROP_NO_HEADROOM, verdict.entered);
	auto bytes = outside(verdict.bytes);
	if (!bytes)
		return drop(burst, frame, APUS_DROP_TRANSPORT_TRUNCATED, verdict.entered);

	count();
	transmit(burst, frame.id, path->port, flags, std::move(*bytes));
}

/// Section 7.
void Model::refuse(Burst &burst, const Frame &frame, const Verdict &verdict, Reason reason, std::size_t mtu)
{
	if (verdict.tunnel || verdict.entered != 0) {
		tell_outside(burst, frame, verdict, reason, mtu);
	} else if (reason == APUS_DROP_TTL_EXPIRED || reason == APUS_DROP_MTU_EXCEEDED) {
		auto error = icmp_error(policy_, settings_, frame.port, frame.bytes, frame.contiguous, reason, mtu);
		if (error && may_tell(burst, frame.port)) {
			burst.stats().generated++;
			burst.stats().icmp_errors++;
			transmit(burst, new_buffer, frame.port, APUS_FRAME_GENERATED, std::move(*error));
		} else if (error) {
			burst.stats().icmp_suppressed++;
		}
	}
	drop(burst, frame, reason, verdict.entered);
}

bool Model::may_tell(Burst &burst, std::uint32_t port)
{
	const std::uint64_t interval = 1'000'000'000 / settings_.icmp_error_rate;
	std::uint64_t &next = burst.worker.next_error_[port % APUS_PORTS_MAX];
	const std::uint64_t due = std::max(next, burst.now);
	if (due - burst.now > 9 * interval)
		return false;
	next = due + interval;
	return true;
}

/// Packets whose next hop has become known, or has failed, go on.
void Model::release_waiting(Burst &burst)
{
	decide_again(burst, [&](const NextHop &hop) { return policy_.has_entry(hop) && neighbours_.is_settled(policy_, hop); });
}

/// Packets that wait for a next hop that is `ready` are decided again by the policy of now, as if they came only now.
void Model::decide_again(Burst &burst, const std::function<bool(const NextHop &)> &ready)
{
	std::deque<Worker::Waiting> again, rest;
	for (Worker::Waiting &one : burst.worker.waiting_)
		(ready(one.path.hop()) ? again : rest).push_back(std::move(one));
	burst.worker.waiting_ = std::move(rest);
	if (!again.empty())
		burst.result.ordered = false;
	for (const Worker::Waiting &one : again) {
		burst.waited_for = one.path.hop();
		if (one.copy) {
			pass_copy_again(burst, *one.copy);
			continue;
		}
		carry_out(burst, one.frame, decide(burst, one.frame));
	}
	burst.waited_for.reset();
}

// ---- where frames end ----------------------------------------------------------------------------------------------

void Model::transmit(Burst &burst, std::uint64_t id, std::uint32_t port, std::uint32_t flags, Bytes bytes, std::uint32_t external)
{
	burst.stats().transmitted++;
	burst.stats().transmitted_bytes += bytes.size();
	for (const std::uint32_t one : std::set<std::uint32_t>{port, external != 0 ? external : port}) {
		port_stats_[one].transmitted++;
		port_stats_[one].transmitted_bytes += bytes.size();
	}
	if ((flags & APUS_FRAME_GENERATED) != 0)
		burst.result.ordered = false;
	burst.result.outputs.push_back({id, port, flags, std::move(bytes)});
}

void Model::drop(Burst &burst, const Frame &frame, Reason reason, std::uint32_t entered)
{
	burst.stats().dropped++;
	burst.stats().drops[reason]++;
	if (frame.inside == 0)
		burst.dropped = reason;
	const std::uint32_t port = entered != 0 ? entered : frame.port;
	if (policy_.ports.count(port) != 0)
		port_stats_[port].dropped++;
	if (frame.id != new_buffer)
		burst.result.released.push_back(frame.id);
}

}  // namespace model
