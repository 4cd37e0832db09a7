# lib.sh - what every end-to-end test begins with. To be sourced first, by a script that bash runs.
#
# A test runs in mount, network and process namespaces of its own, with an empty /run: tests run
# beside each other, and whatever happens to one, nothing of it stays. The network inside is drawn
# in scripts/lib/net.sh. A test ends with `finish`, which checks the counters of the gateway and
# that it stops as it should; a script that ends in any other way has failed.
# shellcheck shell=bash
set -euo pipefail

skip()
{
	printf 'skipped: %s\n' "$*"
	exit 77
}

if [[ -z ${PORTIER_E2E_INSIDE-} ]]; then
	[[ $(id -u) -eq 0 ]] || skip "network namespaces need root"
	[[ -c /dev/net/tun ]] || skip "there is no /dev/net/tun for wireguard-go"
	for tool in ip wg wireguard-go ethtool ping curl python3; do
		command -v $tool >/dev/null || skip "$tool is not installed (./dpdk-setup.sh deps)"
	done
	unshare --mount --net --pid --fork true 2>/dev/null || skip "namespaces are not allowed"
	PORTIER_E2E_INSIDE=1 exec unshare --mount --net --pid --fork --kill-child --mount-proc \
		bash "$0" "$@"
fi

ROOT=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
BUILD=$(readlink -f "${PORTIER_BUILD:-$ROOT/build}")
TOOLS=$ROOT/tests/e2e/tools
RUN=/run/portier
readonly ROOT BUILD TOOLS RUN

# A version manager's python3 is a script that looks for the real one at each of hundreds of starts.
PATH=$(python3 -c 'import os, sys; print(os.path.dirname(sys.executable))'):$PATH
export PATH PYTHONDONTWRITEBYTECODE=1 LC_ALL=C
export ASAN_OPTIONS=${ASAN_OPTIONS-exitcode=99:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS-halt_on_error=1:print_stacktrace=1:exitcode=99}

mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p "$RUN" /run/netns
ip link set lo up

# shellcheck source=../../scripts/lib/net.sh
. "$ROOT/scripts/lib/net.sh"

# --- verdicts ------------------------------------------------------------------------------------

STEP=beginning
FINISHED=

step()
{
	STEP=$*
	printf -- '-- %s\n' "$*"
}

fail()
{
	printf 'FAILED at "%s": %s\n' "$STEP" "$*"
	exit 1
}

# assert_equal WHAT GOT WANTED
assert_equal()
{
	[[ $2 == "$3" ]] || fail "$1 is '$2', not '$3'"
}

# assert_at_least WHAT GOT LEAST
assert_at_least()
{
	[[ $2 -ge $3 ]] || fail "$1 is $2, less than $3"
}

# must WHAT COMMAND ARG...
must()
{
	local what=$1

	shift
	"$@" || fail "$what (exit status $?)"
}

# eventually SECONDS WHAT COMMAND ARG...
eventually()
{
	local seconds=$1 what=$2

	shift 2
	poll_until "$seconds" "$@" || fail "$what: not within $seconds s"
}

dump()
{
	local view portierctl=$BUILD/app/portierctl/portierctl

	if [[ -S $RUN/control.sock ]]; then
		for view in stats drops 'peer list' 'lease list'; do
			printf -- '----- portierctl %s\n' "$view"
			# shellcheck disable=SC2086 # a noun and a verb
			timeout 5 "$portierctl" -s "$RUN/control.sock" $view || true
		done
	fi
	for view in "$RUN"/*.log; do
		if [[ -s $view ]]; then
			printf -- '----- %s (last lines)\n' "${view##*/}"
			tail -n 40 "$view"
		fi
	done
}

