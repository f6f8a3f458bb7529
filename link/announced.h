/* link/announced.h -- the filters one peer wants from us, by actor, and who may announce.
 *
 * A peer's nodes are its actors; each announces its own routes: pairs of a filter and an id that
 * means nothing to us. Several routes may name one filter; the route index wants to hear of a
 * filter once, when the first route comes and when the last one goes.
 *
 * An actor comes with an incarnation. The same one again is the same life of that node and keeps
 * its routes; a higher one is a new life, whose routes are announced anew; a lower one is refused.
 * An actor that is not heard of until its expiry is gone; its routes go after it, in slices. If it
 * comes back meanwhile it is a new one: what is left of its routes stays until announced again or
 * swept, like those of an earlier life.
 *
 * A native peer (link/native.h) announces in a stream with generations. announced_renew begins a
 * higher one; what the actor had stays until it is announced again, withdrawn, or swept after
 * announced_end, the end marker. Count and digest of what it announced in the present generation
 * are kept, to be compared with what the peer believes. Its routes have empty ids. In place of a
 * filter it may announce the text of a passing route (link/path.h), which is another one.
 *
 * Threads  the worker that made it; pure: no I/O, no clock: times are given in, in milliseconds.
 * Memory   a piece for each distinct filter, 28 bytes and its text, and 8 to 16 bytes of hash
 *          table; it has room for one route with an empty id or one that is the filter. As much
 *          again for each further route. Bounded by `routes_max`, and each asked for before it is
 *          taken (announced_hold).
 */
#ifndef LINK_ANNOUNCED_H
#define LINK_ANNOUNCED_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"

/* How long an actor lives without a heartbeat: EMQX's 30 s, and a margin for the way. */
#define ANNOUNCED_TTL_MS 35000u
/* Bytes of an actor's name: an Erlang node name has at most 255. Beyond: ERR_PEER. */
#define ANNOUNCED_ACTOR_BYTES_MAX 512u
/* Bytes of a route id: a durable session's id holds a client id and a filter. Beyond: ERR_PEER. */
#define ANNOUNCED_ID_BYTES_MAX (2 * 65535u + 16)

/* ---- handshake ---- */

enum handshake {
    HANDSHAKE_OK, /* now ask announced_hello */
    HANDSHAKE_UNKNOWN_CLUSTER,
    HANDSHAKE_BAD_LINK_NAME,
    HANDSHAKE_LINK_DISABLED,
    HANDSHAKE_COUNT
};

/* Whether a cluster may announce: is there a link of its name, is that enabled, and does the peer
 * know us by our own name? */
enum handshake handshake_decide(bool is_known, bool is_enabled, struct bytes target,
                                struct bytes own_name);

/* The reason to send with a refusal, as EMQX words it. Empty for HANDSHAKE_OK. */
struct bytes handshake_reason(enum handshake h);

/* ---- actors ---- */

struct announced;       /* opaque */
struct announced_actor; /* opaque; valid until announced_hello, _expire, _sweep_all or _drop */

/* A filter of this peer has become wanted or is no longer; called from within any function below
 * that changes routes. It must not call back. */
typedef void announced_report(void *arg, struct bytes filter, bool is_wanted);

/* Counts bytes that routes take (negative: no longer). false with a positive number: they must not
 * be taken, and nothing was counted. */
typedef bool announced_hold(void *arg, int64_t bytes);

/* What the owner is asked and told; `hold` may be NULL: all may be taken. */
struct announced_ops {
    announced_report *report;
    announced_hold *hold;
};

/* At most `actors_max` actors, `routes_max` routes of all of them, filters of at most `levels_max`
 * levels. `ops` outlives it. NULL when memory cannot be had. announced_destroy reports nothing, but
 * lets go what is held. */
struct announced *announced_create(uint32_t actors_max, uint32_t routes_max, uint32_t levels_max,
                                   const struct hash_key *key, const struct announced_ops *ops,
                                   void *arg);
void announced_destroy(struct announced *a);

/* What becomes of an actor's routes when it returns with a higher incarnation. */
enum announced_old {
    ANNOUNCED_OLD_GO,  /* removed at once and reported, as EMQX does: dark until announced again */
    ANNOUNCED_OLD_STAY /* stay until announced again, withdrawn, or swept by announced_sweep */
};

/* From now on at most so many routes; what is there beyond stays. */
void announced_limit(struct announced *a, uint32_t routes_max);

/* actor_init. OK: *need_bootstrap says whether the peer must announce its routes (a new actor or a
 * new incarnation, or it was told so and has said nothing since: it may not have heard it), and the
 * actor expires at `expiry`. ERR_PEER: a lower incarnation than the one we know, or an impossible
 * name. ERR_FULL: too many actors, with those that are gone and not yet swept. ERR_MEMORY. */
