/* tests/net/test_tls.c -- both ends of a connection in memory, and what can be wrong. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/heap.h"
#include "net/tls.h"
#include "net/tls_state.h"

/* Plain bytes that one end has received at most. */
#define RECEIVED_BYTES_MAX (4u << 20)
#define CERTS "build/certs/"

struct end {
    struct tls *tls;
    enum tls_verdict verdict;
    uint8_t *received;
    uint32_t received_count;
    uint32_t plain_room; /* bytes asked for at once */
};

static struct tls_context *server_context, *client_context;
static struct end server, client;
static uint32_t chunk; /* bytes carried at once */
static char why[512];

static void start_library(void)
{
    static bool is_started;

    if (is_started)
        return;
    is_started = true;
    assert_int_equal(tls_init(), OK);
    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
}

/* Whether the library is one that was built for us (see tls_library). */
static bool is_our_library(void)
{
    return !strstr(tls_library(), "OpenSSL layer");
}

static struct tls_settings server_settings(void)
{
    start_library();
    return (struct tls_settings){
        .side = TLS_SERVER, .certificate_file = CERTS "server.crt", .key_file = CERTS "server.key"};
}

static struct tls_settings client_settings(void)
{
    start_library();
    return (struct tls_settings){.side = TLS_CLIENT, .ca_file = CERTS "ca.crt"};
}

static struct tls_context *make(struct tls_settings settings)
{
    struct tls_context *c = tls_context_create(&settings, why, sizeof(why));

    if (!c)
        fail_msg("%s", why);
    return c;
}

static void end_init(struct end *e, struct tls *t)
{
    assert_non_null(t);
    *e = (struct end){.tls = t, .plain_room = TLS_RECORD_BYTES_MAX};
    e->received = malloc(RECEIVED_BYTES_MAX);
    assert_non_null(e->received);
}

static void open_ends(const char *host, const struct tls_session *session)
{
    end_init(&server, tls_create(server_context, NULL, NULL));
    end_init(&client, tls_create(client_context, host, session));
    chunk = 4096;
}

/* Both ends, of these settings. */
static void begin(struct tls_settings s, struct tls_settings c, const char *host)
{
    server_context = make(s);
    client_context = make(c);
    open_ends(host, NULL);
}

static void close_ends(void)
{
    tls_destroy(server.tls);
    tls_destroy(client.tls);
    free(server.received);
    free(client.received);
    server.tls = client.tls = NULL;
    server.received = client.received = NULL;
}

static void finish(void)
{
    close_ends();
    tls_context_release(server_context);
    tls_context_release(client_context);
}

/* Gives bytes to an end and takes all plain ones. */
static void feed(struct end *e, struct bytes input)
{
    uint32_t count;

    do {
        assert_true(e->received_count + e->plain_room <= RECEIVED_BYTES_MAX);
        e->verdict =
            tls_open(e->tls, &input, e->received + e->received_count, e->plain_room, &count);
        e->received_count += count;
    } while (e->verdict == TLS_DATA);
    assert_int_equal(input.n, 0);
}

/* Carries what one end has to send to the other. Returns whether there was anything. */
static bool carry(struct end *from, struct end *to)
{
    struct bytes out = tls_output(from->tls);
    bool any = out.n > 0;

    while (out.n > 0) {
        uint32_t n = out.n < chunk ? out.n : chunk;
        uint8_t *copy = malloc(n); /* its own block: nobody may read behind it */

        memcpy(copy, out.p, n);
        feed(to, bytes_of(copy, n));
        free(copy);
        tls_output_sent(from->tls, n);
        out = tls_output(from->tls);
    }
    return any;
}

/* Lets both talk until neither has anything to say. */
static void talk(void)
{
    bool any;

    feed(&client, bytes_of(NULL, 0));
    do {
        any = carry(&client, &server);
        any |= carry(&server, &client);
    } while (any);
}

static void seal(struct end *e, const void *p, uint32_t n)
{
    struct bytes piece = bytes_of(p, n);
    uint32_t taken;

    assert_int_equal(tls_seal(e->tls, &piece, 1, &taken), OK);
    assert_int_equal(taken, n);
}

static void assert_established(void)
{
    talk();
    if (!tls_is_established(server.tls) || !tls_is_established(client.tls))
        fail_msg("server: %s, client: %s", tls_error(server.tls), tls_error(client.tls));
}

/* A word each way. */
static void assert_speaks(void)
{
    seal(&client, "ping", 4);
    talk();
    assert_true(server.received_count >= 4);
    assert_memory_equal(server.received + server.received_count - 4, "ping", 4);
    seal(&server, "pong", 4);
    talk();
    assert_true(client.received_count >= 4);
    assert_memory_equal(client.received + client.received_count - 4, "pong", 4);
}

static void assert_works(struct tls_settings s, struct tls_settings c, const char *host)
{
    begin(s, c, host);
    assert_established();
    assert_speaks();
    assert_null(tls_error(server.tls));
    assert_null(tls_error(client.tls));
}

static void assert_failed(const struct end *e, const char *words)
{
    assert_int_equal(e->verdict, TLS_FAILED);
    assert_false(tls_is_established(e->tls));
    assert_string_equal(tls_error(e->tls), words);
}

/* ---- good ---- */

TEST(tls_speaks_1_3_with_the_best_of_everything)
{
    assert_works(server_settings(), client_settings(), "localhost");
    assert_string_equal(tls_version_name(server.tls), "TLSv1.3");
    assert_string_equal(tls_cipher_name(server.tls), "TLS_AES_128_GCM_SHA256");
    assert_string_equal(tls_server_name(server.tls), "localhost");
    assert_null(tls_server_name(client.tls));
    assert_false(tls_was_resumed(server.tls));
    assert_null(tls_peer_common_name(server.tls));
    assert_null(tls_alpn(server.tls));
    assert_true(strstr(tls_library(), "wolfSSL") != NULL);
    finish();
}

