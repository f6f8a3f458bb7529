/* tests/net/test_server.c -- several workers in their threads: hand-off, mail, wakes, stop. */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cfg/parse.h"
#include "net/clock.h"
#include "net/server.h"
#include "tests/support/port.h"

struct world {
    struct cfg *cfg;
    struct server server;
    struct server_options options;
    uint16_t port;
};

#define FILES "build/test_server."

static const char *more_text = ""; /* of the configuration */

static struct cfg *configure(uint32_t workers, uint16_t port)
{
    char text[512];
    struct cfg_errors errs;
    struct cfg *cfg = NULL;

    snprintf(text, sizeof(text),
             "[broker]\nworkers = %u\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = 127.0.0.1:%u\n%s",
             workers, port, more_text);
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    return cfg;
}

static const struct net_link_ops *link_ops; /* of the brokers that are made */
static const char *file;

/* Everything up to the workers, which do not run yet. */
static struct world *world_make(const char *mask, uint32_t workers)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->port = free_port();
    w->cfg = configure(workers, w->port);
    if (mask)
        setenv("CAUSEWAY_MASK", mask, 1);
    else
        unsetenv("CAUSEWAY_MASK");
    w->options = (struct server_options){
        .cfg = w->cfg, .version = "test", .link_ops = link_ops, .file = file};
    if (server_init(&w->server, &w->options) != OK)
        fail_msg("%s", w->server.why);
    return w;
}

/* The same, with every worker in a thread of its own. */
static struct world *world_begin(const char *mask, uint32_t workers)
{
    struct world *w = world_make(mask, workers);

    for (uint32_t i = 0; i < w->server.net.worker_count; i++)
        assert_int_equal(worker_start(w->server.net.workers[i]), OK);
    return w;
}

static uint32_t open_count(struct world *w)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < w->server.net.worker_count; i++)
        count += load_relaxed(&w->server.net.workers[i]->conn_count);
    return count;
}

static void begin_stop(struct world *w)
{
    store_release(&w->server.net.phase, NET_STOPPING); /* pairs with load_acquire in worker.c */
    for (uint32_t i = 0; i < w->server.net.worker_count; i++)
        worker_ring(w->server.net.workers[i]);
}

/* Frees what no worker runs in any more. */
static void world_free(struct world *w)
{
    server_fini(&w->server);
    cfg_free(w->cfg);
    free(w);
}

static void world_end(struct world *w)
{
    server_stop(&w->server);
    assert_int_equal(open_count(w), 0); /* all went by themselves, in time */
    world_free(w);
}

/* ---- the workers on this thread, turn by turn ---- */

static struct world *turned_begin(uint32_t workers)
{
    struct world *w = world_make(NULL, workers);

    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(worker_begin(w->server.net.workers[i]), OK);
    return w;
}

/* One turn of each, which sleeps at most so long. */
static void turn_all(struct world *w, uint64_t sleep_us)
{
    for (uint32_t i = 0; i < w->server.net.worker_count; i++)
        assert_true(worker_turn_within(w->server.net.workers[i], sleep_us));
}

static void turned_end(struct world *w)
{
    uint64_t until_ms = clock_mono_ms() + 20000;

    while (open_count(w) > 0 && clock_mono_ms() < until_ms)
        turn_all(w, 1000);
    assert_int_equal(open_count(w), 0);
    store_release(&w->server.net.phase, NET_STOPPED); /* this thread's own */
    for (uint32_t i = 0; i < w->server.net.worker_count; i++) {
        assert_false(worker_turn_within(w->server.net.workers[i], 0));
        worker_end(w->server.net.workers[i]);
    }
    world_free(w);
}

/* ---- a small client ---- */

