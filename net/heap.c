/* net/heap.c -- the figures of jemalloc, or of libc where a sanitizer has replaced malloc. */
#include "net/heap.h"

#ifdef CAUSEWAY_SANITIZE

#include <malloc.h>

void heap_stats_read(struct heap_stats *stats)
{
    struct mallinfo2 info = mallinfo2();

    stats->allocated = info.uordblks + info.hblkhd;
    stats->active = info.arena + info.hblkhd;
    stats->resident = stats->active;
}

const char *heap_name(void)
{
    return "libc";
}

#else

#include <stddef.h>
#include <jemalloc/jemalloc.h>

/* jemalloc reads this at its first use. What a burst has used goes back to the kernel two seconds
 * later, also when the workers sleep: a thread of jemalloc's does it, which else sleeps too. */
const char *malloc_conf = "background_thread:true,max_background_threads:1,dirty_decay_ms:2000,"
                          "muzzy_decay_ms:0";

static uint64_t read_one(const char *name)
{
    size_t value = 0;
    size_t size = sizeof(value);

    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

void heap_stats_read(struct heap_stats *stats)
{
    uint64_t epoch = 1;
    size_t size = sizeof(epoch);

    mallctl("epoch", &epoch, &size, &epoch, size); /* the figures are a snapshot: renew it */
    stats->allocated = read_one("stats.allocated");
    stats->active = read_one("stats.active");
    stats->resident = read_one("stats.resident");
}

const char *heap_name(void)
{
    return "jemalloc";
}

#endif
