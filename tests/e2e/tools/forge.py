#!/usr/bin/env python3
"""What an attacker on the path can do with WireGuard messages that he saw.

usage: forge.py INTERFACE OUR-IPV4 ENTRY PORT SPOOFED-IPV4 COMMAND...

Listens on the client's interface while COMMAND makes the client send through the tunnel, keeps one
data message of at least 96 bytes of payload, then sends variants of it:

  replay      as it was, three times
  moved       as it was, from another address
  flipped     with each of 64 bytes, tag included, changed
  moved-flip  from another address, changed
  index       with other receiver indices
  truncated   cut at each length from 0 to 31: no data message is so short
  short       cut at each length from 32 to 95
  type        with other message types

Prints a line "NAME N" for each.
"""
import subprocess
import sys
import time

from packet import UDP, View, Wire, udp

DATA, DATA_MIN = 4, 32
CAPTURE_S = 10


def capture(wire, entry, port, command):
    """Our own frames are wanted here: the client and this process share the interface."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + CAPTURE_S
    wire.sock.settimeout(CAPTURE_S)
    found = None
    while not found and time.monotonic() < end:
        frame = wire.sock.recv(65536)
        view = View(int.from_bytes(frame[12:14], "big"), frame[14:])
        if view.proto == UDP and (view.dst, view.dport) == (entry, port) \
                and len(view.payload) >= 96 and view.payload[0] == DATA:
            found = view
    child.wait()
    if not found:
        sys.exit("forge: no data message was seen")
    return found


def flip(payload, at):
    return payload[:at] + bytes([payload[at] ^ 0x40]) + payload[at + 1:]


def variants(seen, spoofed):
    """(name, source address, payload)."""
    ours, good = seen.src, seen.payload
    for _ in range(3):
        yield "replay", ours, good
    yield "moved", spoofed, good
    # The counter is left alone: a changed one is a packet of another place in the window.
    for at in range(len(good) - 64, len(good)):
        yield "flipped", ours, flip(good, at)
    for at in range(len(good) - 16, len(good)):
        yield "moved-flip", spoofed, flip(good, at)
    for at in range(4, 8):
        yield "index", ours, flip(good, at)
    for length in range(96):
        yield "truncated" if length < DATA_MIN else "short", ours, good[:length]
    for kind in (0, 5, 6, 128, 255):
        yield "type", ours, bytes([kind]) + good[1:]


def main(args):
    interface, ours, entry, port, spoofed, *command = args
    wire = Wire(interface)
    mac = wire.neighbour(ours, entry)
    seen = capture(wire, entry, int(port), command)
    counts = {}
    for name, source, payload in variants(seen, spoofed):
        wire.send(mac, udp(source, seen.sport, entry, int(port), payload))
        counts[name] = counts.get(name, 0) + 1
    for name, count in counts.items():
        print(name, count)


if __name__ == "__main__":
    main(sys.argv[1:])
