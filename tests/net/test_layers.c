/* tests/net/test_layers.c -- PROXY, TLS and WebSocket before MQTT, in every combination.
 *
 * The other end is a client in memory: it writes a PROXY header, speaks TLS by net/tls and
 * WebSocket by a few lines of its own.
 */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/crypt.h"
#include "net/layers.h"
#include "net/proxy.h"

#define CERTS "build/certs/"
#define BYTES_MAX (4u << 20)

enum { WITH_PROXY = 1, WITH_TLS = 2, WITH_WS = 4, ALL_LAYERS = 7 };

static const char request[] =
    "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

struct pile {
    uint8_t *p;
    uint32_t n;
};

struct world {
    uint32_t with;  /* which layers */
    uint32_t chunk; /* bytes of one receive */
    uint32_t step;  /* bytes of one send */
    struct tls_context *contexts[2];
    struct layers *layers;
    struct tls *client;
    struct pile out;   /* of the client, on its way to the layers */
    struct pile plain; /* what the layers have opened */
    struct pile came;  /* what came to the client, without TLS */
    enum layers_verdict verdict;
    uint32_t waiting_most;
};

static void put(struct pile *to, const void *p, size_t n)
{
    assert_true(to->n + n <= BYTES_MAX);
    if (n)
        memcpy(to->p + to->n, p, n);
    to->n += (uint32_t)n;
}

static enum err sha1(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    struct bytes part = bytes_of(p, n);

    return crypt_sha1(&part, 1, digest);
}

static struct tls_context *create_context(const struct tls_settings *settings)
{
    char why[256];
    struct tls_context *context = tls_context_create(settings, why, sizeof(why));

    if (!context)
        fail_msg("%s", why);
    return context;
}

static struct tls_context *make_context(enum tls_side side, bool with_certificate)
{
    struct tls_settings settings = {.side = side, .ca_file = CERTS "ca.crt"};

    if (side == TLS_SERVER) {
        settings.certificate_file = CERTS "server.crt";
        settings.key_file = CERTS "server.key";
        settings.ca_file = with_certificate ? CERTS "ca.crt" : NULL;
        settings.require_certificate = with_certificate;
    } else if (with_certificate) {
        settings.certificate_file = CERTS "client.crt";
        settings.key_file = CERTS "client.key";
    }
    return create_context(&settings);
}

static void begin_with(struct world *w, uint32_t with, uint32_t chunk, uint32_t step, bool cert)
{
    static const struct ws_rules ws = {.header_bytes = 1024, .sha1 = sha1};
    struct layers_rules rules = {.proxy = with & WITH_PROXY ? PROXY_ANY : 0,
                                 .ws = with & WITH_WS ? &ws : NULL};

    *w = (struct world){.with = with, .chunk = chunk, .step = step};
    for (struct pile **p = (struct pile *[]){&w->out, &w->plain, &w->came, NULL}; *p; p++) {
        (*p)->p = malloc(BYTES_MAX);
        assert_non_null((*p)->p);
    }
    if (with & WITH_TLS) {
        assert_int_equal(tls_init(), OK);
        assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
        w->contexts[0] = rules.tls = make_context(TLS_SERVER, cert);
        w->contexts[1] = make_context(TLS_CLIENT, cert);
        w->client = tls_create(w->contexts[1], "localhost", NULL);
        assert_non_null(w->client);
    }
    w->layers = layers_create(&rules);
    assert_non_null(w->layers);
}

static void begin(struct world *w, uint32_t with, uint32_t chunk, uint32_t step)
{
    begin_with(w, with, chunk, step, false);
}

static void end(struct world *w)
{
    layers_destroy(w->layers);
    tls_destroy(w->client);
    tls_context_release(w->contexts[0]);
    tls_context_release(w->contexts[1]);
    free(w->out.p);
    free(w->plain.p);
    free(w->came.p);
    if (w->with & WITH_TLS)
        tls_fini();
}

