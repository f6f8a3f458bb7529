# tests/e2e/test_subscribe.py -- SUBSCRIBE and UNSUBSCRIBE, filters against topics.

from broker import equal, run, test, true
from mqtt import (AS_PUBLISHED, NO_LOCAL, PUBLISH, SUBACK, SUBSCRIBE, UNSUBSCRIBE, UNSUBACK, ack,
                  PUBREC, PUBREL, frame, publish, subscribe, text, unsubscribe)

ALL = (3, 4, 5)


@test(versions=ALL)
def suback_answers_each_filter_in_order(t, v):  # [MQTT-3.8.4-1], -2, -6, [MQTT-3.9.3-1]
    c = t.connect()
    for pid in (1, 255, 256, 65535):
        c.send(subscribe(v, pid, [(t.topic("a"), 2), (t.topic("b"), 0), (t.topic("c/#"), 1),
                                  (t.topic("+"), 2), (t.topic("a"), 0)]))
        equal(c.expect(SUBACK, pid=pid).reasons, [2, 0, 1, 2, 0], "granted")


MATCHES = [
    # filter, topics it matches, topics it does not; {} stands for a first level of the test's own
    ("{}/tennis/player1/#", ["{}/tennis/player1", "{}/tennis/player1/ranking",
                             "{}/tennis/player1/score/wimbledon"],
     ["{}/tennis", "{}/tennis/player10", "{}/tennis/player2"]),
    ("{}/tennis/+", ["{}/tennis/player1", "{}/tennis/"],
     ["{}/tennis", "{}/tennis/player1/ranking", "{}/tennis//"]),
    ("{}/+/x/#", ["{}/a/x", "{}//x", "{}/a/x/y/z"], ["{}/x", "{}/a/b/x", "{}/a/xx"]),
    ("{}/+/+", ["{}/a/b", "{}//", "{}/a/"], ["{}/a", "{}/a/b/c"]),
    ("+/{}", ["/{}", "x/{}"], ["{}", "x/{}/y", "y/x/{}"]),
    ("/{}", ["/{}"], ["{}", "//{}", "/{}/"]),
    ("{}/Case", ["{}/Case"], ["{}/case", "{}/CASE", "{}/Case "]),
    ("{}//", ["{}//"], ["{}/", "{}", "{}///"]),
    ("{}/", ["{}/"], ["{}", "{}//"]),
    ("{}/a/+/c", ["{}/a/b/c", "{}/a//c", "{}/a/$x/c"], ["{}/a/c", "{}/a/b/d"]),
    ("{}/$x/#", ["{}/$x", "{}/$x/y"], ["{}/x"]),
    ("+/+/{}/#", ["a/b/{}", "//{}/c"], ["a/{}", "a/b/c/{}"]),
]


@test(versions=ALL)
def filters_match_what_they_should(t, v):  # [MQTT-4.7.1-1..3], [MQTT-4.7.3-4], 4.7
    pub = t.connect(5)
    for i, (pattern, good, bad) in enumerate(MATCHES):
        own = t.topic(f"{i}").replace("/", "")
        sub = t.subscriber(pattern.format(own))
        for topic in bad + good:
            pub.publish(topic.format(own), b"x")
        equal([p.topic for p in t.until_mark(sub, pub)], [x.format(own) for x in good],
              f"topics of {pattern}")


@test(versions=ALL)
def a_leading_wildcard_does_not_match_dollar_topics(t, v):  # [MQTT-4.7.2-1]
    own = t.base
    subs = [t.subscriber(f) for f in ("#", "+/" + own, "+/#", "+/+")]
    pub = t.connect(5)
    pub.publish("$other/" + own, b"x")
    pub.publish("$/" + own, b"x")
    pub.publish("$" + own, b"x")
    for sub in subs:
        found = [p.topic for p in t.until_mark(sub, pub)]
        equal([x for x in found if x.startswith("$")], [], "dollar topics")


