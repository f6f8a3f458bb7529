# tests/e2e/test_broken_brokers.py -- what other brokers were broken with, as far as no other file
# sends it: from advisories, issues and commits of mosquitto (mosq), NanoMQ (nano), FlashMQ (fmq),
# EMQX, NATS and others.
#
# The number of a hole stands at the test that sends it: `grep -rn CVE-2019-11779 tests`.
# What cannot be sent here, and what comes nearest to it:
#   CVE-2017-7655, CVE-2024-10525  a hole of a client library; here only links dial: what a peer
#                  sends them is cut, changed and made up in tests/core/mqtt, tests/link, tests/fuzz
#   CVE-2024-3935  bridges that rename topics; links carry topics as they are
#   CVE-2021-46434, EMQX 6.2.2 (secrets in the API), nano (REST URI parser)  there is no dashboard
#                  and no REST; unknown users are tested in tests/net/test_auth.c, the only reader
#                  of HTTP requests in tests/net/test_ws_http.c, that of answers in
#                  tests/net/test_http_answer.c
#   EMQX 6.2.2 (gateways without authorization)  there are none
#   CVE-2017-9868, mosq#3702  a file of sessions and messages; there is none. What is left of them:
#                  who may read the log, and a start that fails when half is done, both below
#   CVE-2025-59947, CVE-2024-25767, nano (WebSocket length reset, conn_param freed twice)  faults
#                  within one transport that any traffic may meet: connections that end at any
#                  moment, below and in test_hostile.py

import itertools
import os
import random
import re
import signal
import socket
import stat
import struct
import subprocess

import mqtt
from broker import Broker, Failure, equal, free_port, run, seconds_until, test, true
from mqtt import (CONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, Client,
                  Closed, ack, block, connect, frame, one_property, publish, subscribe, text)
from secure import Files, at, reload

MB = 1 << 20
KEEP = {"session_expiry": 60}


def still_serves(t, broker=None):
    c = t.connect(5, client_id="", broker=broker)
    c.subscribe(t.topic("alive"), 1)
    c.publish(t.topic("alive"), b"x", 1)
    c.message(payload=b"x")
    c.logout()


def with_rules(t, files):
    """A broker of this test alone that judges by `acl`; names are believed."""
    return t.other(text=f"[broker]\nworkers = {os.environ.get('WORKERS', '2')}\n"
                        f"[auth]\nacl_file = {files.path('acl')}\n"
                        "[listener a]\nbind = 127.0.0.1:{port}\n")


def named(t, broker, name, version=5, client_id=None, **rest):
    c = at(t, 0, version, broker=broker)
    return c.login(client_id or t.new_id(name), username=name, **rest)


def judged_anew(broker, files, rules, probe):
    """Changes the rules; every worker takes them in its next turn."""
    files.write("acl", rules)
    reload(broker)
    seconds_until("the new rules are in use", probe)


# ---- places held by the silent ----

@test(slow=True, limits={"max_keepalive": "1s"}, listener={"max_connections": 24})
def the_silent_do_not_keep_their_places(t):  # CVE-2020-13849
    held = []
    for asked in (0, 65535, 3600) * 8:
        c = t.connect(5, keepalive=asked)
        equal(c.connack.get("server_keep_alive"), 1, f"told when {asked} was asked")
        held.append(c)

    def fits():
        c = Client(t.broker.address, 5)
        try:
            c.login(t.new_id(), keepalive=1)
            return True
        except Failure:
            return False
        finally:
            c.close()

    true(not fits(), "there are more places than 24")
    seconds_until("the places are free again", fits, 6)
    for c in held:
        c.closed(0x8D)
    for version, asked in itertools.product((3, 4), (0, 2, 65535)):
        c = t.raw(version)
        c.send(connect(version, t.new_id(), keepalive=asked))
        c.refused(0, 2, 3, 5)  # MQTT 3 cannot be told of another keep alive


# ---- rights that are taken away ----

