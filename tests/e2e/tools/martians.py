#!/usr/bin/env python3
"""Packets to an open door from addresses that no host on the Internet has, and with broken headers.

usage: martians.py INTERFACE OUR-IPV4 NEXT-HOP DOOR-ADDRESS DOOR-PORT

Prints a line "NAME N" for each kind that was sent.
"""
import sys

from packet import Wire, udp

# Addresses of the gateway itself: entry, public port, public pool.
OWN = ["192.0.2.1", "203.0.113.1", "198.51.100.3"]
# Nobody out there, and the gateway at the far side of the tunnel.
MARTIAN = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "100.64.0.1"]


def broken(good):
    """Header faults that each leave the rest of the packet as it was."""
    yield bytes([0x44]) + good[1:]  # header of 16 bytes
    yield bytes([0x4F]) + good[1:]  # header longer than the packet
    yield good[:10] + bytes([good[10] ^ 1]) + good[11:]  # checksum


def main(interface, ours, next_hop, door, port):
    wire = Wire(interface)
    mac = wire.neighbour(ours, next_hop)
    port = int(port)
    for source in OWN:
        wire.send(mac, udp(source, 4000, door, port, b"own"))
    for source in MARTIAN:
        wire.send(mac, udp(source, 4000, door, port, b"martian"))
    headers = list(broken(udp(ours, 4000, door, port, b"header")))
    for packet in headers:
        wire.send(mac, packet)
    print("own", len(OWN))
    print("martian", len(MARTIAN))
    print("header", len(headers))


if __name__ == "__main__":
    main(*sys.argv[1:])