@test(versions=ALL)
def a_filter_that_begins_with_a_dollar_matches(t, v):
    own = t.base
    pub = t.connect(5)
    for pattern in (f"$x/{own}", f"$x/{own}/#", "$x/+", f"$x/{own}/+"):
        sub = t.subscriber(pattern)
        topic = f"$x/{own}" + ("/y" if pattern.endswith(f"{own}/+") else "")
        pub.publish(topic, b"x")
        sub.message(topic=topic)


@test(versions=ALL)
def the_same_filter_again_replaces_the_subscription(t, v):  # [MQTT-3.8.4-3]
    sub = t.subscriber(t.topic(), 2)
    pub = t.connect(5)
    equal(sub.subscribe(t.topic(), 0), [0])
    pub.publish(t.topic(), b"1", 2)
    sub.message(payload=b"1", qos=0)
    equal(sub.subscribe(t.topic(), 1), [1])
    pub.publish(t.topic(), b"2", 2)
    sub.message(payload=b"2", qos=1)
    t.nothing(sub, pub)


@test(versions=ALL)
def overlapping_filters_deliver_at_the_highest_qos(t, v):  # [MQTT-3.3.5-1], [MQTT-3.3.4-2]
    sub = t.subscriber([(t.topic("#"), 0), (t.topic("a/+"), 2), (t.topic("a/b"), 1)])
    pub = t.connect(5)
    pub.publish(t.topic("a/b"), b"x", 2)
    found = t.until_mark(sub, pub)
    true(1 <= len(found) <= 3, f"{len(found)} copies")
    equal(max(p.qos for p in found), 2, "highest QoS")


@test(versions=ALL)
def unsubscribed_filters_deliver_nothing(t, v):  # [MQTT-3.10.4-1], -2, -4, [MQTT-3.10.4-6]
    sub = t.subscriber([t.topic("a"), t.topic("+"), t.topic("b/#")])
    pub = t.connect(5)
    reasons = sub.unsubscribe([t.topic("a"), t.topic("b/#"), t.topic("never")])
    equal(reasons, [0, 0, 0x11] if v == 5 else [], "UNSUBACK")
    pub.publish(t.topic("b/c"), b"x")
    pub.publish(t.topic("a"), b"x")
    equal([p.topic for p in t.until_mark(sub, pub)], [t.topic("a")], "through the other filter")
    sub.unsubscribe(t.topic("+"))
    pub.publish(t.topic("a"), b"x")
    t.nothing(sub, pub)


@test(versions=ALL)
def unsubscribe_compares_filters_letter_by_letter(t, v):  # [MQTT-3.10.4-1]
    sub = t.subscriber(t.topic("a"))
    pub = t.connect(5)
    sub.unsubscribe([t.topic("+"), t.topic("#"), t.topic("A"), t.topic("a/"), t.topic("")])
    pub.publish(t.topic("a"), b"x")
    sub.message(topic=t.topic("a"))


@test(versions=ALL)
def unsuback_comes_also_when_nothing_was_subscribed(t, v):  # [MQTT-3.10.4-5]
    c = t.connect()
    c.send(unsubscribe(v, 300, [t.topic("a"), t.topic("b")]))
    p = c.expect(UNSUBACK, pid=300)
    equal(p.reasons, [0x11, 0x11] if v == 5 else [])
    equal(len(p.body), 5 if v == 5 else 2, "bytes of UNSUBACK")


@test(versions=ALL)
def a_delivery_under_way_is_completed_after_unsubscribe(t, v):  # [MQTT-3.10.4-3]
    sub = t.subscriber(t.topic(), 2)
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 2)
    p = sub.message(ack=False)
    sub.unsubscribe(t.topic())
    sub.send(ack(PUBREC, p.pid))
    sub.expect(PUBREL, pid=p.pid, reason=0)
    sub.pubcomp(p.pid)
    sub.ping()


