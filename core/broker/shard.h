/* core/broker/shard.h -- all state that one worker owns, and the calls that make up its turn.
 *
 * A turn, as net/worker.c and tests/sim run it:
 *     shard_begin_turn(now)            time is handed in
 *     completions: stream->ops->input  bytes of connections
 *     shard_run_mail                   what other workers left
 *     shard_run_timers                 keep alive, expiries, wills
 *     shard_end_turn                   work with a cursor, commit, acknowledgements, flush of mail,
 *                                      quiesce
 *     walk shard_next_dirty            the net sends and closes
 *     sleep                            shard_sleep, shard_awake
 * Handlers change state and queue; only the walk of the dirty list talks to the kernel.
 *
 * Threads  create, destroy: boot.  All else: the worker of that number.
 */
#ifndef CORE_BROKER_SHARD_H
#define CORE_BROKER_SHARD_H

#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/stats.h"
#include "core/broker/stream.h"
#include "core/mqtt/packet.h"

/* Retained messages in one slice of an answer to a link. */
#define RETAINED_SLICE_MAX 80u

struct cluster_state; /* what all shards of the process share: mail, index, epoch; opaque */
struct shard;         /* opaque outside core/broker */
struct client;
struct acl;
struct login;
struct scram_crypt;
struct scram_users;

/* What authentication has found out about a connection whose CONNECT is not answered yet. Made with
 * malloc by whoever authenticates; client_open takes it over. A connection without one is judged by
 * its listener's allow_anonymous alone; a CONNECT that names a method of enhanced authentication
 * must not have one, and proves its user at home (core/broker/login.c). */
struct admission {
    bool is_refused;
    bool has_user;       /* `user` is proven and stands instead of the CONNECT's user name */
    uint8_t reason;      /* enum reason of the CONNACK of a refusal */
    const char *why;     /* of a refusal, a fixed text for the log; or NULL */
    uint64_t credential; /* stands for what was proven; see shard_judge_all; 0: nothing to judge */
    uint64_t expires_ms; /* by the clock of shard_begin_turn: what was proven ends; 0: never */
    struct login *login; /* core's own: enhanced authentication; NULL */
    uint64_t rules_end_ms; /* by the same clock: its rules allow nothing from then on; 0: never */
    uint16_t user_count;   /* bytes of `user` */
    uint16_t rules_count;  /* bytes behind it: rules for this client (core/policy/acl_claim.h) */
    char user[];           /* not NUL-terminated */
};

/* The rules of an admission; empty: it brings none. */
static inline struct bytes admission_rules(const struct admission *a)
{
    return bytes_of(a->user + a->user_count, a->rules_count);
}

/* A connection on its way to its home: one object, the receiver owns it. The net fills it. */
struct handoff {
    int fd;
    uint16_t listener; /* index in the configuration */
    uint16_t peer_port;
    bool has_eof;                /* nothing comes behind these bytes */
    void *layers;                /* the net's own: what lies between socket and MQTT; or NULL */
    struct admission *admission; /* owned; or NULL */
    char peer[48];               /* address as text */
    uint32_t count;              /* bytes received so far: the whole CONNECT and what followed */
    uint8_t bytes[];
};

/* What a hand-off holds of the memory of the process. */
static inline uint32_t handoff_bytes(const struct handoff *h)
{
    return (uint32_t)sizeof(*h) + h->count;
}

/* How a log line leaves core. Levels as in syslog: 3 error, 4 warning, 5 notice, 6 info, 7 debug.
 * `client`, `user`, `link`, `peer` and `reason` may be empty or NULL. */
struct log_event {
    int level;
    const char *event; /* a fixed word: "client connected" */
    struct bytes client, user;
    const char *link; /* name of a remote cluster */
    const char *peer;
    const char *reason;
    const char *detail; /* free text or NULL */
};

/* The user property of a CONNECT by which a broker of ours says that the connection is a link's;
 * its value is the name of its cluster, and "/" and the number of a stream of messages (below
 * LINK_WORKERS_MAX), where it is there for one that is not the first: without, it is stream 0. The
 * connection of each goes to a link worker of its own, as far as there are some. */
