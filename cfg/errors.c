/* cfg/errors.c -- the list of mistakes in a configuration file. */
#include "cfg/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cfg_errors_init(struct cfg_errors *errs)
{
    *errs = (struct cfg_errors){0};
}

void cfg_errors_fini(struct cfg_errors *errs)
{
    for (uint32_t i = 0; i < errs->count; i++)
        free(errs->items[i].text);
    free(errs->items);
    *errs = (struct cfg_errors){0};
}

/* Control characters would let a file play tricks on a terminal; bytes of UTF-8 stay. */
static void make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
    }
}

/* Takes ownership of `text`. */
static void append(struct cfg_errors *errs, char *text, uint32_t line)
{
    struct cfg_error *items = NULL;

    if (text && errs->count < CFG_ERRORS_MAX)
        items = realloc(errs->items, (errs->count + 1) * sizeof(*items));
    if (!items) {
        free(text);
        errs->dropped++;
        return;
    }
    items[errs->count++] = (struct cfg_error){.text = text, .line = line};
    errs->items = items;
}

void cfg_errors_add(struct cfg_errors *errs, const char *file, uint32_t line, const char *format,
                    ...)
{
    char text[CFG_ERROR_BYTES_MAX];
    va_list args;
    int n;

    if (line)
        n = snprintf(text, sizeof(text), "%s:%u: ", file, line);
    else
        n = snprintf(text, sizeof(text), "%s: ", file);
    if (n > 0 && (size_t)n < sizeof(text)) {
        va_start(args, format);
        vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
        va_end(args);
    }
    make_printable(text);
    append(errs, strdup(text), line);
}

void cfg_errors_sort(struct cfg_errors *errs, uint32_t from)
{
    for (uint32_t i = from + 1; i < errs->count; i++) {
        struct cfg_error moving = errs->items[i];
        uint32_t at = i;

        for (; at > from && errs->items[at - 1].line > moving.line; at--)
            errs->items[at] = errs->items[at - 1];
        errs->items[at] = moving;
    }
}
