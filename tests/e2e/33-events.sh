#!/usr/bin/env bash
# Watched: what happens is told as it happens, top shows it on a screen, and forgotten doors are
# found.
. "$(dirname "$0")/lib.sh"

command -v tmux >/dev/null || skip "tmux is not installed (./dpdk-setup.sh deps)"

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start

# told EVENT [WORDS]: a line of it is in the log.
told()
{
	grep -q -- "  $1 .*${2-}" "$RUN/events.log"
}

# ctl, in a command that is not this shell.
CTL=("$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock")

step "events of a client's life"
"${CTL[@]}" events >"$RUN/events.log" 2>&1 &
at_exit stop_process $!
"${CTL[@]}" --json events --only lease --count 2 >"$RUN/events.json" 2>&1 &
counted=$!
two_are_connected()
{
	[[ $(ss --unix --no-header | grep -c "$RUN/control.sock") -ge 2 ]]
}
eventually 5 "two listen" two_are_connected
client_start
client_connect
eventually 10 "up" told peer.up "client at $CLIENT:"
client_serves 5001
lease_open --proto udp --to-port 5001 --ttl 3s
eventually 5 "opened" told lease.opened \
	"lease $LEASE_ID of client: udp $LEASE_ADDRESS:$LEASE_PORT to $INNER:5001"
must "echo" datagrams sizes 0 10
ctl lease open --peer client --to-port 1 --public-port 99 2>/dev/null && fail "99 was opened"
eventually 5 "denied" told lease.denied "client, port 1 (public port 99"
eventually 10 "expired" told lease.closed "(expired)"
wait $counted || fail "events --count: exit status $?"
assert_equal "events as JSON" "$(field event <<<"$(head -n 1 "$RUN/events.json")") $(
	wc -l <"$RUN/events.json")" "lease.opened 2"

step "it roams, and is deleted"
ip_client address flush dev wan0 scope global
ip_client address add 192.0.2.3/24 dev wan0
in_client wg set "$WG" listen-port 40001
in_client ping -n -q -i 0.2 -w 20 -c 3 $GATEWAY_INNER >/dev/null || fail "no way back"
eventually 10 "roamed" told peer.roamed "client at 192.0.2.3:40001"
ctl peer add "$(wg genkey | wg pubkey)" --name other --address 100.64.0.7 >/dev/null
eventually 5 "added" told peer.added other
ctl peer del other >/dev/null
eventually 5 "deleted" told peer.deleted other

step "top, on a screen"
lease_open --proto both --to-port 5001 --label web
TERM=xterm tmux -S "$RUN/tmux" -f /dev/null new-session -d -x 140 -y 40 \
	"exec ${CTL[*]} top --interval 200ms"
at_exit tmux -S "$RUN/tmux" kill-server
screen()
{
	tmux -S "$RUN/tmux" capture-pane -p
}
shows()
{
	screen | grep -q -- "$1"
}
eventually 10 "the head" shows "^portier: ok, up .*1 peers, 1 leases"
eventually 10 "the workers" shows "^ *1 .*turning"
eventually 10 "the door" shows "client .*$LEASE_ADDRESS:$LEASE_PORT .*$INNER:5001 .*web"
in_internet "$TOOLS/echo.py" sizes "$LEASE_ADDRESS" "$LEASE_PORT" 1000 1390 >/dev/null &
eventually 10 "the traffic of the door" shows "client .*:5001 *[1-9][0-9.]* "
wait $!
LEASE_PORT=$((LEASE_PORT == 20000 ? 20001 : LEASE_PORT - 1)) knock udp >/dev/null || true
eventually 10 "a drop" shows " no_lease  *to a public address"
tmux -S "$RUN/tmux" send-keys C-c
eventually 5 "Ctrl-C ends it" bash -c "! tmux -S '$RUN/tmux' has-session"
assert_equal "looks of top --count 2, not on a screen" \
	"$(ctl top --count 2 --interval 100ms | grep -c '^portier: ')" 2

step "forgotten doors"
assert_equal "unused for 0 days" "$(ctl --json lease list --forgotten 0 | field leases)" 1
assert_equal "unused for 30 days" "$(ctl --json lease list --forgotten 30 | field leases)" 0

finish
