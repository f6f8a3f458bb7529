# tests/e2e/test_link_paths.py -- links when a side is killed, behind a load balancer with a
# standby, in both dialects at once, and in a triangle with a bad edge.

import socket
import time

import mqtt
import wan
from broker import FOREIGN_PORT, equal, free_port, main, seconds_until, true
from mqtt import PUBACK, publish
from wan import Clusters, Path, count, links_of, linked, slow

FEW = 100


def numbered(pub, topic, numbers, qos=1):
    """Publishes numbers, each acknowledged by the broker."""
    if qos == 1:
        pub.send(*[publish(5, topic, b"%d" % i, 1, pid=i % 60000 + 1) for i in numbers])
        for i in numbers:
            pub.reply(PUBACK, pid=i % 60000 + 1)
    else:
        for i in numbers:
            pub.publish(topic, b"%d" % i, qos)


def arrive(sub, numbers, what):
    """Exactly these come, in order; what comes twice would come in their midst."""
    equal([int(sub.message().payload) for _ in numbers], list(numbers), what)


def nothing_more(sub, pub, topic):
    """Nothing is before a message that is published now."""
    pub.publish(topic, b"-1", 1)
    equal(int(sub.message().payload), -1, "one message more")


def is_wanted(pub, topic):
    """A publish is told that somebody wants it."""
    return pub.publish(topic, b"0", 1) == 0


def routed(sub, pub, topic):
    """Waits until what `pub` publishes reaches `sub`, and takes what it took to find out."""
    seconds_until(f"a route for {topic}", lambda: is_wanted(pub, topic))
    pub.publish(topic, b"-2", 1)
    while int(sub.message().payload) != -2:
        pass


def two(w):
    """Two clusters, and between them a path that can be held, the same for both directions."""
    paths = {}

    def way(a, b, port):
        paths[a] = w.keep(Path(port))
        return paths[a].port

    ports, texts = links_of(("here", "there"), way)
    here, there = [w.start(texts[n], *ports[n]) for n in ("here", "there")]
    linked(here, there)
    return here, there, list(paths.values())


def hold(paths, how="hold"):
    for p in paths:
        p.ask(how)


def what_waits_for_a_killed_cluster_comes_once_it_is_back():
    with Clusters() as w:
        here, there, paths = two(w)
        sub, pub = w.subscribe(there, "killed"), w.connect(here)
        routed(sub, pub, "killed")
        numbered(pub, "killed", range(FEW))
        arrive(sub, range(FEW), "before")
        time.sleep(0.2)  # their acknowledgements come home
        hold(paths)
        w.kill(there)
        sub.close()
        numbered(pub, "killed", range(FEW, 3 * FEW))
        numbered(pub, "killed", range(3 * FEW, 4 * FEW), 2)
        there = w.restart(there)
        sub = w.subscribe(there, "killed")
        hold(paths, "reset")
        hold(paths, "pass")
        arrive(sub, range(FEW, 4 * FEW), "what waited")
        nothing_more(sub, pub, "killed")


def a_killed_cluster_loses_only_what_it_alone_had():
    with Clusters() as w:
        here, there, paths = two(w)
        sub, pub = w.subscribe(there, "alone"), w.connect(here)
        routed(sub, pub, "alone")
        hold(paths)
        numbered(pub, "alone", range(FEW))  # acknowledged, in the memory of `here`, nowhere else
        w.kill(here)
        here = w.restart(here)
        hold(paths, "reset")
        hold(paths, "pass")
        linked(here)
        pub = w.connect(here)
        took = seconds_until("the route is back", lambda: is_wanted(pub, "alone"))
        true(took < (5 if here.is_sanitized else 1), f"routes are back only after {took:.2f} s")
        numbered(pub, "alone", range(1000, 1000 + FEW))
        found = []
        while not found or found[-1] != 999 + FEW:
            found.append(int(sub.message().payload))
        found = [i for i in found if i > 0]
        equal(found, list(range(1000, 1000 + FEW)), "the exception: what only the killed one had")


def a_side_that_is_killed_under_load_doubles_nothing_for_others():
    with Clusters() as w:
        ports, texts = links_of(("north", "south", "east"))
        north, south, east = [w.start(texts[n], *ports[n]) for n in ports]
        linked(north, south, east)
        rate = slow(north, 1000)
        loads = [w.load(north, south, 2, rate, 5), w.load(south, north, 1, rate, 5)]
        time.sleep(2)
        for _ in range(3):
            w.kill(east)
            time.sleep(0.3)
            east = w.restart(east)
            linked(east)
        for load in loads:
            load.end()


def health_checks(port, number):
    """What a balancer does every few seconds, and what may stray in."""
    for i in range(number):
        with socket.create_connection(("127.0.0.1", port), mqtt.WAIT) as s:
            if i % 4 == 1:
                s.sendall(b"\x10")
            elif i % 4 == 2:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")


