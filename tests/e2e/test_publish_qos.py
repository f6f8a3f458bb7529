# tests/e2e/test_publish_qos.py -- PUBLISH at QoS 0, 1 and 2 in both directions.

from broker import Failure, equal, run, test, true
from mqtt import (AS_PUBLISHED, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, ack, frame, publish,
                  text)

ALL = (3, 4, 5)


@test(versions=ALL)
def delivers_with_the_lesser_of_both_qos(t, v):  # [MQTT-3.8.4-8], 4.3
    pub = t.connect()
    for sub_version in ALL:
        for granted in (0, 1, 2):
            topic = t.topic(f"{sub_version}/{granted}")
            sub = t.subscriber(topic, granted, version=sub_version)
            for qos in (0, 1, 2):
                equal(pub.publish(topic, f"at {qos}", qos), 0, "reason")
                sub.message(topic=topic, payload=f"at {qos}", qos=min(qos, granted), dup=False,
                            retain=False)


@test(versions=ALL)
def puback_has_the_packet_id(t, v):  # [MQTT-4.3.2-4]
    c = t.connect()
    for pid in (1, 2, 255, 256, 65535, 7, 7):
        c.send(publish(v, t.topic(), b"x", qos=1, pid=pid))
        p = c.expect(PUBACK, pid=pid)
        if v != 5:
            equal(len(p.body), 2, "bytes of PUBACK")


@test(versions=ALL)
def qos_2_goes_in_four_steps(t, v):  # [MQTT-4.3.3-8..11]
    sub = t.subscriber(t.topic(), 2, version=5)
    c = t.connect()
    c.send(publish(v, t.topic(), b"x", qos=2, pid=9))
    c.expect(PUBREC, pid=9, reason=0)
    c.send(ack(PUBREL, 9))
    c.expect(PUBCOMP, pid=9, reason=0)
    p = sub.message(ack=False, qos=2)
    sub.send(ack(PUBREC, p.pid))
    sub.expect(PUBREL, pid=p.pid, reason=0)
    sub.pubcomp(p.pid)
    sub.ping()


@test(versions=ALL)
def qos_2_sent_again_before_pubrel_is_delivered_once(t, v):  # [MQTT-4.3.3-10]
    sub = t.subscriber(t.topic(), 2, version=5)
    c = t.connect()
    for dup in (False, True, True):
        c.send(publish(v, t.topic(), b"x", qos=2, pid=9, dup=dup))
        c.expect(PUBREC, pid=9)
    c.send(ack(PUBREL, 9))
    c.expect(PUBCOMP, pid=9)
    equal(len(t.until_mark(sub, c)), 1, "copies")


@test(versions=ALL)
def after_pubrel_the_packet_id_is_a_new_message(t, v):  # [MQTT-4.3.3-12]
    sub = t.subscriber(t.topic(), 2, version=5)
    c = t.connect()
    for i in range(3):
        c.send(publish(v, t.topic(), str(i), qos=2, pid=9))
        c.expect(PUBREC, pid=9)
        c.send(ack(PUBREL, 9))
        c.expect(PUBCOMP, pid=9)
        sub.message(payload=str(i))


@test(versions=ALL)
def a_packet_id_is_free_after_puback(t, v):
    sub = t.subscriber(t.topic(), 1, version=5)
    c = t.connect()
    for i in range(5):
        c.send(publish(v, t.topic(), str(i), qos=1, pid=1))
        c.expect(PUBACK, pid=1)
        sub.message(payload=str(i))


@test(versions=ALL)
def pubrel_sent_again_is_answered_again(t, v):  # [MQTT-4.3.3-11]
    c = t.connect()
    c.send(publish(v, t.topic(), b"x", qos=2, pid=9))
    c.expect(PUBREC, pid=9)
    c.send(ack(PUBREL, 9))
    c.expect(PUBCOMP, pid=9, reason=0)
    c.send(ack(PUBREL, 9))
    c.expect(PUBCOMP, pid=9, reason=0x92 if v == 5 else 0)


