/* net/jwt_text.c -- the spelling of tokens. */
#include "net/jwt_text.h"

int jwt_text_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

enum err jwt_text_decode(struct bytes text, uint8_t *to, uint32_t *n)
{
    uint32_t bits = 0, bit_count = 0;

    *n = 0;
    if (text.n % 4 == 1)
        return ERR_PEER;
    for (uint32_t i = 0; i < text.n; i++) {
        int digit = jwt_text_digit(text.p[i]);

        if (digit < 0)
            return ERR_PEER;
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            to[(*n)++] = (uint8_t)(bits >> bit_count);
        }
    }
    return bits & ((1u << bit_count) - 1) ? ERR_PEER : OK; /* what is left over must be zero */
}

bool jwt_text_is_shallow(struct bytes json, uint32_t depth_max)
{
    uint32_t depth = 0;
    bool is_string = false;

    for (uint32_t i = 0; i < json.n; i++) {
        uint8_t c = json.p[i];

        if (is_string) {
            i += c == '\\';
            is_string = c != '"';
        } else if (c == '"') {
            is_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > depth_max)
                return false;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        }
    }
    return true;
}
