/* core/broker/state.h -- what the files of core/broker share: the shard's fields and the client's.
 *
 * Not for anybody outside core/broker.
 */
#ifndef CORE_BROKER_STATE_H
#define CORE_BROKER_STATE_H

#include "core/base/arena.h"
#include "core/base/epoch.h"
#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/base/slab.h"
#include "core/base/stats.h"
#include "core/base/table.h"
#include "core/base/timer.h"
#include "core/broker/shard.h"
#include "core/index/index.h"
#include "core/index/retain.h"
#include "core/mail/mailbox.h"
#include "core/mail/msg.h"
#include "core/mqtt/packet.h"
#include "core/policy/mount.h"
#include "core/session/filters.h"
#include "core/session/session.h"
#include "core/session/share.h"
#include "core/store/record.h"

/* What a destination in the route index means. */
enum dest_kind {
    DEST_FILTER, /* a filter of the worker */
    DEST_GROUP,  /* a group at home there */
    DEST_LINK    /* a link, by its number */
};

/* What an owner may have retired and not yet freed before it refuses new filters (0x97). */
#define RETIRED_BYTES_MAX (64u << 20)

/* Everything the shards share. Written before the workers start; the index and the mail look after
 * themselves. */
struct cluster_state {
    struct cluster_config config;
    struct hash_key key;
    struct mail *mail;
    struct epoch *epoch;
    struct stripes *stripes;
    struct index *index[WORKERS_MAX]; /* by owner */
    struct index *leading;            /* filters that begin with a wildcard; worker 0 writes */
    uint32_t worker_count;            /* link workers included */
    struct shard *shards[WORKERS_MAX];
    uint64_t started_ms;
    uint64_t retain_origin;                             /* of the cluster's name, for stamps */
    _Alignas(CACHE_LINE) _Atomic uint64_t retain_clock; /* the latest stamp, without its origin */
    /* link workers that want to hear of every retained publish, a bit each; none goes again */
    _Alignas(CACHE_LINE) _Atomic uint64_t retain_feeds;
    _Atomic uint32_t global_groups; /* that remote clusters have members of; each publish asks */
    /* what clusters of links retain and changed here: each, and together */
    _Alignas(CACHE_LINE) _Atomic uint64_t retain_changes[LINKS_MAX];
    _Atomic uint64_t retain_changes_sum;
    _Atomic bool is_shutting_down;
};

/* An acknowledgement that waits for its ticket. */
struct pending_ack {
    store_ticket ticket;
    struct handle client;
    uint16_t packet_id;
    uint8_t type; /* enum packet_type */
    uint8_t reason;
    bool is_quota; /* gives a place of the receive window back */
};

/* What waits for links, of one session (core/broker/receipts.c). */
struct owing;

/* Topics lately published here and where they go (core/broker/plan.c). */
struct topic_cache;

/* A publish nobody can be parked for: wills, what a group takes back. Tried again each turn. */
struct due_publish {
    struct due_publish *next;
    struct message *message;
    struct handle group; /* taken back from a member; generation 0: an ordinary publish */
    uint16_t group_home;
    uint64_t from_hash;
    uint16_t from_count;
    uint8_t from_id[];
};

/* First in, first out. */
struct due_list {
    struct due_publish *first, **last;
    uint32_t count;
};

struct interest_due { /* a MSG_INTEREST or MSG_BARRIER that found no room */
    struct interest_due *next;
    struct barrier *barrier; /* this is part of it; NULL: a MSG_INTEREST */
    uint16_t to;
    struct msg_interest msg;
};

/* The question of a SUBSCRIBE to one link worker: have all remote clusters that are connected this
 * filter in force? One block that goes round, so that no answer can fail for want of memory: from
 * the session's worker to the owner of the filter's partition, there behind all that it has told of
 * the filter, to the link worker, and back. */
struct barrier {
    struct barrier *next; /* in `barriers` of the suback, `barrier_asks` or `barrier_answers` */
    struct interest_due due;
    struct suback *suback; /* only the session's worker looks into it */
    uint16_t home, owner;
    bool is_late; /* the answer: it was not waited for any longer */
    uint32_t group_count, filter_count;
    uint8_t text[]; /* group, filter */
};

/* First in, first out. */
struct barrier_list {
    struct barrier *first, **last;
};

struct suback_entry {
    struct handle filter; /* generation 0: refused or shared */
    uint32_t subscription_id;
    uint8_t options;
    uint8_t reason;
    bool wants_retained;
};

/* A SUBSCRIBE that waits until all its filters are visible, and then, with `suback = linked`, until
 * remote clusters have them. */
struct suback {
    struct handle client, session;
    uint32_t waiting, count;
    uint16_t packet_id;
    bool is_late;              /* not all remote clusters are known to have the filters */
    struct barrier *barriers;  /* to be asked when all are visible here; then they are `waiting` */
    struct filter_wait *waits; /* count of them, one block */
    struct suback_entry entries[];
};