TEST(tls_speaks_with_keys_of_each_kind)
{
    static const char *const kinds[] = {"server", "server_rsa", "server_ed25519", "chain_server"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tls_settings s = server_settings();
        char certificate[64], key[64];

        snprintf(certificate, sizeof(certificate), CERTS "%s.crt", kinds[i]);
        snprintf(key, sizeof(key), CERTS "%s.key", kinds[i]);
        s.certificate_file = certificate;
        s.key_file = key;
        assert_works(s, client_settings(), "localhost");
        finish();
    }
}

TEST(tls_speaks_1_2_with_those_who_know_no_better)
{
    static const char *const kinds[][2] = {{"server", "ECDHE_ECDSA"}, {"server_rsa", "ECDHE_RSA"}};

    for (int i = 0; i < 2; i++) {
        struct tls_settings s = server_settings();
        struct tls_settings c = client_settings();
        char certificate[64], key[64];

        snprintf(certificate, sizeof(certificate), CERTS "%s.crt", kinds[i][0]);
        snprintf(key, sizeof(key), CERTS "%s.key", kinds[i][0]);
        s.certificate_file = certificate;
        s.key_file = key;
        c.version_max = TLS_VERSION_1_2;
        assert_works(s, c, "localhost");
        assert_string_equal(tls_version_name(server.tls), "TLSv1.2");
        assert_non_null(strstr(tls_cipher_name(server.tls), kinds[i][1]));
        assert_non_null(strstr(tls_cipher_name(server.tls), "AES_128_GCM"));
        assert_string_equal(tls_server_name(server.tls), "localhost");
        finish();
    }
}

TEST(tls_ciphers_can_be_chosen)
{
    struct tls_settings c = client_settings();

    c.ciphers_tls1_3 = "TLS_CHACHA20_POLY1305_SHA256";
    c.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    assert_works(server_settings(), c, "localhost");
    assert_string_equal(tls_cipher_name(server.tls), "TLS_CHACHA20_POLY1305_SHA256");
    finish();
    c.version_max = TLS_VERSION_1_2;
    assert_works(server_settings(), c, "localhost");
    assert_non_null(strstr(tls_cipher_name(server.tls), "AES_256_GCM_SHA384"));
    finish();
}

/* Fed one byte at a time, read one byte at a time. */
TEST(tls_takes_any_pieces)
{
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();

    s.require_certificate = true;
    s.ca_file = CERTS "ca.crt";
    c.certificate_file = CERTS "client.crt";
    c.key_file = CERTS "client.key";
    begin(s, c, "localhost");
    chunk = 1;
    server.plain_room = client.plain_room = 1;
    assert_established();
    assert_speaks();
    assert_int_equal(server.received_count, 4);
    finish();
}

TEST(tls_carries_much_through_small_windows)
{
    enum { BYTES = 1 << 20 };
    uint8_t *big = malloc(BYTES);
    uint32_t done = 0;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    for (uint32_t i = 0; i < BYTES; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 24);
    chunk = 1021;
    server.plain_room = 777;
    while (done < BYTES) {
        struct bytes rest = bytes_of(big + done, BYTES - done);
        uint32_t taken;
        enum err err = tls_seal(client.tls, &rest, 1, &taken);

        assert_true(err == OK || err == ERR_FULL);
        assert_int_equal(err == OK, taken == rest.n);
        assert_true(tls_output_count(client.tls) <= TLS_OUTPUT_BYTES_MAX);
        done += taken;
        talk();
    }
    assert_int_equal(server.received_count, BYTES);
    assert_memory_equal(server.received, big, BYTES);
    free(big);
    finish();
}

TEST(tls_gathers_pieces_into_full_records)
{
    struct bytes pieces[700];
    uint8_t part[100];
    uint32_t taken, before;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    for (uint32_t i = 0; i < 700; i++)
        pieces[i] = bytes_of(part, i == 0 ? 0 : sizeof(part));
    memset(part, 'x', sizeof(part));
    before = tls_output_count(server.tls);
    assert_int_equal(tls_seal(server.tls, pieces, 700, &taken), OK);
    assert_int_equal(taken, 69900);
    /* 5 records: header, content type, tag */
    assert_int_equal(tls_output_count(server.tls) - before, 69900 + 5 * (5 + 1 + 16));
    talk();
    assert_int_equal(client.received_count, 69900);
    finish();
}

TEST(tls_output_stays_where_it_is_while_lent)
{
    struct bytes view;
    uint8_t copy[64], junk[8000] = {0};

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    seal(&server, "first", 5);
    view = tls_output(server.tls);
    assert_true(view.n > 5 && view.n <= sizeof(copy));
    memcpy(copy, view.p, view.n);
    for (int i = 0; i < 10; i++)
        seal(&server, junk, sizeof(junk));
    assert_ptr_equal(tls_output(server.tls).p, view.p);
    assert_int_equal(tls_output(server.tls).n, view.n);
    assert_memory_equal(view.p, copy, view.n);
    talk();
    assert_int_equal(client.received_count, 5 + 80000);
    assert_int_equal(tls_output_count(server.tls), 0);
    finish();
}

