#!/usr/bin/env python3
"""Whoever asks is told who he seems to be, over UDP and TCP.

usage: mirror.py serve ADDRESS PORT
       mirror.py ask PROTO PORT ADDRESS PORT          from this port of ours; prints "ADDRESS PORT"
       mirror.py flows PROTO N ADDRESS PORT           N flows, all there at once; prints of each
                                                      "OUR-PORT ADDRESS PORT"
       mirror.py try PROTO N FIRST ADDRESS PORT       N flows from our ports FIRST on, as many as
                                                      can be had: "had N refused N silent N"

A flow that is refused hears an ICMP error; one that hears nothing for 3 s is silent.
"""
import errno
import select
import socket
import struct
import sys
import threading
import time

PATIENCE_S = 3
TRIES = 5


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answer(source):
    return f"{source[0]} {source[1]}\n".encode()


def serve_tcp(sock):
    kept = []
    while True:
        conn, source = sock.accept()
        conn.sendall(answer(source))
        kept.append(conn)


def serve(address, port):
    tcp = socket.create_server((address, port), family=family(address), backlog=4096)
    udp = socket.socket(family(address), socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind((address, port))
    threading.Thread(target=serve_tcp, args=[tcp], daemon=True).start()
    print("ready", flush=True)
    while True:
        _, source = udp.recvfrom(2048)
        udp.sendto(answer(source), source)


def begin(proto, our_port, address, port):
    """A socket on its way; the answer comes later."""
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    sock = socket.socket(family(address), kind)
    if our_port and proto == "tcp":
        # Closed at once, and for good: the port is wanted again soon.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.bind(("", our_port))
    sock.setblocking(False)
    code = sock.connect_ex((address, port))
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, "connect")
    return sock


class Flows:
    """Many at once: what each heard, or by what it was refused."""

    def __init__(self, proto, socks):
        self.proto = proto
        self.waiting = {sock.fileno(): sock for sock in socks}
        self.heard, self.refused = {}, {}

    def turn(self, seconds):
        poll = select.poll()
        for fileno in self.waiting:
            poll.register(fileno, select.POLLIN)
        for fileno, _ in poll.poll(seconds * 1000):
            sock = self.waiting.pop(fileno)
            try:
                data = sock.recv(128)
                if not data:
                    raise ConnectionResetError("closed")
                self.heard[sock] = data.decode().split()
            except OSError as fault:
                self.refused[sock] = fault

    def ask(self):
        if self.proto == "udp":
            for number, sock in enumerate(list(self.waiting.values())):
                try:
                    sock.send(b"who am I?")
                except OSError as fault:
                    self.refused[self.waiting.pop(sock.fileno())] = fault
                if number % 50 == 49:
                    time.sleep(0.005)

    def run(self):
        """Datagrams may be lost; each is repeated."""
        for _ in range(TRIES):
            self.ask()
            end = time.monotonic() + PATIENCE_S / (TRIES if self.proto == "udp" else 1)
            while self.waiting and time.monotonic() < end:
                self.turn(end - time.monotonic())
            if not self.waiting:
                return


def main(args):
    if args[0] == "serve":
        serve(args[1], int(args[2]))
    verb, proto, number, *first, address, port = args
    number, port = int(number), int(port)
    if verb == "ask":
        ports = [number]
    elif first:
        ports = range(int(first[0]), int(first[0]) + number)
    else:
        ports = [0] * number
    flows = Flows(proto, [begin(proto, p, address, port) for p in ports])
    flows.run()
    if verb == "try":
        print(f"had {len(flows.heard)} refused {len(flows.refused)} silent {len(flows.waiting)}")
        return
    if flows.refused or flows.waiting:
        sys.exit(f"mirror: {len(flows.heard)} answered, {len(flows.waiting)} silent, refused: "
                 f"{[str(fault) for fault in flows.refused.values()][:1]}")
    for sock, seen in flows.heard.items():
        print(*seen if verb == "ask" else [sock.getsockname()[1], *seen])


if __name__ == "__main__":
    main(sys.argv[1:])
