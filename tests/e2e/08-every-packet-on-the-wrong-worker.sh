#!/usr/bin/env bash
# Every packet arrives at a worker that does not own it: both ports have one queue, which worker 0
# polls, and the client's home is worker 1. What the other tests check still holds (meson runs
# several of them in this setting, too), and each hand-over is counted at both ends.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((50 * 1000 * 1000))}

make_keys
net_create
CONF_WORKERS=2
CONF_QPAIRS=1
CONF_HOME_SHIFT=1
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto both --to-port 5001
assert_equal "the client's home" "$(peer_field client home)" 1

worker_counter()
{
	ctl --json stats | field "workers.$1.counters.$2"
}

handed_over()
{
	[[ $(counter handed_in) -eq $(counter handed_out) ]]
}

transfer_both_ways "$N_BYTES"
step "100 connections at once"
must "many" transfer many 100000 100
step "datagrams"
before=$(counter handed_in)
must "echo" datagrams sizes 0 1390 10

step "hand-overs are counted"
# 140 datagrams came from the Internet and 140 went back.
eventually 5 "as many came in as went out" handed_over
assert_at_least "hand-overs of the datagrams" $(($(counter handed_in) - before)) 280
assert_equal "packets that worker 1 took from ports" "$(worker_counter 1 received)" 0
assert_equal "packets that worker 0 opened" "$(worker_counter 0 opened)" 0

finish
