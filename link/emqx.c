/* link/emqx.c -- EMQX cluster link payloads.
 *
 * Control payloads are maps with small integers and `$op` as keys. Which keys matter depends on
 * `$op`, which may come last, so the first walk only notes where each value stands and the second
 * step reads those that the operation needs. Messages are a tuple of ten, read in order.
 */
#include "link/emqx.h"

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"

/* --------------------------------------------------------------------- topics, client ids --- */

static const char *const topic_heads[EMQX_TOPIC_COUNT] = {
    [EMQX_TOPIC_ROUTE] = "$LINK/cluster/route/",
    [EMQX_TOPIC_MSG] = "$LINK/cluster/msg/",
    [EMQX_TOPIC_RESP] = "$LINK/cluster/resp/",
    [EMQX_TOPIC_NATIVE] = "$LINK/cluster/native/",
};

enum emqx_topic emqx_topic_parse(struct bytes topic, struct bytes *cluster, struct bytes *actor)
{
    *cluster = *actor = (struct bytes){0};
    if (topic_has_wildcard(topic))
        return EMQX_TOPIC_NONE;
    for (int k = EMQX_TOPIC_NONE + 1; k < EMQX_TOPIC_COUNT; k++) {
        struct bytes head = bytes_str(topic_heads[k]);
        struct bytes rest;
        const uint8_t *slash;

        if (topic.n <= head.n || memcmp(topic.p, head.p, head.n) != 0)
            continue;
        rest = bytes_of(topic.p + head.n, topic.n - head.n);
        slash = memchr(rest.p, '/', rest.n);
        if (slash == rest.p || (k == EMQX_TOPIC_RESP) != (slash != NULL))
            return EMQX_TOPIC_NONE;
        *cluster = rest;
        if (slash) {
            cluster->n = (uint32_t)(slash - rest.p);
            *actor = bytes_of(slash + 1, rest.n - cluster->n - 1);
            if (actor->n == 0)
                return EMQX_TOPIC_NONE;
        }
        return (enum emqx_topic)k;
    }
    return EMQX_TOPIC_NONE;
}

/* Writes parts one after the other, or nothing when they do not fit. */
static enum err put_parts(const struct bytes *parts, uint32_t count, uint8_t *to, uint32_t room,
                          uint32_t *size)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < count; i++)
        all += parts[i].n;
    *size = (uint32_t)all;
    if (all > room)
        return ERR_FULL;
    for (uint32_t i = 0; i < count; i++)
        to = bytes_put(to, parts[i]);
    return OK;
}

enum err emqx_topic_put(enum emqx_topic kind, struct bytes cluster, struct bytes actor, uint8_t *to,
                        uint32_t room, uint32_t *size)
{
    CHECK(kind > EMQX_TOPIC_NONE && kind < EMQX_TOPIC_COUNT);
    struct bytes parts[] = {bytes_str(topic_heads[kind]), cluster, BYTES_LIT("/"), actor};

    return put_parts(parts, kind == EMQX_TOPIC_RESP ? 4 : 2, to, room, size);
}

void emqx_suffix(uint64_t hash, uint8_t suffix[EMQX_SUFFIX_BYTES])
{
    for (uint32_t i = 0; i < EMQX_SUFFIX_BYTES; i++)
        suffix[i] = (uint8_t) "0123456789abcdef"[(hash >> (60 - 4 * i)) & 15];
}

enum err emqx_client_id_put(struct bytes prefix, struct bytes suffix, uint32_t number, uint8_t *to,
                            uint32_t room, uint32_t *size)
{
    uint8_t digits[10];
    uint32_t at = sizeof(digits);
    struct bytes kind = number ? BYTES_LIT(":msg:") : BYTES_LIT(":routesync:");

    for (uint32_t n = number; n > 0; n /= 10)
        digits[--at] = (uint8_t)('0' + n % 10);
    struct bytes parts[] = {prefix, kind, suffix, BYTES_LIT(":"),
                            bytes_of(digits + at, sizeof(digits) - at)};
    return put_parts(parts, number ? 5 : 3, to, room, size);
}

/* ----------------------------------------------------------------------- control, decoding --- */

enum {
    KEY_ACTOR = 10,
    KEY_INCARNATION = 11,
    KEY_OPS = 12,
    KEY_TARGET = 13,
    KEY_VERSION = 14,
    KEY_RESULT = 15,
    KEY_NEED_BOOTSTRAP = 16,
    KEY_CAPABILITY = 100,
    OP_DELETE = 100, /* first of a delete op's three elements */
};

enum field {
    FIELD_OP,
    FIELD_ACTOR,
    FIELD_INCARNATION,
    FIELD_OPS,
    FIELD_TARGET,
    FIELD_VERSION,
    FIELD_RESULT,
    FIELD_NEED_BOOTSTRAP,
    FIELD_CAPABILITY,
    FIELD_COUNT
};

