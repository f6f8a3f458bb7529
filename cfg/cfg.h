/* cfg/cfg.h -- the configuration of one run, as checked data.
 *
 * cfg/parse.h makes it from a file, from memory or from the defaults; after that every value stands
 * in its range and the relations between the values hold, so nobody checks them again. The
 * defaults and the help of every key stand in cfg/keys.c.
 *
 * Threads  made and freed at start (and at a reload) by the main thread; that of the start is read
 *          by every worker, written by nobody in between. Links read later reach workers as
 *          copies (net/link_set.h).
 * Memory   every pointer in here belongs to the struct cfg and lives until cfg_free().
 */
#ifndef CFG_CFG_H
#define CFG_CFG_H

#include "cfg/cidr.h"
#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/limits.h"

/* Listeners of one process, named in the file or added by `-p`. Beyond: a mistake at load. */
#define LISTENERS_MAX 64
/* Addresses of one link, tried in turn. Beyond: a mistake at load. */
#define LINK_SERVERS_MAX 16
/* Filters of one link. Beyond: a mistake at load. */
#define LINK_TOPICS_MAX 1024
/* Places one log is written to at once. Beyond: a mistake at load. */
#define LOG_DESTS_MAX 8
/* Words of one list. Beyond: a mistake at load. */
#define CFG_TEXTS_MAX 1024
/* Bytes of the name of a cluster, a link or a listener: [0-9a-zA-Z][-0-9a-zA-Z_]*. */
#define CFG_NAME_BYTES_MAX 254
/* The port of MQTT, where neither a file nor `-p` says otherwise. */
#define MQTT_PORT_DEFAULT 1883
/* The port of MQTT over TLS, behind mqtts://. */
#define MQTTS_PORT_DEFAULT 8883

/* Bytes of the path of a Unix socket: unix(7) has room for no more. */
#define CFG_SOCKET_PATH_MAX 107

/* A numeric address to listen on, or a Unix socket. */
struct cfg_address {
    uint8_t ip[16];   /* IPv4: the first four bytes; network order */
    uint16_t port;    /* host order, never 0 but with a path */
    bool is_v6;       /* [::] is IPv6 only (IPV6_V6ONLY): 0.0.0.0 may stand beside it */
    bool is_loopback; /* 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104 */
    const char *path; /* of a Unix socket, which counts as loopback; NULL: it is none */
    const char *text; /* as for a log line: "127.0.0.1:1883", "[::1]:1883", "unix:/run/x.sock" */
};

/* Which connections of a listener may be links. Where the file is silent, a loopback listener
 * without a mount point has LINKS_ON and any other LINKS_NO. */
enum cfg_links {
    LINKS_NO,   /* no connection is taken for a link's */
    LINKS_ON,   /* clients, and links that the file names */
    LINKS_ONLY, /* every connection is a link's from its CONNECT on */
};

/* The lowest version of TLS that is spoken. */
enum cfg_tls_version { CFG_TLS_DEFAULT, CFG_TLS_1_2, CFG_TLS_1_3 };

/* TLS of a listener or a link. Paths and lists as written; NULL: not given. */
struct cfg_tls {
    bool is_on; /* a listener's: it has a certificate or keys; a link's: tls or mqtts:// */
    bool require_certificate; /* listeners */
    bool verify;              /* links */
    enum cfg_tls_version version;
    const char *certfile, *keyfile;
    const char *cafile, *capath, *crlfile;
    const char *ocsp_file; /* listeners */
    const char *ciphers, *ciphers_tls1_3;
    const char *psk_file, *psk_hint; /* listeners */
    const char *server_name;         /* links: instead of the host of `server` */
};

/* What is spoken on a listener. */
enum cfg_protocol { PROTOCOL_MQTT, PROTOCOL_WEBSOCKETS };

/* Whether a PROXY header must come first, and of which version. */
enum cfg_proxy { CFG_PROXY_NO, CFG_PROXY_1, CFG_PROXY_2, CFG_PROXY_ON };