on_exit()
{
	local status=$?

	trap '' INT TERM
	if [[ $status -eq 0 && -z $FINISHED ]]; then
		printf 'FAILED: the test ended without "finish"\n'
		status=1
	fi
	if [[ $status -ne 0 && $status -ne 77 ]]; then
		printf 'FAILED at "%s" (line %s)\n' "$STEP" "${BASH_LINENO[0]}"
		dump
	fi
	run_cleanup
	exit $status
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what the gateway says -----------------------------------------------------------------------

# field PATH...: of the JSON on standard input; parts of a path are joined by dots.
field()
{
	"$TOOLS/field.py" "$@"
}

# drop REASON, counter NAME, handshakes NAME: sums over all workers.
drop()
{
	ctl --json stats | field "totals.drops.$1"
}

counter()
{
	ctl --json stats | field "totals.counters.$1"
}

handshakes()
{
	ctl --json stats | field "handshake.counters.$1"
}

drop_is_at_least()
{
	[[ $(drop "$1") -ge $2 ]]
}

counter_is_at_least()
{
	[[ $(counter "$1") -ge $2 ]]
}

peer_field()
{
	ctl --json peer show "$1" | field "$2"
}

counters_balance()
{
	ctl --json stats | "$TOOLS/balance.py"
}

# lease_open ARG...: sets LEASE_ID, LEASE_ADDRESS and LEASE_PORT.
lease_open()
{
	local reply

	reply=$(ctl --json lease open --peer client "$@") ||
		fail "lease open $* was refused: $reply"
	export LEASE_ID LEASE_ADDRESS LEASE_PORT
	read -r LEASE_ID LEASE_ADDRESS LEASE_PORT \
		< <(field id public_address public_port <<<"$reply")
}

# --- servers -------------------------------------------------------------------------------------

# serve NAMESPACE FILE COMMAND ARG...: run a server that prints "ready" on a line of its own.
serve()
{
	local ns=$1 log=$RUN/$2.log

	shift 2
	spawn "$ns" "$@" >"$log" 2>&1
	poll_until 10 grep -qx ready "$log" || fail "$* did not get ready: $(<"$log")"
}

# The client serves TCP and UDP on a port, as the functions below expect.
client_serves()
{
	serve client tcp "$TOOLS/transfer.py" serve $INNER "$1"
	serve client udp "$TOOLS/echo.py" serve $INNER "$1"
}

# --- from the Internet through the current lease -------------------------------------------------

# transfer VERB ARG...: see tools/transfer.py; likewise datagrams, of tools/echo.py.
transfer()
{
	local verb=$1

	shift
	in_internet "$TOOLS/transfer.py" "$verb" "$LEASE_ADDRESS" "$LEASE_PORT" "$@"
}

datagrams()
{
	local verb=$1

	shift
	in_internet "$TOOLS/echo.py" "$verb" "$LEASE_ADDRESS" "$LEASE_PORT" "$@"
}

# Both directions, with their rates.
transfer_both_ways()
{
	local verb

	for verb in get put; do
		step "$verb $1 bytes"
		transfer $verb "$1" || fail "$verb"
	done
}

# knock PROTO: one frame at the door; what is answered.
knock()
{
	in_internet "$TOOLS/probe.py" --ports "$LEASE_PORT" inet0 $HOST $GATEWAY_PUBLIC "$1" \
		"$LEASE_ADDRESS"
}

# hold_flow: a byte to and fro through the lease, in the background: HOLD_PID, and $RUN/held grows
# by each byte that is back.
hold_flow()
{
	: >"$RUN/held"
	spawn internet "$TOOLS/transfer.py" hold "$LEASE_ADDRESS" "$LEASE_PORT" "$RUN/held" \
		>"$RUN/hold.log" 2>&1
	export HOLD_PID=$SPAWNED
	eventually 10 "the flow lives" held_is_beyond 10
}

held_size()
{
	stat -c %s "$RUN/held"
}

held_is_beyond()
{
	[[ $(held_size) -gt $1 ]]
}

# --- packet by packet: see tools/ends.py ---------------------------------------------------------

# An address on the Internet, and one of IPv6 after net_add_ipv6, whose host says nothing of its own
# accord: no port unreachable, no RST.
readonly GHOST=203.0.113.77 GHOST6=2001:db8:f::77

ghost_appears()
{
	ip_internet address add $GHOST/24 dev inet0
	ip_internet rule add from $GHOST blackhole
	ip_internet address add $GHOST6/64 dev inet0 nodad
	ip_internet -6 rule add from $GHOST6 blackhole
}

# From here on the peer says nothing, either.
client_goes_mute()
{
	ip_client rule add from $INNER blackhole
	ip_client -6 rule add from $INNER6 blackhole
}

# goes_out [OPTION...] PROTO SPORT DST DPORT: it arrives, and PUBLIC and PUBLIC_PORT are its source
# there.
goes_out()
{
	local line dst

	line=$("$TOOLS/ends.py" "${@:1:$#-4}" out "${@: -4}") || fail "$* does not get out: $?"
	export PUBLIC PUBLIC_PORT
	read -r PUBLIC PUBLIC_PORT dst _ <<<"$line"
	assert_equal "the destination of $*" "$dst" "${*: -2:1}"
}

# comes_in [OPTION...] PROTO SRC SPORT DST DPORT: it arrives, its source as it was.
comes_in()
{
	local line src sport

	line=$("$TOOLS/ends.py" "${@:1:$#-5}" in "${@: -5}") || fail "$* does not get in: $?"
	read -r src sport _ <<<"$line"
	assert_equal "the source of $*" "$src $sport" "${*: -4:2}"
}

# is_dropped REASON [OPTION...] VERB ARG...: a packet of ends.py ends at the gateway, for that
# reason.
is_dropped()
{
	local reason=$1 before

	shift
	before=$(drop "$reason")
	"$TOOLS/ends.py" --only-send "$@"
	poll_until 5 drop_is_at_least "$reason" $((before + 1)) ||
		fail "$* was not dropped as $reason"
	assert_equal "packets dropped as $reason" $(($(drop "$reason") - before)) 1
}

# --- the end -------------------------------------------------------------------------------------

# What clients are promised was kept, all the while that this gateway ran.
promises_are_kept()
{
	local promises=(port_moved told_too_early address_differs unanswered untold) counts

	counts=$(ctl --json stats | field "${promises[@]/#/promises.counters.}")
	assert_equal "how often were broken ${promises[*]}" "$counts" "0 0 0 0 0"
}

gateway_stop()
{
	local status=0

	promises_are_kept
	kill -TERM "$GATEWAY_PID"
	poll_until 20 gateway_is_gone || fail "the gateway does not end on SIGTERM"
	wait "$GATEWAY_PID" || status=$?
	assert_equal "exit status of the gateway" $status 0
	[[ ! -e $RUN/control.sock ]] || fail "the gateway left its socket behind"
	GATEWAY_PID=
}

# As a crash does.
gateway_kill()
{
	kill -KILL "$GATEWAY_PID"
	poll_until 20 gateway_is_gone || fail "the gateway is not gone"
	wait "$GATEWAY_PID" 2>/dev/null || true
}

gateway_is_gone()
{
	[[ ! -e /proc/$GATEWAY_PID ]] || grep -q '^State:.*zombie' "/proc/$GATEWAY_PID/status"
}

finish()
{
	if [[ -n $GATEWAY_PID ]]; then
		step "every packet is accounted for"
		poll_until 10 counters_balance || fail "$(counters_balance 2>&1)"
		[[ $CONF_HOME_SHIFT -eq 0 ]] || counter_is_at_least handed_in 1 ||
			fail "no packet was handed over"
		step "the gateway stops cleanly"
		gateway_stop
	fi
	FINISHED=1
	exit 0
}
