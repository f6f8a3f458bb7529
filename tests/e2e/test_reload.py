# tests/e2e/test_reload.py -- SIGHUP: certificates, revocations, users and rules are read anew.

import os
import signal
import socket
import ssl
import subprocess
import time

import mqtt
from broker import equal, run, seconds_until, test, true
from mqtt import connect
from secure import (TLS_1_2, TLS_1_3, Files, at, cert, context, make_certs, reload, server_keys,
                    tls_refused)

make_certs()
NOTHING_RELOADED = 'event="nothing reloaded"'
ALL = (3, 4, 5)


def start(t, files):
    """A broker of this test alone, with what the files are there for."""
    has = os.path.exists
    auth = "".join(f"{key} = {files.path(name)}\n" for key, name in
                   (("password_file", "passwd"), ("acl_file", "acl")) if has(files.path(name)))
    text = f"[broker]\nworkers = {os.environ.get('WORKERS', '2')}\n[auth]\n{auth}"
    text += "[listener plain]\nbind = 127.0.0.1:{port}\nallow_anonymous = true\n"
    if has(files.path("crt")):
        text += ("[listener tls]\nbind = 127.0.0.1:{port2}\n"
                 f"certfile = {files.path('crt')}\nkeyfile = {files.path('key')}\n"
                 "allow_anonymous = true\n")
    if has(files.path("crl")):
        text += ("[listener mutual]\nbind = 127.0.0.1:{port3}\n" + server_keys() +
                 f"cafile = {cert('ca.crt')}\ncrlfile = {files.path('crl')}\n"
                 "require_certificate = true\nuse_identity_as_username = true\n")
    if has(files.path("psk")):
        text += f"[listener psk]\nbind = 127.0.0.1:{{port4}}\npsk_file = {files.path('psk')}\n"
    return t.other(text=text)


PLAIN, TLS, MUTUAL, PSK = range(4)


def with_certificate(name):
    files = Files()
    change_certificate(files, name)
    return files


def change_certificate(files, name):
    files.take("crt", f"{name}.crt")
    files.take("key", f"{name}.key")


def shown(t, broker, **tls):
    """The certificate that a new connection is shown."""
    c = at(t, TLS, 5, context(**tls), broker).login(t.new_id())
    der = c.sock.getpeercert(binary_form=True)
    c.logout()
    return der


def der_of(name):
    with open(cert(f"{name}.crt"), encoding="ascii") as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


# -------------------------------------------------------------------------------- certificates ---

@test
def a_new_certificate_is_shown_to_new_connections(t):  # mosq#1877, mosq#2037
    files = with_certificate("server")
    b = start(t, files)
    tls = context()
    old = at(t, TLS, 5, tls, b).login(t.new_id())
    true(old.sock.getpeercert(binary_form=True) == der_of("server"), "the first certificate")
    old.subscribe(t.topic(), 1)
    for name in ("server_rsa", "server_ed25519", "server"):
        change_certificate(files, name)
        reload(b)
        for version in (TLS_1_2, TLS_1_3):
            true(shown(t, b, **version) == der_of(name), f"{name} is shown")
        new = at(t, TLS, 5, tls, b).login(t.new_id())
        new.publish(t.topic(), bytes(100000), 1)
        old.message(topic=t.topic())  # which is still up, and nothing is lost
        old.publish(t.topic(), bytes(100000), 1)
        old.message(topic=t.topic())


@test
def connections_in_their_handshake_keep_the_old_certificate(t):
    files = with_certificate("server")
    b = start(t, files)
    with socket.create_connection(("127.0.0.1", b.ports[TLS]), mqtt.WAIT) as s:
        # Accepted before the reload, says hello behind it: either certificate would be right.
        time.sleep(0.05)
        change_certificate(files, "server_rsa")
        reload(b)
        with context().wrap_socket(s, server_hostname="localhost") as secured:
            true(secured.getpeercert(binary_form=True) in (der_of("server"), der_of("server_rsa")),
                 "one of both")
            secured.sendall(connect(4, "late"))
            equal(secured.recv(4), b"\x20\x02\x00\x00")


