# tests/e2e/test_http_auth.py -- an HTTP server is asked who a client is and what it may do.
#
# The server is ours, on loopback. What it answers stands in the names it is asked about: a user or
# a topic level "deny" is denied, "slow" is answered late, "hang" not before the test ends, and so
# on; everything else is allowed. It keeps every question with the connection it came on.

import http.server
import json
import os
import subprocess
import tempfile
import threading
import time

import mqtt
from broker import equal, run, seconds_until, test, true
from mqtt import PUBACK, publish
from secure import Files, at, cert, context, make_certs, server_keys

BOTH = (4, 5)
TIMEOUT = 1.5


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked = []  # (path, question, port of the connection)
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def about(self, word):
        """The questions with this word in one of their values."""
        with self.lock:
            return [q for _, q, _ in self.asked if word in map(str, q.values())]

    def handle_error(self, request, client_address):
        pass  # a broker that gives up closes its connection


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        question = json.loads(body)
        true(self.headers["Content-Type"] == "application/json", "Content-Type")
        with self.server.lock:
            self.server.asked.append((self.path, question, self.client_address[1]))
        name = question.get("topic") if self.path == "/acl" else question["username"]
        for word in (name or "").split("/"):
            if word in ANSWERS:
                ANSWERS[word](self)
                return
        self.say('{"result": "allow"}')

    def say(self, text, status=200, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for key, value in headers:
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def late(self, seconds):
        time.sleep(seconds)
        self.say('{"result": "allow"}')

    def hang(self):
        self.server.released.wait(60)
        self.close_connection = True


ANSWERS = {
    "deny": lambda h: h.say('{"result": "deny"}'),
    "ignore": lambda h: h.say('{"result": "ignore"}'),
    "nocontent": lambda h: h.say("", 204),
    "more": lambda h: h.say('{"x": [1, {"y": null}], "result": "allow", "is_superuser": false}'),
    "expired": lambda h: h.say('{"result": "allow", "expire_at": 1000000000}'),
    "slow": lambda h: h.late(0.4),
    "hang": Handler.hang,
    "status500": lambda h: h.say('{"result": "allow"}', 500),
    "status403": lambda h: h.say('{"result": "allow"}', 403),
    "redirect": lambda h: h.say("", 307, [("Location", SERVER.url + "/elsewhere")]),
    "garbage": lambda h: h.say("allow"),
    "twice": lambda h: h.say('{"result": "allow", "result": "deny"}'),
    "empty": lambda h: h.say(""),
    "huge": lambda h: h.say('{"result": "allow"}' + " " * 100000),
}
BAD = ("status500", "status403", "redirect", "garbage", "twice", "empty", "huge")

SERVER = Server()


def config(auth, **more):
    keys = {"http_timeout": f"{int(TIMEOUT * 1000)}ms", **auth, **more}
    return ("[broker]\nworkers = 2\nsys_interval = 1s\n[listener mqtt]\nbind = 127.0.0.1:{port}\n"
            "[log]\nlog_level = debug\n[auth]\n" +
            "".join(f"{k} = {v}\n" for k, v in keys.items()))


AUTH = config({"http_auth_url": SERVER.url + "/auth"})
ACL = config({"http_acl_url": SERVER.url + "/acl"}, allow_anonymous="true", http_acl_cache="2s")


PSK = "00112233445566778899aabbccddeeff"
make_certs()
SECURE = AUTH + (
    f"[listener mutual]\nbind = 127.0.0.1:{{port2}}\n{server_keys()}"
    f"cafile = {cert('ca.crt')}\nrequire_certificate = true\n"
    f"[listener psk]\nbind = 127.0.0.1:{{port3}}\n"
    f"psk_file = {Files(psk='pump 1:' + PSK).path('psk')}\n")


def login(c, client_id, **rest):
    return mqtt.connect(c.version, client_id, **rest)


def counter(t, name):
    c = t.connect()
    c.subscribe(f"$SYS/broker/counters/{name}")
    p = c.recv(0.3, quiet=True)
    c.close()
    return int(p.payload) if p else 0


# ------------------------------------------------------------------------------------ connecting --

@test(versions=BOTH, text=AUTH)
def a_client_is_let_in_when_the_server_allows_it(t, v):
    for user in ("alice", "nocontent", "more"):
        t.connect(username=user, password="right").ping()


@test(versions=BOTH, text=AUTH)
def a_client_is_refused_when_the_server_denies_it(t, v):
    for user in ("deny", "expired"):
        c = t.raw()
        c.send(login(c, t.new_id(), username=user, password="p"))
        c.refused(0x87 if v == 5 else 5)


@test(versions=BOTH, text=AUTH)
def a_user_the_server_ignores_is_refused(t, v):
    c = t.raw()
    c.send(login(c, t.new_id(), username="ignore", password="p"))
    c.refused(0x86 if v == 5 else 4)


@test(text=AUTH)
def an_answer_that_is_none_refuses(t):  # EMQX 6.2.2
    for user in BAD:
        c = t.raw()
        c.send(login(c, t.new_id(), username=user, password="p"))
        c.refused(0x87 if user == "status403" else 0x88)
    t.broker.says("HTTP server gave no verdict")
    true(not any(path == "/elsewhere" for path, _, _ in SERVER.asked), "a redirect was followed")
    seconds_until("counted", lambda: counter(t, "denied_http") >= len(BAD))


@test(text=config({"http_auth_url": SERVER.url + "/auth"}, max_auth_failures=4))
def a_server_that_fails_bans_nobody(t):
    for i in range(12):
        c = t.raw(4)
        c.send(login(c, "same-" + t.base, username="status500", password="p"))
        c.refused(3)
    t.connect(client_id="same-" + t.base, username="alice")
    for i in range(2):
        c = t.raw(4)
        c.send(login(c, "same-" + t.base, username="deny", password="p"))
        c.refused(5)
    c = t.raw()
    c.send(login(c, "same-" + t.base, username="alice", password="p"))
    c.refused(0x9F)


@test(text=AUTH)
def the_server_is_told_what_emqx_tells(t):
    t.connect(client_id=t.new_id("é\"\\"), username="carol\x01", password="s\tecret")
    q = SERVER.about("carol\x01")[0]
    equal(q, {"clientid": t.clients[-1].id, "username": "carol\x01", "password": "s\tecret",
              "peerhost": "127.0.0.1", "listener": "mqtt", "cert_common_name": None}, "question")
    t.connect(client_id="nameless-" + t.base)
    q = SERVER.about("nameless-" + t.base)[0]
    equal((q["username"], q["password"]), (None, None), "names that were not given")


@test(text=SECURE)
def the_server_is_told_a_certificates_name_and_no_keys(t):
    at(t, 1, 5, context(identity="client")).login("named-" + t.base)
    equal(SERVER.about("named-" + t.base)[0]["cert_common_name"], "pump 1")
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(t.broker.ports[2]), "-i",
                    "keyed-" + t.base, "--psk-identity", "pump 1", "--psk", PSK, "-t", "x",
                    "-m", "x"], check=True, timeout=10 * mqtt.WAIT)
    equal(SERVER.about("keyed-" + t.base)[0]["cert_common_name"], None)


