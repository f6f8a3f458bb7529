/* net/http_access.c -- whether an HTTP server lets a client publish or subscribe. */
#include "net/http_access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/hash.h"
#include "net/conn_state.h"
#include "net/crypt.h"
#include "net/http_body.h"
#include "net/http_pool.h"
#include "net/http_verdicts.h"
#include "net/worker.h"

/* A power of two. */
#define BUCKETS 1024u
/* How long a question without an answer denies. */
#define FAULT_MS 1000u

struct question {
    struct http_job job; /* first */
    struct question *bucket_next;
    struct worker *worker;
    struct handle conn; /* that waits */
    uint64_t hash;
};

struct http_access {
    struct worker *worker;
    const char *url;
    uint32_t cache_ms;
    struct hash_key key;
    struct http_verdicts *verdicts;
    uint32_t asked_count; /* questions under way: those in the buckets */
    uint64_t asked_bytes; /* of their texts */
    struct question *buckets[BUCKETS];
};

static struct question *question_of(struct http_job *job)
{
    return (struct question *)(void *)job;
}

/* ---- what a question is known by ---- */

/* Of all that is asked: each part with its length, so that none can be taken for another. */
static uint64_t hash_of_all(const struct http_access *a, const struct conn *c,
                            const struct access_question *q)
{
    uint32_t head[4] = {q->client_id.n, q->user.p ? q->user.n : UINT32_MAX, q->topic.n,
                        (uint32_t)(q->is_subscribe | q->retain << 1 | q->qos << 2)};
    uint64_t h = hash_bytes(&a->key, bytes_of(head, sizeof(head)));

    h = hash_more(&a->key, h, bytes_of(c->peer, sizeof(c->peer)));
    h = hash_more(&a->key, h, q->client_id);
    h = hash_more(&a->key, h, q->user);
    return hash_more(&a->key, h, q->topic);
}

static struct question *find(struct http_access *a, uint64_t hash)
{
    struct question *q = a->buckets[hash % BUCKETS];

    while (q && q->hash != hash)
        q = q->bucket_next;
    return q;
}

static void take_out(struct http_access *a, struct question *q)
{
    struct question **at = &a->buckets[q->hash % BUCKETS];

    while (*at != q)
        at = &(*at)->bucket_next;
    *at = q->bucket_next;
    a->asked_count--;
    a->asked_bytes -= q->job.body_count;
    (void)shard_hold_input(a->worker->shard, -(int64_t)q->job.body_count);
}

/* ---- asking ---- */

static void drop(struct http_job *job)
{
    http_job_fini(job);
    free(job);
}

static void answered(struct http_job *job)
{
    struct worker *w = question_of(job)->worker;

    pthread_mutex_lock(&w->answers_lock);
    job->next = w->http_answers;
    w->http_answers = job;
    pthread_mutex_unlock(&w->answers_lock);
    worker_ring(w);
}

static const struct http_job_ops job_ops = {.answered = answered, .drop = drop};

static enum err make_body(const struct conn *c, const struct access_question *q, char **text,
                          uint32_t *count)
{
    char ip[INET6_ADDRSTRLEN];
    struct http_right body = {.client_id = q->client_id.p ? q->client_id : BYTES_LIT(""),
                              .username = q->user,
                              .peer = ip,
                              .is_subscribe = q->is_subscribe,
                              .topic = q->topic,
                              .qos = q->qos,
                              .retain = q->retain};

    conn_ip_text(c, ip);
    return http_body_access(&body, text, count);
}

/* Its text counts until the answer has been looked at, by this thread. false: there is no room, and
 * the packet is offered again. */
static bool put_in_line(struct http_access *a, struct question *q)
{
    struct worker *w = a->worker;

    if (!shard_hold_input(w->shard, q->job.body_count))
        return false;
    if (http_pool_ask(w->net->http, &q->job) == OK)
        return true;
    (void)shard_hold_input(w->shard, -(int64_t)q->job.body_count);
    return false;
}