/* A link worker's: what links want of the owners of partitions. See link_routes.c. */
struct route_batch;
struct link_routes {
    uint64_t generation; /* of the operations that are asked for now: 1, 2, ... */
    uint32_t open[2];    /* not in force yet, by generation: of this one and the one before */
    bool must_close;     /* the next one begins when the one before is in force */
    struct route_batch *filling[WORKERS_MAX]; /* by owner */
    uint64_t filling_set;                     /* a bit for each that is not NULL */
    struct route_batch *first, **last;        /* full ones, to be given to their owners */
    uint32_t batch_count;                     /* of those, and of those that are on their way */
    struct route_batch *spare;
    uint32_t spare_count;
};

struct shard {
    /* fixed */
    struct cluster_state *cluster;
    const struct limits *limits;
    struct shard_hooks hooks;
    uint32_t number;
    bool is_link; /* a link worker */
    /* the turn */
    uint64_t now_ms, wall_ms;
    uint64_t publish_mark; /* number of the publish being delivered */
    uint64_t random;
    struct stream *dirty_first, **dirty_last;
    struct arena arena;
    struct timer_wheel timers;
    struct outq_pool pool;
    struct blob_home blobs;
    uint64_t waiting_bytes; /* in messages held */
    uint64_t held_at_look;  /* with half-received packets and filters */
    bool is_memory_full;    /* asked by memory_is_full */
    bool is_input_full;     /* and even the share of half-received packets is used up */
    uint32_t turn;
    /* who lives here */
    struct slab clients, sessions, shares, asks;
    bool is_judging; /* shard_judge_all */
    uint32_t judge_slot;
    struct table session_table; /* by client id */
    struct table share_table;   /* by session, group and filter */
    struct filters filters;
    /* partition */
    struct slab groups;
    struct table group_table; /* by group and filter */
    struct group *pump_first; /* groups with a backlog */
    struct retain *retain;
    struct removed *removed;    /* retained topics lately removed */
    struct query *queries;      /* questions for retained messages under way */
    struct table query_table;   /* and those whose asker has no room now */
    struct tombs *tombs;        /* retained topics removed, for links */
    struct table ask_table;     /* our own questions, by session and filter */
    struct link_ask *link_asks; /* those of links, by number; a link worker's */
    uint64_t link_asks_busy;    /* a bit for each that is not over */
    struct slab link_groups;    /* a link worker's: shared groups of remote clusters */
    struct table link_group_table;
    /* work with a cursor */
    struct filter *filter_todo;
    struct share *share_todo;
    struct link_group *link_group_todo;
    struct ask *ask_todo;
    struct due_list due;
    struct interest_due *interest_first, **interest_last;
    struct barrier_list barrier_asks, barrier_answers;
    struct link_routes link_routes;
    uint32_t link_ops_left; /* operations of links that may be done in this turn */
    /* acknowledgements, in order */
    struct store store;
    struct store_nothing store_nothing;
    struct pending_ack *acks;
    uint32_t ack_count, ack_capacity;
    struct topic_cache *topics;
    uint64_t receipt_workers; /* link workers with a link of `ack = remote`, a bit each */
    struct receipt *receipt_first, **receipt_last; /* a link worker's: on their way back */
    struct owing **owing;                          /* by slot of the session; NULL: nothing */
    uint32_t owing_capacity;
    /* authorization (access.c) */
    struct acl *acl;        /* one reference, or NULL */
    struct access **access; /* by slot of the session; NULL: none there, or there is no ACL */
    uint32_t access_capacity;
    uint32_t claim_count;   /* sessions with rules of their own */
    uint32_t access_cursor; /* slot of the next session to be judged anew; UINT32_MAX: none */
    uint16_t acl_version;   /* other than this: what is known about a session's rights is old */
    /* enhanced authentication (login.c) */
    struct scram_users *scram; /* one reference, or NULL */
    /* who may speak for links (speaker.c): by number; own copy */
    struct link_rules *links;
    uint32_t link_count;
    struct timer sys_timer;
    struct sys *sys; /* worker 0 */
    _Alignas(CACHE_LINE) _Atomic uint32_t fence;
    /* bytes of large bodies and hand-offs that stand in the rings towards this worker; every sender
     * adds */
    _Alignas(CACHE_LINE) _Atomic uint64_t mail_bytes;
    /* a link worker's: see shard_links_full and shard_link_hold; read by all */
    _Alignas(CACHE_LINE) _Atomic uint64_t links_held; /* a bit for each link */
    _Atomic bool links_full;
    _Atomic uint64_t links_up; /* see shard_link_up */
    _Alignas(CACHE_LINE) struct stats stats;
};

