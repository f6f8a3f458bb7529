/* net/http_pool.c -- threads that put questions to HTTP servers, and the line in front of them. */
#include "net/http_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/crypt.h"
#include "net/http.h"

#define THREADS_MAX 256u

struct http_pool {
    pthread_mutex_t lock; /* of the line */
    pthread_cond_t changed;
    struct http_job *first, *last; /* in line, in order */
    uint64_t bytes;                /* of their texts, at most line_bytes */
    _Atomic uint32_t must_end;     /* stored under the lock; http.c looks without */
    /* fixed */
    struct http_settings settings;
    uint64_t line_bytes;
    bool has_library;
    uint32_t thread_count;
    pthread_t threads[THREADS_MAX];
};

void http_job_fini(struct http_job *job)
{
    if (job->body)
        crypt_wipe(job->body, job->body_count);
    free(job->body);
    job->body = NULL;
}

/* ---- threads ---- */

static void ask(struct http_client *c, struct http_job *job)
{
    struct http_reply reply = {.fault = "no memory"};
    uint64_t now = clock_mono_ms();
    uint32_t left = job->end_ms > now ? (uint32_t)(job->end_ms - now) : 0;

    if (c)
        http_post(c, job->url, bytes_of(job->body, job->body_count), left, &reply);
    job->status = reply.status;
    job->fault = reply.fault;
    if (http_answer_read(reply.status, reply.body, &job->answer) != OK && !job->fault)
        job->fault = reply.status == 200 ? "the answer is not understood" : "another status";
}

/* Takes jobs until the end. With the lock. */
static void work(struct http_pool *p, struct http_client **client)
{
    while (!load_relaxed(&p->must_end)) { /* stored under the lock */
        struct http_job *job = p->first;

        if (!job) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        p->first = job->next;
        p->bytes -= job->body_count;
        pthread_mutex_unlock(&p->lock);
        if (!*client)
            *client = http_client_create(&p->settings);
        if (load_relaxed(&job->is_in_vain)) /* a hint: nothing depends on it */
            job->fault = "nobody waits";
        else
            ask(*client, job);
        job->ops->answered(job);
        pthread_mutex_lock(&p->lock);
    }
}

static void *thread_main(void *arg)
{
    struct http_pool *p = arg;
    struct http_client *client = NULL;

    (void)pthread_setname_np(pthread_self(), "cw-http");
    pthread_mutex_lock(&p->lock);
    work(p, &client);
    pthread_mutex_unlock(&p->lock);
    http_client_destroy(client);
    return NULL;
}

/* ---- life ---- */

static bool start_threads(struct http_pool *p, uint32_t count)
{
    for (; p->thread_count < count && p->thread_count < THREADS_MAX; p->thread_count++) {
        errno = pthread_create(&p->threads[p->thread_count], NULL, thread_main, p);
        if (errno != 0)
            return false;
    }
    return true;
}

struct http_pool *http_pool_create(const struct http_pool_settings *settings, char *why,
                                   size_t why_bytes)
{
    struct http_pool *p = calloc(1, sizeof(*p));

    snprintf(why, why_bytes, "no memory for HTTP");
    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->settings = (struct http_settings){.connect_ms = settings->connect_ms,
                                         .timeout_ms = settings->timeout_ms,
                                         .ca_file = settings->ca_file,
                                         .must_end = &p->must_end};
    p->line_bytes = settings->line_bytes ? settings->line_bytes : HTTP_LINE_BYTES;
    p->has_library = http_init() == OK;
    if (!p->has_library) {
        snprintf(why, why_bytes, "the HTTP library does not start");
        goto failed;
    }
    if (!start_threads(p, settings->threads)) {
        snprintf(why, why_bytes, "no thread for HTTP: %s", strerror(errno));
        goto failed;
    }
    return p;
failed:
    http_pool_destroy(p);
    return NULL;
}

void http_pool_stop(struct http_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    store_relaxed(&p->must_end, 1); /* under the lock; without it only a hint */
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (; p->thread_count > 0; p->thread_count--)
        pthread_join(p->threads[p->thread_count - 1], NULL);
}

void http_pool_destroy(struct http_pool *p)
{
    if (!p)
        return;
    http_pool_stop(p);
    while (p->first) {
        struct http_job *job = p->first;

        p->first = job->next;
        job->ops->drop(job);
    }
    if (p->has_library)
        http_fini();
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

enum err http_pool_ask(struct http_pool *p, struct http_job *job)
{
    job->next = NULL;
    job->end_ms = clock_mono_ms() + p->settings.timeout_ms;
    pthread_mutex_lock(&p->lock);
    if (job->body_count > p->line_bytes - p->bytes) {
        pthread_mutex_unlock(&p->lock);
        return ERR_FULL;
    }
    p->bytes += job->body_count;
    if (p->first)
        p->last->next = job;
    else
        p->first = job;
    p->last = job;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return OK;
}
