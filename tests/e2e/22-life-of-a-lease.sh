#!/usr/bin/env bash
# A door that closes, and when its peer comes back for it: the port is the same one, and nobody else
# gets it meanwhile. What was opened until a moment ends then, whatever renews it; a door with an
# idle limit lasts as long as it is used; and none is older than leases.max_age.
. "$(dirname "$0")/lib.sh"

readonly OTHER_KEY=CAQDAgEGBQgHCgkMCw4NEBIRFBMWFRgXGhkcGx4dIAE=

make_keys
net_create
CONF_LEASES='ports = "20000-20001"; deny = [ "20001" ]; quarantine = "1s"; reserve = "1h";'
CONF_POOL='"198.51.100.5/32"'
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER --name client --forwarding on >/dev/null
ctl peer add $OTHER_KEY --address 100.64.0.77 --name other --forwarding on >/dev/null
client_start
client_connect
client_serves 5001

# Of two ports one is denied: there is one to be had.
others_try()
{
	ctl lease open --peer other --to-port 80 >/dev/null 2>&1
}

step "a port that is denied"
said=$(ctl lease open --peer client --to-port 5001 --public-port 20001 2>&1) &&
	fail "a denied port was not refused"
grep -qF leases.deny <<<"$said" || fail "leases.deny is missing in: $said"

step "a lease ends at its last moment, though it is renewed"
lease_open --proto both --to-port 5001 --until "@$(($(date +%s) + 3))"
must "echo" datagrams sizes 0 100 50
ctl lease renew "$LEASE_ID" --ttl 1h >/dev/null
no_lease_is_open()
{
	[[ $(ctl --json lease list | field leases) -eq 0 ]]
}
eventually 10 "it ends" no_lease_is_open
assert_equal "the answer of a shut door" "$(knock udp)" "sent 1"

step "its port is kept for the peer"
ctl lease reserved | grep -q "^reserved  *client  *198.51.100.5:20000 " || fail "it is not listed"
others_try && fail "another peer got the port"

step "which gets it again, and data flows"
lease_open --proto both --to-port 5001
assert_equal "the port" "$LEASE_PORT" 20000
must "echo" datagrams sizes 0 100 50

step "traffic keeps a door with an idle limit open"
ctl lease close "$LEASE_ID" >/dev/null
lease_open --proto both --to-port 5001 --idle 3s
"$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock" --json events --only lease.closed \
	--count 1 >"$RUN/closed.json" 2>&1 &
listener=$!
spawn internet "$TOOLS/echo.py" stream "$LEASE_ADDRESS" "$LEASE_PORT" 7 >"$RUN/stream.log" 2>&1
must "the stream" wait $SPAWNED
ctl lease show "$LEASE_ID" >/dev/null || fail "it was closed while it was used"

step "and checks do not"
began=$SECONDS
is_closed_while_checked()
{
	ctl lease check "$LEASE_ID" --proto udp >"$RUN/check.log" 2>&1 || true
	no_lease_is_open
}
eventually 12 "it is closed" is_closed_while_checked
grep -q "answered: the door is open\|there is no open lease" "$RUN/check.log" ||
	fail "the check says: $(<"$RUN/check.log")"
assert_at_least "seconds that it was idle" $((SECONDS - began + 1)) 2
wait $listener || fail "no event tells of it: $(<"$RUN/closed.json")"
assert_equal "why" "$(field reason <"$RUN/closed.json")" idle

step "what was a deleted peer's rests, and is then anybody's"
ctl peer del client >/dev/null
others_try && fail "another peer got the port at once"
eventually 10 "another peer gets the port" others_try

step "no lease is older than leases.max_age, whatever renews it"
gateway_stop
CONF_LEASES='ports = "20000-20001"; max_age = "4s"; quarantine = "1s"; reserve = "1h";'
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER --name client --forwarding on >/dev/null
began=$EPOCHREALTIME
lease_open --proto both --to-port 5001 --ttl 1h
renewals=0
while ctl lease renew "$LEASE_ID" --ttl 1h >/dev/null 2>&1; do
	renewals=$((renewals + 1))
done
lived_ms=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
no_lease_is_open || fail "a renewal was refused, and it is there"
assert_at_least "the number of renewals" $renewals 5
[[ $lived_ms -ge 3500 && $lived_ms -le 9000 ]] || fail "it lived $lived_ms ms"

finish
