/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of calls of the whole C interface, with arguments from sensible to absurd, and frames in between. Each
 * input has a dataplane of its own, on an allocator that the input may let run dry; at the end all memory has come
 * back.
 *
 * Input: a sequence of `call, arguments`. Structs are given well-formed with few keys, or as raw bytes of a size that
 * may be a lie; they stand in heap blocks of exactly the size that the library may touch.
 */
#include "fuzz.h"

static struct apus_dataplane *dataplane, *stale_dataplane;
static struct apus_worker *workers[2], *stale_worker;
static struct buffers buffers[2];
static uint32_t ports[8];
static unsigned int port_count;
static uint64_t now;
static long credit, live;

static void *allocate(void *context, size_t size, size_t alignment)
{
	void *memory;

	(void)context;
	if (credit == 0)
		return NULL;
	credit--;
	CHECK(alignment >= 8 && alignment <= 4096 && (alignment & (alignment - 1)) == 0);
	if (posix_memalign(&memory, alignment, size) != 0)
		return NULL;
	live++;
	return memory;
}

static void release(void *context, void *memory, size_t size)
{
	(void)context;
	(void)size;
	live--;
	free(memory);
}

/* Control calls answer 0 or a known error (iterations also 1), and the text says so. */
static int checked(int code)
{
	CHECK(code <= 1 && code >= APUS_ERR_SYNTAX);
	const char *text = apus_dataplane_error_text(dataplane);

	CHECK(strnlen(text, 256) < 256);
	if (code == 0)
		CHECK(*text == 0);
	return code;
}

/* ---- arguments ------------------------------------------------------------ */

static struct apus_address address(struct input *in, uint32_t base)
{
	struct apus_address value;
	uint8_t byte = take8(in);

	memset(&value, 0, sizeof(value));
	if (byte == 0xff) { /* anything at all */
		take_bytes(in, (uint8_t *)&value, sizeof(value));
		return value;
	}
	value.family = APUS_IPV4;
	value.bytes[0] = (uint8_t)(base >> 24);
	value.bytes[1] = (uint8_t)(base >> 16);
	value.bytes[2] = (byte >> 4) & 3;
	value.bytes[3] = byte & 15;
	if (byte >> 6 == 2)
		memset(value.bytes, 0, 4);
	return value;
}

static uint32_t vsid(struct input *in)
{
	uint8_t byte = take8(in);

	return byte == 0xff ? take32(in) : 5001u + (byte & 3);
}

static struct apus_mac mac(struct input *in)
{
	struct apus_mac value = {{0x00, 0x60, 0, 0, 0, 0}};

	value.bytes[5] = take8(in);
	if (value.bytes[5] == 0xff)
		take_bytes(in, value.bytes, 6);
	return value;
}

static uint32_t port(struct input *in)
{
	uint8_t byte = take8(in);

	return byte == 0xff ? take32(in) : ports[byte & 7];
}

static struct apus_prefix prefix(struct input *in, uint32_t base)
{
	static const uint8_t lengths[8] = {0, 8, 16, 22, 24, 28, 31, 32};
	struct apus_prefix value;
	uint8_t byte = take8(in);

	memset(&value, 0, sizeof(value));
	value.address = address(in, base);
	value.length = byte == 0xff ? take8(in) : lengths[byte & 7];
	if (byte != 0xff) /* clear what is behind the length */
		for (unsigned int bit = value.length; bit < 32; bit++)
			value.address.bytes[bit / 8] &= (uint8_t)~(0x80 >> (bit & 7));
	return value;
}

/*
 * A heap copy of a struct for the call, sometimes with another size or other bytes. The library may touch `size`
 * bytes of it if that is a size it accepts, else only the size itself.
 */