/* ---- the client's side ---- */

/* What the client's TLS wants to send is on its way. */
static void flush_client(struct world *w)
{
    struct bytes b = w->client ? tls_output(w->client) : bytes_of("", 0);

    if (b.n) {
        put(&w->out, b.p, b.n);
        tls_output_sent(w->client, (uint32_t)b.n);
    }
}

static void client_takes(struct world *w, struct bytes in)
{
    enum tls_verdict verdict;
    uint8_t plain[4096];
    uint32_t n;

    if (!w->client) {
        put(&w->came, in.p, in.n);
        return;
    }
    do {
        verdict = tls_open(w->client, &in, plain, sizeof(plain), &n);
        put(&w->came, plain, n);
    } while (verdict == TLS_DATA);
    flush_client(w);
}

/* One send of the layers' output, cut at `step`. False: there was nothing. */
static bool send_some(struct world *w)
{
    struct bytes out = layers_output(w->layers);
    uint32_t n = out.n < w->step ? (uint32_t)out.n : w->step;

    if (layers_waiting(w->layers) > w->waiting_most)
        w->waiting_most = layers_waiting(w->layers);
    if (n == 0)
        return false;
    client_takes(w, bytes_of(out.p, n));
    layers_sent(w->layers, n);
    return true;
}

/* One receive, in memory of just its size. False: there was nothing. */
static bool receive_some(struct world *w)
{
    static uint8_t plain[LAYERS_PLAIN_BYTES];
    uint32_t n = w->out.n < w->chunk ? w->out.n : w->chunk, count = 0;
    uint8_t *in;

    if (n == 0 || w->verdict != LAYERS_MORE)
        return false;
    in = malloc(n);
    assert_non_null(in);
    memcpy(in, w->out.p, n);
    memmove(w->out.p, w->out.p + n, w->out.n - n);
    w->out.n -= n;
    w->verdict = layers_open(w->layers, bytes_of(in, n), plain, &count);
    free(in);
    put(&w->plain, plain, count);
    return true;
}

static void settle(struct world *w)
{
    bool more = true;

    while (more) {
        more = receive_some(w);
        more |= send_some(w);
    }
}

/* Bytes above TLS. */
static void client_says(struct world *w, const void *p, size_t n)
{
    struct bytes b = bytes_of(p, n);
    uint32_t taken;

    if (w->client) {
        assert_int_equal(tls_seal(w->client, &b, 1, &taken), OK);
        flush_client(w);
    } else {
        put(&w->out, p, n);
    }
}

/* A masked frame, or the bytes as they are where there is no WebSocket. */
static void client_sends(struct world *w, uint8_t first, const void *p, size_t n)
{
    uint8_t frame[4096 + 8] = {first, 0x80 | 126, (uint8_t)(n >> 8), (uint8_t)n, 9, 8, 7, 6};
    uint32_t at = 4;

    if (!(w->with & WITH_WS)) {
        client_says(w, p, n);
        return;
    }
    if (n < 126) {
        memmove(frame + 2, frame + 4, 4);
        frame[1] = (uint8_t)(0x80 | n);
        at = 2;
    }
    for (size_t i = 0; i < n; i++)
        frame[at + 4 + i] = ((const uint8_t *)p)[i] ^ frame[at + i % 4];
    client_says(w, frame, at + 4 + n);
}

static void greet(struct world *w)
{
    static const char header[] = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n";
    struct bytes none = bytes_of("", 0);
    uint8_t plain[16];
    uint32_t n;
    const char *answer = (const char *)w->came.p;

    if (w->with & WITH_PROXY)
        put(&w->out, header, sizeof(header) - 1);
    if (w->client) {
        assert_int_equal(tls_open(w->client, &none, plain, sizeof(plain), &n), TLS_MORE);
        flush_client(w);
        settle(w);
        assert_true(tls_is_established(w->client));
    }
    if (w->with & WITH_WS) {
        client_says(w, request, sizeof(request) - 1);
        settle(w);
        w->came.p[w->came.n] = 0;
        assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
        assert_non_null(strstr(answer, "\r\n\r\n"));
        w->came.n = 0;
    }
    settle(w);
    assert_int_equal(layers_are_open(w->layers), true);
}

