/* bench/floor/floor.c -- a bare forwarder: the floor that brokers are measured against.
 *
 * Usage: floor PORT
 *
 * Takes frames of tools/load_bare.h on 127.0.0.1:PORT and sends each message on to the connections
 * that asked for its topic, with one send for each connection in each turn. One thread, io_uring by
 * way of net/uring, no MQTT: no packet is decoded, no topic matched, no session kept. What it costs
 * is the kernel's part and one copy for each receiver. SIGTERM ends it.
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

#define TOPICS 65536u
#define IN_BYTES 65536u

struct conn {
    struct load_wire wire;
    uint32_t topic; /* with is_subscribed */
    bool is_subscribed;
    struct conn *next; /* of those that asked for the same topic */
};

static struct floor {
    struct load_loop loop;
    struct uring_op accept_op;
    struct conn *topics[TOPICS];
    struct conn *all; /* asked for every topic */
} floor_;

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

static struct conn **list_of(uint32_t topic)
{
    return topic == LOAD_BARE_ALL ? &floor_.all : &floor_.topics[topic % TOPICS];
}

static void forward(const struct load_bare_frame *f)
{
    for (struct conn *c = *list_of(f->topic); c; c = c->next)
        send_frame(c, f);
    for (struct conn *c = floor_.all; c; c = c->next)
        send_frame(c, f);
}

static void subscribe(struct conn *c, uint32_t topic)
{
    struct load_bare_frame granted = {.kind = LOAD_BARE_GRANTED, .topic = topic};

    c->topic = topic;
    c->is_subscribed = true;
    c->next = *list_of(topic);
    *list_of(topic) = c;
    send_frame(c, &granted);
}

static void unsubscribe(struct conn *c)
{
    struct conn **at = list_of(c->topic);

    while (c->is_subscribed && *at != c)
        at = &(*at)->next;
    if (c->is_subscribed)
        *at = c->next;
    c->is_subscribed = false;
}

static void take(struct conn *c, const struct load_bare_frame *f)
{
    struct load_bare_frame ack = {.kind = LOAD_BARE_ACK, .id = f->id};

    switch (f->kind) {
    case LOAD_BARE_SUBSCRIBE:
        if (!c->is_subscribed)
            subscribe(c, f->topic);
        return;
    case LOAD_BARE_WITH_ACK:
        forward(f);
        send_frame(c, &ack);
        return;
    case LOAD_BARE_MESSAGE:
        forward(f);
        return;
    case LOAD_BARE_GRANTED:
    case LOAD_BARE_ACK:
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
    unsubscribe(conn_of(w));
    load_wire_shut(w);
    return in.n;
}

static void on_gone(struct load_wire *w, int error)
{
    (void)error;
    unsubscribe(conn_of(w));
}

static void on_free(struct load_wire *w)
{
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
    if (!c || load_wire_take(&c->wire, &floor_.loop, event->res) != OK)
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
    floor_.loop = (struct load_loop){.calls = &calls, .in_bytes = IN_BYTES};
    floor_.accept_op.done = on_accept;
    if (load_loop_open(&floor_.loop, why, sizeof(why)) != OK)
        die(why);
    uring_accept(floor_.loop.uring, listen_on(argv[1]), true, &floor_.accept_op);
    for (;;)
        load_loop_turn(&floor_.loop, URING_FOREVER);
}
