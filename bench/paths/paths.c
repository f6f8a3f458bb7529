/* bench/paths/paths.c -- a path through the broker, walked so many times, for tools that count
 * instructions (bench/instructions.sh).
 *
 * Usage: paths PATH COUNT. Without arguments it names the paths, a line each. A broker of one or
 * two workers in memory: what its clients send is offered to their shards, turns are run, and what
 * is to leave is answered as a client would, until nothing moves. The broker's part of it is in
 * functions of its own, path_offer, path_turn, path_leave and path_gone (names that nothing else
 * has: link-time optimization renames what has a namesake); everything else is the clients'. The
 * net, TLS and the kernel have no part in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "core/broker/shard.h"
#include "core/mqtt/frame.h"

#ifdef __clang__
#define NOINLINE __attribute__((noinline)) /* clang makes no clones */
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif

#define SUBSCRIBERS_MAX 100u
/* Bytes of what one client sends at once, and of what leaves to one. */
#define SENT_BYTES (256u << 10)
#define LEFT_BYTES (1u << 20)
/* Packets that a closed loop has in flight. */
#define BATCH 64u
#define DIRTY_MAX (SUBSCRIBERS_MAX + 1)

enum what { WHAT_PUBLISH, WHAT_SUBSCRIBE, WHAT_CONNECT };

struct path {
    const char *name;
    const char *text; /* for a table */
    enum what what;
    uint8_t qos;
    uint32_t workers, subscribers, batch, payload_bytes;
    const char *filter;
};

static const struct path paths[] = {
    {"qos0", "point to point QoS 0", WHAT_PUBLISH, 0, 1, 1, BATCH, 64, "a/b/c"},
    {"qos1", "point to point QoS 1", WHAT_PUBLISH, 1, 1, 1, BATCH, 64, "a/b/c"},
    {"qos2", "point to point QoS 2", WHAT_PUBLISH, 2, 1, 1, BATCH, 64, "a/b/c"},
    {"qos0-other", "the same, to a subscriber of the other worker, QoS 0", WHAT_PUBLISH, 0, 2, 1,
     BATCH, 64, "a/b/c"},
    {"qos1-other", "the same, QoS 1", WHAT_PUBLISH, 1, 2, 1, BATCH, 64, "a/b/c"},
    {"wildcard", "QoS 0, subscribed to by a/+/#", WHAT_PUBLISH, 0, 1, 1, BATCH, 64, "a/+/#"},
    {"qos0-1k", "QoS 0, 1 KiB", WHAT_PUBLISH, 0, 1, 1, BATCH, 1024, "a/b/c"},
    {"qos0-8k", "QoS 0, 8 KiB", WHAT_PUBLISH, 0, 1, 1, 16, 8192, "a/b/c"},
    {"fan0", "fan-out 1:100 QoS 0, a delivery", WHAT_PUBLISH, 0, 1, 100, BATCH, 64, "a/b/c"},
    {"fan1", "fan-out 1:100 QoS 1, a delivery", WHAT_PUBLISH, 1, 1, 100, BATCH, 64, "a/b/c"},
    {"share1", "shared by 4 QoS 1", WHAT_PUBLISH, 1, 1, 4, BATCH, 64, "$share/g/a/b/c"},
    {"lone0", "lone message QoS 0 (a turn each)", WHAT_PUBLISH, 0, 1, 1, 1, 64, "a/b/c"},
    {"lone1", "lone message QoS 1 (a turn each)", WHAT_PUBLISH, 1, 1, 1, 1, 64, "a/b/c"},
    {"subscribe", "a subscription to a new filter", WHAT_SUBSCRIBE, 0, 1, 1, BATCH, 0, NULL},
    {"connect", "connect and disconnect", WHAT_CONNECT, 0, 1, 0, 1, 0, NULL},
};
#define PATH_COUNT (sizeof(paths) / sizeof(*paths))

struct peer {
    struct client *client;
    uint32_t worker;
    uint32_t count; /* bytes to be sent */
    uint8_t *bytes;
};

