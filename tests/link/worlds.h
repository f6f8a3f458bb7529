/* tests/link/worlds.h -- clusters in memory, and fake servers, with wires between them.
 *
 * A world is one cluster: a worker for clients (0), a link worker (1) with its hub, or several (1,
 * 2, ...), and time that is handed in. What a world dials is looked up by port: another world's,
 * which then has a client of it, or a script's, a fake server that the test plays by hand. Nothing
 * moves but in worlds_settle.
 */
#ifndef TESTS_LINK_WORLDS_H
#define TESTS_LINK_WORLDS_H

#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/arena.h"
#include "core/mqtt/packet.h"
#include "link/hub.h"
#include "tests/link/vectors.h"

#define WORLDS_MAX 11
#define WIRES_MAX 256
/* One run of a test: the dialect its links speak, and which side has no server, if one has none. */
#define LINK_RUN(name, how, dialect, called)                                                       \
    TEST(name##_##how)                                                                             \
    {                                                                                              \
        worlds_dialect = (dialect);                                                                \
        worlds_called = (called);                                                                  \
        name##_spoken();                                                                           \
        worlds_called = NULL;                                                                      \
    }
/* The same in our own dialect, where one side has three link workers and the other two. */
#define LINK_RUN_SPREAD(name)                                                                      \
    TEST(name##_on_several_link_workers)                                                           \
    {                                                                                              \
        worlds_dialect = DIALECT_AUTO;                                                             \
        worlds_spread = true;                                                                      \
        name##_spoken();                                                                           \
        worlds_spread = false;                                                                     \
    }
/* Defines a test that is run in both dialects. */
#define LINK_TEST_DIALLED(name)                                                                    \
    static void name##_spoken(void);                                                               \
    LINK_RUN(name, in_emqx, DIALECT_EMQX, NULL)                                                    \
    LINK_RUN(name, natively, DIALECT_AUTO, NULL)                                                   \
    LINK_RUN_SPREAD(name)                                                                          \
    static void name##_spoken(void)
/* A test of our own dialect, run also with a link that has no server on one of the sides: "alpha"
 * or "beta" is called only, and all goes over the connections that the other one opens. */
#define LINK_TEST_NATIVE(name)                                                                     \
    static void name##_spoken(void);                                                               \
    LINK_RUN(name, natively, DIALECT_AUTO, NULL)                                                   \
    LINK_RUN(name, where_alpha_is_called, DIALECT_AUTO, "alpha")                                   \
    LINK_RUN(name, where_beta_is_called, DIALECT_AUTO, "beta")                                     \
    LINK_RUN_SPREAD(name)                                                                          \
    static void name##_spoken(void)
/* All of these. */
#define LINK_TEST(name)                                                                            \
    static void name##_spoken(void);                                                               \
    LINK_RUN(name, in_emqx, DIALECT_EMQX, NULL)                                                    \
    LINK_RUN(name, natively, DIALECT_AUTO, NULL)                                                   \
    LINK_RUN(name, where_alpha_is_called, DIALECT_AUTO, "alpha")                                   \
    LINK_RUN(name, where_beta_is_called, DIALECT_AUTO, "beta")                                     \
    LINK_RUN_SPREAD(name)                                                                          \
    static void name##_spoken(void)

#define WORLD_CLIENTS 0u
#define WORLD_LINKS 1u

struct world;

/* A connection. Side 0 is who opened it, side 1 who listens. */
struct wire {
    struct world *world[2];   /* NULL: a script, or a test's client */
    struct stream *stream[2]; /* NULL: gone, or none */
    uint32_t dialler, home;   /* the workers of the sides */
    uint8_t *buf[2];          /* on the way to that side */
    uint32_t n[2], room[2];
    bool is_eof[2]; /* that side will hear no more */
    bool is_opened, is_failed, reads;
    bool is_silent; /* nothing comes through, and nobody is told */
    /* The script reads and answers pings, and says what its kernel has acknowledged. Else it never
     * counts as dead, and pings are passed over. */
    bool is_timed;
    uint64_t acked, outstanding;
    uint32_t at;      /* of buf[] of the side a test plays: read so far */
    uint32_t attempt; /* of the dial, at this server */
    uint16_t port;
    struct packet packet;
};

struct logged {
    char text[32768];
};

struct world {
    struct cfg cfg;
    struct cfg_server servers[LINKS_MAX][2];
    struct bytes topics[LINKS_MAX][8];
    struct listener_rules rules;
    struct link_rules links[LINKS_MAX];
    struct admission *admission; /* of the next client, which takes it; NULL: none */
    struct cluster_config config;
    struct cluster_state *cluster;
    uint32_t link_workers; /* 0: one */
    struct hub *hub[LINK_WORKERS_MAX];
    uint16_t port; /* 0: nobody listens */
    struct logged log;
};

/* What the links that are made speak. */
static enum cfg_dialect worlds_dialect;
/* The world whose links have no server; NULL: all have. */
static const char *worlds_called;
/* Whether worlds have several link workers, if the test does not say how many. */
static bool worlds_spread;

/* All there is. */
static struct worlds {
    struct world *world[WORLDS_MAX];
    uint32_t count;
    struct wire *wire[WIRES_MAX];
    uint32_t wire_count;
    uint64_t now_ms, wall_ms;
    uint16_t script_port; /* a fake server listens here; 0: none */
} all;

/* The shard of a worker of a world. */
static inline struct shard *shard_of(struct world *w, uint32_t worker)
{
    return cluster_shard(w->cluster, worker);
}

/* ---- wires ---- */

/* Puts bytes on their way to a side, which hears them if it has not been cut off. */
static inline void wire_put(struct wire *k, int side, const void *p, size_t n)
{
    if (k->is_eof[side] || k->is_silent)
        return;
    while (k->n[side] + n > k->room[side]) {
        k->room[side] = k->room[side] ? k->room[side] * 2 : 4096;
        k->buf[side] = realloc(k->buf[side], k->room[side]);
        assert_non_null(k->buf[side]);
    }
    memcpy(k->buf[side] + k->n[side], p, n);
    k->n[side] += (uint32_t)n;
}

/* A new wire, kept until worlds_end. */
static inline struct wire *wire_make(void)
{
    struct wire *k = calloc(1, sizeof(*k));

    assert_non_null(k);
    assert_true(all.wire_count < WIRES_MAX);
    all.wire[all.wire_count++] = k;
    k->reads = true;
    return k;
}

/* The hub dials; answered at its next turn. */
static inline enum err world_dial(void *net, struct stream *s, const struct link_target *to)
{
    struct wire *k = wire_make();

    k->world[0] = net;
    k->stream[0] = s;
    k->dialler = shard_number(s->shard);
    k->port = to->server->port;
    k->attempt = to->attempt;
    s->conn = k;
    return OK;
}

/* What became of what the hub wrote. */
static inline void world_written(void *net, const struct stream *s, struct pulse_written *to)
{
    const struct wire *k = s->conn;

    (void)net;
    if (!k)
        return;
    *to = (struct pulse_written){true, k->acked, k->outstanding + s->outq.bytes, 0};
    if (!k->world[1] && !k->is_timed)
        *to = (struct pulse_written){true, all.now_ms, 1, 0};
}

/* Collects log lines as "LEVEL event|link|reason|detail". */
static inline void world_log(void *net, const struct log_event *e)
{
    struct world *w = net;
    size_t n = strlen(w->log.text);

    snprintf(w->log.text + n, sizeof(w->log.text) - n, "%d %s|%s|%s|%s\n", e->level, e->event,
             e->link ? e->link : "", e->reason ? e->reason : "", e->detail ? e->detail : "");
}

/* A side is told that its connection is gone. */
static inline void end_side(struct wire *k, int side, enum close_reason why)
{
    struct stream *s = k->stream[side];

    k->stream[side] = NULL;
    k->is_eof[!side] |= !k->is_silent;
    s->conn = NULL;
    s->ops->closed(s, why);
}

/* Where the connection of a dial lives in `w`: a broker of ours says in its CONNECT whose it is. */
static inline uint32_t home_of_dial(const struct wire *k, const struct world *w)
{
    const struct cfg *from = &k->world[0]->cfg;

    for (uint32_t i = 0; i < from->link_count; i++)
        if (from->links[i].servers[0].port == k->port && from->links[i].dialect == DIALECT_EMQX)
            return WORLD_CLIENTS; /* then it does not say so */
    for (uint32_t i = 0; i < w->cfg.link_count; i++)
        if (strcmp(w->cfg.links[i].name, from->cluster.name) == 0)
            return WORLD_LINKS +
                   (shard_link_home(shard_of((struct world *)(uintptr_t)w, 0),
                                    bytes_str(from->cluster.name)) +
                    ((const struct dialer *)(const void *)k->stream[0])->stream_number) %
                       w->link_workers;
    return WORLD_CLIENTS;
}

/* Somebody listens on the port of a dial, or nobody. */
static inline void answer_dial(struct wire *k)
{
    k->is_opened = true;
    for (uint32_t i = 0; i < all.count; i++) {
        struct world *w = all.world[i];
        struct client *c;

        if (w->port != k->port || !w->port)
            continue;
        k->home = home_of_dial(k, w);
        c = client_open(shard_of(w, k->home), 0, "in memory", 1, NULL, k);
        assert_non_null(c);
        k->world[1] = w;
        k->stream[1] = client_stream(c);
        k->stream[1]->conn = k;
    }
    if (k->stream[1] || (all.script_port && k->port == all.script_port)) {
        k->stream[0]->ops->opened(k->stream[0]);
    } else {
        k->is_failed = true;
        k->is_eof[0] = k->is_eof[1] = true;
        end_side(k, 0, CLOSE_SOCKET_ERROR);
    }
}

/* Offers what is on the way to a side. */
static inline bool offer(struct wire *k, int side)
{
    struct stream *s = k->stream[side];
    enum input verdict = INPUT_MORE;
    uint32_t need, n;

    if (!s || s->close_wanted || s->close_now)
        return false;
    if (k->n[side] == 0) {
        if (k->is_eof[side])
            end_side(k, side, CLOSE_EOF);
        return k->is_eof[side];
    }
    n = s->ops->input(s, bytes_of(k->buf[side], k->n[side]), &verdict, &need);
    if (k->stream[side] != s || n == 0)
        return false;
    memmove(k->buf[side], k->buf[side] + n, k->n[side] - n);
    k->n[side] -= n;
    return true;
}

/* Sends and closes as a stream wants, as net/conn.c does. */
static inline void flush_stream(struct wire *k, int side, struct stream *s)
{
    struct outq_pool *pool = shard_pool(s->shard);
    struct outq_vec v[OUTQ_IOV_MAX];
    uint32_t n;

    if (!k->is_opened) {
        if (s->close_now || s->close_wanted)
            end_side(k, side, (enum close_reason)s->close_why);
        return;
    }
    while (k->reads && !s->close_now && (n = outq_front(&s->outq, v, OUTQ_IOV_MAX)) > 0)
        for (uint32_t i = 0; i < n; i++) {
            wire_put(k, !side, v[i].base, v[i].length);
            outq_sent(&s->outq, pool, (uint32_t)v[i].length);
        }
    if (s->close_now || s->close_wanted)
        end_side(k, side, (enum close_reason)s->close_why);
    else if (k->reads && s->ops->drained)
        s->ops->drained(s);
}

/* ---- turns ---- */

/* One turn of a worker; whether anything happened. */
static inline bool turn(struct world *w, uint32_t worker)
{
    struct shard *s = shard_of(w, worker);
    struct hub *hub = worker >= WORLD_LINKS ? w->hub[worker - WORLD_LINKS] : NULL;
    bool more = false, did = false;
    struct stream *dirty;

    shard_awake(s);
    shard_begin_turn(s, all.now_ms, all.wall_ms);
    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];

        if (worker == k->dialler && k->world[0] == w && k->stream[0] && !k->is_opened) {
            answer_dial(k);
            did = true;
        }
        for (int side = 0; side < 2; side++)
            if (k->world[side] == w && k->is_opened && worker == (side ? k->home : k->dialler))
                did |= offer(k, side);
    }
    did |= shard_run_mail(s);
    did |= shard_run_timers(s);
    if (hub)
        did |= hub_turn(hub);
    (void)shard_end_turn(s, &more);
    while ((dirty = shard_next_dirty(s))) {
        struct wire *k = dirty->conn;

        did = true;
        if (k)
            flush_stream(k, k->stream[1] == dirty, dirty);
    }
    return did || more;
}

