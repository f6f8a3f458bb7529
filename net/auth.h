/* net/auth.h -- who a client is: its certificate, its pre-shared key, its password, a token, or
 * what an HTTP server says of it.
 *
 * A worker asks when a CONNECT is whole. What is known at once is answered at once: the identity of
 * TLS, a listener without passwords, a password or a token that was right not long ago (its proof
 * is cached). Anything else is a hash that takes up to a second to compute, or a signature: helper
 * threads do that, in the order of asking, and put the answer on the worker's list. So no worker
 * ever computes one, and clients that stand notice nothing of a storm of those that come.
 *
 * A listener has methods in an order. The first one that knows the user (password: he is in the
 * file) or the form of what came (jwt: it looks like a token) decides, and what it refuses is
 * refused. An HTTP server (auth_use_http, by the threads of net/http_pool) decides unless it
 * answers with ignore; what it does not answer as it should is a denial. Where there are methods, a
 * user name that none has proven is refused. While the password file does not know a user, a token
 * that does not hold costs him as much as a wrong password does, so that nobody learns names from
 * the time.
 *
 * Threads  create, stop, destroy, replace: main.  auth_ask, auth_forget: any worker.
 * Memory   a question belongs to the helpers until it comes back; then to the worker. There is at
 *          most one for each connection; names and passwords in it are wiped.
 */
#ifndef NET_AUTH_H
#define NET_AUTH_H

#include "cfg/cfg.h"
#include "core/base/hash.h"
#include "core/broker/shard.h"
#include "core/policy/passwd.h"
#include "core/policy/passwd_cache.h"
#include "net/http_pool.h"
#include "net/jwt.h"

struct auth; /* opaque */
struct conn;
struct worker;

/* How long a client may wait for its password to be checked. Beyond: it is closed. */
#define AUTH_WAIT_MS 30000u

struct auth_question {
    struct auth_question *next;
    struct worker *worker;
    struct conn *conn;           /* the worker's; NULL: nobody waits any more */
    _Atomic uint32_t is_in_vain; /* nobody waits any more: it need not be computed */
    struct admission *admission; /* the answer; NULL: no memory for it */
    struct auth *auth;
    bool is_open;                     /* nobody has anything to say: allow_anonymous decides */
    struct passwd *passwd;            /* a share: the file of the moment of asking; or NULL */
    const struct passwd_entry *entry; /* NULL: the password is not looked up */
    struct jwt *jwt;                  /* a share: the keys of that moment; or NULL */
    bool is_token;                    /* the password is one, and the keys decide */
    struct http_job http;             /* where an HTTP server is asked, before both of them */
    bool may_be_open;                 /* if it answers with ignore */
    struct passwd_proof proof;        /* of all that it is asked */
    uint32_t bytes; /* that it holds, with its text for the server: counted by whoever asks */
    bool has_user;
    uint16_t user_count; /* of the name behind the password */
    uint16_t password_count;
    uint8_t password[];
};

/* Makes it and starts its threads: `threads` of them, 0: one for each two cores. A password that
 * was right is not computed again for `cache_ms`.  NULL: `why` says why. */
struct auth *auth_create(uint32_t threads, uint32_t cache_ms, char *why, size_t why_bytes);
/* From now on `pool` asks at `url` where a listener has the method http. Before any worker runs;
 * both outlive it. */
void auth_use_http(struct auth *a, struct http_pool *pool, const char *url);
/* Ends the threads; what they were asked is answered no more.  NULL is fine. */
void auth_stop(struct auth *a);
/* Frees it and what nobody has answered: the threads and all workers have ended.  NULL is fine. */
void auth_destroy(struct auth *a);
/* The users and the keys for tokens from now on; NULL: none. Takes shares of its own. */
void auth_replace(struct auth *a, struct passwd *passwd, struct jwt *jwt);

enum auth_verdict {
    AUTH_NONE,  /* nothing to say: allow_anonymous decides, or an exchange at home */
    AUTH_KNOWN, /* *admission is set, and the caller's */
    AUTH_ASKED, /* *question is set; it comes back by conn_answered */
    AUTH_MEMORY,
};

/* Where a CONNECT comes from. */
struct auth_peer {
    const char *ip;
    const char *identity;    /* what its layers have proven (layers_identity), or NULL; it counts
                              * where the listener says so */
    const char *common_name; /* of its certificate, or NULL */
};

/* Bytes that a question about this CONNECT may hold, at most. */
uint32_t auth_question_room(const struct cfg_listener *listener,
                            const struct packet_connect *connect);
/* Asks who sends this CONNECT. One that names a method of enhanced authentication is left to core
 * (core/broker/login.c): its user name and password prove nothing. */
enum auth_verdict auth_ask(struct auth *a, const struct cfg_listener *listener,
                           const struct packet_connect *connect, const struct auth_peer *peer,
                           struct worker *w, struct admission **admission,
                           struct auth_question **question);
/* Just before a client is opened: makes a refusal of an admission that is not true any more, since
 * the users were replaced while it was on its way.  NULL is fine. */
void auth_confirm(struct auth *a, struct admission *admission);
/* A refusal without a question.  NULL: no memory. */
struct admission *auth_refusal(enum reason reason);
/* The asker is gone: the answer will be thrown away. */
void auth_forget(struct auth_question *q);
/* Frees a question that has come back, without its admission. */
void auth_question_free(struct auth_question *q);

/* What proves that a user's entry in the password file is still the one he logged in with: 0 where
 * there is none. Any thread, with a table it holds. */
uint64_t auth_credential(const struct auth *a, const struct passwd *passwd, struct bytes user);

#endif
