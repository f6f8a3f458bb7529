/* core/base/timer.h -- a hierarchical timer wheel of one worker, in milliseconds.
 *
 * Arming and cancelling are O(1) whatever the number of timers; an idle wheel needs no tick: it
 * says when it next has to be looked at. A timer may fire up to 1/64 of its delay late, never
 * early: timers of similar delay then share a wake-up.
 * Source: Varghese and Lauck, "Hashed and hierarchical timing wheels".
 *
 * Threads  the owning worker only. Time is handed in.
 */
#ifndef CORE_BASE_TIMER_H
#define CORE_BASE_TIMER_H

#include "core/base/bytes.h"

struct timer;
typedef void timer_fn(struct timer *t, void *owner, uint64_t now_ms);

/* Embedded in the object it belongs to. All zero: not armed. */
struct timer {
    struct timer *next;
    struct timer **link; /* what points at us; NULL: not armed */
    uint64_t due_ms;     /* when it fires: as asked for, rounded up by at most 1/64 of the delay */
    timer_fn *fire;
};

/* Six bits of a moment for each level, so that no moment lies beyond the last one. */
#define TIMER_LEVELS 11
#define TIMER_SLOTS 64

struct timer_wheel {
    uint64_t now_ms;                 /* everything before has fired or waits in `firing` */
    uint64_t told_ms;                /* the latest moment we were told; delays count from here */
    void *owner;                     /* handed to every fire */
    uint32_t count;                  /* armed */
    struct timer *overdue;           /* armed for a moment that had passed */
    struct timer *firing;            /* due: fire one after the other */
    uint64_t occupied[TIMER_LEVELS]; /* one bit for each slot */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
};

/* Nothing armed; time is `now_ms`; `owner` is handed to every fire. */
void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms, void *owner);

/* Tells the time without firing anything: after a long sleep, before arming. Otherwise the delay of
 * a timer, and with it how late it may be, counts from the last advance. */
void timer_wheel_tell(struct timer_wheel *w, uint64_t now_ms);

/* (Re)arms `t` for `due_ms`; a moment that has passed fires at the next advance. */
void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t due_ms, timer_fn *fire);
void timer_cancel(struct timer_wheel *w, struct timer *t); /* fine when not armed */
bool timer_is_armed(const struct timer *t);

/* Fires what is due, at most `budget` timers (a fire may arm and cancel any timer, itself too, and
 * free the object it is in). Moving a timer to a finer level costs one of the budget too, so the
 * work is bounded however far time has jumped. Returns true when it stopped at the budget: more are
 * due at once, or may be. Timers due in one millisecond fire in no particular order. Time that goes
 * back counts as standing still. */
bool timer_advance(struct timer_wheel *w, uint64_t now_ms, uint32_t budget);

/* Milliseconds until the wheel must be advanced again, UINT64_MAX when nothing is armed. May be
 * earlier than the next due timer (cascades), never later. */
uint64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif
