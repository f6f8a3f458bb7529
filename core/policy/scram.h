/* core/policy/scram.h -- the server's side of a SCRAM exchange (RFC 5802, RFC 7677).
 *
 *     client: n,,n=user,r=<nonce>                    scram_begin
 *     server: r=<nonce><ours>,s=<salt>,i=<n>         scram_says
 *     client: c=biws,r=<nonce><ours>,p=<proof>       scram_prove
 *     server: v=<signature>                          scram_says
 *
 * Without channel binding: `p=...` is refused, `y,,` (the client could, and thinks that we cannot)
 * is right. An authorization identity is only accepted when it is the user's name. Extensions that
 * must be understood (`m=`) are refused, others are passed over. What is not exactly of the RFC's
 * grammar is refused. Nothing here is slow: the client does the work.
 *
 * Threads  any; an exchange belongs to whoever began it.
 * Memory   an exchange copies what it needs of messages and table. It wipes itself.
 */
#ifndef CORE_POLICY_SCRAM_H
#define CORE_POLICY_SCRAM_H

#include "core/policy/scram_users.h"

/* Bytes of a message of the client, and of its nonce. Beyond: refused. */
#define SCRAM_MESSAGE_BYTES_MAX 4096u
#define SCRAM_NONCE_BYTES_MAX 256u
/* Random bytes of our nonce, which is their base64. */
#define SCRAM_RANDOM_BYTES 18u

struct scram; /* opaque: the fields live in scram.c */

/* Takes the client's first message. `nonce`: our part, printable and without a comma, never used
 * before. OK: *out is the caller's, and scram_says what to answer, also for unknown users.
 * ERR_PEER: the message is not SCRAM's; ERR_MEMORY. Then *out is NULL. */
MUST_USE enum err scram_begin(enum scram_kind kind, struct bytes message, struct bytes nonce,
                              const struct scram_users *users, const struct scram_crypt *crypt,
                              struct scram **out);

/* Takes the client's last message. OK: he is who he says, and scram_says how we prove to know him.
 * ERR_PEER: the message is not SCRAM's, or proves nothing, or there is no such user; ERR_MEMORY.
 * The exchange is over then, whatever the answer. */
MUST_USE enum err scram_prove(struct scram *x, struct bytes message,
                              const struct scram_crypt *crypt);

/* The server's message that is due; a view that lives until the next call for `x`. */
struct bytes scram_says(const struct scram *x);
/* The user name as the client said it; proven only by scram_prove. */
struct bytes scram_user(const struct scram *x);
/* What the table said of the user when the exchange began (scram_users_credential). */
uint64_t scram_credential(const struct scram *x);

/* Bytes of memory it takes.  NULL: 0. */
uint32_t scram_bytes(const struct scram *x);
/* Wipes and frees; NULL is fine. */
void scram_end(struct scram *x);

#endif