def a_balancer_switches_to_a_standby():
    with Clusters() as w:
        fronts = {}

        def way(a, b, port):
            if b == "there":
                fronts["there"] = w.keep(Path(port))
                return fronts["there"].port
            return port

        ports, texts = links_of(("here", "there"), way)
        here, active = [w.start(texts[n], *ports[n]) for n in ("here", "there")]
        linked(here, active)
        front = fronts["there"]
        health_checks(front.port, 40)
        back, pub = w.subscribe(here, "back"), w.connect(here)
        for turn in range(2):
            sub = w.subscribe(active, "forth")
            routed(sub, pub, "forth")
            equal(count(here, "link down"), turn, "health checks broke the link, or the switch "
                  "was not noticed")
            front.ask("hold")
            w.kill(active)
            numbered(pub, "forth", range(1, FEW))
            spare = (free_port(), free_port())
            text = texts["there"]
            for old, new in zip(ports["there"], spare):
                text = text.replace(f":{old}\n", f":{new}\n")
            active = w.start(text, *spare)
            sub = w.subscribe(active, "forth")
            front.lead_to(spare[1])
            front.ask("pass")
            found = []
            while not found or found[-1] != FEW - 1:
                found.append(int(sub.message().payload))
            equal([i for i in found if i > 0], list(range(1, FEW)), "what waited")
            linked(here, times=turn + 2)
            linked(active)
            there_pub = w.connect(active)
            routed(back, there_pub, "back")
            health_checks(front.port, 8)


def both_dialects_at_once():
    with Clusters() as w:
        names = ("middle", "ours", "foreign")

        def way(a, b, port):
            if {a, b} == {"ours", "foreign"}:
                return {"server": f"127.0.0.1:{port}", "enable": "false"}
            if (a, b) == ("middle", "foreign"):
                return {"server": f"127.0.0.1:{port}", "dialect": "emqx"}
            return None

        ports, texts = links_of(names, way)
        middle, ours, foreign = [w.start(texts[n], *ports[n]) for n in names]
        linked(ours, foreign)
        linked(middle, times=2)
        true(", native" in ours.says("link up"), "no native link with our own")
        true(", native" not in foreign.says("link up"), "a native link where EMQX's was asked for")
        subs = [w.subscribe(b, "both/+", 1) for b in (middle, ours, foreign)]
        rate = slow(middle, 1000)
        time.sleep(0.5)
        loads = [w.load(middle, ours, 2, rate, 3), w.load(ours, middle, 1, rate, 3),
                 w.load(middle, foreign, 1, rate, 3), w.load(foreign, middle, 1, rate, 3)]
        pub = w.connect(middle)
        numbered(pub, "both/x", range(FEW))
        for sub in subs:
            arrive(sub, range(FEW), "one copy for each, whatever is spoken")
        for load in loads:
            load.end()


def a_triangle_with_a_bad_edge_neither_loses_nor_doubles():
    with Clusters() as w:
        edge = []

        def way(a, b, port):
            if {a, b} == {"north", "south"}:
                edge.append(w.keep(Path(port)))
                return edge[-1].port
            return None

        names = ("north", "south", "east")
        ports, texts = links_of(names, way)
        brokers = [w.start(texts[n], *ports[n]) for n in names]
        for b in brokers:
            linked(b, times=2)
        watchers = [w.subscribe(b, "#", 1) for b in brokers]
        time.sleep(1)  # everybody wants everything from everybody
        rate = slow(brokers[0], 300)
        loads = [w.load(a, b, 1 + i % 2, rate, 4, pairs=2)
                 for i, (a, b) in enumerate((a, b) for a in brokers for b in brokers if a != b)]
        time.sleep(2)
        for i in range(8):
            edge[i % 2].ask("reset")
            time.sleep(0.2)
        sent = sum(load.end()["sent"] for load in loads)
        for b, watcher in zip(brokers, watchers):
            seen = set()
            for n in range(sent):
                p = watcher.message()
                seen.add((p.topic, p.payload))
                true(len(seen) == n + 1, f"{b.log_path}: doubled: {p}")
            p = watcher.recv(0.3, quiet=True)
            true(p is None, f"{b.log_path}: one more than was published: {p}")


if FOREIGN_PORT:
    print("ok paths_need_our_own_brokers")
else:
    main([what_waits_for_a_killed_cluster_comes_once_it_is_back,
          a_killed_cluster_loses_only_what_it_alone_had,
          a_side_that_is_killed_under_load_doubles_nothing_for_others,
          a_balancer_switches_to_a_standby, both_dialects_at_once,
          a_triangle_with_a_bad_edge_neither_loses_nor_doubles])
