/* net/reread.c -- a file read anew, and what of it counts. */
#include "net/reread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cfg/change.h"
#include "cfg/parse.h"

struct told {
    secrets_say *say;
    void *context;
};

enum err reread_file(const char *file, uint16_t port, secrets_say *say, void *context,
                     struct cfg **out)
{
    struct cfg_errors errs;
    char text[64];
    enum err err;

    cfg_errors_init(&errs);
    err = cfg_load(file, out, &errs);
    for (uint32_t i = 0; i < errs.count; i++)
        say(context, true, errs.items[i].text);
    if (errs.dropped) {
        snprintf(text, sizeof(text), "and %u more", errs.dropped);
        say(context, true, text);
    }
    if (err != OK && errs.count == 0)
        say(context, true, "no memory for the configuration");
    cfg_errors_fini(&errs);
    if (err != OK)
        return ERR_PEER;
    if (port == 0 || cfg_apply_port(*out, port) == OK)
        return OK;
    say(context, true, "the port given with -p does not fit the file any more");
    cfg_free(*out);
    *out = NULL;
    return ERR_PEER;
}

static void on_change(void *arg, const char *what)
{
    const struct told *t = arg;
    char text[CFG_NAME_BYTES_MAX + 128];

    snprintf(text, sizeof(text), "needs a restart: %s", what);
    t->say(t->context, false, text);
}

/* Our name is that of the start, also where a link says nothing else of its client ids. */
static bool fit_link(const struct cfg *start, const struct cfg *fresh, struct cfg_link *link,
                     const struct told *t)
{
    char text[CFG_NAME_BYTES_MAX + 128];

    if (link->clientid == fresh->cluster.name)
        link->clientid = start->cluster.name;
    if (strcmp(link->name, start->cluster.name) != 0)
        return true;
    snprintf(text, sizeof(text), "%s:%u: [link %s] has the name that this cluster has as it runs",
             fresh->file ? fresh->file : "", link->line, link->name);
    t->say(t->context, true, text);
    return false;
}

static bool fit_links(const struct cfg *start, struct cfg *fresh, bool can_link,
                      const struct told *t)
{
    bool fits = true;

    if (!can_link && fresh->link_count) {
        on_change((void *)(uintptr_t)t, "the first link, where [cluster] had no name");
        fresh->link_count = 0;
    }
    for (uint32_t i = 0; i < fresh->link_count; i++)
        fits &= fit_link(start, fresh, &fresh->links[i], t);
    return fits;
}

enum err reread_take(const struct cfg *start, struct cfg *fresh, bool can_link, secrets_say *say,
                     void *context, struct reread *out)
{
    struct told t = {say, context};

    *out = (struct reread){.now = malloc(sizeof(*start)), .links = fresh};
    if (!out->now) {
        say(context, true, "no memory for the configuration");
        reread_free(out);
        return ERR_MEMORY;
    }
    memcpy(out->now, start, sizeof(*start));
    if (!fresh)
        return OK;
    cfg_changes(start, fresh, on_change, &t);
    if (!fit_links(start, fresh, can_link, &t)) {
        reread_free(out);
        return ERR_PEER;
    }
    memcpy(out->now->links, fresh->links, sizeof(fresh->links));
    out->now->link_count = fresh->link_count;
    return OK;
}

void reread_free(struct reread *r)
{
    free(r->now); /* the pointers in it are others' */
    cfg_free(r->links);
    *r = (struct reread){0};
}
