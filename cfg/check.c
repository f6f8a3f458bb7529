/* cfg/check.c -- does the configuration hold together as a whole?
 *
 * A number that was refused when it was read is 0 here, since no number that stands in its range
 * is, and the relations it has with others are left alone: one mistake is one line.
 */
#include "cfg/check.h"

#include "cfg/check_auth.h"
#include "cfg/check_link.h"
#include "cfg/text.h"
#include "cfg/value.h"
#include "core/mqtt/topic.h"
#include "core/policy/mount.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

/* Bytes of a mount point that stand in a message. */
#define SHOWN_BYTES 80
/* memory_limit = auto where the machine does not say how much it has. */
#define MEMORY_FALLBACK (1ull << 30)
#define MEMORY_LEAST (16ull << 20)

/* ---- listeners ---- */

/* Puts the address of a listener together. False, and reported: there is none, or it has two. */
static bool finish_address(struct draft *draft, struct draft_section *s,
                           struct cfg_listener *listener)
{
    uint32_t bind_line = draft_line(s, "bind");
    uint32_t port_line = draft_line(s, "port"), address_line = draft_line(s, "address");
    uint32_t other_line = port_line ? port_line : address_line;
    char text[VALUE_PRINT_BYTES];

    if (bind_line && other_line) {
        draft_error(draft, other_line,
                    "%s cannot stand beside bind (line %u); right would be "
                    "bind = ADDRESS:PORT alone",
                    port_line ? "port" : "address", bind_line);
        return false;
    }
    if (!bind_line && !other_line) {
        draft_error(draft, s->line,
                    "[listener %.80s] does not say where to listen; right would "
                    "be bind = 127.0.0.1:1883",
                    s->name);
        return false;
    }
    if (bind_line) {
        listener->bind = s->bind;
        if (listener->bind.path)
            return true;
    } else if (address_line && s->address.port == 0) {
        return false; /* the address was refused */
    } else {
        struct cfg_address loopback = {.ip = {127, 0, 0, 1}, .is_loopback = true};

        listener->bind = address_line ? s->address : loopback;
        listener->bind.port = port_line ? s->port : MQTT_PORT_DEFAULT;
    }
    if (listener->bind.port == 0)
        return false;
    value_print_address(text, &listener->bind);
    listener->bind.text = cfg_copy(draft->cfg, text);
    if (!listener->bind.text)
        draft->is_out_of_memory = true;
    return listener->bind.text != NULL;
}

/* Whether clients of the listener can prove who they are. */
static bool has_authentication(const struct cfg *cfg, const struct cfg_listener *listener)
{
    return listener->methods.count || cfg->auth.scram_file || listener->identity != IDENTITY_NONE;
}

/* Open to other machines only with authentication, or where it is written. */
static void check_exposure(struct draft *draft, const struct draft_section *s,
                           const struct cfg_listener *listener, uint32_t address_line)
{
    bool has_balancer = listener->proxy != CFG_PROXY_NO;

    if (cfg_listener_is_local(listener) || has_authentication(draft->cfg, listener) ||
        (draft_line(s, "allow_anonymous") && listener->allow_anonymous))
        return;
    draft_error(draft, address_line,
                "[listener %.80s] is open to other machines (%s%s) without authentication; write "
                "password_file, jwt_key_file or http_auth_url in [auth], or allow_anonymous = true "
                "in it to let everybody in%s",
                s->name, listener->bind.text, has_balancer ? ", behind a balancer" : "",
                has_balancer ? "" : ", or bind it to 127.0.0.1");
}

/* ---- TLS ---- */

void check_needs(struct draft *draft, const struct draft_section *s, const char *name,
                 bool has_other, const char *other)
{
    if (draft_line(s, name) && !has_other)
        draft_error(draft, draft_line(s, name), "%s needs %s; right would be both, or neither",
                    name, other);
}

