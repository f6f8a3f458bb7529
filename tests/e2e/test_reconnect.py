# tests/e2e/test_reconnect.py -- a whole fleet that comes back at once: passwords whose hashes are
# dear are computed once, everybody gets in, and who is connected stays so.

import os
import tempfile

from broker import equal, run, test, true
from crowd import Crowd, Watcher, hashing_seconds, may_open, password_line
from mqtt import Client

ITERATIONS = 210000  # what causeway-passwd uses; about 70 ms
USERS = 50
PASSWORD = "opensesame"


def password_file():
    path = os.path.join(tempfile.mkdtemp(prefix="fleet-"), "passwd")
    with open(path, "w", encoding="ascii") as f:
        for i in range(USERS):
            f.write(password_line(f"fleet{i}", PASSWORD, ITERATIONS))
    return path


TEXT = f"""[broker]
workers = {os.environ.get("WORKERS", "2")}
[log]
connection_messages = false
[auth]
password_file = {password_file()}
[listener a]
bind = 127.0.0.1:{{port}}
"""


def fleet(broker, count, users=USERS):
    return Crowd(broker.address, [(f"c{i}", f"fleet{i % users}", PASSWORD) for i in range(count)])


def one_hash(t):
    """The CPU seconds of one, by wrong passwords, which nobody remembers."""
    before = hashing_seconds(t.broker)
    for i in range(3):
        c = Client(t.broker.address, 5)
        c.login(f"wrong{i}", username="fleet0", password="wrong", reason=0x86)
        c.close()
    return (hashing_seconds(t.broker) - before) / 3


@test(text=TEXT + "# of a cold broker\n")
def a_fleet_that_nobody_knows_yet_costs_one_hash_for_each_user(t):
    one = one_hash(t)
    before = hashing_seconds(t.broker)
    crowd = fleet(t.broker, 400, 8)
    crowd.come(60)
    equal(crowd.answers, {0: 400}, "answers to CONNECT")
    count = (hashing_seconds(t.broker) - before) / one
    true(count < 20, f"{count:.0f} hashes for 8 users of 400 clients")
    crowd.vanish()


@test(text=TEXT)
def ten_thousand_clients_that_are_known_are_back_without_a_hash(t):  # mosq#2095
    clients = 2000 if t.broker.is_sanitized else 10000
    true(may_open(clients + 200), "this process may not open enough files")
    one = one_hash(t)
    watcher = Watcher(t.broker.address, "fleet0", PASSWORD)
    crowd = fleet(t.broker, clients)
    crowd.come(90)
    equal(crowd.answers, {0: clients}, "answers to the first CONNECT")
    before = hashing_seconds(t.broker)
    for _ in range(2):
        crowd.vanish()
        watcher.since()
        crowd.come(90)
        equal(crowd.answers, {0: clients}, "answers to CONNECT")
        true(watcher.since(), "who is connected gets no answers")
    count = (hashing_seconds(t.broker) - before) / one
    true(count < 5, f"{count:.0f} hashes for clients that were known")
    equal(watcher.end(), 0, "who was connected before")
    crowd.vanish()


run(text=TEXT)