struct broker {
    struct cluster_state *cluster;
    uint32_t workers;
    uint64_t now_ms;
    struct peer peers[SUBSCRIBERS_MAX + 1];
    uint32_t peer_count;
    uint64_t delivered;
};

static const struct listener_rules listener = {.allow_anonymous = true, .is_loopback = true};
static uint8_t left[LEFT_BYTES];

/* ---- the broker's part ---- */

static NOINLINE uint32_t path_offer(struct stream *st, struct bytes in)
{
    enum input verdict;
    uint32_t need;

    return st->ops->input(st, in, &verdict, &need);
}

/* A turn of one worker; its dirty streams. */
static NOINLINE uint32_t path_turn(struct shard *s, uint64_t now_ms, struct stream **dirty,
                                   bool *again)
{
    struct stream *st;
    uint32_t count = 0;
    bool more;

    shard_begin_turn(s, now_ms, now_ms);
    *again |= shard_run_mail(s);
    *again |= shard_run_timers(s);
    *again |= shard_end_turn(s, &more) != 0;
    *again |= more;
    while ((st = shard_next_dirty(s)) != NULL && count < DIRTY_MAX)
        dirty[count++] = st;
    return count;
}

static NOINLINE void path_leave(struct stream *st, struct outq_pool *pool)
{
    struct outq_vec v[OUTQ_IOV_MAX];
    uint32_t n = outq_front(&st->outq, v, OUTQ_IOV_MAX), bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += (uint32_t)v[i].length;
    outq_sent(&st->outq, pool, bytes);
    outq_count(&st->outq, pool);
}

static NOINLINE void path_gone(struct stream *st, enum close_reason why)
{
    st->ops->closed(st, why);
}

/* ---- the clients ---- */

static void say(struct peer *p, const uint8_t *bytes, size_t n)
{
    CHECK(p->count + n <= SENT_BYTES);
    memcpy(p->bytes + p->count, bytes, n);
    p->count += (uint32_t)n;
}

static void send_all(struct peer *p)
{
    uint32_t count = p->count;

    p->count = 0;
    CHECK(path_offer(client_stream(p->client), bytes_of(p->bytes, count)) == count);
}

static void acknowledge(struct peer *p, enum packet_type type, const uint8_t *id)
{
    uint8_t ack[ACK_BYTES_MAX];

    say(p, ack,
        (size_t)(ack_put(ack, MQTT_311, type, (uint16_t)(id[0] << 8 | id[1]), 0,
                         (struct bytes){0}) -
                 ack));
}

/* A packet that came to a client. */
static void take_packet(struct broker *b, struct peer *p, const struct frame *f)
{
    uint32_t topic = f->body.n >= 2 ? 2u + (uint32_t)(f->body.p[0] << 8 | f->body.p[1]) : 0;

    switch (f->first >> 4) {
    case PACKET_PUBLISH:
        b->delivered++;
        if (f->first & 6)
            acknowledge(p, f->first & 4 ? PACKET_PUBREC : PACKET_PUBACK, f->body.p + topic);
        break;
    case PACKET_PUBREC:
        acknowledge(p, PACKET_PUBREL, f->body.p);
        break;
    case PACKET_PUBREL:
        acknowledge(p, PACKET_PUBCOMP, f->body.p);
        break;
    default:
        break;
    }
}

/* All that stands in the output of a client's connection. */
static void take_output(struct broker *b, struct peer *p)
{
    struct stream *st = client_stream(p->client);
    struct outq_vec v[OUTQ_IOV_MAX];
    uint32_t at = 0, need;
    struct bytes rest;
    struct frame f;

    while (st->outq.bytes > 0) {
        uint32_t n = outq_front(&st->outq, v, OUTQ_IOV_MAX);

        for (uint32_t i = 0; i < n; i++) {
            CHECK(at + v[i].length <= LEFT_BYTES);
            memcpy(left + at, v[i].base, v[i].length);
            at += (uint32_t)v[i].length;
        }
        path_leave(st, shard_pool(cluster_shard(b->cluster, p->worker)));
    }
    for (rest = bytes_of(left, at); rest.n;) {
        CHECK(frame_next(rest, UINT32_MAX, &f, &need) == OK);
        take_packet(b, p, &f);
        rest = bytes_of(f.body.p + f.body.n, rest.n - f.header_size - f.body.n);
    }
}

