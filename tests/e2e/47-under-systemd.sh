#!/usr/bin/env bash
# The unit, as it is installed, under a systemd of its own: start, reload, a crash, a worker that is
# stuck, stop; and what the unit forbids is forbidden.
. "$(dirname "$0")/lib.sh"

# Only times differ: how soon the watchdog bites.
readonly STAGE=$RUN/stage BOX=$RUN/box WATCHDOG_S=2
readonly SYSTEMD=/lib/systemd/systemd
# What systemd asks of each service by default.
readonly TARGETS=(sysinit basic shutdown network-pre)

[[ -x $SYSTEMD ]] || skip "systemd is not installed (./dpdk-setup.sh deps)"

# --- the box -------------------------------------------------------------------------------------

# A cgroup of our own below the one we are in; whoever can not have that is in a container.
cgroup_create()
{
	local all=$RUN/cgroup own

	own=$(sed -n 's/^0:://p' /proc/self/cgroup)
	mkdir "$all"
	mount -t cgroup2 cgroup2 "$all" || skip "cgroup2 can not be mounted"
	CGROUP=$(mktemp -d "$all$own/portier-XXXXXX") || skip "no cgroup can be made"
	at_exit cgroup_remove
}

cgroup_remove()
{
	poll_until 10 cgroup_is_removed
}

cgroup_is_removed()
{
	find "$CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null
	[[ ! -d $CGROUP ]]
}

# What is installed, our configuration in its place, and the units that systemd knows.
box_create()
{
	local unit target conf

	mkdir "$BOX"
	mount -t tmpfs -o mode=0755 tmpfs "$BOX"
	DESTDIR=$STAGE meson install -C "$BUILD" --no-rebuild >"$RUN/install.log" 2>&1 ||
		fail "$(tail -n 5 "$RUN/install.log")"
	mkdir -p "$BOX/units/portier.service.d"
	unit=$(find "$STAGE" -name portier.service)
	cp "$unit" "$BOX/units"
	cat >"$BOX/units/portier.service.d/test.conf" <<-CONF
		[Service]
		WatchdogSec=$WATCHDOG_S
		StandardError=append:/run/gateway.log
	CONF
	for target in box "${TARGETS[@]}"; do
		printf '[Unit]\nDefaultDependencies=no\n' >"$BOX/units/$target.target"
	done
	conf=$(sed -n 's/^ExecStart=.* -c //p' "$unit")
	CONF_DIR=${conf%/*}
	mkdir -p "$BOX/conf"
	install -m 0600 "$RUN/gateway.key" "$BOX/conf"
	sed "s,$RUN/gateway.key,$CONF_DIR/gateway.key," "$RUN/portier.conf" \
		>"$BOX/conf/portier.conf"
	# Where the tests look for them.
	ln -s "$BOX/portier/control.sock" "$RUN/control.sock"
	ln -s "$BOX/gateway.log" "$RUN/gateway.log"
}

box_start()
{
	spawn gateway "$TOOLS/boxed_systemd.sh" "$CGROUP" "$STAGE" "$BOX" "$CONF_DIR" \
		>"$RUN/systemd.log" 2>&1
	poll_until 20 box_is_ready || fail "systemd did not come up"
}

box_is_ready()
{
	[[ -S $BOX/systemd/private ]] && INIT_PID=$(pgrep -P "$SPAWNED") &&
		[[ -n $(boxed systemctl show --value -p Version) ]]
}

boxed()
{
	nsenter --target "$INIT_PID" --all "$@"
}

unit_has()
{
	[[ $(boxed systemctl show --value -p "$1" portier) == "$2" ]]
}

# unit_is PROPERTY VALUE
unit_is()
{
	assert_equal "$1" "$(boxed systemctl show --value -p "$1" portier)" "$2"
}

main_pid()
{
	boxed systemctl show --value -p MainPID portier
}

make_keys
net_create
CONF_PEERS=$(conf_peer)
CONF_STORE='path = "/var/lib/portier/portier.db";'
gateway_conf
cgroup_create
box_create
box_start

step "start: it returns when the gateway is ready"
boxed systemctl start portier || fail "$(boxed systemctl status portier)"
ctl health >/dev/null || fail "it is not ready"
unit_is ActiveState active
unit_is NRestarts 0
client_start
client_connect
client_serves 5001
lease_open --proto udp --to-port 5001
must "echo" datagrams sizes 0 10

step "what the unit forbids is forbidden"
pid=$(main_pid)
status_has()
{
	boxed grep -qP "^$1:\t$2$" "/proc/$pid/status" ||
		fail "not $1 $2 but $(boxed grep "^$1:" "/proc/$pid/status")"
}
status_has NoNewPrivs 1
status_has Seccomp 2
in_unit()
{
	boxed nsenter --target "$pid" --mount "$@"
}
in_unit ls /proc/self >/dev/null || fail "the view of the unit is not entered"
for dir in /usr /etc /var/lib /home; do
	in_unit touch "$dir/portier-test" 2>/dev/null && fail "$dir can be written to"
done
in_unit touch /var/lib/portier/test /run/test || fail "its own can not be written to"
assert_equal "mode of the state directory" "$(boxed stat -c %a /var/lib/portier)" 700

step "reload, by systemctl and by SIGHUP"
sed -i 's/^leases = {/leases = { max_ttl = "90s"; default_ttl = "60s";/' "$BOX/conf/portier.conf"
boxed systemctl reload portier || fail "$(tail "$RUN/gateway.log")"
ttl_is()
{
	[[ $(ctl --json lease open --peer client --to-port 8 --ttl 1h | field ttl_s) -eq $1 ]]
}
ttl_is 90 || fail "the file was not read"
sed -i 's/max_ttl = "90s"/max_ttl = "80s"/' "$BOX/conf/portier.conf"
boxed kill -HUP "$pid"
eventually 10 "the file is read" ttl_is 80
eventually 10 "active" unit_has ActiveState active
unit_is MainPID "$pid"
must "echo" datagrams sizes 0 10

step "the watchdog is fed for as long as it bites"
begun=$SECONDS
has_lived()
{
	[[ $((SECONDS - begun)) -gt $((2 * WATCHDOG_S)) ]]
}
eventually 10 "time passes" has_lived
unit_is MainPID "$pid"

# is_anew RESTARTS: systemd started it again, and it is ready.
is_anew()
{
	unit_has NRestarts "$1" && unit_has ActiveState active
}

step "after a crash it is there again, and so is the lease"
boxed kill -KILL "$pid"
eventually 20 "a restart" is_anew 1
client_connect
must "echo" datagrams sizes 0 10

step "a worker that is stuck is a crash"
serve gateway hold "$TOOLS/hold_thread.py" "$(pgrep -x portier)" rte-worker
eventually 30 "the watchdog bites" unit_has SubState stop-watchdog
stop_process $SPAWNED # who traces a thread keeps it from its end
eventually 30 "a restart" is_anew 2
client_connect
must "echo" datagrams sizes 0 10

step "stop"
promises_are_kept
poll_until 10 counters_balance || fail "$(counters_balance 2>&1)"
boxed systemctl stop portier || fail "it does not stop"
unit_is Result success
unit_is ExecMainStatus 0
unit_is ActiveState inactive
[[ ! -e $BOX/portier ]] || fail "the runtime directory is still there"
boxed test -s /var/lib/portier/portier.db || fail "the store is gone"

finish
