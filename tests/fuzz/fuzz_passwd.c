/* tests/fuzz/fuzz_passwd.c -- the password file: what is taken is in the table, as it was written.
 *
 * Input: the text of a file. Numbers have no leading zeros and base64 is strict, so a hash that was
 * read and is written again is the same text.
 */
#include "core/base/check.h"
#include "core/policy/passwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct said {
    uint32_t mistakes, line;
};

static void report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    struct said *said = arg;
    size_t n = strlen(what);

    CHECK(n > 0 && n < USER_FILE_SAID_BYTES);
    for (size_t i = 0; i < n; i++)
        CHECK(what[i] >= 0x20 && what[i] < 0x7f);
    CHECK(line >= said->line);
    said->line = line;
    said->mistakes += !is_warning;
}

/* Up to `c`, or all; what is behind it stays in *rest. */
static struct bytes cut(struct bytes *rest, uint8_t c)
{
    struct bytes head = *rest;

    for (uint32_t n = 0; n < rest->n; n++) {
        if (rest->p[n] != c)
            continue;
        head.n = n;
        *rest = bytes_of(rest->p + n + 1, rest->n - n - 1);
        return head;
    }
    *rest = bytes_of(rest->p + rest->n, 0);
    return head;
}

static struct bytes trimmed(struct bytes b)
{
    while (b.n && strchr(" \t\n\v\f\r", b.p[0]))
        b = bytes_of(b.p + 1, b.n - 1);
    while (b.n && strchr(" \t\n\v\f\r", b.p[b.n - 1]))
        b.n--;
    return b;
}

static void check_hash(const struct passwd_hash *hash, struct bytes text)
{
    char again[PASSWD_HASH_TEXT_BYTES];

    CHECK(passwd_hash_format(hash, again) == text.n);
    CHECK(bytes_eq(bytes_str(again), text));
    CHECK(hash->kind < PASSWD_KIND_COUNT && hash->cost > 0);
    CHECK(hash->cost <= PASSWD_ITERATIONS_MAX && hash->memory_kib <= PASSWD_ARGON2_KIB_MAX);
    CHECK(hash->lanes <= PASSWD_ARGON2_LANES_MAX);
}

/* Every line with a colon is a user of the table. A table has no NUL, so strchr above is right. */
static void check_lines(const struct passwd *p, struct bytes text)
{
    uint32_t line = 0, users = 0;

    if (bytes_begin(text, BYTES_LIT("\xef\xbb\xbf")))
        text = bytes_of(text.p + 3, text.n - 3);
    while (text.n > 0) {
        struct bytes rest = cut(&text, '\n'), name;
        const struct passwd_entry *e;

        line++;
        if (rest.n == 0 || rest.p[0] == '#' || !memchr(rest.p, ':', rest.n))
            continue;
        name = trimmed(cut(&rest, ':'));
        e = passwd_find(p, name);
        CHECK(passwd_is_user(e) && e->line == line && bytes_eq(e->name, name));
        check_hash(&e->hash, trimmed(cut(&rest, ':')));
        users++;
    }
    CHECK(passwd_users(p) == users);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hash_key key = {{1, 2, 3, 4}};
    struct said said = {0};
    struct passwd *p;
    enum err e;

    if (size > 65536)
        return 0;
    e = passwd_parse(bytes_of(data, size), &key, report, &said, &p);
    CHECK((e == OK) == (p != NULL) && (e == ERR_PEER) == (said.mistakes > 0));
    if (e != OK)
        return 0;
    check_lines(p, bytes_of(data, size));
    CHECK(!passwd_is_user(passwd_find(p, BYTES_LIT("\0"))));
    CHECK(!passwd_is_user(passwd_find(p, (struct bytes){0})));
    passwd_release(p);
    return 0;
}
