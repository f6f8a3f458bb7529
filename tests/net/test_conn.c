/* tests/net/test_conn.c -- connections over real sockets and a real ring, with a stream of ours.
 *
 * The stream speaks packets of a four-byte length (of all of it) and a body, and answers each with
 * itself. Everything runs on the test's thread, turn by turn, once for each set of kernel features.
 */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cfg/parse.h"
#include "net/clock.h"
#include "net/conn_state.h"
#include "net/listener.h"
#include "net/resolver.h"
#include "net/server.h"
#include "tests/support/port.h"

static const char *const masks[] = {NULL, "multishot_recv", "buffer_ring", "all",
                                    "cqe_skip,defer_taskrun"};

/* ---- the world: one worker on this thread ---- */

struct world {
    struct cfg *cfg;
    struct server server;
    struct server_options options;
    struct worker *w;
    uint16_t port;
};
static struct world *world;

static void world_begin(const char *mask, const char *more)
{
    char text[512];
    struct cfg_errors errs;

    world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->port = free_port();
    snprintf(text, sizeof(text),
             "[broker]\nworkers = 1\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = 127.0.0.1:%u\n%s",
             world->port, more);
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &world->cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    if (mask)
        setenv("CAUSEWAY_MASK", mask, 1);
    else
        unsetenv("CAUSEWAY_MASK");
    world->options = (struct server_options){.cfg = world->cfg, .version = "test"};
    if (server_init(&world->server, &world->options) != OK)
        fail_msg("%s", world->server.why);
    world->w = world->server.net.workers[0];
    assert_int_equal(worker_begin(world->w), OK);
}

static void turn(void)
{
    assert_true(worker_turn_within(world->w, 1000));
}

/* Turns until the condition holds. */
#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ms = clock_mono_ms() + 20000;                                               \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            if (clock_mono_ms() > until_ms)                                                        \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static uint32_t conn_count(void)
{
    return world->w->conns.count;
}

/* Bytes that connections hold of packets that are not whole, as the shard knows them. */
static uint64_t held_bytes(void)
{
    return load_relaxed(&shard_stats(world->w->shard)->input_bytes_held);
}

/* Every connection must be gone already, or go by itself. */
static void world_end(void)
{
    TURN_UNTIL(conn_count() == 0);
    assert_int_equal(held_bytes(), 0);
    assert_int_equal(load_relaxed(&world->server.net.connection_count), 0);
    store_release(&world->server.net.phase, NET_STOPPED);
    worker_end(world->w);
    server_fini(&world->server);
    cfg_free(world->cfg);
    free(world);
    world = NULL;
}

#define TEST_ALL_MASKS(name)                                                                       \
    static void with_mask_##name(void);                                                            \
    TEST(name)                                                                                     \
    {                                                                                              \
        for (size_t mask_idx = 0; mask_idx < sizeof(masks) / sizeof(masks[0]); mask_idx++) {       \
            world_begin(masks[mask_idx], "");                                                      \
            with_mask_##name();                                                                    \
            world_end();                                                                           \
        }                                                                                          \
    }                                                                                              \
    static void with_mask_##name(void)

/* ---- the stream ---- */

struct echo {
    struct stream s;
    uint32_t packets;
    uint32_t drained, opened, closed;
    enum close_reason why;
    bool must_park; /* takes no packet now */
    bool is_sink;   /* answers nothing */
};

static uint32_t echo_input(struct stream *s, struct bytes in, enum input *verdict, uint32_t *need)
{
    struct echo *e = (struct echo *)s;
    uint32_t taken = 0;

    *verdict = INPUT_MORE;
    *need = 0;
    while (in.n - taken >= 4) {
        uint32_t n = get_be32(in.p + taken);
        uint8_t *to;

        assert_true(n >= 4);
        if (in.n - taken < n) {
            *need = n;
            break;
        }
        if (e->must_park) {
            *verdict = INPUT_PARKED;
            break;
        }
        if (!e->is_sink) {
            to = outq_reserve(&s->outq, shard_pool(s->shard), n);
            assert_non_null(to);
            memcpy(to, in.p + taken, n);
            stream_touch(s);
        }
        e->packets++;
        taken += n;
    }
    return taken;
}

