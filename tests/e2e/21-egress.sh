#!/usr/bin/env bash
# A peer has the Internet without any set-up: web, DNS and bulk in both directions, a thousand flows
# at once; seen from outside it is always one address, whatever it does.
. "$(dirname "$0")/lib.sh"

readonly N_BYTES=${PORTIER_E2E_BYTES:-$((30 * 1000 * 1000))}
readonly N_FLOWS=1000

make_keys
net_create
# RFC 6888, REQ-3: a pool of several ranges with gaps between them.
CONF_POOL='"198.51.100.3/32", "198.51.100.8/30", "198.51.100.13/32"'
CONF_PEERS=$(conf_peer)
CONF_NAT='sessions_per_peer = 4096; new_sessions_per_s = 4096; max_blocks = 16;'
gateway_conf
gateway_start
client_start
client_connect
public=$(peer_field client public_address)

step "a web server"
mkdir "$RUN/www"
head -c "$N_BYTES" /dev/urandom >"$RUN/www/file"
spawn internet python3 -m http.server --bind $HOST --directory "$RUN/www" 80 >"$RUN/web.log" 2>&1
eventually 10 "the web server answers" in_internet curl -sf "http://$HOST/"
in_client curl -sS --max-time 60 -o "$RUN/got" "http://$HOST/file" || fail "curl"
cmp "$RUN/got" "$RUN/www/file" || fail "the file came with faults"
in_client curl -sS --parallel --parallel-max 16 --max-time 60 -o "$RUN/got#1" \
	"http://$HOST/[1-100]" || fail "a hundred requests"
assert_equal "addresses that the web server saw" \
	"$(grep -o '^198[0-9.]*' "$RUN/web.log" | sort -u)" "$public"

step "a name server"
spawn internet dnsmasq --keep-in-foreground --no-resolv --no-hosts --no-daemon --user=root \
	--listen-address=$HOST --bind-interfaces --conf-file=/dev/null --pid-file= \
	--address=/portier.test/$HOST \
	--txt-record="large.test,$(printf 'a%.0s' {1..250}),$(printf 'b%.0s' {1..250}),$(
		printf 'c%.0s' {1..250})" >"$RUN/dns.log" 2>&1
eventually 10 "the name server answers" in_internet dig @$HOST portier.test
assert_equal "the answer" "$(in_client dig @$HOST +short +tries=5 portier.test)" $HOST
assert_equal "the answer by TCP" "$(in_client dig @$HOST +short +tcp portier.test)" $HOST
# Too large for a datagram of this size: dig asks again by TCP.
in_client dig @$HOST +tries=5 +noedns large.test TXT >"$RUN/dig"
grep -q 'Truncated, retrying in TCP' "$RUN/dig" || fail "no second question: $(<"$RUN/dig")"
grep -q 'c\{250\}' "$RUN/dig" || fail "not the whole answer: $(<"$RUN/dig")"

# bulk NAME ARG...: at least some bytes, and of datagrams none lost.
bulk()
{
	local name=$1 got

	shift
	step "bulk: $name"
	in_client iperf3 --json --connect-timeout 5000 -c $HOST -t 2 "$@" >"$RUN/iperf" ||
		fail "iperf3: $(field error <"$RUN/iperf")"
	if [[ $name == datagrams* ]]; then
		got=$(field end.sum.packets end.sum.lost_packets <"$RUN/iperf")
		assert_at_least "datagrams" "${got% *}" 200
		assert_equal "lost of them" "${got#* }" 0
	else
		assert_at_least "bytes" "$(field end.sum_received.bytes <"$RUN/iperf")" 1000000
	fi
}
spawn internet iperf3 -s -B $HOST >"$RUN/iperf-server.log" 2>&1
eventually 10 "iperf3 listens" in_internet bash -c "exec 3<>/dev/tcp/$HOST/5201"
bulk "stream out"
bulk "stream in" -R
bulk "datagrams out" -u -b 4M -l 1200
bulk "datagrams in" -u -b 4M -l 1200 -R

step "$N_FLOWS flows of each protocol at once"
serve internet mirror "$TOOLS/mirror.py" serve $HOST 7
for proto in udp tcp; do
	in_client "$TOOLS/mirror.py" flows $proto $N_FLOWS $HOST 7 >"$RUN/flows" || fail "$proto"
	assert_equal "answers" "$(wc -l <"$RUN/flows")" $N_FLOWS
	assert_equal "public addresses" "$(cut -d ' ' -f 2 "$RUN/flows" | sort -u)" "$public"
	assert_equal "public ports" "$(cut -d ' ' -f 3 "$RUN/flows" | sort -u | wc -l)" $N_FLOWS
	read -r first last < <(cut -d ' ' -f 3 "$RUN/flows" | sort -n | sed -n '1p;$p' | xargs)
	[[ $first -ge 1024 && $last -le 19999 ]] || fail "ports from $first to $last"
	# RFC 6056: a port says nothing of the one before.
	assert_at_least "times that the next port was smaller" \
		"$(awk '$3 < last { n++ } { last = $3 } END { print n + 0 }' "$RUN/flows")" \
		$((N_FLOWS / 4))
done

step "a source port is not kept"
kept=0
for port in {5000..5004}; do
	read -r _ seen < <(in_client "$TOOLS/mirror.py" ask udp "$port" $HOST 7)
	[[ $seen -ne $port ]] || kept=$((kept + 1))
done
[[ $kept -le 1 ]] || fail "$kept of 5 source ports were kept"

step "the same source port to two hosts is one public port"
net_add_stranger
serve internet mirror2 "$TOOLS/mirror.py" serve $STRANGER 7
for proto in udp tcp; do
	assert_equal "what the other one saw of $proto" \
		"$(in_client "$TOOLS/mirror.py" ask $proto 5000 $STRANGER 7)" \
		"$(in_client "$TOOLS/mirror.py" ask $proto 5000 $HOST 7)"
done

finish
