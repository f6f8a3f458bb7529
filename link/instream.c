/* link/instream.c -- what was taken of a peer's messages. */
#include "link/instream.h"

#include "core/base/check.h"

void instream_init(struct instream *in, struct native_window window)
{
    *in = (struct instream){.window = window};
}

/* Where a boot stands among the marks; mark_count: nowhere. */
static uint32_t idx_of(const struct instream *in, uint64_t boot)
{
    uint32_t i = 0;

    while (i < in->mark_count && in->marks[i].boot != boot)
        i++;
    return i;
}

void instream_open(struct instream *in, const struct native_frame *open)
{
    uint32_t idx = idx_of(in, open->boot);
    struct instream_mark mark = {.boot = open->boot};

    if (idx < in->mark_count)
        mark = in->marks[idx];
    else if (in->mark_count < INSTREAM_BOOTS)
        in->mark_count++;
    else
        idx--; /* the one opened longest ago is forgotten */
    memmove(&in->marks[1], &in->marks[0], idx * sizeof(mark));
    in->marks[0] = mark;
}

static void answer(struct instream *in, enum native_kind kind, struct native_frame *out)
{
    CHECK(in->mark_count > 0);
    *out = (struct native_frame){.kind = kind,
                                 .boot = in->marks[0].boot,
                                 .stream = in->stream,
                                 .last = in->marks[0].last,
                                 .window = in->window};
    in->ack_due = false;
}

void instream_opened(struct instream *in, struct native_frame *out)
{
    answer(in, NATIVE_OPENED, out);
}

bool instream_wants(struct instream *in, uint64_t boot, uint64_t sequence)
{
    uint32_t idx = idx_of(in, boot);

    if (idx < in->mark_count && sequence > in->marks[idx].last)
        return true;
    in->doubles++;
    in->ack_due |=
        idx == 0 && in->mark_count > 0; /* the sender does not know: it counts it as in flight */
    return false;
}

void instream_take(struct instream *in, uint64_t boot, uint64_t sequence)
{
    uint32_t idx = idx_of(in, boot);

    CHECK(idx < in->mark_count && sequence > in->marks[idx].last);
    in->marks[idx].last = sequence;
    in->ack_due |= idx == 0;
}

void instream_grant(struct instream *in, struct native_window window)
{
    if (window.bytes != in->window.bytes || window.messages != in->window.messages)
        in->ack_due = in->mark_count > 0;
    in->window = window;
}

bool instream_ack(struct instream *in, struct native_frame *out)
{
    if (!in->ack_due)
        return false;
    answer(in, NATIVE_ACK, out);
    return true;
}
