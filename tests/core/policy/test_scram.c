/* tests/core/policy/test_scram.c -- the server's side of SCRAM, and the grammar of its messages. */
#include "core/policy/scram.h"

#include "tests/core/policy/scram_client.h"
#include "tests/support/test.h"

static const struct hash_key key = {{1, 2, 3, 4}};

static void on_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    (void)arg;
    fail_msg("line %u, %d: %s", line, is_warning, what);
}

static struct scram_users *users_of(const char *text)
{
    struct scram_users *u;

    assert_int_equal(scram_users_parse(bytes_str(text), &key, on_report, NULL, &u), OK);
    return u;
}

static struct scram_users *some_users(void)
{
    char text[2048] = "# people\n";

    scram_line(text, "user", SCRAM_SHA256, 4096, "salt", "pencil", &fake_scram);
    scram_line(text, "user", SCRAM_SHA512, 5000, "salz", "pencil", &fake_scram);
    scram_line(text, "a,b=c", SCRAM_SHA256, 4096, "sale", "comma", &fake_scram);
    return users_of(text);
}

static struct scram_client client_of(enum scram_kind kind, const char *user, const char *password)
{
    return (struct scram_client){.crypt = &fake_scram,
                                 .kind = kind,
                                 .header = "n,,",
                                 .user = user,
                                 .password = password,
                                 .nonce = "fyko+d2lbbFgONRv9qkxdawL"};
}

/* A whole exchange; its end. */
static enum err whole(struct scram_client *c)
{
    struct scram_users *u = some_users();
    struct scram *x;
    enum err err = scram_begin(c->kind, scram_client_first(c), BYTES_LIT("3rfcNHYJY1ZVvWVs7j"), u,
                               &fake_scram, &x);
    struct bytes last;

    scram_users_release(u); /* an exchange does not need it any more */
    if (err != OK) {
        assert_null(x);
        return err;
    }
    last = scram_client_last(c, scram_says(x));
    assert_non_null(last.p);
    err = scram_prove(x, last, &fake_scram);
    if (err == OK)
        assert_true(scram_client_believes(c, scram_says(x)));
    else
        assert_int_equal(scram_says(x).n, 0);
    scram_end(x);
    return err;
}

/* The same by the user, with one part of the messages another one. */
static enum err whole_with_header(const char *header)
{
    struct scram_client c = client_of(SCRAM_SHA256, "user", "pencil");

    c.header = header;
    return whole(&c);
}

static enum err whole_with_extension(const char *extension)
{
    struct scram_client c = client_of(SCRAM_SHA256, "user", "pencil");

    c.extension = extension;
    return whole(&c);
}

static enum err whole_of(enum scram_kind kind, const char *user, const char *password)
{
    struct scram_client c = client_of(kind, user, password);

    return whole(&c);
}

TEST(scram_lets_in_who_knows_the_password)
{
    for (int i = 0; i < SCRAM_KIND_COUNT; i++) {
        enum scram_kind kind = (enum scram_kind)i;

        assert_int_equal(whole_of(kind, "user", "pencil"), OK);
        assert_int_equal(whole_of(kind, "user", "pencils"), ERR_PEER);
        assert_int_equal(whole_of(kind, "user", ""), ERR_PEER);
    }
}

TEST(scram_accepts_who_could_bind_to_the_channel_and_refuses_who_does)
{
    assert_int_equal(whole_with_header("y,,"), OK);
    assert_int_equal(whole_with_header("p=tls-unique,,"), ERR_PEER);
    assert_int_equal(whole_with_header("x,,"), ERR_PEER);
}

