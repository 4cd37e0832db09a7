#!/usr/bin/env bash
# portierctl why tells what would happen to a packet: each is asked about, then sent, and the two
# agree. To ask changes nothing.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
net_add_ipv6
CONF_PEERS="$(conf_peer), $(conf_friend), $(conf_absent_peer)"
CONF_NAT='blocked = [ "tcp/25" ];'
gateway_conf
gateway_start
client_start
client_connect
friend_start
ghost_appears
client_goes_mute

# end ADDRESS PORT: as portierctl takes it.
end()
{
	if [[ $1 == *:* ]]; then
		printf '[%s]:%s' "$1" "$2"
	else
		printf '%s:%s' "$1" "$2"
	fi
}

# ask [OPTION...] VERB ARG...: what ends.py would send, as a question. ANSWER is end and reason.
ask()
{
	local -a options=() question
	local own=$INNER

	while [[ $1 == --* ]]; do
		options+=("$1" "$2")
		shift 2
	done
	case $1 in
	out)
		[[ $4 != *:* ]] || own=$INNER6
		question=(out client "$2" "$(end "$own" "$3")" "$(end "$4" "$5")")
		;;
	in) question=(in "$2" "$(end "$3" "$4")" "$(end "$5" "$6")") ;;
	out-error)
		question=(out client icmp "$INNER" "$6" --error "$2/$3"
			--about "$4 $(end "$6" "$7") $(end "$INNER" "$5")")
		;;
	in-error)
		question=(in icmp "$4" "$6" --error "$2/$3"
			--about "$5 $(end "$6" "$7") $(end "$8" "$9")")
		;;
	esac
	ctl --json why "${question[@]}" "${options[@]}" >"$RUN/why" || fail "why ${question[*]}"
	ANSWER=$(field end reason <"$RUN/why")
}

# Sessions, ports and blocks of all.
begun()
{
	ctl --json pool show | field totals.sessions totals.ports_used totals.blocks_taken
}

# is_told ENDING [OPTION...] VERB ARG...
is_told()
{
	local ending=$1 before

	shift
	before=$(begun)
	ask "$@"
	assert_equal "what is told of $*" "$ANSWER" "$ending"
	assert_equal "what is there afterwards" "$(begun)" "$before"
}

# drops REASON [OPTION...] VERB ARG...: as told, and so it is.
drops()
{
	is_told "dropped $1" "${@:2}"
	is_dropped "$@"
}

# gets_out [OPTION...] PROTO SPORT DST DPORT. The ghost does not answer all questions of its
# neighbours: sometimes a packet has to wait for the answer.
gets_out()
{
	ask "${@:1:$#-4}" out "${@: -4}"
	[[ $ANSWER == "waits None" ]] || is_told "forwarded None" "${@:1:$#-4}" out "${@: -4}"
	goes_out "$@"
}

# gets_in [OPTION...] PROTO SRC SPORT DST DPORT
gets_in()
{
	is_told "forwarded None" "${@:1:$#-5}" in "${@: -5}"
	comes_in "$@"
}

for proto in tcp udp; do
	step "a lease and what is beside it: $proto"
	lease_open --proto $proto --to-port 8080 --from 203.0.113.64/26
	gets_in $proto $GHOST 9 "$LEASE_ADDRESS" "$LEASE_PORT"
	assert_equal "to whom" "$(field peer dst port <"$RUN/why")" "client $INNER:8080 tun"
	grep -q "lease $LEASE_ID of peer client" "$RUN/why" || fail "which lease? $(<"$RUN/why")"
	drops lease_source in $proto $HOST 9 "$LEASE_ADDRESS" "$LEASE_PORT"
	gets_out $proto 8080 $GHOST 10
	assert_equal "from where" "$(field src <"$RUN/why")" "$LEASE_ADDRESS:$LEASE_PORT"
	assert_equal "and so it is" "$PUBLIC $PUBLIC_PORT" "$LEASE_ADDRESS $LEASE_PORT"
	ctl lease close "$LEASE_ID" >/dev/null
	drops no_lease in $proto $GHOST 9 "$LEASE_ADDRESS" "$LEASE_PORT"

	step "sessions: $proto"
	gets_out $proto 5000 $GHOST 7
	gets_in $proto $GHOST 7 "$PUBLIC" "$PUBLIC_PORT"
	assert_equal "to where" "$(field dst <"$RUN/why")" "$INNER:5000"
	drops no_session in $proto $GHOST 8 "$PUBLIC" "$PUBLIC_PORT"
	drops no_session in $proto $STRANGER 7 "$PUBLIC" "$PUBLIC_PORT"
done

step "ICMP errors: what they quote leads them"
# gets_through VERB ARG...
gets_through()
{
	is_told "forwarded None" "$@"
	"$TOOLS/ends.py" "$@" >/dev/null || fail "$* does not get through"
}
lease_open --proto udp --to-port 8081
gets_through in-error 3 1 $HOST udp "$LEASE_ADDRESS" "$LEASE_PORT" $GHOST 9
gets_through out-error 3 3 udp 8081 $GHOST 9
gets_out udp 5006 $GHOST 7
gets_through in-error 11 0 $HOST udp "$PUBLIC" "$PUBLIC_PORT" $GHOST 7
drops icmp_error_stray in-error 3 1 $HOST udp "$PUBLIC" "$PUBLIC_PORT" $GHOST 8
drops no_lease in-error 3 1 $HOST udp "$LEASE_ADDRESS" 9 $GHOST 9
gets_through out-error 3 3 udp 5006 $GHOST 7
drops icmp_error_stray out-error 3 3 udp 5007 $GHOST 7
ctl lease close "$LEASE_ID" >/dev/null

