# tests/e2e/test_link_status.py -- what links say of themselves, read with a client that we did not
# write.

import re
import subprocess

from broker import FOREIGN_PORT, WORKERS, Broker, equal, free_port, main, seconds_until, true
from mqtt import Client

TEXT = """
[broker]
workers = {workers}
sys_interval = 1
[cluster]
name = {name}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = 127.0.0.1:{other_port}
topics = #
dialect = {dialect}
"""
WORDS = {"state", "transit", "shared_groups", "dialect", "server", "error", "routes/out/state",
         "routes/in/state", "messages/out/state", "messages/in/state"}
NUMBERS = {"since", "rtt_ms", "routes/out/count", "routes/out/pending", "routes/out/lag_ms",
           "routes/in/count", "routes/refused", "messages/out/sent", "messages/out/inflight",
           "messages/out/waiting", "messages/out/bytes", "messages/out/oldest_ms",
           "messages/out/acks_waiting", "messages/out/saved_bytes", "messages/in/received",
           "messages/in/passed", "messages/in/doubles", "messages/in/dropped"}
NUMBERS |= {f"messages/out/dropped/{cause}" for cause in
            ("full", "aged", "expired", "too_large", "refused", "memory")}


def status(broker, link):
    """All retained topics of a link, as mosquitto_sub shows them."""
    prefix = f"$SYS/broker/links/{link}/"
    host, port = broker.address
    shown = subprocess.run(["mosquitto_sub", "-h", host, "-p", str(port), "-t", prefix + "#",
                            "-v", "--retained-only", "-W", "1"], capture_output=True, text=True)
    lines = (line.split(" ", 1) for line in shown.stdout.splitlines())
    return {line[0].removeprefix(prefix): line[1] for line in lines}


def a_link_tells_how_it_is(dialect):
    ports = {n: free_port() for n in ("us", "us_link", "eu", "eu_link")}
    brokers = {}
    clients = []

    def start(name, other):
        text = TEXT.format(workers=WORKERS, name=name, other=other, port=ports[name],
                           link_port=ports[name + "_link"], other_port=ports[other + "_link"],
                           dialect=dialect)
        brokers[name] = Broker(text=text, ports=[ports[name], ports[name + "_link"]])

    def client(name):
        clients.append(Client(brokers[name].address, 5).login(f"{name}{len(clients)}"))
        return clients[-1]

    try:
        start("us", "eu")
        seconds_until("an error is told", lambda: status(brokers["us"], "eu").get("error"), 10)
        equal(status(brokers["us"], "eu")["state"], "connecting", "state")
        start("eu", "us")
        seconds_until("the link is up",
                      lambda: status(brokers["us"], "eu").get("state") == "up", 15)
        sub, pub = client("eu"), client("us")
        sub.subscribe("t/#")
        seconds_until("they want a route",
                      lambda: status(brokers["us"], "eu").get("routes/in/count") == "1", 10)
        for _ in range(10):
            pub.publish("t/x", b"word", 1)
            sub.message()
        seconds_until("messages are counted",
                      lambda: status(brokers["eu"], "us").get("messages/in/received") == "10", 10)
        s = {}

        def counted():
            s.update(status(brokers["us"], "eu"))
            return (s.get("messages/out/sent"), s.get("messages/out/inflight")) == ("10", "0")

        seconds_until("and there", counted, 10)
        equal(set(s), WORDS | NUMBERS, "topics")
        for topic in NUMBERS:
            true(re.fullmatch(r"\d+", s[topic]), f"{topic} is {s[topic]!r}")
        equal(s["dialect"], "emqx 1" if dialect == "emqx" else "native 1", "dialect")
        equal(s["server"], f"127.0.0.1:{ports['eu_link']}", "server")
        true(int(s["rtt_ms"]) < 1000, f"a round trip of {s['rtt_ms']} ms")
        for topic in ("routes/out/state", "routes/in/state", "messages/out/state",
                      "messages/in/state"):
            equal(s[topic], "up", topic)
        equal(status(brokers["eu"], "us")["routes/out/count"], "1", "routes wanted over there")
    finally:
        for c in clients:
            c.close()
        for b in brokers.values():
            b.stop()


def a_link_tells_how_it_is_auto():
    a_link_tells_how_it_is("auto")


def a_link_tells_how_it_is_emqx():
    a_link_tells_how_it_is("emqx")


if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    main([a_link_tells_how_it_is_auto, a_link_tells_how_it_is_emqx])
