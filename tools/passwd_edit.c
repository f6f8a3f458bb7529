/* tools/passwd_edit.c -- a new text of a password file from the old one. */
#include "tools/passwd_edit.h"

#include "core/policy/user_file.h"

/* A line taken apart. Views into the file. */
struct line {
    struct bytes whole; /* with its end */
    struct bytes user;  /* without blanks; empty: the line is no user's */
    struct bytes rest;  /* behind the colon */
};

static bool take_line(struct bytes *text, struct line *line)
{
    const uint8_t *begin = text->p;
    struct bytes inner;

    if (text->n == 0)
        return false;
    inner = user_file_take(text, '\n');
    *line = (struct line){.whole = bytes_of(begin, (size_t)(text->p - begin))};
    if (inner.n == 0 || inner.p[0] == '#' || !memchr(inner.p, ':', inner.n))
        return true;
    line->user = user_file_trim(user_file_take(&inner, ':'));
    line->rest = inner;
    return true;
}

static void put(FILE *to, struct bytes b)
{
    fwrite(b.p, 1, b.n, to);
}

/* A last line without its end gets it, so that what follows is a line of its own. */
static void put_whole(FILE *to, const struct line *line)
{
    put(to, line->whole);
    if (line->whole.p[line->whole.n - 1] != '\n')
        fputc('\n', to);
}

static void put_user(FILE *to, struct bytes user, const char *hash)
{
    put(to, user);
    fprintf(to, ":%s\n", hash);
}

bool passwd_edit_set(struct bytes old, struct bytes user, const char *hash, FILE *fresh)
{
    struct line line;
    bool found = false;

    while (take_line(&old, &line)) {
        if (!bytes_eq(line.user, user)) {
            put_whole(fresh, &line);
        } else if (!found) {
            put_user(fresh, user, hash);
            found = true;
        }
    }
    if (!found)
        put_user(fresh, user, hash);
    return fflush(fresh) == 0;
}

bool passwd_edit_delete(struct bytes old, struct bytes user, FILE *fresh, bool *found)
{
    struct line line;

    *found = false;
    while (take_line(&old, &line)) {
        if (bytes_eq(line.user, user))
            *found = true;
        else
            put_whole(fresh, &line);
    }
    return fflush(fresh) == 0;
}

/* What looks like a hash is kept even if it is damaged: it is no password. */
static bool is_hashed(struct bytes text)
{
    return bytes_begin(text, BYTES_LIT("$6$")) || bytes_begin(text, BYTES_LIT("$7$")) ||
           bytes_begin(text, BYTES_LIT("$argon2id$")) || bytes_begin(text, BYTES_LIT("SCRAM-SHA-"));
}

bool passwd_edit_hash_all(struct bytes old, passwd_edit_hash *hash, void *arg, FILE *fresh,
                          uint32_t *number)
{
    struct line line;

    for (*number = 1; take_line(&old, &line); ++*number) {
        struct bytes password = user_file_trim(line.rest);

        if (line.user.n == 0 || is_hashed(password)) {
            put_whole(fresh, &line);
            continue;
        }
        put(fresh, line.user);
        fputc(':', fresh);
        if (password.n == 0 || !hash(arg, line.user, password, fresh))
            return false;
    }
    *number = 0;
    return fflush(fresh) == 0;
}