step "an open filter"
ctl peer set client --filter open >/dev/null
gets_out udp 5001 $GHOST 7
gets_in udp $STRANGER 99 "$PUBLIC" "$PUBLIC_PORT"

step "a TCP segment of no session"
drops nat_no_beginning --flags A out tcp 5002 $GHOST 7

step "where peers may not go"
drops nat_blocked out tcp 5003 $GHOST 25
drops inner_to_peer out udp 5003 $FRIEND_INNER 7
drops inner_to_self out udp 5003 $ENTRY 51820
drops martian_destination out udp 5003 224.0.0.251 5353
drops inner_no_service out tcp 5003 $GATEWAY_INNER 22
drops neigh_unreachable out udp 5003 198.18.0.9 7

step "forged and misled packets from outside"
drops own_source in udp 198.51.100.3 9 198.51.100.4 9
drops martian_source in udp 127.0.0.1 9 198.51.100.4 9
drops entry_closed in tcp $GHOST 9 $GATEWAY_PUBLIC 22
drops portmap_outside in udp $GHOST 9 $GATEWAY_PUBLIC 5351
drops not_for_us in udp $GHOST 9 $INNER 9

step "a hop too many"
drops ttl_expired --ttl 1 out udp 5004 $GHOST 7

step "IPv6"
gets_out udp 5005 $GHOST6 7
gets_in udp $GHOST6 7 $INNER6 5005
drops no_session in udp $GHOST6 8 $INNER6 5005
drops nat_no_beginning --flags A out tcp 5005 $GHOST6 7

step "a quota"
ctl peer set client --max-sessions $(($(peer_field client sessions) + 2)) >/dev/null
gets_out udp 7000 $GHOST 7
gets_out udp 7001 $GHOST 7
drops nat_too_many out udp 7002 $GHOST 7
gets_out udp 7001 $GHOST 7

step "those who are not there"
ctl --json why in udp $HOST:9 "$(ctl --json lease open --peer friend --to-port 9 |
	field public_address public_port | tr ' ' :)" >"$RUN/why"
assert_equal "to a friend who is there" "$(field end peer <"$RUN/why")" "forwarded friend"
ctl peer set absent --forwarding on >/dev/null
ctl --json why in udp $HOST:9 "$(ctl --json lease open --peer absent --to-port 9 |
	field public_address public_port | tr ' ' :)" >"$RUN/why"
assert_equal "to one who never was" "$(field end reason <"$RUN/why")" "dropped peer_unreachable"

step "recent drops"
drops nat_blocked out tcp 5003 $GHOST 25
drops no_lease in udp $HOST 4711 198.51.100.4 9
ctl --json why in udp $HOST:4711 198.51.100.4:9 >"$RUN/why"
assert_equal "those like this one" "$(field recent recent.0.reason recent.0.src <"$RUN/why")" \
	"1 no_lease $HOST:4711"
ctl why in udp $HOST:4711 198.51.100.4:9 | grep -q "no_lease *udp *$HOST:4711" || fail "not shown"
assert_equal "of others" \
	"$(ctl --json why in udp $HOST:4712 198.51.100.4:9 | field recent)" 0
assert_equal "the last" \
	"$(ctl --json drops --recent 3 | field recent)" 3
ctl drops --recent 100 >"$RUN/recent"
grep -q "no_lease *udp *$HOST:4711 *198.51.100.4:9" "$RUN/recent" || fail "not listed"
grep -q 'nat_blocked *tcp *'$INNER "$RUN/recent" || fail "that of a peer is not listed"

step "for people"
ctl why out client tcp $INNER:5003 $GHOST:25 >"$RUN/said"
grep -q '^inner .*may not use$' "$RUN/said" || fail "no stage: $(<"$RUN/said")"
grep -q '^dropped: nat_blocked, .*; its sender is told$' "$RUN/said" || fail "$(<"$RUN/said")"
grep -q '^hint: .*nat.blocked' "$RUN/said" || fail "no hint: $(<"$RUN/said")"
ctl why in udp $GHOST:9 $ENTRY:51820 | grep -q '^consumed: ' || fail "no handshake"

step "what is no question"
for question in "in udp" "in udp 1.2.3.4 5.6.7.8" "in tcp 1.2.3.4:5 5.6.7.8:9 --flags Q" \
	"out nobody udp 1.2.3.4:5 5.6.7.8:9" "in udp 1.2.3.4:5 5.6.7.8:9 --size 9000" \
	"in udp 1.2.3.4:5 5.6.7.8:9 10.0.0.1:7" "out client" "in icmp 1.2.3.4 5.6.7.8 --error 3" \
	"in icmp 1.2.3.4 5.6.7.8 --error 3/x --about udp"; do
	# shellcheck disable=SC2086 # words
	ctl why $question >"$RUN/said" 2>&1 && fail "answered: why $question"
	grep -q '^portierctl: ' "$RUN/said" || fail "why $question: $(<"$RUN/said")"
done

step "nothing is remembered when that is not wanted"
gateway_stop
CONF_CONTROL='drops_kept = "0s";'
gateway_conf
gateway_start
ends_before=$(drop no_lease)
"$TOOLS/ends.py" --only-send in udp $HOST 4711 198.51.100.4 9
poll_until 5 drop_is_at_least no_lease $((ends_before + 1)) || fail "not dropped"
assert_equal "recent drops" "$(ctl --json drops --recent 100 | field recent)" 0

finish
