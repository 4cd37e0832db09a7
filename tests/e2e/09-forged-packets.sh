#!/usr/bin/env bash
# Forged, replayed, truncated and misdirected packets are dropped, each under its reason, and change
# nothing: the session goes on, and the endpoint stays where it was.
. "$(dirname "$0")/lib.sh"

readonly SPOOFED=192.0.2.66

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto udp --to-port 5001

# Counters before: B_reason.
remember()
{
	local reason

	for reason in "$@"; do
		declare -g "B_$reason=$(drop "$reason")"
	done
}

# dropped REASON N: exactly so many more than remembered.
dropped()
{
	local before=B_$1

	eventually 5 "$1 grows by $2" drop_is_at_least "$1" $((${!before} + $2))
	assert_equal "$1" $(($(drop "$1") - ${!before})) "$2"
}

# Accepted messages, without what the client's kernel and timers say on their own.
fresh_data()
{
	echo $(($(counter fresh) - $(counter keepalives_in) - $(drop inner_source)))
}

step "variants of a packet that the gateway has seen"
endpoint=$(peer_field client endpoint)
fresh=$(fresh_data)
remember wg_replayed wg_bad_tag wg_unknown_index wg_malformed
in_client "$TOOLS/forge.py" wan0 $CLIENT $ENTRY 51820 $SPOOFED \
	ping -n -c 3 -i 0.2 -s 64 $GATEWAY_INNER >"$RUN/forged" || fail "forge: $(<"$RUN/forged")"
sent()
{
	awk -v name="$1" '$1 == name { print $2 }' "$RUN/forged"
}
dropped wg_replayed $(($(sent replay) + $(sent moved)))
dropped wg_bad_tag $(($(sent flipped) + $(sent moved-flip) + $(sent short)))
dropped wg_unknown_index "$(sent index)"
dropped wg_malformed $(($(sent truncated) + $(sent type)))
assert_equal "messages that were accepted" $(($(fresh_data) - fresh)) 3
assert_equal "the endpoint" "$(peer_field client endpoint)" "$endpoint"

step "inner sources that are not the peer's"
remember inner_source
ip_client address add 100.64.0.99/32 dev "$WG"
for source in 100.64.0.99 $CLIENT; do
	in_client ping -n -q -c 1 -W 1 -I "$source" $GATEWAY_INNER >/dev/null &&
		fail "$source got through"
done
ip_client address del 100.64.0.99/32 dev "$WG"
dropped inner_source 2

step "addresses on the Internet side that can not be"
remember own_source martian_source bad_ip_header
in_internet "$TOOLS/martians.py" inet0 $HOST $GATEWAY_PUBLIC "$LEASE_ADDRESS" "$LEASE_PORT" \
	>"$RUN/forged" || fail "martians: $(<"$RUN/forged")"
dropped own_source "$(sent own)"
dropped martian_source "$(sent martian)"
dropped bad_ip_header "$(sent header)"

step "the session has lived through all of it"
must "echo" datagrams sizes 0 1000 100
assert_equal "the endpoint" "$(peer_field client endpoint)" "$endpoint"
assert_equal "handshakes" "$(handshakes initiations_in)" 1

finish
