// SPDX-License-Identifier: Apache-2.0
// One frame at a time into a dataplane that is watched closely. The frame's last readable byte lies right before a page
// that nobody may touch, so that one byte read too far ends the program (with the case's name); 64 bytes before the
// headroom must stay as they are; and the books must balance after each frame.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "fixture.hpp"
#include "report.hpp"

namespace wire {

using model::Bytes;

/// What must become of a frame.
struct Expected {
	std::uint32_t reason = 0;  // 0 = not dropped
	bool sent = false;
	std::uint32_t port = 0;
	Bytes bytes;

	static Expected drop(std::uint32_t reason) { return {reason, false, 0, {}}; }
	static Expected consumed() { return {}; }
	static Expected out(std::uint32_t port, Bytes bytes) { return {0, true, port, std::move(bytes)}; }
};

/// Memory that ends where the next access is a fault.
class GuardedMemory {
public:
	GuardedMemory()
	{
		const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
		void *memory = mmap(nullptr, size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(memory == MAP_FAILED ? -1 : 0);
		end_ = static_cast<std::uint8_t *>(memory) + size;
		MUST(mprotect(memory, size, PROT_READ | PROT_WRITE));
	}
	GuardedMemory(const GuardedMemory &) = delete;
	GuardedMemory &operator=(const GuardedMemory &) = delete;

	/// The first `count` bytes of `bytes`, at the very end.
	std::uint8_t *place(const Bytes &bytes, std::size_t count, std::size_t headroom)
	{
		std::uint8_t *data = end_ - count;
		std::memset(data - headroom - canary, host::taint, headroom + canary);
		std::copy_n(bytes.begin(), count, data);
		return data;
	}
	static bool canary_lives(const std::uint8_t *data, std::size_t headroom)
	{
		return std::all_of(data - headroom - canary, data - headroom, [](std::uint8_t byte) { return byte == host::taint; });
	}
	std::uint8_t *end() const { return end_; }

private:
	static constexpr std::size_t size = 1 << 17;
	static constexpr std::size_t canary = 64;
	std::uint8_t *end_;
};

class Probe {
public:
	fixture::Host host;
	GuardedMemory memory;

	/// `flags` are those of apus_dataplane_opts.
	explicit Probe(std::uint32_t flags = 0)
	{
		host.opts.flags = flags;
		host.worker_opts.buffers.allocate = [](void *, std::uint32_t, struct apus_frame *) { return 1; };
		host.worker_opts.buffers.release = [](void *context, void *const *buffers, std::uint32_t count) {
			Probe &self = *static_cast<Probe *>(context);
			for (std::uint32_t i = 0; i < count; i++)
				self.came_back(buffers[i]);
		};
		host.worker_opts.buffers.context = this;
		host.open_with_policy();
		before_ = host.stats();
		std::signal(SIGSEGV, report_fault);
		std::signal(SIGBUS, report_fault);
	}

	/// Send one frame: exactly one check, which names everything that is wrong.
	void expect(const model::Frame &frame, const Expected &expected, const std::string &what)
	{
		std::snprintf(running, sizeof(running), "%s", what.c_str());
		std::string wrong = judge(frame, expected);
		if (wrong.empty())
			report::passed++;
		else
			report::check(false, what + wrong);
	}
	void expect(std::uint32_t port, const Bytes &bytes, const Expected &expected, const std::string &what)
	{
		expect(host.frame(port, bytes), expected, what);
	}

private:
	struct apus_stats before_;
	unsigned returned_ = 0;
	bool strange_buffer_ = false;
	static inline char running[256] = "";

	void came_back(void *buffer)
	{
		returned_++;
		strange_buffer_ |= buffer != this;
	}

	std::string judge(const model::Frame &frame, const Expected &expected)
	{
		struct apus_frame in = {};
		in.data = memory.place(frame.bytes, frame.contiguous, frame.headroom);
		in.buffer = this;
		in.length = frame.length();
		in.contiguous = static_cast<std::uint16_t>(frame.contiguous);
		in.headroom = static_cast<std::uint16_t>(frame.headroom);
		in.port = frame.port;
		in.flags = frame.flags;
		const std::uint8_t *data = in.data;
		struct apus_frame out[8] = {};
		returned_ = 0;
		strange_buffer_ = false;
		const int sent = apus_worker_process(host.worker, &in, 1, out, 8, host.now);

		std::string wrong;
		if (!GuardedMemory::canary_lives(data, frame.headroom))
			wrong += ": wrote before the headroom";
		for (int i = 0; i < sent; i++)
			came_back(out[i].buffer);
		if (returned_ != 1 || strange_buffer_)
			wrong += report::text(": the buffer came back %u times", returned_);

		const struct apus_stats after = host.stats();
		const std::uint32_t reason = moved_reason(after, wrong);
		if (reason != expected.reason)
			wrong += report::text(": expected %s, got %s", name(expected.reason), name(reason));
		if (sent != (expected.sent ? 1 : 0))
			wrong += report::text(": %d frames left", sent);
		else if (expected.sent)
			compare(out[0], expected, wrong);
		balance(after, static_cast<std::uint64_t>(sent), wrong);
		before_ = after;
		return wrong;
	}

	static const char *name(std::uint32_t reason) { return reason == 0 ? "no drop" : apus_drop_reason_name(reason); }

	/// The one drop counter that grew, by one; 0 when none did.
	std::uint32_t moved_reason(const struct apus_stats &after, std::string &wrong) const
	{
		std::uint32_t moved = 0;
		std::uint64_t drops = 0, total = 0;
		for (std::uint32_t reason = 0; reason < APUS_DROP_REASON_COUNT; reason++) {
			total += after.drops[reason];
			if (after.drops[reason] != before_.drops[reason]) {
				moved = reason;
				drops += after.drops[reason] - before_.drops[reason];
			}
		}
		if (drops > 1)
			wrong += report::text(": %llu drops counted for one frame", static_cast<unsigned long long>(drops));
		if (total != after.dropped)
			wrong += ": `dropped` is not the sum of `drops`";
		return moved;
	}

	/// The identity of stats.h, and that this one frame is in it.
	void balance(const struct apus_stats &after, std::uint64_t sent, std::string &wrong) const
	{
		if (after.received + after.generated != after.transmitted + after.consumed + after.dropped + after.held)
			wrong += ": the statistics do not balance";
		if (after.received != before_.received + 1 || after.transmitted != before_.transmitted + sent)
			wrong += ": received or transmitted is miscounted";
	}

	static void compare(const struct apus_frame &got, const Expected &expected, std::string &wrong)
	{
		if (got.port != expected.port)
			wrong += report::text(": expected port %u, got %u", expected.port, got.port);
		if (got.length != expected.bytes.size()) {
			wrong += report::text(": expected %zu bytes, got %u", expected.bytes.size(), got.length);
			return;
		}
		// What was not contiguous is not in memory at all here.
		const std::size_t readable = std::min<std::size_t>(got.length, got.contiguous);
		for (std::size_t i = 0; i < readable; i++)
			if (got.data[i] != expected.bytes[i]) {
				wrong += report::text(": byte %zu: expected %02x, got %02x", i, expected.bytes[i], got.data[i]);
				return;
			}
	}

	/// Not for a handler that returns: the program ends here, as a failed test and with its last line.
	static void report_fault(int)
	{
		std::printf("FAILED: %s: access outside the frame\n", running);
		report::failed++;
		report::finish();
		std::fflush(stdout);
		_exit(1);
	}
};

}  // namespace wire
