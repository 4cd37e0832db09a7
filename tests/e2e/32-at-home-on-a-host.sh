#!/usr/bin/env bash
# At home on a host: the service manager is told, the configuration is read again, and what is
# installed lies where Debian looks for it: unit, manuals, completion.
. "$(dirname "$0")/lib.sh"

readonly STAGE=$RUN/stage EXPOSURE_MAX=45

# heard LINE [N]: the gateway told the service manager so, N times.
heard()
{
	[[ $(grep -cxF -- "$1" "$RUN/notify.log") -ge ${2-1} ]]
}

# installed FILE: where it lies in the stage.
installed()
{
	local path

	path=$(find "$STAGE" -path "*/$1" -type f)
	[[ -n $path ]] || fail "$1 is not installed" >&2
	printf '%s\n' "$path"
}

step "meson install: programs, unit, configuration, manuals, completion"
DESTDIR=$STAGE meson install -C "$BUILD" --no-rebuild >"$RUN/install.log" 2>&1 ||
	fail "$(tail -n 5 "$RUN/install.log")"
for file in sbin/portier bin/portierctl etc/portier/portier.conf man/man5/portier.conf.5 \
	man/man8/portier.8 man/man8/portierctl.8 bash-completion/completions/portierctl \
	systemd/system/portier.service sysusers.d/portier.conf \
	portier/prometheus-rules.yml portier/grafana-dashboard.json portier/dpdk-setup.sh; do
	installed $file >/dev/null
done
PORTIERCTL=$(installed bin/portierctl)
COMPLETION=$(installed bash-completion/completions/portierctl)
UNIT=$(installed systemd/system/portier.service)

step "the unit is sound"
grep '@' "$UNIT" | grep -qv '^SystemCallFilter=@' && fail "a word was not filled in"
if command -v systemd-analyze >/dev/null; then
	# Its programs lie in the stage only.
	sed "s,=/.*bin/portier ,=$(installed sbin/portier) ,; s,=/.*/portierctl ,=$PORTIERCTL ," \
		"$UNIT" >"$RUN/portier.service"
	said=$(systemd-analyze verify --man=no "$RUN/portier.service" 2>&1) || fail "$said"
	[[ -z $said ]] || fail "$said"
	# What is left open has a reason in the unit; in tenths, as systemd-analyze counts.
	said=$(systemd-analyze security --offline=yes --no-pager --threshold=$EXPOSURE_MAX \
		"$RUN/portier.service" 2>&1) || fail "the unit is more open than it was: $said"
elif [[ ${CI-} == true ]]; then
	fail "systemd-analyze is not installed (./dpdk-setup.sh deps)"
fi

step "manuals render, and have each verb, option and key"
man_text()
{
	MANWIDTH=10000 man -E UTF-8 --warnings --no-hyphenation --no-justification \
		-l "$(installed "$1")" 2>"$RUN/man.log" | col -b
}
for page in portier.8 portierctl.8 portier.conf.5; do
	man_text $page >"$RUN/$page.txt"
	[[ ! -s $RUN/man.log ]] || fail "$page: $(<"$RUN/man.log")"
done
# manual_has PAGE WORD...
manual_has()
{
	local page=$1 word

	shift
	for word in "$@"; do
		grep -qF -- "$word" "$RUN/$page.txt" || fail "$page does not have $word"
	done
}
mapfile -t options < <("$BUILD/app/portier/portier" --help | grep -oE -- '--[a-z-]+')
manual_has portier.8 "${options[@]}"
nouns=$("$PORTIERCTL" --help | awk '/^  [a-z]/ { print $1 }' | sort -u)
for noun in $nouns; do
	verbs=$("$PORTIERCTL" "$noun" --help | awk -v noun="$noun" '$1 == noun { print $2 }')
	for verb in ${verbs:-""}; do
		manual_has portierctl.8 "$noun${verb:+ $verb}"
		mapfile -t options < <("$PORTIERCTL" "$noun" ${verb:+"$verb"} --help |
			awk '/^  -/ { print $1 }')
		manual_has portierctl.8 "${options[@]}"
	done
done
mapfile -t keys < <(sed 's/^#://' "$ROOT/config/portier.conf" |
	sed -nE 's/^[[:space:]]*([a-z0-9_]+) = .*/\1/p')
