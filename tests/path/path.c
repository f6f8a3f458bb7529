/* tests/path/path.c -- a TCP path between two hosts: long, narrow, held, cut, led elsewhere.
 *
 * Usage: path PORT HOST:PORT [--delay MS] [--rate BYTES] [--buffer BYTES]
 *
 * Listens on 127.0.0.1:PORT and passes connections on to HOST:PORT (numeric, IPv4). Every byte
 * arrives MS milliseconds later than it came (so a round trip takes twice that), at most BYTES a
 * second in each direction of a connection. A direction holds at most `buffer` bytes (32 MiB); with
 * so many it reads no more until some have left, as a host whose buffers are full.
 *
 * Commands are lines on the standard input, each answered by the line `ok` once it is done:
 *     to HOST:PORT   connections that come from now on go there
 *     hold           no byte moves any more, in no direction, and no connection is made
 *     mute           what HOST:PORT says stays here; what is said to it passes
 *     pass           goes on from there
 *     reset          ends all connections, as when a host in between forgets them
 *     count          is answered by `ok N`: connections passed on so far
 * The end of the input ends the program.
 *
 * One thread. A direction is a ring of bytes and a ring of stamps that say when how many of them
 * may leave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 256u
#define STAMPS (1u << 14) /* a power of two; with all in use nothing is read */
#define BUFFER_DEFAULT (32u << 20)
#define READ_MAX (256u << 10)
#define NEVER UINT64_MAX
#define COMMAND_BYTES 256

struct stamp {
    uint64_t due_ns;
    uint64_t end; /* bytes of the direction up to here, counted from its beginning */
};

/* Bytes from `from` to `to`. taken <= end of what is due <= read. */
struct direction {
    uint8_t *ring;
    struct stamp *stamps;
    uint32_t stamp_first, stamp_count;
    uint64_t read, written; /* bytes so far */
    uint64_t last_due_ns;
    bool is_ended; /* nothing more comes */
    bool is_shut;  /* and that was passed on */
    bool can_write;
    bool can_read;
};

struct pair {
    int fds[2];
    struct direction ways[2]; /* ways[i]: from fds[i] to the other */
    bool is_connected;
};

static struct path {
    struct sockaddr_in to;
    uint64_t delay_ns, rate, buffer_bytes;
    int epoll, listener;
    struct pair *pairs[PAIRS_MAX];
    uint32_t passed;
    bool is_held, is_mute;
} path;

