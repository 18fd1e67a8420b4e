// SPDX-License-Identifier: Apache-2.0
#include "learning.hpp"

#include <algorithm>

namespace model {

unsigned Notes::note(const Note &what)
{
	if (notes_.size() >= APUS_EVENTS_MAX) {
		lost_++;
		return 1;
	}
	notes_.push_back(what);
	return 0;
}

Notes::Counts Notes::see(const Policy &policy, const Settings &settings, std::uint32_t port, const Seen &seen, std::uint64_t now)
{
	Counts counts;
	const Record *record = policy.record(seen.vsid, seen.ip);
	const bool here = policy.ports.at(port).vm;
	if (record != nullptr && record->mac == seen.mac && (record->provider_address == seen.provider_address || (here && policy.is_local(*record))))
		return counts;
	if (!notes_.empty()) {
		const Note &last = notes_.back();
		if (!last.throttled && last.told == 0 && last.port == port && last.seen.vsid == seen.vsid && last.seen.ip == seen.ip && last.seen.mac == seen.mac &&
		    last.seen.provider_address == seen.provider_address)
			return counts;
	}

	const std::uint64_t interval = 1'000'000'000 / settings.learn_rate;
	Limit &limit = here ? of_ports_[port & 0xFFF] : of_subnets_[seen.vsid & 0xFFF];
	const std::uint64_t due = std::max(limit.next, now);
	if (due - now > 9 * interval) {
		counts.throttled = 1;
		if (!limit.told)
			counts.lost = note({port, seen, true});
		limit.told = true;
		return counts;
	}
	limit.next = due + interval;
	limit.told = false;
	counts.lost = note({port, seen, false});
	return counts;
}

unsigned Notes::control(const Settings &settings, const Note &what, std::uint64_t now)
{
	if (!notes_.empty()) {
		const Note &last = notes_.back();
		if (last.told == what.told && last.port == what.port && last.seen.vsid == what.seen.vsid && last.seen.ip == what.seen.ip &&
		    last.seen.mac == what.seen.mac && last.seen.provider_address == what.seen.provider_address && last.teller == what.teller &&
		    last.about.has_value() == what.about.has_value() && (!what.about || (last.about->ip == what.about->ip && last.about->mac == what.about->mac)))
			return 0;
	}
	const std::uint64_t interval = 1'000'000'000 / settings.learn_rate;
	Limit &limit = of_subnets_[what.seen.vsid & 0xFFF];
	const std::uint64_t due = std::max(limit.next, now);
	if (due - now > 9 * interval) {
		lost_++;
		return 1;
	}
	limit.next = due + interval;
	limit.told = false;
	return note(what);
}

Notes::Counts Notes::want(const Settings &settings, const NextHop &hop, std::uint64_t now)
{
	Counts counts;
	if (!notes_.empty() && notes_.back().told == Note::wanted && notes_.back().port == hop.behind && notes_.back().seen.ip == hop.ip)
		return counts;
	const std::uint64_t interval = 1'000'000'000 / settings.learn_rate;
	Limit &limit = of_ports_[hop.behind & 0xFFF];
	const std::uint64_t due = std::max(limit.next, now);
	if (due - now > 9 * interval) {
		counts.throttled = 1;
		if (!limit.told)
			counts.lost = note({hop.behind, {0, hop.ip, 0, 0}, true});
		limit.told = true;
		return counts;
	}
	limit.next = due + interval;
	limit.told = false;
	counts.lost = note({hop.behind, {0, hop.ip, 0, 0}, false, Note::wanted, 0});
	return counts;
}

std::deque<Notes::Note> Notes::take()
{
	std::deque<Note> out;
	out.swap(notes_);
	return out;
}

std::uint64_t Notes::take_lost()
{
	const std::uint64_t lost = lost_;
	lost_ = 0;
	return lost;
}

static std::uint32_t dynamic_records(const Policy &policy, const Seen &machine)
{
	std::uint32_t count = 0;
	for (const Record *record : policy.records_of_machine(machine.vsid, machine.mac))
		count += record->type == APUS_RECORD_DYNAMIC;
	return count;
}

unsigned make_record(Policy &policy, const Notes::Note &note, std::vector<Event> &events)
{
	const Seen &seen = note.seen;
	Event event;
	event.port = note.port;
	event.vsid = seen.vsid;
	event.mac = seen.mac;
	event.provider_address = seen.provider_address;
	if (note.told != 0) {
		event.kind = note.told;
		if (note.told == APUS_EVENT_NVE_REDIRECT || note.told == APUS_EVENT_NVE_UNREACHABLE)
			event.previous_provider_address = note.teller;
		if (note.told == APUS_EVENT_NVE_UNREACHABLE)
			event.provider_address.reset();
		if (note.about) {
			event.mac = note.about->mac;
			if (!note.about->ip.is_unspecified())
				event.ip = note.about->ip;
		}
		events.push_back(event);
		return 0;
	}
	if (note.throttled && seen.vsid == 0 && seen.mac == 0)  // it is about a next hop
		event.provider_address.reset();
	if (note.throttled) {
		event.kind = APUS_EVENT_LEARN_THROTTLED;
		events.push_back(event);
		return 0;
	}
	event.ip = seen.ip;

	const auto port = policy.ports.find(note.port);
	if (!policy.l2_only_is_at(seen.vsid, seen.mac, seen.provider_address) || port == policy.ports.end())
		return 0;
	const Record *machine = nullptr;
	for (const Record *record : policy.records_of_machine(seen.vsid, seen.mac))
		if (machine == nullptr && record->type == APUS_RECORD_L2_ONLY && record->provider_address == seen.provider_address)
			machine = record;

	const std::uint32_t limit = !port->second.vm ? APUS_REMOTE_ADDRESS_LIMIT : port->second.address_limit != 0 ? port->second.address_limit : 16;
	const std::uint32_t before = dynamic_records(policy, seen);
	const auto refuse = [&] {
		event.kind = APUS_EVENT_LEARN_LIMIT;
		event.count = before;
		event.limit = limit;
		events.push_back(event);
		return 0u;
	};
	const Record *record = policy.record(seen.vsid, seen.ip);
	if (record != nullptr) {
		if (record->mac == seen.mac && record->provider_address == seen.provider_address)
			return 0;
		event.previous_mac = record->mac;
		event.previous_provider_address = record->provider_address;
		if (record->type != APUS_RECORD_DYNAMIC) {
			event.kind = APUS_EVENT_RECORD_CONFLICT;
			events.push_back(event);
			return 0;
		}
		if (record->mac != seen.mac && before >= limit) {
			event.previous_mac = 0;
			event.previous_provider_address.reset();
			return refuse();
		}
	} else if (before >= limit) {
		return refuse();
	}
	event.kind = record != nullptr ? APUS_EVENT_RECORD_MOVED : APUS_EVENT_RECORD_LEARNED;
	Record learned;
	learned.mac = seen.mac;
	learned.rule = machine->rule;
	learned.type = APUS_RECORD_DYNAMIC;
	learned.provider_address = seen.provider_address;
	learned.flags = APUS_RECORD_UNSYNCHRONIZED;
	policy.remove_record({seen.vsid, seen.ip});
	policy.add_record({seen.vsid, seen.ip}, learned);
	const std::uint32_t now = dynamic_records(policy, seen);
	event.count = now;
	event.limit = limit;
	events.push_back(event);
	if (now * std::uint64_t{5} >= limit * std::uint64_t{4} && before * std::uint64_t{5} < limit * std::uint64_t{4}) {
		event.kind = APUS_EVENT_LEARN_THRESHOLD;
		event.ip.reset();
		event.previous_mac = 0;
		event.previous_provider_address.reset();
		events.push_back(event);
	}
	return 1;
}

}  // namespace model
