#!/usr/bin/env bash
# Fragments, in any order and both ways, come out as the datagrams that went in; what cannot become
# one is dropped under its reason, and a flood of it costs nobody else anything.
. "$(dirname "$0")/lib.sh"

readonly SPARE=203.0.113.10

# The public side is net_tap: behind net_af_packet the kernel puts fragments together.
conf_ports()
{
	cat <<PORTS
ports = (
	{ name = "tun"; device = "net_af_packet0,iface=gwtun,qpairs=$CONF_QPAIRS,framecnt=4096";
	  roles = [ "tunnel" ]; addresses = [ $CONF_ENTRY ]; },
	{ name = "pub"; device = "net_tap0,iface=inet0"; roles = [ "public" ]; rx_queues = 1;
	  addresses = [ $CONF_PUBLIC ]; }
);
PORTS
}

make_keys
net_namespaces
net_link client wan0 gwtun
net_address_client
CONF_PUBLIC+=", \"$GATEWAY_PUBLIC6/64\""
# One public address for both peers: the far end tells their datagrams apart by nothing else.
CONF_POOL='"198.51.100.3/32"'
CONF_PEERS="$(conf_peer), $(conf_friend)"
CONF_NAT='timers = { fragment = "500ms"; };'
gateway_conf
gateway_start
ip -n gateway link set inet0 netns internet
ip_internet link set inet0 address 02:00:00:00:00:09 up
net_plain_frames internet inet0
net_address_internet
net_address_internet6
net_add_stranger
ip_internet address add $SPARE/24 dev inet0
client_start
client_connect
friend_start
client_serves 5001
serve internet echo "$TOOLS/echo.py" serve $HOST 7
serve internet echo6 "$TOOLS/echo.py" serve $HOST6 7
serve internet stranger "$TOOLS/echo.py" serve $STRANGER 8
serve internet web "$TOOLS/transfer.py" serve $HOST 80
lease_open --proto both --to-port 5001

step "large pings and datagrams of ordinary programs"
for who in client friend; do
	"in_$who" ping -n -q -c 3 -i 0.2 -W 5 -s 4000 $HOST >/dev/null || fail "ping of the $who"
	"in_$who" ping -n -q -c 3 -i 0.2 -W 5 -s 4000 $HOST6 >/dev/null ||
		fail "ping of the $who, IPv6"
done
in_internet "$TOOLS/pmtu.py" --cut "$LEASE_ADDRESS" "$LEASE_PORT" 1400 8000 300 >/dev/null ||
	fail "not all came back"
for host in $HOST $HOST6; do
	in_client "$TOOLS/pmtu.py" --cut "$host" 7 1400 8000 300 >/dev/null ||
		fail "not all came back from $host"
done

frags()
{
	"$TOOLS/frags.py" "$@" || fail "$*"
}

step "in order, reversed, shuffled, mixed"
frags orders internet "$LEASE_ADDRESS" "$LEASE_PORT"
frags orders client $HOST 7
frags orders client $HOST6 7

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

# Hosts share room for datagrams by a secret hash, so that one in a thousand shares the flood's.
large_of_friend()
{
	in_friend "$TOOLS/echo.py" sizes "$HOST" 7 1500 8000 500 ||
		in_friend "$TOOLS/echo.py" sizes "$SPARE" 7 1500 8000 500
}

step "a flood of them from the Internet and from a peer, while another transfers"
serve internet spare "$TOOLS/echo.py" serve $SPARE 7
before=$(drop fragment_quota)
spawn internet "$TOOLS/frags.py" flood stranger "$LEASE_ADDRESS" "$LEASE_PORT"
floods=("$SPAWNED")
spawn client "$TOOLS/frags.py" flood client $STRANGER 8
floods+=("$SPAWNED")
eventually 10 "the flood is there" drop_is_at_least fragment_quota $((before + 100))
in_friend "$TOOLS/echo.py" stream $HOST 7 2 >"$RUN/stream.log" || fail "stream"
must "large datagrams of the friend" large_of_friend
in_friend "$TOOLS/transfer.py" get $HOST 80 5000000 || fail "the transfer"
kill -0 "${floods[@]}" || fail "the flood was over too early"
# The machine is busy: what its queues lose is not the gateway's doing.
read -r _ sent _ lost <"$RUN/stream.log"
printf '   of %s datagrams of the friend %s were lost\n' "$sent" "$lost"
[[ $sent -ge 100 && $lost -le $((sent / 50)) ]] || fail "the friend lost $lost of $sent datagrams"
assert_at_least "pieces of the flood that ended" $(($(drop fragment_quota) - before)) 2000
for flood in "${floods[@]}"; do
	stop_process "$flood"
done
eventually 20 "the flood is forgotten" "$TOOLS/frags.py" orders client $HOST 7

finish