/* Topic aliases we use towards a client. */
#define ALIASES_OUT_MAX 16u
struct aliases_out {
    uint32_t count, max;
    struct {
        uint64_t hash;
        struct bytes topic; /* owned */
    } v[ALIASES_OUT_MAX];
};

enum client_state {
    CLIENT_WAITING,        /* for CONNECT */
    CLIENT_AUTHENTICATING, /* CONNECT waits for the end of an exchange of AUTH packets */
    CLIENT_CONNECTED,
    CLIENT_CLOSING,
};

/* The protocol of one connection. The session is another thing: it may outlive it. */
struct client {
    struct stream stream; /* first */
    struct session *session;
    struct timer keepalive_timer;
    struct bytes *aliases_in; /* by alias - 1; owned texts */
    struct aliases_out *aliases_out;
    char *peer;
    /* Until the CONNECT is judged; NULL: nobody was asked. With a login, or an end, it stays. */
    struct admission *admission;
    /* Of the SUBSCRIBE that is parked: an enum access_answer for each filter; or NULL. */
    uint8_t *answers;
    uint64_t last_input_ms;
    uint64_t credential;     /* of its admission; 0: none */
    struct mount *mount;     /* NULL: none. Beside what else a delivery looks at */
    uint32_t packet_max;     /* what it accepts; UINT32_MAX: anything */
    uint32_t connect_expiry; /* session expiry as CONNECT gave it */
    uint32_t quota_used;     /* QoS 1 and 2 from it that are not answered */
    uint32_t answer_bytes;   /* answers written since the output was last low */
    uint32_t suback_count;   /* SUBSCRIBEs that wait for their filters */
    uint16_t listener;
    uint16_t keep_alive;  /* seconds; 0: none */
    uint16_t silence_s;   /* as link_rules say, where it lives on a link worker; else 0 */
    uint16_t receive_max; /* QoS 1 and 2 in flight to it */
    uint8_t protocol;     /* enum protocol */
    uint8_t state;
    uint8_t max_qos; /* that it may publish with: of its listener and of the limits, the lower */
    bool is_bridge : 1, is_parked : 1;
    bool may_link : 1;         /* `$LINK/` is open to it */
    bool is_link_only : 1;     /* and nothing else is */
    bool speaks_link : 1;      /* it has been used: see client_speaks_link */
    bool is_link_refused : 1;  /* it was closed to it, and that has been said */
    bool is_peer : 1;          /* its user name is proven, and is a link's peer_identity */
    bool has_granted_will : 1; /* the net has allowed it: the ACL is not asked */
};

/* What a delivery takes from the subscriptions that matched. */
struct wanted {
    const uint32_t *ids;
    uint32_t id_count;
    uint8_t options;
    bool is_retained; /* an answer from the retained store: the flag stays 1 */
    struct handle group;
    uint16_t group_home;
};

/* The client whose stream this is; the stream is its first member. */
static inline struct client *client_of(struct stream *s)
{
    return (struct client *)(void *)s;
}

/* The hash everybody uses for topics, filters and client ids. */
static inline uint64_t hash_of(const struct shard *s, struct bytes b)
{
    return hash_bytes(&s->cluster->key, b);
}

/* Whether a worker number is a link worker's. */
static inline bool is_link_worker(const struct cluster_state *c, uint32_t worker)
{
    return worker >= c->config.workers;
}

/* Where a link lives that has no other reason; see shard_link_home. */
static inline uint32_t link_home(const struct cluster_state *c, struct bytes cluster)
{
    return (uint32_t)((hash_bytes(&c->key, cluster) >> 32) % c->config.link_workers);
}

/* How the link layer calls a client. */
static inline struct client_name client_name(struct client *c)
{
    struct shard *s = c->stream.shard;
    struct handle h = slab_handle(&s->clients, c);

    return (struct client_name){(uint16_t)s->number, h.slot, h.generation};
}

/* ---- the bound of all memory (shard.c) ---- */
/* Whether what waits in all workers has reached memory_limit; looks again as this worker takes. */
bool memory_is_full(struct shard *s);
/* Large bodies that stand in the ring towards a worker: whether one more may, and counting. */
bool mail_takes(const struct shard *s, uint32_t to, uint64_t bytes);
void mail_count(struct shard *s, uint32_t to, int64_t bytes);
/* The body of a record has been dealt with: a shared one is let go. */
void body_done(struct shard *s, const struct msg_body *b);

/* ---- index partitions (plan.c) ---- */
uint32_t owner_of_topic(const struct cluster_state *c, uint64_t topic_hash);
uint32_t owner_of_filter(const struct cluster_state *c, struct bytes filter, uint64_t hash);
struct index *partition_of_filter(const struct cluster_state *c, struct bytes filter,
                                  uint64_t hash);