static void echo_drained(struct stream *s)
{
    ((struct echo *)s)->drained++;
}

static void echo_opened(struct stream *s)
{
    ((struct echo *)s)->opened++;
}

static void echo_closed(struct stream *s, enum close_reason why)
{
    struct echo *e = (struct echo *)s;

    e->closed++;
    e->why = why;
    outq_fini(&s->outq, shard_pool(s->shard));
}

static const struct stream_ops echo_ops = {
    .input = echo_input, .drained = echo_drained, .opened = echo_opened, .closed = echo_closed};

static void echo_init(struct echo *e)
{
    *e = (struct echo){.s = {.ops = &echo_ops, .shard = world->w->shard}};
    outq_init(&e->s.outq);
}

/* Attaches `e` to one end of a socket pair; returns the other end, which never blocks. */
static int echo_open(struct echo *e)
{
    int pair[2];

    echo_init(e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(conn_attach(world->w, pair[0], &e->s), OK);
    return pair[1];
}

static struct conn *conn_of(struct echo *e)
{
    return e->s.conn;
}

/* A packet of `n` bytes whose body counts up from `seed`. The caller frees it. */
static uint8_t *packet(uint32_t n, uint8_t seed)
{
    uint8_t *p = malloc(n);

    assert_non_null(p);
    put_be32(p, n);
    for (uint32_t i = 4; i < n; i++)
        p[i] = (uint8_t)(seed + i * 7);
    return p;
}

/* Sends all of it, turning when the socket is full; takes what comes back into `back`. */
static void send_all(int fd, const uint8_t *p, size_t n, uint8_t *back, size_t *got)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        ssize_t came;

        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else {
            assert_int_equal(errno, EAGAIN);
            turn();
        }
        while (back && (came = recv(fd, back + *got, 65536, 0)) > 0)
            *got += (size_t)came;
    }
}

static void receive(int fd, uint8_t *to, size_t *got, size_t want)
{
    uint64_t until_ms = clock_mono_ms() + 20000;

    while (*got < want) {
        ssize_t n = recv(fd, to + *got, want - *got, 0);

        if (n > 0)
            *got += (size_t)n;
        else if (n == 0)
            fail_msg("end of file after %zu of %zu bytes", *got, want);
        else
            turn();
        if (clock_mono_ms() > until_ms)
            fail_msg("%zu of %zu bytes came", *got, want);
    }
}

/* Whether the other end sees the end of the connection, after whatever comes before it. */
static bool ends(int fd)
{
    uint8_t buffer[4096];
    ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* ---- receiving ---- */

TEST_ALL_MASKS(conn_takes_bytes_one_at_a_time)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *p = packet(300, 1);
    uint8_t back[300];
    size_t got = 0;

    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(send(fd, p + i, 1, 0), 1);
        turn();
    }
    receive(fd, back, &got, 300);
    assert_memory_equal(back, p, 300);
    assert_null(conn_of(&e)->held);
    free(p);
    close(fd);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.why, CLOSE_EOF);
}

TEST_ALL_MASKS(conn_takes_packets_of_all_sizes_in_order)
{
    static const uint32_t sizes[] = {4,     5,  2047,   2048,    2049,  100,   40000,
                                     70000, 12, 300000, 2000000, 33000, 32768, 4096};
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *back = malloc(4u << 20);

    assert_non_null(back);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint8_t *p = packet(sizes[i], (uint8_t)i);
            size_t got = 0;

            send_all(fd, p, sizes[i], back, &got);
            receive(fd, back, &got, sizes[i]);
            assert_int_equal(got, sizes[i]);
            assert_memory_equal(back, p, sizes[i]);
            assert_null(conn_of(&e)->held);
            free(p);
        }
    }
    free(back);
    close(fd);
    TURN_UNTIL(e.closed);
}

