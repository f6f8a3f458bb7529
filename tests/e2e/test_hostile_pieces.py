# tests/e2e/test_hostile_pieces.py -- hostile peers that send pieces, on every transport: packets
# without an end, one byte now and then, packets cut and changed at any byte within good frames and
# records. What is watched meanwhile is said in hostile.py.

import random
import time

import mqtt
from broker import run, seconds_until, test, true
from hostile import KINDS, MB, OPEN, Peer, Watch, counters, counts, everywhere, ws_frame
from mqtt import (PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, ack, connect, disconnect,
                  frame, publish, subscribe, text, unsubscribe, varint)

SHORT = OPEN.replace("[limits]\n", "[limits]\nmax_keepalive = 1s\n")
TIGHT = OPEN.replace("[limits]\n", "[limits]\nmemory_limit = 64MB\n")


@test(slow=True, text=OPEN)
def a_connect_byte_by_byte_is_cut_off_in_time(t):
    """Within TLS and WebSocket: each byte has a record or a frame of its own, and is good."""
    whole = connect(5, "x" * 60, username="u" * 200)
    with Watch(t):
        before = counters(t, "connect_timeouts")
        peers = [Peer(t, kind) for kind in KINDS for _ in range(15)]
        began = time.monotonic()
        at = 0
        while time.monotonic() - began < 4.5 and at < len(whole) - 1:
            for p in peers:
                p.send(whole[at:at + 1])
            at += 1
            time.sleep(0.2)
        true(at < len(whole) - 1, "the CONNECT was almost whole")
        for p in peers:
            p.ends(1)
    counts(t, "connect_timeouts", len(peers), before)


@test(slow=True, text=SHORT)
def a_publish_byte_by_byte_keeps_nobody_alive(t):  # [MQTT-3.1.2-24] counts packets, CVE-2020-13849
    whole = publish(5, "a", bytes(2000), 1, pid=1)
    with Watch(t):
        peers = [Peer(t, kind).login() for kind in KINDS for _ in range(10)]
        began = time.monotonic()
        at = 0
        while time.monotonic() - began < 4.0:
            for p in peers:
                p.send(whole[at:at + 1])
            at += 1
            time.sleep(0.1)
        for p in peers:
            p.ends(1)


@test(slow=True, text=OPEN)
def connects_without_an_end_are_let_go_of(t):  # NATS 54b75d512
    """As many as one may: each almost as large as a CONNECT may be, from nobody who is known."""
    part = b"\x10" + varint(130000) + text("MQTT") + b"\5\2\0\x3c" + varint(100000) + \
        mqtt.one_property("user", ("k" * 1000, "v" * 1000)) * 45
    with Watch(t, grows=80 * MB):
        before = t.broker.memory()
        peers = [Peer(t, kind) for kind in KINDS for _ in range(60)]
        for p in peers:
            p.send(part)
        for p in peers:
            p.ends(10)
    seconds_until("its memory is given back", lambda: t.broker.memory() < before + 24 * MB, 10)


@test(text=TIGHT)
def halves_of_large_packets_do_not_fill_the_memory(t):
    """From clients that are in: 200 times 4 MB announced, and 3 MB of it sent. The bound is 64 MB
    and an eighth; what is freed goes back to the kernel within seconds."""
    before = counters(t, "dropped_memory")
    with Watch(t, grows=180 * MB, within=1.0):
        peers = [Peer(t, kind).login() for kind in KINDS for _ in range(50)]
        head = b"\x32" + varint(4 * MB) + text("a") + b"\0\1\0"
        for p in peers:
            p.sock.settimeout(0.2)
            p.send(head)
        for _ in range(6):
            for p in peers:
                p.send(bytes(500000))
        for p in peers:
            p.close()
    Peer(t, "mqtts").login()
    counts(t, "dropped_memory", 100, before)


def samples(t):
    """One good packet of each kind."""
    user = {"user": ("key", "value")}
    return [publish(5, t.topic(), b"payload", 1, pid=1, props={"content_type": "c", **user}),
            publish(5, t.topic(), b"payload", 2, pid=2, retain=True),
            *[ack(kind, 7, 0, user) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)],
            subscribe(5, 3, [(t.topic("#"), 1), ("$share/g/x", 0)], {"subscription_id": 5, **user}),
            unsubscribe(5, 4, [t.topic("#"), "b"], user), frame(PINGREQ, 0, b""), disconnect(5)]


@test(text=OPEN)
def packets_cut_at_any_byte_do_no_harm_on_any_transport(t):
    with Watch(t):
        kinds = 0
        for packet in samples(t):
            body = packet[1 + len(varint(len(packet) - 2)):]
            for size in range(len(body)):
                p = Peer(t, KINDS[kinds % 4])
                kinds += 1
                p.send(connect(5, "cut") + frame(packet[0] >> 4, packet[0] & 15, body[:size]) +
                       frame(PINGREQ, 0, b""))
                if size % 3:
                    p.swallow(0.0)
                p.close()


@test(text=OPEN)
def changed_packets_do_no_harm_on_any_transport(t):
    chance = random.Random(11)
    packets = samples(t)
    with Watch(t):
        for i in range(600):
            stream = bytearray(b"".join(chance.sample(packets, 4)))
            for _ in range(chance.randrange(1, 4)):
                stream[chance.randrange(len(stream))] = chance.randrange(256)
            p = Peer(t, KINDS[i % 4])
            p.send(connect(5, f"{t.base}-{i % 20}"))
            cut = chance.randrange(len(stream))
            p.send(bytes(stream[:cut])), p.send(bytes(stream[cut:]))
            if i % 10 == 0:
                p.swallow(0.02)
            (p.reset if i % 5 == 0 else p.close)()


@test(text=OPEN)
def changed_frames_do_no_harm(t):  # CVE-2026-25627
    """A good stream of frames of all sizes, in which bytes of frame headers are changed too."""
    chance = random.Random(12)
    packets = [connect(5, "frames")] + samples(t)
    with Watch(t):
        for i in range(400):
            data, stream = b"".join(packets), bytearray()
            while data:
                n = chance.choice((1, 2, 5, 125, 126, 127))
                first = chance.choice((0x82, 0x82, 0x82, 0x02, 0x80, 0x89, 0x8A))
                if first in (0x89, 0x8A):
                    stream += ws_frame(b"ping", first)
                    continue
                stream += ws_frame(data[:n], first)
                data = data[n:]
            for _ in range(chance.randrange(0, 3)):
                stream[chance.randrange(len(stream))] = chance.randrange(256)
            p = Peer(t, ("ws", "wss")[i % 2])
            p.raw(bytes(stream))
            if i % 10 == 0:
                p.swallow(0.02)
            p.close()


@test(text=OPEN)
def what_was_refused_is_not_read_on(t):
    """Behind a packet that ends the connection come thousands of good ones."""
    good = publish(5, t.topic("never"), b"x", 1, pid=1) * 2000
    sub = t.subscriber(t.topic("never"), 1)
    with Watch(t):
        everywhere(t, [frame(PUBLISH, 6, b"\0\1a") + good, b"\xf0\xff\xff\xff\x7f" + good,
                       connect(5, "again") + good])
        everywhere(t, [frame(PUBLISH, 0, b"\0\1ax") + good, b"\x10\2\0\0" + good], login=False)
    t.nothing(sub, t.connect(5))


run(text=OPEN)
