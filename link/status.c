/* link/status.c -- gathers what the parts of a link know, and says what has changed. */
#include "link/status.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- gathering ---- */

static void set_word(char to[STATUS_TEXT_BYTES], const char *word)
{
    snprintf(to, STATUS_TEXT_BYTES, "%s", word);
}

static const char *routes_out(const struct peer *p)
{
    bool stands = p->announcer.dialer.state == DIALER_UP || p->greeter.channel.host;

    if (p->announcer.state == ANNOUNCER_ONLINE || p->greeter.is_online)
        return "up";
    return stands ? "introducing" : "connecting";
}

static void add_routes(struct peer *p, uint64_t now_ms, struct link_status *to)
{
    const struct announcer *a = &p->announcer;
    uint64_t oldest_ms = 0;

    if (p->tells_native) {
        struct wants_state w = wants_state(p->routes.wants);

        to->routes_wanted = w.wanted;
        to->routes_pending = (uint64_t)w.pending + w.flying;
        oldest_ms = w.oldest_ms;
    } else {
        struct interest_state in = interest_state(p->interest);

        to->routes_wanted = in.wanted;
        to->routes_pending = (uint64_t)in.pending + in.out;
        if (in.out && a->state == ANNOUNCER_ONLINE)
            oldest_ms = a->batch_ms;
    }
    if (oldest_ms && oldest_ms < now_ms)
        to->routes_lag_ms = now_ms - oldest_ms;
    to->routes_theirs = announced_filter_count(p->announced);
    for (int i = 0; i < PEER_REFUSED_COUNT; i++)
        to->routes_refused += p->routes_refused[i];
    set_word(to->routes_out, routes_out(p));
    set_word(to->routes_in, announced_actor_count(p->announced) ? "up" : "away");
}

static void add_window(const struct window *w, uint64_t now_ms, struct link_status *to)
{
    uint64_t age_ms = window_oldest_ms(w, now_ms);

    to->sent += w->sent;
    to->inflight += w->unacked;
    to->waiting += window_count(w) - w->unacked;
    to->held_bytes += w->bytes;
    if (age_ms > to->oldest_ms)
        to->oldest_ms = age_ms;
    to->lost_full += w->lost.full;
    to->lost_aged += w->lost.aged;
    to->lost_expired += w->lost.expired;
    to->lost_too_large += w->lost.too_large;
    to->lost_refused += w->lost.refused;
    to->lost_memory += w->lost.memory;
}

static void add_theirs(const struct carrier *c, struct link_status *to)
{
    to->received += c->received;
    to->doubles += c->in.doubles;
    to->unwanted += c->unwanted;
}

static void add_carrier(const struct carrier *c, uint64_t now_ms, struct link_status *to)
{
    const struct outstream *out = &c->out;
    uint64_t age_ms = outstream_age_ms(out, now_ms);

    to->sent += out->next_sequence ? out->next_sequence - 1 : 0;
    to->inflight += out->live;
    to->waiting += out->waiting.count + (uint64_t)(out->sent.count - out->live);
    to->held_bytes += out->waiting_bytes + out->kept_bytes;
    if (age_ms > to->oldest_ms)
        to->oldest_ms = age_ms;
    to->lost_full += out->lost.full;
    to->lost_aged += out->lost.aged;
    to->lost_expired += out->lost.expired;
    to->lost_too_large += out->lost.too_large;
    to->lost_memory += out->lost.memory;
    to->passed += c->passed;
    to->saved_bytes += c->packer.saved;
    add_theirs(c, to);
}

/* The streams of the other link workers. */
static void add_spread(const struct spread *s, uint64_t now_ms, struct link_status *to)
{
    uint64_t since_ms = spread_since_ms(s);

#define X(field) to->field += SPREAD_SUM(s, field);
    LANE_COUNTS(X)
#undef X
    if (since_ms && since_ms < now_ms && now_ms - since_ms > to->oldest_ms)
        to->oldest_ms = now_ms - since_ms;
}

