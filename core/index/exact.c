/* core/index/exact.c -- filters without a wildcard.
 *
 * An entry is complete before it is put into the table, and taken out of it before it is retired.
 * Its text never changes; its destinations have rules of their own (dests.h).
 */
#include "core/index/exact.h"

static size_t entry_bytes(uint32_t text_n)
{
    return offsetof(struct exact_entry, text) + text_n;
}

static bool same_text(const struct lookup_item *item, const void *key)
{
    const struct exact_entry *e = (const void *)item;
    const struct bytes *text = key;

    return e->text_n == text->n && memcmp(e->text, text->p, text->n) == 0;
}

static struct exact_entry *find(const struct exact *x, struct bytes text, uint64_t hash)
{
    return (void *)lookup_find(&x->table, hash, same_text, &text);
}

enum err exact_init(struct exact *x, struct reclaim *memory)
{
    x->memory = memory;
    return lookup_init(&x->table, memory);
}

static void entry_give_back(struct exact *x, struct exact_entry *e)
{
    dests_drop_all(x->memory, &e->dests);
    reclaim_retire(x->memory, e, entry_bytes(e->text_n));
}

void exact_fini(struct exact *x)
{
    uint64_t key = 0;

    while (key != LOOKUP_KEY_END) {
        struct exact_entry *e = (void *)lookup_after(&x->table, key, UINT32_MAX, &key);

        if (!e)
            break;
        lookup_remove(&x->table, &e->item);
        entry_give_back(x, e);
    }
    lookup_fini(&x->table);
}

static struct exact_entry *entry_create(struct exact *x, struct bytes text, uint64_t hash)
{
    struct exact_entry *e = reclaim_alloc(x->memory, entry_bytes(text.n));

    if (!e)
        return NULL;
    e->item.hash = hash;
    store_relaxed(&e->dests, 0); /* nobody sees it yet */
    e->text_n = (uint16_t)text.n;
    (void)bytes_put(e->text, text);
    return e;
}

enum err exact_add(struct exact *x, struct bytes filter, uint64_t hash, struct dest d,
                   bool *is_first)
{
    struct exact_entry *e = find(x, filter, hash);

    *is_first = !e;
    if (e)
        return dests_add(x->memory, &e->dests, d);
    e = entry_create(x, filter, hash);
    if (!e)
        return ERR_MEMORY;
    if (dests_add(x->memory, &e->dests, d) != OK || lookup_insert(&x->table, &e->item) != OK) {
        dests_drop_all(x->memory, &e->dests);
        reclaim_free(x->memory, e, entry_bytes(filter.n));
        return ERR_MEMORY;
    }
    return OK;
}

enum err exact_remove(struct exact *x, struct bytes filter, uint64_t hash, struct dest d,
                      bool *is_last)
{
    struct exact_entry *e = find(x, filter, hash);
    enum err err = e ? dests_remove(x->memory, &e->dests, d) : ERR_NONE;

    *is_last = err == OK && !load_relaxed(&e->dests); /* ours */
    if (*is_last) {
        lookup_remove(&x->table, &e->item);
        entry_give_back(x, e);
    }
    return err;
}

void exact_match(const struct exact *x, struct bytes topic, uint64_t hash, struct matches *out)
{
    const struct exact_entry *e = find(x, topic, hash);

    if (e)
        dests_collect(&e->dests, out);
}
