/* tests/fuzz/fuzz_http_answer.c -- an HTTP answer is read from memory that ends with it, or
 * refused; what is refused denies.
 *
 * Input: the body. It is read as it is, and with something behind it that no answer may have.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "net/http_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err read_it(const uint8_t *p, size_t n, struct http_answer *a)
{
    enum err err = http_answer_read(200, bytes_of(p, n), a);

    CHECK(err == OK || err == ERR_PEER);
    CHECK(a->verdict == HTTP_ALLOW || a->verdict == HTTP_DENY || a->verdict == HTTP_IGNORE);
    if (err != OK)
        CHECK(a->verdict == HTTP_DENY && !a->is_superuser && !a->has_expiry);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_answer a, b;
    uint8_t *more;
    enum err err = read_it(data, size, &a);

    if (err != OK)
        return 0;
    CHECK(size >= sizeof("{\"result\":\"deny\"}") - 1);
    more = malloc(size + 1);
    CHECK(more != NULL);
    memcpy(more, data, size);
    more[size] = ' ';
    CHECK(read_it(more, size + 1, &b) == OK && a.verdict == b.verdict);
    more[size] = '}';
    CHECK(read_it(more, size + 1, &b) == ERR_PEER);
    for (size_t n = 0; n < size && n < 512; n++) /* an answer ends with its brace, never before */
        if (memchr(data + n, '}', size - n))
            CHECK(read_it(data, n, &b) == ERR_PEER);
    free(more);
    return 0;
}
