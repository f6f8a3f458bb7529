/* tests/net/test_auth.c -- passwords and tokens: who is asked what, and what comes back.
 *
 * The worker is only its list of answers and its eventfd; this thread plays it.
 */
#include "tests/support/test.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "net/auth.h"
#include "net/clock.h"
#include "net/worker.h"
#include "tests/net/jwt_keys.h"

/* Hashes of `password`; DEAR takes a tenth of a second and more to see, as DEARER does, which is
 * that of something else. */
#define SHA512                                                                                     \
    "$6$AAECAwQFBgcICQoL$b4be9ENqb54sNj+csQTvm3qRtt6r5BJ4pdELhfw3543YRDKXy8YjBxqSsJubpfDSNaXeWIF"  \
    "nCuo6UMHsY83J5w=="
#define PBKDF2                                                                                     \
    "$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTsHkd"  \
    "+uve2/GFOr/KZ8Y/8Hw=="
#define DEAR                                                                                       \
    "$7$210000$AAECAwQFBgcICQoL$3pB//33pJRpeg/HUsEVmHZRgiiADhpWPPRCFZaNo+xcZGMMf+CnE97mAyUdyYzM"   \
    "dAkomUIETEPiTPIxFiSaSdw=="
#define DEARER                                                                                     \
    "$7$210000$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTs"  \
    "Hkd+uve2/GFOr/KZ8Y/8Hw=="

struct world {
    struct auth *auth;
    struct worker *worker;
    struct cfg_listener listener;
    struct jwt *jwt;                /* of use; or NULL */
    struct admission *admission;    /* of the last ask */
    struct auth_question *question; /* the same */
};

static void on_passwd(void *arg, uint32_t line, bool is_warning, const char *what)
{
    (void)arg;
    fail_msg("%u: %s%s", line, is_warning ? "warning: " : "", what);
}

static void use(struct world *w, const char *file)
{
    static const struct hash_key key = {{1, 2, 3, 4}};
    struct passwd *passwd = NULL;

    if (file)
        assert_int_equal(passwd_parse(bytes_str(file), &key, on_passwd, NULL, &passwd), OK);
    auth_replace(w->auth, passwd, w->jwt);
    passwd_release(passwd);
}

static void begin(struct world *w, uint32_t threads, uint32_t cache_ms, const char *file)
{
    char why[128];

    *w = (struct world){.auth = auth_create(threads, cache_ms, why, sizeof(why))};
    if (!w->auth)
        fail_msg("%s", why);
    w->worker = aligned_alloc(_Alignof(struct worker), sizeof(struct worker));
    assert_non_null(w->worker);
    memset(w->worker, 0, sizeof(*w->worker));
    pthread_mutex_init(&w->worker->answers_lock, NULL);
    w->worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->listener.methods = (struct cfg_methods){.v = {METHOD_PASSWORD}, .count = 1};
    use(w, file);
}

static void end(struct world *w)
{
    auth_stop(w->auth);
    for (struct auth_question *q = w->worker->auth_answers, *next; q; q = next) {
        next = q->next;
        free(q->admission);
        auth_question_free(q);
    }
    auth_destroy(w->auth);
    close(w->worker->event_fd);
    pthread_mutex_destroy(&w->worker->answers_lock);
    free(w->worker);
}

static enum auth_verdict ask_as(struct world *w, const char *user, const char *password,
                                const char *identity)
{
    struct packet_connect connect = {0};
    const struct auth_peer peer = {.ip = "192.0.2.1", .identity = identity};

    if (user) {
        connect.has_username = true;
        connect.username = bytes_str(user);
    }
    if (password) {
        connect.has_password = true;
        connect.password = bytes_str(password);
    }
    w->admission = NULL;
    w->question = NULL;
    return auth_ask(w->auth, &w->listener, &connect, &peer, w->worker, &w->admission, &w->question);
}

static enum auth_verdict ask(struct world *w, const char *user, const char *password)
{
    return ask_as(w, user, password, NULL);
}

/* What has come back so far, newest first. */
static struct auth_question *answers(struct world *w)
{
    struct auth_question *q;

    pthread_mutex_lock(&w->worker->answers_lock);
    q = w->worker->auth_answers;
    pthread_mutex_unlock(&w->worker->answers_lock);
    return q;
}

