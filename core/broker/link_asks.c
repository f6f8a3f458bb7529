/* core/broker/link_asks.c -- what is retained here, for another cluster: a link worker asks.
 *
 * As a subscriber's worker does (asks.c), one owner after the other, a slice at a time. What is
 * answered goes to the link layer at once; it says when it has room for the next slice.
 *
 * Threads  the link worker; the owners by mail.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

enum link_ask_state {
    LINK_ASK_NONE,
    LINK_ASK_START,  /* the next owner is to be asked */
    LINK_ASK_ASKED,  /* a slice is on its way */
    LINK_ASK_PAUSED, /* the owner waits for us */
};

struct link_ask {
    uint8_t *filter;
    uint32_t filter_count;
    uint32_t owner, last_owner;
    uint32_t generation; /* so that the owner tells questions apart */
    uint8_t state;       /* enum link_ask_state */
    bool is_stopped;     /* answers are dropped, and it ends as soon as it can */
    bool goes_on;        /* there is room for another slice */
};

/* Beyond the slots of all sessions' questions. */
#define SLOT_BASE 0x80000000u

bool link_asks_init(struct shard *s)
{
    if (s->is_link)
        s->link_asks = calloc(LINKS_MAX, sizeof *s->link_asks);
    return !s->is_link || s->link_asks;
}

void link_asks_fini(struct shard *s)
{
    for (uint32_t i = 0; s->link_asks && i < LINKS_MAX; i++)
        free(s->link_asks[i].filter);
    free(s->link_asks);
    s->link_asks = NULL;
}

static void end(struct shard *s, struct link_ask *a)
{
    s->link_asks_busy &= ~(1ull << (a - s->link_asks));
    free(a->filter);
    *a = (struct link_ask){.generation = a->generation};
}

static bool post(struct shard *s, struct link_ask *a, enum msg_type type)
{
    struct msg_retain_ask *m =
        mail_post(s->cluster->mail, s->number, a->owner, MAIL_REQUEST, sizeof *m);

    if (!m)
        return false;
    *m = (struct msg_retain_ask){.type = (uint8_t)type,
                                 .is_link = true,
                                 .ask = {SLOT_BASE + (uint32_t)(a - s->link_asks), a->generation},
                                 .filter = a->filter,
                                 .filter_count = a->filter_count};
    a->state = LINK_ASK_ASKED;
    a->goes_on = false;
    return true;
}

/* Takes the next step if it can be taken. false: there is no room. */
static bool step(struct shard *s, struct link_ask *a)
{
    if (a->state == LINK_ASK_START && a->is_stopped)
        end(s, a);
    else if (a->state == LINK_ASK_START && a->goes_on)
        return post(s, a, MSG_RETAIN_ASK);
    else if (a->state == LINK_ASK_PAUSED && a->is_stopped)
        return post(s, a, MSG_RETAIN_STOP);
    else if (a->state == LINK_ASK_PAUSED && a->goes_on)
        return post(s, a, MSG_RETAIN_MORE);
    return true;
}

bool link_asks_run(struct shard *s)
{
    bool waits = false;

    for (uint64_t left = s->link_asks_busy; left; left &= left - 1)
        waits |= !step(s, &s->link_asks[__builtin_ctzll(left)]);
    return waits;
}

enum err shard_retained_ask(struct shard *s, uint32_t link, struct bytes filter)
{
    struct link_ask *a = &s->link_asks[link];

    CHECK(link < LINKS_MAX && filter.n);
    if (a->state != LINK_ASK_NONE)
        return ERR_FULL;
    a->filter = malloc(filter.n);
    if (!a->filter)
        return ERR_MEMORY;
    bytes_put(a->filter, filter);
    a->filter_count = filter.n;
    a->owner = 0;
    a->last_owner = s->cluster->config.workers - 1;
    if (!topic_has_wildcard(filter))
        a->owner = a->last_owner = owner_of_topic(s->cluster, hash_of(s, filter));
    s->link_asks_busy |= 1ull << link;
    a->generation++;
    a->state = LINK_ASK_START;
    a->goes_on = true;
    (void)step(s, a);
    return OK;
}

void shard_retained_more(struct shard *s, uint32_t link)
{
    s->link_asks[link].goes_on = true;
    (void)step(s, &s->link_asks[link]);
}

void shard_retained_stop(struct shard *s, uint32_t link)
{
    if (s->link_asks[link].state == LINK_ASK_NONE)
        return;
    s->link_asks[link].is_stopped = true;
    (void)step(s, &s->link_asks[link]);
}

/* Of an answer: it is not over while one is due. */
static struct link_ask *asked(struct shard *s, struct handle ask)
{
    struct link_ask *a = &s->link_asks[ask.slot - SLOT_BASE];

    CHECK(ask.slot - SLOT_BASE < LINKS_MAX && a->state == LINK_ASK_ASKED &&
          a->generation == ask.generation);
    return a;
}

void shard_on_link_retained(struct shard *s, const struct msg_retained *m, const uint8_t *body)
{
    const struct link_ask *a = asked(s, m->ask);

    if (!a->is_stopped && s->hooks.retained) {
        struct publish p;

        body_get(&p, &m->body, body);
        p.topic_hash = m->topic_hash;
        p.sequence = m->sequence;
        s->hooks.retained(s->hooks.link, m->ask.slot - SLOT_BASE, &p);
        publish_fini(&p);
    }
    body_done(s, &m->body);
}

void shard_on_link_retained_end(struct shard *s, const struct msg_retained_end *m)
{
    struct link_ask *a = asked(s, m->ask);
    bool is_stopped = a->is_stopped, is_last = m->is_last && a->owner == a->last_owner;

    if (m->is_last && (is_last || is_stopped)) {
        end(s, a);
    } else if (m->is_last) {
        a->owner++;
        a->state = LINK_ASK_START;
    } else {
        a->state = LINK_ASK_PAUSED; /* requests are not posted from an answer's handler */
    }
    if (!is_stopped && s->hooks.retained_end)
        s->hooks.retained_end(s->hooks.link, m->ask.slot - SLOT_BASE, is_last);
}