void check_tls_files(struct draft *draft, const struct draft_section *s, const struct cfg_tls *tls)
{
    bool has_ca = tls->cafile || tls->capath;

    check_needs(draft, s, "certfile", tls->keyfile, "keyfile");
    check_needs(draft, s, "keyfile", tls->certfile, "certfile");
    check_needs(draft, s, "crlfile", has_ca, "cafile");
}

static void finish_listener_tls(struct draft *draft, struct draft_section *s,
                                struct cfg_listener *listener)
{
    static const char *const of_tls[] = {"cafile", "capath", "ciphers", "ciphers_tls1.3",
                                         "tls_version"};
    struct cfg_tls *tls = &listener->tls;
    bool has_identity = tls->require_certificate || tls->psk_file ||
                        (listener->proxy != CFG_PROXY_NO && !tls->certfile);

    tls->is_on = tls->certfile || tls->keyfile || tls->psk_file;
    check_tls_files(draft, s, tls);
    for (size_t i = 0; i < sizeof(of_tls) / sizeof(of_tls[0]); i++)
        check_needs(draft, s, of_tls[i], tls->is_on, "certfile and keyfile");
    check_needs(draft, s, "ocsp_file", tls->certfile, "certfile and keyfile");
    check_needs(draft, s, "psk_hint", tls->psk_file, "psk_file");
    if (tls->psk_file && tls->certfile)
        draft_error(
            draft, draft_line(s, "psk_file"),
            "psk_file cannot stand beside certfile (line %u); right would be a listener for "
            "each",
            draft_line(s, "certfile"));
    if (tls->require_certificate)
        check_needs(draft, s, "require_certificate", tls->is_on && (tls->cafile || tls->capath),
                    "cafile");
    if (listener->use_identity_as_username && listener->use_subject_as_username)
        draft_error(draft, draft_line(s, "use_subject_as_username"),
                    "use_subject_as_username cannot stand beside use_identity_as_username "
                    "(line %u); keep one of them",
                    draft_line(s, "use_identity_as_username"));
    if (listener->use_identity_as_username) {
        check_needs(draft, s, "use_identity_as_username", has_identity,
                    "require_certificate, psk_file or proxy_protocol");
        listener->identity = IDENTITY_COMMON_NAME;
    } else if (listener->use_subject_as_username) {
        check_needs(draft, s, "use_subject_as_username", tls->require_certificate,
                    "require_certificate");
        listener->identity = IDENTITY_SUBJECT;
    }
}

static void finish_networks(struct draft *draft, const struct draft_section *s,
                            struct cfg_listener *listener)
{
    const char *why;

    check_needs(draft, s, "proxy_trusted", listener->proxy != CFG_PROXY_NO, "proxy_protocol");
    if (!draft_line(s, "proxy_trusted") &&
        cidr_add(&listener->proxy_trusted, BYTES_LIT("localhost"), &why) != OK)
        draft->is_out_of_memory = true;
    cidr_seal(&listener->proxy_trusted);
    cidr_seal(&listener->networks.allow);
    cidr_seal(&listener->networks.deny);
}

static void check_websockets(struct draft *draft, const struct draft_section *s,
                             const struct cfg_listener *listener)
{
    static const char *const keys_of[] = {"websockets_path", "websockets_origin",
                                          "websockets_headers_size"};

    for (size_t i = 0; i < sizeof(keys_of) / sizeof(keys_of[0]); i++)
        check_needs(draft, s, keys_of[i], listener->protocol == PROTOCOL_WEBSOCKETS,
                    "protocol = websockets");
    if (listener->websockets_path && listener->websockets_path[0] != '/')
        draft_error(draft, draft_line(s, "websockets_path"),
                    "websockets_path = %.80s does not begin with /; right would be /%.80s",
                    listener->websockets_path, listener->websockets_path);
}

static uint32_t address_line_of(const struct draft_section *s)
{
    uint32_t line = draft_line(s, "bind");

    if (!line)
        line = draft_line(s, "address");
    return line ? line : draft_line(s, "port");
}

