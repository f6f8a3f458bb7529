/* tests/core/base/test_base64.c -- base64: the RFC's examples, every length, nothing sloppy. */
#include "core/base/base64.h"

#include <stdlib.h>

#include "tests/support/test.h"

static const char *encoded(const char *from, enum base64_form form)
{
    static char text[64];

    *base64_encode(bytes_str(from), form, text) = '\0';
    return text;
}

/* Decodes from a copy in memory of just that size; the result of decoding. */
static enum err decode(const char *text, enum base64_form form, uint32_t room, uint32_t *n)
{
    size_t bytes = strlen(text);
    uint8_t *copy = malloc(bytes ? bytes : 1);
    uint8_t *to = malloc(room ? room : 1);
    enum err e;

    assert_non_null(copy);
    assert_non_null(to);
    memcpy(copy, text, bytes);
    e = base64_decode(bytes_of(copy, bytes), form, to, room, n);
    free(copy);
    free(to);
    return e;
}

TEST(base64_encodes_the_examples_of_rfc_4648)
{
    assert_string_equal(encoded("", BASE64_PADDED), "");
    assert_string_equal(encoded("f", BASE64_PADDED), "Zg==");
    assert_string_equal(encoded("fo", BASE64_PADDED), "Zm8=");
    assert_string_equal(encoded("foo", BASE64_PADDED), "Zm9v");
    assert_string_equal(encoded("foob", BASE64_PADDED), "Zm9vYg==");
    assert_string_equal(encoded("fooba", BASE64_PADDED), "Zm9vYmE=");
    assert_string_equal(encoded("foobar", BASE64_PADDED), "Zm9vYmFy");
}

TEST(base64_leaves_padding_out_of_the_bare_form)
{
    assert_string_equal(encoded("f", BASE64_BARE), "Zg");
    assert_string_equal(encoded("fo", BASE64_BARE), "Zm8");
    assert_string_equal(encoded("foo", BASE64_BARE), "Zm9v");
}

TEST(base64_comes_back_for_every_length_and_byte)
{
    uint8_t from[200], to[200];
    char text[BASE64_TEXT_BYTES(200)];

    for (uint32_t n = 0; n <= sizeof(from); n++) {
        for (uint32_t i = 0; i < n; i++)
            from[i] = (uint8_t)(i * 151 + n * 7);
        for (uint32_t f = 0; f < 2; f++) {
            enum base64_form form = f ? BASE64_BARE : BASE64_PADDED;
            char *end = base64_encode(bytes_of(from, n), form, text);
            uint32_t back;

            assert_true(end <= text + BASE64_TEXT_BYTES(n));
            assert_int_equal(
                base64_decode(bytes_of(text, (size_t)(end - text)), form, to, n, &back), OK);
            assert_int_equal(back, n);
            assert_memory_equal(to, from, n);
        }
    }
}

TEST(base64_refuses_what_is_not_quite_it)
{
    static const char *const padded[] = {
        "Z",     "Zg",     "Zg=",  "Zg===", "=",    "==",   "====",    "Z===", "Zg==Zg==", "Zm=v",
        "Zm9v=", "Zm9v\n", "Zm9 ", "Zm9-",  "Zm9_", "Zm9$", "Zm9\x80", "Zh==", "Zm9="};
    static const char *const bare[] = {"Z", "Zg==", "Zg=", "Zm9vY", "Zh", "Zm9", "Zm 9"};
    uint32_t n;

    for (size_t i = 0; i < sizeof(padded) / sizeof(padded[0]); i++)
        assert_int_equal(decode(padded[i], BASE64_PADDED, 64, &n), ERR_PEER);
    for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++)
        assert_int_equal(decode(bare[i], BASE64_BARE, 64, &n), ERR_PEER);
}

TEST(base64_writes_no_further_than_there_is_room)
{
    uint32_t n;

    assert_int_equal(decode("Zm9vYmFy", BASE64_PADDED, 6, &n), OK);
    assert_int_equal(n, 6);
    assert_int_equal(decode("Zm9vYmFy", BASE64_PADDED, 5, &n), ERR_FULL);
    assert_int_equal(n, 0);
    assert_int_equal(decode("", BASE64_PADDED, 0, &n), OK);
    assert_int_equal(decode("Zg==", BASE64_PADDED, 0, &n), ERR_FULL);
}
