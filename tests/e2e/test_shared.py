# tests/e2e/test_shared.py -- shared subscriptions.

from broker import Failure, equal, run, seconds_until, test, true
from mqtt import (AS_PUBLISHED, PUBACK, PUBREC, PUBREL, SUBACK, Closed, ack, publish, subscribe)

ALL = (3, 4, 5)
KEEP = {"session_expiry": 100}


def group(t, tail="t", name="g"):
    return f"$share/{name}/{t.topic(tail)}"


def gather(subs, count, ack=True):
    """All messages of the subscribers, as lists, when `count` have come in all."""
    found = [[] for _ in subs]

    def look():
        for sub, mine in zip(subs, found):
            while True:
                p = sub.inbox.popleft() if sub.inbox else sub.recv(0, quiet=True)
                if p is None:
                    break
                if p.topic is None:
                    raise Failure(f"unexpected {p}")
                if ack:
                    sub.acknowledge(p)
                mine.append(p)
        return sum(map(len, found)) >= count

    seconds_until(f"{count} messages", look)
    return found


@test(versions=ALL)
def members_take_turns(t, v):
    pub = t.connect(5)
    for qos in (0, 1, 2):
        subs = [t.subscriber(group(t), qos) for _ in range(3)]
        for i in range(30):
            pub.publish(t.topic(), str(i), qos)
        found = gather(subs, 30)
        equal([len(f) for f in found], [10, 10, 10], f"messages of each at QoS {qos}")
        equal(sorted(int(p.payload) for f in found for p in f), list(range(30)), "once each")
        for f in found:
            numbers = [int(p.payload) for p in f]
            equal(numbers, sorted(numbers), "order of one member")
        for sub in subs:
            t.nothing(sub, pub)
            sub.logout()


@test
def groups_are_independent(t):
    pub = t.connect(5)
    a = [t.subscriber(group(t, name="a"), 1) for _ in range(2)]
    b = [t.subscriber(group(t, name="b"), 1) for _ in range(3)]
    plain = t.subscriber(t.topic(), 1)
    for i in range(12):
        pub.publish(t.topic(), str(i), 1)
    equal(sorted(len(f) for f in gather(a, 12)), [6, 6])
    equal(sorted(len(f) for f in gather(b, 12)), [4, 4, 4])
    equal([int(plain.message().payload) for _ in range(12)], list(range(12)))


@test
def one_group_may_have_several_filters(t):
    pub = t.connect(5)
    a = t.subscriber(group(t, "a"), 1)
    b = t.subscriber(group(t, "+"), 1)
    pub.publish(t.topic("a"), b"x", 1)
    a.message()
    b.message()  # another filter is another shared subscription
    pub.publish(t.topic("b"), b"x", 1)
    b.message()
    t.nothing(a, pub)


@test
def filters_of_groups_may_have_wildcards(t):
    pub = t.connect(5)
    for filter_, topic in (("a/+", "a/b"), ("b/#", "b"), ("b/#", "b/c/d"), ("+/c/#", "x/c")):
        sub = t.subscriber(group(t, filter_, "w"), 1)
        pub.publish(t.topic(topic), b"x", 1)
        sub.message(topic=t.topic(topic))
        sub.logout()


@test
def a_group_on_everything_sees_no_dollar_topics(t):
    pub = t.connect(5)
    sub = t.subscriber(f"$share/{t.base}/#", 0)
    pub.publish(f"$x/{t.base}", b"x")
    pub.publish(t.topic("seen"), b"x")
    while True:
        topic = sub.message().topic
        true(not topic.startswith("$"), topic)
        if topic == t.topic("seen"):
            return


@test(versions=ALL)
def each_member_has_its_own_qos(t, v):  # [MQTT-4.8.2-3]
    pub = t.connect(5)
    subs = [t.subscriber(group(t), qos) for qos in (0, 1, 2)]
    for i in range(9):
        pub.publish(t.topic(), str(i), 2)
    for qos, f in enumerate(gather(subs, 9)):
        equal([p.qos for p in f], [qos] * 3)


