/* tests/net/test_secrets.c -- files that a configuration names: all of them, or none. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cfg/parse.h"
#include "net/clock.h"
#include "net/secrets.h"
#include "tests/net/jwt_keys.h"

#define CERTS "build/certs/"
#define FILES "build/test_secrets."
#define PASSWORD                                                                                   \
    "$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTsHkd"  \
    "+uve2/GFOr/KZ8Y/8Hw=="
#define LISTENER(name, port, certificate, key)                                                     \
    "[listener " name "]\nbind = 127.0.0.1:" port "\ncertfile = " certificate "\nkeyfile = " key   \
    "\n"

static const struct hash_key key = {{5, 6, 7, 8}};

/* What was said: `! text` for a mistake, `? text` for a warning, one a line. */
static char said[8192];
static uint32_t mistakes, warnings;

static void say(void *context, bool is_mistake, const char *text)
{
    size_t n = strlen(said);

    assert_ptr_equal(context, said);
    assert_null(strchr(text, '\n'));
    snprintf(said + n, sizeof(said) - n, "%c %s\n", is_mistake ? '!' : '?', text);
    mistakes += is_mistake;
    warnings += !is_mistake;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static enum err load_at(const char *text, uint64_t wall_ms, struct secrets *out)
{
    struct cfg_errors errs;
    struct cfg *cfg;
    enum err err;

    assert_int_equal(tls_init(), OK);
    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
    cfg_errors_init(&errs);
    if (cfg_load_memory("test", bytes_str(text), &cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    said[0] = '\0';
    mistakes = warnings = 0;
    memset(out, 0xAB, sizeof(*out));
    err = secrets_load(cfg, &key, wall_ms, say, said, out);
    cfg_free(cfg);
    assert_int_equal(err, mistakes ? ERR_PEER : OK);
    return err;
}

static enum err load(const char *text, struct secrets *out)
{
    return load_at(text, clock_wall_ms(), out);
}

static void release(struct secrets *s)
{
    secrets_release(s);
    tls_fini();
}

static void assert_empty(const struct secrets *s)
{
    static const struct secrets none;

    assert_memory_equal(s, &none, sizeof(none));
}

static void assert_said(const char *words)
{
    if (!strstr(said, words))
        fail_msg("\"%s\" is not in\n%s", words, said);
}

TEST(secrets_are_loaded_where_the_configuration_names_them)
{
    struct secrets s;

    write_file(FILES "users", "u:" PASSWORD "\n");
    write_file(FILES "acl", "topic read a\n");
    assert_int_equal(load("[listener plain]\nbind = 127.0.0.1:2001\n" LISTENER(
                              "tls", "2002", CERTS "server.crt",
                              CERTS "server.key") "[auth]\npassword_file = " FILES "users\n"
                                                  "acl_file = " FILES "acl\n",
                          &s),
                     OK);
    assert_int_equal(warnings, 0);
    assert_null(s.listeners[0]);
    assert_non_null(s.listeners[1]);
    assert_int_equal(passwd_users(s.passwd), 1);
    assert_non_null(s.acl);
    secrets_release(&s);
    assert_empty(&s);
    release(&s); /* once more is fine */
}

TEST(secrets_need_no_files)
{
    struct secrets s;

    assert_int_equal(load("[listener plain]\nbind = 127.0.0.1:2001\n", &s), OK);
    assert_empty(&s);
    release(&s);
}

TEST(secrets_tell_all_mistakes_at_once_and_hold_nothing) /* CVE-2018-12551 */
{
    struct secrets s;

    write_file(FILES "users", "u:" PASSWORD "\nblank:\nv:plain\n");
    write_file(FILES "acl", "topic read a\ntopik read b\n");
    assert_int_equal(load(LISTENER("good", "2001", CERTS "server.crt", CERTS "server.key")
                              LISTENER("gone", "2002", CERTS "gone.crt", CERTS "server.key")
                                  LISTENER("other", "2003", CERTS "server.crt",
                                           CERTS "client.key") "[auth]\npassword_file = " FILES
                                                               "users\nacl_file = " FILES "acl\n",
                          &s),
                     ERR_PEER);
    assert_empty(&s);
    assert_said("! [listener gone]: ");
    assert_said("gone.crt");
    assert_said("! [listener other]: ");
    assert_said("! " FILES "users:2: ");
    assert_said("! " FILES "users:3: ");
    assert_said("! " FILES "acl:2: ");
    assert_null(strstr(said, "listener good"));
    assert_null(strstr(said, "AAECAwQFBgcICQoL")); /* nothing of a hash */
    assert_null(strstr(said, "plain\n"));
    assert_int_equal(mistakes, 5);
    release(&s);
}

TEST(secrets_of_one_bad_file_hold_nothing_of_the_good_ones)
{
    struct secrets s;

    write_file(FILES "users", "u:" PASSWORD "\n");
    assert_int_equal(load(LISTENER("good", "2001", CERTS "server.crt",
                                   CERTS "server.key") "[auth]\npassword_file = " FILES
                                                       "users\nacl_file = " FILES "none\n",
                          &s),
                     ERR_PEER);
    assert_int_equal(mistakes, 1);
    assert_said("! " FILES "none: cannot be read: ");
    assert_empty(&s);
    release(&s);
}

TEST(secrets_in_what_is_no_file_are_refused_and_nobody_waits)
{
    static const char *const paths[] = {"build", "/dev/zero", FILES "pipe"};
    struct secrets s;
    char text[256];

    (void)remove(FILES "pipe");
    assert_int_equal(mkfifo(FILES "pipe", 0600), 0);
    for (uint32_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        snprintf(text, sizeof(text),
                 "[listener plain]\nbind = 127.0.0.1:2001\n[auth]\npassword_file = %s\n"
                 "acl_file = %s\n",
                 paths[i], paths[i]);
        assert_int_equal(load(text, &s), ERR_PEER);
        assert_int_equal(mistakes, 2);
        assert_said("this is no file");
        assert_empty(&s);
        release(&s);
    }
    (void)remove(FILES "pipe");
}

TEST(secrets_hold_the_users_of_scram)
{
    const char *text =
        "[listener plain]\nbind = 127.0.0.1:2001\n[auth]\nscram_file = " FILES "scram\n";
    struct secrets s;

    write_file(FILES "scram",
               "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXk"
               "uLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n");
    assert_int_equal(load(text, &s), OK);
    assert_string_equal(said, "");
    assert_int_equal(scram_users_count(s.scram), 1);
    release(&s);
    write_file(FILES "scram", "user:x\nnobody\n");
    assert_int_equal(load(text, &s), ERR_PEER);
    assert_said("! " FILES "scram:1: ");
    assert_said("! " FILES "scram:2: ");
    assert_empty(&s);
    release(&s);
}

TEST(secrets_of_an_empty_acl_file_are_rules_that_allow_nothing) /* CVE-2018-12550 */
{
    struct secrets s;

    write_file(FILES "acl", "");
    write_file(FILES "users", "");
    assert_int_equal(load("[listener plain]\nbind = 127.0.0.1:2001\n[auth]\nacl_file = " FILES
                          "acl\npassword_file = " FILES "users\n",
                          &s),
                     OK);
    assert_non_null(s.acl);
    assert_non_null(s.passwd);
    assert_int_equal(passwd_users(s.passwd), 0);
    release(&s);
}

TEST(secrets_warn_of_certificates_that_expire)
{
    const char *good = LISTENER("good", "2001", CERTS "server.crt", CERTS "server.key");
    struct secrets s;
    uint64_t ends_ms;

    assert_int_equal(load(LISTENER("old", "2001", CERTS "expired.crt", CERTS "expired.key"), &s),
                     OK);
    assert_int_equal(warnings, 1);
    assert_said("? [listener old]: certificate " CERTS "expired.crt expired ");
    assert_said(" days ago");
    release(&s);
    assert_int_equal(load(good, &s), OK);
    ends_ms = (uint64_t)tls_context_expires(s.listeners[0]) * 1000;
    assert_int_equal(warnings, 0);
    release(&s);
    assert_int_equal(load_at(good, ends_ms - 31ull * 86400000, &s), OK);
    assert_int_equal(warnings, 0);
    release(&s);
    assert_int_equal(load_at(good, ends_ms - 10ull * 86400000 - 5000, &s), OK);
    assert_said("? [listener good]: certificate " CERTS "server.crt expires in 10 days\n");
    release(&s);
}

TEST(secrets_say_how_long_without_rounding_up)
{
    static const struct {
        int64_t seconds; /* from the certificate's end */
        const char *says;
    } when[] = {
        {-2 * 86400, "expires in 2 days"},      {-2 * 86400 + 1, "expires in 1 day"},
        {-86400, "expires in 1 day"},           {-86399, "expires in less than a day"},
        {0, "expires in less than a day"},      {1, "expired less than a day ago"},
        {86399, "expired less than a day ago"}, {86400, "expired 1 day ago"},
        {2 * 86400 - 1, "expired 1 day ago"},   {2 * 86400, "expired 2 days ago"},
    };
    const char *text = LISTENER("good", "2001", CERTS "server.crt", CERTS "server.key");
    char line[256];
    int64_t ends;
    struct secrets s;

    assert_int_equal(load(text, &s), OK);
    ends = tls_context_expires(s.listeners[0]);
    release(&s);
    for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
        assert_int_equal(load_at(text, (uint64_t)(ends + when[i].seconds) * 1000, &s), OK);
        snprintf(line, sizeof(line), "? [listener good]: certificate " CERTS "server.crt %s\n",
                 when[i].says);
        assert_string_equal(said, line);
        release(&s);
    }
}

TEST(secrets_warn_of_responses_that_expire)
{
    static const char text[] =
        LISTENER("a", "2001", CERTS "server.crt", CERTS "server.key") "ocsp_file = " CERTS
                                                                      "server_week.ocsp\n";
    static const char lead[] = "? [listener a]: OCSP response " CERTS "server_week.ocsp ";
    const int64_t day = 86400, week = 7 * day;
    struct cfg_errors errs;
    struct cfg *cfg;
    struct secrets s;
    int64_t ends;

    if (strstr(tls_library(), "OpenSSL layer"))
        return; /* it staples nothing */
    cfg_errors_init(&errs);
    assert_int_equal(cfg_load_memory("test", bytes_str(text), &cfg, &errs), OK);
    cfg_errors_fini(&errs);
    assert_int_equal(load(text, &s), OK);
    assert_string_equal(said, "");
    ends = tls_context_staple_ends(s.listeners[0]);
    assert_int_equal(secrets_staple_ms(&s, (uint64_t)(ends - week) * 1000),
                     (uint64_t)(ends - week / 4) * 1000);
    assert_int_equal(secrets_staple_ms(&s, (uint64_t)(ends - week / 4) * 1000),
                     (uint64_t)(ends + 1) * 1000);
    assert_int_equal(secrets_staple_ms(&s, (uint64_t)(ends + 1) * 1000), UINT64_MAX);
    secrets_warn(cfg, &s, (uint64_t)(ends - week / 4 - 1) * 1000, say, said);
    assert_string_equal(said, "");
    secrets_warn(cfg, &s, (uint64_t)(ends - week / 4) * 1000, say, said);
    assert_said(lead);
    assert_said("expires in 1 day; fetch a newer one\n");
    said[0] = 0;
    secrets_warn(cfg, &s, (uint64_t)(ends + 1) * 1000, say, said);
    assert_said(lead);
    assert_said("expired less than a day ago and is not stapled any more\n");
    release(&s);
    cfg_free(cfg);
    assert_int_equal(load_at(text, (uint64_t)(ends + 2 * day) * 1000, &s), ERR_PEER);
    assert_said("! [listener a]: " CERTS "server_week.ocsp: the OCSP response has expired");
    assert_empty(&s);
    tls_fini();
}

TEST(secrets_of_links_are_loaded_where_they_are_enabled)
{
    struct secrets s;

    assert_int_equal(load("[listener plain]\nbind = 127.0.0.1:2001\n[cluster]\nname = here\n"
                          "[link far]\nserver = 127.0.0.1:2009\ntopics =\ntls = on\n"
                          "cafile = " CERTS "ca.crt\n"
                          "[link off]\nserver = 127.0.0.1:2009\ntopics =\nenable = no\ntls = on\n"
                          "cafile = " CERTS "gone.crt\n",
                          &s),
                     OK);
    assert_non_null(s.links[0]);
    assert_null(s.links[1]);
    release(&s);
}

TEST(secrets_hold_the_keys_of_tokens)
{
    struct secrets s;

    write_file(FILES "pem", rsa_pem);
    write_file(FILES "jwks", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"" RFC_SECRET "\"},"
                             "{\"kty\":\"EC\",\"crv\":\"P-521\"}]}");
    assert_int_equal(
        load("[auth]\njwt_key_file = " FILES "pem\njwt_jwks_file = " FILES "jwks\n", &s), OK);
    assert_int_equal(jwt_key_count(s.jwt), 2);
    assert_int_equal(warnings, 1);
    assert_said("? " FILES "jwks: key 2: it is of a kind that is not known");
    release(&s);
    write_file(FILES "pem", "a secret without its algorithm, of 32 bytes");
    write_file(FILES "jwks", "{\"keys\":[{\"kty\":\"oct\"},{\"kty\":\"RSA\",\"n\":\"AA\"}]}");
    assert_int_equal(
        load("[auth]\njwt_key_file = " FILES "pem\njwt_jwks_file = " FILES "jwks\n", &s), ERR_PEER);
    assert_int_equal(mistakes, 3);
    assert_said("! " FILES "pem: it holds no public key in PEM; if it is a secret, write");
    assert_said("! " FILES "jwks: key 1: its \"k\" is missing");
    assert_said("! " FILES "jwks: key 2: its \"e\" is missing");
    assert_empty(&s);
    tls_fini();
}
