/* cfg/assign.c -- the text of one key becomes a field of the configuration.
 *
 * A default is assigned as if it had been written in the file, so what the help says is what
 * happens. The mistakes of one value end with what would be right: the range out of the table.
 */
#include "cfg/assign.h"

#include "cfg/text.h"
#include "cfg/value.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of a value that stand in a message. */
#define SHOWN_BYTES 80
/* Bytes of a password; the protocol's own bound of binary data is 65,535. */
#define PASSWORD_BYTES_MAX 4096u

/* One value on its way. */
struct value {
    struct draft *draft;
    struct draft_section *section;
    const struct key *key;
    const char *text;
    uint32_t line; /* 0: a default */
};

/* "KEY = VALUE" is not what it should be. */
static void refuse(const struct value *v, const char *text)
{
    char range[KEY_RANGE_BYTES];

    key_print_range(range, v->key);
    draft_error(v->draft, v->line, "%s = %.*s is not possible; right would be %s", v->key->name,
                SHOWN_BYTES, text, range);
}

static void *field_of(const struct value *v)
{
    return (char *)v->section->object + v->key->offset;
}

static void store(const struct value *v, uint64_t number)
{
    uint8_t narrow8 = (uint8_t)number;
    uint32_t narrow32 = (uint32_t)number;

    switch (v->key->size) {
    case 0: /* only checked */
        break;
    case sizeof(uint8_t):
        memcpy(field_of(v), &narrow8, sizeof(narrow8));
        break;
    case sizeof(uint32_t):
        memcpy(field_of(v), &narrow32, sizeof(narrow32));
        break;
    default:
        CHECK(v->key->size == sizeof(uint64_t));
        memcpy(field_of(v), &number, sizeof(number));
    }
}

static void store_text(const struct value *v, const char *text)
{
    const char *copy = cfg_copy(v->draft->cfg, text);

    if (!copy) {
        v->draft->is_out_of_memory = true;
        return;
    }
    memcpy(field_of(v), &copy, sizeof(copy));
}

static void assign_bool(const struct value *v)
{
    bool truth;

    if (value_bool(v->text, &truth) != OK)
        refuse(v, v->text);
    else
        memcpy(field_of(v), &truth, sizeof(truth));
}

static void assign_choice(const struct value *v)
{
    for (const struct key_choice *c = v->key->choices; c->word; c++) {
        if (strcasecmp(c->word, v->text) == 0) {
            store(v, (uint64_t)c->value);
            return;
        }
    }
    refuse(v, v->text);
}

/* Whether the value is a time with an `m` in a key where that means months elsewhere. */
static bool may_mean_months(const struct value *v)
{
    uint64_t us;
    bool has_bare_m;

    return v->key->flags & KEY_MONTHS && value_duration(v->text, &us, &has_bare_m) == OK &&
           has_bare_m;
}

/* Reads a number, size or time in the unit of its field. */
static enum err read_quantity(const struct value *v, uint64_t *number)
{
    uint64_t us;
    bool has_bare_m;

    if (v->key->type == KEY_NUMBER)
        return value_number(v->text, number);
    if (v->key->type == KEY_SIZE)
        return value_size(v->text, number);
    if (value_duration(v->text, &us, &has_bare_m) != OK || us % v->key->unit_us != 0)
        return ERR_PEER;
    *number = us / v->key->unit_us;
    return OK;
}

static void assign_quantity(const struct value *v)
{
    uint64_t number;

    if (v->key->word && strcasecmp(v->text, v->key->word) == 0) {
        store(v, v->key->word_value);
        return;
    }
    if (may_mean_months(v)) {
        draft_error(v->draft, v->line,
                    "%s = %.*s may be minutes or, as in mosquitto, months; "
                    "right would be min for minutes, or d for days",
                    v->key->name, SHOWN_BYTES, v->text);
        return;
    }
    if (read_quantity(v, &number) != OK) {
        refuse(v, v->text);
        return;
    }
    if (number == 0 && v->key->flags & KEY_ZERO_PRESETS) {
        struct value built_in = *v;

        built_in.text = v->key->preset;
        assign_quantity(&built_in);
        return;
    }
    if (number < v->key->min || number > v->key->max)
        refuse(v, v->text);
    else
        store(v, number);
}

