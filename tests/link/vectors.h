/* tests/link/vectors.h -- reads data/vectors.txt and words what a payload means.
 *
 * The file is made by make_vectors.py from recorded and golden data; each line is one vector, its
 * columns are separated by `|`. Meanings are compared as text: the ones in the file come from the
 * script's own term reader, the others from link/emqx.c and link/emqx_message.c.
 */
#ifndef TESTS_LINK_VECTORS_H
#define TESTS_LINK_VECTORS_H

#include "tests/support/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"
#include "link/emqx.h"
#include "link/emqx_message.h"
#include "link/deflate.h"

#define COLUMNS_MAX 8

struct vectors {
    FILE *file;
    char *line;
    size_t room;
    char *column[COLUMNS_MAX]; /* [0] is the section; what is not there is "" */
};

/* Opens the file, whether the test runs in the root of the tree or beside its source. */
static inline struct vectors vectors_open(void)
{
    struct vectors v = {0};

    v.file = fopen("tests/link/data/vectors.txt", "r");
    if (!v.file)
        v.file = fopen("data/vectors.txt", "r");
    assert_non_null(v.file);
    return v;
}

/* The next vector of a section; false at the end, with the file closed. */
static inline bool vectors_next(struct vectors *v, const char *section)
{
    ssize_t n;

    while ((n = getline(&v->line, &v->room, v->file)) > 0) {
        char *rest = v->line;

        v->line[n - 1] = '\0';
        for (int i = 0; i < COLUMNS_MAX; i++) {
            char *column = rest ? strsep(&rest, "|") : NULL;

            v->column[i] = column ? column : v->line + n - 1;
        }
        if (strcmp(v->column[0], section) == 0)
            return true;
    }
    fclose(v->file);
    free(v->line);
    return false;
}

/* Bytes written in hex, with blanks or without; free() the result's p, which is never NULL. */
static inline struct bytes unhex(const char *hex)
{
    uint8_t *p = malloc(strlen(hex) / 2 + 1);
    size_t n = 0;

    assert_non_null(p);
    while (*hex) {
        unsigned v;

        if (*hex == ' ') {
            hex++;
            continue;
        }
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        p[n++] = (uint8_t)v;
        hex += 2;
    }
    return bytes_of(p, n);
}

/* Frees what unhex or plain_of gave. */
static inline void free_bytes(struct bytes b)
{
    free((void *)b.p);
}

/* A plain copy of a payload, inflated if it is compressed; ERR_PEER with nothing to free. */
static inline enum err plain_of(struct bytes payload, struct bytes *plain)
{
    uint32_t room;
    enum err e = inflate_room(payload, 1u << 20, &room);
    struct inflate *z;
    uint8_t *to;

    if (e != OK)
        return e;
    to = malloc((room ? room : payload.n) + 1u);
    assert_non_null(to);
    if (room == 0) {
        bytes_put(to, payload);
        *plain = bytes_of(to, payload.n);
        return OK;
    }
    z = inflate_create();
    assert_non_null(z);
    e = inflate_run(z, payload, to, room, plain);
    inflate_destroy(z);
    if (e != OK)
        free(to);
    return e;
}

/* Writes bytes as they are. */
static inline void print_text(FILE *f, struct bytes b)
{
    if (b.n > 0)
        fwrite(b.p, 1, b.n, f);
}

/* Writes bytes in hex. */
static inline void print_hex(FILE *f, struct bytes b)
{
    for (uint32_t i = 0; i < b.n; i++)
        fprintf(f, "%02x", b.p[i]);
}

/* Words a control payload. */
static inline void print_control(FILE *f, const struct emqx_control *c)
{
    static const char *const names[] = {"actor_init", "actor_init_ack", "route", "heartbeat"};
    static const char *const needs[] = {"undefined", "false", "true"};

    fprintf(f, "%s actor=", names[c->op]);
    print_text(f, c->actor);
    if (c->op != EMQX_ACTOR_INIT_ACK)
        fprintf(f, " inc=%" PRIu64, c->incarnation);
    if (c->op == EMQX_ACTOR_INIT) {
        fprintf(f, " ver=%" PRIu64 " target=", c->version);
        print_text(f, c->target);
    } else if (c->op == EMQX_ACTOR_INIT_ACK) {
        fprintf(f, " ver=%" PRIu64 " %s", c->version, c->is_accepted ? "ok" : "refused:");
        print_text(f, c->reason);
        fprintf(f, " need=%s", needs[c->need_bootstrap]);
    } else if (c->op == EMQX_ROUTE) {
        struct emqx_ops ops = emqx_ops_begin(c);
        struct emqx_route_op op;
        uint32_t adds = 0, deletes = 0;

        while (emqx_ops_next(&ops, &op)) {
            fputs(op.is_add ? " +" : " -", f);
            print_text(f, op.filter);
            fputc('=', f);
            print_text(f, op.id);
            adds += op.is_add;
            deletes += !op.is_add;
        }
        assert_int_equal(adds, c->add_count);
        assert_int_equal(deletes, c->delete_count);
    }
}

/* Words a forwarded message. */
static inline void print_record(FILE *f, const struct emqx_message *m)
{
    uint8_t *props = malloc(m->properties.n + 1u);

    assert_non_null(props);
    fputs("message id=", f);
    print_hex(f, m->id);
    fprintf(f, " qos=%d from=%s", m->qos, m->from_is_atom ? "atom:" : "");
    print_text(f, m->from);
    fprintf(f, " flags=%s%s%s ver=%d proto=", m->dup ? "d" : "", m->retain ? "r" : "",
            m->sys ? "s" : "", m->proto_ver);
    print_text(f, m->protocol);
    fputs(" user=", f);
    print_text(f, m->username.p ? m->username : BYTES_LIT("-"));
    fputs(" host=", f);
    print_hex(f, bytes_of(m->peerhost.bytes, m->peerhost.size));
    fputs(" peer=", f);
    print_hex(f, bytes_of(m->peername.bytes, m->peername.size));
    fprintf(f, ":%d topic=", m->peerport);
    print_text(f, m->topic);
    fputs(" payload=", f);
    print_hex(f, m->payload);
    fprintf(f, " ts=%" PRIu64 " expiry=", m->timestamp_ms);
    if (m->has_expiry)
        fprintf(f, "%" PRIu32, m->message_expiry);
    else
        fputs("-", f);
    fputs(" props=", f);
    print_hex(f, bytes_of(props, emqx_props_put(m, props)));
    free(props);
}

/* What a payload of any kind means, or "refused". free() it. */
static inline char *meaning_of(struct bytes payload, bool is_message)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    struct emqx_control c;
    struct emqx_message m;
    struct bytes plain;

    assert_non_null(f);
    if (plain_of(payload, &plain) != OK) {
        fputs("refused", f);
        fclose(f);
        return text;
    }
    if (is_message && emqx_message_decode(plain, &m) == OK)
        print_record(f, &m);
    else if (!is_message && emqx_control_decode(plain, &c) == OK)
        print_control(f, &c);
    else
        fputs("refused", f);
    fclose(f);
    free_bytes(plain);
    return text;
}

/* Random numbers of a seeded test (splitmix64). */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
