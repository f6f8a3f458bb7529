/* link/interest.h -- the filters we want from one peer, and what the peer has yet to be told.
 *
 * Fed with our own subscriptions as they appear and go (distinct filters and (group, filter) pairs,
 * counted by somebody else), it works out the routes: every intersection with the link's topics,
 * with the id that names the subscription. Of each route it knows whether we want it and whether
 * the peer has it; the difference is what is pending. So there is at most one operation per route,
 * the latest wish wins, and what was wanted and dropped before it was sent is never sent.
 *
 * Sending: interest_take hands out operations, oldest first, for one batch; interest_ack or
 * interest_fail ends the batch. After a failure nobody knows what the peer took, and the wish is
 * sent again. interest_forget says that the peer has nothing (first contact, or it lost us): then
 * interest_take first walks all wanted routes, in slices as large as its batches.
 *
 * Threads  the worker that made it; pure: no I/O, no clock.
 * Memory   a piece for each route that is wanted or that the peer may still have; never more than
 *          `routes_max`. Views handed out live until the next call.
 */
#ifndef LINK_INTEREST_H
#define LINK_INTEREST_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"

struct interest; /* opaque */

/* Makes one for a link that imports `topics` (copied, then reduced: link/algebra.h). NULL when
 * memory cannot be had. */
struct interest *interest_create(const struct bytes *topics, uint32_t topic_count,
                                 uint32_t routes_max, const struct hash_key *key);
void interest_destroy(struct interest *in);

/* A local subscription has appeared (the first of its kind) or gone (the last). `group` is empty
 * for a plain filter. Repeating changes nothing. ERR_FULL: `routes_max` reached; ERR_MEMORY; in
 * both cases nothing was changed. Removing what is not there changes nothing. */
MUST_USE enum err interest_add(struct interest *in, struct bytes group, struct bytes filter);
void interest_remove(struct interest *in, struct bytes group, struct bytes filter);

/* Whether the peer has all routes of a subscription that are wanted, but for those that fit into no
 * batch. */
bool interest_is_told(struct interest *in, struct bytes group, struct bytes filter);

/* All that is subscribed to is going to be added, as in the beginning, or anew: of what was added
 * before nothing is wanted any more. That may take many turns. First comes interest_forgo, until it
 * has come to the end; then all is added, while the first subscriptions already come and go; then
 * interest_imported. Meanwhile nothing is withdrawn; what is wanted as before is not touched. */
void interest_refill(struct interest *in);
/* The same where the link imports other topics, or may have more or fewer routes. ERR_MEMORY:
 * nothing was changed. */
MUST_USE enum err interest_import(struct interest *in, const struct bytes *topics,
                                  uint32_t topic_count, uint32_t routes_max);
/* Goes on with what is not wanted any more; uses up *budget. Whether that was all. */
bool interest_forgo(struct interest *in, uint32_t *budget);
/* All has been added: withdraws what is not wanted any more, behind what is new. Uses up *budget;
 * whether that was all, or it is to be called again. */
bool interest_imported(struct interest *in, uint32_t *budget);

/* The peer has none of our routes. Ends a batch that is out as never sent. O(its operations). */
void interest_forget(struct interest *in);

/* What the receiver of an operation did with it. */
enum interest_taken {
    INTEREST_TAKEN,
    INTEREST_NO_ROOM, /* the batch is full; this one comes first in the next */
    INTEREST_NEVER    /* fits into no batch: put aside until interest_forget or a change, counted */
};
typedef enum interest_taken interest_emit(void *arg, bool is_add, struct bytes filter,
                                          struct bytes id);

/* Hands out the operations of the next batch, at most `count_max`, and returns how many were taken.
 * With more than 0 a batch is out until interest_ack or interest_fail; until then, 0. */
uint32_t interest_take(struct interest *in, uint32_t count_max, interest_emit *emit, void *arg);

/* The batch that is out has been applied by the peer; or has perhaps. */
void interest_ack(struct interest *in);
void interest_fail(struct interest *in);

struct interest_state {
    uint32_t wanted;  /* routes we want */
    uint32_t held;    /* routes remembered, wanted or still to be withdrawn */
    uint32_t pending; /* operations waiting (while is_walking: those behind the walk too) */
    uint32_t out;     /* operations in the batch that is out */
    uint32_t aside;   /* operations too large for any batch, ever */
    bool is_walking;  /* all wanted routes are being announced */
};
/* How things stand now. */
struct interest_state interest_state(const struct interest *in);

#endif
