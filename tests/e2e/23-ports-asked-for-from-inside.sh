#!/usr/bin/env bash
# Ports that the client opens itself, by NAT-PMP and PCP through the tunnel: with Debian's natpmpc,
# and byte by byte.
. "$(dirname "$0")/lib.sh"

readonly PUBLIC=198.51.100.4

command -v natpmpc >/dev/null || skip "natpmpc is not installed (./dpdk-setup.sh deps)"
make_keys
net_create
ip_internet address add $STRANGER/24 dev inet0
CONF_POOL="\"$PUBLIC/32\""
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER,$INNER6 --name client --forwarding on \
	>/dev/null
client_start
client_connect
client_serves 5001

portmap()
{
	in_client "$TOOLS/portmap.py" "$@" || fail "portmap.py $*"
}

# asks ARG...: natpmpc; sets LEASE_ADDRESS and LEASE_PORT.
asks()
{
	local said

	said=$(in_client timeout 30 natpmpc -g $GATEWAY_INNER "$@") || fail "natpmpc $*: $said"
	LEASE_ADDRESS=$(sed -n 's/^Public IP address : //p' <<<"$said")
	LEASE_PORT=$(sed -n 's/^Mapped public port \([0-9]*\) .*/\1/p' <<<"$said")
	export LEASE_ADDRESS LEASE_PORT
	assert_equal "the address that natpmpc says" "$LEASE_ADDRESS" $PUBLIC
	[[ -n $LEASE_PORT ]] || fail "natpmpc $*: $said"
}

n_leases()
{
	ctl --json lease list | field leases
}

has_leases()
{
	[[ $(n_leases) -eq $1 ]]
}

step "off until it is turned on, and that is said"
portmap refused $GATEWAY_INNER $INNER >/dev/null
in_client timeout 30 natpmpc -g $GATEWAY_INNER -a 0 5001 udp 3600 >/dev/null 2>&1 &&
	fail "natpmpc got a port"
assert_equal "leases" "$(n_leases)" 0
ctl peer set client --portmap on >/dev/null

step "every row, byte by byte"
portmap rows $GATEWAY_INNER $INNER $PUBLIC
assert_equal "leases" "$(n_leases)" 0

step "over IPv6, byte by byte"
portmap rows6 $GATEWAY_INNER6 $INNER6
assert_equal "leases" "$(n_leases)" 0

step "as many as it may, and no more"
ctl peer set client --max-leases 1 >/dev/null
portmap natpmp $GATEWAY_INNER udp 7200 0 3600 >/dev/null
portmap over_quota $GATEWAY_INNER $INNER
portmap natpmp $GATEWAY_INNER udp 7200 0 0 >/dev/null
ctl peer set client --max-leases 100 >/dev/null

step "on the addresses of anycast"
portmap natpmp 192.0.0.9 udp 7001 0 3600 >/dev/null
portmap natpmp 192.0.0.9 udp 7001 0 0 >/dev/null
assert_equal "a pinhole" "$(portmap pcp 2001:1::1 $INNER6 udp 7001 7200)" 7001
portmap pcp 2001:1::1 $INNER6 udp 7001 0 >/dev/null

step "what natpmpc is given carries data"
asks -a 0 5001 tcp 3600
must "get" transfer get 1000000
tcp_port=$LEASE_PORT
asks -a 0 5001 udp 3600
assert_equal "the port for UDP" "$LEASE_PORT" "$tcp_port"
must "echo" datagrams sizes 0 1000 100
assert_equal "who opened it" "$(ctl --json lease list | field leases.0.opened_by)" natpmp

step "the port never rotates, and a flow outlives its renewals"
hold_flow
for ((i = 0; i < 50; i++)); do
	protos=(tcp udp)
	asks -a $((40000 + i)) 5001 "${protos[i % 2]}" 60
	assert_equal "the port at renewal $i" "$LEASE_PORT" "$tcp_port"
done
size=$(held_size)
eventually 10 "the flow lives" held_is_beyond "$size"
assert_equal "leases" "$(n_leases)" 2

step "a deletion shuts the door before it is confirmed"
asks_nothing=$(in_client timeout 30 natpmpc -g $GATEWAY_INNER -a 0 5001 tcp 0) ||
	fail "natpmpc: $asks_nothing"
assert_equal "the answer of a shut door" "$(knock tcp)" "sent 1"
size=$(held_size)
wait "$HOLD_PID" && fail "the flow ended well"
[[ $(held_size) -le $((size + 1)) ]] || fail "the flow lived on"
must "echo" datagrams sizes 0 100 50

step "as Proton's clients ask: the inner port is the public one"
asks -a 1 0 udp 60
port=$LEASE_PORT
asks -a 1 0 tcp 60
assert_equal "the port for TCP" "$LEASE_PORT" "$port"
client_serves "$port"
must "get" transfer get 100000
must "echo" datagrams sizes 0 100 50

step "filters are applied"
LEASE_PORT=$(portmap pcp $GATEWAY_INNER $INNER tcp 5001 7200 $HOST/32)
must "get" transfer get 100000
before=$(drop lease_source)
in_internet curl --silent --max-time 1 --interface $STRANGER "http://$PUBLIC:$LEASE_PORT/" &&
	fail "a stranger came in"
eventually 5 "he is counted" drop_is_at_least lease_source $((before + 1))
LEASE_PORT=$(portmap pcp $GATEWAY_INNER $INNER tcp 5001 7200 $STRANGER/32)
transfer get 1000 >/dev/null 2>&1 && fail "the filter stayed as it was"

step "never on a public address"
before=$(drop portmap_outside)
for address in $PUBLIC $GATEWAY_PUBLIC; do
	assert_equal "what $address said" "$(in_internet "$TOOLS/probe.py" --ports 5351 inet0 \
		$HOST $GATEWAY_PUBLIC udp "$address")" "sent 1"
done
assert_equal "what $ENTRY said" "$(in_client "$TOOLS/probe.py" --ports 5351 wan0 $CLIENT $ENTRY \
	udp $ENTRY)" "sent 1"
eventually 5 "they are counted" drop_is_at_least portmap_outside $((before + 3))

step "a mapping that is not renewed ends"
ctl --json stats >"$RUN/stats.json"
assert_equal "answers that were lost" "$(field portmap.counters.lost <"$RUN/stats.json")" 0
portmap natpmp $GATEWAY_INNER udp 0 0 0 >/dev/null
portmap natpmp $GATEWAY_INNER tcp 0 0 0 >/dev/null
eventually 5 "all are gone" has_leases 0

step "strict about nonces"
gateway_stop
gateway_conf
echo 'portmap = { pcp_nonce_strict = true; };' >>"$RUN/portier.conf"
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER,$INNER6 --name client --forwarding on \
	--portmap on >/dev/null
wireguard_anew client "$WG"
portmap strict $GATEWAY_INNER $INNER

finish
