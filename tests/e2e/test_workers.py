# tests/e2e/test_workers.py -- what must hold however many workers there are: 1, 2 and 7.

import threading

from broker import TESTS, Failure, equal, run, test, true
from mqtt import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, ack, publish, subscribe

VERSIONS = (3, 4, 5)
KEEP = {"session_expiry": 60}


def counts(*numbers):
    """A test once for each number of workers; its name says which."""
    def add(f):
        for n in numbers or (1, 2, 7):
            def one(t):
                f(t)
            one.__name__ = f"{f.__name__}_with_{n}_worker{'s' if n > 1 else ''}"
            TESTS.append((one, None, False, {"broker": {"workers": n}}))
        return f
    return add


@counts()
def every_pair_of_clients_talks(t):
    clients = [t.connect(VERSIONS[i % 3]) for i in range(21)]
    for i, c in enumerate(clients):
        c.subscribe(t.topic(f"{i}/+"), i % 3)
    for i, c in enumerate(clients):
        for to in range(21):
            c.publish(t.topic(f"{to}/{i}"), f"{i}", (i + to) % 3)
    for i, c in enumerate(clients):
        found = {}
        for _ in range(21):
            p = c.message()
            found[int(p.payload)] = p.qos
        equal(found, {n: min(i % 3, (i + n) % 3) for n in range(21)}, f"what client {i} got")


@counts()
def suback_means_subscribed_on_every_worker(t):
    pubs = [t.connect(5) for _ in range(7)]
    for i in range(60):
        sub = t.connect(5)
        sub.subscribe([t.topic(f"{i}/a"), t.topic(f"{i}/+/x"), f"+/{i}/{t.base}"])
        for n, pub in enumerate(pubs):
            pub.publish((t.topic(f"{i}/a"), t.topic(f"{i}/b/x"), f"q/{i}/{t.base}")[n % 3], b"x")
        for _ in pubs:
            sub.message()
        sub.close()


@counts()
def nothing_comes_after_unsuback(t):
    pubs = [t.connect(5) for _ in range(5)]
    c = t.connect(5)
    for i in range(40):
        c.subscribe(t.topic("#"))
        c.unsubscribe(t.topic("#"))
        for pub in pubs:
            pub.publish(t.topic(str(i)), b"late", 1)
    for pub in pubs:
        t.nothing(c, pub)


@counts()
def a_fan_out_reaches_everybody_in_order(t):
    subs = [t.subscriber(t.topic("#"), i % 3, version=VERSIONS[i % 3]) for i in range(30)]
    pub = t.connect(5)
    for i in range(50):
        pub.publish(t.topic("x"), str(i), 2)
    for sub in subs:
        equal([int(sub.message().payload) for _ in range(50)], list(range(50)))


@counts()
def many_publishers_keep_their_own_order(t):
    subs = [t.subscriber(t.topic("+"), 1, receive_buffer=1 << 16) for _ in range(3)]
    pubs = [t.connect(VERSIONS[i % 3]) for i in range(8)]
    for i, pub in enumerate(pubs):
        pub.send(*[publish(pub.version, t.topic(f"{i}"), f"{n}", 1, pid=n + 1)
                   for n in range(100)])
    for sub in subs:
        seen = {i: [] for i in range(8)}
        for _ in range(800):
            p = sub.message()
            seen[int(p.topic.rsplit("/", 1)[1])].append(int(p.payload))
        for i in range(8):
            equal(seen[i], list(range(100)), f"order of publisher {i}")
    for pub in pubs:
        for n in range(100):
            pub.expect(PUBACK, pid=n + 1)


@counts()
def sessions_are_resumed_and_taken_over(t):
    pub = t.connect(5)
    names = [f"{t.base}-{i}" for i in range(40)]
    for i, name in enumerate(names):
        c = t.connect(5, client_id=name, props=KEEP)
        c.subscribe(t.topic(str(i)), 1)
        c.drop()
    for i in range(40):
        pub.publish(t.topic(str(i)), b"1", 1)
    for i, name in enumerate(names):
        c = t.connect(5, client_id=name, clean=False, props=KEEP)
        equal(c.connack.session_present, True)
        p = c.message(ack=False, payload=b"1")
        new = t.connect(5, client_id=name, clean=False, props=KEEP)
        new.message(payload=b"1", pid=p.pid, dup=True)
        c.closed(0x8E)


@counts()
def qos_2_is_exactly_once_through_everything(t):
    sub = t.subscriber(t.topic("+"), 2, props=KEEP)
    pubs = [t.connect(5) for _ in range(4)]
    for i, pub in enumerate(pubs):
        for n in range(20):
            pub.send(publish(5, t.topic(str(i)), str(n), 2, pid=n + 1))
            pub.send(publish(5, t.topic(str(i)), str(n), 2, pid=n + 1, dup=True))
    for pub in pubs:
        for n in range(20):
            pub.expect(PUBREC, pid=n + 1)
            pub.expect(PUBREC, pid=n + 1)
            pub.send(ack(PUBREL, n + 1))
        for n in range(20):
            pub.expect(PUBCOMP, pid=n + 1)
    found = [(p.topic, p.payload) for p in (sub.message() for _ in range(80))]
    equal(len(set(found)), 80, "different messages")
    t.nothing(sub, pubs[0])


