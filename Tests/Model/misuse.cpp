// SPDX-License-Identifier: Apache-2.0
// Wrong use of every function of the C contract. What the headers of include/apus/ promise is the measure: the right
// error, a text that says what was wrong, nothing changed, no crash.
//
//     misuse.cpp            every function: pointers, sizes, fields, handles, transactions, bursts
//     misuse_kinds.hpp      the policy objects, and what can be wrong with each field
//     misuse_ipv6.hpp       the same with IPv6 addresses
//     misuse_calls.hpp      a right call of every function
//     misuse_codes.hpp      every error code, texts and names, limits
//     misuse_threads.hpp    second threads, and callbacks that call back
//     misuse_memory.hpp     a whole life of a dataplane, with each allocation failing once
//     misuse_bench.hpp      what these stand on
#include "misuse_codes.hpp"

namespace misuse {

// ---- every function --------------------------------------------------------------------------------------------------

const char *const exported[] = {
	"apus_version_number", "apus_version_string", "apus_build_info", "apus_strerror", "apus_error_name",
	"apus_address_parse", "apus_prefix_parse", "apus_mac_parse", "apus_guid_parse",
	"apus_address_format", "apus_prefix_format", "apus_mac_format", "apus_guid_format",
	"apus_dataplane_create", "apus_dataplane_destroy", "apus_dataplane_error_text", "apus_dataplane_synchronize",
	"apus_dataplane_memory",
	"apus_transaction_begin", "apus_transaction_commit", "apus_transaction_abort",
	"apus_virtual_subnet_add", "apus_virtual_subnet_get", "apus_virtual_subnet_set", "apus_virtual_subnet_remove",
	"apus_virtual_subnet_iterate",
	"apus_port_add", "apus_port_get", "apus_port_set", "apus_port_remove", "apus_port_iterate",
	"apus_lookup_record_add", "apus_lookup_record_get", "apus_lookup_record_set", "apus_lookup_record_remove",
	"apus_lookup_record_iterate",
	"apus_customer_route_add", "apus_customer_route_get", "apus_customer_route_set", "apus_customer_route_remove",
	"apus_customer_route_iterate",
	"apus_provider_address_add", "apus_provider_address_get", "apus_provider_address_set", "apus_provider_address_remove",
	"apus_provider_address_iterate",
	"apus_provider_route_add", "apus_provider_route_get", "apus_provider_route_set", "apus_provider_route_remove",
	"apus_provider_route_iterate",
	"apus_provider_neighbor_add", "apus_provider_neighbor_get", "apus_provider_neighbor_set", "apus_provider_neighbor_remove",
	"apus_provider_neighbor_iterate",
	"apus_provider_peer_add", "apus_provider_peer_get", "apus_provider_peer_set", "apus_provider_peer_remove",
	"apus_provider_peer_iterate",
	"apus_worker_create", "apus_worker_destroy", "apus_worker_process",
	"apus_stats_get", "apus_worker_stats_get", "apus_port_stats_get",
	"apus_drop_reason_name", "apus_drop_reason_text", "apus_drop_reason_windows",
	"apus_explain", "apus_verdict_name", "apus_event_poll", "apus_event_name",
};
static_assert(std::size(exported) == 74);

// ---- `size` ----------------------------------------------------------------------------------------------------------

/// Make `call` with structs of every wrong size, and with larger ones. `good` is the answer to a right one; a struct
/// that the function only fills (or fills in, `get`) gets zeros where it is larger.
template <class Object, class Call>
void sizes(Bench &bench, const std::string &what, const Object &object, bool is_filled, int good, Call call, const Words &words = {"size"})
{
	constexpr std::size_t extra = 24;
	struct alignas(Object) Larger {
		unsigned char bytes[sizeof(Object) + extra] = {};
		Object *object() { return reinterpret_cast<Object *>(bytes); }
	};
	const auto larger = [&object](std::size_t size) {
		Larger out;
		std::memcpy(out.bytes, &object, sizeof(object));
		std::memcpy(out.bytes, &size, sizeof(size));
		return out;
	};
	for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8}, sizeof(Object) / 2, sizeof(Object) - 1,
				 std::size_t{1} << 24, std::size_t{1} << 63, SIZE_MAX}) {
		Larger wrong = larger(size);
		const Larger copy = wrong;
		bench.refused(what + ": size " + std::to_string(size), call(wrong.object()), {APUS_ERR_SIZE}, words);
		check(std::memcmp(wrong.bytes, copy.bytes, sizeof(copy.bytes)) == 0,
		      what + ": size " + std::to_string(size) + ": nothing is written");
	}
	for (std::size_t more : {std::size_t{1}, std::size_t{8}, extra}) {
		Larger newer = larger(sizeof(Object) + more);
		answers(what + text(": %zu more bytes, zero", more), call(newer.object()), {good});
		bench.unchanged(what);
	}
	for (std::size_t at : {std::size_t{0}, std::size_t{7}, extra - 1}) {
		const std::string name = what + text(": byte %zu of %zu more is not zero", at, extra);
		Larger newer = larger(sizeof(Object) + extra);
		newer.bytes[sizeof(Object) + at] = 0x80;
		const int result = call(newer.object());
		if (is_filled) {
			answers(name, result, {good});
			check(newer.bytes[sizeof(Object) + at] == 0, name + ": it was filled with zero");
			bench.unchanged(name);
		} else {
			bench.refused(name, result, {APUS_ERR_UNKNOWN_FIELD}, words.empty() ? no_text : any_text);
		}
	}
}

