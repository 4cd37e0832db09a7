#!/usr/bin/env python3
"""Stop one thread of a process, as a bug would: hold_thread.py PID NAME; the last thread whose name
begins with NAME. Prints "ready" when it stands still, and lets it go when this process ends.
"""
import ctypes
import os
import signal
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000  # of waitpid: threads, too


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pid, name = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request, tid):
        if libc.ptrace(request, tid, None, None) < 0:
            sys.exit(f"hold_thread: {os.strerror(ctypes.get_errno())}")

    names = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
            names[int(tid)] = file.read().strip()
    tids = [tid for tid, own in sorted(names.items()) if own.startswith(name)]
    if not tids:
        sys.exit(f"hold_thread: no {name} among {sorted(names.values())}")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    ptrace(PTRACE_SEIZE, tids[-1])
    ptrace(PTRACE_INTERRUPT, tids[-1])
    os.waitpid(tids[-1], WALL)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ptrace(PTRACE_DETACH, tids[-1])


main()
