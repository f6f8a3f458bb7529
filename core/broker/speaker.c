/* core/broker/speaker.c -- which connections may speak for which links.
 *
 * A link may have a peer_identity: then only a connection that has proven this user name, by its
 * certificate, its pre-shared key or its password, speaks for it, whatever its listener says of
 * links; and such a connection is a link's and nothing else. For a link without one any connection
 * speaks whose listener takes links, unless it is known to be another cluster's.
 *
 * Who speaks for a link that it is not is an impostor: its packets go to the link worker all the
 * same, which answers them in the link's protocol. Where nobody may speak for any link, `$LINK/` is
 * closed as any other topic that may not be written.
 *
 * A broker of ours says in its CONNECT which cluster it is of (LINK_PROPERTY). If we have a link to
 * that, its connection lives on the link worker of the link, or of the stream that it is for, and
 * is a link's and nothing else: what it sends takes no way through another thread, and what the
 * link says to it neither.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Whether this is the user name that a link's cluster must prove. */
static bool is_of(const struct link_rules *link, struct bytes user)
{
    return link->identity && bytes_eq(bytes_str(link->identity), user);
}

static bool is_named(const struct link_rules *link, struct bytes name)
{
    return link->name && bytes_eq(bytes_str(link->name), name);
}

static const struct link_rules *link_named(const struct shard *s, struct bytes name)
{
    for (uint32_t i = 0; i < s->link_count; i++)
        if (is_named(&s->links[i], name))
            return &s->links[i];
    return NULL;
}

static const char *put_text(char **to, const char *text)
{
    char *at = *to;

    if (!text)
        return NULL;
    *to = stpcpy(at, text) + 1;
    return at;
}

static uint32_t home_of(const struct shard *s, const struct link_rules *link)
{
    return link->transits ? 0 : link_home(s->cluster, bytes_str(link->name));
}

uint32_t shard_link_home(const struct shard *s, struct bytes cluster)
{
    const struct link_rules *link =
        s->cluster->config.link_workers > 1 ? link_named(s, cluster) : NULL;

    return link ? home_of(s, link) : link_home(s->cluster, cluster);
}

enum err shard_set_links(struct shard *s, const struct link_rules *links, uint32_t count)
{
    struct link_rules *copy;
    size_t n = count * sizeof(*copy);
    char *text;

    CHECK(count <= LINKS_MAX);
    for (uint32_t i = 0; i < count; i++)
        n += (links[i].name ? strlen(links[i].name) + 1 : 0) +
             (links[i].identity ? strlen(links[i].identity) + 1 : 0);
    copy = malloc(n ? n : 1);
    if (!copy)
        return ERR_MEMORY;
    text = (char *)(copy + count);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = links[i];
        copy[i].name = put_text(&text, links[i].name);
        copy[i].identity = put_text(&text, links[i].identity);
    }
    free(s->links);
    s->links = copy;
    s->link_count = count;
    s->receipt_workers = 0;
    for (uint32_t i = 0; i < count; i++)
        if (copy[i].name && copy[i].acks_remotely && s->cluster->config.link_workers)
            s->receipt_workers |= 1ull << (s->cluster->config.workers + home_of(s, &copy[i]));
    return OK;
}

/* Takes the number of a stream, behind a slash, off what a CONNECT says. UINT32_MAX: it is none. */
static uint32_t take_stream(struct bytes *said)
{
    const uint8_t *slash = said->n ? memchr(said->p, '/', said->n) : NULL;
    uint32_t at = slash ? (uint32_t)(slash - said->p) : said->n, n = said->n - at;
    uint32_t digit = n == 2 ? slash[1] - (uint32_t)'0' : UINT32_MAX;

    said->n = at;
    if (!slash)
        return 0;
    return digit < LINK_WORKERS_MAX ? digit : UINT32_MAX;
}
_Static_assert(LINK_WORKERS_MAX <= 10, "the number of a stream is one digit");

/* The link that a CONNECT says it is of, and for which stream; NULL: none, or none that we have. */
static const struct link_rules *link_said(const struct shard *s, const struct packet_connect *p,
                                          uint32_t *stream)
{
    struct bytes rest = p->props.all, name, value;

    if (!s->cluster->config.link_workers || !(p->props.present & PROP_BIT(PROP_USER_PROPERTY)))
        return NULL;
    while (props_next_user(&rest, &name, &value)) {
        const struct link_rules *link;

        if (!bytes_eq(name, BYTES_LIT(LINK_PROPERTY)))
            continue;
        *stream = take_stream(&value);
        link = *stream < LINK_WORKERS_MAX ? link_named(s, value) : NULL;
        if (link)
            return link;
    }
    return NULL;
}

