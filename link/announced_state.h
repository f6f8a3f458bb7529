/* link/announced_state.h -- what the files of link/announced.h share.
 *
 * Not for anybody else.
 */
#ifndef LINK_ANNOUNCED_STATE_H
#define LINK_ANNOUNCED_STATE_H

#include "core/base/table.h"
#include "link/announced.h"

/* Who holds a route, and since when: the number of an actor, 0 for nobody, and its generation. Both
 * wrap: what an actor announced 2^24 generations ago, and is still not swept, passes for new. */
struct held {
    uint64_t actor : 16;
    uint64_t generation : 24;
    uint64_t is_id : 1; /* of a filter's own route: its id is the filter, else empty */
    uint64_t n : 23;    /* bytes of the text */
};

#define ACTORS_MAX 0xffffu
#define GENERATION_MASK 0xffffffu
#define TEXT_BYTES_MAX 0x7fffffu

/* What an entry of the route index takes beside its text (core/index/exact.h). */
#define ANNOUNCED_INDEX_BYTES 48u

/* There may be a million of them. */
struct filter {
    struct table_node node;
    struct held own;     /* a route with an empty id, or one that is the filter; `n` of the text */
    uint32_t more_count; /* routes beside that one */
    uint8_t text[];
};

/* A route outside of its filter. */
struct route {
    struct table_node node;
    struct filter *filter;
    struct held held; /* `n` of the id */
    uint8_t id[];
};

struct announced_actor {
    struct announced_actor *next;
    uint64_t incarnation, expiry;
    uint64_t told_ms;    /* when it last sent routes, in EMQX's dialect */
    uint64_t stream;     /* the generation of its stream */
    uint32_t generation; /* counts incarnations and generations seen */
    uint32_t number;     /* from 1, its place in `numbered` */
    uint32_t route_count;
    uint32_t old_count;     /* of them, not announced in the present generation */
    bool is_gone;           /* expired: kept for its routes only */
    bool is_kept;           /* nothing is swept until the end marker */
    bool is_swept;          /* now, by announced_sweep_actor and announced_sweep_all */
    bool is_refused;        /* something of the present generation was not taken */
    bool is_doubtful;       /* see announced_doubt */
    bool is_asked;          /* to announce all, and no new generation has come since */
    bool has_beaten;        /* in this incarnation: see announced_heard */
    bool has_digest;        /* count and digest are kept */
    uint64_t count, digest; /* of the present generation */
    struct hash_key digest_key;
    uint32_t name_n;
    uint8_t name[];
};

struct announced {
    struct hash_key key;
    struct table filters, routes;
    struct announced_actor *actors;
    struct announced_actor **numbered; /* actors_max + 1 places */
    uint32_t actor_count, gone_count;  /* gone: not in actor_count */
    uint32_t actors_max, routes_max, levels_max;
    uint32_t route_count;
    uint32_t sweep_at; /* the bucket that a sweep looks at next, of `filters` or `routes` */
    bool sweeps_routes;
    const struct announced_ops *ops;
    void *arg;
};

/* All routes of the actor become old: it has not announced them in its present generation. */
void announced_begin_generation(struct announced_actor *actor);

/* Removes up to `count_max` old routes of the actors that are to be swept. True: some are left, or
 * may be: with few old routes among many it does not look for all at once. */
bool announced_sweep_marked(struct announced *a, uint32_t count_max);

/* The same for one actor; also of one that is kept: somebody needs the room. */
bool announced_sweep_actor(struct announced *a, struct announced_actor *actor, uint32_t count_max);

/* Removes all routes of all actors. */
void announced_free_all(struct announced *a);

#endif
