/* net/auth_state.h -- what the files net/auth*.c share.
 *
 * Not for anybody else.
 *
 * Threads  helper threads, threads of net/http_pool and workers, as each function says.
 */
#ifndef NET_AUTH_STATE_H
#define NET_AUTH_STATE_H

#include <pthread.h>

#include "net/auth.h"
#include "net/jwt_cache.h"

#define AUTH_THREADS_MAX 64u

struct auth {
    pthread_mutex_t lock; /* of everything below but the fixed fields */
    pthread_cond_t changed;
    struct auth_question *first, *last; /* asked, in order */
    struct passwd *passwd;              /* NULL: no passwords */
    struct jwt *jwt;                    /* NULL: no tokens */
    struct passwd_cache *cache;
    struct jwt_cache *tokens; /* of `jwt` */
    bool must_end;
    /* fixed */
    struct http_pool *http; /* NULL: no server is asked */
    const char *http_url;
    uint32_t cache_ms;
    uint8_t key[PASSWD_CACHE_KEY_BYTES];
    struct hash_key hash_key;
    uint32_t thread_count;
    pthread_t threads[AUTH_THREADS_MAX];
};

/* A CONNECT, and what there is to compare it with. */
struct auth_asking {
    const struct cfg_listener *listener;
    const struct packet_connect *connect;
    const struct auth_peer *peer;
    struct worker *worker;
    uint32_t asked; /* of the listener's methods, those that have been looked at */
    /* shares */
    struct passwd *passwd;            /* or NULL */
    struct jwt *jwt;                  /* or NULL */
    const struct passwd_entry *entry; /* NULL: nobody has looked */
};

enum auth_decider { BY_NOBODY, BY_PASSWORD, BY_TOKEN, BY_HTTP };

/* An admission of a user whose entry in the password file has that credential (0: he has none).
 * NULL: no memory. Any thread. */
struct admission *auth_admit(struct bytes user, uint64_t credential);

/* auth_refusal with words for the log, a fixed text. */
struct admission *auth_refuse(enum reason reason, const char *why);

/* Whether what a proof stands for was right not long ago. Any thread. */
bool auth_has_proof(struct auth *a, const struct passwd_proof *proof);

/* Puts a question in the line of the helpers, who answer it. Any thread. */
void auth_hand_over(struct auth *a, struct auth_question *q);
/* Brings a question back to its worker. Helpers and threads of the pool. */
void auth_answer(struct auth_question *q);
/* Wipes the names and passwords in a question. */
void auth_question_wipe(struct auth_question *q);

/* A question about a CONNECT, with shares of its own.  NULL: no memory. Workers. */
struct auth_question *auth_question_new(struct auth *a, const struct auth_asking *asking,
                                        bool is_token);
/* Which of the methods that have not been looked at decides about this client. Workers. */
enum auth_decider auth_who_decides(const struct auth *a, struct auth_asking *asking);
/* Whether a client of whom no method knows anything has said nothing that could prove him. */
bool auth_is_silent(const struct auth_asking *asking);

#endif
