/* core/base/base64.h -- RFC 4648's base64, standard alphabet.
 *
 * Decoding is strict: nothing but the alphabet, padding where it belongs and nowhere else, and the
 * bits that stand for nothing are zero. So two texts that differ never mean the same bytes.  Any
 * thread.
 */
#ifndef CORE_BASE_BASE64_H
#define CORE_BASE_BASE64_H

#include "core/base/bytes.h"
#include "core/base/err.h"

enum base64_form {
    BASE64_PADDED, /* '=' fills the last four characters */
    BASE64_BARE,   /* no '=' at all, as in PHC strings */
};

/* Characters that n bytes take at most, without a NUL. */
#define BASE64_TEXT_BYTES(n) (((n) + 2) / 3 * 4)

/* Writes the text of `from`, without a NUL, and returns the position behind it. `to` has room for
 * BASE64_TEXT_BYTES(from.n). */
char *base64_encode(struct bytes from, enum base64_form form, char *to);

/* Writes what `text` stands for to `to` and its length to `*n`.  ERR_PEER: not base64 of this form;
 * ERR_FULL: more than `room` bytes. Then `*n` is 0 and `to` holds nothing of use. */
MUST_USE enum err base64_decode(struct bytes text, enum base64_form form, uint8_t *to,
                                uint32_t room, uint32_t *n);

#endif
