/* link/spread.c -- notes to lanes, and their boards. */
#include "link/spread.h"

#include <stdlib.h>

#include "cfg/change.h"
#include "core/base/check.h"
#include "core/mail/msg.h"

static void drop_link(void *gift)
{
    cfg_link_free(gift);
}

/* Says to a lane what it is to do. false: no room, or no memory. */
static bool tell(struct spread *s, struct spread_lane *l, const struct cfg_link *link,
                 uint8_t words)
{
    bool tells_link = (!l->is_begun || l->must_tell_link) && !(words & LANE_ENDS);
    struct link_note note = {.number = (uint8_t)l->board->number,
                             .word = words | (l->must_hurry ? LANE_HURRIES : 0),
                             .value = s->mark,
                             .about = l->board,
                             .gift = tells_link ? cfg_link_copy(link) : NULL,
                             .drop = drop_link};

    if (tells_link && !note.gift)
        return false;
    if (shard_link_note(s->host->shard, l->worker, &note) != OK) {
        cfg_link_free(note.gift);
        return false;
    }
    l->is_begun = true;
    l->must_tell_link = l->must_hurry = false;
    l->words_told = words;
    l->mark_told = s->mark;
    return true;
}

/* One that could not be made there, without memory, is brought the link again. */
static void look_whether_failed(struct spread_lane *l)
{
    uint64_t failures = load_relaxed(&l->board->failures);

    l->must_tell_link |= failures != l->failures_seen;
    l->failures_seen = failures;
}

bool spread_run(struct spread *s, const struct cfg_link *link, uint8_t words)
{
    bool is_left = false;

    s->words = words;
    for (uint32_t i = 0; i < s->count; i++) {
        struct spread_lane *l = &s->lane[i];

        if ((l->words_told & LANE_ENDS) || (!l->is_begun && (words & LANE_ENDS)))
            continue;
        look_whether_failed(l);
        if (!l->is_begun || l->must_tell_link || l->must_hurry || l->words_told != words ||
            l->mark_told != s->mark)
            is_left |= !tell(s, l, link, words);
    }
    return is_left;
}

void spread_changed(struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        s->lane[i].must_tell_link = true;
}

void spread_hurry(struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        s->lane[i].must_hurry = s->lane[i].is_begun;
}

/* The loads pair with the store_release in lane.c. */
bool spread_is_there(const struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (!load_acquire(&s->lane[i].board->is_there))
            return false;
    return true;
}

bool spread_has_told(const struct spread *s, enum lane_word word)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (!(s->lane[i].words_told & word))
            return false;
    return true;
}

bool spread_is_up(const struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if ((s->words & LANE_DIALS) && !load_acquire(&s->lane[i].board->is_up))
            return false;
    return true;
}

bool spread_is_full(const struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (load_acquire(&s->lane[i].board->is_full))
            return true;
    return false;
}

bool spread_has_opened(struct spread *s)
{
    bool has = false;

    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t opened = load_relaxed(&s->lane[i].board->opened); /* a note says that it is new */

        has |= opened != s->lane[i].opened_seen;
        s->lane[i].opened_seen = opened;
    }
    return has;
}

bool spread_is_gone(const struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->lane[i].is_begun && !load_acquire(&s->lane[i].board->is_gone))
            return false;
    return true;
}

/* ---- marks ---- */

void spread_mark(struct spread *s)
{
    s->mark++;
}

bool spread_is_past(const struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->lane[i].is_begun &&
            load_acquire(&s->lane[i].board->passed) != s->mark) /* pairs with lane.c */
            return false;
    return true;
}

/* ---- counts ---- */

uint64_t spread_sum(const struct spread *s, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        const char *board = (const char *)s->lane[i].board;

        sum += load_relaxed((const _Atomic uint64_t *)(const void *)(board + offset));
    }
    return sum;
}

uint64_t spread_since_ms(const struct spread *s)
{
    uint64_t since = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t t = load_relaxed(&s->lane[i].board->since_ms);

        since = t && (!since || t < since) ? t : since;
    }
    return since;
}

/* ---- life ---- */

enum err spread_init(struct spread *s, struct link_host *host, uint32_t number)
{
    *s = (struct spread){.host = host};
    for (uint32_t i = 1; i < host->workers; i++) {
        struct lane_board *b = calloc(1, sizeof(*b));

        if (!b)
            return ERR_MEMORY;
        b->boot = host->boot;
        b->number = number;
        b->stream = i;
        s->lane[s->count++] =
            (struct spread_lane){.board = b, .worker = (host->worker + i) % host->workers};
    }
    return OK;
}

void spread_fini(struct spread *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        free(s->lane[i].board);
    s->count = 0;
}