@test
def subscription_ids_and_options_are_those_of_the_member(t):
    pub = t.connect(5)
    a = t.connect(5)
    a.subscribe(group(t), 1 | AS_PUBLISHED, {"subscription_id": 5})
    b = t.connect(5)
    b.subscribe(group(t), 1, {"subscription_id": 6})
    for i in range(2):
        pub.publish(t.topic(), b"x", 1, retain=True)
    for sub, number, retain in ((a, 5, True), (b, 6, False)):
        sub.message(subscription_id=[number], retain=retain)


@test
def a_publisher_may_be_a_member(t):
    c = t.subscriber(group(t), 1)
    for i in range(5):
        c.publish(t.topic(), str(i), 1)
    equal([int(c.message().payload) for _ in range(5)], list(range(5)))


@test
def a_member_may_also_subscribe_alone(t):
    pub = t.connect(5)
    c = t.subscriber([(group(t), 1), (t.topic(), 1)])
    pub.publish(t.topic(), b"x", 1)
    gather([c], 2)
    c.unsubscribe(t.topic())
    pub.publish(t.topic(), b"y", 1)
    c.message(payload=b"y")
    c.unsubscribe(group(t))
    pub.publish(t.topic(), b"z", 1)
    t.nothing(c, pub)


@test(versions=ALL)
def a_member_that_leaves_gets_nothing(t, v):
    pub = t.connect(5)
    a, b = t.subscriber(group(t), 1), t.subscriber(group(t), 1)
    equal(a.unsubscribe(group(t)), [0] if v == 5 else [])
    equal(a.unsubscribe([group(t), group(t, name="other")]), [0x11, 0x11] if v == 5 else [])
    for i in range(6):
        pub.publish(t.topic(), str(i), 1)
    # What was on its way to the one that left comes after what was not.
    equal(sorted(int(b.message().payload) for _ in range(6)), list(range(6)))
    t.nothing(a, pub)


@test
def nobody_is_left_of_a_group(t):
    pub = t.connect(5)
    a = t.subscriber(group(t), 1)
    equal(pub.publish(t.topic(), b"x", 1), 0)
    a.message()
    a.unsubscribe(group(t))
    equal(pub.publish(t.topic(), b"x", 1), 0x10, "no matching subscribers")
    b = t.subscriber(group(t), 1)
    b.drop()
    seconds_until("the group is gone", lambda: pub.publish(t.topic(), b"x", 1) == 0x10)


@test(versions=ALL)
def wrong_shared_filters_are_refused(t, v):  # [MQTT-4.8.2-1], [MQTT-4.8.2-2], CVE-2025-68699
    for bad in ("$share/", "$share/g", "$share/g/", "$share//f", "$share/g+/f", "$share/#/f",
                "$share/g#/f", "$share/+/f", "$share/g/a#", "$share/g/#/a", "$share"):
        c = t.connect()
        c.send(subscribe(v, 1, [(bad, 0)]))
        try:
            p = c.recv()
        except Closed:
            continue
        if p.kind == SUBACK and bad == "$share":
            continue  # may be taken as a plain filter
        reason = p.reasons[0] if p.kind == SUBACK else p.reason
        true(reason in (0x80, 0x81, 0x82, 0x8F), f"{bad}: {p}")
    t.connect(5).ping()


@test
def the_filter_begins_behind_the_second_slash(t):
    pub = t.connect(5)
    sub = t.subscriber(f"$share/g//{t.base}", 1)
    pub.publish(f"/{t.base}", b"x", 1)
    sub.message(topic=f"/{t.base}")
    pub.publish(t.base, b"x", 1)
    t.nothing(sub, pub)


@test
def unacknowledged_qos_1_goes_to_another_member(t):  # [MQTT-4.8.2-5]
    pub = t.connect(5)
    a, b = t.subscriber(group(t), 1), t.subscriber(group(t), 1)
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    mine, theirs = gather([a, b], 10, ack=False)
    equal(len(mine), 5, "messages of the first")
    for p in theirs:
        b.puback(p.pid)
    a.puback(mine[0].pid)
    a.ping()
    a.drop()
    got = [b.message().payload for _ in range(4)]
    equal(sorted(got), sorted(p.payload for p in mine[1:]), "what the first had not acknowledged")
    t.nothing(b, pub)


