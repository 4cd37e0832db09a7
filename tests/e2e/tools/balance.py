#!/usr/bin/env python3
"""Is every packet accounted for? Reads what `portierctl --json stats` prints.

received + handed_in == forwarded + consumed + dropped + handed_out, over all workers, and
originated == originated_sent + originated_lost. On one worker only the sum of the two holds: what
it originates may be sent by another. Hand-overs leave one worker and reach another.
"""
import json
import sys


CAME, MADE = ["received", "handed_in"], ["originated"]
WENT = ["forwarded", "consumed", "dropped", "handed_out"]
MADE_WENT = ["originated_sent", "originated_lost"]


def compare(who, counters, left, right):
    if sum(counters[k] for k in left) == sum(counters[k] for k in right):
        return []
    words = [" + ".join(f"{k} {counters[k]}" for k in side) for side in (left, right)]
    return [f"{who}: {words[0]} != {words[1]}"]


def main():
    stats = json.load(sys.stdin)
    total = stats["totals"]["counters"] | {"dropped": stats["totals"]["dropped"]}
    faults = compare("all", total, CAME, WENT) + compare("all", total, MADE, MADE_WENT)
    faults += compare("all", total, ["handed_in"], ["handed_out"])
    for index, worker in enumerate(stats["workers"]):
        counters = worker["counters"] | {"dropped": worker["dropped"]}
        faults += compare(f"worker {index}", counters, CAME + MADE, WENT + MADE_WENT)
    if total["received"] == 0:
        faults.append("no worker received anything")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()
