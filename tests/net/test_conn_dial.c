/* tests/net/test_conn_dial.c -- connections that the broker opens with TLS, over real sockets.
 *
 * The stream says CONNECT when it is open and keeps what comes. The other side is a listener of the
 * same worker, or a socket of the test that does not do what it should.
 */
#include "tests/support/test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cfg/parse.h"
#include "net/clock.h"
#include "net/conn_state.h"
#include "net/resolver.h"
#include "net/server.h"
#include "tests/support/port.h"

#define CERTS "build/certs/"

static const char *const masks[] = {NULL, "multishot_recv", "buffer_ring", "all"};

/* ---- the world: one worker on this thread, with a TLS listener ---- */

static struct cfg *cfg;
static struct server server;
static struct server_options options;
static struct worker *worker;
static uint16_t port;

/* `certificate` is the listener's, `more` are keys of it. */
static void begin_as(const char *certificate, const char *mask, const char *more)
{
    char text[1024];
    struct cfg_errors errs;

    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
    port = free_port();
    snprintf(text, sizeof(text),
             "[broker]\nworkers = 1\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = 127.0.0.1:%u\nallow_anonymous = true\n"
             "certfile = " CERTS "%s.crt\nkeyfile = " CERTS "%s.key\n%s",
             port, certificate, certificate, more);
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    if (mask)
        setenv("CAUSEWAY_MASK", mask, 1);
    else
        unsetenv("CAUSEWAY_MASK");
    options = (struct server_options){.cfg = cfg, .version = "test"};
    if (server_init(&server, &options) != OK)
        fail_msg("%s", server.why);
    worker = server.net.workers[0];
    assert_int_equal(worker_begin(worker), OK);
}

static void begin(const char *mask, const char *more)
{
    begin_as("server", mask, more);
}

static void turn(void)
{
    assert_true(worker_turn_within(worker, 1000));
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ms = clock_mono_ms() + 20000;                                               \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            if (clock_mono_ms() > until_ms)                                                        \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static void end(void)
{
    TURN_UNTIL(worker->conns.count == 0);
    store_release(&server.net.phase, NET_STOPPED);
    worker_end(worker);
    server_fini(&server);
    cfg_free(cfg);
}

/* ---- the stream ---- */

struct caller {
    struct stream s;
    uint32_t opened, closed, received;
    uint8_t first; /* byte that came */
    enum close_reason why;
    char fault[128]; /* empty: none */
};

static uint32_t on_input(struct stream *s, struct bytes in, enum input *verdict, uint32_t *need)
{
    struct caller *c = (struct caller *)s;

    *verdict = INPUT_MORE;
    *need = 0;
    assert_int_equal(c->opened, 1);
    if (!c->received)
        c->first = in.p[0];
    c->received += in.n;
    return in.n;
}

static void on_opened(struct stream *s)
{
    static const uint8_t connect[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 0};
    uint8_t *to = outq_reserve(&s->outq, shard_pool(s->shard), sizeof(connect));

    ((struct caller *)s)->opened++;
    assert_non_null(to);
    memcpy(to, connect, sizeof(connect));
    stream_touch(s);
}

static void on_failed(struct stream *s, const char *why)
{
    struct caller *c = (struct caller *)s;

    assert_int_equal(c->closed, 0);
    snprintf(c->fault, sizeof(c->fault), "%s", why);
}

static void on_closed(struct stream *s, enum close_reason why)
{
    struct caller *c = (struct caller *)s;

    c->closed++;
    c->why = why;
    outq_fini(&s->outq, shard_pool(s->shard));
}

static const struct stream_ops ops = {
    .input = on_input, .opened = on_opened, .failed = on_failed, .closed = on_closed};

/* What differs from test to test. */
struct call {
    const char *name;        /* of our certificate; NULL: none */
    const char *ca;          /* whom we trust */
    const char *server_name; /* NULL: localhost */
    const char *crl;
    uint16_t port; /* 0: the listener's */
};

static void call(struct caller *c, const struct call *how)
{
    char certificate[64], key[64], why[256];
    struct tls_settings settings = {
        .side = TLS_CLIENT, .ca_file = how->ca ? how->ca : CERTS "ca.crt", .crl_file = how->crl};
    struct conn_target to = {.host = "127.0.0.1",
                             .port = how->port ? how->port : port,
                             .timeout_ms = 5000,
                             .server_name = how->server_name ? how->server_name : "localhost"};

    snprintf(certificate, sizeof(certificate), CERTS "%s.crt", how->name ? how->name : "");
    snprintf(key, sizeof(key), CERTS "%s.key", how->name ? how->name : "");
    if (how->name) {
        settings.certificate_file = certificate;
        settings.key_file = key;
    }
    to.tls = tls_context_create(&settings, why, sizeof(why));
    if (!to.tls)
        fail_msg("%s", why);
    *c = (struct caller){.s = {.ops = &ops, .shard = worker->shard}};
    outq_init(&c->s.outq);
    assert_int_equal(conn_dial(worker, &c->s, &to), OK);
    tls_context_release(to.tls); /* the connection has a hold of its own */
}

static void expect_fault(const struct call *how, const char *fault)
{
    struct caller c;

    call(&c, how);
    TURN_UNTIL(c.closed);
    assert_string_equal(c.fault, fault);
    assert_int_equal(c.why, CLOSE_LAYERS);
    assert_int_equal(c.received, 0);
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(c.closed, 1);
}

#define MUTUAL "cafile = " CERTS "ca.crt\nrequire_certificate = true\n"
#define WITH_CRL MUTUAL "crlfile = " CERTS "ca.crl\n"

/* ---- tests ---- */

TEST(dialled_connection_opens_when_tls_stands)
{
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        struct caller c;

        begin(masks[i], MUTUAL);
        call(&c, &(struct call){.name = "client"});
        TURN_UNTIL(c.received > 0 || c.closed);
        assert_int_equal(c.closed, 0);
        assert_int_equal(c.opened, 1);
        assert_int_equal(c.first, 0x20); /* CONNACK */
        stream_close(&c.s, CLOSE_LINK);
        TURN_UNTIL(c.closed);
        assert_int_equal(c.why, CLOSE_LINK);
        assert_string_equal(c.fault, "");
        end();
    }
}

