/* cfg/keys.c -- the one table of everything that may stand in a configuration file. */
#include "cfg/keys.h"

#include "cfg/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <syslog.h>

#define MS 1000u
#define SECOND (1000u * MS)
#define KB 1024ull
#define MB (1024ull * KB)
#define GB (1024ull * MB)

/* Section, offset and size of a field. What is kept elsewhere (draft.h) has only a section. */
#define FIELD(kind, type_name, field)                                                              \
    .section = kind, .offset = (uint16_t)offsetof(type_name, field),                               \
    .size = (uint8_t)sizeof(((type_name *)0)->field)
#define BROKER(field) FIELD(SECTION_BROKER, struct cfg, broker.field)
#define CLUSTER(field) FIELD(SECTION_CLUSTER, struct cfg, cluster.field)
#define LIMITS(field) FIELD(SECTION_LIMITS, struct cfg, limits.field)
#define LOGGING(field) FIELD(SECTION_LOG, struct cfg, log.field)
#define AUTH(field) FIELD(SECTION_AUTH, struct cfg, auth.field)
#define LISTENER(field) FIELD(SECTION_LISTENER, struct cfg_listener, field)
#define LINK(field) FIELD(SECTION_LINK, struct cfg_link, field)

const struct section_info section_infos[SECTION_COUNT] = {
    [SECTION_BROKER] = {"broker", NULL, "The process: its threads and what it tells of itself."},
    [SECTION_CLUSTER] = {"cluster", NULL,
                         "What other clusters know us as. Needed only where there are links."},
    [SECTION_LISTENER] =
        {"listener", "mqtt",
         "An address that takes connections; one section for each. A file that names none has one "
         "on 127.0.0.1:1883. A listener with a certificate speaks TLS. One that other machines can "
         "reach needs authentication ([auth], or certificates), or must say allow_anonymous = true "
         "itself; else the broker does not start. SIGHUP reads certificates, keys, CRLs, passwords "
         "and rules anew."},
    [SECTION_LINK] =
        {"link", "cluster-eu-west",
         "A remote cluster whose messages we want, or who wants ours; one section for each, named "
         "exactly as the remote cluster names itself. Both sides need a link to the other. SIGHUP "
         "reads these sections anew: links are added, changed and removed without touching others; "
         "of those removed, what waits goes, too."},
    [SECTION_LIMITS] =
        {"limits", NULL,
         "Bounds, and what happens at them. Whatever is refused or lost at a bound is counted "
         "under $SYS. A bound of 0 means the built-in one: nothing is ever unlimited. Sizes take "
         "KB, MB and GB; durations take ms, s, m, h, d and w, and are seconds without a unit."},
    [SECTION_LOG] = {"log", NULL, "What is logged, how, and where. SIGUSR1 opens log files anew."},
    [SECTION_AUTH] = {"auth", NULL,
                      "Who may connect, and what they may do. SIGHUP reads the files "
                      "anew; with a mistake in one of them, all stay as they were."},
};

static const struct key_choice queue_full_choices[] = {
    {"drop_new", QUEUE_DROP_NEW, false},
    {"drop_old", QUEUE_DROP_OLD, false},
    {"disconnect", QUEUE_DISCONNECT, false},
    {NULL, 0, false},
};

static const struct key_choice share_choices[] = {
    {"round_robin", SHARE_ROUND_ROBIN, false},
    {"sticky", SHARE_STICKY, false},
    {"hash_clientid", SHARE_HASH_CLIENTID, false},
    {"hash_topic", SHARE_HASH_TOPIC, false},
    {"random", SHARE_RANDOM, false},
    {"sender_hash", SHARE_HASH_CLIENTID, true}, /* FlashMQ's word */
    {NULL, 0, false},
};

static const struct key_choice links_choices[] = {
    {"no", LINKS_NO, false},   {"on", LINKS_ON, false}, {"only", LINKS_ONLY, false},
    {"off", LINKS_NO, true},   {"yes", LINKS_ON, true}, {"true", LINKS_ON, true},
    {"false", LINKS_NO, true}, {NULL, 0, false},
};

static const struct key_choice dialect_choices[] = {
    {"auto", DIALECT_AUTO, false},
    {"emqx", DIALECT_EMQX, false},
    {"native", DIALECT_NATIVE, false},
    {NULL, 0, false},
};

static const struct key_choice suback_choices[] = {
    {"local", SUBACK_LOCAL, false},
    {"linked", SUBACK_LINKED, false},
    {NULL, 0, false},
};

static const struct key_choice retained_choices[] = {
    {"off", RETAINED_OFF, false},
    {"pass", RETAINED_PASS, false},
    {"sync", RETAINED_SYNC, false},
    {NULL, 0, false},
};

static const struct key_choice ack_choices[] = {
    {"local", ACK_LOCAL, false},
    {"remote", ACK_REMOTE, false},
    {NULL, 0, false},
};

static const struct key_choice shared_groups_choices[] = {
    {"local", SHARED_GROUPS_LOCAL, false},
    {"global", SHARED_GROUPS_GLOBAL, false},
    {NULL, 0, false},
};

static const struct key_choice on_full_choices[] = {
    {"drop_oldest", ON_FULL_DROP_OLDEST, false},
    {"drop_newest", ON_FULL_DROP_NEWEST, false},
    {"block", ON_FULL_BLOCK, false},
    {"drop_old", ON_FULL_DROP_OLDEST, true}, /* the words of queue_full */
    {"drop_new", ON_FULL_DROP_NEWEST, true},
    {NULL, 0, false},
};

static const struct key_choice tls_version_choices[] = {
    {"tlsv1.2", CFG_TLS_1_2, false},
    {"tlsv1.3", CFG_TLS_1_3, false},
    {"1.2", CFG_TLS_1_2, true},
    {"1.3", CFG_TLS_1_3, true},
    {NULL, 0, false},
};

static const struct key_choice protocol_choices[] = {
    {"mqtt", PROTOCOL_MQTT, false},
    {"websockets", PROTOCOL_WEBSOCKETS, false},
    {"websocket", PROTOCOL_WEBSOCKETS, true},
    {"ws", PROTOCOL_WEBSOCKETS, true},
    {NULL, 0, false},
};

static const struct key_choice proxy_choices[] = {
    {"no", CFG_PROXY_NO, false},   {"on", CFG_PROXY_ON, false},  {"1", CFG_PROXY_1, false},
    {"2", CFG_PROXY_2, false},     {"off", CFG_PROXY_NO, true},  {"yes", CFG_PROXY_ON, true},
    {"false", CFG_PROXY_NO, true}, {"true", CFG_PROXY_ON, true}, {NULL, 0, false},
};

static const struct key_choice format_choices[] = {
    {"text", LOG_TEXT, false},
    {"json", LOG_JSON, false},
    {NULL, 0, false},
};

static const struct key_choice level_choices[] = {
    {"error", LOG_LEVEL_ERROR, false},     {"warning", LOG_LEVEL_WARNING, false},
    {"notice", LOG_LEVEL_NOTICE, false},   {"info", LOG_LEVEL_INFO, false},
    {"debug", LOG_LEVEL_DEBUG, false},     {"warn", LOG_LEVEL_WARNING, true},
    {"information", LOG_LEVEL_INFO, true}, {NULL, 0, false},
};

/* A digit alone is mosquitto's way to name a local facility. */
static const struct key_choice facility_choices[] = {
    {"daemon", LOG_DAEMON, false},
    {"user", LOG_USER, false},
    {"local0", LOG_LOCAL0, false},
    {"local1", LOG_LOCAL1, false},
    {"local2", LOG_LOCAL2, false},
    {"local3", LOG_LOCAL3, false},
    {"local4", LOG_LOCAL4, false},
    {"local5", LOG_LOCAL5, false},
    {"local6", LOG_LOCAL6, false},
    {"local7", LOG_LOCAL7, false},
    {"0", LOG_LOCAL0, true},
    {"1", LOG_LOCAL1, true},
    {"2", LOG_LOCAL2, true},
    {"3", LOG_LOCAL3, true},
    {"4", LOG_LOCAL4, true},
    {"5", LOG_LOCAL5, true},
    {"6", LOG_LOCAL6, true},
    {"7", LOG_LOCAL7, true},
    {NULL, 0, false},
};

