/* tests/support/broker.c -- turns shards by hand and lets tests speak MQTT to them. */
#include "tests/support/broker.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/policy/acl.h"
#include "tests/support/test.h"

/* Rounds after which a broker that is still busy never rests. */
#define ROUNDS_MAX 20000u

/* ---- the broker ---- */

static void fail_check(const char *file, int line, const char *what)
{
    print_error("CHECK(%s) failed\n", what);
    _fail(file, line);
}

void broker_init(struct broker *b, uint32_t workers)
{
    *b = (struct broker){.now_ms = 1000, .wall_ms = 1700000000000};
    b->listeners[0] = (struct listener_rules){
        .allow_anonymous = true, .is_loopback = true, .links = LISTENER_LINKS_ON};
    b->listeners[1] = (struct listener_rules){.allow_anonymous = true};
    b->config.workers = workers;
    b->config.listeners = b->listeners;
    b->config.listener_count = 2;
    b->config.version = "test";
    b->config.connections_max = 1000;
    b->config.check_retain_source = true;
    b->config.limits = (struct limits){
        .packet_bytes = PACKET_BYTES_DEFAULT,
        .connect_bytes = CONNECT_BYTES_DEFAULT,
        .connect_timeout_ms = CONNECT_TIMEOUT_DEFAULT,
        .topic_levels = TOPIC_LEVELS_DEFAULT,
        .connections = 1000,
        .inflight = INFLIGHT_DEFAULT,
        .receive_maximum = RECEIVE_MAXIMUM_DEFAULT,
        .queued_messages = QUEUED_MESSAGES_DEFAULT,
        .queued_bytes = QUEUED_BYTES_DEFAULT,
        .outq_bytes = OUTQ_BYTES_DEFAULT,
        .subscriptions = SUBSCRIPTIONS_DEFAULT,
        .sessions = SESSIONS_DEFAULT,
        .retained = RETAINED_DEFAULT,
        .topic_alias = TOPIC_ALIAS_DEFAULT,
        .keepalive = KEEPALIVE_DEFAULT,
        .group_queued = GROUP_QUEUED_DEFAULT,
        .session_expiry = UINT32_MAX,
        .retained_bytes = RETAINED_BYTES_DEFAULT,
        .memory_bytes = 1ull << 32,
        .max_qos = 2,
        .retain_available = true,
    };
    for (uint32_t i = 0; i < 4; i++)
        b->config.seed[i] = 0x9E3779B97F4A7C15ull * (i + 1);
}

void broker_start(struct broker *b)
{
    check_set_handler(fail_check);
    b->worker_count = b->config.workers + b->config.link_workers;
    assert_true(b->worker_count <= BROKER_WORKERS_MAX);
    b->cluster = cluster_create(&b->config, b->now_ms, b->wall_ms);
    assert_non_null(b->cluster);
    for (uint32_t i = 0; i < b->worker_count; i++)
        b->is_woken[i] = true;
}

void broker_set_acl(struct broker *b, const char *text)
{
    static const struct hash_key key = {{1, 2, 3, 4}};
    struct acl *acl = NULL;

    if (text)
        assert_int_equal(acl_create(bytes_str(text), &key, NULL, NULL, &acl), OK);
    for (uint32_t i = 0; b->cluster && i < b->worker_count; i++) {
        shard_set_acl(cluster_shard(b->cluster, i), acl);
        b->is_woken[i] = true;
    }
    b->config.acl = acl;
    acl_release(b->acl);
    b->acl = acl;
}

/* ---- connections ---- */

static void close_peer(struct peer *p, enum close_reason why)
{
    struct stream *s = p->stream;

    p->stream = NULL;
    p->why = why;
    s->conn = NULL;
    s->ops->closed(s, why);
}

/* Appends to one of a peer's two buffers. */
static void append(uint8_t **to, uint32_t *count, uint32_t *capacity, struct bytes b)
{
    if (*count + b.n > *capacity) {
        *capacity = 2 * (*count + b.n);
        *to = realloc(*to, *capacity);
        assert_non_null(*to);
    }
    bytes_put(*to + *count, b);
    *count += b.n;
}

