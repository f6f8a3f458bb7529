/* tests/link/test_streams.c -- the two sides of a message stream against each other.
 *
 * Between them are model connections: bytes on their way, which a cut ends anywhere, in the middle
 * of a frame too. The receiver may go on reading what came on a connection that the sender has
 * given up, also beside a newer one; it reads and answers when the seed says so, and stops in the
 * middle of a frame.
 */
#include "tests/link/streams.h"
#include "tests/link/vectors.h"

#define STEPS 4000u
#define CONNECTIONS 3u
#define NONE CONNECTIONS
#define NUMBERS_MAX (STEPS * 4)

/* Frames on their way, each behind four bytes of length. */
struct pipe {
    uint8_t *bytes;
    uint32_t count, at, capacity;
};

struct connection {
    struct pipe up, down;  /* to the receiver, to the sender */
    bool is_cut;           /* nothing comes after what is in `up` */
    bool is_opened;        /* the receiver has read its OPEN */
    uint32_t records_done; /* of the frame at the front */
};

struct model {
    uint64_t seed, now_ms;
    struct outstream out;
    struct instream in;
    struct connection connections[CONNECTIONS];
    uint32_t newest;  /* of the sender; NONE: it has none */
    uint32_t answers; /* where the receiver acknowledges */
    uint32_t frame_max;
    bool has_qos_0, is_lossy;
    bool reads_older; /* the receiver goes on with older connections beside a newer one */
    /* what was pushed, by number */
    uint32_t pushed, taken, taken_qos_0, pushed_qos_0;
    uint8_t qos_of[NUMBERS_MAX];
    struct message *parked; /* its publisher waits: OUTSTREAM_BLOCK */
    int64_t last_taken;
    /* sizes of records by sequence, where they are in flight on the newest connection */
    uint32_t flying[NUMBERS_MAX];
    uint64_t acked;
};

static uint8_t frame_room[1u << 18];

static uint32_t pick(struct model *w, uint32_t n)
{
    return (uint32_t)(draw(&w->seed) % n);
}

/* ---- pipes ---- */

static void pipe_put(struct pipe *p, struct bytes frame)
{
    uint32_t need = p->count + 4 + frame.n;

    if (need > p->capacity) {
        p->capacity = 2 * need;
        p->bytes = realloc(p->bytes, p->capacity);
        assert_non_null(p->bytes);
    }
    bytes_put(put_be32(p->bytes + p->count, frame.n), frame);
    p->count = need;
}

/* The frame at the front; false: none is whole. */
static bool pipe_front(const struct pipe *p, struct bytes *frame)
{
    uint32_t left = p->count - p->at;

    if (left < 4 || left - 4 < get_be32(p->bytes + p->at))
        return false;
    *frame = bytes_of(p->bytes + p->at + 4, get_be32(p->bytes + p->at));
    return true;
}

static void pipe_pop(struct pipe *p)
{
    p->at += 4 + get_be32(p->bytes + p->at);
    if (p->at == p->count)
        p->at = p->count = 0;
}

static void connection_free(struct connection *c)
{
    free(c->up.bytes);
    free(c->down.bytes);
    *c = (struct connection){.is_cut = true};
}

/* ---- the sender ---- */

static void put_control(struct pipe *p, const struct native_frame *f)
{
    uint8_t b[NATIVE_CONTROL_BYTES_MAX];
    uint32_t n;

    assert_int_equal(native_frame_encode(f, b, sizeof(b), &n), OK);
    pipe_put(p, bytes_of(b, n));
}

static void cut(struct model *w)
{
    struct pipe *up;

    if (w->newest == NONE)
        return;
    up = &w->connections[w->newest].up;
    up->count -= pick(w, up->count - up->at + 1); /* any byte may be the last */
    w->connections[w->newest].is_cut = true;
    w->newest = NONE;
    memset(w->flying, 0, sizeof(w->flying));
    outstream_gone(&w->out);
}

/* The oldest place is used again: what was still to be read there is lost. */
static void connect(struct model *w)
{
    uint32_t last = CONNECTIONS - 1;
    struct native_frame f;

    cut(w);
    connection_free(&w->connections[0]);
    memmove(&w->connections[0], &w->connections[1], last * sizeof(w->connections[0]));
    w->answers = w->answers == NONE || w->answers == 0 ? NONE : w->answers - 1;
    w->connections[last] = (struct connection){0};
    w->newest = last;
    outstream_open(&w->out, &f);
    put_control(&w->connections[last].up, &f);
}

