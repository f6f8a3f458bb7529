/* tests/race/race_auth.c -- workers ask for passwords and tokens while main replaces both. */
#include "tests/support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/check.h"
#include "net/auth.h"
#include "net/worker.h"
#include "tests/net/jwt_keys.h"

#define WORKERS 3
#define ASKED 300
#define REPLACED 60
#define HASH                                                                                       \
    "$6$AAECAwQFBgcICQoL$b4be9ENqb54sNj+csQTvm3qRtt6r5BJ4pdELhfw3543YRDKXy8YjBxqSsJubpfDSNaXeWIF"  \
    "nCuo6UMHsY83J5w=="

/* Of the user joe, without an end, signed with RFC_SECRET. */
#define SECRET_KEYS "{\"keys\":[{\"kty\":\"oct\",\"k\":\"" RFC_SECRET "\"}]}"
#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.vl9uxCICpAb7RPuXn_TjIoIxAe5PJ9Z1iCbYH76vkRg"

static const struct hash_key key = {{1, 2, 3, 4}};
static struct auth *auth;

/* What main offers besides, as the rules of struct net: a worker takes a share under the lock. */
static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;
static struct passwd *rules;

/* User "a" is in every file, "b" in every other one. */
static void replace(uint32_t number)
{
    static const struct cfg_jwt token_rules = {0};
    struct jwt *jwt = jwt_create(&token_rules);
    struct passwd *fresh, *old;

    CHECK(passwd_parse(bytes_str(number % 2 ? "a:" HASH "\nb:" HASH "\n" : "a:" HASH "\n"), &key,
                       NULL, NULL, &fresh) == OK);
    CHECK(jwt &&
          jwt_add_key_file(jwt, bytes_str(number % 2 ? rsa_pem : p256_pem), NULL, NULL) == OK);
    if (number % 2)
        CHECK(jwt_add_jwks(jwt, bytes_str(SECRET_KEYS), NULL, NULL) == OK);
    auth_replace(auth, fresh, jwt);
    jwt_release(jwt);
    pthread_mutex_lock(&rules_lock);
    old = rules;
    rules = fresh;
    pthread_mutex_unlock(&rules_lock);
    passwd_release(old);
}

static struct worker *make_worker(void)
{
    struct worker *w = aligned_alloc(_Alignof(struct worker), sizeof(*w));

    CHECK(w);
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->answers_lock, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(w->event_fd >= 0);
    return w;
}

/* As a worker judges its clients when the rules have changed. */
static void judge(struct worker *w, const struct admission *a)
{
    pthread_mutex_lock(&rules_lock);
    passwd_release(w->passwd);
    w->passwd = passwd_ref(rules);
    pthread_mutex_unlock(&rules_lock);
    if (a->has_user && bytes_eq(bytes_of(a->user, a->user_count), bytes_str("a")))
        CHECK(auth_credential(auth, w->passwd, bytes_str("a")) == a->credential);
}

static void take_answer(struct worker *w, struct admission *a)
{
    if (!a)
        return;
    auth_confirm(auth, a);
    if (a->has_user && a->user[0] == 'a')
        CHECK(!a->is_refused); /* he was there all the time */
    judge(w, a);
    free(a);
}

/* Takes what has come back, and waits for some if nothing has; returns how many it were. */
static uint32_t take_answers(struct worker *w)
{
    struct auth_question *q, *next;
    uint32_t count = 0;
    uint64_t rung;

    CHECK(read(w->event_fd, &rung, sizeof(rung)) == sizeof(rung));
    pthread_mutex_lock(&w->answers_lock);
    q = w->auth_answers;
    w->auth_answers = NULL;
    pthread_mutex_unlock(&w->answers_lock);
    for (; q; q = next, count++) {
        next = q->next;
        take_answer(w, q->admission);
        auth_question_free(q);
    }
    return count;
}

static void *work(void *arg)
{
    static const struct cfg_listener listener = {
        .methods = {.v = {METHOD_PASSWORD, METHOD_JWT}, .count = 2}};
    static const struct auth_peer peer = {.ip = "192.0.2.1"};
    struct worker *w = arg;
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < ASKED; i++) {
        struct packet_connect connect = {.has_username = true,
                                         .has_password = true,
                                         .username = bytes_str(i % 3 ? "a" : "b"),
                                         .password = bytes_str(i % 5 ? "password" : "wrong")};
        struct admission *admission = NULL;
        struct auth_question *q = NULL;

        if (i % 4 == 0) { /* it has expired, which is found out after its signature */
            connect.username = bytes_str("token");
            connect.password = bytes_str(i % 8 ? RFC_RS256 : RFC_ES256);
        }
        if (i % 4 == 1) { /* it holds under every other key, and is remembered for a while */
            connect.username = bytes_str("token");
            connect.password = bytes_str(TOKEN);
        }
        if (auth_ask(auth, &listener, &connect, &peer, w, &admission, &q) == AUTH_KNOWN)
            take_answer(w, admission);
        else
            waiting++;
        if (q && i % 7 == 0)
            auth_forget(q);
        if (waiting > 8)
            waiting -= take_answers(w);
    }
    while (waiting > 0)
        waiting -= take_answers(w);
    passwd_release(w->passwd);
    close(w->event_fd);
    pthread_mutex_destroy(&w->answers_lock);
    free(w);
    return NULL;
}

TEST(users_are_replaced_while_workers_ask)
{
    pthread_t workers[WORKERS];
    char why[128];

    auth = auth_create(2, 50, why, sizeof(why));
    assert_non_null(auth);
    replace(0);
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i], NULL, work, make_worker()), 0);
    for (uint32_t i = 1; i <= REPLACED; i++) {
        replace(i);
        sched_yield();
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    auth_destroy(auth);
    passwd_release(rules);
}
