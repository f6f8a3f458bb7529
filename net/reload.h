/* net/reload.h -- how another thread has the main thread read everything anew, and hears of it.
 *
 * A caller leaves its wish and sleeps; the main thread finds it, reads everything once for all who
 * wait and bring nothing of their own, and answers them; who brings something is served alone. A
 * wish that comes while files are read waits for the next time, because a file may have changed
 * behind the reader.
 *
 * Threads  reload_ask: any but main, and no worker, since it waits.  All else: main.
 * Memory   a wish lives on its caller's stack.
 * End      after reload_close every caller is answered at once: ERR_SYSTEM.
 */
#ifndef NET_RELOAD_H
#define NET_RELOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct reload_wish;

struct reload {
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t answered;
    struct reload_wish *waiting; /* main has not seen them */
    struct reload_wish *taken;   /* main reads for them */
    bool is_closed;
    pthread_t main;
    int fd; /* readable: somebody waits; -1: not made */
};

/* Makes it, for the calling thread to be main.  ERR_SYSTEM: no descriptor. */
MUST_USE enum err reload_init(struct reload *r);
/* Answers who waits, and will wait, that the broker stops. */
void reload_close(struct reload *r);
/* Takes it down; nobody waits any more. */
void reload_fini(struct reload *r);

/* Whether the caller is main, who reads and does not ask. */
bool reload_is_main(const struct reload *r);
/* Waits until main has read everything, with what is `brought`, if that is not NULL: main then has
 * it, but after ERR_SYSTEM. The answer is main's, and `text` says it in words. */
MUST_USE enum err reload_ask(struct reload *r, void *brought, char *text, size_t text_bytes);

/* Whether somebody waits; the answer to him is then due by reload_answer. *brought: what he brings,
 * main's from now on, or NULL. */
bool reload_take(struct reload *r, void **brought);
/* Answers those of the last reload_take. */
void reload_answer(struct reload *r, enum err err, const char *text);

#endif
