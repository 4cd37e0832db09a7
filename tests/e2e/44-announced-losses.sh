#!/usr/bin/env bash
# Clients are told that their leases are gone: after a restart that lost them, and when their public
# address changes; by PCP and NAT-PMP, IPv4 and IPv6; not after a restart that kept them, and not
# who may not map ports.
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
serve client heard6 "$TOOLS/hear.py" $INNER6 5350
serve friend heard-friend "$TOOLS/hear.py" $FRIEND_INNER 5350

# NAT-PMP's has 12 bytes, PCP's 24.
readonly NATPMP=' 0080[0-9a-f]\{20\}$' PCP=' 0280[0-9a-f]\{44\}$'

# n_heard FILE PATTERN: since the last start.
n_heard()
{
	tail -n "+$((TOLD + 2))" "$RUN/$1.log" | grep -c "$2" || true
}

# hex_of IPV4
hex_of()
{
	# shellcheck disable=SC2086 # four numbers
	printf '%02x%02x%02x%02x' ${1//./ }
}

TOLD=0 TOLD6=0 # lines of heard.log and heard6.log before it

heard()
{
	[[ $(n_heard heard "$PCP") -ge $1 && $(n_heard heard "$NATPMP") -ge $1 ]]
}

# epoch: what NAT-PMP says of it; the client has asked by NAT-PMP then.
epoch()
{
	in_client natpmpc -g $GATEWAY_INNER 2>/dev/null | sed -n 's/^epoch = //p'
}

start_again()
{
	gateway_kill
	TOLD=$(($(wc -l <"$RUN/heard.log") - 1))
	TOLD6=$(($(wc -l <"$RUN/heard6.log") - 1))
	gateway_start
	# They would find out themselves, after a while.
	wireguard_anew client "$WG"
	wireguard_anew friend wg1
}

up_for()
{
	[[ $(ctl --json health | field uptime_s | cut -d. -f1) -ge $1 ]]
}

step "a restart without a store: three times, by both protocols, from the service"
eventually 20 "time passes" up_for 8
before=$(epoch)
assert_at_least "the epoch of the first run" "$before" 8
start_again
after=$(epoch)
[[ $after -lt $before ]] || fail "the epoch is $after, after $before: leases were lost"
eventually 20 "the announcements" heard 3
eventually 20 "time passes" up_for 8
assert_equal "announcements of PCP" "$(n_heard heard "$PCP")" 3
assert_equal "announcements of NAT-PMP" "$(n_heard heard "$NATPMP")" 3
assert_equal "announcements over IPv6" "$(tail -n "+$((TOLD6 + 2))" "$RUN/heard6.log" |
	grep -c "^$GATEWAY_INNER6 5351$PCP")" 3
address=$(hex_of "$(peer_field client public_address)")
while read -r source port bytes; do
	assert_equal "the source" "$source $port" "$GATEWAY_INNER 5351"
	[[ $bytes =~ ^0280000000000000000000[0-9a-f]{2}0{24}$ ||
		$bytes =~ ^00800000000000[0-9a-f]{2}$address$ ]] ||
		fail "what was heard is $bytes"
done < <(tail -n "+$((TOLD + 2))" "$RUN/heard.log")
assert_equal "who may not map ports heard" "$(wc -l <"$RUN/heard-friend.log")" 1

step "a store that is new has lost what was there; from then on it keeps it"
mkdir -m 0700 "$RUN/store"
CONF_STORE="path = \"$RUN/store/portier.db\";"
gateway_conf
start_again
eventually 20 "the announcements" heard 3
before=$(epoch)
start_again
assert_at_least "the epoch of what was kept" "$(epoch)" "$before"
eventually 20 "time passes" up_for 8
assert_equal "announcements" $(($(wc -l <"$RUN/heard.log") - 1 - TOLD)) 0

step "another public address, from where the client asked last; the epoch goes on"
before=$(epoch)
in_client "$TOOLS/portmap.py" natpmp 192.0.0.9 udp 7001 0 0 >/dev/null || fail "portmap.py"
address=$(peer_field client public_address)
other=198.51.100.$((${address##*.} == 7 ? 8 : 7))
lease_open --to-port 80 --public-address $other
assert_equal "the public address" "$(peer_field client public_address)" $other
eventually 20 "the announcements" heard 3
address=$(hex_of $other)
assert_equal "those with the address, from there" \
	"$(grep -c "^192.0.0.9 5351 0080.*$address$" "$RUN/heard.log")" 3
assert_at_least "the epoch" "$(epoch)" "$before"

finish
