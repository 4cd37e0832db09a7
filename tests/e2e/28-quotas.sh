#!/usr/bin/env bash
# A peer that asks for too much is told so, and nobody else notices: sessions, ports, new sessions a
# second. Destinations may be closed to all peers, or reached without translation.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
CONF_PEERS="$(conf_peer 'max_sessions = 40;'), $(conf_friend)"
CONF_NAT='block_ports = 64; max_blocks = 1; blocked = [ "tcp/25", "both/445" ];
	exempt = [ "203.0.113.66/32" ];'
gateway_conf
gateway_start
client_start
client_connect
friend_start
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7
serve internet blocked "$TOOLS/mirror.py" serve $HOST 25
serve internet exempt "$TOOLS/mirror.py" serve $STRANGER 7
serve internet echo "$TOOLS/echo.py" serve $HOST 8

# tries WHO N FIRST: so many flows, from ports that had none before; HAD, REFUSED and SILENT.
tries()
{
	read -r _ HAD _ REFUSED _ SILENT < <("in_$1" "$TOOLS/mirror.py" try udp "$2" "$3" $HOST 7)
	assert_equal "flows of the $1" $((HAD + REFUSED + SILENT)) "$2"
}

# Errors are limited, so some flows only hear nothing.
was_told()
{
	assert_at_least "flows of which the $1 was told" "$REFUSED" 20
	assert_at_least "packets dropped as $2" "$(drop "$2")" 1
}

# undisturbed WHO: of the stream that WHO sends meanwhile.
undisturbed()
{
	wait "$SPAWNED" || fail "the stream of the $1: $(<"$RUN/stream.log")"
	read -r _ sent _ lost <"$RUN/stream.log"
	[[ $sent -ge 150 && $lost -le $((sent / 100)) ]] || fail "the $1: $(<"$RUN/stream.log")"
}

step "as many sessions as a peer may have"
kept=$(in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7)
spawn friend "$TOOLS/echo.py" stream $HOST 8 3 >"$RUN/stream.log" 2>&1
tries client 200 10000
assert_equal "sessions that it had" "$HAD" 40
was_told client nat_too_many
undisturbed friend

step "as many ports"
tries friend 200 11000
# Two of its ports serve the steps before.
assert_equal "ports that it had" "$HAD" 62
was_told friend nat_no_port
assert_equal "the flow that was there before" \
	"$(in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7)" "$kept"

step "more sessions for the client, live, change nothing for the friend"
ctl peer set client --max-sessions 50 >/dev/null
tries client 200 12000
assert_equal "sessions more" "$HAD" 10
assert_equal "the flow that was there before" \
	"$(in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7)" "$kept"

step "closed destination ports"
before=$(drop nat_blocked)
said=$(in_friend traceroute -n -T -p 25 -q 1 -w 3 -f 3 -m 3 $HOST | tail -n 1)
grep -q "$GATEWAY_INNER.*!X" <<<"$said" || fail "not prohibited: $said"
in_friend bash -c "exec 3<>/dev/tcp/$HOST/445" 2>"$RUN/said" && fail "it is open"
grep -q 'No route to host' "$RUN/said" || fail "not told: $(<"$RUN/said")"
assert_at_least "packets dropped" $(($(drop nat_blocked) - before)) 2

step "destinations without translation"
for proto in udp tcp; do
	assert_equal "the friend, as the exempt host sees it" \
		"$(in_friend "$TOOLS/mirror.py" ask $proto 6000 $STRANGER 7)" "$FRIEND_INNER 6000"
done
in_friend ping -n -q -c 2 -i 0.2 -W 5 $STRANGER >/dev/null || fail "no ping"
in_friend "$TOOLS/echo.py" sizes $STRANGER 9 1 1 >"$RUN/said" 2>&1 && fail "nobody listens there"
grep -q 'Connection refused' "$RUN/said" || fail "no refusal: $(<"$RUN/said")"
is_dropped no_session in udp $STRANGER 8 $FRIEND_INNER 6000
is_dropped not_for_us in udp $HOST 7 $FRIEND_INNER 6000

step "new sessions a second"
gateway_stop
CONF_PEERS="$(conf_peer), $(conf_friend)"
CONF_NAT='new_sessions_per_s = 20;'
gateway_conf
gateway_start
wireguard_anew client "$WG"
wireguard_anew friend wg1
spawn friend "$TOOLS/echo.py" stream $HOST 8 3 >"$RUN/stream.log" 2>&1
tries client 400 13000
assert_at_least "sessions that it had" "$HAD" 40
[[ $HAD -lt 300 ]] || fail "it had $HAD sessions within seconds"
was_told client nat_too_fast
undisturbed friend

finish