@counts()
def retained_messages_are_found_everywhere(t):
    pubs = [t.connect(5) for _ in range(5)]
    for i in range(200):
        pubs[i % 5].publish(t.topic(f"{i}/x"), str(i), 1, retain=True)
    for filter_, count in (("#", 200), ("+/x", 200), ("7/#", 1), ("7/x", 1), ("none", 0)):
        for _ in range(3):
            sub = t.subscriber(t.topic(filter_), 1)
            equal(len({sub.message(retain=True).topic for _ in range(count)}), count)
            t.nothing(sub, pubs[0])
    for i in range(200):
        pubs[i % 5].publish(t.topic(f"{i}/x"), b"", 1, retain=True)
    t.nothing(t.subscriber(t.topic("#")), pubs[1])


@counts()
def a_retained_value_is_never_older_than_a_live_one(t):
    pubs = [t.connect(5) for _ in range(2)]
    for i in range(60):
        pubs[i % 2].publish(t.topic(), str(i), 1, retain=True)
        sub = t.connect(5)
        sub.subscribe(t.topic() if i % 4 < 2 else t.topic("#"), 1)
        sub.message(payload=str(i), retain=True)
        sub.close()


@counts()
def groups_share_among_all_workers(t):
    pubs = [t.connect(5) for _ in range(3)]
    subs = [t.subscriber(f"$share/g/{t.topic('+')}", 1) for _ in range(10)]
    for n in range(100):
        pubs[n % 3].publish(t.topic(str(n)), str(n), 1)
    seen = []
    while len(seen) < 100:
        for sub in subs:
            while True:
                p = sub.recv(0.005, quiet=True)
                if p is None:
                    break
                sub.acknowledge(p)
                seen.append(int(p.payload))
    equal(sorted(seen), list(range(100)))


@counts()
def a_member_that_dies_loses_nothing(t):
    pub = t.connect(5)
    for turn in range(5):
        topic = t.topic(str(turn))
        subs = [t.subscriber(f"$share/g/{topic}", 1) for _ in range(4)]
        for n in range(20):
            pub.publish(topic, str(n), 1)
        for sub in subs[1:]:
            sub.drop()
        seen = []
        while len(set(seen)) < 20:
            seen.append(int(subs[0].message().payload))
        equal(sorted(seen), list(range(20)))
        subs[0].logout()


@counts()
def wills_reach_everybody(t):
    watches = [t.subscriber(t.topic("#"), 1) for _ in range(5)]
    clients = [t.connect(VERSIONS[i % 3], will={"topic": t.topic(str(i)), "payload": "x",
                                               "qos": 1}) for i in range(40)]
    for c in clients:
        c.close()
    for watch in watches:
        equal(len({watch.message().topic for _ in range(40)}), 40)


@counts()
def large_messages_cross_workers(t):
    subs = [t.subscriber(t.topic("+"), 1) for _ in range(8)]
    pubs = [t.connect(5) for _ in range(3)]
    for i, size in enumerate((511, 512, 513, 4096, 65536, 600000)):
        payload = bytes([i + 1]) * size
        pubs[i % 3].publish(t.topic(str(i)), payload, 1)
        for sub in subs:
            true(sub.message().payload == payload, f"{size} bytes were changed")


@counts()
def full_rings_park_publishers_and_lose_nothing(t):
    """More than the rings between workers hold, from several sides at once, to slow readers."""
    subs = [t.subscriber(t.topic(f"{i}/+"), 0, receive_buffer=1 << 17) for i in range(4)]
    pubs = [t.connect(5) for _ in range(4)]
    total = 1500
    wrong = []

    def write(n, pub):
        try:
            for at in range(0, total, 50):
                pub.send(*[publish(5, t.topic(f"{(n + k) % 4}/{n}"), b"%06d" % (at + k) + bytes(
                    100), 1, pid=at + k + 1) for k in range(50)])
                for k in range(50):
                    pub.expect(PUBACK, pid=at + k + 1)
        except Failure as error:
            wrong.append(error)

    def read(n, sub):
        try:
            last = {}
            for _ in range(total):
                p = sub.recv()
                true(p.kind == PUBLISH, str(p))
                number = int(p.payload[:6])
                true(number > last.get(p.topic, -1), f"{p.topic}: {number} after {last}")
                last[p.topic] = number
        except Failure as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=x) for x in enumerate(pubs)]
    threads += [threading.Thread(target=read, args=x) for x in enumerate(subs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    true(not wrong, "; ".join(map(str, wrong)))


@counts()
def clients_may_come_and_go_in_a_flood(t):  # FlashMQ f4d807b, 59b5db3
    pub = t.connect(5)
    topic = t.topic("flood")
    packet = publish(5, topic, b"x" * 50) * 20
    for i in range(60):
        pub.send(packet)
        c = t.raw(VERSIONS[i % 3])
        c.login(f"{t.base}-{i % 4}", clean=i % 2 == 0)
        c.send(subscribe(c.version, 1, [(t.topic("+"), i % 3), (topic, 0)]))
        if i % 3:
            c.close()
    pub.ping()
    last = t.subscriber(topic)
    pub.publish(topic, b"end", 1)
    while last.message().payload != b"end":
        pass


@test
def as_many_threads_as_configured(t):
    for workers in (1, 2, 7):
        b = t.other(broker={"workers": workers})
        if getattr(b, "pid", 0):
            threads = b.status("Threads")
            true(workers <= threads <= workers + 8, f"{threads} threads for {workers} workers")


run(broker={"workers": 1})
