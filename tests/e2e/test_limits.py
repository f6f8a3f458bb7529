# tests/e2e/test_limits.py -- every bound of the configuration: what is refused, kept or dropped.

import time

from broker import Failure, equal, run, seconds_until, test, true
from mqtt import Client, Closed, connect, publish, subscribe

KEEP = {"session_expiry": 60}


def limits(**keys):
    return {"limits": keys}


def waiting(t, sub, topic, payloads, qos=1):
    """What `sub` finds when it comes back after `payloads` were published."""
    sub.drop()
    pub = t.connect(5)
    for p in payloads:
        pub.publish(topic, p, qos)
    sub = t.connect(5, client_id=sub.id, clean=False, props=KEEP)
    return [p.payload for p in t.until_mark(sub, pub)]


# ---- sizes ----

PACKET = limits(max_packet_size="4KB", max_connect_size="2KB")


@test(**PACKET)
def the_maximum_packet_size_is_told_and_kept(t):  # 3.2.2.3.6
    c = t.connect(5)
    equal(c.connack.get("maximum_packet_size"), 4096)
    room = 4096 - len(publish(5, t.topic(), bytes(200), 1, pid=1)) + 200
    c.publish(t.topic(), bytes(room), 1)
    for version in (3, 4, 5):
        c = t.connect(version)
        c.send(publish(version, t.topic(), bytes(4096), 1, pid=1))
        c.closed(0x95)


@test(**PACKET)
def a_too_large_packet_is_refused_when_it_is_announced(t):
    for version in (3, 4, 5):
        c = t.connect(version)
        c.send(b"\x30\xff\xff\xff\x7f")
        c.closed(0x95)


@test(**PACKET)
def a_too_large_connect_is_refused(t):
    for version in (3, 4, 5):
        c = t.raw(version)
        c.send(connect(version, t.new_id(), will={"topic": "w", "payload": bytes(2048)}))
        c.refused(0, 0x95)
    t.connect(5, will={"topic": "w", "payload": bytes(1900)}).ping()


@test
def the_maximum_packet_size_of_a_client_is_kept(t):  # [MQTT-3.1.2-24], [MQTT-3.1.2-25]
    pub = t.connect(5)
    small = t.subscriber(t.topic(), 2, props={"maximum_packet_size": 200, "receive_maximum": 2})
    large = t.subscriber(t.topic(), 2)
    for i in range(4):
        for size in (300, 10):
            for qos in (0, 1, 2):
                pub.publish(t.topic(), bytes(size), qos)
    for _ in range(12):
        equal(len(small.message().payload), 10)
    t.nothing(small, pub)
    equal(sorted(len(large.message().payload) for _ in range(24)), [10] * 12 + [300] * 12)


@test
def a_message_just_as_large_as_allowed_is_sent(t):
    pub = t.connect(5)
    size = len(publish(5, t.topic(), bytes(100), 1, pid=1))
    for most, arrives in ((size, True), (size - 1, False)):
        sub = t.subscriber(t.topic(), 1, props={"maximum_packet_size": most})
        pub.publish(t.topic(), bytes(100), 1)
        equal(len(t.until_mark(sub, pub)), int(arrives), f"messages at {most} bytes")


@test
def no_packet_at_all_is_larger_than_the_client_allows(t):  # [MQTT-3.1.2-24]; the client checks
    for most in (5, 8, 15):  # even CONNACK may be too large: then the connection ends without it
        c = t.raw(5)
        try:
            c.login(t.new_id(), props={"maximum_packet_size": most})
            c.ping()
        except Closed:
            pass
    c = t.connect(5, props={"maximum_packet_size": 40})
    c.send(subscribe(5, 1, [(t.topic(str(i)), 0) for i in range(60)]))
    try:
        c.recv(0.2, quiet=True)
    except Closed:
        pass
    t.connect(5).ping()


