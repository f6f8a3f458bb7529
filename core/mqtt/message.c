/* core/mqtt/message.c -- messages and shared bodies: who counts, who frees. */
#include "core/mqtt/message.h"

#include <stdlib.h>

#include "core/base/check.h"

struct blob *blob_create(struct blob_home *home, uint32_t n)
{
    struct blob *b = malloc(sizeof *b + n);

    if (!b)
        return NULL;
    store_relaxed(&b->refs, 1);
    b->bytes_count = n;
    b->next = NULL;
    b->home = home;
    home->held_bytes += n;
    return b;
}

void blob_share(struct blob *b, uint32_t workers)
{
    add_relaxed(&b->refs, workers); /* the caller's own reference keeps it alive meanwhile */
}

void blob_release(struct blob *b)
{
    struct blob *top;

    if (sub_acq_rel(&b->refs, 1) != 1) /* pairs with the other releases: all reads before freeing */
        return;
    top = load_relaxed(&b->home->returned);
    do {
        b->next = top;
    } while (!cas_weak_release(&b->home->returned, &top, b)); /* pairs with exchange in collect */
}

void blob_home_collect(struct blob_home *home)
{
    struct blob *b;

    if (!load_relaxed(&home->returned))
        return;
    b = exchange_acq_rel(&home->returned, NULL); /* pairs with cas_weak_release in blob_release */
    while (b) {
        struct blob *next = b->next;

        home->held_bytes -= b->bytes_count;
        free(b);
        b = next;
    }
}

/* What a message costs while it is held: its own structure and body. A shared body is counted by
 * each worker that holds it: the bound is on what waits, and it waits once for each. */
uint32_t message_cost(const struct message *m)
{
    return (uint32_t)sizeof *m + m->from_id_count + m->from_user_count + m->extra_count +
           m->topic_count + m->props_count + m->payload_count +
           (m->has_tag ? (uint32_t)sizeof(uint64_t) : 0);
}

/* Bytes of what follows the structure, but for the tag. */
static uint32_t own_bytes(const struct message *m)
{
    uint32_t body = m->blob ? 0 : m->topic_count + m->props_count + m->payload_count;

    return (uint32_t)m->from_id_count + m->from_user_count + m->extra_count + body;
}

struct message *publish_message(struct publish *p, uint64_t *waiting)
{
    uint32_t body = p->topic.n + p->props.n + p->payload.n;
    struct bytes extra = p->way.n ? p->way : p->group;
    uint32_t names = (p->source ? p->from_id.n + p->from_user.n : 0) + extra.n;
    struct message *m = p->message;
    uint8_t *to;

    if (m)
        return m;
    m = malloc(sizeof *m + names + (p->blob ? 0 : body) + (p->tag ? sizeof p->tag : 0));
    if (!m)
        return NULL;
    *m = (struct message){.refs = 1,
                          .payload_count = p->payload.n,
                          .props_count = p->props.n,
                          .topic_count = (uint16_t)p->topic.n,
                          .qos = p->qos & 3u,
                          .retain = p->retain,
                          .from_link = p->from_link,
                          .no_groups = p->no_groups,
                          .group_hops = p->group_hops,
                          .extra_count = (uint16_t)extra.n,
                          .protocol = p->protocol & 63u,
                          .source = p->source,
                          .has_tag = p->tag != 0,
                          .has_way = p->way.n > 0,
                          .expires_ms = p->expires_ms,
                          .stamp_ms = p->stamp_ms,
                          .sequence = p->sequence,
                          .waiting_bytes = waiting};
    to = (uint8_t *)(m + 1);
    if (p->source) {
        m->from_id_count = (uint16_t)p->from_id.n;
        m->from_user_count = (uint16_t)p->from_user.n;
        to = bytes_put(bytes_put(to, p->from_id), p->from_user);
    }
    to = bytes_put(to, extra);
    if (p->blob) {
        /* The body lies in the blob in one piece, so the topic is its beginning. */
        DCHECK(p->topic.p >= p->blob->bytes &&
               p->topic.p + body <= p->blob->bytes + p->blob->bytes_count);
        blob_share(p->blob, 1);
        m->blob = p->blob;
        m->body = p->topic.p;
    } else {
        m->body = to;
        to = bytes_put(to, p->topic);
        to = bytes_put(to, p->props);
        bytes_put(to, p->payload);
    }
    if (p->tag)
        memcpy((uint8_t *)(m + 1) + own_bytes(m), &p->tag, sizeof p->tag);
    *waiting += message_cost(m);
    p->message = m;
    return m;
}

void publish_fini(struct publish *p)
{
    message_release(p->message);
    p->message = NULL;
}

void publish_of_message(struct publish *p, struct message *m)
{
    *p = (struct publish){.topic = message_topic(m),
                          .props = message_props(m),
                          .payload = message_payload(m),
                          .from_id = message_from_id(m),
                          .from_user = message_from_user(m),
                          .source = m->source,
                          .way = message_way(m),
                          .expires_ms = m->expires_ms,
                          .stamp_ms = m->stamp_ms,
                          .sequence = m->sequence,
                          .qos = m->qos,
                          .retain = m->retain,
                          .from_link = m->from_link,
                          .no_groups = m->no_groups,
                          .group_hops = m->group_hops,
                          .group = message_group(m),
                          .protocol = m->protocol,
                          .blob = m->blob,
                          .message = m};
}

struct message *message_ref(struct message *m)
{
    m->refs++;
    return m;
}

void message_release(struct message *m)
{
    if (!m || --m->refs > 0)
        return;
    *m->waiting_bytes -= message_cost(m);
    if (m->blob)
        blob_release(m->blob);
    free(m);
}

struct bytes message_topic(const struct message *m)
{
    return bytes_of(m->body, m->topic_count);
}

struct bytes message_props(const struct message *m)
{
    return bytes_of(m->body + m->topic_count, m->props_count);
}

struct bytes message_payload(const struct message *m)
{
    return bytes_of(m->body + m->topic_count + m->props_count, m->payload_count);
}

struct bytes message_from_id(const struct message *m)
{
    return bytes_of(m + 1, m->from_id_count);
}

struct bytes message_from_user(const struct message *m)
{
    return bytes_of((const uint8_t *)(m + 1) + m->from_id_count, m->from_user_count);
}

uint64_t message_tag(const struct message *m)
{
    uint64_t tag = 0;

    if (m->has_tag)
        memcpy(&tag, (const uint8_t *)(m + 1) + own_bytes(m), sizeof tag);
    return tag;
}

/* What stands behind the names: a group or a way. */
static struct bytes extra_of(const struct message *m)
{
    return bytes_of((const uint8_t *)(m + 1) + m->from_id_count + m->from_user_count,
                    m->extra_count);
}

struct bytes message_group(const struct message *m)
{
    return m->has_way ? (struct bytes){0} : extra_of(m);
}

struct bytes message_way(const struct message *m)
{
    return m->has_way ? extra_of(m) : (struct bytes){0};
}
