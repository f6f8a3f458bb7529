/* cfg/parse.c -- from the text of an INI file to a checked struct cfg; the only file with inih.
 *
 * inih cuts long lines and section names, skips what stands behind ']', and tells its handler no
 * line number. So it reads through read_line(), which looks at every line first, keeps sections to
 * itself and counts: inih calls the handler before it asks for the next line, so the reader's count
 * is the line of the key. What the reader refuses, inih sees as an empty line.
 */
#include "cfg/parse.h"

#include "cfg/assign.h"
#include "cfg/check.h"
#include "cfg/text.h"
#include "cfg/value.h"
#include "core/base/check.h"

#include <ini.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where reading stands. Invariant: section is NULL until the first [SECTION], and while the keys of
 * an unknown one are skipped. */
struct reader {
    struct draft *draft;
    struct bytes text;
    uint32_t at;   /* first byte of the next line */
    uint32_t line; /* number of the line last read */
    struct draft_section *section;
    bool has_section;   /* a line with [ was seen, right or wrong */
    bool has_stray_key; /* a key before it was reported */
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trim(struct bytes s)
{
    while (s.n && is_blank(s.p[0]))
        s = bytes_of(s.p + 1, s.n - 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Takes the next line, without its end. False: there is none. */
static bool take_line(struct reader *r, struct bytes *line)
{
    struct bytes rest = bytes_of(r->text.p + r->at, r->text.n - r->at);
    const uint8_t *end;

    if (rest.n == 0)
        return false;
    end = memchr(rest.p, '\n', rest.n);
    *line = bytes_of(rest.p, end ? (size_t)(end - rest.p) : rest.n);
    r->at += line->n + (end ? 1 : 0);
    r->line++;
    if (line->n && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

/* Whether inih and a terminal can take the line; reports why not. */
static bool check_line(struct reader *r, struct bytes line)
{
    if (line.n > CFG_LINE_BYTES_MAX) {
        draft_error(r->draft, r->line, "this line has %u bytes; right would be at most %u", line.n,
                    CFG_LINE_BYTES_MAX);
        return false;
    }
    for (uint32_t i = 0; i < line.n; i++) {
        if ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f) {
            draft_error(r->draft, r->line,
                        "byte %u of this line is the control character 0x%02X; "
                        "take it out",
                        i + 1, line.p[i]);
            return false;
        }
    }
    return true;
}

/* Reports a section that does not exist. */
static void refuse_section(struct reader *r, const char *word, bool has_name)
{
    const char *answer = section_unavailable(word);
    const struct section_info *nearest = section_nearest(word);

    if (answer)
        draft_error(r->draft, r->line, "[%s] %s", word, answer);
    else if (nearest)
        draft_error(r->draft, r->line, "there is no section [%s%s]; did you mean [%s%s]?", word,
                    has_name ? " NAME" : "", nearest->name, nearest->example ? " NAME" : "");
    else
        draft_error(r->draft, r->line,
                    "there is no section [%.80s]; right would be broker, "
                    "cluster, listener NAME, link NAME, limits, log or auth",
                    word);
}

/* Opens the section "WORD" or "WORD NAME"; `name` is empty where there is none. */
static void open_section(struct reader *r, const char *word, const char *name)
{
    const struct section_info *info = section_find(word);

    if (!info) {
        refuse_section(r, word, name[0] != '\0');
        return;
    }
    if (!info->example && name[0]) {
        draft_error(r->draft, r->line, "[%s] has no name; right would be [%s] alone", word, word);
        name = "";
    } else if (info->example && !name[0]) {
        draft_error(r->draft, r->line, "[%s] has no name; right would be [%s NAME], as in [%s %s]",
                    word, word, word, info->example);
        return;
    } else if (info->example && !value_is_name(name)) {
        draft_error(r->draft, r->line,
                    "[%s %.80s] has a name that is not possible; right would be "
                    "letters, digits, '-' and '_', at most %d, and '-' and '_' not first",
                    word, name, CFG_NAME_BYTES_MAX);
        return;
    }
    r->section = draft_open(r->draft, section_kind_of(info), name[0] ? name : NULL, r->line);
}

/* Reads a line that begins with '['. */
static void read_section(struct reader *r, struct bytes line)
{
    const uint8_t *end = memchr(line.p, ']', line.n);
    struct bytes inside;
    char *word, *name;
    size_t n;

    r->has_section = true;
    r->section = NULL;
    if (!end || end != line.p + line.n - 1) {
        draft_error(r->draft, r->line,
                    end ? "there is text after ']'; a comment is a line of its "
                          "own"
                        : "']' is missing at the end of this line");
        return;
    }
    inside = trim(bytes_of(line.p + 1, line.n - 2));
    word = calloc(1, (size_t)inside.n + 1); /* no strndup: the line has no NUL */
    if (!word) {
        r->draft->is_out_of_memory = true;
        return;
    }
    bytes_put((uint8_t *)word, inside);
    n = strcspn(word, " \t");
    name = word + n + strspn(word + n, " \t");
    word[n] = '\0';
    open_section(r, word, name);
    free(word);
}

/* inih's reader, like fgets: the next line that holds a key or nothing. */
static char *read_line(char *to, int room, void *stream)
{
    struct reader *r = stream;
    struct bytes line, inside;
    uint32_t n = 0;

    if (!take_line(r, &line))
        return NULL;
    inside = trim(line);
    if (check_line(r, line) && inside.n && inside.p[0] != '#' && inside.p[0] != ';') {
        if (inside.p[0] == '[')
            read_section(r, inside);
        else
            n = inside.n;
    }
    CHECK(n + 2 <= (uint32_t)room);
    if (n)
        memcpy(to, inside.p, n);
    to[n] = '\n';
    to[n + 1] = '\0';
    return to;
}

/* inih's handler: one key. Its section is the reader's, so inih's is always empty. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;

    (void)section;
    if (r->section) {
        assign_key(r->draft, r->section, name, value, r->line);
    } else if (!r->has_section && !r->has_stray_key) {
        r->has_stray_key = true;
        draft_error(r->draft, r->line,
                    "this key stands before the first section; right would be a "
                    "line like [broker] or [limits] before it");
    }
    return 1;
}

/* Reads all lines of the text into the draft. */
static void read_text(struct draft *draft, struct bytes text)
{
    static char comment_prefixes[] = "#;"; /* not const for inih, which only reads it */
    struct reader r = {.draft = draft, .text = text};

    if (text.n >= 3 && memcmp(text.p, "\xEF\xBB\xBF", 3) == 0)
        r.at = 3;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_allow_no_value = true;
    ini_allow_bom = false;
    ini_stop_on_first_error = false;
    ini_start_comment_prefixes = comment_prefixes;
    ini_use_stack = true;
    ini_allow_realloc = false;
    ini_max_line = (int)CFG_LINE_BYTES_MAX + 3;
    (void)ini_parse_stream(read_line, &r, on_key, &r); /* on_key and read_line report everything */
}

/* Defaults, and the look at the whole, once all lines are read. */
static void finish(struct draft *draft)
{
    for (uint32_t i = 0; i < draft->section_count; i++)
        assign_presets(draft, &draft->sections[i]);
    check_draft(draft);
}

enum err cfg_load_memory(const char *name, struct bytes text, struct cfg **out,
                         struct cfg_errors *errs)
{
    uint32_t count = errs->count, dropped = errs->dropped;
    struct draft *draft = draft_create(name, errs);
    enum err err = ERR_MEMORY;

    *out = NULL;
    if (!draft)
        return ERR_MEMORY;
    draft->cfg->file = cfg_copy(draft->cfg, name);
    if (!draft->cfg->file)
        draft->is_out_of_memory = true;
    read_text(draft, text);
    finish(draft);
    cfg_errors_sort(errs, count);
    if (!draft->is_out_of_memory)
        err = errs->count == count && errs->dropped == dropped ? OK : ERR_PEER;
    if (err == OK) {
        *out = draft->cfg;
        draft->cfg = NULL;
    }
    draft_destroy(draft);
    return err;
}

/* Reads until the end or one byte beyond CFG_FILE_BYTES_MAX; `*data` is the caller's to free. */
static enum err read_all(int fd, uint8_t **data, size_t *n)
{
    size_t room = 64u << 10;

    *n = 0;
    *data = malloc(room);
    while (*data) {
        ssize_t got;

        if (*n == room) {
            uint8_t *more = realloc(*data, room *= 2);

            if (!more)
                break;
            *data = more;
        }
        got = read(fd, *data + *n, room - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_SYSTEM;
        if (got == 0 || *n > CFG_FILE_BYTES_MAX)
            return OK;
        *n += (size_t)got;
    }
    return ERR_MEMORY;
}

/* Opens what can be read as a text: a file, or a pipe that a shell made; no directory. */
static enum err open_text(const char *path, int *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return ERR_SYSTEM;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        errno = EISDIR;
        return ERR_SYSTEM;
    }
    *out = fd;
    return OK;
}

enum err cfg_load(const char *path, struct cfg **out, struct cfg_errors *errs)
{
    uint8_t *data = NULL;
    size_t n = 0;
    enum err err;
    int fd = -1;

    *out = NULL;
    err = open_text(path, &fd);
    if (err == OK)
        err = read_all(fd, &data, &n);
    if (err == ERR_SYSTEM) {
        cfg_errors_add(errs, path, 0,
                       "cannot be read (%s); right would be a file that this user "
                       "may read",
                       strerror(errno));
    } else if (err == OK && n > CFG_FILE_BYTES_MAX) {
        cfg_errors_add(errs, path, 0, "is too long; right would be at most %u MB",
                       CFG_FILE_BYTES_MAX >> 20);
        err = ERR_PEER;
    } else if (err == OK) {
        err = cfg_load_memory(path, bytes_of(data, n), out, errs);
    }
    if (data)
        explicit_bzero(data, n); /* it may hold passwords */
    free(data);
    if (fd >= 0)
        close(fd);
    return err;
}

enum err cfg_default(struct cfg **out)
{
    struct cfg_errors errs;
    enum err err;

    cfg_errors_init(&errs);
    err = cfg_load_memory("built-in defaults", bytes_of("", 0), out, &errs);
    CHECK(errs.count == 0);
    cfg_errors_fini(&errs);
    if (err == OK)
        (*out)->file = NULL;
    return err;
}
