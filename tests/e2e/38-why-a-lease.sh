#!/usr/bin/env bash
# portierctl why LEASE: whatever is wrong with a lease is told in a sentence, by what a real client
# and a real server did: not there, does not listen, not from there, too fast, too big, closed.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
net_add_ipv6
CONF_PEERS="$(conf_peer), $(conf_absent_peer)"
CONF_TIMERS='rekey_after = "2s"; reject_after = "4s"; rekey_attempt = "2s";
	rekey_timeout = "300ms"; keepalive = "500ms";'
CONF_LEASES='reserve = "0s";'
gateway_conf
gateway_start
client_start
client_connect

# failure REASON MEMBER: of the current lease; nothing when it did not happen.
failure()
{
	ctl --json why "$LEASE_ID" | python3 -c '
import json, sys
print(*(f[sys.argv[2]] for f in json.load(sys.stdin)["failures"] if f["reason"] == sys.argv[1]))
' "$1" "$2"
}

has_failed()
{
	[[ $(failure "$1" n) -ge $2 ]]
}

# verdict_says LEASE WORDS: in the last line for people.
verdict_says()
{
	ctl why "$1" | tail -n 1 | grep -qF -- "$2"
}

# is_told WORDS: of the current lease, by its id, and by its address and port.
is_told()
{
	eventually 10 "'$1' (it is: $(ctl why "$LEASE_ID"))" verdict_says "$LEASE_ID" "$1"
	[[ $LEASE_ADDRESS == *:* ]] ||
		must "by address" verdict_says "$LEASE_ADDRESS:$LEASE_PORT" "$1"
}

for target in $INNER $INNER6; do
	step "a server that listens, to $target"
	lease_open --proto tcp --to-port 5001 --to-address "$target"
	is_told "nothing has come by it yet"
	serve client tcp "$TOOLS/transfer.py" serve "$target" 5001
	server=$SPAWNED
	must "a connection" transfer once
	is_told "is open and its peer answers; it was last used"
	assert_equal "failures" "$(ctl --json why "$LEASE_ID" | field failures)" 0

	step "and one that was stopped, to $target"
	stop_process "$server"
	transfer once 2>/dev/null && fail "who answered?"
	is_told "the program on the peer's TCP port 5001 does not listen: 1 connection was refused"
	transfer once 2>/dev/null && fail "who answered?"
	is_told "2 connections were refused"
	ctl lease show "$LEASE_ID" | grep -q '^no_listener_tcp *2 ' ||
		fail "lease show does not say it"
	ctl lease close "$LEASE_ID" >/dev/null

	step "datagrams that nobody waits for, to $target"
	lease_open --proto udp --to-port 5002 --to-address "$target"
	in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" 1 >/dev/null
	is_told "the program on the peer's UDP port 5002 does not listen: "
	ctl lease close "$LEASE_ID" >/dev/null
done

step "a source that is not admitted"
lease_open --proto tcp --to-port 5001 --from 192.0.2.0/24
transfer once 2>/dev/null && fail "it was let in"
is_told "the lease admits 192.0.2.0/24 (--from)"
ctl lease close "$LEASE_ID" >/dev/null

step "more packets, and more new flows, than it takes"
serve client udp "$TOOLS/echo.py" serve $INNER 5001
lease_open --proto udp --to-port 5001 --max-pps 10
in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" 200 >/dev/null
is_told "faster than the 10 a second that the lease takes"
ctl lease close "$LEASE_ID" >/dev/null
lease_open --proto udp --to-port 5001 --max-new-flows 5
in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" 200 >/dev/null
is_told "faster than the 5 a second that the lease takes"
ctl lease close "$LEASE_ID" >/dev/null

step "a packet that is too big and must not be cut"
lease_open --proto udp --to-port 5001
in_internet python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: DF, whatever is known
s.sendto(bytes(1460), (sys.argv[1], int(sys.argv[2])))
' "$LEASE_ADDRESS" "$LEASE_PORT"
is_told "1 packet was larger than the tunnel takes"
ctl lease close "$LEASE_ID" >/dev/null

step "a number between two owners"
ctl why "$LEASE_ADDRESS:$LEASE_PORT" | tail -n 1 | grep -q 'quarantine between two owners' ||
	fail "$(ctl why "$LEASE_ADDRESS:$LEASE_PORT")"
in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" 1 >/dev/null
knocked()
{
	ctl why "$LEASE_ADDRESS:$LEASE_PORT/udp" | grep -q " no_lease *udp "
}
eventually 10 "who still knocks" knocked
ctl why "$LEASE_ID" >"$RUN/said" 2>&1 && fail "it is closed"
grep -q "lease $LEASE_ID" "$RUN/said" || fail "$(<"$RUN/said")"

step "a peer that was never there"
ctl peer set absent --forwarding on >/dev/null
ctl --json lease open --peer absent --to-port 9 >"$RUN/absent"
read -r id <<<"$(field id <"$RUN/absent")"
ctl why "$id" | tail -n 1 | grep -q 'absent has never connected' || fail "$(ctl why "$id")"

step "a peer that is gone"
lease_open --proto tcp --to-port 5001
spawn gateway "$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock" events --only lease \
	>"$RUN/events.log" 2>&1
told()
{
	grep -q -- "  $1 .*lease $LEASE_ID of client" "$RUN/events.log"
}
is_listened()
{
	ctl lease renew "$LEASE_ID" >/dev/null && told lease.renewed
}
eventually 10 "somebody listens" is_listened
stop_process "$WIREGUARD_PID"
lost()
{
	knock tcp >/dev/null
	has_failed peer_unreachable 1
}
eventually 30 "packets are lost" lost
is_told "peer client has not answered for "
ctl why "$LEASE_ID" | grep -q '^peer .*unreachable since ' || fail "$(ctl why "$LEASE_ID")"
ctl why "$LEASE_ID" | grep -q '^state *suspended for ' || fail "$(ctl why "$LEASE_ID")"
eventually 10 "an event" told lease.suspended
told lease.resumed && fail "it is resumed, and nobody is there"

step "and back"
client_start
client_connect
answers()
{
	! ctl why "$LEASE_ID" | tail -n 1 | grep -q 'not answer'
}
eventually 20 "what was lost is no reason any more" answers
must "it is listed all the same" has_failed peer_unreachable 1
eventually 10 "an event" told lease.resumed

finish
