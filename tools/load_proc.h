/* tools/load_proc.h -- what a broker costs, as the kernel counts it: processor time and memory.
 *
 * The broker must run on this machine. Its memory is read from /proc, exactly if it belongs to us
 * or we are root.
 */
#ifndef TOOLS_LOAD_PROC_H
#define TOOLS_LOAD_PROC_H

#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"

#define LOAD_PIDS_MAX 8u

/* The processes that together are looked at. */
struct load_procs {
    pid_t pids[LOAD_PIDS_MAX];
    uint32_t count;
};

/* Nanoseconds all threads have run so far, those that have ended too, kernel time included.
 * ERR_SYSTEM: a process cannot be read. */
MUST_USE enum err load_procs_cpu(const struct load_procs *procs, uint64_t *ns);
/* Resident bytes of user space, exact (smaps_rollup) where the kernel tells.  ERR_SYSTEM. */
MUST_USE enum err load_procs_memory(const struct load_procs *procs, uint64_t *bytes);
/* Nanoseconds this process has run. */
uint64_t load_own_cpu(void);

#endif
