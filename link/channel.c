/* link/channel.c -- PUBLISH packets around frames, on either side of a connection. */
#include "link/channel.h"

#include "core/base/check.h"

/* `$LINK/cluster/native/` and the name of a cluster. */
#define TOPIC_ROOM (CFG_NAME_BYTES_MAX + 32u)

struct channel channel_of_dialer(struct dialer *d)
{
    return (struct channel){.host = d->host, .dialer = d};
}

struct channel channel_of_client(struct link_host *host, struct client_name client)
{
    return (struct channel){.host = host, .client = client};
}

bool channel_eq(const struct channel *a, const struct channel *b)
{
    return a->host == b->host && a->dialer == b->dialer && a->client.worker == b->client.worker &&
           a->client.slot == b->client.slot && a->client.generation == b->client.generation;
}

/* Its stream, or NULL when it is gone. */
static struct stream *stream_of(const struct channel *c, uint32_t *packet_max)
{
    *packet_max = 0;
    if (!c->host)
        return NULL;
    if (!c->dialer)
        return shard_link_stream(c->host->shard, c->client, packet_max);
    if (c->dialer->state != DIALER_UP)
        return NULL;
    *packet_max = c->dialer->packet_max;
    return &c->dialer->stream;
}

bool channel_is_up(const struct channel *c)
{
    uint32_t packet_max;

    return stream_of(c, &packet_max) != NULL;
}

uint32_t channel_waiting(const struct channel *c)
{
    uint32_t packet_max;
    const struct stream *s = stream_of(c, &packet_max);

    return s ? s->outq.bytes : UINT32_MAX;
}

bool channel_takes_answers(const struct channel *c)
{
    /* messages take half of that */
    return c->host && channel_waiting(c) < 2ull * c->host->limits->outq_bytes;
}

static struct bytes topic_of(const struct channel *c, uint8_t to[TOPIC_ROOM])
{
    uint32_t size;

    if (emqx_topic_put(EMQX_TOPIC_NATIVE, c->host->cluster, (struct bytes){0}, to, TOPIC_ROOM,
                       &size) != OK)
        CHECK(false);
    return bytes_of(to, size);
}

uint32_t channel_frame_max(const struct channel *c)
{
    uint8_t topic[TOPIC_ROOM];
    uint32_t packet_max;

    if (!stream_of(c, &packet_max))
        return 0;
    return native_frame_max(packet_max, topic_of(c, topic).n);
}

void channel_fail(const struct channel *c, const char *why)
{
    uint32_t packet_max;
    struct stream *s = stream_of(c, &packet_max);

    if (c->dialer)
        dialer_fail(c->dialer, why);
    else if (s)
        stream_abort(s, CLOSE_LINK);
}

uint8_t *channel_room(const struct channel *c, uint32_t n)
{
    uint32_t packet_max;
    struct stream *s = stream_of(c, &packet_max);
    uint8_t *to = s ? outq_reserve(&s->outq, shard_pool(c->host->shard), n) : NULL;

    if (to)
        stream_touch(s);
    else if (s)
        channel_fail(c, "no memory");
    return to;
}

bool channel_refer(const struct channel *c, struct message *m, const uint8_t *p, uint32_t n)
{
    uint32_t packet_max;
    struct stream *s = stream_of(c, &packet_max);

    if (s && outq_refer(&s->outq, shard_pool(c->host->shard), m, p, n))
        return true;
    if (s)
        channel_fail(c, "no memory");
    return false;
}

enum err channel_publish(const struct channel *c, const struct publish_out *p)
{
    uint32_t header, packet_max, size = publish_size(MQTT_5, p, &header);
    const struct stream *s = stream_of(c, &packet_max);
    uint8_t *to;

    if (!s)
        return ERR_NONE;
    if (size == 0 || size > packet_max)
        return ERR_FULL;
    to = channel_room(c, size);
    if (!to)
        return ERR_MEMORY;
    bytes_put(publish_put_header(to, MQTT_5, p), p->payload);
    return OK;
}

enum err channel_begin(const struct channel *c, uint32_t frame_bytes)
{
    static const uint8_t nothing[1];
    struct publish_out p = {.payload = bytes_of(nothing, frame_bytes)}; /* only its length counts */
    uint8_t topic[TOPIC_ROOM], *to;
    uint32_t header;

    if (!channel_is_up(c))
        return ERR_NONE;
    p.topic = topic_of(c, topic);
    CHECK(publish_size(MQTT_5, &p, &header));
    to = channel_room(c, header);
    if (!to)
        return ERR_MEMORY;
    publish_put_header(to, MQTT_5, &p);
    return OK;
}

enum err channel_send(const struct channel *c, struct bytes frame)
{
    enum err err = channel_begin(c, frame.n);
    uint8_t *to;

    if (err != OK)
        return err;
    to = channel_room(c, frame.n);
    if (!to)
        return ERR_MEMORY;
    bytes_put(to, frame);
    return OK;
}

void channel_say(const struct channel *c, const struct native_frame *f)
{
    uint8_t frame[NATIVE_CONTROL_BYTES_MAX];
    uint32_t size;

    if (native_frame_encode(f, frame, sizeof(frame), &size) != OK)
        CHECK(false);
    if (channel_send(c, bytes_of(frame, size)) != OK)
        return; /* it is gone */
}
