/* core/policy/mount.c -- which mount points there may be, and the one of a client. */
#include "core/policy/mount.h"

#include <stdlib.h>

#include "core/base/limits.h"
#include "core/mqtt/topic.h"

/* One part of a pattern. */
enum part { PART_TEXT, PART_CLIENT_ID, PART_USER, PART_UNKNOWN };

/* The mount as far as it is written. */
struct draft {
    uint8_t text[MOUNT_BYTES_MAX];
    uint32_t n;
};

/* ---- patterns ---- */

/* Takes the next part off `*rest`, which is not empty; *text is the part as written. */
static enum part next_part(struct bytes *rest, struct bytes *text)
{
    static const struct {
        const char *word;
        enum part part;
    } words[] = {{"%c", PART_CLIENT_ID},     {"%u", PART_USER},   {"${clientid}", PART_CLIENT_ID},
                 {"${username}", PART_USER}, {"%", PART_UNKNOWN}, {"${", PART_UNKNOWN}};
    enum part part = PART_TEXT;
    uint32_t n = 1;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct bytes word = bytes_str(words[i].word);

        if (bytes_begin(*rest, word)) {
            part = words[i].part;
            n = word.n;
            break;
        }
    }
    while (part == PART_TEXT && n < rest->n && rest->p[n] != '%' && rest->p[n] != '$')
        n++;
    *text = bytes_of(rest->p, n);
    *rest = bytes_of(rest->p + n, rest->n - n);
    return part;
}

static bool has_part(struct bytes pattern, enum part part)
{
    struct bytes text;

    while (pattern.n)
        if (next_part(&pattern, &text) == part)
            return true;
    return false;
}

static struct bytes first_level(struct bytes text)
{
    struct bytes level = {0};
    bool first = true;

    (void)topic_next_level(&text, &first, &level);
    return level;
}

/* Whether topics that begin so are none, or none of a client's. */
static bool is_reserved(struct bytes level)
{
    return bytes_eq(level, BYTES_LIT("$LINK")) || bytes_eq(level, BYTES_LIT("$share")) ||
           bytes_eq(level, BYTES_LIT("$queue")) || bytes_eq(level, BYTES_LIT("$exclusive"));
}

const char *mount_fault(struct bytes pattern)
{
    struct bytes level = first_level(pattern);

    if (pattern.n > MOUNT_BYTES_MAX)
        return "it is too long";
    if (!topic_name_valid(pattern, UINT32_MAX))
        return "it is empty, holds a wildcard, or is not UTF-8";
    if (has_part(pattern, PART_UNKNOWN))
        return "it holds a placeholder other than %c, %u, ${clientid} and ${username}";
    if (pattern.p[pattern.n - 1] != '/')
        return "it does not end with /";
    if (is_reserved(level))
        return "topics that begin so are not a client's";
    if (level.n && level.p[0] == '$' &&
        (has_part(level, PART_CLIENT_ID) || has_part(level, PART_USER)))
        return "a name must not go on behind a $ in its first level";
    return NULL;
}

bool mount_names_client(struct bytes pattern)
{
    return has_part(pattern, PART_CLIENT_ID);
}

bool mount_names_user(struct bytes pattern)
{
    return has_part(pattern, PART_USER);
}

/* ---- the mount of a client ---- */

/* false: it is too long. */
static bool add(struct draft *d, struct bytes text)
{
    if (text.n > MOUNT_BYTES_MAX - d->n)
        return false;
    bytes_put(d->text + d->n, text);
    d->n += text.n;
    return true;
}

/* false: the name cannot stand there. */
static bool add_name(struct draft *d, struct bytes name)
{
    if (name.n == 0 || (d->n == 0 && name.p[0] == '$') || memchr(name.p, '/', name.n))
        return false;
    return topic_name_valid(name, UINT32_MAX) && add(d, name);
}

enum mount_verdict mount_create(struct bytes pattern, struct bytes client_id,
                                const struct bytes *user, struct mount **out)
{
    enum mount_verdict fault = MOUNT_OK; /* if it gets too long: of the last name */
    struct draft d = {.n = 0};
    struct bytes text;

    while (pattern.n) {
        enum part part = next_part(&pattern, &text);
        bool is_added;

        if (part == PART_USER && !user)
            return MOUNT_NO_USER;
        if (part == PART_TEXT) {
            is_added = add(&d, text);
        } else {
            fault = part == PART_USER ? MOUNT_BAD_USER : MOUNT_BAD_CLIENT_ID;
            is_added = add_name(&d, part == PART_USER ? *user : client_id);
        }
        if (!is_added)
            return fault;
    }
    *out = malloc(sizeof(**out) + d.n);
    if (!*out)
        return MOUNT_NO_MEMORY;
    (*out)->n = d.n;
    bytes_put((*out)->text, bytes_of(d.text, d.n));
    return MOUNT_OK;
}