TEST_ALL_MASKS(conn_takes_a_stream_without_pauses)
{
    enum { COUNT = 4000 };
    struct echo e;
    int fd = echo_open(&e);
    size_t bytes = 0, got = 0;
    uint8_t *all = malloc(COUNT * 1000), *back = malloc(COUNT * 1000 + 65536);

    assert_true(all && back);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t n = 4 + (i * 37) % 900;
        uint8_t *p = packet(n, (uint8_t)i);

        memcpy(all + bytes, p, n);
        bytes += n;
        free(p);
    }
    send_all(fd, all, bytes, back, &got);
    receive(fd, back, &got, bytes);
    assert_memory_equal(back, all, bytes);
    assert_int_equal(e.packets, COUNT);
    free(all);
    free(back);
    close(fd);
    TURN_UNTIL(e.closed);
}

TEST_ALL_MASKS(conn_holds_little_for_who_announces_much)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t head[104] = {0};

    put_be32(head, 200u << 20);
    assert_int_equal(send(fd, head, sizeof(head), 0), sizeof(head));
    for (int i = 0; i < 20; i++)
        turn();
    assert_true(conn_of(&e)->held_room <= 128u << 10);
    assert_int_equal(conn_of(&e)->held_end - conn_of(&e)->held_start, sizeof(head));
    close(fd);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.why, CLOSE_EOF);
}

TEST_ALL_MASKS(conn_parks_and_goes_on_in_order)
{
    enum { COUNT = 100, SIZE = 300 };
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *back = malloc(COUNT * SIZE);
    size_t got = 0;

    assert_non_null(back);
    e.must_park = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t *p = packet(SIZE, (uint8_t)i);

        if (i == COUNT / 2)
            TURN_UNTIL(conn_of(&e)->is_parked);
        if (i == COUNT * 3 / 4)
            e.must_park = false;
        send_all(fd, p, SIZE, NULL, NULL);
        free(p);
    }
    receive(fd, back, &got, COUNT * SIZE);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t *p = packet(SIZE, (uint8_t)i);

        assert_memory_equal(back + i * SIZE, p, SIZE);
        free(p);
    }
    assert_false(conn_of(&e)->is_parked);
    free(back);
    close(fd);
    TURN_UNTIL(e.closed);
}

TEST_ALL_MASKS(conn_takes_what_was_parked_before_the_end)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *p = packet(100, 1);

    e.must_park = true;
    e.is_sink = true;
    send_all(fd, p, 100, NULL, NULL);
    close(fd);
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(e.closed, 0);
    e.must_park = false;
    TURN_UNTIL(e.closed);
    assert_int_equal(e.packets, 1);
    assert_int_equal(e.why, CLOSE_EOF);
    free(p);
}

/* ---- the memory that this takes ---- */

TEST_ALL_MASKS(conn_counts_what_it_holds)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *p = packet(1u << 20, 0);
    uint8_t *back = malloc(1u << 20);
    size_t got = 0;

    assert_non_null(back);
    send_all(fd, p, 10, NULL, NULL);
    TURN_UNTIL(conn_of(&e)->held);
    assert_int_equal(held_bytes(), conn_of(&e)->held_room);
    send_all(fd, p + 10, 800000, NULL, NULL);
    TURN_UNTIL(conn_of(&e)->held_end >= 800010);
    assert_int_equal(held_bytes(), conn_of(&e)->held_room);
    send_all(fd, p + 800010, (1u << 20) - 800010, back, &got);
    receive(fd, back, &got, 1u << 20);
    assert_int_equal(held_bytes(), 0);
    e.must_park = true;
    send_all(fd, p, 1u << 20, NULL, NULL);
    TURN_UNTIL(conn_of(&e)->is_parked);
    assert_in_range(held_bytes(), 1u << 20, 3u << 20);
    close(fd);
    stream_abort(&e.s, CLOSE_ADMIN);
    TURN_UNTIL(e.closed);
    free(back);
    free(p);
}

