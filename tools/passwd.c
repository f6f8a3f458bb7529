/* tools/passwd.c -- causeway-passwd: users and their hashed passwords, for `password_file`, and
 * with --scram for `scram_file`.
 *
 * passwd_ask   a password from the terminal or a pipe
 * passwd_edit  a new text of the file from the old one
 * passwd_file  the file on disk
 *
 * Options, exit status and messages are those of mosquitto_passwd, whose files these are.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mqtt/topic.h"
#include "core/policy/passwd.h"
#include "core/policy/scram_users.h"
#include "net/crypt.h"
#include "tools/passwd_ask.h"
#include "tools/passwd_edit.h"
#include "tools/passwd_file.h"

#ifndef CAUSEWAY_VERSION
#define CAUSEWAY_VERSION "unknown"
#endif

#define ITERATIONS_DEFAULT 210000u
/* A salt that mosquitto 2.0 reads too, and what mosquitto 2.1 writes for argon2id. */
#define SALT_BYTES 12u
#define HASH_BYTES 64u
#define ARGON2_SALT_BYTES 64u
#define ARGON2_KIB 47104u
/* Each login costs the client so many; RFC 7677 asks for 4096 and more. */
#define SCRAM_ITERATIONS_DEFAULT 15000u
/* What stands behind the colon; with two SCRAM mechanisms it is two lines. */
#define HASH_TEXT_BYTES (2 * SCRAM_VERIFIER_TEXT_BYTES + SCRAM_NAME_BYTES_MAX + 2)

enum action { ACTION_SET, ACTION_CREATE, ACTION_DELETE, ACTION_HASH_ALL };

struct asked {
    enum action action;
    bool is_batch; /* the password is on the command line */
    bool has_kind; /* -H was there */
    enum passwd_kind kind;
    bool is_scram; /* and these mechanisms */
    bool with[SCRAM_KIND_COUNT];
    uint32_t iterations; /* 0: the default */
    const char *path;
    struct bytes user;
    struct bytes password;
};

static const char help_text[] =
    "causeway-passwd -- users and their hashed passwords, for the broker's password_file\n"
    "and scram_file\n"
    "\n"
    "Usage: causeway-passwd [-H HASH | --scram HASH] [-I ITERATIONS] [-c | -D] FILE USER\n"
    "       causeway-passwd [-H HASH | --scram HASH] [-I ITERATIONS] [-c] -b FILE USER PASSWORD\n"
    "       causeway-passwd [-H HASH | --scram HASH] [-I ITERATIONS] -U FILE\n"
    "\n"
    "  -b             take the password from the command line, where others may see it\n"
    "  -c             create a new password file; an existing one is overwritten\n"
    "  -D             delete the user instead of setting a password\n"
    "  -H HASH        sha512-pbkdf2 (default), argon2id, or sha512, which is fast to guess\n"
    "  -I ITERATIONS  of sha512-pbkdf2 (210000) or SCRAM (15000), 1 to 10000000\n"
    "  -U             hash the passwords of a file in plain text; those already hashed stay\n"
    "      --scram HASH  write lines of a scram_file: sha256, sha512, or both\n"
    "      --help     this text\n"
    "      --version  the version\n"
    "\n"
    "Without -b the password is asked for twice, or read from stdin if that is no terminal.\n";

/* Prints `Error: ` and the sentence; false, for the caller to pass on. */
__attribute__((format(printf, 1, 2))) static bool fail(const char *format, ...)
{
    va_list args;

    fputs("Error: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\n", stderr);
    return false;
}

/* ------------------------------------------------------------------------- the command line --- */

static bool read_kind(const char *text, enum passwd_kind *kind)
{
    if (strcmp(text, "sha512-pbkdf2") == 0)
        *kind = PASSWD_PBKDF2;
    else if (strcmp(text, "sha512") == 0)
        *kind = PASSWD_SHA512;
    else if (strcmp(text, "argon2id") == 0)
        *kind = PASSWD_ARGON2ID;
    else
        return fail("Unknown hash type '%s'.", text);
    return true;
}

