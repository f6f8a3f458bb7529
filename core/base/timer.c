/* core/base/timer.c -- a hierarchical timer wheel of one worker, in milliseconds.
 *
 * Read a moment as a number with digits of six bits. A timer stands on the level of the highest
 * digit in which its due moment differs from now, in the slot of that digit. So
 *   - a slot on level L begins at: the digits of now above L, its own digit, zeros;
 *   - occupied slots of a level lie ahead of now's digit, those of lower levels begin earlier;
 *   - when now reaches the beginning of a slot, its timers move to lower levels or fire.
 * Only a slot whose move was cut off by the budget stands at now's own digit on a level above 0; it
 * is finished before anything else. On level 0 that slot holds what is due now.
 *
 * A delay of 64^(L+1) or more is rounded up to whole 64^L, at most 1/64 of it. Such a timer meets
 * the beginning of a slot exactly and fires from there instead of moving further down: one extra
 * wake-up at most, shared with all that fall into the same slot.
 */
#include "core/base/timer.h"

#include "core/base/check.h"

#define DIGIT_BITS 6u

_Static_assert(TIMER_SLOTS == 1 << DIGIT_BITS, "one slot for each value of a digit");
_Static_assert(TIMER_LEVELS *DIGIT_BITS >= 64, "no moment lies beyond the last level");

static uint32_t digit_of(uint64_t ms, uint32_t level)
{
    return (uint32_t)(ms >> (level * DIGIT_BITS)) & (TIMER_SLOTS - 1);
}

/* The highest digit that is not zero; 0 for zero. */
static uint32_t level_of(uint64_t ms)
{
    return ms ? (63u - (uint32_t)__builtin_clzll(ms)) / DIGIT_BITS : 0;
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms, void *owner)
{
    memset(w, 0, sizeof *w);
    w->now_ms = w->told_ms = now_ms;
    w->owner = owner;
}

void timer_wheel_tell(struct timer_wheel *w, uint64_t now_ms)
{
    if (now_ms > w->told_ms)
        w->told_ms = now_ms;
}

static void push(struct timer **head, struct timer *t)
{
    t->next = *head;
    if (t->next)
        t->next->link = &t->next;
    t->link = head;
    *head = t;
}

