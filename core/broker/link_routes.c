/* core/broker/link_routes.c -- what remote clusters want of us, and when all of it is in force.
 *
 * A link is a destination by its number (DEST_LINK): of a filter that links want, a link worker
 * keeps nothing here. It collects additions and withdrawals in batches, one at a time for each
 * owner of a partition; a full one, and at the end of a turn every one, is given to its owner, who
 * does the operations in their order, so many in a turn, and gives the batch back as the answer.
 * Between the same two workers requests keep their order, so what is last asked for a filter is
 * what stands in the end, and nobody waits for an answer before asking again.
 *
 * A route is in force when the owner of its partition has answered. Owners answer in no order among
 * each other, and there may never be a moment without an open request. So open operations are
 * counted in two generations: new ones go into the younger, the older only shrinks, and once it is
 * empty the younger may become the older. Whoever asks by which generation all is in force that was
 * asked for so far closes the younger one, as soon as the older is empty, and waits for one or two
 * rounds, however many requests come meanwhile.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Bytes of operations in a batch; one that is larger has a batch of its own. */
#define BATCH_BYTES 4000u
/* Batches of a link worker that are full or on their way. Beyond, it is told to try again. */
#define BATCHES_MAX 256u
/* Batches kept for the next operations. */
#define SPARE_MAX 16u
/* How many operations ahead of the present one the memory of the index is asked for. */
#define AHEAD 8u

/* Operations for one owner, from malloc: a link worker's, lent to the owner until it answers. */
struct route_batch {
    struct route_batch *next;
    uint32_t bytes, bytes_max;
    uint32_t at, ahead;   /* the owner's: what is done, and what the index has been told of */
    uint32_t count_ahead; /* operations between the two */
    uint32_t refused;     /* additions that found no memory */
    uint32_t counts[2];   /* operations, by generation */
    uint16_t to;
    uint8_t ops[]; /* each a struct op and its text, without padding */
};

struct op {
    uint64_t hash;
    uint16_t text_n;
    uint8_t link;
    bool is_add : 1;
    bool is_wild : 1;
};

/* ---- generations ---- */

static void close_generation(struct link_routes *r)
{
    if (r->must_close && r->open[(r->generation + 1) & 1] == 0) {
        r->generation++;
        r->must_close = false;
    }
}

uint8_t link_wait_begin(struct shard *s)
{
    struct link_routes *r = &s->link_routes;
    uint8_t side = r->generation & 1;

    r->open[side]++;
    return side;
}

void link_wait_end(struct shard *s, uint8_t side)
{
    struct link_routes *r = &s->link_routes;

    CHECK(r->open[side]);
    r->open[side]--;
    close_generation(r);
}

uint64_t shard_link_routes_asked(struct shard *s)
{
    struct link_routes *r = &s->link_routes;
    uint64_t generation = r->generation;

    if (r->open[generation & 1] == 0)
        return generation - 1;
    r->must_close = true;
    close_generation(r);
    return generation;
}

bool shard_link_routes_in_force(const struct shard *s, uint64_t asked)
{
    const struct link_routes *r = &s->link_routes;

    CHECK(asked <= r->generation);
    return asked + 1 < r->generation || (asked < r->generation && r->open[asked & 1] == 0);
}

/* ---- batches ---- */

static struct route_batch *batch_take(struct link_routes *r, uint32_t to, uint32_t bytes)
{
    uint32_t bytes_max = bytes > BATCH_BYTES ? bytes : BATCH_BYTES;
    struct route_batch *b = bytes_max == BATCH_BYTES ? r->spare : NULL;

    if (b) {
        r->spare = b->next;
        r->spare_count--;
    } else {
        b = malloc(sizeof *b + bytes_max);
    }
    if (b)
        *b = (struct route_batch){.bytes_max = bytes_max, .to = (uint16_t)to};
    return b;
}

static void batch_give_back(struct link_routes *r, struct route_batch *b)
{
    if (b->bytes_max != BATCH_BYTES || r->spare_count == SPARE_MAX) {
        free(b);
        return;
    }
    b->next = r->spare;
    r->spare = b;
    r->spare_count++;
}

/* The one that is being filled for an owner may go: nothing is added to it any more. */
static void batch_close(struct link_routes *r, uint32_t to)
{
    struct route_batch *b = r->filling[to];

    r->filling[to] = NULL;
    r->filling_set &= ~(1ull << to);
    *r->last = b;
    r->last = &b->next;
    r->batch_count++;
}

/* A batch for an owner with room for `bytes`. NULL: no memory. */
static struct route_batch *batch_for(struct link_routes *r, uint32_t to, uint32_t bytes)
{
    struct route_batch *b = r->filling[to];

    if (b && b->bytes_max - b->bytes < bytes) {
        batch_close(r, to);
        b = NULL;
    }
    if (!b) {
        b = r->filling[to] = batch_take(r, to, bytes);
        if (b)
            r->filling_set |= 1ull << to;
    }
    return b;
}

enum err shard_link_route(struct shard *s, uint32_t link, struct bytes filter, bool is_added)
{
    struct link_routes *r = &s->link_routes;
    struct op op = {.hash = hash_of(s, filter),
                    .text_n = (uint16_t)filter.n,
                    .link = (uint8_t)link,
                    .is_add = is_added,
                    .is_wild = topic_has_wildcard(filter)};
    uint32_t bytes = (uint32_t)sizeof op + filter.n;
    struct route_batch *b;

