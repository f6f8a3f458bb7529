/* tools/load_scenario.h -- who publishes what to whom: one table.
 *
 * Publisher i publishes to PREFIX/i. What varies is how many publishers and subscribers there are
 * and which publishers a subscriber hears; everything else of a scenario follows from that.
 */
#ifndef TOOLS_LOAD_SCENARIO_H
#define TOOLS_LOAD_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

struct load_scenario {
    const char *name;
    const char *alias; /* may be NULL */
    const char *what;
    uint32_t clients_default;
    bool has_one_publisher;
    bool has_one_subscriber;
    bool is_hold; /* every client publishes to itself, and only after the time of silence */
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
