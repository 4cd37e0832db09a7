#!/usr/bin/env bash
# Under a flood of handshakes from many addresses cookies go out, a running transfer does not stall,
# and a new real client gets in.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
(umask 077 && wg genkey >"$RUN/second.key")
CONF_PEERS="$(conf_peer), { name = \"second\"; address = \"100.64.0.3\";
	public_key = \"$(wg pubkey <"$RUN/second.key")\"; }"
CONF_TUNNEL='handshake_queue = 256;'
gateway_conf
gateway_start
ip_client address add 192.0.2.254/24 dev wan0
client_start
client_connect
client_serves 5001
lease_open --proto tcp --to-port 5001

step "the flood begins"
before=$(handshakes cookie_sent)
spawn client "$TOOLS/flood.py" wan0 192.0.2.254 $ENTRY 51820 "$(<"$RUN/gateway.pub")" 25 \
	>"$RUN/flood.log" 2>&1
flood=$SPAWNED
cookies_go_out()
{
	[[ $(handshakes cookie_sent) -gt $((before + 100)) ]]
}
eventually 10 "cookies go out" cookies_go_out

step "a flow goes on: each byte is back in time"
hold_flow
must "a transfer" transfer get 20000000

step "a second client gets in"
spawn client env WG_PROCESS_FOREGROUND=1 wireguard-go wg1 >>"$RUN/client.log" 2>&1
eventually 10 "wireguard-go is up" in_client wg show wg1
in_client wg set wg1 private-key "$RUN/second.key" peer "$(<"$RUN/gateway.pub")" \
	endpoint $ENTRY:51820 allowed-ips $GATEWAY_INNER/32
ip_client address add 100.64.0.3/32 dev wg1
ip_client link set wg1 mtu 1420 up
second_is_in()
{
	in_client ping -n -q -c 1 -W 1 -I wg1 "$GATEWAY_INNER"
}
eventually 30 "the second client is connected" second_is_in
kill -0 "$flood" || fail "the flood was over by then"
kill -0 "$HOLD_PID" || fail "the flow broke: $(<"$RUN/hold.log")"
stop_process "$HOLD_PID"

wait "$flood" || fail "the flood: $(<"$RUN/flood.log")"
cat "$RUN/flood.log"
awk '/^sent/ { exit !($4 > 0 && $6 == 0) }' "$RUN/flood.log" ||
	fail "cookies did not arrive, or a handshake was answered"

finish