/* How many workers a world has. */
static inline uint32_t world_workers(const struct world *w)
{
    return WORLD_LINKS + w->link_workers;
}

/* A turn of each worker; whether anything happened. */
static inline bool world_turn(struct world *w)
{
    bool did = false;

    for (uint32_t worker = 0; worker < world_workers(w); worker++)
        did |= turn(w, worker);
    return did;
}

/* Until nothing moves: a mail has at most four hops, each a turn of its own. */
static inline void worlds_settle(void)
{
    uint32_t quiet = 0, turns = 0;

    while (quiet < 8u + (worlds_spread ? 4u : 0u)) {
        bool did = false;

        assert_true(++turns < 100000);
        for (uint32_t i = 0; i < all.count; i++)
            did |= world_turn(all.world[i]);
        quiet = did ? 0 : quiet + 1;
    }
}

/* Time passes in steps of at most 50 ms. */
static inline void worlds_pass(uint64_t ms)
{
    while (ms) {
        uint64_t step = ms < 50 ? ms : 50;

        all.now_ms += step;
        all.wall_ms += step;
        ms -= step;
        worlds_settle();
    }
}

/* ---- worlds ---- */

/* A world of that name that listens on `port` (0: not); links are added before world_start. */
static inline struct world *world_make(const char *name, uint16_t port)
{
    struct world *w = calloc(1, sizeof(*w));
    struct limits *l;

    assert_non_null(w);
    assert_true(all.count < WORLDS_MAX);
    if (!all.now_ms) {
        all.now_ms = 1000;
        all.wall_ms = 1800000000000u;
    }
    w->cfg.cluster.name = name;
    w->port = port;
    l = &w->cfg.limits;
    *l = (struct limits){.packet_bytes = 1u << 20,
                         .connect_bytes = 64u << 10,
                         .connect_timeout_ms = 10000,
                         .topic_levels = 32,
                         .connections = 100,
                         .inflight = 100,
                         .receive_maximum = 1000,
                         .queued_messages = 10000,
                         .queued_bytes = 64u << 20,
                         .outq_bytes = 1u << 20,
                         .subscriptions = 100000,
                         .sessions = 100,
                         .retained = 1000,
                         .topic_alias = 10,
                         .keepalive = 65535,
                         .group_queued = 100,
                         .session_expiry = UINT32_MAX,
                         .sys_interval = 3600,
                         .retained_bytes = 1u << 20,
                         .memory_bytes = 1u << 30,
                         .max_qos = 2,
                         .retain_available = true};
    w->rules = (struct listener_rules){.allow_anonymous = true, .is_loopback = true, .links = 1};
    return w;
}