@test(text=AUTH)
def a_password_json_cannot_say_is_refused(t):
    c = t.raw()
    c.send(login(c, t.new_id(), username="binary", password=b"\xff\xfe"))
    c.refused(0x86)
    equal(SERVER.about("binary"), [], "questions")


@test(text=AUTH)
def what_was_allowed_is_not_asked_again(t):
    for _ in range(3):
        t.connect(client_id="again-" + t.base, username="u", password="p").logout()
    equal(len(SERVER.about("again-" + t.base)), 1, "questions")
    t.connect(client_id="again-" + t.base, username="u", password="other").logout()
    equal(len(SERVER.about("again-" + t.base)), 2, "questions with another password")


@test(text=AUTH)
def the_password_is_never_logged(t):  # EMQX 6.2.2
    for user in ("garbage", "deny"):
        c = t.raw()
        c.send(login(c, t.new_id(), username=user, password="Xyzzy-4711"))
        c.refused(0x87 if user == "deny" else 0x88)
    true("Xyzzy-4711" not in t.broker.said(), "the password stands in the log")


@test(text=AUTH)
def connections_to_the_server_stay_open(t):
    for i in range(40):
        t.connect(client_id=f"alive{i}-{t.base}").close()
    ports = {port for _, q, port in SERVER.asked if q["clientid"].endswith(t.base)}
    true(len(ports) <= 8, f"{len(ports)} connections for 40 questions")


