#!/usr/bin/env bash
# All doors of a client are shut by one command, and a client that is barred opens none, by whatever
# it tries, until it is let in again; its neighbour notices nothing.
. "$(dirname "$0")/lib.sh"

command -v natpmpc >/dev/null || skip "natpmpc is not installed (./dpdk-setup.sh deps)"
make_keys
net_create
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_PEERS=$(conf_peer 'portmap = true; leases = ( { proto = "tcp";
	public_address = "198.51.100.5"; public_port = 20000; to_port = 5001; } );')
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/friend.pub")" --address $FRIEND_INNER,$FRIEND_INNER6 --name friend \
	--forwarding on >/dev/null
client_start
client_connect
friend_start
client_serves 5001
serve friend tcp "$TOOLS/transfer.py" serve $FRIEND_INNER 5001
reply=$(ctl --json lease open --peer friend --proto tcp --to-port 5001)
read -r FRIEND_ADDRESS FRIEND_PORT < <(field public_address public_port <<<"$reply")

# n_leases PEER
n_leases()
{
	ctl --json lease list --peer "$1" | field leases
}

# maps RESULT: what natpmpc asks for has this result; with 0 a port.
maps()
{
	local said

	said=$(in_client timeout 30 natpmpc -g $GATEWAY_INNER -a 0 5001 udp 3600 2>&1) || true
	if [[ $1 -eq 0 ]]; then
		grep -q '^Mapped public port' <<<"$said" || fail "natpmpc: $said"
	elif ! grep -qE "^readnatpmpresponseorretry returned -5[0-9]" <<<"$said" ||
		grep -q '^Mapped public port' <<<"$said"; then
		fail "natpmpc is not refused: $said"
	fi
}

friend_has_its_door()
{
	in_internet "$TOOLS/transfer.py" get "$FRIEND_ADDRESS" "$FRIEND_PORT" 10000
}

door_is_shut()
{
	assert_equal "the answer of a shut door" "$(LEASE_ADDRESS=198.51.100.5 LEASE_PORT=20000 \
		knock tcp)" "sent 1"
}

opens_all()
{
	maps 0
	lease_open --proto tcp --to-port 5002
	ctl lease open --peer client --to-address $INNER6 --to-port 5003 >/dev/null
}

step "all doors, and a pinhole, by one command"
opens_all
assert_equal "leases of the client" "$(n_leases client)" 4
LEASE_ADDRESS=198.51.100.5 LEASE_PORT=20000
must "a transfer" transfer get 100000
hold_flow
ctl lease close --peer client | grep -qx "4 leases of client closed" || fail "the answer"
size=$(held_size)
wait "$HOLD_PID" && fail "the flow ended well"
[[ $(held_size) -le $((size + 1)) ]] || fail "the flow lived on"
assert_equal "leases of the client" "$(n_leases client)" 0
door_is_shut
must "the neighbour's door" friend_has_its_door

step "that is no bar"
ctl reload >/dev/null
opens_all
assert_equal "leases of the client" "$(n_leases client)" 4
LEASE_ADDRESS=198.51.100.5 LEASE_PORT=20000
must "a transfer" transfer get 100000

step "barred, it opens none"
assert_equal "leases closed" "$(ctl --json peer bar client | field leases_closed)" 4

# Whatever it tries.
none_is_opened()
{
	door_is_shut
	maps 2
	ctl lease open --peer client --to-port 5002 2>"$RUN/said" && fail "the operator opened one"
	grep -qF "peer client is barred; let it have leases again with: portierctl peer unbar" \
		"$RUN/said" || fail "it says: $(<"$RUN/said")"
	# In every row of RFC 6887 that is NOT_AUTHORIZED.
	in_client "$TOOLS/portmap.py" refused $GATEWAY_INNER $INNER >/dev/null ||
		fail "portmap.py refused"
	assert_equal "leases of the client" "$(n_leases client)" 0
	assert_equal "is_barred" "$(peer_field client is_barred)" True
}
none_is_opened
in_client ping -n -q -c 3 -i 0.2 -w 20 $HOST >/dev/null || fail "its ordinary traffic is gone"
must "the neighbour's door" friend_has_its_door

step "a reload opens none, and says why"
CONF_PEERS=$(conf_peer 'portmap = true; max_leases = 9; leases = ( { proto = "tcp";
	public_address = "198.51.100.5"; public_port = 20000; to_port = 5001; },
	{ public_address = "198.51.100.5"; public_port = 20001; to_port = 5004; } );')
gateway_conf
ctl --json reload | field refused.0 | grep -q "peer client is barred" || fail "reload: the reason"
none_is_opened

step "kill -9 and a start open none"
gateway_kill
gateway_start
in_client ping -n -q -i 0.2 -w 40 -c 1 $GATEWAY_INNER >/dev/null || fail "no reconnection"
none_is_opened
grep -q "not opened: peer client is barred" "$RUN/gateway.log" || fail "the log does not say it"

step "let in again, it is as before"
ctl peer unbar client >/dev/null
ctl reload >/dev/null
opens_all
LEASE_ADDRESS=198.51.100.5 LEASE_PORT=20000
must "a transfer" transfer get 100000
assert_equal "leases of the client" "$(n_leases client)" 5
assert_equal "is_barred" "$(peer_field client is_barred)" False

finish
