/* core/mail/msg.h -- every message between workers: the complete list.
 *
 * Each record in a ring begins with a byte of enum msg_type. Kinds stand in an order (mailbox.h);
 * the handler of one kind posts only later kinds:
 *
 *   MAIL_PUBLISH   MSG_DELIVER     a message for filters and groups of the receiver
 *                  MSG_RETAIN      a retained message for the owner of its topic
 *                  MSG_LINK_PACKET a client's PUBLISH to `$LINK/...`, for a link worker
 *                  MSG_GROUP_PUBLISH a message of another cluster for one group (to its home)
 *   MAIL_GROUP     MSG_DISPATCH    a group's message for one member
 *                  MSG_GROUP_LEAVES the same for another cluster, by a link worker
 *                  MSG_RELAY       a message that a link worker hands on to another
 *                  MSG_LINK_NOTE   a word of one link worker to another
 *   MAIL_REQUEST   MSG_ROUTE       add or take away a destination of a filter (to its owner)
 *                  MSG_GROUP_JOIN, MSG_GROUP_LEAVE, MSG_GROUP_STATE
 *                  MSG_GROUP_LINKS which clusters have members of a group (to its home)
 *                  MSG_RETAIN_ASK  a subscriber wants retained messages; MSG_RETAIN_MORE, _STOP
 *                  MSG_HANDOFF     a connection goes home
 *                  MSG_KICK        a link worker ends a client
 *                  MSG_BARRIER_ASK do remote clusters have a filter? (to its owner)
 *                  MSG_LINK_ROUTES many routes of links come or go (to their owner)
 *   MAIL_ANSWER    MSG_ROUTE_DONE, MSG_GROUP_DONE, MSG_GROUP_LINKS_DONE
 *                  MSG_RETAINED, MSG_RETAINED_END, MSG_INTEREST
 *                  MSG_BARRIER     the same question, handed on to a link worker
 *                  MSG_BARRIER_DONE its answer
 *                  MSG_RECEIPT     links have a message that was published there
 *                  MSG_LINK_ROUTES_DONE all of them are in force
 *
 * MSG_INTEREST, MSG_BARRIER, MSG_BARRIER_DONE and MSG_RECEIPT are posted by no handler but at the
 * end of a turn, and wait there for room.
 *
 * Pointers in a record are either given away (the receiver frees), or lent until the answer comes.
 */
#ifndef CORE_MAIL_MSG_H
#define CORE_MAIL_MSG_H

#include "core/base/bytes.h"
#include "core/base/slab.h"
#include "core/mqtt/message.h"

enum msg_type {
    MSG_DELIVER,
    MSG_RETAIN,
    MSG_LINK_PACKET,
    MSG_GROUP_PUBLISH,
    MSG_DISPATCH,
    MSG_GROUP_LEAVES,
    MSG_RELAY,
    MSG_LINK_NOTE,
    MSG_ROUTE,
    MSG_GROUP_JOIN,
    MSG_GROUP_LEAVE,
    MSG_GROUP_STATE,
    MSG_GROUP_LINKS,
    MSG_RETAIN_ASK,
    MSG_RETAIN_MORE,
    MSG_RETAIN_STOP,
    MSG_HANDOFF,
    MSG_KICK,
    MSG_BARRIER_ASK,
    MSG_LINK_ROUTES,
    MSG_ROUTE_DONE,
    MSG_GROUP_DONE,
    MSG_GROUP_LINKS_DONE,
    MSG_RETAINED,
    MSG_RETAINED_END,
    MSG_INTEREST,
    MSG_BARRIER,
    MSG_BARRIER_DONE,
    MSG_RECEIPT,
    MSG_LINK_ROUTES_DONE,
};

/* The message part of a record: lengths, and the body inline behind the record or in a blob. */
struct msg_body {
    struct blob *blob; /* NULL: topic, props, payload, from_id, from_user follow the record */
    uint64_t expires_ms;
    uint64_t stamp_ms;
    uint32_t props_count, payload_count;
    uint16_t topic_count;
    uint16_t from_id_count, from_user_count; /* always inline; only towards link workers */
    uint8_t qos, protocol;
    bool retain, from_link;
    bool has_sequence; /* inline, behind all else; only towards link workers */
    bool has_receipt;  /* as that, a pointer that comes back: NULL, or a struct receipt */
    bool no_groups;
    uint8_t group_hops;
};

#define DELIVER_SLOTS_MAX 8u
#define DELIVER_MATCH_AGAIN 255u

/* A slot is a filter of the receiver, or a group at home there (DELIVER_GROUP in its number). */
#define DELIVER_GROUP 0x80000000u

struct msg_deliver {
    uint8_t type;
    uint8_t slot_count; /* DELIVER_MATCH_AGAIN: too many, the receiver matches itself */
    uint8_t done;       /* the receiver's: slots dealt with when it had to stop */
    uint64_t topic_hash;
    uint64_t from_hash; /* of the publisher's client id: for groups, and where it is of another
                         * cluster; else 0 */
    uint64_t links;     /* towards a link worker: a bit for each link that wants it */
    struct msg_body body;
    struct handle slots[];
};

