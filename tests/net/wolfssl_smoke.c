/* tests/net/wolfssl_smoke.c -- is the wolfSSL we built one we can use?
 *
 * Prints its version and encrypts one block with AES-128-GCM against a known answer (test case 2
 * of the GCM specification). `make wolfssl` runs it; it is no cmocka test, because nothing else
 * of the tree needs the library to be there.
 */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>

#include <stdio.h>
#include <string.h>

static const byte expected_cipher[16] = {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92,
                                         0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe, 0x78};
static const byte expected_tag[16] = {0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd,
                                      0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd, 0xdf};

static int encrypts_as_specified(void)
{
    const byte zero[16] = {0}; /* key, nonce (its first 12 bytes) and plain text of the case */
    byte cipher[16];
    byte tag[16];
    Aes aes;
    int done;

    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return 0;
    done = wc_AesGcmSetKey(&aes, zero, 16) == 0 &&
           wc_AesGcmEncrypt(&aes, cipher, zero, 16, zero, 12, tag, 16, NULL, 0) == 0;
    wc_AesFree(&aes);
    return done && memcmp(cipher, expected_cipher, 16) == 0 && memcmp(tag, expected_tag, 16) == 0;
}

/* Whether tools/build-wolfssl.sh found the places of its few lines. */
#ifdef WOLFSSL_STAPLE_GIVEN
static const char stapling[] = "from memory";
#else
static const char stapling[] = "none";
#endif

int main(void)
{
    int good;

    if (wolfSSL_Init() != WOLFSSL_SUCCESS) {
        printf("wolfSSL does not start\n0 passed, 1 failed\n");
        return 1;
    }
    good = encrypts_as_specified();
    printf("wolfSSL %s: AES-128-GCM %s\n", wolfSSL_lib_version(), good ? "as specified" : "WRONG");
    printf("OCSP stapling: %s\n", stapling);
    printf("%d passed, %d failed\n", good, !good);
    wolfSSL_Cleanup();
    return !good;
}
