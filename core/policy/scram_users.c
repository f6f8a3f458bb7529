/* core/policy/scram_users.c -- the file of SCRAM users, as a table that does not change.
 *
 * Entries stand in the order of the file; names, salts and keys one behind the other in one block;
 * the hash table is an array of entry numbers, open addressing, at most half full.
 */
#include "core/policy/scram_users.h"

#include <stdlib.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

struct user {
    struct bytes name;
    struct scram_verifier v;
    uint32_t line;
};

struct scram_users {
    _Atomic uint32_t shares;
    struct hash_key key;
    struct user *users;
    uint32_t count;
    uint32_t mask;                    /* places - 1 */
    uint32_t *places;                 /* 1 + number of the user; 0: empty */
    uint32_t first[SCRAM_KIND_COUNT]; /* 1 + number of the first user of the kind; 0: none */
    uint8_t *store;
    size_t store_bytes; /* in use */
};

/* One reading of a file. */
struct reading {
    struct user_file file;
    struct scram_users *u;
};

/* ---- the table ---- */

static uint64_t hash_of(const struct scram_users *u, enum scram_kind kind, struct bytes name)
{
    return hash_bytes(&u->key, name) + (uint64_t)kind * 0x9E3779B97F4A7C15ull;
}

/* Where the user stands, or the empty place where it would. */
static uint32_t place_of(const struct scram_users *u, enum scram_kind kind, struct bytes name)
{
    uint32_t at = (uint32_t)hash_of(u, kind, name) & u->mask;

    for (; u->places[at]; at = (at + 1) & u->mask) {
        const struct user *x = &u->users[u->places[at] - 1];

        if (x->v.kind == kind && bytes_eq(x->name, name))
            break;
    }
    return at;
}

static const struct user *user_of(const struct scram_users *u, enum scram_kind kind,
                                  struct bytes name)
{
    uint32_t at = u->places[place_of(u, kind, name)];

    return at ? &u->users[at - 1] : NULL;
}

static struct bytes keep(struct scram_users *u, struct bytes b)
{
    struct bytes kept = {u->store + u->store_bytes, b.n};

    (void)bytes_put(u->store + u->store_bytes, b);
    u->store_bytes += b.n;
    return kept;
}

static void add(struct reading *r, struct bytes name, const struct scram_verifier *v)
{
    struct scram_users *u = r->u;
    uint32_t at = place_of(u, v->kind, name);
    struct user *x = &u->users[u->count];

    if (u->places[at]) {
        user_file_say(&r->file, false, "user '%s' is already on line %u with this mechanism",
                      user_file_show(name).text, u->users[u->places[at] - 1].line);
        return;
    }
    *x = (struct user){.name = keep(u, name), .v = *v, .line = r->file.line};
    x->v.salt = keep(u, v->salt);
    x->v.stored_key = keep(u, v->stored_key);
    x->v.server_key = keep(u, v->server_key);
    u->places[at] = ++u->count;
    if (!u->first[v->kind])
        u->first[v->kind] = u->count;
}

/* ---- reading ---- */

static void read_user(struct reading *r, struct bytes name, struct bytes text)
{
    struct scram_room room;
    struct scram_verifier v;
    const char *why;

    if (name.n == 0) {
        user_file_say(&r->file, false, "there is no user name before the colon");
    } else if (name.n > SCRAM_NAME_BYTES_MAX) {
        user_file_say(&r->file, false, "the user name is longer than %u bytes",
                      SCRAM_NAME_BYTES_MAX);
    } else if (!utf8_valid(name)) {
        user_file_say(&r->file, false, "user '%s': the name is not UTF-8",
                      user_file_show(name).text);
    } else if (scram_verifier_parse(text, &room, &v, &why) != OK) {
        user_file_say(&r->file, false, "user '%s': %s", user_file_show(name).text, why);
    } else {
        if (v.iterations < SCRAM_ITERATIONS_ADVISED)
            user_file_say(&r->file, true, "user '%s': fewer than %u iterations make guessing easy",
                          user_file_show(name).text, SCRAM_ITERATIONS_ADVISED);
        add(r, name, &v);
    }
    explicit_bzero(&room, sizeof(room));
}

static void read_line(struct reading *r, struct bytes line)
{
    struct bytes name;

    if (!memchr(line.p, ':', line.n)) {
        user_file_say(&r->file, false, "no colon, so this is no user");
        return;
    }
    name = user_file_take(&line, ':');
    read_user(r, user_file_trim(name), user_file_trim(line));
}

/* Room for `users` and for what `bytes` of text can say. */
static struct scram_users *make(uint32_t users, uint32_t bytes, const struct hash_key *key)
{
    struct scram_users *u = calloc(1, sizeof(*u));
    uint32_t places = 2;

    if (!u)
        return NULL;
    while (places < users * 2)
        places *= 2;
    store_relaxed(&u->shares, 1); /* nobody else knows it yet */
    u->key = *key;
    u->mask = places - 1;
    u->places = calloc(places, sizeof(*u->places));
    u->users = calloc(users ? users : 1, sizeof(*u->users));
    u->store = malloc(bytes ? bytes : 1);
    if (u->places && u->users && u->store)
        return u;
    scram_users_release(u);
    return NULL;
}

