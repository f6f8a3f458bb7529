#!/usr/bin/python3
# bench/reconnect.py -- how long a fleet takes to be in again when all its connections were lost at
# once, and what a client notices of it that was connected all the time.
#
# Usage: bench/reconnect.py [-n CLIENTS] [-u USERS] [-i ITERATIONS] [-r ROUNDS]
#   -n  clients (10000); this process and the broker need as many open files
#   -u  users among them (50)
#   -i  iterations of PBKDF2 in a hash (210000, as causeway-passwd makes them)
#   -r  rounds; in each, all connections are reset and made anew at once (5)
#
# The broker is $BUILD/causeway (build/release). The clients are in one thread of Python, which is
# as busy as the broker: the seconds are those of both. The client that is connected sends PINGREQ
# 1 ms after each answer, in a process of its own; its line `before` is what it measures while
# nobody comes. Hashes are counted by the processor time of the threads that compute them.

import argparse
import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
BUILD = os.environ.setdefault("BUILD", os.path.join(HERE, "..", "build", "release"))
os.environ.setdefault("CAUSEWAY", os.path.join(BUILD, "causeway"))
sys.argv, arguments = sys.argv[:1], sys.argv[1:]  # broker.py takes words for names of tests

from broker import Broker  # noqa: E402
from crowd import Crowd, Watcher, hashing_seconds, may_open, password_line  # noqa: E402

PASSWORD = "opensesame"


def start(users, iterations):
    path = os.path.join(tempfile.mkdtemp(prefix="fleet-"), "passwd")
    with open(path, "w", encoding="ascii") as f:
        f.writelines(password_line(f"u{i}", PASSWORD, iterations) for i in range(users))
    return Broker(text=f"[log]\nconnection_messages = false\n[auth]\npassword_file = {path}\n"
                       "[listener a]\nbind = 127.0.0.1:{port}\n")


def milliseconds(took):
    """Of a sorted list: the middle, 99 of 100, the longest."""
    return " ".join(f"{took[min(len(took) - 1, int(len(took) * x))] * 1000:8.2f}"
                    for x in (0.5, 0.99, 1.0)) + f"{len(took):8}"


def main():
    options = argparse.ArgumentParser()
    for name, value in (("-n", 10000), ("-u", 50), ("-i", 210000), ("-r", 5)):
        options.add_argument(name, type=int, default=value)
    o = options.parse_args(arguments)
    if not may_open(o.n + 100):
        sys.exit(f"this process may not open {o.n + 100} files")
    broker = start(o.u, o.i)
    try:
        first = Crowd(broker.address, [(f"u{i}", f"u{i}", PASSWORD) for i in range(o.u)])
        before = hashing_seconds(broker)
        took = first.come(600)
        one = (hashing_seconds(broker) - before) / o.u
        print(f"{o.u} users, whose hashes are computed: {took:.1f} s, {one * 1000:.0f} ms each")
        first.vanish()
        watcher = Watcher(broker.address, "u0", PASSWORD)
        crowd = Crowd(broker.address, [(f"c{i}", f"u{i % o.u}", PASSWORD) for i in range(o.n)])
        watcher.since()
        time.sleep(3)
        print(f"{'':34}   seconds  CPU s  hashes   ping 50 %     99 %      max   count, in ms")
        print(f"{'before':34} {'':25}   {milliseconds(watcher.since())}")
        seconds, all_pings = [], []
        for i in range(o.r + 1):
            cpu, before = broker.cpu_seconds(), hashing_seconds(broker)
            crowd.vanish()
            watcher.since()
            seconds.append(crowd.come(120))
            pings = watcher.since()
            all_pings += pings if i else []
            wrong = {k: v for k, v in crowd.answers.items() if k != 0}
            print(f"{f'{o.n} clients come' + (' again' if i else ''):34} {seconds[-1]:9.2f}"
                  f"{broker.cpu_seconds() - cpu:7.2f}"
                  f"{(hashing_seconds(broker) - before) / one:8.1f}   {milliseconds(pings)}"
                  f"{'   not in: ' + str(wrong) if wrong else ''}", flush=True)
        print(f"{'all that come again':34} {statistics.median(seconds[1:]):9.2f} (median)"
              f"{'':9}{milliseconds(sorted(all_pings))}")
        crowd.vanish()
        watcher.end()
    finally:
        broker.stop()


with tempfile.TemporaryDirectory() as tempfile.tempdir:
    main()
