# tests/e2e/test_mount.py -- clients below a mount point, beside others that see whole topics.

import shutil
import subprocess

from broker import Broker, main
from mqtt import NO_LOCAL, Client, connect, equal, publish, subscribe, true, unsubscribe

MOSQUITTO = shutil.which("mosquitto_sub") and shutil.which("mosquitto_pub")


def start(mount="tenants/%u/", second="tenants/${clientid}/", more=""):
    return Broker(text=f"""[broker]
workers = 2
sys_interval = 1s
[listener whole]
bind = 127.0.0.1:{{port}}
[listener tenants]
bind = 127.0.0.1:{{port2}}
mount_point = {mount}
[listener devices]
bind = 127.0.0.1:{{port3}}
mountpoint = {second}
{more}
""")


def whole(broker, name, version=5, **rest):
    return Client(broker.address, version).login(name, **rest)


def tenant(broker, name, user, version=5, **rest):
    return Client(("127.0.0.1", broker.ports[1]), version).login(name, username=user, **rest)


def device(broker, name, version=5, **rest):
    return Client(("127.0.0.1", broker.ports[2]), version).login(name, **rest)


def sees(sub, publisher, wanted):
    """Exactly these topics come to `sub` before a mark that `publisher` sends to both."""
    got = []
    while True:
        topic = sub.message().topic
        if topic.endswith("mark"):
            break
        got.append(topic)
    equal(got, wanted, f"topics that {sub.id} got")


def topics_are_put_below_and_taken_off():
    broker = start()
    for version in (3, 4, 5):
        all_of_it = whole(broker, f"w{version}", version)
        all_of_it.subscribe("tenants/#", 2)
        anna = tenant(broker, f"a{version}", "anna", version)
        anna.subscribe("#", 2)
        bert = tenant(broker, f"b{version}", "bert", version)
        bert.subscribe("#", 2)
        for qos in (0, 1, 2):
            anna.publish("x/y", b"1", qos)
            bert.publish("x/y", b"2", qos)
            anna.message(topic="x/y", payload=b"1", qos=qos)
            bert.message(topic="x/y", payload=b"2", qos=qos)
            equal(sorted(m.topic for m in all_of_it.messages(2)),
                  ["tenants/anna/x/y", "tenants/bert/x/y"])
        all_of_it.publish("tenants/bert/from/outside", b"3" * 5000, 1)
        all_of_it.message(topic="tenants/bert/from/outside")
        bert.message(topic="from/outside", payload=b"3" * 5000)
        for c in (all_of_it, anna, bert):
            c.close()
    broker.stop()


def nobody_reaches_another_branch():
    broker = start()
    anna = tenant(broker, "a", "anna")
    mallory = tenant(broker, "m", "mallory")
    for f in ("#", "+/x", "anna/#", "tenants/anna/#", "/tenants/anna/#", "../anna/#",
              "$share/g/tenants/anna/#", "$share/tenants/x", "$queue/#", "$SYS/#"):
        mallory.subscribe(f)
    for name in ("anna", "tenants/anna", "../anna", "/tenants/anna", "$share/g/tenants/anna"):
        mallory.publish(f"{name}/stolen", b"m", 1)
    anna.subscribe("#")
    anna.publish("x", b"1", 1)
    anna.message(topic="x")
    anna.publish("mark")
    sees(anna, anna, [])
    mallory.publish("mark")
    got = [mallory.message() for _ in range(5)]  # its own, by whatever filter
    true(all(m.payload == b"m" or m.topic == "mark" for m in got), got)
    broker.stop()


