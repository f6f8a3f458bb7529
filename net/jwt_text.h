/* net/jwt_text.h -- the spelling of tokens: base64url, and how deep a JSON text goes.
 *
 * Threads  any; nothing here has a state.
 */
#ifndef NET_JWT_TEXT_H
#define NET_JWT_TEXT_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* The value of a digit of base64url, 0 to 63; -1: it is none. */
int jwt_text_digit(uint8_t c);

/* Bytes that a text of base64url stands for, at most. */
static inline uint32_t jwt_text_room(struct bytes text)
{
    return text.n / 4 * 3 + 3;
}

/* Decodes base64url without padding (RFC 7515, appendix C), strictly: each text is the only one of
 * its bytes. `to` has jwt_text_room bytes.  ERR_PEER: it is none. */
MUST_USE enum err jwt_text_decode(struct bytes text, uint8_t *to, uint32_t *n);

/* Whether objects and arrays of a JSON text lie at most `depth_max` deep; so that a reader that
 * calls itself may read it. Nothing else of it is judged. */
bool jwt_text_is_shallow(struct bytes json, uint32_t depth_max);

#endif