#define LINK_PROPERTY "causeway-link"

struct link_packet;
struct link_note; /* core/mail/msg.h */
struct barrier;
struct owed;

/* What a link worker owes for a publish whose acknowledgement waits for links. */
struct receipt {
    struct receipt *next; /* on the way back */
    struct owed *owed;    /* the publisher's worker's; nobody else looks into it */
    uint16_t home;        /* that worker */
    uint8_t reason;       /* 0, or why the message was let go */
    bool is_taken;        /* set by hooks.forward: shard_receipt_done will follow */
};

/* Names a client to the link layer, also when it is gone. */
struct client_name {
    uint16_t worker;
    uint32_t slot, generation;
};

/* May a client publish to a topic, may it subscribe to a filter? Asked of the net where somebody
 * outside decides. Deliveries are not asked about. */
struct access_question {
    void *conn; /* of the stream that asks */
    struct bytes client_id;
    struct bytes user; /* p == NULL: none */
    struct bytes topic;
    bool is_subscribe;
    uint8_t qos;
    bool retain;
};

enum access_answer {
    ACCESS_NO,
    ACCESS_YES,
    ACCESS_FILE, /* the ACL decides; where there is none: no */
    ACCESS_WAIT, /* not known yet: the packet is offered again when it is */
};

/* What core needs from above; given at start. Any may be NULL in a test. */
struct shard_hooks {
    void *net;  /* first argument of the net's functions */
    void *link; /* first argument of the link's functions */
    /* A connection has come home: make a conn of it, open a client, offer its bytes. */
    void (*adopt)(void *net, struct handoff *h);
    /* It never will: closes the descriptor and frees the layers, not `h`. No worker runs any more.
     */
    void (*abandon)(struct handoff *h);
    void (*log)(void *net, const struct log_event *e);
    /* Bytes the allocator has given out, for $SYS/broker/heap. */
    uint64_t (*heap_bytes)(void *net);
    /* Whole days until the first of our certificates ends, negative since then. false: we have
     * none. For $SYS/broker/certificate/days_left. */
    bool (*certificate_days)(void *net, int64_t *days);
    /* Whether what a user proved when it connected (struct admission) still holds. */
    bool (*still_holds)(void *net, struct bytes user, uint64_t credential);
    /* A client has not proven who it is; `conn` as client_open was given it. */
    void (*auth_failed)(void *net, void *conn, struct bytes client_id);
    /* Whether so many have failed to, where it comes from, that its own proof counts for naught. */
    bool (*is_banned)(void *net, void *conn, struct bytes client_id);
    /* Whether a client may publish or subscribe. NULL: nobody outside is asked. */
    enum access_answer (*may)(void *net, const struct access_question *q);
    /* ---- link workers only ---- */
    /* A message for routes of links: `links` has a bit for each link that wants it; none: see
     * shard_retained_feed. Returns false when it cannot be taken now; it is offered again. With
     * p->receipt, its acknowledgement waits: is_taken says that links are to have it first. */
    bool (*forward)(void *link, const struct publish *p, uint64_t links);
    /* A message for members of a shared group in the cluster of a link, which is its only way: what
     * came with p->group_hops has crossed so many links. false: that link is gone, and the group
     * must find another. */
    bool (*forward_group)(void *link, uint32_t number, struct bytes group, struct bytes filter,
                          const struct publish *p);
    /* An answer to shard_retained_ask: a retained message with its stamp (p->sequence), or, without
     * payload, a topic that was removed with that stamp; at most RETAINED_SLICE_MAX of them, then
     * retained_end: `is_last`, or shard_retained_more goes on. */
    void (*retained)(void *link, uint32_t number, struct publish *p);
    void (*retained_end)(void *link, uint32_t number, bool is_last);
    /* A PUBLISH to `$LINK/...` that a client sent (never routed). `response_topic` and
     * `correlation` as the packet had them. `from` names the client for link_kick. */
    bool (*link_packet)(void *link, const struct link_packet *packet);
    /* A local filter (group empty: not shared) got its first subscriber or lost its last one. */
    void (*interest)(void *link, struct bytes group, struct bytes filter, bool is_added);
    /* Somebody has subscribed and wants to know when all connected remote clusters have the filter
     * in force: to be answered by shard_barrier_done, now or later. The texts live until then. */
    void (*barrier)(void *link, struct barrier *b, struct bytes group, struct bytes filter);
    /* Another link worker (0, 1, ...) has called shard_relay or shard_link_note. A gift is to be
     * taken. */
    void (*relayed)(void *link, uint32_t from, uint64_t links, uint64_t no_groups,
                    const struct publish *p);
    void (*link_note)(void *link, uint32_t from, const struct link_note *note);
    /* A client that lives on this link worker (shard_link_stream) is gone. */
    void (*link_gone)(void *link, struct client_name who);
};

