/* cfg/draft.c -- a configuration in the making: the values, and where each came from. */
#include "cfg/draft.h"

#include "cfg/text.h"
#include "core/base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct draft *draft_create(const char *file, struct cfg_errors *errs)
{
    struct draft *draft = calloc(1, sizeof(*draft));

    if (!draft)
        return NULL;
    draft->cfg = calloc(1, sizeof(*draft->cfg));
    if (!draft->cfg) {
        free(draft);
        return NULL;
    }
    draft->file = file;
    draft->errs = errs;
    for (uint32_t i = 0; i < SECTION_COUNT; i++) {
        if (section_infos[i].example)
            continue;
        draft->sections[draft->section_count++] =
            (struct draft_section){.kind = (enum section_kind)i, .object = draft->cfg};
    }
    return draft;
}

void draft_destroy(struct draft *draft)
{
    if (!draft)
        return;
    cfg_free(draft->cfg);
    cfg_free(draft->discarded_cfg);
    cfg_listener_fini(&draft->discarded_listener);
    free(draft);
}

static struct draft_section *find_section(struct draft *draft, enum section_kind kind,
                                          const char *name)
{
    for (uint32_t i = 0; i < draft->section_count; i++) {
        struct draft_section *section = &draft->sections[i];

        if (section->kind == kind && (!name || strcmp(section->name, name) == 0))
            return section;
    }
    return NULL;
}

/* A section whose keys are looked at and then forgotten; always the last place. */
static struct draft_section *open_discarded(struct draft *draft, enum section_kind kind,
                                            const char *name, uint32_t line)
{
    struct draft_section *section = &draft->sections[DRAFT_SECTIONS_MAX - 1];
    void *object;

    if (!draft->discarded_cfg)
        draft->discarded_cfg = calloc(1, sizeof(*draft->discarded_cfg));
    if (kind == SECTION_LISTENER)
        object = &draft->discarded_listener;
    else if (kind == SECTION_LINK)
        object = &draft->discarded_link;
    else
        object = draft->discarded_cfg;
    if (!object) {
        draft->is_out_of_memory = true;
        return NULL;
    }
    *section = (struct draft_section){
        .kind = kind, .name = name, .line = line, .is_discarded = true, .object = object};
    return section;
}

/* Takes the next listener or link of the struct cfg; NULL: all are taken. */
static void *next_object(struct cfg *cfg, enum section_kind kind)
{
    if (kind == SECTION_LISTENER && cfg->listener_count < LISTENERS_MAX)
        return &cfg->listeners[cfg->listener_count++];
    if (kind == SECTION_LINK && cfg->link_count < LINKS_MAX)
        return &cfg->links[cfg->link_count++];
    return NULL;
}

/* How many of a kind there may be. */
static size_t objects_max(const struct cfg *cfg, enum section_kind kind)
{
    if (kind == SECTION_LINK)
        return sizeof(cfg->links) / sizeof(cfg->links[0]);
    return sizeof(cfg->listeners) / sizeof(cfg->listeners[0]);
}

static struct draft_section *open_named(struct draft *draft, enum section_kind kind,
                                        const char *name, uint32_t line)
{
    struct draft_section *section = find_section(draft, kind, name);
    const char *copy;
    void *object;

    if (section) {
        draft_error(draft, line,
                    "[%s %.80s] stands here a second time, first in line %u; put "
                    "their keys together or give one of them another name",
                    section_infos[kind].name, name, section->line);
        return open_discarded(draft, kind, section->name, line);
    }
    copy = cfg_copy(draft->cfg, name);
    if (!copy) {
        draft->is_out_of_memory = true;
        return NULL;
    }
    object = next_object(draft->cfg, kind);
    if (!object) {
        draft_error(draft, line, "[%s %.80s] is one too many; there may be %zu",
                    section_infos[kind].name, name, objects_max(draft->cfg, kind));
        return open_discarded(draft, kind, copy, line);
    }
    CHECK(draft->section_count < DRAFT_SECTIONS_MAX - 1);
    section = &draft->sections[draft->section_count++];
    *section = (struct draft_section){.kind = kind, .name = copy, .line = line, .object = object};
    if (kind == SECTION_LISTENER) {
        ((struct cfg_listener *)object)->name = copy;
        ((struct cfg_listener *)object)->line = line;
    } else {
        ((struct cfg_link *)object)->name = copy;
        ((struct cfg_link *)object)->line = line;
    }
    return section;
}

struct draft_section *draft_open(struct draft *draft, enum section_kind kind, const char *name,
                                 uint32_t line)
{
    struct draft_section *section;

    if (name)
        return open_named(draft, kind, name, line);
    section = find_section(draft, kind, NULL);
    CHECK(section);
    if (section->line) {
        draft_error(draft, line,
                    "[%s] stands here a second time, first in line %u; put their keys "
                    "together",
                    section_infos[kind].name, section->line);
        return open_discarded(draft, kind, NULL, line);
    }
    section->line = line;
    return section;
}

uint32_t draft_line(const struct draft_section *section, const char *name)
{
    const struct key *key = key_find(section->kind, name);

    CHECK(key);
    return section->key_lines[key_idx(key)];
}

void draft_error(struct draft *draft, uint32_t line, const char *format, ...)
{
    char text[CFG_ERROR_BYTES_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cfg_errors_add(draft->errs, draft->file, line, "%s", text);
}