/* The number of a user or group: digits, or a name that the system knows. */
static uint32_t id_of(struct draft *draft, const struct draft_section *s, const char *key,
                      const char *name)
{
    bool is_user = strcmp(key, "socket_owner") == 0;
    const struct passwd *user;
    const struct group *group;
    uint64_t number;

    if (!name)
        return UINT32_MAX;
    if (value_number(name, &number) == OK && number < UINT32_MAX)
        return (uint32_t)number;
    user = is_user ? getpwnam(name) : NULL;
    group = is_user ? NULL : getgrnam(name);
    if (user)
        return user->pw_uid;
    if (group)
        return group->gr_gid;
    draft_error(draft, draft_line(s, key),
                "%s = %.80s is not known to this system; right would be "
                "a name of getent %s, or a number",
                key, name, is_user ? "passwd" : "group");
    return UINT32_MAX;
}

/* What only a Unix socket has, and what it does not have. */
static void finish_socket(struct draft *draft, const struct draft_section *s,
                          struct cfg_listener *listener)
{
    static const char *const its_own[] = {"socket_mode", "socket_owner", "socket_group"};
    static const char *const not_its[] = {"allow",    "deny",     "proxy_trusted",
                                          "certfile", "psk_file", "set_tcp_nodelay"};
    const char *path = listener->bind.path;

    for (size_t i = 0; i < sizeof(its_own) / sizeof(its_own[0]); i++)
        check_needs(draft, s, its_own[i], path, "bind = unix:/PATH");
    for (size_t i = 0; path && i < sizeof(not_its) / sizeof(not_its[0]); i++) {
        if (draft_line(s, not_its[i]))
            draft_error(draft, draft_line(s, not_its[i]),
                        "%s does not apply to a Unix socket (line %u); its socket_mode says who "
                        "may connect",
                        not_its[i], draft_line(s, "bind"));
    }
    listener->socket_uid = id_of(draft, s, "socket_owner", listener->socket_owner);
    listener->socket_gid = id_of(draft, s, "socket_group", listener->socket_group);
}

static void check_versions(struct draft *draft, const struct draft_section *s,
                           const struct cfg_listener *listener)
{
    if (listener->links == LINKS_ONLY && listener->versions && !(listener->versions & CFG_MQTT_5))
        draft_error(draft, draft_line(s, "protocol_versions"),
                    "protocol_versions has no 5, but all that comes here are links, which speak "
                    "it; leave protocol_versions out");
}

/* The mount point is one that clients can live below; links cannot, they have whole topics. */
static void check_mount_point(struct draft *draft, const struct draft_section *s,
                              const struct cfg_listener *listener)
{
    const char *fault =
        listener->mount_point ? mount_fault(bytes_str(listener->mount_point)) : NULL;
    uint32_t levels = draft->cfg->limits.topic_levels, line = draft_line(s, "mount_point");

    if (fault)
        draft_error(draft, line,
                    "mount_point = %.*s is not possible: %s; right would be as in tenants/%%u/, at "
                    "most %u bytes",
                    SHOWN_BYTES, listener->mount_point, fault, MOUNT_BYTES_MAX);
    else if (listener->mount_point && !topic_name_valid(bytes_str(listener->mount_point),
                                                        levels ? levels : TOPIC_LEVELS_DEFAULT))
        draft_error(
            draft, line,
            "mount_point = %.*s leaves no level for topics; right would be fewer levels, or "
            "a larger max_topic_levels",
            SHOWN_BYTES, listener->mount_point);
    if (listener->mount_point && draft_line(s, "links") && listener->links != LINKS_NO)
        draft_error(draft, draft_line(s, "links"),
                    "links cannot stand beside mount_point (line %u): links have whole topics; "
                    "right would be a listener for each",
                    line);
}

