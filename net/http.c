/* net/http.c -- asks an HTTP server, by libcurl. */
#include "net/http.h"

#include <curl/curl.h>
#include <stdlib.h>

struct http_client {
    CURL *curl;
    struct curl_slist *headers;
    struct http_settings settings;
    uint32_t count;
    uint8_t body[HTTP_ANSWER_BYTES_MAX];
};

enum err http_init(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? OK : ERR_SYSTEM;
}

void http_fini(void)
{
    curl_global_cleanup();
}

/* The answer arrives. Less than what was given ends it. */
static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct http_client *c = user;

    n *= size;
    if (n > HTTP_ANSWER_BYTES_MAX - c->count)
        return 0;
    memcpy(c->body + c->count, data, n);
    c->count += (uint32_t)n;
    return n;
}

static int on_progress(void *user, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    const struct http_client *c = user;

    (void)down_all;
    (void)down;
    (void)up_all;
    (void)up;
    return load_relaxed(c->settings.must_end) != 0; /* a hint: nothing depends on it */
}

static bool add_header(struct http_client *c, const char *text)
{
    struct curl_slist *headers = curl_slist_append(c->headers, text);

    if (headers)
        c->headers = headers;
    return headers != NULL;
}

/* What is the same for all questions. */
static bool set_up(struct http_client *c)
{
    CURL *u = c->curl;
    bool is_set = add_header(c, "Content-Type: application/json") &&
                  add_header(c, "Accept: application/json") && add_header(c, "Expect:");

    is_set = is_set && curl_easy_setopt(u, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_PROXY, "") == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_MAXCONNECTS, 2L) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_USERAGENT, "causeway") == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_WRITEDATA, c) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
             curl_easy_setopt(u, CURLOPT_XFERINFODATA, c) == CURLE_OK;
    if (is_set && c->settings.ca_file)
        is_set = curl_easy_setopt(u, CURLOPT_CAINFO, c->settings.ca_file) == CURLE_OK &&
                 curl_easy_setopt(u, CURLOPT_CAPATH, NULL) == CURLE_OK;
    return is_set;
}

struct http_client *http_client_create(const struct http_settings *settings)
{
    struct http_client *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->settings = *settings;
    c->curl = curl_easy_init();
    if (!c->curl || !set_up(c)) {
        http_client_destroy(c);
        return NULL;
    }
    return c;
}

void http_client_destroy(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    free(c);
}

static const char *fault_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return "no answer in time";
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return "cannot connect";
    case CURLE_WRITE_ERROR:
        return "the answer is too long";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return "TLS failed";
    default:
        return "no answer";
    }
}

static bool aim(struct http_client *c, const char *url, struct bytes json, uint32_t limit_ms)
{
    CURL *u = c->curl;
    uint32_t all_ms = limit_ms < c->settings.timeout_ms ? limit_ms : c->settings.timeout_ms;
    uint32_t connect_ms = all_ms < c->settings.connect_ms ? all_ms : c->settings.connect_ms;

    return curl_easy_setopt(u, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(u, CURLOPT_TIMEOUT_MS, (long)all_ms) == CURLE_OK &&
           curl_easy_setopt(u, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           curl_easy_setopt(u, CURLOPT_POSTFIELDSIZE, (long)json.n) == CURLE_OK &&
           curl_easy_setopt(u, CURLOPT_POSTFIELDS, json.p) == CURLE_OK;
}

void http_post(struct http_client *c, const char *url, struct bytes json, uint32_t limit_ms,
               struct http_reply *reply)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;

    *reply = (struct http_reply){.fault = "no memory"};
    c->count = 0;
    if (limit_ms == 0) { /* libcurl takes it for: no limit */
        reply->fault = "no answer in time";
        return;
    }
    if (aim(c, url, json, limit_ms))
        code = curl_easy_perform(c->curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        reply->fault = fault_of(code);
        return;
    }
    *reply = (struct http_reply){.status = (uint32_t)status, .body = bytes_of(c->body, c->count)};
}
