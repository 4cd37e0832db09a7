#!/usr/bin/env python3
"""Write down the datagrams that come to a port: "ready", then a line "SOURCE PORT HEX" for each.

usage: hear.py ADDRESS PORT
"""
import socket
import sys


def main(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, int(port)))
    print("ready", flush=True)
    while True:
        data, source = sock.recvfrom(65536)
        print(source[0], source[1], data.hex(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
