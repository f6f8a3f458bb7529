# tests/e2e/test_link.py -- linked brokers: what crosses, what does not, and how links come back.

import itertools
import signal
import time

import mqtt
from broker import (FOREIGN_PORT, WORKERS, Broker, Failure, equal, free_port, main, picked,
                    seconds_until, true)
from mqtt import AS_PUBLISHED, PUBACK, Client, publish

# The two brokers of the quick start, with free ports.
US = """
[broker]
workers = {workers}
[cluster]
name = cluster-us-east
[listener mqtt]
bind = 127.0.0.1:{us}
[listener clink]
bind = 127.0.0.1:{us_link}
[link cluster-eu-west]
server = 127.0.0.1:{eu_link}
clientid = clink-us-east
topics = {us_wants}
"""
EU = """
[broker]
workers = {workers}
[cluster]
name = cluster-eu-west
[listener mqtt]
bind = 127.0.0.1:{eu}
[listener clink]
bind = 127.0.0.1:{eu_link}
[link cluster-us-east]
server = 127.0.0.1:{us_link}
clientid = clink-eu-west
topics = {eu_wants}
"""
LIMIT = 2 * mqtt.WAIT
# A filter that covers others stays for 30 s after its last subscriber.
LINGER = 45
numbers = itertools.count(1)


class World:
    """Brokers that belong together, and the clients of one test."""

    def __init__(self):
        self.brokers = []
        self.clients = []

    def start(self, text, *ports, **words):
        self.brokers.append(Broker(text=text.format(**words), ports=list(ports)))
        return self.brokers[-1]

    def connect(self, broker, version=5, client_id=None, **rest):
        c = Client(broker.address, version)
        self.clients.append(c)
        return c.login(client_id or f"link{next(numbers)}", **rest)

    def subscribe(self, broker, filters, options=0, version=5, props=None, **rest):
        c = self.connect(broker, version, **rest)
        for reason in c.subscribe(filters, options, props):
            true(reason < 3, f"SUBACK says 0x{reason:02x}")
        return c

    def end_test(self):
        for c in self.clients:
            c.close()
        self.clients = []

    def stop(self):
        wrong = []
        for b in self.brokers:
            try:
                b.stop()
            except Failure as error:
                wrong.append(str(error))
        self.brokers = []
        true(not wrong, "\n".join(wrong))


def pair(us_wants="#", eu_wants="#", workers=WORKERS):
    world = World()
    words = {"us": free_port(), "us_link": free_port(), "eu": free_port(), "eu_link": free_port(),
             "us_wants": us_wants, "eu_wants": eu_wants, "workers": workers}
    world.us = world.start(US, words["us"], words["us_link"], **words)
    world.eu = world.start(EU, words["eu"], words["eu_link"], **words)
    return world


def crossing(pub, sub, topic, qos=0):
    """Waits until what `pub` publishes reaches `sub`, and throws away what it took to find out."""
    word = f"probe {next(numbers)}".encode()
    last = word + b" last"

    def arrived():
        pub.publish(topic, word, qos)
        return any(p.payload == word for p in waiting(sub, 0.05))

    seconds_until(f"{topic} crosses the link", arrived, LIMIT)
    pub.publish(topic, last, qos)
    while sub.message().payload != last:
        pass


def waiting(sub, seconds):
    """What arrives until it is silent for so long."""
    found = list(sub.inbox)
    sub.inbox.clear()
    while True:
        p = sub.recv(seconds, quiet=True)
        if p is None:
            return found
        if p.kind == mqtt.PUBLISH:
            sub.acknowledge(p)
            found.append(p)


def until_end(sub, pub, topic, qos=0):
    """All that reaches `sub` before a message that `pub` publishes now."""
    end = f"end {next(numbers)}".encode()
    pub.publish(topic, end, qos)
    found = []
    while True:
        p = sub.message()
        if p.payload == end:
            return found
        found.append(p)


def arrives_nothing(sub, pub, topic, seconds=0.4):
    """For what crosses no link: there is no message behind which it could hide."""
    pub.publish(topic, b"must not cross", 1)
    found = [p for p in waiting(sub, seconds) if p.payload == b"must not cross"]
    true(not found, f"it crossed: {found[:3]}")


QUICK = []  # tests that share the pair of the quick start


def quick(f):
    QUICK.append(f)
    return f


