/* tests/fuzz/fuzz_mount.c -- no names of a client lead out of a mount point.
 *
 * Input: pattern, client id and user name, with line feeds between. Whatever they are, a mount that
 * is made is a topic that ends with `/`, with as many levels as its pattern, and differs from it
 * only in the levels where a placeholder stands.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "core/policy/mount.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct bytes line = {rest->p, end ? (uint32_t)(end - rest->p) : rest->n};

    rest->p += line.n + (end != NULL);
    rest->n -= line.n + (end != NULL);
    return line;
}

static bool has_placeholder(struct bytes level)
{
    for (uint32_t i = 0; i < level.n; i++)
        if (level.p[i] == '%' || (level.p[i] == '$' && i + 1 < level.n && level.p[i + 1] == '{'))
            return true;
    return false;
}

static void check_made(struct bytes pattern, const struct mount *m)
{
    struct bytes text = bytes_of(m->text, m->n), topic = text, was, is;
    bool first = true, first_too = true;

    CHECK(m->n <= MOUNT_BYTES_MAX && m->text[m->n - 1] == '/');
    CHECK(topic_name_valid(text, UINT32_MAX));
    CHECK((text.p[0] == '$') <= (pattern.p[0] == '$'));
    CHECK(!mount_take_off(m, &topic));
    while (topic_next_level(&pattern, &first, &was)) {
        CHECK(topic_next_level(&text, &first_too, &is));
        CHECK(has_placeholder(was) ? is.n > 0 : bytes_eq(was, is));
    }
    CHECK(!topic_next_level(&text, &first_too, &is));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(size ? (const void *)data : "", size);
    struct bytes pattern = take_line(&rest), id = take_line(&rest), user = take_line(&rest);
    struct mount *m = NULL;

    if (mount_fault(pattern))
        return 0;
    if (mount_create(pattern, id, user.n ? &user : NULL, &m) == MOUNT_OK)
        check_made(pattern, m);
    else
        CHECK(!m);
    free(m);
    return 0;
}