static void assign_string(const struct value *v)
{
    if (v->text[0] == '\0')
        draft_error(v->draft, v->line, "%s has no value; give it one or leave it out",
                    v->key->name);
    else if (strlen(v->text) > UINT16_MAX)
        draft_error(v->draft, v->line, "%s is too long; it may have 65535 bytes", v->key->name);
    else
        store_text(v, v->text);
}

static void assign_address(const struct value *v)
{
    if (value_ip(v->text, &v->section->address) != OK)
        refuse(v, v->text);
    else
        v->section->address.port = MQTT_PORT_DEFAULT;
}

static void assign_bind(const struct value *v)
{
    struct cfg_address *bind = &v->section->bind;
    char *copy;

    if (value_bind(v->text, bind) != OK) {
        refuse(v, v->text);
        return;
    }
    if (!bind->path)
        return;
    copy = cfg_copy(v->draft->cfg, v->text);
    if (!copy)
        v->draft->is_out_of_memory = true;
    bind->text = copy;
    bind->path = copy ? copy + (bind->path - v->text) : NULL;
}

static void assign_mode(const struct value *v)
{
    uint32_t mode;

    if (value_mode(v->text, &mode) != OK)
        refuse(v, v->text);
    else
        store(v, mode);
}

static void assign_port(const struct value *v)
{
    uint64_t number;

    if (value_number(v->text, &number) != OK || number == 0 || number > UINT16_MAX)
        refuse(v, v->text);
    else
        v->section->port = (uint16_t)number;
}

/* Appends to a list that is given anew, twice as long, whenever its length is a power of two. */
static void add_text(const struct value *v, const char *text)
{
    struct cfg_texts *list = field_of(v);
    struct bytes *grown = (struct bytes *)(uintptr_t)list->v;
    const char *copy = cfg_copy(v->draft->cfg, text);

    if (list->count == CFG_TEXTS_MAX) {
        draft_error(v->draft, v->line, "%s = %.*s is one too many; there may be %d", v->key->name,
                    SHOWN_BYTES, text, CFG_TEXTS_MAX);
        return;
    }
    if ((list->count & (list->count - 1)) == 0) {
        grown = cfg_alloc(v->draft->cfg, 2 * (list->count + 1) * sizeof(*grown));
        if (grown && list->count)
            memcpy(grown, list->v, list->count * sizeof(*grown));
    }
    if (!grown || !copy) {
        v->draft->is_out_of_memory = true;
        return;
    }
    grown[list->count++] = bytes_str(copy);
    list->v = grown;
}

static void add_network(const struct value *v, const char *text)
{
    struct cidr_list *list = field_of(v);
    const char *why = "";

    switch (cidr_add(list, bytes_str(text), &why)) {
    case OK:
        break;
    case ERR_PEER:
        draft_error(v->draft, v->line,
                    "%s = %.*s is no address or network: %s; right would be as in 192.0.2.0/24",
                    v->key->name, SHOWN_BYTES, text, why);
        break;
    case ERR_FULL:
        draft_error(v->draft, v->line, "%s = %.*s is one too many; there may be %u", v->key->name,
                    SHOWN_BYTES, text, CIDR_LIST_MAX);
        break;
    default:
        v->draft->is_out_of_memory = true;
    }
}

