/* cfg/change.c -- configurations compared by the table of keys. */
#include "cfg/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cfg/keys.h"

/* ---- values ---- */

static bool is_text(const struct key *key)
{
    return key->type == KEY_STRING || key->type == KEY_NAME || key->type == KEY_PASSWORD ||
           key->type == KEY_PASSWORD_FILE;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_filters(const struct bytes *a, uint32_t a_count, const struct bytes *b,
                         uint32_t b_count)
{
    for (uint32_t i = 0; i < a_count && i < b_count; i++)
        if (!bytes_eq(a[i], b[i]))
            return false;
    return a_count == b_count;
}

static bool same_networks(const struct cidr_list *a, const struct cidr_list *b)
{
    for (uint32_t i = 0; i < a->count && i < b->count; i++)
        if (a->nets[i].hi != b->nets[i].hi || a->nets[i].lo != b->nets[i].lo ||
            a->nets[i].family != b->nets[i].family || a->nets[i].bits != b->nets[i].bits)
            return false;
    return a->count == b->count;
}

static bool same_texts(const struct cfg_texts *a, const struct cfg_texts *b)
{
    return same_filters(a->v, a->count, b->v, b->count);
}

/* Of a key whose value stands in a field of the object of its section. */
static bool same_field(const struct key *key, const void *a, const void *b)
{
    const void *x = (const uint8_t *)a + key->offset, *y = (const uint8_t *)b + key->offset;

    if (is_text(key))
        return same_text(*(const char *const *)x, *(const char *const *)y);
    if (key->type == KEY_TEXTS)
        return same_texts(x, y);
    if (key->type == KEY_NETWORKS)
        return same_networks(x, y);
    return memcmp(x, y, key->size) == 0;
}

static bool same_address(const struct cfg_address *a, const struct cfg_address *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->port == b->port && a->is_v6 == b->is_v6 &&
           same_text(a->path, b->path);
}

static bool same_dests(const struct cfg_log *a, const struct cfg_log *b)
{
    for (uint32_t i = 0; i < a->dest_count && i < b->dest_count; i++)
        if (a->dests[i].kind != b->dests[i].kind || !same_text(a->dests[i].path, b->dests[i].path))
            return false;
    return a->dest_count == b->dest_count;
}

static bool same_servers(const struct cfg_link *a, const struct cfg_link *b)
{
    for (uint32_t i = 0; i < a->server_count && i < b->server_count; i++)
        if (strcmp(a->servers[i].host, b->servers[i].host) != 0 ||
            a->servers[i].port != b->servers[i].port)
            return false;
    return a->server_count == b->server_count;
}

static bool same_of_link(const struct key *key, const struct cfg_link *a, const struct cfg_link *b)
{
    if (key->type == KEY_SERVERS)
        return same_servers(a, b);
    if (strcmp(key->name, "topics") == 0)
        return same_filters(a->topics, a->topic_count, b->topics, b->topic_count);
    if (strcmp(key->name, "export") == 0)
        return same_filters(a->exports, a->export_count, b->exports, b->export_count);
    return key->size == 0 || same_field(key, a, b);
}

static bool same_of_listener(const struct key *key, const struct cfg_listener *a,
                             const struct cfg_listener *b)
{
    if (key->type == KEY_BIND)
        return same_address(&a->bind, &b->bind);
    return key->size == 0 || same_field(key, a, b);
}

/* ---- links ---- */

static bool stands_in(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

const char *cfg_link_difference(const struct cfg_link *a, const struct cfg_link *b,
                                const char *const *except)
{
    for (uint32_t i = 0; i < key_count; i++)
        if (keys[i].section == SECTION_LINK && !stands_in(keys[i].name, except) &&
            !same_of_link(&keys[i], a, b))
            return keys[i].name;
    return NULL;
}

bool cfg_link_differs(const struct cfg_link *a, const struct cfg_link *b, const char *key)
{
    return !same_of_link(key_find(SECTION_LINK, key), a, b);
}

/* A piece of memory that is filled, or, while `to` is NULL, only measured. */
struct pack {
    uint8_t *to;
    size_t n;
};

static void *take(struct pack *p, size_t n, const void *from)
{
    uint8_t *at = p->to ? p->to + p->n : NULL;

    if (at && from && n)
        memcpy(at, from, n);
    p->n += (n + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
    return at;
}

static const char *take_text(struct pack *p, const char *text)
{
    return text ? take(p, strlen(text) + 1, text) : NULL;
}

/* A NUL stands behind each. */
static const struct bytes *take_filters(struct pack *p, const struct bytes *from, uint32_t count)
{
    struct bytes *v = take(p, count * sizeof(*v), from);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t *text = take(p, (size_t)from[i].n + 1, NULL);

        if (text) {
            bytes_put(text, from[i]);
            v[i] = bytes_of(text, from[i].n);
        }
    }
    return v;
}

static const struct cfg_server *take_servers(struct pack *p, const struct cfg_link *from)
{
    struct cfg_server *v = take(p, from->server_count * sizeof(*v), from->servers);

    for (uint32_t i = 0; i < from->server_count; i++) {
        const char *host = take_text(p, from->servers[i].host);

        if (v)
            v[i].host = host;
    }
    return v;
}

/* Fills `to`, whose fields are still those of `from`. */
static void take_link(struct pack *p, const struct cfg_link *from, struct cfg_link *to)
{
    to->name = take_text(p, from->name);
    to->servers = take_servers(p, from);
    to->topics = take_filters(p, from->topics, from->topic_count);
    to->exports = take_filters(p, from->exports, from->export_count);
    for (uint32_t i = 0; i < key_count; i++) {
        const char *text;

        if (keys[i].section != SECTION_LINK || !keys[i].size || !is_text(&keys[i]))
            continue;
        memcpy(&text, (const uint8_t *)from + keys[i].offset, sizeof(text));
        text = take_text(p, text);
        memcpy((uint8_t *)to + keys[i].offset, &text, sizeof(text));
    }
}

/* A copy begins with the size of all of it. */
struct copy {
    size_t n;
    struct cfg_link link;
    _Alignas(max_align_t) uint8_t rest[];
};

struct cfg_link *cfg_link_copy(const struct cfg_link *from)
{
    struct pack p = {0};
    struct cfg_link measured = *from;
    struct copy *c;

    take_link(&p, from, &measured);
    c = calloc(1, sizeof(*c) + p.n);
    if (!c)
        return NULL;
    c->n = sizeof(*c) + p.n;
    c->link = *from;
    p = (struct pack){.to = c->rest};
    take_link(&p, from, &c->link);
    return &c->link;
}

void cfg_link_free(struct cfg_link *copy)
{
    struct copy *c;

    if (!copy)
        return;
    c = (struct copy *)(void *)((uint8_t *)copy - offsetof(struct copy, link));
    explicit_bzero(c, c->n);
    free(c);
}

/* ---- all else ---- */

struct compared {
    cfg_told *tell;
    void *arg;
};

static void told(const struct compared *c, const char *section, const char *name, const char *key)
{
    char text[CFG_NAME_BYTES_MAX + 1100];

    snprintf(text, sizeof(text), "[%s%s%s]%s%s", section, *name ? " " : "", name, *key ? " " : "",
             key);
    c->tell(c->arg, text);
}

static const struct cfg_listener *listener_named(const struct cfg *cfg, const char *name)
{
    for (uint32_t i = 0; i < cfg->listener_count; i++)
        if (strcmp(cfg->listeners[i].name, name) == 0)
            return &cfg->listeners[i];
    return NULL;
}

static void compare_listener(const struct compared *c, const struct cfg_listener *was,
                             const struct cfg_listener *is)
{
    for (uint32_t i = 0; i < key_count; i++)
        if (keys[i].section == SECTION_LISTENER && !same_of_listener(&keys[i], was, is))
            told(c, "listener", was->name, keys[i].name);
}

static void compare_listeners(const struct compared *c, const struct cfg *was, const struct cfg *is)
{
    for (uint32_t i = 0; i < was->listener_count; i++) {
        const struct cfg_listener *now = listener_named(is, was->listeners[i].name);

        if (now)
            compare_listener(c, &was->listeners[i], now);
        else
            told(c, "listener", was->listeners[i].name, "");
    }
    for (uint32_t i = 0; i < is->listener_count; i++)
        if (!listener_named(was, is->listeners[i].name))
            told(c, "listener", is->listeners[i].name, "");
}

void cfg_changes(const struct cfg *was, const struct cfg *is, cfg_told *tell, void *arg)
{
    struct compared c = {tell, arg};

    for (uint32_t i = 0; i < key_count; i++) {
        const struct key *key = &keys[i];

        if (key->section == SECTION_LISTENER || key->section == SECTION_LINK)
            continue;
        if (key->type == KEY_LOG_DESTS ? !same_dests(&was->log, &is->log)
                                       : key->size > 0 && !same_field(key, was, is))
            told(&c, section_infos[key->section].name, "", key->name);
    }
    compare_listeners(&c, was, is);
}

/* ---- which links ---- */

static const struct cfg_link *link_named(const struct cfg *cfg, const char *name)
{
    for (uint32_t i = 0; i < cfg->link_count; i++)
        if (strcmp(cfg->links[i].name, name) == 0)
            return &cfg->links[i];
    return NULL;
}

static void compare_link(const struct compared *c, const struct cfg_link *was,
                         const struct cfg_link *is)
{
    char list[1024];
    size_t n = 0;

    for (uint32_t i = 0; i < key_count; i++) {
        int more = 0;

        if (keys[i].section == SECTION_LINK && keys[i].type != KEY_PASSWORD_FILE &&
            !same_of_link(&keys[i], was, is))
            more =
                snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "changed: ", keys[i].name);
        n = n + (size_t)more < sizeof(list) ? n + (size_t)more : sizeof(list) - 1;
    }
    if (n)
        told(c, "link", was->name, list);
}

void cfg_link_changes(const struct cfg *was, const struct cfg *is, cfg_told *tell, void *arg)
{
    struct compared c = {tell, arg};

    for (uint32_t i = 0; i < was->link_count; i++) {
        const struct cfg_link *now = link_named(is, was->links[i].name);

        if (now)
            compare_link(&c, &was->links[i], now);
        else
            told(&c, "link", was->links[i].name, "removed");
    }
    for (uint32_t i = 0; i < is->link_count; i++)
        if (!link_named(was, is->links[i].name))
            told(&c, "link", is->links[i].name, "added");
}
