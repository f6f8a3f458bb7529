/* net/auth_http.c -- what an HTTP server says of a client. */
#include "net/auth_http.h"

#include <string.h>

#include "net/auth_state.h"
#include "net/clock.h"
#include "net/crypt.h"
#include "net/http_body.h"

/* Of a question beside the client's names: words, an address, the names of listener and
 * certificate. */
#define TEXT_SPARE_BYTES 4096u

/* Without a user name the client is let in, and stays without one. */
static struct admission *admit_by_http(struct bytes user, bool has_user)
{
    struct admission *a = auth_admit(user, 0);

    if (a)
        a->has_user = has_user;
    return a;
}

/* ---- answers ---- */

static struct auth_question *question_of(struct http_job *job)
{
    return (struct auth_question *)(void *)((char *)job - offsetof(struct auth_question, http));
}

/* The moment until which its yes stands; 0: none. */
static uint64_t http_end_ms(const struct auth *a, const struct http_answer *answer, uint64_t now_ms)
{
    uint64_t wall_s = clock_wall_ms() / 1000, left_ms;

    if (!answer->has_expiry)
        return now_ms + a->cache_ms;
    if (answer->expire_at <= wall_s)
        return 0;
    left_ms = (answer->expire_at - wall_s) * 1000;
    return now_ms + (left_ms < a->cache_ms ? left_ms : a->cache_ms);
}

/* It knows this client. */
static void http_allows(struct auth *a, struct auth_question *q)
{
    uint64_t now = clock_mono_ms(), end = http_end_ms(a, &q->http.answer, now);

    if (end == 0) { /* no longer */
        q->admission = auth_refusal(REASON_NOT_AUTHORIZED);
        return;
    }
    pthread_mutex_lock(&a->lock);
    if (end > now)
        passwd_cache_put(a->cache, &q->proof, now, end);
    pthread_mutex_unlock(&a->lock);
    q->admission =
        admit_by_http(bytes_of(q->password + q->password_count, q->user_count), q->has_user);
}

/* A server that does not answer as it should says nothing of the client, which may try again and is
 * no guesser; one that says so by its status does. */
static enum reason fault_reason(const struct http_job *job)
{
    bool is_said = job->status == 401 || job->status == 403;

    return is_said ? REASON_NOT_AUTHORIZED : REASON_SERVER_UNAVAILABLE;
}

static void http_answered(struct http_job *job)
{
    struct auth_question *q = question_of(job);
    bool is_ignored = !job->fault && job->answer.verdict == HTTP_IGNORE;

    if (is_ignored && (q->is_token || q->entry)) { /* a method after it decides */
        http_job_fini(job);
        auth_hand_over(q->auth, q);
        return;
    }
    if (job->fault)
        q->admission = auth_refusal(fault_reason(job));
    else if (job->answer.verdict == HTTP_DENY)
        q->admission = auth_refusal(REASON_NOT_AUTHORIZED);
    else if (job->answer.verdict == HTTP_ALLOW)
        http_allows(q->auth, q);
    else if (q->may_be_open)
        q->is_open = true;
    else /* a user nobody knows */
        q->admission = auth_refusal(REASON_BAD_USER_NAME_OR_PASSWORD);
    http_job_fini(job);
    auth_answer(q);
}

static void http_drop(struct http_job *job)
{
    struct auth_question *q = question_of(job);

    auth_question_wipe(q);
    auth_question_free(q);
}

static const struct http_job_ops http_ops = {.answered = http_answered, .drop = http_drop};

/* ---- asking ---- */

/* 128 bits of a keyed hash of all that the server is asked: whatever it looks at, what it has let
 * in comes with the same. */
static bool http_proof(const struct auth *a, const char *body, uint32_t count,
                       struct passwd_proof *proof)
{
    struct bytes parts[] = {BYTES_LIT("http"), bytes_of(body, count)};
    uint8_t mac[CRYPT_SHA256_BYTES];

    if (crypt_hmac_sha256(bytes_of(a->key, sizeof(a->key)), parts, 2, mac) != OK)
        return false;
    memcpy(proof, mac, sizeof(*proof));
    return true;
}

/* The text of a question about this CONNECT. */
static enum err http_text(const struct cfg_listener *listener, const struct packet_connect *connect,
                          const struct auth_peer *peer, char **text, uint32_t *count)
{
    const struct bytes none = {0}, empty = BYTES_LIT("");
    struct http_connect say = {.client_id = connect->client_id.p ? connect->client_id : empty,
                               .peer = peer->ip,
                               .listener = listener->name,
                               .common_name = peer->common_name};

    say.username = connect->has_username ? connect->username : none;
    if (connect->has_username && !say.username.p)
        say.username = empty;
    say.password = connect->has_password ? connect->password : none;
    if (connect->has_password && !say.password.p)
        say.password = empty;
    return http_body_connect(&say, text, count);
}

/* With the text, which is taken over by a question. */
static enum auth_verdict http_ask(struct auth *a, struct auth_asking *asking,
                                  const struct http_job *job, struct admission **admission,
                                  struct auth_question **question)
{
    const struct packet_connect *connect = asking->connect;
    struct passwd_proof proof;
    enum auth_decider next;
    struct auth_question *q;

    if (!http_proof(a, job->body, job->body_count, &proof))
        return AUTH_MEMORY;
    if (a->cache_ms && auth_has_proof(a, &proof)) {
        *admission = admit_by_http(connect->has_username ? connect->username : bytes_of("", 0),
                                   connect->has_username);
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    next = auth_who_decides(a, asking); /* if the server does not */
    q = auth_question_new(a, asking, next == BY_TOKEN);
    if (!q)
        return AUTH_MEMORY;
    q->may_be_open = next == BY_NOBODY && auth_is_silent(asking);
    q->proof = proof;
    q->http = *job;
    q->bytes += job->body_count;
    if (http_pool_ask(a->http, &q->http) == OK) {
        *question = q;
        return AUTH_ASKED;
    }
    q->http.body = NULL; /* it is still the caller's */
    auth_question_wipe(q);
    auth_question_free(q);
    *admission = auth_refuse(REASON_QUOTA_EXCEEDED, "too many questions wait for the HTTP server");
    return *admission ? AUTH_KNOWN : AUTH_MEMORY;
}

uint32_t auth_http_room(uint32_t names)
{
    return names * 6 + TEXT_SPARE_BYTES; /* a control character is \\u00XX */
}

enum auth_verdict auth_http_ask(struct auth *a, struct auth_asking *asking,
                                struct admission **admission, struct auth_question **question)
{
    struct http_job job = {.ops = &http_ops, .url = a->http_url};
    enum err err =
        http_text(asking->listener, asking->connect, asking->peer, &job.body, &job.body_count);
    enum auth_verdict verdict;

    if (err == ERR_MEMORY)
        return AUTH_MEMORY;
    if (err != OK) { /* a password that JSON cannot say */
        *admission = auth_refusal(REASON_BAD_USER_NAME_OR_PASSWORD);
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    verdict = http_ask(a, asking, &job, admission, question);
    if (verdict != AUTH_ASKED)
        http_job_fini(&job);
    return verdict;
}
