"""From the results of portier-bench to a report: goals, tables and charts, in Markdown and HTML."""
from html import escape

import bench_svg as svg

SIZES = ["64", "256", "512", "1024", "1420", "imix"]

# What is worth a column, by benchmark: key, heading, digits.
COLUMNS = {
    "aead": [("backend", "back end", 0), ("size", "bytes", 0), ("burst", "burst", 0),
             ("forged_pct", "forged, %", 0),
             ("cycles_per_pkt", "seal, cycles", 0), ("cycles_min", "min", 0),
             ("cycles_max", "max", 0), ("of_best_other", "to the best other", 2),
             ("open_cycles_per_pkt", "open, cycles", 0), ("open_min", "min", 0),
             ("open_max", "max", 0), ("open_of_best_other", "to the best other", 2),
             ("mpps", "Mpps", 2), ("gbps", "Gbit/s", 2)],
    "packets": [("backend", "back end", 0), ("way", "way", 0), ("via", "by", 0),
                ("workers", "workers", 0),
                ("peers", "peers", 0),
                ("leases", "leases", 0), ("sessions", "sessions", 0),
                ("wrong_pct", "on the wrong worker, %", 0), ("size", "bytes", 0),
                ("cycles_per_pkt", "cycles", 0), ("cycles_min", "min", 0), ("cycles_max", "max", 0),
                ("mpps", "Mpps", 2), ("gbps", "Gbit/s", 2), ("aead_cycles_per_pkt", "AEAD", 0),
                ("ratio", "ratio", 2), ("ratio_min", "min", 2), ("ratio_max", "max", 2),
                ("ipsec_mb_cycles_per_pkt", "libipsec-mb", 0), ("ratio_ipsec_mb", "ratio", 2),
                ("gateway_cycles_per_pkt", "gateway's own", 0), ("gateway_cycles_min", "min", 0),
                ("gateway_cycles_max", "max", 0), ("gateway_ratio", "ratio", 2),
                ("against_first", "to first", 2), ("against_fewest", "to fewest", 2),
                ("against_leases", "to leases", 2),
                ("begun_per_s", "begun/s", 0), ("handover_cycles", "hand-over, cycles", 0),
                ("maker_cycles", "generator", 0), ("sink_cycles", "sink", 0), ("lost", "lost", 0),
                ("reordered", "reordered", 0)],
    "handshake": [("peers", "known peers", 0), ("handshakes_per_s", "handshakes/s", 0),
                  ("cycles_per_handshake", "cycles", 0), ("x25519_per_s", "X25519/s", 0),
                  ("bound_per_s", "bound/s", 0), ("of_bound", "of bound", 2),
                  ("of_bound_min", "min", 2), ("of_bound_max", "max", 2)],
    "rekey": [("handshakes", "handshakes", 0), ("way", "way", 0), ("size", "bytes", 0),
              ("rekeys_per_s", "rekeys/s", 0), ("cycles_per_pkt", "cycles", 0),
              ("neighbour_cycles_per_pkt", "next to other work", 0),
              ("quiet_cycles_per_pkt", "quiet", 0), ("slow_down_pct", "slower, %", 1),
              ("slow_down_q1_pct", "quartile", 1), ("slow_down_q3_pct", "quartile", 1),
              ("slow_down_to_quiet_pct", "to quiet, %", 1),
              ("slowest_turn_us", "slowest turn, us", 0), ("quiet_slowest_turn_us", "quiet", 0),
              ("aead_cycles_per_pkt", "AEAD", 0), ("ratio", "ratio", 2),
              ("ipsec_mb_cycles_per_pkt", "libipsec-mb", 0), ("ratio_ipsec_mb", "ratio", 2),
              ("lost", "lost", 0)],
    "churn": [("way", "way", 0), ("size", "bytes", 0), ("updates_per_s", "updates/s", 0),
              ("updates_per_cpu_s", "a CPU second", 0), ("cycles_per_pkt", "cycles", 0),
              ("neighbour_cycles_per_pkt", "next to other work", 0),
              ("quiet_cycles_per_pkt", "quiet", 0), ("slow_down_pct", "slower, %", 1),
              ("slow_down_q1_pct", "quartile", 1), ("slow_down_q3_pct", "quartile", 1),
              ("slow_down_to_quiet_pct", "to quiet, %", 1),
              ("slowest_turn_us", "slowest turn, us", 0), ("quiet_slowest_turn_us", "quiet", 0),
              ("aead_cycles_per_pkt", "AEAD", 0), ("ratio", "ratio", 2),
              ("ipsec_mb_cycles_per_pkt", "libipsec-mb", 0), ("ratio_ipsec_mb", "ratio", 2),
              ("lost", "lost", 0)],
    "latency": [("way", "way", 0), ("size", "bytes", 0), ("load_pct", "load, %", 0),
                ("offered_mpps", "Mpps", 2), ("p50_us", "p50, us", 2), ("p99_us", "p99", 2),
                ("p999_us", "p99.9", 2), ("p999_min_us", "min", 2), ("p999_max_us", "max", 2),
                ("lost", "lost", 0)],
    "ndr": [("way", "way", 0), ("size", "bytes", 0), ("ndr_mpps", "no loss, Mpps", 3),
            ("ndr_gbps", "Gbit/s", 2), ("pdr_mpps", "0.5 %, Mpps", 3), ("pdr_gbps", "Gbit/s", 2),
            ("most_mpps", "most, Mpps", 3), ("trials", "trials", 0)],
    "memory": [("what", "what", 0), ("n", "of them", 0), ("bytes_each", "bytes each", 0),
               ("bytes_each_min", "min", 0), ("bytes_each_max", "max", 0)],
}