@test(versions=ALL)
def pubrec_sent_again_is_answered_again(t, v):
    sub = t.subscriber(t.topic(), 2)
    t.connect(5).publish(t.topic(), b"x", 2)
    p = sub.message(ack=False)
    for _ in range(3):
        sub.send(ack(PUBREC, p.pid))
        sub.expect(PUBREL, pid=p.pid)
    sub.pubcomp(p.pid)
    sub.ping()


@test(versions=ALL)
def pubrec_for_an_unknown_id_is_answered(t, v):
    c = t.connect()
    c.send(ack(PUBREC, 4711))
    c.expect(PUBREL, pid=4711, reason=0x92 if v == 5 else 0)
    c.ping()


@test
def pubrec_that_refuses_ends_the_delivery(t):  # [MQTT-4.3.3-4], [MQTT-4.3.3-5]
    sub = t.subscriber(t.topic(), 2, props={"receive_maximum": 1})
    pub = t.connect(5)
    pub.publish(t.topic(), b"refused", 2)
    pub.publish(t.topic(), b"next", 2)
    p = sub.message(ack=False, payload=b"refused")
    del sub.in_flight[p.pid]
    sub.send(ack(PUBREC, p.pid, 0x97))
    sub.message(payload=b"next")


@test
def puback_that_refuses_ends_the_delivery(t):
    sub = t.subscriber(t.topic(), 1, props={"receive_maximum": 1})
    pub = t.connect(5)
    pub.publish(t.topic(), b"refused", 1)
    pub.publish(t.topic(), b"next", 1)
    p = sub.message(ack=False, payload=b"refused")
    del sub.in_flight[p.pid]
    sub.send(ack(PUBACK, p.pid, 0x83, {"reason_string": "no", "user": ("a", "b")}))
    sub.message(payload=b"next")


@test
def acknowledgements_may_have_all_forms(t):  # 3.4.2.1: 2, 3 or more bytes
    sub = t.subscriber(t.topic(), 2)
    pub = t.connect(5)
    forms = [{}, {"reason": 0}, {"reason": 0, "props": {}},
             {"reason": 0, "props": [("reason_string", "why"), ("user", ("a", "b"))]}]
    for form in forms:
        pub.publish(t.topic(), b"1", 1)
        p = sub.message(ack=False)
        del sub.in_flight[p.pid]
        sub.send(ack(PUBACK, p.pid, **form))
        pub.publish(t.topic(), b"2", 2)
        p = sub.message(ack=False)
        sub.send(ack(PUBREC, p.pid, **form))
        sub.expect(PUBREL, pid=p.pid)
        del sub.in_flight[p.pid]
        sub.send(ack(PUBCOMP, p.pid, **form))
        pub.send(publish(5, t.topic(), b"3", qos=2, pid=77))
        pub.expect(PUBREC, pid=77)
        pub.send(ack(PUBREL, 77, **form))
        pub.expect(PUBCOMP, pid=77, reason=0)
        sub.message(payload=b"3")


@test(versions=ALL)
def dup_of_the_publisher_is_not_passed_on(t, v):  # [MQTT-3.3.1-3]
    sub = t.subscriber(t.topic(), 2, version=5)
    c = t.connect()
    c.send(publish(v, t.topic(), b"x", qos=1, pid=5, dup=True))
    c.expect(PUBACK, pid=5)
    sub.message(dup=False)
    c.send(publish(v, t.topic(), b"x", qos=2, pid=6, dup=True))
    c.expect(PUBREC, pid=6)
    c.send(ack(PUBREL, 6))
    c.expect(PUBCOMP, pid=6)
    sub.message(dup=False)


@test
def says_that_nobody_wanted_a_message(t):  # 3.4.2.1: 0x10
    c = t.connect(5)
    equal(c.publish(t.topic("none"), b"x", 1), 0x10)
    equal(c.publish(t.topic("none"), b"x", 2), 0x10)
    t.subscriber(t.topic("+"), 0)
    equal(c.publish(t.topic("some"), b"x", 1), 0)
    equal(c.publish(t.topic("some"), b"x", 2), 0)


