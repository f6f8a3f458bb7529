/* cfg/check_auth.c -- how clients prove who they are. */
#include "cfg/check_auth.h"

#include <string.h>

/* Of a word that is shown in a sentence. */
#define SHOWN_BYTES 40

static const char *const method_names[METHOD_COUNT] = {
    [METHOD_PASSWORD] = "password",
    [METHOD_JWT] = "jwt",
    [METHOD_HTTP] = "http",
};

/* What a method is configured with. */
static const char *const method_needs[METHOD_COUNT] = {
    [METHOD_PASSWORD] = "password_file",
    [METHOD_JWT] = "jwt_key_file or jwt_jwks_file",
    [METHOD_HTTP] = "http_auth_url",
};

static const char *const alg_names[CFG_JWT_ALG_COUNT] = {
    [CFG_JWT_HS256] = "HS256", [CFG_JWT_HS384] = "HS384", [CFG_JWT_HS512] = "HS512",
    [CFG_JWT_RS256] = "RS256", [CFG_JWT_ES256] = "ES256", [CFG_JWT_EDDSA] = "EdDSA",
};

bool cfg_jwt_alg_find(struct bytes name, enum cfg_jwt_alg *alg)
{
    for (uint32_t i = 0; i < CFG_JWT_ALG_COUNT; i++) {
        if (!bytes_eq(name, bytes_str(alg_names[i])))
            continue;
        *alg = (enum cfg_jwt_alg)i;
        return true;
    }
    return false;
}

bool cfg_methods_have(const struct cfg_methods *methods, enum cfg_method method)
{
    for (uint32_t i = 0; i < methods->count; i++) {
        if (methods->v[i] == method)
            return true;
    }
    return false;
}

/* ---- methods ---- */

static bool has_jwt(const struct cfg_auth *auth)
{
    return auth->jwt.key_file || auth->jwt.jwks_file;
}

static bool is_there(const struct cfg_auth *auth, enum cfg_method method)
{
    switch (method) {
    case METHOD_PASSWORD:
        return auth->password_file != NULL;
    case METHOD_JWT:
        return has_jwt(auth);
    case METHOD_HTTP:
        return auth->http_auth_url != NULL;
    default:
        return false;
    }
}

static void add_all(const struct cfg_auth *auth, struct cfg_methods *to)
{
    for (uint32_t i = 0; i < METHOD_COUNT; i++) {
        if (is_there(auth, (enum cfg_method)i))
            to->v[to->count++] = (enum cfg_method)i;
    }
}

static void add_method(struct draft *draft, uint32_t line, const char *key, struct bytes word,
                       struct cfg_methods *to)
{
    const struct cfg_auth *auth = &draft->cfg->auth;
    uint32_t i = 0;

    while (i < METHOD_COUNT && !bytes_eq(word, bytes_str(method_names[i])))
        i++;
    if (i == METHOD_COUNT)
        draft_error(draft, line, "%s = %.*s is no method; right would be password, jwt or http",
                    key, word.n < SHOWN_BYTES ? (int)word.n : SHOWN_BYTES, (const char *)word.p);
    else if (cfg_methods_have(to, (enum cfg_method)i))
        draft_error(draft, line, "%s names %s twice; once is enough", key, method_names[i]);
    else if (!is_there(auth, (enum cfg_method)i))
        draft_error(draft, line, "%s names %s, which needs %s in [auth]", key, method_names[i],
                    method_needs[i]);
    else
        to->v[to->count++] = (enum cfg_method)i;
}

static void add_methods(struct draft *draft, const struct draft_section *s, const char *key,
                        const struct cfg_texts *words, struct cfg_methods *to)
{
    for (uint32_t i = 0; i < words->count; i++)
        add_method(draft, draft_line(s, key), key, words->v[i], to);
}

void check_listener_methods(struct draft *draft, const struct draft_section *s,
                            struct cfg_listener *listener)
{
    if (listener->auth_methods.count)
        add_methods(draft, s, "auth_methods", &listener->auth_methods, &listener->methods);
    else
        listener->methods = draft->cfg->auth.methods;
}

/* ---- tokens ---- */

static void check_jwt(struct draft *draft, const struct draft_section *s)
{
    static const char *const of_jwt[] = {"jwt_algorithms",
                                         "jwt_username_claim",
                                         "jwt_audience",
                                         "jwt_issuer",
                                         "jwt_leeway",
                                         "jwt_require_exp",
                                         "jwt_disconnect_after_expire",
                                         "jwt_acl_claim"};
    struct cfg_jwt *jwt = &draft->cfg->auth.jwt;

    if (jwt->acl_claim && strcmp(jwt->acl_claim, "none") == 0)
        jwt->acl_claim = NULL;
    for (size_t i = 0; i < sizeof(of_jwt) / sizeof(of_jwt[0]) && !has_jwt(&draft->cfg->auth); i++) {
        if (draft_line(s, of_jwt[i]))
            draft_error(draft, draft_line(s, of_jwt[i]),
                        "%s needs jwt_key_file or jwt_jwks_file; right would be both, or neither",
                        of_jwt[i]);
    }
    for (uint32_t i = 0; i < jwt->algorithms.count; i++) {
        struct bytes word = jwt->algorithms.v[i];
        enum cfg_jwt_alg alg;

        if (cfg_jwt_alg_find(word, &alg))
            jwt->algs |= 1u << alg;
        else
            draft_error(draft, draft_line(s, "jwt_algorithms"),
                        "jwt_algorithms = %.*s is not known; right would be HS256, HS384, HS512, "
                        "RS256, ES256 or EdDSA",
                        word.n < SHOWN_BYTES ? (int)word.n : SHOWN_BYTES, (const char *)word.p);
    }
}

/* ---- HTTP servers ---- */

/* Where a question can be put; the rest of an address is the HTTP library's to judge. */
static void check_url(struct draft *draft, const struct draft_section *s, const char *name,
                      const char *url)
{
    static const char *const schemes[] = {"http://", "https://"};

    if (!url)
        return;
    for (uint32_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);

        if (strncmp(url, schemes[i], n) == 0 && url[n] && url[n] != '/' && !strpbrk(url, " \t"))
            return;
    }
    draft_error(draft, draft_line(s, name),
                "%s must be an address like http://127.0.0.1:8080/path or https://HOST/path", name);
}

/* ---- all of it ---- */

void check_auth(struct draft *draft, const struct draft_section *s)
{
    struct cfg_auth *auth = &draft->cfg->auth;

    check_jwt(draft, s);
    check_url(draft, s, "http_auth_url", auth->http_auth_url);
    check_url(draft, s, "http_acl_url", auth->http_acl_url);
    if (auth->method_names.count)
        add_methods(draft, s, "methods", &auth->method_names, &auth->methods);
    else
        add_all(auth, &auth->methods);
    /* Nobody needs to be let in without a name where names can be proven. */
    if (!draft_line(s, "allow_anonymous"))
        auth->allow_anonymous =
            !auth->password_file && !auth->scram_file && !has_jwt(auth) && !auth->http_auth_url;
}