@test
def a_too_large_retained_message_is_left_out(t):
    pub = t.connect(5)
    pub.publish(t.topic("large"), bytes(300), 1, retain=True)
    pub.publish(t.topic("small"), bytes(10), 1, retain=True)
    sub = t.subscriber(t.topic("#"), 1, props={"maximum_packet_size": 100})
    equal([p.topic for p in t.exactly(1, sub, pub)], [t.topic("small")])


@test(**limits(max_topic_levels=5))
def topics_have_no_more_levels_than_allowed(t):
    sub = t.subscriber("a/b/c/d/e", 1)
    c = t.connect(5)
    c.publish("a/b/c/d/e", b"x", 1)
    sub.message()
    equal(c.subscribe([("a/b/c/d/#", 0), ("a/b/c/d/e/#", 0), ("a/b/c/d/e/f", 0)]),
          [0, 0x8F, 0x8F])
    c.send(publish(5, "a/b/c/d/e/f", b"x"))
    c.closed(0x90)
    c = t.connect(4)
    equal(c.subscribe([("a/b/c/d/#", 0), ("a/b/c/d/e/f", 0)]), [0, 0x80])
    c.send(publish(4, "/////", b"x"))
    c.closed()


# ---- connections ----

@test(listener={"max_connections": 5})
def a_listener_takes_no_more_connections_than_allowed(t):
    clients = [t.connect(5) for _ in range(5)]
    one_more = Client(t.broker.address, 5)
    one_more.send(connect(5, t.new_id()))
    one_more.refused(0, 0x97, 0x9F, 0x89, 0x88)
    clients[0].ping()
    clients[0].drop()

    def fits():
        c = Client(t.broker.address, 5)
        try:
            c.login(t.new_id())
            return True
        except Failure:
            return False
        finally:
            c.close()
    seconds_until("a place is free again", fits)


TIMEOUT = limits(connect_timeout="1s")


@test(slow=True, **TIMEOUT)
def a_connection_without_connect_is_closed(t):  # NATS 54b75d512
    for first in (b"", b"\x10", connect(5, "x")[:-1]):
        c = t.raw(5)
        c.send(first)
        began = time.monotonic()
        c.closed()
        true(0.7 <= time.monotonic() - began <= 3, f"closed after {time.monotonic() - began:.2f} s")
        break
    late = [t.raw(5) for _ in range(3)]
    late[1].send(b"\x10")
    late[2].send(connect(5, "x")[:-1])
    for c in late:
        c.closed()


@test(slow=True, **TIMEOUT)
def single_bytes_do_not_put_the_timeout_off(t):
    c = t.raw(5)
    whole = connect(5, "x" * 60)
    began = time.monotonic()
    try:
        for byte in whole[:-1]:
            c.sock.send(bytes([byte]))
            if c.fill(0.1):
                raise Failure("answered too early")
    except (Closed, BrokenPipeError, ConnectionResetError):
        pass
    true(time.monotonic() - began < 3, "still open after 3 s")


@test(slow=True, **TIMEOUT)
def the_timeout_ends_with_connect(t):
    c = t.connect(5)
    time.sleep(1.6)
    c.ping()


# ---- keep alive ----

KEEPALIVE = limits(max_keepalive="10s")


@test(**KEEPALIVE)
def a_longer_keep_alive_is_lowered(t):  # [MQTT-3.2.2-21], CVE-2020-13849
    for asked, told in ((10, None), (5, None), (11, 10), (65535, 10), (0, 10)):
        equal(t.connect(5, keepalive=asked).connack.get("server_keep_alive"), told,
              f"server keep alive for {asked}")


@test(**KEEPALIVE)
def an_older_client_with_a_longer_keep_alive_is_refused(t):  # CVE-2020-13849
    for version in (3, 4):
        for asked in (11, 0):
            c = t.raw(version)
            c.send(connect(version, t.new_id(), keepalive=asked))
            c.refused(2)
        t.connect(version, keepalive=10).ping()


@test(slow=True, **limits(max_keepalive="1s"))
def the_keep_alive_of_the_server_is_the_one_that_counts(t):  # [MQTT-3.2.2-21], [MQTT-3.2.2-22]
    for asked in (0, 100):
        c = t.connect(5, keepalive=asked)
        equal(c.connack.get("server_keep_alive"), 1)
        c.closed(0x8D)


