/* tests/race/race_retained.c -- a retained publish on one worker against a subscribe on another.
 *
 * Whoever subscribes while a retained message changes ends with the new value: it comes as a live
 * message, or the topic's owner has it before it answers. What the publisher's worker has posted to
 * the owner must be seen at once, not at the end of its turn, and its turns are long here.
 * Two threads turn the two workers, each with its own view of the broker; between the rounds the
 * main thread has both.
 */
#include "core/base/atomic.h"
#include "tests/support/broker.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 400, BEFORE = 16, LEADS = 33, AFTER = 400, TURNS = 8 };

/* What one thread sees: who sleeps and who is woken is its own. */
struct view {
    struct broker broker;
    uint32_t worker;
    uint64_t begin; /* so many publishes of the other worker have come */
};

static _Atomic uint32_t ready_count;

/* Publishes that the publisher's worker has taken; it counts them in the middle of its turn. */
static uint64_t taken_count(const struct broker *b)
{
    return load_relaxed(&shard_stats(cluster_shard(b->cluster, 0))->publish_received);
}

static void *turn(void *arg)
{
    struct view *v = arg;

    (void)add_acq_rel(&ready_count, 1); /* pairs with load_acquire: both begin together */
    while (load_acquire(&ready_count) < 2 || taken_count(&v->broker) < v->begin)
        sched_yield();
    for (int i = 0; i < TURNS; i++)
        broker_turn(&v->broker, v->worker);
    return NULL;
}

/* Both workers at once, the second one when the first has taken `lead` publishes; then whatever is
 * left. */
static void run(struct broker *b, uint32_t lead)
{
    struct view views[2];
    pthread_t threads[2];
    uint64_t begin = taken_count(b) + lead;

    store_relaxed(&ready_count, 0); /* no thread yet */
    for (uint32_t i = 0; i < 2; i++) {
        views[i] = (struct view){.broker = *b, .worker = i, .begin = i ? begin : 0};
        assert_int_equal(pthread_create(&threads[i], NULL, turn, &views[i]), 0);
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

static void publish_fillers(struct peer *p, uint32_t count)
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
        snprintf(value, sizeof value, "%u", round);
        publish_fillers(from, round % BEFORE);
        peer_retain(from, topic, value, 0);
        publish_fillers(from, AFTER);
        peer_subscribe(to, topic, 0);
        run(&b, round % LEADS);
        assert_int_equal(last_value(to), round);
        peer_unsubscribe(to, topic);
        broker_settle(&b);
        peer_expect(to, PACKET_UNSUBACK);
    }
    broker_stop(&b);
}
