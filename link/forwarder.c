/* link/forwarder.c -- from the window to the connection, and acknowledgements back. */
#include "link/forwarder.h"

#include "link/emqx_message.h"

static struct forwarder *forwarder_of(struct dialer *d)
{
    return (struct forwarder *)(void *)d;
}

static void tell_losses(struct forwarder *f)
{
    uint64_t lost = window_lost_sum(&f->window);
    uint64_t fresh = lost - f->lost_told;

    if (!fresh)
        return;
    f->lost_told = lost;
    STAT_ADD(shard_count(f->dialer.host->shard), link_messages_dropped, fresh);
    f->events->lost(f, fresh);
}

/* Writes one PUBLISH; false: no memory, and the connection is given up. */
static bool send(struct forwarder *f, const struct window_packet *w)
{
    struct link_host *host = f->dialer.host;
    struct publish_out p;
    bool refers;
    uint8_t *to;

    window_publish(w->record, &p);
    p.packet_id = w->id;
    p.dup = w->is_again;
    refers = p.payload.n >= FORWARDER_REFER_BYTES;
    to = dialer_room(&f->dialer, w->header_bytes + (refers ? 0 : p.payload.n));
    if (!to)
        return false;
    to = publish_put_header(to, MQTT_5, &p);
    if (!refers) {
        bytes_put(to, p.payload);
    } else if (!outq_refer(&f->dialer.stream.outq, shard_pool(host->shard), w->record, p.payload.p,
                           p.payload.n)) {
        dialer_fail(&f->dialer, "no memory");
        return false;
    }
    if (!w->is_again)
        STAT_INC(shard_count(host->shard), link_messages_sent);
    return true;
}

static void pump(struct forwarder *f)
{
    struct link_host *host = f->dialer.host;
    struct window_packet w;
    bool goes_on = true;

    while (goes_on && f->dialer.state == DIALER_UP &&
           f->dialer.stream.outq.bytes < host->limits->outq_bytes &&
           window_next(&f->window, shard_now_ms(host->shard), &w)) {
        goes_on = send(f, &w);
        message_release(w.record);
    }
    tell_losses(f);
}

/* ---- age ---- */

static void on_aging(struct timer *t, void *owner, uint64_t now_ms);

/* The timer may be early, for what it was armed for may have gone; then it is armed anew. */
static void arm_aging(struct forwarder *f, uint64_t due_ms)
{
    if (due_ms != UINT64_MAX && !timer_is_armed(&f->aging))
        timer_arm(shard_timers(f->dialer.host->shard), &f->aging, due_ms, on_aging);
}

static void on_aging(struct timer *t, void *owner, uint64_t now_ms)
{
    struct forwarder *f =
        (struct forwarder *)(void *)((char *)t - offsetof(struct forwarder, aging));

    (void)owner;
    arm_aging(f, window_age(&f->window, now_ms));
    tell_losses(f);
}

void forwarder_push(struct forwarder *f, struct message *record)
{
    f->window.must_not_grow = shard_memory_is_full(f->dialer.host->shard);
    window_push(&f->window, record);
    pump(f);
    if (f->window.waiting.count)
        arm_aging(f, record->stamp_ms + f->window.age_max);
}

/* ---- the connection ---- */

static void on_up(struct dialer *d)
{
    struct forwarder *f = forwarder_of(d);
    uint32_t most = d->link->max_inflight;

    if (most > d->receive_max)
        most = d->receive_max;
    window_restart(&f->window, most ? most : 1, d->packet_max);
    f->events->up(f);
    pump(f);
}

static void on_ack(struct dialer *d, uint16_t id, uint8_t reason)
{
    struct forwarder *f = forwarder_of(d);

    if (reason == REASON_NOT_AUTHORIZED) { /* this connection; on the next one it is sent again */
        dialer_fail(d, "we may not publish there to $LINK/cluster/msg/: allow it in its access "
                       "rules, link to a listener that takes links, or be the peer_identity of its "
                       "link");
        return;
    }
    if (window_ack(&f->window, id, reason >= REASON_UNSPECIFIED_ERROR) != OK) {
        dialer_fail(d, "a PUBACK for nothing that was sent");
        return;
    }
    pump(f);
}

