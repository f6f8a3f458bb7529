/* tests/net/test_http_answer.c -- what an HTTP server's answer means. */
#include "net/http_answer.h"

#include <stdlib.h>

#include "tests/support/test.h"

/* Read from memory of just its size. */
static enum err read_copy(uint32_t status, const char *text, struct http_answer *to)
{
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    enum err err;

    assert_non_null(copy);
    memcpy(copy, text, n);
    err = http_answer_read(status, bytes_of(copy, n), to);
    free(copy);
    return err;
}

static struct http_answer good(const char *text)
{
    struct http_answer a;

    assert_int_equal(read_copy(200, text, &a), OK);
    return a;
}

static void bad(uint32_t status, const char *text)
{
    struct http_answer a = {.verdict = HTTP_ALLOW};

    if (read_copy(status, text, &a) != ERR_PEER)
        fail_msg("taken: %s", text);
    assert_int_equal(a.verdict, HTTP_DENY);
    assert_false(a.is_superuser || a.has_expiry);
}

TEST(http_answer_has_one_of_three_results)
{
    assert_int_equal(good("{\"result\":\"allow\"}").verdict, HTTP_ALLOW);
    assert_int_equal(good("{\"result\": \"deny\"}").verdict, HTTP_DENY);
    assert_int_equal(good(" \r\n\t{ \"result\" : \"ignore\" } \n").verdict, HTTP_IGNORE);
    bad(200, "{\"result\":\"Allow\"}");
    bad(200, "{\"result\":true}");
    bad(200, "{\"result\":null}");
    bad(200, "{\"Result\":\"allow\"}");
    bad(200, "{}");
    bad(200, "");
}

TEST(http_answer_without_content_allows_by_its_status_alone)
{
    struct http_answer a;

    assert_int_equal(read_copy(204, "", &a), OK);
    assert_int_equal(a.verdict, HTTP_ALLOW);
}

TEST(http_answer_with_another_status_denies)
{
    static const uint32_t statuses[] = {0, 100, 201, 206, 301, 302, 400, 401, 403, 404, 500, 503};

    for (uint32_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        bad(statuses[i], "{\"result\":\"allow\"}");
}

TEST(http_answer_may_say_more)
{
    struct http_answer a =
        good("{\"is_superuser\":true,\"expire_at\":1700000000,\"result\":\"allow\"}");

    assert_true(a.is_superuser && a.has_expiry);
    assert_int_equal(a.expire_at, 1700000000);
    a = good("{\"x\":[1,-2.5e+3,{\"result\":\"deny\"},[],{}],\"y\":\"\\u00e9\\n\",\"z\":null,"
             "\"result\":\"allow\",\"w\":false}");
    assert_int_equal(a.verdict, HTTP_ALLOW);
    assert_false(a.is_superuser || a.has_expiry);
}

TEST(http_answer_that_could_be_read_in_two_ways_is_refused)
{
    bad(200, "{\"result\":\"allow\",\"result\":\"allow\"}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":1,\"expire_at\":2}");
    bad(200, "{\"result\":\"allow\",\"\\u0072esult\":\"deny\"}");
    bad(200, "{\"result\":\"\\u0061llow\"}");
    bad(200, "{\"result\":\"allow\",\"is_superuser\":1}");
    bad(200, "{\"result\":\"allow\",\"is_superuser\":\"true\"}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":\"1700000000\"}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":1.5}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":1e9}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":-1}");
    bad(200, "{\"result\":\"allow\",\"expire_at\":99999999999999999999999}");
}

TEST(http_answer_that_is_not_json_is_refused)
{
    static const char *const texts[] = {
        "allow",
        "\"allow\"",
        "[{\"result\":\"allow\"}]",
        "{\"result\":\"allow\"",
        "{\"result\":\"allow\"}}",
        "{\"result\":\"allow\"}{}",
        "{\"result\":\"allow\",}",
        "{,\"result\":\"allow\"}",
        "{result:\"allow\"}",
        "{'result':'allow'}",
        "{\"result\" \"allow\"}",
        "{\"result\":\"allow\" \"x\":1}",
        "{\"result\":\"allow\",\"x\":01}",
        "{\"result\":\"allow\",\"x\":1.}",
        "{\"result\":\"allow\",\"x\":.5}",
        "{\"result\":\"allow\",\"x\":+1}",
        "{\"result\":\"allow\",\"x\":tru}",
        "{\"result\":\"allow\",\"x\":\"\\x\"}",
        "{\"result\":\"allow\",\"x\":\"\\u12g4\"}",
        "{\"result\":\"allow\",\"x\":\"a\nb\"}",
        "{\"result\":\"allow\",\"x\":[1,]}",
        "{\"result\":\"allow\",\"x\":[1}",
        "{\"result\":\"allow\",\"x\":}",
        "{\"result\":\"allow\"} x",
    };

    for (uint32_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bad(200, texts[i]);
}

TEST(http_answer_is_not_nested_without_end)
{
    char deep[256] = "{\"result\":\"allow\",\"x\":";
    size_t n = strlen(deep);

    for (uint32_t i = 0; i < HTTP_ANSWER_DEPTH_MAX; i++) {
        deep[n + i] = '[';
        deep[n + 2 * HTTP_ANSWER_DEPTH_MAX - 1 - i] = ']';
    }
    memcpy(deep + n + 2 * HTTP_ANSWER_DEPTH_MAX, "}", 2);
    assert_int_equal(good(deep).verdict, HTTP_ALLOW);
    memmove(deep + n + 1, deep + n, strlen(deep + n) + 1);
    deep[n] = '[';
    strcpy(deep + strlen(deep) - 1, "]}");
    bad(200, deep);
}