TEST(tls_closes_with_a_notice_and_stays_open_the_other_way)
{
    begin(server_settings(), client_settings(), "localhost");
    tls_close(client.tls); /* nothing: not established */
    assert_established();
    seal(&client, "last", 4);
    tls_close(client.tls);
    tls_close(client.tls);
    talk();
    assert_int_equal(server.verdict, TLS_CLOSED);
    assert_int_equal(server.received_count, 4);
    assert_null(tls_error(server.tls));
    seal(&server, "more", 4);
    tls_close(server.tls);
    talk();
    assert_int_equal(client.received_count, 4);
    assert_int_equal(client.verdict, TLS_CLOSED);
    finish();
}

TEST(tls_cut_short_is_not_closed)
{
    struct bytes out;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    seal(&client, "whole", 5);
    out = tls_output(client.tls);
    feed(&server, bytes_of(out.p, out.n - 1));
    assert_int_equal(server.verdict, TLS_MORE);
    assert_int_equal(server.received_count, 0);
    finish();
}

/* ---- who the server is ---- */

static void refuses_server(const char *name, const char *ca, const char *host, const char *words)
{
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();
    char certificate[64], key[64];

    snprintf(certificate, sizeof(certificate), CERTS "%s.crt", name);
    snprintf(key, sizeof(key), CERTS "%s.key", name);
    s.certificate_file = certificate;
    s.key_file = key;
    c.ca_file = ca;
    begin(s, c, host);
    talk();
    assert_failed(&client, words);
    assert_int_equal(server.verdict, TLS_FAILED);
    assert_true(strncmp(tls_error(server.tls), "peer refused", 12) == 0);
    finish();
}

TEST(tls_client_refuses_a_server_it_should_not_trust)
{
    refuses_server("expired", CERTS "ca.crt", "localhost", "certificate expired");
    refuses_server("other_server", CERTS "ca.crt", "localhost", "unknown CA");
    refuses_server("wrong_host", CERTS "ca.crt", "localhost", "host name mismatch");
    refuses_server("wrong_host", CERTS "ca.crt", "127.0.0.1", "host name mismatch");
    refuses_server("server", CERTS "ca.crt", "127.0.0.2", "host name mismatch");
    refuses_server("server", CERTS "ca.crt", "a.b.example.com", "host name mismatch");
    refuses_server("server", CERTS "ca.crt", "example.com", "host name mismatch");
    refuses_server("client", CERTS "ca.crt", "pump1.test", "certificate not for this use");
}

TEST(tls_client_takes_names_and_addresses_of_the_certificate)
{
    static const char *const hosts[] = {"localhost", "LOCALHOST", "localhost.", "a.example.com",
                                        "127.0.0.1", "::1",       "broker.test"};

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        assert_works(server_settings(), client_settings(), hosts[i]);
        finish();
    }
}

TEST(tls_client_takes_the_common_name_where_there_is_nothing_else)
{
    struct tls_settings s = server_settings();

    s.certificate_file = CERTS "cn_server.crt";
    s.key_file = CERTS "cn_server.key";
    assert_works(s, client_settings(), "broker.test");
    finish();
    refuses_server("cn_server", CERTS "ca.crt", "localhost", "host name mismatch");
}

TEST(tls_client_that_accepts_any_takes_any)
{
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();

    s.certificate_file = CERTS "other_server.crt";
    s.key_file = CERTS "other_server.key";
    c.accept_any = true;
    assert_works(s, c, "elsewhere.test");
    finish();
}

TEST(tls_client_looks_into_the_revocation_list)
{
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();

    c.crl_file = CERTS "ca.crl";
    assert_works(s, c, "localhost");
    finish();
    s.certificate_file = CERTS "revoked_server.crt";
    s.key_file = CERTS "revoked_server.key";
    begin(s, c, "localhost");
    talk();
    assert_failed(&client, "certificate revoked");
    finish();
}

/* ---- who the client is ---- */

static struct tls_settings strict_server(void)
{
    struct tls_settings s = server_settings();

    s.require_certificate = true;
    s.ca_file = CERTS "ca.crt";
    s.crl_file = CERTS "ca.crl";
    return s;
}

static struct tls_settings client_named(const char *name, char files[2][64])
{
    struct tls_settings c = client_settings();

    snprintf(files[0], 64, CERTS "%s.crt", name);
    snprintf(files[1], 64, CERTS "%s.key", name);
    c.certificate_file = files[0];
    c.key_file = files[1];
    return c;
}

TEST(tls_server_knows_its_clients_by_certificate)
{
    char files[2][64];

    assert_works(strict_server(), client_named("client", files), "localhost");
    assert_string_equal(tls_version_name(server.tls), "TLSv1.3");
    assert_string_equal(tls_peer_common_name(server.tls), "pump 1");
    assert_string_equal(tls_peer_subject(server.tls), "CN=pump 1,OU=Pumps,O=Test,C=DE");
    assert_string_equal(tls_peer_name(server.tls, TLS_NAME_DNS, 0), "pump1.test");
    assert_string_equal(tls_peer_name(server.tls, TLS_NAME_DNS, 1), "pump-one.test");
    assert_null(tls_peer_name(server.tls, TLS_NAME_DNS, 2));
    assert_string_equal(tls_peer_name(server.tls, TLS_NAME_EMAIL, 0), "pump1@example.com");
    assert_string_equal(tls_peer_name(server.tls, TLS_NAME_URI, 0), "https://example.com/pump/1");
    finish();
    assert_works(strict_server(), client_named("client_rsa", files), "localhost");
    assert_string_equal(tls_peer_common_name(server.tls), "pump rsa");
    assert_null(tls_peer_name(server.tls, TLS_NAME_DNS, 0));
    finish();
    assert_works(strict_server(), client_named("client_ed25519", files), "localhost");
    finish();
}

