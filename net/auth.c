/* net/auth.c -- who a client is. */
#include "net/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/crypt.h"
#include "net/http_body.h"
#include "net/worker.h"

#define THREADS_MAX 64u

struct auth {
    pthread_mutex_t lock; /* of everything below but the fixed fields */
    pthread_cond_t changed;
    struct auth_question *first, *last; /* asked, in order */
    struct passwd *passwd;              /* NULL: no passwords */
    struct jwt *jwt;                    /* NULL: no tokens */
    struct passwd_cache *cache;
    bool must_end;
    /* fixed */
    struct http_pool *http; /* NULL: no server is asked */
    const char *http_url;
    uint32_t cache_ms;
    uint8_t key[PASSWD_CACHE_KEY_BYTES];
    struct hash_key hash_key;
    uint32_t thread_count;
    pthread_t threads[THREADS_MAX];
};

/* ---- answers ---- */

static struct admission *admit(struct bytes user, uint64_t credential)
{
    struct admission *a = calloc(1, sizeof(*a) + user.n);

    if (!a)
        return NULL;
    a->has_user = true;
    a->credential = credential;
    a->user_count = (uint16_t)user.n;
    (void)bytes_put((uint8_t *)a->user, user);
    return a;
}

/* Without a user name the client is let in, and stays without one. */
static struct admission *admit_by_http(struct bytes user, bool has_user)
{
    struct admission *a = admit(user, 0);

    if (a)
        a->has_user = has_user;
    return a;
}

struct admission *auth_refusal(enum reason reason)
{
    struct admission *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->is_refused = true;
    a->reason = (uint8_t)reason;
    return a;
}

/* The same with words for the log, a fixed text. */
static struct admission *refuse(enum reason reason, const char *why)
{
    struct admission *a = auth_refusal(reason);

    if (a)
        a->why = why;
    return a;
}

/* A hash of what the file says of the user, never 0. */
static uint64_t credential_of(const struct auth *a, const struct passwd_entry *e)
{
    uint64_t hash = hash_more(&a->hash_key, hash_bytes(&a->hash_key, e->hash.salt), e->hash.hash);

    return hash ? hash : 1;
}

uint64_t auth_credential(const struct auth *a, const struct passwd *passwd, struct bytes user)
{
    const struct passwd_entry *e = passwd ? passwd_find(passwd, user) : NULL;

    return e && passwd_is_user(e) ? credential_of(a, e) : 0;
}

/* ---- helper threads ---- */

/* Whether what it stands for was right not long ago. */
static bool has_proof(struct auth *a, const struct passwd_proof *proof)
{
    bool is_known;

    if (a->cache_ms == 0)
        return false;
    pthread_mutex_lock(&a->lock);
    is_known = passwd_cache_has(a->cache, proof, clock_mono_ms());
    pthread_mutex_unlock(&a->lock);
    return is_known;
}

/* Whether this user came with this password not long ago. */
static bool is_remembered(struct auth *a, const struct passwd_entry *e, struct bytes password)
{
    struct passwd_proof proof;

    return a->cache_ms && passwd_proof_make(a->key, e, password, &crypt_passwd, &proof) == OK &&
           has_proof(a, &proof);
}

/* Notes that the password was right, so that the next time costs nothing. */
static void remember(struct auth *a, const struct auth_question *q, struct bytes password)
{
    struct passwd_proof proof;
    uint64_t now = clock_mono_ms();

    if (a->cache_ms == 0 ||
        passwd_proof_make(a->key, q->entry, password, &crypt_passwd, &proof) != OK)
        return;
    pthread_mutex_lock(&a->lock);
    passwd_cache_put(a->cache, &proof, now, now + a->cache_ms);
    pthread_mutex_unlock(&a->lock);
}

static struct admission *check_password(struct auth *a, const struct auth_question *q)
{
    struct bytes password = bytes_of(q->password, q->password_count);
    bool matches = false;

    /* Those who ask at once with the same password wait in line; the first has computed for all. */
    if (is_remembered(a, q->entry, password))
        return admit(q->entry->name, credential_of(a, q->entry));
    if (passwd_verify(q->entry, password, &crypt_passwd, &matches) != OK)
        return auth_refusal(REASON_SERVER_BUSY);
    if (!matches)
        return auth_refusal(REASON_BAD_USER_NAME_OR_PASSWORD);
    remember(a, q, password);
    return admit(q->entry->name, credential_of(a, q->entry));
}

