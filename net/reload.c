/* net/reload.c -- how another thread has the main thread read everything anew. */
#include "net/reload.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct reload_wish {
    struct reload_wish *next;
    void *brought;
    char *text;
    size_t text_bytes;
    enum err err;
    bool is_answered;
};

enum err reload_init(struct reload *r)
{
    *r = (struct reload){.main = pthread_self()};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->answered, NULL);
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return r->fd >= 0 ? OK : ERR_SYSTEM;
}

void reload_fini(struct reload *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    pthread_cond_destroy(&r->answered);
    pthread_mutex_destroy(&r->lock);
}

bool reload_is_main(const struct reload *r)
{
    return pthread_equal(pthread_self(), r->main) != 0;
}

/* Answers a whole list; the lock is held. */
static void answer(struct reload *r, struct reload_wish **list, enum err err, const char *text)
{
    for (struct reload_wish *wish = *list; wish; wish = wish->next) {
        snprintf(wish->text, wish->text_bytes, "%s", text);
        wish->err = err;
        wish->is_answered = true;
    }
    *list = NULL;
    pthread_cond_broadcast(&r->answered);
}

void reload_close(struct reload *r)
{
    pthread_mutex_lock(&r->lock);
    r->is_closed = true;
    answer(r, &r->taken, ERR_SYSTEM, "the broker stops");
    answer(r, &r->waiting, ERR_SYSTEM, "the broker stops");
    pthread_mutex_unlock(&r->lock);
}

enum err reload_ask(struct reload *r, void *brought, /* NOLINTNEXTLINE: is written to */
                    char *text, size_t text_bytes)
{
    struct reload_wish wish = {.brought = brought, .text = text, .text_bytes = text_bytes};
    const uint64_t one = 1;

    pthread_mutex_lock(&r->lock);
    wish.next = r->waiting;
    r->waiting = &wish;
    if (r->is_closed)
        answer(r, &r->waiting, ERR_SYSTEM, "the broker stops");
    else
        (void)!write(r->fd, &one, sizeof(one)); /* only full when it is readable anyway */
    while (!wish.is_answered)
        pthread_cond_wait(&r->answered, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return wish.err;
}

/* Moves all who bring nothing, or else one of those who do; the lock is held. */
static void take(struct reload *r)
{
    struct reload_wish **at = &r->waiting, *wish;

    while ((wish = *at)) {
        if (wish->brought) {
            at = &wish->next;
            continue;
        }
        *at = wish->next;
        wish->next = r->taken;
        r->taken = wish;
    }
    if (r->taken || !r->waiting)
        return;
    r->taken = r->waiting;
    r->waiting = r->taken->next;
    r->taken->next = NULL;
}

bool reload_take(struct reload *r, void **brought)
{
    uint64_t ignored;
    bool is_wanted;

    (void)!read(r->fd, &ignored, sizeof(ignored));
    pthread_mutex_lock(&r->lock);
    if (!r->taken)
        take(r);
    is_wanted = r->taken != NULL;
    *brought = is_wanted ? r->taken->brought : NULL;
    pthread_mutex_unlock(&r->lock);
    return is_wanted;
}

void reload_answer(struct reload *r, enum err err, const char *text)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&r->lock);
    answer(r, &r->taken, err, text);
    if (r->waiting) /* who brings something, and was not taken with the others */
        (void)!write(r->fd, &one, sizeof(one));
    pthread_mutex_unlock(&r->lock);
}
