/* tests/fuzz/fuzz_tls_staple.c -- any bytes as an OCSP response, and as the certificate. */
#include "core/base/check.h"
#include "net/tls_staple.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Serial 0x1002, an algorithm, CN=Test CA, and empty: validity, subject, key. */
    static const uint8_t certificate[] = {
        0x30, 0x25, 0x30, 0x23, 0x02, 0x02, 0x10, 0x02, 0x30, 0x03, 0x06, 0x01, 0x2a,
        0x30, 0x12, 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x07,
        'T',  'e',  's',  't',  ' ',  'C',  'A',  0x30, 0,    0x30, 0,    0x30, 0};
    struct tls_staple_times times = {0};
    struct bytes all = bytes_of(data, size);
    struct bytes ours = bytes_of(certificate, sizeof(certificate));

    if (!tls_staple_read(all, ours, &times))
        CHECK(times.from <= times.until);
    (void)tls_staple_read(all, all, &times);
    return 0;
}
