#!/usr/bin/env python3
"""Datagrams in pieces, in any order, through the gateway to an echo server.

usage: frags.py VERB FROM ADDRESS PORT

FROM is internet, stranger, client or friend: where the pieces begin; there the answers must come
back. The address may be one of IPv6, but for the Internet's and the stranger's.
  orders     datagrams of 4000 to 8000 bytes: in order, reversed, shuffled, doubled, and many with
             their pieces mixed; all must come back
  twins FROM2   like the last, from FROM and FROM2 at the same time with the same identification;
             FROM2 stands after PORT
  overlap    each datagram has two pieces that overlap       } nothing may come back; prints
  tiny       a first piece without its whole header          } "sent N": how many pieces
  rewrite    TCP, a piece that would lie over its header     }
  headless   the first piece is never sent                   }
  flood      pieces of ever new datagrams that are never finished, 4000 a second, until it is
             ended
"""
import os
import random
import socket
import struct
import sys
import time

import packet
from packet import (MORE_FRAGMENTS, MORE_FRAGMENTS6, TCP, UDP, Tunnel, Wire, ip, is_v6, l4_checksum,
                    namespace)

SOURCES = {"internet": "203.0.113.9", "stranger": "203.0.113.66", "client": "100.64.0.2",
           "friend": "100.64.0.3"}
SOURCES6 = {"client": "fd00::2", "friend": "fd00::3"}
INTERFACES = {"client": "wg0", "friend": "wg1"}
GATEWAY_PUBLIC = "203.0.113.1"
PIECE = 1208
SIZES = [4000, 5000, 6001, 8000]
TRIES = 3
FLOOD_BURST, FLOOD_PAUSE_S = 20, 0.005