@test(versions=(3, 4, 5))
def rights_taken_away_hold_for_a_kept_subscription(t, v):  # CVE-2021-34434
    files = Files(acl="user alice\ntopic readwrite #\nuser bob\ntopic read #\n")
    b = with_rules(t, files)
    alice = named(t, b, "alice")
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    carol = named(t, b, "bob", v, "carol", clean=False, props=KEEP)
    for c in (bob, carol):
        c.subscribe([("secret/#", 2), ("open/#", 1)])
    alice.publish("secret/a", b"may be read", 1)
    bob.message(topic="secret/a"), carol.message(topic="secret/a")
    bob.drop()
    judged_anew(b, files, "user alice\ntopic readwrite #\ntopic write new\nuser bob\n"
                          "topic read open/#\n", lambda: unread(alice, carol))
    for qos in (0, 1, 2):
        alice.publish("secret/b", b"may not be read", qos)
    alice.publish("open/a", b"last", 1)
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    for c in (bob, carol):
        equal([(p.topic, p.payload) for p in t.settled(c) if p.payload], [("open/a", b"last")])
    # Nor does it come by another road.
    bob.subscribe([("#", 2), ("secret/b", 2), ("+/b", 1)])
    alice.publish("secret/b", b"kept", 2, retain=True)
    bob.subscribe([("#", 2), ("secret/b", 2), ("+/b", 1)])
    equal([p.topic for p in t.settled(bob) if p.topic != "open/a"], [])


def unread(alice, reader):
    """Whether the reader gets nothing any more of what alice says under secret/."""
    alice.publish("secret/probe", b"", 1)
    alice.publish("open/probe", b"", 1)
    came = []
    while "open/probe" not in came:
        came.append(reader.message().topic)
    return came == ["open/probe"]


@test(versions=(4, 5))
def a_deny_holds_for_retained_and_repeated_messages(t, v):  # NATS secnote-2026-26
    files = Files(acl="user alice\ntopic readwrite #\n"
                      "user bob\ntopic read a/#\ntopic deny a/secret/#\n")
    b = with_rules(t, files)
    alice = named(t, b, "alice")
    for topic in ("a/secret/x", "a/open/x", "a/secret"):
        for qos in (0, 1, 2):
            alice.publish(topic, topic, qos, retain=True)
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    filters = [("a/#", 2), ("a/+/x", 1), ("a/secret/x", 2), ("#", 2), ("a/secret", 1)]
    bob.subscribe(filters)
    equal({p.topic for p in t.settled(bob)}, {"a/open/x"})
    bob.drop()
    for i in range(20):
        for topic in ("a/secret/x", "a/open/x"):
            alice.publish(topic, b"%d" % i, 1 + i % 2)
    # Taken over twice before anything is acknowledged, so that all is sent again.
    for _ in range(2):
        bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
        bob.recv(1.0, quiet=True)
        bob.drop()
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    bob.subscribe(filters)
    equal({p.topic for p in t.settled(bob)}, {"a/open/x"})


@test(versions=(4, 5))
def a_qos_2_message_under_way_is_judged_when_it_is_resumed(t, v):  # mosquitto 2.0.12
    """PUBLISH is judged when it comes; one that comes again is judged again, and what was refused
    does not come to life by its PUBREL."""
    files = Files(acl="user alice\ntopic readwrite #\nuser bob\ntopic readwrite b/#\n")
    b = with_rules(t, files)
    alice = named(t, b, "alice")
    alice.subscribe("#", 2)
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    for pid, topic in ((1, "b/1"), (2, "a/refused")):
        bob.send(publish(v, topic, b"first", 2, pid=pid))
        bob.expect(PUBREC, pid=pid)
    alice.message(topic="b/1")
    bob.close()
    probe = named(t, b, "bob", v)
    judged_anew(b, files, "user alice\ntopic readwrite #\nuser bob\ntopic read #\n",
                lambda: refused_now(alice, probe))
    bob = named(t, b, "bob", v, "bob", clean=False, props=KEEP)
    for pid, topic in ((1, "b/1"), (2, "a/refused"), (3, "b/2")):
        bob.send(publish(v, topic, b"again", 2, dup=pid < 3, pid=pid))
        bob.expect(PUBREC, pid=pid)
    for pid in (1, 2, 3):
        bob.send(ack(PUBREL, pid))
        bob.expect(PUBCOMP, pid=pid)
    equal([p.topic for p in t.settled(alice)], [])