/* A `$LINK/` publish on its way to the link worker. */
struct link_packet {
    struct client_name from;
    struct bytes client_id;
    struct bytes topic, payload, response_topic, correlation;
    uint8_t qos;
    bool is_impostor;  /* it must not speak for the cluster that the topic names */
    struct bytes user; /* then: the name it came with; else empty */
};

/* Whether connections of a listener may speak for links: none; as well as for clients; only. */
enum { LISTENER_LINKS_NO, LISTENER_LINKS_ON, LISTENER_LINKS_ONLY };

/* What a listener lets in. Read by all, written by nobody. */
struct listener_rules {
    bool allow_anonymous;
    bool is_loopback; /* its clients are on this machine */
    uint8_t links;    /* LISTENER_LINKS_... */
    uint8_t versions; /* a bit for each enum protocol that is spoken; 0: all */
    bool has_max_qos; /* max_qos holds, if that of the limits is not lower */
    uint8_t max_qos;
    const char *mount_point; /* pattern in front of its clients' topics, without a fault
                              * (core/policy/mount.h), where `links` is no; NULL: none */
};

/* A link of the configuration: who may speak for it, in core/broker/speaker.c. A link is known by
 * its place in the array of all, its number. */
struct link_rules {
    const char *name;     /* of the remote cluster; NULL: no link has this number */
    const char *identity; /* the user name that it must prove; NULL: none */
    /* A connection that lives on the link worker is closed when nothing was heard of it for so
     * many seconds, whatever its keep alive: a broker of ours pings each. 0: only keep alive. */
    uint16_t silence_s;
    bool transits;      /* it lives on the first link worker, with all others of which that is so */
    bool acks_remotely; /* `ack = remote`: publishers wait for the remote cluster */
};

struct cluster_config {
    uint32_t workers;      /* that serve clients: numbers 0..workers-1 */
    uint32_t link_workers; /* numbers workers..workers+link_workers-1 */
    struct limits limits;
    const struct listener_rules *listeners; /* by handoff.listener; outlives the process state */
    uint32_t listener_count;
    const struct link_rules *links; /* at start, see shard_set_links; every shard copies them */
    uint32_t link_count;            /* at most LINKS_MAX */
    const char *cluster_name;       /* or NULL */
    uint64_t seed[4];               /* for hashes and random choices */
    uint32_t ring_bytes[4];         /* 0: mail_default_sizes */
    const char *version;            /* for $SYS/broker/version */
    uint64_t connections_max;       /* that descriptors allow */
    struct acl *acl;                /* NULL: everything is allowed. Every shard takes a reference */
    struct scram_users *scram;      /* NULL: no enhanced authentication. Shards take references */
    const struct scram_crypt *scram_crypt; /* with `scram`, also a later one; outlives the shards */
    bool suback_linked;       /* SUBACK waits for the remote clusters that are connected */
    bool acl_check_subscribe; /* a subscription that could never bring anything is refused */
    bool check_retain_source; /* retained messages vanish with their publisher's right to write;
                               * what was retained while there was no ACL is taken as allowed */
};