static void add_messages(const struct peer *p, uint64_t now_ms, struct link_status *to)
{
    bool is_up = !p->speaks_native || (carrier_is_up(&p->carrier) && spread_is_up(&p->spread));

    to->received = p->received;
    to->unwanted = p->unwanted;
    to->acks_waiting = p->host->acks->waiting[p->number];
    for (uint32_t i = 0; i < p->forwarder_count; i++) {
        add_window(&p->forwarders[i].window, now_ms, to);
        is_up &= peer_is_called(p) || i >= p->dialled_count ||
                 p->forwarders[i].dialer.state == DIALER_UP;
    }
    add_carrier(&p->carrier, now_ms, to);
    for (uint32_t i = 0; i < p->inlets.count; i++)
        add_theirs(&p->inlets.more[i], to);
    add_spread(&p->spread, now_ms, to);
    set_word(to->messages_out, is_up ? "up" : "connecting");
    is_up = p->speaks_native ? channel_is_up(&p->carrier.from)
                             : announced_actor_count(p->announced) > 0;
    set_word(to->messages_in, is_up ? "up" : "away");
}

static void add_dialect(const struct peer *p, struct link_status *to)
{
    if (p->announcer.state != ANNOUNCER_ONLINE && announced_actor_count(p->announced) == 0)
        return;
    if (p->speaks_native || p->announcer.is_native)
        snprintf(to->dialect, sizeof(to->dialect), "native %d", NATIVE_VERSION);
    else
        snprintf(to->dialect, sizeof(to->dialect), "emqx %d", EMQX_PROTOCOL_VERSION);
}

static const char *groups_of(const struct peer *p)
{
    if (p->link->shared_groups == SHARED_GROUPS_LOCAL)
        return "local";
    if (p->takes_groups || p->gives_groups)
        return "global";
    return p->no_groups_said ? "refused" : "connecting";
}

void status_of(struct peer *p, struct link_status *to)
{
    const struct dialer *d = &p->announcer.dialer;
    uint64_t now_ms = shard_now_ms(p->host->shard);

    *to = (struct link_status){.name = p->link->name};
    set_word(to->state, !p->link->enable ? "disabled" : p->is_up ? "up" : "connecting");
    to->since_s = p->since_s;
    add_dialect(p, to);
    if (p->link->server_count)
        dialer_peer_text(d, to->server);
    set_word(to->transit, p->transits ? "on" : p->link->transit ? "here" : "off");
    set_word(to->error, p->error);
    if (d->state == DIALER_UP && d->pulse.has_rtt)
        to->rtt_ms = d->pulse.rtt_ms;
    else if (p->link->server_count == 0)
        to->rtt_ms = p->routes.rtt_ms;
    set_word(to->groups, groups_of(p));
    add_routes(p, now_ms, to);
    add_messages(p, now_ms, to);
}

/* ---- saying ---- */

static void say(struct peer *p, const char *what, const char *text)
{
    char topic[CFG_NAME_BYTES_MAX + 64];

    snprintf(topic, sizeof(topic), "links/%s/%s", p->link->name, what);
    shard_sys_say(p->host->shard, topic, text);
}

void status_say(struct peer *p, struct link_status *said)
{
    bool is_first = !said->name;
    struct link_status s;
    char text[24];

    status_of(p, &s);
#define X(field, topic)                                                                            \
    if (is_first || s.field != said->field) {                                                      \
        snprintf(text, sizeof(text), "%" PRIu64, s.field);                                         \
        say(p, topic, text);                                                                       \
    }
    LINK_STATUS_NUMBERS(X)
#undef X
#define X(field, topic)                                                                            \
    if (strcmp(s.field, said->field) != 0)                                                         \
        say(p, topic, s.field);
    LINK_STATUS_WORDS(X)
#undef X
    *said = s;
}

void status_unsay(struct peer *p, struct link_status *said)
{
    if (!said->name)
        return;
#define X(field, topic) say(p, topic, "");
    LINK_STATUS_NUMBERS(X)
#undef X
#define X(field, topic)                                                                            \
    if (said->field[0])                                                                            \
        say(p, topic, "");
    LINK_STATUS_WORDS(X)
#undef X
    *said = (struct link_status){0};
}
