#!/usr/bin/env bash
# What peers have begun, and what the public addresses are used for, as the operator sees it, agrees
# with what hosts on the Internet see.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_ipv6
CONF_PEERS="$(conf_peer), $(conf_friend), $(conf_absent_peer)"
CONF_NAT='pool = [ "203.0.113.128/30" ];'
gateway_conf
ip_internet route add 203.0.113.128/30 via $GATEWAY_PUBLIC
gateway_start
client_start
client_connect
friend_start
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7
serve internet mirror6 "$TOOLS/mirror.py" serve $HOST6 7

# sessions [OPTION...]: one a line, of each the given members.
sessions()
{
	ctl --json session list "$@" |
		python3 -c '
import json, sys
for s in json.load(sys.stdin)["sessions"]:
    print(s["peer"], s["proto"], s["inner_port"], s["public_address"], s["public_port"],
          s["remote_address"], s["remote_port"], s["tcp_state"])' | sort
}

# pool ADDRESS MEMBER
pool()
{
	ctl --json pool show |
		python3 -c '
import json, sys
print(*[a[sys.argv[2]] for a in json.load(sys.stdin)["addresses"] if a["address"] == sys.argv[1]])
' "$@"
}

step "nothing has been begun"
assert_equal "sessions" "$(sessions)" ""
[[ $(ctl session list) == "no sessions" ]] || fail "$(ctl session list)"

step "sessions as the mirror saw them"
udp=$(in_client "$TOOLS/mirror.py" ask udp 6001 $HOST 7)
friend=$(in_friend "$TOOLS/mirror.py" ask udp 6001 $HOST 7)
assert_equal "the client's" "$(sessions --peer client)" "client udp 6001 $udp $HOST 7 None"
assert_equal "those on port 6001" "$(sessions --port 6001)" \
	"$(printf '%s udp 6001 %s %s 7 None\n' client "$udp" $HOST friend "$friend" $HOST)"
assert_equal "those on the friend's public port" "$(sessions --port "${friend#* }" --peer friend)" \
	"friend udp 6001 $friend $HOST 7 None"
assert_equal "those of TCP" "$(sessions --proto tcp)" ""
in_client ping -n -q -c 1 -W 5 $HOST >/dev/null || fail "no ping"
assert_equal "those of ICMP" "$(sessions --proto icmp | wc -l)" 1
in_client "$TOOLS/mirror.py" ask udp 6002 $HOST6 7 >/dev/null
assert_equal "that over IPv6" "$(sessions --port 6002)" \
	"client udp 6002 None None $HOST6 7 None"
assert_equal "of the absent" "$(sessions --peer absent)" ""
assert_equal "sessions that peer show tells" "$(peer_field client sessions)" \
	"$(sessions --peer client | wc -l)"

step "a connection from its beginning to its end"
serve internet transfer "$TOOLS/transfer.py" serve $HOST 9
spawn client "$TOOLS/transfer.py" hold $HOST 9 "$RUN/held" >"$RUN/hold.log" 2>&1
eventually 10 "the connection is established" \
	bash -c "$(declare -f ctl); BUILD=$BUILD RUN=$RUN ctl session list --proto tcp |
		grep -q established"
kill "$SPAWNED"
eventually 10 "the connection is over" \
	bash -c "$(declare -f ctl); BUILD=$BUILD RUN=$RUN ctl session list --proto tcp |
		grep -Eq 'closed|reset|closing'"

step "a limit counts over all pages"
in_client "$TOOLS/mirror.py" flows udp 100 $HOST 7 >"$RUN/flows"
assert_equal "sessions" "$(sessions --limit 37 | wc -l)" 37
assert_at_least "sessions" "$(sessions | wc -l)" 100

step "the public addresses"
assert_equal "addresses" "$(ctl --json pool show | field addresses)" 20
assert_equal "the role of one for leases" "$(pool 198.51.100.3 role)" leases
assert_equal "the role of the client's" "$(pool "${udp% *}" role)" traffic
assert_at_least "blocks that it has there" "$(pool "${udp% *}" owned)" 1
sum=0
for i in 128 129 130 131; do
	sum=$((sum + $(pool 203.0.113.$i peers)))
done
assert_equal "peers of the addresses for traffic" $sum 3
lease_open --to-port 80 --public-address 198.51.100.3
assert_equal "leases there" "$(pool 198.51.100.3 leases)" 1
assert_equal "peers there" "$(pool 198.51.100.3 peers)" 1
in_client "$TOOLS/mirror.py" ask udp 6003 $HOST 7 >"$RUN/said"
assert_equal "its address from now on" "$(cut -d ' ' -f 1 "$RUN/said")" 198.51.100.3
assert_equal "blocks there" "$(pool 198.51.100.3 owned)" 1
ctl lease close "$LEASE_ID" >/dev/null
assert_equal "leases there" "$(pool 198.51.100.3 leases)" 0
assert_equal "peers there" "$(pool 198.51.100.3 peers)" 0
assert_equal "sessions" "$(ctl --json pool show | field totals.sessions)" "$(sessions | wc -l)"

step "only what there is may be asked for"
ctl session list --peer nobody 2>"$RUN/said" && fail "there is no such peer"
grep -q nobody "$RUN/said" || fail "$(<"$RUN/said")"

finish