TEST(dialled_server_that_is_somebody_else_is_never_opened)
{
    struct caller c;

    begin(NULL, MUTUAL);
    expect_fault(&(struct call){.name = "client", .server_name = "elsewhere.test"},
                 "host name mismatch");
    expect_fault(&(struct call){.name = "client", .ca = CERTS "other_ca.crt"}, "unknown CA");
    call(&c, &(struct call){.name = "client", .server_name = "elsewhere.test"});
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 0);
    end();
}

TEST(dialled_server_says_what_it_has_against_our_certificate)
{
    begin(NULL, WITH_CRL);
    expect_fault(&(struct call){.name = NULL}, "peer refused: certificate required");
    expect_fault(&(struct call){.name = "revoked"},
                 "peer refused: bad certificate"); /* so it says */
    expect_fault(&(struct call){.name = "expired_client"}, "peer refused: certificate expired");
    expect_fault(&(struct call){.name = "other_client"}, "peer refused: unknown CA");
    end();
}

TEST(dialled_server_with_a_revoked_certificate_is_refused)
{
    begin_as("revoked_server", NULL, "");
    expect_fault(&(struct call){.crl = CERTS "ca.crl"}, "certificate revoked");
    end();
}

/* A socket that listens and does nothing by itself. */
static int listen_only(uint16_t *at)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *at = ntohs(a.sin_port);
    return fd;
}

static int accept_one(int listening)
{
    int fd = -1;

    TURN_UNTIL((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    return fd;
}

TEST(dialled_server_that_does_not_answer_the_handshake_is_given_up)
{
    struct call how = {.name = NULL};
    struct caller c;
    int listening, fd;

    begin(NULL, "");
    listening = listen_only(&how.port);
    call(&c, &how);
    fd = accept_one(listening);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(c.closed, 0);
    worker->ahead_ms += 6000;
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 0);
    assert_int_equal(c.why, CLOSE_CONNECT_TIMEOUT);
    close(fd);
    close(listening);
    end();
}

/* Says to the listener what is no TLS, and waits for the end of that connection. */
static void say_junk(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    TURN_UNTIL(worker->conns.count > 0);
    TURN_UNTIL(worker->conns.count == 0);
    close(fd);
}

TEST(handshakes_that_fail_are_counted_and_nothing_else_as_such)
{
    const struct stats *stats;
    struct caller c;

    begin(NULL, "protocol = websockets\n");
    stats = shard_stats(worker->shard);
    say_junk();
    assert_int_equal(load_relaxed(&stats->handshakes_failed), 1);
    assert_int_equal(load_relaxed(&stats->protocol_errors), 0);
    call(&c, &(struct call){.name = NULL});
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 1); /* and has said CONNECT, which is no request of HTTP */
    assert_int_equal(load_relaxed(&stats->handshakes_failed), 1);
    assert_int_equal(load_relaxed(&stats->protocol_errors), 1);
    end();
}

