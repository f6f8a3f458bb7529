/* link/link_worker.c -- a hub on a real worker: the only file of link/ that knows the net. */
#include "link/link_worker.h"

#include "link/hub.h"
#include "net/conn.h"
#include "net/progress.h"
#include "net/tls.h"

static enum err dial(void *net, struct stream *stream, const struct link_target *to)
{
    struct worker *w = net;
    const struct cfg_tls *tls = &to->link->tls;
    struct conn_target target = {.host = to->server->host,
                                 .port = to->server->port,
                                 .timeout_ms = to->timeout_ms,
                                 .attempt = to->attempt};
    enum err err;

    if (tls->is_on) {
        target.tls = worker_link_tls(w, to->link->name);
        if (!target.tls)
            return ERR_NONE; /* never in the clear */
        target.server_name = tls->server_name ? tls->server_name : to->server->host;
    }
    err = conn_dial(w, stream, &target);
    tls_context_release(target.tls);
    return err;
}

static void written(void *net, const struct stream *stream, struct pulse_written *to)
{
    struct progress p = {0};

    (void)net;
    to->is_known = stream->conn && progress_of(conn_fd(stream->conn), &p);
    to->acked = p.acked;
    to->outstanding = p.outstanding + stream->outq.bytes;
    to->in_flight = p.in_flight;
}

static void *setup(const struct cfg *cfg, struct worker *w, uint32_t number, uint32_t count,
                   struct shard_hooks *hooks)
{
    struct shard *shard = worker_shard(w);
    struct hub_config config = {.cfg = cfg,
                                .shard = shard,
                                .number = number,
                                .net = w,
                                .dial = dial,
                                .written = written,
                                .log = hooks->log};
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

static bool apply(void *link, struct cfg_link *const links[LINKS_MAX])
{
    return hub_apply(link, (const struct cfg_link *const *)links) == OK;
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
    .setup = setup, .start = start, .apply = apply, .turn = turn, .stop = stop, .destroy = destroy};
