#!/usr/bin/env bash
# Who had a public port at a moment: one port of two clients one after the other, and the block of
# ports that a client's own traffic left by; also after kill -9. Where history is off, nothing of
# what is over is in the file.
. "$(dirname "$0")/lib.sh"

readonly PUBLIC=198.51.100.5 PORT=20000

make_keys
net_create
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_LEASES='reserve = "0s"; quarantine = "60s";'
CONF_POOL="\"$PUBLIC/32\""
gateway_conf
gateway_start
for who in client friend; do
	inner=$INNER
	[[ $who == client ]] || inner=$FRIEND_INNER
	ctl peer add "$(<"$RUN/$who.pub")" --address $inner --name $who --forwarding on \
		--portmap on >/dev/null
done
client_start
client_connect
friend_start
client_serves 5001
serve friend tcp "$TOOLS/transfer.py" serve $FRIEND_INNER 5001
in_friend ping -n -q -i 0.2 -w 20 -c 1 $GATEWAY_INNER >/dev/null || fail "the friend is not there"

# opens WHO LABEL: the port is theirs, and carries data; ID is the lease.
opens()
{
	ID=$(ctl --json lease open --peer "$1" --proto tcp --public-address $PUBLIC \
		--public-port $PORT --to-port 5001 --label "$2" | field id)
	must "a transfer to $1" in_internet "$TOOLS/transfer.py" get $PUBLIC $PORT 10000
}

can_open()
{
	ctl lease open --peer "$1" --proto tcp --public-address "$PUBLIC" --public-port "$PORT" \
		--to-port 5001
}

is_past()
{
	[[ $(date +%s) -gt $1 ]]
}

# A second of which all has passed, and before which nothing of what follows begins.
a_second()
{
	poll_until 5 is_past "$(date +%s)"
	date +%s
	poll_until 5 is_past "$(date +%s)"
}

# had PORT SECOND: who; None: nobody.
had()
{
	ctl --json history "$PUBLIC:$1" --at "@$2" >"$RUN/had.json" || fail "history $*"
	assert_at_least "records of one moment" 1 "$(field records <"$RUN/had.json")"
	if [[ $(field records <"$RUN/had.json") -eq 0 ]]; then
		echo None
	else
		field records.0.peer <"$RUN/had.json"
	fi
}

# rows: how many records the file has.
rows()
{
	python3 - "$RUN/store/portier.db" <<'PY'
import sqlite3, sys
file = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(file.execute("SELECT count(*) FROM history").fetchone()[0])
PY
}

has_rows()
{
	[[ $(rows) -eq $1 ]]
}

is_in_the_file()
{
	grep -qaF -- "$1" "$RUN"/store/portier.db*
}

is_out_of_the_file()
{
	! is_in_the_file "$1"
}

has_session()
{
	ctl --json session list --peer client --proto tcp >"$RUN/sessions.json"
	[[ $(field sessions <"$RUN/sessions.json") -ge 1 ]]
}

block_is_recorded()
{
	[[ $(had "$TRAFFIC_PORT" "$of_block") == client ]]
}

step "off, it answers from what is open"
opens client secret-label
ctl history $PUBLIC:$PORT/tcp >"$RUN/history.txt"
grep -q "open *client *tcp *$PUBLIC:$PORT *$INNER:5001 *control *- *secret-label" \
	"$RUN/history.txt" || fail "it says: $(<"$RUN/history.txt")"
grep -q "^history is off" "$RUN/history.txt" || fail "it does not say that history is off"
ctl lease close "$ID" >/dev/null
assert_equal "who has it now" "$(ctl history $PUBLIC:$PORT/tcp | head -n 1)" nobody
ctl history --peer client 2>/dev/null && fail "the past of a peer was told"
assert_equal "records in the file" "$(rows)" 0

step "on, by a reload; and quarantine is short"
CONF_HISTORY='mode = "full"; retention = "1d";'
CONF_LEASES='reserve = "0s"; quarantine = "1s";'
gateway_conf
ctl --json reload | field applied.0 applied.1 | tr '\n' ' ' >"$RUN/applied"
grep -q "history.mode" "$RUN/applied" || fail "applied: $(<"$RUN/applied")"

