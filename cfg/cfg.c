/* cfg/cfg.c -- what the command line changes in a configuration. */
#include "cfg/cfg.h"

#include "cfg/text.h"
#include "cfg/value.h"

/* The next free listener, made like the built-in one. */
static struct cfg_listener *add_listener(struct cfg *cfg)
{
    struct cfg_listener *listener = &cfg->listeners[cfg->listener_count++];

    *listener = (struct cfg_listener){
        .name = "command-line",
        .allow_anonymous = cfg->auth.allow_anonymous,
        .methods = cfg->auth.methods,
        .set_tcp_nodelay = true,
        .max_qos = 2,
        .links = LINKS_ON,
    };
    return listener;
}

enum err cfg_apply_port(struct cfg *cfg, uint16_t port)
{
    struct cfg_address address = {
        .ip = {127, 0, 0, 1}, .port = port, .is_v6 = false, .is_loopback = true};
    struct cfg_listener *listener;
    char text[VALUE_PRINT_BYTES];

    if (port == 0)
        return ERR_PEER;
    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        if (value_addresses_meet(&cfg->listeners[i].bind, &address))
            return cfg->listeners[i].links == LINKS_ONLY ? ERR_PEER : OK;
    }
    if (!cfg->has_default_listener && cfg->listener_count == LISTENERS_MAX)
        return ERR_FULL;
    value_print_address(text, &address);
    address.text = cfg_copy(cfg, text);
    if (!address.text)
        return ERR_MEMORY;
    listener = cfg->has_default_listener ? &cfg->listeners[0] : add_listener(cfg);
    listener->bind = address;
    return OK;
}