// ---- the verbs -------------------------------------------------------------------------------------------------------

template <class Object> void wrong_objects(Bench &bench, const Kind<Object> &kind, const std::string &mode)
{
	const bool is_port = std::is_same_v<Object, struct apus_port_params>;
	const auto call = [&](int verb, Object *object, bool present) {
		return kind.verbs[verb].call(bench.dataplane, object, present ? kind.present_id : kind.missing_id);
	};
	const auto name = [&](int verb) { return mode + kind.verbs[verb].function; };

	const int good[verb_count] = {APUS_ERR_DUPLICATE, APUS_OK, APUS_OK, kind.absent, 1};
	for (int verb = add; verb < verb_count; verb++) {
		if (is_port && verb == remove)
			continue;
		bench.refused(name(verb) + "(NULL)", call(verb, nullptr, true), {APUS_ERR_NULL});
		sizes(bench, name(verb), verb == remove ? kind.missing : kind.present, verb == get || verb == iterate, good[verb],
		      [&](Object *object) { return call(verb, object, verb != remove); });
	}

	// What exists, what does not.
	Object object = kind.present;
	bench.refused(name(add) + ": exists already", call(add, &object, true), {APUS_ERR_DUPLICATE});
	for (int verb : {get, set, remove}) {
		object = kind.missing;
		const Object copy = object;
		bench.refused(name(verb) + ": does not exist", call(verb, &object, false), {kind.absent});
		check(std::memcmp(&object, &copy, sizeof(object)) == 0, name(verb) + ": a refused call writes nothing");
	}

	// `get` and `remove` read only the key.
	if (kind.clutter) {
		Object right = kind.present, cluttered = kind.present;
		answers(name(get), call(get, &right, true), {APUS_OK});
		kind.clutter(cluttered);
		answers(name(get) + ": garbage beside the key", call(get, &cluttered, true), {APUS_OK});
		check(std::memcmp(&right, &cluttered, sizeof(right)) == 0, name(get) + ": fills every field that is not the key");
		object = kind.missing;
		kind.clutter(object);
		bench.refused(name(remove) + ": garbage beside the key", call(remove, &object, false), {APUS_ERR_NOT_FOUND});
	}

	for (const auto &wrong : kind.wrong)
		for (int verb : {add, get, set, remove}) {
			if ((wrong.verbs >> verb & 1) == 0)
				continue;
			object = verb == add ? kind.missing : kind.present;
			wrong.spoil(object);
			const Object copy = object;
			Codes codes = wrong.codes;
			if (verb != add && (wrong.verbs >> get & 1) != 0)
				codes.push_back(APUS_ERR_NOT_FOUND);  // a key that cannot be is also one that is not there
			bench.refused(name(verb) + ": " + wrong.what, call(verb, &object, verb != add), codes, wrong.text);
			check(std::memcmp(&object, &copy, sizeof(object)) == 0, name(verb) + ": a refused call writes nothing");
		}
}