@test(text=AUTH, slow=True)
def a_server_that_hangs_refuses_and_holds_nobody_up(t):  # EMQX 6.2.2
    late = []
    stands = t.connect(username="stands")
    for _ in range(12):  # more than there are threads
        c = t.raw()
        c.send(login(c, t.new_id(), username="hang", password="p"))
        late.append(c)
    began = time.monotonic()
    stands.ping()
    true(time.monotonic() - began < 0.5, "a client waited for another's question")
    for c in late:
        c.refused(0x88)
    true(time.monotonic() - began < TIMEOUT + 2, "refused late")
    t.connect(username="after")


NARROW = AUTH + ("[limits]\nmemory_limit = 16MB\nmax_retained_bytes = 16MB\n"
                 "max_queued_bytes = 16MB\n")


@test(text=NARROW, slow=True, versions=BOTH)
def questions_that_wait_keep_to_the_memory(t, v):
    many = []
    for _ in range(60):  # each holds half a megabyte: a control character is six in JSON
        c = t.raw(v)
        c.send(login(c, t.new_id(), username="hang", password="\x01" * 65000))
        many.append(c)
    reasons = []
    for c in many:
        packet = c.recv()
        reasons.append(packet.reason)
        c.close()
    full, late = (0x97, 0x88) if v == 5 else (3, 3)
    true(all(r in (full, late) for r in reasons), str(reasons))
    if v == 5:
        true(0 < reasons.count(late) < 50, f"{reasons.count(late)} were asked about")
    t.broker.says("client refused", "no memory for another question")
    seconds_until("counted", lambda: counter(t, "auth_over_limit") >= 10)
    t.connect(username="after")


# ------------------------------------------------------------------------------------ publishing --

@test(versions=BOTH, text=ACL)
def a_publish_is_routed_when_it_is_allowed(t, v):
    sub = t.subscriber(t.topic("#"), 2)
    c = t.connect(username="dave")
    for qos in (0, 1, 2):
        equal(c.publish(t.topic("fine"), f"{qos}", qos), 0, "reason")
        sub.message(payload=f"{qos}", qos=qos)
    q = [x for x in SERVER.about(t.topic("fine")) if x["qos"] == 1][0]
    equal(q, {"clientid": c.id, "username": "dave", "peerhost": "127.0.0.1", "action": "publish",
              "topic": t.topic("fine"), "qos": 1, "retain": False}, "question")


@test(versions=BOTH, text=ACL)
def a_publish_is_dropped_when_it_is_denied(t, v):
    sub = t.subscriber(t.topic("#"), 2)
    c = t.connect()
    for word in ("deny", "ignore") + BAD:
        for qos in (0, 1, 2):
            equal(c.publish(t.topic(word), "x", qos), 0x87 if v == 5 and qos else 0, "reason")
    t.nothing(sub, c)


@test(versions=BOTH, text=ACL)
def subscribing_is_asked_for_each_filter(t, v):
    c = t.connect()
    no = 0x87 if v == 5 else 0x80
    filters = [t.topic(w) for w in ("one", "deny/#", "slow", "ignore", "status500", "more/+")]
    equal(c.subscribe([(f, 1) for f in filters]), [1, no, 1, no, no, 1], "SUBACK")
    equal([len(SERVER.about(f)) for f in filters], [1] * 6, "questions")
    true(SERVER.about(filters[0])[0]["action"] == "subscribe", "action")
    equal(c.subscribe(f"$share/g/{t.topic('deny')}"), [no], "a shared one")
    equal(c.subscribe(f"$share/g/{t.topic('two')}"), [0], "a shared one that is allowed")