@test(versions=ALL)
def a_publisher_gets_its_own_messages(t, v):
    c = t.subscriber(t.topic("#"), 2)
    for qos in (0, 1, 2):
        c.publish(t.topic("own"), str(qos), qos)
        c.message(payload=str(qos), qos=qos)


@test(versions=ALL)
def messages_of_a_topic_stay_in_order(t, v):  # [MQTT-4.6.0-5], [MQTT-4.6.0-6]
    pub = t.connect()
    for qos in (0, 1, 2):
        topic = t.topic(str(qos))
        sub = t.subscriber(topic, qos, version=5)
        packets = [publish(v, topic, str(i), qos, pid=i + 1 if qos else 0) for i in range(200)]
        pub.send(*packets)
        if qos == 2:
            for i in range(200):
                pub.expect(PUBREC, pid=i + 1)  # [MQTT-4.6.0-3]
            pub.send(*[ack(PUBREL, i + 1) for i in range(200)])
        for i in range(200 if qos else 0):
            pub.expect(PUBACK if qos == 1 else PUBCOMP, pid=i + 1)  # [MQTT-4.6.0-2]
        equal([sub.message().payload for _ in range(200)], [b"%d" % i for i in range(200)])


@test(versions=ALL)
def payloads_of_all_sizes_arrive_whole(t, v):
    topic = t.topic()
    c = t.subscriber(topic, 1)
    around = len(publish(v, topic, b"", qos=1, pid=1)) - 2
    for edge in (0, 127, 128, 16383, 16384, 2097151, 2097152):
        size = max(0, edge - around)
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        c.publish(topic, payload, 1)
        true(c.message().payload == payload, f"{size} bytes were changed")


@test
def an_empty_payload_is_a_message(t):
    c = t.subscriber(t.topic(), 1)
    c.publish(t.topic(), b"", 1)
    c.message(payload=b"")


@test(versions=ALL)
def topics_arrive_as_they_were_sent(t, v):  # [MQTT-1.5.3-3], [MQTT-4.7.3-4]
    c = t.subscriber("#", 0)
    base = t.topic("")
    for tail in ("a b", "ä☃𝄞", "\ufeffbom", "/", "//", "x/", "/x", "$not first", "a" * 5000):
        c.publish(base + tail, b"x")
        while c.message().topic != base + tail:
            pass  # others of this file are matched too
    for tail in ("/first", "/"):
        c.publish(tail, b"x")
        while c.message().topic != tail:
            pass


# ---- what a PUBLISH must not be ----

@test(versions=ALL)
def qos_3_ends_the_connection(t, v):  # [MQTT-3.3.1-4]
    c = t.connect()
    c.send(frame(PUBLISH, 6, text(t.topic()) + b"\0\1" + (b"\0" if v == 5 else b"") + b"x"))
    c.closed(0x81)


@test(versions=(4, 5))
def qos_0_with_dup_ends_the_connection(t, v):  # [MQTT-3.3.1-2]
    c = t.connect()
    c.send(publish(v, t.topic(), b"x", dup=True))
    c.closed(0x81, 0x82)


@test(versions=ALL)
def packet_id_0_ends_the_connection(t, v):  # [MQTT-2.3.1-1]
    for qos in (1, 2):
        c = t.connect()
        c.send(publish(v, t.topic(), b"x", qos, pid=0))
        c.closed(0x81, 0x82)


@test(versions=ALL)
def a_wildcard_in_the_topic_ends_the_connection(t, v):  # [MQTT-3.3.2-2]
    for bad in ("a/+", "#", "a/#", "+", "a+b", "a#", "a/+/b"):
        for qos in (0, 1):
            c = t.connect()
            c.send(publish(v, bad, b"x", qos, pid=1))
            c.closed(0x90, 0x81)


