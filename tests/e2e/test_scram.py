# tests/e2e/test_scram.py -- enhanced authentication: SCRAM in AUTH packets, by a client of its own on
# Python's hashlib; re-authentication, and users that change while the broker runs.

import base64
import hashlib
import hmac
import os
import time

from broker import equal, run, test, true
from mqtt import AUTH, CONNACK, DISCONNECT, block, connect, disconnect, frame
from secure import Files, at, cert, check_config, context, make_certs, reload, server_keys

METHODS = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


def auth(reason, method=None, data=None):
    props = ({} if method is None else {"auth_method": method}) | (
        {} if data is None else {"auth_data": data})
    return frame(AUTH, 0, bytes([reason]) + block(props))


class Scram:
    """The client's side of one exchange (RFC 5802)."""

    def __init__(self, user, password, method="SCRAM-SHA-256"):
        self.password, self.method, self.hash = password.encode(), method, METHODS[method]
        self.nonce = base64.b64encode(os.urandom(15)).decode()
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.bare = f"n={name},r={self.nonce}"
        self.first = f"n,,{self.bare}".encode()

    def mac(self, key, data):
        return hmac.new(key, data, self.hash).digest()

    def last(self, challenge):
        said = dict(field.split("=", 1) for field in challenge.decode().split(","))
        true(said["r"].startswith(self.nonce) and len(said["r"]) >= len(self.nonce) + 20,
             "the broker's nonce")
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(said["s"]),
                                     int(said["i"]))
        key = self.mac(salted, b"Client Key")
        end = f"c=biws,r={said['r']}"
        whole = f"{self.bare},{challenge.decode()},{end}".encode()
        signature = self.mac(hashlib.new(self.hash, key).digest(), whole)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self.wanted = b"v=" + base64.b64encode(self.mac(self.mac(salted, b"Server Key"), whole))
        return f"{end},p={base64.b64encode(proof).decode()}".encode()


def challenged(t, scram, client_id=None, broker=None, **rest):
    """A client whose CONNECT is answered with a challenge: it and its answer."""
    c = t.raw(broker=broker)
    c.id = client_id or t.new_id()
    c.send(connect(5, c.id, props={"auth_method": scram.method, "auth_data": scram.first}, **rest))
    challenge = c.expect(AUTH, reason=0x18)
    equal(challenge.get("auth_method"), scram.method)
    return c, scram.last(challenge.get("auth_data"))


def logged_in(t, user, password, method="SCRAM-SHA-256", **rest):
    scram = Scram(user, password, method)
    c, last = challenged(t, scram, **rest)
    c.send(auth(0x18, method, last))
    connack = c.expect(CONNACK, reason=0)
    equal(connack.get("auth_method"), method)
    equal(connack.get("auth_data"), scram.wanted, "the broker's proof")
    return c


def refused(t, user, password, broker=None):
    c, last = challenged(t, Scram(user, password), broker=broker)
    c.send(auth(0x18, "SCRAM-SHA-256", last))
    c.expect(CONNACK, reason=0x87)
    c.closed()
    return c


def users():
    files = Files(scram="")
    files.hash("scram", "alice", "secret", "--scram", "both", "-I", "4096")
    files.hash("scram", "bob", "builder", "--scram", "sha512")
    files.hash("scram", "a,b=c", "commas", "--scram", "sha256")
    return files


FILES = users()
CONFIG = ("[broker]\nworkers = 2\n[listener a]\nport = {port}\n[auth]\n"
          f"scram_file = {FILES.path('scram')}\n")


def own(t, files=None, more=""):
    """A broker of its own, whose files may change."""
    files = files or users()
    text = CONFIG.replace(FILES.path("scram"), files.path("scram")) + more
    return files, t.other(text=text)


@test
def lets_users_in_by_both_mechanisms(t):
    for user, password, method in (("alice", "secret", "SCRAM-SHA-256"),
                                   ("alice", "secret", "SCRAM-SHA-512"),
                                   ("bob", "builder", "SCRAM-SHA-512"),
                                   ("a,b=c", "commas", "SCRAM-SHA-256")):
        for _ in range(4):  # at home at either worker
            c = logged_in(t, user, password, method)
            c.subscribe(t.topic())
            c.publish(t.topic(), b"x")
            c.message()
            c.close()


@test
def refuses_wrong_passwords_and_says_so(t):
    c = refused(t, "alice", "guess")
    line = t.broker.says("client refused", f"client={c.id}", "user=alice")
    true("127.0.0.1:" in line, line)