INTRO = {
    "aead": "The cipher alone: bursts from warm buffers, a key for each packet; then by size of "
            "the burst, and opened when some, half or all are forged. "
            "Every ratio below has it "
            "underneath, measured in turns with the gateway: the gateway's own back end, and "
            "libipsec-mb, which the goals are about.",
    "in": "Internet to peer: lease look-up, translation, seal. One peer unless said otherwise; "
          "every back end takes its turn.",
    "out": "Peer to Internet: open, replay window, anti-spoofing, translation; every back end.",
    "both": "A burst each way in every turn.",
    "leases": "All leases are open all the time; the packets of a row are spread at random over "
              "as many of them as it says, and the rows of a size take turns. The first has one "
              "peer, the others a thousand.",
    "sessions": "Established sessions of source NAT beside as many leases, in turns; a million "
                "leases are open all the time. A beginning is a packet of 64 bytes that takes a "
                "mapping and a session: its cycles are those of the whole path. The first rows "
                "have one peer, the others a thousand.",
    "peers": "One lease a peer; every packet another peer at random.",
    "workers": "Eight peers, each at home where its packets arrive: on one worker, then on two, "
               "which take turns on one core, each with rings of its own.",
    "handover": "Two workers in turns on one core; all peers live on the first. Hand-over "
                "cycles are what a packet costs more that arrives on the second.",
    "handshake": "Only the handshake thread's turns are timed. The bound is three X25519 "
                 "operations and one key generation, which no responder can do without; they "
                 "are timed right before each 64 handshakes.",
    "rekey": "1,000 rekeys a second of the time that the worker works, in slices of 8 ms, beside "
             "slices without any; slower is the median over pairs of them. With handshakes "
             "untimed, the handshake thread's turns are taken between the worker's; beside, it "
             "has the other CPU, and what rekeys cost is the difference to a gateway next to a "
             "thread that does as many Diffie-Hellmans, which take their part of a core where "
             "CPUs share it.",
    "churn": "A client opens and closes leases in batches through the socket, as fast as it is "
             "answered; client and control thread share the other CPU. What churn costs is the "
             "difference to a gateway next to other work of the same kind, in slices of 8 ms, "
             "pair by pair.",
    "latency": "From arrival in the rx ring to the end of the turn that sent the packet; "
               "random arrivals, in virtual time. Load is a share of the highest rate.",
    "ndr": "RFC 2544: the highest even rate without loss, and with at most 0.5 %, at 1,024 rx "
           "descriptors; trials of one second of virtual time decide. One search for each: five "
           "would take ten minutes, and the machine must lend no second of them to others.",
    "memif": "A portier process of its own, reached over shared memory; 512 packets at most under "
             "way. Cycles are the time between packets that arrive, which the slower of the two "
             "processes sets; generator and sink, with the carrying, are the one's part of it. The "
             "gateway's own are the CPU time of its process, less that of turns without work. "
             "Means something only with two free CPUs.",
    "memory": "Allowed: reserved for each that the configuration allows, in malloc and DPDK's "
              "heap. Resident: what the process grows by for each that is there, found by parts, "
              "the first of which touch pages that later ones share.",
}