@test(text=ACL)
def many_filters_are_asked_for_in_one_subscribe(t):
    c = t.connect()
    filters = [(t.topic(f"{'deny' if i % 7 == 0 else 'f'}/{i}"), 0) for i in range(200)]
    equal(c.subscribe(filters), [0x87 if i % 7 == 0 else 0 for i in range(200)], "SUBACK")


@test(versions=BOTH, text=ACL)
def messages_of_a_client_keep_their_order_while_one_waits(t, v):
    sub = t.subscriber(t.topic("#"), 1)
    c = t.connect()
    topics = [t.topic(w) for w in ("a", "slow", "b", "slow/2", "deny", "c")]
    c.send(*[publish(v, topic, str(i), 1, pid=i + 1) for i, topic in enumerate(topics)])
    for i in range(len(topics)):
        c.reply(PUBACK, pid=i + 1)
    got = [sub.message().payload for _ in range(5)]
    equal(got, [b"0", b"1", b"2", b"3", b"5"], "order")


@test(text=ACL)
def verdicts_stand_for_a_while(t):
    c = t.connect()
    for _ in range(20):
        c.publish(t.topic("kept"), "x", 1)
    equal(len(SERVER.about(t.topic("kept"))), 1, "questions")
    c.publish(t.topic("kept"), "x", 1, retain=True)
    equal(len(SERVER.about(t.topic("kept"))), 2, "questions with another flag")
    t.connect().publish(t.topic("kept"), "x", 1)
    equal(len(SERVER.about(t.topic("kept"))), 3, "questions of another client")
    time.sleep(2.1)
    c.publish(t.topic("kept"), "x", 1)
    equal(len(SERVER.about(t.topic("kept"))), 4, "questions after http_acl_cache")


@test(versions=BOTH, text=ACL)
def a_will_is_judged_when_it_is_left(t, v):
    sub = t.subscriber(t.topic("#"), 1, version=5)
    t.connect(will={"topic": t.topic("slow/will"), "payload": "w", "qos": 1}).drop()
    sub.message(topic=t.topic("slow/will"), payload="w")
    c = t.raw()
    c.send(login(c, t.new_id(), will={"topic": t.topic("deny"), "payload": "w"}))
    c.refused(0x87 if v == 5 else 5)
    c = t.raw()
    c.send(login(c, "", will={"topic": t.topic("will"), "payload": "nameless"}))
    equal(c.recv().reason, 0, "CONNACK")
    c.close()
    sub.message(payload="nameless")


@test(text=ACL)
def a_client_that_goes_while_it_is_asked_about_is_forgotten(t):
    before = t.broker.files_at_rest()
    gone = [t.connect() for _ in range(20)]
    for c in gone:
        c.send(publish(5, t.topic("slow"), "x", 1, pid=1))
        c.close()
    again = t.connect(client_id=gone[0].id)
    equal(again.publish(t.topic("slow"), "x", 1), 0x10, "reason: nobody wants it")
    seconds_until("descriptors given back", lambda: t.broker.open_files() <= before + 2)


@test(text=ACL, slow=True)
def a_hanging_server_denies_in_time_and_disturbs_nobody(t):
    busy = t.connect(keepalive=1)
    known = t.subscriber(t.topic("known"), 1)
    known.publish(t.topic("known"), "before", 1)
    known.message()
    waiting = [t.connect() for _ in range(20)]
    began, cpu = time.monotonic(), t.broker.cpu_seconds()
    for c in waiting:
        c.send(publish(5, t.topic("hang"), "x", 1, pid=1))
    busy.send(publish(5, t.topic("hang"), "x", 1, pid=1))
    while time.monotonic() - began < 1:
        at = time.monotonic()
        known.publish(t.topic("known"), "on", 1)
        known.message(payload="on")
        true(time.monotonic() - at < 0.3, "a client waited for another's question")
        time.sleep(0.05)
    true(t.broker.is_sanitized or t.broker.cpu_seconds() - cpu < 0.5, "it spins while it waits")
    for c in waiting + [busy]:
        c.reply(PUBACK, pid=1, reason=0x87)
    true(time.monotonic() - began < TIMEOUT + 2, "denied late")
    seconds_until("counted", lambda: counter(t, "denied_http") >= 21)


