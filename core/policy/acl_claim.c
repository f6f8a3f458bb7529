/* core/policy/acl_claim.c -- the rules that a token brings for its own client.
 *
 * A text is a byte that says what comes after the last rule, and the rules: flags, conditions, two
 * bytes of length, and the filter.
 */
#include "core/policy/acl_claim.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"

#define HEAD_BYTES 4u /* of a rule in a text */
#define RETAIN_SHIFT 3u

enum { IS_ALLOW = 1, IS_LITERAL = 2, ACTION_SHIFT = 2 };

struct rule {
    uint32_t at; /* of its filter, in the text behind the rules */
    uint16_t n;
    uint8_t flags;
    uint8_t conditions;
};

struct acl_claim {
    uint32_t count;
    uint32_t bytes; /* all of it */
    bool denies_rest;
    struct rule rules[]; /* and behind them the filters */
};

/* --------------------------------------------------------------------------------- the text --- */

enum word { WORD_NONE, WORD_CLIENT_ID, WORD_USER, WORD_UNKNOWN };

/* The placeholder that begins at `at`; *n: its bytes. */
static enum word word_at(struct bytes text, uint32_t at, uint32_t *n)
{
    static const struct {
        const char *spelling;
        enum word word;
    } words[] = {{"${clientid}", WORD_CLIENT_ID},
                 {"${username}", WORD_USER},
                 {"%c", WORD_CLIENT_ID},
                 {"%u", WORD_USER},
                 {"${", WORD_UNKNOWN}};
    struct bytes rest = bytes_of(text.p + at, text.n - at);

    for (uint32_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct bytes spelling = bytes_str(words[i].spelling);

        if (!bytes_begin(rest, spelling))
            continue;
        *n = spelling.n;
        return words[i].word;
    }
    *n = 1;
    return WORD_NONE;
}

static bool has_unknown(struct bytes filter)
{
    uint32_t n;

    for (uint32_t at = 0; at < filter.n; at += n) {
        if (word_at(filter, at, &n) == WORD_UNKNOWN)
            return true;
    }
    return false;
}

void acl_claim_begin(struct acl_claim_text *t, bool denies_rest)
{
    t->rule_count = 0;
    t->n = 1;
    t->bytes[0] = denies_rest;
}

enum err acl_claim_add(struct acl_claim_text *t, const struct acl_claim_rule *rule)
{
    const struct bytes eq = BYTES_LIT("eq ");
    struct bytes filter = rule->filter;
    bool is_literal = bytes_begin(filter, eq);
    uint8_t *to = t->bytes + t->n;

    CHECK(t->n > 0 && !(rule->actions & ~(ACL_READ | ACL_WRITE)));
    if (is_literal)
        filter = bytes_of(filter.p + eq.n, filter.n - eq.n);
    if (!topic_filter_valid(filter, ACL_LEVELS_MAX) || (!is_literal && has_unknown(filter)))
        return ERR_PEER;
    if (t->rule_count >= ACL_CLAIM_RULES_MAX || filter.n + HEAD_BYTES > sizeof(t->bytes) - t->n)
        return ERR_FULL;
    *to++ = (uint8_t)((rule->is_allow ? IS_ALLOW : 0) | (is_literal ? IS_LITERAL : 0) |
                      rule->actions << ACTION_SHIFT);
    *to++ = (uint8_t)(rule->qos | rule->retain << RETAIN_SHIFT);
    (void)bytes_put(put_be16(to, (uint16_t)filter.n), filter);
    t->n += HEAD_BYTES + filter.n;
    t->rule_count++;
    return OK;
}

/* --------------------------------------------------------------------------------- binding --- */

/* A name of the client, looked at once. */
struct name {
    struct bytes text;
    bool is_there;
    bool is_wild;  /* it holds `+` or `#` */
    bool is_split; /* it holds `/` */
};

struct binding {
    struct bytes rest; /* of the text */
    struct name user, client_id;
    const char *why;
};

/* A rule of the text. */
struct written {
    uint8_t flags, conditions;
    struct bytes filter;
};

static bool next_rule(struct binding *b, struct written *w)
{
    const uint8_t *p = b->rest.p;
    uint32_t n;

    if (b->rest.n == 0)
        return false;
    CHECK(b->rest.n > HEAD_BYTES);
    n = get_be16(p + 2);
    CHECK(n > 0 && n <= b->rest.n - HEAD_BYTES);
    *w = (struct written){p[0], p[1], bytes_of(p + HEAD_BYTES, n)};
    b->rest = bytes_of(p + HEAD_BYTES + n, b->rest.n - HEAD_BYTES - n);
    return true;
}