/* Waits until the question is the newest that was answered, and takes it off the list. */
static void await(struct world *w, struct auth_question *q)
{
    struct pollfd fd = {.fd = w->worker->event_fd, .events = POLLIN};
    uint64_t until_ms = clock_mono_ms() + 60000, count;

    while (answers(w) != q) {
        assert_true(clock_mono_ms() < until_ms);
        (void)poll(&fd, 1, 1000);
        (void)!read(w->worker->event_fd, &count, sizeof(count));
    }
    pthread_mutex_lock(&w->worker->answers_lock);
    w->worker->auth_answers = q->next;
    pthread_mutex_unlock(&w->worker->answers_lock);
}

static void assert_admitted(const struct admission *a, const char *user)
{
    assert_non_null(a);
    assert_false(a->is_refused);
    assert_true(a->has_user);
    assert_int_equal(a->user_count, strlen(user));
    assert_memory_equal(a->user, user, strlen(user));
}

static void assert_refused(const struct admission *a, enum reason reason)
{
    assert_non_null(a);
    assert_true(a->is_refused);
    assert_int_equal(a->reason, reason);
}

/* Asks, waits, and leaves the answer in w->admission. */
static void answer_to(struct world *w, const char *user, const char *password)
{
    assert_int_equal(ask(w, user, password), AUTH_ASKED);
    await(w, w->question);
    w->admission = w->question->admission;
    for (uint32_t i = 0; i < w->question->password_count; i++)
        assert_int_equal(w->question->password[i], 0); /* wiped */
    auth_question_free(w->question);
}

TEST(auth_leaves_methods_of_enhanced_authentication_to_core)
{
    struct packet_connect connect = {.protocol = MQTT_5,
                                     .has_username = true,
                                     .username = BYTES_LIT("alice"),
                                     .props = {.present = PROP_BIT(PROP_AUTH_METHOD)}};
    struct world w;

    begin(&w, 1, 1000, "alice:" PBKDF2 "\n");
    assert_int_equal(auth_ask(w.auth, &w.listener, &connect, &(struct auth_peer){.ip = "192.0.2.1"},
                              w.worker, &w.admission, &w.question),
                     AUTH_NONE);
    assert_null(w.admission);
    w.listener.identity = IDENTITY_COMMON_NAME; /* which refuses there, with or without a method */
    assert_int_equal(auth_ask(w.auth, &w.listener, &connect, &(struct auth_peer){.ip = "192.0.2.1"},
                              w.worker, &w.admission, &w.question),
                     AUTH_KNOWN);
    assert_true(w.admission->is_refused);
    free(w.admission);
    end(&w);
}

TEST(auth_answers_in_the_order_of_asking)
{
    enum { COUNT = 50 };
    struct auth_question *asked[COUNT], *q;
    struct world w;

    begin(&w, 1, 0, "u:" SHA512 "\n");
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(ask(&w, "u", i % 2 ? "password" : "wrong"), AUTH_ASKED);
        asked[i] = w.question;
    }
    await(&w, asked[COUNT - 1]);
    assert_admitted(asked[COUNT - 1]->admission, "u");
    q = answers(&w);
    for (uint32_t i = COUNT - 1; i-- > 0; q = q->next) {
        assert_ptr_equal(q, asked[i]);
        if (i % 2)
            assert_admitted(q->admission, "u");
        else
            assert_refused(q->admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    }
    assert_null(q);
    free(asked[COUNT - 1]->admission);
    auth_question_free(asked[COUNT - 1]);
    end(&w);
}

TEST(auth_refuses_unknown_users_and_missing_passwords_alike) /* CVE-2021-46434 */
{
    static const struct {
        const char *user, *password;
    } cases[] = {{"u", "wrong"}, {"u", ""}, {"u", NULL}, {"nobody", "password"}, {"", "password"}};
    struct world w;

    begin(&w, 2, 60000, "u:" PBKDF2 "\n");
    for (uint32_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        answer_to(&w, cases[i / 2].user, cases[i / 2].password);
        assert_refused(w.admission, REASON_BAD_USER_NAME_OR_PASSWORD);
        free(w.admission);
    }
    end(&w);
}

