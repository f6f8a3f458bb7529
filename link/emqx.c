/* link/emqx.c -- the EMQX dialect: topics, client ids and control payloads.
 *
 * Control payloads are maps with small integers and `$op` as keys. Which keys matter depends on
 * `$op`, which may come last, so the first walk only notes where each value stands and the second
 * step reads those that the operation needs.
 */
#include "link/emqx.h"

#include "core/base/check.h"
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

        if (etf_read_pair(r, &key, &value) != OK)
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

/* A version that is missing is the first one. */
static enum err version_of(struct bytes field, uint64_t *out)
{
    *out = EMQX_PROTOCOL_VERSION;
    return field.n ? etf_uint_of(field, out) : OK;
}

/* A number of the map in key 100. What it should be is for peers of ours to know; anything else
 * that stands at that key is passed over like an unknown key, as EMQX does. 0: there is none. */
static uint32_t capability_of(struct bytes field, struct bytes name)
{
    struct etf_reader r = etf_reader_of(field);
    uint32_t pairs;
    uint64_t number;

    if (etf_read_map(&r, &pairs) != OK)
        return 0;
    for (uint32_t i = 0; i < pairs; i++) {
        struct etf_term key;
        struct bytes value;

        if (etf_read_pair(&r, &key, &value) != OK)
            return 0;
        if (key.kind != ETF_BINARY || !bytes_eq(key.bytes, name))
            continue;
        r = etf_reader_of(value);
        return etf_read_uint(&r, UINT32_MAX, &number) == OK ? (uint32_t)number : 0;
    }
    return 0;
}

static void read_capabilities(struct bytes field, struct emqx_control *c)
{
    c->native = capability_of(field, BYTES_LIT("native"));
    c->has_groups = c->native && capability_of(field, BYTES_LIT("groups")) == 1;
    c->deflates = c->native && capability_of(field, BYTES_LIT("deflate")) > 0;
    c->transits = c->native && capability_of(field, BYTES_LIT("transit")) == 1;
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
        if (etf_binary_of(f->at[FIELD_TARGET], &c->target) != OK ||
            version_of(f->at[FIELD_VERSION], &c->version) != OK)
            return ERR_PEER;
        read_capabilities(f->at[FIELD_CAPABILITY], c);
        return etf_uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
    case EMQX_ACTOR_INIT_ACK:
        if (decode_result(f->at[FIELD_RESULT], c) != OK ||
            version_of(f->at[FIELD_VERSION], &c->version) != OK)
            return ERR_PEER;
        read_capabilities(f->at[FIELD_CAPABILITY], c);
        return decode_need(f->at[FIELD_NEED_BOOTSTRAP], &c->need_bootstrap);
    case EMQX_ROUTE:
        c->ops = f->at[FIELD_OPS];
        if (decode_ops(c) != OK)
            return ERR_PEER;
        return etf_uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
    case EMQX_HEARTBEAT:
        return etf_uint_of(f->at[FIELD_INCARNATION], &c->incarnation);
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
    if (etf_binary_of(f.at[FIELD_OP], &name) != OK ||
        etf_binary_of(f.at[FIELD_ACTOR], &out->actor) != OK)
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

static void put_ability(struct etf_writer *w, struct bytes name)
{
    etf_put_binary(w, name);
    etf_put_uint(w, 1);
}

static void put_capability(struct etf_writer *w, const struct emqx_control *c)
{
    if (!c->native)
        return;
    etf_put_uint(w, KEY_CAPABILITY);
    etf_put_map(w, 1u + c->has_groups + c->deflates + c->transits);
    etf_put_binary(w, BYTES_LIT("native"));
    etf_put_uint(w, c->native);
    if (c->has_groups)
        put_ability(w, BYTES_LIT("groups"));
    if (c->deflates)
        put_ability(w, BYTES_LIT("deflate"));
    if (c->transits)
        put_ability(w, BYTES_LIT("transit"));
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
