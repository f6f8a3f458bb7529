/* link/pulse.c -- pings, their answers, and what counts as a sign of life. */
#include "link/pulse.h"

void pulse_begin(struct pulse *p, uint32_t dead_after_ms, uint64_t now_ms)
{
    *p = (struct pulse){.dead_after_ms = dead_after_ms,
                        .alive_ms = now_ms,
                        .through_ms = now_ms,
                        .looked_ms = now_ms,
                        .pinged_ms = now_ms,
                        .due_ms = now_ms + PULSE_PING_MS};
}

/* What came since the last look. Of bytes that were acknowledged it is known only that it was after
 * that look, so that is the moment they count for. */
static void note_life(struct pulse *p, uint64_t heard_ms, const struct pulse_written *w)
{
    if (heard_ms > p->alive_ms) {
        p->alive_ms = heard_ms;
        p->is_asked = false;
    }
    if (!w->is_known)
        return;
    if (p->is_asked && !p->is_due && w->acked != p->acked && p->looked_ms > p->alive_ms)
        p->alive_ms = p->looked_ms;
    p->acked = w->acked;
}

/* The same for what we send. With nothing in flight, the last ping has come through, and it is not
 * known either when. */
static void note_through(struct pulse *p, const struct pulse_written *w)
{
    uint64_t since_ms = w->is_known && w->acked == p->acked ? p->pinged_ms : p->looked_ms;

    if (w->is_known && w->in_flight && w->acked == p->acked)
        return;
    p->through_ms = since_ms > p->through_ms ? since_ms : p->through_ms;
}

static void note_ping(struct pulse *p, uint64_t now_ms, const struct pulse_written *w)
{
    if (!p->is_asked)
        p->is_due = w->is_known && w->outstanding == 0;
    p->is_asked = true;
    p->pinged_ms = now_ms;
    if (p->unanswered++)
        return;
    p->is_measured = true;
    p->measured_ms = now_ms;
}

/* The sooner of the next ping, the moment of death, and where nothing comes, the next look. */
static uint64_t next_look(const struct pulse *p, uint64_t now_ms)
{
    uint64_t next = p->pinged_ms + PULSE_PING_MS;
    uint64_t sign = p->through_ms < p->alive_ms ? p->through_ms : p->alive_ms;
    uint64_t death = sign + p->dead_after_ms;

    if (p->is_asked && now_ms - p->alive_ms >= PULSE_PING_MS && now_ms + PULSE_LOOK_MS < next)
        next = now_ms + PULSE_LOOK_MS;
    return death < next ? death : next;
}

enum pulse_verdict pulse_look(struct pulse *p, uint64_t now_ms, uint64_t heard_ms,
                              const struct pulse_written *w)
{
    enum pulse_verdict verdict = PULSE_FINE;

    if (now_ms >= p->due_ms + PULSE_LATE_MS) {
        p->alive_ms += now_ms - p->due_ms;
        p->through_ms += now_ms - p->due_ms;
    }
    note_through(p, w);
    note_life(p, heard_ms, w);
    p->looked_ms = now_ms;
    if (now_ms >= p->alive_ms + p->dead_after_ms || now_ms >= p->through_ms + p->dead_after_ms)
        return PULSE_DEAD;
    if (now_ms >= p->pinged_ms + PULSE_PING_MS) {
        verdict = PULSE_PING;
        note_ping(p, now_ms, w);
    }
    p->due_ms = next_look(p, now_ms);
    return verdict;
}

void pulse_answer(struct pulse *p, uint64_t now_ms)
{
    if (p->unanswered == 0)
        return; /* to nothing: it says nothing */
    p->unanswered--;
    if (!p->is_measured)
        return;
    p->is_measured = false;
    p->has_rtt = true;
    p->rtt_ms = (uint32_t)(now_ms - p->measured_ms);
}
