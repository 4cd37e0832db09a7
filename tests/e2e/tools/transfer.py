#!/usr/bin/env python3
"""TCP transfers whose two ends compare SHA-256 sums.

usage: transfer.py serve ADDRESS PORT
       transfer.py get ADDRESS PORT BYTES           the server sends
       transfer.py put ADDRESS PORT BYTES           the client sends
       transfer.py many ADDRESS PORT BYTES N        N connections at once, each a get
       transfer.py once ADDRESS PORT                one connection and one byte; the kernel may not
                                                    have had to repeat its SYN
       transfer.py hold ADDRESS PORT FILE           one byte to and fro every 20 ms until it fails;
                                                    FILE grows by a byte with each that returned

get and put print the rate in Mbit/s. No two blocks of a transfer are alike, so that one that is
lost, doubled or swapped changes the sum.
"""
import hashlib
import os
import socket
import struct
import sys
import threading
import time

BLOCK = 64 * 1024
TIMEOUT_S = 60
READY = b"+"
TCPI_TOTAL_RETRANS_OFFSET = 100  # struct tcp_info, linux/tcp.h


def blocks(n_bytes):
    base = bytearray(os.urandom(BLOCK))
    for index in range(0, n_bytes, BLOCK):
        base[:8] = index.to_bytes(8, "big")
        yield bytes(base[:min(BLOCK, n_bytes - index)])


def send_blocks(sock, n_bytes):
    digest = hashlib.sha256()
    for block in blocks(n_bytes):
        digest.update(block)
        sock.sendall(block)
    return digest.digest()


def receive_exactly(sock, n_bytes, update=None):
    data = b""
    while n_bytes:
        part = sock.recv(min(n_bytes, BLOCK))
        if not part:
            raise ConnectionError("the connection ended early")
        n_bytes -= len(part)
        if update:
            update(part)
        else:
            data += part
    return data


def receive_blocks(sock, n_bytes):
    digest = hashlib.sha256()
    receive_exactly(sock, n_bytes, digest.update)
    return digest.digest()


def serve_one(sock):
    with sock:
        sock.settimeout(TIMEOUT_S)
        try:
            verb = receive_exactly(sock, 1)
            if verb == b"h":
                while (byte := sock.recv(1)):
                    sock.sendall(byte)
                return
            n_bytes = int.from_bytes(receive_exactly(sock, 8), "big")
            # Sent before the data: the client waits for it, so that connecting is not timed.
            sock.sendall(READY)
            if verb == b"g":
                sock.sendall(send_blocks(sock, n_bytes))
            else:
                sock.sendall(receive_blocks(sock, n_bytes))
        except OSError as fault:
            print(f"serve: {fault}", flush=True)


def serve(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=256)
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve_one, args=[listener.accept()[0]], daemon=True).start()


def request(address, port, verb, n_bytes):
    sock = socket.create_connection((address, port), timeout=TIMEOUT_S)
    sock.sendall(verb + n_bytes.to_bytes(8, "big"))
    receive_exactly(sock, 1)
    return sock


def get(address, port, n_bytes):
    with request(address, port, b"g", n_bytes) as sock:
        begin = time.monotonic()
        ours = receive_blocks(sock, n_bytes)
        seconds = time.monotonic() - begin
        if receive_exactly(sock, 32) != ours:
            sys.exit("transfer: the checksums differ")
    return seconds


def put(address, port, n_bytes):
    with request(address, port, b"p", n_bytes) as sock:
        begin = time.monotonic()
        ours = send_blocks(sock, n_bytes)
        theirs = receive_exactly(sock, 32)
        seconds = time.monotonic() - begin
        if theirs != ours:
            sys.exit("transfer: the checksums differ")
    return seconds


def many(address, port, n_bytes, n_connections):
    # All are open before the first asks for anything.
    socks = [socket.create_connection((address, port), timeout=TIMEOUT_S)
             for _ in range(n_connections)]
    sums, failed = set(), []

    def run(sock):
        try:
            with sock:
                sock.sendall(b"g" + n_bytes.to_bytes(8, "big"))
                receive_exactly(sock, 1)
                ours = receive_blocks(sock, n_bytes)
                if receive_exactly(sock, 32) != ours:
                    raise ConnectionError("the checksums differ")
                sums.add(ours)
        except OSError as fault:
            failed.append(fault)

    threads = [threading.Thread(target=run, args=[s]) for s in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed or len(sums) != n_connections:
        sys.exit(f"transfer: {len(failed)} of {n_connections} failed: {failed[:1]}")


def once(address, port):
    with socket.create_connection((address, port), timeout=5) as sock:
        sock.sendall(b"h?")
        if receive_exactly(sock, 1) != b"?":
            sys.exit("transfer: no echo")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        if struct.unpack_from("I", info, TCPI_TOTAL_RETRANS_OFFSET)[0]:
            sys.exit("transfer: something had to be repeated")


def hold(address, port, path):
    """An established flow, alive as long as bytes return; a byte unanswered for 4 s ends it."""
    with socket.create_connection((address, port), timeout=5) as sock, open(path, "ab") as out:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"h")
        sock.settimeout(4)
        while True:
            sock.sendall(b"x")
            if sock.recv(1) != b"x":
                sys.exit("transfer: the far end closed")
            out.write(b"x")
            out.flush()
            time.sleep(0.02)


def main(args):
    verb, address, port = args[0], args[1], int(args[2])
    if verb == "serve":
        serve(address, port)
    elif verb in ("get", "put"):
        n_bytes = int(args[3])
        seconds = (get if verb == "get" else put)(address, port, n_bytes)
        print(f"{verb} {n_bytes} bytes: {n_bytes * 8 / max(seconds, 1e-9) / 1e6:.0f} Mbit/s")
    elif verb == "many":
        many(address, port, int(args[3]), int(args[4]))
    elif verb == "once":
        once(address, port)
    elif verb == "hold":
        hold(address, port, args[3])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as fault:
        sys.exit(f"transfer: {fault}")
