#!/usr/bin/env bash
# After kill -9 and a start, the door of a client that does nothing works at once: the gateway has
# its peers, leases and their last endpoints, and begins the handshakes itself. NAT-PMP's epoch goes
# on, and where the configuration was changed by hand it stays so.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
CONF_PEERS=$(conf_peer 'leases = ( { proto = "tcp"; public_address = "198.51.100.5";
	public_port = 20000; to_port = 5009; label = "web"; } );')
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/friend.pub")" --name friend --address $FRIEND_INNER,$FRIEND_INNER6 \
	--forwarding on --portmap on >/dev/null
client_start
client_connect
friend_start
serve friend tcp "$TOOLS/transfer.py" serve $FRIEND_INNER 5001
reply=$(ctl --json lease open --peer friend --to-port 5001 --label door)
read -r LEASE_ID LEASE_ADDRESS LEASE_PORT < <(field id public_address public_port <<<"$reply")

expires_in()
{
	ctl --json lease show "$LEASE_ID" | field expires_in_s | cut -d. -f1
}

before=$(expires_in)

# epoch: what NAT-PMP says of it.
epoch()
{
	in_friend natpmpc -g $GATEWAY_INNER 2>/dev/null | sed -n 's/^epoch = //p'
}

has_session()
{
	[[ $(peer_field "$1" last_handshake_age_s) != None ]]
}

where_it_is_known()
{
	python3 - "$RUN/store/portier.db" <<'PY'
import sqlite3, sys
rows = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT * FROM heard")
sys.exit(0 if len(rows.fetchall()) == 2 else 1)
PY
}

eventually 10 "the gateway has noted where its clients are" where_it_is_known
first_epoch=$(epoch)
ctl lease close "$(ctl --json lease list --peer client | field leases.0.id)" >/dev/null
ctl peer set client --max-leases 3 >/dev/null

for round in 1 2; do
	step "kill -9 and start, round $round"
	gateway_kill
	gateway_start
	assert_equal "the peers" "$(ctl --json peer list | field peers)" 2
	assert_equal "the leases" "$(ctl --json lease list | field leases.0.id leases.0.label)" \
		"$LEASE_ID door"
	after=$(expires_in)
	assert_at_least "seconds that the lease has" "$after" $((before - 170))
	assert_at_least "seconds that it had" "$before" "$after"

	step "the gateway calls who has a door, unasked"
	eventually 10 "a session" has_session friend
	has_session client && fail "the client has no door, and was called"

	step "the door works, and nobody but the gateway has begun"
	must "the first connection" transfer once
	assert_equal "initiations that came in" "$(handshakes initiations_in)" 0
	assert_at_least "initiations that went out" "$(handshakes initiations_out)" 1

	step "what was changed of the file's own peer stays so"
	assert_equal "max_leases" "$(peer_field client max_leases)" 3
done

step "the epoch goes on"
assert_at_least "the epoch" "$(epoch)" "$first_epoch"

step "a reload makes what the file says"
ctl reload >/dev/null
assert_equal "leases" "$(ctl --json lease list | field leases)" 2
gateway_kill
gateway_start
assert_equal "leases" "$(ctl --json lease list | field leases)" 2

step "what the file says anew comes first"
CONF_PEERS=$(conf_peer 'max_leases = 9;')
gateway_conf
gateway_kill
gateway_start
assert_equal "max_leases" "$(peer_field client max_leases)" 9

finish