TITLES = {
    "aead": "The cipher alone", "in": "Internet to peer", "out": "Peer to Internet",
    "both": "Both ways", "leases": "By number of leases",
    "sessions": "By sessions instead of leases", "peers": "By number of peers",
    "workers": "One worker and two", "handover": "Hand-over between workers",
    "handshake": "Handshakes",
    "rekey": "Rekeys under load",
    "churn": "Leases that come and go under load", "latency": "Latency",
    "ndr": "Highest rate without loss", "memif": "Two processes, over shared memory",
    "memory": "Memory",
}


def rows_of(results, name, **wanted):
    rows = results.get(name, {}).get("rows", [])
    return [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]


def value_of(results, name, key, **wanted):
    rows = rows_of(results, name, **wanted)
    return rows[0].get(key) if rows else None


# --- goals ---------------------------------------------------------------------------------------

# Of the whole gateway over raw libipsec-mb; and with the cipher across packets.
LIMITS = [("1420", 1.10), ("64", 1.35)]
LIMITS_ACROSS = [("1420", 0.80), ("64", 0.65)]
# Of libipsec-mb over the cipher across packets, to seal and to open; and of that one over the best
# other, whatever the burst.
TIMES_FASTER = [("64", 3.3), ("512", 1.9), ("1420", 1.35), ("imix", 1.6)]
NEVER_SLOWER = 1.03


def cipher_goals(results, check):
    burst = results.get("aead", {}).get("burst")
    for size, limit in TIMES_FASTER:
        for key, what in (("cycles_per_pkt", "seal"), ("open_cycles_per_pkt", "open")):
            single, across = (value_of(results, "aead", key, backend=name, size=size, burst=burst)
                              for name in ("ipsec-mb", "lanes"))
            check(f"libipsec-mb over the cipher across packets, {what}, {size} bytes",
                  single / across if single and across else None, limit, 2, at_least=True)
    ratios = [r[key] for r in rows_of(results, "aead", backend="lanes")
              for key in ("of_best_other", "open_of_best_other") if key in r]
    check("the cipher across packets over the best other, worst burst",
          max(ratios) if ratios else None, NEVER_SLOWER)


def goals(results):
    """[(what, goal in words, measured in words, met or None)]"""
    found = []

    def check(what, value, limit, digits=3, unit="", at_least=False):
        if value is None:
            return
        met = value >= limit if at_least else value <= limit
        words = "at least" if at_least else "at most"
        found.append((what, f"{words} {limit:,g}{unit}", f"{value:,.{digits}f}{unit}", met))

    for way in ("in", "out"):
        for size, limit in LIMITS:
            check(f"{TITLES[way]}, {size} bytes, over raw libipsec-mb",
                  value_of(results, way, "ratio_ipsec_mb", size=size), limit)
        for size, limit in LIMITS_ACROSS:
            check(f"the same with the cipher across packets, {way}, {size} bytes",
                  value_of(results, way, "ratio_ipsec_mb", size=size, backend="lanes"), limit)
    cipher_goals(results, check)
    for way in ("in", "out"):
        for size, limit in LIMITS:
            ratios = [r["ratio_ipsec_mb"] for r in rows_of(results, "peers", way=way, size=size)]
            check(f"{TITLES[way]}, {size} bytes, any number of peers, over raw libipsec-mb",
                  max(ratios) if ratios else None, limit)
    for size in ("64", "1420"):
        rows = rows_of(results, "leases", size=size)
        if len(rows) > 1:
            check(f"{rows[-1]['leases']:,} leases over {rows[1]['leases']:,}, of "
                  f"{rows[-1]['peers']:,} peers, {size} bytes",
                  rows[-1].get("against_fewest"), 1.3)
            check(f"the same over {rows[0]['leases']:,} of one peer, {size} bytes",
                  rows[-1]["against_first"], 1.3)
    rows = [r for r in rows_of(results, "sessions", way="out") if "against_leases" in r]
    if rows:
        worst = max(rows, key=lambda r: r["against_leases"])
        check(f"out by {worst['sessions']:,} established sessions, over as many leases, "
              f"{worst['size']} bytes", worst["against_leases"], 1.10)
        check("sessions begun a second", min(r["begun_per_s"] for r in rows_of(
            results, "sessions", way="begin")), 500000, 0, at_least=True)
    for name, what in (("churn", "lease churn"), ("rekey", "1,000 rekeys/s")):
        rows = rows_of(results, name) if name == "churn" else rows_of(results, name,
                                                                      handshakes="untimed")
        if rows:
            check(f"{what}: slow-down of the path", max(r["slow_down_pct"] for r in rows), 2, 1,
                  " %")
            check(f"{what}: packets lost", sum(r["lost"] for r in rows), 0, 0)
            check(f"{what}: slowest turn of a worker, median of the slices",
                  max(r["slowest_turn_us"] for r in rows), 200, 0, " us")
    updates = [r["updates_per_s"] for r in rows_of(results, "churn")]
    check("lease updates a second over the socket", min(updates) if updates else None,
          200000, 0, at_least=True)
    rows = rows_of(results, "handshake")
    for row in rows:
        check(f"responder handshakes of the X25519 bound, {row['peers']:,} known peers",
              row["of_bound"], 0.8, 2, at_least=True)
    if len(rows) > 1:
        check(f"the same, {rows[-1]['peers']:,} over {rows[0]['peers']:,} known peers",
              rows[-1]["of_bound"] / rows[0]["of_bound"], 0.95, 2, at_least=True)
    costs = [r["handover_cycles"] for r in rows_of(results, "handover", size="64", wrong_pct=100)]
    check("hand-over, cycles a packet, 64 bytes", max(costs) if costs else None, 60, 0)
    return found


