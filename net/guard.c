/* net/guard.c -- whether a connection is let in by where it comes from. */
#include "net/guard.h"

#include <netinet/in.h>
#include <stdio.h>

#include "core/base/stats.h"
#include "net/ban.h"
#include "net/conn_state.h"
#include "net/listener.h"

/* Bytes of the address; 0: it has none. */
static uint32_t peer_bytes(const struct conn *c)
{
    if (!c->peer_is_known)
        return 0;
    return c->peer_is_v6 ? 16 : 4;
}

bool guard_still_admits(struct conn *c)
{
    const struct worker *w = c->worker;

    if (!bans_address(w->net->bans, c->peer, peer_bytes(c), w->now_ms))
        return true;
    STAT_INC(shard_count(w->shard), denied_banned);
    return false;
}

static bool deny(struct conn *c, const char *reason)
{
    STAT_INC(shard_count(c->worker->shard), connections_denied);
    conn_log(c, 5, "connection refused", reason);
    return false;
}

/* A peer that has reset the connection already has no address; what it sent is still there. */
static bool is_known(const struct conn *c)
{
    const struct listener *l = &c->worker->net->listeners[c->listener];

    if (c->peer_is_local)
        return true; /* it has come past the permissions of the file */
    return c->peer_is_known ? listener_knows(l, c->peer, peer_bytes(c)) : listener_knows_all(l);
}

bool guard_admits_socket(struct conn *c)
{
    const struct listener *l = &c->worker->net->listeners[c->listener];
    bool is_balancer = l->config->proxy != CFG_PROXY_NO;

    if (!is_known(c))
        return deny(c, is_balancer ? "not a trusted balancer" : "address denied");
    return is_balancer || guard_still_admits(c);
}

bool guard_admits_client(struct conn *c)
{
    if (c->peer_is_known &&
        !listener_admits(&c->worker->net->listeners[c->listener], c->peer, peer_bytes(c)))
        return deny(c, "address denied");
    return guard_still_admits(c);
}

bool guard_bans(struct conn *c, struct bytes client_id)
{
    const struct worker *w = c->worker;

    if (!bans_client(w->net->bans, c->peer, peer_bytes(c), client_id, w->now_ms))
        return false;
    STAT_INC(shard_count(w->shard), denied_banned);
    return true;
}

/* One line for each ban, for those who act on it elsewhere: fail2ban's <HOST> is `peer`. */
static void say_ban(struct conn *c, const char *event, struct bytes client_id)
{
    const struct cfg_auth *auth = &c->worker->net->cfg->auth;
    char ip[INET6_ADDRSTRLEN];
    char text[64];
    struct log_line line = {.level = 4,
                            .event = event,
                            .client = client_id,
                            .peer = ip,
                            .reason = "too many failed authentications",
                            .detail = text};

    conn_ip_text(c, ip);
    snprintf(text, sizeof(text), "for %u s", (auth->ban_ms + 999) / 1000);
    if (c->is_counted)
        line.listener = c->worker->net->listeners[c->listener].config->name;
    worker_log(c->worker, &line);
}

void guard_on_failure(struct conn *c, struct bytes client_id)
{
    struct worker *w = c->worker;
    uint32_t begun;

    if (!w->net->bans)
        return;
    begun = bans_failed(w->net->bans, c->peer, peer_bytes(c), client_id, w->now_ms);
    if (begun & BAN_CLIENT)
        say_ban(c, "client banned", client_id);
    if (begun & BAN_ADDRESS)
        say_ban(c, "address banned", bytes_of("", 0));
}