def refused_now(alice, bob):
    """Whether what bob says is delivered no more; takes what still was."""
    bob.publish("b/probe", b"", 1)
    alice.publish("c/probe", b"", 1)
    came = []
    while "c/probe" not in came:
        came.append(alice.message().topic)
    return came == ["c/probe"]


@test
def a_qos_2_message_keeps_qos_and_retain_across_a_resumed_session(t):  # NATS 5e645df4c
    for v in (3, 4, 5):
        topic = t.topic(f"v{v}")
        sub = t.subscriber(topic, 2)
        pub = t.connect(v, clean=False, props=KEEP)
        pub.send(publish(v, topic, b"once", 2, retain=True, pid=9))
        pub.expect(PUBREC, pid=9)
        pub.drop()
        pub = t.connect(v, client_id=pub.id, clean=False, props=KEEP)
        pub.send(publish(v, topic, b"once", 2, retain=True, dup=True, pid=9))
        pub.expect(PUBREC, pid=9)
        pub.send(ack(PUBREL, 9))
        pub.expect(PUBCOMP, pid=9)
        equal([(p.payload, p.qos) for p in t.settled(sub)], [(b"once", 2)])
        late = t.subscriber(topic, 2)
        p = late.message(payload=b"once")
        equal((p.qos, p.retain), (2, True), "kept message")


@test
def a_kept_message_is_delivered_at_the_qos_of_a_wildcard(t):  # EMQX 6.2.2
    pub = t.connect(5)
    for qos in (0, 1, 2):
        pub.publish(t.topic(f"q{qos}"), b"x", qos, retain=True)
    for granted, filter_ in itertools.product((0, 1, 2), ("+", "#")):
        sub = t.subscriber(t.topic(filter_), granted)
        equal(sorted((p.topic, p.qos) for p in t.settled(sub)),
              [(t.topic(f"q{qos}"), min(qos, granted)) for qos in (0, 1, 2)])


# ---- session and client id ----

@test(versions=(3, 4, 5))
def a_second_client_with_the_id_gets_all_and_the_first_nothing(t, v):
    # codepr/sol#17, LabOverWire/mqtt-lib#147
    pub = t.connect(5)
    first = t.connect(v, client_id="victim")
    first.subscribe(t.topic(), 1)
    pub.publish(t.topic(), b"to the first", 1)
    second = t.connect(v, client_id="victim")
    first.message(payload=b"to the first")
    first.closed(0x8E)
    second.subscribe(t.topic(), 1)
    for i in range(50):
        pub.publish(t.topic(), b"%d" % i, 1)
    equal([p.payload for p in second.messages(50)], [b"%d" % i for i in range(50)])
    for _ in range(20):  # while messages and acknowledgements are under way
        pub.send(*[publish(5, t.topic(), b"x", 1, pid=i + 1) for i in range(20)])
        c = t.raw(v)
        c.send(connect(v, "victim"), subscribe(v, 1, [(t.topic(), 1)]),
               *[ack(PUBACK, i) for i in range(1, 20)])
        for i in range(20):
            pub.reply(PUBACK, pid=i + 1)
    still_serves(t)


