/* link/greeter.h -- introduces us to a broker of ours that has called us.
 *
 * A link without a server dials nobody: it waits to be called. The connection on which the other
 * side has introduced itself then carries our introduction too: HELLO goes behind the answer to
 * theirs, WELCOME comes back, and our routes follow (link/route_stream.h). Where the other side
 * knows a later incarnation of ours, from before our clock was set back, it says which, and the
 * next HELLO has one that is later still: once on a connection, or the two might go on for ever.
 * One far ahead of our clock that nobody takes is given up with the connection.
 *
 * Threads  the link worker.
 */
#ifndef LINK_GREETER_H
#define LINK_GREETER_H

#include "link/channel.h"
#include "link/native.h"

struct greeter {
    struct link_host *host;
    const char *link;       /* its name */
    struct channel channel; /* none: nobody has called, or that connection is gone */
    uint64_t incarnation;   /* 0: none yet */
    bool offers_groups;     /* to name our shared groups: the owner's to say */
    bool is_due;            /* HELLO */
    bool is_raised;         /* the incarnation, on this connection */
    bool is_online;         /* WELCOME has come */
};

/* Nobody has called. */
void greeter_init(struct greeter *g, struct link_host *host, const char *link);
/* Begins a life of ours, as announcer_start does. */
void greeter_start(struct greeter *g);
/* They have introduced themselves on this connection, instead of the one before. */
void greeter_open(struct greeter *g, const struct channel *channel);
/* A connection is gone. Whether it was this one. */
bool greeter_gone(struct greeter *g, const struct channel *channel);

/* Says HELLO if it is due: once per turn. */
void greeter_run(struct greeter *g);
/* A WELCOME came. Whether we are online now, and were not before. */
bool greeter_take(struct greeter *g, const struct channel *from, const struct native_frame *f);

#endif