const struct key keys[] = {
    /* ---- [broker] ---- */
    {BROKER(workers), .name = "workers", .aliases = {"thread_count"}, .type = KEY_NUMBER, .min = 1,
     .max = WORKERS_MAX, .word = "auto", .word_value = 0, .flags = KEY_ZERO_PRESETS,
     .preset = "auto",
     .help = "Threads that serve clients; auto is one for each core the process may use. Threads "
             "for links come on top."},
    {BROKER(pin), .name = "pin", .type = KEY_BOOL, .preset = "true",
     .help = "Whether each thread stays on a core of its own. It is done only if there are as "
             "many cores as threads."},
    {BROKER(spin_us), .name = "spin", .type = KEY_TIME, .unit_us = 1, .min = 0, .max = 10000,
     .preset = "0",
     .help = "How long a thread without work looks for more before it sleeps. Costs processor "
             "time and saves some microseconds of latency; 0 sleeps at once."},
    {BROKER(pid_file), .name = "pid_file", .type = KEY_STRING,
     .example = "/run/causeway/causeway.pid", .unset = "none is written",
     .help = "File that holds the process id while the broker runs."},
    {FIELD(SECTION_BROKER, struct cfg, limits.sys_interval), .name = "sys_interval",
     .aliases = {"sys_msg_interval"}, .type = KEY_TIME, .unit_us = SECOND, .min = 0, .max = 86400,
     .preset = "10s",
     .help = "How often the topics under $SYS/broker/ are published; 0 publishes none."},

    /* ---- [cluster] ---- */
    {CLUSTER(name), .name = "name", .type = KEY_NAME, .example = "cluster-us-east",
     .unset = "none, and no link can be named",
     .help = "The name by which remote clusters know this one: letters, digits, '-' and '_', at "
             "most 254. It must be the name of their link to us, and no two clusters may share "
             "one."},
    {CLUSTER(link_workers), .name = "link_workers", .type = KEY_NUMBER, .min = 1,
     .max = LINK_WORKERS_MAX, .flags = KEY_ZERO_PRESETS, .preset = "1",
     .help =
         "Threads that serve links. The routes of a link are on one of them, chosen by its name. "
         "Its messages to a Causeway cluster are on all: each thread has a connection of its "
         "own for them, and those of one publisher stay on one, so they keep their order. "
         "queue_bytes of the link is divided among the threads. To EMQX, from a link without a "
         "server, and over links with transit, they are on the one. The other side may have "
         "another number. The threads exist only where the cluster has a name."},
    {CLUSTER(suback), .name = "suback", .type = KEY_CHOICE, .choices = suback_choices,
     .preset = "local",
     .help = "When a SUBSCRIBE is answered. local: when all of this broker knows the subscription. "
             "linked: when all remote clusters that are connected know it too, as far as their "
             "link's topics concern it; so what is published there after the SUBACK has come is "
             "not missed. A remote cluster of this kind has answered for it; of EMQX it is only "
             "known that it has received it. It is waited for 2 s at the most: a SUBACK sent "
             "without an answer is counted (counters/link_subacks_late). Clusters that are not "
             "connected are not waited for."},

    /* ---- [listener NAME] ---- */
    {.section = SECTION_LISTENER,
     .name = "bind",
     .type = KEY_BIND,
     .example = "127.0.0.1:1883",
     .unset = "port and address, one of which must then be there",
     .help = "Where to listen: ADDRESS:PORT, with IPv6 in brackets, as in 0.0.0.0:1883 or "
             "[::]:1883. An address alone has port 1883; a port alone is on 127.0.0.1. [::] takes "
             "IPv6 only. unix:/PATH is a Unix socket, for programs on this machine alone."},
    {.section = SECTION_LISTENER,
     .name = "port",
     .type = KEY_PORT,
     .min = 1,
     .max = 65535,
     .example = "1883",
     .unset = "1883",
     .help = "The port, where bind is not used. Without an address it is on 127.0.0.1, and not on "
             "every address as in mosquitto."},
    {.section = SECTION_LISTENER,
     .name = "address",
     .aliases = {"bind_address"},
     .type = KEY_ADDRESS,
     .example = "127.0.0.1",
     .unset = "127.0.0.1",
     .help = "The numeric address, where bind is not used. 0.0.0.0 is every IPv4 address, :: "
             "every IPv6 address."},
    {LISTENER(socket_mode), .name = "socket_mode", .type = KEY_MODE, .preset = "0660",
     .help = "Permissions of the file of a Unix socket. Who may write to it may connect."},
    {LISTENER(socket_owner), .name = "socket_owner", .type = KEY_STRING, .example = "root",
     .unset = "that of the process", .help = "User, by name or number, who owns that file."},
    {LISTENER(socket_group), .name = "socket_group", .type = KEY_STRING, .example = "root",
     .unset = "that of the process", .help = "Group, by name or number, of that file."},
    {LISTENER(protocol), .name = "protocol", .type = KEY_CHOICE, .choices = protocol_choices,
     .preset = "mqtt",
     .help = "What is spoken here: MQTT 3.1, 3.1.1 and 5 over TCP, or over WebSocket, which "
             "browsers need. With a certificate either is within TLS (mqtts, wss)."},
    {LISTENER(websockets_path), .name = "websockets_path", .aliases = {"mqtt_path"},
     .type = KEY_STRING, .preset = "/mqtt",
     .help = "The path that WebSocket clients must ask for; / is every path."},
    {LISTENER(websockets_origins), .name = "websockets_origin", .type = KEY_TEXTS,
     .flags = KEY_LIST, .example = "https://app.example.org", .unset = "all",
     .help = "Pages whose browsers may connect by WebSocket, as in https://app.example.org:8443. "
             "Clients that are no browsers send no origin and may always."},
    {LISTENER(websockets_headers_size), .name = "websockets_headers_size", .type = KEY_SIZE,
     .min = 512, .max = 65535, .flags = KEY_ZERO_PRESETS, .preset = "4KB",
     .help = "Bytes of the request of a WebSocket client. A larger one is answered with 431."},
    {LISTENER(proxy), .name = "proxy_protocol", .aliases = {"enable_proxy_protocol", "haproxy"},
     .type = KEY_CHOICE, .choices = proxy_choices, .preset = "no",
     .help = "Whether a balancer in front of this listener sends PROXY headers: of version 1, of "
             "version 2, or of either (on). Then each connection must begin with one, which "
             "tells who the client is."},
    {LISTENER(proxy_trusted), .name = "proxy_trusted", .type = KEY_NETWORKS, .flags = KEY_LIST,
     .example = "10.0.0.0/8", .unset = "localhost",
     .help = "Addresses and networks of those balancers. A connection from any other is closed."},
    {LISTENER(networks.allow), .name = "allow", .type = KEY_NETWORKS, .flags = KEY_LIST,
     .example = "192.0.2.0/24", .unset = "all",
     .help = "Addresses and networks that may connect. A connection from any other is closed "
             "before anything is read of it."},
    {LISTENER(networks.deny), .name = "deny", .type = KEY_NETWORKS, .flags = KEY_LIST,
     .example = "192.0.2.66", .unset = "none",
     .help = "Addresses and networks that may not connect, also where allow names them."},
    {LISTENER(links), .name = "links", .type = KEY_CHOICE, .choices = links_choices,
     .example = "on",
     .unset = "on for a loopback address without proxy_protocol and mount_point, no for any other",
     .help = "Whether a connection may be a link of a remote cluster: no, on (clients and links) "
             "or only (links alone). A link with a peer_identity is spoken for by that user alone, "
             "whatever is written here; for the others, whoever connects here may speak."},
    {LISTENER(allow_anonymous), .name = "allow_anonymous", .type = KEY_BOOL, .example = "true",
     .unset = "that of [auth] on a loopback address without proxy_protocol; any other "
              "needs it written here",
     .help = "Whether clients may connect without authentication. Everybody who can reach a "
             "listener with true may publish and read everything."},
    {LISTENER(max_connections), .name = "max_connections", .type = KEY_NUMBER, .min = 1,
     .max = 100000000, .word = "auto", .word_value = 0, .flags = KEY_ZERO_PRESETS, .preset = "auto",
     .help = "Connections of this listener. One more is accepted and closed at once. auto is the "
             "bound of [limits] alone."},
    {LISTENER(max_connection_rate), .name = "max_connection_rate", .aliases = {"max_conn_rate"},
     .type = KEY_RATE, .preset = "infinity",
     .help = "Connections taken in a time, as in 1000/s or 1000/10s; so many may come at once. "
             "Beyond, none is refused: those that come wait in the kernel's queue until their time "
             "has come."},
    {LISTENER(versions), .name = "protocol_versions", .aliases = {"accept_protocol_versions"},
     .type = KEY_VERSIONS, .flags = KEY_LIST, .example = "3.1.1, 5", .unset = "all",
     .help = "Versions of MQTT that are spoken here. A client with another is refused, with 0x84 "
             "or return code 1. Links need 5."},
    {LISTENER(max_qos), .name = "max_qos", .aliases = {"max_qos_allowed"}, .type = KEY_NUMBER,
     .min = 0, .max = 2, .preset = "2",
     .help = "Highest QoS a client of this listener may publish with, if that of [limits] is not "
             "lower; what happens beyond is the same."},
    {LISTENER(mount_point), .name = "mount_point", .aliases = {"mountpoint"}, .type = KEY_STRING,
     .example = "tenants/%u/", .unset = "none",
     .help =
         "What stands in front of all topics of the clients of this listener: of what they "
         "publish (wills too), and of their filters, behind $share/GROUP/. It is taken off what "
         "they get, so they live in a branch of the topics, without $SYS. It ends with /. %c or "
         "${clientid} in it is the client id, which clients choose; %u or ${username} the user "
         "name. A client whose name there is missing, or holds +, # or /, is refused. Rules, "
         "HTTP server and links see whole topics; response topics are left as they are. A "
         "session that comes back on another listener keeps its subscriptions, but gets only "
         "what lies below the mount point there. Takes no links."},
    {LISTENER(tls.certfile), .name = "certfile", .aliases = {"fullchain"}, .type = KEY_STRING,
     .example = "/etc/causeway/server.pem", .unset = "none: no TLS",
     .help = "Certificate of this listener in PEM, with the intermediate ones behind it. With it "
             "the listener speaks TLS, and only TLS; the usual port is 8883."},
    {LISTENER(tls.keyfile), .name = "keyfile", .aliases = {"privkey"}, .type = KEY_STRING,
     .example = "/etc/causeway/server.key", .unset = "none: no TLS",
     .help = "Its private key in PEM, without a password: EC, RSA or Ed25519. EC and Ed25519 take "
             "eight times as many handshakes a second as RSA."},
    {LISTENER(tls.cafile), .name = "cafile", .aliases = {"client_verification_ca_file"},
     .type = KEY_STRING, .example = "/etc/causeway/ca.pem", .unset = "clients are not asked",
     .help = "Certificates, in PEM, of those who vouch for clients. Clients are only asked for a "
             "certificate with require_certificate, and must then have one."},
    {LISTENER(tls.capath), .name = "capath", .type = KEY_STRING, .example = "/etc/causeway/ca",
     .unset = "none", .help = "Folder with such certificates, each in a file of its own."},
    {LISTENER(tls.crlfile), .name = "crlfile", .type = KEY_STRING,
     .example = "/etc/causeway/ca.crl", .unset = "none: nothing is revoked",
     .help = "Revoked certificates of clients, in PEM. Read anew on SIGHUP."},
    {LISTENER(tls.ocsp_file), .name = "ocsp_file", .type = KEY_STRING,
     .example = "/etc/causeway/server.ocsp", .unset = "none: nothing is stapled",
     .help = "What the CA says of the certificate: an OCSP response in DER, sent to clients that "
             "ask for it (stapling). Something else fetches it (openssl ocsp -respout) and sends "
             "SIGHUP. One that has expired is refused when it is read, and not sent any more when "
             "its time has come."},
    {LISTENER(tls.require_certificate), .name = "require_certificate", .type = KEY_BOOL,
     .preset = "false",
     .help = "Whether clients must show a certificate of cafile. TLS 1.3 is then the least, unless "
             "tls_version = tlsv1.2 is written."},
    {LISTENER(tls.version), .name = "tls_version", .aliases = {"minimum_tls_version"},
     .type = KEY_CHOICE, .choices = tls_version_choices, .example = "tlsv1.3",
     .unset = "tlsv1.2, and tlsv1.3 where a certificate is required",
     .help = "The lowest version of TLS that is spoken."},
    {LISTENER(tls.ciphers), .name = "ciphers", .type = KEY_STRING,
     .example = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
     .unset = "those with forward secrecy and authenticated encryption",
     .help = "Ciphers of TLS 1.2, by OpenSSL's names, separated by colons."},
    {LISTENER(tls.ciphers_tls1_3), .name = "ciphers_tls1.3", .type = KEY_STRING,
     .example = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", .unset = "all of TLS 1.3",
     .help = "Ciphers of TLS 1.3, separated by colons."},
    {LISTENER(use_identity_as_username), .name = "use_identity_as_username",
     .aliases = {"peer_cert_as_username"}, .type = KEY_BOOL, .preset = "false",
     .help = "Whether the common name of the client's certificate (or its PSK identity) is its "
             "user name, proven, and passwords are not asked for. Needs require_certificate or "
             "psk_file."},
    {LISTENER(use_subject_as_username), .name = "use_subject_as_username", .type = KEY_BOOL,
     .preset = "false", .help = "The same with the whole subject, as in CN=pump 1,O=Example."},
    {LISTENER(auth_methods), .name = "auth_methods", .type = KEY_TEXTS, .flags = KEY_LIST,
     .example = "jwt", .unset = "those of [auth]",
     .help = "What this listener asks clients for, instead of the methods of [auth]."},
    {LISTENER(tls.psk_file), .name = "psk_file", .type = KEY_STRING, .example = "/etc/causeway/psk",
     .unset = "none",
     .help = "File of pre-shared keys, a line for each: IDENTITY:KEY, the key in hex digits. "
             "With it the listener speaks TLS without a certificate."},
    {LISTENER(tls.psk_hint), .name = "psk_hint", .type = KEY_STRING, .example = "causeway",
     .unset = "none is sent", .help = "The hint that clients with pre-shared keys are given."},
    {LISTENER(set_tcp_nodelay), .name = "set_tcp_nodelay", .aliases = {"tcp_nodelay"},
     .type = KEY_BOOL, .preset = "true",
     .help = "Whether small packets leave at once (TCP_NODELAY). The broker gathers what is ready "
             "by itself, so there is little to gain from false."},

    /* ---- [link NAME] ---- */
    {LINK(enable), .name = "enable", .type = KEY_BOOL, .preset = "true",
     .help =
         "Whether the link is used. One that is not is checked, does not dial, and answers the "
         "remote cluster that it is disabled. What waits for it stays up to queue_age, and goes "
         "on when it is enabled again."},
    {.section = SECTION_LINK,
     .name = "server",
     .aliases = {"servers"},
     .type = KEY_SERVERS,
     .flags = KEY_LIST,
     .example = "127.0.0.1:21883",
     .unset = "we dial nobody, and wait for a broker of this kind to call us",
     .help = "Where the remote cluster is: HOST:PORT, with IPv6 in brackets; the port is 1883 "
             "without one (8883 with mqtts://), and mqtt:// or mqtts:// may stand in front. "
             "mqtts:// switches TLS on for all servers of the link, as tls = true does; mqtt:// "
             "beside either is a mistake. Several are tried in turn; a name is resolved anew at "
             "each attempt. Between brokers of this kind one side is enough, for instance the one "
             "behind NAT: all then goes over the connections that this side opens."},
    {.section = SECTION_LINK,
     .name = "topics",
     .type = KEY_TOPICS,
     .flags = KEY_LIST | KEY_REQUIRED,
     .example = "#",
     .unset = "a mistake; write 'topics =' to want nothing",
     .help = "Filters of the messages we want from the remote cluster. Only those that somebody "
             "here subscribes to come. Empty wants nothing: the link then only gives. A filter "
             "that another one covers, or that can never match, is a mistake. '\\,' is a comma "
             "inside a filter."},
    {.section = SECTION_LINK,
     .name = "export",
     .type = KEY_TOPICS,
     .flags = KEY_LIST,
     .preset = "#",
     .help = "Filters of the messages that the remote cluster may have. What it asks for is taken "
             "as far as it meets one of them. The rest is left out; what is left out whole is "
             "counted (counters/link_routes_not_exported) and said. '#' is everything but topics "
             "that begin with $; "
             "those must be named, as in $SYS/#. Empty gives nothing: the link then only wants. "
             "What is a mistake in topics is one here too."},
    {LINK(dialect), .name = "dialect", .type = KEY_CHOICE, .choices = dialect_choices,
     .preset = "auto",
     .help = "What is spoken on the link. auto is our own with a Causeway cluster and EMQX's with "
             "any other, emqx is EMQX's with every cluster, and native refuses a cluster that does "
             "not speak ours."},
    {LINK(clientid), .name = "clientid", .type = KEY_STRING, .example = "clink-us-east",
     .unset = "the name of [cluster]",
     .help = "Begin of the client ids of the connections of this link."},
    {LINK(username), .name = "username", .type = KEY_STRING, .example = "link-user",
     .unset = "none is sent", .help = "User name for the remote cluster."},
    {LINK(password), .name = "password", .type = KEY_PASSWORD, .example = "secret",
     .unset = "none is sent",
     .help = "Password for the remote cluster. Better is password_file: this file is often "
             "readable by others."},
    {LINK(password), .name = "password_file", .type = KEY_PASSWORD_FILE,
     .example = "/etc/causeway/link.password", .unset = "none is sent",
     .help = "File whose first line is the password for the remote cluster. Blanks at the end of "
             "the line do not count."},
    {LINK(tls.is_on), .name = "tls", .type = KEY_BOOL, .preset = "false",
     .help = "Whether the connections we open use TLS. mqtts:// in front of a server says the "
             "same."},
    {LINK(tls.cafile), .name = "cafile", .type = KEY_STRING, .example = "/etc/causeway/ca.pem",
     .unset = "those the system trusts",
     .help = "Certificates, in PEM, of those who vouch for the remote cluster."},
    {LINK(tls.capath), .name = "capath", .type = KEY_STRING, .example = "/etc/causeway/ca",
     .unset = "none", .help = "Folder with such certificates, each in a file of its own."},
    {LINK(tls.crlfile), .name = "crlfile", .type = KEY_STRING, .example = "/etc/causeway/ca.crl",
     .unset = "none: nothing is revoked", .help = "Revoked certificates of remote clusters."},
    {LINK(tls.certfile), .name = "certfile", .type = KEY_STRING,
     .example = "/etc/causeway/link.pem", .unset = "none is shown",
     .help = "Certificate that we show to the remote cluster, in PEM."},
    {LINK(tls.keyfile), .name = "keyfile", .type = KEY_STRING, .example = "/etc/causeway/link.key",
     .unset = "none", .help = "Its private key in PEM."},
    {LINK(tls.verify), .name = "verify", .type = KEY_BOOL, .preset = "true",
     .help = "Whether the remote cluster must prove who it is. With false anybody in between can "
             "read and write along."},
    {LINK(tls.server_name), .name = "server_name", .type = KEY_STRING,
     .example = "eu-west.example.org", .unset = "the host of server",
     .help = "Name or address that the certificate of the remote cluster must have."},
    {LINK(tls.version), .name = "tls_version", .type = KEY_CHOICE, .choices = tls_version_choices,
     .example = "tlsv1.3", .unset = "tlsv1.2", .help = "The lowest version of TLS that is spoken."},
    {LINK(tls.ciphers), .name = "ciphers", .type = KEY_STRING,
     .example = "ECDHE-ECDSA-AES128-GCM-SHA256",
     .unset = "those with forward secrecy and authenticated encryption",
     .help = "Ciphers of TLS 1.2, by OpenSSL's names, separated by colons."},
    {LINK(tls.ciphers_tls1_3), .name = "ciphers_tls1.3", .type = KEY_STRING,
     .example = "TLS_AES_128_GCM_SHA256", .unset = "all of TLS 1.3",
     .help = "Ciphers of TLS 1.3, separated by colons."},
    {LINK(peer_identity), .name = "peer_identity", .type = KEY_STRING, .example = "link-eu-west",
     .unset = "none: who may connect to a listener with links may speak for this cluster",
     .help = "User name that the remote cluster proves when it connects here, by a password or by "
             "a certificate (use_identity_as_username). Only connections with it may speak for "
             "this cluster, on any listener; they are links and nothing else, and no rule of the "
             "acl_file is needed for them."},
    {LINK(keepalive), .name = "keepalive", .type = KEY_TIME, .unit_us = SECOND, .min = 5,
     .max = 65535, .preset = "60s", .help = "Keep alive of the connections of this link."},
    {LINK(dead_after_ms), .name = "dead_after", .type = KEY_TIME, .unit_us = MS, .min = 2000,
     .max = 600000, .preset = "3s",
     .help = "The remote cluster counts as dead, and is dialled anew, when nothing has come from "
             "it for so long, though it is asked for a sign of life every second, and nothing of "
             "what was sent to it arrives either: a slow path is not a dead one. So it does when "
             "it goes on sending, but nothing that was sent to it arrives. Connections that it "
             "has opened are closed 2 s later than that."},
    {LINK(retry_interval_ms), .name = "retry_interval", .type = KEY_TIME, .unit_us = MS, .min = 100,
     .max = 3600000, .preset = "15s",
     .help = "Longest pause between two attempts to connect. The first comes after 100 ms, and "
             "each pause is about twice the one before."},
    {LINK(max_inflight), .name = "max_inflight", .type = KEY_NUMBER, .min = 1, .max = 65535,
     .flags = KEY_ZERO_PRESETS, .preset = "1024",
     .help = "QoS 1 messages of one connection that wait for their acknowledgement. The remote "
             "cluster's Receive Maximum may lower it; EMQX has 32 there."},
    {LINK(connections), .name = "connections", .aliases = {"pool_size"}, .type = KEY_NUMBER,
     .min = 1, .max = 64, .word = "auto", .word_value = 0, .flags = KEY_ZERO_PRESETS,
     .preset = "auto",
     .help = "Connections that carry messages. auto suits the remote cluster: one per link worker "
             "for Causeway, 8 for EMQX."},
    {LINK(window_bytes), .name = "window_bytes", .type = KEY_SIZE, .min = 64 * KB, .max = GB,
     .flags = KEY_ZERO_PRESETS, .preset = "16MB",
     .help = "Bytes of messages that may be on their way to a Causeway cluster and not "
             "acknowledged. A way of 100 ms carries ten times as much in a second. EMQX counts "
             "messages instead: see max_inflight."},
    {LINK(queue_bytes), .name = "queue_bytes", .type = KEY_SIZE, .min = 64 * KB, .max = 64 * GB,
     .flags = KEY_ZERO_PRESETS, .preset = "64MB",
     .help = "Bytes of messages that wait for the remote cluster or for its acknowledgement, in "
             "equal parts for each connection or link worker. They wait in memory, within "
             "memory_limit, while it is away or slow. What then comes is for on_full to say."},
    {LINK(queue_age), .name = "queue_age", .type = KEY_TIME, .unit_us = SECOND, .min = 1,
     .max = 30 * 86400, .flags = KEY_ZERO_PRESETS, .preset = "1d",
     .help = "A message that has waited so long for the remote cluster is dropped and counted. A "
             "message expiry that ends earlier counts all the same. What the remote cluster has "
             "asked for is kept as long while no connection with it stands."},
    {LINK(on_full), .name = "on_full", .type = KEY_CHOICE, .choices = on_full_choices,
     .preset = "drop_oldest",
     .help = "What happens at queue_bytes. drop_oldest drops the messages that wait longest, "
             "drop_newest the one that comes; both are counted. block drops nothing: a client of "
             "this broker that publishes what any link of the same link worker wants is not read "
             "any more, until the queue has room, at the latest when what waits is older than "
             "queue_age. So one link that blocks holds up what is published here for the other "
             "links of its link worker too, and no other link workers' (see link_workers). It "
             "holds up neither clients whose messages no link wants, nor what remote clusters "
             "send us, nor routes, heartbeats and acknowledgements. What is on its way between "
             "our threads by then, and wills, still come into the queue, on top of "
             "queue_bytes."},
    {LINK(ack), .name = "ack", .type = KEY_CHOICE, .choices = ack_choices, .preset = "local",
     .help = "When a client of this broker that publishes with QoS 1 or 2 what this link carries "
             "gets its PUBACK or PUBREC. With local, when the message is safe here, and the link "
             "delivers it later. With remote, when the remote cluster has acknowledged it, and "
             "so have all other links with remote that carry it. While the cluster is away the "
             "acknowledgement waits, and those of later messages of the same client behind it; a "
             "client may have as many on the way as receive_maximum. A message that the link "
             "drops (on_full, queue_age, its own expiry, too large, refused there) is answered "
             "with 0x97 where the queue was full, else with 0x80; MQTT 3 has no such answer and "
             "gets an acknowledgement, and counters/link_acks_failed counts both. A link that is "
             "disabled, removed, set to local or given another dialect releases who waits for "
             "it."},
    {LINK(compression), .name = "compression", .type = KEY_BOOL, .preset = "false",
     .help = "Whether messages to and from a Causeway cluster may go compressed, if its link says "
             "so too. Each side tries it on a few frames of many messages, compresses while they "
             "become smaller by a quarter, and looks again from time to time. For paths that are "
             "narrow: it costs CPU time at both ends."},
    {LINK(retained), .name = "retained", .type = KEY_CHOICE, .choices = retained_choices,
     .preset = "off",
     .help =
         "What becomes of messages with the retain flag that come over this link. With off they "
         "are only delivered. With pass they are retained here too, and one without payload "
         "removes what is retained; what was retained there before the link was up does not "
         "come. With sync all that is retained there under topics comes when the link comes up, "
         "and then every change, whether somebody subscribes to it here or not. Of two values of "
         "a topic the one that was published later counts in all clusters, by their clocks, and "
         "a removal counts as a value for 7 days. sync is for brokers of this kind; from an EMQX "
         "cluster it is pass. In both clusters, with overlapping topics, it makes them retain "
         "the same. What came over a link goes over no other while links are up: link "
         "every pair of clusters that shall retain the same."},
    {LINK(shared_groups), .name = "shared_groups", .type = KEY_CHOICE,
     .choices = shared_groups_choices, .preset = "local",
     .help =
         "Who gets a message for a shared subscription that has members both here and in the "
         "remote cluster. local: each cluster with members gets one copy, as with EMQX. global: "
         "there is one copy for all clusters. A connected member where it was published comes "
         "first; then, in turn, a cluster with members whose link is up; then it waits for a "
         "member that is away; and where there is none, for a link that is down. It needs global "
         "on both "
         "sides, and brokers of this kind; else the link is as with local, and says so. A group is "
         "global over a link only if all of its filter is in topics on its members' side and in "
         "export on the other; else it gets nothing over that link, which is said in the log. Link "
         "every pair of clusters that shall serve groups together."},
    {LINK(transit), .name = "transit", .type = KEY_BOOL, .preset = "false",
     .help = "Whether clusters that are linked with this one, but not with each other, get what "
             "they want of each other through it: with true on at least two links, what comes "
             "over one of them leaves over the others for the clusters there that want it, at any "
             "number of links, up to 8 clusters away, without loops and without doubles. Both "
             "sides of a link must have it, and be brokers of this kind; else messages cross this "
             "link and no other. topics and export of each link on the way apply. What begins "
             "with $ does not pass."},
    {LINK(max_routes), .name = "max_routes", .type = KEY_NUMBER, .min = 1, .max = 16777216,
     .flags = KEY_ZERO_PRESETS, .preset = "4194304",
     .help = "Routes of this link in each direction: what the remote cluster asks of us, and what "
             "we ask of it. What is beyond is left out, counted "
             "(counters/link_routes_over_limit) and said."},
    {LINK(max_route_ops), .name = "max_route_ops", .type = KEY_NUMBER, .min = 1000,
     .max = 100000000, .flags = KEY_ZERO_PRESETS, .preset = "1000000",
     .help = "Changes of routes that the remote cluster may send in a second. Beyond, its "
             "connections are not read until the time for them has passed, 10 s at most at a "
             "time. Nothing is lost by it."},
    {LINK(max_rate), .name = "max_rate", .type = KEY_SIZE, .min = 128 * KB, .max = 64 * GB,
     .flags = KEY_ZERO_PRESETS, .preset = "1GB",
     .help = "Bytes that the remote cluster may send in a second, routes and messages together. "
             "Beyond, its connections are not read, as with max_route_ops."},

    /* ---- [limits] ---- */
    {LIMITS(packet_bytes), .name = "max_packet_size", .type = KEY_SIZE, .min = KB,
     .max = PACKET_BYTES_MAX, .flags = KEY_ZERO_PRESETS, .preset = "16MB",
     .help = "One packet of a client, whole. A larger one ends the connection with reason 0x95. "
             "MQTT 5 clients are told in CONNACK."},
    {LIMITS(connect_bytes), .name = "max_connect_size", .type = KEY_SIZE, .min = KB, .max = 16 * MB,
     .flags = KEY_ZERO_PRESETS, .preset = "128KB",
     .help =
         "A CONNECT packet with its will: all that is kept for a connection before it is let "
         "in. A larger one ends the connection. Lowered to max_packet_size where that is less."},
    {LIMITS(connect_timeout_ms), .name = "connect_timeout", .aliases = {"idle_timeout"},
     .type = KEY_TIME, .unit_us = MS, .min = 100, .max = 600000, .flags = KEY_ZERO_PRESETS,
     .preset = "10s",
     .help = "Time from the opening of a connection to its whole CONNECT, and for each exchange of "
             "AUTH packets, also of a client that is connected. Beyond, it is closed."},
    {LIMITS(handshake_rate), .name = "max_handshake_rate", .type = KEY_NUMBER, .min = 1,
     .max = 1000000, .flags = KEY_ZERO_PRESETS, .preset = "2000",
     .help = "TLS handshakes a second of each thread. More wait in order, up to connect_timeout, "
             "so that a storm of connections does not hold up those that stand."},
    {LIMITS(topic_levels), .name = "max_topic_levels", .type = KEY_NUMBER, .min = 1,
     .max = TOPIC_LEVELS_MAX, .flags = KEY_ZERO_PRESETS, .preset = "200",
     .help = "Levels of a topic or filter. A topic with more ends the connection with reason "
             "0x90; a filter with more is refused with 0x8F."},
    {LIMITS(connections), .name = "max_connections", .type = KEY_NUMBER, .min = 1, .max = 100000000,
     .word = "auto", .word_value = 0, .flags = KEY_ZERO_PRESETS, .preset = "auto",
     .help = "Connections of all listeners. One more is accepted and closed at once. auto is what "
             "the limit of open files (RLIMIT_NOFILE) has room for."},
    {LIMITS(inflight), .name = "max_inflight_messages", .aliases = {"max_inflight"},
     .type = KEY_NUMBER, .min = 1, .max = 65535, .flags = KEY_ZERO_PRESETS, .preset = "20",
     .help = "QoS 1 and 2 messages on their way to one client, not yet acknowledged. More wait in "
             "the session. An MQTT 5 client may ask for less."},
    {LIMITS(receive_maximum), .name = "receive_maximum", .type = KEY_NUMBER, .min = 1, .max = 65535,
     .flags = KEY_ZERO_PRESETS, .preset = "1024",
     .help = "QoS 1 and 2 messages one client may have on their way to us. MQTT 5 clients are told "
             "in CONNACK, and one more ends the connection with reason 0x93."},
    {LIMITS(queued_messages), .name = "max_queued_messages",
     .aliases = {"max_mqueue_len", "max_qos_msg_pending_per_client"}, .type = KEY_NUMBER, .min = 1,
     .max = 100000000, .flags = KEY_ZERO_PRESETS, .preset = "1000",
     .help = "Messages that wait in one session. At the bound queue_full decides."},
    {LIMITS(queued_bytes), .name = "max_queued_bytes",
     .aliases = {"max_qos_bytes_pending_per_client"}, .type = KEY_SIZE, .min = KB, .max = 4095 * MB,
     .flags = KEY_ZERO_PRESETS, .preset = "64MB",
     .help = "Bytes that wait in one session. At the bound queue_full decides. Not less than "
             "max_packet_size, or some messages could never wait."},
    {LIMITS(queue_full), .name = "queue_full", .type = KEY_CHOICE, .choices = queue_full_choices,
     .preset = "drop_new",
     .help = "What happens when a session is at max_queued_messages or max_queued_bytes: the new "
             "message is dropped for it, the oldest is, or the client is disconnected with reason "
             "0x97."},
    {LIMITS(outq_bytes), .name = "max_outq_bytes", .type = KEY_SIZE, .min = OUTQ_BYTES_MIN,
     .max = GB, .flags = KEY_ZERO_PRESETS, .preset = "1MB",
     .help = "Bytes that wait to be sent to one slow client. At the bound QoS 0 messages to it "
             "are dropped; QoS 1 and 2 wait in its session."},
    {LIMITS(subscriptions), .name = "max_subscriptions", .type = KEY_NUMBER, .min = 1,
     .max = 10000000, .flags = KEY_ZERO_PRESETS, .preset = "10000",
     .help = "Subscriptions of one session. One more is refused with 0x97."},
    {LIMITS(sessions), .name = "max_sessions", .type = KEY_NUMBER, .min = 1, .max = 100000000,
     .flags = KEY_ZERO_PRESETS, .preset = "1000000",
     .help = "Sessions kept for clients that are away. At the bound a session ends with its "
             "connection."},
    {LIMITS(retained), .name = "max_retained", .aliases = {"max_retained_messages"},
     .type = KEY_NUMBER, .min = 1, .max = 1000000000, .flags = KEY_ZERO_PRESETS,
     .preset = "1000000",
     .help = "Retained messages, of all topics but $SYS. One under a new topic beyond that is "
             "delivered but not kept."},
    {LIMITS(retained_bytes), .name = "max_retained_bytes", .type = KEY_SIZE, .min = KB,
     .max = 16384 * GB, .flags = KEY_ZERO_PRESETS, .preset = "1GB",
     .help = "Bytes of all retained messages; beyond, as max_retained. Lowered to memory_limit "
             "where that is less."},
    {LIMITS(topic_alias), .name = "max_topic_alias", .type = KEY_NUMBER, .min = 0, .max = 65535,
     .preset = "10",
     .help = "Topic aliases a client may use towards us; 0 allows none. MQTT 5 clients are told in "
             "CONNACK, and a higher alias ends the connection with reason 0x94."},
    {LIMITS(keepalive), .name = "max_keepalive", .aliases = {"server_keepalive"}, .type = KEY_TIME,
     .unit_us = SECOND, .min = 1, .max = 65535, .flags = KEY_ZERO_PRESETS, .preset = "65535s",
     .help = "Longest keep alive of a client. An MQTT 5 client that asks for more, or for none, "
             "is told to use this one; an older one is refused with 0x02."},
    {LIMITS(group_queued), .name = "max_group_queued", .type = KEY_NUMBER, .min = 1,
     .max = 10000000, .flags = KEY_ZERO_PRESETS, .preset = "1000",
     .help = "Messages a shared subscription keeps while none of its members can take one. At the "
             "bound the oldest is dropped."},
    {LIMITS(memory_bytes), .name = "memory_limit", .type = KEY_SIZE, .min = 16 * MB,
     .max = 16384 * GB, .word = "auto", .word_value = 0, .flags = KEY_ZERO_PRESETS,
     .preset = "auto",
     .help = "Bytes of all waiting, retained and half-received messages, filters, routes of links "
             "and wills together. At the bound messages are dropped or not retained, as at their "
             "own bounds, and new filters, routes and wills are refused; beyond it by an eighth, "
             "who is sending a large packet is disconnected. auto is half of the machine's "
             "memory."},
    {LIMITS(session_expiry), .name = "persistent_client_expiration",
     .aliases = {"session_expiry_interval", "expire_sessions_after_seconds"}, .type = KEY_TIME,
     .unit_us = SECOND, .min = 1, .max = 36500u * 86400u, .word = "never", .word_value = UINT32_MAX,
     .flags = KEY_ZERO_PRESETS | KEY_MONTHS, .preset = "never",
     .help = "Longest life of a session whose client is away, whatever the client asked for. "
             "Minutes are written min here, since m means months in mosquitto."},
    {LIMITS(max_qos), .name = "max_qos", .aliases = {"max_qos_allowed"}, .type = KEY_NUMBER,
     .min = 0, .max = 2, .preset = "2",
     .help = "Highest QoS a client may publish with. MQTT 5 clients are told in CONNACK, and a "
             "higher one ends the connection with reason 0x9B."},
    {LIMITS(retain_available), .name = "retain_available", .type = KEY_BOOL, .preset = "true",
     .help = "Whether messages may be retained. With false a retained message ends the connection "
             "with reason 0x9A; MQTT 5 clients are told in CONNACK."},
    {LIMITS(queue_qos0), .name = "queue_qos0_messages", .aliases = {"mqueue_store_qos0"},
     .type = KEY_BOOL, .preset = "false",
     .help = "Whether QoS 0 messages wait for a client that is away, as QoS 1 and 2 do."},
    {LIMITS(upgrade_qos), .name = "upgrade_outgoing_qos", .aliases = {"upgrade_qos"},
     .type = KEY_BOOL, .preset = "false",
     .help = "Whether a message is delivered with the QoS of the subscription even where it was "
             "published with less. MQTT forbids this."},
    {LIMITS(share_policy), .name = "shared_subscription_strategy",
     .aliases = {"shared_subscription_targeting"}, .type = KEY_CHOICE, .choices = share_choices,
     .preset = "round_robin",
     .help = "Which member of a shared subscription gets a message. Connected members come first. "
             "hash_clientid and hash_topic keep a publisher or a topic with one member."},

    /* ---- [log] ---- */
    {.section = SECTION_LOG,
     .name = "log_dest",
     .type = KEY_LOG_DESTS,
     .flags = KEY_LIST,
     .preset = "stderr",
     .help = "Where to log: stdout, stderr, syslog, file PATH or none. Several may be named."},
    {LOGGING(format), .name = "log_format", .aliases = {"formatter"}, .type = KEY_CHOICE,
     .choices = format_choices, .preset = "text",
     .help = "How a line looks: text is key=value, json one object with the same keys."},
    {LOGGING(level), .name = "log_level", .aliases = {"level"}, .type = KEY_CHOICE,
     .choices = level_choices, .preset = "info",
     .help = "The least important lines that are logged."},
    {LOGGING(timestamp), .name = "log_timestamp", .type = KEY_BOOL, .preset = "true",
     .help = "Whether a line begins with its time. syslog has its own."},
    {LOGGING(connection_messages), .name = "connection_messages", .type = KEY_BOOL,
     .preset = "true", .help = "Whether clients that connect and disconnect are logged."},
    {LOGGING(facility), .name = "log_facility", .type = KEY_CHOICE, .choices = facility_choices,
     .preset = "daemon", .help = "Facility of syslog."},

    /* ---- [auth] ---- */
    {AUTH(allow_anonymous), .name = "allow_anonymous", .type = KEY_BOOL, .example = "false",
     .unset = "true, and false where there is a password_file, a scram_file, a key for tokens or "
              "an http_auth_url",
     .help = "What a loopback listener does that does not say it itself. Listeners that other "
             "machines can reach must say it themselves."},
    {AUTH(password_file), .name = "password_file", .aliases = {"mosquitto_password_file"},
     .type = KEY_STRING, .example = "/etc/causeway/passwd", .unset = "none: no passwords",
     .help = "Users and the hashes of their passwords, as causeway-passwd and mosquitto_passwd "
             "write them. A client with a user name must then have its password; one without is "
             "anonymous."},
    {AUTH(scram_file), .name = "scram_file", .type = KEY_STRING, .example = "/etc/causeway/scram",
     .unset = "none: no enhanced authentication",
     .help = "Users that log in with MQTT 5's enhanced authentication, by SCRAM-SHA-256 or "
             "SCRAM-SHA-512: the password never crosses the wire, and the client learns that the "
             "broker knows it. causeway-passwd --scram writes the file. Such users need no line in "
             "password_file, and the other way around; who logs in without a method is let in by "
             "password_file and allow_anonymous alone."},
    {AUTH(method_names), .name = "methods", .type = KEY_TEXTS, .flags = KEY_LIST, .example = "jwt",
     .unset = "all that are configured: password, jwt, http",
     .help = "How clients may prove who they are, in the order of asking: password (of "
             "password_file), jwt (the password is a JSON Web Token) and http (http_auth_url is "
             "asked). A user that password_file does not know, a password that is no token, and "
             "what the server answers with ignore are handed to the next method; a wrong password "
             "and a token that does not hold are refused."},
    {AUTH(jwt.key_file), .name = "jwt_key_file", .type = KEY_STRING,
     .example = "/etc/causeway/jwt.pem", .unset = "none",
     .help = "Who may sign tokens: public keys or certificates in PEM (RSA for RS256, P-256 for "
             "ES256, Ed25519 for EdDSA), or a secret of at least 32 bytes for HS256, HS384 and "
             "HS512, as it stands or behind base64:, which jwt_algorithms must name. Read anew on "
             "SIGHUP."},
    {AUTH(jwt.jwks_file), .name = "jwt_jwks_file", .type = KEY_STRING,
     .example = "/etc/causeway/jwks.json", .unset = "none",
     .help = "The same as a JSON Web Key Set; the kid of a token picks the key. Both files "
             "may be given. Read anew on SIGHUP."},
    {AUTH(jwt.algorithms), .name = "jwt_algorithms", .type = KEY_TEXTS, .flags = KEY_LIST,
     .example = "RS256, ES256", .unset = "what each key is for",
     .help = "Algorithms that tokens may be signed with: HS256, HS384, HS512, RS256, ES256, EdDSA. "
             "A key is never used with one of another kind."},
    {AUTH(jwt.username_claim), .name = "jwt_username_claim", .type = KEY_STRING, .example = "sub",
     .unset = "username, or else sub",
     .help = "The claim that is the client's user name, whatever name it connects with. A token "
             "without it is refused."},
    {AUTH(jwt.audience), .name = "jwt_audience", .type = KEY_STRING, .example = "mqtt.example.com",
     .unset = "any", .help = "What a token's aud must be, or hold."},
    {AUTH(jwt.issuer), .name = "jwt_issuer", .type = KEY_STRING,
     .example = "https://login.example.com", .unset = "any", .help = "What a token's iss must be."},
    {AUTH(jwt.leeway_s), .name = "jwt_leeway", .type = KEY_TIME, .unit_us = SECOND, .min = 0,
     .max = 3600, .preset = "0",
     .help = "How far the clocks of this machine and of those who sign may differ: a token holds "
             "so much longer, and may come so much sooner."},
    {AUTH(jwt.require_exp), .name = "jwt_require_exp", .type = KEY_BOOL, .preset = "false",
     .help = "Whether a token without exp, which would hold for ever, is refused."},
    {AUTH(jwt.disconnect_after_expire), .name = "jwt_disconnect_after_expire", .type = KEY_BOOL,
     .preset = "true",
     .help = "Whether a client is disconnected (0x87) when the token it came with expires. Where "
             "it is not, and the token brought rules, it may publish and subscribe to nothing "
             "from then on."},
    {AUTH(jwt.acl_claim), .name = "jwt_acl_claim", .aliases = {"acl_claim_name"},
     .type = KEY_STRING, .preset = "acl",
     .help = "The claim with the rules that a token brings for its client, in both forms of EMQX. "
             "They are asked before http_acl_url and acl_file. What an array of rules does not "
             "fit is for those to say, and allowed where there are none; an object of pub, sub "
             "and all is the whole of what is allowed. A claim that is not understood refuses "
             "the login; a token without it says nothing. none: the claim is not looked at."},
    {AUTH(acl_file), .name = "acl_file", .aliases = {"mosquitto_acl_file"}, .type = KEY_STRING,
     .example = "/etc/causeway/acl", .unset = "none: everything is allowed",
     .help = "Who may read and write which topics, in mosquitto's format. What it does not allow "
             "is refused; an empty file refuses everything."},
    {AUTH(acl_check_subscribe), .name = "acl_check_subscribe", .type = KEY_BOOL, .preset = "false",
     .help = "Whether a subscription that could never get a message is refused (0x87). Without it "
             "every subscription is accepted, as in mosquitto, and messages are judged one by "
             "one. They are in both cases."},
    {AUTH(check_retain_source), .name = "check_retain_source", .type = KEY_BOOL, .preset = "true",
     .help = "Whether a retained message is only delivered while its publisher may still write "
             "its topic."},
    {AUTH(cache_ms), .name = "auth_cache", .type = KEY_TIME, .unit_us = MS, .min = 0,
     .max = 86400000, .preset = "10min",
     .help = "How long a password that was right is not computed again, and a token that held not "
             "judged again, while it has not expired; 0: they always are. Only a keyed hash is "
             "kept. A changed password file counts at once, and so do keys for tokens when they "
             "are read anew."},
    {AUTH(threads), .name = "auth_threads", .type = KEY_NUMBER, .min = 1, .max = 64, .word = "auto",
     .word_value = 0, .flags = KEY_ZERO_PRESETS, .preset = "auto",
     .help = "Threads that compute password hashes; auto is one for each two cores."},
    {AUTH(failures_max), .name = "max_auth_failures", .type = KEY_NUMBER, .min = 1, .max = 1000000,
     .flags = KEY_ZERO_PRESETS, .preset = "10",
     .help = "Failed authentications of an address (IPv6: of a /64) before it is banned for "
             "auth_ban_time: its connections are closed before anything is read of them. A client "
             "id of an address is banned after half as many, and refused with 0x9F."},
    {AUTH(failure_window_ms), .name = "auth_failure_window", .type = KEY_TIME, .unit_us = MS,
     .min = 1000, .max = 86400000, .preset = "5min",
     .help = "Time in which max_auth_failures failures are forgiven, one by one. Success forgives "
             "none."},
    {AUTH(ban_ms), .name = "auth_ban_time", .type = KEY_TIME, .unit_us = MS, .min = 0,
     .max = 86400000, .preset = "5min",
     .help = "How long an address or client id is banned; 0: nobody is ever. A ban is logged once, "
             "with the address."},
    {AUTH(ban_exempt), .name = "auth_ban_exempt", .type = KEY_NETWORKS, .flags = KEY_LIST,
     .example = "10.0.0.0/8", .unset = "localhost",
     .help = "Addresses and networks that are never banned, though their client ids may be: "
             "balancers without PROXY headers, gateways of whole fleets. Where there are PROXY "
             "headers, the client's own address counts."},
    {AUTH(http_auth_url), .name = "http_auth_url", .type = KEY_STRING,
     .example = "https://auth.example.com/mqtt/auth", .unset = "none",
     .help =
         "Address that is asked about clients that no method before http knows, by POST of "
         "JSON: clientid, username, password, peerhost, listener, cert_common_name. It answers "
         "{\"result\": \"allow\"}, \"deny\" or \"ignore\" (then the next method decides; after the "
         "last one a client without user name is anonymous, and one with it is refused); status "
         "204 allows. Anything else "
         "refuses. What was allowed is not asked again for auth_cache."},
    {AUTH(http_acl_url), .name = "http_acl_url", .type = KEY_STRING,
     .example = "https://auth.example.com/mqtt/acl", .unset = "none",
     .help = "Address that is asked before a client publishes or subscribes: clientid, username, "
             "peerhost, action (publish or subscribe), topic, qos, retain. Answers as above; with "
             "ignore acl_file decides, and without one it is refused. A client waits for its own "
             "answers only; deliveries are not asked about."},
    {AUTH(http_acl_cache_ms), .name = "http_acl_cache", .type = KEY_TIME, .unit_us = MS,
     .min = 1000, .max = 86400000, .preset = "1min",
     .help = "How long an answer of http_acl_url stands."},
    {AUTH(http_connect_ms), .name = "http_connect_timeout", .type = KEY_TIME, .unit_us = MS,
     .min = 1, .max = 25000, .preset = "2s",
     .help = "How long connecting to one of these servers may take."},
    {AUTH(http_timeout_ms), .name = "http_timeout", .type = KEY_TIME, .unit_us = MS, .min = 1,
     .max = 25000, .preset = "5s",
     .help = "How long an answer may take, with the time a question waits for a thread. No answer "
             "in time is a refusal."},
    {AUTH(http_threads), .name = "http_threads", .type = KEY_NUMBER, .min = 1, .max = 256,
     .preset = "8",
     .help = "Questions to these servers that are under way at a time, each over a connection "
             "that stays open."},
    {AUTH(http_cafile), .name = "http_cafile", .type = KEY_STRING,
     .example = "/etc/causeway/http-ca.pem", .unset = "the authorities of the system",
     .help = "Who may have signed the certificate of an https server."},
};