static bool has_byte(struct bytes b, char byte)
{
    return b.n > 0 && memchr(b.p, byte, b.n) != NULL;
}

static struct name name_of(const struct bytes *text)
{
    if (!text)
        return (struct name){0};
    return (struct name){.text = *text,
                         .is_there = true,
                         .is_wild = has_byte(*text, '+') || has_byte(*text, '#'),
                         .is_split = has_byte(*text, '/')};
}

/* What a rule becomes with the names in it. */
struct filled {
    uint32_t n;
    bool is_void; /* it uses a name that the client has not */
    bool is_weak; /* it may not allow */
};

/* Takes a name into what a rule becomes. false: the client must not be let in. */
static bool fill_name(struct binding *b, const struct name *name, struct filled *f)
{
    if (name->is_wild) {
        b->why = "a rule of the token uses a name that holds + or #";
        return false;
    }
    f->is_void |= !name->is_there;
    f->is_weak |= name->is_split || (f->n == 0 && name->text.n && name->text.p[0] == '$');
    return true;
}

/* Puts the names into a filter, or only finds out what comes of it (`to` NULL). false: the client
 * must not be let in. */
static bool fill(struct binding *b, const struct written *w, uint8_t *to, struct filled *f)
{
    uint32_t used = 1;

    *f = (struct filled){0};
    for (uint32_t at = 0; at < w->filter.n; at += used) {
        enum word word = w->flags & IS_LITERAL ? WORD_NONE : word_at(w->filter, at, &used);
        const struct name *name = word == WORD_USER ? &b->user : &b->client_id;
        struct bytes part = word == WORD_NONE ? bytes_of(w->filter.p + at, 1) : name->text;

        if (word != WORD_NONE && !fill_name(b, name, f))
            return false;
        if (to && part.n)
            memcpy(to + f->n, part.p, part.n);
        f->n += part.n;
    }
    return true;
}

/* Whether a rule is worth keeping. A topic has at least a byte and at most 65,535. */
static bool counts(const struct written *w, const struct filled *f)
{
    return !f->is_void && f->n > 0 && f->n <= TOPIC_BYTES_MAX &&
           !(f->is_weak && (w->flags & IS_ALLOW));
}

/* Adds up what the rules need. */
static bool measure(struct binding b, uint32_t *rules, uint32_t *bytes, const char **why)
{
    struct written w;
    struct filled f;

    *rules = *bytes = 0;
    while (next_rule(&b, &w)) {
        if (!fill(&b, &w, NULL, &f)) {
            *why = b.why;
            return false;
        }
        if (!counts(&w, &f))
            continue;
        *rules += 1;
        *bytes += (uint32_t)sizeof(struct rule) + f.n; /* 128 times 65,535 at most */
    }
    return true;
}

static uint8_t *text_of(const struct acl_claim *c)
{
    return (uint8_t *)(uintptr_t)(c->rules + c->count);
}

static void write_rules(struct binding b, struct acl_claim *c)
{
    uint32_t idx = 0, at = 0;
    struct written w;
    struct filled f;

    while (next_rule(&b, &w)) {
        if (!fill(&b, &w, NULL, &f) || !counts(&w, &f))
            continue;
        CHECK(fill(&b, &w, text_of(c) + at, &f));
        c->rules[idx++] = (struct rule){at, (uint16_t)f.n, w.flags, w.conditions};
        at += f.n;
    }
    CHECK(idx == c->count);
}

enum err acl_claim_bind(struct bytes text, const struct bytes *user, struct bytes client_id,
                        struct acl_claim **claim, const char **why)
{
    struct binding b = {.user = name_of(user), .client_id = name_of(&client_id)};
    uint32_t rules, bytes;
    struct acl_claim *c;

    CHECK(text.n > 0);
    b.rest = bytes_of(text.p + 1, text.n - 1);
    if (!measure(b, &rules, &bytes, why))
        return ERR_PEER;
    if (bytes > ACL_CLAIM_BYTES_MAX) {
        *why = "the token's rules are too long with the client's names in them";
        return ERR_FULL;
    }
    c = malloc(sizeof(*c) + bytes);
    if (!c) {
        *why = "no memory for the token's rules";
        return ERR_MEMORY;
    }
    *c = (struct acl_claim){
        .count = rules, .bytes = (uint32_t)sizeof(*c) + bytes, .denies_rest = text.p[0]};
    write_rules(b, c);
    *claim = c;
    return OK;
}

void acl_claim_destroy(struct acl_claim *c)
{
    free(c);
}

uint32_t acl_claim_bytes(const struct acl_claim *c)
{
    return c ? c->bytes : 0;
}

/* ------------------------------------------------------------------------------- questions --- */

