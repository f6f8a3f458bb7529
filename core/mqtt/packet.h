/* core/mqtt/packet.h -- MQTT control packets: bytes <-> struct packet.
 *
 * Decoding borrows: all views in a struct packet point into the frame it came from and live as long
 * as that buffer. Nothing is allocated, whatever the packet says about itself.
 * One decoder serves the broker (client packets) and the link's client role (server packets).
 */
#ifndef CORE_MQTT_PACKET_H
#define CORE_MQTT_PACKET_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/mqtt/frame.h"

enum packet_type {
    PACKET_CONNECT = 1,
    PACKET_CONNACK,
    PACKET_PUBLISH,
    PACKET_PUBACK,
    PACKET_PUBREC,
    PACKET_PUBREL,
    PACKET_PUBCOMP,
    PACKET_SUBSCRIBE,
    PACKET_SUBACK,
    PACKET_UNSUBSCRIBE,
    PACKET_UNSUBACK,
    PACKET_PINGREQ,
    PACKET_PINGRESP,
    PACKET_DISCONNECT,
    PACKET_AUTH,
};

/* Protocol level of a connection. 0x83 and 0x84 (mosquitto's bridge bit) are taken as 3 and 4. */
enum protocol { PROTOCOL_UNKNOWN = 0, MQTT_31 = 3, MQTT_311 = 4, MQTT_5 = 5 };

/* MQTT 5 reason codes [MQTT5 2.4], by the names of the specification. */
enum reason {
    REASON_SUCCESS = 0x00,
    REASON_GRANTED_QOS_1 = 0x01,
    REASON_GRANTED_QOS_2 = 0x02,
    REASON_DISCONNECT_WITH_WILL = 0x04,
    REASON_NO_MATCHING_SUBSCRIBERS = 0x10,
    REASON_NO_SUBSCRIPTION_EXISTED = 0x11,
    REASON_CONTINUE_AUTHENTICATION = 0x18,
    REASON_REAUTHENTICATE = 0x19,
    REASON_UNSPECIFIED_ERROR = 0x80,
    REASON_MALFORMED_PACKET = 0x81,
    REASON_PROTOCOL_ERROR = 0x82,
    REASON_IMPLEMENTATION_SPECIFIC = 0x83,
    REASON_UNSUPPORTED_PROTOCOL_VERSION = 0x84,
    REASON_CLIENT_ID_NOT_VALID = 0x85,
    REASON_BAD_USER_NAME_OR_PASSWORD = 0x86,
    REASON_NOT_AUTHORIZED = 0x87,
    REASON_SERVER_UNAVAILABLE = 0x88,
    REASON_SERVER_BUSY = 0x89,
    REASON_BANNED = 0x8A,
    REASON_SERVER_SHUTTING_DOWN = 0x8B,
    REASON_BAD_AUTHENTICATION_METHOD = 0x8C,
    REASON_KEEP_ALIVE_TIMEOUT = 0x8D,
    REASON_SESSION_TAKEN_OVER = 0x8E,
    REASON_TOPIC_FILTER_INVALID = 0x8F,
    REASON_TOPIC_NAME_INVALID = 0x90,
    REASON_PACKET_ID_IN_USE = 0x91,
    REASON_PACKET_ID_NOT_FOUND = 0x92,
    REASON_RECEIVE_MAXIMUM_EXCEEDED = 0x93,
    REASON_TOPIC_ALIAS_INVALID = 0x94,
    REASON_PACKET_TOO_LARGE = 0x95,
    REASON_MESSAGE_RATE_TOO_HIGH = 0x96,
    REASON_QUOTA_EXCEEDED = 0x97,
    REASON_ADMINISTRATIVE_ACTION = 0x98,
    REASON_PAYLOAD_FORMAT_INVALID = 0x99,
    REASON_RETAIN_NOT_SUPPORTED = 0x9A,
    REASON_QOS_NOT_SUPPORTED = 0x9B,
    REASON_USE_ANOTHER_SERVER = 0x9C,
    REASON_SERVER_MOVED = 0x9D,
    REASON_SHARED_NOT_SUPPORTED = 0x9E,
    REASON_CONNECTION_RATE_EXCEEDED = 0x9F,
    REASON_MAXIMUM_CONNECT_TIME = 0xA0,
    REASON_SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1,
    REASON_WILDCARDS_NOT_SUPPORTED = 0xA2,
};

