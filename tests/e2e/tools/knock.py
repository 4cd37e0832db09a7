#!/usr/bin/env python3
"""One datagram from each of many sockets, as fast as they go.

usage: knock.py ADDRESS PORT N

Prints how many were sent. Nobody waits for answers.
"""
import socket
import sys


def main():
    address, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(n)]
    for sock in socks:
        sock.sendto(b"knock", (address, port))
    print(n)


if __name__ == "__main__":
    main()