static int dial(struct world *w)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(w->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void say(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

/* The end of a ring that this thread once had may interrupt a call: io_uring works by signals. */
static ssize_t hear_some(int fd, void *to, size_t n)
{
    ssize_t came;

    do
        came = recv(fd, to, n, 0);
    while (came < 0 && errno == EINTR);
    return came;
}

static void hear(int fd, const void *p, size_t n)
{
    uint8_t got[64];

    assert_true(n <= sizeof(got));
    for (size_t have = 0; have < n;) {
        ssize_t came = hear_some(fd, got + have, n - have);

        if (came <= 0)
            fail_msg("%zu of %zu bytes came: %s", have, n, came ? strerror(errno) : "end");
        have += (size_t)came;
    }
    assert_memory_equal(got, p, n);
}

/* CONNECT of MQTT 3.1.1, clean session, client id "cNNNN". */
static int client(struct world *w, uint32_t id)
{
    static const uint8_t head[] = {0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 5};
    uint8_t packet[sizeof(head) + 6];
    int fd = dial(w);

    memcpy(packet, head, sizeof(head));
    snprintf((char *)packet + sizeof(head), 6, "c%04u", id % 10000);
    say(fd, packet, sizeof(head) + 5);
    return fd;
}

static void everybody_hears_everybody(const char *mask, uint32_t workers)
{
    enum { CLIENTS = 12 };
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    static const uint8_t subscribe[] = {0x82, 8, 0, 1, 0, 3, 'a', '/', '+', 0};
    static const uint8_t suback[] = {0x90, 3, 0, 1, 0};
    struct world *w = world_begin(mask, workers);
    int fds[CLIENTS];

    for (uint32_t i = 0; i < CLIENTS; i++)
        fds[i] = client(w, i);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        hear(fds[i], connack, sizeof(connack));
        say(fds[i], subscribe, sizeof(subscribe));
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        hear(fds[i], suback, sizeof(suback));
    for (uint32_t i = 0; i < CLIENTS; i++) {
        uint8_t publish[] = {0x30, 7, 0, 3, 'a', '/', 'b', (uint8_t)i, 'x'};

        say(fds[i], publish, sizeof(publish));
        for (uint32_t k = 0; k < CLIENTS; k++)
            hear(fds[k], publish, sizeof(publish));
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        close(fds[i]);
    world_end(w);
}

TEST(server_delivers_between_workers)
{
    everybody_hears_everybody(NULL, 1);
    everybody_hears_everybody(NULL, 2);
    everybody_hears_everybody(NULL, 7);
}

TEST(server_delivers_on_lesser_kernels)
{
    everybody_hears_everybody("msg_ring", 3);
    everybody_hears_everybody("cqe_skip", 3);
    everybody_hears_everybody("multishot_accept,multishot_recv", 3);
    everybody_hears_everybody("buffer_ring", 3);
    everybody_hears_everybody("all", 3);
}

TEST(server_tells_clients_when_it_stops)
{
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    static const uint8_t connect_5[] = {0x10, 15, 0,  4, 'M', 'Q', 'T', 'T', 5,
                                        2,    0,  60, 0, 0,   2,   'v', '5'};
    struct world *w = world_begin(NULL, 3);
    int fds[9];
    int silent = dial(w);
    int newer = dial(w);
    uint8_t head[2], body[128], byte;

    for (uint32_t i = 0; i < 9; i++) {
        fds[i] = client(w, i);
        hear(fds[i], connack, sizeof(connack));
    }
    say(newer, connect_5, sizeof(connect_5));
    assert_int_equal(hear_some(newer, head, 2), 2);
    assert_int_equal(hear_some(newer, body, head[1]), head[1]);
    begin_stop(w);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(hear_some(fds[i], &byte, 1), 0);
        close(fds[i]);
    }
    hear(newer, "\xE0\x01\x8B", 3); /* DISCONNECT, server shutting down */
    close(newer);
    assert_true(hear_some(silent, &byte, 1) <= 0);
    close(silent);
    world_end(w);
}

/* Sends PUBLISH packets of 60,000 bytes to a/b. */
static void publish_much(int fd, uint32_t count)
{
    enum { REST = 60000, ALL = 4 + REST };
    static uint8_t packet[ALL] = {0x30, 0xE0, 0xD4, 0x03, 0, 3, 'a', '/', 'b'};

    for (uint32_t i = 0; i < count; i++) {
        for (size_t at = 0; at < ALL;) {
            ssize_t n = send(fd, packet + at, ALL - at, MSG_NOSIGNAL);

            assert_true(n > 0 || errno == EINTR);
            at += n > 0 ? (size_t)n : 0;
        }
    }
}

TEST(server_stops_soon_when_a_client_does_not_read)
{
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    static const uint8_t subscribe[] = {0x82, 8, 0, 1, 0, 3, 'a', '/', '+', 0};
    static const uint8_t suback[] = {0x90, 3, 0, 1, 0};
    struct world *w = world_begin(NULL, 2);
    int reader = client(w, 1), sender = client(w, 2), small = 4096;
    uint64_t from_ms;

    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    hear(reader, connack, sizeof(connack));
    hear(sender, connack, sizeof(connack));
    say(reader, subscribe, sizeof(subscribe));
    hear(reader, suback, sizeof(suback));
    publish_much(sender, 200);
    say(sender, "\xC0\x00", 2);
    hear(sender, "\xD0\x00", 2);
    close(sender);
    from_ms = clock_mono_ms();
    world_end(w);
    assert_in_range(clock_mono_ms() - from_ms, 500, 2500); /* it was waited for, but not long */
    close(reader);
}

TEST(server_refuses_an_address_that_is_taken)
{
    struct world *w = world_begin(NULL, 2);
    struct server second;
    struct server_options options = {.cfg = w->cfg, .version = "test"};

    assert_int_equal(server_init(&second, &options), ERR_SYSTEM);
    assert_non_null(strstr(second.why, "is another broker running on 127.0.0.1:"));
    server_fini(&second);
    world_end(w);
}

/* ---- reading anew ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct world *with_files_begin(void)
{
    struct world *w;

    write_file(FILES "users", "");
    write_file(FILES "acl", "topic read a\n");
    more_text = "allow_anonymous = true\n"
                "[auth]\nacl_file = " FILES "acl\npassword_file = " FILES "users\n";
    w = world_begin(NULL, 2);
    more_text = "";
    return w;
}

TEST(server_reload_says_what_it_came_to)
{
    struct world *w = with_files_begin();
    const struct acl *before = w->server.secrets.acl;
    char text[SERVER_RELOAD_BYTES];

    assert_int_equal(server_reload(&w->server, text, sizeof(text)), OK);
    assert_string_equal(text, "reloaded: certificates, users, rules and links");
    assert_ptr_not_equal(w->server.secrets.acl, before);
    before = w->server.secrets.acl;
    write_file(FILES "users", "nothing\n");
    write_file(FILES "acl", "topic read a\ntopik read b\n");
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), ERR_PEER);
    assert_non_null(strstr(text, FILES "users:1: "));
    assert_non_null(strstr(text, "\n" FILES "acl:2: "));
    assert_non_null(strstr(text, "\ncertificates, users, rules and links stay as they were"));
    assert_ptr_equal(w->server.secrets.acl, before);
    assert_int_equal(server_reload(&w->server, text, 10), ERR_PEER); /* little room: cut */
    assert_int_equal(strlen(text), 9);
    world_end(w);
}

/* Another thread that has everything read anew, over and over. */
struct asker {
    struct server *server;
    pthread_t thread;
    uint32_t rounds;
    enum err last;
    char text[SERVER_RELOAD_BYTES];
    _Atomic uint32_t done; /* rounds */
};

static void *ask(void *user)
{
    struct asker *a = user;

    for (uint32_t i = 0; i < a->rounds; i++) {
        a->last = server_reload(a->server, a->text, sizeof(a->text));
        store_release(&a->done, i + 1); /* pairs with load_acquire in the test */
    }
    return NULL;
}

static void asker_start(struct asker *a, struct world *w, uint32_t rounds)
{
    *a = (struct asker){.server = &w->server, .rounds = rounds};
    assert_int_equal(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void serve_until_done(struct asker *a)
{
    uint64_t until_ms = clock_mono_ms() + 20000;

    while (load_acquire(&a->done) < a->rounds && clock_mono_ms() < until_ms)
        assert_false(server_serve(a->server, 10));
    assert_int_equal(pthread_join(a->thread, NULL), 0);
}

TEST(server_reload_by_other_threads_is_done_by_main)
{
    enum { ASKERS = 3, ROUNDS = 20 };
    struct world *w = with_files_begin();
    struct asker askers[ASKERS], bad;

    for (uint32_t i = 0; i < ASKERS; i++)
        asker_start(&askers[i], w, ROUNDS);
    for (uint32_t i = 0; i < ASKERS; i++) {
        serve_until_done(&askers[i]);
        assert_int_equal(askers[i].last, OK);
        assert_string_equal(askers[i].text, "reloaded: certificates, users, rules and links");
    }
    write_file(FILES "acl", "topik read b\n");
    asker_start(&bad, w, 1);
    serve_until_done(&bad);
    assert_int_equal(bad.last, ERR_PEER);
    assert_non_null(strstr(bad.text, FILES "acl:1: "));
    world_end(w);
}

TEST(server_reload_of_a_broker_that_stops_is_refused)
{
    struct world *w = with_files_begin();
    struct asker a;

    asker_start(&a, w, 100); /* in the middle of it when the broker stops */
    while (load_acquire(&a.done) < 2)
        assert_false(server_serve(&w->server, 10));
    server_stop(&w->server);
    assert_int_equal(pthread_join(a.thread, NULL), 0);
    assert_int_equal(a.last, ERR_SYSTEM);
    assert_string_equal(a.text, "the broker stops");
    world_free(w);
}

/* ---- links ---- */

/* A link layer that only looks at what it is given. */
struct looker {
    struct worker *worker;
    _Atomic uint32_t applied;  /* so often */
    _Atomic uint64_t is_there; /* a bit for each number */
    char first[CFG_NAME_BYTES_MAX + 1];
};

static struct looker looker;

static void *look_setup(const struct cfg *cfg, struct worker *w, uint32_t number, uint32_t count,
                        struct shard_hooks *hooks)
{
    (void)cfg;
    (void)hooks;
    assert_int_equal(number, 0);
    assert_int_equal(count, 1);
    looker = (struct looker){.worker = w};
    return &looker;
}

static bool look_apply(void *link, struct cfg_link *const links[LINKS_MAX])
{
    struct looker *l = link;
    uint64_t there = 0;

    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (links[i] && strlen(links[i]->name) > 0 && links[i]->topic_count < 10)
            there |= 1ull << i;
    if (links[0])
        snprintf(l->first, sizeof(l->first), "%s", links[0]->name);
    store_relaxed(&l->is_there, there);
    store_release(&l->applied, load_relaxed(&l->applied) + 1); /* pairs with applied_times */
    return load_relaxed(&l->applied) % 2 == 0;                 /* each is given twice */
}

static const struct net_link_ops look_ops = {.setup = look_setup, .apply = look_apply};

/* Waits until links were given so often. */
static void applied_times(uint32_t count)
{
    uint64_t until_ms = clock_mono_ms() + 20000;

    while (load_acquire(&looker.applied) < count && clock_mono_ms() < until_ms)
        sched_yield();
    assert_int_equal(load_acquire(&looker.applied), count);
}

static struct world *with_links_begin(const char *links)
{
    static char text[300];
    struct world *w;

    snprintf(text, sizeof(text), "[cluster]\nname = us\n%s", links);
    more_text = text;
    link_ops = &look_ops;
    w = world_begin(NULL, 2);
    more_text = "";
    link_ops = NULL;
    return w;
}

static struct cfg *with_links(const char *links)
{
    static char text[300];
    struct cfg *cfg;

    snprintf(text, sizeof(text), "[cluster]\nname = us\n%s", links);
    more_text = text;
    cfg = configure(2, 1);
    more_text = "";
    return cfg;
}

#define A_LINK(name) "[link " name "]\nserver = h\ntopics = t\n"

TEST(server_gives_links_to_workers_by_numbers_that_stay)
{
    struct world *w = with_links_begin(A_LINK("a") A_LINK("b"));
    char text[SERVER_RELOAD_BYTES];

    assert_int_equal(
        server_set_links(&w->server, with_links(A_LINK("b") A_LINK("c")), text, sizeof(text)), OK);
    assert_non_null(strstr(text, "[link a] removed"));
    assert_non_null(strstr(text, "[link c] added"));
    assert_non_null(strstr(text, "needs a restart: [listener t] bind"));
    applied_times(2);
    assert_int_equal(load_relaxed(&looker.is_there), 2 | 4); /* not yet a's */
    assert_int_equal(
        server_set_links(&w->server, with_links(A_LINK("d") A_LINK("b")), text, sizeof(text)), OK);
    applied_times(4);
    assert_int_equal(load_relaxed(&looker.is_there), 1 | 2);
    assert_string_equal(looker.first, "d");
    world_end(w);
}

TEST(server_reads_the_links_of_its_file_anew_or_nothing)
{
    char text[SERVER_RELOAD_BYTES];
    struct world *w;

    file = FILES "conf";
    w = with_links_begin(A_LINK("a"));
    file = NULL;
    write_file(FILES "conf", "[cluster]\nname = us\n" A_LINK("a") A_LINK("b"));
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), OK);
    applied_times(2);
    assert_int_equal(load_relaxed(&looker.is_there), 3);
    write_file(FILES "conf", "[cluster]\nname = us\n" A_LINK("b") "colour = red\n");
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), ERR_PEER);
    assert_non_null(strstr(text, "conf:6: "));
    assert_non_null(strstr(text, "stay as they were"));
    write_file(FILES "conf", "[cluster]\nname = us\n" A_LINK("b") "tls = on\ncafile = /nowhere\n");
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), ERR_PEER);
    assert_non_null(strstr(text, "/nowhere"));
    assert_null(strstr(text, "[link a] removed"));
    write_file(FILES "conf", "[cluster]\nname = eu\n" A_LINK("us"));
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), ERR_PEER);
    assert_non_null(strstr(text, "the name that this cluster has"));
    assert_int_equal(load_relaxed(&looker.is_there), 3);
    unlink(FILES "conf");
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), ERR_PEER);
    write_file(FILES "conf", "[cluster]\nname = us\n");
    assert_int_equal(server_reload(&w->server, text, sizeof(text)), OK);
    applied_times(4);
    assert_int_equal(load_relaxed(&looker.is_there), 0);
    world_end(w);
}

