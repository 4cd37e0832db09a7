#!/usr/bin/env bash
# A preshared key: without it, or with another, there is no tunnel; it can be changed live.
. "$(dirname "$0")/lib.sh"

make_keys
net_create
(umask 077 && wg genpsk >"$RUN/client.psk" && wg genpsk >"$RUN/other.psk")
CONF_PEERS=$(conf_peer "preshared_key_file = \"$RUN/client.psk\";")
gateway_conf
gateway_start
client_start

client_uses_key()
{
	in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" preshared-key "$1"
}

# It answers each initiation, but the client can not read the answer.
responses_are_beyond()
{
	[[ $(handshakes responses_out) -gt $1 ]]
}

step "a client without the key"
in_client ping -n -q -c 1 -W 1 $GATEWAY_INNER >/dev/null && fail "there is a tunnel"
eventually 10 "the gateway answers" responses_are_beyond 0
client_is_connected && fail "the client accepts an answer under no key"

step "a client with another key"
client_uses_key "$RUN/other.psk"
answered=$(handshakes responses_out)
eventually 20 "the gateway answers" responses_are_beyond "$answered"
client_is_connected && fail "the client accepts an answer under another key"

step "a client with the key"
client_uses_key "$RUN/client.psk"
client_connect

step "the key is changed while the gateway runs"
must "set the key" ctl peer set client --preshared-key-file "$RUN/other.psk" >/dev/null
in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" remove
in_client wg set "$WG" peer "$(<"$RUN/gateway.pub")" allowed-ips 0.0.0.0/0,::/0 \
	endpoint "$CLIENT_ENDPOINT" preshared-key "$RUN/other.psk"
client_connect
ctl peer show client | grep -q "preshared key *yes" || fail "peer show does not say so"
ctl peer show client | grep -qF "$(<"$RUN/other.psk")" && fail "peer show tells the key"
grep -qF -e "$(<"$RUN/client.psk")" -e "$(<"$RUN/other.psk")" "$RUN/gateway.log" &&
	fail "the log tells a key"

finish
