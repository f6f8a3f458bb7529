/* tests/fuzz/fuzz_cfg.c -- any bytes as a configuration file.
 *
 * A file is either taken, and then what it makes keeps its promises, or refused with words.
 */
#include "cfg/describe.h"
#include "cfg/parse.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_limits(const struct limits *l)
{
    CHECK(l->packet_bytes > 0 && l->packet_bytes <= PACKET_BYTES_MAX);
    CHECK(l->connect_bytes > 0 && l->connect_bytes <= l->packet_bytes);
    CHECK(l->queued_bytes >= l->packet_bytes);
    CHECK(l->topic_levels > 0 && l->topic_levels <= TOPIC_LEVELS_MAX);
    CHECK(l->inflight > 0 && l->receive_maximum > 0 && l->queued_messages > 0);
    CHECK(l->memory_bytes > 0 && l->retained_bytes > 0);
    CHECK(l->max_qos <= 2);
    CHECK(l->share_policy < SHARE_POLICY_COUNT);
}

static void check_listeners(const struct cfg *cfg)
{
    CHECK(cfg->listener_count > 0 && cfg->listener_count <= LISTENERS_MAX);
    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        const struct cfg_listener *l = &cfg->listeners[i];

        CHECK(l->name && l->bind.text);
        CHECK(!l->bind.path == (l->bind.port != 0));
        if (l->bind.path)
            CHECK(l->bind.is_loopback && l->bind.path[0] == '/' &&
                  strlen(l->bind.path) <= CFG_SOCKET_PATH_MAX);
        CHECK(l->max_qos <= 2);
        CHECK((l->max_connection_rate.count == 0) == (l->max_connection_rate.period_ms == 0));
        CHECK(l->bind.is_loopback || l->allow_anonymous || l->methods.count ||
              cfg->auth.scram_file || l->identity != IDENTITY_NONE);
    }
}

static void check_links(const struct cfg *cfg)
{
    CHECK(cfg->link_count == 0 || cfg->cluster.name);
    for (uint32_t i = 0; i < cfg->link_count; i++) {
        const struct cfg_link *link = &cfg->links[i];

        CHECK(link->server_count > 0 || link->dialect != DIALECT_EMQX); /* it may be called */
        CHECK(link->clientid);
        CHECK(!link->transit || link->shared_groups != SHARED_GROUPS_GLOBAL);
        CHECK(strcmp(link->name, cfg->cluster.name) != 0);
        for (uint32_t t = 0; t < link->topic_count; t++)
            CHECK(topic_filter_valid(link->topics[t], cfg->limits.topic_levels));
    }
}

static void check_description(const struct cfg *cfg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    CHECK(to);
    cfg_describe(cfg, to);
    fclose(to);
    CHECK(n > 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cfg_errors errs;
    struct cfg *cfg;
    enum err err;

    cfg_errors_init(&errs);
    err = cfg_load_memory("f", bytes_of(data, n), &cfg, &errs);
    if (err == OK) {
        CHECK(errs.count == 0);
        check_limits(&cfg->limits);
        check_listeners(cfg);
        check_links(cfg);
        check_description(cfg);
        if (n && data[0] % 2 && cfg_apply_port(cfg, (uint16_t)(1 + data[0])) == OK)
            check_listeners(cfg);
    } else {
        CHECK(err == ERR_PEER && !cfg && errs.count > 0);
        for (uint32_t i = 0; i < errs.count; i++)
            CHECK(strncmp(errs.items[i].text, "f:", 2) == 0);
    }
    cfg_free(cfg);
    cfg_errors_fini(&errs);
    return 0;
}
