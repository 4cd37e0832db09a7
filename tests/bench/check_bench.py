#!/usr/bin/env python3
"""Run one benchmark, short, and check that its report is whole and its packets were.

usage: check_bench.py PORTIER-BENCH NAME
       check_bench.py PORTIER-BENCH --usage

Nothing timed is judged. With --usage: wrong arguments are refused, with exit status 2 and a
sentence.

exit status: 0 all is as it should be, 1 something is not
"""
import json
import os
import subprocess
import sys

NAMES = ("aead", "in", "out", "both", "leases", "sessions", "peers", "workers", "handover",
         "handshake", "rekey", "churn", "latency", "ndr", "memif", "memory")
HEAD = {"bench": str, "version": str, "date": str, "cpu": str, "tsc_hz": int, "quick": bool,
        "burst": int, "repeats": int, "seed": int, "rows": list}
ROW = {"size": str, "bytes": int, "cycles_per_pkt": float, "mpps": float, "gbps": float,
       "aead_cycles_per_pkt": float, "ratio": float, "lost": int}
# Benchmarks with rows of their own kind.
OTHER_ROWS = {
    "handshake": {"peers": int, "cycles_per_handshake": float, "handshakes_per_s": float,
                  "x25519_per_s": float, "bound_per_s": float, "of_bound": float,
                  "of_bound_min": float, "of_bound_max": float, "lost": int},
    "rekey": {"size": str, "bytes": int, "cycles_per_pkt": float, "quiet_cycles_per_pkt": float,
              "slow_down_pct": float, "rekeys": int, "slowest_turn_us": float, "lost": int,
              "aead_cycles_per_pkt": float, "ratio": float, "stages": dict},
    "churn": {"size": str, "bytes": int, "cycles_per_pkt": float, "quiet_cycles_per_pkt": float,
              "slow_down_pct": float, "updates_per_s": float, "slowest_turn_us": float,
              "lost": int, "aead_cycles_per_pkt": float, "ratio": float, "stages": dict},
    "latency": {"size": str, "bytes": int, "load_pct": int, "offered_mpps": float, "p50_us": float,
                "p99_us": float, "p999_us": float, "lost": int},
    "ndr": {"size": str, "bytes": int, "ndr_mpps": float, "pdr_mpps": float, "trials": int,
            "lost": int},
    "memory": {"what": str, "n": int, "bytes_each": float, "bytes_each_min": float,
               "bytes_each_max": float},
}
BEGIN_ROW = {"sessions": int, "cycles_per_pkt": float, "begun_per_s": float, "lost": int}
# Benchmarks whose rows are packets through the gateway, and stand beside the raw AEAD.
PACKETS = {"in", "out", "both", "leases", "sessions", "peers", "workers", "handover",
           "memif"}
# What every row has beside, and the values that it must take somewhere.
WANTED = {
    "aead": {"backend": None,
             "burst": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17, 24, 32, 48, 64},
             "size": {"64", "256", "512", "1024", "1420", "imix", "64, one long"},
             "open_cycles_per_pkt": None, "of_best_other": None, "open_of_best_other": None},
    "in": {"size": {"64", "256", "512", "1024", "1420", "imix"}, "way": {"in"},
           "backend": None},
    "out": {"size": {"64", "256", "512", "1024", "1420", "imix"}, "way": {"out"},
            "backend": None},
    "both": {"size": {"64", "256", "512", "1024", "1420", "imix"}, "way": {"both"}},
    "leases": {"leases": None, "peers": None, "against_first": None},
    "sessions": {"via": {"lease", "session"}, "way": {"begin", "in", "out"}, "lost": {0}},
    "peers": {"peers": {1, 10, 100}, "way": {"in", "out"}},
    "workers": {"workers": {1, 2}, "way": {"in", "out"}, "against_first": None},
    "handover": {"wrong_pct": {0, 50, 100}, "way": {"in", "out"}},
    "handshake": {"peers": {10, 100}, "lost": {0}},
    "rekey": {"handshakes": {"untimed", "beside"}, "way": {"in", "out"}, "lost": {0}},
    "churn": {"lost": {0}},
    "latency": {"load_pct": {10, 50, 90}, "way": {"in", "out"}},
    "ndr": {"way": {"in", "out"}, "lost": {0}},
    "memif": {"size": {"64", "512", "1420", "imix"}, "way": {"in", "out"}, "peers": {2},
              "leases": {8}, "gateway_ratio": None},
    "memory": {"what": None},
}

faults = []


def expect(is_so, what):
    if not is_so:
        faults.append(what)


def run(args):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)


def check_keys(thing, keys, where):
    for key, kind in keys.items():
        value = thing.get(key)
        number = isinstance(value, int) and not isinstance(value, bool)
        expect(isinstance(value, kind) or (kind is float and number),
               f"{where}: {key} is {value!r}, not {kind.__name__}")


