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

struct stripes {
    /* owners of partitions write, all workers read */
    _Alignas(CACHE_LINE) _Atomic uint32_t exact[STRIPES_EXACT];
    _Alignas(CACHE_LINE) _Atomic uint32_t wild[STRIPES_WILD];
    _Alignas(CACHE_LINE) _Atomic uint32_t leading;
};

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

static bool is_wildcard(struct bytes level)
{
    return level.n == 1 && (level.p[0] == '+' || level.p[0] == '#');
}

struct stripe_view stripes_view(const struct stripes *s, const struct hash_key *key,
                                struct bytes topic, uint64_t hash)
{
    struct bytes left = topic, level = {0};
    bool at_start = true, has_level;
    uint64_t h;
    struct stripe_view view;

    /* all four pair with add_acq_rel in stripes_touch */
    view.exact = load_acquire(&s->exact[stripe_of(hash, STRIPES_EXACT)]);
    has_level = topic_next_level(&left, &at_start, &level);
    CHECK(has_level);
    h = hash_bytes(key, level);
    view.first = load_acquire(&s->wild[stripe_of(h, STRIPES_WILD)]);
    view.second = 0;
    if (topic_next_level(&left, &at_start, &level))
        view.second = load_acquire(&s->wild[stripe_of(hash_more(key, h, level), STRIPES_WILD)]);
    view.leading = topic.n && topic.p[0] == '$' ? 0 : load_acquire(&s->leading);
    return view;
}

void stripes_touch_exact(struct stripes *s, uint64_t hash)
{
    /* pairs with load_acquire in stripes_view: the index, then its version */
    (void)add_acq_rel(&s->exact[stripe_of(hash, STRIPES_EXACT)], 1);
}

void stripes_touch(struct stripes *s, const struct hash_key *key, struct bytes filter)
{
    struct bytes left = filter, level = {0};
    bool at_start = true, has_level;
    uint64_t h;

    /* all pair with load_acquire in stripes_view, as in stripes_touch_exact */
    if (!topic_has_wildcard(filter)) {
        stripes_touch_exact(s, hash_bytes(key, filter));
        return;
    }
    has_level = topic_next_level(&left, &at_start, &level);
    CHECK(has_level);
    if (is_wildcard(level)) {
        (void)add_acq_rel(&s->leading, 1);
        return;
    }
    h = hash_bytes(key, level);
    if (topic_next_level(&left, &at_start, &level) && !is_wildcard(level))
        h = hash_more(key, h, level);
    (void)add_acq_rel(&s->wild[stripe_of(h, STRIPES_WILD)], 1);
}