def revocations(folder, *names):
    """A list of the CA that revokes these, made by the openssl command."""
    with open(os.path.join(folder, "crl.cnf"), "w", encoding="ascii") as f:
        f.write(f"[ca]\ndatabase = {folder}/index\ncrlnumber = {folder}/number\n"
                "default_md = sha256\n")
    for name, content in (("index", ""), ("number", "2000\n")):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(content)
    base = ["openssl", "ca", "-config", f"{folder}/crl.cnf", "-name", "ca", "-keyfile",
            cert("ca.key"), "-cert", cert("ca.crt")]
    for name in names:
        subprocess.run(base + ["-revoke", cert(f"{name}.crt")], check=True, capture_output=True)
    done = subprocess.run(base + ["-gencrl", "-crldays", "30"], check=True, capture_output=True)
    return done.stdout.decode()


@test
def a_revocation_counts_for_new_connections(t):
    files = Files()
    files.write("crl", revocations(files.folder))
    b = start(t, files)
    staying = at(t, MUTUAL, 5, context(identity="client"), b).login(t.new_id())
    at(t, MUTUAL, 5, context(identity="client_rsa"), b).login(t.new_id()).logout()
    files.write("crl", revocations(files.folder, "client"))
    reload(b)
    port = tls_refused(t, MUTUAL, context(identity="client"), b)
    b.says(f"peer=127.0.0.1:{port}", "certificate revoked")
    at(t, MUTUAL, 5, context(identity="client_rsa"), b).login(t.new_id()).ping()
    staying.ping()  # TLS asks only once
    files.write("crl", revocations(files.folder))
    reload(b)
    at(t, MUTUAL, 5, context(identity="client"), b).login(t.new_id()).ping()


def certificates_decide(files):
    return (f"[broker]\nworkers = {os.environ.get('WORKERS', '2')}\n[listener mutual]\n"
            f"bind = 127.0.0.1:{{port}}\n{server_keys()}cafile = {files.path('ca')}\n"
            "require_certificate = true\nuse_identity_as_username = true\n"
            "[listener plain]\nbind = 127.0.0.1:{port2}\nallow_anonymous = true\n")


@test
def another_ca_counts_for_new_connections(t):  # mosq#3568, mosq#524
    files = Files()
    files.take("ca", "ca.crt")
    b = t.other(text=certificates_decide(files))
    ours, theirs = context(identity="client"), context(identity="other_client")
    first = at(t, 0, 5, ours, b).login(t.new_id())
    tls_refused(t, 0, theirs, b)
    files.take("ca", "other_ca.crt")
    reload(b)
    at(t, 0, 5, theirs, b).login(t.new_id()).ping()
    tls_refused(t, 0, ours, b)
    first.ping()  # who is in stays
    files.write("ca", text_of(cert("ca.crt")) + text_of(cert("other_ca.crt")))
    reload(b)
    for tls in (ours, theirs):
        at(t, 0, 5, tls, b).login(t.new_id()).ping()


@test
def a_reload_puts_out_nobody_whose_rights_stand(t):  # mosq#1402, mosq#2029, mosq#657
    files = Files(acl="topic readwrite #\npattern readwrite #\n")
    files.take("ca", "ca.crt")
    files.hash("passwd", "alice", "first", "-I", "500")
    b = t.other(text=certificates_decide(files) + "[auth]\n"
                f"password_file = {files.path('passwd')}\nacl_file = {files.path('acl')}\n")
    clients = [at(t, 0, v, context(identity="client"), b).login(t.new_id()) for v in ALL]
    clients += [at(t, 1, v, broker=b).login(t.new_id()) for v in ALL]
    clients += [at(t, 1, v, broker=b).login(t.new_id(), username="alice", password="first")
                for v in ALL]
    for i in range(5):
        files.hash("passwd", f"another{i}", "x", "-I", "500")
        reload(b)
        for c in clients:
            c.ping()
    equal([x for x in b.said().split("\n") if 'event="client disconnected"' in x], [])


