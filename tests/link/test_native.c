/* tests/link/test_native.c -- frames of the native dialect: golden bytes, what is refused, and that
 * everything comes back as it went.
 */
#include "link/native.h"
#include "link/path.h"

#include "core/base/limits.h"
#include "tests/link/vectors.h"

static uint64_t held; /* bytes in messages: 0 at the end of each test, or something leaked */
static uint8_t room_bytes[1u << 17], filter_bytes[2][NATIVE_TEXT_BYTES_MAX];

/* A number of any size: all powers of two are as likely. */
static uint64_t draw_number(uint64_t *seed)
{
    uint64_t shift = draw(seed) % 65;

    return shift == 64 ? 0 : draw(seed) >> shift;
}

static enum err decode_hex(const char *hex, struct native_frame *f)
{
    static struct bytes b; /* what `f` views, until the next call */

    free_bytes(b);
    b = unhex(hex);
    return native_frame_decode(b, f);
}

static void check_control(const struct native_frame *f, const char *hex)
{
    struct bytes golden = unhex(hex);
    struct native_frame got;
    uint8_t b[NATIVE_CONTROL_BYTES_MAX];
    uint32_t size;

    assert_int_equal(native_frame_encode(f, b, sizeof(b), &size), OK);
    assert_true(bytes_eq(bytes_of(b, size), golden));
    assert_int_equal(native_frame_encode(f, b, size - 1, &size), ERR_FULL);
    assert_int_equal(size, golden.n);
    assert_int_equal(native_frame_decode(golden, &got), OK);
    assert_true(got.kind == f->kind && got.generation == f->generation);
    assert_true(got.question == f->question);
    assert_true(got.number == f->number && got.count == f->count && got.digest == f->digest);
    assert_true(got.is_end == f->is_end && got.wants_all == f->wants_all);
    assert_true(got.boot == f->boot && got.first == f->first && got.last == f->last);
    assert_true(got.incarnation == f->incarnation);
    assert_true(got.needs_all == f->needs_all && got.is_refused == f->is_refused);
    assert_true(got.window.bytes == f->window.bytes);
    assert_true(got.window.messages == f->window.messages);
    for (uint32_t n = 0; n < golden.n; n++)
        assert_int_equal(native_frame_decode(bytes_of(golden.p, n), &got), ERR_PEER);
    free_bytes(golden);
}

TEST(native_control_frames_are_those_bytes)
{
    struct native_frame beat = {.kind = NATIVE_BEAT,
                                .generation = 1,
                                .number = 300,
                                .count = 127,
                                .digest = 0x0102030405060708u,
                                .is_end = true};
    struct native_frame ack = {.kind = NATIVE_ROUTES_ACK, .generation = 128, .number = 0};
    struct native_frame end = {.kind = NATIVE_RETAINED_END, .question = 300, .number = 5};
    struct native_frame taken = {.kind = NATIVE_RETAINED_ACK, .question = 1, .number = 128};
    struct native_frame open = {
        .kind = NATIVE_OPEN, .boot = 0xfffefdfcfbfaf9f8u, .first = 1, .stream = 2, .streams = 3};
    struct native_frame hello = {.kind = NATIVE_HELLO, .incarnation = 300};
    struct native_frame welcome = {.kind = NATIVE_WELCOME, .incarnation = 300, .needs_all = true};
    struct native_frame opened = {.kind = NATIVE_OPENED,
                                  .boot = 9,
                                  .last = UINT64_MAX,
                                  .window = {.bytes = 1u << 20, .messages = 1000}};

    check_control(&beat, "02 01 ac02 7f 0102030405060708 01");
    beat.is_end = false;
    check_control(&beat, "02 01 ac02 7f 0102030405060708 00");
    check_control(&ack, "03 8001 00 00");
    ack.wants_all = true;
    check_control(&ack, "03 8001 00 01");
    check_control(&open, "04 fffefdfcfbfaf9f8 01 02 03");
    check_control(&hello, "08 ac02 00");
    hello.has_groups = true;
    check_control(&hello, "08 ac02 01");
    check_control(&welcome, "09 ac02 01");
    welcome.needs_all = false;
    welcome.is_refused = true;
    check_control(&welcome, "09 ac02 02");
    welcome.is_refused = false;
    welcome.has_groups = true;
    check_control(&welcome, "09 ac02 04");
    check_control(&opened, "05 0000000000000009 ffffffffffffffffff01 808040 e807 00");
    check_control(&end, "0c ac02 05");
    check_control(&taken, "0d 01 8001");
    opened.kind = NATIVE_ACK;
    opened.last = 0;
    opened.stream = 63;
    check_control(&opened, "07 0000000000000009 00 808040 e807 3f");
}

TEST(native_largest_control_frames_fit_their_bound)
{
    struct native_frame f = {.generation = UINT64_MAX,
                             .number = UINT64_MAX,
                             .question = UINT64_MAX,
                             .count = UINT64_MAX,
                             .first = UINT64_MAX,
                             .last = UINT64_MAX,
                             .incarnation = UINT64_MAX,
                             .stream = UINT32_MAX,
                             .streams = UINT32_MAX,
                             .window = {UINT64_MAX, UINT64_MAX}};
    uint8_t b[NATIVE_CONTROL_BYTES_MAX];
    uint32_t size;

    for (int k = NATIVE_BEAT; k < NATIVE_KIND_COUNT; k++) {
        f.kind = (enum native_kind)k;
        if (f.kind < NATIVE_MESSAGES || f.kind == NATIVE_ACK ||
            (f.kind > NATIVE_RETAINED && f.kind != NATIVE_DEFLATED))
            assert_int_equal(native_frame_encode(&f, b, sizeof(b), &size), OK);
    }
}

TEST(native_deflated_frames_are_a_size_and_a_stream)
{
    uint8_t b[NATIVE_DEFLATED_HEAD_BYTES];
    struct native_frame f;

    assert_int_equal(decode_hex("0e 8202 789c", &f), OK);
    assert_int_equal(f.kind, NATIVE_DEFLATED);
    assert_int_equal(f.count, 258);
    assert_true(bytes_eq(f.body, BYTES_LIT("\x78\x9c")));
    assert_int_equal(native_deflated_put_head(b, 258) - b, 3);
    assert_memory_equal(b, "\x0e\x82\x02", 3);
    assert_true(native_deflated_put_head(b, UINT32_MAX) - b <= NATIVE_DEFLATED_HEAD_BYTES);
    assert_int_equal(decode_hex("0e", &f), ERR_PEER);
    assert_int_equal(decode_hex("0e 80", &f), ERR_PEER);
}

TEST(native_numbers_need_not_be_short_but_must_fit)
{
    struct native_frame f;

    assert_int_equal(decode_hex("03 808000 8180808080808080 8000 00", &f), OK);
    assert_int_equal(f.generation, 0);
    assert_int_equal(f.number, 1);
    assert_int_equal(decode_hex("03 00 ffffffffffffffffff01 00", &f), OK);
    assert_true(f.number == UINT64_MAX);
    assert_int_equal(decode_hex("03 00 ffffffffffffffffff02 00", &f), ERR_PEER);
    assert_int_equal(decode_hex("03 00 8080808080808080808000 00", &f), ERR_PEER);
    assert_int_equal(decode_hex("03 00 80", &f), ERR_PEER);
}

TEST(native_frames_of_later_versions_are_passed_over)
{
    struct native_frame f;

    assert_int_equal(decode_hex("7f", &f), OK);
    assert_int_equal(f.kind, NATIVE_LATER);
    assert_int_equal(decode_hex("ffdeadbeef", &f), OK);
    assert_int_equal(f.kind, NATIVE_LATER);
    assert_int_equal(decode_hex("00", &f), OK);
    assert_int_equal(f.kind, NATIVE_LATER);
    assert_int_equal(native_frame_decode((struct bytes){0}, &f), ERR_PEER);
}

TEST(native_frames_that_are_not_right_are_refused)
{
    static const char *const wrong[] = {
        "0301 01 0000", /* a byte behind it */
        "0301 01 02",   /* an unknown flag */
        "0201 01 00 0000000000000000 03",
        "04 0000000000000001 00", /* first is 0 */
        "08 01 00 00",            /* a byte behind it */
        "08 01 02",               /* an unknown flag */
        "09 01 08",
        "01 01 01 01",                     /* an op is missing */
        "01 01 01 01 04 00 0161",          /* an unknown flag */
        "01 01 01 01 00 01 0161",          /* in common with nothing */
        "01 01 01 02 00 00 0161 00 02 00", /* with more than there is */
        "01 01 01 01 00 00 0261",          /* cut short */
        "01 01 01 00 00",                  /* a byte behind it */
        "01 01 01 ffffffffffffffffff01 00 00 0161",
        "06 01 00",                                       /* no record */
        "06 00 01 00 05 00 0161 00 00",                   /* first is 0 */
        "06 01 01 03 05 00 0161 00 00",                   /* QoS 3 */
        "06 01 01 40 05 00 0161 00 00",                   /* an unknown flag */
        "06 01 01 80 05 00 0161 00 00",                   /* a group without a filter */
        "06 01 01 80 05 00 01 61 01 0161 00 00",          /* the same, with hops */
        "06 01 01 80 05 00 03 2f2f61 01 0161 00 00",      /* no group before its filter */
        "06 01 01 80 05 00 02 672f 01 0161 00 00",        /* no filter behind its group */
        "06 01 01 80 05 00 03 672f61 00 0161 00 00",      /* it has crossed no link */
        "06 01 01 80 05 00 03 672f61 10 0161 00 00",      /* too many */
        "06 01 01 80 85 00 03 672f61 01 0161 0161 00 00", /* a group, and a way */
        "06 01 01 40 05 00 0000000000000001 0161 00 00",  /* a retained stamp of what is not */
        "06 01 01 44 05 00 0000000000000000 0161 00 00",  /* which is none */
        "0a 01 01 01 02 0161",                            /* an unknown flag */
        "0a 01 01 02 01 0161",                            /* a filter is missing */
        "0a 01 01 00 01 0161",                            /* a byte behind it */
        "0a 01 01 ffffffffffffffffff01 01",
        "0b 01 01 00", /* no record */
        "0b 01 01 02 00 05 00 0161 00 00",
        "0c 01",
        "0d 01 01 01",
        "06 01 01 00 06 00 0161 00 00", /* an unknown protocol */
        "06 01 01 00 02 00 0161 00 00",
        "06 01 01 08 05 00 00 0161 00 00",                /* expires in 0 s */
        "06 01 01 08 05 00 8080808010 0161 00 00",        /* in 2^32 s */
        "06 01 01 00 05 00 0161 00 00 00",                /* a byte behind it */
        "06 01 02 00 05 00 0161 00 00",                   /* a record is missing */
        "06 ffffffffffffffffff01 01 00 05 00 0161 00 00", /* beyond all numbers */
        "06 01 01 00 05 00 0161 00 ffffffffffffffffff01",
    };
    struct native_frame f;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (decode_hex(wrong[i], &f) != ERR_PEER)
            fail_msg("accepted: %s", wrong[i]);
    }
    assert_int_equal(decode_hex("06 01 01 00 05 00 0161 00 00", &f), OK);
}

TEST(native_frame_fits_the_packet_it_goes_in)
{
    assert_int_equal(native_frame_max(100, 20), 72);
    assert_int_equal(native_frame_max(28, 20), 0);
    assert_int_equal(native_frame_max(29, 20), 1);
    assert_int_equal(native_frame_max(0, 20), 0);
    assert_int_equal(native_frame_max(UINT32_MAX, 20), (1u << 28) - 1 - 2 - 20 - 1);
}

/* ---- routes ---- */

TEST(native_routes_are_those_bytes)
{
    static const char hex[] = "01 02 05 848000 00 00 03612f62 00 03 022f63 01 02 0123 00 00 0178";
    const struct native_op ops[] = {{.is_add = true, .filter = BYTES_LIT("a/b")},
                                    {.is_add = true, .filter = BYTES_LIT("a/b/c")},
                                    {.is_add = false, .filter = BYTES_LIT("a/#")},
                                    {.is_add = true, .filter = BYTES_LIT("x")}};
    struct bytes golden = unhex(hex);
    struct native_batch b;
    struct native_frame f;
    struct native_ops walk;
    struct native_op op;

    assert_int_equal(native_batch_begin(&b, 2, 5, filter_bytes[0], room_bytes, 100), OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(native_batch_add(&b, &ops[i]), OK);
    assert_true(bytes_eq(bytes_of(room_bytes, native_batch_end(&b)), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    assert_int_equal(f.kind, NATIVE_ROUTES);
    assert_int_equal(f.generation, 2);
    assert_int_equal(f.number, 5);
    assert_int_equal(f.count, 4);
    walk = native_ops_begin(&f, filter_bytes[1]);
    for (int i = 0; i < 4; i++) {
        assert_true(native_ops_next(&walk, &op));
        assert_int_equal(op.is_add, ops[i].is_add);
        assert_true(bytes_eq(op.filter, ops[i].filter));
    }
    assert_false(native_ops_next(&walk, &op));
    for (uint32_t n = 0; n < golden.n; n++)
        assert_int_equal(native_frame_decode(bytes_of(golden.p, n), &f), ERR_PEER);
    free_bytes(golden);
}

/* The n-th filter of a seed. */
static struct native_op an_op(uint64_t *seed, uint8_t *to)
{
    uint32_t n = 1 + (uint32_t)(draw(seed) % (draw(seed) % 50 ? 12 : NATIVE_TEXT_BYTES_MAX));

    memset(to, 'a', n);
    for (uint32_t i = 0; i < 3; i++)
        to[draw(seed) % n] = (uint8_t)('a' + draw(seed) % 3);
    return (struct native_op){.is_add = draw(seed) % 4 != 0,
                              .is_passing = draw(seed) % 4 == 0,
                              .filter = bytes_of(to, n)};
}

TEST(native_routes_come_back_whatever_the_filters_and_the_room)
{
    static uint8_t name[NATIVE_TEXT_BYTES_MAX];

    for (uint64_t first = 1; first <= 300; first++) {
        uint64_t seed = first, again;
        uint32_t room = 20 + (uint32_t)(draw(&seed) % (first % 2 ? 300 : sizeof(room_bytes) - 20));
        uint64_t generation = draw_number(&seed), number = draw_number(&seed);
        struct native_batch b;
        struct native_frame f;
        struct native_ops walk;
        struct native_op op;

        again = seed;
        if (native_batch_begin(&b, generation, number, filter_bytes[0], room_bytes, room) != OK) {
            assert_true(room < 24);
            continue;
        }
        do {
            op = an_op(&seed, name);
        } while (native_batch_add(&b, &op) == OK);
        assert_true(native_batch_end(&b) <= room);
        assert_int_equal(native_frame_decode(bytes_of(room_bytes, b.size), &f), OK);
        assert_true(f.generation == generation && f.number == number && f.count == b.count);
        walk = native_ops_begin(&f, filter_bytes[1]);
        while (native_ops_next(&walk, &op)) {
            struct native_op same = an_op(&again, name);

            assert_true(op.is_add == same.is_add && op.is_passing == same.is_passing);
            assert_true(bytes_eq(op.filter, same.filter));
        }
    }
}

TEST(native_passing_routes_are_those_bytes)
{
    static const char hex[] =
        "01 02 05 838000 00 00 0178 02 00 08 2462006100 2f692f 03 01 06 2161002f6923";
    const struct native_op ops[] = {
        {.is_add = true, .filter = BYTES_LIT("x")},
        {.is_add = true, .is_passing = true, .filter = BYTES_LIT("$b\0a\0/i/")},
        {.is_add = false, .is_passing = true, .filter = BYTES_LIT("$!a\0/i#")}};
    struct bytes golden = unhex(hex);
    struct route_text r;
    struct native_batch b;
    struct native_frame f;
    struct native_ops walk;
    struct native_op op;

    assert_int_equal(native_batch_begin(&b, 2, 5, filter_bytes[0], room_bytes, 100), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(native_batch_add(&b, &ops[i]), OK);
    assert_true(bytes_eq(bytes_of(room_bytes, native_batch_end(&b)), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    walk = native_ops_begin(&f, filter_bytes[1]);
    for (int i = 0; i < 3; i++) {
        assert_true(native_ops_next(&walk, &op));
        assert_true(op.is_add == ops[i].is_add && op.is_passing == ops[i].is_passing);
        assert_true(bytes_eq(op.filter, ops[i].filter));
        assert_int_equal(route_split(op.filter, &r), i > 0);
        assert_int_equal(r.is_away, i == 2);
    }
    assert_true(bytes_eq(r.path, BYTES_LIT("a\0")));
    assert_true(bytes_eq(r.filter, BYTES_LIT("i#")));
    free_bytes(golden);
    golden = unhex("01 02 05 01 04 00 0178"); /* a flag of a later version */
    assert_int_equal(native_frame_decode(golden, &f), ERR_PEER);
    free_bytes(golden);
}

TEST(native_thousand_routes_of_one_path_cost_little_more_than_without)
{
    static const char head[] = "$a-cluster-in-the-north\0a-cluster-in-the-south\0/";
    uint32_t size[2];

    for (uint32_t is_passing = 0; is_passing < 2; is_passing++) {
        struct native_batch b;

        assert_int_equal(
            native_batch_begin(&b, 1, 1, filter_bytes[0], room_bytes, sizeof(room_bytes)), OK);
        for (uint32_t i = 0; i < 1000; i++) {
            char text[100];
            uint32_t n = is_passing ? sizeof(head) - 1 : 0;
            struct native_op op = {.is_add = true, .is_passing = is_passing};

            memcpy(text, head, n);
            n += (uint32_t)sprintf(text + n, "devices/%04u/up", i);
            op.filter = bytes_of(text, n);
            assert_int_equal(native_batch_add(&b, &op), OK);
        }
        size[is_passing] = native_batch_end(&b);
    }
    assert_true(size[1] < size[0] + 100);
}

TEST(native_batch_says_when_not_even_its_head_fits)
{
    struct native_batch b;

    for (uint32_t room = 0; room < 7; room++)
        assert_int_equal(native_batch_begin(&b, 1, 128, filter_bytes[0], room_bytes, room),
                         ERR_FULL);
    assert_int_equal(native_batch_begin(&b, 1, 128, filter_bytes[0], room_bytes, 7), OK);
    assert_int_equal(native_batch_end(&b), 7);
}

/* The key is part of the protocol: these sums may never change. */
static uint8_t *put_varint(uint8_t *to, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

/* A ROUTES frame of `count` ops, the first with so many bytes, each other with `common` of it. */
static enum err decode_routes(uint32_t count, uint32_t first_bytes, uint32_t common)
{
    uint8_t *frame = calloc(1, first_bytes + 16 + 5 * (size_t)count), *to = frame;
    struct native_frame f;
    enum err err;

    assert_non_null(frame);
    *to++ = NATIVE_ROUTES;
    *to++ = 1; /* generation */
    *to++ = 1; /* number */
    to = put_varint(to, count);
    for (uint32_t i = 0; i < count; i++) {
        *to++ = 0; /* an add */
        to = put_varint(to, i ? common : 0);
        to = put_varint(to, i ? 0 : first_bytes);
        to += i ? 0 : first_bytes;
    }
    err = native_frame_decode(bytes_of(frame, (size_t)(to - frame)), &f);
    free(frame);
    return err;
}

TEST(native_routes_that_would_take_too_long_are_refused)
{
    assert_int_equal(decode_routes(NATIVE_OPS_MAX, 1, 1), OK);
    assert_int_equal(decode_routes(NATIVE_OPS_MAX + 1, 1, 1), ERR_PEER);
    assert_int_equal(decode_routes(16, 65535, 65535), OK);
    assert_int_equal(decode_routes(17, 65535, 65535), ERR_PEER);
    assert_int_equal(decode_routes(1, 65535, 0), OK);
}

TEST(native_batch_says_no_more_than_may_be_taken)
{
    static uint8_t filter[65535], before[NATIVE_TEXT_BYTES_MAX], to[128u << 10];
    struct native_op op = {.is_add = true, .filter = bytes_of(filter, sizeof(filter))};
    struct native_batch b;
    struct native_frame f;

    assert_int_equal(native_batch_begin(&b, 1, 1, before, to, sizeof(to)), OK);
    while (native_batch_add(&b, &op) == OK)
        ;
    assert_int_equal(b.count, 16);
    assert_int_equal(native_frame_decode(bytes_of(to, native_batch_end(&b)), &f), OK);
    op.filter = bytes_of(filter, 1);
    assert_int_equal(native_batch_begin(&b, 1, 1, before, to, sizeof(to)), OK);
    while (native_batch_add(&b, &op) == OK)
        ;
    assert_int_equal(b.count, NATIVE_OPS_MAX);
    assert_int_equal(native_frame_decode(bytes_of(to, native_batch_end(&b)), &f), OK);
}

/* A MESSAGES frame of that size with so many records. */
static enum err decode_messages(uint32_t bytes, uint32_t count)
{
    uint8_t *frame = calloc(1, bytes), *to = frame;
    struct native_frame f;
    enum err err;

    assert_non_null(frame);
    to = native_messages_put_head(to, 1, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t left = i + 1 < count ? 0 : bytes - (uint32_t)(to - frame) - 9;

        *to++ = 0; /* flags */
        *to++ = 5; /* protocol */
        *to++ = 0; /* stamp */
        to = put_varint(to, 1);
        *to++ = 't';
        *to++ = 0; /* properties */
        if (i + 1 < count) {
            *to++ = 0;
            continue;
        }
        for (uint32_t k = 0; k < 2; k++, left >>= 7)
            *to++ = (uint8_t)((left & 0x7F) | 0x80);
        *to++ = (uint8_t)left;
    }
    err = native_frame_decode(bytes_of(frame, bytes), &f);
    free(frame);
    return err;
}

TEST(native_messages_that_would_take_too_long_are_refused)
{
    assert_int_equal(decode_messages(NATIVE_FRAME_BYTES, 2), OK);
    assert_int_equal(decode_messages(NATIVE_FRAME_BYTES + 1, 2), ERR_PEER);
    assert_int_equal(decode_messages(NATIVE_FRAME_BYTES + 1, 1), OK);
}

TEST(native_digests_are_those_numbers)
{
    struct hash_key k = native_digest_key(1754550001000u, 3);

    assert_true(hash_bytes(&k, BYTES_LIT("a/b/c")) == 0xa4b41b44a68f29a5u);
    assert_true(hash_bytes(&k, BYTES_LIT("sensors/+/temperature/#")) == 0x53c5cf82b658ce01u);
    k = native_digest_key(1754550001000u, 4);
    assert_true(hash_bytes(&k, BYTES_LIT("a/b/c")) == 0xc63bf3e5886831bbu);
}

/* ---- messages ---- */

static struct message *message_of(struct publish *p)
{
    assert_non_null(publish_message(p, &held));
    return p->message;
}

/* Puts a record with its payload at `to`; checks the size. */
static uint8_t *put_record(uint8_t *to, const struct message *m, uint64_t now_ms)
{
    uint8_t *at = native_record_put_head(to, m, now_ms);

    assert_int_equal(at - to, native_record_head_bytes(m, now_ms));
    return bytes_put(at, message_payload(m));
}

static struct bytes frame_of(struct message *const *v, uint32_t count, uint64_t first,
                             uint64_t now_ms)
{
    uint8_t *at = native_messages_put_head(room_bytes, first, count);

    assert_int_equal(at - room_bytes, native_messages_head_bytes(first, count));
    for (uint32_t i = 0; i < count; i++)
        at = put_record(at, v[i], now_ms);
    assert_true((size_t)(at - room_bytes) <= sizeof(room_bytes));
    return bytes_of(room_bytes, (size_t)(at - room_bytes));
}

static void check_record(const struct native_record *r, const struct message *m)
{
    assert_int_equal(r->qos, m->qos);
    assert_int_equal(r->retain, m->retain);
    assert_int_equal(r->protocol, m->protocol);
    assert_int_equal(r->source, m->source);
    assert_true(r->stamp_ms == m->stamp_ms);
    assert_true(r->retained_stamp == (m->retain ? m->sequence : 0));
    assert_true(bytes_eq(r->topic, message_topic(m)));
    assert_true(bytes_eq(r->props, message_props(m)));
    assert_true(bytes_eq(r->payload, message_payload(m)));
    assert_true(bytes_eq(r->from_id, message_from_id(m)));
    assert_true(bytes_eq(r->from_user, message_from_user(m)));
    assert_true(bytes_eq(r->way, message_way(m)));
}

TEST(native_messages_are_those_bytes)
{
    /* QoS 2, retain, expiry, publisher and user, MQTT 5; then QoS 0 and MQTT 3.1.1 */
    static const char hex[] = "06 ac02 02 3e 05 e807 03 03612f62 0163 0175 020101 026869 "
                              "00 04 00 0174 00 00";
    struct publish p[2] = {{.topic = BYTES_LIT("a/b"),
                            .props = BYTES_LIT("\x01\x01"),
                            .payload = BYTES_LIT("hi"),
                            .expires_ms = 12600,
                            .stamp_ms = 1000,
                            .qos = 2,
                            .retain = true,
                            .protocol = 5,
                            .from_id = BYTES_LIT("c"),
                            .from_user = BYTES_LIT("u"),
                            .source = SOURCE_USER},
                           {.topic = BYTES_LIT("t"), .protocol = 4}};
    struct message *v[2] = {message_of(&p[0]), message_of(&p[1])};
    struct bytes golden = unhex(hex);
    struct native_records walk;
    struct native_record r;
    struct native_frame f;
    struct publish again;

    assert_true(bytes_eq(frame_of(v, 2, 300, 10000), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    assert_int_equal(f.kind, NATIVE_MESSAGES);
    assert_int_equal(f.first, 300);
    assert_int_equal(f.count, 2);
    walk = native_records_begin(&f);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(native_records_next(&walk, &r));
        assert_int_equal(r.sequence, 300 + i);
        assert_int_equal(r.expiry_s, i ? 0 : 3);
        assert_false(r.is_unfit);
        check_record(&r, v[i]);
        native_record_publish(&r, 50000, &again);
        assert_int_equal(again.expires_ms, i ? 0 : 53000);
        assert_true(again.from_link);
    }
    assert_false(native_records_next(&walk, &r));
    for (uint32_t n = 0; n < golden.n; n++)
        assert_int_equal(native_frame_decode(bytes_of(golden.p, n), &f), ERR_PEER);
    message_release(v[0]);
    message_release(v[1]);
    free_bytes(golden);
    assert_int_equal(held, 0);
}

TEST(native_messages_with_a_way_are_those_bytes)
{
    static const char hex[] = "06 01 01 31 85 07 0174 0163 0175 09 63006400 00 61006200 00 026869";
    static const char way[] = "c\0d\0\0a\0b";
    struct publish p = {.topic = BYTES_LIT("t"),
                        .payload = BYTES_LIT("hi"),
                        .stamp_ms = 7,
                        .qos = 1,
                        .protocol = 5,
                        .from_id = BYTES_LIT("c"),
                        .from_user = BYTES_LIT("u"),
                        .source = SOURCE_USER,
                        .way = bytes_of(way, sizeof(way))};
    struct message *m = message_of(&p);
    struct bytes golden = unhex(hex), targets, passed;
    struct native_records walk;
    struct native_record r;
    struct native_frame f;

    assert_int_equal(message_cost(m), sizeof(*m) + 1 + 1 + sizeof(way) + 1 + 2);
    assert_true(bytes_eq(frame_of(&m, 1, 1, 0), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    walk = native_records_begin(&f);
    assert_true(native_records_next(&walk, &r));
    assert_false(r.is_unfit);
    check_record(&r, m);
    assert_true(way_split(r.way, &targets, &passed));
    assert_true(bytes_eq(targets, BYTES_LIT("c\0d\0")));
    assert_true(bytes_eq(passed, BYTES_LIT("a\0b\0")));
    for (uint32_t n = 0; n < golden.n; n++)
        assert_int_equal(native_frame_decode(bytes_of(golden.p, n), &f), ERR_PEER);
    message_release(m);
    free_bytes(golden);
    golden = unhex("06 01 01 01 85 07 0174 00 00 00"); /* a way of no bytes */
    assert_int_equal(native_frame_decode(golden, &f), ERR_PEER);
    free_bytes(golden);
    assert_int_equal(held, 0);
}

TEST(native_ways_that_name_nobody_or_no_cluster_are_unfit)
{
    const struct {
        struct bytes way;
        bool is_one;
    } ways[] = {
        {BYTES_LIT("b\0\0a\0"), true},   {BYTES_LIT("b\0\0a"), false},
        {BYTES_LIT("\0a\0"), false},     {BYTES_LIT("\0\0a\0"), false},
        {BYTES_LIT("b\0\0"), false},     {BYTES_LIT("b\0"), false},
        {BYTES_LIT("b"), false},         {BYTES_LIT("b\0\0a\0\0"), false},
        {BYTES_LIT("b/\0\0a\0"), false}, {BYTES_LIT("-b\0\0a\0"), false},
        {BYTES_LIT("b\0\0+\0"), false},  {BYTES_LIT("b_-9\0Z\0\0a\0"), true},
    };

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct publish p = {.topic = BYTES_LIT("t"), .protocol = 5, .way = ways[i].way};
        struct message *m = message_of(&p);
        struct native_records walk;
        struct native_record r;
        struct native_frame f;

        assert_int_equal(native_frame_decode(frame_of(&m, 1, 1, 0), &f), OK);
        walk = native_records_begin(&f);
        assert_true(native_records_next(&walk, &r));
        assert_int_equal(!r.is_unfit, ways[i].is_one);
        message_release(m);
    }
    assert_int_equal(held, 0);
}

TEST(native_ways_are_bounded)
{
    uint8_t way[2 * PATH_TARGETS_MAX + 300], longest[255], *to = way;
    struct bytes targets, passed;

    for (uint32_t i = 0; i < PATH_TARGETS_MAX; i++)
        to = path_put(to, BYTES_LIT("b"));
    bytes_put(to, BYTES_LIT("\0a\0"));
    assert_true(way_split(bytes_of(way, (size_t)(to - way) + 3), &targets, &passed));
    to = path_put(to, BYTES_LIT("b"));
    bytes_put(to, BYTES_LIT("\0a\0"));
    assert_false(way_split(bytes_of(way, (size_t)(to - way) + 3), &targets, &passed));
    memset(longest, 'n', sizeof(longest));
    for (uint32_t n = 254; n <= 255; n++) {
        to = bytes_put(path_put(way, bytes_of(longest, n)), BYTES_LIT("\0a\0"));
        assert_int_equal(way_split(bytes_of(way, (size_t)(to - way)), &targets, &passed), n == 254);
    }
}

/* What it says of a moment in ms, looked at in that moment and at `now_ms`. */
static uint32_t expiry_at(uint64_t expires_ms, uint64_t now_ms)
{
    struct publish p = {.topic = BYTES_LIT("t"), .protocol = 5, .expires_ms = expires_ms};
    struct message *m = message_of(&p);
    struct native_records walk;
    struct native_record r;
    struct native_frame f;

    assert_int_equal(native_frame_decode(frame_of(&m, 1, 1, now_ms), &f), OK);
    walk = native_records_begin(&f);
    assert_true(native_records_next(&walk, &r));
    message_release(m);
    return r.expiry_s;
}

TEST(native_records_say_for_which_groups_they_are)
{
    /* for none; for h with a/+, over two links; for all */
    static const char hex[] = "06 01 03 80 05 00 00 03612f62 00 00 81 05 00 05 682f612f2b 02 "
                              "03612f62 00 00 00 05 00 03612f62 00 00";
    struct publish p[3] = {{.topic = BYTES_LIT("a/b"), .protocol = 5, .no_groups = true},
                           {.topic = BYTES_LIT("a/b"),
                            .protocol = 5,
                            .qos = 1,
                            .group = BYTES_LIT("h/a/+"),
                            .group_hops = 2},
                           {.topic = BYTES_LIT("a/b"), .protocol = 5}};
    struct message *v[3] = {message_of(&p[0]), message_of(&p[1]), message_of(&p[2])};
    struct native_records walk;
    struct native_record r[3];
    struct native_frame f;
    struct bytes golden = unhex(hex);
    struct publish again;

    assert_true(bytes_eq(frame_of(v, 3, 1, 0), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    walk = native_records_begin(&f);
    for (int i = 0; i < 3; i++) {
        assert_true(native_records_next(&walk, &r[i]));
        assert_false(r[i].is_unfit);
        native_record_publish(&r[i], 0, &again);
        assert_int_equal(again.no_groups, i == 0);
        assert_int_equal(again.group_hops, i == 1 ? 2 : 0);
        publish_fini(&p[i]);
    }
    assert_true(r[0].no_groups && r[0].group.n == 0 && !r[2].no_groups && r[2].group.n == 0);
    assert_true(bytes_eq(r[1].group, BYTES_LIT("h")) && bytes_eq(r[1].filter, BYTES_LIT("a/+")));
    free_bytes(golden);
}

TEST(native_record_for_a_group_that_cannot_be_is_unfit)
{
    static const char *const unfit[] = {
        "06 01 01 80 05 00 03 2b2f61 01 0161 00 00",     /* +/a: a wildcard in the group */
        "06 01 01 80 05 00 03 ff2f61 01 0161 00 00",     /* no UTF-8 */
        "06 01 01 80 05 00 05 672f232f61 01 0161 00 00", /* g/#/a: no filter */
        "06 01 01 80 05 00 03 672f62 01 0161 00 00",     /* g/b: the topic is a */
    };
    struct native_records walk;
    struct native_record r;
    struct native_frame f;

    for (size_t i = 0; i < sizeof(unfit) / sizeof(*unfit); i++) {
        assert_int_equal(decode_hex(unfit[i], &f), OK);
        walk = native_records_begin(&f);
        assert_true(native_records_next(&walk, &r));
        assert_true(r.is_unfit);
    }
}

TEST(native_expiry_travels_as_whole_seconds_left_and_at_least_one)
{
    assert_int_equal(expiry_at(0, 5000), 0);
    assert_int_equal(expiry_at(6000, 5000), 1);
    assert_int_equal(expiry_at(6001, 5000), 1); /* never more than there was */
    assert_int_equal(expiry_at(6499, 5000), 1);
    assert_int_equal(expiry_at(6500, 5000), 2);
    assert_int_equal(expiry_at(5001, 5000), 1);
    assert_int_equal(expiry_at(5000, 5000), 1);
    assert_int_equal(expiry_at(100, 5000), 1);
    assert_int_equal(expiry_at(5000 + 4294967295000u, 5000), UINT32_MAX);
    assert_int_equal(expiry_at(5000 + 4294967296000u, 5000), UINT32_MAX);
}

TEST(native_protocol_of_what_no_client_sent_is_mqtt_5)
{
    struct publish p = {.topic = BYTES_LIT("t")};
    struct message *m = message_of(&p);

    assert_int_equal(frame_of(&m, 1, 1, 0).p[4], 5);
    message_release(m);
}

static struct bytes draw_text(uint64_t *seed, uint8_t *to, uint32_t max)
{
    uint32_t n = (uint32_t)(draw_number(seed) % (max + 1));

    for (uint32_t i = 0; i < n; i++)
        to[i] = (uint8_t)('a' + draw(seed) % 26);
    return bytes_of(to, n);
}

static struct message *draw_message(uint64_t *seed)
{
    static uint8_t topic[300], props[16], payload[5000], id[300], user[300];
    struct publish p = {.payload = draw_text(seed, payload, sizeof(payload)),
                        .from_id = draw_text(seed, id, sizeof(id)),
                        .from_user = draw_text(seed, user, sizeof(user)),
                        .stamp_ms = draw_number(seed),
                        .sequence = draw_number(seed),
                        .expires_ms = draw(seed) % 2 ? 0 : 1 + draw(seed) % 100000,
                        .qos = (uint8_t)(draw(seed) % 3),
                        .retain = draw(seed) % 2,
                        .protocol = (uint8_t)(3 + draw(seed) % 3),
                        .source = (uint8_t)(draw(seed) % 3)};
    uint32_t user_property = (uint32_t)(draw(seed) % 2) * 7;

    if (p.source != SOURCE_USER)
        p.from_user = (struct bytes){0};
    p.topic = draw_text(seed, topic, sizeof(topic));
    if (p.topic.n == 0)
        p.topic = BYTES_LIT("t");
    memcpy(props, "\x26\x00\x01n\x00\x01v", 7);
    p.props = bytes_of(props, user_property);
    return message_of(&p);
}

TEST(native_messages_come_back_whatever_they_are)
{
    for (uint64_t first = 1; first <= 400; first++) {
        uint64_t seed = first, sequence = 1 + draw_number(&seed) / 2;
        uint32_t count = 1 + (uint32_t)(draw(&seed) % 20);
        struct message *v[20];
        struct native_frame f;
        struct native_records walk;
        struct native_record r;

        for (uint32_t i = 0; i < count; i++)
            v[i] = draw_message(&seed);
        assert_int_equal(native_frame_decode(frame_of(v, count, sequence, 50000), &f), OK);
        assert_int_equal(f.count, count);
        walk = native_records_begin(&f);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(native_records_next(&walk, &r));
            assert_true(r.sequence == sequence + i);
            assert_int_equal(r.expiry_s != 0, v[i]->expires_ms != 0);
            assert_false(r.is_unfit);
            check_record(&r, v[i]);
            message_release(v[i]);
        }
        assert_false(native_records_next(&walk, &r));
    }
    assert_int_equal(held, 0);
}

static bool is_unfit(const char *record_hex)
{
    char hex[256];
    struct native_records walk;
    struct native_record r;
    struct native_frame f;

    snprintf(hex, sizeof(hex), "060101%s", record_hex);
    assert_int_equal(decode_hex(hex, &f), OK);
    walk = native_records_begin(&f);
    assert_true(native_records_next(&walk, &r));
    return r.is_unfit;
}

TEST(native_records_that_mqtt_cannot_carry_are_marked_and_no_fault)
{
    assert_false(is_unfit("00 05 00 0161 00 00"));
    assert_true(is_unfit("00 05 00 00 00 00"));   /* no topic */
    assert_true(is_unfit("00 05 00 0123 00 00")); /* a wildcard */
    assert_true(is_unfit("00 05 00 01ff 00 00")); /* not UTF-8 */
    assert_false(is_unfit("00 05 00 0161 020101 00"));
    assert_true(is_unfit("00 05 00 0161 020102 00"));       /* a format that is none */
    assert_true(is_unfit("00 05 00 0161 0101 00"));         /* cut short */
    assert_true(is_unfit("00 05 00 0161 0401010100 00"));   /* twice */
    assert_true(is_unfit("00 05 00 0161 03230001 00"));     /* an alias does not travel */
    assert_true(is_unfit("00 05 00 0161 050200000001 00")); /* nor does an expiry */
    assert_false(is_unfit("20 05 00 0161 0163 00 00"));
    assert_true(is_unfit("20 05 00 0161 01ff 00 00")); /* a client id */
    assert_true(is_unfit("30 05 00 0161 0163 01ff 00 00"));
}

/* ---- retained messages ---- */

TEST(native_retained_messages_are_those_bytes)
{
    static const char hex[] = "0b ac02 03 02 44 05 e807 0102030405060708 0161 00 0178 "
                              "44 05 00 0000000000000001 0162 00 00";
    struct publish p[2] = {{.topic = BYTES_LIT("a"),
                            .payload = BYTES_LIT("x"),
                            .stamp_ms = 1000,
                            .sequence = 0x0102030405060708u,
                            .retain = true,
                            .protocol = 5},
                           {.topic = BYTES_LIT("b"), .sequence = 1, .retain = true, .protocol = 5}};
    struct message *v[2] = {message_of(&p[0]), message_of(&p[1])};
    uint8_t *at = native_retained_put_head(room_bytes, 300, 3, 2);
    struct bytes golden = unhex(hex);
    struct native_records walk;
    struct native_record r;
    struct native_frame f;
    struct publish again;

    assert_int_equal(at - room_bytes, native_retained_head_bytes(300, 3, 2));
    for (uint32_t i = 0; i < 2; i++)
        at = put_record(at, v[i], 0);
    assert_true(bytes_eq(bytes_of(room_bytes, (size_t)(at - room_bytes)), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    assert_true(f.kind == NATIVE_RETAINED && f.question == 300 && f.number == 3 && f.count == 2);
    walk = native_records_begin(&f);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(native_records_next(&walk, &r));
        check_record(&r, v[i]);
        native_record_publish(&r, 0, &again);
        assert_true(again.sequence == p[i].sequence && again.retain);
        publish_fini(&p[i]);
    }
    assert_false(native_records_next(&walk, &r));
    assert_int_equal(held, 0);
    free_bytes(golden);
}

TEST(native_question_for_retained_messages_goes_in_parts)
{
    const struct bytes filters[] = {BYTES_LIT("a/#"), BYTES_LIT("b"), BYTES_LIT("c/+")};
    struct bytes golden = unhex("0a ac02 01 03 01 03612f23 0162 03632f2b");
    struct bytes part = unhex("0a ac02 01 02 00 03612f23 0162");
    struct native_frame f;
    uint32_t taken, size;
    struct bytes left;

    size = native_retained_ask(300, 1, filters, 3, room_bytes, sizeof(room_bytes), &taken);
    assert_int_equal(taken, 3);
    assert_true(bytes_eq(bytes_of(room_bytes, size), golden));
    assert_int_equal(native_frame_decode(golden, &f), OK);
    assert_true(f.kind == NATIVE_RETAINED_ASK && f.question == 300 && f.number == 1 && f.is_end);
    assert_int_equal(f.count, 3);
    left = f.body;
    for (uint32_t i = 0; i < 3; i++)
        assert_true(bytes_eq(native_retained_filter(&left), filters[i]));
    assert_int_equal(left.n, 0);
    size = native_retained_ask(300, 1, filters, 3, room_bytes, golden.n - 1, &taken);
    assert_int_equal(taken, 2);
    assert_true(bytes_eq(bytes_of(room_bytes, size), part));
    assert_int_equal(native_frame_decode(part, &f), OK);
    assert_false(f.is_end);
    assert_int_equal(native_retained_ask(300, 1, filters, 3, room_bytes, 8, &taken), 0);
    free_bytes(golden);
    free_bytes(part);
}