@test
def does_not_tell_who_exists(t):
    shapes = set()
    for user in ("alice", "nobody", "nobody", "somebody"):
        scram = Scram(user, "guess", "SCRAM-SHA-512")
        c = t.raw()
        c.send(connect(5, t.new_id(), props={"auth_method": scram.method,
                                             "auth_data": scram.first}))
        challenge = c.expect(AUTH, reason=0x18).get("auth_data").decode()
        salt = challenge.split(",s=")[1].split(",")[0]
        shapes.add((user, salt))
        equal(len(base64.b64decode(salt)), 16)
        c.send(auth(0x18, scram.method, scram.last(challenge.encode())))
        c.expect(CONNACK, reason=0x87)
    equal(len(shapes), 3, "the same salt for the same name")


@test
def refuses_other_methods_and_clients_without_one(t):
    c = t.raw()
    c.send(connect(5, t.new_id(), props={"auth_method": "PLAIN", "auth_data": b"\0alice\0secret"}))
    c.expect(CONNACK, reason=0x8C)
    for version in (3, 4, 5):
        c = t.raw(version)
        c.send(connect(version, t.new_id()))
        c.expect(CONNACK, reason=0x87 if version == 5 else 5)
    c = t.raw()
    c.send(connect(5, t.new_id(), username="alice", password="secret"))
    true(c.expect(CONNACK).reason in (0x86, 0x87), "a password where there is no password_file")


@test
def takes_auth_and_disconnect_only_before_connack(t):
    c, _ = challenged(t, Scram("alice", "secret"))
    c.send(frame(12, 0, b""))
    c.expect(CONNACK, reason=0x82)
    c.closed()
    c, _ = challenged(t, Scram("alice", "secret"))
    c.send(disconnect(5))
    c.closed()


@test
def takes_packets_that_come_in_pieces_and_at_once(t):
    scram = Scram("alice", "secret")
    c = t.raw()
    c.id = t.new_id()
    for byte in connect(5, c.id, props={"auth_method": scram.method, "auth_data": scram.first}):
        c.send(bytes([byte]))
    last = scram.last(c.expect(AUTH, reason=0x18).get("auth_data"))
    for byte in auth(0x18, scram.method, last)[:-1]:
        c.send(bytes([byte]))
    time.sleep(0.05)
    c.send(auth(0x18, scram.method, last)[-1:] + frame(12, 0, b""))
    c.expect(CONNACK, reason=0)
    c.expect(13)


@test
def renews_what_was_proven(t):
    c = logged_in(t, "alice", "secret")
    c.subscribe(t.topic())
    for _ in range(3):
        scram = Scram("alice", "secret")
        c.send(auth(0x19, scram.method, scram.first))
        last = scram.last(c.expect(AUTH, reason=0x18).get("auth_data"))
        c.publish(t.topic(), b"meanwhile")
        c.message()
        c.send(auth(0x18, scram.method, last))
        equal(c.expect(AUTH, reason=0).get("auth_data"), scram.wanted)
    scram = Scram("alice", "guess")
    c.send(auth(0x19, scram.method, scram.first))
    c.send(auth(0x18, scram.method, scram.last(c.expect(AUTH, reason=0x18).get("auth_data"))))
    c.expect(DISCONNECT, reason=0x87)
    c.closed()


@test
def renewal_with_another_method_is_a_protocol_error(t):
    c = logged_in(t, "alice", "secret")
    scram = Scram("alice", "secret", "SCRAM-SHA-512")
    c.send(auth(0x19, scram.method, scram.first))
    c.expect(DISCONNECT, reason=0x82)
    c.closed()


@test
def acl_judges_the_proven_name(t):
    files = users()
    files.write("acl", "user alice\ntopic readwrite alice/#\nuser root\ntopic readwrite #\n")
    _, broker = own(t, files, f"acl_file = {files.path('acl')}\n")
    scram = Scram("alice", "secret")
    c, last = challenged(t, scram, broker=broker, username="root", password="x")
    c.send(auth(0x18, scram.method, last))
    c.expect(CONNACK, reason=0)
    c.subscribe("#")
    c.publish("alice/x", b"mine", qos=1)
    equal(c.message().topic, "alice/x")
    c.publish("other/x", b"not mine", qos=1)
    c.publish("alice/x", b"mine", qos=1)
    equal(c.message().topic, "alice/x")