# ---- windows and queues ----

@test(**limits(max_inflight_messages=3))
def no_more_in_flight_than_allowed(t):
    pub = t.connect(5)
    for version in (3, 4, 5):
        sub = t.subscriber(t.topic(str(version)), 1, version=version)
        for i in range(10):
            pub.publish(t.topic(str(version)), str(i), 1)
        first = [sub.message(ack=False) for _ in range(3)]
        t.nothing(sub, pub)
        for p in first:
            sub.acknowledge(p)
        equal(len({sub.message().payload for _ in range(7)}), 7)


@test(**limits(max_queued_messages=5))
def a_full_queue_drops_the_new_message(t):  # queue_full = drop_new
    sub = t.subscriber(t.topic(), 1, props=KEEP)
    found = waiting(t, sub, t.topic(), [str(i) for i in range(12)])
    equal(found, [b"0", b"1", b"2", b"3", b"4"])


@test(**limits(max_queued_messages=5, queue_full="drop_old"))
def a_full_queue_may_drop_the_oldest_message(t):
    sub = t.subscriber(t.topic(), 1, props=KEEP)
    found = waiting(t, sub, t.topic(), [str(i) for i in range(12)])
    equal(found, [b"7", b"8", b"9", b"10", b"11"])


@test(**limits(max_queued_messages=5, queue_full="disconnect", max_inflight_messages=1))
def a_full_queue_may_end_the_connection(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1, props=KEEP)
    for i in range(12):
        pub.publish(t.topic(), str(i), 1)
    sub.closed(0x97)
    pub.ping()


@test(**limits(max_queued_messages=5, queue_full="drop_old", max_inflight_messages=1))
def dropping_the_oldest_spares_what_is_in_flight(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1)
    for i in range(12):
        pub.publish(t.topic(), str(i), 1)
    p = sub.message(ack=False, payload=b"0")
    sub.acknowledge(p)
    rest = [int(p.payload) for p in t.until_mark(sub, pub)]
    while not rest or rest[-1] != 11:
        rest.append(int(sub.message().payload))
    equal(rest, sorted(rest), "order")
    true(4 <= len(rest) <= 6, f"{rest} are left")


@test(**limits(max_queued_bytes="64KB", max_packet_size="32KB", max_connect_size="16KB"))
def the_bytes_of_a_queue_are_bounded(t):  # mosq#2455
    sub = t.subscriber(t.topic(), 1, props=KEEP)
    found = waiting(t, sub, t.topic(), [bytes(10000)] * 20)
    true(4 <= len(found) <= 6, f"{len(found)} of 20 messages of 10,000 bytes in 64 KB")


@test(**limits(queue_qos0_messages="true"))
def qos_0_may_wait_too(t):
    sub = t.subscriber(t.topic(), 1, props=KEEP)
    equal(waiting(t, sub, t.topic(), [b"1", b"2"], qos=0), [b"1", b"2"])


@test(**limits(upgrade_outgoing_qos="true"))
def the_qos_may_be_raised_to_that_of_the_subscription(t):
    sub = t.subscriber(t.topic(), 2)
    pub = t.connect(5)
    for qos in (0, 1, 2):
        pub.publish(t.topic(), b"x", qos)
        sub.message(qos=2)


@test(**limits(max_group_queued=5))
def a_group_without_connected_members_keeps_a_bounded_number(t):
    sub = t.subscriber(f"$share/g/{t.topic()}", 1, props=KEEP)
    sub.drop()
    pub = t.connect(5)
    for i in range(12):
        pub.publish(t.topic(), str(i), 1)
    sub = t.connect(5, client_id=sub.id, clean=False, props=KEEP)
    found = [int(p.payload) for p in t.until_mark(sub, pub)]
    while True:
        p = sub.recv(0.1, quiet=True)
        if p is None:
            break
        sub.acknowledge(p)
        found.append(int(p.payload))
    equal(found, [7, 8, 9, 10, 11], "at the bound the oldest is dropped")


