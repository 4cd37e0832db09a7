#!/usr/bin/env bash
# scripts/demo shows what it says, and cleans up: at its end, when it is interrupted, and after
# --keep.
. "$(dirname "$0")/lib.sh"

readonly DEMO=$ROOT/scripts/demo
export PORTIER_BUILD=$BUILD

nothing_is_left()
{
	[[ -z $(ip netns list) && ! -e /run/portier-demo ]] &&
		! pgrep -f 'wireguard-go|http.server|portier -c' >/dev/null
}

said()
{
	grep -qF -- "$1" "$RUN/demo.log"
}

step "from beginning to end"
"$DEMO" >"$RUN/demo.log" 2>&1 || fail "the demo failed: $(<"$RUN/demo.log")"
said "Hello from behind the tunnel." || fail "there was no page: $(<"$RUN/demo.log")"
nothing_is_left || fail "something is left: $(ip netns list; ps ax)"

step "interrupted"
rm "$RUN/demo.log"
"$DEMO" >"$RUN/demo.log" 2>&1 &
demo=$!
eventually 60 "the client is connected" said "web server"
kill -TERM $demo
wait $demo && fail "an interrupted demo says that all is well"
nothing_is_left || fail "something is left: $(ip netns list; ps ax)"

step "--keep, and the next one after it"
"$DEMO" --keep >"$RUN/demo.log" 2>&1 || fail "the demo failed: $(<"$RUN/demo.log")"
door=$(grep -o 'curl http://[0-9.:]*/' "$RUN/demo.log" | tail -n1)
ip netns exec portier-internet curl --silent --max-time 5 "${door#curl }" | grep -q Hello ||
	fail "the door of the kept demo is shut: $door"
"$DEMO" --keep >"$RUN/demo.log" 2>&1 || fail "the demo failed over a kept one: $(<"$RUN/demo.log")"
"$DEMO" --end || fail "--end failed"
nothing_is_left || fail "something is left: $(ip netns list; ps ax)"

step "a wrong option"
status=0
"$DEMO" --kept >/dev/null 2>&1 || status=$?
assert_equal "exit status" $status 2

finish
