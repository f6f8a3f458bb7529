/* core/mail/mailbox.h -- how one worker leaves work for another.
 *
 * One bounded ring for every pair of workers and kind of mail, so every ring has one producer and
 * one consumer and no lock. Posting never blocks and never allocates.
 *
 * Kinds stand in an order: whoever handles one kind posts only later kinds, so no cycle of waiting
 * can form (core/mail/msg.h says which message is of which kind).
 *
 * A post is seen by the receiver after mail_flush, once per turn: it sets the sender's bit in the
 * receiver's word of that kind and says whom to wake. Sleep: mail_sleep declares it and looks once
 * more; both sides use sequentially consistent operations on `pending` and `asleep`, so one of them
 * sees the other.
 *
 * Threads  post, room, flush: the worker named `from`.  All else: the receiving worker.
 * Order    of one sender and kind, as posted. Between kinds and between senders, none; a later kind
 *          can ask for what was posted before it with mail_mark and mail_passed.
 * Full     mail_post returns NULL: nothing was taken; the caller parks or keeps its cursor.
 */
#ifndef CORE_MAIL_MAILBOX_H
#define CORE_MAIL_MAILBOX_H

#include "core/base/err.h"
#include "core/base/spsc.h"

enum mail_kind { MAIL_PUBLISH, MAIL_GROUP, MAIL_REQUEST, MAIL_ANSWER, MAIL_KIND_COUNT };

struct mail; /* opaque: all rings of the process */

/* Rings for `workers` (1..WORKERS_MAX); ring_bytes[kind] each, powers of two. Their memory is
 * touched only as records come.  NULL: no memory.  Boot only. */
struct mail *mail_create(uint32_t workers, const uint32_t ring_bytes[MAIL_KIND_COUNT]);
void mail_destroy(struct mail *m); /* NULL is fine */
/* Ring sizes that suit a number of workers: at most 64 MiB in all for up to 48 workers. Beyond that
 * every ring has its smallest size, 112 MiB in all for 64. Records of 2048 bytes always fit, of
 * kind MAIL_REQUEST 1024. */
void mail_default_sizes(uint32_t workers, uint32_t ring_bytes[MAIL_KIND_COUNT]);

/* The largest record of a kind. */
uint32_t mail_record_max(const struct mail *m, enum mail_kind kind);

/* Room for one record, or NULL when the ring is full (nothing was taken). A worker may write to
 * itself too. What is reserved is posted at once: the writer fills it before mail_flush. */
void *mail_post(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t bytes);
/* Whether one record of `bytes` would fit now; it stays so until `from` posts there. */
bool mail_room(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t bytes);
/* The same for `count` records of together `bytes` (see spsc_room). */
bool mail_room_for(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t count,
                   uint32_t bytes);
/* Commits the posts of one ring at once, so that mail_mark of the receiver counts them; it is told
 * of them, and woken, by the next mail_flush as ever. */
void mail_show(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind);
/* Shows all posts since the last flush, earlier kinds first. Returns the set of workers (bit =
 * number) that sleep and must be woken by the caller. */
uint64_t mail_flush(struct mail *m, uint32_t from);

/* Handles one record: true when it was taken; false: it stays the first of its ring (the receiver
 * cannot go on with this kind from this sender now) and is offered again next time. May post, but
 * neither drain nor sleep. */
typedef bool mail_handler(void *owner, uint32_t from, enum mail_kind kind, void *record,
                          uint32_t bytes);
/* Drains the rings of `to`, kinds in order, at most `budget` records of each kind and sender; the
 * sender that begins changes with each call. A refused record holds up its own ring only.
 * Returns true when something is left, by budget or refused: the worker must not sleep then. */
bool mail_drain(struct mail *m, uint32_t to, mail_handler *handle, void *owner, uint32_t budget);

/* Declares that `to` is going to sleep and looks once more: false when mail has come meanwhile or
 * the last drain left some (then it is not asleep). */
bool mail_sleep(struct mail *m, uint32_t to);
void mail_awake(struct mail *m, uint32_t to); /* fine when not asleep */

/* Positions of the rings of one kind towards `to`: mark[sender], WORKERS_MAX places; later whether
 * everything committed by then has been handled. When a record is handled, whatever its sender had
 * posted of earlier kinds before it lies below the mark. */
void mail_mark(const struct mail *m, uint32_t to, enum mail_kind kind, uint64_t *mark);
bool mail_passed(const struct mail *m, uint32_t to, enum mail_kind kind, const uint64_t *mark);

/* For tests: every ring goes on from `position` (see spsc_start_at). */
void mail_start_at(struct mail *m, uint64_t position);

#endif