/* Takes the frames off what came; all of them must be binary ones, whole. */
static void unframe(struct world *w)
{
    struct pile *c = &w->came;
    uint32_t at = 0, to = 0;

    while ((w->with & WITH_WS) && at < c->n) {
        uint64_t n = c->p[at + 1];
        uint32_t head = 2;

        assert_int_equal(c->p[at], 0x82);
        if (n == 126) {
            n = (uint64_t)c->p[at + 2] << 8 | c->p[at + 3];
            head = 4;
        } else if (n == 127) {
            n = 0;
            for (uint32_t i = 0; i < 8; i++)
                n = n << 8 | c->p[at + 2 + i];
            head = 10;
        }
        assert_true(at + head + n <= c->n);
        memmove(c->p + to, c->p + at + head, n);
        to += (uint32_t)n;
        at += head + (uint32_t)n;
    }
    if (w->with & WITH_WS)
        c->n = to;
}

/* Seals all, as a connection does: offers the rest when something has left. */
static void seal_all(struct world *w, const uint8_t *p, uint32_t n)
{
    for (uint32_t at = 0; at < n;) {
        struct bytes pieces[3];
        uint32_t taken = 0, left = n - at;
        enum err err;

        pieces[0] = bytes_of(p + at, left / 3);
        pieces[1] = bytes_of(p + at + left / 3, left / 3);
        pieces[2] = bytes_of(p + at + left / 3 * 2, left - left / 3 * 2);
        err = layers_seal(w->layers, pieces, 3, &taken);
        if (err != OK)
            assert_int_equal(err, ERR_FULL);
        at += taken;
        if (err == OK)
            assert_int_equal(at, n);
        assert_true(send_some(w) || at == n);
    }
    settle(w);
}

TEST(layers_carry_bytes_both_ways_in_every_combination)
{
    static const uint32_t chunks[] = {1, 7, 2048, LAYERS_INPUT_BYTES_MAX};
    struct world w;

    for (uint32_t i = 0; i < 8 * 4; i++) {
        begin(&w, i % 8, chunks[i / 8], i / 8 == 0 ? 1 : 3000);
        greet(&w);
        client_sends(&w, 0x82, "one", 3);
        client_sends(&w, 0x82, request, sizeof(request));
        settle(&w);
        assert_int_equal(w.verdict, LAYERS_MORE);
        assert_int_equal(w.plain.n, 3 + sizeof(request));
        assert_memory_equal(w.plain.p, "one", 3);
        assert_memory_equal(w.plain.p + 3, request, sizeof(request));
        seal_all(&w, (const uint8_t *)"answer", 6);
        unframe(&w);
        assert_int_equal(w.came.n, 6);
        assert_memory_equal(w.came.p, "answer", 6);
        assert_int_equal(layers_waiting(w.layers), 0);
        assert_null(layers_error(w.layers));
        end(&w);
    }
}

TEST(layers_send_a_megabyte_in_every_combination)
{
    uint32_t n = 1u << 20;
    uint8_t *much = malloc(n);
    struct world w;

    assert_non_null(much);
    for (uint32_t i = 0; i < n; i++)
        much[i] = (uint8_t)(i * 31 >> 3);
    for (uint32_t with = 0; with < 8; with++) {
        begin(&w, with, 2048, 50000);
        greet(&w);
        seal_all(&w, much, n);
        unframe(&w);
        assert_int_equal(w.came.n, n);
        assert_memory_equal(w.came.p, much, n);
        assert_true(w.waiting_most <= 2 * TLS_OUTPUT_BYTES_MAX);
        end(&w);
    }
    free(much);
}

