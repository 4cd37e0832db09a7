#!/usr/bin/env python3
"""Run scripts/bench, short, and check that the report is whole, and that it can be compared.

usage: check_report.py SCRIPT PORTIER-BENCH

exit status: 0 all is as it should be, 1 something is not
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

# Those that charts are drawn of.
NAMES = ["aead", "in", "out", "leases", "peers", "handshake", "rekey", "churn", "latency", "ndr"]

CHARTS = ["Throughput of one core by packet size", "Internet to peer: whole gateway with each",
          "Peer to Internet: whole gateway with each", "Cycles by stage: Internet to peer",
          "Cycles by stage: Peer to Internet", "Cost by number of leases",
          "Over time: 1,000 rekeys a second, 64 bytes, in",
          "Over time: 1,000 rekeys a second, 64 bytes, out",
          "Over time: leases come and go, 64 bytes, in"]
# Each just beyond its goal.
BAD = {
    "aead": {"burst": 32, "rows": [
        {"backend": name, "size": size, "burst": 32, "cycles_per_pkt": cycles,
         "open_cycles_per_pkt": cycles, "of_best_other": 1.04, "open_of_best_other": 1.0}
        for name, cycles in (("ipsec-mb", 100.0), ("lanes", 75.0))
        for size in ("64", "512", "1420", "imix")]},
    "in": {"rows": [{"size": "64", "ratio_ipsec_mb": 1.36}, {"size": "1420",
                                                             "ratio_ipsec_mb": 1.11},
                    {"backend": "lanes", "size": "64", "ratio_ipsec_mb": 0.66},
                    {"backend": "lanes", "size": "1420", "ratio_ipsec_mb": 0.81}]},
    "peers": {"rows": [{"way": "in", "size": "64", "ratio_ipsec_mb": 1.36}]},
    "leases": {"rows": [{"size": "64", "leases": 1000, "peers": 1, "against_first": 1.0},
                        {"size": "64", "leases": 1000, "peers": 9, "against_first": 1.1},
                        {"size": "64", "leases": 1000000, "peers": 9, "against_first": 1.31,
                         "against_fewest": 1.31}]},
    "churn": {"rows": [{"slow_down_pct": 2.1, "lost": 1, "slowest_turn_us": 201.0,
                        "updates_per_s": 199999.0}]},
    "handshake": {"rows": [{"peers": 10, "of_bound": 0.79}, {"peers": 100000,
                                                             "of_bound": 0.7}]},
    "handover": {"rows": [{"size": "64", "wrong_pct": 100, "handover_cycles": 61.0}]},
}

faults = []


def expect(is_so, what):
    if not is_so:
        faults.append(what)


def run(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    sys.stderr.write(done.stderr)
    return done


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def check_goals(script):
    """What is beyond a goal is told so."""
    sys.path.insert(0, os.path.join(os.path.dirname(script), "lib"))
    import bench_report  # pylint: disable=import-outside-toplevel

    found = bench_report.goals(BAD)
    expect(len(found) == 24, f"{len(found)} goals are judged")
    for what, goal, measured, met in found:
        expect(not met, f"{what}: {measured} is said to be {goal}")


def check_page(page):
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    expect(len(charts) >= len(NAMES), f"{len(charts)} charts for {len(NAMES)} benchmarks")
    for title in CHARTS:
        expect(any(title in chart for chart in charts), f"no chart: {title}")
    for chart in charts:
        tree = xml.fromstring(chart)
        numbers = [value for node in tree.iter() for key, value in node.attrib.items()
                   if key in ("x", "y", "width", "height", "cx", "cy")]
        expect(all(float(n) >= 0 for n in numbers), "a chart draws outside itself")
    expect("http://" not in page.replace("http://www.w3.org/2000/svg", "") and
           "https://" not in page and "<script" not in page, "the page is not self-contained")


def slower(report):
    """The same results, with one ratio doubled."""
    report["results"]["in"]["rows"][0]["ratio"] *= 2
    return report


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    script, bench = sys.argv[1:]
    check_goals(script)
    with tempfile.TemporaryDirectory() as out:
        done = run(script, "--quick", "--bench", bench, "--only", ",".join(NAMES), "--out", out)
        expect(done.returncode == 0, f"exit status {done.returncode}")
        report = json.loads(read(out, "bench.json"))
        expect(list(report["results"]) == NAMES, "bench.json lacks results")
        text = read(out, "bench.md")
        expect(all(f"(`{name}`)" in text for name in NAMES) and "## Goals" in text,
               "bench.md lacks a part")
        check_page(read(out, "bench.html"))

        same = run(script, "--report", f"{out}/bench.json", "--compare", f"{out}/bench.json",
                   "--out", f"{out}/again")
        expect(same.returncode == 0 and "nothing moved" in same.stdout,
               "compared with itself: moved")
        expect(os.path.exists(f"{out}/again/bench.html"), "no page of old results")
        with open(f"{out}/slower.json", "w", encoding="utf-8") as file:
            json.dump(slower(report), file)
        other = run(script, "--report", f"{out}/slower.json", "--compare", f"{out}/bench.json",
                    "--out", f"{out}/again")
        expect("+100.0 %" in other.stdout and "worse" in other.stdout,
               "a doubled ratio is not seen")
        for args in (["--only", "nonsense"], ["--compare", "/dev/null"], ["--report", out]):
            expect(run(script, "--bench", bench, *args).returncode == 2, f"{args}: not refused")
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
