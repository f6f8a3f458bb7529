# tests/e2e/test_retained.py -- retained messages.

import time

from broker import equal, run, seconds_until, test, true
from mqtt import AS_PUBLISHED, NO_RETAINED, ONLY_NEW, Failure

ALL = (3, 4, 5)


@test(versions=ALL)
def a_new_subscription_gets_the_retained_message(t, v):  # [MQTT-3.3.1-5], -6, -8
    pub = t.connect()
    for qos in (0, 1, 2):
        topic = t.topic(str(qos))
        pub.publish(topic, f"kept {qos}", qos, retain=True)
        for sub_version in ALL:
            sub = t.subscriber(topic, 2, version=sub_version)
            sub.message(topic=topic, payload=f"kept {qos}", qos=qos, retain=True, dup=False)


@test(versions=ALL)
def retained_messages_come_at_the_lesser_qos(t, v):  # EMQX 6.2.2
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 2, retain=True)
    for granted in (0, 1, 2):
        t.subscriber(t.topic(), granted).message(qos=granted, retain=True)


@test(versions=ALL)
def a_live_message_does_not_say_retained(t, v):  # [MQTT-3.3.1-9], MQTT 5 [MQTT-3.3.1-12]
    sub = t.subscriber(t.topic(), 1)
    t.connect(5).publish(t.topic(), b"x", 1, retain=True)
    sub.message(retain=False)


@test
def retain_as_published_keeps_the_flag(t):  # [MQTT-3.3.1-13]
    sub = t.subscriber(t.topic(), 1 | AS_PUBLISHED)
    pub = t.connect(5)
    pub.publish(t.topic(), b"1", 1, retain=True)
    sub.message(payload=b"1", retain=True)
    pub.publish(t.topic(), b"2", 1)
    sub.message(payload=b"2", retain=False)
    t.subscriber(t.topic(), 1).message(payload=b"1", retain=True)


@test(versions=ALL)
def only_the_last_one_is_kept(t, v):
    pub = t.connect()
    for i in range(20):
        pub.publish(t.topic(), str(i), i % 3, retain=True)
    sub = t.subscriber(t.topic(), 2)
    sub.message(payload=b"19", qos=1)
    t.nothing(sub, pub)


@test(versions=ALL)
def a_message_without_the_flag_changes_nothing(t, v):  # [MQTT-3.3.1-12], MQTT 5 [MQTT-3.3.1-8]
    pub = t.connect()
    pub.publish(t.topic(), b"kept", 1, retain=True)
    pub.publish(t.topic(), b"passing", 1)
    pub.publish(t.topic(), b"", 1)
    t.subscriber(t.topic()).message(payload=b"kept", retain=True)


@test(versions=ALL)
def an_empty_payload_removes_it(t, v):  # [MQTT-3.3.1-6], [MQTT-3.3.1-10], -11
    pub = t.connect()
    live = t.subscriber(t.topic(), 1)
    pub.publish(t.topic(), b"kept", 1, retain=True)
    pub.publish(t.topic(), b"", 1, retain=True)
    live.message(payload=b"kept", retain=False)
    live.message(payload=b"", retain=False)
    t.nothing(t.subscriber(t.topic()), pub)
    pub.publish(t.topic(), b"", 0, retain=True)  # nothing there: no harm
    pub.publish(t.topic(), b"again", 0, retain=True)
    t.subscriber(t.topic()).message(payload=b"again")


@test(versions=(3, 4))
def subscribing_again_sends_it_again(t, v):  # [MQTT-3.8.4-3]
    t.connect(5).publish(t.topic(), b"x", 1, retain=True)
    sub = t.subscriber(t.topic(), 1)
    sub.message(retain=True)
    sub.subscribe(t.topic(), 0)
    sub.message(retain=True, qos=0)


@test
def retain_handling_decides(t):  # [MQTT-3.3.1-9..11], [MQTT-3.8.4-4]
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1, retain=True)
    always = t.subscriber(t.topic(), 1)
    always.message(retain=True)
    always.subscribe(t.topic(), 1)
    always.message(retain=True)
    new = t.subscriber(t.topic(), 1 | ONLY_NEW)
    new.message(retain=True)
    new.subscribe(t.topic(), 1 | ONLY_NEW)
    t.nothing(new, pub)
    new.unsubscribe(t.topic())
    new.subscribe(t.topic(), 1 | ONLY_NEW)
    new.message(retain=True)
    never = t.subscriber(t.topic(), 1 | NO_RETAINED)
    t.nothing(never, pub)
    never.subscribe(t.topic(), 1 | NO_RETAINED)
    t.nothing(never, pub)
    pub.publish(t.topic(), b"live", 1, retain=True)
    never.message(payload=b"live", retain=False)


