/* tests/net/test_handoff.c -- a connection on its way to its home: who counts the bytes it holds.
 *
 * Two workers on this thread. The ring from the first to the second is full, so that a connection
 * that belongs to the second one has to wait before it can leave.
 */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cfg/parse.h"
#include "net/auth.h"
#include "net/conn_state.h"
#include "net/listener.h"
#include "net/server.h"
#include "tests/support/port.h"

struct world {
    struct cfg *cfg;
    struct server server;
    struct server_options options;
    struct worker *from, *home;
    uint32_t filler_count, arrived_count; /* hand-offs without a connection; those that came */
    int fd;                               /* the client's side */
    uint32_t packet_count;
    const char *keys; /* of the listener, and what stands behind it */
    /* of a client within TLS */
    struct tls_context *context;
    struct tls *tls;
    uint8_t came[4096];
    uint32_t came_count;
    bool has_end; /* the broker has closed */
};

/* Hash of `password`. */
#define USER                                                                                       \
    "u:$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTs"   \
    "Hkd+uve2/GFOr/KZ8Y/8Hw==\n"
#define CERTS "build/certs/"
#define TLS_KEYS "certfile = " CERTS "server.crt\nkeyfile = " CERTS "server.key\n"

/* CONNECT of MQTT 3.1.1, clean session, client id "cN"; what follows it belongs to it as well. */
static uint32_t put_connect(uint8_t *to, uint32_t id)
{
    static const uint8_t head[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 2, 'c'};

    memcpy(to, head, sizeof(head));
    to[sizeof(head)] = (uint8_t)('0' + id);
    memcpy(to + sizeof(head) + 1, "\xC0\x00", 2);
    return sizeof(head) + 3;
}

/* The same with an id that is at home at the second worker. */
static uint32_t put_connect_from_afar(struct world *w, uint8_t *to)
{
    for (uint32_t id = 0; id < 40; id++) {
        uint32_t n = put_connect(to, id), need = 0;
        struct greeting g;

        assert_int_equal(shard_greet(w->from->shard, bytes_of(to, n), &g, &need), OK);
        if (g.home == 1)
            return n;
    }
    fail_msg("no client id is at home there");
    return 0;
}

static struct world *the_world;

/* Hook of the second worker. */
static void adopt(void *net, struct handoff *h)
{
    the_world->arrived_count++;
    if (h->fd < 0)
        free(h);
    else
        conn_adopt(net, h);
}

static void fill_ring(struct world *w)
{
    struct handoff *h;

    while ((h = calloc(1, sizeof(*h))) != NULL) {
        h->fd = -1;
        if (shard_handoff(w->from->shard, 1, h) != OK)
            break;
        w->filler_count++;
    }
    assert_non_null(h);
    free(h);
}

static uint64_t held_bytes(const struct worker *w)
{
    return load_relaxed(&shard_stats(w->shard)->input_bytes_held);
}

static void turn(struct worker *w)
{
    assert_true(worker_turn_within(w, 1000));
}

