/* link/inflate.c -- the only user of zlib. */
#include "link/inflate.h"

#include "core/base/check.h"
#include "link/etf.h"

#include <stdlib.h>
#define ZLIB_CONST /* it does not write to its input */
#include <zlib.h>

enum { HEAD_BYTES = 6 }; /* 131, 80, u32 length */

struct inflate {
    z_stream stream;
};

struct inflate *inflate_create(void)
{
    struct inflate *z = calloc(1, sizeof(*z));

    if (!z)
        return NULL;
    if (inflateInit(&z->stream) != Z_OK) {
        free(z);
        return NULL;
    }
    return z;
}

void inflate_destroy(struct inflate *z)
{
    if (!z)
        return;
    inflateEnd(&z->stream);
    free(z);
}

enum err inflate_room(struct bytes payload, uint32_t bytes_max, uint32_t *room)
{
    uint32_t claimed;

    *room = 0;
    if (payload.n < 2 || payload.p[0] != ETF_VERSION || payload.p[1] != ETF_COMPRESSED)
        return OK;
    if (payload.n < HEAD_BYTES)
        return ERR_PEER;
    claimed = get_be32(payload.p + 2);
    if (claimed >= bytes_max) /* the version byte comes on top */
        return ERR_FULL;
    *room = claimed + 1;
    return OK;
}

enum err inflate_run(struct inflate *z, struct bytes payload, uint8_t *to, uint32_t room,
                     struct bytes *plain)
{
    z_stream *s = &z->stream;
    uint8_t nothing; /* zlib wants a place to write even when nothing is to be written */
    int rc;

    CHECK(payload.n >= HEAD_BYTES && room == get_be32(payload.p + 2) + 1);
    if (inflateReset(s) != Z_OK)
        return ERR_MEMORY;
    to[0] = ETF_VERSION;
    s->next_in = payload.p + HEAD_BYTES;
    s->avail_in = payload.n - HEAD_BYTES;
    s->next_out = room > 1 ? to + 1 : &nothing;
    s->avail_out = room - 1;
    rc = inflate(s, Z_FINISH);
    if (rc == Z_MEM_ERROR)
        return ERR_MEMORY;
    if (rc != Z_STREAM_END || s->avail_out != 0)
        return ERR_PEER;
    *plain = bytes_of(to, room);
    return OK;
}
