# tests/e2e/test_link_emqx.py -- links with EMQX, played by emqx.py, and EMQX's own test scenarios.
#
# What EMQX tests of its cluster links, and where we do. Files of tests/link are whole clusters in
# memory, or one side against a script; `sim` is `make sim` (tests/sim/linked.c).
#
# End to end (emqx_cluster_link_SUITE)
#   t_message_forwarding                   two_subscribers_get_one_copy_each, each way
#   t_message_forwarding_random            there is no such choice: order is always kept
#   t_message_forwarding_sharesub          groups_get_one_copy_each
#   t_message_forwarding_ordering          ten_publishers_keep_their_order
#   ..._disconnect_reason_reported         kicked_links_say_why_and_come_back
#   t_target_extrouting_gc                 test_receiver.c lets_nodes_of_a_cluster_go_one_by_one
# Route replication (emqx_cluster_link_routerepl_SUITE)
#   t_disconnect_on_errors                 an_introduction_that_fails_is_made_again
#   t_restart_connection_on_actor_init_timeout    an_introduction_that_is_lost_is_made_again
#   t_graceful_retry_on_actor_error        a_link_is_tried_until_it_is_let_in
#   t_unresponsive_endpoint                a_silent_server_does_not_keep_us_from_ending
#   t_consistency_under_unstable_connectivity     routes_are_right_after_many_cuts; sim
# Route table (emqx_cluster_link_extrouter_SUITE)
#   t_consistent_routing_view              test_announced.c reports_a_filter_with_its_first...
#   t_actor_reincarnation                  test_announced.c same_incarnation_keeps_routes...
#   t_actor_gc                             test_announced.c actors_expire_unless_they_beat,
#                                          test_receiver.c lets_nodes_of_a_cluster_go_one_by_one
#   ..._concurrent_updates (all three)     test_announced.c random_histories_match_...; sim
# Filter computation (emqx_cluster_link_router_SUITE)
#   all four                               test_algebra.c computes_routes_as_the_vectors_say
# Configuration (emqx_cluster_link_config_SUITE, emqx_cluster_link_schema_tests)
#   t_config_update, t_config_update_cli   a_changed_link_wants_what_it_says_now
#   t_config_validations                   test_parse.c refuses_links_without_... and on;
#                                          an unreachable host: a_link_is_tried_until_it_is_let_in
#   t_misconfigured_links                  misconfigured_links_are_told_so; test_links.c
#                                          refusals_say_what_to_do
#   t_config_update_ds                     routes_of_sessions_and_groups_count_by_their_ids
#   schema tests                           test_parse.c refuses_filters_that_...
# Newer ones
#   ..._publish_SUITE                      link_topics_are_consumed_and_checked; test_receiver.c
#                                          publishes_only_what_was_asked_for, never_publishes_...
#   ..._mqtt_tests (recoverable errors)    messages_wait_while_the_node_is_away; test_peer.c
#                                          sends_unacknowledged_messages_again_after_a_cut
#   ..._config_tests (force_ping)          test_peer.c pings_and_notices_silence

import itertools
import random
import time

import mqtt
from broker import FOREIGN_PORT, WORKERS, Broker, equal, free_port, main, seconds_until, true
from emqx import Atom, Node, encode
from mqtt import Client, Failure

TEXT = """
[broker]
workers = {workers}
[cluster]
name = causeway-cluster
[listener mqtt]
bind = 127.0.0.1:{mqtt}
[listener clink]
bind = 127.0.0.1:{clink}
[link emqx-cluster]
server = 127.0.0.1:{emqx}
retry_interval = 300ms
topics = {topics}
{more}
"""
numbers = itertools.count(1)