static void offer(struct peer *p)
{
    enum input verdict = INPUT_MORE;
    uint32_t need = 0, taken;
    uint8_t *copy = malloc(p->in_count ? p->in_count : 1);

    assert_non_null(copy);
    memcpy(copy, p->in, p->in_count);
    taken = p->stream->ops->input(p->stream, bytes_of(copy, p->in_count), &verdict, &need);
    free(copy);
    assert_true(taken <= p->in_count);
    memmove(p->in, p->in + taken, p->in_count - taken);
    p->in_count -= taken;
    p->is_parked = verdict == INPUT_PARKED;
    p->has_news = false;
    if (verdict == INPUT_CLOSED)
        assert_true(p->stream->close_wanted || p->stream->close_now);
}

static bool wants_close(const struct peer *p)
{
    return p->stream->close_wanted || p->stream->close_now;
}

/* Everything that waits leaves, and what the stream adds then, too. true: something did. */
static bool receive(struct broker *b, struct peer *p)
{
    struct outq *q = &p->stream->outq;
    bool has_sent = false;

    while (p->reads && q->bytes && !p->stream->close_now) {
        struct outq_vec v[OUTQ_IOV_MAX];
        uint32_t n = outq_front(q, v, OUTQ_IOV_MAX), sent = 0;

        for (uint32_t i = 0; i < n; i++) {
            append(&p->out, &p->out_count, &p->out_capacity, bytes_of(v[i].base, v[i].length));
            sent += (uint32_t)v[i].length;
        }
        outq_sent(q, shard_pool(cluster_shard(b->cluster, p->home)), sent);
        if (q->bytes <= b->config.limits.outq_bytes / 2)
            p->stream->ops->drained(p->stream);
        has_sent = true;
    }
    return has_sent;
}

/* ---- turns ---- */

static void offer_all(struct broker *b, uint32_t worker)
{
    for (struct peer *p = b->peers; p; p = p->next)
        if (p->stream && p->home == worker && !wants_close(p) && (p->has_news || p->is_parked))
            offer(p);
}

/* Output of the turn. true: another turn is due, as after a completion of the kernel. */
static bool flush(struct broker *b, uint32_t worker)
{
    struct shard *s = cluster_shard(b->cluster, worker);
    struct stream *st;
    bool has_done = false;

    while ((st = shard_next_dirty(s))) {
        struct peer *p = st->conn;

        has_done |= receive(b, p);
        if (!wants_close(p))
            continue;
        close_peer(p, st->close_why);
        has_done = true;
    }
    return has_done;
}

static bool is_parked_there(const struct broker *b, uint32_t worker)
{
    for (const struct peer *p = b->peers; p; p = p->next)
        if (p->stream && p->home == worker && p->is_parked)
            return true;
    return false;
}

void broker_turn(struct broker *b, uint32_t worker)
{
    struct shard *s = cluster_shard(b->cluster, worker);
    bool more, more_end;
    uint64_t wake;

    if (b->is_asleep[worker])
        shard_awake(s);
    b->is_asleep[worker] = false;
    b->is_woken[worker] = false;
    shard_begin_turn(s, b->now_ms, b->wall_ms);
    offer_all(b, worker);
    more = shard_run_mail(s);
    more |= shard_run_timers(s);
    wake = shard_end_turn(s, &more_end);
    more |= flush(b, worker);
    for (uint32_t i = 0; i < b->worker_count; i++)
        if (wake & (1ull << i))
            b->is_woken[i] = true;
    if (more || more_end || is_parked_there(b, worker) || !shard_sleep(s)) {
        b->is_woken[worker] = true;
        return;
    }
    b->is_asleep[worker] = true;
    wake = shard_next_timer_ms(s);
    b->wake_at_ms[worker] = wake == UINT64_MAX ? UINT64_MAX : b->now_ms + wake;
}

static bool may_run(const struct broker *b, uint32_t worker)
{
    if (!b->is_asleep[worker] || b->is_woken[worker] || b->now_ms >= b->wake_at_ms[worker])
        return true;
    for (const struct peer *p = b->peers; p; p = p->next)
        if (p->stream && p->home == worker &&
            (p->has_news || (p->reads && (p->stream->outq.bytes || wants_close(p)))))
            return true;
    return false;
}

/* A peer that reads again gets what waited for it. */
static void touch_readers(struct broker *b, uint32_t worker)
{
    for (struct peer *p = b->peers; p; p = p->next)
        if (p->stream && p->home == worker && p->reads && p->stream->outq.bytes)
            stream_touch(p->stream);
}

