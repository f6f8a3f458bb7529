# tests/e2e/test_jwt.py -- tokens as passwords: signed by hand and by the openssl command.

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import tempfile
import time

from broker import run, seconds_until, test, true
from mqtt import Failure, connect

DIR = tempfile.mkdtemp(prefix="jwt-")
SECRET = b"a secret of more than 32 bytes, as HS256 wants it"


def path(name):
    return os.path.join(DIR, name)


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, check=True, capture_output=True).stdout


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write(name, text):
    with open(path(name), "w", encoding="utf-8") as f:
        f.write(text)


# ---- signers: what is signed -> signature ----

def by_secret(text, secret=SECRET):
    return hmac.new(secret, text, hashlib.sha256).digest()


def by_rsa(text):
    return openssl("dgst", "-sha256", "-sign", path("rsa.key"), data=text)


def by_p256(text):
    der = openssl("dgst", "-sha256", "-sign", path("p256.key"), data=text)
    numbers = []
    at = 2
    for _ in range(2):  # two INTEGERs
        n = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + n], "big").to_bytes(32, "big"))
        at += 2 + n
    return b"".join(numbers)


def by_ed25519(text):
    write_bytes = path("text")
    with open(write_bytes, "wb") as f:
        f.write(text)
    return openssl("pkeyutl", "-sign", "-rawin", "-inkey", path("ed25519.key"), "-in", write_bytes)


SIGNERS = {"HS256": by_secret, "RS256": by_rsa, "ES256": by_p256, "EdDSA": by_ed25519}


def token(alg="HS256", sign=None, header=None, **claims):
    claims = {"sub": "joe", "exp": int(time.time()) + 600, **claims}
    claims = {k: v for k, v in claims.items() if v is not None}
    head = {"alg": alg, "typ": "JWT", **(header or {})}
    text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
    return text + "." + b64((sign or SIGNERS[alg])(text.encode()))


# ---- keys ----

def make_keys():
    for name, words in (("rsa", ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")),
                        ("p256", ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")),
                        ("ed25519", ("ed25519",))):
        openssl("genpkey", "-algorithm", *words, "-out", path(name + ".key"))
        openssl("pkey", "-in", path(name + ".key"), "-pubout", "-out", path(name + ".pem"))
    openssl("req", "-x509", "-key", path("p256.key"), "-subj", "/CN=signer", "-out",
            path("p256.crt"))
    pem = "".join(open(path(f), encoding="ascii").read() for f in ("rsa.pem", "p256.crt",
                                                                   "ed25519.pem"))
    write("all.pem", pem)
    write("secret", SECRET.decode() + "\n")
    modulus = openssl("rsa", "-pubin", "-in", path("rsa.pem"), "-modulus", "-noout")
    point = openssl("pkey", "-pubin", "-in", path("p256.pem"), "-outform", "DER")[-64:]
    write("jwks.json", json.dumps({"keys": [
        {"kty": "oct", "kid": "s", "k": b64(SECRET)},
        {"kty": "RSA", "kid": "r", "use": "sig", "e": "AQAB",
         "n": b64(bytes.fromhex(modulus.decode().strip().split("=")[1]))},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:])},
        {"kty": "EC", "kid": "large", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(openssl(
            "pkey", "-pubin", "-in", path("ed25519.pem"), "-outform", "DER")[-32:])}]}))
    write("acl", "pattern readwrite u/%u/#\n")
    passwd = os.path.join(os.environ["BUILD"], "causeway-passwd")
    subprocess.run([passwd, "-H", "sha512", "-c", "-b", path("passwd"), "anna", "right"],
                   check=True, capture_output=True)


make_keys()


