/* tests/net/test_tls_openssl.c -- our ends against those of the openssl command, over loopback. */
#include "tests/support/test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/tls.h"

#define CERTS "build/certs/"
#define WAIT_SECONDS 20

static char why[512];

static struct tls_context *make(struct tls_settings settings)
{
    static bool is_started;
    struct tls_context *c;

    if (!is_started) {
        assert_int_equal(tls_init(), OK);
        assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
        is_started = true;
    }
    c = tls_context_create(&settings, why, sizeof(why));
    if (!c)
        fail_msg("%s", why);
    return c;
}

static void wait_at_most(int fd)
{
    struct timeval t = {.tv_sec = WAIT_SECONDS};

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)), 0);
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    wait_at_most(fd);
    return fd;
}

static void send_output(struct tls *t, int fd)
{
    struct bytes out;

    while ((out = tls_output(t)).n > 0) {
        ssize_t n = send(fd, out.p, out.n, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        tls_output_sent(t, (uint32_t)n);
    }
}

/* Says `word` and takes what comes until the other has said `wanted`, or nothing more comes. */
static bool converse(struct tls *t, int fd, const char *word, const char *wanted)
{
    static uint8_t raw[65536], plain[65536];
    struct bytes input = bytes_of(NULL, 0), piece = bytes_str(word);
    uint32_t plain_count = 0;
    bool has_spoken = false;

    for (;;) {
        uint32_t count;
        enum tls_verdict verdict;
        ssize_t n;

        do {
            verdict = tls_open(t, &input, plain + plain_count,
                               (uint32_t)sizeof(plain) - plain_count - 1, &count);
            plain_count += count;
        } while (verdict == TLS_DATA);
        if (tls_is_established(t) && !has_spoken) {
            assert_int_equal(tls_seal(t, &piece, 1, &count), OK);
            has_spoken = true;
        }
        send_output(t, fd);
        plain[plain_count] = 0;
        if (strstr((const char *)plain, wanted))
            return true;
        if (verdict != TLS_MORE || (n = recv(fd, raw, sizeof(raw), 0)) <= 0)
            return false;
        input = bytes_of(raw, (size_t)n);
    }
}

/* ---- openssl s_client ---- */

/* Lets s_client, with these arguments, talk to a server of this context. The connection is returned
 * for questions, whether it went well or not. */
static struct tls *serve(struct tls_context *c, const char *arguments, bool *went_well)
{
    char command[1024];
    struct tls *t = tls_create(c, NULL, NULL);
    uint16_t port;
    int listener = listen_anywhere(&port);
    FILE *client;
    int fd;

    snprintf(command, sizeof(command),
             "{ echo ping; cat; } | timeout %d openssl s_client -connect 127.0.0.1:%u "
             "-CAfile " CERTS
             "ca.crt -verify_return_error -quiet %s >build/certs/s_client.log 2>&1",
             WAIT_SECONDS, port, arguments);
    client = popen(command, "w");
    assert_non_null(client);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    wait_at_most(fd);
    *went_well = converse(t, fd, "pong\n", "ping\n");
    tls_close(t);
    send_output(t, fd);
    close(fd);
    close(listener);
    (void)pclose(client);
    return t;
}

static void serves(struct tls_settings settings, const char *arguments, const char *version,
                   const char *cipher)
{
    struct tls_context *c = make(settings);
    bool went_well;
    struct tls *t = serve(c, arguments, &went_well);

    if (!went_well)
        fail_msg("%s: %s", arguments, tls_error(t));
    assert_string_equal(tls_version_name(t), version);
    if (!strstr(tls_cipher_name(t), cipher))
        fail_msg("%s: %s", arguments, tls_cipher_name(t));
    tls_destroy(t);
    tls_context_release(c);
}

static struct tls_settings server_settings(void)
{
    return (struct tls_settings){
        .certificate_file = CERTS "server.crt", .key_file = CERTS "server.key", .alpn = "mqtt"};
}

TEST(tls_serves_openssl)
{
    struct tls_settings s = server_settings();

    serves(s, "-tls1_3 -servername localhost -alpn mqtt", "TLSv1.3", "AES_128_GCM");
    serves(s, "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", "CHACHA20");
    serves(s, "-tls1_3 -groups P-256", "TLSv1.3", "AES");
    serves(s, "-tls1_2", "TLSv1.2", "ECDHE_ECDSA_WITH_AES_128_GCM");
    s.certificate_file = CERTS "server_rsa.crt";
    s.key_file = CERTS "server_rsa.key";
    serves(s, "-tls1_2", "TLSv1.2", "ECDHE_RSA_WITH_AES_128_GCM");
    serves(s, "-tls1_2 -groups P-384", "TLSv1.2", "ECDHE_RSA_WITH_AES_128_GCM");
    s.certificate_file = CERTS "chain_server.crt";
    s.key_file = CERTS "chain_server.key";
    serves(s, "", "TLSv1.3", "AES");
    s.certificate_file = CERTS "server_ed25519.crt";
    s.key_file = CERTS "server_ed25519.key";
    serves(s, "", "TLSv1.3", "AES");
}

/* Its first key share is of a group we do not speak: it is asked for another hello. */
TEST(tls_serves_openssl_after_a_retry)
{
    serves(server_settings(), "-tls1_3 -groups P-521:X25519 -alpn mqtt -servername localhost",
           "TLSv1.3", "AES_128_GCM");
}

TEST(tls_serves_openssl_with_a_client_certificate)
{
    struct tls_settings s = server_settings();

    s.require_certificate = true;
    s.ca_file = CERTS "ca.crt";
    s.crl_file = CERTS "ca.crl";
    serves(s, "-cert " CERTS "client.crt -key " CERTS "client.key", "TLSv1.3", "AES");
    serves(s, "-cert " CERTS "client_rsa.crt -key " CERTS "client_rsa.key", "TLSv1.3", "AES");
    s.version_min = TLS_VERSION_1_2;
    serves(s, "-tls1_2 -cert " CERTS "client.crt -key " CERTS "client.key", "TLSv1.2", "AES");
}

TEST(tls_serves_openssl_with_a_psk)
{
    struct tls_settings s = {.psk_file = CERTS "psk_openssl"};
    FILE *f;

    tls_context_release(make(server_settings()));
    f = fopen(CERTS "psk_openssl", "w");
    assert_non_null(f);
    fputs("pump:00112233445566778899aabbccddeeff\n", f);
    fclose(f);
    serves(s, "-tls1_3 -psk_identity pump -psk 00112233445566778899aabbccddeeff", "TLSv1.3", "AES");
    serves(s, "-tls1_2 -psk_identity pump -psk 00112233445566778899aabbccddeeff", "TLSv1.2", "PSK");
}

TEST(tls_refuses_openssl_that_asks_for_what_is_old)
{
    struct tls_context *c = make(server_settings());
    bool went_well;
    struct tls *t = serve(c, "-tls1_1 -cipher ALL:@SECLEVEL=0", &went_well);

    assert_false(went_well);
    assert_string_equal(tls_error(t), "no shared version, or no shared cipher of it");
    tls_destroy(t);
    tls_context_release(c);
}

/* ---- openssl s_server ---- */

static int dial(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    wait_at_most(fd);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* Starts s_server, which says itself on which port, and has it answer one line in reverse. */
static void is_served(struct tls_settings settings, const char *arguments, const char *version)
{
    struct tls_context *c = make(settings);
    struct tls *t = tls_create(c, "localhost", NULL);
    char command[512], line[256];
    unsigned port = 0;
    FILE *server;
    int fd;

    snprintf(command, sizeof(command),
             "timeout %d openssl s_server -accept 127.0.0.1:0 -rev -naccept 1 -cert " CERTS
             "chain_server.crt -key " CERTS "chain_server.key -cert_chain " CERTS "middle.crt %s "
             "2>&1 </dev/null",
             WAIT_SECONDS, arguments);
    server = popen(command, "r");
    assert_non_null(server);
    while (port == 0 && fgets(line, sizeof(line), server))
        (void)sscanf(line, "ACCEPT 127.0.0.1:%u", &port);
    fd = dial(port);
    if (!converse(t, fd, "ping\n", "gnip\n"))
        fail_msg("%s: %s", arguments, tls_error(t));
    assert_string_equal(tls_version_name(t), version);
    tls_close(t);
    send_output(t, fd);
    close(fd);
    while (fgets(line, sizeof(line), server))
        continue;
    (void)pclose(server);
    tls_destroy(t);
    tls_context_release(c);
}

TEST(tls_is_served_by_openssl)
{
    struct tls_settings c = {.side = TLS_CLIENT, .ca_file = CERTS "ca.crt"};

    is_served(c, "-tls1_3", "TLSv1.3");
    is_served(c, "-tls1_2", "TLSv1.2");
    is_served(c, "-groups P-384", "TLSv1.3");
    c.certificate_file = CERTS "client.crt";
    c.key_file = CERTS "client.key";
    is_served(c, "-Verify 3 -verify_return_error -CAfile " CERTS "ca.crt", "TLSv1.3");
    is_served(c, "-tls1_2 -Verify 3 -verify_return_error -CAfile " CERTS "ca.crt", "TLSv1.2");
}
