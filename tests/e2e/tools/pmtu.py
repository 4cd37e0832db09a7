#!/usr/bin/env python3
"""How large may an IP packet to an echo server be? Each size is asked for on the wire, whatever the
kernel remembers of the path.

usage: pmtu.py ADDRESS PORT FIRST LAST [STEP]     with DF: prints "passed UP-TO", and then, if some
                                                  were too big, "too big MTU from ADDRESS"
       pmtu.py --cut ADDRESS PORT FIRST LAST [STEP]   without DF: all must come back

Sizes are of IP packets, headers included. All from some size on must be too big, all before it must
come back, and all errors must say the same.
"""
import os
import socket
import struct
import sys
import time

IP_MTU_DISCOVER, IP_RECVERR = 10, 11
IPV6_MTU_DISCOVER, IPV6_RECVERR = 23, 25
DISCOVER_NOT, DISCOVER_PROBE = 0, 3
PATIENCE_S, TRIES = 1.5, 4


def open_socket(address, port, may_cut):
    is_v6 = ":" in address
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    level, discover, errors = (
        (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_RECVERR) if is_v6 else
        (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_RECVERR))
    sock.setsockopt(level, discover, DISCOVER_NOT if may_cut else DISCOVER_PROBE)
    sock.setsockopt(level, errors, 1)
    sock.connect((address, port))
    return sock


def read_error(sock):
    """(MTU, sender) of an ICMP error that says too big; None: there is no error."""
    sock.setblocking(False)
    try:
        _, ancillary, _, _ = sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    for _, _, data in ancillary:
        code, origin, kind, _, _, info = struct.unpack("=IBBBBI", data[:12])
        offender = data[16:]
        if kind in (2, 3) and origin in (2, 3):
            at, size = (4, 4) if origin == 2 else (8, 16)
            family = socket.AF_INET if origin == 2 else socket.AF_INET6
            return info, socket.inet_ntop(family, offender[at:at + size])
        sys.exit(f"pmtu: another error: {os.strerror(code)}, origin {origin}")
    return None


def try_size(sock, size, header):
    """True: it came back. Otherwise what the error says."""
    for _ in range(TRIES):
        data = os.urandom(size - header)
        try:
            sock.send(data)
        except OSError:
            pass  # of an earlier error, or the interface itself is smaller
        end = time.monotonic() + PATIENCE_S
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                if sock.recv(65536) == data:
                    return True
            except TimeoutError:
                break
            except OSError:
                if fault := read_error(sock):
                    return fault
        if fault := read_error(sock):
            return fault
    sys.exit(f"pmtu: of {size} bytes nothing was heard")


def main(args):
    may_cut = args[0] == "--cut"
    if may_cut:
        args = args[1:]
    address, port, first, last = args[0], int(args[1]), int(args[2]), int(args[3])
    step = int(args[4]) if args[4:] else 1
    sock = open_socket(address, port, may_cut)
    passed, faults = 0, set()
    for size in range(first, last + 1, step):
        verdict = try_size(sock, size, 48 if ":" in address else 28)
        if verdict is not True:
            faults.add(verdict)
        elif faults:
            sys.exit(f"pmtu: {size} bytes came back, after {faults}")
        else:
            passed = size
    print("passed", passed)
    for mtu, sender in faults:
        print("too big", mtu, "from", sender)


if __name__ == "__main__":
    main(sys.argv[1:])
