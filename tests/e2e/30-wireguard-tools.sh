#!/usr/bin/env bash
# The WireGuard tools against the running gateway: wg show and all that it shows, set, setconf,
# syncconf, addconf and showconf, what they are refused, and that others are told no secrets.
. "$(dirname "$0")/lib.sh"

readonly GW=portier0

make_keys
net_create
gateway_conf
gateway_start
CLIENT_KEY=$(<"$RUN/client.pub")
GATEWAY_KEY=$(<"$RUN/gateway.pub")
OTHER_KEY=$(wg genkey | wg pubkey)
THIRD_KEY=$(wg genkey | wg pubkey)
(umask 077 && wg genpsk >"$RUN/client.psk")
readonly CLIENT_KEY GATEWAY_KEY OTHER_KEY THIRD_KEY

# refused WORDS ARG...: by wg, in these words.
refused()
{
	local words=$1 said

	shift
	said=$(wg "$@" 2>&1) && fail "wg $* was not refused"
	[[ $said == *"$words"* ]] || fail "wg $* says '$said', not '$words'"
}

# peers KEY...: these are all, in any order.
assert_peers()
{
	assert_equal "wg show peers" "$(wg show $GW peers | sort)" "$(printf '%s\n' "$@" | sort)"
}

# shown WHAT KEY: what wg show says of a peer, without the key.
shown()
{
	wg show $GW "$1" | awk -F'\t' -v key="$2" '$1 == key { print $2 }'
}

step "wg finds the gateway"
wg show interfaces | tr ' ' '\n' | grep -qx $GW || fail "wg show interfaces has no $GW"
assert_equal "public-key" "$(wg show $GW public-key)" "$GATEWAY_KEY"
assert_equal "listen-port" "$(wg show $GW listen-port)" 51820
assert_equal "fwmark" "$(wg show $GW fwmark)" off
assert_equal "peers" "$(wg show $GW peers)" ""

step "a client that wg set adds has a tunnel, and may have no doors"
wg set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,$INNER6/128 persistent-keepalive 25 \
	preshared-key "$RUN/client.psk"
client_start
in_client wg set "$WG" peer "$GATEWAY_KEY" preshared-key "$RUN/client.psk"
client_connect
assert_equal "forwarding" "$(peer_field "$CLIENT_KEY" forwarding)" False
ctl lease open --peer "$CLIENT_KEY" --to-port 80 2>/dev/null && fail "it has a door"

step "wg show shows it as it is"
assert_peers "$CLIENT_KEY"
assert_equal "preshared-keys" "$(shown preshared-keys "$CLIENT_KEY")" "$(<"$RUN/client.psk")"
assert_equal "endpoints" "$(shown endpoints "$CLIENT_KEY")" \
	"$CLIENT:$(in_client wg show "$WG" listen-port)"
assert_equal "allowed-ips" "$(shown allowed-ips "$CLIENT_KEY")" "$INNER/32 $INNER6/128"
assert_equal "persistent-keepalive" "$(shown persistent-keepalive "$CLIENT_KEY")" 25
assert_at_least "latest-handshakes" "$(shown latest-handshakes "$CLIENT_KEY")" \
	$(($(date +%s) - 60))
[[ $(shown latest-handshakes "$CLIENT_KEY") -le $(date +%s) ]] || fail "a handshake to come"
read -r received sent < <(wg show $GW transfer | cut -f 2-)
assert_at_least "transfer, received" "$received" 84
assert_at_least "transfer, sent" "$sent" 84
assert_equal "lines of dump" "$(wg show $GW dump | wc -l)" 2
assert_equal "dump" "$(wg show $GW dump | head -n 1 | cut -f 1-4)" \
	"$(<"$RUN/gateway.key")	$GATEWAY_KEY	51820	off"
wg show $GW | grep -qF "latest handshake: " || fail "wg show tells of no handshake"

step "wg show, wg show all, and each thing of all"
for all in "" all; do
	wg show $all | grep -qxF "interface: $GW" || fail "wg show $all has no $GW"
	wg show $all | grep -qxF "peer: $CLIENT_KEY" || fail "wg show $all has no peer"
done
assert_equal "private-key" "$(wg show $GW private-key)" "$(<"$RUN/gateway.key")"
wg show $GW | grep -qxF "  private key: (hidden)" || fail "wg show does not hide the key"
for what in public-key private-key listen-port fwmark peers preshared-keys endpoints allowed-ips \
	latest-handshakes transfer persistent-keepalive dump; do
	assert_equal "wg show all $what" "$(wg show all $what | grep "^$GW" | cut -f 2-)" \
		"$(wg show $GW $what)"
done

step "wg set: prefixes that are routed to the peer"
wg set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,$INNER6/128,2001:db8:2:1::/64,2001:db8:2:2::/64
assert_equal "allowed-ips" "$(shown allowed-ips "$CLIENT_KEY")" \
	"$INNER/32 $INNER6/128 2001:db8:2:1::/64 2001:db8:2:2::/64"
assert_equal "routes" "$(peer_field "$CLIENT_KEY" routes)" 2
wg showconf $GW >"$RUN/routes.conf"
wg set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,$INNER6/128
assert_equal "allowed-ips" "$(shown allowed-ips "$CLIENT_KEY")" "$INNER/32 $INNER6/128"
wg syncconf $GW "$RUN/routes.conf"
assert_equal "allowed-ips" "$(shown allowed-ips "$CLIENT_KEY")" \
	"$INNER/32 $INNER6/128 2001:db8:2:1::/64 2001:db8:2:2::/64"
