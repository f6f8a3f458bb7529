/* core/index/path.h -- the hash of a path of levels, made level by level.
 *
 * The hash of a child follows from its parent's hash and its level alone, so a walk knows it before
 * it has seen the parent. What a client chooses goes through the keyed hash of the level first.
 */
#ifndef CORE_INDEX_PATH_H
#define CORE_INDEX_PATH_H

#include <stdint.h>

#define PATH_ROOT 0x5bd1e9955bd1e995ull

/* From the parent's hash and the keyed hash of the last level. */
static inline uint64_t path_hash(uint64_t parent, uint64_t level)
{
    uint64_t x = ((parent << 23 | parent >> 41) ^ level) * 0xd6e8feb86659fd93ull;

    return x ^ x >> 32;
}

#endif
