/* core/policy/acl_claim.h -- the rules that a token brings for its own client.
 *
 * They are asked in their order, before anybody else is; the first one that fits decides. What none
 * fits is handed on, or refused where the token is a list of what is allowed.
 *
 *     acl_claim_begin(&t, false);                      who reads the token
 *     e = acl_claim_add(&t, &rule);
 *     e = acl_claim_bind(text, ...);                   who knows the names of the client
 *     switch (acl_claim_publish(claim, topic, 1, false))
 *
 * A filter may hold ${clientid}, ${username}, %c and %u. Names cannot widen it: a client whose name
 * holds `+` or `#` is refused where a rule uses that name, and with a `/` in it, or where it would
 * put a `$` in front, such a rule allows nothing; if it denies, it counts. A filter behind `eq ` is
 * a text: it fits a topic or a subscription that is the same, and no placeholder is looked for.
 *
 * A subscription fits a rule if the rule's filter covers it. Messages are asked about as well, so
 * that what is denied stays away from a wider subscription, and one that another token was given
 * brings nothing: a message fits what its topic fits, whatever the QoS, and an `eq` that allows a
 * filter with wildcards allows its messages; one that denies it denies no more than the filter.
 *
 * Threads  any for a text; a claim belongs to one thread.
 * Memory   a text is flat and may be copied. A claim is one block, of acl_claim_bytes.
 * Bounds   ACL_CLAIM_... in limits.h: beyond, ERR_FULL.
 * Cost     a question goes through the rules one by one.
 */
#ifndef CORE_POLICY_ACL_CLAIM_H
#define CORE_POLICY_ACL_CLAIM_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/policy/acl.h"

/* All of a rule's conditions. */
#define ACL_CLAIM_ANY_QOS 7u
#define ACL_CLAIM_ANY_RETAIN 3u

struct acl_claim_rule {
    bool is_allow;       /* false: it denies */
    uint8_t actions;     /* ACL_READ: to subscribe; ACL_WRITE: to publish */
    uint8_t qos;         /* a bit for each QoS that it is for */
    uint8_t retain;      /* of publishes: bit 0, those without the flag; bit 1, those with it */
    struct bytes filter; /* as written */
};

/* The rules of a token, before the client's names are known. */
struct acl_claim_text {
    uint32_t rule_count;
    uint32_t n;
    uint8_t bytes[ACL_CLAIM_TEXT_BYTES_MAX];
};

/* Begins a text. `denies_rest`: what no rule fits is refused. */
void acl_claim_begin(struct acl_claim_text *t, bool denies_rest);
/* Adds a rule behind the others.  ERR_PEER: its filter is none, or holds a placeholder that is not
 * known.  ERR_FULL: there is no room. */
MUST_USE enum err acl_claim_add(struct acl_claim_text *t, const struct acl_claim_rule *rule);
/* The text as bytes, as long as `t` stands. */
static inline struct bytes acl_claim_text(const struct acl_claim_text *t)
{
    return bytes_of(t->bytes, t->n);
}

struct acl_claim; /* opaque: the fields live in acl_claim.c */

/* Makes the rules of a client, of a text that acl_claim_add has made; `user` NULL: it has no name,
 * and rules that use it say nothing.  ERR_PEER, ERR_FULL: it must not be let in, and *why says so.
 * ERR_MEMORY, with words too. */
MUST_USE enum err acl_claim_bind(struct bytes text, const struct bytes *user,
                                 struct bytes client_id, struct acl_claim **claim,
                                 const char **why);
/* Frees it.  NULL is fine. */
void acl_claim_destroy(struct acl_claim *c);
/* Bytes of memory it takes.  NULL: 0. */
uint32_t acl_claim_bytes(const struct acl_claim *c);

enum acl_claim_verdict { ACL_CLAIM_PASS, ACL_CLAIM_ALLOW, ACL_CLAIM_DENY };

/* Whether the client may publish to a topic. */
enum acl_claim_verdict acl_claim_publish(const struct acl_claim *c, struct bytes topic, uint8_t qos,
                                         bool retain);
/* Whether it may subscribe to a filter, a valid one without a share prefix. */
enum acl_claim_verdict acl_claim_subscribe(const struct acl_claim *c, struct bytes filter,
                                           uint8_t qos);
/* Whether a message of a topic may be delivered to it. */
enum acl_claim_verdict acl_claim_read(const struct acl_claim *c, struct bytes topic);
/* What acl_claim_read says of all topics that a filter matches: ALLOW of each. PASS: of each ALLOW
 * or PASS. DENY: of some, perhaps. */
enum acl_claim_verdict acl_claim_covers(const struct acl_claim *c, struct bytes filter);

#endif