/* Everything shared, and the shards of all workers.  NULL: no memory.  Boot only. */
struct cluster_state *cluster_create(const struct cluster_config *config, uint64_t now_ms,
                                     uint64_t wall_ms);
void cluster_destroy(struct cluster_state *c); /* no worker runs any more */
struct shard *cluster_shard(struct cluster_state *c, uint32_t worker);
/* Sets the hooks of one shard; before its worker starts. */
void shard_set_hooks(struct shard *s, const struct shard_hooks *hooks);

/* From now on this ACL counts, or none (NULL); takes a reference of its own. Disconnects nobody.
 * What was found out about sessions counts no more at once; all of them are judged anew over some
 * turns, and before that whoever publishes or gets something. */
void shard_set_acl(struct shard *s, struct acl *acl);

/* From now on these users can log in with SCRAM, or none (NULL); takes a reference of its own.
 * Those who have are asked again by shard_judge_all. */
void shard_set_scram(struct shard *s, struct scram_users *users);

/* From now on these links count, of which a copy is kept. Connections that are there stay what they
 * are, but each packet that speaks for a link is judged anew. ERR_MEMORY: those before count. */
MUST_USE enum err shard_set_links(struct shard *s, const struct link_rules *links, uint32_t count);

/* ---- the turn ---- */
void shard_begin_turn(struct shard *s, uint64_t now_ms, uint64_t wall_ms);
bool shard_run_mail(struct shard *s);   /* true: more is waiting, do not sleep */
bool shard_run_timers(struct shard *s); /* true: more is due */
/* Ends the turn: work with cursors, commit, acknowledgements, blobs, mail_flush, epoch_quiesce.
 * Returns the set of workers to wake. *more: there is work for another turn at once. */
uint64_t shard_end_turn(struct shard *s, bool *more);
/* The next stream with output or a wish to close; takes it off the list. */
struct stream *shard_next_dirty(struct shard *s);
/* Milliseconds until the next timer; UINT64_MAX: none. */
uint64_t shard_next_timer_ms(const struct shard *s);
/* Declares sleep (and goes offline for reclamation); false: mail has come, do not sleep. */
bool shard_sleep(struct shard *s);
void shard_awake(struct shard *s); /* after the wait, before anything else */

/* ---- connections ---- */

/* What the first bytes of a connection say. */
struct greeting {
    uint32_t home;                 /* the worker it belongs to: by client id, or a link's */
    bool is_connect;               /* they begin with a whole CONNECT without a fault */
    struct packet_connect connect; /* then this is it: views into the bytes */
};

/* Reads the bytes received so far. ERR_MORE: the CONNECT is not whole, *need as frame_next gives
 * it. OK: *g (on any fault g->home is this worker, whose client answers it). A packet larger than
 * limits.connect_bytes is a fault. */
MUST_USE enum err shard_greet(struct shard *s, struct bytes in, struct greeting *g, uint32_t *need);
/* Sends a connection to its home; its bytes count as mail from here to there. ERR_FULL: not now,
 * try again next turn; h stays the caller's. */
MUST_USE enum err shard_handoff(struct shard *s, uint32_t home, struct handoff *h);
/* A client for a connection that has come home (or was at home). `peer` is copied; `admission` (may
 * be NULL) is taken over, also on failure.  NULL: no memory or the limit of connections (counted).
 */
struct client *client_open(struct shard *s, uint16_t listener, const char *peer, uint16_t peer_port,
                           struct admission *admission, void *conn);
struct stream *client_stream(struct client *c);
/* Counts bytes that a connection holds of packets that are not whole (negative: lets go). false
 * with a positive number: the memory of the process is used up; nothing was counted, and the
 * connection should be closed (CLOSE_MEMORY). */
bool shard_hold_input(struct shard *s, int64_t bytes);

/* Asks of every client that has proven something whether it still holds, in slices over the next
 * turns; who does not is disconnected with 0x87. Those that come meanwhile are asked too. */
void shard_judge_all(struct shard *s);

/* Ends all clients with 0x8B (server shutting down); their wills are sent. For a clean stop. */
void shard_shutdown(struct shard *s);

