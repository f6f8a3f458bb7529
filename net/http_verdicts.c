/* net/http_verdicts.c -- what an HTTP server has said about rights, for a while. */
#include "net/http_verdicts.h"

#include <stdlib.h>

#include "core/base/check.h"

#define WAYS 4u

struct place {
    uint64_t hash;
    uint64_t end; /* milliseconds << 2 | verdict; 0: empty */
};

struct http_verdicts {
    uint32_t mask; /* of the first of the WAYS places of a hash */
    struct place places[];
};

struct http_verdicts *http_verdicts_create(uint32_t places)
{
    struct http_verdicts *v;

    CHECK(places >= WAYS && (places & (places - 1)) == 0);
    v = calloc(1, sizeof(*v) + places * sizeof(struct place));
    if (v)
        v->mask = (places - 1) & ~(WAYS - 1);
    return v;
}

void http_verdicts_destroy(struct http_verdicts *v)
{
    free(v);
}

bool http_verdicts_find(const struct http_verdicts *v, uint64_t hash, uint64_t now_ms,
                        enum http_verdict *verdict)
{
    const struct place *p = &v->places[hash & v->mask];

    for (uint32_t i = 0; i < WAYS; i++) {
        if (p[i].hash != hash || (p[i].end >> 2) <= now_ms)
            continue;
        *verdict = (enum http_verdict)(p[i].end & 3);
        return true;
    }
    return false;
}

void http_verdicts_put(struct http_verdicts *v, uint64_t hash, enum http_verdict verdict,
                       uint64_t now_ms, uint64_t end_ms)
{
    struct place *p = &v->places[hash & v->mask];
    struct place *to = p;

    for (uint32_t i = 0; i < WAYS; i++) {
        if (p[i].hash == hash) {
            to = &p[i];
            break;
        }
        if (p[i].end < to->end)
            to = &p[i];
    }
    if (end_ms <= now_ms)
        end_ms = 0;
    *to = (struct place){.hash = hash, .end = end_ms << 2 | (end_ms ? (uint64_t)verdict : 0)};
}