@test
def ids_that_are_nearly_the_same_have_sessions_of_their_own(t):  # NATS 0bb51511b
    """Sessions are found by the id itself, whatever hashes it is found by."""
    ids = [f"{t.base}-{i:x}" for i in range(2000)]
    for i, name in enumerate(ids):
        c = Client(t.broker.address, 4)
        c.send(connect(4, name, clean=False), subscribe(4, 1, [(t.topic(f"{i}/#"), 1)]))
        c.expect(mqtt.CONNACK, session_present=False)
        c.expect(SUBACK, pid=1)
        c.close()
    pub = t.connect(5)
    for i in range(0, len(ids), 40):
        pub.publish(t.topic(f"{i}/x"), ids[i], 1)
    for i in range(0, len(ids), 40):
        c = t.connect(4, client_id=ids[i], clean=False)
        c.message(topic=t.topic(f"{i}/x"), payload=ids[i].encode())
        equal(c.recv(0.0, quiet=True), None)
    for name in ids:
        c = Client(t.broker.address, 4)
        c.send(connect(4, name, clean=True))
        c.expect(mqtt.CONNACK)
        c.close()


@test(versions=(3, 4, 5))
def an_id_used_again_in_a_burst_is_a_message_each_time(t, v):  # NATS be176ed84
    sub, pub = t.subscriber(t.topic(), 2), t.connect(v)
    for i in range(0, 300, 100):
        pub.send(*[publish(v, t.topic(), b"%d" % (i + k), 1, pid=7) for k in range(100)])
        for _ in range(100):
            pub.reply(PUBACK, pid=7)
    equal([p.payload for p in sub.messages(300)], [b"%d" % i for i in range(300)])
    burst = b"".join(publish(v, t.topic(), b"two", 2, pid=7) + ack(PUBREL, 7) for _ in range(100))
    pub.send(burst)
    for _ in range(100):
        pub.expect(PUBREC, pid=7)
        pub.expect(PUBCOMP, pid=7)
    t.exactly(100, sub, pub)
    sub.send(*[ack(kind, 7) for kind in (PUBACK, PUBCOMP)] * 200)  # nor does a reader gain by it
    pub.publish(t.topic(), b"x", 1)
    sub.message(payload=b"x")


@test
def every_receive_maximum_is_kept(t):  # FlashMQ c5bdec0
    for most in (1, 2, 127, 128, 32767, 32768, 65535):
        sub = t.subscriber(t.topic(str(most)), 1, props={"receive_maximum": most})
        pub = t.connect(5)
        count = min(most, 20) + 5  # max_inflight_messages is 20
        for i in range(count):
            pub.publish(t.topic(str(most)), b"%d" % i, 1)
        waiting = [sub.message(ack=False) for _ in range(min(most, 20))]
        equal(sub.recv(0.05, quiet=True), None, f"more than {most} in flight")
        for p in waiting:
            sub.acknowledge(p)
        sub.messages(5)
    c = t.raw(5)
    c.send(connect(5, t.new_id(), props={"receive_maximum": 0}))
    c.refused(0, 0x82)


# ---- lengths ----

def connect_parts(v):
    """A CONNECT with everything, as the pieces that have a length of their own."""
    will = [("will_delay", 1), ("user", ("k", "v")), ("content_type", "c"),
            ("correlation_data", b"d"), ("response_topic", "r")]
    props = [("session_expiry", 1), ("user", ("key", "value")), ("topic_alias_maximum", 3)]
    head = text({3: "MQIsdp", 4: "MQTT", 5: "MQTT"}[v]) + bytes([v, 0xC6]) + b"\0\x3c"
    return [head, block(props) if v == 5 else b"", text("id"), block(will) if v == 5 else b"",
            text("w/t"), text("gone"), text("user"), text("pass")]


@test(versions=(3, 4, 5))
def every_length_of_a_connect_may_lie(t, v):
    # nano#1043, nano#1153, nano#1154, nano#1155, nano#1169, nano#1181, CVE-2023-29994,
    # CVE-2023-29995, CVE-2023-29996, CVE-2023-34488, CVE-2024-31036, CVE-2024-31040,
    # FlashMQ 5d21e6c, nano (get_utf8_str)
    whole = b"".join(connect_parts(v))
    before = t.broker.memory()
    for at_ in range(len(whole)):
        for lie in (b"\0\0", b"\0\1", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\xff\x7f",
                    b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x01"):
            body = whole[:at_] + lie + whole[at_ + 2:]
            c = Client(t.broker.address, v)
            c.send(frame(CONNECT, 0, body))
            c.close()
        c = Client(t.broker.address, v)
        c.send(frame(CONNECT, 0, whole[:at_]))
        true(c.sock.recv(1)[:1] in (b"", b"\x20"), f"cut at {at_}")
        c.close()
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 8 * MB, f"grown by {grown >> 10} KiB")


