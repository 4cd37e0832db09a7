#!/usr/bin/env python3
"""Is every packet accounted for? Reads what `portierctl --json stats` prints.

On each worker: received + handed_in == forwarded + consumed + dropped + handed_out, and
originated == originated_sent + originated_lost. Hand-overs leave one worker and reach another.
"""
import json
import sys


def faults_of(name, worker):
    c, dropped = worker["counters"], worker["dropped"]
    came = c["received"] + c["handed_in"]
    went = c["forwarded"] + c["consumed"] + dropped + c["handed_out"]
    if came != went:
        yield (f"{name}: received {c['received']} + handed_in {c['handed_in']} = {came}, but"
               f" forwarded {c['forwarded']} + consumed {c['consumed']} + dropped {dropped}"
               f" + handed_out {c['handed_out']} = {went}")
    if c["originated"] != c["originated_sent"] + c["originated_lost"]:
        yield (f"{name}: originated {c['originated']}, but sent {c['originated_sent']} and lost"
               f" {c['originated_lost']}")


def main():
    workers = json.load(sys.stdin)["workers"]
    faults = [f for i, c in enumerate(workers) for f in faults_of(f"worker {i}", c)]
    sums = {k: sum(w["counters"][k] for w in workers) for k in workers[0]["counters"]}
    if sums["handed_in"] != sums["handed_out"]:
        faults.append(f"handed_in {sums['handed_in']}, but handed_out {sums['handed_out']}")
    if sums["received"] == 0:
        faults.append("no worker received anything")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()
