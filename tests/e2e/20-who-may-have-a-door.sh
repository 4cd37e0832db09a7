#!/usr/bin/env bash
# Who may open doors, who may come in by them, and what ends them besides closing: the switch of a
# peer, its deletion, and a client that has no key any more.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_stranger
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER --name client >/dev/null
client_start
client_connect
client_serves 5001

# refused STATUS WORD COMMAND...: with one sentence that has WORD in it.
refused()
{
	local want=$1 word=$2 got=0 said

	shift 2
	said=$("$@" 2>&1) || got=$?
	assert_equal "exit status of $*" $got "$want"
	assert_equal "lines said by $*" "$(wc -l <<<"$said")" 1
	grep -qF -- "$word" <<<"$said" || fail "'$word' is missing in: $said"
}

step "a peer may have leases only after it was said so"
refused 1 forwarding ctl lease open --peer client --to-port 5001
ctl peer set client --forwarding on >/dev/null
lease_open --proto both --to-port 5001 --from $HOST/32
must "echo" datagrams sizes 0 100 50

step "a lease may have sources"
before=$(drop lease_source)
in_internet curl --silent --max-time 1 --interface $STRANGER \
	"http://$LEASE_ADDRESS:$LEASE_PORT/" && fail "a stranger came in"
eventually 5 "he is counted" drop_is_at_least lease_source $((before + 1))

step "eight sources, and not nine; as many leases as its quota, and not one more"
many_sources()
{
	local i from=()

	for ((i = 1; i <= $1; i++)); do
		from+=(--from "192.0.2.$i/32")
	done
	ctl lease open --peer client --to-port 6000 "${from[@]}"
}
refused 1 "from has 9 prefixes; accepted: up to 8" many_sources 9
many_sources 8 >/dev/null || fail "eight were refused"
ctl peer set client --max-leases 3 >/dev/null
ctl lease open --peer client --to-port 6001 >/dev/null
refused 1 "client may have 3 leases and has 3" ctl lease open --peer client --to-port 6002
assert_equal "leases" "$(ctl --json lease list --peer client | field leases)" 3
ctl peer set client --max-leases 16 >/dev/null

step "a hop limit that ends here"
before=$(drop ttl_expired)
said=$(in_internet "$TOOLS/probe.py" --ttl 1 --ports "$LEASE_PORT" inet0 $HOST $GATEWAY_PUBLIC \
	tcp "$LEASE_ADDRESS")
[[ $said == "answer: proto 1 $GATEWAY_PUBLIC:"*"sent 1" ]] || fail "what was said is $said"
eventually 5 "it is counted" drop_is_at_least ttl_expired $((before + 1))

step "others than root may look, and change nothing"
install -m 755 "$BUILD/app/portierctl/portierctl" "$RUN/portierctl"
as_nobody()
{
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$RUN/portierctl" -s "$RUN/control.sock" "$@"
}
as_nobody lease list >/dev/null || fail "nobody may not look"
as_nobody stats >/dev/null || fail "nobody may not look"
refused 1 root as_nobody lease close "$LEASE_ID"
refused 1 root as_nobody peer del client
must "echo" datagrams sizes 0 100 50

step "switching a peer off ends its leases and flows"
hold_flow
ctl peer set client --forwarding off >/dev/null
size=$(held_size)
wait "$HOLD_PID" && fail "the flow ended well"
[[ $(held_size) -le $((size + 1)) ]] || fail "the flow lived on"
assert_equal "leases" "$(ctl --json lease list | field leases)" 0

step "a deleted peer is gone, leases, keys and all"
ctl peer set client --forwarding on >/dev/null
lease_open --proto udp --to-port 5001
must "echo" datagrams sizes 0 100 50
ctl peer del client >/dev/null
assert_equal "leases" "$(ctl --json lease list | field leases)" 0
refused 1 client ctl peer show client
assert_equal "the answer of a shut door" "$(knock udp)" "sent 1"
in_client ping -n -q -c 1 -W 1 $GATEWAY_INNER >/dev/null && fail "a deleted peer was answered"

step "and may come again"
ctl peer add "$(<"$RUN/client.pub")" --address $INNER --name client --forwarding on >/dev/null
lease_open --proto udp --to-port 5001
in_client ping -n -q -i 0.5 -w 40 -c 1 $GATEWAY_INNER >/dev/null || fail "it was not let in again"
must "echo" datagrams sizes 0 100 50

step "the socket says what it does not take"
refused 2 nonsense ctl lease nonsense
refused 1 70000 ctl lease open --peer client --to-port 70000
refused 3 control.none "$BUILD/app/portierctl/portierctl" -s "$RUN/control.none" health

finish
