#!/usr/bin/python3
"""Metrics of the gateway: metrics.py check URL FILE...

They are read as OpenMetrics by the strict parser of prometheus_client, and once more in the older
text format. Each FILE is one that builds on them (alert rules, a dashboard): what it names has to
exist, and so do the reasons to drop that it selects.
"""
import json
import re
import sys
import urllib.request

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text


def get(url, accept):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


def samples_of(families, what):
    samples = {}
    for family in families:
        if not family.documentation:
            sys.exit(f"{what}: {family.name} has no help")
        if family.type not in ("counter", "gauge"):
            sys.exit(f"{what}: {family.name} is of type {family.type}")
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def expressions_of(path):
    """What a monitoring system would evaluate: expr of alert rules and of panels."""
    if not path.endswith(".json"):
        with open(path) as rules:
            lines = [line for line in rules if not line.lstrip().startswith("#")]
        for block in re.split(r"^ *- alert:", "".join(lines), flags=re.M)[1:]:
            yield re.search(r"expr:(.*?)^ +(?:for|labels):", block, re.S | re.M)[1]
        return
    with open(path) as dashboard:
        document = json.load(dashboard)
    for panel in document["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in document["templating"]["list"]:
        yield variable["query"]


def check_file(path, samples):
    reasons = {s.labels["reason"] for s in samples["portier_drops_total"]}
    n = 0
    for expression in expressions_of(path):
        for name in re.findall(r"\bportier_\w+", expression):
            n += 1
            if name not in samples:
                sys.exit(f"{path}: there is no metric {name}")
        for choice in re.findall(r'reason=~?"([^"]*)"', expression):
            for reason in choice.split("|"):
                if reason not in reasons:
                    sys.exit(f"{path}: there is no reason {reason}")
    if n == 0:
        sys.exit(f"{path}: names no metric")


def check(url, paths):
    kind, body = get(url, "application/openmetrics-text; version=1.0.0")
    if not kind.startswith("application/openmetrics-text; version=1.0.0"):
        sys.exit(f"asked for OpenMetrics, got {kind}")
    samples = samples_of(openmetrics.text_string_to_metric_families(body), "OpenMetrics")
    kind, body = get(url, "text/plain")
    if not kind.startswith("text/plain; version=0.0.4"):
        sys.exit(f"asked for text, got {kind}")
    older = samples_of(text.text_string_to_metric_families(body), "text")
    if samples.keys() != older.keys():
        sys.exit(f"the formats differ in {samples.keys() ^ older.keys()}")
    for path in paths:
        check_file(path, samples)


if len(sys.argv) < 3 or sys.argv[1] != "check":
    sys.exit(__doc__)
check(sys.argv[2], sys.argv[3:])