/* Whether so much that was taken out of our partition is not freed yet that nothing is added. */
static inline bool partition_is_full(const struct shard *s)
{
    return epoch_retired_bytes(s->cluster->epoch, s->number) > RETIRED_BYTES_MAX;
}

/* ---- publishing (route.c, plan.c) ---- */

/* Routes a publish: to all its destinations or, with ERR_FULL, to none. *matched (may be NULL):
 * somebody wants it. Makes p->blob when the body must travel far. Frees what it made. */
MUST_USE enum err route_publish(struct shard *s, struct publish *p, bool *matched);
bool shard_on_deliver(struct shard *s, struct msg_deliver *m);
/* What another link worker has left for this one (relay.c). */
void shard_on_relay(struct shard *s, uint32_t from, const struct msg_relay *m);
void shard_on_link_note(struct shard *s, uint32_t from, const struct msg_link_note *m);
/* Publishes when there is room; takes over the message's reference. */
void route_publish_later(struct shard *s, struct message *m, struct bytes from_id);
/* Gives a group's message back to its home when there is room. */
void group_take_back(struct shard *s, struct delivery *from);
bool due_run(struct shard *s); /* true: something waits */
void due_fini(struct shard *s);

/* Bytes behind a record for this body, and filling both. `far`: towards a link worker. */
uint32_t body_bytes(const struct publish *p, bool far);
/* Bytes behind a record once body_share has been called. */
uint32_t body_bytes_shared(const struct publish *p, bool far);
void body_put(struct shard *s, uint32_t receiver, struct msg_body *b, uint8_t *to,
              const struct publish *p, bool far);
void body_get(struct publish *p, const struct msg_body *b, const uint8_t *at);
/* Makes p->blob if the body is too large to travel by value.  false: no memory. */
bool body_share(struct shard *s, struct publish *p);

struct plan; /* where a topic goes */
/* The destinations of p->topic, from the cache or the index; valid until the next call. NULL: no
 * memory. */
const struct plan *plan_of(struct shard *s, const struct publish *p);
struct topic_cache *topic_cache_create(void);
void topic_cache_destroy(struct topic_cache *t);

/* ---- delivering (deliver.c) ---- */
void deliver(struct shard *s, struct session *to, struct publish *p, const struct wanted *w);
/* Sends waiting messages while the window and the connection have room. */
void deliver_waiting(struct shard *s, struct session *to);
/* Sends again what was in flight when the last connection ended [MQTT-4.4.0-1]. */
void deliver_resume(struct shard *s, struct session *to);
/* Whether the session could take `n` more retained messages without loss. */
bool deliver_has_room(const struct shard *s, const struct session *to);

/* ---- subscribing (subscribe.c) ---- */
/* ERR_FULL: not now; nothing was changed. */
MUST_USE enum err client_on_subscribe(struct client *c, const struct packet_subscribe *p);
void client_on_unsubscribe(struct client *c, const struct packet_subscribe *p);
void subscriptions_drop_all(struct shard *s, struct session *x);
bool shard_on_route(struct shard *s, uint32_t from, const struct msg_route *m);
void shard_on_route_done(struct shard *s, const struct msg_route_done *m);
/* Tells the filter's owner what has changed, now or when there is room. */
void filter_sync(struct shard *s, struct filter *f);
bool subscribe_run(struct shard *s); /* requests that found no room; true: some are left */
void suback_arrived(struct shard *s, struct suback *a, uint32_t at, bool is_refused);
/* Sends the SUBACK and frees it. */
void suback_send(struct shard *s, struct suback *a);
/* Frees one that nobody waits for any more. */
void suback_free(struct suback *a);
/* A filter of this worker, without subscribers.  NULL: no memory or the bound. */
struct filter *filter_create(struct shard *s, struct bytes text, uint64_t hash);

/* ---- routes of links (link_routes.c; see also shard.h) ---- */
void link_routes_init(struct shard *s);
void link_routes_fini(struct shard *s);
/* Gives owners what has been asked for; true: some is left. */
bool link_routes_run(struct shard *s);
/* Does operations of a link worker, and the reverse: takes the answer. */
bool shard_on_link_routes(struct shard *s, uint32_t from, const struct msg_pointer *m);
void shard_on_link_routes_done(struct shard *s, const struct msg_pointer *m);
/* Frees what such a record holds: no worker runs any more. */
void link_routes_discard(const struct msg_pointer *m);
/* Something else that a link has asked for is not in force yet, and now it is, or never will be;
 * the first gives what the second is to be given. */
uint8_t link_wait_begin(struct shard *s);
void link_wait_end(struct shard *s, uint8_t side);

