/* core/policy/passwd.c -- the password file, as a table that does not change.
 *
 * Entries stand in the order of the file; names, salts and hashes one behind the other in one block
 * of text; the hash table is an array of entry numbers, open addressing, at most half full.
 */
#include "core/policy/passwd.h"

#include <stdlib.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

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
    struct user_file file;
    struct passwd *p;
    uint8_t *end; /* of what is used of the store */
};

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

    if (p->places[at]) {
        user_file_say(&r->file, false, "user '%s' is already on line %u", user_file_show(name).text,
                      p->entries[p->places[at] - 1].line);
        return;
    }
    *e = (struct passwd_entry){.name = keep(r, name), .hash = *hash, .line = r->file.line};
    e->hash.salt = keep(r, hash->salt);
    e->hash.hash = keep(r, hash->hash);
    p->places[at] = ++p->count;
}

/* A name that no CONNECT can carry is a warning, not a mistake: mosquitto lets it stand. */
static void read_user(struct reading *r, struct bytes name, struct bytes text)
{
    struct passwd_room room;
    struct passwd_hash hash;
    const char *why;

    if (name.n == 0) {
        user_file_say(&r->file, false, "there is no user name before the colon");
    } else if (name.n > PASSWD_NAME_BYTES_MAX) {
        user_file_say(&r->file, false, "the user name is longer than %u bytes",
                      PASSWD_NAME_BYTES_MAX);
    } else if (passwd_hash_parse(text, &room, &hash, &why) != OK) {
        user_file_say(&r->file, false, "user '%s': %s", user_file_show(name).text, why);
    } else {
        if (!utf8_valid(name))
            user_file_say(&r->file, true,
                          "user '%s': no client can have this name, it is not UTF-8",
                          user_file_show(name).text);
        add(r, name, &hash);
    }
    explicit_bzero(&room, sizeof(room));
}

static void read_line(struct reading *r, struct bytes line)
{
    struct bytes name, hash;

    if (!memchr(line.p, ':', line.n)) {
        user_file_say(&r->file, true, "no colon, so this is no user; the line is passed over");
        return;
    }
    name = user_file_take(&line, ':');
    hash = user_file_take(&line, ':');
    read_user(r, user_file_trim(name), user_file_trim(hash));
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

enum err passwd_parse(struct bytes text, const struct hash_key *key, user_file_report *report,
                      void *arg, struct passwd **out)
{
    struct reading r;
    struct bytes line;
    uint32_t users;

    *out = NULL;
    if (user_file_begin(&r.file, text, report, arg, &users) != OK)
        return ERR_PEER;
    r.p = make(users, text.n, key);
    if (!r.p)
        return ERR_MEMORY;
    r.end = r.p->store;
    while (user_file_next(&r.file, &line))
        read_line(&r, line);
    if (r.file.mistakes > 0) {
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