void verbs(Bench &bench, const std::string &mode)
{
	bench.remember();
	each_kind(bench, [&](const auto &kind) { wrong_objects(bench, kind, mode); });

	// Only ports are named by a number.
	struct apus_port_params port = objects::port({true, false, subnet1, 0x600060000177, 1500}), out;
	struct apus_port_stats stats;
	for (std::uint32_t id : {0u, bench.gone, bench.vm1 + 1000, bench.vm1 ^ 0x80000000u, UINT32_MAX}) {
		const std::string name = mode + "port " + std::to_string(id);
		APUS_INIT(&out);
		APUS_INIT(&stats);
		bench.refused(name + ": get", apus_port_get(bench.dataplane, id, &out), {APUS_ERR_STALE}, {"port", std::to_string(id)});
		bench.refused(name + ": set", apus_port_set(bench.dataplane, id, &port), {APUS_ERR_STALE}, {"port", std::to_string(id)});
		bench.refused(name + ": remove", apus_port_remove(bench.dataplane, id), {APUS_ERR_STALE}, {"port", std::to_string(id)});
		bench.refused(name + ": stats", apus_port_stats_get(bench.dataplane, id, &stats), {APUS_ERR_STALE}, {"port", std::to_string(id)});
	}
	bench.refused(mode + "apus_port_add: id NULL", apus_port_add(bench.dataplane, &port, nullptr), {APUS_ERR_NULL});
	bench.refused(mode + "remove a port with a provider address", apus_port_remove(bench.dataplane, bench.uplink), {APUS_ERR_IN_USE},
		      {"is a provider address"});
	bench.refused(mode + "remove a port with a provider route", apus_port_remove(bench.dataplane, bench.uplink2), {APUS_ERR_IN_USE},
		      {"172.16.0.0/12"});

	// Iteration: NULL, and cursors that nobody gave.
	APUS_INIT(&out);
	std::uint32_t id = 0;
	std::uint64_t cursor = 0;
	MUST(apus_stats_get(bench.dataplane, [] { static struct apus_stats all; APUS_INIT(&all); return &all; }()));
	bench.refused(mode + "apus_port_iterate: id NULL", apus_port_iterate(bench.dataplane, &cursor, nullptr, &out), {APUS_ERR_NULL});
	report::equal(static_cast<std::int64_t>(cursor), 0, "a refused iteration leaves the cursor");
	bench.refused(mode + "apus_port_iterate: cursor NULL", apus_port_iterate(bench.dataplane, nullptr, &id, &out), {APUS_ERR_NULL});
	const auto iterates = [&](const char *function, auto object, auto next) {
		APUS_INIT(&object);
		bench.refused(mode + function + ": cursor NULL", next(bench.dataplane, nullptr, &object), {APUS_ERR_NULL});
		for (std::uint64_t start : {std::uint64_t{1} << 20, std::uint64_t{1} << 32, UINT64_MAX}) {
			std::uint64_t absurd = start;
			answers(mode + function + ": cursor " + std::to_string(start), next(bench.dataplane, &absurd, &object), {0});
		}
	};
	iterates("apus_port_iterate", out,
		 [&id](Dataplane *dataplane, std::uint64_t *at, auto *object) { return apus_port_iterate(dataplane, at, &id, object); });
	iterates("apus_lookup_record_iterate", apus_lookup_record{}, apus_lookup_record_iterate);
	iterates("apus_customer_route_iterate", apus_customer_route{}, apus_customer_route_iterate);
	iterates("apus_virtual_subnet_iterate", apus_virtual_subnet{}, apus_virtual_subnet_iterate);
	iterates("apus_provider_address_iterate", apus_provider_address{}, apus_provider_address_iterate);
	iterates("apus_provider_route_iterate", apus_provider_route{}, apus_provider_route_iterate);
	iterates("apus_provider_neighbor_iterate", apus_provider_neighbor{}, apus_provider_neighbor_iterate);
	iterates("apus_provider_peer_iterate", apus_provider_peer{}, apus_provider_peer_iterate);

	// A dynamic neighbour is not the caller's to change.
	const auto needed = objects::neighbor(fixture::ip(192, 168, 9, 1), 0x445566778811);
	bench.refused(mode + "set a dynamic neighbour", apus_provider_neighbor_set(bench.dataplane, &needed), {APUS_ERR_NOT_FOUND});
	bench.refused(mode + "remove a dynamic neighbour", apus_provider_neighbor_remove(bench.dataplane, &needed), {APUS_ERR_NOT_FOUND});

	struct apus_stats all;
	APUS_INIT(&all);
	APUS_INIT(&stats);
	bench.refused(mode + "apus_stats_get(NULL)", apus_stats_get(bench.dataplane, nullptr), {APUS_ERR_NULL});
	bench.refused(mode + "apus_worker_stats_get(NULL)", apus_worker_stats_get(bench.worker, nullptr), {APUS_ERR_NULL}, no_text);
	bench.refused(mode + "apus_port_stats_get(NULL)", apus_port_stats_get(bench.dataplane, bench.vm1, nullptr), {APUS_ERR_NULL});
	sizes(bench, mode + "apus_stats_get", all, true, APUS_OK, [&](auto *object) { return apus_stats_get(bench.dataplane, object); });
	sizes(
		bench, mode + "apus_worker_stats_get", all, true, APUS_OK,
		[&](auto *object) { return apus_worker_stats_get(bench.worker, object); }, no_text);
	sizes(bench, mode + "apus_port_stats_get", stats, true, APUS_OK,
	      [&](auto *object) { return apus_port_stats_get(bench.dataplane, bench.vm1, object); });
}

// ---- explanations ----------------------------------------------------------------------------------------------------