static bool read_scram(const char *text, struct asked *a)
{
    bool is_both = strcmp(text, "both") == 0;

    a->is_scram = true;
    a->with[SCRAM_SHA256] = is_both || strcmp(text, "sha256") == 0;
    a->with[SCRAM_SHA512] = is_both || strcmp(text, "sha512") == 0;
    return a->with[SCRAM_SHA256] || a->with[SCRAM_SHA512] ||
           fail("Unknown SCRAM hash '%s'; right would be sha256, sha512 or both.", text);
}

static bool read_iterations(const char *text, uint32_t *iterations)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || v < 1 || v > PASSWD_ITERATIONS_MAX)
        return fail("Number of iterations must be from 1 to %u.", PASSWD_ITERATIONS_MAX);
    *iterations = (uint32_t)v;
    return true;
}

static bool set_action(struct asked *a, enum action action)
{
    if (a->action != ACTION_SET && a->action != action)
        return fail("-c, -D and -U cannot be used together.");
    a->action = action;
    return true;
}

/* A name that a client can send and the file can hold. */
static bool is_good_user(struct bytes user)
{
    if (user.n == 0)
        return fail("Username must not be empty.");
    if (user.n > PASSWD_NAME_BYTES_MAX)
        return fail("Username must be less than 65536 characters long.");
    if (memchr(user.p, ':', user.n))
        return fail("Username must not contain the ':' character.");
    for (uint32_t i = 0; i < user.n; i++) {
        if (user.p[i] < 0x20 || user.p[i] == 0x7f)
            return fail("Username must not contain control characters.");
    }
    if (!utf8_valid(user))
        return fail("Username must be UTF-8.");
    if (user.p[0] == '#' || user.p[0] == ' ' || user.p[user.n - 1] == ' ')
        return fail("Username must not begin with '#' nor begin or end with a blank.");
    return true;
}

static bool is_good_password(struct bytes password)
{
    if (password.n == 0)
        return fail("Empty password.");
    if (password.n > PASSWD_PASSWORD_BYTES_MAX)
        return fail("Password must be less than 65536 characters long.");
    return true;
}

static bool read_words(struct asked *a, int argc, char **argv)
{
    int wanted = a->action == ACTION_HASH_ALL ? 1 : a->is_batch ? 3 : 2;

    if (a->is_batch && (a->action == ACTION_DELETE || a->action == ACTION_HASH_ALL))
        return fail("-b cannot be used with -D or -U.");
    if (a->is_scram && a->has_kind)
        return fail("-H and --scram cannot be used together.");
    if (argc != wanted)
        return fail("%s; see causeway-passwd --help.",
                    argc < wanted ? "Something is missing" : "There is something too many");
    a->path = argv[0];
    if (wanted > 1)
        a->user = bytes_str(argv[1]);
    if (wanted > 2)
        a->password = bytes_str(argv[2]);
    if (a->is_scram && a->user.n > SCRAM_NAME_BYTES_MAX)
        return fail("Username must not be longer than %u bytes.", SCRAM_NAME_BYTES_MAX);
    return (wanted < 2 || is_good_user(a->user)) && (wanted < 3 || is_good_password(a->password));
}

enum { OPT_HELP = 256, OPT_VERSION, OPT_SCRAM };

/* Options stand first, so that a password may begin with '-'. false: `*status` is the exit's. */
static bool read_command_line(struct asked *a, int argc, char **argv, int *status)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, OPT_HELP},
                                                 {"version", no_argument, NULL, OPT_VERSION},
                                                 {"scram", required_argument, NULL, OPT_SCRAM},
                                                 {0}};
    bool good = true;
    int option;

    *status = 1;
    while (good && (option = getopt_long(argc, argv, "+bcDUH:I:", long_options, NULL)) != -1) {
        switch (option) {
        case 'b':
            a->is_batch = true;
            break;
        case 'c':
            good = set_action(a, ACTION_CREATE);
            break;
        case 'D':
            good = set_action(a, ACTION_DELETE);
            break;
        case 'U':
            good = set_action(a, ACTION_HASH_ALL);
            break;
        case 'H':
            a->has_kind = true;
            good = read_kind(optarg, &a->kind);
            break;
        case 'I':
            good = read_iterations(optarg, &a->iterations);
            break;
        case OPT_SCRAM:
            good = read_scram(optarg, a);
            break;
        case OPT_HELP:
            *status = fputs(help_text, stdout) < 0;
            return false;
        case OPT_VERSION:
            *status = puts("causeway-passwd " CAUSEWAY_VERSION) < 0;
            return false;
        default:
            good = false; /* getopt has said why */
        }
    }
    return good && read_words(a, argc - optind, argv + optind);
}

