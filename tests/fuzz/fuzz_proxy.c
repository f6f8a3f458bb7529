/* tests/fuzz/fuzz_proxy.c -- a PROXY header is read from memory that ends with it, or refused.
 *
 * Input: a byte with the accepted versions, then what the balancer sends. Every prefix of it is
 * tried in memory of just its size; what once ended must end in the same way with more bytes.
 */
#include "core/base/check.h"
#include "net/proxy.h"

/* Beyond this the prefixes are tried in larger steps. */
#define EACH_BYTE 160u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(struct bytes in, struct bytes view)
{
    if (view.p)
        CHECK(view.p >= in.p && view.p + view.n <= in.p + in.n);
}

static void check_result(struct bytes in, const struct proxy *out)
{
    check_view(in, out->source.path);
    check_view(in, out->destination.path);
    check_view(in, out->authority);
    check_view(in, out->alpn);
    check_view(in, out->unique_id);
    check_view(in, out->tls.version);
    check_view(in, out->tls.cipher);
    check_view(in, out->tls.common_name);
    check_view(in, out->tls.certificate);
    CHECK(out->version == 1 || out->version == 2);
    CHECK(out->family <= PROXY_UNIX);
    CHECK(!out->is_local || out->family == PROXY_NO_ADDRESS);
    CHECK(!out->tls.is_verified || out->tls.has_certificate);
    CHECK(!out->tls.has_certificate || out->tls.is_tls);
    CHECK(out->unique_id.n <= PROXY_UNIQUE_ID_BYTES_MAX);
}

/* One prefix of n bytes; *need and *why as proxy_next sets them. */
static enum err try_prefix(const uint8_t *p, uint32_t n, uint32_t accepted, uint32_t *need,
                           enum proxy_why *why)
{
    uint8_t *copy = malloc(n ? n : 1);
    struct proxy out;
    enum err err;

    CHECK(copy != NULL);
    if (n)
        memcpy(copy, p, n);
    err = proxy_next(bytes_of(copy, n), accepted, &out, need, why);
    if (err == OK) {
        CHECK(*need <= n && *need <= PROXY_BYTES_MAX && *why == PROXY_WHY_NONE);
        check_result(bytes_of(copy, *need), &out);
    } else if (err == ERR_MORE) {
        CHECK(*need > n && *need <= PROXY_BYTES_MAX && *why == PROXY_WHY_NONE);
    } else {
        CHECK(err == ERR_PEER && *why != PROXY_WHY_NONE && proxy_why_name(*why));
    }
    free(copy);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t accepted, all, need, all_need;
    enum proxy_why why, all_why;
    enum err end, err;

    if (size < 1 || size > 2 * PROXY_BYTES_MAX)
        return 0;
    accepted = data[0] & PROXY_ANY;
    all = (uint32_t)size - 1;
    end = try_prefix(data + 1, all, accepted, &all_need, &all_why);
    for (uint32_t n = 0; n < all; n += n < EACH_BYTE ? 1 : 61) {
        err = try_prefix(data + 1, n, accepted, &need, &why);
        if (err == ERR_MORE)
            continue;
        /* the first byte of a version that is not taken may turn out to be none at all */
        CHECK(err == end && (why == all_why || why == PROXY_WHY_VERSION));
        CHECK(end != OK || need == all_need);
    }
    return 0;
}
