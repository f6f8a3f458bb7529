/* net/http_answer.h -- what an HTTP server says about a client: one JSON object.
 *
 *     {"result": "allow" | "deny" | "ignore", "is_superuser": false, "expire_at": 1700000000}
 *
 * with status 200, or status 204 and nothing, which allows. `result` must be there; the others may
 * be, and anything else may stand beside them (it is read over, if it is JSON). Whatever can be
 * understood in two ways is refused: a name given twice, a name with an escape, a number that is
 * no whole one.
 *
 * Pure: no memory is taken, nothing is kept.  Any thread.
 */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* How deep objects and arrays may stand in each other. Deeper is refused. */
#define HTTP_ANSWER_DEPTH_MAX 16u

enum http_verdict { HTTP_DENY, HTTP_ALLOW, HTTP_IGNORE };

struct http_answer {
    enum http_verdict verdict;
    bool is_superuser;
    bool has_expiry;
    uint64_t expire_at; /* seconds since 1970 */
};

/* Reads an answer.  ERR_PEER: it is none; *to denies then. */
MUST_USE enum err http_answer_read(uint32_t status, struct bytes body, struct http_answer *to);

#endif
