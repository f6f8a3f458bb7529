/* tools/load_options.h -- what causeway-load was asked to do.
 *
 * Flags have the names of mosquitto_pub where that has them.
 */
#ifndef TOOLS_LOAD_OPTIONS_H
#define TOOLS_LOAD_OPTIONS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/mqtt/packet.h"
#include "tools/load_proc.h"
#include "tools/load_scenario.h"
#include "tools/load_size.h"

/* No run lasts longer than this: clients send no pings, and MQTT's keep alive is 16 bits. */
#define LOAD_SECONDS_MAX 3000u
#define LOAD_KEEP_ALIVE 4000u
#define LOAD_CLIENTS_MAX 1000000u
#define LOAD_WINDOW_MAX 65535u
#define LOAD_PAYLOAD_MAX (1u << 20)
#define LOAD_PREFIX_MAX 64u
#define LOAD_TOPICS_MAX 1000000u
#define LOAD_BROKERS_MAX 16u
#define LOAD_RUNS_MAX 64u
#define LOAD_ROUNDS_MAX 100u
#define LOAD_CPUS_MAX 64u

/* How a result is printed. */
enum load_form { LOAD_FORM_TEXT, LOAD_FORM_JSON, LOAD_FORM_CSV };

/* Which processors brokers and load are kept on; a bit for each. */
struct load_pin {
    bool is_wanted;
    uint64_t broker, load; /* 0: by what there is */
};

/* What --compare and its companions say. */
struct load_compare {
    const char *file; /* NULL: none */
    const char *brokers[LOAD_BROKERS_MAX];
    uint32_t broker_count;
    const char *floor; /* NULL: none */
    const char *runs[LOAD_RUNS_MAX];
    uint32_t run_count;
    uint32_t rounds;
    struct load_pin pin;
};

struct load_options {
    const struct load_scenario *scenario;
    const char *host, *port;
    char far_host[256];       /* with far_port */
    const char *far_port;     /* of the broker that subscribers connect to; NULL: the same */
    const char *bind_address; /* NULL: the kernel's choice */
    uint32_t bind_count;      /* addresses from bind_address on that are used in turn */
    const char *topic_prefix;
    const char *username, *password; /* NULL: none */
    enum protocol protocol;
    uint8_t qos;
    const char *size; /* as it was written */
    struct load_sizes sizes;
    uint32_t topics;  /* of each client or of all, where the scenario has them */
    uint32_t clients; /* on the wide side of the scenario */
    uint32_t window;  /* messages of a publisher on their way */
    uint32_t rate;    /* messages a second of all publishers; 0: as fast as the window lets */
    uint64_t count;   /* messages in all; 0: until the time is over */
    uint32_t ramp;    /* connections that are being made at the same time */
    uint64_t settle_us, warm_up_us, measure_us, stall_us;
    struct load_procs procs; /* of the broker; none: nothing is measured there */
    enum load_form form;
    const char *html_file; /* NULL: none */
    bool shows_progress;   /* also when stderr is no terminal */
    bool is_bare;          /* no MQTT, but the frames of bench/floor */
    const char *ws_path;   /* NULL: no WebSocket */
    struct load_compare compare;
    bool has_tls, is_insecure, resumes;
    const char *ca_file, *certificate_file, *key_file; /* NULL: the system's; none */

    /* found by load_options_resolve */
    struct sockaddr_storage to;
    socklen_t to_bytes;
    struct sockaddr_storage far_to; /* with far_port */
    socklen_t far_to_bytes;
    struct sockaddr_storage from; /* with bind_address */
};

enum load_asked {
    LOAD_ASKED_RUN,     /* `o` says what */
    LOAD_ASKED_COMPARE, /* several brokers; `o` is what all runs share, and not finished */
    LOAD_ASKED_DONE,    /* help or version was printed: exit 0 */
    LOAD_ASKED_WRONG,   /* what is wrong was printed to stderr: exit 2 */
};

/* What nothing was said about yet. */
void load_options_init(struct load_options *o);
/* Reads further words on top of what was read before; argv[0] is none of them. */
enum load_asked load_options_add(struct load_options *o, int argc, char **argv);
/* Fills in what was not said, and looks whether all fits together.  false: it does not, which was
 * printed to stderr. */
bool load_options_finish(struct load_options *o);
/* Whether a scenario and its options need nothing of MQTT. */
bool load_options_can_be_bare(const struct load_options *o);
/* All of that. */
enum load_asked load_options_read(struct load_options *o, int argc, char **argv);
/* Finds the addresses.  false: why not was printed to stderr. */
bool load_options_resolve(struct load_options *o);
/* The address connection `idx` comes from, written to *a; NULL when the kernel may choose. */
const struct sockaddr *load_options_source(const struct load_options *o, uint32_t idx,
                                           struct sockaddr_storage *a);

#endif