TEST(server_without_a_cluster_has_its_first_link_after_a_restart)
{
    char text[SERVER_RELOAD_BYTES];
    struct world *w = world_begin(NULL, 1);

    assert_int_equal(server_set_links(&w->server, with_links(A_LINK("a")), text, sizeof(text)), OK);
    assert_non_null(strstr(text, "needs a restart: the first link"));
    assert_null(strstr(text, "[link a] added"));
    world_end(w);
}

static void *set_links(void *user)
{
    struct asker *a = user;

    for (uint32_t i = 0; i < a->rounds; i++) {
        struct cfg *cfg = with_links(i % 2 ? A_LINK("a") "peer_identity = x\n" : A_LINK("b"));

        a->last = server_set_links(a->server, cfg, a->text, sizeof(a->text));
        store_release(&a->done, i + 1); /* pairs with load_acquire in the test */
    }
    return NULL;
}

/* Clients come meanwhile, whose workers look at who may speak for which link. */
TEST(server_links_change_while_workers_read_them)
{
    struct world *w = with_links_begin(A_LINK("a"));
    struct asker a = {.server = &w->server, .rounds = 200};
    uint64_t until_ms = clock_mono_ms() + 30000;

    assert_int_equal(pthread_create(&a.thread, NULL, set_links, &a), 0);
    while (load_acquire(&a.done) < a.rounds && clock_mono_ms() < until_ms) {
        int fd = dial(w);

        assert_false(server_serve(&w->server, 1));
        close(fd);
    }
    assert_int_equal(pthread_join(a.thread, NULL), 0);
    assert_int_equal(a.last, OK);
    world_end(w);
}