/* A list of words. */
struct cfg_texts {
    const struct bytes *v;
    uint32_t count;
};

/* Which part of a client's certificate is its user name. */
enum cfg_identity { IDENTITY_NONE, IDENTITY_COMMON_NAME, IDENTITY_SUBJECT };

/* So many in so long. */
struct cfg_rate {
    uint32_t count; /* 0: no bound */
    uint32_t period_ms;
};

/* Bits of cfg_listener.versions. */
#define CFG_MQTT_31 (1u << 3)
#define CFG_MQTT_311 (1u << 4)
#define CFG_MQTT_5 (1u << 5)

/* How a client may prove who it is, apart from TLS. */
enum cfg_method { METHOD_PASSWORD, METHOD_JWT, METHOD_HTTP, METHOD_COUNT };

/* Methods in the order in which they are asked; each at most once. */
struct cfg_methods {
    enum cfg_method v[METHOD_COUNT];
    uint32_t count; /* 0: none is configured */
};

/* How a token may be signed (RFC 7518, RFC 8037). */
enum cfg_jwt_alg {
    CFG_JWT_HS256,
    CFG_JWT_HS384,
    CFG_JWT_HS512,
    CFG_JWT_RS256,
    CFG_JWT_ES256,
    CFG_JWT_EDDSA,
    CFG_JWT_ALG_COUNT
};

/* Tokens as passwords. */
struct cfg_jwt {
    const char *key_file, *jwks_file; /* NULL: none; both NULL: no tokens */
    struct cfg_texts algorithms;      /* as written */
    uint32_t algs;                    /* a bit for each enum cfg_jwt_alg; 0: not given */
    const char *audience, *issuer;    /* NULL: any */
    const char *username_claim;       /* NULL: `username`, or else `sub` */
    const char *acl_claim;            /* of the rules that a token brings; NULL: it brings none */
    uint32_t leeway_s;
    bool require_exp;
    bool disconnect_after_expire;
};

struct cfg_listener {
    const char *name; /* "default" for the built-in one, "command-line" for that of `-p` */
    struct cfg_address bind;
    /* Of a Unix socket: its file. */
    uint32_t socket_mode;
    const char *socket_owner, *socket_group; /* NULL: as the process */
    uint32_t socket_uid, socket_gid;         /* of these; UINT32_MAX: none */
    uint32_t max_connections;                /* 0: only the bound of all listeners */
    struct cfg_rate max_connection_rate;
    uint8_t versions; /* CFG_MQTT_..., what may be spoken; 0: all */
    uint8_t max_qos;
    const char *mount_point; /* in front of all topics, without a fault (core/policy/mount.h); then
                              * `links` is LINKS_NO; NULL: none */
    bool allow_anonymous;    /* effective: the listener's own word, or that of [auth] */
    bool set_tcp_nodelay;
    enum cfg_links links;
    struct cfg_tls tls;
    bool use_identity_as_username, use_subject_as_username;
    enum cfg_identity identity;    /* of the two: what is taken */
    struct cfg_texts auth_methods; /* as written */
    struct cfg_methods methods;    /* effective: the listener's own, or those of [auth] */
    enum cfg_protocol protocol;
    const char *websockets_path;
    struct cfg_texts websockets_origins; /* none: all */
    uint32_t websockets_headers_size;
    enum cfg_proxy proxy;
    struct cidr_list proxy_trusted; /* who may send a PROXY header */
    struct cidr_rules networks;     /* who may connect */
    uint32_t line;                  /* of its section; 0: not from a file */
};

/* Where a remote cluster may be reached. */
struct cfg_server {
    const char *host; /* a name or a numeric address, without brackets */
    uint16_t port;    /* host order, never 0 */
    bool is_v6;       /* the host is a numeric IPv6 address */
};

