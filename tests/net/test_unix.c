/* tests/net/test_unix.c -- listeners on Unix sockets: their files, and who connects. */
#include "tests/support/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cfg/parse.h"
#include "net/clock.h"
#include "net/conn_state.h"
#include "net/listener.h"
#include "net/server.h"

/* A folder of its own, and one worker or more on this thread. */
struct world {
    char folder[64], path[96];
    struct cfg *cfg;
    struct server server;
    struct server_options options;
};

static struct world *world_make(void)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    snprintf(w->folder, sizeof(w->folder), "/tmp/causeway-unix-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof(w->path), "%s/mqtt.sock", w->folder);
    return w;
}

static enum err start(struct world *w, uint32_t workers, const char *more)
{
    char text[512];
    struct cfg_errors errs;

    snprintf(text, sizeof(text),
             "[broker]\nworkers = %u\nsys_interval = 0\n[log]\nlog_dest = none\n"
             "[listener t]\nbind = unix:%s\n%s",
             workers, w->path, more);
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &w->cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    w->options = (struct server_options){.cfg = w->cfg, .version = "test"};
    return server_init(&w->server, &w->options);
}

static void stop(struct world *w)
{
    server_fini(&w->server);
    cfg_free(w->cfg);
    w->cfg = NULL;
}

static void world_free(struct world *w)
{
    unlink(w->path);
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
}

static struct stat stat_of(const struct world *w)
{
    struct stat st;

    assert_int_equal(lstat(w->path, &st), 0);
    return st;
}

static bool is_there(const struct world *w)
{
    struct stat st;

    return lstat(w->path, &st) == 0;
}

/* A socket at the path, bound by somebody else; it listens or is left behind. */
static int foreign(const struct world *w, bool listens)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, w->path, strlen(w->path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    if (listens)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

TEST(unix_socket_has_its_mode_whatever_the_mask)
{
    struct world *w = world_make();
    mode_t mask = umask(0077);

    assert_int_equal(start(w, 1, "socket_mode = 0666\n"), OK);
    assert_int_equal(stat_of(w).st_mode & 07777, 0666);
    stop(w);
    umask(0);
    assert_int_equal(start(w, 1, ""), OK);
    assert_int_equal(stat_of(w).st_mode & 07777, 0660);
    assert_int_equal(umask(mask), 0); /* it was put back */
    stop(w);
    world_free(w);
}

TEST(unix_socket_is_given_to_its_owner)
{
    struct world *w = world_make();

    if (geteuid() == 0) {
        assert_int_equal(start(w, 1, "socket_owner = 12345\nsocket_group = 54321\n"), OK);
        assert_int_equal(stat_of(w).st_uid, 12345);
        assert_int_equal(stat_of(w).st_gid, 54321);
    } else {
        assert_int_equal(start(w, 1, "socket_owner = 12345\n"), ERR_SYSTEM);
        assert_non_null(strstr(w->server.why, "need root"));
    }
    stop(w);
    assert_false(is_there(w));
    world_free(w);
}

TEST(unix_socket_is_removed_at_the_end_but_not_another_one)
{
    struct world *w = world_make();
    char aside[128];
    int fd;

    assert_int_equal(start(w, 1, ""), OK);
    assert_true(is_there(w));
    stop(w);
    assert_false(is_there(w));
    assert_int_equal(start(w, 1, ""), OK);
    snprintf(aside, sizeof(aside), "%s.aside", w->path); /* so that its number is not used again */
    assert_int_equal(rename(w->path, aside), 0);
    fd = foreign(w, true);
    stop(w);
    assert_true(is_there(w));
    close(fd);
    unlink(aside);
    world_free(w);
}

TEST(unix_socket_of_a_dead_broker_is_replaced)
{
    struct world *w = world_make();

    close(foreign(w, true));
    assert_true(is_there(w));
    assert_int_equal(start(w, 1, ""), OK);
    stop(w);
    world_free(w);
}

TEST(unix_socket_of_a_living_broker_is_left_alone)
{
    struct world *w = world_make();
    int fd = foreign(w, true);
    struct stat before = stat_of(w);

    assert_int_equal(start(w, 1, ""), ERR_SYSTEM);
    assert_non_null(strstr(w->server.why, "somebody listens on"));
    stop(w);
    assert_int_equal(stat_of(w).st_ino, before.st_ino);
    close(fd);
    world_free(w);
}

TEST(unix_socket_takes_the_place_of_no_file)
{
    struct world *w = world_make();
    FILE *f = fopen(w->path, "we");

    assert_non_null(f);
    fclose(f);
    assert_int_equal(start(w, 1, ""), ERR_SYSTEM);
    assert_non_null(strstr(w->server.why, "is no socket"));
    stop(w);
    assert_true(is_there(w));
    world_free(w);
}

/* ---- clients ---- */

static int dial(const struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, w->path, strlen(w->path) + 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* The end of a ring that this thread once had may interrupt a call: io_uring works by signals. */
static ssize_t hear(int fd, void *to, size_t n)
{
    ssize_t came;

    do
        came = recv(fd, to, n, 0);
    while (came < 0 && errno == EINTR);
    return came;
}

TEST(unix_socket_serves_clients_of_all_workers)
{
    enum { CLIENTS = 12, WORKERS = 3 };
    struct world *w = world_make();
    int fds[CLIENTS];

    assert_int_equal(start(w, WORKERS, ""), OK);
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(worker_start(w->server.net.workers[i]), OK);
    for (int i = 0; i < CLIENTS; i++) {
        uint8_t packet[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'a'};

        packet[14] = (uint8_t)('a' + i);
        fds[i] = dial(w);
        assert_int_equal(send(fds[i], packet, sizeof(packet), MSG_NOSIGNAL), sizeof(packet));
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        uint8_t connack[4];

        assert_int_equal(hear(fds[i], connack, 4), 4);
        assert_memory_equal(connack, "\x20\x02\x00\x00", 4);
        close(fds[i]);
    }
    server_stop(&w->server);
    stop(w);
    world_free(w);
}

TEST(unix_socket_says_which_process_and_user_it_was)
{
    struct world *w = world_make();
    uint64_t until_ms = clock_mono_ms() + 20000;
    char text[64], expected[64];
    struct worker *worker;
    uint32_t slot = 0;
    struct conn *c;
    int fd;

    assert_int_equal(start(w, 1, ""), OK);
    worker = w->server.net.workers[0];
    assert_int_equal(worker_begin(worker), OK);
    fd = dial(w);
    while (worker->conns.count == 0 && clock_mono_ms() < until_ms)
        assert_true(worker_turn_within(worker, 1000));
    c = slab_next(&worker->conns, &slot);
    assert_non_null(c);
    conn_peer_text(c, text);
    snprintf(expected, sizeof(expected), "local pid=%d uid=%u", getpid(), getuid());
    assert_string_equal(text, expected);
    close(fd);
    while (worker->conns.count > 0 && clock_mono_ms() < until_ms)
        assert_true(worker_turn_within(worker, 1000));
    store_release(&w->server.net.phase, NET_STOPPED); /* this thread's own */
    worker_end(worker);
    stop(w);
    world_free(w);
}