/* Sends until all of it has left or the other end is gone. */
static void send_while_open(int fd, const uint8_t *p, size_t n, const struct echo *e)
{
    while (n > 0 && !e->closed) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
        turn();
    }
}

TEST(conn_is_closed_when_packets_that_are_not_whole_fill_the_memory)
{
    enum { COUNT = 40, SIZE = 2u << 20 };
    struct echo *e = calloc(COUNT, sizeof(*e));
    uint8_t *p = packet(SIZE, 0), *modest = packet(50000, 0);
    struct echo small;
    uint32_t closed = 0;
    int fds[COUNT], fd;

    assert_non_null(e);
    for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++, closed = 0) {
        world_begin(
            masks[m],
            "[limits]\nmemory_limit = 16MB\nmax_packet_size = 1MB\nmax_queued_bytes = 1MB\n");
        for (uint32_t i = 0; i < COUNT; i++) {
            fds[i] = echo_open(&e[i]);
            send_while_open(fds[i], p, SIZE - 100, &e[i]);
            assert_true(held_bytes() < 26u << 20);
        }
        fd = echo_open(&small); /* who holds little is served */
        send_while_open(fd, modest, 30000, &small);
        for (int i = 0; i < 50; i++)
            turn();
        assert_int_equal(small.closed, 0);
        assert_true(held_bytes() >= 30000);
        close(fd);
        for (uint32_t i = 0; i < COUNT; i++) {
            closed += e[i].closed && e[i].why == CLOSE_MEMORY;
            close(fds[i]);
        }
        assert_in_range(closed, COUNT / 2, COUNT - 4);
        assert_int_equal(load_relaxed(&shard_stats(world->w->shard)->dropped_memory), closed);
        world_end();
    }
    free(e);
    free(p);
    free(modest);
}

/* ---- sending ---- */

TEST_ALL_MASKS(conn_sends_much_through_a_small_socket)
{
    enum { SIZE = 100000, COUNT = 40 };
    struct echo e;
    int fd = echo_open(&e);
    int small = 4096;
    uint8_t *back = malloc(SIZE * COUNT), *p = packet(SIZE, 3);
    size_t got = 0;

    assert_non_null(back);
    setsockopt(conn_fd(conn_of(&e)), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    for (int i = 0; i < COUNT; i++) {
        uint8_t *to = outq_reserve(&e.s.outq, shard_pool(e.s.shard), SIZE);

        assert_non_null(to);
        memcpy(to, p, SIZE);
    }
    stream_touch(&e.s);
    receive(fd, back, &got, SIZE * COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_memory_equal(back + i * SIZE, p, SIZE);
    TURN_UNTIL(e.drained > 0 && e.s.outq.bytes == 0);
    free(back);
    free(p);
    close(fd);
    TURN_UNTIL(e.closed);
}

static void queue(struct echo *e, uint32_t n)
{
    uint8_t *to = outq_reserve(&e->s.outq, shard_pool(e->s.shard), n);

    assert_non_null(to);
    memset(to, 'x', n);
    stream_touch(&e->s);
}

TEST_ALL_MASKS(conn_close_lets_output_leave_first)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *back = malloc(2u << 20);
    size_t got = 0;

    assert_non_null(back);
    queue(&e, 1u << 20);
    stream_close(&e.s, CLOSE_TAKEN_OVER);
    turn();
    assert_int_equal(e.closed, 0);
    receive(fd, back, &got, 1u << 20);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.why, CLOSE_TAKEN_OVER);
    TURN_UNTIL(ends(fd));
    close(fd);
    free(back);
}

