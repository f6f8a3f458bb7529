/* core/broker/link_routes.c -- what remote clusters want of us, and when all of it is in force.
 *
 * A route is in force when the owner of its partition has answered. Owners answer in no order among
 * each other, and there may never be a moment without an open request. So open requests are counted
 * in two generations: new ones go into the younger, the older only shrinks, and once it is empty
 * the younger may become the older. Whoever asks by which generation all is in force that was asked
 * for so far closes the younger one, as soon as the older is empty, and waits for one or two
 * rounds, however many requests come meanwhile.
 */
#include "core/base/check.h"
#include "core/broker/state.h"

static void close_generation(struct link_routes *r)
{
    if (r->must_close && r->open[(r->generation + 1) & 1] == 0) {
        r->generation++;
        r->must_close = false;
    }
}

static void await(struct shard *s, struct filter *f)
{
    struct link_routes *r = &s->link_routes;

    if (f->is_awaited)
        return; /* in the older one, which is in force no later */
    f->is_awaited = true;
    f->side = r->generation & 1;
    r->open[f->side]++;
}

void link_route_settled(struct shard *s, struct filter *f)
{
    struct link_routes *r = &s->link_routes;

    if (!f->is_awaited)
        return;
    f->is_awaited = false;
    CHECK(r->open[f->side]);
    r->open[f->side]--;
    close_generation(r);
}

enum err shard_link_route(struct shard *s, uint32_t link, struct bytes filter, bool is_added)
{
    uint64_t hash = hash_of(s, filter);
    struct filter *f = filters_find(&s->filters, filter, hash);

    if (!f && !is_added)
        return OK;
    if (!f) {
        f = filter_create(s, filter, hash);
        if (!f)
            return ERR_MEMORY;
    }
    if (is_added)
        f->links |= 1ull << link;
    else
        f->links &= ~(1ull << link);
    if (is_added && f->state != FILTER_VISIBLE)
        await(s, f);
    filter_sync(s, f);
    return OK;
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