static const struct bytes world_everything = {(const uint8_t *)"#", 1};

/* Adds a link; `topics` are separated by commas. */
static inline struct cfg_link *world_link(struct world *w, const char *name, uint16_t port,
                                          const char *topics)
{
    uint32_t i = w->cfg.link_count++;
    struct cfg_link *l = &w->cfg.links[i];
    const char *end;

    w->servers[i][0] = (struct cfg_server){.host = "memory", .port = port};
    *l = (struct cfg_link){.name = name,
                           .enable = true,
                           .servers = w->servers[i],
                           .server_count = 1,
                           .clientid = w->cfg.cluster.name,
                           .dialect = worlds_dialect,
                           .topics = w->topics[i],
                           .keepalive = 60,
                           .dead_after_ms = 3000,
                           .exports = &world_everything,
                           .export_count = 1,
                           .retry_interval_ms = 15000,
                           .connections = 1,
                           .max_inflight = 1024,
                           .window_bytes = 16u << 20,
                           .queue_bytes = 64u << 20,
                           .queue_age = 86400,
                           .max_routes = 4u << 20,
                           .max_route_ops = 1000000,
                           .max_rate = 1u << 30};
    if (worlds_called && strcmp(worlds_called, w->cfg.cluster.name) == 0)
        l->server_count = 0;
    for (; *topics; topics = *end ? end + 1 : end) {
        end = strchrnul(topics, ',');
        w->topics[i][l->topic_count++] = bytes_of(topics, (size_t)(end - topics));
    }
    return l;
}

