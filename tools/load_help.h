/* tools/load_help.h -- what causeway-load --help says. */
#ifndef TOOLS_LOAD_HELP_H
#define TOOLS_LOAD_HELP_H

/* Prints it to stdout. */
void load_help_print(void);

#endif