static void finish_listener(struct draft *draft, struct draft_section *s)
{
    struct cfg_listener *listener = s->object;

    check_versions(draft, s, listener);
    check_mount_point(draft, s, listener);
    finish_listener_tls(draft, s, listener);
    check_listener_methods(draft, s, listener);
    finish_networks(draft, s, listener);
    check_websockets(draft, s, listener);
    if (!finish_address(draft, s, listener)) {
        listener->bind.port = 0;
        return;
    }
    finish_socket(draft, s, listener);
    if (!draft_line(s, "allow_anonymous"))
        listener->allow_anonymous = draft->cfg->auth.allow_anonymous &&
                                    cfg_listener_is_local(listener) &&
                                    listener->identity == IDENTITY_NONE;
    if (!draft_line(s, "links"))
        listener->links =
            cfg_listener_is_local(listener) && !listener->mount_point ? LINKS_ON : LINKS_NO;
    check_exposure(draft, s, listener, address_line_of(s));
}

/* Whether it has an address that was not refused. */
static bool has_address(const struct cfg_listener *listener)
{
    return listener->bind.port || listener->bind.path;
}

static void check_no_address_twice(struct draft *draft, uint32_t idx)
{
    const struct draft_section *s = &draft->sections[idx];
    const struct cfg_listener *listener = s->object;

    for (uint32_t i = 0; i < idx; i++) {
        const struct draft_section *other = &draft->sections[i];
        const struct cfg_listener *first = other->object;

        if (other->kind != SECTION_LISTENER || !has_address(first) || !has_address(listener) ||
            !value_addresses_meet(&first->bind, &listener->bind))
            continue;
        draft_error(draft, address_line_of(s),
                    "[listener %.80s] on %s takes the address of "
                    "[listener %.80s] in line %u (%s); give one of them another %s",
                    s->name, listener->bind.text, other->name, address_line_of(other),
                    first->bind.text, listener->bind.path ? "path" : "port");
        return;
    }
}

static void add_default_listener(struct draft *draft)
{
    struct cfg *cfg = draft->cfg;

    cfg->has_default_listener = true;
    cfg->listener_count = 1;
    cfg->listeners[0] = (struct cfg_listener){
        .name = "default",
        .bind = {.ip = {127, 0, 0, 1}, .port = MQTT_PORT_DEFAULT, .is_loopback = true},
        .allow_anonymous = cfg->auth.allow_anonymous,
        .methods = cfg->auth.methods,
        .set_tcp_nodelay = true,
        .max_qos = 2,
        .links = LINKS_ON,
    };
    cfg->listeners[0].bind.text = cfg_copy(cfg, "127.0.0.1:1883");
    if (!cfg->listeners[0].bind.text)
        draft->is_out_of_memory = true;
}

/* ---- bounds ---- */

static void set_memory(struct limits *limits)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    limits->memory_bytes = MEMORY_FALLBACK;
    if (pages > 0 && page_bytes > 0)
        limits->memory_bytes = (uint64_t)pages * (uint64_t)page_bytes / 2;
    if (limits->memory_bytes < MEMORY_LEAST)
        limits->memory_bytes = MEMORY_LEAST;
}

void check_order(struct draft *draft, const struct bound *less, const struct bound *more)
{
    char a[VALUE_PRINT_BYTES], b[VALUE_PRINT_BYTES];

    if (less->value == 0 || more->value == 0 || less->value <= more->value)
        return;
    value_print_size(a, less->value);
    value_print_size(b, more->value);
    draft_error(draft, more->line ? more->line : less->line,
                "%s (%s) is more than %s (%s); lower "
                "%s or raise %s",
                less->name, a, more->name, b, less->name, more->name);
}

static void check_limits(struct draft *draft, const struct draft_section *s)
{
    struct limits *l = &draft->cfg->limits;
    struct bound packet = {"max_packet_size", l->packet_bytes, draft_line(s, "max_packet_size")};
    struct bound connect = {"max_connect_size", l->connect_bytes,
                            draft_line(s, "max_connect_size")};
    struct bound queued = {"max_queued_bytes", l->queued_bytes, draft_line(s, "max_queued_bytes")};
    struct bound retained = {"max_retained_bytes", l->retained_bytes,
                             draft_line(s, "max_retained_bytes")};
    struct bound memory = {"memory_limit", l->memory_bytes, draft_line(s, "memory_limit")};

    if (connect.line)
        check_order(draft, &connect, &packet);
    else if (packet.value && connect.value > packet.value)
        l->connect_bytes = l->packet_bytes;
    check_order(draft, &packet, &queued);
    if (memory.value == 0) /* auto, 0, or refused, and then it does not matter */
        set_memory(l);
    check_order(draft, &queued, &memory);
    if (retained.line)
        check_order(draft, &retained, &memory);
    else if (l->retained_bytes > l->memory_bytes)
        l->retained_bytes = l->memory_bytes;
}