step "one port of two clients, one after the other"
eventually 70 "the quarantine of before is over" can_open client
ctl lease close "$(ctl --json lease list | field leases.0.id)" >/dev/null
opens client web-of-client
of_client=$(a_second)
ctl lease close "$ID" >/dev/null
of_nobody=$(a_second)
eventually 10 "the port is free for others" can_open friend
must "a transfer to the friend" in_internet "$TOOLS/transfer.py" get $PUBLIC $PORT 10000
of_friend=$(a_second)

step "a block of ports that traffic left by"
in_client curl --silent --max-time 10 "http://$HOST:1/" >/dev/null 2>&1 || true
eventually 10 "its session" has_session
TRAFFIC_PORT=$(field sessions.0.public_port <"$RUN/sessions.json")
of_block=$(a_second)
eventually 5 "the block is recorded" block_is_recorded
assert_equal "what it is" "$(field records.0.kind <"$RUN/had.json")" block

# Each moment has the one who had it then.
all_is_known()
{
	assert_equal "then it had" "$(had $PORT "$of_client")" client
	assert_equal "who opened it" "$(field records.0.opened_by records.0.opened_uid \
		records.0.closed_by records.0.reason <"$RUN/had.json")" "control 0 control closed"
	assert_equal "its label" "$(field records.0.label <"$RUN/had.json")" web-of-client
	assert_equal "between them" "$(had $PORT "$of_nobody")" None
	assert_equal "then it had" "$(had $PORT "$of_friend")" friend
	assert_equal "then traffic was of" "$(had "$TRAFFIC_PORT" "$of_block")" client
}
all_is_known

step "asked for from inside, it says so"
in_client "$TOOLS/portmap.py" natpmp $GATEWAY_INNER udp 7001 0 3600 >"$RUN/port" ||
	fail "portmap.py"
assert_equal "who opened it" "$(ctl --json history "$PUBLIC:$(<"$RUN/port")/udp" |
	field records.0.peer records.0.opened_by)" "client natpmp"

step "kill -9 and a start: it is all there, and the block has an end"
n_rows=$(rows)
gateway_kill
gateway_start
all_is_known
ctl --json history "$PUBLIC:$TRAFFIC_PORT" >"$RUN/had.json"
assert_equal "its end" "$(field records.0.closed_by records.0.reason <"$RUN/had.json")" \
	"gateway gateway died"
ctl history "$PUBLIC:$TRAFFIC_PORT" | grep -q "after [^ ]*Z, before [^ ]*Z" ||
	fail "it says: $(ctl history "$PUBLIC:$TRAFFIC_PORT")"
# What goes on goes on in the record that it has.
assert_equal "records" "$(rows)" "$n_rows"
assert_equal "the friend has it" "$(ctl --json history $PUBLIC:$PORT |
	field records | tail -n 1)" 3
must "a transfer to the friend" in_internet "$TOOLS/transfer.py" get $PUBLIC $PORT 10000

step "what a client had is known when it is gone"
ctl peer del client >/dev/null
assert_at_least "records of its key" \
	"$(ctl --json history --peer "$(<"$RUN/client.pub")" | field records)" 4
ctl --json history --peer "$(<"$RUN/client.pub")" --since "@$of_client" --until \
	"@$((of_client + 1))" | field records.0.label | grep -qx web-of-client || fail "one moment"
all_is_known
[[ $(ctl --json history $PUBLIC:$PORT --limit 1 | field records) -eq 1 ]] || fail "--limit"

step "off again: nothing of what is over stays in the file"
is_in_the_file web-of-client || fail "the test looks in the wrong place"
CONF_HISTORY='mode = "none";'
gateway_conf
ctl reload >/dev/null
eventually 20 "no record is left" has_rows 0
eventually 20 "nothing of it is in the file" is_out_of_the_file web-of-client
is_in_the_file secret-label && fail "what was there while it was off stayed"
assert_equal "then it had" "$(had $PORT "$of_client")" None
assert_equal "it has now" "$(ctl --json history $PUBLIC:$PORT | field records.0.peer)" friend

finish
