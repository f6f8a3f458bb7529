/* core/policy/passwd.c -- the password file, as a table that does not change.
 *
 * Entries stand in the order of the file; names, salts and hashes one behind the other in one block
 * of text; the hash table is an array of entry numbers, open addressing, at most half full.
 */
#include "core/policy/passwd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

/* Bytes of a user name shown in a sentence. */
#define SHOWN_BYTES 64u

struct passwd {
    _Atomic uint32_t shares;
    struct hash_key key;
    struct passwd_entry nobody; /* what unknown users get */
    struct passwd_entry *entries;
    uint32_t count;
    uint32_t mask;      /* places - 1 */
    uint32_t *places;   /* 1 + entry number; 0: empty */
    uint8_t *store;     /* names, salts, hashes */
    size_t store_bytes; /* in use */
};

/* The entry of who is not in an empty file; nobody can learn anything from it. */
static const uint8_t zero[PASSWD_HASH_BYTES_MAX];
static const struct passwd_entry nobody_at_all = {
    .hash = {.kind = PASSWD_SHA512, .cost = 1, .salt = {zero, 12}, .hash = {zero, sizeof(zero)}}};

/* One reading of a file. */
struct reading {
    struct passwd *p;
    passwd_report *report;
    void *arg;
    uint32_t line;
    uint32_t mistakes;
    uint8_t *end; /* of what is used of the store */
};

__attribute__((format(printf, 3, 4))) static void say(struct reading *r, bool is_warning,
                                                      const char *format, ...)
{
    char text[PASSWD_SAID_BYTES];
    va_list args;

    r->mistakes += !is_warning;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    r->report(r->arg, r->line, is_warning, text);
}

/* A name as a sentence shows it: the first bytes, what is not plain ASCII as '?'. */
static const char *show(struct bytes name, char shown[SHOWN_BYTES + 4])
{
    uint32_t n = name.n < SHOWN_BYTES ? name.n : SHOWN_BYTES;

    for (uint32_t i = 0; i < n; i++)
        shown[i] = name.p[i] >= 0x20 && name.p[i] < 0x7f ? (char)name.p[i] : '?';
    memcpy(shown + n, n < name.n ? "..." : "", n < name.n ? 4 : 1);
    return shown;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct bytes trim(struct bytes b)
{
    while (b.n > 0 && is_blank(b.p[0])) {
        b.p++;
        b.n--;
    }
    while (b.n > 0 && is_blank(b.p[b.n - 1]))
        b.n--;
    return b;
}

/* The bytes before the first `c`, taken off `*rest` with it; all of them when there is none. */
static struct bytes take_until(struct bytes *rest, uint8_t c)
{
    const uint8_t *end = rest->n ? memchr(rest->p, c, rest->n) : NULL;
    struct bytes head = {rest->p, end ? (uint32_t)(end - rest->p) : rest->n};

    rest->p = head.n ? rest->p + head.n : rest->p;
    rest->n -= head.n;
    if (end) {
        rest->p++;
        rest->n--;
    }
    return head;
}

/* Where the name stands, or the empty place where it would. */
static uint32_t place_of(const struct passwd *p, struct bytes name)
{
    uint32_t at = (uint32_t)hash_bytes(&p->key, name) & p->mask;

    while (p->places[at] && !bytes_eq(p->entries[p->places[at] - 1].name, name))
        at = (at + 1) & p->mask;
    return at;
}

static struct bytes keep(struct reading *r, struct bytes b)
{
    struct bytes kept = {r->end, b.n};

    r->end = bytes_put(r->end, b);
    r->p->store_bytes += b.n;
    return kept;
}

static void add(struct reading *r, struct bytes name, const struct passwd_hash *hash)
{
    struct passwd *p = r->p;
    uint32_t at = place_of(p, name);
    struct passwd_entry *e = &p->entries[p->count];
    char shown[SHOWN_BYTES + 4];

    if (p->places[at]) {
        say(r, false, "user '%s' is already on line %u", show(name, shown),
            p->entries[p->places[at] - 1].line);
        return;
    }
    *e = (struct passwd_entry){.name = keep(r, name), .hash = *hash, .line = r->line};
    e->hash.salt = keep(r, hash->salt);
    e->hash.hash = keep(r, hash->hash);
    p->places[at] = ++p->count;
}

/* A name that no CONNECT can carry is a warning, not a mistake: mosquitto lets it stand. */
static void read_user(struct reading *r, struct bytes name, struct bytes text)
{
    struct passwd_room room;
    struct passwd_hash hash;
    char shown[SHOWN_BYTES + 4];
    const char *why;

    if (name.n == 0) {
        say(r, false, "there is no user name before the colon");
    } else if (name.n > PASSWD_NAME_BYTES_MAX) {
        say(r, false, "the user name is longer than %u bytes", PASSWD_NAME_BYTES_MAX);
    } else if (passwd_hash_parse(text, &room, &hash, &why) != OK) {
        say(r, false, "user '%s': %s", show(name, shown), why);
    } else {
        if (!utf8_valid(name))
            say(r, true, "user '%s': no client can have this name, it is not UTF-8",
                show(name, shown));
        add(r, name, &hash);
    }
    explicit_bzero(&room, sizeof(room));
}

static void read_line(struct reading *r, struct bytes line)
{
    struct bytes name, hash;

    if (line.n > 0 && memchr(line.p, 0, line.n)) {
        say(r, false, "there is a NUL byte");
        return;
    }
    if ((line.n > 0 && line.p[0] == '#') || trim(line).n == 0)
        return;
    if (!memchr(line.p, ':', line.n)) {
        say(r, true, "no colon, so this is no user; the line is passed over");
        return;
    }
    name = take_until(&line, ':');
    hash = take_until(&line, ':');
    read_user(r, trim(name), trim(hash));
}

/* Lines that could be users; the table is made for so many. */
static uint32_t count_lines(struct bytes text)
{
    uint32_t count = 0;

    while (text.n > 0) {
        struct bytes line = take_until(&text, '\n');

        if (line.n > 0 && line.p[0] != '#' && memchr(line.p, ':', line.n))
            count++;
    }
    return count;
}

/* Room for `users` and for what `bytes` of text can say. */
static struct passwd *make(uint32_t users, uint32_t bytes, const struct hash_key *key)
{
    struct passwd *p = calloc(1, sizeof(*p));
    uint32_t places = 2;

    if (!p)
        return NULL;
    while (places < users * 2)
        places *= 2;
    store_relaxed(&p->shares, 1); /* nobody else knows it yet */
    p->key = *key;
    p->nobody = nobody_at_all;
    p->mask = places - 1;
    p->places = calloc(places, sizeof(*p->places));
    p->entries = calloc(users ? users : 1, sizeof(*p->entries));
    p->store = malloc(bytes ? bytes : 1);
    if (p->places && p->entries && p->store)
        return p;
    passwd_release(p);
    return NULL;
}

/* What unknown users are measured by: a copy of the dearest entry, that has no name and no line. */
static void choose_nobody(struct passwd *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct passwd_hash *hash = &p->entries[i].hash;

        if (passwd_hash_work_us(hash) > passwd_hash_work_us(&p->nobody.hash))
            p->nobody.hash = *hash;
    }
}

