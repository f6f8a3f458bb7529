/* tests/fuzz/fuzz_emqx.c -- payloads of any bytes, inflated, decoded, and encoded again: what was
 * understood must mean the same after the way through our encoder.
 */
#include "core/base/check.h"
#include "link/emqx.h"
#include "link/emqx_message.h"
#include "link/deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PLAIN_BYTES_MAX (1u << 18)

static uint8_t plain_bytes[PLAIN_BYTES_MAX], out_bytes[4 * PLAIN_BYTES_MAX];
static uint8_t props_bytes[2][PLAIN_BYTES_MAX];

static struct bytes encode_route(const struct emqx_control *c)
{
    struct emqx_ops ops = emqx_ops_begin(c);
    struct emqx_route_op op;
    struct emqx_batch b;

    CHECK(emqx_batch_begin(&b, c->actor, c->incarnation, UINT32_MAX, out_bytes,
                           sizeof(out_bytes)) == OK);
    while (emqx_ops_next(&ops, &op))
        CHECK(emqx_batch_add(&b, &op) == OK);
    return bytes_of(out_bytes, emqx_batch_end(&b));
}

static void check_control(const struct emqx_control *c)
{
    struct emqx_control d;
    struct bytes again;
    uint32_t n;

    if (c->op == EMQX_ROUTE) {
        again = encode_route(c);
    } else {
        CHECK(emqx_control_encode(c, out_bytes, sizeof(out_bytes), &n) == OK);
        again = bytes_of(out_bytes, n);
    }
    CHECK(emqx_control_decode(again, &d) == OK);
    CHECK(d.op == c->op && bytes_eq(d.actor, c->actor) && d.incarnation == c->incarnation);
    CHECK(bytes_eq(d.target, c->target) && d.version == c->version);
    CHECK(d.native == c->native && d.has_groups == c->has_groups);
    CHECK(d.deflates == c->deflates && d.transits == c->transits);
    CHECK(d.is_accepted == c->is_accepted && bytes_eq(d.reason, c->reason));
    CHECK(d.need_bootstrap == c->need_bootstrap);
    CHECK(d.add_count == c->add_count && d.delete_count == c->delete_count);
}

static void check_message(const struct emqx_message *m)
{
    struct emqx_message out = *m, d;
    uint8_t tail[EMQX_TAIL_BYTES], *at;
    uint32_t head, behind, n;

    out.properties = bytes_of(props_bytes[0], emqx_props_put(m, props_bytes[0]));
    CHECK(emqx_message_encode(&out, out_bytes, sizeof(out_bytes), &head, tail, &behind) == OK);
    at = bytes_put(bytes_put(out_bytes + head, m->payload), bytes_of(tail, behind));
    CHECK(emqx_message_decode(bytes_of(out_bytes, (size_t)(at - out_bytes)), &d) == OK);
    CHECK(bytes_eq(d.topic, m->topic) && bytes_eq(d.payload, m->payload) && d.qos == m->qos);
    CHECK(d.retain == m->retain && d.timestamp_ms == m->timestamp_ms && bytes_eq(d.id, m->id));
    CHECK(bytes_eq(d.from, m->from) && bytes_eq(d.username, m->username));
    CHECK(d.has_expiry == m->has_expiry && d.message_expiry == m->message_expiry);
    CHECK(d.peerhost.size == m->peerhost.size && d.peername.size == m->peername.size);
    n = emqx_props_put(&d, props_bytes[1]);
    CHECK(bytes_eq(bytes_of(props_bytes[1], n), out.properties));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct inflate *z;
    struct bytes plain = bytes_of(data, size), cluster, actor;
    struct emqx_control c;
    struct emqx_message m;
    uint32_t room;

    if (size > PLAIN_BYTES_MAX || (!z && !(z = inflate_create())))
        return 0;
    (void)emqx_topic_parse(plain, &cluster, &actor);
    if (inflate_room(plain, PLAIN_BYTES_MAX, &room) != OK)
        return 0;
    if (room > 0 && inflate_run(z, plain, plain_bytes, room, &plain) != OK)
        return 0;
    if (emqx_control_decode(plain, &c) == OK)
        check_control(&c);
    if (emqx_message_decode(plain, &m) == OK)
        check_message(&m);
    return 0;
}
