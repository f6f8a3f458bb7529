/* core/broker/group.h -- inside a shared group, at its home: who gets a message.
 *
 * A group has members here, and it may have remote clusters: those of links with shared_groups =
 * global that have members themselves. A message of the group goes to exactly one of them:
 *
 *   1. to a connected member here, by share_policy
 *   2. to a remote cluster whose link is up, each in turn
 *   3. where there are members here, but none connected: it waits here for one of them
 *   4. to a remote cluster whose link is down: it waits in that link's queue
 *
 * Not every message may leave. One that came over a link for all who want it stays: where it was
 * published every cluster was served. One that came for this group alone (struct publish's
 * group_hops), because another cluster had chosen us, goes on only when nobody is left here, which
 * is so when the last member has gone while it was on its way; and not over more than
 * GROUP_HOPS_MAX links in all. It goes to another cluster than the one it came from; back to that
 * one only if we know of nobody else, as after a new start.
 *
 * What waits here leaves by the same rules as soon as it may: when the last member goes, a remote
 * cluster gets members, or a link comes up. It does not wait behind what may not leave.
 *
 * What a leaving member gives back (core/broker/share.c) is given out anew, so to a remote cluster,
 * too. QoS 0 that would have to wait here is dropped, as ever.
 *
 * Whether the members of a remote cluster are connected is not known here: it is asked to keep what
 * they cannot take yet. A group without members here exists for the sake of remote clusters; link
 * workers hear of it by its members only (core/broker/interest.c).
 *
 * Threads  the home worker.
 */
#ifndef CORE_BROKER_GROUP_H
#define CORE_BROKER_GROUP_H

#include "core/broker/state.h"

/* Links that a message crosses for one group, at most. */
#define GROUP_HOPS_MAX 8u

struct member {
    struct handle session, share;
    uint32_t subscription_id;
    uint16_t worker;
    uint8_t options;
    bool is_connected;
};

/* What one link worker has said. */
struct group_links {
    uint64_t links;           /* not 0: a bit for each whose cluster has members */
    struct handle link_group; /* the link worker's record of the group */
    uint16_t worker;
};

struct waiting {
    struct message *message;
    uint64_t from_hash;
};

struct group {
    struct table_node node; /* by hash of group and filter */
    struct member *members;
    struct group_links *abroad;
    struct waiting *backlog; /* ring */
    struct group *pump_next;
    uint8_t *text; /* group, then filter */
    uint32_t group_count, filter_count;
    uint32_t count, capacity, connected_count;
    uint32_t abroad_count;
    uint32_t next; /* round robin; sticky: the chosen one */
    uint32_t backlog_head, backlog_count, backlog_capacity;
    bool is_pumped, is_blocked; /* what waits is offered again; there was no room for the first */
    uint8_t last_link;          /* that was chosen */
};

/* The filter of its name. */
static inline struct bytes group_filter(const struct group *g)
{
    return bytes_of(g->text + g->group_count, g->filter_count);
}

/* ---- members and life (group.c) ---- */

/* The group of that name, `text` being group and filter and `hash` that of struct share; made if
 * `is_wanted`. NULL: there is none, or no memory. */
struct group *group_find(struct shard *s, struct bytes text, uint32_t group_count, uint64_t hash,
                         bool is_wanted);
/* Frees it if neither members nor remote clusters are left; else goes on with what waits. */
void group_look(struct shard *s, struct group *g);

/* ---- remote clusters (group_links.c) ---- */

/* Hands a message to a remote cluster, as the rules say, but over none of the links in `avoid`, a
 * bit each. ERR_NONE: it may not leave, or waits here. ERR_FULL: no room towards the link worker.
 * ERR_MEMORY. */
MUST_USE enum err group_leaves(struct shard *s, struct group *g, struct publish *p, uint64_t avoid);
/* Sends a message back to the cluster that has chosen us, because nobody else can take it.
 * ERR_FULL, ERR_MEMORY. */
MUST_USE enum err group_returns(struct shard *s, uint32_t from, const struct msg_group_publish *m,
                                struct publish *p);

#endif
