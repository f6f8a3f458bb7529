#!/usr/bin/python3
# tests/link/make_vectors.py -- golden vectors and captures as lines a C test can read.
"""Run by hand from the root of the tree after data/vectors.json or data/*.jsonl changed:

    tests/link/make_vectors.py

It writes tests/link/data/vectors.txt (one vector a line, columns separated by `|`) and the seeds of
tests/fuzz/corpus/{etf,emqx}. The meaning of each payload is found by the small term reader below,
which knows nothing of our C code, and is held against the terms that vectors.json gives.
"""
import json
import os
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Atom(str):
    pass


class Map(list):
    """Pairs, because a key may be a list."""


# ---------------------------------------------------------------------------------- terms ---

def term(b, i):
    def num(n):
        return int.from_bytes(b[i + 1:i + 1 + n], "big")

    def many(count, at):
        out = []
        for _ in range(count):
            v, at = term(b, at)
            out.append(v)
        return out, at

    tag = b[i]
    if tag == 97:
        return b[i + 1], i + 2
    if tag == 98:
        return int.from_bytes(b[i + 1:i + 5], "big", signed=True), i + 5
    if tag in (110, 111):
        w = 1 if tag == 110 else 4
        n, at = num(w), i + 1 + w
        v = int.from_bytes(b[at + 1:at + 1 + n], "little")
        return (-v if b[at] else v), at + 1 + n
    if tag in (119, 115):
        return Atom(b[i + 2:i + 2 + b[i + 1]].decode()), i + 2 + b[i + 1]
    if tag in (118, 100):
        return Atom(b[i + 3:i + 3 + num(2)].decode()), i + 3 + num(2)
    if tag == 109:
        return b[i + 5:i + 5 + num(4)], i + 5 + num(4)
    if tag in (104, 105):
        w = 1 if tag == 104 else 4
        v, at = many(num(w), i + 1 + w)
        return tuple(v), at
    if tag == 106:
        return [], i + 1
    if tag == 107:
        return list(b[i + 3:i + 3 + num(2)]), i + 3 + num(2)
    if tag == 108:
        v, at = many(num(4), i + 5)
        tail, at = term(b, at)
        assert tail == []
        return v, at
    if tag == 116:
        v, at = many(num(4) * 2, i + 5)
        return Map(zip(v[::2], v[1::2])), at
    raise ValueError("tag %d" % tag)


def plain(b):
    if b[1] == 80:
        body = zlib.decompress(b[6:])
        assert len(body) == int.from_bytes(b[2:6], "big")
        return bytes([131]) + body
    return b


def decode(b):
    b = plain(b)
    assert b[0] == 131
    return term(b, 1)[0]


def from_json(j):
    """A term as vectors.json notes it."""
    if isinstance(j, int):
        return j
    if isinstance(j, str):
        return j.encode()
    (kind, v), = j.items()
    if kind == "bin_hex":
        return bytes.fromhex(v)
    if kind == "atom":
        return Atom(v)
    if kind == "tuple":
        return tuple(from_json(x) for x in v)
    if kind == "list":
        return [from_json(x) for x in v]
    return Map((from_json(k), from_json(x)) for k, x in v)


def normal(t):
    """Maps in one order, so that two terms compare."""
    if isinstance(t, Map):
        return Map(sorted(((normal(k), normal(v)) for k, v in t), key=repr))
    if isinstance(t, tuple):
        return tuple(normal(x) for x in t)
    if isinstance(t, list):
        return [normal(x) for x in t]
    return t


# ------------------------------------------------------------------------------- meanings ---

def text(b):
    return b.decode() if isinstance(b, bytes) else str(b)


def control_meaning(t):
    m = {k: v for k, v in t}
    op = text(m[Atom("$op")])
    head = "%s actor=%s" % (op, text(m[10]))
    if op == "actor_init":
        return "%s inc=%d ver=%d target=%s" % (head, m[11], m[14], text(m[13]))
    if op == "actor_init_ack":
        ok = m[15] == Atom("ok")
        return "%s ver=%d %s need=%s" % (
            head, m[14], "ok" if ok else "refused:" + text(m[15][1]), m[16])
    if op == "heartbeat":
        return "%s inc=%d" % (head, m[11])
    ops = "".join(" +%s=%s" % (text(o[0]), text(o[1])) if len(o) == 2
                  else " -%s=%s" % (text(o[1]), text(o[2])) for o in m[12])
    assert op == "route" and all(len(o) == 2 or o[0] == 100 for o in m[12])
    return "%s inc=%d%s" % (head, m[11], ops)


def address(a):
    return bytes(a).hex() if len(a) == 4 else b"".join(x.to_bytes(2, "big") for x in a).hex()


def mqtt_block(p):
    def s(b):
        return len(b).to_bytes(2, "big") + b

    out = b""
    if "Payload-Format-Indicator" in p:
        out += bytes([1, p["Payload-Format-Indicator"]])
    for key, ident in (("Content-Type", 3), ("Response-Topic", 8), ("Correlation-Data", 9)):
        if key in p:
            out += bytes([ident]) + s(p[key])
    for name, value in p.get("User-Property", []):
        out += b"\x26" + s(name) + s(value)
    return out