/* ---- for link workers: a link is a destination ---- */

/* Counts bytes that a link worker holds of the routes of links (negative: lets go). false with a
 * positive number: the memory of the process is used up; nothing was counted, and the route must
 * not be taken. */
bool shard_hold_routes(struct shard *s, int64_t bytes);
/* Link `link` (0..LINKS_MAX-1) wants `filter`, or no longer: shard_hold_routes has been asked, here
 * it is taken and counted in any case. Never blocks; takes effect when the partition's owner has
 * done it, in the order of the calls. ERR_FULL: so much is asked for that is not done yet that no
 * more is taken until the owners have answered, which wakes the worker. ERR_MEMORY: try again. */
MUST_USE enum err shard_link_route(struct shard *s, uint32_t link, struct bytes filter,
                                   bool is_added);
/* The cluster of a link has members of a shared group, or no longer: so that the group is served
 * once over all clusters (core/broker/group.h). As shard_link_route in all else; only links of this
 * worker. ERR_MEMORY: not now, try again. */
MUST_USE enum err shard_link_group(struct shard *s, uint32_t link, struct bytes group,
                                   struct bytes filter, bool is_added);
/* Messages for the cluster of a link get there now, or wait: groups prefer those that are up. At
 * first none is. */
void shard_link_up(struct shard *s, uint32_t link, bool is_up);
/* A point among the calls of shard_link_route: those made so far. */
uint64_t shard_link_routes_asked(struct shard *s);
/* Whether all that were asked for by then are in force: every worker sees them, or nobody can have
 * them. This comes true in bounded time, also while more is asked for all the time. */
bool shard_link_routes_in_force(const struct shard *s, uint64_t asked);
/* Answers a question of hooks.barrier. `is_late`: not all have it, and it is not waited for. */
void shard_barrier_done(struct shard *s, struct barrier *b, bool is_late);
/* Gives back a receipt that hooks.forward has taken. `reason`: 0, or a reason of failure: a link
 * has let the message go. */
void shard_receipt_done(struct shard *s, struct receipt *r, uint8_t reason);
/* Publishes a message that came over a link (p->from_link is set by it); with p->is_kept it is
 * retained here, under p->sequence as its stamp if it has one. ERR_FULL: not now. *matched:
 * somebody here wanted it. */
MUST_USE enum err shard_publish(struct shard *s, struct publish *p, bool *matched);
/* Gives a message that came over a link for one shared group to that group alone; p->group_hops
 * counts the links it has crossed. What becomes of it, core/broker/group.h says. ERR_FULL: not now.
 * ERR_MEMORY. */
MUST_USE enum err shard_publish_group(struct shard *s, uint32_t link, struct bytes group,
                                      struct bytes filter, struct publish *p);
/* Answers a client's `$LINK/` request: a PUBLISH QoS 1 to `topic` with correlation data, only for
 * its subscribers here. ERR_FULL: not now. */
MUST_USE enum err shard_link_reply(struct shard *s, struct bytes topic, struct bytes correlation,
                                   struct bytes payload);
/* Disconnects a client that broke the link protocol, with a reason code. ERR_FULL: not now. */
MUST_USE enum err shard_link_kick(struct shard *s, struct client_name who, uint8_t reason);

/* From now on every retained publish of this process but those under `$SYS/` comes to hooks.forward
 * of this link worker, whoever wants it, and what is removed is remembered for a while. */
void shard_retained_feed(struct shard *s);
/* A stamp: retained publishes that are stamped after the call have higher ones. */
uint64_t shard_retained_stamp(struct shard *s);
/* Retains what the cluster of a link does, under its stamp p->sequence, or removes what is retained
 * if there is no payload; not if what is known here is as late. What it changes is published here,
 * unless it was stamped in the cluster of another link of ours: then that link brings it, as a
 * message or by this function. ERR_FULL: not now. ERR_PEER: a stamp too far ahead of our clock.
 * ERR_MEMORY. */
