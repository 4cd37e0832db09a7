#!/usr/bin/env python3
"""One value of the JSON on standard input: field.py PATH, where a.b.0 is ["a"]["b"][0]."""
import json
import sys

value = json.load(sys.stdin)
for part in sys.argv[1].split("."):
    try:
        value = value[int(part)] if isinstance(value, list) else value[part]
    except (KeyError, IndexError, TypeError, ValueError):
        sys.exit(f"field: there is no {part} of {sys.argv[1]} in {json.dumps(value)[:400]}")
print(len(value) if isinstance(value, (list, dict)) else value)