/* All but `$op`, which is an atom. */
static const uint8_t field_keys[FIELD_COUNT] = {
    [FIELD_ACTOR] = KEY_ACTOR,
    [FIELD_INCARNATION] = KEY_INCARNATION,
    [FIELD_OPS] = KEY_OPS,
    [FIELD_TARGET] = KEY_TARGET,
    [FIELD_VERSION] = KEY_VERSION,
    [FIELD_RESULT] = KEY_RESULT,
    [FIELD_NEED_BOOTSTRAP] = KEY_NEED_BOOTSTRAP,
    [FIELD_CAPABILITY] = KEY_CAPABILITY,
};

/* Where the values of the keys we know stand; n is 0 for a key that was not there. */
struct fields {
    struct bytes at[FIELD_COUNT];
};

static const char *const op_names[EMQX_OP_COUNT] = {
    [EMQX_ACTOR_INIT] = "actor_init",
    [EMQX_ACTOR_INIT_ACK] = "actor_init_ack",
    [EMQX_ROUTE] = "route",
    [EMQX_HEARTBEAT] = "heartbeat",
};

/* Which field a key is of; FIELD_COUNT: none that we know. */
static enum field field_of(const struct etf_term *key)
{
    int i = FIELD_ACTOR;

    if (etf_is_atom(key, "$op"))
        return FIELD_OP;
    if (key->kind != ETF_INTEGER || key->is_negative || key->is_wide)
        return FIELD_COUNT;
    while (i < FIELD_COUNT && field_keys[i] != key->number)
        i++;
    return (enum field)i;
}

/* Reads a key, passing over its children if it is a container itself, and views its value. */
static enum err read_pair(struct etf_reader *r, struct etf_term *key, struct bytes *value)
{
    struct etf_reader from = *r;

    if (etf_read(r, key) != OK)
        return ERR_PEER;
    *r = from;
    return etf_skip(r) == OK ? etf_view(r, value) : ERR_PEER;
}

static enum err find_fields(struct etf_reader *r, struct fields *f)
{
    uint32_t pairs;

    *f = (struct fields){0};
    if (etf_read_map(r, &pairs) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key;
        struct bytes value;
        enum field field;

        if (read_pair(r, &key, &value) != OK)
            return ERR_PEER;
        field = field_of(&key);
        if (field == FIELD_COUNT)
            continue;
        if (f->at[field].n > 0) /* twice */
            return ERR_PEER;
        f->at[field] = value;
    }
    return OK;
}

static enum err binary_of(struct bytes field, struct bytes *out)
{
    struct etf_reader r = etf_reader_of(field);

    return etf_read_binary(&r, out);
}

static enum err uint_of(struct bytes field, uint64_t *out)
{
    struct etf_reader r = etf_reader_of(field);

    return etf_read_uint(&r, UINT64_MAX, out);
}

/* A version that is missing is the first one. */
static enum err version_of(struct bytes field, uint64_t *out)
{
    *out = EMQX_PROTOCOL_VERSION;
    return field.n ? uint_of(field, out) : OK;
}

/* The version of the native dialect. What it should be is for peers of ours to know; anything else
 * that stands at that key is passed over like an unknown key, as EMQX does. */
static uint32_t native_of(struct bytes field)
{
    struct etf_reader r = etf_reader_of(field);
    uint32_t pairs;
    uint64_t version;

    if (etf_read_map(&r, &pairs) != OK)
        return 0;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key;
        struct bytes value;

        if (read_pair(&r, &key, &value) != OK)
            return 0;
        if (key.kind != ETF_BINARY || !bytes_eq(key.bytes, BYTES_LIT("native")))
            continue;
        r = etf_reader_of(value);
        return etf_read_uint(&r, UINT32_MAX, &version) == OK ? (uint32_t)version : 0;
    }
    return 0;
}

/* One op: {filter, id} or {100, filter, id}. */
static enum err read_op(struct etf_reader *r, struct emqx_route_op *op)
{
    uint32_t count;
    uint64_t tag;

    if (etf_read_tuple(r, &count) != OK || (count != 2 && count != 3))
        return ERR_PEER;
    op->is_add = count == 2;
    if (!op->is_add && (etf_read_uint(r, UINT64_MAX, &tag) != OK || tag != OP_DELETE))
        return ERR_PEER;
    if (etf_read_binary(r, &op->filter) != OK)
        return ERR_PEER;
    return etf_read_binary(r, &op->id);
}

static enum err decode_ops(struct emqx_control *c)
{
    struct etf_reader r = etf_reader_of(c->ops);
    struct emqx_route_op op;
    uint32_t count;
    bool has_tail;

