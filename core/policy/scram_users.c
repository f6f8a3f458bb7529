/* core/policy/scram_users.c -- the file of SCRAM users, as a table that does not change.
 *
 * Entries stand in the order of the file; names, salts and keys one behind the other in one block;
 * the hash table is an array of entry numbers, open addressing, at most half full.
 */
#include "core/policy/scram_users.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

/* Bytes of a user name shown in a sentence. */
#define SHOWN_BYTES 64u

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
    struct scram_users *u;
    scram_report *report;
    void *arg;
    uint32_t line;
    uint32_t mistakes;
};

__attribute__((format(printf, 3, 4))) static void say(struct reading *r, bool is_warning,
                                                      const char *format, ...)
{
    char text[SCRAM_SAID_BYTES];
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

/* The next line, without its end, taken off `*text`. */
static struct bytes take_line(struct bytes *text)
{
    const uint8_t *end = memchr(text->p, '\n', text->n);
    struct bytes line = {text->p, end ? (uint32_t)(end - text->p) : text->n};

    *text = bytes_of(text->p + line.n + (end != NULL), text->n - line.n - (end != NULL));
    return line;
}

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
    char shown[SHOWN_BYTES + 4];

    if (u->places[at]) {
        say(r, false, "user '%s' is already on line %u with this mechanism", show(name, shown),
            u->users[u->places[at] - 1].line);
        return;
    }
    *x = (struct user){.name = keep(u, name), .v = *v, .line = r->line};
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
    char shown[SHOWN_BYTES + 4];
    const char *why;

    if (name.n == 0) {
        say(r, false, "there is no user name before the colon");
    } else if (name.n > SCRAM_NAME_BYTES_MAX) {
        say(r, false, "the user name is longer than %u bytes", SCRAM_NAME_BYTES_MAX);
    } else if (!utf8_valid(name)) {
        say(r, false, "user '%s': the name is not UTF-8", show(name, shown));
    } else if (scram_verifier_parse(text, &room, &v, &why) != OK) {
        say(r, false, "user '%s': %s", show(name, shown), why);
    } else {
        if (v.iterations < SCRAM_ITERATIONS_ADVISED)
            say(r, true, "user '%s': fewer than %u iterations make guessing easy",
                show(name, shown), SCRAM_ITERATIONS_ADVISED);
        add(r, name, &v);
    }
    explicit_bzero(&room, sizeof(room));
}

static void read_line(struct reading *r, struct bytes line)
{
    const uint8_t *colon;

    if (line.n > 0 && memchr(line.p, 0, line.n)) {
        say(r, false, "there is a NUL byte");
        return;
    }
    if ((line.n > 0 && line.p[0] == '#') || trim(line).n == 0)
        return;
    colon = memchr(line.p, ':', line.n);
    if (!colon) {
        say(r, false, "no colon, so this is no user");
        return;
    }
    read_user(r, trim(bytes_of(line.p, (size_t)(colon - line.p))),
              trim(bytes_of(colon + 1, line.n - (size_t)(colon + 1 - line.p))));
}

/* Lines that could be users; the table is made for so many. */
static uint32_t count_lines(struct bytes text)
{
    uint32_t count = 0;

    while (text.n > 0) {
        struct bytes line = take_line(&text);

        if (line.n > 0 && line.p[0] != '#' && memchr(line.p, ':', line.n))
            count++;
    }
    return count;
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

static void read_lines(struct reading *r, struct bytes text)
{
    if (bytes_begin(text, BYTES_LIT("\xef\xbb\xbf"))) /* some editors begin a file so */
        text = bytes_of(text.p + 3, text.n - 3);
    while (text.n > 0) {
        r->line++;
        read_line(r, take_line(&text));
    }
    r->line = 0;
}

enum err scram_users_parse(struct bytes text, const struct hash_key *key, scram_report *report,
                           void *arg, struct scram_users **out)
{
    struct reading r = {.report = report, .arg = arg};
    uint32_t users;

    *out = NULL;
    if (text.n > SCRAM_FILE_BYTES_MAX) {
        say(&r, false, "the file is larger than %u MiB", SCRAM_FILE_BYTES_MAX >> 20);
        return ERR_PEER;
    }
    users = count_lines(text);
    if (users > SCRAM_USERS_MAX) {
        say(&r, false, "there are more than %u users", SCRAM_USERS_MAX);
        return ERR_PEER;
    }
    r.u = make(users, text.n, key);
    if (!r.u)
        return ERR_MEMORY;
    read_lines(&r, text);
    if (r.mistakes > 0) {
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
