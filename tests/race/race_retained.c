/* tests/race/race_retained.c -- a retained publish on one worker against a subscribe on another.
 *
 * Whoever subscribes while a retained message changes ends with the new value: it comes as a live
 * message, or the topic's owner has it before it answers. For that, what the publisher's worker has
 * posted to the owner must be seen at once and not at the end of its turn.
 * Two threads turn the two workers, each with its own view of the broker. The publisher's turn goes
 * on until the other worker has made some turns of its own; between the rounds the main thread has
 * both.
 */
#include "core/base/atomic.h"
#include "core/base/check.h"
#include "tests/support/broker.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 1000, TURNS = 8, BEFORE_MAX = 3, AFTER = 2 };

/* What one thread sees: who sleeps and who is woken is its own. */
struct view {
    struct broker broker;
    struct peer *from; /* the publisher's worker only */
    uint32_t turns;    /* so many of the other worker fit into the publisher's turn */
    uint64_t taken;    /* so many publishes in all have come when the other worker begins */
};

static _Atomic uint32_t ready_count, turn_count;

/* Until `word` is at least `value`: mostly a matter of microseconds. */
static void wait_for(const _Atomic uint32_t *word, uint32_t value)
{
    /* pairs with add_acq_rel in the other thread */
    for (uint32_t looks = 1; load_acquire(word) < value; looks++) {
        if (looks % 1024 == 0)
            sched_yield();
    }
}

/* Publishes that worker 0 has taken; it counts them in the middle of its turn. */
static uint64_t taken_count(const struct broker *b)
{
    return load_relaxed(&shard_stats(cluster_shard(b->cluster, 0))->publish_received);
}

static void begin_together(void)
{
    (void)add_acq_rel(&ready_count, 1); /* pairs with load_acquire in wait_for */
    wait_for(&ready_count, 2);
}

/* Worker 0: one long turn, and some more. */
static void *publisher(void *arg)
{
    struct view *v = arg;
    struct shard *s = cluster_shard(v->broker.cluster, 0);
    struct peer *p = v->from;
    enum input verdict = INPUT_MORE;
    uint32_t need = 0;

    begin_together();
    if (v->broker.is_asleep[0])
        shard_awake(s);
    v->broker.is_asleep[0] = false;
    shard_begin_turn(s, v->broker.now_ms, v->broker.wall_ms);
    CHECK(p->stream->ops->input(p->stream, bytes_of(p->in, p->in_count), &verdict, &need) ==
          p->in_count);
    p->in_count = 0;
    p->has_news = false;
    wait_for(&turn_count, v->turns);
    for (int i = 0; i < TURNS; i++) /* the first of them ends the long one */
        broker_turn(&v->broker, 0);
    return NULL;
}

/* Worker 1: home of the subscriber and of the topic. */
static void *subscriber(void *arg)
{
    struct view *v = arg;

    begin_together();
    while (taken_count(&v->broker) < v->taken)
        sched_yield();
    for (int i = 0; i < TURNS; i++) {
        broker_turn(&v->broker, 1);
        (void)add_acq_rel(&turn_count, 1); /* pairs with load_acquire in wait_for */
    }
    return NULL;
}

/* Both workers at once, then whatever is left. */
static void run(struct broker *b, struct peer *from, uint32_t turns, uint32_t taken)
{
    struct view views[2];
    pthread_t threads[2];
    uint64_t before = taken_count(b);

    store_relaxed(&ready_count, 0); /* no thread yet */
    store_relaxed(&turn_count, 0);
    for (uint32_t i = 0; i < 2; i++) {
        views[i] =
            (struct view){.broker = *b, .from = from, .turns = turns, .taken = before + taken};
        assert_int_equal(pthread_create(&threads[i], NULL, i ? subscriber : publisher, &views[i]),
                         0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        b->is_asleep[i] = views[i].broker.is_asleep[i];
        b->is_woken[i] = true;
    }
    broker_settle(b);
}

/* The payload of the last message that the peer has got; 0: none. */
static uint32_t last_value(struct peer *p)
{
    const struct packet *packet;
    uint32_t value = 0;

    while ((packet = peer_next(p)) != NULL) {
        if (packet->type == PACKET_PUBLISH) {
            char text[16] = {0};

            assert_in_range(packet->publish.payload.n, 1, sizeof text - 1);
            bytes_put((uint8_t *)text, packet->publish.payload);
            value = (uint32_t)strtoul(text, NULL, 10);
        }
    }
    return value;
}

static void publish_others(struct peer *p, uint32_t count)
{
    while (count-- > 0)
        peer_publish(p, "nobody/wants/this", "x", 0);
}

TEST(race_retained_subscriber_never_stays_with_an_old_value)
{
    struct broker b;
    struct peer *from, *to;
    const char *topic;
    char value[16];

    broker_init(&b, 2);
    broker_start(&b);
    from = broker_client(&b, broker_id_at(&b, 0, 0));
    to = broker_client(&b, broker_id_at(&b, 1, 0));
    topic = broker_topic_at(&b, 1, 0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint32_t before = round % (BEFORE_MAX + 1);

        snprintf(value, sizeof value, "%u", round);
        publish_others(from, before);
        peer_retain(from, topic, value, 0);
        publish_others(from, AFTER);
        peer_subscribe(to, topic, 0);
        run(&b, from, round % (TURNS + 1), round / 3 % (before + 1 + AFTER + 1));
        assert_int_equal(last_value(to), round);
        peer_unsubscribe(to, topic);
        broker_settle(&b);
        peer_expect(to, PACKET_UNSUBACK);
    }
    broker_stop(&b);
}