# ---- counts ----

@test(**limits(max_subscriptions=5))
def a_session_has_no_more_subscriptions_than_allowed(t):
    for version in (3, 4, 5):
        c = t.connect(version)
        refused = 0x97 if version == 5 else 0x80
        equal(c.subscribe([t.topic(str(i)) for i in range(7)]), [0] * 5 + [refused] * 2)
        equal(c.subscribe(t.topic("0"), 1), [1], "one that is there already")
        c.unsubscribe(t.topic("0"))
        equal(c.subscribe([t.topic("8"), f"$share/g/{t.topic()}"]), [0, refused])


@test(**limits(max_retained=3))
def no_more_is_retained_than_allowed(t):
    live = t.subscriber(t.topic("#"), 1)
    pub = t.connect(5)
    for i in range(3):
        equal(pub.publish(t.topic(str(i)), b"x", 1, retain=True), 0)
    for i, qos in ((3, 1), (4, 2)):
        equal(pub.publish(t.topic(str(i)), b"x", qos, retain=True), 0, f"QoS {qos}: delivered")
    pub.publish(t.topic("5"), b"x", 0, retain=True)
    equal(len({live.message().topic for _ in range(6)}), 6, "messages delivered")
    equal(pub.publish(t.topic("0"), b"new", 1, retain=True), 0, "one that is kept already")
    # The workers count together, but one may not yet know of what another has just taken.
    kept = {p.topic for p in t.settled(t.subscriber(t.topic("#")))}
    true(3 <= len(kept) <= 4, f"kept: {kept}")
    for topic in kept:
        pub.publish(topic, b"", 1, retain=True)

    def fits_again():
        pub.publish(t.topic("6"), b"x", 1, retain=True)
        return t.topic("6") in {p.topic for p in t.settled(t.subscriber(t.topic("#")), 0.05)}

    seconds_until("there is room again", fits_again)


@test(**limits(max_retained_bytes="64KB"))
def the_bytes_of_all_retained_messages_are_bounded(t):  # fmq#169
    pub = t.connect(5)
    for i in range(12):
        pub.publish(t.topic(str(i)), bytes(10000), 1, retain=True)
    topics = [p.topic for p in t.settled(t.subscriber(t.topic("#")))]  # 5 to 6 of 10,000 bytes fit
    true(5 <= len(set(topics)) == len(topics) <= 6, f"{topics} are kept")


@test(**limits(max_topic_alias=2))
def the_topic_alias_maximum_is_that_of_the_configuration(t):
    c = t.connect(5)
    equal(c.connack.get("topic_alias_maximum"), 2)
    c.publish(t.topic(), b"x", 1, props={"topic_alias": 2})
    c.send(publish(5, t.topic(), b"x", props={"topic_alias": 3}))
    c.closed(0x94)


@test(**limits(max_topic_alias=0))
def topic_aliases_may_be_forbidden(t):
    c = t.connect(5)
    true(c.connack.get("topic_alias_maximum", 0) == 0, "topic_alias_maximum")
    c.send(publish(5, t.topic(), b"x", props={"topic_alias": 1}))
    c.closed(0x94)


# ---- what may be turned off ----

@test(**limits(max_qos=1))
def the_maximum_qos_is_told_and_kept(t):  # [MQTT-3.2.2-9..12]
    c = t.connect(5)
    equal(c.connack.get("maximum_qos"), 1)
    true(c.subscribe(t.topic(), 2)[0] in (0, 1, 2), "a SUBSCRIBE with a higher QoS is accepted")
    c.publish(t.topic(), b"x", 1)
    c.message(qos=1)
    c.send(publish(5, t.topic(), b"x", 2, pid=1))
    c.closed(0x9B)
    c = t.connect(4)
    c.send(publish(4, t.topic(), b"x", 2, pid=1))
    c.closed()
    c = t.raw(5)
    c.send(connect(5, t.new_id(), will={"topic": "w", "payload": "x", "qos": 2}))
    c.refused(0x9B)


