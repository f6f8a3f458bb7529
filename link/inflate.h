/* link/inflate.h -- compressed terms: 131, 80, length, zlib stream -> 131, term.
 *
 * Any payload of an EMQX peer may come compressed. Only inflating is needed, ever. The length field
 * is a claim: it is held against the caller's bound before anything is allocated from it, and the
 * stream must then give exactly that many bytes.
 *
 * Threads  one struct inflate belongs to one thread.
 * Memory   inflate_create takes what zlib needs (about 10 KB; zlib may take 32 KB once more when a
 *          stream is broken); running writes only into the caller's buffer.
 */
#ifndef LINK_INFLATE_H
#define LINK_INFLATE_H

#include "core/base/bytes.h"
#include "core/base/err.h"

struct inflate; /* opaque: zlib's state, used again for every payload */

/* NULL when memory cannot be had. */
struct inflate *inflate_create(void);
void inflate_destroy(struct inflate *z);

/* How much room `payload` needs when plain, version byte included. *room 0: it is not compressed.
 * ERR_FULL: it claims more than `bytes_max`. ERR_PEER: the head is cut short. */
MUST_USE enum err inflate_room(struct bytes payload, uint32_t bytes_max, uint32_t *room);

/* Writes the plain payload to `to`, which has the `room` that inflate_room gave. *plain becomes a
 * view of it. ERR_PEER: not a zlib stream, damaged, or not of the length it claimed; what stands in
 * `to` then means nothing. */
MUST_USE enum err inflate_run(struct inflate *z, struct bytes payload, uint8_t *to, uint32_t room,
                              struct bytes *plain);

#endif
