# tests/e2e/test_session.py -- sessions: clean start, expiry, take-over, re-delivery.

import time

from broker import Failure, equal, run, seconds_until, test, true
from mqtt import (CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, ack, connect,
                  publish)

ALL = (3, 4, 5)
KEEP = {"session_expiry": 600}


def keep(v):
    """What makes a client of this version keep its session: with and without clean start."""
    return {"props": KEEP} if v == 5 else {}


def come(t, v, client_id, clean=False, **rest):
    return t.connect(v, client_id=client_id, clean=clean, **{**keep(v), **rest})


@test(versions=ALL)
def session_present_is_told(t, v):  # [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]
    name = t.new_id()
    c = come(t, v, name)
    equal(c.connack.session_present, False, "session present of a new client")
    c.logout()
    c = come(t, v, name)
    equal(c.connack.session_present, v != 3, "session present of a known client")
    c.logout()


@test(versions=ALL)
def clean_start_forgets_the_session(t, v):  # [MQTT-3.1.2-6], MQTT 5 [MQTT-3.1.2-4]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 1)
    c.logout()
    pub = t.connect(5)
    pub.publish(t.topic(), b"waiting", 1)
    c = come(t, v, name, clean=True)
    equal(c.connack.session_present, False)
    pub.publish(t.topic(), b"x", 1)
    t.nothing(c, pub)


@test(versions=(3, 4))
def a_clean_session_ends_with_its_connection(t, v):  # [MQTT-3.1.2-6]
    name = t.new_id()
    c = come(t, v, name, clean=True)
    c.subscribe(t.topic(), 1)
    c.drop()
    c = come(t, v, name)
    equal(c.connack.session_present, False)
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1)
    t.nothing(c, pub)


@test
def a_session_without_expiry_ends_with_its_connection(t):  # 3.1.2.11.2
    for props in (None, {"session_expiry": 0}):
        name = t.new_id()
        c = t.connect(5, client_id=name, clean=False, props=props)
        c.subscribe(t.topic(), 1)
        c.drop()
        c = t.connect(5, client_id=name, clean=False)
        equal(c.connack.session_present, False)


@test(versions=ALL)
def subscriptions_outlive_the_connection(t, v):  # [MQTT-3.1.2-4], MQTT 5 [MQTT-3.1.2-5]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe([(t.topic("a"), 0), (t.topic("b/+"), 2)])
    c.drop()
    c = come(t, v, name)
    pub = t.connect(5)
    pub.publish(t.topic("a"), b"1", 2)
    c.message(topic=t.topic("a"), qos=0)
    pub.publish(t.topic("b/c"), b"2", 2)
    c.message(topic=t.topic("b/c"), qos=2)
    c.unsubscribe(t.topic("a"))
    c.logout()
    c = come(t, v, name)
    pub.publish(t.topic("a"), b"3", 2)
    t.nothing(c, pub)


@test(versions=ALL)
def messages_wait_for_a_client_that_is_away(t, v):  # [MQTT-3.1.2-5], [MQTT-4.5.0-1]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 2)
    c.drop()
    pub = t.connect(5)
    for i in range(30):
        equal(pub.publish(t.topic(), str(i), 1 + i % 2), 0, "reason while away")
    c = come(t, v, name)
    for qos in (1, 2):
        found = []
    for i in range(30):
        p = c.message(dup=False)
        equal(p.qos, 1 + int(p.payload) % 2)
        found.append(int(p.payload))
    for qos in (0, 1):
        equal([n for n in found if n % 2 == qos], list(range(qos, 30, 2)), "order")
    t.nothing(c, pub)


@test(versions=ALL)
def qos_0_does_not_wait(t, v):
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe([(t.topic("0"), 0), (t.topic("1"), 1)])
    c.drop()
    pub = t.connect(5)
    pub.publish(t.topic("1"), b"at 0", 0)
    pub.publish(t.topic("0"), b"to 0", 1)
    c = come(t, v, name)
    t.nothing(c, pub)


@test(versions=ALL)
def unacknowledged_messages_come_again(t, v):  # [MQTT-4.4.0-1], [MQTT-3.3.1-1]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 2)
    pub = t.connect(5)
    for i in range(6):
        pub.publish(t.topic(), str(i), 1 + i % 2)
    first = [c.message(ack=False) for _ in range(6)]
    c.puback(first[2].pid)
    c.ping()
    c.drop()
    c = come(t, v, name)
    again = [c.message(ack=False) for _ in range(5)]
    equal([(p.payload, p.qos, p.pid, p.dup) for p in again],
          [(p.payload, p.qos, p.pid, True) for p in first if p is not first[2]],
          "re-delivery")  # [MQTT-4.6.0-1]
    for p in again:
        c.acknowledge(p)
    t.nothing(c, pub)


