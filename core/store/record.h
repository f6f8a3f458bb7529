/* core/store/record.h -- what must survive a restart, as typed records, and when it is safe.
 *
 * The one narrow way from the broker to whatever keeps state: put a record, get a ticket, and
 * answer the peer only when the ticket is committed. Tickets of one worker commit in order. The
 * store that keeps nothing commits at the end of the turn, so acknowledgements leave with the send
 * of that turn.
 *
 * Records name client ids, topics and wall-clock times, never workers or ticks.
 *
 * Threads  a store belongs to one worker.
 * Memory   all views are borrowed for the call.
 */
#ifndef CORE_STORE_RECORD_H
#define CORE_STORE_RECORD_H

#include "core/base/bytes.h"
#include "core/mqtt/message.h"

enum record_kind {
    RECORD_SESSION,      /* put: exists, with its expiry; delete: it ended */
    RECORD_SUBSCRIPTION, /* of a session: filter and options */
    RECORD_PUBLISH,      /* a QoS 1 or 2 message was accepted from a publisher */
    RECORD_RECEIVED,     /* incoming QoS 2 packet id is known; delete: released by PUBREL */
    RECORD_QUEUED,       /* a message waits for a session; delete: it is no longer owed */
    RECORD_INFLIGHT,     /* an outgoing QoS 2 packet id is in use, and its state */
    RECORD_RETAINED,     /* by topic; delete: removed */
    RECORD_WILL,         /* of a session */
    RECORD_KIND_COUNT
};

enum record_state { RECORD_SENT, RECORD_RECEIVED_BY_PEER };

struct record {
    enum record_kind kind;
    bool is_delete;
    struct bytes client_id; /* empty for RECORD_RETAINED */
    struct bytes filter;    /* subscription, with its share prefix */
    uint8_t options;        /* subscription */
    uint32_t subscription_id;
    uint32_t session_expiry; /* session, seconds */
    uint16_t packet_id;      /* received, in flight, queued once sent */
    enum record_state state;
    uint32_t will_delay;           /* will, seconds */
    const struct publish *publish; /* publish, queued, retained, will; NULL with delete */
};

typedef uint64_t store_ticket;

struct store_ops {
    /* Takes a record; it is safe when committed() has reached the ticket. Never blocks. */
    store_ticket (*put)(void *store, const struct record *r);
    /* The newest ticket that is safe. */
    store_ticket (*committed)(void *store);
    /* The turn is over: what was put may be written now. */
    void (*end_turn)(void *store);
};

struct store {
    const struct store_ops *ops;
    void *self;
    bool keeps; /* false: records are not looked at, only counted; they need not be put at all */
};

/* The store that keeps nothing. `self` of it is this counter pair. */
struct store_nothing {
    store_ticket last, safe;
};
void store_nothing_init(struct store *s, struct store_nothing *self);

/* Puts one record; see struct store_ops. */
static inline store_ticket store_put(struct store *s, const struct record *r)
{
    return s->ops->put(s->self, r);
}

#endif
