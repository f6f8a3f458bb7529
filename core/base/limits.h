/* core/base/limits.h -- every bound, its default, and what happens at it.
 *
 * Upper-case names are fixed bounds or defaults; struct limits holds the values of this run, filled
 * from the configuration before any worker starts and never written again. A value of 0 in the
 * configuration means the built-in bound, never "unlimited". What is refused or lost at a bound is
 * counted by cause (core/base/stats.h).
 */
#ifndef CORE_BASE_LIMITS_H
#define CORE_BASE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* Workers of one process, link workers included. Ring memory grows with the square. */
#define WORKERS_MAX 64
#define LINK_WORKERS_MAX 4
/* Links of one process: one bit each in a 64-bit set. */
#define LINKS_MAX 64
/* Of these numbers, the last ones are for clusters that are reached by way of others, where links
 * have transit: then fewer links are possible, which is checked at load. Beyond: nothing that is
 * published here goes to such a cluster; counted (link_routes_over_limit) and said. */
#define TRANSIT_CLUSTERS_MAX 24

/* Bytes that the socket of a link's connection takes and has not sent. What is beyond waits in the
 * outq, so that pings and acknowledgements stand behind little, and the kernel's count of what was
 * acknowledged moves as long as the path does. */
#define LINK_UNSENT_BYTES (128u << 10)
/* How much later than dead_after the side that accepted a connection of a link gives it up: who
 * opened it pings every second, and should be first. */
#define LINK_SILENCE_MORE_S 2u
/* How often a connection of a link that we do not read for a while hears that we live all the same:
 * well within the least dead_after of the other side. */
#define LINK_SIGN_MS 1000u

/* A topic or filter; the protocol's own bound [MQTT-4.7.3-3]. */
#define TOPIC_BYTES_MAX 65535u
/* Levels of a topic or filter. Beyond: the packet is refused (0x90 topic name invalid, 0x8F
 * filter invalid), so no walk is deeper. */
#define TOPIC_LEVELS_DEFAULT 200u
#define TOPIC_LEVELS_MAX 1000u
/* A mount point of a listener, with the names of the client in it. Beyond: a mistake at load, or
 * CONNACK 0x85 or 0x86. A topic that is longer than TOPIC_BYTES_MAX with it is refused as one that
 * is too deep. */
#define MOUNT_BYTES_MAX 1024u

/* One packet from a client, whole. Beyond: DISCONNECT 0x95 and close. Announced in CONNACK. */
#define PACKET_BYTES_DEFAULT (16u << 20)
#define PACKET_BYTES_MAX 268435460u
/* Bytes held for a connection before it is authenticated; the buffer grows with what arrived. */
#define CONNECT_BYTES_DEFAULT (128u << 10)
/* Time from accept to a whole CONNECT, and of an exchange of AUTH packets, milliseconds. Beyond:
 * close. */
#define CONNECT_TIMEOUT_DEFAULT 10000u

/* Outgoing QoS 1 and 2 messages in flight to one client. Beyond: they wait in the session. */
#define INFLIGHT_DEFAULT 20u
/* Incoming QoS 1 and 2 messages not yet answered: Receive Maximum in CONNACK. Beyond: 0x93. */
#define RECEIVE_MAXIMUM_DEFAULT 1024u
/* Messages and bytes that wait in one session. At the bound `queue_full` decides; 0x97 is not sent
 * to the publisher, the loss is counted. */
#define QUEUED_MESSAGES_DEFAULT 1000u
#define QUEUED_BYTES_DEFAULT (64u << 20)
/* Waiting bytes of one slow connection. At the bound QoS 0 is dropped and counted; QoS 1 and 2 wait
 * in the session. */
#define OUTQ_BYTES_DEFAULT (1u << 20)
#define OUTQ_BYTES_MIN (64u << 10)
/* Subscriptions of one session. Beyond: SUBACK 0x97. */
#define SUBSCRIPTIONS_DEFAULT 10000u
/* Sessions without a connection. Beyond: the session ends with its connection. */
#define SESSIONS_DEFAULT 1000000u
/* Retained messages, number and bytes. Beyond: a message under a new topic is delivered to those
 * who subscribe now, but not stored; counted. What replaces a stored one is stored. */
