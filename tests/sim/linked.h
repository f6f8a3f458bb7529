/* tests/sim/linked.h -- two to four clusters in one seeded run, linked, and what must come across.
 *
 * Each cluster is a world. What a link dials becomes a cable (cables.c): a wire of the dialling
 * world and one of the other, with bytes copied between them in drawn slices, until it is cut,
 * hung up, or silently dead. Clients (linked_clients.c) are plain ones that keep a connection and
 * no session; the judge (linked_judge.c) has its own small model:
 *
 *   quiet    nothing moves, all links stand, nothing waits in them: what was subscribed before is
 *            known everywhere, what was published before is with everybody it was for
 *   told     in a cluster with `suback = linked`, a SUBACK that came in time: a cluster whose link
 *            of our dialect was certainly up since the SUBSCRIBE knows of the subscription
 *   must     a subscription known before the message was published, or told to the cluster where it
 *            was, and kept until the next quiet
 *   acked    behind a link with `ack = remote`: the other cluster has it, whatever becomes of this;
 *            not where the publisher was released, because the link got another dialect
 *   doubt    a message may be lost on the way to a cluster: QoS 0 and a connection of the link
 *            ended, or messages went over to another one; the routes were away for too long while
 *            any connection stood; or one of the two clusters began a new life. Not because they
 *            could not reach each other, however long. Which routes there are counts when the
 *            broker takes the message, not when it was written: a publisher may wait for room in a
 *            link longer than routes live
 *   synced   in some runs all clusters retain the same at each quiet; what brings that about may
 *            come to subscribers late, as a message, but not twice
 *   terms    which messages come by a link, as its `topics`, the `export` of the other side, and
 *            whether both are enabled say; while that is changed, what all of it lets through must
 *            come, and what any of it does may (linked_links.c)
 *   off      a link that is disabled or gone gives and takes nothing: what is published after it
 *            has ended does not come while it is so, and never if it was the publisher's
 *   global   in some runs all links are native, of everything, with shared_groups = global: a group
 *            is one over all clusters, and its members where a message was published come first
 *   transit  in some runs messages pass: then every cluster can be reached from which links with
 *            transit on both sides lead there, each taking the topic; what is doubtful of one link
 *            is doubtful of all, and who gets a message gets it once, from whichever side, unless a
 *            cluster in between began a new life
 *   again    a QoS 1 or 2 message may come once more for each end of a connection on which it was
 *            sent and not acknowledged, and each time when a link is removed or changes its dialect
 */
#ifndef TESTS_SIM_LINKED_H
#define TESTS_SIM_LINKED_H

#include "core/mqtt/packet.h"
#include "link/hub.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

#define CLUSTERS_MAX 4
/* Of one link since the last quiet; then it is not changed any more. */
#define TERMS_MAX 16
#define PORT_FIRST 1000
/* dead_after of a link, at most, and how much later its timer may be. */
#define DEAD_AFTER_MS 3000u
#define DEAD_LATE_MS 100u

struct linked;
struct l_client;

/* One end of a connection: what the line of a wire points to. */
struct cable_end {
    struct cable *cable; /* NULL: a client's */
    struct l_client *client;
    uint32_t life; /* of the client's */
    uint32_t cluster;
    struct wire *wire;      /* NULL: closed */
    uint64_t through, lost; /* bytes that it sent: acknowledged, and not */
};

/* A connection of a link: end 0 dialled. */
struct cable {
    struct cable_end end[2];
    struct stream *stream; /* of end 0, to know whose it is */
    bool is_answered;
    bool is_mute[2]; /* what that end says does not come through, nor that it has closed */
    bool is_older;   /* than the links of the cluster that was dialled */
    bool is_doubted; /* it was silent, and what went into it then has been doubted */
    uint64_t answer_ms, silent_ms;
};

/* What decides which messages of one cluster come to another. */
struct terms {
    bool is_on; /* both have an enabled link to the other */
    struct bytes exports[4], topics[4];
    uint32_t export_count, topic_count;
};

