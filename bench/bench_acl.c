/* bench/bench_acl.c -- what it costs to ask whether a client may read a topic.
 *
 * `rules`: all rules are one user's, half of them plain topics, half with a wildcard, in four
 * shapes. `users`: each has five rules, and there are 100 patterns, a third of which have a
 * placeholder; the question goes to a user's rules and, as they do not grant it, to the patterns.
 * `first`: a rule of the user's own grants it. Every topic is another one in random order, so all
 * that the caches do not hold is fetched, unless the name says `hot` (64 topics). A question may
 * begin only when the one before has been answered.
 */
#include "bench/shim.h"

#include "core/base/check.h"
#include "core/policy/acl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HOT 64u
#define TEXT_MAX 48u
#define USERS 10000u
#define PATTERNS 100u

static const struct hash_key key = {
    {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};

struct text {
    uint32_t n;
    char p[TEXT_MAX - 4];
};

/* A question, and who asks it. */
struct question {
    struct acl_subject subject;
    struct text topic;
};

struct set {
    struct acl *acl;
    struct question *questions; /* in random order */
    struct text *names;
    uint32_t count;
};

enum { RULES_SET, PATTERNS_SET, FIRST_SET, SETS };

static struct bytes view(const struct text *t)
{
    return bytes_of(t->p, t->n);
}

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 20;
}

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    t->n = (uint32_t)vsnprintf(t->p, sizeof(t->p), format, args);
    va_end(args);
}

static struct acl *compile(char *text, size_t n)
{
    struct acl *acl;

    CHECK(acl_create(bytes_of(text, n), &key, NULL, NULL, &acl) == OK);
    free(text);
    return acl;
}

static void shuffle(struct set *s)
{
    uint64_t seed = 42;

    for (uint32_t i = s->count - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(draw(&seed) % (i + 1));
        struct question q = s->questions[i];

        s->questions[i] = s->questions[other];
        s->questions[other] = q;
    }
}

/* Rule i of one user, and the topic that only it grants. */
static int put_rule(char *to, struct text *topic, uint32_t i)
{
    uint32_t site = i % 100;

    put(topic, i % 4 == 3 ? "line%05u/%02u/machine/state" : "site/%02u/meter/%05u/temp",
        i % 4 == 3 ? i : site, i % 4 == 3 ? site : i);
    switch (i % 4) {
    case 0:
    case 1:
        return sprintf(to, "topic read %s\n", topic->p);
    case 2:
        return sprintf(to, "topic read site/+/meter/%05u/#\n", i);
    default:
        return sprintf(to, "topic read line%05u/+/machine/state\n", i);
    }
}

static void make_rules(struct set *s, uint32_t count)
{
    char *text = calloc(count + 1, 2 * (size_t)TEXT_MAX);
    size_t n;

    CHECK(text);
    n = (size_t)sprintf(text, "user joe\n");
    for (uint32_t i = 0; i < count; i++)
        n += (size_t)put_rule(text + n, &s->questions[i].topic, i);
    s->acl = compile(text, n);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes user = BYTES_LIT("joe");

        acl_subject_init(&s->questions[i].subject, s->acl, &user, BYTES_LIT("client"));
    }
}

static size_t put_patterns(char *to)
{
    size_t n = 0;

    for (uint32_t i = 0; i < PATTERNS; i++) {
        if (i % 3 == 0)
            n += (size_t)sprintf(to + n, "pattern read kind%02u/%%u/#\n", i);
        else if (i % 3 == 1)
            n += (size_t)sprintf(to + n, "pattern read kind%02u/+/state\n", i);
        else
            n += (size_t)sprintf(to + n, "pattern deny kind%02u/secret/#\n", i);
    }
    return n;
}

static void make_users(struct set *s, uint32_t count, bool is_first)
{
    char *text = calloc(count + PATTERNS, 200);
    size_t n;

    CHECK(text);
    n = put_patterns(text);
    for (uint32_t i = 0; i < count; i++) {
        n += (size_t)sprintf(text + n,
                             "user user%05u\ntopic write up/%05u/#\ntopic read down/%05u\n"
                             "topic read shared/+/news\ntopic deny shared/private/#\n"
                             "topic read area/%02u/+/alarm\n",
                             i, i, i, i % 100);
        put(&s->names[i], "user%05u", i);
        if (is_first)
            put(&s->questions[i].topic, "area/%02u/room%02u/alarm", i % 100, i % 7);
        else
            put(&s->questions[i].topic, "kind%02u/user%05u/value/%u", i * 3 % PATTERNS / 3 * 3, i,
                i % 10);
    }
    s->acl = compile(text, n);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes user = view(&s->names[i]);

        acl_subject_init(&s->questions[i].subject, s->acl, &user, user);
    }
}

static const struct set *set_of(int which)
{
    static struct set sets[SETS];
    struct set *s = &sets[which];

    if (s->acl)
        return s;
    s->count = bench_is_tiny() ? 100 : USERS;
    s->questions = calloc(s->count, sizeof(*s->questions));
    s->names = calloc(s->count, sizeof(*s->names));
    CHECK(s->questions && s->names);
    if (which == RULES_SET)
        make_rules(s, s->count);
    else
        make_users(s, s->count, which == FIRST_SET);
    shuffle(s);
    return s;
}

static void run(struct bench *b, const struct set *s, uint32_t count)
{
    uint32_t at = 0;
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--) {
            const struct question *q = &s->questions[at];
            bool is_allowed = acl_check(&q->subject, ACL_READ, view(&q->topic));

            CHECK(is_allowed);
            at += is_allowed;
            at = at < count ? at : 0;
        }
    }
    bench_counter(b, "bytes", (double)acl_bytes(s->acl) / acl_rule_count(s->acl));
    bench_goal(b, 2);
}

static void bench_check(struct bench *b, int64_t which)
{
    run(b, set_of((int)which), set_of((int)which)->count);
}

static void bench_check_hot(struct bench *b, int64_t which)
{
    run(b, set_of((int)which), HOT);
}

/* A file is read; an item is a rule. */
static void bench_create(struct bench *b, int64_t arg)
{
    uint32_t count = bench_is_tiny() ? 100 : USERS;
    struct set s = {.count = count};
    uint64_t items = 0;

    (void)arg;
    s.questions = calloc(count, sizeof(*s.questions));
    CHECK(s.questions);
    while (bench_next(b)) {
        make_rules(&s, count);
        items += count;
        for (uint32_t i = 0; i < count; i++)
            acl_subject_fini(&s.questions[i].subject);
        acl_release(s.acl);
    }
    free(s.questions);
    bench_items(b, items);
}

__attribute__((constructor)) static void register_acl(void)
{
    bench_register("BM_acl_check/users:1/rules:10000/spread", bench_check, RULES_SET);
    bench_register("BM_acl_check/users:1/rules:10000/hot", bench_check_hot, RULES_SET);
    bench_register("BM_acl_check/users:10000/patterns:100/spread", bench_check, PATTERNS_SET);
    bench_register("BM_acl_check/users:10000/patterns:100/hot", bench_check_hot, PATTERNS_SET);
    bench_register("BM_acl_check/users:10000/patterns:100/first/spread", bench_check, FIRST_SET);
    bench_register("BM_acl_check/users:10000/patterns:100/first/hot", bench_check_hot, FIRST_SET);
    bench_register("BM_acl_create/rules:10000", bench_create, 0);
}
