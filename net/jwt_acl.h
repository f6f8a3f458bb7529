/* net/jwt_acl.h -- the claim of a token that says what its client may do. Private to net/jwt.c.
 *
 * It has one of the two forms that EMQX knows:
 *
 *     {"pub": ["a/${clientid}"], "sub": ["b/#"], "all": ["eq c"]}
 *         all that is allowed; the rest is refused
 *     [{"permission": "allow", "action": "publish", "topic": "a", "qos": [0, 1], "retain": false},
 *      {"permission": "deny", "action": "all", "topics": ["b/#", "c"]}]
 *         rules in their order; what none of them fits is for others to judge
 *
 * What is written in another way is refused, as a rule that is not understood might deny something;
 * so is a rule with a member that is not known here, which might be a condition.
 *
 * Threads  any.
 */
#ifndef NET_JWT_ACL_H
#define NET_JWT_ACL_H

#include <jansson.h>

#include "core/policy/acl_claim.h"

/* Reads a claim into rules.  ERR_PEER, ERR_FULL: it is no such claim, or too long, and *why (a
 * fixed text) says so. */
MUST_USE enum err jwt_acl_read(const json_t *claim, struct acl_claim_text *text, const char **why);

#endif
