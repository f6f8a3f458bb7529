/* link/packing.h -- compressed frames: whether it pays, making them, and taking them.
 *
 *     struct packing  what a link worker needs for it: zlib's state and room for a frame each way
 *     struct packer   of one link: whether its frames are worth it
 *
 * A packer tries a few frames. While they become smaller by a quarter, frames are packed, and it
 * judges again after each round; else the next ones go as they are, and after some time it tries
 * again. Small frames always go as they are. Each frame is a stream of its own, so one that cannot
 * be taken now can be offered again.
 *
 * Threads  the link worker.
 * Memory   about 470 KB for each link worker, from the first frame on, whatever its links.
 */
#ifndef LINK_PACKING_H
#define LINK_PACKING_H

#include "link/deflate.h"
#include "link/native.h"

/* A frame of fewer bytes goes as it is. */
#define PACKING_LEAST_BYTES 200u
/* Frames that are tried, that are packed between two judgements, that go as they are after a bad
 * one. */
#define PACKING_SAMPLE 16u
#define PACKING_ROUND 256u
#define PACKING_REST 1000u

struct packing {
    struct deflate *deflate;
    struct inflate *inflate;
    uint8_t *in;  /* NATIVE_FRAME_BYTES, plain: the frame that is being taken */
    uint8_t *out; /* as many, plain, and as many, packed: the one that is being sent */
};

/* All zero: nothing is held. */
struct packer {
    uint32_t left;          /* frames of this round */
    uint32_t rest;          /* frames that go as they are before the next is tried */
    uint64_t plain, packed; /* bytes of this round */
    uint64_t frames, saved; /* frames that went packed, and the bytes that this has saved */
};

/* Holds nothing until it is used. */
void packing_init(struct packing *p);
void packing_fini(struct packing *p);

/* Whether a frame of so many bytes is to be packed; then packing_pack follows. */
bool packer_wants(struct packer *k, uint32_t bytes);
/* Room for a plain frame of at most NATIVE_FRAME_BYTES, for packing_pack. NULL: no memory. */
uint8_t *packing_room(struct packing *p);
/* The DEFLATED frame of the one that stands there, which lives until the next call; empty: it goes
 * as it is. */
struct bytes packing_pack(struct packing *p, struct packer *k, uint32_t bytes);

/* The frame in a decoded DEFLATED frame, which lives until the next call. ERR_PEER: it claims more
 * than NATIVE_FRAME_BYTES, which is found before anything is done, or is not of the size it claims,
 * or no MESSAGES frame. */
MUST_USE enum err packing_take(struct packing *p, const struct native_frame *deflated,
                               struct native_frame *out);

#endif