static void push(struct model *w)
{
    struct message *m = w->parked;

    if (!m) {
        uint32_t number = w->pushed++;
        uint8_t qos = (uint8_t)(w->has_qos_0 ? pick(w, 3) : 1 + pick(w, 2));
        uint32_t size = 4 + pick(w, pick(w, 20) ? 200 : 5000);

        w->qos_of[number] = qos;
        w->pushed_qos_0 += qos == 0;
        m = numbered(number, qos, size,
                     w->is_lossy && !pick(w, 4) ? w->now_ms + pick(w, 3000) + 1 : 0);
    }
    w->parked = w->out.config.full == OUTSTREAM_BLOCK && outstream_is_full(&w->out) ? m : NULL;
    if (w->parked)
        return;
    outstream_push(&w->out, m, w->now_ms);
    message_release(m);
}

/* What flies, counted from what was written and what was acknowledged. */
static void check_flight(const struct model *w)
{
    uint64_t bytes = 0, messages = 0;

    for (uint64_t i = w->acked + 1; i < w->out.next_sequence; i++) {
        bytes += w->flying[i];
        messages += w->flying[i] > 0;
    }
    assert_int_equal(w->out.inflight.bytes, bytes);
    assert_int_equal(w->out.inflight.messages, messages);
    if (messages > 1) {
        assert_true(bytes <= w->out.window.bytes);
        assert_true(messages <= w->out.window.messages);
    }
}

static bool send(struct model *w)
{
    struct outstream_frame f;
    uint32_t room = pick(w, 4) ? UINT32_MAX : pick(w, 3000);

    if (!outstream_next(&w->out, w->now_ms, room, &f))
        return false;
    assert_true(w->newest != NONE);
    assert_true(f.bytes <= w->frame_max);
    for (uint32_t i = 0; i < f.count; i++) {
        assert_int_equal(w->flying[f.first + i], 0);
        w->flying[f.first + i] = f.records[i].head_bytes + f.records[i].message->payload_count;
    }
    pipe_put(&w->connections[w->newest].up,
             bytes_of(frame_room, frame_write(&f, w->now_ms, frame_room)));
    check_flight(w);
    return true;
}

static bool sender_reads(struct model *w)
{
    struct native_frame f;
    struct bytes b;

    if (w->newest == NONE || !pipe_front(&w->connections[w->newest].down, &b))
        return false;
    assert_int_equal(native_frame_decode(b, &f), OK);
    if (f.last > w->acked)
        w->acked = f.last;
    if (f.kind == NATIVE_OPENED)
        assert_int_equal(outstream_rewind(&w->out, &f, w->frame_max), OK);
    else
        assert_int_equal(outstream_ack(&w->out, &f), OK);
    pipe_pop(&w->connections[w->newest].down);
    return true;
}

/* ---- the receiver ---- */

static void take(struct model *w, const struct native_record *r)
{
    uint32_t number = get_be32(r->payload.p);

    assert_true((int64_t)number > w->last_taken); /* in order, and none twice */
    assert_true(number < w->pushed);
    assert_int_equal(r->qos, w->qos_of[number]);
    w->last_taken = number;
    w->taken++;
    w->taken_qos_0 += r->qos == 0;
    instream_take(&w->in, BOOT, r->sequence);
}

/* Takes records of the frame at the front, all or some. */
static void take_records(struct model *w, struct connection *c, const struct native_frame *f)
{
    struct native_records walk = native_records_begin(f);
    struct native_record r;

    for (uint32_t i = 0; native_records_next(&walk, &r); i++) {
        if (i < c->records_done)
            continue;
        if (instream_wants(&w->in, BOOT, r.sequence)) {
            if (!pick(w, 10))
                return; /* there is no room for it */
            take(w, &r);
        }
        c->records_done++;
    }
    c->records_done = 0;
    pipe_pop(&c->up);
}

static void on_open(struct model *w, uint32_t idx, const struct native_frame *open)
{
    struct native_frame f;

    for (uint32_t i = 0; i < idx; i++)
        if (!w->connections[i].is_opened || !w->reads_older)
            connection_free(&w->connections[i]);
    instream_open(&w->in, open);
    instream_opened(&w->in, &f);
    w->connections[idx].is_opened = true;
    w->answers = idx;
    put_control(&w->connections[idx].down, &f);
    pipe_pop(&w->connections[idx].up);
}

static bool receiver_reads(struct model *w, uint32_t idx)
{
    struct connection *c = &w->connections[idx];
    struct native_frame f;
    struct bytes b;

    if (!pipe_front(&c->up, &b))
        return false;
    assert_int_equal(native_frame_decode(b, &f), OK);
    if (f.kind == NATIVE_OPEN)
        on_open(w, idx, &f);
    else
        take_records(w, c, &f);
    return true;
}

static bool receiver_acks(struct model *w)
{
    struct native_frame f;

    if (w->answers == NONE || !instream_ack(&w->in, &f))
        return false;
    put_control(&w->connections[w->answers].down, &f);
    return true;
}

static struct native_window a_window(struct model *w)
{
    switch (pick(w, 4)) {
    case 0:
        return (struct native_window){pick(w, 1000), 1};
    case 1:
        return (struct native_window){pick(w, 5000), 1 + pick(w, 20)};
    case 2:
        return (struct native_window){0, 0};
    default:
        return (struct native_window){100000, 1000};
    }
}