/* What a link speaks with its remote cluster. */
enum cfg_dialect {
    DIALECT_AUTO,  /* ours with a Causeway cluster, EMQX's with any other */
    DIALECT_EMQX,  /* EMQX's with every cluster */
    DIALECT_NATIVE /* ours, or nothing */
};

/* What becomes of a message for a link whose queue is full. */
enum cfg_on_full {
    ON_FULL_DROP_OLDEST, /* the ones that wait longest make room */
    ON_FULL_DROP_NEWEST, /* it is dropped itself */
    ON_FULL_BLOCK        /* who publishes for a link waits until there is room */
};

/* When the publisher of a QoS 1 or 2 message that goes over a link is acknowledged. */
enum cfg_ack {
    ACK_LOCAL, /* when it is safe here */
    ACK_REMOTE /* when the remote cluster has acknowledged it */
};

/* What becomes of messages with the retain flag that come over a link. */
enum cfg_retained {
    RETAINED_OFF,  /* they are only delivered */
    RETAINED_PASS, /* they are retained here too */
    RETAINED_SYNC  /* and what is retained there is asked for; the latest value counts everywhere */
};

/* Who serves a shared group that has members in several clusters. */
enum cfg_shared_groups {
    SHARED_GROUPS_LOCAL, /* each cluster with members: a copy for each */
    SHARED_GROUPS_GLOBAL /* one of them all, where both sides say so */
};

struct cfg_link {
    const char *name; /* the remote cluster's name; never our own, unique */
    bool enable;
    const struct cfg_server *servers; /* at least one */
    uint32_t server_count;
    const char *clientid;        /* prefix of the client ids of its connections */
    const char *username;        /* NULL: none */
    const char *password;        /* NULL: none; from `password` or the file of `password_file` */
    const struct bytes *topics;  /* what we want from them: valid filters, none covers another */
    uint32_t topic_count;        /* 0: we want nothing */
    const struct bytes *exports; /* what they may have: as topics */
    uint32_t export_count;       /* 0: nothing */
    enum cfg_dialect dialect;
    uint32_t keepalive;         /* seconds */
    uint32_t dead_after_ms;     /* silence after which the other side counts as dead */
    uint32_t retry_interval_ms; /* longest pause between two attempts */
    uint32_t max_inflight;      /* QoS 1 messages of one connection waiting for their PUBACK */
    uint32_t connections;       /* 0: as many as suit the peer's dialect */
    uint64_t window_bytes;      /* unacknowledged, of the native dialect */
    uint64_t queue_bytes;       /* waiting or unacknowledged, over all connections */
    uint32_t queue_age;         /* seconds a message may wait */
    enum cfg_on_full on_full;
    enum cfg_ack ack;
    bool compression; /* of messages, where a Causeway cluster takes it */
    enum cfg_retained retained;
    enum cfg_shared_groups shared_groups;
    bool transit;           /* what comes over it may leave over others of these, and the reverse */
    uint32_t max_routes;    /* of the peer, and of ours over there */
    uint32_t max_route_ops; /* of the peer, in a second */
    uint64_t max_rate;      /* bytes of the peer's packets, in a second */
    struct cfg_tls tls;
    const char *peer_identity; /* the user name that this cluster must prove; NULL: none */
    uint32_t line;             /* of its section */
};

enum cfg_log_format { LOG_TEXT, LOG_JSON };

/* A level includes those before it. */
enum cfg_log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

enum cfg_log_kind { LOG_TO_STDOUT, LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG };

struct cfg_log_dest {
    enum cfg_log_kind kind;
    const char *path; /* of LOG_TO_FILE; NULL else */
};

struct cfg_log {
    struct cfg_log_dest dests[LOG_DESTS_MAX];
    uint32_t dest_count; /* 0: `log_dest = none` */
    enum cfg_log_format format;
    enum cfg_log_level level;
    int facility; /* of LOG_TO_SYSLOG: LOG_DAEMON, LOG_LOCAL0 ... of <syslog.h> */
    bool timestamp;
    bool connection_messages; /* log clients that come and go */
};

