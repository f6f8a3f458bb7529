/* link/algebra.c -- filter algebra, level by level.
 *
 * A walk holds both filters at the same level. It ends with an answer at the first level that
 * decides; what was passed until then is the common beginning.
 */
#include "link/algebra.h"

#include "core/base/limits.h"
#include "core/mqtt/topic.h"

struct side {
    struct bytes rest; /* behind `level` */
    bool first;
    bool has_level; /* false: no level is left */
    struct bytes level;
    struct bytes here; /* `level` and all behind it, with its separators */
};

static void advance(struct side *s, struct bytes whole)
{
    s->has_level = topic_next_level(&s->rest, &s->first, &s->level);
    if (s->has_level)
        s->here = bytes_of(s->level.p, (size_t)(whole.p + whole.n - s->level.p));
}

static struct side side_of(struct bytes whole)
{
    struct side s = {.rest = whole, .first = true};

    advance(&s, whole);
    return s;
}

static bool is_one(struct bytes level, char c)
{
    return level.n == 1 && level.p[0] == (uint8_t)c;
}

static bool is_wildcard(struct bytes level)
{
    return is_one(level, '+') || is_one(level, '#');
}

static bool is_dollar(struct bytes level)
{
    return level.n > 0 && level.p[0] == '$';
}

/* `$` levels are hidden from a leading wildcard [MQTT-4.7.2-1]. */
static bool is_hidden(const struct side *a, const struct side *b)
{
    return (is_dollar(a->level) && is_wildcard(b->level)) ||
           (is_dollar(b->level) && is_wildcard(a->level));
}

/* `#` can only be the last level, so one seen is exactly the rest of its filter. */
static bool is_hash(const struct side *s)
{
    return s->has_level && is_one(s->level, '#');
}

struct text {
    uint8_t *to;
    uint32_t room;
    uint32_t n;
    bool any; /* a level was put; the next one needs a separator */
    bool is_full;
};

static void text_put(struct text *t, struct bytes b)
{
    uint32_t separator = t->any ? 1 : 0;

    if (t->is_full || !t->to || b.n + separator > t->room - t->n) {
        t->is_full = true;
        return;
    }
    if (separator)
        t->to[t->n++] = '/';
    if (b.n > 0)
        memcpy(t->to + t->n, b.p, b.n);
    t->n += b.n;
    t->any = true;
}

/* Puts what the levels of both have in common. False: nothing. */
static bool text_meet(struct text *t, struct bytes a, struct bytes b)
{
    if (!is_wildcard(a) && !is_wildcard(b) && !bytes_eq(a, b))
        return false;
    text_put(t, is_wildcard(a) ? b : a);
    return true;
}

bool algebra_subset(struct bytes a, struct bytes b)
{
    struct side x = side_of(a), y = side_of(b);

    if (is_hidden(&x, &y))
        return false;
    for (;;) {
        if (is_hash(&y))
            return true;
        if (!x.has_level || !y.has_level)
            return x.has_level == y.has_level;
        if (!is_one(y.level, '+') && !bytes_eq(x.level, y.level))
            return false;
        if (is_hash(&x))
            return false;
        advance(&x, a);
        advance(&y, b);
    }
}

/* The intersection as new text. */
static enum err meet(struct bytes a, struct bytes b, struct text *t)
{
    struct side x = side_of(a), y = side_of(b);

    if (is_hidden(&x, &y))
        return ERR_NONE;
    for (;;) {
        if (is_hash(&x) || is_hash(&y)) {
            const struct side *other = is_hash(&x) ? &y : &x;

            if (other->has_level)
                text_put(t, other->here);
            return OK;
        }
        if (!x.has_level || !y.has_level)
            return x.has_level == y.has_level ? OK : ERR_NONE;
        if (!text_meet(t, x.level, y.level))
            return ERR_NONE;
        advance(&x, a);
        advance(&y, b);
    }
}

enum err algebra_intersect(struct bytes a, struct bytes b, uint8_t *to, uint32_t room,
                           struct bytes *out)
{
    struct text t = {.to = to, .room = room < TOPIC_BYTES_MAX ? room : TOPIC_BYTES_MAX};

    if (algebra_subset(a, b)) {
        *out = a;
        return OK;
    }
    if (algebra_subset(b, a)) {
        *out = b;
        return OK;
    }
    if (meet(a, b, &t) != OK)
        return ERR_NONE;
    if (t.is_full)
        return ERR_FULL;
    *out = bytes_of(to, t.n);
    return OK;
}

uint32_t algebra_reduce(struct bytes *filters, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct bytes f = filters[i];
        uint32_t out = 0;
        bool is_covered = false;

        for (uint32_t k = 0; k < kept && !is_covered; k++)
            is_covered = algebra_subset(f, filters[k]);
        if (is_covered)
            continue;
        for (uint32_t k = 0; k < kept; k++) /* f may cover earlier ones */
            if (!algebra_subset(filters[k], f))
                filters[out++] = filters[k];
        filters[out++] = f;
        kept = out;
    }
    return kept;
}

enum err algebra_routes(struct bytes filter, const struct bytes *topics, uint32_t topic_count,
                        uint8_t *to, uint32_t room, struct bytes *routes, uint32_t *route_count)
{
    uint32_t used = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < topic_count; i++) {
        struct bytes r;
        enum err e = algebra_intersect(filter, topics[i], to ? to + used : NULL, room - used, &r);

        if (e == ERR_NONE)
            continue;
        if (e != OK)
            return e;
        if (to && r.p == to + used)
            used += r.n;
        routes[count++] = r;
    }
    *route_count = algebra_reduce(routes, count);
    return OK;
}