/* ---- what link workers hear (interest.c) ---- */
/* Tells link workers that a filter got its first local subscriber or lost its last. */
void interest_tell(struct shard *s, struct bytes group, struct bytes filter, bool is_added);
/* Makes the questions for a filter that is being subscribed to, where `suback = linked`. */
void barriers_make(struct shard *s, struct suback *a, struct bytes group, struct bytes filter);
/* Asks them: suback_send follows. */
void barriers_ask(struct shard *s, struct suback *a);
void shard_on_barrier_ask(struct shard *s, const struct msg_pointer *m);
void shard_on_barrier(struct shard *s, const struct msg_pointer *m);
void shard_on_barrier_done(struct shard *s, const struct msg_pointer *m);
/* Posts what waits for room; true: some is left. */
bool interest_run(struct shard *s);
/* Forgets what waits, and one question: no worker runs any more. */
void interest_fini(struct shard *s);
void barrier_forget(struct barrier *b);

/* ---- acknowledgements that wait for links (receipts.c) ---- */
/* For a publish of a session that goes to so many link workers with receipts.  NULL: no memory. */
struct owed *owed_make(struct shard *s, const struct session *x, uint32_t receipts);
/* The receipt of a publish for that worker; NULL: it has no such link. */
struct receipt *receipt_next(const struct shard *s, const struct publish *p, uint32_t worker);
/* Acknowledges a publish: when its receipts are back (`o` NULL: there are none) and all before it
 * on this connection have been acknowledged. */
void owed_put(struct client *c, struct owed *o, const struct pending_ack *a);
/* Whether so many wait that the client is not to be read. */
bool owed_is_full(const struct client *c);
/* Whether a publish is answered by what waits already: the client says that it has sent it before
 * (`is_known`). What an earlier connection left under its packet id is gone otherwise. */
bool owed_again(struct client *c, const struct packet_publish *p, bool is_known);
/* The session's connection has ended; the session ends. */
void owed_leave(struct shard *s, struct session *x);
void owed_drop(struct shard *s, const struct session *x);
void shard_on_receipt(struct shard *s, const struct msg_pointer *m);
/* Posts what goes back; true: some waits for room. */
bool receipts_run(struct shard *s);
/* Forgets what goes back, and one receipt: no worker runs any more. */
void receipts_fini(struct shard *s);
void receipt_forget(struct receipt *r);

/* ---- shared groups (group.c, share.c) ---- */
enum err share_subscribe(struct shard *s, struct session *x, struct bytes group,
                         struct bytes filter, uint8_t options, uint32_t id, struct filter_wait *w);
bool share_unsubscribe(struct shard *s, struct session *x, struct bytes group, struct bytes filter);
void share_leave(struct shard *s, struct share *h);
void share_sync(struct shard *s, struct share *h);
/* Whether the member is connected where it can take what the group gets: below another mount point
 * it would swallow what others can take. */
bool share_is_reachable(const struct share *h);
/* The session's connection came or went: its groups' homes are told, and unacknowledged QoS 1
 * messages go back on leaving [MQTT-4.8.2-5]. */
void shares_connected(struct shard *s, struct session *x, bool is_connected);
bool shares_run(struct shard *s);
bool shard_on_group_member(struct shard *s, uint32_t from, const struct msg_group_member *m);
void shard_on_group_done(struct shard *s, const struct msg_group_done *m);
bool shard_on_dispatch(struct shard *s, const struct msg_dispatch *m, const uint8_t *body);
/* One message for a group at home here. ERR_FULL: no room towards the member. */
enum err group_publish(struct shard *s, struct handle group, struct publish *p, uint64_t from_hash);
/* Keeps a message behind what the group already holds. */
void group_keep(struct shard *s, struct handle group, struct publish *p, uint64_t from_hash);
/* Whether groups at home here can take one more: no full backlog waits for room in a ring. */
bool groups_have_room(const struct shard *s, const struct handle *slots, uint32_t count);
bool groups_run(struct shard *s);
void groups_init(struct shard *s);
void groups_fini(struct shard *s);
/* The name of a membership, and of a group: group and filter, hashed as one. */
static inline uint64_t hash_of_share(const struct shard *s, struct bytes group, struct bytes filter)
{
    return hash_more(&s->cluster->key, hash_of(s, group), filter);
}

/* ---- shared groups of remote clusters (group_links.c at their home, link_groups.c at the link
 * worker) ---- */
bool shard_on_group_publish(struct shard *s, uint32_t from, const struct msg_group_publish *m);
bool shard_on_group_links(struct shard *s, uint32_t from, const struct msg_group_links *m);
void shard_on_group_links_done(struct shard *s, const struct msg_group_links_done *m);
void shard_on_group_leaves(struct shard *s, uint32_t from, const struct msg_group_leaves *m);
/* Tells homes what found no room; true: some is left. */
bool link_groups_run(struct shard *s);
void link_groups_init(struct shard *s);
void link_groups_fini(struct shard *s);

/* ---- retained messages (retained.c) ---- */
/* Stores or removes at the owner, unless something later is there. Whether that has changed what is
 * retained. */
