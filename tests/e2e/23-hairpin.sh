#!/usr/bin/env bash
# Peers reach each other, and themselves, by public address and port, and are seen there as the
# Internet sees them. Their inner addresses are nobody's business, unless the configuration says so.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
CONF_PEERS="$(conf_peer), $(conf_friend 'filter = "open";')"
gateway_conf
gateway_start
client_start
client_connect
friend_start
client_serves 5001
serve client mirror "$TOOLS/mirror.py" serve $INNER 7
serve internet mirror2 "$TOOLS/mirror.py" serve $HOST 7

# mirror WHO PROTO PORT ADDRESS PORT: as whom that port of WHO's is seen.
mirror()
{
	local who=$1

	shift
	"in_$who" "$TOOLS/mirror.py" ask "$@" || fail "$who has no answer from $3:$4"
}

for proto in udp tcp; do
	step "peer to peer: $proto"
	lease_open --proto $proto --to-port 7
	for who in friend client; do
		seen=$(mirror $who $proto 6000 "$LEASE_ADDRESS" "$LEASE_PORT")
		[[ ${seen% *} == $(peer_field $who public_address) ]] ||
			fail "$who is seen as $seen by a peer"
		assert_equal "as the Internet sees the $who" \
			"$(mirror $who $proto 6000 $HOST 7)" "$seen"
	done
done

step "data between peers, both ways"
lease_open --proto both --to-port 5001
for verb in get put; do
	in_friend "$TOOLS/transfer.py" $verb "$LEASE_ADDRESS" "$LEASE_PORT" 5000000 || fail $verb
done
in_friend "$TOOLS/pmtu.py" --cut "$LEASE_ADDRESS" "$LEASE_PORT" 100 4000 300 >/dev/null ||
	fail "datagrams"
assert_at_least "hairpinned packets" "$(counter hairpinned)" 1000

step "by a mapping without a lease, whose filter is open"
read -r address port < <(mirror friend udp 8 $HOST 7)
serve friend mirror3 "$TOOLS/mirror.py" serve $FRIEND_INNER 8
[[ $(mirror client udp 6001 "$address" "$port") == $(peer_field client public_address)\ * ]] ||
	fail "the client is not seen as itself"

step "errors come back, too"
lease_open --proto udp --to-port 9
before=$(counter errors_translated)
in_friend "$TOOLS/echo.py" sizes "$LEASE_ADDRESS" "$LEASE_PORT" 1 1 >"$RUN/refused" 2>&1 &&
	fail "nobody listens there"
grep -q 'Connection refused' "$RUN/refused" || fail "no refusal: $(<"$RUN/refused")"
assert_at_least "errors translated" $(($(counter errors_translated) - before)) 1

step "a packet loops once, and its hop limit counts it"
traced=$(in_friend traceroute -n -U -p "$LEASE_PORT" -q 1 -w 2 -m 5 "$LEASE_ADDRESS" |
	awk 'NR > 1 { print $2 }' | xargs)
assert_equal "the way to the lease" "$traced" "$GATEWAY_INNER $LEASE_ADDRESS"

step "inner addresses are not reached"
before=$(drop inner_to_peer)
in_friend ping -n -q -c 1 -W 1 $INNER >/dev/null && fail "an inner address answers"
in_client ping -n -q -c 1 -W 1 $FRIEND_INNER6 >/dev/null && fail "an inner address answers"
assert_equal "packets to inner addresses" $(($(drop inner_to_peer) - before)) 2

step "unless it is said that they are"
gateway_stop
CONF_TUNNEL='peer_to_peer = true;'
gateway_conf
gateway_start
wireguard_anew client "$WG"
wireguard_anew friend wg1
in_friend ping -n -q -c 3 -i 0.2 -W 2 $INNER >/dev/null || fail "the client does not answer"
in_client ping -n -q -c 3 -i 0.2 -W 2 $FRIEND_INNER6 >/dev/null || fail "the friend does not answer"
[[ $(mirror friend udp 6000 $INNER 7) == "$FRIEND_INNER 6000" ]] || fail "not as itself"

finish
