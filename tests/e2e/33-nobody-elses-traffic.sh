#!/usr/bin/env bash
# Attacks on VPN gateways that once worked elsewhere: a client that takes another's port or packets
# ("port shadow", CVE-2021-3773), one that finds out the other's real address ("Port Fail"), and
# packets whose addresses can not be what they say.
. "$(dirname "$0")/lib.sh"

readonly N_PORTS=16384

make_keys
net_create
CONF_POOL='"198.51.100.3/32"'
CONF_PEERS="$(conf_peer), $(conf_friend)"
gateway_conf
gateway_start
client_start
client_connect
friend_start
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7

step "one address, one source port, one server: two public ports"
for proto in udp tcp; do
	for port in 6000 51820; do
		ours=$(in_client "$TOOLS/mirror.py" ask $proto $port $HOST 7)
		theirs=$(in_friend "$TOOLS/mirror.py" ask $proto $port $HOST 7)
		assert_equal "the addresses" "${ours% *} ${theirs% *}" "198.51.100.3 198.51.100.3"
		[[ $ours != "$theirs" ]] || fail "both peers are $ours"
		[[ ${theirs#* } -ge 1024 && ${theirs#* } -le 19999 ]] || fail "a port of $theirs"
	done
done

step "port shadow: the attacker sends from WireGuard's port to where the victim calls from"
ghost_appears
endpoint=$(peer_field client endpoint)
"$TOOLS/ends.py" --peer friend --only-send --count 20 out udp 51820 $CLIENT "${endpoint##*:}"
goes_out --peer friend udp 51820 $GHOST "${endpoint##*:}"
[[ $PUBLIC_PORT -ne 51820 && $PUBLIC != "$ENTRY" ]] || fail "it is the gateway's own"
before=$(handshakes initiations_in)
wireguard_anew client "$WG"
assert_at_least "the victim's handshakes" $(($(handshakes initiations_in) - before)) 1
assert_equal "where the victim is" "$(peer_field client endpoint)" "$endpoint"

step "Port Fail: around the tunnel, nothing of the attacker's is reached at the entry"
lease=$(ctl --json lease open --peer friend --proto both --to-port 5001)
serve friend caught "$TOOLS/mirror.py" serve $FRIEND_INNER 5001
before=$(($(drop entry_closed) + $(drop wg_malformed) + $(drop portmap_outside)))
led=$(counter translated_in)
for proto in udp tcp; do
	for ((port = 1; port <= 65535; port += N_PORTS)); do
		last=$((port + N_PORTS - 1))
		[[ $last -le 65535 ]] || last=65535
		# WireGuard has its own to say.
		said=$(in_client "$TOOLS/probe.py" --ports "$(seq -s , $port $last)" wan0 $CLIENT \
			$ENTRY $proto $ENTRY | grep -v "^answer: .* $ENTRY:51820 -> $CLIENT:")
		assert_equal "what the entry said" "$said" "sent $((last - port + 1))"
	done
done
ended=$(($(drop entry_closed) + $(drop wg_malformed) + $(drop portmap_outside)))
assert_equal "packets that ended at the entry" $((ended - before)) $((2 * 65535))
assert_equal "packets that were led to a peer" "$(counter translated_in)" "$led"
# The tunnel's port knows no public address, either.
is_closed()
{
	said=$(in_client "$TOOLS/probe.py" --ports "$2" wan0 $CLIENT $ENTRY udp "$1")
	assert_equal "the answer" "$said" "sent 1"
}
before=$(drop not_for_us)
is_closed "$(field public_address <<<"$lease")" "$(field public_port <<<"$lease")"
assert_equal "packets for the public pool at the entry" $(($(drop not_for_us) - before)) 1

step "an entry address in the pool is refused"
sed "s|pool = .*|pool = [ \"$ENTRY/32\" ]; };|" "$RUN/portier.conf" >"$RUN/overlap.conf"
status=0
"$BUILD/app/portier/portier" -c "$RUN/overlap.conf" --check >"$RUN/said" 2>&1 || status=$?
assert_equal "exit status" $status 2
grep -q "$ENTRY" "$RUN/said" || fail "the address is not named: $(<"$RUN/said")"

step "from a peer: to where nothing is"
for target in $ENTRY $GATEWAY_PUBLIC; do
	for port in 51820 53; do
		is_dropped inner_to_self out udp 6001 "$target" $port
	done
done
for target in 127.0.0.1 0.0.0.0 169.254.1.1 224.0.0.1 240.0.0.1 255.255.255.255; do
	is_dropped martian_destination out udp 6001 "$target" 7
done
is_dropped inner_to_peer out udp 6001 $FRIEND_INNER 7
is_dropped inner_no_service out udp 6001 $GATEWAY_INNER 7
is_dropped inner_protocol out gre 0 $HOST 0

step "from a peer: as somebody else"
for source in $FRIEND_INNER $GATEWAY_INNER $HOST $CLIENT $ENTRY 198.51.100.3 127.0.0.1; do
	is_dropped inner_source --source "$source" out udp 6001 $HOST 7
done

step "from the Internet: as somebody inside"
address=$(field public_address <<<"$lease") port=$(field public_port <<<"$lease")
for source in $INNER $FRIEND_INNER $GATEWAY_INNER; do
	is_dropped martian_source in udp "$source" 7 "$address" "$port"
	is_dropped martian_source in-error 3 3 "$source" udp "$address" "$port" $HOST 7
done
for source in $ENTRY $GATEWAY_PUBLIC 198.51.100.3; do
	is_dropped own_source in udp "$source" 7 "$address" "$port"
done

step "from the Internet: to somebody inside, or to what is not there"
is_dropped not_for_us in udp $HOST 7 $INNER 6000
is_dropped not_for_us in udp $HOST 7 $ENTRY 51820
is_dropped entry_closed in udp $HOST 7 $GATEWAY_PUBLIC 51820
is_dropped no_lease in udp $HOST 7 198.51.100.3 443
is_dropped no_lease in gre $HOST 0 198.51.100.3 0

finish
