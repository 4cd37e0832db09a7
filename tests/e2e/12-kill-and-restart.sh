#!/usr/bin/env bash
# After kill -9 the gateway comes up again with what the configuration says, and its clients with
# it.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
CONF_PEERS=$(conf_peer 'leases = ( { proto = "tcp"; public_address = "198.51.100.5";
	public_port = 20000; to_port = 5001; label = "web"; } );')
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001

door_works()
{
	in_internet "$TOOLS/transfer.py" get 198.51.100.5 20000 100000
}

must "a transfer" door_works
lease_open --proto tcp --to-port 5002
ctl lease show "$LEASE_ID" >/dev/null || fail "the second lease is not there"

for round in 1 2; do
	step "kill -9 and start, round $round"
	kill -KILL "$GATEWAY_PID"
	eventually 10 "the gateway is gone" gateway_is_gone
	wait "$GATEWAY_PID" 2>/dev/null || true
	[[ -S $RUN/control.sock ]] || fail "this was no crash: the socket is gone"
	gateway_start
	assert_equal "the number of leases" "$(ctl --json lease list | field leases)" 1
	assert_equal "the number of peers" "$(ctl --json peer list | field peers)" 1
	# The client finds out that its session is dead when nothing has come back for 15 s;
	# meanwhile its packets name keypairs that nobody has.
	in_client ping -n -q -i 0.2 -w 40 -c 1 $GATEWAY_INNER >/dev/null || fail "no reconnection"
	must "a transfer" door_works
done

finish
