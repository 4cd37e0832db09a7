#!/usr/bin/env bash
# Leases over IPv6 are pinholes: the peer's own address and port, untranslated, open from the reply
# that says so to the one that says shut. By the operator, by the configuration and by PCP.
. "$(dirname "$0")/lib.sh"

readonly ROUTED=2001:db8:2:1::5 STRANGER6=2001:db8:f::66

make_keys
net_create
net_add_ipv6
CONF_PEERS=$(conf_peer 'portmap = true; routes = [ "2001:db8:2:1::/64" ]; leases = (
	{ proto = "tcp"; to_address = "2001:db8:2:1::5"; to_port = 81; } );')
gateway_conf
gateway_start
client_start
client_connect
ip_client address add $ROUTED/128 dev "$WG" nodad
ip_internet address add $STRANGER6/64 dev inet0 nodad

mkdir "$RUN/www"
head -c 3000000 /dev/urandom >"$RUN/www/file"
for address in $INNER6 $ROUTED; do
	for port in 80 81; do
		spawn client python3 -m http.server --bind "$address" \
			--directory "$RUN/www" "$port" >"$RUN/web-$port.log" 2>&1
	done
	serve client "udp$address" "$TOOLS/echo.py" serve "$address" 5001
	serve client "tcp$address" "$TOOLS/transfer.py" serve "$address" 5001
done

# web ADDRESS PORT [SOURCE]: the file through the tunnel.
web()
{
	in_internet curl -sS --max-time 20 --interface "${3-$HOST6}" -o "$RUN/got" \
		"http://[$1]:$2/file" && cmp "$RUN/got" "$RUN/www/file"
}

# is_shut PROTO ADDRESS PORT: nothing comes back, and the gateway says why.
is_shut()
{
	local before

	before=$(drop no_session)
	assert_equal "the answer of $2 port $3" "$(in_internet "$TOOLS/probe.py" \
		--source6 $HOST6 --ports "$3" inet0 $HOST $GATEWAY_PUBLIC "$1" "$2")" "sent 1"
	eventually 5 "the drop is counted" drop_is_at_least no_session $((before + 1))
}

pcp()
{
	in_client "$TOOLS/portmap.py" pcp $GATEWAY_INNER6 "$@" || fail "pcp $*"
}

# must_be_cut: the flow that hold_flow began ends.
must_be_cut()
{
	local size

	size=$(held_size)
	wait "$HOLD_PID" && fail "the flow ended well"
	[[ $(held_size) -le $((size + 1)) ]] || fail "the flow lived on after its lease"
}

lease_is_gone()
{
	! ctl lease show "$LEASE_ID"
}

step "what the configuration opens"
eventually 10 "web" web $ROUTED 81
is_shut tcp $ROUTED 80
is_shut udp $ROUTED 81
is_shut tcp $INNER6 81

step "closed by default"
is_shut tcp $INNER6 80
is_shut udp $INNER6 5001

step "open"
lease_open --proto tcp --to-address $INNER6 --to-port 80
assert_equal "the public side" "$LEASE_ADDRESS $LEASE_PORT" "$INNER6 80"
must "web" web $INNER6 80
is_shut udp $INNER6 80
web_id=$LEASE_ID
lease_open --to-address $INNER6 --to-port 5001
must "get" transfer get 1000000
must "put" transfer put 1000000
must "echo" datagrams sizes 0 1370 10
assert_equal "who came" "$(ctl --json lease show "$LEASE_ID" | field counters.refused_pkts)" 0
ctl lease list >"$RUN/list"
grep -qF "[$INNER6]:5001" "$RUN/list" || fail "the list does not show it: $(<"$RUN/list")"

step "asked for again it is the same"
before=$LEASE_ID
lease_open --to-address $INNER6 --to-port 5001
assert_equal "the lease" "$LEASE_ID" "$before"

step "closing cuts"
hold_flow
ctl lease close "$LEASE_ID" >/dev/null
must_be_cut
is_shut tcp $INNER6 5001
is_shut udp $INNER6 5001
must "web" web $INNER6 80
ctl lease close "$web_id" >/dev/null
is_shut tcp $INNER6 80
assert_equal "ports that are kept" "$(ctl --json lease reserved | field reserved)" 0

step "only for some"
lease_open --to-address $INNER6 --to-port 80 --from $STRANGER6/128
must "web" web $INNER6 80 $STRANGER6
before=$(drop lease_source)
in_internet curl -s --max-time 1 --interface $HOST6 "http://[$INNER6]/" && fail "anyone comes in"
eventually 5 "he is counted" drop_is_at_least lease_source $((before + 1))
ctl lease close "$LEASE_ID" >/dev/null

step "for a time"
lease_open --to-address $INNER6 --to-port 80 --ttl 2s
eventually 20 "it expires" lease_is_gone
is_shut tcp $INNER6 80

step "what the client opens by PCP, from its address and from its prefix"
for address in $INNER6 $ROUTED; do
	is_shut udp "$address" 5001
	for proto in tcp udp; do
		assert_equal "the port" "$(pcp "$address" $proto 5001 7200)" 5001
	done
	LEASE_ADDRESS=$address LEASE_PORT=5001
	must "get" transfer get 1000000
	must "echo" datagrams sizes 0 1000 100
	hold_flow
	for proto in tcp udp; do
		assert_equal "the port" "$(pcp "$address" $proto 5001 0)" 0
	done
	must_be_cut
	is_shut tcp "$address" 5001
	is_shut udp "$address" 5001
done

step "PCP filters are applied"
pcp $INNER6 tcp 80 7200 $STRANGER6/128 >/dev/null
must "web" web $INNER6 80 $STRANGER6
in_internet curl -s --max-time 1 --interface $HOST6 "http://[$INNER6]/" && fail "anyone comes in"

step "a peer that loses the address loses the lease"
must "web" web $ROUTED 81
ctl peer set client --route 2001:db8:2:2::/64 >/dev/null
assert_equal "leases" "$(ctl --json lease list | field leases)" 1

finish
