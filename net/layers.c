/* net/layers.c -- what lies between a socket and MQTT. */
#include "net/layers.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "net/proxy.h"

/* What is sealed without TLS waits here, bounded as tls_output is. */
#define OUTPUT_BYTES_MAX TLS_OUTPUT_BYTES_MAX
/* While so much waits, pings are not answered: who asks does not read. */
#define PONG_WAITING_MAX 4096u
/* What the records around a frame may add; TLS begins none without room for a whole one. */
#define RECORDS_BYTES (TLS_RECORD_BYTES_MAX + 2048u)
/* A frame is not begun for less room. */
#define FRAME_ROOM_MIN 2048u
/* The longest name a PROXY header may prove. */
#define PROXY_NAME_BYTES_MAX 255u

/* Bytes that wait to be sent, [start, end) of `p`. */
struct flow {
    uint8_t *p;
    uint32_t start, end, room;
};

/* A PROXY header on its way, and what it said. */
struct proxied {
    uint32_t versions; /* 0: it has been read */
    uint32_t held_n;
    uint8_t *held;
    bool has_peer;
    struct layers_peer peer;
    char common_name[PROXY_NAME_BYTES_MAX + 1];
};

struct layers {
    struct proxied *proxy; /* NULL: no header is expected */
    struct tls *tls;       /* NULL: no TLS */
    bool has_ws, is_closing;
    struct ws ws;
    struct flow lent, next; /* without TLS: what the kernel may have; what gathers */
    const char *error;
};

static bool make_proxy(struct layers *l, uint32_t versions)
{
    if (!versions)
        return true;
    l->proxy = calloc(1, sizeof(*l->proxy));
    if (l->proxy)
        l->proxy->versions = versions;
    return l->proxy != NULL;
}

static bool make_tls(struct layers *l, const struct layers_rules *rules)
{
    if (!rules->tls)
        return true;
    l->tls = tls_create(rules->tls, rules->server_name, NULL);
    return l->tls != NULL;
}

struct layers *layers_create(const struct layers_rules *rules)
{
    struct layers *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    if (!make_proxy(l, rules->proxy) || !make_tls(l, rules)) {
        layers_destroy(l);
        return NULL;
    }
    if (rules->ws) {
        ws_init(&l->ws, rules->ws);
        l->has_ws = true;
    }
    return l;
}

void layers_destroy(struct layers *l)
{
    if (!l)
        return;
    if (l->proxy)
        free(l->proxy->held);
    free(l->proxy);
    tls_destroy(l->tls);
    if (l->has_ws)
        ws_fini(&l->ws);
    free(l->lent.p);
    free(l->next.p);
    free(l);
}

/* ---- output without TLS ---- */

static enum err flow_put(struct flow *f, struct bytes b)
{
    if (f->end + b.n > f->room) {
        uint32_t room = f->end + b.n > 2 * f->room ? f->end + b.n : 2 * f->room;
        uint8_t *p = realloc(f->p, room);

        if (!p)
            return ERR_MEMORY;
        f->p = p;
        f->room = room;
    }
    (void)bytes_put(f->p + f->end, b);
    f->end += b.n;
    return OK;
}

/* Room for sealed bytes. */
static uint32_t room_of(const struct layers *l)
{
    uint32_t waiting = layers_waiting(l);

    if (!l->tls)
        return waiting < OUTPUT_BYTES_MAX ? OUTPUT_BYTES_MAX - waiting : 0;
    return waiting + RECORDS_BYTES < TLS_OUTPUT_BYTES_MAX
               ? TLS_OUTPUT_BYTES_MAX - waiting - RECORDS_BYTES
               : 0;
}

/* Puts pieces below WebSocket; there is room for all. */
static enum err put_below(struct layers *l, const struct bytes *pieces, uint32_t count)
{
    enum err err = OK;
    uint32_t taken;

    if (l->tls) {
        err = tls_seal(l->tls, pieces, count, &taken);
        return err == ERR_FULL ? ERR_MEMORY : err;
    }
    for (uint32_t i = 0; i < count && err == OK; i++)
        err = flow_put(&l->next, pieces[i]);
    return err;
}

/* ---- input ---- */

static enum layers_verdict fail(struct layers *l, const char *error)
{
    if (!l->error)
        l->error = error;
    return LAYERS_FAILED;
}

