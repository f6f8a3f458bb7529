/* core/policy/acl_map.c -- from an owner and a text to a number. */
#include "core/policy/acl_map.h"

#include <stdlib.h>

#include "core/base/check.h"

#define SLOTS_FIRST 16u

void acl_map_init(struct acl_map *m, const struct hash_key *key)
{
    *m = (struct acl_map){.key = *key};
}

void acl_map_fini(struct acl_map *m)
{
    free(m->slots);
    m->slots = NULL;
    m->capacity = m->count = 0;
}

/* The slot that holds it, or the free one where it belongs. There is always a free one. */
static struct acl_map_slot *slot_of(const struct acl_map *m, uint64_t hash, uint32_t owner,
                                    struct bytes text)
{
    uint32_t mask = m->capacity - 1;

    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        struct acl_map_slot *s = &m->slots[i];

        if (!s->p)
            return s;
        if (s->hash == hash && s->owner == owner && bytes_eq(bytes_of(s->p, s->n), text))
            return s;
    }
}

static bool grow(struct acl_map *m)
{
    struct acl_map old = *m;

    m->capacity = old.capacity ? old.capacity * 2 : SLOTS_FIRST;
    m->slots = calloc(m->capacity, sizeof(*m->slots));
    if (!m->slots) {
        *m = old;
        return false;
    }
    for (uint32_t i = 0; i < old.capacity; i++) {
        const struct acl_map_slot *s = &old.slots[i];

        if (s->p)
            *slot_of(m, s->hash, s->owner, bytes_of(s->p, s->n)) = *s;
    }
    free(old.slots);
    return true;
}

const uint32_t *acl_map_find(const struct acl_map *m, uint32_t owner, struct bytes text)
{
    const struct acl_map_slot *s;

    if (m->count == 0)
        return NULL;
    s = slot_of(m, hash_more(&m->key, owner, text), owner, text);
    return s->p ? &s->value : NULL;
}

uint32_t *acl_map_at(struct acl_map *m, uint32_t owner, struct bytes text)
{
    struct acl_map_slot *s;
    uint64_t hash = hash_more(&m->key, owner, text);

    CHECK(text.p != NULL);
    if (m->count >= m->capacity / 2 && !grow(m))
        return NULL;
    s = slot_of(m, hash, owner, text);
    if (!s->p) {
        *s = (struct acl_map_slot){.hash = hash, .p = text.p, .n = text.n, .owner = owner};
        m->count++;
    }
    return &s->value;
}
