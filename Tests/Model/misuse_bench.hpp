// SPDX-License-Identifier: Apache-2.0
// What the tests of wrong use stand on: a dataplane that is compared with itself after every refused call, an allocator
// that can fail, and callbacks in which a test can do what it must not.
#pragma once

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "fixture.hpp"
#include "report.hpp"

namespace misuse {

using Dataplane = struct apus_dataplane;
using Worker = struct apus_worker;
using Codes = std::vector<int>;
using Words = std::vector<std::string>;

/// Names of the functions that were called through CALL.
inline std::set<std::string> called;
#define CALL(function, ...) (misuse::called.insert(#function), function(__VA_ARGS__))

inline const Words any_text = {""};  // the error text says something
inline const Words no_text = {};     // it cannot: there is no living dataplane to ask, or it is busy

inline bool contains(const Codes &codes, int code) { return std::find(codes.begin(), codes.end(), code) != codes.end(); }

inline bool answers(const std::string &what, int result, const Codes &codes)
{
	std::string names;
	for (int code : codes)
		names += std::string(names.empty() ? "" : " or ") + apus_error_name(code);
	return report::check(contains(codes, result),
			     what + ": expected " + names + ", got " + apus_error_name(result) + " " + std::to_string(result));
}

inline void says(const std::string &what, const std::string &got, const Words &words)
{
	for (const std::string &word : words)
		report::check(!got.empty() && got.find(word) != std::string::npos, what + ": the text \"" + got + "\" lacks \"" + word + "\"");
}

/// Counts what is given and taken back, and can have none.
class Memory {
public:
	std::uint64_t calls = 0;
	std::uint64_t fail_at = 0;  // the number of the call that gets NULL; 0 = none
	bool fail_on = false;       // and so do all that follow it, until heal()
	std::size_t limit = SIZE_MAX;
	std::uint64_t failures = 0;
	std::uint64_t held = 0;
	std::string error;

	Memory() = default;
	Memory(const Memory &) = delete;
	Memory &operator=(const Memory &) = delete;
	struct apus_allocator callbacks() { return {allocate, release, this}; }
	void heal() { fail_at = 0; }
	std::size_t blocks() const { return blocks_.size(); }

private:
	std::map<void *, std::size_t> blocks_;

	static void *allocate(void *context, std::size_t size, std::size_t alignment)
	{
		Memory &self = *static_cast<Memory *>(context);
		self.calls++;
		if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 4096)
			self.error = "alignment " + std::to_string(alignment);
		const bool fails = self.fail_at != 0 && (self.fail_on ? self.calls >= self.fail_at : self.calls == self.fail_at);
		void *memory = nullptr;
		if (fails || size > self.limit - std::min<std::size_t>(self.limit, self.held) ||
		    posix_memalign(&memory, std::max(alignment, sizeof(void *)), std::max<std::size_t>(size, 1)) != 0) {
			self.failures++;
			return nullptr;
		}
		std::memset(memory, host::taint, std::min<std::size_t>(size, 4096));
		self.blocks_[memory] = size;
		self.held += size;
		return memory;
	}
	static void release(void *context, void *memory, std::size_t size)
	{
		Memory &self = *static_cast<Memory *>(context);
		const auto block = self.blocks_.find(memory);
		if (block == self.blocks_.end() || block->second != size) {
			self.error = block == self.blocks_.end() ? "released what was not given" : "released with another size";
			return;
		}
		self.held -= size;
		self.blocks_.erase(block);
		std::free(memory);
	}
};

/// The small policy of the fixture, with every callback open, and a second uplink that only a provider route uses.
class Bench : public fixture::Host {
public:
	std::function<void()> in_allocate, in_release, in_wait;
	std::uint32_t uplink2 = 0, gone = 0;  // `gone` is the id of a port that was removed
	const model::Ip nat_pa = fixture::ip(192, 168, 0, 66);  // of the only machine that is rewritten
	const model::Ip peer_pa = fixture::ip(192, 168, 0, 67), peer_pa6 = fixture::ip6(fixture::site, 0x67);
	const model::Prefix far_prefix6{fixture::ip6(0x20010DB800550000, 0), 48};

	explicit Bench(bool with_policy = true)
	{
		inner_ = worker_opts.buffers;
		worker_opts.buffers.allocate = [](void *context, std::uint32_t capacity, struct apus_frame *frame) {
			Bench &self = *static_cast<Bench *>(context);
			run(self.in_allocate);
			return self.inner_.allocate(self.inner_.context, capacity, frame);
		};
		worker_opts.buffers.release = [](void *context, void *const *handles, std::uint32_t count) {
			Bench &self = *static_cast<Bench *>(context);
			run(self.in_release);
			self.inner_.release(self.inner_.context, handles, count);
		};
		worker_opts.buffers.context = this;
		opts.wait = [](void *context) { run(static_cast<Bench *>(context)->in_wait); };
		opts.wait_context = this;
		if (with_policy)
			fill();
	}

	void fill()
	{
		open_with_policy();
		add_ipv6();
		uplink2 = add_uplink();
		const auto subnet = objects::subnet(fixture::subnet1, {APUS_SUBNET_BROADCAST, fixture::ip(239, 1, 2, 3), 100});
		MUST(apus_virtual_subnet_add(dataplane, &subnet));
		gone = add_vm(fixture::subnet2, 0x600060009999);
		MUST(apus_port_remove(dataplane, gone));
		add_provider_route({fixture::ip(172, 16, 0, 0), 12}, uplink2, fixture::ip(192, 168, 9, 1));
		add_record(fixture::subnet2, fixture::ip(10, 0, 2, 50), 0x600060000250, nat_pa, APUS_RULE_NAT);
		for (const model::Ip &ip : {peer_pa, peer_pa6}) {
			const auto peer = objects::peer(ip, {});
			MUST(apus_provider_peer_add(dataplane, &peer));
		}
		add_provider_route(far_prefix6, uplink2, fixture::ip6(fixture::link_local, 9));
	}

