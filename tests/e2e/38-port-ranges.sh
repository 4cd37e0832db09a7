#!/usr/bin/env bash
# A lease of several ports: one lease, whose ports lead to as many ports of the client in their
# order, in and out, over a restart, until it is closed; then all of them rest for their owner.
. "$(dirname "$0")/lib.sh"

readonly TO=7001 N=8

make_keys
net_create
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_LEASES="max_per_peer = 20;"
CONF_PEERS=$(conf_peer 'leases = ( { public_address = "198.51.100.5"; public_port = 20000;
	to_port = 6001; ports = 4; } );')
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/friend.pub")" --name friend --address $FRIEND_INNER \
	--forwarding on >/dev/null
client_start
client_connect
ghost_appears

# refused WORD COMMAND...: with one sentence that has WORD in it.
refused()
{
	local word=$1 said

	shift
	said=$("$@" 2>&1) && fail "$* was not refused: $said"
	grep -qF -- "$word" <<<"$said" || fail "'$word' is missing in: $said"
}

# serves PORT: TCP and UDP, at the client.
serves()
{
	serve client "tcp$1" "$TOOLS/transfer.py" serve $INNER "$1"
	serve client "udp$1" "$TOOLS/echo.py" serve $INNER "$1"
}

# works AT: the range's port of that number, by both protocols.
works()
{
	local LEASE_PORT=$((FIRST + $1))

	must "TCP to port $1 of the range" transfer once
	must "UDP to port $1 of the range" datagrams sizes 0 100 50
}

lease_of_the_range()
{
	ctl --json lease show "$LEASE_ID" | field public_port to_port ports
}

step "what can not be a range is told why"
refused "1, 2, 4 and so on to 1024" ctl lease open --peer client --to-port $TO --ports 6
refused "as 20008" ctl lease open --peer client --to-port $TO --ports 8 --public-port 20012
refused "1 to 65528" ctl lease open --peer client --to-port 65530 --ports 8
refused "counts as its 32 ports" ctl lease open --peer client --to-port $TO --ports 32
refused "leads to ports 6001-6004 already" ctl lease open --peer client --to-port 6004

step "a range is one lease"
lease_open --to-port $TO --ports $N
FIRST=$LEASE_PORT
assert_equal "the first port's rest" $((FIRST % N)) 0
assert_equal "leases and their ports" "$(ctl --json peer show client | field leases lease_ports)" \
	"2 12"
ctl lease list | grep -qF "$LEASE_ADDRESS:$FIRST-$((FIRST + N - 1))" || fail "the list has no range"

step "each of its ports leads to its own"
for at in 0 3 7; do
	serves $((TO + at))
	works $at
done
counters=$(ctl --json lease show "$LEASE_ID" | field counters.in_pkts)
assert_at_least "packets in, of all ports together" "$counters" 15

step "what the client sends from there leaves by the port that leads there"
for at in 1 6; do
	goes_out udp $((TO + at)) $GHOST 9
	assert_equal "the source" "$PUBLIC:$PUBLIC_PORT" "$LEASE_ADDRESS:$((FIRST + at))"
done

step "its neighbours are shut, and why knows"
is_dropped no_lease in udp $GHOST 4000 "$LEASE_ADDRESS" $((FIRST + N))
ctl why in udp $GHOST:4000 "$LEASE_ADDRESS:$((FIRST + 2))" >"$RUN/why.txt" || true
grep -qF "$INNER:$((TO + 2))" "$RUN/why.txt" || fail "why says: $(<"$RUN/why.txt")"

step "the range of the configuration works as well"
serves 6003
LEASE_ADDRESS=198.51.100.5 FIRST=20000 works 2

step "after kill -9 it is there again"
gateway_kill
gateway_start
client_connect
assert_equal "the range" "$(lease_of_the_range)" "$FIRST $TO $N"
works 3
works 7

step "closed, all of it is shut, and rests for its owner"
ctl lease close "$LEASE_ID" >/dev/null
is_dropped no_lease in udp $GHOST 4000 "$LEASE_ADDRESS" $((FIRST + 5))
assert_equal "what is kept" "$(ctl --json lease reserved | field reserved.0.public_port \
	reserved.0.ports)" "$FIRST $N"
refused "public port $((FIRST + 5)) was another's" ctl lease open --peer friend --to-port 1 \
	--public-address "$LEASE_ADDRESS" --public-port $((FIRST + 5))
refused "public port $((FIRST + 4)) was another's" ctl lease open --peer friend --to-port 1 \
	--public-address "$LEASE_ADDRESS" --public-port $((FIRST + 4)) --ports 2
lease_open --to-port $TO --ports $N
assert_equal "what its owner gets" "$LEASE_PORT" "$FIRST"
works 7

finish