def both(world):
    return ((world.us, world.eu), (world.eu, world.us))


@quick
def messages_cross_in_both_directions_at_all_qos(w):
    for n, (here, there) in enumerate(both(w)):
        for version in (3, 4, 5):
            topic = f"cross/{n}/{version}"
            sub, pub = w.subscribe(there, topic, 2, version), w.connect(here, version)
            crossing(pub, sub, topic)
            for qos in (0, 1, 2):
                equal(pub.publish(topic, f"at {qos}", qos), 0, "reason")
                p = sub.message(topic=topic, payload=f"at {qos}", dup=False, retain=False)
                true(min(qos, 1) <= p.qos <= qos, f"published at {qos}, delivered at {p.qos}")
            equal(until_end(sub, pub, topic), [], "more copies")


@quick
def the_lesser_qos_counts_across_the_link_too(w):
    subs = [w.subscribe(w.eu, "lesser", qos) for qos in (0, 1)]
    pub = w.connect(w.us)
    for sub in subs:
        crossing(pub, sub, "lesser")
    waiting(subs[0], 0.1)
    pub.publish("lesser", b"x", 1)
    for qos, sub in enumerate(subs):
        while True:
            p = sub.message()
            if p.payload == b"x":
                break
        equal(p.qos, qos)


@quick
def wildcards_are_announced(w):
    pub = w.connect(w.us)
    for filter_, topic in (("wild/+/x", "wild/a/x"), ("wild/deep/#", "wild/deep/a/b"),
                           ("wild/deep/#", "wild/deep"), ("+/third/+", "wild/third/y")):
        sub = w.subscribe(w.eu, filter_, 1)
        crossing(pub, sub, topic)
        pub.publish(topic, b"x", 1)
        sub.message(topic=topic, payload=b"x")
        sub.logout()


@quick
def one_copy_for_each_subscriber(w):
    pub = w.connect(w.us)
    subs = [w.subscribe(w.eu, f, 1) for f in ("copy/a", "copy/+", "copy/#", "copy/a")]
    local = w.subscribe(w.us, "copy/#", 1)
    for sub in subs:
        crossing(pub, sub, "copy/a")
    for i in range(10):
        pub.publish("copy/a", f"real {i}", 1)
    for sub in subs + [local]:
        found = [p.payload for p in until_end(sub, pub, "copy/a", 1)]
        equal([x for x in found if x.startswith(b"real")],
              [b"real %d" % i for i in range(10)], "copies")


@quick
def subscribers_of_everything_on_both_sides_get_one_copy(w):
    here, there = w.subscribe(w.us, "every/#", 1), w.subscribe(w.eu, "every/#", 1)
    pub_us, pub_eu = w.connect(w.us), w.connect(w.eu)
    crossing(pub_us, there, "every/x")
    crossing(pub_eu, here, "every/x")
    waiting(here, 0.2), waiting(there, 0.2)
    for i in range(20):
        pub_us.publish("every/x", f"us {i}", i % 3)
        pub_eu.publish("every/x", f"eu {i}", i % 3)
    for sub in (here, there):
        found = sorted(sub.message().payload for _ in range(40))
        equal(found, sorted([b"us %d" % i for i in range(20)] + [b"eu %d" % i for i in range(20)]))
    equal(waiting(here, 0.3) + waiting(there, 0.1), [], "more copies")


@quick
def shared_subscriptions_work_across_the_link(w):
    pub = w.connect(w.us)
    subs = [w.subscribe(w.eu, "$share/g/shared/+", 1) for _ in range(2)]
    seconds_until("the group is known", lambda: pub.publish("shared/probe", b"", 1) == 0, LIMIT)
    seconds_until("something crosses", lambda: [pub.publish("shared/probe", b"", 1)] and
                  any(waiting(s, 0.05) for s in subs), LIMIT)
    for sub in subs:
        waiting(sub, 0.2)
    for i in range(20):
        pub.publish(f"shared/{i}", str(i), 1)
    found = []
    seconds_until("20 messages", lambda: found.extend(
        p.payload for s in subs for p in waiting(s, 0.02)) or len(found) >= 20)
    equal(sorted(map(int, found)), list(range(20)))
    equal(sum((waiting(s, 0.2) for s in subs), []), [], "more copies")


