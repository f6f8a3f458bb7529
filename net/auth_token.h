/* net/auth_token.h -- who a client is, by a token: its part of net/auth.
 *
 * A token that held is not judged again for auth_cache, or until it expires; new keys end that.
 *
 * Threads  auth_token_find: any.  auth_token_check: helpers.
 */
#ifndef NET_AUTH_TOKEN_H
#define NET_AUTH_TOKEN_H

#include "net/auth_state.h"

/* The admission of a client whose token has held not long ago, under the keys of now. *is_known:
 * there is one; then NULL means no memory. */
struct admission *auth_token_find(struct auth *a, struct bytes token, bool *is_known);
/* Judges the token of a question.  NULL: no memory. */
struct admission *auth_token_check(struct auth *a, const struct auth_question *q);

#endif
