/* core/session/filters.h -- one worker's own filters and who of its sessions wants them.
 *
 * The route index knows only "worker W, slot S"; the slot is a filter here. A filter is told to the
 * owner of its partition when it gets its first subscriber and taken back after its last one; at
 * most one such request is under way for a filter, so requests and answers cannot cross.
 *
 *   IDLE --first subscriber--> ADDING --done--> VISIBLE --last one gone--> REMOVING --done--> IDLE
 *
 * Invariant: filter->v[i].session->subs[filter->v[i].at].at == i, so leaving is O(1).
 *
 * Threads  the owning worker only; `text` is read by the partition's owner while a request is out.
 */
#ifndef CORE_SESSION_FILTERS_H
#define CORE_SESSION_FILTERS_H

#include "core/base/slab.h"
#include "core/base/table.h"

struct session;
struct suback;

enum filter_state { FILTER_IDLE, FILTER_ADDING, FILTER_VISIBLE, FILTER_REMOVING };

/* Subscription options as they travel: QoS in bits 0-1, then flags. */
#define SUB_QOS 0x03u
#define SUB_NO_LOCAL 0x04u
#define SUB_RETAIN_AS_PUBLISHED 0x08u
/* And one that does not travel: its session may read all that the filter matches, as far as the
 * session's acl_version is the worker's. */
#define SUB_COVERED 0x10u

struct subscriber {
    struct session *session;
    uint32_t at; /* place in session->subs */
    uint32_t subscription_id;
    uint8_t options;
};

/* Somebody who waits for the filter to become visible. */
struct filter_wait {
    struct filter_wait *next;
    struct suback *suback;
    uint32_t at; /* which filter of the SUBSCRIBE */
};

struct filter {
    struct table_node node;   /* by hash of the text */
    struct filter *todo_next; /* on the list of requests that found no room */
    struct filter_wait *waiting;
    struct subscriber *v; /* == &one while one fits */
    struct subscriber one;
    uint32_t count, capacity;
    uint16_t owner; /* worker that owns its partition */
    uint8_t state;  /* enum filter_state */
    bool is_todo;
    uint32_t text_count;
    uint8_t *text;
};

struct filters {
    struct slab slab;
    struct table table;
};

/* Room for at most `count_max` filters; nothing is allocated yet. */
void filters_init(struct filters *f, uint32_t count_max);
/* Frees all of them, in whatever state. */
void filters_fini(struct filters *f);

/* The filter with this text, or NULL. */
struct filter *filters_find(const struct filters *f, struct bytes text, uint64_t hash);
/* A new one, IDLE, without subscribers.  NULL: no memory or the bound. */
struct filter *filters_create(struct filters *f, struct bytes text, uint64_t hash, uint16_t owner);
/* Frees one that is IDLE and has nobody. */
void filters_remove(struct filters *f, struct filter *x);
/* By slot and generation; NULL when stale. */
struct filter *filters_at(const struct filters *f, struct handle h);
struct bytes filter_text(const struct filter *f);

/* Adds a subscriber: its place in filter->v, or UINT32_MAX without memory. */
uint32_t filter_join(struct filter *f, struct subscriber s);
/* Takes the subscriber at `at` away; the last one moves to its place and its session is told. */
void filter_leave(struct filter *f, uint32_t at);

#endif
