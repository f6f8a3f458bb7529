/* link/emqx_message.c -- the EMQX dialect: forwarded messages.
 *
 * A message is a tuple of ten, read in order; its flags, headers and properties are maps.
 */
#include "link/emqx_message.h"

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "link/etf.h"

/* -------------------------------------------------------------------------------- decoding --- */

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

        if (etf_read_pair(r, &key, &all) != OK)
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

    if (etf_uint_of(term, &v) != OK)
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
    if (etf_binary_of(term, into) != OK)
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

        if (etf_read_pair(&r, &key, &value) != OK)
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

        if (etf_read_pair(r, &key, &value) != OK || decode_header(&key, value, m) != OK)
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

/* -------------------------------------------------------------------------------- encoding --- */

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
