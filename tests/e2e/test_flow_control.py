# tests/e2e/test_flow_control.py -- Receive Maximum in both directions, windows, slow readers.

from broker import equal, run, seconds_until, test, true
from mqtt import (PUBACK, PUBCOMP, PUBREC, PUBREL, Closed, Failure, ack, publish)

KEEP = {"session_expiry": 60}


@test
def no_more_than_the_receive_maximum_is_in_flight(t):  # [MQTT-3.3.4-9]; the client checks it
    pub = t.connect(5)
    for most in (1, 2, 3, 7):
        for qos in (1, 2):
            topic = t.topic(f"{most}/{qos}")
            sub = t.subscriber(topic, qos, props={"receive_maximum": most})
            for i in range(20):
                pub.publish(topic, str(i), qos)
            first = [sub.message(ack=False) for _ in range(most)]
            t.nothing(sub, pub)  # QoS 0 passes, no more of the others
            equal(sub.peak, most)
            for p in first:
                sub.acknowledge(p)
            equal([int(sub.message().payload) for _ in range(20 - most)],
                  list(range(most, 20)), "the rest in order")


@test
def one_acknowledgement_lets_one_message_go(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1, props={"receive_maximum": 2})
    for i in range(6):
        pub.publish(t.topic(), str(i), 1)
    window = [sub.message(ack=False), sub.message(ack=False)]
    for i in range(2, 6):
        sub.acknowledge(window.pop(1))  # not the oldest one
        window.append(sub.message(ack=False, payload=str(i)))
        t.nothing(sub, pub)


@test
def pubrec_does_not_open_the_window_but_pubcomp_does(t):  # 4.9
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 1})
    pub.publish(t.topic(), b"1", 2)
    pub.publish(t.topic(), b"2", 2)
    p = sub.message(ack=False)
    sub.send(ack(PUBREC, p.pid))
    sub.expect(PUBREL, pid=p.pid)
    t.nothing(sub, pub)
    sub.pubcomp(p.pid)
    sub.message(payload=b"2")


@test
def pubrec_with_an_error_opens_the_window(t):  # 4.9
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 1})
    for i in range(3):
        pub.publish(t.topic(), str(i), 2)
    for i in range(3):
        p = sub.message(ack=False, payload=str(i))
        del sub.in_flight[p.pid]
        sub.send(ack(PUBREC, p.pid, 0x80))


@test
def stray_acknowledgements_do_not_open_the_window(t):  # FlashMQ a88a01a, 54ec751
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 2})
    sub.send(*[ack(kind, pid) for kind in (PUBACK, PUBCOMP) for pid in (1, 2, 3, 500, 65535)])
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    first = [sub.message(ack=False) for _ in range(2)]
    taken = {p.pid for p in first}
    sub.send(*[ack(PUBACK, pid) for pid in range(1, 100) if pid not in taken])
    t.nothing(sub, pub)
    for p in first:
        sub.acknowledge(p)
    equal(len({sub.message().payload for _ in range(8)}), 8)


@test
def an_acknowledgement_of_the_wrong_kind_is_no_acknowledgement(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 1, **KEEP})
    pub.publish(t.topic(), b"1", 1)
    p = sub.message(ack=False)
    sub.send(ack(PUBCOMP, p.pid))
    try:
        sub.ping()
        t.nothing(sub, pub)
    except Failure:
        pass  # ending the connection is an answer too
    sub.drop() if sub.sock else None
    sub = t.connect(5, client_id=sub.id, clean=False, props=KEEP)
    sub.message(payload=b"1", dup=True)


@test
def qos_0_passes_a_closed_window(t):
    pub = t.connect(5)
    sub = t.subscriber([(t.topic("0"), 0), (t.topic("1"), 1)], props={"receive_maximum": 1})
    pub.publish(t.topic("1"), b"x", 1)
    pub.publish(t.topic("1"), b"y", 1)
    sub.message(ack=False)
    pub.publish(t.topic("0"), b"z", 1)
    sub.message(topic=t.topic("0"))


