/* link/retained_sync.h -- what is retained, between us and one broker of ours.
 *
 * Two parts that know nothing of each other. With `retained = sync` of the link we ask, each time
 * we have introduced ourselves or the link's topics have changed, for what is retained there under
 * them. Whoever asks us is answered, whatever our own link says: what the link exports and the
 * question names.
 *
 *     asked      RETAINED_ASK -> theirs -> RETAINED ... -> shard_retained_put -> RETAINED_ACK
 *     answering  RETAINED_ASK -> filters -> a pause -> what the carrier held has arrived
 *                -> shard_retained_ask, a slice at a time -> RETAINED ... -> RETAINED_END
 *
 * From the question on all that is retained here under its filters goes to them as a message by the
 * carrier, also where no route wants it (retained_sync_wants). So an answer leaves out what was
 * published here since then, and comes behind what the carrier had then: no message comes twice. It
 * begins anew on each connection of the carrier, when the carrier lost something, and when what a
 * third cluster retains has changed what we do: who restarts gets back from one what it told others
 * of in an earlier life. An answer that changes nothing ends that. Where the link has several
 * streams, the carrier stands here for those of its lanes, too.
 *
 * Threads  the link worker.
 * Memory   the filters of a question, and one slice of messages.
 * Bounds   RETAINED_FILTERS_MAX and RETAINED_FILTERS_BYTES_MAX of a question: beyond, we do not
 *          ask, and who asks loses the connection. NATIVE_RETAINED_WINDOW frames are under way.
 */
#ifndef LINK_RETAINED_SYNC_H
#define LINK_RETAINED_SYNC_H

#include "link/carrier.h"
#include "link/spread.h"

/* Filters of a question: every retained publish is compared with all of them. */
#define RETAINED_FILTERS_MAX 4096u
#define RETAINED_FILTERS_BYTES_MAX (1u << 20)
/* From a question to its answer: what was stamped before the one has reached us before the other.
 * Longer than any turn of a worker. */
#define RETAINED_PAUSE_MS 200u
/* Pause between two lines about what one cluster retains and we do not take, and between two about
 * the ends of its answers to one question. */
#define RETAINED_SAY_MS 10000u

enum retained_giving {
    GIVING_NOTHING, /* nobody has asked, or not all of it */
    GIVING_LATER,   /* no connection for it, or the pause */
    GIVING_BEHIND,  /* what the carrier holds goes first */
    GIVING_NEXT,    /* the next filter */
    GIVING,         /* a slice is on its way to us, or leaves */
    GIVING_DONE,
};

/* Our own question. */
struct retained_asked {
    struct channel to; /* where it goes; none: it was sent, or there is none */
    uint64_t question; /* 0: never asked */
    uint64_t frames;   /* taken of its answer: the number of the last */
    uint64_t at_frame; /* the frame that found no room, which may never come again, */
    uint64_t at;       /* and how many records of it are taken */
    uint64_t count;    /* records taken */
    uint64_t say_ms, end_say_ms;
};

/* Theirs, and our answer. */
struct retained_given {
    uint64_t question, part; /* parts that have come */
    struct bytes *filters;   /* filter_count; texts from malloc */
    uint32_t filter_count;
    uint32_t filter_bytes;
    uint8_t state;        /* enum retained_giving */
    uint32_t filter_at;   /* whose answer is under way */
    uint64_t stamp;       /* what was published here since then comes by the carrier */
    uint64_t changes;     /* by what other clusters retain, when the answer was begun */
    uint64_t mark;        /* of the carrier's stream */
    uint64_t lost;        /* of that, when the answer was begun */
    uint64_t due_ms;      /* end of the pause */
    uint64_t sent, acked; /* frames */
    struct message *held[RETAINED_SLICE_MAX]; /* of a slice */
    uint32_t held_count, held_at;
    bool is_slice_over, is_last; /* of the answer to this filter */
};

struct retained_sync {
    struct link_host *host;
    const struct cfg_link *link;
    uint32_t number; /* of the link */
    bool no_groups;  /* what they retain is no message for shared groups: the owner's to say */
    struct timer pause;
    struct retained_asked asked;
    struct retained_given given;
};

/* Prepares both parts for a link of that number. */
void retained_sync_init(struct retained_sync *r, struct link_host *host,
                        const struct cfg_link *link, uint32_t number);
/* From now on the link is this one. */
void retained_sync_use(struct retained_sync *r, const struct cfg_link *link);
/* One that was never prepared is fine. */
void retained_sync_fini(struct retained_sync *r);

/* We have introduced ourselves on this connection, or have other topics than when we did: asks, if
 * the link says so, for all of them. */
void retained_sync_online(struct retained_sync *r, const struct channel *to);
/* A connection is gone. */
void retained_sync_gone(struct retained_sync *r, const struct channel *gone);
/* The carrier has begun on a connection: answers anew, if there is a question. */
void retained_sync_carried(struct retained_sync *r);

/* Takes a frame of the retained kinds. false: no room now, offer it again, whole. *fault: NULL, or
 * why the connection must be given up. */
bool retained_sync_take(struct retained_sync *r, const struct channel *from,
                        const struct native_frame *f, const char **fault);

/* Whether a message that is published here goes to them because of their question. */
bool retained_sync_wants(const struct retained_sync *r, struct bytes topic);

/* Whether they may not have all that is retained here: nobody asked, or the answer is not through,
 * or not behind what others have changed here. */
bool retained_sync_is_behind(const struct retained_sync *r);

/* Parts of the answer to shard_retained_ask. */
void retained_sync_found(struct retained_sync *r, struct publish *p);
void retained_sync_found_end(struct retained_sync *r, bool is_last);

/* Asks, and goes on with the answer; `carrier` and `spread` are the link's. Once per turn. */
void retained_sync_run(struct retained_sync *r, const struct carrier *carrier,
                       struct spread *spread);

#endif
