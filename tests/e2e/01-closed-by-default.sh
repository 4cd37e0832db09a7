#!/usr/bin/env bash
# Nobody on the Internet gets an answer where no door was opened, whatever he knocks on.
. "$(dirname "$0")/lib.sh"

readonly PORTS=1,22,53,80,443,1024,8080,20000,40000,51820,59999,65535
readonly N_PORTS=12
pool=$(printf '198.51.100.%d ' {0..15})

# nothing_from N NAMESPACE INTERFACE SOURCE NEXT-HOP KIND ADDRESS...: N frames without an answer.
nothing_from()
{
	local n=$1 ns=$2 said

	shift 2
	said=$("in_$ns" "$TOOLS/probe.py" --ports $PORTS --source6 $CLIENT6 "$@") ||
		fail "probing failed: $said"
	assert_equal "what was said to $*" "$said" "sent $n"
}

dropped_since()
{
	[[ $(($(drop "$1") - $2)) -ge $3 ]]
}

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect

step "public addresses, from the Internet"
before=$(drop no_lease)
for kind in tcp udp; do
	# shellcheck disable=SC2086 # a list
	nothing_from $((16 * N_PORTS)) internet inet0 $HOST $GATEWAY_PUBLIC $kind $pool
done
# shellcheck disable=SC2086
nothing_from 16 internet inet0 $HOST $GATEWAY_PUBLIC ping $pool
eventually 5 "each of them is counted" dropped_since no_lease "$before" $((16 * (2 * N_PORTS + 1)))

step "the gateway's own address on the Internet side"
for kind in tcp udp; do
	nothing_from $N_PORTS internet inet0 $HOST $GATEWAY_PUBLIC $kind $GATEWAY_PUBLIC
done
in_internet ping -n -q -c 1 -W 3 $GATEWAY_PUBLIC >/dev/null || fail "ping is not answered"

step "the entry address and the inner addresses, from the Internet"
for kind in tcp udp; do
	nothing_from $((3 * N_PORTS)) internet inet0 $HOST $GATEWAY_PUBLIC $kind \
		$ENTRY $INNER $GATEWAY_INNER
done
nothing_from 2 internet inet0 $HOST $GATEWAY_PUBLIC ping $INNER $GATEWAY_INNER

step "the tunnel side, outside the tunnel"
for kind in tcp udp; do
	nothing_from $((4 * N_PORTS)) client wan0 $CLIENT $ENTRY $kind \
		$ENTRY $ENTRY6 $INNER 198.51.100.7
done
nothing_from 3 client wan0 $CLIENT $ENTRY ping $INNER 198.51.100.7 $GATEWAY_PUBLIC
in_client ping -n -q -c 1 -W 3 $ENTRY >/dev/null || fail "ping to the entry is not answered"
in_client ping -n -q -c 1 -W 3 -I wan0 $ENTRY6 >/dev/null || fail "ping6 is not answered"

step "from inside the tunnel nothing leads to the gateway"
before=$(drop inner_no_service)
in_client curl --silent --max-time 1 "http://$GATEWAY_INNER/" && fail "there is a service"
eventually 5 "it is counted" dropped_since inner_no_service "$before" 1

step "one door, and the same probe hears something"
client_serves 8080
lease_open --proto tcp --to-port 8080
said=$(knock tcp)
grep -q "^answer: proto 6 $LEASE_ADDRESS:$LEASE_PORT" <<<"$said" || fail "the open door is mute"
assert_equal "the answer to the other protocol" "$(knock udp)" "sent 1"

finish
