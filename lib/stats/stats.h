/* stats.h - per-worker counters, the one list of reasons to drop, and what is promised.
 *
 * Threads:   each struct stats_worker has one writer, its worker; control reads by summing (a read
 *            may be one burst old; words never tear on 64-bit machines).
 * Invariant: on every worker, when no packet is inside it:
 *            received + handed_in ==
 *            forwarded + consumed + dropped + handed_out + holding.
 *            Packets that the gateway makes itself (handshakes, keepalives, answers, neighbour
 *            requests) are originated, not received:
 *            originated == originated_sent + originated_lost.
 */
#ifndef PORTIER_STATS_H
#define PORTIER_STATS_H

#include <stdint.h>

/* X(name, help): name is the word used by `portierctl drops`, metrics and logs. */
#define STATS_DROP_REASONS(X)                                                                    \
	X(rx_segmented, "frame in more than one buffer")                                         \
	X(rx_truncated, "frame shorter than its headers say")                                    \
	X(not_for_us, "destination Ethernet or IP address is not the gateway's")                 \
	X(link_group, "Ethernet broadcast or multicast of no use to the gateway")                \
	X(unknown_ethertype, "neither IPv4, IPv6 nor ARP")                                       \
	X(bad_ip_header, "IP header malformed or its checksum wrong")                            \
	X(martian_source, "source address cannot be a host's")                                   \
	X(martian_destination, "destination address cannot be a host's")                         \
	X(own_source, "source address is one of the gateway's own")                              \
	X(fragment, "fragment to an address of the gateway itself")                              \
	X(fragment_protocol, "fragment of a protocol that has no ports")                         \
	X(fragment_tiny, "first fragment without a whole header, or one that hides it")          \
	X(fragment_overlap, "fragments of one datagram overlap, or one comes twice")             \
	X(fragment_quota, "too many unfinished datagrams of one sender, or in all")              \
	X(fragment_expired, "the first fragment of the datagram did not come in time")           \
	X(entry_closed, "to one of the gateway's own addresses, but neither WireGuard nor ping") \
	X(wg_malformed, "to the WireGuard port, but no WireGuard message")                       \
	X(wg_unknown_index, "receiver index names no keypair")                                   \
	X(wg_key_expired, "keypair too old or used up")                                          \
	X(wg_bad_tag, "authentication failed")                                                   \
	X(wg_replayed, "counter seen before or behind the window")                               \
	X(handshake_queue_full, "handshake thread is behind")                                    \
	X(inner_malformed, "decrypted packet is not a sound IP packet")                          \
	X(inner_source, "inner source address is not the peer's")                                \
	X(inner_no_service, "to the gateway's inner address, but no such service")               \
	X(portmap_rate, "more NAT-PMP and PCP requests than a peer may send")                    \
	X(portmap_outside, "NAT-PMP or PCP request to a public or entry address")                \
	X(inner_to_peer, "to another peer's inner address")                                      \
	X(inner_protocol, "from a peer, of a protocol that is not translated")                   \
	X(inner_to_self, "from a peer to an entry or public address of the gateway")             \
	X(nat_blocked, "to a destination port that peers may not use")                           \
	X(nat_no_beginning, "TCP without a session that does not begin one")                     \
	X(nat_no_port, "the peer may have no further public port, or none is free")              \
	X(nat_too_many, "the peer has as many sessions as it may")                               \
	X(nat_too_fast, "the peer begins sessions faster than it may")                           \
	X(nat_table_full, "the worker has no room for a session")                                \
	X(ttl_expired, "TTL or hop limit ended here")                                            \
	X(no_lease, "to a public address, but no lease is open there and the port is nobody's")  \
	X(no_session, "to a peer, but nothing it sent asks for it: its filter says no")          \
	X(icmp_error_stray, "ICMP error about nothing that a lease or session sent")             \
	X(bad_icmp_checksum, "ICMP checksum wrong")                                              \
	X(lease_source, "source is not one the lease admits")                                    \
	X(lease_rate, "more packets than the lease takes in a second")                           \
	X(lease_flows, "more new flows than the lease takes in a second")                        \
	X(lease_closed, "lease ended while the packet was on its way between workers")           \
	X(peer_gone, "peer was deleted")                                                         \
	X(peer_unreachable, "peer has no endpoint to send to")                                   \
	X(peer_hold_full, "peer has no session yet and enough packets wait for it")              \
	X(peer_hold_expired, "handshake with the peer did not complete in time")                 \
	X(too_big, "packet exceeds the MTU of the tunnel or port")                               \
	X(neigh_queue_full, "too many packets wait for a neighbour")                             \
	X(neigh_unreachable, "destination is not on a link and there is no gateway")             \
	X(handover_full, "the owning worker's ring is full")                                     \
	X(punt_full, "control thread is behind")                                                 \
	X(portmap_full, "NAT-PMP or PCP request, and the control thread is behind")              \
	X(ping_disabled, "ping is not answered on this port")                                    \
	X(tx_full, "port did not take the packet")                                               \
	X(no_memory, "no buffer was free")                                                       \
	X(internal, "a state that should not exist")

enum stats_drop {
#define X(name, help) STATS_DROP_##name,
	STATS_DROP_REASONS(X)
#undef X
		STATS_N_DROPS
};

