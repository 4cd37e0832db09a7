#!/usr/bin/env python3
"""Run portier.lua in a Lua that plays Pktgen and a gateway, and compare the Pktgen files.

usage: check_pktgen.py SCRIPTS/PKTGEN

The gateway of the play forwards 37 % of the link: that is what the search must find, with packets
to the leases that the list has. exit status: 0 all is as it should be, 1 something is not, 77 there
is no lua5.4
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

CAPACITY_PCT = 37
LINK_PPS = 1000000

# Each range that is set is printed. The gateway drops what is over its capacity, and all that is
# not UDP; a range is of TCP unless said otherwise, and set_proto does not say so.
PLAY = """
local rate, sent, is_on, proto = 0, 0, false, "tcp"
local function note(field)
	return function(port, what, value)
		if field == "ip_proto" then proto = what end
		print("range", port, field, what, value)
	end
end
pktgen = {
	range = setmetatable({}, {__index = function(_, field) return note(field) end}),
	screen = function() end, clr = function() sent = 0 end,
	set_proto = function() end,
	set_range = function(port, state) is_on = state == "on" end,
	set = function(_, what, value) assert(what == "rate") rate = value end,
	start = function(port) assert(is_on and port == "0") end, stop = function() end,
	delay = function(ms)
		if ms ~= 1000 then sent = math.floor(%(pps)d * rate / 100 * ms / 1000) end
	end,
	portStats = function(port)
		local passed = math.min(sent, %(pps)d * %(capacity)d // 100 * 2)
		if proto ~= "udp" then passed = 0 end
		return {[tonumber(port)] = {opackets = sent, ipackets = passed}}
	end,
}
dofile(arg[1])
"""

faults = []


def expect(is_so, what):
    if not is_so:
        faults.append(what)


def play(directory, script, env):
    path = os.path.join(directory, "play.lua")
    with open(path, "w", encoding="utf-8") as file:
        file.write(PLAY % {"pps": LINK_PPS, "capacity": CAPACITY_PCT})
    return subprocess.run(["lua5.4", path, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, env={"PATH": os.environ["PATH"], **env})


def check_search(directory, script):
    leases = os.path.join(directory, "leases.txt")
    with open(leases, "w", encoding="utf-8") as file:
        file.write("203.0.113.7 20100 20163\n203.0.113.8 1 2\n")
    done = play(directory, script, {"LEASES": leases, "GATEWAY_MAC": "02:00:00:00:00:01",
                                    "SIZES": "64 1420", "SECONDS": "2"})
    sys.stderr.write(done.stderr)
    expect(done.returncode == 0, f"portier.lua: exit status {done.returncode}")
    ranges = {tuple(words[2:4]): words[4] for words in map(str.split, done.stdout.splitlines())
              if words and words[0] == "range"}
    for field, first, last in (("dst_ip", "203.0.113.7", "203.0.113.7"),
                               ("dst_port", "20100", "20163"), ("pkt_size", "1438", "1438")):
        expect(ranges.get((field, "min")) == first and ranges.get((field, "max")) == last,
               f"{field} is not {first} to {last}")
    rows = re.findall(r"^ *(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", done.stdout, re.M)
    expect([row[0] for row in rows] == ["64", "1420"], "not a row for each size")
    for size, mpps, gbps, rate in rows:
        expect(CAPACITY_PCT - 0.2 < float(rate) <= CAPACITY_PCT, f"{size}: found {rate} %")
        expect(abs(float(mpps) * int(size) * 8 / 1e3 - float(gbps)) < 0.01, f"{size}: Gbit/s")


def check_refusals(directory, script):
    empty = os.path.join(directory, "empty.txt")
    with open(empty, "w", encoding="utf-8"):
        pass
    for env, word in (({}, "LEASES"), ({"LEASES": empty}, "FIRST-PORT")):
        done = play(directory, script, {"GATEWAY_MAC": "02:00:00:00:00:01", **env})
        expect(done.returncode != 0 and word in done.stderr, f"{env}: no word of {word}")


def check_commands(path):
    """The ranges of the command file are in order, and each is whole."""
    with open(path, encoding="utf-8") as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    fields = {}
    for words in lines:
        if words[0] == "range" and words[-2] in ("start", "min", "max", "inc"):
            fields.setdefault(" ".join(words[2:-2]), {})[words[-2]] = words[-1]
    for name in ("dst ip", "dst port", "src ip", "src port", "size"):
        got = fields.get(name, {})
        expect(set(got) == {"start", "min", "max", "inc"}, f"{path}: {name} is not whole")
        expect(got.get("start") == got.get("min"), f"{path}: {name} does not start at its least")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if not shutil.which("lua5.4"):
        print("skipped: lua5.4 is not installed (./dpdk-setup.sh deps)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        script = os.path.join(sys.argv[1], "portier.lua")
        check_search(directory, script)
        check_refusals(directory, script)
    check_commands(os.path.join(sys.argv[1], "portier.pkt"))
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