# --- charts --------------------------------------------------------------------------------------

def by_size(results, name, key, **wanted):
    return [value_of(results, name, key, size=size, **wanted) for size in SIZES]


def fastest(results):
    return results.get("aead", {}).get("backend")


def chart_throughput(results):
    names = dict.fromkeys([fastest(results), "ipsec-mb"])
    series = [(f"{name} alone, seal", by_size(results, "aead", "gbps", backend=name))
              for name in names if name]
    series += [(TITLES[way], by_size(results, way, "gbps")) for way in ("in", "out", "both")
               if way in results]
    return svg.bars("Throughput of one core by packet size", "Gbit/s of inner bytes",
                    "inner packet, bytes", SIZES, series)


def chart_ratio(results):
    series = [(TITLES[way], by_size(results, way, "ratio_ipsec_mb"))
              for way in ("in", "out", "both") if way in results]
    return svg.bars("Whole gateway over raw libipsec-mb", "ratio of cycles a packet, same run",
                    "inner packet, bytes", SIZES, series,
                    goals=dict(LIMITS))


def chart_backends(results, way):
    names = list(dict.fromkeys(r["backend"] for r in rows_of(results, way) if "backend" in r))
    series = [(name, by_size(results, way, "ratio_ipsec_mb", backend=name)) for name in names]
    return svg.bars(f"{TITLES[way]}: whole gateway with each back end, over raw libipsec-mb",
                    "ratio of cycles a packet, same run", "inner packet, bytes", SIZES, series,
                    goals=dict(LIMITS_ACROSS)) if len(names) > 1 else None


def chart_stages(results, way):
    """The cipher's part of seal or open is shown on its own."""
    rows = [rows_of(results, way, size=size) for size in SIZES]
    rows = [r[0] for r in rows if r and "stages" in r[0]]
    if not rows:
        return None
    cipher = "seal" if way == "in" else "open"
    names = [n for n in rows[0]["stages"] if max(r["stages"].get(n, 0) for r in rows) >= 3]
    series = [("AEAD", [min(r["aead_cycles_per_pkt"], r["stages"][cipher]) for r in rows])]
    for name in names:
        label = f"{cipher}, rest" if name == cipher else name
        series.append((label, [r["stages"].get(name, 0) - (
            min(r["aead_cycles_per_pkt"], r["stages"][cipher]) if name == cipher else 0)
            for r in rows]))
    return svg.stacked(f"Cycles by stage: {TITLES[way]}", "TSC cycles a packet",
                       "inner packet, bytes; dashed: the whole, measured without stages",
                       [r["size"] for r in rows], series, [r["cycles_per_pkt"] for r in rows])


def chart_leases(results):
    series = []
    for size in ("64", "1420"):
        rows = rows_of(results, "leases", size=size)
        if rows:
            peers = rows[-1]["peers"]
            series.append((f"{size} bytes, {peers:,} peers",
                           [(r["leases"], r["cycles_per_pkt"]) for r in rows
                            if r["peers"] == peers]))
            series.append((f"{size} bytes, AEAD alone",
                           [(r["leases"], r["aead_cycles_per_pkt"]) for r in rows
                            if r["peers"] == peers]))
    return svg.lines("Cost by number of leases", "TSC cycles a packet, in", "open leases", series,
                     x_log=True) if series else None