@quick
def a_group_on_both_sides_gets_one_copy_in_each(w):
    pub = w.connect(w.us)
    here = w.subscribe(w.us, "$share/g/twin", 1)
    there = w.subscribe(w.eu, "$share/g/twin", 1)
    crossing(pub, there, "twin")
    waiting(here, 0.2)
    for i in range(10):
        pub.publish("twin", str(i), 1)
    for sub in (here, there):
        equal([int(sub.message().payload) for _ in range(10)], list(range(10)))


@quick
def order_holds_across_the_link(w):
    pub, sub = w.connect(w.us), w.subscribe(w.eu, "order", 1)
    crossing(pub, sub, "order")
    for qos in (0, 1):
        packets = [publish(5, "order", f"{i:05d}", qos, pid=i + 1 if qos else 0)
                   for i in range(1000)]
        for at in range(0, 1000, 200):
            pub.send(*packets[at:at + 200])
        for i in range(1000 * qos):
            pub.expect(PUBACK, pid=i + 1, reason=0)
        equal([int(sub.message().payload) for _ in range(1000)], list(range(1000)),
              f"order at QoS {qos}")
    equal(until_end(sub, pub, "order", 1), [], "more copies")


@quick
def payloads_and_topics_arrive_as_they_are(w):
    pub, sub = w.connect(w.us), w.subscribe(w.eu, "as it is/#", 1)
    crossing(pub, sub, "as it is/x")
    for i, size in enumerate((0, 1, 255, 256, 511, 512, 513, 65535, 65536, 1000000)):
        payload = bytes([i * 7 % 256]) * size
        pub.publish("as it is/ä☃/$/ ", payload, 1)
        p = sub.message(topic="as it is/ä☃/$/ ")
        true(p.payload == payload, f"{size} bytes were changed")
    pub.publish("as it is/bytes", bytes(range(256)), 1)
    sub.message(payload=bytes(range(256)))


@quick
def properties_cross_the_link(w):
    props = [("payload_format", 1), ("content_type", "text"), ("response_topic", "r/t"),
             ("correlation_data", b"\0\1\xff"), ("user", ("b", "1")), ("user", ("a", "2")),
             ("user", ("b", "1")), ("user", ("ü", ""))]
    pub = w.connect(w.us)
    sub = w.subscribe(w.eu, "props", 1, props={"subscription_id": 9})
    crossing(pub, sub, "props")
    pub.publish("props", b"x", 1, props=props + [("message_expiry", 100)])
    p = sub.message(subscription_id=[9])
    equal(p.all("user"), [v for n, v in props if n == "user"], "user properties")
    for name, value in props[:4]:
        equal(p.get(name), value, name)
    true(p.get("message_expiry") in (98, 99, 100), f"message expiry {p.get('message_expiry')}")


@quick
def retained_messages_cross_as_live_ones_only(w):
    pub = w.connect(w.us)
    plain = w.subscribe(w.eu, "retained", 1)
    as_published = w.subscribe(w.eu, "retained", 1 | AS_PUBLISHED)
    crossing(pub, plain, "retained")
    waiting(as_published, 0.2)
    pub.publish("retained", b"kept", 1, retain=True)
    plain.message(payload=b"kept", retain=False)
    as_published.message(payload=b"kept", retain=True)
    equal(waiting(w.subscribe(w.eu, "retained"), 0.2), [], "what the other side kept")
    w.subscribe(w.us, "retained").message(payload=b"kept", retain=True)
    pub.publish("retained", b"", 1, retain=True)


@quick
def wills_cross_the_link(w):
    pub, sub = w.connect(w.us), w.subscribe(w.eu, "will", 1)
    crossing(pub, sub, "will")
    w.connect(w.us, will={"topic": "will", "payload": "gone", "qos": 1}).drop()
    sub.message(payload=b"gone")


@quick
def sys_topics_do_not_cross(w):
    sub = w.subscribe(w.eu, ["#", "$SYS/#", "guard"])
    pub = w.connect(w.us)
    crossing(pub, sub, "guard")
    version = w.eu.said()
    true(version, "no log")
    uptimes = {p.topic for p in waiting(sub, 0.1)}
    true(all(not t.startswith("$LINK") for t in uptimes), f"{uptimes}")
    pub.publish("$own/topic", b"must not cross", 1)
    found = [p for p in until_end(sub, pub, "guard") if p.payload == b"must not cross"]
    equal(found, [], "a $-topic under #")