/// Nothing moves, however often one asks; texts of every size end where they must.
void explanations(Bench &bench)
{
	bench.remember();
	const model::Frame packet = bench.frame(bench.vm1, fixture::vm1_to_remote1());
	struct apus_frame frame = bench.buffers.give(packet);
	struct apus_explanation good;
	APUS_INIT(&good);
	bench.refused("apus_explain: frame NULL", apus_explain(bench.dataplane, nullptr, 0, &good, nullptr, 0), {APUS_ERR_NULL}, {"frame"});
	sizes(bench, "apus_explain", good, true, APUS_OK,
	      [&](auto *object) { return apus_explain(bench.dataplane, &frame, 0, object, nullptr, 0); });

	char whole[4096];
	MUST(apus_explain(bench.dataplane, &frame, 0, &good, whole, sizeof(whole)));
	const std::string text = whole;
	report::check(good.verdict == APUS_VERDICT_ENCAPSULATE && good.port == bench.uplink && good.frames == 1, "apus_explain: the verdict");
	report::check(text.find("verdict: ENCAPSULATE to 192.168.0.33") != std::string::npos, "apus_explain: the text: " + text);
	for (std::size_t size = 0; size <= text.size() + 2; size++) {
		std::vector<char> part(size + 1, '#');
		MUST(apus_explain(bench.dataplane, &frame, 0, nullptr, part.data(), size));
		const std::size_t expected = size == 0 ? 0 : std::min(size - 1, text.size());
		report::check(part[size] == '#' && (size == 0 || text.compare(0, expected, part.data()) == 0),
			      "apus_explain into " + std::to_string(size) + " bytes");
	}
	for (const char *name : {"DROP", "DELIVER", "ENCAPSULATE", "DECAPSULATE", "FRAGMENT", "ANSWER", "CONSUME", "COPY", "WAIT", "REWRITE", "LEAVE"}) {
		static std::uint32_t verdict = 0;
		report::check(CALL(apus_verdict_name, ++verdict) == std::string(name), std::string("the name of verdict ") + name);
	}
	for (std::uint32_t number : {0u, 12u, 255u, UINT32_MAX})
		report::check(*apus_verdict_name(number) == 0, "the name of no verdict");
	bench.buffers.recycle(bench.buffers.take_back(frame.buffer));
	bench.unchanged("explanations");
	bench.flows("after explanations");
}

// ---- transactions ----------------------------------------------------------------------------------------------------

void transactions(Bench &bench)
{
	Dataplane *const dataplane = bench.dataplane;
	bench.remember();
	bench.refused("commit without begin", apus_transaction_commit(dataplane), {APUS_ERR_TRANSACTION});
	bench.refused("abort without begin", apus_transaction_abort(dataplane), {APUS_ERR_TRANSACTION});
	MUST(apus_transaction_begin(dataplane));
	report::equal(std::strlen(apus_dataplane_error_text(dataplane)), 0, "no text after a call that succeeded");
	bench.refused("begin twice", apus_transaction_begin(dataplane), {APUS_ERR_TRANSACTION});
	verbs(bench, "in a transaction: ");
	bench.flows("in a transaction");
	bench.remember();

	// One refused call does not spoil the others.
	const auto good =
		objects::record({subnet1, fixture::ip(10, 0, 1, 50)}, {0x600060000150, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa});
	MUST(apus_lookup_record_add(dataplane, &good));
	bench.remember();
	bench.refused("the same record twice in a transaction", apus_lookup_record_add(dataplane, &good), {APUS_ERR_DUPLICATE});
	MUST(apus_transaction_commit(dataplane));
	bench.unchanged("commit");
	bench.refused("commit twice", apus_transaction_commit(dataplane), {APUS_ERR_TRANSACTION});
	bench.refused("abort after commit", apus_transaction_abort(dataplane), {APUS_ERR_TRANSACTION});
	MUST(apus_transaction_begin(dataplane));
	MUST(apus_lookup_record_remove(dataplane, &good));
	auto gone = good;
	check(apus_lookup_record_get(dataplane, &gone) == APUS_ERR_NOT_FOUND, "get sees the collected changes");
	MUST(apus_transaction_abort(dataplane));
	bench.unchanged("abort");
	bench.refused("abort twice", apus_transaction_abort(dataplane), {APUS_ERR_TRANSACTION});
	MUST(apus_lookup_record_remove(dataplane, &good));
	bench.flows("after transactions");
}

// ---- options ---------------------------------------------------------------------------------------------------------

