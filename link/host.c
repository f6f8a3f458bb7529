/* link/host.c -- log lines of links, and whether their worker ran. */
#include "link/host.h"

void host_turned(struct link_host *host)
{
    uint64_t in_ms = shard_next_timer_ms(host->shard);

    host->wake_ms = in_ms == UINT64_MAX ? 0 : shard_now_ms(host->shard) + in_ms;
}

bool host_stood_still(const struct link_host *host)
{
    return host->wake_ms && shard_now_ms(host->shard) >= host->wake_ms + HOST_STANDSTILL_MS;
}

void host_log(const struct link_host *host, int level, const char *event, const char *link,
              const char *peer, const char *reason, const char *detail)
{
    struct log_event e = {.level = level,
                          .event = event,
                          .link = link,
                          .peer = peer,
                          .reason = reason,
                          .detail = detail};

    if (host->log)
        host->log(host->net, &e);
}
