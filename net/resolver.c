/* net/resolver.c -- host names looked up without making a worker wait. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/worker.h"

struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct dial *first, *last; /* asked, in order */
    bool must_end;
    pthread_t thread;
};

bool resolver_numeric(struct dial *d)
{
    union dial_address *a = &d->addresses[0];

    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, d->host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(d->port);
    } else if (inet_pton(AF_INET6, d->host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(d->port);
    } else {
        return false;
    }
    d->count = 1;
    return true;
}

static void look_up(struct dial *d)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;

    d->error = getaddrinfo(d->host, NULL, &hints, &list);
    if (d->error != 0)
        return;
    for (struct addrinfo *a = list; a && d->count < DIAL_ADDRESSES_MAX; a = a->ai_next) {
        union dial_address *to = &d->addresses[d->count];

        if (a->ai_addrlen > sizeof(*to))
            continue;
        memcpy(to, a->ai_addr, a->ai_addrlen);
        if (to->any.sa_family == AF_INET)
            to->v4.sin_port = htons(d->port);
        else if (to->any.sa_family == AF_INET6)
            to->v6.sin6_port = htons(d->port);
        else
            continue;
        d->count++;
    }
    freeaddrinfo(list);
}

static void answer(struct dial *d)
{
    struct worker *w = d->worker;

    pthread_mutex_lock(&w->answers_lock);
    d->next = w->answers;
    w->answers = d;
    pthread_mutex_unlock(&w->answers_lock);
    worker_ring(w);
}

static void *resolver_main(void *arg)
{
    struct resolver *r = arg;

    pthread_mutex_lock(&r->lock);
    while (!r->must_end) {
        struct dial *d = r->first;

        if (!d) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        r->first = d->next;
        pthread_mutex_unlock(&r->lock);
        look_up(d);
        pthread_mutex_lock(&r->lock);
        if (r->must_end)
            free(d); /* its worker may be gone */
        else
            answer(d);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct resolver *resolver_create(void)
{
    struct resolver *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (pthread_create(&r->thread, NULL, resolver_main, r) != 0) {
        free(r);
        return NULL;
    }
    pthread_setname_np(r->thread, "cw-resolver");
    return r;
}

void resolver_destroy(struct resolver *r)
{
    struct timespec until;

    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->must_end = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    if (pthread_timedjoin_np(r->thread, NULL, &until) != 0) {
        pthread_detach(r->thread);
        return;
    }
    while (r->first) {
        struct dial *d = r->first;

        r->first = d->next;
        free(d);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}

void resolver_ask(struct resolver *r, struct dial *d)
{
    pthread_mutex_lock(&r->lock);
    d->next = NULL;
    if (r->first)
        r->last->next = d;
    else
        r->first = d;
    r->last = d;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}
