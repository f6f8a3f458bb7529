# tests/e2e/test_load.py -- causeway-load: every scenario against the broker, and what it says of
# brokers that lose, double, swap or change messages, or stop in the middle.

import concurrent.futures
import csv
import io
import json
import os
import re
import socket
import subprocess
import tempfile
import threading

from broker import Broker, free_port, run, seconds_until, test
from crowd import password_line
from mqtt import CONNACK, PUBACK, PUBLISH, equal, true
from secure import CERTS, cert, make_certs
from wan import Clusters, Path, linked, links_of

make_certs()
LOAD = os.path.join(os.environ["BUILD"], "causeway-load")
SHORT = ("--seconds", "0.15", "--warm-up", "0.05", "--settle", "0.02", "--stall", "5")
KEYS = f"certfile = {CERTS}/server.crt\nkeyfile = {CERTS}/server.key\n"
CONFIG = ("[broker]\nworkers = 2\n[listener mqtt]\nbind = 127.0.0.1:{port}\n"
          "[listener mqtts]\nbind = 127.0.0.1:{port2}\n" + KEYS + "allow_anonymous = true\n"
          "[listener ws]\nbind = 127.0.0.1:{port3}\nprotocol = websockets\n"
          "[listener wss]\nbind = 127.0.0.1:{port4}\nprotocol = websockets\n" + KEYS +
          "allow_anonymous = true\n"
          f"[listener mutual]\nbind = 127.0.0.1:{{port5}}\n{KEYS}cafile = {CERTS}/ca.crt\n"
          "require_certificate = true\nuse_identity_as_username = true\n"
          "[limits]\nmax_queued_messages = 20000\n")
# Scenario, and what keeps it small.
SCENARIOS = [("point-to-point", "-n", "4"), ("fan-out", "-n", "20"), ("fan-in", "-n", "20"),
             ("shared", "-n", "4"), ("publish", "-n", "10"), ("request-response", "-n", "4"),
             ("routes", "-n", "2"), ("retained", "-n", "3", "--topics", "50"),
             ("hold", "-n", "50"), ("ramp", "-n", "20"), ("reconnect", "-n", "50"),
             ("subscribe", "-n", "10", "--topics", "100")]
NOT_BARE = ("request-response", "routes", "retained")


def call(*words):
    return subprocess.run([LOAD, *map(str, words)], capture_output=True, text=True, timeout=60,
                          check=False)


