/* link/deflate.c -- the only user of zlib. */
#include "link/deflate.h"

#include "core/base/check.h"
#include "link/etf.h"

#include <stdlib.h>
#define ZLIB_CONST /* it does not write to its input */
#include <zlib.h>

enum { HEAD_BYTES = 6 }; /* 131, 80, u32 length */

/* Of 1 (fast) to 9 (small); the window and the memory are zlib's defaults. */
#define LEVEL 1

struct inflate {
    z_stream stream;
};

struct deflate {
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

struct deflate *deflate_create(void)
{
    struct deflate *z = calloc(1, sizeof(*z));

    if (!z)
        return NULL;
    if (deflateInit(&z->stream, LEVEL) != Z_OK) {
        free(z);
        return NULL;
    }
    return z;
}

void deflate_destroy(struct deflate *z)
{
    if (!z)
        return;
    deflateEnd(&z->stream);
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

/* Writes what a stream holds to `to`: exactly `count` bytes. */
static enum err inflate_from(struct inflate *z, struct bytes stream, uint8_t *to, uint32_t count)
{
    z_stream *s = &z->stream;
    int rc;

    if (inflateReset(s) != Z_OK)
        return ERR_MEMORY;
    s->next_in = stream.p;
    s->avail_in = stream.n;
    s->next_out = to;
    s->avail_out = count;
    rc = inflate(s, Z_FINISH);
    if (rc == Z_MEM_ERROR)
        return ERR_MEMORY;
    return rc == Z_STREAM_END && s->avail_out == 0 ? OK : ERR_PEER;
}

enum err inflate_run(struct inflate *z, struct bytes payload, uint8_t *to, uint32_t room,
                     struct bytes *plain)
{
    uint8_t nothing; /* zlib wants a place to write even when nothing is to be written */
    enum err err;

    CHECK(payload.n >= HEAD_BYTES && room == get_be32(payload.p + 2) + 1);
    to[0] = ETF_VERSION;
    err = inflate_from(z, bytes_of(payload.p + HEAD_BYTES, payload.n - HEAD_BYTES),
                       room > 1 ? to + 1 : &nothing, room - 1);
    if (err == OK)
        *plain = bytes_of(to, room);
    return err;
}

enum err inflate_whole(struct inflate *z, struct bytes stream, uint8_t *to, uint32_t count)
{
    enum err err;

    CHECK(count);
    err = inflate_from(z, stream, to, count);
    if (err == OK && z->stream.avail_in > 0)
        return ERR_PEER;
    return err;
}

uint32_t deflate_run(struct deflate *z, struct bytes plain, uint8_t *to, uint32_t room)
{
    z_stream *s = &z->stream;

    if (room == 0 || deflateReset(s) != Z_OK)
        return 0;
    s->next_in = plain.p;
    s->avail_in = plain.n;
    s->next_out = to;
    s->avail_out = room;
    return deflate(s, Z_FINISH) == Z_STREAM_END ? room - s->avail_out : 0;
}
