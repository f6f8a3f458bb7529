/* bench/bench_deliver.c -- a publish from the bytes of one client to the queues of others, with and
 * without an ACL.
 *
 * One worker; QoS 0 to one topic. The argument of a benchmark is what authorization has to do: none
 * (no ACL), covered (the subscriptions lie within what their clients may read), asked (they do
 * not, and every delivery is looked up). An item is a delivery.
 */
#include <stdlib.h>

#include "bench/shim.h"

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/policy/acl.h"

#define SUBSCRIBERS_MAX 64u

enum rights { RIGHTS_NONE, RIGHTS_COVERED, RIGHTS_ASKED };

static const struct listener_rules listener = {.allow_anonymous = true, .is_loopback = true};

struct world {
    struct cluster_state *cluster;
    struct shard *shard;
    struct acl *acl;
    struct client *subscribers[SUBSCRIBERS_MAX], *publisher;
    uint32_t count;
};

static void input(struct client *c, const uint8_t *p, size_t n)
{
    struct stream *st = client_stream(c);
    enum input verdict;
    uint32_t need;

    CHECK(st->ops->input(st, bytes_of(p, n), &verdict, &need) == n && verdict == INPUT_MORE);
}

static void turn(struct shard *s)
{
    bool more;

    (void)shard_end_turn(s, &more);
    while (shard_next_dirty(s))
        ;
    shard_begin_turn(s, 1000, 1000);
}

static void drain(struct shard *s, struct client *c)
{
    struct outq *q = &client_stream(c)->outq;

    outq_sent(q, shard_pool(s), q->bytes);
}

static struct client *connect(struct shard *s, char *id)
{
    struct connect_out o = {.protocol = MQTT_311, .clean_start = true, .client_id = bytes_str(id)};
    struct client *c = client_open(s, 0, "bench", 1, NULL, NULL);
    uint8_t bytes[100];

    CHECK(c);
    o.username = BYTES_LIT("u");
    input(c, bytes, (size_t)(connect_put(bytes, &o) - bytes));
    return c;
}

static void create(struct world *w, enum rights rights, uint32_t count)
{
    static const char *const rules[] = {NULL, "user u\ntopic a/#\n",
                                        "user u\ntopic deny a/+/secret\ntopic a/#\n"};
    struct cluster_config config = {.workers = 1,
                                    .listeners = &listener,
                                    .listener_count = 1,
                                    .seed = {1, 2, 3, 4},
                                    .version = "bench"};
    struct filter_request f = {.filter = BYTES_LIT("a/b/#")};
    char id[3] = "s0";
    uint8_t bytes[100];

    config.limits = (struct limits){.packet_bytes = PACKET_BYTES_DEFAULT,
                                    .connect_bytes = CONNECT_BYTES_DEFAULT,
                                    .topic_levels = TOPIC_LEVELS_DEFAULT,
                                    .outq_bytes = OUTQ_BYTES_DEFAULT,
                                    .subscriptions = SUBSCRIPTIONS_DEFAULT,
                                    .receive_maximum = RECEIVE_MAXIMUM_DEFAULT,
                                    .keepalive = KEEPALIVE_DEFAULT};
    if (rules[rights])
        CHECK(acl_create(bytes_str(rules[rights]), &(struct hash_key){{1, 2, 3, 4}}, NULL, NULL,
                         &w->acl) == OK);
    config.acl = w->acl;
    w->cluster = cluster_create(&config, 1000, 1000);
    CHECK(w->cluster);
    w->shard = cluster_shard(w->cluster, 0);
    w->count = count;
    for (uint32_t i = 0; i < count; i++) {
        id[1] = (char)('0' + i);
        w->subscribers[i] = connect(w->shard, id);
        input(w->subscribers[i], bytes,
              (size_t)(subscribe_put(bytes, MQTT_311, 1, &f, 1, 0) - bytes));
    }
    w->publisher = connect(w->shard, (char[]){"p"});
    turn(w->shard);
}

static void destroy(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        client_stream(w->subscribers[i])->ops->closed(client_stream(w->subscribers[i]), CLOSE_EOF);
    client_stream(w->publisher)->ops->closed(client_stream(w->publisher), CLOSE_EOF);
    cluster_destroy(w->cluster);
    acl_release(w->acl);
}

static void run(struct bench *b, enum rights rights, uint32_t count)
{
    struct world w = {0};
    struct publish_out o = {.topic = BYTES_LIT("a/b/c"), .payload = BYTES_LIT("some bytes")};
    uint8_t bytes[100];
    uint32_t header, n = publish_size(MQTT_311, &o, &header);
    uint64_t batch, items = 0;

    create(&w, rights, count);
    bytes_put(publish_put_header(bytes, MQTT_311, &o), o.payload);
    while (bench_next_batch(b, &batch)) {
        items += batch * count;
        for (uint64_t i = 0; i < batch; i++) {
            input(w.publisher, bytes, n);
            if (i % 64)
                continue;
            for (uint32_t k = 0; k < count; k++)
                drain(w.shard, w.subscribers[k]);
            turn(w.shard);
        }
    }
    bench_items(b, items);
    destroy(&w);
}

static void one(struct bench *b, int64_t arg)
{
    run(b, (enum rights)arg, 1);
}

static void many(struct bench *b, int64_t arg)
{
    run(b, (enum rights)arg, SUBSCRIBERS_MAX);
}

__attribute__((constructor)) static void register_deliver(void)
{
    bench_register("BM_deliver/subscribers:1/acl:none", one, RIGHTS_NONE);
    bench_register("BM_deliver/subscribers:1/acl:covered", one, RIGHTS_COVERED);
    bench_register("BM_deliver/subscribers:1/acl:asked", one, RIGHTS_ASKED);
    bench_register("BM_deliver/subscribers:64/acl:none", many, RIGHTS_NONE);
    bench_register("BM_deliver/subscribers:64/acl:covered", many, RIGHTS_COVERED);
    bench_register("BM_deliver/subscribers:64/acl:asked", many, RIGHTS_ASKED);
}