class World:
    """Our broker, a node of EMQX, and the clients of a test."""

    def __init__(self, version=6, topics="#", more="", listen=True, remote="causeway-cluster",
                 name="emqx-cluster"):
        self.words = {"workers": WORKERS, "mqtt": free_port(), "clink": free_port(),
                      "emqx": free_port(), "topics": topics, "more": more}
        self.node = Node(name, remote, self.words["emqx"], version)
        self.clients = []
        if listen:
            self.node.listen()
        self.begin()

    def begin(self):
        self.broker = Broker(text=TEXT.format(**self.words),
                             ports=[self.words["mqtt"], self.words["clink"]])

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for c in self.clients:
            c.close()
        if self.node.route_client:
            self.node.route_client.close()
        try:
            self.broker.stop()
        finally:
            self.node.stop()

    @property
    def clink(self):
        return self.words["clink"]

    def client(self, **rest):
        c = Client(self.broker.address)
        self.clients.append(c)
        return c.login(f"client{next(numbers)}", **rest)

    def forwarder(self, number=1):
        c = self.node.forwarder(self.clink, number)
        self.clients.append(c)
        return c

    def subscriber(self, *filters, **rest):
        c = self.client(**rest)
        for reason in c.subscribe(list(filters), 1):
            equal(reason, 1, "granted")
        return c

    def up(self):
        self.broker.says("link up", "emqx-cluster")
        return self


def silent(c, seconds=0.3):
    p = c.recv(seconds, quiet=True)
    true(p is None, f"something else came: {p}")


def payloads(c, count):
    return [c.message().payload for _ in range(count)]


# ---- end to end ----

def two_subscribers_get_one_copy_each():
    for version in (5, 6):
        with World(version) as w:  # towards us
            one, two = w.subscriber("t1/+"), w.subscriber("t1/#")
            w.node.wants("t1/#", "t1/+")
            out = w.forwarder()
            w.node.forward(out, "t1/42", b"first")
            equal(payloads(one, 1) + payloads(two, 1), [b"first"] * 2)
            one.subscribe("t2/#", 1), two.subscribe("t2/+/+", 1)
            w.node.wants("t1/#", "t1/+", "t2/#", "t2/+/+")
            w.node.forward(out, "t2/3/4", b"second")
            equal(payloads(one, 1) + payloads(two, 1), [b"second"] * 2)
            silent(one), silent(two, 0.05)
            w.up()  # and from us: one copy for the cluster, whatever it subscribes to
            equal(w.node.hello(w.broker, w.clink)[16], Atom("true"))
            w.node.announce(["t3/+", "t3/#"])  # which nobody here has
            pub = w.client()
            seconds_until("a route", lambda: pub.publish("t3/42", b"out", 1) == 0)
            pub.publish("other", b"not wanted", 1)
            w.node.announce(["t4/#", "t4/+/+"])
            seconds_until("another", lambda: pub.publish("t4/3/4", b"later", 1) == 0)
            seconds_until("they arrive", lambda: b"later" in w.node.payloads())
            equal(w.node.payloads(), [b"out", b"later"])


def groups_get_one_copy_each():
    with World() as w:
        one = w.subscriber("$share/test-group/t1/+")
        two = w.subscriber("$share/test-group/t1/#")
        w.node.wants("t1/#", "t1/+")
        equal(sorted(i for _, i in w.node.routes),
              [b"$s/test-group/t1/#", b"$s/test-group/t1/+"], "ids of routes")
        w.node.forward(w.forwarder(), "t1/42", b"x")
        equal(payloads(one, 1) + payloads(two, 1), [b"x"] * 2)
        silent(one), silent(two, 0.05)
        other = w.subscriber("$share/test-group/t1/#")  # a second member: no second route
        w.node.wants("t1/#", "t1/+")
        other.close(), two.close()
        w.node.wants("t1/+")


def ten_publishers_keep_their_order():
    with World() as w:
        sub = w.subscriber("t/#")
        w.node.wants("t/#")
        outs = [w.forwarder(i + 1) for i in range(10)]
        for n in range(10):
            for i, out in enumerate(outs):
                w.node.forward(out, f"t/{i}", b"%d" % n, sender=f"device{i}")
        seen = {}
        for _ in range(100):
            p = sub.message()
            seen.setdefault(p.topic, []).append(int(p.payload))
        equal(seen, {f"t/{i}": list(range(10)) for i in range(10)})
        silent(sub)
        w.up()
        w.node.hello(w.broker, w.clink)
        w.node.announce(["t/#"])
        pubs = [w.client() for _ in range(10)]
        seconds_until("a route", lambda: pubs[0].publish("t/x", b"probe", 1) == 0)
        for n in range(10):
            for i, pub in enumerate(pubs):
                pub.publish(f"t/{i}", b"%d" % n, 1)
        seconds_until("all", lambda: sum(len(w.node.payloads(f"t/{i}")) for i in range(10)) >= 100)
        for i in range(10):
            equal(w.node.payloads(f"t/{i}"), [b"%d" % n for n in range(10)])


