/* tests/core/broker/test_interest.c -- what link workers hear and are asked. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* What a link worker of a test hears, as "+filter", "-filter" and "?filter" with a group in front.
 */
struct heard {
    char text[4096];
    struct barrier *open[600];
    uint32_t open_count;
    bool answers; /* at once */
    struct shard *shard;
};

static void hear(struct heard *h, char sign, struct bytes group, struct bytes filter)
{
    size_t n = strlen(h->text);

    snprintf(h->text + n, sizeof h->text - n, "%c%.*s%.*s ", sign, (int)group.n,
             (const char *)group.p, (int)filter.n, (const char *)filter.p);
}

static void on_interest(void *link, struct bytes group, struct bytes filter, bool is_added)
{
    hear(link, is_added ? '+' : '-', group, filter);
}

static void on_barrier(void *link, struct barrier *b, struct bytes group, struct bytes filter)
{
    struct heard *h = link;

    hear(h, '?', group, filter);
    if (h->answers)
        shard_barrier_done(h->shard, b, false);
    else
        h->open[h->open_count++] = b;
}

/* `workers` for clients and one for links, which is the last. */
static void start(struct broker *b, struct heard *h, uint32_t workers, bool is_linked)
{
    struct shard_hooks hooks = {.link = h, .interest = on_interest, .barrier = on_barrier};

    memset(h, 0, sizeof *h);
    broker_init(b, workers);
    b->config.link_workers = 1;
    b->config.suback_linked = is_linked;
    b->config.ring_bytes[MAIL_REQUEST] = b->config.ring_bytes[MAIL_ANSWER] = 4096;
    broker_start(b);
    h->shard = cluster_shard(b->cluster, workers);
    shard_set_hooks(h->shard, &hooks);
}

/* Answers all questions. */
static void answer_all(struct broker *b, struct heard *h, bool is_late)
{
    for (uint32_t i = 0; i < h->open_count; i++)
        shard_barrier_done(h->shard, h->open[i], is_late);
    h->open_count = 0;
    b->is_woken[b->worker_count - 1] = true;
    broker_settle(b);
}

BROKER_TEST(suback_waits_for_the_link_worker_where_it_is_linked)
{
    struct broker b;
    struct heard h;
    struct peer *p;
    const char *topic;
    char expected[64];

    start(&b, &h, workers, true);
    topic = broker_topic_at(&b, workers - 1, 0);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribe(p, topic, 1);
    broker_settle(&b);
    peer_expect_nothing(p);
    snprintf(expected, sizeof expected, "+%s ?%s ", topic, topic);
    assert_string_equal(h.text, expected);
    answer_all(&b, &h, false);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0], 1);
    assert_int_equal(BROKER_SUM(&b, link_subacks_late), 0);
    broker_stop(&b);
}

TEST(suback_asks_no_link_worker_where_it_is_local)
{
    struct broker b;
    struct heard h;
    struct peer *p;

    start(&b, &h, 2, false);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribed(p, "t", 1);
    assert_string_equal(h.text, "+t ");
    broker_stop(&b);
}

TEST(suback_asks_of_shared_filters_too_and_not_of_what_was_refused)
{
    struct filter_request f[] = {{.filter = BYTES_LIT("$share/g/t"), .qos = 1},
                                 {.filter = BYTES_LIT("$LINK/cluster/resp/x"), .qos = 1}};
    struct broker b;
    struct heard h;
    struct peer *p;

    start(&b, &h, 1, true);
    p = broker_client(&b, "c");
    peer_subscribe_to(p, f, 2, 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_string_equal(h.text, "+gt ?gt ");
    answer_all(&b, &h, true);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0], 1);
    assert_int_equal(BROKER_SUM(&b, link_subacks_late), 1);
    broker_stop(&b);
}

TEST(suback_waits_for_all_of_its_filters)
{
    struct filter_request f[] = {{.filter = BYTES_LIT("a")}, {.filter = BYTES_LIT("b")}};
    struct broker b;
    struct heard h;
    struct peer *p;

    start(&b, &h, 2, true);
    p = broker_client(&b, "c");
    peer_subscribe_to(p, f, 2, 0);
    broker_settle(&b);
    assert_int_equal(h.open_count, 2);
    shard_barrier_done(h.shard, h.open[--h.open_count], false);
    b.is_woken[2] = true;
    broker_settle(&b);
    peer_expect_nothing(p);
    answer_all(&b, &h, false);
    peer_expect(p, PACKET_SUBACK);
    broker_stop(&b);
}

/* The last subscriber of a filter at one worker leaves while another one comes elsewhere: the link
 * worker must not be asked before it has heard of both. */
TEST(link_worker_is_asked_behind_what_it_was_told)
{
    struct broker b;
    struct heard h;
    struct peer *p, *q;
    const char *topic;
    char expected[128];

    start(&b, &h, 3, true);
    h.answers = true;
    topic = broker_topic_at(&b, 2, 0);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    peer_subscribed(p, topic, 0);
    h.text[0] = '\0';
    peer_unsubscribe(p, topic);
    broker_turn(&b, 0);
    broker_turn(&b, 2);
    peer_subscribe(q, topic, 0);
    broker_turn(&b, 1);
    broker_turn(&b, 2);
    broker_turn(&b, 1);
    broker_turn(&b, 2);
    broker_turn(&b, 3);
    snprintf(expected, sizeof expected, "-%s +%s ?%s ", topic, topic, topic);
    assert_string_equal(h.text, expected);
    broker_settle(&b);
    peer_expect(q, PACKET_SUBACK);
    broker_stop(&b);
}

TEST(questions_without_room_wait_and_none_is_lost)
{
    struct broker b;
    struct heard h;
    struct peer *p;
    char filter[32];

    start(&b, &h, 2, true);
    h.answers = true;
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    for (int i = 0; i < 500; i++) {
        snprintf(filter, sizeof filter, "f/%d", i);
        peer_subscribe(p, filter, 0);
    }
    broker_settle(&b);
    for (int i = 0; i < 500; i++)
        peer_expect(p, PACKET_SUBACK);
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(client_that_goes_while_link_workers_are_asked_does_no_harm)
{
    struct broker b;
    struct heard h;
    struct peer *p;

    start(&b, &h, 2, true);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribe(p, "t", 0);
    broker_settle(&b);
    peer_drop(p);
    broker_settle(&b);
    answer_all(&b, &h, false);
    assert_int_equal(BROKER_SUM(&b, subscriptions), 0);
    broker_stop(&b);
}

TEST(process_ends_while_questions_are_under_way)
{
    for (uint32_t steps = 0; steps < 12; steps++) {
        struct broker b;
        struct heard h;
        struct peer *p;

        start(&b, &h, 2, true);
        p = broker_client(&b, broker_id_at(&b, 0, 0));
        peer_subscribe(p, broker_topic_at(&b, 1, 0), 0);
        peer_subscribe(p, broker_topic_at(&b, 0, 0), 0);
        for (uint32_t i = 0; i < steps; i++)
            broker_turn(&b, i % 3);
        for (uint32_t i = 0; i < h.open_count; i++) /* as the link layer does when it ends */
            shard_barrier_done(h.shard, h.open[i], true);
        peer_drop(p);
        cluster_destroy(b.cluster);
        broker_forget_peers(&b);
    }
}
