/* net/conn_held.c -- the bytes of a connection that have come and cannot be taken yet.
 *
 * Their room is counted against memory_limit and follows what arrives, not what a peer announces.
 */
#include "net/conn_state.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/stats.h"

/* Room up to which a connection may hold bytes even where the memory of the process is used up. */
#define HELD_ALWAYS_BYTES 65536u
/* Smallest room of `held`. */
#define HELD_BYTES_MIN 256u

/* Tells the shard that the room of `held` becomes `room`; false: no such memory. */
static bool count_room(struct conn *c, uint32_t room)
{
    struct shard *s = c->worker->shard;
    int64_t more = (int64_t)room - c->held_room;

    if (shard_hold_input(s, more))
        return true;
    if (room > HELD_ALWAYS_BYTES)
        return false;
    STAT_ADD(shard_count(s), input_bytes_held, more);
    return true;
}

/* What was held is somebody else's now. */
void conn_held_forget(struct conn *c)
{
    CHECK(c->recv != RECV_DIRECT);
    (void)count_room(c, 0);
    c->held = NULL;
    c->held_start = c->held_end = c->held_room = 0;
}

void conn_held_free(struct conn *c)
{
    uint8_t *held = c->held;

    conn_held_forget(c);
    free(held);
}

/* Makes room for `extra` bytes behind held_end. */
bool conn_held_reserve(struct conn *c, uint32_t extra)
{
    uint32_t used = conn_held_count(c);
    uint32_t room;
    uint8_t *p;

    CHECK(c->recv != RECV_DIRECT);
    if (c->held_room - c->held_end >= extra)
        return true;
    if (c->held_start > 0) {
        memmove(c->held, c->held + c->held_start, used);
        c->held_start = 0;
        c->held_end = used;
        if (c->held_room - used >= extra)
            return true;
    }
    room = used + extra > 2 * used ? used + extra : 2 * used;
    if (room < HELD_BYTES_MIN)
        room = HELD_BYTES_MIN;
    if (c->need >= used + extra && room > c->need)
        room = c->need;
    if (!count_room(c, room))
        return false;
    p = realloc(c->held, room);
    if (!p) {
        (void)shard_hold_input(c->worker->shard, (int64_t)c->held_room - room);
        return false;
    }
    c->held = p;
    c->held_room = room;
    return true;
}

void conn_out_of_memory(struct conn *c)
{
    struct log_line line = {
        .level = 4, .event = "no memory for a packet", .reason = close_reason_name(CLOSE_MEMORY)};

    if (c->stream && c->stream->close_now)
        return; /* that is known */
    STAT_INC(shard_count(c->worker->shard), dropped_memory);
    worker_log_flood(c->worker, FLOOD_MEMORY, &line);
    if (c->stream)
        stream_abort(c->stream, CLOSE_MEMORY);
    else
        conn_drop(c, CLOSE_MEMORY);
}

bool conn_keep(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (n == 0)
        return true;
    if (!conn_held_reserve(c, n)) {
        conn_out_of_memory(c);
        return false;
    }
    memcpy(c->held + c->held_end, p, n);
    c->held_end += n;
    return true;
}
