#!/usr/bin/env bash
# Many leases over many peers, for a load test: scripts/pktgen/leases opens them where the Pktgen
# files send to, and takes them away again; one of its peers is a real client. And 10,000 changes of
# leases in one batch.
. "$(dirname "$0")/lib.sh"

readonly N_PEERS=20 N_LEASES=1000

make_keys
net_create
CONF_LEASES='max = 20000;' gateway_conf
gateway_start

leases()
{
	"$ROOT/scripts/pktgen/leases" -s "$RUN/control.sock" "$@"
}

step "leases are opened on consecutive ports, and said"
said=$(leases open --peers $N_PEERS --leases $N_LEASES --inner $INNER --keys "$RUN/keys")
assert_equal "what is said" "$said" "198.51.100.1 20000 $((20000 + N_LEASES - 1))"
assert_equal "leases" "$(ctl --json health | field leases)" $N_LEASES
assert_equal "peers" "$(ctl --json health | field peers)" $N_PEERS

step "the Pktgen commands send there"
for line in "dst ip start 198.51.100.1" "dst ip max 198.51.100.1" "dst port start 20000"; do
	grep -qxF "range 0 $line" "$ROOT/scripts/pktgen/portier.pkt" || fail "no '$line'"
done
last=$(sed -n 's/^range 0 dst port max //p' "$ROOT/scripts/pktgen/portier.pkt")
assert_at_least "the last port" $((20000 + N_LEASES - 1)) "$last"

step "a client with the key of one of them is reached"
sed -n 's/^PrivateKey = //p' "$RUN/keys/load-0.conf" >"$RUN/client.key"
client_start
client_connect
client_serves 5000
# shellcheck disable=SC2034 # for datagrams
LEASE_ADDRESS=198.51.100.1 LEASE_PORT=20000
must "echo" datagrams sizes 0 100 50

step "what can not be is refused with a sentence"
status=0
said=$(leases open --peers 3 --leases 10 2>&1) || status=$?
assert_equal "exit status" $status 2
status=0
said=$(leases open --first-port 1 2>&1) || status=$?
assert_equal "exit status" $status 1
grep -qF "load-0" <<<"$said" || fail "no word of the name that is taken: $said"

step "they are taken away again"
leases close
assert_equal "leases" "$(ctl --json health | field leases)" 0
assert_equal "peers" "$(ctl --json health | field peers)" 0

step "10,000 changes go in one batch"
must "10,000 at once" "$TOOLS/bulk.py" "$RUN/control.sock"

finish
