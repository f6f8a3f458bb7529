# tests/e2e/test_tls.py -- listeners with TLS: messages, versions, resuming, clients' certificates.

import multiprocessing
import os
import select
import socket
import ssl
import threading
import time

import paho.mqtt.client as paho

import mqtt
from broker import Failure, equal, run, seconds_until, test, true
from mqtt import PINGREQ, PINGRESP, connect, frame
from secure import (TLS_1_2, TLS_1_3, Files, at, cert, context, make_certs, server_keys,
                    tls_refused)

make_certs()
FILES = Files(acl="topic readwrite #\npattern readwrite u/%u/#\npattern readwrite open/#\n",
              psk="pump psk:00112233445566778899aabbccddeeff\n")
MUTUAL = f"cafile = {cert('ca.crt')}\ncrlfile = {cert('ca.crl')}\nrequire_certificate = true\n"
TEXT = f"""
[broker]
workers = {os.environ.get("WORKERS", "2")}
[auth]
acl_file = {FILES.path("acl")}
[listener tls]
bind = 127.0.0.1:{{port}}
{server_keys()}
[listener plain]
bind = 127.0.0.1:{{port2}}
[listener new]
bind = 127.0.0.1:{{port3}}
{server_keys()}tls_version = tlsv1.3
[listener mutual]
bind = 127.0.0.1:{{port4}}
{server_keys()}{MUTUAL}use_identity_as_username = true
[listener subject]
bind = 127.0.0.1:{{port5}}
{server_keys()}{MUTUAL}use_subject_as_username = true
[listener ciphers]
bind = 127.0.0.1:{{port6}}
{server_keys()}ciphers = ECDHE-ECDSA-AES128-GCM-SHA256
ciphers_tls1.3 = TLS_CHACHA20_POLY1305_SHA256
[listener trusting]
bind = 127.0.0.1:{{port7}}
{server_keys()}cafile = {cert('ca.crt')}
[listener old]
bind = 127.0.0.1:{{port8}}
{server_keys()}{MUTUAL}tls_version = tlsv1.2
use_identity_as_username = true
"""
TLS, PLAIN, NEW, MUTUAL_AT, SUBJECT_AT, CIPHERS_AT, TRUSTING, OLD_AT = range(8)
ALL = (3, 4, 5)


# ------------------------------------------------------------------------------------ messages ---

@test(versions=ALL)
def messages_cross_at_all_qos_with_both_versions_of_tls(t, v):
    topic = t.topic()
    sub = at(t, TLS, v, context(**TLS_1_2)).login(t.new_id())
    pub = at(t, TLS, v, context(**TLS_1_3)).login(t.new_id())
    equal((sub.sock.version(), pub.sock.version()), ("TLSv1.2", "TLSv1.3"))
    sub.subscribe(topic, 2)
    for qos in (0, 1, 2):
        equal(pub.publish(topic, f"at {qos}", qos), 0, "reason")
        sub.message(topic=topic, payload=f"at {qos}", qos=qos)


@test(versions=(4, 5))
def a_message_of_1_mb_crosses_in_both_directions(t, v):
    payload = os.urandom(1 << 20)
    for version in (TLS_1_2, TLS_1_3):
        far, near = at(t, PLAIN, v).login(t.new_id()), at(t, TLS, v, context(**version))
        near.login(t.new_id())
        for sub, pub in ((far, near), (near, far), (near, near)):
            topic = t.topic()
            sub.subscribe(topic, 1)
            for _ in range(2):
                pub.publish(topic, payload, 1)
                true(sub.message(qos=1).payload == payload, "the same bytes")
            sub.unsubscribe(topic)


@test
def a_packet_may_be_split_over_any_number_of_records(t):
    c = at(t, TLS, 5, context())
    for byte in connect(5, t.new_id()) + mqtt.subscribe(5, 1, [(t.topic(), 1)]):
        c.sock.sendall(bytes([byte]))
    c.expect(mqtt.CONNACK, reason=0)
    c.expect(mqtt.SUBACK, pid=1)