static void note_proxy(struct proxied *x, const struct proxy *p)
{
    x->has_peer = p->family == PROXY_IPV4 || p->family == PROXY_IPV6;
    x->peer.is_v6 = p->family == PROXY_IPV6;
    x->peer.port = p->source.port;
    memcpy(x->peer.ip, p->source.ip, sizeof(x->peer.ip));
    if (p->tls.is_verified && p->tls.common_name.n <= PROXY_NAME_BYTES_MAX)
        (void)bytes_put((uint8_t *)x->common_name, p->tls.common_name);
}

/* Takes the PROXY header off the front of `in`. ERR_MORE: it is not whole, and all is taken. */
static enum err open_proxy(struct layers *l, struct bytes *in)
{
    struct proxied *x = l->proxy;
    struct bytes all = *in;
    enum proxy_why why = PROXY_WHY_NONE;
    struct proxy header;
    uint32_t need = 0;
    enum err err;

    if (x->held_n + in->n > PROXY_BYTES_MAX + LAYERS_INPUT_BYTES_MAX)
        return ERR_PEER;
    if (x->held_n) {
        uint8_t *p = realloc(x->held, x->held_n + in->n);

        if (!p)
            return ERR_MEMORY;
        x->held = p;
        (void)bytes_put(p + x->held_n, *in);
        all = bytes_of(p, x->held_n + in->n);
    }
    err = proxy_next(all, x->versions, &header, &need, &why);
    if (err == ERR_PEER)
        l->error = proxy_why_name(why);
    if (err == OK) {
        note_proxy(x, &header);
        x->versions = 0;
        *in = bytes_of(in->p + (need - x->held_n), in->n - (need - x->held_n));
    } else if (err == ERR_MORE && !x->held_n) {
        x->held = malloc(in->n ? in->n : 1);
        if (!x->held)
            return ERR_MEMORY;
        (void)bytes_put(x->held, *in);
    }
    x->held_n = err == ERR_MORE ? all.n : 0;
    if (err == OK) {
        free(x->held);
        x->held = NULL;
    }
    return err;
}

/* Everything below WebSocket: writes what comes of `in` to `to`. */
static enum layers_verdict open_below(struct layers *l, struct bytes in, uint8_t *to,
                                      uint32_t *count)
{
    enum tls_verdict verdict;
    uint32_t n;

    *count = 0;
    if (!l->tls) {
        (void)bytes_put(to, in);
        *count = in.n;
        return LAYERS_MORE;
    }
    do {
        CHECK(*count < LAYERS_PLAIN_BYTES);
        verdict = tls_open(l->tls, &in, to + *count, LAYERS_PLAIN_BYTES - *count, &n);
        *count += n;
    } while (verdict == TLS_DATA);
    if (verdict == TLS_MORE)
        return LAYERS_MORE;
    return verdict == TLS_CLOSED ? LAYERS_CLOSED : fail(l, tls_error(l->tls));
}

static enum layers_verdict open_ws(struct layers *l, uint8_t *p, uint32_t *count)
{
    struct ws_out out;
    enum err err = ws_input(&l->ws, p, *count, count, &out);
    struct bytes answer = bytes_of(out.p, out.n);

    if (layers_waiting(l) > PONG_WAITING_MAX)
        answer.n = out.pong_at;
    if (answer.n && put_below(l, &answer, 1) != OK)
        return fail(l, "no memory for an answer");
    if (err == OK)
        return LAYERS_MORE;
    if (l->ws.why == WS_WHY_CLOSE_FRAME)
        return LAYERS_CLOSED;
    return fail(l, ws_why_name(l->ws.why));
}

enum err layers_open_header(struct layers *l, struct bytes *in)
{
    enum err err;

    if (!l->proxy || !l->proxy->versions)
        return OK;
    err = open_proxy(l, in);
    if (err == ERR_MORE)
        in->n = 0;
    else if (err != OK)
        (void)fail(l, "no memory for the PROXY header");
    return err;
}

enum layers_verdict layers_open(struct layers *l, struct bytes in, uint8_t *plain, uint32_t *count)
{
    enum layers_verdict below, above = LAYERS_MORE;

    enum err err;

    CHECK(in.n <= LAYERS_INPUT_BYTES_MAX);
    *count = 0;
    err = layers_open_header(l, &in);
    if (err != OK)
        return err == ERR_MORE ? LAYERS_MORE : LAYERS_FAILED;
    below = open_below(l, in, plain, count);
    if (l->has_ws && *count)
        above = open_ws(l, plain, count);
    return above == LAYERS_MORE ? below : above;
}

bool layers_are_open(const struct layers *l)
{
    return !l->is_closing && !l->error && !(l->proxy && l->proxy->versions) &&
           (!l->tls || tls_is_established(l->tls)) && (!l->has_ws || l->ws.state == WS_OPEN);
}

