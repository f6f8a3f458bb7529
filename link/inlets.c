/* link/inlets.c -- several streams that end on one link worker. */
#include "link/inlets.h"

void inlets_init(struct inlets *in, struct link_host *host, const struct cfg_link *link,
                 const struct carrier_place *own, uint32_t number)
{
    struct carrier_place place = {.stream = own->stream + host->workers, .streams = 1};

    *in = (struct inlets){.count = 0};
    for (; place.stream < LINK_WORKERS_MAX; place.stream += host->workers) {
        struct carrier *c = &in->more[in->count++];

        carrier_init(c, host, link, &place);
        c->out.acks.link = number;
    }
}

void inlets_use(struct inlets *in, const struct cfg_link *link)
{
    for (uint32_t i = 0; i < in->count; i++)
        carrier_use(&in->more[i], link, 1);
}

void inlets_fini(struct inlets *in)
{
    for (uint32_t i = 0; i < in->count; i++)
        carrier_fini(&in->more[i]);
    in->count = 0;
}

struct carrier *inlets_find(struct inlets *in, struct carrier *own, const struct channel *from,
                            const struct native_frame *f)
{
    for (uint32_t i = 0; i < in->count; i++) {
        struct carrier *c = &in->more[i];

        if (f->kind == NATIVE_OPEN && c->in.stream == f->stream)
            return c;
        if (f->kind == NATIVE_MESSAGES && c->from.host && channel_eq(&c->from, from))
            return c;
    }
    return own;
}

void inlets_down(struct inlets *in, const struct channel *gone)
{
    for (uint32_t i = 0; i < in->count; i++)
        carrier_down(&in->more[i], gone);
}

static void close_from(const struct carrier *c, const char *why)
{
    if (c->from.host && !c->from.dialer)
        channel_fail(&c->from, why);
}

void inlets_close(struct inlets *in, struct carrier *own, const char *why)
{
    close_from(own, why);
    for (uint32_t i = 0; i < in->count; i++)
        close_from(&in->more[i], why);
}

void inlets_run(struct inlets *in)
{
    for (uint32_t i = 0; i < in->count; i++)
        carrier_run(&in->more[i]);
}
