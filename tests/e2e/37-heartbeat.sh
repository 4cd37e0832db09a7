#!/usr/bin/env bash
# A client behind a NAT that forgets is reached through its lease after a long silence, because it
# hears from the gateway; keys that age meanwhile are renewed by the gateway. Once with all times a
# fifteenth, NAT and protocol alike, and once a little longer than 30 s of real time.
# PORTIER_TEST_SILENCE_S=N makes the latter that long (34).
. "$(dirname "$0")/lib.sh"

readonly NAT_PORT=51999 SILENCE_S=24 REAL_S=${PORTIER_TEST_SILENCE_S-34}
readonly REJECT_AFTER_S=180

make_keys
net_create
CONF_PEERS=$(conf_peer)
CONF_TIMERS='rekey_after = "8s"; reject_after = "12s"; rekey_attempt = "6s";
	rekey_timeout = "333ms"; keepalive = "666ms";'

# home_nat SECONDS: between the client and the gateway, from now on.
home_nat()
{
	serve client nat "$TOOLS/home_nat.py" $NAT_PORT $ENTRY 51820 "$1"
	NAT_PID=$SPAWNED
	CLIENT_ENDPOINT=127.0.0.1:$NAT_PORT
}

forgets()
{
	grep -q forgot "$RUN/nat.log"
}

# For so many seconds.
is_silent_for()
{
	[[ $((SECONDS - silent_since)) -ge $1 ]]
}

home_nat 2
CONF_LEASES='heartbeat = "0s";'
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto udp --to-port 5001
must "echo" datagrams sizes 100 100

step "without a heartbeat the way in is lost"
eventually 10 "the NAT forgets" forgets
in_internet timeout 2 "$TOOLS/echo.py" sizes "$LEASE_ADDRESS" "$LEASE_PORT" 100 100 &&
	fail "the client was reached"

step "a heartbeat is turned on, live"
sed -i 's/heartbeat = "0s"/heartbeat = "1600ms"/' "$RUN/portier.conf"
kill -HUP "$GATEWAY_PID"
has_heartbeat()
{
	[[ $(peer_field client heartbeat_s) == "$1" ]]
}
wireguard_anew client "$WG"
eventually 10 "the client has a heartbeat" has_heartbeat 1.6

step "with it, after $SILENCE_S s, which are six minutes, and several keys"
: >"$RUN/nat.log"
silent_since=$SECONDS installed=$(counter installed)
eventually $((SILENCE_S + 10)) "time passes" is_silent_for $SILENCE_S
! forgets || fail "the NAT forgot: $(<"$RUN/nat.log")"
assert_at_least "keys meanwhile" $(($(counter installed) - installed)) 2
assert_at_least "keys that the gateway asked for" "$(handshakes initiations_out)" 1
must "echo" datagrams sizes 100 100

step "no lease, no heartbeat"
ctl lease close "$LEASE_ID" >/dev/null
eventually 10 "there is no heartbeat" has_heartbeat 0.0
eventually 20 "the NAT forgets" forgets

step "at real times, after $REAL_S s"
gateway_stop
stop_process "$NAT_PID"
stop_process "$WIREGUARD_PID"
CONF_TIMERS='' CONF_LEASES=''
home_nat 30
gateway_conf
gateway_start
client_start
client_connect
lease_open --proto udp --to-port 5001
must "echo" datagrams sizes 100 100
: >"$RUN/nat.log"
silent_since=$SECONDS installed=$(counter installed)
eventually $((REAL_S + 10)) "time passes" is_silent_for "$REAL_S"
! forgets || fail "the NAT forgot: $(<"$RUN/nat.log")"
keys=$(($(counter installed) - installed))
assert_at_least "keys meanwhile" "$keys" $((REAL_S / REJECT_AFTER_S))
must "echo" datagrams sizes 100 100
printf '%s s of silence, %s new keys, %s\n' $((SECONDS - silent_since)) "$keys" \
	"$(wc -l <"$RUN/nat.log") times that the NAT opened or forgot a port"

finish