/* Which property is present: bit numbers of props.present. */
enum prop {
    PROP_PAYLOAD_FORMAT,
    PROP_MESSAGE_EXPIRY,
    PROP_CONTENT_TYPE,
    PROP_RESPONSE_TOPIC,
    PROP_CORRELATION_DATA,
    PROP_SUBSCRIPTION_ID,
    PROP_SESSION_EXPIRY,
    PROP_ASSIGNED_CLIENT_ID,
    PROP_SERVER_KEEP_ALIVE,
    PROP_AUTH_METHOD,
    PROP_AUTH_DATA,
    PROP_REQUEST_PROBLEM_INFO,
    PROP_WILL_DELAY,
    PROP_REQUEST_RESPONSE_INFO,
    PROP_RESPONSE_INFO,
    PROP_SERVER_REFERENCE,
    PROP_REASON_STRING,
    PROP_RECEIVE_MAXIMUM,
    PROP_TOPIC_ALIAS_MAXIMUM,
    PROP_TOPIC_ALIAS,
    PROP_MAXIMUM_QOS,
    PROP_RETAIN_AVAILABLE,
    PROP_USER_PROPERTY,
    PROP_MAXIMUM_PACKET_SIZE,
    PROP_WILDCARD_AVAILABLE,
    PROP_SUBSCRIPTION_ID_AVAILABLE,
    PROP_SHARED_AVAILABLE,
    PROP_COUNT
};
#define PROP_BIT(p) (1u << (p))

/* Decoded properties of one packet or will. `all` is the raw block (without its length); user
 * properties stay in it and are walked with props_next_user.
 *
 * `present` and `all` are always set; every other field only if its bit is in `present`, because
 * clearing 200 bytes would cost more than decoding a PUBLISH. Builds that check (CAUSEWAY_DEBUG,
 * CAUSEWAY_SANITIZE) fill what is not set with 0xA5. A packet of MQTT 3 has present == 0. */
struct props {
    uint32_t present; /* PROP_BIT set */
    struct bytes all; /* no address when empty */
    uint8_t payload_format, request_problem_info, request_response_info, maximum_qos;
    uint8_t retain_available, wildcard_available, subscription_id_available, shared_available;
    uint16_t server_keep_alive, receive_maximum, topic_alias_maximum, topic_alias;
    uint32_t message_expiry, session_expiry, will_delay, maximum_packet_size;
    uint32_t subscription_id; /* the first; SUBSCRIBE has at most one */
    struct bytes content_type, response_topic, correlation_data, assigned_client_id;
    struct bytes auth_method, auth_data, response_info, server_reference, reason_string;
};

/* `protocol` is set for every CONNECT, also when packet_decode says ERR_PEER: it is the version in
 * which to answer. PROTOCOL_UNKNOWN: the bytes do not even name MQTT; close without an answer. The
 * will's fields are views without an address, and will_qos 0, when there is no will. In MQTT 3.1
 * has_username and has_password say whether the text is there, not what the flag said. */
struct packet_connect {
    enum protocol protocol;
    bool is_bridge; /* the 0x80 bit of the protocol level was set */
    bool clean_start, has_will, has_username, has_password;
    uint8_t will_qos;
    bool will_retain;
    uint16_t keep_alive;
    struct bytes client_id, will_topic, will_payload, username, password;
    struct props props, will_props;
};

struct packet_connack {
    bool session_present;
    uint8_t reason;
    struct props props;
};

