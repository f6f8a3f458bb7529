/* cfg/help.h -- the configuration file explained: for a terminal, as a man page, as a sample.
 *
 * All three are made from the table in cfg/keys.c. Whether writing worked, the caller asks the
 * stream (ferror).  Threads: any, one at a time on a stream.
 */
#ifndef CFG_HELP_H
#define CFG_HELP_H

#include <stdio.h>

/* Readable text: `causeway --help-config`. */
void cfg_print_help(FILE *to);

/* The man page causeway.ini(5) in troff: `causeway --help-config --man`. */
void cfg_print_man(FILE *to);

/* A file with every key, commented out with its default or an example: cfg/causeway.ini. As it
 * stands it configures what no file does. */
void cfg_print_sample(FILE *to);

#endif