bool speaker_home(const struct shard *s, const struct packet_connect *p, uint32_t *worker)
{
    const struct cluster_config *config = &s->cluster->config;
    uint32_t stream;
    const struct link_rules *link = link_said(s, p, &stream);

    if (link)
        *worker = config->workers + (home_of(s, link) + stream) % config->link_workers;
    return link != NULL;
}

void speaker_begin(struct client *c)
{
    const struct shard *s = c->stream.shard;
    const struct cluster_config *config = &s->cluster->config;
    const struct listener_rules *rules = &config->listeners[c->listener];
    const struct admission *a = c->admission;

    c->is_peer = false;
    for (uint32_t i = 0; config->link_workers && a && a->has_user && i < s->link_count; i++)
        c->is_peer |= is_of(&s->links[i], bytes_of(a->user, a->user_count));
    c->may_link = config->link_workers && (rules->links != LISTENER_LINKS_NO || c->is_peer);
    c->is_link_only = rules->links == LISTENER_LINKS_ONLY || c->is_peer || s->is_link;
}

/* For the log. */
static const char no_right[] =
    "its listener takes no links, and it has not proven a link's peer_identity";

bool speaker_may_be_here(struct client *c, const struct packet_connect *p)
{
    struct shard *s = c->stream.shard;
    const struct admission *a = c->admission;
    struct log_event e = {.level = 4,
                          .event = "link refused",
                          .client = p->client_id,
                          .user = p->username,
                          .peer = c->peer,
                          .reason = no_right};
    uint32_t stream;
    const struct link_rules *link = link_said(s, p, &stream);

    if (!s->is_link)
        return true;
    if (c->may_link) {
        c->silence_s = link ? link->silence_s : 0;
        c->speaks_link = true; /* what this arms is armed with the CONNACK */
        return true;
    }
    if (a && a->has_user)
        e.user = bytes_of(a->user, a->user_count);
    STAT_INC(&s->stats, link_packets_refused);
    if (s->hooks.log)
        s->hooks.log(s->hooks.net, &e);
    return false;
}

bool speaker_may_take_over(const struct client *c, struct bytes id)
{
    const struct session *x = session_find(c->stream.shard, id);
    const struct admission *a = c->admission;

    if (!x || !x->client || !x->client->is_peer)
        return true;
    return c->is_peer && bytes_eq(bytes_of(a->user, a->user_count), session_user(x));
}

struct bytes speaker_cluster(struct bytes topic)
{
    struct bytes rest = topic, level = {0};
    bool first = true;

    for (int i = 0; i < 4; i++)
        if (!topic_next_level(&rest, &first, &level))
            return (struct bytes){0};
    return level;
}

bool speaker_is_held(const struct client *c, uint32_t link_worker, struct bytes cluster)
{
    const struct shard *s = c->stream.shard;
    uint64_t held = load_relaxed(&s->cluster->shards[link_worker]->links_held);

    for (uint32_t i = 0; held && i < s->link_count; i++)
        if ((held >> i & 1) && is_named(&s->links[i], cluster))
            return true;
    return false;
}

bool speaker_is_impostor(const struct client *c, struct bytes cluster)
{
    const struct link_rules *link = link_named(c->stream.shard, cluster);

    CHECK(c->may_link);
    if (!link)
        return false; /* nobody is betrayed: the link worker says that it has no such link */
    if (link->identity)
        return !c->is_peer || !is_of(link, session_user(c->session));
    return c->is_peer; /* it is another cluster */
}

void speaker_refused(struct client *c, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    char text[128];
    uint32_t n = topic.n < sizeof text ? topic.n : (uint32_t)sizeof text - 1;

    if (c->may_link || !s->cluster->config.link_workers)
        return;
    STAT_INC(&s->stats, link_packets_refused);
    if (c->is_link_refused)
        return;
    c->is_link_refused = true;
    memcpy(text, topic.p, n);
    text[n] = 0;
    client_log_detail(c, 4, "link refused", no_right, text);
}
