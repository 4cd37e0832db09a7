/* history.h - who had which public ports, and until when: records that outlive what they tell of.
 *
 * Spec:      RFC 6302 (address, port, protocol and a second find the peer), RFC 6888 REQ-12 (where
 *            a peer went is not written down), RFC 7422 (one record a block of ports).
 * Record:    one for each time that a lease has a number, and one for each time that a peer has a
 *            block. Its id is that of the lease; a block has one that no lease has.
 * Threads:   puts and reads by the control thread, writes by the store's own; a read sees what is
 *            committed.
 * Invariant: a record that was closed does not change until it is deleted.
 */
#ifndef PORTIER_STORE_HISTORY_H
#define PORTIER_STORE_HISTORY_H

#include "store/store.h"

#define STORE_NAME_CHARS   32
#define STORE_REASON_CHARS 24
/* Rows that one read looks at, and rows that are deleted in one transaction. */
#define STORE_HISTORY_READ_MAX	 20000u
#define STORE_HISTORY_SLICE_ROWS 4096u
#define STORE_HISTORY_PORTS_MAX	 4096u /* of one record */

/* Who, and by which interface. */
struct store_actor {
	char by[STORE_WORD_CHARS];
	bool has_uid;
	uint32_t uid;
};

struct store_record {
	uint64_t id;
	struct ip_addr public_addr;
	uint16_t first_port, n_ports; /* a power of two, and the first a multiple of it */
	uint8_t protos;		      /* as LEASE_PROTO_*; 0: all, of a block */
	uint8_t peer_key[CRYPTO_KEY_BYTES];
	char peer_name[STORE_NAME_CHARS]; /* as it was then; may be empty */
	struct ip_addr inner_addr;	  /* none, of a block */
	uint16_t inner_port;		  /* likewise the first */
	char label[STORE_LABEL_CHARS];
	uint64_t opened_ns, closed_ns; /* TIME_NEVER: not closed */
	struct store_actor opened_by, closed_by;
	char reason[STORE_REASON_CHARS];
	/* Of a record that nobody closed, because the gateway died: it was open then; closed_ns is
	 * when that was found out. Else TIME_NEVER. */
	uint64_t known_ns;
};

/* --- changes, as those of store.h */

/* Open. One with this id that is there already stays. */
void store_record_open(struct store *s, const struct store_record *r);
/* Close the record with this id; if there is none, r becomes it, unless its n_ports is 0. */
void store_record_close(struct store *s, const struct store_record *r);

/* History is kept from now on. What is open and belongs to no stored lease is of an earlier run: it
 * is closed as of the moment at which that was stopped, or, if it was not, with known_ns. Puts of
 * this run come after. */
void store_history_begin(struct store *s, uint64_t now_ns);
/* Records are as things are now; those that were closed before before_ns may go, a slice at a time,
 * between commits. */
void store_history_alive(struct store *s, uint64_t now_ns, uint64_t before_ns);
/* This run ends: blocks and what is not stored end with it. */
void store_history_stop(struct store *s, uint64_t now_ns);
/* History is not kept any more: all of it goes, a slice at a time, and out of the file. */
void store_history_forget(struct store *s);

/* --- reading */

struct store_history_query {
	bool is_of_peer; /* else of a number */
	uint8_t peer_key[CRYPTO_KEY_BYTES];
	struct ip_addr public_addr;
	uint16_t port;
	uint8_t protos;		     /* 0: any */
	uint64_t since_ns, until_ns; /* had at any time from the one to before the other */
	uint64_t after_id;	     /* in the order of ids, which is that of opening */
	uint32_t limit;
};

/* When history began to be kept; 0: it is not. */
uint64_t store_history_since_ns(struct store *s);
/* Is there any record? */
bool store_history_is_empty(struct store *s);
/* Give the records that are asked for to fn, at most limit. *next_id: there may be more after this
 * one; 0: there is no more. 0; -EIO with the sentence. Blocks on the file; O(limit), or of
 * READ_MAX rows that are looked at. */
int store_history_read(struct store *s, const struct store_history_query *q,
	void (*fn)(void *arg, const struct store_record *r), void *arg, uint64_t *next_id,
	char fault[static STORE_FAULT_CHARS]);

#endif
