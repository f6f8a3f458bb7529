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

/* No run lasts longer than this: clients send no pings, and MQTT's keep alive is 16 bits. */
#define LOAD_SECONDS_MAX 3000u
#define LOAD_KEEP_ALIVE 4000u
#define LOAD_CLIENTS_MAX 1000000u
#define LOAD_WINDOW_MAX 65535u
#define LOAD_PAYLOAD_MAX (1u << 20)
#define LOAD_PREFIX_MAX 64u

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
    uint32_t payload_bytes;
    uint32_t clients; /* on the wide side of the scenario */
    uint32_t window;  /* messages of a publisher on their way */
    uint32_t rate;    /* messages a second of all publishers; 0: as fast as the window lets */
    uint64_t count;   /* messages in all; 0: until the time is over */
    uint32_t ramp;    /* connections that are being made at the same time */
    uint64_t settle_us, warm_up_us, measure_us, stall_us;
    struct load_procs procs; /* of the broker; none: nothing is measured there */
    bool is_json;
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
    LOAD_ASKED_RUN,   /* `o` says what */
    LOAD_ASKED_DONE,  /* help or version was printed: exit 0 */
    LOAD_ASKED_WRONG, /* what is wrong was printed to stderr: exit 2 */
};

/* Reads the command line. */
enum load_asked load_options_read(struct load_options *o, int argc, char **argv);
/* Finds the addresses.  false: why not was printed to stderr. */
bool load_options_resolve(struct load_options *o);
/* The address connection `idx` comes from, written to *a; NULL when the kernel may choose. */
const struct sockaddr *load_options_source(const struct load_options *o, uint32_t idx,
                                           struct sockaddr_storage *a);

#endif
