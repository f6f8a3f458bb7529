/* link/announced_state.h -- what the files of link/announced.h share.
 *
 * Not for anybody else.
 */
#ifndef LINK_ANNOUNCED_STATE_H
#define LINK_ANNOUNCED_STATE_H

#include "core/base/table.h"
#include "link/announced.h"

/* A route, in the list of its actor. */
struct held {
    struct held *prev, *next; /* of the actor, older generations first */
    struct announced_actor *actor;
    uint32_t generation;
    uint32_t id_n : 31;  /* ID_IS_FILTER: none of its own */
    uint32_t is_own : 1; /* part of a filter, else of a route */
};

#define ID_IS_FILTER 0x7fffffffu

/* What an entry of the route index takes beside its text (core/index/exact.h). */
#define ANNOUNCED_INDEX_BYTES 56u

struct filter {
    struct table_node node;
    struct filter *prev, *next; /* all filters, in the order of their coming */
    uint32_t route_count;
    uint32_t n;
    struct held own; /* without an actor: none */
    uint8_t text[];
};

struct route {
    struct held held;
    struct table_node node;
    struct filter *filter;
    uint8_t id[];
};

struct announced_actor {
    struct announced_actor *next;
    uint64_t incarnation, expiry;
    uint64_t told_ms;    /* when it last sent routes, in EMQX's dialect */
    uint64_t stream;     /* the generation of its stream */
    uint32_t generation; /* counts incarnations and generations seen */
    uint32_t number;     /* tells actors apart in hashes */
    uint32_t route_count;
    bool is_gone;           /* expired: kept for its routes only */
    bool is_kept;           /* nothing is swept until the end marker */
    bool is_refused;        /* something of the present generation was not taken */
    bool is_doubtful;       /* see announced_doubt */
    bool has_beaten;        /* in this incarnation: see announced_heard */
    bool has_digest;        /* count and digest are kept */
    uint64_t count, digest; /* of the present generation */
    struct hash_key digest_key;
    struct held *first, *last;
    uint32_t name_n;
    uint8_t name[];
};

struct announced {
    struct hash_key key;
    struct table filters, routes;
    struct filter *first, *last;
    struct announced_actor *actors;
    uint32_t actor_count, gone_count; /* gone: not in actor_count */
    uint32_t actors_max, routes_max, levels_max, next_number;
    uint32_t route_count;
    const struct announced_ops *ops;
    void *arg;
};

/* Removes a route of an actor, and its filter if that was the last one. */
void announced_free_route(struct announced *a, struct announced_actor *actor, struct held *h);

/* Whether the actor has routes that it has not announced in its present generation. */
bool announced_actor_has_old(const struct announced_actor *actor);

/* Removes such routes and uses up *count. True: some are left. Also of an actor that is kept:
 * somebody needs the room. */
bool announced_sweep_actor(struct announced *a, struct announced_actor *actor, uint32_t *count);

#endif
