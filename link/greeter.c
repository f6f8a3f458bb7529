/* link/greeter.c -- HELLO and WELCOME. */
#include "link/greeter.h"

#include <stdio.h>

#include "link/announcer.h"

void greeter_init(struct greeter *g, struct link_host *host, const char *link)
{
    *g = (struct greeter){.host = host, .link = link};
}

void greeter_start(struct greeter *g)
{
    uint64_t wall = shard_wall_ms(g->host->shard);

    g->incarnation = wall > g->incarnation ? wall : g->incarnation + 1;
}

void greeter_open(struct greeter *g, const struct channel *channel)
{
    g->channel = *channel;
    g->is_due = true;
    g->is_raised = g->is_online = false;
}

bool greeter_gone(struct greeter *g, const struct channel *channel)
{
    uint64_t wall = shard_wall_ms(g->host->shard);

    if (!g->channel.host || !channel_eq(&g->channel, channel))
        return false;
    if (!g->is_online && g->incarnation > wall + ANNOUNCER_JUMP_MAX_MS)
        g->incarnation = wall;
    g->channel = (struct channel){0};
    g->is_due = g->is_online = false;
    return true;
}

void greeter_run(struct greeter *g)
{
    struct native_frame f = {
        .kind = NATIVE_HELLO, .incarnation = g->incarnation, .has_groups = g->offers_groups};

    if (!g->is_due || !channel_takes_answers(&g->channel))
        return;
    g->is_due = false;
    channel_say(&g->channel, &f);
}

/* They know one from before our clock was set back. One that no clock can have had is none. */
static void raise_incarnation(struct greeter *g, uint64_t known)
{
    char text[64];

    if (known < g->incarnation || known == UINT64_MAX || g->is_raised) {
        channel_fail(&g->channel, "it refuses our incarnation for no reason");
        return;
    }
    g->incarnation = known + 1;
    g->is_due = g->is_raised = true;
    snprintf(text, sizeof(text), "the next one is %llu", (unsigned long long)g->incarnation);
    host_log(g->host, 5, "link incarnation refused", g->link, NULL, "it knows a later one", text);
}

bool greeter_take(struct greeter *g, const struct channel *from, const struct native_frame *f)
{
    if (!g->channel.host || !channel_eq(&g->channel, from) || g->is_online || g->is_due)
        return false; /* of an earlier connection, or not asked for */
    if (f->is_refused) {
        raise_incarnation(g, f->incarnation);
        return false;
    }
    g->is_online = f->incarnation == g->incarnation;
    return g->is_online;
}
