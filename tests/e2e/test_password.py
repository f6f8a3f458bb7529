# tests/e2e/test_password.py -- users and passwords: who gets in, what it costs, what is logged.

import os
import re
import subprocess
import threading
import time

import mqtt
from broker import Failure, equal, free_port, run, test, true
from mqtt import connect
from secure import Files, at, cert, check_config, make_certs, server_keys

make_certs()
# What mosquitto_passwd writes for the password 'password'.
GOLD_7 = ("$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvl"
          "BQTsHkd+uve2/GFOr/KZ8Y/8Hw==")
GOLD_6 = ("$6$AAECAwQFBgcICQoL$b4be9ENqb54sNj+csQTvm3qRtt6r5BJ4pdELhfw3543YRDKXy8YjBxqSsJubpfDS"
          "NaXeWIFnCuo6UMHsY83J5w==")
FILES = Files(passwd=f"# users of mosquitto\ngold7:{GOLD_7}\ngold6:{GOLD_6}\n"
                     f"case7:{GOLD_7[:-14]}{GOLD_7[-14:-4].swapcase()}{GOLD_7[-4:]}\n"
                     f"case6:{GOLD_6[:-14]}{GOLD_6[-14:-4].swapcase()}{GOLD_6[-4:]}\n")
SLOW, SLOWER = "30000", "400000"  # iterations
FILES.hash("passwd", "pbkdf2", "opensesame 7", "-I", "1000")
FILES.hash("passwd", "sha512", "opensesame 6", "-H", "sha512")
FILES.hash("passwd", "argon2id", "opensesame 2", "-H", "argon2id")
FILES.hash("passwd", "bähm ü", "gehéim", "-I", "1000")
FILES.hash("slow", "slow", "opensesame", "-I", SLOW)
FILES.hash("slower", "slower", "opensesame", "-I", SLOWER)
USERS = {"gold7": "password", "gold6": "password", "pbkdf2": "opensesame 7",
         "sha512": "opensesame 6", "argon2id": "opensesame 2", "bähm ü": "gehéim"}
ALL = (3, 4, 5)


def config(file, more=""):
    return f"""
[broker]
workers = {os.environ.get("WORKERS", "2")}
[auth]
password_file = {FILES.path(file)}
{more}
[listener strict]
bind = 127.0.0.1:{{port}}
[listener lax]
bind = 127.0.0.1:{{port2}}
allow_anonymous = true
"""


STRICT, LAX = range(2)
NO_USER, BAD_USER = {3: 5, 4: 5, 5: 0x87}, {3: 4, 4: 4, 5: 0x86}


def refused(t, number, version, reason, username=None, password=None):
    c = at(t, number, version)
    c.send(connect(version, t.new_id(), username=username, password=password))
    c.refused(reason)
    return c


@test(versions=ALL)
def the_right_password_lets_in(t, v):
    for number in (STRICT, LAX):
        for user, password in USERS.items():
            name = t.new_id()
            at(t, number, v).login(name, username=user, password=password).ping()
            if user.isascii():
                t.broker.says('event="client connected"', f"client={name}", f"user={user}")


@test(versions=ALL)
def a_wrong_password_does_not(t, v):
    for number in (STRICT, LAX):
        for user, password in USERS.items():
            wrong = (password + "x", password[:-1], password.upper(), "", password + "\0")
            for guess in wrong[:1] if user == "argon2id" else wrong:  # that one is dear
                refused(t, number, v, BAD_USER[v], user, guess)


@test(versions=ALL)
def a_hash_that_differs_by_the_case_of_a_letter_is_another_hash(t, v):  # EMQX 6.2.2
    for user in ("case7", "case6"):
        refused(t, STRICT, v, BAD_USER[v], user, "password")


@test(versions=ALL)
def an_unknown_user_is_answered_as_a_wrong_password(t, v):  # CVE-2021-46434
    # (Each costs as much as the dearest hash of the file.)
    for number, users in ((STRICT, ("nobody", "", "gold7 ")), (LAX, ("GOLD7",))):
        for user in users:
            refused(t, number, v, BAD_USER[v], user, "password")


@test(versions=ALL)
def a_user_without_a_password_does_not_get_in(t, v):
    for number in (STRICT, LAX):
        refused(t, number, v, BAD_USER[v], "gold7")


@test(versions=ALL)
def no_user_name_gets_in_where_anonymous_clients_may(t, v):
    refused(t, STRICT, v, NO_USER[v])
    at(t, LAX, v).login(t.new_id()).ping()


@test
def a_password_alone_is_no_user_name(t):
    refused(t, STRICT, 5, 0x87, password="password")
    at(t, LAX, 5).login(t.new_id(), password="password").ping()


