// SPDX-License-Identifier: Apache-2.0
// The pure functions of the contract - texts, names -, one case for every error code, and the documented limits.
#pragma once

#include <climits>

#include "misuse_memory.hpp"
#include "misuse_threads.hpp"

namespace misuse {

// ---- texts -----------------------------------------------------------------------------------------------------------

template <class Object>
void parses(const char *function, int (*parse)(const char *, Object *), const char *good, const Words &no_syntax, const Words &no_prefix = {})
{
	Object object, untouched;
	std::memset(&object, 0xEE, sizeof(object));
	untouched = object;
	answers(std::string(function) + "(NULL, out)", parse(nullptr, &object), {APUS_ERR_NULL});
	answers(std::string(function) + "(text, NULL)", parse(good, nullptr), {APUS_ERR_NULL});
	answers(std::string(function) + "(NULL, NULL)", parse(nullptr, nullptr), {APUS_ERR_NULL});
	const auto refuses = [&](const std::string &wrong, int code) {
		answers(std::string(function) + "(\"" + wrong.substr(0, 60) + "\")", parse(wrong.c_str(), &object), {code});
		check(std::memcmp(&object, &untouched, sizeof(object)) == 0, std::string(function) + ": *out is unchanged");
	};
	for (const std::string &wrong : no_syntax)
		refuses(wrong, APUS_ERR_SYNTAX);
	for (const std::string &wrong : no_prefix)
		refuses(wrong, APUS_ERR_PREFIX);
	const std::string text = good;
	for (const std::string &wrong : {std::string(), std::string("x"), std::string("\xFF\x80"), " " + text, text + " ", text + text, text + "\n",
					 std::string(100000, '1'), std::string(100000, ':'), std::string(100000, '-')})
		refuses(wrong, APUS_ERR_SYNTAX);
	for (std::size_t length = 1; length + 1 < text.size(); length++)
		refuses(text.substr(0, length) + "\n", APUS_ERR_SYNTAX);
	answers(std::string(function) + "(\"" + good + "\")", parse(good, &object), {APUS_OK});
}

template <class Object>
void formats(const char *function, int (*format)(const Object *, char *, std::size_t), const Object &object, const std::string &expected)
{
	char out[APUS_TEXT_SIZE + 8];
	answers(std::string(function) + "(NULL)", format(nullptr, out, sizeof(out)), {APUS_ERR_NULL});
	answers(std::string(function) + " into NULL", format(&object, nullptr, APUS_TEXT_SIZE), {APUS_ERR_NULL});
	for (std::size_t size = 0; size <= APUS_TEXT_SIZE; size++) {
		std::memset(out, 'x', sizeof(out));
		const int result = format(&object, out, size);
		const std::string name = function + text(" into %zu bytes", size);
		report::equal(result, size > expected.size() ? static_cast<int>(expected.size()) : APUS_ERR_RANGE, name);
		check(size == 0 || strnlen(out, size) < size, name + ": NUL-terminated");
		check(std::all_of(out + size, std::end(out), [](char c) { return c == 'x'; }), name + ": nothing behind");
		check(size <= expected.size() || out == expected, name + ": the text");
	}
	for (std::size_t size : {std::size_t{UINT32_MAX}, std::size_t{1} << 63, SIZE_MAX}) {
		std::memset(out, 'x', sizeof(out));
		report::equal(format(&object, out, size), static_cast<int>(expected.size()), function + text(" into %zu bytes", size));
	}
}

inline void texts()
{
#define PARSES(function, ...) (called.insert(#function), parses(#function, function, __VA_ARGS__))
#define FORMATS(function, ...) (called.insert(#function), formats(#function, function, __VA_ARGS__))
	PARSES(apus_address_parse, "10.0.1.5",
	       {"10.0.1", "10.0.1.256", "010.0.1.5", "10.0.1.-1", "10..1.5", "10.0.1.5/24", "10.0.1.99999999999", "0x0a.0.1.5", ":", ":::", "1::2::3",
		"1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "12345::", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4"});
	PARSES(apus_prefix_parse, "10.0.1.0/24", {"10.0.1.0", "10.0.1.0/", "/24", "10.0.1.0/-1", "10.0.1.0/024", "10.0.1.0/4294967320"},
	       {"10.0.1.0/33", "10.0.1.0/999", "2001:db8::/129", "10.0.1.5/24"});
	PARSES(apus_mac_parse, "60:00:60:00:01:01",
	       {"60:00:60:00:01", "60:00:60:00:01:01:01", "60-00:60-00:01-01", "6000.6000.0101", "60006000010", "60:0:60:0:1:1", "g0:00:60:00:01:01"});
	PARSES(apus_guid_parse, "{12345678-1000-2000-3000-123456780001}",
	       {"{12345678-1000-2000-3000-123456780001", "12345678-1000-2000-3000-123456780001}", "12345678100020003000123456780001",
		"{12345678-1000-2000-3000-12345678000g}", "{}", "1234567-81000-2000-3000-123456780001"});

	struct apus_address address = objects::address(fixture::ip(10, 0, 1, 5)), v6 = {};
	v6.family = APUS_IPV6;
	std::memset(v6.bytes, 0xAB, sizeof(v6.bytes));
	struct apus_prefix prefix = objects::prefix({fixture::ip(10, 0, 1, 0), 24});
	FORMATS(apus_address_format, address, "10.0.1.5");
	FORMATS(apus_address_format, v6, "abab:abab:abab:abab:abab:abab:abab:abab");
	FORMATS(apus_prefix_format, prefix, "10.0.1.0/24");
	FORMATS(apus_mac_format, objects::mac(fixture::vm1_mac), "60:00:60:00:01:01");
	FORMATS(apus_guid_format, objects::guid(fixture::tenant(1)), "{12000000-0000-0000-0000-000000000001}");
	char out[APUS_TEXT_SIZE];
	for (std::uint8_t family : {0, 1, 5, 7, 255}) {
		address.family = prefix.address.family = family;
		answers("apus_address_format: family", apus_address_format(&address, out, sizeof(out)), {APUS_ERR_FAMILY});
		answers("apus_prefix_format: family", apus_prefix_format(&prefix, out, sizeof(out)), {APUS_ERR_FAMILY});
	}
}

inline void names()
{
	for (const char *name : {"", "RECORD_LEARNED", "RECORD_MOVED", "RECORD_CONFLICT", "LEARN_LIMIT", "LEARN_THRESHOLD", "LEARN_THROTTLED", "LOST"}) {
		static std::uint32_t kind = 0;
		check(CALL(apus_event_name, kind) == std::string(name), text("the name of event %u", kind));
		kind++;
	}
	check(*apus_event_name(255) == 0 && *apus_event_name(UINT32_MAX) == 0, "the name of no event");
	check(CALL(apus_version_number) == APUS_VERSION_NUMBER, "apus_version_number");
	check(CALL(apus_version_string) == text("%d.%d.%d", APUS_VERSION_MAJOR, APUS_VERSION_MINOR, APUS_VERSION_PATCH), "apus_version_string");
	check(std::strncmp(CALL(apus_build_info), "apus ", 5) == 0, "apus_build_info");
	for (std::uint32_t reason : {0u, 7u, 15u, 22u, 28u, 32u + 100, 127u, 128u, 256u + 16, 0x80000010u, UINT32_MAX}) {
		check(*CALL(apus_drop_reason_name, reason) == 0 && *CALL(apus_drop_reason_text, reason) == 0 &&
			      CALL(apus_drop_reason_windows, reason) == 0,
		      text("%u is no drop reason", reason));
	}
	check(CALL(apus_error_name, 0) == std::string("APUS_OK"), "apus_error_name(0)");
	check(*CALL(apus_strerror, 0) != 0, "apus_strerror(0)");
	for (int number : {1, 25, -26, -64, -100, -255, INT_MAX, INT_MIN}) {
		check(apus_error_name(number) == std::string("APUS_ERR_?"), text("apus_error_name(%d)", number));
		check(apus_strerror(number) != nullptr && *apus_strerror(number) != 0, text("apus_strerror(%d) is a text", number));
	}
}

// ---- every error code ------------------------------------------------------------------------------------------------

struct Answer {
	int code;
	std::string text;
};

/// One call for each code. It is made on a bench with the small policy, which it must leave as it was.
struct Case {
	int code;
	const char *name;
	const char *what;
	std::function<Answer(Bench &)> call;
	Words words;
};
#define CODE(name) APUS_ERR_##name, "APUS_ERR_" #name

/// Why there is no case for a code.
inline const std::map<int, const char *> excluded = {
	{APUS_ERR_CPU, "no CPU that can run this program lacks what the library was built for; the check is one branch of apus_dataplane_create()"},
};

inline Answer of(Bench &bench, int code) { return {code, apus_dataplane_error_text(bench.dataplane)}; }

template <class Object>
std::function<Answer(Bench &)> change(int (*function)(Dataplane *, const Object *), Kind<Object> (*kind_of)(Bench &), bool present,
				      void (*spoil)(Object &))
{
	return [=](Bench &bench) {
		const Kind<Object> kind = kind_of(bench);
		Object object = present ? kind.present : kind.missing;
		spoil(object);
		return of(bench, function(bench.dataplane, &object));
	};
}

inline Answer out_of_limit(Bench &bench)
{
	std::vector<Worker *> workers;
	struct apus_worker_opts opts = bench.worker_opts;
	opts.flow_capacity = 64;
	opts.held_capacity = 1;
	Worker *worker = nullptr;
	int result;
	while ((result = apus_worker_create(bench.dataplane, &opts, &worker)) == APUS_OK)
		workers.push_back(worker);
	const Answer answer = of(bench, result);
	report::equal(static_cast<std::int64_t>(workers.size()) + 1, APUS_WORKERS_MAX, "workers of a dataplane");
	for (Worker *one : workers)
		MUST(apus_worker_destroy(one));
	return answer;
}

inline Answer out_of_memory_once(Bench &)
{
	Memory memory;
	Bench bench(false);
	bench.opts.allocator = memory.callbacks();
	bench.opts.expected_records = 1;
	bench.fill();
	bench.remember();
	memory.limit = 0;
	struct apus_worker_opts opts = bench.worker_opts;
	Worker *worker = nullptr;
	const Answer answer = of(bench, apus_worker_create(bench.dataplane, &opts, &worker));
	bench.unchanged("APUS_ERR_MEMORY");
	bench.flows("APUS_ERR_MEMORY");
	return answer;
}

inline Answer stalled_once(Bench &)
{
	Bench bench;
	Inside inside(bench);
	const auto record = a_record(0);
	const Answer answer = of(bench, apus_lookup_record_add(bench.dataplane, &record));
	check(has(bench, record), "APUS_ERR_STALLED: the change is published");
	inside.leave();
	answers("APUS_ERR_STALLED: synchronize", apus_dataplane_synchronize(bench.dataplane), {APUS_OK});
	bench.flows("APUS_ERR_STALLED");
	return answer;
}

inline Answer busy_once(Bench &)
{
	Bench bench;
	Inside inside(bench);
	return {process_one(bench.worker), ""};
}

inline std::vector<Case> cases()
{
	using Route = struct apus_customer_route;
	using Record = struct apus_lookup_record;
	using ProviderAddress = struct apus_provider_address;
	using Neighbor = struct apus_provider_neighbor;
	const auto record = [](auto function, bool present, void (*spoil)(Record &)) { return change<Record>(function, records, present, spoil); };
	const auto route = [](bool present, void (*spoil)(Route &)) {
		return change<Route>(apus_customer_route_add, customer_routes, present, spoil);
	};
	const auto keep = [](auto &) {};
	return {
		{CODE(NULL),
		 "a dataplane without `out`",
		 [](Bench &) {
			 char why[256] = "";
			 struct apus_dataplane_opts opts;
			 APUS_INIT(&opts);
			 opts.error_text = why;
			 opts.error_text_size = sizeof(why);
			 const int code = apus_dataplane_create(&opts, nullptr);
			 return Answer{code, why};
		 },
		 {"dataplane", "out", "NULL"}},
		{CODE(SIZE),
		 "a record of three bytes",
		 record(apus_lookup_record_add, false, [](Record &object) { object.size = 3; }),
		 {"lookup record", "size", "3"}},
		{CODE(UNKNOWN_FIELD),
		 "a flag of tomorrow",
		 record(apus_lookup_record_add, false, [](Record &object) { object.flags = 64; }),
		 {"lookup record", "flags", "64"}},
		{CODE(STALE),
		 "a port that was removed",
		 [](Bench &bench) {
			 struct apus_port_params out;
			 APUS_INIT(&out);
			 return of(bench, apus_port_get(bench.dataplane, bench.gone, &out));
		 },
		 {"port", "id"}},
		{CODE(BUSY), "two threads in one worker", busy_once, no_text},
		{CODE(MEMORY), "a worker when there is no memory", out_of_memory_once, {"worker"}},
		{CODE(LIMIT), "one worker more than there may be", out_of_limit, {"worker", "256"}},
		{CODE(FAMILY),
		 "an address of family 17",
		 record(apus_lookup_record_add, false, [](Record &object) { object.provider_address.family = 17; }),
		 {"lookup record", "provider_address", "17", "4"}},
		{CODE(PREFIX),
		 "33 bits of IPv4",
		 route(false, [](Route &object) { object.destination_prefix.length = 33; }),
		 {"customer route", "destination_prefix", "33", "0-32"}},
		{CODE(CONFLICT),
		 "a virtual subnet in two routing domains; the text names the other",
		 route(false, [](Route &object) { object.routing_domain_id = objects::guid(fixture::tenant(2)); }),
		 {"customer route", "6000", "{12000000-0000-0000-0000-000000000001}"}},
		{CODE(ADDRESS),
		 "a machine with a multicast address",
		 record(apus_lookup_record_add, false,
			[](Record &object) { object.customer_address = objects::address(fixture::ip(224, 0, 0, 5)); }),
		 {"lookup record", "customer_address", "224.0.0.5"}},
		{CODE(PORT_KIND),
		 "a provider address on a machine's port",
		 [](Bench &bench) {
			 const auto object = objects::provider_address(fixture::ip(192, 168, 0, 77), {bench.vm1, 24, 0, fixture::our_pa_mac});
			 return of(bench, apus_provider_address_add(bench.dataplane, &object));
		 },
		 {"provider address", "port", "provider port"}},
		{CODE(IMMUTABLE),
		 "another MAC for a record",
		 record(apus_lookup_record_set, true, [](Record &object) { object.mac = objects::mac(0x600060000177); }),
		 {"lookup record", "mac", "60:00:60:00:01:77"}},
		{CODE(VSID),
		 "the example of dataplane.h",
		 record(apus_lookup_record_add, false, [](Record &object) { object.virtual_subnet_id = 17; }),
		 {"lookup record: virtual_subnet_id: 17 is outside 4096-16777214"}},
		{CODE(RULE),
		 "rule 9",
		 record(apus_lookup_record_add, false, [](Record &object) { object.rule = 9; }),
		 {"lookup record", "rule", "9", "1-3"}},
		{CODE(DUPLICATE), "a record twice", record(apus_lookup_record_add, true, keep), {"lookup record", "customer_address", "10.0.1.4"}},
		{CODE(NOT_FOUND),
		 "remove what is not there",
		 record(apus_lookup_record_remove, false, keep),
		 {"lookup record", "customer_address", "10.0.1.77"}},
		{CODE(RANGE),
		 "VLAN 4095",
		 change<ProviderAddress>(apus_provider_address_add, provider_addresses, false, [](ProviderAddress &object) { object.vlan = 4095; }),
		 {"provider address", "vlan", "4095", "4094"}},
		{CODE(MAC),
		 "a neighbour with a group address",
		 change<Neighbor>(apus_provider_neighbor_add, neighbors, false,
				  [](Neighbor &object) { object.mac = objects::mac(0x01005E000001); }),
		 {"provider neighbour", "mac", "01:00:5e:00:00:01"}},
		{CODE(TRANSACTION),
		 "commit without begin",
		 [](Bench &bench) { return of(bench, apus_transaction_commit(bench.dataplane)); },
		 {"transaction"}},
		{CODE(STALLED), "a worker that blocks in a callback", stalled_once, {"published", "apus_dataplane_synchronize"}},
		{CODE(IN_USE),
		 "remove a port that has a provider address",
		 [](Bench &bench) { return of(bench, apus_port_remove(bench.dataplane, bench.uplink)); },
		 {"port", "is a provider address"}},
		{CODE(SYNTAX), "an address with a leading zero",
		 [](Bench &) {
			 struct apus_address out;
			 return Answer{apus_address_parse("10.0.01.5", &out), ""};
		 },
		 no_text},
	};
}

inline void codes()
{
	Bench bench;
	bench.remember();
	std::set<int> seen;
	for (const Case &one : cases()) {
		const std::string name = std::string(one.name) + ": " + one.what;
		const Answer answer = one.call(bench);
		answers(name, answer.code, {one.code});
		says(name, answer.text, one.words);
		bench.unchanged(name);
		check(apus_error_name(one.code) == std::string(one.name), name + ": its name");
		seen.insert(one.code);
	}
	std::set<std::string> all_texts;
	for (int code = APUS_ERR_SYNTAX; code < 0; code++) {
		check(seen.count(code) + excluded.count(code) == 1, std::string(apus_error_name(code)) + ": has a case, or a reason why not");
		const std::string meaning = apus_strerror(code);
		check(!meaning.empty() && meaning.back() != '.' && all_texts.insert(meaning).second,
		      std::string(apus_error_name(code)) + ": a text of its own without full stop");
	}
	bench.flows("after every error code");
}

/// The two limits that have no case above.
inline void limits()
{
	std::vector<Dataplane *> dataplanes;
	Dataplane *dataplane = nullptr;
	char why[256] = "";
	struct apus_dataplane_opts opts;
	APUS_INIT(&opts);
	opts.error_text = why;
	opts.error_text_size = sizeof(why);
	int result;
	while ((result = apus_dataplane_create(&opts, &dataplane)) == APUS_OK)
		dataplanes.push_back(dataplane);
	answers("one dataplane too many", result, {APUS_ERR_LIMIT});
	says("one dataplane too many", why, {"dataplane", "64"});
	report::equal(static_cast<std::int64_t>(dataplanes.size()), APUS_DATAPLANES_MAX, "dataplanes of a process");
	for (Dataplane *one : dataplanes)
		MUST(apus_dataplane_destroy(one));

	Bench bench;
	auto port = objects::port({false, false, 0, 0, 1500});
	std::vector<std::uint32_t> ids;
	std::uint32_t id = 0;
	while ((result = apus_port_add(bench.dataplane, &port, &id)) == APUS_OK)
		ids.push_back(id);
	bench.remember();
	bench.refused("one port too many", apus_port_add(bench.dataplane, &port, &id), {APUS_ERR_LIMIT}, {"port", "4096"});
	report::equal(static_cast<std::int64_t>(ids.size()) + 5, APUS_PORTS_MAX, "ports of a dataplane");
	bench.flows("with all ports");
	for (std::uint32_t one : ids)
		MUST(apus_port_remove(bench.dataplane, one));
	answers("room again", apus_port_add(bench.dataplane, &port, &id), {APUS_OK});
	check(std::find(ids.begin(), ids.end(), id) == ids.end(), "numbers of removed ports are not used again at once");
	bench.flows("after all ports");
}

}  // namespace misuse
