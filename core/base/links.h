/* core/base/links.h -- a ring of links: a list whose members carry their place in it.
 *
 * The head is a link too; an empty list is a head that leads to itself.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_BASE_LINKS_H
#define CORE_BASE_LINKS_H

#include <stdbool.h>
#include <stddef.h>

struct links {
    struct links *prev, *next;
};

/* The object a link is part of. */
#define LINKS_OBJECT(l, type, member) ((type *)(void *)((char *)(l)-offsetof(type, member)))

/* Makes an empty list of a head. */
static inline void links_init(struct links *head)
{
    head->prev = head->next = head;
}

/* Whether nothing is in the list. */
static inline bool links_empty(const struct links *head)
{
    return head->next == head;
}

/* Puts a link at the end of a list; with a member in place of the head: before that. */
static inline void links_append(struct links *head, struct links *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

/* Takes a link out of its list. */
static inline void links_remove(struct links *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/* Moves all of `from` to the end of `to`, in their order. */
static inline void links_move(struct links *to, struct links *from)
{
    if (links_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    links_init(from);
}

#endif