def check_packets(row, where):
    expect(0 < row["sent"] == row["received"], f"{where}: not all came that was sent")
    for key in ("lost", "duplicated", "corrupt"):
        expect(row[key] == 0, f"{where}: {key} {row[key]}")
    expect(row["cycles_min"] <= row["cycles_per_pkt"] <= row["cycles_max"], f"{where}: no median")
    for key in ("maker_cycles", "sink_cycles", "aead_cycles_per_pkt", "ratio"):
        expect(row[key] > 0, f"{where}: {key} {row[key]}")
    if "stages" in row:
        expect(sum(row["stages"].values()) > 0, f"{where}: stages took no time")


def check_report(name, report):
    check_keys(report, HEAD, "report")
    expect(report["bench"] == name and report["quick"] is True, "report: another benchmark's")
    expect(report["rows"], "report: no rows")
    for i, row in enumerate(report["rows"]):
        where = f"row {i}"
        begins = row.get("way") == "begin"
        check_keys(row, BEGIN_ROW if begins else OTHER_ROWS.get(name, ROW), where)
        expect(row.get("cycles_per_pkt", 1) > 0, f"{where}: no time passed")
        if name == "rekey":
            expect(row["rekeys"] > 0, f"{where}: nobody rekeyed")
        if name == "churn":
            expect(row["updates_per_s"] > 0, f"{where}: no lease changed")
        if name in ("rekey", "churn"):
            expect(row["slow_down_q1_pct"] <= row["slow_down_pct"] <= row["slow_down_q3_pct"],
                   f"{where}: the slow-down is not between its quartiles")
            expect(len(row["course"]["cycles"]) == report["repeats"],
                   f"{where}: the course lacks slices")
        if name == "leases" and row["peers"] == 1:
            expect(row["against_first"] == 1, f"{where}: the first differs from itself")
        if name == "latency":
            expect(0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"], f"{where}: no quantiles")
        if name == "memory":
            expect(row["bytes_each_min"] <= row["bytes_each"] <= row["bytes_each_max"] and
                   row["bytes_each_max"] > 0, f"{where}: {row['what']}: no median")
        if name == "ndr":
            expect(0 < row["ndr_mpps"] <= row["pdr_mpps"], f"{where}: no rates")
        if name == "memif":
            expect(row["reordered"] == 0, f"{where}: one worker reordered {row['reordered']}")
            # Bursts at most; that a turn's time is its own can not be judged on a shared machine.
            expect(row["sent"] / 64 <= row["gateway_turns"] <= row["sent"] * 2,
                   f"{where}: {row['sent']} packets in {row['gateway_turns']} turns")
            expect(row["gateway_cycles_min"] <= row["gateway_cycles_per_pkt"] <=
                   row["gateway_cycles_max"], f"{where}: no median of the gateway's own cycles")
        if name in PACKETS and not begins:
            check_packets(row, where)
    if name in ("in", "out"):
        check_backends(report)
    for key, values in WANTED[name].items():
        found = {row.get(key) for row in report["rows"]}
        expect(None not in found, f"rows: not all have {key}")
        expect(values is None or found == values, f"rows: {key} takes {found}, not {values}")


def check_backends(report):
    """Each back end with each size, beside the same raw libipsec-mb: at least those that work
    anywhere."""
    found = {(row["backend"], row["size"]) for row in report["rows"]}
    backends = {backend for backend, _ in found}
    expect({"openssl", report["backend"]} <= backends and len(backends) > 1,
           f"rows: back ends are {backends}")
    expect(len(report["rows"]) == len(found) == len(backends) * len(WANTED["in"]["size"]),
           "rows: not each back end with each size once")
    expect(report["rows"][0]["backend"] == report["backend"], "rows: another back end comes first")
    for row in report["rows"]:
        expect(row["ipsec_mb_cycles_per_pkt"] > 0 and row["ratio_ipsec_mb"] > 0,
               f"{row['backend']}, {row['size']}: not beside libipsec-mb")


def check_usage(bench):
    cases = [[], ["nonsense"], ["in", "out"], ["in", "--burst", "0"], ["in", "--burst", "65"],
             ["in", "--sizes", "35"], ["in", "--sizes", "1421"], ["in", "--sizes", ""],
             ["in", "--aead", "rot13"], ["in", "--repeats", "many"], ["in", "--pkts"],
             ["in", "--unknown"], ["in", "--seed", "-1"]]
    for case in cases:
        done = run([bench] + case)
        expect(done.returncode == 2, f"{case}: exit status {done.returncode}, not 2")
        expect(done.stderr.strip() and not done.stdout, f"{case}: no sentence on standard error")
    done = run([bench, "--help"])
    expect(done.returncode == 0 and all(name in done.stdout for name in NAMES),
           "--help does not name every benchmark")


def main():
    if len(sys.argv) != 3 or (sys.argv[2] not in NAMES and sys.argv[2] != "--usage"):
        sys.exit(__doc__)
    bench, name = sys.argv[1:]
    if name == "--usage":
        check_usage(bench)
    else:
        seed = os.environ.get("PORTIER_TEST_SEED", "1")
        print("PORTIER_TEST_SEED=" + seed)
        done = run([bench, name, "--quick", "--json", "--seed", seed])
        sys.stderr.write(done.stderr)
        expect(done.returncode == 0, f"exit status {done.returncode}")
        if done.returncode == 0:
            check_report(name, json.loads(done.stdout))
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