static void unlink_timer(struct timer *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

/* Into the slot of its due moment, which lies ahead of now. */
static void place(struct timer_wheel *w, struct timer *t)
{
    uint32_t level = level_of(t->due_ms ^ w->now_ms);
    uint32_t slot = digit_of(t->due_ms, level);

    DCHECK(t->due_ms > w->now_ms);
    push(&w->slots[level][slot], t);
    w->occupied[level] |= 1ull << slot;
}

/* A due moment, later by at most 1/64 of the delay. */
static uint64_t round_up(uint64_t due_ms, uint64_t delay_ms)
{
    uint32_t level = level_of(delay_ms);
    uint64_t grain = level == 0 ? 1 : 1ull << ((level - 1) * DIGIT_BITS);

    if (due_ms > UINT64_MAX - grain)
        return due_ms;
    return (due_ms + grain - 1) & ~(grain - 1);
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t due_ms, timer_fn *fire)
{
    CHECK(fire);
    timer_cancel(w, t);
    t->fire = fire;
    t->due_ms = due_ms > w->told_ms ? round_up(due_ms, due_ms - w->told_ms) : due_ms;
    w->count++;
    if (t->due_ms > w->now_ms)
        place(w, t);
    else
        push(&w->overdue, t); /* not `firing`: a fire that arms itself would never end */
}

/* Clears the bit of the slot that `link` heads, if it heads one and has become empty. */
static void note_empty(struct timer_wheel *w, struct timer **link)
{
    uintptr_t offset = (uintptr_t)link - (uintptr_t)w->slots;

    if (*link == NULL && offset < sizeof w->slots) {
        uint32_t slot_idx = (uint32_t)(offset / sizeof(void *));

        w->occupied[slot_idx / TIMER_SLOTS] &= ~(1ull << slot_idx % TIMER_SLOTS);
    }
}

void timer_cancel(struct timer_wheel *w, struct timer *t)
{
    struct timer **link = t->link;

    if (!link)
        return;
    unlink_timer(t);
    note_empty(w, link);
    CHECK(w->count > 0);
    w->count--;
}

bool timer_is_armed(const struct timer *t)
{
    return t->link != NULL;
}

struct slot_ref {
    uint32_t level;
    uint32_t slot;
    uint64_t begin_ms;
};

/* The occupied slot that begins first; false when there is none. */
static bool first_slot(const struct timer_wheel *w, struct slot_ref *first)
{
    bool found = false;

    for (uint32_t level = 0; level < TIMER_LEVELS; level++) {
        uint32_t shift = level * DIGIT_BITS;
        uint32_t here = digit_of(w->now_ms, level);
        uint32_t slot;

        if (!w->occupied[level])
            continue;
        slot = (uint32_t)__builtin_ctzll(w->occupied[level]);
        DCHECK(slot >= here);
        if (slot == here && level > 0) { /* cut off: goes before all else */
            *first = (struct slot_ref){level, slot, w->now_ms};
            return true;
        }
        if (!found)
            *first = (struct slot_ref){level, slot,
                                       w->now_ms - (w->now_ms & ((1ull << shift) - 1)) +
                                           ((uint64_t)(slot - here) << shift)};
        found = true;
    }
    return found;
}

/* Fires from `firing` until it is empty (true) or the budget is (false). */
static bool fire_all(struct timer_wheel *w, uint64_t now_ms, uint32_t *budget)
{
    while (w->firing) {
        struct timer *t = w->firing;

        if (*budget == 0)
            return false;
        --*budget;
        unlink_timer(t);
        w->count--;
        t->fire(t, w->owner, now_ms); /* `t` may be gone after this */
    }
    return true;
}

/* Hands a whole list to `firing`, which is empty. */
static void take(struct timer_wheel *w, struct timer **list)
{
    CHECK(!w->firing);
    w->firing = *list;
    *list = NULL;
    if (w->firing)
        w->firing->link = &w->firing;
    note_empty(w, list);
}

/* Moves the timers of a slot that begins now: to lower levels, or to `firing`. False: the budget is
 * used up and some are left. */
static bool move_down(struct timer_wheel *w, struct slot_ref at, uint32_t *budget)
{
    struct timer **head = &w->slots[at.level][at.slot];

    if (at.level == 0) {
        take(w, head);
        return true;
    }
    while (*head) {
        struct timer *t = *head;

        if (*budget == 0)
            return false;
        --*budget;
        unlink_timer(t);
        if (t->due_ms > w->now_ms)
            place(w, t);
        else
            push(&w->firing, t);
    }
    note_empty(w, head);
    return true;
}

bool timer_advance(struct timer_wheel *w, uint64_t now_ms, uint32_t budget)
{
    struct slot_ref at;

    timer_wheel_tell(w, now_ms);
    if (now_ms < w->now_ms)
        now_ms = w->now_ms;
    if (!fire_all(w, now_ms, &budget)) /* what the last budget left */
        return true;
    take(w, &w->overdue);
    while (fire_all(w, now_ms, &budget)) {
        if (!first_slot(w, &at) || at.begin_ms > now_ms) {
            w->now_ms = now_ms;
            return false;
        }
        w->now_ms = at.begin_ms;
        if (!move_down(w, at, &budget))
            return true;
    }
    return true;
}

uint64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms)
{
    struct slot_ref at;

    if (w->overdue || w->firing)
        return 0;
    if (!first_slot(w, &at))
        return UINT64_MAX;
    return at.begin_ms > now_ms ? at.begin_ms - now_ms : 0;
}
