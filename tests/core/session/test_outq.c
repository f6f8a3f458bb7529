/* tests/core/session/test_outq.c -- the chain of chunks against a plain string of bytes. */
#include "core/session/outq.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "tests/support/test.h"

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* What the queue must hold: all that was appended, minus what was sent. */
struct plain {
    uint8_t *bytes;
    uint32_t count, capacity, sent;
};

static uint8_t *plain_room(struct plain *p, uint32_t n)
{
    if (p->count + n > p->capacity) {
        p->capacity = 2 * (p->count + n);
        p->bytes = realloc(p->bytes, p->capacity);
        assert_non_null(p->bytes);
    }
    p->count += n;
    return p->bytes + p->count - n;
}

static void append(struct outq *q, struct outq_pool *pool, struct plain *p, uint32_t n)
{
    uint8_t *to = outq_reserve(q, pool, n);
    uint8_t *same = plain_room(p, n);

    assert_non_null(to);
    for (uint32_t i = 0; i < n; i++)
        to[i] = same[i] = (uint8_t)(p->count + i * 7);
}

static struct message *a_message(uint64_t *waiting, uint32_t n)
{
    struct publish p = {.topic = BYTES_LIT("t")};
    uint8_t *payload = malloc(n);
    struct message *m;

    assert_non_null(payload);
    for (uint32_t i = 0; i < n; i++)
        payload[i] = (uint8_t)(i * 13);
    p.payload = bytes_of(payload, n);
    m = publish_message(&p, waiting);
    assert_non_null(m);
    free(payload);
    return m;
}

static void refer(struct outq *q, struct outq_pool *pool, struct plain *p, uint64_t *waiting,
                  uint32_t n)
{
    struct message *m = a_message(waiting, n);

    assert_true(outq_refer(q, pool, m, message_payload(m).p, n));
    bytes_put(plain_room(p, n), message_payload(m));
    message_release(m); /* the queue has its own reference */
}

/* The vectors must be the next bytes, without a gap. Returns how many bytes they cover. */
static uint32_t expect_front(const struct plain *p, const struct outq_vec *v, uint32_t n)
{
    uint32_t at = p->sent;

    for (uint32_t i = 0; i < n; i++) {
        assert_true(v[i].length > 0);
        assert_in_range(v[i].length, 1, p->count - at);
        assert_memory_equal(v[i].base, p->bytes + at, v[i].length);
        at += (uint32_t)v[i].length;
    }
    return at - p->sent;
}

static void mutate(struct outq *q, struct outq_pool *pool, struct plain *p, uint64_t *waiting,
                   uint64_t *seed)
{
    uint64_t what = draw(seed) % 100;

    if (what < 60)
        append(q, pool, p, 1 + (uint32_t)(draw(seed) % 300));
    else if (what < 70)
        append(q, pool, p, 1 + (uint32_t)(draw(seed) % 20000)); /* some larger than a chunk */
    else
        refer(q, pool, p, waiting, 1 + (uint32_t)(draw(seed) % 5000));
}

TEST(outq_sends_what_was_appended_whatever_the_cuts)
{
    uint64_t seed = 0x0a7c0001, waiting = 0;
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq q;

    print_message("seed 0x0a7c0001\n");
    outq_init(&q);
    for (uint32_t round = 0; round < 3000; round++) {
        struct outq_vec v[OUTQ_IOV_MAX];
        uint32_t n, cover, sent;

        for (uint64_t k = draw(&seed) % 4; k; k--)
            mutate(&q, &pool, &p, &waiting, &seed);
        n = outq_front(&q, v, 1 + (uint32_t)(draw(&seed) % OUTQ_IOV_MAX));
        cover = expect_front(&p, v, n);
        assert_int_equal(n == 0, q.bytes == 0);
        for (uint64_t k = draw(&seed) % 3; k; k--)
            mutate(&q, &pool, &p, &waiting, &seed);
        assert_int_equal(expect_front(&p, v, n), cover); /* lent to the kernel all the time */
        sent = cover ? (uint32_t)(draw(&seed) % (cover + 1)) : 0;
        outq_sent(&q, &pool, sent);
        p.sent += sent;
        assert_int_equal(q.bytes, p.count - p.sent);
    }
    outq_fini(&q, &pool);
    assert_int_equal(waiting, 0);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_that_is_idle_owns_nothing)
{
    struct outq_pool pool = {0};
    struct outq_vec v[2];
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    assert_int_equal(outq_front(&q, v, 2), 0);
    append(&q, &pool, &p, 10);
    outq_sent(&q, &pool, 10);
    assert_null(q.head);
    assert_null(q.tail);
    assert_int_equal(q.bytes, 0);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_batches_small_packets_into_one_vector)
{
    struct outq_pool pool = {0};
    struct outq_vec v[4];
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 100; i++)
        append(&q, &pool, &p, 50);
    assert_int_equal(outq_front(&q, v, 4), 1);
    assert_int_equal(v[0].length, 5000);
    outq_sent(&q, &pool, 1);
    assert_int_equal(outq_front(&q, v, 4), 1);
    assert_int_equal(v[0].length, 4999);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_gives_no_more_vectors_than_asked_for)
{
    struct outq_pool pool = {0};
    struct outq_vec v[200];
    struct plain p = {0};
    uint64_t waiting = 0;
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 100; i++)
        refer(&q, &pool, &p, &waiting, 10);
    assert_int_equal(outq_front(&q, v, 1), 1);
    assert_int_equal(outq_front(&q, v, OUTQ_IOV_MAX), OUTQ_IOV_MAX);
    assert_int_equal(outq_front(&q, v, 200), 100);
    outq_fini(&q, &pool);
    assert_int_equal(waiting, 0);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_holds_a_message_until_its_last_byte_left)
{
    struct outq_pool pool = {0};
    uint64_t waiting = 0;
    struct message *m = a_message(&waiting, 2000);
    uint64_t one = waiting;
    struct outq q;

    outq_init(&q);
    assert_true(outq_refer(&q, &pool, m, message_payload(m).p, 2000));
    assert_int_equal(m->refs, 2);
    message_release(m);
    outq_sent(&q, &pool, 1999);
    assert_int_equal(waiting, one);
    outq_sent(&q, &pool, 1);
    assert_int_equal(waiting, 0);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
}