static bool on_publish(struct dialer *d, const struct packet_publish *p)
{
    struct forwarder *f = forwarder_of(d);
    struct bytes cluster, actor;

    if (emqx_topic_parse(p->topic, &cluster, &actor) != EMQX_TOPIC_NATIVE)
        return true;
    if (p->qos == 0)
        return f->events->frame(f, p->payload);
    dialer_fail(d, "a frame with QoS 1");
    return true;
}

static void on_suback(struct dialer *d, uint16_t id, uint8_t reason)
{
    (void)id;
    (void)reason;
    dialer_fail(d, "a SUBACK that nobody asked for");
}

static void on_drained(struct dialer *d)
{
    pump(forwarder_of(d));
}

static void on_down(struct dialer *d, bool was_up)
{
    struct forwarder *f = forwarder_of(d);

    window_stop(&f->window);
    arm_aging(f, window_age(&f->window, shard_now_ms(d->host->shard)));
    tell_losses(f);
    f->events->down(f, was_up);
}

static const struct dialer_events dialer_events = {.up = on_up,
                                                   .publish = on_publish,
                                                   .ack = on_ack,
                                                   .suback = on_suback,
                                                   .drained = on_drained,
                                                   .down = on_down};

/* ---- a changed link ---- */

/* By the publisher's name, which stands in the record. */
static uint64_t publisher_hash(const struct link_host *host, const struct message *record)
{
    struct emqx_message m;

    if (emqx_message_decode(message_payload(record), &m) != OK)
        return 0;
    return hash_bytes(&host->key, m.from);
}

static void move_all(struct forwarder *from, struct forwarder *to, uint32_t to_count)
{
    struct message *m;

    while ((m = window_pop(&from->window))) {
        struct window *w = &to[publisher_hash(from->dialer.host, m) % to_count].window;
        enum window_full full = w->full;

        w->full = WINDOW_BLOCK; /* nothing is lost by moving */
        window_push(w, m);
        w->full = full;
        message_release(m);
    }
}

void forwarders_move(struct forwarder *from, uint32_t from_count, struct forwarder *to,
                     uint32_t to_count)
{
    for (uint32_t i = 0; i < from_count; i++)
        move_all(&from[i], to, to_count);
    for (uint32_t i = 0; i < to_count; i++) {
        struct forwarder *f = &to[i];

        arm_aging(f, window_age(&f->window, shard_now_ms(f->dialer.host->shard)));
    }
}

/* ---- life ---- */

static enum window_full full_of(const struct cfg_link *link)
{
    static const enum window_full full[] = {[ON_FULL_DROP_OLDEST] = WINDOW_DROP_OLDEST,
                                            [ON_FULL_DROP_NEWEST] = WINDOW_DROP_NEWEST,
                                            [ON_FULL_BLOCK] = WINDOW_BLOCK};

    return full[link->on_full];
}

enum err forwarder_use(struct forwarder *f, const struct cfg_link *link, uint64_t bytes_max)
{
    struct window *w = &f->window;

    if (dialer_use(&f->dialer, link) != OK)
        return ERR_MEMORY;
    w->bytes_max = bytes_max;
    w->age_max = link->queue_age * 1000ull;
    w->full = full_of(link);
    timer_cancel(shard_timers(f->dialer.host->shard), &f->aging);
    arm_aging(f, window_age(w, shard_now_ms(f->dialer.host->shard)));
    return OK;
}

enum err forwarder_init(struct forwarder *f, struct link_host *host, const struct cfg_link *link,
                        uint32_t number, uint64_t bytes_max, const struct forwarder_events *events)
{
    *f = (struct forwarder){.events = events};
    window_init(&f->window, bytes_max, link->queue_age * 1000ull, full_of(link));
    return dialer_init(&f->dialer, host, link, number, &dialer_events);
}

void forwarder_fini(struct forwarder *f)
{
    if (f->dialer.host)
        timer_cancel(shard_timers(f->dialer.host->shard), &f->aging);
    dialer_fini(&f->dialer);
    window_fini(&f->window);
}