MUST_USE enum err announced_hello(struct announced *a, struct bytes name, uint64_t incarnation,
                                  uint64_t expiry, enum announced_old old, bool *need_bootstrap);

/* The incarnation of an actor that is there; 0: it is not. */
uint64_t announced_incarnation(struct announced *a, struct bytes name);

/* The actor of that name in that incarnation, or NULL when it is gone or another. Asked once for
 * each payload of its connection; NULL is a protocol error of the peer. */
struct announced_actor *announced_find(struct announced *a, struct bytes name,
                                       uint64_t incarnation);

/* A heartbeat: the actor expires at `expiry`. */
void announced_beat(struct announced_actor *actor, uint64_t expiry);

/* Operations of it were lost: it must announce all its routes when it introduces itself next. */
void announced_doubt(struct announced_actor *actor);

/* The same for all actors. */
void announced_doubt_all(struct announced *a);

/* Route operations; repeating one changes nothing. ERR_PEER: not a filter, or an impossible id.
 * ERR_FULL: `routes_max` reached, also without what earlier incarnations of the actor left.
 * ERR_MEMORY: there is none, or it may not be held. In all these cases no route of the present
 * incarnation was changed. */
MUST_USE enum err announced_add(struct announced *a, struct announced_actor *actor,
                                struct bytes filter, struct bytes id);
void announced_delete(struct announced *a, struct announced_actor *actor, struct bytes filter,
                      struct bytes id);

/* Removes up to `count_max` routes that the actor's present incarnation and generation have not
 * announced again. Returns whether some are left. Of a kept actor nothing is removed. */
bool announced_sweep(struct announced *a, struct announced_actor *actor, uint32_t count_max);
/* The same for all actors together that have settled by now, and for those that are gone: once
 * their last route is removed they are forgotten. */
bool announced_sweep_all(struct announced *a, uint64_t now, uint32_t count_max);

/* An actor of EMQX does not say when it has announced all. It has settled when it has sent a
 * heartbeat in its present incarnation, and no route for so long. */
#define ANNOUNCED_SETTLE_MS 2000u
/* It has sent routes, or a heartbeat. Not for who says that it is done: see announced_sweep. */
void announced_heard(struct announced_actor *actor, uint64_t now, bool is_beat);
/* Whether any actor has routes that it announced in an earlier incarnation only. */
bool announced_has_old(const struct announced *a);
/* When the next actor that has old routes settles, if it sends no more; UINT64_MAX: none will that
 * has not yet sent a heartbeat. */
uint64_t announced_next_settled(const struct announced *a);

/* ---- the stream of a native peer ---- */

/* Nothing of the actor is swept until announced_end, and until a new generation begins
 * announced_hello says again that it must announce: it may not have heard of it. To be said right
 * after announced_hello when the peer is native and must announce: its first frame may take its
 * time. */
void announced_keep(struct announced_actor *actor);

/* Comes before each element of the stream, with native_digest_key of its generation. A higher one
 * than before: a new announcement begins, and the actor is kept. ERR_PEER: a lower one. */
MUST_USE enum err announced_renew(struct announced_actor *actor, uint64_t generation,
                                  const struct hash_key *digest_key);
/* The end marker of the present generation: announced_sweep removes what was not heard again. */
void announced_end(struct announced_actor *actor);

/* Something of the present generation was not taken, as when announced_add has failed: there is
 * nothing to compare until the next. */
void announced_refuse(struct announced_actor *actor);

/* Whether what the actor announced in its present generation is not what it believes. False while
 * it is kept, after a refusal, and before its first generation: there is nothing to compare. */
bool announced_differs(const struct announced_actor *actor, uint64_t count, uint64_t digest);

/* ---- time, and all of it ---- */

/* Every actor whose expiry is not after `now` is gone. Returns how many; *routes is how many routes
 * announced_sweep_all will remove for it. */
uint32_t announced_expire(struct announced *a, uint64_t now, uint32_t *routes);
/* No actor expires before that. */
void announced_spare(struct announced *a, uint64_t expiry);
/* The earliest expiry of all actors, UINT64_MAX without any. */
uint64_t announced_next_expiry(const struct announced *a);

/* Removes all actors with their routes, reporting each filter. */
void announced_drop(struct announced *a);

/* Walks the distinct filters, in no order; *cursor starts as NULL. Nothing may
 * change meanwhile. */
bool announced_next_filter(const struct announced *a, const void **cursor, struct bytes *filter);

/* How many actors (without those that are gone), routes that are held, and distinct filters. */
uint32_t announced_actor_count(const struct announced *a);
uint32_t announced_route_count(const struct announced *a);
uint32_t announced_filter_count(const struct announced *a);

#endif
