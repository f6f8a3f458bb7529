/* tests/fuzz/fuzz_tls_names.c -- any bytes as a certificate: names are texts inside their block. */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "net/tls_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    for (; name && *name; name++)
        CHECK((uint8_t)*name >= ' ' && *name != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_names *names;
    int64_t seconds;
    struct bytes der = bytes_of(data, size);
    enum err err = tls_names_read(der, &names);

    CHECK(err == OK || err == ERR_PEER);
    (void)tls_names_match(der, "localhost");
    (void)tls_names_match(der, "a.example.com");
    (void)tls_names_match(der, "127.0.0.1");
    (void)tls_names_match(der, "::1");
    if (tls_names_expiry(der, &seconds) == OK)
        CHECK(err == OK);
    if (err != OK)
        return 0;
    check_name(tls_names_common(names));
    check_name(tls_names_subject(names));
    for (int kind = 0; kind < TLS_NAME_COUNT; kind++) {
        const char *name;

        for (uint32_t i = 0; (name = tls_names_alternative(names, (enum tls_name)kind, i)); i++) {
            check_name(name);
            CHECK(utf8_valid(bytes_str(name)));
        }
    }
    free(names);
    return 0;
}