@test
def the_window_is_that_of_the_new_connection(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1, props={"receive_maximum": 10, **KEEP})
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    for _ in range(10):
        sub.message(ack=False)
    sub.drop()
    sub = t.connect(5, client_id=sub.id, clean=False, props={"receive_maximum": 2, **KEEP})
    first = [sub.message(ack=False) for _ in range(2)]
    t.nothing(sub, pub)
    for p in first:
        sub.acknowledge(p)
    equal([int(p.payload) for p in first] + [int(sub.message().payload) for _ in range(8)],
          list(range(10)))


@test
def older_clients_have_the_window_of_the_broker(t):  # max_inflight_messages
    pub = t.connect(5)
    for version in (3, 4):
        sub = t.subscriber(t.topic(str(version)), 1, version=version)
        for i in range(50):
            pub.publish(t.topic(str(version)), str(i), 1)
        first = [sub.message(ack=False) for _ in range(20)]
        t.nothing(sub, pub)
        for p in first:
            sub.acknowledge(p)
        equal([int(sub.message().payload) for _ in range(30)], list(range(20, 50)))


@test
def both_qos_share_the_window(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 3})
    for i in range(30):
        pub.publish(t.topic(), str(i), 1 + i % 2)
    found = [int(sub.message().payload) for _ in range(30)]
    equal(sorted(found), list(range(30)))
    equal(sub.peak, 3)


@test
def a_window_of_one_is_enough_for_many(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 1})
    for i in range(300):
        pub.publish(t.topic(), str(i), 1 + i % 2)
    for i in range(300):
        sub.message(payload=str(i))


# ---- the other direction ----

SMALL = {"limits": {"receive_maximum": 5}}


@test(**SMALL)
def the_receive_maximum_of_the_broker_is_told(t):
    equal(t.connect(5).connack.get("receive_maximum"), 5)


@test(**SMALL)
def a_client_may_use_the_whole_window(t):
    c = t.connect(5)
    for again in range(3):
        c.send(*[publish(5, t.topic(), b"x", 2, pid=i + 1) for i in range(5)])
        for i in range(5):
            c.expect(PUBREC, pid=i + 1)
        c.send(*[ack(PUBREL, i + 1) for i in range(5)])
        for i in range(5):
            c.expect(PUBCOMP, pid=i + 1)


@test(**SMALL)
def one_message_too_many_ends_the_connection(t):  # [MQTT-3.3.4-8], 4.9: 0x93
    c = t.connect(5)
    for i in range(5):
        c.send(publish(5, t.topic(), b"x", 2, pid=i + 1))
        c.expect(PUBREC, pid=i + 1)
    c.send(publish(5, t.topic(), b"x", 2, pid=6))
    c.closed(0x93)


@test(**SMALL)
def a_message_sent_again_is_not_one_more(t):
    c = t.connect(5)
    for i in range(5):
        c.send(publish(5, t.topic(), b"x", 2, pid=i + 1))
        c.expect(PUBREC, pid=i + 1)
    c.send(publish(5, t.topic(), b"x", 2, pid=3, dup=True))
    c.expect(PUBREC, pid=3)
    c.send(ack(PUBREL, 3))
    c.expect(PUBCOMP, pid=3)
    c.publish(t.topic(), b"x", 1)


@test(**SMALL)
def the_window_counts_across_connections(t):
    c = t.connect(5, props=KEEP)
    for i in range(5):
        c.send(publish(5, t.topic(), b"x", 2, pid=i + 1))
        c.expect(PUBREC, pid=i + 1)
    c.drop()
    c = t.connect(5, client_id=c.id, clean=False, props=KEEP)
    for i in range(5):
        c.send(ack(PUBREL, i + 1))
        c.expect(PUBCOMP, pid=i + 1, reason=0)
    c.publish(t.topic(), b"x", 2)


@test(**SMALL)
def subscribe_and_ping_are_not_in_the_window(t):
    c = t.connect(5)
    for i in range(5):
        c.send(publish(5, t.topic(), b"x", 2, pid=i + 1))
        c.expect(PUBREC, pid=i + 1)
    c.ping()
    c.last_pid = 100
    c.subscribe(t.topic("other"))
    c.publish(t.topic("other"), b"x", 0)
    c.message()