static struct admission *check_token(const struct auth_question *q)
{
    struct bytes token = bytes_of(q->password, q->password_count);
    uint64_t wall_ms = clock_wall_ms();
    struct jwt_identity identity;
    struct admission *admission;
    const char *why;
    enum err e = jwt_verify(q->jwt, token, wall_ms, &identity, &why);

    if (e != OK)
        return refuse(e == ERR_MEMORY ? REASON_SERVER_BUSY : REASON_BAD_USER_NAME_OR_PASSWORD, why);
    admission = admit(bytes_of(identity.user, identity.user_count), 0);
    if (admission && identity.ends_connection)
        admission->expires_ms = clock_mono_ms() + (identity.expires_ms - wall_ms);
    return admission;
}

static void check(struct auth *a, struct auth_question *q)
{
    if (load_relaxed(&q->is_in_vain)) /* a hint: nothing depends on it */
        return;
    if (!q->is_token) {
        q->admission = check_password(a, q);
        return;
    }
    q->admission = check_token(q);
    if (q->entry && q->admission && q->admission->is_refused)
        free(check_password(a, q)); /* for its time: nobody knows this user */
}

static void wipe(struct auth_question *q)
{
    crypt_wipe(q->password, (size_t)q->password_count + q->user_count);
}

static void answer(struct auth_question *q)
{
    struct worker *w = q->worker;

    wipe(q);
    pthread_mutex_lock(&w->answers_lock);
    q->next = w->auth_answers;
    w->auth_answers = q;
    pthread_mutex_unlock(&w->answers_lock);
    worker_ring(w);
}