/* The expectation is what `openssl x509 -subject -nameopt RFC2253` says. */
TEST(tls_subject_is_written_as_openssl_does)
{
    char files[2][64];

    assert_works(strict_server(), client_named("client_odd", files), "localhost");
    assert_string_equal(tls_peer_common_name(server.tls), " pump =2 ");
    assert_string_equal(
        tls_peer_subject(server.tls),
        "CN=\\ pump =2\\ ,UID=u1+OU=\\#first,O=Wind\\, \\\"Wasser\\\" \\+ \\<S\\C3\\B6hne\\>\\;,"
        "DC=test");
    finish();
}

static void refuses_client(struct tls_settings c, const char *words)
{
    begin(strict_server(), c, "localhost");
    talk();
    assert_failed(&server, words);
    assert_null(tls_peer_common_name(server.tls));
    assert_null(tls_peer_subject(server.tls));
    assert_int_equal(client.verdict, TLS_FAILED);
    finish();
}

TEST(tls_server_refuses_a_client_it_should_not_trust)
{
    char files[2][64];

    refuses_client(client_settings(), "client gave no certificate");
    refuses_client(client_named("other_client", files), "unknown CA");
    refuses_client(client_named("expired_client", files), "certificate expired");
    refuses_client(client_named("revoked", files), "certificate revoked");
    refuses_client(client_named("server", files), "certificate not for this use");
}

/* ---- nothing shared ---- */

TEST(tls_refuses_where_nothing_is_shared)
{
    static const char version[] = "no shared version, or no shared cipher of it";
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();

    s.ciphers_tls1_3 = "TLS_AES_256_GCM_SHA384";
    c.ciphers_tls1_3 = "TLS_AES_128_GCM_SHA256";
    c.version_min = TLS_VERSION_1_3;
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, version);
    assert_int_equal(client.verdict, TLS_FAILED);
    finish();
    c = client_settings();
    c.version_max = TLS_VERSION_1_2;
    c.ciphers = "ECDHE-RSA-AES128-GCM-SHA256"; /* the key is EC */
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, "no shared cipher");
    assert_failed(&client, tls_alert_words(40)); /* handshake_failure */
    finish();
    s.version_min = TLS_VERSION_1_3;
    c.ciphers = NULL;
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, version);
    finish();
}

/* Where certificates decide, 1.2 is spoken only if somebody has written it. */
TEST(tls_client_certificates_want_1_3)
{
    struct tls_settings s = strict_server();
    char files[2][64];
    struct tls_settings c = client_named("client", files);

    c.version_max = TLS_VERSION_1_2;
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, "no shared version, or no shared cipher of it");
    finish();
    s.version_min = TLS_VERSION_1_2;
    assert_works(s, c, "localhost");
    assert_string_equal(tls_version_name(server.tls), "TLSv1.2");
    assert_string_equal(tls_peer_common_name(server.tls), "pump 1");
    assert_null(tls_session_create(client.tls));
    finish();
    c = client_settings();
    c.version_max = TLS_VERSION_1_2;
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, "client gave no certificate");
    finish();
}

TEST(tls_alpn_is_agreed_on_or_refused)
{
    struct tls_settings s = server_settings();
    struct tls_settings c = client_settings();

    s.alpn = "mqtt,http/1.1";
    c.alpn = "mqtt";
    assert_works(s, c, "localhost");
    assert_string_equal(tls_alpn(server.tls), "mqtt");
    assert_string_equal(tls_alpn(client.tls), "mqtt");
    finish();
    c.alpn = "http/1.1";
    assert_works(s, c, "localhost");
    assert_string_equal(tls_alpn(server.tls), "http/1.1");
    finish();
    c.alpn = NULL;
    assert_works(s, c, "localhost");
    assert_null(tls_alpn(server.tls));
    finish();
    c.alpn = "x-amzn-mqtt-ca";
    begin(s, c, "localhost");
    talk();
    assert_failed(&server, "no shared protocol (ALPN)");
    assert_failed(&client, "peer refused: no shared protocol (ALPN)");
    finish();
}

/* ---- resuming ---- */

/* Closes both ends and opens them anew with the session; the contexts stay. */
static void again(const char *host)
{
    struct tls_session *session = tls_session_create(client.tls);

    assert_non_null(session);
    close_ends();
    open_ends(host, session);
    tls_session_destroy(session);
    assert_established();
    assert_speaks();
}

TEST(tls_resumes_with_any_context_of_the_process)
{
    struct tls_settings s = server_settings();

    assert_works(s, client_settings(), "localhost");
    again("localhost");
    assert_true(tls_was_resumed(server.tls));
    assert_true(tls_was_resumed(client.tls));
    tls_context_release(server_context);
    server_context = make(s); /* as after a reload */
    again("localhost");
    assert_true(tls_was_resumed(server.tls));
    finish();
}

TEST(tls_resumes_1_2_too)
{
    struct tls_settings c = client_settings();

    c.version_max = TLS_VERSION_1_2;
    assert_works(server_settings(), c, "localhost");
    again("localhost");
    assert_true(tls_was_resumed(server.tls));
    assert_true(tls_was_resumed(client.tls));
    finish();
}

TEST(tls_tickets_outlive_one_change_of_keys)
{
    assert_works(server_settings(), client_settings(), "localhost");
    tls_tickets_rotate(1);
    again("localhost");
    assert_true(tls_was_resumed(server.tls));
    tls_tickets_rotate(2);
    again("localhost");
    assert_false(tls_was_resumed(server.tls));
    finish();
}

TEST(tls_session_is_for_one_server_name)
{
    assert_works(server_settings(), client_settings(), "localhost");
    again("broker.test");
    assert_false(tls_was_resumed(client.tls));
    finish();
}