void options(Bench &bench)
{
	bench.remember();
	struct apus_dataplane_opts opts;
	const auto create = [](const struct apus_dataplane_opts *with) {
		Dataplane *dataplane = nullptr;
		const int result = CALL(apus_dataplane_create, with, &dataplane);
		check((result < 0) == (dataplane == nullptr), "apus_dataplane_create writes *out if and only if it works");
		apus_dataplane_destroy(dataplane);
		return result;
	};
	APUS_INIT(&opts);
	sizes(bench, "apus_dataplane_create", opts, false, APUS_OK, create, no_text);
	answers("apus_dataplane_create(NULL)", create(nullptr), {APUS_OK});

	struct Wrong {
		const char *what;
		int code;
		Words words;
		std::function<void(struct apus_dataplane_opts &)> spoil;
	};
	std::vector<Wrong> wrong;
	const auto number = [&wrong](const char *field, std::uint32_t apus_dataplane_opts::*member, const std::vector<std::uint32_t> &numbers,
				     const char *range) {
		for (std::uint32_t one : numbers)
			wrong.push_back({field, APUS_ERR_RANGE, {field, std::to_string(one), range}, [=](auto &out) { out.*member = one; }});
	};
	number("expected_records", &apus_dataplane_opts::expected_records, {33554433, UINT32_MAX}, "33554432");
	number("neighbor_reachable_ms", &apus_dataplane_opts::neighbor_reachable_ms, {1, 999, 3600001, UINT32_MAX}, "1000-3600000");
	number("neighbor_retry_ms", &apus_dataplane_opts::neighbor_retry_ms, {1, 9, 60001, UINT32_MAX}, "10-60000");
	number("neighbor_retries", &apus_dataplane_opts::neighbor_retries, {17, UINT32_MAX}, "1-16");
	number("icmp_error_rate", &apus_dataplane_opts::icmp_error_rate, {1000001, UINT32_MAX}, "1-1000000");
	constexpr std::uint32_t known = 0x1F | APUS_DATAPLANE_SEND_UNREACHABLE | APUS_DATAPLANE_USE_EXTERNAL_ROUTER | APUS_DATAPLANE_ONE_CUSTOMER_FAMILY;
	for (std::uint32_t flag = 1; flag != 0; flag <<= 1)
		if ((flag & known) == 0)
			wrong.push_back({"flags", APUS_ERR_UNKNOWN_FIELD, {"flags", std::to_string(flag)}, [=](auto &out) { out.flags = flag; }});
	wrong.push_back({"reserved0", APUS_ERR_UNKNOWN_FIELD, {"reserved0", "255"}, [](auto &out) { out.reserved0 = 255; }});
	wrong.push_back({"gateway_mac", APUS_ERR_MAC, {"gateway_mac", "ff:ff:ff:ff:ff:ff"}, [](auto &out) {
				 out.gateway_mac = objects::mac(fixture::broadcast);
			 }});
	wrong.push_back({"gateway_mac", APUS_ERR_MAC, {"gateway_mac", "01:00:5e:00:00:01"}, [](auto &out) {
				 out.gateway_mac = objects::mac(0x01005E000001);
			 }});
	Memory memory;
	wrong.push_back({"allocator without release", APUS_ERR_NULL, {"allocator"}, [&](auto &out) {
				 out.allocator.allocate = memory.callbacks().allocate;
			 }});
	wrong.push_back({"allocator without allocate", APUS_ERR_NULL, {"allocator"}, [&](auto &out) {
				 out.allocator.release = memory.callbacks().release;
			 }});
	for (const Wrong &one : wrong) {
		char why[256] = "?";
		APUS_INIT(&opts);
		opts.error_text = why;
		opts.error_text_size = sizeof(why);
		one.spoil(opts);
		bench.refused(std::string("apus_dataplane_create: ") + one.what, create(&opts), {one.code}, no_text);
		says(one.what, why, one.words);
	}

	// error_text: cut to its size, never beyond it; also for sizes that no buffer has.
	for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{100}, std::size_t{1} << 63, SIZE_MAX}) {
		char why[256];
		std::memset(why, 'x', sizeof(why));
		APUS_INIT(&opts);
		opts.flags = UINT32_MAX;
		opts.error_text = why;
		opts.error_text_size = size;
		answers("error_text_size", create(&opts), {APUS_ERR_UNKNOWN_FIELD});
		const auto length = strnlen(why, sizeof(why));
		const bool fits = size == 0 ? length == sizeof(why) : length < size && length < sizeof(why) && (size < 100 || length > 20);
		check(fits, text("error_text_size %zu: the text is there, within its size", size));
		check(why[sizeof(why) - 1] == 'x', text("error_text_size %zu: nothing is written behind the text", size));
	}
	struct {
		struct apus_dataplane_opts opts;
		std::uint64_t more;
	} newer = {};
	char why[256] = "";
	APUS_INIT(&newer.opts);
	newer.opts.size = sizeof(newer);
	newer.opts.error_text = why;
	newer.opts.error_text_size = sizeof(why);
	newer.more = 1;
	bench.refused("apus_dataplane_create: a field of a newer version", create(&newer.opts), {APUS_ERR_UNKNOWN_FIELD}, no_text);
	says("apus_dataplane_create: a field of a newer version", why, {"size"});
	bench.refused("apus_dataplane_create: out NULL", apus_dataplane_create(nullptr, nullptr), {APUS_ERR_NULL}, no_text);

	// Workers.
	const auto create_worker = [&bench](const struct apus_worker_opts *with) {
		Worker *worker = nullptr;
		const int result = apus_worker_create(bench.dataplane, with, &worker);
		check((result < 0) == (worker == nullptr), "apus_worker_create writes *out if and only if it works");
		if (worker != nullptr)
			MUST(apus_worker_destroy(worker));
		return result;
	};
	sizes(bench, "apus_worker_create", bench.worker_opts, false, APUS_OK, create_worker);
	bench.refused("apus_worker_create: opts NULL", create_worker(nullptr), {APUS_ERR_NULL});
	bench.refused("apus_worker_create: out NULL", apus_worker_create(bench.dataplane, &bench.worker_opts, nullptr), {APUS_ERR_NULL}, {"out"});
	struct apus_worker_opts with = bench.worker_opts;
	with.buffers.release = nullptr;
	bench.refused("apus_worker_create: no release", create_worker(&with), {APUS_ERR_NULL}, {"buffers.release"});
	for (std::uint32_t capacity : {1u, 63u, 16777217u, 0x80000000u, UINT32_MAX}) {
		with = bench.worker_opts;
		with.flow_capacity = capacity;
		bench.refused("apus_worker_create: flow_capacity", create_worker(&with), {APUS_ERR_RANGE},
			      {"flow_capacity", std::to_string(capacity), "64-16777216"});
		with = bench.worker_opts;
		with.ipv6_flow_capacity = capacity;
		bench.refused("apus_worker_create: ipv6_flow_capacity", create_worker(&with), {APUS_ERR_RANGE},
			      {"ipv6_flow_capacity", std::to_string(capacity), "64-16777216"});
	}
	for (std::uint32_t capacity : {1025u, UINT32_MAX}) {
		with = bench.worker_opts;
		with.held_capacity = capacity;
		bench.refused("apus_worker_create: held_capacity", create_worker(&with), {APUS_ERR_RANGE},
			      {"held_capacity", std::to_string(capacity), "1-1024"});
	}
	for (std::uint32_t flag = 1; flag != 0; flag <<= 1) {
		with = bench.worker_opts;
		with.flags = flag;
		bench.refused("apus_worker_create: flags", create_worker(&with), {APUS_ERR_UNKNOWN_FIELD}, {"flags", std::to_string(flag)});
	}
	bench.flows("after wrong options");
}