@test
def packets_behind_the_connect_wait_for_the_answer(t):
    c, topic = at(t, STRICT), t.topic()
    c.send(connect(5, t.new_id(), username="argon2id", password="opensesame 2") +
           mqtt.subscribe(5, 1, [(topic, 1)]) + mqtt.publish(5, topic, b"early", 1, pid=2))
    c.expect(mqtt.CONNACK, reason=0)
    c.reply(mqtt.SUBACK, pid=1)
    c.reply(mqtt.PUBACK, pid=2)
    c.message(payload=b"early")
    c = at(t, STRICT)
    c.send(connect(5, t.new_id(), username="argon2id", password="no") +
           mqtt.publish(5, topic, b"never", 1, pid=2))
    c.refused(0x86)


@test
def a_client_that_goes_before_the_answer_does_no_harm(t):
    for _ in range(5):
        c = at(t, STRICT)
        c.send(connect(5, t.new_id(), username="argon2id", password="gone"))
        c.close()
    at(t, STRICT).login(t.new_id(), username="gold7", password="password").ping()


@test
def a_refusal_is_logged_with_its_address_and_without_the_password(t):  # EMQX 6.2.2
    name = t.new_id()
    c = at(t, STRICT)
    port = c.sock.getsockname()[1]
    c.send(connect(5, name, username="gold7", password="s3cret guess"))
    c.refused(0x86)
    t.broker.says('event="client refused"', f"client={name}", "user=gold7",
                  f"peer=127.0.0.1:{port}", 'reason="bad user name or password"')
    c = at(t, STRICT)
    port = c.sock.getsockname()[1]
    c.send(connect(5, t.new_id()))
    c.refused(0x87)
    t.broker.says('event="client refused"', f"peer=127.0.0.1:{port}", 'reason="not authorized"')
    said = t.broker.said()
    for secret in ("s3cret", "opensesame", "gehéim", "DEO14ViPofBJ"):
        true(secret not in said, f"{secret} in the log")


@test
def a_user_name_cannot_forge_the_log(t):
    refused(t, STRICT, 4, 4, 'x" peer=1.2.3.4 event="client connected', "x")
    t.broker.says("1.2.3.4")
    lines = [x for x in t.broker.said().split("\n") if "1.2.3.4" in x]
    equal(len(lines), 1)
    true(re.search(r'event="client refused".*user="x\\" peer=1\.2\.3\.4', lines[0]), lines[0])


# ---------------------------------------------------------------------------------------- cost ---

def cost(t, number=STRICT, user="slower", password="opensesame", reason=0):
    """Seconds of the broker's CPU that one connect took."""
    before = t.broker.cpu_seconds()
    c = at(t, number)
    if reason:
        c.send(connect(5, t.new_id(), username=user, password=password))
        c.refused(reason)
    else:
        c.login(t.new_id(), username=user, password=password).logout()
    return t.broker.cpu_seconds() - before


@test(text=config("slower"))
def a_password_that_was_right_is_not_computed_again(t):
    first = cost(t)
    true(first > 0.04, f"{SLOWER} iterations took {first:.2f} s")
    again = [cost(t) for _ in range(5)]
    true(sum(again) < first / 2, f"first {first:.2f} s, then {again}")
    wrong = cost(t, password="guess", reason=0x86)
    true(wrong > first / 3, f"a wrong one is computed: {wrong:.2f} s")
    unknown = cost(t, user="nobody", reason=0x86)
    true(unknown > first / 3, f"an unknown user costs as much: {unknown:.2f} s")


@test(text=config("slower", "auth_cache = 0"))
def without_the_cache_each_one_is_computed(t):
    first = cost(t)
    true(cost(t) > first / 3, "the second too")


