#!/usr/bin/env python3
"""Knock on addresses of the gateway with raw frames, and print what comes back.

usage: probe.py [--source6 A] [--ports P,P,...] [--ttl N] [--linger S]
                INTERFACE SOURCE NEXT-HOP KIND ADDRESS...
KIND is tcp, udp or ping; SOURCE and NEXT-HOP are IPv4.

Each address is probed on each port (ping: once). Then the next hop itself is pinged, to know that
it is alive and has read what came before, and answers are awaited S seconds longer (0.5). Each
answer is printed as a line; then "sent N".
"""
import argparse
import itertools
import sys

from packet import ETH_ARP, ETH_IPV6, ICMP, ICMPV6, UDP, View, Wire, is_v6, ping, tcp, udp

FENCE = 0xFE4C
FIRST_PORT = 40000
WIREGUARD_PORT = 51820


def is_fence(view):
    return view.proto in (ICMP, ICMPV6) and view.payload[4:6] == FENCE.to_bytes(2, "big")


def is_chatter(ethertype, view):
    """ARP, what IPv6 stacks say of themselves (multicast listeners, routers, neighbours), and the
    tunnel of a client beside us, which is kept open."""
    if ethertype == ETH_ARP:
        return True
    if view.proto == UDP and view.sport == WIREGUARD_PORT:
        return not FIRST_PORT <= view.dport < FIRST_PORT + 1000
    return ethertype == ETH_IPV6 and (
        view.proto == 0 or (view.proto == ICMPV6 and view.payload[0] in range(130, 144)))


def probes(args):
    sport = itertools.count(FIRST_PORT)
    for address in args.addresses:
        source = args.source6 if is_v6(address) else args.source
        if args.kind == "ping":
            yield ping(source, address)
            continue
        for port in args.ports.split(","):
            if args.kind == "tcp":
                yield tcp(source, next(sport), address, int(port), ttl=args.ttl)
            else:
                yield udp(source, next(sport), address, int(port), b"knock", ttl=args.ttl)


def print_answers(wire, seconds):
    """True as soon as the fence is back; otherwise all that comes in so many seconds."""
    for ethertype, frame in wire.frames(seconds):
        view = View(ethertype, frame)
        if is_fence(view):
            return True
        if not is_chatter(ethertype, view):
            print(f"answer: {view}")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source6")
    parser.add_argument("--ports", default="1")
    parser.add_argument("--ttl", type=int, default=64)
    parser.add_argument("--linger", type=float, default=0.5)
    parser.add_argument("interface")
    parser.add_argument("source")
    parser.add_argument("next_hop")
    parser.add_argument("kind", choices=["tcp", "udp", "ping"])
    parser.add_argument("addresses", nargs="+")
    args = parser.parse_args()

    wire = Wire(args.interface)
    mac = wire.neighbour(args.source, args.next_hop)
    sent = 0
    for packet in probes(args):
        wire.send(mac, packet)
        sent += 1
    wire.send(mac, ping(args.source, args.next_hop, FENCE))
    if not print_answers(wire, 10):
        sys.exit("probe: the gateway did not answer the last ping")
    print_answers(wire, args.linger)
    print(f"sent {sent}")


if __name__ == "__main__":
    main()
