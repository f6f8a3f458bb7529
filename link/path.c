/* link/path.c -- paths of names. */
#include "link/path.h"

#include "core/base/check.h"

/* As cfg/value.c has it: [0-9a-zA-Z][-0-9a-zA-Z_]*, at most 254 bytes. */
#define NAME_BYTES_MAX 254u

bool path_next(struct bytes *rest, struct bytes *name)
{
    const uint8_t *end = rest->n ? memchr(rest->p, 0, rest->n) : NULL;

    if (!end)
        return false;
    *name = bytes_of(rest->p, (size_t)(end - rest->p));
    *rest = bytes_of(end + 1, rest->n - name->n - 1);
    return true;
}

static bool is_letter(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(struct bytes name)
{
    if (name.n == 0 || name.n > NAME_BYTES_MAX || !is_letter(name.p[0]))
        return false;
    for (uint32_t i = 1; i < name.n; i++)
        if (!is_letter(name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
            return false;
    return true;
}

bool path_valid(struct bytes path, uint32_t most)
{
    struct bytes name;

    while (most-- > 0 && path_next(&path, &name))
        if (!is_name(name))
            return false;
    return path.n == 0;
}

uint32_t path_length(struct bytes path)
{
    struct bytes name;
    uint32_t n = 0;

    while (path_next(&path, &name))
        n++;
    return n;
}

bool path_holds(struct bytes path, struct bytes name)
{
    struct bytes other;

    while (path_next(&path, &other))
        if (bytes_eq(other, name))
            return true;
    return false;
}

struct bytes path_last(struct bytes path)
{
    struct bytes name = {0};

    while (path_next(&path, &name))
        ;
    CHECK(name.n);
    return name;
}

uint8_t *path_put(uint8_t *to, struct bytes name)
{
    to = bytes_put(to, name);
    *to = 0;
    return to + 1;
}

bool route_is_passing(struct bytes text)
{
    return text.n && memchr(text.p, 0, text.n);
}

bool route_split(struct bytes text, struct route_text *out)
{
    const uint8_t *last = text.n ? memrchr(text.p, 0, text.n) : NULL;
    size_t n = last ? (size_t)(last + 1 - text.p) : 0; /* up to the end of the path */
    size_t at = n > 2 && text.p[1] == '!' ? 2 : 1;

    *out = (struct route_text){0};
    if (n <= at || text.p[0] != '$' || n == text.n || text.p[n] != '/')
        return false;
    out->is_away = at == 2;
    out->path = bytes_of(text.p + at, n - at);
    out->filter = bytes_of(text.p + n + 1, text.n - n - 1);
    return true;
}

uint32_t route_head_bytes(const struct route_text *r)
{
    return 1 + r->is_away + r->path.n + 1;
}

uint8_t *route_put_head(uint8_t *to, const struct route_text *r)
{
    *to++ = '$';
    if (r->is_away)
        *to++ = '!';
    to = bytes_put(to, r->path);
    *to++ = '/';
    return to;
}

bool way_split(struct bytes way, struct bytes *targets, struct bytes *passed)
{
    uint32_t n = 0;

    while (n + 1 < way.n && !(way.p[n] == 0 && way.p[n + 1] == 0))
        n++;
    if (n + 2 >= way.n)
        return false;
    *targets = bytes_of(way.p, n + 1);
    *passed = bytes_of(way.p + n + 2, way.n - n - 2);
    return path_valid(*targets, PATH_TARGETS_MAX) && path_valid(*passed, PATH_PASSED_MAX);
}
