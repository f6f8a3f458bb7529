# tests/e2e/test_hostile.py -- what others have been broken with: the broker lives on, bounded.

import random
import socket
import struct
import time

from broker import Failure, equal, run, seconds_until, test, true
from mqtt import (CONNECT, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE,
                  UNSUBSCRIBE, Client, Closed, ack, block, connect, disconnect, frame,
                  one_property, publish, subscribe, text, unsubscribe, varint)

ALL = (3, 4, 5)
MB = 1 << 20


def still_serves(t):
    c = t.connect(5, client_id="")
    c.subscribe(t.topic("alive"), 1)
    c.publish(t.topic("alive"), b"x", 1)
    c.message(payload=b"x")
    c.logout()


def swallow(c, limit=0.5):
    """Reads until the broker closes or is silent."""
    try:
        while c.fill(limit):
            c.buffer.clear()
    except (Closed, OSError):
        return True
    return False


# ---- before CONNECT ----

@test
def a_huge_first_packet_takes_no_memory(t):  # CVE-2017-7651, CVE-2023-0809
    before = t.broker.memory()
    clients = []
    for i in range(200):
        c = t.raw(4)
        c.send((b"\x10", b"\x30", b"\x82", b"\x62")[i % 4] + b"\xff\xff\xff\x7f" + bytes(100))
        clients.append(c)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 16 * MB, f"200 connections made the broker grow by {grown >> 10} KiB")


@test
def a_connect_that_never_ends_is_cut_off(t):  # NATS 54b75d512
    before = t.broker.memory()
    clients = []
    for _ in range(20):
        c = t.raw(5)
        c.sock.setblocking(False)
        try:
            c.sock.send(b"\x10\xff\xff\x7f" + text("MQTT") + b"\x05\x02\0\0")  # 2 MB announced
            for _ in range(40):
                c.sock.send(bytes(50000))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        clients.append(c)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 16 * MB, f"grown by {grown >> 10} KiB")
    for c in clients:
        c.sock.setblocking(True)
        true(swallow(c, 3), "still open")


@test
def bytes_that_are_no_mqtt_are_refused(t):
    for junk in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
                 b"\0" * 100, b"\xff" * 100, b"SSH-2.0-x\r\n", b"\x10\x80\x80\x80\x80\x01",
                 b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"\x0d\x0a\x0d\x0a\0\r\nQUIT\n!\x11\0\x0c"):
        c = t.raw(4)
        c.send(junk)
        true(swallow(c, 3), f"{junk!r} leaves the connection open")


@test
def many_silent_connections_do_no_harm(t):
    before = t.broker.files_at_rest()
    clients = [t.raw(4) for _ in range(500)]
    still_serves(t)
    for c in clients:
        c.close()
    seconds_until("all are closed", lambda: t.broker.open_files() <= before + 1)


@test
def connections_that_are_reset_at_any_moment_are_cleaned_up(t):  # mosq PR#138
    before = t.broker.files_at_rest()
    whole = connect(5, t.new_id(), will={"topic": t.topic("w"), "payload": "x"}) \
        + subscribe(5, 1, [("#", 1)]) + publish(5, t.topic(), bytes(3000), 1, pid=3)
    chance = random.Random(1)
    for i in range(300):
        c = Client(t.broker.address, 5)
        c.send(whole[:chance.randrange(len(whole) + 1)])
        if i % 2:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    seconds_until("all are closed", lambda: t.broker.open_files() <= before)
    still_serves(t)


# ---- long and deep things ----

@test
def thousands_of_user_properties_are_read_in_linear_time(t):  # CVE-2021-41039
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1)
    took = []
    for count in (5000, 40000):
        props = one_property("user", ("k", "v")) * count
        began = time.monotonic()
        pub.publish(t.topic(), b"x", 1, props=props)
        equal(len(sub.message().props), count, "user properties")
        took.append(time.monotonic() - began)
    true(took[1] < 2.0, f"40,000 user properties took {took[1]:.2f} s")
    for _ in range(10):
        c = t.raw(5)
        c.send(connect(5, t.new_id(), props=one_property("user", ("k", "v")) * 15000))
        swallow(c, 0.05)
    still_serves(t)


