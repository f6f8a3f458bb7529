/* link/etf.h -- Erlang External Term Format: bytes <-> terms, as far as cluster links need it.
 *
 * Reading is pulling: etf_read gives the next term's head; of a container it gives the number of
 * children, which the caller then reads or skips. Nothing is copied, nothing is allocated, nothing
 * recurses: every view points into the bytes that were given and lives as long as they. A count is
 * compared with the bytes that are left before anybody may believe it.
 * Writing goes into a caller's buffer, or only counts when there is none. Atoms come from a closed
 * list, because an EMQX node refuses every payload with an atom it does not know.
 *
 * Threads  any; a reader or writer belongs to whoever made it.
 */
#ifndef LINK_ETF_H
#define LINK_ETF_H

#include "core/base/bytes.h"
#include "core/base/err.h"

#define ETF_VERSION 131u
#define ETF_COMPRESSED 80u

/* Containers within containers that etf_skip follows. Beyond: ERR_PEER. */
#define ETF_DEPTH_MAX 32u
/* Children of one container (a map counts keys and values). Beyond: ERR_PEER. */
#define ETF_CHILDREN_MAX (1u << 22)
/* Bytes of an atom: 255 characters of UTF-8. Beyond: ERR_PEER. */
#define ETF_ATOM_BYTES_MAX 1020u

enum etf_kind {
    ETF_INTEGER,
    ETF_ATOM,
    ETF_BINARY,
    ETF_STRING, /* a list of small integers, written as bytes */
    ETF_TUPLE,
    ETF_NIL,
    ETF_LIST,   /* its children are followed by one tail term */
    ETF_MAP,    /* its children are keys and values in turn */
    ETF_OPAQUE, /* float, bit string, pid, reference: can be passed over, means nothing to us */
    ETF_KIND_COUNT
};

struct etf_term {
    enum etf_kind kind;
    bool is_negative;   /* ETF_INTEGER */
    bool is_wide;       /* ETF_INTEGER: magnitude beyond 64 bits, `number` says nothing */
    uint64_t number;    /* ETF_INTEGER: magnitude */
    uint32_t count;     /* ETF_TUPLE, ETF_LIST, ETF_MAP: elements, elements, pairs */
    struct bytes bytes; /* ETF_ATOM, ETF_BINARY, ETF_STRING: their bytes; else empty */
};

/* A place in the bytes of terms; p <= end. */
struct etf_reader {
    const uint8_t *p;
    const uint8_t *end;
};

/* Starts at the term of an uncompressed payload (131, term). ERR_PEER: something else; a compressed
 * one goes through link/deflate.h first. Bytes behind the term are nobody's business. */
MUST_USE enum err etf_open(struct etf_reader *r, struct bytes payload);

/* Starts at a term without the version byte, as etf_view gives it. */
struct etf_reader etf_reader_of(struct bytes term);

/* Reads the next term, of a container its head. ERR_PEER: cut short, an unknown tag, or a count
 * that cannot be true or is beyond the bounds above. */
MUST_USE enum err etf_read(struct etf_reader *r, struct etf_term *t);

/* Passes over the next term with all it contains; etf_view also says where it was. */
MUST_USE enum err etf_skip(struct etf_reader *r);
MUST_USE enum err etf_view(struct etf_reader *r, struct bytes *term);

/* Read the next term and refuse any other kind with ERR_PEER. A list that is written as STRING is
 * refused; *has_tail says that one more term, which must be NIL, follows the elements. */
MUST_USE enum err etf_read_uint(struct etf_reader *r, uint64_t max, uint64_t *out);
MUST_USE enum err etf_read_binary(struct etf_reader *r, struct bytes *out);
MUST_USE enum err etf_read_tuple(struct etf_reader *r, uint32_t *count);
MUST_USE enum err etf_read_list(struct etf_reader *r, uint32_t *count, bool *has_tail);
MUST_USE enum err etf_read_map(struct etf_reader *r, uint32_t *pairs);
MUST_USE enum err etf_read_nil(struct etf_reader *r);

/* Reads a key of a map, passing over its children if it is a container itself, and views its
 * value. */
MUST_USE enum err etf_read_pair(struct etf_reader *r, struct etf_term *key, struct bytes *value);

/* What a viewed term holds. ERR_PEER: another kind. */
MUST_USE enum err etf_uint_of(struct bytes term, uint64_t *out);
MUST_USE enum err etf_binary_of(struct bytes term, struct bytes *out);

/* Whether a term is the atom of that (ASCII) name. */
bool etf_is_atom(const struct etf_term *t, const char *name);

/* Every atom we ever send. */
enum etf_atom {
    ETF_A_OP, /* $op */
    ETF_A_OK,
    ETF_A_ERROR,
    ETF_A_TRUE,
    ETF_A_FALSE,
    ETF_A_UNDEFINED,
    ETF_A_MESSAGE,
    ETF_A_DUP,
    ETF_A_RETAIN,
    ETF_A_PROTO_VER,
    ETF_A_PROTOCOL,
    ETF_A_MQTT,
    ETF_A_USERNAME,
    ETF_A_PEERHOST,
    ETF_A_PEERNAME,
    ETF_A_PROPERTIES,
    ETF_A_PAYLOAD_FORMAT,
    ETF_A_MESSAGE_EXPIRY,
    ETF_A_CONTENT_TYPE,
    ETF_A_RESPONSE_TOPIC,
    ETF_A_CORRELATION_DATA,
    ETF_A_USER_PROPERTY,
    ETF_ATOM_COUNT
};

/* The name behind an atom of ours; NUL-terminated. */
const char *etf_atom_name(enum etf_atom atom);

/* `size` counts everything put; bytes are stored as long as they fit in `room`. So one pass with
 * room 0 tells the size, and after any pass etf_fits says whether the buffer holds all of it. */
struct etf_writer {
    uint8_t *to;
    uint64_t room;
    uint64_t size;
};

/* A writer to to[0..room), or one that only counts (`to` NULL); whether the room was enough. */
struct etf_writer etf_writer_of(uint8_t *to, uint64_t room);
bool etf_fits(const struct etf_writer *w);

/* Each appends one term; of a container its head. Integers are written the shortest way, as Erlang
 * does. etf_put_list begins a list, which etf_put_nil must end; a list of none is only etf_put_nil.
 * etf_put_binary_head is followed by the n bytes, from wherever. */
void etf_put_version(struct etf_writer *w);
void etf_put_uint(struct etf_writer *w, uint64_t v);
void etf_put_atom(struct etf_writer *w, enum etf_atom atom);
void etf_put_bool(struct etf_writer *w, bool v);
void etf_put_binary(struct etf_writer *w, struct bytes b);
void etf_put_binary_head(struct etf_writer *w, uint32_t n);
void etf_put_tuple(struct etf_writer *w, uint8_t count);
void etf_put_list(struct etf_writer *w, uint32_t count);
void etf_put_nil(struct etf_writer *w);
void etf_put_map(struct etf_writer *w, uint32_t pairs);

#endif
