#!/usr/bin/env bash
# How long sessions live without a packet out, on accelerated timers: of UDP, of TCP in each of its
# states, of ping; how long a port rests before it serves again; and that there is one record of
# each block of ports, when it becomes a peer's and when it ceases to be.
. "$(dirname "$0")/lib.sh"

readonly UDP_MS=3000 ESTABLISHED_MS=9000 TRANSITORY_MS=4000 ICMP_MS=2000 REST_MS=4000
# Late is what a busy machine is; the two times of TCP stay apart.
readonly SLACK_MS=3000

make_keys
net_create
CONF_PEERS="$(conf_peer), $(conf_friend)"
CONF_NAT="block_ports = 64; max_blocks = 1;
	timers = { udp = \"${UDP_MS}ms\"; tcp_established = \"${ESTABLISHED_MS}ms\";
	tcp_transitory = \"${TRANSITORY_MS}ms\"; icmp = \"${ICMP_MS}ms\";
	rest = \"${REST_MS}ms\"; };"
gateway_conf
gateway_start
spawn gateway "$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock" events --only block \
	>"$RUN/blocks.log" 2>&1
it_listens()
{
	in_gateway ss --unix --no-header | grep -q "$RUN/control.sock"
}
eventually 5 "it listens" it_listens
client_start
client_connect
friend_start
ghost_appears
client_goes_mute

# lives MS PROTO SPORT [STEP...]: in the background; lived looks at all of them.
LIVES=()
lives()
{
	local wanted=$1 proto=$2 sport=$3

	shift 3
	"$TOOLS/ends.py" life "$proto" "$sport" $GHOST "$sport" "$@" >"$RUN/life.$sport" 2>&1 &
	LIVES+=("$! $wanted $sport $proto $*")
}

lived()
{
	local pid wanted sport what ms life

	for life in "${LIVES[@]}"; do
		read -r pid wanted sport what <<<"$life"
		wait "$pid" || fail "$what: $(<"$RUN/life.$sport")"
		read -r ms _ <"$RUN/life.$sport"
		printf '   %s: %s ms\n' "$what" "$ms"
		# The last packet in was sent a little before the end.
		[[ $ms -ge $((wanted - 300)) && $ms -le $((wanted + SLACK_MS)) ]] ||
			fail "$what lived $ms ms, not $wanted"
	done
}

step "how long each lives"
opened=(out=S in=SA out=A)
lives $UDP_MS udp 4001 out=S
lives $UDP_MS udp 4002 out=S in=S out=S
lives $ICMP_MS echo 4003 out=S
lives $TRANSITORY_MS tcp 4004 out=S
lives $ESTABLISHED_MS tcp 4006 "${opened[@]}"
lived
LIVES=()
step "how long TCP lives that ends, or seems to"
# Both open at once: RFC 5382, REQ-2.
lives $ESTABLISHED_MS tcp 4007 out=S in=S out=SA in=SA
lives $TRANSITORY_MS tcp 4008 "${opened[@]}" out=FA in=FA out=A
# A RST may be forged: what follows it still passes, for a while, and data takes it back.
lives $TRANSITORY_MS tcp 4009 "${opened[@]}" in=R
lives $ESTABLISHED_MS tcp 4010 "${opened[@]}" in=R out=A
lives $TRANSITORY_MS tcp 4011 "${opened[@]}" out=R
lived

step "TCP that does not begin is no session"
is_dropped nat_no_beginning --flags A out tcp 4012 $GHOST 7
is_dropped nat_no_beginning --flags R out tcp 4012 $GHOST 7

step "both ends open at once, through a lease"
lease_open --proto tcp --to-port 5001
comes_in --flags S tcp $GHOST 80 "$LEASE_ADDRESS" "$LEASE_PORT"
for flags in S SA A; do
	goes_out --flags $flags tcp 5001 $GHOST 80
	assert_equal "the source" "$PUBLIC $PUBLIC_PORT" "$LEASE_ADDRESS $LEASE_PORT"
	comes_in --flags $flags tcp $GHOST 80 "$LEASE_ADDRESS" "$LEASE_PORT"
done

step "a port rests before it serves another"
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7
begun=${EPOCHREALTIME/./}
in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7 >/dev/null || fail "no answer"
read -r _ had _ < <(in_friend "$TOOLS/mirror.py" try udp 63 10000 $HOST 7)
assert_equal "ports that it had" "$had" 63
before=$(drop nat_no_port)
eventually 30 "a port is free" in_friend "$TOOLS/mirror.py" ask udp 7000 $HOST 7
rested_ms=$(((${EPOCHREALTIME/./} - begun) / 1000))
printf '   free after %s ms\n' $rested_ms
assert_at_least "ms until a port served again" $rested_ms $((UDP_MS + REST_MS))
assert_at_least "refusals until then" $(($(drop nat_no_port) - before)) 1

step "but the one who had it may have it back"
first=$(in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7)
in_friend "$TOOLS/ends.py" --peer friend life udp 6000 $HOST 9 out=S >"$RUN/life" 2>&1 ||
	fail "$(<"$RUN/life")"
assert_equal "the public port, later" "$(in_friend "$TOOLS/mirror.py" ask udp 6000 $HOST 7)" \
	"$first"

step "a record when a block becomes a peer's, and one when it ceases to be"
# recorded EVENT PEER: its ports.
recorded()
{
	sed -n "s/.*  block\.$1 .* $2: .*, ports //p" "$RUN/blocks.log"
}
has_given_all_back()
{
	[[ $(recorded claimed client) == "$(recorded released client)" ]]
}
eventually 30 "the client's blocks are released" has_given_all_back
# A dozen sessions have used it, one after the other; on a busy machine with pauses.
[[ $(recorded claimed client | wc -l) -le 4 ]] || fail "a block for each session"
port=${first#* } ports=$(recorded claimed friend)
assert_equal "blocks that the friend gave back" "$(recorded released friend)" \
	"$(head -n -1 <<<"$ports")"
ports=$(tail -n 1 <<<"$ports")
[[ $port -ge ${ports% to *} && $port -le ${ports#* to } ]] ||
	fail "port $port is not among ports $ports of the friend"

finish
