#!/usr/bin/env python3
"""Many knocks at one door, as fast as they go.

usage: knock.py ADDRESS PORT N                  a datagram from each of N sockets
       knock.py ADDRESS PORT tcp SOURCE...      a connection from each of these addresses

Prints how many there were. Nobody waits for answers to datagrams.
"""
import socket
import sys

TIMEOUT_S = 10


def datagrams(family, to, n):
    socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(n)]
    for sock in socks:
        sock.sendto(b"knock", to)


def main():
    address, port, what, *sources = sys.argv[1:]
    to = (address, int(port))
    if what == "tcp":
        for source in sources:
            socket.create_connection(to, TIMEOUT_S, (source, 0)).close()
        print(len(sources))
    else:
        datagrams(socket.AF_INET6 if ":" in address else socket.AF_INET, to, int(what))
        print(what)


if __name__ == "__main__":
    main()
