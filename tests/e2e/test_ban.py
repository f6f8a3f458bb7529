# tests/e2e/test_ban.py -- who guesses passwords is not listened to for a while.

import base64
import hashlib
import os
import re
import socket
import tempfile
import time

from broker import Broker, main, seconds_until
from mqtt import Client, Closed, connect, equal, true

BAD, RATE = 0x86, 0x9F


def password_file(rounds=101):
    """alice has the password secret; cheap to compute."""
    salt = bytes(range(12))
    made = hashlib.pbkdf2_hmac("sha512", b"secret", salt, rounds, 64)
    path = os.path.join(tempfile.mkdtemp(prefix="ban-"), "passwd")
    with open(path, "w", encoding="ascii") as f:
        f.write("alice:$7$%d$%s$%s\n" % (rounds, base64.b64encode(salt).decode(),
                                          base64.b64encode(made).decode()))
    return path


def start(auth="", listener="", rounds=101):
    return Broker(text=f"""[broker]
workers = 2
sys_interval = 1s
[auth]
password_file = {password_file(rounds)}
max_auth_failures = 4
auth_ban_time = 60s
{auth}
[listener a]
bind = 127.0.0.1:{{port}}
{listener}
[listener admin]
bind = 127.0.0.1:{{port2}}
allow_anonymous = true
""")


def attempt(broker, password, client_id, source=None, version=5):
    """What a CONNECT is answered with: its reason; None: closed without a word."""
    client = Client(broker.address, version)
    try:
        if source:
            family = "TCP6" if ":" in source else "TCP4"
            client.send(f"PROXY {family} {source} {source} 4000 1883\r\n".encode())
        client.send(connect(version, client_id, username="alice", password=password))
        return client.recv().reason
    except Closed:
        return None
    finally:
        client.close()


def counted(broker, name):
    admin = Client(("127.0.0.1", broker.ports[1]), 5).login("admin")
    admin.subscribe(f"$SYS/broker/counters/{name}")
    value = int(admin.message().payload)
    admin.close()
    return value


def banned_lines(broker):
    return re.findall(r"event=\"(?:address|client) banned\".*", broker.said())


def an_address_is_banned_after_its_last_failure():  # mosq#2076
    broker = start(listener="proxy_protocol = on")
    for i in range(4):
        equal(attempt(broker, "wrong", f"g{i}", "203.0.113.7"), BAD)
    broker.says("address banned", "203.0.113.7")
    for i in range(3):
        equal(attempt(broker, "secret", f"g{i}", "203.0.113.7"), None, "the banned address")
    equal(attempt(broker, "secret", "other", "203.0.113.8"), 0, "its neighbour")
    lines = [line for line in banned_lines(broker) if "address banned" in line]
    equal(len(lines), 1, "lines")
    # what a filter of fail2ban would have
    equal(re.search(r'event="address banned" peer=(\S+)', lines[0]).group(1), "203.0.113.7")
    true(counted(broker, "denied_banned") >= 3, "the refused are counted")
    broker.stop()


def a_network_of_ipv6_is_banned_as_one():
    broker = start(listener="proxy_protocol = on")
    for i in range(4):
        equal(attempt(broker, "wrong", f"g{i}", f"2001:db8:0:7::{i + 1}"), BAD)
    broker.says("address banned")
    equal(attempt(broker, "secret", "x", "2001:db8:0:7:ffff::9"), None)
    equal(attempt(broker, "secret", "x", "2001:db8:0:8::1"), 0)
    broker.stop()


def a_socket_of_a_banned_address_is_closed_before_anything_is_read():
    broker = start(auth="auth_ban_exempt = 192.0.2.1")
    for i in range(4):
        equal(attempt(broker, "wrong", f"g{i}"), BAD)
    broker.says("address banned", "127.0.0.1")
    with socket.create_connection(broker.address, 5) as s:
        s.settimeout(5)
        equal(s.recv(1), b"", "the end, without a byte from us")
    broker.stop()


