/* link/carrier.h -- messages from and to one broker of ours: a stream each way.
 *
 *     ours     outstream -> MESSAGES -> their instream -> ACK, with what they grant
 *     theirs   MESSAGES -> instream -> published here -> ACK, once per turn
 *
 * A stream outlives its connection. OPEN and its answer say where to go on: what the other side
 * has is not sent again, what it has not is, in order. So each message is published there once,
 * as long as both processes live.
 *
 * Where both sides have agreed on it, frames go compressed while that pays (link/packing.h).
 * A link has a stream on each of its link workers (link/lane.h); queue_bytes is divided among ours,
 * window_bytes among theirs.
 *
 * Threads  the link worker.
 * Memory   what link/outstream.h takes, bounded by the link's queue_bytes.
 */
#ifndef LINK_CARRIER_H
#define LINK_CARRIER_H

#include "link/channel.h"
#include "link/instream.h"
#include "link/outstream.h"
#include "link/packing.h"

/* Messages that may be in flight to us, beside the link's window_bytes. */
#define CARRIER_WINDOW_MESSAGES 65536u
/* Payloads of at least this size are sent from where they are. */
#define CARRIER_REFER_BYTES 1024u
/* How often what waits is looked through for what waits too long. */
#define CARRIER_AGING_MS 1000u
/* Bytes unpacked in one turn, for each link: little unpacks to much, and what comes for others goes
 * on. Beyond, the next frame waits for the next turn. */
#define CARRIER_UNPACK_BYTES (4u << 20)
/* Pause between two lines about lost messages of one link. */
#define CARRIER_SAY_MS 10000u

struct carrier {
    struct link_host *host;
    const struct cfg_link *link;
    struct outstream out;
    struct instream in;
    bool is_held;          /* ours waits behind what goes another way */
    struct channel to;     /* where ours goes; none: it waits */
    struct channel from;   /* where theirs was opened last */
    uint64_t from_boot;    /* of their process, as its OPEN said */
    uint32_t from_streams; /* that it has, as its OPEN said; 0: none yet */
    uint64_t taken_first;  /* of the frame that found no room: what it began with, */
    uint64_t taken_below;  /* and what was dealt with before there was none; 0: no such frame */
    struct timer aging;    /* while something waits */
    uint64_t lost_told, say_ms;
    struct packer packer;
    bool packs;                  /* it has been agreed on: ours may go compressed */
    bool unpacks;                /* it was, at any time, or may have been: theirs may come so */
    uint32_t unpacked;           /* bytes, in this turn */
    uint64_t received, unwanted; /* of theirs: published here; of topics not asked for */
    bool transits;               /* what is not for us alone goes on */
    uint64_t passed;             /* copies that went on */
};

/* Which of the streams of a link these are. */
struct carrier_place {
    uint64_t boot;    /* of ours */
    uint32_t stream;  /* its number, of both */
    uint32_t streams; /* how many we have */
};

/* Prepares both streams of that number. */
void carrier_init(struct carrier *c, struct link_host *host, const struct cfg_link *link,
                  const struct carrier_place *place);
/* Lets go of what waits. One that was never prepared is fine. */
void carrier_fini(struct carrier *c);

/* The part of max_rate for the streams of theirs that end on one link worker; `c` is its own. */
uint64_t carrier_rate(const struct carrier *c);

/* From now on the link is this one, and has so many streams of ours. */
void carrier_use(struct carrier *c, const struct cfg_link *link, uint32_t streams);

/* A message for them; takes a reference. What happens at queue_bytes is the link's on_full to say.
 */
void carrier_push(struct carrier *c, struct message *m);
/* Whether what waits is at its bound, which is lower where the memory of the process is short. */
bool carrier_is_full(struct carrier *c, bool is_memory_short);

/* A connection stands on which ours shall go, instead of the one before. */
void carrier_up(struct carrier *c, const struct channel *to);
/* A connection is gone; if ours went there, it waits for the next. */
void carrier_down(struct carrier *c, const struct channel *gone);
/* Ours goes on no connection any more, though it may stand. */
void carrier_leave(struct carrier *c);
/* Whether ours goes: the other side has answered our OPEN. */
bool carrier_is_up(const struct carrier *c);

/* Whether it is agreed that frames may go compressed, either way. */
void carrier_agree(struct carrier *c, bool may_pack);
/* Makes a DEFLATED frame the one that is in it; that lives until the next one is taken. ERR_FULL:
 * no room in this turn, offer it again. Else *fault says why the connection must be given up. */
MUST_USE enum err carrier_unpack(struct carrier *c, struct native_frame *f, const char **fault);
/* Takes an OPEN, OPENED, MESSAGES or ACK that came on a connection. false: no room now, offer it
 * again, whole. *fault: NULL, or why the connection must be given up. */
bool carrier_take(struct carrier *c, const struct channel *from, const struct native_frame *f,
                  const char **fault);

/* Sends what may be sent, and ends the turn. */
void carrier_run(struct carrier *c);

#endif