@test(**SMALL)
def a_window_full_of_stray_pubrels_stays_what_it_is(t):
    c = t.connect(5)
    c.send(*[ack(PUBREL, i) for i in range(10, 60)])
    for _ in range(50):
        c.expect(PUBCOMP, reason=0x92)
    for i in range(5):
        c.send(publish(5, t.topic(), b"x", 2, pid=i + 1))
        c.expect(PUBREC, pid=i + 1)
    c.send(publish(5, t.topic(), b"x", 2, pid=6))
    c.closed(0x93)


# ---- slow readers ----

@test
def a_reader_that_stops_does_not_stop_others(t):
    pub = t.connect(5)
    stopped = t.subscriber(t.topic(), 0, receive_buffer=4096)
    reader = t.subscriber(t.topic(), 0)
    for i in range(400):
        pub.publish(t.topic(), b"%06d" % i + bytes(20000), 0)
        reader.message(ack=False)
    pub.ping()
    stopped.close()


@test
def a_publisher_that_does_not_read_is_bounded(t):  # FlashMQ 29e08f7
    rude = t.connect(4, receive_buffer=4096)
    rude.sock.setblocking(False)
    block = publish(4, t.topic(), b"x", 1, pid=1) * 1000
    sent = 0
    before = t.broker.memory()
    try:
        for _ in range(200):
            sent += rude.sock.send(block)
    except (BlockingIOError, ConnectionResetError, BrokenPipeError):
        pass
    t.connect(5).ping()
    true(t.broker.memory() - before < 64 << 20, "memory grew without a bound")
    true(sent > 0, "nothing was sent")


@test
def acknowledgements_of_a_slow_reader_are_not_lost(t):
    c = t.connect(5, receive_buffer=4096)
    for at in range(0, 5000, 500):
        c.send(*[publish(5, t.topic(), b"x", 1, pid=i + 1) for i in range(at, at + 500)])
        for i in range(at, at + 500):
            c.expect(PUBACK, pid=i + 1)


@test
def a_slow_reader_gets_its_qos_1_messages_in_order(t):
    pub = t.connect(5)
    slow = t.subscriber(t.topic(), 1, receive_buffer=4096)
    for i in range(300):
        pub.publish(t.topic(), b"%06d" % i + bytes(30000), 1)
    for i in range(300):
        equal(int(slow.message().payload[:6]), i, "order")


@test
def a_large_message_reaches_a_slow_reader(t):
    pub = t.connect(5)
    for qos in (0, 1, 2):
        slow = t.subscriber(t.topic(str(qos)), qos, receive_buffer=4096)
        pub.publish(t.topic(str(qos)), bytes(900000), qos)
        equal(len(slow.message().payload), 900000)


@test
def a_message_of_many_megabytes_is_carried(t):
    pub, sub = t.connect(5), t.subscriber(t.topic(), 1)
    payload = bytes(range(256)) * (8 << 12)
    equal(pub.publish(t.topic(), payload, 1), 0)
    true(sub.message().payload == payload, "8 MiB were changed")


@test
def a_client_that_comes_and_goes_in_a_flood_gets_its_share(t):
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1, props={"receive_maximum": 5, **KEEP})
    seen = set()
    for i in range(200):
        pub.publish(t.topic(), str(i), 1)
    while len(seen) < 200:
        for _ in range(15):
            if len(seen) < 200:
                seen.add(int(sub.message().payload))
        sub.drop()
        sub = t.connect(5, client_id=sub.id, clean=False,
                        props={"receive_maximum": 5, **KEEP})
    seconds_until("only repeats are left", lambda: quiet(sub, seen))


def quiet(sub, seen):
    try:
        p = sub.recv(0.05, quiet=True)
    except Closed:
        return True
    if p is not None:
        true(int(p.payload) in seen, "a new message")
        sub.acknowledge(p)
    return p is None


run()
