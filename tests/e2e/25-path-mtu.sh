#!/usr/bin/env bash
# Packets that are larger than their way: with DF their sender learns the size that fits, without DF
# they are cut, and TCP agrees on segments that fit.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_ipv6
CONF_PEERS=$(conf_peer)

# sweep FIRST LAST STEP: sizes of packets to the current lease.
sweep()
{
	in_internet "$TOOLS/pmtu.py" "$LEASE_ADDRESS" "$LEASE_PORT" "$@" | xargs
}

web()
{
	in_client curl -sS --max-time 20 -o "$RUN/got" "$1" || fail "curl $1"
	cmp "$RUN/got" "$RUN/www/file" || fail "the file came with faults"
}

mkdir "$RUN/www"
head -c 3000000 /dev/urandom >"$RUN/www/file"
spawn internet python3 -m http.server --bind :: --directory "$RUN/www" 80 >"$RUN/web.log" 2>&1
serve internet echo4 "$TOOLS/echo.py" serve $HOST 7
serve internet echo6 "$TOOLS/echo.py" serve $HOST6 7

step "TCP that does not know of the tunnel learns of it"
CONF_TUNNEL='mss_clamp = false;'
CLIENT_MTU=1500
gateway_conf
gateway_start
client_start
client_connect
assert_equal "segment sizes, not clamped" "$(in_client "$TOOLS/mss.py" $HOST 80)" "1460 1460"
for url in "http://$HOST/file" "http://[$HOST6]/file"; do
	before=$(drop too_big)
	web "$url"
	assert_at_least "packets that were too big" $(($(drop too_big) - before)) 1
done

step "TCP that does not know of the tunnel need not learn"
gateway_stop
CONF_TUNNEL=
gateway_conf
gateway_start
wireguard_anew client "$WG"
in_internet ip route flush cache
in_internet ip -6 route flush cache
assert_equal "segment sizes" "$(in_client "$TOOLS/mss.py" $HOST 80)" "1380 1380"
assert_equal "segment sizes, IPv6" "$(in_client "$TOOLS/mss.py" $HOST6 80)" "1360 1360"
before=$(drop too_big)
web "http://$HOST/file"
web "http://[$HOST6]/file"
assert_equal "packets that were too big" "$(drop too_big)" "$before"

step "datagrams from the Internet, with DF: sweep"
ip_client link set "$WG" mtu 1420
client_serves 5001
lease_open --proto udp --to-port 5001
assert_equal "the sweep" "$(sweep 1280 1500 20)" \
	"passed 1420 too big 1420 from $GATEWAY_PUBLIC"
assert_equal "the edge" "$(sweep 1419 1422 1)" \
	"passed 1420 too big 1420 from $GATEWAY_PUBLIC"

step "and without"
before=$(counter fragments_cut)
in_internet "$TOOLS/pmtu.py" --cut "$LEASE_ADDRESS" "$LEASE_PORT" 1400 1500 10 >/dev/null ||
	fail "not all came back"
assert_at_least "pieces" $(($(counter fragments_cut) - before)) 16

step "datagrams from the Internet through a pinhole: sweep"
serve client udp6 "$TOOLS/echo.py" serve $INNER6 5001
lease_open --proto udp --to-address $INNER6 --to-port 5001
assert_equal "the sweep" "$(sweep 1280 1500 20)" \
	"passed 1420 too big 1420 from $GATEWAY_PUBLIC6"

step "ping out, with DF: sweep"
for size in {1280..1420..20}; do
	in_client ping -n -q -c 1 -W 5 -M 'do' -s $((size - 28)) $HOST >/dev/null ||
		fail "IPv4: $size bytes"
	in_client ping -n -q -c 1 -W 5 -M 'do' -s $((size - 48)) $HOST6 >/dev/null ||
		fail "IPv6: $size bytes"
done

step "the way out is the narrower one"
gateway_stop
CONF_PUBLIC_MTU=1280
gateway_conf
ip_internet link set inet0 mtu 1280
gateway_start
wireguard_anew client "$WG"
for host in $HOST $HOST6; do
	gateway=$GATEWAY_INNER
	[[ $host == "$HOST" ]] || gateway=$GATEWAY_INNER6
	assert_equal "the sweep to $host" \
		"$(in_client "$TOOLS/pmtu.py" "$host" 7 1240 1420 20 | xargs)" \
		"passed 1280 too big 1280 from $gateway"
done
for size in {1300..1420..40}; do
	for host in "$HOST $((size - 28))" "$HOST6 $((size - 48))"; do
		said=$(in_client ping -n -c 1 -W 5 -M 'do' -s "${host#* }" "${host% *}" 2>&1) &&
			fail "$size bytes passed to ${host% *}"
		grep -q 'mtu *[=:] *1280' <<<"$said" || fail "ping was told: $said"
	done
done
before=$(counter fragments_cut)
# The client has learnt the size and would cut by itself.
ip_client route flush cache
in_client "$TOOLS/pmtu.py" --cut $HOST 7 1270 1420 10 >/dev/null || fail "not all came back"
assert_at_least "pieces" $(($(counter fragments_cut) - before)) 24
web "http://$HOST/file"

finish