// ---- handles ---------------------------------------------------------------------------------------------------------

void handles(Bench &bench)
{
	bench.remember();
	const auto calls = control_calls(bench);
	struct apus_worker_opts opts = bench.worker_opts;
	opts.flow_capacity = 64;

	Dataplane *old_dataplane = nullptr, *next_dataplane = nullptr;
	MUST(apus_dataplane_create(nullptr, &old_dataplane));
	Worker *old_worker = nullptr, *next_worker = nullptr, *orphan = nullptr;
	MUST(apus_worker_create(old_dataplane, &opts, &orphan));
	answers("destroy a dataplane with a worker", apus_dataplane_destroy(old_dataplane), {APUS_ERR_IN_USE});
	says("destroy a dataplane with a worker", apus_dataplane_error_text(old_dataplane), {"worker"});
	MUST(apus_worker_destroy(orphan));
	MUST(apus_dataplane_destroy(old_dataplane));
	MUST(apus_dataplane_create(nullptr, &next_dataplane));  // most likely in the same place
	MUST(apus_worker_create(bench.dataplane, &opts, &old_worker));
	MUST(apus_worker_destroy(old_worker));
	MUST(apus_worker_create(bench.dataplane, &opts, &next_worker));

	int local = 0;
	std::vector<std::uintptr_t> garbage = {1, 8, 4096, UINTPTR_MAX, UINTPTR_MAX / 2, std::uintptr_t{0xA9} << 56, std::uintptr_t{0xA9} << 56 | 0xFFFFFF};
	for (const void *foreign : {static_cast<void *>(&local), reinterpret_cast<void *>(&apus_strerror)})
		garbage.push_back(reinterpret_cast<std::uintptr_t>(foreign));
	for (const void *dead : {static_cast<void *>(old_dataplane), static_cast<void *>(old_worker), static_cast<void *>(orphan)})
		garbage.push_back(reinterpret_cast<std::uintptr_t>(dead));
	for (int bit = 0; bit < 64; bit++) {
		garbage.push_back(reinterpret_cast<std::uintptr_t>(bench.dataplane) ^ std::uintptr_t{1} << bit);
		garbage.push_back(reinterpret_cast<std::uintptr_t>(bench.worker) ^ std::uintptr_t{1} << bit);
	}
	const auto is_alive = [&](std::uintptr_t bits) {
		for (const void *living : {static_cast<void *>(bench.dataplane), static_cast<void *>(next_dataplane),
					   static_cast<void *>(bench.worker), static_cast<void *>(next_worker)})
			if (bits == reinterpret_cast<std::uintptr_t>(living))
				return true;
		return false;
	};
	garbage.erase(std::remove_if(garbage.begin(), garbage.end(), is_alive), garbage.end());

	for (const Control &control : calls) {
		const int to_null = control.function == "apus_dataplane_destroy" ? APUS_OK : APUS_ERR_NULL;
		bench.refused(control.function + ": dataplane NULL", control.call(nullptr), {to_null}, no_text);
		for (std::uintptr_t bits : garbage)
			answers(control.function + text(": dataplane %#zx", bits), control.call(reinterpret_cast<Dataplane *>(bits)),
				{APUS_ERR_STALE});
		bench.refused(control.function + ": a worker as dataplane", control.call(reinterpret_cast<Dataplane *>(bench.worker)),
			      {APUS_ERR_STALE}, no_text);
	}
	garbage.push_back(reinterpret_cast<std::uintptr_t>(bench.worker));
	garbage.push_back(0);
	for (std::uintptr_t bits : garbage) {
		auto *dataplane = reinterpret_cast<Dataplane *>(bits);
		const char *said = CALL(apus_dataplane_error_text, dataplane);
		check(said != nullptr && *said == 0, text("apus_dataplane_error_text(%#zx) is \"\"", bits));
		check(CALL(apus_dataplane_memory, dataplane) == 0, text("apus_dataplane_memory(%#zx) is 0", bits));
	}
	garbage.erase(garbage.end() - 2, garbage.end());

	answers("apus_worker_destroy(NULL)", CALL(apus_worker_destroy, nullptr), {APUS_OK});
	answers("apus_worker_process(NULL)", process_one(nullptr), {APUS_ERR_NULL});
	answers("apus_worker_stats_get(NULL)", worker_stats(nullptr), {APUS_ERR_NULL});
	garbage.push_back(reinterpret_cast<std::uintptr_t>(bench.dataplane));
	for (std::uintptr_t bits : garbage) {
		auto *worker = reinterpret_cast<Worker *>(bits);
		answers(text("apus_worker_destroy(%#zx)", bits), apus_worker_destroy(worker), {APUS_ERR_STALE});
		answers(text("apus_worker_process(%#zx)", bits), process_one(worker), {APUS_ERR_STALE});
		answers(text("apus_worker_stats_get(%#zx)", bits), worker_stats(worker), {APUS_ERR_STALE});
	}
	bench.unchanged("stale handles");
	MUST(apus_worker_destroy(next_worker));
	MUST(apus_dataplane_destroy(next_dataplane));
	bench.flows("after stale handles");
}