    if (etf_read_list(&r, &count, &has_tail) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < count; i++) {
        if (read_op(&r, &op) != OK)
            return ERR_PEER;
        c->add_count += op.is_add;
        c->delete_count += !op.is_add;
    }
    return has_tail ? etf_read_nil(&r) : OK;
}

/* `ok`, or {error, reason}. A reason that is no text is refused without one. */
static enum err decode_result(struct bytes field, struct emqx_control *c)
{
    struct etf_reader r = etf_reader_of(field);
    struct etf_term t;

    if (etf_read(&r, &t) != OK)
        return ERR_PEER;
    c->is_accepted = etf_is_atom(&t, "ok");
    if (c->is_accepted)
        return OK;
    if (t.kind != ETF_TUPLE || t.count != 2 || etf_read(&r, &t) != OK || !etf_is_atom(&t, "error"))
        return ERR_PEER;
    if (etf_read(&r, &t) != OK)
        return ERR_PEER;
    c->reason = t.bytes;
    return OK;
}

static enum err decode_need(struct bytes field, enum emqx_need *need)
{
    struct etf_reader r = etf_reader_of(field);
    struct etf_term t;

    if (etf_read(&r, &t) != OK || t.kind != ETF_ATOM)
        return ERR_PEER;
    *need = etf_is_atom(&t, "true")    ? EMQX_NEED_TRUE
            : etf_is_atom(&t, "false") ? EMQX_NEED_FALSE
                                       : EMQX_NEED_UNDEFINED;
    return OK;
}

static enum err decode_by_op(const struct fields *f, struct emqx_control *c)
{
    switch (c->op) {
    case EMQX_ACTOR_INIT:
        if (binary_of(f->at[FIELD_TARGET], &c->target) != OK ||
            version_of(f->at[FIELD_VERSION], &c->version) != OK)
            return ERR_PEER;
        c->native = native_of(f->at[FIELD_CAPABILITY]);
        return uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
    case EMQX_ACTOR_INIT_ACK:
        if (decode_result(f->at[FIELD_RESULT], c) != OK ||
            version_of(f->at[FIELD_VERSION], &c->version) != OK)
            return ERR_PEER;
        c->native = native_of(f->at[FIELD_CAPABILITY]);
        return decode_need(f->at[FIELD_NEED_BOOTSTRAP], &c->need_bootstrap);
    case EMQX_ROUTE:
        c->ops = f->at[FIELD_OPS];
        if (decode_ops(c) != OK)
            return ERR_PEER;
        return uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
    case EMQX_HEARTBEAT:
        return uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
    default:
        return ERR_PEER;
    }
}

enum err emqx_control_decode(struct bytes payload, struct emqx_control *out)
{
    struct etf_reader r;
    struct fields f;
    struct bytes name;

    *out = (struct emqx_control){.op = EMQX_OP_COUNT};
    if (etf_open(&r, payload) != OK || find_fields(&r, &f) != OK)
        return ERR_PEER;
    if (binary_of(f.at[FIELD_OP], &name) != OK || binary_of(f.at[FIELD_ACTOR], &out->actor) != OK)
        return ERR_PEER;
    for (int op = 0; op < EMQX_OP_COUNT; op++)
        if (bytes_eq(name, bytes_str(op_names[op])))
            out->op = (enum emqx_op)op;
    return decode_by_op(&f, out);
}

struct emqx_ops emqx_ops_begin(const struct emqx_control *route)
{
    struct emqx_ops ops = {.reader = etf_reader_of(route->ops)};
    bool has_tail;

    CHECK(route->op == EMQX_ROUTE);
    CHECK(etf_read_list(&ops.reader, &ops.left, &has_tail) == OK); /* emqx_control_decode saw it */
    return ops;
}

bool emqx_ops_next(struct emqx_ops *ops, struct emqx_route_op *op)
{
    if (ops->left == 0)
        return false;
    ops->left--;
    CHECK(read_op(&ops->reader, op) == OK);
    return true;
}

/* ----------------------------------------------------------------------- control, encoding --- */

/* The last pair of every control map, as EMQX orders them. */
static void put_op_name(struct etf_writer *w, enum emqx_op op)
{
    etf_put_atom(w, ETF_A_OP);
    etf_put_binary(w, bytes_str(op_names[op]));
}

static void put_actor(struct etf_writer *w, uint32_t pairs, struct bytes actor)
{
    etf_put_version(w);
    etf_put_map(w, pairs);
    etf_put_uint(w, KEY_ACTOR);
    etf_put_binary(w, actor);
}

static void put_incarnation(struct etf_writer *w, uint64_t incarnation)
{
    etf_put_uint(w, KEY_INCARNATION);
    etf_put_uint(w, incarnation);
}

static void put_capability(struct etf_writer *w, const struct emqx_control *c)
{
    if (!c->native)
        return;
    etf_put_uint(w, KEY_CAPABILITY);
    etf_put_map(w, 1);
    etf_put_binary(w, BYTES_LIT("native"));
    etf_put_uint(w, c->native);
}

