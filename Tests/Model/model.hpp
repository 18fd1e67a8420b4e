// SPDX-License-Identifier: Apache-2.0
// The reference model of docs/pipeline.md: slow, and meant to be read. It shares no code with the library.
#pragma once

#include <deque>

#include "learning.hpp"
#include "neighbours.hpp"

namespace model {

/// A frame as the host gives it. `id` names its buffer.
struct Frame {
	std::uint64_t id = 0;
	std::uint32_t port = 0;
	std::uint32_t flags = 0;
	std::uint32_t headroom = APUS_HEADROOM;
	Bytes bytes;
	std::uint32_t contiguous = 0;          // at most bytes.size()
	std::optional<std::uint32_t> claimed;  // apus_frame.length when that is not bytes.size()
	bool null_data = false;
	std::uint32_t inside = 0;  // made by the library, or come in and waited: from this external port into the VM network; without tag
	std::uint32_t length() const { return claimed ? *claimed : static_cast<std::uint32_t>(bytes.size()); }
};

constexpr std::uint64_t new_buffer = 0;  // the id of frames in buffers that the library asked for

struct Output {
	std::uint64_t id = new_buffer;
	std::uint32_t port = 0;
	std::uint32_t flags = 0;
	Bytes bytes;
};

struct Result {
	std::vector<Output> outputs;
	std::vector<std::uint64_t> released;  // buffers that come back through `release`
	bool ordered = true;                  // the order of `outputs` is defined
	std::size_t mtu = 0;  // the largest packet that every way takes that was found through the provider network
};

class Model;

/// A copy of a frame for another host, or for a multicast group of the provider network.
struct Copy {
	Ip remote = 0;
	Vsid vsid = 0;
	Bytes bytes;
	bool to_group = false;
	bool is_control = false;  // no copy but a message of ours
	std::optional<Ip> sender = {};
};

class Worker {
public:
	explicit Worker(std::size_t held_capacity) : held_capacity_(held_capacity) { stats_.size = sizeof(stats_); }
	const struct apus_stats &stats() const { return stats_; }
	std::size_t held() const { return waiting_.size(); }
	std::size_t held_for(const NextHop &hop) const;
	/// The way of the first packet that waits for it; nullptr when none does.
	const Path *first_path(const NextHop &hop) const;

private:
	friend class Model;
	struct Waiting {
		Frame frame;
		Path path;
		std::optional<Copy> copy = std::nullopt;  // it waits, and no frame
		std::uint32_t entered = 0;
	};
	/// A next hop behind an external port that is not entered: the notes that say so.
	struct Wanted {
		unsigned notes = 0;
		std::uint64_t last = 0;
	};
	std::map<NextHop, Wanted> wanted_;
	std::size_t held_capacity_;
	std::uint64_t now_ = 0;
	std::map<std::uint32_t, std::uint64_t> next_copy_;   // slot of a port -> when the next copy to another host is due
	Notes notes_;
	std::map<std::uint32_t, std::uint64_t> next_error_;  // slot of a port -> when the next ICMP error is due
	std::uint64_t provider_version_ = 0;  // by which the packets wait
	std::deque<Waiting> waiting_;         // in the order in which they came
	struct apus_stats stats_ = {};
};

class Model {
public:
	explicit Model(const Settings &settings) : settings_(settings) { policy_.external_router = settings.external_router; }

	// Control. Without a transaction, changes are made to policy() and followed by changed().
	const Policy &policy() const { return transaction_ ? *transaction_ : policy_; }
	Policy &change() { return transaction_ ? *transaction_ : policy_; }
	void changed();
	void begin()
	{
		transaction_ = policy_;
		begun_at_ = policy_.provider_version;
	}
	void commit();
	void abort() { transaction_.reset(); }
	bool in_transaction() const { return transaction_.has_value(); }

	Result process(Worker &worker, const std::vector<Frame> &frames, std::uint64_t now);
	/// apus_explain(): what a worker that has done nothing yet would do with a frame that comes alone.
	struct Explanation {
		Result result;
		struct apus_stats stats = {};
		bool leaves = false;  // through an external port
		std::optional<Reason> dropped;
	};
	Explanation explain(const Frame &frame, std::uint64_t now) const;
	/// A path MTU may be learned from the frame: it is believed.
	bool teaches_mtu(const Frame &frame) const;
	/// Packets that wait are dropped.
	std::vector<std::uint64_t> destroy(Worker &worker);
	/// apus_event_poll() with room for everything.
	std::vector<Event> poll(const std::vector<Worker *> &workers);
	std::uint64_t learned() const { return learned_; }  // apus_stats.learned

