// SPDX-License-Identifier: Apache-2.0
// Receive validation, exhaustively: every value of every header field that decides whether a frame is accepted, every
// length at which a frame can be cut off. What is expected is written here once more, from the RFCs and
// docs/pipeline.md; the library is not asked and the reference model only puts outer headers on.
#include <sys/wait.h>

#include <algorithm>
#include <functional>
#include <set>

#include "probe.hpp"
#include "random.hpp"
#include "tunnel.hpp"

using namespace fixture;
using report::text;
using wire::Expected;
using wire::Probe;

namespace {

// ---- frames ----------------------------------------------------------------------------------------------------------

/// The same flow again and again, whose decision the flow cache knows, or one that was never seen.
enum class Flow { known, fresh };
constexpr Flow flows[] = {Flow::known, Flow::fresh};

std::uint16_t source_port(Flow flow)
{
	static std::uint16_t last = 1000;
	return flow == Flow::known ? 1000 : ++last;
}

Bytes slice(const Bytes &bytes, std::size_t from, std::size_t to)
{
	return Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to));
}

build::Ip4 addressed(Ip source, Ip destination)
{
	build::Ip4 header;
	header.source = source;
	header.destination = destination;
	return header;
}

/// What vm1 is told when it asks for its gateway.
Bytes arp_answer()
{
	return build::arp({vm1_mac, router_mac, 0, model::type_arp}, {2, router_mac, gateway1, vm1_mac, vm1_ip});
}

/// The remote host asks for our provider address, and is told.
Bytes provider_arp()
{
	return build::arp({broadcast, remote_pa_mac, 0, model::type_arp}, {1, remote_pa_mac, remote_pa, 0, our_pa});
}
Bytes provider_arp_answer()
{
	return build::arp({remote_pa_mac, our_pa_mac, 0, model::type_arp}, {2, our_pa_mac, our_pa, remote_pa_mac, remote_pa});
}

/// An NVGRE frame from remote1 to vm1 that is right until a field is changed.
struct Nvgre {
	explicit Nvgre(Flow flow = Flow::known) : port(source_port(flow)) {}

	std::uint16_t port;
	build::Ethernet ethernet = outer_ethernet();
	build::Ip4 outer = outer_ip();
	std::uint16_t gre_flags = 0x2000;
	std::uint16_t gre_type = model::type_bridging;
	Vsid vsid = subnet1;
	std::uint8_t flow_id = 0x42;
	build::Ethernet inner_ethernet{vm1_mac, remote1_mac, 0, model::type_ipv4};
	build::Ip4 inner = addressed(remote1_ip, vm1_ip);
	std::size_t size = 20;
	std::size_t padding = 0;  // after the inner IP packet, inside the outer one

	Bytes customer() const
	{
		Bytes bytes = build::ipv4(inner_ethernet, inner, build::transport(port, 2000, size));
		bytes.resize(bytes.size() + padding, 0xEE);
		return bytes;
	}
	Bytes frame() const { return around(customer()); }
	Bytes around(const Bytes &customer) const
	{
		return build::ipv4(ethernet, outer, build::gre(gre_flags, gre_type, vsid << 8 | flow_id, customer));
	}
};

Bytes encapsulated(const Bytes &customer, Vsid vsid)
{
	model::Settings settings;
	settings.outer_ttl = 128;
	model::ProviderAddress ours{};
	ours.mac = our_pa_mac;
	return model::encapsulated(customer, settings, ours, our_pa, remote_pa, remote_pa_mac, vsid);
}

void correct_checksum(Bytes &frame, std::size_t at, std::size_t length)
{
	model::put16(frame, at + 10, 0);
	model::put16(frame, at + 10, model::internet_checksum(frame, at, length));
}

/// The distributed router's hand: TTL - 1, the target's MAC, a whole new checksum (docs/pipeline.md 2.2.8).
Bytes routed(Bytes customer, Mac target)
{
	model::put_mac(customer, 0, target);
	model::put8(customer, 22, static_cast<std::uint8_t>(model::get8(customer, 22) - 1));
	correct_checksum(customer, 14, 20);
	return customer;
}

// ---- GRE ---------------------------------------------------------------------------------------------------------------

/// RFC 2784 counts bits from the left of the first word.
constexpr bool gre_bit(unsigned word, unsigned number) { return (word & 0x8000u >> number) != 0; }

