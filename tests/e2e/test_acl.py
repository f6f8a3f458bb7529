# tests/e2e/test_acl.py -- what clients may publish and what reaches them, by the ACL file.

import os

import mqtt
from broker import equal, run, test, true
from mqtt import PUBACK, PUBREC, ack, connect, publish
from secure import Files, at

ACL = """# above the first user: clients without a user name
topic read news/#
topic write drop/box
user alice
topic readwrite house/#
topic deny house/secret/#
topic write out/#
topic write news/#
user bob
topic read house/+/temp
topic write drop/+
topic read out/#
user stats
topic read $SYS/broker/version
pattern readwrite own/%u/#
pattern readwrite dev/%c/#
pattern read all/#
pattern readwrite mark/#
"""
FILES = Files(acl=ACL)


def config(more=""):
    return f"""
[broker]
workers = {os.environ.get("WORKERS", "2")}
sys_interval = 1s
[auth]
acl_file = {FILES.path("acl")}
{more}
[listener local]
bind = 127.0.0.1:{{port}}
[listener open]
bind = 0.0.0.0:{{port2}}
allow_anonymous = true
"""


ALL = (3, 4, 5)
LOCAL, OPEN = range(2)


def user(t, name=None, version=5, client_id=None, **rest):
    c = at(t, LOCAL, version)
    return c.login(client_id or t.new_id(), username=name, **rest)


def marked(sub, publisher, topic="mark/x"):
    """What came to `sub` before a message that it may read."""
    if not sub.marked:
        sub.subscribe(topic)
        sub.marked = True
    publisher.publish(topic, b"mark")
    found = []
    while True:
        p = sub.message()
        if p.payload == b"mark":
            return found
        found.append((p.topic, p.payload))


@test(versions=ALL)
def what_may_not_be_written_is_not_delivered(t, v):
    watch, bob = user(t, "alice"), user(t, "bob", v)
    watch.subscribe("house/#")
    for qos in (0, 1, 2):
        # MQTT 3 has no way to say it but to close, and acknowledges.
        equal(bob.publish("house/kitchen/temp", b"x", qos), 0x87 if v == 5 and qos else 0)
    equal(marked(watch, user(t)), [])
    bob.ping()  # it stays connected


@test
def a_refused_message_of_qos_2_is_over_with_its_pubrec(t):
    bob = user(t, "bob")
    bob.send(publish(5, "house/x", b"x", 2, pid=9))
    bob.expect(PUBREC, pid=9, reason=0x87)
    bob.send(publish(5, "drop/box", b"x", 1, pid=9))
    true(bob.expect(PUBACK, pid=9).reason < 0x80, "the packet id is free again")
    old = user(t, "bob", 4)
    old.send(publish(4, "house/x", b"x", 2, pid=9))
    old.expect(PUBREC, pid=9)
    old.send(ack(mqtt.PUBREL, 9))
    old.expect(mqtt.PUBCOMP, pid=9)


@test(versions=ALL)
def what_may_not_be_read_does_not_come(t, v):
    alice, bob = user(t, "alice"), user(t, "bob", v)
    equal(bob.subscribe([("#", 1), ("house/secret/x", 1), ("house/kitchen/temp", 1)]), [1, 1, 1],
          "mosquitto's way: all are accepted")
    for topic in ("house/kitchen/temp", "house/kitchen/light", "house/temp", "out/x", "news/x"):
        alice.publish(topic, topic, 1)
    found = [topic for topic, _ in marked(bob, alice)]
    equal(sorted(set(found)), ["house/kitchen/temp", "out/x"])


@test(versions=ALL)
def a_deny_counts_before_what_allows(t, v):  # NATS secnote-2026-26
    alice, watch = user(t, "alice", v), user(t, "alice")
    watch.subscribe("house/#")
    equal(alice.publish("house/secret/key", b"x", 1), 0x87 if v == 5 else 0)
    alice.publish("house/open", b"y", 1)
    equal(marked(watch, alice), [("house/open", b"y")])


@test(versions=ALL)
def rules_above_the_first_user_are_for_clients_without_a_name(t, v):
    nobody, alice, bob = user(t, None, v), user(t, "alice"), user(t, "bob", v)
    nobody.subscribe("#"), bob.subscribe("#")
    alice.publish("news/today", b"x", 1)
    equal(marked(nobody, alice), [("news/today", b"x")])
    equal(marked(bob, alice), [])
    equal(user(t).publish("drop/box", b"x", 1) & 0x80, 0)
    equal(user(t).publish("house/a", b"x", 1), 0x87)
    equal(user(t, "carol").publish("drop/box", b"x", 1), 0x87)


@test(versions=ALL)
def patterns_put_in_user_and_client(t, v):
    name = t.new_id("pump")
    c = user(t, "carol", v, name)
    bad = 0x87 if v == 5 else 0
    c.subscribe("#", 1)
    for topic, reason in (("own/carol/a", 0), (f"dev/{name}/a", 0), ("own/bob/a", bad),
                          ("dev/other/a", bad), ("own/carolx/a", bad), ("all/x", bad)):
        equal(c.publish(topic, topic, 1), reason, topic)
    equal(marked(c, c), [(x, x.encode()) for x in ("own/carol/a", f"dev/{name}/a")])


