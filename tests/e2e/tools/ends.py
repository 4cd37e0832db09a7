#!/usr/bin/env python3
"""One packet through the gateway, made by hand at one end and looked at with care at the other.

usage: ends.py [OPTION...] out PROTO SPORT DST DPORT        from a peer to the Internet
       ends.py [OPTION...] in PROTO SRC SPORT DST DPORT     from the Internet to the gateway
       ends.py [OPTION...] out-error KIND CODE PROTO SPORT DST DPORT
       ends.py [OPTION...] in-error KIND CODE FROM PROTO SRC SPORT DST DPORT
       ends.py [OPTION...] life PROTO SPORT DST DPORT [STEP...]

PROTO is tcp, udp, echo, or gre, whose ports mean nothing; echo has one number for both ports, its
identifier, and what comes in is a reply. An error is about the packet that the other arguments
describe, which went the other way: of out-error a packet that came to the peer from DST and DPORT,
of in-error one that left SRC and SPORT for DST.

"life" sends packets to and fro, each a step, out=FLAGS or in=FLAGS (default: out=S), and then
packets in until they come no more; it prints for how many ms after the last step they did, and
the public port.

Prints what arrived at the other end: "SRC SPORT DST DPORT", and of an error "KIND CODE WORD FROM"
and then the packet that it quotes. Its checksums must be right, its TTL one less.

  --peer NAME      the peer whose tunnel it is: client or friend (default: client)
  --source ADDR    of "out": another source than the peer's own address
  --flags FLAGS    of TCP: letters of SARF (default: S)
  --ttl N          default: 64
  --word N         of an error: the MTU, in a word (default: 0)
  --payload TEXT   default: portier
  --bad-sum        with a wrong ICMP checksum
  --extensions N   of IPv6: so many extension headers (default: 0)
  --only-send      print nothing and wait for nothing
  --count N        with --only-send: so many times, 10 ms apart

exit status: 0 it arrived, 1 nothing came for 5 s, 2 it came with a fault
"""
import argparse
import sys
import time

import packet
from packet import ICMP, ICMPV6, TCP, UDP, Tunnel, View, Wire, icmp, is_v6, namespace

WAIT_S, PROBE_EVERY_S, SILENCE_S = 5, 0.05, 1
HOST, GATEWAY_PUBLIC = "203.0.113.9", "203.0.113.1"
PEERS = {"client": ("wg0", "100.64.0.2", "fd00::2"), "friend": ("wg1", "100.64.0.3", "fd00::3")}
FLAGS = {"S": packet.SYN, "A": packet.ACK, "R": packet.RST, "F": packet.FIN}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", default="client", choices=PEERS)
    parser.add_argument("--source")
    parser.add_argument("--flags", default="S")
    parser.add_argument("--ttl", type=int, default=64)
    parser.add_argument("--word", type=int, default=0)
    parser.add_argument("--payload", default="portier")
    parser.add_argument("--bad-sum", action="store_true")
    parser.add_argument("--extensions", type=int, default=0)
    parser.add_argument("--only-send", action="store_true")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("verb", choices=["out", "in", "out-error", "in-error", "life"])
    parser.add_argument("rest", nargs="+")
    return parser.parse_args()


def build(args, proto, src, sport, dst, dport, is_reply=False):
    payload = args.payload.encode()
    if proto == "gre":
        return packet.ip(src, dst, packet.GRE, payload, args.ttl)
    if proto == "udp":
        return packet.udp(src, sport, dst, dport, payload, args.ttl)
    if proto == "tcp":
        flags = sum(FLAGS[letter] for letter in args.flags)
        return packet.tcp(src, sport, dst, dport, flags, 1, args.ttl)
    if proto == "echo":
        return packet.ping(src, dst, dport if is_reply else sport, 1, payload, is_reply)
    sys.exit(f"ends: {proto} is not tcp, udp, echo or gre")


def spoil(message):
    at = (40 if message[0] >> 4 == 6 else 20) + 2
    return message[:at] + bytes([message[at] ^ 0x55]) + message[at + 1:]


def error(args, src, dst, kind, code, about):
    message = icmp(src, dst, kind, code, args.word, about[:len(about) if is_v6(src) else 28])
    return spoil(message) if args.bad_sum else message