const uint32_t key_count = sizeof(keys) / sizeof(keys[0]);

/* A name that is known from elsewhere. */
struct unavailable {
    enum section_kind section; /* SECTION_COUNT: any */
    const char *name;
    const char *answer;
};

#define NOT_YET "is not available in this version; "
#define NO_STORE NOT_YET "sessions and retained messages live in memory only"

static const struct unavailable unavailables[] = {
    {SECTION_COUNT, "acl_default", "does not exist; what acl_file does not allow is refused"},
    {SECTION_COUNT, "plugin", "does not exist; there are no plugins"},
    {SECTION_COUNT, "per_listener_settings",
     "does not exist; what stands in a [listener NAME] holds for that listener"},
    {SECTION_LISTENER, "tls", "does not exist; a listener with certfile and keyfile speaks TLS"},
    {SECTION_COUNT, "durability", NO_STORE},
    {SECTION_COUNT, "persistence", NO_STORE},
    {SECTION_COUNT, "persistence_location", NO_STORE},
    {SECTION_COUNT, "persistence_file", NO_STORE},
    {SECTION_COUNT, "autosave_interval", NO_STORE},
    {SECTION_COUNT, "storage_dir", NO_STORE},
    {SECTION_COUNT, "include_dir", NOT_YET "put everything into one file"},
    {SECTION_COUNT, "user", NOT_YET "start the broker as that user"},
    {SECTION_COUNT, "message_size_limit", "does not exist; max_packet_size of [limits] bounds it"},
    {SECTION_COUNT, "log_type", "does not exist; write log_level in [log]"},
    {SECTION_COUNT, "log_file", "does not exist; write 'log_dest = file PATH' in [log]"},
    {SECTION_COUNT, "log_timestamp_format", "does not exist; times are always ISO 8601 in UTC"},
    {SECTION_LISTENER, "http_dir", "does not exist; the broker serves no files"},
    {SECTION_LINK, "topic", "does not exist; write 'topics = FILTER, FILTER' without directions"},
    {SECTION_CLUSTER, "shared_groups", "is a key of [link NAME]"},
};