	/// Everything that can be seen of the dataplane: objects, statistics.
	std::string state()
	{
		std::set<std::string> objects;  // the order of a walk is unspecified
		walk<struct apus_port_params>(objects, "port", [this](std::uint64_t *cursor, auto *out) {
			std::uint32_t id = 0;
			const int more = apus_port_iterate(dataplane, cursor, &id, out);
			out->size = id;
			return more;
		});
		walk<struct apus_lookup_record>(objects, "record",
						[this](auto *cursor, auto *out) { return apus_lookup_record_iterate(dataplane, cursor, out); });
		walk<struct apus_virtual_subnet>(objects, "subnet",
						 [this](auto *cursor, auto *out) { return apus_virtual_subnet_iterate(dataplane, cursor, out); });
		walk<struct apus_customer_route>(objects, "route",
						 [this](auto *cursor, auto *out) { return apus_customer_route_iterate(dataplane, cursor, out); });
		walk<struct apus_provider_address>(
			objects, "address", [this](auto *cursor, auto *out) { return apus_provider_address_iterate(dataplane, cursor, out); });
		walk<struct apus_provider_route>(objects, "path",
						 [this](auto *cursor, auto *out) { return apus_provider_route_iterate(dataplane, cursor, out); });
		walk<struct apus_provider_neighbor>(
			objects, "neighbor", [this](auto *cursor, auto *out) { return apus_provider_neighbor_iterate(dataplane, cursor, out); });
		walk<struct apus_provider_peer>(objects, "peer",
						[this](auto *cursor, auto *out) { return apus_provider_peer_iterate(dataplane, cursor, out); });
		struct apus_stats stats;
		APUS_INIT(&stats);
		fixture::must(apus_stats_get(dataplane, &stats), "apus_stats_get");
		std::string all(reinterpret_cast<const char *>(&stats), sizeof(stats));
		for (const std::string &object : objects)
			all += object;
		return all;
	}
	void remember() { before_ = state(); }
	void unchanged(const std::string &what)
	{
		std::string now = state();
		if (!report::check(now == before_, what + ": the state changed"))
			before_.swap(now);
	}

	/// The call was refused with one of `codes`; the text is that of the first of them; nothing changed.
	void refused(const std::string &what, int result, const Codes &codes, const Words &words = any_text)
	{
		answers(what, result, codes);
		if (!words.empty() && result == codes.front())
			says(what, apus_dataplane_error_text(dataplane), words);
		unchanged(what);
	}

	/// A packet of vm1 reaches remote1 as it should, and no buffer is missing.
	void flows(const std::string &what)
	{
		const auto inner = fixture::vm1_to_remote1();
		const auto sent = send(vm1, inner);
		const std::size_t header = 14 + 20 + 8;
		report::check(sent.size() == 1 && sent[0].port == uplink && sent[0].flags == APUS_FRAME_ENCAPSULATED &&
				      sent[0].bytes.size() == header + inner.size() && model::get_mac(sent[0].bytes, 0) == fixture::remote_pa_mac &&
				      model::get32(sent[0].bytes, 26) == fixture::our_pa && model::get32(sent[0].bytes, 30) == fixture::remote_pa &&
				      model::get32(sent[0].bytes, 38) >> 8 == fixture::subnet1 &&
				      model::Bytes(sent[0].bytes.begin() + header, sent[0].bytes.end()) == inner,
			      what + ": a packet from vm1 to remote1 arrives");
		const std::string error = buffers.take_error();
		report::check(error.empty() && buffers.away() == 0, what + ": buffers: " + error + " " + std::to_string(buffers.away()) + " away");
	}

private:
	struct apus_buffers inner_;
	std::string before_;

	static void run(const std::function<void()> &hook)
	{
		if (hook)
			hook();
	}
	template <class Object, class Next> static void walk(std::set<std::string> &objects, const char *kind, Next next)
	{
		std::uint64_t cursor = 0;
		for (;;) {
			Object object;
			APUS_INIT(&object);
			const int more = next(&cursor, &object);
			fixture::must(more, kind);
			if (more == 0)
				return;
			objects.insert(kind + std::string(reinterpret_cast<const char *>(&object), sizeof(object)));
		}
	}
};

/// A frame that comes back through `release`: vm1 sends with a MAC address that it does not have.
inline model::Bytes dropped() { return fixture::udp(fixture::vm2_mac, 0x600060009998, fixture::vm1_ip, fixture::vm2_ip); }

/// A thread that is inside apus_worker_process(), and stays there until leave().
class Inside {
public:
	explicit Inside(Bench &bench) : bench_(bench)
	{
		std::promise<void> entered;
		auto has_entered = entered.get_future();
		bench.in_release = [&entered, may_leave = may_leave_.get_future().share()] {
			entered.set_value();
			may_leave.wait();
		};
		thread_ = std::thread([&bench] { bench.send(bench.vm1, dropped()); });
		has_entered.wait();
	}
	~Inside() { leave(); }
	void leave()
	{
		if (!thread_.joinable())
			return;
		may_leave_.set_value();
		thread_.join();
		bench_.in_release = nullptr;
	}

private:
	Bench &bench_;
	std::promise<void> may_leave_;
	std::thread thread_;
};

}  // namespace misuse
