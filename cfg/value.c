/* cfg/value.c -- the text of one value: numbers, sizes, durations, addresses, lists. */
#include "cfg/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#define US_PER_MS 1000ull
#define US_PER_S (1000ull * US_PER_MS)

struct unit {
    const char *name;
    uint64_t factor;
};

/* The first of each factor, largest first, is the one that is printed. */
static const struct unit size_units[] = {
    {"GB", 1u << 30},  {"MB", 1u << 20},  {"KB", 1u << 10},  {"", 1},
    {"B", 1},          {"G", 1u << 30},   {"M", 1u << 20},   {"K", 1u << 10},
    {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10},
};

static const struct unit time_units[] = {
    {"w", 7 * 24 * 3600 * US_PER_S},
    {"d", 24 * 3600 * US_PER_S},
    {"h", 3600 * US_PER_S},
    {"min", 60 * US_PER_S},
    {"s", US_PER_S},
    {"ms", US_PER_MS},
    {"us", 1},
    {"m", 60 * US_PER_S},
    {"sec", US_PER_S},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads digits at `*text` and moves behind them. */
static enum err read_digits(const char **text, uint64_t *value)
{
    const char *p = *text;
    uint64_t sum = 0;

    if (!is_digit(*p))
        return ERR_PEER;
    for (; is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (sum > (UINT64_MAX - digit) / 10)
            return ERR_PEER;
        sum = sum * 10 + digit;
    }
    *text = p;
    *value = sum;
    return OK;
}

/* Reads letters at `*text`, moves behind them and finds the unit they name. */
static const struct unit *read_unit(const char **text, const struct unit *units, size_t count)
{
    const char *start = *text;
    size_t n = 0;

    while (is_letter(start[n]))
        n++;
    *text = start + n;
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == n && strncasecmp(units[i].name, start, n) == 0)
            return &units[i];
    }
    return NULL;
}

enum err value_bool(const char *text, bool *value)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        bool is_yes = strcasecmp(text, yes[i]) == 0;

        if (is_yes || strcasecmp(text, no[i]) == 0) {
            *value = is_yes;
            return OK;
        }
    }
    return ERR_PEER;
}

enum err value_number(const char *text, uint64_t *value)
{
    uint64_t number;

    if (read_digits(&text, &number) != OK || *text != '\0')
        return ERR_PEER;
    *value = number;
    return OK;
}

enum err value_size(const char *text, uint64_t *bytes)
{
    const struct unit *unit;
    uint64_t number;

    if (read_digits(&text, &number) != OK)
        return ERR_PEER;
    while (*text == ' ' || *text == '\t')
        text++;
    unit = read_unit(&text, size_units, COUNT_OF(size_units));
    if (!unit || *text != '\0' || number > UINT64_MAX / unit->factor)
        return ERR_PEER;
    *bytes = number * unit->factor;
    return OK;
}

enum err value_duration(const char *text, uint64_t *us, bool *has_bare_m)
{
    uint64_t sum = 0, number = 0;
    bool bare_m = false;

    if (value_number(text, &number) == OK) {
        if (number > UINT64_MAX / US_PER_S)
            return ERR_PEER;
        *us = number * US_PER_S;
        *has_bare_m = false;
        return OK;
    }
    do {
        const struct unit *unit;

        if (read_digits(&text, &number) != OK)
            return ERR_PEER;
        while (*text == ' ' || *text == '\t')
            text++;
        unit = read_unit(&text, time_units, COUNT_OF(time_units));
        if (!unit || number > (UINT64_MAX - sum) / unit->factor)
            return ERR_PEER;
        if (strcmp(unit->name, "m") == 0)
            bare_m = true;
        sum += number * unit->factor;
    } while (*text != '\0');
    *us = sum;
    *has_bare_m = bare_m;
    return OK;
}

enum err value_rate(const char *text, struct cfg_rate *rate)
{
    const char *slash = strchr(text, '/');
    char count_text[VALUE_PRINT_BYTES], period[VALUE_PRINT_BYTES];
    uint64_t count, us;
    bool has_bare_m, has_number;

