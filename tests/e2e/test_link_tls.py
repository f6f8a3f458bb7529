# tests/e2e/test_link_tls.py -- links over TLS: who is let in, who is not, what both sides say of it,
# and how a link heals when its certificate has been replaced.

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time

import mqtt
from broker import FOREIGN_PORT, Broker, Failure, equal, free_port, main, seconds_until, true
from mqtt import Client

LIMIT = 2 * mqtt.WAIT
numbers = itertools.count(1)
HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = tempfile.mkdtemp(prefix="certs-")  # below TMPDIR

# Two brokers that take links on a TLS listener. The words in braces are what a test adds.
BROKER = """
[broker]
workers = 2
[cluster]
name = cluster-{me}
[log]
log_level = notice
[listener mqtt]
bind = 127.0.0.1:{port}
allow_anonymous = true
links = no
[listener clink]
bind = 127.0.0.1:{link_port}
certfile = {folder}/{me}-server.crt
keyfile = {folder}/{me}-server.key
{clink}
[link cluster-{other}]
server = mqtts://{host}:{other_port}
cafile = {folder}/ca.crt
topics = {topics}
retry_interval = 500ms
{link}
{more}
"""
MUTUAL = "cafile = {folder}/ca.crt\nrequire_certificate = true\nuse_identity_as_username = true\n" \
         "crlfile = {folder}/ca.crl\nlinks = no\n"


def make_certificates():
    """The test certificates, and one for each side's links."""
    subprocess.run(["bash", os.path.join(HERE, "..", "support", "certs.sh"), FOLDER], check=True)
    for side, name in (("us", "client"), ("eu", "client_ed25519")):
        for end in ("crt", "key"):
            shutil.copy(f"{FOLDER}/server.{end}", f"{FOLDER}/{side}-server.{end}")
            shutil.copy(f"{FOLDER}/{name}.{end}", f"{FOLDER}/{side}.{end}")


def use(side, name):
    """From the next reading on, the link of that side shows this certificate."""
    for end in ("crt", "key"):
        shutil.copy(f"{FOLDER}/{name}.{end}", f"{FOLDER}/{side}.{end}")


IDENTITY = {"us": "pump 1", "eu": "pump ed25519"}  # the common names
OURS = "certfile = {folder}/{me}.crt\nkeyfile = {folder}/{me}.key\ncrlfile = {folder}/ca.crl\n"


class Pair:
    """Two brokers; `keys` are what each side has more, in {me} and {other}: clink, link, more."""

    def __init__(self, us=None, eu=None, host="localhost", us_wants="#", eu_wants="#",
                 linked=True):
        ports = {side: (free_port(), free_port()) for side in ("us", "eu")}
        self.clients = []
        self.brokers = {}
        for me, other, keys, wants in (("us", "eu", us, us_wants), ("eu", "us", eu, eu_wants)):
            words = {"me": me, "other": other, "folder": FOLDER, "host": host, "topics": wants,
                     "port": ports[me][0], "link_port": ports[me][1],
                     "other_port": ports[other][1], "identity": IDENTITY[other]}
            keys = keys or {}
            for key in ("clink", "link", "more"):
                words[key] = keys.get(key, "").format(**words)
            self.brokers[me] = Broker(text=BROKER.format(**words), ports=list(ports[me]))
        self.us, self.eu = self.brokers["us"], self.brokers["eu"]
        if linked:
            self.us.says("link up", "cluster-eu")
            self.eu.says("link up", "cluster-us")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for c in self.clients:
            c.close()
        wrong = []
        for broker in self.brokers.values():
            try:
                broker.stop()
            except Failure as failure:
                wrong.append(str(failure))
        if error:
            for side, broker in self.brokers.items():
                print(f"--- {side}\n" + broker.said()[-3000:])
        true(not wrong or error, "\n".join(wrong))

    def connect(self, broker):
        c = Client(broker.address, 5)
        self.clients.append(c)
        return c.login(f"tls{next(numbers)}")

    def subscribe(self, broker, topic, qos=1):
        c = self.connect(broker)
        true(c.subscribe(topic, qos)[0] < 3, "SUBACK")
        return c