/* One that was made without looking at certificates must not spare the look. */
TEST(tls_session_is_for_one_context)
{
    struct tls_settings c = client_settings();

    c.accept_any = true;
    assert_works(server_settings(), c, "localhost");
    again("localhost");
    assert_true(tls_was_resumed(client.tls));
    tls_context_release(client_context);
    client_context = make(client_settings());
    again("localhost");
    assert_false(tls_was_resumed(client.tls));
    finish();
}

TEST(tls_gives_no_tickets_where_told)
{
    struct tls_settings s = server_settings();

    s.no_tickets = true;
    assert_works(s, client_settings(), "localhost");
    assert_null(tls_session_create(client.tls));
    finish();
}

/* A ticket of an open listener must not open one that wants certificates. */
TEST(tls_ticket_is_no_certificate)
{
    struct tls_session *session;
    char files[2][64];

    assert_works(server_settings(), client_settings(), "localhost");
    session = tls_session_create(client.tls);
    assert_non_null(session);
    close_ends();
    tls_context_release(server_context);
    server_context = make(strict_server());
    open_ends("localhost", session);
    talk();
    assert_failed(&server, "client gave no certificate");
    tls_session_destroy(session);
    finish();
    assert_works(strict_server(), client_named("client", files), "localhost");
    assert_null(tls_session_create(client.tls));
    finish();
}

/* ---- pre-shared keys ---- */