TEST_ALL_MASKS(conn_close_cuts_who_does_not_read)
{
    struct echo e;
    int fd = echo_open(&e);

    queue(&e, 4u << 20);
    stream_close(&e.s, CLOSE_PROTOCOL_ERROR);
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(e.closed, 0);
    world->w->ahead_ms += CONN_LINGER_MS + 200;
    TURN_UNTIL(e.closed);
    assert_int_equal(e.why, CLOSE_PROTOCOL_ERROR);
    close(fd);
}

TEST_ALL_MASKS(conn_that_closes_is_cut_soon_at_a_stop)
{
    struct echo e;
    int fd = echo_open(&e);

    queue(&e, 4u << 20);
    stream_close(&e.s, CLOSE_PROTOCOL_ERROR);
    for (int i = 0; i < 5; i++)
        turn();
    store_release(&world->server.net.phase, NET_STOPPING);
    turn();
    assert_int_equal(e.closed, 0);
    world->w->ahead_ms += CONN_STOP_LINGER_MS + 200;
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(e.closed, 1);
    close(fd);
}

TEST_ALL_MASKS(conn_abort_waits_for_nothing)
{
    struct echo e;
    int fd = echo_open(&e);

    queue(&e, 4u << 20);
    turn();
    stream_abort(&e.s, CLOSE_ADMIN);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.closed, 1);
    assert_int_equal(e.why, CLOSE_ADMIN);
    close(fd);
}

TEST_ALL_MASKS(conn_half_closed_is_not_kept_for_ever)
{
    struct echo e;
    int fd = echo_open(&e);

    stream_close(&e.s, CLOSE_KEEPALIVE);
    TURN_UNTIL(e.closed);
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(conn_count(), 1);
    world->w->ahead_ms += CONN_HALF_MS + 100;
    TURN_UNTIL(conn_count() == 0);
    close(fd);
}

/* ---- the peer ends ---- */

TEST_ALL_MASKS(conn_sees_the_peer_end_at_once)
{
    struct echo e;

    close(echo_open(&e));
    TURN_UNTIL(e.closed);
    assert_int_equal(e.why, CLOSE_EOF);
    assert_int_equal(e.closed, 1);
}

TEST_ALL_MASKS(conn_sees_the_peer_end_in_the_middle_of_a_large_packet)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *p = packet(1u << 20, 0);

    send_all(fd, p, 400000, NULL, NULL);
    close(fd);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.packets, 0);
    free(p);
}

TEST_ALL_MASKS(conn_sees_the_peer_end_with_output_waiting)
{
    struct echo e;
    int fd = echo_open(&e);

    queue(&e, 4u << 20);
    for (int i = 0; i < 5; i++)
        turn();
    close(fd);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.closed, 1);
}

TEST_ALL_MASKS(conn_answers_a_peer_that_has_only_stopped_sending)
{
    struct echo e;
    int fd = echo_open(&e);
    uint8_t *p = packet(500, 9);
    uint8_t back[500];
    size_t got = 0;

    send_all(fd, p, 500, NULL, NULL);
    shutdown(fd, SHUT_WR);
    receive(fd, back, &got, 500);
    TURN_UNTIL(e.closed);
    TURN_UNTIL(ends(fd));
    close(fd);
    free(p);
}

/* ---- through a listener ---- */

