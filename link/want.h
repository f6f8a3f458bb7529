/* link/want.h -- the inside of link/wants: one filter, its place, and what hides it.
 *
 * A filter stands in exactly one list, that of its place. `is_announced` is the wish: the peer
 * should have it. `sent` and `number` say what it was last told. want_settle puts a filter where
 * both together say:
 *
 *                      nothing sent   add in flight   delete in flight   unsure    has it
 *     announced        adds           flying          adds               adds      settled
 *     not announced    freed          deletes         flying             deletes   deletes
 *
 * Unsure is what was in flight at a loss: its number is not above `lost`. A hidden filter was
 * sent nothing; it stands in the list of its cover. So what is wanted is announced, hidden by an
 * announced cover, or hidden by one that is closing; and deletes wait while there are adds or
 * covers that close without ever having been sent.
 *
 * What is unsure may be counted, but the peer may be without it, or the reverse, until its
 * operation has been sent again; so there is no beat before that. When the operation fits into no
 * frame any more, that day will never come: only a new generation makes it sure.
 *
 * What was sent is valid only in the filter's `epoch`. wants_forget begins a new one and moves
 * whole lists; want_refresh makes up for it when a filter is next met. want_find has done so, and
 * the lists of what is in flight, settled or to be deleted hold nothing older.
 */
#ifndef LINK_WANT_H
#define LINK_WANT_H

#include "core/base/links.h"
#include "core/base/table.h"
#include "link/covers.h"
#include "link/imports.h"
#include "link/wants.h"

enum want_place {
    WANT_NONE,    /* in no list: being made or moved */
    WANT_HIDDEN,  /* in the list of its cover */
    WANT_CLOSING, /* a cover that was sent nothing and uncovers what it hid */
    WANT_ADDS,
    WANT_DELETES,
    WANT_FLYING,  /* in the order of their numbers, but for those whose newer wish was dropped */
    WANT_SETTLED, /* the peer has it, as it should */
    WANT_ASIDE,   /* its operation fits into no frame */
    WANT_STALE,   /* forgotten: to be freed */
    WANT_COUNT
};

enum want_sent {
    WANT_SENT_NOTHING,
    WANT_SENT_ADD,
    WANT_SENT_DELETE,
    WANT_SENT_ACKED /* an add */
};

/* A filter. */
struct want {
    struct table_node node;
    struct links at;
    uint64_t number; /* of the element with WANT_SENT_ADD or WANT_SENT_DELETE */
    uint32_t refs;   /* subscriptions */
    uint32_t epoch;
    uint16_t text_n; /* the text stands behind the structure, which may be that of a wild */
    uint8_t place, sent;
    bool is_wild, is_announced;
};

/* A want whose filter has a wildcard. */
struct wild {
    struct want want;
    struct cover cover;  /* in the trie while it is announced, until it begins to close */
    struct links hidden; /* what it hides */
    struct links linger; /* in `lingering`, else NULL */
    uint64_t due;        /* when it closes */
};

_Static_assert(sizeof(struct want) == 56 && sizeof(struct wild) == 104, "as link/wants.h says");

struct wants_frame {
    uint64_t number, ms;
};

struct wants {
    struct hash_key key, digest_key;
    struct imports imports;
    struct table table, refused;
    struct covers covers;
    struct links places[WANT_COUNT];
    uint32_t counts[WANT_COUNT];
    struct links lingering; /* by their due */
    uint32_t lingering_count;
    uint32_t routes_max, wanted, epoch;
    bool by_name;         /* groups are told by their names */
    uint32_t leaving;     /* while is_importing: filters that may go, beyond routes_max */
    uint32_t forgone;     /* buckets that wants_forgo has gone through, each once for the covers, */
    uint32_t forgone_max; /* and once for the others */
    uint64_t generation;  /* 0: nothing is announced yet */
    uint64_t last, acked; /* numbers: acked <= last */
    uint64_t lost;        /* up to here all is acked or nobody knows */
    uint64_t lost_ms;     /* when the oldest of that was handed out */
    uint64_t end;         /* the number of the end marker; 0: not sent */
    uint64_t count, digest;                      /* of what has been handed out */
    uint64_t now;                                /* the latest time we were told */
    struct wants_frame frames[WANTS_FRAMES_MAX]; /* in flight, a ring */
    uint32_t frame_first, frame_count;
    bool is_announcing; /* until the end marker is acked */
    bool is_resending;  /* until nothing waits */
    bool is_doubtful;   /* what was in flight at a loss was put aside, until wants_forget */
    bool is_importing;  /* between refill and imported */
    bool is_uncounted;  /* a refusal could not be remembered: nothing is removed any more */
};

/* The filter at a link of a list. */
#define WANT_OF(l) LINKS_OBJECT(l, struct want, at)
#define WILD_OF_LINGER(l) LINKS_OBJECT(l, struct wild, linger)

/* The filter itself, and its larger piece; the latter only with a wildcard. */
struct bytes want_text(const struct want *x);
struct wild *want_wild(struct want *x);

/* Finds a filter by its text and hash_bytes of that; makes one in no place, which is not there. */
struct want *want_find(struct wants *w, struct bytes text, uint64_t hash);
MUST_USE enum err want_make(struct wants *w, struct bytes text, uint64_t hash);
/* Frees one that nobody wants and that hides nothing. */
void want_free(struct wants *w, struct want *x);
/* Frees up to *budget of those that were forgotten while they waited for their delete. */
void want_free_stale(struct wants *w, uint32_t *budget);

/* Takes a filter out of its place; puts it into one that is a list of its own. */
void want_leave(struct wants *w, struct want *x);
void want_enter(struct wants *w, struct want *x, enum want_place place);
/* Takes note of what has been forgotten since the filter was last met. */
void want_refresh(struct wants *w, struct want *x);
/* Moves everything in the lists of places, and makes the filters old. */
void want_forget_all(struct wants *w);

/* Whether the peer has it once all is applied that was handed out. */
bool want_is_counted(const struct want *x);
/* Whether its last operation was in flight at a loss and has not been sent again. */
bool want_is_unsure(const struct wants *w, const struct want *x);

/* Puts a filter where it belongs; it may be gone afterwards. */
void want_settle(struct wants *w, struct want *x);
/* Hides or announces a filter that is wanted, not announced, and in no place. */
void want_show(struct wants *w, struct want *x);
/* Announces it, hidden or not; no longer does. The latter: it hides nothing, may be gone. */
void want_announce(struct wants *w, struct want *x);
void want_withdraw(struct wants *w, struct want *x);

/* A cover lingers from now on, or no longer does. */
void want_linger(struct wants *w, struct wild *v);
void want_unlinger(struct wants *w, struct wild *v);
/* Takes nothing more in, and shows up to *budget of what it hides. False: some is left. */
bool want_uncover(struct wants *w, struct wild *v, uint32_t *budget);
/* Withdraws covers that have lingered long enough. */
void want_close_due(struct wants *w, uint32_t *budget);

#endif