@quick
def the_publisher_is_told_that_somebody_far_wants_it(w):
    pub = w.connect(w.us)
    seconds_until("nobody of an earlier test wants it",
                  lambda: pub.publish("reason", b"x", 1) == 0x10, LINGER)
    sub = w.subscribe(w.eu, "reason", 1)
    seconds_until("reason 0", lambda: pub.publish("reason", b"x", 1) == 0, LIMIT)
    sub.unsubscribe("reason")
    seconds_until("the route is withdrawn",
                  lambda: pub.publish("reason", b"x", 1) == 0x10, LINGER)


@quick
def routes_are_withdrawn_when_the_last_subscriber_goes(w):
    pub = w.connect(w.us)
    for how in ("unsubscribe", "logout", "drop"):
        a, b = w.subscribe(w.eu, f"last/{how}/+", 1), w.subscribe(w.eu, f"last/{how}/+", 1)
        topic = f"last/{how}/x"
        crossing(pub, a, topic, 1)
        a.logout()
        time.sleep(0.1)
        equal(pub.publish(topic, b"still", 1), 0, "one is left")
        while b.message().payload != b"still":
            pass
        if how == "unsubscribe":
            b.unsubscribe(f"last/{how}/+")
        elif how == "logout":
            b.logout()
        else:
            b.drop()
        seconds_until(f"withdrawn after {how}",
                      lambda t=topic: pub.publish(t, b"x", 1) == 0x10, LINGER)


@quick
def a_kept_session_keeps_its_route(w):
    keep = {"session_expiry": 60}
    sub = w.connect(w.eu, props=keep)
    sub.subscribe("kept", 1)
    pub = w.connect(w.us)
    crossing(pub, sub, "kept", 1)
    sub.drop()
    for i in range(10):
        equal(pub.publish("kept", str(i), 1), 0)
    time.sleep(0.3)
    sub = w.connect(w.eu, client_id=sub.id, clean=False, props=keep)
    equal([int(sub.message().payload) for _ in range(10)], list(range(10)))
    w.connect(w.eu, client_id=sub.id, clean=True)


@quick
def thousands_of_routes_are_announced(w):
    sub, pub = w.connect(w.eu), w.connect(w.us)
    filters = [f"many/{i}/" + ("+" if i % 2 else "x") for i in range(5000)]
    for at in range(0, 5000, 500):
        sub.subscribe(filters[at:at + 500])
    crossing(pub, sub, "many/4999/x")
    for i in range(0, 5000, 97):
        crossing(pub, sub, f"many/{i}/x")
        pub.publish(f"many/{i}/x", str(i))
        while sub.message().payload != str(i).encode():
            pass
    for at in range(0, 5000, 500):
        sub.unsubscribe(filters[at:at + 500])
    seconds_until("all are withdrawn", lambda: all(
        pub.publish(f"many/{i}/x", b"", 1) == 0x10 for i in (0, 1, 2500, 4999)), LIMIT)


@quick
def subscribing_and_unsubscribing_in_turn_ends_right(w):
    pub = w.connect(w.us)
    sub = w.connect(w.eu)
    for _ in range(50):
        sub.subscribe("turn")
        sub.unsubscribe("turn")
    sub.subscribe("turn")
    crossing(pub, sub, "turn")
    sub.unsubscribe("turn")
    seconds_until("withdrawn", lambda: pub.publish("turn", b"x", 1) == 0x10, LIMIT)


@quick
def many_publishers_cross_at_once(w):
    sub = w.subscribe(w.eu, "crowd/+", 1)
    pubs = [w.connect(w.us) for _ in range(10)]
    for i, pub in enumerate(pubs):
        crossing(pub, sub, f"crowd/{i}")
    for i, pub in enumerate(pubs):
        pub.send(*[publish(5, f"crowd/{i}", f"{n}", 1, pid=n + 1) for n in range(100)])
    seen = {i: [] for i in range(10)}
    for _ in range(1000):
        p = sub.message()
        seen[int(p.topic[6:])].append(int(p.payload))
    for i in range(10):
        equal(seen[i], list(range(100)), f"order of publisher {i}")