/* A turn of every worker, and what clients answer. Returns whether anything was there to do. */
static bool go_round(struct broker *b)
{
    struct stream *dirty[DIRTY_MAX];
    bool again = false;

    for (uint32_t w = 0; w < b->workers; w++) {
        uint32_t count = path_turn(cluster_shard(b->cluster, w), b->now_ms, dirty, &again);

        for (uint32_t i = 0; i < count; i++)
            take_output(b, dirty[i]->conn);
        again |= count > 0 && b->workers > 1;
    }
    for (uint32_t i = 0; i < b->peer_count; i++) {
        again |= b->peers[i].count > 0;
        send_all(&b->peers[i]);
    }
    return again;
}

/* Until nothing moves any more; what one worker left for another shows in the round after. */
static void settle(struct broker *b)
{
    do
        while (go_round(b))
            ;
    while (b->workers > 1 && go_round(b));
    b->now_ms++;
}

static void say_connect(struct peer *p, const char *id)
{
    struct connect_out o = {.protocol = MQTT_311, .clean_start = true, .client_id = bytes_str(id)};
    uint8_t bytes[100];

    say(p, bytes, (size_t)(connect_put(bytes, &o) - bytes));
}

static void say_subscribe(struct peer *p, const char *filter, uint8_t qos)
{
    struct filter_request f = {.filter = bytes_str(filter), .qos = qos};
    uint8_t bytes[100];

    CHECK(subscribe_size(MQTT_311, &f, 1, 0) <= sizeof(bytes));
    say(p, bytes, (size_t)(subscribe_put(bytes, MQTT_311, 1, &f, 1, 0) - bytes));
}

/* A client whose home is that worker; its first byte tells it from others. */
static void join(struct broker *b, struct peer *p, uint32_t worker, char kind)
{
    struct shard *s = cluster_shard(b->cluster, worker);
    struct greeting g;
    uint32_t number = 0, need;
    char id[16];

    do {
        p->count = 0;
        CHECK(snprintf(id, sizeof(id), "%c%td-%u", kind, p - b->peers, number++) > 0);
        say_connect(p, id);
        CHECK(shard_greet(s, bytes_of(p->bytes, p->count), &g, &need) == OK);
    } while (g.home != worker);
    p->worker = worker;
    p->client = client_open(s, 0, "bench", 1, NULL, p);
    CHECK(p->client);
    send_all(p);
}

static struct broker *create(const struct path *path)
{
    struct cluster_config config = {.workers = path->workers,
                                    .listeners = &listener,
                                    .listener_count = 1,
                                    .seed = {1, 2, 3, 4},
                                    .version = "bench"};
    struct broker *b = calloc(1, sizeof(*b));

    CHECK(b);
    config.limits = (struct limits){.packet_bytes = PACKET_BYTES_DEFAULT,
                                    .connect_bytes = CONNECT_BYTES_DEFAULT,
                                    .topic_levels = TOPIC_LEVELS_DEFAULT,
                                    .inflight = 1000,
                                    .queued_messages = 1000000,
                                    .queued_bytes = QUEUED_BYTES_DEFAULT,
                                    .outq_bytes = OUTQ_BYTES_DEFAULT,
                                    .subscriptions = 1000000,
                                    .receive_maximum = 1000,
                                    .group_queued = 1000000,
                                    .max_qos = 2,
                                    .retain_available = true,
                                    .keepalive = KEEPALIVE_DEFAULT};
    b->now_ms = 1000;
    b->workers = path->workers;
    b->cluster = cluster_create(&config, b->now_ms, b->now_ms);
    CHECK(b->cluster);
    for (uint32_t i = 0; i <= path->subscribers; i++) {
        b->peers[i].bytes = malloc(SENT_BYTES);
        CHECK(b->peers[i].bytes);
    }
    return b;
}