/* Whose message it is: one block from malloc, given away. */
struct retain_source {
    uint8_t kind; /* enum source */
    uint16_t id_count, user_count;
    uint8_t bytes[]; /* client id, user name */
};
/* How a retained message comes to its owner. */
enum retain_way {
    RETAIN_LIVE,     /* it is published, too */
    RETAIN_COMPARED, /* another cluster retains it: published only if it changes something */
    RETAIN_OF_THIRD, /* as that, and whose it is has a link of its own here, which will bring it */
};
struct msg_retain {
    uint8_t type;
    uint8_t way;                  /* enum retain_way */
    uint8_t link;                 /* whose cluster retains it, but for RETAIN_LIVE */
    struct retain_source *source; /* NULL: nobody has to know */
    uint64_t topic_hash;
    uint64_t sequence; /* rings have no order among each other; this number has */
    struct msg_body body;
};

/* A `$LINK/` packet: one block from malloc, given away. */
struct link_parcel {
    uint32_t topic_count, client_id_count, user_count, response_count, correlation_count;
    uint32_t payload_count;
    struct handle client;
    uint16_t worker;
    uint8_t qos;
    bool is_impostor;
    uint8_t bytes[]; /* in the order of the counts */
};
struct msg_link_packet {
    uint8_t type;
    struct link_parcel *parcel;
};

struct msg_dispatch {
    uint8_t type;
    uint8_t options; /* of the member's subscription */
    uint16_t group_home;
    uint32_t subscription_id;
    struct handle share; /* the member's own record of its membership */
    struct handle group;
    struct msg_body body;
};

/* Names of groups in records, group and then filter, are at most so long. */
#define INLINE_NAME_BYTES_MAX 512u
/* For the group of this name (struct share's hash), from a link worker. The name itself stands
 * before the body, if it is not too long. */
struct msg_group_publish {
    uint8_t type;
    uint8_t link;
    uint16_t group_count, filter_count;
    uint64_t hash;
    uint64_t from_hash; /* of the publisher's client id */
    struct msg_body body;
};
/* Of the group `link_group`, or, if the counts are not 0, of the name before the body, which is to
 * go back to where it came from. */
struct msg_group_leaves {
    uint8_t type;
    uint8_t link;
    uint16_t group_count, filter_count;
    struct handle link_group; /* at the link worker */
    struct handle group;      /* at its home, who sends it */
    struct msg_body body;
};

struct msg_relay {
    uint8_t type;
    uint64_t links;     /* a bit for each that it is for */
    uint64_t no_groups; /* of these, where no shared group is to get it */
    uint64_t tag;       /* struct publish's */
    struct msg_body body;
};

/* What one link worker says to another; all but `gift` and `drop` is the link layer's to
 * understand. */
struct link_note {
    uint8_t number; /* of a link */
    uint8_t word;
    uint64_t value;
    void *about;              /* lent: it outlives the note */
    void *gift;               /* given away; NULL: nothing */
    void (*drop)(void *gift); /* for a gift that nobody takes any more */
};
struct msg_link_note {
    uint8_t type;
    struct link_note note;
};

struct msg_route {
    uint8_t type;
    bool is_add;
    struct handle slot; /* the sender's filter */
    uint64_t hash;
    const uint8_t *filter; /* lent until MSG_ROUTE_DONE */
    uint32_t filter_count;
};
struct msg_route_done {
    uint8_t type;
    bool is_add, is_refused;
    struct handle slot;
};

/* JOIN: `text` is GROUP NUL-free, then FILTER; lent until MSG_GROUP_DONE. LEAVE and STATE name the
 * group by handle and are not answered. */
struct msg_group_member {
    uint8_t type;
    uint8_t options;
    bool is_connected;
    struct handle group;   /* LEAVE, STATE */
    struct handle session; /* the member */
    struct handle share;   /* JOIN: the sender's own record of the membership */
    uint32_t subscription_id;
    uint32_t group_count, filter_count; /* JOIN */
    const uint8_t *text;
    uint64_t hash;
};
struct msg_group_done {
    uint8_t type;
    bool is_refused;
    struct handle share, group;
};
/* `text` as in JOIN, lent until MSG_GROUP_LINKS_DONE. */
struct msg_group_links {
    uint8_t type;
    uint64_t links;           /* of the sender, a bit for each: those that have members */
    struct handle link_group; /* the sender's own record */
    uint32_t group_count, filter_count;
    const uint8_t *text;
    uint64_t hash;
};
struct msg_group_links_done {
    uint8_t type;
    bool is_refused;
    struct handle link_group;
};

struct msg_retain_ask { /* also MORE and STOP, by `ask` */
    uint8_t type;
    bool is_link;          /* a link's question: removed topics are told, too */
    struct handle ask;     /* the sender's record of the question */
    const uint8_t *filter; /* lent until MSG_RETAINED_END with is_last */
    uint32_t filter_count;
};
struct msg_retained {
    uint8_t type;
    bool is_link;
    struct handle ask;
    uint64_t topic_hash;
    uint64_t sequence;
    struct msg_body body;
};
struct msg_retained_end {
    uint8_t type;
    bool is_link;
    bool is_last; /* false: a slice ended, ask for more */
    struct handle ask;
};

/* MSG_HANDOFF: struct handoff; MSG_BARRIER...: struct barrier; both given away. MSG_LINK_ROUTES:
 * struct route_batch, which the answer gives back. MSG_RECEIPT: struct receipt, lent by whom it is
 * for. */
struct msg_pointer {
    uint8_t type;
    void *p;
};
struct msg_kick {
    uint8_t type;
    uint8_t reason;
    struct handle client;
};
struct msg_interest { /* text from malloc, given away: group then filter */
    uint8_t type;
    bool is_added;
    uint32_t group_count, filter_count;
    uint8_t *text;
};

#endif