@quick
def nonsense_under_link_does_no_harm(w):
    for payload in (b"", b"\x83", b"\x83\x74\xff\xff\xff\xff", b"\x83\x50\xff\xff\xff\xff\0",
                    bytes(1000), b"\x83" + b"\x68\x01" * 5000):
        for topic in ("$LINK/cluster/route/cluster-eu-west", "$LINK/cluster/msg/cluster-eu-west",
                      "$LINK/cluster/route/nobody", "$LINK/cluster/msg/", "$LINK/x", "$LINK"):
            try:
                c = w.connect(w.us)
                c.publish(topic, payload, 1)
                c.publish(topic, payload, 0)
            except Failure:
                pass
    pub, sub = w.connect(w.us), w.subscribe(w.eu, "after nonsense", 1)
    crossing(pub, sub, "after nonsense")


# ---- with brokers of their own ----

def topics_empty_is_one_way_only():
    world = pair(us_wants="#", eu_wants="")
    try:
        pub_us, pub_eu = world.connect(world.us), world.connect(world.eu)
        sub_us, sub_eu = world.subscribe(world.us, "way", 1), world.subscribe(world.eu, "way", 1)
        crossing(pub_eu, sub_us, "way", 1)
        waiting(sub_eu, 0.1)
        arrives_nothing(sub_eu, pub_us, "way")
    finally:
        world.end_test()
        world.stop()


def topics_say_what_is_wanted():
    world = pair(us_wants="a/#, b/+\ntopics = c", eu_wants="#")
    try:
        pub = world.connect(world.eu)
        sub = world.subscribe(world.us, "#", 1)
        crossing(pub, sub, "c")
        for topic in ("a", "a/x/y", "b/x"):
            crossing(pub, sub, topic)
        for topic in ("b", "b/x/y", "c/x", "d"):
            pub.publish(topic, b"must not cross", 1)
        found = [p for p in until_end(sub, pub, "c", 1) if p.payload == b"must not cross"]
        equal(found, [], "what is not wanted")
        narrow = world.subscribe(world.us, "+/x", 1)
        crossing(pub, narrow, "a/x")
        crossing(pub, narrow, "b/x")
    finally:
        world.end_test()
        world.stop()


def restarted(world, name, how):
    """Ends one broker and starts it again with its ports."""
    old = getattr(world, name)
    world.brokers.remove(old)
    if how == "kill":
        old.kill()
    else:
        old.stop()
    time.sleep(0.3)
    new = Broker(text=old.text, ports=old.ports)
    world.brokers.append(new)
    setattr(world, name, new)


def links_come_back_by_themselves():
    world = pair()
    try:
        for turn, how in enumerate(("kill", "stop")):
            for name, other in (("eu", "us"), ("us", "eu")):
                stays = world.subscribe(getattr(world, other), f"back/{turn}", 1)
                pub = world.connect(getattr(world, name))
                crossing(pub, stays, f"back/{turn}")
                restarted(world, name, how)
                # What the other side wants is announced again, and what is new here goes there.
                crossing(world.connect(getattr(world, name)), stays, f"back/{turn}")
                sub = world.subscribe(getattr(world, name), f"new/{turn}", 1)
                crossing(world.connect(getattr(world, other)), sub, f"new/{turn}")
                world.end_test()
    finally:
        world.end_test()
        world.stop()


def a_frozen_peer_does_not_stop_local_clients():
    world = pair()
    try:
        sub = world.subscribe(world.eu, "frozen", 1)
        local = world.subscribe(world.us, "frozen", 1)
        pub = world.connect(world.us)
        crossing(pub, sub, "frozen")
        waiting(local, 0.2)
        world.eu.process.send_signal(signal.SIGSTOP)
        try:
            for i in range(2000):
                pub.publish("frozen", b"%05d" % i + bytes(2000), 1)
                local.message()
        finally:
            world.eu.process.send_signal(signal.SIGCONT)
        crossing(pub, sub, "frozen")
    finally:
        world.end_test()
        world.stop()


def a_link_that_starts_alone_waits_for_its_peer():
    world = World()
    words = {"us": free_port(), "us_link": free_port(), "eu": free_port(), "eu_link": free_port(),
             "us_wants": "#", "eu_wants": "#", "workers": WORKERS}
    try:
        us = world.start(US, words["us"], words["us_link"], **words)
        sub = world.subscribe(us, "alone", 1)
        began = us.cpu_seconds()
        time.sleep(1)
        cost = us.cpu_seconds() - began
        true(cost < 0.2, f"waiting costs {cost:.2f} s of CPU in 1 s")
        eu = world.start(EU, words["eu"], words["eu_link"], **words)
        crossing(world.connect(eu), sub, "alone")
    finally:
        world.end_test()
        world.stop()


