/* tests/link/streams.h -- messages with a number in them, for tests of both sides of a stream. */
#ifndef TESTS_LINK_STREAMS_H
#define TESTS_LINK_STREAMS_H

#include "tests/support/test.h"

#include <stdlib.h>

#include "link/instream.h"
#include "link/outstream.h"

#define BOOT 77u

static uint64_t held; /* bytes in messages: 0 at the end of each test, or something leaked */

/* A message whose payload begins with its number. */
static inline struct message *numbered(uint32_t number, uint8_t qos, uint32_t size,
                                       uint64_t expires_ms)
{
    uint8_t *payload = calloc(1, size);
    struct publish p = {.topic = BYTES_LIT("t"),
                        .payload = {payload, size},
                        .qos = qos,
                        .protocol = 5,
                        .expires_ms = expires_ms};

    assert_non_null(payload);
    assert_true(size >= 4);
    put_be32(payload, number);
    assert_non_null(publish_message(&p, &held));
    free(payload);
    return p.message;
}

/* Writes a frame of messages and lets go of them. Returns its size. */
static inline uint32_t frame_write(const struct outstream_frame *f, uint64_t now_ms, uint8_t *to)
{
    uint8_t *at = native_messages_put_head(to, f->first, f->count);

    for (uint32_t i = 0; i < f->count; i++) {
        struct message *m = f->records[i].message;
        uint8_t *head = at;

        at = native_record_put_head(at, m, now_ms);
        assert_int_equal(at - head, f->records[i].head_bytes);
        at = bytes_put(at, message_payload(m));
        message_release(m);
    }
    assert_int_equal(at - to, f->bytes);
    return f->bytes;
}

#endif
