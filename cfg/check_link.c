/* cfg/check_link.c -- a link: whom it dials, what it wants, and what it gives. */
#include "cfg/check_link.h"

#include "cfg/check.h"
#include "cfg/keys.h"
#include "cfg/text.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"

#include <string.h>

/* Bytes of a filter that stand in a message. */
#define SHOWN_BYTES 80

/* ---- TLS ---- */

static void finish_link_tls(struct draft *draft, struct draft_section *s, struct cfg_link *link)
{
    static const char *const of_tls[] = {"cafile",  "capath",         "certfile",    "verify",
                                         "ciphers", "ciphers_tls1.3", "tls_version", "server_name"};
    struct cfg_tls *tls = &link->tls;

    if (s->tls_line)
        tls->is_on = true;
    if (s->plain_line && tls->is_on)
        draft_error(draft, s->plain_line,
                    "server begins with mqtt://, but the link speaks TLS (line %u); right would be "
                    "mqtts:// for all of its servers",
                    s->tls_line ? s->tls_line : draft_line(s, "tls"));
    check_tls_files(draft, s, tls);
    for (size_t i = 0; i < sizeof(of_tls) / sizeof(of_tls[0]); i++)
        check_needs(draft, s, of_tls[i], tls->is_on, "tls = true");
}

/* ---- filters ---- */

static bool begins_with_level(struct bytes filter, const char *level)
{
    size_t n = strlen(level);

    return filter.n >= n && memcmp(filter.p, level, n) == 0 &&
           (filter.n == n || filter.p[n] == '/');
}

/* Whether the filter may stand in `topics` or `export`; reports why not. */
static bool check_topic(struct draft *draft, const char *key, const struct draft_topic *topic)
{
    static const char *const never[] = {"$share", "$queue", "$exclusive"};
    const char *text = (const char *)topic->filter.p;
    uint32_t levels = draft->cfg->limits.topic_levels;

    if (!topic_filter_valid(topic->filter, levels ? levels : TOPIC_LEVELS_DEFAULT)) {
        draft_error(draft, topic->line,
                    "%s: %.*s is no filter; right would be '+' and '#' "
                    "alone in their levels, '#' last, and at most max_topic_levels levels",
                    key, SHOWN_BYTES, text);
        return false;
    }
    if (begins_with_level(topic->filter, "$LINK")) {
        draft_error(draft, topic->line,
                    "%s: %.*s is closed; topics under $LINK/ are the "
                    "links' own, leave it out",
                    key, SHOWN_BYTES, text);
        return false;
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (begins_with_level(topic->filter, never[i])) {
            draft_error(draft, topic->line,
                        "%s: %.*s can never match a topic; right would be "
                        "the filter without %s/",
                        key, SHOWN_BYTES, text, never[i]);
            return false;
        }
    }
    return true;
}

/* Reports a filter that another one makes superfluous; of two equal ones, the later. */
static void check_topic_is_needed(struct draft *draft, const char *key,
                                  const struct draft_topics *topics, uint32_t idx)
{
    const struct draft_topic *topic = &topics->v[idx];

    for (uint32_t i = 0; i < topics->count; i++) {
        const struct draft_topic *wide = &topics->v[i];

        if (i == idx || !wide->is_valid || !topic_filter_covers(wide->filter, topic->filter))
            continue;
        if (i > idx && bytes_eq(wide->filter, topic->filter))
            continue;
        draft_error(draft, topic->line,
                    "%s: %.*s is covered by %.*s in line %u; leave one of "
                    "them out",
                    key, SHOWN_BYTES, (const char *)topic->filter.p, SHOWN_BYTES,
                    (const char *)wide->filter.p, wide->line);
        return;
    }
}

/* Checks the filters of a key and moves them into the configuration. */
static void finish_topics(struct draft *draft, const char *key, struct draft_topics *from,
                          const struct bytes **to, uint32_t *count)
{
    struct bytes *filters;

    for (uint32_t i = 0; i < from->count; i++)
        from->v[i].is_valid = check_topic(draft, key, &from->v[i]);
    for (uint32_t i = 0; i < from->count; i++) {
        if (from->v[i].is_valid)
            check_topic_is_needed(draft, key, from, i);
    }
    filters = cfg_alloc(draft->cfg, (from->count + 1) * sizeof(*filters));
    if (!filters) {
        draft->is_out_of_memory = true;
        return;
    }
    for (uint32_t i = 0; i < from->count; i++)
        filters[i] = from->v[i].filter;
    *to = filters;
    *count = from->count;
}

