/* classify_fuzz.c - any frame, on either port, and any plaintext from a peer, through the whole
 * path: every packet ends somewhere and is counted once, and only authentic bytes move an endpoint
 * or a replay window.
 */
#include "../unit/eal.h"
#include "../unit/path_rig.h"

#include <stdlib.h>

/* The first byte says how the rest is taken. */
#define INPUT_PUBLIC (1u << 0) /* by the public port, else by the tunnel port */
#define INPUT_INNER  (1u << 1) /* sealed by the peer, as it is */
#define INPUT_MAC    (1u << 2) /* with the port's own address in front */
#define INPUT_MEND   (1u << 3) /* with a sound IPv4 header checksum */
#define INPUT_LATER  (1u << 4) /* and the timers have their turn */

static struct rig *rig;
static struct rig_client *client;

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Every buffer must have come back. */
static void tear_down(void)
{
	rig_destroy(rig);
}

/* Once: two workers, so that frames are handed over; one tx queue, so that they come back. */
static void set_up(void)
{
	/* The rig's own assertions end in a signal, which tells the input. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	eal_start();
	rig = rig_create(&(struct rig_params){.n_workers = 2});
	client = rig_client_add(rig, 0, 1);
	rig_client_connect(rig, client);
	atexit(tear_down);
}

static void mend(uint8_t *ip, size_t len)
{
	size_t header_len = (ip[0] & 0xfu) * 4u;

	if (len >= 20 && ip[0] >> 4 == 4 && header_len >= 20 && header_len <= len)
		packet_mend(ip);
}

static void take_inner(const uint8_t *data, size_t size, unsigned how)
{
	uint8_t inner[1500] = {0};
	struct frame f;

	size = RTE_MIN(size, sizeof(inner));
	if (size)
		memcpy(inner, data, size);
	if (how & INPUT_MEND)
		mend(inner, size);
	rig_client_frame(rig, client, &f, inner, size);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
}

static void take_frame(const uint8_t *data, size_t size, unsigned how)
{
	unsigned port = how & INPUT_PUBLIC ? RIG_PUBLIC : RIG_TUNNEL;
	struct noise_replay replay = client->keypair->replay;
	struct peer_path path = rig_hot(rig, client)->path;
	struct frame f = {.len = RTE_MIN(size, (size_t)1900)};

	if (f.len)
		memcpy(f.bytes, data, f.len);
	if (how & INPUT_MAC && f.len >= FRAME_ETHER)
		memcpy(f.bytes, &rig->ports[port].mac, 6);
	if (how & INPUT_MEND && f.len > FRAME_ETHER)
		mend(f.bytes + FRAME_ETHER, f.len - FRAME_ETHER);
	rig_rx(rig, port, 0, &f);
	rig_settle(rig);
	require(memcmp(&path, &rig_hot(rig, client)->path, sizeof(path)) == 0);
	require(memcmp(&replay, &client->keypair->replay, sizeof(replay)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t n_received;

	if (!rig)
		set_up();
	if (size == 0)
		return 0;
	n_received = rig_counter(rig, STATS_received);
	if (data[0] & INPUT_INNER)
		take_inner(data + 1, size - 1, data[0]);
	else
		take_frame(data + 1, size - 1, data[0]);
	require(rig_counter(rig, STATS_received) == n_received + 1);
	if (data[0] & INPUT_LATER) {
		rig_now_ns += 100 * NS_IN_MS;
		rig_settle(rig);
	}
	rig_tx_discard(rig);
	/* Keys end with time and are made anew. */
	if (!client->keypair->is_live || rig_now_ns > client->keypair->created_ns + 100 * NS_IN_S)
		rig_client_connect(rig, client);
	return 0;
}
