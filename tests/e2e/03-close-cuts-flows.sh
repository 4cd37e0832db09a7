#!/usr/bin/env bash
# Closing a lease, or its expiry, ends established flows at once and leaves silence behind; renewing
# it changes nothing for those who use it.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001

# must_be_cut SIZE: SIZE bytes of the flow were back when the lease ended. One may have been under
# way.
must_be_cut()
{
	local status=0

	wait "$HOLD_PID" || status=$?
	[[ $status -ne 0 ]] || fail "the flow ended well"
	[[ $(held_size) -le $(($1 + 1)) ]] || fail "the flow lived on after its lease"
}

must_be_shut()
{
	assert_equal "the answer of a shut door" "$(knock tcp)" "sent 1"
}

step "close"
lease_open --proto tcp --to-port 5001
hold_flow
ctl lease close "$LEASE_ID" >/dev/null
must_be_cut "$(held_size)"
must_be_shut
ctl lease show "$LEASE_ID" >/dev/null 2>&1 && fail "the lease is still shown"

step "expiry"
before=$EPOCHREALTIME
lease_open --proto tcp --to-port 5001 --ttl 6s
hold_flow
wait "$HOLD_PID" && fail "the flow ended well"
lived_ms=$(((${EPOCHREALTIME/./} - ${before/./}) / 1000))
# The last byte waits four seconds for its answer.
[[ $lived_ms -ge 10000 && $lived_ms -le 16000 ]] || fail "a lease of 6 s lived $lived_ms ms"
must_be_shut

step "renewal"
lease_open --proto udp --to-port 5001 --ttl 2s
door="$LEASE_ID $LEASE_ADDRESS $LEASE_PORT"
spawn internet "$TOOLS/echo.py" stream "$LEASE_ADDRESS" "$LEASE_PORT" 6 >"$RUN/stream.log" 2>&1
renewals=0
while kill -0 $SPAWNED 2>/dev/null; do
	ctl lease renew "$LEASE_ID" --ttl 2s >/dev/null || fail "renewal $renewals was refused"
	renewals=$((renewals + 1))
done
wait $SPAWNED || fail "the stream failed: $(<"$RUN/stream.log")"
assert_at_least "the number of renewals" $renewals 10
grep -q ' lost 0$' "$RUN/stream.log" || fail "packets were lost: $(<"$RUN/stream.log")"
# Asking for the same door again is a renewal, too.
lease_open --proto udp --to-port 5001 --ttl 5s
assert_equal "the door after renewals" "$LEASE_ID $LEASE_ADDRESS $LEASE_PORT" "$door"

finish
