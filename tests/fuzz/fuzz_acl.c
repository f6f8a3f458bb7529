/* tests/fuzz/fuzz_acl.c -- an ACL file and questions to it, against the plain reference.
 *
 * Input: the first line is a client, `USER CLIENT-ID`, or ` CLIENT-ID` for one without a name; then
 * topics or filters, a line each, up to an empty line; then the file.
 */
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "core/policy/acl.h"
#include "tests/core/policy/acl_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ASKED_MAX 16u
#define NAME_MAX_BYTES 32u

static const struct hash_key key = {{5, 6, 7, 8}};

struct asked {
    struct bytes text;
    bool is_topic, is_filter;
};

/* Takes the text up to a line feed off the input. */
static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    uint32_t n = end ? (uint32_t)(end - rest->p) : rest->n;
    struct bytes line = bytes_of(rest->p, n);

    n += end != NULL;
    *rest = bytes_of(rest->p + n, rest->n - n);
    return line;
}

/* What is told is one printable line. */
static void check_told(void *context, bool is_mistake, uint32_t line, const char *what)
{
    uint32_t *told = context;

    (void)line;
    CHECK(utf8_valid(bytes_str(what)));
    for (const char *p = what; *p; p++)
        CHECK((unsigned char)*p >= 0x20 && *p != 0x7F);
    *told += is_mistake;
}

static bool is_name(struct bytes b)
{
    return b.n < NAME_MAX_BYTES && utf8_valid(b);
}

/* What each answer about a filter says of a topic. */
static void check_filter(const struct acl_subject *s, struct bytes filter,
                         const struct asked *asked, uint32_t count)
{
    bool reads = acl_covers(s, ACL_READ, filter), writes = acl_covers(s, ACL_WRITE, filter);
    bool accepts = acl_check_subscribe(s, filter);

    for (uint32_t i = 0; i < count; i++) {
        if (!asked[i].is_topic || !topic_matches(filter, asked[i].text))
            continue;
        if (reads)
            CHECK(acl_check(s, ACL_READ, asked[i].text));
        if (writes)
            CHECK(acl_check(s, ACL_WRITE, asked[i].text));
        if (!accepts)
            CHECK(!acl_check(s, ACL_READ, asked[i].text));
    }
}

static void check_client(struct acl *acl, const struct reference *r,
                         const struct reference_client *c, const struct asked *asked,
                         uint32_t count)
{
    struct bytes user = c->user ? bytes_str(c->user) : (struct bytes){0};
    struct acl_subject s;

    acl_subject_init(&s, acl, c->user ? &user : NULL, bytes_str(c->id));
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = asked[i].text;

        for (int access = ACL_READ; asked[i].is_topic && access <= ACL_WRITE; access++) {
            bool may = acl_check(&s, (enum acl_access)access, text);

            CHECK(may == reference_check(r, c, (enum acl_access)access, text));
            CHECK(may == acl_covers(&s, (enum acl_access)access, text));
        }
        if (asked[i].is_filter)
            check_filter(&s, text, asked, count);
    }
    acl_subject_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reference reference;
    static char user[NAME_MAX_BYTES], id[NAME_MAX_BYTES];
    struct bytes rest = bytes_of(data, size), line = take_line(&rest), name;
    struct asked asked[ASKED_MAX];
    struct reference_client c = {.id = id};
    struct acl *acl = NULL;
    uint32_t count = 0, told = 0;
    const uint8_t *blank = line.n ? memchr(line.p, ' ', line.n) : NULL;
    enum err e;

    if (size > 2048 || !blank)
        return 0;
    name = bytes_of(line.p, (size_t)(blank - line.p));
    line = bytes_of(blank + 1, line.n - name.n - 1);
    if (!is_name(name) || !is_name(line))
        return 0;
    *bytes_put((uint8_t *)user, name) = '\0';
    *bytes_put((uint8_t *)id, line) = '\0';
    c.user = name.n ? user : NULL;
    while (count < ASKED_MAX && (line = take_line(&rest)).n > 0)
        asked[count++] = (struct asked){.text = line,
                                        .is_topic = topic_name_valid(line, 1000),
                                        .is_filter = topic_filter_valid(line, 1000)};
    reference_init(&reference);
    e = acl_create(rest, &key, check_told, &told, &acl);
    CHECK((e == OK) == reference_read(&reference, rest));
    CHECK((e == OK) == (told == 0));
    if (e == OK)
        check_client(acl, &reference, &c, asked, count);
    acl_release(acl);
    reference_fini(&reference);
    return 0;
}
