#!/usr/bin/env python3
"""Answers in the JSON that portierctl prints, read from standard input.

usage: stats.py drop REASON | counter NAME | handshake NAME | balance | lease
"""
import sys
sys.exit("not yet")
