/* tests/link/test_packing.c -- compressed frames: when it pays, honest, broken and lying ones. */
#include "link/packing.h"

#include "tests/link/stranger.h"

/* ---- frames ---- */

/* A MESSAGES frame with one record of `count` bytes of payload, which repeat after `period` bytes
 * drawn from `seed`. Its size. */
static uint32_t make_frame(uint8_t *to, uint32_t count, uint32_t period, uint64_t seed)
{
    uint8_t payload[NATIVE_FRAME_BYTES];
    struct publish p = {.topic = BYTES_LIT("t/1"),
                        .payload = bytes_of(payload, count),
                        .stamp_ms = 1,
                        .protocol = 5,
                        .qos = 1};
    uint64_t held = 0;
    uint8_t *at;

    assert_true(count <= sizeof(payload));
    for (uint32_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        payload[i] = i < period ? (uint8_t)(seed >> 56) : payload[i - period];
    }
    assert_non_null(publish_message(&p, &held));
    at = native_messages_put_head(to, 1, 1);
    at = bytes_put(native_record_put_head(at, p.message, 0), p.payload);
    publish_fini(&p);
    return (uint32_t)(at - to);
}

/* Packs a frame, if it is to be. */
static struct bytes pack(struct packing *p, struct packer *k, uint32_t count, uint32_t period)
{
    static uint64_t seed;
    uint8_t *to = packing_room(p);
    uint32_t n;

    assert_non_null(to);
    n = make_frame(to, count, period, ++seed);
    return packer_wants(k, n) ? packing_pack(p, k, n) : bytes_of("", 0);
}

/* Takes a DEFLATED frame as it came. */
static enum err take(struct packing *p, struct bytes frame, struct native_frame *out)
{
    struct native_frame f;

    assert_int_equal(native_frame_decode(frame, &f), OK);
    assert_int_equal(f.kind, NATIVE_DEFLATED);
    return packing_take(p, &f, out);
}

TEST(frame_comes_out_as_it_went_in)
{
    uint8_t plain[NATIVE_FRAME_BYTES + 100];
    struct packing p;
    struct packer k = {0};

    packing_init(&p);
    for (uint32_t count = 200; count < NATIVE_FRAME_BYTES - 100; count = count * 3 / 2) {
        struct native_frame f;
        struct native_records walk;
        struct native_record r, same;
        uint32_t n = make_frame(plain, count, 50, count);
        struct bytes packed;

        memcpy(packing_room(&p), plain, n);
        assert_true(packer_wants(&k, n));
        packed = packing_pack(&p, &k, n);
        assert_in_range(packed.n, 1, n - 1);
        assert_int_equal(take(&p, packed, &f), OK);
        assert_int_equal(f.kind, NATIVE_MESSAGES);
        walk = native_records_begin(&f);
        assert_true(native_records_next(&walk, &r));
        assert_int_equal(native_frame_decode(bytes_of(plain, n), &f), OK);
        walk = native_records_begin(&f);
        assert_true(native_records_next(&walk, &same));
        assert_true(bytes_eq(r.payload, same.payload));
    }
    packing_fini(&p);
}

TEST(nothing_is_held_before_it_is_used)
{
    struct packing p;
    struct packer k = {0};

    packing_init(&p);
    assert_false(packer_wants(&k, PACKING_LEAST_BYTES - 1));
    assert_false(packer_wants(&k, NATIVE_FRAME_BYTES + 1));
    assert_null(p.deflate);
    assert_null(p.inflate);
    assert_null(p.in);
    assert_null(p.out);
    packing_fini(&p);
}

TEST(packing_goes_on_while_it_pays)
{
    struct packing p;
    struct packer k = {0};

    packing_init(&p);
    for (uint32_t i = 0; i < 3 * PACKING_ROUND; i++)
        assert_true(pack(&p, &k, 1000, 100).n > 0);
    assert_int_equal(k.frames, 3 * PACKING_ROUND);
    assert_in_range(k.saved, k.frames * 700, k.frames * 1000);
    packing_fini(&p);
}

TEST(packing_rests_when_it_does_not_pay_and_is_tried_again)
{
    struct packing p;
    struct packer k = {0};
    uint32_t packed = 0;

    packing_init(&p);
    for (uint32_t i = 0; i < PACKING_SAMPLE; i++)
        assert_int_equal(pack(&p, &k, 1000, 1000).n, 0); /* it would be larger */
    for (uint32_t i = 0; i < PACKING_REST; i++) {
        assert_false(packer_wants(&k, 1000));
        assert_false(packer_wants(&k, 10)); /* it counts for nothing */
    }
    for (uint32_t i = 0; i < PACKING_SAMPLE; i++)
        assert_true(pack(&p, &k, 1000, 100).n > 0);
    for (uint32_t i = 0; i < 2 * PACKING_ROUND; i++) /* it ends with its round */
        packed += packer_wants(&k, 1000) && pack(&p, &k, 1000, 1000).n > 0;
    assert_int_equal(packed, 0);
    assert_true(k.rest > 0);
    packing_fini(&p);
}

