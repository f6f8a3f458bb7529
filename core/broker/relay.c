/* core/broker/relay.c -- what one link worker leaves for another.
 *
 * A link has its routes on one link worker, and may send messages from several. That one takes
 * every message for the link and hands those of the others on; and it says words to them, and they
 * to it. Both go by one ring, so a word stands behind the messages that were handed on before it.
 *
 * Threads  link workers.
 */
#include "core/base/check.h"
#include "core/broker/state.h"

static uint32_t worker_at(const struct shard *s, uint32_t link_worker)
{
    CHECK(s->is_link && link_worker < s->cluster->config.link_workers);
    return s->cluster->config.workers + link_worker;
}

bool shard_relay_room(struct shard *s, uint32_t link_worker, const struct publish *p)
{
    uint32_t to = worker_at(s, link_worker), body = p->topic.n + p->props.n + p->payload.n;
    uint32_t bytes = (uint32_t)sizeof(struct msg_relay) + body_bytes_shared(p, true);

    return mail_room(s->cluster->mail, s->number, to, MAIL_GROUP, bytes) &&
           (body <= INLINE_BYTES_MAX || mail_takes(s, to, body));
}

enum err shard_relay(struct shard *s, uint32_t link_worker, uint64_t links, uint64_t no_groups,
                     const struct publish *p)
{
    uint32_t to = worker_at(s, link_worker);
    struct publish own = *p;
    struct msg_relay *m;

    own.owed = NULL; /* who hands it on keeps its receipt: the tag goes along */
    if (!body_share(s, &own))
        return ERR_MEMORY;
    m = mail_post(s->cluster->mail, s->number, to, MAIL_GROUP,
                  (uint32_t)sizeof *m + body_bytes(&own, true));
    if (m) {
        m->type = MSG_RELAY;
        m->links = links;
        m->no_groups = no_groups;
        m->tag = p->tag;
        body_put(s, to, &m->body, (uint8_t *)(m + 1), &own, true);
    }
    if (own.blob != p->blob)
        blob_release(own.blob);
    return m ? OK : ERR_FULL;
}

void shard_on_relay(struct shard *s, uint32_t from, const struct msg_relay *m)
{
    struct publish p;

    body_get(&p, &m->body, (const uint8_t *)(m + 1));
    p.tag = m->tag;
    if (s->hooks.relayed)
        s->hooks.relayed(s->hooks.link, from - s->cluster->config.workers, m->links, m->no_groups,
                         &p);
    publish_fini(&p);
    body_done(s, &m->body);
}

enum err shard_link_note(struct shard *s, uint32_t link_worker, const struct link_note *note)
{
    struct msg_link_note *m =
        mail_post(s->cluster->mail, s->number, worker_at(s, link_worker), MAIL_GROUP, sizeof *m);

    if (!m)
        return ERR_FULL;
    *m = (struct msg_link_note){.type = MSG_LINK_NOTE, .note = *note};
    return OK;
}

void shard_on_link_note(struct shard *s, uint32_t from, const struct msg_link_note *m)
{
    if (s->hooks.link_note)
        s->hooks.link_note(s->hooks.link, from - s->cluster->config.workers, &m->note);
    else if (m->note.drop)
        m->note.drop(m->note.gift);
}
