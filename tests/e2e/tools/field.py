#!/usr/bin/env python3
"""Values of the JSON on standard input: field.py PATH..., where a.b.0 is ["a"]["b"][0].

They are printed on one line; of a list or an object its size is.
"""
import json
import sys


def find(value, path):
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            sys.exit(f"field: there is no {part} of {path} in {json.dumps(value)[:400]}")
    return len(value) if isinstance(value, (list, dict)) else value


document = json.load(sys.stdin)
print(*[find(document, path) for path in sys.argv[1:]])
