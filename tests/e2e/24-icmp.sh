#!/usr/bin/env bash
# Ping and traceroute work in both directions, errors find those whom they concern, and neither ends
# nor keeps a session; forged ones go nowhere.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
net_add_far
CONF_PEERS="$(conf_peer), $(conf_friend)"
CONF_NAT='timers = { udp = "15s"; };'
gateway_conf
gateway_start
client_start
client_connect
friend_start

# hops NAMESPACE ARG...: of traceroute, on one line.
hops()
{
	local ns=$1

	shift
	"in_$ns" traceroute -n -q 1 -w 3 -m 6 -N 1 "$@" | awk 'NR > 1 { print $2 }' | xargs
}

step "ping out: one or many at once, and large ones"
in_client ping -n -q -c 5 -i 0.2 -W 5 $FAR >/dev/null || fail "no ping"
in_client ping -n -q -c 3 -i 0.2 -W 5 -s 1392 -M 'do' $FAR >/dev/null || fail "no full ping"
pings=()
for who in client friend; do
	"in_$who" ping -n -q -c 3 -i 0.2 -W 5 -e 77 $HOST >/dev/null &
	pings+=($!)
	for _ in 1 2 3 4 5; do
		"in_$who" ping -n -q -c 3 -i 0.2 -W 5 $HOST >/dev/null &
		pings+=($!)
	done
done
for ping in "${pings[@]}"; do
	wait "$ping" || fail "a ping of many"
done

step "traceroute out, by each protocol"
way="$GATEWAY_INNER $HOST $FAR"
assert_equal "the way by UDP" "$(hops client $FAR)" "$way"
assert_equal "the way by ICMP" "$(hops client -I $FAR)" "$way"
spawn far python3 -m http.server --bind $FAR 80 >"$RUN/web.log" 2>&1
eventually 10 "the web server answers" in_far curl -sf http://$FAR/
assert_equal "the way by TCP" "$(hops client -T -p 80 $FAR)" "$way"

step "traceroute in, through a lease"
lease_open --proto both --to-port 9
way="$FAR_ROUTER $GATEWAY_PUBLIC $LEASE_ADDRESS"
assert_equal "the way by UDP" "$(hops far -U -p "$LEASE_PORT" "$LEASE_ADDRESS")" "$way"
assert_equal "the way by TCP" "$(hops far -T -p "$LEASE_PORT" "$LEASE_ADDRESS")" "$way"

step "a closed port says so, both ways"
closed()
{
	"$@" >"$RUN/refused" 2>&1 && fail "somebody listens"
	grep -q 'Connection refused' "$RUN/refused" || fail "no refusal: $(<"$RUN/refused")"
}
closed in_far "$TOOLS/echo.py" sizes "$LEASE_ADDRESS" "$LEASE_PORT" 1 1
closed in_client "$TOOLS/echo.py" sizes $FAR 9 1 1

ghost_appears
client_goes_mute

# quotes WHAT WANTED ARG...: an error arrives, and is about the packet that was sent.
quotes()
{
	local what=$1 wanted=$2

	shift 2
	assert_equal "$what" "$("$TOOLS/ends.py" "$@" || echo "nothing, or a fault")" "$wanted"
}

step "errors about sessions, all kinds, from a router and from the host"
for proto in udp tcp; do
	for kind in "3 1" "3 3" "3 13" "11 0" "12 0"; do
		goes_out $proto 6000 $GHOST 7
		# shellcheck disable=SC2086 # two numbers
		quotes "an error ($kind) about $proto" "$kind 0 $STRANGER $INNER 6000 $GHOST 7" \
			in-error $kind $STRANGER $proto "$PUBLIC" "$PUBLIC_PORT" $GHOST 7
		# shellcheck disable=SC2086
		quotes "an error ($kind) of the peer" \
			"$kind 0 $PUBLIC $GHOST 7 $PUBLIC $PUBLIC_PORT" \
			out-error $kind $proto 6000 $GHOST 7
	done
	goes_out $proto 6000 $GHOST 7
	quotes "the MTU of a router" "3 4 1300 $STRANGER $INNER 6000 $GHOST 7" \
		--word 1300 in-error 3 4 $STRANGER $proto "$PUBLIC" "$PUBLIC_PORT" $GHOST 7
	comes_in --flags SA $proto $GHOST 7 "$PUBLIC" "$PUBLIC_PORT"
done
goes_out echo 321 $GHOST 321
quotes "an error about an echo" "11 0 0 $STRANGER $INNER 321 $GHOST 321" \
	in-error 11 0 $STRANGER echo "$PUBLIC" "$PUBLIC_PORT" $GHOST "$PUBLIC_PORT"

step "errors about nothing, or with wrong sums"
goes_out udp 6001 $GHOST 7
is_dropped icmp_error_stray in-error 3 3 $STRANGER udp "$PUBLIC" "$PUBLIC_PORT" $GHOST 8
is_dropped icmp_error_stray in-error 3 3 $STRANGER udp "$PUBLIC" "$PUBLIC_PORT" $STRANGER 7
is_dropped icmp_error_stray in-error 3 3 $STRANGER tcp "$PUBLIC" "$PUBLIC_PORT" $GHOST 7
is_dropped icmp_error_stray out-error 3 3 udp 6001 $GHOST 8
is_dropped bad_icmp_checksum --bad-sum in-error 3 3 $STRANGER udp "$PUBLIC" "$PUBLIC_PORT" $GHOST 7
is_dropped bad_icmp_checksum --bad-sum out-error 3 3 udp 6001 $GHOST 7
is_dropped bad_icmp_checksum --bad-sum in echo $GHOST 1 "$PUBLIC" "$PUBLIC_PORT"

step "an identifier that is in use again is the same session; each peer has its own"
goes_out echo 500 $GHOST 500
first=$PUBLIC_PORT
goes_out echo 500 $GHOST 500
assert_equal "the public identifier" "$PUBLIC_PORT" "$first"
goes_out --peer friend echo 500 $GHOST 500
friends="$PUBLIC $PUBLIC_PORT"
[[ $friends != "$(peer_field client public_address) $first" ]] || fail "two peers, one identifier"

step "errors do not keep a session, neither those that come in nor those that go out"
spams=()
before=$(drop icmp_error_stray)
goes_out udp 6002 $GHOST 7
"$TOOLS/ends.py" --only-send --count 6000 in-error 3 3 $STRANGER \
	udp "$PUBLIC" "$PUBLIC_PORT" $GHOST 7 &
spams+=($!)
goes_out udp 6003 $GHOST 7
"$TOOLS/ends.py" --only-send --count 6000 out-error 3 3 udp 6003 $GHOST 7 &
spams+=($!)
for spam in "${spams[@]}"; do
	at_exit stop_process "$spam"
done
# The one that began first ends first; what is counted when its errors have ended is the other's.
for spam in "${spams[@]}"; do
	eventually 40 "the session ends" drop_is_at_least icmp_error_stray $((before + 1))
	kill -0 "$spam" 2>/dev/null || fail "the session lived as long as errors went by"
	stop_process "$spam"
	before=$(drop icmp_error_stray)
done

finish