@test
def only_new_counts_a_subscription_of_a_resumed_session(t):
    props = {"session_expiry": 60}
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1, retain=True)
    name = t.new_id()
    c = t.connect(5, client_id=name, props=props)
    c.subscribe(t.topic(), 1 | NO_RETAINED)
    c.drop()
    c = t.connect(5, client_id=name, clean=False, props=props)
    c.subscribe(t.topic(), 1 | ONLY_NEW)
    t.nothing(c, pub)


@test
def a_resumed_session_gets_no_retained_messages(t):
    props = {"session_expiry": 60}
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 0, retain=True)
    name = t.new_id()
    c = t.connect(5, client_id=name, props=props)
    c.subscribe(t.topic(), 0)
    c.message(retain=True)
    c.drop()
    t.nothing(t.connect(5, client_id=name, clean=False, props=props), pub)


@test
def shared_subscriptions_get_no_retained_messages(t):  # 4.8.2
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 1, retain=True)
    sub = t.subscriber(f"$share/g/{t.topic()}", 1)
    t.nothing(sub, pub)
    pub.publish(t.topic(), b"live", 1, retain=True)
    sub.message(payload=b"live", retain=False)


@test(versions=ALL)
def wildcards_find_what_matches(t, v):
    pub = t.connect(5)
    topics = ["a", "a/b", "a/b/c", "b", "b/b", "$c", "a//c", "/a"]
    for x in topics:
        pub.publish(t.topic(x), x, 1, retain=True)
    for tail, found in (("#", topics), ("a/#", ["a", "a/b", "a/b/c", "a//c"]),
                        ("+", ["a", "b", "$c"]), ("+/b", ["a/b", "b/b"]),
                        ("+/+/c", ["a/b/c", "a//c"]), ("a/+/c", ["a/b/c", "a//c"]),
                        ("/+", ["/a"]), ("c/#", []), ("+/a", ["/a"])):
        sub = t.subscriber(t.topic(tail), 0)
        got = [sub.message(retain=True).payload.decode() for _ in found]
        equal(sorted(got), sorted(found), f"retained under {tail}")
        t.nothing(sub, pub)


@test
def all_filters_of_one_subscribe_get_theirs(t):
    pub = t.connect(5)
    for x in "abc":
        pub.publish(t.topic(x), x, 1, retain=True)
    sub = t.subscriber([t.topic("a"), t.topic("b"), (t.topic("c"), NO_RETAINED)])
    equal(sorted(sub.message(retain=True).payload for _ in range(2)), [b"a", b"b"])
    t.nothing(sub, pub)


@test(versions=ALL)
def a_leading_wildcard_does_not_find_dollar_topics(t, v):  # [MQTT-4.7.2-1]
    pub = t.connect(5)
    pub.publish(f"$r/{t.base}", b"x", 1, retain=True)
    sub = t.subscriber(["#", f"+/{t.base}"])
    equal([p.topic for p in t.until_mark(sub, pub) if p.topic.startswith("$")], [])
    t.subscriber(f"$r/{t.base}").message(retain=True)
    t.subscriber(f"$r/+").message(retain=True)
    pub.publish(f"$r/{t.base}", b"", 1, retain=True)


@test
def properties_are_kept(t):
    props = [("payload_format", 1), ("content_type", "text"), ("response_topic", "r/t"),
             ("correlation_data", b"\0\1"), ("user", ("b", "1")), ("user", ("a", "2")),
             ("user", ("b", "1"))]
    t.connect(5).publish(t.topic(), b"x", 1, retain=True, props=props)
    sub = t.subscriber(t.topic(), 1, sub_props={"subscription_id": 77})
    p = sub.message(retain=True, subscription_id=[77])
    equal([x for x in p.props if x[0] == "user"], props[4:], "user properties")
    equal(sorted(x for x in p.props if x[0] not in ("user", "subscription_id")),
          sorted(props[:4]), "properties")


@test
def a_retained_message_outlives_its_publisher(t):
    pub = t.connect(5)
    pub.publish(t.topic(), b"x", 2, retain=True)
    pub.drop()
    t.subscriber(t.topic(), 2).message(payload=b"x", qos=2)


@test
def many_retained_messages_come_to_a_slow_reader(t):
    pub = t.connect(5)
    count, size = 1000, 2000
    for i in range(count):
        pub.publish(t.topic(f"{i % 10}/{i}"), b"%04d" % i + bytes(size), 0, retain=True)
    pub.publish(t.topic("0/0"), b"0000" + bytes(size), 1, retain=True)  # all before it are done
    slow = t.subscriber(t.topic("#"), 1, receive_buffer=4096, props={"receive_maximum": 10})
    quick = t.subscriber(t.topic("#"), 0)
    equal(len({quick.message().topic for _ in range(count)}), count, "topics to a quick reader")
    equal(len({slow.message().topic for _ in range(count)}), count, "topics to a slow reader")
    t.nothing(slow, pub)