@test
def names_cannot_widen_a_pattern(t):  # CVE-2017-7650
    watch = user(t, "bob")
    watch.subscribe("own/bob/#")
    for name, client_id in (("+", None), ("#", None), (None, "+"), ("+/bob", None),
                            ("bob/x", None)):
        c = user(t, name, 5, client_id)
        for topic in ("own/bob/x", "dev/other/x", "own/bob/x/y"):
            equal(c.publish(topic, b"x", 1), 0x87, f"{name} {client_id} {topic}")
        c.logout()
    equal(marked(watch, user(t, "alice")), [])


@test(versions=ALL)
def a_will_that_may_not_be_written_refuses_the_connection(t, v):
    c = at(t, LOCAL, v)
    c.send(connect(v, t.new_id(), username="bob", will={"topic": "house/x", "payload": "gone"}))
    c.refused(0x87 if v == 5 else 5)
    t.broker.says('event="client refused"', "user=bob", 'reason="not authorized"')
    watch = user(t, "bob")
    watch.subscribe("out/#")
    dying = user(t, "alice", v, will={"topic": "out/will", "payload": "gone"})
    dying.drop()
    watch.message(topic="out/will", payload=b"gone")


@test(versions=ALL)
def retained_messages_come_only_to_those_who_may_read(t, v):
    alice = user(t, "alice")
    kept = f"house/{t.base}/temp"
    for topic in (kept, f"house/{t.base}/light", f"out/{t.base}"):
        alice.publish(topic, topic, 1, retain=True)
    bob, nobody = user(t, "bob", v), user(t, None, v)
    bob.subscribe([("house/#", 1), ("out/#", 1)]), nobody.subscribe("#", 1)
    # (They may come later than what is published meanwhile, so no mark ends them.)
    found = [p.topic for p in t.settled(bob) if t.base in p.topic]
    equal(sorted(found), sorted([kept, f"out/{t.base}"]))
    equal([p.topic for p in t.settled(nobody) if t.base in p.topic], [])
    bob.publish(kept, b"", 1, retain=True)  # which would delete it
    late = user(t, "bob", v)
    late.subscribe(kept, 1)
    late.message(topic=kept, retain=True)


@test(versions=(4, 5))
def a_member_of_a_group_gets_only_what_it_may_read(t, v):
    alice = user(t, "alice")
    members = [user(t, name, v) for name in ("bob", "carol")]
    for m in members:
        m.subscribe(f"$share/{t.base}/house/#", 1)
    for i in range(10):
        alice.publish("house/a/light", b"%d" % i, 1)
    for m in members:
        equal(marked(m, alice), [])


@test(versions=ALL)
def sys_topics_are_for_clients_of_this_machine(t, v):  # CVE-2024-42655
    here = user(t, "carol", v)
    here.subscribe("$SYS/broker/version", 0)
    here.message(topic="$SYS/broker/version")
    there = at(t, OPEN, v).login(t.new_id(), username="carol")
    there.subscribe([("$SYS/#", 0), ("#", 0)])
    equal([p.topic for p in t.settled(there)], [])
    allowed = at(t, OPEN, v).login(t.new_id(), username="stats")
    allowed.subscribe("$SYS/#", 0)
    allowed.message(topic="$SYS/broker/version")
    equal([x for x, _ in marked(allowed, user(t)) if x != "$SYS/broker/version"], [])
    equal(there.publish("$SYS/broker/version", b"x", 1), 0x87 if v == 5 else 0)


@test(versions=ALL, text=config("acl_check_subscribe = true"))
def subscriptions_may_be_checked_too(t, v):
    bad = 0x87 if v == 5 else 0x80
    bob = user(t, "bob", v)
    granted = bob.subscribe([("house/x/temp", 1), ("house/#", 1), ("#", 2), ("house/x/light", 1),
                             ("own/alice/#", 0), ("own/bob/+", 0), ("nothing/#", 1),
                             (f"dev/{bob.id}/x", 1), ("$SYS/broker/version", 0)])
    equal(granted, [1, 1, 2, bad, bad, 0, bad, 1, 0])
    if v != 3:
        equal(bob.subscribe([("$share/g/house/x/light", 1), ("$share/g/house/x/temp", 1)]), [bad, 1])
    there = at(t, OPEN, v).login(t.new_id(), username="carol")
    equal(there.subscribe("$SYS/broker/version"), [bad])
    alice = user(t, "alice")
    equal(alice.subscribe([("house/secret/a", 0), ("house/secret/#", 0), ("house/+/a", 0)]),
          [0x87, 0x87, 0])


@test
def a_kept_session_has_the_rights_of_its_present_user(t):
    name, keep = t.new_id(), {"session_expiry": 60}
    alice = user(t, "alice", 5, name, clean=False, props=keep)
    alice.subscribe("house/#", 1)
    alice.logout()
    user(t, "alice").publish("house/kitchen/light", b"while away", 1)
    carol = user(t, "carol", 5, name, clean=False, props=keep)
    equal(marked(carol, user(t, "alice")), [], "what waited for another user")
    user(t, "alice").publish("house/kitchen/light", b"now", 1)
    equal(marked(carol, user(t, "alice")), [])


@test(text=f"[auth]\nacl_file = {Files(acl='').path('acl')}\n"
           "[listener a]\nbind = 127.0.0.1:{port}")
def an_empty_file_allows_nothing(t):  # CVE-2018-12550
    a, b = at(t, LOCAL).login(t.new_id()), at(t, LOCAL).login(t.new_id(), username="x")
    equal(a.subscribe("#", 1), [1])
    equal([c.publish("a", b"x", 1) for c in (a, b)], [0x87, 0x87])
    equal(a.recv(0.2, quiet=True), None)


run(text=config())