// ---- bursts ----------------------------------------------------------------------------------------------------------

void bursts(Bench &bench)
{
	bench.remember();
	struct apus_frame in[4] = {}, out[8] = {};
	Worker *const worker = bench.worker;
	const auto refused = [&](const char *what, int result, const Codes &codes) {
		bench.refused(what, result, codes, no_text);
		check(bench.buffers.released.empty(), std::string(what) + ": nothing was taken");
	};
	bench.buffers.released.clear();
	refused("in NULL", apus_worker_process(worker, nullptr, 1, out, 8, bench.now), {APUS_ERR_NULL});
	refused("in NULL, out NULL", apus_worker_process(worker, nullptr, 1, nullptr, 8, bench.now), {APUS_ERR_NULL});
	refused("out NULL", apus_worker_process(worker, in, 1, nullptr, 8, bench.now), {APUS_ERR_NULL});
	refused("out_capacity 0", apus_worker_process(worker, in, 1, out, 0, bench.now), {APUS_ERR_RANGE});
	refused("out_capacity below n_in", apus_worker_process(worker, in, 4, out, 3, bench.now), {APUS_ERR_RANGE});
	refused("n_in UINT32_MAX", apus_worker_process(worker, in, UINT32_MAX, out, 8, bench.now), {APUS_ERR_RANGE});
	refused("n_in and out_capacity UINT32_MAX", apus_worker_process(worker, in, UINT32_MAX, out, UINT32_MAX, bench.now), {APUS_ERR_RANGE});
	refused("out_capacity UINT32_MAX", apus_worker_process(worker, in, 1, out, UINT32_MAX, bench.now), {APUS_ERR_RANGE});
	refused("out_capacity 2^31", apus_worker_process(worker, in, 1, out, 0x80000000u, bench.now), {APUS_ERR_RANGE});

	// Nothing to do.
	answers("n_in 0, in NULL", apus_worker_process(worker, nullptr, 0, out, 8, bench.now), {0});
	answers("n_in 0", apus_worker_process(worker, in, 0, out, 8, bench.now), {0});
	answers("n_in 0, out_capacity 0", apus_worker_process(worker, nullptr, 0, out, 0, bench.now), {0});

	// `out` must not overlap `in`: no error is documented, but every buffer has to come back once.
	for (unsigned count : {1u, 4u, 64u}) {
		std::vector<struct apus_frame> frames;
		for (unsigned i = 0; i < count; i++)
			frames.push_back(bench.buffers.give(bench.frame(bench.vm1, fixture::vm1_to_remote1())));
		const int result = apus_worker_process(worker, frames.data(), count, frames.data(), count, bench.now);
		check(result <= static_cast<int>(count), "in is out: at most as many frames as fit");
		for (unsigned i = 0; i < (result < 0 ? count : static_cast<unsigned>(result)); i++)
			if (host::Buffer *buffer = bench.buffers.take_back(frames[i].buffer))
				bench.buffers.recycle(buffer);
		check(bench.buffers.away() == 0 && bench.buffers.take_error().empty(),
		      text("in is out, %u frames: every buffer comes back once", count));
	}

	// Frames that are nonsense are dropped, not followed.
	std::vector<model::Frame> nonsense;
	for (std::uint32_t port : {0u, bench.gone, UINT32_MAX})
		nonsense.push_back(bench.frame(port, fixture::vm1_to_remote1()));
	nonsense.push_back(bench.frame(bench.vm1, {}));
	for (std::uint32_t length : {0u, 13u, 65536u, UINT32_MAX}) {
		nonsense.push_back(bench.frame(bench.vm1, fixture::vm1_to_remote1()));
		nonsense.back().claimed = length;
	}
	nonsense.push_back(bench.frame(bench.vm1, fixture::vm1_to_remote1()));
	nonsense.back().null_data = true;
	const auto before = bench.stats();
	check(bench.process(nonsense).empty(), "nonsense is not sent");
	report::equal(static_cast<std::int64_t>(bench.stats().dropped - before.dropped), static_cast<std::int64_t>(nonsense.size()),
		      "nonsense is counted");
	bench.flows("after wrong bursts");
}