@test(versions=(3, 4, 5))
def every_length_of_other_packets_may_lie(t, v):
    # CVE-2023-33656, CVE-2023-33658, CVE-2023-33659, CVE-2023-33660, CVE-2024-31041,
    # CVE-2024-42646, CVE-2024-42647, CVE-2024-42648, CVE-2024-42649, CVE-2024-42650,
    # CVE-2024-42644, CVE-2024-50948, NATS 778a0c6c7, NATS 54e6bf274, nano (subscription ids)
    user = {"user": ("k", "v")}
    packets = [publish(v, "a/b", b"payload", 1, pid=3, props=user),
               publish(v, "a/b", b"", 0), publish(v, "a/b", b"p", 2, retain=True, pid=4),
               subscribe(v, 5, [("a/#", 1), ("$share/g/a", 2)], {"subscription_id": 9}),
               mqtt.unsubscribe(v, 6, ["a/#", "b"], user)]
    packets += [ack(kind, 7, *((0, user) if v == 5 else ()))
                for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)]
    for packet in packets:
        first, body = packet[:1], packet[2:]
        for at_ in range(len(body)):
            for lie in (b"\0\0", b"\xff\xff", b"\x80\0", b"\xff\x7f", b"\xff\xff\xff\xff\x7f"):
                c = Client(t.broker.address, v)
                c.send(connect(v, f"{t.base}-lie"),
                       first + mqtt.varint(len(body)) + body[:at_] + lie[:len(body) - at_] +
                       body[at_ + len(lie):], frame(PINGREQ, 0, b""))
                c.close()
        for announced in range(len(body)):  # shorter than the parts it must have
            c = Client(t.broker.address, v)
            c.send(connect(v, f"{t.base}-short"), first + mqtt.varint(announced), body)
            c.close()
    still_serves(t)


@test
def wrong_names_of_the_protocol_meet_real_traffic(t):  # nano#1165, CVE-2023-34494, CVE-2023-33657
    pub = t.connect(5)
    sub = t.subscriber(t.topic("#"), 1)
    user = [("user", ("k" * 50, "v" * 50))] * 3
    wrong = [frame(CONNECT, 0, text(name) + bytes([level]) + b"\xc2\0\x3c\0" + text("victim") +
                   text("u") + text("p"))
             for name, level in (("MQXT", 5), ("", 5), ("MQTT" * 99, 5), ("MQIsdp", 5),
                                 ("MQTT", 6), ("MQTT", 0), ("\0\0\0\0", 4))]
    for i in range(200):
        c = Client(t.broker.address, 5)
        c.send(wrong[i % len(wrong)] + publish(5, t.topic("x"), b"never", 1, pid=1) +
               subscribe(5, 2, [("#", 1)]))
        if i % 3 == 0:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pub.publish(t.topic("y"), b"%d" % i, 1, props=user)
        c.close()
    equal([p.payload for p in sub.messages(200)], [b"%d" % i for i in range(200)])
    t.nothing(sub, pub)


@test
def connects_that_are_refused_halfway_take_no_memory(t):  # CVE-2021-34431, CVE-2017-7654
    big = "x" * 3000
    bad = []
    for twice in ("session_expiry", "receive_maximum", "maximum_packet_size",
                  "topic_alias_maximum", "request_problem_info", "auth_method", "auth_data"):
        value = {"auth_method": big, "auth_data": big.encode()}.get(twice, 1)
        bad.append([("user", (big, big)), (twice, value), (twice, value)])
    bad += [[("auth_method", big)], [("auth_data", b"x" * 3000)], [("user", (big, big))] * 20 +
            [("receive_maximum", 0)], [("auth_method", "SCRAM-SHA-256"), ("auth_data", b"n,,")],
            [("topic_alias", 1)], [("content_type", big)], [("reason_string", big)]]
    will = {"topic": t.topic("w"), "payload": bytes(3000), "props": [("user", (big, big))]}

    def turn(i):
        c = Client(t.broker.address, 5)
        c.send(connect(5, f"{t.base}-{i % 3}", username=big, password=big, will=will,
                       props=bad[i % len(bad)]))
        c.refused(0, 0x81, 0x82, 0x8C)

    for i in range(150):
        turn(i)
    before = t.broker.memory()
    for i in range(1500):
        turn(i)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 4 * MB, f"grown by {grown >> 10} KiB")


