/* tools/load_compare.h -- several brokers under the same loads, in turn, in rounds.
 *
 * In each round every run is done with every broker, one after the other, so that what else goes on
 * on the machine meets all of them. A broker is started anew for each run, and the load is a
 * process of its own. All are measured by the same clock: that of the kernel for processor time.
 */
#ifndef TOOLS_LOAD_COMPARE_H
#define TOOLS_LOAD_COMPARE_H

#include "tools/load_options.h"

/* Does all of it and prints the result.  The program's exit status. */
int load_compare(const struct load_options *base);

#endif