/// RFC 2784 section 2.3 (bits 1-5 refused, 6-12 ignored), 2.3.1 (version), RFC 2890 section 2 (K is bit 2, S bit 3),
/// RFC 7637 section 3.2 (C = S = 0, K = 1). The order is that of docs/pipeline.md 4.6.
std::uint32_t gre_flags_reason(unsigned word)
{
	if (gre_bit(word, 13) || gre_bit(word, 14) || gre_bit(word, 15))
		return APUS_DROP_GRE_VERSION;
	for (const unsigned refused : {0u, 1u, 3u, 4u, 5u})
		if (gre_bit(word, refused))
			return APUS_DROP_GRE_FLAGS;
	return gre_bit(word, 2) ? 0 : APUS_DROP_GRE_NO_KEY;
}

Expected to_vm1(const Probe &probe, const Bytes &customer) { return Expected::out(probe.host.vm1, customer); }

Expected unless(std::uint32_t reason, const Expected &otherwise) { return reason != 0 ? Expected::drop(reason) : otherwise; }

void all_gre_flags(Probe &probe)
{
	for (const Flow flow : flows) {
		unsigned accepted = 0;
		for (unsigned word = 0; word <= 0xFFFF; word++) {
			Nvgre nvgre(flow);
			nvgre.gre_flags = static_cast<std::uint16_t>(word);
			const std::uint32_t reason = gre_flags_reason(word);
			accepted += reason == 0;
			probe.expect(probe.host.uplink, nvgre.frame(), unless(reason, to_vm1(probe, nvgre.customer())),
				     text("GRE flags %04x", word));
		}
		report::equal(accepted, 128, "GRE flag words that RFC 2784 and 7637 accept");
	}
}

void all_gre_types(Probe &probe)
{
	for (unsigned type = 0; type <= 0xFFFF; type++) {
		Nvgre nvgre;
		nvgre.gre_type = static_cast<std::uint16_t>(type);
		probe.expect(probe.host.uplink, nvgre.frame(),
			     unless(type == 0x6558 ? 0 : APUS_DROP_GRE_PROTOCOL, to_vm1(probe, nvgre.customer())),
			     text("GRE protocol type %04x", type));
	}
}