@test(text=config("slow"))
def slow_checks_disturb_nobody_who_is_connected(t):
    watcher = at(t, LAX).login(t.new_id())
    waiting = []
    for i in range(50):
        c = at(t, STRICT, 5 if i % 2 else 4)
        c.send(connect(c.version, t.new_id(), username="slow", password=f"guess {i}"))
        waiting.append(c)
    times = []
    done = threading.Event()

    def answers():
        for c in waiting:
            try:
                c.refused(0x86 if c.version == 5 else 4)
            except Failure as error:
                wrong.append(str(error))
        done.set()

    wrong = []
    thread = threading.Thread(target=answers)
    began = time.monotonic()
    thread.start()
    while not done.is_set():
        sent = time.monotonic()
        watcher.ping()
        times.append(time.monotonic() - sent)
        time.sleep(0.005)
    thread.join()
    took = time.monotonic() - began
    equal(wrong, [])
    times.sort()
    true(took > 0.2, f"50 checks took only {took:.2f} s")
    true(times[len(times) // 2] < 0.02 and times[-1] < 0.5,
         f"a ping took {times[len(times) // 2]:.3f} s in the middle, {times[-1]:.3f} s at most")


# ------------------------------------------------------------------------------------ at start ---

def start(text):
    """Starts a broker that should refuse to; what it says."""
    files = Files(conf=text)
    run_ = subprocess.run([os.environ["CAUSEWAY"], "-c", files.path("conf")], capture_output=True,
                          check=False, timeout=10 * mqtt.WAIT)
    equal(run_.returncode, 1, "exit status")
    return run_.stderr.decode(), files.path("conf")


@test
def a_listener_for_others_needs_authentication(t):  # mosquitto 2.0
    for address in ("0.0.0.0", "[::]", "192.0.2.1"):
        said, path = start(f"[listener open]\nbind = {address}:{free_port()}\n")
        true(f"{path}:2: [listener open] is open to other machines" in said, said)
    # The allow_anonymous of [auth] is not enough: it must stand at the listener.
    said, path = start(f"[auth]\nallow_anonymous = true\n[listener open]\nport = {free_port()}\n"
                       "address = 0.0.0.0\n")
    true(f"{path}:5: [listener open] is open to other machines" in said, said)
    # A certificate of the broker says nothing of its clients.
    said, _ = start(f"[listener open]\nbind = 0.0.0.0:{free_port()}\n{server_keys()}")
    true("is open to other machines" in said, said)
    for more in ("allow_anonymous = true\n",
                 f"{server_keys()}cafile = {cert('ca.crt')}\nrequire_certificate = true\n"
                 "use_identity_as_username = true\n",
                 f"[auth]\npassword_file = {FILES.path('passwd')}\n"):
        status, said = check_config(f"[listener open]\nbind = 0.0.0.0:{free_port()}\n{more}")
        equal(status, 0, f"exit status; {said}")


@test
def all_mistakes_are_told_at_once_with_their_lines(t):
    files = Files(passwd=f"good:{GOLD_7}\nplain:secret\n# fine\nother:$9$what\n:$6$x$y\n",
                  acl="user me\ntopic reed a/#\ntopic read a/#/b\nwhat is this\n",
                  psk="good:00ff\nbad:0g\n")
    text = f"""[auth]
password_file = {files.path("passwd")}
acl_file = {files.path("acl")}
[listener gone]
bind = 127.0.0.1:{free_port()}
certfile = {files.path("none.crt")}
keyfile = {files.path("none.key")}
[listener mismatch]
bind = 127.0.0.1:{free_port()}
certfile = {cert("server.crt")}
keyfile = {cert("client.key")}
[listener ca]
bind = 127.0.0.1:{free_port()}
{server_keys()}cafile = {files.path("none.ca")}
[listener keys]
bind = 127.0.0.1:{free_port()}
psk_file = {files.path("psk")}
"""
    wanted = [f"{files.path('passwd')}:{line}: " for line in (2, 4, 5)]
    wanted += [f"{files.path('acl')}:{line}: " for line in (2, 3, 4)]
    wanted += ["[listener gone]: ", files.path("none.crt"), "[listener mismatch]: ",
               "[listener ca]: ", files.path("none.ca"), f"{files.path('psk')}:2: "]
    status, said = check_config(text)
    equal(status, 1, "exit status of -t")
    for word in wanted:
        true(word in said, f"no {word!r} in what -t says:\n{said}")
    true("secret" not in said, f"a password is shown:\n{said}")
    said, _ = start(text)
    for word in wanted:
        true(word in said, f"no {word!r} in what the start says:\n{said}")


@test
def missing_files_are_told_all_at_once(t):
    files = Files()
    status, said = check_config(f"[auth]\npassword_file = {files.path('no-users')}\n"
                                f"acl_file = {files.path('no-rules')}\n")
    equal(status, 1)
    true("no-users: cannot be read" in said and "no-rules: cannot be read" in said, said)


@test
def what_t_finds_good_it_says(t):
    status, said = check_config(config("passwd").replace("{port}", str(free_port()))
                                .replace("{port2}", str(free_port())))
    equal((status, [x for x in said.split("\n") if x and "warning" not in x]), (0, []))


@test
def a_certificate_that_expires_or_has_is_warned_of(t):
    status, said = check_config(f"[listener a]\nbind = 127.0.0.1:{free_port()}\n"
                                f"{server_keys('expired')}")
    equal(status, 0)
    true(re.search(r"warning: \[listener a\]: .*expired\.crt expired 1\d+ days ago", said), said)


run(text=config("passwd"))