void broker_settle(struct broker *b)
{
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        bool has_run = false;

        for (uint32_t i = 0; i < b->worker_count; i++) {
            if (!may_run(b, i))
                continue;
            touch_readers(b, i);
            broker_turn(b, i);
            has_run = true;
        }
        if (!has_run)
            return;
    }
    fail_msg("the broker does not come to rest");
}

void broker_pass(struct broker *b, uint64_t ms)
{
    b->now_ms += ms;
    b->wall_ms += ms;
    broker_settle(b);
}

/* ---- what is counted ---- */

uint64_t broker_sum(const struct broker *b, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < b->worker_count; i++) {
        const char *stats = (const char *)shard_stats(cluster_shard(b->cluster, i));

        sum += load_relaxed((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}

struct gauges {
    uint64_t sessions, offline, connected, subscriptions, shared, queued, inflight, retained;
};

static void count_session(struct gauges *g, const struct session *x)
{
    g->sessions++;
    g->offline += !x->client;
    g->connected += x->client != NULL;
    g->queued += x->queue_count;
    g->inflight += x->inflight_count;
    for (uint32_t i = 0; i < x->sub_count; i++) {
        g->subscriptions += x->subs[i].filter != NULL;
        g->shared += x->subs[i].share != NULL;
    }
}

void broker_check_gauges(struct broker *b)
{
    struct gauges g = {0};

    for (uint32_t i = 0; i < b->worker_count; i++) {
        struct shard *s = cluster_shard(b->cluster, i);
        const struct session *x;
        uint32_t slot = 0;

        while ((x = slab_next(&s->sessions, &slot)))
            count_session(&g, x);
        g.retained += retain_count(s->retain);
    }
    assert_int_equal(BROKER_SUM(b, sessions), g.sessions);
    assert_int_equal(BROKER_SUM(b, sessions_offline), g.offline);
    assert_int_equal(BROKER_SUM(b, clients_connected), g.connected);
    assert_int_equal(BROKER_SUM(b, subscriptions), g.subscriptions);
    assert_int_equal(BROKER_SUM(b, shared_subscriptions), g.shared);
    assert_int_equal(BROKER_SUM(b, queued_messages), g.queued);
    assert_int_equal(BROKER_SUM(b, inflight_messages), g.inflight);
    assert_int_equal(BROKER_SUM(b, retained), g.retained);
}

void broker_forget_peers(struct broker *b)
{
    while (b->peers) {
        struct peer *p = b->peers;

        b->peers = p->next;
        free(p->in);
        free(p->out);
        free(p);
    }
}

void broker_stop(struct broker *b)
{
    for (struct peer *p = b->peers; p; p = p->next)
        peer_drop(p);
    broker_settle(b);
    broker_check_gauges(b);
    assert_int_equal(BROKER_SUM(b, output_bytes_queued), 0);
    cluster_destroy(b->cluster);
    acl_release(b->acl);
    broker_forget_peers(b);
    check_set_handler(NULL);
}

/* ---- names with a place ---- */

static char *next_name(void)
{
    static char names[1024][32];
    static uint32_t at;

    return names[at++ % 1024];
}

static uint32_t place_of(const struct broker *b, const char *name)
{
    return (uint32_t)((hash_bytes(&b->cluster->key, bytes_str(name)) >> 32) % b->config.workers);
}

static const char *name_at(const struct broker *b, const char *prefix, uint32_t worker, uint32_t n)
{
    char *name = next_name();
    uint32_t i = 0;

    do {
        snprintf(name, 32, "%s%u", prefix, i++);
    } while (place_of(b, name) != worker || n-- > 0);
    return name;
}

const char *broker_id_at(const struct broker *b, uint32_t worker, uint32_t n)
{
    return name_at(b, "c", worker, n);
}

const char *broker_topic_at(const struct broker *b, uint32_t worker, uint32_t n)
{
    return name_at(b, "t", worker, n);
}

/* ---- connecting ---- */

static struct peer *open_at(struct broker *b, uint16_t listener, uint32_t home)
{
    struct peer *p = calloc(1, sizeof *p);
    struct client *c;

    assert_non_null(p);
    p->broker = b;
    p->home = home;
    p->reads = true;
    p->protocol = MQTT_5;
    p->next_packet_id = 1;
    c = client_open(cluster_shard(b->cluster, p->home), listener, "192.0.2.1", 4711, b->admission,
                    p);
    b->admission = NULL;
    assert_non_null(c);
    p->stream = client_stream(c);
    p->next = b->peers;
    b->peers = p;
    return p;
}

struct peer *broker_open(struct broker *b, uint16_t listener, const char *id)
{
    return open_at(b, listener, *id ? place_of(b, id) : 0);
}

struct peer *broker_dial(struct broker *b, uint16_t listener, const struct connect_out *c)
{
    struct peer *p;
    uint32_t n = connect_size(c), need;
    uint8_t *bytes = malloc(n);
    struct greeting g;

    assert_non_null(bytes);
    assert_ptr_equal(connect_put(bytes, c), bytes + n);
    assert_int_equal(shard_greet(cluster_shard(b->cluster, 0), bytes_of(bytes, n), &g, &need), OK);
    p = open_at(b, listener, g.home);
    p->protocol = c->protocol;
    peer_write(p, bytes_of(bytes, n));
    free(bytes);
    return p;
}

struct peer *broker_connect(struct broker *b, const struct connect_out *c)
{
    struct peer *p = broker_dial(b, 0, c);

    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    return p;
}

struct peer *broker_client(struct broker *b, const char *id)
{
    struct connect_out c = {.protocol = MQTT_5, .clean_start = true, .client_id = bytes_str(id)};

    return broker_connect(b, &c);
}

struct peer *broker_client_as(struct broker *b, uint16_t listener, enum protocol protocol,
                              const char *id, const char *user, bool stays)
{
    struct connect_out c = {.protocol = protocol,
                            .clean_start = !stays,
                            .client_id = bytes_str(id),
                            .has_session_expiry = stays,
                            .session_expiry = 3600};
    struct peer *p;

    if (user)
        c.username = bytes_str(user);
    p = broker_dial(b, listener, &c);
    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    return p;
}

struct peer *broker_durable(struct broker *b, const char *id, enum protocol protocol)
{
    struct connect_out c = {.protocol = protocol,
                            .client_id = bytes_str(id),
                            .has_session_expiry = true,
                            .session_expiry = 3600};

    return broker_connect(b, &c);
}

void peer_drop(struct peer *p)
{
    if (!p->stream)
        return;
    close_peer(p, CLOSE_EOF);
    p->broker->is_woken[p->home] = true;
}

/* ---- writing ---- */

void peer_write(struct peer *p, struct bytes packet)
{
    append(&p->in, &p->in_count, &p->in_capacity, packet);
    p->has_news = true;
}

void peer_publish_out(struct peer *p, const struct publish_out *o)
{
    uint32_t header, n = publish_size(p->protocol, o, &header);
    uint8_t *bytes = malloc(n);

    assert_non_null(bytes);
    assert_true(n > 0);
    bytes_put(publish_put_header(bytes, p->protocol, o), o->payload);
    peer_write(p, bytes_of(bytes, n));
    free(bytes);
}

static uint16_t publish(struct peer *p, const char *topic, const char *payload, uint8_t qos,
                        bool retain)
{
    struct publish_out o = {.qos = qos,
                            .retain = retain,
                            .packet_id = qos ? p->next_packet_id++ : 0,
                            .topic = bytes_str(topic),
                            .payload = bytes_str(payload)};

    peer_publish_out(p, &o);
    return o.packet_id;
}

uint16_t peer_publish(struct peer *p, const char *topic, const char *payload, uint8_t qos)
{
    return publish(p, topic, payload, qos, false);
}

uint16_t peer_retain(struct peer *p, const char *topic, const char *payload, uint8_t qos)
{
    return publish(p, topic, payload, qos, true);
}

uint16_t peer_subscribe_to(struct peer *p, const struct filter_request *f, uint32_t count,
                           uint32_t subscription_id)
{
    uint32_t n = subscribe_size(p->protocol, f, count, subscription_id);
    uint8_t *bytes = malloc(n);
    uint16_t id = p->next_packet_id++;

    assert_non_null(bytes);
    subscribe_put(bytes, p->protocol, id, f, count, subscription_id);
    peer_write(p, bytes_of(bytes, n));
    free(bytes);
    return id;
}

uint16_t peer_subscribe(struct peer *p, const char *filter, uint8_t qos)
{
    struct filter_request f = {.filter = bytes_str(filter), .qos = qos};

    return peer_subscribe_to(p, &f, 1, 0);
}

uint16_t peer_unsubscribe(struct peer *p, const char *filter)
{
    struct bytes f = bytes_str(filter);
    uint32_t n = unsubscribe_size(p->protocol, &f, 1);
    uint8_t *bytes = malloc(n);
    uint16_t id = p->next_packet_id++;

    assert_non_null(bytes);
    unsubscribe_put(bytes, p->protocol, id, &f, 1);
    peer_write(p, bytes_of(bytes, n));
    free(bytes);
    return id;
}

void peer_ack(struct peer *p, enum packet_type type, uint16_t packet_id)
{
    uint8_t bytes[ACK_BYTES_MAX];
    uint8_t *end = ack_put(bytes, p->protocol, type, packet_id, 0, bytes_of("", 0));

    peer_write(p, bytes_of(bytes, (size_t)(end - bytes)));
}

void peer_disconnect(struct peer *p, uint8_t reason)
{
    uint8_t bytes[16];
    uint8_t *end = disconnect_put(bytes, reason, bytes_of("", 0));

    peer_write(p, bytes_of(bytes, (size_t)(end - bytes)));
}

void peer_ping(struct peer *p)
{
    uint8_t bytes[2];

    pingreq_put(bytes);
    peer_write(p, bytes_of(bytes, sizeof bytes));
}

/* ---- reading ---- */

const struct packet *peer_next(struct peer *p)
{
    struct bytes rest = bytes_of(p->out + p->out_at, p->out_count - p->out_at);
    enum reason why = REASON_SUCCESS;
    struct frame f;
    uint32_t need;

    if (rest.n == 0 || frame_next(rest, UINT32_MAX, &f, &need) != OK)
        return NULL;
    p->out_at += f.header_size + f.body.n;
    assert_int_equal(packet_decode(&f, p->protocol, &p->packet, &why), OK);
    return &p->packet;
}

const struct packet *peer_expect(struct peer *p, enum packet_type type)
{
    const struct packet *packet = peer_next(p);

    if (!packet)
        fail_msg("nothing came; packet type %d was expected", (int)type);
    assert_int_equal(packet->type, type);
    return packet;
}

const struct packet_publish *peer_expect_publish(struct peer *p, const char *topic,
                                                 const char *payload)
{
    const struct packet_publish *m = &peer_expect(p, PACKET_PUBLISH)->publish;
    size_t n = strlen(payload);

    assert_int_equal(m->topic.n, strlen(topic));
    assert_memory_equal(m->topic.p, topic, m->topic.n);
    if (m->payload.n != n || (n && memcmp(m->payload.p, payload, n) != 0))
        fail_msg("payload '%.*s', not '%s'", (int)m->payload.n, (const char *)m->payload.p,
                 payload);
    return m;
}

void peer_expect_nothing(struct peer *p)
{
    const struct packet *packet = peer_next(p);

    if (packet)
        fail_msg("a packet of type %d came", (int)packet->type);
}

uint32_t peer_count_publishes(struct peer *p)
{
    const struct packet *packet;
    uint32_t n = 0;

    while ((packet = peer_next(p)))
        n += packet->type == PACKET_PUBLISH;
    return n;
}

static uint32_t number_of(const struct packet_publish *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->payload.n && m->payload.p[i] >= '0' && m->payload.p[i] <= '9'; i++)
        n = n * 10 + m->payload.p[i] - '0';
    return n;
}

uint32_t peer_take_numbered(struct peer *p, uint32_t next)
{
    const struct packet *packet;
    bool more = true;

    while (more) {
        more = false;
        broker_settle(p->broker);
        for (; (packet = peer_next(p)); more = true) {
            if (packet->type != PACKET_PUBLISH)
                continue;
            if (number_of(&packet->publish) != next)
                fail_msg("message %u came, not %u", number_of(&packet->publish), next);
            next++;
            if (packet->publish.qos == 1)
                peer_ack(p, PACKET_PUBACK, packet->publish.packet_id);
        }
    }
    return next;
}

void peer_expect_end(struct peer *p, uint8_t reason, enum close_reason why)
{
    if (p->protocol == MQTT_5)
        assert_int_equal(peer_expect(p, PACKET_DISCONNECT)->disconnect.reason, reason);
    peer_expect_nothing(p);
    assert_null(p->stream);
    assert_int_equal(p->why, why);
}

void peer_subscribed(struct peer *p, const char *filter, uint8_t qos)
{
    const struct packet_suback *a;

    peer_subscribe(p, filter, qos);
    broker_settle(p->broker);
    a = &peer_expect(p, PACKET_SUBACK)->suback;
    assert_int_equal(a->reasons.n, 1);
    assert_int_equal(a->reasons.p[0], qos);
}
