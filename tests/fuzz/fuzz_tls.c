/* tests/fuzz/fuzz_tls.c -- a server is fed what no client of ours would say.
 *
 * Input: a byte that chooses the server (with ALPN, with client certificates, with PSKs) and
 * whether a real client talks first; a byte for the size of the pieces; then either the bytes
 * themselves, or changes made to what the client says: two bytes of place, one that is added, over
 * and over; the rest of an odd length is put behind. Nobody may become a client that did not prove
 * what it must.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "net/tls.h"

#define CERTS "build/certs/"
#define CHANGES_MAX 32
#define ROUNDS_MAX 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_context *servers[3], *clients[3];

static struct tls_context *make(const struct tls_settings *settings)
{
    char why[256];
    struct tls_context *c = tls_context_create(settings, why, sizeof(why));

    if (!c)
        fprintf(stderr, "%s\n", why);
    CHECK(c);
    return c;
}

/* Makes the contexts, once. */
static void start(void)
{
    struct tls_settings s = {.certificate_file = CERTS "server.crt",
                             .key_file = CERTS "server.key",
                             .alpn = "mqtt,http/1.1"};
    struct tls_settings c = {.side = TLS_CLIENT, .ca_file = CERTS "ca.crt", .alpn = "mqtt"};
    FILE *psk;

    if (servers[0])
        return;
    CHECK(tls_init() == OK);
    CHECK(system("tests/support/certs.sh build/certs") == 0);
    servers[0] = make(&s);
    clients[0] = make(&c);
    s.require_certificate = true;
    s.ca_file = CERTS "ca.crt";
    servers[1] = make(&s);
    clients[1] = make(&c); /* has none: must never get in */
    psk = fopen(CERTS "psk_fuzz", "w");
    CHECK(psk && fputs("pump:0102030405060708\n", psk) >= 0 && fclose(psk) == 0);
    s = (struct tls_settings){.psk_file = CERTS "psk_fuzz"};
    servers[2] = make(&s);
    c = (struct tls_settings){
        .side = TLS_CLIENT, .psk_identity = "pump", .psk_key = "0102030405060709"};
    clients[2] = make(&c); /* a wrong key */
}

static enum tls_verdict feed(struct tls *t, const uint8_t *p, uint32_t n, uint32_t step)
{
    uint8_t plain[512];
    enum tls_verdict verdict = TLS_MORE;

    for (uint32_t i = 0; i < n; i += step) {
        uint32_t part = n - i < step ? n - i : step;
        struct bytes input = bytes_of(p + i, part);
        uint32_t count;

        do {
            verdict = tls_open(t, &input, plain, sizeof(plain), &count);
            CHECK(count <= sizeof(plain));
        } while (verdict == TLS_DATA);
        CHECK((verdict == TLS_FAILED) == (tls_error(t) != NULL));
    }
    CHECK(tls_output_count(t) <= 3 * TLS_OUTPUT_BYTES_MAX);
    return verdict;
}

/* Both talk, what the client says is changed on its way. */
static void talk(struct tls *server, struct tls *client, const uint8_t *changes, size_t count,
                 uint32_t step)
{
    uint32_t at = 0;
    struct bytes none = bytes_of(NULL, 0);
    uint8_t plain[64];
    uint32_t plain_count;

    (void)tls_open(client, &none, plain, sizeof(plain), &plain_count);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct bytes out = tls_output(client);
        uint8_t *copy = malloc(out.n + 1);

        CHECK(copy);
        bytes_put(copy, out);
        for (size_t i = 0; i + 3 <= count && i < 3 * CHANGES_MAX; i += 3) {
            uint32_t place = get_be16(changes + i);

            if (place >= at && place - at < out.n)
                copy[place - at] = (uint8_t)(copy[place - at] + changes[i + 2]);
        }
        (void)feed(server, copy, out.n, step);
        free(copy);
        at += out.n;
        if (out.n > 0)
            tls_output_sent(client, out.n);
        out = tls_output(server);
        if (out.n == 0)
            break;
        (void)feed(client, out.p, out.n, 4096);
        tls_output_sent(server, out.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls *server, *client;
    uint32_t which, step;

    start();
    if (size < 2)
        return 0;
    which = data[0] % 3;
    step = 1 + data[1];
    server = tls_create(servers[which], NULL, NULL);
    client = tls_create(clients[which], which == 2 ? NULL : "localhost", NULL);
    CHECK(server && client);
    if (data[0] & 0x80) {
        talk(server, client, data + 2, size - 2, step);
        CHECK(which == 0 || !tls_is_established(server));
        size = 2 + (size - 2) % 3;
    }
    (void)feed(server, data + 2, (uint32_t)(size - 2), step);
    CHECK(which == 0 || !tls_is_established(server));
    CHECK(!tls_peer_common_name(server));
    CHECK(which == 0 || !tls_psk_identity(server));
    tls_close(server);
    (void)tls_output(server);
    tls_destroy(server);
    tls_destroy(client);
    return 0;
}