def kicked_links_say_why_and_come_back():
    with World() as w:
        w.up()
        watcher = w.subscriber("$SYS/broker/connection/emqx-cluster/state")
        equal(watcher.message().payload, b"1")
        for _ in range(5):
            w.node.cut(0x98)  # administrative action
            time.sleep(0.1)
        equal(watcher.message().payload, b"0")
        w.broker.says("link down", "DISCONNECT 0x98")
        seen = watcher.message(timeout=4 * mqtt.WAIT).payload
        while seen != b"1":
            seen = watcher.message(timeout=4 * mqtt.WAIT).payload


# ---- route replication ----

def an_introduction_that_fails_is_made_again():
    with World(listen=False) as w:
        w.subscriber("t/1")
        w.node.crashes = 1
        w.node.listen()
        w.node.wants("t/1")
        equal(len(w.node.inits), 2)
        true(w.node.inits[1] > w.node.inits[0], "a later incarnation")


def an_introduction_that_is_lost_is_made_again():
    with World(listen=False) as w:
        w.subscriber("t/1")
        w.node.swallows = 1
        w.node.listen()
        w.node.wants("t/1")
        equal(len(w.node.inits), 2)
        equal(w.node.bootstraps, 1)
        w.broker.says("link not connected", "no answer to our introduction in time")


def a_link_is_tried_until_it_is_let_in():
    with World(listen=False) as w:
        w.subscriber("t/1")
        w.broker.says("link not connected", "cannot connect")
        w.node.refuses = 0x87
        w.node.listen()
        w.broker.says("CONNACK 0x87")
        w.node.refuses = 0
        w.node.wants("t/1")
        w.up()


def a_silent_server_does_not_keep_us_from_ending():
    with World(listen=False) as w:
        w.node.stalls = True
        w.node.listen()
        seconds_until("it connects", lambda: w.node.connects > 0)
        began = time.monotonic()
        w.broker.stop()
        true(time.monotonic() - began < 1, "it took a second to end")
        w.begin()


def routes_are_right_after_many_cuts():
    rng = random.Random(4711)
    with World(version=5) as w:
        held = [set() for _ in range(3)]
        clients = [w.client() for _ in range(3)]
        for turn in range(120):
            i = turn % 3
            f = f"churn/{i}/{rng.randrange(8)}"
            if f in held[i]:
                clients[i].unsubscribe(f)
                held[i].discard(f)
            else:
                clients[i].subscribe(f, 1)
                held[i].add(f)
            if turn % 15 == 7:
                w.node.cut()
            time.sleep(0.01)
        w.node.wants(*sorted(set().union(*held)))
        w.up()


# ---- configuration ----

def a_changed_link_wants_what_it_says_now():
    with World(topics="old/#") as w:
        w.subscriber("#")
        w.node.wants("old/#")
        w.broker.stop()
        w.words["topics"] = "new/#"
        w.begin()
        sub = w.subscriber("#")
        w.node.wants("new/#")
        out = w.forwarder()
        equal(w.node.forward(out, "old/1", b"late"), 0)  # from before it heard of it
        w.node.forward(out, "new/1", b"right")
        equal(sub.message().payload, b"right")
        w.broker.stop()
        w.words["more"] = "enable = false"
        w.begin()
        sub = w.subscriber("#")
        w.node.forward(w.forwarder(), "new/1", b"blocked")
        equal(w.node.hello(w.broker, w.clink)[15], (Atom("error"), b"cluster_link_disabled"))
        silent(sub)


