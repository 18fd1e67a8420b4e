// SPDX-License-Identifier: Apache-2.0
// Random policies and random frames: the library against the model, burst by burst.
//
// Each round makes a world, a policy of it, and two dataplanes: one whose workers have an ample flow cache and one whose
// workers have the smallest. Both get the same bursts, and both must do what the model, which caches nothing, says.
//
//     differential [--seed N] [--packets N] [--seconds N] [--families 4|6|46] [--no-external] [--verbose] [--coverage]
#include <chrono>
#include <memory>

#include "comparison.hpp"
#include "objects.hpp"
#include "report.hpp"
#include "traffic.hpp"
#include "world.hpp"

namespace {

using comparison::Side;
using report::text;

struct Options {
	std::uint64_t seed = 1;
	std::uint64_t packets = 1'000'000;
	std::uint64_t seconds = 0;  // 0: as long as the packets take
	world::Families families;
	bool verbose = false;
	bool external = true;
	bool coverage = false;
};

/// What all rounds brought about.
struct apus_stats covered = {};
std::uint64_t covered_events[APUS_EVENT_KIND_COUNT] = {};
model::Model::OutsideCounts covered_outside = {};
constexpr const char *outside_names[] = {"from vm", "from a tunnel", "from another one", "as fragments", "echo to vm", "echo into a tunnel", "echo outside",
					  "error inwards", "error outwards", "next hop entered", "wanted again", "never entered"};
static_assert(std::size(outside_names) == std::size(model::Model::OutsideCounts{}));

/// Everything there is must have happened, but for what needs a host without memory.
void check_coverage()
{
	const auto happened = [](const char *kind, const char *name, std::uint64_t count) {
		std::printf("  %-8s %-28s %llu\n", kind, name, static_cast<unsigned long long>(count));
		report::check(count != 0, text("%s %s: never", kind, name));
	};
	for (const comparison::Counter &counter : comparison::counters)
		happened("counter", counter.name, covered.*counter.value);
	for (std::uint32_t reason = 0; reason < APUS_DROP_REASON_COUNT; reason++)
		if (apus_drop_reason_name(reason)[0] != 0 && reason != APUS_DROP_NO_BUFFER && reason != APUS_DROP_OUTPUT_FULL &&
		    reason != APUS_DROP_NEW_FLOW_LIMIT)
			happened("drop", apus_drop_reason_name(reason), covered.drops[reason]);
	for (std::size_t i = 0; i < covered_outside.size(); i++)
		happened("outside", outside_names[i], covered_outside[i]);
	for (std::uint32_t kind = 0; kind < APUS_EVENT_KIND_COUNT; kind++)
		if (apus_event_name(kind)[0] != 0)
			happened("event", apus_event_name(kind), covered_events[kind]);
}

constexpr std::uint64_t packets_in_a_round = 12'000;
constexpr std::size_t sides = 2;

model::Settings random_settings(Random &random)
{
	model::Settings settings;
	settings.accept_reserved_vsids = random.one_in(5);
	settings.flow_id_zero = random.one_in(4);
	settings.no_source_validation = random.one_in(5);
	settings.accept_ip_options = random.one_in(4);
	settings.gateway_mac = random.one_in(3) ? 0x02AABBCCDDEE : settings.gateway_mac;
	settings.outer_ttl = random.pick<std::uint8_t>({128, 64, 255, 1});
	settings.retry_ns = random.pick<std::uint64_t>({10, 100, 1000}) * 1'000'000;
	// When an old neighbour is asked again depends on the cache; drop_reasons.cpp has that.
	settings.reachable_ns = 3'600'000'000'000;
	settings.no_icmp_errors = random.one_in(5);
	settings.vxlan_port = random.pick<std::uint16_t>({4789, 4789, 8472, 1, 65535});
	settings.icmp_error_rate = random.pick<std::uint32_t>({1, 100, 1'000'000});
	settings.external_router = random.one_in(6);
	settings.send_unreachable = random.one_in(3);
	settings.learn_rate = random.pick<std::uint32_t>({1, 100, 1'000'000});
	settings.retries = static_cast<unsigned>(random.pick<std::uint32_t>({1, 2, 3, 16}));
	return settings;
}

class Round {
public:
	Round(std::uint64_t seed, const Options &options)
		: seed_(seed), options_(options), random_(seed), settings_(random_settings(random_)), world_(random_, settings_, options.families),
		  model_(settings_), traffic_(random_, world_, settings_), now_(random_.below(1'000'000'000'000))
	{
		polls_ = random_.pick<std::uint64_t>({5, 30, 300});
	}

	~Round() { close(); }

	/// @return frames that were processed
	std::uint64_t run(std::uint64_t packets);

private:
	std::uint64_t seed_;
	const Options &options_;
	Random random_;
	model::Settings settings_;
	world::World world_;
	model::Model model_;
	std::vector<std::unique_ptr<model::Worker>> model_workers_;
	Side side_[sides];
	traffic::Traffic traffic_;
	std::uint64_t now_;
	std::uint64_t next_id_ = 1;
	std::uint64_t step_ = 0;
	std::uint64_t polls_ = 1;  // one in so many steps
	unsigned long_pauses_ = 0;
	bool broken_ = false;
	std::string last_change_;
	struct apus_stats destroyed_ = {};  // counters of workers that are gone

	bool open();
	void close();
	bool add_worker();
	bool replace_worker(std::size_t i);
	void poll();
	void change_machine(unsigned verb);
	void change_record(unsigned verb, const model::RecordKey &key);
	void change_subnet(unsigned verb);
	void first_machine(const model::MachineKey &key, const model::Record &record);
	void first_policy();
	void first_route(const world::Subnet &subnet, const model::Ip &base);
	void first_record(const model::RecordKey &key, const model::Record &record);
	void change_policy();
	void look();
	void settle();
	void add_port(const model::Port &port);
	std::uint32_t some_port(bool vm);
	void change_external(unsigned verb);
	void first_gateway(const world::Subnet &subnet, const model::Record &record);
	std::vector<std::uint32_t> devices() const;
	std::vector<std::uint32_t> ports(bool vm) const;
	std::optional<traffic::Asked> question(const model::Output &output) const;
	bool burst(std::uint64_t frames, std::size_t worker);
	bool burst(std::vector<model::Frame> frames, std::size_t worker);
	bool restless_bursts(std::size_t worker);
	bool compare_neighbours();
	bool compare_addresses();
	bool compare_explanation(Side &side, const model::Frame &frame);
	bool compare_totals();
	bool problem(const std::string &what);
	void describe_policy() const;