class Origin:
    """Where pieces begin, with a socket to which the answers come."""

    def __init__(self, name, address, port):
        self.asked = set()
        is_inside = name in INTERFACES
        family = socket.AF_INET6 if is_v6(address) else socket.AF_INET
        self.address, self.port = address, port
        self.source = (SOURCES6 if is_v6(address) else SOURCES)[name]
        self.mac, self.ident = None, random.randrange(1 << 15)
        with namespace(name if is_inside else "internet"):
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.sock.bind((self.source, 0))
            self.end = Tunnel(INTERFACES[name]) if is_inside else Wire("inet0")
        if not is_inside:
            self.mac = self.end.neighbour(self.source, GATEWAY_PUBLIC)
        self.sport = self.sock.getsockname()[1]

    def send(self, piece):
        if self.mac:
            self.end.send(self.mac, piece)
        else:
            self.end.send(piece)

    def datagram(self, payload, sport=None):
        head = struct.pack("!HHHH", sport or self.sport, self.port, 8 + len(payload), 0)
        segment = head + payload
        total = l4_checksum(self.source, self.address, UDP, segment) or 0xFFFF
        return segment[:6] + struct.pack("!H", total) + segment[8:]

    def piece(self, ident, data, offset, is_last, proto=UDP):
        if is_v6(self.source):
            fragment = offset | (0 if is_last else MORE_FRAGMENTS6)
        else:
            fragment = offset // 8 | (0 if is_last else MORE_FRAGMENTS)
        return ip(self.source, self.address, proto, data, 64, ident, fragment)

    def pieces(self, payload, ident=None):
        """Of a new datagram, in order."""
        self.ident = (self.ident + 1) & 0xFFFF
        ident = self.ident if ident is None else ident
        segment = self.datagram(payload)
        return [self.piece(ident, segment[at:at + PIECE], at, at + PIECE >= len(segment))
                for at in range(0, len(segment), PIECE)]

    def missing_answers(self, payloads, what):
        waiting, end = set(payloads), time.monotonic() + 5
        self.asked |= waiting
        while waiting and (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                answer = self.sock.recv(65536)
            except TimeoutError:
                break
            if answer not in self.asked:
                sys.exit(f"frags: {what}: an answer of {len(answer)} bytes is none of ours")
            waiting.discard(answer)
        return len(waiting)

    def hears_nothing(self):
        self.sock.settimeout(0.3)
        try:
            self.sock.recv(65536)
        except TimeoutError:
            return
        sys.exit("frags: a datagram that is none came through")


def succeed(attempt, what):
    """A busy machine may lose a datagram; it does not lose each of them."""
    missing = 0
    for _ in range(TRIES):
        missing = attempt()
        if not missing:
            return
    sys.exit(f"frags: {what}: {missing} did not come back, {TRIES} times")


def orders(origin):
    def send_one(arrange, size, what):
        payload = os.urandom(size)
        for piece in arrange(origin.pieces(payload)):
            origin.send(piece)
        return origin.missing_answers([payload], what)

    def run(what, arrange):
        for size in SIZES:
            succeed(lambda: send_one(arrange, size, what), f"{what}, {size} bytes")

    def send_mixed():
        mixed = [os.urandom(4000) for _ in range(10)]
        trains = [origin.pieces(payload) for payload in mixed]
        for turn in zip(*[random.sample(train, len(train)) for train in trains]):
            for piece in turn:
                origin.send(piece)
        return origin.missing_answers(mixed, "mixed")

    run("in order", list)
    run("reversed", lambda pieces: pieces[::-1])
    run("shuffled", lambda pieces: random.sample(pieces, len(pieces)))
    run("the first one last", lambda pieces: pieces[1:] + pieces[:1])
    succeed(send_mixed, "mixed")


def twins(origin, other):
    """If the far end saw one identification of both, it would put their pieces together."""
    def send_pair(ident):
        ours, theirs = os.urandom(4000), os.urandom(4000)
        for pair in zip(origin.pieces(ours, ident), other.pieces(theirs, ident)):
            origin.send(pair[0])
            other.send(pair[1])
        return (origin.missing_answers([ours], "one of twins") +
                other.missing_answers([theirs], "the other of twins"))

    for ident in random.sample(range(1 << 16), 20):
        succeed(lambda ident=ident: send_pair(ident), "twins")


def bad_train(origin, verb, ident):
    segment = origin.datagram(os.urandom(4 * PIECE - 8))
    cut = [segment[at:at + PIECE] for at in range(0, len(segment), PIECE)]
    if verb == "overlap":
        # The second piece begins eight bytes early.
        return [origin.piece(ident, cut[0], 0, False),
                origin.piece(ident, segment[PIECE - 8:2 * PIECE], PIECE - 8, False),
                origin.piece(ident, cut[2], 2 * PIECE, False),
                origin.piece(ident, cut[3], 3 * PIECE, True)]
    if verb == "tiny":
        tcp = packet.tcp(origin.source, origin.sport, origin.address, origin.port)[20:]
        return [origin.piece(ident, tcp[:8], 0, False, TCP)]
    if verb == "rewrite":
        tcp = packet.tcp(origin.source, origin.sport, origin.address, origin.port)[20:]
        return [origin.piece(ident, tcp[8:], 8, True, TCP)]
    return [origin.piece(ident, data, PIECE * (at + 1), at == 2)
            for at, data in enumerate(cut[1:])]


def bad(origin, verb):
    n_sent = 0
    for ident in range(100, 105):
        for piece in bad_train(origin, verb, ident):
            origin.send(piece)
            n_sent += 1
    origin.hears_nothing()
    print("sent", n_sent)


def flood(origin):
    data = os.urandom(64)
    head = origin.datagram(os.urandom(1000), 7)[:64]
    while True:
        for _ in range(FLOOD_BURST // 2):
            origin.send(origin.piece(random.randrange(1 << 16), head, 0, False))
            offset = 8 * random.randrange(8, 4000)
            origin.send(origin.piece(random.randrange(1 << 16), data, offset, False))
        time.sleep(FLOOD_PAUSE_S)


def main(verb, name, address, port, *rest):
    origin = Origin(name, address, int(port))
    if verb == "orders":
        orders(origin)
    elif verb == "twins":
        twins(origin, Origin(rest[0], address, int(port)))
    elif verb == "flood":
        flood(origin)
    elif verb in ("overlap", "tiny", "rewrite", "headless"):
        bad(origin, verb)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
