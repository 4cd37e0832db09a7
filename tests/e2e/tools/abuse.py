#!/usr/bin/env python3
"""Abuse a control socket: abuse.py KIND SOCKET; each KIND ends with 0 when the socket bore it.

garbage   random bytes and broken JSON, each answered by an error with a sentence
halves    many requests, cut anywhere, each piece by itself; and one that is never ended
longline  a line of 100 MB: refused with a sentence, and hung up on
idle      1,000 connections that say nothing; those past the bound are told so
deaf      clients that ask, again and again, and never read
"""
import json
import random
import socket
import sys
import time

DEADLINE_S = 60


def dial(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)  # waits while the queue of the socket is full
    s.settimeout(DEADLINE_S)
    return s


def fail(sentence):
    sys.exit(f"abuse: {sentence}")


def lines(s):
    with s.makefile("rb") as replies:
        yield from replies


def expect_fault(line, what):
    message = json.loads(line).get("error", {}).get("message", "")
    if len(message) < 10:
        fail(f"{what} is answered by {line[:200]}")


def call(path, method):
    """Connections that were just hung up may still be counted for a moment."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with dial(path) as s:
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
            reply = json.loads(next(lines(s)))
        if "result" in reply:
            return reply["result"]
        if reply["id"] is not None or time.monotonic() > deadline:
            fail(f"{method} is answered by {reply}")


def garbage(path):
    source = random.Random(1)
    sent = [b"[", b"{}", b"null", b'"x"', b"[1,2", b'{"jsonrpc":"2.0","id":1}', b"\xff\xfe",
            b'{"jsonrpc":"2.0","id":1,"method":"no.such"}', b"[" * 5000, b'{"a":' * 5000,
            b'{"jsonrpc":"2.0","id":1,"method":"lease.open","params":[1]}', b"GET / HTTP/1.1"]
    for _ in range(500):
        noise = source.randbytes(source.randrange(1, 2000)).replace(b"\n", b"x")
        sent.append(noise.rstrip(b"\r") or b"x")
    with dial(path) as s:
        replies = lines(s)
        for line in sent:
            s.sendall(line + b"\n")
            expect_fault(next(replies), line[:60])


def halves(path):
    source = random.Random(2)
    request = b'{"jsonrpc":"2.0","id":7,"method":"version"}\n'
    with dial(path) as s:
        replies = lines(s)
        for _ in range(500):
            cut = source.randrange(1, len(request))
            for piece in (request[:cut], request[cut:]):
                s.sendall(piece)
                time.sleep(0)
            if json.loads(next(replies))["id"] != 7:
                fail("a request in two pieces is not answered")
        s.sendall(request[:20])
    for _ in range(100):
        with dial(path) as s:
            s.sendall(request[:source.randrange(1, len(request))])


def longline(path):
    block = b"x" * (1 << 20)
    with dial(path) as s:
        try:
            for _ in range(100):
                s.sendall(block)
        except OSError:
            pass  # hung up on, as it should be
        # What was said before the hang-up is there to be read.
        expect_fault(next(lines(s), b"{}"), "a long line")


def idle(path):
    held, refused = [], 0
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        try:
            s.connect(path)
        except BlockingIOError:
            time.sleep(0.01)  # its queue is full; it is emptied in every turn
            s.close()
            continue
        held.append(s)
    deadline = time.monotonic() + DEADLINE_S
    while refused == 0 and time.monotonic() < deadline:
        for s in held:
            try:
                line = s.recv(4096)
            except BlockingIOError:
                continue
            if line:
                expect_fault(line, "a connection too many")
                refused += 1
    if refused < 100:
        fail(f"of {len(held)} connections {refused} were refused")
    for s in held:
        s.close()


def deaf(path):
    request = b'{"jsonrpc":"2.0","id":1,"method":"stats"}\n' * 1000
    clients = [dial(path) for _ in range(20)]
    for s in clients:
        s.setblocking(False)
    end = time.monotonic() + 3
    n_sent = 0
    while time.monotonic() < end:
        for s in clients:
            try:
                n_sent += s.send(request)
            except BlockingIOError:
                pass
    if n_sent == 0:
        fail("nothing was sent")
    call(path, "health")
    deadline = time.monotonic() + DEADLINE_S
    # Whoever reads nothing for 10 s is hung up on.
    while clients and time.monotonic() < deadline:
        time.sleep(0.1)
        clients = [s for s in clients if not is_gone(s)]
    if clients:
        fail(f"{len(clients)} clients that never read are still connected")


def is_gone(s):
    try:
        s.send(b"\n")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


KINDS = {f.__name__: f for f in (garbage, halves, longline, idle, deaf)}
if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
    sys.exit(__doc__)
KINDS[sys.argv[1]](sys.argv[2])
call(sys.argv[2], "health")