#define RETAINED_DEFAULT 1000000u
#define RETAINED_BYTES_DEFAULT (1024ull << 20)
/* Removed retained topics that a worker remembers for links that synchronise them, and for how
 * long. Beyond: the one removed longest ago is forgotten, counted where it is for the number; a
 * cluster that was away for all that time may bring it back. */
#define TOMBSTONES_MAX 100000u
#define TOMBSTONE_MS (7u * 86400000u)
/* How far a stamp that another cluster gave to a retained message may be ahead of our clock.
 * Beyond: it is not retained here, and counted. */
#define RETAINED_AHEAD_MS 86400000u
/* Topic aliases a client may use towards us: Topic Alias Maximum in CONNACK. Beyond: 0x94. */
#define TOPIC_ALIAS_DEFAULT 10u
/* Largest keep alive accepted; a longer one is answered with Server Keep Alive (MQTT 5) or 0x02. */
#define KEEPALIVE_DEFAULT 65535u
/* Messages a shared group keeps while none of its members can take one. Beyond: oldest dropped. */
#define GROUP_QUEUED_DEFAULT 1000u
/* Bytes of large messages and hand-offs that stand in the rings towards one worker. Beyond:
 * publishers are parked; one message is always taken. */
#define MAIL_BYTES_MAX (64u << 20)
/* Bytes of payload by value in a ring between workers; larger ones are shared. */
#define INLINE_BYTES_MAX 512u

/* An ACL file: bytes, rules, bytes of a line, levels of a filter. Beyond: the file is not taken,
 * and the mistake is told with its line. Of more mistakes only the number is told. */
#define ACL_BYTES_MAX (64u << 20)
#define ACL_RULES_MAX 1000000u
#define ACL_LINE_BYTES_MAX (TOPIC_BYTES_MAX + 64u)
#define ACL_LEVELS_MAX 200u
#define ACL_MISTAKES_MAX 100u

/* The rules that a token brings (core/policy/acl_claim.h): how many, where each filter counts as
 * one; bytes of them as they come; bytes with the client's names in them. Beyond: the client is
 * refused. */
#define ACL_CLAIM_RULES_MAX 128u
#define ACL_CLAIM_TEXT_BYTES_MAX 16384u
#define ACL_CLAIM_BYTES_MAX 65536u

enum queue_full { QUEUE_DROP_NEW, QUEUE_DROP_OLD, QUEUE_DISCONNECT };

enum share_policy {
    SHARE_ROUND_ROBIN,
    SHARE_STICKY,
    SHARE_HASH_CLIENTID,
    SHARE_HASH_TOPIC,
    SHARE_RANDOM,
    SHARE_POLICY_COUNT
};

/* The values of this run.  Read by every worker, written by nobody after start. */
struct limits {
    uint32_t packet_bytes;
    uint32_t connect_bytes;
    uint32_t connect_timeout_ms;
    uint32_t handshake_rate; /* TLS handshakes a second, of each worker */
    uint32_t topic_levels;
    uint32_t connections;     /* in all listeners; 0: what RLIMIT_NOFILE allows */
    uint32_t inflight;        /* max_inflight_messages */
    uint32_t receive_maximum; /* towards us */
    uint32_t queued_messages; /* max_queued_messages, per session */
    uint32_t queued_bytes;    /* max_queued_bytes, per session */
    uint32_t outq_bytes;
    uint32_t subscriptions; /* per session */
    uint32_t sessions;      /* disconnected sessions, in all */
    uint32_t retained;
    uint32_t topic_alias;
    uint32_t keepalive; /* max_keepalive, seconds */
    uint32_t group_queued;
    uint32_t session_expiry; /* persistent_client_expiration, seconds; UINT32_MAX: never */
    uint32_t sys_interval;   /* seconds; 0: no $SYS */
    uint64_t retained_bytes;
    uint64_t memory_bytes; /* memory_limit: of messages, half-received packets, filters, in all */
    uint8_t max_qos;
    bool retain_available;
    bool queue_qos0;  /* queue_qos0_messages: QoS 0 waits for an absent persistent session */
    bool upgrade_qos; /* upgrade_outgoing_qos */
    enum queue_full queue_full;
    enum share_policy share_policy;
};

#endif
