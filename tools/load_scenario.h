/* tools/load_scenario.h -- who publishes what to whom: one table.
 *
 * Publisher i publishes to PREFIX/i. What varies is how many publishers and subscribers there are
 * and which publishers a subscriber hears; everything else of a scenario follows from that. The
 * scenarios that are not about messages have an act of their own (tools/load_act.h).
 */
#ifndef TOOLS_LOAD_SCENARIO_H
#define TOOLS_LOAD_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

/* What a run does between connecting and leaving. */
enum load_kind {
    LOAD_MESSAGES,  /* publishers publish, subscribers receive */
    LOAD_SILENCE,   /* nothing */
    LOAD_RAMP,      /* clients connect and disconnect */
    LOAD_RECONNECT, /* all clients are cut off and come back, again and again */
    LOAD_SUBSCRIBE, /* clients subscribe to many topics */
    LOAD_RETAINED,  /* clients subscribe to retained messages, again and again */
    LOAD_ROUTES,    /* a subscription at one place, and when a publisher at another is heard */
};

struct load_scenario {
    const char *name;
    const char *aliases; /* separated by blanks */
    const char *what;
    const char *unit; /* what is counted, and the broker's time is divided by */
    enum load_kind kind;
    uint32_t clients_default;
    uint32_t topics_default; /* topics of each client, or of all; 0: --topics has no meaning */
    bool has_one_publisher;
    bool has_one_subscriber;
    bool has_no_subscriber;
    bool is_shared;   /* all subscribers are one group: each message reaches one of them */
    bool is_answered; /* each subscriber answers, and the publisher receives that (MQTT 5) */
    bool is_far;      /* --subscribe-at is needed */
    bool is_checked;  /* a client both publishes and subscribes; at the end each gets one message */
};

/* The table; ends with an entry without a name. */
extern const struct load_scenario load_scenarios[];

/* The scenario with that name or alias, or NULL. */
const struct load_scenario *load_scenario_find(const char *name);

/* Publishers and subscribers of a scenario with `clients` clients on its wide side. */
uint32_t load_scenario_publishers(const struct load_scenario *s, uint32_t clients);
uint32_t load_scenario_subscribers(const struct load_scenario *s, uint32_t clients);
/* Connections of both. */
uint32_t load_scenario_connections(const struct load_scenario *s, uint32_t clients);
/* How many subscribers get one message. */
uint32_t load_scenario_copies(const struct load_scenario *s, uint32_t clients);
/* The publishers that subscriber `idx` hears: [*first, *first + the result). */
uint32_t load_scenario_heard(const struct load_scenario *s, uint32_t clients, uint32_t idx,
                             uint32_t *first);

#endif