static const struct unavailable unavailable_sections[] = {
    {SECTION_COUNT, "bridge", "does not exist; write a [link NAME] on both sides"},
    {SECTION_COUNT, "connection", "does not exist; write a [link NAME] on both sides"},
    {SECTION_COUNT, "store", NO_STORE},
    {SECTION_COUNT, "persistence", NO_STORE},
    {SECTION_COUNT, "tls", "does not exist; certfile and keyfile stand in [listener NAME]"},
    {SECTION_COUNT, "acl", "does not exist; write acl_file in [auth]"},
    {SECTION_COUNT, "admin", NOT_YET "the topics under $SYS/broker/ tell the state"},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const struct section_info *section_find(const char *name)
{
    for (uint32_t i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(section_infos[i].name, name) == 0)
            return &section_infos[i];
    }
    return NULL;
}

enum section_kind section_kind_of(const struct section_info *info)
{
    return (enum section_kind)(info - section_infos);
}

static bool key_is_called(const struct key *key, const char *name)
{
    if (strcmp(key->name, name) == 0)
        return true;
    for (uint32_t i = 0; i < KEY_ALIASES_MAX && key->aliases[i]; i++) {
        if (strcmp(key->aliases[i], name) == 0)
            return true;
    }
    return false;
}

const struct key *key_find(enum section_kind section, const char *name)
{
    for (uint32_t i = 0; i < key_count; i++) {
        if (keys[i].section == section && key_is_called(&keys[i], name))
            return &keys[i];
    }
    return NULL;
}