/* Makes the hub of a link worker (0, 1, ...). */
static inline void world_make_hub(struct world *w, uint32_t number)
{
    struct shard_hooks hooks = {.net = w, .log = world_log};
    struct hub_config hub = {.cfg = &w->cfg,
                             .shard = shard_of(w, WORLD_LINKS + number),
                             .number = number,
                             .key = {{5, 6, 7, 8}},
                             .net = w,
                             .dial = world_dial,
                             .written = world_written,
                             .log = world_log};

    shard_begin_turn(hub.shard, all.now_ms, all.wall_ms);
    w->hub[number] = hub_create(&hub);
    assert_non_null(w->hub[number]);
    hub_set_hooks(w->hub[number], &hooks);
    shard_set_hooks(hub.shard, &hooks);
}

/* Makes the process: shards, hubs, and the first attempts to connect. */
static inline void world_start(struct world *w)
{
    if (!w->link_workers)
        w->link_workers = !worlds_spread ? 1 : strcmp(w->cfg.cluster.name, "beta") ? 3 : 2;
    for (uint32_t i = 0; i < w->cfg.link_count; i++)
        w->links[i] = (struct link_rules){.name = w->cfg.links[i].name,
                                          .identity = w->cfg.links[i].peer_identity,
                                          .silence_s = 5,
                                          .transits = w->cfg.links[i].transit,
                                          .acks_remotely = w->cfg.links[i].ack == ACK_REMOTE};
    w->config = (struct cluster_config){.workers = 1,
                                        .link_workers = w->link_workers,
                                        .limits = w->cfg.limits,
                                        .listeners = &w->rules,
                                        .listener_count = 1,
                                        .links = w->links,
                                        .link_count = w->cfg.link_count,
                                        .cluster_name = w->cfg.cluster.name,
                                        .suback_linked = w->cfg.cluster.suback == SUBACK_LINKED,
                                        .seed = {1, 2, 3, 4},
                                        .version = "test",
                                        .connections_max = 100};
    w->cluster = cluster_create(&w->config, all.now_ms, all.wall_ms);
    assert_non_null(w->cluster);
    for (uint32_t i = 0; i < w->link_workers; i++)
        world_make_hub(w, i);
    shard_set_hooks(shard_of(w, WORLD_CLIENTS), &(struct shard_hooks){.net = w, .log = world_log});
    all.world[all.count++] = w;
    for (uint32_t i = 0; i < w->link_workers; i++)
        hub_start(w->hub[i]);
}