def make(args, inner4, inner6):
    """The packet, and whether it goes out."""
    rest = args.rest
    if args.verb == "out":
        proto, sport, dst, dport = rest[0], int(rest[1]), rest[2], int(rest[3])
        src = args.source or (inner6 if is_v6(dst) else inner4)
        made = build(args, proto, src, sport, dst, dport)
        return packet.extend(made, args.extensions), True
    if args.verb == "in":
        proto, src, sport, dst, dport = rest[0], rest[1], int(rest[2]), rest[3], int(rest[4])
        made = packet.extend(build(args, proto, src, sport, dst, dport, True), args.extensions)
        return (spoil(made) if args.bad_sum else made), False
    kind, code = int(rest[0]), int(rest[1])
    if args.verb == "out-error":
        proto, sport, dst, dport = rest[2], int(rest[3]), rest[4], int(rest[5])
        inner = inner6 if is_v6(dst) else inner4
        about = build(args, proto, dst, dport, inner, sport)
        return error(args, args.source or inner, dst, kind, code, about), True
    sender, proto = rest[2], rest[3]
    src, sport, dst, dport = rest[4], int(rest[5]), rest[6], int(rest[7])
    return error(args, sender, src, kind, code, build(args, proto, src, sport, dst, dport)), False


def is_ours(view, sent, is_out):
    """What nothing on the way changes: protocol, the far end, kind and payload."""
    if view.proto != sent.proto or view.proto not in (TCP, UDP, ICMP, ICMPV6):
        return False
    if (view.dst if is_out else view.src) != (sent.dst if is_out else sent.src):
        return False
    if sent.proto in (TCP, UDP) and (view.dport if is_out else view.sport) != (
            sent.dport if is_out else sent.sport):
        return False
    if sent.quote:
        return bool(view.quote) and view.payload[:2] == sent.payload[:2] and (
            view.quoted().proto == sent.quoted().proto)
    if view.proto == TCP:
        return view.flags == sent.flags
    if sent.is_echo():
        return view.is_echo() and view.payload[6:] == sent.payload[6:]
    return view.payload == sent.payload


def describe(view):
    if not view.quote:
        return f"{view.src} {view.sport} {view.dst} {view.dport}"
    about = view.quoted()
    word = int.from_bytes(view.payload[4:8], "big")
    return (f"{view.payload[0]} {view.payload[1]} {word} {view.src} "
            f"{about.src} {about.sport} {about.dst} {about.dport}")


def as_view(made):
    return View(packet.ETH_IPV6 if made[0] >> 4 == 6 else packet.ETH_IPV4, made)


def receive(end, sent, seconds):
    """What arrives of it; None: nothing."""
    for ethertype, frame in end.frames(seconds):
        view = View(ethertype, frame)
        if is_ours(view, sent, isinstance(end, Wire)):
            return view
    return None


def one_way(args, inside, outside, inner4, inner6):
    made, is_out = make(args, inner4, inner6)
    sent = as_view(made)
    mac = None if is_out else outside.neighbour(HOST, GATEWAY_PUBLIC)
    for number in range(args.count):
        time.sleep(0.01 if number else 0)
        if is_out:
            inside.send(made)
        else:
            outside.send(mac, made)
    if args.only_send:
        return
    view = receive(outside if is_out else inside, sent, WAIT_S)
    if not view:
        sys.exit(1)
    print(describe(view))
    if not view.sums_are_right():
        print("ends: a checksum is wrong", file=sys.stderr)
        sys.exit(2)
    if view.ttl != sent.ttl - 1:
        print(f"ends: the TTL is {view.ttl} after {sent.ttl}", file=sys.stderr)
        sys.exit(2)


def life(args, inside, outside, inner):
    proto, sport, dst, dport = args.rest[0], int(args.rest[1]), args.rest[2], int(args.rest[3])
    mac = outside.neighbour(HOST, GATEWAY_PUBLIC)
    public = None
    begun = time.monotonic()
    for step in args.rest[4:] or ["out=S"]:
        way, args.flags = step.split("=")
        begun = time.monotonic()
        if way == "out":
            made = build(args, proto, inner, sport, dst, dport)
            inside.send(made)
            view = receive(outside, as_view(made), WAIT_S)
            public = view and (view.src, view.sport)
        else:
            made = build(args, proto, dst, dport, *public, True)
            outside.send(mac, made)
            view = receive(inside, as_view(made), WAIT_S)
        if not view:
            sys.exit(f"ends: {step} did not arrive")
    args.flags = "A"
    last, number = time.monotonic(), 0
    while time.monotonic() < last + SILENCE_S:
        number += 1
        args.payload = f"probe {number}"
        made = build(args, proto, dst, dport, *public, True)
        outside.send(mac, made)
        if receive(inside, as_view(made), PROBE_EVERY_S):
            last = time.monotonic()
            time.sleep(PROBE_EVERY_S)
    print(int((last - begun) * 1000), public[1])


def main():
    args = arguments()
    interface, inner4, inner6 = PEERS[args.peer]
    with namespace(args.peer):
        inside = Tunnel(interface)
    with namespace("internet"):
        outside = Wire("inet0")
    if args.verb == "life":
        life(args, inside, outside, inner4)
    else:
        one_way(args, inside, outside, inner4, inner6)


if __name__ == "__main__":
    main()
