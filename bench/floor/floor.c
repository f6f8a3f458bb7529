/* bench/floor/floor.c -- a bare forwarder: the floor that brokers are measured against.
 *
 * Usage: floor PORT
 *
 * Takes frames of tools/load_bare.h on 127.0.0.1:PORT and sends each message on to the connections
 * that asked for its topic, with one send for each connection in each turn. One thread, io_uring by
 * way of net/uring, no MQTT: no packet is decoded, no topic matched, no session kept, nothing
 * checked. What it costs is the kernel's part and one copy for each receiver. SIGTERM ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/load_bare.h"
#include "tools/load_wire.h"

#define TOPICS (1u << 20)
#define IN_BYTES 65536u

/* One wish of a connection. */
struct wish {
    struct conn *conn;
    uint32_t topic;
    struct wish *next;         /* in the list of its topic */
    struct wish *next_of_conn; /* of the same connection */
};

struct conn {
    struct load_wire wire;
    struct wish *wishes;
};

static struct floor {
    struct load_loop loop;
    struct uring_op accept_op;
    struct wish *topics[TOPICS]; /* by hash; a list may have wishes for several topics */
    struct wish *all;            /* for every topic */
    struct wish *shared;         /* the same, of the group */
    struct wish *turn;           /* whose turn it is in the group; NULL: the first */
} forwarder;

static struct conn *conn_of(struct load_wire *w)
{
    return URING_OWNER(w, struct conn, wire);
}

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- frames ---- */

static void send_frame(struct conn *c, const struct load_bare_frame *f)
{
    uint8_t *p = load_wire_room(&c->wire, LOAD_BARE_HEADER_BYTES + f->payload.n);

    if (!p)
        die("no memory");
    load_wire_wrote(&c->wire, load_bare_put(p, f));
}

static void answer(struct conn *c, const struct load_bare_frame *f, enum load_bare_kind kind)
{
    struct load_bare_frame out = {.kind = kind, .id = f->id, .topic = f->topic};

    send_frame(c, &out);
}

static void forward(const struct load_bare_frame *f)
{
    for (struct wish *w = forwarder.topics[f->topic % TOPICS]; w; w = w->next) {
        if (w->topic == f->topic)
            send_frame(w->conn, f);
    }
    for (struct wish *w = forwarder.all; w; w = w->next)
        send_frame(w->conn, f);
    if (!forwarder.turn)
        forwarder.turn = forwarder.shared;
    if (forwarder.turn) {
        send_frame(forwarder.turn->conn, f);
        forwarder.turn = forwarder.turn->next;
    }
}

static void subscribe(struct conn *c, struct wish **list, uint32_t topic)
{
    struct wish *w = malloc(sizeof(*w));

    if (!w)
        die("no memory");
    *w = (struct wish){.conn = c, .topic = topic, .next = *list, .next_of_conn = c->wishes};
    *list = w;
    c->wishes = w;
}

static void take_out(struct wish **list, const struct wish *w)
{
    while (*list && *list != w)
        list = &(*list)->next;
    if (*list)
        *list = w->next;
}

static void forget(struct conn *c)
{
    forwarder.turn = NULL;
    while (c->wishes) {
        struct wish *w = c->wishes;

        c->wishes = w->next_of_conn;
        take_out(&forwarder.topics[w->topic % TOPICS], w);
        take_out(&forwarder.all, w);
        take_out(&forwarder.shared, w);
        free(w);
    }
}

static void take(struct conn *c, const struct load_bare_frame *f)
{
    bool is_all = f->topic == LOAD_BARE_ALL;

    switch (f->kind) {
    case LOAD_BARE_BYE:
        forget(c);
        load_wire_shut(&c->wire);
        return;
    case LOAD_BARE_SHARE:
        subscribe(c, &forwarder.shared, f->topic);
        answer(c, f, LOAD_BARE_GRANTED);
        return;
    case LOAD_BARE_SUBSCRIBE:
        subscribe(c, is_all ? &forwarder.all : &forwarder.topics[f->topic % TOPICS], f->topic);
        answer(c, f, LOAD_BARE_GRANTED);
        return;
    case LOAD_BARE_HELLO:
        answer(c, f, LOAD_BARE_GRANTED);
        return;
    case LOAD_BARE_MESSAGE:
        forward(f);
        return;
    case LOAD_BARE_WITH_ACK:
        forward(f);
        answer(c, f, LOAD_BARE_ACK);
        return;
    case LOAD_BARE_WITH_REC:
        forward(f);
        answer(c, f, LOAD_BARE_REC);
        return;
    case LOAD_BARE_REC:
        answer(c, f, LOAD_BARE_REL);
        return;
    case LOAD_BARE_REL:
        answer(c, f, LOAD_BARE_COMP);
        return;
    case LOAD_BARE_GRANTED:
    case LOAD_BARE_ACK:
    case LOAD_BARE_COMP:
        return;
    }
}

/* ---- connections ---- */

static uint32_t on_bytes(struct load_wire *w, struct bytes in)
{
    uint32_t done = 0, used;
    struct load_bare_frame f;
    enum err err;

    while ((err = load_bare_next(bytes_of(in.p + done, in.n - done), &f, &used)) == OK) {
        take(conn_of(w), &f);
        done += used;
    }
    if (err == ERR_MORE)
        return done;
    forget(conn_of(w));
    load_wire_shut(w);
    return in.n;
}

static void on_gone(struct load_wire *w, int error)
{
    (void)error;
    forget(conn_of(w));
}

static void on_free(struct load_wire *w)
{
    forget(conn_of(w));
    load_wire_fini(w);
    free(conn_of(w));
}

static void ignore(struct load_wire *w)
{
    (void)w;
}

static const struct load_wire_calls calls = {
    .on_open = ignore,
    .on_bytes = on_bytes,
    .on_sent = ignore,
    .on_gone = on_gone,
    .on_free = on_free,
};

static void on_accept(struct uring_op *op, const struct uring_event *event)
{
    struct conn *c;

    (void)op;
    if (event->is_last)
        die("accept");
    if (event->res < 0)
        return;
    c = calloc(1, sizeof(*c));
    if (!c || load_wire_take(&c->wire, &forwarder.loop, event->res) != OK)
        die("no memory");
}

static int listen_on(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0)
        die(port);
    return fd;
}

int main(int argc, char **argv)
{
    char why[512] = "";

    if (argc != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    forwarder.loop = (struct load_loop){.calls = &calls, .in_bytes = IN_BYTES};
    forwarder.accept_op.done = on_accept;
    if (load_loop_open(&forwarder.loop, why, sizeof(why)) != OK)
        die(why);
    uring_accept(forwarder.loop.uring, listen_on(argv[1]), true, &forwarder.accept_op);
    for (;;)
        load_loop_turn(&forwarder.loop, URING_FOREVER);
}