/* Cuts every connection of a world; it does not hear of it if it is killed next. */
static inline void world_cut(struct world *w)
{
    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];

        for (int side = 0; side < 2; side++)
            if (k->stream[side] && (k->world[0] == w || k->world[1] == w)) {
                outq_fini(&k->stream[side]->outq, shard_pool(k->stream[side]->shard));
                k->n[side] = 0;
                end_side(k, side, CLOSE_SOCKET_ERROR);
            }
    }
}

/* The process is gone with all it had; world_start makes a new life of it. */
static inline void world_kill(struct world *w)
{
    uint32_t at = 0;

    world_cut(w);
    worlds_settle();
    for (uint32_t i = 0; i < all.wire_count; i++) /* what it dialled meanwhile */
        if (all.wire[i]->world[0] == w && all.wire[i]->stream[0])
            all.wire[i]->stream[0] = NULL;
    for (uint32_t worker = 0; worker < world_workers(w); worker++)
        while (shard_next_dirty(shard_of(w, worker)))
            ;
    for (uint32_t i = 0; i < w->link_workers; i++)
        hub_destroy(w->hub[i]);
    cluster_destroy(w->cluster);
    while (all.world[at] != w)
        at++;
    all.world[at] = all.world[--all.count];
    memset(&w->log, 0, sizeof(w->log));
}

