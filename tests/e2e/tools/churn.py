#!/usr/bin/env python3
"""Change peers and leases without a pause, and see that nothing acknowledged is ever lost.

usage: churn.py SOCKET STATE [--kill PID | --count N | --only-check]

Peers come and go, are changed and barred; leases are of single ports, ranges, pinholes and whole
addresses (of which the gateway has to have as many dedicated as there are WHOLE peers), with
sources and labels.

First what the gateway has is compared with STATE, where an earlier run wrote what was acknowledged
and what was asked for and not answered: of each peer, with its leases, either the one or the other
must be there, whole, and nothing else; and its history has to have an open record of each of its
leases, and no other. Then changes are sent, DEPTH at a time, until the gateway hangs up (it is
killed with SIGKILL at a random moment), or N are answered.

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
WHOLE = 6       # of these, that may have an address instead of ports
DEPTH = 24
KILL_WITHIN_S = 0.4
PREFIXES = ["192.0.2.0/24", "203.0.113.0/25", "2001:db8:5::/48", "203.0.113.200"]
SLOTS = [("port", n) for n in range(1000, 1006)]    # singles: where they lead to
SLOTS += [("range", 2000), ("range", 2008)]         # 8 ports each
SLOTS += [("pinhole", n) for n in range(3000, 3003)]
PORTS_MIN = 30  # quota that is enough for all of a peer's


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


LASTING = ("id", "proto", "public_address", "public_port", "ports", "whole_address", "ttl_s",
           "from", "label")


def lease_of(reply):
    return {k: reply[k] for k in LASTING}


def slot_of(reply):
    """Which of its leases it is, as text."""
    return f"{reply['to_address']} {reply['to_port']}"


def peer_of(reply):
    return {"max_leases": reply["max_leases"], "is_barred": reply["is_barred"], "leases": {}}


def numbers_of(lease):
    """What nobody else may have."""
    if lease["whole_address"]:
        return [(lease["public_address"], 0)]
    first = lease["public_port"]
    return [(lease["public_address"], port) for port in range(first, first + lease["ports"])]


def found(gateway):
    """{name: peer with leases}, as the gateway has them."""
    peers, numbers = {}, set()
    for reply in gateway.call("peer.list", {"limit": 4000})["peers"]:
        peers[reply["name"]] = peer_of(reply)
    cursor = 0
    while cursor is not None:
        page = gateway.call("lease.list", {"limit": 4000, "cursor": cursor})
        cursor = page["next"]
        for reply in page["leases"]:
            peers[reply["peer"]]["leases"][slot_of(reply)] = lease_of(reply)
            for number in numbers_of(reply):
                if number in numbers:
                    die(f"{number} has two leases")
                numbers.add(number)
    return peers


def fits(peer, wanted, asked):
    """Is this what was acknowledged, with or without what was asked for last?"""
    if peer == wanted:
        return True
    if asked is None:
        return False
    method, slot, value = asked
    if method == "peer.add":
        return peer == {"max_leases": value, "is_barred": False, "leases": {}}
    if method == "peer.del" or peer is None:
        return peer is None and method == "peer.del"
    after = copy.deepcopy(wanted)
    if method == "peer.set":
        after["max_leases"] = value
    elif method == "peer.bar":
        after.update(is_barred=True, leases={})
    elif method == "peer.unbar":
        after["is_barred"] = False
    elif method == "lease.close":
        del after["leases"][slot]
    elif method == "lease.renew":
        after["leases"][slot]["ttl_s"] = value
    elif slot in peer["leases"]:
        # What it was given was not told; the rest was wished.
        after["leases"][slot] = {**peer["leases"][slot], **value}
    return peer == after


def check_history(gateway, name, peer):
    page = gateway.call("history.list", {"peer": key_of(name), "at": int(time.time()),
                                         "limit": 1000})
    records = {r["id"]: r for r in page["records"]
               if r["kind"] == "lease" and r["closed_s"] is None}
    leases = {lease["id"]: lease for lease in (peer or {"leases": {}})["leases"].values()}
    if set(records) != set(leases):
        die(f"{name} has leases {sorted(leases)}, and open records of {sorted(records)}")
    for lease_id, lease in leases.items():
        record = records[lease_id]
        if record["public_address"] != lease["public_address"] or (
                not lease["whole_address"] and
                (record["first_port"], record["ports"]) != (lease["public_port"], lease["ports"])):
            die(f"{lease} is recorded as {record}")


def compare(gateway, state):
    peers = found(gateway)
    for name in sorted(set(peers) | set(state["peers"]) | set(state["asked"])):
        peer, wanted = peers.get(name), state["peers"].get(name)
        asked = state["asked"].get(name)
        if not fits(peer, wanted, asked):
            die(f"peer {name} is {peer}; acknowledged was {wanted}, and asked for {asked}")
        check_history(gateway, name, peer)
    state["peers"], state["asked"] = peers, {}
    return len(peers), [lease for peer in peers.values() for lease in peer["leases"].values()]


class Churn:
    """Changes, one of a peer at a time."""

    def __init__(self, gateway, state):
        self.gateway, self.state = gateway, state
        self.sent = {}  # id: (name, asked)
        self.n_answered = {}

    @staticmethod
    def host(name):
        return int(name[1:]) + 2

    def open(self, name):
        """Of a lease that there may be already: (slot, params, what of it has to be there)."""
        kind, port = random.choice(SLOTS)
        ttl_s = random.randrange(3600, 7200)
        address = f"100.64.7.{self.host(name)}"
        params = {"peer": name, "ttl_s": ttl_s, "label": f"{kind} {port}"}
        wanted = {"ttl_s": ttl_s, "label": f"{kind} {port}", "proto": "both"}
        if kind != "pinhole" and int(name[1:]) < WHOLE:
            params["whole_address"] = True
            return f"{address} None", params, {**wanted, "whole_address": True}
        params["to_port"] = port
        params["from"] = wanted["from"] = random.sample(PREFIXES, random.randrange(3))
        if kind == "range":
            params["ports"] = wanted["ports"] = 8
        if kind == "pinhole":
            params["to_address"] = address = f"fd00:7::{self.host(name):x}"
        return f"{address} {port}", params, wanted

    def choose(self, name):
        """What to ask for: (method, params, slot, value)."""
        peer = self.state["peers"].get(name)
        number = random.randrange(PORTS_MIN, 100)
        if peer is None:
            return ("peer.add", {"public_key": key_of(name), "name": name, "forwarding": True,
                                 "address4": f"100.64.7.{self.host(name)}",
                                 "address6": f"fd00:7::{self.host(name):x}",
                                 "max_leases": number}, None, number)
        chance = random.random()
        if peer["is_barred"]:
            return "peer.unbar", {"peer": name}, None, None
        # Its address is kept from others for a while, and there are no more than these.
        if chance < 0.02 and int(name[1:]) >= WHOLE:
            return "peer.del", {"peer": name}, None, None
        if chance < 0.04:
            return "peer.bar", {"peer": name}, None, None
        if chance < 0.10:
            return "peer.set", {"peer": name, "max_leases": number}, None, number
        slot, params, wanted = self.open(name)
        lease = peer["leases"].get(slot)
        if lease is None:
            return "lease.open", params, slot, wanted
        if chance < 0.4:
            return ("lease.renew", {"id": lease["id"], "ttl_s": params["ttl_s"]}, slot,
                    params["ttl_s"])
        return "lease.close", {"id": lease["id"]}, slot, None

    def send_one(self):
        name = random.choice([n for n in (f"p{i}" for i in range(N_PEERS))
                              if n not in self.state["asked"]])
        method, params, slot, value = self.choose(name)
        self.state["asked"][name] = (method, slot, value)
        self.sent[self.gateway.send(method, params)] = name

    def take(self, reply):
        if "result" not in reply:
            die(f"refused: {reply} of {self.state['asked'][self.sent[reply['id']]]}")
        name = self.sent.pop(reply["id"])
        method, slot, _ = self.state["asked"].pop(name)
        peers, result = self.state["peers"], reply["result"]
        if method == "peer.add":
            peers[name] = peer_of(result)
        elif method == "peer.del":
            del peers[name]
        elif method == "peer.set":
            peers[name]["max_leases"] = result["max_leases"]
        elif method in ("peer.bar", "peer.unbar"):
            peers[name]["is_barred"] = method == "peer.bar"
            if method == "peer.bar":
                peers[name]["leases"] = {}
        elif method == "lease.close":
            del peers[name]["leases"][slot]
        else:
            peers[name]["leases"][slot] = lease_of(result)
        self.n_answered[method] = self.n_answered.get(method, 0) + 1

    def run(self, limit):
        """Until it hangs up, or limit are answered."""
        while sum(self.n_answered.values()) < limit:
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
    n_peers, leases = compare(gateway, state)
    print(f"seed {seed}: {n_peers} peers and {len(leases)} leases are as acknowledged: "
          f"{sum(lease['whole_address'] for lease in leases)} whole addresses, "
          f"{sum(lease['ports'] == 8 for lease in leases)} ranges, "
          f"{sum(':' in lease['public_address'] for lease in leases)} pinholes", flush=True)
    churn = Churn(gateway, state)
    if args.kill:
        threading.Timer(random.uniform(0, KILL_WITHIN_S),
                        lambda: os.kill(args.kill, signal.SIGKILL)).start()
    if args.kill or args.count:
        began = time.monotonic()
        churn.run(args.count or float("inf"))
        print(f"{sum(churn.n_answered.values())} changes acknowledged in "
              f"{time.monotonic() - began:.2f} s: {churn.n_answered}")
        if args.count:
            while churn.sent:
                churn.take(gateway.receive())
    with open(args.state, "w", encoding="utf-8") as file:
        json.dump(state, file)


if __name__ == "__main__":
    main()