@test(versions=ALL)
def tens_of_thousands_of_levels_are_refused(t, v):  # CVE-2019-11779, fmq#174
    deep = "/" * 65000
    c = t.connect()
    c.send(publish(v, deep, b"x"))
    c.closed(0x90, 0x81)
    c = t.connect()
    c.send(publish(v, deep, b"x", retain=True))
    c.closed(0x90, 0x81)
    for filter_ in (deep, "+/" * 32000 + "+", "+/" * 32000 + "#", "$share/g/" + deep):
        c = t.connect()
        c.send(subscribe(v, 1, [(filter_, 0)]))
        try:
            p = c.recv()
            true((p.reasons or [p.reason])[0] >= 0x80, f"{p}")
        except Closed:
            pass
        c = t.connect()
        c.send(unsubscribe(v, 1, [filter_]))
        swallow(c, 0.05)
    c = t.raw()
    c.send(connect(v, t.new_id(), will={"topic": deep, "payload": "x"}))
    c.refused(0, 0x81, 0x90, 2, 3, 5)
    still_serves(t)


@test
def as_many_levels_as_allowed_are_fine(t):
    topic = "/".join(["x"] * 200)
    subs = [t.subscriber(f, 1) for f in (topic, "/".join(["+"] * 200), "x/" * 198 + "x/#")]
    t.connect(5).publish(topic, b"x", 1)
    for sub in subs:
        sub.message(topic=topic)


@test
def filters_full_of_wildcards_match_in_bounded_time(t):
    sub = t.connect(5)
    chance = random.Random(2)
    filters = ["/".join(chance.choice(["+", "a"]) for _ in range(12)) for _ in range(4000)]
    filters = sorted(set(f for f in filters if f != "/".join("a" * 12)))
    for at in range(0, len(filters), 500):
        sub.subscribe(filters[at:at + 500])
    pub = t.connect(5)
    began = time.monotonic()
    for _ in range(20):
        pub.publish("/".join("a" * 12), b"x", 1)
    true(time.monotonic() - began < 3, "20 publishes take longer than 3 s")
    sub.close()


# ---- packets cut anywhere ----

def samples(v, t):
    """One good packet of each kind a client sends."""
    user = {"user": ("key", "value")}
    yield publish(v, t.topic(), b"payload", 0)
    yield publish(v, t.topic(), b"payload", 1, pid=1, props=[
        ("payload_format", 1), ("message_expiry", 9), ("content_type", "c"),
        ("response_topic", "r"), ("correlation_data", b"d"), ("topic_alias", 1)] + list(
            user.items()))
    yield publish(v, t.topic(), b"payload", 2, pid=2, retain=True)
    for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        yield ack(kind, 7, *((0, user) if v == 5 else ()))
    yield subscribe(v, 3, [(t.topic("#"), 1), ("$share/g/x", 0)],
                    {"subscription_id": 5, **user})
    yield unsubscribe(v, 4, [t.topic("#"), "b"], user)
    yield frame(PINGREQ, 0, b"")


@test(versions=ALL)
def packets_cut_at_any_byte_do_no_harm(t, v):  # CVE-2017-7655, CVE-2024-50948
    for packet in samples(v, t):
        body = packet[1 + len(varint(len(packet) - 2)):]
        for size in range(len(body)):
            c = t.connect(client_id=t.base)
            c.send(frame(packet[0] >> 4, packet[0] & 15, body[:size]), frame(PINGREQ, 0, b""))
            c.close()
    still_serves(t)


@test
def random_changes_of_good_packets_do_no_harm(t):
    chance = random.Random(3)
    for i in range(1500):
        v = ALL[i % 3]
        packets = list(samples(v, t)) + [disconnect(v)]
        stream = bytearray(b"".join(chance.sample(packets, 4)))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(stream))
            how = chance.randrange(3)
            if how == 0:
                stream[at] = chance.randrange(256)
            elif how == 1:
                del stream[at]
            else:
                stream.insert(at, chance.choice((0, 1, 127, 128, 255)))
        c = Client(t.broker.address, v)
        c.send(connect(v, f"{t.base}-{i % 50}", clean=i % 2 == 0,
                       props={"session_expiry": i % 3}), bytes(stream))
        if i % 10 == 0:
            swallow(c, 0.02)
        c.close()
        if i % 200 == 0:
            still_serves(t)
    still_serves(t)