def names_that_could_leave_their_branch_are_refused():
    broker = start()
    for bad in ("anna/x", "+", "#", "a+b", "a#", "/", ""):
        c = Client(("127.0.0.1", broker.ports[1]), 5)
        c.send(connect(5, "c", username=bad))
        c.refused(0x86)
        c = Client(("127.0.0.1", broker.ports[1]), 4)
        c.send(connect(4, "c", username=bad))
        c.refused(4)
    for bad in ("anna/x", "+", "#"):
        c = Client(("127.0.0.1", broker.ports[2]), 5)
        c.send(connect(5, bad))
        c.refused(0x85)
    c = Client(("127.0.0.1", broker.ports[1]), 5)
    c.send(connect(5, "c"))
    c.refused(0x87)
    broker.says("client refused", "name not fit for the mount point", "peer=127.0.0.1")
    c = Client(("127.0.0.1", broker.ports[2]), 5).login("")  # an assigned id is as good as any
    c.subscribe("x")
    whole(broker, "w").publish(f"tenants/{c.id}/x", b"1")
    c.message(topic="x")
    broker.stop()


def wills_and_retained_messages_stay_in_their_branch():
    broker = start()
    w = whole(broker, "w")
    w.subscribe("tenants/#")
    other = device(broker, "d2")
    other.subscribe("#")
    d = device(broker, "d1", will={"topic": "state", "payload": b"gone", "retain": True})
    d.publish("state", b"here", 1, retain=True)
    w.message(topic="tenants/d1/state", payload=b"here")
    d.close()
    w.message(topic="tenants/d1/state", payload=b"gone")
    d = device(broker, "d1")
    d.subscribe("state")
    d.message(topic="state", payload=b"gone", retain=True)
    later = device(broker, "d3")
    later.subscribe("#")
    for c in (other, later):
        c.publish("mark")
        sees(c, c, [])
    delayed = device(broker, "d4", props={"session_expiry": 60},
                     will={"topic": "late", "payload": b"late", "props": {"will_delay": 1}})
    late = whole(broker, "late")
    late.subscribe("tenants/+/late")
    delayed.close()
    late.message(topic="tenants/d4/late", payload=b"late")
    broker.stop()


def a_session_that_comes_back_elsewhere_sees_only_what_is_there():
    broker = start()
    stays = {"session_expiry": 60}
    w = whole(broker, "w")
    counter = whole(broker, "counter")
    counter.subscribe("$SYS/broker/counters/dropped_mount_point")
    c = tenant(broker, "c", "anna", clean=False, props=stays)
    c.subscribe("x", 1)
    c.drop()
    for i in range(3):
        w.publish("tenants/anna/x", str(i), 1)
    c = tenant(broker, "c", "bert", clean=False, props=stays)
    true(c.connack.session_present, "the session was there")
    c.subscribe("#", 1)
    w.publish("tenants/anna/x", b"live", 1)
    w.publish("tenants/bert/y", b"mark", 1)
    c.message(topic="y")
    while int(counter.message().payload) < 4:
        pass
    back = whole(broker, "c", clean=False, props=stays)  # takes the session over
    c.closed(0x8E)
    w.publish("tenants/anna/x", b"whole", 1)
    back.message(topic="tenants/anna/x", payload=b"whole")
    broker.stop()


def groups_of_one_name_are_one_for_each_branch():
    broker = start()
    anna = [tenant(broker, f"a{i}", "anna") for i in range(3)]
    bert = tenant(broker, "b", "bert")
    for c in anna + [bert]:
        c.subscribe("$share/g/jobs/#", 1)
    for i in range(6):
        anna[0].publish(f"jobs/{i}", b"x", 1)
    got = []
    for c in anna:
        got += [m.topic for m in c.messages(2)]
    equal(sorted(got), [f"jobs/{i}" for i in range(6)])
    bert.publish("jobs/mark", b"x", 1)
    bert.message(topic="jobs/mark")
    broker.stop()


