/* tests/sim/world.h -- one broker: its shards, and a fake kernel below them.
 *
 * The world does what the network side of the program does, in an order drawn from the seed: it
 * takes a worker, runs one phase of its turn, and lets bytes through in pieces of any size. A
 * `struct wire` is one connection: bytes go in at the client's end with wire_write, and come out
 * through the listener's functions. Several worlds can stand side by side; with world_create_linked
 * they have link workers, whose connections are wires as well, dialled instead of accepted.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "cfg/cfg.h"
#include "core/broker/shard.h"
#include "link/pulse.h"
#include "tests/sim/sim.h"

struct hub;
struct world;

enum wire_state {
    WIRE_ACCEPTED, /* at the accepting worker, CONNECT not whole or not sent home yet */
    WIRE_MOVING,   /* on its way home */
    WIRE_OPEN,     /* has a stream */
    WIRE_DIALING,  /* the broker opens it; has a stream that nothing is taken from yet */
    WIRE_GONE,
};

struct wire {
    uint32_t number; /* serves as its descriptor */
    void *line;      /* the client's end */
    uint32_t worker; /* where it is, or where it is going */
    enum wire_state state;
    /* towards the broker */
    uint8_t *in; /* written by the client, not yet taken by the broker */
    uint32_t in_count, in_capacity;
    uint32_t arrived;     /* of these, what the broker's side of the kernel has received */
    uint32_t offered;     /* of these, what the stream has seen and left */
    uint64_t taken;       /* bytes the broker took, from the first */
    uint64_t written;     /* bytes the client wrote, from the first */
    bool hung_up;         /* the client closed its end; what it wrote still arrives */
    bool reset;           /* the client is gone, and so is all that had not arrived */
    bool parked;          /* INPUT_PARKED: offer the same again */
    bool refuses;         /* INPUT_CLOSED: offer nothing more */
    struct handoff *away; /* waits for room to go home */
    /* towards the client */
    struct stream *stream;
    bool stalled;  /* the client does not read */
    bool sending;  /* the kernel has borrowed the front of the output */
    uint8_t *lent; /* a copy of what it borrowed: it must not change */
    uint32_t lent_count;
    bool is_ending;  /* the listener knows that the broker lets go of it */
    bool is_dialled; /* the broker opened it */
    bool is_answered, is_refused;
};

/* The clients' side is told of everything that can be seen. */
struct listener {
    void *ctx;
    /* The broker has taken the first `upto` bytes of this wire. */
    void (*taken)(void *ctx, struct wire *k, uint64_t upto);
    /* The broker could not take the next packet now; the same bytes are offered again. */
    void (*parked)(void *ctx, struct wire *k);
    /* The broker wants to close it, or saw that it is closed. Once. */
    void (*ending)(void *ctx, struct wire *k, enum close_reason why);
    /* Bytes reached the client. */
    void (*bytes)(void *ctx, struct wire *k, struct bytes b);
    /* It is closed; `k` is not used any more. */
    void (*closed)(void *ctx, struct wire *k, enum close_reason why);
};

/* A broker at rest with drawn limits and ring sizes; and its end, whatever is still connected. */
struct world *world_create(struct sim *sim, const struct listener *listener);
void world_destroy(struct world *w);

/* What makes a world one of several linked clusters. */
struct world_links {
    struct cfg *cfg; /* its name and links; the world draws the limits */
    void *ctx;
    /* The broker dials; somebody must say wire_answer. The wire's line is for who is told. */
    void (*dialled)(void *ctx, struct world *w, struct wire *k, uint16_t port);
    /* What became of what it wrote. */
    void (*written)(void *ctx, const struct wire *k, struct pulse_written *to);
};
/* A broker with one to four workers and one to three link workers, whose links dial at once. */
struct world *world_create_linked(struct sim *sim, const struct listener *listener,
                                  const struct world_links *links);
/* The network's answer to a dial. */
void wire_answer(struct wire *k, bool is_accepted);
/* Its links say good-bye and dial no more: what comes first when a broker stops. */
void world_stop_links(struct world *w);
/* The links of a link worker (0, 1, ...); NULL: there are no more link workers. */
struct hub *world_hub(struct world *w, uint32_t number);
/* What a reload does: from now on these are its links, by number, of which copies are kept. Each
 * worker takes them over in a turn of its own. */
void world_set_links(struct world *w, const struct cfg_link *const links[LINKS_MAX]);
/* Whether all workers have, and the links are what they are to be. */
bool world_has_links(const struct world *w);

/* The ACL of all workers, in words of its file; NULL: none. */
void world_set_acl(struct world *w, const char *text);

/* What was drawn. */
uint32_t world_workers(const struct world *w);
const struct limits *world_limits(const struct world *w);

/* A client connects, at an accepting worker drawn from the seed. */
struct wire *wire_open(struct world *w, void *line);
/* The client writes. */
void wire_write(struct world *w, struct wire *k, const void *p, uint32_t n);
/* The client closes its end: with `reset` at once, else after what it wrote. */
void wire_hang_up(struct world *w, struct wire *k, bool reset);

/* Runs `steps` phases of workers that may run. false: none may. */
bool world_run(struct world *w, uint32_t steps);
/* Runs every worker to the end of its turn: turns are short, whatever happens between them. */
void world_end_turns(struct world *w);
/* Runs until nothing moves any more, but for those who wait for room in a link: that may take other
 * worlds. false: it still moves after very many steps. */
bool world_rest(struct world *w);
/* Whether somebody does. */
bool world_is_parked(const struct world *w);
/* A count that grows with everything that can be seen of it: bytes, connections, their ends. */
uint64_t world_busy(const struct world *w);
/* At rest: makes every worker look once more. Whatever moves then had been slept over. */
void world_poke(struct world *w);
/* The moment of the next timer of any sleeping worker; NEVER: none. */
uint64_t world_next_timer(const struct world *w);

/* The time a wire's worker was told for its present turn, and the time up to which it has
 * certainly fired its timers. */
uint64_t wire_now(const struct world *w, const struct wire *k);
uint64_t world_timers_ran(const struct world *w, uint32_t worker);

/* Its process, for those who look inside. */
struct cluster_state *world_cluster(struct world *w);

/* The sum of a gauge over all workers; `offset` is its place in struct stats. */
uint64_t world_stat(struct world *w, uint64_t offset);
#define WORLD_STAT(w, name) world_stat((w), offsetof(struct stats, name))

#endif