/// RFC 7637 section 3.4: 0-0xFFF and 0xFFFFFF are reserved. With the flag they are as good as any other.
void vsids(Probe &probe)
{
	std::set<Vsid> numbers{0xFFFFFE, 0xFFFFFF, 0x800000, 0x1770, 0x1771, 4096, 4097};
	for (Vsid reserved = 0; reserved < 4096; reserved++)
		numbers.insert(reserved);
	Random random(7637);
	for (int i = 0; i < 10'000; i++)
		numbers.insert(static_cast<Vsid>(random.below(1 << 24)));
	Probe accepting(APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS);
	for (const Vsid vsid : numbers) {
		Nvgre nvgre;
		nvgre.vsid = vsid;
		const bool reserved = vsid <= 0xFFF || vsid == 0xFFFFFF;
		// In subnet2, known here, there is no machine with vm1's address.
		const std::uint32_t reason = vsid == subnet1   ? 0
					     : vsid == subnet2 ? APUS_DROP_INNER_DESTINATION_MISSING
							       : APUS_DROP_VSID_UNKNOWN;
		const Expected expected = unless(reason, to_vm1(probe, nvgre.customer()));
		probe.expect(probe.host.uplink, nvgre.frame(), reserved ? Expected::drop(APUS_DROP_VSID_RESERVED) : expected,
			     text("VSID %06x", vsid));
		accepting.expect(accepting.host.uplink, nvgre.frame(), expected, text("VSID %06x, reserved ones accepted", vsid));
	}
	for (const Vsid vsid : {Vsid{1}, Vsid{4095}, Vsid{0xFFFFFF}}) {
		const std::uint32_t port = accepting.host.add_vm(vsid, vm1_mac);
		accepting.host.add_record(vsid, vm1_ip, vm1_mac, our_pa);
		accepting.host.add_record(vsid, remote1_ip, remote1_mac, remote_pa);
		Nvgre nvgre;
		nvgre.vsid = vsid;
		accepting.expect(accepting.host.uplink, nvgre.frame(), Expected::out(port, nvgre.customer()),
				 text("VSID %06x in use, reserved ones accepted", vsid));
	}
}

/// The FlowID takes no part in any decision (RFC 7637 section 3.2).
void flow_ids(Probe &probe)
{
	for (const Flow flow : flows)
		for (unsigned id = 0; id <= 0xFF; id++) {
			Nvgre nvgre(flow);
			nvgre.flow_id = static_cast<std::uint8_t>(id);
			probe.expect(probe.host.uplink, nvgre.frame(), to_vm1(probe, nvgre.customer()), text("FlowID %02x", id));
		}
}

// ---- EtherTypes, VLANs, protocols --------------------------------------------------------------------------------------

/// Each EtherType leads to the parser of its protocol, which an IPv4 packet does not please, or to nobody.
std::uint32_t refusal(std::uint16_t type, std::uint32_t arp, std::uint32_t ipv6, std::uint32_t other)
{
	return type == 0x0800 ? 0 : type == 0x0806 ? arp : type == 0x86DD ? ipv6 : other;
}

void all_ethertypes(Probe &probe)
{
	for (unsigned value = 0; value <= 0xFFFF; value++) {
		const std::uint16_t type = static_cast<std::uint16_t>(value);
		const bool tag = type == 0x8100 || type == 0x88A8;

		// Behind a tag the IPv4 total length is where the EtherType is looked for.
		Nvgre outer;
		outer.ethernet.type = type;
		probe.expect(probe.host.uplink, outer.frame(),
			     unless(refusal(type, APUS_DROP_PROVIDER_ARP_MALFORMED, APUS_DROP_OUTER_IP_VERSION, APUS_DROP_OUTER_ETHERTYPE),
				    to_vm1(probe, outer.customer())),
			     text("outer EtherType %04x", value));

		Nvgre inner;
		inner.inner_ethernet.type = type;
		probe.expect(probe.host.uplink, inner.frame(),
			     unless(refusal(type, APUS_DROP_INNER_ARP_MALFORMED, APUS_DROP_INNER_IP_MALFORMED,
					    tag ? APUS_DROP_INNER_VLAN : APUS_DROP_INNER_ETHERTYPE),
				    to_vm1(probe, inner.customer())),
			     text("inner EtherType %04x", value));

		Bytes customer = vm1_to_remote1();
		const Bytes right = encapsulated(customer, subnet1);
		model::put16(customer, 12, type);
		probe.expect(probe.host.vm1, customer,
			     unless(refusal(type, APUS_DROP_ARP_MALFORMED, APUS_DROP_IP_MALFORMED, APUS_DROP_ETHERTYPE),
				    Expected::out(probe.host.uplink, right)),
			     text("customer's EtherType %04x", value));
	}
}

/// IEEE 802.1Q: PCP and DEI say nothing about where a frame belongs; VID 0 is a priority tag, the same as none.
void all_tags(Probe &probe)
{
	constexpr Ip tagged_pa = ip(172, 16, 0, 22), vm4_ip = ip(10, 0, 1, 5);
	constexpr Mac tagged_mac = 0x324455667799, vm4_mac = 0x600060000105;
	constexpr unsigned vlan = 100;
	const std::uint32_t vm4 = probe.host.add_vm(subnet1, vm4_mac);
	probe.host.add_pa(tagged_pa, probe.host.uplink, tagged_mac, vlan);
	probe.host.add_record(subnet1, vm4_ip, vm4_mac, tagged_pa);

	Nvgre tagged;
	tagged.ethernet.destination = tagged_mac;
	tagged.outer.destination = tagged_pa;
	tagged.inner_ethernet.destination = vm4_mac;
	tagged.inner.destination = vm4_ip;
	probe.expect(probe.host.uplink, tagged.frame(), Expected::drop(APUS_DROP_OUTER_VLAN), "no tag where there is a VLAN");

	Nvgre untagged;
	untagged.ethernet.vlan = tagged.ethernet.vlan = 1;
	Bytes to_untagged = untagged.frame(), to_tagged = tagged.frame();
	for (const std::uint16_t tpid : {0x8100, 0x88A8})
		for (unsigned tci = 0; tci <= 0xFFFF; tci++) {
			const unsigned vid = tci & 0x0FFF;
			for (Bytes *frame : {&to_untagged, &to_tagged}) {
				model::put16(*frame, 12, tpid);
				model::put16(*frame, 14, static_cast<std::uint16_t>(tci));
			}
			probe.expect(probe.host.uplink, to_untagged,
				     unless(vid == 0 ? 0 : APUS_DROP_OUTER_VLAN, to_vm1(probe, untagged.customer())),
				     text("tag %04x %04x, no VLAN", tpid, tci));
			probe.expect(probe.host.uplink, to_tagged,
				     unless(vid == vlan ? 0 : APUS_DROP_OUTER_VLAN, Expected::out(vm4, tagged.customer())),
				     text("tag %04x %04x, VLAN 100", tpid, tci));
		}
}

/// RFC 826: each of the four words that say what kind of ARP this is has one good value; the operation has two.
void all_arp_words(Probe &probe)
{
	constexpr struct { const char *name; std::size_t at; unsigned good; } words[] = {
		{"hardware type", 14, 1}, {"protocol type", 16, 0x0800}, {"address sizes", 18, 0x0604}, {"operation", 20, 1}};
	for (const auto &word : words)
		for (unsigned value = 0; value <= 0xFFFF; value++) {
			// An answer (operation 2) that nobody asked for is taken note of, and that is all.
			const auto expected = [&](std::uint32_t port, const Bytes &bytes, std::uint32_t malformed) {
				if (value == word.good)
					return Expected::out(port, bytes);
				return word.at == 20 && value == 2 ? Expected::consumed() : Expected::drop(malformed);
			};
			Bytes customer = vm1_arp(gateway1), provider = provider_arp();
			model::put16(customer, word.at, static_cast<std::uint16_t>(value));
			model::put16(provider, word.at, static_cast<std::uint16_t>(value));
			probe.expect(probe.host.vm1, customer, expected(probe.host.vm1, arp_answer(), APUS_DROP_ARP_MALFORMED),
				     text("customer's ARP, %s %04x", word.name, value));
			probe.expect(probe.host.uplink, provider,
				     expected(probe.host.uplink, provider_arp_answer(), APUS_DROP_PROVIDER_ARP_MALFORMED),
				     text("provider ARP, %s %04x", word.name, value));
		}
}

void all_protocols(Probe &probe)
{
	for (unsigned protocol = 0; protocol <= 0xFF; protocol++) {
		Nvgre outer, inner;
		outer.outer.protocol = inner.inner.protocol = static_cast<std::uint8_t>(protocol);
		probe.expect(probe.host.uplink, outer.frame(),
			     unless(protocol == 47 ? 0 : APUS_DROP_OUTER_PROTOCOL, to_vm1(probe, outer.customer())),
			     text("outer protocol %u", protocol));
		probe.expect(probe.host.uplink, inner.frame(), to_vm1(probe, inner.customer()), text("inner protocol %u", protocol));
	}
}

// ---- the outer IPv4 header ---------------------------------------------------------------------------------------------

/// RFC 791: reserved and DF bits say nothing, MF or an offset make a fragment. Four words of 65,536 are whole packets.
void all_fragment_words(Probe &probe)
{
	for (unsigned word = 0; word <= 0xFFFF; word++) {
		Nvgre outer, inner;
		outer.outer.fragment = inner.inner.fragment = static_cast<std::uint16_t>(word);
		const bool fragment = (word & 0x2000) != 0 || (word & 0x1FFF) != 0;
		probe.expect(probe.host.uplink, outer.frame(),
			     unless(fragment ? APUS_DROP_OUTER_FRAGMENT : 0, to_vm1(probe, outer.customer())),
			     text("outer fragment word %04x", word));
		probe.expect(probe.host.uplink, inner.frame(), to_vm1(probe, inner.customer()), text("inner fragment word %04x", word));
	}
}

/// The device's word counts; where it says nothing, RFC 791's sum does.
void all_checksums(Probe &probe)
{
	const Nvgre nvgre;
	model::Frame frame = probe.host.frame(probe.host.uplink, nvgre.frame());
	const unsigned right = model::get16(frame.bytes, 24);
	const Expected accepted = to_vm1(probe, nvgre.customer()), refused = Expected::drop(APUS_DROP_OUTER_IP_CHECKSUM);
	for (unsigned value = 0; value <= 0xFFFF; value++) {
		model::put16(frame.bytes, 24, static_cast<std::uint16_t>(value));
		frame.flags = 0;
		probe.expect(frame, value == right ? accepted : refused, text("outer checksum %04x", value));
		if (value % 257 != 0 && value != right)
			continue;
		frame.flags = APUS_FRAME_IP_CHECKSUM_GOOD;
		probe.expect(frame, accepted, text("outer checksum %04x, good says the device", value));
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD;
		probe.expect(frame, refused, text("outer checksum %04x, bad says the device", value));
	}
}

/// Version and IHL, total length, and how many bytes there are (docs/pipeline.md 2.4): nothing else makes a header bad.
bool well_formed(unsigned first_byte, std::size_t total, std::size_t available)
{
	const std::size_t header = (first_byte & 15) * std::size_t{4};
	return first_byte >> 4 == 4 && header >= 20 && header <= available && header <= total && total <= available;
}

constexpr std::size_t inner_padding = 6;

/// docs/pipeline.md 4.3, then what is left of the payload for GRE and the inner headers.
Expected outer_header(const Probe &probe, const Bytes &frame, std::size_t customer_packet, bool options_accepted)
{
	const unsigned first_byte = frame[14];
	const std::size_t header = (first_byte & 15) * std::size_t{4};
	const std::size_t total = model::get16(frame, 16), available = frame.size() - 14;
	if (first_byte >> 4 != 4 || header < 20)
		return Expected::drop(APUS_DROP_OUTER_IP_VERSION);
	if (header > available)
		return Expected::drop(APUS_DROP_OUTER_TRUNCATED);
	if (total < header || total > available)
		return Expected::drop(APUS_DROP_OUTER_IP_LENGTH);
	if (header > 20 && !options_accepted)
		return Expected::drop(APUS_DROP_OUTER_IP_OPTIONS);
	const std::size_t payload = total - header;
	if (payload < 8)
		return Expected::drop(APUS_DROP_OUTER_TRUNCATED);
	if (payload < 8 + 14)
		return Expected::drop(APUS_DROP_INNER_TRUNCATED);
	if (payload < 8 + 14 + customer_packet)
		return Expected::drop(APUS_DROP_INNER_IP_MALFORMED);
	return to_vm1(probe, slice(frame, 14 + header + 8, 14 + total));
}

unsigned option_words(unsigned first_byte) { return std::max(first_byte & 15, 5u) - 5; }

void outer_headers(std::uint32_t dataplane_flags)
{
	Probe probe(dataplane_flags);
	const bool options_accepted = (dataplane_flags & APUS_DATAPLANE_ACCEPT_IP_OPTIONS) != 0;
	for (unsigned first_byte = 0; first_byte <= 0xFF; first_byte++) {
		Nvgre nvgre;
		nvgre.outer.options = option_words(first_byte);
		nvgre.padding = inner_padding;
		Bytes frame = nvgre.frame();
		frame[14] = static_cast<std::uint8_t>(first_byte);
		const std::size_t available = frame.size() - 14;
		for (std::size_t total = 0; total <= available + 8; total++) {
			model::put16(frame, 16, static_cast<std::uint16_t>(total));
			correct_checksum(frame, 14, 20 + nvgre.outer.options * 4);
			probe.expect(probe.host.uplink, frame, outer_header(probe, frame, 20 + 4 + nvgre.size, options_accepted),
				     text("outer header %02x, total length %zu of %zu%s", first_byte, total, available,
					  options_accepted ? ", options accepted" : ""));
		}
	}
}

/// An IHL that no longer fits the frame: only a frame that ends inside the options shows it.
void outer_header_beyond_the_frame(Probe &probe)
{
	for (unsigned ihl = 6; ihl <= 15; ihl++)
		for (std::size_t length = 14 + 20; length < 14 + ihl * 4; length++) {
			Nvgre nvgre;
			nvgre.outer.options = ihl - 5;
			probe.expect(probe.host.uplink, slice(nvgre.frame(), 0, length), Expected::drop(APUS_DROP_OUTER_TRUNCATED),
				     text("IHL %u in %zu bytes", ihl, length));
		}
}

// ---- the customer's IPv4 header ----------------------------------------------------------------------------------------

void inner_headers(Probe &probe)
{
	for (unsigned first_byte = 0; first_byte <= 0xFF; first_byte++) {
		Nvgre nvgre;
		nvgre.inner.options = option_words(first_byte);
		nvgre.padding = inner_padding;
		Bytes received = nvgre.customer();
		received[14] = static_cast<std::uint8_t>(first_byte);

		build::Ip4 header = addressed(vm1_ip, remote1_ip);
		header.options = nvgre.inner.options;
		Bytes sent = build::ipv4({remote1_mac, vm1_mac, 0, model::type_ipv4}, header, build::transport(1000, 2000, nvgre.size));
		sent.resize(sent.size() + inner_padding);
		sent[14] = static_cast<std::uint8_t>(first_byte);

		const std::size_t available = received.size() - 14;
		for (std::size_t total = 0; total <= available + 8; total++) {
			const bool good = well_formed(first_byte, total, available);
			model::put16(received, 16, static_cast<std::uint16_t>(total));
			probe.expect(probe.host.uplink, nvgre.around(received),
				     unless(good ? 0 : APUS_DROP_INNER_IP_MALFORMED, to_vm1(probe, received)),
				     text("inner header %02x, total length %zu of %zu", first_byte, total, available));

			model::put16(sent, 16, static_cast<std::uint16_t>(total));
			probe.expect(probe.host.vm1, sent,
				     good ? Expected::out(probe.host.uplink, encapsulated(sent, subnet1)) : Expected::drop(APUS_DROP_IP_MALFORMED),
				     text("customer's header %02x, total length %zu of %zu", first_byte, total, available));
		}
	}
}

// ---- ECN ---------------------------------------------------------------------------------------------------------------

constexpr unsigned not_ect = 0, ect1 = 1, ect0 = 2, ce = 3, dropped = 4;

/// RFC 6040 section 4.2, figure 4, read off cell by cell: [inner][outer], both in the order of the codepoints.
constexpr unsigned rfc6040[4][4] = {
	/* outer:       Not-ECT  ECT(1)   ECT(0)   CE */
	/* Not-ECT */ {not_ect, not_ect, not_ect, dropped},
	/* ECT(1)  */ {ect1, ect1, ect1, ce},
	/* ECT(0)  */ {ect0, ect1, ect0, ce},
	/* CE      */ {ce, ce, ce, ce},
};

void ecn_cell(Probe &probe, const Nvgre &given, unsigned inner, unsigned outer)
{
	Nvgre nvgre = given, after = given;
	const unsigned dscp = given.inner.tos & 0xFC;
	nvgre.inner.tos = static_cast<std::uint8_t>(dscp | inner);
	nvgre.outer.tos = static_cast<std::uint8_t>((given.outer.tos & 0xFC) | outer);
	after.inner.tos = static_cast<std::uint8_t>(dscp | (rfc6040[inner][outer] & 3));  // and a checksum of its own
	probe.expect(probe.host.uplink, nvgre.frame(),
		     unless(rfc6040[inner][outer] == dropped ? APUS_DROP_ECN : 0, to_vm1(probe, after.customer())),
		     text("inner TOS %02x, outer %02x, identification %04x", nvgre.inner.tos, nvgre.outer.tos,
			  nvgre.inner.identification));
}

void all_ecn(Probe &probe)
{
	for (const Flow flow : flows)
		for (unsigned inner = 0; inner < 4; inner++)
			for (unsigned outer = 0; outer < 4; outer++) {
				for (unsigned dscp = 0; dscp < 64; dscp++) {
					Nvgre nvgre(flow);
					nvgre.inner.tos = static_cast<std::uint8_t>(dscp << 2);
					nvgre.outer.tos = static_cast<std::uint8_t>(~dscp << 2);
					ecn_cell(probe, nvgre, inner, outer);
				}
				if (rfc6040[inner][outer] == inner)
					continue;
				// Every checksum there is: incremental updates go wrong, if at all, at 0 and 0xFFFF (RFC 1624).
				for (unsigned identification = 0; identification <= 0xFFFF; identification++) {
					Nvgre nvgre;
					nvgre.inner.identification = static_cast<std::uint16_t>(identification);
					ecn_cell(probe, nvgre, inner, outer);
				}
			}
}

// ---- frames cut off ----------------------------------------------------------------------------------------------------

/// From this length on, this reason; 0 = accepted.
struct Step {
	std::size_t from;
	std::uint32_t reason;
};

struct Cut {
	const char *name;
	std::uint32_t port;
	Bytes frame;
	std::vector<Step> steps;
	std::function<Expected(const Bytes &)> accepted;
	/// Make the length fields agree with where the frame was cut.
	std::function<void(Bytes &)> repair = [](Bytes &) {};
};

/// The IPv4 header at `at`, if it is there, claims all of the rest.
void fit_ip(Bytes &frame, std::size_t at)
{
	if (frame.size() < at + 20)
		return;
	model::put16(frame, at + 2, static_cast<std::uint16_t>(frame.size() - at));
	correct_checksum(frame, at, 20);
}

void fit_customer(Bytes &frame) { fit_ip(frame, 14); }
void fit_outer(Bytes &frame) { fit_ip(frame, 14); }
void fit_both(Bytes &frame)
{
	fit_ip(frame, 14);
	fit_ip(frame, 14 + 20 + 8 + 14);
}
void fit_echo(Bytes &frame)
{
	fit_customer(frame);
	if (frame.size() < 14 + 20 + 8)
		return;
	model::put16(frame, 36, 0);
	model::put16(frame, 36, model::internet_checksum(frame, 34, frame.size() - 34));
}

Bytes with_tag(Bytes frame, std::uint16_t tci)
{
	const std::uint8_t tag[] = {0x81, 0x00, static_cast<std::uint8_t>(tci >> 8), static_cast<std::uint8_t>(tci)};
	frame.insert(frame.begin() + 12, std::begin(tag), std::end(tag));
	return frame;
}

/// docs/pipeline.md 6.
Bytes echo_answer(Bytes frame)
{
	model::put_mac(frame, 0, vm1_mac);
	model::put_mac(frame, 6, router_mac);
	model::put8(frame, 22, 128);
	model::put_ip(frame, 26, gateway1);
	model::put_ip(frame, 30, vm1_ip);
	correct_checksum(frame, 14, 20);
	model::put8(frame, 34, 0);
	model::put16(frame, 36, 0);
	model::put16(frame, 36, model::internet_checksum(frame, 34, frame.size() - 34));
	return frame;
}

std::vector<Cut> cuts(const fixture::Host &host)
{
	constexpr std::size_t payload = 300;  // longer than what has to be contiguous
	Nvgre nvgre;
	nvgre.size = payload;
	const Bytes tunnel = nvgre.frame();
	const Bytes customer = udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip, 64, 0, payload);
	const Bytes far = udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 64, 0xB9, payload);
	const Bytes near = udp(router_mac, vm1_mac, vm1_ip, vm3_ip, 64, 0, payload);
	build::Ip4 to_gateway = addressed(vm1_ip, gateway1);
	to_gateway.protocol = 1;
	const Bytes ping = build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, to_gateway, build::icmp(8, 0, 7, 1, payload));
	Bytes arp = vm1_arp(gateway1);
	arp.resize(60);  // Ethernet padding
	Bytes padded_provider_arp = provider_arp();
	padded_provider_arp.resize(60);

	const auto without_outer = [&host](std::size_t outer) {
		return [&host, outer](const Bytes &f) { return Expected::out(host.vm1, slice(f, outer, f.size())); };
	};
	const auto tunnelled = [&host](const Bytes &f, Vsid vsid) { return Expected::out(host.uplink, encapsulated(f, vsid)); };
	const auto tunnelled_without = [tunnelled](std::ptrdiff_t tags) {
		return [tunnelled, tags](const Bytes &f) {
			Bytes bare = slice(f, 0, 12);
			bare.insert(bare.end(), f.begin() + 12 + 4 * tags, f.end());
			return tunnelled(bare, subnet1);
		};
	};
	const auto answered = [](std::uint32_t port, const Bytes &answer) {
		return [=](const Bytes &) { return Expected::out(port, answer); };
	};
	const auto echo = [&host](const Bytes &f) { return Expected::out(host.vm1, echo_answer(f)); };
	const auto routed_far = [tunnelled](const Bytes &f) { return tunnelled(routed(f, remote2_mac), subnet2); };
	const auto routed_near = [&host](const Bytes &f) { return Expected::out(host.vm3, routed(f, vm3_mac)); };

	constexpr std::uint32_t invalid = APUS_DROP_FRAME_INVALID, malformed = APUS_DROP_IP_MALFORMED;
	constexpr std::uint32_t truncated = APUS_DROP_OUTER_TRUNCATED, outer_length = APUS_DROP_OUTER_IP_LENGTH;
	constexpr std::uint32_t inner_truncated = APUS_DROP_INNER_TRUNCATED, inner_malformed = APUS_DROP_INNER_IP_MALFORMED;
	constexpr std::uint32_t arp_malformed = APUS_DROP_ARP_MALFORMED, provider_arp_malformed = APUS_DROP_PROVIDER_ARP_MALFORMED;
	return {
		{"NVGRE", host.uplink, tunnel,
		 {{0, invalid}, {14, truncated}, {34, outer_length}, {tunnel.size(), 0}}, without_outer(42)},
		{"NVGRE, outer length fits", host.uplink, tunnel,
		 {{0, invalid}, {14, truncated}, {42, inner_truncated}, {56, inner_malformed}, {tunnel.size(), 0}},
		 without_outer(42), fit_outer},
		{"NVGRE, both lengths fit", host.uplink, tunnel,
		 {{0, invalid}, {14, truncated}, {42, inner_truncated}, {56, inner_malformed}, {76, 0}}, without_outer(42), fit_both},
		{"NVGRE with a priority tag", host.uplink, with_tag(tunnel, 0xE000),
		 {{0, invalid}, {14, truncated}, {38, outer_length}, {tunnel.size() + 4, 0}}, without_outer(46)},
		{"provider ARP", host.uplink, padded_provider_arp,
		 {{0, invalid}, {14, provider_arp_malformed}, {42, 0}}, answered(host.uplink, provider_arp_answer())},
		{"provider ARP with a priority tag", host.uplink, with_tag(provider_arp(), 0),
		 {{0, invalid}, {14, truncated}, {18, provider_arp_malformed}, {46, 0}},
		 answered(host.uplink, with_tag(provider_arp_answer(), 0))},
		{"customer's UDP", host.vm1, customer,
		 {{0, invalid}, {14, malformed}, {customer.size(), 0}}, tunnelled_without(0)},
		{"customer's UDP, length fits", host.vm1, customer,
		 {{0, invalid}, {14, malformed}, {34, 0}}, tunnelled_without(0), fit_customer},
		{"customer's UDP with a tag", host.vm1, with_tag(customer, 5),
		 {{0, invalid}, {18, malformed}, {customer.size() + 4, 0}}, tunnelled_without(1)},
		{"customer's UDP with two tags", host.vm1, with_tag(with_tag(customer, 5), 0xFFFF),
		 {{0, invalid}, {22, malformed}, {customer.size() + 8, 0}}, tunnelled_without(2)},
		{"customer's ARP", host.vm1, arp,
		 {{0, invalid}, {14, arp_malformed}, {42, 0}}, answered(host.vm1, arp_answer())},
		{"gateway ping", host.vm1, ping,
		 {{0, invalid}, {14, malformed}, {ping.size(), 0}}, echo},
		{"gateway ping, length fits", host.vm1, ping,
		 {{0, invalid}, {14, malformed}, {34, APUS_DROP_GATEWAY_UNSERVED}, {42, 0}}, echo, fit_echo},
		{"routed to another host", host.vm1, far,
		 {{0, invalid}, {14, malformed}, {far.size(), 0}}, routed_far},
		{"routed on this host, length fits", host.vm1, near,
		 {{0, invalid}, {14, malformed}, {34, 0}}, routed_near, fit_customer},
	};
}

