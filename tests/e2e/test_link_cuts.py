# tests/e2e/test_link_cuts.py -- native links under load while the path between them is cut, eats
# packets, is narrow, or forgets its connections: nothing is lost, nothing doubled, in order.

import time

import wan
from broker import FOREIGN_PORT, equal, main, seconds_until, true
from wan import Clusters, Networks, Path, cluster, count, linked, links_of, slow

if not FOREIGN_PORT:
    wan.enter()

SILENT = 3.5  # seconds within which a peer that is silent has been noticed
CUT = 10 if wan.SOAK else 4.5
RATE = 10000 if wan.SOAK else 2000  # messages a second in each direction
NARROW = 60 if wan.SOAK else 6  # seconds of full load on a narrow path


def far_apart(w):
    """Two clusters in two networks; links go by wan, clients by lan."""
    net = w.keep(Networks())
    here = w.start(cluster("here", ["10.77.1.1:1884", "127.0.0.1:1883"],
                           {"there": "10.77.1.2:1884"}), 1883)
    there = w.start(cluster("there", ["10.77.1.2:1884", "10.77.2.2:1883"],
                            {"here": "10.77.1.1:1884"}), 1883, within=net.within,
                    host="10.77.2.2")
    linked(here, there)
    return net, here, there


def noticed(cut, *brokers):
    """Each says within three seconds that its peer is dead; the cut lasts some longer."""
    before = {b: count(b, "link down") for b in brokers}
    cut()
    began = time.monotonic()
    for b in brokers:
        seconds_until("the cut is noticed", lambda b=b: count(b, "link down") > before[b],
                      2 * SILENT if b.is_sanitized else SILENT)
    time.sleep(max(0, began + CUT - time.monotonic()))


def under_load(w, here, there, qos, disturb, seconds):
    """Both directions are loaded, and meanwhile the path is disturbed."""
    rate = slow(here, RATE)
    window = 65535 if wan.SOAK else 20000  # more than is published while the path is cut
    loads = [w.load(a, b, qos, rate, seconds, window=window)
             for a, b in ((here, there), (there, here))]
    time.sleep(2)
    disturb()
    for load in loads:
        found = load.end()
        true(found["sent"] > rate * (seconds - 1), f"only {found['sent']} were sent")


def a_pulled_wire_loses_and_doubles_nothing():
    with Clusters() as w:
        net, here, there = far_apart(w)

        def disturb():
            noticed(net.cut, here, there)
            net.mend()

        for qos in (1, 2) if wan.SOAK else (1,):
            under_load(w, here, there, qos, disturb, CUT + 3)
            linked(here, there, times=qos + 1)


def packets_swallowed_in_one_direction_lose_and_double_nothing():
    with Clusters() as w:
        net, here, there = far_apart(w)

        def disturb():
            noticed(net.swallow, here, there)
            net.swallow_no_more()

        under_load(w, here, there, 2, disturb, CUT + 3)


def a_narrow_path_under_full_load_keeps_its_connections():
    with Clusters() as w:
        net, here, there = far_apart(w)
        net.narrow(20)
        before = count(here, "link down") + count(there, "link down")
        loads = [w.load(a, b, qos, 0, NARROW, size=1000, window=4000)
                 for a, b, qos in ((here, there, 1), (there, here, 0))]
        for load in loads:
            found = load.end()
            # 2.5 MB/s is the path; beyond the queues nothing may be faster, and not much slower.
            true(found["sent"] > 800 * NARROW, f"only {found['sent']} crossed: {found}")
        equal(count(here, "link down") + count(there, "link down"), before, "links that broke")


def by_paths(w):
    """Two clusters that reach each other by a path each."""
    paths = []

    def way(a, b, port):
        paths.append(w.keep(Path(port)))
        return paths[-1].port

    ports, texts = links_of(("here", "there"), way)
    here, there = [w.start(texts[n], *ports[n]) for n in ("here", "there")]
    linked(here, there)
    return paths, here, there


def what_was_taken_and_not_acknowledged_is_not_taken_again():
    with Clusters() as w:
        paths, here, there = by_paths(w)
        for qos in (1, 2):
            def disturb():
                for i in range(4):
                    # Acknowledgements do not come home, then the connection ends.
                    for how in ("mute", "reset", "pass"):
                        paths[i % 2].ask(how)
                        time.sleep(0.5 if how == "mute" else 0)
                    time.sleep(0.3)

            under_load(w, here, there, qos, disturb, 5)


def connections_forgotten_in_between_lose_and_double_nothing():
    with Clusters() as w:
        paths, here, there = by_paths(w)
        for qos in (1, 2):
            def disturb():
                for i in range(12):
                    paths[i % 2].ask("reset")
                    time.sleep(0.25)

            under_load(w, here, there, qos, disturb, 5)
            true(count(here, "link down") + count(there, "link down") > 3, "they were not broken")


if FOREIGN_PORT or not wan.have_networks():
    print("ok cuts_need_our_own_brokers_and_networks")
else:
    main([a_pulled_wire_loses_and_doubles_nothing,
          packets_swallowed_in_one_direction_lose_and_double_nothing,
          a_narrow_path_under_full_load_keeps_its_connections,
          connections_forgotten_in_between_lose_and_double_nothing,
          what_was_taken_and_not_acknowledged_is_not_taken_again])
