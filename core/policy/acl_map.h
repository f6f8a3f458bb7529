/* core/policy/acl_map.h -- from an owner and a text to a number, for tables that only grow.
 *
 * Open addressing under a keyed hash, at most half full. The texts are borrowed and must outlive
 * the map.
 *
 * Threads  one while it grows, any afterwards.
 */
#ifndef CORE_POLICY_ACL_MAP_H
#define CORE_POLICY_ACL_MAP_H

#include "core/base/bytes.h"
#include "core/base/hash.h"

struct acl_map_slot {
    uint64_t hash;
    const uint8_t *p; /* NULL: the slot is free */
    uint32_t n;
    uint32_t owner;
    uint32_t value;
};

struct acl_map {
    struct hash_key key;
    struct acl_map_slot *slots;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
};

/* An empty map owns nothing. */
void acl_map_init(struct acl_map *m, const struct hash_key *key);
void acl_map_fini(struct acl_map *m);

/* The number of (owner, text); NULL: it is not there. */
const uint32_t *acl_map_find(const struct acl_map *m, uint32_t owner, struct bytes text);

/* The same, but put in with 0 if it is not there; valid until the next call. `text.p` is never
 * NULL. NULL: no memory. */
uint32_t *acl_map_at(struct acl_map *m, uint32_t owner, struct bytes text);

#endif