const struct key *key_find_anywhere(const char *name)
{
    for (uint32_t i = 0; i < key_count; i++) {
        if (key_is_called(&keys[i], name))
            return &keys[i];
    }
    return NULL;
}

uint32_t key_idx(const struct key *key)
{
    return (uint32_t)(key - keys);
}

/* Longest name that is compared for nearness; the ones in the table are shorter. */
#define NEAR_BYTES_MAX 48u

/* Steps to turn `a` into `b`: a letter put in, taken out, replaced, or swapped with the next. */
static uint32_t distance(const char *a, const char *b)
{
    uint32_t rows[3][NEAR_BYTES_MAX + 1];
    size_t an = strlen(a), bn = strlen(b);

    if (an > NEAR_BYTES_MAX || bn > NEAR_BYTES_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= bn; j++)
        rows[0][j] = (uint32_t)j;
    for (size_t i = 1; i <= an; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];

        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= bn; j++) {
            uint32_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                second[j - 2] + 1 < best)
                best = second[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[an % 3][bn];
}

/* Takes `candidate` for the nearest if it is nearer than `*nearest`, and near at all: a mistake in
 * three letters, and never more than three. */
static void keep_nearer(const char *name, const char *candidate, uint32_t *nearest_steps,
                        const char **nearest)
{
    uint32_t steps = distance(name, candidate);
    uint32_t allowed = (uint32_t)strlen(candidate) / 3;

    if (allowed > 3)
        allowed = 3;
    if (strcasecmp(name, candidate) == 0)
        steps = 0;
    if (steps <= allowed && steps < *nearest_steps) {
        *nearest_steps = steps;
        *nearest = candidate;
    }
}

