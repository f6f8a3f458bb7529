/* tests/net/test_http_verdicts.c -- how long what an HTTP server said stands. */
#include "net/http_verdicts.h"

#include "tests/support/test.h"

TEST(http_verdicts_stand_until_their_end)
{
    struct http_verdicts *v = http_verdicts_create(16);
    enum http_verdict verdict = HTTP_DENY;

    assert_false(http_verdicts_find(v, 7, 0, &verdict));
    assert_false(http_verdicts_find(v, 0, 0, &verdict));
    http_verdicts_put(v, 7, HTTP_ALLOW, 100, 200);
    http_verdicts_put(v, 0, HTTP_IGNORE, 100, 200);
    assert_true(http_verdicts_find(v, 7, 199, &verdict));
    assert_int_equal(verdict, HTTP_ALLOW);
    assert_true(http_verdicts_find(v, 0, 199, &verdict));
    assert_int_equal(verdict, HTTP_IGNORE);
    assert_false(http_verdicts_find(v, 7, 200, &verdict));
    http_verdicts_destroy(v);
}

TEST(http_verdicts_are_replaced_by_newer_ones)
{
    struct http_verdicts *v = http_verdicts_create(16);
    enum http_verdict verdict;

    http_verdicts_put(v, 7, HTTP_ALLOW, 100, 10000);
    http_verdicts_put(v, 7, HTTP_DENY, 150, 300);
    assert_true(http_verdicts_find(v, 7, 200, &verdict));
    assert_int_equal(verdict, HTTP_DENY);
    assert_false(http_verdicts_find(v, 7, 300, &verdict));
    http_verdicts_put(v, 7, HTTP_ALLOW, 300, 300); /* not even now */
    assert_false(http_verdicts_find(v, 7, 300, &verdict));
    http_verdicts_destroy(v);
}

/* A hash is found wherever others of its four places have been put before it. */
TEST(http_verdicts_replace_the_place_of_the_same_hash)
{
    struct http_verdicts *v = http_verdicts_create(4);
    enum http_verdict verdict;

    for (uint64_t hash = 1; hash <= 4; hash++)
        http_verdicts_put(v, hash, HTTP_ALLOW, 0, 1000 + hash);
    http_verdicts_put(v, 4, HTTP_DENY, 0, 5000);
    for (uint64_t hash = 1; hash <= 4; hash++) {
        assert_true(http_verdicts_find(v, hash, 0, &verdict));
        assert_int_equal(verdict, hash == 4 ? HTTP_DENY : HTTP_ALLOW);
    }
    http_verdicts_destroy(v);
}

TEST(http_verdicts_make_room_by_the_one_that_ends_first)
{
    struct http_verdicts *v = http_verdicts_create(4);
    enum http_verdict verdict;

    for (uint64_t hash = 1; hash <= 4; hash++)
        http_verdicts_put(v, hash, HTTP_ALLOW, 0, 2000 - hash);
    http_verdicts_put(v, 5, HTTP_DENY, 0, 3000);
    assert_false(http_verdicts_find(v, 4, 0, &verdict));
    assert_true(http_verdicts_find(v, 3, 0, &verdict));
    assert_true(http_verdicts_find(v, 5, 0, &verdict));
    http_verdicts_destroy(v);
}
