#!/usr/bin/env bash
# The disk fills up: who asks for a change is told, health and metrics raise an alarm, and packets
# do not notice. When there is room again all goes on, and nothing is lost. Likewise when the
# file is taken away; and a disk that is read-only is refused.
. "$(dirname "$0")/lib.sh"

readonly DISK=$RUN/disk METRICS_PORT=9464

make_keys
net_create
mkdir -m 0700 "$DISK"
mount -t tmpfs -o size=1m,mode=0700 tmpfs "$DISK"
CONF_STORE="path = \"$DISK/portier.db\";"
CONF_METRICS="listen = \"127.0.0.1:$METRICS_PORT\";"
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --to-port 5001
lease=$LEASE_ID
ctl peer set client --portmap on >/dev/null

is_degraded()
{
	[[ $(ctl --json health | field health) == degraded ]]
}

is_well()
{
	! is_degraded
}

failing()
{
	in_gateway curl -sf "http://127.0.0.1:$METRICS_PORT/metrics" |
		sed -n 's/^portier_store_failing //p'
}

is_told_of_a_renewal()
{
	ctl lease renew "$lease" >/dev/null && [[ -s $RUN/events.log ]]
}

# refused WORDS COMMAND...: it fails, and says these words, the file and the reason.
refused()
{
	local words=$1 said

	shift
	if said=$("$@" 2>&1); then
		fail "$* was not refused: $said"
	fi
	for word in "$words" "$DISK/portier.db" "disk is full"; do
		grep -qF "$word" <<<"$said" || fail "$*: no word of '$word': $said"
	done
}

step "the disk fills up"
assert_equal "portier_store_failing" "$(failing)" 0
spawn gateway "$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock" events >"$RUN/events.log"
eventually 10 "the subscription" is_told_of_a_renewal
hold_flow
dd if=/dev/zero of="$DISK/filler" bs=4k 2>/dev/null || true
# The first that does not fit is told; a note of where the client is may have come before it.
for ((i = 0; i < 200; i++)); do
	ctl lease renew "$lease" >"$RUN/renew.log" 2>&1 || break
done
grep -qE "is in force|nothing was done" "$RUN/renew.log" ||
	fail "no renewal was refused: $(<"$RUN/renew.log")"
refused "nothing was done" ctl lease open --peer client --to-port 5002
refused "nothing was done" ctl peer set client --max-leases 3
assert_equal "the number of leases" "$(ctl --json lease list | field leases)" 1

step "an alarm"
must "degraded health" is_degraded
ctl health | grep -qF "$DISK/portier.db: cannot be written: database or disk is full" ||
	fail "health does not say why"
assert_equal "portier_store_failing" "$(failing)" 1
eventually 10 "an event" grep -q "store.failing" "$RUN/events.log"

step "packets do not notice"
eventually 10 "the flow goes on" held_is_beyond $(($(held_size) + 10))
must "a transfer" transfer get 1000000
must "datagrams" datagrams sizes 0 100 50

step "NAT-PMP is told, too"
answer=$(in_client natpmpc -g $GATEWAY_INNER -a 0 5003 udp 60 2>&1 || true)
grep -q "server out of resources" <<<"$answer" || fail "it was told: $answer"

step "a door closes nevertheless"
refused "is in force" ctl lease close "$lease"
assert_equal "the number of leases" "$(ctl --json lease list | field leases)" 0
kill "$HOLD_PID" 2>/dev/null || true

step "room again"
rm "$DISK/filler"
eventually 20 "health is well again" is_well
assert_equal "portier_store_failing" "$(failing)" 0
eventually 10 "an event" grep -q "store.recovered" "$RUN/events.log"
lease_open --to-port 5001 --proto tcp
gateway_kill
gateway_start
assert_equal "the leases after a restart" "$(ctl --json lease list | field leases.0.id)" \
	"$LEASE_ID"

step "the file is taken away, and put back"
mv "$DISK/portier.db" "$DISK/away.db"
refused_as()
{
	local said

	if said=$("${@:2}" 2>&1); then
		fail "${*:2} was not refused"
	fi
	[[ $said == *portier.db* && $said == *"$1"* ]] || fail "${*:2}: $said"
}
refused_as "the file is not in its place" ctl lease renew "$LEASE_ID"
refused_as "nothing was done" ctl lease renew "$LEASE_ID"
must "degraded health" is_degraded
eventually 20 "packets do not notice" in_client ping -n -q -c 1 -W 1 $GATEWAY_INNER
mv "$DISK/away.db" "$DISK/portier.db"
eventually 20 "health is well again" is_well
must "a renewal" ctl lease renew "$LEASE_ID"

step "a directory that can not be written to is refused at the start"
gateway_stop
mount -o remount,ro "$DISK"
gateway_spawn
eventually 20 "it ends" gateway_is_gone
wait "$GATEWAY_PID" && fail "it runs on a disk that is read-only"
GATEWAY_PID=
grep -F "$DISK/portier.db" "$RUN/gateway.log" | grep -qF "Read-only file system" ||
	fail "it says: $(tail -n 3 "$RUN/gateway.log")"

finish