const struct section_info *section_nearest(const char *name)
{
    uint32_t steps = UINT32_MAX;
    const char *nearest = NULL;

    for (uint32_t i = 0; i < SECTION_COUNT; i++)
        keep_nearer(name, section_infos[i].name, &steps, &nearest);
    return nearest ? section_find(nearest) : NULL;
}

const char *key_nearest(enum section_kind section, const char *name)
{
    uint32_t steps = UINT32_MAX;
    const char *nearest = NULL;

    for (uint32_t i = 0; i < key_count; i++) {
        if (keys[i].section != section)
            continue;
        keep_nearer(name, keys[i].name, &steps, &nearest);
        for (uint32_t a = 0; a < KEY_ALIASES_MAX && keys[i].aliases[a]; a++)
            keep_nearer(name, keys[i].aliases[a], &steps, &nearest);
    }
    return nearest;
}

const char *key_unavailable(enum section_kind section, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(unavailables); i++) {
        const struct unavailable *u = &unavailables[i];

        if ((u->section == section || u->section == SECTION_COUNT) && strcmp(u->name, name) == 0)
            return u->answer;
    }
    return NULL;
}

const char *section_unavailable(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(unavailable_sections); i++) {
        if (strcmp(unavailable_sections[i].name, name) == 0)
            return unavailable_sections[i].answer;
    }
    return NULL;
}