class Peer:
    """A paho client with TLS; what it got is in `messages`."""

    id = "paho"
    trace = ()

    def __init__(self, t, version):
        self.messages, self.version, self.up = [], version, threading.Event()
        level = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}[version]
        self.client = c = paho.Client(t.new_id("paho"), protocol=level)
        c.tls_set(ca_certs=cert("ca.crt"))
        c.on_connect = lambda *a: self.up.set()
        c.on_message = lambda c, u, m: self.messages.append(m)
        c.connect("localhost", t.broker.ports[TLS])
        c.loop_start()
        t.clients.append(self)
        true(self.up.wait(mqtt.WAIT), "paho does not connect")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@test(versions=ALL)
def paho_sends_and_receives(t, v):
    c, topic = Peer(t, v), t.topic()
    granted = threading.Event()
    c.client.on_subscribe = lambda *a: granted.set()
    c.client.subscribe(topic, 2)
    true(granted.wait(mqtt.WAIT), "no SUBACK")
    sent = [(b"at 0", 0), (b"at 1", 1), (b"at 2", 2), (os.urandom(1 << 20), 1)]
    for payload, qos in sent:
        c.client.publish(topic, payload, qos).wait_for_publish(mqtt.WAIT)
    seconds_until("all messages", lambda: len(c.messages) >= len(sent))
    true([(m.payload, m.qos) for m in c.messages] == sent, "the same messages in order")


# -------------------------------------------------------------------------- versions, resuming ---

@test
def versions_before_1_2_are_refused(t):
    old = ssl.TLSVersion.TLSv1_1
    port = tls_refused(t, TLS, context(old, old, ciphers="ALL:@SECLEVEL=0"))
    t.broker.says(f"peer=127.0.0.1:{port}", "no shared version")


@test
def a_listener_of_1_3_refuses_1_2(t):
    port = tls_refused(t, NEW, context(**TLS_1_2))
    t.broker.says(f"peer=127.0.0.1:{port}", "listener=new", "no shared version")
    at(t, NEW, 5, context(**TLS_1_3)).login(t.new_id()).ping()


@test
def certificates_of_clients_want_1_3_unless_1_2_is_written(t):
    tls_refused(t, MUTUAL_AT, context(**TLS_1_2, identity="client"))
    at(t, OLD_AT, 5, context(**TLS_1_2, identity="client")).login(t.new_id()).ping()


