/* tools/load_scenario.c -- who publishes what to whom: one table.
 *
 * Aliases are the names that emqtt-bench (conn, pub, sub) and the open MQTT benchmark suite (conn,
 * fanin, fanout, p2p) have for the same thing.
 */
#include "tools/load_scenario.h"

#include <stddef.h>
#include <string.h>

const struct load_scenario load_scenarios[] = {
    {
        .name = "point-to-point",
        .aliases = "p2p",
        .what = "each of N publishers has a topic and one subscriber of its own",
        .unit = "messages",
        .clients_default = 10,
    },
    {
        .name = "fan-out",
        .aliases = "fanout",
        .what = "one publisher, N subscribers of its topic",
        .unit = "messages",
        .clients_default = 100,
        .has_one_publisher = true,
    },
    {
        .name = "fan-in",
        .aliases = "fanin",
        .what = "N publishers, each with its topic, one subscriber of all",
        .unit = "messages",
        .clients_default = 100,
        .has_one_subscriber = true,
    },
    {
        .name = "shared",
        .aliases = "shared-subscription share",
        .what = "N publishers, N subscribers in one shared group",
        .unit = "messages",
        .clients_default = 10,
        .is_shared = true,
    },
    {
        .name = "publish",
        .aliases = "pub",
        .what = "N publishers, each with its topic, and nobody subscribed",
        .unit = "messages",
        .clients_default = 100,
        .has_no_subscriber = true,
    },
    {
        .name = "request-response",
        .aliases = "request rpc",
        .what = "N clients ask, each a client of its own, and get answers (MQTT 5)",
        .unit = "answers",
        .clients_default = 10,
        .is_answered = true,
    },
    {
        .name = "link",
        .aliases = "bridge",
        .what = "as point-to-point, with the subscribers --subscribe-at another broker",
        .unit = "messages",
        .clients_default = 10,
        .is_far = true,
    },
    {
        .name = "routes",
        .aliases = "link-routes",
        .what = "N times: how soon after SUBACK, there or here, a message published here arrives",
        .unit = "subscriptions",
        .kind = LOAD_ROUTES,
        .clients_default = 1,
    },
    {
        .name = "retained",
        .aliases = "",
        .what = "N clients subscribe to --topics retained messages, and unsubscribe, in turn",
        .unit = "messages",
        .kind = LOAD_RETAINED,
        .clients_default = 10,
        .topics_default = 1000,
        .has_one_publisher = true,
    },
    {
        .name = "hold",
        .aliases = "conn",
        .what = "N clients, each subscribed to a topic of its own, stay connected and silent",
        .unit = "messages",
        .kind = LOAD_SILENCE,
        .clients_default = 1000,
        .is_checked = true,
    },
    {
        .name = "ramp",
        .aliases = "connect conn-rate",
        .what = "N at a time, clients connect and disconnect",
        .unit = "connections",
        .kind = LOAD_RAMP,
        .clients_default = 100,
        .has_no_subscriber = true,
    },
    {
        .name = "reconnect",
        .aliases = "reconnect-storm",
        .what = "N subscribed clients lose their connections at once and come back, in turn",
        .unit = "connections",
        .kind = LOAD_RECONNECT,
        .clients_default = 1000,
        .is_checked = true,
    },
    {
        .name = "subscribe",
        .aliases = "sub subscribe-storm",
        .what = "N clients subscribe to --topics topics each",
        .unit = "subscriptions",
        .kind = LOAD_SUBSCRIBE,
        .clients_default = 100,
        .topics_default = 1000,
        .is_checked = true,
    },
    {0},
};

/* Whether `name` is a word of the list. */
static bool is_among(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = list; n > 0 && (p = strstr(p, name)) != NULL; p++) {
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    }
    return false;
}

const struct load_scenario *load_scenario_find(const char *name)
{
    for (const struct load_scenario *s = load_scenarios; s->name; s++) {
        if (strcmp(s->name, name) == 0 || is_among(s->aliases, name))
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
    if (s->has_no_subscriber)
        return 0;
    return s->has_one_subscriber ? 1 : clients;
}

uint32_t load_scenario_connections(const struct load_scenario *s, uint32_t clients)
{
    if (s->is_checked)
        return clients;
    return load_scenario_publishers(s, clients) + load_scenario_subscribers(s, clients);
}

uint32_t load_scenario_copies(const struct load_scenario *s, uint32_t clients)
{
    if (s->has_no_subscriber)
        return 0;
    return s->has_one_publisher ? clients : 1;
}

uint32_t load_scenario_heard(const struct load_scenario *s, uint32_t clients, uint32_t idx,
                             uint32_t *first)
{
    bool is_all = s->has_one_subscriber || s->is_shared;

    *first = s->has_one_publisher || is_all ? 0 : idx;
    return is_all ? clients : 1;
}
