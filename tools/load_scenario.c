/* tools/load_scenario.c -- who publishes what to whom: one table. */
#include "tools/load_scenario.h"

#include <stddef.h>
#include <string.h>

const struct load_scenario load_scenarios[] = {
    {
        .name = "point-to-point",
        .alias = "p2p",
        .what = "each of N publishers has a topic and one subscriber of its own",
        .clients_default = 10,
    },
    {
        .name = "fan-out",
        .what = "one publisher, N subscribers of its topic",
        .clients_default = 100,
        .has_one_publisher = true,
    },
    {
        .name = "fan-in",
        .what = "N publishers, each with its topic, one subscriber of all",
        .clients_default = 100,
        .has_one_subscriber = true,
    },
    {
        .name = "hold",
        .what = "N clients, each subscribed to a topic of its own, stay connected and silent",
        .clients_default = 1000,
        .is_hold = true,
    },
    {0},
};

const struct load_scenario *load_scenario_find(const char *name)
{
    for (const struct load_scenario *s = load_scenarios; s->name; s++) {
        if (strcmp(s->name, name) == 0 || (s->alias && strcmp(s->alias, name) == 0))
            return s;
    }
    return NULL;
}

uint32_t load_scenario_publishers(const struct load_scenario *s, uint32_t clients)
{
    return s->has_one_publisher ? 1 : clients;
}

uint32_t load_scenario_subscribers(const struct load_scenario *s, uint32_t clients)
{
    return s->has_one_subscriber ? 1 : clients;
}

uint32_t load_scenario_connections(const struct load_scenario *s, uint32_t clients)
{
    if (s->is_hold)
        return clients;
    return load_scenario_publishers(s, clients) + load_scenario_subscribers(s, clients);
}

uint32_t load_scenario_copies(const struct load_scenario *s, uint32_t clients)
{
    return s->has_one_publisher ? clients : 1;
}

uint32_t load_scenario_heard(const struct load_scenario *s, uint32_t clients, uint32_t idx,
                             uint32_t *first)
{
    *first = s->has_one_publisher || s->has_one_subscriber ? 0 : idx;
    return s->has_one_subscriber ? clients : 1;
}
