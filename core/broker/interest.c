/* core/broker/interest.c -- what link workers hear of local filters, and questions about them.
 *
 * The owner of a partition tells every link worker of a filter's first local subscriber and of its
 * last one gone. A SUBACK that must wait for remote clusters asks by the same way: its questions
 * go to the filter's owner first and stand there behind all that the owner has told, so a link
 * worker that is asked has heard of the filter, and of no older farewell to it later.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

static void interest_push(struct shard *s, struct interest_due *d)
{
    d->next = NULL;
    *s->interest_last = d;
    s->interest_last = &d->next;
}

static bool is_for_links(struct bytes filter)
{
    return !bytes_begin(filter, BYTES_LIT("$LINK/"));
}

void interest_tell(struct shard *s, struct bytes group, struct bytes filter, bool is_added)
{
    const struct cluster_config *config = &s->cluster->config;

    if (!is_for_links(filter))
        return;
    for (uint32_t i = 0; i < config->link_workers; i++) {
        struct interest_due *d = malloc(sizeof *d);
        uint8_t *text = malloc(group.n + filter.n + 1);

        if (!d || !text) {
            free(d);
            free(text);
            STAT_INC(&s->stats, dropped_memory);
            continue;
        }
        bytes_put(bytes_put(text, group), filter);
        *d = (struct interest_due){.to = (uint16_t)(config->workers + i),
                                   .msg = {.type = MSG_INTEREST,
                                           .is_added = is_added,
                                           .group_count = group.n,
                                           .filter_count = filter.n,
                                           .text = text}};
        interest_push(s, d);
    }
}

/* ---- questions ---- */

static void list_push(struct barrier_list *l, struct barrier *b)
{
    b->next = NULL;
    *l->last = b;
    l->last = &b->next;
}

static struct barrier *list_pop(struct barrier_list *l)
{
    struct barrier *b = l->first;

    if (!b)
        return NULL;
    l->first = b->next;
    if (!l->first)
        l->last = &l->first;
    return b;
}

/* What a question holds of the memory of the process. */
static int64_t barrier_bytes(const struct barrier *b)
{
    return (int64_t)(sizeof *b + b->group_count + b->filter_count);
}

void barriers_make(struct shard *s, struct suback *a, struct bytes group, struct bytes filter)
{
    const struct cluster_state *c = s->cluster;

    for (uint32_t i = 0; i < c->config.link_workers && is_for_links(filter); i++) {
        struct barrier *b = memory_is_full(s) ? NULL : malloc(sizeof *b + group.n + filter.n);

        if (!b) {
            a->is_late = true;
            return;
        }
        *b = (struct barrier){.next = a->barriers,
                              .due = {.barrier = b, .to = (uint16_t)(c->config.workers + i)},
                              .suback = a,
                              .home = (uint16_t)s->number,
                              .owner = (uint16_t)owner_of_filter(c, filter, hash_of(s, filter)),
                              .group_count = group.n,
                              .filter_count = filter.n};
        bytes_put(bytes_put(b->text, group), filter);
        a->barriers = b;
        STAT_ADD(&s->stats, filter_bytes_held, barrier_bytes(b));
    }
}

void barriers_ask(struct shard *s, struct suback *a)
{
    struct barrier *b = a->barriers;

    CHECK(a->waiting == 0);
    a->barriers = NULL;
    while (b) {
        struct barrier *next = b->next;

        a->waiting++;
        if (b->owner == s->number)
            interest_push(s, &b->due);
        else
            list_push(&s->barrier_asks, b);
        b = next;
    }
}

void shard_on_barrier_ask(struct shard *s, const struct msg_pointer *m)
{
    struct barrier *b = m->p;

    interest_push(s, &b->due);
}

void shard_on_barrier(struct shard *s, const struct msg_pointer *m)
{
    struct barrier *b = m->p;

    if (s->hooks.barrier)
        s->hooks.barrier(s->hooks.link, b, bytes_of(b->text, b->group_count),
                         bytes_of(b->text + b->group_count, b->filter_count));
    else
        shard_barrier_done(s, b, false);
}

void shard_barrier_done(struct shard *s, struct barrier *b, bool is_late)
{
    b->is_late = is_late;
    list_push(&s->barrier_answers, b);
}

void shard_on_barrier_done(struct shard *s, const struct msg_pointer *m)
{
    struct barrier *b = m->p;
    struct suback *a = b->suback;

    a->is_late |= b->is_late;
    STAT_ADD(&s->stats, filter_bytes_held, -barrier_bytes(b));
    free(b);
    if (--a->waiting == 0)
        suback_send(s, a);
}

/* ---- posting ---- */

static bool post_pointer(struct shard *s, uint32_t to, enum mail_kind kind, enum msg_type type,
                         void *p)
{
    struct msg_pointer *m = mail_post(s->cluster->mail, s->number, to, kind, sizeof *m);

    if (m)
        *m = (struct msg_pointer){.type = (uint8_t)type, .p = p};
    return m != NULL;
}

static bool post_interest(struct shard *s, struct interest_due *d)
{
    struct msg_interest *m;

    if (d->barrier)
        return post_pointer(s, d->to, MAIL_ANSWER, MSG_BARRIER, d->barrier);
    m = mail_post(s->cluster->mail, s->number, d->to, MAIL_ANSWER, sizeof *m);
    if (!m)
        return false;
    *m = d->msg;
    free(d);
    return true;
}

static void run_barriers(struct shard *s)
{
    struct barrier *b;

    while ((b = s->barrier_asks.first) &&
           post_pointer(s, b->owner, MAIL_REQUEST, MSG_BARRIER_ASK, b))
        (void)list_pop(&s->barrier_asks);
    while ((b = s->barrier_answers.first) &&
           post_pointer(s, b->home, MAIL_ANSWER, MSG_BARRIER_DONE, b))
        (void)list_pop(&s->barrier_answers);
}

bool interest_run(struct shard *s)
{
    struct interest_due *d, *next;

    run_barriers(s);
    for (d = s->interest_first; d; d = next) {
        next = d->next;
        if (!post_interest(s, d))
            break;
        s->interest_first = next;
    }
    if (!s->interest_first)
        s->interest_last = &s->interest_first;
    return s->interest_first || s->barrier_asks.first || s->barrier_answers.first;
}

/* ---- the end ---- */

void barrier_forget(struct barrier *b)
{
    struct suback *a = b->suback;

    free(b);
    if (--a->waiting == 0)
        suback_free(a);
}

void interest_fini(struct shard *s)
{
    struct barrier *b;

    while (s->interest_first) {
        struct interest_due *d = s->interest_first;

        s->interest_first = d->next;
        if (d->barrier) {
            barrier_forget(d->barrier);
        } else {
            free(d->msg.text);
            free(d);
        }
    }
    while ((b = list_pop(&s->barrier_asks)))
        barrier_forget(b);
    while ((b = list_pop(&s->barrier_answers)))
        barrier_forget(b);
}
