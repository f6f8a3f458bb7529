/* core/mail/mailbox.c -- how one worker leaves work for another.
 *
 * A post writes into a ring and notes the target in the sender's own line; nothing is shared until
 * mail_flush, which commits the rings written since and sets one bit per ring in the receiver's
 * `pending`. The receiver takes the bits, then looks into those rings: a bit is set after its ring
 * was committed, so what a look misses has its bit still to come.
 *
 * Sleep. The sender: commit, set bit, read `asleep`. The receiver: set `asleep`, read the bits. All
 * four on bits and flag are sequentially consistent, so in their one order either the sender's bit
 * comes before the receiver's look (it stays awake) or the receiver's flag before the sender's look
 * (it is woken).
 *
 * Invariant: a ring that holds committed records has its bit in `pending`, or in the receiver's
 * `unfinished`, or its sender is between commit and setting it.
 */
#include "core/mail/mailbox.h"

#include "core/base/check.h"
#include "core/base/limits.h"

#define BIT(n) (1ull << (n))

_Static_assert(WORKERS_MAX <= 64, "a set of workers is one word");

struct sender {
    /* the worker writes and reads */
    _Alignas(CACHE_LINE) uint64_t posted[MAIL_KIND_COUNT]; /* targets since the last flush */
};

struct receiver {
    /* every sender writes */ _Alignas(CACHE_LINE) _Atomic uint64_t pending[MAIL_KIND_COUNT];
    /* the worker writes, senders read */ _Alignas(CACHE_LINE) _Atomic uint32_t asleep;
    /* the worker writes and reads */
    _Alignas(CACHE_LINE) uint64_t unfinished[MAIL_KIND_COUNT]; /* rings known not to be empty */
    uint32_t begin;                                            /* the sender to begin with */
};

struct mail {
    /* nobody writes */
    uint32_t workers;
    uint8_t *heads; /* of all rings: to, kind, from */
    uint8_t *cells; /* memory of all rings */
    struct sender sender[WORKERS_MAX];
    struct receiver receiver[WORKERS_MAX];
};

/* The rings of one receiver and kind lie side by side, as they are drained. */
static struct spsc *ring_of(const struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind)
{
    size_t idx = ((size_t)to * MAIL_KIND_COUNT + kind) * m->workers + from;

    return (void *)(m->heads + idx * SPSC_HEAD_BYTES);
}

void mail_default_sizes(uint32_t workers, uint32_t ring_bytes[MAIL_KIND_COUNT])
{
    static const uint32_t largest[MAIL_KIND_COUNT] = {256u << 10, 128u << 10, 64u << 10,
                                                      128u << 10};
    static const uint32_t smallest[MAIL_KIND_COUNT] = {8u << 10, 8u << 10, 4u << 10, 8u << 10};
    const uint64_t total_max = 64ull << 20;
    bool is_smaller = true;

    memcpy(ring_bytes, largest, sizeof largest);
    while (is_smaller) {
        uint64_t pair = 0;

        for (int k = 0; k < MAIL_KIND_COUNT; k++)
            pair += ring_bytes[k];
        if (pair * workers * workers <= total_max)
            return;
        is_smaller = false;
        for (int k = 0; k < MAIL_KIND_COUNT; k++) {
            if (ring_bytes[k] > smallest[k]) {
                ring_bytes[k] /= 2;
                is_smaller = true;
            }
        }
    }
}

static void place_rings(struct mail *m, const uint32_t ring_bytes[MAIL_KIND_COUNT])
{
    uint8_t *cells = m->cells;

    for (uint32_t to = 0; to < m->workers; to++) {
        for (int k = 0; k < MAIL_KIND_COUNT; k++) {
            for (uint32_t from = 0; from < m->workers; from++) {
                spsc_place(ring_of(m, from, to, (enum mail_kind)k), cells, ring_bytes[k]);
                cells += ring_bytes[k];
            }
        }
    }
}

struct mail *mail_create(uint32_t workers, const uint32_t ring_bytes[MAIL_KIND_COUNT])
{
    size_t pairs = (size_t)workers * workers;
    struct mail *m = aligned_alloc(CACHE_LINE, sizeof *m);
    size_t pair_bytes = 0;

    CHECK(workers >= 1 && workers <= WORKERS_MAX);
    for (int k = 0; k < MAIL_KIND_COUNT; k++)
        pair_bytes += ring_bytes[k];
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    m->workers = workers;
    m->heads = aligned_alloc(CACHE_LINE, pairs * MAIL_KIND_COUNT * SPSC_HEAD_BYTES);
    m->cells = calloc(pairs, pair_bytes); /* one block: fresh pages are not touched */
    if (!m->heads || !m->cells) {
        mail_destroy(m);
        return NULL;
    }
    place_rings(m, ring_bytes);
    return m;
}

void mail_destroy(struct mail *m)
{
    if (!m)
        return;
    free(m->heads);
    free(m->cells);
    free(m);
}

void mail_start_at(struct mail *m, uint64_t position)
{
    for (uint32_t i = 0; i < m->workers * m->workers * MAIL_KIND_COUNT; i++)
        spsc_start_at((void *)(m->heads + (size_t)i * SPSC_HEAD_BYTES), position);
}

uint32_t mail_record_max(const struct mail *m, enum mail_kind kind)
{
    return spsc_record_max(ring_of(m, 0, 0, kind));
}

