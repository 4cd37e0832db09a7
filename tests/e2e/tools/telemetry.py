#!/usr/bin/env python3
"""Ask DPDK's telemetry: telemetry.py DIRECTORY COMMAND; prints the JSON that comes."""
import glob
import json
import socket
import sys

directory, command = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
    s.settimeout(10)
    s.connect(sorted(glob.glob(f"{directory}/dpdk_telemetry.v2*"))[0])
    limit = json.loads(s.recv(1024))["max_output_len"]
    s.send(command.encode())
    print(json.dumps(json.loads(s.recv(limit))))