    if (!slash || (size_t)(slash - text) >= sizeof(count_text))
        return ERR_PEER;
    memcpy(count_text, text, (size_t)(slash - text));
    count_text[slash - text] = '\0';
    has_number = slash[1] >= '0' && slash[1] <= '9';
    if (!slash[1] || strlen(slash + 1) + 2 > sizeof(period))
        return ERR_PEER;
    snprintf(period, sizeof(period), "%s%s", has_number ? "" : "1", slash + 1);
    if (value_number(count_text, &count) != OK || value_duration(period, &us, &has_bare_m) != OK)
        return ERR_PEER;
    if (count == 0 || count > RATE_COUNT_MAX || us < 1000 || us > 3600 * 1000000ull)
        return ERR_PEER;
    *rate = (struct cfg_rate){.count = (uint32_t)count, .period_ms = (uint32_t)(us / 1000)};
    return OK;
}

/* Whether the IPv6 address is an IPv4 one in disguise, ::ffff:a.b.c.d. */
static bool is_mapped(const uint8_t ip[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

static void set_loopback(struct cfg_address *address)
{
    static const uint8_t one[16] = {[15] = 1};

    if (!address->is_v6)
        address->is_loopback = address->ip[0] == 127;
    else if (is_mapped(address->ip))
        address->is_loopback = address->ip[12] == 127;
    else
        address->is_loopback = memcmp(address->ip, one, sizeof(one)) == 0;
}

enum err value_ip(const char *text, struct cfg_address *address)
{
    char bare[INET6_ADDRSTRLEN];
    size_t n = strlen(text);
    uint8_t ip[16] = {0};
    bool is_v6 = true;

    if (strcasecmp(text, "localhost") == 0)
        text = "127.0.0.1";
    if (text[0] == '[' && n >= 2 && text[n - 1] == ']' && n - 2 < sizeof(bare)) {
        memcpy(bare, text + 1, n - 2);
        bare[n - 2] = '\0';
        if (inet_pton(AF_INET6, bare, ip) != 1)
            return ERR_PEER;
    } else if (inet_pton(AF_INET, text, ip) == 1) {
        is_v6 = false;
    } else if (inet_pton(AF_INET6, text, ip) != 1) {
        return ERR_PEER;
    }
    memcpy(address->ip, ip, sizeof(ip));
    address->is_v6 = is_v6;
    set_loopback(address);
    return OK;
}

/* Reads the port, all of `text`: 1 to 65535. */
static enum err read_port(const char *text, uint16_t *port)
{
    uint64_t number;

    if (value_number(text, &number) != OK || number == 0 || number > UINT16_MAX)
        return ERR_PEER;
    *port = (uint16_t)number;
    return OK;
}

/* Splits HOST, HOST:PORT, [V6] and [V6]:PORT; the host goes to `host` (VALUE_HOST_BYTES) with its
 * brackets, the port is left alone where there is none. */
static enum err split_port(const char *text, char *host, uint16_t *port)
{
    const char *end = NULL;
    size_t n;

    if (text[0] == '[') {
        end = strchr(text, ']');
        if (!end)
            return ERR_PEER;
        end++;
    } else {
        end = text + strcspn(text, ":");
    }
    n = (size_t)(end - text);
    if (n == 0 || n >= VALUE_HOST_BYTES)
        return ERR_PEER;
    if (*end != '\0' && (*end != ':' || read_port(end + 1, port) != OK))
        return ERR_PEER;
    memcpy(host, text, n);
    host[n] = '\0';
    return OK;
}

enum err value_mode(const char *text, uint32_t *mode)
{
    size_t n = strlen(text);
    uint32_t found = 0;

    if (n == 0 || n > 4 || text[strspn(text, "01234567")] != '\0')
        return ERR_PEER;
    for (size_t i = 0; i < n; i++)
        found = found * 8 + (uint32_t)(text[i] - '0');
    if (found > 0777)
        return ERR_PEER;
    *mode = found;
    return OK;
}

/* The path of a Unix socket, from the root: it should not depend on where the broker is started. */
static enum err read_path(const char *path, struct cfg_address *address)
{
    size_t n = strlen(path);

    if (n < 2 || n > CFG_SOCKET_PATH_MAX || path[0] != '/' || path[n - 1] == '/')
        return ERR_PEER;
    *address = (struct cfg_address){.path = path, .is_loopback = true};
    return OK;
}

enum err value_bind(const char *text, struct cfg_address *address)
{
    struct cfg_address found = {.port = MQTT_PORT_DEFAULT};
    char host[VALUE_HOST_BYTES];

    if (strncmp(text, "unix:", 5) == 0)
        return read_path(text + 5, address);
    if (is_digit(text[0]) && text[strspn(text, "0123456789")] == '\0') {
        if (read_port(text, &found.port) != OK)
            return ERR_PEER;
        memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
    } else if (split_port(text, host, &found.port) != OK) {
        return ERR_PEER;
    }
    if (value_ip(host, &found) != OK)
        return ERR_PEER;
    *address = found;
    return OK;
}

/* Whether `host` can be a host name: letters, digits, '-', '.' and '_', a letter among them, since
 * what has only digits and dots is an IPv4 address or nothing. */
static bool is_host_name(const char *host)
{
    bool has_letter = false;

    if (host[0] == '-' || host[0] == '.')
        return false;
    for (const char *p = host; *p; p++) {
        if (!is_letter(*p) && !is_digit(*p) && *p != '-' && *p != '.' && *p != '_')
            return false;
        if (*p == '.' && p[1] == '.')
            return false;
        has_letter |= is_letter(*p);
    }
    return has_letter;
}

enum err value_server(const char *text, char *host, uint16_t *port, bool *is_v6)
{
    struct cfg_address address = {0};
    char found[VALUE_HOST_BYTES];
    uint16_t found_port = MQTT_PORT_DEFAULT;

    if (strncasecmp(text, "mqtt://", 7) == 0) {
        text += 7;
    } else if (strncasecmp(text, "mqtts://", 8) == 0) {
        text += 8;
        found_port = MQTTS_PORT_DEFAULT;
    }
    if (split_port(text, found, &found_port) != OK)
        return ERR_PEER;
    if (found[0] == '[') {
        if (value_ip(found, &address) != OK)
            return ERR_PEER;
        inet_ntop(AF_INET6, address.ip, found, sizeof(found));
    } else if (inet_pton(AF_INET, found, address.ip) != 1 && !is_host_name(found)) {
        return ERR_PEER;
    }
    memcpy(host, found, strlen(found) + 1);
    *port = found_port;
    *is_v6 = address.is_v6;
    return OK;
}

bool value_is_name(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > CFG_NAME_BYTES_MAX || name[0] == '-' || name[0] == '_')
        return false;
    return strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == n;
}

char *value_list_next(char **rest)
{
    char *start = *rest, *from, *to, *next = NULL;

    if (!start)
        return NULL;
    while (*start == ' ' || *start == '\t')
        start++;
    for (from = to = start; *from != '\0'; from++) {
        if (*from == ',') {
            next = from + 1;
            break;
        }
        if (from[0] == '\\' && from[1] == ',')
            from++;
        *to++ = *from;
    }
    while (to > start && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *to = '\0';
    *rest = next;
    return start;
}

static bool is_any(const struct cfg_address *address)
{
    static const uint8_t any[16];

    return memcmp(address->ip, any, sizeof(any)) == 0;
}

bool value_addresses_meet(const struct cfg_address *a, const struct cfg_address *b)
{
    if (a->path || b->path)
        return a->path && b->path && strcmp(a->path, b->path) == 0;
    if (a->port != b->port || a->is_v6 != b->is_v6)
        return false;
    return is_any(a) || is_any(b) || memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* Writes `value` in the first unit that divides it; `count` are those that may be printed. */
static void print_in_units(char *to, uint64_t value, const struct unit *units, size_t count)
{
    size_t i = 0;

    while (i + 1 < count && (value == 0 || value % units[i].factor != 0))
        i++;
    snprintf(to, VALUE_PRINT_BYTES, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
}

void value_print_size(char *to, uint64_t bytes)
{
    print_in_units(to, bytes, size_units, 4);
}

void value_print_duration(char *to, uint64_t us)
{
    if (us == 0) {
        memcpy(to, "0", 2);
        return;
    }
    print_in_units(to, us, time_units, 7);
}

void value_print_address(char *to, const struct cfg_address *address)
{
    char ip[INET6_ADDRSTRLEN];

    inet_ntop(address->is_v6 ? AF_INET6 : AF_INET, address->ip, ip, sizeof(ip));
    snprintf(to, VALUE_PRINT_BYTES, address->is_v6 ? "[%s]:%u" : "%s:%u", ip,
             (unsigned)address->port);
}