TEST(layers_say_good_bye_once_and_seal_nothing_behind_it)
{
    struct world w;

    for (uint32_t with = 0; with < 8; with++) {
        begin(&w, with, 2048, 3);
        greet(&w);
        layers_close(w.layers);
        assert_false(layers_are_open(w.layers));
        settle(&w);
        layers_close(w.layers);
        assert_int_equal(layers_waiting(w.layers), 0);
        if (with & WITH_WS) {
            assert_int_equal(w.came.n, 4);
            assert_memory_equal(w.came.p, "\x88\x02\x03\xE8", 4);
        } else {
            assert_int_equal(w.came.n, 0);
        }
        end(&w);
    }
}

TEST(layers_hand_on_what_came_before_the_peer_closed)
{
    struct world w;

    for (uint32_t with = WITH_TLS; with < 8; with++) {
        begin(&w, with, LAYERS_INPUT_BYTES_MAX, 3000);
        greet(&w);
        client_sends(&w, 0x82, "last", 4);
        if (with & WITH_WS)
            client_sends(&w, 0x88, "\x03\xE8", 2);
        else
            tls_close(w.client);
        flush_client(&w);
        settle(&w);
        assert_int_equal(w.verdict, LAYERS_CLOSED);
        assert_int_equal(w.plain.n, 4);
        assert_null(layers_error(w.layers));
        end(&w);
    }
}

TEST(layers_fail_with_a_reason_and_a_last_word)
{
    static const struct {
        uint32_t with;
        const char *input, *error, *answer;
    } cases[] = {
        {WITH_PROXY, "GET / HTTP/1.1\r\n\r\n", "PROXY", NULL},
        {WITH_PROXY | WITH_TLS | WITH_WS, "\x16\x03\x01\x02", "PROXY", NULL},
        {WITH_PROXY | WITH_WS, "PROXY UNKNOWN\r\nPUT / HTTP/1.1\r\n", "websocket", "HTTP/1.1 4"},
        {WITH_TLS, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02", "", NULL},
        {WITH_TLS | WITH_WS, "GET /mqtt HTTP/1.1\r\nHost: h\r\n", "", NULL},
        {WITH_WS, "\x10\x0e", "websocket", "HTTP/1.1 4"},
    };
    struct world w;

    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = strlen(cases[i].input);

        begin(&w, cases[i].with, i % 2 ? 1 : 2048, 10);
        n = n < 8 && cases[i].with & WITH_TLS ? 4 : n;
        put(&w.out, cases[i].input, n);
        for (uint32_t k = 0; k < 40; k++) /* enough for whatever was announced */
            put(&w.out, "\r\n", 2);
        tls_destroy(w.client); /* it hears what comes as it is */
        w.client = NULL;
        settle(&w);
        assert_int_equal(w.verdict, LAYERS_FAILED);
        assert_int_equal(w.plain.n, 0);
        assert_non_null(layers_error(w.layers));
        assert_false(layers_are_open(w.layers));
        if (!strstr(layers_error(w.layers), cases[i].error))
            fail_msg("case %u: %s", i, layers_error(w.layers));
        if (cases[i].answer)
            assert_memory_equal(w.came.p, cases[i].answer, strlen(cases[i].answer));
        layers_close(w.layers); /* does nothing more */
        assert_int_equal(layers_waiting(w.layers), 0);
        end(&w);
    }
}

TEST(layers_of_a_failed_websocket_seal_nothing)
{
    struct world w;

    for (uint32_t with = WITH_WS; with < 8; with++) {
        begin(&w, with, 2048, 3000);
        greet(&w);
        client_sends(&w, 0x82, "good", 4);
        client_says(&w, "\x82\x01x", 3); /* not masked */
        settle(&w);
        assert_int_equal(w.verdict, LAYERS_FAILED);
        assert_memory_equal(w.plain.p, "good", 4);
        assert_false(layers_are_open(w.layers));
        assert_memory_equal(w.came.p, "\x88\x02\x03\xEA", 4);
        end(&w);
    }
}