static void print_choices(char *to, const struct key_choice *choices)
{
    size_t n = 0;

    to[0] = '\0';
    for (const struct key_choice *c = choices; c->word; c++) {
        if (c->is_alias)
            continue;
        n += (size_t)snprintf(to + n, KEY_RANGE_BYTES - n, "%s%s", n ? " | " : "", c->word);
    }
}

static void print_span(char *to, const struct key *key)
{
    char min[VALUE_PRINT_BYTES], max[VALUE_PRINT_BYTES];

    if (key->type == KEY_SIZE) {
        value_print_size(min, key->min);
        value_print_size(max, key->max);
    } else if (key->type == KEY_TIME) {
        value_print_duration(min, key->min * key->unit_us);
        value_print_duration(max, key->max * key->unit_us);
    } else {
        snprintf(min, sizeof(min), "%" PRIu64, key->min);
        snprintf(max, sizeof(max), "%" PRIu64, key->max);
    }
    snprintf(to, KEY_RANGE_BYTES, "%s to %s%s%s", min, max, key->word ? ", or " : "",
             key->word ? key->word : "");
}

void key_print_range(char *to, const struct key *key)
{
    static const char *const forms[KEY_TYPE_COUNT] = {
        [KEY_BOOL] = "true | false",
        [KEY_STRING] = "text",
        [KEY_NAME] = "letters, digits, '-' and '_', at most 254",
        [KEY_BIND] = "ADDRESS:PORT, [IPv6]:PORT, ADDRESS, PORT or unix:/PATH",
        [KEY_MODE] = "an octal number of at most 0777",
        [KEY_ADDRESS] = "a numeric address or localhost",
        [KEY_SERVERS] = "HOST:PORT, [IPv6]:PORT or HOST, and more after commas",
        [KEY_TOPICS] = "filters, separated by commas",
        [KEY_LOG_DESTS] = "stdout | stderr | syslog | file PATH | none",
        [KEY_TEXTS] = "words, separated by commas",
        [KEY_RATE] = "COUNT/s or COUNT/TIME, as in 1000/10s, or infinity",
        [KEY_VERSIONS] = "3.1, 3.1.1 and 5, separated by commas",
        [KEY_NETWORKS] = "ADDRESS, ADDRESS/BITS, localhost or all, and more after commas",
        [KEY_PASSWORD] = "text",
        [KEY_PASSWORD_FILE] = "path of a file",
    };

    if (key->type == KEY_CHOICE)
        print_choices(to, key->choices);
    else if (forms[key->type])
        snprintf(to, KEY_RANGE_BYTES, "%s", forms[key->type]);
    else
        print_span(to, key);
}
