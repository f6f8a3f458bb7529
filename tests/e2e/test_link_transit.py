# tests/e2e/test_link_transit.py -- three brokers in a chain whose links have transit: the ends are
# not linked, and get what they want of each other through the one in the middle.

import mqtt
from broker import WORKERS, equal, free_port, main, seconds_until, true
from mqtt import publish
from wan import Clusters, crossing, linked, noticed_by, standing_still

BEGIN = """
[broker]
workers = {workers}
sys_interval = 1
[limits]
max_queued_messages = 100000
[cluster]
name = {name}
[listener mqtt]
bind = 127.0.0.1:{port}
"""
LINK = """
[link {name}]
server = 127.0.0.1:{port}
topics = #
transit = {transit}
"""
NAMES = ["north", "middle", "south"]
NORTH, MIDDLE, SOUTH = range(3)
LIMIT = 2 * mqtt.WAIT


class Chain(Clusters):
    def __init__(self, transit):
        super().__init__()
        ports = [free_port() for _ in NAMES]
        for i in range(3):
            text = BEGIN.format(workers=WORKERS, name=NAMES[i], port=ports[i])
            for other in neighbours(i):
                text += LINK.format(name=NAMES[other], port=ports[other], transit=transit)
            self.start(text, ports[i])

    def up(self):
        for i in range(3):
            linked(self.brokers[i], times=len(neighbours(i)))

    def at(self, i):
        return self.connect(self.brokers[i])

    def around(self, i):
        return [self.brokers[other] for other in neighbours(i)]

    def wanting(self, i, filters, qos=1):
        return self.subscribe(self.brokers[i], filters, qos)

    def says(self, i, topic, wanted):
        """Until $SYS/broker/links/TOPIC of a broker is so."""
        c = self.wanting(i, f"$SYS/broker/links/{topic}", 0)
        seconds_until(f"{NAMES[i]}: {topic} is {wanted}",
                      lambda: (p := c.recv(0.5, quiet=True)) and p.payload == wanted, LIMIT)


def neighbours(i):
    return [other for other in (i - 1, i + 1) if 0 <= other < 3]


def with_chain(transit):
    def of(f):
        def run():
            with Chain(transit) as chain:
                chain.up()
                f(chain)

        run.__name__ = f.__name__
        return run

    return of


@with_chain("on")
def messages_pass_in_both_directions_at_all_qos(c):
    for here, there in ((NORTH, SOUTH), (SOUTH, NORTH)):
        topic = f"pass/{here}"
        sub, pub = c.wanting(there, topic, 2), c.at(here)
        between = c.wanting(MIDDLE, "pass/#", 2)
        crossing(pub, sub, topic)
        for qos in (0, 1, 2):
            pub.publish(topic, f"at {qos}", qos)
            sub.message(topic=topic, payload=f"at {qos}", qos=qos)
        while between.message().payload != b"at 2":
            pass
        between.close()
    c.says(MIDDLE, "north/transit", b"on")


@with_chain("on")
def nobody_asks_for_what_nobody_wants_any_more(c):
    sub, pub = c.wanting(SOUTH, ["gone/1", "gone/+/x"]), c.at(NORTH)
    crossing(pub, sub, "gone/1")
    c.says(NORTH, "middle/routes/in/count", b"2")
    sub.unsubscribe(["gone/1", "gone/+/x"])
    c.says(NORTH, "middle/routes/in/count", b"0")
    c.says(MIDDLE, "south/routes/in/count", b"0")


@with_chain("on")
def nothing_is_lost_or_doubled_while_one_of_them_stands_still(c):
    count = 3000
    sub, pub = c.wanting(SOUTH, "held"), c.at(NORTH)
    crossing(pub, sub, "held")
    for i, stopped in enumerate((MIDDLE, SOUTH)):
        with standing_still(c.brokers[stopped], *c.around(stopped)):
            for first in range(0, count, 500):
                pub.send(b"".join(publish(5, "held", f"{i} {first + n}", 1, pid=1 + n)
                                  for n in range(500)))
                for _ in range(500):
                    pub.expect(mqtt.PUBACK)
        for n in range(count):
            equal(sub.message(timeout=LIMIT).payload, f"{i} {n}".encode())
        true(sub.recv(0.3, quiet=True) is None, "something came twice")


@with_chain("on")
def messages_pass_again_when_the_middle_was_restarted(c):
    sub, pub = c.wanting(SOUTH, "again"), c.at(NORTH)
    crossing(pub, sub, "again")
    with noticed_by(*c.around(MIDDLE)):
        c.brokers[MIDDLE].kill()
    c.brokers[MIDDLE].start()
    crossing(pub, sub, "again")


@with_chain("off")
def messages_cross_one_link_where_transit_is_off(c):
    far, near = c.wanting(SOUTH, "one/hop"), c.wanting(MIDDLE, "one/hop")
    pub, middle = c.at(NORTH), c.at(MIDDLE)
    crossing(pub, near, "one/hop")
    true(far.recv(0.3, quiet=True) is None, "it crossed two links")
    crossing(middle, far, "one/hop")
    c.says(MIDDLE, "north/transit", b"off")


main([messages_pass_in_both_directions_at_all_qos, nobody_asks_for_what_nobody_wants_any_more,
      nothing_is_lost_or_doubled_while_one_of_them_stands_still,
      messages_pass_again_when_the_middle_was_restarted,
      messages_cross_one_link_where_transit_is_off])