@test
def random_changes_of_connect_do_no_harm(t):
    chance = random.Random(4)
    for i in range(1500):
        v = ALL[i % 3]
        good = connect(v, f"{t.base}-{i % 20}", username="user", password="pass", will={
            "topic": "w", "payload": "x", "qos": i % 3, "props": {"will_delay": 1}},
            props=[("session_expiry", 1), ("receive_maximum", 2), ("user", ("a", "b"))])
        stream = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            stream[chance.randrange(len(stream))] = chance.randrange(256)
        c = Client(t.broker.address, v)
        c.send(bytes(stream))
        c.close()
    still_serves(t)


@test
def lengths_that_lie_do_no_harm(t):  # CVE-2026-21888, nano#2270, CVE-2019-19307
    for packet in (
            frame(PUBLISH, 2, b"\0\4abcd\0"), frame(PUBLISH, 2, b"\0\4abcd"),
            frame(PUBLISH, 0, b"\0\4ab"), frame(PUBLISH, 0, b"\xff\xff"),
            frame(PUBLISH, 0, text("a") + b"\xff\xff\xff\x7f"),
            frame(PUBLISH, 0, text("a") + b"\x05\x26\0\1a\0"),
            frame(PUBLISH, 0, text("a") + b"\x03\x26\xff\xff"),
            frame(PUBLISH, 0, text("a") + b"\x02\x0b\xff"),
            frame(PUBLISH, 0, text("a") + b"\x06\x0b\xff\xff\xff\xff\x01"),
            frame(SUBSCRIBE, 2, b"\0\1\0\0\1"), frame(SUBSCRIBE, 2, b"\0\1\0\0\1a"),
            frame(SUBSCRIBE, 2, b"\0"), frame(UNSUBSCRIBE, 2, b"\0\1\0\0\2a"),
            frame(SUBSCRIBE, 2, b"\0\1\x06\x0b\xff\xff\xff\xff\x7f" + text("a") + b"\0"),
            frame(PUBACK, 0, b""), frame(PUBACK, 0, b"\0"), frame(PUBREL, 2, b"\0\1\0\xff\xff\xff"),
            b"\xe0\xff\xff\xff\xff\x01", b"\x30\x80\x80\x80\x80\x80\x80\x00"):
        c = t.connect(5)
        c.send(packet)
        c.closed(*(() if packet[0] == 0xE0 else (0x81, 0x82)))
    still_serves(t)


# ---- acknowledgements nobody asked for, ids used again ----

@test(versions=ALL)
def stray_acknowledgements_do_no_harm(t, v):
    c = t.connect()
    c.send(*[ack(kind, pid) for kind in (PUBACK, PUBCOMP) for pid in (1, 2, 65535)])
    for pid in (1, 65535):
        c.send(ack(PUBREL, pid))
        c.reply(PUBCOMP, pid=pid)
        c.send(ack(PUBREC, pid))
        c.reply(PUBREL, pid=pid)
    c.ping()
    for kind in (PUBACK, PUBREC, PUBCOMP):
        c = t.connect()
        c.send(ack(kind, 0))
        swallow(c, 0.05)
    still_serves(t)


@test(versions=ALL)
def one_id_sent_thousands_of_times_takes_no_memory(t, v):  # CVE-2023-28366
    c = t.connect()
    packet = publish(v, t.topic(), bytes(1000), 2, pid=7, dup=True)
    before = t.broker.memory()
    for _ in range(20):
        c.send(packet * 500)
        for _ in range(500):
            c.expect(PUBREC, pid=7)
    grown = t.broker.memory() - before
    true(grown < 8 * MB, f"grown by {grown >> 10} KiB")


@test(versions=(3, 4))
def ids_that_are_never_released_are_bounded(t, v):
    c = t.connect()
    before = t.broker.memory()
    for at in range(0, 65000, 1000):
        c.send(*[publish(v, t.topic(), b"x", 2, pid=at + i + 1) for i in range(1000)])
        if swallow(c, 0.01):
            break
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 32 * MB, f"grown by {grown >> 10} KiB")


# ---- subscriptions ----