static void put_actor_init(struct etf_writer *w, const struct emqx_control *c)
{
    put_actor(w, c->native ? 6 : 5, c->actor);
    put_incarnation(w, c->incarnation);
    etf_put_uint(w, KEY_TARGET);
    etf_put_binary(w, c->target);
    etf_put_uint(w, KEY_VERSION);
    etf_put_uint(w, c->version);
    put_capability(w, c);
    put_op_name(w, c->op);
}

static void put_actor_init_ack(struct etf_writer *w, const struct emqx_control *c)
{
    put_actor(w, c->native ? 6 : 5, c->actor);
    etf_put_uint(w, KEY_VERSION);
    etf_put_uint(w, c->version);
    etf_put_uint(w, KEY_RESULT);
    if (c->is_accepted) {
        etf_put_atom(w, ETF_A_OK);
    } else {
        etf_put_tuple(w, 2);
        etf_put_atom(w, ETF_A_ERROR);
        etf_put_binary(w, c->reason);
    }
    etf_put_uint(w, KEY_NEED_BOOTSTRAP);
    if (c->need_bootstrap == EMQX_NEED_UNDEFINED)
        etf_put_atom(w, ETF_A_UNDEFINED);
    else
        etf_put_bool(w, c->need_bootstrap == EMQX_NEED_TRUE);
    put_capability(w, c);
    put_op_name(w, c->op);
}

enum err emqx_control_encode(const struct emqx_control *c, uint8_t *to, uint32_t room,
                             uint32_t *size)
{
    struct etf_writer w = etf_writer_of(to, room);

    switch (c->op) {
    case EMQX_ACTOR_INIT:
        put_actor_init(&w, c);
        break;
    case EMQX_ACTOR_INIT_ACK:
        put_actor_init_ack(&w, c);
        break;
    default:
        CHECK(c->op == EMQX_HEARTBEAT);
        put_actor(&w, 3, c->actor);
        put_incarnation(&w, c->incarnation);
        put_op_name(&w, c->op);
    }
    CHECK(w.size <= UINT32_MAX);
    *size = (uint32_t)w.size;
    return etf_fits(&w) ? OK : ERR_FULL;
}

/* What follows the last op: the list's end, then `$op` => "route". */
static void put_batch_end(struct etf_writer *w)
{
    etf_put_nil(w);
    put_op_name(w, EMQX_ROUTE);
}

static bool fits_with_end(const struct etf_writer *w)
{
    struct etf_writer end = etf_writer_of(NULL, 0);

    put_batch_end(&end);
    return w->size + end.size <= w->room;
}

enum err emqx_batch_begin(struct emqx_batch *b, struct bytes actor, uint64_t incarnation,
                          uint32_t count_max, uint8_t *to, uint32_t room)
{
    *b = (struct emqx_batch){.w = etf_writer_of(to, room), .count_max = count_max};
    put_actor(&b->w, 4, actor);
    put_incarnation(&b->w, incarnation);
    etf_put_uint(&b->w, KEY_OPS);
    b->count_at = b->w.size;
    return fits_with_end(&b->w) ? OK : ERR_FULL;
}

enum err emqx_batch_add(struct emqx_batch *b, const struct emqx_route_op *op)
{
    struct etf_writer w = b->w;

    if (b->count == b->count_max)
        return ERR_FULL;
    if (b->count == 0)
        etf_put_list(&w, 1); /* the true length is written at the end */
    etf_put_tuple(&w, op->is_add ? 2 : 3);
    if (!op->is_add)
        etf_put_uint(&w, OP_DELETE);
    etf_put_binary(&w, op->filter);
    etf_put_binary(&w, op->id);
    if (!fits_with_end(&w))
        return ERR_FULL;
    b->w = w;
    b->count++;
    return OK;
}

uint32_t emqx_batch_end(struct emqx_batch *b)
{
    put_batch_end(&b->w);
    CHECK(etf_fits(&b->w));
    if (b->count > 0) {
        struct etf_writer length = etf_writer_of(b->w.to + b->count_at, b->w.room - b->count_at);

        etf_put_list(&length, b->count);
    }
    return (uint32_t)b->w.size;
}

/* ---------------------------------------------------------------------- messages, decoding --- */

static enum err decode_from(struct etf_reader *r, struct emqx_message *m)
{
    struct etf_term t;

    if (etf_read(r, &t) != OK || (t.kind != ETF_BINARY && t.kind != ETF_ATOM))
        return ERR_PEER;
    m->from = t.bytes;
    m->from_is_atom = t.kind == ETF_ATOM;
    return OK;
}

static enum err decode_flags(struct etf_reader *r, struct emqx_message *m)
{
    uint32_t pairs;

