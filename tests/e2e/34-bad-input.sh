#!/usr/bin/env bash
# Bad input: garbage, half lines, a line of 100 MB, 1,000 idle clients and clients that never read
# do no harm to the control socket, to memory, or to packets that flow meanwhile.
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
hold_flow

resident_kb()
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$GATEWAY_PID/status"
}

health_is_ok()
{
	[[ $(ctl --json health | field health) == ok ]]
}

at_rest=$(resident_kb)
for kind in garbage halves longline idle deaf; do
	step "$kind, and packets flow meanwhile"
	before=$(held_size)
	"$TOOLS/abuse.py" $kind "$RUN/control.sock" &
	abuser=$!
	rounds=0
	while kill -0 $abuser 2>/dev/null; do
		must "echo" datagrams sizes 0 10
		((rounds += 1))
	done
	wait $abuser || fail "$kind"
	assert_at_least "rounds of datagrams" $rounds 1
	assert_at_least "bytes of the flow that was held" "$(held_size)" $((before + 1))
	eventually 5 "the flow goes on" held_is_beyond "$(held_size)"
	# 20 deaf clients may have 1 MiB of replies each, and as much in one reply.
	[[ $(resident_kb) -lt $((at_rest + 65536)) ]] ||
		fail "memory grew from $at_rest kB to $(resident_kb) kB"
	eventually 5 "health is ok" health_is_ok
done
kill "$HOLD_PID"

step "the socket of the WireGuard tools bears it too"
for _ in 1 2 3; do
	head -c 1000000 /dev/urandom | timeout 10 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/var/run/wireguard/portier0.sock")
try:
    s.sendall(sys.stdin.buffer.read())
except OSError:
    pass' || fail "it hangs"
done
wg show portier0 >/dev/null || fail "wg does not get an answer"
must "echo" datagrams sizes 0 10

finish
