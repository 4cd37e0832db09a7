#!/usr/bin/env bash
# Metrics: strict parsers take them, they say what happened, and the alert rules and the dashboard
# build on metrics that exist. DPDK's telemetry has the same counters.
. "$(dirname "$0")/lib.sh"

readonly URL=http://127.0.0.1:9464/metrics

/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null ||
	skip "python3-prometheus-client is not installed (./dpdk-setup.sh deps)"

make_keys
net_create
CONF_METRICS='listen = "127.0.0.1:9464";'
CONF_EAL='telemetry = true;'
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto udp --to-port 5001

# metric NAME [LABEL]...: the sum of what has these labels.
metric()
{
	local name=$1 label filter=.

	shift
	for label in "$@"; do
		filter+="*$label.*"
	done
	in_gateway curl --silent --max-time 5 $URL |
		awk -v name="$name" -v filter="$filter" '
			{ split($1, part, "{") }
			part[1] == name && $0 ~ filter { sum += $2; n++ }
			END { if (!n) exit 1; print sum }'
}

step "strict parsers take them, and what is built on them exists"
must "a strict parser" in_gateway "$TOOLS/metrics.py" check $URL \
	"$ROOT/config/prometheus-rules.yml" "$ROOT/config/grafana-dashboard.json"
PATH=$PATH:/usr/local/lib/portier/bin # ./dpdk-setup.sh deps
if command -v promtool >/dev/null; then
	in_gateway curl --silent $URL | promtool check metrics >"$RUN/promtool.log" 2>&1 ||
		fail "promtool: $(<"$RUN/promtool.log")"
	promtool check rules "$ROOT/config/prometheus-rules.yml" >"$RUN/promtool.log" 2>&1 ||
		fail "promtool: $(<"$RUN/promtool.log")"
elif [[ ${CI-} == true ]]; then
	fail "promtool is not installed (./dpdk-setup.sh deps)"
fi

step "they say what happened"
must "echo" datagrams sizes 0 10
knock udp >/dev/null || true
LEASE_PORT=$((LEASE_PORT == 20000 ? 20001 : LEASE_PORT - 1)) knock udp >/dev/null || true
assert_equal "peers" "$(metric portier_peers)" 1
assert_equal "leases" "$(metric portier_leases)" 1
assert_equal "active leases" "$(metric portier_lease_states 'state="active"')" 1
assert_equal "kept numbers" "$(metric portier_lease_states 'state="reserved"')" 0
assert_equal "requests" "$(metric portier_portmap_requests_total)" 0
assert_at_least "opened" "$(metric portier_worker_opened_total)" 11
assert_at_least "sealed" "$(metric portier_worker_sealed_total)" 11
assert_at_least "initiations" "$(metric portier_handshake_initiations_in_total)" 1
assert_at_least "received on port pub" "$(metric portier_port_rx_pkts_total 'port="pub"')" 11
for reason in no_lease not_for_us; do
	assert_equal "drops for $reason" \
		"$(metric portier_drops_total "reason=\"$reason\"")" "$(drop $reason)"
done
assert_at_least "drops for no_lease" "$(metric portier_drops_total 'reason="no_lease"')" 1

step "HTTP tells others what it takes"
assert_equal "status of /" \
	"$(in_gateway curl --silent --output /dev/null --write-out '%{http_code}' "${URL%/*}/")" 404
assert_equal "status of POST" "$(in_gateway curl --silent --output /dev/null \
	--write-out '%{http_code}' --data x $URL)" 405

step "DPDK telemetry has the same counters"
telemetry()
{
	"$TOOLS/telemetry.py" /run/dpdk/rte "$@"
}
for command in stats drops handshakes; do
	telemetry / | grep -qF "/portier/$command" || fail "there is no /portier/$command"
	telemetry "/help,/portier/$command" | grep -q "ounters\|dropped" || fail "no help"
done
assert_equal "drops of no_lease" \
	"$(telemetry /portier/drops | field /portier/drops.no_lease)" "$(drop no_lease)"
assert_equal "initiations" "$(telemetry /portier/handshakes |
	field /portier/handshakes.initiations_in)" "$(handshakes initiations_in)"
assert_equal "leases by state" "$(telemetry /portier/leases | field /portier/leases.active \
	/portier/leases.suspended /portier/leases.reserved /portier/leases.pinholes)" "1 0 0 0"
opened=0
for worker in 0 1; do
	((opened += $(telemetry "/portier/stats,$worker" | field /portier/stats.opened))) || true
done
assert_equal "opened, worker by worker" $opened "$(counter opened)"
for worker in 2 -1 x 1x; do
	assert_equal "stats of worker $worker" "$(telemetry "/portier/stats,$worker")" \
		'{"/portier/stats": null}'
done

finish
