/* link/waiting.h -- packets of remote clusters that cannot be taken yet, by the client they are of.
 *
 * Each client, told by its id, has a queue of its own, so that its order stays, also over a
 * reconnect, and nobody waits behind another's packets. The clients stand in a row; whoever was
 * served goes to its end.
 *
 * Threads  the link worker.
 * Memory   a copy of each packet, counted against memory_limit. Bounded for each client and in all;
 *          the first packet of a client, and the first of all, is taken whatever its size.
 */
#ifndef LINK_WAITING_H
#define LINK_WAITING_H

#include "core/base/table.h"
#include "link/host.h"

/* Packets of one client, unless they are counted in a sum, and bytes of one client. Beyond: the
 * receiver disconnects it (0x97). */
#define WAITING_PACKETS_MAX 1000u
#define WAITING_BYTES_MAX (8u << 20)
/* Bytes of all clients. Beyond: the receiver disconnects the client that has most of them. */
#define WAITING_ALL_BYTES_MAX (64u << 20)

/* What waits of many clients together. Whoever keeps it knows how to make them send less, so that
 * only few more come, which were on their way. */
struct waiting_sum {
    uint32_t count;
    uint64_t bytes;
};

struct waiting_packet;

struct waiting_client {
    struct table_node node;
    struct waiting_client *prev, *next; /* in the row */
    struct waiting_packet *first, **last;
    uint32_t count;
    uint64_t bytes;
    bool lacks_room; /* its first packet waits for room, not for its turn to be unpacked */
    uint32_t id_n;
    uint8_t id[];
};

struct waiting {
    struct link_host *host;
    struct table clients; /* by id */
    struct waiting_client *first, *last;
    uint64_t bytes;
};

/* Nobody waits. */
void waiting_init(struct waiting *w, struct link_host *host);
/* Drops all that waits. */
void waiting_fini(struct waiting *w);

/* The client of that id; NULL: nothing of it waits. */
struct waiting_client *waiting_of(const struct waiting *w, struct bytes client_id);

/* Whether all that waits would be too much with this packet. Never when nothing waits. */
bool waiting_is_full(const struct waiting *w, const struct link_packet *packet);
/* Copies a packet to the end of its client's queue, and counts it in a sum that outlives it there;
 * NULL: in none. ERR_FULL: the client has as many as it may. ERR_MEMORY: there is none, or
 * memory_limit is reached. Nothing was changed then. */
MUST_USE enum err waiting_put(struct waiting *w, const struct link_packet *packet,
                              struct waiting_sum *sum);

/* The packet that waits longest, and the one that came last; valid until it is popped. */
const struct link_packet *waiting_front(const struct waiting_client *c);
const struct link_packet *waiting_back(const struct waiting_client *c);
/* In which sum the former is counted, or NULL. */
struct waiting_sum *waiting_front_sum(const struct waiting_client *c);
/* Drops the packet that waits longest. Returns `c`, or NULL when that was its last one and it is
 * forgotten. */
struct waiting_client *waiting_pop(struct waiting *w, struct waiting_client *c);

/* Puts a client to the end of the row. */
void waiting_to_end(struct waiting *w, struct waiting_client *c);
/* Who has most bytes; NULL: nobody waits. Linear in the clients. */
struct waiting_client *waiting_largest(const struct waiting *w);

#endif
