/* link/packing.c -- compressed frames. */
#include "link/packing.h"

#include <stdlib.h>

#include "core/base/check.h"

/* A frame that goes packed is smaller than it was, head included. */
_Static_assert(PACKING_LEAST_BYTES > NATIVE_DEFLATED_HEAD_BYTES, "the head has room");

void packing_init(struct packing *p)
{
    *p = (struct packing){0};
}

void packing_fini(struct packing *p)
{
    deflate_destroy(p->deflate);
    inflate_destroy(p->inflate);
    free(p->in);
    free(p->out);
    *p = (struct packing){0};
}

/* ---- ours ---- */

bool packer_wants(struct packer *k, uint32_t bytes)
{
    if (bytes < PACKING_LEAST_BYTES || bytes > NATIVE_FRAME_BYTES)
        return false;
    if (k->rest > 0) {
        k->rest--;
        return false;
    }
    if (k->left == 0)
        k->left = PACKING_SAMPLE;
    return true;
}

/* What came of a frame; after the last of its round it is judged. */
static void note(struct packer *k, uint32_t plain, uint32_t packed)
{
    k->plain += plain;
    k->packed += packed;
    if (packed < plain) {
        k->frames++;
        k->saved += plain - packed;
    }
    CHECK(k->left);
    if (--k->left > 0)
        return;
    if (k->packed > k->plain / 4 * 3)
        k->rest = PACKING_REST;
    else
        k->left = PACKING_ROUND;
    k->plain = k->packed = 0;
}

uint8_t *packing_room(struct packing *p)
{
    if (!p->deflate)
        p->deflate = deflate_create();
    if (!p->out)
        p->out = malloc(2 * NATIVE_FRAME_BYTES);
    return p->deflate ? p->out : NULL;
}

struct bytes packing_pack(struct packing *p, struct packer *k, uint32_t bytes)
{
    uint8_t *to = p->out + NATIVE_FRAME_BYTES;
    uint8_t *at = native_deflated_put_head(to, bytes);
    uint32_t head = (uint32_t)(at - to);
    uint32_t n = deflate_run(p->deflate, bytes_of(p->out, bytes), at, bytes - head - 1);

    note(k, bytes, n ? head + n : bytes);
    return bytes_of(to, n ? head + n : 0);
}

/* ---- theirs ---- */

enum err packing_take(struct packing *p, const struct native_frame *deflated,
                      struct native_frame *out)
{
    uint32_t n = (uint32_t)deflated->count;
    enum err err;

    if (deflated->count == 0 || deflated->count > NATIVE_FRAME_BYTES)
        return ERR_PEER;
    if (!p->inflate)
        p->inflate = inflate_create();
    if (!p->in)
        p->in = malloc(NATIVE_FRAME_BYTES);
    if (!p->inflate || !p->in)
        return ERR_MEMORY;
    err = inflate_whole(p->inflate, deflated->body, p->in, n);
    if (err != OK)
        return err;
    err = native_frame_decode(bytes_of(p->in, n), out);
    return err == OK && out->kind != NATIVE_MESSAGES ? ERR_PEER : err;
}
