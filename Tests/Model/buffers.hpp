// SPDX-License-Identifier: Apache-2.0
// Packet buffers of a host that trusts nobody: each frame has a region of its own of exactly the promised size (so that
// AddressSanitizer sees every byte too far), filled with 0xA5 (so that bytes that were never written show in outputs),
// and each buffer must come back exactly once.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>

#include "model.hpp"

namespace host {

constexpr std::uint8_t taint = 0xA5;

struct Buffer {
	std::uint64_t id = 0;  // model::new_buffer for those that the library asked for
	std::uint64_t flow = 0;
	std::uint8_t *memory = nullptr;
	std::size_t size = 0;
	bool with_library = false;
};

class Buffers {
public:
	Buffers() = default;
	Buffers(const Buffers &) = delete;
	Buffers &operator=(const Buffers &) = delete;
	~Buffers()
	{
		for (Buffer &buffer : all_)
			std::free(buffer.memory);
	}

	/// A frame as apus_worker_process() takes it. `flow` is for checking that flows keep their order.
	struct apus_frame give(const model::Frame &frame, std::uint64_t flow = 0)
	{
		Buffer &buffer = take(frame.headroom + frame.contiguous);
		buffer.id = frame.id;
		buffer.flow = flow;
		if (frame.contiguous != 0)
			std::memcpy(buffer.memory + frame.headroom, frame.bytes.data(), frame.contiguous);
		struct apus_frame out = {};
		out.data = frame.null_data ? nullptr : buffer.memory + frame.headroom;
		out.buffer = &buffer;
		out.length = frame.length();
		out.contiguous = static_cast<std::uint16_t>(frame.contiguous);
		out.headroom = static_cast<std::uint16_t>(frame.headroom);
		out.port = frame.port;
		out.flags = frame.flags;
		return out;
	}

	/// The buffer came back. Notes it as an error when it was not away.
	Buffer *take_back(void *handle)
	{
		Buffer *buffer = static_cast<Buffer *>(handle);
		if (buffer == nullptr || !buffer->with_library) {
			error_ = buffer == nullptr ? "a NULL buffer came back" : "a buffer came back twice";
			return nullptr;
		}
		buffer->with_library = false;
		away_--;
		return buffer;
	}

	/// The memory of a buffer that was taken back is no longer needed.
	void recycle(Buffer *buffer)
	{
		std::free(buffer->memory);
		buffer->memory = nullptr;
		free_.push_back(buffer);
	}

	struct apus_buffers callbacks(bool with_allocate = true)
	{
		struct apus_buffers out = {};
		out.allocate = with_allocate ? allocate : nullptr;
		out.release = release;
		out.context = this;
		return out;
	}

	/// What the library asked for may come back at any time.
	void forget_new()
	{
		released.erase(std::remove(released.begin(), released.end(), model::new_buffer), released.end());
	}

	std::vector<std::uint64_t> released;  // ids that came through `release`
	bool refuse = false;                  // `allocate` has none
	std::size_t away() const { return away_; }
	std::string take_error()
	{
		std::string error;
		error.swap(error_);
		return error;
	}

private:
	std::deque<Buffer> all_;
	std::vector<Buffer *> free_;
	std::size_t away_ = 0;
	std::string error_;

	Buffer &take(std::size_t size)
	{
		if (free_.empty()) {
			all_.emplace_back();
			free_.push_back(&all_.back());
		}
		Buffer &buffer = *free_.back();
		free_.pop_back();
		buffer.memory = static_cast<std::uint8_t *>(std::malloc(size != 0 ? size : 1));
		buffer.size = size;
		std::memset(buffer.memory, taint, size);
		buffer.with_library = true;
		away_++;
		return buffer;
	}

	static int allocate(void *context, std::uint32_t capacity, struct apus_frame *frame)
	{
		Buffers &self = *static_cast<Buffers *>(context);
		if (self.refuse)
			return 1;
		Buffer &buffer = self.take(APUS_HEADROOM + capacity);
		buffer.id = model::new_buffer;
		buffer.flow = 0;
		frame->data = buffer.memory + APUS_HEADROOM;
		frame->buffer = &buffer;
		frame->contiguous = static_cast<std::uint16_t>(capacity);
		frame->headroom = APUS_HEADROOM;
		return 0;
	}

	static void release(void *context, void *const *buffers, std::uint32_t count)
	{
		Buffers &self = *static_cast<Buffers *>(context);
		if (count == 0)
			self.error_ = "release with count 0";
		for (std::uint32_t i = 0; i < count; i++)
			if (Buffer *buffer = self.take_back(buffers[i])) {
				self.released.push_back(buffer->id);
				self.recycle(buffer);
			}
	}
};

}  // namespace host
