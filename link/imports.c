/* link/imports.c -- the topics of a link, and scratch memory for the routes. */
#include "link/imports.h"

#include <stdlib.h>

#include "link/algebra.h"
#include "link/path.h"

bool imports_room(uint8_t **p, uint32_t *have, uint64_t need)
{
    uint8_t *more;

    if (need <= *have)
        return true;
    if (need > UINT32_MAX)
        return false;
    more = realloc(*p, need);
    if (!more)
        return false;
    *p = more;
    *have = (uint32_t)need;
    return true;
}

/* A new text for every topic would be the most. */
static enum err plain_routes(struct imports *im, struct bytes filter, uint32_t *count)
{
    enum err e = algebra_routes(filter, im->topics, im->topic_count, im->text, im->text_bytes,
                                im->found, count);
    uint64_t most = 0;

    if (e != ERR_FULL)
        return e;
    for (uint32_t i = 0; i < im->topic_count; i++)
        most += filter.n + im->topics[i].n;
    if (!imports_room(&im->text, &im->text_bytes, most))
        return ERR_MEMORY;
    return algebra_routes(filter, im->topics, im->topic_count, im->text, im->text_bytes, im->found,
                          count);
}

/* Those of what passes us are of the same path. */
static enum err passing_routes(struct imports *im, struct bytes text, uint32_t *count)
{
    struct route_text r;
    uint64_t most = 0;
    uint8_t *to;
    enum err e;

    if (!route_split(text, &r))
        return ERR_PEER;
    e = plain_routes(im, r.filter, count);
    for (uint32_t i = 0; e == OK && i < *count; i++) {
        most += route_head_bytes(&r) + im->found[i].n;
        if (route_head_bytes(&r) + im->found[i].n > IMPORTS_TEXT_BYTES_MAX)
            e = ERR_FULL;
    }
    if (e == OK && !imports_room(&im->passing, &im->passing_bytes, most))
        e = ERR_MEMORY;
    to = im->passing;
    for (uint32_t i = 0; e == OK && i < *count; i++) {
        uint8_t *at = to;

        to = bytes_put(route_put_head(to, &r), im->found[i]);
        im->found[i] = bytes_of(at, (size_t)(to - at));
    }
    return e;
}

enum err imports_routes(struct imports *im, struct bytes filter, uint32_t *count)
{
    return route_is_passing(filter) ? passing_routes(im, filter, count)
                                    : plain_routes(im, filter, count);
}

enum err imports_group(struct imports *im, struct bytes group, struct bytes filter, uint32_t *count)
{
    const struct bytes share = BYTES_LIT("$share/");
    uint64_t need = (uint64_t)share.n + group.n + 1 + filter.n;
    enum err e = imports_routes(im, filter, count);
    uint8_t *to;

    if (e != OK || *count == 0)
        return e;
    if (*count > 1 || !bytes_eq(im->found[0], filter))
        return ERR_NONE;
    if (need > IMPORTS_TEXT_BYTES_MAX)
        return ERR_FULL;
    if (!imports_room(&im->name, &im->name_bytes, need))
        return ERR_MEMORY;
    to = bytes_put(bytes_put(im->name, share), group);
    *to++ = '/';
    bytes_put(to, filter);
    im->found[0] = bytes_of(im->name, need);
    return OK;
}

enum err imports_init(struct imports *im, const struct bytes *topics, uint32_t count)
{
    size_t bytes = 0;
    uint8_t *to;

    *im = (struct imports){0};
    for (uint32_t i = 0; i < count; i++)
        bytes += topics[i].n;
    im->topics = calloc(count + 1u, sizeof(*im->topics));
    im->found = calloc(count + 1u, sizeof(*im->found));
    im->topic_text = malloc(bytes + 1);
    if (!im->topics || !im->found || !im->topic_text)
        return ERR_MEMORY;
    to = im->topic_text;
    for (uint32_t i = 0; i < count; i++) {
        im->topics[i] = bytes_of(to, topics[i].n);
        to = bytes_put(to, topics[i]);
    }
    im->topic_count = algebra_reduce(im->topics, count);
    return OK;
}

void imports_fini(struct imports *im)
{
    free(im->topics);
    free(im->topic_text);
    free(im->found);
    free(im->text);
    free(im->name);
    free(im->passing);
    *im = (struct imports){0};
}