def auth(**keys):
    return (f"[broker]\nworkers = 2\n[listener a]\nbind = 127.0.0.1:{{port}}\n[auth]\n"
            f"acl_file = {path('acl')}\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()))


OF_PEM = auth(jwt_key_file=path("all.pem"))
OF_SET = auth(jwt_jwks_file=path("jwks.json"), jwt_leeway=0)
OF_SECRET = auth(jwt_key_file=path("secret"), jwt_algorithms="HS256", jwt_audience="me",
                 jwt_issuer="them")
OF_BOTH = auth(jwt_key_file=path("secret"), jwt_algorithms="HS256", password_file=path("passwd"))
BOTH_REVERSED = OF_BOTH + "methods = jwt, password\n"
BOTH_WITHOUT_NAMES = OF_BOTH + "allow_anonymous = true\n"
# A server that does not answer: whoever it is asked about is refused with another reason.
OF_ALL = OF_BOTH + "http_auth_url = http://127.0.0.1:1/\n"


def enters(t, user, version=5, **fields):
    """Is let in, as `user`: the ACL gives it its own branch and nothing else."""
    c = t.raw(version)
    c.login(t.new_id(), **fields)
    c.subscribe(f"u/+/{c.id}/#", 1)
    c.publish(f"u/{user}/{c.id}/own", b"x", 1)
    c.message(topic=f"u/{user}/{c.id}/own")
    c.publish(f"u/nobody/{c.id}", b"x", 1)
    c.publish(f"u/{user}/{c.id}/end", b"x", 1)
    c.message(topic=f"u/{user}/{c.id}/end")
    return c


def stays_out(t, version=5, **fields):
    c = t.raw(version)
    c.send(connect(version, t.new_id(), **fields))
    c.refused(*((0x86,) if version == 5 else (4,)))


@test(text=OF_PEM)
def keys_and_certificates_in_pem_let_in(t):
    for alg in ("RS256", "ES256", "EdDSA"):
        enters(t, "joe", username="whoever", password=token(alg))
    stays_out(t, username="joe", password=token("HS256"))


@test(text=OF_SET)
def key_set_lets_in_with_and_without_a_kid(t):
    for alg, kid in (("HS256", "s"), ("RS256", "r"), ("ES256", "e"), ("EdDSA", "d")):
        enters(t, "joe", username="joe", password=token(alg))
        enters(t, "joe", username="joe", password=token(alg, header={"kid": kid}))
        stays_out(t, username="joe", password=token(alg, header={"kid": "other"}))


@test(text=OF_SET, versions=(3, 4, 5))
def token_is_taken_by_all_versions(t, v):
    enters(t, "joe", v, username="joe", password=token())
    stays_out(t, v, username="joe", password=token(sub=None))


@test(text=OF_SET)
def user_name_is_the_tokens(t):
    enters(t, "joe", username="anna", password=token())
    enters(t, "ann", username="joe", password=token(username="ann"))
    enters(t, "joe", password=token())  # MQTT 5 has passwords without user names
    stays_out(t, username="joe")
    stays_out(t, username="joe", password="no token")
    stays_out(t, password="no token")


@test(text=OF_PEM)
def token_is_never_logged(t):  # NATS cd751fbc9
    good, bad = token("ES256"), token("HS256")
    enters(t, "joe", username="joe", password=good).logout()
    stays_out(t, username="joe", password=bad)
    t.broker.says('event="client refused"')
    said = t.broker.said()
    for part in (good + "." + bad).split("."):
        true(part not in said, f"{part} in the log")


@test(text=OF_PEM)
def public_key_is_no_secret(t):  # EMQX 6.2.2
    for name in ("all.pem", "rsa.pem"):
        with open(path(name), "rb") as f:
            pem = f.read()
        for secret in (pem, pem.rstrip(b"\n")):
            stays_out(t, username="joe",
                      password=token("HS256", sign=lambda text, s=secret: by_secret(text, s)))
    t.broker.says("client refused", "no key fits")


@test(text=OF_SECRET)
def what_a_token_says_is_judged(t):
    good = {"aud": ["you", "me"], "iss": "them"}
    now = int(time.time())
    enters(t, "joe", username="joe", password=token(**good))
    for wrong in ({"aud": "you"}, {"aud": None}, {"iss": "us"}, {"iss": None}, {"exp": now - 1},
                  {"nbf": now + 60}, {"iat": now + 60}, {"sub": ""}, {"sub": None}, {"exp": "9"}):
        stays_out(t, username="joe", password=token(**{**good, **wrong}))
    for alg in ("none", "None", "HS512"):
        stays_out(t, username="joe", password=token(alg, sign=by_secret, **good))
        stays_out(t, username="joe", password=token(alg, sign=lambda text: b"", **good))
    stays_out(t, username="joe",
              password=token(header={"crit": ["exp"]}, **good))
    stays_out(t, username="joe", password=token(**good) + "A")
    stays_out(t, username="joe", password=token(note="x" * 16384, **good))
    t.broker.says("client refused", "the token")


@test(text=OF_BOTH)
def password_of_a_known_user_decides_alone(t):
    enters(t, "anna", username="anna", password="right")
    enters(t, "joe", username="joe", password=token())
    stays_out(t, username="anna", password=token(sub="anna"))
    stays_out(t, username="anna", password="wrong")
    stays_out(t, username="joe", password="right")
    stays_out(t, username="joe", password=token(exp=1))
    stays_out(t, username="joe")


@test(text=BOTH_REVERSED)
def tokens_may_be_asked_first(t):
    enters(t, "anna", username="anna", password="right")
    enters(t, "anna", username="anna", password=token(sub="anna"))
    enters(t, "joe", username="anna", password=token())
    stays_out(t, username="anna", password=token(exp=1))


@test(text=BOTH_WITHOUT_NAMES)
def user_name_is_never_believed_where_there_are_methods(t):
    t.raw().login(t.new_id())
    stays_out(t, username="joe")
    stays_out(t, username="anna")


# ---- rules that a token brings ----

WITHOUT_FILE = OF_SET.replace(f"acl_file = {path('acl')}\n", "")


def allow(action, topic, **more):
    return {"permission": "allow", "action": action, "topic": topic, **more}


def deny(action, topic, **more):
    return {"permission": "deny", "action": action, "topic": topic, **more}


def bringing(t, acl, version=5, **fields):
    c = t.raw(version)
    c.login(t.new_id(), username="joe", password=token(acl=acl), **fields)
    return c


def may_publish(c, topic, **fields):
    return c.publish(topic, b"x", 1, **fields) < 0x80


def may_subscribe(c, topic, qos=1):
    return c.subscribe(topic, qos)[0] < 0x80


@test(text=WITHOUT_FILE)
def object_of_rules_is_all_that_is_allowed(t):
    c = bringing(t, {"pub": ["p/${clientid}/${username}", "eq p/%c"], "sub": ["s/#"],
                     "all": ["a/%u/%c"]})
    for topic, expected in ((f"p/{c.id}/joe", True), ("p/%c", True), ("p/x/joe", False),
                            (f"a/joe/{c.id}", True), ("s/1", False), ("other", False)):
        true(may_publish(c, topic) == expected, topic)
    for topic, expected in (("s/+", True), ("s/#", True), ("#", False), (f"a/joe/{c.id}", True),
                            ("$share/g/s/1", True), ("$share/g/#", False), ("$SYS/#", False)):
        true(may_subscribe(c, topic) == expected, topic)


@test(text=WITHOUT_FILE)
def array_of_rules_hands_on_what_none_fits(t):
    rules = [deny("publish", "t/no"), allow("all", "t/#"), deny("all", "u/#", qos=[0, 1]),
             deny("publish", "r", retain=True), deny("subscribe", "eq #")]
    c = bringing(t, rules)
    for topic, expected in (("t/no", False), ("t/x", True), ("u/x", False), ("r", True),
                            ("other", True)):
        true(may_publish(c, topic) == expected, topic)
    true(not may_publish(c, "r", retain=True), "retained")
    true(may_subscribe(c, "u/x", 2) and not may_subscribe(c, "u/x", 1), "QoS")
    true(may_subscribe(c, "a/#") and not may_subscribe(c, "#"), "eq")


@test(text=OF_SET)
def rules_of_a_token_are_asked_before_the_file(t):
    c = bringing(t, [allow("all", "free/#"), deny("all", "u/joe/no")])
    for topic, expected in (("free/x", True), ("u/joe/x", True), ("u/joe/no", False),
                            ("u/anna/x", False)):
        true(may_publish(c, topic) == expected, topic)
    c.subscribe("#", 1)
    c.publish("u/joe/yes", b"1", 1)
    c.message(topic="u/joe/yes")
    c.publish("free/y", b"2", 1)
    c.message(topic="free/y")


@test(text=WITHOUT_FILE)
def what_is_denied_stays_away_from_wider_subscriptions(t):
    c = bringing(t, [deny("subscribe", "a/secret"), allow("subscribe", "a/#")])
    c.subscribe("a/#", 1)
    other = t.raw()
    other.login(t.new_id(), username="joe", password=token())
    other.publish("a/secret", b"1", 1, retain=True)
    other.publish("a/open", b"2", 1)
    c.message(topic="a/open")
    c.subscribe("a/+", 1)  # nor is the retained one sent
    other.publish("a/end", b"3", 1)
    c.message(topic="a/end")


@test(text=WITHOUT_FILE)
def rules_of_the_next_token_count_for_what_waits(t):
    name = t.new_id()
    c = t.raw()
    c.login(name, username="joe", password=token(acl={"sub": ["a/#", "b/#"]}),
            props={"session_expiry": 60})
    c.subscribe("a/#", 1)
    c.subscribe("b/#", 1)
    c.drop()
    other = t.raw()
    other.login(t.new_id(), username="joe", password=token())
    for topic in ("a/1", "b/1", "a/2"):
        other.publish(topic, b"x", 1)
    c = t.raw()
    c.login(name, clean=False, username="joe", password=token(acl={"sub": ["b/#"]}),
            props={"session_expiry": 60})
    c.message(topic="b/1")
    other.publish("a/3", b"x", 1)
    other.publish("b/2", b"x", 1)
    c.message(topic="b/2")


@test(text=WITHOUT_FILE)
def rules_that_are_not_understood_refuse_the_login(t):
    for acl in ("a/#", 7, {"pub": "a"}, [{}], [{**allow("all", "a"), "ipaddr": "::1"}],
                [allow("all", "a/${peerhost}")], {"pub": ["a"] * 129}):
        stays_out(t, username="joe", password=token(acl=acl))
    stays_out(t, username="joe", password=token_with_null())
    t.broker.says("client refused", "a rule of the token has a member that is not known here")
    c = t.raw()
    c.send(connect(5, "a/+", username="joe", password=token(acl={"pub": ["x/%c"]})))
    c.refused(0x87)
    t.broker.says("client refused", "a name that holds + or #")


def token_with_null():
    text = b64(b'{"alg":"HS256"}') + "." + b64(b'{"sub":"joe","acl":null}')
    return text + "." + b64(by_secret(text.encode()))


@test(text=WITHOUT_FILE)
def will_is_left_by_the_rules(t):
    rules = {"pub": ["w/yes"]}
    c = t.raw()
    c.send(connect(5, t.new_id(), username="joe", password=token(acl=rules),
                   will={"topic": "w/no", "payload": b"x"}))
    c.refused(0x87)


@test(text=WITHOUT_FILE + "jwt_disconnect_after_expire = false\n", slow=True)
def rules_end_with_their_token(t):
    c = t.raw()
    c.login(t.new_id(), username="joe", password=token(acl={"all": ["#"]}, exp=time.time() + 1.2))
    true(may_publish(c, "b") and may_subscribe(c, "a"), "while it holds")
    time.sleep(2)
    true(not may_publish(c, "b") and not may_subscribe(c, "b"), "when it has ended")


@test(text=OF_SET, slow=True, versions=(4, 5))
def client_is_disconnected_when_its_token_expires(t, v):
    began = time.time()
    c = enters(t, "joe", v, username="joe", password=token(exp=began + 2.2))
    c.closed(0x87)
    true(2.1 < time.time() - began < 4.5, f"after {time.time() - began:.2f} s")


@test(text=auth(jwt_jwks_file=path("jwks.json"), jwt_disconnect_after_expire="false"), slow=True)
def client_may_stay_when_its_token_expires(t):
    c = enters(t, "joe", username="joe", password=token(exp=time.time() + 1.2))
    time.sleep(2.5)
    c.ping()


@test(text=auth(jwt_jwks_file=path("changing.json")))
def keys_are_read_anew_on_sighup(t):
    other = b"another secret of 32 bytes or more"
    stays_out(t, username="joe", password=token(sign=lambda text: by_secret(text, other)))
    c = enters(t, "joe", username="joe", password=token())
    write("changing.json", "{ broken")
    os.kill(t.broker.pid, signal.SIGHUP)
    t.broker.says("nothing reloaded")
    t.broker.says("changing.json: line 1 is no JSON")
    enters(t, "joe", username="joe", password=token())
    write("changing.json", json.dumps({"keys": [{"kty": "oct", "k": b64(other)}]}))
    os.kill(t.broker.pid, signal.SIGHUP)
    t.broker.says(" reloaded")
    seconds_until("the new key counts", lambda: let_in(t, other))
    stays_out(t, username="joe", password=token())
    c.ping()  # who is in stays


def let_in(t, secret):
    c = t.raw()
    try:
        c.login(t.new_id(), username="joe",
                password=token(sign=lambda text: by_secret(text, secret)))
        return True
    except Failure:
        return False


@test(text=OF_SET)
def configuration_check_names_what_is_wrong_in_key_files(t):
    write("bad.json", '{"keys": [{"kty": "RSA", "n": "AA", "e": "AQAB"}, {"kty": "oct"}]}')
    config = path("bad.ini")
    write("bad.ini", f"[auth]\njwt_key_file = {path('rsa.key')}\n"
                     f"jwt_jwks_file = {path('bad.json')}\n")
    ran = subprocess.run([os.environ["CAUSEWAY"], "-t", "-c", config], capture_output=True,
                         text=True, check=False)
    true(ran.returncode != 0, "it passed")
    for words in ("rsa.key: it holds a private key", "bad.json: key 1: an RSA key must have 2048",
                  'bad.json: key 2: its "k" is missing'):
        true(words in ran.stderr, f"{words!r} is not in {ran.stderr!r}")


@test(text=OF_ALL)
def token_that_does_not_hold_is_not_handed_to_a_server(t):
    enters(t, "joe", username="joe", password=token())
    enters(t, "anna", username="anna", password="right")
    stays_out(t, username="joe", password=token(sub=None))
    stays_out(t, username="anna", password="wrong")
    stays_out(t, username="anna", password=token())  # the file knows her
    for fields in ({"username": "joe", "password": "no token"}, {"password": "a.b.c"}, {}):
        c = t.raw()
        c.send(connect(5, t.new_id(), **fields))
        c.refused(0x88)


@test(text=OF_ALL + "methods = http, jwt\n")
def server_in_front_of_tokens_is_asked_about_them(t):
    c = t.raw()
    c.send(connect(5, t.new_id(), username="joe", password=token()))
    c.refused(0x88)


write("changing.json", json.dumps({"keys": [{"kty": "oct", "k": b64(SECRET)}]}))
run(text=OF_SET)