void every_length(Probe &probe)
{
	for (const Cut &cut : cuts(probe.host))
		for (std::size_t length = 0; length <= cut.frame.size(); length++) {
			model::Frame frame = probe.host.frame(cut.port, slice(cut.frame, 0, length));
			cut.repair(frame.bytes);
			std::uint32_t reason = 0;
			for (const Step &step : cut.steps)
				if (length >= step.from)
					reason = step.reason;
			const Expected expected = reason != 0 ? Expected::drop(reason) : cut.accepted(frame.bytes);

			const std::size_t enough = std::min<std::size_t>(length, APUS_CONTIGUOUS);
			for (const std::size_t contiguous : std::set<std::size_t>{enough, (enough + length) / 2, length}) {
				frame.contiguous = static_cast<std::uint32_t>(contiguous);
				probe.expect(frame, expected, text("%s, first %zu bytes, %zu contiguous", cut.name, length, contiguous));
			}
			for (const std::size_t contiguous : std::set<std::size_t>{0, 1, 13, 14, 18, 34, 42, 76, enough / 2, enough - 1}) {
				if (contiguous >= enough)
					continue;
				frame.contiguous = static_cast<std::uint32_t>(contiguous);
				probe.expect(frame, Expected::drop(APUS_DROP_FRAME_INVALID),
					     text("%s, first %zu bytes, only %zu contiguous", cut.name, length, contiguous));
			}
		}
}

/// The guard is worth nothing unless it strikes.
void guard_strikes(const Probe &probe)
{
	std::fflush(stdout);
	const pid_t child = fork();
	if (child == 0) {
		std::signal(SIGSEGV, SIG_DFL);
		const volatile std::uint8_t beyond = *probe.memory.end();
		_exit(beyond & 0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	report::check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a read one byte beyond the frame ends the program");
}

}  // namespace

int main()
{
	Probe probe;
	guard_strikes(probe);
	all_gre_flags(probe);
	all_gre_types(probe);
	vsids(probe);
	flow_ids(probe);
	all_ethertypes(probe);
	all_arp_words(probe);
	all_protocols(probe);
	all_fragment_words(probe);
	all_checksums(probe);
	outer_headers(0);
	outer_headers(APUS_DATAPLANE_ACCEPT_IP_OPTIONS);
	outer_header_beyond_the_frame(probe);
	inner_headers(probe);
	all_ecn(probe);
	every_length(probe);
	all_tags(probe);
	return report::finish();
}