def misconfigured_links_are_told_so():
    with World(name="another-cluster") as w:  # than our link is named after
        w.broker.says("link refused", "bad_remote_cluster_link_name")
        equal(w.node.hello(w.broker, w.clink)[15], (Atom("error"), b"unknown_cluster"))
        w.node.name = "emqx-cluster"
        w.node.remote = "wrong-name"
        w.node.incarnation += 1
        equal(w.node.hello(w.broker, w.clink)[15],
              (Atom("error"), b"bad_remote_cluster_link_name"))
        w.node.remote = "causeway-cluster"
        equal(w.node.hello(w.broker, w.clink)[15], Atom("ok"))
        w.up()


def routes_of_sessions_and_groups_count_by_their_ids():
    with World() as w:
        w.up()
        w.node.hello(w.broker, w.clink, "ps-routes-v1")
        w.node.say(w.node.route_client, {
            Atom("$op"): "route", 10: "ps-routes-v1", 11: w.node.incarnation,
            12: [("t/+", "$p/session-1/t/+"), ("t/+", "$p/session-2/t/+"),
                 ("t/+", "$s/group/t/+")]})
        pub = w.client()
        seconds_until("a route", lambda: pub.publish("t/1", b"1", 1) == 0)
        for route_id in ("$p/session-1/t/+", "$s/group/t/+"):
            w.node.say(w.node.route_client, {
                Atom("$op"): "route", 10: "ps-routes-v1", 11: w.node.incarnation,
                12: [(100, "t/+", route_id)]})
        time.sleep(0.1)
        equal(pub.publish("t/1", b"2", 1), 0)
        w.node.say(w.node.route_client, {
            Atom("$op"): "route", 10: "ps-routes-v1", 11: w.node.incarnation,
            12: [(100, "t/+", "$p/session-2/t/+")]})
        seconds_until("none", lambda: pub.publish("t/1", b"3", 1) == 0x10)
        seconds_until("they arrive", lambda: b"2" in w.node.payloads())
        equal([x for x in w.node.payloads() if x in b"123"][:2], [b"1", b"2"])


# ---- newer ones, and both versions ----

def link_topics_are_consumed_and_checked():
    with World(topics="t/#") as w:
        spy = w.client()
        for reason in spy.subscribe(["$LINK/cluster/#", "$LINK/#", "#"], 0)[:2]:
            true(reason in (0, 0x80, 0x87), f"reason {reason}")
        w.node.hello(w.broker, w.clink)
        w.node.beat()
        out = w.forwarder()
        w.node.forward(out, "other/1", b"not asked for")
        w.node.forward(out, "$LINK/cluster/msg/x", b"never")
        w.node.forward(out, "t/1", b"asked for")
        p = spy.message()
        equal((p.topic, p.payload), ("t/1", b"asked for"))
        bad = w.forwarder(2)
        bad.send(mqtt.publish(5, "$LINK/cluster/msg/emqx-cluster", b"\x83\x68\x01", 1, pid=9))
        try:
            while True:
                bad.recv()
        except mqtt.Closed:
            pass
        w.node.route_client.send(mqtt.publish(5, "$LINK/cluster/route/emqx-cluster", b"\x83\x61",
                                              1, pid=9))
        try:
            while True:
                w.node.route_client.recv()
        except mqtt.Closed:
            pass
        silent(spy)


