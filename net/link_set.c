/* net/link_set.c -- links by number. */
#include "net/link_set.h"

#include <stdlib.h>

#include "cfg/change.h"
#include "core/base/check.h"

/* LINKS_MAX: none of that name. */
static uint32_t number_of(const struct link_set *set, const char *name)
{
    uint32_t i = 0;

    while (i < LINKS_MAX && !(set->links[i] && strcmp(set->links[i]->name, name) == 0))
        i++;
    return i;
}

/* A number that is free, if possible one that was free before, too. */
static uint32_t free_number(const struct link_set *set, const struct link_set *before)
{
    uint32_t any = LINKS_MAX;

    for (uint32_t i = LINKS_MAX; i-- > 0;)
        if (!set->links[i] && !(before && before->links[i]))
            any = i;
    for (uint32_t i = 0; any == LINKS_MAX && i < LINKS_MAX; i++)
        if (!set->links[i])
            any = i;
    CHECK(any < LINKS_MAX); /* there are no more links than numbers */
    return any;
}

static bool put(struct link_set *set, uint32_t number, const struct cfg_link *link,
                struct tls_context *tls)
{
    struct cfg_link *copy = cfg_link_copy(link);

    if (!copy)
        return false;
    set->links[number] = copy;
    set->tls[number] = tls ? tls_context_ref(tls) : NULL;
    set->rules[number] = (struct link_rules){
        .name = copy->name,
        .identity = copy->peer_identity,
        .transits = copy->transit,
        .silence_s = (uint16_t)((copy->dead_after_ms + 999) / 1000 + LINK_SILENCE_MORE_S),
        .acks_remotely = copy->enable && copy->ack == ACK_REMOTE};
    return true;
}

struct link_set *link_set_create(const struct cfg *cfg, const struct secrets *secrets,
                                 const struct link_set *before)
{
    struct link_set *set = calloc(1, sizeof(*set));
    bool is_whole = set != NULL;

    if (!set)
        return NULL;
    store_relaxed(&set->refs, 1);
    for (uint32_t i = 0; before && i < cfg->link_count; i++) { /* first those that have one */
        uint32_t number = number_of(before, cfg->links[i].name);

        if (number < LINKS_MAX)
            is_whole &= put(set, number, &cfg->links[i], secrets->links[i]);
    }
    for (uint32_t i = 0; is_whole && i < cfg->link_count; i++)
        if (number_of(set, cfg->links[i].name) == LINKS_MAX)
            is_whole &= put(set, free_number(set, before), &cfg->links[i], secrets->links[i]);
    if (is_whole)
        return set;
    link_set_release(set);
    return NULL;
}

struct link_set *link_set_ref(struct link_set *set)
{
    add_relaxed(&set->refs, 1);
    return set;
}

void link_set_release(struct link_set *set)
{
    if (!set || sub_acq_rel(&set->refs, 1) > 1) /* pairs with itself: the last one sees all */
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        cfg_link_free(set->links[i]);
        tls_context_release(set->tls[i]);
    }
    free(set);
}

struct tls_context *link_set_tls(const struct link_set *set, const char *name)
{
    uint32_t number = number_of(set, name);

    return number < LINKS_MAX && set->tls[number] ? tls_context_ref(set->tls[number]) : NULL;
}
