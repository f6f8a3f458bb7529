/* link/incoming.c -- what came over a link and is published here. */
#include "link/incoming.h"

#include "core/mqtt/topic.h"

bool incoming_may_come(const struct link_host *host, const struct cfg_link *link,
                       struct bytes topic)
{
    if (bytes_begin(topic, BYTES_LIT("$LINK/")) ||
        !topic_name_valid(topic, host->limits->topic_levels))
        return false;
    for (uint32_t i = 0; i < link->topic_count; i++)
        if (topic_matches(link->topics[i], topic))
            return true;
    return false;
}

/* Counts what became of one. false: it is to come again. */
static bool was_taken(struct shard *s, enum err err)
{
    if (err == OK)
        STAT_INC(shard_count(s), link_messages_received);
    else if (err != ERR_FULL)
        STAT_INC(shard_count(s), dropped_memory);
    return err != ERR_FULL;
}

bool incoming_publish(struct shard *s, const struct cfg_link *link, struct publish *p)
{
    bool matched;

    p->is_kept = p->retain && link->retained != RETAINED_OFF;
    if (link->retained != RETAINED_SYNC)
        p->sequence = 0; /* what comes last counts */
    return was_taken(s, shard_publish(s, p, &matched));
}

bool incoming_publish_group(struct shard *s, uint32_t link, struct bytes group, struct bytes filter,
                            struct publish *p)
{
    p->sequence = 0;
    return was_taken(s, shard_publish_group(s, link, group, filter, p));
}