def a_peer_with_another_name_is_not_linked():
    world = World()
    words = {"us": free_port(), "us_link": free_port(), "eu": free_port(), "eu_link": free_port(),
             "us_wants": "#", "eu_wants": "#", "workers": WORKERS}
    try:
        us = world.start(US, words["us"], words["us_link"], **words)
        eu = world.start(EU.replace("name = cluster-eu-west", "name = cluster-xx"),
                         words["eu"], words["eu_link"], **words)
        sub, pub = world.subscribe(us, "stranger/1", 1), world.connect(eu)
        sub2, pub2 = world.subscribe(eu, "stranger/2", 1), world.connect(us)
        time.sleep(0.5)
        arrives_nothing(sub, pub, "stranger/1", 0.2)
        arrives_nothing(sub2, pub2, "stranger/2", 0.2)
        true("cluster" in us.said(), "nothing in the log")
    finally:
        world.end_test()
        world.stop()


NAMES = ("north", "south", "east")


def several(links):
    """Brokers NAMES with a link for each pair in `links`."""
    world = World()
    ports = {n: (free_port(), free_port()) for n in NAMES}
    by_name = {}
    for n in NAMES:
        text = f"[cluster]\nname = {n}\n[broker]\nworkers = {WORKERS}\n"
        text += "".join(f"[listener l{i}]\nbind = 127.0.0.1:{p}\n" for i, p in enumerate(ports[n]))
        for peer in NAMES:
            if {n, peer} in links:
                text += (f"[link {peer}]\nserver = 127.0.0.1:{ports[peer][1]}\n"
                         f"clientid = from-{n}\ntopics = #\n")
        by_name[n] = world.start(text.replace("{", "{{").replace("}", "}}"), *ports[n])
    return world, by_name


def three_in_a_full_mesh_get_one_copy_each():  # mosq#1263, mosq#1467, verne#753
    world, brokers = several([{a, b} for a in NAMES for b in NAMES if a != b])
    try:
        subs = {n: world.subscribe(b, "mesh/#", 1) for n, b in brokers.items()}
        pubs = {n: world.connect(b) for n, b in brokers.items()}
        for a in NAMES:
            for b in NAMES:
                if a != b:
                    crossing(pubs[a], subs[b], "mesh/x")
        for sub in subs.values():
            waiting(sub, 0.2)
        for i in range(10):
            for n, pub in pubs.items():
                pub.publish("mesh/x", f"{n} {i}", i % 3)
        wanted = sorted(f"{n} {i}".encode() for n in NAMES for i in range(10))
        for sub in subs.values():
            equal(sorted(sub.message().payload for _ in range(30)), wanted)
        equal(sum((waiting(s, 0.2) for s in subs.values()), []), [], "more copies")
    finally:
        world.end_test()
        world.stop()


def messages_cross_one_link_only():  # mosq#3011, emqx#4619, emqx#11672
    world, brokers = several([{"north", "south"}, {"south", "east"}])
    try:
        subs = {n: world.subscribe(b, "chain", 1) for n, b in brokers.items()}
        pub = world.connect(brokers["north"])
        crossing(pub, subs["south"], "chain")
        crossing(world.connect(brokers["south"]), subs["east"], "chain")
        waiting(subs["east"], 0.1)
        arrives_nothing(subs["east"], pub, "chain")
    finally:
        world.end_test()
        world.stop()


def link_topics_are_closed_where_links_are_not_allowed():
    world = World()
    words = {"us": free_port(), "us_link": free_port(), "eu": free_port(), "eu_link": free_port(),
             "us_wants": "#", "eu_wants": "#", "workers": WORKERS}
    try:
        closed = US.replace("bind = 127.0.0.1:{us}\n", "bind = 127.0.0.1:{us}\nlinks = no\n")
        us = world.start(closed, words["us"], words["us_link"], **words)
        for topic in ("$LINK/cluster/route/cluster-eu-west", "$LINK/cluster/msg/cluster-eu-west",
                      "$LINK/anything"):
            for qos in (1, 2):
                c = world.connect(us)
                c.send(publish(5, topic, b"x", qos, pid=1))
                p = c.recv()
                true(p.reason == 0x87, f"{topic} at QoS {qos}: {p}")
            equal(world.connect(us, 4).publish(topic, b"x", 0), 0)
        c = world.connect(us)
        for filter_ in ("$LINK/#", "$LINK/cluster/resp/+/+"):
            true(c.subscribe(filter_)[0] >= 0x80, f"{filter_} may be subscribed to")
    finally:
        world.end_test()
        world.stop()