@test
def unacknowledged_qos_1_of_a_kept_session_goes_to_another_member(t):
    pub = t.connect(5)
    a = t.subscriber(group(t), 1, props=KEEP)
    b = t.subscriber(group(t), 1)
    for i in range(6):
        pub.publish(t.topic(), str(i), 1)
    mine, theirs = gather([a, b], 6, ack=False)
    for p in theirs:
        b.puback(p.pid)
    a.drop()
    equal(sorted(b.message().payload for _ in range(3)), sorted(p.payload for p in mine))
    a = t.connect(5, client_id=a.id, clean=False, props=KEEP)
    t.nothing(a, pub)


@test
def qos_2_under_way_stays_with_its_member(t):  # [MQTT-4.8.2-4]
    pub = t.connect(5)
    a = t.subscriber(group(t), 2, props=KEEP)
    b = t.subscriber(group(t), 2)
    for i in range(4):
        pub.publish(t.topic(), str(i), 2)
    mine, theirs = gather([a, b], 4, ack=False)
    for p in theirs:
        b.acknowledge(p)
    a.send(ack(PUBREC, mine[0].pid))
    a.expect(PUBREL, pid=mine[0].pid)
    a.drop()
    t.nothing(b, pub)
    a = t.connect(5, client_id=a.id, clean=False, props=KEEP)
    got = [a.recv(), a.recv()]
    equal(sorted((p.kind, p.pid) for p in got),
          sorted([(PUBREL, mine[0].pid), (3, mine[1].pid)]), "what comes again")


@test
def what_was_not_sent_yet_goes_to_another_member(t):
    pub = t.connect(5)
    a = t.subscriber(group(t), 1, props={"receive_maximum": 1})
    b = t.subscriber(group(t), 1)
    for i in range(20):
        pub.publish(t.topic(), str(i), 1)
    first = a.message(ack=False)
    seen = [int(first.payload)] + [int(b.message().payload) for _ in range(5)]
    a.drop()
    while len(set(seen)) < 20:
        seen.append(int(b.message().payload))
    equal(sorted(set(seen)), list(range(20)), "nothing lost")
    equal(sorted(seen), sorted(list(range(20)) + [int(first.payload)]), "nothing twice but one")


@test
def members_that_are_away_are_spared(t):
    pub = t.connect(5)
    away = t.subscriber(group(t), 1, props=KEEP)
    away.drop()
    here = t.subscriber(group(t), 1)
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    equal([int(here.message().payload) for _ in range(10)], list(range(10)))
    away = t.connect(5, client_id=away.id, clean=False, props=KEEP)
    t.nothing(away, pub)


@test
def messages_wait_while_all_members_are_away(t):
    pub = t.connect(5)
    a = t.subscriber(group(t), 1, props=KEEP)
    b = t.subscriber(group(t), 1, props=KEEP)
    a.drop()
    b.drop()
    for i in range(10):
        equal(pub.publish(t.topic(), str(i), 1), 0, "reason while all are away")
    b = t.connect(5, client_id=b.id, clean=False, props=KEEP)
    equal([int(b.message().payload) for _ in range(10)], list(range(10)), "the first one back")
    a = t.connect(5, client_id=a.id, clean=False, props=KEEP)
    t.nothing(a, pub)


@test
def a_member_that_comes_back_takes_part_again(t):
    pub = t.connect(5)
    a = t.subscriber(group(t), 1, props=KEEP)
    b = t.subscriber(group(t), 1)
    a.drop()
    a = t.connect(5, client_id=a.id, clean=False, props=KEEP)
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    equal([len(f) for f in gather([a, b], 10)], [5, 5])


@test
def subscribing_again_does_not_make_two_members(t):
    pub = t.connect(5)
    a, b = t.subscriber(group(t), 1), t.subscriber(group(t), 1)
    for _ in range(3):
        a.subscribe(group(t), 0)
    for i in range(10):
        pub.publish(t.topic(), str(i), 1)
    found = gather([a, b], 10)
    equal([len(f) for f in found], [5, 5])
    equal({p.qos for p in found[0]}, {0}, "QoS after subscribing again")