struct cluster {
    struct linked *all;
    uint32_t number;
    struct world *world; /* NULL: down */
    struct cfg cfg;      /* what it started with */
    /* by cluster: as the configuration now has them */
    struct cfg_link links[CLUSTERS_MAX], *link[CLUSTERS_MAX]; /* NULL: none */
    uint32_t link_number[CLUSTERS_MAX];
    struct cfg_server servers[CLUSTERS_MAX][2];
    struct bytes topics[CLUSTERS_MAX][4], exports[CLUSTERS_MAX][4];
    /* by cluster: what comes from there, at the last quiet and after each reload since */
    struct terms terms[CLUSTERS_MAX][TERMS_MAX];
    uint32_t term_count[CLUSTERS_MAX];
    uint32_t repeats[CLUSTERS_MAX];    /* how often since then all that is kept may come again */
    bool is_loose[CLUSTERS_MAX];       /* at the last quiet the link was not on: who knows */
    uint64_t off_since[CLUSTERS_MAX];  /* our link certainly takes and gives nothing; or NEVER */
    uint64_t healthy_ms[CLUSTERS_MAX]; /* that one has certainly heard of our routes */
    bool is_shaky[CLUSTERS_MAX];       /* for too long since the last quiet it has not */
    bool is_met[CLUSTERS_MAX];         /* that one has a connection with it, as far as it knows */
    bool is_parted[CLUSTERS_MAX];      /* cannot reach that one, nor that one it */
    bool is_releasing[CLUSTERS_MAX];   /* whoever waits for that one is soon acknowledged */
    struct channel carries[CLUSTERS_MAX]; /* where native messages went at the last look */
    uint64_t telling[CLUSTERS_MAX];       /* since when that one is told routes; NEVER: it is not */
    uint64_t sent, received, dropped;     /* counters at the last quiet */
    uint64_t expected_sent, expected_received;
};

enum out_step { OUT_PUBLISHED, OUT_RELEASING };

struct l_out {
    uint16_t packet_id;
    uint8_t qos;
    enum out_step step;
    uint32_t message;
};

/* A PUBLISH that its broker has not taken. */
struct l_sent {
    uint64_t end; /* bytes of the connection with it */
    uint32_t message;
};

struct l_ask {
    uint16_t packet_id;
    bool is_end; /* UNSUBSCRIBE */
    uint32_t sub;
};

struct l_order {
    uint32_t publisher; /* a life */
    char topic[NAME_BYTES];
    uint8_t published_qos, qos;
    uint32_t last;
};

struct l_client {
    struct linked *all;
    uint32_t number, cluster;
    char id[16];
    struct cable_end *end; /* of the present connection; NULL: none */
    struct cable_end **ends;
    uint32_t end_count, end_capacity;
    uint32_t life; /* unique in the run; one connection is one life */
    bool is_up;
    uint16_t last_id, receive_max;
    uint8_t *rx, *tx; /* come and not whole; answers not yet written */
    uint32_t rx_count, rx_capacity, tx_count, tx_capacity;
    struct l_out *out;
    uint32_t out_count, out_capacity;
    struct l_sent *sent; /* in order */
    uint32_t sent_count, sent_capacity;
    struct l_ask *asks;
    uint32_t ask_count, ask_capacity;
    struct l_order *orders;
    uint32_t order_count, order_capacity;
    uint32_t will; /* its message, or NONE */
};

struct l_message {
    uint32_t cluster, client, life;
    char topic[NAME_BYTES];
    uint32_t payload_count, expiry_s;
    uint8_t qos;
    bool retain, is_will, is_acked;
    uint64_t published; /* NEVER: a will that waits */
    uint64_t published_ms;
    uint64_t settled; /* the first quiet after it */
    bool is_doubtful[CLUSTERS_MAX];
    bool is_late[CLUSTERS_MAX];     /* it may come at any time, when a link is enabled */
    bool is_barred[CLUSTERS_MAX];   /* it was published while the link gave nothing */
    bool is_released[CLUSTERS_MAX]; /* its acknowledgement says nothing of that one */
    bool is_shaken;                 /* a global group may have lost it, wherever it was */
    uint32_t again[CLUSTERS_MAX];
    uint32_t last_copy;
};

struct l_sub {
    uint32_t client, life;
    struct m_filter f;
    uint32_t group; /* place in groups, or NONE */
    uint64_t asked_ms;
    uint64_t asked, acked, known, end_asked, end_acked;
    uint64_t told[CLUSTERS_MAX]; /* that one has certainly known since */
};

