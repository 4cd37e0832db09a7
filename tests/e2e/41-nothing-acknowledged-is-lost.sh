#!/usr/bin/env bash
# The gateway is killed with SIGKILL at random moments, under a stream of changes and while it
# starts: whatever was acknowledged is there afterwards, and of what was not, all or nothing. Peers,
# bars, leases of each kind, and the history of them.
# PORTIER_TEST_KILLS=N kills that often (20).
. "$(dirname "$0")/lib.sh"

readonly KILLS=${PORTIER_TEST_KILLS-20}

make_keys
net_create
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_HISTORY='mode = "full";'
CONF_POOL="\"$POOL\" ]; dedicated = [ \"198.51.100.64/29\""
CONF_LEASES='max = 20000; quarantine = "1s";'
gateway_conf

churn()
{
	"$TOOLS/churn.py" "$RUN/control.sock" "$RUN/churn.json" "$@"
}

step "a stream of changes, and kill -9"
gateway_start
assert_equal "the mode of the store" "$(stat -c %a "$RUN/store/portier.db")" 600
assert_equal "the mode of its log" "$(stat -c %a "$RUN/store/portier.db-wal")" 600
n_acknowledged=0
for ((i = 1; i <= KILLS; i++)); do
	churn --kill "$GATEWAY_PID" >"$RUN/churn.log" || fail "kill $i: $(<"$RUN/churn.log")"
	n_acknowledged=$((n_acknowledged + $(sed -n 's/ changes .*//p' "$RUN/churn.log")))
	eventually 20 "the gateway is gone" gateway_is_gone
	wait "$GATEWAY_PID" 2>/dev/null || true
	if ((i % 4 == 0)); then
		gateway_spawn
		# Anywhere in the start, which takes about half a second.
		sleep 0.$((RANDOM % 6))$((RANDOM % 10))
		gateway_kill
	fi
	gateway_start
done
churn --only-check || fail "after the last kill"
printf '%d changes were acknowledged\n' "$n_acknowledged"
assert_at_least "changes that were acknowledged" "$n_acknowledged" "$KILLS"

step "an orderly end loses nothing either"
churn --count 200 || fail "a run without a kill"
gateway_stop
gateway_start
churn --only-check || fail "after an orderly end"

step "a store of another schema is refused with a sentence"
gateway_stop
python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 99")' "$RUN/store/portier.db"
gateway_spawn
eventually 20 "it ends" gateway_is_gone
status=0
wait "$GATEWAY_PID" || status=$?
GATEWAY_PID=
assert_equal "exit status" $status 1
grep -qF "has schema 99, written by a newer portier; accepted: up to" "$RUN/gateway.log" ||
	fail "no word of the schema: $(tail -n 3 "$RUN/gateway.log")"

finish
