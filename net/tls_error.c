/* net/tls_error.c -- words for what went wrong, for the log. */
#include "net/tls_state.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

struct words {
    int code;
    const char *text;
};

static const struct words errors[] = {
    {MEMORY_E, "no memory"},
    {MEMORY_ERROR, "no memory"},
    {ASN_BEFORE_DATE_E, "certificate not valid yet"},
    {ASN_AFTER_DATE_E, "certificate expired"},
    {ASN_NO_SIGNER_E, "unknown CA"},
    {ASN_SELF_SIGNED_E, "unknown CA (self-signed)"},
    {ASN_SIG_CONFIRM_E, "certificate signature wrong"},
    {ASN_NAME_INVALID_E, "certificate name not permitted by its CA"},
    {ASN_PATHLEN_SIZE_E, "certificate chain too long for its CA"},
    {ASN_PATHLEN_INV_E, "certificate chain too long for its CA"},
    {ASN_CRIT_EXT_E, "certificate has an unknown critical extension"},
    {ASN_NO_PEM_HEADER, "no PEM"},
    {ASN_PARSE_E, "certificate malformed"},
    {ASN_CRL_CONFIRM_E, "revocation list signature wrong"},
    {ASN_CRL_NO_SIGNER_E, "revocation list of an unknown CA"},
    {CRL_CERT_REVOKED, "certificate revoked"},
    {CRL_CERT_DATE_ERR, "revocation list out of date"},
    {CRL_MISSING, "no revocation list of the certificate's CA"},
    {OCSP_CERT_REVOKED, "certificate revoked"},
    {MAX_CHAIN_ERROR, "certificate chain too long"},
    {KEYUSE_SIGNATURE_E, "certificate not for signing"},
    {EXTKEYUSE_AUTH_E, "certificate not for this use"},
    {NO_PEER_CERT, "client gave no certificate"}, /* a server always gives one */
    {NO_PEER_VERIFY, "peer did not prove its certificate"},
    {VERIFY_CERT_ERROR, "certificate refused"},
    {VERIFY_SIGN_ERROR, "peer does not have its certificate's key"},
    {RSA_KEY_SIZE_E, "key of the certificate too short"},
    {ECC_KEY_SIZE_E, "key of the certificate too short"},
    {DOMAIN_NAME_MISMATCH, "host name mismatch"},
    {IPADDR_MISMATCH, "host name mismatch"},
    {VERSION_ERROR, "no shared version, or no shared cipher of it"},
    {UNSUPPORTED_PROTO_VERSION, "no shared version, or no shared cipher of it"},
    {MATCH_SUITE_ERROR, "no shared cipher"},
    {UNSUPPORTED_SUITE, "no shared cipher"},
    {SUITES_ERROR, "no shared cipher"},
    {BAD_KEY_SHARE_DATA, "key share malformed"},
    {KEY_SHARE_ERROR, "no shared group"},
    {ECC_CURVE_ERROR, "no shared group"},
    {UNKNOWN_ALPN_PROTOCOL_NAME_E, "no shared protocol (ALPN)"},
    {PSK_KEY_ERROR, "unknown PSK identity"},
    {CLIENT_ID_ERROR, "PSK identity malformed"},
    {BAD_BINDER, "wrong PSK"},
    {VERIFY_FINISHED_ERROR, "handshake tampered with, or wrong PSK"},
    {VERIFY_MAC_ERROR, "record forged or broken"},
    {DECRYPT_ERROR, "record forged or broken"},
    {AES_GCM_AUTH_E, "record forged or broken"},
    {MAC_CMP_FAILED_E, "record forged or broken"},
    {BAD_HELLO, "hello malformed"},
    {PARSE_ERROR, "message malformed"},
    {BUFFER_ERROR, "message malformed"},
    {DECODE_E, "message malformed"},
    {INCOMPLETE_DATA, "message malformed"},
    {INVALID_PARAMETER, "parameter not allowed"},
    {EXT_MISSING, "extension missing"},
    {EXT_NOT_ALLOWED, "extension not allowed"},
    {LENGTH_ERROR, "record too long"},
    {HANDSHAKE_SIZE_ERROR, "handshake message too long"},
    {UNKNOWN_RECORD_TYPE, "not TLS"},
    {UNKNOWN_HANDSHAKE_TYPE, "unknown handshake message"},
    {OUT_OF_ORDER_E, "message out of order"},
    {SANITY_MSG_E, "message out of order"},
    {DUPLICATE_MSG_E, "message out of order"},
    {NO_CHANGE_CIPHER_E, "message out of order"},
    {SECURE_RENEGOTIATION_E, "renegotiation refused"},
    {ALERT_COUNT_E, "too many alerts"},
    {EXT_MASTER_SECRET_NEEDED_E, "resumption without extended master secret"},
    {SOCKET_PEER_CLOSED_E, "closed during the handshake"},
};

static const struct words alerts[] = {
    {unexpected_message, "peer refused: message out of order"},
    {bad_record_mac, "peer refused: record forged or broken, or wrong PSK"},
    {record_overflow, "peer refused: record too long"},
    {handshake_failure, "peer refused: nothing shared, or it wants a certificate"},
    {bad_certificate, "peer refused: bad certificate"},
    {unsupported_certificate, "peer refused: unsupported certificate"},
    {certificate_revoked, "peer refused: certificate revoked"},
    {certificate_expired, "peer refused: certificate expired"},
    {certificate_unknown, "peer refused: certificate unknown"},
    {illegal_parameter, "peer refused: parameter not allowed"},
    {unknown_ca, "peer refused: unknown CA"},
    {access_denied, "peer refused: access denied"},
    {decode_error, "peer refused: message malformed"},
    {decrypt_error, "peer refused: signature or PSK wrong"},
    /* 70 is protocol_version; its name in the library depends on the build */
    {70, "peer refused: no shared version, or no shared cipher of it"},
    {insufficient_security, "peer refused: ciphers too weak"},
    {internal_error, "peer refused: internal error"},
    {inappropriate_fallback, "peer refused: fallback"},
    {user_canceled, "peer gave up"},
    {missing_extension, "peer refused: extension missing"},
    {unsupported_extension, "peer refused: unsupported extension"},
    {unrecognized_name, "peer refused: unknown server name"},
    {unknown_psk_identity, "peer refused: unknown PSK identity"},
    {certificate_required, "peer refused: certificate required"},
    {no_application_protocol, "peer refused: no shared protocol (ALPN)"},
};

static const char *find(const struct words *list, size_t n, int code, const char *otherwise)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].code == code)
            return list[i].text;
    }
    return otherwise;
}

const char *tls_error_words(int code)
{
    return find(errors, sizeof(errors) / sizeof(errors[0]), code, "protocol error");
}

const char *tls_alert_words(int alert)
{
    return find(alerts, sizeof(alerts) / sizeof(alerts[0]), alert, "peer refused");
}
