# tests/e2e/test_hostile_secure.py -- hostile peers on every transport: MQTT alone, within TLS,
# within WebSocket, within both, and behind a PROXY header.

import os
import random
import socket
import ssl
import statistics
import struct
import subprocess
import tempfile
import threading
import time

import mqtt
from broker import Failure, equal, run, seconds_until, test, true
from hostile import (CERTS, CONFIG, GREETING, KEYS, KINDS, MB, OPEN, PROXY, Peer, Watch, counters,
                     counts, everywhere, tls_context, ws_frame)
from mqtt import (PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, connect, frame, one_property,
                  publish, subscribe, unsubscribe)


# ---- before anybody is known ----

@test(slow=True, text=OPEN)
def halves_and_single_bytes_are_cut_off_in_time(t):
    whole = {"mqtt": connect(5, "slow", username="u" * 200), "mqtts": client_hello(),
             "ws": GREETING, "wss": client_hello()}
    with Watch(t):
        before = counters(t, "connect_timeouts")
        peers = [Peer(t, kind, shake=False) for kind in KINDS for _ in range(20)]
        half = [Peer(t, kind, shake=False) for kind in KINDS for _ in range(20)]
        began = time.monotonic()
        for p in half:
            p.raw(whole[p.kind][:len(whole[p.kind]) // 2])
        for i in range(8):  # a byte in half a second
            for p in peers:
                p.raw(whole[p.kind][i:i + 1])
            time.sleep(0.5)
        for p in peers + half:
            p.ends(20)
        true(time.monotonic() - began < 30, "they were not cut off in time")
    counts(t, "connect_timeouts", 160, before)


@test(text=OPEN)
def a_first_packet_of_256_mb_takes_no_memory(t):
    with Watch(t, grows=40 * MB):
        peers = [Peer(t, kind) for kind in KINDS for _ in range(25)]
        for i, p in enumerate(peers):
            p.send((b"\x10", b"\x30", b"\x82", b"\xf0")[i // 4 % 4] + b"\xff\xff\xff\x7f"
                   + bytes(50000))


@test(text=OPEN)
def packets_before_connect_end_the_connection(t):
    with Watch(t):
        everywhere(t, [publish(5, "a", b"x"), subscribe(5, 1, [("#", 0)]), ack(PUBACK, 1),
                       frame(PINGREQ, 0, b""), frame(2, 0, b"\0\0\0"), frame(15, 0, b"\x18\0"),
                       b"\0\0"], login=False)


@test(text=OPEN)
def long_and_deep_packets_do_no_harm(t):
    user = one_property("user", ("k", "v"))
    with Watch(t, grows=40 * MB):
        everywhere(t, [publish(5, "/" * 65000, b"x"), connect(5, "again")])
        everywhere(t, [publish(5, "a", b"x", props=user * 20000),
                       subscribe(5, 1, [("+/" * 32000 + "#", 0)])], ends=False)
        everywhere(t, [connect(5, "", props=user * 15000)], ends=False, login=False)


@test(text=OPEN)
def stray_acknowledgements_do_no_harm_on_any_transport(t):
    with Watch(t):
        for kind in KINDS:
            p = Peer(t, kind).login()
            for code in (PUBACK, PUBREC, PUBREL, PUBCOMP):
                p.send(b"".join(ack(code, pid) for pid in (1, 2, 65535)))
            p.send(unsubscribe(5, 3, ["never"]) + frame(PINGREQ, 0, b""))
            p.swallow()
            p.close()


@test(text=OPEN)
def packets_only_a_broker_sends_end_the_connection(t):  # CVE-2021-28166
    with Watch(t):
        everywhere(t, [frame(2, 0, b"\0\0\0"), frame(9, 0, b"\0\1\0\0"), frame(11, 0, b"\0\1\0\0"),
                       frame(13, 0, b"")])


# ---- who may do what, on every transport ----

RULES = os.path.join(tempfile.mkdtemp(prefix="rules-"), "acl")
with open(RULES, "w", encoding="ascii") as rules_file:
    rules_file.write("topic read open/#\n")


@test(text=OPEN + f"[auth]\nacl_file = {RULES}\n")
def rules_hold_on_every_listener(t):  # CVE-2018-20145
    for kind in KINDS:
        p = Peer(t, kind).login()
        p.send(publish(5, "open/a", b"x", 1, pid=1) + subscribe(5, 2, [("open/#", 0), ("b", 0)]))
        got = b""
        while b"\x40\3\0\1\x87" not in got:  # PUBACK, not authorized
            some = p.got(mqtt.WAIT)
            true(some, f"{kind}: not refused: {got.hex(' ')}")
            got += some


@test(text=CONFIG % (("allow_anonymous = true\n",) * 3 + (
    f"allow_anonymous = true\ncafile = {CERTS}/ca.crt\nrequire_certificate = true\n",)))
def a_certificate_is_demanded_within_websocket_too(t):  # mosquitto 1.5.4
    for name, is_good in ((None, False), ("other_client", False), ("expired_client", False),
                          ("client", True)):
        tls = tls_context()
        if name:
            tls.load_cert_chain(f"{CERTS}/{name}.crt", f"{CERTS}/{name}.key")
        try:
            Peer(t, "wss", tls=tls)
            came_in = True
        except (OSError, Failure):
            came_in = False
        equal(came_in, is_good, f"{name} comes in")


def test_config(config):
    """The exit status of `causeway -t`."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as f:
        f.write(config)
        f.flush()
        return subprocess.run([os.environ["CAUSEWAY"], "-c", f.name, "-t"], capture_output=True,
                              check=False).returncode


@test(text=OPEN)
def keys_of_tls_outside_of_a_listener_are_refused(t):  # mosquitto 2.0.12
    one = "[listener a]\nbind = 127.0.0.1:1\n"
    equal(test_config(one), 0, "exit status")
    for config in (KEYS + one, "[broker]\n" + KEYS + one, "[auth]\n" + KEYS + one,
                   one + f"certfile = {CERTS}/server.crt\n", one + f"cafile = {CERTS}/none.crt\n",
                   one + f"keyfile = {CERTS}/server.key\n", one + "require_certificate = true\n"):
        true(test_config(config) != 0, f"taken: {config}")


# ---- TLS ----

def client_hello(version=None):
    """What a client says first."""
    out = ssl.MemoryBIO()
    c = tls_context(version).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        c.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


@test(text=OPEN)
def bytes_that_are_no_tls_are_refused(t):
    hello = client_hello()
    junk = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", connect(5, "plain"), bytes(300), b"\xff" * 300,
            b"\x16\x03\x01\xff\xff" + bytes(3000), b"\x16\x03\x01\0\0" * 100,
            b"\x15\x03\x03\0\2\2\x28", b"\x17\x03\x03\0\x20" + bytes(32), b"\x14\x03\x03\0\1\1",
            b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(40), b"\x18\x03\x03\0\3\1\xff\xff",
            hello[:5] + b"\x01\xff\xff\xff" + hello[9:], hello[:43] + b"\xff" + hello[44:],
            hello[:3] + struct.pack(">H", len(hello)) + hello[5:] + b"\0" * 5, hello * 3]
    chance = random.Random(7)
    for _ in range(150):
        bad = bytearray(hello)
        for _ in range(chance.randrange(1, 5)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        junk.append(bytes(bad))
    with Watch(t):
        before = counters(t, "handshakes_failed")
        for i, data in enumerate(junk):
            p = Peer(t, ("mqtts", "wss")[i % 2], shake=False)
            p.raw(data)
            p.swallow(0.01)
            p.close()
    counts(t, "handshakes_failed", 12, before)


@test(text=OPEN)
def handshakes_reset_at_any_byte_are_cleaned_up(t):
    hello = client_hello()
    before = t.broker.files_at_rest()
    with Watch(t):
        for i in range(0, len(hello) + 1, 3):
            p = Peer(t, ("mqtts", "wss")[i % 2], shake=False)
            p.raw(hello[:i])
            if i % 2:
                p.reset()
            p.close()
        for i in range(100):  # the server's flight is on its way
            p = Peer(t, "mqtts", shake=False)
            p.raw(hello)
            p.reset()
    seconds_until("all are closed", lambda: t.broker.open_files() <= before + 2)


@test(text=OPEN)
def endless_handshakes_do_not_hold_up_those_who_are_connected(t):
    """As many handshakes as this machine can, for three seconds, and 200 that never end."""
    hello = client_hello()
    end = time.monotonic() + 3

    def storm():
        tls = tls_context()
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", t.broker.ports[1]), 5) as s:
                    tls.wrap_socket(s).close()
            except OSError:
                pass

    with Watch(t, grows=48 * MB):
        peers = [Peer(t, ("mqtts", "wss")[i % 2], shake=False) for i in range(200)]
        for p in peers:
            p.raw(hello)
        threads = [threading.Thread(target=storm) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for p in peers:
            p.close()
    Peer(t, "mqtts").login()


def openssl(t, letter, count, *options):
    """`openssl s_client`, which takes letters: R renegotiates, K and k update keys."""
    with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{t.broker.ports[1]}", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            bufsize=0) as p:  # nothing is left to be written when it has gone
        seconds_until("openssl is connected", lambda: b"Verif" in p.stdout.readline(), 20)
        try:
            for _ in range(count):
                p.stdin.write(letter)
                p.stdin.flush()
                time.sleep(0.003)
                if p.poll() is not None:
                    break
            p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
        return p.stdout.read()


@test(text=OPEN)
def renegotiation_is_refused(t):
    with Watch(t):
        spent = t.broker.cpu_seconds()
        for _ in range(3):
            said = openssl(t, b"R\n", 20, "-tls1_2")
            true(said.count(b"verify return") <= 4, "a second handshake took place")
        true(t.broker.cpu_seconds() - spent < 3, "renegotiation costs much")


@test(text=OPEN)
def a_flood_of_key_updates_is_cut_off(t):
    with Watch(t):
        before = counters(t, "protocol_errors")
        openssl(t, b"K\n", 400, "-tls1_3")
    Peer(t, "mqtts").login()
    true(counters(t, "protocol_errors") > before, "nothing was counted")


@test(text=OPEN)
def tiny_records_are_only_slow(t):
    with Watch(t):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            p = Peer(t, "mqtts", tls=tls_context(version)).login()
            for _ in range(1500):
                p.raw(b"\xc0")
                p.raw(b"\0")
            got = 0
            while got < 3000:
                some = p.got(mqtt.WAIT)
                true(some, f"{got // 2} of 1500 pings answered")
                got += len(some)


# ---- WebSocket ----

@test(text=OPEN)
def requests_that_never_end_are_cut_off(t):
    ends = [b"GET /" + b"a" * 200000, b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 200000,
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 30000, b"GET / HTTP/1.1\n\n", b"\r\n" * 100,
            b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\0" * 100,
            GREETING.replace(b"13\r", b"12\r"), GREETING.replace(b"Key: ", b"Kex: "),
            GREETING.replace(b"Host: h", b"Content-Length: 99999999999999999999\r\nHost: h")]
    with Watch(t):
        for kind in ("ws", "wss"):
            for data in ends:
                p = Peer(t, kind, shake=False)
                if kind == "wss":
                    p.sock = tls_context().wrap_socket(p.sock)
                p.raw(data)
                p.ends()
                p.close()


@test(text=OPEN)
def frames_that_lie_end_the_connection(t):  # CVE-2026-25627
    key = b"\1\2\3\4"
    lies = [b"\x82\xff" + b"\xff" * 8 + key, b"\x82\xff" + struct.pack(">Q", 5) + key + b"12345",
            b"\x82\xfe\0\5" + key + b"12345", b"\x82\5hello", b"\x81\x85" + key + b"hello",
            b"\x80\x85" + key + b"hello", b"\xc2\x85" + key + b"hello", b"\x83\x80" + key,
            b"\x89\xfe\0\x80" + key + bytes(128), b"\x09\x80" + key, b"\x88\x81" + key + b"a",
            b"\x02\x80" + key + b"\x82\x80" + key, b"\x88\x82" + key + b"\x01\x01"]
    with Watch(t):
        for kind in ("ws", "wss"):
            for lie in lies:
                for known in (False, True):
                    p = Peer(t, kind)
                    if known:
                        p.login()
                    p.raw(lie)
                    p.ends()
                    p.close()


@test(text=OPEN)
def frames_without_end_take_no_memory(t):
    key = b"\1\2\3\4"
    with Watch(t, grows=32 * MB):
        for kind in ("ws", "wss"):
            for i in range(10):
                p = Peer(t, kind)
                p.raw(b"\x82\xff" + struct.pack(">Q", 1 << 40) + key + bytes(100000))
                p = Peer(t, kind).login()
                p.raw(b"\x02\x80" + key + (b"\0\x80" + key) * 20000)  # continuations of nothing
                p = Peer(t, kind).login()
                p.raw((b"\x82\x80" + key) * 20000)
                true(p.send(frame(PINGREQ, 0, b"")), "empty frames are allowed")


@test(text=OPEN)
def whole_connects_with_a_lie_behind_them_do_no_harm(t):
    """In one segment, for clients that are at home on either worker."""
    for users in (False, True):
        broker = t.other(text=SECRET) if users else t.broker
        for i in range(40):
            p = Peer(t, ("ws", "wss")[i % 2], broker)
            p.raw(ws_frame(connect(5, f"{t.base}-{i}", username="u", password="password"))
                    + (b"\x82\1x", b"\x88\x80\1\2\3\4")[i // 2 % 2])
            p.ends()
        true(broker.is_alive(), "the broker is gone")
        c = mqtt.Client(broker.address, 5)
        c.login(t.new_id(), username="u", password="password")
        c.ping()
        c.close()


@test(text=OPEN)
def floods_of_pings_without_reading_are_bounded(t):
    with Watch(t, grows=40 * MB):
        for kind in KINDS:
            p = Peer(t, kind).login()
            p.sock.settimeout(0.3)
            data = b"".join([frame(PINGREQ, 0, b"")] * 2000)
            for _ in range(200):
                if not p.send(data):
                    break
            if kind in ("ws", "wss"):
                p = Peer(t, kind).login()
                p.sock.settimeout(0.3)
                data = ws_frame(b"p" * 125, 0x89) * 500
                for _ in range(200):
                    if not p.raw(data):
                        break


# ---- PROXY ----

def v2(family, length, rest, command=0x21):
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack(">H", length) + rest


@test(text=PROXY)
def proxy_headers_that_lie_end_the_connection(t):
    ip4 = bytes(range(1, 13))
    lies = [b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY " + b"A" * 200, b"GET / HTTP/1.1\r\n\r\n", connect(5, "none"),
            client_hello(), v2(0x11, 65535, ip4 * 100), v2(0x11, 4, ip4), v2(0x99, 12, ip4),
            v2(0x11, 12, ip4, 0x31), v2(0x11, 12, ip4, 0x2f), v2(0x21, 12, ip4),
            v2(0x11, 15, ip4 + b"\x01\xff\xff"), v2(0x11, 20, ip4 + b"\x20\0\5\1\0\0\0\0"),
            v2(0x11, 16, ip4 + b"\x03\0\1\0"), v2(0x11, 19, ip4 + b"\x03\0\4\0\0\0\0"),
            v2(0x11, 12 + 4 * 65, ip4 + b"\xe0\0\1x" * 65), v2(0x12, 12, ip4),
            b"PROXY TCP4 192.0.2.66 127.0.0.1 1 2\r\n" + connect(5, "denied")]
    with Watch(t):
        for i, lie in enumerate(lies):
            for kind in ("mqtts", "ws"):
                p = Peer(t, kind, shake=False)
                for part in ([lie] if i % 2 else [lie[k:k + 1] for k in range(len(lie))]):
                    if not p.raw(part):
                        break
                try:
                    if lie[:37] == lies[-1][:37] and kind == "ws":
                        continue  # this one denies nobody
                    p.ends()
                except Failure as error:
                    raise Failure(f"{lie[:40]!r}: {error}") from None
                p.close()
        p = Peer(t, "wss", shake=False)  # only 192.0.2.1 may send a header there
        p.raw(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + connect(5, "far"))
        p.ends()
    true(counters(t, "connections_denied") >= 2, "denied connections were not counted")


@test(text=PROXY)
def a_second_proxy_header_is_no_mqtt(t):
    header = b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"
    with Watch(t):
        p = Peer(t, "mqtts", shake=False)
        p.raw(header * 2)
        p.ends()
        p = Peer(t, "mqtts", shake=False)
        p.raw(header + connect(5, "after"))
        true(p.got(mqtt.WAIT)[0] == 0x20, "no CONNACK behind one header")


# ---- passwords ----

FOLDER = tempfile.mkdtemp(prefix="users-")
USERS = os.path.join(FOLDER, "users")
with open(USERS, "w", encoding="ascii") as users_file:
    users_file.write(  # `password`, and one that takes a while to be found wrong
        "u:$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTs"
        "Hkd+uve2/GFOr/KZ8Y/8Hw==\n"
        "slow:$7$50000$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIv"
        "lBQTsHkd+uve2/GFOr/KZ8Y/8Hw==\n")
SECRET = CONFIG % (("allow_anonymous = false\n",) * 4) + f"[auth]\npassword_file = {USERS}\n"


@test(text=SECRET)
def a_storm_of_wrong_passwords_does_not_hold_up_those_who_are_connected(t):
    c = mqtt.Client(t.broker.address, 5)
    t.clients.append(c)
    c.login(t.new_id(), username="u", password="password")
    peers = []
    for i in range(60):
        p = Peer(t, KINDS[i % 4])
        p.send(connect(5, f"{t.base}-{i}", username=("slow", "nobody")[i % 2],
                       password="x" * (1 + i * 1000 % 60000)))
        if i % 3 == 0:
            p.reset()
        else:
            peers.append(p)
    took = []
    while len(took) < 300:
        began = time.monotonic()
        c.ping()
        took.append(time.monotonic() - began)
    true(statistics.median(took) < 0.25, f"a ping takes {statistics.median(took):.3f} s")
    for p in peers:
        p.ends(60)
    c.ping()


@test(text=SECRET, slow=True)
def a_reload_without_descriptors_changes_nothing(t):  # CVE-2017-7652
    broker = t.other(text=SECRET, files=100)
    first = mqtt.Client(broker.address, 5)
    first.login(t.new_id(), username="u", password="password")
    clients = []
    while broker.open_files() < 99 and len(clients) < 200:
        clients.append(mqtt.Client(broker.address, 4))
        time.sleep(0.005)
    said = len(broker.said())
    os.kill(broker.pid, 1)
    seconds_until("the reload is over", lambda: "reload" in broker.said()[said:])
    for c in clients:
        c.close()
    seconds_until("they are gone", lambda: broker.open_files() < 60)
    first.ping()
    nobody = mqtt.Client(broker.address, 5)
    nobody.send(connect(5, t.new_id()))
    equal(nobody.recv().reason >= 0x80, True, "an anonymous client is refused")
    for c in (first, nobody):
        c.close()


run(text=OPEN)