@test(versions=ALL)
def one_subscribe_may_hold_a_thousand_filters(t, v):
    sub = t.connect()
    filters = [(t.topic(f"{i}/+"), i % 3) for i in range(1000)]
    equal(sub.subscribe(filters), [i % 3 for i in range(1000)], "granted")
    pub = t.connect(5)
    for i in (0, 1, 499, 998, 999):
        pub.publish(t.topic(f"{i}/x"), b"x", 2)
        sub.message(topic=t.topic(f"{i}/x"), qos=i % 3)
    reasons = sub.unsubscribe([f for f, _ in filters])
    equal(reasons, [0] * 1000 if v == 5 else [])
    pub.publish(t.topic("7/x"), b"x")
    t.nothing(sub, pub)


@test(versions=ALL)
def suback_means_subscribed(t, v):
    pub = t.connect()
    for i in range(100):
        sub = t.connect()
        sub.subscribe(t.topic(f"{i}"))
        pub.publish(t.topic(f"{i}"), b"x")
        sub.message()
        sub.close()


@test(versions=ALL)
def subscriptions_of_a_client_are_its_own(t, v):
    a, b, pub = t.subscriber(t.topic("a")), t.subscriber(t.topic("b")), t.connect(5)
    a.unsubscribe(t.topic("b"))
    pub.publish(t.topic("b"), b"x")
    b.message()
    t.nothing(a, pub)


# ---- MQTT 5 options ----

@test
def no_local_keeps_own_messages_away(t):  # [MQTT-3.8.3-3]
    c = t.subscriber(t.topic("#"), 1 | NO_LOCAL)
    other = t.subscriber(t.topic("#"), 1)
    c.publish(t.topic("a"), b"own", 1)
    other.message(payload=b"own")
    other.publish(t.topic("a"), b"foreign", 1)
    c.message(payload=b"foreign")
    t.nothing(c, other)


@test
def no_local_ends_when_it_is_taken_away(t):
    c = t.subscriber(t.topic(), NO_LOCAL)
    c.publish(t.topic(), b"1")
    c.subscribe(t.topic(), 0)
    c.publish(t.topic(), b"2")
    c.message(payload=b"2")


@test
def no_local_of_one_filter_leaves_others_alone(t):
    c = t.subscriber([(t.topic("#"), NO_LOCAL), (t.topic("a"), 0)])
    c.publish(t.topic("a"), b"x")
    equal(len(t.until_mark(c, t.connect(5))), 1, "copies")


@test
def no_local_on_a_shared_subscription_is_a_protocol_error(t):  # [MQTT-3.8.3-4]
    c = t.connect(5)
    c.send(subscribe(5, 1, [(f"$share/g/{t.topic()}", NO_LOCAL)]))
    c.closed(0x82)


@test
def retain_as_published_changes_no_plain_message(t):
    c = t.subscriber(t.topic(), AS_PUBLISHED)
    t.connect(5).publish(t.topic(), b"x")
    c.message(retain=False)


# ---- what must not be ----

BAD_FILTERS = ["a/#/b", "a#", "#a", "a/b#", "a+", "+a", "a/+b", "a/b+/c", "##", "+#", ""]


@test(versions=ALL)
def refuses_filters_that_are_none(t, v):  # [MQTT-4.7.1-1..3], [MQTT-4.7.3-1]
    for bad in BAD_FILTERS:
        c = t.connect()
        c.send(subscribe(v, 1, [(bad, 0)]))
        first = None
        try:
            first = c.recv()
        except Exception as end:  # closing is an answer too
            true("closed" in str(end), str(end))
            continue
        if first.kind == SUBACK:
            equal(first.reasons, [0x8F if v == 5 else 0x80], f"reason for {bad!r}")
        else:
            true(first.reason in (0x81, 0x82, 0x8F), f"{bad!r}: {first}")


@test(versions=ALL)
def ill_formed_filters_end_the_connection(t, v):  # [MQTT-3.8.3-1], [MQTT-1.5.3-1], -2
    for bad in (b"\xff", b"a\0b", b"\xed\xa0\x80"):
        for make in (lambda f: subscribe(v, 1, [(f, 0)]), lambda f: unsubscribe(v, 1, [f])):
            c = t.connect()
            c.send(make(bad))
            c.closed(0x81, 0x82)