TEST(packing_rests_when_it_saves_less_than_a_quarter)
{
    struct packing p;
    struct packer k = {0};

    packing_init(&p);
    for (uint32_t i = 0; i < PACKING_SAMPLE; i++)
        assert_true(pack(&p, &k, 1000, 900).n > 0); /* a little smaller, and sent so */
    assert_int_equal(k.rest, PACKING_REST);
    packing_fini(&p);
}

/* ---- hostile frames ---- */

/* A DEFLATED frame that claims `claim` bytes, with a stream of these. Its size. */
static uint32_t make_claim(uint8_t *to, uint32_t claim, struct bytes plain)
{
    struct deflate *z = deflate_create();
    uint8_t *at = native_deflated_put_head(to, claim);
    uint32_t n;

    assert_non_null(z);
    n = deflate_run(z, plain, at, NATIVE_FRAME_BYTES);
    assert_true(n > 0);
    deflate_destroy(z);
    return (uint32_t)(at - to) + n;
}

TEST(frame_that_claims_too_much_is_refused_before_anything_is_done)
{
    static const uint64_t claims[] = {0,          NATIVE_FRAME_BYTES + 1, UINT32_MAX,
                                      1ull << 32, (1ull << 32) + 100,     UINT64_MAX};
    struct packing p;

    packing_init(&p);
    for (uint32_t i = 0; i < sizeof(claims) / sizeof(*claims); i++) {
        struct native_frame out, f = {.kind = NATIVE_DEFLATED, .count = claims[i]};

        assert_int_equal(packing_take(&p, &f, &out), ERR_PEER);
        assert_null(p.inflate);
        assert_null(p.in);
    }
    packing_fini(&p);
}

TEST(frame_that_is_not_what_it_claims_is_refused)
{
    static uint8_t plain[2 * NATIVE_FRAME_BYTES], b[2 * NATIVE_FRAME_BYTES];
    uint32_t n = make_frame(plain, 5000, 100, 1), size;
    struct native_frame out;
    struct packing p;

    packing_init(&p);
    size = make_claim(b, n, bytes_of(plain, n));
    assert_int_equal(take(&p, bytes_of(b, size), &out), OK);
    for (uint32_t cut = 1; cut < size - 4; cut += 7)
        assert_int_equal(take(&p, bytes_of(b, size - cut), &out), ERR_PEER);
    for (uint32_t at = 4; at < size; at += 3) { /* the checksum holds */
        b[at] ^= 0x41;
        assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
        b[at] ^= 0x41;
    }
    b[size] = 0; /* something behind it */
    assert_int_equal(take(&p, bytes_of(b, size + 1), &out), ERR_PEER);
    size = make_claim(b, n - 1, bytes_of(plain, n));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    size = make_claim(b, n + 1, bytes_of(plain, n));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    memset(plain, 0, sizeof(plain)); /* a bomb: it would be twice as much */
    size = make_claim(b, NATIVE_FRAME_BYTES, bytes_of(plain, sizeof(plain)));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    packing_fini(&p);
}

TEST(only_messages_come_compressed)
{
    static uint8_t plain[NATIVE_FRAME_BYTES], b[2 * NATIVE_FRAME_BYTES];
    struct native_frame out, open = {.kind = NATIVE_OPEN, .boot = 1, .first = 1};
    struct packing p;
    uint32_t n, size;

    packing_init(&p);
    assert_int_equal(native_frame_encode(&open, plain, sizeof(plain), &n), OK);
    size = make_claim(b, n, bytes_of(plain, n));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    memcpy(plain, b, size); /* one within another */
    n = size;
    size = make_claim(b, n, bytes_of(plain, n));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    size = make_claim(b, 5, BYTES_LIT("\x06zzzz"));
    assert_int_equal(take(&p, bytes_of(b, size), &out), ERR_PEER);
    packing_fini(&p);
}

/* ---- links ---- */

/* Alpha and beta, linked, with `compression` as said. */
struct pair {
    struct world *a, *b;
    struct wire *reader, *writer;
};

static struct pair pair(bool a_packs, bool b_packs)
{
    struct pair p = {.a = world_make("alpha", 1001), .b = world_make("beta", 1002)};