@test(versions=ALL)
def an_ill_formed_topic_ends_the_connection(t, v):  # [MQTT-3.3.2-1], [MQTT-1.5.3-2], CVE-2017-7653
    for bad in (b"\xff", b"a\0b", b"\0", b"\xed\xa0\x80", b"a/\xc3", b"\xf8\x88\x80\x80\x80"):
        c = t.connect()
        c.send(publish(v, bad, b"x"))
        c.closed(0x81, 0x90)


@test(versions=ALL)
def an_empty_topic_ends_the_connection(t, v):  # [MQTT-4.7.3-1], CVE-2021-34432
    c = t.connect()
    c.send(publish(v, "", b"x"))
    c.closed(0x82, 0x81, 0x90)


@test(versions=ALL)
def a_publish_cut_short_ends_the_connection(t, v):
    topic = text("abc")
    for flags, body in ((0, b""), (0, b"\0"), (0, b"\0\5ab"), (2, topic), (2, topic + b"\0"),
                        (0, b"\xff\xffab")):
        c = t.connect()
        c.send(frame(PUBLISH, flags, body))
        c.closed(0x81)


@test(versions=(4, 5))
def pubrel_with_wrong_flags_ends_the_connection(t, v):  # [MQTT-3.6.1-1]
    for flags in (0, 1, 3, 8):
        c = t.connect()
        c.send(frame(PUBREL, flags, b"\0\1"))
        c.closed(0x81)


@test(versions=(4, 5))
def acknowledgements_with_flags_end_the_connection(t, v):  # [MQTT-2.2.2-2], FlashMQ 0c79f94
    for kind in (PUBACK, PUBREC, PUBCOMP):
        c = t.connect()
        c.send(frame(kind, 2, b"\0\1"))
        c.closed(0x81)


@test(versions=ALL)
def a_remaining_length_of_five_bytes_ends_the_connection(t, v):  # 1.5.5, CVE-2026-21888
    c = t.connect()
    c.send(b"\x30\x80\x80\x80\x80\x01" + b"\0" * 20)
    c.closed(0x81)


# ---- many at once ----

@test
def packet_ids_wrap_and_stay_unique(t):  # [MQTT-2.2.1-4]; the client checks each
    topic = t.topic()
    total, step = 66000, 500
    sub = t.subscriber(topic, 1)
    pub = t.connect(5)
    one = publish(5, topic, b"x", qos=1, pid=1)
    at = 2 + 2 + len(topic)
    sent = 0
    for _ in range(total // step):
        pub.send(*[one[:at] + (i + 1).to_bytes(2, "big") + one[at + 2:] for i in range(step)])
        sent += step
        for i in range(step):
            pub.expect(PUBACK, pid=i + 1)
        for _ in range(step):
            sub.message()


@test
def a_message_reaches_a_hundred_subscribers_once(t):
    subs = [t.subscriber(t.topic("+"), i % 3, version=ALL[i % 3]) for i in range(100)]
    pub = t.connect(5)
    for qos in (0, 1, 2):
        pub.publish(t.topic("x"), str(qos), qos)
    for i, sub in enumerate(subs):
        for qos in (0, 1, 2):
            sub.message(payload=str(qos), qos=min(qos, i % 3))
    for sub in subs[:10]:
        t.nothing(sub, pub)


@test
def retain_as_published_has_no_part_in_qos(t):
    sub = t.subscriber(t.topic(), 2 | AS_PUBLISHED)
    t.connect(5).publish(t.topic(), b"x", 2)
    sub.message(qos=2, retain=False)


@test
def every_publisher_is_answered_while_others_publish(t):
    topic = t.topic()
    sub = t.subscriber(topic, 0)
    pubs = [t.connect(ALL[i % 3]) for i in range(10)]
    for p in pubs:
        p.send(*[publish(p.version, topic, b"x", qos=1, pid=i + 1) for i in range(50)])
    for p in pubs:
        for i in range(50):
            if p.expect(PUBACK).pid != i + 1:
                raise Failure("PUBACK out of order")
    for _ in range(500):
        sub.message()


run()
