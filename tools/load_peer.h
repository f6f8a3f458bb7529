/* tools/load_peer.h -- a broker that is started for one run, and ended after it.
 *
 * Threads  one. Ends only the process that it started, by its number.
 */
#ifndef TOOLS_LOAD_PEER_H
#define TOOLS_LOAD_PEER_H

#include <stdio.h>
#include <sys/types.h>

#include "tools/load_plan.h"

/* A broker that runs. */
struct load_started {
    pid_t pid; /* 0: none */
    FILE *said;
};

/* Starts it on the processors `cpus` (0: any) and waits until its port on 127.0.0.1 takes
 * connections.  false: it does not, and why not was said to stderr. */
bool load_peer_start(struct load_started *s, const struct load_peer *peer, uint64_t cpus);
/* Asks it to end; after some seconds makes it.  false: it had ended by itself; what it said went to
 * stderr. */
bool load_peer_stop(struct load_started *s, const struct load_peer *peer);
/* Keeps the calling thread on these processors; 0: nothing is done. */
void load_pin_to(uint64_t cpus);
/* With --pin auto: the processors of brokers and load by those that there are, apart from three
 * on. false: there are too few. */
bool load_pin_choose(struct load_pin *pin, uint64_t available);
/* The processors that this process may use. */
uint64_t load_pin_available(void);

#endif