bool retained_put(struct shard *s, struct publish *p);
bool shard_on_retain(struct shard *s, const struct msg_retain *m);
bool shard_on_retain_ask(struct shard *s, uint32_t from, const struct msg_retain_ask *m);
/* Goes on answering; true: something waits for room or for mail. */
bool retained_run(struct shard *s);
bool retained_init(struct shard *s); /* false: no memory */
void retained_fini(struct shard *s);

/* ---- questions for retained messages (asks.c) ---- */
void ask_retained(struct shard *s, struct session *x, struct bytes filter, uint8_t options,
                  uint32_t subscription_id);
/* A live retained publish went to this session: answers for its topic are old now. */
void asks_note(struct session *x, const struct publish *p);
void asks_drop(struct shard *s, struct session *x);
void shard_on_retained(struct shard *s, const struct msg_retained *m, const uint8_t *body);
void shard_on_retained_end(struct shard *s, uint32_t from, const struct msg_retained_end *m);
/* Takes the steps that are due; true: one waits for room in a ring. */
bool asks_run(struct shard *s);
void asks_init(struct shard *s);
void asks_fini(struct shard *s);

/* ---- questions of links for retained messages (link_asks.c) ---- */
bool link_asks_init(struct shard *s); /* false: no memory */
void link_asks_fini(struct shard *s);
void shard_on_link_retained(struct shard *s, const struct msg_retained *m, const uint8_t *body);
void shard_on_link_retained_end(struct shard *s, const struct msg_retained_end *m);
/* Takes the steps that are due; true: one waits for room in a ring. */
bool link_asks_run(struct shard *s);

/* ---- the way to the owner, and stamps (keep.c) ---- */
void stamps_init(struct cluster_state *c);
/* Stores a retained message at its owner before anything is matched, under a stamp of its own if it
 * has none of another cluster. ERR_FULL, ERR_MEMORY: nothing happened. */
MUST_USE enum err retain_first(struct shard *s, struct publish *p);
/* Link workers, a bit each, that are to hear of a publish whoever wants it. */
static inline uint64_t feeds_of(const struct shard *s, const struct publish *p)
{
    if (!p->retain || p->from_link || bytes_begin(p->topic, BYTES_LIT("$SYS/")))
        return 0;
    return load_relaxed(&s->cluster->retain_feeds); /* the stamp was drawn: see keep.c */
}

/* ---- retained topics removed, for links (tombs.c) ---- */
struct tombs *tombs_create(const struct hash_key *key); /* NULL: no memory */
void tombs_destroy(struct tombs *t);                    /* NULL is fine */
/* A topic was removed with this publish; remembered only where a link wants to hear of it. */
void tombs_put(struct shard *s, struct bytes topic, uint64_t stamp);
/* Something is stored under the topic. */
void tombs_remove(struct shard *s, struct bytes topic);
/* The message of a topic's removal, with its stamp; NULL: nothing is known of one. */
struct message *tombs_find(const struct shard *s, struct bytes topic);
/* For cursors: the tree, and the message of a value of it, which has no payload. */
struct retain *tombs_tree(struct tombs *t);
struct message *tombs_message(void *value);
/* Forgets what is too old; once per turn. */
void tombs_run(struct shard *s);

/* ---- retained topics lately removed (removed.c) ---- */
struct removed *removed_create(void); /* NULL: no memory */
void removed_destroy(struct removed *r);
/* A removal with this sequence has been carried out. */
void removed_note(struct removed *r, uint64_t topic_hash, uint64_t sequence);
/* Whether a removal later than `sequence` has been carried out. */
bool removed_later(const struct removed *r, uint64_t topic_hash, uint64_t sequence);
/* Lets go of removals that nothing older can follow any more; once per turn. */
void removed_run(struct shard *s);

/* ---- who may read and write what (access.c) ---- */

struct acl_claim;

/* With the ACL of the configuration. */
void access_init(struct shard *s);
/* After the sessions have gone. */
void access_fini(struct shard *s);
/* Goes on judging sessions anew after a change of the ACL; true: some are left. */
bool access_run(struct shard *s);
/* The session's client is another one now: nothing that is known about its rights counts any more.
 * It is judged anew when that is needed. */
void access_forget(struct shard *s, struct session *x);
/* Frees what is kept of it. */
void access_drop(struct shard *s, struct session *x);
/* SUB_COVERED if the session may read all that the filter matches, else 0. */
uint8_t access_covers(struct shard *s, struct session *x, struct bytes filter);
/* Whether a subscription is accepted. */
bool access_may_subscribe(struct shard *s, struct session *x, struct bytes filter);
/* Asks the net, where there is somebody to ask (hooks.may). ACCESS_FILE only where there is an ACL,
 * or nobody to ask. */