MUST_USE enum err shard_retained_put(struct shard *s, uint32_t link, struct publish *p);
/* How much of what is retained here the clusters of all links but this one have changed by
 * shard_retained_put, so far. */
uint64_t shard_retained_changes(const struct shard *s, uint32_t link);
/* Asks for all that is retained under a filter, and for what was removed, for a link; the answer
 * comes by hooks.retained. One question of a link at a time: ERR_FULL, also until one that was
 * stopped has ended. ERR_MEMORY. */
MUST_USE enum err shard_retained_ask(struct shard *s, uint32_t link, struct bytes filter);
/* After retained_end: the next slice. */
void shard_retained_more(struct shard *s, uint32_t link);
/* Nothing more is answered to the link's question, if there is one. */
void shard_retained_stop(struct shard *s, uint32_t link);

/* The connection of a client that lives on this link worker (`who.worker` is ours), for packets of
 * the link layer's own: what is written to its outq leaves in this turn if stream_touch is called.
 * *packet_max: the largest packet it takes. NULL: it is gone. Valid until the next call that may
 * close it. */
struct stream *shard_link_stream(struct shard *s, struct client_name who, uint32_t *packet_max);
/* From now on publishes that any link of this link worker wants find no room (ERR_FULL, as with a
 * full ring), or do again. Those already on their way are still offered, and those for which nobody
 * can be parked, as wills. */
void shard_links_full(struct shard *s, bool is_full);
/* From now on `$LINK/` packets of a link's own speakers find no room, or do again. Those already on
 * their way are still offered. */
void shard_link_hold(struct shard *s, uint32_t link, bool is_held);

/* How many link workers there are. */
uint32_t shard_link_workers(const struct shard *s);
/* The link worker (0 .. link_workers-1) on which the link to that cluster lives: there `$LINK/`
 * packets of that cluster arrive, but for those on connections of a link that live elsewhere. */
uint32_t shard_link_home(const struct shard *s, struct bytes cluster);
/* Hands a message for links (a bit for each; in clusters of those in `no_groups` no shared group is
 * to get it) on to another link worker, and says a word to one; in the order of these calls they
 * come to its hooks. ERR_FULL: not now. ERR_MEMORY. */
MUST_USE enum err shard_relay(struct shard *s, uint32_t link_worker, uint64_t links,
                              uint64_t no_groups, const struct publish *p);
/* See shard_relay. */
MUST_USE enum err shard_link_note(struct shard *s, uint32_t link_worker,
                                  const struct link_note *note);
/* Whether shard_relay of this message has room there; it stays so until the next of these calls. */
bool shard_relay_room(struct shard *s, uint32_t link_worker, const struct publish *p);
/* Publishes a retained text under $SYS/broker/, unless there is no $SYS. Any worker's own shard. */
void shard_sys_say(struct shard *s, const char *topic, const char *text);
/* Whether memory_limit is reached: what waits must not grow now. */
bool shard_memory_is_full(struct shard *s);
/* The worker's sum of bytes held in messages, for publish_message. */
uint64_t *shard_waiting(struct shard *s);

/* The time of this turn, and other parts of the shard, for those who stand on it. */
uint64_t shard_now_ms(const struct shard *s);
/* See shard_now_ms. */
uint64_t shard_wall_ms(const struct shard *s);
/* What a stream of this worker needs: chunks for its outq, the worker's timers, scratch memory that
 * lives until the end of the turn. */
struct outq_pool *shard_pool(struct shard *s);
/* See shard_pool. */
struct timer_wheel *shard_timers(struct shard *s);
/* See shard_pool. */
struct arena *shard_arena(struct shard *s);
/* A number for choices, not for secrets. */
uint64_t shard_random(struct shard *s);
/* The counters of this worker; anybody may read them, only the worker adds (STAT_ADD). */
const struct stats *shard_stats(const struct shard *s);
/* See shard_stats. */
struct stats *shard_count(struct shard *s);
/* Its number, and how many clients it has at this moment. */
uint32_t shard_number(const struct shard *s);
/* See shard_number. */
uint32_t shard_client_count(const struct shard *s);

#endif