def crosses(pair, here, there, topic, count=20):
    """Messages of QoS 0 and 1 go from here to there, each once and in order."""
    sub, pub = pair.subscribe(there, f"{topic}/#"), pair.connect(here)
    numbered = []

    def is_there():
        pub.publish(f"{topic}/probe", b"probe", 1)
        p = sub.recv(0.1, quiet=True)
        return p is not None and p.kind == mqtt.PUBLISH and not sub.acknowledge(p)

    seconds_until(f"{topic} crosses the link", is_there, LIMIT)
    for qos in (0, 1):
        for i in range(count):
            pub.publish(f"{topic}/{qos}", f"{i}".encode(), qos)
    while len(numbered) < 2 * count:
        p = sub.message()
        if p.topic != f"{topic}/probe":
            numbered.append((p.topic, p.payload))
    for qos in (0, 1):
        equal([n for t, n in numbered if t == f"{topic}/{qos}"],
              [f"{i}".encode() for i in range(count)], f"QoS {qos}")


def crosses_not(pair, here, there, topic):
    sub, pub = pair.subscribe(there, f"{topic}/#"), pair.connect(here)
    pub.publish(f"{topic}/x", b"must not cross", 1)
    true(sub.recv(0.4, quiet=True) is None, "it crossed")


def both_ways(pair, topic="t"):
    crosses(pair, pair.us, pair.eu, topic)
    crosses(pair, pair.eu, pair.us, topic + "/back")


def reload(broker):
    """SIGHUP, and it has been done."""
    before = broker.said().count("reloaded")
    broker.process.send_signal(signal.SIGHUP)
    seconds_until("the files are read anew",
                  lambda: broker.said().count("reloaded") > before, LIMIT)


MUTUAL_SIDE = {"clink": MUTUAL, "link": OURS + "peer_identity = {identity}\n"}


def mutual(**more):
    """Both sides prove who they are by certificate, on listeners that say links = no."""
    return Pair(us=MUTUAL_SIDE, eu=MUTUAL_SIDE, **more)


def refused(ours, theirs, us_says, eu_says):
    """The link of `us` shows a certificate, or finds a server, that is refused: both sides say it,
    and go on trying."""
    with mutual(linked=False) as pair:
        line = pair.us.says("link not connected", us_says)
        true("tried again" in line, line)
        pair.eu.says(eu_says)
        before = pair.eu.said().count(eu_says)
        seconds_until("it is tried again", lambda: pair.eu.said().count(eu_says) > before, LIMIT)
        true(pair.us.said().count("link not connected") <= 4, "the same is said once")
        crosses_not(pair, pair.us, pair.eu, "refused")
        use("us", ours)
        use("eu-server", theirs)
        reload(pair.us)
        reload(pair.eu)
        both_ways(pair, "healed")


# ---- tests ----

def messages_cross_over_mutual_tls():
    with mutual() as pair:
        both_ways(pair)
        for b in pair.brokers.values():
            said = b.said()
            true("link refused" not in said and "packet refused" not in said, said)


def messages_cross_over_tls_with_user_and_password():
    users = os.path.join(FOLDER, "users")
    program = os.path.join(os.path.dirname(os.environ["CAUSEWAY"]), "causeway-passwd")
    for user in ("us", "eu"):
        subprocess.run([program, "-b"] + ([] if os.path.exists(users) else ["-c"]) +
                       [users, user, f"secret of {user}"], check=True, stdout=subprocess.DEVNULL)
    side = {"clink": "allow_anonymous = false\n",
            "link": "username = {me}\npassword = secret of {me}\npeer_identity = {other}\n",
            "more": "[auth]\npassword_file = " + users + "\n"}
    with Pair(us=side, eu=side) as pair:
        both_ways(pair)
    wrong = dict(side, link="username = {me}\npassword = wrong\npeer_identity = {other}\n")
    with Pair(us=wrong, eu=side, linked=False) as pair:
        pair.us.says("link not connected", "0x8", "see username")
        crosses_not(pair, pair.us, pair.eu, "wrong")
    users_swapped = dict(side, link="username = {other}\npassword = secret of {other}\n"
                                    "peer_identity = {other}\n")
    with Pair(us=users_swapped, eu=side, linked=False) as pair:
        pair.us.says("link refused", "not_authorized", "peer_identity")
        pair.eu.says("link refused", "cluster-us", "not_authorized", "user eu")


def a_certificate_of_an_unknown_ca_is_refused():
    use("us", "other_client")
    refused("client", "server", "unknown CA", "unknown CA")


def an_expired_certificate_is_refused():
    use("us", "expired_client")
    refused("client", "server", "certificate expired", "certificate expired")


def a_revoked_certificate_is_refused():
    use("us", "revoked")
    refused("client", "server", "peer refused", "certificate revoked")


def a_server_of_an_unknown_ca_is_refused():
    use("eu-server", "other_server")
    refused("client", "server", "unknown CA", "unknown CA")