/* ---- runs ---- */

static void step(struct model *w)
{
    switch (pick(w, 32)) {
    case 0:
        cut(w);
        break;
    case 1:
    case 2:
        if (w->newest == NONE || !pick(w, 4))
            connect(w);
        break;
    case 3:
        if (!pick(w, 4))
            instream_grant(&w->in, a_window(w));
        break;
    case 4:
        w->now_ms += pick(w, 200);
        outstream_sweep(&w->out, w->now_ms);
        break;
    case 5:
    case 6:
        receiver_acks(w);
        break;
    case 7:
    case 8:
    case 9:
        receiver_reads(w, pick(w, CONNECTIONS));
        break;
    case 10:
    case 11:
    case 12:
    case 13:
        receiver_reads(w, CONNECTIONS - 1);
        break;
    case 14:
    case 15:
    case 16:
        sender_reads(w);
        break;
    case 17:
    case 18:
    case 19:
        send(w);
        break;
    default:
        push(w);
    }
}

/* A last connection, and all that can happen on it. */
static void drain(struct model *w)
{
    bool goes_on = true;

    if (w->newest == NONE)
        connect(w);
    while (goes_on) {
        goes_on = false;
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            goes_on |= receiver_reads(w, i);
        goes_on |= receiver_acks(w);
        goes_on |= sender_reads(w);
        goes_on |= send(w);
        if (w->parked) {
            push(w);
            goes_on = true;
        }
    }
}

static void check_end(const struct model *w)
{
    uint64_t lost = outstream_lost_sum(&w->out);
    uint32_t kept = w->pushed - w->pushed_qos_0, kept_taken = w->taken - w->taken_qos_0;

    assert_int_equal(w->out.waiting.count + w->out.sent.count, 0);
    assert_int_equal(w->out.waiting_bytes + w->out.kept_bytes, 0);
    assert_int_equal(w->out.kept_count + w->out.inflight.messages, 0);
    assert_int_equal(w->out.inflight.bytes, 0);
    assert_int_equal(held, 0);
    assert_true(kept - kept_taken <= lost);
    if (!w->reads_older) /* else one may be too late to be sent again, and taken all the same */
        assert_true(lost <= w->pushed - w->taken);
    if (!w->reads_older && !w->has_qos_0)
        assert_int_equal(w->pushed, w->taken + lost);
    if (!w->is_lossy)
        assert_int_equal(lost, 0);
}

static void model_start(struct model *w, uint64_t seed)
{
    struct outstream_config c = {.boot = BOOT, .streams = 1, .bytes_max = 1u << 30};

    *w = (struct model){
        .seed = seed, .newest = NONE, .answers = NONE, .last_taken = -1, .now_ms = 1};
    w->has_qos_0 = seed % 2;
    w->is_lossy = seed / 2 % 2;
    w->reads_older = seed / 4 % 2;
    w->frame_max = w->is_lossy ? 4000 : 1u << 17;
    c.full = (enum outstream_full)(seed / 8 % 3);
    if (w->is_lossy) {
        c.bytes_max = 10000;
        c.age_max_ms = pick(w, 2) ? 0 : 3000;
    }
    outstream_init(&w->out, &c);
    instream_init(&w->in, a_window(w));
}

/* Sums over all seeds, which show that what is to be tested did happen. */
struct sums {
    uint64_t again, doubles, taken;
    struct outstream_lost lost;
};

static void run(struct model *w, uint64_t seed, struct sums *sums)
{
    model_start(w, seed);
    for (uint32_t i = 0; i < STEPS; i++)
        step(w);
    drain(w);
    check_end(w);
    sums->again += w->out.again;
    sums->doubles += w->in.doubles;
    sums->taken += w->taken;
    sums->lost.full += w->out.lost.full;
    sums->lost.expired += w->out.lost.expired;
    sums->lost.aged += w->out.lost.aged;
    sums->lost.too_large += w->out.lost.too_large;
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        connection_free(&w->connections[i]);
    outstream_fini(&w->out);
}

TEST(streams_bring_everything_once_and_in_order_whatever_is_cut)
{
    struct model *w = malloc(sizeof(*w));
    struct sums sums = {0};

    assert_non_null(w);
    for (uint64_t seed = 1; seed <= 96; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(w, seed, &sums);
    }
    print_message("%u taken, %u again, %u doubles\n", (unsigned)sums.taken, (unsigned)sums.again,
                  (unsigned)sums.doubles);
    assert_true(sums.taken > 30000 && sums.again > 1000 && sums.doubles > 50);
    assert_true(sums.lost.full > 0 && sums.lost.expired > 0 && sums.lost.aged > 0 &&
                sums.lost.too_large > 0);
    free(w);
}
