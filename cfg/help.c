/* cfg/help.c -- the configuration file explained: for a terminal, as a man page, as a sample. */
#include "cfg/help.h"

#include "cfg/keys.h"

/* Columns of a line of text. */
#define COLUMNS 79u

/* Writes `text` in lines of COLUMNS that all begin with `prefix`. */
static void print_wrapped(FILE *to, const char *prefix, const char *text)
{
    size_t prefix_n = strlen(prefix), column = 0;

    while (*text) {
        size_t n = strcspn(text, " ");

        if (column && column + 1 + n > COLUMNS) {
            fputc('\n', to);
            column = 0;
        }
        if (column == 0)
            column = prefix_n;
        else
            column += 1;
        fputs(column == prefix_n ? prefix : " ", to);
        fwrite(text, 1, n, to);
        column += n;
        text += n;
        text += *text == ' ';
    }
    fputc('\n', to);
}

/* "1 to 64, or auto. Several: by commas or by repeating the key. Also known as thread_count." */
static void print_facts(char *to, size_t room, const struct key *key)
{
    char range[KEY_RANGE_BYTES];
    size_t n;

    key_print_range(range, key);
    n = (size_t)snprintf(to, room, "%s.", range);
    if (key->flags & KEY_LIST)
        n += (size_t)snprintf(to + n, room - n, " The key may be repeated.");
    if (key->unset)
        n += (size_t)snprintf(to + n, room - n, " Without it: %s.", key->unset);
    for (uint32_t i = 0; i < KEY_ALIASES_MAX && key->aliases[i]; i++)
        n += (size_t)snprintf(to + n, room - n, "%s %s", i ? "," : " Also known as",
                              key->aliases[i]);
    if (key->aliases[0])
        snprintf(to + n, room - n, ".");
}

#define FACTS_BYTES 1024

static const char *value_of(const struct key *key)
{
    return key->preset ? key->preset : key->example;
}

static const char *const file_rules =
    "A line is [SECTION], KEY = VALUE, or a comment that begins with # or ;. A comment is a line "
    "of "
    "its own: behind a value, # and ; belong to the value. Lists are separated by commas, where "
    "\\, is a comma that belongs to the element; a key that takes a list may also be repeated. An "
    "unknown section or key is a mistake. All mistakes are reported with their lines, and a broker "
    "with a mistake in its file does not start.";

/* ---- for a terminal ---- */

static void help_key(FILE *to, const struct key *key)
{
    char facts[FACTS_BYTES];

    print_facts(facts, sizeof(facts), key);
    if (key->preset)
        fprintf(to, "\n  %s = %s\n", key->name, key->preset);
    else
        fprintf(to, "\n  %s\n", key->name);
    print_wrapped(to, "      ", facts);
    print_wrapped(to, "      ", key->help);
}

void cfg_print_help(FILE *to)
{
    print_wrapped(to, "", "The configuration file of causeway. Defaults stand behind '='.");
    print_wrapped(to, "", file_rules);
    for (uint32_t s = 0; s < SECTION_COUNT; s++) {
        fprintf(to, "\n[%s%s]\n", section_infos[s].name, section_infos[s].example ? " NAME" : "");
        print_wrapped(to, "  ", section_infos[s].help);
        for (uint32_t i = 0; i < key_count; i++) {
            if (keys[i].section == s)
                help_key(to, &keys[i]);
        }
    }
}

/* ---- as a man page ---- */

/* Writes text so that troff shows it as it is: no escape, no request at the begin of a line. */
static void print_troff(FILE *to, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", to);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", to);
        else if (*text == '-')
            fputs("\\-", to);
        else if (*text == '\'')
            fputs("\\(aq", to);
        else
            fputc(*text, to);
    }
    fputc('\n', to);
}

static void man_key(FILE *to, const struct key *key)
{
    char facts[FACTS_BYTES];

    print_facts(facts, sizeof(facts), key);
    fprintf(to, ".TP\n.B %s\n", key->name);
    if (key->preset) {
        fputs("Default: ", to);
        print_troff(to, key->preset);
        fputs(".br\n", to);
    }
    print_troff(to, facts);
    fputs(".br\n", to);
    print_troff(to, key->help);
}

void cfg_print_man(FILE *to)
{
    fputs(".TH CAUSEWAY.INI 5 \"\" \"Causeway\" \"File formats\"\n"
          ".SH NAME\ncauseway.ini \\- configuration of the MQTT broker causeway\n"
          ".SH DESCRIPTION\n",
          to);
    print_troff(to, file_rules);
    for (uint32_t s = 0; s < SECTION_COUNT; s++) {
        fprintf(to, ".SH \"[%s%s]\"\n", section_infos[s].name,
                section_infos[s].example ? " NAME" : "");
        print_troff(to, section_infos[s].help);
        for (uint32_t i = 0; i < key_count; i++) {
            if (keys[i].section == s)
                man_key(to, &keys[i]);
        }
    }
    fputs(".SH SEE ALSO\n.BR causeway (8)\n", to);
}

/* ---- as a sample ---- */

static void sample_key(FILE *to, const struct key *key)
{
    char facts[FACTS_BYTES];

    print_facts(facts, sizeof(facts), key);
    fputc('\n', to);
    print_wrapped(to, "# ", key->help);
    print_wrapped(to, "# ", facts);
    fprintf(to, "#%s = %s\n", key->name, value_of(key));
}

void cfg_print_sample(FILE *to)
{
    print_wrapped(to, "# ",
                  "causeway.ini: every section and key, commented out with its default or "
                  "an example. As it stands it is an empty configuration: one listener "
                  "on 127.0.0.1:1883 and no links.");
    fputs("#\n", to);
    print_wrapped(to, "# ", file_rules);
    for (uint32_t s = 0; s < SECTION_COUNT; s++) {
        const struct section_info *info = &section_infos[s];

        fputc('\n', to);
        print_wrapped(to, "# ", info->help);
        if (info->example)
            fprintf(to, "#[%s %s]\n", info->name, info->example);
        else
            fprintf(to, "[%s]\n", info->name);
        for (uint32_t i = 0; i < key_count; i++) {
            if (keys[i].section == s)
                sample_key(to, &keys[i]);
        }
    }
}
