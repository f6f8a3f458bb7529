/* cfg/assign.h -- the text of one key becomes a field of the configuration.
 *
 * Private to cfg/.  Threads: the one that loads.
 */
#ifndef CFG_ASSIGN_H
#define CFG_ASSIGN_H

#include "cfg/draft.h"

/* Gives `name` of a section the value `text`, both without blanks at their ends, and reports what
 * is wrong with either at `line`. A NULL text is a line without '='. */
void assign_key(struct draft *draft, struct draft_section *section, const char *name,
                const char *text, uint32_t line);

/* Gives every key of a section that the file does not name its default. */
void assign_presets(struct draft *draft, struct draft_section *section);

#endif
