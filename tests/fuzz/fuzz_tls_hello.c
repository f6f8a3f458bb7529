/* tests/fuzz/fuzz_tls_hello.c -- a hello is judged the same in one piece and byte by byte. */
#include "core/base/check.h"
#include "net/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_hello whole, pieces;
    enum err err = OK, same = OK;
    struct bytes name;

    tls_hello_init(&whole);
    tls_hello_init(&pieces);
    err = tls_hello_look(&whole, bytes_of(data, size));
    for (size_t i = 0; i < size && same == OK; i++)
        same = tls_hello_look(&pieces, bytes_of(data + i, 1));
    CHECK(err == same);
    CHECK(whole.is_whole == pieces.is_whole);
    name = tls_hello_name(&whole);
    CHECK(name.n <= TLS_HELLO_NAME_BYTES_MAX);
    CHECK(bytes_eq(name, tls_hello_name(&pieces)));
    return 0;
}