/* Turns of one worker until the condition holds; many are not needed. */
#define TURN_UNTIL(w, condition)                                                                   \
    do {                                                                                           \
        for (int turns = 0; !(condition); turns++) {                                               \
            turn(w);                                                                               \
            if (turns == 10000)                                                                    \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static void world_init(struct world *w)
{
    char text[1024];
    struct shard_hooks hooks = {.adopt = adopt, .abandon = conn_abandon_handoff};
    struct cfg_errors errs;

    the_world = w;
    snprintf(text, sizeof(text),
             "[broker]\nworkers = 2\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = 127.0.0.1:%u\n%s",
             free_port(), w->keys ? w->keys : "");
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &w->cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    unsetenv("CAUSEWAY_MASK");
    w->options = (struct server_options){.cfg = w->cfg, .version = "test"};
    if (server_init(&w->server, &w->options) != OK)
        fail_msg("%s", w->server.why);
    w->from = w->server.net.workers[0];
    w->home = w->server.net.workers[1];
    hooks.net = w->home;
    shard_set_hooks(w->home->shard, &hooks);
    assert_int_equal(worker_begin(w->from), OK);
    assert_int_equal(worker_begin(w->home), OK);
}

/* A connection that wants to leave and cannot. */
static void world_begin(struct world *w)
{
    uint8_t packet[64];
    int pair[2];

    memset(w, 0, sizeof(*w));
    world_init(w);
    fill_ring(w);
    w->packet_count = put_connect_from_afar(w, packet);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->fd = pair[1];
    assert_int_equal(send(w->fd, packet, w->packet_count, MSG_NOSIGNAL), w->packet_count);
    assert_true(listener_admit(w->from, 0));
    conn_accept(w->from, pair[0], 0);
    TURN_UNTIL(w->from, held_bytes(w->from) > 0);
    assert_int_equal(held_bytes(w->from), sizeof(struct handoff) + w->packet_count);
    assert_int_equal(load_relaxed(&w->from->conn_count), 1);
}

static void world_end(struct world *w)
{
    store_release(&w->server.net.phase, NET_STOPPED); /* this thread's own */
    worker_end(w->from);
    worker_end(w->home);
    server_fini(&w->server);
    cfg_free(w->cfg);
    if (w->fd >= 0)
        close(w->fd);
}

TEST(handoff_is_counted_by_the_sender_until_the_mail_has_it)
{
    uint8_t answer[6];
    struct world w;

    world_begin(&w);
    for (int i = 0; i < 3; i++)
        turn(w.from); /* tried again, each time */
    assert_int_equal(held_bytes(w.from), sizeof(struct handoff) + w.packet_count);
    TURN_UNTIL(w.home, w.arrived_count == w.filler_count);
    TURN_UNTIL(w.from, load_relaxed(&w.from->conn_count) == 0);
    assert_int_equal(held_bytes(w.from), 0);
    TURN_UNTIL(w.home, w.arrived_count == w.filler_count + 1);
    assert_int_equal(held_bytes(w.home), 0); /* all of it was taken */
    turn(w.home);
    assert_int_equal(recv(w.fd, answer, sizeof(answer), MSG_WAITALL), 6);
    assert_memory_equal(answer, "\x20\x02\x00\x00\xD0\x00", 6);
    close(w.fd);
    w.fd = -1;
    TURN_UNTIL(w.home, load_relaxed(&w.home->conn_count) == 0);
    world_end(&w);
}

/* The connection goes without having left, and nothing of it is counted. */
static void expect_given_up(struct world *w)
{
    TURN_UNTIL(w->from, load_relaxed(&w->from->conn_count) == 0);
    assert_int_equal(held_bytes(w->from), 0);
    assert_int_equal(load_relaxed(&w->server.net.connection_count), 0);
}

TEST(handoff_that_is_given_up_is_not_counted_any_more)
{
    struct world w;

    world_begin(&w);
    store_release(&w.server.net.phase, NET_STOPPING); /* this thread's own */
    expect_given_up(&w);
    world_end(&w);
}

TEST(handoff_that_cannot_leave_in_time_is_given_up)
{
    struct world w;

    world_begin(&w);
    w.from->ahead_ms += 11000; /* connect_timeout */
    expect_given_up(&w);
    world_end(&w);
}

TEST(handoff_that_never_left_is_freed_with_its_worker)
{
    struct world w;

    world_begin(&w);
    world_end(&w);
}

/* ---- with layers ---- */

static void world_begin_with(struct world *w, const char *keys)
{
    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
    memset(w, 0, sizeof(*w));
    w->keys = keys;
    w->fd = -1;
    world_init(w);
}

static void turn_both(struct world *w)
{
    assert_true(worker_turn_within(w->from, 500));
    assert_true(worker_turn_within(w->home, 500));
}

/* A connection that the first worker has accepted. */
static void dial(struct world *w)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->fd = pair[1];
    w->came_count = 0;
    w->has_end = false;
    assert_true(listener_admit(w->from, 0));
    conn_accept(w->from, pair[0], 0);
}

static void dial_tls(struct world *w)
{
    struct tls_settings settings = {.side = TLS_CLIENT, .ca_file = CERTS "ca.crt"};
    char why[256];

    dial(w);
    if (!w->context)
        w->context = tls_context_create(&settings, why, sizeof(why));
    assert_non_null(w->context);
    w->tls = tls_create(w->context, "localhost", NULL);
    assert_non_null(w->tls);
}

static void hang_up(struct world *w)
{
    tls_destroy(w->tls);
    w->tls = NULL;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    for (int turns = 0; turns < 10000 && load_relaxed(&w->server.net.connection_count); turns++)
        turn_both(w);
    assert_int_equal(load_relaxed(&w->server.net.connection_count), 0);
    assert_int_equal(held_bytes(w->from), 0);
    assert_int_equal(held_bytes(w->home), 0);
}

static void world_end_with(struct world *w)
{
    tls_destroy(w->tls);
    tls_context_release(w->context);
    world_end(w);
}

static void push(struct world *w)
{
    struct bytes out = tls_output(w->tls);

    if (out.n == 0)
        return;
    assert_int_equal(send(w->fd, out.p, out.n, MSG_NOSIGNAL), out.n);
    tls_output_sent(w->tls, (uint32_t)out.n);
}

/* Takes what has come from the broker. */
static void pull(struct world *w)
{
    uint8_t raw[4096];
    ssize_t n = recv(w->fd, raw, sizeof(raw), MSG_DONTWAIT);
    struct bytes in = bytes_of(raw, n > 0 ? (size_t)n : 0);
    uint32_t count = 0;

    w->has_end |= n == 0;
    if (!w->tls && n > 0) {
        memcpy(w->came + w->came_count, raw, (size_t)n);
        w->came_count += (uint32_t)n;
    }
    if (!w->tls || n <= 0)
        return;
    while (tls_open(w->tls, &in, w->came + w->came_count, 2048, &count) == TLS_DATA)
        w->came_count += count;
}

/* Both workers and the client go on until the condition holds. */
#define GO_UNTIL(w, condition)                                                                     \
    do {                                                                                           \
        for (int turns = 0; !(condition); turns++) {                                               \
            turn_both(w);                                                                          \
            pull(w);                                                                               \
            if ((w)->tls)                                                                          \
                push(w);                                                                           \
            if (turns == 20000)                                                                    \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static void shake_hands(struct world *w)
{
    struct bytes none = bytes_of("", 0);
    uint32_t count;

    assert_int_equal(tls_open(w->tls, &none, w->came, sizeof(w->came), &count), TLS_MORE);
    push(w);
    GO_UNTIL(w, tls_is_established(w->tls));
}

static void say_tls(struct world *w, const void *p, size_t n)
{
    struct bytes b = bytes_of(p, n);
    uint32_t taken;

    assert_int_equal(tls_seal(w->tls, &b, 1, &taken), OK);
}

/* The CONNECT of put_connect_from_afar with this name and password. */
static uint32_t put_connect_of(struct world *w, uint8_t *to, const char *user, const char *password)
{
    uint32_t n = put_connect_from_afar(w, to) - 2;

    to[1] = (uint8_t)(n - 2 + 4 + strlen(user) + strlen(password));
    to[9] |= 0xC0;
    to[n++] = 0;
    to[n++] = (uint8_t)strlen(user);
    n += bytes_put(to + n, bytes_str(user)) ? (uint32_t)strlen(user) : 0;
    to[n++] = 0;
    to[n++] = (uint8_t)strlen(password);
    n += bytes_put(to + n, bytes_str(password)) ? (uint32_t)strlen(password) : 0;
    return n;
}

static const char passwords[] =
    "allow_anonymous = false\n" TLS_KEYS "[auth]\npassword_file = build/test_handoff.users\n"
    "auth_threads = 1\n";

static void write_users(const char *text)
{
    FILE *f = fopen("build/test_handoff.users", "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

TEST(handoff_takes_tls_along)
{
    uint8_t packet[64];
    struct world w;

    world_begin_with(&w, TLS_KEYS);
    for (uint32_t how = 0; how < 2; how++) {
        dial_tls(&w);
        shake_hands(&w);
        say_tls(&w, packet, put_connect_from_afar(&w, packet));      /* and PINGREQ, DISCONNECT */
        for (uint32_t i = 0; how == 1 && i < tls_output(w.tls).n;) { /* byte by byte */
            assert_int_equal(send(w.fd, tls_output(w.tls).p, 1, MSG_NOSIGNAL), 1);
            tls_output_sent(w.tls, 1);
            turn_both(&w);
        }
        push(&w);
        GO_UNTIL(&w, w.came_count >= 6);
        assert_memory_equal(w.came, "\x20\x02\x00\x00\xD0\x00", 6);
        assert_int_equal(w.arrived_count, how + 1);
        hang_up(&w);
    }
    world_end_with(&w);
}

TEST(handoff_takes_output_of_the_handshake_along)
{
    uint8_t packet[64];
    struct world w;

    /* Hello, Finished and CONNECT follow each other at once, as with a client that does not wait:
     * what the broker says to the Finished (tickets) is on its way when the connection leaves. */
    world_begin_with(&w, TLS_KEYS);
    dial_tls(&w);
    shake_hands(&w);
    hang_up(&w);
    dial_tls(&w);
    {
        struct bytes none = bytes_of("", 0);
        uint32_t count;

        assert_int_equal(tls_open(w.tls, &none, w.came, sizeof(w.came), &count), TLS_MORE);
        push(&w);
    }
    for (int turns = 0; !tls_is_established(w.tls); turns++) {
        assert_true(turns < 10000);
        turn_both(&w);
        pull(&w);
    }
    say_tls(&w, packet, put_connect_from_afar(&w, packet));
    push(&w); /* Finished and CONNECT in one segment */
    GO_UNTIL(&w, w.came_count >= 6);
    assert_memory_equal(w.came, "\x20\x02\x00\x00\xD0\x00", 6);
    hang_up(&w);
    world_end_with(&w);
}

TEST(handoff_with_tls_that_never_arrives_is_freed)
{
    uint8_t packet[64];
    struct world w;

    world_begin_with(&w, TLS_KEYS);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet, put_connect_from_afar(&w, packet));
    push(&w);
    TURN_UNTIL(w.from, load_relaxed(&w.from->conn_count) == 0); /* it is in the mail */
    world_end_with(&w);
}

TEST(handoff_comes_after_the_password)
{
    uint8_t packet[128];
    uint32_t n;
    struct world w;

    write_users(USER);
    world_begin_with(&w, passwords);
    for (uint32_t is_good = 0; is_good < 2; is_good++) {
        dial_tls(&w);
        shake_hands(&w);
        n = put_connect_of(&w, packet, "u", is_good ? "password" : "wrong");
        say_tls(&w, packet, n);
        push(&w);
        GO_UNTIL(&w, w.came_count >= 4);
        assert_memory_equal(w.came, is_good ? "\x20\x02\x00\x00" : "\x20\x02\x00\x04", 4);
        hang_up(&w);
    }
    world_end_with(&w);
}

TEST(password_asked_for_a_peer_that_has_closed_ends_well)
{
    uint8_t packet[128];
    struct world w;

    write_users(USER);
    world_begin_with(&w, passwords);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet, put_connect_of(&w, packet, "u", "password"));
    tls_close(w.tls); /* in the same segment; the socket stays open */
    push(&w);
    GO_UNTIL(&w, w.has_end);
    assert_memory_equal(w.came, "\x20\x02\x00\x00", 4);
    hang_up(&w);
    world_end_with(&w);
}

/* One receive brings a whole CONNECT and then something that no layer can stand. */
static void fail_behind_connect(const char *keys, bool is_tls)
{
    uint8_t packet[128];
    struct world w;

    write_users(USER);
    world_begin_with(&w, keys);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet,
            is_tls ? put_connect_of(&w, packet, "u", "password")
                   : put_connect_from_afar(&w, packet));
    {
        struct bytes out = tls_output(w.tls);
        uint8_t all[1024];

        assert_true(out.n + 40 < sizeof(all));
        memcpy(all, out.p, out.n);
        memcpy(all + out.n, "\x17\x03\x03\x00\x20", 5);
        memset(all + out.n + 5, 'x', 32);
        assert_int_equal(send(w.fd, all, out.n + 37, MSG_NOSIGNAL), out.n + 37);
        tls_output_sent(w.tls, (uint32_t)out.n);
    }
    GO_UNTIL(&w, w.has_end);
    hang_up(&w);
    world_end_with(&w);
}

TEST(layers_that_fail_behind_the_connect_end_the_connection)
{
    fail_behind_connect(passwords, true); /* while the password would be asked for */
    fail_behind_connect(TLS_KEYS, false); /* when it would be handed off */
}

TEST(stop_comes_while_passwords_are_asked_and_hands_are_shaken)
{
    uint8_t packet[128];
    struct world w;
    int first;

    write_users(USER);
    world_begin_with(&w, passwords);
    dial_tls(&w); /* this one never goes on */
    push(&w);
    first = w.fd;
    tls_destroy(w.tls);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet, put_connect_of(&w, packet, "u", "password"));
    push(&w);
    for (int turns = 0; turns < 3; turns++)
        assert_true(worker_turn_within(w.from, 500));
    store_release(&w.server.net.phase, NET_STOPPING); /* this thread's own */
    GO_UNTIL(&w, load_relaxed(&w.server.net.connection_count) == 0);
    close(first);
    world_end_with(&w);
}

TEST(world_may_end_while_passwords_are_asked)
{
    uint8_t packet[128];
    struct world w;

    write_users(USER);
    world_begin_with(&w, passwords);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet, put_connect_of(&w, packet, "u", "password"));
    push(&w);
    for (int turns = 0; turns < 2; turns++)
        assert_true(worker_turn_within(w.from, 500));
    world_end_with(&w);
}