@test
def pre_shared_keys_are_read_anew(t):
    files = Files(psk="pump:0011223344556677\n")
    b = start(t, files)

    def connects(identity, key):
        run_ = subprocess.run(
            ["mosquitto_pub", "-h", "localhost", "-p", str(b.ports[PSK]), "--psk-identity",
             identity, "--psk", key, "-t", "x", "-m", "x"], capture_output=True, check=False,
            timeout=2 * mqtt.WAIT)
        return run_.returncode == 0

    true(connects("pump", "0011223344556677"), "the key")
    true(not connects("pump", "ff11223344556677"), "another key")
    files.write("psk", "pump:ff11223344556677\nvalve:aabb\n")
    reload(b)
    true(not connects("pump", "0011223344556677"), "the old key")
    true(connects("pump", "ff11223344556677") and connects("valve", "aabb"), "the new keys")


# --------------------------------------------------------------------------------------- users ---

def users(**passwords):
    files = Files()
    for name, password in passwords.items():
        files.hash("passwd", name, password, "-I", "500")
    return files


def disconnected(c):
    """The broker has ended it, and says to MQTT 5 that it is not authorized any more."""
    c.closed(*([0x87] if c.version == 5 else []))


@test(versions=ALL)
def a_changed_password_ends_the_connections_of_its_user(t, v):
    files = users(alice="first", bob="other")
    b = start(t, files)
    alices = [at(t, PLAIN, v, broker=b).login(t.new_id(), username="alice", password="first")
              for _ in range(3)]
    bob = at(t, PLAIN, v, broker=b).login(t.new_id(), username="bob", password="other")
    nobody = at(t, PLAIN, v, broker=b).login(t.new_id())
    reload(b)  # nothing has changed, nobody goes
    for c in alices + [bob, nobody]:
        c.ping()
    files.hash("passwd", "alice", "second", "-I", "500")
    reload(b)
    for c in alices:
        disconnected(c)
    bob.ping(), nobody.ping()
    b.says('event="client disconnected"', "user=alice", 'reason="not authorized"')
    c = at(t, PLAIN, v, broker=b)
    c.send(connect(v, t.new_id(), username="alice", password="first"))  # which was in the cache
    c.refused(0x86 if v == 5 else 4)
    at(t, PLAIN, v, broker=b).login(t.new_id(), username="alice", password="second").ping()


@test(versions=(4, 5))
def a_removed_user_is_gone_and_a_new_one_may_come(t, v):
    files = users(alice="first", bob="other")
    b = start(t, files)
    alice = at(t, PLAIN, v, broker=b).login(t.new_id(), username="alice", password="first")
    bob = at(t, PLAIN, v, broker=b).login(t.new_id(), username="bob", password="other")
    with open(files.path("passwd"), encoding="ascii") as f:
        kept = [x for x in f if not x.startswith("alice:")]
    files.write("passwd", "".join(kept))
    files.hash("passwd", "carol", "new", "-I", "500")
    reload(b)
    disconnected(alice)
    bob.ping()
    c = at(t, PLAIN, v, broker=b)
    c.send(connect(v, t.new_id(), username="alice", password="first"))
    c.refused(0x86 if v == 5 else 4)
    at(t, PLAIN, v, broker=b).login(t.new_id(), username="carol", password="new").ping()


@test
def the_will_of_who_is_put_out_is_sent(t):
    files = users(alice="first")
    b = start(t, files)
    watch = at(t, PLAIN, broker=b).login(t.new_id())
    watch.subscribe("will", 1)
    alice = at(t, PLAIN, broker=b)
    alice.login(t.new_id(), username="alice", password="first",
                will={"topic": "will", "payload": "put out", "qos": 1})
    files.hash("passwd", "alice", "second", "-I", "500")
    reload(b)
    disconnected(alice)
    watch.message(topic="will", payload=b"put out")


