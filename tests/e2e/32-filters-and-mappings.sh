#!/usr/bin/env bash
# What comes back in: by each filter, as a tool for the behaviour of NATs (RFC 5780) sees it and
# packet by packet; the filter changes live, for flows that begin later. Nothing unasked for is
# answered, and nothing from outside keeps a mapping alive.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
CONF_PEERS=$(conf_peer)
CONF_NAT='timers = { udp = "12s"; };'
gateway_conf
gateway_start
client_start
client_connect
spawn internet turnserver -n -S -L $HOST -L $STRANGER --no-tls --no-dtls --no-cli \
	--log-file stdout --pidfile "$RUN/turn.pid" --userdb "$RUN/turn.db" >"$RUN/turn.log" 2>&1
eventually 10 "the STUN server answers" in_internet turnutils_natdiscovery -m $HOST

# behaves FILTERING: as RFC 5780 calls it.
behaves()
{
	in_client turnutils_natdiscovery -m -f $HOST >"$RUN/discovery.log" 2>&1 ||
		fail "natdiscovery"
	grep -q 'NAT with Endpoint Independent Mapping!' "$RUN/discovery.log" || fail "the mapping"
	grep -q "NAT with $1 Filtering!" "$RUN/discovery.log" || fail "the filter is not $1"
}

step "strict, from the start"
assert_equal "the filter" "$(peer_field client filter)" strict
behaves 'Address and Port Dependent'
step "open, live"
ctl peer set client --filter open >/dev/null
behaves 'Endpoint Independent'
step "moderate, live"
ctl peer set client --filter moderate >/dev/null
behaves 'Address Dependent'

ghost_appears
client_goes_mute

# by_filter FILTER PROTO FROM-SAME-ADDRESS FROM-ANOTHER: "in", or the reason to drop. The peer has
# sent to port 7 of the ghost.
by_filter()
{
	local proto=$2

	ctl peer set client --filter "$1" >/dev/null
	goes_out "$proto" $((4000 + RANDOM % 20000)) $GHOST 7
	comes_in "$proto" $GHOST 7 "$PUBLIC" "$PUBLIC_PORT"
	comes_or_not "$3" "$proto" $GHOST 8 "$PUBLIC" "$PUBLIC_PORT"
	comes_or_not "$4" "$proto" $STRANGER 7 "$PUBLIC" "$PUBLIC_PORT"
}

comes_or_not()
{
	local verdict=$1

	shift
	if [[ $verdict == in ]]; then
		comes_in "$@"
	else
		is_dropped "$verdict" in "$@"
	fi
}

for proto in udp tcp; do
	step "each filter, packet by packet: $proto"
	by_filter strict $proto no_session no_session
	by_filter moderate $proto in no_session
	by_filter open $proto in in
done

step "a change of the filter leaves flows that are there"
ctl peer set client --filter open >/dev/null
goes_out udp 30000 $GHOST 7
comes_in udp $STRANGER 7 "$PUBLIC" "$PUBLIC_PORT"
ctl peer set client --filter strict >/dev/null
is_dropped no_session in udp $STRANGER 8 "$PUBLIC" "$PUBLIC_PORT"
comes_in udp $STRANGER 7 "$PUBLIC" "$PUBLIC_PORT"
comes_in udp $GHOST 7 "$PUBLIC" "$PUBLIC_PORT"

step "what nobody asked for is not answered"
for proto in tcp udp; do
	said=$(in_internet "$TOOLS/probe.py" --ports "$PUBLIC_PORT,1024,19999,443" inet0 \
		$STRANGER $GATEWAY_PUBLIC $proto "$PUBLIC")
	assert_equal "the answer" "$said" "sent 4"
done

# RFC 5382, REQ-4: not within 6 s, for the peer might begin to the same host meanwhile.
in_internet "$TOOLS/probe.py" --linger 6.5 --ports "$PUBLIC_PORT,1024,19999,443" inet0 \
	$STRANGER $GATEWAY_PUBLIC tcp "$PUBLIC" >"$RUN/late" &
late=$!

step "what goes out keeps a mapping, what comes in does not"
ctl peer set client --filter open >/dev/null
goes_out udp 30001 $GHOST 7
kept=$PUBLIC_PORT
"$TOOLS/ends.py" --only-send --count 6000 out udp 30001 $GHOST 7 &
keeps=$!
at_exit stop_process $keeps
# Told from the stream that keeps the other by what it carries.
goes_out --payload other udp 30002 $GHOST 7
[[ $PUBLIC_PORT -ne $kept ]] || fail "two inner ports have one public port"
"$TOOLS/ends.py" --only-send --count 6000 in udp $GHOST 7 "$PUBLIC" "$PUBLIC_PORT" &
spam=$!
at_exit stop_process $spam
before=$(drop no_session)
eventually 40 "the mapping ends" drop_is_at_least no_session $((before + 1))
kill -0 $keeps $spam 2>/dev/null || fail "the mapping lived as long as something came in"
wait $late || fail "the probe: $(<"$RUN/late")"
assert_equal "the answer to a SYN, for 6 s" "$(grep -v -- "-> $GHOST:" "$RUN/late")" "sent 4"
# Older than the one that has ended.
goes_out udp 30001 $GHOST 7
assert_equal "the public port, later" "$PUBLIC_PORT" "$kept"

finish