def aliases_and_identifiers_work_below():
    broker = start()
    sub = tenant(broker, "s", "anna", props={"topic_alias_maximum": 5})
    sub.subscribe("x/#", 1, {"subscription_id": 3})
    sub.subscribe("x/+", 1 | NO_LOCAL, {"subscription_id": 4})
    pub = tenant(broker, "p", "anna")
    for topic in ("x/long/topic", "", ""):
        pub.send(publish(5, topic, b"1", props={"topic_alias": 1, "response_topic": "re/ply",
                                                "correlation_data": b"7"}))
        m = sub.message(topic="x/long/topic")
        equal(m.all("subscription_id"), [3])
        equal(m.get("response_topic"), "re/ply", "is left as it is")
    pub.publish("x/y", b"2", 1)
    equal(sorted(sub.message(topic="x/y").all("subscription_id")), [3, 4])
    broker.stop()


def topics_that_become_too_long_or_deep_are_refused():
    broker = start(mount="a/b/", more="[limits]\nmax_topic_levels = 4\n")
    c = tenant(broker, "c", "u")
    room = 65535 - len("a/b/")
    c.send(subscribe(5, 1, [("x/y", 0), ("x/y/z", 0), ("x" * room, 0), ("x" * (room + 1), 0)]))
    equal(c.reply(9, pid=1).reasons, [0, 0x8F, 0, 0x8F])
    c.send(unsubscribe(5, 2, ["x" * (room + 1), "x" * room, "x/y"]))
    equal(c.reply(11, pid=2).reasons, [0x8F, 0, 0])
    c.publish("x" * room, b"1", 1)
    c.send(publish(5, "x" * (room + 1), b"1", 1, pid=9))
    c.closed(0x90)
    c = tenant(broker, "c", "u", version=4)
    c.send(publish(4, "x/y/z", b"1", 1, pid=9))
    c.closed()
    c = Client(("127.0.0.1", broker.ports[1]), 5)
    c.send(connect(5, "c", username="u", will={"topic": "x/y/z"}))
    c.refused(0x90)
    broker.stop()


def links_and_topics_of_the_broker_are_out_of_reach():
    broker = start()
    c = tenant(broker, "c", "anna")
    equal(c.subscribe("$SYS/#"), [0])
    w = whole(broker, "w")
    w.subscribe("$SYS/broker/uptime")
    w.messages(2)
    c.publish("$SYS/mark")
    sees(c, c, [])
    equal(c.subscribe("$LINK/#"), [0x87])
    c.send(publish(5, "$LINK/cluster/route/x", b"x", 1, pid=7))
    equal(c.reply(4, pid=7).reason, 0x87)
    broker.stop()


def mosquitto_clients_live_below():
    if not MOSQUITTO:
        return
    broker = start()
    port, whole_port = str(broker.ports[1]), str(broker.port)
    subprocess.run(["mosquitto_pub", "-p", port, "-u", "anna", "-t", "m/t", "-m", "hello", "-q",
                    "2", "-r"], timeout=10, check=True)
    subprocess.run(["mosquitto_pub", "-p", port, "-u", "bert", "-t", "m/t", "-m", "other", "-q",
                    "1", "-r"], timeout=10, check=True)

    def sub(*options):
        return subprocess.run(["mosquitto_sub", "-F", "%t %p", "-W", "10", *options],
                              capture_output=True, text=True, timeout=20, check=True).stdout

    for version in ("mqttv31", "mqttv311", "mqttv5"):
        equal(sub("-V", version, "-p", port, "-u", "anna", "-i", "s", "-t", "m/#", "-C", "1"),
              "m/t hello\n")
        equal(sorted(sub("-V", version, "-p", whole_port, "-i", "s", "-t", "#", "-C", "2")
                     .splitlines()), ["tenants/anna/m/t hello", "tenants/bert/m/t other"])
    broker.stop()


main([topics_are_put_below_and_taken_off, nobody_reaches_another_branch,
      names_that_could_leave_their_branch_are_refused,
      wills_and_retained_messages_stay_in_their_branch,
      a_session_that_comes_back_elsewhere_sees_only_what_is_there,
      groups_of_one_name_are_one_for_each_branch, aliases_and_identifiers_work_below,
      topics_that_become_too_long_or_deep_are_refused,
      links_and_topics_of_the_broker_are_out_of_reach, mosquitto_clients_live_below])
