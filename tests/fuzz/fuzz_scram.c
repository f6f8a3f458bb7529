/* tests/fuzz/fuzz_scram.c -- SCRAM: the file of users, and a client's messages.
 *
 * Input: the text of a file, NUL, the client's first message, NUL, its last one. The broker's users
 * are those of the file if it is taken, else two fixed ones. What is accepted is looked at again by
 * other means: a verifier is the text it was read from, and the server's first message has what the
 * RFC asks for. A client that follows the rules gets in.
 */
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "core/policy/scram.h"
#include "tests/core/policy/scram_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct hash_key key = {{1, 2, 3, 4}};

static void report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    uint32_t *mistakes = arg;
    size_t n = strlen(what);

    (void)line;
    CHECK(n > 0 && n < USER_FILE_SAID_BYTES);
    for (size_t i = 0; i < n; i++)
        CHECK(what[i] >= 0x20 && what[i] < 0x7f);
    *mistakes += !is_warning;
}

/* Up to the next NUL, in memory of just that size, so that reading beyond is seen. */
static struct bytes cut(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *nul = *at < end ? memchr(*at, 0, (size_t)(end - *at)) : NULL;
    size_t n = (size_t)((nul ? nul : end) - *at);
    uint8_t *copy = malloc(n ? n : 1);

    CHECK(copy);
    memcpy(copy, *at, n);
    *at = nul ? nul + 1 : end;
    return bytes_of(copy, n);
}

static void done(struct bytes b)
{
    free((void *)(uintptr_t)b.p);
}

static struct scram_users *fixed_users(void)
{
    char text[2048] = "";
    uint32_t mistakes = 0;
    struct scram_users *u;

    scram_line(text, "user", SCRAM_SHA256, 4096, "s", "pencil", &fake_scram);
    scram_line(text, "user", SCRAM_SHA512, 4096, "s", "pencil", &fake_scram);
    CHECK(scram_users_parse(bytes_str(text), &key, report, &mistakes, &u) == OK);
    return u;
}

/* The whole grammar of a file, once more and simply: as many users as lines that have one. */
static void check_file(const struct scram_users *u, struct bytes text)
{
    uint32_t users = 0, start = 0;

    for (uint32_t i = 0; i <= text.n; i++) {
        struct bytes line = bytes_of(text.p + start, i - start);
        const uint8_t *colon;

        if (i < text.n && text.p[i] != '\n')
            continue;
        start = i + 1;
        colon = line.n && line.p[0] != '#' ? memchr(line.p, ':', line.n) : NULL;
        users += colon != NULL;
    }
    CHECK(scram_users_count(u) == users);
}

static void check_verifier(struct bytes text)
{
    struct scram_room room;
    struct scram_verifier v;
    char again[SCRAM_VERIFIER_TEXT_BYTES];
    const char *why;

    if (scram_verifier_parse(text, &room, &v, &why) != OK) {
        CHECK(why && *why);
        return;
    }
    CHECK(scram_verifier_format(&v, again) == text.n);
    CHECK(bytes_eq(bytes_str(again), text));
}

/* r=...,s=...,i=... with our nonce at the end of the first field. */
static void check_first(struct bytes says)
{
    char text[8192], nonce[2048], salt[256], rest;
    uint32_t iterations;

    CHECK(says.n < sizeof(text));
    snprintf(text, sizeof(text), "%.*s", (int)says.n, (const char *)says.p);
    CHECK(strlen(text) == says.n);
    CHECK(sscanf(text, "r=%2047[^,],s=%255[^,],i=%u%c", nonce, salt, &iterations, &rest) == 3);
    CHECK(iterations > 0 && iterations <= SCRAM_ITERATIONS_MAX);
    CHECK(strlen(nonce) > 4 && strcmp(nonce + strlen(nonce) - 4, "ours") == 0);
}

static void exchange(const struct scram_users *u, enum scram_kind kind, struct bytes first,
                     struct bytes last)
{
    struct scram *x;
    enum err err = scram_begin(kind, first, BYTES_LIT("ours"), u, &fake_scram, &x);

    CHECK((err == OK) == (x != NULL) && (err == OK || err == ERR_PEER));
    if (!x)
        return;
    CHECK(first.n <= SCRAM_MESSAGE_BYTES_MAX && scram_user(x).n > 0 &&
          scram_user(x).n <= SCRAM_NAME_BYTES_MAX && utf8_valid(scram_user(x)));
    check_first(scram_says(x));
    err = scram_prove(x, last, &fake_scram);
    CHECK(err == OK || err == ERR_PEER);
    CHECK((err == OK) == (scram_says(x).n > 0));
    CHECK(err != OK || scram_users_credential(u, kind, scram_user(x)) == scram_credential(x));
    scram_end(x);
}

/* A client that follows the rules gets in, whatever it is called. */
static void follow(const struct scram_users *u, struct bytes nonce)
{
    static struct scram_client c;
    char text[64] = "n";
    struct scram *x;

    for (uint32_t i = 0; i < nonce.n && i < sizeof(text) - 2; i++) {
        text[i] = (char)(0x21 + nonce.p[i] % 0x5e);
        text[i] = text[i] == ',' ? '-' : text[i];
        text[i + 1] = '\0';
    }
    c = (struct scram_client){.crypt = &fake_scram,
                              .kind = SCRAM_SHA512,
                              .header = "y,,",
                              .user = "user",
                              .password = "pencil",
                              .nonce = text};
    CHECK(scram_begin(c.kind, scram_client_first(&c), BYTES_LIT("ours"), u, &fake_scram, &x) == OK);
    CHECK(scram_prove(x, scram_client_last(&c, scram_says(x)), &fake_scram) == OK);
    CHECK(scram_client_believes(&c, scram_says(x)));
    scram_end(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *end = data + size;
    struct bytes text, first, last;
    struct scram_users *fixed, *u = NULL;
    uint32_t mistakes = 0;
    enum err err;

    if (size > 65536)
        return 0;
    text = cut(&at, end);
    first = cut(&at, end);
    last = cut(&at, end);
    fixed = fixed_users();
    err = scram_users_parse(text, &key, report, &mistakes, &u);
    CHECK((err == OK) == (u != NULL) && (err == ERR_PEER) == (mistakes > 0));
    if (u && !bytes_begin(text, BYTES_LIT("\xef\xbb\xbf#")))
        check_file(u, text);
    check_verifier(text);
    for (int kind = 0; kind < SCRAM_KIND_COUNT; kind++)
        exchange(u ? u : fixed, (enum scram_kind)kind, first, last);
    follow(fixed, first);
    scram_users_release(u);
    scram_users_release(fixed);
    done(text);
    done(first);
    done(last);
    return 0;
}
