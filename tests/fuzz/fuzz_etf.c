/* tests/fuzz/fuzz_etf.c -- terms of any bytes: reading stays inside, skipping and walking agree. */
#include "core/base/check.h"
#include "link/etf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a term and its children one by one; the depth is etf_skip's. */
static enum err walk(struct etf_reader *r, uint32_t depth)
{
    struct etf_term t;
    uint64_t children;

    if (etf_read(r, &t) != OK)
        return ERR_PEER;
    children = t.kind == ETF_LIST ? t.count + 1u : t.kind == ETF_MAP ? t.count * 2u : t.count;
    if (children > 0 && depth == ETF_DEPTH_MAX)
        return ERR_PEER;
    while (children-- > 0)
        if (walk(r, depth + 1) != OK)
            return ERR_PEER;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct etf_reader r, by_skip, by_walk, by_view;
    struct bytes term;
    enum err e;

    if (etf_open(&r, bytes_of(data, size)) != OK)
        return 0;
    by_skip = by_walk = by_view = r;
    e = etf_skip(&by_skip);
    CHECK(walk(&by_walk, 0) == e);
    CHECK(etf_view(&by_view, &term) == e);
    if (e != OK)
        return 0;
    CHECK(by_walk.p == by_skip.p && by_view.p == by_skip.p && by_skip.p <= by_skip.end);
    CHECK(term.n == (size_t)(by_skip.p - r.p));
    return 0;
}