/* Everything, at the end of a test. */
static inline void worlds_end(void)
{
    while (all.count) {
        struct world *w = all.world[0];

        world_kill(w);
        free(w);
    }
    while (all.wire_count) {
        struct wire *k = all.wire[--all.wire_count];

        free(k->buf[0]);
        free(k->buf[1]);
        free(k);
    }
    memset(&all, 0, sizeof(all));
}

/* The sum of a counter over all workers; `offset` is its place in struct stats. */
static inline uint64_t world_sum(struct world *w, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < world_workers(w); i++) {
        const char *stats = (const char *)shard_stats(shard_of(w, i));

        sum += load_relaxed((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}
#define WORLD_COUNT(w, name) world_sum((w), offsetof(struct stats, name))

/* Whether the log has this text. */
static inline bool world_said(const struct world *w, const char *text)
{
    return strstr(w->log.text, text) != NULL;
}

/* The link to that cluster. */
static inline struct peer *world_peer(struct world *w, const char *name)
{
    struct peer *p = NULL;

    for (uint32_t i = 0; i < w->link_workers && !p; i++)
        p = hub_peer(w->hub[i], bytes_str(name));
    return p;
}

/* The link worker (0, 1, ...) of the link to that cluster. */
static inline uint32_t world_home(struct world *w, const char *name)
{
    return shard_link_home(shard_of(w, WORLD_CLIENTS), bytes_str(name));
}

/* Whether the cluster of a link has accepted us and is told our routes. */
static inline bool world_tells(struct world *w, const char *name)
{
    const struct peer *p = world_peer(w, name);

    return p->announcer.state == ANNOUNCER_ONLINE || p->greeter.is_online;
}

/* Under which it knows us. */
static inline uint64_t world_incarnation(struct world *w, const char *name)
{
    const struct peer *p = world_peer(w, name);

    return p->greeter.is_online ? p->greeter.incarnation : p->announcer.incarnation;
}

/* Messages that wait for the cluster of a link. */
static inline uint32_t world_waiting(struct world *w, const char *name)
{
    const struct peer *p = world_peer(w, name);
    uint64_t n = p->carrier.out.waiting.count + SPREAD_SUM(&p->spread, waiting);

    for (uint32_t i = 0; i < p->forwarder_count; i++)
        n += p->forwarders[i].window.waiting.count;
    return (uint32_t)n;
}

/* ---- a side that the test plays: a client of a world (side 0), or the script (side 1) ---- */

/* The next packet that came to it; NULL: none. Valid until more comes. */
static inline const struct packet *wire_next(struct wire *k)
{
    int side = k->world[0] ? 1 : 0;
    struct frame f;
    enum reason why;
    uint32_t need;

    if (frame_next(bytes_of(k->buf[side] + k->at, k->n[side] - k->at), 1u << 28, &f, &need) != OK)
        return NULL;
    assert_int_equal(packet_decode(&f, MQTT_5, &k->packet, &why), OK);
    k->at += f.header_size + f.body.n;
    if (k->packet.type == PACKET_PINGREQ && !k->is_timed)
        return wire_next(k);
    return &k->packet;
}

/* The next packet must be of this type. */
static inline const struct packet *wire_expect(struct wire *k, enum packet_type type)
{
    const struct packet *p = wire_next(k);

    assert_non_null(p);
    assert_int_equal(p->type, type);
    return p;
}

/* Sends to the other side. */
static inline void wire_send(struct wire *k, const uint8_t *from, const uint8_t *end)
{
    wire_put(k, k->world[0] ? 0 : 1, from, (size_t)(end - from));
}

/* Sends a PUBACK. */
static inline void wire_ack(struct wire *k, uint16_t id, uint8_t reason)
{
    uint8_t b[8];

    wire_send(k, b, ack_put(b, MQTT_5, PACKET_PUBACK, id, reason, (struct bytes){0}));
}

/* Sends a PUBLISH; its fields are complete. */
static inline void wire_publish(struct wire *k, const struct publish_out *p)
{
    uint32_t header, n = publish_size(MQTT_5, p, &header);
    uint8_t *b = malloc(n), *to;

    assert_non_null(b);
    to = publish_put_header(b, MQTT_5, p);
    to = bytes_put(to, p->payload);
    wire_send(k, b, to);
    free(b);
}

/* The test hangs up. */
static inline void wire_drop(struct wire *k)
{
    k->is_eof[0] = k->is_eof[1] = true;
}

/* ---- clients ---- */

/* A connection to a world, before its CONNECT. */
static inline struct wire *wire_to(struct world *w)
{
    struct wire *k = wire_make();
    struct client *c;

    shard_begin_turn(shard_of(w, WORLD_CLIENTS), all.now_ms, all.wall_ms);
    c = client_open(shard_of(w, WORLD_CLIENTS), 0, "in memory", 2, w->admission, k);
    assert_non_null(c);
    w->admission = NULL;
    k->world[1] = w;
    k->stream[1] = client_stream(c);
    k->stream[1]->conn = k;
    k->is_opened = true;
    return k;
}

/* A client of a world, connected. */
static inline struct wire *client(struct world *w, const char *id)
{
    struct connect_out c = {
        .protocol = MQTT_5, .clean_start = true, .keep_alive = 0, .client_id = bytes_str(id)};
    struct wire *k = wire_to(w);
    uint8_t b[512];

    wire_send(k, b, connect_put(b, &c));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_CONNACK)->connack.reason, 0);
    return k;
}

