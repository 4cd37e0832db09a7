#!/usr/bin/env bash
# The client gets another address and another port in the middle of a transfer, and goes on.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((100 * 1000 * 1000))}
readonly ELSEWHERE=192.0.2.77 OTHER_PORT=41414

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto tcp --to-port 5001

client_moved_bytes()
{
	in_client wg show "$WG" transfer | awk '{ print $2 + $3 }'
}

moved_beyond()
{
	[[ $(client_moved_bytes) -gt $1 ]]
}

# roam VERB ADDRESS PORT
roam()
{
	local begin

	step "$1: the client moves to $2 port $3"
	begin=$(client_moved_bytes)
	spawn internet "$TOOLS/transfer.py" "$1" "$LEASE_ADDRESS" "$LEASE_PORT" "$N_BYTES"
	eventually 20 "the transfer runs" moved_beyond $((begin + N_BYTES / 10))
	ip_client address flush dev wan0 scope global
	ip_client address add "$2/24" dev wan0
	in_client wg set "$WG" listen-port "$3"
	kill -0 "$SPAWNED" || fail "the transfer was over before the client had moved"
	wait "$SPAWNED" || fail "the transfer did not survive"
	assert_equal "the endpoint that the gateway knows" "$(peer_field client endpoint)" "$2:$3"
}

# A client that only receives has nothing to say from its new place, but for keepalives.
in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" persistent-keepalive 2
before=$(counter roamed)
roam get $ELSEWHERE $OTHER_PORT
roam put $CLIENT 51414
assert_at_least "the number of moves" "$(counter roamed)" $((before + 2))

finish
