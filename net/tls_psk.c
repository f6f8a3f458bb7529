/* net/tls_psk.c -- pre-shared keys: a file of lines `identity:hexkey`, sorted in memory. */
#include "net/tls_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of a line at most, its newline and NUL included. */
#define LINE_BYTES_MAX 512

struct tls_psks {
    uint32_t count;
    uint32_t room;
    struct tls_psk *list; /* by identity */
};

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

const char *tls_psk_parse(struct bytes identity, struct bytes hex, struct tls_psk *psk)
{
    *psk = (struct tls_psk){.key_count = 0};
    if (identity.n == 0 || identity.n > TLS_PSK_IDENTITY_BYTES_MAX)
        return "an identity has 1 to 127 bytes";
    if (hex.n == 0 || hex.n % 2 != 0 || hex.n / 2 > TLS_PSK_BYTES_MAX)
        return "a key has 2 to 128 hex digits, an even number";
    memcpy(psk->identity, identity.p, identity.n);
    for (uint32_t i = 0; i < hex.n; i += 2) {
        int high = hex_value(hex.p[i]);
        int low = hex_value(hex.p[i + 1]);

        if (high < 0 || low < 0)
            return "a key is written in hex digits";
        psk->key[psk->key_count++] = (uint8_t)(high << 4 | low);
    }
    return NULL;
}

static int by_identity(const void *a, const void *b)
{
    return strcmp(((const struct tls_psk *)a)->identity, ((const struct tls_psk *)b)->identity);
}

static bool reserve_one(struct tls_psks *psks)
{
    uint32_t room = psks->room ? psks->room * 2 : 16;
    struct tls_psk *list;

    if (psks->count < psks->room)
        return true;
    list = realloc(psks->list, room * sizeof(*list));
    if (!list)
        return false;
    psks->list = list;
    psks->room = room;
    return true;
}

/* Takes one line. NULL, or what is wrong with it. */
static const char *read_line(struct tls_psks *psks, const char *line)
{
    struct bytes whole = bytes_str(line);
    const uint8_t *colon;

    if (whole.n == LINE_BYTES_MAX - 1 && line[whole.n - 1] != '\n')
        return "the line is too long";
    while (whole.n > 0 && strchr("\r\n", whole.p[whole.n - 1]))
        whole.n -= 1;
    if (whole.n == 0 || whole.p[0] == '#')
        return NULL;
    colon = memchr(whole.p, ':', whole.n);
    if (!colon)
        return "write identity:hexkey";
    if (!reserve_one(psks))
        return "no memory";
    psks->count += 1;
    return tls_psk_parse(bytes_of(whole.p, (size_t)(colon - whole.p)),
                         bytes_of(colon + 1, (size_t)(whole.p + whole.n - colon - 1)),
                         &psks->list[psks->count - 1]);
}

static const char *read_lines(struct tls_psks *psks, FILE *file, unsigned *number)
{
    char line[LINE_BYTES_MAX];
    const char *wrong = NULL;

    while (!wrong && fgets(line, sizeof(line), file)) {
        *number += 1;
        wrong = read_line(psks, line);
    }
    explicit_bzero(line, sizeof(line));
    return wrong;
}

struct tls_psks *tls_psks_read(const char *path, char *why, size_t why_bytes)
{
    struct tls_psks *psks = calloc(1, sizeof(*psks));
    FILE *file = fopen(path, "re");
    unsigned number = 0;
    const char *wrong = "no memory";

    if (!file) {
        snprintf(why, why_bytes, "%s: cannot be read: %s", path, strerror(errno));
        free(psks);
        return NULL;
    }
    if (psks)
        wrong = read_lines(psks, file, &number);
    fclose(file);
    if (!wrong && psks->count > 0) {
        qsort(psks->list, psks->count, sizeof(*psks->list), by_identity);
        return psks;
    }
    if (wrong)
        snprintf(why, why_bytes, "%s:%u: %s", path, number, wrong);
    else
        snprintf(why, why_bytes, "%s: has no key", path);
    tls_psks_destroy(psks);
    return NULL;
}

void tls_psks_destroy(struct tls_psks *psks)
{
    if (!psks)
        return;
    if (psks->list)
        explicit_bzero(psks->list, psks->room * sizeof(*psks->list));
    free(psks->list);
    free(psks);
}

const struct tls_psk *tls_psks_find(const struct tls_psks *psks, const char *identity)
{
    struct tls_psk wanted = {.key_count = 0};

    if (!psks || strlen(identity) > TLS_PSK_IDENTITY_BYTES_MAX)
        return NULL;
    memcpy(wanted.identity, identity, strlen(identity));
    return bsearch(&wanted, psks->list, psks->count, sizeof(*psks->list), by_identity);
}
