# tests/e2e/test_fail2ban.py -- every failed login is one line that the filters for fail2ban in
# tools/doc/hardening.md find, with its address and no other, and nothing else is found by them.

import ipaddress
import os
import re

import mqtt
from broker import equal, run, seconds_until, test, true
from mqtt import Client, Closed, connect
from secure import Files

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "..", "tools", "doc", "hardening.md"), encoding="utf-8") as page:
    PAGE = page.read()
# What fail2ban puts in for <HOST>: an IPv4 or IPv6 address, which may stand in brackets, or a name.
HOST = r"(?:\[?(?P<ip%d>\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]?|(?P<dns%d>[\w.^-]*\w))"


def filters():
    """The lists of expressions of the page, as in its order: of failures, of bans."""
    found = re.findall(r"^ +failregex = (.*\n(?: {10,}.*\n)*)", PAGE, re.M)
    lists = [[x.strip() for x in block.strip().split("\n")] for block in found]
    equal([len(x) for x in lists], [2, 2], f"expressions of the page: {lists}")
    return [[re.compile(x.replace("<HOST>", HOST % (i, i))) for i, x in enumerate(block)]
            for block in lists]


FAILURES, BANS = filters()
FILES = Files()
FILES.hash("passwd", "alice", "secret", "-I", "101")


def config(form):
    return f"""[broker]
workers = {os.environ.get("WORKERS", "2")}
[log]
log_format = {form}
connection_messages = false
[auth]
password_file = {FILES.path("passwd")}
max_auth_failures = 6
[listener plain]
bind = 127.0.0.1:{{port}}
[listener balanced]
bind = 127.0.0.1:{{port2}}
proxy_protocol = on
"""


TEXT, JSON = config("text"), config("json")


def hosts(expressions, lines):
    """The address of each line that one of the expressions finds."""
    found = []
    for line in lines:
        hits = [m for m in (x.search(line) for x in expressions) if m]
        true(len(hits) <= 1, f"found by two: {line}")
        found += [next(v for v in m.groupdict().values() if v) for m in hits]
    return found


def attempt(t, source=None, number=0, version=5, client_id="", **rest):
    c = Client(("127.0.0.1", t.broker.ports[number]), version)
    if source:
        family = "TCP6" if ":" in source else "TCP4"
        c.sock.sendall(f"PROXY {family} {source} {source} 40000 1883\r\n".encode())
    c.send(connect(version, client_id, **rest))
    try:
        return c.recv().reason
    except Closed:
        return None
    finally:
        c.close()


class Lines:
    """What the broker has said since."""

    def __init__(self, t):
        self.broker = t.broker
        self.before = len(t.broker.said())

    def now(self):
        return self.broker.said()[self.before:].split("\n")[:-1]

    def with_word(self, word, count):
        seconds_until(f"{count} lines with {word}",
                      lambda: sum(word in x for x in self.now()) >= count)
        return self.now()


NAMES = ('x" peer=9.9.9.9:1 reason="not authorized"', 'x","peer":"9.9.9.9:1","reason":"not '
         'authorized"}', 'event="client refused" peer=9.9.9.9:1 reason="not authorized"',
         "\\", '\\" peer=9.9.9.9:1 reason=\\"not authorized\\"', "a=b", "é\u202e", "x" * 60000,
         "9.9.9.9", ' peer=9.9.9.9:1 reason="bad user name or password')


def each_failure_is_found(t):  # emq-dashboard#59, mosq#2329
    said, wanted = Lines(t), []
    for i, name in enumerate(NAMES):
        for source in (f"203.0.113.{i}", f"2001:db8:{i + 1:x}::7"):
            equal(attempt(t, source, 1, client_id=f"c{i}", username=name, password="x"), 0x86)
            equal(attempt(t, source, 1, 4, client_id=name[:9], username="alice", password=name), 4)
            equal(attempt(t, source, 1), 0x87)  # no name at all
            equal(attempt(t, source, 1, password=name), 0x87)
            wanted += [source] * 4
    lines = said.with_word("client refused", len(wanted))
    # (Lines of two workers may stand in another order.)
    equal(sorted(str(ipaddress.ip_address(x)) for x in hosts(FAILURES, lines)), sorted(wanted))
    true(not any("secret" in x for x in lines), "a password in the log")


def nothing_else_is_found(t):
    said = Lines(t)
    for name in NAMES:
        equal(attempt(t, "198.51.100.1", 1, client_id=name, username="alice", password="secret"), 0)
        # One that is in and breaks the protocol, or leaves in strange ways.
        c = Client(t.broker.address, 5).login(name, username="alice", password="secret")
        c.send(mqtt.publish(5, name[:1000].replace("#", ""), b"x", 1, pid=0))
        c.closed()
    attempt(t, "198.51.100.1", 1, 5, props={"auth_method": NAMES[0]})  # refused, but no guess
    said.with_word("client refused", 1)
    equal(hosts(FAILURES + BANS, said.now()), [])


def a_ban_is_found(t):
    for source in ("192.0.2.77", "2001:db8:99::1"):
        said = Lines(t)
        for i in range(6):
            attempt(t, source, 1, client_id=NAMES[i], username="alice", password="x")
        equal(hosts(BANS, said.with_word("address banned", 1)), [source])
        lines = said.now()
        for _ in range(3):
            equal(attempt(t, source, 1, username="alice", password="secret"), None)
        equal(hosts(BANS, said.now()), hosts(BANS, lines), "one line for a ban")


def in_form(function, form, text):
    def one(t):
        function(t)
    one.__name__ = f"{function.__name__}_in_{form}"
    test(text=text)(one)


for each in (each_failure_is_found, nothing_else_is_found, a_ban_is_found):
    in_form(each, "text", TEXT)
    in_form(each, "json", JSON)
run(text=TEXT)
