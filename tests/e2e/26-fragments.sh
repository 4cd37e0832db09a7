#!/usr/bin/env bash
# Fragments, in any order and both ways, come out as the datagrams that went in; what cannot become
# one is dropped under its reason, and a flood of it costs nobody else anything.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
# One public address for both peers: the far end tells their datagrams apart by nothing else.
CONF_POOL='"198.51.100.3/32"'
CONF_PEERS="$(conf_peer), $(conf_friend)"
CONF_NAT='timers = { fragment = "500ms"; };'
# With several queues the kernel would put fragments together before it hands them to the port, and
# cut off what is larger than a buffer.
CONF_QPAIRS=1
gateway_conf
gateway_start
client_start
client_connect
friend_start
client_serves 5001
serve internet echo "$TOOLS/echo.py" serve $HOST 7
lease_open --proto both --to-port 5001

step "large datagrams of ordinary programs"
in_internet "$TOOLS/pmtu.py" --cut "$LEASE_ADDRESS" "$LEASE_PORT" 1400 8000 300 >/dev/null ||
	fail "not all came back"
in_client "$TOOLS/pmtu.py" --cut $HOST 7 1400 8000 300 >/dev/null || fail "not all came back"

frags()
{
	"$TOOLS/frags.py" "$@" || fail "$*"
}

step "in order, reversed, shuffled, mixed"
frags orders internet "$LEASE_ADDRESS" "$LEASE_PORT"
frags orders client $HOST 7

step "the same identification of two peers to one host"
frags twins client $HOST 7 friend

# ends REASON VERB N: at least N pieces, both ways, end under a reason.
ends()
{
	local from before sent

	for from in "internet $LEASE_ADDRESS $LEASE_PORT" "client $HOST 7"; do
		step "$2 from ${from%% *}"
		before=$(drop "$1")
		# shellcheck disable=SC2086 # three words
		sent=$(frags "$2" $from)
		eventually 10 "$2 is counted" drop_is_at_least "$1" $((before + $3))
		assert_at_least "pieces sent" "${sent#* }" "$3"
	done
}
ends fragment_overlap overlap 5
ends fragment_tiny tiny 5
ends fragment_tiny rewrite 5
ends fragment_expired headless 15

step "a flood of them from the Internet and from a peer, while another transfers"
"$TOOLS/frags.py" flood internet "$LEASE_ADDRESS" "$LEASE_PORT" 6 >"$RUN/flood1" &
floods=($!)
"$TOOLS/frags.py" flood client $HOST 7 6 >"$RUN/flood2" &
floods+=($!)
before=$(drop fragment_quota)
eventually 10 "the flood is there" drop_is_at_least fragment_quota $((before + 1))
in_friend "$TOOLS/echo.py" stream $HOST 7 2 >"$RUN/stream.log" || fail "stream"
must "large datagrams of the friend" in_friend "$TOOLS/echo.py" sizes $HOST 7 1500 8000 500
kill -0 "${floods[@]}" || fail "the flood was over too early"
wait "${floods[@]}"
# The machine is busy: what its queues lose is not the gateway's doing.
read -r _ sent _ lost <"$RUN/stream.log"
[[ $lost -le $((sent / 50)) ]] || fail "the friend lost $lost of $sent datagrams"
assert_at_least "pieces of the flood" "$(awk '{ n += $2 } END { print n }' "$RUN"/flood?)" 10000
eventually 10 "the flood is forgotten" "$TOOLS/frags.py" orders internet "$LEASE_ADDRESS" \
	"$LEASE_PORT"

finish
