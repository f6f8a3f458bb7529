/* tools/load_traffic.h -- the messages: who may publish when, and what has become of each.
 *
 * A publisher numbers its messages. Those from `head` on are on their way: not yet with every
 * subscriber, or not yet acknowledged. There are never more than its window of them, so a run is
 * bounded however slow the broker is.
 *   head <= sent <= head + window
 * A message that a subscriber missed (a later one came) counts as lost and is no longer waited for;
 * if it does come, it counts as late instead. In a shared group a later one may come earlier by
 * another member, so there a message is waited for until the end.
 *
 * Threads  one, that of the loop.
 */
#ifndef TOOLS_LOAD_TRAFFIC_H
#define TOOLS_LOAD_TRAFFIC_H

#include "tools/load_client.h"
#include "tools/load_flow.h"
#include "tools/load_hist.h"
#include "tools/load_options.h"

#define LOAD_TOPIC_BYTES (LOAD_PREFIX_MAX + 40u)

struct load_publisher {
    struct load_client *client;
    uint32_t idx;
    uint32_t sent, head;
    uint32_t window;
    uint32_t due;   /* paced: how many may be sent by now */
    uint32_t *left; /* of each on its way: subscribers to come, and whether the ack is */
    uint32_t left_mask;
    uint64_t *times; /* when each was sent; only where nobody receives, else NULL */
    struct load_publisher *next_queued;
    bool is_queued;
    uint8_t topic_bytes;
    char topic[LOAD_TOPIC_BYTES];
};

struct load_subscriber {
    uint32_t first, count;   /* publishers that it hears */
    struct load_flow *flows; /* one for each */
    uint32_t *next;          /* in a shared group instead: one more than the highest that came */
    char filter[LOAD_TOPIC_BYTES];
};

/* A connection and what it is for; each may be NULL. */
struct load_party {
    struct load_client client;
    struct load_publisher *publisher;
    struct load_subscriber *subscriber;
    struct load_publisher *asked_by; /* whose requests it answers */
    uint64_t began_us;               /* for acts: when what it does now began */
};

struct load_counts {
    uint64_t sent, delivered;
    uint64_t complete; /* with all subscribers, or missed by them, and acknowledged */
    uint64_t acked, refused;
    uint64_t begun, finished; /* operations of an act */
    uint64_t chores;          /* of an act's preparing and cleaning, what is not done yet */
    uint64_t overdue;         /* were due and had not been begun when time was over */
    uint64_t lost, doubled, late;
    uint64_t strange; /* not ours, or not as it was sent */
    uint32_t ready;   /* clients */
    uint32_t gone;
};

struct load_act;

struct load_traffic {
    const struct load_options *options;
    const struct load_act *act;
    void *act_state;
    struct load_loop *loop;
    struct load_client_setup setup;
    struct load_client_setup far_setup; /* of subscribers that are at another broker */
    uint32_t run;                       /* the number of this run, in every stamp and client id */
    struct load_party *parties;
    struct load_publisher *publishers;
    struct load_subscriber *subscribers;
    uint32_t party_count, publisher_count, subscriber_count;
    uint32_t copies; /* deliveries of one message */
    uint8_t *payload;

    bool is_publishing;
    bool is_acting;             /* an act may begin operations */
    uint64_t limit;             /* no message is sent, and no operation begun, beyond so many */
    uint32_t rate;              /* of the options; 0 in the check at the end */
    uint64_t started_us, ticks; /* paced: when, and how many messages have become due since */
    struct load_publisher *queue, **queue_end; /* may have something to send */

    struct load_counts counts;
    const char *why_gone;
    bool is_measuring; /* latency of what is sent from measured_from_us on */
    uint64_t measured_from_us;
    struct load_hist latency;
    struct load_hist recent; /* with keeps_recent: the same since it was last cleared */
    bool keeps_recent;
};

extern const struct load_client_calls load_traffic_client_calls;

/* Makes all parties; the loop's calls and room are set.  ERR_MEMORY. */
MUST_USE enum err load_traffic_init(struct load_traffic *t, const struct load_options *o,
                                    struct load_loop *loop);
/* Frees all; the loop is closed. */
void load_traffic_fini(struct load_traffic *t);
/* Starts to connect a party; the result is that of load_wire_open. */
MUST_USE enum err load_traffic_open(struct load_traffic *t, uint32_t party_idx);
/* Lets publishers send, up to the limit. */
void load_traffic_start(struct load_traffic *t, uint64_t now_us);
/* Lets each publisher send one message. None was sent before. */
void load_traffic_check(struct load_traffic *t, uint64_t now_us);
/* No further message is begun. */
void load_traffic_stop(struct load_traffic *t, uint64_t now_us);
/* Writes what may be sent by now. */
void load_traffic_publish(struct load_traffic *t, uint64_t now_us);
/* When there will be something to publish, if nothing happens before; UINT64_MAX: never. */
uint64_t load_traffic_next_us(const struct load_traffic *t);
/* Counts what has not come and does not come any more. To be called once, at the end. */
void load_traffic_write_off(struct load_traffic *t);

#endif