def load(port, *words, status=0):
    """One run, and the JSON object that it prints."""
    done = call("-p", port, "--json", *SHORT, *words)
    equal(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def is_clean(found, *words):
    true(found["is_clean"], f"{words}: {found}")
    for key in ("lost", "doubled", "late", "strange", "refused"):
        equal(found[key], 0, f"{words}: {key}")
    true(found["delivered"] + found["finished"] + found["sent"] > 0, f"{words}: {found}")
    return found


def side_by_side(function, jobs):
    """Most of a run is waiting: several at the same time, each with its own topics."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(function, *job) for job in jobs]:
            done.result()


def try_one(t, scenario, *words):
    topic = t.topic(scenario + "".join(map(str, words)))
    for seconds in (0.15, 3):  # a busy machine may get nothing done in the shorter time
        found = is_clean(load(t.broker.port, "-t", topic, "--seconds", seconds, scenario, *words),
                         scenario, *words)
        if found["delivered_per_second"] > 0:
            break
    if scenario not in ("hold", "publish", "routes"):
        true(found["latency_us"]["max"] > 0, f"{scenario} {words}: {found}")
    if scenario != "hold":
        true(found["delivered_per_second"] > 0, f"{scenario} {words}: {found}")


def try_all(t, levels, *more):
    side_by_side(try_one, [(t, *scenario, "-q", qos, *more) for scenario in SCENARIOS
                           for qos in levels])


@test
def scenarios_are_clean(t):
    try_all(t, (0, 1, 2))


@test
def scenarios_are_clean_in_mqtt5(t):
    try_all(t, (1,), "-V", "5")


@test
def transports_are_clean(t):
    ports = t.broker.ports
    mine = ("--cert", cert("client.crt"), "--key", cert("client.key"), "--cafile", cert("ca.crt"))
    ways = ((ports[1], "--cafile", cert("ca.crt")), (ports[1], "--insecure", "--resume"),
            (ports[2], "--ws"), (ports[3], "--ws", "--insecure"), (ports[4], *mine))
    side_by_side(
        lambda i, scenario: is_clean(load(*ways[i], "-n", 10, "-q", 1, "-t", f"{scenario}{i}",
                                          scenario), ways[i], scenario),
        [(i, scenario) for i in range(len(ways)) for scenario in ("p2p", "ramp", "reconnect")])


@test
def wrong_certificates_are_refused(t):
    for words in ((t.broker.ports[1], "--cafile", cert("other_ca.crt")),
                  (t.broker.ports[4], "--insecure")):
        found = load(*words, "p2p", status=1)
        true(found["failure"], f"{words}: {found}")


@test
def sizes_and_rates_are_clean(t):
    words = ("--size", "20,300-5000:0.5,100000:0.02", "-n", 3)
    for port, more in ((t.broker.ports[0], ()), (t.broker.ports[2], ("--ws",))):
        for scenario in ("p2p", "shared", "request-response", "retained"):
            is_clean(load(port, *words, *more, "-q", 1, "--window", 10, scenario), scenario)
    for scenario in ("p2p", "ramp", "subscribe", "retained", "routes", "request-response"):
        is_clean(load(t.broker.port, "--rate", 500, "-n", 2, *(
            ("--topics", 20) if scenario in ("subscribe", "retained") else ()), scenario), scenario)


@test
def rate_counts_what_could_not_be_sent(t):
    for scenario, *words in (("p2p", "--window", 1), ("ramp",), ("retained", "--topics", 10)):
        found = is_clean(load(t.broker.port, "--rate", 50000000, "-n", 1, *words, scenario))
        true(found["overdue"] > 0, f"{found}")
        true(found["latency_us"]["p50"] > 10000, f"not from when they were due: {found}")


@test
def rate_asks_for_no_more_than_the_count(t):
    path = Path(t.broker.port, "--delay", 30)
    try:
        found = is_clean(load(path.port, "--rate", 2000, "-C", 200, "--seconds", 5, "p2p"))
        equal(found["sent"], 200)
        equal(found["overdue"], 0, "while the last ones were on their way")
    finally:
        path.end()


@test
def check_at_the_end_is_not_measured(t):
    """A client that comes back takes two round trips, the message that it gets then one."""
    path = Path(t.broker.port, "--delay", 30)
    try:
        found = is_clean(load(path.port, "-n", 20, "-C", 20, "--warm-up", 0, "reconnect"))
        true(found["latency_us"]["mean"] > 110000, f"{found}")
    finally:
        path.end()


@test
def forms_say_the_same(t):
    with tempfile.NamedTemporaryFile(suffix=".html") as page:
        done = call("-p", t.broker.port, "--pid", t.broker.pid, "--csv", "--progress", "--html",
                    page.name, "--seconds", "0.3", "-n", 2, "p2p")
        equal(done.returncode, 0, done.stderr)
        row, = csv.DictReader(io.StringIO(done.stdout))
        equal(row["scenario"], "point-to-point")
        true(float(row["cpu_us_per_delivered"]) > 0, f"{row}")
        true("measuring:" in done.stderr, done.stderr)
        text = page.read().decode()
    equal(len(re.findall("<svg", text)), 3)
    true("</html>" in text and "<script" not in text and "://" not in text, text)


@test
def help_and_the_man_page_know_the_same_options(t):
    del t
    said = call("--help").stdout
    with open(os.path.join(os.environ["E2E"], "../../tools/doc/causeway-load.1"),
              encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    options = set(re.findall(r"--[a-z][a-z-]+", said))
    true(len(options) > 30, f"{options}")
    for option in sorted(options):
        true(option in page, f"the page does not know {option}")
    for option in set(re.findall(r"--[a-z][a-z-]+", page)) - {"--host", "--port", "--qos", "--pw",
                                                              "--protocol-version", "--topic",
                                                              "--username", "--clients",
                                                              "--count"}:
        true(option in options, f"--help does not know {option}")
    for scenario, *_ in SCENARIOS:
        true(scenario in said and scenario in page, scenario)


@test
def processes_that_are_not_there_are_an_error(t):
    equal(call("-p", t.broker.port, "--pid", 2 ** 22, *SHORT, "p2p").returncode, 1)
    equal(call("-p", t.broker.port, "p2p", "fan-in").returncode, 2)
    equal(call("-p", free_port(), *SHORT, "p2p").returncode, 1)


# Answers that nobody asked for.
ANSWERS = {"grant": b"\x90\3\0\2\0", "release": b"\xb0\2\0\2"}


@test
def refusal_says_what_would_help(t):
    users = plan(t, password_line("anna", "right", 101).strip())
    broker = Broker(text=f"[auth]\npassword_file = {users}\n[listener a]\n"
                         "bind = 127.0.0.1:{port}\nprotocol_versions = 4, 5\n")
    try:
        for version in (311, 5):
            found = load(broker.port, "-V", version, "p2p", status=1)
            true("-u and -P" in found["failure_detail"], f"{found}")
        found = load(broker.port, "-V", 31, "p2p", status=1)
        true("-V" in found["failure_detail"], f"{found}")
        is_clean(load(broker.port, "-u", "anna", "-P", "right", "p2p"))
    finally:
        broker.stop()


class Faulty:
    """Between causeway-load and the broker: does something wrong with PUBLISH number `nth` of those
    that the broker sends, on all connections together, or with that PUBACK ("refuse"), keeps all
    of them ("keep"), or says more than CONNACK."""

    def __init__(self, to, fault, nth=40):
        self.to, self.fault, self.left = to, fault, nth
        self.kind = PUBACK if fault == "refuse" else PUBLISH
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.to))
                for pump, a, b in ((self.plain, here, there), (self.packets, there, here)):
                    threading.Thread(target=pump, args=(a, b), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def plain(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            b.close()

    def packets(self, a, b):
        """Whole packets, with the faults among them."""
        held, buffer = [], b""
        try:
            while data := a.recv(65536):
                buffer += data
                out = b""
                while packet := self.first(buffer):
                    buffer = buffer[len(packet):]
                    out += b"".join(self.spoil(packet, held))
                b.sendall(out)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            b.close()

    @staticmethod
    def first(buffer):
        length = 0
        for i in range(1, min(len(buffer), 5)):
            length |= (buffer[i] & 0x7f) << (7 * (i - 1))
            if not buffer[i] & 0x80:
                end = 1 + i + length
                return buffer[:end] if len(buffer) >= end else None
        return None

    def spoil(self, packet, held):
        if packet[0] >> 4 == CONNACK:
            return [packet, ANSWERS.get(self.fault, b"")]
        if packet[0] >> 4 != self.kind:
            return [packet]
        if self.fault == "keep":
            return []
        if held:
            return [packet, held.pop()]
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return [packet]
        if self.fault == "lose":
            return []
        if self.fault == "double":
            return [packet, packet]
        if self.fault == "refuse":
            return [bytes([PUBACK << 4, 3]) + packet[2:4] + b"\x97"]
        if self.fault == "change":
            # In front of the payload: of the topic, or of an answer's correlation data.
            return [packet[:-65] + bytes([packet[-65] ^ 1]) + packet[-64:]]
        if self.fault == "shorten":
            return [bytes([packet[0], packet[1] - 1]) + packet[2:-1]]
        held.append(packet)
        return []

    def end(self):
        self.listener.close()


def spoilt(t, fault, *words):
    proxy = Faulty(t.broker.port, fault)
    try:
        return load(proxy.port, "-n", 2, "--stall", 0.7, "--rate", 2000, *words, status=1)
    finally:
        proxy.end()


@test
def faults_are_counted(t):
    def spoil(fault, key, scenario):
        found = spoilt(t, fault, "-t", fault + scenario, scenario)
        equal(found["is_clean"], False, f"{fault} {scenario}")
        true(found[key] > 0, f"{fault} {scenario}: {found}")

    faults = (("lose", "lost"), ("double", "doubled"), ("swap", "late"), ("shorten", "strange"),
              ("change", "strange"))
    side_by_side(spoil, [(*fault, scenario) for fault in faults for scenario in
                         ("p2p", "fan-in", "shared", "request-response")])


@test
def refusals_are_counted(t):
    for scenario in ("p2p", "publish"):
        found = spoilt(t, "refuse", "-V", 5, "-q", 1, "-t", "refuse" + scenario, scenario)
        equal(found["refused"], 1, f"{scenario}: {found}")
        equal(found["lost"], 0, f"{scenario}: {found}")


@test
def faults_of_retained_messages_and_routes_are_counted(t):
    for fault, key in (("lose", "lost"), ("double", "doubled"), ("shorten", "strange")):
        found = spoilt(t, fault, "-t", "kept", "retained", "--topics", 30)
        true(found[key] > 0, f"{fault}: {found}")
        sub = t.subscriber("kept/+")
        t.nothing(sub, t.connect())  # the messages are removed, although it failed
    found = spoilt(t, "double", "routes")
    true(found["doubled"] + found["strange"] > 0, f"a probe twice: {found}")


@test
def answers_that_nobody_asked_for_are_strange(t):
    for scenario in ("retained", "routes"):
        for fault in ANSWERS:
            found = spoilt(t, fault, "-t", fault + scenario, scenario)
            equal(found["strange"], 3 if scenario == "retained" else 4, f"{fault} {scenario}")


@test
def routes_that_never_come_end_the_run(t):
    """Probes are acknowledged as long as they are sent: that is no progress."""
    for qos in (0, 1, 2):
        found = spoilt(t, "keep", "-q", qos, "routes")
        true(found["failure"] and found["delivered"] == 0, f"{found}")


def measured_by(path, *words):
    """A run by a path; it is measuring when this returns."""
    process = subprocess.Popen([LOAD, "-p", str(path.port), "--json", "--progress", *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_measured(process, 1)
    return process


def until_measured(process, times):
    """Until the line of progress, which comes five times a second, was written so often."""
    line = ""
    while line.count("measuring") < times:
        line += process.stderr.read(1)


@test
def broker_that_stands_still_hides_nothing(t):
    """With one message under way one would be late; counted are all that were due meanwhile."""
    path = Path(t.broker.port)
    try:
        process = measured_by(path, "--rate", "500", "--window", "1", "-n", "1", "--seconds",
                              "1.5", "p2p")
        path.ask("hold")
        until_measured(process, 3)
        path.ask("pass")
        said, _ = process.communicate(timeout=30)
        equal(process.returncode, 0, said)
        true(json.loads(said)["latency_us"]["p90"] > 50000, said)
    finally:
        path.end()


@test
def silence_is_noticed(t):
    path = Path(t.broker.port)
    try:
        process = measured_by(path, "--stall", "0.5", "--seconds", "30", "p2p")
        path.ask("mute")
        said, _ = process.communicate(timeout=30)
        equal(process.returncode, 1)
        equal(json.loads(said)["failure"], "messages do not arrive")
    finally:
        path.end()


@test
def end_of_the_broker_is_noticed(t):
    del t
    for scenario in ("p2p", "hold", "ramp", "reconnect", "retained"):
        broker = Broker(text=CONFIG)
        process = subprocess.Popen([LOAD, "-p", str(broker.port), "--json", "--stall", "1", "-n",
                                    "10", "--seconds", "30", scenario],
                                   stdout=subprocess.PIPE, text=True)
        seconds_until("clients", lambda b=broker: b.open_files() > 20)
        broker.kill()
        said, _ = process.communicate(timeout=30)
        equal(process.returncode, 1, scenario)
        true(json.loads(said)["failure"], said)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def plan(t, *lines):
    path = os.path.join(t.broker.folder, t.new_id("plan"))
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join(line + "\n" for line in lines))
    return path


@test
def brokers_are_compared(t):
    program, port = os.environ["CAUSEWAY"], free_port()
    config = plan(t, "[listener mqtt]", f"bind = 127.0.0.1:{port}")
    path = plan(t, f"broker first {port} {program} -c {config}",
                f"broker \"the second\" {port} {program} -c {config}",
                'run "p2p, QoS 1" -q 1 -n 2 p2p', 'run "silent" -n 20 hold')
    page = path + ".html"
    done = call("--compare", path, "--rounds", 2, "--json", "--html", page, *SHORT)
    equal(done.returncode, 0, done.stderr)
    found = json.loads(done.stdout)
    equal([(r["run"], r["broker"]) for r in found["results"]],
          [("p2p, QoS 1", "first"), ("p2p, QoS 1", "the second"), ("silent", "first"),
           ("silent", "the second")])
    for r in found["results"]:
        true(r["is_clean"] and r["cpu_us"]["median"] > 0 and r["ratio"] > 0, f"{r}")
    with open(page, encoding="utf-8") as f:
        true("the second" in f.read(), "the page")
    seconds_until("the last broker has gone", lambda: not listens(port))


@test
def floor_is_measured_where_it_can(t):
    floor, port = os.path.join(os.environ["BUILD"], "floor"), free_port()
    process = subprocess.Popen([floor, str(port)])
    try:
        seconds_until("the floor listens", lambda: call(
            "--bare", "-p", port, "-C", 1, *SHORT, "p2p").returncode == 0)
        side_by_side(
            lambda scenario, qos, *small: is_clean(load(port, "--bare", "-q", qos, *small,
                                                        scenario), scenario, qos),
            [(name, qos, "-t", f"{name}{qos}", *small) for name, *small in SCENARIOS
             for qos in (0, 1, 2) if name not in NOT_BARE + ("fan-in", "shared")])
        for name, *small in SCENARIOS:
            for qos in (0, 1, 2):  # by themselves: their subscribers hear everything
                if name in ("fan-in", "shared"):
                    is_clean(load(port, "--bare", "-q", qos, *small, name), name, qos)
    finally:
        process.terminate()
        process.wait()
    config = plan(t, "[listener mqtt]", f"bind = 127.0.0.1:{port}")
    done = call("--broker", f"ours={os.environ['CAUSEWAY']} -c {config}@{port}", "--floor",
                f"floor={floor} {port}@{port}", "--run", "-n 2 p2p", "--run", "-n 2 retained",
                "--rounds", 1, "--json", *SHORT)
    equal(done.returncode, 0, done.stderr)
    found = json.loads(done.stdout)["results"]
    equal([(r["run"], r["broker"]) for r in found],
          [("-n 2 p2p", "ours"), ("-n 2 p2p", "floor"), ("-n 2 retained", "ours")])
    true(found[0]["floor_ratio"] > 0 and found[2]["floor_ratio"] == 0, f"{found}")


@test
def comparison_that_is_told_to_end_leaves_nothing_behind(t):
    port = free_port()
    config = plan(t, "[listener mqtt]", f"bind = 127.0.0.1:{port}")
    process = subprocess.Popen([LOAD, "--broker", f"it={os.environ['CAUSEWAY']} -c {config}@{port}",
                                "--seconds", "60", "p2p"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds_until("the broker listens", lambda: listens(port))
    process.terminate()
    equal(process.wait(30), 1)
    seconds_until("the broker has gone", lambda: not listens(port))


@test
def brokers_that_do_not_start_or_end_too_early_are_said(t):
    for command, port in (("false", free_port()), ("sleep 0", t.broker.port)):
        done = call("--broker", f"it={command}@{port}", *SHORT, "--rounds", 1, "p2p")
        equal(done.returncode, 1, done.stdout)
        true("it" in done.stderr and "failed" in done.stdout, done.stdout + done.stderr)
    equal(call("--broker", "it=true", "p2p").returncode, 2)


@test
def links_are_measured(t):
    del t
    with Clusters() as c:
        ports, texts = links_of(["a", "b"])
        texts["b"] = texts["b"].replace("[limits]\n", "[limits]\nreceive_maximum = 5\n")
        brokers = [c.start(texts[n], *ports[n]) for n in ("a", "b")]
        linked(*brokers)
        far = ("--subscribe-at", f"127.0.0.1:{brokers[1].port}", "--settle", 0.5)
        pids = ("--pid", f"{brokers[0].pid},{brokers[1].pid}")
        for qos in (0, 1):
            is_clean(load(brokers[0].port, *far, *pids, "-n", 2, "--rate", 2000, "-q", qos, "link"))
            found = is_clean(load(brokers[0].port, *far, "-q", qos, "routes"))
            true(found["finished"] > 0, f"{found}")
        is_clean(load(brokers[0].port, *far, "-n", 2, "-q", 1, "request-response"))


run(text=CONFIG)
