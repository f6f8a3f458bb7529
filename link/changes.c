/* link/changes.c -- changes of the route index that are due, in the order in which they came. */
#include "link/changes.h"

#include <stdlib.h>

#include "link/peer_groups.h"

struct change {
    struct change *next;
    uint32_t number, filter_n;
    bool is_wanted;
    uint8_t filter[];
};

/* ERR_FULL also until what was added before is in force; the answer that it takes wakes us. */
static enum err change_now(struct changes *c, uint32_t number, struct bytes filter, bool is_wanted)
{
    struct bytes group, of_group;
    enum err err;

    if (!is_wanted && c->has_added) {
        c->has_added = false;
        c->added = shard_link_routes_asked(c->shard);
    }
    if (!is_wanted && !shard_link_routes_in_force(c->shard, c->added))
        return ERR_FULL;
    if (peer_split_group(filter, &group, &of_group) == OK)
        return shard_link_group(c->shard, number, group, of_group, is_wanted);
    err = shard_link_route(c->shard, number, filter, is_wanted);
    c->has_added |= is_wanted && err == OK;
    return err;
}

void changes_ask(struct changes *c, uint32_t number, struct bytes filter, bool is_wanted)
{
    struct change *x;

    if (!c->first && change_now(c, number, filter, is_wanted) == OK)
        return;
    x = malloc(sizeof(*x) + filter.n);
    if (!x) {
        STAT_INC(shard_count(c->shard), dropped_memory);
        return;
    }
    *x = (struct change){.number = number, .filter_n = filter.n, .is_wanted = is_wanted};
    bytes_put(x->filter, filter);
    *c->last = x;
    c->last = &x->next;
}

bool changes_run(struct changes *c)
{
    struct change *x;

    while ((x = c->first)) {
        enum err err = change_now(c, x->number, bytes_of(x->filter, x->filter_n), x->is_wanted);

        if (err != OK)
            return err != ERR_FULL;
        c->first = x->next;
        if (!c->first)
            c->last = &c->first;
        free(x);
    }
    return false;
}

bool changes_wait(const struct changes *c)
{
    return c->first != NULL;
}

void changes_init(struct changes *c, struct shard *shard)
{
    *c = (struct changes){.shard = shard};
    c->last = &c->first;
}

void changes_fini(struct changes *c)
{
    while (c->first) {
        struct change *x = c->first;

        c->first = x->next;
        free(x);
    }
}