struct packet_publish {
    uint8_t qos;
    bool dup, retain;
    uint16_t packet_id; /* 0 with QoS 0 */
    struct bytes topic; /* may be empty with a topic alias */
    struct bytes payload;
    struct props props;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. MQTT 3: reason 0. */
struct packet_ack {
    uint16_t packet_id;
    uint8_t reason;
    struct props props;
};

/* SUBSCRIBE, UNSUBSCRIBE: the list is walked with packet_next_filter. */
struct packet_subscribe {
    uint16_t packet_id;
    uint32_t filter_count;
    struct bytes list;
    struct props props;
};

/* SUBACK, UNSUBACK */
struct packet_suback {
    uint16_t packet_id;
    struct bytes reasons; /* one byte each, at least one; none in an UNSUBACK of MQTT 3 */
    struct props props;
};

/* DISCONNECT, AUTH. MQTT 3: reason 0. */
struct packet_disconnect {
    uint8_t reason;
    struct props props;
};

struct packet {
    enum packet_type type;
    union {
        struct packet_connect connect;
        struct packet_connack connack;
        struct packet_publish publish;
        struct packet_ack ack;
        struct packet_subscribe subscribe;
        struct packet_suback suback;
        struct packet_disconnect disconnect;
    };
};

/* One entry of a SUBSCRIBE or UNSUBSCRIBE. For UNSUBSCRIBE only `filter` is set. */
struct filter_request {
    struct bytes filter;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling; /* 0, 1, 2 */
};

/* Decodes a frame of a connection that speaks `protocol` (ignored for CONNECT, which brings its
 * own). OK, or ERR_PEER with *why: REASON_MALFORMED_PACKET, REASON_PROTOCOL_ERROR,
 * REASON_UNSUPPORTED_PROTOCOL_VERSION (CONNECT), REASON_TOPIC_NAME_INVALID, ... exactly what the
 * specification names for that fault. Checks everything that can be known from the packet alone:
 * fixed header flags [MQTT-2.1.3-1], UTF-8, lengths, packet id not 0, property ids allowed for this
 * packet, duplicates of properties, value ranges, QoS 3, empty SUBSCRIBE lists, will flags,
 * wildcards in topic names, No Local on a shared subscription, reason codes of each type, trailing
 * bytes. The caller's are: topic depth, filter syntax, bounds announced to the peer, and what only
 * one side may send (a PUBLISH with PROP_SUBSCRIPTION_ID comes from a server, a CONNACK too
 * (CVE-2021-28166), a DISCONNECT with most reasons or with a session expiry ...).
 * Malformed are: what is cut off or left over, wrong fixed header flags, bad UTF-8, unknown or
 * misplaced properties. Protocol errors are: packet id 0, a property given twice or out of range,
 * an empty list, a reason code that the type does not have, in MQTT 5 QoS 3 in a SUBSCRIBE.
 * MQTT 3.1 leaves bits unused that 3.1.1 reserves; there they are not looked at.
 * Linear in the size of the frame.  Any thread. */
MUST_USE enum err packet_decode(const struct frame *f, enum protocol protocol, struct packet *out,
                                enum reason *why);

/* Walks the list of a decoded SUBSCRIBE or UNSUBSCRIBE; `*rest` starts as packet_subscribe.list.
 * Returns false at the end. The list was checked by packet_decode. */
bool packet_next_filter(enum packet_type type, enum protocol protocol, struct bytes *rest,
                        struct filter_request *out);

/* Walks the user properties of a checked property block; `*rest` starts as props.all. */
bool props_next_user(struct bytes *rest, struct bytes *name, struct bytes *value);

/* Walks every subscription identifier of a checked block (a PUBLISH may carry several). */
bool props_next_subscription_id(struct bytes *rest, uint32_t *id);

/* Copies what of a PUBLISH's or will's property block travels to subscribers, in its order:
 * payload format, content type, response topic, correlation data, user properties
 * [MQTT-3.3.2-17..20]. Topic alias, message expiry, will delay and subscription identifiers are
 * left out. Returns the bytes written; `to` has room for props->all.n.
 * When nothing has to be left out, props_forward_view says so and gives the block itself. */
uint32_t props_forward(const struct props *props, uint8_t *to);
bool props_forward_view(const struct props *props, struct bytes *view);

/* Whether props_forward could have written these bytes: for a block that came from elsewhere. */
bool props_travel(struct bytes block);

/* ---- encoding: each function writes one whole packet and returns the position behind it. The
 * matching _size function gives the room it needs. Optional texts that would exceed `bytes_max`
 * (the peer's Maximum Packet Size, 0: none) are left out by the caller. ---- */

/* What a CONNACK says; MQTT 3 has only the first two fields. Empty texts are left out. */
struct connack_out {
    bool session_present;
    uint8_t reason;           /* MQTT 5 code; for MQTT 3 the return code 0..5 */
    uint16_t receive_maximum; /* 0: leave out (65535) */
    uint16_t topic_alias_maximum;
    uint16_t server_keep_alive; /* used if has_server_keep_alive */
    bool has_server_keep_alive, has_session_expiry, retain_available;
    uint8_t maximum_qos; /* 0, 1, or 2: left out */
    uint32_t session_expiry;
    uint32_t maximum_packet_size; /* 0: leave out */
    struct bytes assigned_client_id, reason_string, response_info, auth_method, auth_data;
};
/* A CONNACK. The session-present flag is left out when it may not stand [MQTT-3.2.2-6]. */
uint32_t connack_size(enum protocol protocol, const struct connack_out *c);
uint8_t *connack_put(uint8_t *to, enum protocol protocol, const struct connack_out *c);

/* A PUBLISH to one subscriber. The property block is written in this order: topic alias, message
 * expiry, subscription identifiers, then `props` (already encoded, see props_forward). */
struct publish_out {
    uint8_t qos;
    bool dup, retain;
    uint16_t packet_id;
    struct bytes topic; /* empty when only the alias is sent */
    struct bytes props;
    struct bytes payload;
    uint16_t topic_alias; /* 0: none */
    bool has_expiry;
    uint32_t message_expiry;
    const uint32_t *subscription_ids;
    uint32_t subscription_id_count;
};
/* Size of the whole packet; *header is what precedes the payload. 0: larger than MQTT can carry. */
uint32_t publish_size(enum protocol protocol, const struct publish_out *p, uint32_t *header);
/* Writes everything before the payload (the caller copies or refers to the payload). */
uint8_t *publish_put_header(uint8_t *to, enum protocol protocol, const struct publish_out *p);

/* Room for any acknowledgement without a reason string. */
#define ACK_BYTES_MAX 6

/* PUBACK, PUBREC, PUBREL, PUBCOMP. MQTT 5 leaves the code out when it is 0x00; MQTT 3 has none.
 * `reason_string` may be empty. */
uint32_t ack_size(enum protocol protocol, uint8_t reason, struct bytes reason_string);
uint8_t *ack_put(uint8_t *to, enum protocol protocol, enum packet_type type, uint16_t packet_id,
                 uint8_t reason, struct bytes reason_string);

/* SUBACK and UNSUBACK (MQTT 3 UNSUBACK has no codes; MQTT 3 SUBACK turns every failure into
 * 0x80). */
uint32_t suback_size(enum protocol protocol, enum packet_type type, uint32_t count);
uint8_t *suback_put(uint8_t *to, enum protocol protocol, enum packet_type type, uint16_t packet_id,
                    const uint8_t *reasons, uint32_t count);

/* DISCONNECT (MQTT 5 only as sent by a server; with reason 0 and no text it is that of MQTT 3). */
uint32_t disconnect_size(uint8_t reason, struct bytes reason_string);
uint8_t *disconnect_put(uint8_t *to, uint8_t reason, struct bytes reason_string);

/* AUTH. The method is never empty; `data` is left out when it has no address. */
uint32_t auth_size(struct bytes method, struct bytes data);
uint8_t *auth_put(uint8_t *to, uint8_t reason, struct bytes method, struct bytes data);

uint8_t *pingresp_put(uint8_t *to); /* 2 bytes */
uint8_t *pingreq_put(uint8_t *to);  /* 2 bytes */

/* ---- the client role, for links, tests and the load generator ---- */

/* What a CONNECT says; without MQTT 5 its properties are left out. */
struct connect_out {
    enum protocol protocol;
    bool clean_start;
    uint16_t keep_alive;
    struct bytes client_id, username, password; /* p == NULL: absent */
    bool has_session_expiry;
    uint32_t session_expiry;
    uint16_t receive_maximum; /* 0: leave out */
    uint32_t maximum_packet_size;
    uint16_t topic_alias_maximum;
    bool has_will, will_retain;
    uint8_t will_qos;
    uint32_t will_delay; /* 0: leave out */
    struct bytes will_topic, will_payload;
    struct bytes user_property_name, user_property_value; /* empty name: none */
};
/* A CONNECT. */
uint32_t connect_size(const struct connect_out *c);
uint8_t *connect_put(uint8_t *to, const struct connect_out *c);

/* SUBSCRIBE with `count` filters (subscription_id 0: none), UNSUBSCRIBE likewise. */
uint32_t subscribe_size(enum protocol protocol, const struct filter_request *f, uint32_t count,
                        uint32_t subscription_id);
uint8_t *subscribe_put(uint8_t *to, enum protocol protocol, uint16_t packet_id,
                       const struct filter_request *f, uint32_t count, uint32_t subscription_id);
uint32_t unsubscribe_size(enum protocol protocol, const struct bytes *filters, uint32_t count);
uint8_t *unsubscribe_put(uint8_t *to, enum protocol protocol, uint16_t packet_id,
                         const struct bytes *filters, uint32_t count);

#endif