	/// What packets did at external ports, for coverage.
	enum class Outside { from_vm, from_tunnel, from_other, as_fragments, echo_vm, echo_tunnel, echo_outside, error_in, error_out, entered, wanted_again, never_entered, count };
	using OutsideCounts = std::array<std::uint64_t, static_cast<std::size_t>(Outside::count)>;
	const OutsideCounts &outside() const { return outside_; }

	const Settings &settings() const { return settings_; }
	const Policy &published() const { return policy_; }
	const Neighbours &neighbours() const { return neighbours_; }
	const std::map<std::uint32_t, struct apus_port_stats> &port_stats() const { return port_stats_; }

private:
	Settings settings_;
	Policy policy_;
	std::optional<Policy> transaction_;
	std::uint64_t begun_at_ = 0;  // provider_version then
	Neighbours neighbours_;
	PathMtus path_mtus_;
	std::map<std::uint32_t, struct apus_port_stats> port_stats_;

	OutsideCounts outside_ = {};
	void saw(Outside what) { outside_[static_cast<std::size_t>(what)]++; }

	std::uint64_t lost_ = 0;  // notes of workers that are gone
	std::uint64_t learned_ = 0;

	struct Burst;
	/// The next hop of a path, for what would be sent there now.
	struct Arrival {
		std::optional<Reason> refused;
		bool waits = false;
		Mac mac = 0;
	};
	Arrival reach(Burst &burst, const Path &path);
	bool may_copy(Burst &burst, std::uint32_t port, std::uint64_t copies, std::uint64_t rate);
	void send_copy(Burst &burst, const Copy &copy);
	void pass_copy(Burst &burst, const Copy &copy);
	void pass_copy_again(Burst &burst, const Copy &copy);
	void drop_copy(Burst &burst, Reason reason);
	void learn(Burst &burst, std::uint32_t port, const std::vector<Seen> &seen);
	void watch_addresses(Burst &burst);
	void has_way(Burst &burst, std::size_t mtu);
	void notice(Burst &burst, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame);
	void receive(Burst &burst, const Frame &frame);
	void carry_out(Burst &burst, const Frame &frame, Verdict verdict);
	void send_to_provider_network(Burst &burst, const Frame &frame, const Verdict &verdict);
	void refuse(Burst &burst, const Frame &frame, const Verdict &verdict, Reason reason, std::size_t mtu);
	void tell_outside(Burst &burst, const Frame &frame, const Verdict &verdict, Reason reason, std::size_t mtu);
	void complain(Burst &burst, const Frame &frame, const Complaint &about);
	bool may_tell(Burst &burst, std::uint32_t port);
	void flood(Burst &burst, const Frame &frame, const Verdict &verdict);
	void release_waiting(Burst &burst);
	void decide_again(Burst &burst, const std::function<bool(const NextHop &)> &ready);
	void transmit(Burst &burst, std::uint64_t id, std::uint32_t port, std::uint32_t flags, Bytes bytes, std::uint32_t external = 0);
	void drop(Burst &burst, const Frame &frame, Reason reason, std::uint32_t entered = 0);
	// Section 9.
	Arrival reach_unknown(Burst &burst, const Path &path);
	void want(Burst &burst, const NextHop &hop);
	void want_again(Burst &burst);
	void leave(Burst &burst, const Frame &frame, const Verdict &verdict);
	void send_inside(Burst &burst, std::uint32_t external, std::uint64_t id, Bytes bytes, std::size_t contiguous, std::size_t headroom);
	Verdict decide_outside(Burst &burst, const Frame &frame, const OuterEthernet &ethernet, std::uint32_t external);
	Verdict go_on_inside(const Frame &frame) const;
	std::optional<std::uint32_t> external_of(const Frame &frame) const;
	bool is_valid(const Frame &frame) const;
	void wait(Burst &burst, Frame frame, const Path &path, std::uint32_t entered);
	Verdict decide(Burst &burst, const Frame &frame);
};

}  // namespace model
