#!/usr/bin/env python3
"""UDP echo: a server, and a client that counts what does not come back.

usage: echo.py serve ADDRESS PORT
       echo.py sizes ADDRESS PORT FIRST LAST [STEP]   one datagram of each size; all must return
       echo.py burst ADDRESS PORT N                   N datagrams in one go; all must return
       echo.py stream ADDRESS PORT SECONDS            one every 5 ms; prints "sent N lost N"

The payload of a datagram is random, and must return as it was.
"""
import os
import socket
import sys
import time


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.bind((address, port))
    print("ready", flush=True)
    while True:
        data, source = sock.recvfrom(65536)
        sock.sendto(data, source)


def sizes(address, port, first, last, step):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.settimeout(5)
    for size in range(first, last + 1, step):
        data = os.urandom(size)
        sock.send(data)
        try:
            answer = sock.recv(65536)
        except TimeoutError:
            sys.exit(f"echo: {size} bytes did not come back")
        if answer != data:
            sys.exit(f"echo: {size} bytes came back as {len(answer)} others")


def burst(address, port, count):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.settimeout(5)
    waiting = {b"%d of %d" % (number, count) for number in range(count)}
    for data in sorted(waiting):
        sock.send(data)
    while waiting:
        try:
            waiting.discard(sock.recv(65536))
        except TimeoutError:
            sys.exit(f"echo: {len(waiting)} of {count} did not come back")


def stream(address, port, seconds):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.connect((address, port))
    waiting, sent = set(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or (waiting and time.monotonic() < end + 3):
        if time.monotonic() < end:
            data = sent.to_bytes(8, "big") + os.urandom(56)
            sock.send(data)
            waiting.add(data)
            sent += 1
        sock.settimeout(0.005)
        try:
            while True:
                waiting.discard(sock.recv(65536))
        except TimeoutError:
            pass
    print(f"sent {sent} lost {len(waiting)}")


def main(args):
    verb, address, port, rest = args[0], args[1], int(args[2]), [float(a) for a in args[3:]]
    if verb == "serve":
        serve(address, port)
    elif verb == "sizes":
        sizes(address, port, int(rest[0]), int(rest[1]), int(rest[2]) if rest[2:] else 1)
    elif verb == "burst":
        burst(address, port, int(rest[0]))
    elif verb == "stream":
        stream(address, port, rest[0])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
