/* net/link_set.h -- the links in force: a table by number, replaced as a whole.
 *
 * The main thread makes a new one at a reload; each worker takes it over in its next turn and holds
 * it until the one after. So nobody reads what another changes, and the settings of a link and its
 * TLS are always of one reading.
 *
 * A link keeps its number as long as it stands in the configuration; the number is its bit among
 * the destinations of its link worker. A number that is free again may be given to another link at
 * once: the link worker lets that one wait until nothing of the first is left.
 *
 * Threads  create: main.  All else: any; nobody writes to it.
 * Memory   copies of the links, holds on TLS contexts; gone with the last release.
 */
#ifndef NET_LINK_SET_H
#define NET_LINK_SET_H

#include "cfg/cfg.h"
#include "core/base/atomic.h"
#include "core/broker/shard.h"
#include "net/secrets.h"

struct link_set {
    _Atomic uint32_t refs;
    struct cfg_link *links[LINKS_MAX];  /* NULL: no link has this number */
    struct tls_context *tls[LINKS_MAX]; /* NULL: no TLS */
    struct link_rules rules[LINKS_MAX]; /* into the links */
};

/* The links of `cfg`, with the TLS that was read for each; links that stand in `before` (may be
 * NULL) keep their numbers, and without it the number of a link is its place. NULL: no memory. */
struct link_set *link_set_create(const struct cfg *cfg, const struct secrets *secrets,
                                 const struct link_set *before);
/* A hold more; returns it. */
struct link_set *link_set_ref(struct link_set *set);
/* A hold less. NULL is fine. */
void link_set_release(struct link_set *set);

/* The TLS of the link of that name: a hold that is the caller's. NULL: it has none, or is none. */
struct tls_context *link_set_tls(const struct link_set *set, const char *name);

#endif