static const char *psk_file(const char *text)
{
    static const char path[] = "build/certs/psk";
    FILE *f;

    start_library();
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static struct tls_settings psk_server(void)
{
    return (struct tls_settings){.side = TLS_SERVER,
                                 .psk_file = psk_file("# keys\npump:0102030405060708\n"
                                                      "zebra:a0\nant:B0b1B2\r\n"),
                                 .psk_hint = "hint"};
}

static struct tls_settings psk_client(const char *identity, const char *key)
{
    return (struct tls_settings){.side = TLS_CLIENT, .psk_identity = identity, .psk_key = key};
}

TEST(tls_psk_tells_who_the_client_is)
{
    assert_works(psk_server(), psk_client("pump", "0102030405060708"), NULL);
    assert_string_equal(tls_psk_identity(server.tls), "pump");
    assert_false(tls_was_resumed(server.tls));
    finish();
    assert_works(psk_server(), psk_client("ant", "b0b1b2"), NULL);
    assert_string_equal(tls_psk_identity(server.tls), "ant");
    finish();
}

TEST(tls_psk_refuses_who_does_not_have_the_key)
{
    begin(psk_server(), psk_client("pump", "0102030405060709"), NULL);
    talk();
    assert_failed(&server, "wrong PSK");
    assert_null(tls_psk_identity(server.tls));
    finish();
    begin(psk_server(), psk_client("nobody", "0102030405060708"), NULL);
    talk();
    assert_failed(&server, "unknown PSK identity");
    assert_false(tls_is_established(client.tls));
    finish();
    begin(psk_server(), client_settings(), "localhost");
    talk();
    assert_int_equal(server.verdict, TLS_FAILED);
    finish();
}

/* ---- hostile ---- */

/* A server of its own that is fed `n` bytes in pieces; it must fail and not crash. */
static void feed_server(const uint8_t *p, uint32_t n, uint32_t step)
{
    for (uint32_t i = 0; i < n; i += step)
        feed(&server, bytes_of(p + i, n - i < step ? n - i : step));
}

TEST(tls_garbage_is_refused_with_words)
{
    static const uint8_t connect[] = {0x10, 0x0c, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0};

    begin(server_settings(), client_settings(), "localhost");
    feed_server(connect, sizeof(connect), 1);
    assert_failed(&server, "not TLS");
    feed_server(connect, sizeof(connect), 5); /* stays failed */
    assert_failed(&server, "not TLS");
    finish();
}

/* Every byte of what a client says in its handshake is changed once, and every prefix cut off and
 * followed by garbage. Nothing may crash, and nobody may be taken for established who is not. */
TEST(tls_broken_handshakes_are_refused_at_each_byte)
{
    char files[2][64];
    uint32_t total = 0;

    server_context = make(strict_server());
    client_context = make(client_named("client", files));
    for (uint32_t at = 0; at == 0 || at < total; at += at < 700 ? 3 : 29) {
        uint32_t seen = 0;
        bool any = true;

        open_ends("localhost", NULL);
        feed(&client, bytes_of(NULL, 0));
        while (any) {
            struct bytes out = tls_output(client.tls);
            uint8_t *copy = malloc(out.n + 1);

            bytes_put(copy, out);
            if (at >= seen && at - seen < out.n)
                copy[at - seen] ^= 0x41;
            any = out.n > 0;
            feed(&server, bytes_of(copy, out.n));
            free(copy);
            seen += out.n;
            if (any)
                tls_output_sent(client.tls, out.n);
            any |= carry(&server, &client);
        }
        if (seen > total)
            total = seen;
        assert_true(!tls_is_established(server.tls) || tls_error(server.tls) == NULL);
        if (at > 5) /* headers of records have bytes nobody looks at */
            assert_false(tls_is_established(server.tls) && !tls_is_established(client.tls));
        close_ends();
    }
    tls_context_release(server_context);
    tls_context_release(client_context);
    assert_true(total > 500);
}

TEST(tls_forged_record_ends_the_connection)
{
    uint8_t copy[128];
    struct bytes out;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    seal(&client, "money", 5);
    out = tls_output(client.tls);
    bytes_put(copy, out);
    copy[7] ^= 1;
    feed(&server, bytes_of(copy, out.n));
    assert_int_equal(server.verdict, TLS_FAILED);
    assert_string_equal(tls_error(server.tls), "record forged or broken");
    assert_int_equal(server.received_count, 0);
    finish();
}

/* One failed connection leaves nothing behind for the next. */
TEST(tls_failures_do_not_leak_into_others)
{
    struct tls *bystander;
    struct end other;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    bystander = tls_create(server_context, NULL, NULL);
    end_init(&other, bystander);
    feed(&other, BYTES_LIT("\x17\x03\x03\x40\x01 this is not TLS at all"));
    feed(&other, BYTES_LIT("garbage"));
    assert_speaks();
    tls_destroy(bystander);
    free(other.received);
    finish();
}

/* A record of 1 byte for each byte of a hello that never ends. */
TEST(tls_handshake_has_a_bound)
{
    static const uint8_t head[] = {22, 3, 1, 0, 4, 1, 0, 0x40, 0};
    static const uint8_t tiny[] = {22, 3, 1, 0, 1, 3};
    uint32_t fed = sizeof(head);

    begin(server_settings(), client_settings(), "localhost");
    feed(&server, bytes_of(head, sizeof(head)));
    while (server.verdict == TLS_MORE && fed < 2 * TLS_HANDSHAKE_BYTES_MAX) {
        feed(&server, bytes_of(tiny, sizeof(tiny)));
        fed += sizeof(tiny);
    }
    assert_int_equal(server.verdict, TLS_FAILED);
    assert_true(fed <= TLS_HANDSHAKE_BYTES_MAX + sizeof(tiny));
    finish();
}

TEST(tls_keys_change_under_way)
{
    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    for (int i = 0; i < 500; i++) {
        tls_update_keys(client.tls);
        assert_speaks();
    }
    finish();
}

/* Who only asks for new keys is thrown out, and never makes us hold many answers. */
TEST(tls_records_without_data_have_a_bound)
{
    uint32_t count = 0;

    begin(server_settings(), client_settings(), "localhost");
    assert_established();
    for (; server.verdict == TLS_MORE && count < 1000; count++) {
        tls_update_keys(client.tls);
        carry(&client, &server); /* answers stay where they are */
    }
    assert_string_equal(tls_error(server.tls), "too many records without data");
    assert_in_range(count, 50, 200);
    assert_true(tls_output_count(server.tls) < 16384);
    finish();
}

/* ---- a list of protocols that lies ---- */

/* A ClientHello with this body of its ALPN extension; returns its length. */
static uint32_t put_hello(uint8_t *to, struct bytes alpn)
{
    uint32_t extensions = 4 + alpn.n;
    uint32_t body = 34 + 1 + 4 + 2 + 2 + extensions;
    uint8_t *p = to;

    *p++ = 22;
    p = put_be16(p, 0x0301);
    p = put_be16(p, (uint16_t)(body + 4));
    p = put_be32(p, 0x01000000 | body);
    p = put_be16(p, 0x0303);
    memset(p, 7, 32);
    p += 32;
    *p++ = 0;
    p = put_be16(p, 2);
    p = put_be16(p, 0xc02b);
    *p++ = 1;
    *p++ = 0;
    p = put_be16(p, (uint16_t)extensions);
    p = put_be16(p, 16);
    p = put_be16(p, (uint16_t)alpn.n);
    p = bytes_put(p, alpn);
    return (uint32_t)(p - to);
}

static bool hello_passes(struct bytes alpn, uint32_t step)
{
    uint8_t hello[512];
    uint32_t n = put_hello(hello, alpn);
    struct tls_hello h;
    enum err err = OK;

    tls_hello_init(&h);
    for (uint32_t i = 0; err == OK && i < n; i += step)
        err = tls_hello_look(&h, bytes_of(hello + i, n - i < step ? n - i : step));
    assert_int_equal(err == OK, h.is_whole);
    return err == OK;
}

TEST(tls_hello_wants_lists_of_protocols_to_add_up)
{
    for (uint32_t step = 1; step < 200; step += 99) {
        assert_true(hello_passes(BYTES_LIT("\0\5\4mqtt"), step));
        assert_true(hello_passes(BYTES_LIT("\0\7\4mqtt\1x"), step));
        assert_false(hello_passes(BYTES_LIT(""), step));
        assert_false(hello_passes(BYTES_LIT("\0"), step));
        assert_false(hello_passes(BYTES_LIT("\0\0"), step));
        assert_false(hello_passes(BYTES_LIT("\0\6\4mqtt"), step));
        assert_false(hello_passes(BYTES_LIT("\0\4\4mqtt"), step));
        assert_false(hello_passes(BYTES_LIT("\0\6\4mqtt\0"), step));
        assert_false(hello_passes(BYTES_LIT("\0\6\4mqtt\4"), step));
        assert_false(hello_passes(BYTES_LIT("\0\7\4mqtt\4m"), step));
    }
}

/* The library alone would compare behind the end of the list (CVE-2026-3547). */
TEST(tls_server_refuses_a_list_of_protocols_that_lies)
{
    struct tls_settings s = server_settings();
    uint8_t hello[512];

    s.alpn = "mqtt";
    begin(s, client_settings(), "localhost");
    feed(&server, bytes_of(hello, put_hello(hello, BYTES_LIT("\0\7\4abcd\4m"))));
    assert_failed(&server, "hello malformed");
    finish();
}

TEST(tls_hello_is_alone_in_its_record)
{
    uint8_t hello[512];
    uint32_t n = put_hello(hello, BYTES_LIT("\0\5\4mqtt"));
    struct tls_hello h;

    hello[4] += 1; /* the record is longer than the hello */
    hello[n] = 1;
    tls_hello_init(&h);
    assert_int_equal(tls_hello_look(&h, bytes_of(hello, n + 1)), ERR_PEER);
}

/* ---- settings ---- */

static void refuses_settings(struct tls_settings s, const char *words)
{
    why[0] = 0;
    assert_null(tls_context_create(&s, why, sizeof(why)));
    if (!strstr(why, words))
        fail_msg("%s", why);
}

TEST(tls_settings_that_are_wrong_are_explained)
{
    struct tls_settings s = server_settings();

    if (is_our_library()) {
        s.key_file = CERTS "client.key";
        refuses_settings(s, CERTS "client.key: is not the key of the certificate");
        s.key_file = CERTS "client_rsa.key";
        refuses_settings(s, CERTS "client_rsa.key: is not the key of the certificate");
    }
    s.key_file = CERTS "nothing.key";
    refuses_settings(s, "nothing.key: cannot be read: No such file");
    s.key_file = CERTS "server.crt";
    refuses_settings(s, "server.crt: has no private key");
    s.key_file = NULL;
    refuses_settings(s, "without a key");
    s = server_settings();
    s.certificate_file = CERTS "server.key";
    refuses_settings(s, "server.key: has no certificate");
    s.certificate_file = "build";
    refuses_settings(s, "build: is no file");
    s.certificate_file = NULL;
    refuses_settings(s, "a key without a certificate");
    s.key_file = NULL;
    refuses_settings(s, "needs certfile and keyfile");
    s = server_settings();
    s.require_certificate = true;
    refuses_settings(s, "require_certificate needs the CAs");
    s.ca_file = CERTS "server.key";
    refuses_settings(s, "server.key: has no CA certificates");
    s.require_certificate = false; /* nobody is judged by them, and still they must be right */
    refuses_settings(s, "server.key: has no CA certificates");
    s.ca_file = CERTS "ca.crt";
    s.crl_file = CERTS "ca.crt";
    refuses_settings(s, "ca.crt: has no revocation list");
    s = server_settings();
    s.ciphers = "NOTHING-LIKE-IT";
    refuses_settings(s, "ciphers: none of NOTHING-LIKE-IT");
    s.ciphers = NULL;
    s.ciphers_tls1_3 = "TLS_NULL";
    refuses_settings(s, "TLS_NULL is not known");
    s.ciphers_tls1_3 = NULL;
    s.psk_file = psk_file("pump:01\n");
    refuses_settings(s, "exclude each other");
}

TEST(tls_psk_files_that_are_wrong_are_explained)
{
    struct tls_settings s = psk_server();

    psk_file("pump:01\nant:0g\n");
    refuses_settings(s, "psk:2: a key is written in hex digits");
    psk_file("pump:012\n");
    refuses_settings(s, "psk:1: a key has 2 to 128 hex digits");
    psk_file(":01\n");
    refuses_settings(s, "psk:1: an identity has");
    psk_file("pump\n");
    refuses_settings(s, "psk:1: write identity:hexkey");
    psk_file("# nothing\n");
    refuses_settings(s, "has no key");
    s.psk_file = CERTS "no_such_psk";
    refuses_settings(s, "no_such_psk: cannot be read");
}

TEST(tls_says_when_the_certificate_expires)
{
    struct tls_settings s = server_settings();
    uint64_t now = clock_wall_ms();
    struct tls_context *c = make(s);

    assert_in_range(tls_context_days_left(c, now), 3645, 3651);
    now = (uint64_t)tls_context_expires(c) * 1000;
    assert_int_equal(tls_context_days_left(c, now - 86400000), 1);
    assert_int_equal(tls_context_days_left(c, now - 86399000), 0);
    assert_int_equal(tls_context_days_left(c, now), 0);
    assert_int_equal(tls_context_days_left(c, now + 1000), -1);
    assert_int_equal(tls_context_days_left(c, now + 86400000), -1);
    assert_int_equal(tls_context_days_left(c, now + 86401000), -2);
    now = clock_wall_ms();
    tls_context_release(tls_context_ref(c));
    tls_context_release(c);
    s.certificate_file = CERTS "expired.crt"; /* no reason not to start */
    s.key_file = CERTS "expired.key";
    c = make(s);
    assert_true(tls_context_days_left(c, now) <= -9 && tls_context_days_left(c, now) >= -12);
    assert_true(tls_context_expires(c) < (int64_t)(now / 1000));
    tls_context_release(c);
    c = make(psk_server());
    assert_int_equal(tls_context_days_left(c, now), INT32_MAX);
    tls_context_release(c);
}

static struct tls_settings stapling(const char *response, uint64_t now_ms)
{
    struct tls_settings s = server_settings();

    s.ocsp_file = response;
    s.now_ms = now_ms;
    return s;
}

TEST(tls_staples_until_the_response_has_expired)
{
    uint64_t now = clock_wall_ms(), end;
    struct tls_context *c;

    if (!is_our_library()) {
        refuses_settings(stapling(CERTS "server_week.ocsp", now), "cannot staple");
        return;
    }
    start_library();
    now = clock_wall_ms();
    c = make(stapling(CERTS "server_week.ocsp", now));
    end = (uint64_t)tls_context_staple_ends(c) * 1000;
    assert_in_range(end - now, 6 * 86400000ull, 7 * 86400000ull);
    assert_in_range(end - (uint64_t)tls_context_staple_due(c) * 1000, 7 * 86400000ull / 4 - 1000,
                    7 * 86400000ull / 4);
    assert_in_range(tls_context_staple(c, now).n, 300, 1000);
    assert_int_equal(tls_context_staple(c, end).n, tls_context_staple(c, now).n);
    assert_int_equal(tls_context_staple(c, end + 1000).n, 0);
    tls_context_release(c);
    c = make(stapling(CERTS "server_week.ocsp", end)); /* the last second */
    tls_context_release(c);
    refuses_settings(stapling(CERTS "server_week.ocsp", end + 1000), "has expired");
    refuses_settings(stapling(CERTS "server_week.ocsp", now - 86400000), "does not hold yet");
    c = make(server_settings());
    assert_int_equal(tls_context_staple_ends(c), 0);
    assert_int_equal(tls_context_staple(c, now).n, 0);
    tls_context_release(c);
}

TEST(tls_responses_that_are_wrong_are_explained)
{
    uint64_t now;
    struct tls_settings s;
    FILE *f;

    start_library();
    now = clock_wall_ms();
    refuses_settings(stapling(CERTS "no_such.ocsp", now), "no_such.ocsp: cannot be read");
    refuses_settings(stapling(CERTS "server_rsa.ocsp", now), "server_rsa.ocsp: is about another");
    refuses_settings(stapling(CERTS "server.crt", now), "server.crt: is no OCSP response in DER");
    f = fopen(CERTS "large.ocsp", "w");
    assert_non_null(f);
    for (uint32_t i = 0; i <= TLS_STAPLE_BYTES_MAX; i++)
        fputc(0x30, f);
    assert_int_equal(fclose(f), 0);
    refuses_settings(stapling(CERTS "large.ocsp", now), "large.ocsp: it has 8193 bytes");
    s = psk_server();
    s.ocsp_file = CERTS "server.ocsp";
    refuses_settings(s, "a response without a certificate");
}

TEST(tls_trusts_a_folder_of_certificates)
{
    struct tls_settings c = client_settings();

    c.ca_file = NULL;
    c.ca_path = "build/certs"; /* keys and others are passed over */
    assert_works(server_settings(), c, "localhost");
    finish();
}

/* ---- memory ---- */

#define MANY 500

/* Bytes of user space for one idle server connection. */
static uint64_t idle_bytes(struct tls_settings s, struct tls_settings c)
{
    static struct tls *many[MANY];
    struct heap_stats before, after;

    begin(s, c, "localhost");
    assert_established(); /* what is made once is made */
    heap_stats_read(&before);
    for (uint32_t i = 0; i < MANY; i++) {
        close_ends();
        open_ends("localhost", NULL);
        assert_established();
        assert_speaks();
        many[i] = server.tls;
        server.tls = NULL;
    }
    heap_stats_read(&after);
    for (uint32_t i = 0; i < MANY; i++)
        tls_destroy(many[i]);
    server.tls = tls_create(server_context, NULL, NULL);
    finish();
    return (after.allocated - before.allocated) / MANY;
}

/* Bytes that a server connection holds after being fed these, by somebody unknown. */
static uint64_t unknown_bytes(const uint8_t *p, uint32_t n)
{
    static struct tls *many[MANY];
    struct heap_stats before, after;
    struct end e;

    heap_stats_read(&before);
    for (uint32_t i = 0; i < MANY; i++) {
        e = (struct end){.tls = tls_create(server_context, NULL, NULL), .plain_room = 1};
        e.received = (uint8_t[1]){0};
        assert_non_null(e.tls);
        feed(&e, bytes_of(p, n));
        if (e.verdict != TLS_MORE)
            fail_msg("%s", tls_error(e.tls));
        many[i] = e.tls;
    }
    heap_stats_read(&after);
    for (uint32_t i = 0; i < MANY; i++)
        tls_destroy(many[i]);
    return (after.allocated - before.allocated) / MANY;
}

/* Stopping anywhere in the handshake, with as much begun and not ended as can be. */
TEST(tls_unknown_peers_are_bounded)
{
    static const uint8_t message[] = {22, 3, 1, 0, 4, 1, 0, 0x48, 0, 22, 3, 3, 0x40, 0};
    uint8_t hello[1024];
    struct bytes out;
    uint64_t nothing, half, greeted;

    begin(server_settings(), client_settings(), "localhost");
    feed(&client, bytes_of(NULL, 0));
    out = tls_output(client.tls);
    assert_true(out.n + 5 <= sizeof(hello));
    memcpy(hello, out.p, out.n);
    bytes_put(hello + out.n, BYTES_LIT("\x17\3\3\x41\0")); /* a large record begins */
    nothing = unknown_bytes(hello, 0);
    half = unknown_bytes(message, sizeof(message));
    greeted = unknown_bytes(hello, out.n + 5);
    print_message("unknown: %llu bytes, half a hello %llu, greeted %llu\n",
                  (unsigned long long)nothing, (unsigned long long)half,
                  (unsigned long long)greeted);
    finish();
    if (strcmp(heap_name(), "jemalloc") != 0 || !is_our_library())
        return;
    assert_true(half <= TLS_PEER_BYTES_MAX);
    assert_true(greeted <= TLS_PEER_BYTES_MAX);
}

TEST(tls_idle_connections_are_small)
{
    char files[2][64];
    uint64_t plain = idle_bytes(server_settings(), client_settings());
    uint64_t strict = idle_bytes(strict_server(), client_named("client", files));

    print_message("idle: %llu bytes, with client certificate %llu\n", (unsigned long long)plain,
                  (unsigned long long)strict);
    if (strcmp(heap_name(), "jemalloc") != 0 || !is_our_library())
        return; /* a sanitizer's figures mean nothing */
    assert_true(plain <= 8192);
    assert_true(strict <= 16384);
}