@test
def properties_of_refused_packets_take_no_memory(t):  # nano#2270 (its six paths of errors)
    big = one_property("user", ("k" * 1000, "v" * 1000)) * 3
    half = b"\x26\0\5ab"
    bad = [publish(5, "a", b"x", 1, pid=0, props=big), publish(5, "a", b"x", 1, pid=1,
                                                               props=big + half),
           publish(5, "+", b"x", 1, pid=1, props=big), publish(5, "", b"x", 1, pid=1, props=big),
           subscribe(5, 0, [("a", 0)], big), subscribe(5, 1, [("a", 0)], big + half),
           subscribe(5, 1, [("a", 7)], big), subscribe(5, 1, [("a/#/b", 0)], big),
           subscribe(5, 1, [], big), mqtt.unsubscribe(5, 0, ["a"], big),
           mqtt.unsubscribe(5, 1, [], big), mqtt.unsubscribe(5, 1, ["a"], big + half),
           ack(PUBREC, 1, 0x77, big), ack(PUBREL, 1, 0, big + half), ack(PUBACK, 0, 0, big),
           mqtt.disconnect(5, 0x77, big), frame(15, 0, b"\x18" + block(big))]

    def turn(i):
        c = Client(t.broker.address, 5)
        c.send(connect(5, f"{t.base}-{i % 3}"), bad[i % len(bad)], frame(PINGREQ, 0, b""))
        c.expect(mqtt.CONNACK)
        try:
            while c.fill(0.2):
                c.buffer.clear()
        except Closed:
            pass
        c.close()

    for i in range(100):
        turn(i)
    before = t.broker.memory()
    for i in range(1000):
        turn(i)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 4 * MB, f"grown by {grown >> 10} KiB")


# ---- memory ----

@test
def packets_that_announce_much_and_bring_little_take_little(t):
    # CVE-2021-33175, CVE-2021-33176, CVE-2021-22116: one crafted packet made others take all memory
    before = t.broker.memory()
    clients = []
    for i in range(100):
        c = t.connect(5)
        much = b"\xff\xff\xff\x07"  # 16 MB, which is just allowed
        c.send((b"\x32", b"\x82", b"\xa2", b"\x3d")[i % 4] + much +
               (b"\xff\xff", b"\0\1\xff\xff\xff\x07", b"\0\1\x80\x80\x80\x01", b"\0\1a\0\1")[i % 4])
        clients.append(c)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 16 * MB, f"100 connections made the broker grow by {grown >> 10} KiB")


@test(limits={"max_queued_messages": 100, "max_outq_bytes": "64KB"})
def queues_of_readers_that_stop_are_bounded(t):  # CVE-2024-48077, FlashMQ 29e08f7
    stuck = [t.connect(5, receive_buffer=4096) for _ in range(10)]
    for i, c in enumerate(stuck):
        c.subscribe(t.topic(), i % 3)
    pub = t.connect(5)
    for _ in range(50):
        pub.publish(t.topic(), bytes(4000), 1)
    before = t.broker.memory()
    for _ in range(1500):
        pub.publish(t.topic(), bytes(4000), 1)
    # Each of them also asks, and does not read: its answers meet a full buffer.
    for c in stuck:
        c.sock.setblocking(False)
        try:
            for _ in range(100):
                c.sock.send(publish(5, t.topic("other"), b"x", 1, pid=1) * 50)
        except OSError:
            pass
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 24 * MB, f"grown by {grown >> 10} KiB")