def a_server_with_another_name_is_refused():
    use("eu-server", "wrong_host")
    refused("client", "server", "host name mismatch", "peer refused")


def an_expired_server_is_refused():
    use("eu-server", "expired")
    refused("client", "server", "certificate expired", "certificate expired")


def a_revoked_server_is_refused():
    use("eu-server", "revoked_server")
    refused("client", "server", "certificate revoked", "peer refused")


def server_name_stands_for_the_host():
    side = dict(MUTUAL_SIDE, link=MUTUAL_SIDE["link"] + "server_name = pumps.example.com\n")
    with Pair(us=side, eu=side, host="127.0.0.1") as pair:
        crosses(pair, pair.us, pair.eu, "name")
    with mutual(host="127.0.0.1") as pair:
        crosses(pair, pair.us, pair.eu, "address")


def another_identity_than_the_links_is_refused():
    """A certificate that is good, of somebody who is not this cluster."""
    use("us", "client_rsa")
    with mutual(linked=False) as pair:
        pair.us.says("link not connected", "not let in", "peer_identity")
        pair.eu.says("link refused", "has not proven a link's peer_identity", "pump rsa")
        crosses_not(pair, pair.us, pair.eu, "mallory")
        use("us", "client")
        reload(pair.us)
        both_ways(pair, "healed")


def one_cluster_does_not_speak_for_another():
    """On a listener that takes links it gets an answer, too."""
    use("us", "client_rsa")
    side = dict(MUTUAL_SIDE, clink=MUTUAL.replace("links = no", "links = only"))
    other = "\n[link cluster-asia]\nserver = 127.0.0.1:1\ntopics =\npeer_identity = pump rsa\n"
    with Pair(us=side, eu=dict(side, more=other), linked=False) as pair:
        line = pair.us.says("link refused", "not_authorized")
        true("peer_identity" in line, line)
        pair.eu.says("link refused", "cluster-us", "we answer not_authorized", "user pump rsa")
        use("us", "client")
        reload(pair.us)
        both_ways(pair, "healed")


def acl_does_not_judge_links():
    rules = os.path.join(FOLDER, "acl")
    with open(rules, "w", encoding="ascii") as f:
        f.write("topic readwrite open/#\n")
    side = dict(MUTUAL_SIDE, more="[auth]\nacl_file = " + rules + "\n")
    with Pair(us=side, eu=side) as pair:
        both_ways(pair, "open")


def links_are_asymmetric():
    """One side proves a certificate and wants nothing, the other a password and wants all."""
    users = os.path.join(FOLDER, "users-one")
    program = os.path.join(os.path.dirname(os.environ["CAUSEWAY"]), "causeway-passwd")
    subprocess.run([program, "-b", "-c", users, "eu", "word"], check=True,
                   stdout=subprocess.DEVNULL)
    us = {"clink": "allow_anonymous = false\nlinks = only\n",
          "link": OURS + "peer_identity = eu\n", "more": f"[auth]\npassword_file = {users}\n"}
    eu = {"clink": MUTUAL, "link": "username = eu\npassword = word\npeer_identity = {identity}\n"}
    with Pair(us=us, eu=eu, us_wants="") as pair:
        crosses(pair, pair.us, pair.eu, "one")
        crosses_not(pair, pair.eu, pair.us, "other")


def links_come_back_over_tls():
    with mutual() as pair:
        crosses(pair, pair.us, pair.eu, "first")
        pair.eu.kill()
        pair.us.says("link down")
        time.sleep(0.3)
        pair.eu.start()
        both_ways(pair, "second")


def links_go_on_after_pauses_over_tls():  # emqx#17617: stalled after short traffic
    with mutual() as pair:
        for turn in range(4):
            both_ways(pair, f"turn{turn}")
            time.sleep(0.5)


def each(f):
    def run():
        make_certificates()
        f()
    run.__name__ = f.__name__
    return run


if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    main([each(f) for f in (
        messages_cross_over_mutual_tls, messages_cross_over_tls_with_user_and_password,
        a_certificate_of_an_unknown_ca_is_refused, an_expired_certificate_is_refused,
        a_revoked_certificate_is_refused, a_server_of_an_unknown_ca_is_refused,
        a_server_with_another_name_is_refused, an_expired_server_is_refused,
         a_revoked_server_is_refused, server_name_stands_for_the_host,
         another_identity_than_the_links_is_refused, one_cluster_does_not_speak_for_another,
         acl_does_not_judge_links, links_are_asymmetric, links_come_back_over_tls,
         links_go_on_after_pauses_over_tls)])
