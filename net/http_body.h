/* net/http_body.h -- what an HTTP server is asked: one JSON object, with the names that EMQX's HTTP
 * authenticator and authorizer have.
 *
 *     {"clientid": "...", "username": "...", "password": "...", "peerhost": "192.0.2.1",
 *      "listener": "tls", "cert_common_name": null}
 *     {"clientid": "...", "username": null, "peerhost": "...", "action": "publish",
 *      "topic": "a/b", "qos": 1, "retain": false}
 *
 * What a client has not said is null. A text that is not UTF-8 cannot be said in JSON: there is no
 * question then.
 *
 * Memory  the text is made with malloc and is the caller's; it may hold a password.  Any thread.
 */
#ifndef NET_HTTP_BODY_H
#define NET_HTTP_BODY_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* p == NULL: not said. An empty text that was said has p. */
struct http_connect {
    struct bytes client_id, username, password;
    const char *peer;        /* address without port */
    const char *listener;    /* its name */
    const char *common_name; /* of its certificate; NULL: none */
};

struct http_right {
    struct bytes client_id, username;
    const char *peer;
    bool is_subscribe;
    struct bytes topic;
    uint8_t qos;
    bool retain;
};

/* The question about a CONNECT.  ERR_PEER: a text is not UTF-8; ERR_MEMORY. */
MUST_USE enum err http_body_connect(const struct http_connect *q, char **text, uint32_t *count);
/* The question about a PUBLISH or a filter of a SUBSCRIBE; errors as above. */
MUST_USE enum err http_body_access(const struct http_right *q, char **text, uint32_t *count);

#endif
