#!/usr/bin/env bash
# portierctl lease check: the gateway knocks at the door of a lease and tells what a real client and
# its servers answered: open, refused, silent, not there. Nothing of it counts as a use of the
# lease, nothing stays at the client, and nobody else waits.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
net_add_ipv6
CONF_PEERS="$(conf_peer), $(conf_absent_peer)"
CONF_TIMERS='rekey_after = "2s"; reject_after = "4s"; rekey_attempt = "2s";
	rekey_timeout = "300ms"; keepalive = "500ms";'
gateway_conf
gateway_start
client_start
client_connect

# checked WANTED WORDS [ARG...]: the current lease is found so, and its verdict says so.
checked()
{
	local wanted=$1 words=$2 found

	shift 2
	ctl --json lease check "$LEASE_ID" "$@" >"$RUN/check" || fail "lease check $*"
	found=$(field outcome <"$RUN/check")
	assert_equal "what is found ($(field verdict <"$RUN/check"))" "$found" "$wanted"
	grep -qF -- "$words" "$RUN/check" || fail "it does not say '$words': $(<"$RUN/check")"
}

# The lease was not used, and nobody knocked, as far as it knows.
assert_unused()
{
	ctl --json lease show "$LEASE_ID" >"$RUN/lease"
	assert_equal "traces" "$(field last_used_age_s knocks counters.in_pkts counters.out_pkts \
		counters.refused_pkts failures <"$RUN/lease")" "None None 0 0 0 0"
}

# Once the reset is there.
nothing_half_open()
{
	[[ -z $(in_client ss -Htan state syn-recv) ]]
}

for target in $INNER $INNER6; do
	step "a web server, at $target"
	lease_open --proto tcp --to-port 8080 --to-address "$target"
	# As python3 -m http.server, but that asks DNS for its own name before it listens.
	serve client http python3 -c '
import http.server, socket, socketserver, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    server_bind = socketserver.TCPServer.server_bind
server = Server((sys.argv[1], 8080), http.server.SimpleHTTPRequestHandler)
print("ready", flush=True)
server.serve_forever()
' "$target"
	server=$SPAWNED
	checked answered "the program on the peer's port 8080 accepted a connection"
	assert_equal "the answer" "$(field answer <"$RUN/check")" syn-ack
	eventually 5 "nothing stays half open at the client" nothing_half_open
	assert_unused
	[[ $target == *:* ]] && host="[$LEASE_ADDRESS]" || host=$LEASE_ADDRESS
	must "a page" in_internet curl -sf --max-time 5 -o "$RUN/page" "http://$host:$LEASE_PORT/"
	ctl lease close "$LEASE_ID" >/dev/null
	lease_open --proto tcp --to-port 8080 --to-address "$target"

	step "no web server, at $target"
	stop_process "$server"
	checked refused "no program listens on its port 8080"
	assert_equal "the answer" "$(field answer <"$RUN/check")" rst
	assert_unused
	ctl lease close "$LEASE_ID" >/dev/null

	step "datagrams, at $target"
	lease_open --proto both --to-port 5001 --to-address "$target"
	checked refused "no program listens on its port 5001" --proto udp
	serve client udp "$TOOLS/echo.py" serve "$target" 5001
	server=$SPAWNED
	checked answered "answered a datagram" --proto udp
	stop_process "$server"
	assert_unused

	step "a service that keeps silent, at $target"
	serve client mute python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5001))
print("ready", flush=True)
time.sleep(3600)
' "$target"
	server=$SPAWNED
	checked silent "a UDP service may do that" --proto udp --timeout 1500ms
	assert_at_least "packets" "$(field sent <"$RUN/check")" 1
	stop_process "$server"
	assert_unused
	ctl lease close "$LEASE_ID" >/dev/null
done

step "a client that drops what it would answer"
lease_open --proto tcp --to-port 5001
ip_client rule add from $INNER blackhole
checked silent "a firewall at the peer" --timeout 500ms
ip_client rule del from $INNER blackhole

step "nobody else waits, and one at a time"
ip_client rule add from $INNER blackhole
# In one write: a check that lasts, another of the same lease, and a question.
python3 -c '
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
check = {"method": "lease.check", "params": {"id": int(sys.argv[2]), "timeout_s": 2}}
asks = [check, check, {"method": "version"}]
s.sendall(b"".join(json.dumps({"jsonrpc": "2.0", "id": i, **a}).encode() + b"\n"
                   for i, a in enumerate(asks)))
lines = s.makefile()
for _ in asks:
    reply = json.loads(lines.readline())
    result = reply.get("result", {})
    print(reply["id"], result.get("outcome") or result.get("version") and "told" or
          reply["error"]["message"])
' "$RUN/control.sock" "$LEASE_ID" >"$RUN/told"
assert_equal "who is answered when" "$(cut -d' ' -f1 "$RUN/told" | tr '\n' ' ')" "1 2 0 "
grep -q '^1 .*is being checked' "$RUN/told" || fail "$(<"$RUN/told")"
grep -q '^0 silent$' "$RUN/told" || fail "$(<"$RUN/told")"
ip_client rule del from $INNER blackhole

step "for people"
ctl lease check "$LEASE_ID" | tail -n 1 | grep -q '^refused: the door is open, ' ||
	fail "$(ctl lease check "$LEASE_ID")"
ctl lease close "$LEASE_ID" >/dev/null

step "a lease that admits others only"
lease_open --proto tcp --to-port 5001 --from 198.18.0.0/24
ctl lease check "$LEASE_ID" >"$RUN/said" 2>&1 && fail "checked: $(<"$RUN/said")"
grep -qF -- "--from $GATEWAY_PUBLIC" "$RUN/said" || fail "$(<"$RUN/said")"
ctl lease close "$LEASE_ID" >/dev/null
lease_open --proto tcp --to-port 5001 --from 198.18.0.0/24 --from "$GATEWAY_PUBLIC"
checked refused "no program listens"
assert_equal "from where" "$(field from <"$RUN/check" | cut -d: -f1)" "$GATEWAY_PUBLIC"

step "a lease of nobody who was ever there"
ctl peer set absent --forwarding on >/dev/null
known=$LEASE_ID
LEASE_ID=$(ctl --json lease open --peer absent --to-port 9 | field id)
checked unreachable "absent has never connected"
LEASE_ID=$known

step "a client that is gone"
stop_process "$WIREGUARD_PID"
unreachable()
{
	ctl --json lease check "$LEASE_ID" --timeout 300ms >"$RUN/check"
	[[ $(field outcome <"$RUN/check") == unreachable ]]
}
eventually 30 "it is unreachable" unreachable
known_to_be()
{
	[[ $(peer_field client unreachable_age_s) != None ]]
}
eventually 30 "and known to be" known_to_be
checked unreachable "peer client has not answered for " --timeout 300ms

finish
