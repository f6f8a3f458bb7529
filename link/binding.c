/* link/binding.c -- a table of clients, and a list by when they last spoke. */
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

static void unlist(struct bindings *all, struct binding *b)
{
    *(b->prev ? &b->prev->next : &all->first) = b->next;
    *(b->next ? &b->next->prev : &all->last) = b->prev;
}

static void list_last(struct bindings *all, struct binding *b)
{
    b->prev = all->last;
    b->next = NULL;
    *(all->last ? &all->last->next : &all->first) = b;
    all->last = b;
}

void bindings_forget(struct bindings *all, struct binding *b)
{
    table_remove(&all->table, &b->node);
    unlist(all, b);
    free(b);
}

struct binding *bindings_find(struct bindings *all, const struct client_name *c)
{
    struct table_node *n = table_first(&all->table, hash_client(all, c));

    for (; n; n = table_after(n)) {
        struct binding *b = TABLE_OBJECT(n, struct binding, node);

        if (client_name_eq(&b->client, c)) {
            unlist(all, b);
            list_last(all, b);
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
                             const struct emqx_control *init)
{
    struct binding *b;

    while (all->table.count >= BINDINGS_MAX)
        bindings_forget(all, all->first);
    b = malloc(sizeof(*b) + init->actor.n);
    if (!b)
        return NULL;
    *b = (struct binding){
        .client = *c, .peer = peer, .incarnation = init->incarnation, .actor_n = init->actor.n};
    bytes_put(b->actor, init->actor);
    if (!table_insert(&all->table, &b->node, hash_client(all, c))) {
        free(b);
        return NULL;
    }
    list_last(all, b);
    return b;
}

void bindings_init(struct bindings *all, const struct hash_key *key)
{
    *all = (struct bindings){.key = *key};
    table_init(&all->table);
}

void bindings_fini(struct bindings *all)
{
    while (all->first)
        bindings_forget(all, all->first);
    table_fini(&all->table);
}