@test(versions=ALL)
def re_delivery_comes_before_what_waited(t, v):  # [MQTT-4.6.0-1], [MQTT-4.6.0-6]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 1)
    pub = t.connect(5)
    for i in range(5):
        pub.publish(t.topic(), str(i), 1)
    for _ in range(5):
        c.message(ack=False)
    c.drop()
    for i in range(5, 10):
        pub.publish(t.topic(), str(i), 1)
    c = come(t, v, name)
    equal([c.message().payload for _ in range(10)], [b"%d" % i for i in range(10)])
    t.nothing(c, pub)


@test(versions=ALL)
def order_holds_when_more_waits_than_may_be_in_flight(t, v):
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 1)
    c.drop()
    pub = t.connect(5)
    for i in range(200):
        pub.publish(t.topic(), str(i), 1)
    c = come(t, v, name)
    for i in range(50):
        c.message(payload=str(i))
    unacked = [c.message(ack=False) for _ in range(10)]
    c.ping()
    c.drop()
    for i in range(200, 220):
        pub.publish(t.topic(), str(i), 1)
    c = come(t, v, name)
    found = [int(c.message().payload) for _ in range(170)]
    equal(found, list(range(50, 220)), "order after coming back")
    equal([int(p.payload) for p in unacked], list(range(50, 60)))


@test(versions=ALL)
def qos_2_goes_on_with_pubrel(t, v):  # [MQTT-4.4.0-1]
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 2)
    pub = t.connect(5)
    pub.publish(t.topic(), b"one", 2)
    pub.publish(t.topic(), b"two", 2)
    one, two = c.message(ack=False), c.message(ack=False)
    c.send(ack(PUBREC, one.pid))
    c.expect(PUBREL, pid=one.pid)
    c.drop()
    c = come(t, v, name)
    got = [c.recv(), c.recv()]
    equal(sorted(p.kind for p in got), [PUBLISH, PUBREL], "what comes again")
    for p in got:
        equal(p.pid, one.pid if p.kind == PUBREL else two.pid)
        if p.kind == PUBLISH:
            equal((p.payload, p.dup, p.qos), (b"two", True, 2))
    c.pubcomp(one.pid)
    c.acknowledge(two)
    t.nothing(c, pub)
    c.drop()
    t.nothing(come(t, v, name), pub)


@test(versions=ALL)
def qos_2_from_the_client_is_once_across_connections(t, v):  # [MQTT-4.3.3-10], 4.4
    sub = t.subscriber(t.topic(), 2, version=5)
    name = t.new_id()
    c = come(t, v, name)
    c.send(publish(v, t.topic(), b"x", 2, pid=10))
    c.expect(PUBREC, pid=10)
    c.drop()
    c = come(t, v, name)
    c.send(publish(v, t.topic(), b"x", 2, pid=10, dup=True))
    c.expect(PUBREC, pid=10)
    c.send(ack(PUBREL, 10))
    c.expect(PUBCOMP, pid=10, reason=0)
    c.drop()
    c = come(t, v, name)
    c.send(publish(v, t.topic(), b"y", 2, pid=10))
    c.expect(PUBREC, pid=10)
    c.send(ack(PUBREL, 10))
    c.expect(PUBCOMP, pid=10)
    equal([p.payload for p in t.until_mark(sub, c)], [b"x", b"y"])


@test(versions=ALL)
def pubrel_is_answered_after_coming_back(t, v):
    name = t.new_id()
    c = come(t, v, name)
    c.send(publish(v, t.topic(), b"x", 2, pid=10))
    c.expect(PUBREC, pid=10)
    c.drop()
    c = come(t, v, name)
    c.send(ack(PUBREL, 10))
    c.expect(PUBCOMP, pid=10, reason=0)


@test(versions=ALL)
def nothing_is_sent_again_while_connected(t, v):  # MQTT 5 [MQTT-4.4.0-1]
    c = t.connect(**keep(v))
    c.subscribe(t.topic(), 2)
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1)
    pub.publish(t.topic(), b"x", 2)
    unacked = [c.message(ack=False) for _ in range(2)]
    c.ping()
    t.nothing(c, pub)
    for p in unacked:
        c.acknowledge(p)