@test
def passwords_go_on_beside_it(t):
    files = users()
    files.hash("passwd", "carl", "pass", "-I", "10")
    _, broker = own(t, files, f"password_file = {files.path('passwd')}\n")
    t.connect(broker=broker, username="carl", password="pass")
    c = t.raw(broker=broker)
    c.send(connect(5, t.new_id(), username="alice", password="secret"))
    c.expect(CONNACK, reason=0x86)
    logged_in(t, "alice", "secret", broker=broker)
    refused(t, "carl", "pass", broker=broker)


@test
def reload_disconnects_who_has_changed_and_nobody_else(t):
    files, broker = own(t)
    alice = logged_in(t, "alice", "secret", broker=broker)
    bob = logged_in(t, "bob", "builder", "SCRAM-SHA-512", broker=broker)
    under_way, last = challenged(t, Scram("alice", "secret"), broker=broker)
    files.hash("scram", "carl", "new", "--scram", "sha256")
    reload(broker)
    alice.ping()
    bob.ping()
    logged_in(t, "carl", "new", broker=broker).close()
    files.hash("scram", "alice", "changed", "--scram", "both")
    reload(broker)
    alice.expect(DISCONNECT, reason=0x87)
    bob.ping()
    under_way.send(auth(0x18, "SCRAM-SHA-256", last))  # the password of the old file
    under_way.expect(CONNACK, reason=0x87)
    refused(t, "alice", "secret", broker=broker)
    logged_in(t, "alice", "changed", broker=broker)
    with open(files.path("scram"), encoding="utf-8") as f:
        rest = [x for x in f if not x.startswith("bob:")]
    files.write("scram", "".join(rest))
    reload(broker)
    bob.expect(DISCONNECT, reason=0x87)


@test
def reload_of_a_broken_file_changes_nothing(t):
    files, broker = own(t)
    alice = logged_in(t, "alice", "secret", broker=broker)
    files.write("scram", "alice:SCRAM-SHA-256$1:x$y:z\nnobody\n")
    said = reload(broker, "nothing reloaded")
    true(f"{files.path('scram')}:1: user 'alice': " in said and "scram:2: no colon" in said, said)
    alice.ping()
    logged_in(t, "alice", "secret", broker=broker)


@test
def check_of_the_configuration_names_every_mistake(t):
    files = Files(scram="# fine\nalice:SCRAM-SHA-1$1:x$y:z\n:x\n")
    status, said = check_config("[listener a]\nport = 1883\n[auth]\n"
                                f"scram_file = {files.path('scram')}\n")
    equal(status, 1)
    true("scram:2: " in said and "scram:3: " in said, said)


@test
def guessers_are_banned(t):
    _, broker = own(t, None, "max_auth_failures = 4\nauth_ban_time = 60s\n"
                    "auth_ban_exempt = 192.0.2.1\n")
    alice = logged_in(t, "alice", "secret", broker=broker)
    for _ in range(4):
        refused(t, "alice", "guess", broker=broker)
    broker.says("address banned", "127.0.0.1")
    c = t.raw(broker=broker)
    c.send(connect(5, t.new_id()))
    c.closed()
    alice.ping()


@test
def names_of_certificates_leave_no_room_for_methods(t):
    make_certs()
    _, broker = own(t, None, f"[listener b]\nport = {{port2}}\n{server_keys()}"
                    f"cafile = {cert('ca.crt')}\nrequire_certificate = true\n"
                    "use_identity_as_username = true\n")
    scram = Scram("alice", "secret")
    c = at(t, 1, tls=context(identity="client"), broker=broker)
    c.send(connect(5, t.new_id(), props={"auth_method": scram.method, "auth_data": scram.first}))
    c.expect(CONNACK, reason=0x8C)


@test(slow=True)
def exchange_must_end_in_time(t):
    _, broker = own(t, None, "[limits]\nconnect_timeout = 1\n")
    start = time.monotonic()
    c, _ = challenged(t, Scram("alice", "secret"), broker=broker)
    stays = logged_in(t, "alice", "secret", broker=broker)
    c.closed()
    true(0.9 < time.monotonic() - start < 4, "the time of the end")
    stays.ping()
    scram = Scram("alice", "secret")
    stays.send(auth(0x19, scram.method, scram.first))
    stays.expect(AUTH, reason=0x18)
    stays.expect(DISCONNECT, reason=0x87)
    stays.closed()


run(text=CONFIG)