bool layers_are_handshaking(const struct layers *l)
{
    return l->tls && tls_is_handshaking(l->tls);
}

/* ---- output ---- */

/* One frame with as much of the pieces as there is room for. */
static enum err seal_frame(struct layers *l, const struct bytes *pieces, uint32_t piece_count,
                           uint32_t *taken)
{
    struct bytes parts[65];
    uint8_t header[WS_FRAME_HEADER_BYTES_MAX];
    uint32_t room = room_of(l), count = 1;
    bool is_all = true;
    enum err err;

    CHECK(piece_count < sizeof(parts) / sizeof(parts[0]));
    *taken = 0;
    if (room < FRAME_ROOM_MIN)
        return ERR_FULL;
    room -= WS_FRAME_HEADER_BYTES_MAX;
    for (uint32_t i = 0; i < piece_count && is_all; i++) {
        parts[count] = pieces[i];
        if (parts[count].n > room - *taken) {
            parts[count].n = room - *taken;
            is_all = false;
        }
        *taken += parts[count++].n;
    }
    parts[0] = bytes_of(header, ws_frame_header(header, *taken));
    err = put_below(l, parts, count);
    if (err != OK)
        return err;
    return is_all ? OK : ERR_FULL;
}

enum err layers_seal(struct layers *l, const struct bytes *pieces, uint32_t piece_count,
                     uint32_t *taken)
{
    CHECK(layers_are_open(l));
    if (l->has_ws)
        return seal_frame(l, pieces, piece_count, taken);
    if (l->tls)
        return tls_seal(l->tls, pieces, piece_count, taken);
    *taken = 0;
    for (uint32_t i = 0; i < piece_count; i++) {
        uint32_t room = room_of(l);
        struct bytes part = bytes_of(pieces[i].p, pieces[i].n < room ? pieces[i].n : room);

        if (part.n && flow_put(&l->next, part) != OK)
            return ERR_MEMORY;
        *taken += part.n;
        if (part.n < pieces[i].n)
            return ERR_FULL;
    }
    return OK;
}

void layers_close(struct layers *l)
{
    uint8_t frame[WS_CLOSE_FRAME_BYTES];
    struct bytes b;

    bool was_open = layers_are_open(l);

    if (l->is_closing)
        return;
    l->is_closing = true;
    if (l->has_ws && was_open) {
        b = bytes_of(frame, ws_close(&l->ws, WS_CLOSE_NORMAL, frame));
        if (b.n)
            (void)put_below(l, &b, 1); /* without memory it goes without a word */
    }
    if (l->tls)
        tls_close(l->tls);
}

struct bytes layers_output(struct layers *l)
{
    if (l->tls)
        return tls_output(l->tls);
    if (l->lent.start == l->lent.end && l->next.end > 0) {
        free(l->lent.p);
        l->lent = l->next;
        l->next = (struct flow){0};
    }
    return bytes_of(l->lent.p + l->lent.start, l->lent.end - l->lent.start);
}

void layers_sent(struct layers *l, uint32_t n)
{
    if (l->tls) {
        tls_output_sent(l->tls, n);
        return;
    }
    CHECK(n <= l->lent.end - l->lent.start);
    l->lent.start += n;
    if (l->lent.start == l->lent.end) {
        free(l->lent.p);
        l->lent = (struct flow){0};
    }
}

uint32_t layers_waiting(const struct layers *l)
{
    if (l->tls)
        return tls_output_count(l->tls);
    return l->lent.end - l->lent.start + l->next.end;
}

const char *layers_error(const struct layers *l)
{
    return l->error;
}

bool layers_failed_handshake(const struct layers *l)
{
    return l->tls && tls_failed_handshake(l->tls);
}

/* ---- who it is ---- */

bool layers_take_peer(struct layers *l, struct layers_peer *peer)
{
    if (!l->proxy || l->proxy->versions || !l->proxy->has_peer)
        return false;
    l->proxy->has_peer = false;
    *peer = l->proxy->peer;
    return true;
}

const char *layers_common_name(const struct layers *l)
{
    if (l->tls)
        return tls_peer_common_name(l->tls);
    return l->proxy && l->proxy->common_name[0] ? l->proxy->common_name : NULL;
}

const char *layers_identity(const struct layers *l, bool subject)
{
    if (subject)
        return l->tls ? tls_peer_subject(l->tls) : NULL;
    if (l->tls && tls_psk_identity(l->tls))
        return tls_psk_identity(l->tls);
    return layers_common_name(l);
}