@test
def subscriptions_come_and_go_without_leaks(t):  # CVE-2024-8376, mosq#1773
    c, pub = t.connect(5), t.connect(5)

    def turn(i):
        a, b = t.topic(f"{i % 7}"), t.topic(f"{i % 5}/#")
        c.subscribe([a, f"$share/g/{a}", b, f"$share/h/{b}"])
        pub.publish(a, b"x")
        c.unsubscribe([a, f"$share/h/{b}", f"$share/g/{a}", b, "never"])

    for i in range(200):
        turn(i)
    before = t.broker.memory()
    for i in range(2000):
        turn(i)
    grown = t.broker.memory() - before
    true(grown < 4 * MB, f"grown by {grown >> 10} KiB")


@test
def clients_come_and_go_without_leaks(t):
    def turn(i):
        c = Client(t.broker.address, ALL[i % 3])
        c.login(f"{t.base}-{i % 97}", keepalive=10,
                will={"topic": t.topic("w"), "payload": "x"})
        c.subscribe([t.topic(str(i % 13)), f"$share/g/{t.topic('+')}"], 1)
        c.publish(t.topic(str(i % 13)), b"x", 1)
        c.drop()

    for i in range(150):
        turn(i)
    files, memory = t.broker.files_at_rest(), t.broker.memory()
    for i in range(500):
        turn(i)
    seconds_until("all descriptors are closed", lambda: t.broker.open_files() <= files)
    grown = t.broker.memory() - memory
    true(grown < 4 * MB, f"grown by {grown >> 10} KiB")


@test
def unsubscribing_while_others_publish_does_no_harm(t):  # CVE-2025-59946
    pubs = [t.connect(4) for _ in range(4)]
    subs = [t.connect(5) for _ in range(4)]
    for turn in range(100):
        for pub in pubs:
            pub.send(*[publish(4, t.topic(str(i)), b"x") for i in range(10)])
        for i, sub in enumerate(subs):
            sub.send(subscribe(5, 2 * turn + 1, [(t.topic("+"), 0), (t.topic(str(i)), 0)]),
                     unsubscribe(5, 2 * turn + 2, [t.topic("+"), t.topic(str(i))]))
    for sub in subs:
        for _ in range(200):
            next_answer(sub)
    still_serves(t)


def next_answer(c):
    while c.recv().kind == PUBLISH:
        pass


@test
def names_with_wildcards_are_only_names(t):  # CVE-2017-7650
    for name in ("#", "+", "a/#", "$share/g/a", "$SYS/broker"):
        t.connect(5, client_id=name, username=name).ping()


@test
def the_link_topics_are_closed_to_clients_where_there_is_no_link(t):
    watch = t.connect(5)
    watch.subscribe(["$LINK/#", "$LINK/cluster/msg/x", "$LINK/cluster/resp/+/+"])
    c = t.connect(5)
    for topic in ("$LINK/cluster/route/x", "$LINK/cluster/msg/x", "$LINK/x", "$LINK/"):
        try:
            for qos in (0, 1, 2):
                reason = c.publish(topic, b"\x83\x74\0\0\0\0", qos)
                true(qos == 0 or reason >= 0x80 or reason == 0x10, f"0x{reason:02x}")
        except Failure:
            c = t.connect(5)
    t.nothing(watch, t.connect(5))


# ---- connections that do nothing ----

def idle_cost(t):
    began = t.broker.cpu_seconds()
    time.sleep(1.0)
    return t.broker.cpu_seconds() - began


@test
def idle_and_half_dead_connections_cost_nothing(t):  # CVE-2023-5632, mosq#1979
    for i in range(20):
        t.raw(4)  # never says anything
        c = t.raw(4)
        c.send(b"\x10\x20\0")
        c = t.connect(4)
        c.subscribe(t.topic(str(i)))
    reader = t.subscriber(t.topic("flood"), 0, receive_buffer=4096)
    pub = t.connect(5)
    for _ in range(500):
        pub.publish(t.topic("flood"), bytes(10000))
    pub.ping()
    time.sleep(0.3)
    cost = idle_cost(t)
    true(cost < 0.1, f"an idle broker used {cost:.2f} s of CPU in 1 s")
    reader.close()


@test
def tens_of_thousands_of_pings_are_answered(t):
    c = t.connect(4)
    for _ in range(20):
        c.send(frame(PINGREQ, 0, b"") * 1000)
        for _ in range(1000):
            c.expect(13)