def chart_sessions(results):
    series = []
    for via, key in (("session", "sessions"), ("lease", "leases")):
        for size in ("64", "1420"):
            rows = [r for r in rows_of(results, "sessions", size=size, way="out", via=via)
                    if r["peers"] > 1]
            if rows:
                series.append((f"by {via}, {size} bytes",
                               [(r[key], r["cycles_per_pkt"]) for r in rows]))
    return svg.lines("Cost by number of sessions and of leases", "TSC cycles a packet, out",
                     "in use", series, x_log=True) if series else None


def chart_peers(results):
    series = []
    for way in ("in", "out"):
        for size in ("64", "1420"):
            rows = rows_of(results, "peers", size=size, way=way)
            if rows:
                series.append((f"{way}, {size} bytes",
                               [(r["peers"], r["cycles_per_pkt"]) for r in rows]))
    return svg.lines("Cost by number of peers", "TSC cycles a packet", "peers", series,
                     x_log=True) if series else None


def chart_course(results, name, size, **wanted):
    rows = rows_of(results, name, size=size, **wanted)
    if not rows:
        return None
    kinds = (("course", name), ("course_neighbour", "other work"), ("course_quiet", "quiet"))
    series = [(label, list(zip(rows[0][key]["ms"], rows[0][key]["cycles"])))
              for key, label in kinds if key in rows[0]]
    what = {"rekey": "1,000 rekeys a second", "churn": "leases come and go"}[name]
    way = rows[0]["way"]
    return svg.lines(f"Over time: {what}, {size} bytes, {way}", f"TSC cycles a packet, {way}",
                     "ms of the worker's time", series, points=False)


def chart_handshake(results):
    rows = rows_of(results, "handshake")
    series = [("handshakes/s", [r["handshakes_per_s"] for r in rows]),
              ("X25519 bound", [r["bound_per_s"] for r in rows])]
    return svg.bars("Responder handshakes of one core", "a second", "known peers",
                    [f"{r['peers']:,}" for r in rows], series)


