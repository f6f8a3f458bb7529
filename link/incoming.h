/* link/incoming.h -- what came over a link and is published here, in either dialect.
 *
 * Threads  the link worker.
 */
#ifndef LINK_INCOMING_H
#define LINK_INCOMING_H

#include "link/host.h"

/* Whether messages of a topic may come over a link: it is a topic, not one of links, and we asked
 * for it. */
bool incoming_may_come(const struct link_host *host, const struct cfg_link *link,
                       struct bytes topic);

/* Publishes it, retains it where the link says so (struct publish's sequence: the stamp it came
 * with; 0: none), and counts what became of it. false: no room now, and nothing happened. */
bool incoming_publish(struct shard *s, const struct cfg_link *link, struct publish *p);
/* The same for a message that came for one shared group alone. */
bool incoming_publish_group(struct shard *s, uint32_t link, struct bytes group, struct bytes filter,
                            struct publish *p);

#endif