@test(**limits(max_qos=0))
def the_maximum_qos_may_be_0(t):
    c = t.connect(5)
    equal(c.connack.get("maximum_qos"), 0)
    c.subscribe(t.topic(), 1)
    c.publish(t.topic(), b"x")
    c.message(qos=0)
    c.send(publish(5, t.topic(), b"x", 1, pid=1))
    c.closed(0x9B)


@test(**limits(retain_available="false"))
def retained_messages_may_be_forbidden(t):  # [MQTT-3.2.2-13], [MQTT-3.2.2-14]
    c = t.connect(5)
    equal(c.connack.get("retain_available"), 0)
    c.send(publish(5, t.topic(), b"x", 1, retain=True, pid=1))
    c.closed(0x9A)
    c = t.raw(5)
    c.send(connect(5, t.new_id(), will={"topic": "w", "payload": "x", "retain": True}))
    c.refused(0x9A)
    t.connect(5).publish(t.topic(), b"x", 1)


# ---- sessions ----

@test(**limits(persistent_client_expiration="2s"))
def a_shorter_session_expiry_is_told(t):  # 3.2.2.3.2
    for asked, told in ((10, 2), (0xFFFFFFFF, 2), (1, None), (2, None), (0, None)):
        c = t.connect(5, props={"session_expiry": asked})
        equal(c.connack.get("session_expiry"), told, f"session expiry for {asked}")


@test(slow=True, **limits(persistent_client_expiration="1s"))
def sessions_of_older_clients_end_too(t):
    names = []
    for version in (3, 4):
        c = t.connect(version, clean=False)
        names.append(c.id)
        c.drop()
    time.sleep(2.2)
    for name in names:
        equal(t.connect(4, client_id=name, clean=False).connack.session_present, False)


@test(broker={"workers": 1}, **limits(max_sessions=3))
def no_more_sessions_are_kept_than_allowed(t):
    names = []
    for _ in range(5):
        c = t.connect(5, props=KEEP)
        names.append(c.id)
        c.drop()
    kept = sum(t.connect(5, client_id=n, clean=False, props=KEEP).connack.session_present
               for n in names)
    equal(kept, 3, "sessions kept")


@test(**limits(memory_limit="16MB", max_retained_bytes="16MB", max_queued_bytes="16MB",
               max_packet_size="1MB"))
def the_memory_of_all_messages_is_bounded(t):  # mosq#888, moquette#141
    pub = t.connect(5)
    subs = [t.subscriber(t.topic(str(i)), 1, props=KEEP) for i in range(8)]
    for sub in subs:
        sub.drop()
    before = t.broker.memory()
    for i in range(320):
        try:
            pub.publish(t.topic(str(i % 8)), bytes(200000), 1)
        except Closed:  # the other worker is so far behind that a packet half come has no room
            pub = t.connect(5)
    grown = t.broker.memory() - before
    true(grown < 40 << 20, f"{grown >> 20} MiB for a limit of 16 MiB")
    got = 0
    for sub in subs:
        sub = t.connect(5, client_id=sub.id, clean=False, props=KEEP)
        got += len(t.settled(sub, 0.5))  # a mark would have no room either
    true(20 <= got <= 130, f"{got} of 320 messages were kept in 16 MiB")


@test(**limits(max_outq_bytes="64KB"))
def qos_0_to_a_slow_reader_is_dropped_at_the_bound(t):  # emqx#860, emqx#2048
    pub = t.connect(5)
    slow = t.subscriber([(t.topic("0"), 0), (t.topic("1"), 1)], receive_buffer=4096)
    for i in range(3000):
        pub.send(publish(5, t.topic("0"), bytes(5000)))
    pub.publish(t.topic("1"), b"end", 1)
    found = 0
    while slow.message().topic != t.topic("1"):
        found += 1
    true(0 < found < 3000, f"{found} of 3000 arrived")
    slow.ping()


run()