/* Subscribes with retain as published, and reads the SUBACK. */
static inline void subscribe(struct wire *k, const char *filter, uint8_t qos)
{
    struct filter_request f = {
        .filter = bytes_str(filter), .qos = qos, .retain_as_published = true};
    uint8_t b[512];

    wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_SUBACK)->suback.reasons.p[0], qos);
}

/* And reads the UNSUBACK. */
static inline void unsubscribe(struct wire *k, const char *filter)
{
    struct bytes f = bytes_str(filter);
    uint8_t b[512];

    wire_send(k, b, unsubscribe_put(b, MQTT_5, 78, &f, 1));
    worlds_settle();
    wire_expect(k, PACKET_UNSUBACK);
}

/* Publishes with QoS 0 or 1; the PUBACK is read. */
static inline void publish(struct wire *k, const char *topic, const char *payload, uint8_t qos)
{
    struct publish_out p = {.qos = qos,
                            .packet_id = qos ? 9 : 0,
                            .topic = bytes_str(topic),
                            .payload = bytes_str(payload)};

    wire_publish(k, &p);
    worlds_settle();
    if (qos)
        wire_expect(k, PACKET_PUBACK);
}

/* The next packet must be this PUBLISH; it is acknowledged. */
static inline void expect_publish(struct wire *k, const char *topic, const char *payload)
{
    const struct packet *p = wire_expect(k, PACKET_PUBLISH);

    assert_true(bytes_eq(p->publish.topic, bytes_str(topic)));
    assert_true(bytes_eq(p->publish.payload, bytes_str(payload)));
    if (p->publish.qos == 1)
        wire_ack(k, p->publish.packet_id, 0);
}

#endif
