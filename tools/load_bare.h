/* tools/load_bare.h -- frames without MQTT, for a forwarder that does nothing else.
 *
 * What they cost is a floor for every broker: the same bytes to the same connections by the same
 * calls of the kernel. A frame is 12 bytes and a payload:
 *
 *     4 bytes  length of the payload          1 byte   kind (enum load_bare_kind)
 *     1 byte   0                              2 bytes  number of a message or SUBSCRIBE
 *     4 bytes  topic: a hash of its text, or LOAD_BARE_ALL
 *
 * There are as many frames as MQTT has packets: HELLO and GRANTED for CONNECT and CONNACK,
 * SUBSCRIBE and GRANTED, one or two round trips for QoS 1 and 2, BYE for DISCONNECT.
 * Numbers are big-endian.  Any thread.
 */
#ifndef TOOLS_LOAD_BARE_H
#define TOOLS_LOAD_BARE_H

#include "core/base/bytes.h"
#include "core/base/err.h"

#define LOAD_BARE_HEADER_BYTES 12u
#define LOAD_BARE_PAYLOAD_MAX (1u << 21)
/* As the topic of a SUBSCRIBE: every topic. */
#define LOAD_BARE_ALL UINT32_MAX

enum load_bare_kind {
    LOAD_BARE_HELLO = 1, /* GRANTED is the answer */
    LOAD_BARE_BYE,       /* the forwarder closes the connection */
    LOAD_BARE_SUBSCRIBE, /* GRANTED with the same number is the answer */
    LOAD_BARE_SHARE,     /* the same as a member of the one group: a message goes to one of it */
    LOAD_BARE_GRANTED,
    LOAD_BARE_MESSAGE,  /* goes to all that asked for its topic */
    LOAD_BARE_WITH_ACK, /* the same; its receiver says ACK */
    LOAD_BARE_WITH_REC, /* the same; its receiver says REC, then its sender REL and that COMP */
    LOAD_BARE_ACK,
    LOAD_BARE_REC,
    LOAD_BARE_REL,
    LOAD_BARE_COMP,
};

struct load_bare_frame {
    enum load_bare_kind kind;
    uint16_t id;
    uint32_t topic;
    struct bytes payload; /* a view of what was read */
};

/* Reads the first frame.  OK: *used bytes were its own.  ERR_MORE, ERR_PEER. */
MUST_USE enum err load_bare_next(struct bytes in, struct load_bare_frame *f, uint32_t *used);
/* Writes a frame; `to` has room for header and payload. Returns the position behind it. */
uint8_t *load_bare_put(uint8_t *to, const struct load_bare_frame *f);
/* What stands for a topic, or for a filter: those with a wildcard are all topics. */
uint32_t load_bare_topic(struct bytes topic);
/* Whether a message of that kind it is; its QoS is *qos. */
bool load_bare_is_message(enum load_bare_kind kind, uint8_t *qos);

#endif
