/* link/deflate.h -- the DEFLATE format, both ways.
 *
 *     terms    131, 80, length, zlib stream -> 131, term    any payload of an EMQX peer may be one
 *     frames   zlib streams of a known length               see DEFLATED in link/native.h
 *
 * A length is a claim of the other side: it is held against the caller's bound before anything is
 * allocated from it, and the stream must then give exactly that many bytes.
 *
 * Threads  one struct inflate, or deflate, belongs to one thread.
 * Memory   inflate_create takes what zlib needs (about 10 KB; zlib may take 32 KB once more when a
 *          stream is broken), deflate_create 268 KB; running writes only into the caller's buffer.
 */
#ifndef LINK_DEFLATE_H
#define LINK_DEFLATE_H

#include "core/base/bytes.h"
#include "core/base/err.h"

struct inflate; /* opaque: zlib's state, used again for every payload */
struct deflate; /* opaque, as that */

/* NULL when memory cannot be had. */
struct inflate *inflate_create(void);
void inflate_destroy(struct inflate *z);
/* See inflate_create. */
struct deflate *deflate_create(void);
void deflate_destroy(struct deflate *z);

/* ---- terms ---- */

/* How much room `payload` needs when plain, version byte included. *room 0: it is not compressed.
 * ERR_FULL: it claims more than `bytes_max`. ERR_PEER: the head is cut short. */
MUST_USE enum err inflate_room(struct bytes payload, uint32_t bytes_max, uint32_t *room);

/* Writes the plain payload to `to`, which has the `room` that inflate_room gave. *plain becomes a
 * view of it. ERR_PEER: not a zlib stream, damaged, or not of the length it claimed; what stands in
 * `to` then means nothing. */
MUST_USE enum err inflate_run(struct inflate *z, struct bytes payload, uint8_t *to, uint32_t room,
                              struct bytes *plain);

/* ---- frames ---- */

/* Writes what a stream holds to `to`: it must be `count` bytes, at least one, and nothing may
 * follow the stream. ERR_PEER: anything else; what stands in `to` then means nothing. */
MUST_USE enum err inflate_whole(struct inflate *z, struct bytes stream, uint8_t *to,
                                uint32_t count);

/* Writes a stream of `plain` to to[0..room), for speed rather than size. Its bytes; 0: it needs
 * more room. */
uint32_t deflate_run(struct deflate *z, struct bytes plain, uint8_t *to, uint32_t room);

#endif
