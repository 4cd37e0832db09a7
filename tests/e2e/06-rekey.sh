#!/usr/bin/env bash
# Keys are changed in the middle of transfers, with the gateway as initiator and as responder, and
# no byte is lost. The gateway's timers run about a hundred times as fast as the protocol's.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((100 * 1000 * 1000))}

make_keys
net_create
# A peer with an endpoint has its home from the start: the second one on worker 1.
CONF_PEERS="$(conf_absent_peer), $(conf_peer "endpoint = \"$CLIENT:51000\";")"
CONF_TIMERS='rekey_after = "1s"; reject_after = "4s"; rekey_attempt = "3s";
	rekey_timeout = "300ms"; keepalive = "500ms";'
gateway_conf
gateway_start
client_start
in_client wg set "$WG" listen-port 51000
client_serves 5001
lease_open --proto tcp --to-port 5001

step "the gateway begins, and asks for a new key every second"
before=$(counter installed)
transfer_both_ways "$N_BYTES"
# A flow that lives across several keys however fast this machine is.
hold_flow
eventually 20 "four more keys" counter_is_at_least installed $(($(counter installed) + 4))
eventually 5 "the flow lives on" held_is_beyond $(($(held_size) + 20))
kill -0 "$HOLD_PID" || fail "the flow broke during a change of keys"
stop_process "$HOLD_PID"
assert_at_least "the number of keys" "$(counter installed)" $((before + 4))
assert_at_least "initiations sent" "$(handshakes initiations_out)" 4
assert_at_least "responses accepted" "$(handshakes responses_in)" 4

step "the client begins, time and again"
before=$(handshakes initiations_in)
spawn internet "$TOOLS/transfer.py" get "$LEASE_ADDRESS" "$LEASE_PORT" "$N_BYTES"
for round in 1 2 3; do
	# A peer that is set up anew has no keys, and asks for some with its next packet.
	in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" remove
	in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" endpoint $ENTRY:51820 \
		allowed-ips 0.0.0.0/0,::/0
	in_client ping -n -q -c 1 -W 5 $GATEWAY_INNER >/dev/null || fail "round $round: no answer"
done
wait "$SPAWNED" || fail "the transfer broke"
assert_at_least "initiations accepted" "$(handshakes initiations_in)" $((before + 3))

finish