    if (etf_read_map(r, &pairs) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key, value;
        struct bytes all;
        struct etf_reader v;
        bool is_set;

        if (read_pair(r, &key, &all) != OK)
            return ERR_PEER;
        v = etf_reader_of(all);
        is_set = etf_read(&v, &value) == OK && etf_is_atom(&value, "true");
        if (etf_is_atom(&key, "dup"))
            m->dup = is_set;
        else if (etf_is_atom(&key, "retain"))
            m->retain = is_set;
        else if (etf_is_atom(&key, "sys"))
            m->sys = is_set;
    }
    return OK;
}

/* A tuple of 4 bytes or 8 groups; what is neither leaves no address. */
static void decode_address(struct bytes term, struct emqx_address *a)
{
    struct etf_reader r = etf_reader_of(term);
    struct emqx_address got = {0};
    uint32_t count;
    uint64_t v;

    if (etf_read_tuple(&r, &count) != OK || (count != 4 && count != 8))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (etf_read_uint(&r, count == 4 ? UINT8_MAX : UINT16_MAX, &v) != OK)
            return;
        if (count == 8)
            got.bytes[got.size++] = (uint8_t)(v >> 8);
        got.bytes[got.size++] = (uint8_t)v;
    }
    *a = got;
}

static void decode_peername(struct bytes term, struct emqx_message *m)
{
    struct etf_reader r = etf_reader_of(term);
    struct bytes host;
    uint32_t count;
    uint64_t port;

    if (etf_read_tuple(&r, &count) != OK || count != 2 || etf_view(&r, &host) != OK ||
        etf_read_uint(&r, UINT16_MAX, &port) != OK)
        return;
    decode_address(host, &m->peername);
    if (m->peername.size > 0)
        m->peerport = (uint16_t)port;
}

/* A text that MQTT can carry. */
static bool is_text(struct bytes b)
{
    return b.n <= UINT16_MAX && utf8_valid(b);
}

/* Reads the next {name, value} of a User-Property list. */
static enum err read_user_property(struct etf_reader *r, struct bytes *name, struct bytes *value)
{
    uint32_t count;

    if (etf_read_tuple(r, &count) != OK || count != 2 || etf_read_binary(r, name) != OK)
        return ERR_PEER;
    return etf_read_binary(r, value);
}

/* The properties of a record, where their values stand. */
struct record_props {
    bool has_format, has_expiry;
    bool is_unfit; /* one of them is nothing that MQTT can carry */
    uint8_t format;
    uint32_t expiry;
    struct bytes content_type, response_topic, correlation; /* p NULL: not there */
    struct bytes users;                                     /* the list; n 0: not there */
};

static enum err decode_users(struct bytes term, struct record_props *p)
{
    struct etf_reader r = etf_reader_of(term);
    struct bytes name, value;
    uint32_t count;
    bool has_tail;

    if (etf_read_list(&r, &count, &has_tail) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < count; i++) {
        if (read_user_property(&r, &name, &value) != OK)
            return ERR_PEER;
        p->is_unfit |= !is_text(name) || !is_text(value);
    }
    return has_tail ? etf_read_nil(&r) : OK;
}

static enum err decode_number(struct bytes term, uint32_t max, uint32_t *out, bool *is_unfit)
{
    uint64_t v;

    if (uint_of(term, &v) != OK)
        return ERR_PEER;
    *is_unfit |= v > max;
    *out = (uint32_t)v;
    return OK;
}

/* Where the value of a property that is one binary belongs; NULL: another one. */
static struct bytes *binary_place(const struct etf_term *key, struct record_props *p)
{
    if (etf_is_atom(key, etf_atom_name(ETF_A_CONTENT_TYPE)))
        return &p->content_type;
    if (etf_is_atom(key, etf_atom_name(ETF_A_RESPONSE_TOPIC)))
        return &p->response_topic;
    if (etf_is_atom(key, etf_atom_name(ETF_A_CORRELATION_DATA)))
        return &p->correlation;
    return NULL;
}

static enum err decode_property(const struct etf_term *key, struct bytes term,
                                struct record_props *p)
{
    struct bytes *into = binary_place(key, p);
    uint32_t format;

    if (etf_is_atom(key, etf_atom_name(ETF_A_PAYLOAD_FORMAT))) {
        p->has_format = true;
        if (decode_number(term, 1, &format, &p->is_unfit) != OK)
            return ERR_PEER;
        p->format = (uint8_t)format;
        return OK;
    }
    if (etf_is_atom(key, etf_atom_name(ETF_A_MESSAGE_EXPIRY))) {
        p->has_expiry = true;
        return decode_number(term, UINT32_MAX, &p->expiry, &p->is_unfit);
    }
    if (etf_is_atom(key, etf_atom_name(ETF_A_USER_PROPERTY))) {
        p->users = term;
        return decode_users(term, p);
    }
    if (!into)
        return OK; /* a topic alias left over, a will's delay: nothing that travels */
    if (binary_of(term, into) != OK)
        return ERR_PEER;
    if (into == &p->response_topic) /* [MQTT-3.3.2-14] */
        p->is_unfit |= !topic_name_valid(*into, UINT32_MAX);
    else
        p->is_unfit |= into->n > UINT16_MAX || (into == &p->content_type && !utf8_valid(*into));
    return OK;
}

