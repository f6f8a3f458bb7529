/* bench/bench_tls.c -- what TLS costs a server: handshakes, bytes, and memory of idle connections.
 *
 * Both ends are in this thread; the time of the client is left out of handshakes. They are X25519
 * with a P-256 certificate unless the name says otherwise; items per second are handshakes per
 * second of one core. The certificates are those of the tests, made by the openssl command.
 */
#include "bench/shim.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "net/heap.h"
#include "net/tls.h"

#define CERTS "build/certs/"
#define IDLE_COUNT 2000

enum mode { MODE_FULL, MODE_RSA, MODE_CLIENT_CERTIFICATE, MODE_RESUMED, MODE_TLS_1_2, MODE_COUNT };

struct ends {
    struct tls_context *server_context, *client_context;
    struct tls *server, *client;
    uint8_t plain[TLS_RECORD_BYTES_MAX];
};

static struct ends e;

static struct tls_context *make(const struct tls_settings *settings)
{
    char why[256];
    struct tls_context *c = tls_context_create(settings, why, sizeof(why));

    if (!c)
        fprintf(stderr, "%s\n", why);
    CHECK(c);
    return c;
}

static void make_contexts(enum mode mode)
{
    static bool is_started;
    struct tls_settings s = {.certificate_file = CERTS "server.crt",
                             .key_file = CERTS "server.key"};
    struct tls_settings c = {.side = TLS_CLIENT, .ca_file = CERTS "ca.crt"};

    if (!is_started) {
        CHECK(tls_init() == OK);
        CHECK(system("tests/support/certs.sh build/certs") == 0);
        is_started = true;
    }
    if (mode == MODE_RSA) {
        s.certificate_file = CERTS "server_rsa.crt";
        s.key_file = CERTS "server_rsa.key";
    }
    if (mode == MODE_CLIENT_CERTIFICATE) {
        s.require_certificate = true;
        s.ca_file = CERTS "ca.crt";
        c.certificate_file = CERTS "client.crt";
        c.key_file = CERTS "client.key";
    }
    if (mode == MODE_TLS_1_2)
        c.version_max = TLS_VERSION_1_2;
    e.server_context = make(&s);
    e.client_context = make(&c);
}

static void free_ends(void)
{
    tls_destroy(e.server);
    tls_destroy(e.client);
    e.server = e.client = NULL;
}

static void free_all(void)
{
    free_ends();
    tls_context_release(e.server_context);
    tls_context_release(e.client_context);
}

/* Gives what one end has to send to the other. Returns how much that was. */
static uint32_t carry(struct tls *from, struct tls *to)
{
    struct bytes out = tls_output(from);
    struct bytes input = out;
    uint32_t count;
    enum tls_verdict verdict;

    if (out.n == 0)
        return 0;
    do {
        verdict = tls_open(to, &input, e.plain, sizeof(e.plain), &count);
        CHECK(verdict == TLS_MORE || verdict == TLS_DATA);
    } while (verdict == TLS_DATA);
    tls_output_sent(from, out.n);
    return out.n;
}

/* One handshake; `b` may be NULL. The clock runs only while the server works. */
static void shake(struct bench *b, const struct tls_session *session)
{
    struct bytes none = {NULL, 0};
    uint32_t count;

    e.server = tls_create(e.server_context, NULL, NULL);
    if (b)
        bench_pause(b);
    e.client = tls_create(e.client_context, "localhost", session);
    CHECK(e.server && e.client);
    CHECK(tls_open(e.client, &none, e.plain, sizeof(e.plain), &count) == TLS_MORE);
    do {
        if (b)
            bench_resume(b);
        carry(e.client, e.server);
        if (b)
            bench_pause(b);
    } while (carry(e.server, e.client) > 0);
    CHECK(tls_is_established(e.server) && tls_is_established(e.client));
    CHECK(tls_was_resumed(e.server) == (session != NULL));
}

static void handshake(struct bench *b, int64_t mode)
{
    struct tls_session *session = NULL;
    uint64_t done = 0;

    make_contexts((enum mode)mode);
    if (mode == MODE_RESUMED) {
        shake(NULL, NULL);
        session = tls_session_create(e.client);
        CHECK(session);
        free_ends();
    }
    while (bench_next(b)) {
        shake(b, session);
        tls_destroy(e.client);
        e.client = NULL;
        bench_resume(b);
        free_ends();
        done += 1;
    }
    bench_items(b, done);
    tls_session_destroy(session);
    free_all();
}

/* Seals a piece each time, and has the client open it or throws it away. */
static void seal_pieces(struct bench *b, int64_t bytes, bool is_opened)
{
    struct bytes piece = {calloc(1, (size_t)bytes), (uint32_t)bytes};
    uint32_t taken;

    make_contexts(MODE_FULL);
    shake(NULL, NULL);
    while (bench_next(b)) {
        CHECK(tls_seal(e.server, &piece, 1, &taken) == OK);
        if (is_opened)
            carry(e.server, e.client);
        else
            tls_output_sent(e.server, tls_output(e.server).n);
    }
    free((void *)(uintptr_t)piece.p);
    free_all();
}

static void seal(struct bench *b, int64_t bytes)
{
    seal_pieces(b, bytes, false);
}

static void seal_and_open(struct bench *b, int64_t bytes)
{
    seal_pieces(b, bytes, true);
}

/* Not a time: bytes of user space that IDLE_COUNT established server connections take. */
static void idle_memory(struct bench *b, int64_t mode)
{
    static struct tls *idle[IDLE_COUNT];
    uint32_t count = getenv("BENCH_TINY") ? 100 : IDLE_COUNT;
    struct heap_stats before, after;
    uint64_t allocated = 0, active = 0;

    make_contexts((enum mode)mode);
    while (bench_next(b)) {
        shake(NULL, NULL); /* what is made once is made */
        free_ends();
        heap_stats_read(&before);
        for (uint32_t i = 0; i < count; i++) {
            shake(NULL, NULL);
            idle[i] = e.server;
            tls_destroy(e.client);
        }
        heap_stats_read(&after);
        e.server = e.client = NULL;
        allocated = (after.allocated - before.allocated) / count;
        active = (after.active - before.active) / count;
        for (uint32_t i = 0; i < count; i++)
            tls_destroy(idle[i]);
    }
    bench_counter(b, "bytes_each", (double)allocated);
    bench_counter(b, "active_each", (double)active);
    free_all();
}

__attribute__((constructor)) static void register_tls(void)
{
    bench_register("BM_tls_handshake/full", handshake, MODE_FULL);
    bench_register("BM_tls_handshake/rsa_2048", handshake, MODE_RSA);
    bench_register("BM_tls_handshake/client_certificate", handshake, MODE_CLIENT_CERTIFICATE);
    bench_register("BM_tls_handshake/resumed", handshake, MODE_RESUMED);
    bench_register("BM_tls_handshake/tls_1_2", handshake, MODE_TLS_1_2);
    bench_register("BM_tls_seal/bytes:100", seal, 100);
    bench_register("BM_tls_seal/bytes:16384", seal, 16384);
    bench_register("BM_tls_seal_and_open/bytes:100", seal_and_open, 100);
    bench_register("BM_tls_seal_and_open/bytes:16384", seal_and_open, 16384);
    bench_register("BM_tls_idle/full", idle_memory, MODE_FULL);
    bench_register("BM_tls_idle/client_certificate", idle_memory, MODE_CLIENT_CERTIFICATE);
    bench_register("BM_tls_idle/tls_1_2", idle_memory, MODE_TLS_1_2);
}
