/* link/spread.h -- the lanes of a link, as its peer sees them.
 *
 * One for each link worker but the link's own (link/lane.h says what they are); with one link
 * worker there is none, and all of this is nothing.
 *
 * Threads  the link worker that has the peer.
 * Memory   a board for each lane.
 */
#ifndef LINK_SPREAD_H
#define LINK_SPREAD_H

#include "link/lane.h"

struct spread_lane {
    struct lane_board *board;
    uint32_t worker; /* link worker */
    uint64_t mark_told, opened_seen, failures_seen;
    uint8_t words_told;  /* with LANE_ENDS: it is told nothing any more */
    bool is_begun;       /* the first note has left */
    bool must_tell_link; /* it has changed, or the lane could not be made */
    bool must_hurry;
};

struct spread {
    struct link_host *host;
    struct spread_lane lane[LINK_WORKERS_MAX - 1];
    uint32_t count;
    uint8_t words; /* that all are to do: a bit for each enum lane_word */
    uint64_t mark; /* the last one asked for */
};

/* Prepares the lanes of a link of that number. ERR_MEMORY: spread_fini. */
MUST_USE enum err spread_init(struct spread *s, struct link_host *host, uint32_t number);
/* One that was never prepared is fine. Either all lanes are gone, or no worker runs any more. */
void spread_fini(struct spread *s);

/* The link has changed; the other side can be reached. */
void spread_changed(struct spread *s);
/* See spread_changed. */
void spread_hurry(struct spread *s);
/* Says what is new to the lanes: what they are to do, and the link where it has changed. Once per
 * turn. True: something had no room. */
bool spread_run(struct spread *s, const struct cfg_link *link, uint8_t words);

/* Whether all lanes are there: before that, none is handed messages. */
bool spread_is_there(const struct spread *s);
/* Whether all have been told a word, and so know it before any message that comes to them now. */
bool spread_has_told(const struct spread *s, enum lane_word word);
/* Whether all that are to dial have the other side's answer to their OPEN. */
bool spread_is_up(const struct spread *s);
/* Whether one of them is full, where who publishes is to wait. */
bool spread_is_full(const struct spread *s);
/* Whether one of them has begun on a connection since this was asked last. */
bool spread_has_opened(struct spread *s);
/* Whether all that ever began have ended. */
bool spread_is_gone(const struct spread *s);

/* Marks what was handed to the lanes so far, and whether none of it is in them any more. */
void spread_mark(struct spread *s);
bool spread_is_past(const struct spread *s);

/* Adds one of LANE_COUNTS, or the losses, over all lanes: a place in struct lane_board. */
uint64_t spread_sum(const struct spread *s, size_t offset);
#define SPREAD_SUM(s, field) spread_sum((s), offsetof(struct lane_board, field))
/* Since when the oldest message of all is there; 0: there is none. */
uint64_t spread_since_ms(const struct spread *s);

#endif