/* ---------------------------------------------------------------------------------- hashing --- */

/* What a server keeps for SCRAM, with a fresh salt. */
static bool make_verifier(const struct asked *a, enum scram_kind kind, struct bytes password,
                          char text[SCRAM_VERIFIER_TEXT_BYTES])
{
    struct scram_room room;
    struct scram_verifier v = {
        .kind = kind,
        .iterations = a->iterations ? a->iterations : SCRAM_ITERATIONS_DEFAULT,
        .salt = {room.salt, SCRAM_SALT_BYTES},
    };

    if (crypt_random(room.salt, v.salt.n) != OK)
        return fail("Unable to get random bytes.");
    if (scram_verifier_make(&v, password, &crypt_scram, &room) != OK)
        return fail("Unable to hash the password.");
    (void)scram_verifier_format(&v, text);
    explicit_bzero(&room, sizeof(room));
    return true;
}

/* One verifier, or two: the second one on a line of its own. */
static bool make_verifiers(const struct asked *a, struct bytes user, struct bytes password,
                           char text[HASH_TEXT_BYTES])
{
    char *to = text;

    for (int kind = 0; kind < SCRAM_KIND_COUNT; kind++) {
        if (!a->with[kind])
            continue;
        if (to > text)
            to += snprintf(to, HASH_TEXT_BYTES - (size_t)(to - text), "\n%.*s:", (int)user.n,
                           (const char *)user.p);
        if (!make_verifier(a, (enum scram_kind)kind, password, to))
            return false;
        to += strlen(to);
    }
    return true;
}

/* Hashes a password with a fresh salt. */
static bool make_hash(const struct asked *a, struct bytes user, struct bytes password,
                      char text[HASH_TEXT_BYTES])
{
    struct passwd_room room;
    struct passwd_hash hash = {.kind = a->kind,
                               .cost = 1,
                               .salt = {room.salt, SALT_BYTES},
                               .hash = {room.hash, HASH_BYTES}};

    if (a->is_scram)
        return make_verifiers(a, user, password, text);
    if (a->kind == PASSWD_PBKDF2)
        hash.cost = a->iterations ? a->iterations : ITERATIONS_DEFAULT;
    if (a->kind == PASSWD_ARGON2ID) {
        hash.memory_kib = ARGON2_KIB;
        hash.lanes = 1;
        hash.salt.n = ARGON2_SALT_BYTES;
    }
    if (crypt_random(room.salt, hash.salt.n) != OK)
        return fail("Unable to get random bytes.");
    if (passwd_hash_make(&hash, password, &crypt_passwd, room.hash) != OK)
        return fail("Unable to hash the password.");
    passwd_hash_format(&hash, text);
    explicit_bzero(&room, sizeof(room));
    return true;
}

static bool put_hash(void *arg, struct bytes user, struct bytes password, FILE *fresh)
{
    const struct asked *a = arg;
    char text[HASH_TEXT_BYTES];

    if (a->is_scram && user.n > SCRAM_NAME_BYTES_MAX)
        return fail("Username must not be longer than %u bytes.", SCRAM_NAME_BYTES_MAX);
    return is_good_password(password) && make_hash(a, user, password, text) &&
           fprintf(fresh, "%s\n", text) > 0;
}

/* ---------------------------------------------------------------------------------- actions --- */