enum access_answer access_ask_net(const struct client *c, struct access_question *q);
/* What the session's own rules, and then the net, say of a filter that is subscribed to;
 * ACCESS_FILE also for what is not theirs. */
enum access_answer access_ask_filter(const struct client *c, struct bytes filter, uint8_t qos);
/* Whether messages of p->topic may go to the session. */
bool access_may_read(struct shard *s, struct session *x, const struct publish *p);
/* Makes the rules that a client's admission brings, for its names; NULL: it brings none. Another
 * reason than success: it must not be let in, and its admission says why. */
enum reason access_bind_claim(struct client *c, struct bytes id, const struct bytes *user,
                              struct acl_claim **claim);
/* From now on the session has these rules, or none (NULL); takes them over. false: no memory, and
 * nobody may be let in. */
bool access_set_claim(struct shard *s, struct session *x, struct acl_claim *claim, uint64_t end_ms);
/* What the rules say of a publish, of a session that has some; ACCESS_FILE: others decide. */
enum access_answer access_ask_claim(struct shard *s, struct session *x, const struct publish *p,
                                    uint8_t qos);
/* access_may_write, where there is an ACL. */
bool access_ask_write(struct shard *s, struct session *x, struct bytes topic, uint64_t hash);
/* The same for somebody who needs no session; `user` NULL: without a user name. */
bool access_by_name(const struct shard *s, const struct bytes *user, struct bytes client_id,
                    struct bytes topic);
/* Whether the publisher of a retained message may still write to its topic. */
bool access_source_stands(const struct shard *s, const struct message *m);

/* Whether a message may go to a session whose matching subscriptions have these options. */
static inline bool access_may_deliver(struct shard *s, struct session *x, const struct publish *p,
                                      uint8_t options)
{
    if ((options & SUB_COVERED) && x->acl_version == s->acl_version)
        return true;
    return access_may_read(s, x, p);
}

/* Whether the session's client may publish to a topic; `hash` of it, or 0: not known. */
static inline bool access_may_write(struct shard *s, struct session *x, struct bytes topic,
                                    uint64_t hash)
{
    return !s->acl || access_ask_write(s, x, topic, hash);
}

/* What a message of this session keeps of it (enum source). */
static inline uint8_t access_source(const struct shard *s, const struct session *x, bool retain)
{
    if (!retain || !s->acl || !s->cluster->config.check_retain_source)
        return SOURCE_UNKNOWN;
    return x->has_user ? SOURCE_USER : SOURCE_NAMELESS;
}

/* ---- what clients publish (publish.c) ---- */
/* ERR_FULL: not now; nothing was changed. */
MUST_USE enum err client_on_publish(struct client *c, const struct packet_publish *p);
void client_on_pubrel(struct client *c, const struct packet_ack *p);
/* Whether messages of this client, and its will, may go to subscribers of that topic. */
bool client_may_publish(const struct client *c, struct bytes topic);

/* ---- mount points (mounted.c) ---- */
/* Gives a client the mount of its listener, if there is one. REASON_SUCCESS, or why it must be
 * refused; `user` NULL: it has no name. */
enum reason mounted_begin(struct client *c, struct bytes id, const struct bytes *user);
/* Puts its will below the mount: *p becomes `copy`, with that topic. REASON_SUCCESS also where
 * there is no will, or no mount. */
enum reason mounted_will(struct client *c, const struct packet_connect **p,
                         struct packet_connect *copy);
/* Whether an answer about the will would never be known: the client gave no id, and each time it is
 * asked the topic has another one in it. */
bool mounted_asks_in_vain(const struct client *c, const struct packet_connect *p);
/* Puts the client's mount in front of a topic or filter; `$LINK/...` has none. The text lies in the
 * arena. ERR_PEER: too long. With a mount only. */
MUST_USE enum err mounted_put(struct client *c, struct bytes *topic);
/* Reads a filter of a SUBSCRIBE or UNSUBSCRIBE: its group, and the filter as the index has it.
 * REASON_SUCCESS, or what to answer. */
uint8_t mounted_filter(struct client *c, struct bytes text, bool *is_shared, struct bytes *group,
                       struct bytes *filter);
/* Whether all that a filter matches can go to the session's present client. */
bool mounted_reaches(const struct session *x, struct bytes filter);

/* ---- who may speak for links (speaker.c) ---- */
/* The worker where the connection of a broker of ours lives, by what its CONNECT says. false: it is
 * none, or of a cluster that we have no link to. */
bool speaker_home(const struct shard *s, const struct packet_connect *p, uint32_t *worker);
/* Finds it out for a client whose CONNECT has come. */
void speaker_begin(struct client *c);
/* Whether a client may have this id: that of a connection which has proven a link's peer_identity
 * is for those who prove the same. */
bool speaker_may_take_over(const struct client *c, struct bytes id);
/* Whether a client may be where speaker_home has sent it. If not: counted, and said. If so, what
 * its link says of silence holds for it. */
