/* core/index/stripes.c -- versions of parts of the filter space, for the hot-topic cache.
 *
 * Owner: change the index (release stores), then count the stripe up (release).
 * Reader: read the versions (acquire), then match; later read them again and compare.
 * A reader that saw the new version sees the change when it matches. One that saw the old version
 * finds another one later and matches again, whether its match met the change or not.
 * A filter touches one stripe, and every topic it matches reads that stripe:
 *   no wildcard        exact, by the whole text           the topic is the text
 *   x/y/... (literal)  wild, by x and y                   its first two levels are x and y
 *   x/+..., x/#        wild, by x                         its first level is x (`x/#` matches x)
 *   +..., #            leading                            all but those that begin with `$`
 * Versions wrap after 2^32 changes of one stripe between two looks.
 */
#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/index/index.h"
#include "core/mqtt/topic.h"

#include <stdlib.h>

/* Where the parts begin; the last place is never counted up, for who has no other. */
#define AT_EXACT 0u
#define AT_WILD (AT_EXACT + STRIPES_EXACT)
#define AT_LEADING (AT_WILD + STRIPES_WILD)
#define AT_NEVER (AT_LEADING + CACHE_LINE / (uint32_t)sizeof(uint32_t))

struct stripes {
    /* owners of partitions write, all workers read */
    _Alignas(CACHE_LINE) _Atomic uint32_t version[AT_NEVER + 1];
};

_Static_assert(AT_NEVER <= UINT16_MAX, "a place is 16 bits");

struct stripes *stripes_create(void)
{
    struct stripes *s = aligned_alloc(CACHE_LINE, sizeof(*s));

    if (s)
        memset(s, 0, sizeof(*s));
    return s;
}

void stripes_destroy(struct stripes *s)
{
    free(s);
}

static uint32_t stripe_of(uint64_t hash, uint32_t count)
{
    return (uint32_t)((hash ^ hash >> 29) % count);
}

static uint32_t exact_place(uint64_t hash)
{
    return AT_EXACT + stripe_of(hash, STRIPES_EXACT);
}

static uint32_t wild_place(uint64_t hash)
{
    return AT_WILD + stripe_of(hash, STRIPES_WILD);
}

static bool is_wildcard(struct bytes level)
{
    return level.n == 1 && (level.p[0] == '+' || level.p[0] == '#');
}

struct stripe_places stripes_places(const struct hash_key *key, struct bytes topic, uint64_t hash)
{
    struct bytes left = topic, level = {0};
    bool at_start = true, has_level = topic_next_level(&left, &at_start, &level);
    uint64_t h = hash_bytes(key, level);
    struct stripe_places places = {{(uint16_t)exact_place(hash), (uint16_t)wild_place(h), AT_NEVER,
                                    topic.n && topic.p[0] == '$' ? AT_NEVER : AT_LEADING}};

    CHECK(has_level);
    if (topic_next_level(&left, &at_start, &level))
        places.at[2] = (uint16_t)wild_place(hash_more(key, h, level));
    return places;
}

struct stripe_view stripes_view(const struct stripes *s, const struct stripe_places *places)
{
    struct stripe_view view;

    for (uint32_t i = 0; i < STRIPE_PLACES; i++) /* pairs with add_acq_rel in count_up */
        view.version[i] = load_acquire(&s->version[places->at[i]]);
    return view;
}

/* The index has changed: then its version does. */
static void count_up(struct stripes *s, uint32_t place)
{
    (void)add_acq_rel(&s->version[place], 1); /* pairs with load_acquire in stripes_view */
}

void stripes_touch_exact(struct stripes *s, uint64_t hash)
{
    count_up(s, exact_place(hash));
}

void stripes_touch(struct stripes *s, const struct hash_key *key, struct bytes filter)
{
    struct bytes left = filter, level = {0};
    bool at_start = true, has_level;
    uint64_t h;

    if (!topic_has_wildcard(filter)) {
        stripes_touch_exact(s, hash_bytes(key, filter));
        return;
    }
    has_level = topic_next_level(&left, &at_start, &level);
    CHECK(has_level);
    if (is_wildcard(level)) {
        count_up(s, AT_LEADING);
        return;
    }
    h = hash_bytes(key, level);
    if (topic_next_level(&left, &at_start, &level) && !is_wildcard(level))
        h = hash_more(key, h, level);
    count_up(s, wild_place(h));
}
