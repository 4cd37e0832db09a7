#!/usr/bin/env bash
# PCP clients are told that their leases are gone: after a restart that lost them, and when their
# public address changes; not after a restart that kept them, and not who may not map ports.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
CONF_PEERS=$(conf_peer 'portmap = true;')
CONF_PEERS+=", $(conf_friend)"
gateway_conf
gateway_start
client_start
client_connect
friend_start
serve client heard "$TOOLS/hear.py" $INNER 5350
serve friend heard-friend "$TOOLS/hear.py" $FRIEND_INNER 5350

# heard N: so many announcements were heard since the last start; TOLD is how many before.
TOLD=0

heard()
{
	[[ $(($(wc -l <"$RUN/heard.log") - 1 - TOLD)) -ge $1 ]]
}

start_again()
{
	gateway_kill
	TOLD=$(($(wc -l <"$RUN/heard.log") - 1))
	gateway_start
	# They would find out themselves, after a while.
	wireguard_anew client "$WG"
	wireguard_anew friend wg1
}

up_for()
{
	[[ $(ctl --json health | field uptime_s | cut -d. -f1) -ge $1 ]]
}

step "a restart without a store: three times, each the 24 bytes of RFC 6887, from the service"
start_again
eventually 20 "the announcements" heard 3
eventually 20 "time passes" up_for 8
assert_equal "announcements" $(($(wc -l <"$RUN/heard.log") - 1 - TOLD)) 3
while read -r source port bytes; do
	assert_equal "the source" "$source $port" "$GATEWAY_INNER 5351"
	[[ $bytes =~ ^0280000000000000000000[0-9a-f]{2}000000000000000000000000$ ]] ||
		fail "what was heard is $bytes"
done < <(tail -n 3 "$RUN/heard.log")
assert_equal "who may not map ports heard" "$(wc -l <"$RUN/heard-friend.log")" 1

step "a store that is new has lost what was there; from then on it keeps it"
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
gateway_conf
start_again
eventually 20 "the announcements" heard 3
start_again
eventually 20 "time passes" up_for 8
assert_equal "announcements" $(($(wc -l <"$RUN/heard.log") - 1 - TOLD)) 0

step "another public address"
address=$(peer_field client public_address)
other=198.51.100.$((${address##*.} == 7 ? 8 : 7))
lease_open --to-port 80 --public-address $other
assert_equal "the public address" "$(peer_field client public_address)" $other
eventually 20 "the announcements" heard 3

finish
