/* tools/load_bare.c -- frames without MQTT, for a forwarder that does nothing else. */
#include "tools/load_bare.h"

enum err load_bare_next(struct bytes in, struct load_bare_frame *f, uint32_t *used)
{
    uint32_t n;

    if (in.n < LOAD_BARE_HEADER_BYTES)
        return ERR_MORE;
    n = get_be32(in.p);
    if (n > LOAD_BARE_PAYLOAD_MAX || in.p[4] < LOAD_BARE_HELLO || in.p[4] > LOAD_BARE_COMP)
        return ERR_PEER;
    if (in.n < LOAD_BARE_HEADER_BYTES + n)
        return ERR_MORE;
    *f = (struct load_bare_frame){
        .kind = in.p[4],
        .id = get_be16(in.p + 6),
        .topic = get_be32(in.p + 8),
        .payload = bytes_of(in.p + LOAD_BARE_HEADER_BYTES, n),
    };
    *used = LOAD_BARE_HEADER_BYTES + n;
    return OK;
}

uint8_t *load_bare_put(uint8_t *to, const struct load_bare_frame *f)
{
    to = put_be32(to, f->payload.n);
    *to++ = (uint8_t)f->kind;
    *to++ = 0;
    return bytes_put(put_be32(put_be16(to, f->id), f->topic), f->payload);
}

/* FNV-1a. */
uint32_t load_bare_topic(struct bytes topic)
{
    uint32_t hash = 2166136261u;

    if (topic.n > 0 && topic.p[topic.n - 1] == '+')
        return LOAD_BARE_ALL;
    for (uint32_t i = 0; i < topic.n; i++)
        hash = (hash ^ topic.p[i]) * 16777619u;
    return hash == LOAD_BARE_ALL ? 0 : hash;
}

bool load_bare_is_message(enum load_bare_kind kind, uint8_t *qos)
{
    *qos = (uint8_t)(kind - LOAD_BARE_MESSAGE);
    return kind >= LOAD_BARE_MESSAGE && kind <= LOAD_BARE_WITH_REC;
}