/* What one listener may have cannot be more than all may have together. */
static void check_connections(struct draft *draft, const struct draft_section *s)
{
    const struct cfg_listener *listener = s->object;
    uint32_t all = draft->cfg->limits.connections;

    if (all && listener->max_connections > all)
        draft_error(draft, draft_line(s, "max_connections"),
                    "max_connections (%u) is more than "
                    "that of [limits] (%u); lower this or raise that",
                    listener->max_connections, all);
}

static const struct draft_section *section_of(const struct draft *draft, enum section_kind kind)
{
    uint32_t i = 0;

    while (draft->sections[i].kind != kind)
        i++;
    return &draft->sections[i];
}

static void check_workers(struct draft *draft)
{
    const struct cfg *cfg = draft->cfg;
    uint32_t line = draft_line(section_of(draft, SECTION_BROKER), "workers");

    if (cfg->link_count && cfg->broker.workers + cfg->cluster.link_workers > WORKERS_MAX)
        draft_error(draft, line,
                    "workers (%u) and link_workers (%u) are more than %d together; "
                    "lower one of them",
                    cfg->broker.workers, cfg->cluster.link_workers, WORKERS_MAX);
}

/* Clusters that are reached by way of others take numbers of links. */
static void check_transits(struct draft *draft)
{
    const struct cfg *cfg = draft->cfg;
    uint32_t line = 0;

    for (uint32_t i = 0; i < cfg->link_count; i++)
        line = cfg->links[i].transit ? cfg->links[i].line : line;
    if (line && cfg->link_count > LINKS_MAX - TRANSIT_CLUSTERS_MAX)
        draft_error(draft, line,
                    "transit = true is possible with at most %u links, and these are %u; right "
                    "would be fewer, or no transit",
                    LINKS_MAX - TRANSIT_CLUSTERS_MAX, cfg->link_count);
}

/* Local tools, and balancers on this machine, are not banned unless somebody asks for it. */
static void finish_bans(struct draft *draft)
{
    struct cfg_auth *auth = &draft->cfg->auth;
    const char *why;

    if (!draft_line(section_of(draft, SECTION_AUTH), "auth_ban_exempt") &&
        cidr_add(&auth->ban_exempt, BYTES_LIT("localhost"), &why) != OK)
        draft->is_out_of_memory = true;
    cidr_seal(&auth->ban_exempt);
}

void check_draft(struct draft *draft)
{
    check_auth(draft, section_of(draft, SECTION_AUTH));
    finish_bans(draft);
    check_limits(draft, section_of(draft, SECTION_LIMITS));
    check_workers(draft);
    check_transits(draft);
    for (uint32_t i = 0; i < draft->section_count; i++) {
        struct draft_section *s = &draft->sections[i];

        if (s->kind == SECTION_LISTENER) {
            finish_listener(draft, s);
            check_no_address_twice(draft, i);
            check_connections(draft, s);
        } else if (s->kind == SECTION_LINK) {
            check_link(draft, s);
        }
    }
    if (draft->cfg->listener_count == 0)
        add_default_listener(draft);
    if (draft->cfg->link_count && !draft_line(section_of(draft, SECTION_CLUSTER), "name"))
        draft_error(draft, draft->cfg->links[0].line,
                    "[link %.80s] needs a name for this cluster; "
                    "right would be [cluster] with name = NAME",
                    draft->cfg->links[0].name);
}