static void die(const char *what)
{
    fprintf(stderr, "path: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- pairs ---- */

static void watch(int fd, uint32_t events, uint32_t idx, uint32_t side)
{
    struct epoll_event e = {.events = events, .data.u64 = idx * 2 + side};

    if (epoll_ctl(path.epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        die("epoll_ctl");
}

static void end_pair(uint32_t idx, bool is_reset)
{
    struct pair *p = path.pairs[idx];
    struct linger l = {.l_onoff = 1};

    for (uint32_t side = 0; side < 2; side++) {
        if (is_reset)
            setsockopt(p->fds[side], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
        close(p->fds[side]);
        free(p->ways[side].ring);
        free(p->ways[side].stamps);
    }
    free(p);
    path.pairs[idx] = NULL;
}

static void *must(void *p)
{
    if (!p)
        die("memory");
    return p;
}

static void begin_pair(int in)
{
    static const int on = 1;
    uint32_t idx = 0;
    struct pair *p;
    int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    while (idx < PAIRS_MAX && path.pairs[idx])
        idx++;
    if (out < 0 || idx == PAIRS_MAX)
        die("too many connections");
    p = path.pairs[idx] = must(calloc(1, sizeof(*p)));
    p->fds[0] = in;
    p->fds[1] = out;
    for (uint32_t side = 0; side < 2; side++) {
        p->ways[side].ring = must(malloc(path.buffer_bytes));
        p->ways[side].stamps = must(malloc(STAMPS * sizeof(struct stamp)));
        setsockopt(p->fds[side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    path.passed++;
    if (connect(out, (struct sockaddr *)&path.to, sizeof(path.to)) != 0 && errno != EINPROGRESS) {
        end_pair(idx, true);
        return;
    }
    watch(in, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, idx, 0);
    watch(out, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, idx, 1);
}

static void accept_all(void)
{
    int fd;

    while ((fd = accept4(path.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        begin_pair(fd);
}

/* ---- bytes ---- */

static uint64_t first_due_ns(const struct direction *d)
{
    return d->stamp_count ? d->stamps[d->stamp_first].due_ns : NEVER;
}

/* When `n` bytes that come now are at the other end. */
static uint64_t due_of(struct direction *d, uint64_t n, uint64_t now)
{
    uint64_t begin = now > d->last_due_ns ? now : d->last_due_ns;

    d->last_due_ns = path.rate ? begin + n * 1000000000u / path.rate : now;
    return d->last_due_ns + path.delay_ns;
}

/* false: the connection is broken. */
static bool read_some(int from, struct direction *d, uint64_t now)
{
    while (d->can_read && !d->is_ended && d->stamp_count < STAMPS) {
        uint64_t room = path.buffer_bytes - (d->read - d->written);
        uint64_t at = d->read % path.buffer_bytes, most = path.buffer_bytes - at;
        struct stamp *s = &d->stamps[(d->stamp_first + d->stamp_count) % STAMPS];
        ssize_t n;

        most = most < room ? most : room;
        most = most < READ_MAX ? most : READ_MAX;
        if (path.rate && most > path.rate / 100 + 1)
            most = path.rate / 100 + 1; /* 10 ms of it */
        if (most == 0)
            return true;
        n = read(from, d->ring + at, most);
        if (n < 0) {
            d->can_read = errno == EINTR;
            if (errno != EAGAIN && errno != EINTR)
                return false;
            continue;
        }
        d->is_ended = n == 0;
        d->read += (uint64_t)n;
        if (n > 0) {
            *s = (struct stamp){.due_ns = due_of(d, (uint64_t)n, now), .end = d->read};
            d->stamp_count++;
        }
    }
    return true;
}

/* false: the connection is broken. */
static bool write_due(int to, struct direction *d, uint64_t now)
{
    while (d->can_write && first_due_ns(d) <= now) {
        uint64_t at = d->written % path.buffer_bytes;
        uint64_t most = d->stamps[d->stamp_first].end - d->written;
        ssize_t n;

        most = most < path.buffer_bytes - at ? most : path.buffer_bytes - at;
        n = send(to, d->ring + at, most, MSG_NOSIGNAL);
        if (n < 0) {
            d->can_write = errno == EINTR;
            if (errno != EAGAIN && errno != EINTR)
                return false;
            continue;
        }
        d->written += (uint64_t)n;
        if (d->written == d->stamps[d->stamp_first].end) {
            d->stamp_first = (d->stamp_first + 1) % STAMPS;
            d->stamp_count--;
        }
    }
    if (d->is_ended && !d->is_shut && d->read == d->written) {
        shutdown(to, SHUT_WR);
        d->is_shut = true;
    }
    return true;
}

/* Moves what may move, as long as something does. */
static void move(uint32_t idx)
{
    struct pair *p = path.pairs[idx];
    uint64_t before = NEVER, now = now_ns();

    while (p->is_connected && before != p->ways[0].written + p->ways[1].written) {
        before = p->ways[0].written + p->ways[1].written;
        for (uint32_t side = 0; side < (path.is_mute ? 1 : 2); side++) {
            struct direction *d = &p->ways[side];

            if (!read_some(p->fds[side], d, now) || !write_due(p->fds[1 - side], d, now)) {
                end_pair(idx, true);
                return;
            }
        }
    }
    if (p->ways[0].is_shut && p->ways[1].is_shut)
        end_pair(idx, false);
}

/* ---- events ---- */

static void on_pair(uint32_t idx, uint32_t side, uint32_t events)
{
    struct pair *p = path.pairs[idx];
    int error = 0;
    socklen_t n = sizeof(error);

    if (!p) /* ended in this turn */
        return;
    if (side == 1 && !p->is_connected && (events & (EPOLLOUT | EPOLLERR))) {
        getsockopt(p->fds[1], SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) {
            end_pair(idx, true);
            return;
        }
        p->is_connected = true;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        p->ways[side].can_read = true;
    if (events & EPOLLOUT)
        p->ways[1 - side].can_write = true;
}

static void read_place(const char *text, struct sockaddr_in *to)
{
    const char *colon = strrchr(text, ':');
    char host[64] = "";

    *to = (struct sockaddr_in){.sin_family = AF_INET};
    if (colon && (size_t)(colon - text) < sizeof(host))
        memcpy(host, text, (size_t)(colon - text));
    if (!colon || inet_pton(AF_INET, host, &to->sin_addr) != 1) {
        fprintf(stderr, "path: '%s' is no ADDRESS:PORT\n", text);
        exit(2);
    }
    to->sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
}

static void obey(const char *line)
{
    if (strncmp(line, "to ", 3) == 0)
        read_place(line + 3, &path.to);
    else if (strcmp(line, "hold") == 0)
        path.is_held = true;
    else if (strcmp(line, "mute") == 0)
        path.is_mute = true;
    else if (strcmp(line, "pass") == 0)
        path.is_held = path.is_mute = false;
    for (uint32_t i = 0; i < PAIRS_MAX && strcmp(line, "reset") == 0; i++) {
        if (path.pairs[i])
            end_pair(i, true);
    }
    if (strcmp(line, "count") == 0)
        printf("ok %u\n", path.passed);
    else
        puts("ok");
    fflush(stdout);
}

static void on_input(void)
{
    static char text[COMMAND_BYTES];
    static size_t have;
    ssize_t n = read(STDIN_FILENO, text + have, sizeof(text) - 1 - have);
    char *end;

    if (n <= 0)
        exit(0);
    have += (size_t)n;
    text[have] = '\0';
    while ((end = strchr(text, '\n')) != NULL) {
        *end = '\0';
        obey(text);
        have -= (size_t)(end + 1 - text);
        memmove(text, end + 1, have + 1);
    }
}

/* When the next bytes may leave somewhere. */
static uint64_t next_ns(void)
{
    uint64_t next = NEVER;

    for (uint32_t i = 0; i < PAIRS_MAX && !path.is_held; i++) {
        for (uint32_t side = 0; path.pairs[i] && side < 2; side++) {
            const struct direction *d = &path.pairs[i]->ways[side];

            if (d->can_write && first_due_ns(d) < next)
                next = first_due_ns(d);
        }
    }
    return next;
}

static void turn(void)
{
    struct epoll_event events[64];
    uint64_t next = next_ns(), now = now_ns(), wait = next > now ? next - now : 0;
    struct timespec t = {.tv_sec = (time_t)(wait / 1000000000u),
                         .tv_nsec = (long)(wait % 1000000000u)};
    int n = epoll_pwait2(path.epoll, events, 64, next == NEVER ? NULL : &t, NULL);
    bool comes = false;

    for (int i = 0; i < n; i++) {
        uint64_t who = events[i].data.u64;

        if (who == PAIRS_MAX * 2)
            on_input();
        else if (who == PAIRS_MAX * 2 + 1)
            comes = true;
        else
            on_pair((uint32_t)(who / 2), who % 2, events[i].events);
    }
    if (path.is_held) {
        usleep(1000);
        return;
    }
    if (comes)
        accept_all();
    for (uint32_t i = 0; i < PAIRS_MAX; i++) {
        if (path.pairs[i])
            move(i);
    }
}

static void listen_on(uint16_t port)
{
    static const int on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    path.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(path.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(path.listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
        listen(path.listener, 128) != 0)
        die("listen");
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc % 2 == 0) {
        fputs("usage: path PORT HOST:PORT [--delay MS] [--rate BYTES] [--buffer BYTES]\n", stderr);
        return 2;
    }
    read_place(argv[2], &path.to);
    path.buffer_bytes = BUFFER_DEFAULT;
    for (int i = 3; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--delay") == 0)
            path.delay_ns = value * 1000000u;
        else if (strcmp(argv[i], "--rate") == 0)
            path.rate = value;
        else if (strcmp(argv[i], "--buffer") == 0)
            path.buffer_bytes = value;
    }
    path.epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    watch(STDIN_FILENO, EPOLLIN, PAIRS_MAX, 0);
    watch(path.listener, EPOLLIN, PAIRS_MAX, 1);
    puts("ok");
    fflush(stdout);
    for (;;)
        turn();
}