TEST(scram_names_are_unescaped)
{
    static const char *const bad[] = {
        "a=2cb=3Dc", /* only upper case is in the grammar */
        "a=2Cb=",
        "a=2Cb=3Ec",
        "a=2Cb=c",
    };

    assert_int_equal(whole_of(SCRAM_SHA256, "a=2Cb=3Dc", "comma"), OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(whole_of(SCRAM_SHA256, bad[i], "comma"), ERR_PEER);
}

TEST(scram_authorization_identity_must_be_the_user)
{
    assert_int_equal(whole_with_header("n,a=user,"), OK);
    assert_int_equal(whole_with_header("n,a=other,"), ERR_PEER);
    assert_int_equal(whole_with_header("n,a=,"), ERR_PEER);
    assert_int_equal(whole_with_header("n,b=user,"), ERR_PEER);
}

TEST(scram_refuses_another_nonce_in_the_last_message)
{
    struct scram_client c = client_of(SCRAM_SHA256, "user", "pencil");

    c.spoil_nonce = "x";
    assert_int_equal(whole(&c), ERR_PEER);
}

TEST(scram_passes_over_extensions_but_not_those_that_must_be_understood)
{
    static const char *const bad[] = {",m=a", ",p=eA==", ",x", ",1=x", ","};

    assert_int_equal(whole_with_extension(",x=a=b,Y=z"), OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(whole_with_extension(bad[i]), ERR_PEER);
}

static enum err begun(const char *message)
{
    struct scram_users *u = some_users();
    struct scram *x;
    enum err err =
        scram_begin(SCRAM_SHA256, bytes_str(message), BYTES_LIT("ours"), u, &fake_scram, &x);

    assert_int_equal(err == OK, x != NULL);
    scram_end(x);
    scram_users_release(u);
    return err;
}

TEST(scram_first_message_is_read_strictly)
{
    static const char *const bad[] = {
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,n=,r=abc",
        "n,,r=abc,n=user",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=a\x7f",
        "n,,n=user,r=a b",
        "n,,n=user,r=\xc3\xa4",
        "n,,n=us\xff,r=abc",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,m=x",
        "n,,n=user,r=abc,x=",
        "n,,n=user,r=abc,x=\xff",
        "N,,n=user,r=abc",
        ",,n=user,r=abc",
        "n,n=user,r=abc",
        " n,,n=user,r=abc",
    };

    assert_int_equal(begun("n,,n=user,r=abc"), OK);
    assert_int_equal(begun("n,,n=user,r=abc,x=y,z=,w=="), ERR_PEER);
    assert_int_equal(begun("n,,n=user,r=abc,x=y,z=1,w=="), OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (begun(bad[i]) != ERR_PEER)
            fail_msg("'%s' was accepted", bad[i]);
    }
}

TEST(scram_messages_names_and_nonces_have_bounds)
{
    char text[SCRAM_MESSAGE_BYTES_MAX + 64], *to;

    to = text + sprintf(text, "n,,n=user,r=");
    memset(to, 'r', SCRAM_NONCE_BYTES_MAX);
    to[SCRAM_NONCE_BYTES_MAX] = '\0';
    assert_int_equal(begun(text), OK);
    strcat(text, "r");
    assert_int_equal(begun(text), ERR_PEER);

    to = text + sprintf(text, "n,,n=");
    memset(to, 'n', SCRAM_NAME_BYTES_MAX);
    strcpy(to + SCRAM_NAME_BYTES_MAX, ",r=r");
    assert_int_equal(begun(text), OK);
    strcpy(to + SCRAM_NAME_BYTES_MAX, "n,r=r");
    assert_int_equal(begun(text), ERR_PEER);

    to = text + sprintf(text, "n,,n=user,r=r,x=");
    memset(to, 'x', sizeof(text) - (size_t)(to - text));
    text[SCRAM_MESSAGE_BYTES_MAX] = '\0';
    assert_int_equal(begun(text), OK);
    text[SCRAM_MESSAGE_BYTES_MAX] = 'x';
    text[SCRAM_MESSAGE_BYTES_MAX + 1] = '\0';
    assert_int_equal(begun(text), ERR_PEER);
}

TEST(scram_last_message_is_read_strictly)
{
    static const char *const bad[] = {
        "",
        "c=biws",
        "c=biws,r=abcours",
        "c=eSws,r=abcours,p=" /* another header than it came with */,
        "r=abcours,c=biws,p=",
        "c=biws,r=abcours,p=",
        "c=biws,r=abcours,p=AAAA",
        "c=biws,r=abc,p=",
        "c=,r=abcours,p=",
        "c=b!ws,r=abcours,p=",
    };
    const char *proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        struct scram_users *u = some_users();
        char text[256];
        struct scram *x;

        sprintf(text, "%s%s", bad[i / 2], i % 2 ? proof : "");
        assert_int_equal(scram_begin(SCRAM_SHA256, BYTES_LIT("n,,n=user,r=abc"), BYTES_LIT("ours"),
                                     u, &fake_scram, &x),
                         OK);
        assert_int_equal(scram_prove(x, bytes_str(text), &fake_scram), ERR_PEER);
        scram_end(x);
        scram_users_release(u);
    }
}

TEST(scram_without_memory_says_so)
{
    struct scram_client c = client_of(SCRAM_SHA256, "user", "pencil");
    struct scram_users *u = some_users();
    struct scram *x;

    assert_int_equal(
        scram_begin(c.kind, scram_client_first(&c), BYTES_LIT("n"), u, &fake_scram, &x), OK);
    (void)scram_client_last(&c, scram_says(x));
    fake_scram_answer = ERR_MEMORY;
    assert_int_equal(scram_prove(x, bytes_str(c.last), &fake_scram), ERR_MEMORY);
    scram_end(x);
    assert_int_equal(
        scram_begin(c.kind, scram_client_first(&c), BYTES_LIT("n"), u, &fake_scram, &x),
        ERR_MEMORY);
    assert_null(x);
    fake_scram_answer = OK;
    scram_users_release(u);
}

/* ---- who is not there ---- */

static void first_answer(const struct scram_users *u, enum scram_kind kind, const char *user,
                         char *salt, uint32_t *iterations)
{
    struct scram_client c = client_of(kind, user, "x");
    struct scram *x;

    assert_int_equal(
        scram_begin(kind, scram_client_first(&c), BYTES_LIT("nonce"), u, &fake_scram, &x), OK);
    (void)scram_client_last(&c, scram_says(x));
    assert_int_equal(sscanf(c.server_first, "r=%*[^,],s=%255[^,],i=%u", salt, iterations), 2);
    assert_int_equal(scram_prove(x, bytes_str(c.last), &fake_scram), ERR_PEER);
    scram_end(x);
}

TEST(scram_unknown_users_look_like_others)
{
    char salt[256], again[256], known[256], text[4096] = "";
    uint32_t iterations, seen_4096 = 0, seen_9999 = 0;
    struct scram_users *u, *v;

    scram_line(text, "a", SCRAM_SHA256, 4096, "a", "x1", &fake_scram);
    scram_line(text, "b", SCRAM_SHA256, 9999, "b", "x2", &fake_scram);
    scram_line(text, "b", SCRAM_SHA512, 7777, "b", "x2", &fake_scram);
    u = users_of(text);
    scram_line(text, "c", SCRAM_SHA256, 4096, "c", "x3", &fake_scram);
    v = users_of(text);
    first_answer(u, SCRAM_SHA256, "a", known, &iterations);
    for (int i = 0; i < 50; i++) {
        char name[32];

        sprintf(name, "nobody%d", i);
        first_answer(u, SCRAM_SHA256, name, salt, &iterations);
        seen_4096 += iterations == 4096;
        seen_9999 += iterations == 9999;
        assert_int_equal(strlen(salt), strlen(known));
        first_answer(u, SCRAM_SHA256, name, again, &iterations);
        assert_string_equal(salt, again);
        first_answer(v, SCRAM_SHA256, name, again, &iterations); /* a line more in the file */
        assert_string_equal(salt, again);
        first_answer(u, SCRAM_SHA512, name, again, &iterations);
        assert_int_equal(iterations, 7777);
        assert_string_not_equal(salt, again);
    }
    assert_true(seen_4096 > 5 && seen_9999 > 5 && seen_4096 + seen_9999 == 50);
    scram_users_release(u);
    scram_users_release(v);
}

TEST(scram_fails_for_everybody_where_nobody_is_known)
{
    struct scram_users *u = users_of("# empty\n");
    uint32_t iterations;
    char salt[256];

    first_answer(u, SCRAM_SHA512, "x", salt, &iterations);
    assert_int_equal(iterations, SCRAM_ITERATIONS_ADVISED);
    scram_users_release(u);
}
