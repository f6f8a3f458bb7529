/* link/link_worker.c -- a hub on a real worker: the only file of link/ that knows the net. */
#include "link/link_worker.h"

#include "link/hub.h"
#include "net/conn.h"

static enum err dial(void *net, struct stream *stream, const char *host, uint16_t port,
                     uint32_t timeout_ms)
{
    return conn_dial(net, stream, host, port, timeout_ms);
}

static void *setup(const struct cfg *cfg, struct worker *w, uint32_t number, uint32_t count,
                   struct shard_hooks *hooks)
{
    struct shard *shard = worker_shard(w);
    struct hub_config config = {
        .cfg = cfg, .shard = shard, .number = number, .net = w, .dial = dial, .log = hooks->log};
    struct hub *h;

    (void)count;
    for (int i = 0; i < 4; i++)
        config.key.k[i] = shard_random(shard);
    h = hub_create(&config);
    if (h)
        hub_set_hooks(h, hooks);
    return h;
}

static void start(void *link)
{
    hub_start(link);
}

static bool turn(void *link)
{
    return hub_turn(link);
}

static void stop(void *link)
{
    hub_stop(link);
}

static void destroy(void *link)
{
    hub_destroy(link);
}

const struct net_link_ops link_worker_ops = {
    .setup = setup, .start = start, .turn = turn, .stop = stop, .destroy = destroy};
