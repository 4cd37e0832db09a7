#!/usr/bin/env python3
"""The router at a client's home, as far as UDP goes: it forgets a flow that was silent for a while.

usage: home_nat.py LISTEN-PORT ADDRESS PORT SECONDS

What comes to the port on 127.0.0.1 leaves from a port of its own to ADDRESS and PORT, and what
comes back there goes to whoever sent last. When nothing passed either way for so many seconds, that
port is closed, and the next packet from inside opens another one. Prints "ready", and a line each
time it opens a port or forgets one.
"""
import select
import socket
import sys
import time

BUFFER_BYTES = 65536


def main(listen_port, address, port, seconds):
    inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inside.bind(("127.0.0.1", listen_port))
    outside, host, due = None, None, 0
    print("ready", flush=True)
    while True:
        socks = [inside] + ([outside] if outside else [])
        wait = max(0, due - time.monotonic()) if outside else None
        ready = select.select(socks, [], [], wait)[0]
        if not ready:
            outside.close()
            outside = None
            print("forgot", flush=True)
            continue
        due = time.monotonic() + seconds
        if inside in ready:
            data, host = inside.recvfrom(BUFFER_BYTES)
            if not outside:
                outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                outside.connect((address, port))
                print("opened", outside.getsockname()[1], flush=True)
            outside.send(data)
        if outside in ready:
            try:
                inside.sendto(outside.recv(BUFFER_BYTES), host)
            except ConnectionRefusedError:
                pass  # the gateway is not there just now


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
