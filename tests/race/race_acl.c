/* tests/race/race_acl.c -- workers ask one ACL while another takes its place.
 *
 * The main thread publishes a new ACL again and again, with one reference for each worker; a worker
 * that sees it makes its subject anew and gives the old one back. Every ACL allows exactly the
 * topic of its number, so an answer from memory that was given away is wrong; ThreadSanitizer and
 * AddressSanitizer report it, too.
 */
#include "core/policy/acl.h"

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { WORKERS = 3, RELOADS = 500 };

static const struct hash_key key = {{1, 2, 3, 4}};

/* What the main thread left for a worker: an ACL with a reference, and its number. */
struct letter {
    _Atomic uint32_t number;
    struct acl *acl;
    _Atomic uint32_t taken; /* the worker's answer */
};

static struct letter letters[WORKERS];

static struct acl *make(uint32_t number)
{
    struct acl *acl;
    char text[64];
    int n =
        snprintf(text, sizeof(text), "topic read a/%u\npattern read %%c/%u/+\n", number, number);

    CHECK(acl_create(bytes_of(text, (size_t)n), &key, NULL, NULL, &acl) == OK);
    return acl;
}

static bool may_read(const struct acl_subject *s, const char *before, uint32_t number,
                     const char *behind)
{
    char topic[32];
    int n = snprintf(topic, sizeof(topic), "%s%u%s", before, number, behind);

    return acl_check(s, ACL_READ, bytes_of(topic, (size_t)n));
}

static void *work(void *context)
{
    struct letter *l = context;
    struct acl_subject s = {0};
    uint32_t number = 0;

    while (number < RELOADS) {
        uint32_t newest = load_acquire(&l->number); /* pairs with store_release in the test */

        if (newest != number) {
            acl_subject_fini(&s);
            acl_subject_init(&s, l->acl, NULL, BYTES_LIT("c"));
            acl_release(l->acl);
            number = newest;
            store_release(&l->taken, number); /* pairs with load_acquire in the test */
        }
        CHECK(number == 0 || may_read(&s, "a/", number, ""));
        CHECK(number == 0 || may_read(&s, "c/", number, "/x"));
        CHECK(!may_read(&s, "a/", number + 1, ""));
    }
    acl_subject_fini(&s);
    return NULL;
}

TEST(acl_is_replaced_while_workers_ask_it)
{
    pthread_t threads[WORKERS];

    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &letters[i]) == 0);
    for (uint32_t number = 1; number <= RELOADS; number++) {
        struct acl *acl = make(number);

        for (int i = 0; i < WORKERS; i++) {
            while (load_acquire(&letters[i].taken) != number - 1) /* pairs with work */
                sched_yield();
            letters[i].acl = acl_ref(acl);
            store_release(&letters[i].number, number); /* pairs with load_acquire in work */
        }
        acl_release(acl);
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}