TEST(auth_has_nothing_to_say_without_users_or_names)
{
    struct world w;

    begin(&w, 1, 60000, NULL);
    w.listener.methods.count = 0;
    assert_int_equal(ask(&w, "u", "password"), AUTH_NONE);
    use(&w, "u:" SHA512 "\n");
    w.listener.methods.count = 1;
    assert_int_equal(ask(&w, NULL, NULL), AUTH_NONE);
    assert_int_equal(ask(&w, NULL, "password"), AUTH_NONE);
    end(&w);
}

TEST(auth_takes_the_identity_where_the_listener_says_so)
{
    struct world w;

    begin(&w, 1, 60000, "u:" SHA512 "\n");
    assert_int_equal(ask_as(&w, "other", "wrong", "pump"), AUTH_ASKED); /* it does not say so */
    await(&w, w.question);
    assert_refused(w.question->admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    free(w.question->admission);
    auth_question_free(w.question);
    w.listener.identity = IDENTITY_COMMON_NAME;
    assert_int_equal(ask_as(&w, "other", "wrong", "pump"), AUTH_KNOWN);
    assert_admitted(w.admission, "pump");
    assert_int_equal(w.admission->credential, 0);
    use(&w, NULL);
    auth_confirm(w.auth, w.admission); /* no password was its proof */
    assert_admitted(w.admission, "pump");
    free(w.admission);
    assert_int_equal(ask_as(&w, "u", "password", NULL), AUTH_KNOWN);
    assert_refused(w.admission, REASON_NOT_AUTHORIZED);
    free(w.admission);
    assert_int_equal(ask_as(&w, "u", "password", ""), AUTH_KNOWN);
    assert_refused(w.admission, REASON_NOT_AUTHORIZED);
    free(w.admission);
    end(&w);
}

TEST(auth_remembers_right_passwords_only_and_only_of_this_file)
{
    struct world w;

    begin(&w, 1, 60000, "u:" SHA512 "\nv:" SHA512 "\n");
    answer_to(&w, "u", "wrong");
    free(w.admission);
    answer_to(&w, "u", "wrong"); /* not remembered */
    free(w.admission);
    answer_to(&w, "u", "password");
    assert_admitted(w.admission, "u");
    free(w.admission);
    assert_int_equal(ask(&w, "u", "password"), AUTH_KNOWN);
    assert_admitted(w.admission, "u");
    free(w.admission);
    answer_to(&w, "v", "password"); /* the same hash, another user */
    free(w.admission);
    answer_to(&w, "u", "passwort");
    assert_refused(w.admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    free(w.admission);
    use(&w, "u:" PBKDF2 "\n");
    answer_to(&w, "u", "password");
    free(w.admission);
    use(&w, "v:" SHA512 "\n");
    answer_to(&w, "u", "password");
    assert_refused(w.admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    free(w.admission);
    end(&w);
    begin(&w, 1, 0, "u:" SHA512 "\n");
    for (uint32_t i = 0; i < 3; i++) { /* no cache: asked each time */
        answer_to(&w, "u", "password");
        free(w.admission);
    }
    end(&w);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A fleet with one user name comes back at once: the others need not be computed when the first
 * has been right. */
TEST(auth_computes_once_what_many_wait_for)
{
    struct auth_question *last = NULL;
    uint64_t one_ns, all_ns;
    struct world w;

    begin(&w, 1, 60000, "u:" DEAR "\n");
    one_ns = cpu_ns();
    answer_to(&w, "u", "wrong");
    one_ns = cpu_ns() - one_ns;
    free(w.admission);
    all_ns = cpu_ns();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(ask(&w, "u", "password"), AUTH_ASKED);
        last = w.question;
    }
    await(&w, last);
    all_ns = cpu_ns() - all_ns;
    assert_admitted(last->admission, "u");
    for (const struct auth_question *q = answers(&w); q; q = q->next)
        assert_admitted(q->admission, "u");
    free(last->admission);
    auth_question_free(last);
    assert_true(all_ns < 5 * one_ns);
    end(&w);
}

TEST(auth_does_not_compute_what_nobody_waits_for)
{
    struct auth_question *first, *second;
    struct world w;

    begin(&w, 1, 0, "u:" DEARER "\n");
    assert_int_equal(ask(&w, "u", "password"), AUTH_ASKED);
    first = w.question;
    assert_int_equal(ask(&w, "u", "password"), AUTH_ASKED);
    second = w.question;
    second->conn = (struct conn *)&w;
    auth_forget(second);
    assert_null(second->conn);
    await(&w, second);
    assert_null(second->admission);
    assert_ptr_equal(answers(&w), first);
    auth_question_free(second);
    end(&w);
}

TEST(auth_replaced_while_asked_answers_by_the_file_of_asking_and_is_not_confirmed)
{
    struct auth_question *q;
    struct world w;

    begin(&w, 1, 60000, "slow:" DEARER "\nu:" SHA512 "\nstays:" SHA512 "\n");
    assert_int_equal(ask(&w, "slow", "x"), AUTH_ASKED);
    assert_int_equal(ask(&w, "stays", "password"), AUTH_ASKED);
    q = w.question;
    assert_int_equal(ask(&w, "u", "password"), AUTH_ASKED);
    use(&w, "stays:" SHA512 "\n");
    await(&w, w.question);
    assert_admitted(w.question->admission, "u");
    auth_confirm(w.auth, w.question->admission);
    assert_refused(w.question->admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    free(w.question->admission);
    auth_question_free(w.question);
    auth_confirm(w.auth, q->admission);
    assert_admitted(q->admission, "stays");
    use(&w, "stays:" PBKDF2 "\n"); /* the same word, written anew */
    auth_confirm(w.auth, q->admission);
    assert_refused(q->admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    auth_confirm(w.auth, NULL);
    end(&w);
}

TEST(auth_stops_while_asked)
{
    struct world w;

    begin(&w, 2, 0, "u:" DEARER "\n");
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(ask(&w, "u", "password"), AUTH_ASKED);
    end(&w); /* what runs is ended, what waits is freed */
}

/* ---- tokens ---- */

/* Of user joe: for ever, until 2096, and one that has expired. */
#define TOKEN_KEYS "{\"keys\":[{\"kty\":\"oct\",\"k\":\"" RFC_SECRET "\"}]}"
#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.vl9uxCICpAb7RPuXn_TjIoIxAe5PJ9Z1iCbYH76vkRg"
#define LATE_TOKEN                                                                                 \
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UiLCJleHAiOjQwMDAwMDAwMDB9."                               \
    "RtmUcME3TpQDIt6WFTn5kTI6zAKDQZCJotw-aDQ0VYM"
#define OLD_TOKEN RFC_HS256

static const struct cfg_jwt token_rules = {.disconnect_after_expire = true};

/* With users and keys, and these methods. */
static void begin_tokens_for(struct world *w, uint32_t cache_ms, const char *file,
                             struct cfg_methods methods)
{
    begin(w, 1, cache_ms, NULL);
    w->listener.methods = methods;
    w->jwt = jwt_create(&token_rules);
    assert_int_equal(jwt_add_jwks(w->jwt, bytes_str(TOKEN_KEYS), NULL, NULL), OK);
    use(w, file);
}

static void begin_tokens(struct world *w, const char *file, struct cfg_methods methods)
{
    begin_tokens_for(w, 60000, file, methods);
}

static void end_tokens(struct world *w)
{
    end(w);
    jwt_release(w->jwt);
}

static const struct cfg_methods token_only = {.v = {METHOD_JWT}, .count = 1};
static const struct cfg_methods token_last = {.v = {METHOD_PASSWORD, METHOD_JWT}, .count = 2};
static const struct cfg_methods token_first = {.v = {METHOD_JWT, METHOD_PASSWORD}, .count = 2};

static void let_in(struct world *w, const char *user, const char *password, const char *as)
{
    if (ask(w, user, password) == AUTH_ASKED) { /* else it is known */
        await(w, w->question);
        w->admission = w->question->admission;
        auth_question_free(w->question);
    }
    assert_admitted(w->admission, as);
    free(w->admission);
}

static void keep_out(struct world *w, const char *user, const char *password)
{
    if (ask(w, user, password) == AUTH_ASKED) {
        await(w, w->question);
        w->admission = w->question->admission;
        auth_question_free(w->question);
    }
    assert_refused(w->admission, REASON_BAD_USER_NAME_OR_PASSWORD);
    free(w->admission);
}

TEST(auth_takes_the_user_of_a_token)
{
    struct world w;

    begin_tokens(&w, NULL, token_only);
    let_in(&w, "joe", TOKEN, "joe");
    let_in(&w, "anna", TOKEN, "joe");
    let_in(&w, NULL, TOKEN, "joe");
    keep_out(&w, "joe", OLD_TOKEN);
    keep_out(&w, "joe", "password");
    keep_out(&w, "joe", NULL);
    keep_out(&w, NULL, "password");
    assert_int_equal(ask(&w, NULL, NULL), AUTH_NONE);
    end_tokens(&w);
}

TEST(auth_token_that_held_is_not_judged_again_until_the_keys_change)
{
    struct world w;

    begin_tokens(&w, NULL, token_only);
    let_in(&w, "joe", LATE_TOKEN, "joe");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&w, "anybody", LATE_TOKEN), AUTH_KNOWN);
        assert_admitted(w.admission, "joe");
        assert_true(w.admission->expires_ms > clock_mono_ms());
        free(w.admission);
    }
    keep_out(&w, "joe", OLD_TOKEN); /* a refusal is not kept */
    assert_int_equal(ask(&w, "joe", OLD_TOKEN), AUTH_ASKED);
    await(&w, w.question);
    free(w.question->admission);
    auth_question_free(w.question);
    use(&w, NULL); /* SIGHUP */
    let_in(&w, "joe", TOKEN, "joe");
    assert_int_equal(ask(&w, "joe", LATE_TOKEN), AUTH_ASKED);
    await(&w, w.question);
    free(w.question->admission);
    auth_question_free(w.question);
    end_tokens(&w);
}

TEST(auth_token_is_judged_each_time_without_a_cache)
{
    struct world w;

    begin_tokens_for(&w, 0, NULL, token_only);
    for (int i = 0; i < 2; i++) {
        answer_to(&w, "joe", TOKEN);
        free(w.admission);
    }
    end_tokens(&w);
}

TEST(auth_says_when_a_token_ends)
{
    uint64_t mono_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    struct world w;

    begin_tokens(&w, NULL, token_only);
    answer_to(&w, "joe", TOKEN);
    assert_int_equal(w.admission->expires_ms, 0);
    assert_int_equal(w.admission->credential, 0); /* the keys may change */
    free(w.admission);
    answer_to(&w, "joe", LATE_TOKEN);
    assert_in_range(w.admission->expires_ms, mono_ms + 4000000000000ull - wall_ms - 2000,
                    mono_ms + 4000000000000ull - wall_ms + 2000);
    free(w.admission);
    answer_to(&w, "joe", OLD_TOKEN);
    assert_non_null(w.admission->why);
    free(w.admission);
    end_tokens(&w);
}

TEST(auth_user_of_the_file_is_judged_by_it_alone)
{
    struct world w;

    begin_tokens(&w, "u:" SHA512 "\n", token_last);
    let_in(&w, "u", "password", "u");
    let_in(&w, "joe", TOKEN, "joe");
    let_in(&w, NULL, TOKEN, "joe");
    keep_out(&w, "u", TOKEN);
    keep_out(&w, "joe", "password");
    keep_out(&w, "joe", NULL);
    end_tokens(&w);
}

TEST(auth_token_may_be_asked_first)
{
    struct world w;

    begin_tokens(&w, "u:" SHA512 "\n", token_first);
    let_in(&w, "u", "password", "u");
    let_in(&w, "u", TOKEN, "joe");
    keep_out(&w, "u", OLD_TOKEN); /* it is a token, and decides */
    keep_out(&w, "u", "wrong");
    end_tokens(&w);
}

TEST(auth_listener_asks_for_its_own_methods_only)
{
    struct world w;

    begin_tokens(&w, "u:" SHA512 "\n", token_only);
    keep_out(&w, "u", "password");
    w.listener.methods = (struct cfg_methods){.v = {METHOD_PASSWORD}, .count = 1};
    let_in(&w, "u", "password", "u");
    keep_out(&w, "joe", TOKEN);
    end_tokens(&w);
}

/* A token that does not hold takes as long as a wrong password, while nobody knows the user. */
TEST(auth_bad_token_of_an_unknown_user_costs_what_a_password_does)
{
    uint64_t began_ms, known_ms;
    struct world w;

    begin_tokens(&w, "u:" DEARER "\n", token_last);
    began_ms = clock_mono_ms();
    keep_out(&w, "u", OLD_TOKEN);
    known_ms = clock_mono_ms() - began_ms;
    began_ms = clock_mono_ms();
    keep_out(&w, "nobody", OLD_TOKEN);
    assert_true(4 * (clock_mono_ms() - began_ms) >= known_ms);
    end_tokens(&w);
}