assert_at_least "keys" ${#keys[@]} 60
for key in "${keys[@]}"; do
	grep -qE "^ +([a-z_]+\.)*$key$" "$RUN/portier.conf.5.txt" ||
		fail "portier.conf.5 does not have $key"
done

step "completion offers nouns, verbs and options"
# offers WORD...: what is offered for the last of them.
offers()
{
	PATH=${PORTIERCTL%/*}:$PATH bash -c '
		. "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_portierctl
		printf "%s\n" "${COMPREPLY[@]}"' - "$COMPLETION" portierctl "$@" |
		sort | tr '\n' ' '
}
assert_equal "offers for le" "$(offers le)" "lease "
assert_equal "offers for lease c" "$(offers lease c)" "check close "
assert_equal "offers for lease open --to" "$(offers lease open --to)" \
	"--to-address --to-port "
assert_equal "offers for -s X drops --a" "$(offers -s X drops --a)" "--all "

step "the service manager hears READY when the gateway answers, and the watchdog is fed"
make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
: >"$RUN/gateway.log"
serve gateway notify "$TOOLS/notify.py" "$RUN/notify.sock"
export NOTIFY_SOCKET=$RUN/notify.sock WATCHDOG_USEC=300000
# Lines bear the journal's priorities when standard error is its stream.
JOURNAL_STREAM=$(stat -c %d:%i "$RUN/gateway.log")
export JOURNAL_STREAM
gateway_start
unset NOTIFY_SOCKET WATCHDOG_USEC JOURNAL_STREAM
eventually 10 "READY=1" heard READY=1
eventually 10 "the watchdog" heard WATCHDOG=1 5
grep -q '^<6>ready: ' "$RUN/gateway.log" || fail "the log has no priorities"

step "it is fed no more while a worker is stuck"
health_has()
{
	ctl --json health | grep -q -- "$1"
}
watchdog_is_fed()
{
	local before

	before=$(grep -cxF WATCHDOG=1 "$RUN/notify.log")
	poll_until 2 heard WATCHDOG=1 $((before + 1))
}
watchdog_is_hungry()
{
	! watchdog_is_fed
}
serve gateway hold "$TOOLS/hold_thread.py" "$GATEWAY_PID" rte-worker
eventually 20 "health tells of it" health_has "has not turned for"
eventually 10 "the service manager hears nothing" watchdog_is_hungry
kill -TERM $SPAWNED
wait $SPAWNED || fail "it is not let go: $(<"$RUN/hold.log")"
eventually 20 "it is fed again" watchdog_is_fed

step "a client is connected, and has a door"
client_start
client_connect
client_serves 5001
lease_open --proto udp --to-port 5001
must "echo" datagrams sizes 0 10

step "SIGHUP: what can change changes, and the log says what can not"
OTHER_KEY=$(wg genkey | wg pubkey)
CONF_PEERS+=", { name = \"other\"; public_key = \"$OTHER_KEY\"; address = \"100.64.0.9\";
	forwarding = true; leases = ( { public_port = 20077; to_port = 7; } ); }"
CONF_LEASES='max_ttl = "90s"; default_ttl = "60s";'
CONF_TUNNEL='listen_port = 4000;'
gateway_conf
kill -HUP "$GATEWAY_PID"
eventually 10 "the reload" heard RELOADING=1
eventually 10 "the end of the reload" heard READY=1 2
assert_equal "leases of other" "$(ctl --json lease list --peer other | field leases)" 1
assert_equal "ttl of a lease" \
	"$(ctl --json lease open --peer other --to-port 8 --ttl 1h | field ttl_s)" 90
grep -q "^<4>reload: tunnel.listen_port .* restart" "$RUN/gateway.log" ||
	fail "the log does not say that the port takes a restart"
must "echo" datagrams sizes 0 10

step "portierctl reload: the same, said to the asker"
CONF_PEERS=$(conf_peer)
gateway_conf
said=$(ctl reload)
grep -q "tunnel.listen_port" <<<"$said" || fail "it says: $said"
ctl lease list --peer other >/dev/null 2>&1 && fail "other is still there"
must "echo" datagrams sizes 0 10
echo 'nonsense = 1;' >>"$RUN/portier.conf"
said=$(ctl reload 2>&1) && fail "a file with a fault is taken"
grep -q "nonsense.*nothing was changed" <<<"$said" || fail "it says: $said"

step "the service manager hears of the end"
finish_heard()
{
	gateway_stop
	heard STOPPING=1 || fail "the service manager was not told"
}
poll_until 10 counters_balance || fail "$(counters_balance 2>&1)"
finish_heard

finish
