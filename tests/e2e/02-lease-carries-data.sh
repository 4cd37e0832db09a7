#!/usr/bin/env bash
# Through a lease: bulk data in both directions, datagrams of every size, many connections at once.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((200 * 1000 * 1000))}

make_keys
net_create
# 1,400 bytes of UDP payload are a packet of 1,428; over IPv4 alone the tunnel takes 1,440.
CONF_ENTRY="\"$ENTRY/24\""
CONF_TUNNEL='inner_mtu = 1440;'
CLIENT_MTU=1440
gateway_conf
gateway_start
ctl peer add "$(<"$RUN/client.pub")" --address $INNER --name client --forwarding on >/dev/null
client_start
client_connect
client_serves 5001

lease_open --proto tcp --to-port 5001
transfer_both_ways "$N_BYTES"
step "100 connections at once"
must "many" transfer many 100000 100

lease_open --proto udp --to-port 5001
step "datagrams of 0 to 1400 bytes"
must "echo" datagrams sizes 0 1400

finish
