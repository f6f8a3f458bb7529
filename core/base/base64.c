/* core/base/base64.c -- RFC 4648's base64, standard alphabet. */
#include "core/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(struct bytes from, enum base64_form form, char *to)
{
    uint32_t i = 0;

    for (; from.n - i >= 3; i += 3) {
        uint32_t v = (uint32_t)from.p[i] << 16 | (uint32_t)from.p[i + 1] << 8 | from.p[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            *to++ = alphabet[v >> shift & 63];
    }
    if (i < from.n) {
        uint32_t left = from.n - i; /* 1 or 2 */
        uint32_t v = (uint32_t)from.p[i] << 16 | (left > 1 ? (uint32_t)from.p[i + 1] << 8 : 0);

        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        if (left > 1)
            *to++ = alphabet[v >> 6 & 63];
        for (uint32_t pad = left; form == BASE64_PADDED && pad < 3; pad++)
            *to++ = '=';
    }
    return to;
}

/* The six bits a character stands for; 64: none. */
static uint32_t value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - (uint32_t)'A';
    if (c >= 'a' && c <= 'z')
        return c - (uint32_t)'a' + 26;
    if (c >= '0' && c <= '9')
        return c - (uint32_t)'0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Takes the padding off; false: it is not what this form has. */
static bool strip_padding(struct bytes *text, enum base64_form form)
{
    if (form == BASE64_BARE)
        return text->n % 4 != 1;
    if (text->n % 4 != 0)
        return false;
    for (uint32_t pad = 0; pad < 2 && text->n > 0 && text->p[text->n - 1] == '='; pad++)
        text->n--;
    return text->n % 4 != 1;
}

enum err base64_decode(struct bytes text, enum base64_form form, uint8_t *to, uint32_t room,
                       uint32_t *n)
{
    uint32_t bits = 0, have = 0, count = 0;

    *n = 0;
    if (!strip_padding(&text, form))
        return ERR_PEER;
    for (uint32_t i = 0; i < text.n; i++) {
        uint32_t v = value_of(text.p[i]);

        if (v == 64)
            return ERR_PEER;
        bits = bits << 6 | v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (count == room)
            return ERR_FULL;
        to[count++] = (uint8_t)(bits >> have);
        bits &= (1u << have) - 1;
    }
    if (bits != 0)
        return ERR_PEER; /* bits that stand for nothing */
    *n = count;
    return OK;
}