@test
def retained_messages_wait_for_the_receive_window(t):
    pub = t.connect(5)
    for i in range(50):
        pub.publish(t.topic(str(i)), str(i), 1, retain=True)
    sub = t.subscriber(t.topic("+"), 1, props={"receive_maximum": 3})
    equal(len({sub.message().payload for _ in range(50)}), 50)


@test
def a_removed_message_is_gone_for_wildcards_too(t):
    pub = t.connect(5)
    for x in "abc":
        pub.publish(t.topic(x), x, 1, retain=True)
    pub.publish(t.topic("b"), b"", 1, retain=True)
    sub = t.subscriber(t.topic("+"))
    equal(sorted(p.payload for p in t.exactly(2, sub, pub)), [b"a", b"c"])


@test
def nobody_keeps_an_old_value(t):
    """While values change, each new subscriber ends with the last one."""
    pub = t.connect(5)
    subs = []
    for i in range(60):
        pub.publish(t.topic(), str(i), 1, retain=True)
        sub = t.connect(5)
        from mqtt import subscribe
        sub.send(subscribe(5, 1, [(t.topic() if i % 2 else t.topic("#"), 1)]))
        subs.append(sub)
    pub.publish(t.topic(), b"last", 1, retain=True)
    for sub in subs:
        seen = []
        while not seen or seen[-1] != b"last":
            p = sub.recv()
            if p.topic:
                seen.append(p.payload)
                sub.acknowledge(p)
        numbers = [int(x) for x in seen[:-1]]
        equal(numbers, sorted(numbers), "values in order")
    for sub in subs[:5]:
        t.nothing(sub, pub)


@test(slow=True)
def the_expiry_of_a_retained_message_is_counted_down(t):  # [MQTT-3.3.2-6]
    t.connect(5).publish(t.topic(), b"x", 1, retain=True, props={"message_expiry": 100})
    time.sleep(1.6)
    left = t.subscriber(t.topic()).message().get("message_expiry")
    true(left in (98, 99), f"message expiry {left}")


@test(slow=True)
def an_expired_retained_message_is_gone(t):  # [MQTT-3.3.2-5]
    pub = t.connect(5)
    pub.publish(t.topic("a"), b"x", 1, retain=True, props={"message_expiry": 1})
    pub.publish(t.topic("b"), b"x", 1, retain=True)
    t.subscriber(t.topic("a")).message()
    time.sleep(2.2)
    sub = t.subscriber([t.topic("a"), t.topic("+")])
    equal([p.topic for p in t.exactly(1, sub, pub)], [t.topic("b")])


@test
def a_subscriber_gets_own_retained_messages(t):
    c = t.connect(5)
    c.publish(t.topic(), b"x", 1, retain=True)
    c.subscribe(t.topic(), 1)
    c.message(retain=True)


@test
def overlapping_filters_get_retained_messages_each(t):
    pub = t.connect(5)
    pub.publish(t.topic("a"), b"x", 1, retain=True)
    sub = t.connect(5)
    sub.subscribe(t.topic("a"), 1, {"subscription_id": 1})
    sub.message(subscription_id=[1])
    sub.subscribe(t.topic("+"), 1, {"subscription_id": 2})
    sub.message(subscription_id=[2])


@test
def clearing_ten_thousand_leaves_none(t):
    from mqtt import publish
    pub = t.connect(5)
    for payload in (b"x", b""):
        for at in range(0, 10000, 500):
            pub.send(*[publish(5, t.topic(f"{i}"), payload, 0, retain=True)
                       for i in range(at, at + 500)])
    pub.publish(t.topic("end"), b"x", 1, retain=True)
    sub = t.subscriber(t.topic("#"))
    sub.message(topic=t.topic("end"))
    t.nothing(sub, pub)


@test
def a_closed_reader_does_not_stop_retained_delivery(t):
    pub = t.connect(5)
    for i in range(200):
        pub.publish(t.topic(str(i)), bytes(5000), 0, retain=True)
    pub.ping()
    for _ in range(10):
        gone = t.subscriber(t.topic("#"), 0, receive_buffer=4096)
        gone.close()
    sub = t.subscriber(t.topic("#"))
    for _ in range(200):
        sub.message()
    try:
        seconds_until("quiet", lambda: sub.recv(0.02, quiet=True) is None)
    except Failure:
        raise


run()