static void destroy(struct broker *b, const struct path *path)
{
    for (uint32_t i = 0; i < b->peer_count; i++)
        path_gone(client_stream(b->peers[i].client), CLOSE_EOF);
    for (uint32_t i = 0; i <= path->subscribers; i++)
        free(b->peers[i].bytes);
    cluster_destroy(b->cluster);
    free(b);
}

/* ---- the paths ---- */

static void publish(struct broker *b, const struct path *path, uint64_t count)
{
    static uint8_t payload[8192], packet[9000];
    struct publish_out o = {.topic = BYTES_LIT("a/b/c"),
                            .qos = path->qos,
                            .payload = bytes_of(payload, path->payload_bytes)};
    const bool is_shared = path->filter[0] == '$';
    const uint32_t deliveries = is_shared ? 1 : path->subscribers;
    struct peer *publisher = &b->peers[0];
    uint16_t id = 0;
    uint32_t header;

    for (uint64_t done = 0; done < count; done += (uint64_t)path->batch * deliveries) {
        for (uint32_t i = 0; i < path->batch; i++) {
            id = id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
            o.packet_id = id;
            CHECK(publish_size(MQTT_311, &o, &header) <= sizeof(packet));
            say(publisher, packet,
                (size_t)(bytes_put(publish_put_header(packet, MQTT_311, &o), o.payload) - packet));
        }
        send_all(publisher);
        settle(b);
        CHECK(b->delivered == done + (uint64_t)path->batch * deliveries);
    }
}

static void subscribe(struct broker *b, const struct path *path, uint64_t count)
{
    char filter[64];

    for (uint64_t i = 0; i < count;) {
        for (uint32_t k = 0; k < path->batch; k++, i++) {
            CHECK(snprintf(filter, sizeof(filter), "site/%u/line/%u/sensor/%u", (unsigned)(i % 997),
                           (unsigned)(i % 31), (unsigned)i) > 0);
            say_subscribe(&b->peers[0], filter, path->qos);
        }
        send_all(&b->peers[0]);
        settle(b);
    }
}

static void reconnect(struct broker *b, uint64_t count)
{
    static const uint8_t disconnect[2] = {0xe0, 0};
    struct stream *st;

    b->peer_count = 1;
    for (uint64_t i = 0; i < count; i++) {
        join(b, &b->peers[0], 0, 'c');
        settle(b);
        st = client_stream(b->peers[0].client);
        (void)path_offer(st, bytes_of(disconnect, sizeof(disconnect)));
        (void)path_turn(cluster_shard(b->cluster, 0), b->now_ms, (struct stream *[DIRTY_MAX]){0},
                        &(bool){false});
        path_gone(st, CLOSE_CLIENT);
    }
    b->peer_count = 0;
}

static void run(const struct path *path, uint64_t count)
{
    struct broker *b = create(path);

    if (path->what == WHAT_CONNECT) {
        reconnect(b, count);
        destroy(b, path);
        return;
    }
    join(b, &b->peers[b->peer_count++], 0, 'p');
    for (uint32_t i = 0; i < path->subscribers && path->filter; i++) {
        struct peer *p = &b->peers[b->peer_count++];

        join(b, p, path->workers - 1, 's');
        say_subscribe(p, path->filter, path->qos);
        send_all(p);
    }
    settle(b);
    if (path->what == WHAT_SUBSCRIBE)
        subscribe(b, path, count);
    else
        publish(b, path, count);
    destroy(b, path);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < PATH_COUNT; i++) {
        if (argc < 3)
            printf("%s\t%s\n", paths[i].name, paths[i].text);
        else if (strcmp(paths[i].name, argv[1]) == 0) {
            run(&paths[i], strtoull(argv[2], NULL, 10));
            return 0;
        }
    }
    return argc >= 3;
}
