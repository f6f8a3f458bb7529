/* tests/core/mqtt/wire.h -- packets as one would write them on paper.
 *
 * wire("0004 'MQTT' 05 02 003c") gives the bytes: hexadecimal digits in pairs, text between single
 * quotes, blanks between them. What is written is a copy of exactly its size on the heap, so the
 * address sanitizer sees a read of a single byte too many. The caller frees it.
 */
#ifndef TESTS_CORE_MQTT_WIRE_H
#define TESTS_CORE_MQTT_WIRE_H

#include "core/base/bytes.h"
#include "core/base/check.h"

#include <stdio.h>

#define WIRE_BYTES_MAX 4096

/* The value of a hexadecimal digit. */
static inline uint8_t wire_digit(char c)
{
    CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
    return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* A heap copy of exactly n bytes (of one byte that nobody may read when n is 0). */
static inline uint8_t *exact_copy(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);

    CHECK(copy != NULL);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

/* The bytes that `text` describes; free() takes .p. */
static inline struct bytes wire(const char *text)
{
    uint8_t buffer[WIRE_BYTES_MAX];
    size_t n = 0;

    while (*text) {
        CHECK(n < sizeof(buffer));
        if (*text == ' ') {
            text++;
        } else if (*text == '\'') {
            for (text++; *text != '\''; text++)
                buffer[n++] = (uint8_t)*text;
            text++;
        } else {
            buffer[n++] = (uint8_t)(wire_digit(text[0]) << 4 | wire_digit(text[1]));
            text += 2;
        }
    }
    return bytes_of(exact_copy(buffer, n), n);
}

/* Gives back what wire() made. */
static inline void wire_free(struct bytes b)
{
    free((void *)b.p);
}

#endif