/* A shared subscription of one cluster; in a run that is_global, of all. */
struct l_group {
    uint32_t cluster;
    char group[NAME_BYTES], filter[NAME_BYTES];
    uint64_t changed; /* a member came or went */
};

/* Copies of a message that a life got by its plain subscriptions, or a group. */
struct l_copy {
    bool is_group;
    uint32_t of;
    uint32_t count;
    uint32_t previous; /* record of the same message */
};

/* Which clusters are linked. */
enum shape { SHAPE_MESH, SHAPE_CHAIN, SHAPE_HUB, SHAPE_RING, SHAPE_COUNT };

struct linked {
    struct sim *sim;
    enum shape shape;
    bool is_transit; /* links have transit, most of them */
    bool is_uniform; /* all of them have, or none */
    uint32_t count;
    struct cluster *cluster[CLUSTERS_MAX];
    struct cable **cables;
    uint32_t cable_count, cable_capacity;
    struct l_client *clients[32];
    uint32_t client_count, lives;
    struct l_message *messages;
    uint32_t message_count, message_capacity, first_unsettled;
    struct l_sub *subs;
    uint32_t sub_count, sub_capacity;
    struct l_group *groups;
    uint32_t group_count, group_capacity;
    struct l_copy *copies;
    uint32_t copy_count, copy_capacity;
    bool is_calm;    /* nothing bad happens to connections */
    bool is_patient; /* a quiet waits for covers that linger: nobody gets what nobody wants */
    bool is_exact;   /* since the last quiet nobody subscribed, and no connection of a link ended */
    bool is_synced;  /* every cluster is linked with every other, natively, with retained = sync */
    bool is_global;  /* and every shared group is one over all clusters */
    bool is_expiring; /* messages with an expiry were published */
    bool is_dropping; /* a reload had to lose messages */
    bool is_changed;  /* since the last quiet a link was changed */
};

/* Runs a seed with linked clusters, and reports it if s->failed at the end. */
void linked_run(struct sim *s);

/* ---- linked.c ---- */

/* The link of one cluster to another, while it is up and there is one. */
struct peer *peer_of(struct linked *l, uint32_t from, uint32_t to);
/* The lane of that link on a link worker (0, 1, ...), or NULL. */
struct lane *lane_of(struct linked *l, uint32_t from, uint32_t to, uint32_t link_worker);
/* The name of a cluster. */
const char *cluster_name(uint32_t number);

/* ---- linked_links.c ---- */

/* Draws which clusters have links, and how. */
void links_draw(struct linked *l);
/* A cluster is about to begin, with the links it has. */
void links_start(struct cluster *c);
/* One cluster reads a configuration with other links. */
void links_reload(struct linked *l);
/* Who waits for room in a link to a cluster that has none to us waits no more. */
void links_widen(struct linked *l);
/* All links are enabled that are there. */
void links_enable_all(struct linked *l);
/* Looks which links certainly give and take nothing. */
void links_look(struct linked *l);
/* All is quiet: what is in force now is all that counts. */
void links_quiet(struct linked *l);
/* Whether a cluster has an enabled link to another. */
bool link_is_on(const struct linked *l, uint32_t at, uint32_t to);
/* Whether messages to a topic get from one cluster to another, by all that was in force since the
 * last quiet; or may have, by anything that was. */
bool links_must_let(const struct linked *l, uint32_t from, uint32_t to, const char *topic);
bool links_may_let(const struct linked *l, uint32_t from, uint32_t to, const char *topic);

/* ---- cables.c: the network between the clusters ---- */

/* What the worlds tell; `ctx` is the struct cluster. */
struct listener cables_listener(struct cluster *c);
void cable_dialled(void *ctx, struct world *w, struct wire *k, uint16_t port);
void cable_written(void *ctx, const struct wire *k, struct pulse_written *to);
/* Lets the network work for a moment. Whether anything moved. */
bool cables_run(struct linked *l);
/* Something bad happens to a connection of a link. */
void cables_cut(struct linked *l);
/* From now on two clusters cannot reach each other; or they can again. */
void cables_part(struct linked *l, uint32_t a, uint32_t b, bool is_parted);
/* A cluster gets other links: connections that were on their way to one may find none. */
void cables_outlive_links(struct linked *l, uint32_t cluster);
/* A cluster is about to lose all its connections at once. */
void cables_lose(struct linked *l, uint32_t cluster);
/* What of QoS 0 went into silence is doubtful. */
void cables_doubt_silent(struct linked *l);
/* Looks which routes are certainly alive. */
void cables_look(struct linked *l);
/* Whether they were seen alive so long ago that `at` may have let go those of another cluster. */
bool cables_have_expired(const struct linked *l, uint32_t of, uint32_t at);
/* Whether every link stands and nothing waits in any. `why` says what does not. */
bool cables_quiet(struct linked *l, const char **why);
/* Whoever dialled has noticed that a connection is silent, if that was so from `begin_ms` on and
 * time has passed in small steps since; and a link worker that was dialled, a little later. */