@test
def a_member_at_its_bound_is_passed_over_or_waits_without_loss(t):
    pub = t.connect(5)
    slow = t.subscriber(group(t), 1, props={"receive_maximum": 1})
    quick = t.subscriber(group(t), 1)
    for i in range(40):
        pub.publish(t.topic(), str(i), 1)
    found = gather([slow, quick], 40)
    equal(sorted(int(p.payload) for f in found for p in f), list(range(40)))


@test
def a_hundred_members_get_one_each(t):
    pub = t.connect(5)
    subs = [t.subscriber(group(t), i % 2, version=ALL[i % 3]) for i in range(100)]
    for i in range(100):
        pub.publish(t.topic(), str(i), 1)
    equal([len(f) for f in gather(subs, 100)], [1] * 100)


@test
def many_publishers_reach_a_group_without_loss(t):
    pubs = [t.connect(5) for _ in range(8)]
    subs = [t.subscriber(group(t), 1) for _ in range(4)]
    for i, pub in enumerate(pubs):
        pub.send(*[publish(5, t.topic(), f"{i}/{n}", 1, pid=n + 1) for n in range(100)])
    found = gather(subs, 800)
    equal(len({p.payload for f in found for p in f}), 800)
    for pub in pubs:
        for n in range(100):
            pub.expect(PUBACK, pid=n + 1)


@test
def shared_and_plain_filters_of_one_name_do_not_mix(t):  # CVE-2024-8376
    pub = t.connect(5)
    c = t.connect(5)
    for _ in range(20):
        c.subscribe([group(t), t.topic(), group(t, name="h")])
        c.unsubscribe([t.topic(), group(t)])
        c.subscribe(t.topic())
        c.unsubscribe([group(t), group(t, name="h"), group(t, name="h")])
    pub.publish(t.topic(), b"x")
    equal(len(t.until_mark(c, pub)), 1, "copies")


# ---- the other policies ----

def policy(name):
    return {"limits": {"shared_subscription_strategy": name}}


@test(**policy("sticky"))
def sticky_stays_with_one_member(t):
    pub = t.connect(5)
    subs = [t.subscriber(group(t), 1) for _ in range(3)]
    for i in range(12):
        pub.publish(t.topic(), str(i), 1)
    found = gather(subs, 12)
    equal(sorted(len(f) for f in found), [0, 0, 12])
    at = [len(f) for f in found].index(12)
    subs[at].drop()
    del subs[at]
    for i in range(6):
        pub.publish(t.topic(), str(i), 1)
    equal(sorted(len(f) for f in gather(subs, 6)), [0, 6])


@test(**policy("hash_clientid"))
def hash_clientid_keeps_a_publisher_with_a_member(t):
    subs = [t.subscriber(group(t), 1) for _ in range(4)]
    places = set()
    for i in range(16):
        pub = t.connect(5)
        for n in range(5):
            pub.publish(t.topic(), f"{i}", 1)
        counts = [len(f) for f in gather(subs, 5)]
        equal(sorted(counts), [0, 0, 0, 5], "messages of one publisher")
        places.add(counts.index(5))
    true(len(places) > 1, "all publishers went to one member")


@test(**policy("hash_topic"))
def hash_topic_keeps_a_topic_with_a_member(t):
    subs = [t.subscriber(group(t, "#"), 1) for _ in range(4)]
    pub, other = t.connect(5), t.connect(5)
    places = set()
    for i in range(16):
        for n in range(4):
            (pub if n % 2 else other).publish(t.topic(str(i)), b"x", 1)
        counts = [len(f) for f in gather(subs, 4)]
        equal(sorted(counts), [0, 0, 0, 4], "messages of one topic")
        places.add(counts.index(4))
    true(len(places) > 1, "all topics went to one member")


@test(**policy("random"))
def random_gives_everybody_something(t):
    pub = t.connect(5)
    subs = [t.subscriber(group(t), 1) for _ in range(3)]
    for i in range(90):
        pub.publish(t.topic(), str(i), 1)
    counts = [len(f) for f in gather(subs, 90)]
    true(min(counts) >= 5, f"messages of each: {counts}")


run()
