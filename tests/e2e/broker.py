# tests/e2e/broker.py -- starts brokers for the tests written in Python, and runs those tests.
#
# A file of tests is functions marked @test, then run(...): one broker for all of them with the
# given settings, each test in its own topics and client ids, `ok NAME` or `not ok NAME` for each,
# with the packets that went to and fro when it failed. Tests marked slow wait for a second or two
# of real time; they run side by side at the end. Words on the command line pick tests by name:
#     CAUSEWAY=build/release/causeway /usr/bin/python3 tests/e2e/test_will.py takeover
# WORKERS is the number of workers (2). E2E_PORT is the port of a broker that runs already, to see
# what another broker makes of the same tests.

import concurrent.futures
import inspect
import itertools
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import mqtt
from mqtt import Failure, equal, true

WORKERS = os.environ.get("WORKERS", "2")
FOREIGN_PORT = int(os.environ.get("E2E_PORT", "0"))
PICK = sys.argv[1:]
TESTS = []


GIVEN_PORTS = set()
PORT_FIRST, PORT_COUNT = map(int, os.environ.get("E2E_PORTS", "20000 12000").split())


def free_port():
    """A port nobody listens on, of those that tests/e2e/run gives this test; another one each
    time."""
    while True:
        port = PORT_FIRST + random.randrange(PORT_COUNT)
        if port in GIVEN_PORTS:
            continue
        GIVEN_PORTS.add(port)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def seconds_until(what, condition, limit=mqtt.WAIT):
    """Tries until the condition holds and returns how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit:
            raise Failure(f"not within {limit:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - began


def section(name, keys):
    return f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


class Broker:
    """One broker process. `text` is the whole configuration with {port}, {port2}, ... in it; or
    else limits, broker, listener and log are the keys of these sections. `files`: its
    RLIMIT_NOFILE. `within`: words in front of the command, as to start it in another network, where
    it is then reached at `host`."""

    numbers = itertools.count(1)

    def __init__(self, text=None, limits=None, broker=None, listener=None, log=None, ports=None,
                 program=None, files=None, within=None, host="127.0.0.1"):
        self.number = next(self.numbers)
        self.process = None
        self.program = program or os.environ["CAUSEWAY"]
        self.folder = tempfile.mkdtemp(prefix="broker-")  # below TMPDIR
        self.log_path = os.path.join(self.folder, f"broker-{self.number}.log")
        self.config_path = os.path.join(self.folder, f"broker-{self.number}.ini")
        self.ports = ports
        self.text = text
        self.sections = [("broker", {"workers": WORKERS, **(broker or {})}),
                         ("listener mqtt", {"bind": "127.0.0.1:{port}", **(listener or {})}),
                         ("limits", limits or {}), ("log", log or {})]
        self.kept_ports = ports is not None
        self.files = files
        self.within = within or []
        self.host = host
        for attempt in range(5):
            if self.start():
                return
        raise Failure(f"the broker does not start: {self.said()[-2000:]}")

    @property
    def port(self):
        return self.ports[0]

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return (self.host, self.port)

    def start(self):
        """True when it accepts connections; False if another process took a port meanwhile."""
        if not self.kept_ports:
            self.ports = []
            while len(self.ports) < 10:
                self.ports = list(dict.fromkeys(self.ports + [free_port()]))
        config = self.text
        if config is None:
            config = "".join(section(n, k) for n, k in self.sections if k)
        for i, port in enumerate(self.ports):
            config = config.replace("{port%s}" % (i + 1 if i else ""), str(port))
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(config)
        if self.kept_ports:  # the kernel closes the listener of a killed process a little later
            seconds_until("nobody listens on the port", lambda: not self.accepts())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.within + [self.program, "-c", self.config_path], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=self.limit_files if self.files else None)
        end = time.monotonic() + 2 * mqtt.WAIT
        while time.monotonic() < end:
            if self.process.poll() is not None:
                if "in use" in self.said() and not self.kept_ports:
                    return False
                raise Failure(f"the broker ended with {self.process.returncode}: "
                              f"{self.said()[-2000:]}")
            if self.accepts():
                return True
            time.sleep(0.02)
        self.kill()
        raise Failure("the broker does not accept connections")

    def accepts(self):
        try:
            socket.create_connection(self.address, 1).close()
            return True
        except OSError:
            return False

    def limit_files(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    def said(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def says(self, *words):
        """Waits until a line of the log has all the words, and returns it."""
        found = []

        def look():
            found[:] = [x for x in self.said().split("\n") if all(w in x for w in words)]
            return found

        seconds_until(f"a line in the log with {words}", look)
        return found[0]

    def is_alive(self):
        return self.process.poll() is None

    @property
    def is_sanitized(self):
        """Built with a sanitizer, which keeps freed memory for a while."""
        with open(self.program, "rb") as f:
            program = f.read()
        return b"__asan_" in program or b"__tsan_" in program

    def memory(self):
        """Bytes resident; always 0 where they say nothing of the broker."""
        return 0 if self.is_sanitized else self.status("VmRSS")

    def status(self, key):
        """A number of /proc/PID/status: VmRSS in bytes, Threads, ..."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(key + ":"):
                    words = line.split()
                    return int(words[1]) * (1024 if words[-1] == "kB" else 1)
        raise Failure(f"no {key}")

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def files_at_rest(self):
        """Open files, once it has opened its own, which is when it says that it listens, and none
        of a client comes or goes any more."""
        self.says("listening")
        before = 0
        while self.open_files() != before:
            before = self.open_files()
            time.sleep(0.1)
        return before

    def kill(self):
        """As a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end; complains if it does so in another way than cleanly."""
        was_alive = self.is_alive()
        if was_alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(2 * mqtt.WAIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("does not end on SIGTERM") from None
        said = self.said()
        for word in ("Sanitizer", "runtime error:", "this must hold and does not"):
            if word in said:
                raise Failure(said[max(0, said.index(word) - 500):][:6000])
        if not was_alive:
            raise Failure(f"the broker had ended by itself with {status}: {said[-1500:]}")
        equal(status, 0, "exit status")


class ForeignBroker:
    """One that runs already; only its port is known."""

    port = FOREIGN_PORT
    address = ("127.0.0.1", FOREIGN_PORT)
    pid = 0
    is_sanitized = False

    def is_alive(self):
        return True

    def memory(self):
        return 0

    def status(self, key):
        return 0

    def cpu_seconds(self):
        return 0

    def open_files(self):
        return 0

    def files_at_rest(self):
        return 0

    def said(self):
        return ""

    def stop(self):
        pass


class Test:
    """What a test works with: its broker, its own names, clients that are closed at its end."""

    running = {}  # settings -> Broker, shared by the tests of the file
    lock = threading.Lock()
    numbers = itertools.count(1)

    def __init__(self, name, settings, version=None):
        self.name, self.version = name, version
        with self.lock:
            # Short, since it stands in every packet of a trace.
            self.base = os.path.basename(sys.argv[0])[5:8] + str(next(self.numbers))
        self.clients = []
        self.count = 0
        self.broker = self.other(**settings)

    def other(self, **settings):
        """The broker with these settings, started if no test has used them yet."""
        if FOREIGN_PORT:
            return ForeignBroker()
        key = repr(sorted(settings.items()))
        with self.lock:
            if key not in self.running or not self.running[key].is_alive():
                if key in self.running:
                    self.running[key + " ended"] = self.running[key]
                self.running[key] = Broker(**settings)
            return self.running[key]

    def topic(self, tail="t"):
        """A topic no other test uses."""
        return f"{self.base}/{tail}"

    def new_id(self, word="c"):
        self.count += 1
        return f"{self.base}-{word}{self.count}"

    def raw(self, version=None, broker=None, **rest):
        """A connection without CONNECT."""
        client = mqtt.Client((broker or self.broker).address, version or self.version or 5, **rest)
        self.clients.append(client)
        return client

    def connect(self, version=None, client_id=None, broker=None, receive_buffer=None, **rest):
        """A connected client."""
        client = self.raw(version, broker, receive_buffer=receive_buffer)
        return client.login(self.new_id() if client_id is None else client_id, **rest)

    def subscriber(self, filters, options=0, version=None, sub_props=None, **rest):
        client = self.connect(version, **rest)
        for reason in client.subscribe(filters, options, sub_props):
            true(reason < 3, f"SUBACK says 0x{reason:02x}")
        return client

    def until_mark(self, sub, publisher, ack=True):
        """All messages that reach `sub` before one that `publisher` sends now: for saying that
        something did not arrive."""
        mark = f"{self.base}-mark/{sub.id}"
        if not sub.marked:
            sub.subscribe(mark)
            sub.marked = True
        publisher.publish(mark, b"mark")
        found = []
        while True:
            p = sub.message(ack=False)
            if p.topic == mark:
                return found
            found.append(p)
            if ack:
                sub.acknowledge(p)

    def exactly(self, count, sub, publisher):
        """`count` messages, which may also come later than a mark, and no more."""
        found = [sub.message() for _ in range(count)]
        self.nothing(sub, publisher)
        return found

    def settled(self, sub, seconds=0.25):
        """All messages until it is silent for a while: where nobody knows how many will come."""
        found = []
        while True:
            p = sub.inbox.popleft() if sub.inbox else sub.recv(seconds, quiet=True)
            if p is None:
                return found
            found.append(p)
            sub.acknowledge(p)

    def nothing(self, sub, publisher):
        """Nothing of what `publisher` has sent so far came to `sub`."""
        found = self.until_mark(sub, publisher)
        true(not found, f"expected nothing, got {found[:5]}")

    def end(self):
        for client in self.clients:
            client.close()


def test(function=None, versions=None, slow=False, repeat=None, **settings):
    """Marks a test. `versions`: once for each MQTT version, given as its second argument.
    `settings`: a broker of its own with these, instead of that of run()."""
    def add(f):
        for version in versions or [None]:
            TESTS.append((f, version, slow, settings))
        return f
    return add(function) if function else add


def name_of(function, version):
    return function.__name__ + ({3: "_v31", 4: "_v311", 5: "_v5"}[version] if version else "")


def run_one(function, version, settings):
    """None, or what went wrong."""
    t = None
    try:
        t = Test(name_of(function, version), settings, version)
        takes = len(inspect.signature(function).parameters)
        function(*(t, version)[:takes])
        if not t.broker.is_alive():
            raise Failure("the broker is gone")
        return None
    except Exception as error:  # whatever it was, the next test should run
        said = [f"{type(error).__name__}: {error}" if not isinstance(error, Failure)
                else str(error)]
        for entry in traceback.extract_tb(error.__traceback__):
            if os.path.basename(entry.filename).startswith("test_"):
                said.append(f"{os.path.basename(entry.filename)}:{entry.lineno}: {entry.line}")
        for client in t.clients[-4:] if t else []:
            said.append(f"client {client.id!r} (MQTT {client.version}):")
            said += ["  " + line for line in client.trace]
        if t and not t.broker.is_alive():
            said.append(t.broker.said()[-1500:])
        return "\n".join(said)
    finally:
        if t:
            t.end()


def picked(name):
    return not PICK or any(word in name for word in PICK)


def say(name, wrong):
    print(("not ok " if wrong else "ok ") + name, flush=True)
    if wrong:
        print("\n".join("    " + line for line in wrong.split("\n")), flush=True)
    return bool(wrong)


def run(**settings):
    """Runs the tests of this file and ends the program."""
    failed = 0
    slow = []
    for function, version, is_slow, own in TESTS:
        name = name_of(function, version)
        if not picked(name):
            continue
        if is_slow:
            slow.append((function, version, own or settings))
        else:
            failed += say(name, run_one(function, version, own or settings))
    if slow:
        with concurrent.futures.ThreadPoolExecutor(len(slow)) as pool:
            jobs = [(name_of(f, v), pool.submit(run_one, f, v, s)) for f, v, s in slow]
            for name, job in jobs:
                failed += say(name, job.result())
    wrong = []
    for broker in Test.running.values():
        try:
            broker.stop()
        except Failure as error:
            wrong.append(str(error))
    failed += say("broker_ends_cleanly", "\n".join(wrong))
    sys.exit(1 if failed else 0)


def main(tests):
    """For files that start their brokers themselves: runs functions without arguments."""
    failed = 0
    for function in tests:
        if not picked(function.__name__):
            continue
        try:
            function()
            failed += say(function.__name__, None)
        except Exception as error:
            said = [str(error) if isinstance(error, Failure) else repr(error)]
            said += traceback.format_tb(error.__traceback__)
            failed += say(function.__name__, "".join(said).rstrip())
    sys.exit(1 if failed else 0)