static void add_server(const struct value *v, const char *text)
{
    struct draft_section *s = v->section;
    struct cfg_server server = {0};
    char host[VALUE_HOST_BYTES];

    if (strchr(text, '@')) { /* perhaps with a password: not shown */
        draft_error(v->draft, v->line,
                    "server has a user name in it; right would be HOST:PORT, "
                    "and the keys username and password_file");
        return;
    }
    if (strncasecmp(text, "mqtts://", 8) == 0)
        s->tls_line = v->line;
    else if (strncasecmp(text, "mqtt://", 7) == 0)
        s->plain_line = v->line;
    if (value_server(text, host, &server.port, &server.is_v6) != OK) {
        refuse(v, text);
        return;
    }
    if (s->server_count == LINK_SERVERS_MAX) {
        draft_error(v->draft, v->line, "server = %.*s is one too many; a link may have %d",
                    SHOWN_BYTES, text, LINK_SERVERS_MAX);
        return;
    }
    server.host = cfg_copy(v->draft->cfg, host);
    if (!server.host)
        v->draft->is_out_of_memory = true;
    s->servers[s->server_count++] = server;
}

/* Makes room for one more topic; false: no memory. */
static bool grow_topics(struct draft *draft, struct draft_topics *topics)
{
    uint32_t room = topics->room ? 2 * topics->room : 8;
    struct draft_topic *v;

    if (topics->count < topics->room)
        return true;
    v = cfg_alloc(draft->cfg, room * sizeof(*v));
    if (!v)
        return false;
    if (topics->count)
        memcpy(v, topics->v, topics->count * sizeof(*v));
    topics->v = v;
    topics->room = room;
    return true;
}

static void add_topic(const struct value *v, const char *text)
{
    bool is_export = strcmp(v->key->name, "export") == 0;
    struct draft_topics *topics = is_export ? &v->section->exports : &v->section->topics;
    const char *copy;

    if (topics->count == LINK_TOPICS_MAX) {
        draft_error(v->draft, v->line, "%s = %.*s is one too many; a link may have %d",
                    v->key->name, SHOWN_BYTES, text, LINK_TOPICS_MAX);
        return;
    }
    copy = cfg_copy(v->draft->cfg, text);
    if (!copy || !grow_topics(v->draft, topics)) {
        v->draft->is_out_of_memory = true;
        return;
    }
    topics->v[topics->count++] = (struct draft_topic){.filter = bytes_str(copy), .line = v->line};
}

/* The path behind "file", or NULL. */
static const char *log_path(const char *text)
{
    const char *path;

    if (strncasecmp(text, "file", 4) != 0 || (text[4] != ' ' && text[4] != '\t'))
        return NULL;
    path = text + 4;
    while (*path == ' ' || *path == '\t')
        path++;
    return *path ? path : NULL;
}

static void add_log_dest(const struct value *v, const char *text)
{
    struct cfg_log *log = &((struct cfg *)v->section->object)->log;
    struct cfg_log_dest dest = {0};

    if (strcasecmp(text, "none") == 0)
        return;
    if (strcasecmp(text, "stdout") == 0) {
        dest.kind = LOG_TO_STDOUT;
    } else if (strcasecmp(text, "stderr") == 0) {
        dest.kind = LOG_TO_STDERR;
    } else if (strcasecmp(text, "syslog") == 0) {
        dest.kind = LOG_TO_SYSLOG;
    } else if (log_path(text)) {
        dest.kind = LOG_TO_FILE;
        dest.path = cfg_copy(v->draft->cfg, log_path(text));
        if (!dest.path)
            v->draft->is_out_of_memory = true;
    } else {
        refuse(v, text);
        return;
    }
    if (log->dest_count == LOG_DESTS_MAX)
        draft_error(v->draft, v->line, "log_dest = %.*s is one too many; there may be %d",
                    SHOWN_BYTES, text, LOG_DESTS_MAX);
    else
        log->dests[log->dest_count++] = dest;
}

/* Hands the elements of a list to `add`. An empty list has none; an empty element is a mistake. */
static void assign_list(const struct value *v, void (*add)(const struct value *v, const char *text))
{
    char *copy = cfg_copy(v->draft->cfg, v->text);
    char *rest = copy, *element;

    if (!copy) {
        v->draft->is_out_of_memory = true;
        return;
    }
    if (copy[0] == '\0')
        return;
    while ((element = value_list_next(&rest))) {
        if (element[0])
            add(v, element);
        else
            draft_error(v->draft, v->line, "%s has a comma too many; an element is empty",
                        v->key->name);
    }
}

