# tests/e2e/crowd.py -- thousands of clients that connect at once, in one thread, and one client
# that is connected already and measures what it notices of them, in a process of its own.

import base64
import hashlib
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time

from mqtt import PINGREQ, Client, connect, frame

MADE = {}  # (password, iterations) -> hash, which takes 70 ms
RESET = struct.pack("ii", 1, 0)


def may_open(files):
    """Raises this process's limit of open files; whether it is enough now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
    return min(files, hard) == files


def password_line(user, password, iterations):
    """A line of a password file; the salt is always the same."""
    salt = bytes(range(12))
    key = password, iterations
    if key not in MADE:
        MADE[key] = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, 64)
    return (f"{user}:$7${iterations}${base64.b64encode(salt).decode()}$"
            f"{base64.b64encode(MADE[key]).decode()}\n")


def hashing_seconds(broker):
    """CPU time of the broker's threads that compute hashes."""
    nanoseconds = 0
    for thread in os.listdir(f"/proc/{broker.pid}/task"):
        folder = f"/proc/{broker.pid}/task/{thread}/"
        with open(folder + "comm", encoding="ascii") as f:
            if f.read().strip() != "cw-auth":
                continue
        with open(folder + "schedstat", encoding="ascii") as f:
            nanoseconds += int(f.read().split()[0])
    return nanoseconds / 1e9


class Crowd:
    """Clients of MQTT 3.1.1, each with an id, a user and a password of its own."""

    def __init__(self, address, clients):
        self.address = address
        self.hellos = [connect(4, client_id, username=user, password=password, keepalive=600)
                       for client_id, user, password in clients]
        self.socks = {}  # descriptor -> socket, once it is in
        self.answers = {}  # return code of CONNACK, or a word -> how many

    def come(self, limit):
        """All connect at once; the seconds until the last one had its answer."""
        self.answers = {}
        waiting = {}
        epoll = select.epoll()
        began = time.monotonic()
        for i, hello in enumerate(self.hellos):
            s = socket.socket()
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            s.connect_ex(self.address)
            waiting[s.fileno()] = s, hello
            epoll.register(s, select.EPOLLOUT)
            if i % 64 == 63:
                self.turn(epoll, waiting, 0)
        while waiting and time.monotonic() - began < limit:
            self.turn(epoll, waiting, 0.1)
        took = time.monotonic() - began
        epoll.close()
        if waiting:
            self.answers["none"] = len(waiting)
            for s, _ in waiting.values():
                s.close()
        return took

    def turn(self, epoll, waiting, timeout):
        for fd, events in epoll.poll(timeout, 1024):
            s, hello = waiting[fd]
            try:
                if events & select.EPOLLOUT:
                    s.send(hello)
                    epoll.modify(fd, select.EPOLLIN)
                    continue
                answer = s.recv(16)
                word = answer[3] if len(answer) >= 4 and answer[0] == 0x20 else "closed"
            except OSError as error:
                word = error.strerror
            self.answers[word] = self.answers.get(word, 0) + 1
            epoll.unregister(fd)
            del waiting[fd]
            if word == 0:
                self.socks[fd] = s
            else:
                s.close()

    def vanish(self):
        """All connections are reset, as when a network falls away."""
        for s in self.socks.values():
            s.close()
        self.socks = {}


class Watcher:
    """A client that is connected and asks for an answer every millisecond."""

    def __init__(self, address, user, password):
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), address[0], str(address[1]), user,
             password], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def since(self):
        """The seconds that each answer took since it was asked last, in order of length."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(x) for x in self.process.stdout.readline().split()]

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        return self.process.returncode


def watch(host, port, user, password):
    """The other process: `since` is a line to it, answered by a line."""
    c = Client((host, int(port)), 4)
    c.login("watcher", username=user, password=password)
    print("in", flush=True)
    took = []
    while True:
        if select.select([sys.stdin], [], [], 0.001)[0]:
            if not sys.stdin.readline():
                return
            print(*[f"{x:.6f}" for x in sorted(took)], flush=True)
            took = []
        began = time.monotonic()
        c.send(frame(PINGREQ, 0, b""))
        c.expect(13)
        took.append(time.monotonic() - began)


if __name__ == "__main__":
    watch(*sys.argv[1:])
