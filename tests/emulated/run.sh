#!/usr/bin/env bash
# Run a statically linked unit test in Bochs: a CPU with AVX-512, and no operating system.
#
# usage: tests/emulated/run.sh BOOT PROGRAM
#
# PROGRAM gets the variables PORTIER_TEST_*; what it prints is printed. It may take
# PORTIER_EMULATED_SECONDS, by default 280. Exit status: that of PROGRAM, 77 without a Bochs that
# has the CPU, 1 when the run did not come to its end.
set -euo pipefail

readonly MODEL=corei7_icelake_u
# By default below the timeout of the test, so that this ends first and leaves nothing behind.
readonly SECONDS_MAX=${PORTIER_EMULATED_SECONDS:-280}
# As layout.h says.
readonly ENVIRONMENT_AT=$((0x1ef000)) BOOT_AT=$((0x1f0000))

skip()
{
	printf 'skipped: %s\n' "$*"
	exit 77
}

[[ $# -eq 2 ]] || {
	sed -n 's/^# usage/usage/p' "$0" >&2
	exit 2
}
command -v bochs >/dev/null || skip "bochs is not installed (./dpdk-setup.sh deps)"
bochs --help cpu </dev/null 2>&1 | grep -x $MODEL >/dev/null || skip "bochs has no CPU $MODEL"

boot=$1
program=$2
dir=$(mktemp -d)
pid=

clean()
{
	if [[ -n $pid ]]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" || true
	fi
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 1' INT TERM HUP

# The machine has no clock to seed from. In long copies, rep takes one step a byte there.
: "${PORTIER_TEST_SEED:=$(date +%s)}"
export PORTIER_TEST_SEED
export GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1000000000
GLIBC_TUNABLES+=:glibc.cpu.x86_rep_movsb_threshold=1000000000

strip -o "$dir/image" "$program"
size=$(stat -c %s "$dir/image")
if [[ $size -gt $ENVIRONMENT_AT ]]; then
	printf '%s: too large for the image (%s bytes)\n' "$program" "$size"
	exit 1
fi
truncate -s $ENVIRONMENT_AT "$dir/image"
env -0 | grep -z -E '^(PORTIER_TEST_|GLIBC_TUNABLES=)' >>"$dir/image"
truncate -s $BOOT_AT "$dir/image"
cat "$boot" >>"$dir/image"

cat >"$dir/bochsrc" <<CONF
display_library: term
memory: guest=64, host=64
cpu: model=$MODEL, reset_on_triple_fault=0
romimage: file="$dir/image", address=0xffe00000
port_e9_hack: enabled=1
log: $dir/log
panic: action=fatal
CONF
# Debian's Bochs begins in its debugger.
printf 'continue\n' >"$dir/commands"

# In the background: a shell that waits for one in front does not see its signals.
TERM=vt100 timeout --kill-after=1 "$SECONDS_MAX" \
	bochs -q -f "$dir/bochsrc" -rc "$dir/commands" </dev/null >"$dir/out" 2>"$dir/err" &
pid=$!
wait "$pid" || true
pid=

sed -e '1,/^(0) \[/d' -e '/^(0)\.\[/d' "$dir/out"
status=$(sed -n 's/^exit status \([0-9a-f][0-9a-f]\)$/\1/p' "$dir/out" | tail -n1)
if [[ -z $status ]]; then
	printf 'the emulated machine did not come to its end:\n'
	tail -n 10 "$dir/log" "$dir/err"
	exit 1
fi
if [[ $((16#$status)) -eq 77 ]]; then
	printf 'the program skipped itself on a CPU that has everything\n'
	exit 1
fi
exit $((16#$status))
