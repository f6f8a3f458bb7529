/* core/base/hash.h -- the keyed hash of everything a client can choose.
 *
 * The key is drawn once at start, so that nobody outside can prepare names that collide. The
 * function folds 16 bytes a step with one 64 x 64 -> 128 bit multiplication.
 */
#ifndef CORE_BASE_HASH_H
#define CORE_BASE_HASH_H

#include "core/base/bytes.h"

struct hash_key {
    uint64_t k[4];
};

/* The hash of `b` under `key`.  Any thread. */
uint64_t hash_bytes(const struct hash_key *key, struct bytes b);

/* Goes on from an earlier hash: the hash of a sequence of parts, e.g. topic levels.  Any thread. */
uint64_t hash_more(const struct hash_key *key, uint64_t sofar, struct bytes b);

#endif