void cables_check_silent(struct linked *l, uint64_t begin_ms);
void cables_fini(struct linked *l);

/* ---- linked_clients.c ---- */

/* A client of a cluster, not connected. */
struct l_client *client_new(struct linked *l, uint32_t cluster);
/* Whether the broker knows too that its last connection is over; then it may connect again. */
bool client_is_away(const struct l_client *c);
void client_connect(struct l_client *c);
/* Ends its life: as a drawn kind of end of the connection, or because its cluster is gone. */
void client_leave(struct l_client *c);
void client_lost(struct l_client *c);
/* The broker knows it too: until then it may have given the life something for a group, and its
 * will was not published. */
void client_closed(struct l_client *c, uint32_t life);
/* Its broker has taken the first `upto` bytes that it wrote. */
void client_taken(struct l_client *c, uint64_t upto);
/* Each writes one packet, its content drawn from the seed. */
void client_publish(struct l_client *c);
void client_subscribe(struct l_client *c);
void client_unsubscribe(struct l_client *c);
/* Withdraws everything it has. */
void client_unsubscribe_all(struct l_client *c);
/* Writes the answers that wait. Whether there were any. */
bool client_flush(struct l_client *c);
void client_received(struct l_client *c, struct bytes b);
void client_free(struct l_client *c);
#define MARK_BYTES 11u /* of the smallest payload */
/* The payload of a message: its number and then as many letters as it takes. */
void mark_payload(uint8_t *to, uint32_t count, uint32_t message);
/* The number in a payload, or in a record that contains one; NONE: there is none. */
uint32_t find_mark(struct bytes b);

/* ---- linked_doubts.c ---- */

/* Whether a cluster may not know the routes of another, by whichever way. */
bool judge_is_shaky(const struct linked *l, uint32_t of, uint32_t at);
/* Whether a cluster must have had a message before its publisher was acknowledged. */
bool judge_waits_for(const struct linked *l, const struct l_message *m, uint32_t to);
/* The broker of its publisher has taken a message: now, and not before, it looks who wants it. */
void judge_taken(struct linked *l, uint32_t message);
/* A connection for messages of a link has ended for its dialler, who has these unacknowledged. */
void judge_link_ended(struct linked *l, uint32_t from, uint32_t to, const struct window *w);
/* What is kept between two clusters may come once more: one has forgotten what it has had, or the
 * other sends it in another dialect. */
void judge_repeat(struct linked *l, uint32_t a, uint32_t b);
/* The same, one way only: what one has in lanes goes in its own stream from now on. */
void judge_returned(struct linked *l, uint32_t from, uint32_t to);
/* A link gets another dialect: once that is taken over, whoever waits for it is acknowledged. */
void judge_release(struct linked *l, uint32_t from, uint32_t to);
/* A cluster begins a new life. */
void judge_restart(struct linked *l, uint32_t cluster);

/* ---- linked_judge.c ---- */

/* A message is on its way to its broker: doubts, and what the links must send. */
void judge_published(struct linked *l, uint32_t message);
/* The publisher was told. */
void judge_acked(struct linked *l, uint32_t message, uint8_t reason);
/* A copy has come. */
void judge_delivery(struct l_client *c, const struct packet_publish *p);
/* A SUBACK has come. */
void judge_subscribed(struct linked *l, struct l_sub *sub);
/* All is quiet: was everything there, and no more? */
void judge_quiet(struct linked *l);
/* In a run that is_synced: whether all clusters retain the same. */
void judge_retained(struct linked *l);
/* The place of a shared subscription. */
uint32_t judge_group(struct linked *l, uint32_t cluster, const struct m_filter *f);

#endif