static void hand_over(struct auth *a, struct auth_question *q)
{
    pthread_mutex_lock(&a->lock);
    if (a->first)
        a->last->next = q;
    else
        a->first = q;
    a->last = q;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void *helper_main(void *arg)
{
    struct auth *a = arg;

    (void)pthread_setname_np(pthread_self(), "cw-auth");
    pthread_mutex_lock(&a->lock);
    while (!a->must_end) {
        struct auth_question *q = a->first;

        if (!q) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        a->first = q->next;
        pthread_mutex_unlock(&a->lock);
        check(a, q);
        answer(q);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- what an HTTP server says ---- */

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
        hand_over(q->auth, q);
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
    answer(q);
}

static void http_drop(struct http_job *job)
{
    struct auth_question *q = question_of(job);

    wipe(q);
    auth_question_free(q);
}

static const struct http_job_ops http_ops = {.answered = http_answered, .drop = http_drop};

/* ---- life ---- */

static bool start_threads(struct auth *a, uint32_t count)
{
    for (; a->thread_count < count; a->thread_count++) {
        errno = pthread_create(&a->threads[a->thread_count], NULL, helper_main, a);
        if (errno != 0)
            return false;
    }
    return true;
}

static uint32_t thread_count(uint32_t wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted == 0)
        wanted = cores > 2 ? (uint32_t)cores / 2 : 1;
    return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

struct auth *auth_create(uint32_t threads, uint32_t cache_ms, char *why, size_t why_bytes)
{
    struct auth *a = calloc(1, sizeof(*a));

    snprintf(why, why_bytes, "no memory for authentication");
    if (!a)
        return NULL;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    a->cache_ms = cache_ms;
    a->cache = passwd_cache_create(PASSWD_CACHE_PLACES_DEFAULT);
    if (!a->cache || crypt_random(a->key, sizeof(a->key)) != OK ||
        crypt_random(&a->hash_key, sizeof(a->hash_key)) != OK)
        goto failed;
    if (!start_threads(a, thread_count(threads))) {
        snprintf(why, why_bytes, "no thread for passwords: %s", strerror(errno));
        goto failed;
    }
    return a;
failed:
    auth_destroy(a);
    return NULL;
}

void auth_stop(struct auth *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->must_end = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    for (; a->thread_count > 0; a->thread_count--)
        pthread_join(a->threads[a->thread_count - 1], NULL);
}

void auth_destroy(struct auth *a)
{
    if (!a)
        return;
    auth_stop(a);
    while (a->first) {
        struct auth_question *q = a->first;

        a->first = q->next;
        wipe(q);
        auth_question_free(q);
    }
    passwd_release(a->passwd);
    jwt_release(a->jwt);
    passwd_cache_destroy(a->cache);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    crypt_wipe(a->key, sizeof(a->key));
    free(a);
}

void auth_use_http(struct auth *a, struct http_pool *pool, const char *url)
{
    a->http = pool;
    a->http_url = url;
}

void auth_replace(struct auth *a, struct passwd *passwd, struct jwt *jwt)
{
    struct passwd *old_passwd;
    struct jwt *old_jwt;

    pthread_mutex_lock(&a->lock);
    old_passwd = a->passwd;
    old_jwt = a->jwt;
    a->passwd = passwd ? passwd_ref(passwd) : NULL;
    a->jwt = jwt_ref(jwt);
    pthread_mutex_unlock(&a->lock);
    passwd_release(old_passwd);
    jwt_release(old_jwt);
}

/* A share of the users as they are now; NULL: no passwords. */
static struct passwd *current_passwd(struct auth *a)
{
    struct passwd *passwd;

    pthread_mutex_lock(&a->lock);
    passwd = a->passwd ? passwd_ref(a->passwd) : NULL;
    pthread_mutex_unlock(&a->lock);
    return passwd;
}

/* ---- asking ---- */

/* A CONNECT, and what there is to compare it with. */
struct asking {
    const struct cfg_listener *listener;
    const struct packet_connect *connect;
    const struct auth_peer *peer;
    struct worker *worker;
    uint32_t asked; /* of the listener's methods, those that have been looked at */
    /* shares */
    struct passwd *passwd;            /* or NULL */
    struct jwt *jwt;                  /* or NULL */
    const struct passwd_entry *entry; /* NULL: nobody has looked */
};

enum decider { BY_NOBODY, BY_PASSWORD, BY_TOKEN, BY_HTTP };

static struct bytes password_of(const struct packet_connect *connect)
{
    return connect->has_password ? connect->password : bytes_of("", 0);
}

static enum auth_verdict by_identity(const char *identity, struct admission **admission)
{
    if (!identity || !*identity || strlen(identity) > UINT16_MAX)
        *admission = auth_refusal(REASON_NOT_AUTHORIZED);
    else
        *admission = admit(bytes_str(identity), 0);
    return *admission ? AUTH_KNOWN : AUTH_MEMORY;
}

/* With shares of its own. */
static struct auth_question *new_question(struct auth *a, const struct asking *asking,
                                          bool is_token)
{
    struct bytes password = password_of(asking->connect);
    struct bytes user = asking->connect->has_username ? asking->connect->username : bytes_of("", 0);
    struct auth_question *q = calloc(1, sizeof(*q) + password.n + user.n);

    if (!q)
        return NULL;
    q->worker = asking->worker;
    q->auth = a;
    q->passwd = asking->entry ? passwd_ref(asking->passwd) : NULL;
    q->entry = asking->entry;
    q->jwt = is_token ? jwt_ref(asking->jwt) : NULL;
    q->is_token = is_token;
    q->has_user = asking->connect->has_username;
    q->password_count = (uint16_t)password.n;
    q->user_count = (uint16_t)user.n;
    (void)bytes_put(bytes_put(q->password, password), user);
    return q;
}

/* Which of the methods that have not been looked at decides about this client. */
static enum decider who_decides(const struct auth *a, struct asking *asking)
{
    const struct cfg_methods *methods = &asking->listener->methods;
    const struct packet_connect *connect = asking->connect;

    while (asking->asked < methods->count) {
        enum cfg_method method = methods->v[asking->asked++];

        if (method == METHOD_HTTP && a->http)
            return BY_HTTP;
        if (method == METHOD_JWT && asking->jwt && connect->has_password &&
            jwt_has_form(connect->password))
            return BY_TOKEN;
        if (method == METHOD_PASSWORD && asking->passwd && connect->has_username) {
            asking->entry = passwd_find(asking->passwd, connect->username);
            if (passwd_is_user(asking->entry))
                return BY_PASSWORD;
        }
    }
    return asking->entry ? BY_PASSWORD : BY_NOBODY; /* an unknown user costs a hash, too */
}

/* Whether a client of whom no method knows anything has said nothing that could prove him. */
static bool is_silent(const struct asking *asking)
{
    const struct packet_connect *connect = asking->connect;

    return !connect->has_username &&
           !(connect->has_password && cfg_methods_have(&asking->listener->methods, METHOD_JWT));
}

/* Nothing that came is anything to a method. */
static enum auth_verdict by_nobody(const struct asking *asking, struct admission **admission)
{
    bool has_tokens = cfg_methods_have(&asking->listener->methods, METHOD_JWT);

    if (is_silent(asking))
        return AUTH_NONE;
    *admission =
        refuse(REASON_BAD_USER_NAME_OR_PASSWORD, has_tokens ? "the password is no token" : NULL);
    return *admission ? AUTH_KNOWN : AUTH_MEMORY;
}

static enum auth_verdict by_helper(struct auth *a, const struct asking *asking, bool is_token,
                                   struct admission **admission, struct auth_question **question)
{
    const struct packet_connect *connect = asking->connect;

    if (!is_token && is_remembered(a, asking->entry, password_of(connect))) {
        *admission = admit(connect->username, credential_of(a, asking->entry));
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    *question = new_question(a, asking, is_token);
    if (!*question)
        return AUTH_MEMORY;
    hand_over(a, *question);
    return AUTH_ASKED;
}

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

/* With the text, which is taken over. */
static enum auth_verdict http_ask(struct auth *a, struct asking *asking, const struct http_job *job,
                                  struct admission **admission, struct auth_question **question)
{
    const struct packet_connect *connect = asking->connect;
    struct passwd_proof proof;
    enum decider next;
    struct auth_question *q;

    if (!http_proof(a, job->body, job->body_count, &proof))
        return AUTH_MEMORY;
    if (a->cache_ms && has_proof(a, &proof)) {
        *admission = admit_by_http(connect->has_username ? connect->username : bytes_of("", 0),
                                   connect->has_username);
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    next = who_decides(a, asking); /* if the server does not */
    q = new_question(a, asking, next == BY_TOKEN);
    if (!q)
        return AUTH_MEMORY;
    q->may_be_open = next == BY_NOBODY && is_silent(asking);
    q->proof = proof;
    q->http = *job;
    *question = q;
    http_pool_ask(a->http, &q->http);
    return AUTH_ASKED;
}

static enum auth_verdict by_http(struct auth *a, struct asking *asking,
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

static enum auth_verdict by_methods(struct auth *a, struct asking *asking,
                                    struct admission **admission, struct auth_question **question)
{
    enum decider decider = who_decides(a, asking);

    switch (decider) {
    case BY_HTTP:
        return by_http(a, asking, admission, question);
    case BY_PASSWORD:
    case BY_TOKEN:
        return by_helper(a, asking, decider == BY_TOKEN, admission, question);
    case BY_NOBODY:
    default:
        return by_nobody(asking, admission);
    }
}

enum auth_verdict auth_ask(struct auth *a, const struct cfg_listener *listener,
                           const struct packet_connect *connect, const struct auth_peer *peer,
                           struct worker *w, struct admission **admission,
                           struct auth_question **question)
{
    struct asking asking = {.listener = listener, .connect = connect, .peer = peer, .worker = w};
    enum auth_verdict verdict;

    if (listener->identity != IDENTITY_NONE)
        return by_identity(peer->identity, admission);
    if (connect->protocol == MQTT_5 && (connect->props.present & PROP_BIT(PROP_AUTH_METHOD)))
        return AUTH_NONE; /* core asks the client itself, and does not let it in without */
    if (listener->methods.count == 0)
        return AUTH_NONE; /* user names are believed */
    pthread_mutex_lock(&a->lock);
    asking.passwd = a->passwd ? passwd_ref(a->passwd) : NULL;
    asking.jwt = jwt_ref(a->jwt);
    pthread_mutex_unlock(&a->lock);
    verdict = by_methods(a, &asking, admission, question);
    passwd_release(asking.passwd);
    jwt_release(asking.jwt);
    return verdict;
}

void auth_confirm(struct auth *a, struct admission *admission)
{
    struct passwd *passwd;

    if (!admission || admission->is_refused || admission->credential == 0)
        return;
    passwd = current_passwd(a);
    if (auth_credential(a, passwd, bytes_of(admission->user, admission->user_count)) !=
        admission->credential) {
        admission->is_refused = true;
        admission->reason = REASON_BAD_USER_NAME_OR_PASSWORD;
    }
    passwd_release(passwd);
}

void auth_forget(struct auth_question *q)
{
    q->conn = NULL;
    store_relaxed(&q->is_in_vain, 1); /* a hint to the helper that has it */
    store_relaxed(&q->http.is_in_vain, 1);
}

void auth_question_free(struct auth_question *q)
{
    passwd_release(q->passwd);
    jwt_release(q->jwt);
    http_job_fini(&q->http);
    free(q);
}
