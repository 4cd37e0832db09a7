#!/usr/bin/env bash
# A lease that takes so many packets and new flows a second: what is beyond ends at the gateway, and
# what was there before goes on. Over IPv4 and by a pinhole.
. "$(dirname "$0")/lib.sh"

readonly N=2000

make_keys
net_create
net_add_ipv6
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
serve client tcp6 "$TOOLS/transfer.py" serve $INNER6 5001
serve client udp6 "$TOOLS/echo.py" serve $INNER6 5001

lease_field()
{
	ctl --json lease show "$LEASE_ID" | field "$1"
}

# knock_often: a datagram from each of N sockets.
knock_often()
{
	in_internet "$TOOLS/knock.py" "$LEASE_ADDRESS" "$LEASE_PORT" $N >/dev/null
}

# all_counted IN: so many came in before; each of N more did, or was refused.
all_counted()
{
	local in limited

	in=$(lease_field counters.in_pkts) limited=$(lease_field counters.limited_pkts)
	[[ $((in - $1 + limited)) -ge $N ]]
}

# One second's worth at once, and one second's worth a second: N take far less time than N / 4 s.
for target in $INNER $INNER6; do
	step "new flows to $target"
	lease_open --to-address "$target" --to-port 5001 --max-new-flows 4
	must "get" transfer get 1000000
	hold_flow
	before=$(lease_field counters.in_pkts) drops=$(drop lease_flows)
	knock_often
	eventually 10 "all are counted" all_counted "$before"
	assert_at_least "refused" "$(lease_field counters.limited_pkts)" $((N / 2))
	assert_at_least "drops" $(($(drop lease_flows) - drops)) $((N / 2))
	eventually 10 "the flow goes on" held_is_beyond "$(held_size)"
	ctl lease close "$LEASE_ID" >/dev/null
	wait "$HOLD_PID" && fail "the flow ended well"

	step "packets to $target"
	lease_open --to-address "$target" --proto udp --to-port 5001 --max-pps 50
	assert_equal "the limit" "$(lease_field max_pps)" 50
	before=$(lease_field counters.in_pkts) drops=$(drop lease_rate)
	knock_often
	eventually 10 "all are counted" all_counted "$before"
	assert_at_least "refused" "$(lease_field counters.limited_pkts)" $((N / 2))
	assert_at_least "drops" $(($(drop lease_rate) - drops)) $((N / 2))
	assert_at_least "came in" "$(lease_field counters.in_pkts)" 50
	ctl lease close "$LEASE_ID" >/dev/null
done

step "nobody else pays"
lease_open --to-port 5001
knock_often
must "echo" datagrams sizes 0 1300 100
assert_equal "refused" "$(lease_field counters.limited_pkts)" 0

step "the defaults of the configuration, read again"
sed -i 's/^leases = {/leases = { max_pps = 40;/' "$RUN/portier.conf"
ctl reload >"$RUN/reload"
assert_equal "the limit of the lease there is" "$(lease_field max_pps)" 0
lease_open --to-port 5002
assert_equal "the limit of a new one" "$(lease_field max_pps)" 40
lease_open --to-port 5003 --max-pps 0
assert_equal "none, as was said" "$(lease_field max_pps)" 0

finish
