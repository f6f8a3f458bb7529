/* link/binding.h -- which client speaks for which actor of a remote cluster.
 *
 * Core says only of clients on the link worker when they go, so old bindings are forgotten, those
 * of each link for themselves, the one longest silent first.
 *
 * Threads  the link worker.
 * Memory   a piece for each; bounded by BINDINGS_MAX for each link.
 */
#ifndef LINK_BINDING_H
#define LINK_BINDING_H

#include "core/base/hash.h"
#include "core/base/table.h"
#include "core/broker/shard.h"
#include "link/emqx.h"

/* Clients bound to actors of one link at a time: as many as it has actors, and as many again that
 * are gone without our knowing. Beyond: the one longest silent is forgotten. */
#define BINDINGS_MAX 2048u

struct peer;
struct binding;

/* The bindings of one link, in the order in which they last spoke: longest silent first. */
struct binding_list {
    struct binding *first, *last;
    uint32_t count;
};

/* A client that speaks for an actor. */
struct binding {
    struct table_node node;
    struct binding *prev, *next;
    struct binding_list *list; /* of its link */
    struct client_name client;
    struct peer *peer;
    uint64_t incarnation;
    bool answer_due, need_bootstrap, is_native, has_groups, deflates, transits;
    uint32_t actor_n;
    uint8_t actor[];
};

struct bindings {
    struct hash_key key;
    struct table table;
};

/* Whether two names are of one connection. */
bool client_name_eq(const struct client_name *a, const struct client_name *b);

/* None yet; bindings_fini forgets all. */
void bindings_init(struct bindings *all, const struct hash_key *key);
void bindings_fini(struct bindings *all);

/* Forgets one. */
void bindings_forget(struct bindings *all, struct binding *b);

/* The binding of a client, which has just spoken; or NULL. */
struct binding *bindings_find(struct bindings *all, const struct client_name *client);
/* A client is gone. */
void bindings_remove(struct bindings *all, const struct client_name *client);
/* Binds a client, which is not bound, to the actor that it introduces; `list` is that of its peer,
 * all zero in the beginning. NULL: no memory. */
struct binding *bindings_add(struct bindings *all, const struct client_name *client,
                             struct peer *peer, struct binding_list *list,
                             const struct emqx_control *init);

#endif
