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
};

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
    char text[256];
    struct shard_hooks hooks = {.adopt = adopt};
    struct cfg_errors errs;

    memset(w, 0, sizeof(*w));
    the_world = w;
    snprintf(text, sizeof(text),
             "[broker]\nworkers = 2\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = 127.0.0.1:%u\n",
             free_port());
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

TEST(handoff_that_is_given_up_is_not_counted_any_more)
{
    struct world w;

    world_begin(&w);
    store_release(&w.server.net.phase, NET_STOPPING); /* this thread's own */
    TURN_UNTIL(w.from, load_relaxed(&w.from->conn_count) == 0);
    assert_int_equal(held_bytes(w.from), 0);
    assert_int_equal(load_relaxed(&w.server.net.connection_count), 0);
    world_end(&w);
}

TEST(handoff_that_never_left_is_freed_with_its_worker)
{
    struct world w;

    world_begin(&w);
    world_end(&w);
}