# --------------------------------------------------------------------------------------- rules ---

@test(versions=ALL)
def rules_change_at_once_for_connected_clients(t, v):
    files = Files(acl="user alice\ntopic readwrite a/#\nuser bob\ntopic read a/#\n")
    b = start(t, files)
    alice = at(t, PLAIN, v, broker=b).login(t.new_id(), username="alice")
    bob = at(t, PLAIN, v, broker=b).login(t.new_id(), username="bob")
    no = 0x87 if v == 5 else 0
    bob.subscribe("#", 1)
    equal(alice.publish("a/1", b"1", 1), 0)
    bob.message(topic="a/1")
    files.write("acl", "user alice\ntopic readwrite a/#\ntopic write b/#\nuser bob\n"
                       "topic read b/#\n")
    reload(b)
    settle(b, lambda: alice.publish("b/probe", b"", 1) == 0)
    alice.publish("a/2", b"not for bob", 1)
    alice.publish("b/2", b"2", 1)
    while True:
        p = bob.message()
        true(p.topic.startswith("b/"), f"{p.topic} came")
        if p.payload == b"2":
            break
    files.write("acl", "user bob\ntopic read #\n")
    reload(b)
    settle(b, lambda: alice.publish("a/3", b"no more", 1) == no)
    equal(alice.publish("b/3", b"no more", 1), no)
    files.write("acl", "user alice\ntopic write c\nuser bob\ntopic read c\n")
    reload(b)
    settle(b, lambda: alice.publish("c", b"last", 1) == 0)
    bob.message(topic="c")
    alice.ping(), bob.ping()


def settle(broker, condition):
    """Workers take new rules in their next turn, each on its own."""
    time.sleep(0.1)
    true(condition(), "the new rules are not in use")
    true(broker.is_alive(), "the broker is gone")


@test
def what_waits_for_a_client_is_judged_by_the_new_rules(t):  # CVE-2021-34434
    files = Files(acl="user alice\ntopic readwrite #\nuser bob\ntopic read #\n")
    b = start(t, files)
    keep = {"session_expiry": 60}
    bob = at(t, PLAIN, broker=b).login("bob", username="bob", props=keep)
    bob.subscribe([("a/#", 1), ("b/#", 1)])
    bob.logout()
    alice = at(t, PLAIN, broker=b).login(t.new_id(), username="alice")
    for i in range(5):
        alice.publish(f"a/{i}", b"x", 1)
        alice.publish(f"b/{i}", b"x", 1)
    files.write("acl", "user alice\ntopic readwrite #\nuser bob\ntopic read b/#\n")
    reload(b)
    time.sleep(0.1)
    bob = at(t, PLAIN, broker=b).login("bob", username="bob", clean=False, props=keep)
    equal([bob.message().topic for _ in range(5)], [f"b/{i}" for i in range(5)])
    equal(bob.recv(0.2, quiet=True), None)


@test
def retained_messages_of_who_may_write_no_more_stay_away(t):  # CVE-2018-12546
    files = Files(acl="topic read #\nuser alice\ntopic write #\nuser bob\ntopic write #\n")
    b = start(t, files)
    for name in ("alice", "bob"):
        c = at(t, PLAIN, broker=b).login(t.new_id(), username=name)
        c.publish(f"kept/{name}", name, 1, retain=True)
        c.logout()
    files.write("acl", "topic read #\nuser bob\ntopic write #\n")
    reload(b)
    time.sleep(0.1)
    c = at(t, PLAIN, broker=b).login(t.new_id())
    c.subscribe("kept/#", 1)
    c.message(topic="kept/bob", payload=b"bob")
    equal(c.recv(0.2, quiet=True), None)


# ------------------------------------------------------------------------------------ mistakes ---