static void read_lines(struct reading *r, struct bytes text)
{
    if (bytes_begin(text, BYTES_LIT("\xef\xbb\xbf"))) /* some editors begin a file so */
        text = bytes_of(text.p + 3, text.n - 3);
    while (text.n > 0) {
        r->line++;
        read_line(r, take_until(&text, '\n'));
    }
    r->line = 0;
}

enum err passwd_parse(struct bytes text, const struct hash_key *key, passwd_report *report,
                      void *arg, struct passwd **out)
{
    struct reading r = {.report = report, .arg = arg};
    uint32_t users;

    *out = NULL;
    if (text.n > PASSWD_FILE_BYTES_MAX) {
        say(&r, false, "the file is larger than %u MiB", PASSWD_FILE_BYTES_MAX >> 20);
        return ERR_PEER;
    }
    users = count_lines(text);
    if (users > PASSWD_USERS_MAX) {
        say(&r, false, "there are more than %u users", PASSWD_USERS_MAX);
        return ERR_PEER;
    }
    r.p = make(users, text.n, key);
    if (!r.p)
        return ERR_MEMORY;
    r.end = r.p->store;
    read_lines(&r, text);
    if (r.mistakes > 0) {
        passwd_release(r.p);
        return ERR_PEER;
    }
    choose_nobody(r.p);
    *out = r.p;
    return OK;
}

struct passwd *passwd_ref(struct passwd *p)
{
    uint32_t before = add_relaxed(&p->shares, 1); /* who has a share may pass one on */

    CHECK(before > 0 && before < UINT32_MAX);
    return p;
}

void passwd_release(struct passwd *p)
{
    uint32_t before;

    if (!p)
        return;
    before = sub_acq_rel(&p->shares, 1); /* pairs with itself: all reads, then free */
    CHECK(before > 0);
    if (before > 1)
        return;
    if (p->store)
        explicit_bzero(p->store, p->store_bytes);
    free(p->store);
    free(p->entries);
    free(p->places);
    free(p);
}

uint32_t passwd_users(const struct passwd *p)
{
    return p->count;
}

void passwd_dearest(const struct passwd *p, uint64_t *work_us, uint32_t *memory_kib)
{
    *work_us = passwd_hash_work_us(&p->nobody.hash);
    *memory_kib = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->entries[i].hash.memory_kib > *memory_kib)
            *memory_kib = p->entries[i].hash.memory_kib;
    }
}

const struct passwd_entry *passwd_find(const struct passwd *p, struct bytes user)
{
    uint32_t at = p->places[place_of(p, user)];

    return at ? &p->entries[at - 1] : &p->nobody;
}

enum err passwd_verify(const struct passwd_entry *e, struct bytes password,
                       const struct passwd_crypt *crypt, bool *matches)
{
    enum err err = passwd_hash_check(&e->hash, password, crypt, matches);

    *matches = *matches && passwd_is_user(e);
    return err;
}
