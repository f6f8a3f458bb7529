/* link/host.c -- log lines of links. */
#include "link/host.h"

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