def chart_latency(results):
    rows = [r for r in rows_of(results, "latency", way="in") if r["size"] in ("64", "1420")]
    groups = [f"{r['size']} B, {r['load_pct']} %" for r in rows]
    series = [(label, [r[key] for r in rows])
              for key, label in (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"))]
    return svg.bars("Latency, Internet to peer", "microseconds", "inner packet and load", groups,
                    series)


def chart_ndr(results):
    rows = rows_of(results, "ndr")
    groups = [f"{r['way']}, {r['size']}" for r in rows]
    series = [("no loss", [r["ndr_mpps"] for r in rows]), ("0.5 %", [r["pdr_mpps"] for r in rows])]
    return svg.bars("Highest rate by loss that is accepted", "Mpps of one core",
                    "way and inner packet, bytes", groups, series)


def charts(results, name):
    """Those that stand with this benchmark."""
    table = {
        "aead": lambda: [chart_throughput(results)],
        "in": lambda: [chart_ratio(results), chart_backends(results, "in"),
                       chart_stages(results, "in")],
        "out": lambda: [chart_backends(results, "out"), chart_stages(results, "out")],
        "leases": lambda: [chart_leases(results)],
        "sessions": lambda: [chart_sessions(results)],
        "peers": lambda: [chart_peers(results)],
        "handshake": lambda: [chart_handshake(results)],
        "rekey": lambda: [chart_course(results, "rekey", "64", way=way, handshakes="untimed")
                          for way in ("in", "out")],
        "churn": lambda: [chart_course(results, "churn", "64")],
        "latency": lambda: [chart_latency(results)],
        "ndr": lambda: [chart_ndr(results)],
    }
    return [c for c in table[name]() if c] if name in table else []


# --- tables --------------------------------------------------------------------------------------

def cell(value, digits):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.{digits}f}"


def is_idle(key, rows):
    """Nothing but what the heading says, or what another column says."""
    if key == "way":
        return len({r[key] for r in rows}) == 1
    if key == "reordered":
        return not any(r.get(key) for r in rows)
    own = {"ipsec_mb_cycles_per_pkt": "aead_cycles_per_pkt", "ratio_ipsec_mb": "ratio"}.get(key)
    return own is not None and all(r.get(key) == r.get(own) for r in rows)


def table(name, rows):
    """(headings, [[text]]): the columns in which any row has something to say."""
    columns = [c for c in COLUMNS.get(name, COLUMNS["packets"])
               if any(r.get(c[0]) is not None for r in rows) and not is_idle(c[0], rows)]
    return ([heading for _, heading, _ in columns],
            [[cell(row.get(key), digits) for key, _, digits in columns] for row in rows])


def goal_rows(results):
    return [[what, goal, measured, "met" if met else "not met"]
            for what, goal, measured, met in goals(results)]


QUICK = "A quick run: it shows that all works, and measures nothing."
UNMOVED = "Nothing moved by more than noise."
GOAL_HEADINGS = ["what", "goal", "measured", ""]


def about(meta):
    return (f"{meta['date']}, {meta['cpu']}, {meta['cpus']} CPUs, "
            f"TSC {meta['tsc_hz'] / 1e9:.2f} GHz; portier {meta['version']}{meta['revision']}; "
            f"seed {meta['seed']}, bursts of {meta['burst']}, "
            f"{'hugepages' if meta['huge'] else 'ordinary pages'}; "
            f"took {sum(meta.get('seconds', {}).values()) / 60:.0f} minutes.")


NOTE = ("Cycles are TSC cycles a packet of the worker's turns alone, medians of short trials, each "
        "the mean without the slowest 2 % of bursts; ratios compare what was measured in turns in "
        "one run. Absolute figures of a machine that others share are not to be trusted.")


# --- Markdown ------------------------------------------------------------------------------------

def markdown_table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def markdown(report, moved=None):
    results = report["results"]
    lines = ["# Portier: benchmarks", "", about(report["meta"]), "", NOTE, ""]
    if report["meta"]["quick"]:
        lines += [f"**{QUICK}**", ""]
    lines += ["## Goals", ""] + markdown_table(GOAL_HEADINGS, goal_rows(results)) + [""]
    if moved is not None:
        lines += ["## What moved", ""]
        lines += (markdown_table(*moved) if moved[1] else [UNMOVED]) + [""]
    for name, result in results.items():
        lines += [f"## {TITLES[name]} (`{name}`)", "", INTRO[name], ""]
        lines += markdown_table(*table(name, result["rows"])) + [""]
    return "\n".join(lines)


# --- HTML ----------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto;
       padding: 0 1em; }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #e8e8e8; }
th { border-bottom: 2px solid #999; font-weight: 600; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; }
td.met { color: #00704f; } td.not { color: #b00020; font-weight: 600; }
svg { display: block; margin: 1em 0; border: 1px solid #eee; max-width: 100%; height: auto; }
.wide { overflow-x: auto; } .quick { color: #b00020; font-weight: 600; }
"""


def html_table(headings, rows):
    def tds(row):
        kinds = {"met": " class=met", "not met": " class=not"}
        return "".join(f"<td{kinds.get(c, '')}>{escape(c)}</td>" for c in row)

    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    return ('<div class="wide"><table><tr>' + head + "</tr>"
            + "".join(f"<tr>{tds(row)}</tr>" for row in rows) + "</table></div>")


def html(report, moved=None):
    results = report["results"]
    parts = ["<!doctype html><html lang=en><meta charset=utf-8>",
             "<meta name=viewport content='width=device-width'><title>Portier: benchmarks</title>",
             f"<style>{STYLE}</style><h1>Portier: benchmarks</h1>",
             f"<p>{escape(about(report['meta']))}</p><p>{escape(NOTE)}</p>"]
    if report["meta"]["quick"]:
        parts.append(f'<p class="quick">{QUICK}</p>')
    parts += ["<h2>Goals</h2>", html_table(GOAL_HEADINGS, goal_rows(results))]
    if moved is not None:
        parts += ["<h2>What moved</h2>", html_table(*moved) if moved[1] else f"<p>{UNMOVED}</p>"]
    for name, result in results.items():
        parts += [f"<h2>{escape(TITLES[name])} <code>{name}</code></h2>",
                  f"<p>{escape(INTRO[name])}</p>"]
        parts += charts(results, name)
        parts.append(html_table(*table(name, result["rows"])))
    return "\n".join(parts) + "</html>\n"
