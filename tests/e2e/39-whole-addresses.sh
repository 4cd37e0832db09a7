#!/usr/bin/env bash
# A dedicated address, leased whole: every port of it leads to the same port of the client, who
# leaves by it with the source ports that it has; ping too; over a restart; until it is closed.
. "$(dirname "$0")/lib.sh"

readonly DEDICATED=198.51.100.64/31

make_keys
net_create
ip_internet route add $DEDICATED via $GATEWAY_PUBLIC
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_POOL="\"$POOL\" ]; dedicated = [ \"$DEDICATED\""
CONF_PEERS=$(conf_peer)
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

# works PORT: of the address, by both protocols.
works()
{
	local LEASE_PORT=$1

	must "TCP to port $1" transfer once
	must "UDP to port $1" datagrams sizes 0 100 50
}

step "what it is not is told"
refused "no to_port" ctl lease open --peer client --whole-address --to-port 80
refused "is not dedicated; accepted: one of $DEDICATED" ctl lease open --peer client \
	--whole-address --public-address 198.51.100.3
refused "not in the public pool" ctl lease open --peer client --to-port 80 \
	--public-address 198.51.100.64

step "nothing leads in before it is leased"
is_dropped no_lease in udp $GHOST 4000 198.51.100.64 53

step "a whole address"
lease_open --whole-address --public-address 198.51.100.64
assert_equal "the lease" "$(ctl --json lease show "$LEASE_ID" | field whole_address to_address)" \
	"True $INNER"
assert_equal "the egress address" "$(peer_field client public_address)" 198.51.100.64
ctl lease list | grep -qF "198.51.100.64 (all ports)" || fail "the list does not say so"
refused "every port of it leads to the peer already" ctl lease open --peer client --to-port 80
refused "held by" ctl lease open --peer friend --whole-address --public-address 198.51.100.64
for asked in "$LEASE_ID" 198.51.100.64:4711/tcp; do
	ctl --json why "$asked" >"$RUN/why" || fail "why $asked"
	assert_equal "which lease" "$(field lease.id lease.state <"$RUN/why")" "$LEASE_ID active"
done

step "every port leads to the same"
for port in 53 443 20000 65535; do
	serve client "tcp$port" "$TOOLS/transfer.py" serve $INNER $port
	serve client "udp$port" "$TOOLS/echo.py" serve $INNER $port
	works $port
done
in_internet ping -n -q -c 1 -W 5 198.51.100.64 >/dev/null || fail "it does not answer a ping"

step "a check knocks at one of its ports"
refused "accepted: a public_port, 1 to 65535" ctl lease check "$LEASE_ID"
ctl --json lease check "$LEASE_ID" --public-port 443 >"$RUN/check"
assert_equal "a port that listens" "$(field outcome public to <"$RUN/check")" \
	"answered 198.51.100.64:443 $INNER:443"
ctl --json lease check "$LEASE_ID" --public-port 444 >"$RUN/check"
assert_equal "one that does not" "$(field outcome public <"$RUN/check")" \
	"refused 198.51.100.64:444"

step "the client leaves by it, with its own source port"
for port in 53 1024 40000; do
	goes_out udp $port $GHOST 9
	assert_equal "the source" "$PUBLIC:$PUBLIC_PORT" "198.51.100.64:$port"
done
in_client ping -n -q -c 1 -W 5 $HOST >/dev/null || fail "its ping has no answer"

step "why knows"
ctl why in tcp $GHOST:4000 198.51.100.64:443 >"$RUN/why.txt" || true
grep -qF "$INNER:443" "$RUN/why.txt" || fail "why says: $(<"$RUN/why.txt")"

step "after kill -9 it is there again"
gateway_kill
gateway_start
client_connect
assert_equal "the lease" "$(ctl --json lease show "$LEASE_ID" | field public_address)" \
	198.51.100.64
works 443

step "closed, it is shut, rests for its owner, and the client leaves by the pool"
ctl lease close "$LEASE_ID" >/dev/null
is_dropped no_lease in udp $GHOST 4000 198.51.100.64 443
refused "was another's and rests" ctl lease open --peer friend --whole-address \
	--public-address 198.51.100.64
goes_out udp 4001 $GHOST 9
[[ $PUBLIC != 198.51.100.64 ]] || fail "it leaves by $PUBLIC still"

finish
