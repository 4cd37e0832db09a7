#!/usr/bin/env bash
# The address that NAT-PMP and PCP tell is the one that the Internet sees: before the first mapping,
# with it and after it, where ordinary traffic has a pool of its own, too.
. "$(dirname "$0")/lib.sh"

command -v natpmpc >/dev/null || skip "natpmpc is not installed (./dpdk-setup.sh deps)"
make_keys
net_create
CONF_PEERS="$(conf_peer 'portmap = true;'), $(conf_friend)"
CONF_NAT='pool = [ "203.0.113.128/30" ];'
gateway_conf
ip_internet route add 203.0.113.128/30 via $GATEWAY_PUBLIC
gateway_start
client_start
client_connect
friend_start
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7
serve client heard "$TOOLS/hear.py" $INNER 5350

# told: what NAT-PMP's op 0 says.
told()
{
	in_client timeout 30 natpmpc -g $GATEWAY_INNER | sed -n 's/^Public IP address : //p'
}

SPORT=6000

# seen NAMESPACE: the source of a new session, as the Internet sees it.
seen()
{
	local line

	line=$("in_$1" "$TOOLS/mirror.py" ask udp "$SPORT" $HOST 7) || fail "mirror.py of $1"
	echo "${line% *}"
}

# agree WHEN: ADDRESS is what is told and seen.
agree()
{
	((SPORT += 1))
	ADDRESS=$(told)
	assert_equal "the address that the Internet sees $1" "$(seen client)" "$ADDRESS"
}

step "before the first mapping"
agree "before"
before=$ADDRESS
[[ $before == 198.51.100.* ]] || fail "$before is not of the pool of leases"
[[ $(seen friend) == 203.0.113.1* ]] || fail "who maps no ports left the pool of ordinary traffic"

step "with a mapping"
port=$(in_client "$TOOLS/portmap.py" natpmp $GATEWAY_INNER udp 7001 0 3600) || fail "no mapping"
assert_equal "the lease's address" \
	"$(ctl --json lease list --peer client | field leases.0.public_address)" "$before"
agree "with it"
assert_equal "the address with it" "$ADDRESS" "$before"

step "and after it"
in_client "$TOOLS/portmap.py" natpmp $GATEWAY_INNER udp 7001 "$port" 0 >/dev/null || fail "no end"
agree "after"
assert_equal "the address after it" "$ADDRESS" "$before"

# announced ADDRESS: by NAT-PMP, three times, after the first HEARD lines.
announced()
{
	local hex

	# shellcheck disable=SC2086 # four numbers
	hex=$(printf '%02x%02x%02x%02x' ${1//./ })
	[[ $(tail -n "+$((HEARD + 1))" "$RUN/heard.log" |
		grep -c "^$GATEWAY_INNER 5351 0080.*$hex$") -ge 3 ]]
}

step "where the operator moves it, the client is told, and when it moves back"
other=198.51.100.$((${before##*.} == 7 ? 8 : 7))
HEARD=$(wc -l <"$RUN/heard.log")
lease_open --to-port 80 --public-address $other
eventually 20 "the announcement" announced $other
agree "then"
assert_equal "the address then" "$ADDRESS" "$other"
HEARD=$(wc -l <"$RUN/heard.log")
ctl lease close "$LEASE_ID" >/dev/null
eventually 20 "the announcement of the end" announced "$before"
agree "again"
assert_equal "the address again" "$ADDRESS" "$before"

finish