static enum err decode_properties(struct bytes map, struct record_props *p)
{
    struct etf_reader r = etf_reader_of(map);
    uint32_t pairs;

    *p = (struct record_props){0};
    if (etf_read_map(&r, &pairs) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key;
        struct bytes value;

        if (read_pair(&r, &key, &value) != OK)
            return ERR_PEER;
        if (decode_property(&key, value, p) != OK)
            return ERR_PEER;
    }
    return OK;
}

/* Headers describe the publisher; one that is not as expected is as good as absent. Only the
 * properties go on to subscribers and must be right. */
static enum err decode_header(const struct etf_term *key, struct bytes term, struct emqx_message *m)
{
    struct etf_reader r = etf_reader_of(term);
    struct etf_term t;

    if (etf_read(&r, &t) != OK)
        return ERR_PEER;
    if (etf_is_atom(key, "properties")) {
        struct record_props p;

        if (decode_properties(term, &p) != OK)
            return ERR_PEER;
        m->properties = term;
        m->is_unfit |= p.is_unfit;
        m->has_expiry = p.has_expiry;
        m->message_expiry = p.expiry;
    } else if (etf_is_atom(key, "username") && t.kind == ETF_BINARY) {
        m->username = t.bytes;
    } else if (etf_is_atom(key, "protocol") && t.kind == ETF_ATOM) {
        m->protocol = t.bytes;
    } else if (etf_is_atom(key, "proto_ver") && t.kind == ETF_INTEGER && !t.is_negative &&
               !t.is_wide && t.number <= 5) {
        m->proto_ver = (uint8_t)t.number;
    } else if (etf_is_atom(key, "peerhost")) {
        decode_address(term, &m->peerhost);
    } else if (etf_is_atom(key, "peername")) {
        decode_peername(term, m);
    }
    return OK;
}

static enum err decode_headers(struct etf_reader *r, struct emqx_message *m)
{
    uint32_t pairs;

    if (etf_read_map(r, &pairs) != OK)
        return ERR_PEER;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key;
        struct bytes value;

        if (read_pair(r, &key, &value) != OK || decode_header(&key, value, m) != OK)
            return ERR_PEER;
    }
    return OK;
}

static enum err decode_payload(struct etf_reader *r, struct emqx_message *m)
{
    struct etf_term t;

    if (etf_read(r, &t) != OK)
        return ERR_PEER;
    m->payload = t.bytes;
    return t.kind == ETF_BINARY || t.kind == ETF_STRING || t.kind == ETF_NIL ? OK : ERR_PEER;
}

static enum err decode_record(struct bytes payload, struct emqx_message *out)
{
    struct etf_reader r;
    struct etf_term t;
    uint32_t count;
    uint64_t qos;

    *out = (struct emqx_message){0};
    if (etf_open(&r, payload) != OK || etf_read_tuple(&r, &count) != OK || count != 10)
        return ERR_PEER;
    if (etf_read(&r, &t) != OK || !etf_is_atom(&t, "message"))
        return ERR_PEER;
    if (etf_read_binary(&r, &out->id) != OK || etf_read_uint(&r, 2, &qos) != OK)
        return ERR_PEER;
    out->qos = (uint8_t)qos;
    if (decode_from(&r, out) != OK || decode_flags(&r, out) != OK || decode_headers(&r, out) != OK)
        return ERR_PEER;
    if (etf_read_binary(&r, &out->topic) != OK)
        return ERR_PEER;
    out->is_unfit |= !topic_name_valid(out->topic, TOPIC_LEVELS_MAX);
    if (decode_payload(&r, out) != OK || etf_read_uint(&r, UINT64_MAX, &out->timestamp_ms) != OK)
        return ERR_PEER;
    if (etf_read_map(&r, &count) != OK) /* extra: whatever it holds */
        return ERR_PEER;
    for (uint32_t i = 0; i < count * 2; i++)
        if (etf_skip(&r) != OK)
            return ERR_PEER;
    return OK;
}

enum err emqx_message_decode(struct bytes payload, struct emqx_message *out)
{
    if (decode_record(payload, out) != OK) {
        out->is_unfit = false;
        return ERR_PEER;
    }
    return out->is_unfit ? ERR_PEER : OK;
}

/* ------------------------------------------------------------------------------ properties --- */

