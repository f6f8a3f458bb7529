/* core/policy/user_file.c -- what files of users have in common: lines, blanks, sentences. */
#include "core/policy/user_file.h"

#include <stdarg.h>
#include <stdio.h>

void user_file_say(struct user_file *f, bool is_warning, const char *format, ...)
{
    char text[USER_FILE_SAID_BYTES];
    va_list args;

    f->mistakes += !is_warning;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    f->report(f->arg, f->line, is_warning, text);
}

struct user_file_shown user_file_show(struct bytes name)
{
    struct user_file_shown shown;
    uint32_t n = name.n < USER_FILE_SHOWN_BYTES ? name.n : USER_FILE_SHOWN_BYTES;

    for (uint32_t i = 0; i < n; i++)
        shown.text[i] = name.p[i] >= 0x20 && name.p[i] < 0x7f ? (char)name.p[i] : '?';
    memcpy(shown.text + n, n < name.n ? "..." : "", n < name.n ? 4 : 1);
    return shown;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct bytes user_file_trim(struct bytes b)
{
    while (b.n > 0 && is_blank(b.p[0])) {
        b.p++;
        b.n--;
    }
    while (b.n > 0 && is_blank(b.p[b.n - 1]))
        b.n--;
    return b;
}

struct bytes user_file_take(struct bytes *rest, uint8_t c)
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

static uint32_t count_users(struct bytes text)
{
    uint32_t count = 0;

    while (text.n > 0) {
        struct bytes line = user_file_take(&text, '\n');

        if (line.n > 0 && line.p[0] != '#' && memchr(line.p, ':', line.n))
            count++;
    }
    return count;
}

enum err user_file_begin(struct user_file *f, struct bytes text, user_file_report *report,
                         void *arg, uint32_t *users)
{
    *f = (struct user_file){.rest = text, .report = report, .arg = arg};
    *users = 0;
    if (text.n > USER_FILE_BYTES_MAX) {
        user_file_say(f, false, "the file is larger than %u MiB", USER_FILE_BYTES_MAX >> 20);
        return ERR_PEER;
    }
    *users = count_users(text);
    if (*users > USER_FILE_USERS_MAX) {
        user_file_say(f, false, "there are more than %u users", USER_FILE_USERS_MAX);
        return ERR_PEER;
    }
    if (bytes_begin(text, BYTES_LIT("\xef\xbb\xbf"))) /* some editors begin a file so */
        f->rest = bytes_of(text.p + 3, text.n - 3);
    return OK;
}

bool user_file_next(struct user_file *f, struct bytes *line)
{
    while (f->rest.n > 0) {
        f->line++;
        *line = user_file_take(&f->rest, '\n');
        if (line->n > 0 && memchr(line->p, 0, line->n))
            user_file_say(f, false, "there is a NUL byte");
        else if ((line->n == 0 || line->p[0] != '#') && user_file_trim(*line).n > 0)
            return true;
    }
    return false;
}