def a_listener_for_links_only_takes_no_clients():
    world = pair()
    world.stop()
    world = World()
    words = {"us": free_port(), "us_link": free_port(), "eu": free_port(), "eu_link": free_port(),
             "us_wants": "#", "eu_wants": "#", "workers": WORKERS}
    try:
        only = US.replace("bind = 127.0.0.1:{us_link}\n",
                          "bind = 127.0.0.1:{us_link}\nlinks = only\n")
        us = world.start(only, words["us"], words["us_link"], **words)
        eu = world.start(EU, words["eu"], words["eu_link"], **words)
        sub = world.subscribe(us, "only", 1)
        crossing(world.connect(eu), sub, "only")
        c = Client(("127.0.0.1", words["us_link"]), 4)
        world.clients.append(c)
        c.send(mqtt.connect(4, "ordinary"))
        try:
            p = c.recv()
            if p.reason == 0:
                c.send(publish(4, "only", b"intruder", 1, pid=1))
                c.recv()
        except Failure:
            pass
        found = [p for p in waiting(sub, 0.3) if p.payload == b"intruder"]
        equal(found, [], "what a client of a listener for links published")
    finally:
        world.end_test()
        world.stop()


def other_numbers_of_workers_link_too():
    for workers in (1, 7):
        world = pair(workers=workers)
        try:
            for n, (here, there) in enumerate(both(world)):
                subs = [world.subscribe(there, f"w/{n}/+", 1) for _ in range(8)]
                pubs = [world.connect(here) for _ in range(8)]
                for sub in subs:
                    crossing(pubs[0], sub, f"w/{n}/probe")
                for sub in subs:
                    waiting(sub, 0.05)
                for i, pub in enumerate(pubs):
                    for k in range(10):
                        pub.publish(f"w/{n}/{i}", str(k), k % 3)
                for sub in subs:
                    found = [(p.topic, p.payload) for p in sub.messages(80)]
                    equal(len(set(found)), 80, "different messages")
                    equal(waiting(sub, 0.05), [], "more copies")
        finally:
            world.end_test()
            world.stop()


def an_idle_link_costs_nothing():  # mosq#1979
    world = pair()
    try:
        sub, pub = world.subscribe(world.eu, "idle"), world.connect(world.us)
        crossing(pub, sub, "idle")
        time.sleep(0.3)
        before = [b.cpu_seconds() for b in world.brokers]
        time.sleep(1.5)
        cost = [b.cpu_seconds() - c for b, c in zip(world.brokers, before)]
        true(max(cost) < 0.1, f"idle links used {cost} s of CPU in 1.5 s")
    finally:
        world.end_test()
        world.stop()


OWN = [topics_empty_is_one_way_only, topics_say_what_is_wanted, links_come_back_by_themselves,
       a_frozen_peer_does_not_stop_local_clients, a_link_that_starts_alone_waits_for_its_peer,
       a_peer_with_another_name_is_not_linked, three_in_a_full_mesh_get_one_copy_each,
       messages_cross_one_link_only, link_topics_are_closed_where_links_are_not_allowed,
       a_listener_for_links_only_takes_no_clients, other_numbers_of_workers_link_too,
       an_idle_link_costs_nothing]


def with_pair(f, world):
    def run():
        try:
            for name in ("us", "eu"):
                if not getattr(world, name).is_alive():
                    said = getattr(world, name).said()[-1500:]
                    raise Failure(f"{name} is gone: {said}")
            f(world)
        except Failure as error:
            said = [str(error)]
            for c in world.clients[-3:]:
                said += [f"client {c.id!r}:"] + ["  " + line for line in list(c.trace)[-12:]]
            raise Failure("\n".join(said)) from error
        finally:
            world.end_test()
    run.__name__ = f.__name__
    return run


def the_pair_ends_cleanly():
    PAIR.stop()


if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    tests = [f for f in QUICK if picked(f.__name__)]
    PAIR = pair() if tests else World()
    main([with_pair(f, PAIR) for f in tests] + [the_pair_ends_cleanly] * bool(tests) + OWN)
