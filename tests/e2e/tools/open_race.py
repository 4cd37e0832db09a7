#!/usr/bin/env python3
"""Is a door open when its opener has been told so, and shut when its closer has been told so?

usage: open_race.py SOCKET PEER TO-PORT TIMES

Each round opens a lease, connects at the very moment of the reply, closes the lease, and sends one
more datagram at the moment of that reply. The server echoes TCP bytes and UDP datagrams on TO-PORT.
A SYN that was lost would be repeated by the kernel: the connection must come without that. The
datagram is sent once, and must return; the one after the close must not.
"""
import json
import socket
import sys

import transfer


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


def datagram(door, payload, seconds):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(door)
        sock.settimeout(seconds)
        sock.send(payload)
        try:
            return sock.recv(2048) == payload
        except TimeoutError:
            return False


def main(path, peer, to_port, times):
    control = Control(path)
    late = []
    for number in range(int(times)):
        lease = control.call("lease.open", peer=peer, proto="both", to_port=int(to_port))
        door = (lease["public_address"], lease["public_port"])
        if number % 2:
            transfer.once(*door)
        elif not datagram(door, b"open %d" % number, 5):
            sys.exit(f"open_race: round {number}: no answer through {door}")
        control.call("lease.close", id=lease["id"])
        # Waiting for silence takes time: all answers that should not come are awaited at the end.
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(door)
        sock.send(b"late %d" % number)
        sock.setblocking(False)
        late.append(sock)
        if len(late) == 200 or number + 1 == int(times):
            datagram(("203.0.113.1", 9), b"a moment", 0.3)
            for sock in late:
                try:
                    sys.exit(f"open_race: {sock.recv(2048)} returned through a closed door")
                except BlockingIOError:
                    sock.close()
            late.clear()
    print(f"{times} doors, open when opened and shut when closed")


if __name__ == "__main__":
    main(*sys.argv[1:])
