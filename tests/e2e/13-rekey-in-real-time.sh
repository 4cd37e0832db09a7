#!/usr/bin/env bash
# The client changes keys after 120 s of real time, in the middle of a flow that loses no byte.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto both --to-port 5001

installed=$(counter installed)
first=$(client_handshake_time)
hold_flow
spawn internet "$TOOLS/echo.py" stream "$LEASE_ADDRESS" "$LEASE_PORT" 130 >"$RUN/stream.log" 2>&1
stream=$SPAWNED

# overflows WHO: datagrams for which a socket of WHO had no room.
overflows()
{
	"in_$1" cat /proc/net/snmp | awk '$1 == "Udp:" && $2 ~ /^[0-9]/ { print $6 }'
}

has_new_key()
{
	[[ $(client_handshake_time) -gt $first ]]
}

step "120 s pass"
eventually 140 "the client changes keys" has_new_key
assert_at_least "the age of the first key" $(($(client_handshake_time) - first)) 119
eventually 10 "the flow goes on" held_is_beyond $(($(held_size) + 50))
kill -0 "$HOLD_PID" || fail "the flow broke: $(<"$RUN/hold.log")"
stop_process "$HOLD_PID"
wait "$stream" || fail "the stream failed: $(<"$RUN/stream.log")"
for reason in wg_unknown_index wg_key_expired wg_bad_tag wg_replayed peer_unreachable tx_full; do
	assert_equal "packets dropped as $reason" "$(drop $reason)" 0
done
read -r _ sent _ lost <"$RUN/stream.log"
# Beside other work a far end may be late to read; what its sockets had no room for is no loss of
# the gateway's.
[[ $lost -le $(($(overflows client) + $(overflows internet))) ]] ||
	fail "of $sent packets $lost were lost"
assert_at_least "keypairs installed" "$(counter installed)" $((installed + 1))

finish
