/* net/http_body.c -- what an HTTP server is asked. */
#include "net/http_body.h"

#include <stdlib.h>

#include "core/mqtt/topic.h"

/* Written twice: first to nowhere, to know how long it becomes. */
struct writer {
    char *to; /* NULL: only counted */
    uint32_t count;
    bool is_bad;
};

static void put_char(struct writer *w, char c)
{
    if (w->to)
        w->to[w->count] = c;
    w->count++;
}

static void put_plain(struct writer *w, const char *text)
{
    while (*text)
        put_char(w, *text++);
}

static void put_text(struct writer *w, struct bytes text)
{
    static const char hex[] = "0123456789abcdef";

    if (!text.p) {
        put_plain(w, "null");
        return;
    }
    if (!w->to && text.n && !utf8_valid(text))
        w->is_bad = true;
    put_char(w, '"');
    for (uint32_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c < 0x20 || c == 0x7f) {
            put_plain(w, "\\u00");
            put_char(w, hex[c >> 4]);
            put_char(w, hex[c & 15]);
            continue;
        }
        if (c == '"' || c == '\\')
            put_char(w, '\\');
        put_char(w, (char)c);
    }
    put_char(w, '"');
}

/* `begin` is what stands before the value. */
static void put_member(struct writer *w, const char *begin, struct bytes text)
{
    put_plain(w, begin);
    put_text(w, text);
}

static struct bytes text_of(const char *s)
{
    return s ? bytes_str(s) : (struct bytes){0};
}

static void write_connect(struct writer *w, const void *question)
{
    const struct http_connect *q = question;

    put_member(w, "{\"clientid\":", q->client_id);
    put_member(w, ",\"username\":", q->username);
    put_member(w, ",\"password\":", q->password);
    put_member(w, ",\"peerhost\":", text_of(q->peer));
    put_member(w, ",\"listener\":", text_of(q->listener));
    put_member(w, ",\"cert_common_name\":", text_of(q->common_name));
    put_char(w, '}');
}

static void write_access(struct writer *w, const void *question)
{
    const struct http_right *q = question;

    put_member(w, "{\"clientid\":", q->client_id);
    put_member(w, ",\"username\":", q->username);
    put_member(w, ",\"peerhost\":", text_of(q->peer));
    put_plain(w, q->is_subscribe ? ",\"action\":\"subscribe\"" : ",\"action\":\"publish\"");
    put_member(w, ",\"topic\":", q->topic);
    put_plain(w, ",\"qos\":");
    put_char(w, (char)('0' + q->qos));
    put_plain(w, q->retain ? ",\"retain\":true}" : ",\"retain\":false}");
}

static enum err make(void (*write)(struct writer *w, const void *question), const void *question,
                     char **text, uint32_t *count)
{
    struct writer w = {0};

    write(&w, question);
    if (w.is_bad)
        return ERR_PEER;
    w.to = malloc(w.count);
    if (!w.to)
        return ERR_MEMORY;
    w.count = 0;
    write(&w, question);
    *text = w.to;
    *count = w.count;
    return OK;
}

enum err http_body_connect(const struct http_connect *q, char **text, uint32_t *count)
{
    return make(write_connect, q, text, count);
}

enum err http_body_access(const struct http_right *q, char **text, uint32_t *count)
{
    return make(write_access, q, text, count);
}