struct cfg_broker {
    uint32_t workers;     /* 0: one per core; links' workers come on top */
    bool pin;             /* pin workers, if each can have a core of its own */
    uint32_t spin_us;     /* look again for so long before sleeping; 0: sleep at once */
    const char *pid_file; /* NULL: none */
};

/* When a SUBSCRIBE is answered. */
enum cfg_suback {
    SUBACK_LOCAL, /* when every worker of ours sees the subscription */
    SUBACK_LINKED /* when remote clusters that are connected do, too */
};

struct cfg_cluster {
    const char *name;      /* NULL: none, and then there are no links */
    uint32_t link_workers; /* threads for links; they exist only with a name */
    enum cfg_suback suback;
};

/* Who may connect and what they may do. */
struct cfg_auth {
    bool allow_anonymous;      /* the default of loopback listeners */
    const char *password_file; /* NULL: none */
    const char *scram_file;    /* NULL: none */
    const char *acl_file;      /* NULL: none */
    bool acl_check_subscribe;
    bool check_retain_source;
    uint32_t cache_ms;     /* how long a password that was right is not computed again; 0: always */
    uint32_t threads;      /* that compute password hashes */
    uint32_t failures_max; /* of an address, before it is banned */
    uint32_t failure_window_ms; /* in which so many are forgiven */
    uint32_t ban_ms;            /* 0: nobody is banned */
    struct cidr_list ban_exempt;
    /* An HTTP server that is asked: about clients, about what they may do. NULL: none. */
    const char *http_auth_url, *http_acl_url;
    const char *http_cafile; /* who may sign its certificate; NULL: the system's authorities */
    uint32_t http_acl_cache_ms;
    uint32_t http_connect_ms, http_timeout_ms;
    uint32_t http_threads;
    struct cfg_texts method_names; /* as written */
    struct cfg_methods methods;    /* effective */
    struct cfg_jwt jwt;
};

struct cfg_text; /* one piece of the memory of a struct cfg; private to cfg/ */

struct cfg {
    const char *file; /* where it came from, for messages; NULL: the defaults */
    struct cfg_broker broker;
    struct cfg_cluster cluster;
    struct limits limits;
    struct cfg_log log;
    struct cfg_auth auth;

    struct cfg_listener listeners[LISTENERS_MAX];
    uint32_t listener_count;
    bool has_default_listener; /* the file names no listener: listeners[0] is the built-in one */

    struct cfg_link links[LINKS_MAX];
    uint32_t link_count;

    struct cfg_text *texts; /* private to cfg/: all memory behind the pointers above */
};

/* Whether only this machine can reach the listener: whom a balancer hands on is not on it. */
static inline bool cfg_listener_is_local(const struct cfg_listener *l)
{
    return l->bind.is_loopback && l->proxy == CFG_PROXY_NO;
}

/* Makes the broker listen on 127.0.0.1:`port` as well: the meaning of `-p PORT`. The built-in
 * listener moves there; named listeners stay. Nothing changes where an ordinary listener already
 * takes connections for that address.  ERR_FULL: LISTENERS_MAX; ERR_PEER: port 0, or a
 * `links = only` listener has the port; ERR_MEMORY.  Start only, before workers run. */
MUST_USE enum err cfg_apply_port(struct cfg *cfg, uint16_t port);

/* The algorithm of that name, as RFC 7518 and RFC 8037 spell it. false: there is none.  Any
 * thread. */
bool cfg_jwt_alg_find(struct bytes name, enum cfg_jwt_alg *alg);

/* Whether a method stands among others.  Any thread. */
bool cfg_methods_have(const struct cfg_methods *methods, enum cfg_method method);

/* Frees a configuration and wipes its secrets. NULL is fine.  Start and end only. */
void cfg_free(struct cfg *cfg);

#endif