TEST(outq_may_refer_to_a_part_of_a_message_more_than_once)
{
    struct outq_pool pool = {0};
    uint64_t waiting = 0;
    struct message *m = a_message(&waiting, 100);
    struct outq_vec v[4];
    struct outq q;

    outq_init(&q);
    assert_true(outq_refer(&q, &pool, m, message_payload(m).p + 10, 5));
    assert_true(outq_refer(&q, &pool, m, message_payload(m).p, 100));
    assert_int_equal(m->refs, 3);
    message_release(m);
    assert_int_equal(outq_front(&q, v, 4), 2);
    assert_ptr_equal(v[1].base, (const uint8_t *)v[0].base - 10);
    outq_sent(&q, &pool, 105);
    assert_int_equal(waiting, 0);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
}

TEST(outq_headers_of_many_references_share_a_chunk)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    uint64_t waiting = 0;
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 100; i++) {
        append(&q, &pool, &p, 20);
        refer(&q, &pool, &p, &waiting, 1024);
        append(&q, &pool, &p, 4);
    }
    assert_int_equal(pool.held_bytes, OUTQ_CHUNK_BYTES);
    outq_fini(&q, &pool);
    assert_int_equal(waiting, 0);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_in_the_middle_of_a_reference_lets_go_of_what_follows_too)
{
    struct outq_pool pool = {0};
    struct outq_vec v[4];
    struct plain p = {0};
    uint64_t waiting = 0;
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 3; i++)
        refer(&q, &pool, &p, &waiting, 1000);
    outq_sent(&q, &pool, 1500);
    p.sent = 1500;
    assert_int_equal(outq_front(&q, v, 4), 2);
    assert_int_equal(expect_front(&p, v, 2), 1500);
    outq_fini(&q, &pool);
    assert_int_equal(waiting, 0);
    outq_pool_fini(&pool);
    free(p.bytes);
}

/* ---- the pool ---- */

TEST(outq_takes_chunks_from_the_pool_again)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 100; i++) {
        append(&q, &pool, &p, 100);
        outq_sent(&q, &pool, 100);
    }
    assert_int_equal(pool.held_bytes, OUTQ_CHUNK_BYTES);
    assert_int_equal(pool.free_count, 1);
    append(&q, &pool, &p, OUTQ_CHUNK_BYTES);
    assert_int_equal(pool.free_count, 0);
    append(&q, &pool, &p, 1);
    assert_int_equal(pool.held_bytes, 2 * OUTQ_CHUNK_BYTES);
    outq_fini(&q, &pool);
    assert_int_equal(pool.free_count, 2);
    outq_pool_fini(&pool);
    assert_int_equal(pool.held_bytes, 0);
    free(p.bytes);
}

TEST(outq_pool_keeps_no_packet_larger_than_a_chunk)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    append(&q, &pool, &p, 100000);
    assert_int_equal(pool.held_bytes, 100000);
    outq_sent(&q, &pool, 100000);
    assert_int_equal(pool.held_bytes, 0);
    assert_int_equal(pool.free_count, 0);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_pool_is_bounded_after_a_burst)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    for (int i = 0; i < 600; i++)
        append(&q, &pool, &p, OUTQ_CHUNK_BYTES);
    assert_int_equal(pool.held_bytes, 600u * OUTQ_CHUNK_BYTES);
    outq_sent(&q, &pool, q.bytes);
    assert_int_equal(pool.held_bytes, (uint64_t)pool.free_count * OUTQ_CHUNK_BYTES);
    assert_in_range(pool.free_count, 1, 256);
    outq_pool_fini(&pool);
    free(p.bytes);
}

static void jump(const char *file, int line, const char *what)
{
    mock_assert(0, what, file, line);
}

TEST(outq_cannot_send_more_than_it_holds)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq q;

    outq_init(&q);
    append(&q, &pool, &p, 10);
    check_set_handler(jump);
    expect_assert_failure(outq_sent(&q, &pool, 11));
    check_set_handler(NULL);
    outq_fini(&q, &pool);
    outq_pool_fini(&pool);
    free(p.bytes);
}

TEST(outq_pool_knows_what_waits_in_all_its_queues)
{
    struct outq_pool pool = {0};
    struct plain p = {0};
    struct outq a, b;

    outq_init(&a);
    outq_init(&b);
    append(&a, &pool, &p, 100);
    append(&b, &pool, &p, 30);
    assert_int_equal(pool.queued_bytes, 0); /* nobody has counted yet */
    outq_count(&a, &pool);
    outq_count(&a, &pool);
    assert_int_equal(pool.queued_bytes, 100);
    append(&a, &pool, &p, 5);
    outq_sent(&a, &pool, 60);
    assert_int_equal(pool.queued_bytes, 45);
    outq_sent(&b, &pool, 10);
    assert_int_equal(pool.queued_bytes, 65);
    outq_fini(&a, &pool);
    assert_int_equal(pool.queued_bytes, 20);
    append(&b, &pool, &p, 7); /* never counted */
    outq_fini(&b, &pool);
    assert_int_equal(pool.queued_bytes, 0);
    outq_pool_fini(&pool);
    free(p.bytes);
}