TEST(dial_that_cannot_begin_leaves_nothing_behind)
{
    static char host[DIAL_HOST_BYTES + 2];
    struct conn_target to = {.host = host, .port = 1, .timeout_ms = 5000};
    struct caller c = {.s = {.ops = &ops}};

    begin(NULL, "");
    memset(host, 'a', sizeof(host) - 1);
    c.s.shard = worker->shard;
    assert_int_equal(conn_dial(worker, &c.s, &to), ERR_MEMORY);
    assert_int_equal(worker->conns.count, 0);
    assert_int_equal(load_relaxed(&worker->conn_count), 0);
    assert_null(c.s.conn);
    end();
}

TEST(dialled_server_that_breaks_off_the_handshake_is_not_opened)
{
    struct call how = {.name = NULL};
    struct caller c;
    int listening, fd;

    begin(NULL, "");
    listening = listen_only(&how.port);
    call(&c, &how);
    fd = accept_one(listening);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 0);
    assert_int_equal(c.why, CLOSE_EOF);
    close(fd);
    call(&c, &how);
    fd = accept_one(listening);
    assert_int_equal(write(fd, "220 mail.example.com\r\n", 22), 22);
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 0);
    assert_string_equal(c.fault, "not TLS");
    close(fd);
    close(listening);
    end();
}

TEST(dial_can_be_given_up_during_the_handshake)
{
    struct call how = {.name = NULL};
    struct caller c;
    int listening, fd;

    begin(NULL, "");
    listening = listen_only(&how.port);
    call(&c, &how);
    fd = accept_one(listening);
    stream_abort(&c.s, CLOSE_LINK);
    TURN_UNTIL(c.closed);
    assert_int_equal(c.why, CLOSE_LINK);
    close(fd);
    call(&c, &how);
    fd = accept_one(listening);
    stream_close(&c.s, CLOSE_LINK); /* politely, but there is nobody to be polite to */
    TURN_UNTIL(c.closed);
    assert_int_equal(c.opened, 0);
    close(fd);
    close(listening);
    end();
}

/* Dials a name that has an address at each of two ports; the one at `expected` is reached. */
static void dial_two(const uint16_t ports[2], uint32_t attempt, int expected)
{
    struct conn_target to = {
        .host = "127.0.0.1", .port = ports[0], .timeout_ms = 5000, .attempt = attempt};
    struct caller c = {.s = {.ops = &ops, .shard = worker->shard}};
    struct dial *d;

    outq_init(&c.s.outq);
    assert_int_equal(conn_dial(worker, &c.s, &to), OK);
    d = ((struct conn *)c.s.conn)->u.dial;
    d->addresses[1] = d->addresses[0];
    d->addresses[1].v4.sin_port = htons(ports[1]);
    d->count = 2;
    TURN_UNTIL(c.opened || c.closed);
    assert_int_equal(c.opened, 1);
    close(accept_one(expected));
    TURN_UNTIL(c.closed);
}

TEST(dial_begins_with_another_address_each_attempt)
{
    uint16_t ports[2];
    int listening[2];

    begin(NULL, "");
    for (int i = 0; i < 2; i++)
        listening[i] = listen_only(&ports[i]);
    for (uint32_t attempt = 0; attempt < 4; attempt++)
        dial_two(ports, attempt, listening[attempt % 2]);
    close(listening[0]); /* where nobody listens, the other one is next */
    for (uint32_t attempt = 0; attempt < 2; attempt++)
        dial_two(ports, attempt, listening[1]);
    close(listening[1]);
    end();
}
