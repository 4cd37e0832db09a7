#!/usr/bin/env bash
# The client reaches the gateway over IPv6: data, ping inside in both families, roaming.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((50 * 1000 * 1000))}
readonly ELSEWHERE6=2001:db8:1::77

make_keys
net_create
CONF_PEERS=$(conf_peer)
CLIENT_ENDPOINT="[$ENTRY6]:51820"
gateway_conf
gateway_start
client_start
client_connect
[[ $(peer_field client endpoint) == "[$CLIENT6]:"* ]] || fail "the endpoint is not of IPv6"
in_client ping -n -q -c 3 -i 0.2 -W 3 $GATEWAY_INNER6 >/dev/null || fail "no ping inside by IPv6"
client_serves 5001
lease_open --proto both --to-port 5001

transfer_both_ways "$N_BYTES"
step "datagrams up to the tunnel's MTU"
must "echo" datagrams sizes 0 1392 8

step "the client moves"
ip_client address add $ELSEWHERE6/64 dev wan0 nodad
ip_client address del $CLIENT6/64 dev wan0
in_client ping -n -q -c 1 -w 20 $GATEWAY_INNER >/dev/null || fail "no answer after the move"
[[ $(peer_field client endpoint) == "[$ELSEWHERE6]:"* ]] || fail "the endpoint did not move"
must "echo" datagrams sizes 0 1392 100

finish
