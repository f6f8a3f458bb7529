# tests/e2e/test_link_transit.py -- three brokers in a chain whose links have transit: the ends are
# not linked, and get what they want of each other through the one in the middle.

import itertools
import signal
import time

import mqtt
from broker import WORKERS, Broker, Failure, equal, free_port, main, seconds_until, true
from mqtt import Client, publish

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
numbers = itertools.count(1)


class Chain:
    def __init__(self, transit):
        self.ports = [free_port() for _ in NAMES]
        self.clients = []
        self.brokers = [Broker(text=self.text(i, transit), ports=[self.ports[i]])
                        for i in range(3)]

    def text(self, i, transit):
        text = BEGIN.format(workers=WORKERS, name=NAMES[i], port=self.ports[i])
        for other in (i - 1, i + 1):
            if 0 <= other < 3:
                text += LINK.format(name=NAMES[other], port=self.ports[other], transit=transit)
        return text

    def connect(self, i):
        c = Client(self.brokers[i].address, 5)
        self.clients.append(c)
        return c.login(f"transit{next(numbers)}")

    def subscribe(self, i, filters, qos=1):
        c = self.connect(i)
        for reason in c.subscribe(filters, qos):
            true(reason < 3, f"SUBACK says 0x{reason:02x}")
        return c

    def up(self, times=1):
        """Until the logs say that all links are up, and have been so often."""
        for i in range(3):
            for other in (i - 1, i + 1):
                if 0 <= other < 3:
                    seconds_until(f"{NAMES[i]}: link up",
                                  lambda: ups(self.brokers[i], NAMES[other]) >= times, LIMIT)

    def says(self, i, topic, wanted):
        """Until $SYS/broker/links/TOPIC of a broker is so."""
        c = self.connect(i)
        c.subscribe(f"$SYS/broker/links/{topic}")
        seconds_until(f"{NAMES[i]}: {topic} is {wanted}",
                      lambda: (p := c.recv(0.5, quiet=True)) and p.payload == wanted, LIMIT)

    def stop(self):
        for c in self.clients:
            c.close()
        wrong = []
        for b in self.brokers:
            try:
                b.stop()
            except Failure as error:
                wrong.append(str(error))
        true(not wrong, "\n".join(wrong))


def ups(broker, other):
    return sum("link up" in line and other in line for line in broker.said().split("\n"))


def crossing(pub, sub, topic):
    """Waits until what `pub` publishes reaches `sub`."""
    def arrived():
        pub.publish(topic, b"probe", 0)
        return sub.recv(0.05, quiet=True)

    seconds_until(f"{topic} crosses the links", arrived, LIMIT)
    pub.publish(topic, b"last", 1)
    while sub.message(timeout=LIMIT).payload != b"last":
        pass


def with_chain(transit):
    def of(f):
        def run():
            chain = Chain(transit)
            try:
                chain.up()
                f(chain)
            finally:
                chain.stop()

        run.__name__ = f.__name__
        return run

    return of


@with_chain("on")
def messages_pass_in_both_directions_at_all_qos(c):
    for here, there in ((NORTH, SOUTH), (SOUTH, NORTH)):
        topic = f"pass/{here}"
        sub, pub = c.subscribe(there, topic, 2), c.connect(here)
        between = c.subscribe(MIDDLE, "pass/#", 2)
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
    sub, pub = c.subscribe(SOUTH, ["gone/1", "gone/+/x"]), c.connect(NORTH)
    crossing(pub, sub, "gone/1")
    c.says(NORTH, "middle/routes/in/count", b"2")
    sub.unsubscribe(["gone/1", "gone/+/x"])
    c.says(NORTH, "middle/routes/in/count", b"0")
    c.says(MIDDLE, "south/routes/in/count", b"0")


@with_chain("on")
def nothing_is_lost_or_doubled_while_one_of_them_stands_still(c):
    count = 3000
    sub, pub = c.subscribe(SOUTH, "held"), c.connect(NORTH)
    crossing(pub, sub, "held")
    for i, stopped in enumerate((MIDDLE, SOUTH)):
        c.brokers[stopped].process.send_signal(signal.SIGSTOP)
        try:
            for first in range(0, count, 500):
                pub.send(b"".join(publish(5, "held", f"{i} {first + n}", 1, pid=1 + n)
                                  for n in range(500)))
                for _ in range(500):
                    pub.expect(mqtt.PUBACK)
        finally:
            time.sleep(4)  # longer than it takes to notice
            c.brokers[stopped].process.send_signal(signal.SIGCONT)
        for n in range(count):
            equal(sub.message(timeout=LIMIT).payload, f"{i} {n}".encode())
        true(sub.recv(0.3, quiet=True) is None, "something came twice")


@with_chain("on")
def messages_pass_again_when_the_middle_was_restarted(c):
    sub, pub = c.subscribe(SOUTH, "again"), c.connect(NORTH)
    crossing(pub, sub, "again")
    c.brokers[MIDDLE].kill()
    time.sleep(0.5)
    c.brokers[MIDDLE].start()
    crossing(pub, sub, "again")


@with_chain("off")
def messages_cross_one_link_where_transit_is_off(c):
    far, near = c.subscribe(SOUTH, "one/hop"), c.subscribe(MIDDLE, "one/hop")
    pub, middle = c.connect(NORTH), c.connect(MIDDLE)
    crossing(pub, near, "one/hop")
    true(far.recv(0.3, quiet=True) is None, "it crossed two links")
    crossing(middle, far, "one/hop")
    c.says(MIDDLE, "north/transit", b"off")


main([messages_pass_in_both_directions_at_all_qos, nobody_asks_for_what_nobody_wants_any_more,
      nothing_is_lost_or_doubled_while_one_of_them_stands_still,
      messages_pass_again_when_the_middle_was_restarted,
      messages_cross_one_link_where_transit_is_off])
