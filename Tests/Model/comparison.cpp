// SPDX-License-Identifier: Apache-2.0
#include "comparison.hpp"

#include <algorithm>

#include "report.hpp"

namespace comparison {

using report::text;

std::string hex(const std::uint8_t *bytes, std::size_t length)
{
	std::string out;
	for (std::size_t i = 0; i < length; i++)
		out += text("%02x", bytes[i]);
	return out;
}

std::uint64_t flow_of(const model::Frame &frame, std::uint64_t policy)
{
	std::uint64_t hash = 0xCBF29CE484222325ull ^ frame.port ^ policy << 32;
	const auto mix = [&](std::size_t from, std::size_t to) {
		for (std::size_t i = from; i < to && i < frame.bytes.size(); i++)
			hash = (hash ^ frame.bytes[i]) * 0x100000001B3ull;
	};
	// An Ethernet frame at `at`; its IP header's protocol and what it carries.
	const auto mix_frame = [&](std::size_t at) {
		const std::size_t tag = frame.bytes.size() >= at + 18 && model::is_tag(model::get16(frame.bytes, at + 12)) ? 4 : 0;
		const std::size_t ip = at + 14 + tag;
		mix(at, ip);
		const bool is_ipv6 = frame.bytes.size() >= ip && model::get16(frame.bytes, ip - 2) == model::type_ipv6;
		is_ipv6 ? mix(ip + 8, ip + 40) : mix(ip + 12, ip + 20);
		if (frame.bytes.size() < ip + 40)
			return std::pair<unsigned, std::size_t>(0, 0);
		const std::size_t header = is_ipv6 ? 40 : (frame.bytes[ip] & 15u) * 4;
		return std::pair<unsigned, std::size_t>(frame.bytes[ip + (is_ipv6 ? 6 : 9)], ip + header);
	};
	const auto [protocol, payload] = mix_frame(0);
	if (protocol == model::protocol_gre || protocol == model::protocol_udp) {
		const std::size_t inner = payload + (protocol == model::protocol_gre ? 8 : 16);
		mix(inner - 4, inner);  // the virtual subnet
		mix_frame(inner);
	}
	return hash;
}

namespace {

struct Got {
	std::uint64_t id;
	std::uint64_t flow;
	std::uint32_t port, flags, length;
	const std::uint8_t *data;
	std::size_t readable;  // bytes of the frame that are in memory
	host::Buffer *buffer;
};

std::string describe(const Got &got)
{
	return text("id %llu port %u flags %x length %u ", static_cast<unsigned long long>(got.id), got.port, got.flags, got.length) +
	       hex(got.data, got.readable);
}

std::string describe(const model::Output &output)
{
	return text("id %llu port %u flags %x length %zu ", static_cast<unsigned long long>(output.id), output.port, output.flags,
		    output.bytes.size()) + hex(output.bytes);
}

bool same(const Got &got, const model::Output &expected)
{
	return got.id == expected.id && got.port == expected.port && got.flags == expected.flags &&
	       got.length == expected.bytes.size() && std::memcmp(got.data, expected.bytes.data(), got.readable) == 0;
}

std::string difference(const std::vector<Got> &got, const std::vector<const model::Output *> &expected)
{
	std::string out = "outputs differ\n";
	std::vector<bool> found(got.size());
	for (const model::Output *one : expected) {
		std::size_t i = 0;
		while (i < got.size() && (found[i] || !same(got[i], *one)))
			i++;
		if (i < got.size())
			found[i] = true;
		else
			out += "  missing    " + describe(*one) + "\n";
	}
	for (std::size_t i = 0; i < got.size(); i++)
		if (!found[i])
			out += "  unexpected " + describe(got[i]) + "\n";
	return out + "  (or they are in another order)\n";
}

std::string compare_outputs(std::vector<Got> &got, const model::Result &result)
{
	std::vector<const model::Output *> expected;
	for (const model::Output &output : result.outputs)
		expected.push_back(&output);
	// The order is defined between frames that came in with this burst and leave as they came. Where answers, copies,
	// requests or packets that had waited are among them, only each flow's order is.
	if (!result.ordered) {
		std::sort(got.begin(), got.end(), [](const Got &a, const Got &b) {
			return std::make_tuple(a.id, a.port, std::vector<std::uint8_t>(a.data, a.data + a.readable)) <
			       std::make_tuple(b.id, b.port, std::vector<std::uint8_t>(b.data, b.data + b.readable));
		});
		std::sort(expected.begin(), expected.end(), [](const model::Output *a, const model::Output *b) {
			return std::tie(a->id, a->port, a->bytes) < std::tie(b->id, b->port, b->bytes);
		});
	}
	if (got.size() != expected.size())
		return difference(got, expected);
	for (std::size_t i = 0; i < got.size(); i++)
		if (!same(got[i], *expected[i]))
			return difference(got, expected);
	return "";
}

}  // namespace

#define COUNTER(name) {#name, &apus_stats::name}
const std::vector<Counter> counters = {
	COUNTER(received), COUNTER(transmitted), COUNTER(generated), COUNTER(consumed), COUNTER(dropped), COUNTER(held),
	COUNTER(received_bytes), COUNTER(transmitted_bytes), COUNTER(encapsulated), COUNTER(decapsulated),
	COUNTER(switched), COUNTER(rewritten), COUNTER(routed), COUNTER(arp_replies), COUNTER(arp_requests),
	COUNTER(echo_replies), COUNTER(router_advertisements), COUNTER(icmp_errors), COUNTER(path_mtu_updates),
	COUNTER(icmp_suppressed), COUNTER(replicated), COUNTER(learned), COUNTER(learn_throttled), COUNTER(events_lost),
	COUNTER(fragmented), COUNTER(address_probes), COUNTER(address_conflicts), COUNTER(control_messages),
	COUNTER(unreachable_sent), COUNTER(bursts),
};
#undef COUNTER

std::string compare_stats(const struct apus_stats &got, const struct apus_stats &expected)
{
	std::string out;
	const auto compare = [&](const char *name, std::uint64_t a, std::uint64_t b) {
		if (a != b)
			out += text("  %s: expected %llu, got %llu\n", name, static_cast<unsigned long long>(b), static_cast<unsigned long long>(a));
	};
	for (const Counter &counter : counters)
		compare(counter.name, got.*counter.value, expected.*counter.value);
	std::uint64_t drops = 0;
	for (std::uint32_t reason = 0; reason < APUS_DROP_REASON_COUNT; reason++) {
		compare(apus_drop_reason_name(reason), got.drops[reason], expected.drops[reason]);
		drops += got.drops[reason];
	}
	compare("dropped = sum of drops", got.dropped, drops);
	compare("received + generated = transmitted + consumed + dropped + held", got.received + got.generated,
		got.transmitted + got.consumed + got.dropped + got.held);
	compare("flow_entries = flow_inserts - those that went, at most", got.flow_entries <= got.flow_inserts, true);
	return out.empty() ? out : "counters differ\n" + out;
}

std::string process_and_compare(Side &side, std::size_t worker, const std::vector<model::Frame> &frames, std::uint64_t now,
				const model::Result &expected, const struct apus_stats &expected_stats)
{
	side.in.clear();
	for (const model::Frame &frame : frames)
		side.in.push_back(side.buffers.give(frame, flow_of(frame, side.policy)));
	side.out.resize(frames.size() + expected.outputs.size() + 512);  // large packets that come again and again are many fragments
	side.buffers.released.clear();

	const int count = apus_worker_process(side.workers[worker], side.in.data(), static_cast<std::uint32_t>(side.in.size()),
					      side.out.data(), static_cast<std::uint32_t>(side.out.size()), now);
	if (count < 0)
		return text("apus_worker_process() answered %s\n", apus_error_name(count));

	std::string problem = side.buffers.take_error();
	std::vector<Got> got;
	for (int i = 0; i < count; i++) {
		const struct apus_frame &frame = side.out[static_cast<std::size_t>(i)];
		host::Buffer *buffer = side.buffers.take_back(frame.buffer);
		if (buffer == nullptr)
			return "output with a wrong buffer: " + side.buffers.take_error() + "\n";
		const bool inside = frame.data - frame.headroom >= buffer->memory && frame.data + frame.contiguous <= buffer->memory + buffer->size;
		if (!inside)
			return text("output %d lies outside its buffer\n", i);
		got.push_back({buffer->id, buffer->flow, frame.port, frame.flags, frame.length, frame.data,
			       std::min<std::size_t>(frame.length, frame.contiguous), buffer});
		if ((frame.flags & APUS_FRAME_GENERATED) == 0) {
			std::uint64_t &last = side.last_of_flow[{worker, buffer->flow}];
			if (buffer->id < last)
				problem += text("frame %llu left after frame %llu of the same flow\n", static_cast<unsigned long long>(buffer->id),
						static_cast<unsigned long long>(last));
			last = buffer->id;
		}
	}
	problem += compare_outputs(got, expected);

	side.buffers.forget_new();
	std::vector<std::uint64_t> released = expected.released;
	std::sort(released.begin(), released.end());
	std::sort(side.buffers.released.begin(), side.buffers.released.end());
	if (released != side.buffers.released) {
		problem += "released buffers differ\n  expected";
		for (const auto id : released)
			problem += text(" %llu", static_cast<unsigned long long>(id));
		problem += "\n  got     ";
		for (const auto id : side.buffers.released)
			problem += text(" %llu", static_cast<unsigned long long>(id));
		problem += "\n";
	}

	struct apus_stats stats;
	APUS_INIT(&stats);
	if (const int error = apus_worker_stats_get(side.workers[worker], &stats))
		problem += text("apus_worker_stats_get() answered %s\n", apus_error_name(error));
	problem += compare_stats(stats, expected_stats);
	for (const Got &output : got)
		side.buffers.recycle(output.buffer);
	return problem;
}

}  // namespace comparison