static int dial_listener(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(world->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* CONNECT of MQTT 3.1.1, clean session, with this client id of four letters. */
static void put_connect(uint8_t to[18], uint32_t id)
{
    static const uint8_t head[] = {0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 4};

    memcpy(to, head, sizeof(head));
    for (int i = 0; i < 4; i++)
        to[14 + i] = (uint8_t)('a' + ((id >> (4 * i)) & 15));
}

TEST_ALL_MASKS(conn_greets_a_client_byte_by_byte)
{
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    uint8_t connect_packet[18], back[4];
    int fd = dial_listener();
    size_t got = 0;

    put_connect(connect_packet, 1);
    for (size_t i = 0; i < sizeof(connect_packet); i++) {
        assert_int_equal(send(fd, connect_packet + i, 1, 0), 1);
        turn();
    }
    receive(fd, back, &got, 4);
    assert_memory_equal(back, connack, 4);
    assert_int_equal(conn_count(), 1);
    close(fd);
}

TEST_ALL_MASKS(conn_without_connect_is_cut_in_time)
{
    int fd = dial_listener();

    TURN_UNTIL(conn_count() == 1);
    assert_int_equal(send(fd, "\x10", 1, 0), 1);
    turn();
    assert_int_equal(conn_count(), 1);
    world->w->ahead_ms += world->cfg->limits.connect_timeout_ms * 65 / 64 + 100;
    TURN_UNTIL(conn_count() == 0);
    TURN_UNTIL(ends(fd));
    close(fd);
}

TEST_ALL_MASKS(conn_thousand_clients_come_and_go)
{
    enum { COUNT = 1000 };
    int *fds = malloc(COUNT * sizeof(*fds));
    uint8_t connect_packet[18], back[4];

    assert_non_null(fds);
    for (uint32_t i = 0; i < COUNT; i++) {
        fds[i] = dial_listener();
        put_connect(connect_packet, i);
        /* every third is silent, or stops in the middle */
        assert_true(send(fds[i], connect_packet, i % 3 == 1 ? 7 : sizeof(connect_packet), 0) > 0);
        if (i % 50 == 0)
            turn();
    }
    TURN_UNTIL(conn_count() == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t got = 0;

        if (i % 3 != 1)
            receive(fds[i], back, &got, 4);
        close(fds[i]);
    }
    TURN_UNTIL(conn_count() == 0);
    free(fds);
}

TEST(conn_beyond_the_limit_is_closed)
{
    int fds[5];

    world_begin(NULL, "max_connections = 3\n");
    for (int i = 0; i < 5; i++) {
        fds[i] = dial_listener();
        for (int k = 0; k < 20; k++)
            turn();
    }
    assert_int_equal(conn_count(), 3);
    assert_true(ends(fds[3]));
    assert_true(ends(fds[4]));
    close(fds[0]);
    TURN_UNTIL(conn_count() == 2);
    close(fds[3]);
    fds[3] = dial_listener();
    TURN_UNTIL(conn_count() == 3);
    for (int i = 1; i < 5; i++)
        close(fds[i]);
    world_end();
}

/* The smallest limit that leaves no descriptor. */
static void set_descriptors(rlim_t soft)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

TEST_ALL_MASKS(conn_is_taken_later_when_descriptors_are_short)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(world->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int next = dup(fd);
    struct rlimit before;
    uint32_t turns = 0;
    uint64_t end_ms;

    close(next);
    listener_disarm_all(world->w);
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    set_descriptors((rlim_t)next);
    listener_arm_all(world->w); /* the kernel takes the limit of this moment */
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    end_ms = clock_mono_ms() + 50;
    while (clock_mono_ms() < end_ms) {
        assert_true(worker_turn_within(world->w, 10000));
        turns++;
    }
    set_descriptors(before.rlim_cur);
    assert_int_equal(conn_count(), 0);
    assert_true(turns < 30); /* it waited */
    world->w->ahead_ms += 300;
    TURN_UNTIL(conn_count() == 1);
    close(fd);
}

/* ---- max_connection_rate ---- */

static uint64_t pauses(void)
{
    return load_relaxed(&shard_stats(world->w->shard)->accept_pauses);
}

static void turn_often(void)
{
    for (int i = 0; i < 20; i++)
        turn();
}

TEST(conn_beyond_the_rate_waits_until_its_time_has_come)
{
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        int fds[6];

        world_begin(masks[i], "max_connection_rate = 3/60s\n[limits]\nconnect_timeout = 600s\n");
        for (int k = 0; k < 6; k++)
            fds[k] = dial_listener(); /* the kernel has them all */
        TURN_UNTIL(conn_count() == 3);
        turn_often();
        assert_int_equal(conn_count(), 3);
        assert_int_equal(pauses(), 1);
        world->w->ahead_ms += 20500; /* one comes each 20 s, and timers may be late by a 64th */
        TURN_UNTIL(conn_count() == 4);
        turn_often();
        assert_int_equal(conn_count(), 4);
        world->w->ahead_ms += 45000;
        TURN_UNTIL(conn_count() == 6);
        for (int k = 0; k < 6; k++)
            close(fds[k]);
        world_end();
    }
}

TEST(conn_that_is_denied_takes_no_place_in_the_rate)
{
    int fds[6];

    world_begin(NULL, "max_connection_rate = 3/60s\ndeny = 127.0.0.0/8\n");
    for (int k = 0; k < 6; k++)
        fds[k] = dial_listener();
    for (int k = 0; k < 6; k++) {
        TURN_UNTIL(ends(fds[k]));
        close(fds[k]);
    }
    assert_int_equal(pauses(), 0);
    world_end();
}

/* ---- dialing ---- */

static void dial(struct stream *s, const char *host, uint16_t port)
{
    struct conn_target to = {.host = host, .port = port, .timeout_ms = 5000};

    assert_int_equal(conn_dial(world->w, s, &to), OK);
}

TEST_ALL_MASKS(conn_dials_and_talks)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t *p = packet(50, 5);
    uint8_t back[50];
    size_t got = 0;
    struct echo e;
    int fd;

    assert_int_equal(bind(listening, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listening, 4), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &n), 0);
    echo_init(&e);
    dial(&e.s, "127.0.0.1", ntohs(a.sin_port));
    TURN_UNTIL(e.opened);
    fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(fd >= 0);
    send_all(fd, p, 50, NULL, NULL);
    receive(fd, back, &got, 50);
    assert_memory_equal(back, p, 50);
    close(fd);
    TURN_UNTIL(e.closed);
    close(listening);
    free(p);
}