    world_link(p.a, "beta", 1002, "#")->compression = a_packs;
    world_link(p.b, "alpha", 1001, "#")->compression = b_packs;
    world_start(p.a);
    world_start(p.b);
    worlds_pass(1000);
    p.reader = client(p.b, "reader");
    subscribe(p.reader, "t", 1);
    worlds_settle();
    p.writer = client(p.a, "writer");
    return p;
}

/* Sends messages that can be compressed, and sees them arrive, once and in order. */
static void send_some(struct pair *p, uint32_t count)
{
    char payload[600];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(payload, sizeof(payload), "%04u %0500u", i, i);
        publish(p->writer, "t", payload, (uint8_t)(i & 1));
        expect_publish(p->reader, "t", payload);
    }
    worlds_settle();
    assert_null(wire_next(p->reader));
}

/* Bytes that compression has saved in all streams of a link. */
static uint64_t saved(struct world *w, const char *name)
{
    const struct peer *p = world_peer(w, name);

    return p->carrier.packer.saved + SPREAD_SUM(&p->spread, saved_bytes);
}

/* Of frames with one message of send_some each. */
#define LEAST_SAVED 300u

LINK_TEST_NATIVE(messages_go_compressed_where_both_sides_say_so)
{
    struct pair p = pair(true, true);
    struct wire *back;

    send_some(&p, 100);
    assert_true(saved(p.a, "beta") >= 100 * LEAST_SAVED);
    back = client(p.a, "back");
    subscribe(back, "t/back", 1);
    worlds_settle();
    p.reader = back;
    p.writer = client(p.b, "forth");
    for (uint32_t i = 0; i < 10; i++) {
        char payload[600];

        snprintf(payload, sizeof(payload), "%0500u", i);
        publish(p.writer, "t/back", payload, 1);
        expect_publish(back, "t/back", payload);
    }
    assert_true(saved(p.b, "alpha") >= 10 * LEAST_SAVED);
    worlds_end();
}

LINK_TEST_NATIVE(messages_go_as_they_are_where_one_side_does_not)
{
    for (int i = 0; i < 3; i++) {
        struct pair p = pair(i == 1, i == 2);

        send_some(&p, 20);
        assert_int_equal(saved(p.a, "beta"), 0);
        assert_false(world_peer(p.a, "beta")->carrier.packs);
        assert_false(world_peer(p.b, "alpha")->carrier.unpacks);
        worlds_end();
    }
}

TEST(emqx_is_never_sent_compressed_frames)
{
    struct pair p;

    worlds_dialect = DIALECT_EMQX;
    p = pair(true, true);
    send_some(&p, 20);
    assert_false(world_peer(p.a, "beta")->carrier.packs);
    worlds_dialect = DIALECT_AUTO;
    worlds_end();
}

/* Makes the links of a world what stands in its configuration. */
static void apply(struct world *w)
{
    const struct cfg_link *links[LINKS_MAX] = {&w->cfg.links[0]};

    for (uint32_t i = 0; i < w->link_workers; i++) {
        shard_begin_turn(shard_of(w, WORLD_LINKS + i), all.now_ms, all.wall_ms);
        assert_int_equal(hub_apply(w->hub[i], links), OK);
    }
    worlds_pass(3000);
}

LINK_TEST_NATIVE(compression_can_change_at_run_time)
{
    struct pair p = pair(true, false);
    uint64_t before;

    send_some(&p, 10);
    p.b->cfg.links[0].compression = true;
    apply(p.b);
    send_some(&p, 10);
    before = saved(p.a, "beta");
    assert_true(before >= 10 * LEAST_SAVED);
    p.b->cfg.links[0].compression = false;
    apply(p.b);
    send_some(&p, 10);
    assert_int_equal(saved(p.a, "beta"), before);
    p.b->cfg.links[0].compression = true;
    apply(p.b);
    p.a->cfg.links[0].compression = false;
    apply(p.a);
    send_some(&p, 10);
    assert_int_equal(saved(p.a, "beta"), before);
    assert_int_equal(WORLD_COUNT(p.b, link_unpack_faults), 0);
    worlds_end();
}

/* ---- a cluster that means harm ---- */

/* A world "alpha" that knows "beta", and a stranger who has said whether it deflates, and has
 * opened a stream. */
static struct wire *hostile(struct world **w, bool deflates)
{
    struct wire *k;

