#!/usr/bin/env bash
# When the reply to "lease open" is here, the door is open on every worker; when the reply to
# "lease close" is here, it is shut. 1,000 times in a row.
. "$(dirname "$0")/lib.sh"

readonly ROUNDS=${PORTIER_E2E_ROUNDS:-1000}

make_keys
net_create
# A number stays with its peer while it is in quarantine.
CONF_LEASES='max_per_peer = 100;'
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
serve client echo "$TOOLS/open_race.py" serve $INNER 7000 7063

step "$ROUNDS doors"
in_internet "$TOOLS/open_race.py" run "$RUN/control.sock" client 7000 7063 "$ROUNDS" ||
	fail "a door was not as its opener was told"

finish