static void finish_servers(struct draft *draft, struct draft_section *s, struct cfg_link *link)
{
    struct cfg_server *servers = cfg_alloc(draft->cfg, (s->server_count + 1) * sizeof(*servers));

    if (!servers) {
        draft->is_out_of_memory = true;
        return;
    }
    memcpy(servers, s->servers, s->server_count * sizeof(*servers));
    link->servers = servers;
    link->server_count = s->server_count;
}

/* Reports required keys that are not there. */
static void check_required(struct draft *draft, const struct draft_section *s)
{
    for (uint32_t i = 0; i < key_count; i++) {
        if (keys[i].section != s->kind || !(keys[i].flags & KEY_REQUIRED) || s->key_lines[i])
            continue;
        draft_error(draft, s->line, "[%s %.80s] has no %s; right would be %s = %s%s",
                    section_infos[s->kind].name, s->name, keys[i].name, keys[i].name,
                    keys[i].example,
                    keys[i].type == KEY_TOPICS ? ", or 'topics =' to want nothing" : "");
    }
}

/* What waits for a link stands in the memory that all share. */
static void check_queue(struct draft *draft, const struct draft_section *s, struct cfg_link *link)
{
    struct bound queue = {"queue_bytes", link->queue_bytes, draft_line(s, "queue_bytes")};
    struct bound memory = {"memory_limit", draft->cfg->limits.memory_bytes, queue.line};

    if (queue.line)
        check_order(draft, &queue, &memory);
    else if (link->queue_bytes > memory.value)
        link->queue_bytes = memory.value;
}

/* A link without a server is called by the other side and answers on its connections, which EMQX
 * cannot take. */
static void check_caller(struct draft *draft, const struct draft_section *s,
                         const struct cfg_link *link)
{
    if (link->server_count || draft_line(s, "server") || link->dialect != DIALECT_EMQX)
        return;
    draft_error(draft, s->line,
                "[link %.80s] has no server, and with dialect = emqx it needs one; right would be "
                "server = 127.0.0.1:21883",
                s->name);
}

/* What an EMQX cluster gets it does not pass on, nor say how it is reached. */
static void check_transit(struct draft *draft, const struct draft_section *s,
                          const struct cfg_link *link)
{
    if (link->transit && link->dialect == DIALECT_EMQX)
        draft_error(draft, draft_line(s, "transit"),
                    "transit = true is for brokers of this kind; right would be dialect = auto, or "
                    "no transit");
    if (link->transit && link->shared_groups == SHARED_GROUPS_GLOBAL)
        draft_error(draft, draft_line(s, "transit"),
                    "transit = true cannot stand beside shared_groups = global (line %u); keep one "
                    "of them",
                    draft_line(s, "shared_groups"));
}

void check_link(struct draft *draft, struct draft_section *s)
{
    const char *cluster = draft->cfg->cluster.name;
    struct cfg_link *link = s->object;
    uint32_t password_line = draft_line(s, "password");

    check_required(draft, s);
    if (cluster && strcmp(cluster, s->name) == 0)
        draft_error(draft, s->line,
                    "[link %.80s] has the name of this cluster; right would be the "
                    "name of the remote cluster",
                    s->name);
    if (password_line && draft_line(s, "password_file"))
        draft_error(draft, draft_line(s, "password_file"),
                    "password_file cannot stand beside "
                    "password (line %u); keep one of them",
                    password_line);
    if (!link->clientid)
        link->clientid = cluster;
    finish_link_tls(draft, s, link);
    finish_servers(draft, s, link);
    check_caller(draft, s, link);
    check_queue(draft, s, link);
    check_transit(draft, s, link);
    finish_topics(draft, "topics", &s->topics, &link->topics, &link->topic_count);
    finish_topics(draft, "export", &s->exports, &link->exports, &link->export_count);
}