/* Property identifiers of MQTT 5 that travel with a message [MQTT5 2.2.2.2]. */
enum {
    ID_PAYLOAD_FORMAT = 0x01,
    ID_CONTENT_TYPE = 0x03,
    ID_RESPONSE_TOPIC = 0x08,
    ID_CORRELATION_DATA = 0x09,
    ID_USER_PROPERTY = 0x26,
};

static uint8_t *put_text(uint8_t *to, struct bytes text)
{
    return bytes_put(put_be16(to, (uint16_t)text.n), text);
}

static uint8_t *put_optional(uint8_t *to, uint8_t id, struct bytes value)
{
    if (!value.p)
        return to;
    *to++ = id;
    return put_text(to, value);
}

/* Every property takes fewer bytes in MQTT than in its map: 3 bytes of frame instead of at least 5
 * and a key; a user property 5 instead of 12. */
uint32_t emqx_props_put(const struct emqx_message *message, uint8_t *to)
{
    uint8_t *at = to;
    struct record_props p;
    struct etf_reader r;
    uint32_t count;
    bool has_tail;

    if (message->properties.n == 0)
        return 0;
    CHECK(decode_properties(message->properties, &p) == OK); /* emqx_message_decode saw it */
    CHECK(!p.is_unfit);
    if (p.has_format) {
        *at++ = ID_PAYLOAD_FORMAT;
        *at++ = p.format;
    }
    at = put_optional(at, ID_CONTENT_TYPE, p.content_type);
    at = put_optional(at, ID_RESPONSE_TOPIC, p.response_topic);
    at = put_optional(at, ID_CORRELATION_DATA, p.correlation);
    r = etf_reader_of(p.users);
    if (p.users.n > 0 && etf_read_list(&r, &count, &has_tail) == OK) {
        struct bytes name, value;

        while (count-- > 0 && read_user_property(&r, &name, &value) == OK) {
            *at++ = ID_USER_PROPERTY;
            at = put_text(put_text(at, name), value);
        }
    }
    CHECK((uint64_t)(at - to) <= message->properties.n);
    return (uint32_t)(at - to);
}

/* What of an MQTT 5 block goes into a record. Names and values stay where they are. */
struct block_props {
    uint32_t pairs; /* of the map, user properties counting once */
    uint32_t users;
    bool has_format;
    uint8_t format;
    struct bytes content_type, response_topic, correlation; /* p NULL: not there */
};

static bool take_text(struct bytes *rest, struct bytes *text)
{
    uint32_t n;

    if (rest->n < 2)
        return false;
    n = get_be16(rest->p);
    if (rest->n - 2 < n)
        return false;
    *text = bytes_of(rest->p + 2, n);
    *rest = bytes_of(rest->p + 2 + n, rest->n - 2 - n);
    return true;
}

/* Takes one property off the block. False: the end, or (*rest is not empty) one that does not
 * travel. */
static bool take_property(struct bytes *rest, uint8_t *id, struct bytes *name, struct bytes *value)
{
    struct bytes r;

    *name = (struct bytes){0};
    if (rest->n < 2)
        return false;
    *id = rest->p[0];
    r = bytes_of(rest->p + 1, rest->n - 1);
    switch (*id) {
    case ID_PAYLOAD_FORMAT:
        *value = bytes_of(r.p, 1);
        r = bytes_of(r.p + 1, r.n - 1);
        break;
    case ID_USER_PROPERTY:
        if (!take_text(&r, name) || !take_text(&r, value))
            return false;
        break;
    case ID_CONTENT_TYPE:
    case ID_RESPONSE_TOPIC:
    case ID_CORRELATION_DATA:
        if (!take_text(&r, value))
            return false;
        break;
    default:
        return false;
    }
    *rest = r;
    return true;
}

static enum err scan_block(struct bytes block, struct block_props *p)
{
    struct bytes name, value;
    uint8_t id;

    *p = (struct block_props){0};
    while (take_property(&block, &id, &name, &value)) {
        if (id == ID_PAYLOAD_FORMAT) {
            p->has_format = true;
            p->format = value.p[0];
        } else if (id == ID_CONTENT_TYPE) {
            p->content_type = value;
        } else if (id == ID_RESPONSE_TOPIC) {
            p->response_topic = value;
        } else if (id == ID_CORRELATION_DATA) {
            p->correlation = value;
        } else {
            p->users++;
        }
    }
    p->pairs = (uint32_t)p->has_format + (p->content_type.p != NULL) +
               (p->response_topic.p != NULL) + (p->correlation.p != NULL) + (p->users > 0);
    return block.n == 0 ? OK : ERR_PEER;
}

