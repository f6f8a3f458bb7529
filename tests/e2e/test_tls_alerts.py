# tests/e2e/test_tls_alerts.py -- what is refused in a handshake: with which alert, and which line in
# the log. By bytes of ours, for what no library says any more, and by the openssl command.

import os
import re
import socket
import struct
import subprocess

import mqtt
from broker import equal, run, test, true
from secure import cert, make_certs, server_keys

make_certs()
MUTUAL = (f"cafile = {cert('ca.crt')}\ncrlfile = {cert('ca.crl')}\nrequire_certificate = true\n"
          "tls_version = tlsv1.2\n")
TEXT = f"""
[broker]
workers = 1
[listener ec]
bind = 127.0.0.1:{{port}}
{server_keys()}
[listener rsa]
bind = 127.0.0.1:{{port2}}
{server_keys("server_rsa")}
[listener mutual]
bind = 127.0.0.1:{{port3}}
{server_keys()}{MUTUAL}
[listener chain]
bind = 127.0.0.1:{{port4}}
{server_keys("chain_server")}
"""
EC, RSA, MUTUAL_AT, CHAIN = range(4)
GOOD = {EC: 0xC02B, RSA: 0xC02F}  # ECDHE-ECDSA and ECDHE-RSA with AES128-GCM-SHA256
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70

# By RFC 5246, 4346, 4492, 5289, 6655 and 7905; 0x0003, 0x0008 and 0x0062 are of export strength.
WEAK = {
    "NULL": (0x0000, 0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC010),
    "EXPORT": (0x0003, 0x0006, 0x0008, 0x0014, 0x0062),
    "RC4": (0x0004, 0x0005, 0xC007, 0xC011, 0xC016),
    "DES": (0x0009, 0x000A, 0x0016, 0xC008, 0xC012, 0xC017),
    "anonymous": (0x0018, 0x001B, 0x0034, 0x006C, 0x00A6, 0xC018),
    "CBC": (0x002F, 0x0035, 0x003C, 0x0033, 0xC009, 0xC00A, 0xC013, 0xC023, 0xC027, 0xC028),
    "no forward secrecy": (0x009C, 0x009D, 0xC09C),
    "a pre-shared key": (0x008C, 0x00A8, 0xC035, 0xCCAB),
}


def vector(size, data):
    return len(data).to_bytes(size, "big") + data


def hello(suites, version=0x0303, compressions=b"\0"):
    """A ClientHello of TLS 1.2 or older."""
    extensions = b"".join(struct.pack(">H", kind) + vector(2, data) for kind, data in (
        (10, vector(2, b"\0\x1d\0\x17\0\x18")), (11, vector(1, b"\0")),
        (13, vector(2, b"\4\3\5\3\6\3\x08\4\4\1\5\1\6\1\2\1")), (23, b"")))
    body = (struct.pack(">H", version) + os.urandom(32) + vector(1, b"") +
            vector(2, b"".join(struct.pack(">H", s) for s in suites)) + vector(1, compressions) +
            vector(2, extensions))
    return b"\x16\3\1" + vector(2, b"\1" + vector(3, body))


def answer(t, number, data):
    """The first record that comes, as (type, body), and our port."""
    with socket.create_connection(("127.0.0.1", t.broker.ports[number]), mqtt.WAIT) as s:
        port = s.getsockname()[1]
        s.sendall(data)
        got = b""
        while len(got) < 5 or len(got) < 5 + struct.unpack(">H", got[3:5])[0]:
            more = s.recv(4096)
            true(more, f"closed after {got!r}")
            got += more
        return got[0], got[5:5 + struct.unpack(">H", got[3:5])[0]], port


def alert_of(t, number, data, words):
    """The alert that refuses a hello; the log has the words about it."""
    kind, body, port = answer(t, number, data)
    equal(kind, 21, "a record of the kind of alerts")
    equal(body[0], 2, "fatal")
    t.broker.says(f"peer=127.0.0.1:{port}", words)
    return body[1]