@test(versions=ALL)
def what_was_acknowledged_does_not_come_again(t, v):
    name = t.new_id()
    c = come(t, v, name)
    c.subscribe(t.topic(), 2)
    pub = t.connect(5)
    for i in range(10):
        pub.publish(t.topic(), str(i), 1 + i % 2)
        c.message(payload=str(i))
    c.ping()
    for _ in range(3):
        c.drop()
        c = come(t, v, name)
    t.nothing(c, pub)


@test
def dup_is_set_only_on_what_was_sent_before(t):
    name = t.new_id()
    c = come(t, 5, name, props={**KEEP, "receive_maximum": 2})
    c.subscribe(t.topic(), 1)
    pub = t.connect(5)
    for i in range(4):
        pub.publish(t.topic(), str(i), 1)
    for _ in range(2):
        c.message(ack=False)
    c.drop()
    c = come(t, 5, name)
    equal([(c.message().dup) for _ in range(4)], [True, True, False, False], "DUP")


@test(versions=ALL)
def one_id_may_change_its_version(t, v):
    for other in ALL:
        name = t.new_id()
        c = come(t, v, name)
        c.subscribe(t.topic(), 1)
        c.drop()
        pub = t.connect(5)
        pub.publish(t.topic(), b"x", 1, props={"user": ("a", "b")})
        c = come(t, other, name)
        if other != 3:
            equal(c.connack.session_present, True)
        c.message(payload=b"x", qos=1)
        c.logout()


# ---- expiry ----

@test
def a_longer_expiry_may_be_asked_for_at_the_end(t):  # 3.14.2.2.2
    name = t.new_id()
    t.connect(5, client_id=name, props={"session_expiry": 1}).logout(0, {"session_expiry": 600})
    equal(t.connect(5, client_id=name, clean=False).connack.session_present, True)


@test
def expiry_0_at_the_end_forgets_the_session(t):
    name = t.new_id()
    t.connect(5, client_id=name, props=KEEP).logout(0, {"session_expiry": 0})
    equal(t.connect(5, client_id=name, clean=False).connack.session_present, False)


@test
def an_expiry_at_the_end_only_is_a_protocol_error(t):  # 3.14.2.2.2
    from mqtt import disconnect
    for props in (None, {"session_expiry": 0}):
        c = t.connect(5, props=props)
        c.send(disconnect(5, 0, {"session_expiry": 10}))
        c.closed(0x82)


@test
def coming_back_without_expiry_ends_the_session_next_time(t):
    name = t.new_id()
    t.connect(5, client_id=name, props=KEEP).drop()
    c = t.connect(5, client_id=name, clean=False)
    equal(c.connack.session_present, True)
    c.drop()
    equal(t.connect(5, client_id=name, clean=False).connack.session_present, False)


@test(slow=True)
def a_session_ends_at_its_expiry(t):  # [MQTT-3.1.2-23]
    name = t.new_id()
    c = t.connect(5, client_id=name, props={"session_expiry": 1})
    c.subscribe(t.topic(), 1)
    c.drop()
    time.sleep(2.2)
    c = t.connect(5, client_id=name, clean=False)
    equal(c.connack.session_present, False)


@test(slow=True)
def a_session_does_not_end_before_its_expiry(t):
    for expiry in (3, 0xFFFFFFFF, 0xFFFFFFFE):
        t.connect(5, client_id=f"{t.base}-{expiry}", props={"session_expiry": expiry}).drop()
    time.sleep(1.2)
    for expiry in (3, 0xFFFFFFFF, 0xFFFFFFFE):
        c = t.connect(5, client_id=f"{t.base}-{expiry}", clean=False)
        equal(c.connack.session_present, True, f"expiry {expiry}")


@test(slow=True)
def expiry_starts_when_the_connection_ends(t):
    name = t.new_id()
    c = t.connect(5, client_id=name, props={"session_expiry": 2})
    time.sleep(2.5)
    c.drop()
    c = t.connect(5, client_id=name, clean=False, props={"session_expiry": 2})
    equal(c.connack.session_present, True)
    time.sleep(2.5)  # and it does not run while connected
    c.ping()


# ---- take-over ----

@test(versions=ALL)
def a_second_client_with_the_same_id_takes_over(t, v):  # [MQTT-3.1.4-2], MQTT 5 [MQTT-3.1.4-3]
    for other in ALL:
        old = t.connect(client_id=t.new_id(), **keep(v))
        new = t.connect(other, client_id=old.id)
        old.closed(0x8E)
        new.ping()