def message_meaning(t):
    (_, ident, qos, sender, flags, headers, topic, payload, stamp, _) = t
    f = {k: v for k, v in flags}
    h = {str(k): v for k, v in headers}
    p = {str(k): v for k, v in h.get("properties", Map())}
    user = h.get("username")
    peer = h.get("peername")
    return " ".join([
        "message", "id=" + ident.hex(), "qos=%d" % qos,
        "from=%s%s" % ("atom:" if isinstance(sender, Atom) else "", text(sender)),
        "flags=" + "".join(n[0] for n in ("dup", "retain", "sys") if f.get(Atom(n)) == "true"),
        "ver=%d" % h.get("proto_ver", 0), "proto=" + str(h.get("protocol", "")),
        "user=" + (text(user) if isinstance(user, bytes) else "-"),
        "host=" + (address(h["peerhost"]) if "peerhost" in h else ""),
        "peer=" + ("%s:%d" % (address(peer[0]), peer[1]) if peer else ":0"),
        "topic=" + text(topic), "payload=" + bytes(payload).hex(), "ts=%d" % stamp,
        "expiry=" + str(p.get("Message-Expiry-Interval", "-")), "props=" + mqtt_block(p).hex()])


def meaning(t):
    return control_meaning(t) if isinstance(t, Map) else message_meaning(t)


# ---------------------------------------------------------------------------------- lines ---

def payload_lines(v):
    for section in ("control", "forwarded", "peer_made"):
        for e in v[section]:
            b = bytes.fromhex(e["payload_hex"])
            t = decode(b)
            if "term" in e:
                assert normal(t) == normal(from_json(e["term"])), e["name"]
            if e.get("payload_plain_hex"):
                assert e["payload_plain_hex"] == plain(b).hex()
            yield section, e["name"], b.hex(), plain(b).hex(), meaning(t)


# Where we judge otherwise than EMQX's decoder, and why.
OTHERWISE = {
    "route_topic_not_binary": "refused",   # EMQX fails one step later
    "msg_unknown_header_atom": "accepted",  # atoms are just names to us; a header may be unknown
}


def case_lines(v):
    for e in v["decoder_cases"]:
        result = OTHERWISE.get(e["name"], "accepted" if e["result"] == "accepted" else "refused")
        b = bytes.fromhex(e["payload_hex"])
        kind = "message" if e["decoder"] == "forwarded message" else "control"
        yield ("decoder", e["name"], b.hex(), kind,
               meaning(decode(b)) if result == "accepted" else "refused")


def topic_lines(v):
    for e in v["topic_intersection"]:
        both = e["intersection"]
        yield ("intersection", e["a"], e["b"], "!none" if both is None else both,
               str(int(e["a_subset_of_b"])), str(int(e["b_subset_of_a"])))
    for e in v["topic_union"]:
        yield "union", " ".join(e["set"]), " ".join(e["union"])
    for e in v["route_computation"]:
        yield ("routes", e["subscription"], " ".join(e["link_topics"]),
               " ".join(e["link_topics_union"]), " ".join(e["replicated"]))


TYPES = ("", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
         "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH")


def varint(b, i):
    v = shift = 0
    while True:
        v |= (b[i] & 127) << shift
        i, shift = i + 1, shift + 7
        if b[i - 1] < 128:
            return v, i


def packet_meaning(b):
    """Type; of a PUBLISH also QoS, topic and what the payload means."""
    name = TYPES[b[0] >> 4]
    _, i = varint(b, 1)
    if name != "PUBLISH":
        return name
    n = int.from_bytes(b[i:i + 2], "big")
    topic, i = b[i + 2:i + 2 + n], i + 2 + n
    qos = (b[0] >> 1) & 3
    i += 2 if qos else 0
    size, i = varint(b, i)
    return "PUBLISH qos=%d topic=%s %s" % (qos, text(topic), meaning(decode(b[i + size:])))


def capture_lines():
    for name in ("a_to_b", "b_to_a"):
        with open(os.path.join(HERE, "data", name + ".jsonl")) as f:
            for line in f:
                e = json.loads(line)
                if not e["h"]:  # one side closed
                    continue
                yield ("capture", "%s#%d" % (name, e["c"]), e["d"], e["h"],
                       packet_meaning(bytes.fromhex(e["h"])))


def seeds(v):
    """A few inputs of each shape; the fuzzers find the rest."""
    pick = {"control": ("actor_init_node", "actor_init_ack_bootstrap", "actor_init_nack_disabled",
                        "route_shared", "heartbeat_ps"),
            "forwarded": ("msg_all_props", "msg_will", "msg_internal"),
            "peer_made": ("peer_msg_minimal", "peer_msg_full_deflated", "peer_route",
                          "peer_ack_extra_key"),
            "decoder_cases": ("hb_inc_large_big", "msg_payload_string_ext")}
    for section, names in pick.items():
        for e in v[section]:
            if e["name"] in names:
                b = bytes.fromhex(e["payload_hex"])
                yield "emqx", e["name"], b
                yield "etf", e["name"], plain(b)


def main():
    with open(os.path.join(HERE, "data", "vectors.json")) as f:
        v = json.load(f)
    lines = [l for part in (payload_lines(v), case_lines(v), topic_lines(v), capture_lines())
             for l in part]
    lines += [("frame", e["name"], e["hex"]) for e in v["mqtt_frames"]]
    for e in v["client_ids"]:
        lines.append(("client_id", e["clientid"], e["sha1_first8"], "0", e["route_client_id"]))
        lines += [("client_id", e["clientid"], e["sha1_first8"], i.rsplit(":", 1)[1], i)
                  for i in e["msg_client_ids"]]
    assert not any("|" in c or "\n" in c for l in lines for c in l)
    with open(os.path.join(HERE, "data", "vectors.txt"), "w") as f:
        f.writelines("|".join(l) + "\n" for l in lines)
    for target, name, b in seeds(v):
        with open(os.path.join(ROOT, "tests", "fuzz", "corpus", target, name), "wb") as f:
            f.write(b)


if __name__ == "__main__":
    main()
