/* link/peer_groups.c -- shared groups that are served once over us and a broker of ours. */
#include "link/peer_groups.h"

#include <stdio.h>

#include "core/mqtt/topic.h"
#include "link/exported.h"

bool peer_is_group(struct bytes route)
{
    return bytes_begin(route, BYTES_LIT("$share/"));
}

enum err peer_split_group(struct bytes route, struct bytes *group, struct bytes *filter)
{
    bool is_shared;

    return peer_is_group(route) ? topic_split_share(route, &is_shared, group, filter) : ERR_PEER;
}

static bool is_global(const struct peer *p)
{
    return p->link->shared_groups == SHARED_GROUPS_GLOBAL;
}

/* ---- theirs ---- */

/* Once, until it is otherwise. */
static void say_not_offered(struct peer *p)
{
    if (p->no_groups_said)
        return;
    p->no_groups_said = true;
    host_log(p->host, 5, "link shared groups not global", p->link->name, NULL,
             p->speaks_native ? "its link to us does not say shared_groups = global"
                              : "it does not speak our dialect",
             "shared_groups = global is as local");
}

bool peer_grant_groups(struct peer *p, bool is_offered)
{
    p->grants_groups = is_offered && p->speaks_native && is_global(p);
    if (p->grants_groups)
        p->no_groups_said = false;
    else if (is_global(p))
        say_not_offered(p);
    /* Routes of theirs from before stand without the names: who published for all must do so until
     * the names are there. */
    if (!p->grants_groups || announced_filter_count(p->announced) == 0) {
        p->takes_groups = p->grants_groups;
        p->names_due = NAMES_KNOWN;
    }
    return p->grants_groups;
}

void peer_groups_announced(struct peer *p)
{
    if (p->grants_groups && !p->takes_groups && p->names_due == NAMES_KNOWN)
        p->names_due = NAMES_ANNOUNCED;
}

/* What was published before a group's home knew the name is in our rings when the home answers, and
 * out of them a turn later. */
bool peer_groups_run(struct peer *p)
{
    switch ((enum peer_names)p->names_due) {
    case NAMES_KNOWN:
        return false;
    case NAMES_ANNOUNCED:
        if (changes_wait(&p->changes))
            return false;
        p->names_asked = shard_link_routes_asked(p->host->shard);
        p->names_due = NAMES_ASKED;
        return true;
    case NAMES_ASKED:
        if (!shard_link_routes_in_force(p->host->shard, p->names_asked))
            return false;
        p->names_due = NAMES_IN_FORCE;
        return true;
    case NAMES_IN_FORCE:
        p->names_due = NAMES_KNOWN;
        p->takes_groups = p->grants_groups;
        break;
    }
    return false;
}

enum err peer_apply_group(struct peer *p, struct announced_actor *actor, const struct native_op *op)
{
    struct bytes group, filter, id = {0};

    if (peer_split_group(op->filter, &group, &filter) != OK ||
        !topic_filter_valid(filter, p->host->limits->topic_levels))
        return ERR_PEER;
    if (!op->is_add) {
        announced_delete(p->announced, actor, op->filter, id);
        return OK;
    }
    if (!p->grants_groups)
        return ERR_PEER;
    if (!exported_whole(p->link, filter)) {
        peer_group_refused(p, filter);
        return ERR_NONE;
    }
    return announced_add(p->announced, actor, op->filter, id);
}

/* ---- ours ---- */

bool peer_give_groups(struct peer *p, bool by_name)
{
    if (!p->tells_native || p->gives_groups == by_name)
        return false;
    p->gives_groups = p->retained.no_groups = by_name;
    wants_by_name(p->routes.wants, by_name);
    peer_tell_all(p);
    return true;
}

void peer_group_refused(struct peer *p, struct bytes filter)
{
    char detail[256];

    STAT_INC(shard_count(p->host->shard), link_routes_not_exported);
    if (p->routes_refused[PEER_REFUSED_GROUP]++)
        return;
    snprintf(detail, sizeof(detail), "filter %.*s", (int)(filter.n < 200 ? filter.n : 200),
             (const char *)filter.p);
    host_log(p->host, 4, "link shared group not global", p->link->name, NULL,
             "not all of its filter is in topics of the link on its members' side, and in export "
             "on the other: it gets nothing over this link",
             detail);
}
