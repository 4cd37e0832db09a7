#!/usr/bin/env bash
# A SYN for a peer whose keys have expired, or that was never heard of but has a configured
# endpoint, starts the handshake and is delivered when it is done. While the peer does not answer,
# its lease is suspended; no lease is for mere silence.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
# A peer with an endpoint has its home from the start: the second one on worker 1.
CONF_PEERS="$(conf_absent_peer), $(conf_peer "endpoint = \"$CLIENT:51000\";")"
CONF_TIMERS='rekey_after = "1s"; reject_after = "2s"; rekey_attempt = "3s";
	rekey_timeout = "300ms"; keepalive = "500ms";'
gateway_conf
gateway_start
CLIENT_ENDPOINT=
client_start
in_client wg set "$WG" listen-port 51000
client_serves 5001

# keys_are_older_than SECONDS: by the gateway's own clock.
keys_are_older_than()
{
	local age

	age=$(peer_field client last_handshake_age_s)
	[[ ${age%.*} -ge $1 ]]
}

lease_state()
{
	ctl --json lease show "$LEASE_ID" | field state
}

step "a peer that was never heard of"
[[ $(client_handshake_time) -eq 0 ]] || fail "the client was not silent"
lease_open --proto both --to-port 5001
must "the first connection" transfer once
assert_at_least "initiations sent" "$(handshakes initiations_out)" 1

step "a peer whose keys have expired"
before=$(handshakes responses_in)
eventually 20 "the keys are old" keys_are_older_than 3
must "a connection" transfer once
assert_at_least "responses accepted" "$(handshakes responses_in)" $((before + 1))

step "a few datagrams wait together"
eventually 20 "the keys are old" keys_are_older_than 3
must "datagrams" datagrams burst 6

step "a peer that does not answer"
stop_process "$WIREGUARD_PID"
before=$(drop peer_hold_expired)
eventually 20 "the keys are old" keys_are_older_than 3
assert_equal "the state of the lease" "$(lease_state)" active
knock udp >/dev/null
eventually 20 "what waited is given up" drop_is_at_least peer_hold_expired $((before + 1))
assert_equal "the state of the lease" "$(lease_state)" suspended
ctl lease list | grep -q suspended || fail "lease list does not say so"

step "and one that is back"
client_start
in_client wg set "$WG" listen-port 51000
# Its old timestamps are forgotten; the gateway's hold, and go by the same clock.
must "a connection" transfer once
assert_equal "the state of the lease" "$(lease_state)" active

finish
