/* link/binding.c -- a table of clients, and lists by when they last spoke. */
#include "link/binding.h"

#include <stdlib.h>

static uint64_t hash_client(const struct bindings *all, const struct client_name *c)
{
    uint32_t text[3] = {c->worker, c->slot, c->generation};

    return hash_bytes(&all->key, bytes_of(text, sizeof(text)));
}

bool client_name_eq(const struct client_name *a, const struct client_name *b)
{
    return a->worker == b->worker && a->slot == b->slot && a->generation == b->generation;
}

static void unlist(struct binding *b)
{
    struct binding_list *list = b->list;

    *(b->prev ? &b->prev->next : &list->first) = b->next;
    *(b->next ? &b->next->prev : &list->last) = b->prev;
    list->count--;
}

static void list_last(struct binding *b)
{
    struct binding_list *list = b->list;

    b->prev = list->last;
    b->next = NULL;
    *(list->last ? &list->last->next : &list->first) = b;
    list->last = b;
    list->count++;
}

void bindings_forget(struct bindings *all, struct binding *b)
{
    table_remove(&all->table, &b->node);
    unlist(b);
    free(b);
}

struct binding *bindings_find(struct bindings *all, const struct client_name *c)
{
    struct table_node *n = table_first(&all->table, hash_client(all, c));

    for (; n; n = table_after(n)) {
        struct binding *b = TABLE_OBJECT(n, struct binding, node);

        if (client_name_eq(&b->client, c)) {
            unlist(b);
            list_last(b);
            return b;
        }
    }
    return NULL;
}

void bindings_remove(struct bindings *all, const struct client_name *c)
{
    struct binding *b = bindings_find(all, c);

    if (b)
        bindings_forget(all, b);
}

struct binding *bindings_add(struct bindings *all, const struct client_name *c, struct peer *peer,
                             struct binding_list *list, const struct emqx_control *init)
{
    struct binding *b;

    if (list->count >= BINDINGS_MAX)
        bindings_forget(all, list->first);
    b = malloc(sizeof(*b) + init->actor.n);
    if (!b)
        return NULL;
    *b = (struct binding){.list = list,
                          .client = *c,
                          .peer = peer,
                          .incarnation = init->incarnation,
                          .actor_n = init->actor.n};
    bytes_put(b->actor, init->actor);
    if (!table_insert(&all->table, &b->node, hash_client(all, c))) {
        free(b);
        return NULL;
    }
    list_last(b);
    return b;
}

void bindings_init(struct bindings *all, const struct hash_key *key)
{
    *all = (struct bindings){.key = *key};
    table_init(&all->table);
}

void bindings_fini(struct bindings *all)
{
    for (uint32_t i = 0; i < all->table.bucket_count; i++)
        while (all->table.buckets[i])
            bindings_forget(all, TABLE_OBJECT(all->table.buckets[i], struct binding, node));
    table_fini(&all->table);
}