# ---- kept messages ----

@test
def kept_messages_of_every_kind_come_back_or_not(t):  # CVE-2024-42645
    chance = random.Random(5)
    pub = t.connect(5)
    longest = (t.topic("") + "x" * 65535)[:65535]
    kinds = [(longest, b"x", {}), (t.topic("/"), b"", {}), (t.topic("//a//"), b"x", {}),
             (t.topic("empty"), b"", {"message_expiry": 0}), (t.topic("now"), b"x",
                                                              {"message_expiry": 0}),
             (t.topic("late"), b"x", {"message_expiry": 0xFFFFFFFF}),
             (t.topic("alias"), b"x", {"topic_alias": 1}),
             (t.topic("user"), b"x", [("user", ("", ""))] * 1000),
             ("$" + t.topic("dollar"), b"x", {}), ("$share" + t.base, b"x", {})]
    for topic, payload, props in kinds:
        for qos in (0, 1, 2):
            pub.publish(topic, payload, qos, retain=True, props=props)
    for _ in range(400):  # written, read and removed at once
        topic = t.topic(chance.choice(("a", "b", "a/b", "a//")))
        pub.send(publish(5, topic, chance.choice((b"", b"x", bytes(5000))), retain=True))
        if chance.random() < 0.2:
            c = t.raw(5)
            c.send(connect(5, ""), subscribe(5, 1, [(t.topic("#"), 2), (topic, 0)]))
            c.close()
    sub = t.subscriber(t.topic("#"), 2)
    found = {p.topic for p in t.settled(sub)}
    true({longest, t.topic("//a//"), t.topic("late"), t.topic("user")} <= found, f"{len(found)}")
    true(not found & {t.topic("/"), t.topic("empty"), t.topic("now")}, "what has gone came back")
    still_serves(t)


# ---- subscriptions that end at once with those who have them ----

@test
def filters_come_and_go_while_their_session_is_taken_over(t):
    # nano#1863, nano#2114, nano#2115, nano#2116, nano#2117, nano#2118, nano#2119 (CVE-2025-59946),
    # CVE-2024-42651, CVE-2024-42652, CVE-2024-42653, CVE-2024-42654, FlashMQ f4d807b, 59b5db3
    pubs = [t.connect(5) for _ in range(3)]
    for turn in range(150):
        for pub in pubs:
            pub.send(*[publish(5, t.topic(f"{turn % 5}/{k}"), b"x", k % 2, pid=k + 1)
                       for k in range(10)])
        c = Client(t.broker.address, 5)
        filters = [(t.topic(f"{k}/#"), 1) for k in range(5)] + [(t.topic("+/1"), 0)]
        shared = [(f"$share/g/{f}", q) for f, q in filters]
        c.send(connect(5, f"{t.base}-flap", clean=turn % 4 == 0, props={"session_expiry": 9}),
               subscribe(5, 1, filters + shared), subscribe(5, 2, filters),
               mqtt.unsubscribe(5, 3, [f for f, _ in filters[::2] + shared[::2]]))
        if turn % 3:
            t.clients.append(c)
        else:
            c.close()
        for pub in pubs:
            for k in (1, 3, 5, 7, 9):
                pub.reply(PUBACK, pid=k + 1)

    def stays():  # others may still be on their way
        try:
            t.connect(5, client_id=f"{t.base}-flap", clean=True).ping()
            return True
        except Failure:
            return False

    seconds_until("the last one stays", stays)
    still_serves(t)


@test
def system_topics_cannot_be_had_by_a_wildcard(t):  # CVE-2024-42655
    c = t.connect(5)
    c.subscribe(["+/broker/#", "#", "+/+/version", "$share/g/#", "$share/g/+/broker/version"])
    c.publish(t.topic(), b"x", 1)
    topics = {p.topic for p in t.settled(c)}
    equal({x for x in topics if x.startswith("$")}, set())
    true(t.topic() in topics, "the message of a client")


# ---- configuration ----