def connections_opened_before_the_ban_are_of_no_use():
    broker = start(auth="auth_ban_exempt = 192.0.2.1")
    early = [Client(broker.address, 5) for _ in range(6)]
    for i in range(4):
        equal(attempt(broker, "wrong", f"g{i}"), BAD)
    broker.says("address banned", "127.0.0.1")
    for i, client in enumerate(early):
        client.send(connect(5, f"e{i}", username="alice", password="secret"))
        try:
            equal(client.recv(), None, "an answer")
        except Closed:
            pass
    broker.stop()


def guesses_made_at_once_are_not_all_answered():
    broker = start(auth="auth_ban_exempt = 192.0.2.1\nauth_threads = 1", rounds=20000)
    many = [Client(broker.address, 5) for _ in range(12)]
    for i, client in enumerate(many[:-1]):
        client.send(connect(5, f"m{i}", username="alice", password="wrong"))
    time.sleep(0.05)  # one takes about 30 ms
    many[-1].send(connect(5, "last", username="alice", password="secret"))
    answers = []
    for client in many:
        try:
            answers.append(client.recv().reason)
        except Closed:
            answers.append(None)
    equal(answers[-1], None, "the right one, which came too late")
    true(4 <= answers.count(BAD) <= 6, str(answers))
    equal(answers.count(BAD) + answers.count(None), 12)
    broker.stop()


def loopback_is_exempt_but_not_its_client_ids():
    broker = start()
    for i in range(12):
        equal(attempt(broker, "wrong", f"g{i}"), BAD)
    equal(attempt(broker, "secret", "good"), 0)
    for _ in range(2):
        equal(attempt(broker, "wrong", "pump"), BAD)
    broker.says("client banned", "pump")
    equal(attempt(broker, "secret", "pump"), RATE, "the banned client")
    equal(attempt(broker, "secret", "pump", version=4), 3, "the same in MQTT 3")
    equal(attempt(broker, "secret", "pump2"), 0, "another one")
    equal(len(banned_lines(broker)), 1, "lines")
    broker.stop()


def guesses_at_one_client_id_made_at_once_are_not_all_answered():
    broker = start(auth="auth_threads = 1", rounds=20000)  # loopback is exempt
    many = [Client(broker.address, 5) for _ in range(10)]
    for client in many[:-1]:
        client.send(connect(5, "pump", username="alice", password="wrong"))
    time.sleep(0.05)  # one takes about 30 ms
    many[-1].send(connect(5, "pump", username="alice", password="secret"))
    answers = [client.recv().reason for client in many]
    equal(answers[-1], RATE, "the right one, which came too late")
    true(2 <= answers.count(BAD) <= 4, str(answers))
    equal(answers.count(BAD) + answers.count(RATE), 10)
    seconds_until("all are counted",
                  lambda: counted(broker, "denied_banned") == answers.count(RATE))
    broker.stop()


def one_device_does_not_ban_its_neighbours():
    broker = start(listener="proxy_protocol = on")
    for _ in range(2):
        equal(attempt(broker, "old", "device", "203.0.113.7"), BAD)
    broker.says("client banned", "203.0.113.7")
    for _ in range(20):
        equal(attempt(broker, "old", "device", "203.0.113.7"), RATE)
    equal(attempt(broker, "secret", "neighbour", "203.0.113.7"), 0)
    equal(attempt(broker, "secret", "device", "203.0.113.8"), 0, "nobody is locked out elsewhere")
    broker.stop()


def nobody_is_banned_where_it_is_off():
    broker = Broker(text=f"""[auth]
password_file = {password_file()}
auth_ban_time = 0
auth_ban_exempt = 192.0.2.1
[listener a]
bind = 127.0.0.1:{{port}}
""")
    for _ in range(30):
        equal(attempt(broker, "wrong", "g"), BAD)
    equal(attempt(broker, "secret", "g"), 0)
    broker.stop()


main([an_address_is_banned_after_its_last_failure, a_network_of_ipv6_is_banned_as_one,
      a_socket_of_a_banned_address_is_closed_before_anything_is_read,
      connections_opened_before_the_ban_are_of_no_use,
      guesses_made_at_once_are_not_all_answered,
      guesses_at_one_client_id_made_at_once_are_not_all_answered, loopback_is_exempt_but_not_its_client_ids,
      one_device_does_not_ban_its_neighbours, nobody_is_banned_where_it_is_off])
