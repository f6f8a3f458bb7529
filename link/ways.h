/* link/ways.h -- the inside of link/transit: clusters, and how each can be reached.
 *
 * A way goes by a link and past the clusters of a path. Ways to a cluster stand in the order of
 * their rank: those where all is connected first, then shorter ones, then by their links. A cluster
 * lives as long as it has ways, and until no change of the route index with its number waits any
 * more.
 */
#ifndef LINK_WAYS_H
#define LINK_WAYS_H

#include "core/base/table.h"
#include "link/path.h"
#include "link/transit.h"

#define WAYS_NO_NUMBER UINT32_MAX
#define WAYS_NUMBER_FIRST (LINKS_MAX - TRANSIT_CLUSTERS_MAX)

struct way {
    struct way *next; /* of the cluster, by rank */
    struct peer *peer;
    uint32_t refs;   /* wishes that came on it */
    uint32_t length; /* names in the path as we tell it */
    uint32_t path_n;
    bool was_away;  /* the other side said so */
    uint8_t path[]; /* as we tell it: begins with the name of the link */
};

/* A cluster that wants something. */
struct far {
    struct far *next;
    struct way *ways;
    uint32_t number; /* among destinations, since it was first reached by way of another */
    bool has_left;   /* without ways, until the owners have done all of `left` */
    uint64_t left;   /* of shard_link_routes_asked */
    uint32_t name_n;
    uint8_t name[];
};

/* For whom copies of a message are, and by which link they go. */
struct transit_copies {
    uint32_t count;
    struct {
        struct bytes target;
        struct peer *hop;
    } v[PATH_TARGETS_MAX + LINKS_MAX];
};

struct transit {
    struct link_host *host;
    struct peer *const *peers;
    struct table wishes;
    struct far *clusters;
    struct far *numbered[TRANSIT_CLUSTERS_MAX];
    uint64_t numbers;
    uint64_t number_ms;     /* not before are numbers given to those that have none */
    bool lacks_number;      /* one of them has none, and that is said */
    bool has_free;          /* and a number is free since */
    struct changes changes; /* changes of the route index */
    char *plain[LINKS_MAX]; /* names of links without transit, or NULL */
    struct transit_copies plan;
    uint8_t *text;                  /* TRANSIT_TEXT_BYTES, once there is a route */
    uint32_t way_counts[LINKS_MAX]; /* by number of the link */
    uint64_t said;                  /* links of which it is said that they have too many ways */
};

/* Its name. */
struct bytes far_name(const struct far *c);
/* The cluster of that name, or NULL; a new one, NULL: no memory. */
struct far *far_find(const struct transit *t, struct bytes name);
struct far *far_make(struct transit *t, struct bytes name);
/* Gives a cluster a number. false: there is none. */
bool far_number(struct transit *t, struct far *c);
/* Forgets clusters that nothing leads to; not while a number of theirs may be in use. Whether a
 * number is free again. */
bool far_reap(struct transit *t);

/* The way by a link, past the clusters of a path; NULL: none, or no memory. */
struct way *way_find(const struct far *c, const struct peer *p, const struct route_text *r);
struct way *way_make(struct transit *t, struct far *c, struct peer *p, const struct route_text *r);
/* Forgets it, if no wish needs it. */
void way_release(struct transit *t, struct far *c, struct way *w);
/* Puts the ways in their order anew, after a link has gone away or come back. */
void ways_sort(struct far *c);

/* Whether somebody on it is away. */
bool way_is_away(const struct way *w);
/* Whether it goes before another. */
bool way_is_before(const struct way *a, const struct way *b);
/* Its path, as we tell it. */
struct bytes way_path(const struct way *w);
/* Whether it goes past another cluster than that of its link. */
bool way_is_far(const struct way *w);
/* The best way to a cluster (NULL: to none) by a link that is on, that avoids those of a path;
 * NULL: there is none. */
struct way *way_to(const struct far *c, struct bytes avoid);

#endif