# ----------------------------------------------------------------------------------- with the ACL --

@test
def what_the_server_ignores_the_acl_file_decides(t):
    path = os.path.join(tempfile.mkdtemp(), "acl")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"topic write {t.base}/ignore/file\ntopic read {t.base}/#\ntopic $SYS/#\n")
    broker = t.other(text=config({"http_acl_url": SERVER.url + "/acl", "acl_file": path},
                                 allow_anonymous="true"))
    sub = t.subscriber(t.topic("#"), 1, broker=broker)
    c = t.connect(broker=broker)
    equal(c.publish(t.topic("ignore/file"), "1", 1), 0, "the ACL allows it")
    equal(c.publish(t.topic("ignore/no"), "2", 1), 0x87, "the ACL does not")
    equal(c.publish(t.topic("fine"), "3", 1), 0, "the server allows it")
    equal(c.publish(t.topic("deny"), "4", 1), 0x87, "the server denies it")
    equal([sub.message().payload, sub.message().payload], [b"1", b"3"], "messages")


@test
def a_user_of_the_password_file_is_not_asked_about(t):
    path = os.path.join(tempfile.mkdtemp(), "passwd")
    program = os.path.join(os.path.dirname(t.broker.program), "causeway-passwd")
    if not os.path.exists(program):
        return
    subprocess.run([program, "-c", "-b", path, "file", "right"], check=True, capture_output=True)
    broker = t.other(text=config({"http_auth_url": SERVER.url + "/auth", "password_file": path}))
    t.connect(broker=broker, username="file", password="right")
    c = t.raw(broker=broker)
    c.send(login(c, t.new_id(), username="file", password="wrong"))
    c.refused(0x86)
    equal(SERVER.about("file"), [], "questions")
    t.connect(broker=broker, username="elsewhere", password="p")


def file_of(program, *users):
    path = os.path.join(tempfile.mkdtemp(), "passwd")
    for i, user in enumerate(users):
        subprocess.run([program, "-H", "sha512", *(["-c"] if i == 0 else []), "-b", path, user,
                        "right"], check=True, capture_output=True)
    return path


@test
def what_the_server_ignores_the_methods_after_it_decide(t):
    program = os.path.join(os.path.dirname(t.broker.program), "causeway-passwd")
    if not os.path.exists(program):
        return
    path = file_of(program, "ignore", "deny", "first")
    broker = t.other(text=config({"http_auth_url": SERVER.url + "/auth", "password_file": path,
                                  "methods": "http, password"}))
    for _ in range(2):  # the second time it is remembered
        t.connect(broker=broker, username="ignore", password="right")
    t.connect(broker=broker, username="first", password="another")
    for user, password, why in (("ignore", "wrong", 0x86), ("ignore", None, 0x86),
                                ("ignore/unknown", "right", 0x86), ("deny", "right", 0x87),
                                ("garbage", "right", 0x88)):
        c = t.raw(broker=broker)
        c.send(login(c, t.new_id(), username=user, password=password))
        c.refused(why)
    true(SERVER.about("first"), "the server was asked first")


@test
def a_listener_has_methods_of_its_own(t):
    program = os.path.join(os.path.dirname(t.broker.program), "causeway-passwd")
    if not os.path.exists(program):
        return
    text = config({"http_auth_url": SERVER.url + "/auth", "password_file": file_of(program, "own")})
    broker = t.other(text=text.replace("[log]", "auth_methods = password\n[log]"))
    t.connect(broker=broker, username="own", password="right")
    c = t.raw(broker=broker)
    c.send(login(c, t.new_id(), username="stranger", password="p"))
    c.refused(0x86)
    equal(SERVER.about("stranger"), [], "questions")


run(text=AUTH)
