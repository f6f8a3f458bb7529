# tests/e2e/test_unix.py -- clients that come by a Unix socket.

import os
import shutil
import socket
import stat
import subprocess
import tempfile

from broker import Broker, main
from mqtt import Client, equal, true

MOSQUITTO = shutil.which("mosquitto_sub") and shutil.which("mosquitto_pub")


class Local(Client):
    """A client by the Unix socket at `path`."""

    def __init__(self, path, version=5):
        real = socket.socket

        def unix(*_):
            return Unix(real(socket.AF_UNIX, socket.SOCK_STREAM))

        socket.socket = unix
        try:
            super().__init__((path, 0), version)
        finally:
            socket.socket = real


class Unix:
    """A Unix socket that takes what is said to a TCP one."""

    def __init__(self, sock):
        self.sock = sock

    def setsockopt(self, *_):
        pass

    def connect(self, address):
        self.sock.connect(address[0])

    def __getattr__(self, name):
        return getattr(self.sock, name)


def start(folder, more=""):
    path = os.path.join(folder, "mqtt.sock")
    return path, Broker(text=f"""[broker]
workers = 2
[listener tcp]
bind = 127.0.0.1:{{port}}
[listener local]
bind = unix:{path}
{more}
""")


def folder():
    return tempfile.mkdtemp(prefix="unix-", dir="/tmp")


def messages_cross_between_both_kinds_of_listener():
    place = folder()
    path, broker = start(place)
    for version in (3, 4, 5):
        local = Local(path, version).login(f"local{version}")
        remote = Client(broker.address, version).login(f"remote{version}")
        local.subscribe("to/local")
        remote.subscribe("to/remote")
        local.publish("to/remote", b"x" * 100000, 1)
        remote.publish("to/local", b"y", 1)
        equal(len(remote.message().payload), 100000)
        equal(local.message().payload, b"y")
        local.close()
        remote.close()
    line = broker.says("client connected", "local5")
    true(f"local pid={os.getpid()} uid={os.getuid()}" in line, line)
    broker.stop()
    equal(os.listdir(place), [], "what is left")
    os.rmdir(place)


def many_local_clients_find_their_homes():
    place = folder()
    path, broker = start(place)
    clients = [Local(path).login(f"n{i}") for i in range(20)]
    for c in clients:
        c.subscribe("all")
    clients[7].publish("all", b"x", 1)
    for c in clients:
        equal(c.message().payload, b"x")
        c.close()
    broker.stop()
    os.rmdir(place)


def a_killed_broker_is_followed_by_another():
    place = folder()
    path, broker = start(place, "socket_mode = 0600")
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
    broker.kill()
    true(os.path.exists(path), "the file is left behind")
    path, broker = start(place)
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o660)
    Local(path).login("a").ping()
    broker.stop()
    os.rmdir(place)


def two_brokers_cannot_have_one_socket():
    place = folder()
    path, broker = start(place)
    config = os.path.join(broker.folder, "second.ini")
    with open(config, "w", encoding="ascii") as f:
        f.write(f"[listener local]\nbind = unix:{path}\n")
    ended = subprocess.run([broker.program, "-c", config], capture_output=True, text=True,
                           timeout=20, check=False)
    equal(ended.returncode, 1)
    true("somebody listens on" in ended.stderr, ended.stderr)
    Local(path).login("a").ping()
    broker.stop()
    os.rmdir(place)


def mosquitto_clients_come_by_it():
    if not MOSQUITTO:
        return
    place = folder()
    path, broker = start(place)
    subprocess.run(["mosquitto_pub", "--unix", path, "-t", "m/t", "-m", "hello", "-q", "1", "-r"],
                   timeout=10, check=True)
    heard = subprocess.run(["mosquitto_sub", "--unix", path, "-t", "m/#", "-C", "1", "-W", "10"],
                           capture_output=True, text=True, timeout=20, check=True)
    equal(heard.stdout, "hello\n")
    broker.stop()
    os.rmdir(place)


main([messages_cross_between_both_kinds_of_listener, many_local_clients_find_their_homes,
      a_killed_broker_is_followed_by_another, two_brokers_cannot_have_one_socket,
      mosquitto_clients_come_by_it])