@test
def only_the_ciphers_of_the_list_are_spoken(t):
    for tls, name in ((TLS_1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
                      (TLS_1_3, "TLS_CHACHA20_POLY1305_SHA256")):
        c = at(t, CIPHERS_AT, 5, context(**tls)).login(t.new_id())
        equal(c.sock.cipher()[0], name)
    port = tls_refused(t, CIPHERS_AT, context(**TLS_1_2, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"))
    t.broker.says(f"peer=127.0.0.1:{port}", "no shared cipher")


@test
def ciphers_without_forward_secrecy_are_not_spoken(t):
    for list_ in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"):
        tls_refused(t, TLS, context(**TLS_1_2, ciphers=list_ + ":@SECLEVEL=0"))


@test
def sessions_are_resumed(t):
    for version in (TLS_1_2, TLS_1_3):
        tls = context(**version)
        first = at(t, TLS, 5, tls).login(t.new_id())
        true(not first.sock.session_reused, "the first one is new")
        first.ping()  # so that a ticket behind the handshake has come
        again = at(t, TLS, 5, tls, session=first.sock.session).login(t.new_id())
        true(again.sock.session_reused, f"{again.sock.version()} does not resume")
        again.publish(t.topic(), b"x" * 100000, 2)


@test
def sessions_with_a_certificate_are_not_resumed(t):
    # The certificate would not be seen again, nor what was revoked since.
    for number, version in ((MUTUAL_AT, TLS_1_3), (OLD_AT, TLS_1_2)):
        tls = context(**version, identity="client")
        first = at(t, number, 5, tls).login(t.new_id())
        first.ping()
        again = at(t, number, 5, tls, session=first.sock.session).login(t.new_id())
        true(not again.sock.session_reused, f"{again.sock.version()} resumes")
        equal(again.publish("u/pump 1/x", b"x", 1) & 0x80, 0, "still known as pump 1")


@test
def alpn_takes_mqtt_and_refuses_anything_else(t):
    for version in (TLS_1_2, TLS_1_3):
        c = at(t, TLS, 5, context(**version, alpn=["x-amzn", "mqtt"])).login(t.new_id())
        equal(c.sock.selected_alpn_protocol(), "mqtt")
        c = at(t, TLS, 5, context(**version)).login(t.new_id())
        equal(c.sock.selected_alpn_protocol(), None)
        port = tls_refused(t, TLS, context(**version, alpn=["http/1.1", "h2"]))
        t.broker.says(f"peer=127.0.0.1:{port}", "ALPN")


# ---------------------------------------------------------------------------------- identities ---

@test
def a_certificate_lets_its_client_in(t):
    for name in ("client", "client_rsa", "client_ed25519"):
        at(t, MUTUAL_AT, 5, context(identity=name)).login(t.new_id()).ping()


@test
def a_wrong_certificate_keeps_its_client_out(t):
    for name, why in ((None, "client gave no certificate"), ("other_client", "unknown CA"),
                      ("expired_client", "certificate expired"),
                      ("revoked", "certificate revoked"), ("server", "not for this use")):
        for number, version in ((MUTUAL_AT, TLS_1_3), (OLD_AT, TLS_1_2)):
            port = tls_refused(t, number, context(**version, identity=name))
            t.broker.says(f"peer=127.0.0.1:{port}", why)


@test
def the_common_name_is_the_user(t):
    name = t.new_id()
    c = at(t, MUTUAL_AT, 5, context(identity="client"))
    c.login(name, username="somebody else", password=b"x")
    t.broker.says('event="client connected"', f"client={name}", 'user="pump 1"')
    equal(c.publish("u/pump 1/x", b"x", 1) & 0x80, 0)
    equal(c.publish("u/somebody else/x", b"x", 1), 0x87)
    equal(c.publish("u/pump rsa/x", b"x", 1), 0x87)


@test
def the_subject_is_the_user(t):
    subject = "CN=pump 1,OU=Pumps,O=Test,C=DE"
    name = t.new_id()
    c = at(t, SUBJECT_AT, 5, context(identity="client")).login(name)
    t.broker.says('event="client connected"', f"client={name}", f'user="{subject}"')
    equal(c.publish(f"u/{subject}/x", b"x", 1) & 0x80, 0)
    equal(c.publish("u/pump 1/x", b"x", 1), 0x87)


@test
def a_subject_with_odd_signs_does_not_break_the_log(t):  # FlashMQ 813cc4b
    name = t.new_id()
    at(t, SUBJECT_AT, 5, context(identity="client_odd")).login(name)
    line = t.broker.says('event="client connected"', f"client={name}")
    true("OU=" in line and "listener" not in line.split("user=")[0], line)


@test
def nobody_is_asked_for_a_certificate_that_is_not_required(t):
    for name in (None, "client", "other_client"):
        at(t, TRUSTING, 5, context(identity=name)).login(t.new_id()).ping()


# ------------------------------------------------------------------------- what else may happen ---

@test
def plain_mqtt_and_garbage_are_no_hello(t):
    for garbage in (connect(5, "plain"), b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000),
                    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
                    b"\x16\x03\x01\xff\xff" + bytes(70000)):
        with socket.create_connection(("127.0.0.1", t.broker.ports[TLS]), mqtt.WAIT) as s:
            port = s.getsockname()[1]
            try:
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            except OSError:
                pass
        t.broker.says(f"peer=127.0.0.1:{port}", "connection closed")
    at(t, TLS, 5, context()).login(t.new_id()).ping()


@test
def a_listener_without_tls_refuses_a_hello(t):
    tls_refused(t, PLAIN, context())


@test(text=TEXT + "[limits]\nconnect_timeout = 500ms\n")
def who_says_nothing_is_closed_in_time(t):
    silent = socket.create_connection(("127.0.0.1", t.broker.ports[TLS]), mqtt.WAIT)
    half = socket.create_connection(("127.0.0.1", t.broker.ports[TLS]), mqtt.WAIT)
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    secured = at(t, TLS, 5, context())  # and does not say CONNECT
    began = time.monotonic()
    for s in (silent, half, secured.sock):
        try:
            while s.recv(100):
                pass
        except (ssl.SSLError, ConnectionError):
            pass
        s.close()
    true(0.1 < time.monotonic() - began < 0.5 + mqtt.WAIT / 2, "closed at connect_timeout")
    seconds_until("three are logged",
                  lambda: t.broker.said().count('reason="no CONNECT in time"') == 3)


@test
def the_broker_answers_close_notify(t):
    for version in (TLS_1_2, TLS_1_3):
        c = at(t, TLS, 5, context(**version)).login(t.new_id())
        c.ping()
        c.sock.unwrap().close()  # waits for that of the broker


@test
def the_broker_says_close_notify_when_it_closes(t):
    for version in (TLS_1_2, TLS_1_3):
        c = at(t, TLS, 5, context(**version)).login(t.new_id())
        c.send(mqtt.disconnect(5))
        equal(c.sock.recv(100), b"", "an end that is no cut")
        c = at(t, TLS, 5, context(**version)).login(t.new_id())
        c.send(b"\x00\x00")
        c.expect(mqtt.DISCONNECT)
        equal(c.sock.recv(100), b"", "an end that is no cut")


@test
def a_client_that_does_not_read_holds_nobody_up(t):
    topic, payload = t.topic(), bytes(20000)
    lazy = at(t, TLS, 5, context(), receive_buffer=8192).login(t.new_id())
    keen, pub = at(t, TLS, 5, context()).login(t.new_id()), at(t, PLAIN).login(t.new_id())
    lazy.subscribe(topic), keen.subscribe(topic)
    before = t.broker.memory()
    for i in range(500):
        pub.publish(topic, payload)
        keen.message(topic=topic)
    true(t.broker.memory() - before < 8 << 20, "memory for one slow client")
    found = t.settled(lazy)
    true(0 < len(found) < 500, f"{len(found)} of 500 came: those that found room")
    pub.publish(topic, b"last")
    lazy.message(payload=b"last")


# ---------------------------------------------------------------------------------------- storm ---

def watch_latency(address, stop, answer):
    """Pings over and over, in a process of its own; answers the times it took."""
    c = mqtt.Client(address, 4).login("watcher")
    times = []
    while not stop.is_set():
        began = time.monotonic()
        c.send(frame(PINGREQ, 0, b""))
        c.expect(PINGRESP)
        times.append(time.monotonic() - began)
        time.sleep(0.002)
    answer.put(sorted(times))


def shake_hands(tls, address, count):
    """`count` connections that all shake hands at the same time."""
    waiting = {}
    for _ in range(count):
        s = socket.create_connection(address, mqtt.WAIT)
        s.setblocking(False)
        s = tls.wrap_socket(s, server_hostname="localhost", do_handshake_on_connect=False)
        waiting[s.fileno()] = s
    done, end = [], time.monotonic() + 6 * mqtt.WAIT
    readable = list(waiting)
    while waiting:
        true(time.monotonic() < end, f"{len(waiting)} of {count} wait for their handshakes")
        for fd in readable:
            try:
                waiting[fd].do_handshake()
                done.append(waiting.pop(fd))
            except ssl.SSLWantReadError:
                pass
        readable = select.select(list(waiting), [], [], 1)[0] if waiting else []
    return done


@test
def a_storm_of_300_gets_in_and_disturbs_nobody(t):  # mosq#2095, mosq#2094
    fork = multiprocessing.get_context("fork")
    stop, answer = fork.Event(), fork.Queue()
    watcher = fork.Process(target=watch_latency,
                           args=(("127.0.0.1", t.broker.ports[PLAIN]), stop, answer))
    watcher.start()
    try:
        socks = shake_hands(context(), ("127.0.0.1", t.broker.ports[TLS]), 300)
        for i, s in enumerate(socks):
            s.settimeout(mqtt.WAIT)
            s.sendall(connect(4, f"{t.base}-storm{i}"))
        for s in socks:
            equal(s.recv(4), b"\x20\x02\x00\x00", "CONNACK")
            s.close()
    finally:
        stop.set()
    times = answer.get(timeout=mqtt.WAIT)
    watcher.join()
    true(times[len(times) // 2] < 0.05 and times[-1] < 1,
         f"a plain client waited {times[len(times) // 2]:.3f} s in the middle, {times[-1]:.3f} s "
         "at most")


run(text=TEXT)