@test
def a_thousand_clients_are_served(t):
    clients = [t.connect(ALL[i % 3]) for i in range(1000)]
    for i, c in enumerate(clients):
        c.send(subscribe(c.version, 1, [(t.topic(f"{i}"), 1), (t.topic("all"), 0)]))
    for c in clients:
        c.expect(9, pid=1)
    clients[0].publish(t.topic("all"), b"x")
    for i, c in enumerate(clients):
        c.message(topic=t.topic("all"))
        clients[(i + 1) % 1000].send(publish(clients[(i + 1) % 1000].version,
                                             t.topic(f"{i}"), b"y"))
    for i, c in enumerate(clients):
        c.message(topic=t.topic(f"{i}"))


@test(files=100)
def more_connections_than_files_do_no_harm(t):  # out of descriptors
    first = t.connect(5)
    clients = [Client(t.broker.address, 4) for _ in range(200)]
    first.ping()
    began = t.broker.cpu_seconds()
    time.sleep(0.5)
    cost = t.broker.cpu_seconds() - began
    true(cost < 0.2, f"out of descriptors, the broker used {cost:.2f} s of CPU in 0.5 s")
    first.ping()
    for c in clients:
        c.close()

    def serves():
        c = Client(t.broker.address, 4)
        try:
            c.login(t.new_id())
            return True
        except (Failure, OSError):
            return False
        finally:
            c.close()

    seconds_until("new clients are served again", serves)
    true("files" in t.broker.said(), "the log does not say what to raise")


@test
def a_storm_of_connects_of_one_id_ends_well(t):  # NATS flapper
    for i in range(300):
        c = Client(t.broker.address, ALL[i % 3])
        c.send(connect(c.version, "flapper", clean=i % 2 == 0, props={"session_expiry": 5},
                       will={"topic": t.topic("w"), "payload": "x"}),
               subscribe(c.version, 1, [(t.topic(), 1)]))
        if i % 3 == 0:
            c.close()
        else:
            t.clients.append(c)
    still_serves(t)
    last = t.connect(5, client_id="flapper")
    last.ping()


@test
def connects_with_wills_of_all_kinds_take_no_memory(t):  # CVE-2017-7654, CVE-2023-3592
    def turn(i):
        c = Client(t.broker.address, 5)
        bad = [("will_delay", 1), ("content_type", "x" * 200), ("user", ("a" * 100, "b" * 100)),
               ("response_topic", "r"), ("topic_alias", 1) if i % 2 else ("payload_format", 1)]
        c.send(connect(5, f"{t.base}-{i % 3}", username="u" * 100, password="p" * 100,
                       will={"topic": t.topic("w"), "payload": bytes(500), "props": bad}))
        swallow(c, 0.0)
        c.close()

    for i in range(200):
        turn(i)
    still_serves(t)
    before = t.broker.memory()
    for i in range(1500):
        turn(i)
    still_serves(t)
    grown = t.broker.memory() - before
    true(grown < 4 * MB, f"grown by {grown >> 10} KiB")


@test(slow=True, limits={"max_queued_messages": 2000})
def memory_comes_back_after_a_burst(t):  # mosq#711, mosq#2455
    sub = t.subscriber(t.topic(), 1, props={"session_expiry": 60})
    sub.drop()
    pub = t.connect(5)
    before = t.broker.memory()
    for _ in range(60):
        pub.publish(t.topic(), bytes(500000), 1)
    full = t.broker.memory()
    t.connect(5, client_id=sub.id, clean=True)

    def came_back():
        pub.publish(t.topic(), b"x" * 5000, 1)  # a little to do, as always
        return t.broker.memory() < before + (full - before) // 2

    if t.broker.is_sanitized:
        return
    try:
        seconds_until("memory came back", came_back, limit=20)
    except Failure as error:
        raise Failure(f"{error}: {before >> 20} MiB before, {full >> 20} full, "
                      f"{t.broker.memory() >> 20} after") from None


@test
def block_of_properties_may_be_empty_everywhere(t):
    c = t.connect(5)
    c.send(frame(PUBLISH, 0, text(t.topic()) + block(b"")), frame(PUBLISH, 0, text("a") + b"\0"))
    c.ping()
    c = t.raw(5)
    c.send(frame(CONNECT, 0, text("MQTT") + b"\5\2\0\x3c\0" + text("")))
    c.expect(2, reason=0)


run()
