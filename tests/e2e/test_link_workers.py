# tests/e2e/test_link_workers.py -- links on several link workers, not as many on both sides: what is
# under way comes once and in order, also when connections are cut, and all of it is counted.

import time

from broker import equal, free_port, main, seconds_until, true
from wan import Clusters, Path, cluster, count, linked, slow

PAIRS = 12  # publishers, so that each stream has some


def two(w, here_workers, there_workers, called=False, ack="local"):
    """Two clusters that reach each other by a path each; `called`: there dials nobody."""
    ports = {n: (free_port(), free_port()) for n in ("here", "there")}
    paths = [w.keep(Path(ports[n][1])) for n in ("there", "here")]
    links = [{"there": {"server": f"127.0.0.1:{paths[0].port}", "ack": ack}},
             {"here": {"ack": ack} if called else
              {"server": f"127.0.0.1:{paths[1].port}", "ack": ack}}]
    texts = {}
    for i, (name, workers) in enumerate((("here", here_workers), ("there", there_workers))):
        text = cluster(name, [f"127.0.0.1:{p}" for p in ports[name]], links[i])
        texts[name] = text.replace("[broker]\n", f"link_workers = {workers}\n[broker]\n"
                                   "sys_interval = 1s\n")
    here, there = [w.start(texts[n], *ports[n]) for n in ("here", "there")]
    linked(here, there)
    return paths, here, there


def connections(broker, peer):
    """TCP connections that a broker has opened to the links of another."""
    wanted = f":{peer.port:04X}"
    with open(f"/proc/{broker.pid}/net/tcp", encoding="ascii") as f:
        return sum(line.split()[2].endswith(wanted) and line.split()[3] == "01"
                   for line in f.readlines()[1:])


def under_load(w, here, there, qos, disturb=None, seconds=4):
    rate = slow(here, 3000)
    loads = [w.load(here, there, qos, rate, seconds, pairs=PAIRS),
             w.load(there, here, qos, rate, seconds, pairs=PAIRS)]
    time.sleep(1.5)
    if disturb:
        disturb()
    for load in loads:
        found = load.end()
        true(found["sent"] > rate * (seconds - 1), f"only {found['sent']} were sent")


def each_link_worker_has_a_connection_for_messages():
    with Clusters() as w:
        paths, here, there = two(w, 2, 3)
        seconds_until("routes and two streams", lambda: connections(here, paths[0]) == 3, 5)
        seconds_until("routes and three streams", lambda: connections(there, paths[1]) == 4, 5)
        for qos in (0, 1, 2):
            under_load(w, here, there, qos, seconds=2)


def cuts_lose_double_and_disorder_nothing():
    with Clusters() as w:
        paths, here, there = two(w, 2, 3)
        for qos in (1, 2):
            def disturb():
                for i in range(4):
                    for how in ("mute", "reset", "pass"):
                        paths[i % 2].ask(how)
                        time.sleep(0.4 if how == "mute" else 0)
                    time.sleep(0.3)

            under_load(w, here, there, qos, disturb, 5)
        true(count(here, "link stream not connected") + count(there, "link stream not connected"),
             "no stream was cut")


def link_without_a_server_works_on_several_link_workers():
    with Clusters() as w:
        paths, here, there = two(w, 3, 2, called=True)

        def disturb():
            paths[0].ask("reset")
            paths[0].ask("pass")

        for qos in (1, 2):
            under_load(w, here, there, qos, disturb, 4)


def publishers_wait_for_the_remote_cluster_on_all_streams():
    with Clusters() as w:
        paths, here, there = two(w, 3, 2, ack="remote")

        def disturb():
            paths[0].ask("reset")
            paths[0].ask("pass")

        for qos in (1, 2):
            under_load(w, here, there, qos, disturb, 4)


def status_is_that_of_all_streams():
    with Clusters() as w:
        _, here, there = two(w, 3, 2)
        under_load(w, here, there, 1, seconds=2)
        time.sleep(1.5)  # it is said once a second
        watcher = w.subscribe(here, "$SYS/broker/links/there/#", 0)
        found = {}
        while not found.keys() >= {"state", "messages/out/sent", "messages/out/waiting",
                                   "messages/in/doubles"}:
            p = watcher.message()
            found[p.topic.split("/there/")[1]] = p.payload.decode()
        true(int(found["messages/out/sent"]) > 1000, f"{found}")
        equal(found["messages/out/waiting"], "0", "messages that wait")
        equal(found["messages/in/doubles"], "0", "doubles")
        equal(found["state"], "up", "state")


if __name__ == "__main__":
    main([each_link_worker_has_a_connection_for_messages, cuts_lose_double_and_disorder_nothing,
          link_without_a_server_works_on_several_link_workers,
          publishers_wait_for_the_remote_cluster_on_all_streams, status_is_that_of_all_streams])