static enum access_answer ask(struct http_access *a, struct conn *c,
                              const struct access_question *q, uint64_t hash)
{
    struct question *fresh;
    enum err err;

    if (a->asked_count >= HTTP_ACCESS_QUESTIONS || a->asked_bytes >= HTTP_ACCESS_BYTES ||
        c->asked_count >= HTTP_ACCESS_OF_ONE)
        return ACCESS_WAIT;
    fresh = calloc(1, sizeof(*fresh));
    err = fresh ? make_body(c, q, &fresh->job.body, &fresh->job.body_count) : ERR_MEMORY;
    if (err != OK) { /* without memory, or with a name that JSON cannot say */
        if (err == ERR_MEMORY)
            STAT_INC(shard_count(a->worker->shard), dropped_memory);
        free(fresh);
        return ACCESS_NO;
    }
    fresh->job.ops = &job_ops;
    fresh->job.url = a->url;
    fresh->worker = a->worker;
    fresh->conn = slab_handle(&a->worker->conns, c);
    fresh->hash = hash;
    if (!put_in_line(a, fresh)) {
        drop(&fresh->job);
        return ACCESS_WAIT;
    }
    fresh->bucket_next = a->buckets[hash % BUCKETS];
    a->buckets[hash % BUCKETS] = fresh;
    a->asked_count++;
    a->asked_bytes += fresh->job.body_count;
    c->asked_count++;
    return ACCESS_WAIT;
}

static enum access_answer access_of(enum http_verdict verdict)
{
    switch (verdict) {
    case HTTP_ALLOW:
        return ACCESS_YES;
    case HTTP_IGNORE:
        return ACCESS_FILE;
    case HTTP_DENY:
    default:
        return ACCESS_NO;
    }
}

enum access_answer http_access_may(struct http_access *a, const struct access_question *q)
{
    struct conn *c = q->conn;
    uint64_t hash = hash_of_all(a, c, q);
    enum http_verdict verdict;

    if (http_verdicts_find(a->verdicts, hash, a->worker->now_ms, &verdict))
        return access_of(verdict);
    if (find(a, hash)) /* asked for this connection, or for one before it: then this one polls */
        return ACCESS_WAIT;
    return ask(a, c, q, hash);
}

/* ---- answers ---- */

void http_access_note_fault(struct worker *w, const struct http_job *job)
{
    char text[32];
    struct log_line line = {
        .level = 4, .event = "HTTP server gave no verdict", .reason = job->fault};

    if (job->status) {
        snprintf(text, sizeof(text), "status %u", job->status);
        line.detail = text;
    }
    STAT_INC(shard_count(w->shard), denied_http);
    worker_log_flood(w, FLOOD_HTTP, &line);
}

static void on_answer(struct http_access *a, struct question *q)
{
    uint64_t now = a->worker->now_ms;
    struct conn *c = slab_at(&a->worker->conns, q->conn);

    if (q->job.fault)
        http_access_note_fault(a->worker, &q->job);
    http_verdicts_put(a->verdicts, q->hash, q->job.fault ? HTTP_DENY : q->job.answer.verdict, now,
                      now + (q->job.fault ? FAULT_MS : a->cache_ms));
    take_out(a, q);
    if (c)
        conn_access_answered(c);
    drop(&q->job);
}

void http_access_run(struct http_access *a)
{
    struct http_job *job, *next;
    struct worker *w;

    if (!a)
        return;
    w = a->worker;
    pthread_mutex_lock(&w->answers_lock);
    job = w->http_answers;
    w->http_answers = NULL;
    pthread_mutex_unlock(&w->answers_lock);
    for (; job; job = next) {
        next = job->next;
        on_answer(a, question_of(job));
    }
}

/* ---- life ---- */

struct http_access *http_access_create(struct worker *w)
{
    struct http_access *a = calloc(1, sizeof(*a));
    const struct cfg_auth *auth = &w->net->cfg->auth;

    if (!a)
        return NULL;
    a->worker = w;
    a->url = auth->http_acl_url;
    a->cache_ms = auth->http_acl_cache_ms;
    a->verdicts = http_verdicts_create(HTTP_VERDICTS_PLACES);
    if (!a->verdicts || crypt_random(&a->key, sizeof(a->key)) != OK) {
        http_access_destroy(a);
        return NULL;
    }
    return a;
}

void http_access_destroy(struct http_access *a)
{
    if (!a)
        return;
    while (a->worker->http_answers) { /* the others are the pool's */
        struct http_job *job = a->worker->http_answers;

        a->worker->http_answers = job->next;
        drop(job);
    }
    http_verdicts_destroy(a->verdicts);
    free(a);
}
