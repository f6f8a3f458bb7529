/* cfg/draft.h -- a configuration in the making: the values, and where each came from.
 *
 * Private to cfg/. cfg/parse.c opens sections and hands in keys, cfg/assign.c turns text into
 * fields, cfg/check.c looks at the whole and makes the last fields.
 *
 * Threads  the one that loads.
 * Memory   the draft owns its struct cfg until the caller takes it; its own pieces hang on it too.
 */
#ifndef CFG_DRAFT_H
#define CFG_DRAFT_H

#include "cfg/cfg.h"
#include "cfg/errors.h"
#include "cfg/keys.h"

/* Sections that stand once, listeners, links, and one that takes the keys of a section which is
 * wrong as a whole, so that they are still looked at. */
#define DRAFT_SECTIONS_MAX (SECTION_COUNT + LISTENERS_MAX + LINKS_MAX + 1)

struct draft_topic {
    struct bytes filter;
    uint32_t line;
    bool is_valid; /* set by check_draft(): only these are compared with each other */
};

/* Filters of one key. Invariant: v has room for `room`. */
struct draft_topics {
    struct draft_topic *v;
    uint32_t count, room;
};

struct draft_section {
    enum section_kind kind;
    const char *name;             /* NULL: the section has none */
    uint32_t line;                /* 0: not in the file */
    bool is_discarded;            /* the section itself is a mistake: nothing of it is used */
    void *object;                 /* struct cfg, struct cfg_listener or struct cfg_link */
    uint32_t key_lines[KEYS_MAX]; /* by key_idx(): where it was first given; 0: nowhere */

    /* A listener's address, until check_draft() puts it together. Port 0: not given, or refused;
     * that of `address` only says that it was given. */
    struct cfg_address bind, address;
    uint16_t port;

    /* A link's lists, until check_draft() moves them. */
    struct cfg_server servers[LINK_SERVERS_MAX];
    uint32_t server_count;
    uint32_t plain_line,
        tls_line; /* where a server began with mqtt://, with mqtts://; 0: nowhere */
    struct draft_topics topics, exports;
};

struct draft {
    struct cfg *cfg;
    const char *file; /* for messages */
    struct cfg_errors *errs;
    bool is_out_of_memory;
    uint32_t section_count;
    struct draft_section sections[DRAFT_SECTIONS_MAX];
    struct cfg_listener discarded_listener;
    struct cfg_link discarded_link;
    struct cfg *discarded_cfg; /* made when first needed */
};

/* Makes a draft that holds nothing but the sections that stand once, not yet in the file. NULL: no
 * memory. */
struct draft *draft_create(const char *file, struct cfg_errors *errs);

/* Frees it, and its struct cfg unless draft->cfg was taken and set to NULL. NULL is fine. */
void draft_destroy(struct draft *draft);

/* Opens the section that begins at `line`; `name` is NULL or the NAME. A section that is there
 * already, or is one too many, is reported and opened as discarded. NULL only without memory. */
struct draft_section *draft_open(struct draft *draft, enum section_kind kind, const char *name,
                                 uint32_t line);

/* Where a key of a section was given; 0: nowhere. `name` must be in the table. */
uint32_t draft_line(const struct draft_section *section, const char *name);

/* Reports a mistake at a line. */
__attribute__((format(printf, 3, 4))) void draft_error(struct draft *draft, uint32_t line,
                                                       const char *format, ...);

#endif