TEST(password_of_a_user_who_is_deleted_meanwhile_is_refused)
{
    static const struct hash_key key = {{1, 2, 3, 4}};
    struct passwd *fresh;
    uint8_t packet[128];
    struct world w;

    write_users(USER);
    world_begin_with(&w, passwords);
    dial_tls(&w);
    shake_hands(&w);
    say_tls(&w, packet, put_connect_of(&w, packet, "u", "password"));
    push(&w);
    TURN_UNTIL(w.from, load_relaxed(&w.from->conn_count) == 0); /* on its way home */
    assert_int_equal(passwd_parse(bytes_str("#\n"), &key, NULL, NULL, &fresh), OK);
    auth_replace(w.server.net.auth, fresh, NULL);
    passwd_release(fresh);
    GO_UNTIL(&w, w.came_count >= 4);
    assert_memory_equal(w.came, "\x20\x02\x00\x04", 4);
    hang_up(&w);
    world_end_with(&w);
}

/* Bytes one by one are parts of one message: they do not use up the rate of handshakes. */
TEST(handshake_byte_by_byte_does_not_use_up_the_rate)
{
    struct bytes none = bytes_of("", 0);
    uint32_t count;
    struct world w;

    world_begin_with(&w, TLS_KEYS "[limits]\nmax_handshake_rate = 10\n");
    dial_tls(&w);
    assert_int_equal(tls_open(w.tls, &none, w.came, sizeof(w.came), &count), TLS_MORE);
    while (tls_output(w.tls).n > 0) {
        assert_int_equal(send(w.fd, tls_output(w.tls).p, 1, MSG_NOSIGNAL), 1);
        tls_output_sent(w.tls, 1);
        turn_both(&w);
        turn_both(&w);
    }
    GO_UNTIL(&w, tls_is_established(w.tls));
    assert_true(w.from->handshake_credit >= 7000);
    hang_up(&w);
    world_end_with(&w);
}

