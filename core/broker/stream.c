/* core/broker/stream.c -- the dirty list, and how a stream asks to be closed. */
#include "core/broker/stream.h"

#include "core/base/check.h"
#include "core/broker/state.h"

void stream_touch(struct stream *s)
{
    if (s->is_dirty)
        return;
    s->is_dirty = true;
    s->dirty_next = NULL;
    *s->shard->dirty_last = s;
    s->shard->dirty_last = &s->dirty_next;
}

void stream_close(struct stream *s, enum close_reason why)
{
    if (!s->close_wanted && !s->close_now)
        s->close_why = (uint8_t)why;
    s->close_wanted = true;
    stream_touch(s);
}

void stream_abort(struct stream *s, enum close_reason why)
{
    if (!s->close_wanted && !s->close_now)
        s->close_why = (uint8_t)why;
    s->close_now = true;
    stream_touch(s);
}

struct stream *shard_next_dirty(struct shard *shard)
{
    struct stream *s = shard->dirty_first;

    if (!s) { /* all of this turn are counted */
        store_relaxed(&shard->stats.output_bytes_queued, shard->pool.queued_bytes);
        return NULL;
    }
    outq_count(&s->outq, &shard->pool);
    shard->dirty_first = s->dirty_next;
    if (!shard->dirty_first)
        shard->dirty_last = &shard->dirty_first;
    s->dirty_next = NULL;
    s->is_dirty = false;
    return s;
}

const char *close_reason_name(enum close_reason why)
{
    static const char *const names[CLOSE_REASON_COUNT] = {
        [CLOSE_NONE] = "none",
        [CLOSE_CLIENT] = "client disconnected",
        [CLOSE_EOF] = "client closed the connection",
        [CLOSE_SOCKET_ERROR] = "socket error",
        [CLOSE_CONNECT_TIMEOUT] = "no CONNECT in time",
        [CLOSE_AUTH_TIMEOUT] = "authentication not finished in time",
        [CLOSE_KEEPALIVE] = "exceeded keep alive",
        [CLOSE_MALFORMED] = "malformed packet",
        [CLOSE_PROTOCOL_ERROR] = "protocol error",
        [CLOSE_TOO_LARGE] = "oversize packet",
        [CLOSE_RECEIVE_MAXIMUM] = "receive maximum exceeded",
        [CLOSE_TOPIC_ALIAS] = "topic alias invalid",
        [CLOSE_TOPIC_INVALID] = "topic name invalid",
        [CLOSE_NOT_AUTHORIZED] = "not authorized",
        [CLOSE_BAD_CREDENTIALS] = "bad user name or password",
        [CLOSE_BAD_CLIENT_ID] = "client identifier not valid",
        [CLOSE_MOUNT_POINT] = "name not fit for the mount point",
        [CLOSE_BAD_VERSION] = "unsupported protocol version",
        [CLOSE_TAKEN_OVER] = "session taken over",
        [CLOSE_QUOTA] = "quota exceeded",
        [CLOSE_QUEUE_FULL] = "queue full",
        [CLOSE_UNSUPPORTED] = "not supported",
        [CLOSE_BANNED] = "too many failed authentications",
        [CLOSE_SERVER_FULL] = "too many connections",
        [CLOSE_MEMORY] = "out of memory",
        [CLOSE_SHUTDOWN] = "server shutting down",
        [CLOSE_ADMIN] = "administrative action",
        [CLOSE_LINK] = "link",
        [CLOSE_LAYERS] = "broken transport",
    };

    return why < CLOSE_REASON_COUNT && names[why] ? names[why] : "unknown";
}
