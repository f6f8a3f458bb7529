/* link/exported.c -- filters, cut to what is exported. */
#include "link/exported.h"

#include "link/algebra.h"

bool exported_whole(const struct cfg_link *link, struct bytes filter)
{
    for (uint32_t i = 0; i < link->export_count; i++)
        if (algebra_subset(filter, link->exports[i]))
            return true;
    return false;
}

/* The whole route in one id: no filter has a NUL in it. */
static struct bytes put_id(uint8_t *to, struct bytes filter, struct bytes id)
{
    uint8_t *end = bytes_put(to, filter);

    *end++ = 0;
    end = bytes_put(end, id);
    return bytes_of(to, (size_t)(end - to));
}

enum err exported_parts(const struct cfg_link *link, struct bytes filter, struct bytes id,
                        uint8_t *scratch, uint32_t room, exported_part *part, void *arg)
{
    struct bytes parts[LINK_TOPICS_MAX], whole;
    enum err err, answer = OK;
    uint32_t count;

    if (exported_whole(link, filter))
        return part(arg, filter, id);
    if ((uint64_t)filter.n + 1 + id.n > room)
        return ERR_FULL;
    whole = put_id(scratch, filter, id);
    err = algebra_routes(filter, link->exports, link->export_count, scratch + whole.n,
                         room - whole.n, parts, &count);
    if (err != OK)
        return err;
    for (uint32_t i = 0; i < count; i++) {
        err = part(arg, parts[i], whole);
        answer = err == OK ? answer : err;
    }
    return count ? answer : ERR_NONE;
}
