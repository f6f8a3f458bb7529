/* tools/passwd_edit.c -- a new text of a password file from the old one. */
#include "tools/passwd_edit.h"

/* A line taken apart. Views into the file. */
struct line {
    struct bytes whole; /* with its end */
    struct bytes user;  /* without blanks; empty: the line is no user's */
    struct bytes rest;  /* behind the colon */
};

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

static bool take_line(struct bytes *text, struct line *line)
{
    const uint8_t *end, *colon;

    if (text->n == 0)
        return false;
    end = memchr(text->p, '\n', text->n);
    *line = (struct line){.whole = {text->p, end ? (uint32_t)(end - text->p) + 1 : text->n}};
    text->p += line->whole.n;
    text->n -= line->whole.n;
    colon = memchr(line->whole.p, ':', line->whole.n);
    if (line->whole.p[0] == '#' || !colon)
        return true;
    line->user = trim(bytes_of(line->whole.p, (size_t)(colon - line->whole.p)));
    line->rest = bytes_of(colon + 1, line->whole.n - (size_t)(colon + 1 - line->whole.p));
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
        struct bytes password = trim(line.rest);

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
