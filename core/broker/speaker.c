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
 */
#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Whether this is the user name that a link's cluster must prove. */
static bool is_of(const struct link_rules *link, struct bytes user)
{
    return link->identity && bytes_eq(bytes_str(link->identity), user);
}

void speaker_begin(struct client *c)
{
    const struct cluster_config *config = &c->stream.shard->cluster->config;
    const struct listener_rules *rules = &config->listeners[c->listener];
    const struct admission *a = c->admission;

    CHECK(config->link_count <= LINKS_MAX);
    c->is_peer = false;
    for (uint32_t i = 0; config->link_workers && a && a->has_user && i < config->link_count; i++)
        c->is_peer |= is_of(&config->links[i], bytes_of(a->user, a->user_count));
    c->may_link = config->link_workers && (rules->links != LISTENER_LINKS_NO || c->is_peer);
    c->is_link_only = rules->links == LISTENER_LINKS_ONLY || c->is_peer;
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

bool speaker_is_impostor(const struct client *c, struct bytes cluster)
{
    const struct cluster_config *config = &c->stream.shard->cluster->config;

    CHECK(c->may_link);
    for (uint32_t i = 0; i < config->link_count; i++) {
        if (!bytes_eq(bytes_str(config->links[i].name), cluster))
            continue;
        if (config->links[i].identity)
            return !c->is_peer || !is_of(&config->links[i], session_user(c->session));
        return c->is_peer; /* it is another cluster */
    }
    return false; /* nobody is betrayed: the link worker says that it has no such link */
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
    client_log_detail(c, 4, "link refused",
                      "its listener takes no links, and it has not proven a link's peer_identity",
                      text);
}
