// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 8: what a worker notes, and the records and events that apus_event_poll() makes of it.
#pragma once

#include <deque>

#include "verdict.hpp"

namespace model {

/// struct apus_event
struct Event {
	std::uint32_t kind = 0;
	std::uint32_t port = 0;
	Vsid vsid = 0;
	std::uint32_t count = 0;
	std::uint32_t limit = 0;
	std::optional<Ip> ip, provider_address, previous_provider_address;
	Mac mac = 0;
	Mac previous_mac = 0;
};

/// What one worker saw and nobody has fetched.
class Notes {
public:
	struct Note {
		std::uint32_t port = 0;
		Seen seen;
		bool throttled = false;  // what was seen was not noted
		std::uint32_t told = 0;  // another event than those of learning; nothing is learned from it
		static constexpr std::uint32_t wanted = ~0u;  // `told`: the next hop `seen.ip` behind `port`
		Ip teller = 0;           // of control messages (4.4)
		std::optional<About> about = std::nullopt;
	};

	/// @return what happened to what was seen: nothing, or APUS_EVENT_LEARN_THROTTLED or APUS_EVENT_LOST
	struct Counts {
		unsigned throttled = 0, lost = 0;
	};
	Counts see(const Policy &policy, const Settings &settings, std::uint32_t port, const Seen &seen, std::uint64_t now);
	/// A control message of another host. @return how many events were lost
	unsigned control(const Settings &settings, const Note &what, std::uint64_t now);
	/// Something that is noted in any case. @return how many events were lost
	unsigned tell(const Note &what) { return note(what); }
	/// A next hop behind an external port is wanted.
	Counts want(const Settings &settings, const NextHop &hop, std::uint64_t now);
	std::deque<Note> take();
	std::uint64_t take_lost();
	std::size_t size() const { return notes_.size(); }

private:
	struct Limit {
		std::uint64_t next = 0;
		bool told = false;
	};
	std::deque<Note> notes_;
	std::uint64_t lost_ = 0;
	std::map<std::uint32_t, Limit> of_ports_, of_subnets_;  // by their lower 12 bits
	unsigned note(const Note &what);
};

/// What one note becomes. @return how many records were made or moved
unsigned make_record(Policy &policy, const Notes::Note &note, std::vector<Event> &events);

}  // namespace model
