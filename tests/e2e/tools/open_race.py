#!/usr/bin/env python3
"""Is a door open when its opener has been told so, and shut when its closer has been told so?

usage: open_race.py serve ADDRESS FIRST LAST       echo by TCP and UDP on each of these ports
       open_race.py run SOCKET PEER FIRST LAST TIMES

Each round opens a lease, connects or sends a datagram at the very moment of the reply, closes the
lease, and sends one more datagram at the moment of that reply. A SYN that was lost would be
repeated by the kernel: the connection must come without that. The datagram is sent once, and must
return; the one after the close must not.

A peer that opens a closed door again gets its old number, through which a late datagram may then
rightly pass: rounds take turns on the ports, and late answers are awaited before a port's next.
"""
import json
import selectors
import socket
import sys

import transfer

LINGER_S = 0.3


def serve(address, first, last):
    ready = selectors.DefaultSelector()

    def accept(listener):
        ready.register(listener.accept()[0], selectors.EVENT_READ, echo_bytes)

    def echo_bytes(sock):
        try:
            data = sock.recv(4096)
            # The leading "h" is transfer.py's word for an echo.
            if data.startswith(b"h"):
                data = data[1:] or sock.recv(4096)
            if data:
                sock.sendall(data)
                return
        except OSError:
            pass
        ready.unregister(sock)
        sock.close()

    def echo_datagram(sock):
        data, source = sock.recvfrom(2048)
        sock.sendto(data, source)

    for port in range(first, last + 1):
        ready.register(socket.create_server((address, port)), selectors.EVENT_READ, accept)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        ready.register(sock, selectors.EVENT_READ, echo_datagram)
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            key.data(key.fileobj)


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.settimeout(10)
        self.file = self.sock.makefile("rb")
        self.serial = 0

    def call(self, method, **params):
        self.serial += 1
        request = {"jsonrpc": "2.0", "id": self.serial, "method": method, "params": params}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(self.file.readline())
        if "error" in reply:
            sys.exit(f"open_race: {method}: {reply['error']}")
        return reply["result"]


def datagram(door, payload):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(door)
        sock.settimeout(5)
        sock.send(payload)
        try:
            return sock.recv(2048) == payload
        except TimeoutError:
            return False


class Late:
    """Datagrams that nobody may answer."""

    def __init__(self):
        self.socks = []

    def send(self, door, number):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(door)
        sock.send(b"late %d" % number)
        self.socks.append(sock)

    def await_silence(self):
        with selectors.DefaultSelector() as ready:
            for sock in self.socks:
                ready.register(sock, selectors.EVENT_READ)
            for key, _ in ready.select(LINGER_S):
                sys.exit(f"open_race: {key.fileobj.recv(2048)} returned through a closed door")
        for sock in self.socks:
            sock.close()
        self.socks.clear()


def run(path, peer, ports, times):
    control, late = Control(path), Late()
    for number in range(times):
        to_port = ports[number % len(ports)]
        lease = control.call("lease.open", peer=peer, proto="both", to_port=to_port)
        door = (lease["public_address"], lease["public_port"])
        if number % 2:
            transfer.once(*door)
        elif not datagram(door, b"open %d" % number):
            sys.exit(f"open_race: round {number}: no answer through {door}")
        control.call("lease.close", id=lease["id"])
        late.send(door, number)
        if to_port == ports[-1] or number + 1 == times:
            late.await_silence()
    print(f"{times} doors, open when opened and shut when closed")


def main(verb, where, *args):
    if verb == "serve":
        serve(where, int(args[0]), int(args[1]))
    elif verb == "run":
        run(where, args[0], range(int(args[1]), int(args[2]) + 1), int(args[3]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
