#!/usr/bin/env bash
# Who knocks at a lease: how many flows, from about how many addresses; shown with the lease, and
# nobody's address is kept.
. "$(dirname "$0")/lib.sh"

readonly N=40 # addresses of the Internet's host

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
sources=()
for ((i = 0; i < N; i++)); do
	sources+=(203.0.113.$((100 + i)))
	ip_internet address add "${sources[i]}"/24 dev inet0
done

seen()
{
	ctl --json lease show "$LEASE_ID" | field "knocks.$1"
}

flows_are()
{
	[[ $(seen new_flows) -eq $1 ]]
}

step "nobody yet"
lease_open --proto tcp --to-port 5001
assert_equal "knocks" "$(ctl --json lease show "$LEASE_ID" | field knocks)" None

step "a connection from each of $N addresses, and three more"
must "connect" in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" tcp "${sources[@]}"
for ((i = 0; i < 3; i++)); do
	must "get" transfer get 100000
done
eventually 10 "all flows are counted" flows_are $((N + 3))
assert_at_least "sources" "$(seen sources)" $((N * 2 / 3))
assert_at_least "their most" $((N * 4 / 3)) "$(seen sources)"
ctl lease show "$LEASE_ID" >"$RUN/shown"
grep -q "$((N + 3)) new flows" "$RUN/shown" || fail "it does not say: $(<"$RUN/shown")"
assert_at_least "flows, of all leases" "$(counter lease_flows)" $((N + 3))
assert_equal "looks that were lost" "$(counter lease_unseen)" 0

step "they are as many on the screen"
ctl top --count 1 >"$RUN/screen"
grep -q 'SOURCES' "$RUN/screen" || fail "the screen: $(<"$RUN/screen")"

step "those who are refused are sources, too"
ctl lease close "$LEASE_ID" >/dev/null
lease_open --proto udp --to-port 5001 --from $STRANGER/32
must "knock" in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" 5
refused_are()
{
	[[ $(ctl --json lease show "$LEASE_ID" | field counters.refused_pkts) -ge $1 ]]
}
eventually 5 "they are refused" refused_are 5
assert_equal "sources" "$(seen sources)" 1
assert_equal "new flows" "$(seen new_flows)" 0

finish