bool speaker_may_be_here(struct client *c, const struct packet_connect *p);
/* The cluster in `$LINK/cluster/KIND/NAME...`; empty: there is none. */
struct bytes speaker_cluster(struct bytes topic);
/* Whether the link of that name, which lives on that worker, is held: see shard_link_hold. */
bool speaker_is_held(const struct client *c, uint32_t link_worker, struct bytes cluster);
/* Whether a client that may speak for links is not the one of that name. */
bool speaker_is_impostor(const struct client *c, struct bytes cluster);
/* A topic or filter under `$LINK/` was closed to it: counted, and said once. */
void speaker_refused(struct client *c, struct bytes topic);

/* ---- enhanced authentication (login.c) ---- */

/* With the users of the configuration. */
void login_init(struct shard *s);
/* After the clients have gone. */
void login_fini(struct shard *s);
/* A CONNECT names a method: keeps its frame and begins the exchange. false: nothing was done, and
 * the method is not to be had, or not in this version of the protocol. */
bool login_begin(struct client *c, const struct frame *f, const struct packet_connect *p);
/* An AUTH packet, before CONNACK or after it.  ERR_FULL: not now, it is to be offered again. */
MUST_USE enum err login_on_packet(struct client *c, const struct packet_disconnect *p);
/* Ends an exchange that holds a CONNECT back, with a CONNACK. */
void login_refuse(struct client *c, enum reason reason, enum close_reason why);
/* Whether the client has proven its user by enhanced authentication, or is about to. */
bool login_is_used(const struct client *c);
/* With login_is_used: whether the users' file says the same of `user` as it did then. */
bool login_still_holds(const struct client *c, struct bytes user);
/* With login_is_used: what a CONNACK that lets the client in says of it. */
void login_conclude(const struct client *c, struct connack_out *o);
/* Forgets what is known of the client's admission. */
void login_forget(struct client *c);

/* ---- clients (client.c, connect.c) ---- */
/* ERR_FULL: not now; nothing was changed. */
MUST_USE enum err client_on_connect(struct client *c, const struct packet_connect *p);
/* Whether the client's listener is for this version of the protocol. */
bool client_version_fits(const struct client *c, enum protocol protocol);
/* CONNACK with a reason, a line in the log, and close. */
void client_refuse(struct client *c, const struct packet_connect *p, enum reason reason,
                   enum close_reason why);
/* DISCONNECT with a reason (MQTT 5) and close. */
void client_fail(struct client *c, enum reason reason, enum close_reason why);
/* The same from within a delivery: the session stays until the net has closed the connection, so
 * that no list that is being walked changes. */
void client_fail_later(struct client *c, enum reason reason, enum close_reason why);
/* Queues an acknowledgement until `ticket` is safe. */
void client_ack(struct client *c, enum packet_type type, uint16_t packet_id, uint8_t reason,
                store_ticket ticket, bool is_quota);
void acks_run(struct shard *s);
/* Writes a packet of exactly n bytes to the client's queue.  NULL: no memory, client aborted. */
uint8_t *client_room(struct client *c, uint32_t n);
/* Whether what the client has proven, as this user, still holds. */
bool client_still_holds(const struct client *c, struct bytes user);
/* It has said something for a link, or will: from now on, while it is not read, it is told every
 * LINK_SIGN_MS that we live. */
void client_speaks_link(struct client *c);
/* Goes on with shard_judge_all; true: not done yet. */
bool clients_judge(struct shard *s);
/* The longest session expiry: none on a link worker, where nobody comes back to a session. */
uint32_t client_expiry_max(const struct shard *s);
void client_log(struct client *c, int level, const char *event, const char *reason);
/* The same with free text. */
void client_log_detail(struct client *c, int level, const char *event, const char *reason,
                       const char *detail);
extern const struct stream_ops client_ops;

/* ---- sessions (sessions.c) ---- */
/* The session of this client id, or NULL. */
struct session *session_find(struct shard *s, struct bytes id);
/* A new session of this client id and user (or none). NULL: the bound, or no memory. */
struct session *session_create(struct shard *s, struct bytes id, const struct bytes *user);
/* Writes down that it begins, or lives on with another expiry; or that it ends. */
void session_note(struct shard *s, const struct session *x, bool is_delete);
/* Detaches the connection from its session; `will`: publish the will. */
void client_leave_session(struct client *c, bool with_will);
/* Ends it with all it has, and publishes its will. */
void session_end(struct shard *s, struct session *x);
/* Publishes the will now; it is gone afterwards. */
void will_publish(struct shard *s, struct session *x);
/* It is not published. */
void will_drop(struct shard *s, struct session *x);

/* ---- $SYS (sys.c) ---- */
void sys_start(struct shard *s);
void sys_stop(struct shard *s);

#endif
