#!/usr/bin/env python3
"""Play the service manager: notify.py SOCKET; prints what it is told, each line with a newline."""
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.bind(sys.argv[1])
    print("ready", flush=True)
    while True:
        print(s.recv(4096).decode(), flush=True)