def messages_keep_what_they_have():
    props = {Atom("Content-Type"): "text/plain", Atom("Message-Expiry-Interval"): 60,
             Atom("User-Property"): [("a", "1"), ("b", "2"), ("a", "3")]}
    for version in (5, 6):
        with World(version) as w:
            sub = w.client()
            sub.subscribe("t", 2 | mqtt.AS_PUBLISHED)
            w.node.wants("t")
            out = w.forwarder()
            for qos in (0, 1, 2):
                true(w.node.forward(out, "t", b"x" * 1000, qos, retain=True, props=props) < 0x80,
                     "acknowledged")
                p = sub.message()
                equal((p.qos, p.retain, p.payload), (qos, True, b"x" * 1000))
                equal(p.get("content_type"), "text/plain")
                true(58 <= p.get("message_expiry") <= 60, "seconds to live")
                equal(p.all("user"), [("a", "1"), ("b", "2"), ("a", "3")])
            late = w.subscriber("t")
            silent(late)  # it is retained where it was published
            w.up()
            w.node.hello(w.broker, w.clink)
            w.node.announce(["back"])
            pub = w.client(username="maria")
            seconds_until("a route", lambda: pub.publish(
                "back", b"y", 2, props=[("user", ("k", "v")), ("user", ("k", "w"))]) == 0)
            seconds_until("it arrives", lambda: w.node.messages)
            m = w.node.messages[0]
            equal((m[2], m[3], m[6], m[7], m[9]), (2, pub.id.encode(), b"back", b"y", {}))
            equal(m[5][Atom("username")], b"maria")
            equal(m[5][Atom("properties")][Atom("User-Property")], [(b"k", b"v"), (b"k", b"w")])


def a_node_of_5_8_goes_on_in_its_session():
    with World(version=5) as w:
        w.up()
        equal(w.node.hello(w.broker, w.clink)[16], Atom("true"))
        w.node.announce(["t"])
        pub = w.client()
        seconds_until("a route", lambda: pub.publish("t", b"1", 1) == 0)
        w.node.route_client.drop()
        equal(w.node.hello(w.broker, w.clink)[16], Atom("false"))
        true(w.node.route_client.connack.session_present, "its session is gone")
        equal(pub.publish("t", b"2", 1), 0)
        w.node.beat()
        w.node.announce([], ["t"])
        seconds_until("it is withdrawn", lambda: pub.publish("t", b"3", 1) == 0x10)
        old = w.node.route_client
        w.node.incarnation += 1  # a new life while the old connection stands
        equal(w.node.hello(w.broker, w.clink)[16], Atom("true"))
        old.close()


def a_message_of_qos_2_comes_once_though_sent_twice():
    with World(version=5) as w:
        sub = w.client()
        sub.subscribe("t", 2)
        w.node.wants("t")
        out = w.forwarder()
        payload = b"\x83" + encode(w.node.record("t", b"once", 2))
        topic = "$LINK/cluster/msg/emqx-cluster"
        out.send(mqtt.publish(5, topic, payload, 2, pid=7))
        out.expect(mqtt.PUBREC, pid=7)
        out.send(mqtt.publish(5, topic, payload, 2, dup=True, pid=7))
        out.expect(mqtt.PUBREC, pid=7)
        out.send(mqtt.ack(mqtt.PUBREL, 7))
        out.expect(mqtt.PUBCOMP, pid=7)
        equal(sub.message().payload, b"once")
        silent(sub)


def messages_wait_while_the_node_is_away():
    with World() as w:
        w.up()
        w.node.hello(w.broker, w.clink)
        w.node.announce(["t"])
        pub = w.client()
        seconds_until("a route", lambda: pub.publish("t", b"0", 1) == 0)
        w.node.deaf()
        for n in range(1, 50):
            equal(pub.publish("t", b"%d" % n, 1), 0)
        w.node.listen()
        seconds_until("all", lambda: len(set(w.node.payloads("t"))) == 50, 4 * mqtt.WAIT)
        equal([int(x) for x in dict.fromkeys(w.node.payloads("t"))], list(range(50)))


if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    main([two_subscribers_get_one_copy_each, groups_get_one_copy_each,
          ten_publishers_keep_their_order, kicked_links_say_why_and_come_back,
          an_introduction_that_fails_is_made_again, an_introduction_that_is_lost_is_made_again,
          a_link_is_tried_until_it_is_let_in, a_silent_server_does_not_keep_us_from_ending,
          routes_are_right_after_many_cuts, a_changed_link_wants_what_it_says_now,
          misconfigured_links_are_told_so, routes_of_sessions_and_groups_count_by_their_ids,
          link_topics_are_consumed_and_checked, messages_keep_what_they_have,
          a_node_of_5_8_goes_on_in_its_session, a_message_of_qos_2_comes_once_though_sent_twice,
          messages_wait_while_the_node_is_away])