/* X(name, help): what a worker counts apart from drops. */
#define STATS_COUNTERS(X)                                                                          \
	X(received, "packets from ports")                                                          \
	X(received_bytes, "bytes from ports")                                                      \
	X(forwarded, "packets sent on to a port")                                                  \
	X(forwarded_bytes, "bytes sent on to a port")                                              \
	X(consumed, "ended here as meant: handshakes, keepalives, ARP, ping, frames that control " \
		    "resolves")                                                                    \
	X(handed_in, "packets from other workers")                                                 \
	X(handed_out, "packets to other workers")                                                  \
	X(originated, "packets that the gateway made")                                             \
	X(originated_sent, "of these, sent")                                                       \
	X(originated_lost, "of these, not sent")                                                   \
	X(recognised_data, "classify: WireGuard data messages")                                    \
	X(recognised_public, "classify: packets to the public pool")                               \
	X(opened, "open: data messages whose tag verified")                                        \
	X(fresh, "replay: of these, not seen before")                                              \
	X(admitted, "inner: of these, packets for the Internet with the peer's own source")        \
	X(translated_out, "snat: of these, sent out by a lease or session")                        \
	X(door_found, "door: packets to an open lease")                                            \
	X(port_found, "door: packets to a port that a peer has for its sessions")                  \
	X(lease_flows, "new flows that were seen at leases")                                       \
	X(lease_unseen, "looks at a lease that there was no room to keep")                         \
	X(translated_in, "dnat: of these, led to the peer")                                        \
	X(routed_out, "IPv6 packets of peers, sent out")                                           \
	X(routed_in, "IPv6 packets led to a peer")                                                 \
	X(hairpinned, "packets of peers to a public address, in again by another door")            \
	X(errors_translated, "ICMP errors translated, either way")                                 \
	X(errors_sent, "ICMP errors that the gateway made")                                        \
	X(fragments_cut, "pieces that too large packets were cut into")                            \
	X(sealed, "seal: data messages sealed")                                                    \
	X(keepalives_in, "keepalives received")                                                    \
	X(keepalives_out, "keepalives sent")                                                       \
	X(handshakes_in, "handshake messages passed to the handshake thread")                      \
	X(installed, "keypairs installed")                                                         \
	X(roamed, "endpoint changes by authenticated packets")                                     \
	X(holding, "packets that wait now, for a handshake or a first fragment")                   \
	X(turns, "turns of the loop")                                                              \
	X(busy_turns, "turns that found work")                                                     \
	X(sleeps, "sleeps while idle")

enum stats_counter {
#define X(name, help) STATS_##name,
	STATS_COUNTERS(X)
#undef X
		STATS_N_COUNTERS
};

struct stats_worker {
	uint64_t counter[STATS_N_COUNTERS];
	uint64_t drop[STATS_N_DROPS];
} __attribute__((aligned(64)));

/* X(name, help): the handshake thread. */
#define STATS_HANDSHAKE_COUNTERS(X)                                             \
	X(received, "messages taken from workers")                              \
	X(bad_mac1, "MAC1 wrong")                                               \
	X(cookie_sent, "cookie replies sent: under load and MAC2 missing")      \
	X(rate_limited, "refused by the per-source limiter under load")         \
	X(rejected, "did not verify")                                           \
	X(unknown_peer, "sound, but of no configured peer")                     \
	X(replayed, "timestamp not greater than the last")                      \
	X(flooded, "over 50 initiations a second of one peer")                  \
	X(initiations_in, "initiations accepted")                               \
	X(responses_in, "responses accepted")                                   \
	X(cookies_in, "cookie replies accepted")                                \
	X(initiations_out, "initiations sent")                                  \
	X(responses_out, "responses sent")                                      \
	X(gave_up, "series of initiations without an answer")                   \
	X(no_slot, "no keypair slot was free")                                  \
	X(lost, "messages not sent: a worker's queue or the buffers were full") \
	X(under_load, "turns under load")

enum stats_handshake_counter {
#define X(name, help) STATS_HANDSHAKE_##name,
	STATS_HANDSHAKE_COUNTERS(X)
#undef X
		STATS_N_HANDSHAKE_COUNTERS
};

struct stats_handshake {
	uint64_t counter[STATS_N_HANDSHAKE_COUNTERS];
} __attribute__((aligned(64)));

/* X(name, help): what those who have leases are promised, as it would be broken. Control counts
 * each where the promise is made, and each is to stay 0. */
#define STATS_PROMISES(X)                                                                     \
	X(port_moved, "renewals after which the public address or port was another")          \
	X(told_too_early, "answers that a door is open, while workers did not find it")       \
	X(address_differs, "leases at an address that is not the egress address of the peer") \
	X(unanswered, "NAT-PMP and PCP requests without an answer")                           \
	X(untold, "losses and changes of address that could not be told to the peer")

enum stats_promise {
#define X(name, help) STATS_PROMISE_##name,
	STATS_PROMISES(X)
#undef X
		STATS_N_PROMISES
};

/* The words of the lists; idx in range. */
const char *stats_drop_name(unsigned idx);
const char *stats_drop_help(unsigned idx);
const char *stats_counter_name(unsigned idx);
const char *stats_counter_help(unsigned idx);
const char *stats_handshake_name(unsigned idx);
const char *stats_handshake_help(unsigned idx);
const char *stats_promise_name(unsigned idx);
const char *stats_promise_help(unsigned idx);

static inline uint64_t stats_dropped(const struct stats_worker *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		sum += s->drop[i];
	return sum;
}

#endif