def everything():
    """Files of all kinds, all good."""
    files = with_certificate("server")
    files.write("acl", "user alice\ntopic readwrite a/#\n")
    files.hash("passwd", "alice", "first", "-I", "500")
    files.write("crl", revocations(files.folder))
    files.write("psk", "pump:0011223344556677\n")
    return files


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


@test
def a_mistake_in_any_file_keeps_everything_as_it_was(t):  # mosq#2038
    files = everything()
    b = start(t, files)
    alice = at(t, PLAIN, broker=b).login(t.new_id(), username="alice", password="first")
    good = {name: text_of(files.path(name)) for name in ("passwd", "acl", "crt", "key", "crl",
                                                         "psk")}
    cases = (("passwd", "alice:$6$\nbob:nothing\n", ("passwd:1: ", "passwd:2: ")),
             ("acl", "user alice\ntopic what a/#\n", ("acl:2: ",)),
             ("crt", "no certificate\n", ("[listener tls]: ", files.path("crt"))),
             ("key", text_of(cert("client.key")), ("[listener tls]: ",)),
             ("crl", "no list\n", ("[listener mutual]: ", files.path("crl"))),
             ("psk", "pump:0g\n", ("psk:1: ",)),
             ("passwd", None, ("passwd: cannot be read",)), ("acl", None, ("acl: cannot be read",)),
             ("crt", None, (files.path("crt"),)), ("key", None, (files.path("key"),)),
             ("crl", None, (files.path("crl"),)), ("psk", None, (files.path("psk"),)))
    # With a change of another file that is good by itself: it must not count either.
    for name, bad, words in cases:
        other = "passwd" if name == "acl" else "acl"
        files.write(other, "" if other == "acl" else good["passwd"].replace("alice", "carol"))
        if bad is None:
            os.unlink(files.path(name))
        else:
            files.write(name, bad)
        said = reload(b, NOTHING_RELOADED)
        for word in words:
            true(any(word in x and "reload failed" in x for x in said.split("\n")),
                 f"no {word!r} in the log:\n{said}")
        equal(alice.publish("a/x", b"x", 1) & 0x80, 0, f"rules after a mistake in {name}")
        at(t, PLAIN, broker=b).login(t.new_id(), username="alice", password="first").logout()
        true(shown(t, b) == der_of("server"), "the certificate")
        for kept in (name, other):
            files.write(kept, good[kept])
    reload(b)
    alice.ping()


@test
def all_mistakes_are_logged_in_one_go(t):
    files = everything()
    b = start(t, files)
    files.write("passwd", "bad:line\n")
    files.write("acl", "nothing\n")
    files.write("psk", "pump\n")
    os.unlink(files.path("crt"))
    said = reload(b, NOTHING_RELOADED)
    for word in ("passwd:1: ", "acl:1: ", "psk:1: ", files.path("crt")):
        true(word in said, f"no {word!r} in the log:\n{said}")
    true("0011223344556677" not in b.said(), "a key in the log")


@test
def many_reloads_under_traffic_lose_nothing(t):
    files = everything()
    b = start(t, files)
    reload(b)  # now every listener is open too
    before = b.files_at_rest()
    alice = at(t, TLS, 5, context(), b).login(t.new_id(), username="alice", password="first")
    alice.subscribe("a/#", 1)
    for i in range(30):
        files.write("acl", f"user alice\ntopic readwrite a/#\ntopic read x/{i}\n")
        change_certificate(files, ("server", "server_rsa")[i % 2])
        if i % 5:
            b.process.send_signal(signal.SIGHUP)
        else:
            reload(b)
        for qos in (1, 2):
            alice.publish("a/x", b"%d" % i, qos)
            alice.message(topic="a/x", payload=b"%d" % i)
    reload(b)
    alice.logout()
    seconds_until("no descriptor is left over", lambda: b.open_files() <= before)


@test
def the_broker_that_has_no_files_reloads_nothing_and_lives(t):
    c = t.connect()
    reload(t.broker)
    c.ping()


run()