/// Time that goes backwards counts as the time before: a request is not repeated until its time has really come.
void time_goes_backwards()
{
	Bench bench;
	bench.remove_neighbor(fixture::remote_pa);
	const auto requests = [&bench] { return static_cast<std::int64_t>(bench.stats().arp_requests); };
	bench.now = 100 * fixture::second;
	bench.send(bench.vm1, fixture::vm1_to_remote1());
	report::equal(requests(), 1, "the first packet asks for the next hop");
	for (std::uint64_t now : {99 * fixture::second, std::uint64_t{0}, std::uint64_t{1}, 100 * fixture::second + 900'000'000}) {
		bench.now = now;
		bench.process({});
		report::equal(requests(), 1, text("at %llu ns it is not asked again", static_cast<unsigned long long>(now)));
	}
	bench.now = 101 * fixture::second + 1;
	bench.process({});
	report::equal(requests(), 2, "one second later it is");
	for (std::uint64_t now : {UINT64_MAX, std::uint64_t{0}, UINT64_MAX - 1, UINT64_MAX, 101 * fixture::second}) {
		bench.now = now;
		answers("a clock at its ends", (bench.process({}), bench.last_result < 0 ? bench.last_result : 0), {APUS_OK});
	}
	bench.add_neighbor(fixture::remote_pa, fixture::remote_pa_mac);
	bench.process({});
	bench.flows("after time went backwards");
	const auto stats = bench.stats();
	check(stats.received + stats.generated == stats.transmitted + stats.consumed + stats.dropped + stats.held, "every frame is counted once");
}

int run()
{
	names();
	texts();
	codes();
	{
		Bench bench;
		verbs(bench, "");
		bench.flows("after wrong objects");
		explanations(bench);
		check_external_ports(bench);
		transactions(bench);
		options(bench);
		handles(bench);
		bursts(bench);
		bench.flows("at the end");
	}
	time_goes_backwards();
	second_thread();
	publication();
	inside_wait();
	inside_callbacks();
	limits();
	too_much();
	out_of_memory();
	for (const char *function : exported)
		check(called.count(function) == 1, std::string(function) + " was called");
	for (const auto &[code, reason] : excluded)
		std::printf("no case for %s: %s\n", apus_error_name(code), reason);
	return report::finish();
}

}  // namespace misuse

int main() { return misuse::run(); }