void *mail_post(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t bytes)
{
    void *record;

    CHECK(from < m->workers && to < m->workers);
    record = spsc_reserve(ring_of(m, from, to, kind), bytes);
    if (record)
        m->sender[from].posted[kind] |= BIT(to);
    return record;
}

bool mail_room(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t bytes)
{
    return mail_room_for(m, from, to, kind, 1, bytes);
}

bool mail_room_for(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t count,
                   uint32_t bytes)
{
    CHECK(from < m->workers && to < m->workers);
    return spsc_room(ring_of(m, from, to, kind), count, bytes);
}

void mail_show(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind)
{
    CHECK(from < m->workers && to < m->workers);
    spsc_commit(ring_of(m, from, to, kind));
}

/* Shows the posts of one kind to `to`; true when it may be asleep. */
static bool show(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind)
{
    struct receiver *r = &m->receiver[to];

    spsc_commit(ring_of(m, from, to, kind));
    /* Pairs with exchange_seq_cst in take_pending and load_seq_cst in has_mail: ring, then bit. */
    or_seq_cst(&r->pending[kind], BIT(from));
    /* Pairs with store_seq_cst in mail_sleep: our bit first, then the look. */
    return load_seq_cst(&r->asleep);
}

uint64_t mail_flush(struct mail *m, uint32_t from)
{
    uint64_t *posted = m->sender[from].posted;
    uint64_t wake = 0;

    CHECK(from < m->workers);
    for (int k = 0; k < MAIL_KIND_COUNT; k++) {
        for (; posted[k]; posted[k] &= posted[k] - 1) {
            uint32_t to = (uint32_t)__builtin_ctzll(posted[k]);

            if (show(m, from, to, (enum mail_kind)k))
                wake |= BIT(to);
        }
    }
    return wake;
}

/* The senders of whom there is mail of a kind. */
static uint64_t take_pending(struct receiver *r, enum mail_kind kind)
{
    /* Nothing to take is the common case and needs no locked operation; a bit that comes just now
     * is found by the next drain, or by has_mail before any sleep. */
    if (load_relaxed(&r->pending[kind]) == 0)
        return 0;
    return exchange_seq_cst(&r->pending[kind], 0); /* pairs with or_seq_cst in show */
}

struct drain {
    mail_handler *handle;
    void *owner;
    uint32_t budget;
};

/* Handles at most budget records of one ring; true when some are left. */
static bool drain_ring(struct spsc *q, const struct drain *d, uint32_t from, enum mail_kind kind)
{
    uint32_t bytes;
    void *record;

    for (uint32_t n = 0; (record = spsc_peek(q, &bytes)) != NULL; n++) {
        if (n == d->budget || !d->handle(d->owner, from, kind, record, bytes))
            return true;
        spsc_pop(q);
    }
    return false;
}

/* Drains one kind from all senders in `todo`, beginning at `begin`; returns those not finished. */
static uint64_t drain_kind(const struct mail *m, uint32_t to, enum mail_kind kind, uint64_t todo,
                           const struct drain *d)
{
    uint32_t begin = m->receiver[to].begin;
    uint64_t below = todo & (BIT(begin) - 1);
    uint64_t left = 0;

    /* First those from `begin` on, then those below. */
    for (todo &= ~below; todo | below; todo &= todo - 1) {
        uint32_t from;

        if (!todo) {
            todo = below;
            below = 0;
        }
        from = (uint32_t)__builtin_ctzll(todo);
        if (drain_ring(ring_of(m, from, to, kind), d, from, kind))
            left |= BIT(from);
    }
    return left;
}

bool mail_drain(struct mail *m, uint32_t to, mail_handler *handle, void *owner, uint32_t budget)
{
    struct receiver *r = &m->receiver[to];
    struct drain d = {handle, owner, budget};
    uint64_t left = 0;

    CHECK(to < m->workers);
    for (int k = 0; k < MAIL_KIND_COUNT; k++) {
        enum mail_kind kind = (enum mail_kind)k;
        uint64_t todo = r->unfinished[k] | take_pending(r, kind);

        if (todo)
            r->unfinished[k] = drain_kind(m, to, kind, todo, &d);
        left |= r->unfinished[k];
    }
    r->begin = (r->begin + 1) % m->workers;
    return left != 0;
}

static bool has_mail(const struct receiver *r)
{
    uint64_t any = 0;

    for (int k = 0; k < MAIL_KIND_COUNT; k++) /* load: pairs with or_seq_cst in show */
        any |= r->unfinished[k] | load_seq_cst(&r->pending[k]);
    return any != 0;
}

bool mail_sleep(struct mail *m, uint32_t to)
{
    struct receiver *r = &m->receiver[to];

    CHECK(to < m->workers);
    store_seq_cst(&r->asleep,
                  1); /* pairs with load_seq_cst in show: our flag first, then the look */
    if (!has_mail(r))
        return true;
    mail_awake(m, to);
    return false;
}

void mail_awake(struct mail *m, uint32_t to)
{
    store_relaxed(&m->receiver[to].asleep, 0); /* too late: one wake-up for nothing */
}

void mail_mark(const struct mail *m, uint32_t to, enum mail_kind kind, uint64_t *mark)
{
    for (uint32_t from = 0; from < m->workers; from++)
        mark[from] = spsc_mark(ring_of(m, from, to, kind));
}

bool mail_passed(const struct mail *m, uint32_t to, enum mail_kind kind, const uint64_t *mark)
{
    for (uint32_t from = 0; from < m->workers; from++) {
        if (!spsc_passed(ring_of(m, from, to, kind), mark[from]))
            return false;
    }
    return true;
}