static void assign_servers(const struct value *v)
{
    if (v->text[0])
        assign_list(v, add_server);
    else
        draft_error(v->draft, v->line, "server has no value; right would be server = HOST:PORT");
}

/* Reads the first line of the regular file at `path`, without blanks at its end. */
static enum err read_password(const char *path, char *to, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    enum err err = ERR_SYSTEM;
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return ERR_SYSTEM;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        errno = EINVAL;
    } else {
        n = read(fd, to, room - 1);
        if (n >= 0) {
            to[n] = '\0';
            to[strcspn(to, "\r\n")] = '\0';
            for (size_t end = strlen(to); end && (to[end - 1] == ' ' || to[end - 1] == '\t'); end--)
                to[end - 1] = '\0';
            err = OK;
        }
    }
    close(fd);
    return err;
}

static void assign_password_file(const struct value *v)
{
    char password[PASSWORD_BYTES_MAX + 2];

    errno = 0;
    if (read_password(v->text, password, sizeof(password)) != OK)
        draft_error(v->draft, v->line,
                    "password_file = %.*s cannot be read (%s); right would be a "
                    "file that this user may read",
                    SHOWN_BYTES, v->text, errno == EINVAL ? "it is no file" : strerror(errno));
    else if (password[0] == '\0' || strlen(password) > PASSWORD_BYTES_MAX)
        draft_error(v->draft, v->line,
                    "password_file = %.*s has no password of 1 to %u bytes in "
                    "its first line",
                    SHOWN_BYTES, v->text, PASSWORD_BYTES_MAX);
    else
        store_text(v, password);
    explicit_bzero(password, sizeof(password));
}

static void assign_rate(const struct value *v)
{
    struct cfg_rate rate = {0};

    if (strcasecmp(v->text, "infinity") != 0 && strcmp(v->text, "0") != 0 &&
        value_rate(v->text, &rate) != OK)
        refuse(v, v->text);
    else
        memcpy(field_of(v), &rate, sizeof(rate));
}

static void add_version(const struct value *v, const char *text)
{
    static const struct {
        const char *word;
        uint8_t bit;
    } versions[] = {{"3", CFG_MQTT_31},      {"3.1", CFG_MQTT_31}, {"4", CFG_MQTT_311},
                    {"3.1.1", CFG_MQTT_311}, {"5", CFG_MQTT_5},    {"5.0", CFG_MQTT_5}};
    uint8_t *set = field_of(v);

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (strcmp(versions[i].word, text) == 0) {
            *set |= versions[i].bit;
            return;
        }
    }
    refuse(v, text);
}

static void assign_versions(const struct value *v)
{
    if (v->text[0])
        assign_list(v, add_version);
    else
        refuse(v, v->text);
}

static void assign_name(const struct value *v)
{
    if (value_is_name(v->text))
        store_text(v, v->text);
    else
        refuse(v, v->text);
}

static void assign_value(const struct value *v)
{
    switch (v->key->type) {
    case KEY_BOOL:
        assign_bool(v);
        break;
    case KEY_NUMBER:
    case KEY_SIZE:
    case KEY_TIME:
        assign_quantity(v);
        break;
    case KEY_CHOICE:
        assign_choice(v);
        break;
    case KEY_STRING:
    case KEY_PASSWORD:
        assign_string(v);
        break;
    case KEY_NAME:
        assign_name(v);
        break;
    case KEY_BIND:
        assign_bind(v);
        break;
    case KEY_ADDRESS:
        assign_address(v);
        break;
    case KEY_PORT:
        assign_port(v);
        break;
    case KEY_SERVERS:
        assign_servers(v);
        break;
    case KEY_TOPICS:
        assign_list(v, add_topic);
        break;
    case KEY_TEXTS:
        assign_list(v, add_text);
        break;
    case KEY_MODE:
        assign_mode(v);
        break;
    case KEY_RATE:
        assign_rate(v);
        break;
    case KEY_VERSIONS:
        assign_versions(v);
        break;
    case KEY_NETWORKS:
        assign_list(v, add_network);
        break;
    case KEY_LOG_DESTS:
        assign_list(v, add_log_dest);
        break;
    case KEY_PASSWORD_FILE:
        assign_password_file(v);
        break;
    case KEY_TYPE_COUNT:
        CHECK(v->key->type < KEY_TYPE_COUNT);
    }
}