@test
def a_hello_of_ours_with_good_ciphers_is_answered(t):
    for number, suite in GOOD.items():
        kind, body, _ = answer(t, number, hello((0x0005, suite, 0x000A)))
        equal((kind, body[0], body[4:6]), (22, 2, b"\3\3"), "ServerHello of TLS 1.2")
        session = body[38]
        equal(struct.unpack(">H", body[39 + session:41 + session])[0], suite, "the good one")


@test
def weak_ciphers_are_refused(t):
    for number in GOOD:
        for suites in WEAK.values():
            for suite in suites:
                equal(alert_of(t, number, hello((suite,)), "no shared cipher"),
                      HANDSHAKE_FAILURE, f"the alert for {suite:04x}")
        every = tuple(s for suites in WEAK.values() for s in suites)
        equal(alert_of(t, number, hello(every), "no shared cipher"), HANDSHAKE_FAILURE)


@test
def versions_before_1_2_are_refused(t):
    for number, suite in GOOD.items():
        for version in (0x0300, 0x0301, 0x0302):
            equal(alert_of(t, number, hello((suite, 0xC009, 0xC013, 0x002F), version),
                           "no shared version"), PROTOCOL_VERSION, f"the alert for {version:04x}")


@test
def nothing_is_compressed(t):
    for offered in (b"\1\0", b"\0\1", b"\x40\1\0"):
        kind, body, _ = answer(t, EC, hello((GOOD[EC],), compressions=offered))
        equal((kind, body[0], body[41 + body[38]]), (22, 2, 0), "ServerHello without compression")
    said, _ = s_client(t, EC, "-comp", "-tls1_2")
    true("Compression: NONE" in said, said)


# -------------------------------------------------------------------- by the openssl command ---

def s_client(t, number, *options, typed=b""):
    """What it says when it connects and its input ends; and our port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{t.broker.ports[number]}",
                           "-bind", f"127.0.0.1:{port}", "-CAfile", cert("ca.crt"), *options],
                          input=typed, capture_output=True, timeout=10 * mqtt.WAIT, check=False)
    return (done.stdout + done.stderr).decode(errors="replace"), port


def alert_to(said):
    found = re.findall(r"SSL alert number (\d+)", said)
    return int(found[0]) if found else None


@test
def certificates_of_clients_are_refused_with_an_alert_that_says_why(t):
    # A revoked one is a bad one to the library; the log knows better. The alert for none at all is
    # of TLS 1.3.
    cases = (("expired_client", "certificate expired", 45, 45),
             ("other_client", "unknown CA", 48, 48), ("revoked", "certificate revoked", 42, 42),
             ("server", "not for this use", 42, 42), (None, "client gave no certificate", 42, 116))
    for name, words, *alerts in cases:
        for version, alert in zip(("-tls1_2", "-tls1_3"), alerts):
            shown = ("-cert", cert(f"{name}.crt"), "-key", cert(f"{name}.key")) if name else ()
            said, port = s_client(t, MUTUAL_AT, version, *shown, "-ign_eof")
            t.broker.says(f"peer=127.0.0.1:{port}", "listener=mutual", words)
            equal(alert_to(said), alert, f"the alert for {name} with {version}")


@test
def a_renegotiation_is_refused(t):
    said, port = s_client(t, EC, "-tls1_2", "-legacy_renegotiation", typed=b"R\n")
    true("RENEGOTIATING" in said, said)
    equal(said.count("verify return:1"), 2, "certificates verified, of one handshake")
    t.broker.says(f"peer=127.0.0.1:{port}", "message out of order")


@test
def the_whole_chain_is_shown(t):
    for version in ("-tls1_2", "-tls1_3"):
        said, _ = s_client(t, CHAIN, version, "-showcerts")
        equal(said.count("-----BEGIN CERTIFICATE-----"), 2, "certificates")
        true("Verification: OK" in said, said)


@test
def old_versions_are_refused_to_openssl(t):
    for version in ("-tls1", "-tls1_1"):
        said, port = s_client(t, EC, version, "-cipher", "ALL:eNULL:@SECLEVEL=0")
        equal(alert_to(said), PROTOCOL_VERSION, said)
        t.broker.says(f"peer=127.0.0.1:{port}", "no shared version")


run(text=TEXT)