static void put_users(struct etf_writer *w, struct bytes block, uint32_t users)
{
    struct bytes name, value;
    uint8_t id;

    etf_put_atom(w, ETF_A_USER_PROPERTY);
    etf_put_list(w, users);
    while (take_property(&block, &id, &name, &value)) {
        if (id != ID_USER_PROPERTY)
            continue;
        etf_put_tuple(w, 2);
        etf_put_binary(w, name);
        etf_put_binary(w, value);
    }
    etf_put_nil(w);
}

static void put_text_property(struct etf_writer *w, enum etf_atom key, struct bytes value)
{
    if (!value.p)
        return;
    etf_put_atom(w, key);
    etf_put_binary(w, value);
}

static void put_properties(struct etf_writer *w, const struct emqx_message *m,
                           const struct block_props *p)
{
    etf_put_atom(w, ETF_A_PROPERTIES);
    etf_put_map(w, p->pairs + m->has_expiry);
    put_text_property(w, ETF_A_CONTENT_TYPE, p->content_type);
    put_text_property(w, ETF_A_CORRELATION_DATA, p->correlation);
    if (m->has_expiry) {
        etf_put_atom(w, ETF_A_MESSAGE_EXPIRY);
        etf_put_uint(w, m->message_expiry);
    }
    if (p->has_format) {
        etf_put_atom(w, ETF_A_PAYLOAD_FORMAT);
        etf_put_uint(w, p->format);
    }
    put_text_property(w, ETF_A_RESPONSE_TOPIC, p->response_topic);
    if (p->users > 0)
        put_users(w, m->properties, p->users);
}

/* ---------------------------------------------------------------------- messages, encoding --- */

static void put_address(struct etf_writer *w, const struct emqx_address *a)
{
    CHECK(a->size == 4 || a->size == 16);
    etf_put_tuple(w, a->size == 4 ? 4 : 8);
    for (uint32_t i = 0; i < a->size; i += a->size == 4 ? 1 : 2)
        etf_put_uint(w, a->size == 4 ? a->bytes[i] : get_be16(a->bytes + i));
}

static void put_headers(struct etf_writer *w, const struct emqx_message *m,
                        const struct block_props *p)
{
    bool has_properties = p->pairs > 0 || m->has_expiry;
    uint32_t pairs = (m->proto_ver ? 2u : 0u) + (m->username.p != NULL) + (m->peerhost.size > 0) +
                     (m->peername.size > 0) + has_properties;

    etf_put_map(w, pairs);
    if (m->proto_ver) {
        etf_put_atom(w, ETF_A_PROTO_VER);
        etf_put_uint(w, m->proto_ver);
        etf_put_atom(w, ETF_A_PROTOCOL);
        etf_put_atom(w, ETF_A_MQTT);
    }
    if (m->username.p) {
        etf_put_atom(w, ETF_A_USERNAME);
        etf_put_binary(w, m->username);
    }
    if (m->peerhost.size > 0) {
        etf_put_atom(w, ETF_A_PEERHOST);
        put_address(w, &m->peerhost);
    }
    if (m->peername.size > 0) {
        etf_put_atom(w, ETF_A_PEERNAME);
        etf_put_tuple(w, 2);
        put_address(w, &m->peername);
        etf_put_uint(w, m->peerport);
    }
    if (has_properties)
        put_properties(w, m, p);
}

/* Only flags that are set; `dup` was the business of the publisher's connection. */
static void put_flags(struct etf_writer *w, const struct emqx_message *m)
{
    etf_put_map(w, m->retain);
    if (m->retain) {
        etf_put_atom(w, ETF_A_RETAIN);
        etf_put_bool(w, true);
    }
}

enum err emqx_message_encode(const struct emqx_message *message, uint8_t *to, uint32_t room,
                             uint32_t *head, uint8_t behind[EMQX_TAIL_BYTES], uint32_t *tail)
{
    struct etf_writer w = etf_writer_of(to, room);
    struct etf_writer end = etf_writer_of(behind, EMQX_TAIL_BYTES);
    struct block_props p;

    CHECK(message->qos <= 2);
    if (scan_block(message->properties, &p) != OK)
        return ERR_PEER;
    etf_put_version(&w);
    etf_put_tuple(&w, 10);
    etf_put_atom(&w, ETF_A_MESSAGE);
    etf_put_binary(&w, message->id);
    etf_put_uint(&w, message->qos);
    if (message->from.p)
        etf_put_binary(&w, message->from);
    else
        etf_put_atom(&w, ETF_A_UNDEFINED);
    put_flags(&w, message);
    put_headers(&w, message, &p);
    etf_put_binary(&w, message->topic);
    etf_put_binary_head(&w, message->payload.n);
    etf_put_uint(&end, message->timestamp_ms);
    etf_put_map(&end, 0); /* extra */
    CHECK(etf_fits(&end) && w.size <= UINT32_MAX);
    *head = (uint32_t)w.size;
    *tail = (uint32_t)end.size;
    return etf_fits(&w) ? OK : ERR_FULL;
}
