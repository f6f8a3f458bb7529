/* core/mqtt/frame.c -- a stream of bytes becomes whole packets.
 *
 * The length a packet announces is compared with the bound before a byte of it is waited for, and
 * nothing is reserved for it (CVE-2017-7651, CVE-2023-0809).
 */
#include "core/mqtt/frame.h"

#define VARINT_BYTES_MAX 4

/* Reads a variable byte integer without asking for its shortest form. */
static enum err varint_read(const uint8_t *p, uint32_t n, uint32_t *value, uint32_t *size)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < VARINT_BYTES_MAX; i++) {
        if (i == n)
            return ERR_MORE;
        sum |= (uint32_t)(p[i] & 0x7F) << (7 * i);
        if (p[i] < 0x80) {
            *value = sum;
            *size = i + 1;
            return OK;
        }
    }
    return ERR_PEER; /* a fourth byte that announces a fifth */
}

enum err frame_next(struct bytes in, uint32_t bytes_max, struct frame *out, uint32_t *need)
{
    uint32_t length, size;
    enum err err;

    *need = 0;
    if (in.n < 2)
        return ERR_MORE;
    /* MQTT 3 does not demand the shortest form here; packet_decode demands it of MQTT 5. */
    err = varint_read(in.p + 1, in.n - 1, &length, &size);
    if (err != OK)
        return err;
    *need = 1 + size + length;
    if (*need > bytes_max)
        return ERR_FULL;
    if (*need > in.n)
        return ERR_MORE;
    out->first = in.p[0];
    out->header_size = (uint8_t)(1 + size);
    out->body = bytes_of(in.p + 1 + size, length);
    return OK;
}

enum err varint_get(const uint8_t *p, uint32_t n, uint32_t *value, uint32_t *size)
{
    enum err err = varint_read(p, n, value, size);

    if (err == OK && *size > 1 && p[*size - 1] == 0)
        return ERR_PEER; /* [MQTT-1.5.5-1]: a last byte of zero was not needed */
    return err;
}

uint32_t varint_size(uint32_t v)
{
    return 1u + (v >= 1u << 7) + (v >= 1u << 14) + (v >= 1u << 21);
}

uint8_t *varint_put(uint8_t *to, uint32_t v)
{
    while (v >= 0x80) {
        *to++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *to++ = (uint8_t)v;
    return to;
}
