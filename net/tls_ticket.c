/* net/tls_ticket.c -- the keys of session tickets, one pair for all contexts of the process.
 *
 * A ticket is what a client keeps for us: the secrets of a session, sealed with AES-256-GCM. The
 * key changes after TICKET_KEY_MS; the one before still opens, so a ticket is good for at least
 * that long, and nothing that is stolen later opens what was recorded earlier than that. Keys live
 * in memory only: a restart ends all tickets, and clients then make a full handshake.
 *
 * Threads  any; a lock around the copying of a key.
 */
#include "net/tls_state.h"

#include <pthread.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>

#include "net/clock.h"

/* How long a key seals. */
#define TICKET_KEY_MS (4u * 3600u * 1000u)
/* How long clients are told to keep a ticket. */
#define TICKET_SECONDS (4 * 3600)

#define NAME_BYTES 16u /* WOLFSSL_TICKET_NAME_SZ */
#define NONCE_BYTES 12u
#define TAG_BYTES 16u
#define KEY_BYTES 32u

_Static_assert(WOLFSSL_TICKET_NAME_SZ == NAME_BYTES && WOLFSSL_TICKET_IV_SZ >= NONCE_BYTES &&
                   WOLFSSL_TICKET_MAC_SZ >= TAG_BYTES,
               "the ticket of the library has room for ours");

struct ticket_key {
    uint8_t name[NAME_BYTES];
    uint8_t key[KEY_BYTES];
    uint64_t made_ms; /* 0: there is none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_key keys[2]; /* the one that seals, the one before; under `lock` */

static bool random_bytes(void *to, size_t n)
{
    return getrandom(to, n, 0) == (ssize_t)n;
}

/* Under the lock. */
static bool change_key(uint64_t now)
{
    struct ticket_key fresh = {.made_ms = now ? now : 1};

    if (!random_bytes(fresh.name, sizeof(fresh.name)) ||
        !random_bytes(fresh.key, sizeof(fresh.key)))
        return false;
    keys[1] = keys[0];
    keys[0] = fresh;
    explicit_bzero(&fresh, sizeof(fresh));
    return true;
}

/* Under the lock: makes keys[0] fresh, and forgets what nobody may open any more. */
static bool keys_of_now(void)
{
    uint64_t now = clock_mono_ms();
    uint64_t age = now - keys[0].made_ms;

    if (keys[0].made_ms != 0 && age < TICKET_KEY_MS)
        return true;
    if (!change_key(now))
        return false;
    if (age >= 2 * TICKET_KEY_MS)
        explicit_bzero(&keys[1], sizeof(keys[1]));
    return true;
}

/* Copies the key that seals (`name` is NULL) or the one of that name. */
static bool find_key(const uint8_t *name, struct ticket_key *found)
{
    bool has = false;

    pthread_mutex_lock(&lock);
    if (keys_of_now()) {
        for (int i = 0; i < 2 && !has; i++) {
            has = keys[i].made_ms != 0 && (!name || memcmp(keys[i].name, name, NAME_BYTES) == 0);
            if (has)
                *found = keys[i];
        }
    }
    pthread_mutex_unlock(&lock);
    return has;
}

static bool crypt_ticket(const struct ticket_key *key, bool seal, byte *nonce, byte *tag,
                         byte *body, word32 count)
{
    Aes aes;
    bool good;

    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    good = wc_AesGcmSetKey(&aes, key->key, KEY_BYTES) == 0;
    if (good && seal)
        good = wc_AesGcmEncrypt(&aes, body, body, count, nonce, NONCE_BYTES, tag, TAG_BYTES,
                                key->name, NAME_BYTES) == 0;
    else if (good)
        good = wc_AesGcmDecrypt(&aes, body, body, count, nonce, NONCE_BYTES, tag, TAG_BYTES,
                                key->name, NAME_BYTES) == 0;
    wc_AesFree(&aes);
    return good;
}

static int seal_ticket(byte *name, byte *nonce, byte *tag, byte *body, word32 count)
{
    struct ticket_key key;
    bool good = find_key(NULL, &key);

    if (good) {
        memset(nonce, 0, WOLFSSL_TICKET_IV_SZ);
        memset(tag, 0, WOLFSSL_TICKET_MAC_SZ);
        memcpy(name, key.name, NAME_BYTES);
        good =
            random_bytes(nonce, NONCE_BYTES) && crypt_ticket(&key, true, nonce, tag, body, count);
    }
    explicit_bzero(&key, sizeof(key));
    return good ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_REJECT;
}

static int open_ticket(byte *name, byte *nonce, byte *tag, byte *body, word32 count)
{
    struct ticket_key key;
    bool good = find_key(name, &key) && crypt_ticket(&key, false, nonce, tag, body, count);

    explicit_bzero(&key, sizeof(key));
    return good ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_REJECT;
}

/* Seals or opens `body` in place; the size stays. */
static int on_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
                     unsigned char nonce[WOLFSSL_TICKET_IV_SZ],
                     unsigned char tag[WOLFSSL_TICKET_MAC_SZ], int seal, unsigned char *body,
                     int count, int *count_out, void *user)
{
    (void)ssl;
    (void)user;
    if (count <= 0)
        return WOLFSSL_TICKET_RET_REJECT;
    *count_out = count;
    return seal ? seal_ticket(name, nonce, tag, body, (word32)count)
                : open_ticket(name, nonce, tag, body, (word32)count);
}

void tls_tickets_enable(struct WOLFSSL_CTX *ctx)
{
    wolfSSL_CTX_set_TicketEncCb(ctx, on_ticket);
    wolfSSL_CTX_set_TicketHint(ctx, TICKET_SECONDS);
    wolfSSL_CTX_set_timeout(ctx, TICKET_SECONDS);
}

void tls_tickets_fini(void)
{
    pthread_mutex_lock(&lock);
    explicit_bzero(keys, sizeof(keys));
    pthread_mutex_unlock(&lock);
}

void tls_tickets_rotate(uint32_t times)
{
    pthread_mutex_lock(&lock);
    for (; times > 0; times--)
        (void)change_key(clock_mono_ms());
    pthread_mutex_unlock(&lock);
}