	/// Make the same control call on both dataplanes; each must answer what the model says.
	template <class Call>
	void control(int expected, const std::string &what, Call call)
	{
		last_change_ = what;
		for (std::size_t i = 0; i < sides; i++) {
			const int got = call(side_[i].dataplane);
			if (got != expected)
				problem(what + text(": expected %s, got %s (%s)\n", apus_error_name(expected), apus_error_name(got),
						    apus_dataplane_error_text(side_[i].dataplane)));
		}
		model_.changed();
		settle();
	}
};

/// After a change that is in force. When packets that wait for a next hop notice a change of their tenant's policy is
/// not defined (at the latest when the waiting ends). A change of the provider side makes them notice now; run() lets the
/// workers see it before time goes on, so that no timer runs out in the same burst.
void Round::settle()
{
	if (model_.in_transaction() || broken_)
		return;
	for (Side &side : side_)
		side.policy++;
	look();
	bool waiting = false;
	for (const auto &worker : model_workers_)
		waiting = waiting || worker->held() != 0;
	if (!waiting || model_.published().ports.empty())
		return;
	const auto &[id, port] = *model_.published().ports.begin();
	const auto params = objects::port(port);
	model_.change().set_port(id, port);
	for (Side &side : side_)
		if (const int error = apus_port_set(side.dataplane, id, &params))
			problem(text("port set to what it is: %s\n", apus_error_name(error)));
}

bool Round::problem(const std::string &what)
{
	broken_ = true;
	report::failed++;
	if (report::failed > report::shown_failures / 8)
		return false;
	std::printf("MISMATCH seed %llu step %llu now %llu (reproduce: differential --seed %llu --packets %llu%s)\n%s  last change: %s\n",
		    static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(step_), static_cast<unsigned long long>(now_),
		    static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(packets_in_a_round),
		    options_.families.v4 && options_.families.v6 ? "" : options_.families.v4 ? " --families 4" : " --families 6", what.c_str(),
		    last_change_.c_str());
	if (options_.verbose)
		describe_policy();
	return false;
}

void Round::describe_policy() const
{
	const model::Policy &policy = model_.published();
	std::printf("  settings: reserved %d, flow id zero %d, no validation %d, options %d, gateway %012llx, ttl %u, reachable %llu ms, retry %llu ms, retries %u\n",
		    settings_.accept_reserved_vsids, settings_.flow_id_zero, settings_.no_source_validation, settings_.accept_ip_options,
		    static_cast<unsigned long long>(settings_.gateway_mac), settings_.outer_ttl,
		    static_cast<unsigned long long>(settings_.reachable_ns / 1'000'000), static_cast<unsigned long long>(settings_.retry_ns / 1'000'000),
		    settings_.retries);
	for (const auto &[id, port] : policy.ports)
		std::printf("  port %u: %s vsid %u mac %012llx mtu %u%s\n", id, port.vm ? "vm" : port.external ? "external" : "provider", port.vsid,
			    static_cast<unsigned long long>(port.mac), port.mtu, port.trusted ? " trusted" : "");
	for (const auto &[id, port] : policy.ports)
		if (port.external) {
			std::printf("  external port %u: domain %s device %u vlan %u", id, comparison::hex(port.domain.data(), 16).c_str(), policy.device_of(id), port.vlan);
			for (const auto &side : {port.v4, port.v6})
				if (side)
					std::printf(" %s/%u via %s", to_text(side->address).c_str(), side->length, side->next_hop ? to_text(*side->next_hop).c_str() : "-");
			std::printf("\n");
		}
	for (const auto &hop : policy.entered)
		std::printf("  entered behind %u: %s\n", hop.behind, to_text(hop.ip).c_str());
	std::printf("  external router %d, learn rate %llu\n", settings_.external_router, static_cast<unsigned long long>(settings_.learn_rate));
	for (const auto &[vsid, options] : policy.subnets)
		std::printf("  virtual subnet %u: flags %u group %s rate %u\n", vsid, options.flags, options.group ? to_text(*options.group).c_str() : "-",
			    options.rate);
	for (const auto &[key, record] : policy.machines)
		std::printf("  record (%u, any %u): %s mac %012llx pa %s flags %u%s\n", key.vsid, key.family, record.type == APUS_RECORD_L2_ONLY ? "L2Only" : "wildcard",
			    static_cast<unsigned long long>(record.mac), to_text(record.provider_address).c_str(), record.flags,
			    policy.is_local(record) ? " local" : "");
	for (const auto &[key, record] : policy.records)
		std::printf("  record (%u, %s): mac %012llx pa %s%s%s\n", key.first, to_text(key.second).c_str(),
			    static_cast<unsigned long long>(record.mac), to_text(record.provider_address).c_str(), policy.is_local(record) ? " local" : "", record.rule == APUS_RULE_NONE ? " none" : record.is_nat() ? " nat" : "");
	for (const auto &[ip, peer] : policy.peers)
		std::printf("  peer %s: encapsulation %u layout %u flow id %u dscp %u (%u) ecn %u df %u ttl %u mtu %u\n", to_text(ip).c_str(), peer.encapsulation,
			    peer.key_layout, peer.flow_id, peer.dscp_mode, peer.dscp, peer.ecn_mode, peer.df_mode, peer.ttl, peer.mtu);
	for (const auto &[key, route] : policy.customer_routes)
		std::printf("  route domain %s vsid %u: %s/%u via %s metric %u flags %u\n", comparison::hex(key.domain.data(), 16).c_str(),
			    key.vsid, to_text(key.prefix.address).c_str(), key.prefix.length, to_text(key.next_hop).c_str(), route.metric,
			    route.flags);
	for (const auto &[ip, address] : policy.provider_addresses)
		std::printf("  provider address %s/%u port %u vlan %u mac %012llx\n", to_text(ip).c_str(), address.prefix_length, address.port, address.vlan,
			    static_cast<unsigned long long>(address.mac));
	for (const auto &[key, metric] : policy.provider_routes)
		std::printf("  provider route %s/%u via %s port %u metric %u\n", to_text(key.prefix.address).c_str(), key.prefix.length,
			    to_text(key.next_hop).c_str(), key.port, metric);
	for (const auto &[ip, mac] : policy.static_neighbours)
		std::printf("  neighbour %s %012llx\n", to_text(ip).c_str(), static_cast<unsigned long long>(mac));
}

bool Round::open()
{
	for (std::size_t i = 0; i < sides; i++) {
		struct apus_dataplane_opts opts;
		APUS_INIT(&opts);
		opts.flags = (settings_.accept_reserved_vsids ? APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS : 0) |
			     (settings_.flow_id_zero ? APUS_DATAPLANE_FLOW_ID_ZERO : 0) |
			     (settings_.no_source_validation ? APUS_DATAPLANE_NO_SOURCE_VALIDATION : 0) |
			     (settings_.accept_ip_options ? APUS_DATAPLANE_ACCEPT_IP_OPTIONS : 0) |
			     (settings_.no_icmp_errors ? APUS_DATAPLANE_NO_ICMP_ERRORS : 0) |
			     (settings_.send_unreachable ? APUS_DATAPLANE_SEND_UNREACHABLE : 0) |
			     (settings_.external_router ? APUS_DATAPLANE_USE_EXTERNAL_ROUTER : 0);
		opts.learn_rate = static_cast<std::uint32_t>(settings_.learn_rate);
		opts.icmp_error_rate = static_cast<std::uint32_t>(settings_.icmp_error_rate);
		opts.gateway_mac = objects::mac(settings_.gateway_mac);
		opts.outer_ttl = settings_.outer_ttl;
		opts.vxlan_port = settings_.vxlan_port == 4789 && random_.one_in(2) ? 0 : settings_.vxlan_port;
		// With a large table first packets ask for their records in advance.
		opts.expected_records = random_.one_in(3) ? 200'000 : 16;
		opts.neighbor_reachable_ms = static_cast<std::uint32_t>(settings_.reachable_ns / 1'000'000);
		opts.neighbor_retry_ms = static_cast<std::uint32_t>(settings_.retry_ns / 1'000'000);
		opts.neighbor_retries = settings_.retries;
		for (auto &byte : opts.hash_key)
			byte = static_cast<std::uint8_t>(random_.next() | 1);
		const int error = apus_dataplane_create(&opts, &side_[i].dataplane);
		if (error != 0)
			return problem(text("apus_dataplane_create() answered %s\n", apus_error_name(error)));
	}
	const std::size_t workers = random_.between(1, 3);
	for (std::size_t i = 0; i < workers; i++)
		if (!add_worker())
			return false;
	return true;
}

bool Round::add_worker()
{
	struct apus_worker_opts opts;
	APUS_INIT(&opts);
	opts.held_capacity = random_.pick<std::uint32_t>({4, 16, 256});
	model_workers_.push_back(std::make_unique<model::Worker>(opts.held_capacity));
	for (std::size_t i = 0; i < sides; i++) {
		opts.flow_capacity = i == 0 ? 4096 : 64;
		opts.buffers = side_[i].buffers.callbacks();
		side_[i].workers.push_back(nullptr);
		const int error = apus_worker_create(side_[i].dataplane, &opts, &side_[i].workers.back());
		if (error != 0)
			return problem(text("apus_worker_create() answered %s\n", apus_error_name(error)));
	}
	return true;
}

static void add_counters(struct apus_stats &sum, const struct apus_stats &one)
{
	auto *to = &sum.received;
	const auto *from = &one.received;
	for (std::size_t i = 0; i < (sizeof(sum) - offsetof(struct apus_stats, received)) / sizeof(std::uint64_t); i++)
		to[i] += from[i];
}

bool Round::replace_worker(std::size_t i)
{
	std::vector<std::uint64_t> expected = model_.destroy(*model_workers_[i]);
	std::sort(expected.begin(), expected.end());
	add_counters(destroyed_, model_workers_[i]->stats());
	for (Side &side : side_) {
		side.buffers.released.clear();
		const int error = apus_worker_destroy(side.workers[i]);
		side.buffers.forget_new();
		std::sort(side.buffers.released.begin(), side.buffers.released.end());
		if (error != 0 || side.buffers.released != expected)
			return problem(text("apus_worker_destroy() answered %d and released %zu buffers, expected %zu\n", error,
					    side.buffers.released.size(), expected.size()));
	}
	if (!add_worker())
		return false;
	std::swap(model_workers_[i], model_workers_.back());
	model_workers_.pop_back();
	for (Side &side : side_) {
		side.workers[i] = side.workers.back();
		side.workers.pop_back();
	}
	return true;
}

void Round::close()
{
	for (Side &side : side_) {
		for (struct apus_worker *worker : side.workers)
			if (worker != nullptr && apus_worker_destroy(worker) != 0)
				problem("apus_worker_destroy() failed\n");
		side.workers.clear();
		if (side.dataplane != nullptr && apus_dataplane_destroy(side.dataplane) != 0)
			problem("apus_dataplane_destroy() failed\n");
		side.dataplane = nullptr;
		if (side.buffers.away() != 0 && !broken_)
			problem(text("%zu buffers never came back\n", side.buffers.away()));
	}
}

// ---- the policy ----------------------------------------------------------------------------------------------------

void Round::look()
{
	traffic_.look_at(model_.published());
}

std::vector<std::uint32_t> Round::ports(bool vm) const
{
	std::vector<std::uint32_t> out;
	for (const auto &[id, port] : model_.policy().ports)
		if (vm ? port.vm : port.provider())
			out.push_back(id);
	return out;
}

/// What carries external ports, or may.
std::vector<std::uint32_t> Round::devices() const
{
	std::vector<std::uint32_t> out;
	for (const auto &[id, port] : model_.policy().ports)
		if (port.provider() || (port.external && port.parent == 0))
			out.push_back(id);
	return out;
}

std::uint32_t Round::some_port(bool vm)
{
	const std::vector<std::uint32_t> choices = ports(vm);
	return choices.empty() || random_.one_in(30) ? static_cast<std::uint32_t>(random_.below(40)) : random_.pick(choices);
}

void Round::add_port(const model::Port &port)
{
	const int expected = model_.policy().can_add_port(port);
	std::uint32_t id[sides] = {};
	std::size_t i = 0;
	const struct apus_port_params params = objects::port(port);
	last_change_ = "port add";
	for (Side &side : side_) {
		const int got = apus_port_add(side.dataplane, &params, &id[i++]);
		if (got != expected) {
			problem(text("port add: expected %s, got %s\n", apus_error_name(expected), apus_error_name(got)));
			return;
		}
	}
	if (expected == 0) {
		if (id[0] != id[1])
			problem("two dataplanes gave different port numbers\n");
		model_.change().add_port(id[0], port);
	}
	model_.changed();
	settle();
}

void Round::first_route(const world::Subnet &subnet, const model::Ip &base)
{
	if (subnet.domain < 0)
		return;
	model::CustomerRouteKey key;
	key.domain = world_.domains[static_cast<std::size_t>(subnet.domain)];
	key.vsid = subnet.vsid;
	key.prefix = {base, base.is_v6() ? 64u : 24u};
	key.next_hop = model::Ip::unspecified(base.family);
	const model::CustomerRoute route(0, base.is_v6() ? world_.customer_route_flags(random_, key) : 0);
	control(model_.change().add_customer_route(key, route), "first customer route", [&](struct apus_dataplane *dp) {
		const auto object = objects::customer_route(key, route);
		return apus_customer_route_add(dp, &object);
	});
}

void Round::first_record(const model::RecordKey &key, const model::Record &record)
{
	control(model_.change().add_record(key, record), "first lookup record", [&](struct apus_dataplane *dp) {
		const auto object = objects::record(key, record);
		return apus_lookup_record_add(dp, &object);
	});
}

void Round::first_machine(const model::MachineKey &key, const model::Record &record)
{
	control(model_.change().add_machine(key, record), "first machine", [&](struct apus_dataplane *dp) {
		const auto object = objects::machine(key, record);
		return apus_lookup_record_add(dp, &object);
	});
}

void Round::change_record(unsigned verb, const model::RecordKey &key)
{
	model::Policy &policy = model_.change();
	model::Record record = world_.record(random_, key);
	const auto present = policy.records.find(key);
	if (verb == 2 && present != policy.records.end() && random_.chance(80)) {
		record.mac = present->second.mac;
		record.type = present->second.type;
	}
	const auto object = objects::record(key, record);
	if (verb < 2)
		control(policy.add_record(key, record), "record add", [&](auto *dp) { return apus_lookup_record_add(dp, &object); });
	else if (verb == 2)
		control(policy.set_record(key, record), "record set", [&](auto *dp) { return apus_lookup_record_set(dp, &object); });
	else
		control(policy.remove_record(key), "record remove", [&](auto *dp) { return apus_lookup_record_remove(dp, &object); });
}

void Round::change_machine(unsigned verb)
{
	model::Policy &policy = model_.change();
	const model::MachineKey key = world_.machine_key(random_);
	model::Record record = world_.machine(random_, key);
	const auto present = policy.machines.find(key);
	if (verb == 2 && present != policy.machines.end() && random_.chance(80))
		record.type = present->second.type;
	const auto object = objects::machine(key, record);
	if (verb < 2)
		control(policy.add_machine(key, record), "machine add", [&](auto *dp) { return apus_lookup_record_add(dp, &object); });
	else if (verb == 2)
		control(policy.set_machine(key, record), "machine set", [&](auto *dp) { return apus_lookup_record_set(dp, &object); });
	else
		control(policy.remove_machine(key), "machine remove", [&](auto *dp) { return apus_lookup_record_remove(dp, &object); });
}

/// A machine of the virtual subnet is a gateway: packets to what is outside lead to it.
void Round::first_gateway(const world::Subnet &subnet, const model::Record &record)
{
	model::Port port = world_.external_port(random_, devices());
	port.vsid = subnet.vsid;
	port.mac = record.mac;
	if (subnet.domain >= 0)
		port.domain = world_.domains[static_cast<std::size_t>(subnet.domain)];
	add_port(port);
	for (const model::Ip &base : subnet.bases) {
		if (random_.chance(40))
			first_machine({subnet.vsid, record.mac, base.family}, [&] {
				model::Record wildcard = record;
				wildcard.type = APUS_RECORD_GATEWAY_WILDCARD;
				wildcard.rule = APUS_RULE_ENCAP;
				return wildcard;
			}());
		if (random_.chance(30) || broken_)
			continue;
		model::CustomerRouteKey key;
		key.domain = port.domain;
		key.vsid = subnet.vsid;
		key.next_hop = base + (record.mac & 0xFF);
		const unsigned length = base.is_v6() ? 64 : 24;
		key.prefix = random_.chance(50) ? model::Prefix{model::Ip::unspecified(base.family), 0}
						: model::Prefix{world_.outside_router(base.family, 0).network(length), length};
		control(model_.change().add_customer_route(key, {}), "first route outside", [&](struct apus_dataplane *dp) {
			const auto object = objects::customer_route(key, {});
			return apus_customer_route_add(dp, &object);
		});
	}
}

void Round::change_external(unsigned verb)
{
	model::Policy &policy = model_.change();
	std::vector<std::uint32_t> externals;
	for (const auto &[id, port] : policy.ports)
		if (port.external)
			externals.push_back(id);
	model::Port port = world_.external_port(random_, devices());
	if (verb < 2) {
		if (policy.ports.size() < 28)
			add_port(port);
		return;
	}
	if (externals.empty())
		return;
	const std::uint32_t id = random_.pick(externals);
	const model::Port old = policy.ports.at(id);
	if (verb == 2) {
		port.domain = random_.one_in(20) ? port.domain : old.domain;
		if (random_.chance(80))
			port.vsid = old.vsid;
		if (random_.chance(80))
			port.mac = old.mac;
		if (random_.chance(60)) {
			port.parent = old.parent;
			port.vlan = old.vlan;
		}
		if (random_.chance(40)) {
			port.v4 = old.v4;
			port.v6 = old.v6;
		}
		const auto params = objects::port(port);
		control(policy.set_port(id, port), "external port set", [&](auto *dp) { return apus_port_set(dp, id, &params); });
	} else if (random_.one_in(2)) {
		control(policy.remove_port(id), "external port remove", [&](auto *dp) { return apus_port_remove(dp, id); });
	}
}

void Round::change_subnet(unsigned verb)
{
	model::Policy &policy = model_.change();
	const model::Vsid vsid = random_.pick(world_.subnets).vsid;
	const model::SubnetOptions options = world_.subnet_options(random_);
	const auto object = objects::subnet(vsid, options);
	if (verb < 2)
		control(policy.add_subnet(vsid, options), "virtual subnet add", [&](auto *dp) { return apus_virtual_subnet_add(dp, &object); });
	else if (verb == 2)
		control(policy.set_subnet(vsid, options), "virtual subnet set", [&](auto *dp) { return apus_virtual_subnet_set(dp, &object); });
	else
		control(policy.remove_subnet(vsid), "virtual subnet remove", [&](auto *dp) { return apus_virtual_subnet_remove(dp, &object); });
}

static std::string describe(const struct apus_event &event)
{
	const auto address = [](const struct apus_address &one) {
		return one.family == 0 ? std::string("-") : text("%u:", one.family) + comparison::hex(one.bytes, sizeof(one.bytes));
	};
	return text("%s port %u vsid %u count %u limit %u ", apus_event_name(event.kind), event.port, event.virtual_subnet_id, event.count, event.limit) +
	       address(event.customer_address) + " at " + address(event.provider_address) + " before " + address(event.previous_provider_address) +
	       " mac " + comparison::hex(event.mac.bytes, 6) + " before " + comparison::hex(event.previous_mac.bytes, 6) + "\n";
}

static struct apus_event event_object(const model::Event &event)
{
	struct apus_event out = {};
	out.kind = event.kind;
	out.port = event.port;
	out.virtual_subnet_id = event.vsid;
	out.count = event.count;
	out.limit = event.limit;
	if (event.ip)
		out.customer_address = objects::address(*event.ip);
	if (event.provider_address)
		out.provider_address = objects::address(*event.provider_address);
	if (event.previous_provider_address)
		out.previous_provider_address = objects::address(*event.previous_provider_address);
	out.mac = objects::mac(event.mac);
	out.previous_mac = objects::mac(event.previous_mac);
	return out;
}

/// What workers saw becomes records, the same ones on both sides and in the model.
void Round::poll()
{
	struct apus_event events[64];
	if (model_.in_transaction()) {
		APUS_INIT(&events[0]);
		return control(APUS_ERR_TRANSACTION, "poll", [&](auto *dp) { return apus_event_poll(dp, events, 64); });
	}
	std::vector<model::Worker *> workers;
	for (const auto &worker : model_workers_)
		workers.push_back(worker.get());
	std::string expected;
	// What is told of results of duplicate address detection is in addresses.cpp.
	const auto is_result = [](std::uint32_t kind) { return kind == APUS_EVENT_ADDRESS_PREFERRED || kind == APUS_EVENT_ADDRESS_DUPLICATE; };
	for (const model::Event &event : model_.poll(workers)) {
		covered_events[event.kind]++;
		if (!is_result(event.kind))
			expected += describe(event_object(event));
	}
	last_change_ = "poll";
	for (std::size_t i = 0; i < sides && !broken_; i++) {
		std::string got;
		for (int count = 1; count > 0;) {
			const auto room = random_.pick<std::uint32_t>({1, 2, 64, 64});
			APUS_INIT(&events[0]);
			count = apus_event_poll(side_[i].dataplane, events, room);
			if (count < 0)
				problem(text("apus_event_poll() answered %s\n", apus_error_name(count)));
			for (int k = 0; k < count; k++)
				if (!is_result(events[k].kind))
					got += describe(events[k]);
		}
		report::passed++;
		if (got != expected)
			problem(text("events of side %zu: expected\n", i) + expected + "got\n" + got);
	}
	model_.changed();
	settle();
}

/// A policy that makes sense, so that most traffic flows.
void Round::first_policy()
{
	const std::size_t uplinks = random_.between(1, 3);
	for (std::size_t i = 0; i < uplinks; i++)
		add_port(world_.provider_port(random_));
	if (broken_)
		return;
	for (std::size_t i = 0; i < world_.local_pas.size(); i++) {
		const model::Ip ip = world_.local_pas[i];
		model::ProviderAddress address = world_.provider_address(random_, ip, ports(false));
		if (random_.chance(70))
			address.prefix_length = ip.is_v6() ? 64 : 24;
		control(model_.change().add_provider_address(ip, address), "first provider address", [&](struct apus_dataplane *dp) {
			const auto object = objects::provider_address(ip, address);
			return apus_provider_address_add(dp, &object);
		});
	}
	std::vector<model::Ip> local_nat_pas = world_.local_nat_pas, remote_nat_pas = world_.remote_nat_pas;
	for (const model::Ip &ip : local_nat_pas) {
		model::ProviderAddress address = world_.provider_address(random_, ip, ports(false));
		if (random_.chance(80)) {
			address.prefix_length = ip.is_v6() ? 64 : 24;
			address.port = ports(false).front();
		}
		control(model_.change().add_provider_address(ip, address), "first provider address for rewriting", [&](struct apus_dataplane *dp) {
			const auto object = objects::provider_address(ip, address);
			return apus_provider_address_add(dp, &object);
		});
	}
	const auto take = [](std::vector<model::Ip> &ips, unsigned family) -> std::optional<model::Ip> {
		const auto found = std::find_if(ips.begin(), ips.end(), [&](const model::Ip &ip) { return ip.family == family; });
		if (found == ips.end())
			return std::nullopt;
		const model::Ip ip = *found;
		ips.erase(found);
		return ip;
	};
	for (const auto &subnet : world_.subnets) {
		for (const model::Ip &base : subnet.bases) {
			first_route(subnet, base);
			if (settings_.external_router && random_.chance(80))
				first_record({subnet.vsid, base + 1}, world_.record(random_, {subnet.vsid, base + 2 + random_.below(6)}));
			// More prefixes than a router advertisement names.
			const std::uint64_t more = base.is_v6() && random_.one_in(5) ? random_.below(7) : 0;
			for (std::uint64_t i = 1; i <= more; i++)
				first_route(subnet, model::Ip::v6(base.high() + 0x1000 * i, 0));
		}
		if (random_.chance(60))
			change_subnet(0);
		for (unsigned host = 2; host < 8; host++) {
			model::Record record = world_.record(random_, {subnet.vsid, host});
			record.mac = world_.vm_mac(host);
			record.rule = random_.one_in(10) ? APUS_RULE_NONE : APUS_RULE_ENCAP;
			record.flags &= ~APUS_RECORD_USE_VM_MAC;
			record.provider_address = random_.chance(45) ? random_.pick(world_.local_pas) : random_.pick(world_.remote_pas);
			const bool is_nat = random_.one_in(4);
			bool has_v6 = false;
			// A machine that says itself which addresses it has, or that stands for others.
			const bool is_l2_only = random_.one_in(4);
			if (is_l2_only || random_.one_in(8)) {
				const model::MachineKey key{subnet.vsid, record.mac, world_.some_family(random_)};
				model::Record machine = record;
				machine.type = is_l2_only ? APUS_RECORD_L2_ONLY : APUS_RECORD_GATEWAY_WILDCARD;
				first_machine(key, machine);
			}
			for (const model::Ip &base : subnet.bases) {
				if (is_l2_only && random_.chance(70))
					continue;
				model::Record own = record;
				if (const auto pa = is_nat ? take(model_.policy().is_local(record) ? local_nat_pas : remote_nat_pas, base.family) : std::nullopt) {
					own.rule = APUS_RULE_NAT;
					own.flags |= random_.one_in(3) ? APUS_RECORD_USE_VM_MAC : 0;
					own.provider_address = *pa;
				}
				first_record({subnet.vsid, base + host}, own);
				has_v6 = has_v6 || base.is_v6();
			}
			if (has_v6 && !is_l2_only && random_.chance(60))
				first_record({subnet.vsid, model::link_local_of(record.mac)}, record);
			if (!model_.policy().is_local(record))
				continue;
			if (options_.external && random_.one_in(4)) {
				first_gateway(subnet, record);
				continue;
			}
			model::Port port = world_.vm_port(random_);
			port.vsid = subnet.vsid;
			port.mac = record.mac;
			add_port(port);
		}
	}
	for (const model::Ip ip : world_.remote_pas) {
		if (random_.chance(50))
			continue;
		control(model_.change().add_neighbour(ip, world_.remote_mac(ip)), "first neighbour", [&](struct apus_dataplane *dp) {
			const auto object = objects::neighbor(ip, world_.remote_mac(ip));
			return apus_provider_neighbor_add(dp, &object);
		});
	}
	for (const model::Ip ip : world_.remote_nat_pas) {
		if (random_.chance(30))
			continue;
		control(model_.change().add_neighbour(ip, world_.remote_mac(ip)), "first neighbour", [&](struct apus_dataplane *dp) {
			const auto object = objects::neighbor(ip, world_.remote_mac(ip));
			return apus_provider_neighbor_add(dp, &object);
		});
	}
	for (const model::Ip ip : world_.remote_pas) {
		if (random_.chance(50))
			continue;
		const model::Peer peer = world_.peer(random_);
		control(model_.change().add_peer(ip, peer), "first peer", [&](struct apus_dataplane *dp) {
			const auto object = objects::peer(ip, peer);
			return apus_provider_peer_add(dp, &object);
		});
	}
	const std::size_t changes = random_.below(30);
	for (std::size_t i = 0; i < changes && !broken_; i++)
		change_policy();
}

void Round::change_policy()
{
	if (model_.in_transaction() ? random_.one_in(6) : random_.one_in(12)) {
		if (!model_.in_transaction()) {
			model_.begin();
			control(0, "begin", apus_transaction_begin);
		} else if (random_.chance(60)) {
			model_.commit();
			control(0, "commit", apus_transaction_commit);
		} else {
			model_.abort();
			control(0, "abort", apus_transaction_abort);
		}
		return;
	}

	model::Policy &policy = model_.change();
	const std::vector<std::uint32_t> provider_ports = ports(false);
	const unsigned verb = static_cast<unsigned>(random_.below(5));  // 0, 1: add; 2: set; 3, 4: remove
	const std::uint64_t dice = random_.below(100);
	if (options_.external && random_.one_in(12)) {
		change_external(verb);
	} else if (dice < 9) {
		change_machine(verb);
	} else if (dice < 13) {
		change_subnet(verb);
	} else if (dice < 35) {
		change_record(verb, world_.record_key(random_));
	} else if (dice < 55) {
		const model::CustomerRouteKey key = world_.customer_route(random_);
		// Whether a route that binds nothing ties its subnet to a domain is not tested: such a pair is not made.
		for (const auto &[other, its_route] : policy.customer_routes)
			if (other.vsid == key.vsid && other.domain != key.domain && !policy.domain_of(key.vsid))
				return;
		const model::CustomerRoute route(world_.metric(random_), world_.customer_route_flags(random_, key));
		const auto object = objects::customer_route(key, route);
		if (verb < 2)
			control(policy.add_customer_route(key, route), "customer route add", [&](auto *dp) { return apus_customer_route_add(dp, &object); });
		else if (verb == 2)
			control(policy.set_customer_route(key, route), "customer route set", [&](auto *dp) { return apus_customer_route_set(dp, &object); });
		else
			control(policy.remove_customer_route(key), "customer route remove", [&](auto *dp) { return apus_customer_route_remove(dp, &object); });
	} else if (dice < 63) {
		if (provider_ports.empty())
			return;
		const model::Ip ip = random_.pick(random_.chance(70) ? world_.local_pas : world_.local_nat_pas);
		const model::ProviderAddress address = world_.provider_address(random_, ip, provider_ports);
		const auto object = objects::provider_address(ip, address);
		if (verb < 2)
			control(policy.add_provider_address(ip, address), "provider address add", [&](auto *dp) { return apus_provider_address_add(dp, &object); });
		else if (verb == 2)
			control(policy.set_provider_address(ip, address), "provider address set", [&](auto *dp) { return apus_provider_address_set(dp, &object); });
		else if (random_.one_in(2))
			control(policy.remove_provider_address(ip), "provider address remove", [&](auto *dp) { return apus_provider_address_remove(dp, &object); });
	} else if (dice < 75) {
		if (provider_ports.empty())
			return;
		const model::ProviderRouteKey key = world_.provider_route(random_, provider_ports);
		const std::uint32_t metric = world_.metric(random_);
		const auto object = objects::provider_route(key, metric);
		if (verb < 2)
			control(policy.add_provider_route(key, metric), "provider route add", [&](auto *dp) { return apus_provider_route_add(dp, &object); });
		else if (verb == 2)
			control(policy.set_provider_route(key, metric), "provider route set", [&](auto *dp) { return apus_provider_route_set(dp, &object); });
		else
			control(policy.remove_provider_route(key), "provider route remove", [&](auto *dp) { return apus_provider_route_remove(dp, &object); });
	} else if (dice < 82) {
		const model::Ip ip = world_.some_peer(random_);
		const model::Peer peer = world_.peer(random_);
		const auto object = objects::peer(ip, peer);
		if (verb < 2)
			control(policy.add_peer(ip, peer), "peer add", [&](auto *dp) { return apus_provider_peer_add(dp, &object); });
		else if (verb == 2)
			control(policy.set_peer(ip, peer), "peer set", [&](auto *dp) { return apus_provider_peer_set(dp, &object); });
		else
			control(policy.remove_peer(ip), "peer remove", [&](auto *dp) { return apus_provider_peer_remove(dp, &object); });
	} else if (dice < 88) {
		const model::Ip ip = random_.chance(70) ? random_.pick(random_.chance(80) ? world_.remote_pas : world_.remote_nat_pas) : random_.pick(world_.routers);
		const model::Mac mac = world_.remote_mac(ip) ^ random_.below(2);
		const auto object = objects::neighbor(ip, mac);
		if (verb < 2)
			control(policy.add_neighbour(ip, mac), "neighbour add", [&](auto *dp) { return apus_provider_neighbor_add(dp, &object); });
		else if (verb == 2)
			control(policy.set_neighbour(ip, mac), "neighbour set", [&](auto *dp) { return apus_provider_neighbor_set(dp, &object); });
		else
			control(policy.remove_neighbour(ip), "neighbour remove", [&](auto *dp) { return apus_provider_neighbor_remove(dp, &object); });
	} else {
		const bool vm = random_.chance(80);
		if (verb < 2) {
			if (policy.ports.size() < 24)
				add_port(vm ? world_.vm_port(random_) : world_.provider_port(random_));
			return;
		}
		const std::uint32_t id = some_port(vm);
		if (verb == 2) {
			const model::Port port = random_.one_in(20) == vm ? world_.provider_port(random_) : world_.vm_port(random_);
			const auto params = objects::port(port);
			control(policy.set_port(id, port), "port set", [&](auto *dp) { return apus_port_set(dp, id, &params); });
		} else if (random_.one_in(2)) {
			control(policy.remove_port(id), "port remove", [&](auto *dp) { return apus_port_remove(dp, id); });
		}
	}
}

// ---- bursts --------------------------------------------------------------------------------------------------------

/// The request for a provider neighbour that the frame is, if it is one.
std::optional<traffic::Asked> Round::question(const model::Output &output) const
{
	const auto port = model_.published().ports.find(output.port);
	if (output.id != model::new_buffer || output.flags != APUS_FRAME_GENERATED || port == model_.published().ports.end() || port->second.vm)
		return std::nullopt;
	const auto ethernet = model::OuterEthernet::parse(output.bytes);
	// Nobody answers what looks for duplicate addresses: the traffic makes conflicts of its own.
	const auto own = [&](const model::Ip &asker, const model::Ip &target) { return asker.is_unspecified() || asker == target; };
	const auto arp = ethernet.type == model::type_arp ? model::Arp::parse(output.bytes, ethernet.size) : std::nullopt;
	if (arp && (arp->operation != 1 || own(arp->sender, arp->target)))
		return std::nullopt;
	if (arp)
		return traffic::Asked{arp->target, output.port, ethernet.vlan, arp->sender_mac, arp->sender};
	const auto ip = model::IpPacket::parse(ethernet.type, output.bytes, ethernet.size);
	if (!ip || !model::is_discovery(output.bytes, *ip))
		return std::nullopt;
	const auto message = model::Discovery::parse(output.bytes, *ip);
	if (!message || message->type != model::nd_neighbour_solicitation || own(ip->source, message->target))
		return std::nullopt;
	return traffic::Asked{message->target, output.port, ethernet.vlan, model::get_mac(output.bytes, 6), ip->source};
}

static std::string describe(const model::Frame &frame)
{
	return text("  frame id %llu port %u flags %x headroom %u contiguous %u length %u ", static_cast<unsigned long long>(frame.id), frame.port,
		    frame.flags, frame.headroom, frame.contiguous, frame.length()) +
	       comparison::hex(frame.bytes) + "\n";
}

bool Round::burst(std::uint64_t count, std::size_t worker)
{
	std::vector<model::Frame> frames(count);
	for (model::Frame &frame : frames) {
		frame = traffic_.frame();
		frame.id = next_id_++;
	}
	// A few frames come again, so that the flow cache is hit. Sometimes one comes again and again.
	const unsigned again = random_.one_in(40) ? 95 : 30;
	for (std::size_t i = 1; i < frames.size(); i++)
		if (random_.chance(again)) {
			const std::uint64_t id = frames[i].id;
			frames[i] = frames[random_.below(i)];
			frames[i].id = id;
		}
	return burst(std::move(frames), worker);
}

bool Round::burst(std::vector<model::Frame> frames, std::size_t worker)
{
	// A path MTU that is learned is obeyed from the next burst on, at the latest: here nothing follows the message.
	const auto teaches = std::find_if(frames.begin(), frames.end(), [&](const model::Frame &frame) {
		const auto port = model_.published().ports.find(frame.port);
		return port != model_.published().ports.end() && !port->second.vm && traffic::Traffic::may_teach_mtu(frame) && model_.teaches_mtu(frame);
	});
	if (teaches != frames.end())
		frames.erase(teaches + 1, frames.end());

	if (!frames.empty() && (frames.size() == 1 || random_.one_in(8)))
		for (Side &side : side_)
			if (!compare_explanation(side, frames[0]))
				return false;
	const model::Result expected = model_.process(*model_workers_[worker], frames, now_);
	for (const model::Output &output : expected.outputs) {
		const auto request = question(output);
		if (request && random_.chance(70))
			traffic_.asked(*request);
	}
	for (std::size_t i = 0; i < sides; i++) {
		const std::string what = comparison::process_and_compare(side_[i], worker, frames, now_, expected, model_workers_[worker]->stats());
		if (what.empty()) {
			report::passed++;
			continue;
		}
		std::string context = text("  side %zu (flow cache %s), worker %zu, burst of %zu\n", i, i == 0 ? "large" : "small", worker, frames.size());
		if (report::failed < report::shown_failures / 8 && (frames.size() <= 8 || options_.verbose))
			for (const model::Frame &frame : frames)
				context += describe(frame);
		return problem(what + context);
	}
	return true;
}

/// The same flows in burst after burst, while one record after the other changes: workers no longer ask each flow for its version then.
bool Round::restless_bursts(std::size_t worker)
{
	std::vector<model::Frame> flows(random_.between(8, 40));
	for (model::Frame &frame : flows)
		frame = traffic_.frame();
	for (int i = 0; i < 25; i++) {
		const auto &records = model_.published().records;
		if (!records.empty() && random_.chance(70))
			change_record(2, std::next(records.begin(), static_cast<std::ptrdiff_t>(random_.below(records.size())))->first);
		std::vector<model::Frame> frames(random_.between(1, 64));
		for (model::Frame &frame : frames) {
			frame = random_.pick(flows);
			frame.id = next_id_++;
		}
		if (broken_ || !burst(std::move(frames), worker))
			return false;
	}
	return true;
}

/// What apus_explain() says of a frame.
bool Round::compare_explanation(Side &side, const model::Frame &frame)
{
	struct apus_explanation got, want = {};
	APUS_INIT(&got);
	struct apus_frame given = side.buffers.give(frame);
	const int error = apus_explain(side.dataplane, &given, now_, &got, nullptr, 0);
	side.buffers.recycle(side.buffers.take_back(given.buffer));
	if (error != 0)
		return problem(text("apus_explain() answered %s\n", apus_error_name(error)));

	const model::Model::Explanation expected = model_.explain(frame, now_);
	const struct apus_stats &moved = expected.stats;
	want.verdict = expected.dropped ? APUS_VERDICT_DROP
		       : moved.replicated != 0                                                              ? APUS_VERDICT_COPY
		       : moved.held != 0                                                                    ? APUS_VERDICT_WAIT
		       : moved.arp_replies + moved.echo_replies + moved.router_advertisements != 0          ? APUS_VERDICT_ANSWER
		       : moved.fragmented != 0                                                              ? APUS_VERDICT_FRAGMENT
		       : expected.leaves                                                                    ? APUS_VERDICT_LEAVE
		       : moved.encapsulated != 0                                                            ? APUS_VERDICT_ENCAPSULATE
		       : moved.rewritten != 0                                                               ? APUS_VERDICT_REWRITE
		       : moved.decapsulated != 0                                                            ? APUS_VERDICT_DECAPSULATE
		       : moved.switched + moved.routed != 0 && moved.generated != 0                         ? APUS_VERDICT_COPY
		       : moved.switched + moved.routed != 0                                                 ? APUS_VERDICT_DELIVER
		       : moved.consumed != 0                                                                ? APUS_VERDICT_CONSUME
													    : APUS_VERDICT_DROP;
	if (expected.dropped)
		want.drop_reason = *expected.dropped;
	for (std::uint32_t reason = 0; reason < APUS_DROP_REASON_COUNT && want.drop_reason == 0 && want.verdict == APUS_VERDICT_DROP; reason++)
		if (moved.drops[reason] != 0)
			want.drop_reason = reason;
	want.port = expected.result.outputs.empty() ? 0 : expected.result.outputs.front().port;
	want.frames = static_cast<std::uint32_t>(expected.result.outputs.size());
	// Where an expired packet would have gone the model does not ask.
	want.mtu = want.drop_reason == APUS_DROP_TTL_EXPIRED ? got.mtu : static_cast<std::uint32_t>(expected.result.mtu);
	report::passed++;
	if (got.verdict == want.verdict && got.drop_reason == want.drop_reason && got.mtu == want.mtu && got.port == want.port && got.frames == want.frames)
		return true;
	return problem(text("explanation: expected %s %s port %u frames %u mtu %u, got %s %s port %u frames %u mtu %u\n",
			    apus_verdict_name(want.verdict), apus_drop_reason_name(want.drop_reason), want.port, want.frames, want.mtu,
			    apus_verdict_name(got.verdict), apus_drop_reason_name(got.drop_reason), got.port, got.frames, got.mtu) +
		       describe(frame));
}

bool Round::compare_neighbours()
{
	for (const auto &addresses : {world_.remote_pas, world_.remote_nat_pas, world_.routers})
		for (const model::Ip ip : addresses) {
			const auto expected = model_.neighbours().state(model_.policy(), ip);
			const model::Mac mac = model_.neighbours().known_mac(model_.policy(), ip);
			for (Side &side : side_) {
				auto object = objects::neighbor(ip, 0);
				const int got = apus_provider_neighbor_get(side.dataplane, &object);
				const bool same = expected ? got == 0 && object.state == *expected && (mac == 0 || std::memcmp(&object.mac, objects::mac(mac).bytes, 6) == 0)
							   : got == APUS_ERR_NOT_FOUND;
				if (!same)
					return problem(text("neighbour %s: expected state %d, got %s, state %d\n", to_text(ip).c_str(), expected ? *expected : -1,
							    apus_error_name(got), object.state));
				report::passed++;
			}
		}
	return true;
}

bool Round::compare_addresses()
{
	for (const auto &addresses : {world_.local_pas, world_.local_nat_pas})
		for (const model::Ip ip : addresses) {
			const auto found = model_.published().provider_addresses.find(ip);
			if (found == model_.published().provider_addresses.end() || model_.in_transaction())
				continue;
			for (Side &side : side_) {
				auto object = objects::provider_address(ip, found->second);
				const int error = apus_provider_address_get(side.dataplane, &object);
				if (error != 0 || object.state != found->second.shown_state())
					return problem(text("provider address %s: expected state %u, got %s, state %u\n", to_text(ip).c_str(), found->second.shown_state(),
							    apus_error_name(error), object.state));
				report::passed++;
			}
		}
	return true;
}

bool Round::compare_totals()
{
	struct apus_stats expected = destroyed_;
	for (const auto &worker : model_workers_)
		add_counters(expected, worker->stats());
	expected.learned = model_.learned();
	add_counters(covered, expected);
	for (std::size_t i = 0; i < covered_outside.size(); i++)
		covered_outside[i] += model_.outside()[i];
	for (Side &side : side_) {
		struct apus_stats got;
		APUS_INIT(&got);
		if (const int error = apus_stats_get(side.dataplane, &got))
			return problem(text("apus_stats_get() answered %s\n", apus_error_name(error)));
		const std::string what = comparison::compare_stats(got, expected);
		if (!what.empty())
			return problem("totals: " + what);
		report::passed++;
		for (const auto &[id, port] : model_.published().ports) {
			const auto found = model_.port_stats().find(id);
			const struct apus_port_stats want = found == model_.port_stats().end() ? apus_port_stats{} : found->second;
			struct apus_port_stats have;
			APUS_INIT(&have);
			const int error = apus_port_stats_get(side.dataplane, id, &have);
			if (error != 0 || have.received != want.received || have.received_bytes != want.received_bytes ||
			    have.transmitted != want.transmitted || have.transmitted_bytes != want.transmitted_bytes || have.dropped != want.dropped)
				return problem(text("port %u: %s; received %llu/%llu bytes %llu/%llu transmitted %llu/%llu bytes %llu/%llu dropped %llu/%llu (got/expected)\n",
						    id, apus_error_name(error), static_cast<unsigned long long>(have.received),
						    static_cast<unsigned long long>(want.received), static_cast<unsigned long long>(have.received_bytes),
						    static_cast<unsigned long long>(want.received_bytes), static_cast<unsigned long long>(have.transmitted),
						    static_cast<unsigned long long>(want.transmitted), static_cast<unsigned long long>(have.transmitted_bytes),
						    static_cast<unsigned long long>(want.transmitted_bytes), static_cast<unsigned long long>(have.dropped),
						    static_cast<unsigned long long>(want.dropped)));
			report::passed++;
		}
	}
	return true;
}

std::uint64_t Round::run(std::uint64_t packets)
{
	std::uint64_t done = 0;
	if (!open())
		return 1;
	first_policy();
	while (done < packets && !broken_) {
		step_++;
		const std::size_t changes = random_.one_in(4) ? random_.below(3) : 0;
		for (std::size_t i = 0; i < changes && !broken_; i++)
			change_policy();
		const bool polls = random_.one_in(polls_) && !broken_;
		if (polls)
			poll();
		for (std::size_t i = 0; (changes != 0 || polls) && i < model_workers_.size() && !broken_; i++)
			if (model_workers_[i]->held() != 0)
				burst(0, i);
		if (broken_)
			break;
		if (random_.one_in(200) && !replace_worker(random_.below(model_workers_.size())))
			break;
		// Time: mostly microseconds; now and then long enough for retries, failures and ageing; rarely backwards.
		if (random_.one_in(12))
			now_ += random_.below(2 * settings_.retry_ns);
		else if (random_.one_in(60))
			now_ += random_.below(6 * settings_.retry_ns);
		else if (random_.one_in(60))
			now_ += 1000000000 + random_.below(settings_.retry_ns);
		else if (random_.one_in(50))
			now_ -= random_.below(1000);
		else if (random_.one_in(300) && long_pauses_++ < 3)  // what was learned about path MTUs is forgotten
			now_ += 600'000'000'000 + random_.below(settings_.retry_ns);
		else
			now_ += random_.below(100'000);
		const std::uint64_t count = random_.one_in(20) ? 0 : random_.between(1, random_.chance(70) ? 16 : 64);
		if (!burst(count, random_.chance(70) ? 0 : random_.below(model_workers_.size())))
			break;
		done += count;
		if (!model_.in_transaction() && random_.one_in(50) && !restless_bursts(0))
			break;
		if (random_.one_in(10) && !compare_neighbours())
			break;
		if (random_.one_in(10) && !compare_addresses())
			break;
	}
	if (!broken_ && model_.in_transaction()) {
		model_.abort();
		control(0, "abort", apus_transaction_abort);
	}
	if (!broken_)
		compare_totals();
	return std::max<std::uint64_t>(done, 1);
}

}  // namespace

int main(int argc, char **argv)
{
	Options options;
	for (int i = 1; i < argc; i++) {
		const std::string name = argv[i];
		if (name == "--verbose" || name == "--coverage") {
			(name == "--verbose" ? options.verbose : options.coverage) = true;
			continue;
		}
		if (name == "--no-external") {
			options.external = false;
			continue;
		}
		if (name == "--families" && i + 1 < argc) {
			const std::string which = argv[++i];
			options.families = {which.find('4') != which.npos, which.find('6') != which.npos};
			if (options.families.v4 || options.families.v6)
				continue;
		}
		std::uint64_t *value = name == "--seed" ? &options.seed : name == "--packets" ? &options.packets : name == "--seconds" ? &options.seconds : nullptr;
		if (value == nullptr || i + 1 == argc) {
			std::fprintf(stderr, "usage: differential [--seed N] [--packets N] [--seconds N] [--families 4|6|46] [--no-external] [--verbose] [--coverage]\n");
			return 2;
		}
		*value = std::strtoull(argv[++i], nullptr, 0);
	}

	const auto start = std::chrono::steady_clock::now();
	const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
	std::uint64_t packets = 0, rounds = 0;
	for (std::uint64_t seed = options.seed;; seed++, rounds++) {
		if (options.seconds != 0 ? elapsed() >= static_cast<double>(options.seconds) : packets >= options.packets)
			break;
		Round round(seed, options);
		packets += round.run(options.seconds != 0 ? packets_in_a_round : std::min(options.packets - packets, packets_in_a_round));
	}
	std::printf("%llu packets in %llu rounds from seed %llu, %.0f packets/s\n", static_cast<unsigned long long>(packets),
		    static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(options.seed), static_cast<double>(packets) / elapsed());
	if (options.coverage)
		check_coverage();
	return report::finish();
}