TEST(handshakes_beyond_the_rate_wait_and_are_freed_at_the_end)
{
    enum { PEERS = 20 };
    struct tls_context *context;
    struct tls *tls[PEERS];
    int fds[PEERS];
    struct world w;

    world_begin_with(&w, TLS_KEYS "[limits]\nmax_handshake_rate = 1\n");
    for (uint32_t i = 0; i < PEERS; i++) {
        struct bytes none = bytes_of("", 0);
        uint32_t count;

        dial_tls(&w);
        tls[i] = w.tls;
        fds[i] = w.fd;
        assert_int_equal(tls_open(w.tls, &none, w.came, sizeof(w.came), &count), TLS_MORE);
        push(&w);
    }
    for (int turns = 0; turns < 50; turns++)
        turn_both(&w);
    assert_non_null(w.from->handshake_first);
    assert_true(conn_handshake_us(w.from) > 10000); /* it sleeps meanwhile */
    for (uint32_t i = 0; i < PEERS; i++) {
        tls_destroy(tls[i]);
        if (i % 2)
            close(fds[i]);
    }
    w.tls = NULL;
    w.fd = -1;
    w.from->ahead_ms += 11000; /* connect_timeout */
    for (int turns = 0; load_relaxed(&w.from->conn_count) > 0; turns++) {
        assert_true(turns < 10000);
        turn_both(&w);
    }
    assert_int_equal(held_bytes(w.from), 0);
    for (uint32_t i = 0; i < PEERS; i += 2)
        close(fds[i]);
    context = w.context;
    w.context = NULL;
    tls_context_release(context);
    world_end_with(&w);
}

/* accept(2) also gives connections that the peer has reset already: they have no address any more,
 * but what was sent in them can still be read. */
TEST(accepted_socket_without_address_comes_in_only_where_every_address_may)
{
    static const char *const keys[] = {
        "", "allow = 127.0.0.0/8\n", "deny = 192.0.2.0/24\n",
        "proxy_protocol = on\nproxy_trusted = 127.0.0.1\nallow_anonymous = true\n"};

    for (uint32_t i = 0; i < 4; i++) {
        struct world w;

        world_begin_with(&w, keys[i]);
        assert_true(listener_admit(w.from, 0));
        conn_accept(w.from, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 0);
        assert_int_equal(load_relaxed(&w.from->conn_count), i == 0);
        world_end_with(&w);
    }
}
