/* tests/race/race_ban.c -- failures counted by many threads, asked about by others.
 *
 * The table is one group of places, so that everybody takes the places of everybody. One address
 * fails until it is banned, once and for good; the others never reach their bound, so however
 * places change hands none of them may ever be found banned.
 */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/atomic.h"
#include "net/ban.h"

enum { GUESSERS = 2, READERS = 2, ROUNDS = 20000 };

static struct bans *bans;
static _Atomic uint32_t is_over;
static const uint8_t guilty[4] = {203, 0, 113, 1};

static void *guess(void *arg)
{
    uint8_t ip[4] = {10, (uint8_t)(uintptr_t)arg};

    for (uint32_t i = 0; i < ROUNDS; i++) {
        ip[2] = (uint8_t)(i >> 8);
        ip[3] = (uint8_t)i;
        if (bans_failed(bans, ip, 4, bytes_of("", 0), 1000 + i))
            return (void *)(uintptr_t) "one failure banned somebody";
    }
    return NULL;
}

static void *ask(void *arg)
{
    uint8_t ip[4] = {10, (uint8_t)(uintptr_t)arg};

    for (uint32_t i = 0; !load_acquire(&is_over); i++) { /* pairs with store_release below */
        ip[2] = (uint8_t)(i >> 8);
        ip[3] = (uint8_t)i;
        if (bans_address(bans, ip, 4, 1000))
            return (void *)(uintptr_t) "somebody has the ban of another";
        if (!bans_address(bans, guilty, 4, 1000))
            return (void *)(uintptr_t) "a ban is lost";
    }
    return NULL;
}

TEST(ban_of_one_is_never_that_of_another)
{
    static struct cidr_list nobody;
    const struct hash_key key = {{5, 6, 7, 8}};
    const struct ban_rules rules = {
        .failures_max = 3, .window_ms = 1000, .ban_ms = 86400000, .exempt = &nobody};
    pthread_t guessers[GUESSERS], readers[READERS];
    void *wrong = NULL;

    bans = bans_create(&rules, &key, 8);
    assert_non_null(bans);
    for (uint32_t i = 0; i < 3; i++)
        (void)bans_failed(bans, guilty, 4, bytes_of("", 0), 1000);
    for (uintptr_t i = 0; i < GUESSERS; i++)
        assert_int_equal(pthread_create(&guessers[i], NULL, guess, (void *)i), 0);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, ask, (void *)i), 0);
    for (uint32_t i = 0; i < GUESSERS; i++) {
        assert_int_equal(pthread_join(guessers[i], &wrong), 0);
        assert_null(wrong);
    }
    store_release(&is_over, 1);
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i], &wrong), 0);
        assert_null(wrong);
    }
    bans_destroy(bans);
}
