/* core/base/bytes.h -- views of bytes, and big-endian numbers in them.
 *
 * A view borrows: whoever hands it out says how long it lives. An empty view may have p == NULL.
 */
#ifndef CORE_BASE_BYTES_H
#define CORE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *p;
    uint32_t n;
};

/* A view of a string literal or array of known size, without its NUL. */
#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)(s), (uint32_t)(sizeof(s) - 1)})

/* A view of n bytes at p. */
static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){(const uint8_t *)p, (uint32_t)n};
}

/* A view of a NUL-terminated string. */
static inline struct bytes bytes_str(const char *s)
{
    return bytes_of(s, strlen(s));
}

/* Whether two views hold the same bytes. */
static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Whether `a` begins with `prefix`. */
static inline bool bytes_begin(struct bytes a, struct bytes prefix)
{
    return a.n >= prefix.n && memcmp(a.p, prefix.p, prefix.n) == 0;
}

/* Copies a view to `to` and returns the position behind it. */
static inline uint8_t *bytes_put(uint8_t *to, struct bytes b)
{
    if (b.n)
        memcpy(to, b.p, b.n);
    return to + b.n;
}

/* Big-endian numbers: reading, and writing with the position behind as result. */
static inline uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

/* See get_be16. */
static inline uint32_t get_be32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

/* See get_be16. */
static inline uint8_t *put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

/* See get_be16. */
static inline uint8_t *put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
    return p + 4;
}

#endif
