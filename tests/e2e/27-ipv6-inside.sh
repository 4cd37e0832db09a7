#!/usr/bin/env bash
# IPv6 inside the tunnel: routed, never translated, and closed unless the peer began. Prefixes that
# lead to a peer are as good as its address, and nobody else's.
. "$(dirname "$0")/lib.sh"

readonly ROUTED=2001:db8:2:1::5 FRIENDS=2001:db8:2:2::5

make_keys
net_create
net_add_ipv6
net_add_far
CONF_PEERS="$(conf_peer 'routes = [ "2001:db8:2:1::/64" ];'),
	$(conf_friend 'routes = [ "2001:db8:2:2::/64" ];')"
gateway_conf
gateway_start
client_start
client_connect
friend_start
ip_client address add $ROUTED/128 dev "$WG" nodad
ip -n friend address add $FRIENDS/128 dev wg1 nodad

step "web, datagrams and ping, from the address and from the prefix"
mkdir "$RUN/www"
head -c 3000000 /dev/urandom >"$RUN/www/file"
spawn internet python3 -m http.server --bind $HOST6 --directory "$RUN/www" 80 >"$RUN/web.log" 2>&1
eventually 10 "the web server answers" in_internet curl -sf "http://[$HOST6]/"
serve internet mirror "$TOOLS/mirror.py" serve $HOST6 7
serve internet echo "$TOOLS/echo.py" serve $HOST6 8
for source in $INNER6 $ROUTED; do
	in_client curl -sS --max-time 20 --interface "$source" -o "$RUN/got" \
		"http://[$HOST6]/file" ||
		fail "curl from $source"
	cmp "$RUN/got" "$RUN/www/file" || fail "the file came with faults"
	in_client ping -n -q -c 3 -i 0.2 -W 5 -I "$source" $FAR6 >/dev/null ||
		fail "ping from $source"
done
must "datagrams" in_client "$TOOLS/echo.py" sizes $HOST6 8 0 1300 100
in_client "$TOOLS/pmtu.py" --cut $HOST6 8 1400 5000 300 >/dev/null || fail "datagrams in pieces"

step "nothing is translated"
for proto in udp tcp; do
	seen=$(in_client "$TOOLS/mirror.py" ask $proto 6000 $HOST6 7)
	[[ $seen == "$INNER6 6000" || $seen == "$ROUTED 6000" ]] ||
		fail "the client is seen as $seen"
done

step "the way, and a closed port at its end"
assert_equal "the way" "$(in_client traceroute -6 -n -q 1 -w 3 -m 6 -N 1 $FAR6 |
	awk 'NR > 1 { print $2 }' | xargs)" "$GATEWAY_INNER6 $HOST6 $FAR6"
in_client "$TOOLS/echo.py" sizes $FAR6 9 1 1 >"$RUN/refused" 2>&1 && fail "nobody listens there"
grep -q 'Connection refused' "$RUN/refused" || fail "no refusal: $(<"$RUN/refused")"

step "closed by default"
before=$(drop no_session)
said=$(in_internet "$TOOLS/probe.py" --source6 $HOST6 --ports 22,80,6000 inet0 $HOST \
	$GATEWAY_PUBLIC tcp $INNER6 $ROUTED)
assert_equal "the answer" "$said" "sent 6"
said=$(in_internet "$TOOLS/probe.py" --source6 $HOST6 --ports 22,80,6000 inet0 $HOST \
	$GATEWAY_PUBLIC udp $INNER6 $ROUTED)
assert_equal "the answer" "$said" "sent 6"
in_internet ping -n -q -c 2 -i 0.2 -W 1 $INNER6 >/dev/null && fail "a peer answers ping"
assert_equal "packets for which no peer had asked" $(($(drop no_session) - before)) 14

ghost_appears
client_goes_mute

step "only from where the peer sent to"
for proto in udp tcp; do
	goes_out $proto 6001 $GHOST6 7
	assert_equal "the source" "$PUBLIC $PUBLIC_PORT" "$INNER6 6001"
	comes_in --flags SA $proto $GHOST6 7 $INNER6 6001
	is_dropped no_session in $proto $GHOST6 8 $INNER6 6001
	is_dropped no_session in $proto $GHOST6 7 $INNER6 6002
done
goes_out echo 900 $GHOST6 900
assert_equal "the identifier" "$PUBLIC_PORT" 900
comes_in echo $GHOST6 900 $INNER6 900
is_dropped no_session in echo $GHOST6 901 $INNER6 901

step "errors about sessions, and about nothing"
goes_out udp 6003 $GHOST6 7
for kind in "1 0" "1 4" "2 0" "3 0" "4 1"; do
	# shellcheck disable=SC2086 # two numbers
	said=$("$TOOLS/ends.py" --word 1300 in-error $kind $HOST6 udp $INNER6 6003 $GHOST6 7) ||
		fail "an error of kind $kind does not get in"
	assert_equal "an error" "$said" "$kind 1300 $HOST6 $INNER6 6003 $GHOST6 7"
	# shellcheck disable=SC2086
	said=$("$TOOLS/ends.py" --word 1300 out-error $kind udp 6003 $GHOST6 7) ||
		fail "an error of kind $kind does not get out"
	assert_equal "an error" "$said" "$kind 1300 $INNER6 $GHOST6 7 $INNER6 6003"
done
is_dropped icmp_error_stray in-error 1 4 $HOST6 udp $INNER6 6004 $GHOST6 7
is_dropped icmp_error_stray out-error 1 4 udp 6004 $GHOST6 7
is_dropped bad_icmp_checksum --bad-sum in-error 1 4 $HOST6 udp $INNER6 6003 $GHOST6 7

step "extension headers are walked, so far"
goes_out --extensions 1 udp 6005 $GHOST6 7
comes_in --extensions 3 udp $GHOST6 7 $INNER6 6005
is_dropped inner_malformed --extensions 30 out udp 6005 $GHOST6 7
is_dropped bad_ip_header --extensions 30 in udp $GHOST6 7 $INNER6 6005

step "sources that are not the peer's, or not the Internet's"
for source in $FRIENDS $FRIEND_INNER6 fe80::2 ::1 2001:db8:1::2; do
	is_dropped inner_source --source "$source" out udp 6006 $GHOST6 7
done
for source in $FRIENDS $FRIEND_INNER6 $GATEWAY_INNER6; do
	is_dropped martian_source in udp "$source" 7 $INNER6 6001
done
is_dropped own_source in udp $GATEWAY_PUBLIC6 7 $INNER6 6001
for target in $FRIENDS $FRIEND_INNER6; do
	is_dropped inner_to_peer out udp 6006 "$target" 7
done
for target in $ENTRY6 $GATEWAY_PUBLIC6; do
	is_dropped inner_to_self out udp 51820 "$target" 51820
done
is_dropped martian_destination out udp 6006 ff02::1 7
is_dropped not_for_us in udp $GHOST6 7 2001:db8:2:3::1 6001

finish