static struct bytes filter_of(const struct acl_claim *c, const struct rule *r)
{
    return bytes_of(text_of(c) + r->at, r->n);
}

static bool is_for(const struct rule *r, enum acl_access action)
{
    return r->flags >> ACTION_SHIFT & (uint8_t)action;
}

static enum acl_claim_verdict verdict_of(const struct rule *r)
{
    return r->flags & IS_ALLOW ? ACL_CLAIM_ALLOW : ACL_CLAIM_DENY;
}

static enum acl_claim_verdict rest_of(const struct acl_claim *c)
{
    return c->denies_rest ? ACL_CLAIM_DENY : ACL_CLAIM_PASS;
}

enum acl_claim_verdict acl_claim_publish(const struct acl_claim *c, struct bytes topic, uint8_t qos,
                                         bool retain)
{
    for (const struct rule *r = c->rules; r < c->rules + c->count; r++) {
        if (!is_for(r, ACL_WRITE) || !(r->conditions & 1u << qos) ||
            !(r->conditions >> RETAIN_SHIFT & 1u << retain))
            continue;
        if (r->flags & IS_LITERAL ? bytes_eq(filter_of(c, r), topic)
                                  : topic_matches(filter_of(c, r), topic))
            return verdict_of(r);
    }
    return rest_of(c);
}

enum acl_claim_verdict acl_claim_subscribe(const struct acl_claim *c, struct bytes filter,
                                           uint8_t qos)
{
    for (const struct rule *r = c->rules; r < c->rules + c->count; r++) {
        if (!is_for(r, ACL_READ) || !(r->conditions & 1u << qos))
            continue;
        if (r->flags & IS_LITERAL ? bytes_eq(filter_of(c, r), filter)
                                  : topic_filter_covers(filter_of(c, r), filter))
            return verdict_of(r);
    }
    return rest_of(c);
}

/* Whether a rule is about messages at all: one that denies a subscription with wildcards by its
 * text is about no message. */
static bool is_for_messages(const struct acl_claim *c, const struct rule *r)
{
    return is_for(r, ACL_READ) && ((r->flags & IS_ALLOW) || !(r->flags & IS_LITERAL) ||
                                   !topic_has_wildcard(filter_of(c, r)));
}

enum acl_claim_verdict acl_claim_read(const struct acl_claim *c, struct bytes topic)
{
    uint8_t left = ACL_CLAIM_ANY_QOS; /* of which no rule has said anything */

    for (const struct rule *r = c->rules; r < c->rules + c->count; r++) {
        if (!(r->conditions & left) || !is_for_messages(c, r) ||
            !topic_matches(filter_of(c, r), topic))
            continue;
        if (r->flags & IS_ALLOW)
            return ACL_CLAIM_ALLOW;
        left &= (uint8_t)~r->conditions;
        if (!left)
            return ACL_CLAIM_DENY;
    }
    return rest_of(c);
}

/* Whether a topic could match both. Never wrongly false. */
static bool meets(struct bytes a, struct bytes b)
{
    bool a_first = true, b_first = true, is_first = true;
    struct bytes x = {0}, y = {0};

    for (;; is_first = false) {
        bool has_x = topic_next_level(&a, &a_first, &x);
        bool has_y = topic_next_level(&b, &b_first, &y);
        bool x_is_wild = has_x && x.n == 1 && (x.p[0] == '+' || x.p[0] == '#');
        bool y_is_wild = has_y && y.n == 1 && (y.p[0] == '+' || y.p[0] == '#');

        if ((has_x && x_is_wild && x.p[0] == '#') || (has_y && y_is_wild && y.p[0] == '#')) {
            const struct bytes *other = x_is_wild && x.p[0] == '#' ? &y : &x;

            /* A leading `#` does not match a `$` [MQTT-4.7.2-1]. */
            return !is_first || other->n == 0 || other->p[0] != '$';
        }
        if (!has_x || !has_y)
            return !has_x && !has_y;
        if (is_first && (x_is_wild || y_is_wild) &&
            ((x.n && x.p[0] == '$') || (y.n && y.p[0] == '$')))
            return false;
        if (!x_is_wild && !y_is_wild && !bytes_eq(x, y))
            return false;
    }
}

enum acl_claim_verdict acl_claim_covers(const struct acl_claim *c, struct bytes filter)
{
    for (const struct rule *r = c->rules; r < c->rules + c->count; r++) {
        if (!is_for_messages(c, r))
            continue;
        if (!(r->flags & IS_ALLOW) && meets(filter_of(c, r), filter))
            return ACL_CLAIM_DENY;
        if ((r->flags & IS_ALLOW) && topic_filter_covers(filter_of(c, r), filter))
            return ACL_CLAIM_ALLOW;
    }
    return rest_of(c);
}