@test(versions=ALL)
def taking_over_keeps_the_session(t, v):
    old = t.connect(clean=False, **keep(v))
    old.subscribe(t.topic(), 1)
    pub = t.connect(5)
    pub.publish(t.topic(), b"1", 1)
    first = old.message(ack=False)
    new = come(t, v, old.id)
    if v != 3:
        equal(new.connack.session_present, True)
    new.message(payload=b"1", pid=first.pid, dup=True)
    pub.publish(t.topic(), b"2", 1)
    new.message(payload=b"2")
    old.closed(0x8E)


@test(versions=ALL)
def taking_over_with_clean_start_forgets_the_session(t, v):
    old = t.connect(clean=False, **keep(v))
    old.subscribe(t.topic(), 1)
    new = t.connect(client_id=old.id, clean=True)
    equal(new.connack.session_present, False)
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1)
    t.nothing(new, pub)
    old.closed(0x8E)


@test(versions=ALL)
def nothing_is_lost_when_taken_over_again_and_again(t, v):
    name = t.new_id()
    sub = come(t, v, name)
    sub.subscribe(t.topic(), 1)
    pub = t.connect(5)
    seen = set()
    for i in range(100):
        pub.publish(t.topic(), str(i), 1)
        if i % 10 == 5:
            old, sub = sub, come(t, v, name)
            old.close()
        if i % 3 == 0:
            seen.add(int(sub.message().payload))
    while len(seen) < 100:
        seen.add(int(sub.message().payload))
    t.nothing(sub, pub)


@test
def many_take_each_other_over(t):
    name = t.new_id()
    clients = []
    for i in range(100):
        c = t.raw(ALL[i % 3])
        c.send(connect(c.version, name))
        clients.append(c)
    winners = 0
    for c in clients:
        try:
            c.expect(CONNACK, reason=0)
            c.ping()
            winners += 1
        except (Closed, Failure):
            pass
    true(winners >= 1, "nobody is left")
    last = t.connect(5, client_id=name)
    last.ping()
    for c in clients:
        try:
            c.ping()
            raise AssertionError("an old client is still served")
        except Failure:
            pass


@test
def ids_are_compared_byte_by_byte(t):  # NATS 0bb51511b
    a, b = t.connect(5, client_id=t.base + "x"), t.connect(5, client_id=t.base + "X")
    c = t.connect(5, client_id=t.base + "x ")
    for client in (a, b, c):
        client.ping()


@test
def a_hundred_sessions_come_back_with_their_own(t):
    pub = t.connect(5)
    for i in range(100):
        c = come(t, ALL[i % 3], f"{t.base}-{i}")
        c.subscribe(t.topic(str(i)), 1)
        c.drop()
    for i in range(100):
        pub.publish(t.topic(str(i)), str(i), 1)
    for i in range(100):
        c = come(t, ALL[i % 3], f"{t.base}-{i}")
        c.message(topic=t.topic(str(i)), payload=str(i))
        c.logout()


@test
def a_publisher_may_go_before_its_message_is_read(t):
    sub = t.subscriber(t.topic(), 1, receive_buffer=4096)
    pub = t.connect(5)
    pub.publish(t.topic(), b"y" * 300000, 1)
    pub.drop()
    equal(len(sub.message().payload), 300000)


@test(versions=ALL)
def acknowledgements_for_the_old_connection_count_after_take_over(t, v):
    old = t.connect(clean=False, **keep(v))
    old.subscribe(t.topic(), 1)
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1)
    p = old.message(ack=False)
    old.puback(p.pid)
    old.drop()
    new = come(t, v, old.id)
    t.nothing(new, pub)


@test
def a_message_is_not_lost_between_session_and_connection(t):
    """A client comes and goes while somebody publishes: each message arrives, in order."""
    name = t.new_id()
    c = come(t, 5, name)
    c.subscribe(t.topic(), 1)
    pub = t.connect(5)
    count, seen = 300, []
    for i in range(count):
        pub.send(publish(5, t.topic(), str(i), 1, pid=i + 1))
        if i % 30 == 29:
            c.drop()
            c = come(t, 5, name)
    for i in range(count):
        pub.expect(PUBACK, pid=i + 1)
    while not seen or seen[-1] != count - 1:
        seen.append(int(c.message().payload))
    firsts = list(dict.fromkeys(seen))
    equal(firsts, sorted(firsts), "order")
    seconds_until("all is quiet", lambda: c.recv(0.05, quiet=True) is None)


run()
