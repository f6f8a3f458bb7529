/* tests/race/race_tls.c -- workers share contexts while main replaces them. */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "net/tls.h"
#include "net/tls_state.h"

#define CERTS "build/certs/"
#define WORKERS 3
#define HANDSHAKES 40

/* What main offers; a worker takes a hold under the lock, as it does with a listener's. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_context *offered[2];

static struct tls_context *make(enum tls_side side)
{
    struct tls_settings settings = {.side = side, .ca_file = CERTS "ca.crt"};
    struct tls_context *c;
    char why[256];

    if (side == TLS_SERVER) {
        settings.certificate_file = CERTS "server.crt";
        settings.key_file = CERTS "server.key";
    }
    c = tls_context_create(&settings, why, sizeof(why));
    CHECK(c);
    return c;
}

static struct tls_context *take(enum tls_side side)
{
    struct tls_context *c;

    pthread_mutex_lock(&lock);
    c = tls_context_ref(offered[side]);
    pthread_mutex_unlock(&lock);
    return c;
}

static uint32_t carry(struct tls *from, struct tls *to)
{
    struct bytes out = tls_output(from);
    struct bytes input = out;
    uint8_t plain[256];
    uint32_t count = 0;

    if (out.n > 0) {
        while (tls_open(to, &input, plain, sizeof(plain), &count) == TLS_DATA)
            continue;
        tls_output_sent(from, out.n);
    }
    return out.n;
}

/* One connection from hello to close; returns what the next may resume. */
static struct tls_session *connect_once(const struct tls_session *session)
{
    struct tls_context *ours = take(TLS_SERVER), *theirs = take(TLS_CLIENT);
    struct tls *server = tls_create(ours, NULL, NULL);
    struct tls *client = tls_create(theirs, "localhost", session);
    struct bytes none = bytes_of(NULL, 0), word = BYTES_LIT("word");
    struct tls_session *next;
    uint8_t plain[16];
    uint32_t count;

    CHECK(server && client);
    CHECK(tls_open(client, &none, plain, sizeof(plain), &count) == TLS_MORE);
    while (carry(client, server) + carry(server, client) > 0)
        continue;
    CHECK(tls_is_established(server) && tls_is_established(client));
    CHECK(tls_seal(client, &word, 1, &count) == OK);
    carry(client, server);
    next = tls_session_create(client);
    CHECK(next);
    tls_close(server);
    tls_destroy(server);
    tls_destroy(client);
    tls_context_release(ours);
    tls_context_release(theirs);
    return next;
}

static void *work(void *arg)
{
    struct tls_session *session = NULL;

    (void)arg;
    for (int i = 0; i < HANDSHAKES; i++) {
        struct tls_session *next = connect_once(i % 4 ? session : NULL);

        tls_session_destroy(session);
        session = next;
    }
    tls_session_destroy(session);
    return NULL;
}

static void replace(enum tls_side side)
{
    struct tls_context *fresh = make(side);
    struct tls_context *old;

    pthread_mutex_lock(&lock);
    old = offered[side];
    offered[side] = fresh;
    pthread_mutex_unlock(&lock);
    tls_context_release(old);
}

TEST(tls_contexts_are_replaced_under_way)
{
    pthread_t workers[WORKERS];

    assert_int_equal(tls_init(), OK);
    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
    replace(TLS_SERVER);
    replace(TLS_CLIENT);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i], NULL, work, NULL), 0);
    for (int i = 0; i < 20; i++) {
        replace((enum tls_side)(i % 2));
        if (i % 5 == 0)
            tls_tickets_rotate(1);
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    tls_context_release(offered[TLS_SERVER]);
    tls_context_release(offered[TLS_CLIENT]);
    tls_fini();
}