@test
def bounds_of_0_divide_nothing(t):  # CVE-2026-42209 (fmq#167)
    """Every number of the configuration as the least it may be: the broker starts and serves, or
    says which line is wrong."""
    sample = subprocess.run([os.environ["CAUSEWAY"], "--sample-config"], capture_output=True,
                            check=True).stdout.decode()
    section, least = None, {}
    for line in sample.split("\n"):
        if line.startswith("["):
            section = line
        found = re.match(r"#(\w+) = (auto|never|infinity|[0-9]+[A-Za-z]*)$", line)
        if found and section in ("[broker]", "[limits]", "[auth]"):
            least.setdefault(section, []).append(found.group(1))
    true(sum(len(keys) for keys in least.values()) > 30, f"keys found: {least}")
    files = Files(acl="topic readwrite #\n")
    for section, keys in least.items():
        for key in keys:
            for value in ("0", "1"):
                if (key, value) == ("max_sessions", "0"):
                    continue
                zero(t, files, section, key, value)


def zero(t, files, section, key, value):
    lines = f"{section}\n{key} = {value}\n[listener zero]\nbind = 127.0.0.1:{{port}}\n"
    status = subprocess.run(
        [os.environ["CAUSEWAY"], "-t", "-c", files.write("conf", lines.replace(
            "{port}", str(free_port())))], capture_output=True, check=False)
    true(status.returncode in (0, 1), f"{section} {key} = {value}: {status}")
    if status.returncode:
        true(b"conf:2: " in status.stderr, f"{key} = {value}: {status.stderr}")
        return
    b = Broker(text=lines)
    try:
        c = Client(b.address, 5)
        c.send(connect(5, "zero"), subscribe(5, 1, [("a", 1)]),
               publish(5, "a", b"x", 1, retain=True, pid=1), frame(PINGREQ, 0, b""))
        try:
            packet = c.recv(0.3, quiet=True)
            while packet and packet.kind != PINGRESP:
                packet = c.recv(0.3, quiet=True)
        except Failure:
            pass
        c.close()
        true(b.is_alive(), f"{key} = {value}: the broker is gone: {b.said()[-500:]}")
    finally:
        b.stop()


# ---- start and files ----

@test
def a_start_that_fails_halfway_ends_cleanly(t):  # mosq#3702
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        files = Files(conf=f"[listener a]\nbind = 127.0.0.1:{free_port()}\n"
                           f"[listener b]\nbind = 127.0.0.1:{taken.getsockname()[1]}\n")
        ended = subprocess.run([os.environ["CAUSEWAY"], "-c", files.path("conf")],
                               capture_output=True, check=False, timeout=30)
    equal(ended.returncode, 1, ended.stderr.decode())
    true(b"in use" in ended.stderr and b"Sanitizer" not in ended.stderr, ended.stderr.decode())


@test
def what_the_broker_writes_is_not_for_everybody(t):  # CVE-2017-9868
    files = Files(conf="")
    log = files.path("broker.log")
    files.write("conf", f"[log]\nlog_dest = file {log}\n[listener a]\n"
                        f"bind = 127.0.0.1:{free_port()}\n")
    with subprocess.Popen([os.environ["CAUSEWAY"], "-c", files.path("conf")], cwd=files.folder,
                          preexec_fn=lambda: os.umask(0)) as p:
        seconds_until("it has written", lambda: os.path.exists(log) and os.path.getsize(log))
        p.send_signal(signal.SIGTERM)
        equal(p.wait(20), 0)
    for name in os.listdir(files.folder):
        if name != "conf":
            mode = stat.S_IMODE(os.stat(files.path(name)).st_mode)
            equal(mode & 0o027, 0, f"{name} has {mode:o}: others")


@test
def a_listener_without_websocket_takes_no_upgrade_and_lives(t):  # NATS dc6827ade
    request = (b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
               b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
    for data in (request, request + b"\x82\x80\1\2\3\4", request * 50):
        c = t.raw(5)
        c.send(data)
        c.refused(0)
    still_serves(t)


run()