@test(versions=ALL)
def packets_without_a_filter_end_the_connection(t, v):  # [MQTT-3.8.3-3], [MQTT-3.10.3-2]
    for make in (subscribe, unsubscribe):
        c = t.connect()
        c.send(make(v, 1, []))
        c.closed(0x82, 0x81)


@test(versions=ALL)
def packet_id_0_ends_the_connection(t, v):  # [MQTT-2.3.1-1], NATS c4616f674
    for packet in (subscribe(v, 0, [("a", 0)]), unsubscribe(v, 0, ["a"])):
        c = t.connect()
        c.send(packet)
        c.closed(0x81, 0x82)


@test(versions=ALL)
def wrong_flags_end_the_connection(t, v):  # [MQTT-3.8.1-1], [MQTT-3.10.1-1], FlashMQ 0c79f94
    for kind, body in ((SUBSCRIBE, subscribe(v, 1, [("a", 0)])),
                       (UNSUBSCRIBE, unsubscribe(v, 1, ["a"]))):
        for flags in (0, 1, 3) + ((10,) if v != 3 else ()):  # in MQTT 3.1 that is DUP
            c = t.connect()
            c.send(bytes([kind << 4 | flags]) + body[1:])
            c.closed(0x81)


@test(versions=ALL)
def wrong_options_end_the_connection(t, v):  # [MQTT-3.8.3-4], [MQTT-3.8.3-5]
    for options in (3,) + {3: (), 4: (4, 8, 0x10, 0x40, 0x80), 5: (0x30, 0x33, 0x40, 0x80)}[v]:
        c = t.connect()
        c.send(subscribe(v, 1, [("a", options)]))
        c.closed(0x81, 0x82)


@test(versions=ALL)
def packets_cut_short_end_the_connection(t, v):  # CVE-2024-50948
    for kind, whole in ((SUBSCRIBE, subscribe(v, 1, [("abc", 0)])),
                        (UNSUBSCRIBE, unsubscribe(v, 1, ["abc"]))):
        for size in range(0, len(whole) - 2):
            if size == 2 + (v == 5):
                continue  # no filter at all: tried above
            c = t.connect()
            c.send(frame(kind, 2, whole[2:2 + size]))
            c.closed(0x81, 0x82)


@test(versions=ALL)
def a_filter_longer_than_its_packet_ends_the_connection(t, v):
    c = t.connect()
    props = b"\0" if v == 5 else b""
    c.send(frame(SUBSCRIBE, 2, b"\0\1" + props + text("a") + b"\0" + b"\xff\xffab"))
    c.closed(0x81)


@test(versions=ALL)
def filters_of_the_greatest_length_work(t, v):  # [MQTT-4.7.3-3]
    topic = t.topic("x" * (65535 - len(t.topic(""))))
    sub = t.subscriber(topic)
    t.connect(5).publish(topic, b"x")
    equal(len(sub.message().topic), 65535)


@test(versions=ALL)
def publish_may_follow_subscribe_at_once(t, v):
    c = t.connect()
    c.send(subscribe(v, 1, [(t.topic(), 0)]), publish(v, t.topic(), b"x"))
    got = sorted(c.recv().kind for _ in range(2))
    equal(got, [PUBLISH, SUBACK], "packets")


@test(versions=ALL)
def subscribe_and_unsubscribe_in_turn_end_as_the_last_says(t, v):
    c, pub = t.connect(), t.connect(5)
    for i in range(30):
        c.send(subscribe(v, 2 * i + 1, [(t.topic("#"), 0)]),
               unsubscribe(v, 2 * i + 2, [t.topic("#")]))
    answers = [c.recv() for _ in range(60)]
    for i in range(60):
        equal([p.kind for p in answers if p.pid == i + 1], [UNSUBACK if i % 2 else SUBACK])
    pub.publish(t.topic("x"), b"x")
    t.nothing(c, pub)
    c.subscribe(t.topic("#"))
    pub.publish(t.topic("x"), b"x")
    c.message()


run()
