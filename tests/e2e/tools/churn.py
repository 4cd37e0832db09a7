#!/usr/bin/env python3
"""Change peers and leases without a pause, and see that nothing acknowledged is ever lost.

usage: churn.py SOCKET STATE [--kill PID | --count N | --only-check]

First what the gateway has is compared with STATE, where an earlier run wrote what was acknowledged
and what was asked for and not answered: of each peer, with its leases, either the one or the other
must be there, whole, and nothing else. Then changes are sent, DEPTH at a time, until the gateway
hangs up (it is killed with SIGKILL at a random moment), or N are answered.

The seed of the random numbers is printed; PORTIER_TEST_SEED sets it.
exit status: 0, or 1 with a sentence
"""
import argparse
import base64
import copy
import json
import os
import random
import signal
import socket
import sys
import threading
import time

N_PEERS = 60
N_PORTS = 6     # leases of each
DEPTH = 24
KILL_WITHIN_S = 0.4


def die(sentence):
    print(f"churn: {sentence}")
    sys.exit(1)


def key_of(name):
    return base64.b64encode(name.encode().ljust(31, b"\0") + b"\1").decode()


class Gateway:
    """The control socket: lines out, lines in."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.last_id = 0

    def send(self, method, params):
        self.last_id += 1
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.socket.sendall(json.dumps(message).encode() + b"\n")
        return self.last_id

    def receive(self):
        """A reply; None when it hung up, half a line included."""
        try:
            line = self.lines.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def call(self, method, params):
        self.send(method, params)
        reply = self.receive()
        if reply is None or "result" not in reply:
            die(f"{method} {params}: {reply}")
        return reply["result"]


def lease_of(reply):
    return {k: reply[k] for k in ("id", "proto", "public_address", "public_port", "ttl_s", "label")}


def peer_of(reply):
    return {"max_leases": reply["max_leases"], "leases": {}}


def found(gateway):
    """{name: peer with leases}, as the gateway has them."""
    peers, ports = {}, set()
    for reply in gateway.call("peer.list", {"limit": 4000})["peers"]:
        peers[reply["name"]] = peer_of(reply)
    cursor = 0
    while cursor is not None:
        page = gateway.call("lease.list", {"limit": 4000, "cursor": cursor})
        cursor = page["next"]
        for reply in page["leases"]:
            peers[reply["peer"]]["leases"][str(reply["to_port"])] = lease_of(reply)
            if (reply["public_address"], reply["public_port"]) in ports:
                die(f"port {reply['public_port']} has two leases")
            ports.add((reply["public_address"], reply["public_port"]))
    return peers


def fits(peer, wanted, asked):
    """Is this what was acknowledged, with or without what was asked for last?"""
    if asked is None:
        return peer == wanted
    if peer == wanted:
        return True
    method, port, value = asked
    if method == "peer.add":
        return peer == {"max_leases": value, "leases": {}}
    if method == "peer.del":
        return peer is None
    if peer is None:
        return False
    after = copy.deepcopy(wanted)
    if method == "peer.set":
        after["max_leases"] = value
    elif method == "lease.close":
        del after["leases"][port]
    elif method == "lease.renew":
        after["leases"][port]["ttl_s"] = value
    elif port in peer["leases"]:
        # What it was given was not told; the rest was wished.
        got = after["leases"][port] = peer["leases"][port]
        if (got["ttl_s"], got["label"], got["proto"]) != (value, f"to {port}", "both"):
            return False
    return peer == after


def compare(gateway, state):
    peers = found(gateway)
    for name in sorted(set(peers) | set(state["peers"]) | set(state["asked"])):
        peer, wanted = peers.get(name), state["peers"].get(name)
        asked = state["asked"].get(name)
        if not fits(peer, wanted, asked):
            die(f"peer {name} is {peer}; acknowledged was {wanted}, and asked for {asked}")
    ids = [lease["id"] for peer in peers.values() for lease in peer["leases"].values()]
    state["peers"], state["asked"] = peers, {}
    return len(peers), len(ids)


class Churn:
    """Changes, one of a peer at a time."""

    def __init__(self, gateway, state):
        self.gateway, self.state = gateway, state
        self.sent = {}  # id: (name, asked)
        self.n_answered = 0

    def choose(self, name):
        """What to ask for: (method, params, port, value)."""
        peer = self.state["peers"].get(name)
        number = random.randrange(8, 100)
        if peer is None:
            host = int(name[1:]) + 2
            return ("peer.add", {"public_key": key_of(name), "name": name, "forwarding": True,
                                 "address4": f"100.64.7.{host}", "max_leases": number},
                    None, number)
        chance = random.random()
        if chance < 0.02:
            return ("peer.del", {"peer": name}, None, None)
        if chance < 0.10:
            return ("peer.set", {"peer": name, "max_leases": number}, None, number)
        port = str(random.randrange(1000, 1000 + N_PORTS))
        lease = peer["leases"].get(port)
        ttl_s = random.randrange(3600, 7200)
        if lease is None:
            return ("lease.open", {"peer": name, "to_port": int(port), "ttl_s": ttl_s,
                                   "label": f"to {port}"}, port, ttl_s)
        if chance < 0.4:
            return ("lease.renew", {"id": lease["id"], "ttl_s": ttl_s}, port, ttl_s)
        return ("lease.close", {"id": lease["id"]}, port, None)

    def send_one(self):
        name = random.choice([n for n in (f"p{i}" for i in range(N_PEERS))
                              if n not in self.state["asked"]])
        method, params, port, value = self.choose(name)
        self.state["asked"][name] = (method, port, value)
        self.sent[self.gateway.send(method, params)] = name

    def take(self, reply):
        if "result" not in reply:
            die(f"refused: {reply}")
        name = self.sent.pop(reply["id"])
        method, port, _ = self.state["asked"].pop(name)
        peers, result = self.state["peers"], reply["result"]
        if method == "peer.add":
            peers[name] = peer_of(result)
        elif method == "peer.del":
            del peers[name]
        elif method == "peer.set":
            peers[name]["max_leases"] = result["max_leases"]
        elif method == "lease.close":
            del peers[name]["leases"][port]
        else:
            peers[name]["leases"][port] = lease_of(result)
        self.n_answered += 1

    def run(self, limit):
        """Until it hangs up, or limit are answered."""
        while self.n_answered < limit:
            try:
                while len(self.sent) < DEPTH:
                    self.send_one()
            except OSError:
                pass  # what it answered before it went is still to be read
            reply = self.gateway.receive()
            if reply is None:
                return
            self.take(reply)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("state")
    parser.add_argument("--kill", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--only-check", action="store_true")
    args = parser.parse_args()
    seed = int(os.environ.get("PORTIER_TEST_SEED", time.time_ns() % 2**32))
    random.seed(seed)
    state = {"peers": {}, "asked": {}}
    if os.path.exists(args.state):
        with open(args.state, encoding="utf-8") as file:
            state = json.load(file)
    gateway = Gateway(args.socket)
    n_peers, n_leases = compare(gateway, state)
    print(f"seed {seed}: {n_peers} peers, {n_leases} leases are as acknowledged", flush=True)
    churn = Churn(gateway, state)
    if args.kill:
        threading.Timer(random.uniform(0, KILL_WITHIN_S),
                        lambda: os.kill(args.kill, signal.SIGKILL)).start()
    if args.kill or args.count:
        began = time.monotonic()
        churn.run(args.count or float("inf"))
        print(f"{churn.n_answered} changes acknowledged in {time.monotonic() - began:.2f} s")
        if args.count:
            while churn.sent:
                churn.take(gateway.receive())
    with open(args.state, "w", encoding="utf-8") as file:
        json.dump(state, file)


if __name__ == "__main__":
    main()
