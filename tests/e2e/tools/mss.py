#!/usr/bin/env python3
"""The segment sizes that a connection through the gateway agrees on.

usage: mss.py ADDRESS PORT

Connects from the client to a server on the Internet and prints the MSS of its SYN as the Internet
saw it, and of the answer as the client did.
"""
import socket
import sys

from packet import ACK, SYN, TCP, Tunnel, View, Wire, namespace


def mss_of(options):
    while options and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
            continue
        if options[0] == 2:
            return int.from_bytes(options[2:4], "big")
        options = options[options[1]:]
    return None


def first_mss(end, flags, address):
    for ethertype, frame in end.frames(5):
        view = View(ethertype, frame)
        if view.proto == TCP and view.flags == flags and address in (view.src, view.dst):
            return mss_of(view.l4[20:(view.l4[12] >> 4) * 4])
    sys.exit("mss: there was no SYN")


def main(address, port):
    with namespace("internet"):
        outside = Wire("inet0")
    with namespace("client"):
        inside = Tunnel("wg0")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(5)
    sock.connect((address, int(port)))
    print(first_mss(outside, SYN, address), first_mss(inside, SYN | ACK, address))


if __name__ == "__main__":
    main(*sys.argv[1:])