refused "Invalid argument" set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,2001:db8::/32
wg set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,$INNER6/128

# uapi LINE...: what wg has no words for.
uapi()
{
	timeout 10 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(("set=1\n" + "\n".join(sys.argv[2:]) + "\n\n").encode())
print(s.makefile().readline().strip())' "/var/run/wireguard/$GW.sock" "$@"
}

step "update_only adds nobody, and without replace_allowed_ips allowed IPs are added"
hex()
{
	base64 -d <<<"$1" | od -An -tx1 | tr -d ' \n'
}
assert_equal "answer" "$(uapi "public_key=$(hex "$OTHER_KEY")" update_only=true \
	allowed_ip=100.64.0.7/32)" errno=0
assert_peers "$CLIENT_KEY"
assert_equal "answer" "$(uapi "public_key=$(hex "$CLIENT_KEY")" update_only=true \
	allowed_ip=2001:db8:2:3::/64)" errno=0
assert_equal "allowed-ips" "$(shown allowed-ips "$CLIENT_KEY")" \
	"$INNER/32 $INNER6/128 2001:db8:2:3::/64"
wg set $GW peer "$CLIENT_KEY" allowed-ips $INNER/32,$INNER6/128

step "others are told nothing"
runuser -u nobody -- wg show $GW dump >/dev/null 2>&1 && fail "nobody may read it"

step "wg set: update, another peer, an address that is taken, removal"
wg set $GW peer "$CLIENT_KEY" persistent-keepalive off
assert_equal "persistent-keepalive" "$(shown persistent-keepalive "$CLIENT_KEY")" off
wg set $GW peer "$OTHER_KEY" allowed-ips 100.64.0.7/32 endpoint 192.0.2.77:4000
assert_equal "endpoints" "$(shown endpoints "$OTHER_KEY")" 192.0.2.77:4000
refused "Address already in use" set $GW peer "$OTHER_KEY" allowed-ips $INNER/32
refused "Invalid argument" set $GW peer "$OTHER_KEY" allowed-ips 10.0.0.0/8
refused "Invalid argument" set $GW peer "$THIRD_KEY"
assert_equal "allowed-ips" "$(shown allowed-ips "$OTHER_KEY")" 100.64.0.7/32
wg set $GW peer "$OTHER_KEY" remove
assert_peers "$CLIENT_KEY"

step "what can not change while it runs changes nothing"
refused "Operation not supported" set $GW listen-port 51821 peer "$OTHER_KEY" \
	allowed-ips 100.64.0.7/32
refused "Operation not supported" set $GW private-key "$RUN/client.key"
refused "Operation not supported" set $GW fwmark 1
wg set $GW listen-port 51820 private-key "$RUN/gateway.key"
assert_peers "$CLIENT_KEY"
must "a ping" in_client ping -n -q -c 1 -W 5 $GATEWAY_INNER >/dev/null

step "showconf, and setconf of what it shows: the client keeps its tunnel and its door"
ctl peer set "$CLIENT_KEY" --name client --forwarding on >/dev/null
client_serves 5001
lease_open --proto udp --to-port 5001
wg showconf $GW >"$RUN/shown.conf"
grep -qF "PrivateKey = $(<"$RUN/gateway.key")" "$RUN/shown.conf" || fail "no key for root"
wg setconf $GW "$RUN/shown.conf"
assert_peers "$CLIENT_KEY"
must "echo" datagrams sizes 0 10

step "addconf adds"
peer_section()
{
	printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s/32\n' "$1" "$2"
}
peer_section "$OTHER_KEY" 100.64.0.7 >"$RUN/other.conf"
wg addconf $GW "$RUN/other.conf"
assert_peers "$CLIENT_KEY" "$OTHER_KEY"

step "syncconf adds what is new and takes away what is gone"
{ cat "$RUN/shown.conf"; peer_section "$THIRD_KEY" 100.64.0.8; } >"$RUN/third.conf"
wg syncconf $GW "$RUN/third.conf"
assert_peers "$CLIENT_KEY" "$THIRD_KEY"
must "echo" datagrams sizes 0 10

step "setconf without the client ends its tunnel and its door"
grep -A4 -F '[Interface]' "$RUN/shown.conf" | sed '/^$/,$d' >"$RUN/third.conf"
peer_section "$THIRD_KEY" 100.64.0.9 >>"$RUN/third.conf"
wg setconf $GW "$RUN/third.conf"
assert_peers "$THIRD_KEY"
assert_equal "allowed-ips" "$(shown allowed-ips "$THIRD_KEY")" 100.64.0.9/32
assert_equal "leases" "$(ctl --json lease list | field leases)" 0
in_client ping -n -q -c 1 -W 1 $GATEWAY_INNER >/dev/null && fail "the tunnel is still there"
refused "Operation not supported" setconf $GW "$RUN/other.conf"

step "a second gateway of that name is refused, in words"
sed 's,control.sock,second.sock,' "$RUN/portier.conf" >"$RUN/second.conf"
said=$(in_gateway "$BUILD/app/portier/portier" -c "$RUN/second.conf" 2>&1) && fail "it runs"
grep -qF "control.uapi_name" <<<"$said" || fail "it says: $said"
assert_peers "$THIRD_KEY"

finish
