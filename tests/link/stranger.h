/* tests/link/stranger.h -- who calls a world's link worker and says that it is the cluster "beta",
 * with packets and frames made by hand.
 */
#ifndef TESTS_LINK_STRANGER_H
#define TESTS_LINK_STRANGER_H

#include "link/emqx.h"
#include "link/native.h"
#include "tests/link/worlds.h"

/* A connection to the link worker, as one with a LINK_PROPERTY is, before its CONNECT. */
static inline struct wire *wire_to_links(struct world *w)
{
    struct wire *k = wire_make();
    struct client *c;

    shard_begin_turn(shard_of(w, WORLD_LINKS), all.now_ms, all.wall_ms);
    c = client_open(shard_of(w, WORLD_LINKS), 0, "in memory", 2, w->admission, k);
    assert_non_null(c);
    w->admission = NULL;
    k->world[1] = w;
    k->home = WORLD_LINKS;
    k->stream[1] = client_stream(c);
    k->stream[1]->conn = k;
    k->is_opened = true;
    return k;
}

/* Its CONNECT. */
static inline void greet(struct wire *k, const char *id, uint32_t session_expiry)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = bytes_str(id),
                            .has_session_expiry = session_expiry > 0,
                            .session_expiry = session_expiry,
                            .user_property_name = BYTES_LIT(LINK_PROPERTY),
                            .user_property_value = BYTES_LIT("beta")};
    uint8_t b[512];

    wire_send(k, b, connect_put(b, &c));
    worlds_settle();
}

/* One that is let in. */
static inline struct wire *speaker(struct world *w, const char *id)
{
    struct wire *k = wire_to_links(w);

    greet(k, id, 0);
    assert_int_equal(wire_expect(k, PACKET_CONNACK)->connack.reason, 0);
    return k;
}

/* Sends a frame. */
static inline void put_frame(struct wire *k, struct bytes frame)
{
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/native/beta"), .payload = frame};

    wire_publish(k, &p);
}

/* Sends a frame without records or operations. */
static inline void put_control(struct wire *k, const struct native_frame *f)
{
    uint8_t b[NATIVE_CONTROL_BYTES_MAX];
    uint32_t n;

    assert_int_equal(native_frame_encode(f, b, sizeof(b), &n), OK);
    put_frame(k, bytes_of(b, n));
}

/* Sends an OPEN. */
static inline void put_open(struct wire *k, uint64_t boot)
{
    struct native_frame f = {.kind = NATIVE_OPEN, .boot = boot, .first = 1, .streams = 1};

    put_control(k, &f);
}

/* Sends an introduction to `target`; of `c` the abilities of the native dialect count. */
static inline void put_abilities(struct wire *k, const char *target, struct emqx_control c)
{
    uint8_t payload[256], props[256], *to = props;
    struct bytes response = BYTES_LIT("$LINK/cluster/resp/beta/1");
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/route/beta"), .packet_id = 3};
    uint32_t n;

    c.op = EMQX_ACTOR_INIT;
    c.actor = BYTES_LIT("1");
    c.incarnation = 7;
    c.version = c.native = 1;
    c.target = bytes_str(target);
    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    *to++ = 0x08;
    to = bytes_put(put_be16(to, (uint16_t)response.n), response);
    *to++ = 0x09;
    to = bytes_put(put_be16(to, 2), BYTES_LIT("xy"));
    p.props = bytes_of(props, (size_t)(to - props));
    p.payload = bytes_of(payload, n);
    wire_publish(k, &p);
}

/* The same, without abilities. */
static inline void put_introduction(struct wire *k, const char *target)
{
    put_abilities(k, target, (struct emqx_control){0});
}

/* Introduces itself to the world "alpha", which takes it. */
static inline void introduce_with(struct wire *k, struct emqx_control can)
{
    put_abilities(k, "alpha", can);
    worlds_settle();
    wire_expect(k, PACKET_PUBLISH);
}

/* The same, without abilities. */
static inline void introduce(struct wire *k)
{
    introduce_with(k, (struct emqx_control){0});
}

#endif
