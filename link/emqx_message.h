/* link/emqx_message.h -- the EMQX dialect: forwarded messages <-> structs.
 *
 * Decoding takes a plain payload (131, term; link/deflate.h made it plain), checks all of it,
 * copies nothing and allocates nothing: views point into the payload. Headers and properties that
 * we do not know are passed over; what is needed and not right is ERR_PEER. Encoding writes into
 * the caller's buffer.
 *
 * Threads  any; pure functions.
 */
#ifndef LINK_EMQX_MESSAGE_H
#define LINK_EMQX_MESSAGE_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* An IP address as bytes in network order; size 0: none. */
struct emqx_address {
    uint8_t size; /* 0, 4, 16 */
    uint8_t bytes[16];
};

struct emqx_message {
    struct bytes id; /* 16 bytes from EMQX */
    uint8_t qos;
    struct bytes from; /* client id, or an atom's name; p NULL: `undefined` (encode) */
    bool from_is_atom; /* made inside the peer's broker (decode) */
    bool dup, retain, sys;
    uint8_t proto_ver;     /* 3, 4, 5; 0: not said */
    struct bytes protocol; /* decode: an atom's name, empty: not said; encode: always mqtt */
    struct bytes username; /* p NULL: none */
    struct emqx_address peerhost;
    struct emqx_address peername;
    uint16_t peerport; /* with peername */
    struct bytes topic, payload;
    uint64_t timestamp_ms; /* since 1970, by the publisher's side */
    bool has_expiry;
    uint32_t message_expiry; /* seconds from timestamp_ms */
    /* decode: the checked property map for emqx_props_put; encode: an MQTT 5 property block as
     * props_forward makes it (core/mqtt/packet.h). Empty: none. */
    struct bytes properties;
    /* decode, with ERR_PEER: the record is right, but its topic, or a property that subscribers
     * would see, is nothing that MQTT can carry */
    bool is_unfit;
};

/* Decodes a forwarded message. The topic is a valid name (its depth is the caller's), texts among
 * the properties are UTF-8 and short enough for MQTT. A payload given as a list of bytes (STRING)
 * is taken. ERR_PEER: not a record of ten, or one of them not right; see is_unfit. */
MUST_USE enum err emqx_message_decode(struct bytes payload, struct emqx_message *out);

/* Writes the properties of a decoded message as an MQTT 5 block without its length: payload format,
 * content type, response topic, correlation data, user properties in their order. Returns the bytes
 * written; `to` has room for message->properties.n, which is always enough. */
uint32_t emqx_props_put(const struct emqx_message *message, uint8_t *to);

/* Bytes behind the payload in a record, at most. */
#define EMQX_TAIL_BYTES 16u

/* Encodes a record around the payload, which the caller sends from where it is: *head bytes to
 * `to`, the payload, *tail bytes from `behind`. ERR_FULL: `room` is less than *head, nothing
 * usable was written. ERR_PEER: message->properties holds what does not travel. */
MUST_USE enum err emqx_message_encode(const struct emqx_message *message, uint8_t *to,
                                      uint32_t room, uint32_t *head,
                                      uint8_t behind[EMQX_TAIL_BYTES], uint32_t *tail);

#endif