TEST(layers_answer_no_pings_of_a_peer_that_does_not_read)
{
    uint8_t ping[125];
    struct world w;

    memset(ping, 'p', sizeof(ping));
    for (uint32_t with = WITH_WS; with < 8; with++) {
        begin(&w, with, 2048, 3000);
        greet(&w);
        for (uint32_t i = 0; i < 5000; i++) {
            client_sends(&w, 0x89, ping, sizeof(ping));
            while (receive_some(&w))
                continue;
        }
        assert_true(layers_waiting(w.layers) < 16384);
        settle(&w);
        w.came.n = 0;
        client_sends(&w, 0x89, "x", 1);
        settle(&w);
        assert_int_equal(w.came.n, 3);
        assert_memory_equal(w.came.p, "\x8A\x01x", 3);
        end(&w);
    }
}

TEST(layers_bound_a_header_that_never_ends)
{
    struct world w;

    for (uint32_t with = 1; with < 8; with++) {
        begin(&w, with, 1, 3000);
        if (with & WITH_PROXY)
            put(&w.out, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883", 40);
        else if (with == WITH_WS)
            put(&w.out, "GET /", 5);
        else
            put(&w.out, "\x16\x03\x01\x3f\xf0\x01\x00\xff\xff", 9); /* a hello of 64 KiB */
        for (uint32_t i = 0; i < 90000; i++)
            put(&w.out, "a", 1);
        while (receive_some(&w))
            continue;
        assert_int_equal(w.verdict, LAYERS_FAILED);
        assert_true(w.out.n > 10000); /* it did not need all of it */
        end(&w);
    }
}

TEST(layers_tell_the_peer_of_a_proxy_header_once)
{
    struct layers_peer peer;
    struct world w;

    begin(&w, ALL_LAYERS, 5, 3000);
    assert_false(layers_take_peer(w.layers, &peer));
    greet(&w);
    assert_true(layers_take_peer(w.layers, &peer));
    assert_memory_equal(peer.ip, "\xC0\x00\x02\x07", 4);
    assert_false(peer.is_v6);
    assert_int_equal(peer.port, 4711);
    assert_false(layers_take_peer(w.layers, &peer));
    end(&w);
    begin(&w, WITH_PROXY, 5, 3000);
    put(&w.out, "PROXY UNKNOWN\r\n", 15);
    settle(&w);
    assert_true(layers_are_open(w.layers));
    assert_false(layers_take_peer(w.layers, &peer));
    end(&w);
}

TEST(layers_know_who_has_proven_a_name)
{
    /* TCP over IPv4; PP2_TYPE_SSL: client certificate, verified or not, common name "pump". */
    static const char lying[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1b\1\2\3\4\5\6\7\x8\0\1\0\2"
                                "\x20\0\x0c\7\0\0\0\1\x22\0\4pump";
    char good[sizeof(lying)];
    struct world w;

    begin_with(&w, WITH_TLS | WITH_WS, 2048, 3000, true);
    assert_null(layers_identity(w.layers, false));
    assert_null(layers_common_name(w.layers));
    greet(&w);
    assert_string_equal(layers_identity(w.layers, false), "pump 1");
    assert_string_equal(layers_common_name(w.layers), "pump 1");
    assert_non_null(strstr(layers_identity(w.layers, true), layers_identity(w.layers, false)));
    end(&w);
    begin(&w, WITH_TLS, 2048, 3000);
    greet(&w);
    assert_null(layers_identity(w.layers, false));
    assert_null(layers_common_name(w.layers));
    end(&w);
    memcpy(good, lying, sizeof(good));
    good[35] = 0; /* verify: 0 is success */
    for (uint32_t i = 0; i < 2; i++) {
        begin(&w, WITH_PROXY, 7, 3000);
        put(&w.out, i ? good : lying, sizeof(lying) - 1);
        settle(&w);
        assert_true(layers_are_open(w.layers));
        if (i) {
            assert_string_equal(layers_identity(w.layers, false), "pump");
            assert_string_equal(layers_common_name(w.layers), "pump");
        } else {
            assert_null(layers_identity(w.layers, false));
            assert_null(layers_common_name(w.layers));
        }
        assert_null(layers_identity(w.layers, true));
        end(&w);
    }
}

/* Gives both ends other contexts, before anything was said. */
static void change_contexts(struct world *w, const struct tls_settings *server,
                            const struct tls_settings *client)
{
    struct layers_rules rules = {0};

    layers_destroy(w->layers);
    tls_destroy(w->client);
    tls_context_release(w->contexts[0]);
    tls_context_release(w->contexts[1]);
    w->contexts[0] = rules.tls = create_context(server);
    w->contexts[1] = create_context(client);
    w->client = tls_create(w->contexts[1], NULL, NULL);
    w->layers = layers_create(&rules);
    assert_non_null(w->client);
    assert_non_null(w->layers);
}

TEST(layers_take_a_pre_shared_key_for_no_certificate)
{
    static const char path[] = "build/certs/layers_psk";
    const struct tls_settings server = {.side = TLS_SERVER, .psk_file = path};
    const struct tls_settings client = {
        .side = TLS_CLIENT, .psk_identity = "pump 1", .psk_key = "0102030405060708"};
    struct world w;
    FILE *f;

    begin(&w, WITH_TLS, 2048, 3000);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("pump 1:0102030405060708\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    change_contexts(&w, &server, &client);
    greet(&w);
    assert_string_equal(layers_identity(w.layers, false), "pump 1");
    assert_null(layers_common_name(w.layers));
    assert_null(layers_identity(w.layers, true));
    end(&w);
}

/* What the client says instead of the layer that should come. */
static bool fails_in_handshake(uint32_t with, uint32_t good)
{
    static const char junk[] = "\xff\xff\xff\xff\xff\xff\r\n\r\n";
    bool is_handshake;
    struct world w;

    begin(&w, with, 2048, 3000);
    w.with = good; /* so far the client does as it should */
    if (!(good & WITH_TLS)) {
        tls_destroy(w.client);
        w.client = NULL;
    }
    if (good == with)
        greet(&w);
    else if (good & WITH_TLS) {
        struct bytes none = bytes_of("", 0);
        uint8_t plain[16];
        uint32_t n;

        assert_int_equal(tls_open(w.client, &none, plain, sizeof(plain), &n), TLS_MORE);
        flush_client(&w);
        settle(&w);
    }
    assert_false(layers_failed_handshake(w.layers));
    if (good == WITH_TLS)
        client_says(&w, junk, sizeof(junk) - 1);
    else
        put(&w.out, junk, sizeof(junk) - 1);
    settle(&w);
    assert_int_equal(w.verdict, LAYERS_FAILED);
    is_handshake = layers_failed_handshake(w.layers);
    w.with = with;
    end(&w);
    return is_handshake;
}

TEST(layers_tell_a_failed_handshake_from_what_fails_before_and_after_it)
{
    assert_true(fails_in_handshake(WITH_TLS, 0));
    assert_true(fails_in_handshake(WITH_TLS | WITH_WS, 0));
    assert_false(fails_in_handshake(WITH_TLS | WITH_WS, WITH_TLS)); /* no request of HTTP */
    assert_false(fails_in_handshake(WITH_TLS | WITH_WS, WITH_TLS | WITH_WS)); /* no record */
    assert_false(fails_in_handshake(WITH_PROXY | WITH_TLS, 0));               /* no header */
    assert_false(fails_in_handshake(WITH_WS, 0));
}