TEST_ALL_MASKS(conn_dial_that_is_refused_says_so_once)
{
    struct echo e;

    echo_init(&e);
    dial(&e.s, "127.0.0.1", free_port());
    assert_int_equal(e.closed, 0);
    TURN_UNTIL(e.closed);
    assert_int_equal(e.closed, 1);
    assert_int_equal(e.opened, 0);
}

TEST(conn_dial_looks_names_up_anew)
{
    struct echo e, gone, unknown;

    world_begin(NULL, "");
    world->server.net.resolver = resolver_create();
    assert_non_null(world->server.net.resolver);
    for (int i = 0; i < 2; i++) {
        echo_init(&e);
        dial(&e.s, "localhost", world->port);
        TURN_UNTIL(e.opened || e.closed);
        assert_int_equal(e.opened, 1);
        stream_abort(&e.s, CLOSE_LINK);
        TURN_UNTIL(e.closed);
    }
    echo_init(&gone);
    dial(&gone.s, "localhost", world->port);
    stream_abort(&gone.s, CLOSE_LINK); /* while it is being looked up */
    TURN_UNTIL(gone.closed);
    echo_init(&unknown);
    dial(&unknown.s, "no.such.host.invalid", 1);
    world->w->ahead_ms += 6000;
    TURN_UNTIL(unknown.closed);
    assert_int_equal(unknown.opened, 0);
    world_end();
}

TEST_ALL_MASKS(conn_dial_can_be_given_up)
{
    struct echo now, soon;

    echo_init(&now);
    dial(&now.s, "127.0.0.1", world->port);
    stream_abort(&now.s, CLOSE_LINK);
    TURN_UNTIL(now.closed);
    assert_int_equal(now.why, CLOSE_LINK);
    echo_init(&soon);
    dial(&soon.s, "127.0.0.1", world->port);
    turn();
    stream_close(&soon.s, CLOSE_LINK);
    TURN_UNTIL(soon.closed);
    assert_int_equal(soon.closed, 1);
}
