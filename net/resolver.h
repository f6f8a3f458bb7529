/* net/resolver.h -- host names looked up without making a worker wait.
 *
 * getaddrinfo(3) blocks, so one thread does it for all; the answer is put on the worker's list and
 * its eventfd is written. Numeric addresses never come here. Nothing is remembered: each dial asks
 * anew.
 *
 * Threads  create, destroy: main.  resolver_ask: any worker.
 * Memory   a struct dial belongs to whoever has it: worker, resolver, then the worker again.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct conn;
struct resolver;
struct worker;

/* Addresses of one name that are tried in turn. Beyond: not tried. */
#define DIAL_ADDRESSES_MAX 8
#define DIAL_HOST_BYTES 256

union dial_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* One attempt to reach a host. */
struct dial {
    struct dial *next;
    struct worker *worker;
    struct conn *conn; /* worker only; NULL: nobody waits any more */
    uint32_t timeout_ms;
    uint32_t count, idx; /* addresses found, how many were tried */
    uint32_t first;      /* where to begin among them; beyond count: around */
    union dial_address addresses[DIAL_ADDRESSES_MAX];
    int error;     /* of getaddrinfo; 0: none */
    bool is_asked; /* on its way through the resolver */
    uint16_t port;
    char host[DIAL_HOST_BYTES];
};

/* Starts the thread.  NULL: errno says why. */
struct resolver *resolver_create(void);
/* Ends it; a look-up under way is not waited for longer than a second (then its memory is left to
 * the end of the process).  NULL is fine. */
void resolver_destroy(struct resolver *r);
/* Fills in the addresses if the host is a numeric one.  Any thread. */
bool resolver_numeric(struct dial *d);
/* Hands `d` over; it comes back through worker->answers. */
void resolver_ask(struct resolver *r, struct dial *d);

#endif