static uint64_t connected_count(struct world *w)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < w->server.net.worker_count; i++)
        count += load_relaxed(&shard_stats(w->server.net.workers[i]->shard)->clients_connected);
    return count;
}

/* A turn with nothing to do ends when its sleep does. A machine that is slow only makes it longer,
 * so what is counted is how much of the time was slept away, at the least. */
TEST(server_idle_workers_sleep)
{
    enum { CLIENTS = 30, ROUNDS = 20, WORKERS = 3, SLEEP_US = 5000 };
    static const uint8_t connack[] = {0x20, 2, 0, 0};
    struct world *w = turned_begin(WORKERS);
    int fds[CLIENTS];
    uint64_t from_ms;

    for (uint32_t i = 0; i < CLIENTS; i++)
        fds[i] = client(w, i);
    from_ms = clock_mono_ms();
    while (connected_count(w) < CLIENTS && clock_mono_ms() < from_ms + 20000)
        turn_all(w, 1000);
    for (uint32_t i = 0; i < 10; i++)
        turn_all(w, 1000); /* what was begun comes to its end */
    for (uint32_t i = 0; i < CLIENTS; i++)
        hear(fds[i], connack, sizeof(connack));
    from_ms = clock_mono_ms();
    for (uint32_t i = 0; i < ROUNDS; i++)
        turn_all(w, SLEEP_US);
    assert_true(clock_mono_ms() - from_ms >= ROUNDS * WORKERS * SLEEP_US / 1000 * 3 / 4);
    for (uint32_t i = 0; i < CLIENTS; i++)
        close(fds[i]);
    turned_end(w);
}
