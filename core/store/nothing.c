/* core/store/nothing.c -- the store that keeps nothing: all is safe at the end of the turn. */
#include "core/store/record.h"

static store_ticket put(void *self, const struct record *r)
{
    struct store_nothing *s = self;

    (void)r;
    return ++s->last;
}

static store_ticket committed(void *self)
{
    const struct store_nothing *s = self;

    return s->safe;
}

static void end_turn(void *self)
{
    struct store_nothing *s = self;

    s->safe = s->last;
}

static const struct store_ops nothing_ops = {put, committed, end_turn};

void store_nothing_init(struct store *s, struct store_nothing *self)
{
    *self = (struct store_nothing){0};
    *s = (struct store){.ops = &nothing_ops, .self = self, .keeps = false};
}