/* There is no such key in the section: says where it belongs, or what was meant. */
static void refuse_name(struct draft *draft, const struct draft_section *section, const char *name,
                        uint32_t line)
{
    const char *here = section_infos[section->kind].name;
    const char *answer = key_unavailable(section->kind, name);
    const char *nearest = key_nearest(section->kind, name);
    const struct key *elsewhere = key_find_anywhere(name);

    if (answer)
        draft_error(draft, line, "%s %s", name, answer);
    else if (elsewhere)
        draft_error(draft, line, "there is no key '%s' in [%s]; it belongs into [%s%s]", name, here,
                    section_infos[elsewhere->section].name,
                    section_infos[elsewhere->section].example ? " NAME" : "");
    else if (nearest)
        draft_error(draft, line, "there is no key '%.*s' in [%s]; did you mean '%s'?", SHOWN_BYTES,
                    name, here, nearest);
    else
        draft_error(draft, line,
                    "there is no key '%.*s' in [%s]; causeway --help-config lists "
                    "those there are",
                    SHOWN_BYTES, name, here);
}

/* A line without '=' or with blanks in its key: mosquitto's "key value", or a value forgotten. No
 * more than its first word is shown, for the rest may be a secret. */
static void refuse_line(struct draft *draft, const struct draft_section *section, const char *text,
                        bool has_value, uint32_t line)
{
    char word[SHOWN_BYTES + 1];
    size_t n = strcspn(text, " \t");

    if (n > SHOWN_BYTES)
        n = SHOWN_BYTES;
    memcpy(word, text, n);
    word[n] = '\0';
    if (key_find(section->kind, word))
        draft_error(draft, line, "'=' is missing; right would be %s = VALUE", word);
    else if (has_value)
        draft_error(draft, line, "'%s ...' is no key; a key is one word", word);
    else
        draft_error(draft, line,
                    "this is neither [SECTION] nor KEY = VALUE nor a comment; a "
                    "comment begins with # or ;");
}

/* Notes where the key was given. False, and reported: it was given before and has one value. */
static bool note_line(const struct value *v)
{
    uint32_t *first = &v->section->key_lines[key_idx(v->key)];

    if (*first == 0) {
        *first = v->line;
        return true;
    }
    if (v->key->flags & KEY_LIST)
        return true;
    draft_error(v->draft, v->line, "%s is given a second time, first in line %u; keep one of them",
                v->key->name, *first);
    return false;
}

void assign_key(struct draft *draft, struct draft_section *section, const char *name,
                const char *text, uint32_t line)
{
    struct value v = {.draft = draft, .section = section, .text = text, .line = line};

    if (!text || strpbrk(name, " \t")) {
        refuse_line(draft, section, name, text != NULL, line);
        return;
    }
    if (!utf8_valid(bytes_str(text))) {
        draft_error(draft, line, "this line is not valid UTF-8; save the file as UTF-8");
        return;
    }
    v.key = key_find(section->kind, name);
    if (!v.key)
        refuse_name(draft, section, name, line);
    else if (note_line(&v))
        assign_value(&v);
}

void assign_presets(struct draft *draft, struct draft_section *section)
{
    for (uint32_t i = 0; i < key_count; i++) {
        struct value v = {
            .draft = draft, .section = section, .key = &keys[i], .text = keys[i].preset};

        if (keys[i].section == section->kind && keys[i].preset && section->key_lines[i] == 0)
            assign_value(&v);
    }
}
