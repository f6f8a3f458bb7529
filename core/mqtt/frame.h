/* core/mqtt/frame.h -- a stream of bytes becomes whole packets.
 *
 * Finds the fixed header and the remaining length [MQTT-2.1.4], nothing else; never copies.
 */
#ifndef CORE_MQTT_FRAME_H
#define CORE_MQTT_FRAME_H

#include "core/base/bytes.h"
#include "core/base/err.h"

struct frame {
    uint8_t first;       /* packet type and flags */
    uint8_t header_size; /* bytes of the fixed header, 2..5 */
    struct bytes body;   /* what follows the fixed header */
};

/* Cuts one packet off the front of `in`.
 * OK: *out is set; the packet takes header_size + body.n bytes.
 * ERR_MORE: not whole yet; *need is the number of bytes of the whole packet when known, else 0.
 * ERR_PEER: remaining length of more than four bytes [MQTT-1.5.5-1] (malformed).
 * ERR_FULL: the whole packet would be larger than `bytes_max`; *need holds its size. */
MUST_USE enum err frame_next(struct bytes in, uint32_t bytes_max, struct frame *out,
                             uint32_t *need);

/* Reads a variable byte integer at p (n bytes there). OK: *value and *size (1..4).
 * Over-long encodings are ERR_PEER [MQTT-1.5.5-1]. */
MUST_USE enum err varint_get(const uint8_t *p, uint32_t n, uint32_t *value, uint32_t *size);

/* Bytes that `v` (<= 268435455) takes as a variable byte integer, and writing it. */
uint32_t varint_size(uint32_t v);
uint8_t *varint_put(uint8_t *to, uint32_t v);

#endif