    worlds_dialect = DIALECT_AUTO;
    *w = world_make("alpha", 1001);
    world_link(*w, "beta", 3000, "t/#")->compression = true;
    world_start(*w);
    worlds_settle();
    k = speaker(*w, "evil");
    introduce_with(k, (struct emqx_control){.deflates = deflates});
    put_open(k, 1);
    worlds_settle();
    assert_non_null(k->stream[1]);
    return k;
}

static void send_frame(struct wire *k, struct bytes frame)
{
    put_frame(k, frame);
    worlds_settle();
}

TEST(honest_compressed_frame_of_a_stranger_is_taken)
{
    static uint8_t plain[NATIVE_FRAME_BYTES], b[NATIVE_FRAME_BYTES];
    uint32_t n = make_frame(plain, 5000, 100, 1);
    struct world *w;
    struct wire *k = hostile(&w, true);

    send_frame(k, bytes_of(b, make_claim(b, n, bytes_of(plain, n))));
    assert_non_null(k->stream[1]);
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 1);
    worlds_end();
}

TEST(bomb_closes_the_connection_and_is_counted)
{
    static uint8_t plain[2 * NATIVE_FRAME_BYTES], b[2 * NATIVE_FRAME_BYTES];

    for (int honest = 0; honest < 2; honest++) {
        struct world *w;
        struct wire *k = hostile(&w, true);
        uint32_t claim = honest ? sizeof(plain) : NATIVE_FRAME_BYTES;

        send_frame(k, bytes_of(b, make_claim(b, claim, bytes_of(plain, sizeof(plain)))));
        assert_null(k->stream[1]);
        assert_int_equal(WORLD_COUNT(w, link_unpack_faults), 1);
        assert_int_equal(WORLD_COUNT(w, link_messages_received), 0);
        worlds_end();
    }
}

TEST(compressed_frame_that_was_not_agreed_on_closes_the_connection)
{
    static uint8_t plain[NATIVE_FRAME_BYTES], b[NATIVE_FRAME_BYTES];
    uint32_t n = make_frame(plain, 5000, 100, 1);
    struct world *w;
    struct wire *k = hostile(&w, false);

    send_frame(k, bytes_of(b, make_claim(b, n, bytes_of(plain, n))));
    assert_null(k->stream[1]);
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 0);
    worlds_end();
}

TEST(max_rate_counts_what_a_compressed_frame_holds)
{
    static uint8_t plain[NATIVE_FRAME_BYTES], b[NATIVE_FRAME_BYTES];
    uint32_t n = make_frame(plain, 60000, 10, 1);
    struct world *w;
    struct wire *k = hostile(&w, true);
    uint32_t size = make_claim(b, n, bytes_of(plain, n));

    assert_true(size < 2000);
    world_peer(w, "beta")->bytes.per_s = 20000;
    send_frame(k, bytes_of(b, size));
    assert_non_null(k->stream[1]);
    assert_true(hold_is_on(&world_peer(w, "beta")->hold));
    worlds_end();
}

/* A MESSAGES frame of many records that say next to nothing, from number `first` on. Its size. */
static uint32_t make_many(uint8_t *to, uint64_t first, uint32_t count)
{
    static const uint8_t record[] = {0, 5, 1, 3, 't', '/', '1', 0, 0};
    uint8_t *at = native_messages_put_head(to, first, count);

    for (uint32_t i = 0; i < count; i++)
        at = bytes_put(at, bytes_of(record, sizeof(record)));
    assert_true((uint32_t)(at - to) <= NATIVE_FRAME_BYTES);
    return (uint32_t)(at - to);
}

TEST(what_is_unpacked_in_one_turn_has_a_bound_and_the_rest_comes_in_the_next)
{
    static uint8_t plain[NATIVE_FRAME_BYTES], b[NATIVE_FRAME_BYTES];
    const uint32_t frames = 4 * CARRIER_UNPACK_BYTES / NATIVE_FRAME_BYTES, records = 7000;
    struct world *w;
    struct wire *k = hostile(&w, true);
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/native/beta")};

    for (uint32_t i = 0; i < frames; i++) {
        uint32_t n = make_many(plain, 1 + i * records, records);

        p.payload = bytes_of(b, make_claim(b, n, bytes_of(plain, n)));
        assert_true(p.payload.n < 1000);
        wire_publish(k, &p);
    }
    turn(w, WORLD_LINKS);
    assert_in_range(WORLD_COUNT(w, link_messages_received), 1,
                    CARRIER_UNPACK_BYTES / NATIVE_FRAME_BYTES * 2 * records);
    worlds_settle();
    assert_non_null(k->stream[1]);
    assert_int_equal(WORLD_COUNT(w, link_messages_received), frames * records);
    worlds_end();
}
