/* net/auth.c -- who a client is. */
#include "net/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/auth_http.h"
#include "net/auth_state.h"
#include "net/auth_token.h"
#include "net/clock.h"
#include "net/crypt.h"
#include "net/worker.h"

/* ---- answers ---- */

struct admission *auth_admit(struct bytes user, uint64_t credential)
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

struct admission *auth_refusal(enum reason reason)
{
    struct admission *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->is_refused = true;
    a->reason = (uint8_t)reason;
    return a;
}

struct admission *auth_refuse(enum reason reason, const char *why)
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

bool auth_has_proof(struct auth *a, const struct passwd_proof *proof)
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
           auth_has_proof(a, &proof);
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
        return auth_admit(q->entry->name, credential_of(a, q->entry));
    if (passwd_verify(q->entry, password, &crypt_passwd, &matches) != OK)
        return auth_refusal(REASON_SERVER_BUSY);
    if (!matches)
        return auth_refusal(REASON_BAD_USER_NAME_OR_PASSWORD);
    remember(a, q, password);
    return auth_admit(q->entry->name, credential_of(a, q->entry));
}

static void check(struct auth *a, struct auth_question *q)
{
    if (load_relaxed(&q->is_in_vain)) /* a hint: nothing depends on it */
        return;
    if (!q->is_token) {
        q->admission = check_password(a, q);
        return;
    }
    q->admission = auth_token_check(a, q);
    if (q->entry && q->admission && q->admission->is_refused)
        free(check_password(a, q)); /* for its time: nobody knows this user */
}

void auth_question_wipe(struct auth_question *q)
{
    crypt_wipe(q->password, (size_t)q->password_count + q->user_count);
}

void auth_answer(struct auth_question *q)
{
    struct worker *w = q->worker;

    auth_question_wipe(q);
    pthread_mutex_lock(&w->answers_lock);
    q->next = w->auth_answers;
    w->auth_answers = q;
    pthread_mutex_unlock(&w->answers_lock);
    worker_ring(w);
}

void auth_hand_over(struct auth *a, struct auth_question *q)
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
        auth_answer(q);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

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
    return wanted < AUTH_THREADS_MAX ? wanted : AUTH_THREADS_MAX;
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
    a->tokens = jwt_cache_create(JWT_CACHE_PLACES, JWT_CACHE_BYTES);
    if (!a->cache || !a->tokens || crypt_random(a->key, sizeof(a->key)) != OK ||
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
        auth_question_wipe(q);
        auth_question_free(q);
    }
    passwd_release(a->passwd);
    jwt_release(a->jwt);
    passwd_cache_destroy(a->cache);
    jwt_cache_destroy(a->tokens);
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
    struct jwt_cache *tokens = jwt_cache_create(JWT_CACHE_PLACES, JWT_CACHE_BYTES);
    struct passwd *old_passwd;
    struct jwt *old_jwt;

    pthread_mutex_lock(&a->lock);
    old_passwd = a->passwd;
    old_jwt = a->jwt;
    a->passwd = passwd ? passwd_ref(passwd) : NULL;
    a->jwt = jwt_ref(jwt);
    if (tokens) { /* other keys may judge them otherwise */
        struct jwt_cache *old = a->tokens;

        a->tokens = tokens;
        tokens = old;
    } else {
        jwt_cache_clear(a->tokens);
    }
    pthread_mutex_unlock(&a->lock);
    jwt_cache_destroy(tokens);
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

static struct bytes password_of(const struct packet_connect *connect)
{
    return connect->has_password ? connect->password : bytes_of("", 0);
}

static enum auth_verdict by_identity(const char *identity, struct admission **admission)
{
    if (!identity || !*identity || strlen(identity) > UINT16_MAX)
        *admission = auth_refusal(REASON_NOT_AUTHORIZED);
    else
        *admission = auth_admit(bytes_str(identity), 0);
    return *admission ? AUTH_KNOWN : AUTH_MEMORY;
}

struct auth_question *auth_question_new(struct auth *a, const struct auth_asking *asking,
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
    q->bytes = (uint32_t)sizeof(*q) + password.n + user.n;
    q->has_user = asking->connect->has_username;
    q->password_count = (uint16_t)password.n;
    q->user_count = (uint16_t)user.n;
    (void)bytes_put(bytes_put(q->password, password), user);
    return q;
}

enum auth_decider auth_who_decides(const struct auth *a, struct auth_asking *asking)
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

bool auth_is_silent(const struct auth_asking *asking)
{
    const struct packet_connect *connect = asking->connect;

    return !connect->has_username &&
           !(connect->has_password && cfg_methods_have(&asking->listener->methods, METHOD_JWT));
}

/* Nothing that came is anything to a method. */
static enum auth_verdict by_nobody(const struct auth_asking *asking, struct admission **admission)
{
    bool has_tokens = cfg_methods_have(&asking->listener->methods, METHOD_JWT);

    if (auth_is_silent(asking))
        return AUTH_NONE;
    *admission = auth_refuse(REASON_BAD_USER_NAME_OR_PASSWORD,
                             has_tokens ? "the password is no token" : NULL);
    return *admission ? AUTH_KNOWN : AUTH_MEMORY;
}

static enum auth_verdict by_helper(struct auth *a, const struct auth_asking *asking, bool is_token,
                                   struct admission **admission, struct auth_question **question)
{
    const struct packet_connect *connect = asking->connect;
    bool is_known = false;

    if (is_token)
        *admission = auth_token_find(a, password_of(connect), &is_known);
    if (is_known)
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    if (!is_token && is_remembered(a, asking->entry, password_of(connect))) {
        *admission = auth_admit(connect->username, credential_of(a, asking->entry));
        return *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    *question = auth_question_new(a, asking, is_token);
    if (!*question)
        return AUTH_MEMORY;
    auth_hand_over(a, *question);
    return AUTH_ASKED;
}

static enum auth_verdict by_methods(struct auth *a, struct auth_asking *asking,
                                    struct admission **admission, struct auth_question **question)
{
    enum auth_decider decider = auth_who_decides(a, asking);

    switch (decider) {
    case BY_HTTP:
        return auth_http_ask(a, asking, admission, question);
    case BY_PASSWORD:
    case BY_TOKEN:
        return by_helper(a, asking, decider == BY_TOKEN, admission, question);
    case BY_NOBODY:
    default:
        return by_nobody(asking, admission);
    }
}

uint32_t auth_question_room(const struct cfg_listener *listener,
                            const struct packet_connect *connect)
{
    uint32_t names = (connect->has_username ? connect->username.n : 0) +
                     (connect->has_password ? connect->password.n : 0);
    uint32_t room = (uint32_t)sizeof(struct auth_question) + names;

    if (listener->methods.count == 0)
        return 0;
    if (cfg_methods_have(&listener->methods, METHOD_HTTP))
        room += auth_http_room(names + connect->client_id.n);
    return room;
}

enum auth_verdict auth_ask(struct auth *a, const struct cfg_listener *listener,
                           const struct packet_connect *connect, const struct auth_peer *peer,
                           struct worker *w, struct admission **admission,
                           struct auth_question **question)
{
    struct auth_asking asking = {
        .listener = listener, .connect = connect, .peer = peer, .worker = w};
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
