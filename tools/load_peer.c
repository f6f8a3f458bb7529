/* tools/load_peer.c -- a broker that is started for one run, and ended after it. */
#include "tools/load_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/load_values.h"

#define TRY_MS 20u
#define START_MS 15000u
#define FREE_MS 3000u
#define STOP_MS 10000u

static void sleep_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&t, NULL);
}

static bool takes_connections(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

/* The kernel may take a while to close what a program with io_uring leaves behind. */
static bool becomes_free(const char *port)
{
    for (uint32_t ms = 0; ms < FREE_MS; ms += TRY_MS) {
        if (!takes_connections(port))
            return true;
        sleep_ms(TRY_MS);
    }
    return false;
}

/* ---- processors ---- */

void load_pin_to(uint64_t cpus)
{
    cpu_set_t set;

    if (cpus == 0)
        return;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < LOAD_CPUS_MAX; i++) {
        if (cpus & (1ull << i))
            CPU_SET(i, &set);
    }
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        load_complain("--pin: %s", strerror(errno));
}

uint64_t load_pin_available(void)
{
    uint64_t cpus = 0;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 0;
    for (uint32_t i = 0; i < LOAD_CPUS_MAX; i++)
        cpus |= CPU_ISSET(i, &set) ? 1ull << i : 0;
    return cpus;
}

bool load_pin_choose(struct load_pin *pin, uint64_t available)
{
    if (pin->broker || !pin->is_wanted)
        return pin->is_wanted;
    if (__builtin_popcountll(available) < 3)
        return false;
    pin->load = 1ull << (63 - __builtin_clzll(available));
    pin->broker = available & ~pin->load;
    return true;
}

/* ---- the process ---- */

/* In the child. */
static void become(const struct load_peer *peer, const FILE *said, uint64_t cpus)
{
    char *command = NULL;
    struct rlimit l;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
    load_pin_to(cpus);
    if (dup2(fileno((FILE *)(uintptr_t)said), STDOUT_FILENO) >= 0 &&
        dup2(STDOUT_FILENO, STDERR_FILENO) >= 0 && asprintf(&command, "exec %s", peer->command) > 0)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static bool has_ended(struct load_started *s)
{
    if (waitpid(s->pid, NULL, WNOHANG) == 0)
        return false;
    s->pid = 0;
    return true;
}

static void show(struct load_started *s)
{
    char part[4096];
    size_t n;

    rewind(s->said);
    while ((n = fread(part, 1, sizeof(part), s->said)) > 0)
        (void)fwrite(part, 1, n, stderr);
}

static void end(struct load_started *s)
{
    if (s->pid == 0)
        return;
    (void)kill(s->pid, SIGTERM);
    for (uint32_t ms = 0; ms < STOP_MS && !has_ended(s); ms += TRY_MS)
        sleep_ms(TRY_MS);
    if (s->pid == 0)
        return;
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

bool load_peer_start(struct load_started *s, const struct load_peer *peer, uint64_t cpus)
{
    *s = (struct load_started){0};
    if (!becomes_free(peer->port))
        return load_complain("%s: something listens on port %s already", peer->name, peer->port);
    s->said = tmpfile();
    if (!s->said)
        return load_complain("no temporary file: %s", strerror(errno));
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0)
        become(peer, s->said, cpus);
    if (s->pid < 0) {
        s->pid = 0; /* not -1, which is every process where one is to be ended */
        load_complain("%s does not start: %s", peer->name, strerror(errno));
        fclose(s->said);
        return false;
    }
    for (uint32_t ms = 0; ms < START_MS && !has_ended(s); ms += TRY_MS) {
        if (takes_connections(peer->port))
            return true;
        sleep_ms(TRY_MS);
    }
    show(s);
    end(s);
    fclose(s->said);
    return load_complain("%s does not start: %s", peer->name, peer->command);
}

bool load_peer_stop(struct load_started *s, const struct load_peer *peer)
{
    bool had_ended = has_ended(s);

    if (had_ended) {
        show(s);
        load_complain("%s had ended by itself", peer->name);
    }
    end(s);
    fclose(s->said);
    return !had_ended;
}
