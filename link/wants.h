/* link/wants.h -- the filters we want from one native peer, and the stream that tells it.
 *
 * Fed with our own subscriptions like link/interest.h, it counts the distinct filters that come of
 * them and the link's topics, and announces a covering set: a filter that an announced one covers
 * is hidden. Covers do not flap: a new cover withdraws nothing that is announced. When the last
 * subscriber of a cover goes, it stays announced for WANTS_LINGER_MS if it hides something; then
 * what it hid and nothing else hides is announced, and after that it is withdrawn.
 *
 * The stream has elements, numbered within a generation: frames of operations and beats. Several
 * frames may be in flight; acks are cumulative. There is at most one operation waiting for each
 * filter, the latest wish wins, and what was wanted and dropped before it was sent is never sent.
 * Adds go before deletes, oldest first in slices of WANTS_SORT, each slice sorted for the sake of
 * prefix coding. A delete is handed out only when no add waits, so that at every point of the
 * stream the peer has a cover for all that is wanted and had one before.
 *
 * A new generation (wants_forget) announces everything again; when all has been handed out, the
 * next beat is the end marker. On a new connection (wants_lost) what was not acked is sent again
 * with new, higher numbers, so numbers may jump there and nowhere else. A beat may not be compared
 * until that has been done, so there is none. It can never be done for an operation that the new
 * connection has no room for; then a new generation is asked for (is_doubtful).
 *
 * Threads  the worker that made it; pure: no I/O, no clock: times are given in, in milliseconds.
 * Memory   for each filter, hidden or announced, 56 bytes (104 with a wildcard) and its text, and
 *          8 to 16 bytes of hash table; for each announced one with a wildcard, what link/covers.h
 *          needs. Never more than `routes_max` filters.
 */
#ifndef LINK_WANTS_H
#define LINK_WANTS_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"

/* How long a cover without a subscriber stays announced for the sake of what it hides. */
#define WANTS_LINGER_MS 30000u
/* Frames of operations in flight. Beats are not counted. */
#define WANTS_FRAMES_MAX 16u
/* Operations that are sorted together. */
#define WANTS_SORT 2048u
/* Filters that one call of wants_run or wants_take uncovers or frees at most. */
#define WANTS_SLICE 2048u

struct wants; /* opaque */

/* Makes one for a link that imports `topics` (copied, then reduced: link/algebra.h). Nothing is due
 * until the first wants_forget. NULL when memory cannot be had. */
struct wants *wants_create(const struct bytes *topics, uint32_t topic_count, uint32_t routes_max,
                           const struct hash_key *key);
void wants_destroy(struct wants *w);

/* A local subscription has appeared (the first of its kind) or gone (the last); `group` is empty
 * for a plain filter. Each is told once, since its filters are counted. ERR_FULL: `routes_max`
 * reached; ERR_MEMORY; in all cases the subscription has no part in what is wanted, and its
 * removal will change nothing. */
MUST_USE enum err wants_add(struct wants *w, struct bytes group, struct bytes filter);
void wants_remove(struct wants *w, struct bytes group, struct bytes filter, uint64_t now);

/* Whether the peer has said of all filters of a subscription that they are in force there, or
 * others that cover them; those that are not wanted or fit into no frame do not count. */
bool wants_is_told(struct wants *w, struct bytes group, struct bytes filter);

/* From now on what is added with a group is one filter, the group's name `$share/GROUP/FILTER`, if
 * the link imports all of its filter; if it imports a part, wants_add answers ERR_NONE and nothing
 * is wanted. Such names neither cover nor are covered. Or, as at first, a group is as a plain
 * filter. To be followed by wants_refill. */
void wants_by_name(struct wants *w, bool by_name);

/* All that is subscribed to is going to be added, as in the beginning, or anew: of what was added
 * before nothing is wanted any more. That may take many turns. First comes wants_forgo, until it
 * has come to the end; then all is added, while the first subscriptions already come and go; then
 * wants_imported. Meanwhile nothing is withdrawn, and no announcement ends; what is wanted as
 * before is not touched. */
void wants_refill(struct wants *w);
/* The same where the link imports other topics, or may have more or fewer routes. ERR_MEMORY:
 * nothing was changed. */
MUST_USE enum err wants_import(struct wants *w, const struct bytes *topics, uint32_t topic_count,
                               uint32_t routes_max);
/* Goes on with what is not wanted any more; uses up *budget. Whether that was all. */
bool wants_forgo(struct wants *w, uint64_t now, uint32_t *budget);
void wants_imported(struct wants *w);

/* Does what time asks for, in slices: covers that have lingered long enough go. To be called at
 * wants_next_due (UINT64_MAX: never), again and again while that is not in the future; wants_take
 * does it too. */
void wants_run(struct wants *w, uint64_t now);
uint64_t wants_next_due(const struct wants *w);

/* A new generation, higher than the one before: everything is announced again. `digest_key` is
 * copied. O(1). */
void wants_forget(struct wants *w, uint64_t generation, const struct hash_key *digest_key);

/* The connection is gone: what is in flight will be sent again. O(its operations). */
void wants_lost(struct wants *w);

/* What the receiver of an operation did with it. */
enum wants_taken {
    WANTS_TAKEN,
    WANTS_NO_ROOM, /* the frame is full; this one comes in the next */
    WANTS_NEVER    /* fits into no frame: put aside until wants_forget or wants_lost, counted */
};
typedef enum wants_taken wants_emit(void *arg, bool is_add, struct bytes filter);

/* Whether wants_take has something for a frame: to be asked when there is room to send. */
bool wants_is_due(const struct wants *w);

/* Hands out the operations of one frame and returns how many were taken; with more than 0, a frame
 * is in flight whose number is what wants_state called `next`. 0 when too many are in flight. */
uint32_t wants_take(struct wants *w, uint64_t now, wants_emit *emit, void *arg);

/* An element without operations: what the peer should hold of this generation behind all that was
 * handed out before it. */
struct wants_beat {
    uint64_t generation, number;
    uint64_t count, digest;
    bool is_end; /* everything wanted has been announced in this generation */
};

/* Whether the next beat is the end marker: it should not wait for its time. */
bool wants_end_is_due(const struct wants *w);

/* Takes the next number for a beat. False: not now, because what was lost is not yet sent again or
 * never can be, or before the first generation. */
bool wants_beat(struct wants *w, struct wants_beat *beat);

/* All elements up to `number` of `generation` have been applied. ERR_PEER: that was never sent. Of
 * an earlier generation: passed over. */
MUST_USE enum err wants_ack(struct wants *w, uint64_t generation, uint64_t number);

struct wants_state {
    uint64_t generation, next; /* next: the number of the next element */
    uint64_t count;            /* filters announced by what was handed out in this generation */
    uint64_t oldest_ms;        /* when the oldest frame without ack was handed out; 0: all acked */
    uint32_t wanted;           /* distinct filters somebody wants */
    uint32_t held;             /* filters remembered: also lingering, or still to be withdrawn */
    uint32_t hidden;           /* of them, hidden by a cover */
    uint32_t lingering;        /* covers that nobody wants */
    uint32_t pending;          /* operations waiting */
    uint32_t flying;           /* filters whose last operation is in flight */
    uint32_t frames;           /* frames in flight */
    uint32_t aside;            /* operations that fit into no frame */
    bool is_announcing;        /* the end marker of this generation is not yet acked */
    bool is_doubtful;          /* what the peer has cannot be made sure: wants_forget is due */
};
/* How things stand now. */
struct wants_state wants_state(const struct wants *w);

#endif
