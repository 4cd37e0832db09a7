#!/usr/bin/env python3
"""Change 10,000 leases a batch: bulk.py SOCKET. Adds 10 peers, and opens, renews and closes their
leases, each in one line of one batch, as long as a program would write it; every change has to be
in force when its reply says so. Prints what the lines took.
"""
import base64
import json
import os
import socket
import sys

N, N_PEERS = 10000, 10
READ_S = 60


def fail(sentence):
    sys.exit(f"bulk: {sentence}")


class Gateway:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.settimeout(READ_S)
        self.lines = self.sock.makefile("rb")

    def batch(self, method, list_of_params):
        """The results, in order; what is sent and what comes, in bytes."""
        line = json.dumps([{"jsonrpc": "2.0", "id": i, "method": method, "params": params}
                           for i, params in enumerate(list_of_params)]).encode() + b"\n"
        self.sock.sendall(line)
        reply = self.lines.readline()
        replies = json.loads(reply or b"{}")
        if not isinstance(replies, list) or len(replies) != len(list_of_params):
            fail(f"{method}: {reply[:300]}")
        for i, one in enumerate(replies):
            if one["id"] != i or "result" not in one:
                fail(f"{method} {i}: {one}")
        print(f"{method}: {len(line)} bytes, {len(reply)} of replies")
        return [one["result"] for one in replies]

    def n_leases(self):
        return self.batch("health", [{}])[0]["leases"]


def expect(what, got, wanted):
    if got != wanted:
        fail(f"{what}: {got}, not {wanted}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    gateway = Gateway(sys.argv[1])
    before = gateway.n_leases()
    keys = [base64.b64encode(os.urandom(32)).decode() for _ in range(N_PEERS)]
    gateway.batch("peer.add", [
        {"public_key": key, "address4": f"100.64.200.{i + 2}", "forwarding": True,
         "max_leases": N // N_PEERS} for i, key in enumerate(keys)])
    opened = gateway.batch("lease.open", [
        {"peer": keys[i % N_PEERS], "proto": "both", "to_port": 1024 + i, "ttl_s": 86400,
         "label": f"customer {i:05}, web of the {i % N_PEERS}th floor, by ticket {i * 7919:08}"}
        for i in range(N)])
    ids = [lease["id"] for lease in opened]
    expect("different ids", len(set(ids)), N)
    expect("different ports", len({(l["public_address"], l["public_port"]) for l in opened}), N)
    expect("leases after opening", gateway.n_leases(), before + N)
    renewed = gateway.batch("lease.renew", [{"id": lease_id, "ttl_s": 43200} for lease_id in ids])
    for old, new in zip(opened, renewed):
        expect("the port of a renewal", new["public_port"], old["public_port"])
    gateway.batch("lease.close", [{"id": lease_id} for lease_id in ids])
    expect("leases after closing", gateway.n_leases(), before)


main()