static void warn(void *arg, uint32_t line, bool is_warning, const char *what)
{
    const char *path = arg;

    (void)is_warning;
    if (line)
        fprintf(stderr, "Warning: %s:%u: %s\n", path, line, what);
    else
        fprintf(stderr, "Warning: %s: %s\n", path, what);
}

/* Whether this is a scram_file, also where -D did not say so. */
static bool is_of_scram(const struct asked *a, struct bytes text)
{
    static const char word[] = ":SCRAM-SHA-";

    return a->is_scram ||
           (text.n > 0 && !a->has_kind && memmem(text.p, text.n, word, sizeof(word) - 1) != NULL);
}

/* Says what the broker will say of the file. */
static void look_over(const struct asked *a, const struct passwd_file *f, struct bytes text)
{
    const struct hash_key key = {{1, 2, 3, 4}}; /* nobody outside chooses these names */
    struct scram_users *u;
    struct passwd *p;

    if (is_of_scram(a, text)) {
        if (scram_users_parse(text, &key, warn, f->path, &u) == OK)
            scram_users_release(u);
        return;
    }
    if (passwd_parse(text, &key, warn, f->path, &p) == OK)
        passwd_release(p);
}

static bool edit(const struct asked *a, const struct passwd_file *f, const char *hash, FILE *fresh)
{
    uint32_t line;
    bool found;

    switch (a->action) {
    case ACTION_CREATE:
        return passwd_edit_set((struct bytes){0}, a->user, hash, fresh) || fail("Out of memory.");
    case ACTION_SET:
        return passwd_edit_set(f->text, a->user, hash, fresh) || fail("Out of memory.");
    case ACTION_DELETE:
        if (!passwd_edit_delete(f->text, a->user, fresh, &found))
            return fail("Out of memory.");
        if (!found)
            fprintf(stderr, "Warning: User %.*s not found in password file.\n", (int)a->user.n,
                    (const char *)a->user.p);
        return found;
    case ACTION_HASH_ALL:
        if (passwd_edit_hash_all(f->text, put_hash, (void *)a, fresh, &line))
            return true;
        return line ? fail("Line %u has no password to hash.", line) : fail("Out of memory.");
    }
    return false;
}

/* From the old text to the new one and to the disk. */
static bool change_file(const struct asked *a, const char *hash)
{
    struct passwd_file f;
    char *text = NULL;
    size_t n = 0;
    FILE *fresh;
    bool done = false;

    if (!passwd_file_open(&f, a->path, a->action == ACTION_CREATE))
        return false;
    fresh = open_memstream(&text, &n);
    if (!fresh) {
        passwd_file_close(&f);
        return fail("Out of memory.");
    }
    done = edit(a, &f, hash, fresh);
    if (fclose(fresh) != 0 && done)
        done = fail("Out of memory.");
    if (done && n > USER_FILE_BYTES_MAX)
        done = fail("The file would be larger than %u MiB.", USER_FILE_BYTES_MAX >> 20);
    done = done && passwd_file_replace(&f, bytes_of(text, n));
    if (done)
        look_over(a, &f, bytes_of(text, n));
    free(text);
    passwd_file_close(&f);
    return done;
}

static bool set_password(const struct asked *a, struct bytes password)
{
    char hash[HASH_TEXT_BYTES];

    return is_good_password(password) && make_hash(a, a->user, password, hash) &&
           change_file(a, hash);
}

static bool ask_and_set(const struct asked *a)
{
    struct passwd_typed typed;
    bool done;

    if (!passwd_file_look(a->path, a->action == ACTION_CREATE))
        return false;
    done = passwd_ask(&typed) && set_password(a, bytes_str(typed.text));
    explicit_bzero(&typed, sizeof(typed));
    return done;
}

int main(int argc, char **argv)
{
    struct asked a = {.kind = PASSWD_PBKDF2};
    bool done;
    int status;

    if (!read_command_line(&a, argc, argv, &status))
        return status;
    if (a.action == ACTION_DELETE || a.action == ACTION_HASH_ALL)
        done = change_file(&a, NULL);
    else if (a.is_batch)
        done = set_password(&a, a.password);
    else
        done = ask_and_set(&a);
    return done ? 0 : 1;
}