    CHECK(s->is_link && link < LINKS_MAX && filter.n <= TOPIC_BYTES_MAX);
    if (r->batch_count >= BATCHES_MAX)
        return ERR_FULL;
    b = batch_for(r, owner_of_filter(s->cluster, filter, op.hash), bytes);
    if (!b)
        return ERR_MEMORY;
    memcpy(b->ops + b->bytes, &op, sizeof op);
    bytes_put(b->ops + b->bytes + sizeof op, filter);
    b->bytes += bytes;
    b->counts[r->generation & 1]++;
    r->open[r->generation & 1]++;
    return OK;
}

static bool post(struct shard *s, uint32_t to, enum mail_kind kind, enum msg_type type,
                 struct route_batch *b)
{
    struct msg_pointer *m = mail_post(s->cluster->mail, s->number, to, kind, sizeof *m);

    if (m)
        *m = (struct msg_pointer){.type = (uint8_t)type, .p = b};
    return m != NULL;
}

bool link_routes_run(struct shard *s)
{
    struct link_routes *r = &s->link_routes;
    struct route_batch **at = &r->first, *b;
    uint64_t full = 0; /* owners whose ring has no room: what is behind must not overtake */

    while (r->filling_set)
        batch_close(r, (uint32_t)__builtin_ctzll(r->filling_set));
    while ((b = *at)) {
        struct route_batch *next = b->next; /* the owner has it once it is posted */

        if (!(full >> b->to & 1) && post(s, b->to, MAIL_REQUEST, MSG_LINK_ROUTES, b)) {
            *at = next;
        } else {
            full |= 1ull << b->to;
            at = &b->next;
        }
    }
    r->last = at;
    return r->first != NULL;
}

void shard_on_link_routes_done(struct shard *s, const struct msg_pointer *m)
{
    struct link_routes *r = &s->link_routes;
    struct route_batch *b = m->p;

    for (int i = 0; i < 2; i++) {
        CHECK(r->open[i] >= b->counts[i]);
        r->open[i] -= b->counts[i];
    }
    CHECK(r->batch_count);
    r->batch_count--;
    STAT_ADD(&s->stats, link_routes_memory, b->refused);
    batch_give_back(r, b);
    close_generation(r);
}

/* ---- the owner's side ---- */

static struct op op_at(const struct route_batch *b, uint32_t at)
{
    struct op op;

    memcpy(&op, b->ops + at, sizeof op);
    return op;
}

/* Has the memory of some operations to come on its way, so that it need not be waited for. */
static void look_ahead(struct shard *s, struct route_batch *b)
{
    while (b->count_ahead < AHEAD && b->ahead < b->bytes) {
        struct op op = op_at(b, b->ahead);

        if (!op.is_wild)
            index_prefetch_exact(s->cluster->index[s->number], op.hash);
        b->ahead += (uint32_t)sizeof op + op.text_n;
        b->count_ahead++;
    }
}

/* Changes our partition. ERR_FULL: not now; ERR_MEMORY: there is none for an addition. */
static enum err change(struct shard *s, struct bytes filter, const struct op *op, struct dest d)
{
    const struct cluster_state *c = s->cluster;
    struct index *ix = partition_of_filter(c, filter, op->hash);
    enum err err;

    if (op->is_add && partition_is_full(s))
        return ERR_FULL; /* what was taken away is freed first */
    if (op->is_wild)
        err = op->is_add ? index_add(ix, filter, d, NULL) : index_remove(ix, filter, d, NULL);
    else
        err = op->is_add ? index_add_exact(ix, filter, op->hash, d, NULL)
                         : index_remove_exact(ix, filter, op->hash, d, NULL);
    if (err == ERR_NONE)
        return OK; /* its addition found no memory */
    if (err != OK)
        return err;
    if (op->is_wild)
        stripes_touch(c->stripes, &c->key, filter);
    else
        stripes_touch_exact(c->stripes, op->hash);
    return OK;
}

bool shard_on_link_routes(struct shard *s, uint32_t from, const struct msg_pointer *m)
{
    struct route_batch *b = m->p;

    while (b->at < b->bytes) {
        struct op op = op_at(b, b->at);
        struct dest d = {.worker = (uint16_t)from, .kind = DEST_LINK, .slot = op.link};
        enum err err;

        if (s->link_ops_left == 0)
            return false;
        look_ahead(s, b);
        err = change(s, bytes_of(b->ops + b->at + sizeof op, op.text_n), &op, d);
        if (err == ERR_FULL)
            return false;
        s->link_ops_left--;
        b->refused += err != OK;
        b->count_ahead--;
        b->at += (uint32_t)sizeof op + op.text_n;
    }
    return post(s, from, MAIL_ANSWER, MSG_LINK_ROUTES_DONE, b);
}

/* ---- the end ---- */

void link_routes_discard(const struct msg_pointer *m)
{
    free(m->p);
}

static void free_all(struct route_batch *b)
{
    while (b) {
        struct route_batch *next = b->next;

        free(b);
        b = next;
    }
}

void link_routes_init(struct shard *s)
{
    s->link_routes.generation = 1;
    s->link_routes.last = &s->link_routes.first;
}

void link_routes_fini(struct shard *s)
{
    struct link_routes *r = &s->link_routes;

    free_all(r->first);
    free_all(r->spare);
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        free(r->filling[i]);
}