enum err scram_users_parse(struct bytes text, const struct hash_key *key, user_file_report *report,
                           void *arg, struct scram_users **out)
{
    struct reading r;
    struct bytes line;
    uint32_t users;

    *out = NULL;
    if (user_file_begin(&r.file, text, report, arg, &users) != OK)
        return ERR_PEER;
    r.u = make(users, text.n, key);
    if (!r.u)
        return ERR_MEMORY;
    while (user_file_next(&r.file, &line))
        read_line(&r, line);
    if (r.file.mistakes > 0) {
        scram_users_release(r.u);
        return ERR_PEER;
    }
    *out = r.u;
    return OK;
}

/* ---- life ---- */

struct scram_users *scram_users_ref(struct scram_users *u)
{
    uint32_t before;

    if (!u)
        return NULL;
    before = add_relaxed(&u->shares, 1); /* who has a share may pass one on */
    CHECK(before > 0 && before < UINT32_MAX);
    return u;
}

void scram_users_release(struct scram_users *u)
{
    uint32_t before;

    if (!u)
        return;
    before = sub_acq_rel(&u->shares, 1); /* pairs with itself: all reads, then free */
    CHECK(before > 0);
    if (before > 1)
        return;
    if (u->store)
        explicit_bzero(u->store, u->store_bytes);
    free(u->store);
    free(u->users);
    free(u->places);
    free(u);
}

uint32_t scram_users_count(const struct scram_users *u)
{
    return u->count;
}

/* ---- questions ---- */

/* The user of this kind whose iterations an unknown name shows: each as often as it is there.
 * NULL: there is none of this kind. */
static const struct user *model_of(const struct scram_users *u, enum scram_kind kind,
                                   const uint8_t *mac)
{
    uint32_t first = u->first[kind], at;

    if (!first)
        return NULL;
    at = (uint32_t)(((uint64_t)get_be32(mac) * u->count) >> 32);
    for (uint32_t i = 0; i < 64; i++) { /* of both kinds in one file, some are not of this one */
        const struct user *x = &u->users[(at + i) % u->count];

        if (x->v.kind == kind)
            return x;
    }
    return &u->users[first - 1];
}

/* What an unknown name gets: made with keys that only the file knows. */
static enum err imagine(const struct scram_users *u, enum scram_kind kind, struct bytes name,
                        const struct scram_crypt *crypt, struct scram_entry *out)
{
    const struct scram_functions *f = &crypt->of[kind];
    const struct user *first = u->first[kind] ? &u->users[u->first[kind] - 1] : NULL;
    struct bytes key = first ? first->v.server_key : BYTES_LIT("there are no users");
    struct bytes parts[] = {BYTES_LIT("keys of nobody"), name};
    uint32_t n = scram_hash_bytes(kind);
    const struct user *model;
    enum err err = f->hmac(key, parts, 2, out->room.stored_key);

    parts[0] = BYTES_LIT("salt of nobody");
    for (uint32_t at = 0; at < sizeof(out->room.salt) && err == OK; at += n) {
        err = f->hmac(key, parts, 2, out->room.salt + at);
        parts[0].n--; /* the next block is another one */
    }
    if (err != OK)
        return err;
    model = model_of(u, kind, out->room.stored_key);
    memcpy(out->room.server_key, out->room.stored_key, n);
    out->v = (struct scram_verifier){
        .kind = kind,
        .iterations = model ? model->v.iterations : SCRAM_ITERATIONS_ADVISED,
        .salt = bytes_of(out->room.salt, model ? model->v.salt.n : SCRAM_SALT_BYTES),
        .stored_key = bytes_of(out->room.stored_key, n),
        .server_key = bytes_of(out->room.server_key, n),
    };
    return OK;
}

/* A hash of what the file says of a user, never 0. */
static uint64_t credential_of(const struct scram_users *u, const struct scram_verifier *v)
{
    uint64_t hash = hash_more(&u->key, hash_bytes(&u->key, v->salt), v->stored_key);

    hash = hash_more(&u->key, hash, v->server_key) + v->iterations;
    return hash ? hash : 1;
}

enum err scram_users_find(const struct scram_users *u, enum scram_kind kind, struct bytes name,
                          const struct scram_crypt *crypt, struct scram_entry *out)
{
    const struct user *x = user_of(u, kind, name);
    enum err err = imagine(u, kind, name, crypt, out); /* also for users: the time is the same */

    out->is_user = x != NULL;
    if (err != OK)
        return err;
    if (x)
        out->v = x->v;
    out->credential = credential_of(u, &out->v);
    if (!x)
        out->credential = 0;
    return OK;
}

uint64_t scram_users_credential(const struct scram_users *u, enum scram_kind kind,
                                struct bytes name)
{
    const struct user *x = u ? user_of(u, kind, name) : NULL;

    return x ? credential_of(u, &x->v) : 0;
}
