# tests/e2e/secure.py -- for tests of what guards a broker: certificates, clients with TLS (that of
# Python, which is OpenSSL's), files that change.

import os
import select
import signal
import socket
import ssl
import subprocess
import tempfile

import mqtt
from broker import seconds_until
from mqtt import Closed, Failure, true

HERE = os.path.dirname(os.path.abspath(__file__))
CERTS = os.path.join(os.environ["BUILD"], "certs")
PASSWD = os.path.join(os.environ["BUILD"], "causeway-passwd")


def make_certs():
    """Those of tests/support/certs.sh, made once; returns their folder."""
    subprocess.run(["bash", os.path.join(HERE, "..", "support", "certs.sh"), CERTS], check=True)
    return CERTS


def cert(name):
    return os.path.join(CERTS, name)


def server_keys(name="server"):
    """The keys of a listener that shows this certificate."""
    return f"certfile = {cert(name)}.crt\nkeyfile = {cert(name)}.key\n"


class Files:
    """A folder of small files that a test writes, and writes anew."""

    def __init__(self, **contents):
        self.folder = tempfile.mkdtemp(prefix="files-")
        for name, content in contents.items():
            self.write(name, content)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        """In one step, as a broker that reads meanwhile must see it."""
        with open(self.path(name) + ".new", "w", encoding="utf-8") as f:
            f.write(content)
        os.replace(self.path(name) + ".new", self.path(name))
        return self.path(name)

    def take(self, name, source):
        """A copy of one of the certificates, to be replaced by another later."""
        with open(cert(source), encoding="utf-8") as f:
            return self.write(name, f.read())

    def hash(self, name, user, password, *options):
        """Adds a user with causeway-passwd, or changes the password."""
        if not os.path.exists(self.path(name)):
            self.write(name, "")
        run = subprocess.run([PASSWD, "-b", *options, self.path(name), user, password],
                             capture_output=True, check=False)
        true(run.returncode == 0, f"causeway-passwd: {run.stderr.decode()}")


def check_config(broker_text):
    """What `causeway -t` says of this configuration: (exit status, what it wrote on stderr)."""
    files = Files(conf=broker_text)
    run = subprocess.run([os.environ["CAUSEWAY"], "-c", files.path("conf"), "-t"],
                         capture_output=True, check=False, timeout=10 * mqtt.WAIT)
    return run.returncode, run.stderr.decode()


def reload(broker, *words):
    """SIGHUP; waits for the line that has the words."""
    before = broker.said().count("\n")
    broker.process.send_signal(signal.SIGHUP)
    end = words or ("event=reloaded",)

    def has_come():
        lines = broker.said().split("\n")[before:]
        return any(all(w in x for w in end) for x in lines)

    seconds_until(f"a line of the reload with {end}", has_come)
    return "\n".join(broker.said().split("\n")[before:])


def context(lowest=None, highest=None, alpn=None, identity=None, ciphers=None, trust="ca"):
    """TLS of a client: `identity` is the name of its certificate."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(cert(f"{trust}.crt"))
    c.minimum_version = lowest or ssl.TLSVersion.TLSv1_2
    if highest:
        c.maximum_version = highest
    if alpn:
        c.set_alpn_protocols(alpn)
    if identity:
        c.load_cert_chain(cert(f"{identity}.crt"), cert(f"{identity}.key"))
    if ciphers:
        c.set_ciphers(ciphers)
    return c


TLS_1_2 = {"lowest": ssl.TLSVersion.TLSv1_2, "highest": ssl.TLSVersion.TLSv1_2}
TLS_1_3 = {"lowest": ssl.TLSVersion.TLSv1_3, "highest": ssl.TLSVersion.TLSv1_3}


class TlsClient(mqtt.Client):
    """A connection within TLS; the handshake is done on return."""

    def __init__(self, address, version=5, tls=None, session=None, before=b"", **rest):
        """`before` is sent in front of the handshake."""
        super().__init__(address, version, **rest)
        if before:
            self.sock.sendall(before)
        self.sock = (tls or context()).wrap_socket(
            self.sock, server_hostname="localhost", session=session, suppress_ragged_eofs=False)

    def fill(self, timeout):
        if not self.sock.pending() and not select.select([self.sock], [], [], max(0, timeout))[0]:
            return False
        try:
            self.sock.settimeout(max(timeout, 0.001))
            data = self.sock.recv(1 << 18)
            self.sock.settimeout(mqtt.WAIT)
        except socket.timeout:
            return False  # a session ticket, or part of a record
        except (ssl.SSLError, OSError) as error:
            raise Closed(f"the broker closed the connection: {error}") from None
        if not data:
            raise Closed("the broker closed the connection")
        self.buffer += data
        return True


def at(t, number=0, version=5, tls=None, broker=None, host="127.0.0.1", **rest):
    """A connection to one of the broker's ports, closed with the test: plain, or with `tls` (a
    context) within TLS."""
    address = (host, (broker or t.broker).ports[number])
    make = TlsClient if tls else mqtt.Client
    c = make(address, version, **({"tls": tls} if tls else {}), **rest)
    t.clients.append(c)
    return c


def tls_refused(t, number, tls, broker=None):
    """The connection does not get as far as an answer to CONNECT; returns its own port."""
    with socket.create_connection(("127.0.0.1", (broker or t.broker).ports[number]),
                                  mqtt.WAIT) as s:
        port = s.getsockname()[1]
        try:
            # In TLS 1.3 the client is done before the server has judged its certificate.
            with tls.wrap_socket(s, server_hostname="localhost") as secured:
                secured.sendall(mqtt.connect(5, "refused"))
                got = secured.recv(100)
        except (ssl.SSLError, ConnectionError):
            return port
        if got:
            raise Failure(f"expected a refused handshake, got {got[:20]!r}")
        return port