static void *struct_new(struct input *in, const void *value, size_t known)
{
	uint8_t how = take8(in);
	size_t size = known;

	if (how >= 0xf0) {
		static const size_t sizes[8] = {0, 8, 64, 1024, 65536, 65537, (size_t)-1, (size_t)1 << 63};

		size = how & 8 ? sizes[how & 7] : known - 4 + (how & 7);
	}
	size_t room = size < 8 || size > 65536 ? 8 : size;
	uint8_t *copy = (uint8_t *)malloc(room);

	CHECK(copy != NULL);
	memset(copy, 0, room);
	memcpy(copy, value, room < known ? room : known);
	if (how >= 0xe0) /* raw bytes over it */
		take_bytes(in, copy + 8 * (room > 8), room > 8 ? (room - 8) & 0xff : 0);
	memcpy(copy, &size, sizeof(size));
	return copy;
}

/* ---- calls ------------------------------------------------------------ */

#define FIVE_VERBS(type, kind, verb)                                                        \
	do {                                                                                \
		struct type *copy = (struct type *)struct_new(in, &value, sizeof(value));   \
		switch (verb) {                                                             \
		case 0:                                                                     \
			checked(apus_##kind##_add(dataplane, copy));                        \
			break;                                                              \
		case 1:                                                                     \
			checked(apus_##kind##_set(dataplane, copy));                        \
			break;                                                              \
		case 2:                                                                     \
			checked(apus_##kind##_remove(dataplane, copy));                     \
			break;                                                              \
		default:                                                                    \
			checked(apus_##kind##_get(dataplane, copy));                        \
		}                                                                           \
		free(copy);                                                                 \
	} while (0)

static void call_object(struct input *in, unsigned int kind, unsigned int verb)
{
	if (kind == 0) {
		struct apus_lookup_record value;

		APUS_INIT(&value);
		value.virtual_subnet_id = vsid(in);
		value.customer_address = address(in, 0x0a000000);
		value.mac = mac(in);
		value.provider_address = address(in, 0xc0a80000);
		value.rule = take8(in) & 3;
		value.vm_name[0] = (char)(value.rule ? 'a' : 0);
		FIVE_VERBS(apus_lookup_record, lookup_record, verb);
	} else if (kind == 1) {
		struct apus_customer_route value;

		APUS_INIT(&value);
		value.routing_domain_id.bytes[0] = take8(in) & 3;
		value.virtual_subnet_id = vsid(in);
		value.destination_prefix = prefix(in, 0x0a000000);
		value.next_hop = address(in, 0x0a000000);
		value.metric = take8(in) & 1;
		FIVE_VERBS(apus_customer_route, customer_route, verb);
	} else if (kind == 2) {
		struct apus_provider_address value;

		APUS_INIT(&value);
		value.provider_address = address(in, 0xc0a80000);
		value.port = port(in);
		value.prefix_length = take8(in) & 31;
		value.vlan = take8(in) & 1;
		value.mac = mac(in);
		FIVE_VERBS(apus_provider_address, provider_address, verb);
	} else if (kind == 3) {
		struct apus_provider_route value;

		APUS_INIT(&value);
		value.destination_prefix = prefix(in, 0xc0a80000);
		value.next_hop = address(in, 0xc0a80000);
		value.port = port(in);
		FIVE_VERBS(apus_provider_route, provider_route, verb);
	} else {
		struct apus_provider_neighbor value;

		APUS_INIT(&value);
		value.address = address(in, 0xc0a80000);
		value.mac = mac(in);
		FIVE_VERBS(apus_provider_neighbor, provider_neighbor, verb);
	}
}

static void call_port(struct input *in, unsigned int verb)
{
	struct apus_port_params value, *copy;
	uint8_t what = take8(in);
	uint32_t id = 0;

	APUS_INIT(&value);
	value.kind = what & 4 ? APUS_PORT_PROVIDER : APUS_PORT_VM;
	if (value.kind == APUS_PORT_VM) {
		value.virtual_subnet_id = vsid(in);
		value.mac = mac(in);
		value.flags = what >> 3 & 1;
	}
	copy = (struct apus_port_params *)struct_new(in, &value, sizeof(value));
	switch (verb) {
	case 0:
		if (checked(apus_port_add(dataplane, copy, &id)) == 0)
			ports[port_count++ & 7] = id;
		break;
	case 1:
		checked(apus_port_set(dataplane, port(in), copy));
		break;
	case 2:
		checked(apus_port_remove(dataplane, port(in)));
		break;
	default:
		checked(apus_port_get(dataplane, port(in), copy));
	}
	free(copy);
}

#define WALK(type, kind)                                                                          \
	do {                                                                                      \
		struct type *item = (struct type *)malloc(sizeof(*item));                         \
		uint64_t cursor = start;                                                          \
		CHECK(item != NULL);                                                              \
		APUS_INIT(item);                                                                  \
		for (int i = 0; i < 300 && checked(apus_##kind##_iterate(dataplane, &cursor, item)) == 1; i++) \
			CHECK(start != 0 || checked(apus_##kind##_get(dataplane, item)) == 0);    \
		free(item);                                                                       \
	} while (0)

static void call_iterate(struct input *in)
{
	uint64_t start = take8(in) == 0xff ? (uint64_t)take32(in) << 32 | take32(in) : 0;

	WALK(apus_lookup_record, lookup_record);
	WALK(apus_customer_route, customer_route);
	WALK(apus_provider_address, provider_address);
	WALK(apus_provider_route, provider_route);
	WALK(apus_provider_neighbor, provider_neighbor);
}

static void call_worker(struct input *in, unsigned int verb)
{
	unsigned int index = take8(in) & 1;

	if (verb == 0 && workers[index] == NULL) {
		struct apus_worker_opts opts, *copy;

		APUS_INIT(&opts);
		opts.buffers.allocate = buffers_allocate;
		opts.buffers.release = buffers_release;
		opts.buffers.context = &buffers[index];
		opts.flow_capacity = 64;
		opts.held_capacity = 4;
		copy = (struct apus_worker_opts *)malloc(sizeof(opts));
		CHECK(copy != NULL);
		*copy = opts;
		checked(apus_worker_create(dataplane, copy, &workers[index]));
		free(copy);
	} else if (verb == 1 && workers[index] != NULL) {
		CHECK(checked(apus_worker_destroy(workers[index])) == 0);
		CHECK(buffers[index].count == 0);
		CHECK(apus_worker_process(workers[index], NULL, 0, NULL, 0, now) == APUS_ERR_STALE);
		stale_worker = workers[index];
		workers[index] = NULL;
	}
}

static void call_process(struct input *in, unsigned int kind)
{
	unsigned int index = kind & 1;
	struct apus_frame frames[4], sent[4 + 64];
	uint32_t count = 0;

	if (workers[index] == NULL)
		return;
	while (count < 1 + (kind >> 1 & 3) && in->left > 0) {
		uint32_t length = 34 + (take8(in) & 0x7f);
		struct apus_frame *frame = &frames[count++];

		*frame = frame_new(&buffers[index], in, port(in), length, APUS_HEADROOM);
		if (frame->data[12] & 1) { /* a customer's packet between the addresses of the policy */
			static const uint8_t head[6] = {0x00, 0x60, 0, 0, 0, 0};
			uint8_t *data = frame->data;

			memcpy(data, head, 5);
			memcpy(data + 6, head, 5);
			data[12] = 0x08;
			data[13] = 0;
			data[14] = 0x45;
			data[16] = 0;
			data[17] = (uint8_t)(length - 14);
			data[26] = data[30] = 0x0a;
			data[27] = data[31] = 0;
			data[28] &= 3;
			data[32] &= 3;
		}
	}
	now += 400000000u;
	int n = apus_worker_process(workers[index], frames, count, sent, count + 64, now);

	CHECK(n >= 0 && (uint32_t)n <= count + 64);
	for (int i = 0; i < n; i++) {
		check_output(&sent[i]);
		buffer_free(&buffers[index], sent[i].buffer);
	}
}

static void call_wrong(struct input *in)
{
	struct apus_dataplane *anything = (struct apus_dataplane *)(uintptr_t)((uint64_t)take32(in) << 32 | take32(in));
	struct apus_stats stats;

	APUS_INIT(&stats);
	CHECK(apus_transaction_begin(NULL) == APUS_ERR_NULL);
	CHECK(apus_transaction_begin(stale_dataplane) == APUS_ERR_STALE);
	if (anything != dataplane && anything != NULL)
		CHECK(apus_stats_get(anything, &stats) == APUS_ERR_STALE);
	CHECK(apus_worker_process((struct apus_worker *)dataplane, NULL, 0, NULL, 0, 0) == APUS_ERR_STALE);
	CHECK(apus_worker_process(stale_worker, NULL, 0, NULL, 0, 0) < 0);
	CHECK(apus_lookup_record_add(dataplane, NULL) == APUS_ERR_NULL);
	CHECK(apus_port_add(dataplane, NULL, NULL) == APUS_ERR_NULL);
	CHECK(apus_stats_get(dataplane, NULL) == APUS_ERR_NULL);
	CHECK(apus_dataplane_destroy(stale_dataplane) <= 0);
}

static void call_text(struct input *in)
{
	uint8_t length = take8(in) & 63;
	char *text = (char *)malloc(length + 1u), *out = (char *)malloc(APUS_TEXT_SIZE);
	struct apus_address read_address;
	struct apus_prefix read_prefix;
	struct apus_mac read_mac;
	struct apus_guid read_guid;

	CHECK(text != NULL && out != NULL);
	memset(text, 0, length + 1u);
	take_bytes(in, (uint8_t *)text, length);
	/* what is accepted is written in a form that is accepted */
	if (apus_address_parse(text, &read_address) == 0) {
		CHECK(apus_address_format(&read_address, out, APUS_TEXT_SIZE) > 0);
		CHECK(apus_address_parse(out, &read_address) == 0);
	}
	if (apus_prefix_parse(text, &read_prefix) == 0) {
		CHECK(apus_prefix_format(&read_prefix, out, APUS_TEXT_SIZE) > 0);
		CHECK(apus_prefix_parse(out, &read_prefix) == 0);
	}
	if (apus_mac_parse(text, &read_mac) == 0)
		CHECK(apus_mac_format(&read_mac, out, APUS_TEXT_SIZE) == 17);
	if (apus_guid_parse(text, &read_guid) == 0)
		CHECK(apus_guid_format(&read_guid, out, APUS_TEXT_SIZE) == 38);
	free(text);
	free(out);
}

static void call(struct input *in)
{
	uint8_t what = take8(in);

	if (what < 160) {
		call_object(in, what / 32, what & 3);
		return;
	}
	switch (what >> 2 & 7) {
	case 0:
	case 1:
		call_port(in, what & 3);
		break;
	case 2:
		call_worker(in, what & 1);
		break;
	case 3:
		call_process(in, take8(in));
		break;
	case 4:
		switch (what & 3) {
		case 0:
			checked(apus_transaction_begin(dataplane));
			break;
		case 1:
			checked(apus_transaction_commit(dataplane));
			break;
		case 2:
			checked(apus_transaction_abort(dataplane));
			break;
		default:
			checked(apus_dataplane_synchronize(dataplane));
		}
		break;
	case 5:
		call_iterate(in);
		break;
	case 6:
		if (what & 1)
			call_text(in);
		else
			call_wrong(in);
		break;
	default:
		credit = what & 1 ? take8(in) & 7 : 1 << 30;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = {bytes, size};
	struct apus_dataplane_opts opts;
	struct buffers both;

	if (size > 4096)
		return 0;
	memset(ports, 0, sizeof(ports));
	port_count = 0;
	now = 1;
	live = 0;
	credit = 1 << 30;
	APUS_INIT(&opts);
	opts.allocator.allocate = allocate;
	opts.allocator.release = release;
	opts.hash_key[0] = 1;
	opts.flags = take8(&in) & 15;
	CHECK(apus_dataplane_create(&opts, &dataplane) == 0);
	while (in.left > 0)
		call(&in);

	both.count = buffers[0].count + buffers[1].count;
	check_accounts(dataplane, &both);
	for (unsigned int i = 0; i < 2; i++) {
		CHECK(apus_worker_destroy(workers[i]) == 0);
		CHECK(buffers[i].count == 0);
		workers[i] = NULL;
	}
	both.count = 0;
	check_accounts(dataplane, &both);
	CHECK(apus_dataplane_destroy(dataplane) == 0);
	CHECK(live == 0);
	stale_dataplane = dataplane;
	return 0;
}
